//! Shields: a context that outlives its parent's cancel by a bounded grace.
//!
//! # Invariants
//! 1. `cut` leaves `NEVER` once: the first start of the grace stands, whoever noticed the
//!    parent's end (spec/context.md C81).
//! 2. Being over is a comparison of `cut` with the clock; nothing has to fire for it.
//!
//! # Shield, detach, or neither
//! | The work | Use |
//! |---|---|
//! | is pointless without its caller | the caller's context, or a child of it |
//! | must be finished or undone, soon | [`Ctx::shield`](crate::Ctx::shield) |
//! | has nothing to do with its caller's end | [`Ctx::detach`](crate::Ctx::detach) |

use crate::cause::Cause;
use crate::deadline::Tick;
use crate::eval;
use crate::node::Node;
use crate::state::FORCED;
use crate::sync::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a shield holds after its parent is done.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Grace};
/// use ripcord_test::TestClock;
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let (request, guard) = clock.ctx();
/// let undo = request.shield(Grace::of(Duration::from_secs(2)));
/// guard.cancel("the client went away");
/// clock.advance(Duration::from_secs(1));
/// assert!(undo.check().is_ok());
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(undo.cause(), request.cause());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace(Option<Duration>);

impl Grace {
    /// The shield holds until it is forced. Spelled out, because what never ends is
    /// rarely meant.
    ///
    /// A deadline of the parent does not show inside either: [`Ctx::remaining`] is `None`.
    ///
    /// [`Ctx::remaining`]: crate::Ctx::remaining
    pub const UNBOUNDED: Self = Self(None);

    /// The shield holds for so long after its parent is done.
    ///
    /// Zero is allowed and shields nothing: such a shield ends together with its parent
    /// (spec/context.md C111). The same as `Grace::from`, usable in a `const`.
    #[must_use]
    pub const fn of(grace: Duration) -> Self {
        Self(Some(grace))
    }
}

impl From<Duration> for Grace {
    fn from(grace: Duration) -> Self {
        Self::of(grace)
    }
}

pub(crate) struct Shield {
    grace: Grace,
    /// When it was made, if the parent was done by then.
    since: Tick,
    /// When the shield ends; `NEVER` until the parent is seen to be done.
    cut: AtomicU64,
}

impl Shield {
    /// Makes a shield; `since` is now if the parent is done, and the grace counts from then.
    ///
    /// A shield below a context that has ended gets its whole grace, counted from its making and
    /// not from that end (spec/context.md C80): who starts a clean-up late still has the time.
    pub(crate) fn new(grace: Grace, since: Option<Instant>) -> Self {
        let shield = Self {
            grace,
            since: since.map_or(Tick::from_raw(0), Tick::of),
            cut: AtomicU64::new(Tick::NEVER.raw()),
        };
        if let Some(since) = since {
            shield.start_at(since);
        }
        shield
    }

    pub(crate) fn cut(&self) -> Tick {
        // Relaxed: the tick is the whole message.
        Tick::from_raw(self.cut.load(Ordering::Relaxed))
    }

    /// A deadline of the parent, as seen from below the shield.
    ///
    /// `None`: the grace has no bound, or the sum lies beyond the range of the clock.
    pub(crate) fn extend(&self, parent: Tick) -> Option<Tick> {
        // One that was made later than that is counted from its making.
        let tick = parent.max(self.since).plus(self.grace.0?);
        (!tick.is_never()).then_some(tick)
    }

    /// Since when a shield is over whose parent is done with `cause`, if it is.
    ///
    /// A force is looked for only where the grace still runs; the instant of an end by force is
    /// then the moment of the look, as nobody has stored the one of the force.
    pub(crate) fn over_since(&self, node: &Node, cause: &Cause) -> Option<Instant> {
        let cut = self.start(node, cause);
        let now = node.now();
        if Tick::of(now) >= cut {
            Some(cut.instant())
        } else {
            eval::has_above(node, FORCED).then_some(now)
        }
    }

    /// Starts the grace, unless it runs already; when it ends.
    ///
    /// It counts from the parent's end where that is known, else from now.
    pub(crate) fn start(&self, node: &Node, cause: &Cause) -> Tick {
        match self.cut() {
            Tick::NEVER => self.start_at(cause.ended().unwrap_or_else(|| node.now())),
            known => known,
        }
    }

    /// Starts the grace at the parent's end, unless it runs already; when it ends.
    fn start_at(&self, ended: Instant) -> Tick {
        let Some(grace) = self.grace.0 else {
            return Tick::NEVER;
        };
        let cut = Tick::of(ended).plus(grace).raw();
        // Relaxed: the tick is the whole message, and the first one stands.
        match self.cut.compare_exchange(
            Tick::NEVER.raw(),
            cut,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => Tick::from_raw(cut),
            Err(first) => Tick::from_raw(first),
        }
    }
}
