//! Tasks that carry a context: `spawn`, `spawn_blocking`, and what is known of each.
//!
//! Every task gets a child context of its own, so that it is known when its end was
//! asked for, when it first looked, and when it was gone.
//!
//! # Invariants
//! 1. A task's account, `End`, is settled exactly once: when its future or closure has been
//!    dropped, by whatever way. It leaves the register, the latencies are recorded, its guard
//!    goes, and its scope is told, in this order.
//! 2. The waker that is kept for extra polls is given up with the account. It holds the task
//!    alive, and the task holds the record: a circle until then.
//! 3. A stack is asked for and stored under the lock of `shared`. A question drops what an
//!    earlier one found, so what answers it comes from a poll that ended after it.
//!
//! # Lock order
//! `shared` is taken alone. Wakers are cloned before it and woken and dropped after it: each
//! of these may run foreign code.
//!
//! # Costs
//! On top of tokio's spawn: one context with its record, one shared record of the
//! task, and an entry in a sharded register. A poll adds three relaxed stores
//! and the switch of the current context; no clock is read.

#![allow(unsafe_code, reason = "one pin projection")]

use crate::census;
use crate::join::JoinHandle;
use crate::latency;
use crate::stack::{AwaitStack, poll_recording};
use crate::sync::{self, Entered, Mutex, MutexGuard};
use crate::trace::{Held, Traced, Wakeable};
use ripcord_core::{CancelGuard, Cancelled, Canceller, Cause, Ctx, Hook, Watch};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Spawns a task under the current context; the counterpart of `tokio::spawn`.
///
/// The task sees the current context's deadline, cancel and values (without those of
/// `Reach::Local`), and is named after it. It is not stopped when the context is done:
/// it is told, and counted until it is gone.
///
/// If the current context is done already, the future is dropped unpolled and the
/// handle says so.
///
/// Outside of every context it spawns under [`Ctx::background`], which is never done; the task
/// then ends by itself or by [`JoinHandle::cancel`]. To wait for tasks rather than to let them
/// go on alone use [`scope`](crate::scope()).
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
///
/// Implemented for [`Ctx`] only. For tasks that must be over before a function returns see
/// [`scope`](crate::scope()); these here go on when their handle is dropped.
pub trait CtxExt {
    /// Spawns a task under this context, with a name for reports.
    ///
    /// `make` gets the task's own context. If this context is done already, it is not
    /// called and the handle says so. See [`spawn`].
    ///
    /// The name stands in dumps, in [`live_tasks`](crate::live_tasks), in panics and in the rows of
    /// [`latency_report`](crate::latency_report), so there it should be of the kind of the work
    /// and not carry a number for each request.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_tokio::CtxExt as _;
    ///
    /// let (ctx, guard) = ripcord_tokio::root().build();
    /// let task = ctx.spawn("poller", |ctx| async move {
    ///     // It is told, not stopped: here is the place to clean up.
    ///     ctx.done().await.message().map(str::to_owned)
    /// });
    /// guard.cancel("enough polled");
    /// assert_eq!(task.await.expect("it ends by itself").as_deref(), Some("enough polled"));
    /// # }
    /// ```
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
    /// Inside the closure [`Ctx::current`] is the task's context too, so library code that it calls
    /// finds its deadline. A closure that never looks holds its thread, and the shutdown of the
    /// runtime, until it returns by itself; [`overdue_tasks`](crate::overdue_tasks) names it.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_tokio::CtxExt as _;
    ///
    /// let (ctx, guard) = ripcord_tokio::root().build();
    /// let (tell, started) = tokio::sync::oneshot::channel();
    /// let task = ctx.spawn_blocking("watch", |ctx| {
    ///     tell.send(()).expect("somebody listens");
    ///     ctx.wait() // Or `check` between two pieces of work.
    /// });
    /// started.await.expect("it has started");
    /// guard.cancel("enough seen");
    /// assert_eq!(task.await.expect("it came back").message(), Some("enough seen"));
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    fn spawn_blocking<F, T>(&self, name: impl Into<Cow<'static, str>>, run: F) -> JoinHandle<T>
    where
        F: FnOnce(Ctx) -> T + Send + 'static,
        T: Send + 'static;

    /// Registers async work that runs once, as a task of its own, when the context is done.
    ///
    /// For a clean-up that has to await: a goodbye to a peer, a lease to be given back. The task
    /// gets the cause, and a context with the values and the clock of this one that ends `limit`
    /// after the hook ran: this one is over, so it would let nothing happen any more. A forced
    /// shutdown does not end the task; to be waited for at the end of a program it belongs into a
    /// [`scope`](crate::scope()), in a [shield](Ctx::shield).
    ///
    /// The rest is as with [`Ctx::on_done`]: on a context that is done already the task is spawned
    /// at once, and a hook that is dropped or [stopped](Hook::stop) before spawns none. A hook that
    /// [has run](Hook::has_run) has spawned its task; to drop it then changes nothing.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_tokio::CtxExt as _;
    /// use std::time::Duration;
    ///
    /// let (ctx, guard) = ripcord_tokio::root().build();
    /// let (tell, told) = tokio::sync::oneshot::channel();
    /// let _lease = ctx.on_done_async("give back the lease", Duration::from_secs(1), |cause, ctx| async move {
    ///     let sent = ctx.run(async { cause.message().map(str::to_owned) }).await;
    ///     let _ = tell.send(sent);
    /// });
    /// guard.cancel("deploy");
    /// assert_eq!(told.await.expect("it ran"), Ok(Some("deploy".to_owned())));
    /// # }
    /// ```
    ///
    /// # Costs
    /// A hook; the task only once it runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime. On a runtime that is gone when the hook runs, the work is dropped.
    #[track_caller]
    fn on_done_async<F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        limit: Duration,
        make: F,
    ) -> Hook
    where
        F: FnOnce(Cause, Ctx) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static;
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
            Ok(prepared) => prepared.launch_blocking(None, |ctx| Ok(run(ctx?))),
            Err(refused) => JoinHandle::refused(refused),
        }
    }

    #[track_caller]
    fn on_done_async<F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        limit: Duration,
        make: F,
    ) -> Hook
    where
        F: FnOnce(Cause, Ctx) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (name, site) = (name.into(), Location::caller());
        let runtime = Handle::current();
        // Detached: a hook that held its own context would keep it alive.
        let values = self.detach();
        self.on_done(move |cause| {
            let _entered = runtime.enter();
            let (ctx, cause) = (values.with_timeout(limit), cause.clone());
            drop(launch(&ctx, name, site, |ctx| make(cause, ctx)));
        })
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
        Err(refused) => JoinHandle::refused(refused),
    }
}

/// Whether and how far a stack of the task was asked for.
const STACK_UNASKED: u8 = 0;
const STACK_WANTED: u8 = 1;
const STACK_TAKEN: u8 = 2;

/// What is known of one task while it lives.
///
/// Shared by the task, its handle, its scope and whoever is just making a report. The register
/// has a weak reference only, so a handle that is kept does not keep a task listed.
pub(crate) struct TaskCore {
    pub(crate) id: u64,
    pub(crate) name: Cow<'static, str>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) is_blocking: bool,
    pub(crate) ctx: Ctx,
    pub(crate) canceller: Canceller,
    watch: Watch,
    spawned: Instant,
    polls: AtomicU64,
    is_in_poll: AtomicBool,
    /// It came to its end before anybody had asked for that.
    is_unasked: AtomicBool,
    /// Written under the lock of `shared`; read without it before each poll.
    stack_stage: AtomicU8,
    /// There only if the tree has a task observer.
    pub(crate) traced: Option<Box<Traced>>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Gone, with everything else here, when the task is: it would keep the task alive.
    waker: Option<Waker>,
    stack: Option<AwaitStack>,
    /// Those who wait for the stack, or for the end.
    askers: Vec<Waker>,
    is_over: bool,
}

impl TaskCore {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the await stack: the task is woken for one extra poll.
    ///
    /// What an earlier question found is dropped, so that nobody takes an old place for the present
    /// one. A task that was never polled has no waker yet, and answers in its first poll.
    pub(crate) fn ask_stack(&self) {
        let mut shared = self.shared();
        if shared.is_over {
            return;
        }
        let stale = shared.stack.take();
        // Relaxed: a poll that began before has not kept its waker yet, and does so under
        // the lock before it looks; any other is set off by the wake below.
        self.stack_stage.store(STACK_WANTED, Ordering::Relaxed);
        let waker = shared.waker.clone();
        drop(shared);
        drop(stale);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether the stack that was asked for is there or will never be; if not, `asker` is
    /// woken when it is.
    pub(crate) fn has_answered(&self, asker: &Waker) -> bool {
        let asker = asker.clone();
        let mut shared = self.shared();
        // Relaxed: written under this lock.
        if shared.is_over || self.stack_stage.load(Ordering::Relaxed) != STACK_WANTED {
            drop(shared);
            return true;
        }
        if !shared.askers.iter().any(|known| known.will_wake(&asker)) {
            shared.askers.push(asker);
        }
        false
    }

    /// Stores the answer of an extra poll and wakes all who asked.
    ///
    /// The answer may come from a poll that ended the task; then nobody will look at it.
    fn keep_stack(&self, stack: AwaitStack) {
        let mut shared = self.shared();
        let stale = shared.stack.replace(stack);
        // Relaxed: written under this lock.
        self.stack_stage.store(STACK_TAKEN, Ordering::Relaxed);
        let askers = std::mem::take(&mut shared.askers);
        drop(shared);
        drop(stale);
        askers.into_iter().for_each(Waker::wake);
    }

    /// The task has come to its end, and what is told of that may end its context.
    ///
    /// Whoever fails a scope is not stopped by the cancel that follows: it would count as the
    /// quickest of all siblings.
    pub(crate) fn note_end(&self) {
        // Relaxed: read by the same task, in `ended`.
        self.is_unasked
            .store(self.watch.cause().is_none(), Ordering::Relaxed);
    }

    /// Why and for how long the task should have stopped; the time is unknown as in [`Watch::asked`].
    pub(crate) fn overdue(&self) -> Option<(Cause, Option<Duration>)> {
        let cause = self.watch.cause()?;
        let asked = self.watch.asked();
        let since = asked.map(|asked| self.ctx.clock_now().saturating_duration_since(asked));
        Some((cause, since))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shared().is_over
    }

    /// A report of now, by the clock of the task's tree.
    ///
    /// Its parts are read one after the other while the task goes on: each is true, together they
    /// may mix two moments. Looking at the cause does not count as the task's own look.
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
            stack: self.shared().stack.clone(),
        }
    }

    /// A poll as it is, or one that records the stack that was asked for.
    fn poll_once<F: Future>(&self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Relaxed: see `ask_stack`.
        if self.stack_stage.load(Ordering::Relaxed) != STACK_WANTED {
            return future.poll(cx);
        }
        let (poll, stack) = poll_recording(|cx| future.poll(cx), cx);
        if let Some(traced) = &self.traced {
            traced.stack_taken(&stack);
        }
        self.keep_stack(stack);
        poll
    }

    fn tell_ended(&self, cause: Option<&Cause>) {
        if let Some(traced) = &self.traced {
            // Relaxed: written by the same task.
            let is_in_poll = self.is_in_poll.load(Ordering::Relaxed);
            // Relaxed: as above (counter).
            let polls = self.polls.load(Ordering::Relaxed);
            let ran = u64::from(self.is_blocking && is_in_poll);
            traced.ended(self.who(), is_in_poll, polls + ran, cause);
        }
    }

    /// The task is gone: accounts for it. Why its context was done, if it was.
    ///
    /// Latencies count only for a task that was started and whose context was done when it came to
    /// its end: it is the time to *stop* that is measured, not the time to run.
    fn ended(&self, was_started: bool) -> Option<Cause> {
        census::leave(self.id);
        let mut shared = self.shared();
        shared.is_over = true;
        let (waker, askers) = (shared.waker.take(), std::mem::take(&mut shared.askers));
        drop(shared);
        drop(waker);
        askers.into_iter().for_each(Waker::wake);
        // Relaxed: written by the same task, in `note_end`.
        if !was_started || self.is_unasked.load(Ordering::Relaxed) {
            return None;
        }
        let cause = self.watch.cause()?;
        let asked = self.watch.asked();
        let since = |at: Instant| asked.map(|asked| at.saturating_duration_since(asked));
        latency::record(latency::Ended {
            name: self.name.clone(),
            site: self.site,
            kind: cause.kind(),
            saw: self.watch.seen().and_then(since),
            gone: since(self.ctx.clock_now()),
        });
        Some(cause)
    }
}

/// A report about one task.
///
/// Made by [`live_tasks`](crate::live_tasks), [`inspect_overdue`](crate::inspect_overdue),
/// [`JoinHandle::info`] and [`ScopeError::stragglers`](crate::ScopeError::stragglers). It is a
/// copy and does not keep the task alive. `Display` is one line for a log: name, place of the
/// spawn, for how long it has been overdue, whether it looked, and where it waits.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::CtxExt as _;
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("deaf", |_| std::future::pending::<()>());
/// tokio::task::yield_now().await; // Its first poll.
/// guard.cancel("enough");
/// let info = task.info().expect("it has not ended");
/// assert!(info.overdue.is_some() && !info.has_seen);
/// assert_eq!((info.name.as_str(), info.polls, info.is_in_poll), ("deaf", 1, false));
/// task.abort();
/// # }
/// ```
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
///
/// By then the task is out of the register, and its context is done. Called at most once, on
/// whatever thread dropped the future, and never under a lock of this crate.
pub(crate) trait OnEnd: Send + Sync {
    fn ended(&self, task: u64);
}

/// A task that was not spawned, and why.
pub(crate) struct Refused {
    pub(crate) name: Cow<'static, str>,
    pub(crate) cancelled: Cancelled,
}

/// A task that is about to be spawned.
///
/// It is in the register already. Dropped without a launch it leaves the register, and is not
/// counted among the latencies: no code of it ran.
pub(crate) struct Prepared {
    pub(crate) core: Arc<TaskCore>,
    end: End,
}

impl Prepared {
    /// Makes the task's own context, unless `parent` is done.
    ///
    /// # Errors
    /// The [`Cancelled`] of `parent`, with the name; nothing was entered then.
    #[track_caller]
    pub(crate) fn new(
        parent: &Ctx,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        is_blocking: bool,
    ) -> Result<Self, Refused> {
        if let Err(cancelled) = parent.check() {
            return Err(Refused { name, cancelled });
        }
        let (ctx, guard, watch) = parent.for_task().named(name.clone()).watched_child();
        let spawned = ctx.clock_now();
        let id = census::next_id();
        let core = Arc::new(TaskCore {
            id,
            name,
            site,
            is_blocking,
            traced: Traced::new(id, &ctx).map(Box::new),
            ctx,
            canceller: guard.handle(),
            watch,
            spawned,
            polls: AtomicU64::new(0),
            is_in_poll: AtomicBool::new(false),
            is_unasked: AtomicBool::new(false),
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

    /// Makes the future, under the task's context, and spawns it.
    ///
    /// The account is started before `make` is called: should that panic, the unwinding drops
    /// `end`, and the task is out of the books. Its scope is told as well.
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
        let future = sync::enter_sync(&core.ctx, || make(core.ctx.clone()));
        core.tell_spawned(size_of_val(&future));
        let task = Tracked {
            future: ManuallyDrop::new(sync::enter(&core.ctx, future)),
            waker: None,
            wakeable: core.traced.as_deref().and_then(Traced::wakeable),
            end,
        };
        JoinHandle::task(sync::spawn(task), core)
    }

    /// `run` is given the cause instead of a context if that is done before it starts.
    #[track_caller]
    pub(crate) fn launch_blocking<F, T>(
        self,
        on_end: Option<Arc<dyn OnEnd>>,
        run: F,
    ) -> JoinHandle<T>
    where
        F: FnOnce(Result<Ctx, Cancelled>) -> Result<T, Cancelled> + Send + 'static,
        T: Send + 'static,
    {
        let Self { core, mut end } = self;
        end.start(on_end);
        let size = size_of_val(&run);
        let task = TrackedBlocking { run, end };
        core.tell_spawned(size);
        JoinHandle::blocking(sync::spawn_blocking(move || task.run()), core)
    }
}

/// Accounts for the end of a task when it is dropped, whatever ended it.
///
/// Return, panic, abort, a runtime that shuts down, and a spawn that never was all come by
/// here, and by nothing else (invariant 1).
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
        let traced = self.core.traced.as_deref();
        let inside = traced.map(Traced::inside);
        // Before the guard: its drop would count as the cause.
        let cause = self.core.ended(self.is_started);
        drop(self.guard.take());
        drop(inside);
        self.core.tell_ended(cause.as_ref());
        if let Some(told) = self.told.take() {
            traced.inspect(|traced| traced.completed());
            told.ended(self.core.id);
        }
        // Once more: the runtime wakes whoever joined the task, after this.
        traced.inspect(|traced| traced.completed());
    }
}

/// The closure of a blocking task. Fields drop in order: it goes before its account, also
/// if it is never run.
struct TrackedBlocking<F> {
    run: F,
    end: End,
}

impl<F> TrackedBlocking<F> {
    fn run<T>(self) -> Result<T, Cancelled>
    where
        F: FnOnce(Result<Ctx, Cancelled>) -> Result<T, Cancelled>,
    {
        let Self { run, end } = self;
        let core = &end.core;
        let ctx = core.ctx.check().map(|()| core.ctx.clone());
        // Relaxed: a report (counter).
        core.is_in_poll.store(ctx.is_ok(), Ordering::Relaxed);
        let Some(traced) = core.traced.as_ref().filter(|_| ctx.is_ok()) else {
            return sync::enter_sync(&core.ctx, || run(ctx));
        };
        let _inside = traced.blocking_started();
        let result = sync::enter_sync(&core.ctx, || run(ctx));
        traced.note_ready();
        result
    }
}

/// The future of a task. Fields drop in order: the user's future before its account.
///
/// So "gone" means that destructors have run, and a scope that was told can rely on what they
/// release being free.
struct Tracked<F> {
    /// Dropped by our own `drop`, before the other fields.
    future: ManuallyDrop<Entered<F>>,
    /// The waker last seen, to notice a change without a lock.
    waker: Option<Waker>,
    wakeable: Option<Held>,
    end: End,
}

impl<F> Tracked<F> {
    /// Keeps the task's waker, for extra polls on demand.
    ///
    /// A task on tokio has one waker for life, so after the first poll this is a comparison of two
    /// pointers. When it does change, the new one is stored before the future is polled.
    fn keep_waker(&mut self, cx: &Context<'_>) {
        let known = self.waker.as_ref();
        if known.is_some_and(|known| known.will_wake(cx.waker())) {
            return;
        }
        self.waker = Some(cx.waker().clone());
        let shared = if let Some(held) = &self.wakeable {
            held.wakeable().keep(cx.waker());
            // Told of, and passed on to the one that was just kept.
            Waker::from(Arc::clone(held.wakeable()))
        } else {
            cx.waker().clone()
        };
        let old = self.end.core.shared().waker.replace(shared);
        drop(old);
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with the struct and only reached through the `Pin`
        // made below; the other fields are `Unpin` and not structurally pinned.
        let this = unsafe { self.get_unchecked_mut() };
        this.keep_waker(cx);
        // SAFETY: `this` came from a pinned reference on the lines above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        let core = &this.end.core;
        // Relaxed both: a report (counter). The runtime orders the polls of a task, and nobody else
        // writes it: no read-modify-write.
        let polls = core.polls.load(Ordering::Relaxed).wrapping_add(1);
        core.polls.store(polls, Ordering::Relaxed);
        // Relaxed: as above.
        core.is_in_poll.store(true, Ordering::Relaxed);
        let poll = match (&this.wakeable, &core.traced) {
            (Some(held), Some(traced)) => {
                let poll = Wakeable::poll(held.wakeable(), |cx| core.poll_once(future, cx));
                if poll.is_ready() {
                    traced.note_ready();
                }
                poll
            }
            _ => core.poll_once(future, cx),
        };
        // Relaxed: a report (counter).
        core.is_in_poll.store(false, Ordering::Relaxed);
        poll
    }
}

impl<F> Drop for Tracked<F> {
    fn drop(&mut self) {
        let traced = self.end.core.traced.as_deref();
        let _inside = traced.map(Traced::inside);
        // Before the future: with that its wakers go, and nobody waits for them any more.
        drop(self.wakeable.take());
        // SAFETY: this is the only drop of `future`, which nobody touches after it. It is dropped
        // in place, as a pinned value has to be.
        unsafe { ManuallyDrop::drop(&mut self.future) };
    }
}
