//! What can be wrong with a trace or with what is asked of it, each with an exit code of its own.

use super::plain::{Plain, plain};
use ripcord_analysis::read::{OpenError, OpenErrorKind};
use ripcord_trace_format::{MAJOR, RING_MAGIC, ReadError, RingError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The codes as `--help` shows them; docs/trace.md has the same table.
pub(crate) const HELP: &str = "\
Exit codes:
  0    the answer is complete
  1    the command itself failed
  2    wrong usage
  4    a file is missing or cannot be read
  5    a file is empty
  6    a file is not a trace
  7    a trace is of a newer major version
  8    a trace is damaged; the answer is of what is left
  9    a trace ends early; the answer is of what is there
  10   nothing in the trace has this id
  11   several things in the trace have this id; they are listed
  12   the output exists already
  13   the output cannot be written
  14   the program wrote no trace
  15   the program cannot be started
  `trace record` exits as its program does, unless that is 0 and there is no trace";

/// An error of `ripcord trace`.
#[derive(Debug)]
pub(crate) enum TraceError {
    /// The file cannot be opened, or the input fails at this byte.
    Unreadable {
        path: PathBuf,
        at: Option<u64>,
        error: io::Error,
    },
    Empty {
        path: PathBuf,
    },
    NotATrace {
        path: PathBuf,
        begins: Vec<u8>,
    },
    Version {
        path: PathBuf,
        major: u16,
        minor: u16,
    },
    /// No trace can be made of a ring file.
    Ring {
        path: PathBuf,
        error: RingError,
    },
    /// Nothing in the trace is called so.
    NoMatch {
        what: String,
        looked_at: u64,
    },
    /// Nothing was named, and nothing ended late.
    NothingLate,
    /// The trace does not tell how this ended.
    NoPath {
        target: String,
    },
    /// More than one thing in the trace is called so.
    Several {
        what: String,
        lines: Vec<String>,
    },
    /// The output is there, and not ours to replace.
    Exists {
        path: PathBuf,
    },
    /// The output could not be written; what was written of it is removed.
    Write {
        path: Option<PathBuf>,
        error: io::Error,
    },
    /// The program ended well and left no trace.
    NoTrace {
        path: PathBuf,
    },
    Program {
        name: String,
        error: io::Error,
    },
}

impl TraceError {
    /// What the format crate says of a file; `begins` are its first bytes.
    pub(crate) fn read(path: &Path, error: ReadError, begins: &[u8], at: u64) -> Self {
        let path = path.to_owned();
        match error {
            ReadError::Version { major, minor } => Self::Version { path, major, minor },
            ReadError::Io(error) => Self::Unreadable {
                path,
                at: Some(at),
                error,
            },
            // The enum may grow; whatever is new has refused the beginning of the file.
            _ => Self::NotATrace {
                path,
                begins: begins.to_vec(),
            },
        }
    }

    /// What the analysis says of a file; `begins` are its first bytes.
    pub(crate) fn open(path: &Path, error: OpenError, begins: &[u8]) -> Self {
        let path = path.to_owned();
        match error.kind {
            OpenErrorKind::Empty => Self::Empty { path },
            OpenErrorKind::Newer { major, minor } => Self::Version { path, major, minor },
            OpenErrorKind::Io(inner) => Self::Unreadable {
                path,
                at: Some(error.offset),
                error: inner,
            },
            _ => Self::NotATrace {
                path,
                begins: begins.to_vec(),
            },
        }
    }

    /// Why a new file or folder cannot be made.
    pub(crate) fn create(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Write {
                path: Some(path),
                error,
            },
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } => 4,
            Self::Empty { .. } => 5,
            Self::NotATrace { .. } => 6,
            Self::Ring { error, .. } => match error {
                RingError::Read { .. } => 4,
                RingError::Version { .. } => 7,
                _ => 6,
            },
            Self::Version { .. } => 7,
            Self::NoMatch { .. } | Self::NothingLate | Self::NoPath { .. } => 10,
            Self::Several { .. } => 11,
            Self::Exists { .. } => 12,
            Self::Write { .. } => 13,
            Self::NoTrace { .. } => 14,
            Self::Program { .. } => 15,
        }
    }
}

impl fmt::Display for TraceError {
    /// What is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { .. }
            | Self::Empty { .. }
            | Self::NotATrace { .. }
            | Self::Ring { .. }
            | Self::Version { .. } => self.input(f),
            Self::NoMatch { .. }
            | Self::NothingLate
            | Self::NoPath { .. }
            | Self::Several { .. } => self.question(f),
            Self::Exists { .. }
            | Self::Write { .. }
            | Self::NoTrace { .. }
            | Self::Program { .. } => self.output(f),
        }
    }
}

impl TraceError {
    /// The file is not what it should be.
    fn input(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, at, error } => {
                write!(f, "cannot read {}", name(path))?;
                if let Some(at) = at {
                    write!(f, " beyond byte {at}")?;
                }
                write!(f, ": {}", plain(&error.to_string()))
            }
            Self::Empty { path } => write!(
                f,
                "{} is empty: 0 bytes\n\
                 its writer was stopped before it wrote anything, or writes elsewhere",
                name(path)
            ),
            Self::NotATrace { path, begins } => write!(
                f,
                "{} is not a trace: it begins with `{}`, and not with `RIPT`\n{}",
                name(path),
                begins.escape_ascii(),
                guess(begins)
            ),
            Self::Ring { path, error } => {
                write!(f, "cannot recover {}: {error}", name(path))?;
                match std::error::Error::source(error) {
                    Some(why) => write!(f, ": {}", plain(&why.to_string())),
                    None => Ok(()),
                }
            }
            Self::Version { path, major, minor } => write!(
                f,
                "{} is a trace of version {major}.{minor}, and this program reads {MAJOR}.x\n\
                 read it with a newer ripcord",
                name(path)
            ),
            _ => Ok(()),
        }
    }

    /// What is asked for is not in the trace.
    fn question(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch { what, looked_at } => write!(
                f,
                "no context that has ended has the id or a tag `{}`; {looked_at} were made\n\
                 `ripcord trace contexts` lists them",
                plain(what)
            ),
            Self::NothingLate => f.write_str(
                "no context ended while tasks were alive under it\n\
                 name a request with `--request`, or a task with `--task`",
            ),
            Self::NoPath { target } => write!(
                f,
                "the trace does not tell the end of {}\n\
                 `ripcord trace tasks --format json` lists tasks, `ripcord trace contexts` contexts",
                plain(target)
            ),
            Self::Several { what, lines } => {
                write!(
                    f,
                    "`{}` is the tag of {} contexts that have ended",
                    plain(what),
                    lines.len()
                )?;
                for line in lines.iter().take(SEVERAL_MAX) {
                    write!(f, "\n  {line}")?;
                }
                if lines.len() > SEVERAL_MAX {
                    write!(f, "\n  and {} more", lines.len() - SEVERAL_MAX)?;
                }
                f.write_str("\nname one by its number: `--request NUMBER`")
            }
            _ => Ok(()),
        }
    }

    /// What was to be made is not made.
    fn output(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { path } => write!(
                f,
                "{} exists already\n\
                 give another name with `--output`, or remove it first",
                name(path)
            ),
            Self::Write { path, error } => {
                let place = path.as_deref().map_or_else(
                    || "standard output".to_owned(),
                    |path| name(path).to_string(),
                );
                write!(f, "cannot write {place}: {}", plain(&error.to_string()))?;
                f.write_str(match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "\nmake room, or name a place with more of it; what was written is removed"
                    }
                    _ if path.is_some() => "\nwhat was written of it is removed",
                    _ => "",
                })
            }
            Self::NoTrace { path } => write!(
                f,
                "the program ended, and {} is not there\n\
                 is it built with ripcord, with its recorder switched on? see docs/trace.md",
                name(path)
            ),
            Self::Program { name, error } => write!(
                f,
                "cannot start {}: {}\n\
                 write the program and its arguments behind `--`",
                plain(name),
                plain(&error.to_string())
            ),
            _ => Ok(()),
        }
    }
}

/// So many of several are listed.
const SEVERAL_MAX: usize = 20;

/// A path as it can be shown.
pub(crate) fn name(path: &Path) -> Plain<'_> {
    Plain::from(path.to_string_lossy())
}

/// What a file that is no trace may be.
fn guess(begins: &[u8]) -> &'static str {
    match begins {
        [0x1f, 0x8b, ..] => "it is compressed by gzip: unpack it with `gunzip`",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed by zstd: unpack it with `unzstd`",
        ring if ring.starts_with(&RING_MAGIC) => {
            "it is the ring file of a recorder: `ripcord trace recover FILE -o OUT` makes a trace of it"
        }
        [b'r', b'i', b'p', b't', b' ', ..] => "it is the text of a trace, which is for people",
        _ => "is it the file that RIPCORD_TRACE has named?",
    }
}
