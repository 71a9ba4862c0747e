//! The trace in a ring file: the memory of a recorder whose process was killed, or is still alive.
//!
//! Which of the two is told by the lock that a recorder holds on its file for as long as it lives.

use super::error::TraceError;
use super::health::{Health, State, Unusable};
use super::input::beginning;
use super::output::Failed;
use super::plain::plain;
use crate::exit::ExpectedError;
use ripcord_trace_format::{RING_MAGIC, Recovered, RingError, RingFile, RingState};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

/// Who has left a ring file, and what it had no room for.
#[derive(Serialize, Debug)]
pub(super) struct Ring {
    /// `killed`: its process ended without closing it; `closed`; `alive`: this is a snapshot; `unknown`.
    state: &'static str,
    process: u64,
    program: String,
    /// Tasks and jobs that lived, and contexts.
    tasks: u64,
    contexts: u64,
    /// What the file had no room for.
    lost_blocks: u64,
    lost_live: u64,
    lost_entries: u64,
    lost_threads: u64,
    /// Blocks that were used again while they were read.
    changed_blocks: u64,
}

/// A ring file that is open.
pub(super) struct Open {
    file: RingFile<File>,
    len: u64,
    is_locked: Option<bool>,
}

/// Opens a file if it is a ring file.
///
/// # Errors
/// It cannot be read, is of a newer version, or its header is damaged.
pub(super) fn open(path: &Path) -> Result<Option<Open>, ExpectedError> {
    let unreadable = |error| TraceError::Unreadable {
        path: path.to_owned(),
        at: None,
        error,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let begins = beginning(&mut file).map_err(unreadable)?;
    if !begins.starts_with(&RING_MAGIC) {
        return Ok(None);
    }
    // It is held for an instant: a recorder that begins meanwhile takes the file for one in use.
    let is_locked = match file.try_lock_shared() {
        Ok(()) => {
            // What is closed is unlocked, whatever this says.
            let _ = file.unlock();
            Some(false)
        }
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    };
    let len = file.metadata().map_err(unreadable)?.len();
    let file = RingFile::open(file).map_err(|error| TraceError::Ring {
        path: path.to_owned(),
        error,
    })?;
    Ok(Some(Open {
        file,
        len,
        is_locked,
    }))
}

impl Open {
    /// Writes the trace; how whole it is, who has left it, its blocks and events.
    ///
    /// # Errors
    /// The file cannot be read, or the trace cannot be written.
    pub(super) fn recover(
        mut self,
        path: &Path,
        out: &mut impl Write,
    ) -> Result<(Health, Ring, u64, u64), Failed> {
        let found = self.file.recover(out).map_err(|error| match error {
            RingError::Write(error) => Failed::Write(error),
            error => Failed::Other(
                TraceError::Ring {
                    path: path.to_owned(),
                    error,
                }
                .into(),
            ),
        })?;
        let health = health(&found, self.len);
        let (blocks, events) = (found.blocks, found.events);
        let header = self.file.header();
        let ring = Ring {
            state: match (self.file.state(), self.is_locked) {
                (RingState::Closed, _) => "closed",
                (_, Some(true)) => "alive",
                (_, Some(false)) => "killed",
                (_, None) => "unknown",
            },
            process: header.process,
            program: header.program.clone(),
            tasks: found.tasks,
            contexts: found.contexts,
            lost_blocks: found.lost_blocks,
            lost_live: found.lost_live,
            lost_entries: found.lost_entries,
            lost_threads: found.lost_threads,
            changed_blocks: found.changed_blocks,
        };
        Ok((health, ring, blocks, events))
    }
}

/// How whole the file is: bytes that are missing, and what is no event.
fn health(found: &Recovered, len: u64) -> Health {
    let mut health = Health::new(false);
    health.bytes = len;
    health.lost_events = found.lost_events;
    "whole".clone_into(&mut health.end);
    health.state = State::Complete;
    if found.missing_bytes > 0 {
        health.end = format!("cut off at byte {len}");
        health.state = State::Truncated;
    }
    if let Some((offset, why)) = &found.cut_at {
        health.skipped.count = found.cut;
        health.skipped.first.push(Unusable {
            offset: *offset,
            kind: "ring".to_owned(),
            why: why.clone(),
        });
        health.state = State::Damaged;
    }
    health
}

impl Ring {
    /// What stands below the first line of the answer.
    pub(super) fn text(&self) -> String {
        let Self {
            process,
            tasks,
            contexts,
            ..
        } = self;
        let program = match &*self.program {
            "" => "a program without a name".to_owned(),
            name => plain(name).to_string(),
        };
        let how = match self.state {
            "closed" => "had closed it",
            "alive" => "is alive: this is a snapshot",
            "killed" => "was killed, or ended in another way without closing it",
            _ => "has not closed it; whether it is alive cannot be told here",
        };
        let mut text = format!(
            "\n{program}, process {process}, {how}; {tasks} tasks and {contexts} contexts lived"
        );
        for (count, what) in [
            (self.lost_blocks, "blocks"),
            (self.lost_live, "of what lived"),
            (self.lost_entries, "places and labels"),
            (self.lost_threads, "threads"),
        ] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(text, "\nthe file had no room for {count} {what}");
            }
        }
        if self.changed_blocks > 0 {
            let count = self.changed_blocks;
            let _ = write!(
                text,
                "\n{count} blocks were used again while they were read"
            );
        }
        text
    }
}
