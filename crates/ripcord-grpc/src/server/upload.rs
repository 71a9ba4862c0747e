//! [`ServerRequestBody`]: the body of a request, which fails when the context of its call is done.
//!
//! # Why
//! A handler that waits in its own future is dropped with it. One that has handed the request
//! stream to a task, or reads it from within the answer's stream, waits elsewhere and has to be
//! woken there.
//!
//! # A truncated stream must not look complete
//! tonic's decoder takes `CANCELLED` on a request stream for the stream's clean end, and a client
//! that resets its stream is reported as `CANCELLED`: a handler would add up the first half of an
//! upload and commit it. Here it becomes `ABORTED`, and the context is done before the handler sees
//! it. The same goes for a connection that breaks.

use crate::status::read_status;
use crate::watch::Watch;
use http_body::{Body, Frame, SizeHint};
use ripcord_core::{Canceller, Cause, Kind};
use ripcord_propagation::Exchange;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};

pin_project_lite::pin_project! {
    /// The body of a request; made by [`GrpcServer`](crate::GrpcServer).
    ///
    /// When the context of the call is done it fails with the status for the cause, `ABORTED` where
    /// that would be `CANCELLED`. It fails in the same way when the client resets the stream, or its
    /// connection breaks; the context is done then, with
    /// [`Kind::PeerGone`](ripcord_core::Kind::PeerGone) and the transport's error.
    ///
    /// # Errors
    /// A [`Status`] whose source is the [`Cancelled`](ripcord_core::Cancelled), once; errors of
    /// layers below, such as a limit on the size, as they are.
    ///
    /// # Cancel safety
    /// Dropping it loses what the client still sends, and nothing else.
    #[must_use = "bodies do nothing unless polled"]
    pub struct ServerRequestBody<B> {
        served: Option<Served>,
        #[pin]
        inner: B,
    }
}

struct Served {
    watch: Watch,
    canceller: Option<Canceller>,
    is_over: bool,
}

impl<B> ServerRequestBody<B> {
    pub(crate) fn plain(inner: B) -> Self {
        Self {
            served: None,
            inner,
        }
    }

    pub(crate) fn served(inner: B, exchange: &Exchange) -> Self {
        Self {
            served: Some(Served {
                watch: Watch::new(exchange.ctx()),
                canceller: exchange.canceller(),
                is_over: false,
            }),
            inner,
        }
    }
}

impl Served {
    fn end(&mut self, cause: &Cause) -> Status {
        self.is_over = true;
        read_status(cause)
    }

    /// An error of the stream below: the client has gone, or a layer in between refuses something.
    fn refine(&mut self, status: Status) -> Status {
        if !is_gone(&status) {
            return status;
        }
        let gone = Cause::new(Kind::PeerGone).with_error(status);
        if let Some(canceller) = &self.canceller {
            canceller.cancel(gone.clone());
        }
        // Perhaps it was done before, by something else.
        let cause = self.watch.ctx().cause().unwrap_or(gone);
        self.end(&cause)
    }
}

/// Whether the stream or its connection is broken: then an error of h2 is among the sources, unless
/// what reported it kept the code only.
fn is_gone(status: &Status) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(status);
    while let Some(error) = next {
        if error.is::<h2::Error>() {
            return true;
        }
        next = error.source();
    }
    status.code() == Code::Cancelled
}

impl<B> Body for ServerRequestBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let this = self.project();
        let Some(served) = this.served else {
            return this.inner.poll_frame(cx).map_err(to_status);
        };
        if served.is_over {
            return Poll::Ready(None);
        }
        let status = match ready!(served.watch.poll(cx, |cx| this.inner.poll_frame(cx))) {
            Ok(Some(Err(error))) => served.refine(to_status(error)),
            Ok(frame) => return Poll::Ready(frame.map(|frame| frame.map_err(to_status))),
            Err(cause) => served.end(&cause),
        };
        Poll::Ready(Some(Err(status)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn to_status(error: impl Into<Box<dyn Error + Send + Sync>>) -> Status {
    Status::from_error(error.into())
}

impl<B> fmt::Debug for ServerRequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRequestBody")
            .field(
                "ctx",
                &self.served.as_ref().map(|served| served.watch.ctx()),
            )
            .finish_non_exhaustive()
    }
}
