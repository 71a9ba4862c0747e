//! [`OnceArc`] and [`OnceBox`]: one-word cells that are set once and then read without a lock.
//!
//! # Invariants
//! 1. The pointer is null, or came from [`Owner::into_raw`]. Without [`BORROWED`] the cell owns
//!    it; with it, another cell does, which outlives every use of this one but its drop.
//! 2. It leaves null once and never changes again while the cell is shared;
//!    only [`Once::take`] and `Drop`, which hold `&mut`, put null back.
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

/// The mark of a pointer that another cell owns: its lowest bit, which is free because the target
/// is aligned to more than one byte.
const BORROWED: usize = 1;

/// A shared value: a node's cause.
pub(crate) type OnceArc<T> = Once<Arc<T>>;
/// A value with one owner: a node's block.
pub(crate) type OnceBox<T> = Once<Box<T>>;

/// The two slots of a node, for its cause and its block, are cells like this: read on every
/// walk or look, written once by whoever comes first.
pub(crate) struct Once<P: Owner> {
    ptr: AtomicPtr<raw::Target<P>>,
    owns: PhantomData<P>,
}

/// What a cell held when it was asked: for who lends it to many, and reads the cell once.
pub(crate) struct Loan<T>(*mut raw::Target<Arc<T>>);

impl<T> Clone for Loan<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Loan<T> {}

// SAFETY: all it is good for is `borrow`, which stores an uncounted `Arc<T>` in another cell.
unsafe impl<T: Send + Sync> Send for Loan<T> {}
// SAFETY: as above; shared, it can only be copied.
unsafe impl<T: Send + Sync> Sync for Loan<T> {}

/// A pointer that owns what it points to.
///
/// # Safety
/// `into_raw` gives a pointer that stays valid for reads until `from_raw` takes it back, however
/// the owner itself was moved.
pub(crate) unsafe trait Owner: Sized {
    type Value;

    fn into_raw(self) -> *mut Self::Value;

    /// # Safety
    /// `ptr` came from `into_raw` and was not taken back before.
    unsafe fn from_raw(ptr: *mut Self::Value) -> Self;
}

// SAFETY: the count that `into_raw` keeps holds the value in its place.
unsafe impl<T> Owner for Arc<T> {
    type Value = T;

    fn into_raw(self) -> *mut T {
        Self::into_raw(self).cast_mut()
    }

    // SAFETY: as the trait asks.
    unsafe fn from_raw(ptr: *mut T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::from_raw(ptr) }
    }
}

// SAFETY: the box is forgotten, so nothing frees the value or claims it for itself.
unsafe impl<T> Owner for Box<T> {
    type Value = T;

    fn into_raw(self) -> *mut T {
        Self::into_raw(self)
    }

    // SAFETY: as the trait asks.
    unsafe fn from_raw(ptr: *mut T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::from_raw(ptr) }
    }
}

impl<P: Owner> Once<P> {
    pub(crate) fn empty() -> Self {
        Self {
            ptr: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// The mark is of interest to the owner alone; a reader gets the plain pointer.
    fn load(&self) -> *mut raw::Target<P> {
        // Acquire: pairs with the Release in `put`, so that the value is initialised.
        self.ptr
            .load(Ordering::Acquire)
            .map_addr(|addr| addr & !BORROWED)
    }

    pub(crate) fn get(&self) -> Option<&P::Value> {
        let ptr = self.load();
        // SAFETY: invariant 1: the target is owned by this cell, or by one that outlives this
        // borrow, and invariant 2 keeps it there.
        unsafe { ptr.as_ref() }.map(raw::look::<P>)
    }

    /// Stores `value` if the cell is empty, otherwise gives it back.
    pub(crate) fn set(&self, value: P) -> Result<(), P> {
        let raw = raw::give(value);
        if self.put(raw) {
            return Ok(());
        }
        // SAFETY: `raw` came from `give` above and was not stored.
        Err(unsafe { raw::take_back(raw) })
    }

    /// The one transition of invariant 2: from null to a value, by one caller.
    fn put(&self, ptr: *mut raw::Target<P>) -> bool {
        // Release: publishes the value to `load`. Acquire on failure: the caller goes on to
        // read the winner's value.
        let swapped =
            self.ptr
                .compare_exchange(ptr::null_mut(), ptr, Ordering::Release, Ordering::Acquire);
        swapped.is_ok()
    }

    /// Two callers may both make a value; one is stored, and the other one is dropped unused.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> P) -> &P::Value {
        if let Some(value) = self.get() {
            return value;
        }
        drop(self.set(make()));
        self.get()
            .expect("invariant 2: a cell that was set stays set")
    }

    /// Empties the cell; the value, if the cell owns it.
    pub(crate) fn take(&mut self) -> Option<P> {
        let ptr = take_ptr(&mut self.ptr);
        let is_owned = !ptr.is_null() && ptr.addr() & BORROWED == 0;
        // SAFETY: invariant 1; the value moves out and the cell is null again.
        is_owned.then(|| unsafe { raw::take_back(ptr) })
    }
}

impl<T> OnceArc<T> {
    /// The handle has a count of its own, so it may outlive the cell, borrowed or not.
    pub(crate) fn get_arc(&self) -> Option<Arc<T>> {
        let ptr = self.load();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: invariant 1: the pointer came from `give` and its count is held, by this cell
        // or one that outlives it, for the length of this borrow.
        Some(unsafe { raw::share(ptr) })
    }

    /// Whether the value is another cell's.
    pub(crate) fn is_borrowed(&self) -> bool {
        // Relaxed: the mark is the whole message, nothing is read through the pointer.
        self.ptr.load(Ordering::Relaxed).addr() & BORROWED != 0
    }

    /// What this cell can lend to [`borrow`](Self::borrow).
    pub(crate) fn loan(&self) -> Loan<T> {
        Loan(self.load())
    }

    /// Takes over the value that another cell lends, if this cell is empty, without counting a
    /// reference. Returns whether it did.
    ///
    /// If the lender was empty nothing happens: there was nothing to take over yet.
    ///
    /// # Safety
    /// The lender outlives every use of this cell, but for its drop.
    pub(crate) unsafe fn borrow(&self, loan: Loan<T>) -> bool {
        const {
            assert!(
                align_of::<raw::Target<Arc<T>>>() > BORROWED,
                "the lowest bit of a pointer is free"
            );
        };
        !loan.0.is_null() && self.put(loan.0.map_addr(|addr| addr | BORROWED))
    }
}

impl<P: Owner> Drop for Once<P> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What the word points to: the value itself.
#[cfg(not(ripcord_loom))]
mod raw {
    use super::{Arc, Owner};

    pub(super) type Target<P> = <P as Owner>::Value;

    pub(super) fn give<P: Owner>(owner: P) -> *mut Target<P> {
        owner.into_raw()
    }

    pub(super) fn look<P: Owner>(target: &Target<P>) -> &P::Value {
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
    pub(super) unsafe fn take_back<P: Owner>(ptr: *mut Target<P>) -> P {
        // SAFETY: the caller's promise.
        unsafe { P::from_raw(ptr) }
    }
}

/// In a model the value comes with a cell that loom watches: a look that is not
/// ordered after `give` is a reported race, as a look at the value itself would be.
#[cfg(ripcord_loom)]
mod raw {
    use super::{Arc, Owner};
    use loom::cell::UnsafeCell;

    pub(super) struct Target<P: Owner> {
        value: *mut P::Value,
        seal: UnsafeCell<()>,
    }

    pub(super) fn give<P: Owner>(owner: P) -> *mut Target<P> {
        let seal = UnsafeCell::new(());
        let value = owner.into_raw();
        Box::into_raw(Box::new(Target { value, seal }))
    }

    pub(super) fn look<P: Owner>(target: &Target<P>) -> &P::Value {
        target.seal.with(|_| ());
        // SAFETY: it came from `into_raw` and is taken back with the target only.
        unsafe { &*target.value }
    }

    /// # Safety
    /// `ptr` came from `give` and was not taken back.
    pub(super) unsafe fn share<T>(ptr: *const Target<Arc<T>>) -> Arc<T> {
        // SAFETY: the caller's promise.
        let target = unsafe { &*ptr };
        target.seal.with(|_| ());
        // SAFETY: the target holds a count.
        unsafe { Arc::increment_strong_count(target.value) };
        // SAFETY: the count taken on the line above is handed to the new `Arc`.
        unsafe { Arc::from_raw(target.value) }
    }

    /// # Safety
    /// `ptr` came from `give` and was not taken back before.
    pub(super) unsafe fn take_back<P: Owner>(ptr: *mut Target<P>) -> P {
        // SAFETY: the caller's promise.
        let target = unsafe { Box::from_raw(ptr) };
        // SAFETY: it came from `into_raw` in `give`, and the target is gone.
        unsafe { P::from_raw(target.value) }
    }
}
