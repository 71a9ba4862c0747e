//! `SIGUSR1` as a reason for a dump.
//!
//! The handler sets a flag, which is all that a handler may do; the thread of the flight finds it when it
//! next looks.
//!
//! # Limitations
//! Other handlers of the same signal are called too. When the flight is over the signal does nothing:
//! the operating system's own answer to it, which is to end the process, does not come back.

use signal_hook::SigId;
use signal_hook::consts::SIGUSR1;
use signal_hook::{flag, low_level};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag is set by the signal until this is dropped.
#[derive(Debug)]
pub(super) struct Listening(SigId);

impl Listening {
    /// Begins to listen.
    pub(super) fn start(flag: &Arc<AtomicBool>) -> io::Result<Self> {
        flag::register(SIGUSR1, Arc::clone(flag)).map(Self)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        low_level::unregister(self.0);
    }
}
