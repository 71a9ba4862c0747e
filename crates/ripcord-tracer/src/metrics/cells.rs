//! [`Cells`]: what one thread counts; [`Meters`]: those of all threads, and of those that have ended.
//!
//! # Invariants
//! 1. The cells of a thread are written by it alone, with plain loads and stores.
//! 2. Cells are either in the list or in the sums of those that have ended, and both are behind one lock: so
//!    nothing is counted twice, and nothing is lost with a thread.
//!
//! # Why not one set of atomics
//! A counter that all threads add to is a cache line that travels with each poll, and a read-modify-write. Here
//! an addition is a load and a store to a line that its processor has already.
//!
//! # Costs
//! Memory: 1.3 KiB for each thread that lives and has recorded something. To read: a load for each of these
//! words, under the lock that threads take when they begin and end.
//!
//! # Limitations
//! Cells are read one after the other while their threads go on: sums of several may differ by what
//! happened meanwhile.

use super::histogram::{Buckets, Cell, Histogram};
use crate::recorder::Mode;
use crate::shared::ThreadInfo;
use crate::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is counted, as the place of its cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    /// A task was spawned.
    TasksSpawned,
    /// A job was given to the blocking threads.
    JobsQueued,
    /// A task ended by itself.
    TasksReady,
    /// … by a panic.
    TasksPanicked,
    /// … by its handle or scope.
    TasksAborted,
    /// … by its runtime.
    TasksDropped,
    /// A job ended, or was dropped before it ran.
    JobsEnded,
    /// A poll ended, and the task waits.
    PollsPending,
    /// … and the task has asked for the next one.
    PollsYielded,
    /// … because the turn was used up.
    PollsPreempted,
    /// … and nobody can wake the task.
    PollsLost,
    /// Nobody can wake a task any more since some time after its poll.
    WakersLostLater,
    /// A poll ended with a result.
    PollsReady,
    /// … by a panic.
    PollsPanicked,
    /// A poll took longer than [`LONG_POLL`](super::LONG_POLL).
    PollsLong,
    /// A task woke itself.
    WokenByItself,
    /// … was woken by another one.
    WokenByTask,
    /// … by the end of one that it joins.
    WokenByCompletion,
    /// … by the end of a context.
    WokenByCancel,
    /// … by the I/O or timer driver.
    WokenByDriver,
    /// … by a worker outside of every task.
    WokenByRuntime,
    /// … by a blocking thread.
    WokenByBlocking,
    /// … by any other thread.
    WokenByForeign,
    /// A context was made.
    ContextsCreated,
    /// The last handle of one is gone.
    ContextsGone,
    /// Of those, the ones in which an end had begun that was no dropped guard.
    ContextsGoneEnded,
    /// An end began because somebody cancelled.
    EndedCancelled,
    /// … because a deadline has passed.
    EndedDeadline,
    /// … because of a panic.
    EndedPanicked,
    /// … because another task of the scope failed.
    EndedSibling,
    /// … because the program ends.
    EndedShutdown,
    /// … because the client has gone.
    EndedPeerGone,
    /// … because of a signal.
    EndedSignal,
    /// … for a reason of the program's own.
    EndedCustom,
    /// Nanoseconds in polls that took longer than [`STALL`](super::STALL).
    StallNs,
    /// Nanoseconds from an unpark to the next park.
    BusyNs,
    /// Nanoseconds from a park to the next unpark.
    IdleNs,
}

impl Count {
    /// One more than the last of them.
    const ALL: usize = Self::IdleNs as usize + 1;
}

/// What a thread has counted since it began.
///
/// A cache line of its own: what is beside it belongs to somebody else.
#[repr(align(128))]
pub(crate) struct Cells {
    /// By [`Count`].
    counts: [Cell; Count::ALL],
    /// How long polls took.
    pub(super) polls: Buckets,
    /// From a wake to the poll.
    pub(super) delays: Buckets,
    /// From the spawn of a job to its start.
    pub(super) job_waits: Buckets,
    /// From the end of a context to that of its task.
    pub(super) latencies: Buckets,
    /// When the thread was last parked or went on, in raw units; 0: neither so far.
    pub(super) turned: Cell,
    /// Whether it is parked: 1, or 0.
    pub(super) is_parked: Cell,
    /// What else is known of the thread.
    pub(super) info: Arc<ThreadInfo>,
}

impl Cells {
    /// For a thread that begins.
    pub(crate) fn new(info: Arc<ThreadInfo>) -> Self {
        Self {
            counts: std::array::from_fn(|_| Cell::default()),
            polls: Buckets::default(),
            delays: Buckets::default(),
            job_waits: Buckets::default(),
            latencies: Buckets::default(),
            turned: Cell::default(),
            is_parked: Cell::default(),
            info,
        }
    }

    /// Adds, for the thread itself.
    #[inline]
    pub(super) fn add(&self, what: Count, more: u64) {
        if let Some(cell) = self.counts.get(what as usize) {
            cell.add(more);
        }
    }

    /// Counts one, for the thread itself.
    #[inline]
    pub(super) fn count(&self, what: Count) {
        self.add(what, 1);
    }
}

/// Sums of cells.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// By [`Count`].
    counts: [u64; Count::ALL],
    /// As in [`Cells`], and so the others.
    pub(super) polls: Histogram,
    pub(super) delays: Histogram,
    pub(super) job_waits: Histogram,
    pub(super) latencies: Histogram,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            counts: [0; Count::ALL],
            polls: Histogram::default(),
            delays: Histogram::default(),
            job_waits: Histogram::default(),
            latencies: Histogram::default(),
        }
    }
}

impl Sums {
    /// Adds what one thread has counted so far.
    fn add(&mut self, cells: &Cells) {
        for (sum, cell) in self.counts.iter_mut().zip(&cells.counts) {
            *sum = sum.saturating_add(cell.load());
        }
        self.polls.add(&cells.polls);
        self.delays.add(&cells.delays);
        self.job_waits.add(&cells.job_waits);
        self.latencies.add(&cells.latencies);
    }

    /// One of the counts.
    pub(super) fn of(&self, what: Count) -> u64 {
        self.counts.get(what as usize).copied().unwrap_or_default()
    }
}

/// The cells of all threads, and what they count.
#[derive(Default)]
pub(crate) struct Meters {
    list: Mutex<List>,
    /// Whether polls and wakes are counted now.
    counts_polls: AtomicBool,
    /// … and beside events, too.
    always: bool,
}

/// Invariant 2 holds between the two.
#[derive(Default)]
struct List {
    /// Of threads that may count on.
    live: Vec<Arc<Cells>>,
    /// Of those that do not.
    ended: Sums,
}

impl Meters {
    /// Polls and wakes are counted where nothing else is done, or `always`.
    pub(crate) fn new(always: bool, mode: Mode) -> Self {
        let meters = Self {
            list: Mutex::default(),
            counts_polls: AtomicBool::new(false),
            always,
        };
        meters.set_mode(mode);
        meters
    }

    /// From now on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        let counts = self.always || mode == Mode::Metrics;
        // Relaxed: a change is seen soon, and orders nothing.
        self.counts_polls.store(counts, Ordering::Relaxed);
    }

    /// Whether polls and wakes are counted.
    ///
    /// # Costs
    /// A load of a byte that stays in every processor's cache.
    #[inline]
    pub(crate) fn counts_polls(&self) -> bool {
        // Relaxed: see `set_mode`.
        self.counts_polls.load(Ordering::Relaxed)
    }

    /// A thread begins.
    ///
    /// # Costs
    /// A lock and two allocations, once for each thread.
    pub(crate) fn enter(&self, info: &Arc<ThreadInfo>) -> Arc<Cells> {
        let cells = Arc::new(Cells::new(Arc::clone(info)));
        self.list.lock().live.push(Arc::clone(&cells));
        cells
    }

    /// A thread ends, and counts nothing more.
    pub(crate) fn leave(&self, cells: &Arc<Cells>) {
        let mut list = self.list.lock();
        if let Some(at) = list.live.iter().position(|live| Arc::ptr_eq(live, cells)) {
            list.ended.add(cells);
            list.live.swap_remove(at);
        }
    }

    /// The sums of all, and the cells of those that live.
    ///
    /// # Costs
    /// Some 140 loads for each thread, under the lock; then a reference count for each.
    pub(super) fn read(&self) -> (Sums, Vec<Arc<Cells>>) {
        let list = self.list.lock();
        let mut sums = list.ended.clone();
        for cells in &list.live {
            sums.add(cells);
        }
        (sums, list.live.clone())
    }
}
