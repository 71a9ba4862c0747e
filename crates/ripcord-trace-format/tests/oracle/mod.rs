//! What holds of all bytes that are read as a trace.
//!
//! The same code is behind the fuzz target `trace_file`, the replay of its corpus, and the tests
//! that damage a sample.

use ripcord_trace_format::{
    BLOCK_HEADER_BYTES, Block, Decoder, EVENT_BYTES_MAX, Encoder, End, Event, Item, Position,
    ReadError, Reader, Schema, text,
};
use std::sync::LazyLock;

/// Made once: it is asked for each event.
static KNOWN: LazyLock<Schema> = LazyLock::new(Schema::current);

/// What was found in a trace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Offset and bytes with the header.
    pub(crate) blocks: Vec<(u64, u64)>,
    /// Offset and bytes.
    pub(crate) damage: Vec<(u64, u64)>,
    pub(crate) events: usize,
    pub(crate) wrong: usize,
    /// Blocks that cannot be used; how long they are is not told.
    pub(crate) skipped: usize,
    pub(crate) end: Option<End>,
}

/// Any bytes are a trace, with its header or without.
pub(crate) fn check(data: &[u8]) {
    if let Ok(reader) = Reader::new(data) {
        let begins = reader.header().map_or(0, |header| header.encode().len());
        let is_whole = reader.header().is_some();
        let found = read(reader);
        let twin = twin(Reader::new(data).expect("it could be read before"));
        let is_good = found.damage.is_empty()
            && found.skipped == 0
            && matches!(
                found.end,
                Some(End::NotClosed | End::Closed { trailing: 0 })
            );
        let stored: u64 = found.blocks.iter().map(|(_, bytes)| bytes).sum();
        // A header with more fields, or a compressed block, has another twin.
        if is_good && is_whole && begins as u64 + stored == data.len() as u64 {
            assert_eq!(text::parse(&twin).as_deref(), Ok(data), "{twin}");
        }
    }
    let found = read(Reader::headless(data));
    accounts(&found, data.len());
}

/// Everything that a reader finds; each event is encoded again.
pub(crate) fn read(reader: Reader<&[u8]>) -> Found {
    read_with(reader, decode)
}

/// The blocks and what is between them, not looked into.
#[allow(
    dead_code,
    reason = "not every test that shares this file damages traces"
)]
pub(crate) fn skim(reader: Reader<&[u8]>) -> Found {
    read_with(reader, |_, _| {})
}

fn read_with(mut reader: Reader<&[u8]>, decode: fn(&Block<'_>, &mut Found)) -> Found {
    let mut found = Found::default();
    while let Some(item) = reader.next_item().expect("a slice cannot fail") {
        assert_eq!(found.end, None, "something follows the end");
        match item {
            Item::Block(block) => {
                let bytes = BLOCK_HEADER_BYTES + block.payload.len();
                found.blocks.push((block.offset, bytes as u64));
                decode(&block, &mut found);
            }
            Item::Damage { offset, bytes } => found.damage.push((offset, bytes)),
            Item::End(end) => found.end = Some(end),
            _ => found.skipped += 1,
        }
    }
    found
}

/// Events come back when they are encoded again, also if a stranger has put them into other forms
/// than an encoder of ours would; and a decoder may stop before and behind each of them.
fn decode(block: &Block<'_>, found: &mut Found) {
    // A reference takes less than what it stands for.
    let mut buffer = vec![0; 64 * block.payload.len() + EVENT_BYTES_MAX];
    let first_tick = block.info.first_tick;
    let mut encoder = Encoder::new(&mut buffer, first_tick);
    let mut events = block.events();
    let mut position = Position::at(first_tick);
    let mut ours = Vec::new();
    while let Some(event) = events.next() {
        let mut again = Decoder::resume(block.payload, position, block.schema);
        assert_eq!(again.next(), Some(event));
        let mut again = Decoder::resume(block.payload, again.pause_before_last(), block.schema);
        assert_eq!(again.next(), Some(event));
        position = again.pause();
        let Ok((tick, event)) = event else {
            found.wrong += 1;
            assert_eq!(events.next(), None, "something follows an error");
            break;
        };
        found.events += 1;
        assert!(tick >= encoder.progress().tick);
        if let Event::Unknown(raw) = event {
            let shown = block.schema.describe(&raw).to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
        } else if encoder.push(tick, &event).is_ok() {
            ours.push((tick, event));
        }
    }
    let again = Decoder::new(encoder.written(), first_tick, &KNOWN);
    let again: Result<Vec<_>, _> = again.collect();
    assert_eq!(again, Ok(ours));
}

/// Without a file header, every byte is of a block, of damage or of the tail.
fn accounts(found: &Found, len: usize) {
    let blocks = found.blocks.iter().chain(&found.damage);
    let told: u64 = blocks.map(|(_, bytes)| bytes).sum();
    let tail = match found.end {
        Some(End::Truncated { bytes, .. } | End::Closed { trailing: bytes }) => bytes,
        _ => 0,
    };
    let (told, len) = (told + tail, len as u64);
    if found.skipped == 0 {
        assert_eq!(told, len, "{found:?}");
    } else {
        assert!(told < len, "{found:?} of {len} bytes");
    }
}

pub(crate) fn twin(mut reader: Reader<&[u8]>) -> String {
    let mut twin = Vec::new();
    let written: Result<(), ReadError> = text::write(&mut reader, &mut twin);
    written.expect("neither can fail");
    let twin = String::from_utf8(twin).expect("text");
    //= T23
    let is_bad = |letter: char| letter.is_control() && letter != '\n';
    assert!(!twin.contains(is_bad), "{twin:?}");
    twin
}
