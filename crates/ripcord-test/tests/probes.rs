//! Census, wakers and the hand-polled task.

mod log;
mod support;

use log::Log;
use ripcord_core::Kind;
use ripcord_test::{Census, ManualTask, TestClock, WakeCounter, WakerEvent};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::message_of;

#[test]
fn a_census_names_who_outlived_the_scope_and_where_they_entered() {
    let census = Census::new();
    let reader = census.enter("reader");
    let writer = census.enter(format!("writer {}", 2));
    drop(census.enter("short"));
    assert_eq!(census.alive(), ["reader", "writer 2"]);
    let text = message_of(|| census.assert_empty());
    assert!(
        text.starts_with("outlived the scope: `reader` (entered at "),
        "{text}"
    );
    assert!(
        text.contains("probes.rs") && text.contains("`writer 2`"),
        "{text}"
    );
    assert_eq!(format!("{reader:?}"), "Probe(\"reader\")");
    drop((reader, writer));
    census.assert_empty();
    assert_eq!(census.entered(), 3);
}

#[test]
fn a_probe_leaves_when_its_future_is_dropped_or_panics() {
    let census = Census::new();
    let probe = census.enter("task");
    let mut task = ManualTask::new(async move {
        let _probe = probe;
        panic!("on purpose");
    });
    assert_eq!(census.alive().len(), 1);
    message_of(|| task.poll());
    census.assert_empty();
}

#[test]
fn a_waker_counts_what_is_done_to_it() {
    let counter = WakeCounter::new();
    let waker = counter.waker();
    let clone = waker.clone();
    assert!(clone.will_wake(&waker) && counter.waker().will_wake(&waker));
    waker.wake_by_ref();
    clone.wake();
    drop(waker);
    assert_eq!((counter.wakes(), counter.clones()), (2, 1));
    // One of `counter.waker()` and one of `waker`; a wake by value is no drop.
    assert_eq!((counter.drops(), counter.live()), (2, 0));
    assert!(!WakeCounter::new().waker().will_wake(&counter.waker()));
}

#[test]
fn a_waker_reacts_after_it_has_counted() {
    let events = Log::new();
    let counter = WakeCounter::reacting({
        let events = events.clone();
        move |event| events.push(event)
    });
    let waker = counter.waker();
    let clone = waker.clone();
    clone.wake();
    drop(waker);
    let expected = [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop];
    assert_eq!(events.take(), expected);
}

#[test]
fn a_waker_that_panics_loses_no_count() {
    for event in [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop] {
        let counter = WakeCounter::panicking(event);
        let run = |code: &dyn Fn()| drop(catch_unwind(AssertUnwindSafe(code)));
        run(&|| drop(counter.waker().clone()));
        run(&|| counter.waker().wake());
        run(&|| counter.waker().wake_by_ref());
        assert_eq!(counter.live(), 0, "{event:?}");
        let text = message_of(|| match event {
            WakerEvent::Clone => drop(counter.waker().clone()),
            WakerEvent::Wake => counter.waker().wake(),
            WakerEvent::Drop => drop(counter.waker()),
        });
        assert!(text.contains(&format!("panics in {event:?}")), "{text}");
        assert_eq!(counter.live(), 0, "{event:?}");
    }
}

#[test]
fn a_context_contains_a_waker_that_panics() {
    let (ctx, guard) = TestClock::new().ctx();
    let bad = WakeCounter::panicking(WakerEvent::Wake);
    let mut one = ManualTask::with_counter(ctx.done(), bad);
    let mut other = ManualTask::new(ctx.done());
    assert!(one.poll().is_pending() && other.poll().is_pending());
    guard.cancel(Kind::Cancelled);
    assert_eq!((one.wakes(), other.wakes()), (1, 1));
}

#[test]
fn a_task_is_woken_since_its_last_poll_began() {
    let mut polls = 0;
    let mut task = ManualTask::new(std::future::poll_fn(|cx| {
        polls += 1;
        match polls {
            1 => cx.waker().wake_by_ref(),
            2 => {}
            _ => return std::task::Poll::Ready(polls),
        }
        std::task::Poll::Pending
    }));
    assert!(!task.is_woken());
    assert!(task.poll().is_pending() && task.is_woken());
    assert!(task.poll().is_pending() && !task.is_woken());
    assert!(task.poll().is_ready());
    assert_eq!((task.polls(), task.wakes()), (3, 1));
}
