//! The one door to standard output and standard error.
//!
//! Results go to standard output, progress and errors to standard error. A reader that closes
//! standard output early (`ripcord demo | head`) ends nothing and is no error.

use crate::exit::ExpectedError;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

#[derive(Debug)]
pub(crate) struct Printer {
    /// Whether a progress line stands on the terminal and has to be wiped first.
    has_line: Mutex<bool>,
    is_updating: bool,
    is_styled: bool,
}

impl Printer {
    pub(crate) fn new() -> Self {
        let is_styled = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            has_line: Mutex::new(false),
            is_updating: io::stderr().is_terminal(),
            is_styled,
        }
    }

    /// Whether progress is one line that is rewritten, as opposed to a line each time.
    pub(crate) fn is_updating(&self) -> bool {
        self.is_updating
    }

    /// Whether a result may be written with bold headings.
    pub(crate) fn is_styled(&self) -> bool {
        self.is_styled
    }

    /// Writes a result.
    pub(crate) fn result(&self, text: impl fmt::Display) {
        self.wipe();
        let mut out = io::stdout().lock();
        // Nobody reads any more: what was asked for is done all the same.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Standard output for a result that is too long to be held; a reader that is gone is told as
    /// [`io::ErrorKind::BrokenPipe`], so that nobody goes on for nothing.
    pub(crate) fn stream(&self) -> io::StdoutLock<'static> {
        self.wipe();
        io::stdout().lock()
    }

    /// Says how far the work is; the next call may take its place.
    pub(crate) fn progress(&self, text: impl fmt::Display) {
        let mut err = io::stderr().lock();
        if self.is_updating {
            let _ = write!(err, "{WIPE}{text}").and_then(|()| err.flush());
            self.set_line(true);
        } else {
            let _ = writeln!(err, "{text}");
        }
    }

    /// Says something that stays.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        self.wipe();
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    pub(crate) fn error(&self, error: &ExpectedError) {
        self.note(format_args!("error: {error}"));
    }

    fn wipe(&self) {
        if self.set_line(false) {
            let mut err = io::stderr().lock();
            let _ = write!(err, "{WIPE}").and_then(|()| err.flush());
        }
    }

    fn set_line(&self, has_line: bool) -> bool {
        let mut line = self
            .has_line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::replace(&mut line, has_line)
    }
}

/// To the start of the line, and empty it.
const WIPE: &str = "\r\x1b[2K";
