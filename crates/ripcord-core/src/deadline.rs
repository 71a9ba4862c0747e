//! Deadlines: instants as 64-bit ticks, who owns one, and the search for the nearest.
//!
//! # Invariants
//! 1. The order of ticks is the order of their instants, between the base and
//!    [`Tick::NEVER`]; what lies outside is rounded to these two.
//! 2. [`Tick::NEVER`] is no deadline: nothing is ever armed for it or compared with it.

use crate::cause::Cancelled;
use crate::clock::system_now;
use crate::ctx::Ctx;
use crate::eval;
use crate::node::Node;
use crate::sync::{Arc, OnceLock};
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Nanoseconds since ten years before the first use in this process.
///
/// 64 bits last 584 years; what lies before is 0, which is past, and what lies beyond is
/// [`Tick::NEVER`]. So a paused or faked clock that lags behind the system's has room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn of(at: Instant) -> Self {
        let anchor = anchor();
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(match at.checked_duration_since(anchor) {
            Some(after) => nanos(after).saturating_add(ANCHOR),
            None => ANCHOR.saturating_sub(nanos(anchor.duration_since(at))),
        })
    }

    /// Not of [`NEVER`](Self::NEVER). The anchor stands for instants that the system cannot express:
    /// no clock has shown one.
    pub(crate) fn instant(self) -> Instant {
        let anchor = anchor();
        let instant = match self.0.checked_sub(ANCHOR) {
            Some(after) => anchor.checked_add(Duration::from_nanos(after)),
            None => anchor.checked_sub(Duration::from_nanos(ANCHOR - self.0)),
        };
        instant.unwrap_or(anchor)
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

/// The tick of the [`anchor`].
const ANCHOR: u64 = 3_650 * 24 * 3_600 * 1_000_000_000;

/// The instant of the first use. Ticks are counted from it in both directions, as the system need
/// not be able to express one of ten years ago.
fn anchor() -> Instant {
    static ANCHOR: OnceLock<Instant> = OnceLock::new();
    *ANCHOR.get_or_init(system_now)
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

impl Ctx {
    /// What is left until the deadline, or why the context is done: [`check`](Self::check) and
    /// [`remaining`](Self::remaining) with one reading of the clock.
    ///
    /// For code that is about to start something with a timeout of its own. It never says that
    /// nothing is left: that is the error.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Ctx};
    /// use std::time::Duration;
    ///
    /// /// How long to wait for a lock: at most five seconds.
    /// fn patience(ctx: &Ctx) -> Result<Duration, Cancelled> {
    ///     let most = Duration::from_secs(5);
    ///     Ok(ctx.check_remaining()?.map_or(most, |left| left.min(most)))
    /// }
    /// let request = Ctx::background().with_timeout(Duration::from_secs(1));
    /// assert!(patience(&request)? <= Duration::from_secs(1));
    /// assert_eq!(patience(&Ctx::background())?, Duration::from_secs(5));
    /// assert!(patience(&request.with_timeout(Duration::ZERO)).is_err());
    /// # Ok::<(), Cancelled>(())
    /// ```
    ///
    /// # Costs
    /// Two walks up to the nearest deadline and one reading of the clock; those of
    /// [`check`](Self::check) and [`remaining`](Self::remaining) where it is done, below a merge, a
    /// shield or a source.
    ///
    /// # Errors
    /// [`Cancelled`] with the cause, if the context is done.
    pub fn check_remaining(&self) -> Result<Option<Duration>, Cancelled> {
        let node = self.target();
        if let Some(node) = node
            && let Some((at, owner)) = eval::deadline(node)
        {
            let left = at.instant().saturating_duration_since(owner.now());
            if !left.is_zero() && !eval::may_have_ended(node) {
                return Ok(Some(left));
            }
        }
        self.check()?;
        Ok(self.remaining().filter(|left| !left.is_zero()))
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
        assert_eq!(Tick::of(now).plus(Duration::MAX), Tick::NEVER);
        let later = now + Duration::from_nanos(1_234_567_891);
        assert_eq!(Tick::of(later).instant(), later);
        // A clock that was started long before, where the system can express that.
        let year = Duration::from_secs(365 * 24 * 3_600);
        if let Some(before) = now.checked_sub(9 * year) {
            assert_eq!(Tick::of(before).instant(), before);
            assert!(Tick::of(before) < Tick::of(now));
        }
        if let Some(before) = now.checked_sub(11 * year) {
            assert_eq!(Tick::of(before), Tick::from_raw(0));
        }
    }
}
