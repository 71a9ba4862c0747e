//! W3C Baggage: ordered pairs of key and value that go along with a request, in header `baggage`.
//!
//! [`Baggage::parse_headers`] reads the lines of the header, [`Baggage::encode`] writes one.
//! Between the two the entries are kept as the text that goes out, so a hop that only passes
//! them on decodes nothing.
//!
//! A key is a token (RFC 7230 §3.2.6) and means itself: it is never percent-decoded, and its case
//! counts. A value is any text; where a byte of it may not stand in the header, it goes as `%XX`.
//! An entry may have properties, for which the same holds. The rules are those of W3C Baggage
//! §3.2 and §3.3 (editor's draft of 2024).
//!
//! | comes in                | is                       | goes out               |
//! |-------------------------|--------------------------|------------------------|
//! | `k = v ; p`             | `k` is "v", property `p` | `k=v;p`                |
//! | `k=a%20b%2c`            | `k` is "a b,"            | `k=a%20b%2C`           |
//! | `k=%41`                 | `k` is "A"               | `k=A`                  |
//! | `k=x=y`                 | `k` is "x=y"             | `k=x=y`                |
//! | `k=5%`, `k=%zz`         | `k` is "5%", "%zz"       | `k=5%25`, `k=%25zz`    |
//! | `k=%ff`, `k=%e2%82`     | `k` is "\u{fffd}"        | `k=%EF%BF%BD`          |
//! | `%6B=v`                 | `%6B` is "v"             | `%6B=v`                |
//! | `k=1,k=2`               | `k` is "1", and "2"      | `k=1,k=2`              |
//! | `,,k=v,`                | `k` is "v"               | `k=v`                  |
//! | `k`, `k=a b`, `k="v"`   | malformed, counted       |                        |
//! | `k=v;`, `k=v;p=a b`     | malformed, counted       |                        |
//!
//! # Invariants
//! 1. The text of a [`Baggage`] is canonical, see `baggage/text.rs`; so it is ASCII, holds no white
//!    space, and parses back to the same entries.
//! 2. A comma stands between two members and nowhere else, and `members` is their number.
//! 3. Baggage without entries holds no memory: equal baggage is equal in every respect.
//!
//! # Where to read next
//! `baggage/text.rs`: which bytes may stand where.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod entry;
mod error;
mod text;

pub use entry::{Entries, Entry};
pub use error::BaggageError;

use crate::ascii;
use entry::Member;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use text::{Bounded, Form};

/// Entries that go along with a request: ordered, duplicates kept.
///
/// It never changes once it is made; [`with`](Self::with) and [`without`](Self::without) return
/// another one. Equality is that of the header text: the same entries in the same order, however
/// they were spelled when they came in.
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::{Baggage, Limits};
///
/// let line: &[u8] = b"user = Am%c3%a9lie , region=eu;ttl=60";
/// let (baggage, dropped) = Baggage::parse_headers([line], &Limits::default());
/// assert_eq!(dropped.total(), 0);
/// assert_eq!(baggage.get("user").as_deref(), Some("Amélie"));
/// assert_eq!(baggage.as_str(), "user=Am%C3%A9lie,region=eu;ttl=60");
///
/// let baggage = baggage.with("region", "us east")?.without("user");
/// assert_eq!(baggage.as_str(), "region=us%20east");
/// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
/// ```
///
/// # Costs
/// Three words. Without entries no allocation; else one, of the text, that all clones share. A clone
/// is one reference count. Looking a key up is a scan of the text; a value is borrowed where it has
/// no escape.
///
/// # Limitations
/// Everybody on the way reads it, may change it, and may pass it on to a third party: it is no
/// place for secrets, nor for what a decision on access depends on.
#[derive(Clone, Default)]
pub struct Baggage {
    text: Option<Arc<str>>,
    members: usize,
}

/// How much baggage is taken in or sent: of all header lines together.
///
/// An entry counts as one member and with the bytes of its canonical text, the comma before it
/// included: the standard limits the text that results (W3C Baggage §3.3.2), and an entry that
/// was accepted under some limits can go out under the same. What does not fit is left out
/// whole; entries behind it that do fit are kept, so one huge entry does not push out the rest.
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::{Baggage, Limits};
///
/// let narrow = Limits { bytes_max: 8, ..Limits::default() };
/// let (baggage, dropped) = Baggage::parse_headers([&b"a=1,b=22222,c=3"[..]], &narrow);
/// assert_eq!((baggage.as_str(), dropped.over_limit), ("a=1,c=3", 1));
/// ```
///
/// # Limitations
/// Below the defaults the standard's demand that baggage be passed on is not met. White space and
/// needless escapes do not count, so an incoming header may be longer than `bytes_max`; what is kept
/// of it is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Entries.
    pub members_max: usize,
    /// Bytes of the canonical text, commas included.
    pub bytes_max: usize,
}

impl Default for Limits {
    /// What each platform has to pass on: 64 members, 8192 bytes (W3C Baggage §3.3.2).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Limits;
    ///
    /// let Limits { members_max, bytes_max } = Limits::default();
    /// assert_eq!((members_max, bytes_max), (64, 8192));
    /// ```
    fn default() -> Self {
        Self {
            members_max: 64,
            bytes_max: 8192,
        }
    }
}

/// How many members were left out, and why.
///
/// A member that is malformed counts as that, wherever it stands; one that is well formed and does
/// not fit counts as over the limit. Empty members (`a=1,,b=2`) hold nothing and do not count.
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::{Baggage, Limits};
///
/// let one = Limits { members_max: 1, ..Limits::default() };
/// let (_, dropped) = Baggage::parse_headers([&b"a=1,,b=2,no key,c=3"[..]], &one);
/// assert_eq!((dropped.invalid, dropped.over_limit), (1, 2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Dropped {
    /// Against the grammar.
    pub invalid: usize,
    /// Beyond one of the [`Limits`].
    pub over_limit: usize,
}

impl Dropped {
    /// All that were left out, for whatever reason.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Dropped;
    ///
    /// assert_eq!(Dropped { invalid: 2, over_limit: 3 }.total(), 5);
    /// ```
    #[must_use]
    pub fn total(&self) -> usize {
        self.invalid.saturating_add(self.over_limit)
    }
}

impl Baggage {
    /// Reads the lines of the header, in their order; what is malformed or too much is left out.
    ///
    /// A member is malformed if its key or the key of a property is no token, or if a value has a
    /// byte that may not stand raw: a space, a quote, a backslash, anything beyond ASCII. White
    /// space around keys and values does not count. Properties stand and fall with their member.
    ///
    /// Values are taken generously where nothing is lost by it. A `%` without two digits behind
    /// it stands for itself and goes out as `%25`. Bytes that are not UTF-8 become U+FFFD, as the
    /// standard has it. Escapes that need not be are undone, so that equal values are equal text.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let lines: [&[u8]; 2] = [b"a=1 , b=%0a", b"say=\"hi\", rate=5%"];
    /// let (baggage, dropped) = Baggage::parse_headers(lines, &Limits::default());
    /// assert_eq!(baggage.as_str(), "a=1,b=%0A,rate=5%25");
    /// assert_eq!(baggage.get("b").as_deref(), Some("\n"));
    /// assert_eq!(dropped.invalid, 1, "a quote may not stand raw");
    /// ```
    ///
    /// # Costs
    /// Linear in the bytes given, whatever they are. Memory is bounded by the limits and not by
    /// the input: at most `bytes_max`, for a moment twice of that. A single line without white space,
    /// properties and escapes of other than ASCII is checked in one pass and copied once.
    pub fn parse_headers<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        limits: &Limits,
    ) -> (Self, Dropped) {
        let mut values = values.into_iter();
        let (first, second) = (values.next(), values.next());
        if let (Some(line), None) = (first, second)
            && let Some(baggage) = Self::as_is(line, limits)
        {
            return (baggage, Dropped::default());
        }
        let mut builder = Builder::new(limits);
        let mut dropped = Dropped::default();
        for value in first.into_iter().chain(second).chain(values) {
            builder.bytes_likely = value.len();
            for member in value.split(|&byte| byte == b',') {
                let member = text::trim(member);
                if member.is_empty() {
                    continue;
                }
                let is_kept = match text::form(member) {
                    Form::Malformed => {
                        dropped.invalid = dropped.invalid.saturating_add(1);
                        continue;
                    }
                    Form::Canonical => builder.add(|out| out.push(member)),
                    Form::Loose => builder.add(|out| text::canonicalise(member, out)),
                };
                if !is_kept {
                    dropped.over_limit = dropped.over_limit.saturating_add(1);
                }
            }
        }
        (builder.finish(), dropped)
    }

    /// A line that is canonical and within the limits, as nearly every one is.
    fn as_is(line: &[u8], limits: &Limits) -> Option<Self> {
        if line.len() > limits.bytes_max {
            return None;
        }
        let members = text::plain_line(line).filter(|members| *members <= limits.members_max)?;
        let text = Some(Arc::from(ascii::as_str(line)));
        Some(Self { text, members })
    }

    /// Makes baggage of keys and values, in their order and with duplicates.
    ///
    /// [`with`](Self::with) replaces a key that is there; this does not.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::try_from_iter([("tenant", "acme"), ("plan", "50% off")])?;
    /// assert_eq!(baggage.as_str(), "tenant=acme,plan=50%25%20off");
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    ///
    /// # Errors
    /// * [`BaggageError::Key`] for a key that is no token;
    /// * [`BaggageError::TooManyMembers`], [`BaggageError::TooLong`] beyond the default limits.
    pub fn try_from_iter<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, BaggageError> {
        let limits = Limits::default();
        let mut builder = Builder::new(&limits);
        for (key, value) in entries {
            let member = Member::new(key.as_ref(), value.as_ref(), &[])?;
            let members = builder.members.saturating_add(1);
            let bytes = joined(builder.text.len(), member.len());
            check_size(members, bytes, &limits)?;
            builder.add(|out| member.write(out));
        }
        Ok(builder.finish())
    }

    /// Whether there is no entry: then no header should be sent.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// assert!(Baggage::default().is_empty());
    /// let (nothing, _) = Baggage::parse_headers([&b" , "[..]], &Limits::default());
    /// assert!(nothing.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_none()
    }

    /// How many entries there are, duplicates included.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::try_from_iter([("k", "1"), ("k", "2")])?;
    /// assert_eq!(baggage.len(), 2);
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.members
    }

    /// The value of a key, decoded: of its first entry, if there are several.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let (baggage, _) = Baggage::parse_headers([&b"k=1%3B2,k=3"[..]], &Limits::default());
    /// assert_eq!(baggage.get("k").as_deref(), Some("1;2"));
    /// assert_eq!(baggage.get("K"), None);
    /// let all = baggage.iter().filter(|entry| entry.key() == "k");
    /// assert_eq!(all.count(), 2);
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        let entry = self.iter().find(|entry| entry.key() == key)?;
        Some(entry.value())
    }

    /// The entries in their order.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::try_from_iter([("a", "1"), ("b", "2")])?;
    /// let pairs: Vec<_> = baggage.iter().map(|e| (e.key(), e.value())).collect();
    /// assert_eq!(pairs, [("a", "1".into()), ("b", "2".into())]);
    /// assert_eq!(baggage.iter().next_back().map(|e| e.key()), Some("b"));
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    pub fn iter(&self) -> Entries<'_> {
        Entries::new(self)
    }

    /// The header text of everything, canonical; empty if there is no entry.
    ///
    /// For what goes to a peer use [`encode`](Self::encode), which knows limits. It is safe to
    /// print: graphic ASCII without quotes and backslashes.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::default().with("note", "two\nlines")?;
    /// assert_eq!(baggage.as_str(), "note=two%0Alines");
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Sets a key: replaces all its entries by one in the place of the first, or appends.
    ///
    /// The value may be any text; it is percent-encoded as needed.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let (baggage, _) = Baggage::parse_headers([&b"k=1,a=2,k=3"[..]], &Limits::default());
    /// assert_eq!(baggage.with("k", "50%")?.as_str(), "k=50%25,a=2");
    /// assert_eq!(baggage.with("b", "")?.as_str(), "k=1,a=2,k=3,b=");
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    ///
    /// # Errors
    /// * [`BaggageError::Key`] if the key is no token;
    /// * [`BaggageError::TooManyMembers`], [`BaggageError::TooLong`] if the whole would go beyond
    ///   the default limits: better to learn it here than that entries stay behind on the way.
    ///
    /// # Costs
    /// Copies the text. For several entries at once there is
    /// [`try_from_iter`](Self::try_from_iter).
    pub fn with(&self, key: &str, value: &str) -> Result<Self, BaggageError> {
        self.with_properties(key, value, &[])
    }

    /// Sets a key like [`with`](Self::with), with properties.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::default().with_properties(
    ///     "user",
    ///     "ada",
    ///     &[("pii", None), ("from", Some("front desk"))],
    /// )?;
    /// assert_eq!(baggage.as_str(), "user=ada;pii;from=front%20desk");
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`with`](Self::with), and [`BaggageError::PropertyKey`] if the key of a property is
    /// no token.
    pub fn with_properties(
        &self,
        key: &str,
        value: &str,
        properties: &[(&str, Option<&str>)],
    ) -> Result<Self, BaggageError> {
        self.with_properties_within(key, value, properties, &Limits::default())
    }

    /// Sets a key like [`with_properties`](Self::with_properties), within other limits.
    ///
    /// For a service that takes in and sends more or less than the standard asks for.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, BaggageError, Limits};
    ///
    /// let none = Limits { members_max: 0, bytes_max: 0 };
    /// let error = Baggage::default().with_properties_within("k", "v", &[], &none);
    /// assert_eq!(error, Err(BaggageError::TooManyMembers { members: 1, limit: 0 }));
    /// ```
    ///
    /// # Errors
    /// Those of [`with_properties`](Self::with_properties).
    pub fn with_properties_within(
        &self,
        key: &str,
        value: &str,
        properties: &[(&str, Option<&str>)],
        limits: &Limits,
    ) -> Result<Self, BaggageError> {
        let member = Member::new(key, value, properties)?;
        let mut members = 1_usize;
        let mut bytes = member.len();
        for entry in self.iter().filter(|entry| entry.key() != key) {
            members = members.saturating_add(1);
            bytes = joined(bytes, entry.as_str().len());
        }
        check_size(members, bytes, limits)?;
        let mut builder = Builder::exact(bytes);
        let mut is_set = false;
        for entry in self {
            if entry.key() != key {
                builder.add(|out| out.push(entry.as_str().as_bytes()));
            } else if !is_set {
                builder.add(|out| member.write(out));
                is_set = true;
            }
        }
        if !is_set {
            builder.add(|out| member.write(out));
        }
        Ok(builder.finish())
    }

    /// The same baggage without the entries of a key.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::Baggage;
    ///
    /// let baggage = Baggage::default().with("user", "ada")?;
    /// assert!(baggage.without("user").is_empty());
    /// assert_eq!(baggage.without("other"), baggage);
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        if self.iter().all(|entry| entry.key() != key) {
            return self.clone();
        }
        let mut builder = Builder::exact(self.as_str().len());
        for entry in self.iter().filter(|entry| entry.key() != key) {
            builder.add(|out| out.push(entry.as_str().as_bytes()));
        }
        builder.finish()
    }

    /// The header text of the entries that `allow` lets pass, within the limits.
    ///
    /// An entry that is not allowed takes no room and is not counted: `allow` saw it. An empty text
    /// means that there is nothing to send, and no header should be.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let baggage = Baggage::try_from_iter([("tenant", "acme"), ("user", "ada")])?;
    /// let limits = Limits::default();
    /// let (inside, _) = baggage.encode(&limits, |_| true);
    /// let (outside, _) = baggage.encode(&limits, |entry| entry.key() == "tenant");
    /// assert_eq!((&*inside, &*outside), ("tenant=acme,user=ada", "tenant=acme"));
    /// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
    /// ```
    ///
    /// # Costs
    /// Borrowed where everything goes out; else one allocation.
    pub fn encode(
        &self,
        limits: &Limits,
        mut allow: impl FnMut(Entry<'_>) -> bool,
    ) -> (Cow<'_, str>, Dropped) {
        let mut dropped = Dropped::default();
        let (mut members, mut bytes) = (0_usize, 0_usize);
        // Made when the first entry is left out; until then what is kept is the start of the text.
        let mut copy: Option<String> = None;
        for entry in self {
            let text = entry.as_str();
            let longer = joined(bytes, text.len());
            let is_allowed = allow(entry);
            if is_allowed && members < limits.members_max && longer <= limits.bytes_max {
                if let Some(copy) = &mut copy {
                    copy.push_str(if copy.is_empty() { "" } else { "," });
                    copy.push_str(text);
                }
                members = members.saturating_add(1);
                bytes = longer;
                continue;
            }
            if is_allowed {
                dropped.over_limit = dropped.over_limit.saturating_add(1);
            }
            copy.get_or_insert_with(|| self.as_str().get(..bytes).unwrap_or_default().to_owned());
        }
        let text = copy.map_or(Cow::Borrowed(self.as_str()), Cow::Owned);
        (text, dropped)
    }
}

impl<'a> IntoIterator for &'a Baggage {
    type Item = Entry<'a>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl PartialEq for Baggage {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Baggage {}

impl Hash for Baggage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Baggage").field(&self.as_str()).finish()
    }
}

/// Joins members, each whole or not at all.
///
/// Nothing is allocated before the first member fits.
struct Builder {
    text: Vec<u8>,
    members: usize,
    limits: Limits,
    /// For the first allocation.
    bytes_likely: usize,
}

impl Builder {
    fn new(limits: &Limits) -> Self {
        Self {
            text: Vec::new(),
            members: 0,
            limits: *limits,
            bytes_likely: 0,
        }
    }

    /// For members whose size was checked: all of them fit.
    fn exact(bytes: usize) -> Self {
        let limits = Limits {
            members_max: usize::MAX,
            bytes_max: bytes,
        };
        Self {
            bytes_likely: bytes,
            ..Self::new(&limits)
        }
    }

    /// Adds what `write` writes, unless it does not fit; then what was written is taken back.
    ///
    /// The caller vouches for the form (invariant 1); only the size is looked at here.
    fn add(&mut self, write: impl FnOnce(&mut Bounded<'_>) -> Option<()>) -> bool {
        if self.members >= self.limits.members_max {
            return false;
        }
        if self.text.is_empty() {
            let likely = self.bytes_likely.min(self.limits.bytes_max);
            self.text.reserve_exact(likely);
        }
        let start = self.text.len();
        let mut out = Bounded {
            text: &mut self.text,
            bytes_max: self.limits.bytes_max,
        };
        let comma: &[u8] = if start == 0 { b"" } else { b"," };
        let is_written = out.push(comma).and_then(|()| write(&mut out)).is_some();
        if is_written {
            self.members = self.members.saturating_add(1);
        } else {
            self.text.truncate(start);
        }
        is_written
    }

    fn finish(self) -> Baggage {
        let text = (self.members > 0).then(|| Arc::from(ascii::as_str(&self.text)));
        Baggage {
            text,
            members: self.members,
        }
    }
}

/// Bytes of a text with one more member; a comma where there was one before.
fn joined(bytes: usize, member: usize) -> usize {
    let comma = usize::from(bytes > 0);
    bytes.saturating_add(comma).saturating_add(member)
}

/// Whether so many members and bytes may go out.
fn check_size(members: usize, bytes: usize, limits: &Limits) -> Result<(), BaggageError> {
    if members > limits.members_max {
        let limit = limits.members_max;
        return Err(BaggageError::TooManyMembers { members, limit });
    }
    let limit = limits.bytes_max;
    if bytes > limit {
        return Err(BaggageError::TooLong { bytes, limit });
    }
    Ok(())
}
