//! How the program ends: its exit codes, and the errors that are no bugs.

use crate::trace::TraceError;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Everything went as asked.
pub(crate) const OK: ExitCode = ExitCode::SUCCESS;

/// Where the codes of the commands stand, and those that all of them share.
pub(crate) const HELP: &str = "\
Exit codes:
  0    everything went as asked
  1    the command itself failed
  2    wrong usage
  more in `ripcord demo --help` (3, 130) and `ripcord trace --help` (4 to 15)";

/// The codes of `ripcord demo`; docs/demo.md has the same table.
pub(crate) const HELP_DEMO: &str = "\
Exit codes:
  0    the run is complete, also if one signal ended it early
  1    the demo itself failed
  2    wrong usage
  3    the gateway's address is taken or not allowed
  130  a second signal cut the run short; a third one ends it without a report
       (128 and its number)";

/// An error that a user can do something about. Anything else is a bug.
#[derive(Debug)]
pub(crate) enum ExpectedError {
    /// The command line is wrong.
    Usage { message: String, help: &'static str },
    /// The gateway cannot listen where it was told to.
    Address {
        address: SocketAddr,
        error: std::io::Error,
    },
    /// The demo could not do its work.
    Demo { what: String, why: String },
    /// A trace, or what is asked of it, is not as it should be.
    Trace(TraceError),
}

impl ExpectedError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Demo { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Address { .. } => 3,
            Self::Trace(error) => error.exit_code(),
        })
    }

    /// The demo failed to do `what`, because of `why`.
    pub(crate) fn demo(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Demo {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for ExpectedError {
    /// One or two lines: what is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { message, help } => write!(f, "{message}\nsee `{help}`"),
            Self::Address { address, error } => write!(
                f,
                "cannot listen on {address}: {error}\n\
                 give another port with `--port`, or leave it out for one that is free"
            ),
            Self::Demo { what, why } => write!(f, "failed to {what}: {why}"),
            Self::Trace(error) => error.fmt(f),
        }
    }
}

impl From<TraceError> for ExpectedError {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

/// A second signal cut the run short.
pub(crate) fn cut_short() -> ExitCode {
    ExitCode::from(130)
}
