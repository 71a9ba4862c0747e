//! [`Run`]: a future that ends when its context is done.
//!
//! # Order of looks
//! At the first poll the context comes first: a future that has not begun does not begin. At
//! every other one the future comes first: what is ready is not thrown away (C48, C49).

#![allow(unsafe_code, reason = "pin projections")]

use crate::cause::Cancelled;
use crate::ctx::Ctx;
use crate::wait::Done;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

impl Ctx {
    /// Runs `future` until it is ready or this context is done.
    ///
    /// A context that is done already ends it before the first poll. Otherwise the
    /// future is polled first, and a value that is ready is always returned. On
    /// cancel the future is dropped *before* the error is returned, so what it held
    /// (locks, permits) is free.
    ///
    /// # Errors
    /// [`Cancelled`] with the cause of this context. Which of several nested contexts
    /// ended the work is told by the cause's name and site.
    ///
    /// # Panics
    /// A panic of the future passes through. Polling after completion panics.
    ///
    /// # Cancel safety
    /// As cancel safe as `future` itself: dropping it drops that.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = std::pin::pin!(f);
    /// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
    /// # }
    /// let (ctx, guard) = Ctx::background().child();
    /// assert_eq!(block_on(ctx.run(async { 1 })), Ok(1));
    /// guard.cancel(Kind::PeerGone);
    /// let error = block_on(ctx.run(async { 1 })).unwrap_err();
    /// assert_eq!(error.kind(), Kind::PeerGone);
    /// ```
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        Run {
            done: self.done(),
            stage: Stage::New,
            future: Some(future.into_future()),
        }
    }
}

/// Adds [`within`](FutureExt::within) to every future.
///
/// # Examples
/// ```
/// use ripcord_core::{Cancelled, Ctx, FutureExt};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = std::pin::pin!(f);
/// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
/// # }
/// async fn total(ctx: &Ctx) -> Result<u32, Cancelled> {
///     let a = async { 20 }.within(ctx).await?;
///     let b = async { 22 }.within(ctx).await?;
///     Ok(a + b)
/// }
/// assert_eq!(block_on(total(&Ctx::background())), Ok(42));
/// ```
pub trait FutureExt: Future {
    /// Ends this future when `ctx` is done; the same as [`Ctx::run`].
    ///
    /// Reads in the order of the code: what is awaited, then the limit, then `.await?`.
    ///
    /// # Errors
    /// Those of [`Ctx::run`].
    ///
    /// # Cancel safety
    /// That of [`Ctx::run`].
    fn within(self, ctx: &Ctx) -> Run<Self>
    where
        Self: Sized,
    {
        ctx.run(self)
    }
}

impl<F: Future> FutureExt for F {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    New,
    Polled,
}

/// A future that ends with its context; made by [`Ctx::run`].
///
/// # Panics
/// A poll after the result was returned panics, as it does for most futures.
///
/// # Costs
/// The future itself and some three words; nothing is allocated unless it is pending at a poll,
/// which registers a waiter: see [`Done`].
#[must_use = "futures do nothing unless polled"]
pub struct Run<F> {
    done: Done,
    stage: Stage,
    future: Option<F>,
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Cancelled>;

    /// The inner future is dropped before the result is returned, on both ways out (C50).
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with the struct: it is only reached through the
        // `Pin` made below, and dropped in place by `set`. `done` and `stage` are `Unpin`.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` came from a pinned reference on the lines above.
        let mut future = unsafe { Pin::new_unchecked(&mut this.future) };
        if this.stage == Stage::New {
            this.stage = Stage::Polled;
            if let Some(cause) = this.done.peek() {
                future.set(None);
                return Poll::Ready(Err(Cancelled(cause)));
            }
        }
        let Some(inner) = future.as_mut().as_pin_mut() else {
            panic!("`Run` was polled again after it had returned its result");
        };
        if let Poll::Ready(output) = inner.poll(cx) {
            future.set(None);
            return Poll::Ready(Ok(output));
        }
        match this.done.poll_end(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(cause) => {
                future.set(None);
                Poll::Ready(Err(Cancelled(cause)))
            }
        }
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("is_over", &self.future.is_none())
            .finish_non_exhaustive()
    }
}
