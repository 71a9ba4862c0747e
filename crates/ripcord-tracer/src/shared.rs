//! What all threads of a recorder share: [`Shared`], and what is known of each thread.
//!
//! # Who writes what
//! | What | by whom | read by |
//! |---|---|---|
//! | ring, slots of tasks and contexts | every thread, in its own part | dumps, streams, who watches |
//! | tables of places and labels | every thread, once for each entry | dumps, streams |
//! | stacks, ends | who takes a stack, who ends a context | who names them, who watches |
//! | list of threads | a thread, once | dumps, streams, who watches |
//! | the mode | a user | every entry, every spawn and every new context |
//!
//! # Locks
//! Each part has its own, and none is held while another is taken; but for those of a ring file, which are
//! taken last.

use crate::clock::TraceClock;
use crate::contexts::LiveContext;
use crate::live::LiveTask;
use crate::losses::Losses;
use crate::memory::{RingMemory, ThreadPlace};
use crate::metrics::{Meters, Overdue};
use crate::recorder::{METRICS, Mode};
use crate::ring::{Gone, Ring};
use crate::sampling::Sampling;
use crate::slots::{Slot, Slots};
use crate::stacks::Stacks;
use crate::sync::Mutex;
use crate::tables::Tables;
use crate::tasks::number_of;
use crate::trigger::Triggers;
use crate::watch::Ends;
use crate::worst::Notes;
use ripcord_core::tasks::{ContextRef, ThreadKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A way up that is longer is left: what is there cannot be told from damage.
pub(crate) const DEPTH_MAX: usize = 256;

/// Threads that have ended are remembered up to so many, for their names.
const ENDED_MAX: usize = 1_024;

/// It lives as long as anybody needs it: a handle, a tree, a thread that has recorded, a
/// stream, a watch.
pub(crate) struct Shared {
    /// Tells recorders apart; not zero.
    pub(crate) number: u64,
    /// The name of the program in traces.
    pub(crate) program: String,
    /// How traces are compressed: a level of zstd, or not at all.
    pub(crate) zstd: Option<u8>,
    /// The one clock of all threads.
    pub(crate) clock: TraceClock,
    /// What was recorded lately.
    pub(crate) ring: Ring,
    /// Numbers of places and of labels.
    pub(crate) tables: Tables,
    /// Tasks and jobs that live.
    pub(crate) tasks: Slots<LiveTask>,
    /// Contexts that live.
    pub(crate) contexts: Slots<LiveContext>,
    /// Await stacks that wait for their names.
    pub(crate) stacks: Stacks,
    /// Contexts that ended lately, where somebody watches.
    pub(crate) ends: Ends,
    /// What a flight recorder has to be told.
    pub(crate) triggers: Triggers,
    /// What is counted.
    pub(crate) meters: Meters,
    /// Who knows which tasks are late; `None`: the contexts that are recorded.
    pub(crate) overdue: Mutex<Option<Arc<Overdue>>>,
    /// Requests that may be among the worst.
    pub(crate) worst: Notes,
    /// Threads that have recorded something, the oldest first.
    threads: Mutex<Vec<Arc<ThreadInfo>>>,
    /// The number that the next one gets.
    next_thread: AtomicU32,
    /// Which requests are recorded.
    pub(crate) sampling: Sampling,
    /// Events that came while their thread was busy with another one.
    unwritten: AtomicU64,
    /// Tasks and contexts that found no slot, and are in no event.
    unplaced: AtomicU64,
    /// Whether the last handle is gone.
    is_closed: AtomicBool,
}

impl Shared {
    /// The numbers of recorders go on for the life of the process, so that a thread never
    /// takes one for another.
    pub(crate) fn new(
        program: String,
        clock: TraceClock,
        ring: Ring,
        live_max: usize,
        sampling: Sampling,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            // Relaxed: only uniqueness counts (counter).
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            program,
            zstd: None,
            clock,
            tables: Tables::new(ring.memory()),
            ring,
            tasks: Slots::new(live_max),
            contexts: Slots::new(live_max),
            stacks: Stacks::default(),
            ends: Ends::default(),
            triggers: Triggers::default(),
            meters: Meters::default(),
            overdue: Mutex::default(),
            worst: Notes::default(),
            threads: Mutex::new(Vec::new()),
            next_thread: AtomicU32::new(1),
            sampling,
            unwritten: AtomicU64::new(0),
            unplaced: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The file that the recorder's memory is in, if it is in one.
    #[inline]
    pub(crate) fn memory(&self) -> Option<&Arc<RingMemory>> {
        self.ring.memory()
    }

    /// Whether anything at all is recorded now: the first question of every event that
    /// belongs to no task.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.sampling.one_in() != 0
    }

    /// Whether events are written, of whatever is recorded.
    #[inline]
    pub(crate) fn is_writing(&self) -> bool {
        self.sampling.one_in() != METRICS
    }

    /// Whether contexts are counted and not told of.
    #[inline]
    pub(crate) fn is_counting(&self) -> bool {
        self.sampling.one_in() == METRICS
    }

    /// What is recorded now.
    pub(crate) fn mode(&self) -> Mode {
        Mode::from_one_in(self.sampling.one_in())
    }

    /// The slot of a context, if it is one of this recorder's.
    ///
    /// `None` too where the context has gone and somebody else has its slot.
    pub(crate) fn find_context(&self, context: ContextRef) -> Option<&Slot<LiveContext>> {
        self.contexts.find(number_of(context.key)?, context.id)
    }

    /// When a context ended: the earliest end at it or above it that reaches it, in raw units.
    ///
    /// # Costs
    /// Half a dozen loads for each level, up to 256 of them; no lock and no memory.
    ///
    /// # Limitations
    /// `None` too where a context on the way has gone while one looked.
    pub(crate) fn ended_since(&self, context: ContextRef) -> Option<u64> {
        let (mut at, mut earliest) = (context, None);
        for _ in 0..DEPTH_MAX {
            let Some(slot) = self.find_context(at) else {
                break;
            };
            let step = slot.live.step();
            // Another context may have taken the slot meanwhile: then this was read in part of each.
            if slot.id() != at.id {
                break;
            }
            earliest = match (earliest, step.ended) {
                (Some(one), Some(other)) => Some(u64::min(one, other)),
                (one, other) => one.or(other),
            };
            match step.parent {
                Some(parent) if !step.is_shield => at = parent,
                _ => break,
            }
        }
        earliest
    }

    /// Counts an event that could not be written; see [`Losses::unwritten`](crate::Losses).
    #[cold]
    pub(crate) fn note_unwritten(&self) {
        // Relaxed: a statistic (counter).
        self.unwritten.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a task or a context that found no slot; see
    /// [`Losses::unplaced`](crate::Losses).
    #[cold]
    pub(crate) fn note_unplaced(&self) {
        // Relaxed: a statistic (counter).
        self.unplaced.fetch_add(1, Ordering::Relaxed);
    }

    /// Events of threads that could not be written because of the state the thread was in.
    pub(crate) fn unwritten(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Tasks and contexts that found no slot.
    pub(crate) fn unplaced(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.unplaced.load(Ordering::Relaxed)
    }

    /// What is not remembered, by kind.
    pub(crate) fn losses(&self) -> Losses {
        let Gone { evicted, lost, .. } = self.ring.gone();
        Losses {
            evicted,
            lost,
            unwritten: self.unwritten(),
            unplaced: self.unplaced(),
            stacks: self.stacks.refused(),
            overlooked: self.ends.overlooked(),
            outside: self.memory().map_or(0, |memory| memory.lost_blocks()),
        }
    }

    /// Nobody can ask for a dump any more: threads may let go of their part.
    pub(crate) fn close(&self) {
        self.sampling.set_one_in(0);
        if let Some(memory) = self.memory() {
            memory.close();
        }
        // Relaxed: whoever sees it later lets go later.
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether a thread may let go of its part.
    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: see `close`.
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Enters the current thread into the list.
    ///
    /// Where more than 1,024 threads have ended the list is cleared of them: their events
    /// name a thread without a name then.
    ///
    /// # Costs
    /// A lock and an allocation, once for each thread.
    pub(crate) fn enter_thread(&self) -> Arc<ThreadInfo> {
        let current = std::thread::current();
        let name = current.name().unwrap_or_default();
        // Relaxed: only uniqueness counts (counter).
        let number = self.next_thread.fetch_add(1, Ordering::Relaxed);
        let info = Arc::new(ThreadInfo {
            number,
            name: name.to_owned(),
            place: self
                .memory()
                .and_then(|memory| memory.enter_thread(number, name)),
            kind: AtomicU8::new(UNLISTED),
            is_live: AtomicBool::new(true),
            lost: AtomicU64::new(0),
            polling: AtomicU64::new(0),
            since: AtomicU64::new(0),
        });
        let mut threads = self.threads.lock();
        let ended = threads.iter().filter(|thread| !thread.is_live()).count();
        if ended > ENDED_MAX {
            threads.retain(|thread| thread.is_live());
        }
        threads.push(Arc::clone(&info));
        info
    }

    /// All threads that are remembered, the oldest first.
    ///
    /// # Costs
    /// A lock, and a reference count for each.
    pub(crate) fn threads(&self) -> Vec<Arc<ThreadInfo>> {
        self.threads.lock().clone()
    }
}

/// As `kind` of a [`ThreadInfo`]: it was seen with a poll or a park.
const WORKER: u8 = 0;
/// It has run a job.
const BLOCKING: u8 = 1;
/// It has shown neither yet.
const UNLISTED: u8 = 2;

/// What is known of a thread.
///
/// Its own thread writes it, and others read it at any time.
pub(crate) struct ThreadInfo {
    /// Unique in a recorder, from 1.
    pub(crate) number: u32,
    /// What the program calls it; empty if it has no name.
    pub(crate) name: String,
    /// Where a file says so, too.
    place: Option<ThreadPlace>,
    /// What it is for, as far as that has shown.
    kind: AtomicU8,
    /// Whether its part of the recorder is still there.
    is_live: AtomicBool,
    /// Events that the ring had no place for.
    lost: AtomicU64,
    /// The key of the task that it polls, and since when; 0: none.
    polling: AtomicU64,
    since: AtomicU64,
}

impl ThreadInfo {
    /// The thread begins a poll, or with 0 as key has ended one.
    #[inline]
    pub(crate) fn note_poll(&self, key: u64, raw: u64) {
        // Relaxed both: who reads them between the two takes the one poll for as old as the other, and
        // finds another one at the next look.
        self.since.store(raw, Ordering::Relaxed);
        self.polling.store(key, Ordering::Relaxed);
    }

    /// The key of the task that it polls, and since when.
    ///
    /// `None` between polls. A poll that another one interrupts, as a `block_on` within a
    /// task, is not seen again when the inner one is over.
    pub(crate) fn poll(&self) -> Option<(u64, u64)> {
        // Relaxed both: see `note_poll`.
        let key = self.polling.load(Ordering::Relaxed);
        (key != 0).then(|| (key, self.since.load(Ordering::Relaxed)))
    }

    /// As a trace says it.
    pub(crate) fn kind(&self) -> ripcord_trace_format::ThreadKind {
        // Relaxed: it says nothing of anything else.
        match self.kind.load(Ordering::Relaxed) {
            WORKER => ripcord_trace_format::ThreadKind::Worker,
            BLOCKING => ripcord_trace_format::ThreadKind::Blocking,
            _ => ripcord_trace_format::ThreadKind::Unlisted,
        }
    }

    /// Whether it lives and has shown to be a worker.
    pub(crate) fn is_worker(&self) -> bool {
        // Relaxed: see `kind`.
        self.is_live() && self.kind.load(Ordering::Relaxed) == WORKER
    }

    /// It is asked for with every poll, so it only stores what is news.
    pub(crate) fn set_kind(&self, kind: ThreadKind) {
        let kind = match kind {
            ThreadKind::Worker => WORKER,
            ThreadKind::Blocking => BLOCKING,
            _ => UNLISTED,
        };
        // Relaxed: see `kind`.
        if self.kind.load(Ordering::Relaxed) != kind {
            // Relaxed: as above.
            self.kind.store(kind, Ordering::Relaxed);
            if let Some(place) = &self.place {
                place.set_kind(self.kind());
            }
        }
    }

    /// Counts an event that found no place.
    pub(crate) fn note_lost(&self) {
        // Relaxed: a statistic (counter).
        self.lost.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = &self.place {
            place.count_lost();
        }
    }

    /// Events of the thread that the ring had no place for.
    pub(crate) fn lost(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.lost.load(Ordering::Relaxed)
    }

    /// The thread has ended, or has let go of its part.
    pub(crate) fn leave(&self) {
        // Relaxed: it says nothing of anything else.
        self.is_live.store(false, Ordering::Relaxed);
    }

    /// Whether it may still record.
    pub(crate) fn is_live(&self) -> bool {
        // Relaxed: see `leave`.
        self.is_live.load(Ordering::Relaxed)
    }
}
