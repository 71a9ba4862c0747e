//! The only door to atomics, locks and shared bytes: std in every build, loom's under
//! `--cfg ripcord_loom`, shuttle's under `--cfg ripcord_shuttle`.
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
#[cfg(ripcord_shuttle)]
pub(crate) use shuttle::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(any(ripcord_loom, ripcord_shuttle)))]
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

    use crate::memory::Frame;
    #[cfg(ripcord_shuttle)]
    use shuttle::sync::{Mutex as Inner, MutexGuard};
    use std::cell::UnsafeCell;
    use std::ptr::{self, NonNull};
    use std::slice;
    #[cfg(not(ripcord_shuttle))]
    use std::sync::{Mutex as Inner, MutexGuard};
    use std::sync::{PoisonError, TryLockError};

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
    ///
    /// They are of the heap, or of a file that is mapped into memory; what is done with them is the same,
    /// and costs the same. An address and a length instead of a box: a box would claim to be the only way
    /// to its bytes, and those of a file are reached by other processes as well.
    pub(crate) struct Bytes {
        /// The first of `len` bytes, which are there for as long as this is.
        start: NonNull<UnsafeCell<u8>>,
        len: usize,
        owner: Owner,
    }

    /// Whose the bytes are.
    enum Owner {
        /// They are of the heap, and given back when this is dropped.
        Heap,
        /// They are of a file.
        Frame(Frame),
    }

    // SAFETY: whoever has it may drop it, on any thread: the heap and the file are of all threads.
    unsafe impl Send for Bytes {}
    // SAFETY: by the contracts of `append` and `read` no byte is written while it is read.
    unsafe impl Sync for Bytes {}

    impl Drop for Bytes {
        fn drop(&mut self) {
            if matches!(self.owner, Owner::Heap) {
                let bytes = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
                // SAFETY: it was a box of so many bytes, and nobody borrows them any more.
                drop(unsafe { Box::from_raw(bytes) });
            }
        }
    }

    impl Bytes {
        /// So many bytes, all zero.
        pub(crate) fn new(len: usize) -> Self {
            let bytes: Box<[UnsafeCell<u8>]> = (0..len).map(|_| UnsafeCell::new(0)).collect();
            Self {
                // A box is never null.
                start: NonNull::from(Box::leak(bytes)).cast(),
                len,
                owner: Owner::Heap,
            }
        }

        /// Those of a frame.
        pub(crate) fn of(frame: Frame) -> Self {
            let (start, len) = frame.bytes();
            Self {
                start: start.cast(),
                len,
                owner: Owner::Frame(frame),
            }
        }

        /// The frame that they are of, if they are in a file.
        #[inline]
        pub(crate) fn frame(&self) -> Option<&Frame> {
            match &self.owner {
                Owner::Heap => None,
                Owner::Frame(frame) => Some(frame),
            }
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
            let from = from.min(self.len);
            let start = UnsafeCell::raw_get(self.start.as_ptr());
            // SAFETY: `from` is inside or at the end of the bytes that `start` begins.
            let start = unsafe { start.add(from) };
            // SAFETY: so many cells follow, which are laid out as their content, and by the contract
            // these bytes are this call's alone.
            let tail = unsafe { slice::from_raw_parts_mut(start, self.len - from) };
            write(tail)
        }

        /// Lets `look` see the first `to` bytes.
        ///
        /// # Safety
        /// They were published to this thread, and are written no more.
        pub(crate) unsafe fn read<R>(&self, to: usize, look: impl FnOnce(&[u8]) -> R) -> R {
            let to = to.min(self.len);
            let start = UnsafeCell::raw_get(self.start.as_ptr());
            // SAFETY: `to` is inside, and by the contract nobody writes to these bytes. Another process
            // may, if they are of a file: who looks copies them, and takes them for nothing but bytes.
            look(unsafe { slice::from_raw_parts(start.cast_const(), to) })
        }
    }
}

/// The same types as loom has them.
#[cfg(ripcord_loom)]
mod modelled {
    #![allow(unsafe_code, reason = "the same contracts, checked by loom")]

    use crate::memory::Frame;
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

        /// No model has a file.
        pub(crate) fn of(frame: Frame) -> Self {
            match frame {}
        }

        /// None.
        pub(crate) fn frame(&self) -> Option<&Frame> {
            None
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
