//! Events into a payload: the encoder of a recorder.
//!
//! # Two forms
//! An event has a *plain* form, with all of its arguments in the order of the table, and may have a
//! *packed* one, which leaves out what the block has said already. The encoder takes the packed one
//! where there is one that says all of the event. Which it was shows in the type alone; what
//! the encoder remembers afterwards is the same.
//!
//! # What it remembers
//! Its memory belongs to the block: the ids that were named last, the texts and the shapes that have come,
//! and what was said of the contexts and tasks that were made. It has a fixed size; what comes
//! later overwrites. A recorder keeps it beside the block, and clears it for the next one.
//!
//! # Invariants
//! 1. An event is written as a whole or not at all: the length moves after the last byte only.
//! 2. Ticks do not go back: a smaller one counts as the one before it.
//! 3. The memory takes in an event after its last byte was written, and takes it as a decoder will find
//!    it: a number that cannot be written exactly is remembered as the one that was.
//!
//! # Costs
//! One allocation with the first event of all, and none after that. A poll or a wake looks at one place
//! of the memory; a beginning or an end at three or four.
//!
//! # Read next
//! `memory.rs` for what is remembered, `packed/` for the forms, `decode.rs` for the way back, `brief.rs` for
//! a shorter way through all of this.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::coding::{Put, Written, keep};
use crate::event::{EVENTS, Event, WITH_LENGTH};
use crate::id_text::IdText;
use crate::memory::{Memory, ShapeUse};
use crate::packed;
use crate::schema::{Plan, SchemaRow};
use crate::value::Value;
use crate::varint::Out;
use crate::words::UNNUMBERED;
use std::error::Error;
use std::fmt;
use std::sync::LazyLock;

/// Writes events into a buffer, one behind the other.
///
/// It is made for the hot path of a recorder: no allocation, no panic, and an event that does not
/// fit leaves what was written as it was.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Decoder, Encoder, Event, Schema, Seq};
///
/// let mut buffer = [0; 64];
/// let mut encoder = Encoder::new(&mut buffer, 1_000);
/// encoder.push(1_000, &Event::PollStart { slot: 7, seq: Seq::new(3) })?;
/// encoder.push(1_025, &Event::PollReady {})?;
/// assert_eq!(encoder.written().len(), 6);
///
/// let schema = Schema::current();
/// let events: Vec<_> = Decoder::new(encoder.written(), 1_000, &schema).collect();
/// assert_eq!(events[1], Ok((1_025, Event::PollReady {})));
/// # Ok::<(), ripcord_trace_format::Full>(())
/// ```
///
/// # Costs
/// A bounds check and a store per byte; most events have 3 to 6 bytes. The first event allocates a
/// [`BlockMemory`].
#[derive(Debug)]
pub struct Encoder<'b> {
    /// Where bytes go.
    buf: &'b mut [u8],
    /// How far it has come there.
    progress: Progress,
    /// What stands in the block.
    memory: BlockMemory,
}

/// What an encoder has to know of the events before, in order to say the next one shortly.
///
/// It belongs to a block, as [`Progress`] does: ids are written as differences, and texts and whole
/// events by what stands in the block already.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{BlockMemory, Encoder, Event, Progress};
///
/// let (mut buffer, mut memory) = ([0; 64], BlockMemory::new());
/// let mut progress = Progress::at(500);
/// for tick in [510, 520] {
///     let mut encoder = Encoder::resume(&mut buffer, progress, memory);
///     encoder.push(tick, &Event::UserTaskBegin { id: tick, name: "batch" })?;
///     progress = encoder.progress();
///     memory = encoder.into_memory();
/// }
/// assert_eq!(progress.len, 16, "the second name is a reference");
/// # Ok::<(), ripcord_trace_format::Full>(())
/// ```
///
/// # Costs
/// A pointer; behind it some 25 KiB from the first event on, which are kept when it is cleared.
#[derive(Clone, Default)]
pub struct BlockMemory(Option<Box<Written>>);

impl BlockMemory {
    /// Of a block in which nothing stands.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockMemory, Brief, Seq};
    ///
    /// let nothing = BlockMemory::new();
    /// assert_eq!(Brief::poll_start(1, 7, Seq::new(0), &nothing), None, "an encoder begins a block");
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Forgets everything: a new block begins.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event, Progress};
    ///
    /// let (mut one, mut other) = ([0; 32], [0; 32]);
    /// let begin = Event::UserTaskBegin { id: 7, name: "batch" };
    /// let mut encoder = Encoder::new(&mut one, 0);
    /// encoder.push(0, &begin)?;
    /// let first = encoder.written().to_vec();
    /// let mut memory = encoder.into_memory();
    /// memory.clear();
    /// let mut encoder = Encoder::resume(&mut other, Progress::at(0), memory);
    /// encoder.push(0, &begin)?;
    /// assert_eq!(encoder.written(), first, "the name is written out again");
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    ///
    /// # Costs
    /// Some 25 KiB are overwritten: once for a block of thousands of events.
    pub fn clear(&mut self) {
        if let Some(written) = &mut self.0 {
            written.clear();
        }
    }

    /// Takes in an event that was written as a [`Brief`](crate::Brief), as an encoder does by itself.
    ///
    /// Before the first event that an encoder has written, it does nothing: there is no brief then.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Brief, Encoder, Event, Seq, WakeBy};
    ///
    /// let mut room = [0; 64];
    /// let mut encoder = Encoder::new(&mut room, 0);
    /// encoder.push(0, &Event::Unpark {})?;
    /// let mut memory = encoder.into_memory();
    /// let (slot, seq, by, waker) = (7, Seq::new(3), WakeBy::Itself, None);
    /// let wake = Brief::wake(1, slot, seq, by, waker, &memory).expect("small numbers");
    /// let first = wake.put(&mut room).expect("there is room");
    /// memory.note_brief(&Event::Wake { slot, seq, by, waker });
    /// let poll = Brief::poll_start(1, slot, seq, &memory).expect("small numbers");
    /// let second = poll.put(&mut room).expect("there is room");
    /// assert_eq!((first, second), (5, 3), "the poll that was asked for is not told");
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[inline]
    pub fn note_brief(&mut self, event: &Event<'_>) {
        if let Some(written) = &mut self.0 {
            written.memory.note(event, UNNUMBERED, ShapeUse::Nothing);
        }
    }

    /// What a brief event is written beside; `None` before the first event.
    #[inline]
    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.0.as_ref().map(|written| &written.memory)
    }

    /// What is remembered, which is made if there is none.
    #[inline]
    fn get(&mut self) -> &mut Written {
        self.0.get_or_insert_with(|| Box::new(Written::new()))
    }
}

impl fmt::Debug for BlockMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockMemory").finish_non_exhaustive()
    }
}

/// How far an encoder has come, for who keeps buffer and progress apart.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Encoder, Event, Progress};
///
/// let mut buffer = vec![0; 16 * 1024];
/// let mut encoder = Encoder::new(&mut buffer, 500);
/// assert_eq!(encoder.progress(), Progress::at(500));
/// encoder.push(510, &Event::Park {})?;
/// let progress = encoder.progress();
/// assert_eq!((progress.len, progress.tick, progress.events), (2, 510, 1));
/// # Ok::<(), ripcord_trace_format::Full>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that hold events, from the beginning of the buffer.
    pub len: usize,
    /// Tick of the last event; before the first one, that of the block.
    pub tick: u64,
    /// Events in the buffer.
    pub events: u32,
}

impl Progress {
    /// Nothing written yet, in a block that begins at `tick`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Progress;
    ///
    /// let progress = Progress::at(500);
    /// assert_eq!((progress.len, progress.tick, progress.events), (0, 500, 0));
    /// ```
    #[must_use]
    #[inline]
    pub const fn at(tick: u64) -> Self {
        Self {
            len: 0,
            tick,
            events: 0,
        }
    }
}

impl Progress {
    /// One event later: its last byte, and its tick, which does not go back.
    #[inline]
    fn after(self, len: usize, tick: u64) -> Self {
        Self {
            len,
            tick: self.tick.max(tick),
            events: self.events.saturating_add(1),
        }
    }
}

/// What an event that was written has brought.
struct News<'e> {
    /// The number of its name, if that has come before.
    name: u32,
    /// A name that has not.
    new_name: Option<&'e str>,
    /// The same for a text that is an id.
    new_id: Option<IdText<'e>>,
    /// Whether its form has used a shape, and which.
    shape: ShapeUse,
}

impl<'e> News<'e> {
    /// Of an event that was written as a whole.
    #[inline]
    fn of(put: &Put<'_, '_, 'e>) -> Self {
        Self {
            name: put.name,
            new_name: put.new_name,
            new_id: put.new_id,
            shape: put.shape,
        }
    }
}

/// Writes an event in its shortest form.
#[inline]
fn put<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Result<(), Full> {
    if matches!(event, Event::Unknown(raw) if raw.number < WITH_LENGTH) {
        return Err(Full);
    }
    match packed::put(event, delta, to).ok_or(Full)? {
        packed::Short::Yes => Ok(()),
        packed::Short::No => event.put(delta, to).ok_or(Full),
    }
}

/// The event that a reader finds: what cannot be written is its neighbour there, or nothing.
#[cold]
fn as_read<'e>(event: &Event<'e>, memory: &Memory) -> Event<'e> {
    let number = event.number();
    let row = EVENTS.iter().find(|row| row.number == number);
    let args = row.map(|row| row.args).unwrap_or_default();
    let bases = (memory.ctx, memory.task);
    let values = event.values().into_iter().zip(args);
    let values: Vec<_> = values
        .map(|(value, arg)| value.as_read(arg.kind, bases))
        .collect();
    Event::of(number, &values).unwrap_or(*event)
}

impl Written {
    /// Takes in what was written, and keeps a hint to a shape that it has brought.
    #[inline]
    fn note(&mut self, event: &Event<'_>, news: &News<'_>) {
        let name = self.note_texts(news);
        let Some(at) = self.memory.note(event, name, news.shape) else {
            return;
        };
        let memory = &self.memory;
        match event {
            Event::TaskSpawn { .. } => keep(&mut self.task_hints, &memory.task_shapes, at),
            Event::TaskEnd { .. } => keep(&mut self.task_end_hints, &memory.task_ends, at),
            Event::CtxEnd { .. } => keep(&mut self.ctx_end_hints, &memory.ctx_ends, at),
            Event::CtxCancel { .. } => keep(&mut self.cancel_hints, &memory.cancel_shapes, at),
            _ => keep(&mut self.ctx_hints, &memory.ctx_shapes, at),
        }
    }

    /// Remembers new texts; the number of the name.
    #[inline]
    fn note_texts(&mut self, news: &News<'_>) -> u32 {
        if let Some(id) = &news.new_id {
            self.ids.push(id);
        }
        match news.new_name {
            Some(name) => self.names.push(name),
            None => news.name,
        }
    }

    /// The same for an event of a type that the table does not have: its texts, and the first id of each
    /// kind, from which the next ones count.
    fn note_foreign(&mut self, row: &SchemaRow, values: &[Value<'_>], news: &News<'_>) {
        self.note_texts(news);
        let bases = (self.memory.ctx, self.memory.task);
        let args = row.args().iter().zip(values);
        let read: Vec<_> = args
            .map(|(arg, value)| value.as_read(arg.kind(), bases))
            .collect();
        let (ctx, task) = row.first_ids(&read);
        self.memory.ctx = ctx.unwrap_or(self.memory.ctx);
        self.memory.task = task.unwrap_or(self.memory.task);
    }
}

impl<'b> Encoder<'b> {
    /// Begins a block at `first_tick` in an empty buffer.
    ///
    /// What the buffer holds is overwritten. The first event may have a later tick; an earlier one
    /// becomes `first_tick`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event};
    ///
    /// let mut buffer = [0; 16];
    /// let mut encoder = Encoder::new(&mut buffer, 1_000);
    /// encoder.push(1_003, &Event::Park {})?;
    /// encoder.push(7, &Event::Unpark {})?;
    /// assert_eq!(encoder.written(), [0x20, 3, 0x21, 0], "the clock does not go back");
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(buf: &'b mut [u8], first_tick: u64) -> Self {
        Self::resume(buf, Progress::at(first_tick), BlockMemory::new())
    }

    /// Goes on in a buffer where another encoder has stopped.
    ///
    /// So a recorder can keep buffer, progress and memory in its thread and needs no borrow between
    /// events. `buf` may as well be what is left of the buffer, if `progress.len` is 0 then. With what
    /// belongs to another block, what it writes means nothing, and nothing worse happens.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{BlockMemory, Encoder, Event, Progress};
    ///
    /// let mut room = [0; 16];
    /// let mut encoder = Encoder::resume(&mut room, Progress::at(70), BlockMemory::new());
    /// encoder.push(75, &Event::UserTaskEnd { id: 9 })?;
    /// assert_eq!(encoder.written(), [0x1c, 5, 9]);
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn resume(buf: &'b mut [u8], progress: Progress, memory: BlockMemory) -> Self {
        Self {
            buf,
            progress,
            memory,
        }
    }

    /// What it remembers, for who goes on later, in this block or, cleared, in another one.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event, Progress};
    ///
    /// let mut room = [0; 64];
    /// let mut encoder = Encoder::new(&mut room, 0);
    /// encoder.push(5, &Event::JobStart { job: 500 })?;
    /// let (written, memory) = (encoder.progress(), encoder.into_memory());
    /// // What is left of the buffer is all that the next one has to have.
    /// let rest = &mut room[written.len..];
    /// let mut encoder = Encoder::resume(rest, Progress::at(written.tick), memory);
    /// encoder.push(6, &Event::JobStart { job: 499 })?;
    /// assert_eq!(encoder.written(), [0x29, 1, 1]);
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn into_memory(self) -> BlockMemory {
        self.memory
    }

    /// Writes an event that happened at `tick`. Texts are cut at
    /// [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) bytes; a tick before that of the event before it
    /// becomes equal to it.
    ///
    /// # Errors
    /// [`Full`]: it does not fit into what is left of the buffer. Nothing has changed then; into an
    /// empty buffer of [`EVENT_BYTES_MAX`](crate::EVENT_BYTES_MAX) bytes every event of the table
    /// fits. An event of an unknown type below 0x80 fits nowhere: its bytes mean something only in
    /// the block that they come from.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event, Full};
    ///
    /// let mut buffer = [0; 5];
    /// let mut encoder = Encoder::new(&mut buffer, 0);
    /// encoder.push(1, &Event::Park {})?;
    /// let before = encoder.progress();
    /// assert_eq!(encoder.push(2, &Event::Log { text: "long" }), Err(Full));
    /// assert_eq!(encoder.progress(), before);
    /// # Ok::<(), Full>(())
    /// ```
    #[inline]
    pub fn push(&mut self, tick: u64, event: &Event<'_>) -> Result<(), Full> {
        let before = self.progress;
        let written = self.memory.get();
        let mut to = Put::new(written, Out::new(self.buf, before.len));
        put(event, tick.saturating_sub(before.tick), &mut to)?;
        let (len, is_bent, news) = (to.out.at(), to.out.is_bent, News::of(&to));
        if is_bent {
            let read = as_read(event, &written.memory);
            written.note(&read, &news);
        } else {
            written.note(event, &news);
        }
        self.progress = before.after(len, tick);
        Ok(())
    }

    /// Writes an event as [`push`](Self::push) does, as if nothing stood before it: it refers to nothing,
    /// and is not remembered.
    ///
    /// For a few events that are kept apart from blocks, by somebody who has no memory for each of them.
    /// A decoder has to [forget](crate::Decoder::forget) what came before each of these.
    ///
    /// # Errors
    /// As `push`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event};
    ///
    /// let mut buffer = [0; 16];
    /// let mut encoder = Encoder::new(&mut buffer, 0);
    /// encoder.push_alone(1, &Event::JobStart { job: 50 })?;
    /// encoder.push_alone(2, &Event::JobStart { job: 50 })?;
    /// assert_eq!(encoder.written(), [0x29, 1, 100, 0x29, 1, 100]);
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    ///
    /// # Costs
    /// No allocation, but for one in the life of the process.
    pub fn push_alone(&mut self, tick: u64, event: &Event<'_>) -> Result<(), Full> {
        static NOTHING: LazyLock<Written> = LazyLock::new(Written::new);
        let before = self.progress;
        let mut to = Put::new(&NOTHING, Out::new(self.buf, before.len));
        put(event, tick.saturating_sub(before.tick), &mut to)?;
        self.progress = before.after(to.out.at(), tick);
        Ok(())
    }

    /// Writes an event by the schema of a trace: of a type that this version knows otherwise, or
    /// not. `rest` are bytes behind the arguments.
    pub(crate) fn push_values(
        &mut self,
        tick: u64,
        number: u8,
        row: Option<&SchemaRow>,
        values: &[Value<'_>],
        rest: &[u8],
    ) -> Result<(), Full> {
        if row.is_some_and(|row| row.plan() == Plan::Same)
            && number < WITH_LENGTH
            && rest.is_empty()
            && let Some(event) = Event::of(number, values)
        {
            return self.push(tick, &event);
        }
        let before = self.progress;
        let is_alone = number >= WITH_LENGTH;
        let written = self.memory.get();
        // The arguments have a length before them that is known when they are written.
        let mut room = if is_alone {
            vec![0; self.buf.len()]
        } else {
            Vec::new()
        };
        let mut to = Put::new(written, Out::new(self.buf, before.len)).alone(is_alone);
        to.head(number, tick.saturating_sub(before.tick))
            .ok_or(Full)?;
        let mut args = if is_alone {
            Put::new(written, Out::new(&mut room, 0)).alone(true)
        } else {
            to
        };
        let known = row.map(SchemaRow::args).unwrap_or_default();
        for (arg, value) in known.iter().zip(values) {
            value.put(arg.kind(), &mut args).ok_or(Full)?;
        }
        args.out.bytes(rest).ok_or(Full)?;
        let (mut len, news) = (args.out.at(), News::of(&args));
        if is_alone {
            let head = before.len.saturating_add(1);
            let mut out = Out::new(self.buf, head);
            out.number(tick.saturating_sub(before.tick)).ok_or(Full)?;
            out.number(len as u64).ok_or(Full)?;
            out.bytes(room.get(..len).unwrap_or_default()).ok_or(Full)?;
            len = out.at();
        } else if let Some(row) = row {
            written.note_foreign(row, values, &news);
        }
        self.progress = before.after(len, tick);
        Ok(())
    }

    /// Bytes that are no events, for who restores a payload.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let mut out = Out::new(self.buf, self.progress.len);
        out.bytes(bytes).ok_or(Full)?;
        self.progress.len = out.at();
        Ok(())
    }

    /// How far it has come.
    ///
    /// Everything before `len` is complete, so it may be copied and read at any time.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event};
    ///
    /// let mut buffer = [0; 16];
    /// let mut encoder = Encoder::new(&mut buffer, 0);
    /// encoder.push(4, &Event::RegionEnd {})?;
    /// let progress = encoder.progress();
    /// assert_eq!((progress.len, progress.events), (2, 1));
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[must_use]
    #[inline]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// The bytes of the events: the payload of a block.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Encoder, Event};
    ///
    /// let mut buffer = [0; 16];
    /// let mut encoder = Encoder::new(&mut buffer, 0);
    /// assert!(encoder.written().is_empty());
    /// encoder.push(4, &Event::RegionBegin { label: 3 })?;
    /// assert_eq!(encoder.written(), [0x18, 4, 3]);
    /// # Ok::<(), ripcord_trace_format::Full>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.progress.len).unwrap_or_default()
    }
}

/// An event does not fit into the rest of a buffer: begin a new one.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Full;
///
/// assert_eq!(Full.to_string(), "write an event: the buffer is full; begin a new block");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an event: the buffer is full; begin a new block")
    }
}

impl Error for Full {}
