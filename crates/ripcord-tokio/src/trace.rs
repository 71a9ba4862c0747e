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
//! 3. A wake is marked, told if it is the first since the poll began, and then passed on. So the
//!    observer hears of it before the poll that it causes, and each poll but the first has one.
//! 4. All holders of a task's [`Wakers`] together have one count of the [`Wakeable`].
//!
//! # Costs
//! Two allocations a task. A poll lends its waker, so it touches no count, and the pointer in it is
//! the same for life, so `will_wake` of the leaves is true. A poll and its wake are three calls of
//! the observer and three read-modify-writes of the word in `wakers.rs`; a waker that is cloned and
//! dropped is two. No lock, no clock.
//!
//! # Limitations
//! The runtime that was woken knows its own waker only: what tokio does by itself, as an abort or
//! a shutdown, is no wake here. Code outside of every told task counts as the runtime's, and on
//! a thread where a told task has just ended its first wake may be taken for that end's. A thread that
//! is stopped by the system between the mark of a wake and the runtime's call delays wakes that come
//! meanwhile, as one that is stopped within the runtime's own call does.

#![allow(unsafe_code, reason = "a waker that tells needs its own vtable")]

use crate::stack::AwaitStack;
use crate::sync::Mutex;
use crate::task::TaskCore;
use crate::wakers::Wakers;
use ripcord_core::tasks::{
    ContextRef, Ended, Inside, PollEnd, Spawned, TaskEnd, TaskRef, Tasks, WokenBy, current_task,
    woken_here,
};
use ripcord_core::{Cause, Ctx};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
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

/// Who a task is, apart from its number and its context.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) name: &'a str,
    pub(crate) site: &'static Location<'static>,
    pub(crate) is_blocking: bool,
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

    /// The number of the task.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Told last before the task is queued: what panics before that is no task.
    pub(crate) fn spawned(&self, who: Who<'_>, size: usize) {
        let parent = current_task();
        let task = self.tasks.spawned(&self.said(who, parent, size));
        // Once for each task: the cell is empty.
        let _ = self.told.set(Told { task, parent, size });
    }

    /// What is said of the task at its spawn, and again at its end.
    fn said<'a>(&self, who: Who<'a>, parent: Option<TaskRef>, size: usize) -> Spawned<'a> {
        Spawned {
            task: self.id,
            parent,
            context: self.context,
            name: who.name,
            site: who.site,
            size,
            is_blocking: who.is_blocking,
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
    pub(crate) fn wakeable(&self) -> Option<Held> {
        let task = self.task();
        let wakeable = || Wakeable {
            tasks: self.tasks.clone(),
            task,
            context: self.context_id(),
            first: OnceLock::new(),
            is_changed: AtomicBool::new(false),
            latest: Mutex::default(),
            wakers: Wakers::new(),
        };
        task.is_told().then(|| Held::new(wakeable()))
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

    /// The poll that is under way has found out where the task waits.
    pub(crate) fn stack_taken(&self, stack: &AwaitStack) {
        if let Some(stack) = stack.text() {
            self.tasks.stack_taken(self.task(), &stack);
        }
    }

    /// The future has been dropped. A poll that never came back has panicked.
    pub(crate) fn ended(&self, who: Who<'_>, is_in_poll: bool, polls: u64, cause: Option<&Cause>) {
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
            spawned: self.said(who, told.parent, told.size),
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
            traced.spawned(self.who(), size);
        }
    }

    /// What an observer is told of who this is.
    pub(crate) fn who(&self) -> Who<'_> {
        Who {
            name: &self.name,
            site: self.site,
            is_blocking: self.is_blocking,
        }
    }
}

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
    wakers: Wakers,
}

/// The task's own part in the wakers of it, until its future is about to be dropped.
pub(crate) struct Held(Arc<Wakeable>);

impl Held {
    fn new(wakeable: Wakeable) -> Self {
        let wakeable = Arc::new(wakeable);
        // The count of all holders together, which the last one takes back.
        let _: *const Wakeable = Arc::into_raw(Arc::clone(&wakeable));
        Self(wakeable)
    }

    /// What the wakers point to, for whoever wakes the task without one.
    pub(crate) const fn wakeable(&self) -> &Arc<Wakeable> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.wakers.close();
        // SAFETY: the task is a holder from `new` on, and this is where it ceases to be one.
        unsafe { give_up(Arc::as_ptr(&self.0)) };
    }
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
        note_completed(None);
        let turn = this.tasks.poll_started(this.task, this.context, worker());
        // After the observer was told: whoever finds the bit taken back tells of a wake for the next poll.
        this.wakers.start();
        let had_budget = has_budget_remaining();
        let result = poll(&mut Context::from_waker(&waker));
        let end = match &result {
            Poll::Ready(_) => PollEnd::Ready,
            Poll::Pending if had_budget && !has_budget_remaining() => PollEnd::Preempted,
            Poll::Pending if this.wakers.is_woken_by_itself() => PollEnd::Yielded,
            Poll::Pending if this.wakers.is_alone() => PollEnd::Lost,
            Poll::Pending => PollEnd::Pending,
        };
        turn.end(end, None);
        // After the end was told, so that a loss from here on is told behind it.
        if result.is_pending() && this.wakers.rest() && end != PollEnd::Lost {
            this.tasks.lost(this.task);
        }
        result
    }

    /// It is about to be polled by somebody who polls what he has whenever he is polled himself.
    ///
    /// A poll that nobody has asked for is told as one that the poller asks for now: in a recording each
    /// poll but the first has a wake, which puts the threads in order.
    pub(crate) fn ask_for_poll(&self) {
        if self.wakers.wake(false) {
            self.tasks.woken(self.task, woken_by(self.task));
        }
    }

    /// Invariant 3 is the order of these three.
    fn call(&self) {
        let by = woken_by(self.task);
        if self.wakers.wake(by == WokenBy::Itself) {
            self.tasks.woken(self.task, by);
            self.pass_on();
        }
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

/// For whoever asks where the task waits: a waker that is told of, and no holder. It is no reason to go on
/// waiting, so a task that has no other is lost.
impl Wake for Wakeable {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_told, wake, wake_by_ref, drop_waker);

/// # Safety
/// `data` is that of a live waker of `VTABLE`.
unsafe fn clone_told(data: *const ()) -> RawWaker {
    // SAFETY: the caller holds a waker of `VTABLE`: what `data` points to is alive, by that holder
    // or by the task during its poll.
    unsafe { &*data.cast::<Wakeable>() }.wakers.add();
    RawWaker::new(data, &VTABLE)
}

/// # Safety
/// `data` is that of a waker of `VTABLE` that is a holder, and is given up here.
unsafe fn wake(data: *const ()) {
    // SAFETY: a holder keeps it alive, and is given up only below.
    unsafe { wake_by_ref(data) };
    // SAFETY: `wake` consumes the waker: the one that is lent to a poll is never consumed.
    unsafe { give_up(data.cast()) };
}

/// # Safety
/// As for `clone_told`.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone_told`; the reference ends before the waker does.
    let wakeable = unsafe { &*data.cast::<Wakeable>() };
    wakeable.call();
}

/// # Safety
/// As for `wake`.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: as in `wake`.
    unsafe { give_up(data.cast()) };
}

/// A holder goes, and tells if that has left the task lost.
///
/// # Safety
/// `data` is kept alive by a holder that is not used after this.
unsafe fn give_up(data: *const Wakeable) {
    // SAFETY: alive by the caller's holder, until `give_up` has taken it away.
    let wakeable = unsafe { &*data };
    let mut seen = wakeable.wakers.look();
    loop {
        // Before the holder goes: then the task may end on its own thread, and free all of it.
        let loss = seen
            .is_loss()
            .then(|| (wakeable.tasks.clone(), wakeable.task));
        match wakeable.wakers.give_up(seen) {
            Ok(false) => {
                if let Some((tasks, task)) = loss {
                    tasks.lost(task);
                }
                return;
            }
            Ok(true) => break,
            Err(now) => seen = now,
        }
    }
    // SAFETY: by invariant 4 this is the count that `Held::new` has left to all holders, and the
    // last of them is gone.
    unsafe { Arc::decrement_strong_count(data) };
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
        let held = traced.wakeable().expect("the observer wants to be told");
        let wakeable = held.wakeable();
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
            let poll = Wakeable::poll(wakeable, |cx| {
                let same = kept.get_or_insert_with(|| cx.waker().clone());
                assert!(same.will_wake(cx.waker()), "one pointer for life");
                Poll::<()>::Pending
            });
            assert!(poll.is_pending());
            kept.as_ref().expect("it was kept").wake_by_ref();
            assert_eq!([counts[0].take(), counts[1].take()], expect);
        }
        assert!(!wakeable.wakers.is_alone());
        drop(kept);
        wakeable.wakers.start();
        assert!(wakeable.wakers.is_alone(), "a borrowed waker is no holder");
        let wakeable = Arc::downgrade(wakeable);
        drop(held);
        assert_eq!(wakeable.strong_count(), 0);
    }

    /// Invariant 3: what each of the two sees of the other, and of the mark.
    #[derive(Default)]
    struct Order {
        seen: std::sync::Mutex<Vec<&'static str>>,
        wakeable: OnceLock<std::sync::Weak<Wakeable>>,
    }

    impl Order {
        fn note(&self, what: &'static str) {
            let wakeable = self.wakeable.get().and_then(std::sync::Weak::upgrade);
            let wakeable = wakeable.expect("it is set before the wake");
            assert!(!wakeable.wakers.wake(false), "marked before it is {what}");
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
    fn a_wake_is_marked_then_told_then_passed_on() {
        let order = Arc::new(Order::default());
        let observer: Arc<dyn Observer> = Arc::<Order>::clone(&order);
        let (root, _guard) = Ctx::root().observer(observer).build();
        let traced = Traced::new(7, &root).expect("the tree has an observer");
        let held = traced.wakeable().expect("the observer wants to be told");
        let wakeable = held.wakeable();
        wakeable.keep(&Waker::from(Arc::clone(&order)));
        let weak = Arc::downgrade(wakeable);
        assert!(order.wakeable.set(weak).is_ok());
        wakeable.call();
        let seen = || order.seen.lock().expect("no test poisons it").clone();
        assert!(seen().is_empty(), "its first poll is on its way");
        wakeable.wakers.start();
        wakeable.call();
        wakeable.call();
        assert_eq!(seen(), ["told", "passed on"]);
    }
}
