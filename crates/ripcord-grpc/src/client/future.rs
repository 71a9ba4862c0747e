//! [`ClientFuture`]: a call until the head of its answer.
//!
//! # Invariants
//! 1. Nothing is sent under a context that is done: the writing of the headers fails.
//! 2. The headers are written when the service below takes the call, so that time spent in a queue
//!    is not promised to the peer.
//! 3. The call below is dropped, which resets its stream, before the error is returned.

use crate::client::body::ClientResponseBody;
use crate::client::call::Call;
use crate::client::layer::GrpcClientLayer;
use http::{Request, Response};
use http_body::Body;
use ripcord_core::{Cause, Done};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tower_service::Service;

type Outgoing = Request<tonic::body::Body>;

pin_project_lite::pin_project! {
    /// The future of a call that is made; see [`GrpcClientLayer`](crate::GrpcClientLayer).
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` or `CANCELLED` if the context of the call is done, with the
    /// [`Cancelled`](ripcord_core::Cancelled) as its source; else the status of the failure of the
    /// transport.
    ///
    /// # Panics
    /// A poll after completion panics.
    ///
    /// # Cancel safety
    /// Dropping it resets the stream: the server learns that nobody waits. It may have done its
    /// work all the same.
    #[must_use = "futures do nothing unless polled"]
    pub struct ClientFuture<S>
    where
        S: Service<Outgoing>,
    {
        // Until the head of the answer; the body has it from then on.
        call: Option<Call>,
        done: Done,
        layer: GrpcClientLayer,
        #[pin]
        stage: Stage<S, S::Future>,
    }
}

pin_project_lite::pin_project! {
    #[project = StageProj]
    enum Stage<S, F> {
        /// For a connection, or a permit of a layer below.
        Waiting { service: S, unsent: Option<Outgoing> },
        Calling { #[pin] future: F },
        Over,
    }
}

impl<S: Service<Outgoing>> ClientFuture<S> {
    pub(crate) fn new(service: S, request: Outgoing, call: Call, layer: GrpcClientLayer) -> Self {
        Self {
            done: call.ctx().done(),
            call: Some(call),
            layer,
            stage: Stage::Waiting {
                service,
                unsent: Some(request),
            },
        }
    }
}

/// What one look at the stage came to.
enum Step<F, R> {
    Sent(F),
    Answered(R),
    Failed(Box<dyn Error + Send + Sync>),
    Cut(Cause),
    Pending,
}

impl<S, R> ClientFuture<S>
where
    S: Service<Outgoing, Response = Response<R>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn step(
        stage: Pin<&mut Stage<S, S::Future>>,
        call: &mut Call,
        layer: &GrpcClientLayer,
        cx: &mut Context<'_>,
    ) -> Step<S::Future, Response<R>> {
        match stage.project() {
            StageProj::Waiting { service, unsent } => {
                match service.poll_ready(cx) {
                    Poll::Pending => return Step::Pending,
                    Poll::Ready(Err(error)) => return Step::Failed(error.into()),
                    Poll::Ready(Ok(())) => {}
                }
                let Some(mut request) = unsent.take() else {
                    unreachable!("what takes the request leaves this stage");
                };
                match call.write(layer, request.headers_mut()) {
                    Ok(()) => Step::Sent(service.call(request)),
                    Err(cause) => Step::Cut(cause),
                }
            }
            StageProj::Calling { future } => match future.poll(cx) {
                Poll::Pending => Step::Pending,
                Poll::Ready(Ok(response)) => Step::Answered(response),
                Poll::Ready(Err(error)) => Step::Failed(error.into()),
            },
            StageProj::Over => unreachable!("the call has left with the result"),
        }
    }
}

impl<S, R> Future for ClientFuture<S>
where
    S: Service<Outgoing, Response = Response<R>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
{
    type Output = Result<Response<ClientResponseBody<R>>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(mut call) = this.call.take() else {
            panic!("`ClientFuture` was polled again after it had returned its result");
        };
        let step = loop {
            match Self::step(this.stage.as_mut(), &mut call, this.layer, cx) {
                Step::Sent(future) => this.stage.set(Stage::Calling { future }),
                Step::Pending => match Pin::new(&mut *this.done).poll(cx) {
                    Poll::Ready(cause) => break Step::Cut(cause),
                    Poll::Pending => {
                        *this.call = Some(call);
                        return Poll::Pending;
                    }
                },
                last => break last,
            }
        };
        this.stage.set(Stage::Over);
        Poll::Ready(match step {
            Step::Answered(response) => Ok(answered(call, response)),
            Step::Failed(error) => Err(call.failed(error)),
            Step::Cut(cause) => Err(call.cut(&cause)),
            Step::Sent(_) | Step::Pending => unreachable!("the loop goes on with these"),
        })
    }
}

/// The answer's head is there; its body is watched to the end, unless it is over with the head.
fn answered<R: Body>(mut call: Call, response: Response<R>) -> Response<ClientResponseBody<R>> {
    let (mut head, body) = response.into_parts();
    let status = head.status.as_u16();
    let is_over = call.answered(status, &mut head.headers) || body.is_end_stream();
    let body = if is_over {
        call.complete();
        ClientResponseBody::over(body)
    } else {
        ClientResponseBody::new(body, call)
    };
    Response::from_parts(head, body)
}

impl<S: Service<Outgoing>> fmt::Debug for ClientFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture")
            .field("ctx", &self.call.as_ref().map(Call::ctx))
            .finish_non_exhaustive()
    }
}
