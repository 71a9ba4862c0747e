//! Base64 with the URL alphabet and without padding (RFC 4648 §5), in one spelling only.
//!
//! # Costs
//! Linear; one allocation of the exact size. Not in constant time: what it is used for, payloads
//! and tags, stands in the header for everybody to read.
//!
//! # Invariants
//! 1. No two texts decode to the same bytes: padding, line breaks, the other alphabet and bits left
//!    over that are not zero are refused. So a signed text cannot be respelled.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// How many bytes a text of `len` characters decodes to, whatever they are.
pub(crate) fn decoded_len(len: usize) -> usize {
    let rest = (len % 4).saturating_sub(1);
    (len / 4).saturating_mul(3).saturating_add(rest)
}

/// Decodes.
///
/// # Errors
/// The offset of the first character that is not of the alphabet; of the last one if the length is
/// impossible or bits are left over.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let last = text.len().saturating_sub(1);
    let mut bytes = Vec::with_capacity(decoded_len(text.len()));
    for (index, quartet) in text.chunks(4).enumerate() {
        let mut bits = 0_u32;
        for (place, &digit) in quartet.iter().enumerate() {
            let offset = index.saturating_mul(4).saturating_add(place);
            bits = (bits << 6) | u32::from(value_of(digit).ok_or(offset)?);
        }
        // Left-aligned in 24 bits; what is below the last whole byte has to be zero.
        let (bits, whole) = match quartet.len() {
            4 => (bits, 3),
            3 => (bits << 6, 2),
            2 => (bits << 12, 1),
            _ => return Err(last),
        };
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (decoded, left_over) = decoded.split_at_checked(whole).ok_or(last)?;
        if left_over.iter().any(|&byte| byte != 0) {
            return Err(last);
        }
        bytes.extend_from_slice(decoded);
    }
    Ok(bytes)
}

/// Appends `bytes`, encoded.
pub(crate) fn encode_into(bytes: &[u8], text: &mut String) {
    for triplet in bytes.chunks(3) {
        let mut bits = [0; 4];
        let [_, slots @ ..] = &mut bits;
        for (slot, &byte) in slots.iter_mut().zip(triplet) {
            *slot = byte;
        }
        let bits = u32::from_be_bytes(bits);
        let digits = triplet.len().saturating_add(1);
        for shift in [18, 12, 6, 0].into_iter().take(digits) {
            text.push(digit_of(bits >> shift));
        }
    }
}

/// How many characters `len` bytes take.
pub(crate) fn encoded_len(len: usize) -> usize {
    let rest = match len % 3 {
        0 => 0_usize,
        rest => rest.saturating_add(1),
    };
    (len / 3).saturating_mul(4).saturating_add(rest)
}

/// The six bits of a character of the alphabet.
fn value_of(digit: u8) -> Option<u8> {
    VALUES
        .get(usize::from(digit))
        .copied()
        .filter(|&value| value != NONE)
}

/// Of the lowest six bits.
fn digit_of(bits: u32) -> char {
    let index = usize::try_from(bits & 0x3f).unwrap_or(0);
    ALPHABET.get(index).copied().map_or('A', char::from)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const NONE: u8 = 0xff;

static VALUES: [u8; 256] = values();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler, which would refuse it"
)]
const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut value = 0_u8;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode_into(bytes, &mut text);
        text
    }

    #[test]
    fn the_vectors_of_rfc_4648_without_padding() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xfe]), "-__-", "the URL alphabet");
    }

    #[test]
    fn another_spelling_is_refused_and_its_place_named() {
        for (text, offset) in [
            ("Zg==", 2),
            ("Zm8=", 3),
            ("Zm9v\n", 4),
            (" Zm9v", 0),
            ("+__-", 0),
            ("-_/-", 2),
            ("Zm.v", 2),
            ("Z", 0),
            ("Zm9vY", 4),
            ("Zh", 1),
            ("Zm9", 2),
            ("Zm9vé", 4),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(offset), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(bytes.len(), decoded_len(text.len()));
            prop_assert_eq!(decode(text.as_bytes()), Ok(bytes));
        }

        #[test]
        fn what_decodes_has_one_spelling(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Ok(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
