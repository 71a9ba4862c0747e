//! Why an entry cannot be added to baggage.

use std::error::Error;
use std::fmt;

/// Why an entry cannot be added to a [`Baggage`](super::Baggage).
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::{Baggage, BaggageError};
///
/// let error = Baggage::default().with("user id", "7").unwrap_err();
/// assert_eq!(error, BaggageError::Key { offset: 4, found: Some(' ') });
/// assert_eq!(
///     error.to_string(),
///     "add the baggage entry: ' ' at offset 4 of its key is not a token character (RFC 7230 §3.2.6)"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BaggageError {
    /// The key is no token.
    Key {
        /// Byte of the key.
        offset: usize,
        /// What stands there; nothing if the key is empty.
        found: Option<char>,
    },
    /// The key of a property is no token.
    PropertyKey {
        /// Which of the properties, from 0.
        property: usize,
        /// Byte of its key.
        offset: usize,
        /// What stands there; nothing if the key is empty.
        found: Option<char>,
    },
    /// There would be more entries than allowed.
    TooManyMembers {
        /// Entries with the new one.
        members: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The header text would be longer than allowed.
    TooLong {
        /// Bytes with the new entry.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl fmt::Display for BaggageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("add the baggage entry: ")?;
        let token = "is not a token character (RFC 7230 §3.2.6)";
        match *self {
            Self::Key {
                offset,
                found: Some(found),
            } => write!(f, "{found:?} at offset {offset} of its key {token}"),
            Self::Key { .. } => f.write_str("its key is empty"),
            Self::PropertyKey {
                property,
                offset,
                found: Some(found),
            } => write!(
                f,
                "{found:?} at offset {offset} of the key of property {property} {token}"
            ),
            Self::PropertyKey { property, .. } => {
                write!(f, "the key of property {property} is empty")
            }
            Self::TooManyMembers { members, limit } => {
                write!(f, "there would be {members} entries, the limit is {limit}")
            }
            Self::TooLong { bytes, limit } => {
                write!(
                    f,
                    "the header would have {bytes} bytes, the limit is {limit}"
                )
            }
        }
    }
}

impl Error for BaggageError {}
