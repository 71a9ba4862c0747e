//! One order of all events, tables, time, and what is missing.

mod support;

use ripcord_analysis::read::{OpenErrorKind, Origin, Trace};
use ripcord_trace_format::{
    BlockInfo, BlockKind, ClockKind, Compression, Encoder, End, Event, FileHeader, Writer,
};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use support::{block, bytes, in_order, thread, trace};

/// Tick, thread and name of each event.
fn order(blocks: &[String]) -> Vec<(u64, u32, String)> {
    let mut trace = trace(&blocks.concat());
    in_order(&mut trace, |step| {
        let name = format!("{:?}", step.event);
        let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
        (step.tick, step.thread, name)
    })
}

fn names(blocks: &[String]) -> Vec<String> {
    let all = order(blocks).into_iter();
    all.map(|(tick, thread, name)| format!("{tick} {thread} {name}"))
        .collect()
}

const SPAWN: &str = r#"task_spawn slot=0 id=5 parent=- ctx=- loc=- bytes=1 name="t""#;
const END: &str =
    r#"task_end slot=0 id=5 outcome=ready parent=- ctx=- loc=- polls=1 busy=1 name="t""#;

#[test]
fn threads_are_merged_by_their_ticks() {
    let blocks = [
        thread(1, &[(10, "park"), (30, "unpark")]),
        thread(2, &[(20, "park"), (40, "unpark")]),
        thread(1, &[(50, "park")]),
    ];
    assert_eq!(
        names(&blocks),
        [
            "10 1 Park",
            "20 2 Park",
            "30 1 Unpark",
            "40 2 Unpark",
            "50 1 Park"
        ]
    );
}

#[test]
fn a_poll_comes_after_its_wake_whatever_the_ticks_say() {
    let blocks = [
        thread(
            1,
            &[
                (10, "poll_start slot=0 seq=3"),
                (20, "poll_pending label=-"),
                (90, "poll_start slot=0 seq=4"),
                (95, "poll_ready"),
            ],
        ),
        // By this thread's clock the wake came after the poll that it asked for.
        thread(
            2,
            &[(100, "wake slot=0 seq=4 by=task waker=9"), (101, "park")],
        ),
    ];
    assert_eq!(
        names(&blocks),
        [
            "10 1 PollStart",
            "20 1 PollPending",
            "100 2 Wake",
            "100 1 PollStart",
            "100 1 PollReady",
            "101 2 Park"
        ]
    );
}

#[test]
fn a_poll_comes_after_its_spawn_and_a_spawn_after_the_end_before_it() {
    let respawn = SPAWN.replace("id=5", "id=6");
    let blocks = [
        thread(
            1,
            &[
                (10, "poll_start slot=0 seq=0"),
                (11, "poll_ready"),
                (18, END),
            ],
        ),
        thread(2, &[(12, SPAWN), (15, &respawn)]),
    ];
    assert_eq!(
        names(&blocks),
        [
            "12 2 TaskSpawn",
            "12 1 PollStart",
            "12 1 PollReady",
            "18 1 TaskEnd",
            "18 2 TaskSpawn"
        ]
    );
}

#[test]
fn a_lost_wake_delays_its_thread_by_a_millisecond_and_no_more() {
    let mut trace = trace(
        &[
            thread(
                1,
                &[
                    (10, "poll_start slot=0 seq=3"),
                    (20, "poll_pending label=-"),
                    (90, "poll_start slot=0 seq=4"),
                    (95, "poll_ready"),
                ],
            ),
            thread(2, &[(100, "park"), (1_090, "unpark"), (1_091, "park")]),
        ]
        .concat(),
    );
    let ticks = in_order(&mut trace, |step| step.tick);
    assert_eq!(ticks, [10, 20, 100, 1_090, 90, 95, 1_091]);
    assert_eq!(trace.health().missing_wakes, 1);
    // A second way counts anew.
    in_order(&mut trace, |_| ());
    assert_eq!(trace.health().missing_wakes, 1);
}

#[test]
fn yields_and_ring_beginnings_need_no_wake() {
    let blocks = [
        thread(
            1,
            &[
                (10, "poll_start slot=0 seq=3"),
                (11, "poll_yield"),
                (12, "poll_start slot=0 seq=4"),
                (13, "poll_preempt"),
                (14, "poll_start slot=0 seq=5"),
            ],
        ),
        thread(2, &[(10, "park"), (9_000, "unpark")]),
    ];
    let mut trace = trace(&blocks.concat());
    let ticks = in_order(&mut trace, |step| step.tick);
    assert!(ticks.is_sorted());
    assert_eq!(trace.health().missing_wakes, 0);
}

#[test]
fn the_registry_comes_first_and_is_told_apart() {
    let blocks = [
        thread(1, &[(5, SPAWN)]),
        block("registry", 0, &[(3, SPAWN), (5, SPAWN)]),
        block(
            "registry",
            8,
            &[(900, r#"thread_start kind=worker name="w-8""#)],
        ),
    ];
    let mut trace = trace(&blocks.concat());
    let origins = in_order(&mut trace, |step| (step.tick, step.origin));
    assert_eq!(
        origins,
        [
            (3, Origin::Registry),
            (5, Origin::Registry),
            (5, Origin::Thread),
            (900, Origin::Registry)
        ]
    );
    let thread = trace.tables().thread(8).expect("it was told");
    assert_eq!((thread.kind, thread.name.as_str()), ("worker", "w-8"));
    assert_eq!(trace.span(), Some((5, 5)));
}

#[test]
fn tables_are_read_before_any_event() {
    let table = block(
        "table",
        0,
        &[
            (0, r#"location index=3 file="src/a.rs" line=7 column=1"#),
            (0, r#"label index=18446744073709551615 text="lock" loc=-"#),
        ],
    );
    let start = thread(4, &[(1, r#"thread_start kind=blocking name="b""#)]);
    let trace = trace(&[start, table].concat());
    let tables = trace.tables();
    assert_eq!(
        tables.location(3).map(ToString::to_string).as_deref(),
        Some("a.rs:7")
    );
    assert_eq!(tables.label(u64::MAX).map(AsRef::as_ref), Some("lock"));
    assert_eq!(tables.thread(4).map(|thread| thread.kind), Some("blocking"));
    assert!(tables.location(2).is_none());
}

#[test]
fn what_is_lost_is_counted() {
    let events = [(1, "dropped events=12"), (2, "park")];
    let mut inline = trace(&thread(1, &events));
    in_order(&mut inline, |_| ());
    assert_eq!(inline.health().lost_by_recorder, 12);

    let totals = block(
        "window_end",
        0,
        &[(9, "thread_totals thread=1 events=2 dropped=20")],
    );
    let mut told = trace(&(thread(1, &events) + &totals));
    in_order(&mut told, |_| ());
    // The totals count those of the event, too.
    assert_eq!(told.health().lost_by_recorder, 20);
    assert_eq!(told.tables().thread(1).map(|thread| thread.lost), Some(20));
}

#[test]
fn a_wrong_event_ends_its_block_and_nothing_else() {
    let block = "block events window=1 thread=1 first=5 last=9 events=4\n  +0 park\n  ..ff\n";
    let mut trace = trace(&(block.to_owned() + &thread(1, &[(20, "unpark")])));
    assert_eq!(in_order(&mut trace, |step| step.tick), [5, 20]);
    assert_eq!(
        (trace.health().wrong_blocks, trace.health().wrong_events),
        (1, 3)
    );
    assert!(!trace.health().is_whole());
}

#[test]
fn damage_and_a_torn_end_are_told_and_the_rest_is_read() {
    let mut bytes = bytes(&[thread(1, &[(5, "park")]), thread(1, &[(6, "unpark")])].concat());
    let len = bytes.len();
    bytes.truncate(len - 1);
    let mut torn = Trace::new(Cursor::new(bytes.clone())).expect("its header is whole");
    assert_eq!(in_order(&mut torn, |step| step.tick), [5]);
    assert!(
        matches!(torn.health().end, End::Truncated { .. }),
        "{}",
        torn.health().end
    );

    let at = support::bytes("").len();
    bytes.splice(at..at, *b"garbage");
    let mut damaged = Trace::new(Cursor::new(bytes)).expect("its header is whole");
    assert_eq!(in_order(&mut damaged, |step| step.tick), [5]);
    let health = damaged.health();
    assert_eq!((health.damaged_count, health.damaged_bytes), (1, 7));
    assert_eq!(health.damaged[0].offset, at as u64);
}

#[test]
fn compressed_blocks_are_read_within_their_declared_length() {
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000);
    let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes all");
    let mut buffer = vec![0; 4_096];
    let mut encoder = Encoder::new(&mut buffer, 0);
    for tick in 0..1_000 {
        encoder.push(tick, &Event::Park {}).expect("it fits");
    }
    let plain = encoder.written();
    let info = BlockInfo {
        thread: 1,
        last_tick: 999,
        events: 1_000,
        ..BlockInfo::new(BlockKind::Events)
    };
    let stored = zstd::bulk::compress(plain, 1).expect("it is small");
    let zstd = Compression::Zstd;
    writer
        .compressed(info, zstd, &stored, plain.len())
        .expect("a vector takes all");
    // A bomb: it says that it is small, and is not.
    writer
        .compressed(info, zstd, &stored, 10)
        .expect("a vector takes all");
    writer
        .compressed(info, Compression::Other(2), &stored, 10)
        .expect("a vector takes all");
    let bytes = writer.finish().expect("a vector takes all");
    let mut trace = Trace::new(Cursor::new(bytes)).expect("it is a trace");
    assert_eq!(
        in_order(&mut trace, |step| step.tick),
        (0..1_000).collect::<Vec<_>>()
    );
    assert_eq!(trace.health().skipped_count, 2);
    assert!(
        trace.health().skipped[1]
            .why
            .contains("#2, which this version cannot undo"),
        "{:?}",
        trace.health().skipped
    );
}

#[test]
fn only_blocks_in_the_range_are_read() {
    let blocks: Vec<_> = (0..10).map(|at| thread(1, &[(at * 10, "park")])).collect();
    let mut trace = trace(&blocks.concat());
    let mut ticks = Vec::new();
    let done = trace
        .events_in(35..=60)
        .for_each(|step| ticks.push(step.tick));
    done.expect("memory can be read");
    assert_eq!(ticks, [40, 50, 60]);
}

#[test]
fn what_is_no_trace_is_refused_with_its_own_error() {
    let newer = {
        let mut bytes = FileHeader::new(ClockKind::Monotonic, 0, 1).encode();
        bytes[8] = 9;
        // The sum is made anew by nobody, so the version is only believed with a good one.
        bytes
    };
    let damaged = Trace::new(Cursor::new(newer)).expect("a header without a good sum is damage");
    assert!(!damaged.health().has_header);
    let kinds = [&b""[..], b"PK\x03\x04"].map(|bytes| {
        let error = Trace::new(Cursor::new(bytes)).expect_err("it is no trace");
        matches!(error.kind, OpenErrorKind::Empty)
    });
    assert_eq!(kinds, [true, false]);
    let error = Trace::open("/nowhere/at/all.ript").expect_err("there is no such file");
    assert!(
        matches!(&error.kind, OpenErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound)
    );
}

/// Fails after so many bytes.
struct Failing(Cursor<Vec<u8>>, u64);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.1.saturating_sub(self.0.position());
        if left == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.0.read(&mut buf[..len])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn an_input_that_fails_says_where_and_what_was_good() {
    let bytes = bytes(&[thread(1, &[(5, "park")]), thread(1, &[(6, "unpark")])].concat());
    let len = bytes.len() as u64;
    let error = Trace::new(Failing(Cursor::new(bytes), len - 1)).expect_err("it fails");
    assert_eq!(error.blocks, 1);
    assert!(error.to_string().contains("after 1 good blocks"), "{error}");
}
