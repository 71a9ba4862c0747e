//! Uniform tasks: all that finish in time ([`gather`]), or the first that succeeds
//! ([`first_ok`]).
//!
//! Both are [`scope`] with a policy and a place for the values; whatever holds for a scope holds
//! here. They exist because the values are wanted *although* the scope did not succeed.
//!
//! # Lock order
//! The lock of the results is taken alone, and for a push or a store only. A value that is not
//! needed is dropped after it was released: its destructor is foreign code.

use super::error::ScopeError;
use super::future::scope;
use super::handle::{PanicPolicy, Policy, Scope};
use super::join::Task;
use ripcord_core::{Cancelled, Cause, Ctx};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Name = Cow<'static, str>;

/// Runs uniform tasks until all are over or the context is done, and keeps what finished.
///
/// `body` adds the tasks. When `ctx` is done (a deadline, usually), those that have not
/// finished get `grace` and are then aborted; the results of the others are returned.
///
/// For the search that asks ten shards and answers with those that made it. A failure stops
/// nobody. With a grace of zero the tasks are aborted at the deadline; with more, a task that
/// looks at its context can still hand over a part of its result.
///
/// # Cancel safety
/// Dropping the future aborts the tasks and loses their results.
///
/// # Panics
/// Resumes the panic of a task. Needs a tokio runtime.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Cancelled;
/// use std::time::Duration;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let ctx = ctx.with_timeout(Duration::from_millis(20));
/// let found = ripcord_tokio::gather(&ctx, Duration::ZERO, |g| {
///     g.spawn("quick", |_| async { Ok::<_, Cancelled>(1) });
///     g.spawn("stuck", |_| std::future::pending());
/// })
/// .await;
/// assert_eq!(found.values().collect::<Vec<_>>(), [&1]);
/// assert_eq!(found.unfinished(), ["stuck"]);
/// # }
/// ```
pub async fn gather<T, E, F>(ctx: &Ctx, grace: Duration, body: F) -> Gathered<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnOnce(&Gather<T, E>),
{
    let results: Arc<Results<T, E>> = Arc::default();
    let ended = scope(ctx, async |scope: Scope<E>| {
        body(&Gather {
            scope,
            results: Arc::clone(&results),
        });
        Ok(())
    })
    .policy(Policy::CollectAll)
    .grace(grace)
    .without_places()
    .await;
    let cause = ended.err().and_then(|error| error.cause().cloned());
    let mut rows = results.rows.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = std::mem::take(&mut *rows);
    let is_complete = rows.iter().all(|row| row.result.is_some());
    Gathered {
        rows,
        // Without an error of the scope: it was over before the first task.
        cause: cause.or_else(|| ctx.cause()).filter(|_| !is_complete),
    }
}

/// Where the tasks put their results; it outlives a task that had to be left behind, and is
/// outlived by it.
struct Results<T, E> {
    rows: Mutex<Vec<Row<T, E>>>,
}

impl<T, E> Default for Results<T, E> {
    fn default() -> Self {
        Self {
            rows: Mutex::new(Vec::new()),
        }
    }
}

struct Row<T, E> {
    name: Name,
    result: Option<Result<T, E>>,
}

/// The place to add tasks to; given to the closure of [`gather`].
///
/// The closure is synchronous: all tasks are known when it returns, and the order of their
/// results is that of the calls.
pub struct Gather<T, E> {
    scope: Scope<E>,
    results: Arc<Results<T, E>>,
}

impl<T: Send + 'static, E: Send + 'static> Gather<T, E> {
    /// Adds a task. On a context that is done already it is listed as unfinished.
    ///
    /// `make` is then not called. A task that fails does not cancel the others; one that panics
    /// does not either, but the panic is resumed from [`gather`] at the end.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<F, Fut>(&self, name: impl Into<Name>, make: F)
    where
        F: FnOnce(Ctx) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let name = name.into();
        let mut rows = self
            .results
            .rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let at = rows.len();
        rows.push(Row {
            name: name.clone(),
            result: None,
        });
        drop(rows);
        let results = Arc::clone(&self.results);
        let _ = self.scope.spawn(name, move |ctx| {
            let future = make(ctx);
            async move {
                let result = future.await;
                let mut rows = results.rows.lock().unwrap_or_else(PoisonError::into_inner);
                // A task that was left behind may find the results gone.
                if let Some(row) = rows.get_mut(at) {
                    row.result = Some(result);
                }
                Ok(())
            }
        });
    }
}

impl<T, E> fmt::Debug for Gather<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What came of the tasks of [`gather`], in the order in which they were added.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let ctx = ctx.with_timeout(Duration::from_secs(1));
/// let found = ripcord_tokio::gather(&ctx, Duration::ZERO, |shards| {
///     shards.spawn("a", |_| async { Ok(3) });
///     shards.spawn("b", |_| async { Err("no such index") });
///     shards.spawn("c", |_| std::future::pending());
/// })
/// .await;
/// assert_eq!(found.values().sum::<i32>(), 3);
/// assert_eq!(found.errors().collect::<Vec<_>>(), [("b", &"no such index")]);
/// assert!(found.unfinished() == ["c"] && found.cause().is_some());
/// # }
/// ```
pub struct Gathered<T, E> {
    rows: Vec<Row<T, E>>,
    cause: Option<Cause>,
}

impl<T, E> Gathered<T, E> {
    /// The values of the tasks that succeeded.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.rows
            .iter()
            .filter_map(|row| row.result.as_ref()?.as_ref().ok())
    }

    /// The names and errors of the tasks that failed.
    pub fn errors(&self) -> impl Iterator<Item = (&str, &E)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row.name.as_ref(), row.result.as_ref()?.as_ref().err()?)))
    }

    /// The names of the tasks that did not finish.
    ///
    /// Those that were aborted after the grace and those that were never started. A blocking call
    /// in one of them may still be running.
    #[must_use]
    pub fn unfinished(&self) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|row| row.result.is_none())
            .map(|row| row.name.as_ref())
            .collect()
    }

    /// Why it ended early, if there are tasks that did not finish.
    ///
    /// `None` if all finished, also when the context was done by then: what is complete needs no
    /// excuse.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Whether every task finished, with a value or an error.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.rows.iter().all(|row| row.result.is_some())
    }

    /// The names and results, `None` for a task that did not finish.
    pub fn into_results(self) -> impl Iterator<Item = (Name, Option<Result<T, E>>)> {
        self.rows.into_iter().map(|row| (row.name, row.result))
    }
}

impl<T: fmt::Debug, E: fmt::Debug> fmt::Debug for Gathered<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.rows.iter().map(|row| (&row.name, &row.result)))
            .finish()
    }
}

/// Runs `tasks` side by side and returns the first value; the others are cancelled.
///
/// For the same question to several places: replicas, mirrors, address families. The requests
/// that lose were made nevertheless, so what the tasks do should be harmless when repeated.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use ripcord_core::{Cancelled, Ctx};
/// use std::time::Duration;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let ask = |(name, seconds): (&'static str, u64)| {
///     (name.into(), move |ctx: Ctx| async move {
///         ripcord_tokio::sleep(&ctx, Duration::from_secs(seconds)).await?;
///         Ok::<_, Cancelled>(name)
///     })
/// };
/// let first = ripcord_tokio::first_ok(&ctx, [("far", 60), ("near", 1)].map(ask)).await;
/// assert_eq!(first.expect("one of them answers"), "near");
/// # }
/// ```
///
/// The losers get no grace: they are aborted and joined before this returns. If all fail,
/// all failures are returned, the first one first.
///
/// # Errors
/// [`ScopeError`] if every task failed or the context was done first, or if there are no
/// tasks (then without a failure).
///
/// # Cancel safety
/// Dropping the future aborts the tasks.
///
/// # Panics
/// Needs a tokio runtime. A panic of a task counts as its failure.
pub async fn first_ok<T, E, F, Fut>(
    ctx: &Ctx,
    tasks: impl IntoIterator<Item = (Name, F)>,
) -> Result<T, ScopeError<E>>
where
    T: Send + 'static,
    E: Send + From<Cancelled> + 'static,
    F: FnOnce(Ctx) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let winner: Arc<Mutex<Option<T>>> = Arc::default();
    scope(ctx, async |scope: Scope<E>| {
        for (name, make) in tasks {
            let winner = Arc::clone(&winner);
            let unneeded: Task<(), E> = scope.spawn(name, move |ctx| {
                let future = make(ctx);
                async move {
                    let value = future.await?;
                    let mut winner = winner.lock().unwrap_or_else(PoisonError::into_inner);
                    let late = match &*winner {
                        Some(_) => Some(value),
                        None => winner.replace(value),
                    };
                    drop(winner);
                    drop(late);
                    Ok(())
                }
            })?;
            drop(unneeded);
        }
        Ok(())
    })
    .policy(Policy::FirstOk)
    .panics(PanicPolicy::AsError)
    .grace(Duration::ZERO)
    .without_places()
    .await
    .or_else(|error| {
        if has_value(&winner) {
            Ok(())
        } else {
            Err(error)
        }
    })?;
    let mut winner = winner.lock().unwrap_or_else(PoisonError::into_inner);
    winner
        .take()
        .ok_or_else(|| ScopeError::new(None, Vec::new(), Vec::new(), ctx.cause()))
}

fn has_value<T>(winner: &Mutex<Option<T>>) -> bool {
    winner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}
