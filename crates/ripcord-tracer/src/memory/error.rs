//! Why a recorder has no file for its memory.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the memory of a recorder cannot be in a file.
///
/// It is told before the first event: once there is a file, nothing that happens to it is an error.
///
/// # Examples
/// ```
/// use ripcord_tracer::{Recorder, RingFileError};
///
/// let error = Recorder::builder().build_in("/nowhere/shop.ring").unwrap_err();
/// assert!(matches!(error, RingFileError::Io { .. }));
/// assert!(error.to_string().contains("`/nowhere/shop.ring`"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RingFileError {
    /// A recorder that is alive has the file.
    ///
    /// Two processes of one program are started with the same name: `%p` in it tells them apart.
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that the file names.
        process: Option<u64>,
    },
    /// There is something else, which is left alone.
    ///
    /// Also a link, whatever it leads to, and an empty file; and the same of the name with `.1`, to which
    /// the file of a process that was killed would have gone.
    NotARing {
        /// The file.
        path: PathBuf,
    },
    /// More memory than a ring file can have: the limit that is exceeded.
    ///
    /// With blocks of 16 KiB that is some 12 GiB of memory for events.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
    },
    /// The operating system says no.
    ///
    /// No such folder, no right to it, a file system that knows no locks or no links, or no room: all that
    /// the file will ever need is taken when it is made.
    Io {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl RingFileError {
    /// For `map_err`: what was to be done with which file.
    pub(super) fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, what, error }
    }
}

impl fmt::Display for RingFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Path| path.to_string_lossy().escape_debug().to_string();
        match self {
            Self::InUse { path, process } => {
                write!(f, "make the ring file `{}`: ", shown(path))?;
                match process {
                    Some(process) => write!(f, "process {process} records into it")?,
                    None => f.write_str("a process has it locked")?,
                }
                f.write_str("; choose another name, with %p for the id of the process")
            }
            Self::NotARing { path } => write!(
                f,
                "make the ring file `{}`: something else is there, which is left alone; choose \
                 another name or remove it",
                shown(path)
            ),
            Self::TooLarge { path, what } => {
                write!(
                    f,
                    "make the ring file `{}`: {what}; ask for less memory",
                    shown(path)
                )
            }
            Self::Io { path, what, error } => {
                write!(f, "make the ring file `{}`: {what}", shown(path))?;
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) {
                    f.write_str("; all of its room is taken at once: ask for less memory")?;
                }
                Ok(())
            }
        }
    }
}

impl Error for RingFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
