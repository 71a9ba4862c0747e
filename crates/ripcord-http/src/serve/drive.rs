//! One connection from its acceptance to its end.
//!
//! # Stages
//! The stage is that of the connection's context, which is below the server's. The task is woken when
//! the next one begins (`roster.rs`); the connection itself may end in each of them.
//!
//! | stage | begins with | requests | ends with |
//! |---|---|---|---|
//! | begin | the acceptance | none yet | 24 bytes, or the header time-out: `Silent` |
//! | serve | the protocol is known | taken | the drain, or the hang-up |
//! | drain | `draining()` | those that are going on | the last of them: `Closed`; or the cancel |
//! | cancel | `done()` | answer 503, bodies are cut off | their answers are out: `Closed` |
//! | cut | the grace is over, or the force | | at once: `Forced` |
//!
//! A hang-up cancels the context of the connection with `PeerGone`. From there on nothing is worth
//! an answer, so that every stage looks for it first: `HungUp`. Returning drops the connection with
//! all of its requests, and each of them ends its own context and account.

use crate::BoxError;
use crate::connection::Connection;
use crate::serve::io::Io;
use crate::serve::options::{HangUp, Options};
use crate::serve::tally::Over;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use ripcord_core::{Ctx, Kind, Phase};
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;
use tower_service::Service;

/// The protocol settings of all connections of a server.
///
/// Each is a bound on what a client may cost before a handler is asked: time for the head, bytes for
/// the head, streams at a time.
pub(crate) fn protocol(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let header_bytes = usize::try_from(options.header_bytes_max).unwrap_or(usize::MAX);
    // Without a timer hyper does not enforce its time limits.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout)
        .half_close(options.hang_up == Some(HangUp::Reset))
        .max_buf_size(header_bytes.max(HTTP1_BUFFER_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(options.header_bytes_max);
    if let Some(keep_alive) = options.keep_alive {
        // HTTP/2's own pings cross proxies, where TCP's keep-alive ends.
        let patience = keep_alive.interval.saturating_mul(keep_alive.count);
        builder
            .http2()
            .keep_alive_interval(keep_alive.idle)
            .keep_alive_timeout(patience);
    }
    builder
}

/// hyper panics below this.
const HTTP1_BUFFER_MIN: usize = 8_192;

/// Puts the connection into the extensions of each request, where the layer looks for it.
#[derive(Clone)]
struct Tagged<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S> Service<Request<Incoming>> for Tagged<S>
where
    S: Service<Request<Incoming>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        request.extensions_mut().insert(connection);
        self.inner.call(request)
    }
}

/// A connection in the tally and in the roster, for its task: its destructor counts the end, also that
/// of a task that panics.
pub(crate) struct Live {
    connection: Arc<Connection>,
    over: Over,
}

impl Live {
    pub(crate) fn begin(connection: Arc<Connection>) -> Self {
        connection.shared().tally.begin();
        Self {
            connection,
            over: Over::Failed,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.connection.stand_up();
        self.connection.shared().tally.end(self.over);
    }
}

/// Serves one connection until it ends, the client hangs up, or a shutdown is over.
///
/// The stages of a shutdown are those of the connection's context: while it drains no new request
/// is taken; when it is cancelled, requests answer that; when `last` is done, it is cut off.
///
/// # Cancel safety
/// Dropped, it closes the connection with what was going on.
pub(crate) fn drive<S, B>(
    io: Io,
    live: Live,
    service: S,
) -> Drive<impl GracefulConnection<Error = BoxError> + use<S, B>>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let connection = &live.connection;
    let service = TowerToHyperService::new(Tagged {
        inner: service,
        connection: Arc::clone(connection),
    });
    let shared = connection.shared();
    let serving = shared
        .protocol
        .serve_connection_with_upgrades(TokioIo::new(io), service);
    Drive {
        serving: serving.into_owned(),
        begin: Some(Box::pin(tokio::time::sleep(shared.begin_max))),
        is_draining: false,
        live,
    }
}

pin_project_lite::pin_project! {
    /// The task of a connection.
    ///
    /// Written out, since an `async fn` keeps room for its arguments beside what was made of them, and
    /// that is several hundred bytes of each idle connection.
    ///
    /// *Invariant*: `live` comes last, so that the connection is counted as long as it holds anything.
    pub(crate) struct Drive<C> {
        #[pin]
        serving: C,
        // Boxed: it is needed once in the life of a connection, and its memory would stay with the task.
        begin: Option<Pin<Box<Sleep>>>,
        is_draining: bool,
        live: Live,
    }
}

impl<C: GracefulConnection<Error = BoxError>> Future for Drive<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let over = ready!(turn(
            this.serving,
            this.begin,
            this.is_draining,
            &this.live.connection,
            cx
        ));
        this.live.over = over;
        Poll::Ready(())
    }
}

/// Goes on until there is nothing to do.
fn turn<C: GracefulConnection<Error = BoxError>>(
    mut serving: Pin<&mut C>,
    begin: &mut Option<Pin<Box<Sleep>>>,
    is_draining: &mut bool,
    connection: &Connection,
    cx: &mut Context<'_>,
) -> Poll<Over> {
    let ctx = connection.ctx();
    loop {
        if let Poll::Ready(served) = serving.as_mut().poll(cx) {
            return Poll::Ready(over(&served, ctx));
        }
        if connection.has_begun() {
            // The protocol is known, and its own limits hold from here on.
            *begin = None;
        } else if let Some(begin) = begin
            && begin.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Over::Silent);
        }
        connection.register(cx.waker());
        // Read after the waker was left: what comes later wakes.
        let phase = ctx.phase();
        if phase == Phase::Live {
            return Poll::Pending;
        }
        if is_gone(ctx) {
            return Poll::Ready(Over::HungUp);
        }
        if phase != Phase::Draining && connection.shared().last.is_done() {
            return Poll::Ready(Over::Forced);
        }
        if *is_draining {
            // Its requests go on; cancelled, the layer answers for the handlers, and the
            // answers need a moment to get out.
            return Poll::Pending;
        }
        *is_draining = true;
        // HTTP/1 closes after the request that is going on, HTTP/2 is told to go away.
        serving.as_mut().graceful_shutdown();
    }
}

fn over(served: &Result<(), BoxError>, ctx: &Ctx) -> Over {
    match served {
        Ok(()) => Over::Closed,
        Err(error) if is_unused(&**error) => Over::Closed,
        Err(error) if is_gone(ctx) || is_of_client(&**error) => Over::HungUp,
        Err(_) => Over::Failed,
    }
}

/// Told to end before its client had said a word: hyper-util's way to end a connection of which it
/// does not know the protocol yet.
fn is_unused(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|io| io.kind() == io::ErrorKind::Interrupted)
}

/// Whether an error says that the client is gone: hyper, where it reads, may see that before the
/// watcher's event is fetched, and without a watcher it alone does.
fn is_of_client(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let hyper = error.downcast_ref::<hyper::Error>();
        if hyper.is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            );
        }
        next = error.source();
    }
    false
}

/// The client is gone, and not: the server shuts down.
fn is_gone(ctx: &Ctx) -> bool {
    ctx.cause()
        .is_some_and(|cause| cause.kind() == Kind::PeerGone)
}
