//! The door to locks: std's, without poisoning.
//!
//! There are two in this crate. The table of the roster is a leaf, held for a few statements and never
//! across an `.await`; the span of a client's body is never locked, and only made `Sync`.
#![expect(
    clippy::disallowed_types,
    reason = "the one place of this crate that names std's mutex"
)]

#[cfg(feature = "server")]
use std::sync::MutexGuard;
use std::sync::{Mutex as Inner, PoisonError};

/// A lock that a panic leaves usable: what it protects here is whole between any two statements.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(Inner::new(inner))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "server")]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
