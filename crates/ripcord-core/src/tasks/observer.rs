//! [`TaskObserver`]: what it is told, and the words for it.

use crate::cause::Cause;
use crate::sync::Arc;
use std::panic::Location;

/// A task as events name it: its number, and what the observer keeps for it.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::TaskRef;
///
/// let task = TaskRef { id: 7, key: 0 };
/// assert_eq!(task, TaskRef { id: 7, ..task });
/// ```
///
/// # Limitations
/// A program may have several observers, and a task of one tree may wake or spawn one of another:
/// the `key` of such a task is the other observer's. Who looks something up by it checks the `id`
/// that he finds there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters make it; a field that is added concerns each of them"
)]
pub struct TaskRef {
    /// A number that no other task of this process has; not 0.
    pub id: u64,
    /// What the observer returned from [`TaskObserver::spawned`]; 0: nothing.
    pub key: u64,
}

/// A context as events of tasks name it.
///
/// # Examples
/// ```
/// assert!(ripcord_core::Ctx::background().recorded().is_none());
/// ```
///
/// # Limitations
/// As with tasks, the key may be that of another observer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters pass it on; a field that is added concerns each of them"
)]
pub struct ContextRef {
    /// Its number, as in [`Info::id`](crate::Info::id).
    pub id: u64,
    /// What the observer keeps for it, as in [`Info::key`](crate::Info::key); 0: nothing.
    pub key: u64,
}

impl TaskRef {
    /// The key of a task that its observer wants to hear nothing more of.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::tasks::{Spawned, TaskObserver, TaskRef};
    ///
    /// /// Records one task in a hundred.
    /// struct Some;
    /// impl TaskObserver for Some {
    ///     fn spawned(&self, task: &Spawned<'_>) -> u64 {
    ///         if task.task % 100 == 0 { 0 } else { TaskRef::UNTOLD }
    ///     }
    /// }
    /// ```
    pub const UNTOLD: u64 = u64::MAX;

    /// Whether its observer wants to hear more of it.
    #[must_use]
    #[inline]
    pub const fn is_told(self) -> bool {
        self.key != Self::UNTOLD
    }
}

/// Is told of the tasks of a tree, handed out by its [`Observer`](crate::Observer).
///
/// All methods have an empty default. They are called on the thread where it happens, without a
/// lock of ripcord held, but a wake may come from a library that holds one of its own: be quick,
/// and do not wait. A panic in one is contained and counted
/// ([`foreign_panics`](crate::foreign_panics)). What an observer itself spawns, wakes or logs
/// while it is called is not told, and counted ([`untold`](super::untold)).
///
/// Numbers of tasks are unique in the process; the clock is not read for any event. So that an
/// observer need not look a task up for each event, it may give the task a number of its own when
/// it is told of it, and gets that back in every later call: [`TaskRef::key`]. Of one task
/// the order is `spawned`, polls that each start and end once, `ended` (spec/context.md C138). A
/// wake is told before the runtime hears of it, so before the poll that it causes.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Observer};
/// use ripcord_core::tasks::{PollEnd, TaskObserver, TaskRef, Tasks};
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
///
/// #[derive(Default)]
/// struct Polls(AtomicU64);
/// impl TaskObserver for Polls {
///     fn poll_started(&self, _task: TaskRef, _worker: Option<u32>) {
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
/// let task = TaskRef { id: 7, key: 0 };
/// tasks.poll_started(task, None, None).end(PollEnd::Ready, None);
/// assert_eq!(polls.0.load(Ordering::Relaxed), 1);
/// ```
///
/// # Limitations
/// Only what an adapter spawned is told; see there for other tasks. By whom a task was woken is
/// found out from what the thread is doing, so code that runs outside of every told task is
/// taken for the runtime's own.
pub trait TaskObserver: Send + Sync {
    /// A task, or a job for the blocking threads, was made and is about to be queued.
    ///
    /// What is returned comes back as [`TaskRef::key`]: an index, an address, or 0. Of a task with the
    /// key [`TaskRef::UNTOLD`] nothing more is told, so that it costs next to nothing.
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        let _ = task;
        0
    }

    /// A poll begins, on the worker of that number; `None` where the runtime has no number.
    fn poll_started(&self, task: TaskRef, worker: Option<u32>) {
        let _ = (task, worker);
    }

    /// The poll of that task that began last on this thread is over.
    fn poll_ended(&self, task: TaskRef, end: PollEnd, wait: Wait) {
        let _ = (task, end, wait);
    }

    /// Somebody called a waker of the task, for the first time since its last poll began.
    ///
    /// So each poll but the first has one wake. Calls that change nothing any more are not told.
    fn woken(&self, task: TaskRef, by: WokenBy) {
        let _ = (task, by);
    }

    /// The last waker of a task that waits is gone, and it was not woken: nobody can wake it.
    ///
    /// Told once, by whoever gave the waker up, on that thread, or at the end of a poll behind which
    /// the waker went; where the poll itself has ended as [`PollEnd::Lost`] it is not told again. A
    /// wake may follow only from what polls by chance, as one that asks where the task waits.
    fn lost(&self, task: TaskRef) {
        let _ = task;
    }

    /// The task's future, or a job's closure, has been dropped.
    ///
    /// Wakes of the task that were under way may follow.
    fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
        let _ = (task, ended);
    }

    /// The rest of this poll works under another context, or again under the one before.
    ///
    /// `None`: under one that is not recorded. Each poll begins under the task's own.
    fn context_changed(&self, task: TaskRef, context: Option<ContextRef>) {
        let _ = (task, context);
    }

    /// A job begins to run on a blocking thread. It was queued when it was `spawned`.
    fn blocking_started(&self, task: TaskRef) {
        let _ = task;
    }

    /// It was found out where the task waits, in the poll that runs on this thread.
    ///
    /// Names and lines are looked up by [`StackText::leaves`], which takes milliseconds: keep the
    /// stack and ask it on a thread that has time.
    fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        let _ = (task, stack);
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
    fn region_begun(&self, region: &Mark<'static>) {
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
    pub parent: Option<TaskRef>,
    /// Its context, if that is recorded.
    pub context: Option<ContextRef>,
    /// The name given at the spawn.
    pub name: &'a str,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The size of the future or closure, in bytes, with what a scope of the adapter puts around it.
    pub size: usize,
    /// Whether it is a job for the blocking threads.
    pub is_blocking: bool,
}

/// What has ended, for [`TaskObserver::ended`]; valid during the call.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters make it; a field that is added concerns each of them"
)]
pub struct Ended<'a> {
    /// What was said when it was spawned, for those who have not kept it.
    pub spawned: Spawned<'a>,
    /// What it ended with.
    pub end: TaskEnd,
    /// How often it was polled. A job counts as one poll if it ran.
    pub polls: u64,
    /// Why its context was done when it came to its end; `None` if it was not.
    pub cause: Option<&'a Cause>,
}

/// What a poll has left the task waiting for; the default for a poll that does not wait.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::Wait;
///
/// assert_eq!(Wait::default(), Wait { label: None, site: None, listens: false });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "observers are tested with waits of their own making"
)]
pub struct Wait {
    /// The label of the innermost wait, as far as one was set: see [`labelled`](super::labelled)
    /// and [`region`](super::region()).
    pub label: Option<&'static str>,
    /// Where in the source the leaf or the region of that label stands, if that is known: see
    /// [`labelled_at`](super::labelled_at). It may be in a library that polls the leaf.
    pub site: Option<&'static Location<'static>>,
    /// Whether a context was among what the poll waited for: something in it has put a waker
    /// where the end or the drain of a context wakes it, or has found its waker there.
    ///
    /// A part of the task that was not polled may listen, too, and one that did may have been
    /// dropped later in the same poll: a statistic, and no proof.
    pub listens: bool,
}

/// Where a task waits, in words: the stacks of its leaves.
///
/// What an adapter hands over with [`TaskObserver::stack_taken`]. It may be kept, sent to another
/// thread and asked there.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::StackText;
///
/// struct Known;
/// impl StackText for Known {
///     fn leaves(&self) -> Vec<Vec<String>> {
///         vec![vec!["shop::load at src/cart.rs:20:9".to_owned(), "shop::main".to_owned()]]
///     }
/// }
/// assert_eq!(Known.leaves()[0].len(), 2);
/// ```
pub trait StackText: Send + Sync {
    /// The frames of each leaf, the innermost first.
    ///
    /// A frame is `function at file:line:column` where the file is one of the program's own,
    /// `function in library/file:line:column` where it is not, and `function` alone where the
    /// place is not known; a column that is not known is 0. Adapters leave out frames that say
    /// nothing.
    ///
    /// # Costs
    /// The first call may look up names and lines, which takes milliseconds.
    fn leaves(&self) -> Vec<Vec<String>>;
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
    Task(TaskRef),
    /// The end of a task or job: who joined it is woken.
    Completion(TaskRef),
    /// The end or the drain of a context that the task had listened to, by whomever it was ended
    /// and on whatever thread the waiters are woken. With the number of the context where the end
    /// began, as in [`Info::id`](crate::Info::id), where that is known.
    Cancel(Option<u64>),
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
    pub task: Option<TaskRef>,
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
