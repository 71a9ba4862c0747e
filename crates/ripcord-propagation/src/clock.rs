//! The door to time of day and to randomness: what ids and time stamps are made of.
//!
//! Deadlines do not come through here: they are on the monotonic clock of their tree, which no change
//! of the time of day moves. The time of day is for what other machines have to understand: the age of
//! signatures, absolute deadlines, and the order of request ids.
//!
//! *Invariant*: ids are never zero, which the standards reserve for "none".
#![expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the time of day"
)]

use rand::Rng as _;
use ripcord_wire::request_id::RequestId;
use ripcord_wire::trace::{SpanId, TraceId};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where ids and time stamps come from; replaced in tests.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Fills with unpredictable bytes: an id that can be guessed could be used to cancel a request.
    pub(crate) random: fn(&mut [u8]),
    /// Time since the Unix epoch.
    pub(crate) unix: fn() -> Duration,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            // A cryptographic generator for each thread, reseeded by the system's.
            random: |bytes| rand::rng().fill_bytes(bytes),
            // A clock before 1970 counts as 1970: ids stay unique by their random part.
            unix: || {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
            },
        }
    }
}

impl Origin {
    /// A trace and its first span, from one draw.
    pub(crate) fn trace(self) -> (TraceId, SpanId) {
        loop {
            let bytes: [u8; 24] = self.bytes();
            let (trace, span) = bytes.split_at(16);
            let trace = trace.try_into().ok().and_then(TraceId::from_bytes);
            let span = span.try_into().ok().and_then(SpanId::from_bytes);
            // All zero is no id: once in 2^64 draws.
            if let (Some(trace), Some(span)) = (trace, span) {
                return (trace, span);
            }
        }
    }

    pub(crate) fn span(self) -> SpanId {
        loop {
            if let Some(span) = SpanId::from_bytes(self.bytes()) {
                return span;
            }
        }
    }

    pub(crate) fn request_id(self) -> RequestId {
        let ms = u64::try_from((self.unix)().as_millis()).unwrap_or(u64::MAX);
        RequestId::uuid_v7(ms, self.bytes())
    }

    pub(crate) fn unix_s(self) -> u64 {
        (self.unix)().as_secs()
    }

    fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }
}
