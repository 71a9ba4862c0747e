//! Everything that one pass over a trace tells.

use crate::budgets::{BudgetRow, HopRow};
use crate::contexts::{CtxRow, NeverFires};
use crate::engine::{Engine, Map};
use crate::json::ns;
use crate::read::{Health, OpenError, Trace};
use crate::reports::{DeafSite, LongPoll, LostWaker, Rows, Stall, WaitRow};
use crate::waterfall::LateEnd;
use crate::{Options, SiteRow, Stat, TaskRow};
use serde::Serialize;
use std::io::{Read, Seek};
use std::time::Duration;

/// What a trace tells, as plain values. Times are from the beginning of the trace; in JSON they are
/// nanoseconds.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Trace;
/// use ripcord_analysis::{Analysis, Options};
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
/// use std::time::Duration;
///
/// let bytes = text::parse("\
/// ript 1.0 clock=monotonic shift=0 frequency=1000 process=1 wall=0 program=\"shop\"
/// block events window=0 thread=1 first=0 last=30 events=3
///   +0 task_spawn slot=0 id=5 parent=- ctx=- loc=- bytes=64 name=\"fetch\"
///   +10 poll_start slot=0 seq=0
///   +20 poll_ready
/// ")?;
/// let analysis = Analysis::of(&mut Trace::new(Cursor::new(bytes))?, &Options::default())?;
/// assert_eq!(analysis.tasks[0].queued, Duration::from_millis(10));
/// assert_eq!(analysis.sites[0].task.to_string(), "task fetch");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// Memory for what is live at a time in the trace, for each place in its source, and for what
/// [`Options`] says is kept one by one.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// What is missing in the trace, and therefore here.
    pub health: Health,
    /// How long the trace is.
    #[serde(serialize_with = "ns")]
    pub span: Duration,
    /// Nanoseconds since 1970 at which it begins, by the recorded machine.
    pub begins_ns: u64,
    /// Events that were looked at.
    pub events: u64,
    /// Contexts that were made.
    pub contexts_made: u64,
    /// What could not be followed because there is too much of it; 0 for a trace of a real program.
    pub ignored: u64,
    /// Tasks and jobs one by one, in the order of their ends; those alive come last.
    pub tasks: Vec<TaskRow>,
    /// How many more there were.
    pub tasks_left_out: u64,
    /// Tasks and jobs by where they were spawned; the busiest first.
    pub sites: Vec<SiteRow>,
    /// Waits by site and label; the longest in all first.
    pub waits: Vec<WaitRow>,
    /// Contexts one by one, in the order of their making.
    pub contexts: Vec<CtxRow>,
    /// How many more there were.
    pub contexts_left_out: u64,
    /// Own deadlines that can never fire; the most frequent first.
    pub never_fires: Vec<NeverFires>,
    /// What requests had and used, by hop; those nearest to the entry first.
    pub budgets: Vec<BudgetRow>,
    /// The hops of requests that were asked for, in the order of their beginnings.
    pub hops: Vec<HopRow>,
    /// Contexts that ended while tasks were alive under them.
    pub ends_with_tasks: u64,
    /// Those that were late, by how much.
    pub late: Stat,
    /// The latest of them, and those that were asked for; the latest first.
    pub late_ends: Vec<LateEnd>,
    /// Places where tasks waited without listening after the end of their context; the worst first.
    pub deaf_sites: Vec<DeafSite>,
    /// How much of all waiting was with a context among it, from 0 to 1: by time. None without waits.
    pub cancel_coverage: Option<f64>,
    /// The same by number of waits.
    pub cancel_coverage_by_count: Option<f64>,
    /// Long polls by site and region; those that took the most time first.
    pub long_polls: Vec<LongPoll>,
    /// Tasks that waited while nobody could wake them.
    pub lost_wakers: Vec<LostWaker>,
    /// Workers that were stuck in one poll.
    pub stalls: Vec<Stall>,
}

/// Two contexts that were over at so nearly the same time were held by the same.
const SAME: Duration = Duration::from_millis(1);

impl Analysis {
    /// Goes over the events of a trace once.
    ///
    /// # Errors
    /// [`OpenError`]: the input failed. Damage is no error: see [`health`](Self::health).
    pub fn of<R: Read + Seek>(trace: &mut Trace<R>, options: &Options) -> Result<Self, OpenError> {
        Self::with_progress(trace, options, |_| ())
    }

    /// The same, and tells how many events it has seen, every 65,536 of them.
    ///
    /// [`Health::events_declared`] is how many there are about.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn with_progress<R: Read + Seek>(
        trace: &mut Trace<R>,
        options: &Options,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, OpenError> {
        let (begin, end) = trace.span().unwrap_or((0, 0));
        let orphans = trace.orphans()?;
        let events = trace.events();
        let mut engine = Engine::new(events.tables(), events.timeline(), begin, options);
        engine.begin_with(&orphans);
        drop(orphans);
        events.for_each(|step| {
            engine.step(&step);
            if engine.tally.events.is_multiple_of(PROGRESS_EVENTS) {
                progress(engine.tally.events);
            }
        })?;
        engine.finish();
        let span = engine.timeline.duration(begin, end);
        let begins_ns = engine.timeline.wall_nanos(begin);
        let rows = Rows::of(&engine);
        let (budgets, hops) = (crate::budgets::rows(&engine), crate::budgets::hops(&engine));
        let tally = &engine.tally;
        let (events, contexts_made, ignored) = (tally.events, tally.contexts, tally.ignored);
        let (ends_with_tasks, late) = (tally.incidents, engine.stat(tally.late));
        let kept = engine.kept;
        let mut late_ends = kept.ends.into_sorted(options.worst);
        for end in &mut late_ends {
            end.name_by(&engine.late_stacks);
        }
        Ok(Self {
            health: trace.health().clone(),
            span,
            begins_ns,
            events,
            contexts_made,
            ignored,
            tasks: kept.tasks,
            tasks_left_out: kept.tasks_left_out,
            sites: rows.sites,
            waits: rows.waits,
            contexts: kept.ctxs,
            contexts_left_out: kept.ctxs_left_out,
            never_fires: rows.never_fires,
            budgets,
            hops,
            ends_with_tasks,
            late,
            late_ends,
            deaf_sites: rows.deaf_sites,
            cancel_coverage: rows.coverage,
            cancel_coverage_by_count: rows.coverage_by_count,
            long_polls: rows.long_polls,
            lost_wakers: rows.lost_wakers,
            stalls: kept.stalls,
        })
    }

    /// The ended contexts with this id, or with a tag of this text; the latest first.
    ///
    /// They are here if they were selected in [`Options`], or are among the worst.
    pub fn ends_of<'a>(&'a self, id_or_tag: &'a str) -> impl Iterator<Item = &'a LateEnd> {
        self.late_ends.iter().filter(move |end| {
            let has_tag = end.ctx.tags.iter().any(|(_, text)| **text == *id_or_tag);
            has_tag || end.ctx.id.to_string() == id_or_tag
        })
    }

    /// The late ends that tell something of their own; the latest first.
    ///
    /// Where a context ends, those below it end as well, and a task that does not stop makes all of
    /// them late. Only the topmost of those is here: it is the one that somebody waited for.
    pub fn stories(&self) -> impl Iterator<Item = &LateEnd> {
        self.late_ends.iter().filter(|end| {
            let culprit = end.lanes.first().map(|lane| &lane.task);
            let over = end.asked + end.late;
            !end.above.iter().any(|above| {
                let above = self.late_ends.iter().find(|other| other.ctx.id == above.id);
                above.is_some_and(|above| {
                    let is_same = (above.asked + above.late).abs_diff(over) <= SAME;
                    is_same && above.lanes.first().map(|lane| &lane.task) == culprit
                })
            })
        })
    }

    /// Sites whose tasks went on after the end of their context; those that did so for the longest
    /// time first.
    #[must_use]
    pub fn ghosts(&self) -> Vec<&SiteRow> {
        let mut ghosts: Vec<_> = self
            .sites
            .iter()
            .filter(|site| site.late.count > 0)
            .collect();
        ghosts.sort_by_key(|site| std::cmp::Reverse(site.late.total));
        ghosts
    }

    /// Sites whose tasks are alive at the end of the trace, and old; the oldest first.
    #[must_use]
    pub fn leaks(&self) -> Vec<&SiteRow> {
        let mut leaks: Vec<_> = self
            .sites
            .iter()
            .filter(|site| site.leaks.count > 0)
            .collect();
        leaks.sort_by_key(|site| std::cmp::Reverse(site.leaks.max));
        leaks
    }

    /// Sites whose tasks were woken again and again for nothing; the most wakes first.
    #[must_use]
    pub fn wake_storms(&self) -> Vec<&SiteRow> {
        let is_storm = |site: &&SiteRow| {
            site.idle_polls >= STORM_MIN && site.idle_polls * 2 >= site.polls.count
        };
        let mut storms: Vec<_> = self.sites.iter().filter(is_storm).collect();
        storms.sort_by_key(|site| std::cmp::Reverse(site.idle_polls));
        storms
    }
}

const PROGRESS_EVENTS: u64 = 1 << 16;

/// Fewer polls for nothing are no storm.
const STORM_MIN: u64 = 1_000;

/// What an engine keeps one by one.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) tasks_left_out: u64,
    pub(crate) ctxs: Vec<CtxRow>,
    pub(crate) ctxs_left_out: u64,
    pub(crate) ctx_rows: Map<u64, usize>,
    pub(crate) ends: Worst,
    pub(crate) stalls: Vec<Stall>,
}

impl Kept {
    pub(crate) fn ctx_row(&mut self, id: u64) -> Option<&mut CtxRow> {
        self.ctxs.get_mut(*self.ctx_rows.get(&id)?)
    }
}

/// The latest ends, and those that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Worst {
    selected: Vec<(u64, LateEnd)>,
    latest: Vec<(u64, LateEnd)>,
    /// Less than this is not among the worst.
    floor: u64,
}

impl Worst {
    pub(crate) const fn has_room(&self, late: u64) -> bool {
        late >= self.floor
    }

    /// Keeps one; every so often those that are not among the worst are dropped.
    pub(crate) fn push(&mut self, late: u64, is_selected: bool, end: LateEnd, max: usize) {
        if is_selected {
            if self.selected.len() < SELECTED_MAX {
                self.selected.push((late, end));
            }
            return;
        }
        self.latest.push((late, end));
        if self.latest.len() >= max.saturating_mul(2).max(1) {
            self.trim(max);
        }
    }

    fn trim(&mut self, max: usize) {
        self.latest
            .sort_by_key(|(late, _)| std::cmp::Reverse(*late));
        self.latest.truncate(max);
        if self.latest.len() >= max {
            self.floor = self.latest.last().map_or(u64::MAX, |(late, _)| *late);
        }
    }

    pub(crate) fn into_sorted(mut self, max: usize) -> Vec<LateEnd> {
        self.trim(max);
        let mut all = self.latest;
        all.extend(self.selected);
        all.sort_by_key(|(late, _)| std::cmp::Reverse(*late));
        all.into_iter().map(|(_, end)| end).collect()
    }
}

/// A text that so many requests have in common does not select.
const SELECTED_MAX: usize = 1_000;
