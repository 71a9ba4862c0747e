//! From the facts of a run to its report.

use super::budget::budgets;
use super::facts::{Asked, Facts, Stop};
use super::model::{
    Cache, Connections, Database, Deadlines, Explained, FailureRow, FaultRow, Lost, NestedTimeout,
    NotCounted, OutcomeRow, Recording, Report, Requests, Run, StaleTimeouts, StoppedRequests,
    TaskRow, Telemetry, Times, UnreadUploads, VERSION, WentOn, WrongClock,
};
use super::overran::{causes, overran};
use super::units::{millis, place};
use crate::demo::evidence::{self, Clocks};
use crate::demo::faults::Fault;
use crate::demo::load::{Outcome, Stats};
use crate::demo::probes::BEHIND;
use crate::demo::recorded::{Recorded, Story};
use crate::demo::store;
use crate::demo::tally::{Samples, Served, Tier};
use crate::demo::telemetry::{self, Undelivered};
use crate::demo::topology::ROUTES;
use crate::trace::plain;
use ripcord::{LatencyRow, OVERFLOW, Quantiles};
use ripcord_propagation::DeadlineSource;
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
            requests_not_followed: facts.trips.missed,
        };
        Self {
            version: VERSION,
            program: format!("ripcord {}", env!("CARGO_PKG_VERSION")),
            run: run(&facts.asked, facts.seconds, facts.stop),
            requests: requests(&facts.stats),
            connections: facts.served.iter().map(connections).collect(),
            faults: faults(&facts),
            budgets: budgets(&facts.trips),
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
            went_on: went_on(&facts.evidence.went_on),
            unread_uploads: UnreadUploads {
                noticed: times_of(&facts.evidence.uploads.noticed),
                unnoticed: facts.evidence.uploads.unnoticed,
            },
            wrong_clock: wrong_clock(facts.evidence.clocks),
            stale_timeouts: StaleTimeouts {
                forwarded: times_of(&facts.evidence.stale.forwarded),
                arrived: times_of(&facts.evidence.stale.arrived),
                mended: facts.evidence.stale.mended,
            },
            telemetry: telemetry(facts.undelivered),
            recording: recording(facts.recorded),
            not_counted,
        }
    }
}

fn recording(recorded: Result<Recorded, String>) -> Recording {
    let recorded = match recorded {
        Ok(recorded) => recorded,
        Err(error) => {
            return Recording {
                error: Some(error),
                ..Recording::default()
            };
        }
    };
    let explained = |fault: Option<Fault>, story: Story| Explained {
        fault: fault.map(Fault::name),
        sentence: plain(&story.sentence).to_string(),
        blame: story.blame,
        task: story.task,
        at: story.at,
    };
    let faults = recorded.faults.into_iter();
    let latest = recorded.latest.into_iter();
    let losses = recorded.losses;
    Recording {
        error: None,
        events: recorded.events,
        event_bytes: recorded.bytes,
        events_missing: losses.evicted + losses.lost + losses.unwritten,
        cancel_coverage: recorded.coverage,
        faults: faults
            .map(|(fault, story)| explained(Some(fault), story))
            .collect(),
        latest: latest.map(|story| explained(None, story)).collect(),
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

fn connections(served: &Served) -> Connections {
    let all = &served.connections;
    Connections {
        service: served.service.name(),
        error: served.error.clone(),
        accepted: all.accepted,
        closed: all.closed,
        hung_up: all.hung_up,
        silent: all.silent,
        failed: all.failed,
        forced: all.forced,
        stuck: all.stuck,
        not_accepted: all.accept_errors,
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

/// By route, in the order of a request's way through them.
fn stopped_requests(ended: &[(&'static str, &'static str, u64)]) -> Vec<StoppedRequests> {
    let rows = ROUTES.into_iter().filter_map(|(.., route)| {
        let of_route = ended.iter().filter(|(of, ..)| *of == route);
        let causes = causes(of_route.map(|(_, kind, count)| ((*kind).to_owned(), *count)));
        (!causes.is_empty()).then_some(StoppedRequests { route, causes })
    });
    rows.collect()
}

fn went_on(evidence: &evidence::WentOn) -> WentOn {
    WentOn {
        route: "POST /tax",
        callers_gave_up: times_of(&evidence.callers),
        callee_over: times_of(&evidence.callees),
    }
}

fn wrong_clock(clocks: Clocks) -> WrongClock {
    let row = |row: evidence::Deadlines| Deadlines {
        sent: row.sent,
        ok: row.ok,
        refused: row.refused,
    };
    WrongClock {
        behind_ms: millis(BEHIND),
        relative: row(clocks.relative),
        absolute_untrusted: row(clocks.untrusted),
        absolute_trusted: row(clocks.trusted),
    }
}

fn telemetry(undelivered: Undelivered) -> Telemetry {
    let lost = |lost: telemetry::Lost| Lost {
        queue_full: lost.queue_full,
        export_failed: lost.export_failed,
        unsent: lost.unsent,
    };
    Telemetry {
        sent_to: undelivered.url,
        spans_lost: lost(undelivered.spans),
        logs_lost: lost(undelivered.logs),
        metric_exports_failed: undelivered.metrics,
    }
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
        owner_source: match outer.source {
            Some(DeadlineSource::Caller) => "caller",
            Some(_) => "policy",
            None => "code",
        },
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
