//! Which columns the tables have, and what stands in them.

use super::column::{Cell, Kind};
use crate::export::follow::{Follow, Poll, PollEnd};
use crate::export::lives::{CtxLife, TaskLife};
use crate::read::{Origin, Step, Tables, Timeline};
use ripcord_trace_format::{CtxKind, Event, Outcome};

/// The columns of a table, by its number in [`TABLES`](super::TABLES).
pub(super) const fn columns(table: usize) -> &'static [(&'static str, Kind)] {
    match table {
        0 => EVENTS,
        1 => POLLS,
        2 => TASKS,
        _ => CONTEXTS,
    }
}

const EVENTS: &[(&str, Kind)] = &[
    ("at", Kind::Wall),
    ("time_ns", Kind::Number),
    ("thread", Kind::Number),
    // `thread`, `registry` or `window`: what the registry tells may be told twice.
    ("origin", Kind::Text),
    ("type", Kind::Text),
    // Of the event; where it has none, the one that runs on its thread.
    ("task", Kind::Number),
    ("context", Kind::Number),
    ("location", Kind::Text),
    ("label", Kind::Text),
    ("text", Kind::Text),
];

const POLLS: &[(&str, Kind)] = &[
    ("task", Kind::Number),
    ("thread", Kind::Number),
    ("begin_ns", Kind::Number),
    ("duration_ns", Kind::Number),
    ("outcome", Kind::Text),
    ("label", Kind::Text),
    ("woken_ns", Kind::Number),
    ("woken_by", Kind::Text),
    // From the wake to the poll.
    ("queued_ns", Kind::Number),
];

const TASKS: &[(&str, Kind)] = &[
    ("task", Kind::Number),
    ("is_job", Kind::Truth),
    ("name", Kind::Text),
    ("location", Kind::Text),
    ("parent", Kind::Number),
    ("context", Kind::Number),
    ("begin_ns", Kind::Number),
    ("end_ns", Kind::Number),
    ("outcome", Kind::Text),
    ("polls", Kind::Number),
    ("busy_ns", Kind::Number),
];

const CONTEXTS: &[(&str, Kind)] = &[
    ("context", Kind::Number),
    ("parent", Kind::Number),
    ("kind", Kind::Text),
    ("name", Kind::Text),
    ("location", Kind::Text),
    ("begin_ns", Kind::Number),
    ("end_ns", Kind::Number),
    // From its beginning, where it has one of its own.
    ("deadline_ns", Kind::Signed),
    ("cancel_ns", Kind::Number),
    ("cancel_kind", Kind::Text),
    ("cancel_message", Kind::Text),
    ("cancelled_by", Kind::Number),
    // Positive where the end came late.
    ("late_ns", Kind::Signed),
    ("seen_ns", Kind::Number),
    ("seen_by", Kind::Number),
    ("request_id", Kind::Text),
    ("trace_id", Kind::Text),
];

/// Makes rows of what has happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'t> {
    pub(super) tables: &'t Tables,
    pub(super) time: &'t Timeline,
}

impl Rows<'_> {
    pub(super) fn event(&self, step: &Step<'_>, follow: &Follow) -> [Cell; 10] {
        let subject = Subject::of(&step.event, follow);
        let running = follow.running(step.thread);
        let origin = match step.origin {
            Origin::Thread => "thread",
            Origin::Registry => "registry",
            Origin::Window => "window",
        };
        [
            self.time.wall_nanos(step.tick).into(),
            self.time.nanos(step.tick).into(),
            u64::from(step.thread).into(),
            origin.into(),
            step.event.name().into(),
            subject.task.or(running).into(),
            subject.ctx.into(),
            self.place(subject.loc),
            self.label(subject.label),
            subject.text.filter(|text| !text.is_empty()).into(),
        ]
    }

    pub(super) fn poll(&self, poll: &Poll, end: PollEnd, at: u64) -> [Cell; 9] {
        let begun = self.time.nanos(poll.begun);
        let woken = poll.woken.map(|woken| self.time.nanos(woken.tick));
        [
            poll.task.into(),
            u64::from(poll.thread).into(),
            begun.into(),
            self.time.nanos(at).saturating_sub(begun).into(),
            end.as_str().into(),
            self.label(end.label()),
            woken.into(),
            poll.woken.map(|woken| woken.by.as_str()).into(),
            woken.map(|woken| begun.saturating_sub(woken)).into(),
        ]
    }

    pub(super) fn task(&self, life: &TaskLife) -> [Cell; 11] {
        let about = &life.about;
        [
            about.id.into(),
            life.is_job.into(),
            text(&about.name),
            self.place(about.loc),
            about.parent.into(),
            about.ctx.into(),
            self.instant(life.begun),
            self.instant(life.ended),
            life.outcome.map(Outcome::as_str).into(),
            life.polls.into(),
            life.busy
                .map(|ticks| self.long(life.ended.unwrap_or(0), ticks))
                .into(),
        ]
    }

    pub(super) fn context(&self, life: &CtxLife) -> [Cell; 17] {
        let cancel = life.cancel.as_ref();
        let tag = |name: &str| {
            let is_it = |key: u64| self.tables.label(key).is_some_and(|text| &**text == name);
            let found = life.tags.iter().find(|(key, _)| is_it(*key));
            Cell::from(found.map(|(_, text)| text.as_str()))
        };
        [
            life.id.into(),
            life.parent.into(),
            life.kind.map(CtxKind::as_str).into(),
            text(&life.name),
            self.place(life.loc),
            self.instant(life.begun),
            self.instant(life.ended),
            life.deadline
                .zip(life.begun)
                .map(|(ticks, begun)| self.moved(begun, ticks))
                .into(),
            self.instant(cancel.map(|cancel| cancel.tick)),
            cancel.map(|cancel| cancel.kind.as_str()).into(),
            cancel.map_or(Cell::Null, |cancel| text(&cancel.message)),
            cancel.and_then(|cancel| cancel.by).into(),
            cancel
                .and_then(|cancel| Some(self.moved(cancel.tick, cancel.due?).saturating_neg()))
                .into(),
            self.instant(life.seen.map(|seen| seen.tick)),
            life.seen.and_then(|seen| seen.task).into(),
            tag("request.id"),
            tag("trace.id"),
        ]
    }

    fn instant(&self, tick: Option<u64>) -> Cell {
        tick.map(|tick| self.time.nanos(tick)).into()
    }

    /// Nanoseconds of so many ticks before an instant.
    fn long(&self, until: u64, ticks: u64) -> u64 {
        let from = until.saturating_sub(ticks);
        let long = self.time.duration(from, from.saturating_add(ticks));
        u64::try_from(long.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds from an instant to one so many ticks away.
    fn moved(&self, from: u64, ticks: i64) -> i64 {
        let to = self.time.nanos(from.saturating_add_signed(ticks));
        let moved = i128::from(to) - i128::from(self.time.nanos(from));
        i64::try_from(moved).unwrap_or(if moved < 0 { i64::MIN } else { i64::MAX })
    }

    fn place(&self, loc: Option<u64>) -> Cell {
        let place = loc.and_then(|loc| self.tables.location(loc));
        place
            .map(|place| format!("{}:{}:{}", place.file, place.line, place.column))
            .into()
    }

    fn label(&self, label: Option<u64>) -> Cell {
        let text = label.and_then(|label| self.tables.label(label));
        text.map(|text| &**text).into()
    }
}

/// Nothing is null.
fn text(text: &str) -> Cell {
    Some(text).filter(|text| !text.is_empty()).into()
}

/// What an event is about.
#[derive(Default)]
struct Subject<'a> {
    task: Option<u64>,
    ctx: Option<u64>,
    loc: Option<u64>,
    label: Option<u64>,
    text: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(event: &'a Event<'_>, follow: &Follow) -> Self {
        let task = |task| Self {
            task: Some(task),
            ..Self::default()
        };
        match *event {
            // One line for each, so that they can be compared with the event table.
            #[rustfmt::skip]
            Event::TaskSpawn { id, ctx, loc, name, .. }
            | Event::TaskEnd { id, ctx, loc, name, .. }
            | Event::JobQueued { job: id, ctx, loc, name, .. }
            | Event::JobEnd { job: id, ctx, loc, name, .. } => Self {
                ctx, loc, text: Some(name), ..task(id)
            },
            Event::PollStart { slot, .. } | Event::Wake { slot, .. } => task(follow.task(slot)),
            Event::TaskCtx { slot, ctx } => Self {
                ctx: Some(ctx),
                ..task(follow.task(slot))
            },
            Event::JobStart { job } => task(job),
            Event::Stack { task: id, text, .. } => Self {
                text: Some(text),
                ..task(id)
            },
            Event::Stall { slot, .. } => Self {
                task: slot.map(|slot| follow.task(slot)),
                ..Self::default()
            },
            _ => Self::of_other(event),
        }
    }

    /// Events of contexts, and those with a text or a label alone.
    fn of_other(event: &'a Event<'_>) -> Self {
        let none = Self::default();
        match *event {
            #[rustfmt::skip]
            Event::CtxCreate { id, loc, name: text, .. }
            | Event::CtxEnd { id, loc, name: text, .. } => Self {
                ctx: Some(id), loc, text: Some(text), ..none
            },
            #[rustfmt::skip]
            Event::CtxCancel { id, by, loc, message, .. } => Self {
                task: by, ctx: Some(id), loc, text: Some(message), ..none
            },
            #[rustfmt::skip]
            Event::CtxSeen { id, task, loc, .. } => Self {
                task, ctx: Some(id), loc, ..none
            },
            #[rustfmt::skip]
            Event::CtxTag { id, key, ref text } => Self {
                ctx: Some(id), label: Some(key), text: Some(text), ..none
            },
            #[rustfmt::skip]
            Event::CtxVain { id, loc, .. } => Self {
                ctx: Some(id), loc, ..none
            },
            Event::PollPending { label } | Event::PollListening { label } => Self { label, ..none },
            Event::RegionBegin { label } | Event::Metric { label, .. } => Self {
                label: Some(label),
                ..none
            },
            Event::Log { text } | Event::ThreadStart { name: text, .. } => Self {
                text: Some(text),
                ..none
            },
            Event::UserTaskBegin { name, .. } => Self {
                text: Some(name),
                ..none
            },
            _ => none,
        }
    }
}
