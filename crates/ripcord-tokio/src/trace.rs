//! What a tree's task observer is told of a task: the waker that tells, and the account.
//!
//! A leaf future is given a waker of ours instead of the runtime's, so a wake is seen where it is
//! made, on the thread that makes it. What that thread is doing says who woke.
//!
//! # Invariants
//! 1. Without an observer none of this exists: the task has neither [`Traced`] nor [`Wakeable`],
//!    and its leaves get the runtime's waker.
//! 2. The runtime's waker is kept before the future is first polled, and so before anybody has a
//!    waker of ours.
//! 3. One count of a [`Wakeable`] is the task's, each other one is a waker's: a pending task with
//!    one count can be woken by nobody.
//! 4. A wake is told, then passed on, then marked. So the observer hears of it before the poll
//!    that it causes, and whoever gave up the last waker has marked his wake before.
//!
//! # Costs
//! Two allocations a task. A poll borrows the count of the task for its waker, so it touches no
//! reference count, and the pointer in it is the same for life, so `will_wake` of the leaves is
//! true. A poll and its wake are three calls of the observer; no lock, no clock.
//!
//! # Limitations
//! The runtime that was woken knows its own waker only: what tokio does by itself, as an abort or
//! a shutdown, is no wake here. Code outside of every told task counts as the runtime's, and on
//! a thread where a told task has just ended its first wake may be taken for that end's. A wake
//! that is still under way when the poll that it caused ends holds a waker, and marks that poll: such
//! a poll is neither `Lost` nor `Yielded`, whatever it was. To notice that where the wake ends would
//! take a count of wakers of our own, which says who gave up the last one while no poll is under
//! way, and a mark for each poll: more for every wake than what is so rarely missed is worth.

#![allow(unsafe_code, reason = "a waker that tells needs its own vtable")]

use crate::stack::AwaitStack;
use crate::sync::Mutex;
use crate::task::TaskCore;
use ripcord_core::tasks::{
    ContextRef, Ended, Inside, PollEnd, Spawned, TaskEnd, TaskRef, Tasks, WokenBy, current_task,
    woken_here,
};
use ripcord_core::{Cause, Ctx};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use tokio::runtime::worker_index;
use tokio::task::coop::has_budget_remaining;

/// What tells who wakes, as far as the current task does not.
struct Thread {
    /// The task that has just ended here: whoever joined it is woken next.
    completed: Cell<Option<TaskRef>>,
    /// Between the hooks around the driver.
    is_parked: Cell<bool>,
    /// A runtime started this thread.
    is_pooled: Cell<bool>,
    was_worker: Cell<bool>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            completed: Cell::new(None),
            is_parked: Cell::new(false),
            is_pooled: Cell::new(false),
            was_worker: Cell::new(false),
        }
    };
}

/// The number of the worker that this is; `None` elsewhere.
pub(crate) fn worker() -> Option<u32> {
    worker_index().and_then(|index| u32::try_from(index).ok())
}

/// A thread of a runtime begins or ends; says whether it was a worker.
pub(crate) fn note_pooled(is_pooled: bool) -> bool {
    THREAD.with(|thread| {
        thread.is_pooled.set(is_pooled);
        thread.was_worker.replace(false)
    })
}

/// A worker hands over to the driver, or goes on.
pub(crate) fn note_parked(is_parked: bool) {
    THREAD.with(|thread| {
        thread.is_parked.set(is_parked);
        thread.was_worker.set(true);
        thread.completed.set(None);
    });
}

/// Sets, or with none forgets, the task whose end is the next reason for a wake here.
///
/// The runtime wakes who joined a task after it has dropped the task's future, outside of every poll:
/// without this the wake would be the runtime's own.
fn note_completed(task: Option<TaskRef>) {
    THREAD.with(|thread| thread.completed.set(task));
}

/// Who is about to wake `task` on this thread.
pub(crate) fn woken_by(task: TaskRef) -> WokenBy {
    if let Some(by) = woken_here(task) {
        return by;
    }
    THREAD.with(|thread| {
        // A task that is not told of has a number of tokio's while it is polled. Nobody joins
        // himself.
        let completed = thread.completed.take();
        let completed = completed.filter(|completed| completed.id != task.id);
        if let Some(completed) = completed.filter(|_| tokio::task::try_id().is_none()) {
            return WokenBy::Completion(completed);
        }
        match worker() {
            Some(worker) if thread.is_parked.get() => WokenBy::Driver(worker),
            Some(worker) => WokenBy::Runtime(worker),
            None if thread.is_pooled.get() => WokenBy::Blocking,
            None => WokenBy::Foreign,
        }
    })
}

/// What is known of how a task came to its end, before its future is dropped: nothing yet.
const UNSETTLED: u8 = 0;
/// Its future was ready.
const READY: u8 = 1;
/// It panicked, and its scope caught that.
const PANICKED: u8 = 2;

/// The part of a task's record that is there for the observer.
pub(crate) struct Traced {
    tasks: Tasks,
    /// As in the register of live tasks.
    id: u64,
    /// The task's own context, if somebody records it.
    context: Option<ContextRef>,
    /// Empty until the spawn was told: a task that was never spawned has no end either.
    told: OnceLock<Told>,
    /// Somebody has asked the runtime to drop it; what the drop then is, only this tells.
    is_aborted: AtomicBool,
    /// [`UNSETTLED`], [`READY`] or [`PANICKED`].
    outcome: AtomicU8,
}

/// What came of telling of the spawn.
struct Told {
    task: TaskRef,
    parent: Option<TaskRef>,
    size: usize,
}

impl Traced {
    /// `None` where nobody wants to be told.
    pub(crate) fn new(id: u64, ctx: &Ctx) -> Option<Self> {
        Some(Self {
            tasks: ctx.tasks()?,
            id,
            context: ctx.recorded(),
            told: OnceLock::new(),
            is_aborted: AtomicBool::new(false),
            outcome: AtomicU8::new(UNSETTLED),
        })
    }

    /// Told last before the task is queued: what panics before that is no task.
    fn spawned(&self, core: &TaskCore, size: usize) {
        let parent = current_task();
        let task = self.tasks.spawned(&self.said(core, parent, size));
        // Once for each task: the cell is empty.
        let _ = self.told.set(Told { task, parent, size });
    }

    /// What is said of the task at its spawn, and again at its end.
    fn said<'a>(&self, core: &'a TaskCore, parent: Option<TaskRef>, size: usize) -> Spawned<'a> {
        Spawned {
            task: self.id,
            parent,
            context: self.context,
            name: &core.name,
            site: core.site,
            size,
            is_blocking: core.is_blocking,
        }
    }

    /// The task by the name that the observer has given it, if it was told of it.
    fn task(&self) -> TaskRef {
        let unnamed = TaskRef {
            id: self.id,
            key: 0,
        };
        self.told.get().map_or(unnamed, |told| told.task)
    }

    /// The number of the task's own context, as the thread notes it while the task runs.
    fn context_id(&self) -> Option<u64> {
        self.context.map(|context| context.id)
    }

    /// To be asked for after the spawn was told; `None` if the observer wants to hear no more of it.
    pub(crate) fn wakeable(&self) -> Option<Arc<Wakeable>> {
        let task = self.task();
        let wakeable = || Wakeable {
            tasks: self.tasks.clone(),
            task,
            context: self.context_id(),
            first: OnceLock::new(),
            is_changed: AtomicBool::new(false),
            latest: Mutex::default(),
            woken: AtomicU8::new(NOT_WOKEN),
        };
        task.is_told().then(|| Arc::new(wakeable()))
    }

    /// Somebody is about to abort the task.
    pub(crate) fn note_abort(&self) {
        // Relaxed: the runtime carries the abort to the drop that reads this.
        self.is_aborted.store(true, Ordering::Relaxed);
    }

    /// The task's own code panicked, and its scope caught that.
    pub(crate) fn note_panic(&self) {
        // Relaxed: read by the same task, in `ended`.
        self.outcome.store(PANICKED, Ordering::Relaxed);
    }

    /// The task came to its end. A panic that was caught on the way stands.
    pub(crate) fn note_ready(&self) {
        // Relaxed: written and read by the same task.
        if self.outcome.load(Ordering::Relaxed) == UNSETTLED {
            // Relaxed: as above.
            self.outcome.store(READY, Ordering::Relaxed);
        }
    }

    /// Makes this the current task: for destructors, which run outside of its polls.
    pub(crate) fn inside(&self) -> Inside {
        Inside::new(self.task(), self.context_id())
    }

    /// A job begins to run.
    pub(crate) fn blocking_started(&self) -> Inside {
        note_completed(None);
        self.tasks.blocking_started(self.task(), self.context_id())
    }

    /// Somebody outside of the task's leaves wakes it.
    pub(crate) fn woken(&self) {
        let task = self.task();
        self.tasks.woken(task, woken_by(task));
    }

    /// The poll that is under way has found out where the task waits.
    pub(crate) fn stack_taken(&self, stack: &AwaitStack) {
        if let Some(stack) = stack.text() {
            self.tasks.stack_taken(self.task(), &stack);
        }
    }

    /// The future has been dropped. A poll that never came back has panicked.
    pub(crate) fn ended(
        &self,
        core: &TaskCore,
        is_in_poll: bool,
        polls: u64,
        cause: Option<&Cause>,
    ) {
        let Some(told) = self.told.get() else { return };
        // Relaxed: written by the same task, in `note_panic` and `note_ready`.
        let end = match self.outcome.load(Ordering::Relaxed) {
            READY => TaskEnd::Ready,
            PANICKED => TaskEnd::Panicked,
            _ if is_in_poll => TaskEnd::Panicked,
            // Relaxed: see `note_abort`.
            _ if self.is_aborted.load(Ordering::Relaxed) => TaskEnd::Aborted,
            _ => TaskEnd::Dropped,
        };
        let ended = Ended {
            spawned: self.said(core, told.parent, told.size),
            end,
            polls,
            cause,
        };
        self.tasks.ended(told.task, &ended);
    }

    /// What is woken next on this thread is woken by the end of this task.
    pub(crate) fn completed(&self) {
        note_completed(Some(self.task()));
    }
}

/// What others than the task itself have to tell.
impl TaskCore {
    /// For whoever is about to abort the task, so that it is known whose doing its end was.
    pub(crate) fn note_abort(&self) {
        if let Some(traced) = &self.traced {
            traced.note_abort();
        }
    }

    /// For a scope that catches a panic of the task: to the runtime it will have returned.
    pub(crate) fn note_panic(&self) {
        if let Some(traced) = &self.traced {
            traced.note_panic();
        }
    }

    /// `size` is that of the future, in bytes, with what a scope puts around it.
    pub(crate) fn tell_spawned(&self, size: usize) {
        if let Some(traced) = &self.traced {
            traced.spawned(self, size);
        }
    }
}

/// Whether a task was woken since its poll began: by nobody.
const NOT_WOKEN: u8 = 0;
/// By somebody else, or by itself and then by somebody else.
const WOKEN: u8 = 1;
/// By code of its own, in that very poll: it asks to be polled again.
const WOKEN_BY_ITSELF: u8 = 2;

/// What the wakers of one task point to.
pub(crate) struct Wakeable {
    tasks: Tasks,
    task: TaskRef,
    context: Option<u64>,
    /// The runtime's waker: a task on tokio has one for life.
    first: OnceLock<Waker>,
    /// Whether there was another one after all, and `latest` is to be asked.
    is_changed: AtomicBool,
    latest: Mutex<Option<Arc<Waker>>>,
    /// Whether it was woken since its poll began.
    woken: AtomicU8,
}

impl Wakeable {
    /// Keeps the waker that wakes are passed on to.
    pub(crate) fn keep(&self, waker: &Waker) {
        let first = self.first.get_or_init(|| waker.clone());
        // Relaxed: only the poller writes it, and this is the poller.
        if first.will_wake(waker) && !self.is_changed.load(Ordering::Relaxed) {
            return;
        }
        let waker = Arc::new(waker.clone());
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = latest.replace(waker);
        // Release: publishes that there is one; pairs with the Acquire in `pass_on`.
        self.is_changed.store(true, Ordering::Release);
        drop(latest);
        drop(old);
    }

    /// One poll, told, with a waker of ours.
    pub(crate) fn poll<T>(
        this: &Arc<Self>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let data = Arc::as_ptr(this).cast();
        // SAFETY: `data` is an `Arc<Wakeable>`, which the functions of `VTABLE` treat it as, and
        // `Wakeable` is `Send` and `Sync`. The waker owns no count: it is never dropped, and
        // `this` outlives it.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) });
        // Relaxed: what is marked from here on counts for this poll; see `is_lost`.
        this.woken.store(NOT_WOKEN, Ordering::Relaxed);
        note_completed(None);
        let turn = this.tasks.poll_started(this.task, this.context, worker());
        let had_budget = has_budget_remaining();
        let result = poll(&mut Context::from_waker(&waker));
        let end = match &result {
            Poll::Ready(_) => PollEnd::Ready,
            Poll::Pending if had_budget && !has_budget_remaining() => PollEnd::Preempted,
            // Relaxed: a task's own wake is by the same thread.
            Poll::Pending if this.woken.load(Ordering::Relaxed) == WOKEN_BY_ITSELF => {
                PollEnd::Yielded
            }
            Poll::Pending if Self::is_lost(this) => PollEnd::Lost,
            Poll::Pending => PollEnd::Pending,
        };
        turn.end(end, None);
        result
    }

    /// Whether a pending task can be woken by nobody, and has not been in this poll.
    fn is_lost(this: &Arc<Self>) -> bool {
        if Arc::strong_count(this) != 1 {
            return false;
        }
        // Acquire: pairs with the Release with which an `Arc` gives up a count. By invariant 4
        // the mark of whoever gave up the last one is visible below.
        fence(Ordering::Acquire);
        // Relaxed: ordered by the fence.
        this.woken.load(Ordering::Relaxed) == NOT_WOKEN
    }

    /// Invariant 4 is the order of these three.
    fn wake(&self) {
        let by = woken_by(self.task);
        self.tasks.woken(self.task, by);
        self.pass_on();
        let mark = if by == WokenBy::Itself {
            WOKEN_BY_ITSELF
        } else {
            WOKEN
        };
        // Relaxed: carried by the count of the waker that is given up after it; see `is_lost`.
        self.woken.store(mark, Ordering::Relaxed);
    }

    /// Wakes the runtime's own waker: the one for life, or whichever came last.
    fn pass_on(&self) {
        // Acquire: pairs with the Release in `keep`.
        if self.is_changed.load(Ordering::Acquire) {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            let waker = latest.clone();
            drop(latest);
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        } else if let Some(waker) = self.first.get() {
            waker.wake_by_ref();
        }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_told, wake, wake_by_ref, drop_waker);

/// # Safety
/// `data` is that of a live waker of `VTABLE`.
unsafe fn clone_told(data: *const ()) -> RawWaker {
    // SAFETY: the caller holds a waker of `VTABLE`: `data` is from an `Arc<Wakeable>` that is
    // alive, by a count of the waker's own or by the task's during its poll.
    unsafe { Arc::increment_strong_count(data.cast::<Wakeable>()) };
    RawWaker::new(data, &VTABLE)
}

/// # Safety
/// `data` is that of a waker of `VTABLE` that owns a count, and is given up here.
unsafe fn wake(data: *const ()) {
    // SAFETY: `wake` consumes the waker, and with it the count that it owns: the one that is
    // lent to a poll is never consumed.
    let wakeable = unsafe { Arc::from_raw(data.cast::<Wakeable>()) };
    wakeable.wake();
}

/// # Safety
/// As for `clone_told`.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone_told`; the reference ends before the waker does.
    let wakeable = unsafe { &*data.cast::<Wakeable>() };
    wakeable.wake();
}

/// # Safety
/// As for `wake`.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: as in `wake`.
    drop(unsafe { Arc::from_raw(data.cast::<Wakeable>()) });
}

#[cfg(all(test, not(ripcord_shuttle)))]
mod tests {
    use super::*;
    use ripcord_core::Observer;
    use ripcord_core::tasks::TaskObserver;
    use std::sync::atomic::AtomicU64;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Count {
        fn take(&self) -> u64 {
            // Relaxed: one thread (counter).
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // Relaxed: one thread (counter).
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl TaskObserver for Count {}

    impl Observer for Count {
        fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
            Some(self)
        }
    }

    /// On tokio a task keeps its waker; whoever else polls it may bring another each time.
    #[test]
    fn a_wake_goes_to_the_waker_that_was_kept_last() {
        let (root, _guard) = Ctx::root().observer(Arc::new(Count::default())).build();
        let traced = Traced::new(7, &root).expect("the tree has an observer");
        let wakeable = traced.wakeable().expect("the observer wants to be told");
        let counts: [Arc<Count>; 2] = Default::default();
        let [first, second] = [0, 1].map(|at: usize| Waker::from(Arc::clone(&counts[at])));
        let mut kept = None;
        for (waker, expect) in [
            (&first, [1, 0]),
            (&first, [1, 0]),
            (&second, [0, 1]),
            (&first, [1, 0]),
        ] {
            wakeable.keep(waker);
            let poll = Wakeable::poll(&wakeable, |cx| {
                let same = kept.get_or_insert_with(|| cx.waker().clone());
                assert!(same.will_wake(cx.waker()), "one pointer for life");
                Poll::<()>::Pending
            });
            assert!(poll.is_pending());
            kept.as_ref().expect("it was kept").wake_by_ref();
            assert_eq!([counts[0].take(), counts[1].take()], expect);
        }
        drop(kept);
        assert_eq!(
            Arc::strong_count(&wakeable),
            1,
            "a borrowed waker has no count"
        );
    }

    /// Invariant 4: what each of the two sees of the other, and of the mark.
    #[derive(Default)]
    struct Order {
        seen: std::sync::Mutex<Vec<&'static str>>,
        wakeable: OnceLock<std::sync::Weak<Wakeable>>,
    }

    impl Order {
        fn note(&self, what: &'static str) {
            let wakeable = self.wakeable.get().and_then(std::sync::Weak::upgrade);
            let wakeable = wakeable.expect("it is set before the wake");
            // Relaxed: one thread.
            assert_eq!(wakeable.woken.load(Ordering::Relaxed), NOT_WOKEN, "{what}");
            self.seen.lock().expect("no test poisons it").push(what);
        }
    }

    impl TaskObserver for Order {
        fn woken(&self, _: TaskRef, _: WokenBy) {
            self.note("told");
        }
    }

    impl Observer for Order {
        fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
            Some(self)
        }
    }

    impl Wake for Order {
        fn wake(self: Arc<Self>) {
            self.note("passed on");
        }
    }

    //= C139
    #[test]
    fn a_wake_is_told_then_passed_on_then_marked() {
        let order = Arc::new(Order::default());
        let observer: Arc<dyn Observer> = Arc::<Order>::clone(&order);
        let (root, _guard) = Ctx::root().observer(observer).build();
        let traced = Traced::new(7, &root).expect("the tree has an observer");
        let wakeable = traced.wakeable().expect("the observer wants to be told");
        wakeable.keep(&Waker::from(Arc::clone(&order)));
        let weak = Arc::downgrade(&wakeable);
        assert!(order.wakeable.set(weak).is_ok());
        wakeable.wake();
        let seen = order.seen.lock().expect("no test poisons it");
        assert_eq!(*seen, ["told", "passed on"]);
        // Relaxed: one thread.
        assert_eq!(wakeable.woken.load(Ordering::Relaxed), WOKEN);
    }
}
