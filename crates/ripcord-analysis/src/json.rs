//! Durations in JSON: whole nanoseconds, so that no reader has to know of two fields.

use serde::Serializer;
use std::time::Duration;

/// A duration as nanoseconds.
pub(crate) fn ns<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A duration as nanoseconds, or null.
#[allow(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(crate) fn opt_ns<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => ns(time, to),
        None => to.serialize_none(),
    }
}
