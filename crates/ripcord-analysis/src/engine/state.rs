//! What is known of each live task and context while the events go by.

use super::slab::{NONE, Slab};
use crate::TaskRef;
use crate::place::Place;
use ripcord_trace_format::{CauseKind, CtxKind, Outcome, WakeBy};
use std::sync::Arc;

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It was there before the trace began, and nothing was told of it yet.
    Unknown,
    /// It was spawned or queued, and did not run yet.
    Fresh,
    Running,
    /// Its last poll has ended waiting.
    Waiting,
    /// It was woken, or has yielded.
    Queued,
    /// It is ready, and its future is not dropped yet.
    Ready,
    /// It waits, and nobody can wake it.
    Lost,
}

/// A task or a job that is live.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: Option<u64>,
    pub(crate) slot: u64,
    pub(crate) is_job: bool,
    pub(crate) name: u32,
    pub(crate) loc: Option<u64>,
    pub(crate) parent: Option<u64>,
    pub(crate) own_ctx: Option<u64>,
    /// The context under which it works.
    pub(crate) ctx: u32,
    pub(crate) next_in_ctx: u32,
    pub(crate) prev_in_ctx: u32,
    /// Its row among the sites.
    pub(crate) site: u32,
    pub(crate) bytes: u64,
    pub(crate) spawned: u64,
    /// Its beginning was told.
    pub(crate) has_spawn: bool,
    pub(crate) stage: Stage,
    pub(crate) since: u64,
    /// When its last poll began, and on which thread.
    pub(crate) poll_from: u64,
    pub(crate) thread: u32,
    pub(crate) label: Option<u64>,
    pub(crate) listening: bool,
    /// Its last waker went before the end of its poll was told.
    pub(crate) alone_since: Option<u64>,
    /// Where an await stack has found it in this wait.
    pub(crate) stack: Option<Box<Place>>,
    pub(crate) regions: Vec<u64>,
    pub(crate) woken_by: Option<(WakeBy, Option<u64>)>,
    pub(crate) polls: u64,
    pub(crate) busy: u64,
    pub(crate) waited: u64,
    pub(crate) queued: u64,
    pub(crate) longest_poll: u64,
    pub(crate) wakes: [u32; WAKERS],
    /// Ended contexts whose end it has not followed yet: incident and lane.
    pub(crate) lanes: Vec<(u32, u32)>,
}

/// Kinds of wakers that are counted; the last is for all that are not known.
pub(crate) const WAKERS: usize = 9;

impl Task {
    pub(crate) const fn new(slot: u64, tick: u64) -> Self {
        Self {
            id: None,
            slot,
            is_job: false,
            name: 0,
            loc: None,
            parent: None,
            own_ctx: None,
            ctx: NONE,
            next_in_ctx: NONE,
            prev_in_ctx: NONE,
            site: 0,
            bytes: 0,
            spawned: tick,
            has_spawn: false,
            stage: Stage::Unknown,
            since: tick,
            poll_from: tick,
            thread: 0,
            label: None,
            listening: false,
            alone_since: None,
            stack: None,
            regions: Vec::new(),
            woken_by: None,
            polls: 0,
            busy: 0,
            waited: 0,
            queued: 0,
            longest_poll: 0,
            wakes: [0; WAKERS],
            lanes: Vec::new(),
        }
    }
}

/// How a context ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// When it had to end: the deadline, or the cancel.
    pub(crate) asked: u64,
    /// When the end was told; none if only the clock says so.
    pub(crate) told: Option<u64>,
    pub(crate) cause: CauseKind,
    pub(crate) by: Option<u64>,
    pub(crate) loc: Option<u64>,
    pub(crate) message: Option<Arc<str>>,
}

/// A context that is live, or whose tasks are.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) id: u64,
    /// Where it hangs; `NONE` at the top.
    pub(crate) parent: u32,
    pub(crate) parent_id: Option<u64>,
    pub(crate) kind: CtxKind,
    pub(crate) loc: Option<u64>,
    pub(crate) name: u32,
    pub(crate) created: u64,
    /// Its making was told.
    pub(crate) has_create: bool,
    pub(crate) own_deadline: Option<u64>,
    /// The deadline that is in effect, and the context whose own it is.
    pub(crate) deadline: Option<u64>,
    pub(crate) owner: u64,
    pub(crate) end: Option<End>,
    /// Somebody has seen that it is done.
    pub(crate) is_seen: bool,
    /// It is what a service made for a request.
    pub(crate) is_hop: bool,
    pub(crate) tags: Vec<(u64, Arc<str>)>,
    /// The incident that its end has opened, while that is open.
    pub(crate) incident: u32,
    /// Its last handle is gone.
    pub(crate) is_over: bool,
    pub(crate) depth: u32,
    pub(crate) first_child: u32,
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) first_task: u32,
}

impl Ctx {
    pub(crate) const fn new(id: u64, tick: u64) -> Self {
        Self {
            id,
            parent: NONE,
            parent_id: None,
            kind: CtxKind::Child,
            loc: None,
            name: 0,
            created: tick,
            has_create: false,
            own_deadline: None,
            deadline: None,
            owner: id,
            end: None,
            is_seen: false,
            is_hop: false,
            tags: Vec::new(),
            incident: NONE,
            is_over: false,
            depth: 0,
            first_child: NONE,
            next: NONE,
            prev: NONE,
            first_task: NONE,
        }
    }

    /// Whether the end of its parent is its own.
    ///
    /// A merge is left out: it may wait for all of its parents, and a trace does not say so.
    pub(crate) const fn follows_parent(&self) -> bool {
        matches!(self.kind, CtxKind::Child | CtxKind::Deadline)
    }
}

/// The context with an end that is in effect for `ctx`: itself, or the nearest above.
pub(crate) fn ended_above(ctxs: &Slab<Ctx>, mut ctx: u32) -> Option<u32> {
    for _ in 0..STEPS_MAX {
        let at = ctxs.get(ctx)?;
        if at.end.is_some() {
            return Some(ctx);
        }
        if !at.follows_parent() {
            return None;
        }
        ctx = at.parent;
    }
    None
}

/// Whether the end of `above` is also that of `ctx`.
pub(crate) fn is_under(ctxs: &Slab<Ctx>, mut ctx: u32, above: u32) -> bool {
    for _ in 0..STEPS_MAX {
        if ctx == above {
            return true;
        }
        match ctxs.get(ctx) {
            Some(at) if at.follows_parent() => ctx = at.parent,
            _ => return false,
        }
    }
    false
}

/// Whether one of two contexts stands above the other, whether or not its end is also that of the other.
pub(crate) fn is_related(ctxs: &Slab<Ctx>, one: u32, other: u32) -> bool {
    let stands_above = |above: u32, mut ctx: u32| {
        for _ in 0..STEPS_MAX {
            if ctx == above {
                return true;
            }
            match ctxs.get(ctx) {
                Some(at) => ctx = at.parent,
                None => return false,
            }
        }
        false
    };
    stands_above(one, other) || stands_above(other, one)
}

/// A trace that hangs its contexts so deep is hostile.
const STEPS_MAX: usize = 4_096;

/// A piece of a lane, in ticks.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) what: What,
}

/// What a piece of a lane is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum What {
    TimerLate,
    Propagation,
    Deaf { place: Place },
    InPoll { place: Place },
    Queued { behind: Option<Behind> },
    PoolQueue,
    Job,
    CleanUp { stage: Stage, place: Option<Place> },
    Unknown,
}

/// Who had the worker while a task was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Behind {
    pub(crate) task: Option<u64>,
    pub(crate) site: u32,
    pub(crate) region: Option<u64>,
    /// For how much of the time.
    pub(crate) ticks: u64,
    /// How long that poll took in all.
    pub(crate) poll: u64,
}

/// One task under a context that has ended, from then on.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: Option<u64>,
    pub(crate) is_job: bool,
    pub(crate) name: u32,
    pub(crate) loc: Option<u64>,
    pub(crate) from: u64,
    /// Up to here it is cut into pieces.
    pub(crate) at: u64,
    pub(crate) observed: Option<u64>,
    /// When it was over, if it was.
    pub(crate) over: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) is_lost: bool,
    pub(crate) busy: u64,
    pub(crate) pieces: Vec<Piece>,
    /// What it did when its context ended: the stage, where, and since when.
    pub(crate) at_end: Option<(Stage, Place, u64)>,
}

/// A context that has ended while tasks were alive under it.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) ctx: u32,
    pub(crate) end: End,
    /// Who ended it, while that was known.
    pub(crate) by: Option<TaskRef>,
    pub(crate) lanes: Vec<Lane>,
    /// Who had waited for the end without working under the context, and what it had done.
    pub(crate) heard: Option<(TaskRef, (Stage, Place, u64))>,
    pub(crate) open: usize,
    pub(crate) is_selected: bool,
}
