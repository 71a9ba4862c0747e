//! An allocator that counts per thread, and that can hold a thread up where it allocates.
//!
//! # Invariants
//! 1. Every call is passed on to the system's allocator unchanged.

#![allow(unsafe_code, reason = "a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// To be installed with `#[global_allocator]`.
pub(crate) struct Watched;

thread_local! {
    static BLOCKS: Cell<isize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    /// How many allocations are left until the thread is held up; 0 is never.
    static TRAP: Cell<usize> = const { Cell::new(0) };
}

/// What a thread has allocated and not freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Live {
    pub(crate) blocks: isize,
    pub(crate) bytes: isize,
}

impl Live {
    /// Of this thread, up to now.
    pub(crate) fn now() -> Self {
        Self {
            blocks: BLOCKS.with(Cell::get),
            bytes: BYTES.with(Cell::get),
        }
    }

    /// What came in addition since `self`.
    pub(crate) fn since(self) -> Self {
        let now = Self::now();
        Self {
            blocks: now.blocks - self.blocks,
            bytes: now.bytes - self.bytes,
        }
    }
}

/// How often this thread has called the allocator.
pub(crate) fn calls() -> usize {
    CALLS.with(Cell::get)
}

const OPEN: u8 = 0;
const CAUGHT: u8 = 1;
const RELEASED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(OPEN);

/// Holds this thread up in its `nth` allocation from now, until [`release`].
///
/// One thread of the process at a time.
pub(crate) fn hold_up_at(nth: usize) {
    STATE.store(OPEN, Ordering::Release);
    TRAP.with(|trap| trap.set(nth));
}

/// Takes the trap back, if this thread did not get there.
pub(crate) fn never_mind() {
    TRAP.with(|trap| trap.set(0));
}

/// Whether a thread is held up now.
pub(crate) fn is_caught() -> bool {
    STATE.load(Ordering::Acquire) == CAUGHT
}

pub(crate) fn release() {
    STATE.store(RELEASED, Ordering::Release);
}

fn note(blocks: isize, bytes: isize) {
    let _ = BLOCKS.try_with(|count| count.set(count.get() + blocks));
    let _ = BYTES.try_with(|count| count.set(count.get() + bytes));
    if blocks < 0 {
        return;
    }
    let _ = CALLS.try_with(|count| count.set(count.get() + 1));
    let is_due = TRAP.try_with(|trap| {
        let left = trap.get();
        trap.set(left.saturating_sub(1));
        left == 1
    });
    if is_due == Ok(true) {
        STATE.store(CAUGHT, Ordering::Release);
        while STATE.load(Ordering::Acquire) == CAUGHT {
            thread::yield_now();
        }
    }
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: every call is passed on unchanged (invariant 1); counting touches no memory but
// thread-local cells without destructors.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(-1, -signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(0, signed(size) - signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
