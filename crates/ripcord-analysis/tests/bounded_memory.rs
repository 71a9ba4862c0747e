//! What reading and analysing cost in memory: what is live at a time, and not what has been.

use ripcord_analysis::read::Trace;
use ripcord_analysis::{Analysis, Options};
use ripcord_test::CountingAllocator;
use ripcord_trace_format::{
    BlockInfo, BlockKind, CauseKind, ClockKind, Compression, CtxKind, Encoder, Event, FileHeader,
    Outcome, Seq, WakeBy, Writer,
};
use std::io::Cursor;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The events of one request: a context, a task, two polls, an end that is late now and then.
fn request(number: u64) -> [(u64, Event<'static>); 10] {
    let (slot, id) = (number % 8, number);
    let late = if number.is_multiple_of(16) { 30_000 } else { 3 };
    let (parent, loc, ctx) = (None, Some(number % 5), Some(id));
    let poll = |seq| Event::PollStart {
        slot,
        seq: Seq::new(seq),
    };
    let wake = Event::Wake {
        slot,
        seq: Seq::new(1),
        by: WakeBy::Driver,
        waker: None,
    };
    let end = Event::TaskEnd {
        slot,
        id,
        outcome: Outcome::Ready,
        parent,
        ctx,
        loc,
        polls: 2,
        busy: 3,
        name: "handler",
    };
    let create = Event::CtxCreate {
        id,
        parent,
        kind: CtxKind::Root,
        loc,
        deadline: None,
        name: "GET /",
    };
    let spawn = Event::TaskSpawn {
        slot,
        id,
        parent,
        ctx,
        loc,
        bytes: 100,
        name: "handler",
    };
    let cancel = Event::CtxCancel {
        id,
        kind: CauseKind::Cancelled,
        by: None,
        loc,
        due: None,
        message: "",
    };
    let gone = Event::CtxEnd {
        id,
        parent,
        loc,
        name: "GET /",
    };
    [
        (1, create),
        (1, spawn),
        (1, poll(0)),
        (1, Event::PollPending { label: Some(1) }),
        (5, cancel),
        (late, wake),
        (1, poll(1)),
        (1, Event::PollReady {}),
        (1, end),
        (1, gone),
    ]
}

/// So many requests, one after the other, in blocks as a recorder writes them.
fn bytes(requests: u64) -> Vec<u8> {
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000);
    let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes all");
    let mut buffer = vec![0; 16 * 1024];
    let (mut tick, mut next) = (0, 0);
    while next < requests {
        let first_tick = tick;
        let mut encoder = Encoder::new(&mut buffer, first_tick);
        while next < requests && encoder.progress().len < 15 * 1024 {
            for (delta, event) in request(next) {
                tick += delta;
                encoder.push(tick, &event).expect("there is a KiB left");
            }
            next += 1;
        }
        let info = BlockInfo {
            thread: 1,
            first_tick,
            last_tick: tick,
            events: encoder.progress().events,
            ..BlockInfo::new(BlockKind::Events)
        };
        writer.events(info, &encoder).expect("a vector takes all");
    }
    writer.finish().expect("a vector takes all")
}

fn peak_of(bytes: &[u8]) -> (Analysis, usize) {
    let mut options = Options::default();
    (options.worst, options.listed) = (10, 100);
    let (analysis, usage) = CountingAllocator::watch(|| {
        let mut trace = Trace::new(Cursor::new(bytes)).expect("it is a trace");
        Analysis::of(&mut trace, &options).expect("memory can be read")
    });
    (analysis, usage.peak)
}

#[test]
fn memory_does_not_grow_with_the_events() {
    let (short, long) = (bytes(5_000), bytes(40_000));
    let (few, small) = peak_of(&short);
    let (many, large) = peak_of(&long);
    assert_eq!((few.events, many.events), (50_000, 400_000));
    assert_eq!((few.late.count, many.late.count), (313, 2_500));
    assert_eq!(many.late_ends.len(), 10);
    // What grows is where the blocks are.
    assert!(
        large < small + long.len() / 100,
        "{small} {large} of {}",
        long.len()
    );
    assert!(large < long.len() / 2, "{large} of {}", long.len());
}

#[test]
fn a_small_file_cannot_ask_for_much() {
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000);
    let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes all");
    let mut buffer = vec![0; 4_096];
    let mut encoder = Encoder::new(&mut buffer, 0);
    for number in [u64::MAX, u64::MAX - 1, 1 << 40] {
        for (_, event) in request(number) {
            encoder.push(0, &event).expect("it fits");
        }
    }
    let info = BlockInfo::new(BlockKind::Events);
    writer.events(info, &encoder).expect("a vector takes all");
    // Says that it becomes a mebibyte, and does not.
    let zstd = Compression::Zstd;
    for _ in 0..100 {
        writer
            .compressed(info, zstd, b"bomb", 1 << 20)
            .expect("a vector takes all");
    }
    let bytes = writer.finish().expect("a vector takes all");
    let (analysis, peak) = peak_of(&bytes);
    assert_eq!(analysis.health.skipped_count, 100);
    assert!(peak < 4 << 20, "{peak}");
}
