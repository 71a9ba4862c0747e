//! Hooks: a function that runs once when a context is done.
//!
//! # Invariants
//! 1. A cell leaves `Waiting` once: to `Running` (the sweep took it) or to `Over`
//!    (stopped). Whoever makes that step owns the function.
//! 2. The function runs, and is dropped, without a lock held.
//!
//! # Why two stops do not deadlock
//! Stopping is decided in the hook's own cell (invariant 1), and the place in the node's
//! list is given back after that. So two hooks that stop each other while both contexts are
//! being cancelled take no two locks at a time (spec/context.md C58).

use crate::cause::Cause;
use crate::link;
use crate::node::Node;
use crate::panics::{Foreign, contain, drop_foreign};
use crate::slots::{Key, Slots};
use crate::sync::{Arc, Condvar, Mutex, ThreadId, thread_id, wait};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Function = Box<dyn FnOnce(&Cause) + Send>;

/// The life of a hook; see invariant 1.
enum Stage {
    Waiting(Function),
    Running(ThreadId),
    Over { ran: bool },
}

struct Inner {
    stage: Stage,
    /// Tasks in [`Stopped`].
    wakers: Slots<Waker>,
    /// Keeps the node of a detached hook alive until the hook ran.
    keep: Option<Arc<Node>>,
}

/// One hook, shared by its handle, its node's list, and the sweep that has taken it up.
pub(crate) struct HookCell {
    inner: Mutex<Inner>,
    over: Condvar,
}

/// A hook in its node's list; `seq` gives the order of registration.
pub(crate) struct HookEntry {
    pub(crate) seq: u64,
    pub(crate) cell: Arc<HookCell>,
}

impl HookCell {
    fn new(function: Function) -> Arc<Self> {
        let inner = Inner {
            stage: Stage::Waiting(function),
            wakers: Slots::new(),
            keep: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            over: Condvar::new(),
        })
    }

    /// Runs the function, unless it was stopped; at `observed` this is an observation.
    pub(crate) fn run(&self, cause: &Cause, observed: Option<&Node>) {
        let mut inner = self.inner.lock();
        let keep = inner.keep.take();
        if !matches!(inner.stage, Stage::Waiting(_)) {
            return;
        }
        let stage = mem::replace(&mut inner.stage, Stage::Running(thread_id()));
        drop(inner);
        if let Some(node) = observed {
            node.note_observed();
        }
        if let Stage::Waiting(function) = stage {
            contain(Foreign::Hook, move || function(cause));
        }
        self.finish(true);
        drop(keep);
    }

    /// Ends the run and wakes those who wait for that: threads first, then tasks, each contained
    /// for itself and outside the lock.
    fn finish(&self, ran: bool) {
        let mut inner = self.inner.lock();
        inner.stage = Stage::Over { ran };
        let wakers = mem::take(&mut inner.wakers);
        drop(inner);
        self.over.notify_all();
        for waker in wakers.into_values() {
            contain(Foreign::Waker, move || waker.wake());
        }
    }

    /// Takes the function away; whether this call prevented the run.
    fn stop(&self) -> bool {
        let mut inner = self.inner.lock();
        if !matches!(inner.stage, Stage::Waiting(_)) {
            return false;
        }
        let stage = mem::replace(&mut inner.stage, Stage::Over { ran: false });
        drop(inner);
        if let Stage::Waiting(function) = stage {
            drop_foreign(function);
        }
        true
    }
}

impl Drop for HookCell {
    fn drop(&mut self) {
        // A hook on a context that can never be done still has its function.
        let over = Stage::Over { ran: false };
        let stage = mem::replace(&mut self.inner.lock().stage, over);
        if let Stage::Waiting(function) = stage {
            drop_foreign(function);
        }
    }
}

/// A registered hook; dropping it deregisters without waiting.
///
/// Made by [`Ctx::on_done`](crate::Ctx::on_done). It keeps its context's node alive,
/// so the hook also runs when every `Ctx` is dropped and an ancestor is cancelled.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
///
/// let (ctx, guard) = Ctx::background().child();
/// let ran = Arc::new(AtomicBool::new(false));
/// let flag = Arc::clone(&ran);
/// drop(ctx.on_done(move |_| flag.store(true, Ordering::Relaxed)));
/// guard.cancel("nobody listens any more");
/// assert!(!ran.load(Ordering::Relaxed));
/// ```
///
/// # Costs
/// Register and drop: one lock of the node each, O(1). Hooks that come and go on a long-lived
/// context leave no memory behind (spec/context.md C62).
#[must_use = "a hook that is dropped at once never runs; `detach` it to let it be"]
pub struct Hook {
    node: Option<Arc<Node>>,
    key: Option<Key>,
    cell: Arc<HookCell>,
}

impl Hook {
    pub(crate) fn register(node: Option<Arc<Node>>, function: Function) -> Self {
        let cell = HookCell::new(function);
        let key = node.as_ref().and_then(|node| Self::enlist(node, &cell));
        Self { node, key, cell }
    }

    /// Puts the hook on its node's list; runs it if the node is done.
    ///
    /// Looks first, so that a hook on a context that is done registers nothing. A registration
    /// that is refused means that the node became done in between: then the hook runs here.
    fn enlist(node: &Arc<Node>, cell: &Arc<HookCell>) -> Option<Key> {
        if node.observe().is_none()
            && let Some(mut links) = link::open(node)
        {
            let rare = links.rare();
            let seq = rare.hook_seq;
            rare.hook_seq += 1;
            let key = rare.hooks.insert(HookEntry {
                seq,
                cell: Arc::clone(cell),
            });
            drop(links);
            link::wire(node);
            return Some(key);
        }
        if let Some(cause) = node.observe() {
            cell.run(&cause, None);
        }
        None
    }

    /// Prevents the hook from running; whether that succeeded. Never waits.
    ///
    /// `false`: it ran, is running, or was stopped before.
    ///
    /// The closure of a hook that was prevented is dropped before this returns. With `false` it
    /// may still be running on another thread: see [`stop_and_wait`](Self::stop_and_wait).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let hook = ctx.on_done(|_| unreachable!("stopped in time"));
    /// assert!(hook.stop());
    /// assert!(!hook.stop(), "stopped before");
    /// guard.cancel("over");
    /// assert!(!hook.has_run());
    /// ```
    pub fn stop(&self) -> bool {
        let stopped = self.cell.stop();
        self.unlist();
        stopped
    }

    /// Prevents the hook from running, or waits until it has run.
    ///
    /// Returns what [`stop`](Self::stop) would. Called from within the hook itself it
    /// returns at once. Two hooks that wait for each other in this way deadlock:
    /// prefer `stop`.
    ///
    /// For a hook that uses something which the caller is about to free. Blocks the thread: in
    /// async code await [`stopped`](Self::stopped).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let hook = ctx.on_done(|_| ());
    /// guard.cancel("over");
    /// assert!(!hook.stop_and_wait(), "it ran");
    /// assert!(hook.has_run(), "and is not running any more");
    /// ```
    pub fn stop_and_wait(&self) -> bool {
        if self.stop() {
            return true;
        }
        let me = thread_id();
        let mut inner = self.cell.inner.lock();
        while matches!(inner.stage, Stage::Running(thread) if thread != me) {
            inner = wait(&self.cell.over, inner);
        }
        false
    }

    /// Prevents the hook from running, or waits for it without blocking the thread.
    ///
    /// Within the hook itself it is pending, so to block on it there never ends.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    ///
    /// let (ctx, _guard) = Ctx::background().child();
    /// let hook = ctx.on_done(|_| ());
    /// let mut stopped = pin!(hook.stopped());
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert_eq!(stopped.as_mut().poll(&mut cx), Poll::Ready(true));
    /// ```
    ///
    /// # Cancel safety
    /// The hook is stopped at the call, whether or not the future is polled; dropping
    /// the future only ends the waiting.
    pub fn stopped(&self) -> Stopped {
        let stopped = self.stop();
        Stopped {
            cell: Arc::clone(&self.cell),
            key: None,
            prevented: stopped,
        }
    }

    /// Whether the hook ran to its end (or to a panic).
    ///
    /// `false` while it runs. A panic counts as an end: it is contained and
    /// [counted](crate::foreign_panics).
    #[must_use]
    pub fn has_run(&self) -> bool {
        matches!(self.cell.inner.lock().stage, Stage::Over { ran: true })
    }

    /// Leaves the hook registered for good.
    ///
    /// It keeps the node alive until the context is done: on one that never ends,
    /// that is a leak.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let (ctx, guard) = Ctx::background().child();
    /// ctx.on_done(move |cause| drop(tell.send(cause.kind()))).detach();
    /// drop((ctx, guard));
    /// assert!(told.recv().is_ok(), "no handle was left but the registration itself");
    /// ```
    pub fn detach(mut self) {
        if self.key.take().is_some() {
            let mut inner = self.cell.inner.lock();
            if matches!(inner.stage, Stage::Waiting(_)) {
                inner.keep = self.node.take();
            }
            // What was moved is dropped by `run`, outside the lock.
        }
        // Nothing is left for `Drop` to take back.
        self.node = None;
    }

    /// Gives the place in the list back, unless a sweep has taken the whole list: then the flag
    /// of the block saves the lock. A key may have been given to another hook by then, which is
    /// why the cell is compared.
    fn unlist(&self) {
        let Some(key) = self.key else { return };
        let Some(block) = self.node.as_ref().and_then(|node| node.block_if_any()) else {
            return;
        };
        if block.is_emptied() {
            return;
        }
        let mut links = block.links.lock();
        let hooks = &mut links.rare().hooks;
        let is_ours = hooks
            .get_mut(key)
            .is_some_and(|entry| Arc::ptr_eq(&entry.cell, &self.cell));
        let entry = if is_ours { hooks.remove(key) } else { None };
        drop(links);
        drop(entry);
    }
}

impl Drop for Hook {
    /// Deregisters like [`Hook::stop`]; a run that has begun on another thread goes on.
    fn drop(&mut self) {
        if self.key.is_some() || self.node.is_some() {
            self.stop();
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.cell.inner.lock().stage {
            Stage::Waiting(_) => "waiting",
            Stage::Running(_) => "running",
            Stage::Over { ran: true } => "ran",
            Stage::Over { ran: false } => "stopped",
        };
        f.debug_struct("Hook")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// Resolves when a hook is certainly not running any more; to what `stop` returned.
///
/// Made by [`Hook::stopped`]. It owns what it needs: the hook may be dropped meanwhile.
///
/// # Cancel safety
/// The hook stays stopped; only the waiting ends.
#[must_use = "futures do nothing unless polled"]
pub struct Stopped {
    cell: Arc<HookCell>,
    /// The place of the waker, while the hook runs.
    key: Option<Key>,
    prevented: bool,
}

impl Future for Stopped {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        // The clone is foreign code: it comes before the lock, as drops come after it.
        let waker = cx.waker().clone();
        let mut inner = this.cell.inner.lock();
        if !matches!(inner.stage, Stage::Running(_)) {
            drop(inner);
            return Poll::Ready(this.prevented);
        }
        let place = this.key.and_then(|key| inner.wakers.get_mut(key));
        let unused = if let Some(old) = place {
            Some(mem::replace(old, waker))
        } else {
            this.key = Some(inner.wakers.insert(waker));
            None
        };
        drop(inner);
        contain(Foreign::Waker, move || drop(unused));
        Poll::Pending
    }
}

impl Drop for Stopped {
    /// Takes the waker back, so that a wait that was given up leaves nothing (C134).
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        // The end of the run takes all wakers, and none is added afterwards.
        let waker = self.cell.inner.lock().wakers.remove(key);
        contain(Foreign::Waker, move || drop(waker));
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("prevented", &self.prevented)
            .finish_non_exhaustive()
    }
}
