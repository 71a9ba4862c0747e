//! The hang-up watcher: learns that a client is gone where the HTTP library does not look.
//!
//! hyper reads the socket of an HTTP/1 connection only while it wants bytes. A client that leaves
//! behind an upload that nobody reads, or behind a pipelined request, is not noticed until the
//! handler is done. The kernel knows at once: `EPOLLRDHUP` is set when the peer's FIN or RST
//! arrives, whatever is still unread.
//!
//! One epoll instance has every accepted socket, for `EPOLLRDHUP` alone and once (`EPOLLONESHOT`),
//! so that it is silent as long as clients stay. It is itself watched by the runtime's driver: an
//! epoll descriptor is readable while it has events. tokio alone cannot do this: it shows the
//! closing of the read side only together with readability, which unread bytes keep set for ever.
//!
//! *Invariant*: a socket is in the epoll set from its acceptance until its owner takes it out, before
//! it is closed. An event that was fetched before that finds nobody in the roster.
//!
//! *Costs*: a connection is one `epoll_ctl` when it comes and one when it goes. A hang-up is one wake
//! of the watcher's task, which takes up to 64 of them with one call.
//!
//! *Limits*: a FIN behind a receive window that is full is not seen before there is room again: the
//! kernel has not got it yet. TLS is no obstacle, as the socket is below it.

use crate::serve::options::HangUp;
use crate::serve::roster::{Key, Roster};
use ripcord_core::{Cause, Kind};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events fetched with one call: 768 bytes on the stack.
const BATCH: usize = 64;

/// Watches sockets for their peers' leaving.
///
/// It is shared by the task that fetches events and by what all connections share, which enters and
/// takes out sockets. The descriptor of the set is closed with the last of them.
pub(crate) struct Watcher {
    epoll: OwnedFd,
    flags: EventFlags,
    roster: Arc<Roster>,
}

impl Watcher {
    /// Opens an epoll instance for the connections of a roster.
    ///
    /// # Errors
    /// Those of the system call.
    pub(crate) fn new(hang_up: HangUp, roster: &Arc<Roster>) -> io::Result<Arc<Self>> {
        let flags = match hang_up {
            HangUp::Close => EventFlags::RDHUP,
            // Errors and the closing of both sides are always reported.
            HangUp::Reset => EventFlags::empty(),
        };
        Ok(Arc::new(Self {
            flags: flags | EventFlags::ONESHOT,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            roster: Arc::clone(roster),
        }))
    }

    /// Watches the socket of a connection.
    ///
    /// # Errors
    /// Those of the system call.
    pub(crate) fn watch(&self, socket: impl AsFd, key: Key) -> io::Result<()> {
        let data = EventData::new_u64(key.to_bits());
        Ok(epoll::add(&self.epoll, socket.as_fd(), data, self.flags)?)
    }

    /// Takes a socket out of the set, before it is closed.
    ///
    /// The kernel does that by itself, but only when nobody has a copy of the descriptor.
    pub(crate) fn forget(&self, socket: impl AsFd) {
        let _ = epoll::delete(&self.epoll, socket.as_fd());
    }

    /// Tells those whose peers have left, for ever.
    ///
    /// # Errors
    /// When the runtime's driver does not take the descriptor.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped: an event stays set until it is fetched.
    pub(crate) async fn run(self: Arc<Self>) -> io::Result<()> {
        #[allow(
            deprecated,
            reason = "sound for an `OwnedFd`, which is neither closed nor replaced while it is lent; \
                      what takes its place is an unsafe function"
        )]
        let ready = AsyncFd::with_interest(self.epoll.try_clone()?, Interest::READABLE)?;
        loop {
            let mut guard = ready.readable().await?;
            self.drain()?;
            // The driver reports edges: what comes after the clearing sets it again, and what
            // came before it is fetched by the second look.
            guard.clear_ready();
            self.drain()?;
        }
    }

    fn drain(&self) -> io::Result<()> {
        while self.turn()? == BATCH {}
        Ok(())
    }

    /// Fetches a batch of events without waiting; gives how many there were.
    fn turn(&self) -> io::Result<usize> {
        let mut events = [MaybeUninit::uninit(); BATCH];
        let zero = rustix::event::Timespec::default();
        let events = match epoll::wait(&self.epoll, &mut events, Some(&zero)) {
            Ok((events, _)) => events,
            // Asked again at once, as after a full batch.
            Err(rustix::io::Errno::INTR) => return Ok(BATCH),
            Err(error) => return Err(error.into()),
        };
        for event in &*events {
            let key = Key::from_bits(event.data.u64());
            self.roster.hang_up(key, cause(event.flags));
        }
        Ok(events.len())
    }
}

fn cause(flags: EventFlags) -> Cause {
    let message = if flags.contains(EventFlags::ERR) {
        "the client reset the connection"
    } else {
        "the client closed the connection"
    };
    Cause::new(Kind::PeerGone).with_message(message)
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
