//! [`ClientResponseBody`]: the body of an answer, which ends with the context of its call.
//!
//! # Invariants
//! 1. The context is asked before the stream: one that is always ready ends, too.
//! 2. The stream below is dropped, which resets it, before the error is handed on.
//! 3. Whichever way it ends, the call ends with it, and with the call its context: the request's
//!    body, which may still be sent, breaks off.

use crate::client::call::Call;
use crate::watch::Watch;
use http_body::{Body, Frame, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

pin_project_lite::pin_project! {
    /// The body of an answer; made by [`GrpcClient`](crate::GrpcClient).
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` or `CANCELLED` when the context of the call is done, with the
    /// [`Cancelled`](ripcord_core::Cancelled) as its source; else the status of the failure of the
    /// transport.
    ///
    /// An error is the last item. Messages that had arrived and were not taken are lost with it, so
    /// that a peer that sends without a pause cannot hold a caller beyond its deadline.
    ///
    /// # Cancel safety
    /// Dropped before its end, it resets the stream, also if the request is still being sent.
    #[must_use = "bodies do nothing unless polled"]
    pub struct ClientResponseBody<B> {
        #[pin]
        inner: Option<B>,
        live: Option<Live>,
    }
}

struct Live {
    call: Call,
    watch: Watch,
}

impl<B> ClientResponseBody<B> {
    /// A body of which nothing more is expected.
    pub(crate) fn over(inner: B) -> Self {
        Self {
            inner: Some(inner),
            live: None,
        }
    }

    pub(crate) fn new(inner: B, call: Call) -> Self {
        Self {
            inner: Some(inner),
            live: Some(Live {
                watch: Watch::new(call.ctx()),
                call,
            }),
        }
    }
}

type Item<B> = Option<Result<Frame<<B as Body>::Data>, Status>>;

/// Looks at what the stream yields; ends the call with the last of it.
fn seen<B>(place: &mut Option<Live>, frame: Option<Result<Frame<B::Data>, B::Error>>) -> Item<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut live = place.take()?;
    match frame {
        Some(Ok(mut frame)) => {
            match frame.trailers_mut() {
                None => *place = Some(live),
                Some(trailers) => {
                    live.call.trailers(trailers);
                    live.call.complete();
                }
            }
            Some(Ok(frame))
        }
        Some(Err(error)) => Some(Err(live.call.failed(error.into()))),
        None => {
            live.call.complete();
            None
        }
    }
}

impl<B> Body for ClientResponseBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Item<B>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(live) = this.live.as_mut() else {
            let to_status = |error: B::Error| Status::from_error(error.into());
            let frame = ready!(inner.poll_frame(cx));
            return Poll::Ready(frame.map(|frame| frame.map_err(to_status)));
        };
        Poll::Ready(
            match ready!(live.watch.poll(cx, |cx| inner.poll_frame(cx))) {
                Ok(frame) => seen::<B>(this.live, frame),
                Err(cause) => {
                    this.inner.set(None);
                    this.live.take().map(|live| Err(live.call.cut(&cause)))
                }
            },
        )
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    /// Not told of a stream that may be cut.
    fn size_hint(&self) -> SizeHint {
        match (&self.inner, &self.live) {
            (None, _) => SizeHint::with_exact(0),
            (Some(inner), None) => inner.size_hint(),
            (Some(_), Some(_)) => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for ClientResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponseBody")
            .field("ctx", &self.live.as_ref().map(|live| live.call.ctx()))
            .field("is_over", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}
