//! Chapter *Shield, detach and phases* of the specification: shields and detached contexts.

mod common;

use common::{Gate, HandTimer, Tally, below, grace, just_before, message, row, together};
use ripcord_core::{CancelGuard, Ctx, Grace, Kind, Phase, ShutdownPlan};
use ripcord_test::{ManualTask, TestClock};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

//= C78
#[test]
fn a_detached_context_is_on_its_own() {
    let clock = TestClock::new();
    let (root, guard) = clock.root().name("request").build();
    let ctx = root.with_timeout(SECOND);
    let early = ctx.detach();
    let (below, _below_guard) = early.child();
    guard.force("forced");
    let late = ctx.detach();
    clock.advance(2 * SECOND);
    for detached in [&early, &late, &below] {
        assert!(!detached.is_done() && detached.cause().is_none());
        assert!(detached.deadline().is_none());
        assert_eq!(detached.phase(), Phase::Live);
        assert_eq!(detached.name(), Some("request"));
        assert_eq!(detached.clock_now(), clock.now());
    }
    assert!(!early.can_be_cancelled() && !late.can_be_cancelled());
    assert!(below.can_be_cancelled());
    assert_eq!(Ctx::background().detach(), Ctx::background());
}

//= C79
#[test]
fn what_is_done_inside_a_shield_takes_effect_at_once() {
    let clock = TestClock::new();
    for parent_is_done in [false, true] {
        let (parent, guard) = clock.ctx();
        let shield = parent.shield(grace(9));
        if parent_is_done {
            guard.cancel("parent");
        }
        let (child, child_guard) = shield.child();
        let timed = shield.with_timeout(SECOND);
        let mut waiters = [&child, &timed].map(|ctx| ManualTask::new(ctx.done()));
        assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
        child_guard.cancel("inside");
        assert_eq!(message(&child).unwrap(), "inside");
        clock.advance(SECOND);
        assert_eq!(timed.cause().unwrap().kind(), Kind::DeadlineExceeded);
        assert_eq!(waiters[0].wakes() + waiters[1].wakes(), 2);
        assert!(!shield.is_done());
    }
}

//= C80
#[test]
fn a_shield_of_a_done_context_counts_from_its_making() {
    for registered in [false, true] {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (parent, _parent_guard) = root.child();
        guard.cancel("gone");
        clock.advance(100 * SECOND);
        let shield = parent.shield(grace(2));
        let mut waiter = ManualTask::new(shield.done());
        if registered {
            assert!(waiter.poll().is_pending());
        }
        assert!(parent.is_done());
        clock.advance(just_before(2 * SECOND));
        assert!(registered || !shield.is_done());
        assert_eq!(waiter.wakes(), 0);
        clock.advance(NANO);
        assert!(shield.is_done());
        assert_eq!(shield.cause(), parent.cause());
        assert_eq!(waiter.wakes(), usize::from(registered));
        guard.force("forced");
        assert!(parent.shield(Grace::UNBOUNDED).is_done());
        assert!(parent.child().0.shield(grace(9)).is_done());
    }
}

//= C81
#[test]
fn the_grace_counts_from_the_parents_end() {
    type End = fn(&TestClock, &CancelGuard, &CancelGuard);
    let ends: [(&str, End); 4] = [
        ("own", |_, own, _| assert!(own.cancel("x"))),
        ("above", |_, _, above| assert!(above.cancel("x"))),
        ("drop", |_, own, _| assert!(own.cancel(Kind::Dropped))),
        ("deadline", |clock, _, _| clock.advance(SECOND)),
    ];
    for (how, end) in ends {
        for registered in [false, true] {
            let clock = TestClock::new();
            let (root, above) = clock.ctx();
            let (parent, own) = root.with_timeout(3 * SECOND).child();
            let shield = parent.shield(grace(5));
            let (inside, _inside_guard) = shield.child();
            let mut waiter = ManualTask::new(inside.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            clock.advance(2 * SECOND);
            assert!(!parent.is_done());
            end(&clock, &own, &above);
            assert!(parent.is_done(), "{how}: outside, at once");
            assert!(registered || !inside.is_done(), "{how}");
            clock.advance(4 * SECOND);
            assert!(!inside.is_done() && waiter.wakes() == 0, "{how}");
            clock.advance(SECOND);
            assert!(inside.is_done(), "{how}");
            assert_eq!(inside.cause(), parent.cause(), "{how}");
            assert_eq!(waiter.wakes(), usize::from(registered), "{how}");
        }
    }
}

//= C81
#[test]
fn shields_in_shields_add_up() {
    for registered in [false, true] {
        let clock = TestClock::new();
        let (parent, guard) = clock.ctx();
        let outer = parent.shield(grace(5));
        let (between, _between_guard) = outer.child();
        let inner = between.shield(grace(3));
        let (inside, _inside_guard) = inner.child();
        let mut waiter = ManualTask::new(inside.done());
        if registered {
            assert!(waiter.poll().is_pending());
        }
        guard.cancel("x");
        for second in 1..=9_u32 {
            clock.advance(SECOND);
            assert_eq!(between.is_done(), second >= 5, "second {second}");
            assert_eq!(inside.is_done(), second >= 8, "second {second}");
        }
        assert_eq!(inside.cause(), parent.cause());
        assert_eq!(waiter.wakes(), usize::from(registered));
    }
}

//= C81
#[test]
fn a_shield_seen_late_ended_when_it_ended() {
    // The deadline inside is earlier than the end of the grace.
    let (clock, timer) = (TestClock::new(), HandTimer::new());
    let (parent, guard) = clock.root().timer(Arc::new(timer)).build();
    let shield = parent.shield(grace(5));
    let inside = shield.with_timeout(4 * SECOND);
    let outside = shield.with_timeout(6 * SECOND);
    guard.cancel("x");
    clock.advance(9 * SECOND);
    assert_eq!(inside.cause().unwrap().kind(), Kind::DeadlineExceeded);
    assert_eq!(outside.cause(), parent.cause());
}

//= C81
#[test]
fn a_cause_of_long_ago_does_not_shorten_the_grace() {
    let clock = TestClock::new();
    let (server, server_guard) = clock.ctx();
    server_guard.cancel("shutdown");
    clock.advance(3600 * SECOND);
    let (connection, guard) = clock.ctx();
    let shield = connection.shield(grace(5));
    let mut waiter = ManualTask::new(shield.done());
    assert!(waiter.poll().is_pending());
    guard.cancel(server.cause().unwrap());
    assert!(!shield.is_done());
    clock.advance(4 * SECOND);
    assert!(!shield.is_done() && waiter.wakes() == 0);
    clock.advance(SECOND);
    assert_eq!(shield.cause(), server.cause());
    assert_eq!(waiter.wakes(), 1);
}

//= C82
#[test]
fn the_deadline_of_a_shield_is_its_parents_plus_the_grace() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.named("owner").with_timeout(SECOND);
    let shield = ctx.shield(grace(2));
    assert_eq!(shield.remaining(), Some(3 * SECOND));
    assert_eq!(shield.deadline().unwrap().owner(), Some("owner"));
    assert_eq!(shield.shield(grace(4)).remaining(), Some(7 * SECOND));
    assert_eq!(shield.child().0.remaining(), Some(3 * SECOND));
    assert_eq!(shield.with_timeout(9 * SECOND), shield);
    assert_eq!(
        shield.with_timeout(2 * SECOND).remaining(),
        Some(2 * SECOND)
    );
    assert_eq!(ctx.shield(Grace::UNBOUNDED).remaining(), None);
    assert_eq!(ctx.shield(Grace::of(Duration::MAX)).remaining(), None);
    assert_eq!(root.shield(grace(2)).remaining(), None);
    // One that is made too late for that ends when its own grace does.
    clock.advance(9 * SECOND);
    assert_eq!(ctx.shield(grace(2)).remaining(), Some(2 * SECOND));
}

//= C83
#[test]
fn a_force_pierces_every_shield() {
    for parent_is_done in [false, true] {
        for registered in [false, true] {
            let clock = TestClock::new();
            let (root, guard) = clock.ctx();
            let (parent, parent_guard) = root.child();
            let (other, _other_guard) = clock.ctx();
            let shields = [
                &parent.shield(Grace::UNBOUNDED),
                &parent.shield(grace(9)),
                &Ctx::merge([&parent.shield(Grace::UNBOUNDED), &other]),
            ];
            let mut waiters = shields.map(|ctx| ManualTask::new(ctx.done()));
            for waiter in &mut waiters {
                assert!(!registered || waiter.poll().is_pending());
            }
            if parent_is_done {
                parent_guard.cancel("parent");
            }
            clock.advance(SECOND);
            assert!(shields.iter().all(|ctx| !ctx.is_done()));
            assert!(guard.force("forced"));
            for (ctx, waiter) in shields.iter().zip(&waiters) {
                assert!(ctx.is_done());
                assert_eq!(ctx.phase(), Phase::Forced);
                assert_eq!(ctx.cause(), parent.cause());
                assert_eq!(waiter.wakes(), usize::from(registered));
            }
            let expect = if parent_is_done { "parent" } else { "forced" };
            assert_eq!(message(&parent).unwrap(), expect);
            assert_eq!(clock.armed(), 0);
        }
    }
}

//= C80, C85
#[test]
fn a_shield_that_is_live_is_not_draining_because_its_parent_is_done() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    let shield = ctx.shield(grace(1));
    let mut waiter = ManualTask::new(shield.draining());
    assert!(waiter.poll().is_pending());
    guard.cancel("x");
    assert_eq!(shield.phase(), Phase::Live);
    assert_eq!(waiter.wakes(), 0);
    assert!(waiter.poll().is_pending(), "what is ready was woken");
    clock.advance(SECOND);
    assert_eq!(waiter.wakes(), 1);
    assert!(waiter.poll().is_ready());
}

//= C81, C83
#[test]
fn a_shield_made_during_the_cancel_gets_its_grace_or_is_pierced() {
    for round in 0..100 {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (ctx, _ctx_guard) = root.child();
        let forced = round % 2 == 0;
        let made = Gate::new();
        let shields = together(3, |at| {
            if at == 0 {
                if forced {
                    guard.force("x");
                } else {
                    guard.cancel("x");
                }
                made.open();
                return None;
            }
            let shield = ctx.shield(grace(5));
            let mut waiter = ManualTask::new(shield.done());
            let was_ready = waiter.poll().is_ready();
            Some((shield, waiter, was_ready))
        });
        made.pass();
        for (shield, waiter, was_ready) in shields.iter().flatten() {
            assert_eq!(shield.is_done(), forced, "round {round}");
            let woken = usize::from(forced && !was_ready);
            assert_eq!(waiter.wakes(), woken, "round {round}");
        }
        clock.advance(5 * SECOND);
        for (shield, waiter, was_ready) in shields.iter().flatten() {
            assert_eq!(waiter.wakes(), usize::from(!was_ready), "round {round}");
            assert_eq!(shield.cause(), root.cause());
        }
    }
    let (ctx, guard) = Ctx::root().name("no shield left").tracked().build();
    drop(ctx.shield(grace(5)));
    guard.cancel("x");
    assert_eq!(row("no shield left").children, 0);
}

//= C80, C81, C82
#[test]
fn a_grace_of_zero_shields_nothing() {
    for registered in [false, true] {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let parent = root.with_timeout(9 * SECOND);
        let shield = parent.shield(grace(0));
        let (inside, _inside_guard) = shield.child();
        let mut waiter = ManualTask::new(inside.done());
        assert!(!registered || waiter.poll().is_pending());
        assert_eq!(shield.remaining(), Some(9 * SECOND));
        assert!(!shield.is_done());
        guard.cancel("x");
        assert_eq!(waiter.wakes(), usize::from(registered));
        assert!(inside.is_done() && shield.cause() == root.cause());
        let late = parent.shield(grace(0));
        assert!(late.is_done() && late.cause() == root.cause());
        assert_eq!(clock.armed(), 0);
    }
}

//= C81
#[test]
fn the_grace_counts_from_the_end_of_whatever_the_parent_is() {
    type Parent = fn(&Ctx, &Ctx) -> Ctx;
    // The first context ends at 1 s, the second at 2 s.
    let parents: [(&str, Parent, u64); 5] = [
        ("plain", |first, _| below(first), 1),
        ("view", |first, _| first.named("view"), 1),
        ("merge", |first, second| Ctx::merge([second, first]), 1),
        ("all_of", |first, second| Ctx::all_of([first, second]), 2),
        ("shield", |first, _| first.shield(grace(4)), 5),
    ];
    for (how, parent, end) in parents {
        for registered in [false, true] {
            let clock = TestClock::new();
            let start = clock.now();
            let (first, first_guard) = clock.ctx();
            let (second, second_guard) = clock.ctx();
            let parent = parent(&first, &second);
            let shield = parent.shield(grace(3));
            let mut waiter = ManualTask::new(shield.done());
            assert!(!registered || waiter.poll().is_pending());
            clock.advance(SECOND);
            drop(first_guard);
            clock.advance(SECOND);
            drop(second_guard);
            clock.advance_to(start + just_before(Duration::from_secs(end + 3)));
            assert_eq!(waiter.wakes(), 0, "{how}");
            assert!(!shield.is_done() && parent.is_done(), "{how}");
            clock.advance(NANO);
            assert_eq!(waiter.wakes(), usize::from(registered), "{how}");
            assert!(
                shield.is_done() && shield.cause() == parent.cause(),
                "{how}"
            );
            assert_eq!(parent.cause().unwrap().kind(), Kind::Dropped, "{how}");
        }
    }
}

/// Shields in shields in shields, with contexts between them; the shields only.
fn nested(parent: &Ctx) -> Vec<Ctx> {
    let mut shields: Vec<Ctx> = Vec::new();
    for at in 0..6_u32 {
        let above = below(&below(shields.last().unwrap_or(parent)));
        let grace = [Grace::UNBOUNDED, grace(1000 + at)][at as usize % 2];
        shields.push(above.shield(grace));
    }
    shields
}

//= C83, C84
#[test]
fn a_force_pierces_nested_shields_made_before_and_after_the_cancel() {
    type Force = fn(&CancelGuard, &TestClock);
    let forces: [Force; 3] = [
        |guard, _| assert!(guard.force("forced")),
        |guard, _| assert!(guard.handle().force("forced")),
        |guard, clock| {
            guard.shutdown(ShutdownPlan::new(SECOND, SECOND));
            clock.advance(2 * SECOND);
        },
    ];
    for (case, force) in forces.into_iter().enumerate() {
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (middle, middle_guard) = below(&root).child();
        let mut shields = nested(&middle);
        let mut waiters: Vec<_> = (shields.iter().step_by(2))
            .map(|ctx| ManualTask::new(below(ctx).done()))
            .collect();
        assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
        middle_guard.cancel("middle");
        clock.advance(SECOND);
        // Below one that was swept with the cancel, below one that was not, and beside.
        let late: Vec<Ctx> = [&shields[5], &shields[0], &middle, &below(&middle)]
            .into_iter()
            .flat_map(nested)
            .collect();
        let mut late_waiters: Vec<_> = (late.iter().step_by(3))
            .map(|ctx| ManualTask::new(below(ctx).draining()))
            .collect();
        let all_live = |ctxs: &[Ctx]| ctxs.iter().all(|ctx| ctx.phase() == Phase::Live);
        assert!(all_live(&shields) && all_live(&late));
        assert!(late_waiters.iter_mut().all(|it| it.poll().is_pending()));
        let ran = Tally::new();
        let count = ran.clone();
        let hook = late.last().unwrap().on_done(move |_| count.add());
        force(&guard, &clock);
        assert!(hook.has_run() && ran.get() == 1);
        shields.extend(late);
        for ctx in shields.iter().flat_map(|ctx| [ctx.clone(), below(ctx)]) {
            assert_eq!(ctx.phase(), Phase::Forced, "case {case}");
            assert_eq!(message(&ctx).as_deref(), Some("middle"), "case {case}");
        }
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
        assert!(late_waiters.iter_mut().all(|it| it.poll().is_ready()));
        assert_eq!(clock.armed(), 0, "case {case}");
    }
}

//= C81
#[test]
fn a_deadline_that_nobody_saw_pass_starts_the_grace_all_the_same() {
    let clock = TestClock::new();
    let lazy = clock.root().timer(Arc::new(HandTimer::new()));
    let (root, _guard) = lazy.build();
    let timed = root.with_timeout(SECOND);
    let shield = timed.shield(grace(5));
    clock.advance(just_before(6 * SECOND));
    assert!(timed.is_done() && !shield.is_done());
    clock.advance(NANO);
    assert_eq!((shield.is_done(), shield.cause()), (true, timed.cause()));
}

//= C83, C84
#[test]
fn a_force_finds_a_shield_that_came_after_every_sweep() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let leaf = below(&below(&below(&root)));
    let mut early = ManualTask::new(leaf.done());
    assert!(early.poll().is_pending());
    guard.cancel("x");
    assert_eq!(early.wakes(), 1, "all of the path is swept");
    let shield = below(&leaf.shield(Grace::UNBOUNDED));
    let mut late = ManualTask::new(shield.done());
    assert!(late.poll().is_pending());
    assert!(guard.force("forced"));
    assert_eq!(late.wakes(), 1);
    assert_eq!(shield.cause(), root.cause());
}
