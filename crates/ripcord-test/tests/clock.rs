//! The test clock: order of alarms, jumps, steps back, alarms that touch the clock.

mod log;
mod support;

use log::Log;
use ripcord_core::{Armed, Clock, Kind, Timer};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::time::Duration;
use support::message_of;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Names, and how far the clock was when they were woken.
type Wakes = Log<(&'static str, Duration)>;

fn arm(clock: &TestClock, log: &Wakes, name: &'static str, after: Duration) -> Option<Armed> {
    let (reader, log) = (clock.clone(), log.clone());
    let counter = WakeCounter::reacting(move |event| {
        if event == WakerEvent::Wake {
            log.push((name, reader.elapsed()));
        }
    });
    clock.arm(clock.now() + after, counter.waker())
}

#[test]
fn alarms_fire_in_the_order_of_their_instants_with_the_clock_standing_there() {
    let (clock, log) = (TestClock::new(), Wakes::new());
    let _c = arm(&clock, &log, "c", ms(30));
    let _a = arm(&clock, &log, "a", ms(10));
    let _b = arm(&clock, &log, "b", ms(20));
    let _a2 = arm(&clock, &log, "a2", ms(10));
    clock.advance(ms(25));
    let expected = [("a", ms(10)), ("a2", ms(10)), ("b", ms(20))];
    assert_eq!(log.take(), expected);
    assert_eq!((clock.elapsed(), clock.armed()), (ms(25), 1));
    clock.advance(ms(5));
    assert_eq!(log.take(), [("c", ms(30))]);
}

#[test]
fn an_alarm_that_is_due_is_woken_by_the_call_that_arms_it() {
    let (clock, log) = (TestClock::new(), Wakes::new());
    clock.advance(ms(5));
    let now = arm(&clock, &log, "now", ms(0));
    let counter = WakeCounter::new();
    let start = TestClock::new().now();
    let past = clock.arm(start, counter.waker());
    assert_eq!(log.take(), [("now", ms(5))]);
    assert_eq!((counter.wakes(), clock.armed()), (1, 0));
    assert!(now.is_some() && past.is_some());
}

#[test]
fn disarming_drops_the_waker_unwoken() {
    let clock = TestClock::new();
    let counter = WakeCounter::new();
    let armed = clock.arm(clock.now() + ms(1), counter.waker());
    assert_eq!((clock.armed(), counter.live()), (1, 1));
    drop(armed);
    assert_eq!((clock.armed(), counter.live()), (0, 0));
    clock.advance(ms(2));
    assert_eq!(counter.wakes(), 0);
}

#[test]
fn an_alarm_may_arm_another_within_the_same_move() {
    let clock = TestClock::new();
    let second = WakeCounter::new();
    let kept = Log::new();
    let first = WakeCounter::reacting({
        let (clock, second, kept) = (clock.clone(), second.clone(), kept.clone());
        move |event| {
            if event == WakerEvent::Wake {
                kept.push(clock.arm(clock.now() + ms(3), second.waker()));
            }
        }
    });
    let _armed = clock.arm(clock.now() + ms(2), first.waker());
    clock.advance(ms(5));
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    drop(kept.take());
}

#[test]
fn an_alarm_may_move_the_clock_itself() {
    let clock = TestClock::new();
    let counter = WakeCounter::reacting({
        let clock = clock.clone();
        move |event| {
            if event == WakerEvent::Wake {
                clock.advance(ms(10));
            }
        }
    });
    let _armed = clock.arm(clock.now() + ms(1), counter.waker());
    clock.advance(ms(2));
    assert_eq!(
        clock.elapsed(),
        ms(11),
        "it does not go back to where it was bound"
    );
}

#[test]
fn the_jump_goes_from_alarm_to_alarm() {
    let (clock, log) = (TestClock::new(), Wakes::new());
    let _armed = [3, 1, 2].map(|s| arm(&clock, &log, "x", Duration::from_secs(s)));
    let jumps: Vec<_> = std::iter::from_fn(|| clock.advance_to_next()).collect();
    assert_eq!(jumps, [Duration::from_secs(1); 3]);
    assert_eq!(clock.advance_to_next(), None);
}

#[test]
fn a_clock_set_back_fires_at_the_same_instants() {
    let (clock, log) = (TestClock::new(), Wakes::new());
    clock.advance(ms(10));
    let _armed = arm(&clock, &log, "x", ms(5));
    clock.set_back(ms(8));
    assert_eq!(clock.elapsed(), ms(2));
    clock.advance(ms(12));
    assert_eq!(log.take(), []);
    clock.advance(ms(1));
    assert_eq!(log.take(), [("x", ms(15))]);
    clock.set_back(ms(100));
    assert_eq!(
        clock.elapsed(),
        Duration::ZERO,
        "before the start counts as zero"
    );
}

#[test]
fn all_clocks_start_at_the_same_instant_far_from_the_systems() {
    let (one, other) = (TestClock::new(), TestClock::default());
    assert_eq!(one.now(), other.now());
    assert!(one.now() > ripcord_core::SystemClock.now() + Duration::from_secs(86_400));
    one.advance(ms(1));
    assert_eq!(one.clone().now(), one.now());
    assert_ne!(one.now(), other.now());
}

#[test]
fn a_tree_lives_by_the_clock_of_its_root() {
    let clock = TestClock::new();
    let (ctx, _guard) = clock.ctx();
    let query = ctx.with_timeout(ms(3));
    let mut task = ManualTask::new(query.done());
    assert!(task.poll().is_pending());
    assert_eq!(clock.armed(), 1);
    clock.advance(ms(2));
    assert!(!task.is_woken());
    clock.advance(ms(1));
    assert_eq!((task.wakes(), clock.armed()), (1, 0));
    let cause = query.cause().expect("the deadline has passed");
    assert_eq!(
        (cause.kind(), cause.exceeded_by()),
        (Kind::DeadlineExceeded, Some(ms(0)))
    );
}

#[test]
fn hooks_of_a_deadline_have_run_when_the_advance_returns() {
    let clock = TestClock::new();
    let (ctx, _guard) = clock.ctx();
    let query = ctx.with_timeout(ms(3));
    let hook = query.on_done(|_| {});
    clock.advance(ms(3));
    assert!(hook.has_run());
}

#[test]
fn a_move_beyond_the_range_says_so() {
    let text = message_of(|| TestClock::new().advance(Duration::MAX));
    assert!(text.contains("cannot advance the test clock"), "{text}");
    let text = message_of(|| TestClock::new().set_back(Duration::MAX));
    assert!(text.contains("cannot set the test clock back"), "{text}");
}
