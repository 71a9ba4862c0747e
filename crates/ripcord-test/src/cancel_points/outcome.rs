//! [`Outcome`]: what a driver tells the test after each run.

use crate::task::ManualTask;
use std::future::Future;

/// What became of one run of a driver.
///
/// ```
/// use ripcord_test::for_each_cancel_point;
///
/// let mut outputs = Vec::new();
/// for_each_cancel_point(|| async { 7 }, |outcome| outputs.push((outcome.at, outcome.output)));
/// assert_eq!(outputs, [(0, None), (1, Some(7))]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Outcome<T> {
    /// After how many polls the future was cut.
    pub at: usize,
    /// How often it was polled altogether; more than `at` where its context was cut.
    pub polls: usize,
    /// How often it was woken.
    pub wakes: usize,
    /// Whether it completed before the cut. This is the last run.
    pub is_whole: bool,
    /// What it returned: `None` if it was dropped before it was ready.
    pub output: Option<T>,
}

impl<T> Outcome<T> {
    /// The outcome of a run that is over; the future is dropped here.
    pub(super) fn of<F>(at: usize, task: ManualTask<F>, is_whole: bool, output: Option<T>) -> Self
    where
        F: Future<Output = T>,
    {
        let (polls, wakes) = (task.polls(), task.wakes());
        drop(task);
        Self {
            at,
            polls,
            wakes,
            is_whole,
            output,
        }
    }
}
