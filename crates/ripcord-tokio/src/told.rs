//! [`ToldTask`]: the account of a future that is no task of the runtime, and is told of as one.
//!
//! A handler of a request is polled within the task of its connection, and what `block_on` polls within
//! none. Whoever polls such a future keeps a `ToldTask` beside it, and lets each poll and the future's end
//! go through it: then it is in a recording like a spawned task, with what it waits for and who wakes it.
//!
//! # Invariants
//! 1. Without an observer there is no record: a poll is the future's own poll behind one branch.
//! 2. The part in its wakers is taken apart before the future is dropped, and the end is told after that,
//!    as with a spawned task.
//!
//! # What is told when
//! | What happens | is told as |
//! |---|---|
//! | the account is made | the spawn, under the context that it was given |
//! | it is polled because a waker of its own was called | that wake, when it was called, and the poll |
//! | it is polled because its poller is | a wake by the poller, now, and the poll |
//! | it is asked for its await stack | a wake, a poll, and the stack |
//! | the future is dropped | what its destructors do, and the end |
//!
//! # Costs
//! With an observer those of a told task, see `trace.rs`, and an entry in a register, by which it is asked
//! where it waits. No second task, no context.

use crate::census;
use crate::stack::poll_recording;
use crate::trace::{Held, Traced, Wakeable, Who};
use ripcord_core::Ctx;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Tells the task observer of a tree of a future as of a task, whoever polls it.
///
/// For those who poll futures of others: a server that polls a handler within the task of its connection,
/// a runtime's `block_on`. Who has a future of his own wraps it with [`as_task`](crate::as_task).
///
/// Nothing but what is told changes: the context is not made the [current](Ctx::current) one.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_tokio::ToldTask;
/// use std::future::Future;
/// use std::pin::Pin;
/// use std::task::{Context, Poll};
///
/// /// A handler, as a server polls it.
/// struct Handled<F> { handler: Pin<Box<F>>, told: ToldTask }
///
/// impl<F: Future> Future for Handled<F> {
///     type Output = F::Output;
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
///         let this = &mut *self;
///         let handler = this.handler.as_mut();
///         this.told.poll(cx, |cx| handler.poll(cx))
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let told = ToldTask::new(&Ctx::background(), "handler", 0);
/// assert_eq!(Handled { handler: Box::pin(async { 7 }), told }.await, 7);
/// # });
/// ```
///
/// # Limitations
/// It is in no list of [`live_tasks`](crate::live_tasks) and has no handle. Its end is told without a cause.
///
/// # Costs
/// In a tree without an observer, a word and a branch for each poll.
#[must_use = "the task has ended when it is dropped"]
pub struct ToldTask(Option<Box<Record>>);

/// What is kept of it for the observer.
struct Record {
    traced: Traced,
    /// None as well where the observer wants to hear no more of the task.
    wakeable: Option<Held>,
    name: Cow<'static, str>,
    site: &'static Location<'static>,
    polls: u64,
    /// Still set when it ends: a poll has panicked.
    is_in_poll: bool,
    /// The waker of the last poll, to notice a change without a lock.
    waker: Option<Waker>,
    asked: Arc<AskPoint>,
}

/// Where it is asked for its await stack.
#[derive(Default)]
pub(crate) struct AskPoint {
    is_wanted: AtomicBool,
    /// Gone with the task.
    waker: Mutex<Option<Waker>>,
}

impl AskPoint {
    /// Held for a copy or a change of the waker; nothing foreign runs under it.
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks: the next poll is recorded, and there is one.
    pub(crate) fn ask(&self) {
        // Relaxed: a poll that has not kept its waker yet does so under the lock before it looks; any other
        // is set off by the wake below.
        self.is_wanted.store(true, Ordering::Relaxed);
        let waker = self.waker().clone();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl ToldTask {
    /// Tells of the spawn of a task under `ctx`, whose future has `bytes` bytes.
    ///
    /// Nothing is told of it where the context is in no recording: nobody observes, the request was not
    /// chosen, or contexts are only counted.
    ///
    /// The name is that of the kind of the work, as with [`CtxExt::spawn`](crate::CtxExt::spawn).
    #[track_caller]
    pub fn new(ctx: &Ctx, name: impl Into<Cow<'static, str>>, bytes: usize) -> Self {
        let site = Location::caller();
        // Where contexts are only counted, a recorder wants numbers that cost next to nothing.
        if ctx.recorded().is_none() {
            return Self(None);
        }
        Self(Record::new(ctx, name.into(), site, bytes))
    }

    /// A poll of the future, which is told of and has wakers that are.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.0 {
            None => poll(cx),
            Some(record) => record.poll(cx, poll),
        }
    }

    /// The future is dropped in `drop_it`, which runs as the task; then the end is told.
    ///
    /// A second call just runs what it is given. Dropping the account ends the task, too: but then its wakers
    /// and destructors have been told of as those of nobody, if the future went before.
    pub fn end<R>(&mut self, drop_it: impl FnOnce() -> R) -> R {
        /// Told also where a destructor panics.
        struct End(Box<Record>);
        impl Drop for End {
            fn drop(&mut self) {
                let record = &self.0;
                census::leave_told(record.traced.id());
                let (is_in_poll, polls) = (record.is_in_poll, record.polls);
                record.traced.ended(record.who(), is_in_poll, polls, None);
            }
        }
        let Some(mut record) = self.0.take() else {
            return drop_it();
        };
        // By invariant 2, before the future: with that its wakers go, and nobody waits for them any more.
        drop(record.wakeable.take());
        let kept = record.asked.waker().take();
        drop(kept);
        let end = End(record);
        // Dropped before `end`: what destructors do is the task's doing.
        let _inside = end.0.traced.inside();
        drop_it()
    }
}

impl Drop for ToldTask {
    fn drop(&mut self) {
        self.end(|| ());
    }
}

impl Record {
    /// Tells of the spawn; `None` where nobody is told of tasks.
    ///
    /// An observer that wants to hear no more of the task gets neither wakers nor an entry in the register.
    fn new(
        ctx: &Ctx,
        name: Cow<'static, str>,
        site: &'static Location<'static>,
        bytes: usize,
    ) -> Option<Box<Self>> {
        let id = census::next_id();
        let mut record = Box::new(Self {
            traced: Traced::new(id, ctx)?,
            wakeable: None,
            name,
            site,
            polls: 0,
            is_in_poll: false,
            waker: None,
            asked: Arc::default(),
        });
        record.traced.spawned(record.who(), bytes);
        record.wakeable = record.traced.wakeable();
        if record.wakeable.is_some() {
            census::enter_told(id, &record.asked);
        }
        Some(record)
    }

    fn who(&self) -> Who<'_> {
        Who {
            name: &self.name,
            site: self.site,
            is_blocking: false,
        }
    }

    /// One poll, told, if the observer wants to hear of it.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(held) = &self.wakeable else {
            return poll(cx);
        };
        let wakeable = held.wakeable();
        // Before the poll: whoever gets a waker of ours may call it at once.
        wakeable.keep(cx.waker());
        if !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
            // Told of, and passed on to the one that was just kept; it is no holder.
            let old = self
                .asked
                .waker()
                .replace(Waker::from(Arc::clone(wakeable)));
            drop(old);
        }
        wakeable.ask_for_poll();
        self.polls = self.polls.wrapping_add(1);
        self.is_in_poll = true;
        let (traced, asked) = (&self.traced, &self.asked);
        let poll = Wakeable::poll(wakeable, |cx| {
            // Relaxed both: see `AskPoint::ask`; a question that comes in between is answered by this poll.
            if !asked.is_wanted.load(Ordering::Relaxed) {
                return poll(cx);
            }
            asked.is_wanted.store(false, Ordering::Relaxed);
            let (poll, stack) = poll_recording(poll, cx);
            traced.stack_taken(&stack);
            poll
        });
        self.is_in_poll = false;
        if poll.is_ready() {
            self.traced.note_ready();
        }
        poll
    }
}

impl fmt::Debug for ToldTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|record| &*record.name);
        f.debug_tuple("ToldTask").field(&name).finish()
    }
}
