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
//! A cancel takes the children out of their parent's list, so that they need not take
//! its lock when they drop. Shields, and nodes with shields below, are kept in another
//! list for a later force.

use crate::block::{Links, Special, disarm};
use crate::cause::{Cause, Place};
use crate::eval;
use crate::hook::{HookCell, HookEntry};
use crate::link;
use crate::node::Node;
use crate::panics::{Foreign, contain};
use crate::slots::{Key, Slots};
use crate::state::{DRAINING, FORCED, LINKED, SHELTERS, SPECIAL};
use crate::sync::{Arc, Weak};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::task::Waker;

/// How many nodes and wakes a canceller handles itself before it hands over.
const INLINE: usize = 32;

/// How many nodes and wakes one [`Sweep::step`] handles.
const STEP: usize = 512;

/// How many of them a hook counts for: it may do anything.
const HOOK: usize = 32;

/// How many children are fetched together.
const AHEAD: usize = 8;

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
    /// Only drain waiters are woken, and nothing is taken out.
    Drain,
    /// Everything below is done, but for shields, which start their grace.
    Cancel,
    /// Everything below is done; nodes that were swept before are visited again.
    Force,
}

/// The wakes and hooks of a cancelled subtree that are still to be run.
#[must_use = "a sweep that is dropped is left to the sweeper thread"]
pub struct Sweep {
    wakers: Slots<Waker>,
    frames: Vec<Frame>,
    hooks: VecDeque<(Cause, Arc<HookCell>)>,
    sweeper: Option<Arc<dyn Sweeper>>,
}

/// A node whose children are being visited.
struct Frame {
    node: Arc<Node>,
    mode: Mode,
    children: Slots<Weak<Node>>,
    /// The next of them, looked at together so that their memory is fetched together.
    ahead: Vec<Weak<Node>>,
    /// Children that stay in the list (drain), or were kept from an earlier sweep.
    batch: Vec<Arc<Node>>,
    cursor: Key,
}

impl Sweep {
    /// The sweep of a node that was just cancelled.
    pub(crate) fn cancel(node: &Arc<Node>) -> Self {
        Self::new(node, Mode::Cancel)
    }

    fn new(node: &Arc<Node>, mode: Mode) -> Self {
        let sweeper = node.runtime().and_then(|runtime| runtime.sweeper.clone());
        let mut sweep = Self {
            wakers: Slots::new(),
            frames: Vec::new(),
            hooks: VecDeque::new(),
            sweeper,
        };
        let frame = sweep.open(node, mode);
        sweep.frames.extend(frame);
        sweep
    }

    /// Runs a bounded number of wakes, visits and hooks. Returns whether anything is left.
    ///
    /// # Costs
    /// At most 512 wakes and visits, some 50 µs; a hook counts for 32 of them.
    pub fn step(&mut self) -> bool {
        self.advance(STEP, true);
        !self.is_empty()
    }

    /// Runs the sweep to its end.
    pub fn run(mut self) {
        while self.step() {}
    }

    /// Runs a bounded part and hands over the rest.
    pub(crate) fn launch(sweep: Option<Self>) {
        if let Some(mut sweep) = sweep {
            sweep.advance(INLINE, true);
            sweep.hand_over();
        }
    }

    /// Runs a bounded part of the wakes and hands over the rest, and every hook.
    pub(crate) fn launch_wakes(mut self) {
        self.advance(INLINE, false);
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

    fn advance(&mut self, budget: usize, with_hooks: bool) {
        let mut spent = 0;
        while spent < budget {
            if let Some(waker) = self.wakers.pop() {
                contain(Foreign::Waker, move || waker.wake());
                spent += 1;
            } else if let Some(frame) = self.frames.pop() {
                self.descend(frame);
                spent += 1;
            } else if with_hooks {
                let Some((cause, hook)) = self.hooks.pop_front() else {
                    return;
                };
                hook.run(&cause);
                spent += HOOK;
            } else {
                return;
            }
        }
    }

    /// Visits the next child of the frame on top, or leaves its node.
    fn descend(&mut self, mut frame: Frame) {
        let Some(child) = frame.next_child() else {
            self.leave(&frame);
            return;
        };
        let below = self.visit(&child, &frame);
        self.frames.push(frame);
        self.frames.extend(below);
    }

    /// Brings the news from its parent to `child`; its frame, if it has children.
    fn visit(&mut self, child: &Arc<Node>, parent: &Frame) -> Option<Frame> {
        if parent.mode == Mode::Drain {
            let is_reached = !matches!(child.special(), Special::All(_));
            return if is_reached {
                self.open(child, Mode::Drain)
            } else {
                None
            };
        }
        if child.state.peek().has(SPECIAL) && !child.resolve() {
            match child.special() {
                Special::All(_) => return None,
                Special::Shield(shield) => {
                    if let Some(cause) = parent.node.own_cause() {
                        link::arm_cut(child, shield.start(child, &cause));
                    }
                    keep(&parent.node, child);
                    if !child.resolve() {
                        return None;
                    }
                    // Forced, or over, while it was being kept: nobody else may have seen it.
                }
                Special::No | Special::Any(_) | Special::Source(_) => {}
            }
        }
        child.borrow_cause(&parent.node);
        let must_sweep = child.state.finish(0).must_sweep;
        if must_sweep || parent.mode == Mode::Force {
            self.open(child, parent.mode)
        } else {
            None
        }
    }

    /// Takes out what is registered at `node`; a frame for its children, if it has any.
    fn open(&mut self, node: &Arc<Node>, mode: Mode) -> Option<Frame> {
        let block = node.block_if_any()?;
        let (mut taken, mut batch) = (Links::default(), Vec::new());
        let mut links = block.links.lock();
        let drainers = links
            .rare
            .as_mut()
            .map(|rare| mem::take(&mut rare.drainers));
        let mut has_children = !links.children.is_empty();
        if mode == Mode::Force {
            batch = links.kept();
        }
        if mode != Mode::Drain && !links.swept {
            taken = links.sweep();
            block.set_emptied();
        }
        drop(links);
        has_children |= !batch.is_empty();
        let (hooks, children) = self.queue(taken, drainers);
        if !hooks.is_empty()
            && let Some(cause) = node.own_cause()
        {
            self.hooks
                .extend(hooks.into_iter().map(|hook| (cause.clone(), hook.cell)));
        }
        has_children.then(|| Frame {
            node: Arc::clone(node),
            mode,
            children,
            ahead: Vec::new(),
            batch,
            cursor: 0,
        })
    }

    /// Queues wakers; the hooks of the node, the last registered first, and its children.
    fn queue(
        &mut self,
        taken: Links,
        drainers: Option<Slots<Waker>>,
    ) -> (Vec<HookEntry>, Slots<Weak<Node>>) {
        let Links {
            waiters,
            children,
            alarm,
            rare,
            ..
        } = taken;
        disarm(alarm);
        if self.wakers.is_empty() {
            self.wakers = waiters;
        } else {
            for waker in waiters.into_values() {
                self.wakers.insert(waker);
            }
        }
        for waker in drainers.into_iter().flat_map(Slots::into_values) {
            self.wakers.insert(waker);
        }
        let mut hooks: Vec<HookEntry> = rare
            .into_iter()
            .flat_map(|rare| rare.hooks.into_values())
            .collect();
        hooks.sort_unstable_by_key(|hook| std::cmp::Reverse(hook.seq));
        (hooks, children)
    }

    /// All children of a node were visited: keeps it for a later force if it has to be.
    fn leave(&mut self, frame: &Frame) {
        if frame.mode == Mode::Drain || !frame.node.state.read().has(SHELTERS) {
            return;
        }
        let Some(parent) = self.frames.last() else {
            return;
        };
        keep(&parent.node, &frame.node);
        if frame.mode == Mode::Cancel && eval::has_above(&frame.node, FORCED) {
            // The force may have looked before the node was kept.
            let again = self.open(&frame.node, Mode::Force);
            self.frames.extend(again);
        }
    }
}

/// Keeps a child of a swept node for a later force.
fn keep(parent: &Arc<Node>, child: &Arc<Node>) {
    parent.block().links.lock().keep(Arc::downgrade(child));
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let rest = Self {
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
            .field("wakers", &self.wakers.len())
            .field("frames", &self.frames.len())
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}

impl Frame {
    fn next_child(&mut self) -> Option<Arc<Node>> {
        loop {
            while let Some(child) = self.ahead.pop() {
                if let Some(child) = child.upgrade() {
                    return Some(child);
                }
            }
            if self.children.is_empty() {
                break;
            }
            self.look_ahead();
        }
        if self.batch.is_empty() && self.mode == Mode::Drain {
            self.refill();
        }
        self.batch.pop()
    }

    /// Takes the next children. Reading their counts starts fetching their memory, which is
    /// what a sweep spends its time on; the order of the reads does not matter.
    fn look_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let Some(child) = self.children.pop() else {
                break;
            };
            self.ahead.push(child);
        }
        std::hint::black_box(self.ahead.iter().map(Weak::strong_count).sum::<usize>());
    }

    /// Looks up the next children that stay in the list.
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
    /// Marks the node as draining. Returns whether it was live before.
    pub(crate) fn drain(self: &Arc<Self>) -> bool {
        if self.resolve() || eval::has_above(self, DRAINING) {
            return false;
        }
        let before = self.state.note(DRAINING);
        if before.has(LINKED) {
            Sweep::launch(Some(Sweep::new(self, Mode::Drain)));
        }
        !before.has(DRAINING)
    }

    /// Cancels the node, if it is not done yet, and pierces the shields below.
    pub(crate) fn force(self: &Arc<Self>, cause: Cause, place: Place) -> bool {
        let before = self.state.note(FORCED);
        // The sweep of a cancel that wins sees the mark: to it no shield is live.
        let (won, sweep) = self.cancel(cause, place);
        Sweep::launch(sweep);
        if !won && !before.has(FORCED) && self.state.read().has(LINKED) {
            Sweep::launch(Some(Sweep::new(self, Mode::Force)));
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
