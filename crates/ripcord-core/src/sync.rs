//! The only door to atomics and locks: std in every build, loom's under `--cfg ripcord_loom`.
//!
//! # Costs
//! [`Mutex`] never poisons: no foreign code runs under a lock of this crate, so a
//! panic while one is held can only come from an allocation failure, after which
//! the data is still consistent (each critical section changes it in one step).

#[cfg(not(ripcord_loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(ripcord_loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(ripcord_loom)]
pub(crate) use tracked::{AtomicPtr, AtomicU32, AtomicU64};

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

    pub(crate) fn into_inner(self) -> T {
        self.0
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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

/// Empties a pointer that nobody else can reach any more.
#[cfg(not(ripcord_loom))]
pub(crate) fn take_ptr<T>(cell: &mut AtomicPtr<T>) -> *mut T {
    std::mem::replace(cell.get_mut(), std::ptr::null_mut())
}

/// Empties a pointer that nobody else can reach any more.
///
/// What gave out `&mut` was a reference count, which is std's: loom does not see that
/// it orders this after every other access. A swap reads the newest value all the same.
#[cfg(ripcord_loom)]
pub(crate) fn take_ptr<T>(cell: &mut AtomicPtr<T>) -> *mut T {
    // AcqRel: stands in for the Acquire of the reference count.
    cell.swap(std::ptr::null_mut(), Ordering::AcqRel)
}

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

/// loom's atomics, with a second way to tell loom which accesses depend on each other.
///
/// To choose which executions to try, loom 0.7 compares a write with the last access
/// only (tokio-rs/loom#166, #392). Where a thread reads a word and then changes it, as
/// most of our transitions do, that last access is its own, and a read by another thread
/// before it is never tried after it. So each thread that reads a word has a mark of its
/// own there: it touches that before it reads, and whoever writes touches the marks of
/// all the others first. A mark orders nothing, and the value is still read by loom's
/// own load, which may return old values.
#[cfg(ripcord_loom)]
mod tracked {
    use super::{Condvar, Ordering, ThreadId, thread_id};
    use loom::sync::atomic;
    use std::sync::{Arc, PoisonError};

    /// One mark for each thread that has read: a condition variable that nobody waits on.
    #[derive(Default)]
    struct Marks(
        #[allow(clippy::disallowed_types, reason = "bookkeeping for the model itself")]
        std::sync::Mutex<Vec<(ThreadId, Arc<Condvar>)>>,
    );

    impl Marks {
        fn before_read(&self) {
            let me = thread_id();
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = all.iter().find(|(thread, _)| *thread == me);
            let mark = mine.map(|(_, mark)| Arc::clone(mark)).unwrap_or_else(|| {
                let mark = Arc::new(Condvar::new());
                all.push((me, Arc::clone(&mark)));
                mark
            });
            drop(all);
            mark.notify_one();
        }

        fn before_write(&self) {
            let me = thread_id();
            let all = self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for (thread, mark) in all {
                if thread != me {
                    mark.notify_one();
                }
            }
        }
    }

    macro_rules! tracked {
        ($name:ident $(<$of:ident>)?, $value:ty) => {
            pub(crate) struct $name $(<$of>)? {
                value: atomic::$name $(<$of>)?,
                marks: Marks,
            }

            #[allow(dead_code, reason = "not every type needs every access")]
            impl $(<$of>)? $name $(<$of>)? {
                pub(crate) fn new(value: $value) -> Self {
                    Self {
                        value: atomic::$name::new(value),
                        marks: Marks::default(),
                    }
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.marks.before_read();
                    self.value.load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.marks.before_write();
                    self.value.store(value, order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.marks.before_write();
                    self.value.swap(value, order)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    from: $value,
                    to: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.marks.before_write();
                    self.value.compare_exchange(from, to, success, failure)
                }
            }
        };
    }

    tracked!(AtomicU32, u32);
    tracked!(AtomicU64, u64);
    tracked!(AtomicPtr<T>, *mut T);

    impl AtomicU32 {
        pub(crate) fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
            self.marks.before_write();
            self.value.fetch_or(bits, order)
        }
    }
}
