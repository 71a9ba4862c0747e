//! What becomes of a panic in foreign code: it is contained, counted and reported.
//!
//! Foreign code is everything a user hands in: wakers, hooks, values and errors
//! with destructors, clocks, timers, observers. A panic there must not keep
//! another waiter from its wake nor unwind out of `cancel` or a `drop`.

use crate::sync::OnceLock;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which piece of foreign code panicked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Foreign {
    /// A task's waker, in `wake`, `clone` or `drop`.
    Waker,
    /// A hook given to `on_done`.
    Hook,
    /// The destructor of a value, an error or a closure.
    Drop,
    /// A [`Clock`](crate::Clock), [`Timer`](crate::Timer), [`Sweeper`](crate::Sweeper) or [`Source`](crate::Source).
    Runtime,
    /// An [`Observer`](crate::Observer).
    Observer,
}

/// The report of a contained panic.
pub struct ForeignPanic<'a> {
    /// Which piece of foreign code panicked.
    pub what: Foreign,
    payload: &'a (dyn Any + Send),
}

impl ForeignPanic<'_> {
    /// The panic's message, if it was a string.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| self.payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Debug for ForeignPanic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignPanic")
            .field("what", &self.what)
            .field("message", &self.message())
            .finish()
    }
}

type Report = fn(&ForeignPanic<'_>);

static REPORT: OnceLock<Report> = OnceLock::new();
static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Sets the function that is told of each contained panic; the first call wins.
///
/// Without one, the panic is still printed by Rust's own panic hook and counted.
/// A panic of `report` itself is ignored.
///
/// # Errors
/// Gives `report` back if a function was set before.
pub fn set_panic_hook(report: fn(&ForeignPanic<'_>)) -> Result<(), fn(&ForeignPanic<'_>)> {
    REPORT.set(report)
}

/// How many panics in foreign code were contained since the process started.
#[must_use]
pub fn foreign_panics() -> u64 {
    // Relaxed: a statistic; it carries nothing (counter).
    COUNT.load(std::sync::atomic::Ordering::Relaxed)
}

/// Runs foreign code; `None` if it panicked.
pub(crate) fn contain<R>(what: Foreign, code: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            report(what, payload);
            None
        }
    }
}

/// Drops a value of the user's.
pub(crate) fn drop_foreign<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        contain(Foreign::Drop, move || drop(value));
    }
}

#[cold]
fn report(what: Foreign, payload: Box<dyn Any + Send>) {
    // Relaxed: a statistic; it carries nothing (counter).
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if let Some(report) = REPORT.get() {
        let told = catch_unwind(AssertUnwindSafe(|| {
            report(&ForeignPanic {
                what,
                payload: &*payload,
            });
        }));
        if let Err(second) = told {
            discard(second);
        }
    }
    discard(payload);
}

/// Drops a panic payload, whose destructor may panic in turn: then it is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}
