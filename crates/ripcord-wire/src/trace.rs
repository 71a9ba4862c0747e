//! W3C Trace Context level 2: ids, flags, and the `traceparent` header.
//!
//! # Invariants
//! 1. An id is never all zero: zero means "no id" on the wire (§3.2.2.3, §3.2.2.4).
//! 2. Flags hold the two bits that level 2 defines, and no other (§3.2.2.5).
//!
//! *Costs*: nothing here allocates. *Read next*: `tracestate.rs`.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::{ascii, hex};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Sixteen bytes that name a distributed trace; never all zero.
///
/// # Examples
/// ```
/// use ripcord_wire::trace::TraceId;
///
/// let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse()?;
/// assert_eq!(id.to_bytes()[0], 0x4b);
/// assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(TraceId::from_bytes([0; 16]), None);
/// # Ok::<(), ripcord_wire::trace::IdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// Eight bytes that name one span of a trace; never all zero.
///
/// # Examples
/// ```
/// use ripcord_wire::trace::SpanId;
///
/// let id: SpanId = "00f067aa0ba902b7".parse()?;
/// assert_eq!(format!("{id:?}"), "SpanId(00f067aa0ba902b7)");
/// assert!("00F067AA0BA902B7".parse::<SpanId>().is_err(), "lower-case alone");
/// # Ok::<(), ripcord_wire::trace::IdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Makes an id of its bytes; `None` if all are zero.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        if u128::from_be_bytes(bytes) == 0 {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// The bytes, in the order of the digits.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    pub(crate) fn to_hex(self) -> [u8; 32] {
        let mut text = [b'0'; 32];
        hex::encode(&self.0, &mut text);
        text
    }
}

impl SpanId {
    /// Makes an id of its bytes; `None` if all are zero.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// The bytes, in the order of the digits.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    pub(crate) fn to_hex(self) -> [u8; 16] {
        let mut text = [b'0'; 16];
        hex::encode(&self.0, &mut text);
        text
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    /// Reads exactly 32 lower-case hex digits.
    ///
    /// # Errors
    /// [`IdError`]: a wrong length, another byte, or all zero.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = id_bytes(text.as_bytes())?;
        Self::from_bytes(bytes).ok_or(IdError::Zero)
    }
}

impl FromStr for SpanId {
    type Err = IdError;

    /// Reads exactly 16 lower-case hex digits.
    ///
    /// # Errors
    /// [`IdError`]: a wrong length, another byte, or all zero.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = id_bytes(text.as_bytes())?;
        Self::from_bytes(bytes).ok_or(IdError::Zero)
    }
}

fn id_bytes<const N: usize>(text: &[u8]) -> Result<[u8; N], IdError> {
    let digits = N.saturating_mul(2);
    if text.len() != digits {
        let len = text.len();
        return Err(IdError::Length { len, digits });
    }
    hex::decode(text).map_err(IdError::Hex)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.to_hex()))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.to_hex()))
    }
}

impl fmt::LowerHex for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::LowerHex for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// Why a text is no [`TraceId`] or [`SpanId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IdError {
    /// Not so many digits as the id has.
    Length {
        /// Bytes of the text.
        len: usize,
        /// Digits of the id.
        digits: usize,
    },
    /// The byte at this offset is no lower-case hex digit.
    Hex(usize),
    /// All digits are zero.
    Zero,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse an id: ")?;
        match self {
            Self::Length { len, digits } => write!(f, "{len} bytes instead of {digits} hex digits"),
            Self::Hex(at) => write!(f, "byte {at} is no lower-case hex digit"),
            Self::Zero => f.write_str("all digits are zero"),
        }
    }
}

impl Error for IdError {}

/// What a caller says of its trace: the two flags of level 2 (§3.2.2.5).
///
/// # Examples
/// ```
/// use ripcord_wire::trace::TraceFlags;
///
/// let flags = TraceFlags::from_byte(0xff);
/// assert!(flags.is_sampled() && flags.is_random());
/// assert_eq!(flags.to_byte(), 0x03, "a bit without a meaning is not passed on");
/// assert_eq!(flags.with_sampled(false), TraceFlags::RANDOM);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// The caller may have recorded the trace.
    pub const SAMPLED: Self = Self(0x01);
    /// The right-most seven bytes of the trace id are random: a sampler may rely upon them.
    ///
    /// Whoever continues a trace has to pass it on as it came, set or not.
    pub const RANDOM: Self = Self(0x02);

    /// Takes the bits that level 2 defines; the others are cleared.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte & (Self::SAMPLED.0 | Self::RANDOM.0))
    }

    /// The bits as they go out.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// Whether the trace id is said to be random.
    #[must_use]
    pub const fn is_random(self) -> bool {
        self.0 & Self::RANDOM.0 != 0
    }

    /// The same flags with [`SAMPLED`](Self::SAMPLED) set or not.
    #[must_use]
    pub const fn with_sampled(self, yes: bool) -> Self {
        let others = self.0 & Self::RANDOM.0;
        Self(if yes {
            others | Self::SAMPLED.0
        } else {
            others
        })
    }

    /// The same flags with [`RANDOM`](Self::RANDOM) set or not.
    #[must_use]
    pub const fn with_random(self, yes: bool) -> Self {
        let others = self.0 & Self::SAMPLED.0;
        Self(if yes { others | Self::RANDOM.0 } else { others })
    }
}

/// The `traceparent` header: which trace, and which span of it makes the call.
///
/// # Examples
/// ```
/// use ripcord_wire::trace::{SpanId, TraceParent};
///
/// let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
/// let mut parent = TraceParent::parse(header)?;
/// assert!(parent.flags.is_sampled());
///
/// parent.span_id = SpanId::from_bytes([7; 8]).expect("not zero");
/// assert_eq!(
///     &parent.encode(),
///     b"00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-03",
/// );
/// # Ok::<(), ripcord_wire::trace::TraceParentError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceParent {
    /// The trace that the call belongs to.
    pub trace_id: TraceId,
    /// The caller's span, which is the parent of the callee's.
    pub span_id: SpanId,
    /// What the caller says of the trace.
    pub flags: TraceFlags,
}

impl TraceParent {
    /// Reads one header line.
    ///
    /// Version 00 has exactly 55 bytes. A higher version is read by its first 55, after which it
    /// ends or goes on with `-` (§3.2.4); it goes out again as version 00. Spaces and tabs around
    /// the value do not belong to it.
    ///
    /// # Errors
    /// [`TraceParentError`]: the first thing that is wrong, from the left. The trace starts anew
    /// then, and `tracestate` is not to be looked at (§3.3).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::trace::{TraceParent, TraceParentError};
    ///
    /// let check = |text: &str| TraceParent::parse(text.as_bytes()).map(|_| ());
    /// let known = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// assert_eq!(check(&format!("00{known}")), Ok(()));
    /// assert_eq!(check(&format!("01{known}-and-more")), Ok(()));
    /// assert_eq!(check(&format!("00{known}-and-more")), Err(TraceParentError::Length(64)));
    /// assert_eq!(check(&format!("ff{known}")), Err(TraceParentError::Version));
    /// ```
    ///
    /// # Costs
    /// No allocation; one look at each of the 55 bytes, however long the value is.
    pub fn parse(value: &[u8]) -> Result<Self, TraceParentError> {
        let (start, value) = ascii::trim(value);
        let length = TraceParentError::Length(value.len());
        let (fields, rest) = value.split_first_chunk::<LEN>().ok_or(length)?;
        let [version] = field(fields, start, 0)?;
        delimiter(fields, start, 2)?;
        match (version, rest.first()) {
            (0xff, _) => return Err(TraceParentError::Version),
            (0x00, Some(_)) => return Err(length),
            (_, Some(byte)) if *byte != b'-' => {
                return Err(TraceParentError::Delimiter(start.saturating_add(LEN)));
            }
            _ => {}
        }
        let trace_id = field(fields, start, 3)?;
        delimiter(fields, start, 35)?;
        let span_id = field(fields, start, 36)?;
        delimiter(fields, start, 52)?;
        let [flags] = field(fields, start, 53)?;
        Ok(Self {
            trace_id: TraceId::from_bytes(trace_id).ok_or(TraceParentError::ZeroTraceId)?,
            span_id: SpanId::from_bytes(span_id).ok_or(TraceParentError::ZeroSpanId)?,
            flags: TraceFlags::from_byte(flags),
        })
    }

    /// Reads all header lines of a request: none is `Ok(None)`.
    ///
    /// # Errors
    /// [`TraceParentError::Duplicate`] where there are several, even if they agree: nobody can
    /// tell which of them the caller wrote. Otherwise as [`parse`](Self::parse).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::trace::{TraceParent, TraceParentError};
    ///
    /// let line = &b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..];
    /// assert_eq!(TraceParent::parse_headers([]), Ok(None));
    /// assert_eq!(TraceParent::parse_headers([line]), TraceParent::parse(line).map(Some));
    /// assert_eq!(TraceParent::parse_headers([line, line]), Err(TraceParentError::Duplicate));
    /// ```
    pub fn parse_headers<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, TraceParentError> {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value).map(Some),
            (Some(_), Some(_)) => Err(TraceParentError::Duplicate),
        }
    }

    /// The 55 ASCII bytes of version 00; as text it is `to_string()`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::trace::{SpanId, TraceFlags, TraceId, TraceParent};
    ///
    /// let parent = TraceParent {
    ///     trace_id: TraceId::from_bytes([0xab; 16]).expect("not zero"),
    ///     span_id: SpanId::from_bytes([0xcd; 8]).expect("not zero"),
    ///     flags: TraceFlags::RANDOM,
    /// };
    /// let text = "00-abababababababababababababababab-cdcdcdcdcdcdcdcd-02";
    /// assert_eq!(&parent.encode(), text.as_bytes());
    /// assert_eq!(parent.to_string(), text);
    /// ```
    #[must_use]
    pub fn encode(&self) -> [u8; 55] {
        let mut text = [b'-'; LEN];
        let mut put = |at: usize, bytes: &[u8]| {
            hex::encode(bytes, text.get_mut(at..).unwrap_or_default());
        };
        put(0, &[0x00]);
        put(3, &self.trace_id.0);
        put(36, &self.span_id.0);
        put(53, &[self.flags.0]);
        text
    }
}

/// The bytes of the digits that begin at `at`.
fn field<const N: usize>(
    fields: &[u8; LEN],
    start: usize,
    at: usize,
) -> Result<[u8; N], TraceParentError> {
    hex::decode(fields.get(at..).unwrap_or_default())
        .map_err(|bad| TraceParentError::Hex(start.saturating_add(at).saturating_add(bad)))
}

fn delimiter(fields: &[u8; LEN], start: usize, at: usize) -> Result<(), TraceParentError> {
    if fields.get(at) == Some(&b'-') {
        Ok(())
    } else {
        Err(TraceParentError::Delimiter(start.saturating_add(at)))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii::as_str(&self.encode()))
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// The same as [`TraceParent::parse`].
    ///
    /// # Errors
    /// As there.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        Self::parse(text.as_bytes())
    }
}

/// Why a `traceparent` is refused.
///
/// It holds no part of the value, which comes from a stranger; offsets count the bytes of the
/// value as it was given.
///
/// # Examples
/// ```
/// use ripcord_wire::trace::TraceParent;
///
/// let value = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01";
/// let error = TraceParent::parse(value).expect_err("a wrong delimiter");
/// assert_eq!(error.to_string(), "parse traceparent: byte 52 is not `-`");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TraceParentError {
    /// So many bytes without the white space around them: fewer than 55, or more in version 00.
    Length(usize),
    /// The byte at this offset is no lower-case hex digit.
    Hex(usize),
    /// The byte at this offset is not the `-` that belongs there.
    Delimiter(usize),
    /// Version ff, which does not exist.
    Version,
    /// The trace id is all zero.
    ZeroTraceId,
    /// The span id is all zero.
    ZeroSpanId,
    /// The header stands there more than once.
    Duplicate,
}

impl fmt::Display for TraceParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse traceparent: ")?;
        match self {
            Self::Length(len) => write!(f, "{len} bytes instead of {LEN}"),
            Self::Hex(at) => write!(f, "byte {at} is no lower-case hex digit"),
            Self::Delimiter(at) => write!(f, "byte {at} is not `-`"),
            Self::Version => f.write_str("version ff is invalid"),
            Self::ZeroTraceId => f.write_str("the trace id is all zero"),
            Self::ZeroSpanId => f.write_str("the parent id is all zero"),
            Self::Duplicate => f.write_str("more than one header"),
        }
    }
}

impl Error for TraceParentError {}

/// Bytes of version 00: 2 + 32 + 16 + 2 digits and three delimiters.
const LEN: usize = 55;
