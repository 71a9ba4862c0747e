//! Counts heap allocations while asked to; otherwise forwards to the system's allocator.
//!
//! Costs: when not counting, one relaxed load and a predicted branch per allocation, the same for
//! every contender. Timed loops always run with the counters off.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

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

static SWITCH: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static BYTES_ALLOCATED: AtomicU64 = AtomicU64::new(0);
static BYTES_FREED: AtomicU64 = AtomicU64::new(0);

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
    }
}

fn note_free(size: usize) {
    // Relaxed: the switch carries nothing; see `count`.
    if SWITCH.load(Relaxed) {
        FREES.fetch_add(1, Relaxed); // counter
        BYTES_FREED.fetch_add(size as u64, Relaxed); // counter
    }
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

    // Large, because the counters see the small allocations of the other tests too.
    #[test]
    fn counts_what_is_allocated_and_what_is_still_held() {
        let (kept, counts) = count(|| {
            drop(std::hint::black_box(vec![0_u8; 1 << 20]));
            std::hint::black_box(vec![0_u8; 2 << 20])
        });
        assert!(counts.allocations >= 2);
        let held = counts.bytes_held();
        assert!((1.5e6..2.5e6).contains(&held), "{held}");
        drop(kept);
    }
}
