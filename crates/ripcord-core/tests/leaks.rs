//! What is left when everything is dropped: nothing, to the block and to the byte.
//!
//! The allocator counts for each thread on its own, so the tests may run side by side.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::alloc::{Live, Watched, calls};
use common::{HandTimer, Relay, Rng};
use ripcord_core::{Ctx, Kind, Shared, ShutdownPlan, Value};
use ripcord_test::{InlineSweeper, ManualTask, TestClock};
use std::any::Any;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const SECOND: Duration = Duration::from_secs(1);
const NOTHING: Live = Live {
    blocks: 0,
    bytes: 0,
};

/// Rounds of what has to leave memory flat.
const ROUNDS: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

struct Number(#[allow(dead_code, reason = "a value needs something to be")] u64);
impl Value for Number {}

/// Runs `f` once for what stays (sites, threads, names), and then again: it leaves nothing.
#[track_caller]
fn leaves_nothing(what: &str, mut f: impl FnMut()) {
    f();
    let before = Live::now();
    for _ in 0..3 {
        f();
    }
    assert_eq!(before.since(), NOTHING, "{what}");
}

//= C1
#[test]
fn the_background_allocates_nothing() {
    let look = || {
        let ctx = black_box(Ctx::background());
        let clone = ctx.clone();
        assert!(!clone.is_done() && clone.check().is_ok() && ctx == clone);
        assert!(ctx.get::<Number>().is_none() && ctx.detach() == ctx);
        assert!(ctx.deadline().is_none() && !ctx.can_be_cancelled());
        drop((ctx.done(), ctx.shield(SECOND), Ctx::merge([])));
    };
    // The first time a place in the source is noted down, for good.
    look();
    let before = calls();
    look();
    assert_eq!(calls(), before);
}

//= C11
#[test]
fn an_idle_child_costs_one_block_of_64_bytes() {
    let (root, _guard) = Ctx::background().child();
    let born = || root.child();
    drop(born());
    let before = Live::now();
    let (child, guard) = born();
    let cost = before.since();
    assert_eq!(cost.blocks, 1);
    assert!(cost.bytes <= 64, "{cost:?}");
    assert!(!child.is_done() && child.check().is_ok() && child.remaining().is_none());
    assert_eq!(before.since(), cost, "a look costs nothing");
    drop((child, guard));
    assert_eq!(before.since(), NOTHING);
}

//= C11, C13
#[test]
fn a_child_whose_guard_is_dropped_allocates_nothing_more() {
    let (root, _guard) = Ctx::background().child();
    let (warm, guard) = root.child();
    drop(guard);
    assert!(warm.is_done());
    let (child, guard) = root.child();
    let before = calls();
    drop(guard);
    assert!(child.is_done());
    drop(child);
    assert_eq!(calls(), before, "no cause is made for nobody");
}

//= C11
#[test]
fn a_dead_child_costs_its_parent_nothing() {
    let (root, _guard) = Ctx::root().sweeper(Arc::new(InlineSweeper)).build();
    let first = ManualTask::new(root.done());
    let born = |cancelled: bool, dropped_first: bool| {
        let (child, guard) = root.child();
        let mut waiter = ManualTask::new(child.done());
        assert!(waiter.poll().is_pending());
        if cancelled {
            assert!(guard.cancel("x"));
        } else {
            guard.disarm();
        }
        if dropped_first {
            drop(waiter);
            drop(child);
        } else {
            drop(child);
            drop(waiter);
        }
    };
    let all = |rounds: usize| {
        for case in 0..4 * rounds {
            born(case % 2 == 0, case / 2 % 2 == 0);
        }
    };
    all(1);
    let before = Live::now();
    all(100);
    assert_eq!(before.since(), NOTHING);
    // Many at a time, in any order.
    let mut rng = Rng::new();
    let mut many = |count: usize| {
        let waiting = |_| {
            let (child, guard) = root.child();
            let mut waiter = ManualTask::new(child.done());
            assert!(waiter.poll().is_pending());
            Some((child, guard, waiter))
        };
        let mut children: Vec<_> = (0..count).map(waiting).collect();
        let mut order: Vec<usize> = (0..count).collect();
        rng.shuffle(&mut order);
        for at in order {
            drop(children[at].take());
        }
    };
    // The very code that is measured: the compiler may store a place in the source once for each copy
    // of the code, and each is noted down for good.
    many(1);
    let before = Live::now();
    many(1_000);
    assert_eq!(before.since(), NOTHING);
    drop(first);
}

/// A tree with something of everything; its parts, to be dropped in some order.
fn everything(clock: &TestClock) -> Vec<Box<dyn Any>> {
    let root = clock.root().timer(Arc::new(HandTimer::new())).tracked();
    let (root, guard) = root.name("everything").build();
    let named = root.named(String::from("a name")).with(Number(1));
    let timed = named.with_timeout(SECOND);
    let (child, child_guard) = timed.child();
    let (other, other_guard) = Ctx::background().with(Number(2)).child();
    let shield = child.shield(SECOND);
    let merged = Ctx::merge([&shield, &other]);
    let all = Ctx::all_of([&child, &other]);
    let relay = Relay::new();
    let sourced = child.with_source(relay.shared());
    let shared = Shared::new(&child);
    let member = shared.join(&merged).unwrap();
    let mut done = [&root, &timed, &child, &shield, &merged, &all, &sourced]
        .map(|ctx| ManualTask::new(ctx.done()));
    let mut draining = [&child, &merged].map(|ctx| ManualTask::new(ctx.draining()));
    assert!(done.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(draining.iter_mut().all(|waiter| waiter.poll().is_pending()));
    let hooks = [&timed, &child, &shield, &merged].map(|ctx| ctx.on_done(|_| {}));
    child.on_done(|_| {}).detach();
    let watched = child.watched_child();
    let detached = child.detach().child();
    let mut parts: Vec<Box<dyn Any>> = vec![
        Box::new((root, guard.handle())),
        Box::new(guard),
        Box::new((named, timed)),
        Box::new(child),
        Box::new(child_guard),
        Box::new((other, sourced)),
        Box::new(other_guard),
        Box::new(shield),
        Box::new((merged, all)),
        Box::new((shared, member)),
        Box::new(draining),
        Box::new((relay, watched)),
        Box::new(detached),
    ];
    for (at, waiter) in done.into_iter().enumerate() {
        parts.insert(at * 2, Box::new(waiter));
    }
    parts.extend(hooks.map(|hook| Box::new(hook) as Box<dyn Any>));
    parts
}

//= C11, C31, C37, C62, C64, C69
#[test]
fn a_tree_with_everything_leaves_nothing_in_whatever_order_it_is_dropped() {
    let clock = TestClock::new();
    let mut rng = Rng::new();
    leaves_nothing("with everything", || {
        for _ in 0..20 {
            let mut parts = everything(&clock);
            rng.shuffle(&mut parts);
            while let Some(part) = parts.pop() {
                drop(part);
            }
        }
    });
    leaves_nothing("in order", || drop(everything(&clock)));
    leaves_nothing("in reverse", || {
        let mut parts = everything(&clock);
        while let Some(part) = parts.pop() {
            drop(part);
        }
    });
}

//= C11
#[test]
fn what_ended_leaves_nothing_either() {
    let clock = TestClock::new();
    leaves_nothing("ended", || {
        for how in 0..4 {
            let (root, guard) = clock.ctx();
            let (child, _child_guard) = root.with_timeout(SECOND).child();
            let shield = child.shield(2 * SECOND);
            let mut waiters = [&root, &child, &shield].map(|ctx| ManualTask::new(ctx.done()));
            assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
            let hook = child.on_done(|_| {});
            match how {
                0 => assert!(guard.cancel(String::from("an owned message"))),
                1 => clock.advance(SECOND),
                2 => assert!(guard.force(Kind::Shutdown)),
                _ => guard.shutdown(ShutdownPlan::new(SECOND, SECOND)),
            }
            clock.advance(5 * SECOND);
            assert!(hook.has_run() && shield.is_done());
            assert!(how == 1 || waiters.iter().all(|waiter| waiter.wakes() == 1));
            assert_eq!(child.cause(), shield.cause());
        }
    });
}

//= C62
#[test]
fn hooks_that_come_and_go_leave_memory_flat() {
    let (root, _guard) = Ctx::background().child();
    let kept = root.on_done(|_| {});
    drop(root.on_done(|_| {}));
    let before = Live::now();
    for round in 0..ROUNDS {
        let number = round as u64;
        let hook = root.on_done(move |_| assert!(number < u64::MAX));
        if round % 2 == 0 {
            assert!(hook.stop());
        }
        drop(hook);
    }
    assert_eq!(before.since(), NOTHING);
    drop(kept);
}

//= C69
#[test]
fn merges_of_a_long_lived_context_leave_memory_flat() {
    for registered in [false, true] {
        let (long, _guard) = Ctx::root().sweeper(Arc::new(InlineSweeper)).build();
        let round = |which: usize| {
            let (short, guard) = Ctx::background().child();
            let merged = Ctx::merge([&long, &short]);
            let (below, _below_guard) = merged.child();
            let mut waiter = ManualTask::new(below.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            match which % 3 {
                0 => assert!(guard.cancel("short") && merged.is_done()),
                1 => drop(guard),
                _ => guard.disarm(),
            }
        };
        (0..3).for_each(round);
        let before = Live::now();
        (0..ROUNDS / 10).for_each(round);
        assert_eq!(before.since(), NOTHING, "registered: {registered}");
    }
}

//= C31
#[test]
fn deadlines_that_are_waited_for_leave_nothing_at_the_timer() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let round = || {
        let ctx = root.with_timeout(SECOND);
        let mut waiter = ManualTask::new(ctx.done());
        assert!(waiter.poll().is_pending());
    };
    round();
    let before = Live::now();
    for _ in 0..1_000 {
        round();
    }
    assert_eq!((before.since(), clock.armed()), (NOTHING, 0));
}

//= C11, C83
#[test]
fn shields_that_come_and_go_leave_memory_flat() {
    for parent_is_done in [false, true] {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (parent, _parent_guard) = root.child();
        if parent_is_done {
            guard.cancel("x");
        }
        let shields = |count: usize| {
            for _ in 0..count {
                drop(parent.shield(SECOND));
            }
        };
        shields(100);
        let before = Live::now();
        shields(10_000);
        let grown = before.since();
        assert!(grown.blocks <= 16 && grown.bytes <= 2_048, "{grown:?}");
        drop((root, parent, guard));
    }
}

//= C73
#[test]
fn values_that_are_replaced_are_freed() {
    let (root, _guard) = Ctx::background().child();
    leaves_nothing("values", || {
        let mut ctx = root.clone();
        for at in 0..100 {
            ctx = ctx.with(Number(at)).named(format!("{at}"));
        }
        assert_eq!(ctx.get::<Number>().map(|number| number.0), Some(99));
    });
}

//= C86
#[test]
fn a_shutdown_that_is_under_way_goes_with_its_tree() {
    leaves_nothing("a plan that nobody waited for", || {
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        let shield = ctx.shield(SECOND);
        guard.shutdown(ShutdownPlan::new(SECOND, SECOND));
        guard.shutdown(ShutdownPlan::new(3 * SECOND, SECOND));
        clock.advance(SECOND);
        assert!(ctx.is_done() && !shield.is_done());
        drop((ctx, guard));
        assert_eq!(clock.armed(), 2, "the shield is below");
        drop(shield);
        assert_eq!(clock.armed(), 0);
    });
    leaves_nothing("plans one after the other", || {
        let (ctx, guard) = Ctx::background().child();
        let before = Live::now();
        for _ in 0..1_000 {
            guard.shutdown(ShutdownPlan::new(Duration::ZERO, Duration::ZERO));
        }
        assert!(before.since().blocks <= 16, "{:?}", before.since());
        drop(ctx);
    });
}
