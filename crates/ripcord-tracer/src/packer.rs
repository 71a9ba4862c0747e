//! Blocks of a trace, compressed where that makes them smaller: [`Packer`].
//!
//! # Each block alone
//! A block that is compressed can be read without the others, and one that is damaged takes no other with
//! it. Several together would be smaller by little: of a recording of the demo, level 3 leaves 55 % of each
//! block of 16 KiB alone, 52 % of 16 blocks of one thread together, and 53 % with a dictionary
//! of 32 KiB (250,504 events, zstd 0.14, 2026-11). That is not worth the loss of both.
//!
//! # Who does it
//! Whoever writes the trace: the thread of a stream or of a flight recorder, or who asks for a dump. Never
//! a thread because it records an event.
//!
//! # Costs
//! About 10 ms for a mebibyte at levels 1 to 3, five times as much at level 6; a buffer as long as the
//! longest block, and what zstd needs for its level.

use ripcord_trace_format::{BlockInfo, Writer};
use std::io::{self, Write};

/// Blocks below so many bytes stay as they are: a frame has a head, and a reader has to make a buffer.
#[cfg(feature = "zstd")]
const PACKED_BYTES_MIN: usize = 256;

/// Writes blocks, compressed or not.
#[derive(Default)]
pub(crate) struct Packer {
    /// `None` where nothing is to be compressed.
    #[cfg(feature = "zstd")]
    compressor: Option<zstd::bulk::Compressor<'static>>,
    /// For the block that is written.
    #[cfg(feature = "zstd")]
    packed: Vec<u8>,
}

impl Packer {
    /// With a level of zstd, or none.
    ///
    /// # Errors
    /// What zstd says: it has no memory.
    #[cfg_attr(
        not(feature = "zstd"),
        expect(
            clippy::unnecessary_wraps,
            reason = "with the feature there is something that fails"
        )
    )]
    pub(crate) fn new(level: Option<u8>) -> io::Result<Self> {
        #[cfg(feature = "zstd")]
        {
            let compressor = level.map(|level| zstd::bulk::Compressor::new(level.into()));
            Ok(Self {
                compressor: compressor.transpose()?,
                packed: Vec::new(),
            })
        }
        #[cfg(not(feature = "zstd"))]
        {
            // Nobody can ask for one.
            let _ = level;
            Ok(Self::default())
        }
    }

    /// Writes a block; as it is where it would not become smaller.
    ///
    /// # Errors
    /// What the writer says.
    #[cfg_attr(
        not(feature = "zstd"),
        expect(clippy::unused_self, reason = "with the feature it compresses")
    )]
    pub(crate) fn block<W: Write>(
        &mut self,
        writer: &mut Writer<W>,
        info: BlockInfo,
        payload: &[u8],
    ) -> io::Result<()> {
        #[cfg(feature = "zstd")]
        if let Some(compressor) = &mut self.compressor
            && payload.len() >= PACKED_BYTES_MIN
        {
            // One byte less than it has: what does not fit there is not worth it, and told as an error.
            self.packed.clear();
            self.packed.reserve(payload.len());
            self.packed.resize(payload.len() - 1, 0);
            let packed = compressor.compress_to_buffer(payload, self.packed.as_mut_slice());
            if let Some(stored) = packed.ok().and_then(|len| self.packed.get(..len)) {
                let zstd = ripcord_trace_format::Compression::Zstd;
                return writer.compressed(info, zstd, stored, payload.len());
            }
        }
        writer.block(info, payload)
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;
    use ripcord_trace_format::{BlockKind, ClockKind, Compression, FileHeader, Item, Reader};

    #[test]
    fn a_block_is_compressed_where_it_becomes_smaller_and_comes_back_the_same() {
        // The numbers of Marsaglia's xorshift: nothing makes them smaller.
        let mut random = 88_172_645_463_325_252_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[0]
        })
        .take(4_000)
        .collect();
        let same = vec![7; 16 << 10];
        let short = vec![7; PACKED_BYTES_MIN - 1];
        let header = FileHeader::new(ClockKind::Monotonic, 6, 1_000_000_000);
        for level in [None, Some(1), Some(19)] {
            let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes all");
            let mut packer = Packer::new(level).expect("there is memory");
            // The first again: what zstd keeps between two blocks must not matter.
            for payload in [&same, &noise, &short, &same] {
                let info = BlockInfo::new(BlockKind::Table);
                packer
                    .block(&mut writer, info, payload)
                    .expect("a vector takes all");
            }
            let trace = writer.finish().expect("a vector takes all");
            let mut reader = Reader::new(&trace[..])
                .expect("a trace")
                .with_decompress(|_, stored, len| Ok(zstd::bulk::decompress(stored, len)?));
            let mut found = Vec::new();
            while let Some(item) = reader.next_item().expect("readable") {
                if let Item::Block(block) = item
                    && block.info.kind == BlockKind::Table
                {
                    found.push((block.compression, block.payload.to_vec()));
                }
            }
            let small = match level {
                None => Compression::None,
                Some(_) => Compression::Zstd,
            };
            let plain = Compression::None;
            let expect = [
                (small, same.clone()),
                (plain, noise.clone()),
                (plain, short.clone()),
                (small, same.clone()),
            ];
            assert!(found == expect, "{level:?}");
        }
    }
}
