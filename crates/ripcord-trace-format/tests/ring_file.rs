//! Ring files that were written by hand: what is read of them, and that nothing in them is believed.

use ripcord_trace_format::{
    BlockKind, ClockKind, Encoder, Event, FileHeader, Item, RING_FRAME_BYTES, RING_HEADER_BYTES,
    RING_LIVE_HEAD_BYTES, Reader, Recovered, RingError, RingFile, RingHeader, RingLayout,
    RingState, RingWord, Schema,
};
use std::io::Cursor;

/// A file as a recorder would have left it.
struct Ring {
    layout: RingLayout,
    bytes: Vec<u8>,
}

impl Ring {
    fn new() -> Self {
        let schema = Schema::current_text();
        let layout = RingLayout {
            block_bytes: 256,
            frames: 3,
            tasks: 2,
            contexts: 2,
            threads: 2,
            table_bytes: 512,
            schema_bytes: 0,
        };
        let trace = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).program("shop");
        let trace = trace.started(4_242, 99);
        let header = RingHeader::new(layout, trace, &schema);
        let layout = header.layout();
        let mut bytes = header.encode().expect("it is small");
        bytes.resize(size(layout.file_bytes()), 0);
        let mut ring = Self { layout, bytes };
        ring.put(
            size(layout.schema().map(|area| area.start)),
            schema.as_bytes(),
        );
        ring.words(RingWord::State.offset(), &[1]);
        ring.words(RingWord::Start.offset(), &[1_000, 64_000, 99]);
        ring.words(RingWord::Readings.offset(), &[3]);
        ring.words(RingWord::Latest.offset(), &[1, 1, 1]);
        ring.words(RingWord::Other.offset(), &[3_000, 192_000, 128_099]);
        ring
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: usize, words: &[u64]) {
        for (word, at) in words.iter().zip((at..).step_by(8)) {
            self.put(at, &word.to_le_bytes());
        }
    }

    /// Events in a block; gives where they begin.
    fn block(&mut self, index: usize, head: [u64; 4], events: &[(u64, Event<'_>)]) -> usize {
        let (bytes, count) = encoded(head[3], events);
        let record = size(self.layout.frame_records().map(|area| area.start));
        let filled = count << 32 | bytes.len() as u64;
        self.words(record + index * RING_FRAME_BYTES, &head);
        self.words(record + index * RING_FRAME_BYTES + 32, &[filled]);
        let blocks = size(self.layout.blocks().map(|area| area.start));
        let at = blocks + index * 256;
        self.put(at, &bytes);
        at
    }

    /// One who lives.
    fn live(&mut self, at: usize, first_tick: u64, events: &[(u64, Event<'_>)]) {
        let (bytes, count) = encoded(first_tick, events);
        let last = events.last().map_or(0, |(tick, _)| *tick);
        self.words(at, &[count << 32 | bytes.len() as u64, first_tick, last]);
        self.put(at + RING_LIVE_HEAD_BYTES, &bytes);
    }

    /// Something of everything.
    fn full() -> Self {
        let mut ring = Self::new();
        ring.block(
            2,
            [5, 1, 7, 1_500],
            &[(1_500, Event::Park {}), (1_510, Event::Unpark {})],
        );
        ring.block(
            0,
            [6, 1, 8, 2_000],
            &[(2_000, Event::Log { text: "later" })],
        );
        // Taken out of the ring, and used by nobody yet.
        ring.block(1, [0, 2, 3, 1_400], &[(1_400, Event::Park {})]);
        let layout = ring.layout;
        let tables = encoded(
            0,
            &[
                (
                    0,
                    Event::Location {
                        index: 0,
                        file: "a.rs",
                        line: 1,
                        column: 2,
                    },
                ),
                (
                    0,
                    Event::Label {
                        index: 0,
                        text: "recv",
                        loc: Some(0),
                    },
                ),
                (0, Event::Park {}),
            ],
        );
        ring.put(size(layout.tables().map(|area| area.start)), &tables.0);
        ring.words(RingWord::TableBytes.offset(), &[tables.0.len() as u64]);
        let thread = size(layout.thread_records().map(|area| area.start));
        ring.words(thread, &[1, 6 << 8, 3]);
        ring.put(thread + 24, b"worker");
        let context = size(layout.context_records().map(|area| area.start));
        let create = Event::CtxCreate {
            id: 9,
            parent: None,
            kind: ripcord_trace_format::CtxKind::Root,
            loc: Some(0),
            deadline: None,
            name: "request",
        };
        let tag = Event::CtxTag {
            id: 9,
            key: 0,
            text: ripcord_trace_format::IdText::new("id"),
        };
        ring.live(context + 256, 1_600, &[(1_600, create), (1_700, tag)]);
        let task = size(layout.task_records().map(|area| area.start));
        let spawn = Event::TaskSpawn {
            slot: 0,
            id: 11,
            parent: None,
            ctx: Some(9),
            loc: Some(0),
            bytes: 96,
            name: "task",
        };
        ring.live(task, 1_650, &[(1_650, spawn)]);
        ring.words(RingWord::LostBlocks.offset(), &[4]);
        ring
    }

    fn recover(&self) -> (Vec<u8>, Recovered) {
        let mut ring = RingFile::open(Cursor::new(&self.bytes)).expect("a ring");
        let mut trace = Vec::new();
        let found = ring.recover(&mut trace).expect("a vector takes all");
        (trace, found)
    }
}

fn size<E: std::fmt::Debug>(offset: Result<u64, E>) -> usize {
    usize::try_from(offset.expect("it is in the limits")).expect("it is short")
}

fn encoded(first_tick: u64, events: &[(u64, Event<'_>)]) -> (Vec<u8>, u64) {
    let mut buffer = [0; 512];
    let mut encoder = Encoder::new(&mut buffer, first_tick);
    for (tick, event) in events {
        encoder.push(*tick, event).expect("there is room");
    }
    (encoder.written().to_vec(), encoder.progress().events.into())
}

/// Kind, thread and events of each block, a line each.
fn lines(trace: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(trace).expect("a trace");
    let mut lines = Vec::new();
    while let Some(item) = reader.next_item().expect("readable") {
        match item {
            Item::Block(block) if block.info.kind.has_events() => {
                let events = block.events().map(|event| {
                    let (tick, event) = event.expect("whole");
                    format!("{tick} {}", event.name())
                });
                let events: Vec<_> = events.collect();
                let (kind, thread) = (block.info.kind, block.info.thread);
                lines.push(format!("{kind} {thread}: {}", events.join(", ")));
            }
            Item::Block(_) => {}
            Item::End(end) => lines.push(end.to_string()),
            other => panic!("{other:?}"),
        }
    }
    lines
}

//= R6, R7, R8, R9, R10
#[test]
fn everything_in_a_file_comes_into_the_trace() {
    let ring = Ring::full();
    let (trace, found) = ring.recover();
    let expect = [
        "window_start 0: 1000 clock, 3000 clock",
        "table 0: 0 location, 0 label",
        "events 1: 1500 park, 1510 unpark",
        "events 1: 2000 log",
        "registry 1: 1000 thread_start",
        "registry 0: 1600 ctx_create, 1650 task_spawn, 1700 ctx_tag",
        "window_end 0: 3000 thread_totals",
        "closed",
    ];
    assert_eq!(lines(&trace), expect);
    let reader = Reader::new(&trace[..]).expect("a trace");
    let header = reader.header().expect("it is whole");
    assert_eq!((header.process, &*header.program), (4_242, "shop"));
    assert_eq!((found.blocks, found.events, found.threads), (2, 3, 1));
    assert_eq!((found.tasks, found.contexts), (1, 1));
    assert_eq!((found.lost_events, found.lost_blocks), (3, 4));
    assert_eq!(
        (found.cut, found.missing_bytes, found.changed_blocks),
        (0, 0, 0)
    );
    let open = RingFile::open(Cursor::new(&ring.bytes)).expect("a ring");
    assert_eq!(open.state(), RingState::Recording);
}

//= R11
#[test]
fn a_header_that_is_wrong_is_told_with_its_place() {
    let whole = Ring::full().bytes;
    let open = |bytes: &[u8]| {
        RingFile::open(Cursor::new(bytes))
            .map(|_| ())
            .expect_err("wrong")
    };
    for len in 1..RING_HEADER_BYTES {
        let error = open(&whole[..len]);
        assert!(
            matches!(error, RingError::Short(at) if at == len as u64),
            "{error}"
        );
    }
    assert!(matches!(open(b""), RingError::NotARing));
    for at in 0..8 {
        let mut other = whole.clone();
        other[at] ^= 1;
        assert!(matches!(open(&other), RingError::NotARing));
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    assert_eq!(
        open(&newer).to_string(),
        "open a ring file: it is of version 2.0, and this program reads 1.x; use a newer one"
    );
    let end = usize::from(whole[12]) + 4;
    for at in 10..end {
        let mut other = whole.clone();
        other[at] ^= 0x10;
        let error = open(&other);
        assert!(
            matches!(error, RingError::Header { .. }),
            "byte {at}: {error}"
        );
    }
    let mut other = whole;
    other[30] ^= 1;
    assert!(
        open(&other)
            .to_string()
            .ends_with(&format!("at byte {}", end - 4))
    );
}

//= R12
#[test]
fn a_layout_beyond_the_limits_has_no_file() {
    let small = Ring::new().layout;
    for (layout, what) in [
        (
            RingLayout {
                block_bytes: 0,
                ..small
            },
            "blocks of none",
        ),
        (
            RingLayout {
                block_bytes: 1 << 21,
                ..small
            },
            "1048576 bytes",
        ),
        (
            RingLayout {
                frames: u32::MAX,
                ..small
            },
            "1048576 blocks",
        ),
        (
            RingLayout {
                tasks: 1 << 17,
                ..small
            },
            "65536 records",
        ),
        (
            RingLayout {
                contexts: 1 << 17,
                ..small
            },
            "65536 records",
        ),
        (
            RingLayout {
                threads: 1 << 17,
                ..small
            },
            "65536 records",
        ),
        (
            RingLayout {
                table_bytes: 1 << 25,
                ..small
            },
            "tables",
        ),
    ] {
        let error = layout.file_bytes().expect_err("too large");
        assert!(error.contains(what), "{error}");
        let trace = FileHeader::new(ClockKind::Monotonic, 6, 1);
        assert!(RingHeader::new(layout, trace, "").encode().is_err());
    }
}

//= R13
#[test]
fn of_a_file_that_is_cut_off_comes_what_is_there() {
    let ring = Ring::full();
    let (_, whole) = ring.recover();
    for len in (RING_HEADER_BYTES..ring.bytes.len()).step_by(37) {
        let mut open = RingFile::open(Cursor::new(&ring.bytes[..len])).expect("a ring");
        let mut trace = Vec::new();
        let found = open.recover(&mut trace).expect("a trace");
        assert!(
            found.missing_bytes > 0 || found.events == whole.events,
            "{len}"
        );
        assert!(found.events <= whole.events);
        assert_eq!(lines(&trace).last().map(String::as_str), Some("closed"));
    }
}

//= R14
#[test]
fn bytes_that_are_no_event_cut_their_block_and_nothing_else() {
    let mut ring = Ring::full();
    let at = ring.block(
        2,
        [5, 1, 7, 1_500],
        &[(1_500, Event::Park {}), (1_510, Event::Unpark {})],
    );
    ring.bytes[at + 2] = 0x7f;
    let (trace, found) = ring.recover();
    assert_eq!(
        lines(&trace)[2..4],
        ["events 1: 1500 park", "events 1: 2000 log"]
    );
    let what = "event type 0x7f is not in the schema of the trace; read it with a newer version";
    assert_eq!(
        (found.cut, found.cut_at),
        (1, Some(((at + 2) as u64, what.to_owned())))
    );
    assert_eq!(found.events, 2);
}

/// Every byte wrong in some way: it ends, and what comes out is a closed trace.
#[test]
fn no_byte_of_a_file_is_believed() {
    let ring = Ring::full();
    let header = usize::from(ring.bytes[12]) + 4;
    let schema = ring.layout.schema().expect("small").end;
    // Behind the first one, each area has little in it: where nobody is, one byte in 256 stands for all.
    let used: Vec<usize> = (header..2_200)
        .chain([RING_HEADER_BYTES, RING_HEADER_BYTES + 1_000])
        .chain(size::<()>(Ok(schema))..ring.bytes.len())
        .filter(|at| ring.bytes[*at] != 0 || at % 256 == 0)
        .collect();
    for at in used {
        for value in [0xff, ring.bytes[at].wrapping_add(1)] {
            let mut bytes = ring.bytes.clone();
            bytes[at] = value;
            let mut open = RingFile::open(Cursor::new(bytes)).expect("a ring");
            let mut trace = Vec::new();
            let found = open.recover(&mut trace).expect("a trace");
            assert!(found.events < 1_000, "{at}: {found:?}");
            let end = lines(&trace).pop();
            assert_eq!(end.as_deref(), Some("closed"), "{at}: {value}");
        }
    }
}

/// A process that goes on while it is read: what stood in a place then is not what stands there now.
//= R15
#[test]
fn a_block_that_was_used_again_meanwhile_is_left_out() {
    /// Changes the record of a block when the block itself is read.
    struct Living {
        inner: Cursor<Vec<u8>>,
        block: u64,
        record: usize,
    }
    impl std::io::Read for Living {
        fn read(&mut self, place: &mut [u8]) -> std::io::Result<usize> {
            let is_block = self.inner.position() == self.block;
            let read = self.inner.read(place)?;
            if is_block {
                self.inner.get_mut()[self.record + 16] += 1;
            }
            Ok(read)
        }
    }
    impl std::io::Seek for Living {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.inner.seek(to)
        }
    }
    let ring = Ring::full();
    let mut open = RingFile::open(Living {
        block: ring.layout.blocks().expect("small").start,
        record: size(ring.layout.frame_records().map(|area| area.start)),
        inner: Cursor::new(ring.bytes),
    })
    .expect("a ring");
    let mut trace = Vec::new();
    let found = open.recover(&mut trace).expect("a trace");
    assert_eq!((found.changed_blocks, found.blocks), (1, 1));
    let lines = lines(&trace);
    assert!(
        lines
            .iter()
            .any(|line| line == "events 1: 1500 park, 1510 unpark")
    );
    assert!(!lines.iter().any(|line| line.contains("log")));
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with(BlockKind::Index.as_str()))
    );
}
