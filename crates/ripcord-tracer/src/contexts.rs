//! The recorder as an observer of contexts.
//!
//! # What is written when
//! | Of a context | becomes |
//! |---|---|
//! | it was made | `ctx_create` |
//! | an end began there | `ctx_cancel`, and a note for who looks after late tasks |
//! | somebody saw its end for the first time | `ctx_seen` |
//! | it was tagged | `ctx_tag` |
//! | the last handle is gone | `ctx_end` |
//!
//! What an end means for what is below it is not written: it follows from the tree, which
//! the trace has.
//!
//! # Who is chosen
//! What is declined at its entry (`sampling.rs`) is not told of at all. So a request is in the trace with
//! all of its calls, or with none, and nobody has to ask twice. The rest is written unless the recorder
//! is off.
//!
//! # Costs
//! Making and ending a context: a slot, a lock that nobody else wants but a dump, an event.
//! The name is copied into the text of whoever had the slot before, which rarely has to
//! grow.

use crate::clock::TraceClock;
use crate::local::{Local, with_local};
use crate::recorder::Recording;
use crate::slots::Slot;
use crate::sync::Mutex;
use crate::tasks::{key_of, number_of};
use crate::trigger::Reason;
use crate::usdt;
use ripcord_core::tasks::{ContextRef, TaskObserver, current_task};
use ripcord_core::{Cause, Counted, Detail, Entry, Info, InfoKind, Kind, Observer};
use ripcord_trace_format::{CauseKind, CtxKind, Event, SeenHow, TEXT_BYTES_MAX};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What is kept of a context while it lives.
#[derive(Default)]
pub(crate) struct LiveContext {
    said: Mutex<SaidContext>,
    way: Way,
}

/// The way up from a context, and whether an end has begun there: what can be read without a lock.
#[derive(Default)]
struct Way {
    /// The id of the context above; 0: none.
    parent: AtomicU64,
    parent_key: AtomicU64,
    /// What is in a shield goes on when what is above it ends.
    is_shield: AtomicBool,
    /// When an end began here, in raw units; 0: none has. A guard that goes away is none.
    ended: AtomicU64,
    /// When it was made, in raw units.
    began: AtomicU64,
}

/// A copy of a [`Way`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// The context above.
    pub(crate) parent: Option<ContextRef>,
    /// Whether the end of what is above is none here.
    pub(crate) is_shield: bool,
    /// When an end began here, if one did.
    pub(crate) ended: Option<u64>,
}

impl Way {
    /// For a context that nobody can look up yet.
    fn begin(&self, parent: ContextRef, is_shield: bool, raw: u64) {
        // Relaxed all: the id that is set next publishes them.
        self.began.store(raw, Ordering::Relaxed);
        self.parent.store(parent.id, Ordering::Relaxed);
        self.parent_key.store(parent.key, Ordering::Relaxed);
        self.is_shield.store(is_shield, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
    }

    fn load(&self) -> Step {
        // Relaxed all: see `begin`; of an end it is enough to hear soon.
        let id = self.parent.load(Ordering::Relaxed);
        let key = self.parent_key.load(Ordering::Relaxed);
        let ended = self.ended.load(Ordering::Relaxed);
        Step {
            parent: (id != 0).then_some(ContextRef { id, key }),
            // Relaxed, as above.
            is_shield: self.is_shield.load(Ordering::Relaxed),
            ended: (ended != 0).then_some(ended),
        }
    }
}

/// What was said of a context, to be said again in a dump.
///
/// It is what `ctx_create` has said, and `ctx_cancel` and `ctx_tag` since then: the ring
/// forgets, and the registry of a dump does not.
#[derive(Clone, Default)]
pub(crate) struct SaidContext {
    /// When it was made.
    pub(crate) tick: u64,
    /// The id of the context above; `None` for a root, and below one that is not recorded.
    pub(crate) parent: Option<u64>,
    /// The number of a [`CtxKind`].
    pub(crate) kind: u64,
    /// The number of the place in the source where it was made.
    pub(crate) loc: Option<u64>,
    /// Its own deadline, in ticks from when it was made.
    pub(crate) deadline: Option<i64>,
    /// Its own name; empty if it has none.
    pub(crate) name: String,
    /// How it ended, if an end began here.
    pub(crate) cancel: Option<SaidCancel>,
    /// Label and text of each tag, the first eight.
    pub(crate) tags: Vec<(u64, String)>,
}

/// How a context ended.
#[derive(Clone)]
pub(crate) struct SaidCancel {
    /// When the end began, as the recorder was told.
    pub(crate) tick: u64,
    /// The kind of the cause.
    pub(crate) kind: CauseKind,
    /// The task or job that ended it.
    pub(crate) by: Option<u64>,
    /// Where in the source it was ended.
    pub(crate) loc: Option<u64>,
    /// For a deadline: how many ticks after the end it was due, so below zero by as much as
    /// the end was late.
    pub(crate) due: Option<i64>,
    /// What the cause says besides its kind.
    pub(crate) message: String,
}

/// A context keeps so many tags for a dump; later ones stand in the ring alone.
const TAGS_MAX: usize = 8;

impl LiveContext {
    /// A copy of what was said.
    ///
    /// # Costs
    /// A lock and the copies of its texts: for dumps and for who watches, not for events.
    pub(crate) fn said(&self) -> SaidContext {
        self.said.lock().clone()
    }

    /// Where the way up leads, and whether an end began here.
    ///
    /// # Costs
    /// Four loads, no lock.
    pub(crate) fn step(&self) -> Step {
        self.way.load()
    }
}

impl Recording {
    /// The slot of a context, and its number, if it is one of this recorder's.
    fn context(&self, info: &Info<'_>) -> Option<(u32, &Slot<LiveContext>)> {
        let number = number_of(info.key())?;
        Some((number, self.0.contexts.find(number, info.id)?))
    }

    /// Takes a slot and tells of the context. Where there is no slot left it is counted,
    /// and the context has no key: nothing more is told of it.
    fn create(&self, local: &mut Local, info: &Info<'_>) {
        let Some((number, slot)) = self.0.contexts.take(&mut local.contexts) else {
            self.0.note_unplaced();
            return;
        };
        local.cells.context_created();
        usdt::ctx_new(info.id, info.parent.unwrap_or(0));
        let raw = self.0.clock.raw();
        let deadline = info
            .own_deadline
            .map(|at| self.0.clock.ticks_between(info.created, at));
        let kind = kind(info.kind);
        let loc = info.site.map(|site| local.place(site));
        let name = info.own_name.unwrap_or_default();
        let mut said = slot.live.said.lock();
        let mut text = std::mem::take(&mut said.name);
        text.clear();
        text.push_str(name);
        let mut tags = std::mem::take(&mut said.tags);
        tags.clear();
        *said = SaidContext {
            tick: TraceClock::tick_of(raw),
            parent: info.parent,
            kind: kind.number(),
            loc,
            deadline,
            name: text,
            tags,
            cancel: None,
        };
        drop(said);
        let parent = ContextRef {
            id: info.parent.unwrap_or(0),
            key: info.parent_key(),
        };
        slot.live.way.begin(parent, kind == CtxKind::Shield, raw);
        slot.set_id(info.id);
        info.keep(key_of(number));
        let event = Event::CtxCreate {
            id: info.id,
            parent: info.parent,
            kind,
            loc,
            deadline,
            name,
        };
        if let Some(memory) = self.0.memory() {
            memory.begin_context(number, TraceClock::tick_of(raw), &event);
        }
        local.record(raw, &event);
    }

    /// Tells of an end that began here. Only an end that somebody wanted, or a deadline,
    /// makes anybody look for tasks that are late: a guard that goes away at the end of its
    /// work is no reason.
    fn cancel(
        &self,
        local: &mut Local,
        (number, slot): (u32, &Slot<LiveContext>),
        id: u64,
        cause: &Cause,
    ) {
        let raw = self.0.clock.raw();
        let due = cause.due().zip(cause.at());
        let said = SaidCancel {
            tick: TraceClock::tick_of(raw),
            kind: cause_kind(cause.kind()),
            by: current_task().map(|task| task.id),
            loc: cause.site().map(|site| local.place(site)),
            due: due.map(|(due, at)| self.0.clock.ticks_between(at, due)),
            message: cause.message().unwrap_or_default().to_owned(),
        };
        local.record(raw, &said.event(id));
        local.cells.context_ended(cause.kind());
        usdt::cancel(id, cause.kind());
        // A guard that goes away is the ordinary end.
        if said.kind != CauseKind::Dropped {
            // Relaxed: who asks hears of it soon.
            slot.live.way.ended.store(raw.max(1), Ordering::Relaxed);
            self.0.ends.note(id, raw);
            self.0.triggers.note_end();
        }
        if said.kind == CauseKind::DeadlineExceeded {
            self.0.triggers.note(Reason::Deadline, raw, id);
        }
        let mut kept = slot.live.said.lock();
        if let Some(memory) = self.0.memory() {
            memory.say_of_context(number, said.tick, &said.event(id));
        }
        kept.cancel = Some(said);
    }
}

impl Recording {
    /// Tells who keeps the worst requests of one that is over.
    ///
    /// Before its last event is written, while it has its slot, and those above it have theirs: the way up
    /// says since when it should have been over.
    ///
    /// # Costs
    /// The way up, half a dozen loads for each level, and a look at the bar of its route. Only a request
    /// that is worse than that takes a lock.
    #[cold]
    fn note_worst(&self, info: &Info<'_>, slot: &Slot<LiveContext>, raw: u64) {
        let at = ContextRef {
            id: info.id,
            key: info.key(),
        };
        let asked = self.0.ended_since(at);
        // Relaxed: written before whoever has the context got it.
        let began = slot.live.way.began.load(Ordering::Relaxed);
        let name = info.name.unwrap_or_default();
        self.0.worst.ended(info.id, name, began, raw, asked);
    }
}

/// No more of a tag than an event can hold is kept.
fn cut(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

impl SaidCancel {
    /// The event that says so, now and in every dump until the context is gone.
    pub(crate) fn event(&self, id: u64) -> Event<'_> {
        Event::CtxCancel {
            id,
            kind: self.kind,
            by: self.by,
            loc: self.loc,
            due: self.due,
            message: &self.message,
        }
    }
}

/// The kind of a context in a trace.
fn kind(kind: InfoKind) -> CtxKind {
    match kind {
        InfoKind::Child => CtxKind::Child,
        InfoKind::Deadline => CtxKind::Deadline,
        InfoKind::Shield => CtxKind::Shield,
        InfoKind::Merge => CtxKind::Merge,
        InfoKind::Root => CtxKind::Root,
        _ => CtxKind::Unlisted,
    }
}

/// The kind of a cause in a trace.
fn cause_kind(kind: Kind) -> CauseKind {
    match kind {
        Kind::Cancelled => CauseKind::Cancelled,
        Kind::DeadlineExceeded => CauseKind::DeadlineExceeded,
        Kind::Dropped => CauseKind::Dropped,
        Kind::Panicked => CauseKind::Panicked,
        Kind::SiblingFailed => CauseKind::SiblingFailed,
        Kind::Shutdown => CauseKind::Shutdown,
        Kind::PeerGone => CauseKind::PeerGone,
        Kind::Signal => CauseKind::Signal,
        _ => CauseKind::Custom,
    }
}

impl Observer for Recording {
    /// Told of what is chosen, and of nothing else.
    fn wants(&self, entry: &Entry<'_>) -> bool {
        self.0.sampling.wants(entry)
    }

    /// Where only numbers are wanted the context is none that anybody can ask for.
    fn announced(&self) -> Detail {
        if !self.0.is_counting() {
            return Detail::Each;
        }
        with_local(&self.0, |local| local.cells.context_created());
        usdt::ctx_new(0, 0);
        Detail::Count
    }

    fn counted(&self, what: Counted) {
        with_local(&self.0, |local| local.cells.context_counted(what));
        match what {
            Counted::Ended(kind) => usdt::cancel(0, kind),
            _ => usdt::ctx_end(0),
        }
    }

    /// A context was made: it gets a slot, unless nothing is recorded now.
    fn created(&self, context: &Info<'_>) {
        // Where contexts are counted this one was announced before.
        if self.0.is_recording() && !self.0.is_counting() {
            with_local(&self.0, |local| self.create(local, context));
        }
    }

    /// An end began at a context of this recorder's.
    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        if let Some(found) = self.context(context) {
            with_local(&self.0, |local| {
                self.cancel(local, found, context.id, cause);
            });
        }
    }

    /// Somebody noticed. Told once for each context: the core latches it.
    fn observed(&self, context: &Info<'_>, _cause: &Cause) {
        if self.context(context).is_none() {
            return;
        }
        usdt::ctx_seen(context.id, current_task());
        let event = Event::CtxSeen {
            id: context.id,
            task: current_task().map(|task| task.id),
            how: SeenHow::Unlisted,
            loc: None,
        };
        with_local(&self.0, |local| local.record(self.0.clock.raw(), &event));
    }

    /// The last handle is gone; its slot is free after the event that says so.
    fn ended(&self, context: &Info<'_>) {
        let Some((number, slot)) = self.context(context) else {
            return;
        };
        let raw = self.0.clock.raw();
        if context.is_entry && self.0.worst.is_on() {
            self.note_worst(context, slot, raw);
        }
        let done = with_local(&self.0, |local| {
            let event = Event::CtxEnd {
                id: context.id,
                parent: context.parent,
                loc: context.site.map(|site| local.place(site)),
                name: context.own_name.unwrap_or_default(),
            };
            local.record(raw, &event);
            if let Some(memory) = self.0.memory() {
                memory.end_context(number);
            }
            local.cells.context_gone(slot.live.step().ended.is_some());
            usdt::ctx_end(context.id);
            slot.set_id(0);
            self.0.contexts.give_back(number, &mut local.contexts);
        });
        if done.is_none() {
            // The event is lost, and counted; the context must not live on in every dump.
            if let Some(memory) = self.0.memory() {
                memory.end_context(number);
            }
            self.0.contexts.abandon(number, slot);
        }
    }

    /// It is known elsewhere by this. A label that has no number, because there are too
    /// many, is left out.
    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        let Some((number, slot)) = self.context(context) else {
            return;
        };
        with_local(&self.0, |local| {
            let Some(key) = local.label(key, None) else {
                return;
            };
            let event = Event::CtxTag {
                id: context.id,
                key,
                text: value.into(),
            };
            let raw = self.0.clock.raw();
            local.record(raw, &event);
            let mut said = slot.live.said.lock();
            if said.tags.len() < TAGS_MAX {
                if let Some(memory) = self.0.memory() {
                    memory.say_of_context(number, TraceClock::tick_of(raw), &event);
                }
                said.tags.push((key, cut(value).to_owned()));
            }
        });
    }

    fn vain_deadline(
        &self,
        context: &Info<'_>,
        deadline: Instant,
        site: Option<&'static Location<'static>>,
    ) {
        if self.context(context).is_none() {
            return;
        }
        with_local(&self.0, |local| {
            let event = Event::CtxVain {
                id: context.id,
                loc: site.map(|site| local.place(site)),
                deadline: self.0.clock.ticks_until(deadline),
            };
            local.record(self.0.clock.raw(), &event);
        });
    }

    /// The same recorder hears of the tasks: a task's context and its events belong
    /// together.
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}
