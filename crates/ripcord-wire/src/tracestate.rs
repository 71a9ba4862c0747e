//! W3C Trace Context level 2: the `tracestate` header, an ordered list of vendors' entries.
//!
//! # Invariants
//! 1. The text is canonical: members `key=value` joined by `,` without white space around them and
//!    without empty ones; there is no text where there is no member.
//! 2. Keys and values keep the rules of §3.3.1.3, so a value cannot smuggle a member or a line.
//! 3. There are at most 32 members, and no key stands there twice.
//!
//! So the text has at most 16 447 bytes. A list that is received is taken over whole or refused
//! whole: nobody can tell which part of a damaged one is still true.
//!
//! *Costs*: one allocation that all clones share.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::ascii;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;
use std::sync::Arc;

/// The entries of the tracing systems that a request came through, newest first.
///
/// # Examples
/// ```
/// use ripcord_wire::tracestate::TraceState;
///
/// let lines = [&b"rojo=00f067aa0ba902b7 , congo=t61rcWkgMzE"[..], b"", b"lima=2"];
/// let state = TraceState::parse_headers(lines)?;
/// assert_eq!(state.get("congo"), Some("t61rcWkgMzE"));
///
/// let state = state.with("congo", "ucfJifl5GOE")?;
/// assert_eq!(state.as_str(), "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7,lima=2");
/// # Ok::<(), ripcord_wire::tracestate::TraceStateError>(())
/// ```
///
/// # Costs
/// Two words; a clone is one reference count. Look-ups go through the text from the left.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct TraceState {
    text: Option<Arc<str>>,
}

impl TraceState {
    /// Reads all header lines of a request, in their order.
    ///
    /// The lines are taken as one list. Spaces and tabs around a member do not belong to it, and
    /// members that are empty do not count. Where a key stands there twice, the left one is kept:
    /// it is the newer, and several receivers refuse a list with both (level 2 leaves the choice
    /// to the receiver).
    ///
    /// # Errors
    /// [`TraceStateError`]: the first thing that is wrong. The whole list is to be dropped then;
    /// `traceparent` stays valid (§3.3).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::{TraceState, TraceStateError};
    ///
    /// let check = |line: &'static str| TraceState::parse_headers([line.as_bytes()]);
    /// assert_eq!(check("a=1,,\t b= 2 ,a=0")?.as_str(), "a=1,b= 2");
    /// assert!(check(" , ")?.is_empty());
    /// assert_eq!(check("a=1,B=2"), Err(TraceStateError::Key(4)));
    /// # Ok::<(), TraceStateError>(())
    /// ```
    ///
    /// # Costs
    /// One copy where the list is one line in the canonical form, two otherwise. Each byte is
    /// looked at a bounded number of times, and the look ends with the 33rd member; a value that
    /// is refused allocates nothing.
    pub fn parse_headers<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TraceStateError> {
        let mut lines = values.into_iter().peekable();
        if let Some(line) = lines.next_if(|line| is_plain(line)) {
            if lines.peek().is_none() {
                return Ok(Self::of(ascii::as_str(line)));
            }
            // Several lines are one list: this one is looked at again, with the others.
            return Self::parse_list(std::iter::once(line).chain(lines).peekable());
        }
        Self::parse_list(lines)
    }

    fn parse_list<'a>(
        mut lines: Peekable<impl Iterator<Item = &'a [u8]>>,
    ) -> Result<Self, TraceStateError> {
        let mut members = Members::default();
        let mut received: usize = 0;
        let mut at: usize = 0;
        let mut whole = None;
        while let Some(line) = lines.next() {
            // Only the first line can be the last one here: it may be the whole text already.
            whole = (at == 0 && lines.peek().is_none()).then_some(line);
            for text in line.split(|byte| *byte == b',') {
                let (start, member) = ascii::trim(text);
                if !member.is_empty() {
                    let offset = at.saturating_add(start);
                    received = received.saturating_add(1);
                    if received > MEMBERS_MAX {
                        return Err(TraceStateError::TooManyMembers(offset));
                    }
                    let key_len = check_member(member, offset)?;
                    members.push(member, key_len);
                }
                // The comma after it; between two lines there is one in thought.
                at = at.saturating_add(text.len()).saturating_add(1);
            }
        }
        Ok(match whole {
            // Whatever is not canonical makes the line longer.
            Some(line) if line.len() == members.text_len() => Self::of(ascii::as_str(line)),
            _ => members.into(),
        })
    }

    /// Puts an entry at the left, in place of the key's old one.
    ///
    /// A list of 32 members loses its right-most one, which is the oldest.
    ///
    /// # Errors
    /// [`TraceStateError::Key`], [`Value`](TraceStateError::Value) or
    /// [`TooLong`](TraceStateError::TooLong), with the offset in the key or in the value.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::{TraceState, TraceStateError};
    ///
    /// let state = TraceState::default().with("a", "1")?.with("b", "2")?.with("a", "3")?;
    /// assert_eq!(state.as_str(), "a=3,b=2");
    /// assert_eq!(state.with("a", "1,c=4"), Err(TraceStateError::Value(1)));
    /// # Ok::<(), TraceStateError>(())
    /// ```
    ///
    /// # Costs
    /// Three allocations, one of which stays.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, TraceStateError> {
        check_key(key.as_bytes(), 0)?;
        check_value(value.as_bytes(), 0)?;
        if value.ends_with(' ') {
            return Err(TraceStateError::Value(value.len().saturating_sub(1)));
        }
        let member = format!("{key}={value}");
        let mut members = Members::default();
        members.push(member.as_bytes(), key.len());
        // A member that the array has no place for is the right-most one.
        for (old, text) in self.keyed() {
            members.push(text.as_bytes(), old.len());
        }
        Ok(members.into())
    }

    /// The same list without the entry of a key.
    ///
    /// For an entry of one's own, or one that a policy keeps back: to take out those of other
    /// systems breaks their traces (§3.5).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::TraceState;
    ///
    /// let state: TraceState = "a=1,b=2".parse()?;
    /// assert_eq!(state.without("a").as_str(), "b=2");
    /// assert!(state.without("a").without("b").is_empty());
    /// # Ok::<(), ripcord_wire::tracestate::TraceStateError>(())
    /// ```
    ///
    /// # Costs
    /// A reference count where there is no such key.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        if self.get(key).is_none() {
            return self.clone();
        }
        let mut members = Members::default();
        for (other, text) in self.keyed().filter(|(other, _)| *other != key) {
            members.push(text.as_bytes(), other.len());
        }
        members.into()
    }

    /// Whether there is no entry; then no header is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_none()
    }

    /// How many entries there are: at most 32.
    ///
    /// # Costs
    /// They are counted in the text.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The value of a key.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::TraceState;
    ///
    /// let state: TraceState = "ot=th:c,rojo=1".parse()?;
    /// assert_eq!(state.get("ot"), Some("th:c"));
    /// assert_eq!(state.get("OT"), None, "keys are lower-case");
    /// # Ok::<(), ripcord_wire::tracestate::TraceStateError>(())
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(other, _)| *other == key)?;
        Some(value)
    }

    /// All keys and values, from the left: the newest comes first.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::TraceState;
    ///
    /// let state: TraceState = "rojo=1,congo=2".parse()?;
    /// let keys: Vec<&str> = state.iter().map(|(key, _)| key).collect();
    /// assert_eq!(keys, ["rojo", "congo"]);
    /// # Ok::<(), ripcord_wire::tracestate::TraceStateError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.as_str().split(',');
        members.filter_map(|member| member.split_once('='))
    }

    /// The header text as it goes out; empty where there is no entry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// The header text in at most so many bytes.
    ///
    /// Whole members go, as §3.3.1.5 wants it: first those of more than 128 bytes, then any, both
    /// from the right and no more than necessary. Participants should pass on 512 bytes at
    /// least, so a smaller limit is for a carrier that has no room.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::tracestate::TraceState;
    ///
    /// let long = "x".repeat(200);
    /// let state: TraceState = format!("a=1,b={long},c=3").parse()?;
    /// assert_eq!(state.truncated(512), state.as_str());
    /// assert_eq!(state.truncated(100), "a=1,c=3");
    /// assert_eq!(state.truncated(6), "a=1");
    /// # Ok::<(), ripcord_wire::tracestate::TraceStateError>(())
    /// ```
    ///
    /// # Costs
    /// Nothing is allocated where there is no long member, or nothing to cut off.
    #[must_use]
    pub fn truncated(&self, bytes_max: usize) -> Cow<'_, str> {
        let text = self.as_str();
        let is_long = |member: &&str| member.len() > LONG;
        if text.len() <= bytes_max || !text.split(',').any(|member| is_long(&member)) {
            return Cow::Borrowed(head(text, bytes_max));
        }
        let mut members: Vec<&str> = text.split(',').collect();
        let mut len = text.len();
        while len > bytes_max
            && let Some(place) = members.iter().rposition(is_long)
        {
            // It goes with a comma; the last one of all has none, and leaves nothing.
            let gone = members.remove(place).len().saturating_add(1);
            len = len.saturating_sub(gone);
        }
        let mut text = members.join(",");
        text.truncate(head(&text, bytes_max).len());
        Cow::Owned(text)
    }

    fn of(text: &str) -> Self {
        Self {
            text: (!text.is_empty()).then(|| Arc::from(text)),
        }
    }

    /// Each member with its key.
    fn keyed(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.as_str().split(',');
        members.filter_map(|member| Some((member.split_once('=')?.0, member)))
    }
}

/// Up to 32 checked members with different keys: what a list is made of.
#[derive(Default)]
struct Members<'a> {
    /// Text of the member, and the length of its key.
    list: [(&'a [u8], usize); MEMBERS_MAX],
    len: usize,
}

impl<'a> Members<'a> {
    /// Adds a member at the right, if there is room and its key is not there yet.
    fn push(&mut self, member: &'a [u8], key_len: usize) {
        let key = member.get(..key_len);
        let is_known = |(text, len): &(&[u8], usize)| text.get(..*len) == key;
        if self.iter().any(is_known) {
            return;
        }
        if let Some(place) = self.list.get_mut(self.len) {
            *place = (member, key_len);
            self.len = self.len.saturating_add(1);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &(&'a [u8], usize)> {
        self.list.iter().take(self.len)
    }

    fn text_len(&self) -> usize {
        let bytes = self.iter().map(|(text, _)| text.len()).sum::<usize>();
        bytes.saturating_add(self.len.saturating_sub(1))
    }

    /// The canonical text.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.text_len());
        for (member, _) in self.iter() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(ascii::as_str(member));
        }
        text
    }
}

/// Whether a line can be taken as it is, told in one pass: few members, in canonical form, with keys
/// that differ. So are nearly all; any other one is looked at by the rules.
fn is_plain(line: &[u8]) -> bool {
    let mut keys: [&[u8]; PLAIN_MAX] = [&[]; PLAIN_MAX];
    let mut rest = line;
    for member in 0..PLAIN_MAX {
        let (key, from) = split_while(rest, KEY);
        let is_first = key.first().is_some_and(|byte| class(*byte) & FIRST != 0);
        let [b'=', from @ ..] = from else {
            return false;
        };
        if !is_first || key.len() > PART_MAX || keys.contains(&key) {
            return false;
        }
        if let Some(place) = keys.get_mut(member) {
            *place = key;
        }
        let (value, from) = split_while(from, VALUE);
        if !matches!(value, [.., last] if *last != b' ') || value.len() > PART_MAX {
            return false;
        }
        rest = match from {
            [] => return true,
            [b',', rest @ ..] => rest,
            _ => return false,
        };
    }
    false
}

/// The bytes of a class at the beginning, and the rest.
fn split_while(text: &[u8], of: u8) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| class(*byte) & of == 0);
    text.split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, &[]))
}

/// The whole members that begin a text and have at most so many bytes.
fn head(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let known = text.as_bytes().get(..=bytes_max).unwrap_or_default();
    let end = known.iter().rposition(|byte| *byte == b',');
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// The length of the key of a member that is not empty.
fn check_member(member: &[u8], at: usize) -> Result<usize, TraceStateError> {
    let Some(key_len) = member.iter().position(|byte| *byte == b'=') else {
        check_key(member, at)?;
        return Err(TraceStateError::Separator(at.saturating_add(member.len())));
    };
    check_key(member.get(..key_len).unwrap_or_default(), at)?;
    let start = key_len.saturating_add(1);
    let value = member.get(start..).unwrap_or_default();
    check_value(value, at.saturating_add(start))?;
    Ok(key_len)
}

fn check_key(key: &[u8], at: usize) -> Result<(), TraceStateError> {
    if key.first().is_none_or(|byte| class(*byte) & FIRST == 0) {
        return Err(TraceStateError::Key(at));
    }
    let known = key.get(..PART_MAX).unwrap_or(key);
    if let Some(bad) = known.iter().position(|byte| class(*byte) & KEY == 0) {
        return Err(TraceStateError::Key(at.saturating_add(bad)));
    }
    check_len(key, at)
}

/// The end of the value is checked by the caller: white space there is none of it.
fn check_value(value: &[u8], at: usize) -> Result<(), TraceStateError> {
    let known = value.get(..PART_MAX).unwrap_or(value);
    if let Some(bad) = known.iter().position(|byte| class(*byte) & VALUE == 0) {
        return Err(TraceStateError::Value(at.saturating_add(bad)));
    }
    if value.is_empty() {
        return Err(TraceStateError::Value(at));
    }
    check_len(value, at)
}

fn check_len(part: &[u8], at: usize) -> Result<(), TraceStateError> {
    if part.len() > PART_MAX {
        return Err(TraceStateError::TooLong(at.saturating_add(PART_MAX)));
    }
    Ok(())
}

impl From<Members<'_>> for TraceState {
    fn from(members: Members<'_>) -> Self {
        Self::of(&members.text())
    }
}

impl FromStr for TraceState {
    type Err = TraceStateError;

    /// The same as [`TraceState::parse_headers`] with one line.
    ///
    /// # Errors
    /// As there.
    fn from_str(text: &str) -> Result<Self, TraceStateError> {
        Self::parse_headers([text.as_bytes()])
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a `tracestate` is refused.
///
/// It holds no part of the value, which comes from a stranger. Offsets count the bytes of all
/// lines as they were given, with one more between two lines for the comma that joins them.
///
/// # Examples
/// ```
/// use ripcord_wire::tracestate::TraceState;
///
/// let error = TraceState::parse_headers([&b"a=1"[..], b"b"]).expect_err("`b` is no member");
/// assert_eq!(error.to_string(), "parse tracestate: no `=` before byte 5, where the member ends");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TraceStateError {
    /// The byte at this offset is not allowed in a key, or there is no key.
    Key(usize),
    /// The byte at this offset is not allowed in a value, or there is no value.
    Value(usize),
    /// A member ends at this offset, and no `=` was seen.
    Separator(usize),
    /// The 33rd member begins at this offset.
    TooManyMembers(usize),
    /// A key or a value goes on at this offset, beyond its 256 bytes.
    TooLong(usize),
}

impl fmt::Display for TraceStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse tracestate: ")?;
        match self {
            Self::Key(at) => write!(
                f,
                "byte {at} is not allowed in a key (a-z 0-9 _ - * / @, the first a letter or digit)"
            ),
            Self::Value(at) => write!(
                f,
                "byte {at} is not allowed in a value (printable ASCII without `,` and `=`, \
                 the last no space)"
            ),
            Self::Separator(at) => write!(f, "no `=` before byte {at}, where the member ends"),
            Self::TooManyMembers(at) => {
                write!(f, "more than {MEMBERS_MAX} members, the next at byte {at}")
            }
            Self::TooLong(at) => {
                write!(
                    f,
                    "more than {PART_MAX} bytes in a key or value, at byte {at}"
                )
            }
        }
    }
}

impl Error for TraceStateError {}

/// What a byte may stand for.
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The first byte of a key.
const FIRST: u8 = 1;
/// Any byte of a key.
const KEY: u8 = 2;
/// A byte of a value.
const VALUE: u8 = 4;

/// A look-up per byte instead of a row of comparisons.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        let is_first = matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        let is_key = is_first || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
        let is_value = byte != b',' && byte != b'=';
        classes[byte as usize] =
            is_first as u8 * FIRST + is_key as u8 * KEY + is_value as u8 * VALUE;
        byte += 1;
    }
    classes
};

/// Members of a list (§3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// Members of a list that is looked at in one pass.
const PLAIN_MAX: usize = 4;

/// Bytes of a key, and of a value (§3.3.1.3).
const PART_MAX: usize = 256;

/// Members of more bytes go first when the list is truncated (§3.3.1.5).
const LONG: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_as_it_is_would_not_be_changed_by_the_rules() {
        let (longest, longer) = ("v".repeat(PART_MAX), "v".repeat(PART_MAX + 1));
        let (longest, longer) = (format!("a={longest}"), format!("a={longer}"));
        for (line, expect) in [
            ("a=1", true),
            ("a=1,b= 2,0=!,t@v=3", true),
            (&*longest, true),
            ("a=1,b=2,c=3,d=4,e=5", false),
            ("a=1,a=2", false),
            ("a=1 ", false),
            (" a=1", false),
            ("a=1, b=2", false),
            ("a=1,", false),
            (",a=1", false),
            ("", false),
            ("a=", false),
            ("=1", false),
            ("a", false),
            ("A=1", false),
            ("@a=1", false),
            ("a=1=2", false),
            (&*longer, false),
        ] {
            assert_eq!(is_plain(line.as_bytes()), expect, "{line}");
            let parsed = TraceState::parse_list([line.as_bytes()].into_iter().peekable());
            if expect {
                assert_eq!(parsed.unwrap().as_str(), line);
            }
        }
    }

    #[test]
    fn a_first_line_that_could_stand_alone_is_one_list_with_the_next() {
        let lines = [&b"a=1,b=2"[..], b"b=3,c=4"];
        let state = TraceState::parse_headers(lines).unwrap();
        assert_eq!(state.as_str(), "a=1,b=2,c=4");
    }
}
