//! [`IdText`]: a text that mostly is an id, and then takes 16 bytes in a trace.
//!
//! A request and its trace are known by texts of 32 and of 36 letters, which have 16 bytes of chance in
//! them. They are nearly all that tags say, and what is random is what no compression makes smaller.
//!
//! # Invariants
//! 1. Only a text that comes back letter by letter is an id: upper case, other dashes and other lengths
//!    are texts.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use std::fmt;
use std::ops::Deref;

/// The text of a tag: any text, of which ids of requests and of traces are short in a trace.
///
/// 32 lower-case hex digits, as of W3C trace ids, and UUIDs in lower case are stored as their 16
/// bytes. What is read is the same text as was written.
///
/// # Examples
/// ```
/// use ripcord_trace_format::IdText;
///
/// let text = IdText::from("01a1fbee-8d40-7b90-a144-519a37964056");
/// assert_eq!((text.len(), &text[..8]), (36, "01a1fbee"));
/// assert_eq!(text, IdText::from(text.as_str()));
/// ```
///
/// # Costs
/// 40 bytes, no allocation.
#[derive(Clone, Copy)]
pub struct IdText<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    /// It stands somewhere as it is.
    Plain(&'a str),
    /// It was made of 16 bytes; so many letters, all of them ASCII.
    Made(u8, [u8; 36]),
}

/// How an id is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// 32 digits.
    Hex,
    /// 36 letters, with dashes behind 8, 12, 16 and 20 digits.
    Uuid,
}

impl<'a> IdText<'a> {
    /// Of a text, which stands for itself.
    ///
    /// # Examples
    /// ```
    /// use ripcord_trace_format::IdText;
    ///
    /// const KNOWN: IdText<'_> = IdText::new("order 7");
    /// assert_eq!(KNOWN.to_string(), "order 7");
    /// ```
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(Form::Plain(text))
    }

    /// The text.
    ///
    /// It is borrowed from here and not from the trace: of an id there is no text in it.
    ///
    /// # Costs
    /// Of an id a look at its 36 letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Plain(text) => text,
            Form::Made(len, letters) => {
                let letters = letters.get(..usize::from(*len)).unwrap_or_default();
                // ASCII, by `from_id`.
                str::from_utf8(letters).unwrap_or_default()
            }
        }
    }

    /// What [`id_of`] has been given: two digits a byte, and the dashes of a UUID.
    pub(crate) fn from_id(shape: Shape, id: [u8; 16]) -> Self {
        let mut letters = [b'-'; 36];
        let mut places = letters.iter_mut();
        for (at, byte) in id.iter().enumerate() {
            if shape == Shape::Uuid && DASHES.contains(&at) {
                places.next();
            }
            for digit in [byte >> 4, byte & 0xf] {
                if let Some(place) = places.next() {
                    *place = HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
                }
            }
        }
        let len = if shape == Shape::Uuid { 36 } else { 32 };
        Self(Form::Made(len, letters))
    }
}

/// The 16 bytes of a text that is an id (invariant 1).
#[inline]
pub(crate) fn id_of(text: &str) -> Option<(Shape, [u8; 16])> {
    let shape = match text.len() {
        32 => Shape::Hex,
        36 => Shape::Uuid,
        _ => return None,
    };
    let mut id = [0; 16];
    let mut letters = text.bytes();
    for (at, byte) in id.iter_mut().enumerate() {
        if shape == Shape::Uuid && DASHES.contains(&at) && letters.next() != Some(b'-') {
            return None;
        }
        *byte = digit(letters.next()?)? << 4 | digit(letters.next()?)?;
    }
    Some((shape, id))
}

/// The value of a lower-case hex digit.
#[inline]
const fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(letter.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

impl<'a> From<&'a str> for IdText<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl Deref for IdText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

/// By the text, however it is stored.
impl PartialEq for IdText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for IdText<'_> {}

impl fmt::Debug for IdText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for IdText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bytes of a UUID that have a dash before them.
const DASHES: [usize; 4] = [4, 6, 8, 10];
/// Lower case alone.
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        for text in [
            "16f7d004ff6ad31c05ead9a7ad4d5259",
            "01a1fbee-8d40-7b90-a144-519a37964056",
        ] {
            let (shape, id) = id_of(text).expect("an id");
            assert_eq!(IdText::from_id(shape, id).as_str(), text);
        }
    }

    #[test]
    fn what_would_not_come_back_is_no_id() {
        for text in [
            "",
            "16f7d004ff6ad31c05ead9a7ad4d525",
            "16F7d004ff6ad31c05ead9a7ad4d5259",
            "g6f7d004ff6ad31c05ead9a7ad4d5259",
            "01a1fbee+8d40-7b90-a144-519a37964056",
            "01a1fbee8-d40-7b90-a144-519a37964056",
            "01a1fbee-8d40-7b90-a144-519a3796405-",
            "é6f7d004ff6ad31c05ead9a7ad4d525",
        ] {
            assert_eq!(id_of(text), None, "{text}");
        }
    }
}
