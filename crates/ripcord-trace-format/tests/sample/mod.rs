//! A trace with every event, two windows, three threads and an end.

#![allow(
    dead_code,
    reason = "not every test that shares this file needs all of it"
)]

use ripcord_trace_format::{
    BlockInfo, BlockKind, CauseKind, ClockKind, CtxKind, Encoder, Event, FileHeader, IdText,
    Outcome, SeenHow, Seq, StackWhy, ThreadKind, WakeBy, Writer,
};

pub(crate) fn header() -> FileHeader {
    FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000)
        .program("shop \"north\"")
        .started(4_242, 1_790_000_000_000_000_000)
}

/// Thread 1: the life of a task.
pub(crate) const TASK: &[(u64, Event<'static>)] = &[
    (
        1_000,
        Event::ThreadStart {
            kind: ThreadKind::Worker,
            name: "worker-0",
        },
    ),
    (
        1_001,
        Event::CtxCreate {
            id: 90,
            parent: None,
            kind: CtxKind::Root,
            loc: Some(0),
            deadline: None,
            name: "request",
        },
    ),
    (
        1_002,
        Event::CtxCreate {
            id: 91,
            parent: Some(90),
            kind: CtxKind::Deadline,
            loc: Some(1),
            deadline: Some(3_125_000),
            name: "",
        },
    ),
    (
        1_010,
        Event::TaskSpawn {
            slot: 0,
            id: 500,
            parent: None,
            ctx: Some(91),
            loc: Some(1),
            bytes: 712,
            name: "fetch",
        },
    ),
    (
        1_020,
        Event::PollStart {
            slot: 0,
            seq: Seq::new(0),
        },
    ),
    (1_021, Event::RegionBegin { label: 2 }),
    (
        1_022,
        Event::Log {
            text: "two\nlines, a \"quote\", a bell \u{7} and \u{202e}turned",
        },
    ),
    (1_023, Event::RegionEnd {}),
    (1_030, Event::PollPending { label: Some(2) }),
    (1_031, Event::Park {}),
    (2_000, Event::Unpark {}),
    (
        2_001,
        Event::Wake {
            slot: 0,
            seq: Seq::new(1),
            by: WakeBy::Driver,
            waker: Some(0),
        },
    ),
    (
        2_002,
        Event::PollStart {
            slot: 0,
            seq: Seq::new(1),
        },
    ),
    (2_003, Event::PollYield {}),
    (
        2_003,
        Event::CtxVain {
            id: 91,
            loc: Some(1),
            deadline: 5_000_000,
        },
    ),
    (
        2_003,
        Event::CtxTag {
            id: 90,
            key: 2,
            text: IdText::new("8f3"),
        },
    ),
    (
        2_004,
        Event::PollStart {
            slot: 0,
            seq: Seq::new(2),
        },
    ),
    (2_010, Event::PollPreempt {}),
    (
        2_010,
        Event::Wake {
            slot: 0,
            seq: Seq::new(3),
            by: WakeBy::Cancel,
            waker: Some(91),
        },
    ),
    (
        2_011,
        Event::PollStart {
            slot: 0,
            seq: Seq::new(3),
        },
    ),
    (2_012, Event::TaskCtx { slot: 0, ctx: 90 }),
    (
        2_013,
        Event::JobQueued {
            job: 7,
            parent: Some(500),
            ctx: Some(90),
            loc: Some(0),
            name: "hash",
        },
    ),
    (
        2_014,
        Event::CtxCancel {
            id: 91,
            kind: CauseKind::DeadlineExceeded,
            by: Some(500),
            loc: None,
            due: Some(-250),
            message: "too late",
        },
    ),
    (
        2_015,
        Event::CtxSeen {
            id: 91,
            task: Some(500),
            how: SeenHow::Check,
            loc: Some(1),
        },
    ),
    (2_016, Event::PollReady {}),
    (
        2_017,
        Event::TaskEnd {
            slot: 0,
            id: 500,
            outcome: Outcome::Ready,
            parent: None,
            ctx: Some(90),
            loc: Some(1),
            polls: 4,
            busy: 26,
            name: "fetch",
        },
    ),
    (
        2_018,
        Event::CtxEnd {
            id: 91,
            parent: Some(90),
            loc: Some(1),
            name: "",
        },
    ),
    (
        2_019,
        Event::UserTaskBegin {
            id: 1,
            name: "checkout",
        },
    ),
    (2_020, Event::UserTaskEnd { id: 1 }),
    (
        2_021,
        Event::PollStart {
            slot: 3,
            seq: Seq::new(127),
        },
    ),
    (2_021, Event::PollListening { label: None }),
    (
        2_021,
        Event::PollStart {
            slot: 3,
            seq: Seq::new(0),
        },
    ),
    (2_022, Event::PollLost {}),
    (2_022, Event::TaskLost { slot: 3 }),
    (
        2_023,
        Event::Stack {
            task: 503,
            why: StackWhy::Lost,
            leaf: 0,
            text: "tokio::sync::mutex\nshop::fetch",
        },
    ),
];

/// Thread 2: blocking work, and what was lost.
pub(crate) const JOB: &[(u64, Event<'static>)] = &[
    (2_500, Event::JobStart { job: 7 }),
    (
        2_900,
        Event::JobEnd {
            job: 7,
            outcome: Outcome::Panicked,
            parent: Some(500),
            ctx: Some(90),
            loc: Some(0),
            name: "hash",
        },
    ),
    (2_901, Event::Dropped { events: 12 }),
    (
        2_902,
        Event::Stall {
            slot: Some(3),
            ticks: 800,
        },
    ),
    (2_903, Event::ThreadStop {}),
    (
        2_903,
        Event::TaskEnd {
            slot: u64::MAX,
            id: u64::MAX,
            outcome: Outcome::Other(99),
            parent: Some(u64::MAX - 1),
            ctx: None,
            loc: None,
            polls: u64::MAX,
            busy: 0,
            name: "é",
        },
    ),
];

const TABLE: &[(u64, Event<'static>)] = &[
    (
        0,
        Event::Location {
            index: 0,
            file: "src/main.rs",
            line: 12,
            column: 5,
        },
    ),
    (
        0,
        Event::Location {
            index: 1,
            file: "src/fetch.rs",
            line: 212,
            column: 17,
        },
    ),
    (
        0,
        Event::Label {
            index: 2,
            text: "lock of the cart",
            loc: Some(1),
        },
    ),
];

const START: &[(u64, Event<'static>)] = &[
    (
        1_000,
        Event::Clock {
            monotonic: 64_000,
            wall: 1_790_000_000_000_000_000,
        },
    ),
    (
        1_000,
        Event::Metric {
            label: 2,
            value: -4,
        },
    ),
];

const TOTALS: &[(u64, Event<'static>)] = &[
    (
        3_000,
        Event::ThreadTotals {
            thread: 1,
            events: 34,
            dropped: 0,
        },
    ),
    (
        3_000,
        Event::ThreadTotals {
            thread: 2,
            events: 6,
            dropped: 12,
        },
    ),
];

const ALIVE: &[(u64, Event<'static>)] = &[(
    3_500,
    Event::TaskSpawn {
        slot: 3,
        id: 503,
        parent: Some(500),
        ctx: None,
        loc: Some(0),
        bytes: 96,
        name: "deaf",
    },
)];

pub(crate) fn put(
    writer: &mut Writer<Vec<u8>>,
    kind: BlockKind,
    [window, thread]: [u32; 2],
    events: &[(u64, Event<'_>)],
) {
    let mut buffer = vec![0; 16 * 1024];
    let first_tick = events.first().map_or(0, |(tick, _)| *tick);
    let mut encoder = Encoder::new(&mut buffer, first_tick);
    for (tick, event) in events {
        encoder.push(*tick, event).expect("16 KiB are enough");
    }
    let info = BlockInfo {
        window,
        thread,
        first_tick,
        ..BlockInfo::new(kind)
    };
    writer.events(info, &encoder).expect("a vector takes all");
}

pub(crate) fn trace() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).expect("a vector takes all");
    put(&mut writer, BlockKind::Table, [0, 0], TABLE);
    put(&mut writer, BlockKind::WindowStart, [1, 0], START);
    put(&mut writer, BlockKind::Events, [1, 1], TASK);
    put(&mut writer, BlockKind::Events, [1, 2], JOB);
    put(&mut writer, BlockKind::WindowEnd, [1, 0], TOTALS);
    put(&mut writer, BlockKind::Registry, [2, 0], ALIVE);
    writer.finish().expect("a vector takes all")
}
