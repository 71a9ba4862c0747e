//! Deep, wide and tangled trees: no recursion, no quadratic work, no lost end.
//!
//! A walk that is quadratic or exponential here takes longer than anybody waits.

mod common;

use common::{Rng, finishes, on_stack, together};
use ripcord_core::{CancelGuard, Ctx, Done, Kind, Phase, dump};
use ripcord_test::{InlineSweeper, ManualTask, TestClock};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SMALL_STACK: usize = 128 * 1024;

/// A twentieth in debug builds.
const fn scaled(full: usize) -> usize {
    if cfg!(debug_assertions) {
        full / 20
    } else {
        full
    }
}

const DEEP: usize = scaled(1_000_000);
const WIDE: usize = scaled(1_000_000);
const NESTED: usize = scaled(100_000);
const CANCELS: usize = scaled(10_000);
const HOOKS: usize = scaled(1_000_000);
/// Fewer: each row of a dump looks at all contexts above.
const DUMPED: usize = 3_000;

/// A root whose sweeps are over when the cancel returns.
fn root() -> (Ctx, CancelGuard) {
    Ctx::root().sweeper(Arc::new(InlineSweeper)).build()
}

/// A chain below `ctx`, and the guards of its contexts, topmost first.
fn chain(ctx: &Ctx, length: usize) -> (Ctx, Vec<CancelGuard>) {
    let mut guards = Vec::with_capacity(length);
    let mut last = ctx.clone();
    for _ in 0..length {
        let (next, guard) = last.child();
        guards.push(guard);
        last = next;
    }
    (last, guards)
}

fn waiting(ctx: &Ctx) -> ManualTask<Done> {
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    waiter
}

//= C9, C132
#[test]
fn a_deep_chain_is_made_checked_waited_for_cancelled_and_dropped() {
    for registered in [false, true] {
        finishes(move || {
            on_stack(SMALL_STACK, move || {
                let (top, guard) = root();
                let (leaf, guards) = chain(&top, DEEP);
                assert!(!leaf.is_done() && leaf.check().is_ok() && leaf.deadline().is_none());
                let waiter = registered.then(|| waiting(&leaf));
                let hook = registered.then(|| leaf.on_done(|_| {}));
                assert_eq!(leaf.phase(), Phase::Live);
                assert!(guard.drain() && leaf.phase() == Phase::Draining);
                assert!(guard.cancel(Kind::PeerGone));
                assert!(leaf.is_done() && leaf.wait().kind() == Kind::PeerGone);
                assert!(format!("{leaf:?} {guard:?}").contains("PeerGone"));
                assert!(waiter.is_none_or(|waiter| waiter.wakes() == 1));
                assert!(hook.is_none_or(|hook| hook.has_run()));
                assert!(guard.force("forced") && leaf.phase() == Phase::Forced);
                drop(guards);
                // The leaf is the last to hold all of them.
                drop((top, guard));
                drop(leaf);
            });
        });
    }
}

//= C9, C132
#[test]
fn a_deep_chain_is_dropped_in_any_order() {
    finishes(|| {
        for order in 0..4 {
            let (top, guard) = root();
            let (leaf, mut guards) = chain(&top, DEEP);
            let waiter = (order % 2 == 0).then(|| waiting(&leaf));
            match order {
                0 | 1 => {
                    // From below, while the leaf is alive: each guard cancels.
                    while let Some(guard) = guards.pop() {
                        if order == 1 {
                            drop(guard);
                        } else {
                            guard.disarm();
                        }
                    }
                }
                2 => drop(guards),
                _ => {
                    Rng::new().shuffle(&mut guards);
                    for guard in guards {
                        drop(guard);
                    }
                }
            }
            assert_eq!(leaf.is_done(), order != 0);
            drop((top, guard, waiter));
            on_stack(SMALL_STACK, move || drop(leaf));
        }
    });
}

//= C9, C132
#[test]
fn a_deep_chain_of_deadlines_ends_at_the_nearest() {
    finishes(|| {
        let clock = TestClock::new();
        let (top, _guard) = clock.ctx();
        let timed = top.with_timeout(Duration::from_secs(3_600));
        let (leaf, guards) = chain(&timed, DEEP);
        let nearest = leaf.with_timeout(SECOND);
        let (below, more) = chain(&nearest, DEEP);
        let waiter = waiting(&below);
        assert_eq!(below.remaining(), Some(SECOND));
        clock.advance(SECOND);
        assert!(below.is_done() && waiter.wakes() == 1 && !leaf.is_done());
        clock.advance(Duration::from_secs(3_600));
        assert!(leaf.is_done() && timed.is_done());
        on_stack(SMALL_STACK, move || {
            drop((leaf, below, nearest, timed, waiter));
        });
        drop((guards, more));
    });
}

//= C9
#[test]
fn a_deep_chain_is_dumped() {
    finishes(|| {
        let (top, guard) = Ctx::root().name("scale: dumped").tracked().build();
        let (leaf, guards) = chain(&top, DUMPED);
        on_stack(SMALL_STACK, move || {
            let text = dump().to_string();
            let lines = text.lines().filter(|line| line.contains("scale: dumped"));
            assert_eq!(lines.count(), DUMPED + 1);
            drop((top, guard, leaf, guards));
        });
    });
}

//= C9, C132
#[test]
fn a_million_children_of_one_context() {
    finishes(|| {
        for registered in [false, true] {
            for from_the_end in [false, true] {
                let (top, guard) = root();
                let mut children = Vec::with_capacity(WIDE);
                for _ in 0..WIDE / 2 {
                    let (child, guard) = top.child();
                    let waiter = registered.then(|| waiting(&child));
                    children.push((child, guard, waiter));
                }
                if from_the_end {
                    // A third goes before the end, from the middle.
                    let third = children.len() / 3;
                    children.drain(third..2 * third);
                }
                assert!(guard.cancel(Kind::Shutdown));
                assert!(children.iter().all(|(child, _, _)| child.is_done()));
                let woken = children.iter().filter_map(|child| child.2.as_ref());
                assert!(woken.into_iter().all(|waiter| waiter.wakes() == 1));
                while from_the_end && children.pop().is_some() {}
                on_stack(SMALL_STACK, move || drop(children));
                drop(top);
            }
        }
    });
}

//= C132, C65
#[test]
fn a_long_chain_of_merges_does_not_recurse() {
    for ended in 0..3 {
        finishes(move || {
            on_stack(SMALL_STACK, move || {
                let clock = TestClock::new();
                let (top, guard) = clock.ctx();
                let (other, other_guard) = clock.ctx();
                let timed = other.with_timeout(SECOND);
                let mut last = top.clone();
                let mut guards = Vec::with_capacity(NESTED);
                for at in 0..NESTED {
                    let (child, guard) = last.child();
                    guards.push(guard);
                    let second = if at % 2 == 0 { &other } else { &timed };
                    last = Ctx::merge([&child, second]);
                }
                assert!(!last.is_done() && last.phase() == Phase::Live);
                assert_eq!(last.remaining(), Some(SECOND));
                let waiter = waiting(&last);
                match ended {
                    0 => assert!(guard.cancel(Kind::PeerGone)),
                    1 => clock.advance(SECOND),
                    _ => assert!(other_guard.drain() && other_guard.force(Kind::PeerGone)),
                }
                let phase = if ended == 2 {
                    Phase::Forced
                } else {
                    Phase::Cancelled
                };
                assert!(last.is_done() && last.phase() == phase);
                let expect = [Kind::PeerGone, Kind::DeadlineExceeded, Kind::PeerGone];
                assert_eq!(last.cause().map(|cause| cause.kind()), Some(expect[ended]));
                assert_eq!(waiter.wakes(), 1);
                drop((guards, waiter, top, other, timed));
                drop(last);
            });
        });
    }
}

/// Two merges on each step, of both of the step before: 2⁶⁰ paths.
fn ladder(from: [Ctx; 2], steps: usize) -> [Ctx; 2] {
    let mut rung = from;
    for _ in 0..steps {
        let [a, b] = [rung[0].child(), rung[1].child()].map(|(ctx, guard)| {
            guard.disarm();
            ctx
        });
        rung = [Ctx::merge([&a, &b]), Ctx::merge([&b, &a])];
    }
    rung
}

//= C132, C65
#[test]
fn a_ladder_of_merges_is_not_walked_along_every_path() {
    type End = fn(&TestClock, &CancelGuard);
    let ends: [(End, Phase); 4] = [
        (|_, guard| assert!(guard.cancel("x")), Phase::Cancelled),
        (|clock, _| clock.advance(SECOND), Phase::Cancelled),
        (|_, guard| assert!(guard.force("x")), Phase::Forced),
        (|_, guard| assert!(guard.drain()), Phase::Draining),
    ];
    for (end, phase) in ends {
        for registered in [false, true] {
            finishes(move || {
                let clock = TestClock::new();
                let (a, guard) = clock.ctx();
                let (b, _b_guard) = clock.ctx();
                let [left, right] = ladder([a.with_timeout(SECOND), b.clone()], 60);
                let shield = left.shield(SECOND);
                let below = Ctx::merge([&shield, &right]).with_timeout(9 * SECOND);
                assert!(!left.is_done() && !below.is_done());
                assert_eq!(right.remaining(), Some(SECOND));
                let mut draining = ManualTask::new(right.draining());
                let waiter = registered.then(|| waiting(&left));
                assert!(!registered || draining.poll().is_pending());
                assert!(right.phase() == Phase::Live && !right.is_done());
                end(&clock, &guard);
                assert_eq!((left.phase(), right.phase()), (phase, phase));
                let is_done = phase > Phase::Draining;
                assert_eq!((left.is_done(), below.is_done()), (is_done, is_done));
                assert_eq!(draining.wakes(), usize::from(registered));
                let wakes = waiter.map_or(usize::from(is_done), |waiter| waiter.wakes());
                assert_eq!(wakes, usize::from(is_done));
                guard.force("at last");
                assert_eq!(shield.phase(), Phase::Forced);
            });
        }
    }
}

//= C132, C83
#[test]
fn a_force_on_a_ladder_that_was_cancelled_is_not_walked_along_every_path() {
    finishes(|| {
        let (a, guard) = root();
        let (b, _b_guard) = root();
        let [left, right] = ladder([a.clone(), b], 60);
        let shields = [&left, &right].map(|ctx| ctx.shield(ripcord_core::Grace::UNBOUNDED));
        let waiters = shields.each_ref().map(waiting);
        assert!(guard.cancel("x") && left.is_done() && !shields[0].is_done());
        assert!(guard.force("x"));
        for (shield, waiter) in shields.iter().zip(&waiters) {
            assert_eq!((shield.phase(), waiter.wakes()), (Phase::Forced, 1));
        }
    });
}

//= C132, C71
#[test]
fn a_ladder_of_all_ofs_is_not_walked_along_every_path() {
    finishes(|| {
        let clock = TestClock::new();
        let (a, guard_a) = clock.ctx();
        let (b, guard_b) = clock.ctx();
        let mut rung = [a.with_timeout(SECOND), b.with_timeout(2 * SECOND)];
        for _ in 0..60 {
            rung = [Ctx::all_of(&rung), Ctx::all_of([&rung[1], &rung[0]])];
        }
        let waiter = waiting(&rung[0]);
        assert_eq!(rung[1].remaining(), Some(2 * SECOND));
        guard_a.cancel("a");
        assert!(!rung[0].is_done() && waiter.wakes() == 0);
        clock.advance(Duration::from_millis(1));
        guard_b.cancel("b");
        assert!(rung[1].is_done() && waiter.wakes() == 1);
        assert_eq!(rung[0].cause(), b.cause());
    });
}

//= C5, C8
#[test]
fn of_many_racing_cancels_one_wins_and_its_cause_is_everywhere() {
    const THREADS: usize = 8;
    finishes(|| {
        let (top, guard) = root();
        let (leaf, guards) = chain(&top, 20);
        let side: Vec<_> = (0..20).map(|_| top.child()).collect();
        let mut waiters: Vec<_> = side.iter().map(|(ctx, _)| waiting(ctx)).collect();
        waiters.push(waiting(&leaf));
        let wins = together(THREADS, |thread| {
            let handle = guard.handle();
            let tries = (0..CANCELS / THREADS).map(|at| (at, format!("{thread}/{at}")));
            let won = tries.filter(|(_, name)| handle.cancel(name.clone()));
            won.map(|(_, name)| name).collect::<Vec<_>>()
        });
        let all: Vec<String> = wins.into_iter().flatten().collect();
        assert_eq!(all.len(), 1, "exactly one: {all:?}");
        let ends = side.iter().map(|(ctx, _)| ctx).chain([&top, &leaf]);
        for ctx in ends {
            assert_eq!(ctx.cause().unwrap().message(), Some(&*all[0]));
            assert_eq!(ctx.cause(), top.cause());
        }
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
        drop(guards);
    });
}

//= C62, C132
#[test]
fn a_million_hooks_on_one_context() {
    finishes(|| {
        let (ctx, guard) = root();
        let mut hooks: Vec<_> = (0..HOOKS).map(|_| ctx.on_done(|_| {})).collect();
        let kept = hooks.split_off(HOOKS / 2);
        // In the order of registration, from the other end, and from everywhere.
        let mut rest = hooks.split_off(HOOKS / 4);
        drop(hooks);
        Rng::new().shuffle(&mut rest);
        while let Some(hook) = rest.pop() {
            assert!(hook.stop());
        }
        assert!(guard.cancel("x"));
        assert!(kept.iter().all(ripcord_core::Hook::has_run));
    });
}
