//! A staged shutdown: drain, then cancel, then force, driven by the tree's timer.

use crate::block::disarm;
use crate::cause::{Cause, Kind, Place};
use crate::clock::{Armed, Runtime, arm_thread};
use crate::node::Node;
use crate::sweep::Sweep;
use crate::sync::{Arc, Mutex, Weak};
use std::mem;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// How long each phase of a shutdown lasts.
///
/// The context drains at once; `drain` later it is cancelled with the plan's cause
/// ([`Kind::Shutdown`] unless another is set), and `grace` after that it is forced.
/// A plan only shortens what is left: a context that is cancelled earlier skips the
/// rest of the drain and still gets its full grace before it is forced.
#[derive(Clone, Debug)]
#[must_use = "a plan does nothing until it is given to `shutdown`"]
pub struct ShutdownPlan {
    drain: Duration,
    grace: Duration,
    cause: Option<Cause>,
}

impl ShutdownPlan {
    /// Makes a plan with a time to drain and a time to clean up.
    pub fn new(drain: Duration, grace: Duration) -> Self {
        Self {
            drain,
            grace,
            cause: None,
        }
    }

    /// Sets the cause of the cancel.
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
enum Next {
    Cancel(Instant),
    Force(Instant),
    Nothing,
}

struct State {
    next: Next,
    armed: Option<Armed>,
}

/// The progress of one shutdown. It is kept alive by its own armed timer, and only
/// refers to the node: a tree that is gone needs no phases.
struct Progress {
    node: Weak<Node>,
    cause: Cause,
    place: Place,
    grace: Duration,
    state: Mutex<State>,
}

pub(crate) fn start(node: &Arc<Node>, plan: ShutdownPlan, place: Place) {
    node.drain();
    let next = later(node.now(), plan.drain).map_or(Next::Nothing, Next::Cancel);
    let progress = Arc::new(Progress {
        node: Arc::downgrade(node),
        cause: plan.cause.unwrap_or_else(|| Cause::new(Kind::Shutdown)),
        place,
        grace: plan.grace,
        state: Mutex::new(State { next, armed: None }),
    });
    progress.go_on(node, false);
}

/// An instant beyond the clock's range never comes.
fn later(now: Instant, wait: Duration) -> Option<Instant> {
    now.checked_add(wait)
}

impl Progress {
    /// Does what is due and arms for what comes next.
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
        let old = mem::take(&mut state.armed);
        drop(state);
        disarm(old);
        if cancel {
            let (_, sweep) = node.cancel(self.cause.clone(), self.place);
            Sweep::launch(sweep);
        }
        if force {
            node.force(self.cause.clone(), self.place);
        }
        if let Some(at) = next {
            self.arm(node, at, was_woken && !cancel);
        }
    }

    /// Arms for `at`; after a wake that came too early, on the timer thread.
    fn arm(self: &Arc<Self>, node: &Node, at: Instant, was_early: bool) {
        let waker = Waker::from(Arc::clone(self));
        let armed = if was_early {
            arm_thread(at, waker)
        } else {
            Runtime::arm(node.runtime(), at, waker)
        };
        let mut state = self.state.lock();
        let unused = match state.next {
            Next::Nothing => armed,
            Next::Cancel(_) | Next::Force(_) => mem::replace(&mut state.armed, armed),
        };
        drop(state);
        disarm(unused);
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            self.go_on(&node, true);
        }
    }
}
