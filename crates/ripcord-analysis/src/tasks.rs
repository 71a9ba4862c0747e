//! Tasks and jobs: one by one, and by where they are spawned.

use crate::Place;
use crate::json::{ns, opt_ns};
use crate::read::{Location, clean};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who a task or job is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct TaskRef {
    /// Its id; none where only its slot was told.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// Where it was spawned.
    pub location: Option<Location>,
    /// Whether it is blocking work, and not a task.
    pub is_job: bool,
}

/// As people say it: `task fetch`, or by id and line where it has no name.
impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_job { "blocking job" } else { "task" })?;
        match (&self.name, &self.location, self.id) {
            (Some(name), ..) => write!(f, " {}", clean(name)),
            (None, Some(location), _) => write!(f, " of {location}"),
            (None, None, Some(id)) => write!(f, " #{id}"),
            (None, None, None) => f.write_str(" without a name"),
        }
    }
}

/// The life of one task or job. Times are from the beginning of the trace; in JSON they are
/// nanoseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct TaskRow {
    /// Who it is.
    #[serde(flatten)]
    pub task: TaskRef,
    /// Id of the task that spawned it.
    pub parent: Option<u64>,
    /// Id of its own context.
    pub ctx: Option<u64>,
    /// Size of its future, in bytes; 0 where that was not told.
    pub bytes: u64,
    /// When it was spawned, or first seen.
    #[serde(serialize_with = "ns")]
    pub spawned: Duration,
    /// Whether its spawn is in the trace.
    pub has_spawn: bool,
    /// When it ended; none if it is alive at the end of the trace.
    #[serde(serialize_with = "opt_ns")]
    pub ended: Option<Duration>,
    /// How it ended; `lost` if nobody told.
    pub outcome: Option<&'static str>,
    /// How often it was polled.
    pub polls: u64,
    /// Time within its polls.
    #[serde(serialize_with = "ns")]
    pub busy: Duration,
    /// Time that it waited.
    #[serde(serialize_with = "ns")]
    pub waited: Duration,
    /// Time that it was runnable, and did not run.
    #[serde(serialize_with = "ns")]
    pub queued: Duration,
    /// Its longest poll.
    #[serde(serialize_with = "ns")]
    pub longest_poll: Duration,
    /// How often it was woken, by kind of waker; only those that did.
    pub wakes: Vec<(&'static str, u32)>,
    /// What it does at the end of the trace, if it is alive: `running`, `waiting`, `queued`, …
    pub stage: Option<&'static str>,
    /// Where it waits at the end of the trace.
    pub place: Option<Place>,
}

/// Tasks, or jobs, that were spawned at one place under one name.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct SiteRow {
    /// Which ones; without an id.
    #[serde(flatten)]
    pub task: TaskRef,
    /// How many were spawned in the trace.
    pub spawned: u64,
    /// How many ended ready.
    pub ready: u64,
    /// How many panicked.
    pub panicked: u64,
    /// How many were aborted.
    pub aborted: u64,
    /// How many were dropped.
    pub dropped: u64,
    /// How many are alive at the end of the trace.
    pub alive: u64,
    /// Their polls.
    pub polls: Stat,
    /// Polls that ended waiting for the same thing as before: wakes that changed nothing.
    pub idle_polls: u64,
    /// Times in the queue, from wake to poll.
    pub queue: Stat,
    /// Time that they waited, in all.
    #[serde(serialize_with = "ns")]
    pub waited: Duration,
    /// Their lives, as far as they ended.
    pub life: Stat,
    /// From the end of a context to the task's first look at it.
    pub observed: Stat,
    /// How long they went on after the end of their context, where that was late.
    pub late: Stat,
    /// Time that they were busy in, after the end of their context.
    #[serde(serialize_with = "ns")]
    pub wasted: Duration,
    /// Time that they waited without listening, after the end of their context.
    #[serde(serialize_with = "ns")]
    pub deaf: Duration,
    /// Those alive at the end of the trace that are older than the threshold, by age.
    pub leaks: Stat,
}

/// How often, how long in all, and how long at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Stat {
    /// How often.
    pub count: u64,
    /// How long in all.
    #[serde(serialize_with = "ns")]
    pub total: Duration,
    /// How long at most.
    #[serde(serialize_with = "ns")]
    pub max: Duration,
}
