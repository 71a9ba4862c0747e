//! B3, the headers of Zipkin: one (`b3`) or several (`x-b3-*`).
//!
//! Names go out in lower case, which every carrier admits; ids go out with 32 and 16 digits. Where
//! both forms arrive, `b3` comes first: that is for the caller to see to. Digits are lower-case in
//! both directions, as the specification has them.
//!
//! # Limitations
//! A trace id of 64 bits is filled up with zeros at the left, and goes out with them: an old
//! receiver that knows 16 digits alone does not understand it.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::trace::{SpanId, TraceId};
use crate::{ascii, hex};
use std::error::Error;
use std::fmt;

/// What the caller says about recording the trace.
///
/// # Examples
/// ```
/// use ripcord_wire::b3::{B3, Sampling};
///
/// assert_eq!(B3::parse_single(b"0")?.sampling, Sampling::Deny);
/// assert!(Sampling::Debug.is_sampled() && !Sampling::Defer.is_sampled());
/// # Ok::<(), ripcord_wire::b3::B3Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[allow(
    clippy::exhaustive_enums,
    reason = "B3 knows four states, and does not grow any more"
)]
pub enum Sampling {
    /// Nothing: whoever is called decides.
    #[default]
    Defer,
    /// It is not recorded.
    Deny,
    /// It is recorded.
    Accept,
    /// It is recorded whatever samplers say.
    Debug,
}

impl Sampling {
    /// Whether the trace is recorded: [`Accept`](Self::Accept) or [`Debug`](Self::Debug).
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }

    /// `b3` of this state alone, and its part in the longer form.
    const fn text(self) -> &'static str {
        match self {
            Self::Defer => "",
            Self::Deny => "0",
            Self::Accept => "1",
            Self::Debug => "d",
        }
    }
}

/// What B3 headers say: where the call stands in its trace, and whether that is recorded.
///
/// # Examples
/// ```
/// use ripcord_wire::b3::{B3, Sampling};
///
/// let b3 = B3::parse_single(b"80f198ee56343ba8-e457b5a2e4d86bd1-1")?;
/// let (trace_id, _) = b3.ids.expect("they stand there");
/// assert_eq!(trace_id.to_string(), "000000000000000080f198ee56343ba8");
/// assert_eq!(b3.sampling, Sampling::Accept);
/// # Ok::<(), ripcord_wire::b3::B3Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct B3 {
    /// The trace, and the caller's span in it; `None` where only the sampling is told.
    pub ids: Option<(TraceId, SpanId)>,
    /// The span above the caller's; without [`ids`](Self::ids) it does not go out.
    pub parent: Option<SpanId>,
    /// Whether the trace is recorded.
    pub sampling: Sampling,
}

/// The values of the five headers, as far as they are there.
///
/// # Examples
/// ```
/// use ripcord_wire::b3::{B3, Multi, Sampling};
///
/// let headers = Multi { flags: Some(b"1"), ..Multi::default() };
/// let b3 = B3::parse_multi(&headers)?.expect("there is one");
/// assert_eq!(b3.sampling, Sampling::Debug);
/// # Ok::<(), ripcord_wire::b3::B3Error>(())
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct Multi<'a> {
    /// `x-b3-traceid`: 16 or 32 digits.
    pub trace_id: Option<&'a [u8]>,
    /// `x-b3-spanid`: 16 digits.
    pub span_id: Option<&'a [u8]>,
    /// `x-b3-parentspanid`: 16 digits.
    pub parent_span_id: Option<&'a [u8]>,
    /// `x-b3-sampled`: `1` or `0`, of old senders also `true` or `false`.
    pub sampled: Option<&'a [u8]>,
    /// `x-b3-flags`: `1` is debug, and whatever else it holds is to be ignored.
    pub flags: Option<&'a [u8]>,
}

impl B3 {
    /// The name of the single header.
    pub const SINGLE: &'static str = "b3";
    /// The names of the several headers, in the order of the fields of [`Multi`].
    pub const MULTI: [&'static str; 5] = [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS];

    /// Reads `b3`: `{trace}-{span}[-{0|1|d}[-{parent}]]`, or the sampling alone.
    ///
    /// A parent of zeros is taken for none.
    ///
    /// # Errors
    /// [`B3Error`]: the first thing that is wrong, from the left.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::b3::{B3, B3Error};
    ///
    /// let trace = "80f198ee56343ba864fe8b2a57d3eff7";
    /// let check = |text: String| B3::parse_single(text.as_bytes()).map(|_| ());
    /// assert_eq!(check(format!("{trace}-e457b5a2e4d86bd1-d-05e3ac9a4f6e3b90")), Ok(()));
    /// assert_eq!(check(format!("{trace}-E457b5a2e4d86bd1")), Err(B3Error::Hex("b3", 33)));
    /// assert_eq!(check(trace.to_owned()), Err(B3Error::MissingId));
    /// ```
    ///
    /// # Costs
    /// No allocation; a value of more than 68 bytes is refused by its length.
    pub fn parse_single(value: &[u8]) -> Result<Self, B3Error> {
        if let Some(sampling) = sampling(value) {
            return Ok(Self {
                sampling,
                ..Self::default()
            });
        }
        if value.is_empty() || value.len() > SINGLE_MAX {
            return Err(B3Error::Length(Self::SINGLE, value.len()));
        }
        let mut at: usize = 0;
        let mut fields = value.split(|byte| *byte == b'-').map(|bytes| {
            let field = Field {
                header: Self::SINGLE,
                bytes,
                at,
            };
            at = at.saturating_add(bytes.len()).saturating_add(1);
            field
        });
        let trace_id = fields.next().ok_or(B3Error::MissingId)?.trace_id()?;
        let span_id = fields.next().ok_or(B3Error::MissingId)?.span_id()?;
        let state = fields.next().map(|state| {
            let known = sampling(state.bytes);
            known.ok_or(B3Error::Sampling(Self::SINGLE))
        });
        let state = state.transpose()?;
        let parent = fields.next().map(Field::parent);
        let parent = parent.transpose()?;
        if let Some(more) = fields.next() {
            return Err(B3Error::Delimiter(more.at.saturating_sub(1)));
        }
        Ok(Self {
            ids: Some((trace_id, span_id)),
            parent: parent.flatten(),
            sampling: state.unwrap_or_default(),
        })
    }

    /// Reads the several headers; `None` where they say nothing.
    ///
    /// Debug comes before what `x-b3-sampled` says. A parent of zeros is taken for none.
    ///
    /// # Errors
    /// [`B3Error`], with the name of the header: also where a trace stands without a span, a span
    /// without a trace, or a parent without both.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::b3::{B3, B3Error, Multi};
    ///
    /// let mut headers = Multi {
    ///     trace_id: Some(b"80f198ee56343ba864fe8b2a57d3eff7"),
    ///     sampled: Some(b"1"),
    ///     ..Multi::default()
    /// };
    /// assert_eq!(B3::parse_multi(&headers), Err(B3Error::MissingId));
    /// headers.span_id = Some(b"e457b5a2e4d86bd1");
    /// let b3 = B3::parse_multi(&headers)?.expect("they are there");
    /// assert_eq!(b3.encode_single(), "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
    /// assert_eq!(B3::parse_multi(&Multi::default()), Ok(None));
    /// # Ok::<(), B3Error>(())
    /// ```
    pub fn parse_multi(values: &Multi<'_>) -> Result<Option<Self>, B3Error> {
        let field = |bytes, header| Field {
            header,
            bytes,
            at: 0,
        };
        let ids = match (values.trace_id, values.span_id) {
            (None, None) if values.parent_span_id.is_none() => None,
            (Some(trace), Some(span)) => Some((
                field(trace, TRACE_ID).trace_id()?,
                field(span, SPAN_ID).span_id()?,
            )),
            _ => return Err(B3Error::MissingId),
        };
        let parent = values.parent_span_id.map(|id| field(id, PARENT_SPAN_ID));
        let parent = parent.map(Field::parent).transpose()?;
        let sampled = match values.sampled {
            None => Sampling::Defer,
            Some(b"1" | b"true") => Sampling::Accept,
            Some(b"0" | b"false") => Sampling::Deny,
            Some(_) => return Err(B3Error::Sampling(SAMPLED)),
        };
        let sampling = match values.flags {
            Some(b"1") => Sampling::Debug,
            _ => sampled,
        };
        let b3 = Self {
            ids,
            parent: parent.flatten(),
            sampling,
        };
        Ok((b3 != Self::default()).then_some(b3))
    }

    /// The text of `b3`; empty where there is nothing to say, and then no header is sent.
    ///
    /// The form has no place for a parent where the sampling is [`Sampling::Defer`]; it is left
    /// out then.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::b3::{B3, Sampling};
    ///
    /// let text = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0";
    /// let mut b3 = B3::parse_single(text.as_bytes())?;
    /// assert_eq!(b3.encode_single(), text);
    /// b3.ids = None;
    /// assert_eq!(b3.encode_single(), "0");
    /// # Ok::<(), ripcord_wire::b3::B3Error>(())
    /// ```
    ///
    /// # Costs
    /// One allocation, of 68 bytes at most.
    #[must_use]
    pub fn encode_single(&self) -> String {
        let state = self.sampling.text();
        let Some((trace_id, span_id)) = self.ids else {
            return state.to_owned();
        };
        let mut text = String::with_capacity(SINGLE_MAX);
        text.push_str(ascii::as_str(&trace_id.to_hex()));
        text.push('-');
        text.push_str(ascii::as_str(&span_id.to_hex()));
        if !state.is_empty() {
            text.push('-');
            text.push_str(state);
            if let Some(parent) = self.parent {
                text.push('-');
                text.push_str(ascii::as_str(&parent.to_hex()));
            }
        }
        text
    }

    /// Calls `put` with the name and the value of each header to send.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::b3::B3;
    ///
    /// let b3 = B3::parse_single(b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d")?;
    /// let mut headers = Vec::new();
    /// b3.encode_multi(|name, value| headers.push(format!("{name}: {value}")));
    /// assert_eq!(headers, [
    ///     "x-b3-traceid: 80f198ee56343ba864fe8b2a57d3eff7",
    ///     "x-b3-spanid: e457b5a2e4d86bd1",
    ///     "x-b3-flags: 1",
    /// ]);
    /// # Ok::<(), ripcord_wire::b3::B3Error>(())
    /// ```
    ///
    /// # Costs
    /// No allocation.
    pub fn encode_multi(&self, mut put: impl FnMut(&'static str, &str)) {
        if let Some((trace_id, span_id)) = self.ids {
            put(TRACE_ID, ascii::as_str(&trace_id.to_hex()));
            put(SPAN_ID, ascii::as_str(&span_id.to_hex()));
            if let Some(parent) = self.parent {
                put(PARENT_SPAN_ID, ascii::as_str(&parent.to_hex()));
            }
        }
        match self.sampling {
            Sampling::Defer => {}
            Sampling::Deny | Sampling::Accept => put(SAMPLED, self.sampling.text()),
            Sampling::Debug => put(FLAGS, "1"),
        }
    }
}

/// An id of some header, and where it begins there.
#[derive(Clone, Copy)]
struct Field<'a> {
    header: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl Field<'_> {
    fn trace_id(self) -> Result<TraceId, B3Error> {
        let bytes = if self.bytes.len() == 16 {
            u128::from(u64::from_be_bytes(self.decode()?)).to_be_bytes()
        } else {
            self.decode()?
        };
        TraceId::from_bytes(bytes).ok_or(B3Error::ZeroTraceId)
    }

    fn span_id(self) -> Result<SpanId, B3Error> {
        self.parent()?.ok_or(B3Error::ZeroSpanId)
    }

    fn parent(self) -> Result<Option<SpanId>, B3Error> {
        Ok(SpanId::from_bytes(self.decode()?))
    }

    fn decode<const N: usize>(self) -> Result<[u8; N], B3Error> {
        if self.bytes.len() != N.saturating_mul(2) {
            return Err(B3Error::Length(self.header, self.bytes.len()));
        }
        hex::decode(self.bytes)
            .map_err(|bad| B3Error::Hex(self.header, self.at.saturating_add(bad)))
    }
}

fn sampling(value: &[u8]) -> Option<Sampling> {
    match value {
        b"0" => Some(Sampling::Deny),
        b"1" => Some(Sampling::Accept),
        b"d" => Some(Sampling::Debug),
        _ => None,
    }
}

/// Why B3 headers are refused.
///
/// It names the header, and holds no part of the value, which comes from a stranger; offsets count
/// its bytes.
///
/// # Examples
/// ```
/// use ripcord_wire::b3::{B3, Multi};
///
/// let headers = Multi { sampled: Some(b"yes"), ..Multi::default() };
/// let error = B3::parse_multi(&headers).expect_err("B3 knows 1 and 0");
/// assert_eq!(error.to_string(), "parse b3: no known sampling state in x-b3-sampled");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum B3Error {
    /// In this header an id has so many digits, and not 16 (or 32 for a trace); or `b3` has so
    /// many bytes, of at most 68.
    Length(&'static str, usize),
    /// In this header the byte at this offset is no lower-case hex digit.
    Hex(&'static str, usize),
    /// In `b3` there is a fifth field, after the `-` at this offset.
    Delimiter(usize),
    /// In this header the sampling is none that B3 knows.
    Sampling(&'static str),
    /// The trace id is all zero.
    ZeroTraceId,
    /// The span id is all zero.
    ZeroSpanId,
    /// One id stands there without those that belong to it.
    MissingId,
    /// A header stands there more than once: said by whoever reads the lines.
    Duplicate,
}

impl fmt::Display for B3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse b3: ")?;
        match self {
            Self::Length(header, len) => {
                write!(
                    f,
                    "{len} bytes in {header}, where an id has 16 or 32 hex digits"
                )
            }
            Self::Hex(header, at) => {
                write!(f, "byte {at} of {header} is no lower-case hex digit")
            }
            Self::Delimiter(at) => write!(f, "more than four fields, the fifth after byte {at}"),
            Self::Sampling(header) => write!(f, "no known sampling state in {header}"),
            Self::ZeroTraceId => f.write_str("the trace id is all zero"),
            Self::ZeroSpanId => f.write_str("the span id is all zero"),
            Self::MissingId => f.write_str("an id without those that belong to it"),
            Self::Duplicate => f.write_str("a header stands there more than once"),
        }
    }
}

impl Error for B3Error {}

const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const PARENT_SPAN_ID: &str = "x-b3-parentspanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// Bytes of `b3` with all four fields.
const SINGLE_MAX: usize = 68;
