//! [`Block`]: what is registered at a node, and what only few nodes have.
//!
//! A node gets its block with the first registration. What a waiting leaf needs stands
//! in place; hooks, drain waiters and the like are in a box of their own.
//!
//! # Costs
//! A block is one allocation of 104 bytes on 64-bit Linux, its lock included.

use crate::clock::Armed;
use crate::hook::HookEntry;
use crate::node::{Node, release};
use crate::observe::Record;
use crate::panics::{Foreign, Held, contain, drop_foreign};
use crate::shield::Shield;
use crate::shutdown::Progress;
use crate::slots::{Key, NONE, Slots};
use crate::source::Source;
use crate::sync::{Arc, AtomicU32, Mutex, Ordering, ThreadId, Weak, thread_id};
use std::task::Waker;

// Where a lock is one word; on other systems the block is somewhat larger.
#[cfg(all(not(ripcord_loom), target_pointer_width = "64", target_os = "linux"))]
const _: () = assert!(
    size_of::<Block>() <= 104,
    "an allocator rounds it up to no more than 112"
);

/// What a node has beyond its one cache line.
pub(crate) struct Block {
    extra: Option<Box<Extra>>,
    /// 1 once a sweep has taken everything out.
    emptied: AtomicU32,
    pub(crate) links: Mutex<Links>,
}

/// Fixed facts about a node that is more than plain.
pub(crate) struct Extra {
    pub(crate) special: Special,
    pub(crate) record: Option<Record>,
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
    Source(Held<dyn Source>),
}

/// The parents of a merged node; dropped without recursion.
pub(crate) struct Parents(Vec<Arc<Node>>);

impl Parents {
    /// At least two, distinct, in the order in which the user gave them: that order decides ties.
    pub(crate) fn new(parents: Vec<Arc<Node>>) -> Self {
        Self(parents)
    }

    pub(crate) fn as_slice(&self) -> &[Arc<Node>] {
        &self.0
    }
}

impl Drop for Parents {
    /// A chain of merges is as deep as any other, so it is taken apart by `release` (C9).
    fn drop(&mut self) {
        release(None, std::mem::take(&mut self.0));
    }
}

/// What a node's lock protects.
#[derive(Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that come one by one; a byte each"
)]
pub(crate) struct Links {
    /// A cancel took everything out; nothing comes in any more.
    pub(crate) swept: bool,
    /// The node stands in its parents' lists under these keys, in their order.
    pub(crate) uplinked: bool,
    /// A parent was done already when the node entered its list.
    pub(crate) over: bool,
    key: Key,
    pub(crate) waiters: Slots<Waker>,
    pub(crate) children: Slots<Weak<Node>>,
    /// Odd while somebody is arming the alarm, outside the lock: his ticket. Of several
    /// at a time the last one's alarm is kept.
    pub(crate) arming: u8,
    /// The timer or subscription that ends the node from outside the tree.
    pub(crate) alarm: Option<Armed>,
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few nodes have registered.
#[derive(Default)]
pub(crate) struct Rare {
    more_keys: Vec<Key>,
    pub(crate) hooks: Slots<HookEntry>,
    pub(crate) hook_seq: u64,
    pub(crate) drainers: Slots<Waker>,
    /// Children of a swept node that a later force has to find: shields, and what has
    /// shields below.
    kept: Vec<Weak<Node>>,
    /// How many may be kept before those that are gone are left out.
    kept_max: usize,
    /// Shutdowns under way.
    plans: Vec<Arc<Progress>>,
    /// Who subscribes to the source, while somebody does.
    subscriber: Option<ThreadId>,
}

impl Block {
    pub(crate) fn new(extra: Option<Box<Extra>>) -> Self {
        Self {
            extra,
            emptied: AtomicU32::new(0),
            links: Mutex::new(Links::default()),
        }
    }

    pub(crate) fn special(&self) -> &Special {
        self.extra
            .as_ref()
            .map_or(&Special::No, |extra| &extra.special)
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.extra.as_ref()?.record.as_ref()
    }

    /// Says that a sweep has taken everything out. Called under the lock.
    pub(crate) fn set_emptied(&self) {
        // Release: pairs with the Acquire in `is_emptied`.
        self.emptied.store(1, Ordering::Release);
    }

    /// Whether nothing is left to be taken out by key. A `false` may be outdated.
    pub(crate) fn is_emptied(&self) -> bool {
        // Acquire: pairs with the Release in `set_emptied`; a hint that saves a lock.
        self.emptied.load(Ordering::Acquire) == 1
    }

    /// Takes the block apart: what is registered, and the parents of a merged node.
    ///
    /// The parents come out so that the caller drops them in its own loop, without recursion.
    pub(crate) fn into_parts(self) -> (Links, Vec<Arc<Node>>) {
        let parents = match self.extra.map(|extra| extra.special) {
            Some(Special::Any(mut parents) | Special::All(mut parents)) => {
                std::mem::take(&mut parents.0)
            }
            _ => Vec::new(),
        };
        (self.links.into_inner(), parents)
    }
}

/// Drops what a runtime or a source gave.
///
/// Called without a lock: the destructor is foreign and may take locks of its own.
pub(crate) fn disarm(armed: Option<Armed>) {
    if let Some(armed) = armed {
        contain(Foreign::Runtime, move || drop(armed));
    }
}

impl Links {
    /// Made on first use, so that a leaf with one waiter does not pay for hooks.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }

    /// Most nodes have one parent, so the first key stands in place.
    pub(crate) fn push_key(&mut self, at: usize, key: Key) {
        if at == 0 {
            self.key = key;
        } else {
            self.rare().more_keys.push(key);
        }
    }

    /// Announces that the caller arms the alarm, outside the lock; his ticket.
    ///
    /// The ticket is odd while the arming lasts, and each one differs from the one before, so an
    /// alarm that comes back late is told from the current one.
    pub(crate) fn begin_arming(&mut self, is_source: bool) -> u8 {
        if is_source {
            self.rare().subscriber = Some(thread_id());
        }
        self.arming = (self.arming | 1).wrapping_add(2);
        self.arming
    }

    pub(crate) fn is_arming(&self) -> bool {
        self.arming & 1 == 1
    }

    /// Whether the calling thread is within its own `subscribe`.
    pub(crate) fn is_subscriber(&self) -> bool {
        let subscriber = self.rare.as_ref().and_then(|rare| rare.subscriber);
        self.is_arming() && subscriber == Some(thread_id())
    }

    /// The keys in the parents' lists, in the order of the parents.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let more = self
            .rare
            .iter()
            .flat_map(|rare| rare.more_keys.iter().copied());
        std::iter::once(self.key).chain(more)
    }

    /// Says that a sweep of the only parent has taken the node out of its list.
    pub(crate) fn set_unlisted(&mut self) {
        self.key = NONE;
    }

    /// Whether the node, which was entered once, stands in no list any more.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.key == NONE
    }

    /// Whether nothing is registered but waiters and children.
    pub(crate) fn is_plain(&self) -> bool {
        self.alarm.is_none() && self.rare.is_none()
    }

    /// [`sweep`](Self::sweep) for a node that [is plain](Self::is_plain).
    pub(crate) fn sweep_plain(&mut self) -> (Slots<Waker>, Slots<Weak<Node>>) {
        self.swept = true;
        let waiters = std::mem::take(&mut self.waiters);
        (waiters, std::mem::take(&mut self.children))
    }

    pub(crate) fn take_drainers(&mut self) -> Slots<Waker> {
        let rare = self.rare.as_mut();
        rare.map(|rare| std::mem::take(&mut rare.drainers))
            .unwrap_or_default()
    }

    /// Takes out everything that is registered; nothing comes in any more.
    pub(crate) fn sweep(&mut self) -> Self {
        self.swept = true;
        let hooks = self
            .rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.hooks));
        Self {
            waiters: std::mem::take(&mut self.waiters),
            children: std::mem::take(&mut self.children),
            alarm: std::mem::take(&mut self.alarm),
            rare: hooks.map(|hooks| {
                Box::new(Rare {
                    hooks,
                    ..Rare::default()
                })
            }),
            ..Self::default()
        }
    }

    /// Keeps a shutdown for as long as there is somebody to shut down, and lets go of those that
    /// are over: they hold nothing foreign any more, so that may be under the lock.
    pub(crate) fn keep_plan(&mut self, plan: &Arc<Progress>) {
        let plans = &mut self.rare().plans;
        plans.retain(|plan| !plan.is_over());
        plans.push(Arc::clone(plan));
    }

    /// Keeps a child of a swept node for a later force.
    pub(crate) fn keep(&mut self, child: Weak<Node>) {
        let rare = self.rare();
        if rare.kept.len() >= rare.kept_max.max(8) {
            // Dropping a `Weak` frees memory at most; it runs no foreign code.
            rare.kept.retain(|child| child.strong_count() > 0);
            rare.kept_max = rare.kept.len() * 2;
        }
        rare.kept.push(child);
    }

    /// The children that a force has to visit although the node is swept.
    pub(crate) fn kept(&self) -> Vec<Arc<Node>> {
        self.rare
            .iter()
            .flat_map(|rare| rare.kept.iter().filter_map(Weak::upgrade))
            .collect()
    }

    /// How many waiters, drain waiters included, and hooks there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let (drainers, hooks) = self
            .rare
            .as_ref()
            .map_or((0, 0), |rare| (rare.drainers.len(), rare.hooks.len()));
        (self.waiters.len() + drainers, hooks)
    }

    /// Drops what is the user's: a panic in one destructor harms no other.
    ///
    /// Called for a node that is gone, without a lock; the hooks here never run.
    #[inline]
    pub(crate) fn drop_foreign(self) {
        // Most nodes that go have nothing left.
        if !self.waiters.is_empty() || !self.is_plain() {
            self.drop_registered();
        }
    }

    fn drop_registered(self) {
        let (drainers, hooks) = self
            .rare
            .map_or_else(Default::default, |rare| (rare.drainers, rare.hooks));
        for waker in self.waiters.into_values().chain(drainers.into_values()) {
            contain(Foreign::Waker, move || drop(waker));
        }
        for hook in hooks.into_values() {
            drop_foreign(hook);
        }
        disarm(self.alarm);
    }
}
