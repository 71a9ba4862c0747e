//! Which requests are recorded, where not all of them are.
//!
//! # How it is chosen
//! By the number of the entry, which for a request is the id of its trace: spread out, so that no
//! counting hides in it, and compared with a limit. So all services choose the same requests, and who
//! records one in a hundred chooses among those of who records one in ten. An entry without a number
//! gets the next one.
//!
//! # Why no coin
//! A request that passes five services, each of which throws a coin of its own with one side in a hundred, is
//! whole in one of ten billion traces. With one number for all it is whole wherever it is at all.
//!
//! # Why it is spread
//! Who makes ids of traces may count, or put the time into them, or a region's number into the top. A limit on
//! the bare number would then choose all requests of a minute, and none of the next.
//!
//! # What is not asked
//! What is above all entries is few, and is what requests end by: it is recorded in any case, unless the
//! recorder is off.
//!
//! # Limitations
//! The ids of traces come from strangers, who can choose them so that all of their requests are
//! recorded. That is bounded by what it costs to record everything.

use crate::recorder::METRICS;
use ripcord_core::Entry;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is recorded of what comes in.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// One entry in so many is recorded; 0: none is; [`METRICS`]: each is counted.
    one_in: AtomicU64,
    /// What a caller records is recorded here, too.
    follows: bool,
    /// The number of the next entry that has none.
    next: AtomicU64,
}

impl Sampling {
    pub(crate) fn new(one_in: u64, follows: bool) -> Self {
        Self {
            one_in: AtomicU64::new(one_in),
            follows,
            next: AtomicU64::new(1),
        }
    }

    /// One entry in so many is recorded; 0: none is.
    #[inline]
    pub(crate) fn one_in(&self) -> u64 {
        // Relaxed: a change is seen soon, and orders nothing.
        self.one_in.load(Ordering::Relaxed)
    }

    /// What was chosen already goes on.
    pub(crate) fn set_one_in(&self, one_in: u64) {
        // Relaxed: see `one_in`.
        self.one_in.store(one_in, Ordering::Relaxed);
    }

    /// Whether an entry is recorded, with everything below it.
    ///
    /// Of a recorder that is off nothing below nothing is declined: it may be switched on while that
    /// lives.
    ///
    /// # Costs
    /// A load, three multiplications and a comparison.
    pub(crate) fn wants(&self, entry: &Entry<'_>) -> bool {
        match self.one_in() {
            0 => entry.is_root,
            1 | METRICS => true,
            _ if self.follows && entry.is_sampled == Some(true) => true,
            one_in => self.number(entry) <= u64::MAX / one_in,
        }
    }

    fn number(&self, entry: &Entry<'_>) -> u64 {
        match entry.number {
            Some(number) => {
                #[allow(clippy::cast_possible_truncation, reason = "the halves of it")]
                let [high, low] = [(number >> 64) as u64, number as u64];
                spread(spread(high) ^ low)
            }
            // Relaxed: only uniqueness counts (counter).
            None => spread(self.next.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Takes numbers apart that come one after the other, or differ in a few bits: the last step of
/// splitmix64, which is a permutation.
fn spread(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sampling: &Sampling, of: impl IntoIterator<Item = u128>) -> Vec<u128> {
        let is_chosen = |number: &u128| sampling.wants(&Entry::new().numbered(*number));
        of.into_iter().filter(is_chosen).collect()
    }

    #[test]
    fn about_one_in_so_many_is_chosen_of_any_kind_of_numbers() {
        for (one_in, expect) in [(2, 50_000_usize), (10, 10_000), (100, 1_000)] {
            let sampling = Sampling::new(one_in, false);
            let near = expect * 9 / 10..=expect * 11 / 10;
            for shift in [0, 32, 64, 100] {
                let count = chosen(&sampling, (0..100_000).map(|id| id << shift)).len();
                assert!(near.contains(&count), "{count} of 100,000, 1 in {one_in}");
            }
            let without = Entry::new();
            let count = (0..100_000).filter(|_| sampling.wants(&without)).count();
            assert!(near.contains(&count), "{count} of 100,000, 1 in {one_in}");
        }
    }

    #[test]
    fn every_service_chooses_the_same_and_who_chooses_less_chooses_among_them() {
        let [hundred, ten] = [100, 10].map(|one_in| Sampling::new(one_in, false));
        let of = || (0..10_000).map(|id: u128| id * 0x1_0000_0001_0000_0001);
        let few = chosen(&hundred, of());
        assert_eq!(few, chosen(&Sampling::new(100, true), of()));
        let many = chosen(&ten, of());
        assert!(!few.is_empty() && few.iter().all(|id| many.contains(id)));
        assert!(many.len() > few.len());
    }

    #[test]
    fn what_a_caller_records_counts_where_that_is_wished() {
        let rare = u64::from(u32::MAX);
        let entry = Entry::new().numbered(1);
        for (follows, is_sampled, expect) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
        ] {
            let sampling = Sampling::new(rare, follows);
            assert_eq!(sampling.wants(&entry.sampled(is_sampled)), expect);
            assert!(!sampling.wants(&entry));
        }
    }

    #[test]
    fn off_and_full_choose_none_and_all() {
        let [off, full] = [0, 1].map(|one_in| Sampling::new(one_in, false));
        assert_eq!(chosen(&off, 0..100), []);
        assert_eq!(chosen(&full, 0..100).len(), 100);
    }
}
