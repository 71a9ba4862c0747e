//! tokio as the runtime of a tree: clock, timer, sweeper, and [`root`].
//!
//! # Costs
//! A deadline registers one tokio timer when its first waiter comes, and none before.
//! A sweep that is handed over is one spawned task that yields after every 64 steps.

use ripcord_core::{Armed, Clock, Ctx, Root, Sweep, Sweeper, Timer};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;

/// Starts to build a root context on the current tokio runtime.
///
/// Its deadlines follow tokio's clock, so a paused and advanced test clock works, and
/// large sweeps run as a task.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
///
/// let (server, _guard) = ripcord_tokio::root().name("server").build();
/// let request = server.with_timeout(Duration::from_millis(5));
/// let error = request.run(std::future::pending::<()>()).await.unwrap_err();
/// assert!(error.is_deadline());
/// # }
/// ```
///
/// # Panics
/// Outside of a tokio runtime. See [`root_on`].
pub fn root() -> Root {
    root_on(&Handle::current())
}

/// Starts to build a root context on a given tokio runtime.
///
/// Works from any thread. A deadline on a runtime that has no time driver, or that is
/// gone, is served by the core's timer thread instead.
pub fn root_on(handle: &Handle) -> Root {
    let runtime = Arc::new(Tokio {
        handle: handle.clone(),
        has_timer: AtomicBool::new(true),
    });
    Ctx::root()
        .clock(Arc::clone(&runtime) as Arc<dyn Clock>)
        .timer(Arc::clone(&runtime) as Arc<dyn Timer>)
        .sweeper(runtime)
}

/// A tokio runtime as clock, timer and sweeper of a tree.
#[derive(Debug)]
struct Tokio {
    handle: Handle,
    /// Cleared for good when the runtime turns out to have no time driver.
    has_timer: AtomicBool,
}

impl Clock for Tokio {
    fn now(&self) -> Instant {
        // With a clock that can be paused, which one counts depends on the thread.
        #[cfg(feature = "test-util")]
        let _entered = self.handle.enter();
        tokio::time::Instant::now().into_std()
    }
}

impl Timer for Tokio {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        // Relaxed: a hint that saves a failed attempt; it carries nothing.
        if !self.has_timer.load(Ordering::Relaxed) {
            return None;
        }
        let _entered = self.handle.enter();
        let armed = catch_unwind(AssertUnwindSafe(|| {
            // Unconstrained: a task whose budget is used up must not see a timer that
            // wakes at once.
            let mut sleep = Box::pin(unconstrained(tokio::time::sleep_until(at.into())));
            if let Poll::Ready(()) = sleep.as_mut().poll(&mut Context::from_waker(&alarm)) {
                alarm.wake_by_ref();
            }
            Armed::pinned(sleep)
        }));
        if armed.is_err() {
            // Relaxed: as above.
            self.has_timer.store(false, Ordering::Relaxed);
        }
        armed.ok()
    }
}

impl Sweeper for Tokio {
    fn hand_over(&self, mut sweep: Sweep) {
        // If the runtime shuts down, the task is dropped, and the sweep with it: it then
        // goes to the core's sweeper thread.
        drop(self.handle.spawn(async move {
            while sweep.step() {
                tokio::task::yield_now().await;
            }
        }));
    }
}
