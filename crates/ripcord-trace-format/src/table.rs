//! The machine behind the event table: one `events!` makes the enum, both codecs and the rows.
//!
//! # What an event gets
//! | Part | For |
//! |---|---|
//! | a variant with documented fields | who records, and who reads |
//! | a row with its arguments and their kinds | the schema, the specification |
//! | `put` and `take` | the plain form; packed ones are in `packed/` |
//! | `values` and `of` | the text twin, and what a reader finds where numbers cannot be written |
//!
//!
//! The table itself is `event.rs`.

use crate::arg::ArgKind;

/// One type of event, as data: what the schema, the specification and the text twin are made of.
///
/// # Examples
/// ```
/// use ripcord_trace_format::EVENTS;
///
/// let wake = EVENTS.iter().find(|row| row.name == "wake").unwrap();
/// assert_eq!(wake.number, 0x0a);
/// assert_eq!(wake.args.first().map(|arg| arg.name), Some("slot"));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EventRow {
    /// The byte that an event of this type begins with.
    pub number: u8,
    /// The name in the schema and in text.
    pub name: &'static str,
    /// What it means, in one line.
    pub about: &'static str,
    /// Its arguments in order.
    pub args: &'static [ArgRow],
}

/// One argument of a type of event.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ArgKind, EVENTS};
///
/// let end = EVENTS.iter().find(|row| row.name == "job_end").unwrap();
/// let outcome = end.args.get(1).unwrap();
/// assert_eq!(outcome.kind, ArgKind::Enum);
/// assert_eq!(outcome.names.first(), Some(&"ready"));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ArgRow {
    /// The name in the schema and in text.
    pub name: &'static str,
    /// How it is stored.
    pub kind: ArgKind,
    /// The names of an enum, by number; empty for the other kinds.
    pub names: &'static [&'static str],
    /// What it means, in one line.
    pub about: &'static str,
}

/// Bytes that the largest event of a table takes at most: type, ticks and arguments.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
pub(crate) const fn bytes_max(rows: &[EventRow]) -> usize {
    let mut max = 0;
    let mut row = 0;
    while row < rows.len() {
        let mut bytes = 1 + 10;
        let mut arg = 0;
        while arg < rows[row].args.len() {
            bytes += rows[row].args[arg].kind.bytes_max();
            arg += 1;
        }
        if bytes > max {
            max = bytes;
        }
        row += 1;
    }
    max
}

/// How an argument stands in an event: by the word behind `as` in the table, or plainly without one.
///
/// The word is the name of a type in `coding.rs`. So the table says for each argument what it means, what
/// type it has, and how it stands, and nothing else has to be written for a new one.
macro_rules! coding {
    () => {
        $crate::coding::Plain
    };
    ($Coding:ident) => {
        $crate::coding::$Coding
    };
}

/// Makes `Event`, its codecs and `EVENTS` of a table. Each event and each argument has exactly one
/// first line of documentation, which is its text in the specification as well; an event may
/// have more lines, which are for rustdoc alone.
macro_rules! events {
    (<$life:lifetime> $(
        #[doc = $about:literal]
        $( #[doc = $more:literal] )*
        $number:literal $Name:ident $text:literal {
            $( #[doc = $what:literal] $arg:ident: $Type:ty $( as $Coding:ident )?, )*
        }
    )+) => {
        /// Something that happened, as it stands in a trace.
        ///
        /// Slots are small numbers of live tasks, and are used again; a task's id is not. Contexts
        /// have their ids alone. Locations and labels are numbers of the tables in the trace.
        /// Instants are ticks of the block; what is called *ticks* here is a duration in them.
        ///
        /// # Examples
        /// ```
        /// use ripcord_trace_format::{Event, Seq};
        ///
        /// let event = Event::PollStart { slot: 7, seq: Seq::new(3) };
        /// assert_eq!(event.name(), "poll_start");
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Event<$life> {
            $(
                #[doc = $about]
                $( #[doc = $more] )*
                $Name { $( #[doc = $what] $arg: $Type, )* },
            )+
            /// An event of a type that this version does not know, as the schema of its trace
            /// delimits it. [`Schema::describe`](crate::Schema::describe) shows it.
            Unknown(RawEvent<$life>),
        }

        /// Every type of event that this version knows, by number.
        ///
        /// It is what the schema of a trace, the specification and the text twin are made of, so
        /// a tool that lists events or arguments should take them from here.
        ///
        /// # Examples
        /// ```
        /// use ripcord_trace_format::{EVENTS, Schema};
        ///
        /// assert_eq!(EVENTS.len(), Schema::current().rows().len());
        /// ```
        pub const EVENTS: &[EventRow] = Event::<'static>::ROWS;

        impl<$life> Event<$life> {
            const ROWS: &'static [EventRow] = &[$(
                EventRow {
                    number: $number,
                    name: $text,
                    about: $about,
                    args: &[$( ArgRow {
                        name: stringify!($arg),
                        kind: <coding!($( $Coding )?) as Coding<$life, $Type>>::KIND,
                        names: <coding!($( $Coding )?) as Coding<$life, $Type>>::NAMES,
                        about: $what,
                    }, )*],
                },
            )+];

            /// The type's name in the schema, or `unknown`.
            ///
            /// The schema of a trace may have a name for an unknown one:
            /// [`Schema::row`](crate::Schema::row).
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$Name { .. } => $text, )+
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The byte that stands for the type.
            ///
            /// # Examples
            /// ```
            /// use ripcord_trace_format::Event;
            ///
            /// assert_eq!(Event::PollReady {}.number(), 0x07);
            /// ```
            #[must_use]
            pub const fn number(&self) -> u8 {
                match self {
                    $( Self::$Name { .. } => $number, )+
                    Self::Unknown(raw) => raw.number,
                }
            }

            /// Type, ticks and arguments; `None` if they do not fit.
            #[inline]
            pub(crate) fn put(&self, delta: u64, to: &mut Put<'_, '_, $life>) -> Option<()> {
                match *self {
                    $( Self::$Name { $( $arg, )* } => {
                        to.head($number, delta)?;
                        $( <coding!($( $Coding )?) as Coding<$life, $Type>>::put($arg, to)?; )*
                        Some(())
                    } )+
                    Self::Unknown(raw) => raw.put(delta, &mut to.out),
                }
            }

            /// The arguments of a type that stands in the table.
            #[inline]
            pub(crate) fn take(number: u8, from: &mut impl Source<$life>) -> Result<Self, Fault> {
                Ok(match number {
                    $( $number => Self::$Name { $(
                        $arg: <coding!($( $Coding )?) as Coding<$life, $Type>>::take(from)?,
                    )* }, )+
                    _ => return Err(Fault::UnknownType(number)),
                })
            }

            /// The arguments in order, for who shows them; none of an unknown type.
            ///
            /// The list is as long as the type's row in [`EVENTS`].
            pub(crate) fn values(&self) -> Vec<Value<$life>> {
                match *self {
                    $( Self::$Name { $( $arg, )* } => vec![$( $arg.value(), )*], )+
                    Self::Unknown(_) => Vec::new(),
                }
            }

            /// The event with these arguments, the other way round; `None` if they are too many, too
            /// few, or of other kinds.
            pub(crate) fn of(number: u8, values: &[Value<$life>]) -> Option<Self> {
                let mut values = values.iter().copied();
                let event = match number {
                    $( $number => Self::$Name { $( $arg: AsValue::of(values.next()?)?, )* }, )+
                    _ => return None,
                };
                values.next().is_none().then_some(event)
            }
        }
    };
}

pub(crate) use {coding, events};
