//! A list that tasks and threads add to.

#![expect(clippy::disallowed_types, reason = "outside of every loom model")]

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Handles of one list.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        self.locked().push(item);
    }

    /// What was added since the last call.
    pub(crate) fn take(&self) -> Vec<T> {
        mem::take(&mut *self.locked())
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
