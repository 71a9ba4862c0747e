//! From the request to the head of the answer: [`HttpFuture`].
//!
//! | what comes first | answer | exchange |
//! |---|---|---|
//! | the handler's answer | that, with the request id | goes on with the body |
//! | … to `HEAD`, or without a body | that | complete |
//! | … `101`, or 2xx to `CONNECT` | that; another protocol follows | as long as the connection |
//! | the handler's error | the error, for the layers above | complete, failed |
//! | the end of the context | `answer.rs` | goes on with the short body |
//! | the drop of this future | none: nobody is there | dropped, ends the context with `PeerGone` |
//!
//! The handler is polled before the context is asked, as by `Ctx::run`: a value that is ready is never
//! thrown away. It is dropped before its end is answered, so that what it held is free by then. The
//! steps of `run` and `enter` stand here, since a handler's future is large, each wrapping moves it,
//! and whether the context is done at the beginning was asked before the future was made.

use crate::BoxError;
use crate::server::answer::instead;
use crate::server::body::ServerBody;
use crate::server::disconnect::OnDisconnectFuture;
use crate::server::layer::Shared;
use bytes::Bytes;
use http::header::{self, Entry};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use ripcord_core::{Ctx, Done, Kind};
use ripcord_propagation::{CtxCarried as _, Exchange};
use ripcord_tokio::{CtxExt as _, ToldTask};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// The future of an [`HttpService`](crate::HttpService).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, as servers do when a client leaves, it drops the handler and ends
    /// the context of the request with `PeerGone`: tasks that the handler has spawned hear of it. What
    /// goes on is for [`OnDisconnect`](crate::OnDisconnect) to say. Nothing is lost of the account.
    ///
    /// # Panics
    /// If it is polled again after it was ready, and with the handler if that panics.
    pub struct HttpFuture<F, R>
    where
        F: Future,
    {
        #[pin]
        handler: Option<OnDisconnectFuture<F, F::Output>>,
        // Made when the handler is first pending.
        #[pin]
        done: Option<Done>,
        rest: Option<Rest>,
        // The handler is a task in a recording: what it waits for is told of it, and not of its connection.
        told: ToldTask,
        // What the handler answers with.
        body: std::marker::PhantomData<fn() -> R>,
    }

    impl<F, R> PinnedDrop for HttpFuture<F, R>
    where
        F: Future,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.told.end(|| this.handler.set(None));
        }
    }
}

/// What is needed when the head is there.
struct Rest {
    shared: Arc<Shared>,
    exchange: Exchange,
    connection: Option<Ctx>,
    is_head: bool,
    is_connect: bool,
}

impl<F: Future, R> HttpFuture<F, R> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        exchange: Exchange,
        handler: Option<OnDisconnectFuture<F, F::Output>>,
        connection: Option<Ctx>,
        is_head: bool,
        is_connect: bool,
    ) -> Self {
        // Without a handler there is no work: its context was done on arrival.
        let ctx = handler.as_ref().map(|_| exchange.ctx().clone());
        let bytes = size_of::<OnDisconnectFuture<F, F::Output>>();
        Self {
            told: ToldTask::new(&ctx.unwrap_or_default(), "handler", bytes),
            handler,
            done: None,
            rest: Some(Rest {
                shared,
                exchange,
                connection,
                is_head,
                is_connect,
            }),
            body: std::marker::PhantomData,
        }
    }
}

impl<F, R, E> Future for HttpFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
    E: fmt::Display,
{
    type Output = Result<Response<ServerBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let rest = this.rest.as_ref();
        let rest = rest.expect("a future is not polled again after it was ready");
        let ctx = rest.exchange.ctx();
        let (handler, done) = (&mut this.handler, &mut this.done);
        let polled = this.told.poll(cx, |cx| {
            let Some(handler) = handler.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            if let Poll::Ready(answer) = ctx.enter_sync(|| handler.poll(cx)) {
                return Poll::Ready(Some(answer));
            }
            if done.is_none() {
                done.set(Some(ctx.done()));
            }
            match done.as_mut().as_pin_mut().map(|done| done.poll(cx)) {
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(_)) | None => Poll::Ready(None),
            }
        });
        let Poll::Ready(answered) = polled else {
            return Poll::Pending;
        };
        // Frees what the handler held before its answer is looked at.
        this.told.end(|| this.handler.set(None));
        this.done.set(None);
        let mut rest = this.rest.take().expect("it was there above");
        match answered {
            Some(Ok(response)) => Poll::Ready(Ok(rest.finish(response))),
            Some(Err(error)) => {
                rest.exchange.failed(&error);
                rest.exchange.complete();
                Poll::Ready(Err(error))
            }
            None => Poll::Ready(Ok(rest.give_up())),
        }
    }
}

impl Rest {
    /// The handler answered.
    fn finish<R>(mut self, mut response: Response<R>) -> Response<ServerBody<R>>
    where
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        self.echo(&mut response);
        let status = response.status();
        self.exchange.answered(status.as_u16());
        let is_upgrade =
            status == StatusCode::SWITCHING_PROTOCOLS || (self.is_connect && status.is_success());
        if is_upgrade {
            self.upgrade();
            return response.map(ServerBody::unwatched);
        }
        // The answer to HEAD says how long a body would be, and has none.
        if self.is_head || response.body().is_end_stream() {
            self.exchange.complete();
            return response.map(ServerBody::unwatched);
        }
        let exchange = self.exchange;
        let length = length(response.headers());
        response.map(|body| ServerBody::watched(body, exchange, length))
    }

    /// The context ended first.
    fn give_up<R>(mut self) -> Response<ServerBody<R>>
    where
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let ctx = self.exchange.ctx().clone();
        let cause = ctx.cause().expect("the run ended because the context did");
        self.exchange.cancelled(&cause);
        let mut response = instead(&ctx, &cause);
        self.echo(&mut response);
        if cause.kind() != Kind::PeerGone {
            self.exchange.answered(response.status().as_u16());
        }
        let is_head = self.is_head;
        let exchange = self.exchange;
        response.map(|text| {
            let text = if is_head { Bytes::new() } else { text };
            ServerBody::text(text, exchange)
        })
    }

    /// The connection speaks another protocol from now on. The context of the request lives as long
    /// as the connection, or, where that is not known, as whoever speaks the protocol holds it.
    ///
    /// A tunnel of HTTP/2 is one stream of its connection, and its own end is not seen from here: its
    /// account ends with the connection, which may be late.
    fn upgrade(self) {
        let Some(connection) = self.connection else {
            self.exchange.release();
            return;
        };
        let exchange = self.exchange;
        drop(
            connection.spawn("upgraded connection", |connection| async move {
                connection.done().await;
                drop(exchange);
            }),
        );
    }

    /// The request id, for whoever reports a problem; one that the handler has set stands.
    fn echo<R>(&self, response: &mut Response<R>) {
        let id = self.exchange.ctx().request_id();
        if let (Some(name), Some(id)) = (&self.shared.request_id, id)
            && let Entry::Vacant(place) = response.headers_mut().entry(name)
            && let Ok(id) = HeaderValue::from_str(id)
        {
            place.insert(id);
        }
    }
}

/// The length that the handler put into the head: the HTTP library sends so many bytes and does not
/// ask whether there are more.
fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl<F: Future, R> fmt::Debug for HttpFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture")
            .field("exchange", &self.rest.as_ref().map(|rest| &rest.exchange))
            .finish_non_exhaustive()
    }
}
