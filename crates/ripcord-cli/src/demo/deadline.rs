//! The budget that travels: what is left of the caller's time, in a header, as milliseconds.
//!
//! A relative time needs no common clock. It is rounded up and never 0, and each hop keeps back
//! a reserve, so that the answer "too late" still arrives in time.

use axum::http::{HeaderMap, HeaderValue};
use ripcord::Ctx;
use std::time::Duration;

/// What a request may take at the most, whatever its client says.
pub(super) const BUDGET: Duration = Duration::from_secs(3);

/// The header that carries it.
pub(super) const HEADER: &str = "x-request-timeout-ms";

/// What a caller keeps for itself.
const RESERVE: Duration = Duration::from_millis(20);

/// The budget of a request that comes in: what its client says, and [`BUDGET`] at the most.
pub(super) fn received(headers: &HeaderMap) -> Duration {
    let said = headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(BUDGET, Duration::from_millis);
    said.min(BUDGET)
}

/// The budget for a call under `ctx`: what is left, without the reserve.
pub(super) fn to_send(ctx: &Ctx) -> Duration {
    let left = ctx.remaining().unwrap_or(BUDGET);
    left.saturating_sub(RESERVE).max(Duration::from_millis(1))
}

/// A budget as the header carries it.
pub(super) fn value(budget: Duration) -> HeaderValue {
    let millis = budget.as_micros().div_ceil(1000).max(1);
    HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_rounded_up_and_never_zero() {
        for (micros, expect) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            assert_eq!(value(Duration::from_micros(micros)), expect);
        }
    }

    #[test]
    fn what_a_client_says_is_bounded() {
        let mut headers = HeaderMap::new();
        assert_eq!(received(&headers), BUDGET);
        for (text, expect) in [
            ("250", Duration::from_millis(250)),
            ("99999", BUDGET),
            ("99999999999999999999999", BUDGET),
            ("-1", BUDGET),
            ("soon", BUDGET),
        ] {
            headers.insert(HEADER, HeaderValue::from_static(text));
            assert_eq!(received(&headers), expect, "{text}");
        }
    }
}
