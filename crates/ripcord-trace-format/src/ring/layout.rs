//! What is where in a ring file: [`RingLayout`] of the areas, [`RingWord`] of the header's words.
//!
//! | Area | What is in it |
//! |---|---|
//! | header | what the file is, then words that change |
//! | schema | text, as in a trace |
//! | tables | `location` and `label` events, appended |
//! | threads | a record of 128 bytes for each thread that is remembered |
//! | tasks | a record of 128 bytes for each slot |
//! | contexts | a record of 256 bytes for each slot |
//! | frames | a record of 64 bytes for each block |
//! | blocks | the bytes of the blocks |
//!
//! Every area begins at a multiple of 4,096. Numbers are little endian, and words are of eight bytes.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::PAYLOAD_BYTES_MAX;
use crate::schema::SCHEMA_BYTES_MAX;
use std::ops::Range;

/// What a ring file begins with.
///
/// Like that of a trace it does not survive a transfer as text.
pub const RING_MAGIC: [u8; 8] = *b"RIPR\r\n\x1a\n";

/// Bytes of the header, and what areas are aligned to.
///
/// The first half does not change once the file has its name; the second half is [`RingWord`]s.
pub const RING_HEADER_BYTES: usize = 4_096;

/// Bytes of the record of a thread.
///
/// Words: its number (0: nobody's), its kind with the length of its name in bits 8 to 15, events that it has
/// lost. Then its name.
pub const RING_THREAD_BYTES: usize = 128;

/// Bytes of the record of a task or job.
///
/// After its head, [`RING_LIVE_HEAD_BYTES`], it has events: what said that it began.
pub const RING_TASK_BYTES: usize = 128;

/// Bytes of the record of a context.
///
/// After its head it has events: its making, its tags, its end.
pub const RING_CONTEXT_BYTES: usize = 256;

/// Bytes before the events in the record of something that lives.
///
/// Words: how far it is filled, as in the record of a block, where 0 is nobody's; the tick from which its
/// first event counts; the tick of its last one.
pub const RING_LIVE_HEAD_BYTES: usize = 24;

/// Bytes of the record of a block.
///
/// Words: its position in the ring plus one, where 0 is none; the number of its thread; which of the
/// thread's blocks it is; its first tick; how far it is filled, with bytes in the lower half and events in
/// the upper one. The rest is zero.
pub const RING_FRAME_BYTES: usize = 64;

/// A word in the second half of the header, by its offset in the file.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{RING_HEADER_BYTES, RingWord};
///
/// assert_eq!(RingWord::State.offset(), 2_048);
/// assert!(RingWord::LostThreads.offset() + 8 <= RING_HEADER_BYTES);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RingWord {
    /// 1 while it is recorded into, 2 when the recorder was closed.
    State,
    /// The first of three: tick, monotonic and wall clock when the recorder began.
    Start,
    /// How many readings of the clocks were written: the last is in [`Self::Latest`] if that is even,
    /// else in [`Self::Other`].
    Readings,
    /// The first of three, as [`Self::Start`].
    Latest,
    /// The first of three, as [`Self::Start`].
    Other,
    /// Bytes of the tables that are written.
    TableBytes,
    /// Places and labels that had no room.
    LostEntries,
    /// Blocks that had no place in the file.
    LostBlocks,
    /// Tasks and contexts that had no record.
    LostLive,
    /// Threads that had no record.
    LostThreads,
}

impl RingWord {
    /// Where it is, in bytes from the beginning of the file.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::State => 2_048,
            Self::Start => 2_056,
            Self::Readings => 2_080,
            Self::Latest => 2_088,
            Self::Other => 2_112,
            Self::TableBytes => 2_136,
            Self::LostEntries => 2_144,
            Self::LostBlocks => 2_152,
            Self::LostLive => 2_160,
            Self::LostThreads => 2_168,
        }
    }
}

/// How many of what a ring file has room for; everything else follows from that.
///
/// # Examples
/// ```
/// use ripcord_trace_format::RingLayout;
///
/// let layout = RingLayout {
///     block_bytes: 16 << 10,
///     frames: 1_280,
///     tasks: 16_384,
///     contexts: 16_384,
///     threads: 2_048,
///     table_bytes: 1 << 20,
///     schema_bytes: 4_000,
/// };
/// assert_eq!(layout.schema()?, 4_096..8_096);
/// assert!(layout.file_bytes()? < 28 << 20);
/// # Ok::<(), &'static str>(())
/// ```
///
/// # Errors
/// Each method says what is too large: a file that claims it has no such areas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a field more is another major version of the file"
)]
pub struct RingLayout {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks.
    pub frames: u32,
    /// Records of tasks and jobs.
    pub tasks: u32,
    /// Records of contexts.
    pub contexts: u32,
    /// Records of threads.
    pub threads: u32,
    /// Bytes for tables.
    pub table_bytes: u32,
    /// Bytes of the schema's text.
    pub schema_bytes: u32,
}

/// Areas in their order in the file.
#[derive(Clone, Copy)]
enum Area {
    Schema,
    Tables,
    Threads,
    Tasks,
    Contexts,
    Frames,
    Blocks,
}

impl RingLayout {
    /// Where the schema is.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn schema(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Schema)
    }

    /// Where the tables are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn tables(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Tables)
    }

    /// Where the records of threads are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn thread_records(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Threads)
    }

    /// Where the records of tasks are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn task_records(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Tasks)
    }

    /// Where the records of contexts are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn context_records(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Contexts)
    }

    /// Where the records of blocks are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn frame_records(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Frames)
    }

    /// Where the blocks are.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn blocks(&self) -> Result<Range<u64>, &'static str> {
        self.area(Area::Blocks)
    }

    /// How long the file is.
    ///
    /// # Errors
    /// See [`RingLayout`].
    pub fn file_bytes(&self) -> Result<u64, &'static str> {
        Ok(self.blocks()?.end)
    }

    /// Bytes of an area. Counts are of 32 bits and records of less than 32, so nothing overflows.
    fn len(&self, area: Area) -> u64 {
        let (count, bytes) = match area {
            Area::Schema => (self.schema_bytes, 1),
            Area::Tables => (self.table_bytes, 1),
            Area::Threads => (self.threads, RING_THREAD_BYTES as u64),
            Area::Tasks => (self.tasks, RING_TASK_BYTES as u64),
            Area::Contexts => (self.contexts, RING_CONTEXT_BYTES as u64),
            Area::Frames => (self.frames, RING_FRAME_BYTES as u64),
            Area::Blocks => (self.frames, u64::from(self.block_bytes)),
        };
        u64::from(count).saturating_mul(bytes)
    }

    /// Where an area is.
    ///
    /// Areas follow from the counts alone, so a header has no offsets that could contradict them; and each
    /// begins a page, so that what is touched often shares none with what is touched once.
    ///
    /// # Errors
    /// What [`check`](Self::check) says.
    fn area(&self, area: Area) -> Result<Range<u64>, &'static str> {
        self.check()?;
        let mut at = RING_HEADER_BYTES as u64;
        for before in AREAS.into_iter().take(area as usize) {
            let end = at.saturating_add(self.len(before));
            at = end.next_multiple_of(RING_HEADER_BYTES as u64);
        }
        Ok(at..at.saturating_add(self.len(area)))
    }

    /// Whether it is a layout at all; else what is too large.
    ///
    /// With these limits a file has less than 2^41 bytes, and what is made of its records less than 2^28.
    fn check(&self) -> Result<(), &'static str> {
        let at_most = |number: u32, max: usize| usize::try_from(number).is_ok_and(|n| n <= max);
        if self.block_bytes == 0 || !at_most(self.block_bytes, PAYLOAD_BYTES_MAX) {
            return Err("blocks of none or of more than 1048576 bytes");
        }
        if !at_most(self.frames, 1 << 20) {
            return Err("more than 1048576 blocks");
        }
        if !at_most(self.tasks, 1 << 16) || !at_most(self.contexts, 1 << 16) {
            return Err("more than 65536 records of tasks or of contexts");
        }
        if !at_most(self.threads, 1 << 16) {
            return Err("more than 65536 records of threads");
        }
        if !at_most(self.table_bytes, 1 << 24) {
            return Err("tables of more than 16777216 bytes");
        }
        if !at_most(self.schema_bytes, SCHEMA_BYTES_MAX) {
            return Err("a schema of more than 65536 bytes");
        }
        Ok(())
    }
}

const AREAS: [Area; 7] = [
    Area::Schema,
    Area::Tables,
    Area::Threads,
    Area::Tasks,
    Area::Contexts,
    Area::Frames,
    Area::Blocks,
];
