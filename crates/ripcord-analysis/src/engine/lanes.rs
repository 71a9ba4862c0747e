//! What a task does from the end of its context on, cut into pieces that say why it took so long.
//!
//! The rules are those of recording.md 12 to 14, read so that nobody is blamed who listened:
//!
//! 1. A task that waited when its context ended, and whose next wake is by `cancel` of a context above
//!    or below, listened: the time is that of the timer, then that of the propagation. A waker that is
//!    not told, or not known, may be one of those.
//! 2. One whose next wake is another, or that was never woken, was deaf in that wait; unless its poll
//!    had a context among what it waits for, and the other wake came before a cancel had a chance.
//! 3. One that begins and ends a poll after the end without having looked is deaf in the wait that
//!    follows, unless the very end wakes it. A poll that spans the end proves nothing, and rule 1 or 2
//!    decides.
//! 4. A task that works under a context at which somebody else has looked already leaves no trace of
//!    its own look: it counts as having looked when it is polled next.
//! 5. Where a wake is missing, events are lost, and nobody is blamed.

use super::dispatch::Engine;
use super::slab::Slab;
use super::state::{Behind, Ctx, End, Lane, Piece, Stage, Task, What, is_related, is_under};
use crate::place::Place;
use ripcord_trace_format::{Outcome, WakeBy};

/// How a task leaves what it did so far.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leave {
    /// Woken, by this; the waker of the event.
    Wake(WakeBy, Option<u64>),
    /// Polled, and who had the worker before it; or, for a job, begun.
    PollStart(Option<Behind>),
    PollEnd,
    /// It has looked.
    Seen,
    /// It goes on as it was.
    Nothing,
    /// Events are lost: what it did is not known.
    Lost,
    /// It is over, told by the trace.
    Over(Option<Outcome>),
    /// It must have ended at some time.
    Vanished,
    /// The trace ends, and it is there still.
    TraceEnd,
}

impl Engine<'_> {
    /// Cuts the lanes of a task: what it did up to `tick` is known now.
    #[inline]
    pub(super) fn close_pieces(&mut self, key: u32, tick: u64, leave: Leave) {
        if self
            .tasks
            .get(key)
            .is_some_and(|task| !task.lanes.is_empty())
        {
            self.cut_lanes(key, tick, leave);
        }
    }

    fn cut_lanes(&mut self, key: u32, tick: u64, leave: Leave) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let lanes = std::mem::take(&mut task.lanes);
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let place = match task.stage {
            Stage::Waiting | Stage::Lost => Some(self.wait_place(task)),
            Stage::Running => Some(self.poll_place(task.site, task.regions.last().copied())),
            _ => None,
        };
        let excuse = self.limits.late;
        let is_foreign = match leave {
            Leave::Wake(WakeBy::Cancel, Some(waker)) => {
                let waker = self.ctx_ids.get(&waker);
                waker.is_some_and(|waker| !is_related(&self.ctxs, *waker, task.ctx))
            }
            _ => false,
        };
        for (incident, lane) in &lanes {
            let Some(incident) = self.incidents.get_mut(*incident) else {
                continue;
            };
            let ctx = self.ctxs.get(incident.ctx).map(|ctx| ctx.id);
            let Some(lane) = incident.lanes.get_mut(*lane as usize) else {
                continue;
            };
            let cut = Cut {
                end: &incident.end,
                ctx,
                place: place.as_ref(),
                excuse,
                is_foreign,
                leave,
            };
            cut.apply(task, lane, tick);
            match leave {
                Leave::Seen => lane.observed = lane.observed.or(Some(lane.at)),
                Leave::Over(outcome) => {
                    lane.over = Some(lane.at);
                    lane.outcome = outcome;
                }
                Leave::Vanished => lane.over = Some(lane.at),
                _ => {}
            }
        }
        let is_over = matches!(leave, Leave::Over(_) | Leave::Vanished | Leave::TraceEnd);
        if let Some(task) = self.tasks.get_mut(key).filter(|_| !is_over) {
            task.lanes = lanes;
        } else {
            self.close_lanes(&lanes);
        }
    }

    fn close_lanes(&mut self, lanes: &[(u32, u32)]) {
        for (key, _) in lanes {
            if let Some(incident) = self.incidents.get_mut(*key) {
                incident.open = incident.open.saturating_sub(1);
            }
            self.close_incident_if_over(*key);
        }
    }

    /// A task has looked at a context: it knows of the ends that hold there.
    pub(super) fn observe(&mut self, key: u32, tick: u64, knows: impl Fn(&Slab<Ctx>, u32) -> bool) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let all = std::mem::take(&mut task.lanes);
        let (seen, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(incident, _)| {
            let incident = self.incidents.get(*incident);
            incident.is_some_and(|incident| knows(&self.ctxs, incident.ctx))
        });
        self.with_lanes(key, seen, tick, Leave::Seen, others);
    }

    /// Cuts some of the lanes of a task; the others stay as they are.
    fn with_lanes(
        &mut self,
        key: u32,
        some: Vec<(u32, u32)>,
        tick: u64,
        leave: Leave,
        others: Vec<(u32, u32)>,
    ) {
        if let Some(task) = self.tasks.get_mut(key) {
            task.lanes = some;
        }
        self.close_pieces(key, tick, leave);
        if let Some(task) = self.tasks.get_mut(key) {
            task.lanes.extend(others);
        }
    }

    /// Rule 4, when a task is polled.
    pub(super) fn excuse_shared(&mut self, key: u32, tick: u64) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let Some(ctx) = self.ctxs.get(task.ctx) else {
            return;
        };
        let (at, is_own) = (task.ctx, task.own_ctx == Some(ctx.id));
        if ctx.is_seen && !is_own {
            self.observe(key, tick, |ctxs, ended| is_under(ctxs, at, ended));
        }
    }

    /// A task works under another context now: what ended above the old one is behind it.
    pub(super) fn leave_lanes(&mut self, key: u32, ctx: u32, tick: u64) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if task.lanes.is_empty() {
            return;
        }
        let all = std::mem::take(&mut task.lanes);
        let (left, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(incident, _)| {
            let incident = self.incidents.get(*incident);
            incident.is_some_and(|incident| !is_under(&self.ctxs, ctx, incident.ctx))
        });
        self.with_lanes(key, left, tick, Leave::Over(None), kept);
    }

    /// The trace ends.
    pub(super) fn leave_alive(&mut self, key: u32) {
        self.close_pieces(key, self.now, Leave::TraceEnd);
        if let Some(task) = self.tasks.remove(key) {
            let age = self.now.saturating_sub(task.spawned);
            let site = &mut self.tally.sites[task.site as usize];
            site.alive += 1;
            if age >= self.limits.leak {
                site.leaks.add(age);
            }
            site.waited = site.waited.saturating_add(task.waited);
            self.list_task(&task, None, None);
        }
    }
}

/// What is needed to say what a piece is.
struct Cut<'c> {
    end: &'c End,
    ctx: Option<u64>,
    place: Option<&'c Place>,
    /// Less than this in a wait with a context among it may be the time of the cancel.
    excuse: u64,
    /// Woken by the end of a context that has nothing to do with the task's.
    is_foreign: bool,
    leave: Leave,
}

impl Cut<'_> {
    /// Adds what the task did since the last cut to its lane.
    fn apply(&self, task: &Task, lane: &mut Lane, tick: u64) {
        lane.is_lost |= task.stage == Stage::Lost;
        if tick <= lane.at {
            return;
        }
        // A poll that begins within another one of the same task: the end of that is lost.
        let is_lost = match self.leave {
            Leave::Lost => true,
            Leave::PollStart(_) => task.stage == Stage::Running,
            _ => false,
        };
        if task.stage == Stage::Running && !is_lost {
            lane.busy = lane.busy.saturating_add(tick - lane.at);
        }
        match (lane.observed, task.stage) {
            _ if is_lost => lane.push(tick, What::Unknown),
            (Some(_), stage) => {
                let place = self.place.cloned();
                lane.push(tick, What::CleanUp { stage, place });
            }
            (None, Stage::Waiting) => self.wait(task, lane, tick),
            (None, stage) => lane.push(tick, self.simple(task, stage)),
        }
    }

    /// What a stage is that needs no judgement.
    fn simple(&self, task: &Task, stage: Stage) -> What {
        match stage {
            Stage::Unknown => What::Unknown,
            Stage::Fresh if task.is_job => What::PoolQueue,
            Stage::Fresh | Stage::Queued => What::Queued {
                behind: match self.leave {
                    Leave::PollStart(behind) => behind,
                    _ => None,
                },
            },
            Stage::Running if task.is_job => What::Job,
            Stage::Running => What::InPoll {
                place: self.place.cloned().unwrap_or_default(),
            },
            Stage::Lost => self.deaf(),
            Stage::Waiting | Stage::Ready => What::CleanUp { stage, place: None },
        }
    }

    fn deaf(&self) -> What {
        What::Deaf {
            place: self.place.cloned().unwrap_or_default(),
        }
    }

    /// Whether a wait listened (rules 1 to 3), and to what its time goes.
    fn wait(&self, task: &Task, lane: &mut Lane, tick: u64) {
        let begins_after = task.poll_from > self.end.asked.saturating_add(ROUNDING);
        let told = self.end.told.unwrap_or(self.end.asked);
        let heard_for = tick.saturating_sub(told.max(lane.at));
        let may_have_heard = !begins_after && task.listening && heard_for < self.excuse;
        let listened = match self.leave {
            Leave::Wake(WakeBy::Cancel, waker) if begins_after => {
                waker.is_none() || waker == self.ctx
            }
            Leave::Wake(WakeBy::Cancel, _) => !self.is_foreign,
            Leave::PollStart(_) | Leave::Vanished => {
                lane.push(tick, What::Unknown);
                return;
            }
            Leave::TraceEnd => may_have_heard || heard_for < self.excuse,
            _ => may_have_heard,
        };
        if !listened {
            lane.push(tick, self.deaf());
            return;
        }
        if self.end.is_timed() {
            // An end that nobody told until the wake is the timer's as a whole.
            let timer = self.end.told.unwrap_or(tick).clamp(lane.at, tick);
            lane.push(timer, What::TimerLate);
        }
        lane.push(tick, What::Propagation);
    }
}

impl Lane {
    /// Adds a piece up to `tick`; one of the same kind is made longer (invariant 2).
    fn push(&mut self, tick: u64, what: What) {
        if tick <= self.at {
            return;
        }
        let from = self.at;
        self.at = tick;
        let is_full = self.pieces.len() >= PIECES_MAX;
        if let Some(last) = self.pieces.last_mut() {
            if is_full {
                last.what = What::Unknown;
                last.to = tick;
                return;
            }
            if last.what == what {
                last.to = tick;
                return;
            }
        }
        self.pieces.push(Piece {
            from,
            to: tick,
            what,
        });
    }
}

/// Deadlines are told as ticks from another tick: each of the two is rounded.
const ROUNDING: u64 = 2;

/// Pieces that a lane has at most: a task that does so much after its end is not explained by them.
const PIECES_MAX: usize = 256;
