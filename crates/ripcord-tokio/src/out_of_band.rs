//! Cancel by a message on another channel: [`run_with_cancel`].
//!
//! Some work does not end by dropping its future. A database goes on with a query whose
//! client stopped listening, and the connection is left in the middle of an answer. Such
//! work is cancelled by a request of its own, out of band, and the answer has to be read
//! nevertheless.
//!
//! # Invariants
//! 1. The operation is polled first, and a value that it has ready is never dropped.
//! 2. The cancel action is started once, and only after the context is done.
//! 3. "Clean" is said only if both have finished and the action succeeded. Everything
//!    else is uncertain: a cancel that is still on its way may hit whatever uses the
//!    connection next.

use ripcord_core::tasks::labelled;
use ripcord_core::{Cancelled, Ctx, Done, Grace};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long operation and cancel action may take after the end of the context, unless
/// another time is set.
pub const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Runs `op`, and on the end of `ctx` also `cancel`, until both are over.
///
/// A context that is done already ends it before the first poll of `op`. When it ends
/// later, `cancel` is called once, and `op` **goes on being polled**: it usually ends
/// with an error that the peer sends in answer to the cancel. `cancel` is given a
/// context that is live for the [grace](RunWithCancel::grace); the context of the work
/// itself is done, so nothing could be sent under it.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_tokio::{Outcome, run_with_cancel};
/// use tokio::sync::oneshot;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (ctx, guard) = Ctx::background().child();
/// let (ask, asked) = oneshot::channel();
/// // Stands for a query that ends when the server is asked to stop it.
/// let query = async {
///     guard.cancel(Kind::PeerGone);
///     asked.await.map(|()| "57014: query was cancelled")
/// };
/// let outcome = run_with_cancel(&ctx, query, |_ctx| async move { ask.send(()) }).await;
///
/// let Outcome::Cancelled(end) = outcome else { panic!("it was cancelled") };
/// assert_eq!(end.cancelled.kind(), Kind::PeerGone);
/// assert!(end.is_clean(), "both sides finished: the connection may be used again");
/// assert_eq!(end.op, Some(Ok("57014: query was cancelled")));
/// # }
/// ```
///
/// # Cancel safety
/// Dropping it drops `op` and the cancel action where they are, and starts nothing:
/// the peer may not be told at all, and the state of the connection is **uncertain**.
/// Keep it in a task of its own if its caller can be dropped.
///
/// # Panics
/// A panic of `op` or of `cancel` passes through. Polling after completion panics.
pub fn run_with_cancel<Op, C, F>(ctx: &Ctx, op: Op, cancel: C) -> RunWithCancel<Op, C, F>
where
    Op: Future,
    C: FnOnce(Ctx) -> F,
    F: Future,
    F::Output: CancelOutput,
{
    RunWithCancel {
        op: Part::Running { future: op },
        cancel: Part::Idle,
        start: Some(cancel),
        ctx: ctx.clone(),
        done: ctx.done(),
        grace: CANCEL_GRACE.into(),
        stage: Stage::New,
    }
}

/// What a cancel action says about its success; implemented for `()` and `Result`.
///
/// An action that failed makes the outcome [`Certainty::Uncertain`]: its request may
/// have left and arrive late.
///
/// # Examples
/// ```
/// use ripcord_tokio::CancelOutput;
///
/// /// What a server answers to a request to stop a query.
/// enum Answer { Stopped, UnknownQuery }
/// impl CancelOutput for Answer {
///     fn is_confirmed(&self) -> bool {
///         matches!(self, Self::Stopped)
///     }
/// }
/// assert!(Answer::Stopped.is_confirmed() && !Answer::UnknownQuery.is_confirmed());
/// assert!(!Err::<(), _>("connection refused").is_confirmed());
/// ```
pub trait CancelOutput {
    /// Whether the peer is known to have handled the request.
    fn is_confirmed(&self) -> bool;
}

impl CancelOutput for () {
    fn is_confirmed(&self) -> bool {
        true
    }
}

impl<T, E> CancelOutput for Result<T, E> {
    fn is_confirmed(&self) -> bool {
        self.is_ok()
    }
}

/// How an operation under [`run_with_cancel`] ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "an uncertain connection must be discarded"]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever matches has to handle both, and there is no third"
)]
pub enum Outcome<T, C> {
    /// The operation finished, and the cancel action was never started.
    Finished(T),
    /// The context ended first.
    Cancelled(Interrupted<T, C>),
}

impl<T, C> Outcome<T, C> {
    /// Whether what the operation used (a connection) may be used again.
    ///
    /// `false` means: discard it.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use ripcord_core::Ctx;
    /// use ripcord_tokio::run_with_cancel;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let query = async { guard.cancel("enough"); std::future::pending::<()>().await };
    /// let refused = |_| async { Err::<(), _>("connection refused") };
    /// let outcome = run_with_cancel(&ctx, query, refused).grace(std::time::Duration::ZERO).await;
    /// // Nobody knows what the server does with the query: do not put it back into the pool.
    /// assert!(!outcome.may_reuse());
    /// assert_eq!(outcome.into_result().unwrap_err().cause().message(), Some("enough"));
    /// # }
    /// ```
    #[must_use]
    pub fn may_reuse(&self) -> bool {
        match self {
            Self::Finished(_) => true,
            Self::Cancelled(end) => end.is_clean(),
        }
    }

    /// The value of the operation, if it finished before the end of its context.
    ///
    /// Ask [`may_reuse`](Self::may_reuse) before.
    ///
    /// # Errors
    /// [`Cancelled`] with the cause of the context.
    pub fn into_result(self) -> Result<T, Cancelled> {
        match self {
            Self::Finished(value) => Ok(value),
            Self::Cancelled(end) => Err(end.cancelled),
        }
    }
}

/// What is known of an operation whose context ended before it did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Interrupted<T, C> {
    /// Why the context ended.
    pub cancelled: Cancelled,
    /// Whether the connection may be used again.
    pub certainty: Certainty,
    /// What the operation returned, if it finished within the grace.
    pub op: Option<T>,
    /// What the cancel action returned, if it was started and finished within the grace.
    pub cancel: Option<C>,
}

impl<T, C> Interrupted<T, C> {
    /// Whether both sides are over, so that the connection may be used again.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.certainty == Certainty::Clean
    }
}

/// Whether the state of what an operation used is known after a cancel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "it is known or it is not")]
pub enum Certainty {
    /// Operation and cancel action have both finished, or neither was begun.
    Clean,
    /// One of them has not finished, or the action failed. Discard the connection.
    Uncertain,
}

pin_project_lite::pin_project! {
    /// A future that runs its operation and, if need be, its cancel action; made by
    /// [`run_with_cancel`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RunWithCancel<Op, C, F>
    where
        Op: Future,
        F: Future,
    {
        #[pin]
        op: Part<Op>,
        #[pin]
        cancel: Part<F>,
        start: Option<C>,
        ctx: Ctx,
        // The context of the work; from the cancel on, the shield that bounds the rest.
        done: Done,
        grace: Grace,
        stage: Stage,
    }
}

/// How far the whole has come.
#[derive(Clone, Debug)]
enum Stage {
    New,
    Running,
    Stopping(Cancelled),
    Over,
}

pin_project_lite::pin_project! {
    /// One of the two futures.
    #[project = PartProj]
    #[project_replace = PartOwn]
    enum Part<F: Future> {
        Idle,
        Running {
            #[pin]
            future: F,
        },
        Finished { value: F::Output },
    }
}

impl<F: Future> Part<F> {
    /// Polls the future, if it runs.
    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if let PartProj::Running { future } = self.as_mut().project()
            && let Poll::Ready(value) = future.poll(cx)
        {
            self.set(Self::Finished { value });
        }
    }

    fn value(&self) -> Option<&F::Output> {
        match self {
            Self::Finished { value } => Some(value),
            Self::Idle | Self::Running { .. } => None,
        }
    }

    fn is_finished(&self) -> bool {
        self.value().is_some()
    }

    /// Takes the value, or drops the future.
    fn take(self: Pin<&mut Self>) -> Option<F::Output> {
        match self.project_replace(Self::Idle) {
            PartOwn::Finished { value } => Some(value),
            PartOwn::Idle | PartOwn::Running { .. } => None,
        }
    }
}

impl<Op, C, F> RunWithCancel<Op, C, F>
where
    Op: Future,
    F: Future,
{
    /// Sets how long both may take after the end of the context.
    ///
    /// The default is [`CANCEL_GRACE`]. It counts from the poll that finds the context
    /// done; a forced context has none. It has no effect once the cancel action was
    /// started.
    pub fn grace(mut self, grace: impl Into<Grace>) -> Self {
        self.grace = grace.into();
        self
    }

    /// Drops what still runs, then makes the result.
    fn end(
        self: Pin<&mut Self>,
        cancelled: Cancelled,
        certainty: Certainty,
    ) -> Outcome<Op::Output, F::Output> {
        let this = self.project();
        *this.stage = Stage::Over;
        // Lets go of the timer of the grace.
        *this.done = Ctx::background().done();
        let (op, cancel) = (this.op.take(), this.cancel.take());
        Outcome::Cancelled(Interrupted {
            cancelled,
            certainty,
            op,
            cancel,
        })
    }
}

impl<Op, C, F> RunWithCancel<Op, C, F>
where
    Op: Future,
    C: FnOnce(Ctx) -> F,
    F: Future,
    F::Output: CancelOutput,
{
    /// Before the end of the context: polls the operation, then the context.
    fn poll_running(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<Op::Output, F::Output>> {
        let mut this = self.as_mut().project();
        this.op.as_mut().step(cx);
        if this.op.is_finished()
            && let Some(value) = this.op.take()
        {
            *this.stage = Stage::Over;
            return Poll::Ready(Outcome::Finished(value));
        }
        let wait = || Pin::new(&mut *this.done).poll(cx);
        let cause = ready!(labelled("operation", wait));
        let cancelled = Cancelled::new(cause);
        *this.stage = Stage::Stopping(cancelled.clone());
        let shield = this.ctx.shield(*this.grace);
        *this.done = shield.done();
        if let Some(start) = this.start.take() {
            let future = start(shield);
            this.cancel.set(Part::Running { future });
        }
        self.poll_stopping(cancelled, cx)
    }

    /// After it: polls the cancel action, then the grace.
    fn poll_stopping(
        mut self: Pin<&mut Self>,
        cancelled: Cancelled,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<Op::Output, F::Output>> {
        let mut this = self.as_mut().project();
        this.cancel.as_mut().step(cx);
        let certainty = match this.cancel.value() {
            Some(told) if this.op.is_finished() && told.is_confirmed() => Certainty::Clean,
            Some(_) if this.op.is_finished() => Certainty::Uncertain,
            _ => {
                let wait = || Pin::new(&mut *this.done).poll(cx);
                ready!(labelled("stop", wait));
                Certainty::Uncertain
            }
        };
        Poll::Ready(self.end(cancelled, certainty))
    }
}

impl<Op, C, F> Future for RunWithCancel<Op, C, F>
where
    Op: Future,
    C: FnOnce(Ctx) -> F,
    F: Future,
    F::Output: CancelOutput,
{
    type Output = Outcome<Op::Output, F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        match this.stage {
            Stage::New => {
                if let Some(cause) = this.ctx.cause() {
                    return Poll::Ready(self.end(Cancelled::new(cause), Certainty::Clean));
                }
                *this.stage = Stage::Running;
                self.poll_running(cx)
            }
            Stage::Running => self.poll_running(cx),
            Stage::Stopping(cancelled) => {
                let cancelled = cancelled.clone();
                this.op.step(cx);
                self.poll_stopping(cancelled, cx)
            }
            Stage::Over => panic!("`RunWithCancel` was polled again after it had returned"),
        }
    }
}

impl<Op, C, F> fmt::Debug for RunWithCancel<Op, C, F>
where
    Op: Future,
    F: Future,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWithCancel")
            .field("ctx", &self.ctx)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
