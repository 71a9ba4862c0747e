//! Arguments as values: for who knows a type by the schema of a trace, and for the text twin.
//!
//! An event of this version is an [`Event`](crate::Event), with fields of Rust types. One of another version
//! is a list of values, one for each argument, of the kinds that the schema says. The text twin takes
//! both as values, so a line looks the same whichever version the event is of.
//!
//! # From and to events
//! [`AsValue`] is what the fields of events have in common: a type has a value, and a value of the right
//! kind becomes the type. The event table makes both ways of it, so a new event needs nothing here.
//!
//! # What cannot be written
//! Three numbers have no bytes of their own: the largest one where nothing is possible too, the lowest with
//! a sign, and an id that is 2^63 away from the one before. They become nothing or their neighbour, and an
//! encoder has to remember what was written: [`Value::as_read`].
//!
//! # Costs
//! A list of values is allocated: none of this is on the way of a recorder or of an analysis.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::{Arg, ArgKind, Seq};
use crate::coding::{Coding, CtxId, Put, TaskId, is_opposite};
use crate::id_text::IdText;
use std::fmt;

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
    /// A text that mostly is an id.
    Id(IdText<'a>),
}

impl<'a> Value<'a> {
    /// Writes it as its kind says; `None` if there is no room.
    ///
    /// The value says what it is, and the kind how it stands: an id is a number, and written as a
    /// difference.
    pub(crate) fn put(self, kind: ArgKind, to: &mut Put<'_, '_, 'a>) -> Option<()> {
        match (self, kind) {
            (Self::Uint(id), ArgKind::Ctx) => CtxId::put(id, to),
            (Self::Uint(id), ArgKind::Task) => TaskId::put(id, to),
            (Self::OptUint(id), ArgKind::OptCtx) => CtxId::put(id, to),
            (Self::OptUint(id), ArgKind::OptTask) => TaskId::put(id, to),
            (Self::Text(name), ArgKind::Name) => to.name(name),
            (Self::Id(text), _) => to.id_text(text),
            (Self::Uint(number) | Self::Enum(number), _) => number.put(&mut to.out),
            (Self::OptUint(number), _) => number.put(&mut to.out),
            (Self::Int(number), _) => number.put(&mut to.out),
            (Self::OptInt(number), _) => number.put(&mut to.out),
            (Self::Seq(seq), _) => seq.put(&mut to.out),
            (Self::Text(text), _) => text.put(&mut to.out),
        }
    }
}

impl Value<'_> {
    /// What a reader finds where this was written, beside the same bases: those of contexts and of tasks.
    pub(crate) fn as_read(self, kind: ArgKind, (ctx, task): (u64, u64)) -> Self {
        match (self, kind) {
            (Self::OptUint(Some(u64::MAX)), ArgKind::OptUint) => Self::OptUint(None),
            (Self::OptUint(Some(id)), ArgKind::OptCtx) if is_opposite(id, ctx) => {
                Self::OptUint(None)
            }
            (Self::OptUint(Some(id)), ArgKind::OptTask) if is_opposite(id, task) => {
                Self::OptUint(None)
            }
            (Self::OptInt(Some(i64::MIN)), _) => Self::OptInt(Some(i64::MIN.wrapping_add(1))),
            _ => self,
        }
    }
}

/// A type that is an argument, and the [`Value`] that it is where nobody knows the type.
pub(crate) trait AsValue<'a>: Sized {
    /// The value.
    fn value(self) -> Value<'a>;
    /// The type of a value; `None` for a value of another kind.
    fn of(value: Value<'a>) -> Option<Self>;
}

/// One line for each type.
macro_rules! as_value {
    ($( $Type:ty: $Variant:ident, )+) => {$(
        impl<'a> AsValue<'a> for $Type {
            fn value(self) -> Value<'a> {
                Value::$Variant(self)
            }

            fn of(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::$Variant(value) => Some(value),
                    _ => None,
                }
            }
        }
    )+};
}

as_value! {
    u64: Uint,
    Option<u64>: OptUint,
    i64: Int,
    Option<i64>: OptInt,
    Seq: Seq,
    &'a str: Text,
    IdText<'a>: Id,
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
            Self::Id(text) => crate::text::quote(text, f),
        }
    }
}
