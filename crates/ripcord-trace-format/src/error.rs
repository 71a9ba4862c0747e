//! What can be wrong with bytes, and where.

use std::error::Error;
use std::fmt;

/// What is wrong at one place of a payload.
///
/// # Examples
/// ```
/// use ripcord_trace_format::Fault;
///
/// assert_eq!(Fault::TextTooLong(5_000).to_string(), "text of 5000 bytes, of at most 1024");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The payload ends within an event.
    Cut,
    /// A number has more than 64 bits.
    NumberTooLarge,
    /// A number is written with more bytes than it needs.
    NumberTooLong,
    /// A text claims so many bytes, of at most [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX).
    TextTooLong(u64),
    /// A text is not UTF-8.
    TextNotUtf8,
    /// A sequence number has more than seven bits.
    SeqTooLarge(u64),
    /// The ticks of the block go beyond 64 bits.
    TickTooLarge,
    /// An event type that neither this version nor the schema of the file knows.
    UnknownType(u8),
    /// A reference to something that does not stand before it in the block.
    NothingBefore,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the payload ends within an event"),
            Self::NumberTooLarge => f.write_str("a number of more than 64 bits"),
            Self::NumberTooLong => f.write_str("a number with more bytes than it needs"),
            Self::TextTooLong(len) => {
                write!(
                    f,
                    "text of {len} bytes, of at most {}",
                    crate::TEXT_BYTES_MAX
                )
            }
            Self::TextNotUtf8 => f.write_str("text that is not UTF-8"),
            Self::SeqTooLarge(seq) => write!(f, "sequence number {seq}, of at most 127"),
            Self::TickTooLarge => f.write_str("ticks of more than 64 bits"),
            Self::NothingBefore => {
                f.write_str("a reference to nothing that stands before in the block")
            }
            Self::UnknownType(number) => write!(
                f,
                "event type {number:#04x} is not in the schema of the trace; read it with a newer version"
            ),
        }
    }
}

impl Error for Fault {}

/// An event that cannot be decoded. The rest of its block is lost, and nothing else.
///
/// In a block with a good checksum it means that the writer was wrong or is newer, not that the
/// file was damaged.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Decoder, Fault, Schema};
///
/// let schema = Schema::current();
/// // A poll (type 3) that begins 5 ticks after the block does, and whose arguments are missing.
/// let error = Decoder::new(&[0x03, 5], 100, &schema).next().unwrap().unwrap_err();
/// assert_eq!((error.offset, error.fault), (0, Fault::Cut));
/// assert_eq!(
///     error.to_string(),
///     "decode the event at byte 0 of the block: the payload ends within an event",
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EventError {
    /// Where the event begins, in bytes from the beginning of the payload.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, fault } = self;
        write!(f, "decode the event at byte {offset} of the block: {fault}")
    }
}

impl Error for EventError {}
