//! Chapter *Deadlines* of the specification: what is in force, when it is seen, what is armed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{EarlyTimer, HandTimer, PanickingTimer, RefusingTimer, Relay, Tally, finishes};
use ripcord_core::{
    Armed, CancelGuard, Clock, Ctx, Kind, Phase, Root, SystemClock, ThreadTimer, Timer,
};
use ripcord_test::{ManualTask, TestClock, WakeCounter};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A root whose timer the test works by hand.
fn by_hand() -> (TestClock, HandTimer, Ctx, CancelGuard) {
    let (clock, timer) = (TestClock::new(), HandTimer::new());
    let (ctx, guard) = clock.root().timer(Arc::new(timer.clone())).build();
    (clock, timer, ctx, guard)
}

//= C26
#[test]
fn a_deadline_that_is_past_ends_the_context_at_birth() {
    let (clock, timer, root, _guard) = by_hand();
    clock.advance(SECOND);
    let (parent, _parent_guard) = root.with_timeout(9 * SECOND).child();
    let born = [
        parent.with_timeout(Duration::ZERO),
        parent.with_deadline(clock.now()),
        parent.with_deadline(clock.now().checked_sub(SECOND).unwrap()),
    ];
    for ctx in &born {
        // Before anybody looks: a clock that goes back does not revive it.
        clock.set_back(MS);
        assert!(ctx.is_done());
        clock.advance(MS);
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.kind(), Kind::DeadlineExceeded);
        assert!(ManualTask::new(ctx.done()).poll().is_ready());
        let ran = Tally::new();
        let hook = ctx.on_done({
            let ran = ran.clone();
            move |_| ran.add()
        });
        assert!(ran.get() == 1 && hook.has_run());
    }
    assert_eq!(timer.arms(), 0);
    assert!(!parent.is_done());
}

//= C27
#[test]
fn the_earliest_deadline_on_the_path_is_in_force() {
    let order = [[3, 5, 9], [3, 9, 5], [5, 3, 9], [9, 5, 3], [9, 3, 5]];
    for seconds in order {
        let (clock, _, root, _guard) = by_hand();
        let start = clock.now();
        let mut path = vec![root];
        for seconds in seconds {
            let above = path.last().unwrap().named(format!("{seconds}"));
            let timed = above.with_deadline(start + seconds * SECOND);
            let (child, guard) = timed.child();
            guard.disarm();
            path.push(child);
        }
        let mut earliest = u32::MAX;
        for (ctx, seconds) in path.iter().skip(1).zip(seconds) {
            earliest = earliest.min(seconds);
            assert_eq!(ctx.deadline().unwrap().at(), start + earliest * SECOND);
            assert_eq!(ctx.remaining(), Some(earliest * SECOND));
        }
        for now in 1..10 {
            clock.advance(SECOND);
            let mut earliest = u32::MAX;
            for (ctx, seconds) in path.iter().skip(1).zip(seconds) {
                earliest = earliest.min(seconds);
                assert_eq!(ctx.is_done(), earliest <= now);
                let Some(cause) = ctx.cause() else { continue };
                assert_eq!(cause.due(), Some(start + earliest * SECOND));
                assert_eq!(cause.name(), Some(&*earliest.to_string()), "the owner");
            }
        }
        assert!(!path[0].is_done());
    }
}

//= C27
#[test]
fn an_inner_expiry_leaves_the_outer_context_live() {
    let (clock, _, root, _guard) = by_hand();
    let outer = root.named("outer").with_timeout(2 * SECOND);
    let inner = outer.named("inner").with_timeout(SECOND);
    let mut waiters = [ManualTask::new(outer.done()), ManualTask::new(inner.done())];
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    clock.advance(SECOND);
    assert!(inner.is_done() && !outer.is_done());
    let Poll::Ready(cause) = waiters[1].poll() else {
        panic!("the inner one is over")
    };
    assert_eq!(cause.name(), Some("inner"));
    assert!(waiters[0].poll().is_pending());
    clock.advance(SECOND);
    assert_eq!(outer.cause().unwrap().name(), Some("outer"));
    assert_eq!(inner.cause().unwrap().name(), Some("inner"));
}

//= C137
#[test]
fn what_is_left_is_told_together_with_why_nothing_is() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let request = root.with_timeout(2 * SECOND);
    let (other, other_guard) = request.child();
    let merged = Ctx::merge([&request, &other]);
    let shielded = request.shield(SECOND);
    assert_eq!(root.check_remaining().unwrap(), None);
    assert_eq!(Ctx::background().check_remaining().unwrap(), None);
    clock.advance(SECOND);
    for (ctx, left) in [(&request, 1), (&other, 1), (&merged, 1), (&shielded, 2)] {
        assert_eq!(ctx.check_remaining().unwrap(), Some(left * SECOND));
    }

    // A cancel between the deadline and the one who asks, and one that a merge has to find.
    other_guard.cancel("enough");
    for ctx in [&other, &merged] {
        assert_eq!(ctx.check_remaining().unwrap_err().kind(), Kind::Cancelled);
    }
    assert_eq!(request.check_remaining().unwrap(), Some(SECOND));

    clock.advance(SECOND);
    let over = request.check_remaining().unwrap_err();
    assert_eq!(over.kind(), Kind::DeadlineExceeded);
    assert_eq!(other.check_remaining().unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(shielded.check_remaining().unwrap(), Some(SECOND));

    // Above the deadline, and where there is none.
    let later = root.with_timeout(SECOND);
    guard.cancel(Kind::Shutdown);
    for ctx in [&root, &later] {
        assert_eq!(ctx.check_remaining().unwrap_err().kind(), Kind::Shutdown);
    }
}

//= C28
#[test]
fn remaining_counts_down_to_zero() {
    let (clock, _, root, _guard) = by_hand();
    assert_eq!(root.remaining(), None);
    assert_eq!(Ctx::background().remaining(), None);
    let ctx = root.with_timeout(3 * SECOND).named("view");
    let (child, guard) = ctx.child();
    let mut last = Duration::MAX;
    for half in 0..10_u32 {
        let left = (3 * SECOND).saturating_sub(half * SECOND / 2);
        assert_eq!(ctx.remaining(), Some(left));
        assert_eq!(child.remaining(), Some(left));
        assert!(left <= last);
        last = left;
        clock.advance(SECOND / 2);
    }
    guard.cancel("done otherwise");
    assert_eq!(child.remaining(), Some(Duration::ZERO));
}

//= C29
#[test]
fn each_look_compares_with_the_clock() {
    type Look = fn(&Ctx) -> bool;
    let looks: [Look; 4] = [
        Ctx::is_done,
        |ctx| ctx.check().is_err_and(|error| error.is_deadline()),
        |ctx| ctx.cause().is_some(),
        |ctx| ctx.phase() == Phase::Cancelled,
    ];
    for look in looks {
        for is_armed in [false, true] {
            let (clock, timer, root, _guard) = by_hand();
            let (ctx, _child_guard) = root.with_timeout(SECOND).child();
            let mut waiter = ManualTask::new(ctx.done());
            if is_armed {
                assert!(waiter.poll().is_pending());
            }
            assert!(!look(&ctx));
            clock.advance(Duration::from_nanos(999_999_999));
            assert!(!look(&ctx));
            clock.advance(Duration::from_nanos(1));
            assert!(look(&ctx), "no timer has fired");
            assert_eq!(timer.armed(), usize::from(is_armed));
        }
    }
}

//= C30
#[test]
fn an_expiry_that_a_read_sees_first_still_wakes_everybody_once() {
    let (clock, timer, root, guard) = by_hand();
    let owner = root.with_timeout(SECOND);
    let (below, _below_guard) = owner.child();
    let ran = Tally::new();
    let hooks = [&owner, &below].map(|ctx| {
        let ran = ran.clone();
        ctx.on_done(move |_| ran.add())
    });
    let mut waiters = [&owner, &below].map(|ctx| ManualTask::new(ctx.done()));
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    clock.advance(SECOND);
    assert!(below.is_done() && owner.is_done());
    assert!(below.cause().is_some() && owner.check().is_err());
    assert_eq!((ran.get(), waiters[0].wakes()), (0, 0), "not from a read");
    timer.fire();
    guard.cancel("later");
    timer.fire();
    assert_eq!(ran.get(), hooks.len());
    for waiter in &mut waiters {
        assert_eq!(waiter.wakes(), 1);
        assert!(waiter.poll().is_ready());
    }
}

//= C31
#[test]
fn a_timer_is_armed_by_the_first_who_waits_and_disarmed_at_the_end() {
    type End = fn(&TestClock, &HandTimer, &CancelGuard, &CancelGuard);
    let ends: [End; 3] = [
        |clock, timer, _, _| {
            clock.advance(SECOND);
            timer.fire();
        },
        |_, _, above, _| assert!(above.cancel("above")),
        |_, _, _, _| {},
    ];
    for (at, end) in ends.iter().enumerate() {
        let (clock, timer, root, _root_guard) = by_hand();
        let (above, above_guard) = root.child();
        let owner = above.with_timeout(SECOND);
        let (below, below_guard) = owner.child();
        assert!(!below.is_done() && below.remaining().is_some());
        drop(below.done());
        drop(below.with_timeout(2 * SECOND));
        assert_eq!(timer.arms(), 0, "nobody waits");
        let mut waiter = ManualTask::new(below.done());
        assert!(waiter.poll().is_pending());
        assert_eq!(timer.instants(), [clock.now() + SECOND]);
        let hook = owner.on_done(|_| {});
        let mut second = ManualTask::new(owner.draining());
        assert!(second.poll().is_pending());
        drop((waiter, hook, second));
        assert_eq!((timer.armed(), timer.arms()), (1, 1), "one at a time");
        end(&clock, &timer, &above_guard, &below_guard);
        if at == 2 {
            // The timer does not keep the owner alive.
            drop((owner, below, below_guard));
        }
        assert_eq!((timer.armed(), timer.arms()), (0, 1));
    }
}

//= C31
#[test]
fn a_hook_arms_a_timer_too() {
    let (clock, timer, root, _guard) = by_hand();
    let hook = root.with_timeout(SECOND).on_done(|_| {});
    assert_eq!(timer.instants(), [clock.now() + SECOND]);
    drop(hook);
    assert_eq!(timer.armed(), 0);
}

//= C32
#[test]
fn a_thousand_waiters_share_one_timer() {
    for drop_first in [true, false] {
        let (clock, timer, root, _guard) = by_hand();
        let owner = root.with_timeout(SECOND);
        let mut waiters: Vec<_> = (0..1_000)
            .map(|_| {
                let (ctx, guard) = owner.child();
                guard.disarm();
                let mut waiter = ManualTask::new(ctx.done());
                assert!(waiter.poll().is_pending());
                waiter
            })
            .collect();
        assert_eq!((timer.armed(), timer.arms()), (1, 1));
        drop(waiters.remove(if drop_first { 0 } else { 999 }));
        assert_eq!((timer.armed(), timer.arms()), (1, 1));
        clock.advance(SECOND);
        timer.fire();
        for waiter in &mut waiters {
            assert_eq!(waiter.wakes(), 1);
            assert!(waiter.poll().is_ready());
        }
        assert_eq!((timer.armed(), timer.arms()), (0, 1));
    }
}

//= C32
#[test]
fn a_deadline_below_others_arms_its_own() {
    let (clock, timer, root, _guard) = by_hand();
    let outer = root.with_timeout(5 * SECOND);
    let inner = outer.with_timeout(SECOND);
    let mut inside = ManualTask::new(inner.done());
    assert!(inside.poll().is_pending());
    let mut outside = ManualTask::new(outer.done());
    assert!(outside.poll().is_pending());
    assert_eq!(timer.armed(), 2);
    clock.advance(SECOND);
    timer.fire();
    assert_eq!((inside.wakes(), outside.wakes()), (1, 0));
}

//= C34
#[test]
fn the_clock_is_the_roots() {
    let before = SystemClock.now();
    let now = Ctx::background().named("x").child().0.clock_now();
    assert!(before <= now && now <= SystemClock.now());
    assert!(Ctx::todo().clock_now() >= now);

    let clock = TestClock::new();
    clock.advance(5 * SECOND);
    let (root, _guard) = clock.ctx();
    let (child, _child_guard) = root.named("x").with_timeout(SECOND).child();
    for ctx in [&root, &child, &child.shield(SECOND), &child.detach()] {
        assert_eq!(ctx.clock_now(), clock.now());
    }
}

//= C34, C42
#[test]
fn the_background_has_the_timer_thread() {
    finishes(|| {
        let start = SystemClock.now();
        let cause = Ctx::background().with_timeout(2 * MS).wait();
        assert_eq!(cause.kind(), Kind::DeadlineExceeded);
        assert_eq!(cause.due().unwrap().min(start + 2 * MS), start + 2 * MS);
        assert!(SystemClock.now() >= cause.due().unwrap());
        let earlier = Ctx::background().with_timeout(MS);
        let hour = Ctx::background().with_timeout(3600 * SECOND);
        let mut waiter = ManualTask::new(hour.done());
        assert!(waiter.poll().is_pending());
        assert!(
            earlier.wait().due().is_some(),
            "a later alarm is no obstacle"
        );
        assert!(waiter.poll().is_pending());
        let root = Ctx::root().timer(Arc::new(ThreadTimer));
        let (root, _guard) = root.clock(Arc::new(SystemClock)).build();
        assert!(root.with_timeout(MS).wait().due().is_some());
    });
}

/// A timer that wakes early, from another thread, and says that it is armed.
struct EarlyFromOutside;

impl Timer for EarlyFromOutside {
    fn arm(&self, _: Instant, alarm: Waker) -> Option<Armed> {
        std::thread::spawn(move || alarm.wake()).join().unwrap();
        Some(Armed::new(()))
    }
}

/// Roots whose timers cannot serve.
fn broken_timers() -> Vec<(&'static str, Root)> {
    vec![
        ("refuses", Ctx::root().timer(Arc::new(RefusingTimer))),
        ("early", Ctx::root().timer(Arc::new(EarlyTimer))),
        ("outside", Ctx::root().timer(Arc::new(EarlyFromOutside))),
        ("panics", Ctx::root().timer(Arc::new(PanickingTimer))),
    ]
}

//= C35
#[test]
fn the_timer_thread_takes_the_place_of_a_timer_that_cannot_serve() {
    finishes(|| {
        for (how, root) in broken_timers() {
            let (root, _guard) = root.build();
            let ctx = root.with_timeout(3 * MS);
            let cause = ctx.wait();
            assert_eq!(cause.kind(), Kind::DeadlineExceeded, "{how}");
            assert!(cause.at() >= cause.due(), "{how}: never early");
        }
    });
}

//= C35
#[test]
fn it_does_so_by_the_clock_of_the_tree() {
    finishes(|| {
        for (how, root) in broken_timers() {
            let clock = TestClock::new();
            let (root, _guard) = root.clock(Arc::new(clock.clone())).build();
            let ctx = root.with_timeout(5 * MS);
            let counter = WakeCounter::new();
            let mut waiter = ManualTask::with_counter(ctx.done(), counter.clone());
            assert!(waiter.poll().is_pending(), "{how}");
            clock.advance(4 * MS);
            assert!(!ctx.is_done() && counter.wakes() == 0, "{how}");
            clock.advance(MS);
            let cause = ctx.wait();
            assert_eq!(cause.exceeded_by(), Some(Duration::ZERO), "{how}");
        }
    });
}

//= C35
#[test]
fn an_alarm_that_comes_too_early_ends_nothing() {
    let (clock, timer, root, _guard) = by_hand();
    let ctx = root.with_timeout(3600 * SECOND);
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    clock.advance(3599 * SECOND);
    timer.fire();
    assert!(!ctx.is_done() && waiter.wakes() == 0);
    assert_eq!(timer.armed(), 0, "it is not trusted again");
    assert!(waiter.poll().is_pending());
    clock.advance(SECOND);
    assert!(ctx.is_done());
}

//= C35, C129
#[test]
fn what_is_between_a_waiter_and_its_deadline_is_armed_too() {
    let clock = TestClock::new();
    // A deadline inside a shield that is cut earlier.
    let (root, _root_guard) = clock.ctx();
    let (parent, guard) = root.child();
    guard.cancel("first");
    let shield = parent.shield(SECOND);
    let inside = shield.with_timeout(5 * SECOND);
    let mut waiter = ManualTask::new(inside.done());
    assert!(waiter.poll().is_pending());
    clock.advance(SECOND);
    assert_eq!(waiter.wakes(), 1);
    assert_eq!(inside.cause().unwrap().message(), Some("first"));

    // A deadline below an `all_of` whose members end before, one of them by time.
    let (root, _root_guard) = clock.ctx();
    let (first, first_guard) = root.child();
    let second = root.with_timeout(2 * SECOND);
    let both = Ctx::all_of([&first, &second]).with_timeout(5 * SECOND);
    let mut waiter = ManualTask::new(both.done());
    assert!(waiter.poll().is_pending());
    first_guard.cancel("first");
    clock.advance(2 * SECOND);
    assert_eq!(waiter.wakes(), 1);
    assert_eq!(both.cause().unwrap().due(), Some(clock.now()));
}

//= C126
#[test]
fn a_deadline_below_a_source_does_not_hide_it() {
    let (clock, relay) = (TestClock::new(), Relay::new());
    let (root, _guard) = clock.ctx();
    let timed = root.with_source(relay.shared()).with_timeout(SECOND);
    let (other, _other_guard) = root.child();
    let merged = Ctx::merge([&other, &timed]).with_timeout(SECOND / 2);
    for ctx in [&timed, &merged] {
        let mut waiter = ManualTask::new(ctx.done());
        assert!(waiter.poll().is_pending());
        assert_eq!(relay.subscribed(), 1);
    }
    let mut waiters = [&timed, &merged].map(|ctx| ManualTask::new(ctx.done()));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    relay.set(Some(Kind::PeerGone.into()));
    relay.alarm();
    assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
    assert_eq!(merged.cause().unwrap().kind(), Kind::PeerGone);
    assert_eq!(clock.armed(), 0);
}
