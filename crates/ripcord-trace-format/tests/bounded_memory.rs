//! What recording and reading cost in memory: what is remembered of a block, and what really came.
//!
//! The allocator counts for each thread on its own, so the tests may run side by side.

mod sample;

use ripcord_test::CountingAllocator;
use ripcord_trace_format::{
    BLOCK_HEADER_BYTES, BlockInfo, BlockKind, Encoder, Progress, Reader, Schema,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What `act` returns, and the most that it held.
fn watch<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let (result, usage) = CountingAllocator::watch(act);
    (result, usage.peak)
}

#[test]
fn recording_and_decoding_allocate_what_is_remembered_of_a_block() {
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
    assert!(peak <= 64 * 1024, "{peak} bytes");
    let mut encoder = Encoder::new(&mut buffer, 0);
    encoder.push(0, &sample::TASK[0].1).expect("it fits");
    let mut memory = encoder.into_memory();
    let ((), peak) = watch(|| {
        for block in 0..10 {
            memory.clear();
            let progress = Progress::at(block);
            let mut encoder = Encoder::resume(&mut buffer, progress, std::mem::take(&mut memory));
            for (tick, event) in sample::TASK {
                encoder.push(*tick, event).expect("16 KiB are enough");
            }
            memory = encoder.into_memory();
        }
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
