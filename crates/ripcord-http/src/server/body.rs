//! Bodies under a context: [`RequestBody`] coming in, [`ServerBody`] going out.
//!
//! The two look at the context at different moments, because different sides can keep them busy.
//!
//! * *Coming in*, what is there is handed on first: it was paid for, and a reader that is done with
//!   it asks again. The context is only asked when there is nothing; so it wakes a reader that would
//!   wait for ever. A peer cannot keep a handler alive by sending: the future of the handler is
//!   under the context, too.
//! * *Going out*, the context is asked first. A producer that always has a frame ready would
//!   otherwise never come to the question, and nothing else ends it: the handler is over by then.
//!   Only a short body whose length is known is let out first, since it ends by itself.
//!
//! # When an exchange is complete
//! With the last byte, and the HTTP library does not tell of it. It stops asking in one of four ways,
//! and each has to be seen from here:
//!
//! | the body | it stops | the exchange is completed |
//! |---|---|---|
//! | says that it is at its end after a frame | at that frame | with that frame |
//! | has a known length, or the head says one | after so many bytes (HTTP/1) | with the byte that makes it full |
//! | has neither | when it is told that there is no more | with that `None` |
//! | fails | at the error | with the error |
//!
//! Whatever else happens, a client that leaves, a connection that is cut off, drops the body with its
//! exchange, which then ends the context with `PeerGone` (ripcord-propagation, `exchange.rs`).
//!
//! *Invariant*: the exchange is there as long as the answer is not complete; `is_end_stream` is false
//! meanwhile, lest the library drops a body that still has to be accounted for.

use crate::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ripcord_core::{Cancelled, Canceller, Cause, Ctx, Done, Kind};
use ripcord_propagation::Exchange;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// The body of a request, which ends with an error when the context of the request is done.
    ///
    /// Who reads a body that never ends is woken so. A transport that fails under it ends the
    /// context with [`Kind::PeerGone`]: the reader sees the error, and everything else that works
    /// for the request hears of it, too.
    ///
    /// Handlers of axum do not see this type: their extractors and `axum::body::Body` wrap it. A
    /// reader learns why its body ended from the error, which is the body's own or a [`Cancelled`].
    ///
    /// # Examples
    /// ```
    /// use axum::{Router, body::Body, routing::post};
    /// use http::{Request, StatusCode};
    /// use http_body_util::{BodyExt as _, channel::Channel};
    /// use ripcord_core::Cancelled;
    /// use ripcord_http::HttpLayer;
    /// use ripcord_propagation::Propagation;
    /// use std::error::Error;
    /// use tower::ServiceExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn Error>> {
    /// let upload = async |body: Body| {
    ///     let Err(error) = body.collect().await else { return StatusCode::CREATED };
    ///     let inner = error.source().and_then(|error| error.downcast_ref::<Cancelled>());
    ///     if inner.is_some() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_REQUEST }
    /// };
    /// let (server, _guard) = ripcord_tokio::root().build();
    /// let app = Router::new()
    ///     .route("/", post(upload))
    ///     .layer(HttpLayer::new(&server, Propagation::default()));
    /// let (_client, stalled) = Channel::<bytes::Bytes>::new(1);
    /// let request = Request::post("/").header("grpc-timeout", "10m").body(Body::new(stalled))?;
    /// assert_eq!(app.oneshot(request).await?.status(), 504);
    /// # Ok(()) }
    /// ```
    ///
    /// # Limitations
    /// The context is asked only when no bytes are there: a peer that sends without a pause is read to
    /// the end by a handler that does not look by itself. With [`OnDisconnect::Drop`](crate::OnDisconnect)
    /// the handler is dropped all the same.
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
        ctx: Ctx,
        canceller: Option<Canceller>,
        #[pin]
        done: Option<Done>,
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(inner: B, ctx: Ctx, canceller: Option<Canceller>) -> Self {
        Self {
            inner,
            ctx,
            canceller,
            done: None,
        }
    }

    /// The body without its context, for a layer that needs the library's own type.
    ///
    /// A reader of it is not woken by the end of the request any more, nor does its failure end the
    /// context.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        match this.inner.poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                // Once: what the context ended by stands, and a broken transport fails again and again.
                if let Some(canceller) = this.canceller.take().filter(|_| is_gone(&*error)) {
                    let cause = Cause::new(Kind::PeerGone)
                        .with_message("the client left in the middle of its request");
                    canceller.cancel(cause);
                }
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                if this.done.is_none() {
                    this.done.set(Some(this.ctx.done()));
                }
                match this.done.as_mut().as_pin_mut().map(|done| done.poll(cx)) {
                    Some(Poll::Ready(cause)) => {
                        Poll::Ready(Some(Err(Cancelled::new(cause).into())))
                    }
                    _ => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether an error of a body means that the connection is gone.
///
/// The HTTP library says so with an I/O error at the bottom of the chain. Everything else, as a chunk
/// that is malformed or a body over a limit, is the handler's to answer: there is somebody who can
/// read it. Only the first I/O error counts; what is below it is how the system came to it.
fn is_gone(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
            );
        }
        next = error.source();
    }
    false
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// The body of an answer, under the deadline of its request.
    ///
    /// When the context of the request is done before the last byte, the body ends with an error,
    /// and the HTTP library cuts the answer off: the client can tell it from a complete one. When
    /// the last byte was handed over, the request is over, and its context with it.
    ///
    /// The producer is dropped before the error is returned: what holds a cursor or a permit has let
    /// go of it when the client learns of the end.
    ///
    /// # Examples
    /// Who produces a stream learns of the deadline, though its client goes on reading:
    ///
    /// ```
    /// use axum::{Router, body::Body, routing::get};
    /// use http::Request;
    /// use http_body_util::{BodyExt as _, channel::Channel};
    /// use ripcord_http::HttpLayer;
    /// use ripcord_propagation::Propagation;
    /// use tower::ServiceExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (started, mut feeds) = tokio::sync::mpsc::channel(1);
    /// let feed = async move || {
    ///     let (rows, body) = Channel::<bytes::Bytes>::new(1);
    ///     let _ = started.send(rows).await; // A producer somewhere else has it now.
    ///     Body::new(body)
    /// };
    /// let (server, _guard) = ripcord_tokio::root().build();
    /// let app = Router::new()
    ///     .route("/feed", get(feed))
    ///     .layer(HttpLayer::new(&server, Propagation::default()));
    /// let request = Request::get("/feed").header("x-request-timeout-ms", "20").body(Body::empty())?;
    /// let mut body = app.oneshot(request).await?.into_body();
    /// let mut rows = feeds.recv().await.expect("the handler ran");
    /// rows.send_data("first\n".into()).await?;
    /// assert!(body.frame().await.expect("a frame").is_ok());
    /// assert!(body.frame().await.expect("the end").is_err(), "cut off at the deadline");
    /// assert!(rows.send_data("second\n".into()).await.is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Costs
    /// A look at the context for each frame, and a waiter while there is none.
    ///
    /// # Limitations
    /// What the HTTP library and the system have taken is on its way: "handed over" is not "arrived".
    /// A short answer (64 KiB at most) whose bytes are at hand is sent also after the end. The deadline
    /// bounds the whole answer; a feed that is meant to go on for hours needs a policy without a
    /// maximum of minutes.
    pub struct ServerBody<R> {
        #[pin]
        inner: Option<R>,
        // What is answered in place of a handler.
        text: Option<Bytes>,
        exchange: Option<Exchange>,
        // Bytes that are still to come, where that is known: the HTTP library stops asking at the
        // last one.
        left: Option<u64>,
        // So little that what is ready of it is sent whatever the context says.
        is_short: bool,
        #[pin]
        done: Option<Done>,
    }
}

impl<R: Body> ServerBody<R> {
    /// `length`: what the head of the answer says, for a body that does not know it by itself.
    pub(crate) fn watched(inner: R, exchange: Exchange, length: Option<u64>) -> Self {
        let exact = inner.size_hint().exact();
        Self {
            left: exact.or(length),
            is_short: exact.is_some_and(|bytes| bytes <= SHORT_BYTES_MAX),
            inner: Some(inner),
            text: None,
            exchange: Some(exchange),
            done: None,
        }
    }

    pub(crate) fn unwatched(inner: R) -> Self {
        Self {
            left: None,
            is_short: false,
            inner: Some(inner),
            text: None,
            exchange: None,
            done: None,
        }
    }

    /// What is answered in place of a handler; nothing, if it is empty: then the call is complete.
    pub(crate) fn text(text: Bytes, exchange: Exchange) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        let exchange = if text.is_some() {
            Some(exchange)
        } else {
            exchange.complete();
            None
        };
        Self {
            inner: None,
            left: None,
            is_short: false,
            text,
            exchange,
            done: None,
        }
    }
}

impl<R> Body for ServerBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Some(text) = this.text.take() {
            if let Some(exchange) = this.exchange.take() {
                exchange.complete();
            }
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(exchange) = this.exchange.as_mut() else {
            return inner.poll_frame(cx).map_err(Into::into);
        };
        // A body that always has a frame ready would never meet its deadline. A short one soon ends,
        // and may be what a handler that saw the end first has to say of it.
        let mut cause = if *this.is_short {
            None
        } else {
            exchange.ctx().cause()
        };
        if cause.is_none() {
            match inner.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => {
                    let is_last = match &frame {
                        None => true,
                        Some(Err(_)) => false,
                        Some(Ok(frame)) => spend(this.left, frame) || inner.is_end_stream(),
                    };
                    let frame = frame.map(|frame| frame.map_err(Into::into));
                    if let Some(Err(error)) = &frame {
                        exchange.failed(error);
                    }
                    if is_last || matches!(frame, Some(Err(_))) {
                        this.done.set(None);
                        if let Some(exchange) = this.exchange.take() {
                            exchange.complete();
                        }
                    }
                    return Poll::Ready(frame);
                }
                Poll::Pending => {
                    if this.done.is_none() {
                        this.done.set(Some(exchange.ctx().done()));
                    }
                    match this.done.as_mut().as_pin_mut().map(|done| done.poll(cx)) {
                        Some(Poll::Ready(found)) => cause = Some(found),
                        _ => return Poll::Pending,
                    }
                }
            }
        }
        // The producer goes first: what it holds is free, and nothing of it runs, when the client
        // learns of the end.
        this.inner.set(None);
        this.done.set(None);
        let cause = cause.expect("either the check or the wait found it");
        if let Some(mut exchange) = this.exchange.take() {
            exchange.cancelled(&cause);
            exchange.complete();
        }
        Poll::Ready(Some(Err(Cancelled::new(cause).into())))
    }

    fn is_end_stream(&self) -> bool {
        match (&self.text, &self.inner) {
            (Some(_), _) => false,
            // While the exchange lives there is something to be accounted for.
            (None, Some(inner)) => self.exchange.is_none() && inner.is_end_stream(),
            (None, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.text, &self.inner) {
            (Some(text), _) => SizeHint::with_exact(text.len() as u64),
            (None, Some(inner)) => inner.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }
}

/// A body of at most so many bytes, all of which are at hand, is not cut off.
const SHORT_BYTES_MAX: u64 = 65_536;

/// Counts a frame; true if it was the last byte of a body whose length is known.
fn spend(left: &mut Option<u64>, frame: &Frame<Bytes>) -> bool {
    let (Some(left), Some(data)) = (left.as_mut(), frame.data_ref()) else {
        return false;
    };
    *left = left.saturating_sub(data.len() as u64);
    *left == 0
}

impl<R> fmt::Debug for ServerBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBody")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
