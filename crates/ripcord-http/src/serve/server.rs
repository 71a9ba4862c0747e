//! [`Server`]: accepts connections, and ends in stages.
//!
//! The server is one future that accepts; each connection is a task of its own. They meet in the
//! `Tally`, by which the server knows how many there are, and in contexts, by which connections are
//! told to end. Nobody keeps a list of connections: a context's subtree is one.
//!
//! *Invariants*: (1) a connection is live in the tally from its opening until its task has dropped
//! everything that it held, however it ended. (2) The server returns when none is live, or at the
//! latest `LAST_POLL_MAX` after the last stage.

use crate::BoxError;
use crate::connection::Connection;
use crate::serve::drive::{Live, drive, protocol};
use crate::serve::hangup::Watcher;
use crate::serve::io::Io;
use crate::serve::options::{HangUp, KeepAlive, Options, TIMEOUT_MAX};
use crate::serve::roster::Roster;
use crate::serve::shared::Shared;
use crate::serve::tally::{Report, Tally};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use ripcord_core::Ctx;
use ripcord_core::tasks::labelled;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_service::Service;

/// An HTTP/1 and HTTP/2 server whose handlers learn what happens to their client and to it.
///
/// What it adds to hyper's: it sees a client leave behind an unread upload, a pipelined request or
/// a WebSocket; it bounds the time until a client has said what it wants, and the number of
/// connections; it ends in the stages of its context.
///
/// # Examples
/// A `main` that stops as an operator expects: at `SIGTERM` it takes no new work, after 10 s it tells
/// handlers to stop, 5 s later it cuts off what is left. A second signal cuts off at once.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use ripcord_core::ShutdownPlan;
/// use ripcord_http::{HttpLayer, RequestCtx, Server};
/// use ripcord_propagation::Propagation;
/// use ripcord_tokio::Signals;
/// use std::time::Duration;
///
/// async fn hello(RequestCtx(ctx): RequestCtx) -> String {
///     format!("{:?} left", ctx.remaining())
/// }
///
/// #[tokio::main]
/// async fn main() -> std::io::Result<()> {
///     let (ctx, guard) = ripcord_tokio::root().name("shop").build();
///     let plan = ShutdownPlan::new(Duration::from_secs(10), Duration::from_secs(5));
///     let _watch = Signals::new(plan).watch(guard.handle())?;
///
///     let layer = HttpLayer::new(&ctx, Propagation::default());
///     let app = Router::new().route("/", get(hello)).layer(layer);
///     let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
///     let report = Server::new(&ctx).serve(listener, app).await?;
///     eprintln!("{report}"); // "1204 connections, 1201 closed, 3 hung up"
///     Ok(())
/// }
/// ```
///
/// # Stages of the end
/// Each is a phase of the context; `guard.shutdown(plan)` goes through all of them.
///
/// | | drain | cancel | force, or the grace is over |
/// |---|---|---|---|
/// | `guard.…` | `drain()` | `cancel(cause)` | `force(cause)` |
/// | new connections | refused: the listener is closed | | |
/// | idle connections | closed | | |
/// | a busy one of HTTP/1 | closed after its answer | after its 503 | at once |
/// | one of HTTP/2 | told to go away, streams go on | after its streams | at once |
/// | handlers see | `ctx.draining()`, `Phase::Draining` | `ctx.done()` with the cause | shields are pierced (force only) |
/// | who waits gets | the answer | 503 with `retry-after`, if none has begun | nothing more |
/// | a stream of an answer | goes on | is cut off with an error | is cut off |
///
/// A load balancer should stop sending before that: let the health check fail when
/// `ctx.phase()` is not `Live` any more, and give the drain as long as the balancer needs to notice.
///
/// # Several servers
/// Under one root they end together; under children of it one can end alone. Here metrics outlive the
/// public side, so that its end can be watched:
///
/// ```
/// use axum::{Router, routing::get};
/// use ripcord_core::Kind;
/// use ripcord_http::Server;
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (root, _all) = ripcord_tokio::root().name("process").build();
/// let (public, stop) = root.named("public").child();
/// let (admin, stop_admin) = root.named("admin").child();
/// let shop = Router::new().route("/", get(async || "welcome"));
/// let metrics = Router::new().route("/metrics", get(async || "up 1"));
/// let shop = Server::new(&public).serve(TcpListener::bind("127.0.0.1:0").await?, shop);
/// let metrics = Server::new(&admin).serve(TcpListener::bind("127.0.0.1:0").await?, metrics);
/// let (shop, metrics) = (tokio::spawn(shop), tokio::spawn(metrics));
///
/// stop.cancel(Kind::Shutdown);
/// println!("public: {}", shop.await??);
/// stop_admin.cancel(Kind::Shutdown);
/// println!("admin: {}", metrics.await??);
/// # Ok(()) }
/// ```
///
/// # Behind a proxy
/// "The client" is the proxy. Whether work stops when the real client leaves is up to it: Envoy resets
/// its request, nginx closes its connection unless `proxy_ignore_client_abort` is on, others have a
/// setting for it. Raise [`header_read_timeout`](Self::header_read_timeout) above the time for which
/// the proxy keeps idle connections, or it will now and then send a request into one that is being
/// closed. Deadlines of an Envoy are read with
/// [`Builder::read_timeout`](ripcord_propagation::Builder::read_timeout).
///
/// # Costs
/// A task for each connection, and its entry in the watcher's set. Memory for a connection is hyper's:
/// buffers that grow with the head, up to [`header_bytes_max`](Self::header_bytes_max).
///
/// # Limitations
/// * No TLS: put it behind a proxy that speaks it.
/// * The watcher is Linux's; elsewhere only hyper's own view remains. A FIN behind a full receive window
///   is seen when there is room again.
/// * Upgraded connections do not count towards [`connections_max`](Self::connections_max), and nothing
///   but their own context tells those who speak on them to end.
/// * An idle connection of HTTP/2 that answers pings is kept for as long as the client likes.
#[derive(Clone, Debug)]
pub struct Server {
    ctx: Ctx,
    options: Options,
}

impl Server {
    /// A server that lives as long as `ctx`, with the defaults below.
    ///
    /// They bound what strangers can cost, and suit a service behind a proxy. Most services change
    /// none but the [grace](Self::grace). A setting out of range is brought into it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_http::{KeepAlive, Server};
    /// use std::time::Duration;
    ///
    /// let (ctx, _guard) = ripcord_core::Ctx::background().child();
    /// let server = Server::new(&ctx)
    ///     .connections_max(2_000)                               // of 4,096 descriptors
    ///     .header_read_timeout(Duration::from_secs(75))         // the proxy keeps them for 60 s
    ///     .keep_alive(KeepAlive::new(Duration::from_secs(5), Duration::from_secs(1), 3))
    ///     .grace(Duration::from_secs(2));
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        Self {
            ctx: ctx.clone(),
            options: Options::default(),
        }
    }

    /// At most so many connections at a time, 16,384 by default; at least one.
    ///
    /// More wait in the kernel's queue until one ends; beyond its length, which the listener sets, the
    /// kernel drops them. Each takes a file descriptor: stay below `ulimit -n` by as
    /// much as the process needs for other things.
    #[must_use]
    pub fn connections_max(mut self, max: usize) -> Self {
        self.options.connections_max = max.max(1);
        self
    }

    /// A client has this long to send the head of a request, 30 s by default.
    ///
    /// It also bounds how long a connection of HTTP/1 is kept that nobody uses, and how long a new
    /// one may say nothing. It does not bound bodies: those are under the deadline of their request.
    /// Zero cuts everybody off; more than a year is a year.
    #[must_use]
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_read_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// At most so many requests at a time on one HTTP/2 connection, 200 by default; at least one.
    ///
    /// More wait at the client. Together with [`connections_max`](Self::connections_max) it bounds the
    /// handlers that run at a time; for a tighter bound put a `ConcurrencyLimit` below the
    /// [`HttpLayer`](crate::HttpLayer).
    #[must_use]
    pub fn streams_max(mut self, max: u32) -> Self {
        self.options.streams_max = max.max(1);
        self
    }

    /// At most so many bytes in the head of a request, 65,536 by default; at least 8,192.
    ///
    /// A larger one is refused by hyper, with 431 where the protocol allows it. Limits on single
    /// headers, as on baggage, are the propagation's.
    #[must_use]
    pub fn header_bytes_max(mut self, max: u32) -> Self {
        self.options.header_bytes_max = max.max(8_192);
        self
    }

    /// What counts as a client's leaving, [`HangUp::Close`] by default; `None`: only what hyper sees.
    ///
    /// `None` is for a system that is short of descriptors or where epoll is filtered. Then a client of
    /// HTTP/1 that leaves behind bytes that nobody reads, an upload or a pipelined request, is not
    /// noticed before its handler is done.
    #[must_use]
    pub fn hang_up(mut self, hang_up: impl Into<Option<HangUp>>) -> Self {
        self.options.hang_up = hang_up.into();
        self
    }

    /// When a silent peer counts as gone; `None` leaves it to the system, which waits for two hours
    /// or for ever.
    ///
    /// It bounds how long a handler works for a client whose network is gone, and how long its
    /// connection takes up a place. `None` where something nearer to the client sees to it.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.options.keep_alive = keep_alive.into().map(KeepAlive::clamped);
        self
    }

    /// How long connections may go on after a cancel, 5 s by default.
    ///
    /// It is for getting answers out, above all the 503s of the cancel itself: slow readers need some
    /// of it. Of this and the grace of a [`ShutdownPlan`](ripcord_core::ShutdownPlan) the shorter one
    /// counts, since a force cuts off, too. Zero cuts off with the cancel: nobody gets a 503.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Accepts connections from `listener` until the context drains, and serves them to their end.
    ///
    /// `service` is anything that answers requests, such as an `axum::Router`; a clone of it serves
    /// each connection. For contexts it needs an [`HttpLayer`](crate::HttpLayer); without one it is
    /// served as well, and the stages of the end are felt by connections alone.
    ///
    /// It returns when the last connection is over, the last socket that another protocol took over, and
    /// the last handler that goes on without its client: at the earliest after a drain, which by itself
    /// waits for as long as they take, and at the latest a second after the grace. What is not over by
    /// then is [`stuck`](Report::stuck) or [`left_behind`](Report::left_behind).
    ///
    /// # Errors
    /// When the hang-up watcher cannot be set up, as where no descriptor is left. Connections that fail
    /// are counted in the report, and end no other.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// Dropped, it accepts no more and closes the listener. Connections go on until they end or the
    /// context does, but without the watcher, whose task ends with this future; nobody waits for them
    /// or counts them. To end a server, end its context.
    pub async fn serve<S, B>(self, listener: TcpListener, service: S) -> io::Result<Report>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let roster = Arc::new(Roster::default());
        let hang_up = self.options.hang_up.filter(|_| cfg!(target_os = "linux"));
        let watcher = hang_up.map(|hang_up| Watcher::new(hang_up, &roster));
        let shared = Arc::new(Shared {
            protocol: protocol(&self.options),
            last: self.ctx.shield(self.options.grace),
            begin_max: self.options.header_read_timeout,
            watcher: watcher.transpose()?,
            roster,
            tally: Tally::default(),
        });
        let tally = &shared.tally;
        let wakers = Wakers::begin(&shared, &self.ctx);
        while let Some((stream, peer)) = self.accept(&listener, tally).await {
            // Also one that cannot be opened is counted: as failed.
            let Some((io, live)) = self.open(stream, peer, &shared) else {
                continue;
            };
            tokio::spawn(drive(io, live, service.clone()));
        }
        // From here on the system refuses whoever comes.
        drop(listener);
        tally.empty(&shared.last).await;
        wakers.end();
        Ok(tally.report())
    }

    /// The next connection; `None` when no more are taken.
    ///
    /// # Cancel safety
    /// A connection that was accepted is returned, or not accepted.
    async fn accept(
        &self,
        listener: &TcpListener,
        tally: &Tally,
    ) -> Option<(TcpStream, SocketAddr)> {
        let next = |cx: &mut Context<'_>| labelled("accept", || listener.poll_accept(cx));
        loop {
            tokio::select! {
                biased;
                () = self.ctx.draining() => return None,
                () = tally.below(self.options.connections_max) => {}
            }
            let error = tokio::select! {
                biased;
                () = self.ctx.draining() => return None,
                accepted = poll_fn(next) => match accepted {
                    Ok(accepted) => return Some(accepted),
                    Err(error) => error,
                },
            };
            // Relaxed: a statistic (counter).
            tally.accept_errors.fetch_add(1, Ordering::Relaxed);
            // A client that left in the queue concerns nobody; where descriptors or memory are
            // short, trying again at once would only heat the machine.
            if !is_of_client(&error) {
                let _ = ripcord_tokio::sleep(&self.ctx, PAUSE).await;
            }
        }
    }

    /// Makes the context of a connection and has its socket watched; `None` where that fails.
    ///
    /// The watch begins before the first byte is read: from then on there is no moment in which a
    /// client could leave unseen.
    fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shared: &Arc<Shared>,
    ) -> Option<(Io, Live)> {
        let (ctx, guard) = self.ctx.child();
        let local = stream.local_addr().ok();
        let key = shared.roster.enter(guard.handle())?;
        let connection = Arc::new(Connection::new(ctx, Arc::clone(shared), key, peer, local));
        // From here on destructors put everything right.
        let live = Live::begin(Arc::clone(&connection));
        let io = Io::new(stream, guard, connection);
        self.set(io.stream()).ok()?;
        io.watch().ok()?;
        Some((io, live))
    }

    fn set(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        if let Some(keep_alive) = &self.options.keep_alive {
            crate::serve::socket::keep_alive(stream, keep_alive)?;
        }
        Ok(())
    }
}

/// After an error of the system's, before the next try.
const PAUSE: Duration = Duration::from_millis(50);

fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The tasks that wake the connections of a server.
struct Wakers {
    hang_ups: Option<JoinHandle<io::Result<()>>>,
    stages: JoinHandle<()>,
}

impl Wakers {
    fn begin(shared: &Arc<Shared>, ctx: &Ctx) -> Self {
        let watcher = shared.watcher.clone();
        Self {
            hang_ups: watcher.map(|watcher| tokio::spawn(watcher.run())),
            stages: tokio::spawn(stages(
                Arc::clone(&shared.roster),
                ctx.clone(),
                shared.last.clone(),
            )),
        }
    }

    /// Every connection is over.
    fn end(&self) {
        self.stages.abort();
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        if let Some(hang_ups) = &self.hang_ups {
            hang_ups.abort();
        }
    }
}

/// Wakes all connections at each stage of the server's end.
///
/// It goes on when nobody waits for the server any more: its connections do, too.
///
/// # Cancel safety
/// Dropped, it wakes nobody.
async fn stages(roster: Arc<Roster>, ctx: Ctx, last: Ctx) {
    ctx.draining().await;
    roster.wake_all();
    ctx.done().await;
    roster.wake_all();
    last.done().await;
    roster.wake_all();
}
