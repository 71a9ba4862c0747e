//! The tree: a [`Node`] for each cancel scope. What is registered there is in `block.rs`.
//!
//! # Invariants
//! 1. `up`, `deadline`, `env` and [`Special`] never change after construction.
//! 2. A node is younger than all its parents, so the graph has no cycle.
//! 3. A node is done once `DONE` is in its word; by then the cause is in the slot, or
//!    `DROPPED` is in the word too and [`Node::own_cause`] makes the cause on demand.
//! 4. The slot is written once. So a cause, once seen, never changes. One that came from
//!    an ancestor is borrowed from its slot: ancestors outlive their descendants.
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
//! A node is one allocation of 64 bytes with its reference counts.

use crate::block::{Block, Extra, Links, Special};
use crate::cause::{Cause, CauseInner, Kind, Origin, Place};
use crate::clock::Runtime;
use crate::deadline::Tick;
use crate::default_observer;
use crate::entry::Asks;
use crate::eval;
use crate::lent::Lent;
use crate::observe::{self, Record};
use crate::once::{Loan, OnceArc, OnceBox};
use crate::site::Site;
use crate::state::{
    Bits, COUNTED, DONE, DROPPED, FORWARD, INHERITED, LINKED, RECORDED, SEEN, SPECIAL, State,
    TIMED, WATCHED,
};
use crate::sweep::Sweep;
use crate::sync::Arc;
use crate::values::Env;
use std::panic::Location;
use std::time::Instant;

/// The shared state behind one or more handles; see the terms of `spec/context.md`.
///
/// Handles hold it strongly, and so do the nodes below, through `up`: a parent outlives its
/// children. Downwards there are only `Weak` entries, and only where somebody registered.
pub(crate) struct Node {
    pub(crate) state: State,
    site: Site,
    deadline: Tick,
    up: Option<Arc<Node>>,
    cause: OnceArc<CauseInner>,
    block: OnceBox<Block>,
    env: Lent<Env>,
}

#[cfg(not(ripcord_loom))]
const _: () = assert!(
    size_of::<Node>() == 48,
    "with the two counts of its Arc: one cache line"
);

/// A node that a sweep brings news from, with its cause at hand: its own line is written to by
/// each of its children that is dropped, so it is read once and not for each child.
pub(crate) struct Ended {
    pub(crate) node: Arc<Node>,
    cause: Loan<CauseInner>,
}

impl Ended {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let cause = node.lend_cause();
        Self { node, cause }
    }

    /// Gives the cause to a descendant, before that is marked done.
    pub(crate) fn lend_to(&self, below: &Node) {
        below.borrow_lent(self.cause);
    }
}

/// What a new node is made of.
pub(crate) struct Make<'a> {
    pub(crate) up: Option<&'a Arc<Node>>,
    /// `None`: that of `up`.
    pub(crate) env: Option<Arc<Env>>,
    pub(crate) site: Site,
    pub(crate) bits: u32,
    pub(crate) deadline: Tick,
    pub(crate) special: Special,
    /// Whom it asks whether it is told of.
    pub(crate) asks: Asks<'a>,
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
            asks: Asks::BelowNothing,
        }
    }

    /// What is inherited is copied into the word here, so no walk has to look it up. A node that
    /// is more than plain gets its block before anybody else can see it.
    #[allow(
        unsafe_code,
        reason = "saves two counts on a line that the whole tree shares"
    )]
    pub(crate) fn make(mut self) -> Arc<Node> {
        if self.up.is_none() {
            self.env = default_observer::observed(self.env);
        }
        self.decide();
        let inherited = match self.up {
            Some(up) => up.state.peek().0 & INHERITED,
            None => observe::inherited(self.env.as_deref()),
        };
        let inherited = self.recorded(inherited);
        let mut bits = self.bits | inherited;
        if !self.deadline.is_never() {
            bits |= TIMED;
        }
        let plain = matches!(self.special, Special::No);
        if !plain {
            bits |= SPECIAL;
        }
        if bits & (RECORDED | FORWARD) == RECORDED {
            let inherited = || self.up.and_then(|up| up.env());
            bits |= observe::announced(self.env.as_deref().or_else(inherited));
        }
        let env = match (self.env, self.up) {
            // SAFETY: the node holds a count of `up`, until `dismantle`; after that its `env` is
            // only dropped. What `up` borrowed itself, it borrowed from an ancestor.
            (None, Some(up)) => unsafe { up.env.lend() },
            (env, _) => Lent::own(env),
        };
        let node = Arc::new(Node {
            state: State::new(bits),
            site: self.site,
            deadline: self.deadline,
            up: self.up.cloned(),
            cause: OnceArc::empty(),
            block: OnceBox::empty(),
            env,
        });
        // A view keeps the mark, since a look at it is one at what it shows.
        let is_recorded = bits & RECORDED != 0
            && (bits & (FORWARD | COUNTED) == 0 || observe::has_register(node.env()));
        let has_record = is_recorded || bits & WATCHED != 0;
        if !plain || has_record {
            node.furnish(self.special, Bits(bits), has_record);
        }
        node
    }
}

impl Node {
    pub(crate) fn up(&self) -> Option<&Arc<Self>> {
        self.up.as_ref()
    }

    pub(crate) fn env(&self) -> Option<&Env> {
        self.env.get()
    }

    pub(crate) fn share_env(&self) -> Option<Arc<Env>> {
        self.env.share()
    }

    pub(crate) fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.env()?.name.as_deref()
    }

    pub(crate) fn site(&self) -> Site {
        self.site
    }

    pub(crate) fn location(&self) -> Option<&'static Location<'static>> {
        self.site.location()
    }

    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.env()?.runtime.as_deref()
    }

    pub(crate) fn now(&self) -> Instant {
        Runtime::now(self.runtime())
    }

    pub(crate) fn special(&self) -> &Special {
        self.block.get().map_or(&Special::No, Block::special)
    }

    /// Whether an observer or a register knows the node; one that is watched has a record too.
    pub(crate) fn is_recorded(&self) -> bool {
        self.state.peek().has(RECORDED)
    }

    /// Whether an observer or a register knows the node, and the observer has not declined it.
    pub(crate) fn is_told(&self) -> bool {
        self.is_recorded() && self.env().is_none_or(|env| !env.choice.is_untold())
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.block.get()?.record()
    }

    /// What others know the node by: a record that an observer or a register was told of.
    ///
    /// A node that is only counted, or was declined, may have one because it is watched, which nobody
    /// was told of.
    pub(crate) fn known_record(&self) -> Option<&Record> {
        let is_counted = self.state.peek().has(COUNTED);
        self.record()
            .filter(|_| self.is_told())
            .filter(|record| !is_counted || record.is_registered())
    }

    /// The parents that can end this node.
    ///
    /// By number, in the order that decides ties. A source has none: the tree above it, whose
    /// values it carries, cannot end it.
    pub(crate) fn parent(&self, at: usize) -> Option<&Arc<Self>> {
        match self.special() {
            Special::Any(parents) | Special::All(parents) => parents.as_slice().get(at),
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

    pub(crate) fn block(&self) -> &Block {
        self.block.get_or_init(|| Box::new(Block::new(None)))
    }

    /// The block, if anything was ever registered here.
    pub(crate) fn block_if_any(&self) -> Option<&Block> {
        self.block.get()
    }

    /// Whether the node is done, by its own state or its ancestors'.
    ///
    /// Unlike [`resolve`](Self::resolve) it stores nothing at a plain node: a loop that checks
    /// writes to no shared memory.
    pub(crate) fn is_done(&self) -> bool {
        let is_done = eval::find(self).is_some();
        if is_done {
            self.note_observed();
        }
        is_done
    }

    /// Whether the node is done; from then on it has its cause (invariant 4).
    pub(crate) fn resolve(&self) -> bool {
        let Some(found) = eval::find(self) else {
            return false;
        };
        if !std::ptr::eq(found, self) {
            self.adopt(found);
        }
        true
    }

    /// The cause, if the node is done; from then on it is fixed (invariant 4).
    pub(crate) fn cause(&self) -> Option<Cause> {
        if self.resolve() {
            self.own_cause()
        } else {
            None
        }
    }

    /// Like [`cause`](Self::cause), on behalf of the user.
    pub(crate) fn observe(&self) -> Option<Cause> {
        let cause = self.cause()?;
        self.note_observed();
        Some(cause)
    }

    /// The cause of a node that is marked done itself.
    pub(crate) fn own_cause(&self) -> Option<Cause> {
        self.settle();
        self.cause.get_arc().map(Cause)
    }

    /// The number of a node whose end, or drain, began here and not above, if it has one.
    pub(crate) fn recorded_origin(&self) -> Option<u64> {
        if !self.is_told() || self.cause.is_borrowed() {
            return None;
        }
        // The cause of a shield is a copy of its parent's, with an instant of its own.
        let is_own = !matches!(self.special(), Special::Shield(_));
        is_own.then(|| self.known_record())?.map(Record::id)
    }

    /// Makes the cause of a node that was dropped unwatched (invariant 3).
    fn settle(&self) {
        if self.cause.get().is_some() || !self.state.read().has(DROPPED) {
            return;
        }
        let origin = Origin {
            name: self.owned_name(),
            site: Some(Place::Made(self.site)),
            at: Tick::NEVER,
            due: Tick::NEVER,
        };
        let made = Cause::of(Kind::Dropped, origin);
        drop(self.cause.set(made.0));
    }

    /// Takes over the cause of `found`, which is done and keeps this node from being
    /// live: an ancestor. A cause of its own stays.
    pub(crate) fn adopt(&self, found: &Self) {
        self.borrow_cause(found);
        self.state.latch();
    }

    /// Takes over the cause of an ancestor, before the node is marked done.
    fn borrow_cause(&self, found: &Self) {
        self.borrow_lent(found.lend_cause());
    }

    /// The cause, for [`Ended::lend_to`]. There is none before the node is done.
    fn lend_cause(&self) -> Loan<CauseInner> {
        self.settle();
        self.cause.loan()
    }

    #[allow(
        unsafe_code,
        reason = "saves two counts on a line that the whole subtree shares"
    )]
    fn borrow_lent(&self, loan: Loan<CauseInner>) {
        // A guard that was dropped unwatched is an end of its own (invariant 3).
        self.settle();
        // SAFETY: the loan is of an ancestor: this node owns a count of each of its parents (`up`
        // or `Special`), and so on up to the lender, until `dismantle`, which needs `&mut`; after
        // that its slot is only dropped.
        unsafe { self.cause.borrow(loan) };
    }

    /// Ends the node with a cause of its own, as seen and not as asked for. Returns
    /// whether this call did.
    ///
    /// The first cause stands; the mark is set in either case, since the node is done in either.
    pub(crate) fn end(&self, cause: Cause) -> bool {
        let won = self.cause.set(cause.0).is_ok();
        self.state.latch();
        won
    }

    /// Ends the node by what is outside the tree: time, or a source.
    pub(crate) fn end_from_outside(&self, cause: Cause) {
        let told = self.state.peek().has(RECORDED).then(|| cause.clone());
        if let (true, Some(cause)) = (self.end(cause), told) {
            observe::cancelled(self, &cause);
        }
    }

    /// Ends a node whose deadline was seen to have passed at `now`.
    pub(crate) fn expire(&self, now: Instant) {
        let origin = Origin {
            name: self.owned_name(),
            site: Some(Place::Made(self.site)),
            at: Tick::of(now),
            due: self.deadline,
        };
        self.end_from_outside(Cause::of(Kind::DeadlineExceeded, origin));
    }

    /// Cancels the node; whether this call was the one that did.
    ///
    /// The caller runs the sweep, after the observer was told: `cancelled` comes before any wake.
    pub(crate) fn cancel(self: &Arc<Self>, cause: Cause, place: Place) -> (bool, Option<Sweep>) {
        if self.resolve() {
            return (false, None);
        }
        let cause = self.stamp(cause, place);
        let told = self.state.peek().has(RECORDED).then(|| cause.clone());
        let won = self.cause.set(cause.0).is_ok();
        let finish = self.state.finish(0);
        if let (true, Some(cause)) = (won, told) {
            observe::cancelled(self, &cause);
        }
        (won, finish.must_sweep.then(|| Sweep::cancel(self)))
    }

    /// Cancels the node because its guard was dropped; cheap if nobody is registered.
    ///
    /// This is how most contexts end. Where nothing is registered nothing is made: no cause, no
    /// instant. Whoever asks later has the cause made for him (invariant 3).
    pub(crate) fn cancel_dropped(self: &Arc<Self>) {
        let bits = self.state.peek();
        if bits.has(DONE) {
            return;
        }
        if bits.has(LINKED | WATCHED) || bits.is_told_each() {
            let (_, sweep) = self.cancel(Cause::new(Kind::Dropped), Place::Made(self.site));
            Sweep::launch(sweep, self);
        } else if !eval::is_late(self) && self.state.finish(DROPPED).must_sweep {
            //= C19
            // What an ancestor has ended is not ended again.
            Sweep::launch(Some(Sweep::cancel(self)), self);
        }
    }

    /// Adds name, site and instant to a cause that has no origin yet.
    ///
    /// A cause that was read from another context keeps its origin and only gets the instant at
    /// which it ended this one, which the order of ends needs (C18, C21).
    pub(crate) fn stamp(&self, cause: Cause, place: Place) -> Cause {
        if cause.has_origin() {
            return cause.relayed(self.now());
        }
        cause.with_origin(Origin {
            name: self.owned_name(),
            site: Some(place),
            at: Tick::of(self.now()),
            due: Tick::NEVER,
        })
    }

    fn owned_name(&self) -> Option<std::borrow::Cow<'static, str>> {
        self.env()?.name.clone()
    }

    pub(crate) fn note_observed(&self) {
        let bits = self.state.peek();
        if (bits.has(WATCHED) || bits.is_told_each()) && !bits.has(SEEN) {
            observe::observed(self);
        }
    }

    /// Makes the block at once, for nodes that are more than plain.
    fn furnish(self: &Arc<Self>, special: Special, bits: Bits, has_record: bool) {
        let record = has_record.then(|| Record::new(self, &special, bits));
        let block = Block::new(Some(Box::new(Extra { special, record })));
        // The node was made by our caller and is not shared yet: the cell is empty.
        let _ = self.block.set(Box::new(block));
        if bits.has(RECORDED) {
            observe::created(self);
        }
    }

    /// Takes the node out of all lists and gives up what it owns.
    fn dismantle(&mut self, more: &mut Vec<Arc<Self>>) -> Option<Arc<Self>> {
        let is_counted = self.state.uncount();
        if is_counted {
            observe::gone(self);
        }
        if let Some(block) = self.block.take() {
            if let Some(record) = block.record() {
                observe::ended(self, record, is_counted);
            }
            let (links, mut parents) = block.into_parts();
            let above = if parents.is_empty() {
                self.up.as_slice()
            } else {
                &parents
            };
            forget(above, &links);
            links.drop_foreign();
            more.append(&mut parents);
        }
        self.up.take()
    }
}

/// Takes a node that is being dropped out of its parents' lists.
///
/// Once the parent was swept its lists are empty, and dropping a child takes no lock of it.
fn forget(parents: &[Arc<Node>], links: &Links) {
    if !links.uplinked || links.is_unlisted() {
        return;
    }
    for (parent, key) in parents.iter().zip(links.keys()) {
        let Some(block) = parent.block.get() else {
            continue;
        };
        if !block.is_emptied() {
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
///
/// A chain of a million nodes is dropped in a loop, in constant stack (C9). Only the thread
/// that takes the last count of a node goes on with its parents.
pub(crate) fn release(mut next: Option<Arc<Node>>, mut more: Vec<Arc<Node>>) {
    while let Some(arc) = next.take().or_else(|| more.pop()) {
        if let Some(mut node) = Arc::into_inner(arc) {
            next = node.dismantle(&mut more);
        }
    }
}
