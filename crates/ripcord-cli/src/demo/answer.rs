//! The server's end of a hop: a context for each request, and an answer in time.
//!
//! hyper drops the future of a handler when the client hangs up. The work runs as a task of its
//! own, so that it is told why (`PeerGone`) and can clean up, and so that it is known how long
//! that takes. The answer does not wait for work that overruns.

use super::deadline;
use super::failure::Failure;
use super::faults::Fault;
use super::shop::Shop;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use ripcord::{CancelGuard, Cancelled, Cause, Ctx, CtxExt, Done, JoinHandle, Kind};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Starts the work of one request, under a context with the caller's budget.
#[track_caller]
pub(super) fn answer<F, Fut>(
    shop: &Arc<Shop>,
    route: &'static str,
    headers: &HeaderMap,
    work: F,
) -> Answer
where
    F: FnOnce(Ctx, Option<Fault>) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let budget = deadline::received(headers);
    let fault = Fault::of(headers);
    let (ctx, guard) = shop.root.named(route).with_timeout(budget).child();
    let task = ctx.spawn(route, |ctx| work(ctx, fault));
    Answer {
        shop: Arc::clone(shop),
        route,
        done: ctx.done(),
        ctx,
        guard: Some(guard),
        task,
    }
}

/// The answer to one request; dropping it before it is ready is a hang-up.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Answer {
    shop: Arc<Shop>,
    route: &'static str,
    ctx: Ctx,
    done: Done,
    /// Taken when the answer is ready: what still runs below is then asked to stop.
    guard: Option<CancelGuard>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Answer {
    fn end(&mut self, result: Result<(), Failure>) -> Response {
        self.shop.tally.ended(self.route, self.ctx.cause());
        drop(self.guard.take());
        match result {
            Ok(()) => "ok".into_response(),
            Err(failure) => failure.into_response(),
        }
    }
}

impl Future for Answer {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        if let Poll::Ready(joined) = Pin::new(&mut self.task).poll(cx) {
            let result = joined.unwrap_or_else(|error| Err(error.into()));
            return Poll::Ready(self.end(result));
        }
        match Pin::new(&mut self.done).poll(cx) {
            Poll::Ready(cause) => Poll::Ready(self.end(Err(Cancelled::new(cause).into()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.cancel(Cause::new(Kind::PeerGone).with_message("the client hung up"));
            self.shop.tally.ended(self.route, self.ctx.cause());
        }
    }
}
