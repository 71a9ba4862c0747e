//! The drivers that cut a future at every poll: what they find, and when they give up.

mod support;

use ripcord_core::{Ctx, Kind};
use ripcord_test::{CancelPoints, TestClock, for_each_cancel_of, for_each_cancel_point};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;
use support::message_of;

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn every_place_is_cut_once_and_the_last_run_is_whole() {
    let mut seen = Vec::new();
    let polls = for_each_cancel_point(
        || async {
            yield_now().await;
            yield_now().await;
            7
        },
        |outcome| seen.push((outcome.at, outcome.polls, outcome.is_whole, outcome.output)),
    );
    let expected = [
        (0, 0, false, None),
        (1, 1, false, None),
        (2, 2, false, None),
        (3, 3, true, Some(7)),
    ];
    assert_eq!((polls, seen.as_slice()), (3, expected.as_slice()));
}

#[test]
fn a_future_that_is_not_cancel_safe_is_caught() {
    // Takes from one account, awaits, and only then gives to the other.
    let (one, other) = (Cell::new(10), Cell::new(0));
    let torn = Cell::new(None);
    for_each_cancel_point(
        || async {
            one.set(one.get() - 1);
            yield_now().await;
            other.set(other.get() + 1);
        },
        |outcome| {
            if one.get() + other.get() != 10 && torn.get().is_none() {
                torn.set(Some(outcome.at));
            }
        },
    );
    assert_eq!(torn.get(), Some(1));
}

#[test]
fn a_cancel_reaches_the_future_at_every_poll() {
    let mut seen = Vec::new();
    let polls = for_each_cancel_of(
        |ctx| async move {
            for _ in 0..3 {
                ctx.with_timeout(Duration::from_secs(1)).done().await;
                ctx.check()?;
            }
            Ok::<_, ripcord_core::Cancelled>(())
        },
        |outcome| {
            let kind = outcome
                .output
                .and_then(Result::err)
                .map(|error| error.kind());
            seen.push((outcome.at, outcome.is_whole, kind));
        },
    );
    let cancelled = Some(Kind::Cancelled);
    let expected = [
        (0, false, cancelled),
        (1, false, cancelled),
        (2, false, cancelled),
        (3, false, cancelled),
        (4, true, None),
    ];
    assert_eq!((polls, seen.as_slice()), (4, expected.as_slice()));
}

#[test]
fn a_future_that_nothing_wakes_is_reported() {
    let text = message_of(|| for_each_cancel_point(pending::<()>, |_| {}));
    assert!(
        text.contains("pending after 1 polls and nothing will wake it"),
        "{text}"
    );
    assert!(text.contains("neither `clock` nor `on_idle`"), "{text}");
    let clock = TestClock::new();
    let text = message_of(|| {
        let points = CancelPoints::new().clock(&clock).on_idle(|| false);
        points.drop_at_each(pending::<()>, |_| {})
    });
    assert!(
        text.contains("no alarm is armed and `on_idle` has nothing left"),
        "{text}"
    );
}

#[test]
fn a_deaf_future_is_reported_with_the_place_of_the_cancel() {
    let text = message_of(|| {
        for_each_cancel_of(
            |_ctx| async {
                yield_now().await;
                pending::<()>().await;
            },
            |_| {},
        )
    });
    assert!(text.contains("its context was cancelled after 0"), "{text}");
    assert!(text.contains("no alarm is armed"), "{text}");
}

#[test]
fn a_future_that_never_completes_is_bounded() {
    let text = message_of(|| {
        CancelPoints::new().polls_max(20).drop_at_each(
            || async {
                loop {
                    yield_now().await;
                }
            },
            |_: ripcord_test::Outcome<()>| {},
        )
    });
    assert!(text.contains("still pending after 20 polls"), "{text}");
}

#[test]
fn a_world_that_goes_on_without_waking_is_bounded() {
    let text = message_of(|| {
        CancelPoints::new()
            .on_idle(|| true)
            .drop_at_each(pending::<()>, |_| {})
    });
    assert!(text.contains("without waking the future"), "{text}");
}

#[test]
fn what_the_future_waits_for_can_be_done_when_it_is_idle() {
    let guard = RefCell::new(None);
    let outputs = RefCell::new(Vec::new());
    CancelPoints::new()
        .on_idle(|| {
            let guard: Option<ripcord_core::CancelGuard> = guard.borrow_mut().take();
            guard.is_some_and(|guard| guard.cancel("sent"))
        })
        .drop_at_each(
            || {
                let (ctx, canceller) = Ctx::background().child();
                *guard.borrow_mut() = Some(canceller);
                async move { ctx.done().await }
            },
            |outcome| {
                outputs
                    .borrow_mut()
                    .push(outcome.output.map(|cause| cause.kind()));
            },
        );
    let expected = [None, None, Some(Kind::Cancelled)];
    assert_eq!(*outputs.borrow(), expected);
}
