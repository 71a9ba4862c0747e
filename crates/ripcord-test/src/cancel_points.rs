//! Drivers that cut a future short at each of its polls: by dropping it, or by
//! cancelling its context.
//!
//! A future that is cancel safe leaves the world in order wherever it is cut. The
//! drivers find every place: they run the future again and again, cut it after 0, 1,
//! 2, … polls, and let the test look after each cut, until a run completes by itself.

mod outcome;

use crate::clock::TestClock;
use crate::task::ManualTask;
use ripcord_core::{Ctx, Kind};
use std::fmt;
use std::future::Future;
use std::task::Poll;

pub use outcome::Outcome;

/// How many polls a run may take before the driver gives up.
const POLLS_MAX: usize = 1_000;

/// How often the world may go on in a row without waking the future.
const IDLE_MAX: usize = 10_000;

/// Drops a future after 0, 1, 2, … polls, until it completes; `check` sees each outcome.
///
/// The future is polled when it was woken, as an executor would do. Returns the number
/// of polls that the future takes. [`CancelPoints`] does the same with a clock, so that
/// a future may sleep, and with another bound.
///
/// # Panics
/// If the future is pending and nothing has woken it, or if it does not complete within
/// 1 000 polls.
///
/// # Examples
/// ```
/// use ripcord_test::for_each_cancel_point;
/// use std::cell::Cell;
///
/// async fn yield_now() {
///     let mut yielded = false;
///     std::future::poll_fn(|cx| {
///         if std::mem::replace(&mut yielded, true) {
///             return std::task::Poll::Ready(());
///         }
///         cx.waker().wake_by_ref();
///         std::task::Poll::Pending
///     })
///     .await;
/// }
///
/// let balance = Cell::new(10);
/// let polls = for_each_cancel_point(
///     || async {
///         yield_now().await;
///         balance.set(balance.get() - 1); // One step: nothing to be cut in two.
///         balance.set(balance.get() + 1);
///         yield_now().await;
///     },
///     |outcome| assert_eq!(balance.get(), 10, "cut after {} polls", outcome.at),
/// );
/// assert_eq!(polls, 3);
/// ```
///
/// # Costs
/// Quadratic in the number of polls.
#[track_caller]
pub fn for_each_cancel_point<F: Future>(
    make: impl FnMut() -> F,
    check: impl FnMut(Outcome<F::Output>),
) -> usize {
    CancelPoints::new().drop_at_each(make, check)
}

/// Cancels the context of a future after 0, 1, 2, … polls; `check` sees each outcome.
///
/// Each run gets a fresh context on a [`TestClock`] that jumps to the next alarm when
/// the future sleeps. After the cancel the future is polled on until it returns: one
/// that is never woken again is deaf, and the driver says so. The last run is the
/// one that completes without being cancelled. Returns the number of its polls.
///
/// # Panics
/// If the future is pending, nothing has woken it and no alarm is armed, or if it does
/// not complete within 1 000 polls.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_test::for_each_cancel_of;
/// use std::time::Duration;
///
/// for_each_cancel_of(
///     |ctx| async move {
///         // A sleep on the tree's clock.
///         ctx.with_timeout(Duration::from_secs(60)).done().await;
///         ctx.check()
///     },
///     |outcome| match outcome.output.expect("it always returns") {
///         Ok(()) => assert!(outcome.is_whole),
///         Err(error) => assert_eq!(error.kind(), Kind::Cancelled),
///     },
/// );
/// ```
///
/// # Costs
/// Quadratic in the number of polls.
#[track_caller]
pub fn for_each_cancel_of<F: Future>(
    make: impl FnMut(Ctx) -> F,
    check: impl FnMut(Outcome<F::Output>),
) -> usize {
    CancelPoints::new()
        .clock(&TestClock::new())
        .cancel_at_each(make, check)
}

/// The two drivers with their settings: clock, idle work, bound on the polls.
///
/// # Examples
/// ```
/// use ripcord_test::{CancelPoints, TestClock};
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let (ctx, _guard) = clock.ctx();
/// let polls = CancelPoints::new().clock(&clock).drop_at_each(
///     || {
///         let nap = ctx.with_timeout(Duration::from_secs(5));
///         async move { nap.done().await }
///     },
///     |_| assert_eq!(clock.armed(), 0, "a nap that is cut short disarms its timer"),
/// );
/// assert_eq!(polls, 2);
/// ```
#[must_use = "a driver does nothing until it is given a future"]
pub struct CancelPoints<'a> {
    clock: Option<TestClock>,
    on_idle: Option<Box<dyn FnMut() -> bool + 'a>>,
    polls_max: usize,
}

impl<'a> CancelPoints<'a> {
    /// Makes a driver without a clock, bounded to 1 000 polls.
    ///
    /// ```
    /// # use ripcord_test::CancelPoints;
    /// let polls = CancelPoints::new().drop_at_each(|| async { 1 + 1 }, |_| {});
    /// assert_eq!(polls, 1);
    /// ```
    pub fn new() -> Self {
        Self {
            clock: None,
            on_idle: None,
            polls_max: POLLS_MAX,
        }
    }

    /// Sets the clock that jumps to its next alarm while the future waits.
    ///
    /// ```
    /// # use ripcord_test::{CancelPoints, TestClock};
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// CancelPoints::new()
    ///     .clock(&clock)
    ///     .drop_at_each(|| ctx.with_timeout(Duration::from_secs(60)).done(), |_| {});
    /// assert_eq!(clock.elapsed(), Duration::from_secs(60), "it waited in the last run");
    /// ```
    pub fn clock(mut self, clock: &TestClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Sets what to do while the future waits and no alarm is armed, for instance to
    /// send the message that it waits for. It returns whether it did anything.
    ///
    /// ```
    /// # use ripcord_test::{CancelPoints, Sequencer};
    /// # use std::cell::RefCell;
    /// // The future waits for its turn, which comes when the test gives up the one before.
    /// let held = RefCell::new(None);
    /// let polls = CancelPoints::new().on_idle(|| held.take().is_some()).drop_at_each(
    ///     || {
    ///         let steps = Sequencer::new(["ours", "theirs"]);
    ///         held.replace(Some(steps.turn("ours")));
    ///         async move { drop(steps.turn_async("theirs").await) }
    ///     },
    ///     // A run that is cut leaves a step behind: give up the turn without a word.
    ///     |outcome| if !outcome.is_whole { std::mem::forget(held.take()) },
    /// );
    /// assert_eq!(polls, 2);
    /// ```
    pub fn on_idle(mut self, idle: impl FnMut() -> bool + 'a) -> Self {
        self.on_idle = Some(Box::new(idle));
        self
    }

    /// Sets how many polls a run may take.
    ///
    /// ```should_panic
    /// # use ripcord_test::CancelPoints;
    /// let forever = || std::future::poll_fn(|cx| {
    ///     cx.waker().wake_by_ref();
    ///     std::task::Poll::<()>::Pending
    /// });
    /// CancelPoints::new().polls_max(10).drop_at_each(forever, |_| {});
    /// ```
    pub fn polls_max(mut self, polls: usize) -> Self {
        self.polls_max = polls;
        self
    }

    /// Drops the future at each of its polls, like [`for_each_cancel_point`].
    ///
    /// # Panics
    /// As that does.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::{CancelPoints, TestClock};
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// CancelPoints::new().clock(&clock).drop_at_each(
    ///     || ctx.run(ctx.with_timeout(Duration::from_secs(1)).done()),
    ///     |outcome| assert_eq!(outcome.output.is_some(), outcome.is_whole),
    /// );
    /// ```
    #[track_caller]
    pub fn drop_at_each<F: Future>(
        mut self,
        mut make: impl FnMut() -> F,
        mut check: impl FnMut(Outcome<F::Output>),
    ) -> usize {
        for at in 0.. {
            let mut task = ManualTask::new(make());
            let output = self.run(&mut task, at, None);
            let is_whole = output.is_some();
            let outcome = Outcome::of(at, task, is_whole, output);
            let polls = outcome.polls;
            check(outcome);
            if is_whole {
                return polls;
            }
        }
        unreachable!("a run ends by completing, or by the bound on its polls")
    }

    /// Cancels the context of the future at each poll, like [`for_each_cancel_of`].
    ///
    /// Without a [`clock`](Self::clock) each run has one of its own.
    ///
    /// # Panics
    /// As that does.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::{CancelPoints, TestClock};
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// CancelPoints::new().clock(&clock).cancel_at_each(
    ///     |ctx| async move { ctx.with_timeout(Duration::from_secs(1)).done().await },
    ///     |_| assert_eq!(clock.armed(), 0),
    /// );
    /// ```
    #[track_caller]
    pub fn cancel_at_each<F: Future>(
        mut self,
        mut make: impl FnMut(Ctx) -> F,
        mut check: impl FnMut(Outcome<F::Output>),
    ) -> usize {
        let clock = self.clock.get_or_insert_default().clone();
        for at in 0.. {
            let (ctx, guard) = clock.ctx();
            let mut task = ManualTask::new(make(ctx));
            let mut output = self.run(&mut task, at, None);
            let is_whole = output.is_some();
            if !is_whole {
                guard.cancel(Kind::Cancelled);
                output = self.run(&mut task, self.polls_max, Some(at));
            }
            let outcome = Outcome::of(at, task, is_whole, output);
            let polls = outcome.polls;
            check(outcome);
            if is_whole {
                return polls;
            }
        }
        unreachable!("a run ends by completing, or by the bound on its polls")
    }

    /// Polls until the task is ready or was polled `upto` times.
    #[track_caller]
    fn run<F: Future>(
        &mut self,
        task: &mut ManualTask<F>,
        upto: usize,
        cancelled: Option<usize>,
    ) -> Option<F::Output> {
        while task.polls() < upto {
            if task.polls() > 0 && !task.is_woken() {
                self.idle(task, cancelled);
            }
            if let Poll::Ready(output) = task.poll() {
                return Some(output);
            }
            let polls = task.polls();
            assert!(
                polls < self.polls_max,
                "the future is still pending after {polls} polls, the most that it may take{}; \
                 a longer one needs `polls_max`",
                after(cancelled),
            );
        }
        None
    }

    /// Lets the world go on until it wakes the task.
    #[track_caller]
    fn idle<F: Future>(&mut self, task: &ManualTask<F>, cancelled: Option<usize>) {
        for _ in 0..IDLE_MAX {
            if task.is_woken() {
                return;
            }
            let jumped = self
                .clock
                .as_ref()
                .is_some_and(|clock| clock.advance_to_next().is_some());
            let went_on = jumped || self.on_idle.as_mut().is_some_and(|idle| idle());
            assert!(
                went_on,
                "the future is pending after {} polls{} and nothing will wake it: no wake is \
                 recorded and {}",
                task.polls(),
                after(cancelled),
                match (&self.clock, &self.on_idle) {
                    (None, None) => "the driver has neither `clock` nor `on_idle`",
                    (None, Some(_)) => "`on_idle` has nothing left to do",
                    (Some(_), None) => "no alarm is armed",
                    (Some(_), Some(_)) => "no alarm is armed and `on_idle` has nothing left to do",
                },
            );
        }
        panic!("the world went on {IDLE_MAX} times without waking the future");
    }
}

/// The part of a message that tells where the context was cancelled.
fn after(cancelled: Option<usize>) -> String {
    cancelled.map_or_else(String::new, |at| {
        format!(" (its context was cancelled after {at})")
    })
}

impl Default for CancelPoints<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelPoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelPoints")
            .field("clock", &self.clock)
            .field("has_on_idle", &self.on_idle.is_some())
            .field("polls_max", &self.polls_max)
            .finish()
    }
}
