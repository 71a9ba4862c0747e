//! The first half of a ring file's header: what the file is.
//!
//! | Offset | Bytes | What |
//! |---|---|---|
//! | 0 | 8 | magic: `RIPR`, CR, LF, 0x1a, LF |
//! | 8 | 2 | major version |
//! | 10 | 2 | minor version |
//! | 12 | 4 | bytes up to the checksum |
//! | 16 | 8 | length of the file |
//! | 24 | 28 | bytes of a block, blocks, tasks, contexts, threads, bytes of tables, bytes of the schema: 4 each |
//! | 52 | 4 | CRC-32C of the schema |
//! | 56 | n | the header of the trace, as in a trace |
//! | 56 + n | 4 | CRC-32C of everything before |

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use super::error::{RING_MAJOR, RingError};
use super::layout::{RING_HEADER_BYTES, RING_MAGIC, RingLayout};
use crate::FileHeader;
use crate::Reader;
use crate::block::Fields;
use crate::crc::Crc;

/// What a ring file says of itself, and does not change.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{ClockKind, FileHeader, RingHeader, RingLayout};
///
/// let layout = RingLayout {
///     block_bytes: 1 << 14,
///     frames: 8,
///     tasks: 64,
///     contexts: 64,
///     threads: 16,
///     table_bytes: 1 << 16,
///     schema_bytes: 0,
/// };
/// let trace = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).program("shop");
/// let header = RingHeader::new(layout, trace, "");
/// let bytes = header.encode()?;
/// assert!(bytes.len() <= 2_048);
/// # Ok::<(), ripcord_trace_format::RingError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RingHeader {
    /// How many of what it has room for.
    pub(super) layout: RingLayout,
    /// The header of the trace that is made of it: clock, process, program.
    pub(super) trace: FileHeader,
    /// CRC-32C of the schema.
    pub(super) schema_sum: u32,
}

impl RingHeader {
    /// The header of a file with this schema, whose length it puts into the layout.
    #[must_use]
    pub fn new(layout: RingLayout, trace: FileHeader, schema: &str) -> Self {
        let schema_bytes = u32::try_from(schema.len()).unwrap_or(u32::MAX);
        Self {
            layout: RingLayout {
                schema_bytes,
                ..layout
            },
            trace,
            schema_sum: sum_of(schema.as_bytes()),
        }
    }

    /// The layout, with the length of the schema.
    #[must_use]
    pub const fn layout(&self) -> RingLayout {
        self.layout
    }

    /// The bytes that the file begins with: less than 2,048, as names of programs are cut. What follows up to offset 2,048 is zero.
    ///
    /// # Errors
    /// [`RingError::Header`]: the layout is too large for a file.
    pub fn encode(&self) -> Result<Vec<u8>, RingError> {
        let layout = &self.layout;
        let wrong = |what| RingError::Header { offset: 24, what };
        let file_bytes = layout.file_bytes().map_err(wrong)?;
        let trace = self.trace.encode();
        // A program's name is cut, so that of a trace is short.
        let len = u32::try_from(FIXED.saturating_add(trace.len())).unwrap_or(u32::MAX);
        let mut bytes = RING_MAGIC.to_vec();
        bytes.extend(RING_MAJOR.to_le_bytes());
        bytes.extend(RING_MINOR.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(file_bytes.to_le_bytes());
        for count in [
            layout.block_bytes,
            layout.frames,
            layout.tasks,
            layout.contexts,
            layout.threads,
            layout.table_bytes,
            layout.schema_bytes,
        ] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(self.schema_sum.to_le_bytes());
        bytes.extend(trace);
        let sum = sum_of(&bytes);
        bytes.extend(sum.to_le_bytes());
        Ok(bytes)
    }

    /// Reads it from the first bytes of a file, of which `RING_HEADER_BYTES` are there.
    ///
    /// Its sum is looked at before anything that it says, and what it says has to agree with itself: so a
    /// layout that comes from here is one that a recorder has made, or somebody who has taken pains.
    ///
    /// # Errors
    /// [`RingError::NotARing`], [`RingError::Version`], [`RingError::Header`] with the place.
    pub(crate) fn parse(bytes: &[u8; RING_HEADER_BYTES]) -> Result<Self, RingError> {
        let wrong = |offset, what| RingError::Header { offset, what };
        let short = || wrong(0, "too few fields");
        let mut from = Fields(bytes);
        if from.take::<8>() != Some(RING_MAGIC) {
            return Err(RingError::NotARing);
        }
        let major = u16::from_le_bytes(from.take().ok_or_else(short)?);
        let minor = u16::from_le_bytes(from.take().ok_or_else(short)?);
        if major != RING_MAJOR {
            return Err(RingError::Version { major, minor });
        }
        let len = u32::from_le_bytes(from.take().ok_or_else(short)?);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(FIXED..=SUM_AT_MAX).contains(&len) {
            return Err(wrong(12, "a length that no header has"));
        }
        let (summed, rest) = bytes.split_at_checked(len).ok_or_else(short)?;
        let sum = sum_of(summed).to_le_bytes();
        if rest.first_chunk() != Some(&sum) {
            return Err(wrong(
                len as u64,
                "a checksum that is not that of the header",
            ));
        }
        let file_bytes = u64::from_le_bytes(from.take().ok_or_else(short)?);
        let mut counts = [0; 7];
        for count in &mut counts {
            *count = u32::from_le_bytes(from.take().ok_or_else(short)?);
        }
        let [
            block_bytes,
            frames,
            tasks,
            contexts,
            threads,
            table_bytes,
            schema_bytes,
        ] = counts;
        let layout = RingLayout {
            block_bytes,
            frames,
            tasks,
            contexts,
            threads,
            table_bytes,
            schema_bytes,
        };
        let schema_sum = u32::from_le_bytes(from.take().ok_or_else(short)?);
        let needed = layout.file_bytes().map_err(|what| wrong(24, what))?;
        if needed != file_bytes {
            return Err(wrong(16, "a length that does not belong to its areas"));
        }
        let trace = summed.get(FIXED..).unwrap_or_default();
        let reader = Reader::new(trace).map_err(|_| wrong(56, "no header of a trace"))?;
        let trace = reader.header().cloned();
        Ok(Self {
            layout,
            trace: trace.ok_or_else(|| wrong(56, "a damaged header of a trace"))?,
            schema_sum,
        })
    }
}

/// The checksum of these bytes.
pub(super) fn sum_of(bytes: &[u8]) -> u32 {
    Crc::new().over(bytes).value()
}

/// Bytes before the header of the trace.
const FIXED: usize = 56;

/// The checksum ends where the words begin, at the latest.
const SUM_AT_MAX: usize = 2_044;

const RING_MINOR: u16 = 0;
