//! [`Work`]: the future of a task in a scope, from its place to its report.
//!
//! # Invariants
//! 1. Fields drop in order: the user's future, then its place, then its report. So no
//!    more than `limit` futures are there at once, destructors included, and what is
//!    reported as gone is gone.
//! 2. A report is told once: by `settle` and `tell`, by `not_started`, or by its drop, which
//!    stands for an abort. Who has not taken the sender has not told.
//! 3. Panics of the user's future, of its poll as of its destructor, end here. What unwinds
//!    into the runtime is a bug of this crate.
//!
//! # Costs
//! One poll of `Place` on top of the future's own: a comparison once the place is taken. The
//! box for a place that is wanted exists only under a limit.

use super::error::{Failure, FailureKind};
use super::handle::Policy;
use super::inner::{Ended, Inner, Name};
use super::join::Gone;
use crate::join::PanicPayload;
use crate::task::TaskCore;
use pin_project_lite::pin_project;
use ripcord_core::tasks::labelled;
use ripcord_core::{Cancelled, Ctx};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What comes of a task: told to the scope, then to the task's handle.
pub(super) struct Report<T, E: Send + 'static> {
    inner: Arc<Inner<E>>,
    task: Arc<TaskCore>,
    name: Name,
    tell: Option<oneshot::Sender<Result<T, Gone<E>>>>,
}

impl<T, E: Send + 'static> Report<T, E> {
    pub(super) fn new(
        inner: Arc<Inner<E>>,
        task: Arc<TaskCore>,
        name: Name,
        tell: oneshot::Sender<Result<T, Gone<E>>>,
    ) -> Self {
        Self {
            inner,
            task,
            name,
            tell: Some(tell),
        }
    }

    /// The task came to its end: tells the scope. What the handle is to be told comes
    /// back, so that the task's place can be given up in between.
    ///
    /// Under `Supervise` the failure goes to the handle alone, and is lost if that was dropped: the
    /// policy says that nobody else is concerned.
    fn settle(&self, ended: Ended<T, E>) -> Result<T, Gone<E>> {
        self.task.note_end();
        let kind = match ended {
            Ok(Ok(value)) => {
                self.inner.succeeded(&self.name);
                return Ok(value);
            }
            Ok(Err(error)) => FailureKind::Error(error),
            Err(payload) => {
                self.task.note_panic();
                FailureKind::Panic(PanicPayload::new(payload))
            }
        };
        if self.inner.policy == Policy::Supervise {
            return Err(Gone::Kept(kind));
        }
        let task = self.name.clone();
        self.inner.failed(Failure { task, kind });
        Err(Gone::Failed)
    }

    fn tell(&mut self, result: Result<T, Gone<E>>) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(result);
        }
    }

    /// The task came to its end: tells the scope and the handle.
    pub(super) fn ended(&mut self, ended: Ended<T, E>) {
        let result = self.settle(ended);
        self.tell(result);
    }

    /// The scope was cancelled before the task could start.
    ///
    /// It counts as unfinished and not as failed: no code of the task has run.
    pub(super) fn not_started(&mut self, cancelled: Cancelled) {
        self.inner.note_unfinished(self.name.clone());
        self.tell(Err(Gone::NotStarted(cancelled)));
    }
}

/// Dropped untold: the task was aborted, or went down with its runtime (invariant 2). The sender
/// goes with it, which is how the handle learns.
impl<T, E: Send + 'static> Drop for Report<T, E> {
    fn drop(&mut self) {
        if self.tell.is_some() {
            self.inner.note_unfinished(self.name.clone());
        }
    }
}

/// How a task gets its place under a limit.
///
/// `Taken(None)` is a task without a limit, or one that has given its place back.
pub(super) enum Place {
    Taken(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>),
    Wanted(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Cancelled>> + Send>>),
}

impl Place {
    /// Waits for a place until the context of the task is done.
    ///
    /// The second look closes a gap: the task that gives up its place may be the one whose failure
    /// ends the scope, and the next in the queue should not start on that.
    pub(super) fn wanted(places: Arc<Semaphore>, ctx: Ctx) -> Self {
        Self::Wanted(Box::pin(async move {
            let place = ctx.run(places.acquire_owned()).await?;
            // The place may have become free by the very end of the scope.
            ctx.check()?;
            Ok(place.expect("the semaphore of a scope is never closed"))
        }))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        if let Self::Wanted(wanted) = self {
            let place = ready!(labelled("place", || wanted.as_mut().poll(cx)))?;
            *self = Self::Taken(Some(place));
        }
        Poll::Ready(Ok(()))
    }
}

pin_project! {
    /// The future of a task: waits for its place, runs, reports.
    pub(super) struct Work<F, T, E>
    where
        E: Send,
        E: 'static,
    {
        // Invariant 1.
        #[pin]
        future: Option<F>,
        place: Place,
        report: Report<T, E>,
    }

    impl<F, T, E> PinnedDrop for Work<F, T, E>
    where
        E: Send,
        E: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() && let Err(payload) = dispose(this.future.as_mut()) {
                this.report.ended(Err(payload));
            }
        }
    }
}

impl<F, T, E: Send + 'static> Work<F, T, E> {
    pub(super) fn new(future: F, place: Place, report: Report<T, E>) -> Self {
        Self {
            future: Some(future),
            place,
            report,
        }
    }
}

impl<F, T, E> Future for Work<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Err(cancelled) = ready!(this.place.poll(cx)) {
            match dispose(this.future.as_mut()) {
                Ok(()) => this.report.not_started(cancelled),
                Err(payload) => this.report.ended(Err(payload)),
            }
            return Poll::Ready(());
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        let ended = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(payload) => Err(payload),
        };
        // A panic of the destructor counts like one of the poll; the first stands.
        let disposed = dispose(this.future.as_mut());
        let ended = ended.and_then(|result| disposed.map(|()| result));
        // The scope is told before the place is free: a failure keeps out those that wait
        // for one. The handle is told after: who awaits it may count on the place.
        let result = this.report.settle(ended);
        *this.place = Place::Taken(None);
        this.report.tell(result);
        Poll::Ready(())
    }
}

/// Drops a future, with its panic caught.
///
/// Only the first panic of a destructor gets out of it: a second one while it unwinds aborts
/// the process, here as everywhere in Rust.
pub(super) fn dispose<F>(mut future: Pin<&mut Option<F>>) -> std::thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| future.set(None)))
}
