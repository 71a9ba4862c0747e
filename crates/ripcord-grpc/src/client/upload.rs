//! The body of a request that is sent: it breaks off when the context of its call is done.
//!
//! # Why
//! hyper resets a stream when the future of its head is dropped. Once the head is there, it resets
//! nothing as long as the request's body is still being sent: a bidirectional call whose caller
//! has lost interest would stay open until the next message is sent. This body ends it at once.
//!
//! # Invariants
//! 1. It never ends early without an error: a clean end would tell the server that the upload is
//!    complete.
//! 2. What the application streams is dropped before the error is handed on.

use crate::status::local_status;
use crate::watch::Watch;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ripcord_core::{Cause, Ctx};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::Status;

pin_project_lite::pin_project! {
    pub(crate) struct Upload<B> {
        watch: Watch,
        #[pin]
        inner: Option<B>,
    }
}

impl<B> Upload<B> {
    pub(crate) fn new(inner: B, ctx: &Ctx) -> Self {
        Self {
            watch: Watch::new(ctx),
            inner: Some(inner),
        }
    }
}

/// The error that makes hyper reset the stream with `CANCEL` rather than `INTERNAL_ERROR`: it looks
/// for an error of h2 among the sources.
fn reset(cause: &Cause) -> Status {
    let mut status = local_status(cause);
    status.set_source(Arc::new(h2::Error::from(h2::Reason::CANCEL)));
    status
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        match ready!(this.watch.poll(cx, |cx| inner.poll_frame(cx))) {
            Ok(frame) => {
                let to_status = |error: B::Error| Status::from_error(error.into());
                Poll::Ready(frame.map(|frame| frame.map_err(to_status)))
            }
            Err(cause) => {
                this.inner.set(None);
                Poll::Ready(Some(Err(reset(&cause))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
