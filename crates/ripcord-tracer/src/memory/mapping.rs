//! The bytes of a file as memory: [`Mapping`].
//!
//! # Two ways in
//! Words are atomic, so that any thread may write any of them at any time: whatever becomes of the content,
//! it is no data race. Blocks are too long and too hot for that: who fills one asks for its bytes and has
//! them alone, by a contract of its own (`sync.rs`).
//!
//! # Invariants
//! 1. `start` is the beginning of `len` bytes that are mapped, readable and writable, at a multiple of
//!    4,096, until the mapping is dropped.
//! 2. Other processes may write to these bytes at any time. So they are reached as atomic words, or as bytes
//!    that this process writes and copies, and never as anything that must have a meaning.

#![allow(unsafe_code, reason = "memory that is mapped, and has no other owner")]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in memory.
///
/// It lives as long as anybody has a share of it: a block that some thread has not let go of keeps it, and
/// with it the lock of the file.
pub(super) struct Mapping {
    /// Where the file begins in memory.
    start: NonNull<u8>,
    /// How much of it is mapped: all of it.
    len: usize,
    /// Locked for as long as it is open: so others know that its recorder is alive.
    _file: File,
}

// SAFETY: by invariant 2 its words are atomic; who gets bytes has a contract of its own.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file, which has them.
    ///
    /// Shared, so that what is written is the file's at once: it is of the kernel, and not of the
    /// process, when that ends.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn new(file: File, len: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses an address where nothing else is.
        let start = unsafe { mmap(ptr::null_mut(), len, protection, flags, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            len,
            _file: file,
        })
    }

    /// The word at an offset; `None` where there is none.
    ///
    /// Offsets come from the layout and from numbers of slots that were compared with it, so there is
    /// one; the comparison here is what the unsafe code relies on.
    pub(super) fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let is_inside = offset.checked_add(WORD)? <= self.len;
        if !is_inside || !offset.is_multiple_of(WORD) {
            return None;
        }
        // SAFETY: `offset` is inside of what is mapped (invariant 1).
        let word = unsafe { self.start.add(offset) };
        // SAFETY: eight bytes are there, at a multiple of eight, for as long as `self` is borrowed, and
        // everybody in this process uses them as an atomic word.
        Some(unsafe { word.cast::<AtomicU64>().as_ref() })
    }

    /// Writes a word that says that something is there.
    ///
    /// # Costs
    /// A plain store on x86; on ARM a store with release semantics.
    pub(super) fn publish(&self, offset: usize, value: u64) {
        if let Some(word) = self.word(offset) {
            // Release: what was written before it; see "Why Release is enough" in `mod.rs`.
            word.store(value.to_le(), Ordering::Release);
        }
    }

    /// A word that this process has written; 0 where there is none.
    ///
    /// Another process may have changed it: it is good for statistics, and for what only garbles the trace
    /// if it is wrong.
    pub(super) fn load(&self, offset: usize) -> u64 {
        // Relaxed: who needs an order has a lock, or asks for statistics.
        let load = |word: &AtomicU64| u64::from_le(word.load(Ordering::Relaxed));
        self.word(offset).map_or(0, load)
    }

    /// One more (counter).
    pub(super) fn count(&self, offset: usize) {
        if let Some(word) = self.word(offset) {
            let more = |value| Some(u64::from_le(value).saturating_add(1).to_le());
            // Relaxed: a statistic (counter).
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// Writes bytes, eight at a time; what goes beyond the end is left out.
    ///
    /// Words at both ends keep the bytes that are not written.
    pub(super) fn store(&self, offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = at % WORD;
            let (part, behind) = rest.split_at(rest.len().min(WORD - before));
            let Some(word) = self.word(at - before) else {
                return;
            };
            // Relaxed: the word that is published behind it orders it.
            let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
            if let Some(place) = value.get_mut(before..before + part.len()) {
                place.copy_from_slice(part);
            }
            // Relaxed: as above.
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            at += part.len();
            rest = behind;
        }
    }

    /// Where bytes begin that only who asks for them uses; `None` if they are not inside.
    ///
    /// What is given is an address: to use it is the unsafe step, and is argued where that is done.
    pub(super) fn bytes(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let is_inside = offset.checked_add(len)? <= self.len;
        // SAFETY: `offset` is inside of what is mapped (invariant 1).
        is_inside.then(|| unsafe { self.start.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has a reference to it: they all borrow
        // `self`, or own a share of it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        // It fails for addresses that are not mapped only.
        debug_assert!(unmapped.is_ok(), "invariant 1: {unmapped:?}");
    }
}

/// Bytes of a word; areas and records begin at multiples of it.
const WORD: usize = 8;
