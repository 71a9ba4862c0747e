//! The events that come all the time, encoded without a look at the event table.
//!
//! A recorded task writes a wake, the start of a poll and its end for each turn. The general
//! encoder takes an event apart, looks at its type, and checks for room byte by byte; here an event
//! is put together in a register and stored at once.
//!
//! # Invariants
//! 1. What is written is what [`Encoder::push`](crate::Encoder::push) writes for the same event beside
//!    the same memory, and by `note_brief` the memory is the same afterwards. Where
//!    an event is longer, or comes near the end of the buffer, nothing is written, and the
//!    general encoder is to be asked.
//!
//! # Costs
//! Some 20 to 40 instructions for an event, and one check for room: bytes behind the event are
//! overwritten, up to 16 from its beginning.
//!
//! # Read next
//! `codec.rs` for the general encoder.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::{Seq, WakeBy};
use crate::codec::BlockMemory;
use crate::event::Event;
use crate::packed::{self, apart};

/// So much room is asked for at once: two words.
const ROOM: usize = 16;

/// Numbers from here on take more than two bytes. A power of two, so that several are looked at in
/// one step.
const LONG: u64 = 1 << 14;

/// An event that is its type and its time, and nothing else.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Bare, Event};
///
/// assert_eq!(Bare::Unpark.event(), Event::Unpark {});
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bare {
    /// As [`Event::PollYield`].
    PollYield,
    /// As [`Event::PollPreempt`].
    PollPreempt,
    /// As [`Event::PollReady`].
    PollReady,
    /// As [`Event::PollLost`].
    PollLost,
    /// As [`Event::Park`].
    Park,
    /// As [`Event::Unpark`].
    Unpark,
}

impl Bare {
    /// The same as an event of the table.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Bare, Event};
    ///
    /// assert_eq!(Bare::PollReady.event(), Event::PollReady {});
    /// assert_eq!(Bare::Park.event().number(), 0x20);
    /// ```
    #[must_use]
    #[inline]
    pub const fn event(self) -> Event<'static> {
        match self {
            Self::PollYield => Event::PollYield {},
            Self::PollPreempt => Event::PollPreempt {},
            Self::PollReady => Event::PollReady {},
            Self::PollLost => Event::PollLost {},
            Self::Park => Event::Park {},
            Self::Unpark => Event::Unpark {},
        }
    }
}

/// Up to eight bytes, the first one lowest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Word {
    bits: u64,
    /// How many bytes of it count.
    len: u32,
}

impl Word {
    /// Nothing.
    const NONE: Self = Self { bits: 0, len: 0 };

    #[inline]
    const fn of(byte: u8) -> Self {
        Self {
            bits: byte as u64,
            len: 1,
        }
    }

    /// A number below 128, or any byte.
    #[inline]
    const fn and_byte(self, byte: u8) -> Self {
        let shift = self.len.wrapping_mul(8);
        Self {
            bits: self.bits | (byte as u64).wrapping_shl(shift),
            len: self.len.wrapping_add(1),
        }
    }

    /// A number below [`LONG`] as LEB128, without a branch for its length.
    #[inline]
    const fn and_number(self, number: u64) -> Self {
        let is_wide = number >= 0x80;
        let bytes = (number & 0x7f) | (number & !0x7f) << 1 | (is_wide as u64) << 7;
        let shift = self.len.wrapping_mul(8);
        Self {
            bits: self.bits | bytes.wrapping_shl(shift),
            len: self.len.wrapping_add(1).wrapping_add(is_wide as u32),
        }
    }
}

/// An event of a few bytes, put together before anybody has looked for room.
///
/// # Examples
/// A recorder tries it first, and asks the general encoder where it says no:
///
/// ```
/// use ripcord_trace_format::{Brief, Encoder, Event, Progress, Seq};
///
/// let (mut one, mut other) = ([0; 64], [0; 64]);
/// let event = Event::PollStart { slot: 7, seq: Seq::new(3) };
/// let mut encoder = Encoder::new(&mut other, 0);
/// encoder.push(0, &Event::Park {})?;
/// let (progress, mut memory) = (encoder.progress(), encoder.into_memory());
///
/// let brief = Brief::poll_start(5, 7, Seq::new(3), &memory).expect("small numbers");
/// let len = brief.put(&mut one).expect("there is room");
/// let mut encoder = Encoder::resume(&mut other, progress, memory.clone());
/// encoder.push(5, &event)?;
/// assert_eq!(&one[..len], &encoder.written()[progress.len..]);
/// memory.note_brief(&event);
/// # Ok::<(), ripcord_trace_format::Full>(())
/// ```
///
/// # Limitations
/// Numbers, ticks among them, are below 16,384: what is longer comes out as `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it is written nowhere yet"]
pub struct Brief {
    head: Word,
    tail: Word,
}

impl Brief {
    /// An event without arguments, so many ticks after the one before.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Bare, Brief};
    ///
    /// let mut room = [0; 16];
    /// let park = Brief::bare(300, Bare::Park).expect("it is soon after");
    /// assert_eq!(park.put(&mut room), Some(3));
    /// assert_eq!(room[..3], [0x20, 0xac, 0x02]);
    /// assert_eq!(Brief::bare(1 << 14, Bare::Park), None);
    /// ```
    #[inline]
    pub const fn bare(ticks: u64, bare: Bare) -> Option<Self> {
        if ticks >= LONG {
            return None;
        }
        Some(Self {
            head: Word::of(bare.event().number()).and_number(ticks),
            tail: Word::NONE,
        })
    }

    /// An [`Event::PollStart`], so many ticks after the event before, in a block of which `known` is
    /// remembered.
    ///
    /// Who has written it says so by [`BlockMemory::note_brief`].
    #[inline]
    pub fn poll_start(ticks: u64, slot: u64, seq: Seq, known: &BlockMemory) -> Option<Self> {
        let memory = known.memory()?;
        let is_next = memory.slot(slot).is_some_and(|seen| seen.next == seq);
        let (number, slot) = if is_next {
            (packed::POLL_START, apart(slot, memory.slot))
        } else {
            (Event::PollStart { slot, seq }.number(), slot)
        };
        if ticks | slot >= LONG {
            return None;
        }
        let head = Word::of(number).and_number(ticks).and_number(slot);
        Some(Self {
            head: if is_next {
                head
            } else {
                head.and_byte(seq.number())
            },
            tail: Word::NONE,
        })
    }

    /// The end of a poll that leaves the task waiting, so many ticks after the event before.
    ///
    /// It is an [`Event::PollListening`] if the task `listens`, else an [`Event::PollPending`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Brief;
    ///
    /// let mut room = [0; 16];
    /// let wait = Brief::poll_wait(5, true, Some(2)).expect("small numbers");
    /// assert_eq!(wait.put(&mut room), Some(3));
    /// assert_eq!(room[..3], [0x0b, 5, 3]);
    /// ```
    #[inline]
    pub const fn poll_wait(ticks: u64, listens: bool, label: Option<u64>) -> Option<Self> {
        let number = if listens {
            Event::PollListening { label }.number()
        } else {
            Event::PollPending { label }.number()
        };
        let label = optional(label);
        if ticks | label >= LONG {
            return None;
        }
        Some(Self {
            head: Word::of(number).and_number(ticks).and_number(label),
            tail: Word::NONE,
        })
    }

    /// An [`Event::Wake`], so many ticks after the event before, in a block of which `known` is
    /// remembered.
    ///
    /// Who has written it says so by [`BlockMemory::note_brief`].
    #[inline]
    pub fn wake(
        ticks: u64,
        slot: u64,
        seq: Seq,
        by: WakeBy,
        waker: Option<u64>,
        known: &BlockMemory,
    ) -> Option<Self> {
        let memory = known.memory()?;
        let (kind, from) = (by.number(), apart(slot, memory.slot));
        let is_known = waker == packed::expected_waker(memory, by);
        let number = match waker {
            Some(number) if !is_known => number,
            // Nobody, where somebody was to be expected: that has a longer form.
            None if !is_known => return None,
            _ => 0,
        };
        if ticks | from | number >= LONG || kind > packed::LAST_WAKER {
            return None;
        }
        let is_next = memory.slot(slot).is_some_and(|seen| seen.next == seq);
        let head = if is_next {
            Word::of(packed::WAKE).and_number(ticks).and_number(from)
        } else {
            let head = Word::of(packed::WAKE_AT).and_number(ticks);
            head.and_number(from).and_byte(seq.number())
        };
        let [kind, ..] = (kind << 1 | u64::from(!is_known)).to_le_bytes();
        let tail = Word::of(kind);
        Some(Self {
            head,
            tail: if is_known {
                tail
            } else {
                tail.and_number(number)
            },
        })
    }

    /// Writes it to the beginning of `room`, and says how many bytes it has; `None`, and nothing is
    /// written, where there are fewer than 16.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::{Bare, Brief};
    ///
    /// let park = Brief::bare(1, Bare::Park).expect("it is soon after");
    /// assert_eq!(park.put(&mut [0; 16]), Some(2));
    /// assert_eq!(park.put(&mut [0; 15]), None, "the general encoder may find room");
    /// ```
    #[must_use]
    #[inline]
    pub fn put(self, room: &mut [u8]) -> Option<usize> {
        let room: &mut [u8; ROOM] = room.first_chunk_mut()?;
        let Self { head, tail } = self;
        let (first, _) = room.split_first_chunk_mut::<8>()?;
        *first = head.bits.to_le_bytes();
        let len = usize::try_from(head.len).ok()?;
        if tail.len > 0 {
            // The mask changes nothing, as a head has six bytes: it tells the compiler that there is room.
            let rest = room.get_mut(len & 7..)?;
            *rest.first_chunk_mut::<8>()? = tail.bits.to_le_bytes();
        }
        Some(len.wrapping_add(usize::try_from(tail.len).ok()?))
    }
}

/// An argument that may be nothing, as its number in a trace.
#[inline]
const fn optional(number: Option<u64>) -> u64 {
    match number {
        // The one number without a successor becomes nothing.
        Some(number) => number.wrapping_add(1),
        None => 0,
    }
}
