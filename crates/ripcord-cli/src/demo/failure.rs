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
    pub(super) fn into_status(self) -> Status {
        match self {
            Self::Cancelled(cancelled) => status_of(cancelled.cause()),
            Self::Draining => Status::unavailable(self.to_string()),
            Self::Rpc { code, .. } => Status::new(code, self.to_string()),
            _ => Status::internal(self.to_string()),
        }
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
