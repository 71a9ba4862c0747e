//! A staged shutdown: drain, then cancel, then force, driven by the tree's timer.
//!
//! # Invariants
//! 1. A step is taken by whoever changes `next` under the lock; the step itself, which runs
//!    foreign code, comes after the lock.
//! 2. Of several arms at a time the last one counts: `turn` tells which.
//! 3. What keeps a [`Progress`] alive is the node that it shuts down; its alarm refers to it weakly.

use crate::block::disarm;
use crate::cause::{Cause, Kind, Place};
use crate::clock::{Armed, Runtime};
use crate::node::Node;
use crate::sweep::Sweep;
use crate::sync::{Arc, Mutex, Weak};
use std::borrow::Cow;
use std::mem;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// How long each phase of a shutdown lasts.
///
/// The context drains at once; `drain` later it is cancelled with the plan's cause
/// ([`Kind::Shutdown`] unless another is set), and `grace` after that it is forced.
/// A context that is cancelled before is forced no earlier for that, so it has the rest of the drain
/// as additional grace. The force is timed from the plan's own cancel as it was taken: where that
/// comes late, the full grace is left all the same.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Phase, ShutdownPlan};
/// use ripcord_test::TestClock;
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let (server, guard) = clock.ctx();
/// guard.shutdown(ShutdownPlan::new(Duration::from_secs(10), Duration::from_secs(5)));
/// assert_eq!(server.phase(), Phase::Draining);
/// clock.advance(Duration::from_secs(10));
/// assert_eq!(server.phase(), Phase::Cancelled);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(server.phase(), Phase::Forced);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a plan does nothing until it is given to `shutdown`"]
pub struct ShutdownPlan {
    drain: Duration,
    grace: Duration,
    cause: Option<Cause>,
}

impl ShutdownPlan {
    /// Makes a plan with a time to drain and a time to clean up.
    ///
    /// A zero skips that wait (spec/context.md C86): `new(ZERO, grace)` cancels at once, and
    /// `new(drain, ZERO)` leaves shields no time. `Duration::MAX` is a step that never comes.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Grace, Phase, ShutdownPlan};
    /// use std::time::Duration;
    ///
    /// let (server, guard) = Ctx::background().child();
    /// let flush = server.shield(Grace::UNBOUNDED);
    /// guard.shutdown(ShutdownPlan::new(Duration::ZERO, Duration::ZERO));
    /// assert_eq!(flush.phase(), Phase::Forced, "no time at all");
    /// ```
    pub fn new(drain: Duration, grace: Duration) -> Self {
        Self {
            drain,
            grace,
            cause: None,
        }
    }

    /// Says why; the kind stays [`Kind::Shutdown`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind, ShutdownPlan};
    /// use std::time::Duration;
    ///
    /// let (server, guard) = Ctx::background().child();
    /// let plan = ShutdownPlan::new(Duration::ZERO, Duration::from_secs(5));
    /// guard.shutdown(plan.with_message("new version"));
    /// let cause = server.cause().expect("no time to drain");
    /// assert_eq!((cause.kind(), cause.message()), (Kind::Shutdown, Some("new version")));
    /// ```
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        self.with_cause(Cause::new(Kind::Shutdown).with_message(message))
    }

    /// Sets the cause of the cancel, its kind included: a plain text is
    /// [`Kind::Cancelled`], see [`with_message`](Self::with_message).
    ///
    /// It replaces what [`with_message`](Self::with_message) has set before. The force carries the
    /// same cause, and shows it only where nothing was cancelled yet.
    pub fn with_cause(self, cause: impl Into<Cause>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// The time to drain.
    #[must_use]
    pub fn drain(&self) -> Duration {
        self.drain
    }

    /// The time between cancel and force.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }
}

/// What comes next, and when.
///
/// The force is timed from the cancel as it was taken, not as it was planned: a cancel that
/// comes late leaves the full grace all the same.
enum Next {
    Cancel(Instant),
    Force(Instant),
    Nothing,
}

struct State {
    next: Next,
    /// Until the last step takes it: a plan that is over holds nothing of the user's.
    cause: Option<Cause>,
    /// Counts the wakes: a timer may wake from within its own arming.
    turn: u32,
    armed: Option<Armed>,
}

/// The progress of one shutdown. It stands in the block of the node and goes with it, alarm and
/// all: a tree that is gone needs no phases.
pub(crate) struct Progress {
    node: Weak<Node>,
    place: Place,
    grace: Duration,
    state: Mutex<State>,
}

/// Drains and takes what is due at once: with a plan of zeros the context is forced when this
/// returns.
pub(crate) fn start(node: &Arc<Node>, plan: ShutdownPlan, place: Place) {
    node.drain();
    let next = later(node.now(), plan.drain).map_or(Next::Nothing, Next::Cancel);
    if matches!(next, Next::Nothing) {
        return;
    }
    let progress = Arc::new(Progress {
        node: Arc::downgrade(node),
        place,
        grace: plan.grace,
        state: Mutex::new(State {
            next,
            cause: Some(plan.cause.unwrap_or_else(|| Cause::new(Kind::Shutdown))),
            turn: 0,
            armed: None,
        }),
    });
    node.block().links.lock().keep_plan(&progress);
    progress.go_on(node, false);
}

/// An instant beyond the clock's range never comes.
fn later(now: Instant, wait: Duration) -> Option<Instant> {
    now.checked_add(wait)
}

impl Progress {
    /// Whether every step was taken: then neither a cause nor an alarm is held any more.
    ///
    /// Called under the node's lock: the order is node, then plan.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.lock().next, Next::Nothing)
    }

    /// Does what is due and arms for what comes next.
    ///
    /// Called at the start and for each wake, early ones included. The alarm that is over is
    /// dropped before the steps, so that a step that takes its time holds no timer.
    fn go_on(self: &Arc<Self>, node: &Arc<Node>, was_woken: bool) {
        let now = node.now();
        let (mut cancel, mut force) = (false, false);
        let mut state = self.state.lock();
        if let Next::Cancel(at) = state.next
            && at <= now
        {
            cancel = true;
            state.next = later(now, self.grace).map_or(Next::Nothing, Next::Force);
        }
        if let Next::Force(at) = state.next
            && at <= now
        {
            force = true;
            state.next = Next::Nothing;
        }
        let next = match state.next {
            Next::Cancel(at) | Next::Force(at) => Some(at),
            Next::Nothing => None,
        };
        let cause = match next {
            Some(_) => state.cause.clone(),
            None => state.cause.take(),
        };
        let old = mem::take(&mut state.armed);
        state.turn = state.turn.wrapping_add(1);
        let turn = state.turn;
        drop(state);
        disarm(old);
        // Another wake may have taken it: then there is no step left either.
        if let Some(cause) = cause {
            if cancel {
                let (_, sweep) = node.cancel(cause.clone(), self.place);
                Sweep::launch(sweep, node);
            }
            if force {
                node.force(cause, self.place);
            }
        }
        if let Some(at) = next {
            self.arm(node, at, turn, was_woken && !cancel);
        }
    }

    /// Arms for `at`; after a wake that came too early, on the timer thread.
    fn arm(self: &Arc<Self>, node: &Node, at: Instant, turn: u32, was_early: bool) {
        let waker = Waker::from(Arc::new(Reminder(Arc::downgrade(self))));
        let armed = if was_early {
            Runtime::arm_thread(node.runtime(), at, waker)
        } else {
            Runtime::arm(node.runtime(), at, waker)
        };
        let mut state = self.state.lock();
        // If it was another's turn meanwhile, that one has armed for itself.
        let unused = if state.turn == turn {
            mem::replace(&mut state.armed, armed)
        } else {
            armed
        };
        drop(state);
        disarm(unused);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let armed = mem::take(&mut self.state.lock().armed);
        disarm(armed);
    }
}

/// The alarm of a [`Progress`].
struct Reminder(Weak<Progress>);

impl Wake for Reminder {
    fn wake(self: Arc<Self>) {
        let Some(progress) = self.0.upgrade() else {
            return;
        };
        if let Some(node) = progress.node.upgrade() {
            progress.go_on(&node, true);
        }
    }
}
