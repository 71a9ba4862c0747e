//! From the call to the head of its answer: [`ClientFuture`].
//!
//! The account of the call goes along: into the body with an answer, or to its end with an error.
//! Dropped on the way, as in a `select!` that another arm has won, it counts as given up; so does a
//! future that was never polled, since the client may have sent the call by then.

use crate::client::body::ClientBody;
use crate::client::error::CallError;
use http::Response;
use http_body::Body;
use ripcord_core::{Cancelled, Run};
use ripcord_propagation::CallSpan;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// The future of a [`ClientService`](crate::ClientService).
    ///
    /// The client's future is polled before the context is asked: an answer that is there counts. It
    /// is dropped before [`CallError::Cancelled`](crate::CallError::Cancelled) is returned, so that the
    /// call is given up on the wire by then.
    ///
    /// # Cancel safety
    /// Dropped, it gives the call up, on the wire too. Whether the callee has acted on it by then is not
    /// known, as with every call that has no answer.
    ///
    /// # Panics
    /// If it is polled again after it was ready.
    pub struct ClientFuture<F> {
        #[pin]
        running: Option<Run<F>>,
        span: Option<CallSpan>,
        refused: Option<Cancelled>,
    }
}

/// A call under its context. What is done already was refused before it came here.
impl<F> ClientFuture<F> {
    pub(crate) fn new(running: Run<F>, span: CallSpan) -> Self {
        Self {
            running: Some(running),
            span: Some(span),
            refused: None,
        }
    }

    /// A call that is not made.
    pub(crate) fn refused(cancelled: Cancelled) -> Self {
        Self {
            running: None,
            span: None,
            refused: Some(cancelled),
        }
    }
}

impl<F, R, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
    E: fmt::Display,
{
    type Output = Result<Response<ClientBody<R>>, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(cancelled) = this.refused.take() {
            return Poll::Ready(Err(cancelled.into()));
        }
        let running = this.running.as_mut().as_pin_mut();
        let answered = ready!(
            running
                .expect("a future is not polled again after it was ready")
                .poll(cx)
        );
        this.running.set(None);
        let mut span = this.span.take().expect("a call that runs has its account");
        Poll::Ready(match answered {
            Ok(Ok(response)) => {
                span.answered(response.status().as_u16());
                Ok(response.map(|body| ClientBody::new(body, span)))
            }
            Ok(Err(error)) => {
                span.failed(&error);
                span.complete();
                Err(CallError::Failed(error))
            }
            Err(cancelled) => {
                span.cancelled(cancelled.cause());
                span.complete();
                Err(CallError::Cancelled(cancelled))
            }
        })
    }
}

impl<F> fmt::Debug for ClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture")
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}
