//! Sums by place in the source, as rows.

use crate::contexts::NeverFires;
use crate::engine::{Engine, wakers};
use crate::json::ns;
use crate::{Place, SiteRow, Stat, TaskRef};
use serde::Serialize;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// Waits of the tasks of one site with one label.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct WaitRow {
    /// Whose.
    pub task: TaskRef,
    /// What they waited for, as far as a label says so.
    pub label: Option<Arc<str>>,
    /// Where that stands in the source, as far as the trace says so.
    pub location: Option<crate::read::Location>,
    /// How long.
    pub time: Stat,
    /// Those with a context among what was waited for.
    pub listening: Stat,
    /// Who ended them.
    pub wakes: Vec<(&'static str, u64)>,
}

/// A place where tasks waited without listening after the end of their context.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct DeafSite {
    /// The place.
    pub place: Place,
    /// How often, and how long, after the end.
    pub time: Stat,
}

/// Long polls of the tasks of one site, or of one region of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct LongPoll {
    /// Whose.
    pub task: TaskRef,
    /// In which region they ended.
    pub region: Option<Arc<str>>,
    /// How often, and how long.
    pub time: Stat,
    /// Tasks that were queued behind one of them for long, and for how long because of it.
    pub victims: Stat,
}

/// Tasks of a site that waited while nobody could wake them.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct LostWaker {
    /// Whose.
    pub task: TaskRef,
    /// What they waited for, as far as a label says so.
    pub label: Option<Arc<str>>,
    /// How often.
    pub count: u64,
}

/// A worker that was stuck in one poll, as its watcher has seen it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Stall {
    /// When it was told.
    #[serde(serialize_with = "ns")]
    pub at: Duration,
    /// Who was polled.
    pub task: Option<TaskRef>,
    /// In which region.
    pub region: Option<Arc<str>>,
    /// For how long so far.
    #[serde(serialize_with = "ns")]
    pub time: Duration,
}

/// All of them, each the worst first.
pub(crate) struct Rows {
    pub(crate) sites: Vec<SiteRow>,
    pub(crate) waits: Vec<WaitRow>,
    pub(crate) never_fires: Vec<NeverFires>,
    pub(crate) deaf_sites: Vec<DeafSite>,
    pub(crate) long_polls: Vec<LongPoll>,
    pub(crate) lost_wakers: Vec<LostWaker>,
    pub(crate) coverage: Option<f64>,
    pub(crate) coverage_by_count: Option<f64>,
}

impl Rows {
    pub(crate) fn of(engine: &Engine<'_>) -> Self {
        let (coverage, coverage_by_count) = coverage(engine);
        Self {
            sites: sites(engine),
            waits: waits(engine),
            never_fires: never_fires(engine),
            deaf_sites: deaf_sites(engine),
            long_polls: long_polls(engine),
            lost_wakers: lost_wakers(engine),
            coverage,
            coverage_by_count,
        }
    }
}

fn sites(engine: &Engine<'_>) -> Vec<SiteRow> {
    let rows = (0..).zip(&engine.tally.sites).map(|(number, site)| {
        let [ready, panicked, aborted, dropped, _] = site.outcomes;
        SiteRow {
            task: engine.site_ref(number),
            spawned: site.spawned,
            ready,
            panicked,
            aborted,
            dropped,
            alive: site.alive,
            polls: engine.stat(site.polls),
            idle_polls: site.idle_polls,
            queue: engine.stat(site.queue),
            waited: engine.timeline.span(site.waited),
            life: engine.stat(site.life),
            observed: engine.stat(site.observed),
            late: engine.stat(site.late),
            wasted: engine.timeline.span(site.wasted),
            deaf: engine.timeline.span(site.deaf),
            leaks: engine.stat(site.leaks),
        }
    });
    let mut rows: Vec<_> = rows
        .filter(|row| row.polls.count + row.spawned + row.alive > 0 || row.life.count > 0)
        .collect();
    rows.sort_by(|a, b| {
        let key = |row: &SiteRow| (Reverse(row.polls.total), Reverse(row.spawned));
        key(a)
            .cmp(&key(b))
            .then_with(|| names(&a.task).cmp(&names(&b.task)))
    });
    rows
}

/// What rows are put in order by where their numbers are equal.
fn names(task: &TaskRef) -> (Option<&Arc<str>>, Option<&crate::read::Location>, bool) {
    (task.name.as_ref(), task.location.as_ref(), task.is_job)
}

fn label(engine: &Engine<'_>, label: Option<u64>) -> Option<Arc<str>> {
    label.and_then(|label| engine.tables.label(label)).cloned()
}

fn waits(engine: &Engine<'_>) -> Vec<WaitRow> {
    let rows = engine
        .tally
        .waits
        .iter()
        .map(|((site, number), wait)| WaitRow {
            task: engine.site_ref(*site),
            label: label(engine, *number),
            location: number
                .and_then(|label| engine.tables.label_location(label))
                .cloned(),
            time: engine.stat(wait.time),
            listening: engine.stat(wait.listening),
            wakes: wakers(&wait.wakes),
        });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let key = |row: &WaitRow| (Reverse(row.time.total), row.label.clone());
        key(a)
            .cmp(&key(b))
            .then_with(|| a.location.cmp(&b.location))
            .then_with(|| names(&a.task).cmp(&names(&b.task)))
    });
    rows
}

/// How much of the waiting was with a context among it: by time, and by count.
#[allow(
    clippy::cast_precision_loss,
    reason = "a share is shown in per cent; the sums are exact elsewhere"
)]
fn coverage(engine: &Engine<'_>) -> (Option<f64>, Option<f64>) {
    let waits = engine.tally.waits.values();
    let [mut all, mut heard, mut count, mut heard_count] = [0_u64; 4];
    for wait in waits {
        all = all.saturating_add(wait.time.total);
        heard = heard.saturating_add(wait.listening.total);
        count += wait.time.count;
        heard_count += wait.listening.count;
    }
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    (share(heard, all), share(heard_count, count))
}

fn never_fires(engine: &Engine<'_>) -> Vec<NeverFires> {
    let rows = engine
        .tally
        .never
        .iter()
        .map(|((inner, outer), by)| NeverFires {
            location: engine.location(*inner),
            shortened_by: engine.location(*outer),
            by: engine.stat(*by),
        });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let count = b.by.count.cmp(&a.by.count);
        count.then_with(|| (&a.location, &a.shortened_by).cmp(&(&b.location, &b.shortened_by)))
    });
    rows
}

fn deaf_sites(engine: &Engine<'_>) -> Vec<DeafSite> {
    let rows = engine.tally.deaf.iter().map(|(place, deaf)| DeafSite {
        place: place.clone(),
        time: engine.stat(deaf.time),
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let total = b.time.total.cmp(&a.time.total);
        total.then_with(|| a.place.cmp(&b.place))
    });
    rows
}

fn long_polls(engine: &Engine<'_>) -> Vec<LongPoll> {
    let rows = engine
        .tally
        .long
        .iter()
        .map(|((site, region), long)| LongPoll {
            task: engine.site_ref(*site),
            region: label(engine, *region),
            time: engine.stat(long.time),
            victims: engine.stat(long.victims),
        });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let key = |row: &LongPoll| (Reverse(row.time.total), row.region.clone());
        key(a)
            .cmp(&key(b))
            .then_with(|| names(&a.task).cmp(&names(&b.task)))
    });
    rows
}

fn lost_wakers(engine: &Engine<'_>) -> Vec<LostWaker> {
    let rows = engine
        .tally
        .lost
        .iter()
        .map(|((site, number), count)| LostWaker {
            task: engine.site_ref(*site),
            label: label(engine, *number),
            count: *count,
        });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| {
        let count = b.count.cmp(&a.count);
        count.then_with(|| names(&a.task).cmp(&names(&b.task)))
    });
    rows
}
