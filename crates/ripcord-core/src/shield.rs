//! Shields: a context that outlives its parent's cancel by a bounded grace.

use crate::cause::Cause;
use crate::deadline::Tick;
use crate::eval;
use crate::node::Node;
use crate::state::FORCED;
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a shield holds after its parent is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace(Option<Duration>);

impl Grace {
    /// The shield holds until it is forced. Spelled out, because what never ends is
    /// rarely meant.
    pub const UNBOUNDED: Self = Self(None);

    /// The shield holds for so long after its parent is done.
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
    /// When the shield ends; `NEVER` until the parent is seen to be done.
    cut: AtomicU64,
}

impl Shield {
    pub(crate) fn new(grace: Grace, cut: Tick) -> Self {
        Self {
            grace,
            cut: AtomicU64::new(cut.raw()),
        }
    }

    pub(crate) fn cut(&self) -> Tick {
        // Relaxed: the tick is the whole message.
        Tick::from_raw(self.cut.load(Ordering::Relaxed))
    }

    /// A deadline of the parent, as seen from below the shield.
    pub(crate) fn extend(&self, parent: Tick) -> Option<Tick> {
        let tick = parent.plus(self.grace.0?);
        (!tick.is_never()).then_some(tick)
    }

    /// Whether a shield is over whose parent is done with `cause`.
    pub(crate) fn is_over(&self, node: &Node, cause: &Cause) -> bool {
        let cut = self.start(node, cause);
        Tick::of(node.now()) >= cut || eval::has_above(node, FORCED)
    }

    /// Starts the grace, unless it runs already; when it ends.
    ///
    /// It counts from the parent's end where that is known, else from now.
    pub(crate) fn start(&self, node: &Node, cause: &Cause) -> Tick {
        let known = self.cut();
        let Some(grace) = self.grace.0 else {
            return Tick::NEVER;
        };
        if !known.is_never() {
            return known;
        }
        let ended = cause.due().or(cause.at()).unwrap_or_else(|| node.now());
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
