//! [`CountingAllocator`]: what a thread holds of memory, and how much it was at most.
//!
//! # Invariants
//! 1. Every call is passed on to the system's allocator unchanged.
//! 2. Counting touches no memory but thread-local cells without destructors, so that it works while a
//!    thread is torn down.

#![allow(unsafe_code, reason = "a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Counts, for each thread on its own, the bytes that it holds: to be the allocator of a test program.
///
/// For what promises to be bounded: a decoder that must not take more than its limits, whatever
/// comes in, or an encoder that allocates nothing. Threads count on their own, so that tests may run side
/// by side.
///
/// # Examples
/// ```
/// use ripcord_test::CountingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// let (text, usage) = CountingAllocator::watch(|| {
///     drop(vec![0_u8; 1_000]);
///     String::from("kept")
/// });
/// assert_eq!((usage.peak, usage.held), (1_000, 4));
/// # drop(text);
/// ```
///
/// # Costs
/// Two thread-local cells for each call of the allocator.
///
/// # Limitations
/// Memory counts for the thread that takes or gives it: what one thread takes and another one gives back
/// stays on the account of the first.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "it is named in a static")]
pub struct CountingAllocator;

/// Bytes that a piece of work took; see [`CountingAllocator::watch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// The most that it held at a time. While a block grows, old and new are both held.
    pub peak: usize,
    /// What it holds still, mostly in its result.
    pub held: usize,
}

impl CountingAllocator {
    /// Runs `act` and counts what this thread takes meanwhile.
    ///
    /// Not to be nested: the inner call begins to count anew.
    pub fn watch<T>(act: impl FnOnce() -> T) -> (T, MemoryUsage) {
        HELD.set(0);
        PEAK.set(0);
        let result = act();
        let usage = MemoryUsage {
            peak: PEAK.get(),
            held: HELD.get(),
        };
        (result, usage)
    }
}

fn note(taken: usize, given: usize) {
    let _ = HELD.try_with(|held| {
        let now = held.get().wrapping_add(taken).wrapping_sub(given);
        held.set(now);
        // What another thread took may be given back here, which is less than nothing.
        if now < usize::MAX / 2 {
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
        }
    });
}

// SAFETY: every call is passed on unchanged (invariant 1), and counting allocates nothing (invariant 2).
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist while one is copied to the other.
        note(size, 0);
        note(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
