//! [`OnceArc`]: a one-word cell that is set once and then read without a lock.
//!
//! # Invariants
//! 1. The pointer is null, or came from `Arc::into_raw` and owns one strong count.
//! 2. It leaves null once and never changes again while the cell is shared;
//!    only [`OnceArc::take`] and `Drop`, which hold `&mut`, put null back.
//!
//! `std::sync::OnceLock<Arc<T>>` would do the same in two words, and its loser
//! would wait for the winner; here a loser sees the winner's value at once.

#![allow(
    unsafe_code,
    reason = "an owning pointer in one atomic word; invariants above"
)]

use crate::sync::{Arc, AtomicPtr, Ordering};
use std::marker::PhantomData;
use std::ptr;

pub(crate) struct OnceArc<T> {
    ptr: AtomicPtr<T>,
    owns: PhantomData<Arc<T>>,
}

impl<T> OnceArc<T> {
    pub(crate) fn empty() -> Self {
        Self {
            ptr: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `set`, so that the value is initialised.
        let ptr = self.ptr.load(Ordering::Acquire);
        // SAFETY: invariant 1: a non-null pointer owns a strong count, and invariant 2
        // keeps that count for as long as `self` is shared.
        unsafe { ptr.as_ref() }
    }

    pub(crate) fn get_arc(&self) -> Option<Arc<T>> {
        // Acquire: pairs with the Release in `set`, so that the value is initialised.
        let ptr = self.ptr.load(Ordering::Acquire);
        if ptr.is_null() {
            return None;
        }
        // SAFETY: invariant 1: the pointer came from `Arc::into_raw` and its count is held
        // by this cell for the length of this borrow.
        unsafe { Arc::increment_strong_count(ptr) };
        // SAFETY: the count taken on the line above is handed to the new `Arc`.
        Some(unsafe { Arc::from_raw(ptr) })
    }

    /// Stores `value` if the cell is empty, otherwise gives it back.
    pub(crate) fn set(&self, value: Arc<T>) -> Result<(), Arc<T>> {
        let raw = Arc::into_raw(value).cast_mut();
        // Release: publishes the value to `get`. Acquire on failure: the caller goes on to
        // read the winner's value through `get`.
        match self
            .ptr
            .compare_exchange(ptr::null_mut(), raw, Ordering::Release, Ordering::Acquire)
        {
            Ok(_) => Ok(()),
            // SAFETY: `raw` came from `Arc::into_raw` above and was not stored.
            Err(_) => Err(unsafe { Arc::from_raw(raw) }),
        }
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Arc<T>) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        drop(self.set(make()));
        self.get()
            .expect("invariant 2: a cell that was set stays set")
    }

    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        // Relaxed: `&mut self` excludes every other access.
        let ptr = self.ptr.load(Ordering::Relaxed);
        // Relaxed: as above.
        self.ptr.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: invariant 1; the count moves out and the cell is null again.
        (!ptr.is_null()).then(|| unsafe { Arc::from_raw(ptr) })
    }
}

impl<T> Drop for OnceArc<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
