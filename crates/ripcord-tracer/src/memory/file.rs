//! What is where in the file of a recorder: [`RingMemory`], and the places that it gives away.
//!
//! # Who has what
//! | Part of the file | who writes it, under what |
//! |---|---|
//! | a block and its record | the writer that has the block; the ring's lock of a place says where it is |
//! | tables | who gives a number to a place or a label, under the lock of that table |
//! | the record of a thread | the thread itself |
//! | the record of a task or context | see `records.rs` |
//! | readings of the clocks | one thread at a time, which the others do not wait for |
//! | counters | anybody |
//!
//! # Blocks
//! The file has a quarter more of them than the ring has places, and 32 at least: a thread may have one
//! that the ring has taken away and that it has not noticed, and a spare one. Where there are more such
//! threads than that, as with hundreds of blocking threads that sleep, a block is taken from the heap. It
//! is in every dump, and not in the file; it is counted, and not used a second time.
//!
//! # Locks
//! Of the free blocks, of the tables, of the records of threads: each for a push or a pop, or for the copy
//! of an entry, and none is held while another is taken.
//!
//! # Clocks
//! Two readings of all clocks turn ticks into time: of the beginning, and the last one, which is read again
//! when an event comes a second after it that begins a block, a task or a context. What comes after it is
//! reckoned on by the same measure.

#![allow(
    unsafe_code,
    reason = "a block of the file is handed to the one who fills it"
)]

use super::error::RingFileError;
use super::mapping::Mapping;
use super::place::Fresh;
use super::records::Records;
use crate::clock::{Reading, TraceClock};
use crate::sync::Mutex;
use ripcord_trace_format::{
    Encoder, Event, FileHeader, RING_CONTEXT_BYTES, RING_FRAME_BYTES, RING_TASK_BYTES,
    RING_THREAD_BYTES, RingHeader, RingLayout, RingWord, Schema, ThreadKind,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a recorder says of itself when it makes its file.
///
/// All of it stands in the header of the file, or follows from its layout.
pub(crate) struct About<'a> {
    /// The name of the program.
    pub(crate) program: &'a str,
    /// Blocks of the ring.
    pub(crate) blocks: usize,
    /// Bytes of each.
    pub(crate) block_bytes: usize,
    /// Slots for tasks, and again for contexts.
    pub(crate) live_max: usize,
    /// The clock of the recorder.
    pub(crate) clock: &'a TraceClock,
}

/// The memory of a recorder in a file.
pub(crate) struct RingMemory {
    /// The file.
    map: Arc<Mapping>,
    /// How many of what it has.
    layout: RingLayout,
    /// Where the records of blocks begin.
    frames: usize,
    /// Where the blocks begin.
    blocks: usize,
    /// Where the tables are.
    tables: Range<usize>,
    /// Where the records of threads begin.
    threads: usize,
    /// Blocks that nobody has; the last is given away next, and what comes back is.
    free: Mutex<Vec<u32>>,
    /// Bytes of the tables that are written.
    said: Mutex<usize>,
    /// Which threads have which records.
    thread_places: Mutex<ThreadPlaces>,
    /// What is told of tasks and jobs that live.
    tasks: Records,
    /// What is told of contexts that live.
    contexts: Records,
    /// Reads what the recorder's clock reads.
    clock: TraceClock,
    /// Ticks between two readings of all clocks.
    reading_ticks: u64,
    /// The tick from which the next one is due.
    next_reading: AtomicU64,
    /// Somebody is at it.
    is_reading: AtomicBool,
}

/// Which records of threads are free.
///
/// The list of the recorder forgets threads that have ended when there are 1,024 of them; so the records
/// are twice as many, and rarely run out.
#[derive(Default)]
struct ThreadPlaces {
    /// From here on none was used.
    next: u32,
    /// Of threads that have ended, the oldest first.
    left: VecDeque<u32>,
}

impl RingMemory {
    /// Makes the file, with all of its room.
    ///
    /// # Errors
    /// See [`RingFileError`].
    ///
    /// # Costs
    /// The kernel takes some milliseconds to find the room, on the thread that asks.
    pub(crate) fn new(path: &Path, about: &About<'_>) -> Result<Arc<Self>, RingFileError> {
        let schema = Schema::current_text();
        let too_large = |what| RingFileError::TooLarge {
            path: path.to_owned(),
            what,
        };
        let short = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // Threads that have not noticed an eviction hold a block each, and may have a spare one.
        let spare = (about.blocks / 4).max(FRAMES_SPARE);
        let live = about.live_max.min(LIVE_MAX);
        let layout = RingLayout {
            block_bytes: short(about.block_bytes),
            frames: short(about.blocks.saturating_add(spare)),
            tasks: short(live),
            contexts: short(live),
            threads: THREADS_MAX,
            table_bytes: TABLE_BYTES,
            schema_bytes: 0,
        };
        let (kind, shift, frequency) = about.clock.header();
        let wall_ns = about.clock.started_wall_ns();
        let trace = FileHeader::new(kind, shift, frequency)
            .program(about.program)
            .started(std::process::id().into(), wall_ns);
        let header = RingHeader::new(layout, trace, &schema);
        let layout = header.layout();
        let file_bytes = layout.file_bytes().map_err(too_large)?;
        let len = usize::try_from(file_bytes)
            .map_err(|_| too_large("more than this machine can address"))?;
        let header = header.encode();
        let header = header.map_err(|_| too_large("more than a ring file can have"))?;

        let fresh = Fresh::new(path, file_bytes)?;
        let file = fresh.file.try_clone();
        let file = file.map_err(RingFileError::io(path, "open it"))?;
        let map = Mapping::new(file, len).map_err(RingFileError::io(path, "map it into memory"))?;
        map.store(0, &header);
        let memory = Self::within(map, layout, about.clock.twin()).map_err(too_large)?;
        let schema_at = start(layout.schema()).map_err(too_large)?;
        memory.map.store(schema_at, schema.as_bytes());
        memory.store_reading(RingWord::Start, memory.clock.at_start());
        memory.read_clocks(memory.clock.read());
        memory.map.publish(RingWord::State.offset(), RECORDING);
        fresh.publish()?;
        Ok(Arc::new(memory))
    }

    /// A file of this layout that is mapped and all zero.
    ///
    /// Zero is nobody's in every record, so there is nothing else to be written at first.
    ///
    /// # Errors
    /// What of the layout is too large.
    fn within(map: Mapping, layout: RingLayout, clock: TraceClock) -> Result<Self, &'static str> {
        let map = Arc::new(map);
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let records = |area, number, bytes| {
            Ok::<_, &'static str>(Records::new(&map, start(area)?, count(number), bytes))
        };
        let tables = layout.tables()?;
        Ok(Self {
            frames: start(layout.frame_records())?,
            blocks: start(layout.blocks())?,
            tables: start(Ok(tables.clone()))?..start(Ok(tables.end..tables.end))?,
            threads: start(layout.thread_records())?,
            // The first is taken from behind.
            free: Mutex::new((0..layout.frames).rev().collect()),
            said: Mutex::new(0),
            thread_places: Mutex::new(ThreadPlaces::default()),
            tasks: records(layout.task_records(), layout.tasks, RING_TASK_BYTES)?,
            contexts: records(
                layout.context_records(),
                layout.contexts,
                RING_CONTEXT_BYTES,
            )?,
            reading_ticks: TraceClock::tick_of(clock.raw_in(READING)),
            next_reading: AtomicU64::new(0),
            is_reading: AtomicBool::new(false),
            clock,
            layout,
            map,
        })
    }

    /// A block that nobody has; `None` where all are taken, which is counted.
    ///
    /// # Costs
    /// A lock for a pop. Who asks is at the beginning of a block, once for 16 KiB of events at most.
    pub(crate) fn frame(self: &Arc<Self>) -> Option<Frame> {
        let free = self.free.lock().pop();
        let Some(index) = free else {
            self.map.count(RingWord::LostBlocks.offset());
            return None;
        };
        let number = usize::try_from(index).ok()?;
        let record = self.frames + number * RING_FRAME_BYTES;
        let len = usize::try_from(self.layout.block_bytes).ok()?;
        let bytes = self.map.bytes(self.blocks + number * len, len)?;
        let filled = self.map.word(record + FILLED)?;
        Some(Frame {
            filled: NonNull::from(filled),
            memory: Arc::clone(self),
            index,
            record,
            bytes,
            len,
        })
    }

    /// Blocks that had no place in the file.
    pub(crate) fn lost_blocks(&self) -> u64 {
        self.map.load(RingWord::LostBlocks.offset())
    }

    /// A place or a label has a number from now on.
    ///
    /// The order is the caller's, who has a lock for it. What has no room is a number without a name, and
    /// counted.
    ///
    /// # Costs
    /// Once for each place and label of a program: an encoding, and a copy of some hundred bytes.
    pub(crate) fn say(&self, event: &Event<'_>) {
        let mut buffer = [0; ENTRY_BYTES];
        let mut encoder = Encoder::new(&mut buffer, 0);
        let whole = encoder.push_alone(0, event);
        let mut said = self.said.lock();
        let at = self.tables.start + *said;
        let end = at + encoder.written().len();
        if whole.is_err() || end > self.tables.end {
            self.map.count(RingWord::LostEntries.offset());
            return;
        }
        self.map.store(at, encoder.written());
        *said += encoder.written().len();
        self.map
            .publish(RingWord::TableBytes.offset(), *said as u64);
    }

    /// A thread begins; where there is no record for it, its name is not known later.
    ///
    /// Records of threads that have ended are used again when there is no other, the oldest first: blocks
    /// of theirs may still be there, and should have a name for as long as can be.
    pub(crate) fn enter_thread(self: &Arc<Self>, number: u32, name: &str) -> Option<ThreadPlace> {
        let mut places = self.thread_places.lock();
        let index = if places.next < THREADS_MAX {
            places.next += 1;
            Some(places.next - 1)
        } else {
            places.left.pop_front()
        };
        drop(places);
        let Some(index) = index else {
            self.map.count(RingWord::LostThreads.offset());
            return None;
        };
        let record = self.threads + usize::try_from(index).ok()? * RING_THREAD_BYTES;
        let room = RING_THREAD_BYTES - THREAD_NAME;
        let end = (0..=room.min(name.len())).rev();
        let end = end.into_iter().find(|end| name.is_char_boundary(*end));
        let name = name.get(..end.unwrap_or(0)).unwrap_or_default();
        self.map.publish(record, 0);
        self.map.store(record + THREAD_NAME, name.as_bytes());
        let place = ThreadPlace {
            memory: Arc::clone(self),
            index,
            record,
            name_len: name.len() as u64,
        };
        place.set_kind(ThreadKind::Unlisted);
        self.map.publish(record + THREAD_LOST, 0);
        self.map.publish(record, number.into());
        Some(place)
    }

    /// Reads all clocks if that was long ago; called with what happens anyway, rarely enough.
    ///
    /// # Costs
    /// A load, and about a microsecond once a second.
    pub(crate) fn note_tick(&self, tick: u64) {
        // Relaxed: who comes too early or too late reads the clocks once more, or a little later.
        if tick < self.next_reading.load(Ordering::Relaxed) {
            return;
        }
        // Acquire: which reading was written last; pairs with the Release below.
        if !self.is_reading.swap(true, Ordering::Acquire) {
            self.read_clocks(self.clock.read());
            // Release: the reading is written; pairs with the Acquire above.
            self.is_reading.store(false, Ordering::Release);
        }
    }

    /// A task or a job has the slot from now on.
    ///
    /// Called before its event is written: what is in the ring has a record, or had no room for one.
    pub(crate) fn begin_task(&self, number: u32, tick: u64, event: &Event<'_>) {
        self.note_tick(tick);
        self.tasks.begin(number, tick, event);
    }

    /// It has ended.
    ///
    /// Called after its event was written, and before the slot can be somebody else's.
    pub(crate) fn end_task(&self, number: u32) {
        self.tasks.clear(number);
    }

    /// A context has the slot from now on.
    ///
    /// As with tasks, before its event.
    pub(crate) fn begin_context(&self, number: u32, tick: u64, event: &Event<'_>) {
        self.note_tick(tick);
        self.contexts.begin(number, tick, event);
    }

    /// It has a tag, or an end has begun there; the caller has the lock of what was said of it.
    pub(crate) fn say_of_context(&self, number: u32, tick: u64, event: &Event<'_>) {
        self.contexts.add(number, tick, event);
    }

    /// It is gone.
    ///
    /// As with tasks, after its event and before the slot is free.
    pub(crate) fn end_context(&self, number: u32) {
        self.contexts.clear(number);
    }

    /// Nothing is asked of the recorder any more.
    ///
    /// The file stays as it is, for whoever wants to look, until the next recorder of that name: this is
    /// what tells it that nothing has gone wrong.
    pub(crate) fn close(&self) {
        self.map.publish(RingWord::State.offset(), CLOSED);
    }

    /// Writes a reading where the last but one is, so that there is always one that is whole.
    ///
    /// Called by one thread at a time: by the one that has `is_reading`, or by who makes the file.
    fn read_clocks(&self, reading: Reading) {
        let readings = self.map.load(RingWord::Readings.offset()) + 1;
        let place = if readings.is_multiple_of(2) {
            RingWord::Latest
        } else {
            RingWord::Other
        };
        self.store_reading(place, reading);
        self.map.publish(RingWord::Readings.offset(), readings);
        let next = reading.tick.saturating_add(self.reading_ticks);
        // Relaxed: see `note_tick`.
        self.next_reading.store(next, Ordering::Relaxed);
    }

    /// Writes the three words of a reading.
    fn store_reading(&self, place: RingWord, reading: Reading) {
        let words = [reading.tick, reading.monotonic_ns, reading.wall_ns];
        for (word, at) in words.into_iter().zip((place.offset()..).step_by(8)) {
            self.map.publish(at, word);
        }
    }
}

/// Where an area begins, in memory.
fn start(area: Result<Range<u64>, &'static str>) -> Result<usize, &'static str> {
    usize::try_from(area?.start).map_err(|_| "more than this machine can address")
}

/// A block of the file, and its record. It is free again when this is dropped.
///
/// # Invariants
/// 1. Nobody else has a frame with the same bytes: its index is taken out of a list and put back.
pub(crate) struct Frame {
    /// The word that each event stores; inside of what `memory` maps.
    filled: NonNull<AtomicU64>,
    /// Whose it is.
    memory: Arc<RingMemory>,
    /// Which of its blocks.
    index: u32,
    /// Where its record is.
    record: usize,
    /// Where the block is in memory.
    bytes: NonNull<u8>,
    /// How long it is.
    len: usize,
}

// SAFETY: its pointers are into a mapping that it keeps alive and that is shared by threads as it is;
// what is done with `bytes` has a contract of its own.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    /// Where its bytes begin, and how many there are: they are there for as long as the frame is, and nobody
    /// else in this process has them.
    pub(crate) fn bytes(&self) -> (NonNull<u8>, usize) {
        (self.bytes, self.len)
    }

    /// Another thread's events are written here from now on; they are not in the ring yet.
    ///
    /// That it is in no ring is said first, so that nobody takes the old events for those of the new
    /// thread, whenever the end comes.
    pub(crate) fn begin(&self, thread: u32, sequence: u64, first_tick: u64) {
        let map = &self.memory.map;
        map.publish(self.record + POSITION, 0);
        map.publish(self.record + FILLED, 0);
        map.publish(self.record + THREAD, thread.into());
        map.publish(self.record + SEQUENCE, sequence);
        map.publish(self.record + FIRST_TICK, first_tick);
    }

    /// It is in the ring, at this position.
    ///
    /// Its head and its length, which is zero, were said before.
    pub(crate) fn enter(&self, position: usize) {
        let position = (position as u64).saturating_add(1);
        self.memory.map.publish(self.record + POSITION, position);
    }

    /// It is in the ring no more.
    ///
    /// A writer that has not noticed writes on for a moment: these events are lost, and counted, in the file
    /// as in the process.
    pub(crate) fn leave(&self) {
        self.memory.map.publish(self.record + POSITION, 0);
    }

    /// How far it is filled, as the block itself has it.
    ///
    /// Called after the block's own word was stored, so that the file never tells of more than the
    /// process does.
    ///
    /// # Costs
    /// One store, for each event.
    #[inline]
    pub(crate) fn publish(&self, filled: u64) {
        // SAFETY: it points to a word of the mapping, which `memory` keeps.
        let word = unsafe { self.filled.as_ref() };
        // Release: the bytes are written; see "Why Release is enough" in `mod.rs`.
        word.store(filled.to_le(), Ordering::Release);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.leave();
        self.memory.free.lock().push(self.index);
    }
}

/// The record of a thread; used again when this is dropped, but as late as possible.
pub(crate) struct ThreadPlace {
    /// Whose it is.
    memory: Arc<RingMemory>,
    /// Which of its records.
    index: u32,
    /// Where the record is.
    record: usize,
    /// Stands in the same word as the kind, which changes.
    name_len: u64,
}

impl ThreadPlace {
    /// What the thread is for has shown.
    ///
    /// Called where it is news, once or twice in the life of a thread.
    pub(crate) fn set_kind(&self, kind: ThreadKind) {
        let about = kind.number() | self.name_len << 8;
        self.memory.map.publish(self.record + THREAD_ABOUT, about);
    }

    /// An event of the thread is lost (counter).
    ///
    /// What is recovered says so in the totals of the thread, as a dump does.
    pub(crate) fn count_lost(&self) {
        self.memory.map.count(self.record + THREAD_LOST);
    }
}

impl Drop for ThreadPlace {
    fn drop(&mut self) {
        self.memory.thread_places.lock().left.push_back(self.index);
    }
}

/// Word of the record of a block: its position in the ring plus one; 0: it is not in the ring.
const POSITION: usize = 0;

/// Word of the record of a block: whose events it has.
const THREAD: usize = 8;

/// Word of the record of a block: which of the thread's blocks it is.
const SEQUENCE: usize = 16;

/// Word of the record of a block: the tick that its first event counts from.
const FIRST_TICK: usize = 24;

/// Word of the record of a block: how far it is filled.
const FILLED: usize = 32;

/// Word of the record of a thread: its kind, and the length of its name.
const THREAD_ABOUT: usize = 8;

/// Word of the record of a thread: events that it has lost.
const THREAD_LOST: usize = 16;

/// Where the name of a thread begins in its record.
const THREAD_NAME: usize = 24;

/// [`RingWord::State`] of a file that is recorded into.
const RECORDING: u64 = 1;

/// [`RingWord::State`] of a file whose recorder was closed.
const CLOSED: u64 = 2;

/// Blocks beyond those of the ring, at least: half a mebibyte, for the threads of a small service.
const FRAMES_SPARE: usize = 32;

/// Records of tasks, and again of contexts, at most: 6 MiB in all.
const LIVE_MAX: usize = 1 << 14;

/// Records of threads: 256 KiB.
const THREADS_MAX: u32 = 1 << 11;

/// For some ten thousand places and labels.
const TABLE_BYTES: u32 = 1 << 20;

/// An entry has one text of at most 1,024 bytes, and a few numbers.
const ENTRY_BYTES: usize = 1_200;

/// So long the clocks are not read again.
const READING: std::time::Duration = std::time::Duration::from_secs(1);
