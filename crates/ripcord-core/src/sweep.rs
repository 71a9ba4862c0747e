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
use crate::node::{Ended, Node};
use crate::panics::{Foreign, contain};
use crate::slots::{Key, Slots};
use crate::state::{DRAINING, FORCED, LINKED, RECORDED, SHELTERS, SPECIAL, TIMED, WATCHED};
use crate::sync::{Arc, Weak};
use crate::tasks::swept;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::task::Waker;

/// What a canceller handles itself before it hands over.
const INLINE: Budget = Budget {
    runs: 32,
    hook: 1,
    visits: 64,
};

/// What it handles itself where many children are listed: its own waiters, and of what is below
/// enough to get others going.
const START: Budget = Budget {
    visits: 1,
    ..INLINE
};

/// What one [`Sweep::step`] handles.
const STEP: Budget = Budget {
    runs: 256,
    hook: 16,
    visits: 256,
};

/// How many children are fetched together.
const AHEAD: usize = 16;

/// How many children are taken from a list under one lock.
const BATCH: usize = 32;

/// Runs the rest of a large sweep.
///
/// Chosen at the root; without a choice, or where it panics, a thread of the core's
/// takes the rest. `hand_over` is called on the cancelling thread and must not block.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Sweep, Sweeper};
/// use std::sync::{Arc, Mutex};
///
/// /// Keeps what is handed over for the main loop's idle time.
/// #[derive(Default)]
/// struct WhenIdle(Mutex<Vec<Sweep>>);
/// impl Sweeper for WhenIdle {
///     fn hand_over(&self, sweep: Sweep) { self.0.lock().unwrap().push(sweep); }
/// }
/// let idle = Arc::new(WhenIdle::default());
/// let (root, guard) = Ctx::root().sweeper(idle.clone()).build();
/// let hooks: Vec<_> = (0..100).map(|_| root.on_done(|_| ())).collect();
/// guard.cancel("over");
/// for sweep in idle.0.lock().unwrap().drain(..) { sweep.run(); }
/// assert!(hooks.iter().all(|hook| hook.has_run()));
/// ```
pub trait Sweeper: Send + Sync {
    /// Takes a sweep, to call [`Sweep::step`] until it says that nothing is left.
    ///
    /// A sweep that is dropped instead is finished by the core's own thread, so a sweeper that
    /// belongs to a runtime may let go of it when the runtime is gone (spec/context.md C47).
    fn hand_over(&self, sweep: Sweep);
}

/// What kind of news a sweep brings down the tree.
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
///
/// It is only given to a [`Sweeper`]. All flags are exact before it starts: who
/// looks for himself sees the end at once, who waits is woken when his turn comes.
#[must_use = "a sweep that is dropped is left to the sweeper thread"]
pub struct Sweep {
    /// The recorded context where the end began: a task observer is told who wakes.
    origin: Option<u64>,
    due: Due,
    frames: Vec<Frame>,
}

/// What was taken out and is still to be run.
#[derive(Default)]
struct Due {
    wakers: Slots<Waker>,
    hooks: VecDeque<DueHook>,
}

/// How much may be done at once.
#[derive(Clone, Copy)]
struct Budget {
    /// Wakes and hooks.
    runs: usize,
    /// How many wakes a hook counts for: it may do anything.
    hook: usize,
    /// Children looked at.
    visits: usize,
}

/// A hook that is to run with `cause`.
struct DueHook {
    cause: Cause,
    cell: Arc<HookCell>,
    /// Where the run counts as an observation, if anybody wants to know.
    observed: Option<Arc<Node>>,
}

/// A node whose children are being visited.
///
/// An explicit stack of these takes the place of recursion, so depth costs memory and no
/// stack (spec/context.md C9), and a sweep can stop between any two visits.
struct Frame {
    at: Ended,
    mode: Mode,
    children: Slots<Weak<Node>>,
    /// The next to be visited: of `children`, of those that stay in the list (drain), or of those
    /// that were kept from an earlier sweep.
    batch: Vec<Arc<Node>>,
    cursor: Key,
}

impl Sweep {
    /// The sweep of a node that was just cancelled.
    pub(crate) fn cancel(node: &Arc<Node>) -> Self {
        // One that is forced at the same time pierces the shields below.
        let is_forced = node.state.read().has(FORCED);
        Self::new(node, if is_forced { Mode::Force } else { Mode::Cancel })
    }

    /// Takes out what is registered at the node itself; what is below is visited by `advance`.
    fn new(node: &Arc<Node>, mode: Mode) -> Self {
        let mut due = Due::default();
        let frames = due
            .open(Arc::clone(node), mode, false)
            .into_iter()
            .collect();
        Self {
            origin: node.recorded_origin(),
            due,
            frames,
        }
    }

    /// Runs a bounded number of wakes, visits and hooks. Returns whether anything is left.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Sweep;
    ///
    /// /// One task of a runtime: gives way to others between two steps.
    /// fn poll_once(sweep: &mut Sweep) -> std::task::Poll<()> {
    ///     if sweep.step() { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    /// }
    /// ```
    ///
    /// # Costs
    /// At most 256 wakes and 256 visits, some 30 µs; a hook counts for 16 wakes.
    pub fn step(&mut self) -> bool {
        self.advance(STEP, true);
        !self.is_empty()
    }

    /// Runs the sweep to its end.
    ///
    /// # Costs
    /// Linear in the number of registrations, on this thread, and as long as the wakers and hooks
    /// take. Foreign panics are contained: it does not unwind.
    pub fn run(mut self) {
        while self.step() {}
    }

    /// Runs a bounded part and hands over the rest to the sweeper of `node`'s tree.
    pub(crate) fn launch(sweep: Option<Self>, node: &Node) {
        if let Some(mut sweep) = sweep {
            sweep.advance(sweep.inline(), true);
            sweep.hand_over(node);
        }
    }

    /// Runs a bounded part of the wakes and hands over the rest, and every hook.
    ///
    /// For a timer's wake, which may run on a runtime's driver: hooks may block, and the driver
    /// must not.
    pub(crate) fn launch_wakes(mut self, node: &Node) {
        self.advance(self.inline(), false);
        self.hand_over(node);
    }

    /// Leaves everything to the sweeper of `node`'s tree.
    pub(crate) fn hand_over(self, node: &Node) {
        if self.is_empty() {
            return;
        }
        match node
            .runtime()
            .and_then(|runtime| runtime.sweeper.as_ref()?.get())
        {
            // A sweep that this drops comes back through `Drop`, to the thread.
            Some(sweeper) => {
                contain(Foreign::Runtime, move || sweeper.hand_over(self));
            }
            None => drop(self),
        }
    }

    /// What the canceller does of it. The rest runs elsewhere, so that its time does not depend on
    /// how many wait.
    fn inline(&self) -> Budget {
        let first = self.frames.first();
        let is_large = first.is_some_and(|frame| frame.children.len() > 2 * INLINE.visits);
        if is_large { START } else { INLINE }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.due.is_empty()
    }

    /// The order of the three branches is invariant 4: a hook is reached only when there is no
    /// wake and no child left. The budget for visits bounds what is spent on subtrees where
    /// nobody waits.
    fn advance(&mut self, mut budget: Budget, with_hooks: bool) {
        while budget.runs > 0 {
            if let Some(waker) = self.due.wakers.pop() {
                swept(self.origin, || {
                    contain(Foreign::Waker, move || waker.wake())
                });
                budget.runs -= 1;
            } else if !self.frames.is_empty() {
                if !self.descend(&mut budget.visits) {
                    return;
                }
            } else if with_hooks {
                let Some(hook) = self.due.hooks.pop_front() else {
                    return;
                };
                hook.cell.run(&hook.cause, hook.observed.as_deref());
                budget.runs = budget.runs.saturating_sub(budget.hook);
            } else {
                return;
            }
        }
    }

    /// Visits the next child of the frame on top, or leaves its node; `false` if there
    /// is a child and nothing left to spend on it.
    fn descend(&mut self, visits: &mut usize) -> bool {
        let Some(frame) = self.frames.last_mut() else {
            return true;
        };
        let Some(child) = frame.next_child() else {
            self.leave();
            return true;
        };
        if *visits == 0 {
            frame.batch.push(child);
            return false;
        }
        *visits -= 1;
        let below = self.due.visit(child, frame);
        self.frames.extend(below);
        true
    }

    /// All children of the node on top were visited: keeps it for a later force if it has to be.
    fn leave(&mut self) {
        let (Some(frame), Some(parent)) = (self.frames.pop(), self.frames.last()) else {
            return;
        };
        if frame.mode == Mode::Drain || !frame.at.node.state.read().has(SHELTERS) {
            return;
        }
        let again = self
            .due
            .keep_sheltering(&parent.at.node, &frame.at.node, frame.mode);
        self.frames.extend(again);
    }
}

impl Due {
    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.hooks.is_empty()
    }

    /// Brings the news from its parent to `child`; its frame, if it has children.
    ///
    /// A drain and a force mark what they have visited: below merges a node can be
    /// reached in as many ways as there are paths.
    fn visit(&mut self, child: Arc<Node>, parent: &Frame) -> Option<Frame> {
        let is_joint = matches!(child.special(), Special::All(_));
        if parent.mode == Mode::Drain {
            let is_news = !is_joint && !child.state.note(DRAINING).has(DRAINING);
            return if is_news {
                self.open(child, Mode::Drain, false)
            } else {
                None
            };
        }
        if is_joint {
            // Members that end at the same time must not each take the other for live.
            child.state.meet();
        }
        // What decides may be another parent, or a deadline that came before.
        if child.state.peek().has(SPECIAL | TIMED) && !child.resolve() {
            match child.special() {
                Special::All(_) => return None,
                Special::Shield(shield) => {
                    if let Some(cause) = parent.at.node.own_cause() {
                        link::arm_cut(&child, shield.start(&child, &cause));
                    }
                    keep(&parent.at.node, &child);
                    if !child.resolve() {
                        return None;
                    }
                    // Forced, or over, while it was being kept: nobody else may have seen it.
                }
                Special::No | Special::Any(_) | Special::Source(_) => {}
            }
        }
        parent.at.lend_to(&child);
        let must_sweep = child.state.finish(0).must_sweep;
        // A member's force is not the group's.
        let mode = if is_joint { Mode::Cancel } else { parent.mode };
        let is_pierced = mode == Mode::Force && !child.state.note(FORCED).has(FORCED);
        if must_sweep || is_pierced {
            let is_unlisted = !child.state.peek().has(SPECIAL);
            self.open(child, mode, is_unlisted)
        } else if mode == Mode::Cancel && child.state.read().has(SHELTERS) {
            self.keep_sheltering(&parent.at.node, &child, mode)
        } else {
            None
        }
    }

    /// Takes out what is registered at `node`; a frame for its children, if it has any.
    ///
    /// `swept` is set under the same lock under which the lists are taken, so a registration comes
    /// either before, and is taken, or after, and is refused (node invariant 6). A drain takes only
    /// the drain waiters: the node lives on.
    ///
    /// `is_unlisted`: the only list that the node stood in was taken from its parent.
    fn open(&mut self, node: Arc<Node>, mode: Mode, is_unlisted: bool) -> Option<Frame> {
        let block = node.block_if_any()?;
        let mut links = block.links.lock();
        let is_over = links.swept || mode == Mode::Drain;
        if !is_over && links.is_plain() {
            // Most nodes: nothing is moved that is not there.
            let (waiters, children) = links.sweep_plain();
            if is_unlisted {
                links.set_unlisted();
            }
            block.set_emptied();
            drop(links);
            self.queue_wakers(waiters);
            return (!children.is_empty()).then(|| Frame::new(node, mode, children));
        }
        let drainers = links.take_drainers();
        let stay = mode == Mode::Drain && !links.children.is_empty();
        // A shield below a node that is done can still be forced, and drained.
        let batch = if mode == Mode::Force || mode == Mode::Drain && links.swept {
            links.kept()
        } else {
            Vec::new()
        };
        let taken = if is_over {
            Links::default()
        } else {
            block.set_emptied();
            links.sweep()
        };
        drop(links);
        self.queue_wakers(drainers);
        let children = self.queue(&node, taken);
        let has_children = stay || !batch.is_empty() || !children.is_empty();
        has_children.then(|| Frame {
            batch,
            ..Frame::new(node, mode, children)
        })
    }

    fn queue_wakers(&mut self, wakers: Slots<Waker>) {
        if self.wakers.is_empty() {
            self.wakers = wakers;
        } else {
            for waker in wakers.into_values() {
                self.wakers.insert(waker);
            }
        }
    }

    /// Queues wakers, and the hooks of the node, the last registered first; its children.
    ///
    /// Runs without the node's lock: disarming the alarm calls foreign code.
    fn queue(&mut self, node: &Arc<Node>, taken: Links) -> Slots<Weak<Node>> {
        let Links {
            waiters,
            children,
            alarm,
            rare,
            ..
        } = taken;
        disarm(alarm);
        self.queue_wakers(waiters);
        let mut hooks: Vec<HookEntry> = rare
            .into_iter()
            .flat_map(|rare| rare.hooks.into_values())
            .collect();
        hooks.sort_unstable_by_key(|hook| std::cmp::Reverse(hook.seq));
        if !hooks.is_empty()
            && let Some(cause) = node.own_cause()
        {
            let is_recorded = node.state.peek().has(RECORDED | WATCHED);
            self.hooks.extend(hooks.into_iter().map(|hook| DueHook {
                cause: cause.clone(),
                cell: hook.cell,
                observed: is_recorded.then(|| Arc::clone(node)),
            }));
        }
        children
    }

    /// Keeps a child with shields below, whose own sweep is over or somebody else's.
    fn keep_sheltering(
        &mut self,
        parent: &Arc<Node>,
        child: &Arc<Node>,
        mode: Mode,
    ) -> Option<Frame> {
        keep(parent, child);
        // A force may have looked before the node was kept.
        if mode == Mode::Cancel && eval::has_above(child, FORCED) {
            self.open(Arc::clone(child), Mode::Force, false)
        } else {
            None
        }
    }
}

/// Keeps a child of a swept node for a later force.
///
/// Children that are gone are left out as the list grows, so it stays within about twice
/// what lives (see `Links::keep`).
fn keep(parent: &Arc<Node>, child: &Arc<Node>) {
    parent.block().links.lock().keep(Arc::downgrade(child));
}

impl Drop for Sweep {
    /// Invariant 2: what is left goes to the core's thread, wherever the sweep was lost.
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let rest = Self {
            origin: self.origin,
            due: mem::take(&mut self.due),
            frames: mem::take(&mut self.frames),
        };
        thread::hand_over(rest);
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("wakers", &self.due.wakers.len())
            .field("frames", &self.frames.len())
            .field("hooks", &self.due.hooks.len())
            .finish_non_exhaustive()
    }
}

impl Frame {
    fn new(node: Arc<Node>, mode: Mode, children: Slots<Weak<Node>>) -> Self {
        Self {
            at: Ended::new(node),
            mode,
            children,
            batch: Vec::new(),
            cursor: 0,
        }
    }

    /// One that is being dropped is skipped: nobody is left there to be woken. A drain has taken
    /// no children out and looks the list up, by a cursor over its keys.
    fn next_child(&mut self) -> Option<Arc<Node>> {
        while self.batch.is_empty() && !self.children.is_empty() {
            match self.children.take_only() {
                Some(only) => {
                    if let Some(only) = only.upgrade() {
                        return Some(only);
                    }
                }
                None => self.look_ahead(),
            }
        }
        if self.batch.is_empty() && self.mode == Mode::Drain {
            self.refill();
        }
        self.batch.pop()
    }

    /// Takes the next children out of the list.
    ///
    /// A sweep spends its time on waiting for memory. Reads that depend on nothing wait together,
    /// so all counts are read before the first is changed, and then all blocks.
    fn look_ahead(&mut self) {
        let next: [Option<Weak<Node>>; AHEAD] = std::array::from_fn(|_| self.children.pop());
        let next = || next.iter().flatten();
        std::hint::black_box(next().map(Weak::strong_count).sum::<usize>());
        self.batch.extend(next().filter_map(Weak::upgrade));
        let blocks = self.batch.iter().filter_map(|node| node.block_if_any());
        std::hint::black_box(blocks.filter(|block| block.is_emptied()).count());
    }

    /// Looks up the next children that stay in the list.
    fn refill(&mut self) {
        let Some(block) = self.at.node.block_if_any() else {
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
    ///
    /// The mark comes before the sweep, and a `Draining` looks again after it has registered: so
    /// one of the two sees the other.
    pub(crate) fn drain(self: &Arc<Self>) -> bool {
        if self.resolve() || eval::has_above(self, DRAINING) {
            return false;
        }
        let before = self.state.note(DRAINING);
        if before.has(LINKED) {
            Sweep::launch(Some(Sweep::new(self, Mode::Drain)), self);
        }
        !before.has(DRAINING)
    }

    /// Cancels the node, if it is not done yet, and pierces the shields below.
    pub(crate) fn force(self: &Arc<Self>, cause: Cause, place: Place) -> bool {
        if self.resolve() && eval::has_above(self, FORCED) {
            return false;
        }
        let before = self.state.note(FORCED);
        // The sweep of a cancel that wins sees the mark: to it no shield is live.
        let (won, sweep) = self.cancel(cause, place);
        Sweep::launch(sweep, self);
        if !won && !before.has(FORCED) && self.state.read().has(LINKED) {
            Sweep::launch(Some(Sweep::new(self, Mode::Force)), self);
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
    ///
    /// If no thread can be started, the canceller is made to wait rather than a waiter to sleep
    /// for ever.
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
