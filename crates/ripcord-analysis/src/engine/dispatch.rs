//! Which event concerns what.

use super::budgets::Budgets;
use super::names::Names;
use super::slab::Slab;
use super::state::{Ctx, Incident, Stage, Task};
use super::tally::Tally;
use crate::analysis::Kept;
use crate::read::{Orphan, OrphanKind, Step, Tables, Timeline};
use crate::slots::Slots;
use crate::{Options, Place, Select};
use ripcord_trace_format::{Event, WakeBy};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Everything that is known at one point of the trace.
pub(crate) struct Engine<'t> {
    pub(crate) tables: &'t Tables,
    pub(crate) timeline: &'t Timeline,
    pub(crate) limits: Limits,
    pub(crate) selected: Vec<Select>,
    pub(crate) names: Names,
    pub(crate) tasks: Slab<Task>,
    /// Tasks by slot.
    pub(super) slots: Slots<u32>,
    /// Tasks and jobs by id.
    pub(super) task_ids: Map<u64, u32>,
    pub(crate) ctxs: Slab<Ctx>,
    pub(super) ctx_ids: Map<u64, u32>,
    pub(super) incidents: Slab<Incident>,
    /// Own deadlines that may end a context: tick, context, its id.
    pub(super) deadlines: BinaryHeap<Reverse<(u64, u32, u64)>>,
    pub(super) threads: Map<u32, Thread>,
    pub(crate) tally: Tally,
    pub(crate) kept: Kept,
    pub(crate) budgets: Budgets,
    /// Where tasks had waited whose stack had its names only after their end, by id.
    pub(crate) late_stacks: HashMap<u64, Place>,
    pub(crate) begin: u64,
    pub(crate) now: u64,
    /// What a hostile trace may cost beyond its own length: contexts that are looked at for ends.
    pub(super) visits: u64,
}

/// The thresholds, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) late: u64,
    pub(crate) long_poll: u64,
    pub(crate) leak: u64,
    pub(crate) worst: usize,
    pub(crate) listed: usize,
}

/// What runs, and what ran lately, on a thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Tasks that are polled, the innermost last.
    pub(super) polls: Vec<u32>,
    pub(super) ran: VecDeque<Ran>,
}

/// A poll that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) task: Option<u64>,
    pub(super) site: u32,
    pub(super) region: Option<u64>,
}

impl<'t> Engine<'t> {
    pub(crate) fn new(
        tables: &'t Tables,
        timeline: &'t Timeline,
        begin: u64,
        options: &Options,
    ) -> Self {
        Self {
            tables,
            timeline,
            limits: Limits {
                late: timeline.ticks(options.late_min),
                long_poll: timeline.ticks(options.long_poll),
                leak: timeline.ticks(options.leak_age),
                worst: options.worst,
                listed: options.listed,
            },
            selected: options.selected.clone(),
            names: Names::default(),
            tasks: Slab::default(),
            slots: Slots::default(),
            task_ids: Map::default(),
            ctxs: Slab::default(),
            ctx_ids: Map::default(),
            incidents: Slab::default(),
            deadlines: BinaryHeap::new(),
            threads: Map::default(),
            tally: Tally::default(),
            kept: Kept::default(),
            budgets: Budgets::default(),
            late_stacks: HashMap::new(),
            begin,
            now: begin,
            visits: VISITS_FREE,
        }
    }

    /// Takes in what was there before the first event; contexts come first.
    pub(crate) fn begin_with(&mut self, orphans: &[Orphan]) {
        for orphan in orphans {
            let name = self.names.number(&orphan.name);
            let slot = match orphan.kind {
                OrphanKind::Ctx => {
                    self.ctx_before(orphan, name);
                    continue;
                }
                OrphanKind::Task(slot) => slot,
                OrphanKind::Job => u64::MAX,
            };
            let is_job = orphan.kind == OrphanKind::Job;
            // Of several in one slot, the first that ends had it; the spawns of the others are lost.
            if !is_job && self.slots.get(slot).is_some() {
                continue;
            }
            let mut task = Task::new(slot, self.begin);
            (task.id, task.parent, task.loc) = (Some(orphan.id), orphan.parent, orphan.loc);
            (task.name, task.own_ctx, task.is_job) = (name, orphan.ctx, is_job);
            self.spawn(task);
        }
    }

    /// Takes one event in.
    #[inline]
    pub(crate) fn step(&mut self, step: &Step<'_>) {
        self.tally.events += 1;
        self.visits = self.visits.saturating_add(VISITS_PER_EVENT);
        self.pass_deadlines(step.tick);
        self.now = self.now.max(step.tick);
        match step.event {
            Event::PollStart { slot, .. } => self.poll_start(step.tick, step.thread, slot),
            Event::Wake {
                slot, by, waker, ..
            } => self.wake(step.tick, slot, by, waker),
            Event::PollPending { .. }
            | Event::PollListening { .. }
            | Event::PollYield {}
            | Event::PollPreempt {}
            | Event::PollReady {}
            | Event::PollLost {} => self.poll_end(step.tick, step.thread, &step.event),
            Event::TaskSpawn { .. }
            | Event::TaskEnd { .. }
            | Event::TaskCtx { .. }
            | Event::TaskLost { .. } => {
                self.task_event(step);
            }
            Event::CtxCreate { .. }
            | Event::CtxCancel { .. }
            | Event::CtxSeen { .. }
            | Event::CtxEnd { .. }
            | Event::CtxTag { .. }
            | Event::CtxVain { .. } => self.ctx_event(step),
            Event::JobQueued { .. } | Event::JobStart { .. } | Event::JobEnd { .. } => {
                self.job_event(step);
            }
            _ => self.other_event(step),
        }
    }

    fn task_event(&mut self, step: &Step<'_>) {
        match step.event {
            Event::TaskSpawn {
                slot,
                id,
                parent,
                ctx,
                loc,
                bytes,
                name,
            } => {
                let name = self.names.number(name);
                let mut task = Task::new(slot, step.tick);
                task.id = Some(id);
                (task.parent, task.loc, task.name) = (parent, loc, name);
                (task.own_ctx, task.bytes) = (ctx, bytes);
                (task.has_spawn, task.stage) = (true, Stage::Fresh);
                self.spawn(task);
            }
            Event::TaskEnd { slot, id, .. } => self.task_end(step, slot, id),
            Event::TaskCtx { slot, ctx } => {
                let ctx = self.ctx_of(ctx, step.tick);
                let task = self.task_in(slot, step.tick);
                self.enter(task, ctx, step.tick);
            }
            Event::TaskLost { slot } => self.task_lost(step.tick, slot),
            _ => {}
        }
    }

    fn job_event(&mut self, step: &Step<'_>) {
        match step.event {
            Event::JobQueued {
                job,
                parent,
                ctx,
                loc,
                name,
            } => {
                let name = self.names.number(name);
                let mut task = Task::new(u64::MAX, step.tick);
                task.id = Some(job);
                task.is_job = true;
                (task.parent, task.loc, task.name) = (parent, loc, name);
                (task.own_ctx, task.has_spawn, task.stage) = (ctx, true, Stage::Fresh);
                self.spawn(task);
            }
            Event::JobStart { job } => self.job_start(step.tick, step.thread, job),
            Event::JobEnd { .. } => self.job_end(step),
            _ => {}
        }
    }

    fn ctx_event(&mut self, step: &Step<'_>) {
        let tick = step.tick;
        match step.event {
            Event::CtxCreate { .. } => self.ctx_create(step),
            Event::CtxCancel { .. } => self.ctx_cancel(step),
            Event::CtxSeen { id, task, how, .. } => self.ctx_seen(tick, id, task, how),
            Event::CtxEnd {
                id,
                parent,
                loc,
                name,
            } => self.ctx_end(tick, id, parent, loc, name),
            Event::CtxTag { id, key, text } => self.ctx_tag(tick, id, key, &text),
            Event::CtxVain { id, loc, deadline } => self.vain(tick, id, loc, deadline),
            _ => {}
        }
    }

    fn other_event(&mut self, step: &Step<'_>) {
        match step.event {
            Event::RegionBegin { label } => self.region(step.thread, Some(label)),
            Event::RegionEnd {} => self.region(step.thread, None),
            Event::Dropped { .. } => self.lose(step.tick, step.thread),
            Event::Stack {
                task, leaf, text, ..
            } => self.stack(task, leaf, text),
            Event::Stall { slot, ticks } => {
                let task = slot.and_then(|slot| self.slots.get(slot)).copied();
                self.stall(step, task, ticks);
            }
            _ => {}
        }
    }

    /// Everything is over: what is open is closed where the trace ends.
    pub(crate) fn finish(&mut self) {
        // A deadline beyond the last event has not passed.
        self.pass_deadlines(self.now);
        for key in self.tasks.keys() {
            self.leave_alive(key);
        }
        for key in self.incidents.keys() {
            self.close_empty(key);
        }
        self.leave_hops();
    }

    pub(super) fn text(&self, name: u32) -> Option<Arc<str>> {
        self.names.text(name).cloned()
    }
}

/// The place of a waker among the counts.
pub(super) fn waker_at(by: WakeBy) -> usize {
    let last = super::state::WAKERS - 1;
    usize::try_from(by.number()).unwrap_or(last).min(last)
}

const VISITS_FREE: u64 = 1 << 20;
const VISITS_PER_EVENT: u64 = 64;
