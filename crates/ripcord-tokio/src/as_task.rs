//! [`as_task`]: a future that is no task of the runtime, told of as one.
//!
//! What `block_on` polls is none: it has neither a spawn nor a handle. In a trace it is the one that
//! everything begins with, so it is told of by the same waker and the same account as a spawned task.
//!
//! *Invariant*: the future is dropped by [`ToldTask::end`], before its end is told.

#![allow(unsafe_code, reason = "one pin projection")]

use crate::told::ToldTask;
use ripcord_core::Ctx;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Tells the task observer of `ctx`'s tree of a future as of a task, whoever polls it.
///
/// For what a program gives to `block_on`, which is no task of the runtime: with this it is in a
/// recording, as the task that spawned the first ones, with what it waits for and who wakes it.
/// `#[ripcord::main]` does it for the body of `main`. The task is told to be under `ctx`, and the spawn
/// is told here, at once.
///
/// Nothing else changes: `ctx` is not made the [current](Ctx::current) one, so that a program runs the
/// same whether it is observed or not. To have both, enter it: `as_task(&ctx, "main", ctx.enter(future))`.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::current_task;
/// use ripcord_core::{Ctx, Observer, tasks::TaskObserver};
/// use ripcord_tokio::as_task;
/// use std::sync::Arc;
///
/// struct Tool;
/// impl TaskObserver for Tool {}
/// impl Observer for Tool {
///     fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> { Some(self) }
/// }
///
/// let (root, _guard) = Ctx::root().name("main").observer(Arc::new(Tool)).build();
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let task = runtime.block_on(as_task(&root, "main", async { current_task() }));
/// assert!(task.is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Cancel safety
/// As cancel safe as `future`. Dropped half-way, the task has ended as one that was dropped.
///
/// # Limitations
/// It is in no list of [`live_tasks`](crate::live_tasks) and has no handle. Its end is told without a cause.
///
/// # Costs
/// In a tree without an observer, the move of the future and a branch for each poll.
#[track_caller]
pub fn as_task<F: Future>(ctx: &Ctx, name: impl Into<Cow<'static, str>>, future: F) -> AsTask<F> {
    AsTask {
        told: ToldTask::new(ctx, name, size_of::<F>()),
        future: ManuallyDrop::new(future),
    }
}

/// A future that is told of as a task; made by [`as_task`].
///
/// It is `Send` if the future is, and may be polled on any thread, as a task may.
#[must_use = "futures do nothing unless polled"]
pub struct AsTask<F> {
    /// Dropped by our own `drop`, as the task's doing.
    future: ManuallyDrop<F>,
    told: ToldTask,
}

impl<F: Future> Future for AsTask<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with the struct and only reached through the `Pin` made below;
        // `told` is `Unpin` and not structurally pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` came from a pinned reference on the lines above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        this.told.poll(cx, |cx| future.poll(cx))
    }
}

impl<F> Drop for AsTask<F> {
    fn drop(&mut self) {
        let future = &mut self.future;
        // SAFETY: this is the only drop of `future`, which nobody touches after it. It is dropped in
        // place, as a pinned value has to be.
        self.told.end(|| unsafe { ManuallyDrop::drop(future) });
    }
}

impl<F> fmt::Debug for AsTask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsTask")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
