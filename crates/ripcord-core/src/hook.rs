//! Hooks: a function that runs once when a context is done.
//!
//! # Invariants
//! 1. A cell leaves `Waiting` once: to `Running` (the sweep took it) or to `Over`
//!    (stopped). Whoever makes that step owns the function.
//! 2. The function runs, and is dropped, without a lock held.

use crate::cause::Cause;
use crate::link;
use crate::node::Node;
use crate::panics::{Foreign, contain, drop_foreign};
use crate::slots::Key;
use crate::sync::{Arc, Condvar, Mutex, ThreadId, thread_id, wait};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Function = Box<dyn FnOnce(&Cause) + Send>;

enum Stage {
    Waiting(Function),
    Running(ThreadId),
    Over { ran: bool },
}

struct Inner {
    stage: Stage,
    /// Tasks in [`Stopped`].
    wakers: Vec<Waker>,
    /// Keeps the node of a detached hook alive until the hook ran.
    keep: Option<Arc<Node>>,
}

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
            wakers: Vec::new(),
            keep: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            over: Condvar::new(),
        })
    }

    /// Runs the function, unless it was stopped.
    pub(crate) fn run(&self, cause: &Cause) {
        let mut inner = self.inner.lock();
        let keep = inner.keep.take();
        if !matches!(inner.stage, Stage::Waiting(_)) {
            return;
        }
        let stage = mem::replace(&mut inner.stage, Stage::Running(thread_id()));
        drop(inner);
        if let Stage::Waiting(function) = stage {
            contain(Foreign::Hook, move || function(cause));
        }
        self.finish(true);
        drop(keep);
    }

    fn finish(&self, ran: bool) {
        let mut inner = self.inner.lock();
        inner.stage = Stage::Over { ran };
        let wakers = mem::take(&mut inner.wakers);
        drop(inner);
        self.over.notify_all();
        for waker in wakers {
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

/// A registered hook; dropping it deregisters without waiting.
///
/// Made by [`Ctx::on_done`](crate::Ctx::on_done). It keeps its context's node alive,
/// so the hook also runs when every `Ctx` is dropped and an ancestor is cancelled.
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
            cell.run(&cause);
        }
        None
    }

    /// Prevents the hook from running; whether that succeeded. Never waits.
    ///
    /// `false`: it ran, is running, or was stopped before.
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
    /// # Cancel safety
    /// The hook is stopped at the call, whether or not the future is polled; dropping
    /// the future only ends the waiting.
    pub fn stopped(&self) -> Stopped {
        let stopped = self.stop();
        Stopped {
            cell: Arc::clone(&self.cell),
            stopped,
        }
    }

    /// Whether the hook ran to its end (or to a panic).
    #[must_use]
    pub fn has_run(&self) -> bool {
        matches!(self.cell.inner.lock().stage, Stage::Over { ran: true })
    }

    /// Leaves the hook registered for good.
    ///
    /// It keeps the node alive until the context is done: on one that never ends,
    /// that is a leak.
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
#[must_use = "futures do nothing unless polled"]
pub struct Stopped {
    cell: Arc<HookCell>,
    stopped: bool,
}

impl Future for Stopped {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        // The clone is foreign code: it comes before the lock.
        let waker = cx.waker().clone();
        let mut inner = self.cell.inner.lock();
        if matches!(inner.stage, Stage::Running(_)) {
            inner.wakers.push(waker);
            return Poll::Pending;
        }
        drop(inner);
        Poll::Ready(self.stopped)
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}
