//! From causes to [`tonic::Status`] and back.

use crate::peer_cause::PeerCause;
use http::{HeaderMap, HeaderValue};
use ripcord_core::{Cancelled, Cause};
use ripcord_propagation::{GrpcCode, Side, Verdict, verdict};
use std::error::Error;
use std::sync::Arc;
use tonic::{Code, Status};

/// The status that a server answers with when its context is done.
///
/// For handlers that look at the context themselves and return early; where the layer ends a
/// handler it answers with the same code. The [`Cancelled`] is the source of the status, found with
/// [`StatusExt::cancelled`]; it does not travel.
///
/// | kind | code |
/// |---|---|
/// | `DeadlineExceeded` | `DEADLINE_EXCEEDED` |
/// | `Shutdown`, `Signal` | `UNAVAILABLE` |
/// | `Panicked` | `INTERNAL` |
/// | every other | `CANCELLED` |
///
/// The message is a fixed text for each row. The cause's own message, its name and its site stay
/// inside: they may say what is none of the caller's business.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_grpc::{StatusExt as _, status_of};
/// use tonic::{Code, Status};
///
/// fn step(ctx: &Ctx) -> Result<(), Status> {
///     ctx.check().map_err(|error| status_of(error.cause()))
/// }
///
/// let (ctx, guard) = Ctx::background().child();
/// guard.cancel(Kind::Shutdown);
/// let status = step(&ctx).unwrap_err();
/// assert_eq!(status.code(), Code::Unavailable);
/// assert_eq!(status.cancelled().map(|error| error.kind()), Some(Kind::Shutdown));
/// ```
#[must_use]
pub fn status_of(cause: &Cause) -> Status {
    let Verdict { grpc, title, .. } = verdict(cause, None, Side::Server);
    with_source(Status::new(tonic_code(grpc), title), cause)
}

/// The status of a call that the caller's own context ended: nothing came from the peer.
///
/// A deadline is told apart from everything else. A shutdown of *this* process is no reason to
/// say that the peer was unavailable: that would be an invitation to try again.
pub(crate) fn local_status(cause: &Cause) -> Status {
    let cancelled = Cancelled::new(cause.clone());
    let status = if cancelled.is_deadline() {
        Status::deadline_exceeded("the deadline of the call has passed")
    } else {
        Status::cancelled(format!("the call was given up: {}", cause.kind()))
    };
    with_source(status, cause)
}

/// The error of a request stream whose context is done, for the handler that reads it.
///
/// Never `CANCELLED`: tonic's decoder takes that on a request stream for its clean end, and a
/// handler would work with half of the input as if it were all.
pub(crate) fn read_status(cause: &Cause) -> Status {
    let status = status_of(cause);
    if status.code() == Code::Cancelled {
        with_source(Status::aborted(status.message()), cause)
    } else {
        status
    }
}

fn with_source(mut status: Status, cause: &Cause) -> Status {
    status.set_source(Arc::new(Cancelled::new(cause.clone())));
    status
}

/// The same status as `DEADLINE_EXCEEDED`; the original is its source.
pub(crate) fn into_late(status: Status) -> Status {
    let mut late = Status::with_details_and_metadata(
        Code::DeadlineExceeded,
        status.message(),
        bytes::Bytes::copy_from_slice(status.details()),
        status.metadata().clone(),
    );
    late.set_source(Arc::new(status));
    late
}

/// The status code in trailers, or in the head of an answer that has no body.
pub(crate) fn code_in(headers: &HeaderMap) -> Option<GrpcCode> {
    let value = headers.get(Status::GRPC_STATUS)?.as_bytes();
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    Some(number.map_or(GrpcCode::Unknown, GrpcCode::from_number))
}

/// Replaces the status code in trailers.
pub(crate) fn set_code(headers: &mut HeaderMap, code: GrpcCode) {
    headers.insert(Status::GRPC_STATUS, HeaderValue::from(code as i32));
}

pub(crate) fn tonic_code(code: GrpcCode) -> Code {
    Code::from_i32(code as i32)
}

pub(crate) fn propagation_code(code: Code) -> GrpcCode {
    GrpcCode::from_number(code.into())
}

/// Asks a [`Status`] why the call ended.
///
/// A status alone does not tell who gave up: a `DEADLINE_EXCEEDED` may be this process's own, or the
/// answer of a callee that has run into a limit of its own. The first is a matter of this request,
/// the second one of that service.
///
/// # Examples
/// ```
/// use ripcord_grpc::StatusExt as _;
/// use tonic::{Code, Status};
///
/// /// What goes into the log, and whether another replica is worth a try.
/// fn judge(status: &Status) -> (String, bool) {
///     if let Some(own) = status.cancelled() {
///         return (format!("given up here: {own}"), false);
///     }
///     if let Some(theirs) = status.peer_cause() {
///         return (format!("given up there: {theirs}"), status.code() == Code::Unavailable);
///     }
///     (status.to_string(), status.code() == Code::Unavailable)
/// }
///
/// let (line, is_worth_it) = judge(&Status::unavailable("no route"));
/// assert!(is_worth_it && line.contains("no route"));
/// ```
pub trait StatusExt {
    /// The end of the context on this side, if that is what ended the call.
    ///
    /// Looked for among the sources of the status, so it is also found where the status was wrapped
    /// into another one on the way. Its cause tells the name of the context and the place in the
    /// source: see [`Cause`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Kind;
    /// use ripcord_grpc::{StatusExt as _, status_of};
    ///
    /// let status = status_of(&Kind::DeadlineExceeded.into());
    /// assert!(status.cancelled().is_some_and(|error| error.is_deadline()));
    /// assert!(tonic::Status::deadline_exceeded("said the peer").cancelled().is_none());
    /// ```
    fn cancelled(&self) -> Option<&Cancelled>;

    /// Why the context was done on the other side, if that is a ripcord server that told it.
    ///
    /// A handler that hands the status of a call on to its own caller hands this on as well: it is
    /// a part of the metadata.
    ///
    /// See [`PeerCause`] for an example.
    fn peer_cause(&self) -> Option<PeerCause>;
}

impl StatusExt for Status {
    fn cancelled(&self) -> Option<&Cancelled> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(cancelled) = error.downcast_ref() {
                return Some(cancelled);
            }
            next = error.source();
        }
        None
    }

    fn peer_cause(&self) -> Option<PeerCause> {
        PeerCause::read(self.metadata().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_core::Kind;

    #[test]
    fn each_kind_has_its_codes() {
        for (kind, server, local, read) in [
            (Kind::DeadlineExceeded, 4, 4, 4),
            (Kind::Shutdown, 14, 1, 14),
            (Kind::Signal, 14, 1, 14),
            (Kind::PeerGone, 1, 1, 10),
            (Kind::Cancelled, 1, 1, 10),
            (Kind::Custom, 1, 1, 10),
            (Kind::Dropped, 1, 1, 10),
            (Kind::Panicked, 13, 1, 13),
        ] {
            let cause = Cause::new(kind);
            let made = [status_of(&cause), local_status(&cause), read_status(&cause)];
            let codes = made.each_ref().map(|status| i32::from(status.code()));
            assert_eq!(codes, [server, local, read], "{kind:?}");
            for status in made {
                assert_eq!(status.cancelled().map(Cancelled::cause), Some(&cause));
                assert_eq!(status.peer_cause(), None, "it is our own");
            }
        }
    }

    #[test]
    fn a_code_is_read_as_the_specification_has_it() {
        for (text, expect) in [
            ("0", GrpcCode::Ok),
            ("4", GrpcCode::DeadlineExceeded),
            ("17", GrpcCode::Unknown),
            ("-1", GrpcCode::Unknown),
            ("", GrpcCode::Unknown),
            ("99999999999", GrpcCode::Unknown),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(Status::GRPC_STATUS, text.parse().unwrap());
            assert_eq!(code_in(&headers), Some(expect), "{text:?}");
        }
        assert_eq!(code_in(&HeaderMap::new()), None);
    }

    #[test]
    fn a_late_status_keeps_what_was_said() {
        let cause = Cause::new(Kind::PeerGone);
        let late = into_late(local_status(&cause));
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert_eq!(late.cancelled().map(Cancelled::cause), Some(&cause));
    }
}
