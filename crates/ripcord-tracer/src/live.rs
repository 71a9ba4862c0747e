//! [`LiveTask`]: what is kept of a task while it lives.
//!
//! # The state word
//! The number of polls so far, and in the lowest bit whether the task was woken since the last one began.
//! Only the poller stores it, without a read-modify-write; a waker sets the bit with one. Whoever
//! set it writes the wake, so of many wakes one is written, with the number of the poll that it asks for.
//!
//! # Limitations
//! It relies on an adapter that tells of the first wake since a poll began, as ripcord-tokio's does.
//! From one that tells of every wake, one that comes between the runtime's decision to poll and the
//! store of the poller finds the bit that led to this poll, and is not written.
//!
//! # What is kept, and for whom
//! * The state word and the times of polls: for the events of the task itself.
//! * The two contexts: for who looks after the tasks of a context that has ended.
//! * What was said at the spawn: for the registry of a dump.
//!
//! # Costs
//! Some 150 bytes, and the name. A poll begins with four stores and ends with a store, all
//! to memory that nobody else writes, but for the bit of a waker.

use crate::metrics::TaskState;
use crate::sync::Mutex;
use ripcord_core::tasks::ContextRef;
use ripcord_trace_format::Seq;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is kept of a task or of a job while it lives; its place is a
/// [`Slot`](crate::slots::Slot).
#[derive(Default)]
pub(crate) struct LiveTask {
    /// Polls so far, and the bit of who has woken it: see the head of the file.
    state: AtomicU64,
    /// Time in polls that are over, in raw units.
    busy: AtomicU64,
    /// When the poll that runs has begun, in raw units.
    poll_began: AtomicU64,
    /// When it was spawned, in raw units.
    began: AtomicU64,
    /// Its own context.
    own: Under,
    /// The context that it was last said to work under.
    told: Under,
    /// Whether this poll has entered another context than its own.
    has_entered: AtomicBool,
    /// Whether it is work for the blocking threads, which is not polled.
    is_job: AtomicBool,
    /// What it does now, for metrics.
    pub(crate) doing: TaskState,
    /// Locked when it is spawned and by dumps.
    said: Mutex<Said>,
}

/// A context; with 0 as id, one that is not recorded.
///
/// Id and key are two words: who reads them while they change has those of two contexts, and notices
/// that the slot of the key has another id.
#[derive(Default)]
struct Under {
    /// The number of the context.
    id: AtomicU64,
    /// What the recorder has given it: the number of its slot, plus one.
    key: AtomicU64,
}

impl Under {
    /// Notes a context, or none.
    fn set(&self, context: Option<ContextRef>) {
        let ContextRef { id, key } = context.unwrap_or(NO_CONTEXT);
        // Relaxed both: the task's own thread reads what it wrote, others check.
        self.id.store(id, Ordering::Relaxed);
        self.key.store(key, Ordering::Relaxed);
    }

    /// What was noted last.
    fn load(&self) -> ContextRef {
        // Relaxed both: see `set`.
        ContextRef {
            id: self.id.load(Ordering::Relaxed),
            key: self.key.load(Ordering::Relaxed),
        }
    }
}

/// No context has the number 0.
const NO_CONTEXT: ContextRef = ContextRef { id: 0, key: 0 };

/// What was said of a task when it was spawned.
#[derive(Clone, Default)]
pub(crate) struct Said {
    /// When it was spawned.
    pub(crate) tick: u64,
    /// The task that has spawned it.
    pub(crate) parent: Option<u64>,
    /// The number of its own context, where that is recorded.
    pub(crate) ctx: Option<u64>,
    /// The number of the place in the source.
    pub(crate) loc: Option<u64>,
    /// The size of its future.
    pub(crate) bytes: u64,
    /// The name given at the spawn; in a slot that is used again it keeps its memory.
    pub(crate) name: String,
}

/// The lowest bit of the state word: woken since the last poll began.
const WOKEN: u64 = 1;

impl LiveTask {
    /// For a task that has just been given the slot: nobody else knows it yet.
    ///
    /// Everything of the task before it is overwritten. The name goes into the text that is
    /// there, so a slot that is used again rarely allocates.
    pub(crate) fn begin(&self, is_job: bool, context: Option<ContextRef>, said: &Said, name: &str) {
        // Relaxed all: the id that is set next publishes them.
        self.state.store(0, Ordering::Relaxed);
        self.busy.store(0, Ordering::Relaxed);
        self.own.set(context);
        self.told.set(context);
        // Relaxed, as above.
        self.has_entered.store(false, Ordering::Relaxed);
        self.is_job.store(is_job, Ordering::Relaxed);
        // A dump may be copying what the one before had said; it notices that the id is another.
        let mut kept = self.said.lock();
        let mut text = std::mem::take(&mut kept.name);
        text.clear();
        text.push_str(name);
        *kept = Said {
            name: text,
            ..said.clone()
        };
    }

    /// A copy of what was said at the spawn; whoever takes it checks afterwards that the
    /// slot still has the same id.
    pub(crate) fn said(&self) -> Said {
        self.said.lock().clone()
    }

    /// Whether it is a job: its waits and polls are nobody's.
    pub(crate) fn is_job(&self) -> bool {
        // Relaxed: published with the id.
        self.is_job.load(Ordering::Relaxed)
    }

    /// A poll begins; its number.
    ///
    /// It takes back the bit of who has woken it: a wake from here on asks for the next
    /// poll.
    #[inline]
    pub(crate) fn start_poll(&self, raw: u64) -> Seq {
        // Relaxed: a task is polled by one thread at a time, and the runtime orders its polls.
        let polls = self.state.load(Ordering::Relaxed) >> 1;
        // Relaxed: see the head of the file.
        self.state.store((polls + 1) << 1, Ordering::Relaxed);
        // Relaxed both: read by the same poll.
        self.poll_began.store(raw, Ordering::Relaxed);
        self.has_entered.store(false, Ordering::Relaxed);
        Seq::new(polls)
    }

    /// The poll is over; the context to tell that the task is back in, if it was said to be elsewhere.
    ///
    /// So the trace has one event for the way into another context, and one for the way
    /// back, however many polls there are in between.
    #[inline]
    pub(crate) fn end_poll(&self, raw: u64) -> Option<u64> {
        // Relaxed all: written by the same poll, or by one that the runtime ordered before.
        let took = self.poll_took(raw);
        let busy = self.busy.load(Ordering::Relaxed);
        self.busy
            .store(busy.saturating_add(took), Ordering::Relaxed);
        let own = self.own.load();
        let is_back = own.id != 0
            && self.told.load() != own
            // Relaxed, as above.
            && !self.has_entered.load(Ordering::Relaxed);
        is_back.then(|| {
            self.told.set(Some(own));
            own.id
        })
    }

    /// The poll goes on under `context`; whether that is news.
    ///
    /// Called within a poll, by the poller.
    pub(crate) fn enter(&self, context: ContextRef) -> bool {
        if self.own.load() == context {
            return false;
        }
        // Relaxed: read at the end of the same poll.
        self.has_entered.store(true, Ordering::Relaxed);
        let is_news = self.told.load() != context;
        if is_news {
            self.told.set(Some(context));
        }
        is_news
    }

    /// The contexts that it works under: its own, and the one that it has entered.
    pub(crate) fn contexts(&self) -> [ContextRef; 2] {
        [self.own.load(), self.told.load()]
    }

    /// Somebody wakes it; the number of the poll that this asks for, if it is the first to do so.
    ///
    /// Called by any thread. All but the first wake since a poll began end at a load.
    #[inline]
    pub(crate) fn wake(&self) -> Option<Seq> {
        // Relaxed: a hint; most wakes of a busy task end here.
        if self.state.load(Ordering::Relaxed) & WOKEN != 0 {
            return None;
        }
        // Relaxed: what the wake carries to the task is for the runtime to order.
        let before = self.state.fetch_or(WOKEN, Ordering::Relaxed);
        (before & WOKEN == 0).then(|| Seq::new(before >> 1))
    }

    /// Whether somebody has woken it since its last poll began.
    pub(crate) fn is_woken(&self) -> bool {
        // Relaxed: a statistic.
        self.state.load(Ordering::Relaxed) & WOKEN != 0
    }

    /// When it was spawned, in raw units; set before its id is.
    pub(crate) fn set_began(&self, raw: u64) {
        // Relaxed: the id that is set next publishes it.
        self.began.store(raw, Ordering::Relaxed);
    }

    /// When it was spawned, in raw units.
    pub(crate) fn began(&self) -> u64 {
        // Relaxed: see `set_began`.
        self.began.load(Ordering::Relaxed)
    }

    /// How long the poll that ends at `raw` has taken, for its poller.
    #[inline]
    pub(crate) fn poll_took(&self, raw: u64) -> u64 {
        // Relaxed: written by the same poll.
        raw.saturating_sub(self.poll_began.load(Ordering::Relaxed))
    }

    /// Time in polls that are over, in raw units.
    pub(crate) fn busy(&self) -> u64 {
        // Relaxed: see `end_poll`.
        self.busy.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(id: u64) -> ContextRef {
        ContextRef { id, key: id + 1 }
    }

    fn task(ctx: Option<u64>) -> LiveTask {
        let task = LiveTask::default();
        task.begin(false, ctx.map(context), &Said::default(), "task");
        task
    }

    #[test]
    fn of_many_wakes_the_first_counts_and_asks_for_the_next_poll() {
        let task = task(None);
        assert_eq!(task.wake(), Some(Seq::new(0)));
        assert_eq!(task.wake(), None);
        assert_eq!(task.start_poll(10), Seq::new(0));
        assert_eq!(task.wake(), Some(Seq::new(1)), "within the poll");
        task.end_poll(15);
        assert_eq!(task.wake(), None);
        assert_eq!(task.start_poll(20), Seq::new(1));
        task.end_poll(27);
        assert_eq!(task.busy(), 12);
    }

    #[test]
    fn a_context_that_is_entered_again_and_again_is_told_once() {
        let task = task(Some(7));
        let mut told = Vec::new();
        for poll in [&[9, 7][..], &[9, 7], &[], &[9, 7], &[8, 9, 8, 7], &[], &[]] {
            task.start_poll(0);
            told.extend(poll.iter().copied().filter(|ctx| task.enter(context(*ctx))));
            told.extend(task.end_poll(0));
        }
        assert_eq!(told, [9, 7, 9, 8, 9, 8, 7]);
    }

    #[test]
    fn a_slot_that_is_used_again_begins_anew() {
        let task = task(Some(7));
        task.wake();
        task.start_poll(1);
        task.enter(context(9));
        task.end_poll(5);
        let said = Said {
            tick: 3,
            ..Said::default()
        };
        task.begin(true, None, &said, "next");
        assert_eq!((task.busy(), task.wake()), (0, Some(Seq::new(0))));
        assert_eq!((task.said().tick, &*task.said().name), (3, "next"));
        assert!(task.is_job());
    }
}
