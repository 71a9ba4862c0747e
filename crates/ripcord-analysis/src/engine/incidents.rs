//! Contexts that ended while tasks were alive under them.

use super::dispatch::Engine;
use super::slab::NONE;
use super::state::{Ctx, End, Incident, Lane, Piece, Stage, What};
use crate::{Place, Select};
use ripcord_trace_format::CauseKind;

impl Engine<'_> {
    /// Follows every task that is alive under a context that has ended, if there is one.
    pub(super) fn open_incident(&mut self, key: u32, end: End) {
        let tasks = self.tasks_under(key);
        let Some(ctx) = self.ctxs.get(key) else {
            return;
        };
        let is_selected = self.is_selected(ctx);
        if tasks.is_empty() && !is_selected {
            return;
        }
        let asked = end.asked;
        let by = self.task_named(end.by);
        let Some(incident) = self.incidents.insert(Incident {
            ctx: key,
            end,
            by,
            lanes: Vec::new(),
            // One that nobody works under is open until the context is gone: somebody may wait for it.
            open: usize::from(tasks.is_empty()),
            is_selected,
            heard: None,
        }) else {
            self.tally.ignored += 1;
            return;
        };
        if let Some(ctx) = self.ctxs.get_mut(key) {
            ctx.incident = incident;
        }
        for task in tasks {
            self.open_lane(incident, task, asked);
        }
        self.close_incident_if_over(incident);
    }

    /// Tasks and jobs that work under a context, or below it, as far as its end is theirs.
    fn tasks_under(&mut self, key: u32) -> Vec<u32> {
        let mut tasks = Vec::new();
        let mut open = vec![key];
        while let Some(at) = open.pop() {
            let Some(ctx) = self.ctxs.get(at) else {
                continue;
            };
            let mut child = ctx.first_child;
            let mut task = ctx.first_task;
            while let Some(below) = self.ctxs.get(child) {
                if below.follows_parent() {
                    open.push(child);
                }
                child = below.next;
                self.visits = self.visits.saturating_sub(1);
                if self.visits == 0 {
                    // Only a trace that ends the same contexts again and again comes here.
                    self.tally.ignored += 1;
                    return tasks;
                }
            }
            while let Some(here) = self.tasks.get(task) {
                tasks.push(task);
                task = here.next_in_ctx;
                self.visits = self.visits.saturating_sub(1);
            }
        }
        tasks
    }

    fn open_lane(&mut self, key: u32, task_key: u32, asked: u64) {
        let Some(task) = self.tasks.get(task_key) else {
            return;
        };
        let place = match task.stage {
            Stage::Waiting | Stage::Lost => Some(self.wait_place(task)),
            Stage::Running => Some(self.poll_place(task.site, task.regions.last().copied())),
            _ => None,
        };
        let at_end = place
            .filter(|_| task.since < asked)
            .map(|place| (task.stage, place, task.since));
        let Some(task) = self.tasks.get_mut(task_key) else {
            return;
        };
        // A task that is on its way out of an inner context is on its way out of this one.
        let is_on_its_way = task.lanes.iter().any(|(inner, lane)| {
            let inner = self.incidents.get(*inner);
            let lane = inner.and_then(|inner| inner.lanes.get(*lane as usize));
            lane.is_some_and(|lane| lane.observed.is_some())
        });
        let Some(incident) = self.incidents.get_mut(key) else {
            return;
        };
        if task.lanes.len() >= LANES_MAX {
            self.tally.ignored += 1;
            return;
        }
        let from = asked.max(task.spawned);
        let mut lane = Lane {
            id: task.id,
            is_job: task.is_job,
            name: task.name,
            loc: task.loc,
            from,
            at: from,
            observed: is_on_its_way.then_some(from),
            over: None,
            outcome: None,
            is_lost: task.stage == Stage::Lost,
            busy: 0,
            pieces: Vec::new(),
            at_end,
        };
        if task.since > from && task.polls > 0 {
            // The end was told late, and what the task did before is not remembered.
            lane.pieces.push(Piece {
                from,
                to: task.since,
                what: What::Unknown,
            });
            lane.at = task.since;
        }
        let index = u32::try_from(incident.lanes.len()).unwrap_or(NONE);
        incident.lanes.push(lane);
        incident.open += 1;
        task.lanes.push((key, index));
    }

    /// Closes an incident that no task has worked under.
    pub(super) fn close_empty(&mut self, key: u32) {
        if let Some(incident) = self.incidents.get_mut(key)
            && incident.lanes.is_empty()
        {
            incident.open = 0;
            self.close_incident_if_over(key);
        }
    }

    /// A task that does not work under a context has waited for its end, as for that of a time-out.
    pub(super) fn heard(&mut self, ctx: u64, task: u32) {
        let ctx = self.ctx_ids.get(&ctx).and_then(|key| self.ctxs.get(*key));
        let incident = ctx.map_or(NONE, |ctx| ctx.incident);
        let Some(task) = self.tasks.get(task) else {
            return;
        };
        let place = self.wait_place(task);
        let (waiter, stage, since) = (self.task_ref(task), task.stage, task.since);
        if let Some(incident) = self.incidents.get_mut(incident)
            && incident.lanes.is_empty()
            && incident.heard.is_none()
        {
            incident.heard = Some((waiter, (stage, place, since)));
        }
    }

    /// Whether somebody has asked for this context.
    pub(super) fn is_selected(&self, ctx: &Ctx) -> bool {
        let has_tag = |key: &Option<String>, text: &String| {
            ctx.tags.iter().any(|(number, tag)| {
                let name = self.tables.label(*number);
                let is_key = key
                    .as_ref()
                    .is_none_or(|key| name.is_some_and(|name| **name == **key));
                **tag == **text && is_key
            })
        };
        self.selected.iter().any(|select| match select {
            Select::Ctx(id) => ctx.id == *id,
            Select::Tag { key, text } => has_tag(key, text),
        })
    }

    /// Counts an incident whose tasks are all over, and keeps it if it is one of the worst.
    pub(super) fn close_incident_if_over(&mut self, key: u32) {
        let is_over = self
            .incidents
            .get(key)
            .is_some_and(|incident| incident.open == 0);
        if !is_over {
            return;
        }
        let Some(mut incident) = self.incidents.remove(key) else {
            return;
        };
        incident.lanes.iter_mut().for_each(Lane::name_by_samples);
        let last = incident.lanes.iter().map(|lane| lane.at).max();
        let late = last.map_or(0, |last| last.saturating_sub(incident.end.asked));
        self.tally.count_incident(&incident, late, self.limits.late);
        if late >= self.limits.late || incident.is_selected {
            self.keep_incident(&incident, late);
        }
        if let Some(ctx) = self.ctxs.get_mut(incident.ctx) {
            ctx.incident = NONE;
        }
        self.free_ctx(incident.ctx);
    }

    /// A timer has told an end that the clock had made already.
    pub(super) fn told(&mut self, ctx: u32, end: &End) {
        let by = self.task_named(end.by);
        let incident = self.ctxs.get(ctx).map(|ctx| ctx.incident);
        let incident = incident.and_then(|key| self.incidents.get_mut(key));
        if let Some(incident) = incident {
            incident.end = end.clone();
            incident.by = by;
        }
    }
}

impl Lane {
    /// Gives deaf waits that no stack was taken in the place of the nearest one of the task.
    ///
    /// A straggler is asked a few times where it waits (recording.md 15). Waits between that have the same
    /// label, or as little of one, are taken to be at the same place.
    fn name_by_samples(&mut self) {
        let samples: Vec<(u64, Place)> = self
            .pieces
            .iter()
            .filter_map(|piece| match &piece.what {
                What::Deaf { place } if !place.is_spawn => Some((piece.from, place.clone())),
                _ => None,
            })
            .collect();
        for piece in &mut self.pieces {
            let What::Deaf { place } = &mut piece.what else {
                continue;
            };
            // The label of a wait is all that is known of it, and what a sample calls the wait by may
            // be a label, or what the stack says.
            let like = samples
                .iter()
                .filter(|(_, sample)| place.what.is_none() || place.what == sample.what);
            let nearest = like.min_by_key(|(at, _)| at.abs_diff(piece.from));
            if let Some((_, sample)) = nearest.filter(|_| place.is_spawn) {
                *place = sample.clone();
            }
        }
        self.join_equal();
    }

    /// Pieces of one kind that follow each other become one (invariant 2).
    fn join_equal(&mut self) {
        self.pieces.dedup_by(|next, piece| {
            let is_same = piece.what == next.what && piece.to == next.from;
            if is_same {
                piece.to = next.to;
            }
            is_same
        });
    }
}

impl End {
    /// Whether a timer had to notice it.
    pub(super) const fn is_timed(&self) -> bool {
        matches!(self.cause, CauseKind::DeadlineExceeded)
    }
}

/// Ended contexts under which one task is followed at the same time.
const LANES_MAX: usize = 16;
