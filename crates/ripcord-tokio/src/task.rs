//! Tasks that carry a context: `spawn`, `spawn_blocking`, and what is known of each.
//!
//! Every task gets a child context of its own, so that it is known when its end was
//! asked for, when it first looked, and when it was gone.
//!
//! # Costs
//! On top of tokio's spawn: one context with its record, one shared record of the
//! task, and an entry in a sharded register. A poll adds two relaxed stores, one
//! increment and the switch of the current context; no clock is read.

#![allow(unsafe_code, reason = "one pin projection")]

use crate::census;
use crate::latency;
use crate::stack::{AwaitStack, Recorded, poll_recording};
use ripcord_core::{CancelGuard, Cancelled, Canceller, Cause, Ctx, Entered, Watch};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Spawns a task under the current context; the counterpart of `tokio::spawn`.
///
/// The task sees the current context's deadline, cancel and values (without those of
/// `Reach::Local`), and is named after it. It is not stopped when the context is done:
/// it is told, and counted until it is gone.
///
/// If the current context is done already, the future is dropped unpolled and the
/// handle says so.
///
/// # Panics
/// Outside of a tokio runtime.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Ctx;
///
/// let (ctx, _guard) = ripcord_tokio::root().name("job").build();
/// let name = ctx
///     .enter(async { ripcord_tokio::spawn(async { Ctx::current().name().map(str::to_owned) }).await })
///     .await;
/// assert_eq!(name.expect("the task ran").as_deref(), Some("job"));
/// # }
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let ctx = Ctx::current();
    let name = ctx
        .name()
        .map_or(Cow::Borrowed("task"), |name| Cow::Owned(name.to_owned()));
    launch(&ctx, name, Location::caller(), |_| future)
}

/// What contexts can do on tokio.
pub trait CtxExt {
    /// Spawns a task under this context, with a name for reports.
    ///
    /// `make` gets the task's own context. If this context is done already, it is not
    /// called and the handle says so. See [`spawn`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    fn spawn<F, Fut>(&self, name: impl Into<Cow<'static, str>>, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Ctx) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static;

    /// Runs a closure on tokio's blocking threads, under this context.
    ///
    /// It is not run if the context is done by the time it would start. It cannot be
    /// aborted once it runs: it should look at its context with `check`, `wait` or
    /// `sleep`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    fn spawn_blocking<F, T>(&self, name: impl Into<Cow<'static, str>>, run: F) -> JoinHandle<T>
    where
        F: FnOnce(Ctx) -> T + Send + 'static,
        T: Send + 'static;
}

impl CtxExt for Ctx {
    #[track_caller]
    fn spawn<F, Fut>(&self, name: impl Into<Cow<'static, str>>, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Ctx) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        launch(self, name.into(), Location::caller(), make)
    }

    #[track_caller]
    fn spawn_blocking<F, T>(&self, name: impl Into<Cow<'static, str>>, run: F) -> JoinHandle<T>
    where
        F: FnOnce(Ctx) -> T + Send + 'static,
        T: Send + 'static,
    {
        match Prepared::new(self, name.into(), Location::caller(), true) {
            Ok(prepared) => prepared.launch_blocking(None, run),
            Err(refused) => JoinHandle {
                inner: Inner::Refused(Some(refused)),
                core: None,
            },
        }
    }
}

#[track_caller]
fn launch<F, Fut>(
    ctx: &Ctx,
    name: Cow<'static, str>,
    site: &'static Location<'static>,
    make: F,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce(Ctx) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    match Prepared::new(ctx, name, site, false) {
        Ok(prepared) => prepared.launch(None, make),
        Err(refused) => JoinHandle {
            inner: Inner::Refused(Some(refused)),
            core: None,
        },
    }
}

/// Whether and how far a stack of the task was asked for.
const STACK_UNASKED: u8 = 0;
const STACK_WANTED: u8 = 1;
const STACK_TAKEN: u8 = 2;

/// What is known of one task while it lives.
pub(crate) struct TaskCore {
    pub(crate) id: u64,
    pub(crate) name: Cow<'static, str>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) is_blocking: bool,
    ctx: Ctx,
    canceller: Canceller,
    watch: Watch,
    spawned: Instant,
    polls: AtomicU64,
    is_in_poll: AtomicBool,
    stack_stage: AtomicU8,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    waker: Option<Waker>,
    recorded: Option<Recorded>,
    stack: Option<AwaitStack>,
    asker: Option<Waker>,
}

impl TaskCore {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the await stack: the task is woken for one extra poll.
    pub(crate) fn ask_stack(&self, asker: &Waker) {
        let asker = asker.clone();
        let mut shared = self.shared();
        let old = shared.asker.replace(asker);
        let waker = shared.waker.clone();
        drop(shared);
        drop(old);
        // Relaxed: the wake that follows orders the poll after this store.
        self.stack_stage.store(STACK_WANTED, Ordering::Relaxed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn has_stack(&self) -> bool {
        // Acquire: pairs with the Release in `keep_stack`; the stack itself is under the lock.
        self.stack_stage.load(Ordering::Acquire) == STACK_TAKEN
    }

    fn keep_stack(&self, stack: Recorded) {
        let mut shared = self.shared();
        shared.recorded = Some(stack);
        let asker = shared.asker.take();
        drop(shared);
        // Release: pairs with the Acquire in `has_stack`.
        self.stack_stage.store(STACK_TAKEN, Ordering::Release);
        if let Some(asker) = asker {
            asker.wake();
        }
    }

    /// The await stack, if one was recorded; looked up on first use.
    fn stack(&self) -> Option<AwaitStack> {
        let mut shared = self.shared();
        let recorded = shared.recorded.take();
        let known = shared.stack.clone();
        drop(shared);
        let Some(recorded) = recorded else {
            return known;
        };
        let stack = recorded.resolve();
        self.shared().stack = Some(stack.clone());
        Some(stack)
    }

    pub(crate) fn info(&self) -> TaskInfo {
        let cause = self.watch.cause();
        let now = self.ctx.clock_now();
        let overdue = self
            .watch
            .asked()
            .map(|asked| now.saturating_duration_since(asked));
        TaskInfo {
            id: self.id,
            name: self.name.clone().into_owned(),
            site: self.site,
            is_blocking: self.is_blocking,
            age: now.saturating_duration_since(self.spawned),
            cause,
            overdue,
            has_seen: self.watch.seen().is_some(),
            // Relaxed: a report of two independent facts (counter).
            polls: self.polls.load(Ordering::Relaxed),
            // Relaxed: as above.
            is_in_poll: self.is_in_poll.load(Ordering::Relaxed),
            stack: self.stack(),
        }
    }

    /// The task is gone: accounts for it.
    fn ended(&self, was_started: bool) {
        census::leave(self.id);
        let waker = self.shared().waker.take();
        drop(waker);
        if !was_started {
            return;
        }
        let Some(cause) = self.watch.cause() else {
            return;
        };
        let asked = self.watch.asked();
        let since = |at: Instant| asked.map(|asked| at.saturating_duration_since(asked));
        latency::record(latency::Ended {
            name: self.name.clone(),
            site: self.site,
            kind: cause.kind(),
            saw: self.watch.seen().and_then(since),
            gone: since(self.ctx.clock_now()),
        });
    }
}

/// A report about one task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// A number that no other task of this process has.
    pub id: u64,
    /// The name given at the spawn.
    pub name: String,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// Whether it runs on a blocking thread and so cannot be aborted.
    pub is_blocking: bool,
    /// How long ago it was spawned.
    pub age: Duration,
    /// Why it should stop; `None` as long as it should not.
    pub cause: Option<Cause>,
    /// How long ago it was asked to stop.
    pub overdue: Option<Duration>,
    /// Whether it has looked at its context since.
    pub has_seen: bool,
    /// How often it was polled.
    pub polls: u64,
    /// Whether it is being polled right now: a task that is so for long blocks its thread.
    pub is_in_poll: bool,
    /// Where it waits, if that was asked for and the task could be polled.
    pub stack: Option<AwaitStack>,
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name may come from a user: it must not bring control sequences along.
        write!(
            f,
            "task `{}` (spawned at {})",
            self.name.escape_debug(),
            self.site
        )?;
        if let Some(overdue) = self.overdue {
            write!(f, ", asked to stop {overdue:.1?} ago")?;
            f.write_str(if self.has_seen {
                ", saw it"
            } else {
                ", has not looked"
            })?;
        }
        match &self.stack {
            Some(stack) => write!(f, ", waits at {stack}"),
            None if self.is_blocking => f.write_str(", runs on a blocking thread"),
            None if self.is_in_poll => write!(f, ", blocks its thread in poll {}", self.polls),
            None => Ok(()),
        }
    }
}

/// Told when a task's future is dropped.
pub(crate) trait OnEnd: Send + Sync {
    fn ended(&self, task: u64);
}

/// A task that is about to be spawned.
pub(crate) struct Prepared {
    pub(crate) core: Arc<TaskCore>,
    end: End,
}

impl Prepared {
    /// Makes the task's own context, unless `parent` is done.
    #[track_caller]
    pub(crate) fn new(
        parent: &Ctx,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        is_blocking: bool,
    ) -> Result<Self, Cancelled> {
        parent.check()?;
        let (ctx, guard, watch) = parent.for_task().named(name.clone()).watched_child();
        let spawned = ctx.clock_now();
        let core = Arc::new(TaskCore {
            id: census::next_id(),
            name,
            site,
            is_blocking,
            ctx,
            canceller: guard.handle(),
            watch,
            spawned,
            polls: AtomicU64::new(0),
            is_in_poll: AtomicBool::new(false),
            stack_stage: AtomicU8::new(STACK_UNASKED),
            shared: Mutex::default(),
        });
        census::enter(&core);
        let end = End {
            core: Arc::clone(&core),
            guard: Some(guard),
            is_started: false,
            told: None,
        };
        Ok(Self { core, end })
    }

    #[track_caller]
    pub(crate) fn launch<F, Fut>(
        self,
        on_end: Option<Arc<dyn OnEnd>>,
        make: F,
    ) -> JoinHandle<Fut::Output>
    where
        F: FnOnce(Ctx) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let Self { core, mut end } = self;
        end.start(on_end);
        let future = make(core.ctx.clone());
        let task = Tracked {
            future: core.ctx.enter(future),
            waker: None,
            end,
        };
        JoinHandle {
            inner: Inner::Task(tokio::spawn(task)),
            core: Some(core),
        }
    }

    #[track_caller]
    pub(crate) fn launch_blocking<F, T>(
        self,
        on_end: Option<Arc<dyn OnEnd>>,
        run: F,
    ) -> JoinHandle<T>
    where
        F: FnOnce(Ctx) -> T + Send + 'static,
        T: Send + 'static,
    {
        let Self { core, mut end } = self;
        end.start(on_end);
        let task = tokio::task::spawn_blocking(move || {
            let ctx = end.core.ctx.clone();
            ctx.check()?;
            // Relaxed: a report (counter).
            end.core.is_in_poll.store(true, Ordering::Relaxed);
            let result = ctx.enter_sync(|| run(ctx.clone()));
            drop(end);
            Ok(result)
        });
        JoinHandle {
            inner: Inner::Blocking(task),
            core: Some(core),
        }
    }
}

/// Accounts for the end of a task when it is dropped, whatever ended it.
struct End {
    core: Arc<TaskCore>,
    guard: Option<CancelGuard>,
    is_started: bool,
    told: Option<Arc<dyn OnEnd>>,
}

impl End {
    fn start(&mut self, on_end: Option<Arc<dyn OnEnd>>) {
        self.is_started = true;
        self.told = on_end;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Before the guard: its drop would count as the cause.
        self.core.ended(self.is_started);
        drop(self.guard.take());
        if let Some(told) = self.told.take() {
            told.ended(self.core.id);
        }
    }
}

/// The future of a task. Fields drop in order: the user's future before its account.
struct Tracked<F> {
    future: Entered<F>,
    /// The waker last seen, to notice a change without a lock.
    waker: Option<Waker>,
    end: End,
}

impl<F> Tracked<F> {
    /// Keeps the task's waker, for extra polls on demand.
    fn keep_waker(waker: &mut Option<Waker>, core: &TaskCore, cx: &Context<'_>) {
        if waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            return;
        }
        *waker = Some(cx.waker().clone());
        let shared = cx.waker().clone();
        let old = core.shared().waker.replace(shared);
        drop(old);
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with the struct and only reached through the `Pin`
        // made below; the other fields are `Unpin` and not structurally pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` came from a pinned reference on the lines above.
        let mut future = unsafe { Pin::new_unchecked(&mut this.future) };
        let core = &this.end.core;
        Self::keep_waker(&mut this.waker, core, cx);
        // Relaxed: a report (counter).
        core.polls.fetch_add(1, Ordering::Relaxed);
        // Relaxed: as above.
        core.is_in_poll.store(true, Ordering::Relaxed);
        // Relaxed: whoever set it woke this task afterwards.
        let poll = if core.stack_stage.load(Ordering::Relaxed) == STACK_WANTED {
            let (poll, stack) = poll_recording(future.as_mut(), cx);
            core.keep_stack(stack);
            poll
        } else {
            future.poll(cx)
        };
        // Relaxed: a report (counter).
        core.is_in_poll.store(false, Ordering::Relaxed);
        poll
    }
}

/// A handle to a spawned task; resolves to its result.
///
/// Dropping it detaches the task, as with tokio.
///
/// # Cancel safety
/// Dropping it, or a future that awaits `&mut` of it, loses nothing: the task goes on.
pub struct JoinHandle<T> {
    inner: Inner<T>,
    core: Option<Arc<TaskCore>>,
}

enum Inner<T> {
    Task(tokio::task::JoinHandle<T>),
    Blocking(tokio::task::JoinHandle<Result<T, Cancelled>>),
    Refused(Option<Cancelled>),
}

impl<T> JoinHandle<T> {
    /// Asks the task to stop, through its context. Returns whether this call did.
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        self.core
            .as_ref()
            .is_some_and(|core| core.canceller.cancel(cause))
    }

    /// Drops the task's future at its next await. A blocking task that runs is not
    /// stopped by this.
    pub fn abort(&self) {
        match &self.inner {
            Inner::Task(task) => task.abort(),
            Inner::Blocking(task) => task.abort(),
            Inner::Refused(_) => {}
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.inner {
            Inner::Task(task) => task.is_finished(),
            Inner::Blocking(task) => task.is_finished(),
            Inner::Refused(_) => true,
        }
    }

    /// What is known of the task; `None` if it was never started.
    #[must_use]
    pub fn info(&self) -> Option<TaskInfo> {
        self.core.as_ref().map(|core| core.info())
    }

    pub(crate) fn abort_handle(&self) -> Option<tokio::task::AbortHandle> {
        match &self.inner {
            Inner::Task(task) => Some(task.abort_handle()),
            Inner::Blocking(task) => Some(task.abort_handle()),
            Inner::Refused(_) => None,
        }
    }

    fn name(&self) -> Cow<'static, str> {
        self.core
            .as_ref()
            .map_or(Cow::Borrowed("task"), |core| core.name.clone())
    }

    fn failed(&self, error: tokio::task::JoinError) -> JoinError {
        let end = match error.try_into_panic() {
            Ok(payload) => TaskEnd::Panicked(payload),
            Err(_) => TaskEnd::Aborted,
        };
        JoinError {
            name: self.name(),
            end,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.inner {
            Inner::Task(task) => std::task::ready!(Pin::new(task).poll(cx)).map(Ok),
            Inner::Blocking(task) => std::task::ready!(Pin::new(task).poll(cx)),
            Inner::Refused(refused) => match refused.take() {
                Some(refused) => Ok(Err(refused)),
                None => panic!("`JoinHandle` was polled again after it had returned its result"),
            },
        };
        Poll::Ready(match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refused)) => Err(JoinError {
                name: self.name(),
                end: TaskEnd::NotStarted(refused),
            }),
            Err(error) => Err(self.failed(error)),
        })
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Why a task has no result.
pub struct JoinError {
    name: Cow<'static, str>,
    end: TaskEnd,
}

enum TaskEnd {
    Panicked(Box<dyn Any + Send>),
    Aborted,
    NotStarted(Cancelled),
}

impl JoinError {
    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.end, TaskEnd::Panicked(_))
    }

    /// Whether the task was aborted, or its runtime is gone.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self.end, TaskEnd::Aborted)
    }

    /// The cause, if the task was never started because its context was done.
    #[must_use]
    pub fn not_started(&self) -> Option<&Cancelled> {
        match &self.end {
            TaskEnd::NotStarted(cancelled) => Some(cancelled),
            TaskEnd::Panicked(_) | TaskEnd::Aborted => None,
        }
    }

    /// The panic's payload.
    ///
    /// # Errors
    /// Gives the error back if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.end {
            TaskEnd::Panicked(payload) => Ok(payload),
            end => Err(Self { end, ..self }),
        }
    }

    /// Goes on panicking with the task's panic.
    ///
    /// # Errors
    /// Gives the error back if the task did not panic.
    ///
    /// # Panics
    /// With the task's own payload, if it panicked.
    pub fn resume(self) -> Result<std::convert::Infallible, Self> {
        self.try_into_panic().map(|payload| resume_unwind(payload))
    }
}

/// The text of a panic payload, if it is one.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(not a text)")
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.end {
            TaskEnd::Panicked(payload) => {
                write!(f, "task `{name}` panicked: {}", panic_text(&**payload))
            }
            TaskEnd::Aborted => write!(f, "task `{name}` was aborted"),
            TaskEnd::NotStarted(cancelled) => {
                write!(f, "task `{name}` was not started: {cancelled}")
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
