//! Chapter *Shield, detach and phases* of the specification: drain, force and shutdown.

mod common;

use common::{HandTimer, HeldSweeper, Rng, below, finishes, grace, just_before, message, together};
use ripcord_core::{CancelGuard, Cause, Ctx, Grace, Kind, Phase, ShutdownPlan};
use ripcord_test::{ManualTask, TestClock};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

//= C83
#[test]
fn phases_only_go_up() {
    for round in 0..100 {
        let (root, guard) = Ctx::background().child();
        let (parent, parent_guard) = root.child();
        let shield = parent.shield(Grace::UNBOUNDED);
        let (leaf, _leaf_guard) = parent.child();
        let mut waiter = ManualTask::new(shield.done());
        if round % 2 == 0 {
            assert!(waiter.poll().is_pending());
        }
        together(4, |at| match at {
            0 => {
                parent_guard.drain();
                parent_guard.cancel("x");
            }
            1 => drop(guard.drain() && guard.force("forced")),
            _ => {
                let watched = [&leaf, &shield][at % 2];
                let mut last = Phase::Live;
                while last < Phase::Forced {
                    let phase = watched.phase();
                    assert!(phase >= last, "{phase:?} after {last:?}");
                    last = phase;
                    if guard.ctx().phase() == Phase::Forced {
                        assert_eq!(watched.phase(), Phase::Forced);
                    }
                    if watched.phase() == Phase::Cancelled {
                        guard.force("forced");
                    }
                    std::hint::spin_loop();
                }
            }
        });
        assert_eq!(waiter.wakes(), usize::from(round % 2 == 0));
    }
}

//= C84
#[test]
fn force_ends_and_pierces_once() {
    let clock = TestClock::new();
    for cancelled_before in [false, true] {
        let (ctx, guard) = clock.ctx();
        let (child, child_guard) = ctx.child();
        let shield = child.shield(Grace::UNBOUNDED);
        if cancelled_before {
            guard.cancel("first");
        }
        assert!(guard.handle().force("second"));
        let expect = if cancelled_before { "first" } else { "second" };
        for ctx in [&ctx, &child, &shield] {
            assert_eq!(ctx.phase(), Phase::Forced);
            assert_eq!(message(ctx).unwrap(), expect);
        }
        assert!(!guard.force("third"));
        assert!(!child_guard.force("third"), "it is forced from above");
        assert_eq!(message(&ctx).unwrap(), expect);
    }
    // A child that was cancelled by itself is forced with its parent.
    let (ctx, guard) = clock.ctx();
    let (child, child_guard) = ctx.child();
    let shield = child.shield(Grace::UNBOUNDED);
    let mut waiter = ManualTask::new(shield.done());
    assert!(waiter.poll().is_pending());
    child_guard.cancel("child");
    assert!(guard.cancel("parent") && waiter.wakes() == 0);
    assert!(guard.force("forced"));
    assert_eq!((child.phase(), waiter.wakes()), (Phase::Forced, 1));
    assert_eq!(message(&shield).unwrap(), "child");
}

//= C84
#[test]
fn a_members_force_is_not_the_groups() {
    let clock = TestClock::new();
    let (a, guard_a) = clock.ctx();
    let (b, guard_b) = clock.ctx();
    let all = Ctx::all_of([&a, &b]);
    let shield = all.shield(Grace::UNBOUNDED);
    let mut waiters = [&all, &shield].map(|ctx| ManualTask::new(ctx.done()));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    guard_b.cancel("b");
    guard_a.force("a");
    assert_eq!(
        (all.phase(), shield.phase()),
        (Phase::Cancelled, Phase::Live)
    );
    assert_eq!((waiters[0].wakes(), waiters[1].wakes()), (1, 0));
    assert!(guard_b.force("b"));
    assert_eq!((shield.is_done(), waiters[1].wakes()), (false, 0));
}

//= C85
#[test]
fn a_drain_reaches_the_descendants_and_ends_nothing() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    let (early, early_guard) = ctx.child();
    let shield = early.shield(grace(1));
    let (other, _other_guard) = clock.ctx();
    let merged = Ctx::merge([&early, &other]);
    let all = Ctx::all_of([&early, &other]);
    let reached = [&ctx, &early, &shield, &merged];
    let mut waiters = reached.map(|ctx| ManualTask::new(ctx.draining()));
    let mut done = reached.map(|ctx| ManualTask::new(ctx.done()));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(done.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(guard.drain());
    let (late, _late_guard) = early.child();
    for ctx in reached.into_iter().chain([&late]) {
        assert_eq!(ctx.phase(), Phase::Draining);
        assert!(!ctx.is_done() && ctx.check().is_ok() && ctx.cause().is_none());
        assert!(ManualTask::new(ctx.draining()).poll().is_ready());
    }
    for ctx in [&other, &all, &ctx.detach()] {
        assert_eq!(ctx.phase(), Phase::Live, "no descendant");
    }
    for (waiter, done) in waiters.iter_mut().zip(&done) {
        assert_eq!((waiter.wakes(), done.wakes()), (1, 0));
        assert!(waiter.poll().is_ready());
    }
    assert!(!guard.drain() && !early_guard.drain(), "draining already");
    guard.cancel("x");
    assert!(!guard.drain(), "done already");
    assert_eq!(ctx.phase(), Phase::Cancelled);
}

//= C85
#[test]
fn a_cancel_without_a_drain_wakes_those_who_wait_for_one() {
    type End = fn(&TestClock, &CancelGuard);
    let ends: [End; 3] = [
        |_, guard| assert!(guard.cancel("x")),
        |_, guard| assert!(guard.force("x")),
        |clock, _| clock.advance(SECOND),
    ];
    for end in ends {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let timed = root.with_timeout(SECOND);
        let (ctx, _child_guard) = timed.child();
        let mut waiter = ManualTask::new(ctx.draining());
        assert!(waiter.poll().is_pending());
        end(&clock, &guard);
        assert_eq!(waiter.wakes(), 1);
        assert!(waiter.poll().is_ready());
        assert!(ManualTask::new(ctx.draining()).poll().is_ready());
    }
}

//= C86
#[test]
fn a_shutdown_goes_through_the_phases() {
    let clock = TestClock::new();
    for by_handle in [false, true] {
        let (ctx, guard) = clock.ctx();
        let shield = ctx.shield(Grace::UNBOUNDED);
        let mut waiters = (
            ManualTask::new(ctx.draining()),
            ManualTask::new(ctx.done()),
            ManualTask::new(shield.done()),
        );
        assert!(waiters.0.poll().is_pending() && waiters.1.poll().is_pending());
        assert!(waiters.2.poll().is_pending());
        let plan = ShutdownPlan::new(2 * SECOND, 3 * SECOND);
        if by_handle {
            guard.handle().shutdown(plan);
        } else {
            guard.shutdown(plan);
        }
        let wakes = |all: &(ManualTask<_>, ManualTask<_>, ManualTask<_>)| {
            (all.0.wakes(), all.1.wakes(), all.2.wakes())
        };
        assert_eq!((ctx.phase(), wakes(&waiters)), (Phase::Draining, (1, 0, 0)));
        clock.advance(just_before(2 * SECOND));
        assert_eq!(ctx.phase(), Phase::Draining);
        clock.advance(NANO);
        assert_eq!(
            (ctx.phase(), wakes(&waiters)),
            (Phase::Cancelled, (1, 1, 0))
        );
        assert_eq!(ctx.cause().unwrap().kind(), Kind::Shutdown);
        clock.advance(just_before(3 * SECOND));
        assert_eq!((ctx.phase(), shield.is_done()), (Phase::Cancelled, false));
        clock.advance(NANO);
        assert_eq!((ctx.phase(), wakes(&waiters)), (Phase::Forced, (1, 1, 1)));
        assert_eq!(clock.armed(), 0);
    }
}

//= C86
#[test]
fn a_zero_in_the_plan_skips_that_wait() {
    let clock = TestClock::new();
    let zero = Duration::ZERO;
    for (drain, grace, expect) in [
        (zero, SECOND, [Phase::Cancelled, Phase::Forced]),
        (SECOND, zero, [Phase::Draining, Phase::Forced]),
        (zero, zero, [Phase::Forced, Phase::Forced]),
        (Duration::MAX, zero, [Phase::Draining, Phase::Draining]),
        (zero, Duration::MAX, [Phase::Cancelled, Phase::Cancelled]),
    ] {
        let (ctx, guard) = clock.ctx();
        guard.shutdown(ShutdownPlan::new(drain, grace).with_cause("mine"));
        assert_eq!(ctx.phase(), expect[0], "{drain:?} {grace:?}");
        clock.advance(SECOND);
        assert_eq!(ctx.phase(), expect[1], "{drain:?} {grace:?}");
        if ctx.is_done() {
            assert_eq!(message(&ctx).unwrap(), "mine");
        }
        guard.disarm();
    }
}

//= C86
#[test]
fn a_shutdown_goes_on_where_the_timer_cannot_serve() {
    finishes(|| {
        let timers: [Arc<dyn ripcord_core::Timer>; 3] = [
            Arc::new(common::RefusingTimer),
            Arc::new(common::EarlyTimer),
            Arc::new(common::PanickingTimer),
        ];
        for timer in timers {
            let (ctx, guard) = Ctx::root().timer(timer).build();
            let ms = Duration::from_millis(1);
            let shield = ctx.shield(Grace::UNBOUNDED);
            let waiting = thread::spawn(move || shield.wait());
            guard.shutdown(ShutdownPlan::new(ms, ms));
            assert_eq!(waiting.join().unwrap().kind(), Kind::Shutdown);
            assert_eq!(ctx.phase(), Phase::Forced);
        }
    });
}

//= C85
#[test]
fn a_drain_wakes_those_who_wait_for_it_at_any_depth() {
    let sweeper = HeldSweeper::new();
    let (root, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
    let (mut level, mut levels) = (root.clone(), Vec::new());
    for _ in 0..40 {
        level = below(&below(&below(&level)).named("level"));
        levels.push(level.clone());
    }
    let places = || levels.iter().flat_map(|ctx| [ctx.clone(), below(ctx)]);
    let mut drains: Vec<_> = places().map(|it| ManualTask::new(it.draining())).collect();
    let mut ends: Vec<_> = places().map(|it| ManualTask::new(it.done())).collect();
    assert!(drains.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(ends.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(guard.drain());
    assert!(levels.iter().all(|ctx| ctx.phase() == Phase::Draining));
    assert!(places().all(|ctx| ManualTask::new(ctx.draining()).poll().is_ready()));
    assert!(
        drains.iter().any(|waiter| waiter.wakes() == 0),
        "a bounded part"
    );
    sweeper.run();
    assert!(drains.iter().all(|waiter| waiter.wakes() == 1));
    assert!(ends.iter().all(|waiter| waiter.wakes() == 0));
    // Those that were woken are not registered any more.
    guard.cancel("x");
    sweeper.run();
    assert!(drains.iter().all(|waiter| waiter.wakes() == 1));
    assert!(drains.iter_mut().all(|waiter| waiter.poll().is_ready()));
    assert!(
        ends.iter_mut()
            .all(|it| it.wakes() == 1 && it.poll().is_ready())
    );
}

//= C83
#[test]
fn whatever_is_done_no_phase_goes_back() {
    let mut rng = Rng::new();
    for _ in 0..50 {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (mut ctxs, mut guards, mut waiters) = (vec![root], vec![guard], Vec::new());
        for _ in 0..20 {
            let (one, other) = (rng.below(ctxs.len()), rng.below(ctxs.len()));
            let (one, other) = (ctxs[one].clone(), ctxs[other].clone());
            ctxs.push(match rng.below(6) {
                0 => one.shield(grace(2)),
                1 => one.shield(Grace::UNBOUNDED),
                2 => Ctx::merge([&one, &other]),
                3 => Ctx::all_of([&one, &other]),
                4 => one.with_timeout(SECOND * 3),
                _ => {
                    let (child, guard) = one.child();
                    guards.push(guard);
                    child
                }
            });
            let mut waiter = ManualTask::new(ctxs.last().unwrap().done());
            if rng.below(2) == 0 {
                let _ = waiter.poll();
            }
            waiters.push(waiter);
        }
        let mut before: Vec<Phase> = ctxs.iter().map(Ctx::phase).collect();
        for step in 0..20 {
            let guard = &guards[rng.below(guards.len())];
            match rng.below(5) {
                0 | 1 => drop(guard.drain()),
                2 => drop(guard.cancel("x")),
                3 if step > 10 => drop(guard.force("x")),
                _ => clock.advance(SECOND / 2),
            }
            let after: Vec<Phase> = ctxs.iter().map(Ctx::phase).collect();
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                assert!(after >= before, "{at}: {after:?} after {before:?}");
                assert_eq!(ctxs[at].is_done(), *after >= Phase::Cancelled);
            }
            before = after;
        }
    }
}

//= C86
#[test]
fn a_plan_leaves_an_earlier_end_as_it_is_and_forces_at_its_time() {
    type End = fn(&CancelGuard, &CancelGuard, &TestClock);
    let ends: [(&str, End, Kind); 5] = [
        ("own", |own, _, _| assert!(own.cancel("x")), Kind::Cancelled),
        (
            "above",
            |_, above, _| assert!(above.cancel("x")),
            Kind::Cancelled,
        ),
        (
            "deadline",
            |_, _, clock| clock.advance(SECOND),
            Kind::DeadlineExceeded,
        ),
        (
            "forced",
            |own, _, _| assert!(own.force(Kind::Signal)),
            Kind::Signal,
        ),
        (
            "not at all",
            |_, _, clock| clock.advance(SECOND * 4),
            Kind::Shutdown,
        ),
    ];
    for (how, end, kind) in ends {
        let clock = TestClock::new();
        let start = clock.now();
        let (root, above) = clock.ctx();
        let timeout = if how == "not at all" { 99 } else { 2 };
        let (ctx, own) = root.with_timeout(SECOND * timeout).child();
        own.shutdown(ShutdownPlan::new(SECOND * 3, SECOND * 4));
        let line = line!() - 1;
        clock.advance(SECOND);
        assert_eq!(ctx.phase(), Phase::Draining, "{how}");
        end(&own, &above, &clock);
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.kind(), kind, "{how}");
        let is_planned = cause.site().is_some_and(|site| site.line() == line);
        assert_eq!(is_planned, kind == Kind::Shutdown, "{how}");
        let expect = if how == "forced" {
            Phase::Forced
        } else {
            Phase::Cancelled
        };
        clock.advance_to(start + just_before(SECOND * 7));
        assert_eq!(ctx.phase(), expect, "{how}");
        clock.advance(NANO);
        assert_eq!(ctx.phase(), Phase::Forced, "{how}");
        assert_eq!(ctx.cause(), Some(cause), "{how}");
        assert_eq!(root.phase() == Phase::Cancelled, how == "above", "{how}");
    }
}

//= C86
#[test]
fn a_plan_goes_on_without_the_handles_it_was_given_to() {
    let plan = || ShutdownPlan::new(SECOND, SECOND);
    let clock = TestClock::new();
    // Neither guard nor context: what is below keeps the node.
    let (ctx, guard) = clock.ctx();
    let below = below(&ctx);
    guard.shutdown(plan());
    guard.disarm();
    drop(ctx);
    for expect in [Phase::Draining, Phase::Cancelled, Phase::Forced] {
        assert_eq!(below.phase(), expect);
        clock.advance(SECOND);
    }
    assert_eq!(below.cause().unwrap().kind(), Kind::Shutdown);
    // A guard that is dropped cancels at once; the rest of the plan stands.
    let (ctx, guard) = clock.ctx();
    guard.shutdown(plan());
    drop(guard);
    assert_eq!(ctx.cause().unwrap().kind(), Kind::Dropped);
    clock.advance(SECOND);
    assert_eq!(ctx.phase(), Phase::Cancelled);
    clock.advance(SECOND);
    assert_eq!(ctx.phase(), Phase::Forced);
    // The plan itself keeps nothing.
    let (ctx, guard) = clock.root().name("planned and gone").tracked().build();
    guard.shutdown(plan());
    guard.disarm();
    drop(ctx);
    assert!(common::rows_named("planned and gone").is_empty());
    clock.advance(2 * SECOND);
    assert_eq!(clock.armed(), 0);
}

//= C86
#[test]
fn a_plan_says_why_and_the_shorter_of_two_counts() {
    let plan = || ShutdownPlan::new(SECOND, Duration::ZERO);
    let causes = [
        (plan(), Kind::Shutdown, None),
        (
            plan().with_message("deploy"),
            Kind::Shutdown,
            Some("deploy"),
        ),
        (plan().with_cause(Kind::Signal), Kind::Signal, None),
        (plan().with_cause("text"), Kind::Cancelled, Some("text")),
    ];
    for (plan, kind, text) in causes {
        assert_eq!((plan.drain(), plan.grace()), (SECOND, Duration::ZERO));
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        guard.shutdown(plan);
        clock.advance(SECOND);
        let cause = ctx.cause().unwrap();
        assert_eq!((cause.kind(), cause.message()), (kind, text));
        assert_eq!(cause.at(), Some(clock.now()));
    }
    for swapped in [false, true] {
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        let mut plans = [(9, 9), (1, 2)];
        if swapped {
            plans.reverse();
        }
        for (drain, grace) in plans {
            guard.shutdown(ShutdownPlan::new(SECOND * drain, SECOND * grace));
        }
        let phases: Vec<Phase> = (0..4)
            .map(|_| {
                clock.advance(SECOND);
                ctx.phase()
            })
            .collect();
        let (done, forced) = (Phase::Cancelled, Phase::Forced);
        assert_eq!(phases, [done, done, forced, forced]);
    }
}

//= C84, C85
#[test]
fn a_drain_below_a_drain_or_after_the_end_is_none() {
    let (ctx, guard) = Ctx::background().child();
    let (child, child_guard) = below(&ctx).child();
    assert!(child_guard.drain() && !child_guard.drain());
    let (idle, idle_guard) = ctx.child();
    assert!(guard.drain(), "only its child was draining");
    assert!(!idle_guard.drain() && !idle_guard.handle().drain());
    assert_eq!(
        (idle.phase(), child.phase()),
        (Phase::Draining, Phase::Draining)
    );
    for force in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let (child, child_guard) = ctx.child();
        if force {
            guard.force("x");
        } else {
            guard.cancel("x");
        }
        assert!(!guard.drain() && !child_guard.drain());
        assert!(ManualTask::new(child.draining()).poll().is_ready());
        assert_eq!(child.phase(), ctx.phase());
        assert_eq!(child_guard.force("y"), !force, "forced from above");
    }
    // Ready in a later phase, also if nobody has seen that it was reached.
    let clock = TestClock::new();
    let lazy = clock.root().timer(Arc::new(HandTimer::new()));
    let (root, _root_guard) = lazy.build();
    let timed = root.with_timeout(SECOND);
    let mut waiter = ManualTask::new(below(&timed).draining());
    assert!(waiter.poll().is_pending());
    clock.advance(SECOND);
    assert!(ManualTask::new(below(&timed).draining()).poll().is_ready());
    assert!(waiter.poll().is_ready());
}

/// An error that holds something.
struct Holds<T>(#[allow(dead_code, reason = "held to be dropped")] T);

impl<T> std::fmt::Debug for Holds<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Holds")
    }
}

impl<T> std::fmt::Display for Holds<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("holds something")
    }
}

impl<T> std::error::Error for Holds<T> {}

//= C86
#[test]
fn a_plan_that_is_over_holds_nothing() {
    let (clock, dropped) = (TestClock::new(), common::Tally::new());
    let (ctx, guard) = clock.ctx();
    let _below = below(&ctx);
    guard.cancel("before the plan");
    let error = Holds((dropped.on_drop(), ctx.clone()));
    guard.shutdown(ShutdownPlan::new(SECOND, SECOND).with_cause(Cause::error(error)));
    assert_eq!(dropped.get(), 0);
    clock.advance(2 * SECOND);
    assert_eq!((ctx.phase(), dropped.get()), (Phase::Forced, 1));
}
