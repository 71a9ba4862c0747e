//! [`Site`]: a call site as a 32-bit number, so that a node can afford to know its own.
//!
//! # Costs
//! A known site: one look into a small per-thread table, no lock. A site that is
//! new to the thread: one lock and one hash look-up. From a number back to the place: three loads,
//! no lock, since an observer is told of the place with every context. Sites are as many as
//! there are calls in the source, so the global table is bounded by the program.
//!
//! # Invariants
//! 1. A number is given out after its place stands in [`SITES`], where it stays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::OnceLock;

/// From the address of a place to its number.
///
/// Process-wide and not part of any protocol that loom has to see.
#[allow(
    clippy::disallowed_types,
    reason = "a global of the process, outside every model"
)]
type Numbers = std::sync::Mutex<Option<HashMap<usize, u32>>>;

/// So many places; each is set once.
type Chunk = Box<[OnceLock<&'static Location<'static>>]>;

/// Two numbers may stand for one place in the source, where the compiler has stored it twice;
/// both lead to the same file and line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Site(u32);

static NUMBERS: Numbers = Numbers::new(None);

/// Places by number: each chunk has twice as many as the one before, so they never move.
static SITES: [OnceLock<Chunk>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];

/// Places in the first chunk.
const FIRST: u64 = 64;

/// Enough for every number of 32 bits.
const CHUNKS: usize = 27;

/// The chunk of a number, how many places that has, and which of them it is.
fn split(number: u32) -> (usize, u64, u64) {
    let at = u64::from(number) + FIRST;
    let chunk = at.ilog2() - FIRST.ilog2();
    let len = FIRST << chunk;
    (chunk as usize, len, at - len)
}

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

    /// The place that the number was made of.
    pub(crate) fn location(self) -> Option<&'static Location<'static>> {
        let (chunk, _, at) = split(self.0);
        let place = SITES.get(chunk)?.get()?.get(usize::try_from(at).ok()?)?;
        place.get().copied()
    }

    #[cold]
    fn intern(address: usize, location: &'static Location<'static>) -> u32 {
        let mut numbers = NUMBERS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let numbers = numbers.get_or_insert_with(HashMap::new);
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let number = *numbers.entry(address).or_insert(next);
        if number == next {
            let (chunk, len, at) = split(number);
            let fresh = || (0..len).map(|_| OnceLock::new()).collect();
            // Under the lock, and before anybody has the number (invariant 1).
            let places = SITES[chunk].get_or_init(fresh);
            let _ = places[usize::try_from(at).unwrap_or(usize::MAX)].set(location);
        }
        number
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

    /// Each number has one place, the ones at the ends of chunks as well.
    #[test]
    fn chunks_follow_each_other_without_a_gap() {
        let mut next = (0, 0);
        for number in 0..5_000 {
            let (chunk, len, at) = split(number);
            assert_eq!((chunk, at), next, "{number}");
            assert_eq!(len, FIRST << chunk);
            next = if at + 1 == len {
                (chunk + 1, 0)
            } else {
                (chunk, at + 1)
            };
        }
        let (chunk, len, at) = split(u32::MAX);
        assert!(chunk < CHUNKS && at < len);
    }

    #[test]
    fn more_sites_than_the_first_chunk_has_are_all_found_again() {
        // Leaked: a site is a place in the source, and those are for ever.
        let made = |_| -> &'static Location<'static> { Box::leak(Box::new(*Location::caller())) };
        let places: Vec<_> = (0..300).map(made).collect();
        let sites: Vec<_> = places.iter().map(|place| Site::of(place)).collect();
        for (place, site) in places.iter().zip(sites) {
            let found = site.location().expect("it was given out");
            assert!(std::ptr::eq(*place, found));
        }
    }
}
