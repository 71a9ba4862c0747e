//! The parts of a trace that every way of writing one needs: tables, registry, blocks of the ring.
//!
//! # Two who write
//! A dump writes everything once and ends. A stream writes windows, each with all that is
//! needed to read it alone. Both are made of the same parts in the same order: tables
//! before what names their entries, the registry after the events.
//!
//! # Costs
//! One buffer of 64 KiB for blocks that are made here. Blocks of the ring are written as
//! they are, but for one pass that looks for their last tick.

use crate::clock::Reading;
use crate::contexts::SaidContext;
use crate::live::Said;
use crate::local::with_local;
use crate::packer::Packer;
use crate::ring::Copy;
use crate::shared::Shared;
use crate::stacks::Taken;
use crate::tables::place_event;
use crate::tasks::spawn_event;
use ripcord_trace_format::{
    BlockInfo, BlockKind, BlockMemory, CtxKind, Decoder, EVENT_BYTES_MAX, Encoder, Event,
    FileHeader, Position, Progress, Schema, TEXT_BYTES_MAX, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes of a block that is not one of the ring's.
const BLOCK_BYTES: usize = 64 * 1024;

/// Per thread: events that were written.
pub(crate) type Totals = BTreeMap<u32, u64>;

/// A trace that is being written.
pub(crate) struct Output<W> {
    /// Puts blocks between their headers and checksums.
    pub(crate) writer: Writer<W>,
    /// Compresses them before that, if it is to.
    packer: Packer,
    /// How events are encoded, to find the last tick of a block.
    schema: Schema,
    /// For the blocks that are encoded here.
    buffer: Vec<u8>,
    /// The number of the window that is being written, from 1.
    pub(crate) window: u32,
    /// Places and labels that stand in the trace already.
    said: (usize, usize),
}

impl<W: Write> Output<W> {
    /// Begins a trace.
    ///
    /// The header names the program, its process and the clock.
    ///
    /// # Errors
    /// What the first write says.
    pub(crate) fn new(shared: &Shared, out: W) -> io::Result<Self> {
        let (clock, shift, frequency) = shared.clock.header();
        let wall_ns = shared.clock.started_wall_ns();
        let header = FileHeader::new(clock, shift, frequency)
            .program(&shared.program)
            .started(std::process::id().into(), wall_ns);
        Ok(Self {
            writer: Writer::new(out, &header)?,
            packer: Packer::new(shared.zstd)?,
            schema: Schema::current(),
            buffer: vec![0; BLOCK_BYTES],
            window: 1,
            said: (0, 0),
        })
    }

    /// Writes events into as many blocks as they need.
    ///
    /// No block is written where there are no events.
    fn put<'a>(
        &mut self,
        info: BlockInfo,
        events: impl IntoIterator<Item = (u64, Event<'a>)>,
    ) -> io::Result<()> {
        let info = BlockInfo {
            window: self.window,
            ..info
        };
        let out = (&mut self.writer, &mut self.packer);
        put(out, &mut self.buffer, info, events)
    }

    /// The schema again, for who begins to read at a later window.
    pub(crate) fn schema(&mut self) -> io::Result<()> {
        let text = Schema::current_text();
        let info = BlockInfo::new(BlockKind::Schema);
        self.packer.block(&mut self.writer, info, text.as_bytes())
    }

    /// A window begins, with readings of all clocks.
    pub(crate) fn window_start(&mut self, readings: &[Reading]) -> io::Result<()> {
        let events = readings.iter().map(|reading| {
            let clock = Event::Clock {
                monotonic: reading.monotonic_ns,
                wall: reading.wall_ns,
            };
            (reading.tick, clock)
        });
        self.put(BlockInfo::new(BlockKind::WindowStart), events)
    }

    /// Places and labels that do not stand in the trace yet.
    ///
    /// Called after events were copied and before they are written, so none of them names
    /// what is not there.
    pub(crate) fn tables(&mut self, shared: &Shared) -> io::Result<()> {
        // In this order: the labels have their places in what is taken after them.
        let labels = shared.tables.labels();
        let places = shared.tables.places();
        let said = (places.len(), labels.len());
        let places = places.iter().zip(0..).skip(self.said.0);
        let places = places.map(|(place, index)| (0, place_event(index, place)));
        let labels = labels.iter().zip(0..).skip(self.said.1);
        let labels = labels.map(|(label, index)| (0, label.event(index)));
        self.put(BlockInfo::new(BlockKind::Table), places.chain(labels))?;
        self.said = said;
        Ok(())
    }

    /// Of the places and labels those with these numbers.
    ///
    /// For a trace of a part, whose events name few of them. What is said here is not noted as said: such a
    /// trace has one window.
    pub(crate) fn some_tables(
        &mut self,
        shared: &Shared,
        places: &BTreeSet<u64>,
        labels: &BTreeSet<u64>,
    ) -> io::Result<()> {
        // In this order: see `tables`.
        let all_labels = shared.tables.labels();
        let all_places = shared.tables.places();
        let wanted = all_labels.iter().zip(0..);
        let wanted = wanted.filter(|(_, index)| labels.contains(index));
        let labels: Vec<_> = wanted.collect();
        let of_labels = labels.iter().filter_map(|(label, _)| label.place);
        let of_labels: BTreeSet<u64> = of_labels.map(u64::from).collect();
        let wanted = all_places
            .iter()
            .zip(0..)
            .filter(|(_, index)| places.contains(index) || of_labels.contains(index));
        let places = wanted.map(|(place, index)| (0, place_event(index, place)));
        let labels = labels.iter();
        let labels = labels.map(|(label, index)| (0, label.event(*index)));
        self.put(BlockInfo::new(BlockKind::Table), places.chain(labels))
    }

    /// Events of a thread, in as many blocks as they need.
    ///
    /// They are encoded anew, with differences of ticks of their own: for events that were picked out of the
    /// ring's blocks, which cannot be copied as they are.
    pub(crate) fn events<'a>(
        &mut self,
        thread: u32,
        events: impl IntoIterator<Item = (u64, Event<'a>)>,
    ) -> io::Result<()> {
        let info = BlockInfo {
            thread,
            ..BlockInfo::new(BlockKind::Events)
        };
        self.put(info, events)
    }

    /// A block of the ring as it is; where a decoder goes on when there is more in it.
    ///
    /// From its beginning on: so much of a block can be read alone, however far it is filled.
    pub(crate) fn copy(&mut self, copy: &Copy) -> io::Result<Position> {
        let mut events = Decoder::new(&copy.bytes, copy.first_tick, &self.schema);
        let last = events.by_ref().map_while(Result::ok).last();
        let last_tick = last.map_or(copy.first_tick, |(tick, _)| tick);
        let info = BlockInfo {
            window: self.window,
            thread: copy.thread,
            first_tick: copy.first_tick,
            last_tick,
            events: copy.events,
            ..BlockInfo::new(BlockKind::Events)
        };
        self.packer.block(&mut self.writer, info, &copy.bytes)?;
        Ok(events.pause())
    }

    /// What has come into a block since it was written last, as a block of its own; where a decoder
    /// goes on when there is more.
    ///
    /// The events are written anew: in their block they refer to others before them, which stand in a
    /// block that was written already. They may take more bytes than before, and several blocks.
    ///
    /// # Costs
    /// A decoding and an encoding of each event, for the thread that writes. A stream does this for the
    /// blocks of threads that are not busy, once a second.
    pub(crate) fn rest(&mut self, copy: &Copy, position: Position) -> io::Result<Position> {
        let mut events = Decoder::resume(&copy.bytes, position, &self.schema);
        let info = BlockInfo {
            window: self.window,
            thread: copy.thread,
            ..BlockInfo::new(BlockKind::Events)
        };
        let rest = events.by_ref().map_while(Result::ok);
        let out = (&mut self.writer, &mut self.packer);
        put(out, &mut self.buffer, info, rest)?;
        Ok(events.pause())
    }

    /// Which threads there are.
    ///
    /// With their names and kinds, at the tick of the recorder's start: when a thread began
    /// stands in its own events, if anywhere.
    pub(crate) fn threads(&mut self, shared: &Shared) -> io::Result<()> {
        for thread in shared.threads() {
            let info = BlockInfo {
                thread: thread.number,
                ..BlockInfo::new(BlockKind::Registry)
            };
            let event = Event::ThreadStart {
                kind: thread.kind(),
                name: &thread.name,
            };
            self.put(info, [(shared.clock.at_start().tick, event)])?;
        }
        Ok(())
    }

    /// What lives.
    ///
    /// Beginnings, tags and ends of contexts, and beginnings of tasks and jobs, by the time
    /// at which they happened.
    pub(crate) fn registry<'a>(
        &mut self,
        live: impl IntoIterator<Item = &'a (u64, Live)>,
    ) -> io::Result<()> {
        let events = live
            .into_iter()
            .flat_map(|(tick, live)| events_of(*tick, live));
        let mut events: Vec<_> = events.collect();
        // An end comes after beginnings that were later than its own.
        events.sort_by_key(|(tick, _)| *tick);
        self.put(BlockInfo::new(BlockKind::Registry), events)
    }

    /// A window ends, with the totals of its threads.
    ///
    /// Threads that have neither written nor lost anything are left out.
    pub(crate) fn window_end(
        &mut self,
        shared: &Shared,
        reading: Reading,
        totals: &Totals,
    ) -> io::Result<()> {
        let clock = Event::Clock {
            monotonic: reading.monotonic_ns,
            wall: reading.wall_ns,
        };
        let threads = shared.threads();
        let threads = threads.iter().filter_map(|thread| {
            let events = totals.get(&thread.number).copied().unwrap_or(0);
            let dropped = thread.lost();
            let totals = Event::ThreadTotals {
                thread: thread.number.into(),
                events,
                dropped,
            };
            (events + dropped > 0).then_some((reading.tick, totals))
        });
        let events = std::iter::once((reading.tick, clock)).chain(threads);
        self.put(BlockInfo::new(BlockKind::WindowEnd), events)
    }
}

/// Writes events into as many blocks as they need, each of them made in `buffer`.
///
/// Each block begins with nothing remembered, so it can be read without the one before.
///
/// # Costs
/// What an encoder remembers is allocated once for all of them.
fn put<'a, W: Write>(
    (writer, packer): (&mut Writer<W>, &mut Packer),
    buffer: &mut [u8],
    info: BlockInfo,
    events: impl IntoIterator<Item = (u64, Event<'a>)>,
) -> io::Result<()> {
    let mut events = events.into_iter().peekable();
    let mut memory = BlockMemory::new();
    while let Some((first_tick, _)) = events.peek() {
        let first_tick = *first_tick;
        memory.clear();
        let mut encoder = Encoder::resume(buffer, Progress::at(first_tick), memory);
        while let Some((tick, event)) = events.peek() {
            let room = BLOCK_BYTES.saturating_sub(encoder.progress().len);
            if room < EVENT_BYTES_MAX {
                break;
            }
            // There is room for any event.
            let _ = encoder.push(*tick, event);
            events.next();
        }
        let progress = encoder.progress();
        let info = BlockInfo {
            first_tick,
            last_tick: progress.tick,
            events: progress.events,
            ..info
        };
        packer.block(writer, info, encoder.written())?;
        memory = encoder.into_memory();
    }
    Ok(())
}

/// Gives the stacks that wait their names, and writes them into the ring.
///
/// It is done by whoever has time for it: the thread that watches, that of a stream, or who
/// asks for a dump.
///
/// # Costs
/// Milliseconds for each stack whose functions were not seen before. It runs code of the
/// runtime's adapter.
pub(crate) fn name_stacks(shared: &Arc<Shared>) {
    for taken in shared.stacks.take() {
        let Taken {
            raw,
            task,
            why,
            stack,
        } = taken;
        // It is the adapter's code, and so is what is dropped here.
        let named = catch_unwind(AssertUnwindSafe(move || stack.leaves()));
        let Ok(leaves) = named else {
            shared.stacks.note_refused();
            continue;
        };
        with_local(shared, |local| {
            for (frames, leaf) in leaves.iter().zip(0..) {
                let text = joined(frames);
                let event = Event::Stack {
                    task,
                    why,
                    leaf,
                    text: &text,
                };
                local.record(raw, &event);
            }
        });
    }
}

/// As many whole frames as a text can hold, the innermost first.
fn joined(frames: &[String]) -> String {
    let mut text = String::new();
    for frame in frames {
        let is_first = text.is_empty();
        if !is_first && text.len() + 1 + frame.len() > TEXT_BYTES_MAX {
            break;
        }
        if !is_first {
            text.push('\n');
        }
        text.push_str(frame);
    }
    text
}

/// What an event of the registry is made of: with the tick of its beginning.
///
/// A copy: whoever it tells of may be gone when it is written.
pub(crate) enum Live {
    /// Slot, id, whether it is a job, and what was said at the spawn.
    Task(u32, u64, bool, Said),
    /// Id, and what was said since it was made.
    Context(u64, SaidContext),
}

/// All that live.
///
/// A task that ends meanwhile may be missing, and one that begins meanwhile may be there: a
/// dump copies the ring afterwards, which has both.
///
/// # Costs
/// A look at every slot that was ever used, and a lock and a copy for each that is.
pub(crate) fn live(shared: &Shared) -> Vec<(u64, Live)> {
    let mut live = Vec::new();
    for (number, id, slot) in shared.tasks.live() {
        let (is_job, said) = (slot.live.is_job(), slot.live.said());
        // Another task may have taken the slot meanwhile: then this was read in part of each.
        if slot.id() == id {
            live.push((said.tick, Live::Task(number, id, is_job, said)));
        }
    }
    for (_, id, slot) in shared.contexts.live() {
        let said = slot.live.said();
        if slot.id() == id {
            live.push((said.tick, Live::Context(id, said)));
        }
    }
    live
}

/// What the registry says of one: its beginning, then what became of it.
///
/// The order is that of the events as they were told at first.
fn events_of(tick: u64, live: &Live) -> impl Iterator<Item = (u64, Event<'_>)> {
    let (first, context) = match live {
        Live::Task(slot, id, is_job, said) => {
            (spawn_event(*slot, *id, *is_job, said, &said.name), None)
        }
        Live::Context(id, said) => {
            let create = Event::CtxCreate {
                id: *id,
                parent: said.parent,
                kind: CtxKind::from_number(said.kind),
                loc: said.loc,
                deadline: said.deadline,
                name: &said.name,
            };
            (create, Some((*id, said)))
        }
    };
    let rest = context.into_iter().flat_map(move |(id, said)| {
        let tags = said.tags.iter().map(move |(key, text)| {
            let tag = Event::CtxTag {
                id,
                key: *key,
                text: text.as_str().into(),
            };
            (tick, tag)
        });
        let cancel = said.cancel.iter();
        tags.chain(cancel.map(move |cancel| (cancel.tick, cancel.event(id))))
    });
    std::iter::once((tick, first)).chain(rest)
}
