//! Two traces by the places in their source: what became slower, later, or deafer.

use crate::json::ns;
use crate::{Analysis, SiteRow, TaskRef};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Two traces, compared by site. Sites are the same if name and file are: lines move.
///
/// # Limitations
/// Traces of different lengths and loads have different counts; compare what is per task or poll.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The sites of both, those first whose time changed the most.
    pub sites: Vec<SiteDiff>,
    /// Contexts that ended late, in the first and in the second trace.
    pub late: [crate::Stat; 2],
    /// The share of waiting with a context among it, in the first and in the second trace.
    pub cancel_coverage: [Option<f64>; 2],
}

/// A site in two traces.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct SiteDiff {
    /// Which one; the line is that of the second trace, or of the first if it is only there.
    pub task: TaskRef,
    /// Before and after; none where the site is not in a trace.
    pub sides: [Option<SiteSide>; 2],
}

/// What is compared of a site. The times are means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct SiteSide {
    /// Tasks that were spawned.
    pub spawned: u64,
    /// Polls.
    pub polls: u64,
    /// Time of a poll.
    #[serde(serialize_with = "ns")]
    pub poll: Duration,
    /// Time in the queue before a poll.
    #[serde(serialize_with = "ns")]
    pub queue: Duration,
    /// Time that a task waited.
    #[serde(serialize_with = "ns")]
    pub wait: Duration,
    /// From the end of a context to the task's first look.
    #[serde(serialize_with = "ns")]
    pub cancel_latency: Duration,
    /// Time that a task waited without listening, after the end of its context.
    #[serde(serialize_with = "ns")]
    pub deaf: Duration,
}

impl Diff {
    /// Compares the first trace with the second.
    ///
    /// # Examples
    /// ```
    /// use ripcord_analysis::diff::Diff;
    /// use ripcord_analysis::read::Trace;
    /// use ripcord_analysis::{Analysis, Options};
    /// use ripcord_trace_format::text;
    /// use std::io::Cursor;
    ///
    /// let of = |ticks: u32| {
    ///     let bytes = text::parse(&format!("\
    /// ript 1.0 clock=monotonic shift=0 frequency=1000 process=1 wall=0 program=\"shop\"
    /// block events window=0 thread=1 first=0 last={ticks} events=3
    ///   +0 task_spawn slot=0 id=5 parent=- ctx=- loc=- bytes=64 name=\"fetch\"
    ///   +0 poll_start slot=0 seq=0
    ///   +{ticks} poll_ready
    /// ")).expect("it is well formed");
    ///     let mut trace = Trace::new(Cursor::new(bytes)).expect("it is a trace");
    ///     Analysis::of(&mut trace, &Options::default()).expect("memory can be read")
    /// };
    /// let diff = Diff::of(&of(20), &of(30));
    /// let polls = diff.sites[0].sides.map(|side| side.map(|side| side.poll.as_millis()));
    /// assert_eq!(polls, [Some(20), Some(30)]);
    /// ```
    #[must_use]
    pub fn of(before: &Analysis, after: &Analysis) -> Self {
        let mut sites: BTreeMap<_, [Vec<&SiteRow>; 2]> = BTreeMap::new();
        for (side, analysis) in [before, after].into_iter().enumerate() {
            for row in &analysis.sites {
                let file = row.task.location.as_ref().map(|location| &location.file);
                let key = (row.task.name.clone(), file.cloned(), row.task.is_job);
                sites.entry(key).or_default()[side].push(row);
            }
        }
        let rows = sites.into_values().map(|sides| {
            let [first, second] = &sides;
            let newest = second.first().or(first.first());
            SiteDiff {
                task: newest.map(|row| row.task.clone()).unwrap_or_default(),
                sides: sides.map(|rows| (!rows.is_empty()).then(|| side(&rows))),
            }
        });
        let mut sites: Vec<_> = rows.collect();
        sites.sort_by_cached_key(|site| std::cmp::Reverse(change(site)));
        Self {
            sites,
            late: [before.late, after.late],
            cancel_coverage: [before.cancel_coverage, after.cancel_coverage],
        }
    }
}

/// One trace's rows of a site, which are several where it is spawned at several lines.
fn side(rows: &[&SiteRow]) -> SiteSide {
    let count = |of: fn(&SiteRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
    let total = |of: fn(&SiteRow) -> Duration| rows.iter().map(|row| of(row)).sum::<Duration>();
    let tasks = count(|row| row.spawned.max(row.life.count + row.alive));
    let polls = count(|row| row.polls.count);
    SiteSide {
        spawned: count(|row| row.spawned),
        polls,
        poll: mean(total(|row| row.polls.total), polls),
        queue: mean(total(|row| row.queue.total), count(|row| row.queue.count)),
        wait: mean(total(|row| row.waited), tasks),
        cancel_latency: mean(
            total(|row| row.observed.total),
            count(|row| row.observed.count),
        ),
        deaf: mean(total(|row| row.deaf), tasks),
    }
}

fn mean(total: Duration, count: u64) -> Duration {
    let nanos = total.as_nanos() / u128::from(count.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How much the times of a site differ, in all.
fn change(site: &SiteDiff) -> Duration {
    let [before, after] = site.sides.map(Option::unwrap_or_default);
    let times = |side: SiteSide| {
        [
            side.poll,
            side.queue,
            side.wait,
            side.cancel_latency,
            side.deaf,
        ]
    };
    let pairs = times(before).into_iter().zip(times(after));
    pairs.map(|(before, after)| before.abs_diff(after)).sum()
}
