//! [`Task`]: the handle of a task in a scope, and [`TaskGone`]: why it has no value.

use super::error::FailureKind;
use ripcord_core::tasks::labelled_at;
use ripcord_core::{Cancelled, Cause, Ctx, Kind};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// A task of a scope; resolves to its value.
///
/// It need not be awaited: the scope waits for the task anyway.
///
/// A value is there as soon as the task's future and its place are gone, before the scope
/// counts the task out. An error is *not* here but in the scope's result, except under
/// [`Policy::Supervise`](super::Policy::Supervise): the handle then says only that there is
/// no value.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let ended = ripcord_tokio::scope(&ctx, async |s| {
///     let stock = s.spawn("stock", |_| async { Err::<u32, _>("no such item") }).expect("live");
///     // The scope has the error: the body may stop with one of its own, or go on.
///     Ok(stock.await.unwrap_or(0))
/// });
/// assert_eq!(ended.await.unwrap_err().into_error(), Some("no such item"));
/// # }
/// ```
///
/// # Cancel safety
/// Dropping it loses only the value.
///
/// # Panics
/// When polled again after it has returned its result.
pub struct Task<T, E> {
    told: oneshot::Receiver<Result<T, Gone<E>>>,
    name: Cow<'static, str>,
    /// The scope's context.
    ctx: Ctx,
}

impl<T, E> Task<T, E> {
    pub(super) fn new(
        told: oneshot::Receiver<Result<T, Gone<E>>>,
        name: Cow<'static, str>,
        ctx: Ctx,
    ) -> Self {
        Self { told, name, ctx }
    }
}

impl<T, E> Future for Task<T, E> {
    type Output = Result<T, TaskGone<E>>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Location::caller();
        let told = || Pin::new(&mut self.told).poll(cx);
        let gone = match ready!(labelled_at("join", place, told)) {
            Ok(Ok(value)) => return Poll::Ready(Ok(value)),
            Ok(Err(gone)) => gone,
            // The task was dropped with its sender: it did not come to its end.
            Err(_) => Gone::Aborted,
        };
        Poll::Ready(Err(TaskGone {
            name: self.name.clone(),
            scope: self.ctx.check().err(),
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
///
/// Four cases: it failed and the scope has the failure, it failed and
/// [`into_failure`](Self::into_failure) has it, it [never started](Self::not_started), or it
/// was [dropped before its end](Self::is_aborted).
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use ripcord_core::Cancelled;
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let ended = ripcord_tokio::scope(&ctx, async |s| {
///     let first = s.spawn("first", |ctx| async move { Ok::<_, Cancelled>(ctx.done().await) })?;
///     let second = s.spawn("second", |_| async { Ok(()) })?;
///     tokio::task::yield_now().await; // Now `first` has the only place.
///     s.cancel("enough");
///     assert!(second.await.unwrap_err().not_started().is_some());
///     Ok(first.await.is_ok())
/// });
/// assert_eq!(ended.limit(1).await.unwrap_err().unfinished(), ["second"]);
/// # }
/// ```
pub struct TaskGone<E> {
    name: Cow<'static, str>,
    /// Why the scope is over, if it is.
    scope: Option<Cancelled>,
    gone: Gone<E>,
}

/// What a task's handle is told when there is no value.
///
/// `Aborted` is never sent: it is what a sender that was dropped means, so a task that is dropped
/// at any await is covered without code of its own.
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
    ///
    /// By the abort after the grace, with the scope's own future, or with the runtime. Destructors
    /// have run; the code after the await that it was in has not.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self.gone, Gone::Aborted)
    }

    /// The failure itself, under [`Policy::Supervise`](super::Policy::Supervise); with the
    /// others the scope has it.
    #[must_use]
    pub fn into_failure(self) -> Option<FailureKind<E>> {
        match self.gone {
            Gone::Kept(failure) => Some(failure),
            _ => None,
        }
    }
}

/// For a body that cannot go on without the value: `task.await?` where its error is a
/// [`Cancelled`], `task.await.map_err(Cancelled::from)?` where it can be made from one.
///
/// The cause is why the task never started, or why the scope is over; the task's own failure stays
/// the first one of the scope. Where the scope goes on, under
/// [`Policy::Supervise`](super::Policy::Supervise), it is one of [`Kind::SiblingFailed`].
impl<E> From<TaskGone<E>> for Cancelled {
    fn from(gone: TaskGone<E>) -> Self {
        if let Gone::NotStarted(cancelled) = gone.gone {
            return cancelled;
        }
        gone.scope.unwrap_or_else(|| {
            let text = format!("task `{}` has no value", gone.name);
            Self::new(Cause::new(Kind::SiblingFailed).with_message(text))
        })
    }
}

impl<E> fmt::Display for TaskGone<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.gone {
            Gone::NotStarted(cancelled) => write!(f, "task `{name}` was not started: {cancelled}"),
            Gone::Failed | Gone::Kept(FailureKind::Error(_)) => write!(f, "task `{name}` failed"),
            Gone::Kept(FailureKind::Panic(payload)) => {
                write!(f, "task `{name}` panicked: {payload}")
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
