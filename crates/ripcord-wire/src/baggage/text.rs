//! The text of baggage: which bytes may stand where, percent-encoding, the canonical form.
//!
//! # Invariants
//! 1. What [`canonicalise`] and [`encode`] write is ASCII: token characters, baggage octets, and
//!    `,` `;` `=` as separators. So no byte of it can end a header line or a member.
//! 2. In a canonical value a `%` begins an escape with two upper-case digits, of a byte that may
//!    not stand raw, and the decoded value is UTF-8.
//!
//! # Costs
//! Linear in the bytes given; nothing is allocated here but what [`decode`] returns.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;

/// What a member turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Against the grammar.
    Malformed,
    /// Can be copied as it is.
    Canonical,
    /// Well formed; white space, escapes or properties are to be looked at.
    Loose,
}

/// Where the canonical text goes, up to a number of bytes.
pub(super) struct Bounded<'a> {
    pub(super) text: &'a mut Vec<u8>,
    pub(super) bytes_max: usize,
}

impl Bounded<'_> {
    /// `None` if it does not fit; then the caller takes back what was written before.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let len = self.text.len().checked_add(bytes.len())?;
        if len > self.bytes_max {
            return None;
        }
        if len > self.text.capacity() {
            // A vector left to itself would grow to twice the limit.
            let capacity = self.text.capacity().saturating_mul(2);
            let capacity = capacity.clamp(len, self.bytes_max);
            let more = capacity.saturating_sub(self.text.len());
            self.text.reserve_exact(more);
        }
        self.text.extend_from_slice(bytes);
        Some(())
    }
}

/// Checks a trimmed member against the grammar (W3C Baggage §3.2.1): nothing is written.
///
/// A member beyond the limits is looked at as well, so that what is counted as malformed does not
/// depend on what stands before it.
pub(super) fn form(member: &[u8]) -> Form {
    if is_plain(member) {
        return Form::Canonical;
    }
    let is_pair = |(key, value)| is_key(key) && is_value(value);
    let mut parts = member.split(|&byte| byte == b';');
    let is_good = parts.next().and_then(pair).is_some_and(is_pair)
        && parts.all(|property| match pair(property) {
            Some(pair) => is_pair(pair),
            None => is_key(trim(property)),
        });
    if is_good {
        Form::Loose
    } else {
        Form::Malformed
    }
}

/// Key and value with nothing to be looked at twice, as most members are: told in one pass.
fn is_plain(member: &[u8]) -> bool {
    let key = member.iter().take_while(|&&byte| is_token(byte)).count();
    match member.get(key..) {
        Some([b'=', value @ ..]) => key > 0 && value.iter().all(|&byte| stands_raw(byte)),
        _ => false,
    }
}

/// The number of members of a line that is canonical as a whole, found in one pass over it.
///
/// `None` for any other line; an empty one is none.
pub(super) fn plain_line(line: &[u8]) -> Option<usize> {
    let mut members = 0_usize;
    let mut rest = line;
    loop {
        let key = rest.iter().position(|&byte| !is_token(byte));
        let (b"=", value) = rest
            .get(key.filter(|&key| key > 0)?..)?
            .split_at_checked(1)?
        else {
            return None;
        };
        members = members.saturating_add(1);
        rest = match plain_value_end(value) {
            [b',', next @ ..] => next,
            [] => return Some(members),
            _ => return None,
        };
    }
}

/// What follows the part of a value that can be copied as it is.
fn plain_value_end(mut value: &[u8]) -> &[u8] {
    loop {
        let end = value.iter().position(|&byte| !stands_raw(byte));
        let rest = value.get(end.unwrap_or(value.len())..).unwrap_or_default();
        if !begins_with_needed_escape(rest) {
            return rest;
        }
        value = rest.get(ESCAPE..).unwrap_or_default();
    }
}

/// Whether an escape that stays as it is comes first: of ASCII, which needs no look at its neighbours.
fn begins_with_needed_escape(text: &[u8]) -> bool {
    escape(text).is_some_and(|(byte, _)| {
        byte.is_ascii() && !stands_raw(byte) && text.starts_with(&escaped(byte))
    })
}

/// Writes a well-formed member in canonical form; `None` if it does not fit.
pub(super) fn canonicalise(member: &[u8], out: &mut Bounded<'_>) -> Option<()> {
    for (index, part) in member.split(|&byte| byte == b';').enumerate() {
        if index > 0 {
            out.push(b";")?;
        }
        match pair(part) {
            Some((key, value)) => {
                out.push(key)?;
                out.push(b"=")?;
                canonicalise_value(value, out)?;
            }
            None => out.push(trim(part))?,
        }
    }
    Some(())
}

/// Copies the runs between escapes as they are.
fn canonicalise_value(mut rest: &[u8], out: &mut Bounded<'_>) -> Option<()> {
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        out.push(rest.get(..at)?)?;
        rest = canonicalise_escape(rest.get(at..)?, out)?;
    }
    out.push(rest)
}

/// Handles what begins with `%`; returns what follows it.
///
/// A character of UTF-8 with several bytes is a row of escapes, because its bytes may not stand
/// raw. So a window of four escapes tells how the row begins: with a character, or with bytes
/// that are none, for which U+FFFD goes out as for `String::from_utf8_lossy`.
fn canonicalise_escape<'a>(text: &'a [u8], out: &mut Bounded<'_>) -> Option<&'a [u8]> {
    let Some((byte, rest)) = escape(text) else {
        // Not an escape: the sender did not encode its `%`. Kept, nothing is lost.
        out.push(&escaped(b'%'))?;
        return text.get(1..);
    };
    if byte.is_ascii() {
        push_encoded(byte, out)?;
        return Some(rest);
    }
    let mut window = [0; 4];
    let mut seen = 0_usize;
    let mut after = text;
    for slot in &mut window {
        match escape(after) {
            Some((byte, rest)) if !byte.is_ascii() => (*slot, after) = (byte, rest),
            _ => break,
        }
        seen = seen.saturating_add(1);
    }
    let chunk = window.get(..seen)?.utf8_chunks().next()?;
    let taken = if let Some(char) = chunk.valid().chars().next() {
        push_char(char, out)?;
        char.len_utf8()
    } else {
        push_char(char::REPLACEMENT_CHARACTER, out)?;
        chunk.invalid().len()
    };
    text.get(taken.saturating_mul(ESCAPE)..)
}

/// Bytes that [`encode`] makes of a value.
pub(super) fn encoded_len(value: &str) -> usize {
    let len_of = |byte| if stands_raw(byte) { 1 } else { ESCAPE };
    value
        .bytes()
        .fold(0_usize, |len, byte| len.saturating_add(len_of(byte)))
}

/// Writes any text as a value in canonical form.
pub(super) fn encode(value: &str, out: &mut Bounded<'_>) -> Option<()> {
    for byte in value.bytes() {
        push_encoded(byte, out)?;
    }
    Some(())
}

/// The value that a canonical text stands for.
///
/// By invariant 2 each `%` begins an escape; one that did not would stand for itself.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, next)) = rest.split_first() {
        let (byte, next) = escape(rest).unwrap_or((first, next));
        bytes.push(byte);
        rest = next;
    }
    Cow::Owned(String::from_utf8(bytes).expect("invariant 2: the decoded value is UTF-8"))
}

/// The place and the character that keep `key` from being a token; no character if it is empty.
pub(super) fn key_flaw(key: &str) -> Option<(usize, Option<char>)> {
    if key.is_empty() {
        return Some((0, None));
    }
    let is_flaw = |char: char| u8::try_from(char).map_or(true, |byte| !is_token(byte));
    let (at, char) = key.char_indices().find(|&(_, char)| is_flaw(char))?;
    Some((at, Some(char)))
}

/// Without optional white space (RFC 7230 §3.2.3) at either end.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Key and value, trimmed; the first `=` separates them, as a token has none.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b'=')?;
    let (key, value) = text.split_at_checked(at)?;
    Some((trim(key), trim(value.get(1..)?)))
}

/// A token: at least one character (RFC 7230 §3.2.6).
fn is_key(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token(byte))
}

/// Baggage octets, or nothing; whether a `%` begins an escape is looked at later.
fn is_value(text: &[u8]) -> bool {
    text.iter().all(|&byte| is_octet(byte))
}

/// The byte of an escape at the start of `text`, and what follows; digits in either case.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = (digit(*high)? << 4) | digit(*low)?;
    Some((u8::try_from(byte).ok()?, rest))
}

fn push_encoded(byte: u8, out: &mut Bounded<'_>) -> Option<()> {
    if stands_raw(byte) {
        out.push(&[byte])
    } else {
        out.push(&escaped(byte))
    }
}

/// Of a character beyond ASCII no byte may stand raw.
fn push_char(char: char, out: &mut Bounded<'_>) -> Option<()> {
    let mut bytes = [0; 4];
    let mut bytes = char.encode_utf8(&mut bytes).bytes();
    bytes.try_for_each(|byte| out.push(&escaped(byte)))
}

/// With upper-case digits (RFC 3986 §2.1).
fn escaped(byte: u8) -> [u8; ESCAPE] {
    let digit = |nibble: u8| {
        let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        u8::try_from(digit.to_ascii_uppercase()).unwrap_or(b'0')
    };
    [b'%', digit(byte >> 4), digit(byte & 0x0f)]
}

/// In a value that is written; `%` could be mistaken for an escape.
fn stands_raw(byte: u8) -> bool {
    class(byte) & RAW != 0
}

fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

fn is_octet(byte: u8) -> bool {
    class(byte) & OCTET != 0
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Bytes of an escape: `%` and two digits.
const ESCAPE: usize = 3;

const TOKEN: u8 = 1;
const OCTET: u8 = 2;
/// An octet that is no `%`.
const RAW: u8 = 4;

/// A look-up per byte instead of a chain of comparisons.
static CLASSES: [u8; 256] = classes();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs in the compiler, which would refuse it"
)]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        // RFC 7230 §3.2.6.
        let token = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
            || byte.is_ascii_alphanumeric();
        // W3C Baggage §3.2.1, baggage-octet.
        let octet = matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
        let raw = octet && byte != b'%';
        classes[byte as usize] = token as u8 * TOKEN + octet as u8 * OCTET + raw as u8 * RAW;
        byte += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(member: &str) -> String {
        let mut text = Vec::new();
        let mut out = Bounded {
            text: &mut text,
            bytes_max: usize::MAX,
        };
        assert_ne!(form(member.as_bytes()), Form::Malformed, "{member}");
        canonicalise(member.as_bytes(), &mut out).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_classes_are_those_of_the_grammars() {
        let all = |is: fn(u8) -> bool| -> String {
            let bytes = (0..=u8::MAX).filter(|&byte| is(byte));
            bytes.map(char::from).collect()
        };
        assert_eq!(
            all(is_token),
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert_eq!(
            all(is_octet),
            "!#$%&'()*+-./0123456789:<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz\
             {|}~"
        );
    }

    #[test]
    fn escapes_are_written_only_where_they_are_needed() {
        for (given, expect) in [
            ("k=plain", "k=plain"),
            ("k=%41%7e%3D", "k=A~="),
            ("k=%20%2c%3b%5c%22", "k=%20%2C%3B%5C%22"),
            ("k=%25", "k=%25"),
            ("k=%0d%0a%00%7f", "k=%0D%0A%00%7F"),
            ("k=%", "k=%25"),
            ("k=%4", "k=%254"),
            ("k=%zz%4", "k=%25zz%254"),
            ("k=%%41", "k=%25A"),
            ("%41=%41;%zz=%41;%", "%41=A;%zz=A;%"),
        ] {
            assert_eq!(canonical(given), expect, "{given}");
            assert_eq!(canonical(expect), expect, "{given} twice");
        }
    }

    #[test]
    fn a_line_is_taken_as_it_is_only_if_nothing_would_change_in_it() {
        for (line, expect) in [
            ("k=a%20b", true),
            ("k=%25,l=%2C%3B", true),
            ("k=%20", true),
            ("k=%", false),
            ("k=%2", false),
            ("k=%zz", false),
            ("k=%2c", false),
            ("k=%41", false),
            ("k=%C3%A9", false),
            ("k%20=a", true),
            ("k=a;p=%20", false),
            ("k=a%20 ", false),
        ] {
            let mut members = line.split(',');
            let count = members.clone().count();
            assert_eq!(
                plain_line(line.as_bytes()),
                expect.then_some(count),
                "{line}"
            );
            let is_unchanged = members.all(|member| canonical(member.trim()) == member);
            assert!(is_unchanged || !expect, "{line}");
        }
        for line in ["", ",", "a=1,", ",a=1", "=", "a", "a=1,b"] {
            assert_eq!(plain_line(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_utf8_becomes_the_replacement_character_once_for_each_broken_sequence() {
        const BAD: &str = "%EF%BF%BD";
        for (given, expect) in [
            ("%e2%82%ac", "%E2%82%AC".to_owned()),
            ("%F0%9F%98%80", "%F0%9F%98%80".to_owned()),
            ("%ff", BAD.to_owned()),
            ("%e2%82", BAD.to_owned()),
            ("%e2%82x", format!("{BAD}x")),
            ("%e2%82%41", format!("{BAD}A")),
            ("%e2%82%zz", format!("{BAD}%25zz")),
            ("%f0%9f%98%c3%a9", format!("{BAD}%C3%A9")),
            ("%80%80", format!("{BAD}{BAD}")),
            ("%ed%a0%80", format!("{BAD}{BAD}{BAD}")),
            ("%c3%a9%c3", format!("%C3%A9{BAD}")),
        ] {
            assert_eq!(canonical(&format!("k={given}")), format!("k={expect}"));
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_noticed_at_any_byte() {
        let member = b"k=ab%20%e2%82%ac%zz; p = %ff ;q";
        let len = canonical(std::str::from_utf8(member).unwrap()).len();
        for bytes_max in 0..=len {
            let mut text = Vec::new();
            let mut out = Bounded {
                text: &mut text,
                bytes_max,
            };
            let fits = canonicalise(member, &mut out).is_some();
            assert_eq!(fits, bytes_max == len);
            assert!(text.len() <= bytes_max);
        }
    }
}
