//! A descriptor that becomes readable when a context is done: [`ctx_fd`].
//!
//! For `poll`, `epoll`, `select`, and libraries in other languages that can wait for a
//! descriptor and for nothing else. An eventfd on Linux and Android, a pipe on other
//! Unix systems.
//!
//! # Invariants
//! 1. The hook owns its own reference to what it writes to, so a descriptor that is
//!    closed meanwhile is never written to, nor one that got its number.
//! 2. What is written cannot be read empty: the descriptor stays readable.

use ripcord_core::{Ctx, Hook};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Makes a descriptor that is readable once `ctx` is done, and stays so.
///
/// It can be made after the end, too; then it is readable at once. Nothing exists for
/// contexts for which nobody asks.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_tokio::ctx_fd;
/// use rustix::event::{PollFd, PollFlags, Timespec, poll};
///
/// # fn main() -> std::io::Result<()> {
/// let (ctx, guard) = Ctx::background().child();
/// let fd = ctx_fd(&ctx)?;
/// let now = Timespec { tv_sec: 0, tv_nsec: 0 };
/// let mut fds = [PollFd::new(&fd, PollFlags::IN)];
/// assert_eq!(poll(&mut fds, Some(&now))?, 0);
/// guard.cancel("stop");
/// assert_eq!(poll(&mut fds, None)?, 1);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of the system call: no descriptor is left, or no memory.
///
/// # Limits
/// It is written by a hook, so where the subtree is large, or a deadline ended the
/// context, it follows the flag by the time that the sweep takes: look at `is_done`
/// where that matters. Reading from the descriptor is pointless, but harmless.
///
/// # Costs
/// One descriptor and one hook for each call, until the result is dropped.
pub fn ctx_fd(ctx: &Ctx) -> io::Result<CtxFd> {
    let (fd, trigger) = open()?;
    let hook = ctx.on_done(move |_| trigger.fire());
    Ok(CtxFd { fd, _hook: hook })
}

/// A descriptor that is readable once its context is done; made by [`ctx_fd`].
///
/// Dropping it takes back the hook and closes the descriptor, unless the hook is just
/// running; then that closes it. A raw descriptor that was handed out must not be used
/// after that. It is not inherited by child processes (`CLOEXEC`).
pub struct CtxFd {
    fd: Arc<OwnedFd>,
    _hook: Hook,
}

impl AsFd for CtxFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for CtxFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl fmt::Debug for CtxFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CtxFd").field(&self.as_raw_fd()).finish()
    }
}

/// What makes the descriptor readable, owned by the hook.
///
/// It fires once and is used up by that. What it writes outlasts every reader: an eventfd in
/// semaphore mode that starts at 2^64 - 2 takes longer to read empty than anybody has, and a
/// pipe whose writing end is closed stays readable at its end.
struct Trigger {
    fd: Arc<OwnedFd>,
    bytes: [u8; 8],
}

impl Trigger {
    fn fire(self) {
        // Cannot fail: both kinds are empty until this one write, and not closed while
        // `self` has a reference.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&*self.fd, &self.bytes));
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn open() -> io::Result<(Arc<OwnedFd>, Trigger)> {
    use rustix::event::{EventfdFlags, eventfd};
    // As a semaphore, a read takes 1 from the counter, whose largest value is written.
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
    let fd = Arc::new(eventfd(0, flags)?);
    let bytes = (u64::MAX - 1).to_ne_bytes();
    let trigger = Trigger {
        fd: Arc::clone(&fd),
        bytes,
    };
    Ok((fd, trigger))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open() -> io::Result<(Arc<OwnedFd>, Trigger)> {
    pipe()
}

/// A pipe instead: when the bytes are read, its closed end still makes it readable.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
fn pipe() -> io::Result<(Arc<OwnedFd>, Trigger)> {
    let (read, write) = io::pipe()?;
    let fd = Arc::new(OwnedFd::from(write));
    Ok((Arc::new(OwnedFd::from(read)), Trigger { fd, bytes: [1; 8] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(fd: &OwnedFd) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    /// The pipe is what other systems than Linux have; it is tested here as well.
    #[test]
    fn both_kinds_become_readable_and_stay_so() {
        for (fd, trigger) in [open().unwrap(), pipe().unwrap()] {
            assert!(!is_readable(&fd));
            trigger.fire();
            for _ in 0..3 {
                assert!(is_readable(&fd));
                rustix::io::read(&*fd, &mut [0_u8; 64]).unwrap();
            }
            assert!(is_readable(&fd));
        }
    }
}
