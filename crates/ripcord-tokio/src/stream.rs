//! Streams that end with a context: [`StreamExt::until_done`] and its fallible twin.
//!
//! # Invariants
//! 1. The context is looked at before the inner stream is polled: a stream that is
//!    always ready ends at the first poll after the end of its context.
//! 2. An item that the inner stream hands over is returned, also if the context ended
//!    during that poll: no item is taken and dropped.
//! 3. After the end the inner stream is not polled again.

use futures_core::{FusedStream, Stream};
use ripcord_core::tasks::labelled;
use ripcord_core::{Cancelled, Ctx, Done};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Adds [`until_done`](StreamExt::until_done) to every stream.
pub trait StreamExt: Stream + Sized {
    /// Ends this stream when `ctx` is done; [`cause`](UntilDone::cause) tells why it ended.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use ripcord_tokio::StreamExt as _;
    /// # use std::{pin::{Pin, pin}, task::{Context, Poll}};
    /// # struct Ones;
    /// # impl futures_core::Stream for Ones {
    /// #     type Item = u32;
    /// #     fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
    /// #         Poll::Ready(Some(1))
    /// #     }
    /// # }
    /// # async fn next<S: futures_core::Stream>(mut s: Pin<&mut S>) -> Option<S::Item> {
    /// #     std::future::poll_fn(|cx| s.as_mut().poll_next(cx)).await
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (ctx, guard) = Ctx::background().child();
    /// // `Ones` never pauses and never ends.
    /// let mut ones = pin!(Ones.until_done(&ctx));
    /// assert_eq!(next(ones.as_mut()).await, Some(1));
    /// guard.cancel(Kind::PeerGone);
    /// assert_eq!(next(ones.as_mut()).await, None);
    /// assert_eq!(ones.cause().map(|end| end.kind()), Some(Kind::PeerGone));
    /// # }
    /// ```
    fn until_done(self, ctx: &Ctx) -> UntilDone<Self> {
        UntilDone {
            inner: self,
            end: End::new(ctx),
        }
    }

    /// Ends this stream with an error when `ctx` is done; items come as `Ok`.
    ///
    /// For loops that collect with `?`, to which an early end must not look like a
    /// complete stream. The error is the last item.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use ripcord_tokio::StreamExt as _;
    /// use std::{future::poll_fn, pin::Pin, task::{Context, Poll}};
    ///
    /// struct Silent;
    /// impl futures_core::Stream for Silent {
    ///     type Item = u32;
    ///     fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
    ///         Poll::Pending
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use futures_core::Stream as _;
    /// let (ctx, guard) = Ctx::background().child();
    /// let mut rows = Silent.results_until_done(&ctx);
    /// guard.cancel(Kind::PeerGone);
    /// let last = poll_fn(|cx| Pin::new(&mut rows).poll_next(cx)).await;
    /// assert_eq!(last.expect("an error comes last").unwrap_err().kind(), Kind::PeerGone);
    /// # }
    /// ```
    fn results_until_done(self, ctx: &Ctx) -> ResultsUntilDone<Self> {
        ResultsUntilDone {
            inner: self.until_done(ctx),
        }
    }
}

impl<S: Stream> StreamExt for S {}

pin_project_lite::pin_project! {
    /// A stream that ends with its context; made by [`StreamExt::until_done`].
    ///
    /// The context is looked at first in every poll, so a stream that is always ready
    /// ends, too, and a context that is done already ends it before the first poll. An
    /// item that becomes ready in the very poll in which the context ends is returned;
    /// the next poll ends the stream.
    ///
    /// # Cancel safety
    /// That of the inner stream. Items that it holds ready when it ends stay in it:
    /// [`into_inner`](Self::into_inner).
    ///
    /// # Costs
    /// One `Ctx::is_done` for each item; it registers when it first has to wait.
    #[must_use = "streams do nothing unless polled"]
    pub struct UntilDone<S> {
        #[pin]
        inner: S,
        end: End,
    }
}

/// The context's part of a stream.
struct End {
    ctx: Ctx,
    done: Done,
    is_over: bool,
    cancelled: Option<Cancelled>,
}

impl End {
    fn new(ctx: &Ctx) -> Self {
        Self {
            ctx: ctx.clone(),
            done: ctx.done(),
            is_over: false,
            cancelled: None,
        }
    }

    /// Whether the stream is over, by itself or by its context.
    fn is_over(&mut self) -> bool {
        if !self.is_over
            && let Some(cause) = self.ctx.cause()
        {
            self.cancel(Cancelled::new(cause));
        }
        self.is_over
    }

    fn cancel(&mut self, cancelled: Cancelled) {
        self.is_over = true;
        self.cancelled = Some(cancelled);
    }

    /// The inner stream has to wait: ready when the context is done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done = labelled("next", || Pin::new(&mut self.done).poll(cx));
        done.map(|cause| self.cancel(Cancelled::new(cause)))
    }
}

impl<S> UntilDone<S> {
    /// Why the context ended the stream; `None` as long as it has not, or if the inner
    /// stream came to its own end first.
    #[must_use]
    pub fn cause(&self) -> Option<&Cancelled> {
        self.end.cancelled.as_ref()
    }

    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner stream, to be polled without regard to the context.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner stream, pinned.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().inner
    }

    /// Gives the inner stream back, with the items that were not taken.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Stream> Stream for UntilDone<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.end.is_over() {
            return Poll::Ready(None);
        }
        match this.inner.poll_next(cx) {
            Poll::Ready(item) => {
                this.end.is_over = item.is_none();
                Poll::Ready(item)
            }
            Poll::Pending => this.end.poll(cx).map(|()| None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.end.is_over {
            return (0, Some(0));
        }
        (0, self.inner.size_hint().1)
    }
}

impl<S: Stream> FusedStream for UntilDone<S> {
    fn is_terminated(&self) -> bool {
        self.end.is_over
    }
}

impl<S: fmt::Debug> fmt::Debug for UntilDone<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilDone")
            .field("inner", &self.inner)
            .field("ctx", &self.end.ctx)
            .field("cause", &self.end.cancelled)
            .finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// A stream whose last item is an error if its context ended it; made by
    /// [`StreamExt::results_until_done`].
    ///
    /// It ends in the same polls as [`UntilDone`].
    ///
    /// # Errors
    /// [`Cancelled`] with the cause of the context, once.
    ///
    /// # Cancel safety
    /// That of the inner stream.
    #[must_use = "streams do nothing unless polled"]
    #[derive(Debug)]
    pub struct ResultsUntilDone<S> {
        #[pin]
        inner: UntilDone<S>,
    }
}

impl<S> ResultsUntilDone<S> {
    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// Gives the inner stream back, with the items that were not taken.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }
}

impl<S: Stream> Stream for ResultsUntilDone<S> {
    type Item = Result<S::Item, Cancelled>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = self.project().inner;
        if inner.end.is_over {
            return Poll::Ready(None);
        }
        inner.as_mut().poll_next(cx).map(|item| match item {
            Some(item) => Some(Ok(item)),
            None => inner.cause().cloned().map(Err),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (low, high) = self.inner.size_hint();
        if self.inner.end.is_over {
            return (low, high);
        }
        // One more for the error.
        (low, high.and_then(|high| high.checked_add(1)))
    }
}

impl<S: Stream> FusedStream for ResultsUntilDone<S> {
    fn is_terminated(&self) -> bool {
        self.inner.end.is_over
    }
}
