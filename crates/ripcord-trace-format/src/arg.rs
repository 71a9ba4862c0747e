//! The kinds of arguments: how a Rust type becomes bytes, and back.
//!
//! A kind is one implementation of [`Arg`] and one word of the schema, which is all that encoder,
//! decoder, schema and text know of it.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::coding::{Coding, CtxId, Take, TaskId};
use crate::error::Fault;
use crate::id_text::IdText;
use crate::value::{AsValue, Value};
use crate::varint::{Out, unzigzag, zigzag};
use std::fmt;

/// How an argument of an event is stored.
///
/// The kinds are the same for all types of events, those of later versions among them, so a reader
/// takes a type that it does not know by the kinds that the schema of the trace says.
///
/// Ids and texts of a block refer to what stands before them in it, as do the last six kinds; in a type
/// from 0x80, which stands for itself, ids count from zero and texts are written out.
///
/// # Examples
/// ```
/// use ripcord_trace_format::ArgKind;
///
/// assert_eq!(ArgKind::OptUint.as_str(), "opt");
/// ```
///
/// The second id counts from the first, and the second name is where the first one stands:
///
/// ```
/// use ripcord_trace_format::{Encoder, Event};
///
/// let mut buffer = [0; 64];
/// let mut encoder = Encoder::new(&mut buffer, 0);
/// encoder.push(0, &Event::UserTaskBegin { id: 1, name: "batch" })?;
/// encoder.push(0, &Event::JobStart { job: 1_000_000 })?;
/// let len = encoder.progress().len;
/// encoder.push(0, &Event::UserTaskBegin { id: 2, name: "batch" })?;
/// encoder.push(0, &Event::JobStart { job: 1_000_001 })?;
/// assert_eq!(encoder.written()[len..], [0x1b, 0, 2, 3, 0x29, 0, 2]);
/// # Ok::<(), ripcord_trace_format::Full>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ArgKind {
    /// A number: LEB128. The schema says `uint`.
    Uint,
    /// A number or nothing: zero for nothing, else the number plus one. `u64::MAX` cannot be told
    /// from nothing. The schema says `opt`.
    OptUint,
    /// A number with a sign: zigzag. The schema says `int`.
    Int,
    /// A number with a sign or nothing: zero for nothing, else zigzag plus one. `i64::MIN` becomes
    /// the number above it. The schema says `optint`.
    OptInt,
    /// A poll's sequence number: seven bits, one byte. The schema says `seq`.
    Seq,
    /// One of several names, by number; the names are in the schema: `enum(ready|panicked)`.
    Enum,
    /// UTF-8 behind its length in bytes. The schema says `text`.
    Text,
    /// The id of a context: the difference to the last one in the block, zigzag. The schema says
    /// `ctx`.
    Ctx,
    /// The same or nothing: zero for nothing, else zigzag plus one. The schema says `optctx`.
    OptCtx,
    /// The id of a task or job, as `ctx`. The schema says `task`.
    Task,
    /// The same or nothing. The schema says `opttask`.
    OptTask,
    /// A text that comes again: zero if it is empty, one and a text if it is written out, else two
    /// plus the place of one that came before. The schema says `name`.
    Name,
    /// The same for ids as text: two and 16 bytes for 32 hex digits, three and 16 bytes for a UUID,
    /// else four plus the place. The schema says `id`.
    Id,
}

impl ArgKind {
    /// The word of the schema.
    ///
    /// For an enum it is followed by the names, in brackets.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::ArgKind;
    ///
    /// assert_eq!(ArgKind::OptCtx.as_str(), "optctx");
    /// assert_eq!(ArgKind::Enum.to_string(), "enum");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uint => "uint",
            Self::OptUint => "opt",
            Self::Int => "int",
            Self::OptInt => "optint",
            Self::Seq => "seq",
            Self::Enum => "enum",
            Self::Text => "text",
            Self::Ctx => "ctx",
            Self::OptCtx => "optctx",
            Self::Task => "task",
            Self::OptTask => "opttask",
            Self::Name => "name",
            Self::Id => "id",
        }
    }

    /// The kind that a word of the schema means; the names of an enum are not part of the word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Uint,
            Self::OptUint,
            Self::Int,
            Self::OptInt,
            Self::Seq,
            Self::Enum,
            Self::Text,
            Self::Ctx,
            Self::OptCtx,
            Self::Task,
            Self::OptTask,
            Self::Name,
            Self::Id,
        ];
        all.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Bytes that an argument takes at most.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Seq => 1,
            Self::Text => crate::TEXT_BYTES_MAX.wrapping_add(2),
            Self::Name | Self::Id => crate::TEXT_BYTES_MAX.wrapping_add(3),
            _ => 10,
        }
    }

    /// Reads an argument of this kind, and notes the first id of each kind.
    pub(crate) fn take<'a>(self, from: &mut Take<'_, 'a>) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Uint => Value::Uint(u64::take(from)?),
            Self::OptUint => Value::OptUint(<Option<u64> as Arg>::take(from)?),
            Self::Int => Value::Int(i64::take(from)?),
            Self::OptInt => Value::OptInt(<Option<i64> as Arg>::take(from)?),
            Self::Seq => Value::Seq(Seq::take(from)?),
            Self::Enum => Value::Enum(u64::take(from)?),
            Self::Text => Value::Text(<&str>::take(from)?),
            Self::Ctx | Self::Task => {
                let id = match self {
                    Self::Ctx => <CtxId as Coding<'_, u64>>::take(from)?,
                    _ => <TaskId as Coding<'_, u64>>::take(from)?,
                };
                self.first(from, Some(id));
                Value::Uint(id)
            }
            Self::OptCtx | Self::OptTask => {
                let id = match self {
                    Self::OptCtx => <CtxId as Coding<'_, Option<u64>>>::take(from)?,
                    _ => <TaskId as Coding<'_, Option<u64>>>::take(from)?,
                };
                self.first(from, id);
                Value::OptUint(id)
            }
            Self::Name => Value::Text(from.name()?),
            Self::Id => Value::Id(from.id_text()?),
        })
    }

    /// Notes the id if it is the first of its kind in the event.
    fn first(self, from: &mut Take<'_, '_>, id: Option<u64>) {
        let first = match self {
            Self::Ctx | Self::OptCtx => &mut from.ctx,
            _ => &mut from.task,
        };
        *first = first.or(id);
    }
}

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where arguments come from.
///
/// There are two: a payload, and one whose writer knew fewer arguments. The first is the hot path, so
/// both are known to the compiler.
pub(crate) trait Source<'a> {
    /// A number as LEB128 has it.
    fn number(&mut self) -> Result<u64, Fault>;
    /// A text of at most [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX) bytes.
    fn text(&mut self) -> Result<&'a str, Fault>;
    /// A text that may have come before.
    fn name(&mut self) -> Result<&'a str, Fault>;
    /// The same for ids.
    fn id_text(&mut self) -> Result<IdText<'a>, Fault>;
    /// What ids of contexts and of tasks count from.
    fn bases(&self) -> (u64, u64);
    /// Whether the writer knew the argument that is next.
    #[inline]
    fn is_left(&self) -> bool {
        true
    }
}

/// The arguments of an event whose writer knew fewer of them: the others are zero or empty.
#[derive(Debug)]
pub(crate) struct Short<'c, 'd, 'a> {
    pub(crate) take: &'c mut Take<'d, 'a>,
    pub(crate) left: usize,
}

impl Short<'_, '_, '_> {
    fn is_there(&mut self) -> bool {
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_there
    }
}

impl<'a> Source<'a> for Short<'_, '_, 'a> {
    fn number(&mut self) -> Result<u64, Fault> {
        if self.is_there() {
            self.take.number()
        } else {
            Ok(0)
        }
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        if self.is_there() {
            self.take.text()
        } else {
            Ok("")
        }
    }

    fn name(&mut self) -> Result<&'a str, Fault> {
        if self.is_there() {
            self.take.name()
        } else {
            Ok("")
        }
    }

    fn id_text(&mut self) -> Result<IdText<'a>, Fault> {
        if self.is_there() {
            self.take.id_text()
        } else {
            Ok("".into())
        }
    }

    fn bases(&self) -> (u64, u64) {
        Source::bases(self.take)
    }

    fn is_left(&self) -> bool {
        self.left > 0
    }
}

/// A Rust type that is an argument.
pub(crate) trait Arg<'a>: Sized {
    /// What the schema calls it.
    const KIND: ArgKind;
    /// Names of an enum, by number.
    const NAMES: &'static [&'static str] = &[];
    /// Writes it; `None` if there is no room.
    fn put(self, out: &mut Out<'_>) -> Option<()>;
    /// Reads it.
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault>;
}

impl<'a> Arg<'a> for u64 {
    const KIND: ArgKind = ArgKind::Uint;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        out.number(self)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        from.number()
    }
}

impl<'a> Arg<'a> for Option<u64> {
    const KIND: ArgKind = ArgKind::OptUint;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        // The one number without a successor becomes nothing.
        out.is_bent |= self == Some(u64::MAX);
        out.number(self.map_or(0, |number| number.wrapping_add(1)))
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        Ok(from.number()?.checked_sub(1))
    }
}

impl<'a> Arg<'a> for i64 {
    const KIND: ArgKind = ArgKind::Int;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        out.number(zigzag(self))
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        Ok(unzigzag(from.number()?))
    }
}

impl<'a> Arg<'a> for Option<i64> {
    const KIND: ArgKind = ArgKind::OptInt;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        // The number without a successor is `i64::MIN`: two less is the neighbour of the same sign.
        let store = |number| {
            zigzag(number)
                .checked_add(1)
                .unwrap_or(u64::MAX.wrapping_sub(1))
        };
        out.is_bent |= self == Some(i64::MIN);
        out.number(self.map_or(0, store))
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        Ok(from.number()?.checked_sub(1).map(unzigzag))
    }
}

impl<'a> Arg<'a> for &'a str {
    const KIND: ArgKind = ArgKind::Text;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        out.text(self)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        from.text()
    }
}

/// The sequence number of a poll of one task: seven bits, so that it takes one byte.
///
/// `PollStart` carries the number of the poll that begins, `Wake` that of the poll it asks for. So
/// the two can be put in order even if two threads disagree about the time, and a gap between two
/// polls of a task is the number of polls that were lost (modulo 128).
///
/// # Examples
/// ```
/// use ripcord_trace_format::Seq;
///
/// let last = Seq::new(127);
/// assert_eq!(last.next(), Seq::new(0));
/// assert_eq!(Seq::new(2).since(last), 3);
/// ```
///
/// # Limitations
/// After 128 lost polls of one task the count begins again at zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Seq(u8);

impl Seq {
    /// The number of the poll after so many polls.
    ///
    /// The low seven bits of `count`, which is how often the task was polled.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Seq;
    ///
    /// assert_eq!(Seq::new(128), Seq::new(0));
    /// assert_eq!(Seq::new(130).number(), 2);
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(count: u64) -> Self {
        let [low, ..] = count.to_le_bytes();
        Self(low & 0x7f)
    }

    /// The number, 0 to 127.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Seq;
    ///
    /// assert_eq!(Seq::new(300).number(), 44);
    /// ```
    #[must_use]
    #[inline]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number of the poll after this one.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Seq;
    ///
    /// assert_eq!(Seq::new(3).next(), Seq::new(4));
    /// assert_eq!(Seq::new(127).next(), Seq::new(0));
    /// ```
    #[must_use]
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1) & 0x7f)
    }

    /// How many polls after `earlier` this one is, 0 to 127.
    ///
    /// # Limitations
    /// It cannot tell that `earlier` is the later one: then the answer is large.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> u8 {
        self.0.wrapping_sub(earlier.0) & 0x7f
    }
}

impl<'a> Arg<'a> for Seq {
    const KIND: ArgKind = ArgKind::Seq;

    #[inline]
    fn put(self, out: &mut Out<'_>) -> Option<()> {
        out.byte(self.0)
    }

    #[inline]
    fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
        let number = from.number()?;
        if number < 0x80 {
            Ok(Self::new(number))
        } else {
            Err(Fault::SeqTooLarge(number))
        }
    }
}

/// Makes an enum of names that are numbered from zero, in the order in which they stand.
///
/// A number without a name is `Other`, so that an old reader keeps what a new writer says.
macro_rules! names {
    ($(
        $(#[$about:meta])*
        $Name:ident { $( $(#[$what:meta])* $number:literal $Variant:ident $text:literal, )+ }
    )+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum $Name {
            $( $(#[$what])* $Variant, )+
            /// A number that this version has no name for.
            Other(u64),
        }

        impl $Name {
            /// The number that stands in a trace.
            ///
            /// It never changes its meaning within a major version.
            #[must_use]
            #[inline]
            pub const fn number(self) -> u64 {
                match self {
                    $( Self::$Variant => $number, )+
                    Self::Other(number) => number,
                }
            }

            /// What a number in a trace means.
            ///
            /// A number without a name is kept as `Other`, and is written again as it came.
            #[must_use]
            #[inline]
            pub const fn from_number(number: u64) -> Self {
                match number {
                    $( $number => Self::$Variant, )+
                    _ => Self::Other(number),
                }
            }

            /// The name, as the schema has it, or `other`.
            ///
            /// For reports and labels; it never changes within a major version.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Variant => $text, )+
                    Self::Other(_) => "other",
                }
            }
        }

        impl<'a> AsValue<'a> for $Name {
            fn value(self) -> Value<'a> {
                Value::Enum(self.number())
            }

            fn of(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::Enum(number) => Some(Self::from_number(number)),
                    _ => None,
                }
            }
        }

        impl<'a> Arg<'a> for $Name {
            const KIND: ArgKind = ArgKind::Enum;
            const NAMES: &'static [&'static str] = &[$( $text ),+];

            #[inline]
            fn put(self, out: &mut Out<'_>) -> Option<()> {
                out.number(self.number())
            }

            #[inline]
            fn take(from: &mut impl Source<'a>) -> Result<Self, Fault> {
                Ok(Self::from_number(from.number()?))
            }
        }
    )+};
}

names! {
    /// How a task or a piece of blocking work ended.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::Outcome;
    ///
    /// assert_eq!(Outcome::from_number(1), Outcome::Panicked);
    /// assert_eq!(Outcome::from_number(9).as_str(), "other");
    /// ```
    Outcome {
        /// Its future was ready, or its function returned.
        0 Ready "ready",
        /// It panicked.
        1 Panicked "panicked",
        /// It was aborted.
        2 Aborted "aborted",
        /// It was dropped before it was ready, by whoever owned it.
        3 Dropped "dropped",
    }

    /// Who woke a task. What the `waker` of the event means depends on it.
    ///
    /// # Limitations
    /// I/O and timers cannot be told apart where the runtime does not say which of them it is.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::WakeBy;
    ///
    /// assert_eq!(WakeBy::Itself.as_str(), "itself");
    /// ```
    WakeBy {
        /// The task that ran on this thread; `waker` is its slot.
        0 Task "task",
        /// The end of a task that somebody joins; `waker` is its slot.
        1 Completion "completion",
        /// The I/O or timer driver of a parked worker; `waker` is the worker's number.
        2 Driver "driver",
        /// The runtime itself, on a worker: a yield, or a task that is not traced; `waker` is the
        /// worker's number.
        3 Runtime "runtime",
        /// A thread of the blocking pool; `waker` is the thread's number in the trace.
        4 Blocking "blocking",
        /// Any other thread; `waker` is its number in the trace, where it has one.
        5 Foreign "foreign",
        /// The task itself, while it was polled; there is no `waker`.
        6 Itself "itself",
        /// The end of a context that the task listened to; `waker` is the id of the context where
        /// it began, where that is known.
        7 Cancel "cancel",
    }

    /// Why a context was ended.
    ///
    /// The words are those of `ripcord_core::Kind`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::CauseKind;
    ///
    /// assert_eq!(CauseKind::DeadlineExceeded.as_str(), "deadline_exceeded");
    /// ```
    CauseKind {
        /// Somebody cancelled it, without saying more.
        0 Cancelled "cancelled",
        /// Its deadline passed.
        1 DeadlineExceeded "deadline_exceeded",
        /// Its guard was dropped.
        2 Dropped "dropped",
        /// Its guard was dropped by a panic.
        3 Panicked "panicked",
        /// Another task of its scope failed.
        4 SiblingFailed "sibling_failed",
        /// The process, or a part of it, shuts down.
        5 Shutdown "shutdown",
        /// Who asked for the work has gone.
        6 PeerGone "peer_gone",
        /// A signal asked for it.
        7 Signal "signal",
        /// None of these: the message says what.
        8 Custom "custom",
    }

    /// How a context came to be.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::CtxKind;
    ///
    /// assert_eq!(CtxKind::from_number(CtxKind::Shield.number()), CtxKind::Shield);
    /// ```
    CtxKind {
        /// Derived, with nothing special.
        0 Child "child",
        /// Derived, with a deadline of its own.
        1 Deadline "deadline",
        /// It outlives its parent's end.
        2 Shield "shield",
        /// It has several parents; the event names the first.
        3 Merge "merge",
        /// It has no parent.
        4 Root "root",
        /// None of these.
        5 Unlisted "unlisted",
    }

    /// How a task first noticed that its context was done.
    ///
    /// A task that never noticed has no such event, and that is what a report is about.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::SeenHow;
    ///
    /// assert_eq!(SeenHow::Drop.as_str(), "drop");
    /// ```
    SeenHow {
        /// It asked.
        0 Check "check",
        /// It waited for the end, and was polled.
        1 Poll "poll",
        /// A hook ran.
        2 Hook "hook",
        /// Its future was dropped.
        3 Drop "drop",
        /// None of these.
        4 Unlisted "unlisted",
    }

    /// What a thread is for.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::ThreadKind;
    ///
    /// assert_eq!(ThreadKind::Worker.number(), 0);
    /// ```
    ThreadKind {
        /// It polls tasks.
        0 Worker "worker",
        /// It runs blocking work.
        1 Blocking "blocking",
        /// None of these.
        2 Unlisted "unlisted",
    }

    /// Why an await stack was taken.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::StackWhy;
    ///
    /// assert_eq!(StackWhy::from_number(2), StackWhy::Deadline);
    /// ```
    StackWhy {
        /// Somebody asked for it.
        0 Asked "asked",
        /// The task was not over when the grace was.
        1 Straggler "straggler",
        /// The deadline of its context passed.
        2 Deadline "deadline",
        /// Nobody can wake it.
        3 Lost "lost",
    }
}
