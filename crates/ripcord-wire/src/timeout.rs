//! Deadlines in headers: how much time the caller leaves, as text.
//!
//! A [`TimeoutHeader`] is a name and one of four grammars ([`Unit`]). All of them are relative:
//! they need no clock, and count too little only by the time on the wire. The one absolute
//! deadline that is read here is Finagle's ([`FinagleDeadline`]).
//!
//! Which headers a service reads, what it makes of several, and to what it clamps a strange wish
//! is a policy, and not here.
//!
//! # Examples
//! One hop: what arrived, less what has been spent, goes on.
//! ```
//! use ripcord_wire::timeout::{TimeoutError, TimeoutHeader};
//! use std::time::Duration;
//!
//! let arrived = TimeoutHeader::GRPC.parse(b"1500m")?;
//! let spent = Duration::from_micros(200_300);
//! let sent = TimeoutHeader::REQUEST.encode(arrived.saturating_sub(spent));
//! assert_eq!(sent.map(|sent| sent.to_string()).as_deref(), Some("1300"));
//!
//! let too_late = Duration::from_secs(2);
//! let sent = TimeoutHeader::REQUEST.encode(arrived.saturating_sub(too_late));
//! assert_eq!(sent, None, "no header, and no call either");
//! # Ok::<(), TimeoutError>(())
//! ```
//!
//! # Invariants
//! 1. Never zero: several servers read zero as "no time-out". What has no time left is not sent.
//! 2. Rounded up: the callee does not give up before its caller, whose own timer decides. So an
//!    [`Encoded`] says what it rounded to, and the caller can wait exactly as long. Only what is
//!    longer than the grammar can say is rounded down, to the longest that it can.
//! 3. Reading is exact up to a nanosecond, of which a part counts as a whole one; only a zero that
//!    is written down is zero.
//! 4. Digits are ASCII digits. There is no sign, no white space, and no more than one unit.
//!
//! *Costs*: nothing here allocates, except a header name of one's own that is not lower-case.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::ascii;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

pub use crate::finagle::FinagleDeadline;

/// The grammar of a time-out.
///
/// # Examples
/// ```
/// use ripcord_wire::timeout::{TimeoutHeader, Unit};
/// use std::time::Duration;
///
/// let check = |unit, text: &str| {
///     let header = TimeoutHeader::new("timeout", unit).expect("a header name");
///     header.parse(text.as_bytes()).ok()
/// };
/// assert_eq!(check(Unit::Grpc, "1500m"), Some(Duration::from_millis(1500)));
/// assert_eq!(check(Unit::Millis, "1500"), Some(Duration::from_millis(1500)));
/// assert_eq!(check(Unit::Seconds, "1.5"), Some(Duration::from_millis(1500)));
/// assert_eq!(check(Unit::Human, "1.5s"), Some(Duration::from_millis(1500)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Unit {
    /// 1 to 8 digits and one of `H M S m u n`: `TimeoutValue TimeoutUnit` of gRPC over HTTP/2.
    Grpc,
    /// 1 to 10 digits: milliseconds.
    Millis,
    /// 1 to 10 digits, perhaps a point and 1 to 9 more: seconds.
    Seconds,
    /// 1 to 18 digits, perhaps a point and 1 to 9 more, and one of `ns us ms s m h`.
    Human,
}

/// A header that tells how much time is left.
///
/// # Examples
/// ```
/// use ripcord_wire::timeout::{TimeoutHeader, Unit};
/// use std::time::Duration;
///
/// let left = TimeoutHeader::GRPC.parse(b"99999999H")?;
/// assert_eq!(left.as_secs(), 99_999_999 * 3600, "what it comes to is for a policy to say");
///
/// let own = TimeoutHeader::new("X-Time-Left", Unit::Human)?;
/// assert_eq!(own.name(), "x-time-left");
/// assert_eq!(own.encode(Duration::from_millis(250)).expect("not zero").as_str(), "250ms");
/// # Ok::<(), ripcord_wire::timeout::TimeoutError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimeoutHeader {
    name: Cow<'static, str>,
    unit: Unit,
}

impl TimeoutHeader {
    /// `grpc-timeout`, of gRPC over HTTP/2.
    pub const GRPC: Self = Self::fixed("grpc-timeout", Unit::Grpc);
    /// `connect-timeout-ms`, of the Connect protocol.
    pub const CONNECT: Self = Self::fixed("connect-timeout-ms", Unit::Millis);
    /// `x-request-timeout-ms`, ripcord's own.
    pub const REQUEST: Self = Self::fixed("x-request-timeout-ms", Unit::Millis);
    /// `x-envoy-expected-rq-timeout-ms`: so long will an Envoy wait that calls this service.
    ///
    /// Only where an Envoy stands in front: any other client can send it as well.
    pub const ENVOY_EXPECTED: Self = Self::fixed("x-envoy-expected-rq-timeout-ms", Unit::Millis);
    /// `x-envoy-upstream-rq-timeout-ms`: so long shall the Envoy on the way out wait, with its
    /// retries.
    pub const ENVOY_UPSTREAM: Self = Self::fixed("x-envoy-upstream-rq-timeout-ms", Unit::Millis);
    /// `x-server-timeout`, of Google's REST interfaces.
    pub const SERVER: Self = Self::fixed("x-server-timeout", Unit::Seconds);

    const fn fixed(name: &'static str, unit: Unit) -> Self {
        Self {
            name: Cow::Borrowed(name),
            unit,
        }
    }

    /// Makes a header of one's own; the name becomes lower-case.
    ///
    /// # Errors
    /// [`TimeoutError::Name`]: the name is empty, or has a byte that no header name may have
    /// (RFC 9110 §5.6.2).
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::timeout::{TimeoutError, TimeoutHeader, Unit};
    ///
    /// assert!(TimeoutHeader::new("x-client-timeout", Unit::Human).is_ok());
    /// let error = TimeoutHeader::new("time out", Unit::Seconds);
    /// assert_eq!(error, Err(TimeoutError::Name(4)));
    /// ```
    pub fn new(name: impl Into<Cow<'static, str>>, unit: Unit) -> Result<Self, TimeoutError> {
        let mut name = name.into();
        if name.is_empty() {
            return Err(TimeoutError::Name(0));
        }
        if let Some(bad) = name.bytes().position(|byte| !is_token(byte)) {
            return Err(TimeoutError::Name(bad));
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        Ok(Self { name, unit })
    }

    /// The name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The grammar of the value.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Reads the value of one header line.
    ///
    /// Zero is a deadline that has passed. Nothing is clamped: a caller may claim ten thousand
    /// years, and what to make of it is a matter of policy. Add it to an instant with
    /// `checked_add`.
    ///
    /// # Errors
    /// [`TimeoutError`], with the offset of the first byte that does not belong there.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::timeout::{TimeoutError, TimeoutHeader};
    /// use std::time::Duration;
    ///
    /// assert_eq!(TimeoutHeader::GRPC.parse(b"0S"), Ok(Duration::ZERO));
    /// assert_eq!(TimeoutHeader::GRPC.parse(b"5s"), Err(TimeoutError::Unit(1)));
    /// assert_eq!(TimeoutHeader::GRPC.parse(b"+5S"), Err(TimeoutError::Digit(0)));
    /// assert_eq!(TimeoutHeader::GRPC.parse(b"100000000S"), Err(TimeoutError::TooLong(8)));
    /// ```
    ///
    /// # Costs
    /// The look ends with the first byte that does not belong there: a bounded number of steps,
    /// however long the value is.
    pub fn parse(&self, value: &[u8]) -> Result<Duration, TimeoutError> {
        let grammar = self.unit.grammar();
        let (whole, digits) = number(value, 0, grammar.digits_max)?;
        let mut end = digits;
        let mut part = (0, 0);
        if grammar.has_fraction && value.get(end) == Some(&b'.') {
            end = end.saturating_add(1);
            part = number(value, end, FRACTION_DIGITS_MAX)?;
            end = end.saturating_add(part.1);
        }
        let rest = value.get(end..).unwrap_or_default();
        let unit = grammar.units.iter().find(|unit| unit.is(rest));
        let unit = unit.ok_or(match grammar.units {
            [Length { name: "", .. }] => TimeoutError::Digit(end),
            _ => TimeoutError::Unit(end),
        })?;
        unit.times(whole, part).ok_or(TimeoutError::Overflow)
    }

    /// The text for what is left, rounded up; `None` for zero, which is not sent.
    ///
    /// [`Unit::Grpc`] takes the finest unit that does with eight digits, which adds less than
    /// 0.001 %; [`Unit::Millis`] adds less than a millisecond; the others are exact ([`Unit::Human`]
    /// up to 31 years). What is longer than the grammar can say (115 days for milliseconds, 317
    /// years for seconds, 11 thousand years for gRPC) becomes the longest that it can: see
    /// [`Encoded::value`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::timeout::TimeoutHeader;
    /// use std::time::Duration;
    ///
    /// let left = Duration::from_micros(1_234_567_891);
    /// let sent = TimeoutHeader::GRPC.encode(left).expect("not zero");
    /// assert_eq!(sent.as_str(), "1234568m");
    /// assert_eq!(sent.value(), Duration::from_millis(1_234_568));
    ///
    /// assert_eq!(TimeoutHeader::REQUEST.encode(left).expect("not zero").as_str(), "1234568");
    /// assert_eq!(TimeoutHeader::REQUEST.encode(Duration::ZERO), None);
    /// ```
    #[must_use]
    pub fn encode(&self, remaining: Duration) -> Option<Encoded> {
        self.encode_nanos(remaining.as_nanos())
    }

    /// The same with so many significant digits (at least one), rounded up.
    ///
    /// Time that is left differs from call to call, and a header that always differs cannot be
    /// compressed: each one puts an entry into the table of HPACK. With two or three digits there
    /// are few. It is rounded up for the reason that [`encode`](Self::encode) has: so the callee
    /// may work up to 10 %, or 1 %, longer than its caller waits, and never shorter.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::timeout::TimeoutHeader;
    /// use std::time::Duration;
    ///
    /// let left = Duration::from_nanos(1_234_567_891);
    /// let sent = TimeoutHeader::REQUEST.encode_rounded(left, 2).expect("not zero");
    /// assert_eq!(sent.as_str(), "1300");
    /// assert_eq!(sent.value(), Duration::from_millis(1300));
    /// ```
    #[must_use]
    pub fn encode_rounded(&self, remaining: Duration, digits: u32) -> Option<Encoded> {
        let nanos = remaining.as_nanos();
        let more = nanos
            .checked_ilog10()?
            .saturating_sub(digits.saturating_sub(1));
        let step = 10_u128.saturating_pow(more);
        self.encode_nanos(nanos.div_ceil(step).saturating_mul(step))
    }

    fn encode_nanos(&self, nanos: u128) -> Option<Encoded> {
        if nanos == 0 {
            return None;
        }
        let grammar = self.unit.grammar();
        if self.unit == Unit::Seconds {
            return Encoded::seconds(nanos, grammar.count_max);
        }
        let (mut count, mut unit) = grammar.fit(nanos)?;
        if self.unit == Unit::Human {
            // For people: in the longest unit that says the same.
            let exact = count.saturating_mul(unit.nanos);
            let is_exact = |longer: &&Length| exact.checked_rem(longer.nanos) == Some(0);
            unit = grammar.units.iter().rfind(is_exact).unwrap_or(unit);
            count = exact.checked_div(unit.nanos)?;
        }
        let value = to_duration(count.saturating_mul(unit.nanos))?;
        Encoded::counted(value, count, unit.name)
    }
}

/// The text of a time-out, and the duration that it says.
///
/// # Examples
/// ```
/// use ripcord_wire::timeout::TimeoutHeader;
/// use std::time::Duration;
///
/// let header = TimeoutHeader::CONNECT;
/// let sent = header.encode(Duration::from_nanos(1)).expect("not zero");
/// assert_eq!(sent.as_str(), "1");
/// assert_eq!(header.parse(sent.as_str().as_bytes()), Ok(sent.value()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    buf: [u8; 24],
    len: u8,
    value: Duration,
}

impl Encoded {
    /// Digits and a unit, without the machinery of formatting: each call of a service writes one.
    fn counted(value: Duration, count: u128, unit: &str) -> Option<Self> {
        let mut count = u64::try_from(count).ok()?;
        let mut digits = [b'0'; 20];
        let mut begin = digits.len();
        loop {
            begin = begin.checked_sub(1)?;
            *digits.get_mut(begin)? = b'0'.checked_add(u8::try_from(count % 10).ok()?)?;
            count /= 10;
            if count == 0 {
                break;
            }
        }
        let digits = digits.get(begin..)?;
        let len = digits.len().checked_add(unit.len())?;
        let mut buf = [0; 24];
        buf.get_mut(..digits.len())?.copy_from_slice(digits);
        buf.get_mut(digits.len()..len)?
            .copy_from_slice(unit.as_bytes());
        Some(Self {
            buf,
            len: u8::try_from(len).ok()?,
            value,
        })
    }

    /// `None` would be a text that does not fit: the grammars admit none of more than 20 bytes.
    fn new(value: Duration, text: fmt::Arguments<'_>) -> Option<Self> {
        let mut encoded = Self {
            buf: [0; 24],
            len: 0,
            value,
        };
        encoded.write_fmt(text).ok()?;
        Some(encoded)
    }

    /// Exact, without zeros at the end of the fraction.
    fn seconds(nanos: u128, seconds_max: u128) -> Option<Self> {
        let value = to_duration(nanos.min(seconds_max.saturating_mul(SECOND)))?;
        let (seconds, mut part) = (value.as_secs(), value.subsec_nanos());
        if part == 0 {
            return Self::new(value, format_args!("{seconds}"));
        }
        let mut width = FRACTION_DIGITS_MAX;
        while part % 10 == 0 {
            part /= 10;
            width = width.saturating_sub(1);
        }
        Self::new(value, format_args!("{seconds}.{part:0width$}"))
    }

    /// The text of the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        ascii::as_str(self.buf.get(..usize::from(self.len)).unwrap_or_default())
    }

    /// The duration that the text says: at least what was asked for.
    ///
    /// Whoever waits for the answer can wait exactly so long. It is less than what was asked for
    /// only where that is more than the grammar can say.
    #[must_use]
    pub fn value(&self) -> Duration {
        self.value
    }
}

impl fmt::Write for Encoded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let end = start.checked_add(text.len()).ok_or(fmt::Error)?;
        let place = self.buf.get_mut(start..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoded").field(&self.as_str()).finish()
    }
}

impl AsRef<str> for Encoded {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Why a time-out is refused.
///
/// It holds no part of the value, which comes from a stranger; offsets count its bytes.
///
/// # Examples
/// ```
/// use ripcord_wire::timeout::TimeoutHeader;
///
/// let error = TimeoutHeader::GRPC.parse(b"1H30M").expect_err("one unit alone");
/// assert_eq!(error.to_string(), "parse a time-out: no known unit at byte 1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TimeoutError {
    /// There is no value.
    Empty,
    /// The number goes on at this offset, beyond the digits that the grammar allows.
    TooLong(usize),
    /// The byte at this offset, or the end, is no digit where one belongs.
    Digit(usize),
    /// What begins at this offset is no unit of the grammar.
    Unit(usize),
    /// More than 584 thousand million years.
    Overflow,
    /// The byte at this offset may not stand in the name of a header, or there is no name.
    Name(usize),
    /// So many bytes, which no deadline of Finagle has: 16, or 22 or 24 in base64.
    Length(usize),
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parse a time-out: ")?;
        match self {
            Self::Empty => f.write_str("there is no value"),
            Self::TooLong(at) => write!(f, "byte {at} is one digit too many"),
            Self::Digit(at) => write!(f, "no digit at byte {at}"),
            Self::Unit(at) => write!(f, "no known unit at byte {at}"),
            Self::Overflow => write!(f, "more than {} seconds", u64::MAX),
            Self::Name(at) => write!(f, "byte {at} may not stand in a header name"),
            Self::Length(len) => {
                write!(f, "{len} bytes instead of 16, or of 22 or 24 in base64")
            }
        }
    }
}

impl Error for TimeoutError {}

/// What the grammars differ in.
struct Grammar {
    /// Digits before the point, and the greatest number that they say.
    digits_max: usize,
    count_max: u128,
    has_fraction: bool,
    /// The finest comes first.
    units: &'static [Length],
}

struct Length {
    name: &'static str,
    nanos: u128,
}

impl Unit {
    const fn grammar(self) -> &'static Grammar {
        match self {
            Self::Grpc => &GRPC,
            Self::Millis => &MILLIS,
            Self::Seconds => &SECONDS,
            Self::Human => &HUMAN,
        }
    }
}

impl Grammar {
    /// A duration in the finest unit that has digits enough, rounded up; or the longest one.
    fn fit(&self, nanos: u128) -> Option<(u128, &Length)> {
        for unit in self.units {
            let count = nanos.div_ceil(unit.nanos);
            let is_said = to_duration(count.saturating_mul(unit.nanos)).is_some();
            if count <= self.count_max && is_said {
                return Some((count, unit));
            }
        }
        let longest = self.units.last()?;
        let count = Duration::MAX.as_nanos().checked_div(longest.nanos)?;
        Some((count.min(self.count_max), longest))
    }
}

impl Length {
    fn is(&self, name: &[u8]) -> bool {
        self.name.as_bytes() == name
    }

    /// `whole` units, and of one more the part that `digits` digits after the point say.
    fn times(&self, whole: u64, (part, digits): (u64, usize)) -> Option<Duration> {
        let scale = 10_u128.checked_pow(u32::try_from(digits).ok()?)?;
        let part = u128::from(part).checked_mul(self.nanos)?.div_ceil(scale);
        to_duration(
            u128::from(whole)
                .checked_mul(self.nanos)?
                .checked_add(part)?,
        )
    }
}

fn to_duration(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / SECOND).ok()?;
    let part = u32::try_from(nanos % SECOND).ok()?;
    Some(Duration::new(seconds, part))
}

/// The number that begins at an offset, and how many digits it has: at least one.
fn number(value: &[u8], at: usize, digits_max: usize) -> Result<(u64, usize), TimeoutError> {
    if value.is_empty() {
        return Err(TimeoutError::Empty);
    }
    let mut number: u64 = 0;
    let mut digits = 0;
    for byte in value.iter().skip(at).take_while(|b| b.is_ascii_digit()) {
        if digits == digits_max {
            return Err(TimeoutError::TooLong(at.saturating_add(digits)));
        }
        digits = digits.saturating_add(1);
        let shifted = number.checked_mul(10);
        let next = shifted.and_then(|n| n.checked_add(u64::from(byte & 0x0f)));
        number = next.ok_or(TimeoutError::Overflow)?;
    }
    if digits == 0 {
        return Err(TimeoutError::Digit(at));
    }
    Ok((number, digits))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Digits after the point: nanoseconds of a second.
const FRACTION_DIGITS_MAX: usize = 9;

const SECOND: u128 = 1_000_000_000;

const fn length(name: &'static str, nanos: u128) -> Length {
    Length { name, nanos }
}

const GRPC: Grammar = Grammar {
    digits_max: 8,
    count_max: 99_999_999,
    has_fraction: false,
    units: &[
        length("n", 1),
        length("u", 1_000),
        length("m", 1_000_000),
        length("S", SECOND),
        length("M", 60 * SECOND),
        length("H", 3600 * SECOND),
    ],
};

const MILLIS: Grammar = Grammar {
    digits_max: 10,
    count_max: 9_999_999_999,
    has_fraction: false,
    units: &[length("", 1_000_000)],
};

const SECONDS: Grammar = Grammar {
    digits_max: 10,
    count_max: 9_999_999_999,
    has_fraction: true,
    units: &[length("", SECOND)],
};

const HUMAN: Grammar = Grammar {
    digits_max: 18,
    count_max: 999_999_999_999_999_999,
    has_fraction: true,
    units: &[
        length("ns", 1),
        length("us", 1_000),
        length("ms", 1_000_000),
        length("s", SECOND),
        length("m", 60 * SECOND),
        length("h", 3600 * SECOND),
    ],
};
