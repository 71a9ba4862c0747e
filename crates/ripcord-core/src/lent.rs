//! [`Lent`]: a counted pointer that a descendant may hold without counting.
//!
//! What every context of a tree shares would otherwise be counted by each of them: two
//! read-modify-writes for each context made and dropped, all on one cache line. Descendants
//! hold their ancestors, so what an ancestor owns is there for them anyway.
//!
//! # Invariants
//! 1. The pointer is null, or came from `Arc::into_raw`. Without [`BORROWED`] it owns one strong
//!    count; with it, the count is that of another `Lent`, which outlives every use of this one
//!    but its drop.
//! 2. It never changes, but for the drop.

#![allow(
    unsafe_code,
    reason = "a pointer that may or may not own; invariants above"
)]

use crate::sync::Arc;
use std::marker::PhantomData;
use std::ptr;

/// The mark of a pointer whose count belongs to another: its lowest bit, which is free because the
/// target is aligned to more than one byte.
const BORROWED: usize = 1;

/// One word. For what is fixed when a node is made; what comes later stands in a
/// [`OnceArc`](crate::once::OnceArc).
pub(crate) struct Lent<T> {
    ptr: *const T,
    owns: PhantomData<Arc<T>>,
}

// SAFETY: it gives out `&T` and `Arc<T>`, and drops an `Arc<T>`: what `Arc<T>` may do between
// threads, it may. The pointer itself never changes (invariant 2).
unsafe impl<T: Send + Sync> Send for Lent<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Lent<T> {}

impl<T> Lent<T> {
    /// With its own count; nothing is in it if there is no `value`.
    pub(crate) fn own(value: Option<Arc<T>>) -> Self {
        const {
            assert!(
                align_of::<T>() > BORROWED,
                "the lowest bit of a pointer is free"
            );
        };
        Self {
            ptr: value.map_or(ptr::null(), Arc::into_raw),
            owns: PhantomData,
        }
    }

    /// The same value, not counted.
    ///
    /// # Safety
    /// `self`, and what it borrowed from, outlives every use of the result, but for its drop.
    pub(crate) unsafe fn lend(&self) -> Self {
        let mark = |addr| if addr == 0 { 0 } else { addr | BORROWED };
        Self {
            ptr: self.ptr.map_addr(mark),
            owns: PhantomData,
        }
    }

    fn target(&self) -> *const T {
        self.ptr.map_addr(|addr| addr & !BORROWED)
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: invariant 1: a count is held by this one, or by one that outlives this borrow.
        unsafe { self.target().as_ref() }
    }

    /// A handle with a count of its own.
    pub(crate) fn share(&self) -> Option<Arc<T>> {
        let ptr = self.target();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: invariant 1: it came from `Arc::into_raw`, and a count is held meanwhile.
        unsafe { Arc::increment_strong_count(ptr) };
        // SAFETY: the count taken on the line above is handed to the new `Arc`.
        Some(unsafe { Arc::from_raw(ptr) })
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if !self.ptr.is_null() && self.ptr.addr() & BORROWED == 0 {
            // SAFETY: invariant 1: the count is this one's, and is given up here.
            drop(unsafe { Arc::from_raw(self.ptr) });
        }
    }
}

#[cfg(all(test, not(ripcord_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_by_who_owns_and_by_nobody_else() {
        let value = Arc::new(7_u64);
        let owner = Lent::own(Some(Arc::clone(&value)));
        // SAFETY: `owner` is dropped last.
        let borrower = unsafe { owner.lend() };
        // SAFETY: as above.
        let further = unsafe { borrower.lend() };
        assert_eq!(Arc::strong_count(&value), 2);
        assert_eq!([&owner, &borrower, &further].map(Lent::get), [Some(&7); 3]);
        let shared = further.share();
        assert_eq!(Arc::strong_count(&value), 3);
        drop((borrower, further));
        assert_eq!(Arc::strong_count(&value), 3);
        drop((owner, shared));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn nothing_may_be_lent() {
        let none = Lent::<u64>::own(None);
        // SAFETY: `none` is dropped last.
        let lent = unsafe { none.lend() };
        assert!(lent.get().is_none() && lent.share().is_none() && none.get().is_none());
    }
}
