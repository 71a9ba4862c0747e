//! [`Scope`]: the handle through which tasks are spawned into a scope.

use super::error::SpawnError;
use super::inner::Inner;
use super::join::Task;
use super::work::{Place, Report, Work};
use crate::task::{OnEnd, Prepared};
use ripcord_core::{Cancelled, Cause, Ctx};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What the failure of one task means for the others.
///
/// | | cancels the siblings | what the scope returns |
/// |---|---|---|
/// | `FailFast` | the first failure | the first failure, and those that came of it |
/// | `CollectAll` | nothing | every failure |
/// | `FirstOk` | the first success | the body's value, or every failure |
/// | `Supervise` | nothing | the body's own failure only |
///
/// Whatever the policy, a failure of the *body* cancels the tasks, and so does the end of the
/// context from outside.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{FailureKind, Policy, scope};
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let served = scope(&ctx, async |s| {
///     let peer = s.spawn("peer", |_| async { Err::<(), _>("reset") }).expect("live");
///     // A server goes on when one connection fails; it reads the failure from the handle.
///     let failure = peer.await.unwrap_err().into_failure();
///     assert!(matches!(failure, Some(FailureKind::Error("reset"))));
///     Ok("still serving")
/// });
/// assert_eq!(served.policy(Policy::Supervise).await.expect("the body is fine"), "still serving");
/// # }
/// ```
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
///
/// A panic is caught at the task, so it never takes a runtime's worker with it. Either way the
/// siblings are dealt with as [`Policy`] says for a failure, and joined, before anybody sees it.
/// Under [`Policy::Supervise`] it stays with the handle like every failure:
/// [`TaskGone::into_failure`](super::TaskGone::into_failure).
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
///
/// It may be moved into tasks, which then spawn further ones. It does not keep the scope open:
/// when the body and all tasks are over, the scope returns, and a clone that is left only
/// says so.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use ripcord_core::Cancelled;
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let left = ripcord_tokio::scope(&ctx, async |s: ripcord_tokio::Scope<Cancelled>| {
///     let inner = s.clone();
///     // A task may spawn: the scope waits for the grandchild as well.
///     let spawn = async move { inner.spawn("child", |_| async { Ok(()) }).map(drop) };
///     drop(s.spawn("parent", |_| spawn)?);
///     Ok(s)
/// })
/// .await
/// .expect("all succeed");
/// assert!(left.spawn("late", |_| async { Ok(()) }).is_err());
/// # }
/// ```
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

impl<E: Send + 'static> Scope<E> {
    /// The context of the scope; its tasks run under children of it.
    ///
    /// It is a child of the one that was given to [`scope`](super::scope), and done when the scope
    /// returns: what was started under it by other means is told then, but not waited for.
    pub fn ctx(&self) -> &Ctx {
        &self.inner.ctx
    }

    /// Cancels the scope. Returns whether this call did.
    ///
    /// The body and the tasks are told through their contexts; from here on the grace runs. The
    /// cancel alone is no failure: if the body and all tasks still end with `Ok`, so does the
    /// scope.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use ripcord_core::Cancelled;
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// let seen = ripcord_tokio::scope(&ctx, async |s| {
    ///     let watch = s.spawn("watch", |ctx| async move { Ok(ctx.done().await) })?;
    ///     assert!(s.cancel("enough seen"));
    ///     Ok::<_, Cancelled>(watch.await.expect("it ends by itself"))
    /// });
    /// assert_eq!(seen.await.expect("nothing failed").message(), Some("enough seen"));
    /// assert!(!ctx.is_done());
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        self.inner.guard.cancel(cause)
    }

    /// How many tasks have not ended.
    ///
    /// Those that wait for a place count; the body does not. A task counts until its future has
    /// been dropped, so its handle may resolve a moment before.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether all tasks have ended.
    ///
    /// A report, and no promise: another clone may spawn the next moment.
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
    /// The handle may be dropped: the scope waits anyway, and takes the failure. Awaiting it inside
    /// the body gives the value, see [`Task`].
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
        let place = |ctx: &Ctx| match &self.inner.limit {
            Some((_, places)) => Place::wanted(Arc::clone(places), ctx.clone()),
            None => Place::Taken(None),
        };
        self.start(name.into(), Location::caller(), make, place)
    }

    /// Spawns a task if a place is free; without a limit, like [`spawn`](Self::spawn).
    ///
    /// For load that is turned away rather than queued: `make` is not called when there is no
    /// place. Tasks that already wait for one come first.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_core::Cancelled;
    /// use ripcord_tokio::{SpawnError, scope};
    ///
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// let served = scope(&ctx, async |s| {
    ///     let first = s.try_spawn("first", |_| async { Ok::<_, Cancelled>(1) }).expect("a place");
    ///     let second = s.try_spawn("second", |_| async { Ok(2) });
    ///     assert_eq!(second.unwrap_err(), SpawnError::Full(1));
    ///     Ok(first.await.expect("it succeeds"))
    /// });
    /// assert_eq!(served.limit(1).await.expect("nothing failed"), 1);
    /// # }
    /// ```
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
        self.inner.ctx.check().map_err(SpawnError::Over)?;
        let place = match &self.inner.limit {
            None => None,
            Some((limit, places)) => {
                let place = Arc::clone(places).try_acquire_owned();
                Some(place.map_err(|_| SpawnError::Full(*limit))?)
            }
        };
        self.start(name.into(), Location::caller(), make, |_| {
            Place::Taken(place)
        })
        .map_err(SpawnError::Over)
    }

    /// Enters the task, then makes and launches it.
    ///
    /// In this order: a task that runs is always in the book, and a panic of `make` or of the
    /// spawn takes it out again through the `End` of the prepared task. The right to abort comes
    /// last, because it exists only after the spawn; if the scope began to abort in between,
    /// `keep_abort` uses it at once.
    fn start<T, F, Fut>(
        &self,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        make: F,
        place: impl FnOnce(&Ctx) -> Place,
    ) -> Result<Task<T, E>, Cancelled>
    where
        T: Send + 'static,
        F: FnOnce(Ctx) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let prepared = self.prepare(name.clone(), site, false)?;
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let reported = name.clone();
        let core = Arc::clone(&prepared.core);
        let task = Arc::clone(&core);
        let handle = prepared.launch(Some(self.on_end()), move |ctx| {
            let place = place(&ctx);
            // Should `make` panic, there is no task, and nothing to report.
            let future = make(ctx);
            Work::new(future, place, Report::new(inner, task, reported, tell))
        });
        self.inner.keep_abort(&core, handle.abort_handle());
        Ok(Task::new(told, name, self.inner.ctx.clone()))
    }

    /// Runs a closure on a blocking thread, as a task of the scope.
    ///
    /// It cannot be aborted: if it does not end within the grace, the scope lists it as
    /// a straggler and returns without it. Limits do not apply to it.
    ///
    /// So it should look at its context: `check` between two pieces of work, [`Ctx::wait_timeout`]
    /// or [`Ctx::sleep`] instead of the thread's own sleep. If the scope is done before a thread
    /// is free, the closure is not called.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use ripcord_core::Cancelled;
    /// let (ctx, _guard) = ripcord_tokio::root().build();
    /// let sum = ripcord_tokio::scope(&ctx, async |s| {
    ///     let sum = s.spawn_blocking("sum", |ctx| {
    ///         (1..=4_u32).try_fold(0, |sum, n| ctx.check().map(|()| sum + n))
    ///     })?;
    ///     Ok::<_, Cancelled>(sum.await.expect("nobody cancelled it"))
    /// })
    /// .await;
    /// assert_eq!(sum.expect("nothing failed"), 10);
    /// # }
    /// ```
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
        let mut report = Report::new(inner, Arc::clone(&core), name.clone(), tell);
        let handle = prepared.launch_blocking(Some(self.on_end()), move |ctx| {
            match ctx {
                Ok(ctx) => report.ended(catch_unwind(AssertUnwindSafe(|| run(ctx)))),
                Err(cancelled) => report.not_started(cancelled),
            }
            Ok(())
        });
        self.inner.keep_abort(&core, handle.abort_handle());
        Ok(Task::new(told, name, self.inner.ctx.clone()))
    }

    fn on_end(&self) -> Arc<dyn OnEnd> {
        Arc::clone(&self.inner) as _
    }

    /// Enters a task that is about to be spawned.
    ///
    /// Two questions that look alike: the context says whether new work is wanted, the book whether
    /// somebody would still wait for it. The second one decides a race with the end.
    #[track_caller]
    fn prepare(
        &self,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        is_blocking: bool,
    ) -> Result<Prepared, Cancelled> {
        let prepared = Prepared::new(&self.inner.ctx, name, site, is_blocking)
            .map_err(|refused| refused.cancelled)?;
        self.inner.enter(&prepared.core)?;
        Ok(prepared)
    }
}

impl<E> fmt::Debug for Scope<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("ctx", &self.inner.ctx)
            .field("policy", &self.inner.policy)
            .field("tasks", &self.inner.len())
            .finish_non_exhaustive()
    }
}
