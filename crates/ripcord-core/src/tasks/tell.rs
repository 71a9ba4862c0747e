//! [`Tasks`]: through which a runtime adapter tells, contained and guarded.

use super::here::{Outer, here, switched_to, wait};
use super::observer::{
    ContextRef, Ended, PollEnd, Spawned, StackText, TaskObserver, TaskRef, ThreadKind, Wait,
    WokenBy,
};
use crate::ctx::Ctx;
use crate::panics::{Foreign, Held, contain};
use crate::sync::Arc;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A statistic of the process, outside every model.
static UNTOLD: AtomicU64 = AtomicU64::new(0);

/// How many events were not told because they happened within a call of a [`TaskObserver`].
///
/// Since the process started. An observer that spawns, wakes or logs would otherwise be told of
/// that in turn, and so on; a tool shows this number so that nothing is lost in silence.
///
/// # Examples
/// ```
/// assert_eq!(ripcord_core::tasks::untold(), 0);
/// ```
#[must_use]
pub fn untold() -> u64 {
    // Relaxed: a statistic; it carries nothing (counter).
    UNTOLD.load(Ordering::Relaxed)
}

/// Tells the task observer of a tree; for runtime adapters.
///
/// Got once for each task, from [`Ctx::tasks`], and kept in its record: `None` there is the whole
/// cost of not being observed. No method unwinds. For the order of calls see [`TaskObserver`].
///
/// # Examples
/// ```
/// use ripcord_core::tasks::{TaskObserver, TaskRef, Tasks, WokenBy};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Default)]
/// struct Log(Mutex<Vec<String>>);
/// impl TaskObserver for Log {
///     fn woken(&self, task: TaskRef, by: WokenBy) {
///         self.0.lock().unwrap().push(format!("{} by {by:?}", task.id));
///     }
/// }
/// let log = Arc::new(Log::default());
/// let tasks = Tasks::new(log.clone());
/// tasks.woken(TaskRef { id: 7, key: 0 }, WokenBy::Foreign);
/// assert_eq!(*log.0.lock().unwrap(), ["7 by Foreign"]);
/// ```
///
/// # Costs
/// A clone is a reference count. An event is a thread-local flag and one virtual call.
#[derive(Clone)]
pub struct Tasks(Held<dyn TaskObserver>);

impl Ctx {
    /// Through whom to tell of the tasks of this tree; `None` if nobody wants to know.
    ///
    /// # Examples
    /// ```
    /// assert!(ripcord_core::Ctx::background().tasks().is_none());
    /// ```
    #[must_use]
    pub fn tasks(&self) -> Option<Tasks> {
        self.told().cloned()
    }

    /// As [`tasks`](Self::tasks), for who tells while he has the context: it counts no reference.
    fn told(&self) -> Option<&Tasks> {
        let env = self.node()?.env()?;
        if env.choice.is_untold() {
            return None;
        }
        env.runtime.as_ref()?.tasks.as_ref()
    }

    /// The number under which an [`Observer`](crate::Observer) knows this context.
    ///
    /// `None` in a tree that has neither an observer nor a register.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Info, Observer};
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// #[derive(Default)]
    /// struct Last(AtomicU64);
    /// impl Observer for Last {
    ///     fn created(&self, context: &Info<'_>) { self.0.store(context.id, Ordering::Relaxed); }
    /// }
    /// let last = Arc::new(Last::default());
    /// let (root, _guard) = Ctx::root().observer(last.clone()).build();
    /// assert_eq!(root.recorded_id(), Some(last.0.load(Ordering::Relaxed)));
    /// assert_eq!(Ctx::background().recorded_id(), None);
    /// ```
    #[must_use]
    pub fn recorded_id(&self) -> Option<u64> {
        self.recorded().map(|context| context.id)
    }
}

impl Tasks {
    /// Tells an observer that belongs to no tree, as the hooks of a runtime's threads do.
    #[must_use]
    pub fn new(observer: Arc<dyn TaskObserver>) -> Self {
        Self(Held::new(observer))
    }

    /// One call of the observer, by invariant 1 of the module; what it returned, if it did.
    #[inline]
    fn tell<R>(&self, event: impl FnOnce(&dyn TaskObserver) -> R) -> Option<R> {
        if here(|here| here.is_telling.replace(true)) {
            note_untold();
            return None;
        }
        let result = self
            .0
            .get()
            .and_then(|observer| contain(Foreign::Observer, || event(observer)));
        here(|here| here.is_telling.set(false));
        result
    }

    /// As `tell`, unless the observer wants to hear nothing more of the task.
    #[inline]
    fn tell_of(&self, task: TaskRef, event: impl FnOnce(&dyn TaskObserver)) {
        if task.is_told() {
            self.tell(event);
        }
    }

    /// A task was made and is about to be queued; by what name to call it from now on.
    ///
    /// The key is 0 where the observer has none, has panicked, or could not be told.
    pub fn spawned(&self, task: &Spawned<'_>) -> TaskRef {
        let key = self.tell(|observer| observer.spawned(task));
        TaskRef {
            id: task.task,
            key: key.unwrap_or(0),
        }
    }

    /// A poll begins, with `context` as the number of the task's own context.
    ///
    /// Until the turn ends the task is the current one on this thread.
    pub fn poll_started(
        &self,
        task: TaskRef,
        context: Option<u64>,
        worker: Option<u32>,
    ) -> Turn<'_> {
        self.tell_of(task, |observer| observer.poll_started(task, worker));
        Turn {
            tasks: self,
            task,
            inside: Inside::new(task, context),
        }
    }

    /// Somebody called a waker of the task, the first since its poll began; tell it before the runtime.
    pub fn woken(&self, task: TaskRef, by: WokenBy) {
        self.tell_of(task, |observer| observer.woken(task, by));
    }

    /// The last waker of a task that waits is gone.
    pub fn lost(&self, task: TaskRef) {
        self.tell_of(task, |observer| observer.lost(task));
    }

    /// The task's future or closure has been dropped.
    pub fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
        self.tell_of(task, |observer| observer.ended(task, ended));
    }

    /// A job begins to run. Until what is returned is dropped it is the current task.
    #[must_use = "the job is the current task until this is dropped"]
    pub fn blocking_started(&self, task: TaskRef, context: Option<u64>) -> Inside {
        self.tell_of(task, |observer| observer.blocking_started(task));
        Inside::new(task, context)
    }

    /// It was found out where a task waits. Tell it from within the poll that did.
    pub fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        self.tell_of(task, |observer| observer.stack_taken(task, stack));
    }

    /// A thread of the runtime began.
    pub fn thread_started(&self) {
        self.tell(|observer| observer.thread_started());
    }

    /// A thread of the runtime is about to end.
    pub fn thread_stopped(&self, kind: ThreadKind) {
        self.tell(|observer| observer.thread_stopped(kind));
    }

    /// A worker hands over to the driver.
    pub fn parked(&self, worker: Option<u32>) {
        self.tell(|observer| observer.parked(worker));
    }

    /// A worker goes on.
    pub fn unparked(&self, worker: Option<u32>) {
        self.tell(|observer| observer.unparked(worker));
    }

    /// For the marks of `mark.rs`.
    pub(super) fn mark(&self, event: impl FnOnce(&dyn TaskObserver)) {
        self.tell(event);
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tasks(..)")
    }
}

/// One poll of a task; made by [`Tasks::poll_started`].
///
/// Polls nest, where a task blocks on another runtime: end them in the reverse order, on the
/// thread where they began.
#[must_use = "a poll that is dropped counts as one that panicked"]
pub struct Turn<'a> {
    tasks: &'a Tasks,
    task: TaskRef,
    /// Dropped last: what is told of the end is told from within.
    inside: Inside,
}

impl Turn<'_> {
    /// Ends the poll. `label` comes before what leaves have noted.
    pub fn end(self, end: PollEnd, label: Option<&'static str>) {
        self.tell(end, label);
        // The drop would tell of a panic.
        let this = std::mem::ManuallyDrop::new(self);
        this.inside.leave();
    }

    fn tell(&self, end: PollEnd, label: Option<&'static str>) {
        let wait = match end {
            PollEnd::Ready | PollEnd::Panicked => Wait::default(),
            PollEnd::Pending | PollEnd::Yielded | PollEnd::Preempted | PollEnd::Lost => wait(label),
        };
        self.tasks.tell_of(self.task, |observer| {
            observer.poll_ended(self.task, end, wait);
        });
    }
}

/// Not ended: a panic goes through the poll.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.tell(PollEnd::Panicked, None);
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Makes a task the current one of this thread until it is dropped there.
///
/// For destructors of a task's future, which run outside of its polls: what they wake, spawn and
/// cancel is the task's doing.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::{Inside, TaskRef, current_task};
///
/// let task = TaskRef { id: 7, key: 0 };
/// let inside = Inside::new(task, None);
/// assert_eq!(current_task(), Some(task));
/// drop(inside);
/// assert_eq!(current_task(), None);
/// ```
#[derive(Debug)]
#[must_use = "the task is the current one until this is dropped"]
pub struct Inside(Outer);

impl Inside {
    /// Makes `task`, under the context of that number, the current one.
    pub fn new(task: TaskRef, context: Option<u64>) -> Self {
        Self(Outer::replaced_by(task, context))
    }

    fn leave(&self) {
        self.0.put_back();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.leave();
    }
}

/// An event within a call of an observer.
#[cold]
fn note_untold() {
    // Relaxed: a statistic; it carries nothing (counter).
    UNTOLD.fetch_add(1, Ordering::Relaxed);
}

/// The current task goes on under the context of that number; whether that was told.
///
/// `outer` is the context around the one that is entered or left, which is the current one. It is the
/// tree of `outer` that the task belongs to; a task that is under nothing, as `main` is, is told of in the tree
/// that it enters. Whether that has the observer of the task, its observer finds out by the key.
#[cold]
pub(crate) fn switch(outer: &Ctx, context: Option<ContextRef>) -> bool {
    let inner;
    let tasks = if let Some(tasks) = outer.told() {
        tasks
    } else {
        inner = Ctx::with_current(Ctx::tasks);
        let Some(tasks) = &inner else { return false };
        tasks
    };
    let Some(task) = switched_to(context) else {
        return false;
    };
    tasks.tell_of(task, |observer| observer.context_changed(task, context));
    true
}
