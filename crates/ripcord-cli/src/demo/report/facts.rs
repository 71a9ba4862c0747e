//! What a run leaves behind.

use crate::args::DemoArgs;
use crate::demo::cache;
use crate::demo::evidence::Evidence;
use crate::demo::faults::Fault;
use crate::demo::journal::Picked;
use crate::demo::load::Stats;
use crate::demo::recorded::Recorded;
use crate::demo::store;
use crate::demo::tally::{Served, Stragglers, Tier};
use crate::demo::telemetry::Undelivered;
use crate::demo::watch::Seen;
use ripcord::{LatencyReport, TaskInfo};
use std::time::Duration;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) seconds: u64,
    pub(super) concurrency: u16,
    pub(super) rate: u32,
    pub(super) seed: u64,
    pub(super) faults: Vec<Fault>,
}

impl Asked {
    pub(crate) fn new(args: &DemoArgs, faults: &[Fault]) -> Self {
        Self {
            seconds: args.seconds,
            concurrency: args.concurrency,
            rate: args.rate,
            seed: args.seed,
            faults: faults.to_vec(),
        }
    }
}

/// How the run ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// A signal ended the load before its time.
    pub(crate) is_signalled: bool,
    /// A second signal ended the drain or the clean-up.
    pub(crate) is_cut_short: bool,
    /// From the end of the load to the end of the last request.
    pub(crate) drain: Duration,
    /// From the cancel of everything to the end of the last task.
    pub(crate) cleanup: Duration,
}

/// Everything that is known after a run.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) asked: Asked,
    /// How long the load lasted.
    pub(crate) seconds: Duration,
    pub(crate) stop: Stop,
    pub(crate) stats: Stats,
    pub(crate) store: store::Counts,
    pub(crate) cache: cache::Counts,
    /// Requests whose context was done: route, kind of cause, how many.
    pub(crate) ended: Vec<(&'static str, &'static str, u64)>,
    pub(crate) tiers: Vec<Tier>,
    /// Tasks that scopes had to abort.
    pub(crate) stragglers: Stragglers,
    /// What became of the connections.
    pub(crate) served: Vec<Served>,
    /// What faults of a single place left behind.
    pub(crate) evidence: Evidence,
    /// Requests that are worth telling.
    pub(crate) trips: Picked,
    /// Telemetry that did not arrive.
    pub(crate) undelivered: Undelivered,
    /// Tasks that the watch saw overrun.
    pub(crate) seen: Seen,
    /// Tasks that were there at the very end.
    pub(crate) left: Vec<TaskInfo>,
    pub(crate) latency: LatencyReport,
    /// What the demo's recording of itself says; or why it says nothing.
    pub(crate) recorded: Result<Recorded, String>,
}
