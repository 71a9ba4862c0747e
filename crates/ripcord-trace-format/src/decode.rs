//! Events out of a payload: the decoder of an analysis, and where it stops to go on later.
//!
//! # What it remembers
//! Later events refer to earlier ones of the same block, so a decoder has a memory, which it makes with
//! the first event. It takes an event in when the next one is asked for, and not when it gives it:
//! so whoever merges several threads may look at an event, let another thread go first, and have the same
//! event again: [`Decoder::pause_before_last`].
//!
//! # Other versions
//! What the schema of the trace says of a type is compared with the table once for each schema. A type
//! that is the same is read by the table; everything else goes by the schema, argument by
//! argument, with the same memory, because kinds of arguments are the same for all types.
//!
//! # Invariants
//! 1. Each event is noted once, after it was read as a whole: what a decoder remembers is what the
//!    encoder did at the same place.
//! 2. An event that is wrong is noted nowhere, and is the last one.
//!
//! # Costs
//! One allocation of [`POSITION_BYTES`] for each payload, or for each thread where a position is used
//! again. An event: its numbers, and a store for what it brings.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::Short;
use crate::coding::{Seen, Stored, Take};
use crate::error::{EventError, Fault};
use crate::event::{Event, RawEvent, WITH_LENGTH};
use crate::memory::ShapeUse;
use crate::packed;
use crate::schema::{Plan, Schema, SchemaRow};
use crate::value::Value;
use crate::varint::Cursor;
use std::fmt;

/// Reads the events of a payload, each with its tick.
///
/// Types and arguments that this version does not know are told from the schema of the trace: an
/// unknown type comes out as [`Event::Unknown`], more arguments than this version knows are left
/// out, and where the writer knew fewer, the others are zero, empty or none.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Decoder, Event, Schema};
///
/// let schema = Schema::parse("0x90 tea cups:uint\n0x20 park\n")?;
/// let payload = [0x90, 1, 1, 2, 0x20, 1];
/// let events: Result<Vec<_>, _> = Decoder::new(&payload, 10, &schema).collect();
/// let events = events?;
/// assert!(matches!(events[0], (11, Event::Unknown(_))));
/// assert_eq!(events[1], (12, Event::Park {}));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// After an [`EventError`] it is at its end: where an event is wrong, nobody knows where the next
/// one begins.
///
/// # Costs
/// The first event allocates some 15 KiB; texts are borrowed from the payload.
#[derive(Clone)]
pub struct Decoder<'a> {
    /// All of it: texts that were remembered are looked up there.
    payload: &'a [u8],
    /// What has not been read.
    cursor: Cursor<'a>,
    /// An event was wrong.
    is_over: bool,
    /// Of the last event.
    tick: u64,
    /// What the trace says of its types.
    schema: &'a Schema,
    /// What stands in the block, as far as later events may refer to it; made with the first event.
    seen: Option<Box<Seen>>,
    /// What the last event has brought; it is taken in before the next one.
    pending: Pending<'a>,
    /// Before the last event.
    before: (Cursor<'a>, u64),
}

/// How far a [`Decoder`] has come in a payload, for who goes on later.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Decoder, Event, Position, Schema};
///
/// let (payload, schema) = ([0x20, 5, 0x21, 1], Schema::current());
/// let mut events = Decoder::new(&payload, 10, &schema);
/// assert_eq!(events.next(), Some(Ok((15, Event::Park {}))));
/// let position = events.pause();
/// let mut events = Decoder::resume(&payload, position, &schema);
/// assert_eq!(events.next(), Some(Ok((16, Event::Unpark {}))));
/// # let _: Position = events.pause_before_last();
/// ```
///
/// # Costs
/// 40 bytes, and what the decoder has allocated.
#[derive(Clone, Default)]
pub struct Position {
    /// Bytes that were read.
    at: usize,
    /// Of the last event before it.
    tick: u64,
    /// The event here is wrong.
    is_over: bool,
    /// As of the decoder.
    seen: Option<Box<Seen>>,
}

/// Bytes that a [`Position`] has allocated at most, beside its own.
///
/// For who keeps many of them within a limit.
///
/// # Examples
/// ```
/// assert!(ripcord_trace_format::POSITION_BYTES < 32 * 1024);
/// ```
pub const POSITION_BYTES: usize = size_of::<Seen>();

impl Position {
    /// The beginning of a payload whose block begins at `first_tick`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Event, Position, Schema};
    ///
    /// let (payload, schema) = ([0x20, 5], Schema::current());
    /// let mut events = Decoder::resume(&payload, Position::at(10), &schema);
    /// assert_eq!(events.next(), Some(Ok((15, Event::Park {}))));
    /// ```
    #[must_use]
    pub const fn at(first_tick: u64) -> Self {
        Self {
            at: 0,
            tick: first_tick,
            is_over: false,
            seen: None,
        }
    }

    /// The beginning of another payload; what was allocated is used again.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Position, Schema};
    ///
    /// let schema = Schema::current();
    /// let mut position = Position::default();
    /// for (tick, payload) in [(5, [0x29, 1, 14]), (9, [0x29, 2, 16])] {
    ///     position.restart(tick);
    ///     let mut events = Decoder::resume(&payload, position, &schema);
    ///     assert!(events.next().is_some_and(|event| event.is_ok()));
    ///     position = events.pause();
    /// }
    /// ```
    pub fn restart(&mut self, first_tick: u64) {
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
        (self.at, self.tick, self.is_over) = (0, first_tick, false);
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Position")
            .field("at", &self.at)
            .field("tick", &self.tick)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// What an event has brought, until somebody asks for the next one.
///
/// Ends of polls bring nothing, and are a third of all events.
#[derive(Clone, Copy)]
enum Pending<'a> {
    /// The event was noted, or is none that anything refers to.
    Nothing,
    /// An event of the table.
    Known(Event<'a>, Brought),
    /// An event of another type, which has named these ids first.
    Foreign(Option<u64>, Option<u64>, Brought),
}

/// Its texts and its shape.
#[derive(Clone, Copy)]
struct Brought {
    /// The number of the event's name, if it is an old one.
    name: u32,
    /// Where a new one stands in the payload.
    new_name: Option<Stored>,
    /// The same for a text that is an id.
    new_id: Option<Stored>,
    /// Whether a shape was used, and which.
    shape: ShapeUse,
}

impl Brought {
    /// Of an event that was read.
    #[inline]
    const fn of(take: &Take<'_, '_>) -> Self {
        Self {
            name: take.name,
            new_name: take.new_name,
            new_id: take.new_id,
            shape: take.shape,
        }
    }
}

impl Seen {
    /// Takes in what an event has brought: texts first, as the memory has their numbers.
    fn note(&mut self, pending: &Pending<'_>) {
        match pending {
            Pending::Nothing => {}
            Pending::Known(event, brought) => {
                let name = self.note_texts(brought);
                self.memory.note(event, name, brought.shape);
            }
            Pending::Foreign(ctx, task, brought) => {
                self.note_texts(brought);
                self.memory.ctx = ctx.unwrap_or(self.memory.ctx);
                self.memory.task = task.unwrap_or(self.memory.task);
            }
        }
    }

    /// Remembers new texts; the number of the name.
    ///
    /// It counts as the encoder does, so the number is the same on both sides.
    #[inline]
    fn note_texts(&mut self, brought: &Brought) -> u32 {
        if let Some(id) = brought.new_id {
            self.ids.push(id);
        }
        let Some(name) = brought.new_name else {
            return brought.name;
        };
        let number = self.names.next();
        self.names.push(name);
        number
    }
}

impl<'a> Decoder<'a> {
    /// Reads a payload from its beginning.
    ///
    /// Reads `payload`, whose block begins at `first_tick`, by the schema of its trace.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Event, Schema};
    ///
    /// let schema = Schema::current();
    /// let mut events = Decoder::new(&[0x1c, 5, 9], 70, &schema);
    /// assert_eq!(events.next(), Some(Ok((75, Event::UserTaskEnd { id: 9 }))));
    /// assert_eq!(events.next(), None);
    /// ```
    #[must_use]
    pub const fn new(payload: &'a [u8], first_tick: u64, schema: &'a Schema) -> Self {
        Self {
            payload,
            cursor: Cursor::new(payload),
            is_over: false,
            tick: first_tick,
            schema,
            seen: None,
            pending: Pending::Nothing,
            before: (Cursor::new(payload), first_tick),
        }
    }

    /// Goes on in the same payload where another decoder has stopped.
    ///
    /// With the position of another payload it reads events that are none, or ends with an error.
    #[must_use]
    pub fn resume(payload: &'a [u8], position: Position, schema: &'a Schema) -> Self {
        let rest = payload.get(position.at..).unwrap_or_default();
        Self {
            cursor: Cursor::new(rest),
            is_over: position.is_over,
            tick: position.tick,
            seen: position.seen,
            before: (Cursor::new(rest), position.tick),
            ..Self::new(payload, position.tick, schema)
        }
    }

    /// Stops behind the last event.
    ///
    /// # Costs
    /// The last event is noted; nothing is copied.
    #[must_use]
    pub fn pause(mut self) -> Position {
        self.settle();
        Position {
            at: self.offset(self.cursor),
            tick: self.tick,
            is_over: self.is_over,
            seen: self.seen,
        }
    }

    /// Stops before the last event, which comes again when somebody goes on.
    ///
    /// For who has seen by an event that another thread's comes first.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Schema};
    ///
    /// let (payload, schema) = ([0x29, 1, 14, 0x29, 2, 2], Schema::current());
    /// let mut events = Decoder::new(&payload, 0, &schema);
    /// let _ = events.next();
    /// let second = events.next();
    /// let mut events = Decoder::resume(&payload, events.pause_before_last(), &schema);
    /// assert_eq!(events.next(), second);
    /// assert_eq!(events.next(), None);
    /// ```
    ///
    /// Before the first call of `next`, that is where it began.
    #[must_use]
    pub fn pause_before_last(self) -> Position {
        let (cursor, tick) = self.before;
        Position {
            at: self.offset(cursor),
            tick,
            is_over: false,
            seen: self.seen,
        }
    }

    /// Forgets what stands before the next event, which was written
    /// [alone](crate::Encoder::push_alone).
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Event, Schema};
    ///
    /// let schema = Schema::current();
    /// let mut events = Decoder::new(&[0x29, 1, 100, 0x29, 1, 100], 0, &schema);
    /// assert_eq!(events.next(), Some(Ok((1, Event::JobStart { job: 50 }))));
    /// events.forget();
    /// assert_eq!(events.next(), Some(Ok((2, Event::JobStart { job: 50 }))));
    /// ```
    pub fn forget(&mut self) {
        self.pending = Pending::Nothing;
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
    }

    /// Bytes of the payload before a cursor.
    const fn offset(&self, cursor: Cursor<'_>) -> usize {
        self.payload.len().saturating_sub(cursor.rest().len())
    }

    /// Takes in what the last event has brought.
    #[inline]
    fn settle(&mut self) {
        if let Pending::Nothing = self.pending {
            return;
        }
        if let Some(seen) = &mut self.seen {
            seen.note(&self.pending);
        }
        self.pending = Pending::Nothing;
    }

    /// The arguments of the next event, as the schema has them, its type and what is left of its
    /// bytes: for the text twin.
    #[allow(clippy::type_complexity, reason = "of one caller")]
    pub(crate) fn next_values(
        &mut self,
    ) -> Option<Result<(u64, (u8, Vec<Value<'a>>, &'a [u8])), EventError>> {
        self.next_with(|events, number| match events.schema.plan(number) {
            Plan::Same | Plan::Packed if number < WITH_LENGTH => {
                let event = events.event(number)?;
                Ok((event.number(), event.values(), &[][..]))
            }
            _ => {
                let (raw, values, rest) = events.foreign(number)?;
                Ok((raw.number, values, rest))
            }
        })
    }

    /// Tick and type of the next event, which is not taken; `None` at the end, or where the next call
    /// fails.
    ///
    /// For who puts the events of several blocks into one order. The type is that of the table also
    /// where the event has a short form.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Schema};
    ///
    /// let schema = Schema::current();
    /// let mut events = Decoder::new(&[0x29, 4, 17], 100, &schema);
    /// assert_eq!(events.peek(), Some((104, 0x29)));
    /// assert!(events.next().is_some());
    /// assert_eq!(events.peek(), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<(u64, u8)> {
        let mut cursor = self.cursor;
        if self.is_over {
            return None;
        }
        let number = cursor.byte().ok()?;
        let delta = cursor.number().ok()?;
        let number = packed::base(number).unwrap_or(number);
        Some((self.tick.checked_add(delta)?, number))
    }

    /// Bytes that are not decoded yet; after an error, from the beginning of the wrong event on.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Decoder, Schema};
    ///
    /// let schema = Schema::current();
    /// let mut events = Decoder::new(&[0x20, 1, 0x1a, 1, 9, b'x'], 0, &schema);
    /// assert!(events.next().is_some_and(|event| event.is_ok()));
    /// assert!(events.next().is_some_and(|event| event.is_err()), "the text is cut");
    /// assert_eq!(events.rest(), [0x1a, 1, 9, b'x']);
    /// ```
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    /// One event by `take`, which is given its type. A failure leaves the cursor before the event.
    #[inline]
    fn next_with<T>(
        &mut self,
        take: impl FnOnce(&mut Self, u8) -> Result<T, Fault>,
    ) -> Option<Result<(u64, T), EventError>> {
        self.settle();
        let start = self.cursor;
        if start.rest().is_empty() || self.is_over {
            return None;
        }
        self.before = (start, self.tick);
        let taken = self.head().and_then(|number| take(self, number));
        Some(match taken {
            Ok(event) => Ok((self.tick, event)),
            Err(fault) => {
                self.cursor = start;
                self.is_over = true;
                self.pending = Pending::Nothing;
                let offset = self.offset(start);
                Err(EventError { offset, fault })
            }
        })
    }

    /// Type and ticks.
    #[inline]
    fn head(&mut self) -> Result<u8, Fault> {
        let number = self.cursor.byte()?;
        let delta = self.cursor.number()?;
        self.tick = self.tick.checked_add(delta).ok_or(Fault::TickTooLarge)?;
        Ok(number)
    }

    /// The arguments, of a type that most likely is one of ours.
    #[inline]
    fn event(&mut self, number: u8) -> Result<Event<'a>, Fault> {
        let plan = self.schema.plan(number);
        let is_packed = plan == Plan::Packed;
        if !is_packed && (plan != Plan::Same || number >= WITH_LENGTH) {
            return self.unusual(number, plan);
        }
        let seen = &**self.seen.get_or_insert_with(|| Box::new(Seen::new()));
        let mut take = Take::new(seen, self.payload, self.cursor);
        let event = if is_packed {
            packed::take(number, &mut take)?
        } else {
            Event::take(number, &mut take)?
        };
        self.cursor = take.cursor;
        self.pending = match event {
            Event::PollPending { .. }
            | Event::PollListening { .. }
            | Event::PollReady {}
            | Event::Park {}
            | Event::Unpark {} => Pending::Nothing,
            _ => Pending::Known(event, Brought::of(&take)),
        };
        Ok(event)
    }

    /// What only traces of other versions need, kept out of the loop.
    #[inline(never)]
    fn unusual(&mut self, number: u8, plan: Plan) -> Result<Event<'a>, Fault> {
        let start = self.cursor;
        let (raw, ..) = self.foreign(number)?;
        if matches!(plan, Plan::Foreign | Plan::Missing) {
            return Ok(Event::Unknown(raw));
        }
        let Pending::Foreign(ctx, task, brought) = self.pending else {
            return Ok(Event::Unknown(raw));
        };
        let Some(seen) = self.seen.as_deref() else {
            return Ok(Event::Unknown(raw));
        };
        let is_alone = number >= WITH_LENGTH;
        let from = if is_alone {
            Cursor::new(raw.args)
        } else {
            start
        };
        let mut take = Take::new(seen, self.payload, from).alone(is_alone);
        // What is left are arguments that this version does not know.
        let event = match plan {
            Plan::Shorter(left) => {
                let take = &mut take;
                Event::take(number, &mut Short { take, left })
            }
            _ => Event::take(number, &mut take),
        }?;
        let _ = (ctx, task);
        if !is_alone {
            self.pending = Pending::Known(event, brought);
        }
        Ok(event)
    }

    /// Delimits the arguments, by their length or by the schema, and reads them by the schema; with
    /// what is left of the bytes.
    #[allow(clippy::type_complexity, reason = "of two callers")]
    fn foreign(&mut self, number: u8) -> Result<(RawEvent<'a>, Vec<Value<'a>>, &'a [u8]), Fault> {
        let is_alone = number >= WITH_LENGTH;
        let row = self.schema.row(number);
        let seen = &**self.seen.get_or_insert_with(|| Box::new(Seen::new()));
        let mut values = Vec::new();
        if is_alone {
            let len = self.cursor.number()?;
            let len = usize::try_from(len).map_err(|_| Fault::Cut)?;
            let args = self.cursor.bytes(len)?;
            let mut take = Take::new(seen, self.payload, Cursor::new(args)).alone(true);
            for arg in row.map(SchemaRow::args).unwrap_or_default() {
                let before = take.cursor;
                let Ok(value) = arg.kind().take(&mut take) else {
                    take.cursor = before;
                    break;
                };
                values.push(value);
            }
            self.pending = Pending::Nothing;
            return Ok((RawEvent { number, args }, values, take.cursor.rest()));
        }
        let row = row.ok_or(Fault::UnknownType(number))?;
        let start = self.cursor;
        let mut take = Take::new(seen, self.payload, self.cursor);
        for arg in row.args() {
            values.push(arg.kind().take(&mut take)?);
        }
        self.cursor = take.cursor;
        self.pending = Pending::Foreign(take.ctx, take.task, Brought::of(&take));
        let len = start.rest().len().saturating_sub(self.rest().len());
        let args = start.rest().get(..len).unwrap_or_default();
        Ok((RawEvent { number, args }, values, &[]))
    }
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("rest", &self.rest())
            .field("tick", &self.tick)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<(u64, Event<'a>), EventError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(Self::event)
    }
}

impl std::iter::FusedIterator for Decoder<'_> {}
