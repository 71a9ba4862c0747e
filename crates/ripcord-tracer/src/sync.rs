//! The only door to atomics, locks and shared bytes: std in every build, loom's under
//! `--cfg ripcord_loom`.
//!
//! *Invariant of [`Bytes`]*: one writer, who writes only behind what it has published; readers, who
//! look only at what was published to them. So no byte is read and written at a time, though both
//! happen to the same allocation.
//!
//! Reference counts are modelled, too: that a block is nobody else's is told by one.
//!
//! # Why a door
//! The protocols of `block.rs` and `ring.rs` are short, and wrong in ways that no test
//! shows. loom runs them in every order that the memory model allows, and it can do so only
//! with types of its own. So there is one place that says which types these are.

#[cfg(ripcord_loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(ripcord_loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(ripcord_loom)]
pub(crate) use modelled::{Bytes, Mutex};
#[cfg(not(ripcord_loom))]
pub(crate) use plain::{Bytes, Mutex};

/// The types of every build but that of models.
#[cfg(not(ripcord_loom))]
mod plain {
    #![allow(
        clippy::disallowed_types,
        reason = "this is the door that the ban points to"
    )]
    #![allow(
        unsafe_code,
        reason = "bytes that one thread appends to while others read what stands before"
    )]

    use std::cell::UnsafeCell;
    use std::slice;
    use std::sync::{Mutex as Inner, MutexGuard, PoisonError, TryLockError};

    /// A lock that a panic leaves usable: each critical section here is one step.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        /// A lock around this.
        pub(crate) fn new(inner: T) -> Self {
            Self(Inner::new(inner))
        }

        /// Waits for whoever has it. No foreign code runs under a lock of this crate, so
        /// that is never long.
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// `None` while somebody else holds it.
        ///
        /// For writers of the ring, which wait for nobody.
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    /// Bytes that are appended to by one thread and read by others.
    pub(crate) struct Bytes(Box<[UnsafeCell<u8>]>);

    // SAFETY: by the contracts of `append` and `read` no byte is written while it is read.
    unsafe impl Sync for Bytes {}

    impl Bytes {
        /// So many bytes, all zero.
        pub(crate) fn new(len: usize) -> Self {
            Self((0..len).map(|_| UnsafeCell::new(0)).collect())
        }

        /// Lets `write` see everything from `from` on.
        ///
        /// # Safety
        /// Nobody else calls this meanwhile, and nobody reads at or behind `from`.
        #[inline]
        pub(crate) unsafe fn append<R>(
            &self,
            from: usize,
            write: impl FnOnce(&mut [u8]) -> R,
        ) -> R {
            let from = from.min(self.0.len());
            let start = UnsafeCell::raw_get(self.0.as_ptr());
            // SAFETY: `from` is inside or at the end of the slice that `start` begins.
            let start = unsafe { start.add(from) };
            // SAFETY: so many cells follow, which are laid out as their content, and by the contract
            // these bytes are this call's alone.
            let tail = unsafe { slice::from_raw_parts_mut(start, self.0.len() - from) };
            write(tail)
        }

        /// Lets `look` see the first `to` bytes.
        ///
        /// # Safety
        /// They were published to this thread, and are written no more.
        pub(crate) unsafe fn read<R>(&self, to: usize, look: impl FnOnce(&[u8]) -> R) -> R {
            let to = to.min(self.0.len());
            let start = UnsafeCell::raw_get(self.0.as_ptr());
            // SAFETY: `to` is inside the slice, and by the contract nobody writes to these bytes.
            look(unsafe { slice::from_raw_parts(start.cast_const(), to) })
        }
    }
}

/// The same types as loom has them.
#[cfg(ripcord_loom)]
mod modelled {
    #![allow(unsafe_code, reason = "the same contracts, checked by loom")]

    use loom::cell::UnsafeCell;
    use loom::sync::{Mutex as Inner, MutexGuard};

    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        /// As outside of models.
        pub(crate) fn new(inner: T) -> Self {
            Self(Inner::new(inner))
        }

        /// As outside of models; a panic ends the model.
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// As outside of models.
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// A cell for each byte: loom fails the model where one is read and written at a time.
    pub(crate) struct Bytes(Box<[UnsafeCell<u8>]>);

    // SAFETY: loom checks every access.
    unsafe impl Sync for Bytes {}

    impl Bytes {
        /// So many bytes, each of them followed by loom.
        pub(crate) fn new(len: usize) -> Self {
            Self((0..len).map(|_| UnsafeCell::new(0)).collect())
        }

        /// # Safety
        /// As outside of models.
        pub(crate) unsafe fn append<R>(
            &self,
            from: usize,
            write: impl FnOnce(&mut [u8]) -> R,
        ) -> R {
            let mut copy = vec![0; self.0.len() - from];
            let result = write(&mut copy);
            for (cell, byte) in self.0.iter().skip(from).zip(copy) {
                // What stays zero was not written, and may be read by nobody either way.
                if byte != 0 {
                    // SAFETY: loom checks it.
                    cell.with_mut(|cell| unsafe { *cell = byte });
                }
            }
            result
        }

        /// # Safety
        /// As outside of models.
        pub(crate) unsafe fn read<R>(&self, to: usize, look: impl FnOnce(&[u8]) -> R) -> R {
            let cells = self.0.iter().take(to);
            // SAFETY: loom checks it.
            let copy: Vec<u8> = cells
                .map(|cell| cell.with(|cell| unsafe { *cell }))
                .collect();
            look(&copy)
        }
    }
}
