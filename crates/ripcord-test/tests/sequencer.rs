//! The sequencer: order in threads and tasks, misuse, panics, steps that are left.

mod log;
mod support;

use log::Log;
use ripcord_test::{ManualTask, Sequencer};
use std::task::Poll;
use std::thread;
use support::message_of;

#[test]
fn threads_take_their_steps_in_the_order_given() {
    let steps = Sequencer::numbered(40);
    let seen = Log::new();
    thread::scope(|scope| {
        // Four threads with every fourth step each, the last ones first.
        for first in (0..4).rev() {
            let (steps, seen) = (steps.clone(), seen.clone());
            scope.spawn(move || {
                for step in (first..40).step_by(4) {
                    let _turn = steps.turn(step);
                    seen.push(step);
                }
            });
        }
    });
    assert_eq!(seen.take(), (0..40).collect::<Vec<_>>());
    assert!(steps.is_over());
}

#[test]
fn tasks_and_threads_mix() {
    let steps = Sequencer::new(["task", "thread", "task again"]);
    let mut first = ManualTask::new(steps.turn_async("task"));
    let mut last = ManualTask::new(steps.turn_async("task again"));
    assert!(last.poll().is_pending());
    let Poll::Ready(turn) = first.poll() else {
        panic!("it is the turn of the first")
    };
    thread::scope(|scope| {
        let thread = scope.spawn(|| drop(steps.turn("thread")));
        assert!(!last.is_woken());
        drop(turn);
        thread.join().expect("it takes its turn");
    });
    assert_eq!(last.wakes(), 1);
    assert!(matches!(last.poll(), Poll::Ready(turn) if turn.step() == "task again"));
}

#[test]
fn a_turn_that_is_no_longer_awaited_is_given_back() {
    let steps = Sequencer::new(["a", "b"]);
    let mut waiting = ManualTask::new(steps.turn_async("b"));
    assert!(waiting.poll().is_pending());
    let counter = waiting.counter().clone();
    drop(waiting);
    assert_eq!(counter.live(), 0);
    drop(steps.turn("a"));
    drop(steps.turn("b"));
}

#[test]
fn misuse_is_named() {
    let steps = Sequencer::new(["open", "close"]);
    let text = message_of(|| steps.turn("clsoe"));
    assert_eq!(
        text,
        "the sequencer has no step `clsoe`: it has `open`, `close`"
    );
    let text = message_of(|| steps.turn(2));
    assert!(text.contains("no step `2`"), "{text}");
    drop(steps.turn("open"));
    let text = message_of(|| steps.turn("open"));
    assert!(
        text.contains("step `open`") && text.contains("twice"),
        "{text}"
    );
    let text = message_of(|| Sequencer::new(["a", "b", "a"]));
    assert!(text.contains("two steps `a`"), "{text}");
    drop(steps.turn("close"));
}

#[test]
fn steps_that_were_never_taken_are_named_when_the_last_handle_goes() {
    let steps = Sequencer::new(["a", "b", "c"]);
    drop(steps.turn("a"));
    let other = steps.clone();
    drop(steps);
    let text = message_of(|| drop(other));
    assert!(text.contains("last steps were taken: `b`, `c`"), "{text}");
}

#[test]
fn a_panic_in_a_turn_breaks_the_steps_after_it() {
    let steps = Sequencer::new(["a", "b", "c"]);
    let mut waiting = ManualTask::new(steps.turn_async("c"));
    assert!(waiting.poll().is_pending());
    thread::scope(|scope| {
        let blocked = scope.spawn(|| message_of(|| steps.turn("b")));
        message_of(|| {
            let _turn = steps.turn("a");
            panic!("on purpose");
        });
        let text = blocked.join().expect("it catches the panic");
        assert!(
            text.contains("`b`") && text.contains("`a` panicked"),
            "{text}"
        );
    });
    assert!(waiting.is_woken());
    let text = message_of(|| waiting.poll());
    assert!(
        text.contains("`c`") && text.contains("`a` panicked"),
        "{text}"
    );
    // The steps that are left do not panic a second time.
    drop(waiting);
    drop(steps);
}

#[test]
fn what_a_sequencer_is_doing_can_be_printed() {
    let steps = Sequencer::new(["a", "b"]);
    let turn = steps.turn("a");
    assert_eq!(format!("{turn:?}"), "Turn(\"a\")");
    drop(turn);
    let text = format!("{steps:?}");
    assert!(text.contains("next: Some(\"b\")"), "{text}");
    drop(steps.turn("b"));
}
