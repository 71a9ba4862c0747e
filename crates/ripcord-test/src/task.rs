//! [`ManualTask`]: a future that the test polls by hand.

use crate::waker::WakeCounter;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future on the heap with a counting waker, polled when the test says so.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_test::{ManualTask, TestClock};
/// use std::task::Poll;
///
/// let (ctx, guard) = TestClock::new().ctx();
/// let mut task = ManualTask::new(ctx.done());
/// assert!(task.poll().is_pending());
/// assert!(!task.is_woken());
///
/// guard.cancel(Kind::PeerGone);
/// assert!(task.is_woken());
/// let Poll::Ready(cause) = task.poll() else { panic!("still pending") };
/// assert_eq!(cause.kind(), Kind::PeerGone);
/// ```
///
/// # Costs
/// Two allocations when made, none for a poll.
pub struct ManualTask<F: ?Sized> {
    counter: WakeCounter,
    seen: usize,
    polls: usize,
    future: Pin<Box<F>>,
}

impl<F: Future> ManualTask<F> {
    /// Makes a task that has not been polled.
    ///
    /// ```
    /// # use ripcord_test::ManualTask;
    /// let task = ManualTask::new(async { unreachable!("it is never polled") });
    /// assert_eq!(task.polls(), 0);
    /// ```
    pub fn new(future: F) -> Self {
        Self::with_counter(future, WakeCounter::new())
    }

    /// Makes a task whose waker is one of `counter`'s, for wakers that react.
    ///
    /// ```
    /// # use ripcord_test::{ManualTask, TestClock, WakeCounter};
    /// let (ctx, guard) = TestClock::new().ctx();
    /// // Two tasks, one counter.
    /// let counter = WakeCounter::new();
    /// let mut tasks = [(); 2].map(|()| ManualTask::with_counter(ctx.done(), counter.clone()));
    /// assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
    /// guard.cancel("enough");
    /// assert_eq!(counter.wakes(), 2);
    /// ```
    pub fn with_counter(future: F, counter: WakeCounter) -> Self {
        Self {
            counter,
            seen: 0,
            polls: 0,
            future: Box::pin(future),
        }
    }
}

impl<F: Future + ?Sized> ManualTask<F> {
    /// Polls the future once.
    ///
    /// # Panics
    /// As the future does, for instance when it is polled after completion.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::ManualTask;
    /// # use std::task::Poll;
    /// let mut task = ManualTask::new(async { 5 });
    /// assert_eq!(task.poll(), Poll::Ready(5));
    /// ```
    pub fn poll(&mut self) -> Poll<F::Output> {
        self.seen = self.counter.wakes();
        self.polls += 1;
        let waker = self.counter.waker();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// How often the future was polled.
    ///
    /// ```
    /// # use ripcord_test::ManualTask;
    /// let mut task = ManualTask::new(std::future::pending::<()>());
    /// let _ = (task.poll(), task.poll());
    /// assert_eq!(task.polls(), 2);
    /// ```
    #[must_use]
    pub fn polls(&self) -> usize {
        self.polls
    }

    /// How often the task was woken.
    ///
    /// ```
    /// # use ripcord_test::{ManualTask, TestClock};
    /// let (ctx, guard) = TestClock::new().ctx();
    /// let mut task = ManualTask::new(ctx.done());
    /// let _ = (task.poll(), task.poll());
    /// guard.cancel("enough");
    /// assert_eq!(task.wakes(), 1, "one wait, one wake");
    /// ```
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.counter.wakes()
    }

    /// Whether the task was woken since its last poll began.
    ///
    /// ```
    /// # use ripcord_test::{ManualTask, TestClock};
    /// let (ctx, guard) = TestClock::new().ctx();
    /// let mut task = ManualTask::new(ctx.done());
    /// let _ = task.poll();
    /// guard.cancel("enough");
    /// assert!(task.is_woken());
    /// let _ = task.poll();
    /// assert!(!task.is_woken(), "not since this poll");
    /// ```
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.counter.wakes() > self.seen
    }

    /// The counter of the task's waker.
    ///
    /// ```
    /// # use ripcord_test::{ManualTask, TestClock};
    /// let (ctx, _guard) = TestClock::new().ctx();
    /// let mut task = ManualTask::new(ctx.done());
    /// let _ = task.poll();
    /// let counter = task.counter().clone();
    /// drop(task);
    /// assert_eq!(counter.live(), 0, "the context has given its waker back");
    /// ```
    pub fn counter(&self) -> &WakeCounter {
        &self.counter
    }
}

impl<F: ?Sized> fmt::Debug for ManualTask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualTask")
            .field("polls", &self.polls)
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}
