//! Every name that this crate gives to something, and the rules for a span's status, in one place.
//!
//! The names of OpenTelemetry are those of semantic conventions 1.42; a test compares them with
//! the constants of `opentelemetry-semantic-conventions`. What has no name there is `ripcord.*`.
//!
//! # Status rules
//! | side | protocol | error |
//! |---|---|---|
//! | server | HTTP | status 500 and above; 4xx is the client's affair |
//! | client | HTTP | status 400 and above |
//! | server | gRPC | the six codes that say that the server failed |
//! | client | gRPC | every code but `OK` |
//!
//! A call that ended because its context did is judged by its cause instead, by the table of
//! `ripcord-propagation`: a client that went away is no error of the server, a deadline is.

use ripcord_core::{Cause, Kind};
use ripcord_propagation::{
    DeadlineSource, End, Ending, GrpcCode, Protocol, Side, SpanStatus, Verdict, verdict,
};
use std::borrow::Cow;

/// Name of the instrumentation scope of all spans and metrics.
///
/// What a backend groups by when it asks which library made a span.
pub const SCOPE: &str = "ripcord-otel";
/// The conventions that the names are taken from.
///
/// Sent along with the scope, so that a backend can translate names of another version.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Keys of attributes.
///
/// On spans stand those of the conventions and `ripcord.*`; `cancel.*` stand on the event
/// [`CANCEL`](event::CANCEL); the short ones are labels of ripcord's own metrics.
///
/// # Examples
/// ```
/// use ripcord_otel::names::attribute;
///
/// // For a query in a backend: every request that one line of code ended.
/// let query = format!("{} = \"90f1c2…\"", attribute::EVENT_STACK_HASH);
/// assert!(query.starts_with("cancel.stack_hash"));
/// ```
pub mod attribute {
    /// Why the operation failed, one of few values.
    pub const ERROR_TYPE: &str = "error.type";
    /// Known method, or [`OTHER`](super::OTHER).
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// The method as it came, if it is not a known one; on spans only.
    pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
    /// Status of the answer.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// Template of the route.
    pub const HTTP_ROUTE: &str = "http.route";
    /// Address of the other end of the connection.
    pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
    /// Port of the other end of the connection.
    pub const NETWORK_PEER_PORT: &str = "network.peer.port";
    /// `1.1`, `2`.
    pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
    /// `package.Service/Method`, or [`OTHER`](super::OTHER).
    pub const RPC_METHOD: &str = "rpc.method";
    /// The method as it came, if it is not a known one; on spans only.
    pub const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
    /// `DEADLINE_EXCEEDED`.
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    /// [`GRPC`](super::GRPC).
    pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// Host that is called.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Port that is called.
    pub const SERVER_PORT: &str = "server.port";
    /// URL of a made call, without query and credentials.
    pub const URL_FULL: &str = "url.full";
    /// Path, without the query; on spans only.
    pub const URL_PATH: &str = "url.path";
    /// `http`, `https`.
    pub const URL_SCHEME: &str = "url.scheme";

    /// Label of the cause, as [`Verdict::label`](ripcord_propagation::Verdict::label) says it.
    pub const CANCEL_CAUSE: &str = "ripcord.cancel.cause";
    /// Who set the deadline that passed: see [`source`](super::source()).
    pub const DEADLINE_SOURCE: &str = "ripcord.deadline.source";
    /// Id of the request.
    pub const REQUEST_ID: &str = "ripcord.request.id";

    /// Of the event [`CANCEL`](super::event::CANCEL): the label of the cause.
    pub const EVENT_SOURCE: &str = "cancel.source";
    /// Kind of the cause, as [`Kind::as_str`](ripcord_core::Kind::as_str).
    pub const EVENT_KIND: &str = "cancel.kind";
    /// How many levels above the call's context the end came from.
    ///
    /// Zero: it was cancelled itself, or its own deadline passed. More: its connection, its server or
    /// a caller within the process ended, and it with them.
    pub const EVENT_DEPTH: &str = "cancel.depth";
    /// Name of the context that ended.
    pub const EVENT_ORIGIN: &str = "cancel.origin";
    /// File and line where the end was asked for, or where the deadline was set.
    pub const EVENT_SITE: &str = "cancel.site";
    /// Equal for causes of one kind, name and place: see [`cancel_hash`](crate::cancel_hash).
    pub const EVENT_STACK_HASH: &str = "cancel.stack_hash";
    /// Message of whoever cancelled.
    pub const EVENT_MESSAGE: &str = "cancel.message";

    /// Label of [`CANCELLED`](super::metric::CANCELLED).
    pub const LABEL_CAUSE: &str = "cause";
    /// Label of [`REMAINING`](super::metric::REMAINING): `arrival` or `finish`.
    pub const LABEL_AT: &str = "at";
    /// Label of [`EXCEEDED`](super::metric::EXCEEDED).
    pub const LABEL_SOURCE: &str = "source";
    /// Label of [`REJECTED`](super::metric::REJECTED).
    pub const LABEL_HEADER: &str = "header";
    /// Label `server` or `client`, where a metric counts both.
    pub const LABEL_SIDE: &str = "side";
    /// Label of [`DROPPED`](super::metric::DROPPED): `spans`, `logs`, `metrics`.
    pub const LABEL_SIGNAL: &str = "signal";
    /// Label of [`DROPPED`](super::metric::DROPPED): `queue_full`, `after_shutdown`,
    /// `export_failed`.
    pub const LABEL_REASON: &str = "reason";
}

/// Names of span events.
///
/// | attribute of `ripcord.cancel` | says |
/// |---|---|
/// | `cancel.source` | the cause in the words of the table of answers, as `caller_deadline` |
/// | `cancel.kind` | its kind, as `deadline_exceeded` |
/// | `cancel.depth` | how many levels above the call's context the end came from; 0: its own |
/// | `cancel.origin` | the name of the context that ended |
/// | `cancel.site` | the line that ended it, or that set the deadline |
/// | `cancel.stack_hash` | equal for equal kind, name and line |
/// | `cancel.message` | what whoever cancelled said |
pub mod event {
    /// The context of a span was done before the span's own end.
    pub const CANCEL: &str = "ripcord.cancel";
}

/// Names of metrics.
///
/// Prometheus shows them with `_` for `.`, the unit at the end, and `_total` for counters:
/// `ripcord_cancel_latency_seconds_bucket`.
///
/// # Examples
/// ```
/// use ripcord_otel::names::metric;
///
/// assert_eq!(metric::CANCELLED, "ripcord.requests.cancelled");
/// ```
pub mod metric {
    /// Histogram, seconds: served HTTP calls.
    pub const HTTP_SERVER_DURATION: &str = "http.server.request.duration";
    /// Histogram, seconds: made HTTP calls.
    pub const HTTP_CLIENT_DURATION: &str = "http.client.request.duration";
    /// Histogram, seconds: served gRPC calls.
    pub const RPC_SERVER_DURATION: &str = "rpc.server.call.duration";
    /// Histogram, seconds: made gRPC calls.
    pub const RPC_CLIENT_DURATION: &str = "rpc.client.call.duration";
    /// Up-down counter: calls that are being served, gRPC among them.
    pub const HTTP_SERVER_ACTIVE: &str = "http.server.active_requests";
    /// Counter: calls whose context was done before their own end, by cause and side.
    pub const CANCELLED: &str = "ripcord.requests.cancelled";
    /// Histogram, seconds: what was left of the deadline of served calls on arrival and at the end.
    pub const REMAINING: &str = "ripcord.deadline.remaining";
    /// Counter: calls that a deadline ended, by who set it and by side.
    pub const EXCEEDED: &str = "ripcord.deadline.exceeded";
    /// Histogram, seconds: from the asking for the end to the end, by cause and side.
    pub const CANCEL_LATENCY: &str = "ripcord.cancel.latency";
    /// Gauge: tasks that are alive although their context is done.
    pub const TASKS_LEAKED: &str = "ripcord.tasks.leaked";
    /// Counter: headers that were refused, by kind.
    pub const REJECTED: &str = "ripcord.headers.rejected";
    /// Counter: telemetry that was not delivered, by signal and reason.
    pub const DROPPED: &str = "ripcord.telemetry.dropped";
}

/// What a value that is none of the known ones becomes in a label.
///
/// As the conventions have it, for methods and for kinds of errors.
pub const OTHER: &str = "_OTHER";
/// Value of `rpc.system.name`.
pub const GRPC: &str = "grpc";
/// `error.type` of a deadline or another limit in time.
pub const TIMEOUT: &str = "timeout";

/// The methods that are kept as they are: RFC 9110, PATCH, and QUERY.
pub(crate) const HTTP_METHODS: &[&str] = &[
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// Upper bounds of the buckets of durations, as the conventions advise, in seconds.
pub(crate) const DURATION_BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The first bucket holds what is over: nothing is left of zero.
pub(crate) const REMAINING_BOUNDS: &[f64] = &[
    0.0, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// A cancel is seen within microseconds, or when the next poll comes, or never.
pub(crate) const LATENCY_BOUNDS: &[f64] = &[
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0,
];

/// Value of the label `side`.
pub(crate) const fn side(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

/// Value of the label `source`: `caller`, `policy`, or `local` for a deadline that the code set.
///
/// The value of `ripcord.deadline.source`, and of the label of
/// [`EXCEEDED`](metric::EXCEEDED).
///
/// # Examples
/// ```
/// use ripcord_otel::names::source;
/// use ripcord_propagation::DeadlineSource;
///
/// assert_eq!(source(Some(DeadlineSource::Caller)), "caller");
/// assert_eq!(source(None), "local");
/// ```
pub const fn source(source: Option<DeadlineSource>) -> &'static str {
    match source {
        Some(DeadlineSource::Caller) => "caller",
        Some(DeadlineSource::Policy) => "policy",
        _ => "local",
    }
}

/// Codes of gRPC that say that the *server* failed (semantic conventions, gRPC server spans).
const GRPC_SERVER_ERRORS: [GrpcCode; 6] = [
    GrpcCode::Unknown,
    GrpcCode::DeadlineExceeded,
    GrpcCode::Unimplemented,
    GrpcCode::Internal,
    GrpcCode::Unavailable,
    GrpcCode::DataLoss,
];

/// Whether a status of HTTP is an error of a span of this side.
pub(crate) const fn is_http_error(side: Side, status: u16) -> bool {
    match side {
        Side::Server => status >= 500,
        Side::Client => status >= 400,
    }
}

/// Whether a code of gRPC is an error of a span of this side.
pub(crate) fn is_grpc_error(side: Side, code: GrpcCode) -> bool {
    match side {
        Side::Server => GRPC_SERVER_ERRORS.contains(&code),
        Side::Client => code != GrpcCode::Ok,
    }
}

/// What the end of a call means for its span and its metrics.
///
/// Made once a call, and read by its span and by each metric, so that they cannot disagree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Judgement {
    pub(crate) is_error: bool,
    /// There is one if and only if it is an error.
    pub(crate) error_type: Option<Cow<'static, str>>,
    /// gRPC only: the status for the attribute.
    pub(crate) grpc: Option<GrpcCode>,
    /// Label of the cause, if the context was done before the call's own end.
    pub(crate) cause: Option<&'static str>,
    /// A deadline ended it.
    pub(crate) is_deadline: bool,
}

impl Judgement {
    /// Without a code and without a cause.
    fn new(error_type: Option<Cow<'static, str>>) -> Self {
        Self {
            is_error: error_type.is_some(),
            error_type,
            grpc: None,
            cause: None,
            is_deadline: false,
        }
    }
}

/// Judges an end by the table in the header of this file.
///
/// `spares_cancelled`: a gRPC client's `CANCELLED` by its own context is no error.
pub(crate) fn judge(
    side: Side,
    protocol: Protocol,
    end: &End<'_>,
    spares_cancelled: bool,
) -> Judgement {
    let is_cut = matches!(end.ending, Ending::Cancelled | Ending::Dropped);
    // Dropped without a cause: whoever drove the call did not want it any more.
    let dropped = (end.cause.is_none() && is_cut).then(|| Cause::new(Kind::Dropped));
    let cause = end.cause.or(dropped.as_ref());
    let said = cause.map(|cause| verdict(cause, end.deadline_source, side));
    // The cause decides where it took the answer away or made it.
    let by_cause = said.filter(|said| {
        is_cut
            || match protocol {
                Protocol::Grpc => end.grpc.is_none_or(|code| code == said.grpc),
                _ => end.status.is_none_or(|status| status == said.http),
            }
    });
    let judgement = match protocol {
        Protocol::Grpc => judge_grpc(side, end, by_cause.as_ref(), spares_cancelled),
        _ => judge_http(side, end, by_cause.as_ref()),
    };
    Judgement {
        cause: said.map(|said| said.label),
        is_deadline: cause.is_some_and(|cause| cause.kind() == Kind::DeadlineExceeded),
        ..judgement
    }
}

/// `error.type` is the status as a number, or what the cause is called.
fn judge_http(side: Side, end: &End<'_>, by_cause: Option<&Verdict>) -> Judgement {
    let error_type = match (by_cause, end.status) {
        (Some(said), _) if said.span == SpanStatus::Error => {
            Some(said.error_type.unwrap_or(OTHER).into())
        }
        (None, Some(status)) if is_http_error(side, status) => Some(status.to_string().into()),
        (None, _) if end.ending == Ending::Failed => Some(OTHER.into()),
        _ => None,
    };
    Judgement::new(error_type)
}

/// `error.type` is the name of the code, as the conventions want it for gRPC.
fn judge_grpc(
    side: Side,
    end: &End<'_>,
    by_cause: Option<&Verdict>,
    spares_cancelled: bool,
) -> Judgement {
    let (code, is_error) = match (by_cause, end.grpc) {
        (Some(said), _) => (Some(said.grpc), said.grpc_span == SpanStatus::Error),
        (None, Some(code)) => (Some(code), is_grpc_error(side, code)),
        (None, None) if end.ending == Ending::Failed => (Some(GrpcCode::Unknown), true),
        (None, None) => (None, false),
    };
    let is_spared = spares_cancelled && by_cause.is_some() && code == Some(GrpcCode::Cancelled);
    let name = code.unwrap_or(GrpcCode::Unknown).name();
    let error_type = (is_error && !is_spared).then_some(Cow::Borrowed(name));
    Judgement {
        grpc: code,
        ..Judgement::new(error_type)
    }
}
