//! ripcord as a contender: the only file that names its crates.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::{Duration, Instant};

use ripcord_core::{Armed, CancelGuard, Ctx, Kind, Timer, Value};

use crate::case::Readings;
use crate::plan::Plan;
use crate::tree::{Deadlines, Runs, Tree};

/// ripcord, with tokio's clock, timer and sweeper.
pub(crate) struct Ripcord;

/// A context with the right to cancel it, as `child` gives them.
#[derive(Debug)]
pub(crate) struct Node {
    ctx: Ctx,
    guard: CancelGuard,
}

impl From<(Ctx, CancelGuard)> for Node {
    fn from((ctx, guard): (Ctx, CancelGuard)) -> Node {
        Node { ctx, guard }
    }
}

impl Tree for Ripcord {
    type Node = Node;

    fn root() -> Node {
        ripcord_tokio::root().build().into()
    }

    fn child(parent: &Node) -> Node {
        parent.ctx.child().into()
    }

    fn is_done(node: &Node) -> bool {
        node.ctx.is_done()
    }

    fn cancel(node: &Node) {
        let first = node.guard.cancel(Kind::Cancelled);
        debug_assert!(first, "a workload cancels a node once");
    }

    fn wait(node: &Node) -> impl Future + Send {
        node.ctx.done()
    }
}

impl Runs for Ripcord {
    fn run<F: Future>(node: &Node, future: F) -> impl Future {
        node.ctx.run(future)
    }
}

impl Deadlines for Ripcord {
    type Parent = Node;
    type Child = Ctx;

    fn parent() -> Node {
        Ripcord::root()
    }

    fn make(parent: &Node, timeout: Duration) -> impl Sized {
        parent.ctx.with_timeout(timeout)
    }

    fn run<F: Future>(parent: &Node, timeout: Duration, future: F) -> impl Future {
        parent.ctx.with_timeout(timeout).run(future)
    }

    fn bounded(parent: &Node, at: Instant) -> Ctx {
        parent.ctx.with_deadline(at)
    }

    fn expire(child: &Ctx) -> impl Future + Send {
        child.done()
    }
}

/// `is_done` where it has to look at the clock too.
pub(crate) fn check_with_deadline(plan: &Plan, timeout: Duration) -> Readings {
    let root = Ripcord::root();
    let ctx = root.ctx.with_timeout(timeout);
    plan.each(|| {
        black_box(black_box(&ctx).is_done());
    })
}

/// A child whose guard is disarmed, so that its drop does not cancel it.
pub(crate) fn child_disarm(plan: &Plan) -> Readings {
    let root = Ripcord::root();
    plan.each(|| {
        let (ctx, guard) = black_box(&root.ctx).child();
        guard.disarm();
        drop(black_box(ctx));
    })
}

pub(crate) fn clone(plan: &Plan) -> Readings {
    let root = Ripcord::root();
    let child = Ripcord::child(&root);
    plan.each(|| drop(black_box(black_box(&child.ctx).clone())))
}

/// How many timers `count` timeouts arm that are made and dropped, per timeout.
pub(crate) fn timer_arms_per_timeout(count: u32, timeout: Duration) -> f64 {
    let timer = Arc::new(CountingTimer::default());
    let (ctx, _guard) = ripcord_tokio::root()
        .timer(Arc::clone(&timer) as Arc<dyn Timer>)
        .build();
    (0..count).for_each(|_| drop(black_box(ctx.with_timeout(timeout))));
    timer.arms.load(Relaxed) as f64 / f64::from(count) // counter
}

/// Counts how often it is asked to arm, and never does.
#[derive(Debug, Default)]
struct CountingTimer {
    arms: AtomicU64,
}

impl Timer for CountingTimer {
    fn arm(&self, _: Instant, _: Waker) -> Option<Armed> {
        self.arms.fetch_add(1, Relaxed); // counter
        None
    }
}

/// A value type of its own per level.
#[derive(Debug)]
struct Level<const N: usize>(u64);

impl<const N: usize> Value for Level<N> {}

/// Adds the values `Level<FIRST>` and further ones, one `with` each.
macro_rules! with_levels {
    ($ctx:expr; $($level:literal)*) => {{
        let ctx = $ctx;
        $(let ctx = ctx.with(Level::<$level>($level));)*
        ctx
    }};
}

fn with_32_values(ctx: Ctx) -> Ctx {
    with_levels!(ctx; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

/// The value that was put in first, below 32 others.
pub(crate) fn value_below_values(plan: &Plan) -> Readings {
    let root = Ripcord::root();
    look_up(plan, &with_32_values(root.ctx.with(Level::<0>(1))))
}

/// A value of the root, below 32 levels of children.
pub(crate) fn value_below_children(plan: &Plan) -> Readings {
    let root = Ripcord::root();
    let mut levels: Vec<Node> = vec![root.ctx.with(Level::<0>(1)).child().into()];
    crate::tree::extend_chain::<Ripcord>(&mut levels, 31);
    let leaf = levels.last().expect("there are 32 levels");
    look_up(plan, &leaf.ctx)
}

fn look_up(plan: &Plan, ctx: &Ctx) -> Readings {
    assert_eq!(
        ctx.get::<Level<0>>().map(|level| level.0),
        Some(1),
        "the value is lost"
    );
    plan.each(|| {
        black_box(black_box(ctx).get::<Level<0>>());
    })
}

pub(crate) fn value_missing(plan: &Plan) -> Readings {
    let root = Ripcord::root();
    let ctx = with_32_values(root.ctx.with(Level::<0>(1)));
    assert!(
        ctx.get::<Level<99>>().is_none(),
        "a value that nobody put in"
    );
    plan.each(|| {
        black_box(black_box(&ctx).get::<Level<99>>());
    })
}

/// A value of 8 bytes added to a context that has none.
pub(crate) fn with_value(parent: &Node) -> impl Sized + use<> {
    parent.ctx.with(Level::<0>(1))
}
