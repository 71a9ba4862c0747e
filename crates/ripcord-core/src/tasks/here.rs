//! What this thread knows: its current task, the context that was told, what is waited for.
//!
//! # Costs
//! Plain cells without a destructor: an access is one load relative to the thread's base, and
//! works while the thread is torn down. In a process where no task was ever told of even that is
//! left out, for one load of a flag that nobody writes: waits and wakes are everywhere, observers
//! are not.

use super::observer::{ContextRef, TaskRef, Wait, WokenBy};
use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// Whether a task of this process was ever told of. Outside every model: a hint.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// No task has the number 0.
const NO_TASK: TaskRef = TaskRef { id: 0, key: 0 };

/// No sweep calls a waker; no context has this number.
const NO_SWEEP: u64 = 0;

/// A sweep calls a waker, of which it is not known where it began; no context has this number.
const UNKNOWN_SWEEP: u64 = u64::MAX;

/// What a leaf or a region calls its wait, and where it stands, if that is known.
type Label = (&'static str, Option<&'static Location<'static>>);

pub(super) struct Here {
    /// The task in whose poll, closure or destructor this thread is.
    task: Cell<TaskRef>,
    /// The context that the observer takes the task to be under; 0: one without a number.
    context: Cell<u64>,
    /// What the first leaf that was pending in this poll waits for.
    label: Cell<Option<Label>>,
    /// Whether a waiter of a context was left pending in this poll.
    listens: Cell<bool>,
    /// The context whose end or drain calls a waker here.
    sweep: Cell<u64>,
    /// Whether an observer is being called.
    pub(super) is_telling: Cell<bool>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            task: Cell::new(NO_TASK),
            context: Cell::new(0),
            label: Cell::new(None),
            listens: Cell::new(false),
            sweep: Cell::new(NO_SWEEP),
            is_telling: Cell::new(false),
        }
    };
}

#[inline]
pub(super) fn here<R>(f: impl FnOnce(&Here) -> R) -> R {
    HERE.with(f)
}

/// Whether there can be anybody to note something for.
#[inline]
fn is_told_anywhere() -> bool {
    // Relaxed: it is set by this thread, in the task that it is in, or by one whose waker it has
    // got by a lock.
    IS_TOLD.load(Ordering::Relaxed)
}

/// Whether this thread is in a task that somebody is told of.
#[inline]
pub(crate) fn is_told_here() -> bool {
    is_told_anywhere() && here(|here| here.task.get().id != NO_TASK.id)
}

/// Whether `context` is another one than the current task of this thread is known to be under.
///
/// So who enters the context that is the current one anyway, as each poll of a task does, looks no
/// further.
#[inline]
pub(crate) fn is_elsewhere(context: Option<ContextRef>) -> bool {
    here(|here| here.context.get() != number_of(context))
}

/// As a thread notes it: 0 for a context without a number.
#[inline]
fn number_of(context: Option<ContextRef>) -> u64 {
    context.map_or(0, |context| context.id)
}

/// What was known of an outer task while another one is the current one.
#[derive(Debug)]
pub(super) struct Outer {
    task: TaskRef,
    context: u64,
    label: Option<Label>,
    listens: bool,
    sweep: u64,
}

impl Outer {
    /// Makes `task` the current one; what is returned puts back the one before.
    pub(super) fn replaced_by(task: TaskRef, context: Option<u64>) -> Self {
        if !is_told_anywhere() {
            // Relaxed: see `is_told_anywhere`.
            IS_TOLD.store(true, Ordering::Relaxed);
        }
        here(|here| Self {
            task: here.task.replace(task),
            context: here.context.replace(context.unwrap_or(0)),
            label: here.label.replace(None),
            listens: here.listens.replace(false),
            sweep: here.sweep.replace(NO_SWEEP),
        })
    }

    pub(super) fn put_back(&self) {
        here(|here| {
            here.task.set(self.task);
            here.context.set(self.context);
            here.label.set(self.label);
            here.listens.set(self.listens);
            here.sweep.set(self.sweep);
        });
    }
}

/// The current task goes on under the context of that number; it, if that is news.
pub(super) fn switched_to(context: Option<ContextRef>) -> Option<TaskRef> {
    let context = number_of(context);
    here(|here| {
        let is_news = here.context.replace(context) != context;
        let task = here.task.get();
        (is_news && task.id != NO_TASK.id).then_some(task)
    })
}

/// What the poll that ends now has left the current task waiting for.
pub(super) fn wait(label: Option<&'static str>) -> Wait {
    here(|here| {
        let label = label.map(|label| (label, None)).or(here.label.get());
        Wait {
            label: label.map(|(label, _)| label),
            site: label.and_then(|(_, site)| site),
            listens: here.listens.get(),
        }
    })
}

/// A waiter stands registered at a context in this poll.
#[inline]
pub(crate) fn note_listening() {
    #[cold]
    #[inline(never)]
    fn note() {
        here(|here| here.listens.set(true));
    }
    if is_told_anywhere() {
        note();
    }
}

/// Calls a waker on behalf of a context that has ended or drains; `wake` must not unwind.
#[inline]
pub(crate) fn swept<R>(origin: Option<u64>, wake: impl FnOnce() -> R) -> R {
    if !is_told_anywhere() {
        return wake();
    }
    let before = here(|here| here.sweep.replace(origin.unwrap_or(UNKNOWN_SWEEP)));
    let result = wake();
    here(|here| here.sweep.set(before));
    result
}

/// Who is about to wake `task` on this thread, as far as the core knows: the task itself, the end
/// of a context, or another task; `None` outside of all of these.
///
/// For the wakers of a runtime adapter, which knows more about its threads.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::{Inside, TaskRef, WokenBy, woken_here};
///
/// let [a, b] = [7, 8].map(|id| TaskRef { id, key: 0 });
/// assert_eq!(woken_here(a), None);
/// let _inside = Inside::new(a, None);
/// assert_eq!(woken_here(a), Some(WokenBy::Itself));
/// assert_eq!(woken_here(b), Some(WokenBy::Task(a)));
/// ```
#[must_use]
pub fn woken_here(task: TaskRef) -> Option<WokenBy> {
    here(|here| match (here.task.get(), here.sweep.get()) {
        (current, _) if current.id == task.id => Some(WokenBy::Itself),
        (_, UNKNOWN_SWEEP) => Some(WokenBy::Cancel(None)),
        (current, NO_SWEEP) if current.id == NO_TASK.id => None,
        (current, NO_SWEEP) => Some(WokenBy::Task(current)),
        (_, origin) => Some(WokenBy::Cancel(Some(origin))),
    })
}

/// The task that this code runs in, if an observer is told of that task.
///
/// It is there in polls, in closures of blocking jobs, and in what destructors of either do. For
/// an [`Observer`](crate::Observer) of contexts it says who cancelled and who looked.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Observer};
/// use ripcord_core::tasks::{PollEnd, TaskObserver, TaskRef, current_task};
/// use std::sync::Arc;
///
/// struct Nobody;
/// impl TaskObserver for Nobody {}
/// impl Observer for Nobody {
///     fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> { Some(self) }
/// }
/// let (root, _guard) = Ctx::root().observer(Arc::new(Nobody)).build();
/// let tasks = root.tasks().expect("there is an observer");
/// let task = TaskRef { id: 7, key: 0 };
/// let turn = tasks.poll_started(task, None, None);
/// assert_eq!(current_task(), Some(task));
/// turn.end(PollEnd::Ready, None);
/// assert_eq!(current_task(), None);
/// ```
#[must_use]
pub fn current_task() -> Option<TaskRef> {
    let task = here(|here| here.task.get());
    (task.id != NO_TASK.id).then_some(task)
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
    noted(poll, |_| Some((label, None)))
}

/// As [`labelled`], with where in the source the leaf stands.
///
/// A `poll` that is `#[track_caller]` knows that without keeping it: its caller is the `.await`. Where
/// something of a library polls, as a boxed future does, the place is one of the library's.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::labelled_at;
/// use std::panic::Location;
/// use std::{future::Future, pin::Pin, task::{Context, Poll}};
///
/// struct Permit<F>(F);
/// impl<F: Future + Unpin> Future for Permit<F> {
///     type Output = F::Output;
///     #[track_caller]
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
///         labelled_at("permit", Location::caller(), || Pin::new(&mut self.0).poll(cx))
///     }
/// }
/// # let mut cx = Context::from_waker(std::task::Waker::noop());
/// # assert!(Pin::new(&mut Permit(std::future::ready(()))).poll(&mut cx).is_ready());
/// ```
///
/// # Costs
/// Those of [`labelled`].
#[inline]
pub fn labelled_at<T>(
    label: &'static str,
    site: &'static Location<'static>,
    poll: impl FnOnce() -> Poll<T>,
) -> Poll<T> {
    noted(poll, |_| Some((label, Some(site))))
}

/// As [`labelled_at`], for what is around leaves: a label that one of them set stays.
#[inline]
pub(super) fn labelled_outside<T>(
    label: &'static str,
    site: &'static Location<'static>,
    poll: impl FnOnce() -> Poll<T>,
) -> Poll<T> {
    noted(poll, |inner| inner.or(Some((label, Some(site)))))
}

/// What was noted before the call stays: the first leaf is told. What is ready waits for nothing.
#[inline]
fn noted<T>(
    poll: impl FnOnce() -> Poll<T>,
    note: impl FnOnce(Option<Label>) -> Option<Label>,
) -> Poll<T> {
    if !is_told_here() {
        return poll();
    }
    let before = here(|here| here.label.get());
    let result = poll();
    here(|here| {
        here.label.set(match (before, &result) {
            (None, Poll::Pending) => note(here.label.get()),
            _ => before,
        });
    });
    result
}
