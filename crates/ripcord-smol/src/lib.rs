//! Binds ripcord contexts to the smol runtime.
//!
//! The second adapter, and a small one: it shows that the core knows no runtime. What a
//! tree takes from smol is its timer and somewhere to run what is left of a large
//! sweep. Everything else ([`Ctx::run`], `done`, merges, shields) is the core's own and
//! works on any executor.
//!
//! ```
//! use ripcord_core::Kind;
//! use std::time::Duration;
//!
//! smol::block_on(async {
//!     let (server, _guard) = ripcord_smol::root().name("server").build();
//!     let request = server.with_timeout(Duration::from_millis(1));
//!     let error = request.run(smol::future::pending::<()>()).await.unwrap_err();
//!     assert_eq!(error.kind(), Kind::DeadlineExceeded);
//!     assert!(!server.is_done());
//! });
//! ```
//!
//! # Costs
//! A deadline registers one `async_io::Timer` when its first waiter comes, and none
//! before. A sweep that is handed over is one task that yields after every 64 steps.
//!
//! # Limitations
//! No scopes, I/O adapters or signals: those are in ripcord-tokio. smol has no clock
//! that can be paused; tests use ripcord-test's.

#![forbid(unsafe_code)]

use ripcord_core::{Armed, Ctx, Root, Sweep, Sweeper, SystemClock, Timer};
use smol::Executor;
use smol::future::yield_now;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

/// Starts to build a root context that sweeps on smol's global executor.
///
/// Works from any thread. The global executor starts its threads with the first sweep
/// that is handed over (`SMOL_THREADS` of them, one by default).
///
/// # Examples
/// ```
/// let (server, guard) = ripcord_smol::root().name("server").build();
/// guard.cancel("stop");
/// assert!(smol::block_on(server.done()).message() == Some("stop"));
/// ```
pub fn root() -> Root {
    root_with(Sweeps(None))
}

/// Starts to build a root context that sweeps on an executor of yours.
///
/// Somebody has to run the executor; until then hooks of deadlines, and all but the
/// first 32 wakes of a large cancel, wait. The tree does not keep the executor: when it
/// is dropped, what is left goes to the core's sweeper thread, and so does what follows.
///
/// # Examples
/// ```
/// use smol::Executor;
/// use std::sync::Arc;
///
/// let executor = Arc::new(Executor::new());
/// let (server, _guard) = ripcord_smol::root_on(&executor).build();
/// smol::block_on(executor.run(async {
///     assert!(server.check().is_ok());
/// }));
/// ```
pub fn root_on(executor: &Arc<Executor<'static>>) -> Root {
    root_with(Sweeps(Some(Arc::downgrade(executor))))
}

fn root_with(sweeps: Sweeps) -> Root {
    Ctx::root()
        .clock(Arc::new(SystemClock))
        .timer(Arc::new(AsyncIoTimer))
        .sweeper(Arc::new(sweeps))
}

/// The timer of smol's reactor; it agrees with the standard clock.
///
/// Chosen by [`root`]; public for trees that mix it with parts of their own.
#[derive(Clone, Copy, Default, Debug)]
pub struct AsyncIoTimer;

impl Timer for AsyncIoTimer {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        let mut timer = smol::Timer::at(at);
        // The first poll registers the alarm; nobody polls a second time.
        let mut cx = Context::from_waker(&alarm);
        if Pin::new(&mut timer).poll(&mut cx).is_ready() {
            alarm.wake();
        }
        Some(Armed::new(timer))
    }
}

/// Runs sweeps on an executor; `None`: on the global one.
///
/// Weak, because a sweep that waits in the executor holds nodes, and these hold this.
struct Sweeps(Option<Weak<Executor<'static>>>);

impl Sweeper for Sweeps {
    fn hand_over(&self, mut sweep: Sweep) {
        // A task that is dropped, or never made, drops the sweep: the core then takes it.
        let task = async move {
            while sweep.step() {
                yield_now().await;
            }
        };
        match &self.0 {
            None => smol::spawn(task).detach(),
            Some(executor) => {
                if let Some(executor) = executor.upgrade() {
                    executor.spawn(task).detach();
                }
            }
        }
    }
}
