//! What the connections of a server share: [`Shared`].
//!
//! Each of ten thousand idle connections has one reference to it, instead of one to each part.

use crate::serve::hangup::Watcher;
use crate::serve::roster::Roster;
use crate::serve::tally::Tally;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use ripcord_core::Ctx;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the connections of a server share.
pub(crate) struct Shared {
    pub(crate) protocol: auto::Builder<TokioExecutor>,
    /// Done when what is left of a shutdown is cut off: a shield of the server's context, so a force
    /// goes through it, and the grace counts from the cancel however that came.
    pub(crate) last: Ctx,
    /// The stage *begin* takes no longer: hyper has no limit before it knows which protocol it is.
    pub(crate) begin_max: Duration,
    pub(crate) roster: Arc<Roster>,
    /// Learns of clients that leave, where the system tells.
    pub(crate) watcher: Option<Arc<Watcher>>,
    pub(crate) tally: Tally,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
