//! Why context values cannot be read, set or written.

use crate::json::{Bounds, Flaw, What};
use std::error::Error;
use std::fmt;

/// Why context values cannot be read, set or written.
///
/// Offsets count bytes: of the header for its form, of the JSON text for what is in it.
///
/// # Examples
/// ```
/// use ripcord_wire::ext::{Ext, ExtError, Limits};
///
/// let error = Ext::parse(b"1.e30=", &Limits::default()).unwrap_err();
/// assert_eq!(error, ExtError::Base64 { offset: 5 });
/// assert_eq!(
///     error.to_string(),
///     "accept context values: not base64url without padding at byte 5 of the header"
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExtError {
    /// The header does not begin with `1.`: it is another thing, or of a later version.
    Version,
    /// A field of the header is missing, superfluous, or not of its form.
    Shape {
        /// Byte of the header.
        offset: usize,
    },
    /// A field is not base64url, or not in its only spelling.
    Base64 {
        /// Byte of the header.
        offset: usize,
    },
    /// The values are not an object of the JSON that is accepted.
    Json {
        /// Byte of the JSON text.
        offset: usize,
        /// What should have stood there.
        expected: &'static str,
    },
    /// A key of the outermost object is not `[a-z][a-z0-9_.-]{0,63}`.
    Key {
        /// Byte of the JSON text where the key begins; for [`Ext::insert`](super::Ext::insert) byte
        /// of the key.
        offset: usize,
    },
    /// An object has a key twice.
    DuplicateKey {
        /// Byte of the JSON text where the second one begins.
        offset: usize,
    },
    /// An object has too many keys.
    TooManyKeys {
        /// Byte of the JSON text where the first one too many begins.
        offset: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Too many objects and lists are inside each other.
    TooDeep {
        /// Byte of the JSON text where the first one too deep begins.
        offset: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The JSON text is too long.
    TooLong {
        /// Bytes that it has.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The id of the signing key is not `[A-Za-z0-9_-]{1,32}`.
    KeyId {
        /// Byte of the id.
        offset: usize,
    },
    /// A signature is wanted and there is none.
    Unsigned,
    /// The key that the signature was made with is not known here.
    UnknownKey,
    /// The signature was made for something else, or by somebody else.
    BadSignature,
    /// The signature was issued too long ago, or in the future.
    Stale {
        /// When it was issued, in seconds since 1970.
        issued_s: u64,
        /// When it was checked.
        now_s: u64,
    },
}

impl ExtError {
    pub(super) fn of(flaw: Flaw, bounds: &Bounds) -> Self {
        let offset = flaw.offset;
        match flaw.what {
            What::Expected(expected) => Self::Json { offset, expected },
            What::Key => Self::Key { offset },
            What::DuplicateKey => Self::DuplicateKey { offset },
            What::TooManyKeys => Self::TooManyKeys {
                offset,
                limit: bounds.keys_max,
            },
            What::TooDeep => Self::TooDeep {
                offset,
                limit: bounds.depth_max,
            },
        }
    }
}

impl fmt::Display for ExtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("accept context values: ")?;
        match self {
            Self::Version => f.write_str("the header does not begin with the version, `1.`"),
            Self::Shape { offset } => write!(
                f,
                "not `1.<values>` or `1.<values>.<key id>.<issued at>.<tag>` at byte {offset} of \
                 the header"
            ),
            Self::Base64 { offset } => write!(
                f,
                "not base64url without padding at byte {offset} of the header"
            ),
            Self::Json { offset, expected } => {
                write!(f, "expected {expected} at byte {offset} of the JSON text")
            }
            Self::Key { offset } => write!(
                f,
                "not a key of the form [a-z][a-z0-9_.-]{{0,63}} at byte {offset}"
            ),
            Self::DuplicateKey { offset } => {
                write!(
                    f,
                    "a key for the second time at byte {offset} of the JSON text"
                )
            }
            Self::TooManyKeys { offset, limit } => write!(
                f,
                "more than {limit} keys in an object at byte {offset} of the JSON text"
            ),
            Self::TooDeep { offset, limit } => write!(
                f,
                "more than {limit} levels at byte {offset} of the JSON text"
            ),
            Self::TooLong { bytes, limit } => {
                write!(f, "the JSON text has {bytes} bytes, the limit is {limit}")
            }
            Self::KeyId { offset } => write!(
                f,
                "the id of the signing key is not [A-Za-z0-9_-]{{1,32}} at byte {offset}"
            ),
            Self::Unsigned => f.write_str("there is no signature"),
            Self::UnknownKey => f.write_str("signed with a key that is not known here"),
            Self::BadSignature => f.write_str("the signature is not good for this request"),
            Self::Stale { issued_s, now_s } => write!(
                f,
                "signed at {issued_s} s, which is too far from now, {now_s} s since 1970"
            ),
        }
    }
}

impl Error for ExtError {}
