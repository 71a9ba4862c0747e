//! Finagle's deadline: the one that is absolute, and only read.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::timeout::TimeoutError;
use std::time::Duration;

/// The deadline of Finagle and Linkerd: two instants of the wall clock.
///
/// It travels as `com.twitter.finagle.Deadline` in Mux, and as `l5d-ctx-deadline` in HTTP.
///
/// # Examples
/// ```
/// use ripcord_wire::timeout::FinagleDeadline;
/// use std::time::Duration;
///
/// let deadline = FinagleDeadline::parse(b"AAAAAAAAAAEAAAAAAAAABQ==")?;
/// assert_eq!((deadline.timestamp_ns, deadline.deadline_ns), (1, 5));
/// assert_eq!(deadline.remaining(2), Duration::from_nanos(3));
/// assert_eq!(deadline.remaining(9), Duration::ZERO);
/// # Ok::<(), ripcord_wire::timeout::TimeoutError>(())
/// ```
///
/// # Limitations
/// It is as true as the clocks of both hosts agree: one that goes wrong ends requests early. It is
/// never written, and to be heeded only where the peer's clock is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FinagleDeadline {
    /// When the deadline was set: nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// When it passes: nanoseconds since the Unix epoch.
    pub deadline_ns: i64,
}

impl FinagleDeadline {
    /// Reads sixteen bytes, as they are or in base64.
    ///
    /// Both alphabets of RFC 4648 are understood (§4 and §5), with or without padding.
    ///
    /// # Errors
    /// [`TimeoutError::Empty`]; [`Length`](TimeoutError::Length) for other than 16 bytes, or 22 in
    /// base64, or 24 with padding; [`Digit`](TimeoutError::Digit) for a byte that is no base64, or
    /// that has bits beyond the sixteen bytes.
    pub fn parse(value: &[u8]) -> Result<Self, TimeoutError> {
        let unpadded = value.strip_suffix(b"==");
        let text = unpadded.filter(|text| text.len() == TEXT_LEN);
        let bits = match (text.unwrap_or(value), <[u8; 16]>::try_from(value)) {
            (_, Ok(raw)) => u128::from_be_bytes(raw),
            ([], _) => return Err(TimeoutError::Empty),
            (text, _) if text.len() == TEXT_LEN => from_base64(text)?,
            _ => return Err(TimeoutError::Length(value.len())),
        };
        Ok(Self {
            timestamp_ns: low_half(bits >> 64),
            deadline_ns: low_half(bits),
        })
    }

    /// One deadline of two: the later time stamp, the earlier deadline.
    ///
    /// # Examples
    /// ```
    /// use ripcord_wire::timeout::FinagleDeadline;
    ///
    /// let theirs = FinagleDeadline { timestamp_ns: 10, deadline_ns: 900 };
    /// let ours = FinagleDeadline { timestamp_ns: 20, deadline_ns: 1000 };
    /// let both = FinagleDeadline { timestamp_ns: 20, deadline_ns: 900 };
    /// assert_eq!(theirs.combined(ours), both);
    /// ```
    #[must_use]
    pub fn combined(self, other: Self) -> Self {
        Self {
            timestamp_ns: self.timestamp_ns.max(other.timestamp_ns),
            deadline_ns: self.deadline_ns.min(other.deadline_ns),
        }
    }

    /// What is left at an instant of the wall clock; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(&self, now_ns: i64) -> Duration {
        if self.deadline_ns <= now_ns {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.deadline_ns.abs_diff(now_ns))
    }
}

fn low_half(bits: u128) -> i64 {
    let bytes = bits.to_be_bytes();
    bytes.last_chunk().copied().map_or(0, i64::from_be_bytes)
}

/// The 128 bits of 22 digits: the last one has two bits to add, and four to spare.
fn from_base64(text: &[u8]) -> Result<u128, TimeoutError> {
    let mut bits = 0;
    for (at, byte) in text.iter().enumerate() {
        let digit = match byte {
            b'-' => Some(62),
            b'_' => Some(63),
            byte => ALPHABET.iter().position(|known| known == byte),
        };
        let digit = digit.ok_or(TimeoutError::Digit(at))? as u128;
        let is_last = at.saturating_add(1) == TEXT_LEN;
        if is_last && digit & 0x0f != 0 {
            return Err(TimeoutError::Digit(at));
        }
        bits = if is_last {
            bits << 2 | digit >> 4
        } else {
            bits << 6 | digit
        };
    }
    Ok(bits)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Digits of sixteen bytes in base64.
const TEXT_LEN: usize = 22;
