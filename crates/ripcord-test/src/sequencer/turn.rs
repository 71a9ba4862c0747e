//! The turn of a step of a sequencer, and the future that waits for it.
//!
//! # Invariants
//! 1. There is one [`Turn`] at a time, that of the step `next`: made by `Shared::begin`
//!    with the lock held, and over when it is dropped.
//! 2. An [`AwaitTurn`] that is not over has its step marked as asked for; its drop
//!    takes the mark back.

use super::{Shared, Stage};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The turn of one step; dropping it lets the next one begin.
///
/// If it is dropped by a panic, every step after it panics as well instead of waiting.
///
/// ```
/// # use ripcord_test::Sequencer;
/// let steps = Sequencer::new(["only"]);
/// let turn = steps.turn("only");
/// assert_eq!(turn.step(), "only");
/// ```
#[must_use = "a turn that is dropped at once is over at once"]
pub struct Turn {
    shared: Arc<Shared>,
    number: usize,
}

impl Turn {
    pub(super) fn new(shared: &Arc<Shared>, number: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            number,
        }
    }

    /// The name of the step.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.shared.steps[self.number]
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.stages[self.number] = Stage::Over;
        if std::thread::panicking() {
            state.broken = Some(self.number);
        } else {
            state.next += 1;
        }
        self.shared.announce(state);
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.step()).finish()
    }
}

/// Resolves to the [`Turn`] of a step; made by
/// [`Sequencer::turn_async`](crate::Sequencer::turn_async).
///
/// # Cancel safety
/// Dropping it before its turn gives the step back: it can be asked for again.
///
/// # Examples
/// ```
/// use ripcord_test::{ManualTask, Sequencer};
///
/// let steps = Sequencer::numbered(2);
/// let mut second = ManualTask::new(steps.turn_async(1));
/// assert!(second.poll().is_pending());
/// drop(steps.turn(0));
/// assert!(second.is_woken() && second.poll().is_ready());
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct AwaitTurn {
    shared: Arc<Shared>,
    number: usize,
    is_over: bool,
}

impl AwaitTurn {
    pub(super) fn new(shared: &Arc<Shared>, number: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            number,
            is_over: false,
        }
    }
}

impl Future for AwaitTurn {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let waker = cx.waker().clone();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        if let Some(broken) = state.broken {
            drop(state);
            shared.refuse(self.number, broken);
        }
        if state.next == self.number && !self.is_over {
            self.is_over = true;
            return Poll::Ready(shared.begin(self.number, state));
        }
        assert!(
            !self.is_over,
            "`AwaitTurn` was polled again after its turn had come"
        );
        let before = mem::replace(&mut state.stages[self.number], Stage::Asked(Some(waker)));
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for AwaitTurn {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.shared.state.lock();
            let before = mem::replace(&mut state.stages[self.number], Stage::Free);
            drop(state);
            drop(before);
        }
    }
}

impl fmt::Debug for AwaitTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AwaitTurn")
            .field(&self.shared.steps[self.number])
            .finish()
    }
}
