//! Absolute deadlines of other machines' clocks, read so that a wrong clock cannot stop a service.
//!
//! An absolute deadline counts the time that a message rests in a queue, and believes the sender's
//! clock. A clock that is a minute behind would make every request look expired. Two bounds hold
//! the damage: an expiry by no more than the allowed skew still leaves a budget, and of the
//! requests of the last window only a fifth may be refused; from then on the header is ignored.
//! The window and the share are Finagle's (`DeadlineFilter`: 20 % over 10 s).
//!
//! Where all clocks are right and the queue is too long, the share keeps four fifths of the late
//! requests alive, each with the time that its other headers or the policy give it. That is the price
//! of not knowing which of the two it is, and a reason to prefer relative deadlines.
//!
//! *Costs*: one compare-and-swap for each request with an absolute deadline, and none for others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long refusals are counted together.
const WINDOW_S: u64 = 10;

/// One request of so many may be refused.
const SHARE: u32 = 5;

/// Requests with an absolute deadline in the current window, and how many were refused.
///
/// Packed into one word so that both are counted together: window number (24 bits), seen (20 bits),
/// refused (20 bits). A window that is full of a million requests stops counting and refuses no more.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    word: AtomicU64,
}

const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const WINDOW_MASK: u64 = (1 << 24) - 1;

impl Refusals {
    /// Counts a request; true if it may be refused, and then it is.
    pub(crate) fn refuse(&self, now_s: u64, is_expired: bool) -> bool {
        let window = (now_s / WINDOW_S) & WINDOW_MASK;
        let mut refused = false;
        let step = |word: u64| {
            let (mut seen, mut gone) = match word >> (2 * COUNT_BITS) {
                current if current == window => {
                    ((word >> COUNT_BITS) & COUNT_MAX, word & COUNT_MAX)
                }
                _ => (0, 0),
            };
            if seen == COUNT_MAX {
                refused = false;
                return None;
            }
            seen += 1;
            // The first of a window may go: a service with little load has no fifth.
            refused = is_expired && gone * u64::from(SHARE) < seen;
            gone += u64::from(refused);
            Some((window << (2 * COUNT_BITS)) | (seen << COUNT_BITS) | gone)
        };
        // Relaxed both: a counter that nothing else is read by (counter).
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        refused
    }
}

/// What an absolute deadline leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// So much.
    Budget(Duration),
    /// It passed, by no more than clocks may differ.
    WithinSkew,
    /// It passed.
    Expired,
}

/// Compares two readings of clocks that may differ by `skew_max`.
pub(crate) fn left(deadline: Duration, now: Duration, skew_max: Duration) -> Left {
    match deadline.checked_sub(now) {
        Some(left) if !left.is_zero() => Left::Budget(left),
        _ if now.saturating_sub(deadline) <= skew_max => Left::WithinSkew,
        _ => Left::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= P9
    #[test]
    fn no_more_than_a_fifth_of_a_window_is_refused() {
        let refusals = Refusals::default();
        let refused = (0..1_000).filter(|_| refusals.refuse(100, true)).count();
        assert_eq!(refused, 200);
        assert!(refusals.refuse(110, true), "the next window begins anew");
    }

    #[test]
    fn requests_that_are_in_time_count_towards_the_share() {
        let refusals = Refusals::default();
        assert!((0..99).all(|_| !refusals.refuse(5, false)));
        let refused = (0..100).filter(|_| refusals.refuse(5, true)).count();
        assert_eq!(refused, 40);
    }

    #[test]
    fn a_full_window_refuses_nothing() {
        let refusals = Refusals {
            word: AtomicU64::new(COUNT_MAX << COUNT_BITS),
        };
        assert!(!refusals.refuse(0, true));
        assert!(refusals.refuse(WINDOW_S, true));
    }

    //= P8
    #[test]
    fn an_expiry_within_the_skew_is_told_apart() {
        let ms = Duration::from_millis;
        for (deadline, expect) in [
            (1_500, Left::Budget(ms(500))),
            (1_000, Left::WithinSkew),
            (900, Left::WithinSkew),
            (899, Left::Expired),
            (0, Left::Expired),
        ] {
            assert_eq!(left(ms(deadline), ms(1_000), ms(100)), expect, "{deadline}");
        }
    }
}
