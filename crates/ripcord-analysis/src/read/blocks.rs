//! Where the blocks of a trace are, and how one comes back into memory.

use ripcord_trace_format::{BLOCK_HEADER_BYTES, Block, Compression, PAYLOAD_BYTES_MAX};
use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom};

/// A block with a good checksum that was seen when the trace was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockRef {
    /// Of the stored payload, behind the header.
    payload_offset: u64,
    stored_len: u32,
    plain_len: u32,
    compression: Compression,
    /// Which of the trace's schemas it is of.
    pub(crate) schema: u16,
    /// Events by its header; a hint.
    pub(crate) events: u32,
    pub(crate) first_tick: u64,
    pub(crate) last_tick: u64,
}

impl BlockRef {
    pub(crate) fn new(block: &Block<'_>, schema: u16) -> Self {
        // A block has at most 1 MiB, so its lengths are short numbers.
        let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            payload_offset: block.offset.saturating_add(BLOCK_HEADER_BYTES as u64),
            stored_len: short(block.stored_len),
            plain_len: short(block.payload.len()),
            compression: block.compression,
            schema,
            events: block.info.events,
            first_tick: block.info.first_tick,
            last_tick: block.info.last_tick,
        }
    }

    /// Bytes that its payload takes in memory.
    pub(crate) const fn plain_len(&self) -> usize {
        self.plain_len as usize
    }

    /// Reads the payload into `plain`; `stored` is room for a compressed one.
    ///
    /// The checksum is not looked at again: a file that has changed since is decoded as far as it is
    /// one.
    pub(crate) fn load(
        &self,
        input: &mut (impl Read + Seek),
        stored: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> io::Result<()> {
        input.seek(SeekFrom::Start(self.payload_offset))?;
        let place = if self.compression == Compression::None {
            &mut *plain
        } else {
            &mut *stored
        };
        place.resize(self.stored_len as usize, 0);
        input.read_exact(place)?;
        if self.compression != Compression::None {
            *plain =
                decompress(self.compression, stored, self.plain_len()).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Undoes the compression of a payload that is said to be `plain_len` bytes long.
///
/// For [`Reader::with_decompress`](ripcord_trace_format::Reader::with_decompress), whoever reads a trace
/// block by block: a [`Trace`](super::Trace) does it by itself.
///
/// # Errors
/// Another compression than zstd, a frame that is damaged, and one that becomes more than `plain_len` bytes
/// or more than [`PAYLOAD_BYTES_MAX`]. One that becomes less is given as it is: the reader compares.
///
/// # Costs
/// A buffer of `plain_len` bytes, 1 MiB at most, whatever the frame claims to become.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::decompress;
/// use ripcord_trace_format::Compression;
///
/// assert!(decompress(Compression::Zstd, b"no frame", 100).is_err());
/// assert!(decompress(Compression::Other(9), b"", 0).is_err());
/// ```
pub fn decompress(
    how: Compression,
    stored: &[u8],
    plain_len: usize,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    if how != Compression::Zstd {
        return Err(
            format!("{how}, which this version cannot undo; read it with a newer ripcord").into(),
        );
    }
    // A buffer of the declared length is all that a frame gets: one that claims to be more fails.
    Ok(zstd::bulk::decompress(
        stored,
        plain_len.min(PAYLOAD_BYTES_MAX),
    )?)
}
