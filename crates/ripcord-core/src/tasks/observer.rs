//! [`TaskObserver`]: what it is told, and the words for it.

use std::panic::Location;

/// Is told of the tasks of a tree, handed out by its [`Observer`](crate::Observer).
///
/// All methods have an empty default. They are called on the thread where it happens, without a
/// lock of ripcord held, but a wake may come from a library that holds one of its own: be quick,
/// and do not wait. A panic in one is contained and counted
/// ([`foreign_panics`](crate::foreign_panics)). What an observer itself spawns, wakes or logs
/// while it is called is not told, and counted ([`untold`](super::untold)).
///
/// Numbers of tasks are unique in the process; the clock is not read for any event. Of one task
/// the order is `spawned`, polls that each start and end once, `ended` (spec/context.md C138). A
/// wake is told before the runtime hears of it, so before the poll that it causes.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Observer};
/// use ripcord_core::tasks::{PollEnd, TaskObserver, Tasks};
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
///
/// #[derive(Default)]
/// struct Polls(AtomicU64);
/// impl TaskObserver for Polls {
///     fn poll_started(&self, _task: u64, _worker: Option<u32>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// impl Observer for Polls {
///     fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
///         Some(self)
///     }
/// }
///
/// let polls = Arc::new(Polls::default());
/// let (root, _guard) = Ctx::root().observer(polls.clone()).build();
/// // What a runtime adapter does around each poll:
/// let tasks: Tasks = root.tasks().expect("the tree has an observer of tasks");
/// tasks.poll_started(7, None, None).end(PollEnd::Ready, None);
/// assert_eq!(polls.0.load(Ordering::Relaxed), 1);
/// ```
///
/// # Limitations
/// Only what an adapter spawned is told; see there for other tasks. By whom a task was woken is
/// found out from what the thread is doing, so code that runs outside of every told task is
/// taken for the runtime's own.
pub trait TaskObserver: Send + Sync {
    /// A task, or a job for the blocking threads, was made and is about to be queued.
    fn spawned(&self, task: &Spawned<'_>) {
        let _ = task;
    }

    /// A poll begins, on the worker of that number; `None` where the runtime has no number.
    fn poll_started(&self, task: u64, worker: Option<u32>) {
        let _ = (task, worker);
    }

    /// The poll of that task that began last on this thread is over.
    ///
    /// `waits_for` is the label of the innermost wait of a pending poll, as far as one was set:
    /// see [`labelled`](super::labelled) and [`region`](super::region()).
    fn poll_ended(&self, task: u64, end: PollEnd, waits_for: Option<&'static str>) {
        let _ = (task, end, waits_for);
    }

    /// Somebody called a waker of the task. A task may be woken many times before its next poll,
    /// and after its end.
    fn woken(&self, task: u64, by: WokenBy) {
        let _ = (task, by);
    }

    /// The task's future, or a job's closure, has been dropped; `polls` is how often it was polled.
    ///
    /// A job counts as one poll if it ran.
    fn ended(&self, task: u64, end: TaskEnd, polls: u64) {
        let _ = (task, end, polls);
    }

    /// The rest of this poll works under another context, or again under the one before.
    ///
    /// `None`: under one that is not recorded. Each poll begins under the task's own.
    fn context_changed(&self, task: u64, context: Option<u64>) {
        let _ = (task, context);
    }

    /// A job begins to run on a blocking thread. It was queued when it was `spawned`.
    fn blocking_started(&self, task: u64) {
        let _ = task;
    }

    /// A thread of the runtime began. What it is for, only its end tells.
    fn thread_started(&self) {}

    /// A thread of the runtime is about to end.
    fn thread_stopped(&self, kind: ThreadKind) {
        let _ = kind;
    }

    /// A worker has nothing to do and hands over to the I/O and timer driver.
    fn parked(&self, worker: Option<u32>) {
        let _ = worker;
    }

    /// A worker goes on.
    fn unparked(&self, worker: Option<u32>) {
        let _ = worker;
    }

    /// A [`region`](super::region()) was entered for the first time.
    fn region_begun(&self, region: &Mark<'_>) {
        let _ = region;
    }

    /// The region of that number is over: its future was ready, or was dropped.
    fn region_ended(&self, region: u64) {
        let _ = region;
    }

    /// A line of log, by [`trace_log`](super::trace_log); its number is 0.
    fn logged(&self, line: &Mark<'_>) {
        let _ = line;
    }

    /// A [`user_task`](super::user_task) was begun.
    fn user_task_begun(&self, user_task: &Mark<'_>) {
        let _ = user_task;
    }

    /// The user task of that number is over.
    fn user_task_ended(&self, user_task: u64) {
        let _ = user_task;
    }
}

/// A new task, for [`TaskObserver::spawned`]; valid during the call.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters make it; a field that is added concerns each of them"
)]
pub struct Spawned<'a> {
    /// A number that no other task of this process has.
    pub task: u64,
    /// The task that spawned it, if that is told of too.
    pub parent: Option<u64>,
    /// The number of its context, as in [`Info::id`](crate::Info::id).
    pub context: Option<u64>,
    /// The name given at the spawn.
    pub name: &'a str,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The size of the future or closure, in bytes, with what a scope of the adapter puts around it.
    pub size: usize,
    /// Whether it is a job for the blocking threads.
    pub is_blocking: bool,
}

/// How a poll ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PollEnd {
    /// The task waits.
    Pending,
    /// The task waits, and woke itself in this very poll. A `yield_now` that leaves the wake to
    /// the runtime is `Pending`, and a wake by [`WokenBy::Runtime`] follows.
    Yielded,
    /// The task had used up its turn: the runtime's budget for one poll was there at its
    /// beginning and gone at its end. A poll that ends just as the budget does looks the same.
    Preempted,
    /// The task waits, was not woken in this poll, and no waker of it is left: nobody can wake
    /// it. An abort, or another poll by chance, is all that can come.
    ///
    /// It is never told of a task that can be woken. Of one that cannot it may be missed, where the
    /// wake that led to the poll is still under way on another thread when the poll ends: that one
    /// holds a waker until then.
    Lost,
    /// The task has its result.
    Ready,
    /// A panic went through the poll.
    Panicked,
}

/// Who called a waker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WokenBy {
    /// The task itself, in a poll of its own.
    Itself,
    /// Another task or job, in its poll, its closure or its destructor.
    Task(u64),
    /// The end of a task or job: who joined it is woken.
    Completion(u64),
    /// The I/O or timer driver, on that worker. Known where the runtime's threads are hooked.
    Driver(u32),
    /// That worker outside of every told task: a wake that the runtime had deferred, or a task
    /// that is not told of. Without hooks the driver as well.
    Runtime(u32),
    /// A blocking thread of the runtime, known where its threads are hooked.
    Blocking,
    /// Any other thread.
    Foreign,
}

/// What a task ended with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TaskEnd {
    /// It came to its end, with whatever result.
    Ready,
    /// It panicked, also where its scope has caught that.
    Panicked,
    /// It was aborted by its handle or its scope.
    Aborted,
    /// It was dropped by somebody else: a runtime that shut down, or a spawn that failed.
    Dropped,
}

/// What a thread of the runtime was for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ThreadKind {
    /// It ran tasks: it was parked as a worker at least once.
    Worker,
    /// It ran blocking jobs, or nothing.
    Blocking,
}

/// A mark that user code sets: a region, a line of log, a user task. Valid during the call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Mark<'a> {
    /// A number that no other region or user task has; 0 for a line of log.
    pub id: u64,
    /// The task that it was set in, if that is told of.
    pub task: Option<u64>,
    /// The number of the context that it was set under.
    pub context: Option<u64>,
    /// The name, or the line.
    pub text: &'a str,
    /// Where in the source.
    pub site: &'static Location<'static>,
}

impl<'a> Mark<'a> {
    pub(super) fn new(
        id: u64,
        context: Option<u64>,
        text: &'a str,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            id,
            task: super::current_task(),
            context,
            text,
            site,
        }
    }
}
