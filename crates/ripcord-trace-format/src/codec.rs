//! Events in a payload: the encoder of a recorder, the decoder of an analysis.
//!
//! # Invariants
//! 1. An event is written as a whole or not at all: the length moves after the last byte only.
//! 2. Ticks do not go back: a smaller one counts as the one before it.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::Short;
use crate::error::{EventError, Fault};
use crate::event::{Event, RawEvent, WITH_LENGTH};
use crate::schema::{Plan, Schema};
use crate::varint::{Cursor, Out};
use std::error::Error;
use std::fmt;

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
/// A bounds check and a store per byte; most events have 3 to 6 bytes.
#[derive(Debug)]
pub struct Encoder<'b> {
    buf: &'b mut [u8],
    progress: Progress,
}

/// How far an encoder has come, for who keeps buffer and progress apart.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Encoder, Event, Progress};
///
/// let mut buffer = vec![0; 16 * 1024];
/// let mut progress = Progress::at(500);
/// for tick in [510, 520] {
///     let mut encoder = Encoder::resume(&mut buffer, progress);
///     encoder.push(tick, &Event::Park {})?;
///     progress = encoder.progress();
/// }
/// assert_eq!((progress.len, progress.events), (4, 2));
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

impl<'b> Encoder<'b> {
    /// Begins a block at `first_tick` in an empty buffer.
    ///
    /// What the buffer holds is overwritten. The first event may have a later tick; an earlier one
    /// becomes `first_tick`.
    #[must_use]
    #[inline]
    pub const fn new(buf: &'b mut [u8], first_tick: u64) -> Self {
        Self::resume(buf, Progress::at(first_tick))
    }

    /// Goes on in a buffer where another encoder has stopped.
    ///
    /// So a recorder can keep buffer and progress in its thread and needs no borrow between events.
    /// With a progress of another buffer the bytes are those of no event, and nothing worse.
    #[must_use]
    #[inline]
    pub const fn resume(buf: &'b mut [u8], progress: Progress) -> Self {
        Self { buf, progress }
    }

    /// Writes an event that happened at `tick`. Texts are cut at
    /// [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) bytes; a tick before that of the event before it
    /// becomes equal to it.
    ///
    /// # Errors
    /// [`Full`]: it does not fit into what is left of the buffer. Nothing has changed then; into an
    /// empty buffer of [`EVENT_BYTES_MAX`](crate::EVENT_BYTES_MAX) bytes every event of the table
    /// fits.
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
        let mut out = Out::new(self.buf, before.len);
        let delta = tick.saturating_sub(before.tick);
        event.put(delta, &mut out).ok_or(Full)?;
        self.progress = Progress {
            len: out.at(),
            tick: before.tick.max(tick),
            events: before.events.saturating_add(1),
        };
        Ok(())
    }

    /// How far it has come.
    ///
    /// Everything before `len` is complete, so it may be copied and read at any time.
    #[must_use]
    #[inline]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// The bytes of the events: the payload of a block.
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
/// No allocation; texts are borrowed from the payload.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    cursor: Cursor<'a>,
    /// Bytes of the payload; 0 after an error.
    len: usize,
    tick: u64,
    schema: &'a Schema,
}

impl<'a> Decoder<'a> {
    /// Reads a payload from its beginning.
    ///
    /// Reads `payload`, whose block begins at `first_tick`, by the schema of its trace.
    #[must_use]
    pub const fn new(payload: &'a [u8], first_tick: u64, schema: &'a Schema) -> Self {
        Self {
            cursor: Cursor::new(payload),
            len: payload.len(),
            tick: first_tick,
            schema,
        }
    }

    /// The next event as bytes, for who looks into it by the schema alone.
    ///
    /// # Errors
    /// As the iterator's.
    pub fn next_raw(&mut self) -> Option<Result<(u64, RawEvent<'a>), EventError>> {
        self.next_with(Self::raw)
    }

    /// Bytes that are not decoded yet; after an error, from the beginning of the wrong event on.
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
        let start = self.cursor;
        if start.rest().is_empty() || self.len == 0 {
            return None;
        }
        let taken = self.head().and_then(|number| take(self, number));
        Some(match taken {
            Ok(event) => Ok((self.tick, event)),
            Err(fault) => {
                let offset = self.len.saturating_sub(start.rest().len());
                self.cursor = start;
                self.len = 0;
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
        match self.schema.plan(number) {
            Plan::Same if number < WITH_LENGTH => Event::take(number, &mut self.cursor),
            plan => self.unusual(number, plan),
        }
    }

    /// What only traces of other versions need, kept out of the loop.
    #[inline(never)]
    fn unusual(&mut self, number: u8, plan: Plan) -> Result<Event<'a>, Fault> {
        let raw = self.raw(number)?;
        let mut cursor = Cursor::new(raw.args);
        match plan {
            // What is left in `cursor` are arguments that this version does not know.
            Plan::Same | Plan::Longer => Event::take(number, &mut cursor),
            Plan::Shorter(left) => {
                let cursor = &mut cursor;
                Event::take(number, &mut Short { cursor, left })
            }
            Plan::Foreign | Plan::Missing => Ok(Event::Unknown(raw)),
        }
    }

    /// Delimits the arguments, by their length or by the schema, and checks the latter.
    fn raw(&mut self, number: u8) -> Result<RawEvent<'a>, Fault> {
        if number >= WITH_LENGTH {
            let len = self.cursor.number()?;
            let len = usize::try_from(len).map_err(|_| Fault::Cut)?;
            let args = self.cursor.bytes(len)?;
            return Ok(RawEvent { number, args });
        }
        let row = self.schema.row(number).ok_or(Fault::UnknownType(number))?;
        let start = self.cursor;
        for arg in row.args() {
            arg.kind().take(&mut self.cursor)?;
        }
        let len = start.rest().len().saturating_sub(self.rest().len());
        let args = start.rest().get(..len).unwrap_or_default();
        Ok(RawEvent { number, args })
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
