//! The trace that is in a ring file: [`RingFile::recover`].
//!
//! # Order
//! As in a dump: clocks, tables, blocks by time, threads, what lived, totals. The words and records of a
//! process that is still alive are read before its blocks, so that no event names what is not told.
//!
//! # Limitations
//! A place or a label that a living process says for the first time while its file is read has no name.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use super::error::RingError;
use super::file::{Reading, RingFile};
use super::header::sum_of;
use super::layout::{
    RING_CONTEXT_BYTES, RING_FRAME_BYTES, RING_LIVE_HEAD_BYTES, RING_TASK_BYTES, RING_THREAD_BYTES,
    RingWord,
};
use crate::block::Fields;
use crate::{
    BlockInfo, BlockKind, Decoder, EVENT_BYTES_MAX, Encoder, Event, MINOR, Schema, ThreadKind,
    Writer,
};
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::ops::Range;

/// What was found in a ring file, and what was not.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Recovered;
///
/// assert_eq!(Recovered::default().cut_at, None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Blocks of events in the trace.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of these events.
    pub event_bytes: u64,
    /// Threads that have a record.
    pub threads: u64,
    /// Tasks and jobs that lived.
    pub tasks: u64,
    /// Contexts that lived.
    pub contexts: u64,
    /// Bytes that the file should have and has not.
    pub missing_bytes: u64,
    /// Blocks that were used again while they were read: only of a process that is alive.
    pub changed_blocks: u64,
    /// Blocks and records that end with an event that cannot be decoded.
    pub cut: u64,
    /// Where the first of them is wrong, in bytes from the beginning of the file, and what with it.
    pub cut_at: Option<(u64, String)>,
    /// Events that threads could not write.
    pub lost_events: u64,
    /// Blocks that had no place in the file: their events are not in the trace.
    pub lost_blocks: u64,
    /// Tasks and contexts that had no record in the file: they are known from events only.
    pub lost_live: u64,
    /// Places and labels that had no room in the file: they are numbers without a name.
    pub lost_entries: u64,
    /// Threads that had no record in the file: they are numbers without a name.
    pub lost_threads: u64,
}

/// The record of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Frame {
    /// Which of the blocks.
    index: u64,
    /// Where in the ring, plus one.
    position: u64,
    /// Whose events.
    thread: u32,
    /// Which of the thread's blocks.
    sequence: u64,
    /// What the first event counts from.
    first_tick: u64,
    /// How far it is filled.
    bytes: usize,
}

impl Frame {
    /// `None` where nobody's events are in the ring.
    fn parse(index: u64, record: &[u8]) -> Option<Self> {
        let mut from = Fields(record);
        let mut word = || from.take().map(u64::from_le_bytes);
        let [position, thread, sequence] = [word()?, word()?, word()?];
        let [first_tick, filled] = [word()?, word()?];
        let frame = Self {
            index,
            position,
            thread: u32::try_from(thread).unwrap_or(u32::MAX),
            sequence,
            first_tick,
            bytes: lower_half(filled),
        };
        (position > 0 && frame.bytes > 0).then_some(frame)
    }

    /// The same, but for what may have been written since.
    ///
    /// A place that was used again meanwhile has another thread, another sequence, or another position.
    fn is_of(&self, other: &Self) -> bool {
        let unfilled = |frame: &Self| Self { bytes: 0, ..*frame };
        unfilled(self) == unfilled(other)
    }
}

/// Bytes, where events are in the upper half.
fn lower_half(filled: u64) -> usize {
    usize::try_from(filled & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

impl<R: Read + Seek> RingFile<R> {
    /// Writes the trace that is in the file, and closes it.
    ///
    /// A block that ends with bytes that are no events is cut before them. The file of a process that is
    /// alive gives what is there while it is read.
    ///
    /// # Errors
    /// [`RingError::Read`], [`RingError::Write`]; [`RingError::Header`] for a schema that cannot be read
    /// in a file of a newer version.
    pub fn recover(&mut self, out: impl Write) -> Result<Recovered, RingError> {
        let (schema, text) = self.schema()?;
        let writer = Writer::with_schema(out, self.header(), &text).map_err(RingError::Write)?;
        let mut recovery = Recovery {
            writer,
            buffer: vec![0; BLOCK_BYTES],
            schema,
            found: Recovered {
                lost_blocks: self.word(RingWord::LostBlocks),
                lost_live: self.word(RingWord::LostLive),
                lost_entries: self.word(RingWord::LostEntries),
                lost_threads: self.word(RingWord::LostThreads),
                ..Recovered::default()
            },
            totals: BTreeMap::new(),
            last_tick: 0,
        };
        let readings = self.readings();
        let threads = self.area(self.layout().thread_records())?;
        let tasks = self.live(self.layout().task_records(), RING_TASK_BYTES)?;
        let contexts = self.live(self.layout().context_records(), RING_CONTEXT_BYTES)?;
        recovery.clocks(&readings)?;
        // What is written behind the length is of no entry yet.
        let tables = self.area(self.layout().tables())?;
        recovery.tables(self, &tables)?;
        recovery.blocks(self)?;
        recovery.threads(&threads, &readings)?;
        recovery.registry(&[tasks, contexts])?;
        recovery.end(self.missing)
    }

    /// The schema of the events, and its text.
    ///
    /// One that is damaged is replaced by that of this version, unless the file is of a newer one.
    fn schema(&mut self) -> Result<(Schema, String), RingError> {
        let area = self.layout().schema().unwrap_or_default();
        let (offset, bytes) = self.area(Ok(area))?;
        let is_whole = sum_of(&bytes) == self.schema_sum();
        let text = String::from_utf8(bytes).ok().filter(|_| is_whole);
        match text.and_then(|text| Some((Schema::parse(&text).ok()?, text))) {
            Some((schema, text)) if !schema.rows().is_empty() => Ok((schema, text)),
            _ if self.header().minor > MINOR => Err(RingError::Header {
                offset,
                what: "a schema that cannot be read",
            }),
            _ => Ok((Schema::current(), Schema::current_text())),
        }
    }

    /// The bytes of an area, and where it begins.
    fn area(&mut self, area: Result<Range<u64>, &str>) -> Result<(u64, Vec<u8>), RingError> {
        // The layout was checked when the header was read.
        let area = area.unwrap_or_default();
        let len = usize::try_from(area.end.saturating_sub(area.start)).unwrap_or(0);
        Ok((area.start, self.read(area.start, len)?))
    }

    /// The records of what lives.
    fn live(
        &mut self,
        area: Result<Range<u64>, &str>,
        record_bytes: usize,
    ) -> Result<Records, RingError> {
        let (offset, bytes) = self.area(area)?;
        Ok(Records {
            offset,
            bytes,
            record_bytes,
        })
    }

    /// The records of all blocks that are in the ring, by time.
    ///
    /// Those of one thread come in the order in which it wrote them, as its ticks do not go back.
    fn frames(&mut self) -> Result<Vec<Frame>, RingError> {
        let area = self.layout().frame_records().unwrap_or_default();
        let mut frames = Vec::new();
        let (mut offset, mut index) = (area.start, 0_u64);
        while offset < area.end {
            let rest = usize::try_from(area.end.saturating_sub(offset)).unwrap_or(usize::MAX);
            let bytes = self.read(offset, rest.min(FRAMES_READ))?;
            for record in bytes.chunks_exact(RING_FRAME_BYTES) {
                frames.extend(Frame::parse(index, record));
                index = index.saturating_add(1);
            }
            offset = offset.saturating_add(FRAMES_READ as u64);
        }
        frames.sort_by_key(|frame| (frame.first_tick, frame.thread, frame.sequence));
        Ok(frames)
    }

    /// The bytes of a block and where they are; `None` if its place was used again meanwhile.
    fn block(&mut self, frame: &Frame) -> Result<Option<(u64, Vec<u8>)>, RingError> {
        let layout = self.layout();
        let block_bytes = u64::from(layout.block_bytes);
        let begin = layout.blocks().unwrap_or_default().start;
        let at = begin.saturating_add(frame.index.saturating_mul(block_bytes));
        let len = frame.bytes.min(layout.block_bytes as usize);
        let bytes = self.read(at, len)?;
        let records = layout.frame_records().unwrap_or_default().start;
        let record = frame.index.saturating_mul(RING_FRAME_BYTES as u64);
        let record = self.read(records.saturating_add(record), RING_FRAME_BYTES)?;
        let again = Frame::parse(frame.index, &record);
        let is_same = again.is_some_and(|again| again.is_of(frame));
        Ok(is_same.then_some((at, bytes)))
    }
}

/// Records of one sort, in memory: the events of what lives are borrowed from them.
struct Records {
    /// Where they begin in the file.
    offset: u64,
    bytes: Vec<u8>,
    record_bytes: usize,
}

/// A trace that is being made of a ring file.
struct Recovery<W> {
    /// Where it goes.
    writer: Writer<W>,
    /// For blocks that are made here.
    buffer: Vec<u8>,
    /// Of the file's events.
    schema: Schema,
    /// What is said of it in the end.
    found: Recovered,
    /// Per thread: events, and those that were lost.
    totals: BTreeMap<u32, (u64, u64)>,
    last_tick: u64,
}

impl<W: Write> Recovery<W> {
    fn clocks(&mut self, readings: &[Reading; 2]) -> Result<(), RingError> {
        let events = readings.iter().map(|reading| {
            self.last_tick = self.last_tick.max(reading.tick);
            let clock = Event::Clock {
                monotonic: reading.monotonic,
                wall: reading.wall,
            };
            (reading.tick, clock)
        });
        let mut events: Vec<_> = events.collect();
        events.dedup();
        self.put(BlockKind::WindowStart, 0, &events)
    }

    /// What has names: only as much as is written, and only what belongs there.
    fn tables<R: Read + Seek>(
        &mut self,
        ring: &RingFile<R>,
        (offset, bytes): &(u64, Vec<u8>),
    ) -> Result<(), RingError> {
        let written = usize::try_from(ring.word(RingWord::TableBytes)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..written).unwrap_or(bytes);
        let schema = self.schema.clone();
        let mut events = Vec::new();
        for event in Decoder::new(bytes, 0, &schema) {
            match event {
                Ok((_, event @ (Event::Location { .. } | Event::Label { .. }))) => {
                    events.push((0, event));
                }
                Ok(_) => {}
                Err(error) => self.cut(*offset, error.offset, &error.fault),
            }
        }
        self.put(BlockKind::Table, 0, &events)
    }

    /// Each block as it is, up to the first event that is none.
    fn blocks<R: Read + Seek>(&mut self, ring: &mut RingFile<R>) -> Result<(), RingError> {
        for frame in ring.frames()? {
            let Some((offset, bytes)) = ring.block(&frame)? else {
                self.found.changed_blocks = self.found.changed_blocks.saturating_add(1);
                continue;
            };
            let (mut events, mut last_tick, mut end) = (0_u32, frame.first_tick, bytes.len());
            let mut fault = None;
            for event in Decoder::new(&bytes, frame.first_tick, &self.schema) {
                match event {
                    Ok((tick, _)) => {
                        events = events.saturating_add(1);
                        last_tick = tick;
                    }
                    Err(error) => {
                        end = error.offset;
                        fault = Some(error.fault);
                    }
                }
            }
            if let Some(fault) = fault {
                self.cut(offset, end, &fault);
            }
            let payload = bytes.get(..end).unwrap_or_default();
            if events == 0 {
                continue;
            }
            let info = BlockInfo {
                window: 1,
                thread: frame.thread,
                first_tick: frame.first_tick,
                last_tick,
                events,
                ..BlockInfo::new(BlockKind::Events)
            };
            let written = self.writer.block(info, payload);
            written.map_err(RingError::Write)?;
            let total = self.totals.entry(frame.thread).or_default();
            total.0 = total.0.saturating_add(u64::from(events));
            self.last_tick = self.last_tick.max(last_tick);
            self.found.blocks = self.found.blocks.saturating_add(1);
            self.found.events = self.found.events.saturating_add(u64::from(events));
            self.found.event_bytes = self.found.event_bytes.saturating_add(end as u64);
        }
        Ok(())
    }

    /// Names and kinds, in a block of its own for each thread.
    fn threads(
        &mut self,
        (_, bytes): &(u64, Vec<u8>),
        [start, _]: &[Reading; 2],
    ) -> Result<(), RingError> {
        for record in bytes.chunks_exact(RING_THREAD_BYTES) {
            let Some((thread, kind, lost, name)) = thread(record) else {
                continue;
            };
            let event = Event::ThreadStart { kind, name };
            self.put(BlockKind::Registry, thread, &[(start.tick, event)])?;
            self.found.threads = self.found.threads.saturating_add(1);
            if lost > 0 {
                let total = self.totals.entry(thread).or_default();
                total.1 = total.1.saturating_add(lost);
                self.found.lost_events = self.found.lost_events.saturating_add(lost);
            }
        }
        Ok(())
    }

    /// What lived, by time.
    ///
    /// Its events are borrowed from the records until they are in order: a few megabytes.
    fn registry(&mut self, all: &[Records; 2]) -> Result<(), RingError> {
        let schema = self.schema.clone();
        let mut events = Vec::new();
        for records in all {
            let numbered = (records.offset..).step_by(records.record_bytes);
            let parts = records.bytes.chunks_exact(records.record_bytes);
            for (offset, record) in numbered.zip(parts) {
                self.record(offset, record, &schema, &mut events);
            }
        }
        // An end comes after beginnings that were later than its own.
        events.sort_by_key(|(tick, _)| *tick);
        self.put(BlockKind::Registry, 0, &events)
    }

    /// The events of one that lived.
    fn record<'a>(
        &mut self,
        offset: u64,
        record: &'a [u8],
        schema: &'a Schema,
        events: &mut Vec<(u64, Event<'a>)>,
    ) {
        let mut from = Fields(record);
        // The tick of the last event is for whoever writes on.
        let (Some(filled), Some(first_tick), Some(_)) =
            (from.take(), from.take(), from.take::<8>())
        else {
            return;
        };
        let len = lower_half(u64::from_le_bytes(filled));
        let bytes = from.0.get(..len).unwrap_or(from.0);
        let mut decoded = Decoder::new(bytes, u64::from_le_bytes(first_tick), schema);
        for _ in 0..RECORD_EVENTS_MAX {
            let Some(event) = decoded.next() else { break };
            // Each of them was written alone.
            decoded.forget();
            match event {
                Ok((tick, event)) => {
                    let found = &mut self.found;
                    let count = match event {
                        Event::TaskSpawn { .. } | Event::JobQueued { .. } => &mut found.tasks,
                        Event::CtxCreate { .. } => &mut found.contexts,
                        Event::CtxTag { .. } | Event::CtxCancel { .. } => &mut 0,
                        _ => continue,
                    };
                    *count = count.saturating_add(1);
                    events.push((tick, event));
                }
                Err(error) => {
                    let head = RING_LIVE_HEAD_BYTES as u64;
                    self.cut(offset.saturating_add(head), error.offset, &error.fault);
                }
            }
        }
    }

    /// The totals of the threads, index and end.
    ///
    /// A thread that has lost events and has none in the ring has totals, too.
    fn end(mut self, missing: u64) -> Result<Recovered, RingError> {
        self.found.missing_bytes = missing;
        let totals: Vec<_> = self
            .totals
            .iter()
            .map(|(thread, (events, dropped))| {
                let totals = Event::ThreadTotals {
                    thread: u64::from(*thread),
                    events: *events,
                    dropped: *dropped,
                };
                (self.last_tick, totals)
            })
            .collect();
        self.put(BlockKind::WindowEnd, 0, &totals)?;
        self.writer.finish().map_err(RingError::Write)?;
        Ok(self.found)
    }

    /// Notes bytes that are no event, by where they begin.
    fn cut(&mut self, offset: u64, at: usize, fault: &crate::Fault) {
        self.found.cut = self.found.cut.saturating_add(1);
        let at = offset.saturating_add(at as u64);
        let first = &mut self.found.cut_at;
        first.get_or_insert_with(|| (at, fault.to_string()));
    }

    /// Writes events into as many blocks as they need, and none for none.
    fn put(
        &mut self,
        kind: BlockKind,
        thread: u32,
        mut events: &[(u64, Event<'_>)],
    ) -> Result<(), RingError> {
        while let Some((first_tick, _)) = events.first() {
            let mut encoder = Encoder::new(&mut self.buffer, *first_tick);
            let info = BlockInfo {
                window: 1,
                thread,
                first_tick: *first_tick,
                ..BlockInfo::new(kind)
            };
            while let Some(((tick, event), rest)) = events.split_first() {
                let room = BLOCK_BYTES.saturating_sub(encoder.progress().len);
                if room < EVENT_BYTES_MAX {
                    break;
                }
                // There is room for any event that stands in the table, and none other comes here.
                let _ = encoder.push(*tick, event);
                events = rest;
            }
            let written = self.writer.events(info, &encoder);
            written.map_err(RingError::Write)?;
        }
        Ok(())
    }
}

/// Number, kind, lost events and name of a thread; `None` for a record that is nobody's.
fn thread(record: &[u8]) -> Option<(u32, ThreadKind, u64, &str)> {
    let mut from = Fields(record);
    let mut word = || from.take().map(u64::from_le_bytes);
    let [number, about, lost] = [word()?, word()?, word()?];
    let number = u32::try_from(number).ok().filter(|number| *number > 0)?;
    let [kind, len, ..] = about.to_le_bytes();
    let name = from.0.get(..usize::from(len)).unwrap_or_default();
    let name = str::from_utf8(name).unwrap_or_default();
    Some((number, ThreadKind::from_number(kind.into()), lost, name))
}

/// Bytes of a block that is made here.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes of the records of blocks that are read at a time.
const FRAMES_READ: usize = 1_024 * RING_FRAME_BYTES;

/// A recorder keeps a beginning, eight tags and an end.
const RECORD_EVENTS_MAX: usize = 16;
