//! [`Scope`]: the handle through which tasks are spawned into a scope.
//!
//! # Invariants
//! 1. A task is entered in `live` under the lock, before it is spawned, and only while
//!    the scope is open. The scope closes under the same lock, when `live` is empty. So
//!    a spawn that races the end is either joined or refused.
//! 2. A task leaves `live` when its future has been dropped.
//!
//! # Lock order
//! The scope's lock is taken alone; nothing foreign runs under it.

use super::error::{Failure, FailureKind, SpawnError};
use super::future::Options;
use crate::task::{JoinHandle, OnEnd, Prepared, TaskCore, panic_text};
use ripcord_core::{CancelGuard, Cancelled, Cause, Ctx, Kind};
use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

/// What the failure of one task means for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Policy {
    /// The first failure cancels the others, and the scope returns it.
    #[default]
    FailFast,
    /// All run to their end; the scope returns the first failure and the others.
    CollectAll,
    /// The first task that succeeds cancels the others; the scope fails only if every
    /// task did.
    FirstOk,
    /// Failures stay with the task: see its handle. Only the body's own fails the scope.
    Supervise,
}

/// What becomes of a panic in a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// It is resumed from the scope, with its own payload, after the others were joined.
    #[default]
    Resume,
    /// It is a failure like an error.
    AsError,
}

/// The place to spawn tasks into; a clone is the same scope.
///
/// Given to the closure of [`scope`](super::scope).
pub struct Scope<E> {
    pub(super) inner: Arc<Inner<E>>,
}

impl<E> Clone for Scope<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

pub(super) struct Inner<E> {
    pub(super) ctx: Ctx,
    pub(super) guard: CancelGuard,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) limit: Option<(usize, Arc<Semaphore>)>,
    pub(super) idle: Notify,
    state: Mutex<State<E>>,
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "four facts that come in any order"
)]
pub(super) struct State<E> {
    pub(super) live: HashMap<u64, Entry>,
    pub(super) is_closed: bool,
    /// The scope's future was dropped half-way: what is spawned now is aborted.
    pub(super) is_dropped: bool,
    pub(super) is_body_over: bool,
    /// A failure, or a win, has cancelled the siblings.
    pub(super) is_decided: bool,
    pub(super) first: Option<Failure<E>>,
    pub(super) others: Vec<Failure<E>>,
    pub(super) succeeded: usize,
}

pub(super) struct Entry {
    pub(super) core: Arc<TaskCore>,
    pub(super) abort: Option<AbortHandle>,
}

impl<E> Inner<E> {
    pub(super) fn new(ctx: Ctx, guard: CancelGuard, options: Options) -> Self {
        let Options {
            policy,
            panics,
            limit,
            ..
        } = options;
        let state = State {
            live: HashMap::new(),
            is_closed: false,
            is_dropped: false,
            is_body_over: false,
            is_decided: false,
            first: None,
            others: Vec::new(),
            succeeded: 0,
        };
        let limit = limit.map(|limit| (limit, Arc::new(Semaphore::new(limit))));
        Self {
            ctx,
            guard,
            policy,
            panics,
            limit,
            idle: Notify::new(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Send + 'static> Inner<E> {
    /// A task failed, and that is the scope's business.
    fn failed(&self, failure: Failure<E>) {
        let decides = self.policy == Policy::FailFast;
        let name = failure.task.clone();
        let mut state = self.state();
        let is_echo = state.is_decided && is_cancellation(&failure.kind);
        if is_echo {
            // A sibling that says it was cancelled, after we cancelled it.
        } else if state.first.is_none() {
            state.first = Some(failure);
        } else if is_panic(&failure.kind)
            && !state
                .first
                .as_ref()
                .is_some_and(|first| is_panic(&first.kind))
        {
            // A panic is resumed even if an error came first.
            let earlier = state.first.replace(failure);
            state.others.extend(earlier);
        } else {
            state.others.push(failure);
        }
        let cancels = decides && !state.is_decided;
        state.is_decided |= decides;
        drop(state);
        if cancels {
            self.guard.cancel(
                Cause::new(Kind::SiblingFailed).with_message(format!("task `{name}` failed")),
            );
        }
    }

    /// A task came to its end: tells the scope, then the task's handle.
    pub(super) fn settle<T>(
        &self,
        name: Cow<'static, str>,
        result: std::thread::Result<Result<T, E>>,
        tell: oneshot::Sender<Result<T, Gone<E>>>,
    ) {
        let kind = match result {
            Ok(Ok(value)) => {
                self.succeeded(&name);
                let _ = tell.send(Ok(value));
                return;
            }
            Ok(Err(error)) => FailureKind::Error(error),
            Err(payload) => FailureKind::Panic(payload),
        };
        let gone = if self.policy == Policy::Supervise {
            Gone::Kept(kind)
        } else {
            self.failed(Failure { task: name, kind });
            Gone::Failed
        };
        let _ = tell.send(Err(gone));
    }

    fn succeeded(&self, name: &str) {
        let mut state = self.state();
        state.succeeded += 1;
        let wins = self.policy == Policy::FirstOk && !state.is_decided;
        state.is_decided |= wins;
        drop(state);
        if wins {
            self.guard.cancel(
                Cause::new(Kind::Cancelled).with_message(format!("task `{name}` was first")),
            );
        }
    }
}

fn is_panic<E>(kind: &FailureKind<E>) -> bool {
    matches!(kind, FailureKind::Panic(_))
}

/// Whether an error only says that the task was cancelled, and not by a deadline of its own.
fn is_cancellation<E: 'static>(kind: &FailureKind<E>) -> bool {
    let FailureKind::Error(error) = kind else {
        return false;
    };
    let any: &dyn Any = error;
    any.downcast_ref::<Cancelled>()
        .is_some_and(|cancelled| !cancelled.is_deadline())
}

impl<E: Send + 'static> OnEnd for Inner<E> {
    fn ended(&self, task: u64) {
        let entry = self.state().live.remove(&task);
        drop(entry);
        self.idle.notify_waiters();
    }
}

impl<E: Send + 'static> Scope<E> {
    /// The context of the scope; its tasks run under children of it.
    pub fn ctx(&self) -> &Ctx {
        &self.inner.ctx
    }

    /// Cancels the scope. Returns whether this call did.
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        self.inner.guard.cancel(cause)
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.state().live.len()
    }

    /// Whether all tasks have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spawns a task into the scope, which waits for it before it returns.
    ///
    /// `make` gets the task's own context, and its future decides with `Ok` or `Err`.
    /// With a limit, the task waits for a place before its future is first polled; if
    /// the scope is cancelled meanwhile, the future is dropped unpolled and the handle
    /// says so.
    ///
    /// # Errors
    /// [`Cancelled`] if the scope's context is done or the scope has returned: `make` is
    /// not called.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<T, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        make: F,
    ) -> Result<Task<T, E>, Cancelled>
    where
        T: Send + 'static,
        F: FnOnce(Ctx) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let place = match &self.inner.limit {
            Some((_, places)) => Place::Wait(Arc::clone(places)),
            None => Place::Taken(None),
        };
        self.start(name.into(), Location::caller(), make, place)
    }

    /// Spawns a task if a place is free; without a limit, like [`spawn`](Self::spawn).
    ///
    /// # Errors
    /// [`SpawnError::Full`] if no place is free, [`SpawnError::Over`] as `spawn`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn try_spawn<T, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        make: F,
    ) -> Result<Task<T, E>, SpawnError>
    where
        T: Send + 'static,
        F: FnOnce(Ctx) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let place = match &self.inner.limit {
            None => None,
            Some((limit, places)) => Some(
                Arc::clone(places)
                    .try_acquire_owned()
                    .map_err(|_| SpawnError::Full(*limit))?,
            ),
        };
        self.start(name.into(), Location::caller(), make, Place::Taken(place))
            .map_err(SpawnError::Over)
    }

    fn start<T, F, Fut>(
        &self,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        make: F,
        place: Place,
    ) -> Result<Task<T, E>, Cancelled>
    where
        T: Send + 'static,
        F: FnOnce(Ctx) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let prepared = self.prepare(name.clone(), site, false)?;
        let core = Arc::clone(&prepared.core);
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let on_end: Arc<dyn OnEnd> = Arc::clone(&self.inner) as _;
        let handle = prepared.launch(Some(on_end), move |ctx| {
            let future = make(ctx.clone());
            async move {
                let place = match place.take(&ctx).await {
                    Ok(place) => place,
                    Err(cancelled) => {
                        let _ = tell.send(Err(Gone::NotStarted(cancelled)));
                        return;
                    }
                };
                let result = caught(future).await;
                drop(place);
                inner.settle(name, result, tell);
            }
        });
        self.keep_abort(&core, &handle);
        Ok(Task {
            told,
            name: core.name.clone(),
        })
    }

    /// Runs a closure on a blocking thread, as a task of the scope.
    ///
    /// It cannot be aborted: if it does not end within the grace, the scope lists it as
    /// a straggler and returns without it. Limits do not apply to it.
    ///
    /// # Errors
    /// [`Cancelled`] if the scope's context is done or the scope has returned.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn_blocking<T, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        run: F,
    ) -> Result<Task<T, E>, Cancelled>
    where
        T: Send + 'static,
        F: FnOnce(Ctx) -> Result<T, E> + Send + 'static,
    {
        let name = name.into();
        let prepared = self.prepare(name.clone(), Location::caller(), true)?;
        let core = Arc::clone(&prepared.core);
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let on_end: Arc<dyn OnEnd> = Arc::clone(&self.inner) as _;
        let handle = prepared.launch_blocking(Some(on_end), move |ctx| {
            let result = catch_unwind(AssertUnwindSafe(|| run(ctx)));
            inner.settle(name, result, tell);
        });
        self.keep_abort(&core, &handle);
        Ok(Task {
            told,
            name: core.name.clone(),
        })
    }

    /// Enters a task that is about to be spawned (invariant 1).
    fn prepare(
        &self,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        is_blocking: bool,
    ) -> Result<Prepared, Cancelled> {
        let prepared = Prepared::new(&self.inner.ctx, name, site, is_blocking)?;
        let entry = Entry {
            core: Arc::clone(&prepared.core),
            abort: None,
        };
        let mut state = self.inner.state();
        if state.is_closed {
            drop(state);
            let over = Cause::new(Kind::Cancelled).with_message("the scope has returned");
            return Err(Cancelled::new(self.inner.ctx.cause().unwrap_or(over)));
        }
        state.live.insert(prepared.core.id, entry);
        Ok(prepared)
    }

    /// Keeps the right to abort, if the task has not ended in the meantime.
    fn keep_abort<T>(&self, core: &TaskCore, handle: &JoinHandle<T>) {
        let abort = handle.abort_handle();
        let mut state = self.inner.state();
        let is_dropped = state.is_dropped;
        if let Some(entry) = state.live.get_mut(&core.id) {
            entry.abort = abort;
        }
        drop(state);
        if is_dropped {
            // The scope's future was dropped between the spawn and this line.
            handle.abort();
        }
    }
}

impl<E> fmt::Debug for Scope<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("ctx", &self.inner.ctx)
            .field("policy", &self.inner.policy)
            .field("tasks", &self.inner.state().live.len())
            .finish_non_exhaustive()
    }
}

/// How a task gets its place under a limit.
enum Place {
    Taken(Option<OwnedSemaphorePermit>),
    Wait(Arc<Semaphore>),
}

impl Place {
    async fn take(self, ctx: &Ctx) -> Result<Option<OwnedSemaphorePermit>, Cancelled> {
        match self {
            Self::Taken(place) => Ok(place),
            // The semaphore is never closed.
            Self::Wait(places) => Ok(ctx.run(places.acquire_owned()).await?.ok()),
        }
    }
}

/// Runs a future to its end or its panic.
async fn caught<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(
        move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

/// A task of a scope; resolves to its value.
///
/// It need not be awaited: the scope waits for the task anyway.
///
/// # Cancel safety
/// Dropping it loses only the value.
#[must_use = "a handle that is dropped loses the task's value; assign it to `_` if that is meant"]
pub struct Task<T, E> {
    told: oneshot::Receiver<Result<T, Gone<E>>>,
    name: Cow<'static, str>,
}

impl<T, E> Future for Task<T, E> {
    type Output = Result<T, TaskGone<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = match ready!(Pin::new(&mut self.told).poll(cx)) {
            Ok(Ok(value)) => return Poll::Ready(Ok(value)),
            Ok(Err(gone)) => gone,
            // The task was dropped with its sender: it did not come to its end.
            Err(_) => Gone::Aborted,
        };
        Poll::Ready(Err(TaskGone {
            name: self.name.clone(),
            gone,
        }))
    }
}

impl<T, E> fmt::Debug for Task<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a task of a scope has no value.
pub struct TaskGone<E> {
    name: Cow<'static, str>,
    gone: Gone<E>,
}

pub(super) enum Gone<E> {
    NotStarted(Cancelled),
    /// The failure went to the scope.
    Failed,
    /// The failure stays here (`Policy::Supervise`).
    Kept(FailureKind<E>),
    Aborted,
}

impl<E> TaskGone<E> {
    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cause, if the task was never started because the scope was cancelled.
    #[must_use]
    pub fn not_started(&self) -> Option<&Cancelled> {
        match &self.gone {
            Gone::NotStarted(cancelled) => Some(cancelled),
            _ => None,
        }
    }

    /// Whether the task was dropped before its end.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self.gone, Gone::Aborted)
    }

    /// The failure itself, under [`Policy::Supervise`]; with the others the scope has it.
    #[must_use]
    pub fn into_failure(self) -> Option<FailureKind<E>> {
        match self.gone {
            Gone::Kept(failure) => Some(failure),
            _ => None,
        }
    }
}

impl<E> fmt::Display for TaskGone<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.gone {
            Gone::NotStarted(cancelled) => write!(f, "task `{name}` was not started: {cancelled}"),
            Gone::Failed | Gone::Kept(FailureKind::Error(_)) => write!(f, "task `{name}` failed"),
            Gone::Kept(FailureKind::Panic(payload)) => {
                write!(f, "task `{name}` panicked: {}", panic_text(&**payload))
            }
            Gone::Aborted => write!(f, "task `{name}` was aborted"),
        }
    }
}

impl<E> fmt::Debug for TaskGone<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskGone({self})")
    }
}

impl<E> std::error::Error for TaskGone<E> {}
