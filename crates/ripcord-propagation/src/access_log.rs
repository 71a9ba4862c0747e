//! One structured line for each call: [`AccessLog`].
//!
//! The line is collected in the record of the call and handed over when it ends, in whatever way: a
//! log that is written by a handler's last statement has no line for the requests that never got
//! there. What came from a peer is bounded when it is taken over and escaped when it is shown
//! (`json.rs`), so that nobody outside can write lines of their own.

use crate::carried::Carried;
use crate::json::Object;
use crate::observe::{Call, CallObserver, CallRecord, End, Ending, Protocol, Side};
use crate::policy::shown;
use crate::verdict::{GrpcCode, verdict};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Hands a structured line to a sink when a call ends, however it ends.
///
/// The line of a client that left says 499, which no answer ever does: a log that has no line for
/// such requests hides the slowest ones.
///
/// It is an observer, for the layers of servers and of clients: the same log can have both, told apart
/// by `side`. A line is JSON when it is displayed; its fields are public for whoever has a format of
/// their own.
///
/// | question | field |
/// |---|---|
/// | did the answer get out? | `ending` |
/// | what did the client see? | `status`, `grpc_status` |
/// | why did it stop? | `cause`, `message`, `site` |
/// | was it the caller's deadline, or ours? | `cause`: `caller_deadline`, `server_timeout` |
/// | how long did we work for nobody? | `cancel_latency_ms` |
/// | where is the rest of the story? | `trace_id`, `request_id` |
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{
///     AccessLog, Call, CallObserver, Exchange, Propagation, Protocol, Side,
/// };
/// use std::sync::{Arc, mpsc};
///
/// let (sender, lines) = mpsc::channel();
/// let log: Arc<dyn CallObserver> =
///     Arc::new(AccessLog::new(move |line| drop(sender.send(line.to_string()))));
///
/// let server = Ctx::background();
/// let incoming = Propagation::default().extract(&HeaderMap::new());
/// let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders");
/// let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), Some(&log));
/// drop(exchange);
/// let line = lines.recv().expect("one line");
/// assert!(line.contains(r#""path":"/orders","status":499"#), "{line}");
/// ```
///
/// Only what somebody should look at, in words of one's own:
///
/// ```
/// use ripcord_propagation::{AccessLog, Ending};
/// use std::time::Duration;
///
/// let slow = AccessLog::new(|line| {
///     let was_slow = line.cancel_latency.is_some_and(|late| late > Duration::from_millis(100));
///     if was_slow || line.ending == Ending::Failed {
///         eprintln!("{} {}: {:?}, {:?}", line.method, line.path, line.ending, line.took);
///     }
/// });
/// # drop(slow);
/// ```
///
/// # Costs
/// Some ten short strings for each call, made at its start. Nothing is formatted unless the sink does.
///
/// # Limitations
/// The sink runs where the call ends, also in destructors: it should hand the line on, and not wait.
/// The query of a URL is not logged; what a path has in it is.
pub struct AccessLog {
    sink: Arc<dyn Fn(&AccessLine) + Send + Sync>,
}

impl AccessLog {
    /// Hands lines to `sink`: to a channel, or to the logging framework.
    ///
    /// A panic of the sink is contained, and costs its line.
    pub fn new(sink: impl Fn(&AccessLine) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// What is logged of a call. Its `Display` is one line of JSON.
///
/// Names are those of OpenTelemetry where it has them, with underscores. Texts that came from a
/// peer are bounded, and escaped by `Display`. Fields that are not known are left out; times are in
/// milliseconds with three decimals. Fields may be added, and none changes its meaning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessLine {
    /// Served or made.
    pub side: Side,
    /// Protocol.
    pub protocol: Protocol,
    /// HTTP method, as it came: at most 64 characters.
    pub method: String,
    /// Path without the query: at most 512 characters.
    pub path: String,
    /// Template of the route, where it is known.
    pub route: Option<String>,
    /// Host and port.
    pub authority: Option<String>,
    /// The peer's address and port; a proxy's, where there is one.
    pub peer: Option<String>,
    /// Id of the request.
    pub request_id: String,
    /// The id that a client outside sent, where it was replaced.
    pub external_request_id: Option<String>,
    /// Trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// Span, as 16 hexadecimal digits.
    pub span_id: String,
    /// HTTP status; 499 for a client that left.
    pub status: Option<u16>,
    /// gRPC status.
    pub grpc: Option<GrpcCode>,
    /// How it ended.
    pub ending: Ending,
    /// Why, if the context was done first: a fixed word, see [`Verdict::label`](crate::Verdict::label).
    pub cause: Option<&'static str>,
    /// What the cause says in words.
    pub message: Option<String>,
    /// Where in the source the context was ended, or its deadline set.
    pub site: Option<String>,
    /// What the handler or the transport said of its failure.
    pub error: Option<String>,
    /// From start to end.
    pub took: Duration,
    /// What was left of the deadline when the call began: what the caller allowed.
    pub budget: Option<Duration>,
    /// What was left of it at the end.
    pub remaining: Option<Duration>,
    /// From the instant at which the end was asked for to the end.
    pub cancel_latency: Option<Duration>,
    /// Headers that were refused, of all kinds together: a number that is never zero for one caller is
    /// a caller with a bug.
    pub rejects: u32,
}

impl fmt::Display for AccessLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| format!("{:.3}", duration.as_secs_f64() * 1e3);
        let mut line = Object::begin(f)?;
        line.text("side", side(self.side))?;
        line.text("method", &self.method)?;
        line.text("path", &self.path)?;
        line.maybe_plain("status", self.status)?;
        line.maybe_text("grpc_status", self.grpc.map(GrpcCode::name))?;
        line.text("ending", ending(self.ending))?;
        line.maybe_text("cause", self.cause)?;
        line.maybe_text("message", self.message.as_deref())?;
        line.maybe_text("site", self.site.as_deref())?;
        line.maybe_text("error", self.error.as_deref())?;
        line.maybe_text("route", self.route.as_deref())?;
        line.maybe_text("authority", self.authority.as_deref())?;
        line.maybe_text("peer", self.peer.as_deref())?;
        line.text("request_id", &self.request_id)?;
        line.maybe_text("external_request_id", self.external_request_id.as_deref())?;
        line.text("trace_id", &self.trace_id)?;
        line.text("span_id", &self.span_id)?;
        line.plain("took_ms", ms(self.took))?;
        line.maybe_plain("budget_ms", self.budget.map(ms))?;
        line.maybe_plain("remaining_ms", self.remaining.map(ms))?;
        line.maybe_plain("cancel_latency_ms", self.cancel_latency.map(ms))?;
        if self.rejects > 0 {
            line.plain("headers_refused", self.rejects)?;
        }
        line.end()
    }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
        Ending::Dropped => "dropped",
    }
}

impl CallObserver for AccessLog {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        let peer = carried.peer().and_then(|peer| peer.address);
        let external = carried.external_request_id();
        let line = AccessLine {
            side: call.side,
            protocol: call.protocol,
            method: shown(call.method),
            path: call.path.chars().take(PATH_CHARS_MAX).collect(),
            route: call.route.map(str::to_owned),
            authority: call.authority.map(shown),
            peer: peer.map(|address| address.to_string()),
            request_id: carried.request_id().as_str().to_owned(),
            external_request_id: external.map(|id| id.as_str().to_owned()),
            trace_id: carried.trace.trace_id.to_string(),
            span_id: carried.trace.span_id.to_string(),
            status: None,
            grpc: None,
            ending: Ending::Dropped,
            cause: None,
            message: None,
            site: None,
            error: None,
            took: Duration::ZERO,
            budget: call.remaining,
            remaining: None,
            cancel_latency: None,
            rejects: call
                .rejects
                .iter()
                .fold(0, |sum: u32, (_, count)| sum.saturating_add(count)),
        };
        Box::new(Open {
            line,
            sink: Arc::clone(&self.sink),
        })
    }
}

/// Of a path so much is logged.
const PATH_CHARS_MAX: usize = 512;

/// The line of a call that has not ended.
struct Open {
    line: AccessLine,
    sink: Arc<dyn Fn(&AccessLine) + Send + Sync>,
}

impl CallRecord for Open {
    fn routed(&mut self, route: &str) {
        self.line.route = Some(route.to_owned());
    }

    fn end(&mut self, end: &End<'_>) {
        let line = &mut self.line;
        line.ending = end.ending;
        line.status = end.status;
        line.grpc = end.grpc;
        line.error = end.error.map(str::to_owned);
        line.took = end.took;
        line.remaining = end.remaining;
        line.cancel_latency = end.cancel_latency;
        if let Some(cause) = end.cause {
            let verdict = verdict(cause, end.deadline_source, line.side);
            line.cause = Some(verdict.label);
            line.message = cause.message().map(shown);
            line.site = cause.site().map(ToString::to_string);
            if line.side == Side::Server && !verdict.is_sent {
                line.status = Some(verdict.http);
            }
        }
        (self.sink)(line);
    }
}
