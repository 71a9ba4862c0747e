//! [`Histogram`]: durations in fixed buckets, each twice as wide as the one before.
//!
//! # Invariants
//! 1. The first bucket ends at a microsecond and the last but one at 2²⁴ of them, some 17 s: what is
//!    longer is in the last. Bounds are the same in every process, so histograms can be added.
//!
//! # Why these bounds
//! A poll should take microseconds, a cancel should be over in milliseconds, and what takes seconds is wrong
//! however many there are: a factor of two over seven decades tells these apart with 26 numbers. Bounds
//! that adapt would need a lock, or series that change.
//!
//! # Costs
//! To count a duration: a multiplication instead of a division, the place of its highest bit, two loads and
//! two stores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets with a bound, from 1 µs to 2²⁴ µs.
const BOUNDED: usize = 25;

/// … and one for what is longer.
const BUCKETS: usize = BOUNDED + 1;

/// The bucket of a duration: the first whose bound is not below it.
#[inline]
fn bucket_of(ns: u64) -> usize {
    // Bounds are whole microseconds, so what is left of one belongs to the bucket above.
    let micros = ns.saturating_sub(1) / 1_000;
    let bits = u64::BITS - micros.leading_zeros();
    usize::try_from(bits).unwrap_or(BOUNDED).min(BOUNDED)
}

/// A counter with one writer.
#[derive(Default, Debug)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// For its writer alone.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        // Relaxed both: one writer, and a statistic (counter).
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(more), Ordering::Relaxed);
    }

    /// For its writer alone.
    #[inline]
    pub(crate) fn set(&self, value: u64) {
        // Relaxed: a statistic (counter).
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram with one writer.
///
/// Each duration is in one bucket; whoever shows them adds up. The sum is of the durations themselves, so
/// that a mean is exact where a quantile is a bound.
#[derive(Default, Debug)]
pub(crate) struct Buckets {
    counts: [Cell; BUCKETS],
    sum_ns: Cell,
}

impl Buckets {
    /// For its writer alone.
    #[inline]
    pub(crate) fn note(&self, ns: u64) {
        if let Some(cell) = self.counts.get(bucket_of(ns)) {
            cell.add(1);
        }
        self.sum_ns.add(ns);
    }
}

/// How many durations were as long as what.
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
///
/// let polls = Recorder::builder().build().metrics().poll_durations;
/// assert_eq!((polls.count(), polls.quantile(0.99)), (0, None));
/// let (bound, so_far) = polls.buckets().next().expect("there are 25");
/// assert_eq!((bound.as_micros(), so_far), (1, 0));
/// ```
///
/// # Limitations
/// A duration is known to a factor of two, as bounds are: 1, 2, 4 … microseconds up to some 17 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Adds what a thread has counted.
    pub(crate) fn add(&mut self, cells: &Buckets) {
        for (sum, cell) in self.counts.iter_mut().zip(&cells.counts) {
            *sum = sum.saturating_add(cell.load());
        }
        self.sum_ns = self.sum_ns.saturating_add(cells.sum_ns.load());
    }

    /// How many durations there are.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(ripcord_tracer::Histogram::default().count(), 0);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together.
    ///
    /// # Examples
    /// ```
    /// assert!(ripcord_tracer::Histogram::default().sum().is_zero());
    /// ```
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Each bound, with how many durations were no longer; what is longer than the last one is in
    /// [`count`](Self::count) alone.
    ///
    /// # Examples
    /// ```
    /// let histogram = ripcord_tracer::Histogram::default();
    /// let bounds: Vec<_> = histogram.buckets().map(|(bound, _)| bound.as_micros()).collect();
    /// assert_eq!((bounds.len(), &bounds[..3]), (25, &[1, 2, 4][..]));
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut so_far: u64 = 0;
        self.counts
            .iter()
            .take(BOUNDED)
            .enumerate()
            .map(move |(at, count)| {
                so_far = so_far.saturating_add(*count);
                (Duration::from_micros(1 << at), so_far)
            })
    }

    /// The bound below which this share of the durations is, from 0 to 1; `None` where there are none.
    ///
    /// Beyond the last bound it is [`Duration::MAX`]: how long that was is not known.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(ripcord_tracer::Histogram::default().quantile(0.5), None);
    /// ```
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a rank among counts, which is an estimate already"
    )]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = (count as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut reached = self.buckets().filter(|(_, so_far)| *so_far >= rank.max(1));
        let bound = reached.next().map_or(Duration::MAX, |(bound, _)| bound);
        (count > 0).then_some(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for (ns, expect) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (4_000, 2),
            (4_001, 3),
            (1_024_000, 10),
            (1_024_001, 11),
            (16_777_216_000, 24),
            (16_777_216_001, 25),
            (u64::MAX, 25),
        ] {
            assert_eq!(bucket_of(ns), expect, "{ns}");
        }
    }

    #[test]
    fn bounds_are_those_by_which_is_counted() {
        for (at, (bound, _)) in Histogram::default().buckets().enumerate() {
            let ns = u64::try_from(bound.as_nanos()).expect("it is short");
            assert_eq!(
                (bucket_of(ns), bucket_of(ns + 1)),
                (at, at + 1),
                "{bound:?}"
            );
        }
    }

    #[test]
    fn counts_go_up_to_the_bound_and_quantiles_are_bounds() {
        let cells = Buckets::default();
        for ns in [500, 1_500, 1_600, 3_000, 20_000_000_000] {
            cells.note(ns);
        }
        let mut histogram = Histogram::default();
        histogram.add(&cells);
        let first: Vec<u64> = histogram
            .buckets()
            .map(|(_, so_far)| so_far)
            .take(4)
            .collect();
        assert_eq!(first, [1, 3, 4, 4]);
        assert_eq!(
            histogram.buckets().last().map(|(_, so_far)| so_far),
            Some(4)
        );
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum(), Duration::from_nanos(20_000_006_600));
        for (share, expect) in [
            (0.0, Duration::from_micros(1)),
            (0.2, Duration::from_micros(1)),
            (0.5, Duration::from_micros(2)),
            (0.8, Duration::from_micros(4)),
            (1.0, Duration::MAX),
            (f64::INFINITY, Duration::MAX),
        ] {
            assert_eq!(histogram.quantile(share), Some(expect), "{share}");
        }
    }
}
