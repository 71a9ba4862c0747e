//! What [`Ctx::run`] alone does not do well: sending, sleeping, connecting.
//!
//! `ctx.run(future)` polls the future first, returns what it has ready, and drops it on
//! cancel. Whether something is lost then depends on the future alone:
//!
//! | Future | `ctx.run(..)` on cancel |
//! |---|---|
//! | `mpsc::Receiver::recv`, `recv_many`; `broadcast::Receiver::recv`; `watch::Receiver::changed` | loses nothing: a message is taken in the poll that returns it |
//! | `&mut oneshot::Receiver`, `&mut JoinHandle` | loses nothing; *by value* it drops the receiver, and detaches the task |
//! | `JoinSet::join_next`, `Child::wait`, `Interval::tick`, `signal.recv` | loses nothing |
//! | `TcpListener::accept`, `UdpSocket::recv`, `readable`, `writable` | loses nothing |
//! | `Lines::next_line`, a `Framed` stream's `next` | loses nothing: a part of a line stays in the buffer |
//! | `Mutex::lock`, `RwLock::read`, `write`, `Semaphore::acquire`, `Notify::notified` | loses the place in the queue; nothing that was granted stays taken |
//! | `mpsc::Sender::send` | **drops the message**: use [`send`] |
//! | `read_exact`, `read_to_end`, `write_all`, `copy` | **does not say how far it came**: use [`IoExt::with_ctx`](crate::IoExt::with_ctx), which fails between two reads or writes, so what `read_to_end` has so far is in the vector |
//! | `Barrier::wait` | **counts as arrived**: not for use with a cancel |
//! | `sleep` | works, on the runtime's clock: [`sleep`] uses that of the tree |
//! | `TcpStream::connect` | closes the half-open socket; [`connect`] has one error instead of two |
//!
//! (tokio 1.54, "Cancel safety" sections of its documentation, 2026-11.)

use ripcord_core::tasks::{labelled, labelled_at};
use ripcord_core::{Cancelled, Ctx, Done};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::mpsc;

/// Sends on a bounded channel, and gives the value back if `ctx` is done first.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_tokio::send;
/// use tokio::sync::mpsc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (ctx, guard) = Ctx::background().child();
/// let (tx, mut rx) = mpsc::channel(1);
/// assert!(send(&ctx, &tx, "first").await.is_ok());
///
/// guard.cancel(Kind::PeerGone);
/// let error = send(&ctx, &tx, "second").await.unwrap_err();
/// assert_eq!(error.value, "second");
/// assert_eq!(error.cancelled.map(|end| end.kind()), Some(Kind::PeerGone));
/// assert_eq!(rx.recv().await, Some("first"));
/// # }
/// ```
///
/// # Errors
/// [`SendError`] with the value, if the context is done before there is a place in the
/// channel, or if the receiver is gone.
///
/// # Cancel safety
/// If the future itself is dropped, the value is dropped unsent, and the place in the
/// queue of senders is lost. Call `reserve` and keep the value outside where that
/// matters.
pub async fn send<T>(ctx: &Ctx, sender: &mpsc::Sender<T>, value: T) -> Result<(), SendError<T>> {
    let cancelled = match waits("send", ctx.run(sender.reserve())).await {
        Ok(Ok(permit)) => {
            permit.send(value);
            return Ok(());
        }
        Ok(Err(_closed)) => None,
        Err(cancelled) => Some(cancelled),
    };
    Err(SendError { value, cancelled })
}

/// Gives a task observer `label` for what the task waits for in `future`.
async fn waits<F: Future>(label: &'static str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| labelled(label, || future.as_mut().poll(cx))).await
}

/// The error of [`send`]: the value that was not sent, and why.
///
/// It is `Debug` and an [`Error`] for every `T`; what is printed leaves the value out, which may
/// be large or secret.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a pair, to be taken apart by whoever gets it"
)]
pub struct SendError<T> {
    /// The value that was not sent.
    pub value: T,
    /// Why the context is done; `None`: the receiver is gone.
    pub cancelled: Option<Cancelled>,
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cancelled {
            Some(_) => "send: the context was done before there was a place in the channel",
            None => "send: the receiver of the channel is gone",
        })
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cancelled
            .as_ref()
            .map(|cancelled| cancelled as &(dyn Error + 'static))
    }
}

/// Waits for `duration`, by the clock of the tree, or until `ctx` is done.
///
/// The async twin of [`Ctx::sleep`]. Needs no runtime: the timer is the tree's.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (ctx, guard) = Ctx::background().child();
/// let a_year = ripcord_tokio::sleep(&ctx, Duration::from_secs(365 * 24 * 3600));
/// guard.cancel(Kind::Shutdown);
/// assert_eq!(a_year.await.map_err(|e| e.kind()), Err(Kind::Shutdown));
/// # }
/// ```
///
/// # Errors
/// [`Cancelled`] as soon as the context is done; also if both come at the same time.
///
/// # Cancel safety
/// Dropping it leaves nothing behind; the time starts at the call, not at the first poll.
///
/// # Limits
/// A duration beyond the range of the clock waits for the end of the context.
///
/// # Costs
/// One context and one timer. An observer sees the context that it sleeps on end by its
/// deadline.
#[track_caller]
pub fn sleep(ctx: &Ctx, duration: Duration) -> Sleep {
    Sleep::new(ctx, &ctx.with_timeout(duration))
}

/// Waits until `deadline`, by the clock of the tree, or until `ctx` is done.
///
/// Like [`sleep`] in everything else.
///
/// For a loop with a fixed rhythm, where the time that each round takes must not add up, and for
/// an instant that was agreed on with somebody else.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let begin = ctx.clock_now();
/// for round in 1..=3_u32 {
///     let next = begin + round * Duration::from_secs(60);
///     ripcord_tokio::sleep_until(&ctx, next).await.expect("nobody cancels");
///     assert!(ctx.clock_now() >= next);
/// }
/// # }
/// ```
///
/// # Errors
/// [`Cancelled`] as soon as the context is done; also if both come at the same time.
///
/// # Cancel safety
/// Dropping it leaves nothing behind.
#[track_caller]
pub fn sleep_until(ctx: &Ctx, deadline: Instant) -> Sleep {
    Sleep::new(ctx, &ctx.with_deadline(deadline))
}

/// A future that waits for a time or for the end of a context; made by [`sleep`] and
/// [`sleep_until`].
///
/// It wakes for both through a single registration: the end of a context with the deadline
/// that is waited for. If both have come, the context's end is what it says.
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Sleep {
    ctx: Ctx,
    /// The end of a context with the deadline that is waited for.
    nap: Done,
}

impl Sleep {
    fn new(ctx: &Ctx, nap: &Ctx) -> Self {
        Self {
            ctx: ctx.clone(),
            nap: nap.done(),
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), Cancelled>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Location::caller();
        ready!(labelled_at("sleep", place, || Pin::new(&mut self.nap).poll(cx)));
        Poll::Ready(self.ctx.check())
    }
}

/// Connects to a TCP address, unless `ctx` is done first.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_tokio::{IoExt as _, connect};
/// use std::time::Duration;
/// # use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let addr = listener.local_addr()?;
/// let ctx = Ctx::background().with_timeout(Duration::from_secs(60));
/// let socket = connect(&ctx, addr).await?.with_ctx(&ctx);
/// # drop(socket);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The [`Cancelled`] of the context as [`io::Error`]: `TimedOut` for a deadline, `Other`
/// otherwise. Those of the look-up and of the system.
///
/// # Cancel safety
/// Dropping it, and the end of the context, close the half-open socket. A look-up of a
/// name runs on on tokio's blocking pool, and its result is dropped.
pub async fn connect<A: ToSocketAddrs>(ctx: &Ctx, addr: A) -> io::Result<TcpStream> {
    waits("connect", ctx.run(TcpStream::connect(addr))).await?
}

/// Connects to a Unix socket, unless `ctx` is done first.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Ctx;
/// use std::{io::ErrorKind, time::Duration};
///
/// let ctx = Ctx::background().with_timeout(Duration::from_secs(60));
/// // `TimedOut` would be the deadline; what the system says comes as it is.
/// let error = ripcord_tokio::connect_unix(&ctx, "/no/such/socket").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// # }
/// ```
///
/// # Errors
/// The [`Cancelled`] of the context as [`io::Error`]: `TimedOut` for a deadline, `Other`
/// otherwise. Those of the system.
///
/// # Cancel safety
/// Dropping it, and the end of the context, close the half-open socket.
#[cfg(unix)]
pub async fn connect_unix<P: AsRef<std::path::Path>>(
    ctx: &Ctx,
    path: P,
) -> io::Result<tokio::net::UnixStream> {
    waits("connect", ctx.run(tokio::net::UnixStream::connect(path))).await?
}
