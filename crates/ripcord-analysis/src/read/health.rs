//! What is missing in a trace: damaged, skipped, lost by the recorder, unknown, or never written.

use ripcord_trace_format::{BlockKind, End};
use serde::{Serialize, Serializer};

/// What is missing, and how much of it.
///
/// It grows while a trace is read: bytes and blocks when it is opened, events when they are given.
///
/// # Costs
/// Counts are exact; of gaps and skips the first 256 are kept one by one.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::{ClockKind, End, FileHeader, Writer};
/// use std::io::Cursor;
///
/// let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000);
/// let mut bytes = Writer::new(Vec::new(), &header)?.finish()?;
/// assert!(Trace::new(Cursor::new(&bytes))?.health().is_whole());
/// bytes.pop();
/// let trace = Trace::new(Cursor::new(&bytes))?;
/// assert!(!trace.health().is_whole());
/// assert!(matches!(trace.health().end, End::Truncated { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Bytes of the trace.
    pub bytes: u64,
    /// Good blocks.
    pub blocks: u64,
    /// Events in them, by what their headers say.
    pub events_declared: u64,
    /// Whether a header with a good checksum was there; without one, ticks are nanoseconds.
    pub has_header: bool,
    /// How the trace ends; in JSON in words, `closed` if nothing is missing there.
    #[serde(serialize_with = "in_words")]
    pub end: End,
    /// Bytes that are no block, before one that is.
    pub damaged_bytes: u64,
    /// Where those bytes are.
    pub damaged: Vec<Gap>,
    /// How many such places there are.
    pub damaged_count: u64,
    /// Blocks with a good checksum that cannot be used.
    pub skipped: Vec<Skip>,
    /// How many such blocks there are.
    pub skipped_count: u64,
    /// Events that the recorder says it has lost, counted by threads where the recorder gave totals.
    pub lost_by_recorder: u64,
    /// Events of types that this version does not know; they are passed over.
    pub unknown_events: u64,
    /// Blocks that end early because of an event that is wrong.
    pub wrong_blocks: u64,
    /// Events that those blocks would have had besides, by what their headers say.
    pub wrong_events: u64,
    /// Polls whose wake is missing: as many events, at least, are lost.
    pub missing_wakes: u64,
    /// Events that were told earlier than what they follow, and were put behind it.
    pub reordered: u64,
}

/// Bytes of a trace that are no block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Gap {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

/// A block that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Skip {
    /// Where it begins.
    pub offset: u64,
    /// What it is.
    pub kind: String,
    /// Why it cannot be used, without control characters.
    pub why: String,
}

/// So many gaps and skips are kept one by one.
const LISTED_MAX: usize = 256;

impl Health {
    /// Before a byte was read: a trace that is not closed.
    pub(crate) const fn new(has_header: bool) -> Self {
        Self {
            bytes: 0,
            blocks: 0,
            events_declared: 0,
            has_header,
            end: End::NotClosed,
            damaged_bytes: 0,
            damaged: Vec::new(),
            damaged_count: 0,
            skipped: Vec::new(),
            skipped_count: 0,
            lost_by_recorder: 0,
            unknown_events: 0,
            wrong_blocks: 0,
            wrong_events: 0,
            missing_wakes: 0,
            reordered: 0,
        }
    }

    /// Whether the trace ends with its end block; bytes that follow it belong to nothing.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.end, End::Closed { .. })
    }

    /// Whether nothing is known to be missing.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.has_header
            && self.is_closed()
            && self.damaged_count == 0
            && self.skipped_count == 0
            && self.lost_by_recorder == 0
            && self.wrong_blocks == 0
    }

    pub(crate) fn damage(&mut self, offset: u64, bytes: u64) {
        self.damaged_count += 1;
        self.damaged_bytes = self.damaged_bytes.saturating_add(bytes);
        if self.damaged.len() < LISTED_MAX {
            self.damaged.push(Gap { offset, bytes });
        }
    }

    pub(crate) fn skip(&mut self, offset: u64, kind: BlockKind, why: &str) {
        self.skipped_count += 1;
        if self.skipped.len() < LISTED_MAX {
            self.skipped.push(Skip {
                offset,
                kind: kind.to_string(),
                why: super::clean(why).into_owned(),
            });
        }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference to the field"
)]
fn in_words<S: Serializer>(end: &End, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(end)
}
