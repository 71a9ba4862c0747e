//! [`Inner`]: what a scope keeps book of, behind one lock.
//!
//! # Invariants
//! 1. A task is entered in `live` under the lock, before it is spawned, and only while
//!    the scope is open. The scope closes under the same lock, when nothing is left to
//!    wait for. So a spawn that races the end is either joined or refused.
//! 2. A task leaves `live` when its future has been dropped.
//! 3. A task whose right to abort comes in after `is_aborting` was set is aborted by the
//!    one who brings it.
//! 4. The waker that waits is stored under the lock under which `live` was looked at, and
//!    taken under the lock under which it shrinks: no end is missed.
//!
//! # Lock order
//! The scope's lock is taken alone; nothing foreign runs or is dropped under it.
//!
//! # Why one lock
//! A scope has few tasks that end at the same instant, and each end is a removal from a map.
//! What the lock decides in return is everything that could race: entry against close, abort
//! against spawn, first failure against first success.
//!
//! # Costs
//! Spawn and end: one lock each and a step that is logarithmic in the live tasks. A failure is
//! kept until the end of the scope; a success is only counted.

use super::error::{Failure, FailureKind, ScopeError};
use super::future::Options;
use super::handle::{PanicPolicy, Policy};
use crate::join::PanicPayload;
use crate::sync::{AbortHandle, Mutex, MutexGuard};
use crate::task::{OnEnd, TaskCore, TaskInfo};
use ripcord_core::{CancelGuard, Cancelled, Cause, Ctx, Kind};
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Semaphore;

pub(super) type Name = Cow<'static, str>;

/// The name under which the scope's own closure appears in reports.
const BODY: &str = "body";

/// What body, tasks and reaper share.
///
/// The guard lies here and not in the scope's future: a failure cancels from within a task. It
/// is dropped with the last handle, which cancels what was not yet.
pub(super) struct Inner<E> {
    pub(super) ctx: Ctx,
    pub(super) guard: CancelGuard,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) limit: Option<(usize, Arc<Semaphore>)>,
    state: Mutex<State<E>>,
}

/// What changes while the scope runs; only looked at under the lock.
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that come in any order"
)]
struct State<E> {
    /// By number, and numbers go up: a walk gives the oldest first, which is the order of
    /// [`ScopeError::stragglers`].
    live: BTreeMap<u64, Entry>,
    /// The scope's own task, while it waits for an end.
    waker: Option<Waker>,
    /// Nothing is entered any more; never taken back (invariant 1).
    is_closed: bool,
    /// What is live, and what is spawned from now on, is aborted.
    is_aborting: bool,
    is_body_over: bool,
    is_body_abandoned: bool,
    /// A failure, or a win, has cancelled the siblings.
    is_decided: bool,
    /// That, and nothing before it, is why the context is done.
    is_own_end: bool,
    failures: Vec<Kept<E>>,
    succeeded: usize,
    unfinished: Vec<Name>,
}

/// A task that has not ended. `abort` is `None` between entry and spawn, and for a task that
/// could not be spawned.
struct Entry {
    core: Arc<TaskCore>,
    abort: Option<AbortHandle>,
}

/// A failure, and what decides its place among others.
struct Kept<E> {
    failure: Failure<E>,
    is_body: bool,
    /// It only says that the scope was cancelled.
    is_echo: bool,
}

impl<E> Kept<E> {
    fn is_panic(&self) -> bool {
        matches!(self.failure.kind, FailureKind::Panic(_))
    }
}

/// How a task, or the body, came to its end.
pub(super) type Ended<T, E> = std::thread::Result<Result<T, E>>;

impl<E> Inner<E> {
    pub(super) fn new(ctx: Ctx, guard: CancelGuard, options: Options) -> Self {
        let Options {
            policy,
            panics,
            limit,
            ..
        } = options;
        let state = State {
            live: BTreeMap::new(),
            waker: None,
            is_closed: false,
            is_aborting: false,
            is_body_over: false,
            is_body_abandoned: false,
            is_decided: false,
            is_own_end: false,
            failures: Vec::new(),
            succeeded: 0,
            unfinished: Vec::new(),
        };
        let limit = limit.map(|limit| (limit, Arc::new(Semaphore::new(limit))));
        Self {
            ctx,
            guard,
            policy,
            panics,
            limit,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a task that is about to be spawned (invariant 1).
    ///
    /// # Errors
    /// The cause of the scope's context, or, when that is not done yet, one that says that the
    /// scope has returned. A closed scope refuses whatever its context says.
    pub(super) fn enter(&self, core: &Arc<TaskCore>) -> Result<(), Cancelled> {
        let entry = Entry {
            core: Arc::clone(core),
            abort: None,
        };
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            let over = Cause::new(Kind::Cancelled).with_message("the scope has returned");
            return Err(Cancelled::new(self.ctx.cause().unwrap_or(over)));
        }
        state.live.insert(core.id, entry);
        Ok(())
    }

    /// Keeps the right to abort, if the task has not ended in the meantime (invariant 3).
    ///
    /// A task on another worker may be over before its spawner gets here. Its entry is gone then,
    /// and the handle is dropped; it must not come back into the book.
    pub(super) fn keep_abort(&self, core: &TaskCore, abort: Option<AbortHandle>) {
        let mut state = self.state();
        if !state.is_aborting {
            if let Some(entry) = state.live.get_mut(&core.id) {
                entry.abort = abort;
            }
            return;
        }
        drop(state);
        if let Some(abort) = abort {
            core.note_abort();
            abort.abort();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.state().live.len()
    }

    /// The tasks that have not ended, oldest first.
    pub(super) fn live(&self) -> Vec<Arc<TaskCore>> {
        let state = self.state();
        let cores = state.live.values().map(|entry| Arc::clone(&entry.core));
        cores.collect()
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.state().is_aborting
    }

    /// Aborts what is live, and from now on whatever is spawned (invariant 3).
    ///
    /// An abort may run destructors on this thread, and those may spawn or fail: the handles are
    /// taken out first, and used without the lock. Blocking tasks that run ignore it.
    pub(super) fn abort_all(&self) {
        let mut state = self.state();
        state.is_aborting = true;
        let live = state.live.values();
        let handles =
            live.filter_map(|entry| Some((Arc::clone(&entry.core), entry.abort.clone()?)));
        let handles: Vec<(Arc<TaskCore>, AbortHandle)> = handles.collect();
        drop(state);
        for (core, handle) in handles {
            core.note_abort();
            handle.abort();
        }
    }

    /// Lets nothing more in, whatever is left.
    ///
    /// For the ways out on which nobody waits: the scope's future was dropped, or tasks are left
    /// behind.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
    }

    /// Whether body and tasks are over; then the scope is closed. If not, the caller is
    /// woken when they are.
    pub(super) fn is_idle(&self, cx: &Context<'_>) -> bool {
        self.closes_when(cx, |state| state.is_body_over && state.live.is_empty())
    }

    /// Resolves when the body and all tasks are over.
    pub(super) async fn until_idle(&self) {
        poll_fn(|cx| if_ready(self.is_idle(cx))).await;
    }

    /// Resolves when all tasks are over that can be aborted.
    pub(super) async fn until_aborted(&self) {
        let is_over = |state: &State<E>| state.live.values().all(|entry| entry.core.is_blocking);
        poll_fn(|cx| if_ready(self.closes_when(cx, is_over))).await;
    }

    /// Looks, closes if it is over, and leaves the waker, all under one lock (invariants 1 and 4).
    ///
    /// To look first and to close later would let a task in between that nobody joins. The waker is
    /// kept in either case; one wake too many costs a poll.
    fn closes_when(&self, cx: &Context<'_>, is_over: impl FnOnce(&State<E>) -> bool) -> bool {
        // Cloned, and the old one dropped, outside the lock.
        let waker = cx.waker().clone();
        let mut state = self.state();
        let is_over = is_over(&state);
        state.is_closed |= is_over;
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        is_over
    }

    /// Changes the book and wakes the scope if that can be what it waits for (invariant 4).
    ///
    /// Of a thousand tasks only the last one wakes it. While it aborts, each one does: it then
    /// waits for those that can be aborted, and `live` need not become empty.
    fn wake(&self, change: impl FnOnce(&mut State<E>)) {
        let mut state = self.state();
        change(&mut state);
        let is_awaited = state.is_aborting || state.live.is_empty();
        let waker = if is_awaited { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A task ended without a result: never started, or dropped with its runtime.
    pub(super) fn note_unfinished(&self, name: Name) {
        let mut state = self.state();
        // Those that the scope aborts are stragglers.
        if !state.is_aborting {
            state.unfinished.push(name);
        }
    }

    /// Counts a success; under `FirstOk` the first one cancels the others.
    ///
    /// The lock decides who is first. Losers that succeed too are only counted: their values are
    /// dropped by whoever holds them.
    pub(super) fn succeeded(&self, name: &str) {
        let mut state = self.state();
        state.succeeded += 1;
        let wins = self.policy == Policy::FirstOk && !state.is_decided;
        state.is_decided |= wins;
        drop(state);
        if wins {
            self.end(Cause::new(Kind::Cancelled).with_message(format!("task `{name}` was first")));
        }
    }

    /// Cancels the tasks for a reason that lies in the scope.
    ///
    /// Only the call that really ended the context makes it the scope's own end. When a cancel from
    /// outside came first, that is what `conclude` reports as the cause.
    fn end(&self, cause: Cause) {
        if self.guard.cancel(cause) {
            self.state().is_own_end = true;
        }
    }
}

fn if_ready(is_ready: bool) -> Poll<()> {
    if is_ready {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

impl<E: Send + 'static> Inner<E> {
    /// A task failed, and that is the scope's business.
    pub(super) fn failed(&self, failure: Failure<E>) {
        let decides = self.policy == Policy::FailFast;
        self.keep(failure, false, decides);
    }

    /// Keeps a failure in its place, and cancels the siblings if it is the first that decides.
    ///
    /// The first place is for what explains the end. An echo, which only says that the scope was
    /// cancelled, stands there until a failure comes that says more, and is then replaced; later
    /// echoes are dropped. All others are appended, so their order is that of the reports.
    fn keep(&self, failure: Failure<E>, is_body: bool, decides: bool) {
        let how = match failure.kind {
            FailureKind::Error(_) => "failed",
            FailureKind::Panic(_) => "panicked",
        };
        let cause = if is_body {
            format!("the body of the scope {how}")
        } else {
            format!("task `{}` {how}", failure.task)
        };
        let kept = Kept {
            is_echo: self.is_echo(&failure.kind),
            failure,
            is_body,
        };
        let mut state = self.state();
        let unneeded = if kept.is_echo && !state.failures.is_empty() {
            Some(kept)
        } else if state.failures.first().is_some_and(|first| first.is_echo) {
            // At last one that says more than that the scope was cancelled.
            Some(std::mem::replace(&mut state.failures[0], kept))
        } else {
            state.failures.push(kept);
            None
        };
        let cancels = decides && !state.is_decided;
        state.is_decided |= decides;
        drop(state);
        drop(unneeded);
        if cancels {
            self.end(Cause::new(Kind::SiblingFailed).with_message(cause));
        }
    }

    /// Whether an error only passes on the end of the scope's own context.
    ///
    /// Every context below shows the very same cause; one that ended by a deadline or a
    /// guard of its own shows another.
    fn is_echo(&self, kind: &FailureKind<E>) -> bool {
        let FailureKind::Error(error) = kind else {
            return false;
        };
        cancelled(error).is_some_and(|error| self.ctx.cause().as_ref() == Some(error.cause()))
    }

    /// The body came to its end, and its future was dropped.
    ///
    /// The failure is kept *before* the body counts as over: the other way round the scope could
    /// conclude in between, as a success.
    pub(super) fn body_ended<T>(&self, ended: Ended<T, E>) -> Option<T> {
        let kind = match ended {
            Ok(Ok(value)) => {
                self.wake(|state| state.is_body_over = true);
                return Some(value);
            }
            Ok(Err(error)) => FailureKind::Error(error),
            Err(payload) => FailureKind::Panic(PanicPayload::new(payload)),
        };
        let task = BODY.into();
        self.keep(Failure { task, kind }, true, true);
        self.wake(|state| state.is_body_over = true);
        None
    }

    /// The body ignored the cancel and was dropped half-way.
    ///
    /// It then has neither value nor error, and is listed as unfinished under its name; a panic of
    /// its destructors is a failure of the body like any other.
    pub(super) fn body_abandoned(&self, dropped: std::thread::Result<()>) {
        self.wake(|state| {
            state.is_body_over = true;
            state.is_body_abandoned = true;
        });
        if let Err(payload) = dropped {
            let failure = Failure {
                task: BODY.into(),
                kind: FailureKind::Panic(PanicPayload::new(payload)),
            };
            self.keep(failure, true, true);
        }
    }

    /// Makes the result of the scope from all that happened in it.
    ///
    /// In this order: the context is cancelled for whatever still hangs on it; a panic that is to
    /// be resumed goes before every error, the body's regardless of the policy; a winner makes
    /// the losers' failures void; and a value counts only if nothing is missing. Stragglers spoil
    /// a value as well, except those of a race that was won.
    ///
    /// # Panics
    /// Resumes the first panic that its policy says to resume.
    pub(super) fn conclude<T>(
        &self,
        value: Option<T>,
        stragglers: Vec<TaskInfo>,
    ) -> Result<T, ScopeError<E>> {
        let mut state = self.state();
        let is_own_end = state.is_own_end;
        let mut failures = std::mem::take(&mut state.failures);
        let mut unfinished = std::mem::take(&mut state.unfinished);
        let has_winner = self.policy == Policy::FirstOk && state.succeeded > 0;
        let abandoned = state.is_body_abandoned.then(|| BODY.into());
        drop(state);
        let cause = self.ctx.cause().filter(|_| !is_own_end);
        self.guard.cancel(Kind::Dropped);
        let resumes = |kept: &Kept<E>| {
            kept.is_panic() && (kept.is_body || self.panics == PanicPolicy::Resume)
        };
        if let Some(at) = failures.iter().position(resumes)
            && let FailureKind::Panic(payload) = failures.swap_remove(at).failure.kind
        {
            resume_unwind(payload.into_inner());
        }
        if has_winner {
            // The losers are of no interest.
            failures.retain(|kept| kept.is_body);
        }
        if has_winner || self.policy == Policy::Supervise {
            unfinished.clear();
        }
        unfinished.extend(abandoned);
        let is_whole = failures.is_empty() && unfinished.is_empty();
        match value {
            Some(value) if is_whole && (has_winner || stragglers.is_empty()) => Ok(value),
            _ => {
                let failures = failures.into_iter().map(|kept| kept.failure);
                Err(ScopeError::new(failures, unfinished, stragglers, cause))
            }
        }
    }
}

/// The `Cancelled` that an error is, or wraps in one of the usual ways.
///
/// It finds it in three shapes: the error itself, an `io::Error`, and a boxed error, in the latter two
/// also further down the chain of sources. An enum of the user's own is opaque to it: such an error
/// then counts as a failure of its own, which costs a line in the report and nothing else.
fn cancelled<E: 'static>(error: &E) -> Option<&Cancelled> {
    let any: &dyn Any = error;
    if let Some(cancelled) = any.downcast_ref::<Cancelled>() {
        return Some(cancelled);
    }
    if let Some(error) = any.downcast_ref::<io::Error>() {
        return Cancelled::find(error);
    }
    let boxed = any.downcast_ref::<Box<dyn Error + Send + Sync>>()?;
    Cancelled::find(&**boxed)
}

impl<E: Send + 'static> OnEnd for Inner<E> {
    fn ended(&self, task: u64) {
        let mut gone = None;
        self.wake(|state| gone = state.live.remove(&task));
        drop(gone);
    }
}
