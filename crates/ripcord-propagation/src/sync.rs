//! The door to locks: std's, without poisoning.
//!
//! There is one in this crate, the pad of an audit: a leaf, held for a statement.
#![expect(
    clippy::disallowed_types,
    reason = "the one place of this crate that names std's mutex"
)]

use std::sync::{Mutex as Inner, MutexGuard, PoisonError};

/// A lock that a panic leaves usable: what it protects here is whole between any two statements.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(Inner::new(inner))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
