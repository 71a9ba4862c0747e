//! The only door to atomics and locks: std in every build, loom's under `--cfg ripcord_loom`.
//!
//! # Costs
//! [`Mutex`] never poisons: no foreign code runs under a lock of this crate, so a
//! panic while one is held can only come from an allocation failure, after which
//! the data is still consistent (each critical section changes it in one step).

#[cfg(not(ripcord_loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(ripcord_loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

// loom has no `Weak`, so reference counts stay std's in every build: they are
// trusted, everything that this crate orders by itself is modelled.
pub(crate) use std::sync::{Arc, OnceLock, Weak};

#[cfg(not(ripcord_loom))]
#[allow(
    clippy::disallowed_types,
    reason = "this is the door that the ban points to"
)]
type Inner<T> = std::sync::Mutex<T>;
#[cfg(not(ripcord_loom))]
pub(crate) type MutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;

#[cfg(ripcord_loom)]
type Inner<T> = loom::sync::Mutex<T>;
#[cfg(ripcord_loom)]
pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

/// A mutex without poisoning.
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    #[cfg(not(ripcord_loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    #[cfg(ripcord_loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(not(ripcord_loom))]
#[allow(
    clippy::disallowed_types,
    reason = "this is the door that the ban points to"
)]
pub(crate) use std::sync::Condvar;

#[cfg(ripcord_loom)]
pub(crate) use loom::sync::Condvar;

/// Waits on `condvar`, ignoring poison like [`Mutex::lock`].
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar
        .wait(guard)
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(not(ripcord_loom))]
pub(crate) use std::thread::ThreadId;

#[cfg(ripcord_loom)]
pub(crate) use loom::thread::ThreadId;

/// Which thread this is; loom's threads share one of the system's.
pub(crate) fn thread_id() -> ThreadId {
    #[cfg(not(ripcord_loom))]
    return std::thread::current().id();
    #[cfg(ripcord_loom)]
    return loom::thread::current().id();
}
