//! The one table from a cause to what each protocol says of it.
//!
//! A cause is one of few kinds, and each protocol has its own words for them: a status of HTTP, one of
//! gRPC, the status of a span, a label of a metric. Chosen in one place they agree, and a dashboard and
//! a client that look at the same request see the same thing.

use crate::carried::DeadlineSource;
use crate::observe::Side;
use ripcord_core::{Cause, Kind};
use std::time::Duration;

/// The canonical status codes of gRPC.
///
/// Its own type, so that this crate needs no gRPC library: numbers and names are those of the
/// specification, and convert to any other by the number.
///
/// # Examples
/// ```
/// use ripcord_propagation::GrpcCode;
///
/// assert_eq!(GrpcCode::DeadlineExceeded as i32, 4);
/// assert_eq!(GrpcCode::from_number(4), GrpcCode::DeadlineExceeded);
/// assert_eq!(GrpcCode::from_number(99), GrpcCode::Unknown);
/// assert_eq!(GrpcCode::Unavailable.name(), "UNAVAILABLE");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "the codes of gRPC are a closed list"
)]
#[repr(i32)]
pub enum GrpcCode {
    /// Success.
    Ok = 0,
    /// The caller, or the operation itself, gave up.
    Cancelled = 1,
    /// Nothing more is known, or the number is none of these.
    Unknown = 2,
    /// The arguments are wrong whatever the state of the system.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What should be made exists.
    AlreadyExists = 6,
    /// The caller may not.
    PermissionDenied = 7,
    /// A quota or a capacity is used up.
    ResourceExhausted = 8,
    /// The system is not in the state that the operation needs.
    FailedPrecondition = 9,
    /// A conflict; trying again at a higher level may help.
    Aborted = 10,
    /// Past the end.
    OutOfRange = 11,
    /// There is no such operation.
    Unimplemented = 12,
    /// An invariant is broken.
    Internal = 13,
    /// Not now; trying again may help.
    Unavailable = 14,
    /// Data is lost for good.
    DataLoss = 15,
    /// The caller did not say who it is.
    Unauthenticated = 16,
}

/// In the order of their numbers.
const CODES: [(GrpcCode, &str); 17] = [
    (GrpcCode::Ok, "OK"),
    (GrpcCode::Cancelled, "CANCELLED"),
    (GrpcCode::Unknown, "UNKNOWN"),
    (GrpcCode::InvalidArgument, "INVALID_ARGUMENT"),
    (GrpcCode::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (GrpcCode::NotFound, "NOT_FOUND"),
    (GrpcCode::AlreadyExists, "ALREADY_EXISTS"),
    (GrpcCode::PermissionDenied, "PERMISSION_DENIED"),
    (GrpcCode::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (GrpcCode::FailedPrecondition, "FAILED_PRECONDITION"),
    (GrpcCode::Aborted, "ABORTED"),
    (GrpcCode::OutOfRange, "OUT_OF_RANGE"),
    (GrpcCode::Unimplemented, "UNIMPLEMENTED"),
    (GrpcCode::Internal, "INTERNAL"),
    (GrpcCode::Unavailable, "UNAVAILABLE"),
    (GrpcCode::DataLoss, "DATA_LOSS"),
    (GrpcCode::Unauthenticated, "UNAUTHENTICATED"),
];

impl GrpcCode {
    /// The name in the specification, as `DEADLINE_EXCEEDED`: what logs and metrics show.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODES
            .iter()
            .find(|(code, _)| *code == self)
            .map_or("UNKNOWN", |(_, name)| name)
    }

    /// The code of a number; a number that is none is [`GrpcCode::Unknown`], as the specification has it.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| CODES.get(number))
            .map_or(Self::Unknown, |(code, _)| *code)
    }
}

/// What the status of a span becomes.
///
/// A span is an error where its own side failed at what it was asked for; a client that changes its
/// mind is nobody's failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "OpenTelemetry has one more, Ok, which instrumentation must not set"
)]
pub enum SpanStatus {
    /// Left unset: this side did nothing wrong.
    Unset,
    /// An error.
    Error,
}

/// What each protocol says of the end of a context; made by [`verdict`].
///
/// `title` and `label` are fixed texts: nothing of a cause's own message gets out by them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// HTTP status. 499 is for logs: there is nobody left to send it to.
    pub http: u16,
    /// There is somebody who can be answered. If not, the statuses are for logs and metrics.
    pub is_sent: bool,
    /// When to try again, for the `retry-after` header: where the next try meets another process.
    pub retry_after: Option<Duration>,
    /// gRPC status.
    pub grpc: GrpcCode,
    /// Status of an HTTP span.
    pub span: SpanStatus,
    /// Status of a gRPC span.
    pub grpc_span: SpanStatus,
    /// `error.type` of a span that is an error.
    pub error_type: Option<&'static str>,
    /// One of few fixed words, for metrics and logs: `caller_deadline` and `server_timeout` for the two
    /// kinds of deadlines, else [`Kind::as_str`].
    pub label: &'static str,
    /// A short title for people; says nothing about the inside of the service.
    pub title: &'static str,
}

/// When a client may try a server again that shuts down: by then another one is there, or the new
/// version of this one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What each protocol says of `cause`.
///
/// `source`: who set the deadline of the request, to tell a caller's from the server's own.
///
/// | cause | HTTP | gRPC | span of a server |
/// |---|---|---|---|
/// | deadline of the caller, or of the policy | 504 | `DEADLINE_EXCEEDED` | error, `timeout` |
/// | peer gone | 499, not sent | `CANCELLED` | unset |
/// | shutdown, signal | 503 and `retry-after` | `UNAVAILABLE` | error, `shutdown` |
/// | cancelled by hand, custom | 503 | `CANCELLED` | error, `cancelled` |
/// | guard dropped, sibling failed | 500 | `CANCELLED` | error, `cancelled` |
/// | panic | 500 | `INTERNAL` | error, `panic` |
///
/// A gRPC server's span is an error only for the codes that the semantic conventions list;
/// `CANCELLED` is none of them. A client that gives up by its own will is no error over HTTP and
/// one over gRPC (OpenTelemetry semantic conventions 1.42).
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_propagation::{GrpcCode, Side, verdict};
///
/// let late = verdict(&Kind::DeadlineExceeded.into(), None, Side::Server);
/// assert_eq!((late.http, late.grpc), (504, GrpcCode::DeadlineExceeded));
/// let gone = verdict(&Kind::PeerGone.into(), None, Side::Server);
/// assert!(!gone.is_sent);
/// ```
///
/// Whose deadline it was decides who looks into it: the team that called, or the one that set the
/// time-out of its own server.
///
/// ```
/// use ripcord_core::Kind;
/// use ripcord_propagation::{DeadlineSource, Side, verdict};
///
/// let label = |source| verdict(&Kind::DeadlineExceeded.into(), Some(source), Side::Server).label;
/// assert_eq!(label(DeadlineSource::Caller), "caller_deadline");
/// assert_eq!(label(DeadlineSource::Policy), "server_timeout");
/// ```
///
/// # Limitations
/// A panic is 500 only where somebody is left to say so: over HTTP the connection is closed.
#[must_use]
pub fn verdict(cause: &Cause, source: Option<DeadlineSource>, side: Side) -> Verdict {
    let kind = cause.kind();
    let row = Verdict {
        label: label(kind, source),
        ..row(kind)
    };
    match side {
        Side::Server => row,
        Side::Client => Verdict {
            // Giving up is what a caller may do; running out of time is not what it wanted.
            span: match kind {
                Kind::DeadlineExceeded | Kind::Panicked => SpanStatus::Error,
                _ => SpanStatus::Unset,
            },
            grpc_span: SpanStatus::Error,
            ..row
        },
    }
}

fn row(kind: Kind) -> Verdict {
    use SpanStatus::{Error, Unset};
    let (http, grpc, span, grpc_span, error_type, title) = match kind {
        Kind::DeadlineExceeded => (
            504,
            GrpcCode::DeadlineExceeded,
            Error,
            Error,
            Some("timeout"),
            "the deadline of the request has passed",
        ),
        Kind::PeerGone => (
            499,
            GrpcCode::Cancelled,
            Unset,
            Unset,
            None,
            "the client is gone",
        ),
        Kind::Shutdown | Kind::Signal => (
            503,
            GrpcCode::Unavailable,
            Error,
            Error,
            Some("shutdown"),
            "the service is shutting down",
        ),
        Kind::Panicked => (
            500,
            GrpcCode::Internal,
            Error,
            Error,
            Some("panic"),
            "the request failed",
        ),
        Kind::Dropped | Kind::SiblingFailed => (
            500,
            GrpcCode::Cancelled,
            Error,
            Unset,
            Some("cancelled"),
            "the request was given up",
        ),
        // Cancelled, Custom, and what may come.
        _ => (
            503,
            GrpcCode::Cancelled,
            Error,
            Unset,
            Some("cancelled"),
            "the request was cancelled",
        ),
    };
    Verdict {
        http,
        is_sent: kind != Kind::PeerGone,
        retry_after: (grpc == GrpcCode::Unavailable).then_some(RETRY_AFTER),
        grpc,
        span,
        grpc_span,
        error_type,
        label: kind.as_str(),
        title,
    }
}

/// A caller's deadline and the server's own are different findings for who is on call.
fn label(kind: Kind, source: Option<DeadlineSource>) -> &'static str {
    match (kind, source) {
        (Kind::DeadlineExceeded, Some(DeadlineSource::Caller)) => "caller_deadline",
        (Kind::DeadlineExceeded, Some(DeadlineSource::Policy)) => "server_timeout",
        _ => kind.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_the_order_of_their_numbers() {
        for (number, (code, name)) in CODES.iter().enumerate() {
            let number = i32::try_from(number).unwrap();
            assert_eq!(*code as i32, number);
            assert_eq!(GrpcCode::from_number(number), *code);
            assert_eq!(code.name(), *name);
        }
        for number in [-1, 17, i32::MAX, i32::MIN] {
            assert_eq!(GrpcCode::from_number(number), GrpcCode::Unknown);
        }
    }

    #[test]
    fn the_table_is_as_documented() {
        use GrpcCode as G;
        use SpanStatus::{Error as E, Unset as U};
        for (kind, http, grpc, span, grpc_span) in [
            (Kind::DeadlineExceeded, 504, G::DeadlineExceeded, E, E),
            (Kind::PeerGone, 499, G::Cancelled, U, U),
            (Kind::Shutdown, 503, G::Unavailable, E, E),
            (Kind::Signal, 503, G::Unavailable, E, E),
            (Kind::Cancelled, 503, G::Cancelled, E, U),
            (Kind::Custom, 503, G::Cancelled, E, U),
            (Kind::Dropped, 500, G::Cancelled, E, U),
            (Kind::SiblingFailed, 500, G::Cancelled, E, U),
            (Kind::Panicked, 500, G::Internal, E, E),
        ] {
            let found = verdict(&kind.into(), None, Side::Server);
            let seen = (found.http, found.grpc, found.span, found.grpc_span);
            assert_eq!(seen, (http, grpc, span, grpc_span), "{kind:?}");
            assert_eq!(found.is_sent, http != 499, "{kind:?}");
            assert_eq!(
                found.retry_after.is_some(),
                grpc == G::Unavailable,
                "{kind:?}"
            );
            // An HTTP server's span is an error exactly when its status is a 5xx.
            assert_eq!(span == E, http >= 500, "{kind:?}");
            assert_eq!(found.error_type.is_some(), span == E, "{kind:?}");
        }
    }

    #[test]
    fn a_client_that_gives_up_is_no_error_over_http() {
        for kind in [
            Kind::Cancelled,
            Kind::PeerGone,
            Kind::Dropped,
            Kind::Shutdown,
        ] {
            let found = verdict(&kind.into(), None, Side::Client);
            assert_eq!(
                (found.span, found.grpc_span),
                (SpanStatus::Unset, SpanStatus::Error),
                "{kind:?}"
            );
        }
        let late = verdict(&Kind::DeadlineExceeded.into(), None, Side::Client);
        assert_eq!(late.span, SpanStatus::Error);
    }

    #[test]
    fn the_label_tells_whose_deadline_it_was() {
        let label = |source| {
            let cause = Kind::DeadlineExceeded.into();
            verdict(&cause, source, Side::Server).label
        };
        assert_eq!(label(Some(DeadlineSource::Caller)), "caller_deadline");
        assert_eq!(label(Some(DeadlineSource::Policy)), "server_timeout");
        assert_eq!(label(None), Kind::DeadlineExceeded.as_str());
    }
}
