//! Traces as text: what several tests write and read.

#![allow(
    dead_code,
    reason = "not every test that shares this file needs all of it"
)]

pub(crate) mod request;

use ripcord_analysis::read::{Step, Trace};
use ripcord_trace_format::text;
use std::fmt::Write as _;
use std::io::Cursor;

/// A tick is a microsecond, and the trace begins at tick 0.
pub(crate) const HEADER: &str = "ript 1.0 clock=monotonic shift=0 frequency=1000000 process=7 \
                                 wall=1790000000000000000 program=\"shop\"\n";

/// A trace of blocks that stand in the text, with the header before them.
pub(crate) fn trace(blocks: &str) -> Trace<Cursor<Vec<u8>>> {
    Trace::new(Cursor::new(bytes(blocks))).expect("it begins as a trace")
}

pub(crate) fn bytes(blocks: &str) -> Vec<u8> {
    text::parse(&format!("{HEADER}{blocks}")).unwrap_or_else(|error| panic!("{error}"))
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
        writeln!(text, "  +{} {event}", tick - before).expect("a string takes all");
        before = *tick;
    }
    text
}

/// What `show` makes of each event, in the order in which they are given.
pub(crate) fn in_order<T>(
    trace: &mut Trace<Cursor<Vec<u8>>>,
    mut show: impl FnMut(&Step<'_>) -> T,
) -> Vec<T> {
    let mut all = Vec::new();
    let done = trace.events().for_each(|step| all.push(show(&step)));
    done.expect("memory can be read");
    all
}
