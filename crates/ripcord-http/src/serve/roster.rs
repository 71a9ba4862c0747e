//! Who is connected: [`Roster`].
//!
//! A connection that nothing happens on should cost next to nothing, and there may be ten thousand of
//! them. So their tasks wait for nothing: each leaves its waker here, and is woken when its client
//! hangs up, or, with all others, when a stage of the server's end begins. What has happened is then
//! read from the context, which is done before anybody is woken.
//!
//! *Invariants*: (1) a row belongs to a [`Place`] from its making to its drop. (2) A row is used
//! again only with another generation, so that an event that was fetched before the place was given
//! back reaches nobody. (3) A row holds a waker only while the task of its connection runs: an ended
//! task would be kept in memory by it.
//!
//! *Lock order*: the table's lock is a leaf. Contexts are cancelled, and wakers woken and dropped,
//! after it was released.
//!
//! *Costs*: 32 bytes a row; the table keeps the size of the most connections that there were at once.

use crate::sync::Mutex;
use ripcord_core::{Canceller, Cause};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

/// The connections of a server.
#[derive(Default)]
pub(crate) struct Roster {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
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

impl Table {
    /// The row of a key, if it is still the same connection's.
    fn row(&mut self, key: u64) -> Option<&mut Row> {
        let row = self.rows.get_mut(index(key)?)?;
        (u64::from(row.generation) == key >> 32).then_some(row)
    }
}

/// A key has the row below and its generation above.
fn index(key: u64) -> Option<usize> {
    usize::try_from(key & u64::from(u32::MAX)).ok()
}

impl Roster {
    /// Enters a connection; `None` if there are 2^32 of them.
    pub(crate) fn enter(self: &Arc<Self>, canceller: Canceller) -> Option<Place> {
        let mut table = self.table.lock();
        let at = if let Some(free) = table.free.pop() {
            free
        } else {
            let next = u32::try_from(table.rows.len()).ok()?;
            table.rows.push(Row::default());
            next
        };
        let row = table.rows.get_mut(usize::try_from(at).ok()?)?;
        row.canceller = Some(canceller);
        let key = (u64::from(row.generation) << 32) | u64::from(at);
        drop(table);
        Some(Place {
            roster: Arc::clone(self),
            key,
        })
    }

    /// Ends the context of a connection and wakes its task; the first call for a key does it.
    pub(crate) fn hang_up(&self, key: u64, cause: Cause) {
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
            table
                .rows
                .iter_mut()
                .filter_map(|row| row.waker.take())
                .collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

/// A connection's row, given back when dropped.
pub(crate) struct Place {
    roster: Arc<Roster>,
    key: u64,
}

impl Place {
    /// What an event carries to find the row.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// For the task of the connection, which may end before the connection does.
    pub(crate) fn seat(&self) -> Seat {
        Seat {
            roster: Arc::clone(&self.roster),
            key: self.key,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.roster.table.lock();
        let Some(row) = table.row(self.key) else {
            return;
        };
        row.generation = row.generation.wrapping_add(1);
        let row = (row.canceller.take(), row.waker.take());
        if let Ok(at) = u32::try_from(self.key & u64::from(u32::MAX)) {
            table.free.push(at);
        }
        drop(table);
        drop(row);
    }
}

/// The task of a connection in its row; leaves it when dropped.
pub(crate) struct Seat {
    roster: Arc<Roster>,
    key: u64,
}

impl Seat {
    /// Leaves the waker. Whoever calls it looks at the context afterwards: what happened before is
    /// not told again.
    pub(crate) fn register(&self, waker: &Waker) {
        let is_there = |row: &mut Row| row.waker.as_ref().is_some_and(|old| old.will_wake(waker));
        if self.roster.table.lock().row(self.key).is_none_or(is_there) {
            return;
        }
        // Cloned and dropped outside of the lock: a waker is not ours.
        let new = waker.clone();
        let old = {
            let mut table = self.roster.table.lock();
            table.row(self.key).map(|row| row.waker.replace(new))
        };
        drop(old);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let old = {
            let mut table = self.roster.table.lock();
            table.row(self.key).and_then(|row| row.waker.take())
        };
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_core::{Ctx, Kind};
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
        let roster = Arc::new(Roster::default());
        let (first, guard) = Ctx::background().child();
        let place = roster.enter(guard.handle()).unwrap();
        let old = place.key();
        drop(place);
        let (second, other) = Ctx::background().child();
        let again = roster.enter(other.handle()).unwrap();
        assert_eq!(index(again.key()), index(old), "the row is used again");
        roster.hang_up(old, Kind::PeerGone.into());
        assert!(!first.is_done() && !second.is_done());
        roster.hang_up(again.key(), Kind::PeerGone.into());
        assert!(!first.is_done() && second.is_done());
    }

    #[test]
    fn the_context_is_done_before_the_task_is_woken_and_once() {
        let roster = Arc::new(Roster::default());
        let (ctx, guard) = Ctx::background().child();
        let place = roster.enter(guard.handle()).unwrap();
        let seat = place.seat();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        seat.register(&waker);
        seat.register(&waker);
        roster.hang_up(place.key(), Kind::PeerGone.into());
        assert!(ctx.is_done());
        assert_eq!(count.get(), 1);
        roster.hang_up(place.key(), Kind::Shutdown.into());
        roster.wake_all();
        assert_eq!(count.get(), 1, "nobody is registered any more");
        seat.register(&waker);
        roster.wake_all();
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn an_ended_task_is_kept_by_nobody() {
        let roster = Arc::new(Roster::default());
        let (_ctx, guard) = Ctx::background().child();
        let place = roster.enter(guard.handle()).unwrap();
        let count = Arc::new(Count::default());
        let seat = place.seat();
        seat.register(&Waker::from(Arc::clone(&count)));
        assert_eq!(Arc::strong_count(&count), 2);
        drop(seat);
        assert_eq!(Arc::strong_count(&count), 1);
        drop(place);
    }
}
