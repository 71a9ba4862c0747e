//! [`OnceArc`]: a one-word cell that is set once and then read without a lock.
//!
//! # Invariants
//! 1. The pointer is null, or came from `Arc::into_raw`. Without [`BORROWED`] it owns
//!    one strong count; with it, the count is that of another cell, which outlives
//!    every use of this one but its drop.
//! 2. It leaves null once and never changes again while the cell is shared;
//!    only [`OnceArc::take`] and `Drop`, which hold `&mut`, put null back.
//!
//! `std::sync::OnceLock<Arc<T>>` would do the same in two words, and its loser
//! would wait for the winner; here a loser sees the winner's value at once.

#![allow(
    unsafe_code,
    reason = "an owning pointer in one atomic word; invariants above"
)]

use crate::sync::{Arc, AtomicPtr, Ordering, take_ptr};
use std::marker::PhantomData;
use std::ptr;

/// The mark of a pointer whose count belongs to another cell: its lowest bit, which is
/// free because the target is aligned to more than one byte.
const BORROWED: usize = 1;

/// The two slots of a node, for its cause and its block, are cells like this: read on every
/// walk or look, written once by whoever comes first.
pub(crate) struct OnceArc<T> {
    ptr: AtomicPtr<raw::Target<T>>,
    owns: PhantomData<Arc<T>>,
}

impl<T> OnceArc<T> {
    pub(crate) fn empty() -> Self {
        Self {
            ptr: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// The mark is of interest to the owner alone; a reader gets the plain pointer.
    fn load(&self) -> *mut raw::Target<T> {
        // Acquire: pairs with the Release in `put`, so that the value is initialised.
        self.ptr
            .load(Ordering::Acquire)
            .map_addr(|addr| addr & !BORROWED)
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let ptr = self.load();
        // SAFETY: invariant 1: a strong count of the target is held by this cell, or by one
        // that outlives this borrow, and invariant 2 keeps it there.
        unsafe { ptr.as_ref() }.map(raw::look)
    }

    /// The handle has a count of its own, so it may outlive the cell, borrowed or not.
    pub(crate) fn get_arc(&self) -> Option<Arc<T>> {
        let ptr = self.load();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: invariant 1: the pointer came from `Arc::into_raw` and its count is held,
        // by this cell or one that outlives it, for the length of this borrow.
        Some(unsafe { raw::share(ptr) })
    }

    /// Stores `value` if the cell is empty, otherwise gives it back.
    pub(crate) fn set(&self, value: Arc<T>) -> Result<(), Arc<T>> {
        let raw = raw::give(value);
        if self.put(raw) {
            return Ok(());
        }
        // SAFETY: `raw` came from `Arc::into_raw` above and was not stored.
        Err(unsafe { raw::take_back(raw) })
    }

    /// Takes over the value of `owner`, if this cell is empty, without counting a
    /// reference. Returns whether it did.
    ///
    /// With an empty `owner` nothing happens: there is nothing to take over yet.
    ///
    /// # Safety
    /// `owner` outlives every use of this cell, but for its drop.
    pub(crate) unsafe fn borrow_from(&self, owner: &Self) -> bool {
        let ptr = owner.load();
        const {
            assert!(
                align_of::<raw::Target<T>>() > BORROWED,
                "the lowest bit of a pointer is free"
            );
        };
        !ptr.is_null() && self.put(ptr.map_addr(|addr| addr | BORROWED))
    }

    /// The one transition of invariant 2: from null to a value, by one caller.
    fn put(&self, ptr: *mut raw::Target<T>) -> bool {
        // Release: publishes the value to `load`. Acquire on failure: the caller goes on to
        // read the winner's value.
        let swapped =
            self.ptr
                .compare_exchange(ptr::null_mut(), ptr, Ordering::Release, Ordering::Acquire);
        swapped.is_ok()
    }

    /// Two callers may both make a value; one is stored, and the other one is dropped unused.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Arc<T>) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        drop(self.set(make()));
        self.get()
            .expect("invariant 2: a cell that was set stays set")
    }

    /// Empties the cell; the value, if the cell owns it.
    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        let ptr = take_ptr(&mut self.ptr);
        let is_owned = !ptr.is_null() && ptr.addr() & BORROWED == 0;
        // SAFETY: invariant 1; the count moves out and the cell is null again.
        is_owned.then(|| unsafe { raw::take_back(ptr) })
    }
}

impl<T> Drop for OnceArc<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What the word points to: the value itself.
#[cfg(not(ripcord_loom))]
mod raw {
    use super::Arc;

    pub(super) type Target<T> = T;

    pub(super) fn give<T>(value: Arc<T>) -> *mut T {
        Arc::into_raw(value).cast_mut()
    }

    pub(super) fn look<T>(target: &T) -> &T {
        target
    }

    /// # Safety
    /// `ptr` came from `give` and its count is still held.
    pub(super) unsafe fn share<T>(ptr: *const T) -> Arc<T> {
        // SAFETY: the caller's promise.
        unsafe { Arc::increment_strong_count(ptr) };
        // SAFETY: the count taken on the line above is handed to the new `Arc`.
        unsafe { Arc::from_raw(ptr) }
    }

    /// # Safety
    /// `ptr` came from `give` and was not taken back before.
    pub(super) unsafe fn take_back<T>(ptr: *mut T) -> Arc<T> {
        // SAFETY: the caller's promise.
        unsafe { Arc::from_raw(ptr) }
    }
}

/// In a model the value comes with a cell that loom watches: a look that is not
/// ordered after `give` is a reported race, as a look at the value itself would be.
#[cfg(ripcord_loom)]
mod raw {
    use super::Arc;
    use loom::cell::UnsafeCell;

    pub(super) struct Target<T> {
        value: Arc<T>,
        seal: UnsafeCell<()>,
    }

    pub(super) fn give<T>(value: Arc<T>) -> *mut Target<T> {
        let seal = UnsafeCell::new(());
        Box::into_raw(Box::new(Target { value, seal }))
    }

    pub(super) fn look<T>(target: &Target<T>) -> &T {
        target.seal.with(|_| ());
        &target.value
    }

    /// # Safety
    /// `ptr` came from `give` and was not taken back.
    pub(super) unsafe fn share<T>(ptr: *const Target<T>) -> Arc<T> {
        // SAFETY: the caller's promise.
        let target = unsafe { &*ptr };
        target.seal.with(|_| ());
        Arc::clone(&target.value)
    }

    /// # Safety
    /// `ptr` came from `give` and was not taken back before.
    pub(super) unsafe fn take_back<T>(ptr: *mut Target<T>) -> Arc<T> {
        // SAFETY: the caller's promise.
        unsafe { Box::from_raw(ptr) }.value
    }
}
