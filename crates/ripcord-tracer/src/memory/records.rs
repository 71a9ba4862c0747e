//! What lives, in the file: [`Records`], one for each slot.
//!
//! A record has the events that a dump would write of whoever has the slot: that it began, what it is
//! known as, how it ended. They are written when they happen, and the record is nobody's when it is over.
//!
//! # Invariants
//! 1. A record is written to by one thread at a time: by whoever has the slot, or holds the lock of what was
//!    said of it. A thread that would not would garble what a trace says of one context, and nothing else.
//!
//! # Order
//! `begin`: the record is nobody's, then its ticks and bytes, then its length. `add`: bytes behind those that
//! are told, then the length. So whoever reads finds a beginning of what was said, never a mixture of two;
//! and a record is told before the event that says the same goes into the ring.
//!
//! # Room
//! What is said of a context is a hundred bytes at most times: its name, the id of its request and of its
//! trace, its end. Longer texts are cut, first to 64 bytes and then to what fits; a tag leaves room for
//! the end, which matters more. What finds no room at all is counted.
//!
//! # Costs
//! An encoding of the event on the stack, and a store for every eight bytes of it.

use super::mapping::Mapping;
use ripcord_trace_format::{
    BlockMemory, Encoder, Event, IdText, Progress, RING_CONTEXT_BYTES, RING_LIVE_HEAD_BYTES,
    RingWord,
};
use std::sync::Arc;

/// The records of the tasks, or those of the contexts.
///
/// As many as the file has: slots are small numbers and are used again, so that those beyond are of
/// programs with more than that at a time.
pub(crate) struct Records {
    /// The file.
    map: Arc<Mapping>,
    /// Where the first is in the file.
    start: usize,
    /// How many there are.
    count: usize,
    /// Bytes of each.
    bytes: usize,
}

impl Records {
    /// So many records, the first at `start`.
    pub(super) fn new(map: &Arc<Mapping>, start: usize, count: usize, bytes: usize) -> Self {
        Self {
            map: Arc::clone(map),
            start,
            count,
            bytes,
        }
    }

    /// Somebody has the slot from now on.
    ///
    /// Slots beyond the file's have no record, which is counted.
    pub(crate) fn begin(&self, number: u32, tick: u64, event: &Event<'_>) {
        let Some(at) = self.at(number) else {
            self.map.count(RingWord::LostLive.offset());
            return;
        };
        self.map.publish(at, 0);
        self.map.publish(at + FIRST_TICK, tick);
        self.map.publish(at + LAST_TICK, tick);
        self.put(at, Progress::at(tick), tick, event, 0);
    }

    /// Something else is to be said of who has the slot.
    ///
    /// Something that is not an end leaves room for one.
    pub(crate) fn add(&self, number: u32, tick: u64, event: &Event<'_>) {
        // That a slot has no record was counted at its beginning.
        let Some(at) = self.at(number) else { return };
        let filled = self.map.load(at);
        if filled == 0 {
            return;
        }
        let mut progress = Progress::at(self.map.load(at + LAST_TICK));
        // Halves of a word: they always fit.
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        progress.len = usize::try_from(half(filled)).unwrap_or(usize::MAX);
        progress.events = half(filled >> 32);
        let kept = match event {
            Event::CtxCancel { .. } => 0,
            _ => END_BYTES,
        };
        self.put(at, progress, tick, event, kept);
    }

    /// Nobody has the slot any more.
    ///
    /// One store: the bytes stay until somebody else has it.
    pub(crate) fn clear(&self, number: u32) {
        if let Some(at) = self.at(number) {
            self.map.publish(at, 0);
        }
    }

    /// Where the record of a slot is; `None` beyond the last.
    fn at(&self, number: u32) -> Option<usize> {
        let number = usize::try_from(number).ok()?;
        (number < self.count).then(|| self.start + number * self.bytes)
    }

    /// Encodes an event behind the others, with less and less of its text until there is room.
    ///
    /// `before` may be wrong, if somebody else has written to the file: then there is no room, or the
    /// bytes are no event, and nothing worse.
    fn put(&self, at: usize, before: Progress, tick: u64, event: &Event<'_>, kept: usize) {
        let mut buffer = [0; RING_CONTEXT_BYTES];
        let room = self.bytes - RING_LIVE_HEAD_BYTES - kept;
        let Some(room) = buffer.get_mut(..room) else {
            return;
        };
        for text in TEXTS {
            let mut encoder = Encoder::resume(room, before, BlockMemory::new());
            // A record has no memory of its events, and nobody to keep one for it.
            if encoder.push_alone(tick, &with_text(event, text)).is_err() {
                continue;
            }
            let after = encoder.progress();
            let written = room.get(before.len..after.len).unwrap_or_default();
            self.map
                .store(at + RING_LIVE_HEAD_BYTES + before.len, written);
            self.map.publish(at + LAST_TICK, after.tick);
            let filled = u64::from(after.events) << 32 | after.len as u64;
            self.map.publish(at, filled);
            return;
        }
        self.map.count(RingWord::LostLive.offset());
    }
}

/// The event with at most so many bytes of its text.
fn with_text<'a>(event: &'a Event<'_>, text_max: usize) -> Event<'a> {
    let cut = |text: &'a str| {
        let end = (0..=text_max.min(text.len())).rev();
        let end = end.into_iter().find(|end| text.is_char_boundary(*end));
        text.get(..end.unwrap_or(0)).unwrap_or_default()
    };
    if let Event::CtxTag { id, key, text } = event {
        let text = IdText::new(cut(text));
        return Event::CtxTag {
            id: *id,
            key: *key,
            text,
        };
    }
    let mut event = *event;
    match &mut event {
        Event::TaskSpawn { name: text, .. }
        | Event::JobQueued { name: text, .. }
        | Event::CtxCreate { name: text, .. }
        | Event::CtxCancel { message: text, .. } => *text = cut(text),
        _ => {}
    }
    event
}

/// Bytes of text, the first that has room counts.
const TEXTS: [usize; 5] = [64, 40, 24, 12, 0];

/// Bytes that an end without a message takes at most.
const END_BYTES: usize = 64;

/// Word of the head: what the first event counts from.
const FIRST_TICK: usize = 8;

/// Word of the head: what the next one counts from.
const LAST_TICK: usize = 16;
