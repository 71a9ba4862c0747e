//! Deadlines: instants as 64-bit ticks, who owns one, and the search for the nearest.
//!
//! # Invariants
//! 1. The order of ticks is the order of their instants, between the base and
//!    [`Tick::NEVER`]; what lies outside is rounded to these two.
//! 2. [`Tick::NEVER`] is no deadline: nothing is ever armed for it or compared with it.

use crate::clock::system_now;
use crate::eval;
use crate::node::Node;
use crate::sync::{Arc, OnceLock};
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Nanoseconds since a base in the far past of this process.
///
/// 64 bits last 584 years; what lies before the base is 0, which is past, and
/// what lies beyond is [`Tick::NEVER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn of(at: Instant) -> Self {
        let since = at.saturating_duration_since(base());
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(self) -> Instant {
        base() + Duration::from_nanos(self.0)
    }

    /// The instant, unless this stands for none.
    pub(crate) fn known(self) -> Option<Instant> {
        (!self.is_never()).then(|| self.instant())
    }

    /// Saturates: a grace that reaches beyond the range has no end.
    pub(crate) fn plus(self, more: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(more.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }
}

/// Ten years ago where the platform can express that, so that a paused or faked
/// clock that lags behind the system's is still after the base.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(|| {
        let now = system_now();
        let days = [3650, 365, 30, 1].map(|days| Duration::from_secs(days * 24 * 3600));
        days.into_iter()
            .find_map(|ago| now.checked_sub(ago))
            .unwrap_or(now)
    })
}

/// The deadline that a context is under, and who set it.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use std::time::Duration;
///
/// let request = Ctx::background().named("request").with_timeout(Duration::from_secs(2));
/// let query = request.named("query").with_timeout(Duration::from_secs(10));
/// let deadline = query.deadline().expect("inherited");
/// assert_eq!(deadline.owner(), Some("request"), "the tighter one is in force");
/// assert!(deadline.site().is_some());
/// assert!(query.remaining() <= Some(Duration::from_secs(2)));
/// ```
///
/// # Limitations
/// It keeps the context that set it alive: take out what is needed and drop it.
#[derive(Clone)]
pub struct Deadline {
    at: Tick,
    owner: Arc<Node>,
}

impl Deadline {
    pub(crate) fn new(at: Tick, owner: Arc<Node>) -> Self {
        Self { at, owner }
    }

    /// The instant, by the clock of the tree.
    ///
    /// Below a shield it is later than what was set, by the grace (spec/context.md C82). To a peer
    /// send what [remains](crate::Ctx::remaining): instants of two machines have no common base.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at.instant()
    }

    /// The name of the context that set the deadline, or the nearest above it.
    ///
    /// The same name that the cause will tell when the deadline passes.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.name()
    }

    /// Where the deadline was set.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.owner.location()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Deadline");
        out.field("at", &self.at());
        if let Some(owner) = self.owner() {
            out.field("owner", &owner);
        }
        if let Some(site) = self.site() {
            out.field("site", &format_args!("{site}"));
        }
        out.finish()
    }
}

/// The nearest deadline that `node` is under.
pub(crate) fn nearest(node: &Arc<Node>) -> Option<Deadline> {
    eval::deadline(node).map(|(at, owner)| Deadline::new(at, Arc::clone(owner)))
}

#[cfg(all(test, not(ripcord_loom)))]
mod tests {
    use super::*;

    #[test]
    fn ticks_saturate_at_both_ends() {
        let now = system_now();
        assert_eq!(Tick::of(base()), Tick::from_raw(0));
        assert_eq!(Tick::of(now).plus(Duration::MAX), Tick::NEVER);
        let later = now + Duration::from_nanos(1_234_567_891);
        assert_eq!(Tick::of(later).instant(), later);
    }
}
