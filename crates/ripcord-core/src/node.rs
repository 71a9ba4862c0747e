//! The tree: a [`Node`] for each cancel scope, its [`Block`] for what is registered.
//!
//! # Invariants
//! 1. `up`, `deadline`, `env` and [`Special`] never change after construction.
//! 2. A node is younger than all its parents, so the graph has no cycle.
//! 3. A node is done once `DONE` is in its word; by then the cause is in the slot, or
//!    `DROPPED` is in the word too and [`Node::own_cause`] makes the cause on demand.
//! 4. The slot is written once. So a cause, once seen, never changes.
//! 5. A node marked `UPLINKED` stands in the list of each of its parents, or is done;
//!    its parents were marked before it.
//! 6. Nothing is registered in a block whose `swept` is set.
//!
//! # Lock order
//! A node before its parents (by invariant 2 there is no cycle); at most two locks
//! are held, and only in `link::attach`. No foreign code runs under one: no waker is
//! cloned, woken or dropped there, no hook, value, clock, timer or observer called.
//!
//! # Costs
//! A node is one allocation of 64 bytes with its reference counts. The block (about
//! 170 bytes) comes with the first registration.

use crate::cause::{Cause, CauseInner, Kind, Origin};
use crate::clock::{Armed, Runtime};
use crate::deadline::Tick;
use crate::eval;
use crate::hook::HookEntry;
use crate::observe::{self, Record};
use crate::once::OnceArc;
use crate::panics::{Foreign, contain, drop_foreign};
use crate::shield::Shield;
use crate::site::Site;
use crate::slots::{Key, Slots};
use crate::source::Source;
use crate::state::{
    Bits, DROPPED, FORWARD, INHERITED, LINKED, RECORDED, SPECIAL, State, TIMED, WATCHED,
};
use crate::sweep::Sweep;
use crate::sync::{Arc, Mutex, Weak};
use crate::values::Env;
use std::panic::Location;
use std::task::{Wake, Waker};
use std::time::Instant;

pub(crate) struct Node {
    pub(crate) state: State,
    site: Site,
    deadline: Tick,
    up: Option<Arc<Node>>,
    cause: OnceArc<CauseInner>,
    block: OnceArc<Block>,
    env: Option<Arc<Env>>,
}

#[cfg(not(ripcord_loom))]
const _: () = assert!(
    size_of::<Node>() == 48,
    "with the two counts of its Arc: one cache line"
);

/// What is registered at a node, and what only few nodes have.
pub(crate) struct Block {
    node: Weak<Node>,
    special: Special,
    record: Option<Box<Record>>,
    pub(crate) links: Mutex<Links>,
}

/// How a node depends on its parents, where that is not plain inheritance.
pub(crate) enum Special {
    /// Done with its only parent.
    No,
    /// Done with the first of these.
    Any(Parents),
    /// Done with the last of these.
    All(Parents),
    /// Done some time after its parent.
    Shield(Shield),
    /// Done when something outside the tree says so.
    Source(Arc<dyn Source>),
}

/// The parents of a merged node; dropped without recursion.
pub(crate) struct Parents(Vec<Arc<Node>>);

impl Drop for Parents {
    fn drop(&mut self) {
        release(None, std::mem::take(&mut self.0));
    }
}

#[derive(Default)]
pub(crate) struct Links {
    /// A cancel took everything out; nothing comes in any more.
    pub(crate) swept: bool,
    /// The node stands in its parents' lists under these keys, in their order.
    pub(crate) uplinked: bool,
    key: Key,
    more_keys: Vec<Key>,
    pub(crate) waiters: Slots<Waker>,
    pub(crate) children: Slots<Weak<Node>>,
    pub(crate) hooks: Slots<HookEntry>,
    pub(crate) hook_seq: u64,
    pub(crate) drainers: Slots<Waker>,
    pub(crate) alarm: Alarm,
}

/// The timer or subscription that ends a node from outside the tree.
#[derive(Default)]
pub(crate) enum Alarm {
    #[default]
    None,
    /// Somebody is arming it, outside the lock.
    Arming,
    /// The runtime wakes the block.
    Set(Armed),
}

/// What a new node is made of.
pub(crate) struct Make<'a> {
    pub(crate) up: Option<&'a Arc<Node>>,
    pub(crate) env: Option<Arc<Env>>,
    pub(crate) site: Site,
    pub(crate) bits: u32,
    pub(crate) deadline: Tick,
    pub(crate) special: Special,
}

impl<'a> Make<'a> {
    /// A plain child of `up`, or a root.
    pub(crate) fn new(up: Option<&'a Arc<Node>>, env: Option<Arc<Env>>, site: Site) -> Self {
        Self {
            up,
            env,
            site,
            bits: 0,
            deadline: Tick::NEVER,
            special: Special::No,
        }
    }

    pub(crate) fn make(self) -> Arc<Node> {
        let mut bits = self.bits | self.up.map_or(0, |up| up.state.peek().0 & INHERITED);
        if !self.deadline.is_never() {
            bits |= TIMED;
        }
        let plain = matches!(self.special, Special::No);
        if !plain {
            bits |= SPECIAL;
        }
        let node = Arc::new(Node {
            state: State::new(bits),
            site: self.site,
            deadline: self.deadline,
            up: self.up.cloned(),
            cause: OnceArc::empty(),
            block: OnceArc::empty(),
            env: self.env,
        });
        if !plain || bits & (RECORDED | WATCHED) != 0 {
            node.furnish(self.special, Bits(bits));
        }
        node
    }
}

impl Node {
    pub(crate) fn up(&self) -> Option<&Arc<Self>> {
        self.up.as_ref()
    }

    pub(crate) fn env(&self) -> Option<&Arc<Env>> {
        self.env.as_ref()
    }

    pub(crate) fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.env.as_ref()?.name.as_deref()
    }

    pub(crate) fn site(&self) -> Site {
        self.site
    }

    pub(crate) fn location(&self) -> Option<&'static Location<'static>> {
        self.site.location()
    }

    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.env.as_ref()?.runtime.as_deref()
    }

    pub(crate) fn now(&self) -> Instant {
        Runtime::now(self.runtime())
    }

    pub(crate) fn special(&self) -> &Special {
        self.block
            .get()
            .map_or(&Special::No, |block| &block.special)
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.block.get()?.record.as_deref()
    }

    /// The parents that can end this node.
    pub(crate) fn parent(&self, at: usize) -> Option<&Arc<Self>> {
        match self.special() {
            Special::Any(parents) | Special::All(parents) => parents.0.get(at),
            Special::No | Special::Shield(_) if at == 0 => self.up.as_ref(),
            Special::No | Special::Shield(_) | Special::Source(_) => None,
        }
    }

    /// The node that has the cancel state of this view; `None`: never cancelled.
    pub(crate) fn target(self: &Arc<Self>) -> Option<&Arc<Self>> {
        if self.state.peek().has(FORWARD) {
            self.up.as_ref()
        } else {
            Some(self)
        }
    }

    pub(crate) fn block(self: &Arc<Self>) -> &Block {
        self.block
            .get_or_init(|| Arc::new(Block::new(Arc::downgrade(self), Special::No, None)))
    }

    /// The block, if anything was ever registered here.
    pub(crate) fn block_if_any(&self) -> Option<&Block> {
        self.block.get()
    }

    /// A waker that makes the node look again whether it is done.
    pub(crate) fn alarm_waker(self: &Arc<Self>) -> Option<Waker> {
        self.block();
        self.block.get_arc().map(Waker::from)
    }

    /// Whether the node is done, by its own state or its ancestors'.
    pub(crate) fn is_done(&self) -> bool {
        let is_done = eval::find(self).is_some();
        if is_done {
            self.note_observed();
        }
        is_done
    }

    /// The cause, if the node is done; from then on it is fixed (invariant 4).
    pub(crate) fn resolve(&self) -> Option<Cause> {
        let found = eval::find(self)?;
        let cause = found.own_cause()?;
        if std::ptr::eq(found, self) {
            Some(cause)
        } else {
            Some(self.adopt(&cause))
        }
    }

    /// Like [`resolve`](Self::resolve), on behalf of the user.
    pub(crate) fn observe(&self) -> Option<Cause> {
        let cause = self.resolve()?;
        self.note_observed();
        Some(cause)
    }

    /// The cause of a node that is marked done itself.
    pub(crate) fn own_cause(&self) -> Option<Cause> {
        if let Some(cause) = self.cause.get_arc() {
            return Some(Cause(cause));
        }
        // Invariant 3: without a cause in the slot, a done node was dropped unwatched.
        if !self.state.read().has(DROPPED) {
            return None;
        }
        let origin = Origin {
            name: self.owned_name(),
            site: Some(self.site),
            at: None,
        };
        let made = Cause::new(Kind::Dropped).with_origin(origin);
        drop(self.cause.set(made.0));
        self.cause.get_arc().map(Cause)
    }

    /// Takes over the cause of an ancestor, unless it has its own already.
    pub(crate) fn adopt(&self, cause: &Cause) -> Cause {
        let taken = self.cause.set(Arc::clone(&cause.0));
        self.state.latch();
        match taken {
            Ok(()) => cause.clone(),
            Err(_) => self.cause.get_arc().map_or_else(|| cause.clone(), Cause),
        }
    }

    /// Ends a node whose deadline has passed. Returns whether it has.
    pub(crate) fn expire(&self) -> bool {
        let now = self.now();
        if Tick::of(now) < self.deadline {
            return false;
        }
        let origin = Origin {
            name: self.owned_name(),
            site: Some(self.site),
            at: Some(now),
        };
        let cause = Cause::new(Kind::DeadlineExceeded)
            .with_origin(origin)
            .with_due(self.deadline.instant());
        self.adopt(&cause);
        true
    }

    /// Cancels the node; whether this call was the one that did.
    pub(crate) fn cancel(self: &Arc<Self>, cause: Cause, site: Site) -> (bool, Option<Sweep>) {
        if self.resolve().is_some() {
            return (false, None);
        }
        let cause = self.stamp(cause, site);
        let won = self.cause.set(Arc::clone(&cause.0)).is_ok();
        let finish = self.state.finish(0);
        if won {
            observe::cancelled(self, &cause);
        }
        let sweep = if finish.must_sweep {
            self.own_cause().map(|cause| Sweep::cancel(self, cause))
        } else {
            None
        };
        (won, sweep)
    }

    /// Cancels the node because its guard was dropped; cheap if nobody is registered.
    pub(crate) fn cancel_dropped(self: &Arc<Self>) {
        if self.state.peek().has(LINKED | RECORDED | WATCHED) {
            let (_, sweep) = self.cancel(Cause::new(Kind::Dropped), self.site);
            Sweep::launch(sweep);
            return;
        }
        if self.state.finish(DROPPED).must_sweep {
            let sweep = self.own_cause().map(|cause| Sweep::cancel(self, cause));
            Sweep::launch(sweep);
        }
    }

    /// Adds name, site and instant to a cause that has no origin yet.
    pub(crate) fn stamp(&self, cause: Cause, site: Site) -> Cause {
        if cause.has_origin() {
            return cause;
        }
        cause.with_origin(Origin {
            name: self.owned_name(),
            site: Some(site),
            at: Some(self.now()),
        })
    }

    fn owned_name(&self) -> Option<std::borrow::Cow<'static, str>> {
        self.env.as_ref()?.name.clone()
    }

    fn note_observed(&self) {
        if self.state.peek().has(WATCHED | RECORDED) {
            observe::observed(self);
        }
    }

    /// Makes the block at once, for nodes that are more than plain.
    fn furnish(self: &Arc<Self>, special: Special, bits: Bits) {
        let record = bits
            .has(RECORDED | WATCHED)
            .then(|| Box::new(Record::new(self, bits)));
        let block = Arc::new(Block::new(Arc::downgrade(self), special, record));
        // The node was made by our caller and is not shared yet: the cell is empty.
        let _ = self.block.set(block);
        if bits.has(RECORDED) {
            observe::created(self);
        }
    }

    /// Takes the node out of all lists and gives up what it owns.
    fn dismantle(&mut self, more: &mut Vec<Arc<Self>>) -> Option<Arc<Self>> {
        if let Some(block) = self.block.take() {
            if let Some(record) = &block.record {
                observe::ended(self, record);
            }
            let links = std::mem::take(&mut *block.links.lock());
            let parents: &[Arc<Self>] = match &block.special {
                Special::Any(parents) | Special::All(parents) => &parents.0,
                _ => self.up.as_slice(),
            };
            if links.uplinked {
                for (parent, key) in parents.iter().zip(links.keys()) {
                    parent.forget_child(key);
                }
            }
            links.drop_foreign();
            if let Some(Block {
                special: Special::Any(mut parents) | Special::All(mut parents),
                ..
            }) = Arc::into_inner(block)
            {
                more.append(&mut parents.0);
            }
        }
        self.up.take()
    }

    fn forget_child(&self, key: Key) {
        if let Some(block) = self.block.get() {
            let weak = block.links.lock().children.remove(key);
            drop(weak);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut more = Vec::new();
        let up = self.dismantle(&mut more);
        if up.is_some() || !more.is_empty() {
            release(up, more);
        }
    }
}

/// Drops nodes, and what only they kept alive, without recursion.
fn release(mut next: Option<Arc<Node>>, mut more: Vec<Arc<Node>>) {
    while let Some(arc) = next.take().or_else(|| more.pop()) {
        if let Some(mut node) = Arc::into_inner(arc) {
            next = node.dismantle(&mut more);
        }
    }
}

impl Block {
    fn new(node: Weak<Node>, special: Special, record: Option<Box<Record>>) -> Self {
        Self {
            node,
            special,
            record,
            links: Mutex::new(Links::default()),
        }
    }
}

impl Wake for Block {
    /// A timer fired, or a foreign source has news.
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            crate::link::alarmed(&node);
        }
    }
}

impl Parents {
    pub(crate) fn new(parents: Vec<Arc<Node>>) -> Self {
        Self(parents)
    }

    pub(crate) fn as_slice(&self) -> &[Arc<Node>] {
        &self.0
    }
}

impl Links {
    pub(crate) fn push_key(&mut self, at: usize, key: Key) {
        if at == 0 {
            self.key = key;
        } else {
            self.more_keys.push(key);
        }
    }

    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        std::iter::once(self.key).chain(self.more_keys.iter().copied())
    }

    /// Drops what is the user's: a panic in one destructor harms no other.
    fn drop_foreign(self) {
        for waker in self
            .waiters
            .into_values()
            .chain(self.drainers.into_values())
        {
            contain(Foreign::Waker, move || drop(waker));
        }
        for hook in self.hooks.into_values() {
            drop_foreign(hook);
        }
        drop(self.alarm);
    }
}
