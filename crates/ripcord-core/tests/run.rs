//! Chapter *run and within* of the specification, and the ambient context.

mod common;

use common::{Tally, quietly, row};
use ripcord_core::{CancelGuard, Cancelled, Ctx, FutureExt, Kind};
use ripcord_test::{ManualTask, TestClock};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Counts its polls, holds something, and is ready when it was polled often enough.
struct Work<G> {
    polls: Tally,
    ready_at: usize,
    _held: G,
}

impl<G: Unpin> Future for Work<G> {
    type Output = &'static str;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<&'static str> {
        self.polls.add();
        if self.polls.get() >= self.ready_at {
            Poll::Ready("value")
        } else {
            Poll::Pending
        }
    }
}

fn work<G>(polls: &Tally, ready_at: usize, held: G) -> Work<G> {
    Work {
        polls: polls.clone(),
        ready_at,
        _held: held,
    }
}

fn kind<T>(poll: Poll<Result<T, Cancelled>>) -> Option<Kind> {
    match poll {
        Poll::Ready(Err(error)) => Some(error.kind()),
        Poll::Ready(Ok(_)) | Poll::Pending => None,
    }
}

//= C48
#[test]
fn a_done_context_ends_a_run_before_its_first_poll() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let expired = root.with_timeout(Duration::ZERO);
    let (cancelled, inner) = root.child();
    // Made before the end, polled after it.
    let polls = Tally::new();
    let mut early = ManualTask::new(cancelled.run(work(&polls, 1, ())));
    inner.cancel(Kind::PeerGone);
    assert_eq!(kind(early.poll()), Some(Kind::PeerGone));
    let mut late = ManualTask::new(work(&polls, 1, ()).within(&cancelled));
    assert_eq!(kind(late.poll()), Some(Kind::PeerGone));
    let mut timed = ManualTask::new(expired.run(work(&polls, 1, ())));
    assert_eq!(kind(timed.poll()), Some(Kind::DeadlineExceeded));
    assert_eq!(polls.get(), 0);
    let never = Ctx::background().run(work(&polls, 2, ()));
    let mut never = ManualTask::new(never);
    assert!(never.poll().is_pending());
    assert_eq!(never.poll(), Poll::Ready(Ok("value")));
    drop(guard);
}

//= C49
#[test]
fn a_value_that_is_ready_is_returned_even_if_the_context_ended() {
    // Ended between two polls.
    let (ctx, guard) = Ctx::background().child();
    let polls = Tally::new();
    let mut run = ManualTask::new(ctx.run(work(&polls, 2, ())));
    assert!(run.poll().is_pending());
    guard.cancel("x");
    assert_eq!((run.poll(), polls.get()), (Poll::Ready(Ok("value")), 2));

    // Ended during a poll, the first one or a later one.
    for first in [true, false] {
        let (ctx, guard) = Ctx::background().child();
        let mut polls = 0;
        let body = poll_fn(move |_| {
            polls += 1;
            if polls == 1 && !first {
                return Poll::Pending;
            }
            guard.cancel("x");
            Poll::Ready("value")
        });
        let mut run = ManualTask::new(ctx.run(body));
        if !first {
            assert!(run.poll().is_pending());
        }
        assert_eq!(run.poll(), Poll::Ready(Ok("value")));
    }
}

//= C49
#[test]
fn a_pending_run_ends_in_the_poll_that_sees_the_end() {
    let (ctx, guard) = Ctx::background().child();
    let polls = Tally::new();
    let mut run = ManualTask::new(ctx.run(work(&polls, 9, ())));
    assert!(run.poll().is_pending());
    guard.cancel(Kind::PeerGone);
    assert_eq!(run.wakes(), 1);
    assert_eq!(kind(run.poll()), Some(Kind::PeerGone));
    assert_eq!(polls.get(), 2, "the future came first");

    let (ctx, guard) = Ctx::background().child();
    let body = poll_fn(move |_| {
        guard.cancel(Kind::Shutdown);
        Poll::<()>::Pending
    });
    let mut run = ManualTask::new(ctx.run(body));
    assert_eq!(kind(run.poll()), Some(Kind::Shutdown));
}

struct Permit(Arc<AtomicBool>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

//= C50
#[test]
fn when_a_run_fails_its_future_is_dropped_already() {
    for polled in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let is_free = Arc::new(AtomicBool::new(false));
        let body = work(&Tally::new(), 9, Permit(Arc::clone(&is_free)));
        let mut run = ManualTask::new(ctx.run(body));
        if polled {
            assert!(run.poll().is_pending());
        }
        guard.cancel("x");
        assert!(!is_free.load(Ordering::Acquire));
        assert!(run.poll().is_ready());
        assert!(
            is_free.load(Ordering::Acquire),
            "while the run still exists"
        );
    }
}

//= C51
#[test]
fn a_loop_over_what_is_always_ready_stops_after_the_cancel() {
    let (ctx, guard) = Ctx::background().child();
    let rounds = Tally::new();
    let body = {
        let (ctx, rounds) = (ctx.clone(), rounds.clone());
        async move {
            loop {
                ready(()).within(&ctx).await?;
                rounds.add();
                if rounds.get() == 3 {
                    guard.cancel(Kind::PeerGone);
                }
                assert!(rounds.get() <= 3, "it goes on after the cancel");
            }
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok::<(), Cancelled>(())
        }
    };
    assert_eq!(kind(ManualTask::new(body).poll()), Some(Kind::PeerGone));
    assert_eq!(rounds.get(), 3);
}

//= C52
#[test]
fn the_cause_tells_which_of_two_nested_runs_ended() {
    type End = fn(&TestClock, &CancelGuard);
    let ends: [(&str, End, Kind, Option<&str>); 3] = [
        (
            "inner deadline",
            |clock, _| clock.advance(SECOND),
            Kind::DeadlineExceeded,
            Some("inner"),
        ),
        (
            "cancel",
            |_, guard| assert!(guard.cancel(Kind::PeerGone)),
            Kind::PeerGone,
            Some("outer"),
        ),
        (
            "inner deadline, seen after the outer one",
            |clock, _| clock.advance(5 * SECOND),
            Kind::DeadlineExceeded,
            Some("inner"),
        ),
    ];
    for (how, end, expect, name) in ends {
        let clock = TestClock::new();
        let (root, _root_guard) = clock.ctx();
        let (outer, guard) = root.with_timeout(3 * SECOND).named("outer").child();
        let (inner, line) = (outer.named("inner").with_timeout(SECOND), line!());
        let both = outer.run(inner.run(pending::<()>()));
        let mut both = ManualTask::new(both);
        assert!(both.poll().is_pending());
        end(&clock, &guard);
        let Poll::Ready(result) = both.poll() else {
            panic!("{how}: it has to end")
        };
        // Polled first, the inner one reports: as the value of the outer one.
        let error = result.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.cause().name()),
            (expect, name),
            "{how}"
        );
        if expect == Kind::DeadlineExceeded {
            assert_eq!(error.cause().site().unwrap().line(), line, "{how}");
            assert_ne!(Some(error.cause().clone()), outer.cause(), "{how}");
        }
    }
}

//= C53
#[test]
fn a_panic_passes_through_and_leaves_nothing() {
    let (ctx, _guard) = Ctx::root().name("panicking run").tracked().build();
    let mut polls = 0;
    let body = poll_fn(move |_| {
        polls += 1;
        assert!(polls < 2, "the work failed");
        Poll::<()>::Pending
    });
    let mut run = ManualTask::new(ctx.run(body));
    assert!(run.poll().is_pending());
    assert_eq!(row("panicking run").waiters, 1);
    let text = quietly(move || run.poll().is_ready()).unwrap_err();
    assert_eq!(text, "the work failed");
    assert_eq!(row("panicking run").waiters, 0);
    assert!(!ctx.is_done());
}

//= C108
#[test]
fn an_entered_future_runs_under_its_context() {
    let (outer, inner) = (
        Ctx::background().named("outer"),
        Ctx::background().named("inner"),
    );
    let name = || Ctx::current().name().map(str::to_owned);
    assert_eq!(Ctx::current(), Ctx::background());
    let body = {
        let inner = inner.clone();
        async move {
            assert_eq!(name().as_deref(), Some("outer"));
            let mut polls = 0;
            let nested = poll_fn(move |_| {
                polls += 1;
                assert_eq!(Ctx::current().name(), Some("inner"));
                assert!(Ctx::with_current(|ctx| ctx.name().is_some()));
                if polls == 1 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            });
            inner.enter(nested).await;
            assert_eq!(name().as_deref(), Some("outer"));
            inner.enter_sync(|| assert_eq!(name().as_deref(), Some("inner")));
            pending::<()>().await;
        }
    };
    let mut task = ManualTask::new(outer.enter(body));
    for _ in 0..3 {
        assert!(task.poll().is_pending());
        assert_eq!(Ctx::current(), Ctx::background());
    }
    drop(task);
    assert_eq!(Ctx::current(), Ctx::background());

    let mut panics = ManualTask::new(outer.enter(async { panic!("the work failed") }));
    let text = inner.enter_sync(|| {
        let text = quietly(|| panics.poll()).unwrap_err();
        assert_eq!(Ctx::current(), inner);
        text
    });
    assert_eq!(text, "the work failed");
    assert_eq!(Ctx::current(), Ctx::background());
}
