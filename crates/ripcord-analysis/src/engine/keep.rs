//! From what the engine knows to what users get: numbers become names, and ticks become time.

use super::dispatch::Engine;
use super::state::{Ctx, End, Incident, Lane, Stage, Task, WAKERS, What};
use super::tally::Sum;
use crate::contexts::{CtxRow, EndRow, Owner};
use crate::read::Location;
use crate::waterfall::{AtEnd, Behind, Heard, LateEnd, Phase, Segment};
use crate::{Place, Stat, TaskRef, TaskRow};
use ripcord_trace_format::{Outcome, WakeBy};
use std::time::Duration;

impl Engine<'_> {
    /// The time of a tick, from the beginning of the trace.
    pub(crate) fn at(&self, tick: u64) -> Duration {
        self.timeline.duration(self.begin, tick)
    }

    pub(crate) fn stat(&self, sum: Sum) -> Stat {
        Stat {
            count: sum.count,
            total: self.timeline.span(sum.total),
            max: self.timeline.span(sum.max),
        }
    }

    pub(crate) fn location(&self, loc: Option<u64>) -> Option<Location> {
        loc.and_then(|loc| self.tables.location(loc)).cloned()
    }

    pub(crate) fn site_ref(&self, site: u32) -> TaskRef {
        let (loc, name) = self.tally.site_key(site);
        TaskRef {
            id: None,
            name: self.text(name),
            location: self.location(loc),
            is_job: self.tally.is_job(site),
        }
    }

    pub(super) fn task_ref(&self, task: &Task) -> TaskRef {
        TaskRef {
            id: task.id,
            name: self.text(task.name),
            location: self.location(task.loc),
            is_job: task.is_job,
        }
    }

    /// The task or job with this id; by its id alone if it is not known.
    pub(super) fn task_named(&self, id: Option<u64>) -> Option<TaskRef> {
        let task = self.task_ids.get(&id?).and_then(|key| self.tasks.get(*key));
        Some(task.map_or_else(
            || TaskRef {
                id,
                ..TaskRef::default()
            },
            |task| self.task_ref(task),
        ))
    }

    /// Keeps the life of a task, as long as there is room.
    pub(super) fn list_task(&mut self, task: &Task, ended: Option<u64>, outcome: Option<Outcome>) {
        if self.kept.tasks.len() >= self.limits.listed {
            self.kept.tasks_left_out += 1;
            return;
        }
        let is_waiting = matches!(task.stage, Stage::Waiting | Stage::Lost);
        let row = TaskRow {
            task: self.task_ref(task),
            parent: task.parent,
            ctx: task.own_ctx,
            bytes: task.bytes,
            spawned: self.at(task.spawned),
            has_spawn: task.has_spawn,
            ended: ended.map(|tick| self.at(tick)),
            outcome: ended.map(|_| outcome.map_or("lost", Outcome::as_str)),
            polls: task.polls,
            busy: self.timeline.span(task.busy),
            waited: self.timeline.span(task.waited),
            queued: self.timeline.span(task.queued),
            longest_poll: self.timeline.span(task.longest_poll),
            wakes: wakers(&task.wakes),
            stage: ended.is_none().then(|| stage_name(task.stage)),
            place: (ended.is_none() && is_waiting).then(|| self.wait_place(task)),
        };
        self.kept.tasks.push(row);
    }

    /// A watcher tells of a stuck worker, again and again while it is.
    pub(super) fn stall(&mut self, step: &crate::read::Step<'_>, task: Option<u32>, ticks: u64) {
        if self.kept.stalls.len() >= self.limits.listed {
            return;
        }
        let task = task.and_then(|task| self.tasks.get(task));
        let region = task.and_then(|task| task.regions.last());
        let stall = crate::reports::Stall {
            at: self.at(step.tick),
            task: task.map(|task| self.task_ref(task)),
            region: region.and_then(|label| self.tables.label(*label)).cloned(),
            time: self.timeline.span(ticks),
        };
        self.kept.stalls.push(stall);
    }

    fn ctx_row(&self, ctx: &Ctx) -> CtxRow {
        let budget = |deadline: u64| self.timeline.duration(ctx.created, deadline);
        let owner = (ctx.owner != ctx.id && ctx.deadline.is_some()).then(|| {
            let owner = self.ctx_ids.get(&ctx.owner);
            let owner = owner.and_then(|key| self.ctxs.get(*key));
            Owner {
                id: ctx.owner,
                name: owner.and_then(|owner| self.text(owner.name)),
                location: self.location(owner.and_then(|owner| owner.loc)),
            }
        });
        let tag = |(key, text): &(u64, std::sync::Arc<str>)| {
            let key = self.tables.label(*key).cloned();
            (key.unwrap_or_else(|| "tag".into()), text.clone())
        };
        CtxRow {
            id: ctx.id,
            parent: ctx.parent_id,
            kind: ctx.kind.as_str(),
            name: self.name_above(ctx),
            location: self.location(ctx.loc),
            tags: ctx.tags.iter().map(tag).collect(),
            created: self.at(ctx.created),
            own_budget: ctx.own_deadline.map(budget),
            budget: ctx.deadline.map(budget),
            shortened_by: owner,
            end: ctx.end.as_ref().map(|end| self.end_row(end)),
            seen: None,
            over: None,
        }
    }

    /// The name of a context, or of the nearest above it.
    fn name_above<'c>(&'c self, mut ctx: &'c Ctx) -> Option<std::sync::Arc<str>> {
        for _ in 0..NAMES_UP_MAX {
            if let Some(name) = self.text(ctx.name) {
                return Some(name);
            }
            ctx = self.ctxs.get(ctx.parent)?;
        }
        None
    }

    fn end_row(&self, end: &End) -> EndRow {
        EndRow {
            cause: end.cause.as_str(),
            message: end.message.clone(),
            by: end.by,
            location: self.location(end.loc),
            asked: self.at(end.asked),
            told: end.told.map(|tick| self.at(tick)),
        }
    }

    /// Keeps a context that was made, as long as there is room; one that is asked for, in any case.
    pub(super) fn list_ctx(&mut self, key: u32) {
        let Some(ctx) = self.ctxs.get(key) else {
            return;
        };
        if self.kept.ctxs.len() >= self.limits.listed && !self.is_selected(ctx) {
            self.kept.ctxs_left_out += 1;
            return;
        }
        let (id, row) = (ctx.id, self.ctx_row(ctx));
        self.kept.ctx_rows.insert(id, self.kept.ctxs.len());
        self.kept.ctxs.push(row);
    }

    /// The end of a kept context is known, or known better.
    pub(super) fn relist_ctx(&mut self, key: u32) {
        let Some(ctx) = self.ctxs.get(key) else {
            return;
        };
        if !self.kept.ctx_rows.contains_key(&ctx.id) {
            return;
        }
        let end = ctx.end.as_ref().map(|end| self.end_row(end));
        if let Some(row) = self.kept.ctx_row(ctx.id) {
            row.end = end;
        }
    }

    pub(super) fn list_tag(&mut self, key: u32) {
        let Some(ctx) = self.ctxs.get(key) else {
            return;
        };
        let is_listed = self.kept.ctx_rows.contains_key(&ctx.id);
        if !is_listed && self.is_selected(ctx) {
            self.kept.ctxs_left_out = self.kept.ctxs_left_out.saturating_sub(1);
            self.list_ctx(key);
            return;
        }
        if !is_listed {
            return;
        }
        let (id, tags) = (ctx.id, self.ctx_row(ctx).tags);
        if let Some(row) = self.kept.ctx_row(id) {
            row.tags = tags;
        }
    }

    pub(super) fn list_seen(&mut self, id: u64, tick: u64) {
        let at = self.at(tick);
        if let Some(row) = self.kept.ctx_row(id) {
            row.seen = row.seen.or(Some(at));
        }
    }

    pub(super) fn list_over(&mut self, id: u64, tick: u64) {
        let at = self.at(tick);
        if let Some(row) = self.kept.ctx_row(id) {
            row.over = Some(at);
        }
    }

    /// Keeps an ended context in full, if it is among the worst or was asked for.
    pub(super) fn keep_incident(&mut self, incident: &Incident, late: u64) {
        if !incident.is_selected && !self.kept.ends.has_room(late) {
            return;
        }
        let Some(ctx) = self.ctxs.get(incident.ctx) else {
            return;
        };
        let mut above = Vec::new();
        let mut at = ctx.parent;
        while let Some(parent) = self.ctxs.get(at) {
            if above.len() >= NAMES_UP_MAX {
                break;
            }
            above.push(self.ctx_row(parent));
            at = parent.parent;
        }
        above.reverse();
        let mut ctx = self.ctx_row(ctx);
        ctx.end = Some(self.end_row(&incident.end));
        let mut lanes: Vec<_> = incident.lanes.iter().collect();
        lanes.sort_by_key(|lane| (std::cmp::Reverse(lane.at), lane.id));
        let lanes_left_out = lanes.len().saturating_sub(LANES_KEPT_MAX) as u64;
        lanes.truncate(LANES_KEPT_MAX);
        let end = LateEnd {
            ctx,
            above,
            asked: self.at(incident.end.asked),
            late: self
                .timeline
                .duration(incident.end.asked, incident.end.asked.saturating_add(late)),
            by: incident.by.clone(),
            lanes: lanes
                .into_iter()
                .map(|lane| self.lane(lane, incident.end.asked))
                .collect(),
            lanes_left_out,
            heard: incident.heard.as_ref().map(|(task, at_end)| Heard {
                task: task.clone(),
                at_end: self.at_end(at_end, incident.end.asked),
            }),
        };
        self.kept
            .ends
            .push(late, incident.is_selected, end, self.limits.worst);
    }

    fn lane(&self, lane: &Lane, asked: u64) -> crate::waterfall::Lane {
        let at_end = lane.at_end.as_ref();
        let segments = lane.pieces.iter().map(|piece| Segment {
            from: self.at(piece.from),
            time: self.timeline.duration(piece.from, piece.to),
            phase: self.phase(&piece.what),
        });
        crate::waterfall::Lane {
            task: TaskRef {
                id: lane.id,
                name: self.text(lane.name),
                location: self.location(lane.loc),
                is_job: lane.is_job,
            },
            from: self.at(lane.from),
            late: self.timeline.duration(lane.from, lane.at),
            observed: lane
                .observed
                .map(|tick| self.timeline.duration(lane.from, tick)),
            is_over: lane.over.is_some(),
            outcome: lane.outcome.map(Outcome::as_str),
            is_lost: lane.is_lost,
            busy: self.timeline.span(lane.busy),
            segments: segments.collect(),
            at_end: at_end.map(|at_end| self.at_end(at_end, asked)),
        }
    }

    fn at_end(&self, (stage, place, since): &(Stage, Place, u64), asked: u64) -> AtEnd {
        AtEnd {
            stage: stage_name(*stage),
            place: place.clone(),
            time: self.timeline.duration(*since, asked),
        }
    }

    fn phase(&self, what: &What) -> Phase {
        match what {
            What::TimerLate => Phase::TimerLate,
            What::Propagation => Phase::Propagation,
            What::Deaf { place } => Phase::DeafWait {
                place: place.clone(),
            },
            What::InPoll { place } => Phase::InPoll {
                place: place.clone(),
            },
            What::Queued { behind } => Phase::Queued {
                behind: behind.map(|behind| Behind {
                    task: TaskRef {
                        id: behind.task,
                        ..self.site_ref(behind.site)
                    },
                    place: self.poll_place(behind.site, behind.region),
                    poll: self.timeline.span(behind.poll),
                }),
            },
            What::PoolQueue => Phase::PoolQueue,
            What::Job => Phase::UncancellableJob,
            What::CleanUp { stage, place } => Phase::CleanUp {
                stage: stage_name(*stage),
                place: place.clone(),
            },
            What::Unknown => Phase::Unknown,
        }
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Unknown => "unknown",
        Stage::Fresh | Stage::Queued => "queued",
        Stage::Running => "running",
        Stage::Waiting => "waiting",
        Stage::Ready => "ready",
        Stage::Lost => "lost",
    }
}

/// The counts of those kinds that woke at all.
pub(crate) fn wakers<N: Copy + Default + PartialEq>(
    counts: &[N; WAKERS],
) -> Vec<(&'static str, N)> {
    let named = (0..).zip(counts);
    named
        .filter(|(_, count)| **count != N::default())
        .map(|(number, count)| (WakeBy::from_number(number).as_str(), *count))
        .collect()
}

/// Tasks of one ended context that are kept: a shutdown ends all there are.
const LANES_KEPT_MAX: usize = 1_000;

/// Contexts that are looked at upwards for a name, or told as those above.
pub(super) const NAMES_UP_MAX: usize = 64;
