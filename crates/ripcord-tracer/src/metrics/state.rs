//! [`TaskState`]: what a task does now, and since when; kept in its slot.
//!
//! # Which wake a poll was for
//! Who wakes a task first writes down when and by whom, with the number of the poll that this asks for. A
//! waker that is held up between the two may write after that poll has begun: then the number is an older
//! one, and the next poll takes no delay from it instead of a wrong one.
//!
//! # What a task is said to wait for
//! The label of its last poll's end, which ripcord's own leaves and the regions of a program set. Where there
//! is none it is who woke the task the last time: a connection that the driver woke waits for the driver
//! again, most of the time. That is a guess, and is shown in brackets.
//!
//! # Costs
//! Twenty bytes in the slot of each task, in lines that its poller writes to anyway. A wake is a load and a
//! store, the beginning of a poll a load and three stores, its end two stores.
//!
//! # Limitations
//! Its words are read one after the other: a look may find the state of one moment with the time of another.

use ripcord_core::tasks::{PollEnd, WokenBy};
use ripcord_trace_format::Seq;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a task does; numbers from [`LABELS`] on are waits with a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// A task that was not polled yet, or a job that has no thread yet.
    New,
    /// In a poll, or on a blocking thread.
    Running,
    /// It asked to be polled again, or had used up its turn.
    Ready,
    /// It waits for what has no label.
    Waiting,
    /// Nobody can wake it.
    Lost,
    /// It waits for what has the label of this number.
    WaitingFor(u32),
}

/// As a word, [`Phase::New`]; and so the others.
const NEW: u32 = 0;
const RUNNING: u32 = 1;
const READY: u32 = 2;
const WAITING: u32 = 3;
const LOST: u32 = 4;
/// The word of the label 0.
const LABELS: u32 = 8;

/// Who woke it last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Waker {
    /// It was never woken, or only spawned.
    Nobody,
    /// Its own code.
    Itself,
    /// Another task, or its end.
    Task,
    /// The end or the drain of a context.
    Cancel,
    /// I/O or a timer of the runtime.
    Driver,
    /// A worker, outside of every task.
    Runtime,
    /// A blocking thread.
    Blocking,
    /// Any other thread.
    Thread,
    /// It was spawned: that asks for its first poll.
    Spawn,
}

impl Waker {
    /// In the order of their numbers.
    const ALL: [Self; 9] = [
        Self::Nobody,
        Self::Itself,
        Self::Task,
        Self::Cancel,
        Self::Driver,
        Self::Runtime,
        Self::Blocking,
        Self::Thread,
        Self::Spawn,
    ];

    /// Coarser than the core tells it: enough to say what a wait without a label is for.
    pub(super) fn of(by: WokenBy) -> Self {
        match by {
            WokenBy::Itself => Self::Itself,
            WokenBy::Task(_) | WokenBy::Completion(_) => Self::Task,
            WokenBy::Cancel(_) => Self::Cancel,
            WokenBy::Driver(_) => Self::Driver,
            WokenBy::Runtime(_) => Self::Runtime,
            WokenBy::Blocking => Self::Blocking,
            _ => Self::Thread,
        }
    }
}

/// Of the word of a wake: who, in the lowest bits; then the number of the poll; then the time.
const BY_BITS: u32 = 4;
const SEQ_BITS: u32 = 7;

/// Times here are in units of so many raw ones, which is enough for years.
const SHIFT: u32 = 6;

/// What a task does now: see the head of the file.
///
/// # Who writes what
/// | Word | by |
/// |---|---|
/// | `phase`, `since` | who polls the task, or runs the job |
/// | `woken` | who wakes it first after a poll began, and the poller when the next one begins |
///
/// The two that write `woken` are kept apart by the bit of who has woken the task (`live.rs`): a waker that
/// has set it is alone until the poll that it asks for begins.
#[derive(Default)]
pub(crate) struct TaskState {
    /// What it does: [`NEW`] to [`LOST`], or a label.
    phase: AtomicU32,
    /// Since when it is in this phase, in raw units.
    since: AtomicU64,
    /// The last wake: see [`BY_BITS`].
    woken: AtomicU64,
}

/// Three things in one word, so that a poll sees all of a wake or nothing.
fn wake_word(raw: u64, seq: Seq, by: Waker) -> u64 {
    let place = u64::from(seq.number()) << BY_BITS;
    (raw >> SHIFT) << (BY_BITS + SEQ_BITS) | place | by as u64
}

impl TaskState {
    /// For a task or job that has just been given the slot: nobody else knows it yet.
    ///
    /// Where polls are not counted nobody will say what becomes of it: then that is not known.
    pub(crate) fn begin(&self, raw: u64, is_told: bool) {
        // Relaxed all: the id that is set next publishes them.
        let phase = if is_told { NEW } else { WAITING };
        self.phase.store(phase, Ordering::Relaxed);
        self.since.store(raw, Ordering::Relaxed);
        let spawned = wake_word(raw, Seq::new(0), Waker::Spawn);
        self.woken.store(spawned, Ordering::Relaxed);
    }

    /// The first wake since the last poll began, which asks for the poll `seq`.
    #[inline]
    pub(super) fn wake(&self, raw: u64, seq: Seq, by: Waker) {
        // Relaxed: a task that was never polled waits since its spawn.
        let before = self.woken.load(Ordering::Relaxed);
        if by_of(before) != Waker::Spawn {
            // Relaxed: told before the runtime hears of the wake, so that its poll finds it; see above.
            self.woken.store(wake_word(raw, seq, by), Ordering::Relaxed);
        }
    }

    /// A poll begins; how long ago it was asked for, in raw units, where that is known.
    #[inline]
    pub(super) fn start(&self, raw: u64, seq: Seq) -> Option<u64> {
        // Relaxed all: written by the poller, or as in `wake`.
        let word = self.woken.load(Ordering::Relaxed);
        self.phase.store(RUNNING, Ordering::Relaxed);
        self.since.store(raw, Ordering::Relaxed);
        let at = word >> (BY_BITS + SEQ_BITS);
        let is_mine = (word >> BY_BITS) & 0x7f == u64::from(seq.number());
        // Used up; who it was stays, for what the task waits for next without a label.
        let by = match by_of(word) {
            Waker::Spawn => Waker::Nobody,
            by => by,
        };
        // Relaxed: see above.
        self.woken.store(by as u64, Ordering::Relaxed);
        (at != 0 && is_mine).then(|| (raw >> SHIFT).saturating_sub(at) << SHIFT)
    }

    /// The poll is over.
    #[inline]
    pub(super) fn end(&self, raw: u64, end: PollEnd, label: Option<u64>) {
        let phase = match end {
            PollEnd::Yielded | PollEnd::Preempted => READY,
            PollEnd::Lost => LOST,
            _ => match label.and_then(|label| u32::try_from(label).ok()) {
                Some(label) => label.saturating_add(LABELS),
                None => WAITING,
            },
        };
        // Relaxed both: see the head of the file.
        self.phase.store(phase, Ordering::Relaxed);
        self.since.store(raw, Ordering::Relaxed);
    }

    /// Nobody can wake it any more: told by whoever gave up the last waker, while the task waits.
    pub(super) fn lose(&self) {
        // Relaxed: see the head of the file.
        self.phase.store(LOST, Ordering::Relaxed);
    }

    /// A job has got its thread; how long it has waited for that, in raw units.
    pub(super) fn start_job(&self, raw: u64) -> u64 {
        // Relaxed all: see the head of the file.
        let since = self.since.load(Ordering::Relaxed);
        self.phase.store(RUNNING, Ordering::Relaxed);
        self.since.store(raw, Ordering::Relaxed);
        raw.saturating_sub(since)
    }

    /// What it does, since when in raw units, and who woke it last.
    pub(super) fn load(&self) -> (Phase, u64, Waker) {
        // Relaxed all: see the head of the file.
        let phase = match self.phase.load(Ordering::Relaxed) {
            NEW => Phase::New,
            RUNNING => Phase::Running,
            READY => Phase::Ready,
            LOST => Phase::Lost,
            label if label >= LABELS => Phase::WaitingFor(label - LABELS),
            _ => Phase::Waiting,
        };
        // Relaxed both, as above.
        let by = by_of(self.woken.load(Ordering::Relaxed));
        (phase, self.since.load(Ordering::Relaxed), by)
    }
}

/// Who woke, of the word of a wake.
fn by_of(word: u64) -> Waker {
    let at = usize::try_from(word & 0xf).unwrap_or_default();
    Waker::ALL.get(at).copied().unwrap_or(Waker::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> TaskState {
        let state = TaskState::default();
        state.begin(6_400, true);
        state
    }

    #[test]
    fn a_delay_is_from_the_wake_or_the_spawn_to_the_poll() {
        let state = begun();
        state.wake(12_800, Seq::new(0), Waker::Task);
        assert_eq!(
            state.start(19_200, Seq::new(0)),
            Some(12_800),
            "from the spawn"
        );
        state.end(20_000, PollEnd::Pending, None);
        assert_eq!(state.load(), (Phase::Waiting, 20_000, Waker::Nobody));
        state.wake(25_600, Seq::new(1), Waker::Driver);
        assert_eq!(state.start(25_664, Seq::new(1)), Some(64));
        assert_eq!(
            state.start(40_000, Seq::new(2)),
            None,
            "nobody has woken it"
        );
    }

    /// The waker was held up between the bit and the word.
    #[test]
    fn a_wake_that_is_written_late_is_nobodys_delay() {
        let state = begun();
        assert!(state.start(7_000, Seq::new(0)).is_some());
        state.end(7_100, PollEnd::Pending, Some(3));
        assert_eq!(
            state.start(12_800, Seq::new(1)),
            None,
            "it has not written yet"
        );
        state.wake(12_000, Seq::new(1), Waker::Task);
        state.end(12_900, PollEnd::Pending, None);
        assert_eq!(state.start(9_000_000, Seq::new(2)), None);
    }

    #[test]
    fn a_wait_has_its_label_or_who_woke_last() {
        let state = begun();
        for (end, label, expect) in [
            (PollEnd::Pending, Some(7), Phase::WaitingFor(7)),
            (PollEnd::Pending, None, Phase::Waiting),
            (PollEnd::Pending, Some(u64::MAX), Phase::Waiting),
            (PollEnd::Yielded, Some(7), Phase::Ready),
            (PollEnd::Preempted, None, Phase::Ready),
            (PollEnd::Lost, None, Phase::Lost),
        ] {
            state.wake(1, Seq::new(1), Waker::Cancel);
            let _ = state.start(1, Seq::new(1));
            state.end(2, end, label);
            assert_eq!(state.load().0, expect, "{end:?} {label:?}");
        }
        assert_eq!(state.load().2, Waker::Cancel);
    }
}
