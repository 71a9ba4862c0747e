//! What a task or a context's end waited for, backwards over wakes: run, queue, wait, hop by hop.
//!
//! From the end backwards: while the task ran or was queued, that is the path. Where it waited and
//! another task woke it, what that one did until then is the path, and so on; through the end of a
//! task that somebody joins, through blocking work to who handed it over, through a spawn to who
//! spawned. A wait that a driver, a cancel or a foreign thread ended is on the path itself.
//!
//! # Costs
//! Two ways over the trace: one to find the stretch of time, one over the blocks in it. The second
//! keeps 32 bytes for each poll in that stretch, and stops at [`INTERVALS_MAX`] of them.

use crate::engine::Map;
use crate::json::ns;
use crate::read::{OpenError, Step, Tables, Trace};
use crate::slots::Slots;
use crate::{Place, TaskRef};
use ripcord_trace_format::{Event, WakeBy};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{Read, Seek};
use std::time::Duration;

/// The end of what is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Target {
    /// The task with this id.
    Task(u64),
    /// The context with this id: the last task that works under it.
    Ctx(u64),
}

/// What an end waited for.
///
/// # Examples
/// ```
/// use ripcord_analysis::critical_path::{CriticalPath, HopKind, Target};
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// let bytes = text::parse("\
/// ript 1.0 clock=monotonic shift=0 frequency=1000 process=1 wall=0 program=\"shop\"
/// block events window=0 thread=1 first=0 last=30 events=4
///   +0 task_spawn slot=0 id=5 parent=- ctx=- loc=- bytes=64 name=\"fetch\"
///   +10 poll_start slot=0 seq=0
///   +20 poll_ready
///   +0 task_end slot=0 id=5 outcome=ready parent=- ctx=- loc=- polls=1 busy=20 name=\"fetch\"
/// ")?;
/// let mut trace = Trace::new(Cursor::new(bytes))?;
/// let path = CriticalPath::of(&mut trace, Target::Task(5))?.expect("the task is there");
/// let hops: Vec<_> = path.hops.iter().map(|hop| (hop.kind, hop.time.as_millis())).collect();
/// assert_eq!(hops, [(HopKind::Queue, 10), (HopKind::Run, 20)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limitations
/// A wait is followed to who ended it, not to why that one was late; and a task that was spawned
/// before the trace began is found by its id only once its end was told.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct CriticalPath {
    /// When the path ends, from the beginning of the trace.
    #[serde(serialize_with = "ns")]
    pub ends: Duration,
    /// How long it is.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
    /// The hops, the first in time first, without gaps.
    pub hops: Vec<Hop>,
    /// Whether it had to stop early, because there are too many events or hops.
    pub is_cut: bool,
}

/// A stretch of a [`CriticalPath`].
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Hop {
    /// Whose.
    pub task: TaskRef,
    /// What it did.
    pub kind: HopKind,
    /// When it began, from the beginning of the trace.
    #[serde(serialize_with = "ns")]
    pub from: Duration,
    /// How long it was.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
    /// On what it waited, or in which region it ran.
    pub place: Option<Place>,
    /// Who ended a wait.
    pub woken_by: Option<&'static str>,
}

/// What a task did on the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HopKind {
    /// It was polled, or its blocking work ran.
    Run,
    /// It was runnable, or waited for a thread of the pool.
    Queue,
    /// It waited, and no other task of the trace ended that.
    Wait,
    /// It was ready, and not dropped yet.
    Drop,
    /// Nothing is known.
    Unknown,
}

impl CriticalPath {
    /// The path to the end of a task, or of the last task under a context; `None` if the trace does
    /// not have that.
    ///
    /// # Errors
    /// [`OpenError`]: the input failed.
    pub fn of<R: Read + Seek>(
        trace: &mut Trace<R>,
        target: Target,
    ) -> Result<Option<Self>, OpenError> {
        let begin = trace.span().map_or(0, |(first, _)| first);
        let mut search = Search::new(target);
        trace.events().for_each(|step| search.step(&step))?;
        let Some((id, from, to)) = search.found() else {
            return Ok(None);
        };
        let events = trace.events_in(from..=to);
        let (tables, time) = (events.tables(), events.timeline());
        let mut lines = Lines::new(tables, from);
        events.for_each(|step| lines.step(&step))?;
        let Some(line) = lines.by_id.get(&id).copied() else {
            return Ok(None);
        };
        let mut raw = lines.back(line, from, to);
        raw.reverse();
        let hops = raw.iter().map(|hop| Hop {
            task: lines.all[hop.line].task.clone(),
            kind: hop.kind,
            from: time.duration(begin, hop.from),
            time: time.duration(hop.from, hop.to),
            place: lines.place(hop),
            woken_by: hop.by.map(WakeBy::as_str),
        });
        let first = raw.first().map_or(to, |hop| hop.from);
        Ok(Some(Self {
            ends: time.duration(begin, to),
            time: time.duration(first, to),
            hops: hops.collect(),
            is_cut: lines.is_full || raw.len() >= HOPS_MAX,
        }))
    }
}

/// Finds when a target begins, and which task is its last.
struct Search {
    target: Target,
    ctxs: HashSet<u64, foldhash::fast::RandomState>,
    slots: Slots<u64>,
    members: HashSet<u64, foldhash::fast::RandomState>,
    /// Tasks that work under a context which is not their own, by that.
    guests: Map<u64, u64>,
    begin: Option<u64>,
    last: Option<(u64, u64)>,
}

impl Search {
    fn new(target: Target) -> Self {
        let mut ctxs: HashSet<_, _> = HashSet::default();
        let mut members: HashSet<_, _> = HashSet::default();
        match target {
            Target::Task(id) => members.insert(id),
            Target::Ctx(id) => ctxs.insert(id),
        };
        Self {
            target,
            ctxs,
            slots: Slots::default(),
            members,
            guests: Map::default(),
            begin: None,
            last: None,
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        match step.event {
            Event::CtxCreate { id, parent, .. } => {
                if self.target == Target::Ctx(id) {
                    self.begin.get_or_insert(step.tick);
                } else if parent.is_some_and(|parent| self.ctxs.contains(&parent)) {
                    self.ctxs.insert(id);
                }
            }
            Event::TaskSpawn { slot, id, ctx, .. } => {
                self.slots.insert(slot, id);
                if self.target == Target::Task(id) {
                    self.begin.get_or_insert(step.tick);
                } else if ctx.is_some_and(|ctx| self.ctxs.contains(&ctx)) {
                    self.members.insert(id);
                }
            }
            Event::TaskCtx { slot, ctx } => {
                if let (Target::Ctx(_), Some(id)) = (self.target, self.slots.get(slot).copied()) {
                    let is_in = self.ctxs.contains(&ctx);
                    let was_in = self.members.contains(&id);
                    if is_in {
                        self.members.insert(id);
                        self.guests.insert(ctx, id);
                    } else if was_in {
                        self.over(id, step.tick);
                    }
                }
            }
            // Nobody works under it any more, though a guest tells so at its next poll only.
            Event::CtxEnd { id, .. } => {
                if let Some(guest) = self
                    .guests
                    .remove(&id)
                    .filter(|id| self.members.contains(id))
                {
                    self.over(guest, step.tick);
                }
            }
            Event::TaskEnd { id, .. } if self.members.contains(&id) => self.over(id, step.tick),
            _ => {}
        }
    }

    fn over(&mut self, id: u64, tick: u64) {
        self.members.remove(&id);
        if self.last.is_none_or(|(_, last)| last <= tick) {
            self.last = Some((id, tick));
        }
    }

    /// The task, and from when to when.
    fn found(&self) -> Option<(u64, u64, u64)> {
        let (id, to) = self.last?;
        Some((id, self.begin.unwrap_or(0).min(to), to))
    }
}

/// What a task did between two ticks.
#[derive(Clone, Copy, Debug)]
struct Interval {
    from: u64,
    to: u64,
    kind: HopKind,
    label: Option<u64>,
    by: Option<WakeBy>,
    /// Who ended a wait, if a task or a job of the trace did.
    waker: Option<usize>,
}

/// One task or job in the stretch of time.
#[derive(Debug)]
struct Line {
    task: TaskRef,
    parent: Option<u64>,
    since: u64,
    kind: HopKind,
    label: Option<u64>,
    has_spawn: bool,
    woken: Option<(WakeBy, Option<usize>)>,
    done: Vec<Interval>,
}

/// All of them.
struct Lines<'t> {
    tables: &'t Tables,
    from: u64,
    all: Vec<Line>,
    by_id: Map<u64, usize>,
    slots: Slots<usize>,
    /// What runs on each thread; jobs as well.
    running: Map<u32, Vec<usize>>,
    intervals: usize,
    is_full: bool,
}

impl<'t> Lines<'t> {
    fn new(tables: &'t Tables, from: u64) -> Self {
        Self {
            tables,
            from,
            all: Vec::new(),
            by_id: Map::default(),
            slots: Slots::default(),
            running: Map::default(),
            intervals: 0,
            is_full: false,
        }
    }

    fn line(&mut self, task: TaskRef, parent: Option<u64>, tick: u64, is_told: bool) -> usize {
        if let Some(known) = task.id.and_then(|id| self.by_id.get(&id)) {
            return *known;
        }
        if let Some(id) = task.id {
            self.by_id.insert(id, self.all.len());
        }
        self.all.push(Line {
            task,
            parent,
            since: tick,
            kind: if is_told {
                HopKind::Queue
            } else {
                HopKind::Unknown
            },
            label: None,
            has_spawn: is_told,
            woken: None,
            done: Vec::new(),
        });
        self.all.len() - 1
    }

    fn task_ref(&self, id: u64, name: &str, loc: Option<u64>, is_job: bool) -> TaskRef {
        TaskRef {
            id: Some(id),
            name: (!name.is_empty()).then(|| name.into()),
            location: loc.and_then(|loc| self.tables.location(loc)).cloned(),
            is_job,
        }
    }

    /// The line of a slot; a new one if the spawn is before the stretch.
    fn in_slot(&mut self, slot: u64) -> usize {
        if let Some(line) = self.slots.get(slot) {
            return *line;
        }
        let line = self.line(TaskRef::default(), None, self.from, false);
        self.slots.insert(slot, line);
        line
    }

    fn step(&mut self, step: &Step<'_>) {
        let tick = step.tick;
        match step.event {
            Event::TaskSpawn {
                slot,
                id,
                parent,
                loc,
                name,
                ..
            } => {
                let task = self.task_ref(id, name, loc, false);
                let line = self.line(task, parent, tick, true);
                self.slots.insert(slot, line);
            }
            Event::PollStart { slot, .. } => {
                let line = self.in_slot(slot);
                self.turn(line, tick, HopKind::Run, None);
                self.running.entry(step.thread).or_default().push(line);
            }
            Event::PollPending { label } | Event::PollListening { label } => {
                self.poll_end(step, HopKind::Wait, label);
            }
            Event::PollYield {} | Event::PollPreempt {} => {
                self.poll_end(step, HopKind::Queue, None);
            }
            Event::PollReady {} => self.poll_end(step, HopKind::Drop, None),
            Event::PollLost {} => self.poll_end(step, HopKind::Wait, None),
            Event::Wake {
                slot, by, waker, ..
            } => self.wake(tick, slot, by, waker),
            Event::RegionBegin { label } => {
                let running = self
                    .running
                    .get(&step.thread)
                    .and_then(|lines| lines.last());
                if let Some(line) = running.copied() {
                    self.all[line].label = Some(label);
                }
            }
            _ => self.end_or_job(step),
        }
    }

    fn end_or_job(&mut self, step: &Step<'_>) {
        match step.event {
            Event::TaskEnd {
                slot,
                id,
                parent,
                loc,
                name,
                ..
            } => {
                let line = self.in_slot(slot);
                if self.all[line].task.id.is_none() {
                    self.all[line].task = self.task_ref(id, name, loc, false);
                    self.all[line].parent = parent;
                    self.by_id.insert(id, line);
                }
                if let Some(line) = self.by_id.get(&id).copied() {
                    self.turn(line, step.tick, HopKind::Unknown, None);
                }
            }
            Event::JobQueued {
                job,
                parent,
                loc,
                name,
                ..
            } => {
                let task = self.task_ref(job, name, loc, true);
                self.line(task, parent, step.tick, true);
            }
            Event::JobStart { job } => {
                if let Some(line) = self.by_id.get(&job).copied() {
                    self.turn(line, step.tick, HopKind::Run, None);
                    self.running.insert(step.thread, vec![line]);
                }
            }
            Event::JobEnd { job, .. } => {
                if let Some(line) = self.by_id.get(&job).copied() {
                    self.turn(line, step.tick, HopKind::Unknown, None);
                }
            }
            _ => {}
        }
    }

    fn poll_end(&mut self, step: &Step<'_>, kind: HopKind, label: Option<u64>) {
        let Some(line) = self.running.get_mut(&step.thread).and_then(Vec::pop) else {
            return;
        };
        let is_woken = self.all[line].woken.is_some();
        let kind = if is_woken { HopKind::Queue } else { kind };
        self.turn(line, step.tick, kind, label);
    }

    fn wake(&mut self, tick: u64, slot: u64, by: WakeBy, waker: Option<u64>) {
        let line = self.in_slot(slot);
        let waker = match by {
            WakeBy::Task | WakeBy::Completion => {
                waker.and_then(|slot| self.slots.get(slot)).copied()
            }
            WakeBy::Blocking => waker
                .and_then(|thread| u32::try_from(thread).ok())
                .and_then(|thread| self.running.get(&thread)?.last())
                .copied(),
            _ => None,
        };
        let entry = &mut self.all[line];
        entry.woken.get_or_insert((by, waker));
        if matches!(entry.kind, HopKind::Wait | HopKind::Unknown) {
            self.turn(line, tick, HopKind::Queue, None);
        }
    }

    /// A line goes on to something else.
    fn turn(&mut self, line: usize, tick: u64, kind: HopKind, label: Option<u64>) {
        if self.intervals >= INTERVALS_MAX {
            self.is_full = true;
            return;
        }
        let entry = &mut self.all[line];
        let tick = tick.max(entry.since);
        let is_wait = entry.kind == HopKind::Wait;
        let woken = entry.woken.filter(|_| is_wait);
        if tick > entry.since {
            self.intervals += 1;
            entry.done.push(Interval {
                from: entry.since,
                to: tick,
                kind: entry.kind,
                label: entry.label,
                by: woken.map(|(by, _)| by),
                waker: woken.and_then(|(_, waker)| waker),
            });
        }
        (entry.since, entry.kind, entry.label) = (tick, kind, label);
        if kind == HopKind::Run {
            entry.woken = None;
        }
    }

    /// The path, the last hop first.
    fn back(&self, mut line: usize, from: u64, to: u64) -> Vec<RawHop> {
        let mut hops: Vec<RawHop> = Vec::new();
        let mut at = to;
        // Jumps between tasks take no time, and a hostile trace may have a ring of them.
        for _ in 0..HOPS_MAX {
            let entry = &self.all[line];
            let found = entry.done.partition_point(|done| done.from < at);
            let Some(done) = found.checked_sub(1).map(|found| entry.done[found]) else {
                // Before its spawn, the path is that of who spawned it.
                match entry.parent.and_then(|parent| self.by_id.get(&parent)) {
                    Some(parent) if entry.has_spawn && *parent != line => line = *parent,
                    _ => break,
                }
                continue;
            };
            let begin = done.from.max(from);
            let hop = |from, kind| RawHop {
                line,
                from,
                to: at,
                kind,
                label: done.label,
                by: done.by,
            };
            if done.to < at {
                // What it did then is not known: it was not over, or events are lost.
                let begin = done.to.max(from);
                hops.push(hop(begin, HopKind::Unknown));
                at = begin;
            } else if let Some(waker) = done.waker.filter(|waker| *waker != line && done.to == at) {
                line = waker;
            } else {
                hops.push(hop(begin, done.kind));
                at = begin;
            }
            if at <= from {
                break;
            }
        }
        hops
    }

    fn place(&self, hop: &RawHop) -> Option<Place> {
        let what = self.tables.label(hop.label?)?;
        let own = self.tables.label_location(hop.label?);
        let spawn = || self.all[hop.line].task.location.clone();
        Some(Place {
            what: Some(what.clone()),
            location: own.cloned().or_else(spawn),
            is_spawn: own.is_none(),
            function: None,
        })
    }
}

/// A hop in ticks.
struct RawHop {
    line: usize,
    from: u64,
    to: u64,
    kind: HopKind,
    label: Option<u64>,
    by: Option<WakeBy>,
}

/// Polls and waits that are kept in memory at most.
pub const INTERVALS_MAX: usize = 4_000_000;
/// A path of so many hops is no answer.
const HOPS_MAX: usize = 100_000;
