//! How the deadline of a request shrinks from hop to hop, and what each hop uses of it.

use crate::Stat;
use crate::engine::{BudgetTally, Engine, PastHop};
use crate::json::{ns, opt_ns};
use crate::read::{Location, clean};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the requests of one hop had, and what they used: a service's part in the way of requests.
///
/// A hop is a context with the tag `request.id`, as ripcord's servers make one. Hops with the same id
/// belong to one request, in one process or in several whose traces were merged; the first has the
/// deadline by which the others are measured.
///
/// # Limitations
/// Which hop called which one is not in a trace. So what was kept back is what all the hops before it
/// have kept back together. In merged traces it is as exact as the clocks are aligned.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct BudgetRow {
    /// The name of the contexts, as a route.
    pub name: Option<Arc<str>>,
    /// Where they were made.
    pub location: Option<Location>,
    /// How many of them are over.
    pub requests: u64,
    /// How many were the first hop of their request.
    pub entries: u64,
    /// How long they had; those without a deadline are not among them.
    pub budget: Stat,
    /// The least that one had.
    #[serde(serialize_with = "opt_ns")]
    pub budget_min: Option<Duration>,
    /// How much earlier their deadline was than that of their request: what hops before them had kept
    /// back, and caps of their own. First hops are not among them.
    pub kept_back: Stat,
    /// How long they took, until their context ended.
    pub used: Stat,
    /// The least that was left of a budget; zero where one ran out.
    #[serde(serialize_with = "opt_ns")]
    pub left_min: Option<Duration>,
    /// How many ended because their deadline had passed.
    pub ran_out: u64,
    /// How many had no deadline although their request had one: it did not travel.
    pub without: u64,
    /// How many had a later deadline than their request, by more than [`Options::late_min`](crate::Options).
    pub longer: u64,
}

/// One hop of a request that was asked for.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct HopRow {
    /// The id of its context.
    pub ctx: u64,
    /// Its name, as a route.
    pub name: Option<Arc<str>>,
    /// Where its context was made.
    pub location: Option<Location>,
    /// When it began.
    #[serde(serialize_with = "ns")]
    pub begun: Duration,
    /// How long its request had then.
    #[serde(serialize_with = "opt_ns")]
    pub request_left: Option<Duration>,
    /// How long it had itself.
    #[serde(serialize_with = "opt_ns")]
    pub budget: Option<Duration>,
    /// How long it took, until its context ended.
    #[serde(serialize_with = "ns")]
    pub used: Duration,
    /// Whether its deadline ended it.
    pub ran_out: bool,
    /// Whether it is over where the trace ends.
    pub is_over: bool,
}

/// Name and place, as people say them.
fn site(
    name: Option<&Arc<str>>,
    location: Option<&Location>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match (name, location) {
        (Some(name), Some(location)) => write!(f, "{} at {location}", clean(name)),
        (Some(name), None) => f.write_str(&clean(name)),
        (None, Some(location)) => write!(f, "requests of {location}"),
        (None, None) => f.write_str("requests without a name"),
    }
}

impl fmt::Display for BudgetRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        site(self.name.as_ref(), self.location.as_ref(), f)
    }
}

impl fmt::Display for HopRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        site(self.name.as_ref(), self.location.as_ref(), f)
    }
}

/// The rows, those nearest to the entry first.
pub(crate) fn rows(engine: &Engine<'_>) -> Vec<BudgetRow> {
    let mut rows: Vec<(u64, BudgetRow)> = engine
        .budgets
        .rows
        .iter()
        .map(|((name, loc), tally)| (mean_rank(tally), row(engine, *name, *loc, tally)))
        .collect();
    rows.sort_by(|(rank, one), (other_rank, other)| {
        let key = |row: &BudgetRow| (std::cmp::Reverse(row.requests), row.name.clone());
        rank.cmp(other_rank)
            .then_with(|| key(one).cmp(&key(other)))
            .then_with(|| one.location.cmp(&other.location))
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

fn row(engine: &Engine<'_>, name: u32, loc: Option<u64>, tally: &BudgetTally) -> BudgetRow {
    let span = |ticks: Option<u64>| ticks.map(|ticks| engine.timeline.span(ticks));
    BudgetRow {
        name: engine.names.text(name).cloned(),
        location: engine.location(loc),
        requests: tally.used.count,
        entries: tally.entries,
        budget: engine.stat(tally.budget),
        budget_min: span(tally.budget_min),
        kept_back: engine.stat(tally.kept_back),
        used: engine.stat(tally.used),
        left_min: span(tally.left_min),
        ran_out: tally.ran_out,
        without: tally.without,
        longer: tally.longer,
    }
}

/// How far from the entry, in thousandths of a hop.
fn mean_rank(tally: &BudgetTally) -> u64 {
    let total = tally.ranks.saturating_mul(1_000);
    total.checked_div(tally.used.count).unwrap_or(0)
}

/// The hops of requests that were asked for, in the order of their beginnings.
pub(crate) fn hops(engine: &Engine<'_>) -> Vec<HopRow> {
    let mut listed: Vec<&PastHop> = engine.budgets.listed.iter().collect();
    listed.sort_by_key(|over| (over.hop.begun, over.hop.rank, over.id));
    let duration = |from, to| engine.timeline.duration(from, to);
    let row = |over: &PastHop| {
        let hop = &over.hop;
        HopRow {
            ctx: over.id,
            name: engine.names.text(hop.name).cloned(),
            location: engine.location(hop.loc),
            begun: engine.at(hop.begun),
            request_left: hop.first.map(|first| duration(hop.begun, first)),
            budget: hop.deadline.map(|deadline| duration(hop.begun, deadline)),
            used: duration(hop.begun, over.ended),
            ran_out: over.ran_out,
            is_over: over.is_over,
        }
    };
    listed.into_iter().map(row).collect()
}
