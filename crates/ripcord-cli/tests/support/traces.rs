//! Traces for the tests of `ripcord trace`, as text that becomes bytes, in files of their own.

use ripcord_trace_format::text;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A folder for one test, empty.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trace-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file with these bytes; its name as an argument.
pub(crate) fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A trace in a file, closed.
pub(crate) fn trace(folder: &Path, name: &str, blocks: &str) -> String {
    file(folder, name, &closed(blocks))
}

/// The bytes of a trace of these blocks, with header, schema, index and end. A tick is a
/// microsecond.
pub(crate) fn closed(blocks: &str) -> Vec<u8> {
    use ripcord_trace_format::{ClockKind, FileHeader, Item, Reader, Writer};
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000)
        .started(7, 1_790_000_000_000_000_000)
        .program("shop");
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let plain = text::parse(blocks).unwrap_or_else(|error| panic!("{error}"));
    let mut reader = Reader::headless(&plain[..]);
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Block(block) = item {
            writer.block(block.info, block.payload).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// A block of a thread's events, each as its tick and its text.
pub(crate) fn thread(number: u32, events: &[(u64, &str)]) -> String {
    block("events", number, events)
}

pub(crate) fn block(kind: &str, thread: u32, events: &[(u64, &str)]) -> String {
    let first = events.first().map_or(0, |(tick, _)| *tick);
    let last = events.last().map_or(0, |(tick, _)| *tick);
    let count = events.len();
    let mut text =
        format!("block {kind} window=1 thread={thread} first={first} last={last} events={count}\n");
    let mut before = first;
    for (tick, event) in events {
        writeln!(text, "  +{} {event}", tick - before).unwrap();
        before = *tick;
    }
    text
}

/// A request that had 3 s and ended 1.6 s late, because its task waited for a lock without listening.
/// Every name of it has a control character.
pub(crate) fn late() -> String {
    let tables = block(
        "table",
        0,
        &[
            (
                0,
                r#"location index=0 file="src/\u{1b}main.rs" line=12 column=5"#,
            ),
            (0, r#"location index=1 file="src/risk.rs" line=88 column=9"#),
            (
                0,
                r#"label index=0 text="\u{1b}[31mlock of the cart" loc=1"#,
            ),
            (0, r#"label index=1 text="request.id" loc=-"#),
        ],
    );
    let events = thread(
        1,
        &[
            (0, r#"thread_start kind=worker name="worker\u{7}-0""#),
            (
                0,
                r#"ctx_create id=90 parent=- kind=root loc=0 deadline=3000000 name="GET /orders\u{9b}2J""#,
            ),
            (0, r#"ctx_tag id=90 key=1 text="8f3""#),
            (
                1,
                "ctx_create id=91 parent=90 kind=child loc=1 deadline=- name=\"\"",
            ),
            (
                2,
                r#"task_spawn slot=0 id=500 parent=- ctx=91 loc=1 bytes=712 name="risk.check\u{1b}""#,
            ),
            (10, "poll_start slot=0 seq=0"),
            (11, r#"log text="secret\u{1b}[2J""#),
            (20, "poll_pending label=0"),
            (
                3_000_000,
                r#"ctx_cancel id=90 kind=deadline_exceeded by=- loc=- due=0 message="too\u{1b} late""#,
            ),
            (4_600_000, "wake slot=0 seq=1 by=driver waker=1"),
            (4_600_001, "poll_start slot=0 seq=1"),
            (4_600_002, "ctx_seen id=91 task=500 how=check loc=1"),
            (4_600_003, "poll_ready"),
            (
                4_600_004,
                r#"task_end slot=0 id=500 outcome=ready parent=- ctx=91 loc=1 polls=2 busy=12 name="risk.check\u{1b}""#,
            ),
            (4_600_005, "ctx_end id=91 parent=90 loc=1 name=\"\""),
            (
                4_600_006,
                r#"ctx_end id=90 parent=- loc=0 name="GET /orders\u{9b}2J""#,
            ),
        ],
    );
    format!("{tables}{events}")
}
