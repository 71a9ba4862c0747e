//! Why no trace can be made of a ring file.

use std::error::Error;
use std::fmt;
use std::io;

/// Why no trace can be made of a ring file.
///
/// What is damaged behind a good header is no error: the trace is of what is left, and
/// [`Recovered`](crate::Recovered) counts the rest.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{RingError, RingFile};
/// use std::io::Cursor;
///
/// let error = RingFile::open(Cursor::new(b"RIPT")).unwrap_err();
/// assert!(matches!(error, RingError::NotARing));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RingError {
    /// It begins with something else.
    NotARing,
    /// It is of a major version that this program does not know.
    Version {
        /// The major version of the file.
        major: u16,
        /// The minor version of the file.
        minor: u16,
    },
    /// It ends within its header, after so many bytes.
    Short(u64),
    /// Its header is damaged.
    Header {
        /// Where, in bytes from the beginning of the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// It cannot be read.
    Read {
        /// From this byte on.
        offset: u64,
        /// What the input said.
        error: io::Error,
    },
    /// The trace cannot be written.
    Write(io::Error),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARing => {
                f.write_str("open a ring file: it begins with something else than `RIPR`")
            }
            Self::Version { major, minor } => write!(
                f,
                "open a ring file: it is of version {major}.{minor}, and this program reads \
                 {RING_MAJOR}.x; use a newer one"
            ),
            Self::Short(len) => write!(
                f,
                "open a ring file: it ends at byte {len}, within its header of {} bytes",
                super::RING_HEADER_BYTES
            ),
            Self::Header { offset, what } => {
                write!(f, "open a ring file: {what} at byte {offset}")
            }
            Self::Read { offset, .. } => write!(f, "read a ring file at byte {offset}"),
            Self::Write(_) => f.write_str("write the trace of a ring file"),
        }
    }
}

impl Error for RingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { error, .. } | Self::Write(error) => Some(error),
            _ => None,
        }
    }
}

/// The version of the layout that is written and read here.
pub(crate) const RING_MAJOR: u16 = 1;
