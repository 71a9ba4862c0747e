//! The right to cancel: [`CancelGuard`] owns it, [`Canceller`] refers to it.

use crate::cause::{Cause, Kind, Place};
use crate::ctx::Ctx;
use crate::node::Node;
use crate::shutdown::{self, ShutdownPlan};
use crate::sweep::Sweep;
use crate::sync::{Arc, Weak};
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};

/// Owns the right to cancel a context; dropping it cancels with [`Kind::Dropped`].
///
/// While the thread unwinds, dropping it cancels with [`Kind::Panicked`]. A guard
/// leaked with `mem::forget` cancels nothing: the context lives until its deadline or
/// its parent ends it.
///
/// None of its methods unwinds, nor does dropping it: panics of wakers and hooks are
/// contained, see [`set_panic_hook`](crate::set_panic_hook).
#[must_use = "dropping the guard at once cancels the context; bind it to a name that lives as long as the work"]
pub struct CancelGuard {
    node: Option<Arc<Node>>,
}

impl UnwindSafe for CancelGuard {}
impl RefUnwindSafe for CancelGuard {}

impl CancelGuard {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node: Some(node) }
    }

    /// Cancels the context and everything below it; whether this call did.
    ///
    /// When it returns, the whole subtree is done. A bounded number of waiters is
    /// woken before it returns, the rest and the hooks of a large subtree by the
    /// sweeper. A second cancel returns `false` and changes nothing.
    ///
    /// # Costs
    /// Does not grow with the number of descendants: the flag, at most 32 wakes, and
    /// one hand-over.
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        let place = Place::Call(Location::caller());
        self.node
            .as_ref()
            .is_some_and(|node| cancel(node, cause.into(), place))
    }

    /// Cancels like [`cancel`](Self::cancel), and runs every wake and hook of the
    /// subtree before it returns.
    ///
    /// If the context was done before, it returns `false` at once and does not wait
    /// for somebody else's sweep.
    #[track_caller]
    pub fn cancel_and_sweep(&self, cause: impl Into<Cause>) -> bool {
        let place = Place::Call(Location::caller());
        let Some(node) = &self.node else { return false };
        let (won, sweep) = node.cancel(cause.into(), place);
        if let Some(sweep) = sweep {
            sweep.run();
        }
        won
    }

    /// Asks the subtree to start no new work; whether it was live before.
    pub fn drain(&self) -> bool {
        self.node.as_ref().is_some_and(Node::drain)
    }

    /// Cancels, if that was not done yet, and pierces every shield below.
    ///
    /// Returns whether anything changed.
    #[track_caller]
    pub fn force(&self, cause: impl Into<Cause>) -> bool {
        let place = Place::Call(Location::caller());
        self.node
            .as_ref()
            .is_some_and(|node| node.force(cause.into(), place))
    }

    /// Drains now, cancels after `plan.drain`, forces after a further `plan.grace`.
    ///
    /// Returns at once; the phases are driven by the timer of the tree, also if this
    /// guard is dropped before (which cancels at once). See [`ShutdownPlan`].
    #[track_caller]
    pub fn shutdown(&self, plan: ShutdownPlan) {
        if let Some(node) = &self.node {
            shutdown::start(node, plan, Place::Call(Location::caller()));
        }
    }

    /// Gives up the right to cancel without using it.
    ///
    /// The context then ends with its deadline or its parent, or never.
    pub fn disarm(mut self) {
        self.node = None;
    }

    /// A weak right to cancel, to be handed out.
    pub fn handle(&self) -> Canceller {
        Canceller {
            node: self.node.as_ref().map_or_else(Weak::new, Arc::downgrade),
        }
    }

    /// The context that this guard cancels.
    pub fn ctx(&self) -> Ctx {
        self.node
            .clone()
            .map_or_else(Ctx::background, Ctx::from_node)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let Some(node) = self.node.take() else { return };
        if std::thread::panicking() {
            let place = Place::Made(node.site());
            cancel(&node, Cause::new(Kind::Panicked), place);
        } else if Arc::strong_count(&node) > 1 {
            // Otherwise nobody else can see the node: no context, child, waiter or hook.
            node.cancel_dropped();
        }
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelGuard").field(&self.ctx()).finish()
    }
}

/// A right to cancel a context without keeping it alive.
///
/// Made by [`CancelGuard::handle`]. On a context that is gone every call is a no-op
/// that returns `false`.
#[derive(Clone)]
pub struct Canceller {
    node: Weak<Node>,
}

impl UnwindSafe for Canceller {}
impl RefUnwindSafe for Canceller {}

impl Canceller {
    /// Cancels like [`CancelGuard::cancel`].
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        let place = Place::Call(Location::caller());
        self.node
            .upgrade()
            .is_some_and(|node| cancel(&node, cause.into(), place))
    }

    /// Drains like [`CancelGuard::drain`].
    pub fn drain(&self) -> bool {
        self.node.upgrade().is_some_and(|node| node.drain())
    }

    /// Forces like [`CancelGuard::force`].
    #[track_caller]
    pub fn force(&self, cause: impl Into<Cause>) -> bool {
        let place = Place::Call(Location::caller());
        self.node
            .upgrade()
            .is_some_and(|node| node.force(cause.into(), place))
    }

    /// Shuts down like [`CancelGuard::shutdown`].
    #[track_caller]
    pub fn shutdown(&self, plan: ShutdownPlan) {
        if let Some(node) = self.node.upgrade() {
            shutdown::start(&node, plan, Place::Call(Location::caller()));
        }
    }

    /// Whether the context is still in use by anyone.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.node.strong_count() > 0
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("is_alive", &self.is_alive())
            .finish()
    }
}

fn cancel(node: &Arc<Node>, cause: Cause, place: Place) -> bool {
    let (won, sweep) = node.cancel(cause, place);
    Sweep::launch(sweep);
    won
}
