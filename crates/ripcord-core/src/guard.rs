//! The right to cancel: [`CancelGuard`] owns it, [`Canceller`] refers to it.
//!
//! # Who cancels
//! The split keeps a request from being ended by whoever happens to hold its context: a
//! [`Ctx`] is passed down freely, the guard stays with the one who started the work, and a
//! [`Canceller`] goes to whoever has a reason to end it early.

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
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
///
/// fn handle(request: &Ctx) -> Ctx {
///     let (work, _guard) = request.child();
///     // Whatever was started under `work` ends here, on every way out.
///     work.clone()
/// }
///
/// let left = handle(&Ctx::background());
/// assert_eq!(left.cause().map(|cause| cause.kind()), Some(Kind::Dropped));
/// ```
/// A context cannot cancel; who is given one can only observe and derive:
/// ```compile_fail,E0599
/// let (ctx, _guard) = ripcord_core::Ctx::background().child();
/// ctx.cancel("not my right");
/// ```
/// A guard that is bound to nothing would cancel at once, so the compiler warns:
/// ```compile_fail
/// #![deny(unused_must_use)]
/// ripcord_core::Ctx::background().child();
/// ```
///
/// # Costs
/// Where nobody waits and nobody observes, dropping a guard is a look at up to 64 ancestors
/// and one atomic operation: below plain ancestors no lock, no clock, no allocation. The
/// cause then has no instant (spec/context.md C13).
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
    /// The cause may be a [`Kind`], a message, a [`Cause`], or the [`Cancelled`] of another
    /// context, which keeps its own origin.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cause, Ctx, Kind};
    ///
    /// let (ctx, guard) = Ctx::background().named("upload").child();
    /// let (part, _part_guard) = ctx.child();
    /// assert!(guard.cancel(Cause::new(Kind::PeerGone).with_message("connection reset")));
    /// assert!(part.is_done(), "done when `cancel` returns");
    /// assert!(!guard.cancel("too late"), "the first cause stands");
    /// assert_eq!(part.cause().expect("done").message(), Some("connection reset"));
    /// ```
    ///
    /// [`Cancelled`]: crate::Cancelled
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
    ///
    /// For tests and for the end of a program, where "was told" has to mean "was woken". What
    /// another thread's sweep had taken up before is left to that one (spec/context.md C46).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let ran = Arc::new(AtomicUsize::new(0));
    /// let count = |_| {
    ///     let ran = Arc::clone(&ran);
    ///     ctx.on_done(move |_| drop(ran.fetch_add(1, Ordering::Relaxed)))
    /// };
    /// let hooks: Vec<_> = (0..1000).map(count).collect();
    /// assert!(guard.cancel_and_sweep("closing"));
    /// assert_eq!(ran.load(Ordering::Relaxed), hooks.len());
    /// ```
    ///
    /// # Costs
    /// Linear in the number of registrations below, and as long as their wakers and hooks take.
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
    ///
    /// Nothing ends by a drain: checks succeed, waiters of [`Ctx::done`] sleep on. Who watches
    /// [`Ctx::draining`] is woken. `false` on a context that drains or is done already
    /// (spec/context.md C85).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Phase};
    ///
    /// let (server, guard) = Ctx::background().child();
    /// let (request, _request_guard) = server.child();
    /// assert!(guard.drain());
    /// assert_eq!(request.phase(), Phase::Draining);
    /// assert!(request.check().is_ok(), "work under way goes on");
    /// assert!(!guard.drain(), "it drains already");
    /// ```
    pub fn drain(&self) -> bool {
        self.node.as_ref().is_some_and(Node::drain)
    }

    /// Cancels, if that was not done yet, and pierces every shield below.
    ///
    /// Returns whether anything changed.
    ///
    /// A context that was cancelled before keeps its first cause; only its shields, also those
    /// with [`Grace::UNBOUNDED`](crate::Grace::UNBOUNDED), end now (spec/context.md C83, C84).
    /// What was [detached](Ctx::detach) is out of reach.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Grace, Kind, Phase};
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let flush = ctx.shield(Grace::UNBOUNDED);
    /// guard.cancel(Kind::Shutdown);
    /// assert!(!flush.is_done(), "the shield holds");
    /// assert!(guard.force("grace is over"));
    /// assert_eq!(flush.phase(), Phase::Forced);
    /// assert_eq!(flush.cause().map(|cause| cause.kind()), Some(Kind::Shutdown));
    /// ```
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
    ///
    /// A second plan does not replace the first: both run, and the earlier step of the two is
    /// the one that shows.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind, Phase, ShutdownPlan};
    /// use std::time::Duration;
    ///
    /// let (server, guard) = Ctx::background().child();
    /// let minute = Duration::from_secs(60);
    /// guard.shutdown(ShutdownPlan::new(minute, minute));
    /// assert_eq!(server.phase(), Phase::Draining);
    /// // Everybody has finished early: nothing is left to wait for.
    /// guard.cancel(Kind::Shutdown);
    /// assert!(server.is_done());
    /// ```
    #[track_caller]
    pub fn shutdown(&self, plan: ShutdownPlan) {
        if let Some(node) = &self.node {
            shutdown::start(node, plan, Place::Call(Location::caller()));
        }
    }

    /// Gives up the right to cancel without using it.
    ///
    /// The context then ends with its deadline or its parent, or never.
    ///
    /// For a hand-over: the work goes on under somebody else's responsibility. A
    /// [`Canceller`] made before keeps its right (spec/context.md C12).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (session, end_session) = Ctx::background().child();
    /// let (login, guard) = session.child();
    /// guard.disarm();
    /// assert!(!login.is_done(), "the login goes on");
    /// end_session.cancel("logged out");
    /// assert!(login.is_done(), "as long as the session does");
    /// ```
    pub fn disarm(mut self) {
        self.node = None;
    }

    /// A weak right to cancel, to be handed out.
    ///
    /// For a registry of running requests, an admin command, a signal handler's thread: the
    /// handle may be kept for ever; of a context that is gone it holds 64 bytes and no more.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Canceller, Ctx, Kind};
    /// use std::collections::HashMap;
    ///
    /// let mut running: HashMap<u64, Canceller> = HashMap::new();
    /// let (request, guard) = Ctx::background().child();
    /// running.insert(7, guard.handle());
    /// // An admin asks for the end of request 7.
    /// assert!(running[&7].cancel(Kind::Shutdown));
    /// drop((request, guard));
    /// running.retain(|_, canceller| canceller.is_alive());
    /// assert!(running.is_empty());
    /// ```
    pub fn handle(&self) -> Canceller {
        Canceller {
            node: self.node.as_ref().map_or_else(Weak::new, Arc::downgrade),
        }
    }

    /// The context that this guard cancels.
    ///
    /// Made on demand, so a guard alone is enough to pass on: derive what is needed from it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// assert_eq!(guard.ctx(), ctx);
    /// ```
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
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
///
/// let (ctx, guard) = Ctx::background().child();
/// let stop = guard.handle();
/// guard.disarm();
/// assert!(stop.cancel(Kind::PeerGone));
/// assert!(ctx.is_done());
/// drop(ctx);
/// assert!(!stop.is_alive() && !stop.cancel(Kind::PeerGone));
/// ```
#[derive(Clone)]
pub struct Canceller {
    node: Weak<Node>,
}

impl UnwindSafe for Canceller {}
impl RefUnwindSafe for Canceller {}

impl Canceller {
    /// Cancels like [`CancelGuard::cancel`].
    ///
    /// `false` also if nobody uses the context any more: there is nothing left to cancel.
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
    ///
    /// Does nothing if the context is gone. The plan itself does not keep the context alive.
    #[track_caller]
    pub fn shutdown(&self, plan: ShutdownPlan) {
        if let Some(node) = self.node.upgrade() {
            shutdown::start(&node, plan, Place::Call(Location::caller()));
        }
    }

    /// Whether the context is still in use by anyone.
    ///
    /// For sweeping out a table of handles. The answer may be outdated when it arrives: a `true`
    /// promises nothing about the next call.
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

/// Flag first, then wakes: the flag is exact for all threads before the first foreign call.
fn cancel(node: &Arc<Node>, cause: Cause, place: Place) -> bool {
    let (won, sweep) = node.cancel(cause, place);
    Sweep::launch(sweep, node);
    won
}
