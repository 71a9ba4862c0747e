//! The kinds of arguments: how a Rust type becomes bytes, and back.
//!
//! A kind is one implementation of [`Arg`] and one word of the schema, which is all that encoder,
//! decoder, schema and text know of it.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::error::Fault;
use crate::varint::{Cursor, Out, unzigzag, zigzag};
use std::fmt;

/// How an argument of an event is stored.
///
/// # Examples
/// ```
/// use ripcord_trace_format::ArgKind;
///
/// assert_eq!(ArgKind::OptUint.as_str(), "opt");
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
}

impl ArgKind {
    /// The word of the schema.
    ///
    /// For an enum it is followed by the names, in brackets.
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
        ];
        all.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Bytes that an argument takes at most.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Seq => 1,
            Self::Text => crate::TEXT_BYTES_MAX.wrapping_add(2),
            _ => 10,
        }
    }

    /// Reads an argument of this kind.
    pub(crate) fn take<'a>(self, from: &mut Cursor<'a>) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Uint => Value::Uint(u64::take(from)?),
            Self::OptUint => Value::OptUint(<Option<u64> as Arg>::take(from)?),
            Self::Int => Value::Int(i64::take(from)?),
            Self::OptInt => Value::OptInt(<Option<i64> as Arg>::take(from)?),
            Self::Seq => Value::Seq(Seq::take(from)?),
            Self::Enum => Value::Enum(u64::take(from)?),
            Self::Text => Value::Text(<&str>::take(from)?),
        })
    }
}

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An argument that was read by the schema of a trace rather than by a type of this version.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Value;
///
/// assert_eq!(Value::OptUint(None).to_string(), "-");
/// assert_eq!(Value::Text("two\nlines").to_string(), r#""two\nlines""#);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A number.
    Uint(u64),
    /// A number or nothing.
    OptUint(Option<u64>),
    /// A number with a sign.
    Int(i64),
    /// A number with a sign, or nothing.
    OptInt(Option<i64>),
    /// A poll's sequence number.
    Seq(Seq),
    /// The number of a name.
    Enum(u64),
    /// A text.
    Text(&'a str),
}

impl Value<'_> {
    /// Writes it as its kind says; `None` if there is no room.
    pub(crate) fn put(self, out: &mut Out<'_>) -> Option<()> {
        match self {
            Self::Uint(number) | Self::Enum(number) => number.put(out),
            Self::OptUint(number) => number.put(out),
            Self::Int(number) => number.put(out),
            Self::OptInt(number) => number.put(out),
            Self::Seq(seq) => seq.put(out),
            Self::Text(text) => text.put(out),
        }
    }
}

/// As the text twin shows it: nothing as `-`, a text in quotes without control characters, the
/// number of a name with `#` before it.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(number) | Self::OptUint(Some(number)) => write!(f, "{number}"),
            Self::Int(number) | Self::OptInt(Some(number)) => write!(f, "{number}"),
            Self::OptUint(None) | Self::OptInt(None) => f.write_str("-"),
            Self::Seq(seq) => write!(f, "{}", seq.number()),
            Self::Enum(number) => write!(f, "#{number}"),
            Self::Text(text) => crate::text::quote(text, f),
        }
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
}

impl<'a> Source<'a> for Cursor<'a> {
    #[inline]
    fn number(&mut self) -> Result<u64, Fault> {
        Cursor::number(self)
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, Fault> {
        Cursor::text(self)
    }
}

/// The arguments of an event whose writer knew fewer of them: the others are zero or empty.
#[derive(Debug)]
pub(crate) struct Short<'c, 'a> {
    pub(crate) cursor: &'c mut Cursor<'a>,
    pub(crate) left: usize,
}

impl Short<'_, '_> {
    fn is_there(&mut self) -> bool {
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_there
    }
}

impl<'a> Source<'a> for Short<'_, 'a> {
    fn number(&mut self) -> Result<u64, Fault> {
        if self.is_there() {
            self.cursor.number()
        } else {
            Ok(0)
        }
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        if self.is_there() {
            self.cursor.text()
        } else {
            Ok("")
        }
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
