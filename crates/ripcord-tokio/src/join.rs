//! [`JoinHandle`] and [`JoinError`]: how a task is waited for, and what it ended with.

use crate::sync;
use crate::task::{Refused, TaskCore, TaskInfo};
use ripcord_core::tasks::labelled_at;
use ripcord_core::{Cancelled, Cause};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

/// A handle to a spawned task; resolves to its result.
///
/// Dropping it detaches the task, as with tokio.
///
/// There are two ways to end a task early: [`cancel`](Self::cancel) asks, through the context,
/// and the task cleans up; [`abort`](Self::abort) drops its future where it is.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::CtxExt as _;
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let count = ctx.spawn("count", |ctx| async move {
///     let mut rounds = 0_u32;
///     while ctx.check().is_ok() {
///         rounds += 1;
///         tokio::task::yield_now().await;
///     }
///     rounds
/// });
/// tokio::task::yield_now().await;
/// assert!(count.cancel("enough") && !count.cancel("again"));
/// assert!(count.await.expect("it ends by itself") > 0);
/// # }
/// ```
///
/// # Cancel safety
/// Dropping it, or a future that awaits `&mut` of it, loses nothing: the task goes on.
///
/// # Errors
/// [`JoinError`] if there is no value.
///
/// # Panics
/// When polled again after it has returned its result.
pub struct JoinHandle<T> {
    inner: Inner<T>,
    core: Option<Arc<TaskCore>>,
}

enum Inner<T> {
    Task(sync::JoinHandle<T>),
    Blocking(sync::JoinHandle<Result<T, Cancelled>>),
    Refused(Name, Option<Cancelled>),
}

type Name = Cow<'static, str>;

impl<T> JoinHandle<T> {
    pub(crate) fn task(task: sync::JoinHandle<T>, core: Arc<TaskCore>) -> Self {
        Self {
            inner: Inner::Task(task),
            core: Some(core),
        }
    }

    pub(crate) fn blocking(
        task: sync::JoinHandle<Result<T, Cancelled>>,
        core: Arc<TaskCore>,
    ) -> Self {
        Self {
            inner: Inner::Blocking(task),
            core: Some(core),
        }
    }

    pub(crate) fn refused(refused: Refused) -> Self {
        Self {
            inner: Inner::Refused(refused.name, Some(refused.cancelled)),
            core: None,
        }
    }

    /// Asks the task to stop, through its context. Returns whether this call did.
    ///
    /// `false` if it was cancelled before, by whomever, or has ended. Only this task and what it
    /// derived from its context are told; the context that it was spawned under is not.
    #[track_caller]
    pub fn cancel(&self, cause: impl Into<Cause>) -> bool {
        // Not a closure: the cause names the place of this call.
        match &self.core {
            Some(core) => core.canceller.cancel(cause),
            None => false,
        }
    }

    /// Drops the task's future at its next await. A blocking task that runs is not
    /// stopped by this.
    pub fn abort(&self) {
        if let Some(core) = &self.core {
            core.note_abort();
        }
        match &self.inner {
            Inner::Task(task) => task.abort(),
            Inner::Blocking(task) => task.abort(),
            Inner::Refused(..) => {}
        }
    }

    /// Whether the task has ended.
    ///
    /// A task that was refused at the spawn counts as ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.inner {
            Inner::Task(task) => task.is_finished(),
            Inner::Blocking(task) => task.is_finished(),
            Inner::Refused(..) => true,
        }
    }

    /// What is known of the task while it lives; `None` once it has ended, and if it was
    /// never started.
    #[must_use]
    pub fn info(&self) -> Option<TaskInfo> {
        let core = self.core.as_ref().filter(|core| !core.is_over())?;
        Some(core.info())
    }

    pub(crate) fn abort_handle(&self) -> Option<sync::AbortHandle> {
        match &self.inner {
            Inner::Task(task) => Some(task.abort_handle()),
            Inner::Blocking(task) => Some(task.abort_handle()),
            Inner::Refused(..) => None,
        }
    }

    fn name(&self) -> Cow<'static, str> {
        match (&self.inner, &self.core) {
            (Inner::Refused(name, _), _) => name.clone(),
            (_, Some(core)) => core.name.clone(),
            (_, None) => Cow::Borrowed("task"),
        }
    }

    fn failed(&self, error: sync::JoinError) -> JoinError {
        let end = match error.try_into_panic() {
            Ok(payload) => TaskEnd::Panicked(PanicPayload::new(payload)),
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

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = Location::caller();
        let result = match &mut self.inner {
            Inner::Task(task) => {
                ready!(labelled_at("join", place, || Pin::new(task).poll(cx))).map(Ok)
            }
            Inner::Blocking(task) => ready!(labelled_at("join", place, || Pin::new(task).poll(cx))),
            Inner::Refused(_, refused) => match refused.take() {
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
///
/// One of three: it panicked, it was dropped before its end, or it was never started. A task
/// that returned an error of its own *has* a result.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::CtxExt as _;
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let panics = ctx.spawn("panics", |_| async { assert_eq!(1 + 1, 3) });
/// let aborted = ctx.spawn("aborted", |_| std::future::pending::<()>());
/// aborted.abort();
/// assert!(panics.await.unwrap_err().is_panic());
/// assert!(aborted.await.unwrap_err().is_aborted());
/// guard.cancel("enough");
/// let refused = ctx.spawn("refused", |_| async {});
/// assert!(refused.await.unwrap_err().not_started().is_some());
/// # }
/// ```
pub struct JoinError {
    name: Cow<'static, str>,
    end: TaskEnd,
}

enum TaskEnd {
    Panicked(PanicPayload),
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
            TaskEnd::Panicked(payload) => Ok(payload.into_inner()),
            end => Err(Self { end, ..self }),
        }
    }

    /// Goes on panicking with the task's panic.
    ///
    /// For callers to whom a panic in the task is their own: a test, or a `main`. The hook that
    /// prints panics ran when the task panicked and does not run again.
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

/// What a task panicked with.
///
/// As `std::thread::JoinHandle::join` gives it, but for one thing: errors that hold it are `Sync`,
/// so that `?` turns them into the usual boxed errors.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::PanicPayload;
///
/// let payload = std::panic::catch_unwind(|| panic!("out of cheese")).unwrap_err();
/// let payload = PanicPayload::new(payload);
/// assert_eq!(payload.message(), Some("out of cheese"));
/// assert!(payload.into_inner().downcast_ref::<&str>().is_some());
/// # }
/// ```
pub struct PanicPayload(Box<Panicked>);

/// In a box: a panic is rare, and results that may hold one are passed about.
struct Panicked {
    text: Option<Cow<'static, str>>,
    /// Never locked: it makes what is only ever moved out shareable.
    inner: Mutex<Box<dyn Any + Send>>,
}

impl PanicPayload {
    /// Wraps what `catch_unwind` gave.
    #[must_use]
    pub fn new(inner: Box<dyn Any + Send>) -> Self {
        let text = inner.downcast_ref::<&'static str>().copied();
        let text = text.map(Cow::Borrowed).or_else(|| {
            let text = inner.downcast_ref::<String>()?;
            Some(Cow::Owned(text.clone()))
        });
        let inner = Mutex::new(inner);
        Self(Box::new(Panicked { text, inner }))
    }

    /// The message, if the panic had a text.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// The payload itself, to downcast it or to go on panicking with it.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        let inner = self.0.inner.into_inner();
        inner.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or("(not a text)"))
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload")
            .field(&self.message())
            .finish()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.end {
            TaskEnd::Panicked(payload) => {
                write!(f, "task `{name}` panicked: {payload}")
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
