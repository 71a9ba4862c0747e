//! Texts that came before in the same block: [`Words`], and how an encoder finds one.
//!
//! A text that is written out gets a number, the next one, and may be named by it as long as no
//! more than [`WORDS`] others have come since. Both sides count alike, so nothing says which
//! number it is.
//!
//! # Two sorts of memory
//! A decoder remembers where a text stands in its payload. An encoder cannot look back into what it
//! has written, because the bytes are read by others from then on: so it has copies, of texts that are
//! short. A long text is written out each time; there are few.
//!
//! # How an encoder finds one
//! By a hint: a byte in a table of 256, at the hash of the text, says where the text may stand. Hints
//! are not kept in step with what they point to. Each is checked against the text itself, so a wrong one
//! costs a comparison, and one that was overwritten costs the bytes of a text that is written out again.
//!
//! # Many different names
//! A program that puts numbers into names, as `GET /orders/123`, pushes out the names that come again:
//! each of those is written out once in 64 new ones, which is less than those take themselves.
//!
//! # Costs
//! Finding a text: a hash of its ends, and mostly one comparison.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

/// Texts that are remembered at a time; a reference to one takes a byte.
pub(crate) const WORDS: usize = 64;

/// A longer text is not remembered.
pub(crate) const WORD_BYTES_MAX: usize = 62;

/// The number of the empty text, which needs no place.
pub(crate) const EMPTY: u32 = 0;

/// The number of a text that is not remembered.
pub(crate) const UNNUMBERED: u32 = u32::MAX;

/// The last so many texts of a block.
#[derive(Clone, Debug)]
pub(crate) struct Words<W> {
    /// By the number, modulo their count.
    words: [W; WORDS],
    /// The number of the last one; the first has 1.
    last: u32,
}

impl<W: Copy + Default> Words<W> {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            words: [W::default(); WORDS],
            last: EMPTY,
        }
    }

    /// None again. What stands there has no number any more.
    pub(crate) fn clear(&mut self) {
        self.last = EMPTY;
    }

    /// The number that the next one gets.
    #[inline]
    pub(crate) const fn next(&self) -> u32 {
        self.last.wrapping_add(1)
    }

    /// Remembers one. A block has at most 1 MiB, so the numbers do not wrap.
    #[inline]
    pub(crate) fn push(&mut self, word: W) {
        self.last = self.next();
        if let Some(place) = self.words.get_mut(place(self.last)) {
            *place = word;
        }
    }

    /// The text with this number, if it is still there.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&W> {
        let age = self.last.checked_sub(number)?;
        let is_there = number != EMPTY && usize::try_from(age).is_ok_and(|age| age < WORDS);
        self.words.get(place(number)).filter(|_| is_there)
    }

    /// The number of what stands in a place, if anything does: what a reference in a trace means.
    pub(crate) fn at(&self, at: u64) -> Option<u32> {
        let at = usize::try_from(at).ok().filter(|at| *at < WORDS)?;
        let behind = place(self.last).wrapping_sub(at) % WORDS;
        let number = self.last.checked_sub(u32::try_from(behind).ok()?)?;
        (number != EMPTY).then_some(number)
    }
}

/// Where a number stands.
#[inline]
pub(crate) fn place(number: u32) -> usize {
    let [low, ..] = number.to_le_bytes();
    usize::from(low) % WORDS
}

/// A copy of a text, for an encoder: it cannot look back into what it has written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    /// How many bytes count.
    len: u8,
    /// UTF-8, and what was there before.
    bytes: [u8; WORD_BYTES_MAX],
}

impl Default for Word {
    fn default() -> Self {
        Self {
            len: 0,
            bytes: [0; WORD_BYTES_MAX],
        }
    }
}

impl Word {
    /// `None` for a text that is too long to be remembered.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut word = Self {
            len: u8::try_from(text.len()).ok()?,
            ..Self::default()
        };
        word.bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(word)
    }

    /// Whether it is this text.
    #[inline]
    fn is(&self, text: &str) -> bool {
        usize::from(self.len) == text.len() && self.bytes.get(..text.len()) == Some(text.as_bytes())
    }
}

/// The words of an encoder: it can find a text.
#[derive(Clone, Debug)]
pub(crate) struct KnownWords {
    /// The texts.
    pub(crate) words: Words<Word>,
    /// Where each of them may be.
    hints: Hints,
}

impl KnownWords {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            words: Words::new(),
            hints: Hints::new(),
        }
    }

    /// None again.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.hints.clear();
    }

    /// The number of a text that is remembered.
    #[inline]
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        if text.is_empty() {
            return Some(EMPTY);
        }
        let is_it = |at: u8| {
            let number = self.words.at(at.into())?;
            let word = self.words.get(number)?;
            word.is(text).then_some(number)
        };
        self.hints.find(hash(text), is_it)
    }

    /// Remembers a text, unless it is too long; its number.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        let Some(word) = Word::new(text) else {
            return UNNUMBERED;
        };
        self.words.push(word);
        let number = self.words.last;
        let [at, ..] = place(number).to_le_bytes();
        self.hints.keep(hash(text), at);
        number
    }
}

/// Its length and its ends: texts of programs differ in one of these.
///
/// It is no defence against somebody who makes texts of one hash: those cost bytes, as new texts do.
#[inline]
fn hash(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let first = bytes
        .first_chunk::<4>()
        .map_or(0, |four| u32::from_le_bytes(*four));
    let last = bytes
        .last_chunk::<4>()
        .map_or(0, |four| u32::from_le_bytes(*four));
    let short = bytes.last().map_or(0, |byte| u32::from(*byte));
    let len = u32::try_from(bytes.len()).unwrap_or(0);
    spread(first ^ last.rotate_left(13) ^ short.rotate_left(18) ^ len.rotate_left(24))
}

/// The product takes numbers apart that are near each other; the upper bits are the good ones.
#[inline]
pub(crate) const fn spread(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1) >> 16
}

/// Where an encoder looks first. A hint that is wrong or was overwritten costs bytes, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Hints([u8; HINTS]);

/// Four times as many as there are texts or shapes, so that few share one.
const HINTS: usize = 256;
/// Places that are looked at, one behind the other.
const PROBES: u8 = 4;
/// No place has this number.
const NOTHING: u8 = u8::MAX;

impl Hints {
    /// None.
    pub(crate) const fn new() -> Self {
        Self([NOTHING; HINTS])
    }

    /// None again.
    pub(crate) fn clear(&mut self) {
        self.0 = [NOTHING; HINTS];
    }

    /// The first of the hints that `is_it` takes for right.
    #[inline]
    pub(crate) fn find<T>(&self, hash: u32, is_it: impl Fn(u8) -> Option<T>) -> Option<T> {
        let [low, ..] = hash.to_le_bytes();
        for probe in 0..PROBES {
            let at = *self.0.get(usize::from(low.wrapping_add(probe)))?;
            if at == NOTHING {
                return None;
            }
            if let Some(found) = is_it(at) {
                return Some(found);
            }
        }
        None
    }

    /// Keeps a hint at the first free place, or in the place of another one, each time of the next.
    pub(crate) fn keep(&mut self, hash: u32, at: u8) {
        let [low, ..] = hash.to_le_bytes();
        let free = (0..PROBES).map(|probe| low.wrapping_add(probe)).find(|at| {
            let hint = self.0.get(usize::from(*at));
            hint.is_none_or(|hint| *hint == NOTHING)
        });
        if let Some(place) = self
            .0
            .get_mut(usize::from(free.unwrap_or(low.wrapping_add(at % PROBES))))
        {
            *place = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_so_many_texts_are_known_by_their_numbers() {
        let mut known = KnownWords::new();
        assert_eq!(known.find(""), Some(EMPTY));
        for (number, text) in (1..=200).map(|number| (number, format!("word {number}"))) {
            assert_eq!(known.find(&text), None);
            assert_eq!(known.push(&text), number);
            assert_eq!(known.find(&text), Some(number));
            let at = place(number) as u64;
            assert_eq!(known.words.at(at), Some(number));
        }
        assert!(known.words.get(136).is_none() && known.words.get(137).is_some());
        assert!(known.words.get(0).is_none() && known.words.get(201).is_none());
        assert_eq!(known.words.at(64), None);
        let found = (1..=200_u32).filter(|number| {
            let text = format!("word {number}");
            let found = known.find(&text);
            assert!(found.is_none_or(|found| found == *number && found > 136));
            found.is_some()
        });
        assert!(found.count() > 32);
        known.clear();
        assert_eq!((known.find("word 200"), known.words.at(0)), (None, None));
    }

    #[test]
    fn a_long_text_is_not_kept() {
        let mut known = KnownWords::new();
        assert_eq!(known.push(&"x".repeat(63)), UNNUMBERED);
        assert_eq!(known.push(&"x".repeat(62)), 1);
        assert_eq!(known.find(&"x".repeat(62)), Some(1));
    }
}
