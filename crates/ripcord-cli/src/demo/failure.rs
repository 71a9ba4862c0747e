//! Why a service has no good answer, and how that is told to its caller.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ripcord::{Cancelled, JoinError, Kind};
use std::fmt;

#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The context of the request is done.
    Cancelled(Cancelled),
    /// Another service answered, and not well.
    Peer {
        service: &'static str,
        status: StatusCode,
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
    /// The one table from failures to HTTP statuses.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Cancelled(cancelled) => match cancelled.kind() {
                Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
                Kind::Shutdown | Kind::Signal => StatusCode::SERVICE_UNAVAILABLE,
                // nginx's "client closed request"; nobody is left to read it.
                Kind::PeerGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Peer { status, .. }
                if *status == StatusCode::GATEWAY_TIMEOUT
                    || *status == StatusCode::SERVICE_UNAVAILABLE =>
            {
                *status
            }
            Self::Peer { .. } | Self::Unreachable { .. } => StatusCode::BAD_GATEWAY,
            Self::Store(_) | Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(cancelled) => write!(f, "{cancelled}"),
            Self::Peer { service, status } => write!(f, "{service} answered {status}"),
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
