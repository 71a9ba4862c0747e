//! One entry of baggage, read ([`Entry`], [`Entries`]) or about to be written ([`Member`]).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::text::{self, Bounded};
use super::{Baggage, BaggageError};
use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;
use std::str::Split;

/// One entry of a [`Baggage`]: key, value, properties.
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::{Baggage, Limits};
///
/// let (baggage, _) = Baggage::parse_headers([&b"user=a%20b;pii;ttl=60"[..]], &Limits::default());
/// let entry = baggage.iter().next().expect("there is one");
/// assert_eq!((entry.key(), &*entry.value()), ("user", "a b"));
/// let properties: Vec<_> = entry.properties().collect();
/// assert_eq!(properties, [("pii", None), ("ttl", Some("60".into()))]);
/// ```
///
/// # Costs
/// Two words; nothing is decoded before it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry<'a> {
    /// Canonical, invariant 1 of `baggage.rs`.
    text: &'a str,
}

impl<'a> Entry<'a> {
    /// The key, as it was sent: it is never percent-decoded, and its case counts.
    #[must_use]
    pub fn key(&self) -> &'a str {
        self.text.split_once('=').map_or(self.text, |(key, _)| key)
    }

    /// The value, decoded; borrowed where it has no escape.
    ///
    /// It is any text, line breaks and terminal codes included: escape it where it is shown.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    /// use std::borrow::Cow;
    ///
    /// let (baggage, _) = Baggage::parse_headers([&b"a=x=y,b=x%0A"[..]], &Limits::default());
    /// let values: Vec<_> = baggage.iter().map(|entry| entry.value()).collect();
    /// assert!(matches!(&values[..], [Cow::Borrowed("x=y"), Cow::Owned(b)] if b == "x\n"));
    /// ```
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        let pair = self.text.split(';').next().unwrap_or_default();
        text::decode(pair.split_once('=').map_or("", |(_, value)| value))
    }

    /// The properties in their order: keys, and values where there are any, decoded.
    ///
    /// `;p` has no value and `;p=` an empty one. What they mean is up to who sets them.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let (baggage, _) = Baggage::parse_headers([&b"k=v;p;q=;r=%3B"[..]], &Limits::default());
    /// let properties: Vec<_> = baggage.iter().flat_map(|entry| entry.properties()).collect();
    /// assert_eq!(properties, [("p", None), ("q", Some("".into())), ("r", Some(";".into()))]);
    /// ```
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        self.text.split(';').skip(1).map(|property| {
            let pair = property.split_once('=');
            pair.map_or((property, None), |(key, value)| {
                (key, Some(text::decode(value)))
            })
        })
    }

    /// The canonical text of the whole entry, percent-encoded: what goes out.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::baggage::{Baggage, Limits};
    ///
    /// let (baggage, _) = Baggage::parse_headers([&b" k = v ; p "[..]], &Limits::default());
    /// let texts: Vec<_> = baggage.iter().map(|entry| entry.as_str()).collect();
    /// assert_eq!(texts, ["k=v;p"]);
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text)
    }
}

/// The entries of a [`Baggage`], from [`Baggage::iter`].
///
/// # Examples
/// ```
/// use ripcord_wire::baggage::Baggage;
///
/// let baggage = Baggage::try_from_iter([("a", "1"), ("b", "2")])?;
/// for entry in &baggage {
///     println!("{}: {}", entry.key(), entry.value().escape_debug());
/// }
/// assert_eq!(baggage.iter().len(), 2);
/// # Ok::<(), ripcord_wire::baggage::BaggageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    texts: Split<'a, char>,
    /// How many are still to come: the text of no entry would be one that is empty.
    left: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(baggage: &'a Baggage) -> Self {
        Self {
            texts: baggage.as_str().split(','),
            left: baggage.len(),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.texts.next().map(|text| Entry { text })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.texts.next_back().map(|text| Entry { text })
    }
}

impl ExactSizeIterator for Entries<'_> {}
impl FusedIterator for Entries<'_> {}

/// An entry that is about to be written; its keys are tokens.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    key: &'a str,
    value: &'a str,
    properties: &'a [(&'a str, Option<&'a str>)],
}

impl<'a> Member<'a> {
    /// Checks the keys; a value may be any text.
    pub(super) fn new(
        key: &'a str,
        value: &'a str,
        properties: &'a [(&'a str, Option<&'a str>)],
    ) -> Result<Self, BaggageError> {
        if let Some((offset, found)) = text::key_flaw(key) {
            return Err(BaggageError::Key { offset, found });
        }
        for (property, (key, _)) in properties.iter().enumerate() {
            if let Some((offset, found)) = text::key_flaw(key) {
                return Err(BaggageError::PropertyKey {
                    property,
                    offset,
                    found,
                });
            }
        }
        Ok(Self {
            key,
            value,
            properties,
        })
    }

    /// Bytes that [`write`](Self::write) writes; known before anything is allocated for it.
    pub(super) fn len(&self) -> usize {
        let pair = |key: &str, value| {
            let value = text::encoded_len(value);
            key.len().saturating_add(value).saturating_add(1)
        };
        let properties = self.properties.iter().map(|&(key, value)| {
            let text = value.map_or(key.len(), |value| pair(key, value));
            text.saturating_add(1)
        });
        properties.fold(pair(self.key, self.value), usize::saturating_add)
    }

    pub(super) fn write(&self, out: &mut Bounded<'_>) -> Option<()> {
        out.push(self.key.as_bytes())?;
        out.push(b"=")?;
        text::encode(self.value, out)?;
        for (key, value) in self.properties {
            out.push(b";")?;
            out.push(key.as_bytes())?;
            if let Some(value) = value {
                out.push(b"=")?;
                text::encode(value, out)?;
            }
        }
        Some(())
    }
}
