//! Numbers and texts as bytes: LEB128 over a slice, in both directions, without allocation or panic.
//!
//! # Invariants
//! 1. A number has one encoding: the shortest. A longer one is refused, so what was read and is
//!    written again is the same bytes.
//! 2. A failed write leaves bytes behind `at`, which nobody counts; it never moves `at` of its owner.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::TEXT_BYTES_MAX;
use crate::error::Fault;

/// Where bytes go: a slice that does not grow.
#[derive(Debug)]
pub(crate) struct Out<'b> {
    buf: &'b mut [u8],
    at: usize,
    /// Something was written that will be read as its neighbour, or as nothing.
    pub(crate) is_bent: bool,
}

impl<'b> Out<'b> {
    /// Writes from `at` on.
    #[inline]
    pub(crate) const fn new(buf: &'b mut [u8], at: usize) -> Self {
        Self {
            buf,
            at,
            is_bent: false,
        }
    }

    /// Where the next byte goes.
    #[inline]
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// A byte as it is; `None` if there is no room.
    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) -> Option<()> {
        *self.buf.get_mut(self.at)? = byte;
        self.at = self.at.wrapping_add(1);
        Some(())
    }

    /// A number as LEB128; `None` if there is no room for all of it.
    #[inline]
    pub(crate) fn number(&mut self, mut number: u64) -> Option<()> {
        while number >= 0x80 {
            let [low, ..] = number.to_le_bytes();
            self.byte(low | 0x80)?;
            number >>= 7;
        }
        let [low, ..] = number.to_le_bytes();
        self.byte(low)
    }

    /// Bytes as they are; `None` if there is no room for all of them.
    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buf.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// Length and bytes, cut at the last character that fits into [`TEXT_BYTES_MAX`].
    #[inline]
    pub(crate) fn text(&mut self, text: &str) -> Option<()> {
        let bytes = cut(text).as_bytes();
        self.number(bytes.len() as u64)?;
        self.bytes(bytes)
    }
}

/// The longest beginning of `text` that a trace takes.
pub(crate) fn cut(text: &str) -> &str {
    // `str::floor_char_boundary` is newer than the oldest compiler we support.
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

/// Where bytes come from: the rest of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads from the beginning of `rest`.
    #[inline]
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What has not been read.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.rest.split_first().ok_or(Fault::Cut)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The next `len` bytes; if there are fewer, nothing is taken.
    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Fault::Cut)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Most numbers have one byte, so that is the path without a loop.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    /// A number of several bytes, or none: 64 bits, and in the shortest form (invariant 1).
    fn long_number(&mut self) -> Result<u64, Fault> {
        let mut number = 0_u64;
        let mut rest = self.rest;
        for shift in (0..64).step_by(7) {
            let (byte, after) = rest.split_first().ok_or(Fault::Cut)?;
            rest = after;
            let bits = u64::from(*byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Fault::NumberTooLarge);
            }
            number |= bits << shift;
            if *byte < 0x80 {
                if *byte == 0 {
                    return Err(Fault::NumberTooLong);
                }
                self.rest = rest;
                return Ok(number);
            }
        }
        Err(Fault::NumberTooLarge)
    }

    /// A text, whose length is looked at before anything else.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let len = self.number()?;
        let in_limit = usize::try_from(len)
            .ok()
            .filter(|len| *len <= TEXT_BYTES_MAX);
        let bytes = self.bytes(in_limit.ok_or(Fault::TextTooLong(len))?)?;
        str::from_utf8(bytes).map_err(|_| Fault::TextNotUtf8)
    }
}

/// Small numbers of either sign as small numbers without one: 0, -1, 1, -2, …
#[inline]
pub(crate) const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// The number that [`zigzag`] was given.
#[inline]
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(number: u64) -> Vec<u8> {
        let mut buf = [0; 10];
        let mut out = Out::new(&mut buf, 0);
        out.number(number).expect("ten bytes are enough");
        let len = out.at();
        buf.into_iter().take(len).collect()
    }

    #[test]
    fn every_length_of_number_is_read_back() {
        for shift in 0..64 {
            for number in [1 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let bytes = bytes_of(number);
                let mut cursor = Cursor::new(&bytes);
                assert_eq!(cursor.number(), Ok(number));
                assert!(cursor.rest().is_empty());
                let mut shorter = bytes.as_slice();
                while let Some((_, rest)) = shorter.split_last() {
                    assert_eq!(Cursor::new(rest).number(), Err(Fault::Cut));
                    shorter = rest;
                }
            }
        }
    }

    #[test]
    fn a_number_has_one_encoding() {
        //= T10
        for (bytes, expect) in [
            (&[0x80, 0x00][..], Fault::NumberTooLong),
            (&[0xff, 0x80, 0x00], Fault::NumberTooLong),
            (&[0xff; 10], Fault::NumberTooLarge),
            (&[0xff; 11], Fault::NumberTooLarge),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
                Fault::NumberTooLarge,
            ),
        ] {
            assert_eq!(Cursor::new(bytes).number(), Err(expect), "{bytes:02x?}");
        }
    }

    #[test]
    fn signs_survive() {
        for number in [0, -1, 1, -2, i64::MIN, i64::MAX, -64, 63] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        //= T11
        for (text, expect) in [
            ("a".repeat(1_024), 1_024),
            ("a".repeat(1_025), 1_024),
            ("é".repeat(600), 1_024),
            (format!("a{}", "é".repeat(600)), 1_023),
            (format!("abc{}", "🦀".repeat(600)), 1_023),
        ] {
            assert_eq!(cut(&text).len(), expect);
        }
    }
}
