//! What an export costs in memory: what is live at a time, and not what has been.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use ripcord_analysis::export::{self, ExportError};
use ripcord_analysis::read::Trace;
use ripcord_test::CountingAllocator;
use std::io::{self, Cursor};
use support::{bytes, thread};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// So many requests, one after the other, in blocks of a hundred: eight events each.
fn requests(count: u64) -> Vec<u8> {
    let lines: Vec<[String; 8]> = (0..count)
        .map(|id| {
            [
                format!("ctx_create id={id} parent=- kind=root loc=- deadline=- name=\"GET /\""),
                format!("task_spawn slot=1 id={id} parent=- ctx={id} loc=- bytes=9 name=\"handler\""),
                "poll_start slot=1 seq=0".to_owned(),
                "poll_pending label=-".to_owned(),
                "wake slot=1 seq=1 by=driver waker=-".to_owned(),
                "poll_start slot=1 seq=1".to_owned(),
                format!("task_end slot=1 id={id} outcome=ready parent=- ctx={id} loc=- polls=2 busy=2 name=\"handler\""),
                format!("ctx_end id={id} parent=- loc=- name=\"GET /\""),
            ]
        })
        .collect();
    let mut tick = 0;
    let blocks = lines.chunks(100).map(|chunk| {
        let events = chunk.iter().flatten().map(|line| {
            tick += 1;
            (tick, line.as_str())
        });
        thread(1, &events.collect::<Vec<_>>())
    });
    bytes(&blocks.collect::<String>())
}

type Export = fn(&mut Trace<Cursor<&[u8]>>) -> Result<(), ExportError>;

/// Bytes that an export has in memory at most.
fn peak(bytes: &[u8], write: Export) -> usize {
    let ((), usage) = CountingAllocator::watch(|| {
        let mut trace = Trace::new(Cursor::new(bytes)).unwrap();
        write(&mut trace).unwrap();
    });
    usage.peak
}

#[test]
fn memory_does_not_grow_with_the_trace() {
    // The reader's buffer is full with the shorter one, too.
    let (short, long) = (requests(6_000), requests(24_000));
    let check = |form: &str, peaks: [usize; 2], slack: usize| {
        let [few, many] = peaks;
        // What grows is where the blocks are.
        assert!(many < few + slack + long.len() / 50, "{form}: {few} {many}");
    };
    let both = |write: Export| [peak(&short, write), peak(&long, write)];
    check(
        "chrome",
        both(|trace| export::chrome(trace, &mut io::sink())),
        0,
    );
    check(
        "perfetto",
        both(|trace| export::perfetto(trace, &mut io::sink())),
        0,
    );
    // A line is a batch of spans, which the short trace just fills.
    check(
        "otlp",
        both(|trace| export::otlp(trace, &mut io::sink())),
        64 * 1024,
    );
}
