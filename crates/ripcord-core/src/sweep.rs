//! The sweep: after the flag is set, wakes and hooks of the subtree, in bounded steps.
//!
//! A cancel has taken effect before its sweep begins (node invariant 3), so the order
//! and the delay of wakes decide nothing. That is why a canceller wakes a bounded
//! number itself and hands the rest over.
//!
//! # Invariants
//! 1. A node's waiters and hooks are taken out under its lock, together with setting
//!    `swept`; they are then owned by one [`Sweep`].
//! 2. A `Sweep` that is not finished is handed on, never dropped: `Drop` gives the
//!    rest to the sweeper thread.
//! 3. Foreign code runs without a lock held, each piece contained for itself.
//! 4. All wakes come before all hooks, so that a hook that blocks delays no wake.
//!
//! Children stay in their parent's list until they drop: a later force has to find
//! the shields among them.

use crate::cause::Cause;
use crate::eval;
use crate::hook::{HookCell, HookEntry};
use crate::link;
use crate::node::{Alarm, Node, Special};
use crate::panics::{Foreign, contain};
use crate::site::Site;
use crate::slots::{Key, Slots};
use crate::state::{DRAINING, FORCED, LINKED, SPECIAL};
use crate::sync::Arc;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::task::Waker;

/// How many nodes and wakes a canceller handles itself before it hands over.
const INLINE: usize = 32;

/// How many nodes and wakes one [`Sweep::step`] handles.
const STEP: usize = 64;

/// How many children are taken from a list under one lock.
const BATCH: usize = 32;

/// Runs the rest of a large sweep.
///
/// Chosen at the root; without a choice, or where it panics, a thread of the core's
/// takes the rest. `hand_over` is called on the cancelling thread and must not block.
pub trait Sweeper: Send + Sync {
    /// Takes a sweep, to call [`Sweep::step`] until it says that nothing is left.
    fn hand_over(&self, sweep: Sweep);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Drain,
    Cancel,
    Force,
}

/// The wakes and hooks of a cancelled subtree that are still to be run.
#[must_use = "a sweep that is dropped is left to the sweeper thread"]
pub struct Sweep {
    mode: Mode,
    wakers: Slots<Waker>,
    frames: Vec<Frame>,
    hooks: VecDeque<(Cause, Arc<HookCell>)>,
    sweeper: Option<Arc<dyn Sweeper>>,
}

/// A node whose children are being visited.
struct Frame {
    node: Arc<Node>,
    cause: Option<Cause>,
    cursor: Key,
    batch: Vec<Arc<Node>>,
}

impl Sweep {
    /// The sweep of a node that was just cancelled.
    pub(crate) fn cancel(node: &Arc<Node>, cause: Cause) -> Self {
        let mut sweep = Self::new(Mode::Cancel, node);
        sweep.open(node, Some(cause));
        sweep
    }

    /// The sweep of a node that was just drained.
    pub(crate) fn drain(node: &Arc<Node>) -> Self {
        let mut sweep = Self::new(Mode::Drain, node);
        sweep.open(node, None);
        sweep
    }

    /// The sweep of a node that was just forced; it is done already.
    pub(crate) fn force(node: &Arc<Node>, cause: Cause) -> Self {
        let mut sweep = Self::new(Mode::Force, node);
        let _ = node.state.finish(FORCED);
        sweep.open(node, Some(cause));
        sweep
    }

    fn new(mode: Mode, node: &Node) -> Self {
        let sweeper = node.runtime().and_then(|runtime| runtime.sweeper.clone());
        Self {
            mode,
            wakers: Slots::new(),
            frames: Vec::new(),
            hooks: VecDeque::new(),
            sweeper,
        }
    }

    /// Runs up to 64 wakes, visits or hooks. Returns whether anything is left.
    pub fn step(&mut self) -> bool {
        self.advance(&mut { STEP }, true);
        !self.is_empty()
    }

    /// Runs the sweep to its end.
    pub fn run(mut self) {
        while self.step() {}
    }

    /// Runs a bounded part and hands over the rest.
    pub(crate) fn launch(sweep: Option<Self>) {
        if let Some(mut sweep) = sweep {
            sweep.advance(&mut { INLINE }, true);
            sweep.hand_over();
        }
    }

    /// Runs a bounded part of the wakes and hands over the rest, and every hook.
    pub(crate) fn launch_wakes(mut self) {
        self.advance(&mut { INLINE }, false);
        self.hand_over();
    }

    fn hand_over(mut self) {
        if self.is_empty() {
            return;
        }
        match self.sweeper.take() {
            // A sweep that this drops comes back through `Drop`, to the thread.
            Some(sweeper) => {
                contain(Foreign::Runtime, move || sweeper.hand_over(self));
            }
            None => drop(self),
        }
    }

    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.frames.is_empty() && self.hooks.is_empty()
    }

    fn advance(&mut self, budget: &mut usize, with_hooks: bool) {
        while *budget > 0 {
            *budget -= 1;
            if let Some(waker) = self.wakers.pop() {
                contain(Foreign::Waker, move || waker.wake());
            } else if let Some(frame) = self.frames.last_mut() {
                match frame.next_child() {
                    Some(child) => {
                        let cause = frame.cause.clone();
                        self.visit(&child, cause);
                    }
                    None => drop(self.frames.pop()),
                }
            } else if with_hooks {
                let Some((cause, hook)) = self.hooks.pop_front() else {
                    return;
                };
                hook.run(&cause);
            } else {
                return;
            }
        }
    }

    /// Brings the news from its parent to `child`.
    fn visit(&mut self, child: &Arc<Node>, cause: Option<Cause>) {
        let Some(cause) = cause else {
            if !matches!(child.special(), Special::All(_)) {
                self.open(child, None);
            }
            return;
        };
        if child.state.peek().has(SPECIAL) {
            match child.special() {
                Special::All(_) if !child.is_over() => return,
                Special::Shield(shield) if self.mode == Mode::Cancel && !child.is_over() => {
                    link::arm_cut(child, shield.start(child, &cause));
                    return;
                }
                _ => {}
            }
        }
        let cause = child.adopt(&cause);
        let must_sweep = child.state.finish(0).must_sweep;
        if must_sweep || self.mode == Mode::Force {
            self.open(child, Some(cause));
        }
    }

    /// Takes out what is registered at `node` and queues its children.
    fn open(&mut self, node: &Arc<Node>, cause: Option<Cause>) {
        let Some(block) = node.block_if_any() else {
            return;
        };
        let mut links = block.links.lock();
        let has_children = !links.children.is_empty();
        let drainers = mem::take(&mut links.drainers);
        let (mut waiters, mut hooks, mut alarm) = (Slots::new(), Slots::new(), Alarm::None);
        if cause.is_some() {
            links.swept = true;
            waiters = mem::take(&mut links.waiters);
            hooks = mem::take(&mut links.hooks);
            alarm = mem::take(&mut links.alarm);
        }
        drop(links);
        drop(alarm);
        for waker in drainers.into_values() {
            waiters.insert(waker);
        }
        if self.wakers.is_empty() {
            self.wakers = waiters;
        } else {
            for waker in waiters.into_values() {
                self.wakers.insert(waker);
            }
        }
        if let Some(cause) = &cause {
            self.queue_hooks(hooks, cause);
        }
        if has_children {
            self.frames.push(Frame {
                node: Arc::clone(node),
                cause,
                cursor: 0,
                batch: Vec::new(),
            });
        }
    }

    /// Queues the hooks of one node, the last registered first.
    fn queue_hooks(&mut self, hooks: Slots<HookEntry>, cause: &Cause) {
        let mut hooks: Vec<HookEntry> = hooks.into_values().collect();
        hooks.sort_unstable_by_key(|hook| std::cmp::Reverse(hook.seq));
        self.hooks
            .extend(hooks.into_iter().map(|hook| (cause.clone(), hook.cell)));
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let rest = Self {
            mode: self.mode,
            wakers: mem::take(&mut self.wakers),
            frames: mem::take(&mut self.frames),
            hooks: mem::take(&mut self.hooks),
            sweeper: None,
        };
        thread::hand_over(rest);
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("mode", &self.mode)
            .field("wakers", &self.wakers.len())
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}

impl Frame {
    fn next_child(&mut self) -> Option<Arc<Node>> {
        if self.batch.is_empty() {
            self.refill();
        }
        self.batch.pop()
    }

    fn refill(&mut self) {
        let Some(block) = self.node.block_if_any() else {
            return;
        };
        let links = block.links.lock();
        while self.batch.len() < BATCH {
            let Some((key, child)) = links.children.next_from(self.cursor) else {
                break;
            };
            self.cursor = key + 1;
            // An upgrade counts a reference; what it may free is freed after the lock.
            self.batch.extend(child.upgrade());
        }
        drop(links);
        self.batch.reverse();
    }
}

impl Node {
    /// Whether a special node is done, for the sweep: nobody observes anything.
    fn is_over(&self) -> bool {
        self.resolve().is_some()
    }

    /// Marks the node as draining. Returns whether it was live before.
    pub(crate) fn drain(self: &Arc<Self>) -> bool {
        if self.is_over() || eval::has_above(self, DRAINING) {
            return false;
        }
        let before = self.state.note(DRAINING);
        if before.has(LINKED) {
            Sweep::launch(Some(Sweep::drain(self)));
        }
        !before.has(DRAINING)
    }

    /// Cancels the node, if it is not done yet, and pierces the shields below.
    pub(crate) fn force(self: &Arc<Self>, cause: Cause, site: Site) -> bool {
        let before = self.state.note(FORCED);
        let (won, sweep) = self.cancel(cause, site);
        Sweep::launch(sweep);
        if !before.has(FORCED)
            && self.state.read().has(LINKED)
            && let Some(cause) = self.resolve()
        {
            Sweep::launch(Some(Sweep::force(self, cause)));
        }
        won || !before.has(FORCED)
    }
}

/// The core's own sweeper: a thread that exists from the first hand-over on.
mod thread {
    use super::{Sweep, VecDeque};
    use crate::sync::OnceLock;

    /// Real threads: outside every loom model.
    #[allow(
        clippy::disallowed_types,
        reason = "the sweeper thread is outside every model"
    )]
    struct Shared {
        queue: std::sync::Mutex<VecDeque<Sweep>>,
        changed: std::sync::Condvar,
    }

    /// Queues a sweep; runs it here if there can be no thread.
    pub(super) fn hand_over(sweep: Sweep) {
        match shared() {
            Some(shared) => {
                let mut queue = shared
                    .queue
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                queue.push_back(sweep);
                drop(queue);
                shared.changed.notify_one();
            }
            None => sweep.run(),
        }
    }

    fn shared() -> Option<&'static Shared> {
        static SHARED: OnceLock<Option<&'static Shared>> = OnceLock::new();
        *SHARED.get_or_init(|| {
            #[allow(
                clippy::disallowed_types,
                reason = "the sweeper thread is outside every model"
            )]
            let shared: &'static Shared = Box::leak(Box::new(Shared {
                queue: std::sync::Mutex::new(VecDeque::new()),
                changed: std::sync::Condvar::new(),
            }));
            let thread = std::thread::Builder::new().name("ripcord-sweeper".to_owned());
            thread.spawn(move || shared.serve()).ok().map(|_| shared)
        })
    }

    impl Shared {
        /// One step of each sweep in turn, so that a large one does not delay a small one.
        fn serve(&self) {
            let mut queue = self
                .queue
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            loop {
                match queue.pop_front() {
                    None => {
                        queue = self
                            .changed
                            .wait(queue)
                            .unwrap_or_else(std::sync::PoisonError::into_inner);
                    }
                    Some(mut sweep) => {
                        drop(queue);
                        let more = sweep.step();
                        queue = self
                            .queue
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner);
                        if more {
                            queue.push_back(sweep);
                        }
                    }
                }
            }
        }
    }
}
