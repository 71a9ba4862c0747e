//! [`scope`]: runs the body, joins the tasks, and when time is up says who did not stop.
//!
//! The stages are plain async code: body → join → (context done: grace → inspect →
//! force and abort → join for a bounded time) → result.

use super::error::{Failure, FailureKind, ScopeError};
use super::handle::{Inner, PanicPolicy, Policy, Scope};
use crate::census::inspect;
use crate::task::{TaskCore, TaskInfo};
use ripcord_core::{Cause, Ctx, Entered, Kind};
use std::any::Any;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a task has to end after the cancel, unless `grace` says otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// How long the scope waits for an extra poll of each straggler, to see where it waits.
const INSPECT: Duration = Duration::from_millis(50);

/// How long the scope waits for the destructors of aborted tasks.
const ABORT: Duration = Duration::from_secs(1);

/// Runs `body` with a scope, and joins everything spawned in it before it returns.
///
/// `body` gets a [`Scope`] by value: `async |s| ..` and `|s| async move { .. }` both fit.
/// Its context is a child of `ctx`. The scope ends in one of these ways:
///
/// * Body and tasks succeed: the body's value.
/// * A task, or the body, fails: by default the siblings are cancelled with
///   `Kind::SiblingFailed`, joined, and the first failure is returned, see [`Policy`].
/// * A task panics: the same, and then the panic is resumed, see [`PanicPolicy`].
/// * The context is done: tasks have until [`grace`](ScopeFuture::grace) to end. Those
///   that do not are forced, aborted and named in [`ScopeError::stragglers`].
///
/// Blocking tasks cannot be aborted and are then left behind, as is a task that never
/// comes back from a poll within a second: both are named.
///
/// # Cancel safety
/// Dropping the future cancels the scope's context and aborts its tasks at once, without
/// waiting for their destructors.
///
/// # Errors
/// [`ScopeError`]: the first failure, the later ones, the stragglers.
///
/// # Panics
/// Resumes the panic of the body or, by default, of a task. Needs a tokio runtime.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Cancelled;
/// use ripcord_tokio::scope;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let sum = scope(&ctx, async |s| {
///     let a = s.spawn("a", |_| async { Ok::<_, Cancelled>(1) })?;
///     let b = s.spawn("b", |ctx| async move { ctx.run(async { 2 }).await })?;
///     Ok(a.await.expect("a succeeds") + b.await.expect("b succeeds"))
/// })
/// .await;
/// assert_eq!(sum.expect("both succeeded"), 3);
/// # }
/// ```
#[track_caller]
pub fn scope<T, E, F, Fut>(ctx: &Ctx, body: F) -> ScopeFuture<F, E, Fut>
where
    F: FnOnce(Scope<E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    ScopeFuture {
        ctx: ctx.clone(),
        body,
        running: PhantomData,
        site: Location::caller(),
        options: Options {
            grace: GRACE,
            policy: Policy::FailFast,
            panics: PanicPolicy::Resume,
            limit: None,
        },
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) grace: Duration,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) limit: Option<usize>,
}

/// A scope that is about to run; await it. Made by [`scope`].
#[must_use = "a scope does nothing unless awaited"]
pub struct ScopeFuture<F, E, Fut> {
    ctx: Ctx,
    body: F,
    running: PhantomData<fn() -> (E, Fut)>,
    site: &'static Location<'static>,
    options: Options,
}

impl<F, E, Fut> ScopeFuture<F, E, Fut> {
    /// Sets how long tasks have to end after the context is done: 5 s without this.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Sets what the failure of one task means for the others.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Sets what becomes of a panic in a task.
    pub fn panics(mut self, panics: PanicPolicy) -> Self {
        self.options.panics = panics;
        self
    }

    /// Sets how many tasks run at once; the others wait. Zero is taken for one.
    pub fn limit(mut self, limit: usize) -> Self {
        self.options.limit = Some(limit.max(1));
        self
    }
}

impl<F, E, Fut> fmt::Debug for ScopeFuture<F, E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFuture")
            .field("site", &format_args!("{}", self.site))
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<T, E, F, Fut> IntoFuture for ScopeFuture<F, E, Fut>
where
    F: FnOnce(Scope<E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = Result<T, ScopeError<E>>;
    type IntoFuture = RunningScope<E, Fut>;

    fn into_future(self) -> RunningScope<E, Fut> {
        let (ctx, guard) = self.ctx.child();
        let inner = Arc::new(Inner::new(ctx, guard, self.options));
        let body = (self.body)(Scope {
            inner: Arc::clone(&inner),
        });
        let reaper = Box::pin(reap(Arc::clone(&inner), self.options.grace));
        RunningScope {
            body: Some(inner.ctx.enter(body)),
            value: None,
            reaper,
            running: Running { inner: Some(inner) },
        }
    }
}

pin_project_lite::pin_project! {
    /// A scope that runs; dropping it cancels and aborts. Made by awaiting [`scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RunningScope<E, Fut>
    where
        E: Send,
        E: 'static,
        Fut: Future,
    {
        // Fields drop in order: the body before the tasks are aborted.
        #[pin]
        body: Option<Entered<Fut>>,
        value: Option<Ended<Fut::Output>>,
        reaper: Pin<Box<dyn Future<Output = Vec<TaskInfo>> + Send>>,
        running: Running<E>,
    }
}

/// How the body ended.
enum Ended<T> {
    Returned(T),
    Panicked(Box<dyn Any + Send>),
}

impl<T, E, Fut> Future for RunningScope<E, Fut>
where
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = Result<T, ScopeError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.running.inner.clone() else {
            panic!("a scope was polled again after it had returned its result");
        };
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            let ended = match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(result)) => Some(Ended::Returned(result)),
                Err(payload) => Some(Ended::Panicked(payload)),
            };
            if let Some(ended) = ended {
                this.body.set(None);
                if !matches!(ended, Ended::Returned(Ok(_))) {
                    inner.body_failed();
                }
                *this.value = Some(ended);
                inner.body_is_over();
            }
        }
        let stragglers = ready!(this.reaper.as_mut().poll(cx));
        // A body that ignored the cancel is not waited for either.
        this.body.set(None);
        this.running.inner = None;
        Poll::Ready(inner.conclude(this.value.take(), stragglers))
    }
}

impl<E: Send + 'static, Fut: Future> fmt::Debug for RunningScope<E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningScope")
            .field("is_over", &self.running.inner.is_none())
            .finish_non_exhaustive()
    }
}

/// Cancels and aborts if the scope's future is dropped half-way.
struct Running<E: Send + 'static> {
    inner: Option<Arc<Inner<E>>>,
}

impl<E: Send + 'static> Drop for Running<E> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        let mut state = inner.state();
        state.is_closed = true;
        state.is_dropped = true;
        drop(state);
        inner
            .guard
            .cancel(Cause::new(Kind::Dropped).with_message("the scope was dropped half-way"));
        inner.abort_all();
    }
}

/// Waits until body and tasks are over; after a cancel, for `grace`, then by force.
async fn reap<E: Send + 'static>(inner: Arc<Inner<E>>, grace: Duration) -> Vec<TaskInfo> {
    let mut done = inner.ctx.done();
    let mut idle = pin!(inner.until_idle());
    let cause = poll_fn(|cx| {
        if idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut done).poll(cx).map(Some)
    })
    .await;
    let Some(cause) = cause else {
        return Vec::new();
    };
    if timeout(grace, idle.as_mut()).await.is_ok() {
        return Vec::new();
    }
    inner.guard.force(cause);
    let mut stragglers = inspect(inner.live(), INSPECT).await;
    inner.abort_all();
    if timeout(ABORT, idle).await.is_err() {
        // What does not even end by an abort is left behind: no more of it may come.
        inner.state().is_closed = true;
    }
    stragglers.sort_by_key(|task| std::cmp::Reverse(task.overdue));
    stragglers
}

impl<E: Send + 'static> Inner<E> {
    /// Resolves when the body and all tasks are over; then the scope is closed.
    async fn until_idle(&self) {
        loop {
            let mut changed = pin!(self.idle.notified());
            // Registered before the look: a change in between is not lost.
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if state.live.is_empty() && (state.is_body_over || state.is_closed) {
                    state.is_closed = true;
                    return;
                }
            }
            changed.await;
        }
    }

    fn body_is_over(&self) {
        self.state().is_body_over = true;
        self.idle.notify_waiters();
    }

    fn body_failed(&self) {
        let mut state = self.state();
        let cancels = !state.is_decided;
        state.is_decided = true;
        drop(state);
        if cancels {
            self.guard.cancel(
                Cause::new(Kind::SiblingFailed).with_message("the body of the scope failed"),
            );
        }
    }

    fn live(&self) -> Vec<Arc<TaskCore>> {
        self.state()
            .live
            .values()
            .map(|entry| Arc::clone(&entry.core))
            .collect()
    }

    fn abort_all(&self) {
        let aborts: Vec<AbortHandle> = self
            .state()
            .live
            .values()
            .filter_map(|entry| entry.abort.clone())
            .collect();
        for abort in aborts {
            abort.abort();
        }
    }

    /// Makes the result of the scope from all that happened in it.
    fn conclude<T>(
        &self,
        body: Option<Ended<Result<T, E>>>,
        stragglers: Vec<TaskInfo>,
    ) -> Result<T, ScopeError<E>> {
        let mut state = self.state();
        let cause = if state.is_decided {
            None
        } else {
            self.ctx.cause()
        };
        let (mut first, mut others) = (state.first.take(), std::mem::take(&mut state.others));
        let has_winner = self.policy == Policy::FirstOk && state.succeeded > 0;
        drop(state);
        self.guard.cancel(Kind::Dropped);
        if has_winner {
            // The losers' errors are of no interest.
            (first, others) = (None, Vec::new());
        }
        let mut value = None;
        match body {
            None => {}
            Some(Ended::Panicked(payload)) => resume_unwind(payload),
            Some(Ended::Returned(Ok(returned))) => value = Some(returned),
            Some(Ended::Returned(Err(error))) => {
                let failure = Failure {
                    task: "body".into(),
                    kind: FailureKind::Error(error),
                };
                // A body that only passes on its own cancel does not hide who caused it.
                match &first {
                    Some(_) => others.push(failure),
                    None => first = Some(failure),
                }
            }
        }
        if self.panics == PanicPolicy::Resume
            && let Some(Failure {
                kind: FailureKind::Panic(_),
                ..
            }) = &first
            && let Some(Failure {
                kind: FailureKind::Panic(payload),
                ..
            }) = first.take()
        {
            resume_unwind(payload);
        }
        match value {
            Some(value) if first.is_none() && stragglers.is_empty() => Ok(value),
            _ => Err(ScopeError::new(first, others, stragglers, cause)),
        }
    }
}
