//! The text twin of a trace: for tests, for diffs, and for people with an editor.
//!
//! A line is a header, a block, or something of the block above it; `#` begins a comment.
//!
//! ```text
//! ript 1.0 clock=monotonic shift=6 frequency=1000000000 process=42 wall=0 program="shop"
//! block events window=1 thread=3 first=100 last=125 events=2
//!   +0 poll_start slot=7 seq=3
//!   +25 poll_ready
//! # not closed
//! ```
//!
//! An event shows its ticks since the one before it. A text stands in quotes, without control
//! characters; nothing is `-`; what has no better form is `..` and hex digits.
//!
//! # Forms
//! An event may stand in a block in a short form; its line shows all of its arguments all the same, ids
//! as they are and texts in full. The form is not in the line, because an encoder chooses it: the same
//! events in the same order have the same bytes. A block whose bytes are others, as a stranger may
//! write them, has lines up to where they differ, and hex digits from there on.
//!
//! # Edited by hand
//! A line that is changed, left out or put in changes the bytes of those that follow, and not what they
//! say. Ticks are those since the line before, so a line that goes takes its ticks with it.
//!
//! # Guarantees
//! A trace that is undamaged and not compressed becomes text, and the text becomes the same bytes
//! again. So does the text, if it is one that [`write()`] has made.
//!
//! # Limitations
//! Of a compressed trace the text is that of its plain twin; damage is told in comments; fields of
//! the file header that this version does not know are lost.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

mod parse;

pub use parse::{TextError, parse};

use crate::schema::show;
use crate::{Block, BlockKind, Encoder, FileHeader, Item, ReadError, Reader, Schema};
use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};

/// Writes what is left of a trace as text. How it ends is the last comment.
///
/// # Errors
/// [`ReadError::Io`]: the trace cannot be read, or the text cannot be written.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ClockKind, FileHeader, Reader, Writer, text};
///
/// let header = FileHeader::new(ClockKind::Tsc, 7, 2_000_000_000).program("shop");
/// let trace = Writer::new(Vec::new(), &header)?.finish()?;
/// let mut twin = Vec::new();
/// text::write(&mut Reader::new(&trace[..])?, &mut twin)?;
/// let twin = String::from_utf8(twin)?;
/// assert!(twin.starts_with("ript 1.0 clock=tsc shift=7 frequency=2000000000 process=0 wall=0 program=\"shop\"\n"));
/// assert!(twin.ends_with("# closed\n"));
/// assert_eq!(text::parse(&twin)?, trace);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// A line is made in memory before it is written; give it a `BufWriter` for large traces.
pub fn write<R: Read>(reader: &mut Reader<R>, out: &mut impl Write) -> Result<(), ReadError> {
    write_header(reader.header(), out)?;
    while let Some(item) = reader.next_item()? {
        write_item(&item, out)?;
    }
    Ok(())
}

/// Writes the first line of the text: what [`write()`] begins with.
///
/// With [`write_item`] it is for who wants to see the items as well.
///
/// # Errors
/// What the writes say.
pub fn write_header(header: Option<&FileHeader>, out: &mut impl Write) -> io::Result<()> {
    let Some(header) = header else {
        return writeln!(out, "# no header");
    };
    writeln!(
        out,
        "ript {}.{} clock={} shift={} frequency={} process={} wall={} program={}",
        crate::MAJOR,
        header.minor,
        header.clock,
        header.shift,
        header.frequency,
        header.process,
        header.wall_ns,
        Quoted(&header.program),
    )
}

/// Writes the lines of one item: a block with its events, or a comment on what is missing.
///
/// # Errors
/// What the writes say.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Reader, text};
///
/// let mut reader = Reader::headless(&b"garbage"[..]);
/// let mut lines = Vec::new();
/// while let Some(item) = reader.next_item()? {
///     text::write_item(&item, &mut lines)?;
/// }
/// assert_eq!(lines, b"# truncated at byte 0, 7 bytes of a block are left\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_item(item: &Item<'_>, out: &mut impl Write) -> io::Result<()> {
    match item {
        Item::Block(block) => write_block(block, out),
        Item::Damage { offset, bytes } => {
            writeln!(out, "# damaged: {bytes} bytes skipped at byte {offset}")
        }
        Item::Skipped { offset, info, why } => {
            let why = why.to_string();
            let kind = info.kind;
            writeln!(
                out,
                "# skipped: {kind} at byte {offset}: {}",
                why.escape_debug()
            )
        }
        Item::End(end) => writeln!(out, "# {end}"),
    }
}

/// The line of a block, and one for each event, each line of a schema, or each 32 bytes.
fn write_block(block: &Block<'_>, out: &mut impl Write) -> io::Result<()> {
    let info = &block.info;
    writeln!(
        out,
        "block {} window={} thread={} first={} last={} events={}",
        info.kind, info.window, info.thread, info.first_tick, info.last_tick, info.events
    )?;
    let mut rest = block.payload;
    if info.kind.has_events() {
        rest = write_events(block, out)?;
    } else if let (BlockKind::Schema, Some(text)) = (info.kind, schema_text(rest)) {
        for line in text.lines() {
            writeln!(out, "  {line}")?;
        }
        rest = &[];
    }
    for bytes in rest.chunks(HEX_BYTES) {
        let mut line = String::from("  ..");
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A line for each event, as long as the lines say all of the bytes; the rest of the bytes.
///
/// An event may stand in a block in a form that no encoder of ours chooses: from there on its
/// bytes are shown.
fn write_events<'a>(block: &Block<'a>, out: &mut impl Write) -> io::Result<&'a [u8]> {
    let mut events = block.events();
    let mut room = vec![0; block.payload.len()];
    let mut again = Encoder::new(&mut room, block.info.first_tick);
    let mut before = block.info.first_tick;
    loop {
        let rest = events.rest();
        let (tick, (number, values, behind)) = match events.next_values() {
            None => return Ok(rest),
            Some(Ok(next)) => next,
            Some(Err(error)) => {
                writeln!(out, "# wrong: {error}")?;
                return Ok(rest);
            }
        };
        let row = block.schema.row(number);
        let pushed = again.push_values(tick, number, row, &values, behind);
        if pushed.is_err() || !block.payload.starts_with(again.written()) {
            writeln!(out, "# in another form from here on")?;
            return Ok(rest);
        }
        let mut line = format!("  +{} ", tick.saturating_sub(before));
        before = tick;
        // Writing to a string cannot fail.
        let _ = show(number, row, &values, behind, &mut line);
        writeln!(out, "{line}")?;
    }
}

/// A schema whose lines say all of its bytes.
fn schema_text(payload: &[u8]) -> Option<&str> {
    let text = str::from_utf8(payload).ok()?;
    let is_whole = text.is_empty() || text.ends_with('\n');
    (is_whole && !text.contains('\r') && Schema::parse(text).is_ok()).then_some(text)
}

/// A text for `Display`, by [`quote`].
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote(self.0, f)
    }
}

/// Writes a text in quotes; what a terminal might obey is escaped.
pub(crate) fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '\'' => f.write_char(letter)?,
            _ => write!(f, "{}", letter.escape_debug())?,
        }
    }
    f.write_char('"')
}

/// Bytes of a line of hex digits.
const HEX_BYTES: usize = 32;
