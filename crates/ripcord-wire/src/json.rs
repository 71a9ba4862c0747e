//! JSON without floats: the value type [`Json`], a strict bounded reader, a canonical writer.
//!
//! A subset of RFC 8259 in which each value has one meaning for every reader. Where readers of JSON
//! differ, a value could pass one of them with another meaning than it was signed with:
//!
//! * numbers are integers of 64 bits, without fraction and exponent; `-0` is 0;
//! * a key stands once in its object, compared after its escapes are undone;
//! * text is UTF-8 without a byte order mark, strings have no lone surrogates;
//! * control characters in strings are escaped; there are no comments and no trailing commas.
//!
//! # Invariants
//! 1. What the writer makes, the reader accepts under the same [`Bounds`] and reads as the same
//!    value, if [`measure`](write::measure) found no flaw.
//! 2. The reader recurses no deeper than `depth_max`, and the callers bound that.
//!
//! # Where to read next
//! `json/read.rs`, `json/write.rs`.

pub(crate) mod read;
pub(crate) mod write;

use std::fmt;

/// A JSON value without floats.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::Json;
///
/// let plan = Json::from([("name", Json::from("pro")), ("seats", Json::from(12))]);
/// assert_eq!(plan.get("name").and_then(Json::as_str), Some("pro"));
/// assert_eq!(plan.get("seats").and_then(Json::as_int), Some(12));
/// assert_eq!(plan.to_string(), r#"{"name":"pro","seats":12}"#);
/// ```
///
/// # Limitations
/// Equality looks at the order of keys. A number beyond 64 bits, or with a fraction, has to go as
/// text: readers of JSON disagree on what such a number is. A value that is nested by hand some ten
/// thousand times exhausts the stack when it is dropped or shown, as any nested value in Rust;
/// what is read is bounded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of its keys; one that has a key twice cannot be sent.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// The text, if it is one.
    ///
    /// Nothing is converted: of a number it is `None`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::Json;
    ///
    /// assert_eq!(Json::from("12").as_str(), Some("12"));
    /// assert_eq!(Json::from(12).as_str(), None);
    /// ```
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The items, if it is a list.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::Json;
    ///
    /// let tags = Json::from(vec!["a", "b"]);
    /// let texts = tags.as_list().into_iter().flatten().filter_map(Json::as_str);
    /// assert_eq!(texts.collect::<Vec<_>>(), ["a", "b"]);
    /// ```
    #[must_use]
    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The keys and values, if it is a map, in their order.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The value of a key, if it is a map that has it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::ext::Json;
    ///
    /// let plan = Json::from([("seats", 12)]);
    /// assert_eq!(plan.get("seats"), Some(&Json::Int(12)));
    /// assert_eq!(plan.get("name"), None);
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        let (_, value) = self.as_map()?.iter().find(|(known, _)| known == key)?;
        Some(value)
    }
}

impl fmt::Display for Json {
    /// Writes JSON text without white space; control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write::value(self, f)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Json {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<i32> for Json {
    fn from(int: i32) -> Self {
        Self::Int(int.into())
    }
}

impl From<u32> for Json {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

impl From<bool> for Json {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, V: Into<Json>, const N: usize> From<[(K, V); N]> for Json {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<Json>> FromIterator<(K, V)> for Json {
    /// Makes a map, in the order given; whether a key comes twice is checked when it is sent.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        Self::Map(entries.map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// What is read and written at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Lists and maps inside each other; the outermost counts.
    pub(crate) depth_max: usize,
    /// Of one map, at any depth: so the search for duplicates stays linear.
    pub(crate) keys_max: usize,
}

/// Why a text or a value is refused, and at which byte of the JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flaw {
    pub(crate) offset: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Not the JSON that is accepted here: what should have stood there.
    Expected(&'static str),
    /// A key of the outermost map that the caller does not allow.
    Key,
    DuplicateKey,
    TooManyKeys,
    TooDeep,
}
