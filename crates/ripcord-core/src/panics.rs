//! What becomes of a panic in foreign code: it is contained, counted and reported.
//!
//! Foreign code is everything a user hands in: wakers, hooks, values and errors
//! with destructors, clocks, timers, observers. A panic there must not keep
//! another waiter from its wake nor unwind out of `cancel` or a `drop`.
//!
//! # Invariants
//! 1. Foreign code that runs on somebody else's behalf, in a cancel, a drop or a sweep, goes
//!    through [`contain`], and the drop of a foreign value through [`drop_foreign`] or a
//!    [`Held`]. What a caller brings along himself may unwind into him, as `run`'s future does.
//! 2. Nothing here unwinds, not even where the report or the payload's destructor panics.
//!
//! With `panic = "abort"` there is nothing to contain: the process ends at the panic itself.

use crate::sync::{Arc, OnceLock};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which piece of foreign code panicked.
///
/// It points at the kind of bug to look for: a [`Foreign::Waker`] is the runtime's, the others
/// are mostly the program's own.
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
///
/// It is valid during the report only. The place of the panic was printed by Rust's own panic
/// hook, which runs first; `std::panic::set_hook` sees it too.
pub struct ForeignPanic<'a> {
    /// Which piece of foreign code panicked.
    pub what: Foreign,
    payload: &'a (dyn Any + Send),
}

impl ForeignPanic<'_> {
    /// The panic's message, if it was a string.
    ///
    /// `panic!` with a literal or with format arguments gives one; `std::panic::panic_any` with
    /// another type gives `None`.
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
/// # Examples
/// ```
/// use ripcord_core::{Ctx, ForeignPanic, set_panic_hook};
///
/// fn report(panic: &ForeignPanic<'_>) {
///     eprintln!("contained in {:?}: {}", panic.what, panic.message().unwrap_or("?"));
/// }
/// assert!(set_panic_hook(report).is_ok());
/// assert!(set_panic_hook(report).is_err(), "the first one stands");
/// let (ctx, guard) = Ctx::background().child();
/// let _hook = ctx.on_done(|_| panic!("a bug in a hook"));
/// assert!(guard.cancel("over"), "the canceller does not see it");
/// ```
///
/// # Errors
/// Gives `report` back if a function was set before.
pub fn set_panic_hook(report: fn(&ForeignPanic<'_>)) -> Result<(), fn(&ForeignPanic<'_>)> {
    REPORT.set(report)
}

/// How many panics in foreign code were contained since the process started.
///
/// For a metric and for tests: a hook or waker that panics fails nobody else, so this number
/// is the only trace besides the report (spec/context.md C133).
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, foreign_panics};
///
/// let before = foreign_panics();
/// let (ctx, guard) = Ctx::background().child();
/// let hook = ctx.on_done(|_| panic!("a bug in a hook"));
/// drop(guard);
/// assert!(hook.has_run());
/// assert!(foreign_panics() > before);
/// ```
#[must_use]
pub fn foreign_panics() -> u64 {
    // Relaxed: a statistic; it carries nothing (counter).
    COUNT.load(std::sync::atomic::Ordering::Relaxed)
}

/// Runs foreign code; `None` if it panicked, which is counted and reported.
///
/// For libraries that call code of their users on somebody else's behalf, as this one does: one
/// counter ([`foreign_panics`]) and one report ([`set_panic_hook`]) for a whole program.
///
/// Unwind safety is asserted for the caller: hold no lock, and leave your own data as if the code
/// had returned.
///
/// # Examples
/// ```
/// use ripcord_core::{Foreign, contain};
///
/// assert_eq!(contain(Foreign::Observer, || 7), Some(7));
/// assert_eq!(contain(Foreign::Observer, || -> u8 { panic!("a bug of the user's") }), None);
/// ```
#[inline]
pub fn contain<R>(what: Foreign, code: impl FnOnce() -> R) -> Option<R> {
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

/// A shared piece of foreign code, whose destructor may panic and then harms nobody.
pub(crate) struct Held<T: ?Sized>(Option<Arc<T>>);

impl<T: ?Sized> Held<T> {
    pub(crate) fn new(inner: Arc<T>) -> Self {
        Self(Some(inner))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T: ?Sized> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            drop_foreign(inner);
        }
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
