//! The seam for tools: an [`Observer`] of a tree, a [`Watch`] on one context, and the
//! register that [`dump`](crate::dump()) prints.
//!
//! # Costs
//! A tree without any of these pays one predictable branch where a context is made
//! and where its end is seen; the flag for it is inherited in the state word. A
//! recorded context has its block from the start.
//!
//! # What counts as an observation
//! A check that failed, a poll that was ready, a hook that ran: somebody acted on the end. A
//! [`dump`](crate::dump()), a [`Watch`] and the tree's own walks do not count, so that looking
//! at a tree does not spoil its account of latencies (spec/context.md C121, C122).

use crate::block::Special;
use crate::cause::{Cause, Kind};
use crate::ctx::Ctx;
use crate::deadline::Tick;
use crate::entry::Entry;
use crate::guard::CancelGuard;
use crate::node::{Make, Node};
use crate::panics::{Foreign, contain};
use crate::site::Site;
use crate::slots::{Key, Slots};
use crate::state::{Bits, COUNTED, ENTRY, FORWARD, RECORDED, SEEN, TOLD, WATCHED};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Weak};
use crate::tasks::{ContextRef, TaskObserver};
use crate::values::Env;
use std::fmt;
use std::panic::Location;
use std::time::Instant;

/// Who a context is, for an [`Observer`].
///
/// It borrows from the context and is valid during the call only: copy the `id` to find the
/// context again, and the name if it is needed later.
///
/// # Examples
/// ```
/// use ripcord_core::{Cause, Ctx, Info, Kind, Observer};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Default)]
/// struct Log(Mutex<Vec<String>>);
/// impl Observer for Log {
///     fn cancelled(&self, who: &Info<'_>, cause: &Cause) {
///         self.0.lock().unwrap().push(format!("{}: {}", who.name.unwrap_or("-"), cause.kind()));
///     }
/// }
/// let log = Arc::new(Log::default());
/// let (_server, guard) = Ctx::root().name("server").observer(log.clone()).build();
/// guard.cancel(Kind::Shutdown);
/// assert_eq!(*log.0.lock().unwrap(), ["server: shutting down"]);
/// ```
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
    /// What it depends on for its end.
    pub kind: InfoKind,
    /// Its name, unless it is that of the nearest recorded context above.
    pub own_name: Option<&'a str>,
    /// The deadline that was set for this context, if it has one of its own.
    pub own_deadline: Option<Instant>,
    /// Whether it was made as an [`Entry`]: work has come in here from outside.
    pub is_entry: bool,
    record: &'a Record,
}

/// What a context depends on for its end, for [`Info::kind`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum InfoKind {
    /// On the one above, and perhaps on its own guard; also a view of the one above.
    Child,
    /// On the one above and on a deadline of its own.
    Deadline,
    /// On the one above, some time after that, or with a force.
    Shield,
    /// On several: the first of them, or the last.
    Merge,
    /// On nothing above: a root, or what was detached.
    Root,
    /// On something that has no name here, such as a foreign [`Source`](crate::Source).
    Unlisted,
}

impl Info<'_> {
    /// What was kept for this context; 0: nothing.
    ///
    /// With it an observer finds what it has written down of the context without looking up the
    /// [`id`](Self::id).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Info, Observer};
    /// use std::sync::{Arc, Mutex};
    ///
    /// /// Names in the order in which contexts were made; the key is the place, from 1.
    /// #[derive(Default)]
    /// struct Names(Mutex<Vec<String>>);
    /// impl Observer for Names {
    ///     fn created(&self, context: &Info<'_>) {
    ///         let mut names = self.0.lock().unwrap();
    ///         names.push(context.name.unwrap_or("-").to_owned());
    ///         context.keep(names.len() as u64);
    ///     }
    ///     fn ended(&self, context: &Info<'_>) {
    ///         let place = context.key() as usize;
    ///         assert_eq!(self.0.lock().unwrap()[place - 1], context.name.unwrap_or("-"));
    ///     }
    /// }
    /// let (root, _guard) = Ctx::root().name("root").observer(Arc::new(Names::default())).build();
    /// drop(root.named("request"));
    /// ```
    ///
    /// # Limitations
    /// A context belongs to one tree, and so to one observer; its [parent](Self::parent_key) may
    /// belong to another.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.record.key()
    }

    /// What was kept for the [`parent`](Self::parent) by the time this context was made; 0: nothing.
    ///
    /// A merge of contexts of several trees may be below a context of another observer, whose key
    /// this then is: check the number that is found there against [`parent`](Self::parent).
    #[must_use]
    pub fn parent_key(&self) -> u64 {
        self.record.parent_key
    }

    /// Keeps a number for this context, for every later call about it or about what is below.
    ///
    /// To be called in [`created`](Observer::created): until that has returned nobody else has the
    /// context, so whoever derives from it finds the number (spec/context.md C146).
    pub fn keep(&self, key: u64) {
        // Relaxed: who has got the context, or a call about it, came by it after this.
        self.record.key.store(key, Ordering::Relaxed);
    }
}

impl fmt::Debug for Info<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("id", &self.id)
            .field("key", &self.key())
            .field("parent", &self.parent)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field(
                "site",
                &format_args!("{:?}", self.site.map(ToString::to_string)),
            )
            .finish_non_exhaustive()
    }
}

/// How much an observer wants to be told of a context, for [`Observer::announced`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Detail {
    /// Each step, with [`Info`] on the context.
    Each,
    /// Numbers only, by [`Observer::counted`]: the context has no id, and costs next to nothing.
    Count,
}

/// What has become of a context that is counted, for [`Observer::counted`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Counted {
    /// An end began there, of this kind. Never [`Kind::Dropped`], with which work ends that is over.
    Ended(Kind),
    /// The last handle is gone.
    Gone {
        /// Whether [`Ended`](Self::Ended) was told of it.
        was_ended: bool,
    },
}

/// Is told what happens in a tree; chosen at the root.
///
/// The methods are called without a lock held, on the thread where it happens, and
/// should return quickly. A panic in one is contained and counted.
///
/// All methods have an empty default. For one context the order is `created`, then
/// `cancelled` and `observed` at most once each, then `ended` (spec/context.md C119).
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Info, Observer};
/// use std::sync::{Arc, atomic::{AtomicI64, Ordering}};
///
/// #[derive(Default)]
/// struct Gauge(AtomicI64);
/// impl Observer for Gauge {
///     fn created(&self, _: &Info<'_>) { self.0.fetch_add(1, Ordering::Relaxed); }
///     fn ended(&self, _: &Info<'_>) { self.0.fetch_sub(1, Ordering::Relaxed); }
/// }
///
/// let gauge = Arc::new(Gauge::default());
/// let (root, _guard) = Ctx::root().observer(gauge.clone()).build();
/// let request = root.child();
/// assert_eq!(gauge.0.load(Ordering::Relaxed), 2);
/// drop(request);
/// assert_eq!(gauge.0.load(Ordering::Relaxed), 1);
/// ```
///
/// # Costs
/// Every context of an observed tree has its block from the start (two more allocations) and
/// reads the clock once when it is made. One that is only counted has neither: two calls are all.
pub trait Observer: Send + Sync {
    /// Whether to tell of what comes in here, and of what will be below; yes by default.
    ///
    /// Asked for each [entry](crate::Derive::entry) that is not within another one, and for each context
    /// below nothing that no [`Root`](crate::Root) has made; before it is made, and once. What is
    /// declined costs what it does where nobody observes: there are no calls, and its tasks have no
    /// observer. Below a context that was declined and is no entry itself, entries are asked for
    /// (spec/context.md C156, C157). A panic counts as yes.
    fn wants(&self, entry: &Entry<'_>) -> bool {
        let _ = entry;
        true
    }

    /// A context that is no view is about to be made: how much is to be told of it?
    ///
    /// Asked anew for each context, so an observer may change its mind while a tree lives. Of a context
    /// that it answers [`Detail::Count`] for it gets [`counted`](Self::counted) and no other call; for tasks
    /// and for what is below, it is not recorded (spec/context.md C154). [`Detail::Each`] by default.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Counted, Ctx, Detail, Kind, Observer};
    /// use std::sync::{Arc, Mutex};
    ///
    /// #[derive(Default)]
    /// struct Numbers(Mutex<(u32, Vec<Counted>)>);
    /// impl Observer for Numbers {
    ///     fn announced(&self) -> Detail {
    ///         self.0.lock().unwrap().0 += 1;
    ///         Detail::Count
    ///     }
    ///     fn counted(&self, what: Counted) { self.0.lock().unwrap().1.push(what); }
    /// }
    /// let numbers = Arc::new(Numbers::default());
    /// let (root, guard) = Ctx::root().observer(numbers.clone()).build();
    /// drop(root.child());
    /// guard.cancel(Kind::Shutdown);
    /// drop((root, guard));
    /// let (made, told) = &*numbers.0.lock().unwrap();
    /// assert_eq!(*made, 2);
    /// let [first, second] = [false, true].map(|was_ended| Counted::Gone { was_ended });
    /// assert_eq!(*told, [first, Counted::Ended(Kind::Shutdown), second]);
    /// ```
    fn announced(&self) -> Detail {
        Detail::Each
    }

    /// Something has become of one of the contexts that are counted; of which one, is not said.
    fn counted(&self, what: Counted) {
        let _ = what;
    }

    /// A context was made.
    ///
    /// Called before the context is handed to whoever asked for it, also for merges. A view, as
    /// `named` and `with` make it, is no context of its own: what it adds shows in what is below.
    fn created(&self, context: &Info<'_>) {
        let _ = context;
    }

    /// A context was ended by a guard, a canceller, its deadline or its source: the
    /// origin, not its subtree. By a deadline or a source: when somebody notices.
    ///
    /// Counting causes here counts each end once, however large the subtree (C120).
    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        let _ = (context, cause);
    }

    /// Somebody saw for the first time that a context is done.
    ///
    /// The time since [`Cause::at`] is how long the work took to notice.
    fn observed(&self, context: &Info<'_>, cause: &Cause) {
        let _ = (context, cause);
    }

    /// The last handle of a context is gone.
    ///
    /// Called while the context is being dropped, on the thread that dropped the last handle.
    fn ended(&self, context: &Info<'_>) {
        let _ = context;
    }

    /// A context is known elsewhere by `value`: see [`Ctx::tag`](crate::Ctx::tag).
    ///
    /// At any time between `created` and `ended`, and as often as somebody says so.
    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        let _ = (context, key, value);
    }

    /// A deadline was asked for that cannot fire, since one that is in force comes no later.
    ///
    /// No context was made for it: whoever asked goes on with the one that it was asked of. `site` is
    /// where it was asked for.
    fn vain_deadline(
        &self,
        context: &Info<'_>,
        deadline: Instant,
        site: Option<&'static Location<'static>>,
    ) {
        let _ = (context, deadline, site);
    }

    /// Who is told of the tasks of the tree: mostly `Some(self)`; nobody by default.
    ///
    /// Asked once, by [`Root::observer`](crate::Root::observer). Who cancelled or looked is
    /// [`current_task`](crate::tasks::current_task) in the methods above; how late a deadline
    /// fired is [`Cause::at`] less [`Cause::due`].
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        None
    }
}

/// What is kept of a node that is observed, watched or registered.
pub(crate) struct Record {
    id: u64,
    parent: Option<u64>,
    parent_key: u64,
    /// What the observer keeps here.
    key: AtomicU64,
    kind: InfoKind,
    /// Whether the nearest recorded context above has another name, or none.
    has_own_name: bool,
    created: Instant,
    /// Its own deadline, if it has one: told with every call, and not turned into an instant each time.
    own_deadline: Option<Instant>,
    /// When the end was first seen here or below; 0 is not yet.
    seen: AtomicU64,
    entry: Option<(Arc<Registry>, Key)>,
}

impl Record {
    /// Enters the node into its root's register. The record gives the place back in [`ended`].
    pub(crate) fn new(node: &Arc<Node>, special: &Special, bits: Bits) -> Self {
        let registry = node.runtime().and_then(|runtime| runtime.registry.clone());
        let entry = registry.filter(|_| bits.has(RECORDED)).map(|registry| {
            let key = registry.nodes.lock().insert(Arc::downgrade(node));
            (registry, key)
        });
        let above = recorded_above(node, special);
        let parent = above.and_then(|above| above.record());
        Self {
            id: next_id(),
            parent: parent.map(Self::id),
            parent_key: parent.map_or(0, Self::key),
            key: AtomicU64::new(0),
            kind: kind_of(node, special),
            has_own_name: node.name() != above.and_then(|above| above.name()),
            created: node.now(),
            own_deadline: node.deadline().known(),
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

    /// Whether it is a row of a register.
    pub(crate) fn is_registered(&self) -> bool {
        self.entry.is_some()
    }

    fn key(&self) -> u64 {
        // Relaxed: see `Info::keep`.
        self.key.load(Ordering::Relaxed)
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

    /// Notes an observation, if it is the first.
    fn note_seen(&self, at: Instant) {
        let tick = Tick::of(at).raw().max(1);
        // Relaxed: the tick is the whole message, and the first one stands.
        let _ = self
            .seen
            .compare_exchange(0, tick, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Made anew for each call: a name is borrowed from the node and stored nowhere else.
    fn info<'a>(&'a self, node: &'a Node) -> Info<'a> {
        let name = node.name();
        Info {
            id: self.id,
            parent: self.parent,
            name,
            site: node.location(),
            created: self.created,
            kind: self.kind,
            own_name: name.filter(|_| self.has_own_name),
            own_deadline: self.own_deadline,
            is_entry: node.state.peek().has(ENTRY),
            record: self,
        }
    }
}

fn next_id() -> u64 {
    // Not part of any protocol that loom has to see (counter).
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    // Relaxed: only uniqueness counts (counter).
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Whether the tree keeps a register.
///
/// A view, or a node that is counted, then has a record: a row of the register, told to no observer.
pub(crate) fn has_register(env: Option<&Env>) -> bool {
    let runtime = env.and_then(|env| env.runtime.as_ref());
    runtime.is_some_and(|runtime| runtime.registry.is_some())
}

/// What a node without a parent takes over: the tree of its runtime is observed as a whole,
/// with its merges and with what was detached from it.
pub(crate) fn inherited(env: Option<&Env>) -> u32 {
    let is_recorded = env.is_some_and(|env| {
        let is_told = !env.choice.is_untold();
        let runtime = env.runtime.as_ref();
        runtime.is_some_and(|runtime| {
            runtime.observer.is_some() && is_told || runtime.registry.is_some()
        })
    });
    if is_recorded { RECORDED } else { 0 }
}

/// The nearest recorded node above a new one, by way of the first parent of each.
fn recorded_above<'a>(node: &'a Node, special: &'a Special) -> Option<&'a Node> {
    let mut up = match special {
        Special::Any(parents) | Special::All(parents) => parents.as_slice().first(),
        _ => node.up(),
    };
    while let Some(node) = up {
        if node.known_record().is_some() {
            return Some(node);
        }
        up = node.parent(0).or(node.up());
    }
    None
}

fn kind_of(node: &Node, special: &Special) -> InfoKind {
    match special {
        Special::Any(_) | Special::All(_) => InfoKind::Merge,
        Special::Shield(_) => InfoKind::Shield,
        Special::Source(_) => InfoKind::Unlisted,
        Special::No if !node.deadline().is_never() => InfoKind::Deadline,
        Special::No if node.up().is_none() => InfoKind::Root,
        Special::No => InfoKind::Child,
    }
}

/// One call of the observer, contained. No lock is held by any of the callers.
///
/// Of a view nothing is told: it has no end of its own, and there are many.
fn tell(node: &Node, event: impl FnOnce(&dyn Observer, &Info<'_>)) {
    if node.state.peek().has(FORWARD | COUNTED) {
        return;
    }
    let Some(observer) = observer_of(node.env()) else {
        return;
    };
    if let Some(record) = node.record() {
        contain(Foreign::Observer, || event(observer, &record.info(node)));
    }
}

/// The observer of a tree, unless it has declined what has this.
fn observer_of(env: Option<&Env>) -> Option<&dyn Observer> {
    let env = env.filter(|env| !env.choice.is_untold())?;
    env.runtime.as_ref()?.observer.as_ref()?.get()
}

/// Asks the observer of the tree before a node is made; [`COUNTED`], or nothing.
pub(crate) fn announced(env: Option<&Env>) -> u32 {
    let detail =
        observer_of(env).and_then(|observer| contain(Foreign::Observer, || observer.announced()));
    match detail {
        Some(Detail::Count) => COUNTED,
        Some(Detail::Each) | None => 0,
    }
}

/// One call about a node that is counted, contained.
fn count(node: &Node, what: Counted) {
    if let Some(observer) = observer_of(node.env()) {
        contain(Foreign::Observer, || observer.counted(what));
    }
}

/// A node that is counted is being taken apart; what it has of its parents is still there.
pub(crate) fn gone(node: &Node) {
    let was_ended = node.state.peek().has(TOLD);
    count(node, Counted::Gone { was_ended });
}

pub(crate) fn created(node: &Node) {
    tell(node, |observer, info| observer.created(info));
}

/// Somebody has asked for a deadline that cannot fire.
pub(crate) fn vain(ctx: &Ctx, deadline: Instant, site: Site) {
    if let Some(node) = ctx.target()
        && node.is_recorded()
    {
        tell(node, |observer, info| {
            observer.vain_deadline(info, deadline, site.location());
        });
    }
}

impl Ctx {
    /// Says what this context is known as elsewhere: the id of its request, or of its trace.
    ///
    /// Tells the observer of the tree, which joins what it was told of the context with what
    /// other tools know. Nothing is stored: see [`with`](Self::with) for values that code reads.
    ///
    /// # Examples
    /// ```
    /// let (request, _guard) = ripcord_core::Ctx::background().named("GET /orders").child();
    /// request.tag("request.id", "7f3c"); // Nobody is told outside of an observed tree.
    /// ```
    ///
    /// # Costs
    /// Without an observer a look at the context's state; with one, a call of it.
    pub fn tag(&self, key: &'static str, value: &str) {
        if let Some(node) = self.target()
            && node.is_recorded()
        {
            tell(node, |observer, info| observer.tagged(info, key, value));
        }
    }

    /// By what an observer knows this context; `None` if none does.
    ///
    /// For runtime adapters, which pass it on with each task.
    ///
    /// # Examples
    /// ```
    /// assert!(ripcord_core::Ctx::background().recorded().is_none());
    /// ```
    #[must_use]
    pub fn recorded(&self) -> Option<ContextRef> {
        let node = self.target().filter(|node| node.is_told())?;
        node.known_record().map(|record| ContextRef {
            id: record.id(),
            key: record.key(),
        })
    }
}

pub(crate) fn cancelled(node: &Node, cause: &Cause) {
    let bits = node.state.peek();
    if bits.is_told_each() {
        tell(node, |observer, info| observer.cancelled(info, cause));
    } else if bits.has(COUNTED) && cause.kind() != Kind::Dropped {
        // First, so that who takes the node apart knows of it.
        let _ = node.state.note(TOLD);
        count(node, Counted::Ended(cause.kind()));
    }
}

/// Stamps the first observation at the node and at every watcher above it.
///
/// `SEEN` is set first, so the observer hears of it once, from whoever set it. The way up
/// stops at the first node that nobody above watches, and at a watcher that was told before.
#[cold]
pub(crate) fn observed(node: &Node) {
    let before = node.state.note(SEEN);
    if before.has(SEEN) {
        return;
    }
    if before.has(FORWARD) {
        // A view has no end of its own: the look is at what it shows.
        if let Some(up) = node.up() {
            observed(up);
        }
        return;
    }
    let Some(cause) = node.cause() else { return };
    // A clock that was set back must not put the look before the end.
    let now = node.now();
    let now = cause.ended().map_or(now, |ended| now.max(ended));
    if let Some(record) = node.record() {
        record.note_seen(now);
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
pub(crate) fn ended(node: &Node, record: &Record, is_counted: bool) {
    if let Some((registry, key)) = &record.entry {
        let weak = registry.nodes.lock().remove(*key);
        drop(weak);
    }
    let bits = node.state.peek();
    if is_counted || !bits.has(RECORDED) || bits.has(FORWARD) {
        return;
    }
    if let Some(observer) = observer_of(node.env()) {
        contain(Foreign::Observer, || observer.ended(&record.info(node)));
    }
}

/// Tells when the end of one context was asked for and when it was first seen.
///
/// Made by [`Ctx::watched_child`]. It counts an observation anywhere in the subtree:
/// a check that failed, a `done()` or `run()` that ended. What is below a merge of
/// several contexts does not count for those.
///
/// It does not end the context and is no handle to derive from, but it keeps the node alive:
/// drop it when the account is written.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
///
/// let (ctx, guard, watch) = Ctx::background().watched_child();
/// let worker = ctx.named("worker");
/// guard.cancel(Kind::Shutdown);
/// assert!(watch.asked().is_some());
/// assert_eq!(watch.seen(), None, "nobody has looked yet");
/// assert!(worker.check().is_err());
/// assert!(watch.seen() >= watch.asked());
/// ```
pub struct Watch {
    node: Arc<Node>,
}

impl Watch {
    /// When the end was asked for; for a deadline, the deadline itself.
    ///
    /// `None` while the context is live, and where an ancestor's guard was dropped while
    /// nothing was registered there, which reads no clock. For the drop of the watched
    /// child's own guard the instant is always known.
    #[must_use]
    pub fn asked(&self) -> Option<Instant> {
        self.node.cause()?.ended()
    }

    /// When it was first seen that the context is done.
    ///
    /// `seen - asked` is the latency of the cancel: how long work went on that nobody wanted.
    #[must_use]
    pub fn seen(&self) -> Option<Instant> {
        self.node.record()?.seen()
    }

    /// The cause, without this counting as an observation.
    ///
    /// For reports that must not change what they report on. [`Ctx::cause`] counts.
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
    ///
    /// Everything derived from it is watched along with it: the first look at an end below
    /// walks up to the watched child.
    ///
    /// # Costs
    /// Those of [`child`](Self::child), two more allocations and one reading of the clock.
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
///
/// It refers to the nodes weakly: a register keeps no context alive.
pub(crate) struct Registry {
    nodes: Mutex<Slots<Weak<Node>>>,
}

impl Registry {
    /// Enters itself into the list of the process, and leaves out there what is gone.
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
    ///
    /// Upgraded under the lock and returned, never dropped there: the drop of the last reference
    /// to a node takes the same lock.
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
