//! What only one fault leaves behind, each in its own place.

use super::failure::Failure;
use super::tally::Samples;
use axum::http::StatusCode;

/// The evidence of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub(super) uploads: Uploads,
    pub(super) went_on: WentOn,
    pub(super) clocks: Clocks,
    pub(super) stale: Stale,
}

/// Calls with all that their caller had been sent (`stale-timeout`).
#[derive(Clone, Debug, Default)]
pub(super) struct Stale {
    /// The time-outs that were forwarded as they had come in.
    pub(super) forwarded: Samples,
    /// Those that arrived in their place.
    pub(super) arrived: Samples,
    /// Calls that arrived with one time-out, which was less, and with one trace.
    pub(super) mended: u64,
}

/// Uploads that nobody read, and whose client left (`unread-upload`).
#[derive(Clone, Debug, Default)]
pub(super) struct Uploads {
    /// Their context was done with `peer gone`; from the close of the socket until then.
    pub(super) noticed: Samples,
    /// Their context was not done, or for another reason.
    pub(super) unnoticed: u64,
}

/// Calls of a service that does not look at its deadline (`ignores-deadline`).
#[derive(Clone, Debug, Default)]
pub(super) struct WentOn {
    /// How long the calls took that ended at the deadline of their caller.
    pub(super) callers: Samples,
    /// How long after its deadline the callee was done.
    pub(super) callees: Samples,
}

/// What a client whose clock is wrong says of its deadline (`wrong-clock`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Says {
    /// How much time there is.
    Relative,
    /// When it ends, where clocks are not trusted.
    Untrusted,
    /// When it ends, where clocks are trusted.
    Trusted,
}

/// What became of requests with deadlines of each sort.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    pub(super) relative: Deadlines,
    pub(super) untrusted: Deadlines,
    pub(super) trusted: Deadlines,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    pub(super) sent: u64,
    /// Answered 504.
    pub(super) refused: u64,
    /// Answered 200.
    pub(super) ok: u64,
}

impl Clocks {
    pub(super) fn count(&mut self, says: Says, answer: &Result<StatusCode, Failure>) {
        let row = match says {
            Says::Relative => &mut self.relative,
            Says::Untrusted => &mut self.untrusted,
            Says::Trusted => &mut self.trusted,
        };
        row.sent += 1;
        row.ok += u64::from(matches!(answer, Ok(StatusCode::OK)));
        row.refused += u64::from(matches!(answer, Ok(StatusCode::GATEWAY_TIMEOUT)));
    }
}
