//! Destructors that count, and destructors that panic.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what happens. Clones are the same count.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<AtomicUsize>);

impl Tally {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Counts when it is dropped.
    pub(crate) fn on_drop(&self) -> impl Send + Sync + use<> {
        struct Counted(Tally);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.add();
            }
        }
        Counted(self.clone())
    }
}

/// Counts its drop and then panics.
pub(crate) struct Bomb(pub(crate) Tally);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.add();
        panic!("a test destructor panics, as it was told to");
    }
}

impl ripcord_core::Value for Bomb {}

/// An error with such a destructor.
pub(crate) struct BombError(pub(crate) Bomb);

impl fmt::Debug for BombError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BombError")
    }
}

impl fmt::Display for BombError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for BombError {}

/// Runs `f`; its panic as text, if it does.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|payload| {
        let text = payload.downcast_ref::<&'static str>().copied();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        text.or(owned).unwrap_or("no text").to_owned()
    })
}
