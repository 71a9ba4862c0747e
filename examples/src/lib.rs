//! What the examples share: a log of events, shown as they happen and kept for the tests.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "an example is outside every loom model"
)]

use std::sync::{Arc, Mutex, PoisonError};

/// The events of one run, in the order in which they happened; a clone is the same log.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Makes an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows and keeps one event.
    #[allow(clippy::print_stdout, reason = "an example shows what it does")]
    pub fn say(&self, event: impl Into<String>) {
        let event = event.into();
        println!("{event}");
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
    }

    /// What was said so far.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }
}
