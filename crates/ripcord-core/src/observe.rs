//! The seam for tools: an [`Observer`] of a tree, a [`Watch`] on one context, and the
//! register that [`dump`](crate::dump) prints.
//!
//! # Costs
//! A tree without any of these pays one predictable branch where a context is made
//! and where its end is seen; the flag for it is inherited in the state word. A
//! recorded context has its block from the start.

use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::deadline::Tick;
use crate::guard::CancelGuard;
use crate::node::{Make, Node};
use crate::panics::{Foreign, contain};
use crate::site::Site;
use crate::slots::{Key, Slots};
use crate::state::{Bits, RECORDED, SEEN, WATCHED};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak};
use std::fmt;
use std::panic::Location;
use std::time::Instant;

/// Who a context is, for an [`Observer`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Info<'a> {
    /// A number that no other recorded context of this process has.
    pub id: u64,
    /// The nearest recorded context above; `None` for a root.
    pub parent: Option<u64>,
    /// The name of the context, or of the nearest above it that has one.
    pub name: Option<&'a str>,
    /// Where the context was made.
    pub site: Option<&'static Location<'static>>,
    /// When the context was made, by the clock of the tree.
    pub created: Instant,
}

impl fmt::Debug for Info<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("id", &self.id)
            .field("parent", &self.parent)
            .field("name", &self.name)
            .field(
                "site",
                &format_args!("{:?}", self.site.map(ToString::to_string)),
            )
            .finish_non_exhaustive()
    }
}

/// Is told what happens in a tree; chosen at the root.
///
/// The methods are called without a lock held, on the thread where it happens, and
/// should return quickly. A panic in one is contained and counted.
pub trait Observer: Send + Sync {
    /// A context was made.
    fn created(&self, context: &Info<'_>) {
        let _ = context;
    }

    /// A context was cancelled by a guard or a canceller: the origin, not its subtree.
    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        let _ = (context, cause);
    }

    /// Somebody saw for the first time that a context is done.
    fn observed(&self, context: &Info<'_>, cause: &Cause) {
        let _ = (context, cause);
    }

    /// The last handle of a context is gone.
    fn ended(&self, context: &Info<'_>) {
        let _ = context;
    }
}

/// What is kept of a node that is observed, watched or registered.
pub(crate) struct Record {
    id: u64,
    parent: Option<u64>,
    created: Instant,
    /// When the end was first seen here or below; 0 is not yet.
    seen: AtomicU64,
    entry: Option<(Arc<Registry>, Key)>,
}

impl Record {
    pub(crate) fn new(node: &Arc<Node>, bits: Bits) -> Self {
        let registry = node.runtime().and_then(|runtime| runtime.registry.clone());
        let entry = registry.filter(|_| bits.has(RECORDED)).map(|registry| {
            let key = registry.nodes.lock().insert(Arc::downgrade(node));
            (registry, key)
        });
        Self {
            id: next_id(),
            parent: parent_id(node),
            created: node.now(),
            seen: AtomicU64::new(0),
            entry,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn parent(&self) -> Option<u64> {
        self.parent
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    fn seen(&self) -> Option<Instant> {
        // Relaxed: the tick is the whole message.
        match self.seen.load(Ordering::Relaxed) {
            0 => None,
            raw => Some(Tick::from_raw(raw).instant()),
        }
    }

    /// Notes the first observation; whether it was that.
    fn note_seen(&self, at: Instant) -> bool {
        let tick = Tick::of(at).raw().max(1);
        // Relaxed: the tick is the whole message, and the first one stands.
        self.seen
            .compare_exchange(0, tick, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn info<'a>(&self, node: &'a Node) -> Info<'a> {
        Info {
            id: self.id,
            parent: self.parent,
            name: node.name(),
            site: node.location(),
            created: self.created,
        }
    }
}

fn next_id() -> u64 {
    // Not part of any protocol that loom has to see (counter).
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    // Relaxed: only uniqueness counts (counter).
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn parent_id(node: &Node) -> Option<u64> {
    let mut up = node.parent(0).or(node.up());
    while let Some(node) = up {
        if let Some(record) = node.record() {
            return Some(record.id);
        }
        up = node.up();
    }
    None
}

fn tell(node: &Node, event: impl FnOnce(&dyn Observer, &Info<'_>)) {
    let Some(observer) = node
        .runtime()
        .and_then(|runtime| runtime.observer.as_deref())
    else {
        return;
    };
    if let Some(record) = node.record() {
        contain(Foreign::Observer, || event(observer, &record.info(node)));
    }
}

pub(crate) fn created(node: &Node) {
    tell(node, |observer, info| observer.created(info));
}

pub(crate) fn cancelled(node: &Node, cause: &Cause) {
    if node.state.peek().has(RECORDED) {
        tell(node, |observer, info| observer.cancelled(info, cause));
    }
}

/// Stamps the first observation at the node and at every watcher above it.
#[cold]
pub(crate) fn observed(node: &Node) {
    if node.state.note(SEEN).has(SEEN) {
        return;
    }
    let now = node.now();
    if let Some(record) = node.record()
        && record.note_seen(now)
        && let Some(cause) = node.own_cause()
    {
        tell(node, |observer, info| observer.observed(info, &cause));
    }
    // A watcher above that is not done itself must not take this for its own end.
    let mut up = node.up();
    while let Some(node) = up {
        let bits = node.state.peek();
        if !bits.has(WATCHED) || bits.has(SEEN) && node.record().is_none() {
            break;
        }
        if let Some(record) = node.record() {
            if !node.resolve() {
                break;
            }
            record.note_seen(now);
        }
        up = node.up();
    }
}

/// The node is being dropped; its block is out of it already.
pub(crate) fn ended(node: &Node, record: &Record) {
    if let Some((registry, key)) = &record.entry {
        let weak = registry.nodes.lock().remove(*key);
        drop(weak);
    }
    if !node.state.peek().has(RECORDED) {
        return;
    }
    if let Some(observer) = node
        .runtime()
        .and_then(|runtime| runtime.observer.as_deref())
    {
        contain(Foreign::Observer, || observer.ended(&record.info(node)));
    }
}

/// Tells when the end of one context was asked for and when it was first seen.
///
/// Made by [`Ctx::watched_child`]. It counts an observation anywhere in the subtree:
/// a check that failed, a `done()` or `run()` that ended.
pub struct Watch {
    node: Arc<Node>,
}

impl Watch {
    /// When the end was asked for; for a deadline, the deadline itself.
    #[must_use]
    pub fn asked(&self) -> Option<Instant> {
        let cause = self.node.cause()?;
        cause.due().or(cause.at())
    }

    /// When it was first seen that the context is done.
    #[must_use]
    pub fn seen(&self) -> Option<Instant> {
        self.node.record()?.seen()
    }

    /// The cause, without this counting as an observation.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.node.cause()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("asked", &self.asked())
            .field("seen", &self.seen())
            .finish()
    }
}

impl Ctx {
    /// Makes a child whose first observed end is stamped, for latency reports.
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn watched_child(&self) -> (Self, CancelGuard, Watch) {
        let make = self.make(Site::of(Location::caller()));
        let node = Make {
            bits: make.bits | WATCHED,
            ..make
        }
        .make();
        (
            Self::from_node(Arc::clone(&node)),
            CancelGuard::new(Arc::clone(&node)),
            Watch { node },
        )
    }
}

/// The live contexts of one tracked root.
pub(crate) struct Registry {
    nodes: Mutex<Slots<Weak<Node>>>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        let registry = Arc::new(Self {
            nodes: Mutex::new(Slots::new()),
        });
        let mut all = registries();
        all.retain(|old| old.strong_count() > 0);
        all.push(Arc::downgrade(&registry));
        drop(all);
        registry
    }

    /// The live nodes, in no particular order.
    pub(crate) fn live(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.lock();
        let mut live = Vec::with_capacity(nodes.len());
        let mut cursor = 0;
        while let Some((key, node)) = nodes.next_from(cursor) {
            cursor = key + 1;
            live.extend(node.upgrade());
        }
        drop(nodes);
        live
    }
}

/// The registers of all tracked roots; a global of the process, outside every model.
#[allow(
    clippy::disallowed_types,
    reason = "a global of the process, outside every model"
)]
static REGISTRIES: std::sync::Mutex<Vec<Weak<Registry>>> = std::sync::Mutex::new(Vec::new());

#[allow(
    clippy::disallowed_types,
    reason = "a global of the process, outside every model"
)]
fn registries() -> std::sync::MutexGuard<'static, Vec<Weak<Registry>>> {
    REGISTRIES
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn all_registries() -> Vec<Arc<Registry>> {
    registries().iter().filter_map(Weak::upgrade).collect()
}
