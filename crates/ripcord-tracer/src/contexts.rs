//! The recorder as an observer of contexts.

use crate::clock::TraceClock;
use crate::local::{Local, with_local};
use crate::recorder::Recording;
use crate::slots::Slot;
use crate::sync::Mutex;
use crate::tasks::{key_of, number_of};
use ripcord_core::tasks::{ContextRef, TaskObserver, current_task};
use ripcord_core::{Cause, Info, InfoKind, Kind, Observer};
use ripcord_trace_format::{CauseKind, CtxKind, Event, SeenHow, TEXT_BYTES_MAX};
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// What is kept of a context while it lives.
#[derive(Default)]
pub(crate) struct LiveContext(Mutex<SaidContext>);

/// What was said of a context, to be said again in a dump.
#[derive(Clone, Default)]
pub(crate) struct SaidContext {
    pub(crate) tick: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) parent_key: u64,
    pub(crate) kind: u64,
    pub(crate) loc: Option<u64>,
    pub(crate) deadline: Option<i64>,
    pub(crate) name: String,
    pub(crate) cancel: Option<SaidCancel>,
    pub(crate) tags: Vec<(u64, String)>,
}

/// How a context ended.
#[derive(Clone)]
pub(crate) struct SaidCancel {
    pub(crate) tick: u64,
    pub(crate) kind: CauseKind,
    pub(crate) by: Option<u64>,
    pub(crate) loc: Option<u64>,
    pub(crate) due: Option<i64>,
    pub(crate) message: String,
}

/// A context keeps so many tags for a dump; later ones stand in the ring alone.
const TAGS_MAX: usize = 8;

impl LiveContext {
    pub(crate) fn said(&self) -> SaidContext {
        self.0.lock().clone()
    }
}

impl Recording {
    fn context(&self, info: &Info<'_>) -> Option<(u32, &Slot<LiveContext>)> {
        let number = number_of(info.key())?;
        Some((number, self.0.contexts.find(number, info.id)?))
    }

    /// Below a root that is recorded everything is. Where all is recorded, also what hangs from
    /// something that was made before.
    fn is_chosen(&self, info: &Info<'_>) -> bool {
        let one_in = self.0.one_in();
        match info.parent {
            _ if one_in <= 1 => one_in == 1,
            Some(id) => {
                let key = info.parent_key();
                self.0.find_context(ContextRef { id, key }).is_some()
            }
            None => spread(info.id).is_multiple_of(one_in),
        }
    }

    fn create(&self, local: &mut Local, info: &Info<'_>) {
        let Some((number, slot)) = self.0.contexts.take(&mut local.contexts) else {
            self.0.note_unplaced();
            return;
        };
        let raw = self.0.clock.raw();
        let deadline = info
            .own_deadline
            .map(|at| self.0.clock.ticks_between(info.created, at));
        let kind = kind(info.kind);
        let loc = info.site.map(|site| local.place(site));
        let name = info.own_name.unwrap_or_default();
        let mut said = slot.live.0.lock();
        let mut text = std::mem::take(&mut said.name);
        text.clear();
        text.push_str(name);
        *said = SaidContext {
            tick: TraceClock::tick_of(raw),
            parent: info.parent,
            parent_key: info.parent_key(),
            kind: kind.number(),
            loc,
            deadline,
            name: text,
            ..SaidContext::default()
        };
        drop(said);
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
        local.record(raw, &event);
    }

    fn cancel(&self, local: &mut Local, slot: &Slot<LiveContext>, id: u64, cause: &Cause) {
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
        // A guard that goes away is the ordinary end.
        if said.kind != CauseKind::Dropped {
            self.0.ends.note(id, raw);
        }
        slot.live.0.lock().cancel = Some(said);
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

/// Ids come one after the other, and roots may take every third: the product takes them apart.
fn spread(id: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

impl SaidCancel {
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
    fn created(&self, context: &Info<'_>) {
        if self.is_chosen(context) {
            with_local(&self.0, |local| self.create(local, context));
        }
    }

    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        if let Some((_, slot)) = self.context(context) {
            with_local(&self.0, |local| {
                self.cancel(local, slot, context.id, cause);
            });
        }
    }

    fn observed(&self, context: &Info<'_>, _cause: &Cause) {
        if self.context(context).is_none() {
            return;
        }
        let event = Event::CtxSeen {
            id: context.id,
            task: current_task().map(|task| task.id),
            how: SeenHow::Unlisted,
            loc: None,
        };
        with_local(&self.0, |local| local.record(self.0.clock.raw(), &event));
    }

    fn ended(&self, context: &Info<'_>) {
        let Some((number, slot)) = self.context(context) else {
            return;
        };
        with_local(&self.0, |local| {
            let event = Event::CtxEnd {
                id: context.id,
                parent: context.parent,
                loc: context.site.map(|site| local.place(site)),
                name: context.own_name.unwrap_or_default(),
            };
            local.record(self.0.clock.raw(), &event);
            slot.set_id(0);
            self.0.contexts.give_back(number, &mut local.contexts);
        });
    }

    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        let Some((_, slot)) = self.context(context) else {
            return;
        };
        with_local(&self.0, |local| {
            let Some(key) = local.label(key) else {
                return;
            };
            let event = Event::CtxTag {
                id: context.id,
                key,
                text: value,
            };
            local.record(self.0.clock.raw(), &event);
            let mut said = slot.live.0.lock();
            if said.tags.len() < TAGS_MAX {
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

    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}
