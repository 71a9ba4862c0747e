//! Who is connected: [`Roster`].
//!
//! A connection that nothing happens on should cost next to nothing, and there may be ten thousand of
//! them. So their tasks wait for nothing: each leaves its waker here, and is woken when its client
//! hangs up, or, with all others, when a stage of the server's end begins. What has happened is then
//! read from the context, which is done before anybody is woken.
//!
//! *Invariants*: (1) a row is a connection's from [`enter`](Roster::enter) to
//! [`leave`](Roster::leave), which the drop of its socket calls. (2) A row is used again only with
//! another generation, so that an event that was fetched before the connection left reaches nobody.
//! (3) A row holds a waker only while the task of its connection runs: an ended task would be kept in
//! memory by it.
//!
//! *Lock order*: the table's lock is a leaf. Contexts are cancelled, and wakers woken and dropped,
//! after it was released.
//!
//! *Costs*: 32 bytes a row, in chunks, so that nothing is moved when the table grows; it keeps the size
//! of the most connections that there were at once.

use crate::sync::Mutex;
use ripcord_core::{Canceller, Cause};
use std::fmt;
use std::task::Waker;

/// The connections of a server.
#[derive(Default)]
pub(crate) struct Roster {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    chunks: Vec<Box<[Row; CHUNK]>>,
    /// Rows that were given out at least once.
    used: u32,
    free: Vec<u32>,
}

#[derive(Default)]
struct Row {
    /// Goes up with each use of the row. It wraps after 2^32 uses; an event would have to rest for
    /// as long between being fetched and being looked up, which is a few instructions.
    generation: u32,
    /// Weak, as cancellers are: the table keeps no connection alive.
    canceller: Option<Canceller>,
    waker: Option<Waker>,
}

/// Rows that are allocated at once: 8 KiB.
const CHUNK: usize = 256;

/// A row and its generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    row: u32,
    generation: u32,
}

impl Key {
    /// What an event carries to find the row.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.row)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self {
            row: half(bits),
            generation: half(bits >> 32),
        }
    }
}

impl Table {
    fn at(&mut self, row: u32) -> Option<&mut Row> {
        let row = usize::try_from(row).ok()?;
        self.chunks.get_mut(row / CHUNK)?.get_mut(row % CHUNK)
    }

    /// The row of a key, if it is still the same connection's.
    fn row(&mut self, key: Key) -> Option<&mut Row> {
        self.at(key.row)
            .filter(|row| row.generation == key.generation)
    }

    /// A row that is nobody's.
    fn vacant(&mut self) -> Option<u32> {
        if let Some(free) = self.free.pop() {
            return Some(free);
        }
        let row = self.used;
        self.used = row.checked_add(1)?;
        if self.at(row).is_none() {
            self.chunks
                .push(Box::new(std::array::from_fn(|_| Row::default())));
        }
        Some(row)
    }
}

impl Roster {
    /// Enters a connection; `None` if there are 2^32 of them.
    pub(crate) fn enter(&self, canceller: Canceller) -> Option<Key> {
        let mut table = self.table.lock();
        let row = table.vacant()?;
        let entry = table.at(row)?;
        entry.canceller = Some(canceller);
        Some(Key {
            row,
            generation: entry.generation,
        })
    }

    /// Ends the context of a connection and wakes its task; the first call for a key does it.
    pub(crate) fn hang_up(&self, key: Key, cause: Cause) {
        let taken = {
            let mut table = self.table.lock();
            table
                .row(key)
                .map(|row| (row.canceller.take(), row.waker.take()))
        };
        let Some((canceller, waker)) = taken else {
            return;
        };
        if let Some(canceller) = canceller {
            canceller.cancel(cause);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes every task: a stage of the server's end has begun.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut table = self.table.lock();
            let rows = table.chunks.iter_mut().flat_map(|chunk| chunk.iter_mut());
            rows.filter_map(|row| row.waker.take()).collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Leaves the waker of a connection's task. Whoever calls it looks at the context afterwards: what
    /// happened before is not told again.
    pub(crate) fn register(&self, key: Key, waker: &Waker) {
        let is_there = |row: &mut Row| row.waker.as_ref().is_some_and(|old| old.will_wake(waker));
        if self.table.lock().row(key).is_none_or(is_there) {
            return;
        }
        // Cloned and dropped outside of the lock: a waker is not ours.
        let new = waker.clone();
        let old = {
            let mut table = self.table.lock();
            table.row(key).map(|row| row.waker.replace(new))
        };
        drop(old);
    }

    /// Takes the waker out: the task has ended, maybe before its connection.
    pub(crate) fn stand_up(&self, key: Key) {
        let waker = {
            let mut table = self.table.lock();
            table.row(key).and_then(|row| row.waker.take())
        };
        drop(waker);
    }

    /// Gives the row back.
    pub(crate) fn leave(&self, key: Key) {
        let mut table = self.table.lock();
        let Some(row) = table.row(key) else {
            return;
        };
        row.generation = row.generation.wrapping_add(1);
        let row = (row.canceller.take(), row.waker.take());
        table.free.push(key.row);
        drop(table);
        drop(row);
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_core::{CancelGuard, Ctx, Kind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // Relaxed: read by the same thread (counter).
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            // Relaxed: written by the same thread (counter).
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_key_of_before_reaches_nobody() {
        let roster = Roster::default();
        let (first, guard) = Ctx::background().child();
        let old = roster.enter(guard.handle()).unwrap();
        roster.leave(old);
        roster.leave(old);
        let (second, other) = Ctx::background().child();
        let again = roster.enter(other.handle()).unwrap();
        assert_eq!(again.row, old.row, "the row is used again");
        roster.hang_up(old, Kind::PeerGone.into());
        roster.leave(old);
        assert!(!first.is_done() && !second.is_done());
        roster.hang_up(Key::from_bits(again.to_bits()), Kind::PeerGone.into());
        assert!(!first.is_done() && second.is_done());
    }

    #[test]
    fn rows_beyond_a_chunk_are_told_apart() {
        let roster = Roster::default();
        let guards: Vec<_> = (0..=2 * CHUNK).map(|_| Ctx::background().child()).collect();
        let enter = |(_, guard): &(Ctx, CancelGuard)| roster.enter(guard.handle()).unwrap();
        let keys: Vec<Key> = guards.iter().map(enter).collect();
        for at in [0, CHUNK - 1, CHUNK, 2 * CHUNK] {
            roster.hang_up(keys[at], Kind::PeerGone.into());
        }
        let done = guards
            .iter()
            .enumerate()
            .filter(|(_, (ctx, _))| ctx.is_done());
        let done: Vec<usize> = done.map(|(at, _)| at).collect();
        assert_eq!(done, [0, CHUNK - 1, CHUNK, 2 * CHUNK]);
    }

    #[test]
    fn the_context_is_done_before_the_task_is_woken_and_once() {
        let roster = Roster::default();
        let (ctx, guard) = Ctx::background().child();
        let key = roster.enter(guard.handle()).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        roster.register(key, &waker);
        roster.register(key, &waker);
        roster.hang_up(key, Kind::PeerGone.into());
        assert!(ctx.is_done());
        assert_eq!(count.get(), 1);
        roster.hang_up(key, Kind::Shutdown.into());
        roster.wake_all();
        assert_eq!(count.get(), 1, "nobody is registered any more");
        roster.register(key, &waker);
        roster.wake_all();
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn an_ended_task_is_kept_by_nobody() {
        let roster = Roster::default();
        let (_ctx, guard) = Ctx::background().child();
        let key = roster.enter(guard.handle()).unwrap();
        let count = Arc::new(Count::default());
        roster.register(key, &Waker::from(Arc::clone(&count)));
        assert_eq!(Arc::strong_count(&count), 2);
        roster.stand_up(key);
        assert_eq!(Arc::strong_count(&count), 1);
        roster.register(key, &Waker::from(Arc::clone(&count)));
        roster.leave(key);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
