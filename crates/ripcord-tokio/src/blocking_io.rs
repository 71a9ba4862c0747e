//! Blocking I/O for threads that ends with a context: [`BlockingIo`].
//!
//! # Invariants
//! 1. `inner` is `Some` until [`BlockingIo::into_inner`] takes it, which consumes the
//!    adapter.
//! 2. The inner object is tried before the context is looked at, so no byte that is
//!    ready is held back, and none that was read is dropped.
//! 3. The descriptor does not block; the thread blocks in `poll`, on the descriptor and
//!    on that of the context.

use crate::eventfd::{CtxFd, ctx_fd};
use crate::io::READY_MAX;
use ripcord_core::{Cancelled, Ctx};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The shortest time between two looks at the deadline.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// A socket or pipe whose blocking calls end with a context.
///
/// For threads; async code uses [`IoExt::with_ctx`](crate::IoExt::with_ctx). Reads and
/// writes work through a shared reference if those of the inner object do, so one
/// thread can read while another one writes.
///
/// Like the async adapter it returns what is ready, also after the end of the context;
/// the first call that would have to wait then fails, and so does every later one.
/// Shutting down the write side never waits: use [`get_ref`](Self::get_ref).
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_tokio::BlockingIo;
/// use std::io::{Read as _, Write as _};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ctx, guard) = Ctx::background().child();
/// let (mut peer, socket) = UnixStream::pair()?;
/// let mut socket = BlockingIo::new(socket, &ctx)?;
///
/// peer.write_all(b"last words")?;
/// let canceller = std::thread::spawn(move || guard.cancel(Kind::Shutdown));
/// let mut text = Vec::new();
/// // Blocks after the last words, until the other thread cancels.
/// let error = socket.read_to_end(&mut text).unwrap_err();
/// assert_eq!(text, b"last words");
/// assert_eq!(error.to_string(), ctx.check().unwrap_err().to_string());
/// # canceller.join().expect("does not panic");
/// # Ok(()) }
/// ```
///
/// # Errors
/// The [`Cancelled`] of the context as [`io::Error`]: `TimedOut` for a deadline,
/// `Other` otherwise, never `Interrupted`. Those of the inner object; never
/// `WouldBlock`.
///
/// # Limits
/// The descriptor is made non-blocking, and blocking again when the adapter goes. That
/// flag belongs to the open file, so a clone of the descriptor, also one in another
/// process (standard input!), sees it too. Wrap one clone only. Regular files are always
/// ready, so a read of one is not interrupted. After the end no more than [`READY_MAX`]
/// bytes are passed on.
///
/// # Costs
/// A call that need not wait is one attempt and one `Ctx::is_done`. The first one that
/// waits makes a descriptor and a hook, see [`ctx_fd`].
pub struct BlockingIo<T: AsFd> {
    inner: Option<T>,
    ctx: Ctx,
    fd: OnceLock<CtxFd>,
    over: OnceLock<Cancelled>,
    /// Bytes that were passed on after the end of the context.
    late: AtomicUsize,
    was_blocking: bool,
}

impl<T: AsFd> BlockingIo<T> {
    /// Ends the blocking calls of `inner` when `ctx` is done.
    ///
    /// # Errors
    /// Those of the system call that makes the descriptor non-blocking.
    pub fn new(inner: T, ctx: &Ctx) -> io::Result<Self> {
        let flags = fcntl_getfl(&inner)?;
        let was_blocking = !flags.contains(OFlags::NONBLOCK);
        if was_blocking {
            fcntl_setfl(&inner, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            inner: Some(inner),
            ctx: ctx.clone(),
            fd: OnceLock::new(),
            over: OnceLock::new(),
            late: AtomicUsize::new(0),
            was_blocking,
        })
    }

    /// The context that ends the calls.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The inner object. It is non-blocking as long as the adapter exists.
    ///
    /// # Panics
    /// Never: see invariant 1.
    pub fn get_ref(&self) -> &T {
        self.inner
            .as_ref()
            .expect("invariant 1: taken by value only")
    }

    /// Gives the inner object back, blocking again if it was, with every byte that was
    /// not handed out.
    ///
    /// # Panics
    /// Never: see invariant 1.
    pub fn into_inner(mut self) -> T {
        self.restore();
        self.inner.take().expect("invariant 1: taken by value only")
    }

    fn restore(&self) {
        if let Some(inner) = &self.inner
            && self.was_blocking
            && let Ok(flags) = fcntl_getfl(inner)
        {
            // A descriptor that could be made non-blocking can be made blocking.
            let _ = fcntl_setfl(inner, flags - OFlags::NONBLOCK);
        }
    }

    /// Tries `call` until it need not wait or the context is done.
    fn retry(
        &self,
        wanted: PollFlags,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if let Some(over) = self.over.get() {
                return Err(over.clone().into());
            }
            // Before the attempt: what comes between a failed one and the end is ready
            // at the end, and taken by one more.
            let cause = self.ctx.cause();
            match call() {
                Ok(bytes) => {
                    self.passed(bytes);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match cause {
                    Some(cause) => return Err(self.end(Cancelled::new(cause))),
                    None => self.wait(wanted)?,
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Something did not have to wait: `bytes` were moved.
    fn passed(&self, bytes: usize) {
        if let Some(cause) = self.ctx.cause() {
            // A call that moves nothing counts as well, or a loop of such would not end.
            let bytes = bytes.max(1);
            // Relaxed: only the sum matters, it carries nothing (counter).
            let late = self.late.fetch_add(bytes, Ordering::Relaxed);
            if late.saturating_add(bytes) >= READY_MAX {
                self.end(Cancelled::new(cause));
            }
        }
    }

    fn end(&self, cancelled: Cancelled) -> io::Error {
        self.over.get_or_init(|| cancelled).clone().into()
    }

    /// Blocks until the descriptor or the context has news.
    fn wait(&self, wanted: PollFlags) -> io::Result<()> {
        let mut fds = [
            PollFd::new(self.get_ref(), wanted),
            PollFd::new(self.ctx_fd()?, PollFlags::IN),
        ];
        // The hook on a deadline comes from another thread, which may be late: this one
        // looks again by itself. It is real time that `poll` waits for, and a clock of a
        // test may stand still: not too often.
        let remaining = self.ctx.remaining().map(|left| left.max(LOOK_MIN));
        let timeout = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ctx_fd(&self) -> io::Result<&CtxFd> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd);
        }
        let fd = ctx_fd(&self.ctx)?;
        Ok(self.fd.get_or_init(|| fd))
    }

    /// Accepts a connection, unless the context is done.
    fn accept_with<C>(&self, mut accept: impl FnMut(&T) -> io::Result<C>) -> io::Result<C> {
        if let Some(cause) = self.ctx.cause() {
            return Err(self.end(Cancelled::new(cause)));
        }
        let mut accepted = None;
        self.retry(PollFlags::IN, || {
            accepted = Some(accept(self.get_ref())?);
            Ok(0)
        })?;
        Ok(accepted.expect("set by the call that succeeded"))
    }
}

impl BlockingIo<TcpListener> {
    /// Accepts a connection. Once the context is done it takes none, not even one that
    /// waits.
    ///
    /// # Errors
    /// The [`Cancelled`] of the context, or those of the system.
    ///
    /// # Panics
    /// Never: a call that succeeded has a connection.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.accept_with(TcpListener::accept)?;
        // Some systems hand the listener's flag on.
        accepted.0.set_nonblocking(false)?;
        Ok(accepted)
    }
}

impl BlockingIo<UnixListener> {
    /// Accepts a connection. Once the context is done it takes none, not even one that
    /// waits.
    ///
    /// # Errors
    /// The [`Cancelled`] of the context, or those of the system.
    ///
    /// # Panics
    /// Never: a call that succeeded has a connection.
    pub fn accept(&self) -> io::Result<(UnixStream, UnixSocketAddr)> {
        let accepted = self.accept_with(UnixListener::accept)?;
        // Some systems hand the listener's flag on.
        accepted.0.set_nonblocking(false)?;
        Ok(accepted)
    }
}

impl<T: AsFd> Read for &BlockingIo<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, || self.get_ref().read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.retry(PollFlags::IN, || self.get_ref().read_vectored(bufs))
    }
}

impl<T: AsFd> Read for BlockingIo<T>
where
    for<'a> &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl<T: AsFd> Write for &BlockingIo<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, || self.get_ref().write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, || self.get_ref().write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry(PollFlags::OUT, || self.get_ref().flush().map(|()| 0))
            .map(drop)
    }
}

impl<T: AsFd> Write for BlockingIo<T>
where
    for<'a> &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl<T: AsFd> Drop for BlockingIo<T> {
    fn drop(&mut self) {
        self.restore();
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for BlockingIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingIo")
            .field("inner", &self.inner)
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}
