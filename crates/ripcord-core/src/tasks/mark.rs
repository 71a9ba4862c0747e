//! What user code tells: [`region`], [`trace_log`] and [`user_task`].
//!
//! # Costs
//! Outside of an observed tree each looks up the current context and does nothing more.

#![allow(unsafe_code, reason = "one pin projection")]

use super::here::labelled_outside;
use super::observer::Mark;
use super::tell::Tasks;
use crate::ctx::Ctx;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

fn next_id() -> u64 {
    // Not part of any protocol that loom has to see (counter).
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts (counter).
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The teller of the current context, and that context's number.
fn current() -> Option<(Tasks, Option<u64>)> {
    Ctx::with_current(|ctx| Some((ctx.tasks()?, ctx.recorded_id())))
}

/// Names a part of a task: told when it begins and ends, and what the task is said to wait for.
///
/// While the future is pending and no leaf within says better, `name` is the label of the wait.
/// Regions nest as futures do.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::region;
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = std::pin::pin!(f);
/// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
/// # }
/// let total = block_on(region("load the cart", async { 20 + 22 }));
/// assert_eq!(total, 42);
/// ```
///
/// # Cancel safety
/// As cancel safe as `future`. Dropped half-way, the region ends there.
///
/// # Costs
/// Some six words around the future. The first poll looks up the current context.
#[track_caller]
pub fn region<F: Future>(name: &'static str, future: F) -> Region<F> {
    Region {
        future,
        name,
        site: Location::caller(),
        begun: Begun::No,
    }
}

/// A named part of a task; made by [`region`].
#[must_use = "futures do nothing unless polled"]
pub struct Region<F> {
    // First: what its destructor does still belongs to the region.
    future: F,
    name: &'static str,
    site: &'static Location<'static>,
    begun: Begun,
}

enum Begun {
    No,
    /// And told to nobody, or over.
    Untold,
    Told(#[expect(dead_code, reason = "held, for its drop")] Told),
}

/// Tells of the end of a region when dropped.
struct Told(Tasks, u64);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.mark(|observer| observer.region_ended(self.1));
    }
}

impl Begun {
    fn begin(name: &'static str, site: &'static Location<'static>) -> Self {
        let Some((tasks, context)) = current() else {
            return Self::Untold;
        };
        let id = next_id();
        let region = Mark::new(id, context, name, site);
        tasks.mark(|observer| observer.region_begun(&region));
        Self::Told(Told(tasks, id))
    }
}

impl<F: Future> Future for Region<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is not moved out of the pinned struct; the other fields are `Unpin`
        // and not structurally pinned. `Region` has no `Drop` and no other projection.
        let this = unsafe { self.get_unchecked_mut() };
        if matches!(this.begun, Begun::No) {
            this.begun = Begun::begin(this.name, this.site);
        }
        // SAFETY: `this` came from a pinned reference on the lines above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let result = labelled_outside(this.name, this.site, || future.poll(cx));
        if result.is_ready() {
            this.begun = Begun::Untold;
        }
        result
    }
}

impl<F> fmt::Debug for Region<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Puts a line of text into the trace, at this place and time.
///
/// # Examples
/// ```
/// ripcord_core::tasks::trace_log("cache miss"); // Nobody is told outside of an observed tree.
/// ```
#[track_caller]
pub fn trace_log(text: &str) {
    let site = Location::caller();
    if let Some((tasks, context)) = current() {
        let line = Mark::new(0, context, text, site);
        tasks.mark(|observer| observer.logged(&line));
    }
}

/// Begins a user task: something with a beginning and an end that may span several tasks.
///
/// It lasts until what is returned is dropped, on whatever thread.
///
/// # Examples
/// ```
/// let checkout = ripcord_core::tasks::user_task("checkout");
/// // Pass it on to whoever finishes the work.
/// std::thread::spawn(move || drop(checkout)).join().expect("no panic");
/// ```
#[track_caller]
#[must_use = "it ends when dropped"]
pub fn user_task(name: &str) -> UserTask {
    let site = Location::caller();
    let begun = current().map(|(tasks, context)| {
        let id = next_id();
        let user_task = Mark::new(id, context, name, site);
        tasks.mark(|observer| observer.user_task_begun(&user_task));
        (tasks, id)
    });
    UserTask { begun }
}

/// Ends a user task when dropped; made by [`user_task`].
#[derive(Debug)]
pub struct UserTask {
    begun: Option<(Tasks, u64)>,
}

impl Drop for UserTask {
    fn drop(&mut self) {
        if let Some((tasks, id)) = self.begun.take() {
            tasks.mark(|observer| observer.user_task_ended(id));
        }
    }
}
