//! What is missing from a trace, gathered while it is read.
//!
//! *Costs*: lists are cut at [`LISTED_MAX`] entries and go on as counts, so that a file of nothing
//! but damage takes no memory.

use super::plain::plain;
use ripcord_analysis::read;
use ripcord_trace_format::{BlockInfo, End, EventError, SkipReason};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// How whole a trace is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Every byte is a good block, and the last one is the end.
    Complete,
    /// It ends after a complete block, without its end.
    NotClosed,
    /// It ends within a block.
    Truncated,
    /// Bytes, blocks or events in it cannot be used.
    Damaged,
}

/// Bytes that are no block.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Hole {
    /// Where they begin, from the beginning of the file.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// A block, or the rest of one, that cannot be used.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Unusable {
    /// Where the block begins, from the beginning of the file.
    pub(crate) offset: u64,
    /// What the block says it is.
    pub(crate) kind: String,
    pub(crate) why: String,
}

/// A list that is cut, with the number of all.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Listed<T> {
    pub(crate) count: u64,
    pub(crate) first: Vec<T>,
}

impl<T> Listed<T> {
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            first: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(item);
        }
    }

    /// How many are not in the list.
    pub(crate) fn unlisted(&self) -> u64 {
        self.count.saturating_sub(self.first.len() as u64)
    }
}

/// What a reader has met. The same object stands in every JSON answer.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Health {
    pub(crate) state: State,
    /// How it ends, in words.
    pub(crate) end: String,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// Bytes that are no block, before the end.
    pub(crate) damaged_bytes: u64,
    pub(crate) damage: Listed<Hole>,
    /// Blocks with a good checksum that cannot be used.
    pub(crate) skipped: Listed<Unusable>,
    /// Blocks that cannot be decoded to their end.
    pub(crate) wrong: Listed<Unusable>,
    /// The header of the file is damaged.
    pub(crate) is_headless: bool,
    /// Events that the recorder says it has lost.
    pub(crate) lost_events: u64,
}

impl Health {
    pub(crate) const fn new(is_headless: bool) -> Self {
        Self {
            state: State::NotClosed,
            end: String::new(),
            bytes: 0,
            damaged_bytes: 0,
            damage: Listed::new(),
            skipped: Listed::new(),
            wrong: Listed::new(),
            is_headless,
            lost_events: 0,
        }
    }

    pub(crate) fn hole(&mut self, offset: u64, bytes: u64) {
        self.damaged_bytes = self.damaged_bytes.saturating_add(bytes);
        self.damage.push(Hole { offset, bytes });
    }

    pub(crate) fn skip(&mut self, offset: u64, info: &BlockInfo, why: &SkipReason) {
        self.skipped.push(Unusable {
            offset,
            kind: info.kind.to_string(),
            why: why.to_string(),
        });
    }

    pub(crate) fn wrong_event(&mut self, offset: u64, info: &BlockInfo, error: &EventError) {
        self.wrong.push(Unusable {
            offset,
            kind: info.kind.to_string(),
            why: error.to_string(),
        });
    }

    /// Settles the state, once everything was read.
    pub(crate) fn end(&mut self, end: End, bytes: u64) {
        self.bytes = bytes;
        self.end = end.to_string();
        self.state = match end {
            _ if self.has_damage() => State::Damaged,
            End::Closed { trailing: 0 } if !self.is_headless => State::Complete,
            End::Truncated { .. } => State::Truncated,
            End::NotClosed => State::NotClosed,
            _ => State::Damaged,
        };
    }

    /// Whether anything but its end is missing.
    fn has_damage(&self) -> bool {
        self.damage.count > 0 || self.skipped.count > 0 || self.wrong.count > 0
    }

    /// The exit code that says as much as an exit code can.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.state {
            State::Complete => 0,
            State::Damaged => 8,
            State::NotClosed | State::Truncated => 9,
        })
    }

    /// The one of two that more is missing from.
    pub(crate) fn worse<'h>(a: &'h Self, b: &'h Self) -> &'h Self {
        if b.state > a.state { b } else { a }
    }

    /// What stands below an answer for people; `None` for a complete trace.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.state == State::Complete {
            return None;
        }
        let mut parts = Vec::new();
        if self.is_headless {
            parts.push("its header cannot be read".to_owned());
        }
        if self.damage.count > 0 {
            parts.push(format!(
                "{} bytes in {} places are no blocks, the first at byte {}",
                self.damaged_bytes,
                self.damage.count,
                self.damage.first.first().map_or(0, |hole| hole.offset)
            ));
        }
        for (list, what) in [
            (&self.skipped, "blocks cannot be used"),
            (&self.wrong, "blocks cannot be decoded to their end"),
        ] {
            if list.count == 0 {
                continue;
            }
            let mut part = format!("{} {what}", list.count);
            if let Some(first) = list.first.first() {
                let (kind, why) = (plain(&first.kind), plain(&first.why));
                // Writing to a string cannot fail.
                let _ = write!(part, ", the first at byte {} ({kind}: {why})", first.offset);
            }
            parts.push(part);
        }
        parts.push(format!("it is {}", self.end));
        Some(format!(
            "this is an answer from what is left of the trace: {}",
            parts.join("; ")
        ))
    }
}

/// What the analysis has met. It does not list the blocks that cannot be decoded to their end.
impl From<&read::Health> for Health {
    fn from(met: &read::Health) -> Self {
        let mut health = Self::new(!met.has_header);
        health.lost_events = met.lost_by_recorder;
        health.damaged_bytes = met.damaged_bytes;
        health.damage = Listed {
            count: met.damaged_count,
            first: met
                .damaged
                .iter()
                .take(LISTED_MAX)
                .map(Hole::from)
                .collect(),
        };
        health.skipped = Listed {
            count: met.skipped_count,
            first: met
                .skipped
                .iter()
                .take(LISTED_MAX)
                .map(Unusable::from)
                .collect(),
        };
        health.wrong.count = met.wrong_blocks;
        health.end(met.end, met.bytes);
        health
    }
}

impl From<&read::Gap> for Hole {
    fn from(gap: &read::Gap) -> Self {
        Self {
            offset: gap.offset,
            bytes: gap.bytes,
        }
    }
}

impl From<&read::Skip> for Unusable {
    fn from(skip: &read::Skip) -> Self {
        Self {
            offset: skip.offset,
            kind: skip.kind.clone(),
            why: skip.why.clone(),
        }
    }
}

/// Entries of a list that are kept.
pub(crate) const LISTED_MAX: usize = 64;
