//! Request ids: what a client calls its request, or a fresh UUID version 7.
//!
//! No standard says what `x-request-id` may hold. The rule here is what fits into a log line, a
//! label and a header without quoting: 1 to 128 visible ASCII characters without `"`, `,`, `;`
//! and `\`.
//!
//! # Invariants
//! 1. The text keeps that rule, wherever it came from.
//! 2. A text of at most 38 bytes stands in the value itself, a longer one is shared; so equal texts
//!    are equal values.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::{ascii, hex};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The name of a request, for people and logs.
///
/// # Examples
/// ```
/// use ripcord_wire::request_id::{RequestId, RequestIdError};
///
/// let id = RequestId::parse(b"checkout-7f3a/2")?;
/// assert_eq!(id.as_str(), "checkout-7f3a/2");
/// assert_eq!(RequestId::parse(b"a b"), Err(RequestIdError::Byte(1)));
/// # Ok::<(), RequestIdError>(())
/// ```
///
/// # Costs
/// 40 bytes, and no allocation up to 38 characters: a UUID has 36. A clone copies them, or counts
/// a reference.
///
/// # Limitations
/// It is not a secret and proves nothing: a client may send the id of somebody else's request.
/// Nor is it safe in every place: `/`, `*`, `<` and `'` are allowed, so it belongs into no path,
/// no subject and no markup as it is.
#[derive(Clone)]
pub struct RequestId(Text);

#[derive(Clone)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<str>),
}

const _: () = assert!(size_of::<RequestId>() <= 40, "documented");

impl RequestId {
    /// Takes an id over from a header.
    ///
    /// # Errors
    /// [`RequestIdError`]: no byte, more than 128, or one that is not allowed. White space is not
    /// allowed either, also not around the id.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::request_id::{RequestId, RequestIdError};
    ///
    /// assert!(RequestId::parse(b"f058ebd6-02f7-4d3f-942e-904344e8cde5").is_ok());
    /// assert_eq!(RequestId::parse(b"a\r\nx-admin: 1"), Err(RequestIdError::Byte(1)));
    /// assert_eq!(RequestId::parse(&[b'a'; 129]), Err(RequestIdError::TooLong(129)));
    /// ```
    ///
    /// # Costs
    /// The length is looked at first, so a bounded number of steps.
    pub fn parse(value: &[u8]) -> Result<Self, RequestIdError> {
        if value.is_empty() {
            return Err(RequestIdError::Empty);
        }
        if value.len() > LEN_MAX {
            return Err(RequestIdError::TooLong(value.len()));
        }
        if let Some(bad) = value.iter().position(|byte| !is_allowed(*byte)) {
            return Err(RequestIdError::Byte(bad));
        }
        Ok(Self(Text::of(value)))
    }

    /// Makes a UUID version 7 (RFC 9562 §5.7) of a time and of random bytes.
    ///
    /// Ids that are made later sort later, by the millisecond. The time is cut off at its 48 bits,
    /// in the year 10889. Of the random bits 74 are used; where ids must not be guessed, they have
    /// to come from a generator that cannot be.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::request_id::RequestId;
    ///
    /// let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
    /// let id = RequestId::uuid_v7(0x017f_22e2_79b0, random);
    /// assert_eq!(id.as_str(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    /// ```
    #[must_use]
    pub fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = unix_ms.min(UNIX_MS_MAX).to_be_bytes();
        let [a0, a1, b0, b1, b2, b3, b4, b5, b6, b7] = random;
        let groups: [&[u8]; 5] = [
            &[t0, t1, t2, t3],
            &[t4, t5],
            &[0x70 | a0 & 0x0f, a1],
            &[0x80 | b0 & 0x3f, b1],
            &[b2, b3, b4, b5, b6, b7],
        ];
        let mut text = [b'-'; 36];
        let mut rest: &mut [u8] = &mut text;
        for group in groups {
            hex::encode(group, rest);
            let digits_and_dash = group.len().saturating_mul(2).saturating_add(1);
            rest = rest.get_mut(digits_and_dash..).unwrap_or_default();
        }
        Self(Text::of(&text))
    }

    /// The text, as it came and as it goes out.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short { len, bytes } => {
                ascii::as_str(bytes.get(..usize::from(*len)).unwrap_or_default())
            }
            Text::Long(text) => text,
        }
    }
}

impl Text {
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text);
                Self::Short { len, bytes }
            }
            _ => Self::Long(ascii::as_str(text).into()),
        }
    }
}

fn is_allowed(byte: u8) -> bool {
    ALLOWED.get(usize::from(byte)).copied().unwrap_or(false)
}

/// A look-up per byte instead of a row of comparisons.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: an index out of bounds does not build"
)]
static ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        allowed[byte as usize] = !matches!(byte, b'"' | b',' | b';' | b'\\');
        byte += 1;
    }
    allowed
};

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl PartialOrd for RequestId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RequestId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

/// As the text does: a map by id is asked with a `&str`.
impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for RequestId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    /// The same as [`RequestId::parse`].
    ///
    /// # Errors
    /// As there.
    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        Self::parse(text.as_bytes())
    }
}

/// Why a request id is refused.
///
/// It holds no part of the value: what was refused should not come into a log as it is.
///
/// # Examples
/// ```
/// use ripcord_wire::request_id::RequestId;
///
/// let error = RequestId::parse(b"").expect_err("nothing is no id");
/// assert_eq!(error.to_string(), "parse a request id: there is no value");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RequestIdError {
    /// There is no byte.
    Empty,
    /// So many bytes, of at most 128.
    TooLong(usize),
    /// The byte at this offset is not allowed.
    Byte(usize),
}

impl fmt::Display for RequestIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse a request id: ")?;
        match self {
            Self::Empty => f.write_str("there is no value"),
            Self::TooLong(len) => write!(f, "{len} bytes, of at most {LEN_MAX}"),
            Self::Byte(at) => write!(
                f,
                "byte {at} is not allowed (visible ASCII without `\"`, `,`, `;` and `\\`)"
            ),
        }
    }
}

impl Error for RequestIdError {}

/// Bytes of an id.
const LEN_MAX: usize = 128;

/// Bytes that stand in the value itself: with the length and the tag five words.
const SHORT: usize = 38;

/// 48 bits.
const UNIX_MS_MAX: u64 = 0xffff_ffff_ffff;
