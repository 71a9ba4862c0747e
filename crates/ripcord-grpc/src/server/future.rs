//! [`ServerFuture`]: a handler from its first poll to the head of its answer.
//!
//! # Invariants
//! 1. The exchange is declared, and so dropped, before the handler: a destructor in a handler that
//!    is dropped half-way finds its context done, with the cause.
//! 2. A handler that has an answer ready is not overruled: the context is asked first at the first
//!    poll and last at every other one ([`Run`]).

use crate::server::answer::Answers;
use crate::server::body::ServerResponseBody;
use http::Response;
use ripcord_core::{Cancelled, Cause, Entered, Kind, Run};
use ripcord_propagation::Exchange;
use ripcord_tokio::{AsTask, as_task};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// The future of a call that is served; made by [`GrpcServer`](crate::GrpcServer).
    ///
    /// # Panics
    /// A panic of the handler passes through, and the context is done with
    /// [`Kind::Panicked`](ripcord_core::Kind::Panicked). A poll after completion panics.
    ///
    /// # Cancel safety
    /// Dropping it drops the handler and ends the context of the call with
    /// [`Kind::PeerGone`](ripcord_core::Kind::PeerGone): whoever drove it has lost interest.
    #[must_use = "futures do nothing unless polled"]
    pub struct ServerFuture<F> {
        served: Option<(Exchange, Answers)>,
        #[pin]
        stage: Stage<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        /// No gRPC: none of our business.
        Plain { #[pin] future: F },
        Served { #[pin] run: AsTask<Run<Entered<F>>> },
        /// Its context was done on arrival; the handler was not called.
        Refused { cause: Cause },
    }
}

impl<F: Future> ServerFuture<F> {
    pub(crate) fn plain(future: F) -> Self {
        Self {
            served: None,
            stage: Stage::Plain { future },
        }
    }

    pub(crate) fn refused(exchange: Exchange, cause: Cause, answers: Answers) -> Self {
        Self {
            served: Some((exchange, answers)),
            stage: Stage::Refused { cause },
        }
    }

    pub(crate) fn served(exchange: Exchange, handler: F, answers: Answers) -> Self {
        let ctx = exchange.ctx();
        // In a recording the handler is a task: what it waits for is told of it.
        let run = as_task(ctx, "handler", ctx.run(ctx.enter(handler)));
        Self {
            served: Some((exchange, answers)),
            stage: Stage::Served { run },
        }
    }
}

impl<F, B, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body,
    E: fmt::Display,
{
    type Output = Result<Response<ServerResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = match this.stage.project() {
            StageProj::Plain { future } => {
                let response = ready!(future.poll(cx))?;
                return Poll::Ready(Ok(response.map(ServerResponseBody::plain)));
            }
            StageProj::Served { run } => {
                let _unwinding = this
                    .served
                    .as_ref()
                    .map(|(exchange, _)| Unwinding(exchange));
                ready!(run.poll(cx)).map_err(Cancelled::into_cause)
            }
            StageProj::Refused { cause } => Err(cause.clone()),
        };
        let Some((exchange, answers)) = this.served.take() else {
            panic!("`ServerFuture` was polled again after it had returned its result");
        };
        Poll::Ready(match output {
            Ok(Ok(response)) => Ok(answered(exchange, response, answers)),
            Ok(Err(error)) => {
                failed(exchange, &error);
                Err(error)
            }
            Err(cause) => Ok(cut(exchange, &cause, &answers)),
        })
    }
}

/// Ends the context by its right name when a handler's panic unwinds past: what drops the future
/// later, such as tokio's task, does so outside of the panic.
pub(crate) struct Unwinding<'a>(pub(crate) &'a Exchange);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(canceller) = self.0.canceller()
        {
            canceller.cancel(Kind::Panicked);
        }
    }
}

/// The handler's own answer: its body is watched to the end, unless it is over with the head.
fn answered<B: http_body::Body>(
    mut exchange: Exchange,
    response: Response<B>,
    answers: Answers,
) -> Response<ServerResponseBody<B>> {
    exchange.answered(response.status().as_u16());
    let (mut head, body) = response.into_parts();
    answers.echo(&mut head.headers, exchange.ctx());
    answers.complete(&mut head.headers, &mut exchange);
    let body = if body.is_end_stream() {
        exchange.complete();
        ServerResponseBody::plain(body)
    } else {
        ServerResponseBody::served(body, exchange, answers)
    };
    Response::from_parts(head, body)
}

fn failed(mut exchange: Exchange, error: &dyn fmt::Display) {
    exchange.failed(error);
    exchange.complete();
}

/// The context ended first; the handler is dropped already.
fn cut<B>(
    mut exchange: Exchange,
    cause: &Cause,
    answers: &Answers,
) -> Response<ServerResponseBody<B>> {
    let (code, headers) = answers.of(cause);
    let response = answers.head(headers, exchange.ctx(), ServerResponseBody::over());
    exchange.cancelled(cause);
    exchange.answered(response.status().as_u16());
    exchange.grpc_status(code);
    exchange.complete();
    response
}

impl<F> fmt::Debug for ServerFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerFuture")
            .field("ctx", &self.served.as_ref().map(|served| served.0.ctx()))
            .finish_non_exhaustive()
    }
}
