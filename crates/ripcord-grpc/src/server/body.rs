//! [`ServerResponseBody`]: the body of an answer, which ends with the context of its call.
//!
//! # Invariants
//! 1. The context is asked before the stream: one that is always ready ends, too.
//! 2. The stream is dropped before the trailers that cut it are handed on.
//! 3. The exchange is dropped before the stream, see `future.rs`.

use crate::server::answer::Answers;
use crate::server::future::Unwinding;
use crate::watch::Watch;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use ripcord_core::Cause;
use ripcord_propagation::Exchange;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// The body of an answer; made by [`GrpcServer`](crate::GrpcServer).
    ///
    /// When the context of the call is done, it drops the handler's stream and ends with trailers
    /// that say why. Each poll of the stream has the context as the current one.
    ///
    /// # Costs
    /// For each frame a look at the context, and a reading of the clock if it has a deadline.
    ///
    /// # Limitations
    /// It can only act when it is polled. hyper does not poll it while the client's flow control
    /// window is full: a client that has stopped to read gets its status when it reads on.
    ///
    /// # Cancel safety
    /// Dropped before its end, it ends the context with
    /// [`Kind::PeerGone`](ripcord_core::Kind::PeerGone): the client has gone.
    #[must_use = "bodies do nothing unless polled"]
    pub struct ServerResponseBody<B> {
        served: Option<Served>,
        #[pin]
        inner: Option<B>,
    }
}

struct Served {
    exchange: Exchange,
    watch: Watch,
    answers: Answers,
}

impl<B> ServerResponseBody<B> {
    /// A body that is none of our business, or is over.
    pub(crate) fn plain(inner: B) -> Self {
        Self {
            served: None,
            inner: Some(inner),
        }
    }

    pub(crate) fn over() -> Self {
        Self {
            served: None,
            inner: None,
        }
    }

    pub(crate) fn served(inner: B, exchange: Exchange, answers: Answers) -> Self {
        let watch = Watch::new(exchange.ctx());
        Self {
            served: Some(Served {
                exchange,
                watch,
                answers,
            }),
            inner: Some(inner),
        }
    }
}

/// What a stream of frames yields.
type Item<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

impl Served {
    /// Polls the stream under the context; with the cause, if that is done.
    fn poll<B: Body>(
        &mut self,
        inner: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Item<B>, Cause>> {
        let exchange = &self.exchange;
        self.watch.poll(cx, |cx| {
            let _unwinding = Unwinding(exchange);
            exchange.ctx().enter_sync(|| inner.poll_frame(cx))
        })
    }

    /// Ends the exchange because its context is done; the trailers that say so.
    fn cut(mut self, cause: &Cause) -> HeaderMap {
        let (code, trailers) = self.answers.of(cause);
        self.exchange.cancelled(cause);
        self.exchange.grpc_status(code);
        self.exchange.complete();
        trailers
    }
}

/// Looks at what the handler's stream yields; ends the exchange with the last of it.
fn seen<D, E: fmt::Display>(
    place: &mut Option<Served>,
    frame: &mut Option<Result<Frame<D>, E>>,
    is_end_stream: bool,
) {
    let Some(served) = place else { return };
    let is_last = match frame {
        Some(Ok(frame)) => match frame.trailers_mut() {
            Some(trailers) => {
                served.answers.complete(trailers, &mut served.exchange);
                true
            }
            None => is_end_stream,
        },
        Some(Err(error)) => {
            served.exchange.failed(error);
            true
        }
        None => true,
    };
    if is_last && let Some(served) = place.take() {
        served.exchange.complete();
    }
}

impl<B> Body for ServerResponseBody<B>
where
    B: Body,
    B::Error: fmt::Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(served) = this.served.as_mut() else {
            return inner.poll_frame(cx);
        };
        match ready!(served.poll(inner, cx)) {
            Ok(mut frame) => {
                let inner = this.inner.as_ref().get_ref();
                let is_end_stream = inner.as_ref().is_none_or(B::is_end_stream);
                seen(this.served, &mut frame, is_end_stream);
                Poll::Ready(frame)
            }
            Err(cause) => {
                this.inner.set(None);
                let trailers = this.served.take().map(|served| served.cut(&cause));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    /// Not told of a stream that may be cut: HTTP makes a promised length of it.
    fn size_hint(&self) -> SizeHint {
        match (&self.inner, &self.served) {
            (None, _) => SizeHint::with_exact(0),
            (Some(inner), None) => inner.size_hint(),
            (Some(_), Some(_)) => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for ServerResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ctx = self.served.as_ref().map(|served| served.exchange.ctx());
        f.debug_struct("ServerResponseBody")
            .field("ctx", &ctx)
            .field("is_over", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}
