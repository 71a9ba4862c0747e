//! A ring file that is open: [`RingFile`].
//!
//! # Invariants
//! 1. Nothing that the file says is believed beyond the limits of its layout; what the file does not have
//!    is zero, which is nobody's in every record.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use super::error::RingError;
use super::header::RingHeader;
use super::layout::{RING_HEADER_BYTES, RING_MAGIC, RingLayout, RingWord};
use crate::FileHeader;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// Whether the recorder has let go of a ring file by itself.
///
/// A process that was killed leaves [`Self::Recording`], as does one that is still alive: which of the
/// two, the lock tells that a recorder holds on its file.
///
/// # Examples
/// ```
/// use ripcord_trace_format::RingState;
///
/// assert_ne!(RingState::Recording, RingState::Closed);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RingState {
    /// It is recorded into, or was when its process ended.
    Recording,
    /// The recorder was closed.
    Closed,
    /// The file says something else.
    Unknown,
}

/// All clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) tick: u64,
    pub(super) monotonic: u64,
    pub(super) wall: u64,
}

/// A ring file that is open.
///
/// # Examples
/// A file in which nothing was recorded yet:
///
/// ```
/// use ripcord_trace_format::{ClockKind, FileHeader, RingFile, RingHeader, RingLayout, RingState};
/// use std::io::Cursor;
///
/// let layout = RingLayout {
///     block_bytes: 256,
///     frames: 2,
///     tasks: 4,
///     contexts: 4,
///     threads: 2,
///     table_bytes: 512,
///     schema_bytes: 0,
/// };
/// let trace = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000).started(77, 0);
/// let mut bytes = RingHeader::new(layout, trace, "").encode()?;
/// bytes.resize(usize::try_from(layout.file_bytes().unwrap()).unwrap(), 0);
///
/// let mut ring = RingFile::open(Cursor::new(bytes))?;
/// assert_eq!((ring.header().process, ring.state()), (77, RingState::Unknown));
/// let mut trace = Vec::new();
/// assert_eq!(ring.recover(&mut trace)?.events, 0);
/// # Ok::<(), ripcord_trace_format::RingError>(())
/// ```
///
/// # Costs
/// Memory for the records of what lives, and for one block; not for the ring.
pub struct RingFile<R> {
    /// The bytes.
    input: R,
    /// What does not change.
    header: RingHeader,
    /// The header with its words, as they were when it was opened.
    page: Box<[u8; RING_HEADER_BYTES]>,
    /// Bytes that the file has, whatever it says.
    len: u64,
    /// Bytes that were asked for and are not there.
    pub(super) missing: u64,
}

impl<R: Read + Seek> RingFile<R> {
    /// Reads the header of a ring file.
    ///
    /// # Errors
    /// Every [`RingError`] but `Write`.
    pub fn open(mut input: R) -> Result<Self, RingError> {
        let failed = |error| RingError::Read { offset: 0, error };
        let len = input.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut page = Box::new([0; RING_HEADER_BYTES]);
        let there = read_at(&mut input, 0, &mut page[..]).map_err(failed)?;
        let begins = page.get(..there.min(RING_MAGIC.len())).unwrap_or_default();
        if begins.is_empty() || !RING_MAGIC.starts_with(begins) {
            return Err(RingError::NotARing);
        }
        if there < RING_HEADER_BYTES {
            return Err(RingError::Short(there as u64));
        }
        Ok(Self {
            header: RingHeader::parse(&page)?,
            input,
            page,
            len,
            missing: 0,
        })
    }

    /// Process, program and clock, as the header of its trace will say them.
    #[must_use]
    pub const fn header(&self) -> &FileHeader {
        &self.header.trace
    }

    /// Whether the recorder was closed.
    #[must_use]
    pub fn state(&self) -> RingState {
        match self.word(RingWord::State) {
            1 => RingState::Recording,
            2 => RingState::Closed,
            _ => RingState::Unknown,
        }
    }

    pub(super) const fn layout(&self) -> RingLayout {
        self.header.layout
    }

    pub(super) const fn schema_sum(&self) -> u32 {
        self.header.schema_sum
    }

    /// A word of the header, as it was when the file was opened.
    pub(super) fn word(&self, word: RingWord) -> u64 {
        self.number(word.offset())
    }

    fn number(&self, offset: usize) -> u64 {
        let bytes = self.page.get(offset..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The clocks at the beginning, and as they were read last.
    pub(super) fn readings(&self) -> [Reading; 2] {
        let latest = match self.word(RingWord::Readings) {
            count if count.is_multiple_of(2) => RingWord::Latest,
            _ => RingWord::Other,
        };
        [RingWord::Start, latest].map(|word| {
            let at = |number: usize| self.number(word.offset().saturating_add(number));
            Reading {
                tick: at(0),
                monotonic: at(8),
                wall: at(16),
            }
        })
    }

    /// So many bytes from an offset on; those that the file does not have are zero, and counted.
    pub(super) fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, RingError> {
        let mut bytes = vec![0; len];
        let there = self.len.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(len);
        let place = bytes.get_mut(..there).unwrap_or_default();
        let read = read_at(&mut self.input, offset, place)
            .map_err(|error| RingError::Read { offset, error })?;
        self.missing = self.missing.saturating_add(len.saturating_sub(read) as u64);
        Ok(bytes)
    }
}

/// Fills `place` as far as there is something.
fn read_at(input: &mut (impl Read + Seek), offset: u64, place: &mut [u8]) -> io::Result<usize> {
    input.seek(SeekFrom::Start(offset))?;
    let mut at = 0;
    while let Some(rest) = place.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            // A reader may lie about how much it has read.
            Ok(read) => at = at.saturating_add(read.min(rest.len())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

impl<R> fmt::Debug for RingFile<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingFile")
            .field("header", &self.header)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
