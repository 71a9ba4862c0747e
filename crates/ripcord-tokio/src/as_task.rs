//! [`as_task`]: a future that is no task of the runtime, told of as one.
//!
//! What `block_on` polls is none: it has neither a spawn nor a handle. In a trace it is the one that
//! everything begins with, so it is told of by the same waker and the same account as a spawned task.
//!
//! # Invariants
//! 1. Without an observer there is no record: a poll is the future's own poll behind one branch.
//! 2. The future is dropped before its end is told, and the part in its wakers before the future, as with
//!    a spawned task.
//!
//! # Costs
//! With an observer those of a told task, see `trace.rs`; no second task, no context, no entry in a register.

#![allow(unsafe_code, reason = "one pin projection")]

use crate::census;
use crate::trace::{Held, Traced, Wakeable, Who};
use ripcord_core::Ctx;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
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
/// It is in no list of [`live_tasks`](crate::live_tasks), has no handle, and is not asked where it
/// waits. Its end is told without a cause.
///
/// # Costs
/// In a tree without an observer, the move of the future and a branch for each poll.
#[track_caller]
pub fn as_task<F: Future>(ctx: &Ctx, name: impl Into<Cow<'static, str>>, future: F) -> AsTask<F> {
    let site = Location::caller();
    let told = ctx.tasks().map(|_| name.into()).and_then(|name| {
        let told = Box::new(Record {
            traced: Traced::new(census::next_id(), ctx)?,
            wakeable: None,
            name,
            site,
            polls: 0,
            is_in_poll: false,
        });
        told.traced.spawned(told.who(), size_of::<F>());
        Some(told)
    });
    let future = ManuallyDrop::new(future);
    let mut task = AsTask { future, told };
    if let Some(told) = &mut task.told {
        told.wakeable = told.traced.wakeable();
    }
    task
}

/// A future that is told of as a task; made by [`as_task`].
///
/// It is `Send` if the future is, and may be polled on any thread, as a task may.
#[must_use = "futures do nothing unless polled"]
pub struct AsTask<F> {
    /// Dropped by our own `drop`, which tells what comes before and after.
    future: ManuallyDrop<F>,
    /// There only if somebody is told.
    told: Option<Box<Record>>,
}

/// What is kept of it for the observer.
struct Record {
    traced: Traced,
    /// None as well where the observer wants to hear no more of the task.
    wakeable: Option<Held>,
    name: Cow<'static, str>,
    site: &'static Location<'static>,
    /// How often it was polled, for what is said at its end.
    polls: u64,
    /// Still set when the future is dropped: a poll has panicked.
    is_in_poll: bool,
}

impl Record {
    /// Who it is, for the observer: at its spawn, and again at its end.
    fn who(&self) -> Who<'_> {
        Who {
            name: &self.name,
            site: self.site,
            is_blocking: false,
        }
    }

    /// One poll, told, if the observer wants to hear of it.
    fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(held) = &self.wakeable else {
            return future.poll(cx);
        };
        // Before the poll: whoever gets a waker of ours may call it at once.
        held.wakeable().keep(cx.waker());
        self.polls = self.polls.wrapping_add(1);
        self.is_in_poll = true;
        let poll = Wakeable::poll(held.wakeable(), |cx| future.poll(cx));
        self.is_in_poll = false;
        if poll.is_ready() {
            self.traced.note_ready();
        }
        poll
    }
}

impl<F: Future> Future for AsTask<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with the struct and only reached through the `Pin` made below;
        // `told` is `Unpin` and not structurally pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` came from a pinned reference on the lines above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        match &mut this.told {
            None => future.poll(cx),
            Some(told) => told.poll(future, cx),
        }
    }
}

impl<F> Drop for AsTask<F> {
    fn drop(&mut self) {
        /// Told also where the future's own destructor panics.
        struct End<'a>(Option<&'a Record>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                if let Some(told) = self.0 {
                    let traced = &told.traced;
                    traced.ended(told.who(), told.is_in_poll, told.polls, None);
                }
            }
        }
        // By invariant 2, before the future: with that its wakers go, and nobody waits for them any more.
        drop(self.told.as_mut().map(|told| told.wakeable.take()));
        let end = End(self.told.as_deref());
        // Dropped before `end`: what destructors do is the task's doing.
        let _inside = end.0.map(|told| told.traced.inside());
        // SAFETY: this is the only drop of `future`, which nobody touches after it. It is dropped in
        // place, as a pinned value has to be.
        unsafe { ManuallyDrop::drop(&mut self.future) };
    }
}

impl<F> fmt::Debug for AsTask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.told.as_ref().map(|told| &*told.name);
        f.debug_struct("AsTask")
            .field("told", &name)
            .finish_non_exhaustive()
    }
}
