//! Counts heap allocations while asked to; otherwise forwards to the system's allocator.
//!
//! Costs: when not counting, one relaxed load and a predicted branch per allocation, the same for
//! every contender. Timed loops always run with the counters off.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// The process's allocator.
pub(crate) struct Counting;

/// What was asked of the allocator, by all threads, while counting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) bytes_allocated: u64,
    pub(crate) bytes_freed: u64,
}

impl Counts {
    /// Bytes that are still held of those allocated while counting.
    pub(crate) fn bytes_held(&self) -> f64 {
        self.bytes_allocated as f64 - self.bytes_freed as f64
    }

    /// Blocks that are still held of those allocated while counting.
    pub(crate) fn blocks_held(&self) -> f64 {
        self.allocations as f64 - self.frees as f64
    }
}

/// Counts what the whole process allocates while `work` runs.
pub(crate) fn count<R>(work: impl FnOnce() -> R) -> (R, Counts) {
    let before = snapshot();
    // Relaxed: nothing is published with the switch; an allocation of another thread that races
    // with it may or may not be counted, and the callers keep other threads quiet at both ends.
    SWITCH.store(true, Relaxed);
    let result = work();
    // Relaxed: as above.
    SWITCH.store(false, Relaxed);
    let after = snapshot();
    let counts = Counts {
        allocations: after.allocations - before.allocations,
        frees: after.frees - before.frees,
        bytes_allocated: after.bytes_allocated - before.bytes_allocated,
        bytes_freed: after.bytes_freed - before.bytes_freed,
    };
    (result, counts)
}

/// The most bytes that the process held at a time while `work` ran, beyond what it held before.
///
/// Not within [`count`], and not in two threads at once.
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (R, u64) {
    // Relaxed: as in `count`.
    HELD.store(0, Relaxed);
    PEAK.store(0, Relaxed); // counter
    let (result, _) = count(work);
    let peak = PEAK.load(Relaxed); // counter
    (result, u64::try_from(peak).unwrap_or(0))
}

static SWITCH: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static BYTES_ALLOCATED: AtomicU64 = AtomicU64::new(0);
static BYTES_FREED: AtomicU64 = AtomicU64::new(0);
/// Less than nothing where what was allocated before is freed.
static HELD: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn snapshot() -> Counts {
    Counts {
        allocations: ALLOCATIONS.load(Relaxed),         // counter
        frees: FREES.load(Relaxed),                     // counter
        bytes_allocated: BYTES_ALLOCATED.load(Relaxed), // counter
        bytes_freed: BYTES_FREED.load(Relaxed),         // counter
    }
}

fn note_allocation(size: usize) {
    // Relaxed: the switch carries nothing; see `count`.
    if SWITCH.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed); // counter
        BYTES_ALLOCATED.fetch_add(size as u64, Relaxed); // counter
        let size = signed(size);
        let held = HELD.fetch_add(size, Relaxed) + size; // counter
        PEAK.fetch_max(held, Relaxed); // counter
    }
}

fn note_free(size: usize) {
    // Relaxed: the switch carries nothing; see `count`.
    if SWITCH.load(Relaxed) {
        FREES.fetch_add(1, Relaxed); // counter
        BYTES_FREED.fetch_add(size as u64, Relaxed); // counter
        HELD.fetch_sub(signed(size), Relaxed); // counter
    }
}

/// A layout has no size beyond that.
fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

// SAFETY: every method forwards its arguments unchanged to `System`, which upholds the trait's
// contract; the counters neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation(layout.size());
        // SAFETY: the caller of this method upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_allocation(layout.size());
        // SAFETY: the caller of this method upholds the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note_free(layout.size());
        // SAFETY: the block came from `System`, because every allocation above did.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_free(layout.size());
        note_allocation(size);
        // SAFETY: the block came from `System`, because every allocation above did.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counters are of the process.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

    // Large, because the counters see the small allocations of the other tests too.
    #[test]
    fn counts_what_is_allocated_and_what_is_still_held() {
        let _one_at_a_time = TURN.lock().unwrap();
        let (kept, counts) = count(|| {
            drop(std::hint::black_box(vec![0_u8; 1 << 20]));
            std::hint::black_box(vec![0_u8; 2 << 20])
        });
        assert!(counts.allocations >= 2);
        let held = counts.bytes_held();
        assert!((1.5e6..2.5e6).contains(&held), "{held}");
        drop(kept);
    }

    #[test]
    fn the_peak_is_what_was_held_at_once_and_not_in_all() {
        let _one_at_a_time = TURN.lock().unwrap();
        let ((), peak) = peak(|| {
            for _ in 0..4 {
                drop(std::hint::black_box(vec![0_u8; 2 << 20]));
            }
        });
        assert!((2_000_000..4_000_000).contains(&peak), "{peak}");
    }
}
