//! What a scope can end with: its first failure, the others, and the stragglers.

use crate::join::PanicPayload;
use crate::task::TaskInfo;
use ripcord_core::{Cancelled, Cause};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// One task, or the body, that failed.
///
/// `Display` is one line with the name and the error's own text; the error itself is in
/// [`kind`](Self::kind). A name that comes from a user is escaped there.
#[derive(Debug)]
pub struct Failure<E> {
    /// The name of the task; `body` for the scope's own closure.
    pub task: Cow<'static, str>,
    /// How it failed.
    pub kind: FailureKind<E>,
}

/// How a task failed.
///
/// # Examples
/// ```
/// use ripcord_tokio::{Failure, FailureKind};
///
/// fn is_worth_a_retry(failure: &Failure<std::io::Error>) -> bool {
///     match &failure.kind {
///         FailureKind::Error(error) => error.kind() == std::io::ErrorKind::TimedOut,
///         _ => false, // A panic is a bug: the next attempt would find it again.
///     }
/// }
/// let timed_out = FailureKind::Error(std::io::ErrorKind::TimedOut.into());
/// assert!(is_worth_a_retry(&Failure { task: "query".into(), kind: timed_out }));
/// ```
#[non_exhaustive]
pub enum FailureKind<E> {
    /// It returned an error.
    Error(E),
    /// It panicked; the payload.
    Panic(PanicPayload),
}

impl<E: fmt::Debug> fmt::Debug for FailureKind<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.debug_tuple("Error").field(error).finish(),
            Self::Panic(payload) => f.debug_tuple("Panic").field(payload).finish(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.escape_debug();
        match &self.kind {
            FailureKind::Error(error) => write!(f, "task `{task}` failed: {error}"),
            FailureKind::Panic(payload) => {
                write!(f, "task `{task}` panicked: {payload}")
            }
        }
    }
}

/// Why a scope has no result.
///
/// There is a first failure, or tasks have no result because the scope's context was done,
/// or both.
///
/// The two are told apart by [`first`](Self::first) and [`cause`](Self::cause): a failure
/// with a cause came while the scope was being stopped from outside; without one it is what
/// stopped the scope.
///
/// # Costs
/// Its text names the await of each straggler: the first such text of a process looks up the
/// program's symbols, which blocks its thread for as long as a backtrace does.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Kind;
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let ended = ripcord_tokio::scope(&ctx, async |s| {
///     let flush = |ctx: ripcord_core::Ctx| async move {
///         ctx.done().await;
///         Err::<(), _>("disk full")
///     };
///     drop(s.spawn("flush", flush).expect("live"));
///     guard.cancel(Kind::Shutdown);
///     Ok(())
/// });
/// let error = ended.await.unwrap_err();
/// let text = error.to_string();
/// assert!(text.starts_with("task `flush` failed: disk full; while being stopped: shutting down"));
/// assert_eq!(error.cause().map(|cause| cause.kind()), Some(Kind::Shutdown));
/// # }
/// ```
#[derive(Debug)]
pub struct ScopeError<E> {
    first: Option<Failure<E>>,
    others: Vec<Failure<E>>,
    unfinished: Vec<Cow<'static, str>>,
    stragglers: Vec<TaskInfo>,
    cause: Option<Cause>,
}

impl<E> ScopeError<E> {
    /// The order of `failures` is kept: the first one is *the* failure.
    pub(super) fn new(
        failures: impl IntoIterator<Item = Failure<E>>,
        unfinished: Vec<Cow<'static, str>>,
        stragglers: Vec<TaskInfo>,
        cause: Option<Cause>,
    ) -> Self {
        let mut failures = failures.into_iter();
        Self {
            first: failures.next(),
            others: failures.collect(),
            unfinished,
            stragglers,
            cause,
        }
    }

    /// The failure that came first.
    ///
    /// By the order in which the tasks reported, with one exception: an error that only passes on
    /// the cancel gives way to the first one that says more. `None` if nothing failed and tasks
    /// are only unfinished or stragglers.
    #[must_use]
    pub fn first(&self) -> Option<&Failure<E>> {
        self.first.as_ref()
    }

    /// The failures that came later, without those that only pass on the cancel: an error
    /// that is a [`Cancelled`], or an `io::Error` or boxed error made from one.
    #[must_use]
    pub fn others(&self) -> &[Failure<E>] {
        &self.others
    }

    /// The tasks that did not end within the grace: aborted, or, if they run on a
    /// blocking thread or never yield, left behind.
    ///
    /// Each tells for how long it was asked to stop, whether it ever looked, and, for an idle task,
    /// the await in which it was stuck: print it with `{}`. See [`TaskInfo`].
    #[must_use]
    pub fn stragglers(&self) -> &[TaskInfo] {
        &self.stragglers
    }

    /// The names of the tasks that never started or were dropped with their runtime, and
    /// `body` if that ignored the cancel.
    ///
    /// They did no harm, but their part of the result is missing. A task waits unstarted only
    /// under a [limit](super::ScopeFuture::limit) or for a blocking thread.
    #[must_use]
    pub fn unfinished(&self) -> &[Cow<'static, str>] {
        &self.unfinished
    }

    /// Why the scope's context was done, if that came from outside.
    ///
    /// `None` if the scope ended itself, by its first failure or its first success. A call of
    /// [`Scope::cancel`](super::Scope::cancel) counts as outside.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// The error that came first, if a task or the body returned one.
    ///
    /// For callers that pass on one error with `?` and need no more. It drops the rest, stragglers
    /// included: log the [`ScopeError`] itself before, where that matters. Who maps to a status
    /// asks [`cause`](Self::cause) first: an error of a task that was being stopped by a deadline is
    /// mostly an echo of that. `None` also where there are only stragglers or unfinished tasks, or a
    /// panic that [`PanicPolicy::AsError`](super::PanicPolicy::AsError) has kept.
    #[must_use]
    pub fn into_error(self) -> Option<E> {
        match self.first?.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }

    /// All parts: the first failure and the others.
    #[must_use]
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.first.into_iter().chain(self.others).collect()
    }
}

impl<E: fmt::Display> fmt::Display for ScopeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, &self.cause) {
            (Some(first), None) => write!(f, "{first}")?,
            (Some(first), Some(cause)) => write!(f, "{first}; while being stopped: {cause}")?,
            (None, Some(cause)) => write!(f, "scope cancelled: {cause}")?,
            (None, None) => f.write_str("scope cancelled")?,
        }
        if !self.others.is_empty() {
            write!(f, "; {} more failed", self.others.len())?;
        }
        for name in &self.unfinished {
            write!(f, "; did not finish: `{}`", name.escape_debug())?;
        }
        for straggler in &self.stragglers {
            write!(f, "; did not stop in time: {straggler}")?;
        }
        Ok(())
    }
}

impl<E: Error + 'static> Error for ScopeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.first.as_ref()?.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }
}

/// Why nothing was spawned.
///
/// The two ask for opposite answers: after `Over` no attempt will succeed, after `Full` a later
/// one may. See [`Scope::try_spawn`](super::Scope::try_spawn).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The scope's context is done, or the scope has returned.
    Over(Cancelled),
    /// All places are taken (`try_spawn` only); the limit.
    Full(usize),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(cancelled) => write!(f, "scope is over: {cancelled}"),
            Self::Full(limit) => write!(f, "all {limit} places of the scope are taken"),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Over(cancelled) => Some(cancelled),
            Self::Full(_) => None,
        }
    }
}
