//! Running a future until its context is done: ready at once, and after three yields.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::case::{Case, Goal, RIPCORD, Readings, TOKIO_UTIL};
use crate::ours::Ripcord;
use crate::peers::TokioUtil;
use crate::plan::Plan;
use crate::tree::{Runs, chain};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::micro(
            "run/ready",
            "run(fut), ready at once",
            Goal::of_tokio_util(1.0),
        )
        .rust(RIPCORD, run::<Ripcord, 0>)
        .rust(TOKIO_UTIL, run::<TokioUtil, 0>),
        Case::micro(
            "run/three-yields",
            "run(fut), ready after 3 yields",
            Goal::of_tokio_util(1.0),
        )
        .rust(RIPCORD, run::<Ripcord, 3>)
        .rust(TOKIO_UTIL, run::<TokioUtil, 3>),
    ]
}

fn run<T: Runs, const YIELDS: u32>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let node = nodes.last().expect("a chain has a leaf");
    with_context(plan, |cx| {
        plan.each(|| poll_to_the_end(T::run(black_box(node), Yields(YIELDS)), YIELDS, cx))
    })
}

/// Calls `body` as a task of the runtime would be polled, with a waker of the runtime and without
/// tokio's budget, which a loop that never returns to the scheduler would use up.
pub(super) fn with_context<R>(plan: &Plan, mut body: impl FnMut(&mut Context<'_>) -> R) -> R {
    let polled = std::future::poll_fn(|cx| Poll::Ready(body(cx)));
    plan.runtime.block_on(tokio::task::unconstrained(polled))
}

/// Polls `future` again and again, as its wakers would have it, and checks how long it takes.
pub(super) fn poll_to_the_end(future: impl Future, yields: u32, cx: &mut Context<'_>) {
    let mut future = pin!(future);
    for _ in 0..yields {
        assert!(
            future.as_mut().poll(cx).is_pending(),
            "ready before the inner future is"
        );
    }
    assert!(
        future.as_mut().poll(cx).is_ready(),
        "pending although the inner future is ready"
    );
}

/// Is pending as often as its number says. It wakes nobody, because its caller polls it in a loop.
#[derive(Debug)]
pub(super) struct Yields(pub(super) u32);

impl Future for Yields {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Pending
            }
            None => Poll::Ready(black_box(7)),
        }
    }
}
