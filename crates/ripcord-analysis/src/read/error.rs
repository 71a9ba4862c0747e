//! Why a trace cannot be opened, or read on: what, where, and what was good before it.

use ripcord_trace_format::ReadError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why there is no answer from a trace at all. Damage is not among it: see [`Health`](super::Health).
///
/// # Examples
/// ```
/// use ripcord_analysis::read::{OpenErrorKind, Trace};
/// use std::io::Cursor;
///
/// let error = Trace::new(Cursor::new(b"")).unwrap_err();
/// assert!(matches!(error.kind, OpenErrorKind::Empty));
/// let error = Trace::new(Cursor::new(b"%PDF-1.7")).unwrap_err();
/// assert!(matches!(error.kind, OpenErrorKind::NotATrace));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenError {
    /// What happened.
    pub kind: OpenErrorKind,
    /// How many bytes were read before it.
    pub offset: u64,
    /// Good blocks that were found before it.
    pub blocks: u64,
}

/// What happened, of an [`OpenError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The file has no byte.
    Empty,
    /// It does not begin as a trace does.
    NotATrace,
    /// Its major version is newer than what this version reads.
    Newer {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// The file cannot be opened or read.
    Io(io::Error),
}

impl OpenError {
    pub(crate) fn new(error: ReadError, offset: u64, blocks: u64) -> Self {
        let kind = match error {
            ReadError::NotATrace => OpenErrorKind::NotATrace,
            ReadError::Version { major, minor } => OpenErrorKind::Newer { major, minor },
            ReadError::Io(error) => OpenErrorKind::Io(error),
            _ => OpenErrorKind::Io(io::Error::other(error)),
        };
        Self {
            kind,
            offset,
            blocks,
        }
    }

    pub(crate) fn io(error: io::Error, offset: u64, blocks: u64) -> Self {
        Self::new(ReadError::Io(error), offset, blocks)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OpenErrorKind::Empty => {
                f.write_str("read a trace: it is empty; did the program end before it wrote one?")
            }
            OpenErrorKind::NotATrace => f.write_str(
                "read a trace: it does not begin with `RIPT`; is it a trace, and not compressed as a whole?",
            ),
            OpenErrorKind::Newer { major, minor } => write!(
                f,
                "read a trace: version {major}.{minor}, of at most {}.x; read it with a newer ripcord",
                ripcord_trace_format::MAJOR
            ),
            OpenErrorKind::Io(_) => write!(
                f,
                "read a trace: the input failed at byte {}, after {} good blocks",
                self.offset, self.blocks
            ),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            OpenErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
