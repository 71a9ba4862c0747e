//! The kit's only door to locks: std's, without poisoning.
//!
//! A test that panics while it holds a lock has failed already; what runs afterwards,
//! on other threads or in destructors, should report its own findings and not the poison.

#![expect(
    clippy::disallowed_types,
    reason = "this is the door that the ban points to"
)]

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A mutex that ignores poison.
#[derive(Default, Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits on `changed`, ignoring poison.
pub(crate) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
