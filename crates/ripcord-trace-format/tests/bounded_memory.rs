//! What recording and reading cost in memory: nothing, and what really came.
//!
//! The allocator counts for each thread on its own, so the tests may run side by side.
//!
//! # Invariants
//! 1. Every call is passed on to the system's allocator unchanged.

mod sample;

use ripcord_trace_format::{BLOCK_HEADER_BYTES, BlockInfo, BlockKind, Encoder, Reader, Schema};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts the bytes that the thread holds, and how many they were at most.
struct Watched;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
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

// SAFETY: every call is passed on unchanged (invariant 1); counting touches no memory but
// thread-local cells without destructors.
unsafe impl GlobalAlloc for Watched {
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

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// What `act` returns, and the most that it held.
fn watch<T>(act: impl FnOnce() -> T) -> (T, usize) {
    HELD.set(0);
    PEAK.set(0);
    let result = act();
    (result, PEAK.get())
}

#[test]
fn recording_and_decoding_allocate_nothing() {
    //= T12
    let mut buffer = vec![0; 16 * 1024];
    let schema = Schema::current();
    let ((), peak) = watch(|| {
        let mut encoder = Encoder::new(&mut buffer, 0);
        let full = (0..10_000).find(|tick| {
            let (_, event) = sample::TASK[tick % sample::TASK.len()];
            encoder.push(*tick as u64, &event).is_err()
        });
        assert!(full.is_some());
        let events = ripcord_trace_format::Decoder::new(encoder.written(), 0, &schema);
        assert_eq!(events.count(), encoder.progress().events as usize);
    });
    assert_eq!(peak, 0);
}

/// Gives the same block again and again.
struct Repeat {
    block: Vec<u8>,
    at: usize,
    left: usize,
}

impl std::io::Read for Repeat {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.block[self.at % self.block.len()..];
        let len = rest.len().min(buf.len()).min(self.left);
        buf[..len].copy_from_slice(&rest[..len]);
        self.at += len;
        self.left -= len;
        Ok(len)
    }
}

fn peak_of(block: Vec<u8>, bytes: usize) -> usize {
    let input = Repeat {
        block,
        at: 0,
        left: bytes,
    };
    let mut reader = Reader::headless(input);
    let read = || while reader.next_item().expect("it cannot fail").is_some() {};
    watch(read).1
}

#[test]
fn a_reader_holds_what_came_and_not_what_is_claimed() {
    //= T4, T7
    let info = BlockInfo::new(BlockKind::Other(99));
    let small = vec![7; 16 * 1024];
    let block = [&info.header(&small).expect("short")[..], &small].concat();
    let peak = peak_of(block, 6 << 20);
    assert!(peak <= 256 * 1024, "{peak} bytes for blocks of 16 KiB");

    let large = vec![7; 1 << 20];
    let block = [&info.header(&large).expect("short")[..], &large].concat();
    let peak = peak_of(block, 6 << 20);
    assert!(peak <= 3 << 20, "{peak} bytes for blocks of 1 MiB");

    let mut claims = info.header(b"").expect("short");
    for field in [32, 36] {
        claims[field..field + 4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    }
    let peak = peak_of(claims.to_vec(), BLOCK_HEADER_BYTES);
    assert!(peak <= 160 * 1024, "{peak} bytes for a claimed MiB");
    let peak = peak_of(claims.to_vec(), 4 << 20);
    assert!(peak <= 3 << 20, "{peak} bytes for claims without end");
    for field in [32, 36] {
        claims[field..field + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    }
    let peak = peak_of(claims.to_vec(), 4 << 20);
    assert!(peak <= 256 * 1024, "{peak} bytes for claimed GiB");
    let peak = peak_of(vec![0xf1; BLOCK_HEADER_BYTES], 1 << 20);
    assert!(peak <= 256 * 1024, "{peak} bytes for noise");
}
