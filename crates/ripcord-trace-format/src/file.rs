//! Traces as files or streams: the header, the writer, the index and the end.
//!
//! | Offset | Bytes | What |
//! |---|---|---|
//! | 0 | 8 | magic: `RIPT`, CR, LF, 0x1a, LF |
//! | 8 | 2 | major version |
//! | 10 | 2 | minor version |
//! | 12 | 4 | length of the fields that follow, without the checksum |
//! | 16 | 1 | clock: 0 monotonic, 1 TSC, 2 CNTVCT |
//! | 17 | 1 | shift: a tick is the raw value shifted right by it |
//! | 18 | 8 | nominal frequency of the raw value, in Hz |
//! | 26 | 8 | process id |
//! | 34 | 8 | wall clock at the start, in nanoseconds since 1970 |
//! | 42 | 2 + n | length and bytes of the program's name |
//! | | | fields of newer minor versions |
//! | | 4 | CRC-32C of everything before |

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::block::{BLOCK_HEADER_BYTES, Fields, bytes_of};
use crate::crc::Crc;
use crate::varint::{Cursor, Out, cut};
use crate::{BlockInfo, BlockKind, Compression, Encoder, Fault, Schema};
use std::fmt;
use std::io::{self, Write};

bytes_of! {
    /// Which clock the ticks of a trace are of.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::ClockKind;
    ///
    /// assert_eq!(ClockKind::Tsc.as_str(), "tsc");
    /// ```
    ClockKind {
        /// The system's monotonic clock, in nanoseconds.
        0 Monotonic "monotonic",
        /// The time-stamp counter of x86.
        1 Tsc "tsc",
        /// The virtual counter of 64-bit ARM.
        2 Cntvct "cntvct",
    }
}

/// What a trace says of itself at its beginning.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ClockKind, FileHeader};
///
/// let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).program("shop");
/// assert_eq!(header.program, "shop");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileHeader {
    /// Minor version of the format; a newer one than [`MINOR`](crate::MINOR) is read all the same.
    pub minor: u16,
    /// The clock of the ticks.
    pub clock: ClockKind,
    /// A tick is the clock's raw value shifted right by so many bits.
    pub shift: u8,
    /// Nominal frequency of the raw value, in Hz. Exact times come from
    /// [`Event::Clock`](crate::Event::Clock).
    pub frequency: u64,
    /// Id of the process.
    pub process: u64,
    /// The wall clock when the trace was begun, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// Name of the program; cut at [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX).
    pub program: String,
}

impl FileHeader {
    /// A header of this version, without process, start and program.
    ///
    /// `frequency` is that of the raw clock, in Hz: with a monotonic clock 1,000,000,000. A shift of
    /// 6 makes ticks of 64 ns of it, which saves a third of a compressed trace; 0 keeps everything.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader};
    ///
    /// let header = FileHeader::new(ClockKind::Tsc, 6, 2_400_000_000);
    /// assert_eq!((header.shift, header.minor, &*header.program), (6, ripcord_trace_format::MINOR, ""));
    /// ```
    #[must_use]
    pub const fn new(clock: ClockKind, shift: u8, frequency: u64) -> Self {
        Self {
            minor: crate::MINOR,
            clock,
            shift,
            frequency,
            process: 0,
            wall_ns: 0,
            program: String::new(),
        }
    }

    /// The same with the name of the program.
    ///
    /// It is shown to people, and means nothing else.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader};
    ///
    /// let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).program("shop");
    /// assert_eq!(header.program, "shop");
    /// ```
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        cut(name).clone_into(&mut self.program);
        self
    }

    /// The same with the id of the process and the wall clock, in nanoseconds since 1970.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader};
    ///
    /// let header = FileHeader::new(ClockKind::Cntvct, 0, 24_000_000).started(7, 1_800_000_000);
    /// assert_eq!((header.process, header.wall_ns), (7, 1_800_000_000));
    /// ```
    #[must_use]
    pub const fn started(mut self, process: u64, wall_ns: u64) -> Self {
        self.process = process;
        self.wall_ns = wall_ns;
        self
    }

    /// The bytes that a trace begins with.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader, Reader};
    ///
    /// let header = FileHeader::new(ClockKind::Tsc, 7, 2_000_000_000).program("shop");
    /// let bytes = header.encode();
    /// let reader = Reader::new(&bytes[..])?;
    /// assert_eq!(reader.header(), Some(&header));
    /// # Ok::<(), ripcord_trace_format::ReadError>(())
    /// ```
    ///
    /// # Costs
    /// Two vectors; it is made once for a trace.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = cut(&self.program);
        let mut fields = vec![self.clock.number(), self.shift];
        for number in [self.frequency, self.process, self.wall_ns] {
            fields.extend(number.to_le_bytes());
        }
        let [low, high, ..] = name.len().to_le_bytes();
        fields.extend([low, high]);
        fields.extend(name.as_bytes());

        let mut bytes = MAGIC.to_vec();
        bytes.extend(crate::MAJOR.to_le_bytes());
        bytes.extend(self.minor.to_le_bytes());
        let [a, b, c, d, ..] = fields.len().to_le_bytes();
        bytes.extend([a, b, c, d]);
        bytes.extend(fields);
        let sum = Crc::new().over(&bytes).value();
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// The fields, once lengths and checksum are known to be good.
    pub(crate) fn from_fields(minor: u16, fields: &[u8]) -> Option<Self> {
        let mut from = Fields(fields);
        let [clock, shift] = from.take()?;
        let [frequency, process, wall_ns] = [from.take()?, from.take()?, from.take()?];
        let len = usize::from(u16::from_le_bytes(from.take()?));
        let program = str::from_utf8(from.0.get(..len)?).ok()?;
        Some(Self {
            minor,
            clock: ClockKind::from_number(clock),
            shift,
            frequency: u64::from_le_bytes(frequency),
            process: u64::from_le_bytes(process),
            wall_ns: u64::from_le_bytes(wall_ns),
            program: program.to_owned(),
        })
    }
}

/// Writes a trace: header and schema at once, then the blocks that it is given, then index and end.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{
///     BlockInfo, BlockKind, ClockKind, Encoder, End, Event, FileHeader, Item, Reader, Writer,
/// };
///
/// let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000);
/// let mut writer = Writer::new(Vec::new(), &header)?;
/// let mut buffer = [0; 256];
/// let mut encoder = Encoder::new(&mut buffer, 40);
/// encoder.push(41, &Event::Park {}).expect("256 bytes are enough");
/// writer.events(BlockInfo { first_tick: 40, ..BlockInfo::new(BlockKind::Events) }, &encoder)?;
/// let trace = writer.finish()?;
///
/// let mut reader = Reader::new(&trace[..])?;
/// let mut seen = 0;
/// while let Some(item) = reader.next_item()? {
///     match item {
///         Item::Block(block) => seen += block.events().count(),
///         other => assert!(matches!(other, Item::End(End::Closed { .. }))),
///     }
/// }
/// assert_eq!(seen, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// Two writes per block: give it a `BufWriter` where that matters. The index takes 40 bytes per
/// window and at most 320 KiB; beyond that its entries span several windows.
///
/// # Limitations
/// Who drops it without [`finish`](Self::finish) leaves a trace that is read as *not closed*.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    offset: u64,
    blocks: u64,
    events: u64,
    index: Index,
}

impl<W: Write> Writer<W> {
    /// Begins a trace with its header and the schema of this version.
    ///
    /// # Errors
    /// What the writes say.
    pub fn new(out: W, header: &FileHeader) -> io::Result<Self> {
        let text = Schema::current_text();
        Self::with_schema(out, header, &text)
    }

    /// Begins a trace whose events are of another schema, given as text: a filter keeps that of
    /// the trace it reads.
    ///
    /// # Errors
    /// What the writes say; `InvalidInput` for a text of more than 1 MiB.
    pub fn with_schema(mut out: W, header: &FileHeader, schema: &str) -> io::Result<Self> {
        let bytes = header.encode();
        out.write_all(&bytes)?;
        let mut writer = Self {
            out,
            offset: bytes.len() as u64,
            blocks: 0,
            events: 0,
            index: Index::default(),
        };
        writer.block(BlockInfo::new(BlockKind::Schema), schema.as_bytes())?;
        Ok(writer)
    }

    /// Writes what an encoder holds. Last tick and number of events are the encoder's.
    ///
    /// The first tick has to be the one that the encoder was made with, or all events are shifted.
    ///
    /// # Errors
    /// What the writes say; `InvalidInput` for more than 1 MiB.
    pub fn events(&mut self, info: BlockInfo, encoder: &Encoder<'_>) -> io::Result<()> {
        let progress = encoder.progress();
        let info = BlockInfo {
            last_tick: progress.tick,
            events: progress.events,
            ..info
        };
        self.block(info, encoder.written())
    }

    /// Writes a block with this payload.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockInfo, BlockKind, ClockKind, FileHeader, Writer};
    ///
    /// let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000);
    /// let mut writer = Writer::new(Vec::new(), &header)?;
    /// let too_much = vec![0; (1 << 20) + 1];
    /// let written = writer.block(BlockInfo::new(BlockKind::Table), &too_much);
    /// assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the writes say; `InvalidInput` for a payload of more than 1 MiB.
    pub fn block(&mut self, info: BlockInfo, payload: &[u8]) -> io::Result<()> {
        self.compressed(info, Compression::None, payload, payload.len())
    }

    /// Writes a block whose payload was compressed from `plain_len` bytes.
    ///
    /// Only payloads that get smaller are worth it: a reader has to hold both.
    ///
    /// # Errors
    /// What the writes say; `InvalidInput` for a length of more than 1 MiB.
    pub fn compressed(
        &mut self,
        info: BlockInfo,
        compression: Compression,
        stored: &[u8],
        plain_len: usize,
    ) -> io::Result<()> {
        let header = info.header_of(compression, stored, plain_len);
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.out.write_all(&header)?;
        self.out.write_all(stored)?;
        if info.kind.has_events() {
            self.index.note(&info, self.offset);
            self.events = self.events.saturating_add(u64::from(info.events));
        }
        self.blocks = self.blocks.saturating_add(1);
        let len = BLOCK_HEADER_BYTES.saturating_add(stored.len()) as u64;
        self.offset = self.offset.saturating_add(len);
        Ok(())
    }

    /// Closes the trace with index and end, and gives the writer back, flushed.
    ///
    /// What was not written before it stays unwritten: an encoder's events have to be handed over.
    ///
    /// # Errors
    /// What the writes say.
    pub fn finish(mut self) -> io::Result<W> {
        self.close()?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes index and end, as [`finish`](Self::finish) does, and keeps the writer: for who has
    /// something to do with it even where this fails.
    ///
    /// What is written after it is behind the end, and no part of the trace.
    ///
    /// # Errors
    /// What the writes say.
    pub fn close(&mut self) -> io::Result<()> {
        let index = self.offset;
        let payload = self.index.encode();
        self.block(BlockInfo::new(BlockKind::Index), &payload)?;
        let end = FileEnd {
            index,
            blocks: self.blocks,
            events: self.events,
        };
        self.block(BlockInfo::new(BlockKind::FileEnd), &end.encode())
    }

    /// What the blocks are written to.
    ///
    /// For who flushes or counts. What is written there by hand is in the trace without being in its
    /// index, and most likely damage.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{ClockKind, FileHeader, Writer};
    ///
    /// let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000);
    /// let mut writer = Writer::new(Vec::new(), &header)?;
    /// assert!(writer.sink().starts_with(b"RIPT\r\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn sink(&mut self) -> &mut W {
        &mut self.out
    }
}

/// What the last block of a closed trace says.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ClockKind, FileEnd, FileHeader, Writer};
///
/// let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000);
/// let trace = Writer::new(Vec::new(), &header)?.finish()?;
/// let end = FileEnd::from_tail(&trace).expect("closed");
/// assert_eq!((end.blocks, end.events), (2, 0)); // The schema and the index.
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileEnd {
    /// Offset of the index block from the beginning of the trace, 0 for none.
    pub index: u64,
    /// Blocks before this one.
    pub blocks: u64,
    /// Events in them, by what their headers say.
    pub events: u64,
}

impl FileEnd {
    /// Bytes of the block, so that it is found from behind.
    pub const BLOCK_BYTES: usize = BLOCK_HEADER_BYTES.wrapping_add(24);

    /// Reads it from the last bytes of a trace; `None` if they are something else.
    ///
    /// The last [`BLOCK_BYTES`](Self::BLOCK_BYTES) are enough, so who can seek needs not read the
    /// trace to learn whether it is closed.
    #[must_use]
    pub fn from_tail(tail: &[u8]) -> Option<Self> {
        let start = tail.len().checked_sub(Self::BLOCK_BYTES)?;
        let (head, payload) = tail.get(start..)?.split_first_chunk()?;
        let header = crate::block::Header::parse(head)?;
        let is_end = header.info.kind == BlockKind::FileEnd && header.has_good_sum(head, payload);
        Self::parse(payload).filter(|_| is_end)
    }

    /// Reads it from the payload of its block, as a [`Reader`](crate::Reader) gives it; `None` if that is shorter.
    ///
    /// What follows the three numbers is of a newer version, and left alone.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut from = Fields(payload);
        Some(Self {
            index: u64::from_le_bytes(from.take()?),
            blocks: u64::from_le_bytes(from.take()?),
            events: u64::from_le_bytes(from.take()?),
        })
    }

    fn encode(self) -> Vec<u8> {
        [self.index, self.blocks, self.events]
            .map(u64::to_le_bytes)
            .concat()
    }
}

/// Where the windows of a trace are.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Index;
///
/// // Window 3 begins at byte 200, and has 9 events from tick 5 to tick 7.
/// let index = Index::parse(&[3, 0xc8, 0x01, 5, 7, 9])?;
/// let entry = index.entries()[0];
/// assert_eq!((entry.window, entry.offset, entry.events), (3, 200, 9));
/// # Ok::<(), ripcord_trace_format::Fault>(())
/// ```
///
/// # Limitations
/// It is an aid: who finds none, or does not believe it, reads the headers of all blocks instead.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    entries: Vec<IndexEntry>,
}

/// One window, or several that follow one another, in an [`Index`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IndexEntry {
    /// Number of the first window.
    pub window: u32,
    /// Offset of its first block from the beginning of the trace.
    pub offset: u64,
    /// The earliest tick.
    pub first_tick: u64,
    /// The latest tick.
    pub last_tick: u64,
    /// Events, by what the headers of the blocks say.
    pub events: u64,
}

impl Index {
    /// The windows, in the order of the trace.
    #[must_use]
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Counts a block in; a block of an earlier window than the last is counted to that.
    ///
    /// At the limit, each two neighbours become one, so the index stays coarse rather than short.
    fn note(&mut self, info: &BlockInfo, offset: u64) {
        let entry = IndexEntry {
            window: info.window,
            offset,
            first_tick: info.first_tick,
            last_tick: info.last_tick,
            events: u64::from(info.events),
        };
        match self.entries.last_mut() {
            Some(last) if info.window <= last.window => last.add(&entry),
            _ => self.entries.push(entry),
        }
        if self.entries.len() >= ENTRIES_MAX {
            let pairs = self.entries.chunks(2);
            let merged = pairs.filter_map(|pair| {
                let mut both = *pair.first()?;
                pair.iter().skip(1).for_each(|next| both.add(next));
                Some(both)
            });
            self.entries = merged.collect();
        }
    }

    /// The payload of its block: five numbers for each entry.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.entries.len().saturating_mul(ENTRY_BYTES_MAX)];
        let mut out = Out::new(&mut bytes, 0);
        for entry in &self.entries {
            for number in [
                u64::from(entry.window),
                entry.offset,
                entry.first_tick,
                entry.last_tick,
                entry.events,
            ] {
                // There is room for the longest numbers.
                let _ = out.number(number);
            }
        }
        let len = out.at();
        bytes.truncate(len);
        bytes
    }

    /// Reads the payload of an index block.
    ///
    /// # Errors
    /// [`Fault`]: it ends within an entry, or a number is none, or is too large.
    ///
    /// # Costs
    /// 40 bytes for each entry, and at most 8,192 of them come from our writer; a payload of 1 MiB
    /// cannot have more than 209,715.
    pub fn parse(payload: &[u8]) -> Result<Self, Fault> {
        let mut from = Cursor::new(payload);
        let mut entries = Vec::new();
        while !from.rest().is_empty() {
            entries.push(IndexEntry {
                window: u32::try_from(from.number()?).map_err(|_| Fault::NumberTooLarge)?,
                offset: from.number()?,
                first_tick: from.number()?,
                last_tick: from.number()?,
                events: from.number()?,
            });
        }
        Ok(Self { entries })
    }
}

impl IndexEntry {
    /// Counts another entry into this one.
    fn add(&mut self, other: &Self) {
        self.first_tick = self.first_tick.min(other.first_tick);
        self.last_tick = self.last_tick.max(other.last_tick);
        self.events = self.events.saturating_add(other.events);
    }
}

/// What a trace begins with: a transfer as text breaks it, so that it is noticed.
pub(crate) const MAGIC: [u8; 8] = *b"RIPT\r\n\x1a\n";

/// Bytes of the header before its fields.
pub(crate) const PRELUDE_BYTES: usize = 16;

/// Bytes that the fields of a header have at most.
pub(crate) const FIELDS_BYTES_MAX: usize = 64 * 1024;

const ENTRIES_MAX: usize = 8_192;
const ENTRY_BYTES_MAX: usize = 50;
