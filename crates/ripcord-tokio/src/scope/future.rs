//! [`scope`]: runs the body, joins the tasks, and when time is up says who did not stop.
//!
//! The stages are plain async code: body → join → (context done: grace → force → inspect
//! → abort → join for a bounded time) → result. All waiting is by the clock and timer of
//! the tree, so a scope needs nothing of the runtime but its tasks.
//!
//! # Invariants
//! 1. The stages only go forward. From the abort on, whatever is still spawned is aborted
//!    as it is entered (`inner.rs`, invariant 3), so the last stage is bounded.
//! 2. In each poll the body comes before the reaper: the poll in which the body ends is
//!    the one in which the reaper counts it out, and no wake is needed in between.
//! 3. When the future returns, by whatever way, the scope's context is done and the book
//!    is closed. A clone of [`Scope`] that got away can spawn nothing.
//! 4. Panics of foreign code are caught where it is called, and resumed by `conclude` at
//!    the very end: no task outlives the scope because a sibling or the body panicked.
//!
//! # Costs
//! One context, one book and one boxed future for the reaper. The reaper is polled only
//! when the scope is; it is woken when the last task ends and when the context does, not
//! for each task.

use super::error::ScopeError;
use super::handle::{PanicPolicy, Policy, Scope};
use super::inner::Inner;
use super::work::dispose;
use crate::census::inspect;
use crate::sync::{self, Entered};
use crate::task::TaskInfo;
use ripcord_core::tasks::labelled_at;
use ripcord_core::{Cause, Ctx, Kind};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a task has to end after the cancel, unless `grace` says otherwise.
///
/// Long enough to finish a write and say goodbye to a peer, and well below the 30 s after which
/// most supervisors kill a process.
const GRACE: Duration = Duration::from_secs(5);

/// How long the scope waits for an extra poll of each straggler, to see where it waits.
///
/// An idle task answers in one turn of its worker. A task that does not is blocking its
/// thread, and no patience would help: its report says so instead.
const INSPECT: Duration = Duration::from_millis(50);

/// How long the scope waits for the destructors of aborted tasks.
///
/// The runtime drops an aborted future at once unless it is in a poll. What is not gone by
/// then is in a poll that does not return, and waiting for it could take for ever.
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
/// The body is called also where the context is done already: it is told by its first spawn. It is
/// not under [`run`](Ctx::run) either: what it awaits itself without its context holds up the scope
/// until the grace is over. And a scope in which nothing is missing at its end has a value, whatever
/// the deadline says: who wants an error asks the context.
///
/// Where the error type cannot be inferred, name it in the closure: `async |s: Scope<MyError>|`.
///
/// After the end of the context a scope therefore returns within the grace and some 1.05 s
/// more: 50 ms to ask the stragglers where they wait, and one second for destructors. That is
/// as far as its own task is polled: a body that blocks its thread holds up the scope with it.
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
///     Ok(a.await? + b.await?)
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
            names_places: true,
        },
    }
}

/// What was chosen for a scope before it began; fixed from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) grace: Duration,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) limit: Option<usize>,
    /// Whether stragglers are asked where they wait.
    pub(super) names_places: bool,
}

/// A scope that is about to run; await it. Made by [`scope`].
///
/// The options are set on it; nothing runs before the `.await`. An option that is set twice
/// has the later value.
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
    ///
    /// It counts from the poll in which the scope finds its context done. A task that ends
    /// within it is an ordinary one, with its result; one that does not is aborted and named.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// use ripcord_core::Cancelled;
    /// use std::time::Duration;
    ///
    /// let (ctx, guard) = ripcord_tokio::root().build();
    /// let ended = ripcord_tokio::scope(&ctx, async |s| {
    ///     drop(s.spawn("deaf", |_| std::future::pending::<Result<(), Cancelled>>())?);
    ///     guard.cancel("shutdown");
    ///     Ok(())
    /// })
    /// .grace(Duration::from_secs(1))
    /// .await;
    /// // It never looked at its context: aborted, and named.
    /// assert_eq!(ended.unwrap_err().stragglers()[0].name, "deaf");
    /// # }
    /// ```
    ///
    /// # Costs
    /// One timer, and only once the context is done with work still there.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Sets what the failure of one task means for the others.
    ///
    /// [`Policy::FailFast`] without this.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_tokio::{Policy, scope};
    ///
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// let ended = scope(&ctx, async |s| {
    ///     for disk in ["a", "b"] {
    ///         let full = Err::<(), _>(format!("{disk} is full"));
    ///         drop(s.spawn(disk, |_| async { full }).expect("the scope is live"));
    ///     }
    ///     Ok(())
    /// })
    /// .policy(Policy::CollectAll)
    /// .await;
    /// // Both ran to their end, and both are told.
    /// assert_eq!(ended.unwrap_err().into_failures().len(), 2);
    /// # }
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Sets what becomes of a panic in a task.
    ///
    /// [`PanicPolicy::Resume`] without this. A panic of the body is resumed in either case.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_tokio::{PanicPolicy, scope};
    ///
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// let parse = |byte: u8| if byte == 0 { panic!("bad byte") } else { Ok::<_, String>(byte) };
    /// let ended = scope(&ctx, async |s| {
    ///     drop(s.spawn("parser", move |_| async move { parse(0) }).expect("the scope is live"));
    ///     Ok(())
    /// })
    /// .panics(PanicPolicy::AsError)
    /// .await;
    /// assert_eq!(ended.unwrap_err().to_string(), "task `parser` panicked: bad byte");
    /// # }
    /// ```
    pub fn panics(mut self, panics: PanicPolicy) -> Self {
        self.options.panics = panics;
        self
    }

    /// Sets how many tasks run at once; the others wait. Zero is taken for one.
    ///
    /// Places are given in the order in which the tasks begin to wait: on one worker, that of
    /// the spawns. A task has its place from the first poll of its future until that is
    /// dropped, destructors included. Waiting for a place ends with the
    /// scope's context. Blocking tasks need no place, and a task that awaits one that is still
    /// waiting for a place holds its own meanwhile: with a limit of one that is a deadlock until
    /// the context ends.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use ripcord_core::Cancelled;
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// // Six parts, two at a time.
    /// let total = ripcord_tokio::scope(&ctx, async |s| {
    ///     let part = |n| s.spawn("part", move |_| async move { Ok::<_, Cancelled>(n) });
    ///     let parts = (0..6).map(part).collect::<Result<Vec<_>, _>>()?;
    ///     let mut total = 0;
    ///     for part in parts {
    ///         total += part.await.expect("it succeeds");
    ///     }
    ///     Ok(total)
    /// });
    /// assert_eq!(total.limit(2).await.expect("all succeeded"), 15);
    /// # }
    /// ```
    ///
    /// # Costs
    /// Nothing is queued outside the tasks: those that wait are spawned, and each is an entry in
    /// the semaphore's queue. To hold back the *making* of tasks as well use
    /// [`Scope::try_spawn`].
    pub fn limit(mut self, limit: usize) -> Self {
        self.options.limit = Some(limit.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    /// Does without the await stacks of the stragglers: nobody will see them.
    ///
    /// For [`gather`](super::gather()) and [`first_ok`](super::first_ok), which abort as a
    /// matter of course: they would pay for the extra polls at each deadline.
    pub(super) fn without_places(mut self) -> Self {
        self.options.names_places = false;
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
    type IntoFuture = RunningScope<T, E, Fut>;

    fn into_future(self) -> RunningScope<T, E, Fut> {
        let (ctx, guard) = self.ctx.child();
        let inner = Arc::new(Inner::new(ctx, guard, self.options));
        let scope = Scope {
            inner: Arc::clone(&inner),
        };
        // The closure itself may spawn before it panics.
        let made = || sync::enter_sync(&inner.ctx, || (self.body)(scope));
        let (body, value) = match catch_unwind(AssertUnwindSafe(made)) {
            Ok(body) => (Some(sync::enter(&inner.ctx, body)), None),
            Err(payload) => (None, inner.body_ended(Err(payload))),
        };
        RunningScope {
            body,
            value,
            reaper: Box::pin(reap(Arc::clone(&inner), self.options)),
            running: Running { inner: Some(inner) },
        }
    }
}

pin_project_lite::pin_project! {
    /// A scope that runs; dropping it cancels and aborts. Made by awaiting [`scope`].
    ///
    /// It is named so that it can be stored in a struct or polled by hand; otherwise `.await` on
    /// [`ScopeFuture`] is all there is to it.
    ///
    /// # Cancel safety
    /// Dropping it drops the body first, then cancels the scope's context with
    /// [`Kind::Dropped`] and aborts the tasks. Results are lost, and nobody waits for the tasks'
    /// destructors: a caller that may be dropped should cancel the context and await the scope.
    ///
    /// # Panics
    /// When polled again after it has returned its result.
    #[must_use = "futures do nothing unless polled"]
    pub struct RunningScope<T, E, Fut>
    where
        E: Send,
        E: 'static,
    {
        // Fields drop in order: the body before the tasks are aborted.
        #[pin]
        body: Option<Entered<Fut>>,
        value: Option<T>,
        reaper: Pin<Box<dyn Future<Output = Vec<TaskInfo>> + Send>>,
        running: Running<E>,
    }
}

impl<T, E, Fut> Future for RunningScope<T, E, Fut>
where
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = Result<T, ScopeError<E>>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Location::caller();
        let mut this = self.project();
        let Some(inner) = this.running.inner.clone() else {
            panic!("a scope was polled again after it had returned its result");
        };
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            let ended = match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(result)) => Some(Ok(result)),
                Err(payload) => Some(Err(payload)),
            };
            if let Some(ended) = ended {
                let disposed = dispose(this.body.as_mut());
                *this.value = inner.body_ended(ended.and_then(|result| disposed.map(|()| result)));
            }
        }
        let mut reap = || this.reaper.as_mut().poll(cx);
        let stragglers = if this.body.is_some() {
            reap()
        } else {
            labelled_at("join", place, reap)
        };
        if this.body.is_some() && inner.is_aborting() {
            // A body that ignored the cancel is not waited for either.
            inner.body_abandoned(dispose(this.body.as_mut()));
        }
        let stragglers = ready!(stragglers);
        this.running.inner = None;
        Poll::Ready(inner.conclude(this.value.take(), stragglers))
    }
}

impl<T, E: Send + 'static, Fut> fmt::Debug for RunningScope<T, E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningScope")
            .field("is_over", &self.running.inner.is_none())
            .finish_non_exhaustive()
    }
}

/// Cancels and aborts if the scope's future is dropped half-way.
///
/// `inner` is `None` from the poll in which the result is made, so that the end of an ordinary
/// scope aborts nothing. The book is closed before the cancel: a hook that the cancel runs may
/// hold a clone of [`Scope`] and try to spawn.
struct Running<E: Send + 'static> {
    inner: Option<Arc<Inner<E>>>,
}

impl<E: Send + 'static> Drop for Running<E> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        inner.close();
        inner
            .guard
            .cancel(Cause::new(Kind::Dropped).with_message("the scope was dropped half-way"));
        inner.abort_all();
    }
}

/// Waits until body and tasks are over; after a cancel, for the grace, then by force.
///
/// Returns the stragglers: empty unless the grace has passed with tasks still there. They are
/// asked where they wait *before* the abort, while they can still be polled. The clock is that
/// of the tree, taken through a detached context: the scope's own is done by then, and nothing
/// could be waited for under it.
async fn reap<E: Send + 'static>(inner: Arc<Inner<E>>, options: Options) -> Vec<TaskInfo> {
    // Unlike `done` it has no label: what the scope waits for is said by its caller.
    let mut over = inner.ctx.run(pending::<Infallible>());
    let cancelled = poll_fn(|cx| {
        if inner.is_idle(cx) {
            return Poll::Ready(None);
        }
        Pin::new(&mut over).poll(cx).map(Some)
    });
    let Some(Err(cancelled)) = cancelled.await else {
        return Vec::new();
    };
    // Live, and with the tree's clock and timer.
    let clock = inner.ctx.detach();
    let grace = clock.with_timeout(options.grace);
    if grace.run(inner.until_idle()).await.is_ok() {
        return Vec::new();
    }
    inner.guard.force(cancelled.into_cause());
    let late = inner.live();
    let patience = if options.names_places {
        INSPECT
    } else {
        Duration::ZERO
    };
    let stragglers = inspect(&late, &clock.with_timeout(patience)).await;
    inner.abort_all();
    let patience = clock.with_timeout(ABORT);
    if patience.run(inner.until_aborted()).await.is_err() {
        // What does not even end by an abort is left behind: no more of it may come.
        inner.close();
    }
    stragglers
}
