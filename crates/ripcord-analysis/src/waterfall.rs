//! What each task did from the end of its context until it was over.

use crate::contexts::CtxRow;
use crate::json::{ns, opt_ns};
use crate::{Place, TaskRef};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// A context that ended, and the tasks that were alive under it.
///
/// Times are from the beginning of the trace; in JSON they are nanoseconds. How the budget shrank on the
/// way is in `above` and `ctx`: the budget of each is what was left when it was made.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct LateEnd {
    /// The context.
    pub ctx: CtxRow,
    /// The contexts above it, the topmost first: how the budget shrank.
    pub above: Vec<CtxRow>,
    /// When it had to end.
    #[serde(serialize_with = "ns")]
    pub asked: Duration,
    /// From then until the last of its tasks was over, or the trace ended.
    #[serde(serialize_with = "ns")]
    pub late: Duration,
    /// Who ended it, if a task did.
    pub by: Option<TaskRef>,
    /// Its tasks and jobs, those that were over last first; at most 1,000.
    pub lanes: Vec<Lane>,
    /// How many more there were, none of which was over later.
    pub lanes_left_out: u64,
    /// A task that waited for the end of the context and did not work under it, where no task did: so is
    /// a time-out around a call waited for.
    pub heard: Option<Heard>,
}

impl LateEnd {
    /// Gives deaf waits that no stack was taken in the place that one showed after the task's end.
    pub(crate) fn name_by(&mut self, stacks: &HashMap<u64, Place>) {
        for lane in &mut self.lanes {
            let Some(stack) = lane.task.id.and_then(|id| stacks.get(&id)) else {
                continue;
            };
            for segment in &mut lane.segments {
                if let Phase::DeafWait { place } = &mut segment.phase
                    && place.is_spawn
                {
                    let what = place.what.take().or_else(|| stack.what.clone());
                    *place = Place {
                        what,
                        ..stack.clone()
                    };
                }
            }
        }
    }
}

/// Who waited for the end of a context.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Heard {
    /// The task.
    pub task: TaskRef,
    /// What it had done until then.
    #[serde(flatten)]
    pub at_end: AtEnd,
}

/// One task or job under a context that has ended.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Lane {
    /// Who it is.
    pub task: TaskRef,
    /// From when on: the end of the context.
    #[serde(serialize_with = "ns")]
    pub from: Duration,
    /// How long it went on: exactly the sum of the segments.
    #[serde(serialize_with = "ns")]
    pub late: Duration,
    /// How long until it looked, if it did.
    #[serde(serialize_with = "opt_ns")]
    pub observed: Option<Duration>,
    /// Whether it was over before the trace ended.
    pub is_over: bool,
    /// How it ended; none if it went on under another context.
    pub outcome: Option<&'static str>,
    /// Whether it waited while nobody could wake it.
    pub is_lost: bool,
    /// Time that it was busy in.
    #[serde(serialize_with = "ns")]
    pub busy: Duration,
    /// What it did, without gaps.
    pub segments: Vec<Segment>,
    /// What it did when the context ended; none if it was runnable then, or not there yet.
    pub at_end: Option<AtEnd>,
}

/// What a task did when its context ended: where the time had gone.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct AtEnd {
    /// `waiting` or `running`.
    pub stage: &'static str,
    /// Where.
    pub place: Place,
    /// For how long it had been at that.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
}

/// A piece of a [`Lane`].
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Segment {
    /// When it began.
    #[serde(serialize_with = "ns")]
    pub from: Duration,
    /// How long it was.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
    /// What it was.
    #[serde(flatten)]
    pub phase: Phase,
}

/// To what the time of a [`Segment`] goes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The task listened, and the timer of the deadline was late.
    TimerLate,
    /// The task listened, and the end was on its way to it.
    Propagation,
    /// The task waited for something else, and did not listen.
    DeafWait {
        /// Where.
        place: Place,
    },
    /// The task was polled, and did not look.
    InPoll {
        /// Where.
        place: Place,
    },
    /// The task was runnable, and no worker took it.
    Queued {
        /// Who had the worker for most of that time, if one task had.
        behind: Option<Behind>,
    },
    /// Blocking work waited for a thread of the pool.
    PoolQueue,
    /// Blocking work ran: nothing can end that from outside.
    UncancellableJob,
    /// The task had looked, and was on its way out.
    CleanUp {
        /// What it did: `running`, `waiting`, `queued`, …
        stage: &'static str,
        /// Where, if it waited or ran.
        place: Option<Place>,
    },
    /// Events are missing: nobody is blamed.
    Unknown,
}

/// Who had the worker.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Behind {
    /// The task.
    pub task: TaskRef,
    /// Where it ran.
    pub place: Place,
    /// How long its poll took in all.
    #[serde(serialize_with = "ns")]
    pub poll: Duration,
}
