//! The books: what the services note while they run, for the report.

use super::evidence::Evidence;
use super::topology::{Service, is_request};
use hdrhistogram::Histogram;
use ripcord::{Ctx, Deadline, TaskInfo};
use ripcord_http::Report;
use ripcord_propagation::{CtxCarried, DeadlineSource};
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks; a panic elsewhere leaves no half-written books.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Durations, kept as a histogram with two significant digits.
#[derive(Clone, Debug)]
pub(super) struct Samples(Histogram<u64>);

impl Default for Samples {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2);
        Self(histogram.expect("1 µs to an hour with two digits is a valid histogram"))
    }
}

impl Samples {
    pub(super) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that so much of all lies at or below; 0 if there is none.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(self.0.value_at_quantile(quantile).min(self.0.max()))
    }
}

/// A time-out of a given length at a given place, and how often an outer one was earlier.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) name: &'static str,
    pub(super) site: &'static Location<'static>,
    pub(super) asked: Duration,
    pub(super) calls: u64,
    pub(super) outer: Option<Outer>,
}

/// A time-out that a caller asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) name: &'static str,
    pub(super) site: &'static Location<'static>,
    pub(super) time: Duration,
}

/// Who had set the earlier deadline.
#[derive(Clone, Debug)]
pub(super) struct Outer {
    pub(super) owner: String,
    pub(super) site: Option<&'static Location<'static>>,
    /// Where the owner has it from, if it came with the request.
    pub(super) source: Option<DeadlineSource>,
    /// The most that it had left.
    pub(super) left: Duration,
    pub(super) count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests whose context was done, by route and kind of cause.
    ended: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    tiers: Mutex<BTreeMap<(&'static str, u32, Duration), Tier>>,
    stragglers: Mutex<Stragglers>,
    evidence: Mutex<Evidence>,
    served: Mutex<Vec<Served>>,
}

/// What became of the connections of a service.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) service: Service,
    /// Why it could not be served, if so.
    pub(super) error: Option<String>,
    pub(super) connections: Report,
}

/// The tasks that scopes had to abort.
#[derive(Clone, Debug, Default)]
pub(super) struct Stragglers {
    pub(super) tasks: Vec<TaskInfo>,
    /// How many more there were than are kept.
    pub(super) dropped: u64,
}

impl Tally {
    /// A request has its answer, or lost its client, after its context was done.
    pub(super) fn ended(&self, route: &'static str, cause: &'static str) {
        *lock(&self.ended).entry((route, cause)).or_default() += 1;
    }

    /// What became of the connections of a service.
    pub(super) fn connections(&self, service: Service, connections: Report) {
        lock(&self.served).push(Served {
            service,
            error: None,
            connections,
        });
    }

    /// A service could not be served.
    pub(super) fn not_served(&self, service: Service, error: String) {
        lock(&self.served).push(Served {
            service,
            error: Some(error),
            connections: Report::default(),
        });
    }

    pub(super) fn all_served(&self) -> Vec<Served> {
        let mut served = lock(&self.served).clone();
        served.sort_by_key(|served| served.service.index());
        served
    }

    /// What the faults of a single place leave behind.
    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        lock(&self.evidence)
    }

    /// A call got a time-out of its own, under which `deadline` is in force.
    pub(super) fn tier(&self, asked: &Asked, deadline: Option<&Deadline>, ctx: &Ctx) {
        let Asked { name, site, time } = *asked;
        let mut tiers = lock(&self.tiers);
        let key = (name, site.line(), time);
        let tier = tiers.entry(key).or_insert_with(|| Tier {
            name,
            site,
            asked: time,
            calls: 0,
            outer: None,
        });
        tier.calls += 1;
        let Some(deadline) = deadline.filter(|deadline| deadline.owner() != Some(name)) else {
            return;
        };
        let owner = deadline.owner().unwrap_or("a context without a name");
        let left = ctx.remaining().unwrap_or_default();
        let outer = tier.outer.get_or_insert_with(|| Outer {
            owner: owner.to_owned(),
            site: deadline.site(),
            source: source(ctx, owner),
            left,
            count: 0,
        });
        outer.count += 1;
        outer.left = outer.left.max(left);
    }

    pub(super) fn stragglers(&self, tasks: &[TaskInfo]) {
        let mut stragglers = lock(&self.stragglers);
        for task in tasks {
            if stragglers.tasks.len() < STRAGGLERS_MAX {
                stragglers.tasks.push(task.clone());
            } else {
                stragglers.dropped += 1;
            }
        }
    }

    /// Route, kind of cause, how often.
    pub(super) fn all_ended(&self) -> Vec<(&'static str, &'static str, u64)> {
        let ended = lock(&self.ended);
        let rows = ended.iter();
        rows.map(|((route, kind), count)| (*route, *kind, *count))
            .collect()
    }

    pub(super) fn all_tiers(&self) -> Vec<Tier> {
        lock(&self.tiers).values().cloned().collect()
    }

    pub(super) fn all_stragglers(&self) -> Stragglers {
        lock(&self.stragglers).clone()
    }
}

/// Who set the deadline of the request, if its context is the owner.
fn source(ctx: &Ctx, owner: &str) -> Option<DeadlineSource> {
    ctx.carried()?
        .deadline_source()
        .filter(|_| is_request(owner))
}

/// So many are kept with their stacks; the rest is counted.
const STRAGGLERS_MAX: usize = 1000;
