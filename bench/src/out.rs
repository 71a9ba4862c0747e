//! The only door to stdout and stderr: results to the one, progress and problems to the other.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Writes a result to stdout. A closed pipe is no problem; its reader has what it wanted.
pub(crate) fn result(text: &str) -> Result<(), String> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("failed to write to stdout: {error}"))
        }
        _ => Ok(()),
    }
}

/// Writes a message to stderr.
pub(crate) fn problem(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "ripcord-bench: {text}");
}

/// Says on stderr how far the run is: in one line that changes on a terminal, otherwise in a new
/// line for each case and, within a case, every few seconds.
#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    done: usize,
    started: Instant,
    on_terminal: bool,
    last_line: Option<(String, Instant)>,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Progress {
        let on_terminal = std::io::stderr().is_terminal();
        Progress {
            total,
            done: 0,
            started: Instant::now(),
            on_terminal,
            last_line: None,
        }
    }

    /// Another sample begins: one of `case`, which `detail` describes.
    pub(crate) fn step(&mut self, case: &str, detail: &str) {
        let line = format!("[{:>4}/{}] {case}: {detail}", self.done, self.total);
        self.done += 1;
        let mut stderr = std::io::stderr().lock();
        if self.on_terminal {
            let _ = write!(stderr, "\r\x1b[K{line}");
            let _ = stderr.flush();
            return;
        }
        let quiet = self
            .last_line
            .as_ref()
            .is_some_and(|(last, at)| last == case && at.elapsed() < PAUSE);
        if !quiet {
            let _ = writeln!(stderr, "{line}");
            self.last_line = Some((case.to_owned(), Instant::now()));
        }
    }

    pub(crate) fn finish(self) {
        let clear = if self.on_terminal { "\r\x1b[K" } else { "" };
        let seconds = self.started.elapsed().as_secs();
        let _ = writeln!(
            std::io::stderr().lock(),
            "{clear}{} samples in {seconds} s",
            self.done
        );
    }
}

const PAUSE: Duration = Duration::from_secs(5);
