//! Cancelling N children that nobody waits for (W3): the caller's time, and until all say done.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::case::{Case, GO, Goal, RIPCORD, Readings, TOKIO_UTIL, Unit, WAKERS};
use crate::ours::Ripcord;
use crate::peers::{TokioUtil, Wakers};
use crate::plan::{Plan, evict_caches, eviction_buffer, meet};
use crate::{case::Kind, stats, tree::Tree};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        contenders(case(
            "cancel-idle/1000",
            "cancel 1,000 idle children",
            1_000,
            None,
            None,
        )),
        contenders(case(
            "cancel-idle/100000",
            "cancel 100,000 idle children",
            100_000,
            None,
            None,
        )),
        contenders(
            case(
                "cancel-idle/1000000",
                "cancel 1,000,000 idle children",
                1_000_000,
                Goal::at_most(1_000.0),
                Goal::of_tokio_util(0.15),
            )
            // "Independent of N": a thousand times the children, and hardly more time. Not 1, because
            // with a million children more is cold than the caches: the plain flag shows 1.5 to 2.
            .metric(
                "growth",
                "caller here ÷ caller at 1,000 children",
                Unit::Count,
                Goal::at_most(4.0),
            ),
        ),
    ]
}

fn case(
    id: &'static str,
    title: &'static str,
    size: usize,
    caller: Option<Goal>,
    all_done: Option<Goal>,
) -> Case {
    Case::new(Kind::Scene, id, title)
        .size(size)
        .metric("caller", "caller's time", Unit::Nanoseconds, caller)
        .metric(
            "all_done",
            "until all say done",
            Unit::Nanoseconds,
            all_done,
        )
}

fn contenders(case: Case) -> Case {
    case.rust(RIPCORD, cancel_idle::<Ripcord>)
        .rust(TOKIO_UTIL, cancel_idle::<TokioUtil>)
        .rust(WAKERS, cancel_idle::<Wakers>)
        .go(GO)
}

fn cancel_idle<T: Tree>(plan: &Plan) -> Readings {
    let _entered = plan.runtime.enter();
    let buffer = eviction_buffer();
    let measure = |children: usize| {
        let repetitions = plan.repetitions((REPEATED_CHILDREN / children).clamp(1, 100));
        let mut callers: Vec<f64> = (0..repetitions)
            .map(|_| caller_time::<T>(children, &buffer))
            .collect();
        stats::median(&mut callers)
    };
    let repetitions = plan.repetitions((REPEATED_CHILDREN / plan.size).clamp(1, 20));
    let mut all_done: Vec<f64> = (0..repetitions)
        .map(|_| time_until_all_done::<T>(plan.size, &buffer))
        .collect();
    let few = measure(SMALLEST);
    let caller = measure(plan.size);
    Readings::new()
        .with("caller", caller)
        .with("all_done", stats::median(&mut all_done))
        .with("growth", caller / few)
}

/// How long `cancel` keeps its caller, in nanoseconds, with cold caches and nobody looking on.
fn caller_time<T: Tree>(children: usize, buffer: &[u8]) -> f64 {
    let (root, children) = family::<T>(children);
    evict_caches(buffer);
    let start = Instant::now();
    T::cancel(&root);
    let elapsed = nanoseconds(start.elapsed());
    assert!(
        children.iter().all(T::is_done),
        "a child is live after its root was cancelled"
    );
    elapsed
}

/// From just before the cancel until a thread on another core has seen every child done, in order.
fn time_until_all_done<T: Tree>(children: usize, buffer: &[u8]) -> f64 {
    let (root, children) = family::<T>(children);
    evict_caches(buffer);
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let observer = scope.spawn(|| {
            meet(&arrived, 2);
            for child in &children {
                while !T::is_done(child) {
                    std::hint::spin_loop();
                }
            }
            Instant::now()
        });
        meet(&arrived, 2);
        // Long enough that the observer is already polling its first child.
        let polling = Instant::now();
        while polling.elapsed() < Duration::from_micros(20) {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        T::cancel(&root);
        let end = observer.join().expect("the observer does not panic");
        nanoseconds(end.duration_since(start))
    })
}

fn family<T: Tree>(children: usize) -> (T::Node, Vec<T::Node>) {
    let root = T::root();
    let children = (0..children).map(|_| T::child(&root)).collect();
    (root, children)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

const SMALLEST: usize = 1_000;
/// Small families are cancelled repeatedly, so that a sample cancels about this many children.
const REPEATED_CHILDREN: usize = 300_000;
