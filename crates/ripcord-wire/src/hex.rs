//! Lower-case hex digits, by table: no allocation, no panic.
//!
//! Upper-case digits are refused: W3C Trace Context level 2 §3.2.2 and B3 admit lower-case alone.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

/// The bytes that the first `2 * N` digits of `text` stand for.
///
/// The error is the offset of the first byte among them that is no digit, or the length of a
/// `text` that ends too early. What follows the digits is the caller's business.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Result<[u8; N], usize> {
    let mut bytes = [0; N];
    // One question for all digits: each on its own costs more than the rest.
    let mut seen = NONE;
    if let Some(pairs) = text.as_chunks::<2>().0.get(..N) {
        seen = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (value(*high), value(*low));
            seen |= high | low;
            *byte = high << 4 | low;
        }
    }
    if seen > 0x0f {
        let mut digits = text.iter().take(N.saturating_mul(2));
        let bad = digits.position(|digit| value(*digit) == NONE);
        return Err(bad.unwrap_or(text.len()));
    }
    Ok(bytes)
}

/// Writes two digits for each byte to the beginning of `text`, as far as they fit.
pub(crate) fn encode(bytes: &[u8], text: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(text.as_chunks_mut::<2>().0) {
        *pair = PAIRS.get(usize::from(*byte)).copied().unwrap_or_default();
    }
}

fn value(digit: u8) -> u8 {
    VALUES.get(usize::from(digit)).copied().unwrap_or(NONE)
}

/// Stands for a byte that is no digit.
const NONE: u8 = 0xff;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of each byte as a digit.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 16_u8 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The two digits of each byte.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_and_read_back() {
        for byte in 0..=u8::MAX {
            let mut text = [0; 2];
            encode(&[byte], &mut text);
            assert_eq!(text, format!("{byte:02x}").as_bytes());
            assert_eq!(decode::<1>(&text), Ok([byte]));
        }
    }

    #[test]
    fn only_lower_case_digits_are_read() {
        for byte in 0..=u8::MAX {
            let expect = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert_eq!(decode::<1>(&[byte, b'0']).is_ok(), expect, "{byte:#x}");
            assert_eq!(decode::<1>(&[b'0', byte]).is_ok(), expect, "{byte:#x}");
        }
    }

    #[test]
    fn an_error_is_the_offset_of_the_first_bad_byte() {
        for (text, expect) in [
            ("", Err(0)),
            ("0", Err(1)),
            ("012", Err(3)),
            ("x123", Err(0)),
            ("0x23", Err(1)),
            ("012x", Err(3)),
            ("01xx", Err(2)),
            ("0x", Err(1)),
            ("0123", Ok([0x01, 0x23])),
            ("0123rest", Ok([0x01, 0x23])),
        ] {
            assert_eq!(decode::<2>(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut text = *b".....";
        encode(&[0x01, 0x23, 0x45], &mut text);
        assert_eq!(&text, b"0123.");
    }
}
