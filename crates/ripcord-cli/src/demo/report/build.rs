//! From the facts of a run to its report.

use super::facts::{Asked, Facts, Stop};
use super::model::{
    Cache, Database, FailureRow, FaultRow, NestedTimeout, NotCounted, OutcomeRow, Report, Requests,
    Run, StoppedRequests, TaskRow, Times, VERSION,
};
use super::overran::{causes, overran};
use super::units::{millis, place};
use crate::demo::faults::Fault;
use crate::demo::load::{Outcome, Stats};
use crate::demo::store;
use crate::demo::tally::{Samples, Tier};
use crate::demo::topology::Service;
use ripcord::{LatencyRow, OVERFLOW, Quantiles};
use std::time::Duration;

impl Report {
    pub(crate) fn new(facts: Facts) -> Self {
        let (overran, overran_dropped) = overran(&facts);
        let rows = facts.latency.rows();
        let not_counted = NotCounted {
            foreign_panics: ripcord::foreign_panics(),
            tasks_in_shared_row: shared_row(rows),
            undated_tasks: rows.iter().map(|row| row.undated).sum(),
            overrun_tasks: overran_dropped,
            failure_messages: facts.stats.failures_dropped,
            requests_cut_short: facts.stats.of(Outcome::CutShort),
        };
        Self {
            version: VERSION,
            program: format!("ripcord {}", env!("CARGO_PKG_VERSION")),
            run: run(&facts.asked, facts.seconds, facts.stop),
            requests: requests(&facts.stats),
            faults: faults(&facts),
            stopped_requests: stopped_requests(&facts.ended),
            tasks: rows.iter().map(task).collect(),
            overran,
            database: database(&facts.store),
            cache: Cache {
                hits: facts.cache.hits,
                loads: facts.cache.loads,
                joined_a_load: facts.cache.joined,
            },
            nested_timeouts: facts.tiers.into_iter().filter_map(nested).collect(),
            not_counted,
        }
    }
}

fn run(asked: &Asked, seconds: Duration, stop: Stop) -> Run {
    Run {
        seconds_asked: asked.seconds,
        seconds: millis(seconds) / 1000.0,
        concurrency: asked.concurrency,
        rate: asked.rate,
        seed: asked.seed,
        ended_by: if stop.is_signalled { "signal" } else { "time" },
        is_cut_short: stop.is_cut_short,
        drain_ms: millis(stop.drain),
        cleanup_ms: millis(stop.cleanup),
    }
}

fn requests(stats: &Stats) -> Requests {
    let outcomes = Outcome::ALL.into_iter().map(|outcome| OutcomeRow {
        outcome: outcome.name(),
        about: outcome.about(),
        count: stats.of(outcome),
    });
    let mut failures: Vec<FailureRow> = stats
        .failures
        .iter()
        .map(|(message, count)| FailureRow {
            message: message.clone(),
            count: *count,
        })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    Requests {
        total: stats.total(),
        ok: stats.of(Outcome::Ok),
        outcomes: outcomes.collect(),
        latency: times_of(&stats.latency),
        failures,
    }
}

fn faults(facts: &Facts) -> Vec<FaultRow> {
    let asked = facts.asked.faults.iter();
    let row = |fault: &Fault| FaultRow {
        name: fault.name(),
        about: fault.about(),
        injected: match fault {
            Fault::Signal => u64::from(facts.stop.is_signalled),
            _ => facts.stats.injected.get(fault).copied().unwrap_or_default(),
        },
    };
    asked.map(row).collect()
}

/// By service, in the order of a request's way through them.
fn stopped_requests(ended: &[(&'static str, &'static str, u64)]) -> Vec<StoppedRequests> {
    let rows = Service::ALL.into_iter().filter_map(|service| {
        let of_route = ended
            .iter()
            .filter(|(route, ..)| route.ends_with(service.path()));
        let (route, ..) = of_route.clone().next()?;
        let causes = causes(of_route.map(|(_, kind, count)| ((*kind).to_owned(), *count)));
        Some(StoppedRequests { route, causes })
    });
    rows.collect()
}

fn task(row: &LatencyRow) -> TaskRow {
    let kinds = row.causes.iter();
    TaskRow {
        name: row.name.clone(),
        spawned_at: row.site.map(|site| place(site.file(), site.line())),
        count: row.gone.count + row.undated,
        saw: times(row.saw),
        gone: times(row.gone),
        never_looked: row.unseen,
        undated: row.undated,
        causes: causes(kinds.map(|(kind, count)| (kind.as_str().to_owned(), *count))),
    }
}

fn shared_row(rows: &[LatencyRow]) -> u64 {
    let shared = rows.iter().filter(|row| row.name == OVERFLOW);
    shared.map(|row| row.gone.count + row.undated).sum()
}

fn database(counts: &store::Counts) -> Database {
    Database {
        finished: counts.finished,
        interrupted: times_of(&counts.interrupted),
        not_started: counts.not_started,
        outran_interrupt: counts.outran,
        failed: counts.failed,
    }
}

/// A time-out that an outer one was earlier than, at least once.
fn nested(tier: Tier) -> Option<NestedTimeout> {
    let outer = tier.outer?;
    Some(NestedTimeout {
        name: tier.name.to_owned(),
        site: place(tier.site.file(), tier.site.line()),
        asked_ms: millis(tier.asked),
        owner: outer.owner,
        owner_site: outer.site.map(|site| place(site.file(), site.line())),
        owner_left_ms: millis(outer.left),
        calls: tier.calls,
        count: outer.count,
        is_always: outer.count == tier.calls,
    })
}

fn times(quantiles: Quantiles) -> Times {
    let of = |duration| (quantiles.count > 0).then(|| millis(duration));
    Times {
        count: quantiles.count,
        p50_ms: of(quantiles.p50),
        p99_ms: of(quantiles.p99),
        max_ms: of(quantiles.max),
    }
}

fn times_of(samples: &Samples) -> Times {
    let of = |quantile| (samples.count() > 0).then(|| millis(samples.quantile(quantile)));
    Times {
        count: samples.count(),
        p50_ms: of(0.5),
        p99_ms: of(0.99),
        max_ms: of(1.0),
    }
}
