//! [`ThreadHooks`] and [`BuilderExt`]: the threads of a runtime, for a task observer.

use crate::trace::{note_parked, note_pooled, worker};
use ripcord_core::tasks::{TaskObserver, Tasks, ThreadKind};
use std::sync::Arc;
use tokio::runtime::Builder;

/// What a runtime calls when its threads start, stop, park and go on.
///
/// With these it is known whether a task was woken by the driver or by a blocking thread, and an
/// observer is told of the threads. [`BuilderExt::thread_hooks`] installs all four; a builder
/// that has hooks of its own calls these from them, since tokio keeps only the last one of each
/// kind.
///
/// # Examples
/// ```
/// use ripcord_tokio::ThreadHooks;
///
/// // No observer: they only help to tell who woke a task.
/// let hooks = ThreadHooks::default();
/// let parking = hooks.clone();
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// builder.on_thread_park(move || {
///     // What the program does itself.
///     parking.parked();
/// });
/// builder.on_thread_unpark(move || hooks.unparked());
/// ```
///
/// # Limitations
/// A thread is known as a worker from its first park on, so its start does not say what it is.
/// On a runtime of one thread it is that of `block_on` that parks: it has no start and no stop. The
/// park that tokio makes every so often without waiting is not hooked: wakes in it are told as
/// [`WokenBy::Runtime`](ripcord_core::tasks::WokenBy::Runtime).
///
/// # Costs
/// Two thread-local stores, and a call of the observer if there is one.
#[derive(Clone, Debug, Default)]
pub struct ThreadHooks {
    /// Who is told; with none the hooks only note what the thread does.
    tasks: Option<Tasks>,
}

impl ThreadHooks {
    /// Hooks that tell an observer, which need not belong to a tree.
    #[must_use]
    pub fn new(observer: Arc<dyn TaskObserver>) -> Self {
        Self {
            tasks: Some(Tasks::new(observer)),
        }
    }

    /// For `on_thread_start`: a worker or a blocking thread began.
    pub fn started(&self) {
        note_pooled(true);
        if let Some(tasks) = &self.tasks {
            tasks.thread_started();
        }
    }

    /// For `on_thread_stop`.
    pub fn stopped(&self) {
        let kind = if note_pooled(false) {
            ThreadKind::Worker
        } else {
            ThreadKind::Blocking
        };
        if let Some(tasks) = &self.tasks {
            tasks.thread_stopped(kind);
        }
    }

    /// For `on_thread_park`: call it last, so that wakes by other hooks are not the driver's.
    pub fn parked(&self) {
        if let Some(tasks) = &self.tasks {
            tasks.parked(worker());
        }
        note_parked(true);
    }

    /// For `on_thread_unpark`: call it first.
    pub fn unparked(&self) {
        note_parked(false);
        if let Some(tasks) = &self.tasks {
            tasks.unparked(worker());
        }
    }
}

/// Adds the hooks to a builder of a runtime.
pub trait BuilderExt {
    /// Installs all four hooks, in place of what was set before.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tokio::{BuilderExt as _, ThreadHooks};
    ///
    /// let runtime = tokio::runtime::Builder::new_multi_thread()
    ///     .enable_all()
    ///     .thread_hooks(&ThreadHooks::default())
    ///     .build()?;
    /// # drop(runtime);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    fn thread_hooks(&mut self, hooks: &ThreadHooks) -> &mut Self;
}

impl BuilderExt for Builder {
    fn thread_hooks(&mut self, hooks: &ThreadHooks) -> &mut Self {
        let [start, stop, park, unpark] = std::array::from_fn(|_| hooks.clone());
        self.on_thread_start(move || start.started())
            .on_thread_stop(move || stop.stopped())
            .on_thread_park(move || park.parked())
            .on_thread_unpark(move || unpark.unparked())
    }
}
