//! Why a service has no good answer, and how that is told to its caller.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ripcord::{Cancelled, JoinError};
use ripcord_grpc::{StatusExt, status_of};
use ripcord_propagation::{Side, verdict};
use std::fmt;
use tonic::{Code, Status};

#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The context of the request is done.
    Cancelled(Cancelled),
    /// No new orders are taken, because the service is about to stop.
    Draining,
    /// Another service answered, and not well.
    Peer {
        service: &'static str,
        status: StatusCode,
    },
    /// Another service answered over gRPC, and not well.
    Rpc {
        service: &'static str,
        code: Code,
        message: String,
    },
    /// Another service could not be reached.
    Unreachable {
        service: &'static str,
        error: String,
    },
    /// The database failed.
    Store(String),
    /// A task has no result: it panicked or was aborted.
    Task(String),
}

impl Failure {
    /// The one table from failures to HTTP statuses; for causes it is that of ripcord.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Cancelled(cancelled) => {
                let verdict = verdict(cancelled.cause(), None, Side::Server);
                StatusCode::from_u16(verdict.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Peer { status, .. }
                if *status == StatusCode::GATEWAY_TIMEOUT
                    || *status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                *status
            }
            Self::Rpc { code, .. } => match code {
                Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
                Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Peer { .. } | Self::Unreachable { .. } => StatusCode::BAD_GATEWAY,
            Self::Store(_) | Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a gRPC service answers.
    pub(super) fn to_status(&self) -> Status {
        if let Self::Cancelled(cancelled) = self {
            return status_of(cancelled.cause());
        }
        let code = match self.status() {
            StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Internal,
        };
        Status::new(code, self.to_string())
    }

    /// What a call of a gRPC service failed with: it was we, or it was they.
    pub(super) fn from_status(service: &'static str, status: &Status) -> Self {
        match status.cancelled() {
            Some(cancelled) => Self::Cancelled(cancelled.clone()),
            None => Self::Rpc {
                service,
                code: status.code(),
                message: status.message().to_owned(),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(cancelled) => write!(f, "{cancelled}"),
            Self::Draining => f.write_str("draining"),
            Self::Peer { service, status } => write!(f, "{service} answered {status}"),
            Self::Rpc {
                service,
                code,
                message,
            } => write!(f, "{service} answered {code:?}: {message}"),
            Self::Unreachable { service, error } => write!(f, "{service} unreachable: {error}"),
            Self::Store(error) => write!(f, "database: {error}"),
            Self::Task(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Cancelled> for Failure {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error.not_started() {
            Some(cancelled) => Self::Cancelled(cancelled.clone()),
            None => Self::Task(error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord::Kind;

    #[test]
    fn a_failure_has_a_status_over_http_and_over_grpc() {
        let cancelled = |kind| Failure::Cancelled(Cancelled::new(kind));
        let rpc = |code| Failure::Rpc {
            service: "risk",
            code,
            message: "busy".to_owned(),
        };
        let peer = |status| Failure::Peer {
            service: "notify",
            status,
        };
        for (failure, http, grpc) in [
            (
                cancelled(Kind::DeadlineExceeded),
                504,
                Code::DeadlineExceeded,
            ),
            (cancelled(Kind::Shutdown), 503, Code::Unavailable),
            (cancelled(Kind::PeerGone), 499, Code::Cancelled),
            (Failure::Draining, 503, Code::Unavailable),
            (rpc(Code::DeadlineExceeded), 504, Code::DeadlineExceeded),
            (rpc(Code::Unavailable), 503, Code::Unavailable),
            (rpc(Code::Internal), 502, Code::Internal),
            (
                peer(StatusCode::GATEWAY_TIMEOUT),
                504,
                Code::DeadlineExceeded,
            ),
            (peer(StatusCode::NOT_FOUND), 502, Code::Internal),
            (Failure::Store("locked".to_owned()), 500, Code::Internal),
        ] {
            assert_eq!(failure.status(), http, "{failure}");
            assert_eq!(failure.to_status().code(), grpc, "{failure}");
        }
    }

    #[test]
    fn a_call_that_failed_was_ended_by_us_or_by_them() {
        let ours = status_of(&Kind::DeadlineExceeded.into());
        let ours = Failure::from_status("risk", &ours);
        assert!(matches!(ours, Failure::Cancelled(cancelled) if cancelled.is_deadline()));
        let theirs = Failure::from_status("risk", &Status::deadline_exceeded("too late"));
        assert_eq!(
            theirs.to_string(),
            "risk answered DeadlineExceeded: too late"
        );
    }
}
