//! How many connections there are, and how those before them ended: [`Report`].

use ripcord_core::Ctx;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How a connection ended; each has its counter in the [`Report`](crate::Report).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    /// Both sides were done with it, or it became another protocol's.
    Closed,
    /// The client left, seen by the watcher.
    HungUp,
    /// It did not say in time which protocol it speaks.
    Silent,
    /// It broke the protocol, or the transport failed.
    Failed,
    /// It was cut off at the end of a shutdown.
    Forced,
}

/// What became of the connections of a server.
///
/// For the last line of a log: `forced` and `stuck` are what a shutdown cost somebody, and a reason to
/// look for handlers that do not listen. Each accepted connection is counted in exactly one of the
/// fields from `closed` to `stuck`.
///
/// # Examples
/// ```
/// use ripcord_http::Report;
///
/// fn is_clean(report: &Report) -> bool {
///     report.forced == 0 && report.stuck == 0
/// }
/// let nothing = Report::default();
/// assert!(is_clean(&nothing));
/// assert_eq!(nothing.to_string(), "0 connections");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Ended in agreement, or became another protocol's, whose end is not counted here.
    pub closed: u64,
    /// Ended by the client, while something was going on or not, whoever saw it first. Most clients
    /// just close a connection that they need no more: it is no count of cancelled requests.
    pub hung_up: u64,
    /// Cut off because the client did not say what it wants within the header time-out.
    pub silent: u64,
    /// Ended by an error of the protocol or the transport, or by a panic.
    pub failed: u64,
    /// Cut off at the end of a shutdown.
    pub forced: u64,
    /// Not ended when the server was: their tasks do not come back from a poll.
    pub stuck: u64,
    /// Connections that could not be accepted, as when descriptors are short. The server pauses for
    /// 50 ms after each that is not the client's own doing, and goes on.
    pub accept_errors: u64,
    /// What went on beside its connection, and was not over when the server was: handlers in tasks of
    /// their own ([`OnDisconnect`](crate::OnDisconnect)), sockets that speak another protocol.
    pub left_behind: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.accepted)?;
        for (count, what) in [
            (self.closed, "closed"),
            (self.hung_up, "hung up"),
            (self.silent, "silent"),
            (self.failed, "failed"),
            (self.forced, "forced"),
            (self.stuck, "stuck"),
            (self.accept_errors, "not accepted"),
            (self.left_behind, "left behind"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Counts connections. All counters are statistics, except `live` and `beside`, by which `changed` is
/// told.
///
/// [`begin`](Self::begin) and [`end`](Self::end) come in pairs, as do those of what goes on beside a
/// connection: destructors see to it, in `drive.rs`, `io.rs` and `connection.rs`.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    live: AtomicUsize,
    /// Sockets, and handlers in tasks of their own.
    beside: AtomicUsize,
    changed: Notify,
    accepted: AtomicU64,
    closed: AtomicU64,
    hung_up: AtomicU64,
    silent: AtomicU64,
    failed: AtomicU64,
    forced: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
}

impl Tally {
    pub(crate) fn begin(&self) {
        // Relaxed both: nothing is published by a beginning (counter).
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has dropped everything that it held.
    pub(crate) fn end(&self, over: Over) {
        let counter = match over {
            Over::Closed => &self.closed,
            Over::HungUp => &self.hung_up,
            Over::Silent => &self.silent,
            Over::Failed => &self.failed,
            Over::Forced => &self.forced,
        };
        // Relaxed: a statistic (counter).
        counter.fetch_add(1, Ordering::Relaxed);
        // Release: what the connection held is dropped; pairs with the Acquire in `below`.
        self.live.fetch_sub(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn begin_beside(&self) {
        // Relaxed: nothing is published by a beginning (counter).
        self.beside.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_beside(&self) {
        // Release: what was held is dropped; pairs with the Acquire in `quiet`.
        self.beside.fetch_sub(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until fewer than `max` connections are live.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn below(&self, max: usize) {
        loop {
            let changed = self.changed.notified();
            // Acquire: pairs with the Release in `end`; what the ended connection held is free.
            if self.live.load(Ordering::Acquire) < max {
                return;
            }
            changed.await;
        }
    }

    /// Waits until nothing is going on.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn quiet(&self) {
        loop {
            let changed = self.changed.notified();
            // Acquire, twice: pairs with the Release in `end` and in `end_beside`.
            let live = self.live.load(Ordering::Acquire);
            if live == 0 && self.beside.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits until nothing is going on, and after `last` only for what comes back soon.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn empty(&self, last: &Ctx) {
        tokio::select! {
            () = self.quiet() => return,
            _ = last.done() => {}
        }
        let _ = tokio::time::timeout(LAST_POLL_MAX, self.quiet()).await;
    }

    pub(crate) fn report(&self) -> Report {
        // Relaxed: statistics (counter).
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Relaxed both: statistics (counter).
        let live = self.live.load(Ordering::Relaxed);
        let beside = self.beside.load(Ordering::Relaxed);
        Report {
            accepted: read(&self.accepted),
            closed: read(&self.closed),
            hung_up: read(&self.hung_up),
            silent: read(&self.silent),
            failed: read(&self.failed),
            forced: read(&self.forced),
            stuck: live as u64,
            accept_errors: read(&self.accept_errors),
            // A connection that is stuck still has its socket.
            left_behind: beside.saturating_sub(live) as u64,
        }
    }
}

/// How long a task may take to come back from a poll when its connection is cut off.
const LAST_POLL_MAX: Duration = Duration::from_secs(1);
