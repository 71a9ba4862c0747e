//! The report, field by field as JSON shows it.
//!
//! Times are in milliseconds. The schema is docs/schema/demo-report.schema.json; whoever removes
//! a field or changes what one means raises [`VERSION`].

use crate::exit::ExpectedError;
use serde::Serialize;

/// Of the format.
pub(crate) const VERSION: u32 = 1;

#[derive(Serialize, Clone, Debug)]
pub(crate) struct Report {
    pub(super) version: u32,
    pub(super) program: String,
    pub(super) run: Run,
    pub(super) requests: Requests,
    pub(super) connections: Vec<Connections>,
    pub(super) faults: Vec<FaultRow>,
    pub(super) budgets: Vec<Budget>,
    pub(super) stopped_requests: Vec<StoppedRequests>,
    pub(super) tasks: Vec<TaskRow>,
    pub(super) overran: Vec<Overran>,
    pub(super) database: Database,
    pub(super) cache: Cache,
    pub(super) nested_timeouts: Vec<NestedTimeout>,
    pub(super) went_on: WentOn,
    pub(super) unread_uploads: UnreadUploads,
    pub(super) wrong_clock: WrongClock,
    pub(super) stale_timeouts: StaleTimeouts,
    pub(super) telemetry: Telemetry,
    pub(super) recording: Recording,
    pub(super) not_counted: NotCounted,
}

impl Report {
    /// Whether the demo did what it is there for.
    ///
    /// # Errors
    /// Not one request had a good answer.
    pub(crate) fn verdict(&self) -> Result<(), ExpectedError> {
        if self.requests.ok > 0 {
            return Ok(());
        }
        let failures = self.requests.failures.first();
        let why = failures.map_or("no reason is known", |failure| &failure.message);
        Err(ExpectedError::demo("get one good answer", why))
    }
}

/// What the demo's recording of itself says.
#[derive(Serialize, Clone, Debug, Default)]
pub(crate) struct Recording {
    /// Why it says nothing.
    pub(super) error: Option<String>,
    pub(super) events: u64,
    pub(super) event_bytes: u64,
    /// Events that are not in it: overwritten by later ones, or lost.
    pub(super) events_missing: u64,
    /// How much of all waiting listened to a context, from 0 to 1, by time.
    pub(super) cancel_coverage: Option<f64>,
    pub(super) faults: Vec<Explained>,
    pub(super) latest: Vec<Explained>,
}

/// What is said of one context, and what that names.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Explained {
    pub(super) fault: Option<&'static str>,
    pub(super) sentence: String,
    pub(super) blame: Option<&'static str>,
    pub(super) task: Option<String>,
    /// File and line.
    pub(super) at: Option<String>,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct Run {
    pub(super) seconds_asked: u64,
    pub(super) seconds: f64,
    pub(super) concurrency: u16,
    pub(super) rate: u32,
    pub(super) seed: u64,
    /// `time` or `signal`.
    pub(super) ended_by: &'static str,
    pub(super) is_cut_short: bool,
    pub(super) drain_ms: f64,
    pub(super) cleanup_ms: f64,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct Requests {
    pub(super) total: u64,
    pub(super) ok: u64,
    pub(super) outcomes: Vec<OutcomeRow>,
    /// Of the requests that were answered.
    pub(super) latency: Times,
    pub(super) failures: Vec<FailureRow>,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct OutcomeRow {
    pub(super) outcome: &'static str,
    pub(super) about: &'static str,
    pub(super) count: u64,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct FailureRow {
    pub(super) message: String,
    pub(super) count: u64,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct FaultRow {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) injected: u64,
}

/// What became of the connections of one service.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Connections {
    pub(super) service: &'static str,
    /// Why the service could not be served.
    pub(super) error: Option<String>,
    pub(super) accepted: u64,
    pub(super) closed: u64,
    pub(super) hung_up: u64,
    pub(super) silent: u64,
    pub(super) failed: u64,
    pub(super) forced: u64,
    pub(super) stuck: u64,
    pub(super) not_accepted: u64,
}

/// Where the time of one request went.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Budget {
    pub(super) pick: Pick,
    pub(super) request_id: String,
    /// What the client was answered; `None` if the run ended before that.
    pub(super) answer: Option<String>,
    pub(super) took_ms: Option<f64>,
    pub(super) hops: Vec<HopRow>,
}

/// Why a request is shown.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pick {
    Typical,
    Slowest,
    OutOfTime,
}

/// What one service made of a request.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct HopRow {
    pub(super) service: &'static str,
    pub(super) route: &'static str,
    /// Since the arrival at the gateway.
    pub(super) arrived_ms: f64,
    pub(super) left_ms: Option<f64>,
    /// The time-out that its caller gave it, if that was less than the request had.
    pub(super) limited_by: Option<String>,
    pub(super) took_ms: Option<f64>,
    pub(super) answer: Option<String>,
    pub(super) cause: Option<&'static str>,
    /// How long it went on after its time was over.
    pub(super) over_ms: f64,
}

/// Requests of one service that ended before their work did.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct StoppedRequests {
    pub(super) route: &'static str,
    pub(super) causes: Vec<CauseCount>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CauseCount {
    pub(super) kind: String,
    pub(super) count: u64,
}

/// How long the tasks of one name took from "asked to stop" to "gone".
#[derive(Serialize, Clone, Debug)]
pub(crate) struct TaskRow {
    pub(super) name: String,
    pub(super) spawned_at: Option<String>,
    pub(super) count: u64,
    pub(super) saw: Times,
    pub(super) gone: Times,
    pub(super) never_looked: u64,
    pub(super) undated: u64,
    pub(super) causes: Vec<CauseCount>,
}

/// Quantiles; `null` if there is no value.
#[derive(Serialize, Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(super) count: u64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
}

/// The tasks of one name and spawn site that went on for too long.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Overran {
    pub(super) name: String,
    pub(super) spawned_at: String,
    pub(super) count: u64,
    pub(super) longest_ms: f64,
    pub(super) state: State,
    /// Where they waited, the most frequent first.
    pub(super) waits: Vec<Wait>,
    pub(super) causes: Vec<CauseCount>,
    pub(super) aborted: u64,
    pub(super) left_behind: u64,
}

/// What a task that overruns was seen doing.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits at an await that does not look at its context.
    Waits,
    /// It does not come back from a poll.
    BlocksItsThread,
    /// It runs on a thread for blocking work.
    OnABlockingThread,
    /// It was gone before it could be asked.
    Unknown,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Wait {
    pub(super) at: String,
    /// The module of the library that it waits in.
    pub(super) waits_for: Option<String>,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct Database {
    pub(super) finished: u64,
    /// From the end of the context to the end of the query.
    pub(super) interrupted: Times,
    pub(super) not_started: u64,
    pub(super) outran_interrupt: u64,
    pub(super) failed: u64,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct Cache {
    pub(super) hits: u64,
    pub(super) loads: u64,
    pub(super) joined_a_load: u64,
}

/// A time-out inside of an earlier one.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct NestedTimeout {
    pub(super) name: String,
    pub(super) site: String,
    pub(super) asked_ms: f64,
    pub(super) owner: String,
    pub(super) owner_site: Option<String>,
    /// `caller`, `policy` or `code`: who set the earlier deadline.
    pub(super) owner_source: &'static str,
    /// The most that was left outside.
    pub(super) owner_left_ms: f64,
    pub(super) calls: u64,
    /// How many of the calls had less left outside.
    pub(super) count: u64,
    /// All of them: the inner time-out can never pass.
    pub(super) is_always: bool,
}

/// Calls of a service that does not look at its deadline.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct WentOn {
    pub(super) route: &'static str,
    /// How long the calls took that their caller gave up at its deadline.
    pub(super) callers_gave_up: Times,
    /// How long the callee went on after the deadline.
    pub(super) callee_over: Times,
}

/// Uploads that nobody read, and whose client left.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct UnreadUploads {
    /// Ended with `peer gone`; from the close of the socket to the end of the context.
    pub(super) noticed: Times,
    pub(super) unnoticed: u64,
}

/// Deadlines of clients whose clock is wrong.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct WrongClock {
    pub(super) behind_ms: f64,
    pub(super) relative: Deadlines,
    pub(super) absolute_untrusted: Deadlines,
    pub(super) absolute_trusted: Deadlines,
}

#[derive(Serialize, Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(super) sent: u64,
    pub(super) ok: u64,
    /// Answered 504.
    pub(super) refused: u64,
}

/// Calls with all that their caller had been sent.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct StaleTimeouts {
    /// The time-outs that were forwarded as they had come in.
    pub(super) forwarded: Times,
    /// Those that arrived in their place.
    pub(super) arrived: Times,
    /// Calls that arrived with one time-out, which was less, and with one trace.
    pub(super) mended: u64,
}

/// What was sent to a collector.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Telemetry {
    /// `None` if nobody asked for it.
    pub(super) sent_to: Option<String>,
    pub(super) spans_lost: Lost,
    pub(super) logs_lost: Lost,
    pub(super) metric_exports_failed: u64,
}

/// What a collector did not get, and why.
#[derive(Serialize, Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub(super) queue_full: u64,
    pub(super) export_failed: u64,
    pub(super) unsent: u64,
}

/// What is missing above.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct NotCounted {
    /// Panics in wakers, hooks and destructors, which were contained.
    pub(super) foreign_panics: u64,
    /// Cancelled tasks in the row for all names beyond the first 512.
    pub(super) tasks_in_shared_row: u64,
    /// Cancelled tasks of which nobody knows when they were asked to stop.
    pub(super) undated_tasks: u64,
    /// Tasks that overran when there was no room left to note them.
    pub(super) overrun_tasks: u64,
    /// Failed requests whose message was not kept.
    pub(super) failure_messages: u64,
    /// Requests under way when a second signal came.
    pub(super) requests_cut_short: u64,
    /// Requests whose budget was not followed, because too many were under way.
    pub(super) requests_not_followed: u64,
}

impl NotCounted {
    pub(super) fn is_empty(&self) -> bool {
        self.foreign_panics
            + self.tasks_in_shared_row
            + self.undated_tasks
            + self.overrun_tasks
            + self.failure_messages
            + self.requests_cut_short
            + self.requests_not_followed
            == 0
    }
}
