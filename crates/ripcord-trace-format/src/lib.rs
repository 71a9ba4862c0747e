//! The bytes of a ripcord trace: event table, encoder, decoder, blocks, files, text twin.
//!
//! A trace tells what tasks and contexts did, and when. It is a sequence of blocks, each with a
//! checksum and the events of one thread, in a file, a ring or a stream. The contract is
//! `spec/trace-format.md`; what records traces and what looks into them are crates of their own.
//!
//! # Guarantees
//! * **The table is data.** Enum, both codecs, schema, text and specification are made of one table.
//! * **The encoder** does not panic, allocates once, and never writes half an event.
//! * **The reader** gives every block with a good checksum, whatever surrounds it, and says which of
//!   three things has happened: the trace is *truncated*, *not closed*, or *damaged*. Its memory is
//!   bounded, and its time linear.
//! * **Versions**: an old reader shows, or skips, what a newer writer of the same major version has
//!   added, by the schema in the trace.
//!
//! # How small
//! A trace is mostly repetition: the same places, the same names, ids that are near each other, ends that
//! say again what was said at the beginning. Within a block, what was said is not said again:
//!
//! * ids are differences to the id before, and instants to the instant before;
//! * a text that has come is named by its place, and an id as text takes 16 bytes;
//! * a whole event that follows from what stands before it is a type, its ticks, and a byte or two.
//!
//! Each block begins anew, so one that is lost or evicted takes nothing from the others, and one that
//! survives a crash can be read alone.
//!
//! ```
//! use ripcord_trace_format::{CtxKind, Decoder, Encoder, Event, Schema};
//!
//! let (id, parent, loc, name) = (70_000, Some(2), Some(300), "GET /orders");
//! let (kind, deadline) = (CtxKind::Child, None);
//! let mut buffer = [0; 64];
//! let mut encoder = Encoder::new(&mut buffer, 0);
//! encoder.push(10, &Event::CtxCreate { id, parent, kind, loc, deadline, name })?;
//! let made = encoder.progress().len;
//! encoder.push(20, &Event::CtxEnd { id, parent, loc, name })?;
//! assert_eq!(encoder.progress().len - made, 3, "type, ticks, and that it is the same one");
//!
//! let schema = Schema::current();
//! let last = Decoder::new(encoder.written(), 0, &schema).last();
//! assert_eq!(last, Some(Ok((20, Event::CtxEnd { id, parent, loc, name }))));
//! # Ok::<(), ripcord_trace_format::Full>(())
//! ```
//!
//! # Limitations
//! No compression, no clock and no I/O but `std::io::Read` and `Write`. A checksum finds accidents,
//! not forgeries: a trace from a stranger may say anything.
//!
//! # Where to read next
//! `event.rs` (the table), `codec.rs`, `decode.rs`, `coding.rs`, `memory.rs`, `packed/`, `brief.rs`, `block.rs`,
//! `file.rs`, `reader.rs`, `schema.rs`, `text.rs`; `ring/` is the file of a recorder
//! that was killed.

#![forbid(unsafe_code)]

mod arg;
mod block;
mod brief;
mod codec;
mod coding;
mod crc;
mod decode;
mod error;
mod event;
mod file;
mod id_text;
mod memory;
mod packed;
mod reader;
mod ring;
mod schema;
mod spec;
mod table;
mod value;
mod varint;
mod words;

pub mod text;

pub use arg::{ArgKind, CauseKind, CtxKind, Outcome, SeenHow, Seq, StackWhy, ThreadKind, WakeBy};
pub use block::{
    BLOCK_HEADER_BYTES, BlockInfo, BlockKind, Compression, PAYLOAD_BYTES_MAX, PayloadTooLong,
};
pub use brief::{Bare, Brief};
pub use codec::{BlockMemory, Encoder, Full, Progress};
pub use decode::{Decoder, POSITION_BYTES, Position};
pub use error::{EventError, Fault};
pub use event::{EVENT_BYTES_MAX, EVENTS, Event, RawEvent};
pub use file::{ClockKind, FileEnd, FileHeader, Index, IndexEntry, Writer};
pub use id_text::IdText;
pub use reader::{Block, End, Item, ReadError, Reader, SkipReason};
pub use ring::{
    RING_CONTEXT_BYTES, RING_FRAME_BYTES, RING_HEADER_BYTES, RING_LIVE_HEAD_BYTES, RING_MAGIC,
    RING_TASK_BYTES, RING_THREAD_BYTES, Recovered, RingError, RingFile, RingHeader, RingLayout,
    RingState, RingWord,
};
pub use schema::{Described, Schema, SchemaArg, SchemaError, SchemaRow};
pub use spec::render_events;
pub use table::{ArgRow, EventRow};
pub use value::Value;

/// Version of the format that a reader must know: a change of it is a change of what bytes mean.
pub const MAJOR: u16 = 1;

/// Version of the event table: it counts additions, which older readers skip.
pub const MINOR: u16 = 0;

/// Bytes of UTF-8 that a text has at most.
pub const TEXT_BYTES_MAX: usize = 1_024;
