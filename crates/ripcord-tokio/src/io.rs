//! Async I/O that ends with a context: [`WithCtx`], made by [`IoExt::with_ctx`].
//!
//! # Invariants
//! 1. The inner object is polled before the context is looked at, so no byte that it
//!    handed over is dropped.
//! 2. `Gate::over` is set once. From then on reads, writes and flushes fail without
//!    touching the inner object.
//! 3. Each direction has its own waiter: two tasks may poll the two directions (see
//!    `tokio::io::split`), and one of them must not replace the other's waker.
//!
//! # Costs
//! Two words of waiter for each direction. A call that need not wait asks once whether
//! the context is done (`Ctx::is_done`); one that waits registers once, and stays
//! registered until the adapter is dropped.

use ripcord_core::tasks::labelled;
use ripcord_core::{Cancelled, Ctx, Done, Grace};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// How long a shutdown may wait after the end of the context, unless another time is set.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How many bytes that are ready an adapter still passes on after the end of its
/// context: 8 MiB.
///
/// More than a socket holds at the time of a cancel (Linux, `tcp_rmem` and `tcp_wmem`:
/// up to 6 and 4 MiB by default), so what comes after these came after the cancel.
/// Without a limit, a peer that never pauses would keep a cancelled loop running.
pub const READY_MAX: usize = 8 << 20;

/// Adds [`with_ctx`](IoExt::with_ctx) to readers and writers.
pub trait IoExt: Sized {
    /// Ends reads and writes of this object when `ctx` is done.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Ctx, Kind};
    /// use ripcord_tokio::IoExt as _;
    /// use tokio::io::AsyncReadExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let (ctx, guard) = Ctx::background().child();
    /// let (_silent_peer, socket) = tokio::io::duplex(64);
    /// let mut socket = socket.with_ctx(&ctx);
    ///
    /// guard.cancel(Kind::PeerGone);
    /// let error = socket.read_u8().await.unwrap_err();
    /// let cancelled = error.get_ref().and_then(|e| e.downcast_ref::<Cancelled>());
    /// assert_eq!(cancelled.map(Cancelled::kind), Some(Kind::PeerGone));
    /// # Ok(()) }
    /// ```
    fn with_ctx(self, ctx: &Ctx) -> WithCtx<Self> {
        WithCtx::new(self, ctx)
    }
}

impl<T> IoExt for T {}

pin_project_lite::pin_project! {
    /// A reader or writer that ends with a context; made by [`IoExt::with_ctx`].
    ///
    /// Every call goes to the inner object first. What is ready is returned, also after
    /// the end of the context; the first call that would have to wait then fails, and
    /// so does every later one. No byte that was read is lost: what was not handed out
    /// is still in the object that [`into_inner`](Self::into_inner) gives back.
    ///
    /// `poll_shutdown` goes on working after the end, for a [grace](Self::shutdown_grace).
    ///
    /// # Errors
    /// The [`Cancelled`] of the context as [`io::Error`]: `TimedOut` for a deadline,
    /// `Other` otherwise, never `Interrupted`. [`IdleTimeout`] as `TimedOut`, if an
    /// [idle time-out](Self::idle_timeout) is set.
    ///
    /// # Cancel safety
    /// That of the call: `read` and `write` lose nothing when they are dropped;
    /// `read_exact`, `read_line`, `write_all` and `copy` do not say how far they came.
    ///
    /// # Limits
    /// "Ready" is what the runtime's I/O driver knows after one more turn. After the
    /// end no more than [`READY_MAX`] bytes are passed on. A protocol *around* the
    /// adapter cannot write its farewell after the end (a TLS `close_notify` is an
    /// ordinary write): put the adapter around the protocol. A read of a file that is
    /// under way on tokio's blocking pool runs on after the cancel; its bytes stay with
    /// the inner object.
    #[must_use = "an adapter does nothing unless it is read or written"]
    pub struct WithCtx<T> {
        #[pin]
        inner: T,
        gate: Gate,
    }
}

impl<T> WithCtx<T> {
    fn new(inner: T, ctx: &Ctx) -> Self {
        Self {
            inner,
            gate: Gate::new(ctx.clone()),
        }
    }

    /// Also fails a call that waits for `limit` while nothing moves in either direction.
    ///
    /// The time counts from the last byte that was read or written, or from the first
    /// call since then that had to wait, whichever is later: work between two calls is
    /// not idle. It is independent of the context's deadline, which bounds the whole.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tokio::{IdleTimeout, IoExt as _};
    /// use std::time::Duration;
    /// use tokio::io::AsyncReadExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (_silent_peer, socket) = tokio::io::duplex(64);
    /// let limit = Duration::from_millis(1);
    /// let mut socket = socket.with_ctx(&Ctx::background()).idle_timeout(limit);
    /// let error = socket.read_u8().await.unwrap_err();
    /// let idle = error.get_ref().and_then(|e| e.downcast_ref::<IdleTimeout>());
    /// assert_eq!(idle.map(IdleTimeout::limit), Some(limit));
    /// # }
    /// ```
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        let progress = self.gate.ctx.clock_now();
        self.gate.idle = Some(Idle { limit, progress });
        self
    }

    /// Sets for how long a shutdown may still wait after the end of the context.
    ///
    /// The default is [`SHUTDOWN_GRACE`]. The grace counts from the end of the context,
    /// or from the first poll of the shutdown if that is later; a forced context has
    /// none. A shutdown that need not wait always succeeds.
    pub fn shutdown_grace(mut self, grace: impl Into<Grace>) -> Self {
        self.gate.grace = grace.into();
        self
    }

    /// The context that ends the calls.
    pub fn ctx(&self) -> &Ctx {
        &self.gate.ctx
    }

    /// The inner object.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The inner object, for calls that should not end with the context.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The inner object, pinned.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut T> {
        self.project().inner
    }

    /// Gives the inner object back, with every byte that was not handed out.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tokio::IoExt as _;
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let (ctx, guard) = Ctx::background().child();
    /// let (mut peer, socket) = tokio::io::duplex(64);
    /// let mut socket = socket.with_ctx(&ctx);
    /// guard.cancel("stop");
    /// assert!(socket.read_u8().await.is_err());
    /// peer.write_u8(7).await?;
    /// // What comes too late for the adapter is still in the socket.
    /// assert_eq!(socket.into_inner().read_u8().await?, 7);
    /// # Ok(()) }
    /// ```
    pub fn into_inner(self) -> T {
        self.inner
    }
}

/// Asks the inner reader first (invariant 1). An end of file that is ready counts as ready.
impl<T: AsyncRead> AsyncRead for WithCtx<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        this.gate.check()?;
        let before = buf.filled().len();
        if let Poll::Ready(result) = this.inner.poll_read(cx, buf) {
            result?;
            this.gate
                .passed(Direction::Read, buf.filled().len() - before);
            return Poll::Ready(Ok(()));
        }
        this.gate.wait(Direction::Read, cx).map(Err)
    }
}

impl<T: AsyncBufRead> AsyncBufRead for WithCtx<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.project();
        this.gate.check()?;
        if let Poll::Ready(result) = this.inner.poll_fill_buf(cx) {
            let bytes = result?;
            // Counted when they are consumed.
            this.gate.passed(Direction::Read, 0);
            return Poll::Ready(Ok(bytes));
        }
        this.gate.wait(Direction::Read, cx).map(Err)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.project();
        this.gate.passed(Direction::Read, amount);
        this.inner.consume(amount);
    }
}

impl<T: AsyncWrite> AsyncWrite for WithCtx<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.gate.check()?;
        let written = this.inner.poll_write(cx, buf);
        this.gate.written(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.gate.check()?;
        let written = this.inner.poll_write_vectored(cx, bufs);
        this.gate.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.gate.check()?;
        let flushed = this.inner.poll_flush(cx).map_ok(|()| 0);
        this.gate.written(flushed, cx).map_ok(drop)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll_shutdown(cx) {
            return Poll::Ready(result);
        }
        this.gate.wait_shutdown(cx).map(Err)
    }
}

impl<T: fmt::Debug> fmt::Debug for WithCtx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithCtx")
            .field("inner", &self.inner)
            .field("ctx", &self.gate.ctx)
            .finish_non_exhaustive()
    }
}

/// The error of a call that waited for too long while nothing moved.
///
/// Found in the [`io::Error`] (`TimedOut`) of an adapter with an
/// [idle time-out](WithCtx::idle_timeout).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdleTimeout {
    limit: Duration,
}

impl IdleTimeout {
    /// The time without a byte that was allowed.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for IdleTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no byte moved for {:?}", self.limit)
    }
}

impl Error for IdleTimeout {}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Direction {
    /// What a task observer is told that a call waits for.
    fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Why the adapter takes no more calls.
enum Over {
    Cancelled(Cancelled),
    Idle(IdleTimeout),
}

impl Over {
    fn to_error(&self) -> io::Error {
        match self {
            Self::Cancelled(cancelled) => cancelled.clone().into(),
            Self::Idle(idle) => io::Error::new(io::ErrorKind::TimedOut, *idle),
        }
    }
}

struct Idle {
    limit: Duration,
    /// When a byte last moved, in either direction.
    progress: Instant,
}

/// One direction: its waiter, and since when it waits.
#[derive(Default)]
struct Side {
    wait: Option<Done>,
    since: Option<Instant>,
    /// Whether the I/O driver had its turn since the end of the context and the last byte.
    had_turn: bool,
}

/// What decides whether a call may pass or has to fail.
///
/// Apart from the pinned object, so that one projection serves the reads and the writes.
struct Gate {
    ctx: Ctx,
    read: Side,
    write: Side,
    over: Option<Over>,
    /// Bytes that were passed on after the end of the context.
    late: usize,
    idle: Option<Idle>,
    grace: Grace,
    shutdown: Option<Done>,
}

impl Gate {
    fn new(ctx: Ctx) -> Self {
        Self {
            ctx,
            read: Side::default(),
            write: Side::default(),
            over: None,
            late: 0,
            idle: None,
            grace: SHUTDOWN_GRACE.into(),
            shutdown: None,
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    fn check(&self) -> io::Result<()> {
        match &self.over {
            None => Ok(()),
            Some(over) => Err(over.to_error()),
        }
    }

    fn end(&mut self, over: Over) -> Poll<io::Error> {
        Poll::Ready(self.over.insert(over).to_error())
    }

    /// The inner object did not have to wait: `bytes` were moved.
    fn passed(&mut self, direction: Direction, bytes: usize) {
        let side = self.side(direction);
        side.since = None;
        // What is reported ready after this may again lag behind by a turn.
        side.had_turn &= bytes == 0;
        if let Some(idle) = &mut self.idle {
            idle.progress = self.ctx.clock_now();
        }
        if let Some(cause) = self.ctx.cause() {
            // A call that moves nothing counts as well, or a loop of such would not end.
            self.late = self.late.saturating_add(bytes.max(1));
            if self.late >= READY_MAX {
                self.over = Some(Over::Cancelled(Cancelled::new(cause)));
            }
        }
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            let bytes = result?;
            self.passed(Direction::Write, bytes);
            return Poll::Ready(Ok(bytes));
        }
        self.wait(Direction::Write, cx).map(Err)
    }

    /// The inner object has to wait: resolves when it should wait no longer.
    ///
    /// It waits for the context and for the idle time by one waiter: the end of a context with the
    /// idle time as its deadline. That deadline may be out of date when it comes, since bytes move
    /// without touching it; then the loop waits for the one in force.
    fn wait(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let due = self.due(direction);
            let ctx = &self.ctx;
            let done = || match due {
                None => ctx.done(),
                Some(due) => ctx.with_deadline(due).done(),
            };
            let wait = match direction {
                Direction::Read => self.read.wait.get_or_insert_with(done),
                Direction::Write => self.write.wait.get_or_insert_with(done),
            };
            ready!(labelled(direction.label(), || Pin::new(wait).poll(cx)));
            if let Some(cause) = self.ctx.cause() {
                ready!(self.turn(direction, cx));
                return self.end(Over::Cancelled(Cancelled::new(cause)));
            }
            // Not the context but the timer of the idle time, which may be one of
            // before the last byte.
            if let (Some(due), Some(idle)) = (due, &self.idle)
                && self.ctx.clock_now() >= due
            {
                let limit = idle.limit;
                return self.end(Over::Idle(IdleTimeout { limit }));
            }
            self.side(direction).wait = None;
        }
    }

    /// When the idle time of a call that waits is over.
    fn due(&mut self, direction: Direction) -> Option<Instant> {
        let idle = self.idle.as_ref()?;
        let (limit, progress) = (idle.limit, idle.progress);
        let now = self.ctx.clock_now();
        let since = *self.side(direction).since.get_or_insert(now);
        since.max(progress).checked_add(limit)
    }

    /// Gives the runtime's I/O driver one turn to report what is ready in the kernel.
    ///
    /// A cancel and a byte may come in the same turn of the runtime, and whose waker runs first is
    /// chance. After one turn more "ready" does not depend on that: a byte that was in the kernel
    /// at the end of the context is handed over.
    fn turn(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let side = self.side(direction);
        if side.had_turn {
            return Poll::Ready(());
        }
        side.had_turn = true;
        // Its first poll has this task woken after the driver was polled.
        pin!(tokio::task::yield_now()).poll(cx)
    }

    fn wait_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (ctx, grace) = (&self.ctx, self.grace);
        let done = self
            .shutdown
            .get_or_insert_with(|| ctx.shield(grace).done());
        labelled("shutdown", || Pin::new(done).poll(cx)).map(|cause| Cancelled::new(cause).into())
    }
}
