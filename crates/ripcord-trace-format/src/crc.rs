//! CRC-32C (Castagnoli), eight bytes a step, by tables that the compiler makes.
//!
//! Every block carries one. It finds accidents, not forgeries: who wants to make a block with a good
//! sum can.
//!
//! # Costs
//! 8 KiB of tables, and eight look-ups for eight bytes.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

/// A sum over bytes that come in pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc(u32);

impl Crc {
    /// The sum of no bytes.
    pub(crate) const fn new() -> Self {
        Self(!0)
    }

    /// The same sum, over `bytes` as well.
    #[must_use]
    pub(crate) fn over(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in eights {
            let [p, q, r, s] = (u32::from_le_bytes([*a, *b, *c, *d]) ^ sum).to_le_bytes();
            sum = at(7, p)
                ^ at(6, q)
                ^ at(5, r)
                ^ at(4, s)
                ^ at(3, *e)
                ^ at(2, *f)
                ^ at(1, *g)
                ^ at(0, *h);
        }
        for byte in rest {
            let [low, ..] = (sum ^ u32::from(*byte)).to_le_bytes();
            sum = sum >> 8 ^ at(0, low);
        }
        Self(sum)
    }

    /// The number that stands in a header.
    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

#[allow(
    clippy::indexing_slicing,
    reason = "a byte is an index into 256 places, and the tables are named by constants"
)]
fn at(table: usize, byte: u8) -> u32 {
    TABLES[table & 7][usize::from(byte)]
}

/// Table `n` holds the sums of a byte that is followed by `n` zeros.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ REVERSED
            } else {
                sum >> 1
            };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// The polynomial 0x1EDC6F41, lowest bit first.
const REVERSED: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_rfc_3720_come_out() {
        // RFC 3720 §B.4, and the check value of the catalogue of CRCs.
        let up: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).rev().collect();
        for (bytes, expect) in [
            (&b""[..], 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&up, 0x46dd_794e),
            (&down, 0x113f_db5c),
        ] {
            assert_eq!(Crc::new().over(bytes).value(), expect, "{bytes:?}");
            for cut in 0..bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                let sum = Crc::new().over(head).over(tail).value();
                assert_eq!(sum, expect, "cut at {cut}");
            }
        }
    }
}
