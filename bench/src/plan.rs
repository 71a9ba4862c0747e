//! How one sample repeats an operation: calibrated batches, two threads, or a fixed count.
//!
//! A sample is one contender doing one case in a process of its own: a clean heap, fresh addresses,
//! and no thread of another contender. Its figure for a repeated operation is the median of
//! several batches, after a warm-up; the rounds of `core` repeat the sample.

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::alloc;
use crate::case::{Kind, Readings};
use crate::process;
use crate::stats;

/// What a sample is asked to do, and the runtime to do it on.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) size: usize,
    pub(crate) quick: bool,
    /// Run this many operations and time nothing: for callgrind.
    pub(crate) iterations: Option<u64>,
    pub(crate) runtime: Runtime,
}

impl Plan {
    pub(crate) fn new(
        kind: Kind,
        size: usize,
        quick: bool,
        iterations: Option<u64>,
    ) -> std::io::Result<Plan> {
        // One thread suffices for repeated operations, and keeps callgrind's counts repeatable.
        let runtime = match kind {
            Kind::Micro | Kind::TwoThreads => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            Kind::Scene | Kind::Served | Kind::Heavy => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .enable_all()
                .build()?,
        };
        Ok(Plan {
            size,
            quick,
            iterations,
            runtime,
        })
    }

    /// Measures one operation: nanoseconds, then allocations and bytes in a pass of their own.
    pub(crate) fn each(&self, mut op: impl FnMut()) -> Readings {
        if let Some(count) = self.iterations {
            repeat(count, &mut op);
            return Readings::new();
        }
        let (target, batches) = self.batches();
        let mut run = |count| repeat(count, &mut op);
        let count = calibrate(target, &mut run);
        let time = batch_median(batches, count, run);
        let ((), counts) = alloc::count(|| {
            repeat(COUNTED_OPERATIONS, &mut op);
        });
        let per_operation = |total: u64| total as f64 / COUNTED_OPERATIONS as f64;
        Readings::new()
            .with("time", time)
            .with("allocs", per_operation(counts.allocations))
            .with("bytes", per_operation(counts.bytes_allocated))
    }

    /// Measures an operation that `run` repeats so often as it is told, and times.
    pub(crate) fn timed(&self, mut run: impl FnMut(u64) -> Duration) -> Readings {
        if let Some(count) = self.iterations {
            run(count);
            return Readings::new();
        }
        let (target, batches) = self.batches();
        let count = calibrate(target, &mut run);
        Readings::new().with("time", batch_median(batches, count, run))
    }

    /// Measures an operation, and by how much it takes longer than another one, which may be
    /// negative: batches of the two take turns, each pair in the other order than the one before.
    pub(crate) fn beside(
        &self,
        mut own: impl FnMut(u64) -> Duration,
        mut basis: impl FnMut(u64) -> Duration,
    ) -> Readings {
        if let Some(count) = self.iterations {
            own(count);
            return Readings::new();
        }
        let (target, batches) = self.batches();
        let count = calibrate(target, &mut own);
        basis(count);
        let (mut times, mut differences) = (Vec::new(), Vec::new());
        for pair in 0..batches * 3 {
            let (own, basis) = if pair % 2 == 0 {
                let first = own(count);
                (first, basis(count))
            } else {
                let first = basis(count);
                (own(count), first)
            };
            let [own, basis] = [own, basis].map(|time| time.as_nanos() as f64 / count as f64);
            times.push(own);
            differences.push(own - basis);
        }
        Readings::new()
            .with("beyond", stats::median(&mut differences))
            .with("time", stats::median(&mut times))
    }

    /// How long a batch of operations takes, and how many there are.
    fn batches(&self) -> (Duration, usize) {
        if self.quick {
            (QUICK_BATCH, 3)
        } else {
            (BATCH, 7)
        }
    }

    /// Measures one operation, as each of two threads sees it while both repeat it.
    pub(crate) fn on_two_threads(&self, op: impl Fn(usize) + Sync) -> Readings {
        let begin = Instant::now();
        // Repeats a batch until the threads ran side by side, or so briefly that it is hard to tell.
        let run = |count: u64, short: Duration| loop {
            let (elapsed, side_by_side) = self.side_by_side(count, &op);
            if side_by_side || elapsed < short {
                return elapsed;
            }
            let patient = begin.elapsed() < PATIENCE;
            assert!(
                patient,
                "two threads never ran side by side: the machine is too busy"
            );
        };
        let count = calibrate(SIDE_BY_SIDE_BATCH, |count| {
            run(count, SIDE_BY_SIDE_BATCH / 4)
        });
        let batches = if self.quick { 5 } else { 25 };
        let time = batch_median(batches, count, |count| run(count, Duration::ZERO));
        Readings::new().with("time", time)
    }

    /// Runs the operation `count` times on each of two threads: how long the slower one took, and
    /// whether they really ran at the same time. On a busy machine they often share a core, and
    /// then do not meet at all.
    fn side_by_side(&self, count: u64, op: &(impl Fn(usize) + Sync)) -> (Duration, bool) {
        let arrived = AtomicUsize::new(0);
        let thread = |index: usize| {
            let _entered = self.runtime.enter();
            meet(&arrived, 2);
            let preempted = process::thread_preemptions();
            let start = Instant::now();
            let elapsed = repeat(count, &mut || op(index));
            (start, elapsed, preempted == process::thread_preemptions())
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| thread(1));
            (
                thread(0),
                other.join().expect("the operation does not panic"),
            )
        });
        let elapsed = one.1.max(other.1);
        let skew = one.0.max(other.0).duration_since(one.0.min(other.0));
        let side_by_side = one.2 && other.2 && skew < elapsed.mul_f64(0.05);
        (elapsed, side_by_side)
    }

    /// How often a scene is repeated within one sample.
    pub(crate) fn repetitions(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(4) } else { full }
    }
}

/// How many operations take about `target`.
fn calibrate(target: Duration, mut run: impl FnMut(u64) -> Duration) -> u64 {
    let mut count = 16_u64;
    loop {
        let elapsed = run(count);
        if elapsed * 4 >= target {
            let scale = target.as_secs_f64() / elapsed.as_secs_f64();
            return ((count as f64 * scale) as u64).max(1);
        }
        count *= 2;
    }
}

/// The median nanoseconds per operation of several batches of `count` operations.
fn batch_median(batches: usize, count: u64, mut run: impl FnMut(u64) -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..batches)
        .map(|_| run(count).as_nanos() as f64 / count as f64)
        .collect();
    stats::median(&mut times)
}

/// Waits, without sleeping, until `expected` threads have come here.
pub(crate) fn meet(arrived: &AtomicUsize, expected: usize) {
    // Release: what this thread prepared is visible to those who see it arrive; pairs with the
    // Acquire below.
    arrived.fetch_add(1, Release);
    // Acquire: pairs with the Release above in the other thread.
    while arrived.load(Acquire) < expected {
        spin_loop();
    }
}

/// Reads through a buffer larger than the private caches, so that a single operation that follows
/// starts cold however little was touched before.
pub(crate) fn evict_caches(buffer: &[u8]) {
    let sum = buffer
        .iter()
        .step_by(64)
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    std::hint::black_box(sum);
}

/// A buffer for [`evict_caches`].
pub(crate) fn eviction_buffer() -> Vec<u8> {
    vec![1; 16 << 20]
}

/// The only loop that is ever timed or counted, so that every contender has the same one.
#[inline(never)]
pub(crate) fn repeat(count: u64, op: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        op();
    }
    start.elapsed()
}

/// Workers of the multi-thread runtime, as many as the machine of the published baseline has.
pub(crate) const WORKERS: usize = 2;
const BATCH: Duration = Duration::from_millis(20);
const QUICK_BATCH: Duration = Duration::from_millis(4);
/// Shorter, because two threads seldom keep their cores for long on a busy machine.
const SIDE_BY_SIDE_BATCH: Duration = Duration::from_millis(2);
/// How long a sample tries to have two threads run side by side.
const PATIENCE: Duration = Duration::from_secs(10);
const COUNTED_OPERATIONS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(iterations: Option<u64>) -> Plan {
        Plan::new(Kind::Micro, 0, true, iterations).unwrap()
    }

    #[test]
    fn what_is_beyond_is_the_median_of_the_differences() {
        let nanoseconds = |each: u64| move |count: u64| Duration::from_nanos(each * count);
        let readings = plan(None).beside(nanoseconds(50), nanoseconds(20));
        assert_eq!(readings.get("beyond").map(f64::round), Some(30.0));
        assert_eq!(readings.get("time").map(f64::round), Some(50.0));
        let faster = plan(None).beside(nanoseconds(20), nanoseconds(50));
        assert_eq!(faster.get("beyond").map(f64::round), Some(-30.0));
    }

    #[test]
    fn a_count_that_is_given_is_run_once_and_nothing_beside_it() {
        let (mut own, mut basis) = (Vec::new(), Vec::new());
        let run = |counts: &mut Vec<u64>, count| {
            counts.push(count);
            Duration::ZERO
        };
        let plan = plan(Some(1_000));
        let readings = plan.beside(|count| run(&mut own, count), |count| run(&mut basis, count));
        assert_eq!((own, basis), (vec![1_000], vec![]));
        assert_eq!(readings, Readings::new());
    }
}
