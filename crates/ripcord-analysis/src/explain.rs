//! One sentence about a context that ended late: who held it, where, and for how long.
//!
//! The blame goes backwards from the task that was over last. Where that task was on its way out and
//! waited for another one under the same context, or for blocking work, the blame goes on there: who
//! waits for a deaf task is not to blame. So the parts add up to the delay, and no time is told twice.

use crate::contexts::CtxRow;
use crate::json::{ns, opt_ns};
use crate::read::clean;
use crate::waterfall::{AtEnd, Behind, Lane, LateEnd, Phase, Segment};
use crate::{Place, TaskRef};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Why a context ended late, or that it did not.
///
/// `Display` is the sentence; the fields say the same in full.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Trace;
/// use ripcord_analysis::{Analysis, Explanation, Options};
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// // A tick is a millisecond.
/// let bytes = text::parse("\
/// ript 1.0 clock=monotonic shift=0 frequency=1000 process=1 wall=0 program=\"shop\"
/// block table window=0 thread=0 first=0 last=0 events=2
///   +0 location index=0 file=\"src/fetch.rs\" line=7 column=1
///   +0 label index=0 text=\"tokio::sync::Mutex\" loc=-
/// block events window=0 thread=1 first=0 last=1600 events=8
///   +0 ctx_create id=1 parent=- kind=deadline loc=- deadline=1000 name=\"GET /\"
///   +0 task_spawn slot=0 id=5 parent=- ctx=1 loc=0 bytes=64 name=\"fetch\"
///   +0 poll_start slot=0 seq=0
///   +1 poll_pending label=0
///   +1599 wake slot=0 seq=1 by=task waker=3
///   +0 poll_start slot=0 seq=1
///   +0 poll_ready
///   +0 task_end slot=0 id=5 outcome=ready parent=- ctx=1 loc=0 polls=2 busy=1 name=\"fetch\"
/// ")?;
/// let analysis = Analysis::of(&mut Trace::new(Cursor::new(bytes))?, &Options::default())?;
/// assert_eq!(
///     Explanation::of(&analysis.late_ends[0]).to_string(),
///     "GET / had 1 s and ended 600 ms late: task fetch waited 600 ms on tokio::sync::Mutex \
///      (spawned at fetch.rs:7) without listening to its context (deaf await)."
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limitations
/// A wait is named by its label and by where its task was spawned, unless an await stack was taken:
/// a recorder does so for the tasks of a context whose deadline passes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The context.
    pub ctx: CtxRow,
    /// The kind of the cause of its end.
    pub cause: &'static str,
    /// Who ended it, if a task did.
    pub by: Option<TaskRef>,
    /// How long it had, where it had a deadline.
    #[serde(serialize_with = "opt_ns")]
    pub budget: Option<Duration>,
    /// From its making to its end.
    #[serde(serialize_with = "ns")]
    pub lived: Duration,
    /// How long its tasks went on after its end.
    #[serde(serialize_with = "ns")]
    pub late: Duration,
    /// Whether all of its tasks are over where the trace ends.
    pub is_over: bool,
    /// To what the delay goes, the longest first; together they are the delay.
    pub parts: Vec<Part>,
    /// What held the context when its deadline came: the task that had begun to wait or to run last,
    /// and what it did then. None for other ends.
    pub ran_out: Option<RanOut>,
    /// Tasks that panicked after the end.
    pub panicked: Vec<TaskRef>,
    /// Tasks that are alive where the trace ends.
    pub alive: Vec<TaskRef>,
}

/// Where the time of a context was when its deadline came.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct RanOut {
    /// The task.
    pub task: TaskRef,
    /// What it did.
    #[serde(flatten)]
    pub at_end: AtEnd,
}

/// A part of a delay.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Part {
    /// Whose time it was.
    pub task: TaskRef,
    /// How long.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
    /// What held it.
    #[serde(flatten)]
    pub blame: Blame,
}

/// What held a task after the end of its context.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "blame", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blame {
    /// It waited, and did not listen.
    DeafAwait {
        /// Where.
        place: Place,
    },
    /// It waited, and nobody could wake it.
    LostWaker {
        /// Where.
        place: Place,
    },
    /// It was polled, and did not look.
    LongPoll {
        /// Where.
        place: Place,
    },
    /// It was blocking work, which nothing can end from outside.
    BlockingJob,
    /// It was blocking work that waited for a thread of the pool.
    BusyPool,
    /// It was runnable, and the worker was busy.
    BusyWorker {
        /// With whom, if with one task for most of the time.
        behind: Option<Behind>,
    },
    /// The timer of the deadline was late.
    LateTimer,
    /// The end was on its way.
    Propagation,
    /// It had looked, and took its time.
    SlowCleanUp {
        /// What it did.
        stage: &'static str,
        /// Where.
        place: Option<Place>,
    },
    /// The trace does not say.
    Unknown,
}

impl Explanation {
    /// Explains an ended context.
    #[must_use]
    pub fn of(end: &LateEnd) -> Self {
        let tasks = |keep: fn(&Lane) -> bool| {
            let lanes = end.lanes.iter().filter(|lane| keep(lane));
            lanes.map(|lane| lane.task.clone()).collect::<Vec<_>>()
        };
        Self {
            ctx: end.ctx.clone(),
            cause: end.ctx.end.as_ref().map_or("unknown", |end| end.cause),
            by: end.by.clone(),
            budget: end.ctx.budget,
            lived: end.asked.saturating_sub(end.ctx.created),
            late: end.late,
            is_over: end.lanes.iter().all(|lane| lane.is_over),
            parts: parts(end),
            ran_out: ran_out(end),
            panicked: tasks(|lane| lane.outcome == Some("panicked")),
            alive: tasks(|lane| !lane.is_over),
        }
    }

    /// What held the context when its deadline came, if that is the story: all stopped soon, which is
    /// within 10 ms or a twentieth of what it had.
    #[must_use]
    pub fn told_ran_out(&self) -> Option<&RanOut> {
        let soon = self.budget.map_or(LATE_MIN, |budget| budget / 20);
        let is_soon = self.is_on_time(soon.max(LATE_MIN));
        self.ran_out.as_ref().filter(|_| is_soon)
    }

    /// Whether the delay is not worth a word: under so much, all tasks are over.
    #[must_use]
    pub fn is_on_time(&self, late_min: Duration) -> bool {
        self.is_over && self.late < late_min
    }
}

/// Of tasks that wait for each other the innermost one is the last to begin.
fn ran_out(end: &LateEnd) -> Option<RanOut> {
    let is_timed = end.ctx.end.as_ref()?.cause == "deadline_exceeded";
    let lanes = end.lanes.iter().filter(|_| is_timed);
    let at_end = lanes.filter_map(|lane| {
        let at_end = lane.at_end.clone()?;
        Some(RanOut {
            task: lane.task.clone(),
            at_end,
        })
    });
    // Who waits for another task says so, and that one is a lane, too.
    let waits_for_task = |lane: &RanOut| lane.at_end.place.what.as_deref() == Some("join");
    let innermost = at_end.min_by_key(|lane| (waits_for_task(lane), lane.at_end.time));
    innermost.or_else(|| {
        let heard = end.heard.as_ref().filter(|_| is_timed)?;
        Some(RanOut {
            task: heard.task.clone(),
            at_end: heard.at_end.clone(),
        })
    })
}

/// Cuts the delay into parts, backwards from its end.
fn parts(end: &LateEnd) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let Some(mut lane) = end.lanes.first() else {
        return parts;
    };
    let mut seen = vec![lane];
    let mut at = lane.from + lane.late;
    while let Some(segment) = lane.segments.iter().rfind(|segment| segment.from < at) {
        let next = waited_for(end, lane, segment, at).filter(|next| {
            // Each task is gone through once, so this ends.
            !seen.iter().any(|known| std::ptr::eq(*known, *next))
        });
        let from = next.map_or(segment.from, |next| {
            // Told on another thread it may be over a little after what it has ended: no time is added.
            (next.from + next.late).clamp(segment.from, at)
        });
        add(&mut parts, lane, segment, at.saturating_sub(from));
        at = from;
        if let Some(next) = next {
            lane = next;
            seen.push(next);
        }
    }
    let rest = at.saturating_sub(end.asked);
    if !rest.is_zero() {
        // The end was told late, and this task began between the two.
        parts.push(Part {
            task: lane.task.clone(),
            time: rest,
            blame: Blame::Unknown,
        });
    }
    parts.retain(|part| !part.time.is_zero());
    // Stable: parts of one length stay in the order of their time, the last first.
    parts.sort_by_key(|part| std::cmp::Reverse(part.time));
    parts
}

/// Whose end has ended this piece of a wait, if somebody's has.
fn waited_for<'e>(
    end: &'e LateEnd,
    lane: &Lane,
    segment: &Segment,
    at: Duration,
) -> Option<&'e Lane> {
    let is_out = matches!(&segment.phase, Phase::CleanUp { stage, .. } if *stage == "waiting");
    let is_deaf = matches!(segment.phase, Phase::DeafWait { .. });
    if !is_out && !is_deaf {
        return None;
    }
    let waited = at.saturating_sub(segment.from);
    let near = (waited / 20).max(Duration::from_millis(1));
    let candidates = end.lanes.iter().filter(|other| {
        let over = other.from + other.late;
        // It may be told on another thread a little later than what it has ended.
        let is_near = over > segment.from && at.abs_diff(over) <= near;
        // A task that is deaf is to blame itself, unless it waits for what cannot hear at all.
        other.is_over && other.task != lane.task && is_near && (is_out || other.task.is_job)
    });
    candidates.max_by_key(|other| other.late)
}

/// Adds time of a segment to the part that it belongs to.
fn add(parts: &mut Vec<Part>, lane: &Lane, segment: &Segment, time: Duration) {
    let blame = match &segment.phase {
        Phase::TimerLate => Blame::LateTimer,
        Phase::Propagation => Blame::Propagation,
        Phase::DeafWait { place } if lane.is_lost => Blame::LostWaker {
            place: place.clone(),
        },
        Phase::DeafWait { place } => Blame::DeafAwait {
            place: place.clone(),
        },
        Phase::InPoll { place } => Blame::LongPoll {
            place: place.clone(),
        },
        Phase::Queued { behind } => Blame::BusyWorker {
            behind: behind.clone(),
        },
        Phase::PoolQueue => Blame::BusyPool,
        Phase::UncancellableJob => Blame::BlockingJob,
        Phase::CleanUp { stage, place } => Blame::SlowCleanUp {
            stage,
            place: place.clone(),
        },
        Phase::Unknown => Blame::Unknown,
    };
    let known = parts
        .iter_mut()
        .find(|part| part.task == lane.task && part.blame == blame);
    match known {
        Some(part) => part.time += time,
        None => parts.push(Part {
            task: lane.task.clone(),
            time,
            blame,
        }),
    }
}

/// The sentence. Parts under 5 % of the delay are left out of it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ctx)?;
        let ran_out = self.told_ran_out();
        match ran_out {
            Some(ran_out) => self.out_of_time(ran_out, f)?,
            None => self.head(f)?,
        }
        let worth = self.late / 20;
        // Where nothing was late, how the time went before is what matters.
        let is_told = ran_out.is_none() && !self.is_on_time(WORTH);
        let parts = self.parts.iter().filter(|_| is_told);
        let told = parts.filter(|part| part.time >= worth);
        for (at, part) in told.take(PARTS_MAX).enumerate() {
            f.write_str(if at == 0 { ": " } else { "; " })?;
            write!(f, "{part}")?;
        }
        for task in self.panicked.iter().take(PARTS_MAX) {
            write!(f, "; {task} panicked")?;
        }
        for task in self.alive.iter().take(PARTS_MAX) {
            write!(f, "; {task} is still there")?;
        }
        if let (Some(own), Some(budget), Some(owner)) =
            (self.ctx.own_budget, self.ctx.budget, &self.ctx.shortened_by)
        {
            write!(f, "; its own deadline of {} can never fire", Human(own))?;
            write!(f, ", as that of ")?;
            match (&owner.name, &owner.location) {
                (Some(name), Some(location)) => write!(f, "{} at {location}", clean(name))?,
                (Some(name), None) => f.write_str(&clean(name))?,
                (None, Some(location)) => write!(f, "{location}")?,
                (None, None) => write!(f, "context {}", owner.id)?,
            }
            write!(f, " leaves {}", Human(budget))?;
        }
        f.write_str(".")
    }
}

impl Explanation {
    /// All stopped in time, but had not come to an end by then.
    fn out_of_time(&self, ran_out: &RanOut, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(budget) = self.budget {
            write!(f, " had {} and", Human(budget))?;
        }
        let AtEnd { stage, place, time } = &ran_out.at_end;
        let (task, time) = (&ran_out.task, Human(*time));
        if task.is_job {
            write!(f, " ran out of time while {task} had run for {time}")?;
            if let Some(location) = &task.location {
                write!(f, " (handed over at {location})")?;
            }
        } else if *stage == "running" {
            write!(
                f,
                " ran out of time while {task} was polled for {time} at {place}"
            )?;
        } else {
            write!(f, " ran out of time while {task} waited {time} on {place}")?;
        }
        write!(f, "; all stopped within {}", Human(self.late))
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = Human(self.late);
        if self.cause == "deadline_exceeded" {
            match self.budget {
                Some(budget) if budget.is_zero() => {
                    f.write_str(" began when its deadline had passed and")?;
                }
                Some(budget) => write!(f, " had {} and", Human(budget))?,
                None => f.write_str(" reached its deadline and")?,
            }
        } else {
            self.ended(f)?;
        }
        match (self.is_over, self.late.is_zero()) {
            (true, true) => f.write_str(" nothing was late"),
            (true, false) if self.late < WORTH => write!(f, " all stopped within {late}"),
            (true, false) => write!(f, " ended {late} late"),
            (false, _) => write!(f, " is not over {late} later, where the trace ends"),
        }
    }

    /// Why it ended, by whom, and when, of an end that no deadline has made.
    fn ended(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            "peer_gone" | "cancelled" | "sibling_failed" => " was cancelled",
            "dropped" => " was let go",
            _ => " was ended",
        })?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        let end = self.ctx.end.as_ref();
        if let Some(location) = end.and_then(|end| end.location.as_ref()) {
            write!(f, " at {location}")?;
        }
        f.write_str(match self.cause {
            "peer_gone" => ", as its peer was gone,",
            "sibling_failed" => ", as a sibling failed,",
            "panicked" => ", by a panic,",
            "shutdown" => ", by a shutdown,",
            "signal" => ", by a signal,",
            _ => "",
        })?;
        if let Some(message) = end.and_then(|end| end.message.as_ref()) {
            write!(f, " (\"{}\")", clean(message))?;
        }
        write!(f, " after {} and", Human(self.lived))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, time, blame } = self;
        let time = Human(*time);
        match blame {
            Blame::DeafAwait { place } => write!(
                f,
                "{task} waited {time} on {place} without listening to its context (deaf await)"
            ),
            Blame::LostWaker { place } => {
                write!(
                    f,
                    "{task} waited {time} on {place}, and nobody can wake it (lost waker)"
                )
            }
            Blame::LongPoll { place } => write!(f, "{task} was {time} in polls of {place}"),
            Blame::BlockingJob => write!(f, "{task} ran for {time}, and nothing can cancel it"),
            Blame::BusyPool => write!(f, "{task} waited {time} for a thread of the pool"),
            Blame::BusyWorker { behind: None } => {
                write!(f, "{task} was queued for {time}, as workers were busy")
            }
            Blame::BusyWorker {
                behind: Some(behind),
            } => write!(
                f,
                "{task} was queued for {time} behind a poll of {} that took {} at {}",
                behind.task,
                Human(behind.poll),
                behind.place
            ),
            Blame::LateTimer => write!(f, "the timer of its deadline was {time} late"),
            Blame::Propagation => write!(f, "the end took {time} to reach {task}"),
            Blame::SlowCleanUp { stage, place } => {
                write!(
                    f,
                    "{task} took {time} to clean up after it had looked ({stage}"
                )?;
                match place {
                    Some(place) if !place.is_unknown() => write!(f, " on {place})"),
                    _ => f.write_str(")"),
                }
            }
            Blame::Unknown => write!(f, "of {time} of {task} nothing is known"),
        }
    }
}

/// A duration as people say it: `1.74 s`, `98 ms`, `3 s`.
///
/// # Examples
/// ```
/// use ripcord_analysis::explain::Human;
/// use std::time::Duration;
///
/// let shown = [1_740_000, 98_400, 3_000_000, 1_500, 20].map(Duration::from_micros).map(Human);
/// assert_eq!(shown.map(|time| time.to_string()), ["1.74 s", "98 ms", "3 s", "1.5 ms", "20 µs"]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is a way to show a duration, and has no other parts"
)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, name, digits) = match nanos {
            1_000_000_000.. => (1_000_000_000, "s", 2),
            10_000_000.. => (1_000_000, "ms", 0),
            1_000_000.. => (1_000_000, "ms", 1),
            1_000.. => (1_000, "µs", 0),
            _ => (1, "ns", 0),
        };
        let scale = 10_u128.pow(digits);
        let scaled = (nanos * scale + unit / 2) / unit;
        let (whole, part) = (scaled / scale, scaled % scale);
        let width = digits as usize;
        let part = format!("{part:0width$}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole} {name}"),
            part => write!(f, "{whole}.{part} {name}"),
        }
    }
}

/// A delay under this is nobody's fault.
const WORTH: Duration = Duration::from_millis(2);

/// Who stops as soon as this is not late.
const LATE_MIN: Duration = Duration::from_millis(10);

/// More than so many parts are no sentence.
const PARTS_MAX: usize = 3;
