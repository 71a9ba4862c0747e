//! What this thread knows: its current task, the context that was told, what is waited for.
//!
//! # Costs
//! Plain cells without a destructor: an access is one load relative to the thread's base, and
//! works while the thread is torn down.

use std::cell::Cell;
use std::task::Poll;

pub(super) struct Here {
    /// The task in whose poll, closure or destructor this thread is; 0: in none.
    pub(super) task: Cell<u64>,
    /// The context that the observer takes the task to be under; 0: one without a number.
    pub(super) context: Cell<u64>,
    /// What the first leaf that was pending in this poll waits for.
    pub(super) waits_for: Cell<Option<&'static str>>,
    /// Whether an observer is being called.
    pub(super) is_telling: Cell<bool>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            task: Cell::new(0),
            context: Cell::new(0),
            waits_for: Cell::new(None),
            is_telling: Cell::new(false),
        }
    };
}

#[inline]
pub(super) fn here<R>(f: impl FnOnce(&Here) -> R) -> R {
    HERE.with(f)
}

/// Whether this thread is in a task that somebody is told of.
#[inline]
pub(crate) fn is_told_here() -> bool {
    here(|here| here.task.get() != 0)
}

/// The number of the task that this code runs in, if an observer is told of that task.
///
/// It is there in polls, in closures of blocking jobs, and in what destructors of either do. For
/// an [`Observer`](crate::Observer) of contexts it says who cancelled and who looked.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Observer};
/// use ripcord_core::tasks::{PollEnd, TaskObserver, current_task};
/// use std::sync::Arc;
///
/// struct Nobody;
/// impl TaskObserver for Nobody {}
/// impl Observer for Nobody {
///     fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> { Some(self) }
/// }
/// let (root, _guard) = Ctx::root().observer(Arc::new(Nobody)).build();
/// let tasks = root.tasks().expect("there is an observer");
/// let turn = tasks.poll_started(7, None, None);
/// assert_eq!(current_task(), Some(7));
/// turn.end(PollEnd::Ready, None);
/// assert_eq!(current_task(), None);
/// ```
#[must_use]
pub fn current_task() -> Option<u64> {
    here(|here| match here.task.get() {
        0 => None,
        task => Some(task),
    })
}

/// Polls a leaf, and notes under what label it waits if it is pending.
///
/// For leaf futures and adapters of one's own: call it in `poll`, around what does the work. What
/// the parts of this leaf noted in the same call is replaced. Of several leaves that are pending
/// in one poll, as in a `select!`, the first one is told, even if it was dropped afterwards.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::labelled;
/// use std::{future::Future, pin::Pin, task::{Context, Poll}};
///
/// struct Permit<F>(F);
/// impl<F: Future + Unpin> Future for Permit<F> {
///     type Output = F::Output;
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
///         labelled("permit", || Pin::new(&mut self.0).poll(cx))
///     }
/// }
/// # let mut cx = Context::from_waker(std::task::Waker::noop());
/// # assert!(Pin::new(&mut Permit(std::future::ready(()))).poll(&mut cx).is_ready());
/// ```
///
/// # Costs
/// One look at a thread-local outside of told tasks, two stores inside.
#[inline]
pub fn labelled<T>(label: &'static str, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
    noted(poll, |_| Some(label))
}

/// As [`labelled`], for what is around leaves: a label that one of them set stays.
#[inline]
pub(super) fn labelled_outside<T>(label: &'static str, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
    noted(poll, |inner| inner.or(Some(label)))
}

/// What was noted before the call stays: the first leaf is told. What is ready waits for nothing.
#[inline]
fn noted<T>(
    poll: impl FnOnce() -> Poll<T>,
    note: impl FnOnce(Option<&'static str>) -> Option<&'static str>,
) -> Poll<T> {
    if !is_told_here() {
        return poll();
    }
    let before = here(|here| here.waits_for.get());
    let result = poll();
    here(|here| {
        here.waits_for.set(match (before, &result) {
            (None, Poll::Pending) => note(here.waits_for.get()),
            _ => before,
        });
    });
    result
}
