//! Streams that end with a context.

use futures_core::{FusedStream, Stream};
use ripcord_core::{CancelGuard, Cancelled, Ctx, Kind, dump};
use ripcord_test::{ManualTask, WakeCounter};
use ripcord_tokio::StreamExt;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a scripted stream does in one poll.
enum Step {
    Item(u32),
    /// Cancels in the very poll that has an item.
    CancelAndItem(CancelGuard, u32),
    Wait,
    End,
}

/// A stream that follows a script, and counts its polls.
struct Script {
    steps: VecDeque<Step>,
    polls: usize,
}

fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    Script {
        steps: steps.into_iter().collect(),
        polls: 0,
    }
}

impl Stream for Script {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        self.polls += 1;
        match self.steps.pop_front() {
            Some(Step::Item(item)) => Poll::Ready(Some(item)),
            Some(Step::CancelAndItem(guard, item)) => {
                guard.cancel(Kind::PeerGone);
                Poll::Ready(Some(item))
            }
            Some(Step::Wait) => Poll::Pending,
            Some(Step::End) => Poll::Ready(None),
            None => panic!("polled again after the end of the script"),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.steps.len(), Some(self.steps.len()))
    }
}

fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    poll_with(stream, &WakeCounter::new())
}

fn poll_with<S: Stream + Unpin>(stream: &mut S, counter: &WakeCounter) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(&counter.waker()))
}

//= C51
#[test]
fn a_stream_that_is_always_ready_ends_at_the_first_poll_after_the_cancel() {
    let (ctx, guard) = Ctx::background().child();
    let mut stream = script((0..10).map(Step::Item)).until_done(&ctx);
    for item in 0..3 {
        assert_eq!(poll(&mut stream), Poll::Ready(Some(item)));
    }
    assert!(stream.cause().is_none());
    guard.cancel(Kind::PeerGone);
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    assert_eq!(stream.cause().map(Cancelled::kind), Some(Kind::PeerGone));
    // Ended for good, and without another poll of the inner stream.
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    let inner = stream.into_inner();
    assert_eq!((inner.polls, inner.steps.len()), (3, 7));
}

//= C51
#[tokio::test]
async fn a_loop_over_a_stream_ends_at_its_first_await_after_the_cancel() {
    let (ctx, guard) = Ctx::background().child();
    let mut stream = script((0..10).map(Step::Item)).until_done(&ctx);
    let mut seen = 0;
    while let Some(item) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        seen += 1;
        if item == 4 {
            guard.cancel("enough");
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn an_item_of_the_very_poll_in_which_the_context_ends_is_returned() {
    let (ctx, guard) = Ctx::background().child();
    let steps = [Step::CancelAndItem(guard, 7), Step::Item(8)];
    let mut stream = script(steps).until_done(&ctx);
    assert_eq!(poll(&mut stream), Poll::Ready(Some(7)));
    assert!(!stream.is_terminated());
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    assert!(stream.is_terminated());
}

#[test]
fn a_context_that_is_done_ends_the_stream_before_its_first_poll() {
    let (ctx, guard) = Ctx::background().child();
    guard.cancel("over");
    let mut stream = script([]).until_done(&ctx);
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    assert_eq!(stream.get_ref().polls, 0);
}

#[test]
fn a_waiting_stream_is_woken_by_the_cancel_and_ends() {
    let (ctx, guard) = Ctx::background().child();
    let mut stream = script([Step::Wait]).until_done(&ctx);
    let counter = WakeCounter::new();
    assert!(poll_with(&mut stream, &counter).is_pending());
    assert_eq!(counter.wakes(), 0);
    guard.cancel("over");
    assert_eq!(counter.wakes(), 1);
    assert_eq!(poll_with(&mut stream, &counter), Poll::Ready(None));
    assert_eq!(stream.get_ref().polls, 1, "the context is looked at first");
}

#[test]
fn a_stream_that_ends_by_itself_has_no_cause_even_if_the_context_ends_later() {
    let (ctx, guard) = Ctx::background().child();
    let mut stream = script([Step::Item(1), Step::End]).until_done(&ctx);
    assert_eq!(stream.size_hint(), (0, Some(2)));
    assert_eq!(poll(&mut stream), Poll::Ready(Some(1)));
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    guard.cancel("too late");
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    assert!(stream.cause().is_none());
    assert_eq!(stream.size_hint(), (0, Some(0)));
}

#[test]
fn the_error_of_a_stream_of_results_is_its_last_item() {
    let (ctx, guard) = Ctx::background().child();
    let steps = [Step::Item(1), Step::CancelAndItem(guard, 2), Step::Item(3)];
    let mut stream = script(steps).results_until_done(&ctx);
    assert_eq!(stream.size_hint(), (0, Some(4)));
    assert_eq!(poll(&mut stream), Poll::Ready(Some(Ok(1))));
    assert_eq!(poll(&mut stream), Poll::Ready(Some(Ok(2))));
    let Poll::Ready(Some(Err(error))) = poll(&mut stream) else {
        panic!("the context is done");
    };
    assert_eq!(error.kind(), Kind::PeerGone);
    assert!(stream.is_terminated());
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    assert_eq!(stream.into_inner().steps.len(), 1);
}

#[test]
fn a_stream_of_results_that_ends_by_itself_ends_without_an_error() {
    let (ctx, guard) = Ctx::background().child();
    let mut stream = script([Step::Item(1), Step::End]).results_until_done(&ctx);
    assert_eq!(poll(&mut stream), Poll::Ready(Some(Ok(1))));
    assert_eq!(poll(&mut stream), Poll::Ready(None));
    guard.cancel("too late");
    assert_eq!(poll(&mut stream), Poll::Ready(None));
}

//= C134
#[test]
fn a_dropped_stream_leaves_nothing_registered() {
    let tree = "stream: dropped";
    let (ctx, _guard) = Ctx::root().name(tree).tracked().build();
    let waiters = || {
        let dump = dump();
        let rows = dump.rows().iter();
        rows.filter(|row| row.name.as_deref() == Some(tree))
            .map(|row| row.waiters)
            .sum::<usize>()
    };
    let mut stream = script([Step::Wait]).until_done(&ctx);
    let mut task = ManualTask::new(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)));
    assert!(task.poll().is_pending());
    let counter = task.counter().clone();
    drop(task);
    assert_eq!(waiters(), 1);
    drop(stream);
    assert_eq!((waiters(), counter.live()), (0, 0));
}
