//! tokio as the runtime of a tree: clock, timer, sweeper, and [`root`].
//!
//! # Costs
//! A deadline enters a timing wheel when its first waiter comes, and none before; see
//! `timers.rs`. A sweep that is handed over is one spawned task that yields after each
//! step.

use crate::clock::now;
use crate::timers::Timers;
use ripcord_core::{Armed, Clock, Ctx, Root, Sweep, Sweeper, Timer};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;
use tokio::runtime::Handle;

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
#[track_caller]
pub fn root() -> Root {
    root_on(&Handle::current())
}

/// Starts to build a root context on a given tokio runtime.
///
/// Works from any thread. A deadline on a runtime that has no time driver, or that is
/// gone, is served by the core's timer thread instead.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// // Before any task, in a plain `main`.
/// let (server, guard) = ripcord_tokio::root_on(runtime.handle()).name("server").build();
/// let request = server.with_timeout(Duration::from_millis(1));
/// let end = runtime.block_on(async { request.done().await });
/// assert!(end.due().is_some());
/// guard.cancel("main returns");
/// assert!(server.is_done());
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// # Costs
/// Four empty timing wheels, of 1.5 KiB each. A program has one root, or a few; requests are
/// children of it.
pub fn root_on(handle: &Handle) -> Root {
    let timers = Timers::new(handle, now(handle));
    let runtime = Arc::new(Tokio {
        handle: handle.clone(),
        timers,
    });
    Ctx::root()
        .clock(Arc::clone(&runtime) as Arc<dyn Clock>)
        .timer(Arc::clone(&runtime) as Arc<dyn Timer>)
        .sweeper(runtime)
}

/// A tokio runtime as clock, timer and sweeper of a tree.
///
/// It holds a handle only: a tree does not keep its runtime alive, and may outlive it. Then
/// deadlines go to the core's timer thread and sweeps to its sweeper thread.
struct Tokio {
    handle: Handle,
    timers: Timers,
}

impl Clock for Tokio {
    fn now(&self) -> Instant {
        now(&self.handle)
    }
}

impl Timer for Tokio {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        self.timers.arm(at, alarm)
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
