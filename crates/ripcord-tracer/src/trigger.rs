//! What makes a flight recorder write a dump, as events tell it: [`Reason`], and the cells that they set.
//!
//! # Who waits for whom
//! Nobody. Whoever records something that is a reason looks at one limit, which nobody writes while a
//! flight goes on. Only where the limit is exceeded does he touch a cell: three atomic operations, no
//! lock, no memory. The thread of the flight takes what stands in the cells when it next looks.
//!
//! # Invariants
//! 1. A trigger that was fired is counted in its cell until it is taken, and taken once.
//! 2. Where no flight goes on, every limit is [`OFF`]: nothing is fired, so nothing waits for the next
//!    flight but what was fired while the last one ended.
//!
//! # Limitations
//! A cell has room for one subject. Of many triggers of one kind between two looks the count is exact,
//! and time and subject are those of one of the first.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// No value is as large as this limit.
pub(crate) const OFF: u64 = u64::MAX;

/// Why a dump is written.
///
/// # Examples
/// ```
/// use ripcord_tracer::Reason;
///
/// assert_eq!(Reason::LongPoll.to_string(), "long-poll");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// A deadline has ended a context.
    Deadline,
    /// A task or job has ended late after its context.
    CancelLatency,
    /// A task or job is still there long after its context has ended.
    Ghost,
    /// A thread has been in one poll for long, and still is.
    Stall,
    /// A poll that is over has taken long.
    LongPoll,
    /// A task or job has panicked.
    Panic,
    /// A task waits, and nobody can wake it.
    LostWaker,
    /// The process was sent `SIGUSR1`.
    Signal,
    /// The program has asked for it.
    Call,
}

impl Reason {
    /// All of them, in the order in which they are looked at.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Reason;
    ///
    /// assert!(Reason::ALL.contains(&Reason::Panic));
    /// ```
    pub const ALL: [Self; 9] = [
        Self::Deadline,
        Self::CancelLatency,
        Self::Ghost,
        Self::Stall,
        Self::LongPoll,
        Self::Panic,
        Self::LostWaker,
        Self::Signal,
        Self::Call,
    ];

    /// As names of files say it: lower-case letters and hyphens.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Reason;
    ///
    /// assert_eq!(Reason::CancelLatency.name(), "cancel-latency");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::CancelLatency => "cancel-latency",
            Self::Ghost => "ghost",
            Self::Stall => "stall",
            Self::LongPoll => "long-poll",
            Self::Panic => "panic",
            Self::LostWaker => "lost-waker",
            Self::Signal => "signal",
            Self::Call => "call",
        }
    }

    /// Its place in tables.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What has been fired since somebody looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fired {
    /// How often.
    pub(crate) times: u64,
    /// When at first, in raw units of the recorder's clock.
    pub(crate) raw: u64,
    /// The number of the task or context; 0: of none.
    pub(crate) subject: u64,
}

/// The cell of one reason.
#[derive(Default)]
struct Cell {
    times: AtomicU64,
    /// 0: nothing has been fired.
    raw: AtomicU64,
    subject: AtomicU64,
}

/// Limits and cells of all reasons, one each.
pub(crate) struct Triggers {
    /// What is as large as this is a reason; [`OFF`]: nothing is.
    limits: [AtomicU64; Reason::ALL.len()],
    cells: [Cell; Reason::ALL.len()],
    /// Ends of contexts so far that somebody wanted: with none since the last look there are no new ghosts.
    ends: AtomicU64,
    /// Whether a flight goes on.
    is_taken: AtomicBool,
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            limits: std::array::from_fn(|_| AtomicU64::new(OFF)),
            cells: std::array::from_fn(|_| Cell::default()),
            ends: AtomicU64::new(0),
            is_taken: AtomicBool::new(false),
        }
    }
}

impl Triggers {
    /// Claims all of it for one flight; false while another one has it.
    ///
    /// What was fired while the last flight ended is forgotten.
    pub(crate) fn claim(&self) -> bool {
        // Acquire: pairs with the Release in `release`, so that the limits of the last flight are gone.
        let is_mine = !self.is_taken.swap(true, Ordering::Acquire);
        if is_mine {
            for reason in Reason::ALL {
                self.take(reason);
            }
        }
        is_mine
    }

    /// The flight is over: nothing is a reason any more.
    pub(crate) fn release(&self) {
        for reason in Reason::ALL {
            self.set_limit(reason, OFF);
        }
        // Release: the limits are off; pairs with the Acquire in `claim`.
        self.is_taken.store(false, Ordering::Release);
    }

    /// From which value on something is a reason, in raw units of the clock; 0 for all that happen.
    pub(crate) fn set_limit(&self, reason: Reason, limit: u64) {
        if let Some(cell) = self.limits.get(reason.index()) {
            // Relaxed: it is looked at soon, and orders nothing.
            cell.store(limit, Ordering::Relaxed);
        }
    }

    /// The limit of a reason; [`OFF`] if it is none.
    ///
    /// # Costs
    /// A load of a word that stays in every processor's cache.
    #[inline]
    pub(crate) fn limit(&self, reason: Reason) -> u64 {
        let cell = self.limits.get(reason.index());
        // Relaxed: see `set_limit`.
        cell.map_or(OFF, |cell| cell.load(Ordering::Relaxed))
    }

    /// Something without a measure has happened: a reason if its kind is switched on.
    #[inline]
    pub(crate) fn note(&self, reason: Reason, raw: u64, subject: u64) {
        self.note_value(reason, 0, raw, subject);
    }

    /// Something has happened that is a reason if it is as large as the limit.
    #[inline]
    pub(crate) fn note_value(&self, reason: Reason, value: u64, raw: u64, subject: u64) {
        let limit = self.limit(reason);
        if limit != OFF && value >= limit {
            self.fire(reason, raw, subject);
        }
    }

    #[cold]
    fn fire(&self, reason: Reason, raw: u64, subject: u64) {
        let Some(cell) = self.cells.get(reason.index()) else {
            return;
        };
        let first = |word: &AtomicU64, value| {
            // Relaxed: the count, which comes last, publishes it.
            let _ = word.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
        };
        first(&cell.subject, subject);
        first(&cell.raw, raw.max(1));
        // Release: what it was and when; pairs with the Acquire in `take`.
        cell.times.fetch_add(1, Ordering::Release);
    }

    /// Takes what has been fired (invariant 1).
    pub(crate) fn take(&self, reason: Reason) -> Option<Fired> {
        let cell = self.cells.get(reason.index())?;
        // Relaxed: a hint; what comes now is found at the next look.
        if cell.times.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Acquire: pairs with the Release in `fire`.
        let times = cell.times.swap(0, Ordering::Acquire);
        Some(Fired {
            times,
            // Relaxed both: published by the count.
            raw: cell.raw.swap(0, Ordering::Relaxed),
            subject: cell.subject.swap(0, Ordering::Relaxed),
        })
    }

    /// A context has ended, and not by its guard going away.
    #[inline]
    pub(crate) fn note_end(&self) {
        if self.limit(Reason::Ghost) != OFF {
            // Relaxed: a statistic (counter).
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many have, while ghosts were looked for.
    pub(crate) fn ends(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.ends.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_indices_are_places_in_the_list() {
        for (reason, place) in Reason::ALL.into_iter().zip(0..) {
            assert_eq!(reason.index(), place, "{reason}");
            let same = Reason::ALL.iter().filter(|one| one.name() == reason.name());
            assert_eq!(same.count(), 1, "{reason}");
        }
    }

    #[test]
    fn what_is_off_or_below_its_limit_is_no_reason() {
        let triggers = Triggers::default();
        triggers.note_value(Reason::LongPoll, u64::MAX, 7, 1);
        assert_eq!(triggers.take(Reason::LongPoll), None, "it is off");
        triggers.set_limit(Reason::LongPoll, 100);
        for (value, expect) in [(99, None), (100, Some(1)), (u64::MAX, Some(1))] {
            triggers.note_value(Reason::LongPoll, value, 7, 1);
            let times = triggers.take(Reason::LongPoll).map(|fired| fired.times);
            assert_eq!(times, expect, "{value}");
        }
    }

    #[test]
    fn all_are_counted_and_the_first_is_remembered() {
        let triggers = Triggers::default();
        triggers.set_limit(Reason::Panic, 0);
        for (raw, subject) in [(5, 50), (6, 60), (7, 70)] {
            triggers.note(Reason::Panic, raw, subject);
        }
        let expect = Fired {
            times: 3,
            raw: 5,
            subject: 50,
        };
        assert_eq!(triggers.take(Reason::Panic), Some(expect));
        assert_eq!(triggers.take(Reason::Panic), None);
    }

    #[test]
    fn one_flight_has_them_at_a_time() {
        let triggers = Triggers::default();
        assert!(triggers.claim());
        triggers.set_limit(Reason::Panic, 0);
        assert!(!triggers.claim());
        triggers.note(Reason::Panic, 1, 1);
        triggers.release();
        triggers.note(Reason::Panic, 2, 2);
        assert!(triggers.claim());
        assert_eq!(triggers.take(Reason::Panic), None, "it was the last one's");
    }
}
