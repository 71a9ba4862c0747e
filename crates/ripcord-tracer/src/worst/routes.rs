//! Which requests are worth a note: [`Notes`], what the threads of tasks see of it all.
//!
//! # The table
//! For each route a hash of its name, and how bad a request has to be to be kept. The one thread that
//! keeps them writes it; everybody else reads. A reader that sees an old bar makes a note in vain.
//!
//! It is filled from its beginning, so a reader stops at the first place that is free. Names whose hashes
//! are the same share a bar, which may cost the better one of them its place: with 64 bits and a key that
//! differs from process to process that is not to be had on purpose.
//!
//! # Costs
//! Of nearly every request: a hash of its name, some 20 ns, and a load for each route before its own. A
//! note copies the name, 128 characters at most, and takes a lock that is held for a push, or, where too
//! many wait, for a look at all of them.
//!
//! # Limitations
//! With many routes of which each request has another, as of paths that nobody has made a template of, all
//! but the first 64 are compared with each other.

use crate::sync::Mutex;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Routes that are told apart; what comes later is one more.
pub(super) const ROUTES_MAX: usize = 64;

/// Requests that wait to be looked at.
const NOTES_MAX: usize = 256;

/// A name is kept up to so many characters.
const NAME_CHARS_MAX: usize = 128;

/// A request that has ended, and may be among the worst.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Note {
    /// The number of its context.
    pub(crate) id: u64,
    /// When it was made, in raw units.
    pub(crate) began: u64,
    /// When its last handle was gone, in raw units.
    pub(crate) ended: u64,
    /// How bad it was; more is worse.
    pub(crate) badness: u64,
    /// The name of its route.
    pub(crate) route: String,
}

/// Part of what all threads share.
pub(crate) struct Notes {
    /// Whether anybody keeps the worst.
    is_on: AtomicBool,
    /// Late by less than this counts as not late; in raw units.
    late_min: AtomicU64,
    /// Not the same in every process, so that nobody can aim at it.
    hasher: RandomState,
    /// Hash, and the bar, of each route; the last is that of all others.
    routes: [Route; ROUTES_MAX + 1],
    /// Those that wait, in the order in which they came.
    queue: Mutex<Vec<Note>>,
    /// Those that found no place in the queue, or were driven out of it.
    missed: AtomicU64,
}

/// What readers see of a route.
#[derive(Default)]
struct Route {
    /// 0: there is none.
    hash: AtomicU64,
    /// A request is noted if it is worse than this.
    bar: AtomicU64,
}

/// Nothing is noted until somebody claims it.
impl Default for Notes {
    fn default() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            late_min: AtomicU64::new(0),
            hasher: RandomState::new(),
            routes: std::array::from_fn(|_| Route::default()),
            queue: Mutex::new(Vec::new()),
            missed: AtomicU64::new(0),
        }
    }
}

/// What was late is worse than anything that was only slow.
const LATE: u64 = 1 << 63;

impl Notes {
    /// Whether an end is worth a look.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: it says nothing of anything else.
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins, with requests that are late from `late_min` raw units on; `false` if somebody has begun
    /// already, and then nothing has changed.
    pub(super) fn claim(&self, late_min: u64) -> bool {
        // Relaxed all: a request that ends meanwhile may be judged by either.
        let is_mine = !self.is_on.swap(true, Ordering::Relaxed);
        if is_mine {
            // Relaxed, as above.
            self.late_min.store(late_min, Ordering::Relaxed);
        }
        is_mine
    }

    /// Ends, and forgets everything.
    pub(super) fn release(&self) {
        // Relaxed: see `claim`.
        self.is_on.store(false, Ordering::Relaxed);
        self.queue.lock().clear();
        for at in 0..=ROUTES_MAX {
            self.set(at, 0, 0);
        }
    }

    /// A request has ended, and an end had reached it at `asked`, if one had.
    ///
    /// # Costs
    /// A hash of the name and a few loads, for one that is not among the worst; else a copy of the name and
    /// a lock.
    pub(crate) fn ended(&self, id: u64, name: &str, began: u64, ended: u64, asked: Option<u64>) {
        let late = asked.map_or(0, |asked| ended.saturating_sub(asked.max(began)));
        // Relaxed: see `claim`.
        let late_min = self.late_min.load(Ordering::Relaxed);
        let badness = if late > 0 && late >= late_min {
            LATE | late
        } else {
            ended.saturating_sub(began) & !LATE
        };
        if badness <= self.bar(name) {
            return;
        }
        let note = Note {
            id,
            began,
            ended,
            badness,
            route: name.chars().take(NAME_CHARS_MAX).collect(),
        };
        let mut queue = self.queue.lock();
        if queue.len() < NOTES_MAX {
            queue.push(note);
            return;
        }
        // The one that is least bad is given up.
        let least = queue.iter_mut().min_by_key(|note| note.badness);
        let given_up = match least {
            Some(least) if least.badness < note.badness => Some(std::mem::replace(least, note)),
            _ => Some(note),
        };
        drop(queue);
        drop(given_up);
        // Relaxed: a statistic (counter).
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Not zero, and the same for one name as long as the process lives.
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name).max(1)
    }

    /// How bad a request of that route has been, at the least, to be kept; 0 where there is still room.
    ///
    /// # Order
    /// Hash and bar are two words, and a reader may see one of them new and the other old. It then makes a
    /// note in vain, or leaves out a request that ended in the very moment in which its route was entered.
    fn bar(&self, name: &str) -> u64 {
        let hash = self.hash(name);
        for route in &self.routes {
            // Relaxed both: see the table.
            match route.hash.load(Ordering::Relaxed) {
                0 => return 0,
                // Relaxed: see the table.
                known if known == hash => return route.bar.load(Ordering::Relaxed),
                _ => {}
            }
        }
        let others = self.routes.last();
        // Relaxed: see the table.
        others.map_or(0, |others| others.bar.load(Ordering::Relaxed))
    }

    /// Who is worse than `bar` is noted from now on, of that route.
    pub(super) fn set_bar(&self, at: usize, name: &str, bar: u64) {
        self.set(at, self.hash(name), bar);
    }

    /// The bar first: whoever finds the hash finds no bar that was another route's.
    fn set(&self, at: usize, hash: u64, bar: u64) {
        if let Some(route) = self.routes.get(at) {
            // Relaxed both: see the table. A reader that sees them in the other order errs once.
            route.bar.store(bar, Ordering::Relaxed);
            route.hash.store(hash, Ordering::Relaxed);
        }
    }

    /// What has come since the last call.
    pub(super) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Notes beyond what can wait.
    pub(super) fn missed(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(notes: &Notes) -> Vec<u64> {
        notes.take().iter().map(|note| note.id).collect()
    }

    #[test]
    fn what_is_late_is_worse_than_what_is_slow_and_the_bar_decides() {
        let notes = Notes::default();
        assert!(notes.claim(10) && !notes.claim(10));
        notes.ended(1, "a", 0, 1_000, None);
        notes.ended(2, "a", 0, 100, Some(91)); // Too little to be late.
        notes.ended(3, "a", 0, 100, Some(90));
        let took = notes.take();
        let badness: Vec<_> = took.iter().map(|note| note.badness).collect();
        assert_eq!(badness, [1_000, 100, LATE + 10]);
        notes.set_bar(0, "a", 1_000);
        notes.ended(4, "a", 0, 1_000, None);
        notes.ended(5, "a", 0, 1_001, None);
        notes.ended(6, "b", 0, 1, None);
        assert_eq!(ids(&notes), [5, 6]);
        // An end that came before the request began does not make it late.
        notes.ended(7, "a", 995, 1_000, Some(0));
        assert_eq!(ids(&notes), []);
        notes.release();
        notes.ended(8, "a", 0, 1, None);
        assert_eq!(ids(&notes), [8]);
    }

    #[test]
    fn beyond_the_routes_that_are_told_apart_there_is_one() {
        let notes = Notes::default();
        for at in 0..ROUTES_MAX {
            notes.set_bar(at, &at.to_string(), u64::MAX);
        }
        notes.ended(1, "one more", 0, 5, None);
        notes.set_bar(ROUTES_MAX, "", 5);
        notes.ended(2, "another", 0, 5, None);
        notes.ended(3, "another", 0, 6, None);
        notes.ended(4, "63", 0, 6, None);
        assert_eq!(ids(&notes), [1, 3]);
    }

    #[test]
    fn the_worst_stay_where_too_many_wait() {
        let notes = Notes::default();
        for id in 1..=300 {
            notes.ended(id, &"long ".repeat(100), 0, id, None);
        }
        let mut took = notes.take();
        took.sort_by_key(|note| note.id);
        assert_eq!((took.len(), took[0].id, took[255].id), (256, 45, 300));
        assert_eq!(took[0].route.len(), NAME_CHARS_MAX);
        assert_eq!(notes.missed(), 44);
    }
}
