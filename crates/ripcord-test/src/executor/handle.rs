//! [`TestTask`]: the handle of a spawned task.
//!
//! # Invariants
//! 1. The seat is not borrowed while a waker is cloned, woken or dropped.
//! 2. A handle does not keep the executor alive: tasks may hold handles of each other.

use super::Inner;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// A spawned task; resolves to what its future returns. Dropping it lets the task run on.
///
/// # Cancel safety
/// Dropping it between polls loses nothing but the result.
///
/// # Examples
/// ```
/// use ripcord_test::{TestClock, TestExecutor};
///
/// let executor = TestExecutor::new(&TestClock::new());
/// let parts = [1, 2, 3].map(|part| executor.spawn(format!("part {part}"), async move { part }));
/// let sum = executor.run(async {
///     let mut sum = 0;
///     for part in parts {
///         sum += part.await;
///     }
///     sum
/// });
/// assert_eq!(sum, 6);
/// ```
#[must_use = "a task runs on without its handle, but nobody learns its result"]
pub struct TestTask<T> {
    executor: Weak<Inner>,
    number: u64,
    seat: Rc<RefCell<Seat<T>>>,
}

/// Where a task leaves its result, or who waits for it.
pub(super) enum Seat<T> {
    Empty(Option<Waker>),
    Full(T),
}

impl<T> Seat<T> {
    pub(super) fn empty() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self::Empty(None)))
    }

    /// Runs a future and leaves its result in the seat.
    pub(super) async fn filled_by(seat: Rc<RefCell<Self>>, future: impl Future<Output = T>) {
        let output = future.await;
        let before = seat.replace(Self::Full(output));
        if let Self::Empty(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> TestTask<T> {
    pub(super) fn new(executor: &Rc<Inner>, number: u64, seat: Rc<RefCell<Seat<T>>>) -> Self {
        Self {
            executor: Rc::downgrade(executor),
            number,
            seat,
        }
    }

    /// Drops the task's future, wherever it is.
    ///
    /// ```
    /// # use ripcord_test::{Census, TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let census = Census::new();
    /// let probe = census.enter("task");
    /// let task = executor.spawn("task", async move {
    ///     let _probe = probe;
    ///     std::future::pending::<()>().await;
    /// });
    /// task.abort();
    /// census.assert_empty();
    /// ```
    pub fn abort(self) {
        if let Some(executor) = self.executor.upgrade() {
            executor.remove(self.number);
        }
    }

    /// Whether the task is over.
    ///
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let task = executor.spawn("short", async {});
    /// assert!(!task.is_finished());
    /// executor.run(async {}); // The task was spawned before, so it runs before.
    /// assert!(task.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let executor = self.executor.upgrade();
        executor.is_none_or(|inner| !inner.has(self.number))
    }
}

impl<T> Future for TestTask<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let waker = cx.waker().clone();
        let mut seat = self.seat.borrow_mut();
        match std::mem::replace(&mut *seat, Seat::Empty(Some(waker))) {
            Seat::Full(output) => Poll::Ready(output),
            Seat::Empty(before) => {
                drop(seat);
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for TestTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestTask")
            .field("number", &self.number)
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
