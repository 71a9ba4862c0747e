//! [`Site`]: a call site as a 32-bit number, so that a node can afford to know its own.
//!
//! # Costs
//! A known site: one look into a small per-thread table, no lock. A site that is
//! new to the thread: one lock and one hash look-up. Sites are as many as there
//! are calls in the source, so the global table is bounded by the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;

/// Process-wide and not part of any protocol that loom has to see.
#[allow(
    clippy::disallowed_types,
    reason = "a global of the process, outside every model"
)]
type TableLock = std::sync::Mutex<Table>;

/// Two numbers may stand for one place in the source, where the compiler has stored it twice;
/// both lead to the same file and line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Site(u32);

struct Table {
    ids: Option<HashMap<usize, u32>>,
    sites: Vec<&'static Location<'static>>,
}

static TABLE: TableLock = TableLock::new(Table {
    ids: None,
    sites: Vec::new(),
});

const CACHED: usize = 64;

thread_local! {
    static CACHE: RefCell<[(usize, u32); CACHED]> = const { RefCell::new([(0, 0); CACHED]) };
}

impl Site {
    /// The table of the thread has one place for each hash: two busy sites that share a place take
    /// turns, and each turn costs a lock.
    pub(crate) fn of(location: &'static Location<'static>) -> Self {
        let address = std::ptr::from_ref(location).addr();
        // Locations are 24 bytes apart at least; the low bits say nothing.
        let place = (address >> 3) % CACHED;
        CACHE
            .try_with(|cache| {
                let mut cache = cache.try_borrow_mut().ok()?;
                if cache[place].0 != address {
                    cache[place] = (address, Self::intern(address, location));
                }
                Some(Self(cache[place].1))
            })
            .ok()
            .flatten()
            // A thread that is being torn down has no cache any more.
            .unwrap_or_else(|| Self(Self::intern(address, location)))
    }

    pub(crate) fn location(self) -> Option<&'static Location<'static>> {
        let table = TABLE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        table.sites.get(self.0 as usize).copied()
    }

    #[cold]
    fn intern(address: usize, location: &'static Location<'static>) -> u32 {
        let mut table = TABLE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = u32::try_from(table.sites.len()).unwrap_or(u32::MAX);
        let id = *table
            .ids
            .get_or_insert_with(HashMap::new)
            .entry(address)
            .or_insert(next);
        if id == next {
            table.sites.push(location);
        }
        id
    }
}

#[cfg(all(test, not(ripcord_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_site_finds_its_location_again() {
        let here = Location::caller();
        let site = Site::of(here);
        assert_eq!(site, Site::of(here));
        assert_eq!(site.location().map(Location::line), Some(here.line()));
    }
}
