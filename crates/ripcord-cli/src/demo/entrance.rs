//! What each entrance believes of the headers that it gets, and what a caller tells.
//!
//! | Entrance | Believes |
//! |---|---|
//! | a stranger's: `/checkout` | a relative deadline and a trace; no request id, no baggage, no clock |
//! | a partner's: `/partner/checkout` | the same, and an absolute deadline |
//! | a colleague's: every service behind the gateway | everything |

use ripcord_propagation::{DeadlinePolicy, PeerPolicy, Propagation};
use std::time::Duration;

/// What a request may take at the most, whatever its client says.
pub(super) const BUDGET: Duration = Duration::from_secs(3);

/// What a service keeps back of its own time when it calls another one, so that the answer "too
/// late" still arrives in time.
const RESERVE: Duration = Duration::from_millis(20);

/// By so much the clocks of partners may be wrong.
const SKEW_MAX: Duration = Duration::from_secs(1);

/// Anybody may send anything.
pub(super) fn stranger() -> Propagation {
    built(Propagation::builder().edge())
}

/// Anybody who is known to have a clock.
pub(super) fn partner() -> Propagation {
    built(Propagation::builder().edge().trust_clocks(SKEW_MAX))
}

/// One of our own.
pub(super) fn colleague() -> Propagation {
    built(Propagation::builder())
}

/// What one of our own is told: everything, and less time than there is.
pub(super) fn told_to_colleagues() -> PeerPolicy {
    PeerPolicy::internal().with_reserve(RESERVE)
}

fn built(builder: ripcord_propagation::Builder) -> Propagation {
    let policy = DeadlinePolicy::new(Duration::from_millis(1), BUDGET);
    let policy = policy.and_then(|policy| policy.with_default(BUDGET));
    let policy = policy.expect("1 ms is less than the budget, which is its own default");
    let built = builder.deadline(policy).build();
    built.expect("no header and no value is configured by name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, HeaderValue};

    /// The budget of a request with these headers.
    fn budget(of: &Propagation, headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        of.extract(&map).budget
    }

    #[test]
    fn what_a_client_says_is_bounded() {
        for (text, expect) in [
            ("250", Duration::from_millis(250)),
            ("99999", BUDGET),
            ("99999999999999999999999", BUDGET),
            ("-1", BUDGET),
            ("soon", BUDGET),
        ] {
            let found = budget(&stranger(), &[("x-request-timeout-ms", text)]);
            assert_eq!(found, Some(expect), "{text}");
        }
    }

    #[test]
    fn only_partners_are_believed_about_the_time_of_day() {
        let long_ago = [("x-request-deadline", "1000")];
        assert_eq!(budget(&stranger(), &long_ago), Some(BUDGET));
        assert_eq!(budget(&colleague(), &long_ago), Some(BUDGET));
        assert_eq!(budget(&partner(), &long_ago), Some(Duration::ZERO));
    }
}
