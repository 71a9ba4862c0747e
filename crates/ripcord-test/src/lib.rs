//! Test kit for code that uses ripcord: time, order, cancellation and leaks under control.
//!
//! It depends on `ripcord-core` alone, sleeps nowhere and times nothing, so a test
//! written with it takes the same course on every machine.
//!
//! * [`TestClock`] is time that only the test moves; [`with_test_context`] and
//!   [`with_test_context_async`] give a test a root context on one, and check that it
//!   leaves nothing behind. [`TestExecutor`] runs tasks in a fixed order, and lets the
//!   clock jump when all are idle.
//! * [`Sequencer`] makes the steps of threads and tasks run in an order that you set.
//! * [`for_each_cancel_point`] drops a future at each of its polls,
//!   [`for_each_cancel_of`] cancels its context there: is your code cancel safe?
//! * [`Census`] names the tasks that outlived their scope; [`WakeCounter`] and
//!   [`ManualTask`] show who was woken, how often, and by what.
//! * [`oracle`] compares the core with a naive model of it, on random programs.
//!
//! # Examples
//! A handler that gives up its lease wherever it is cancelled:
//! ```
//! use ripcord_test::{Census, for_each_cancel_of};
//! use std::time::Duration;
//!
//! let leases = Census::new();
//! for_each_cancel_of(
//!     |ctx| {
//!         let leases = leases.clone();
//!         async move {
//!             let _lease = leases.enter("lease");
//!             // Two calls to other services, of a second each.
//!             for _ in 0..2 {
//!                 ctx.with_timeout(Duration::from_secs(1)).done().await;
//!             }
//!         }
//!     },
//!     |_outcome| leases.assert_empty(),
//! );
//! ```
//!
//! # Limitations
//! The kit runs on the thread of the test. Where threads take part, the [`Sequencer`]
//! sets their order; interleavings below that are a matter for loom.
//!
//! # Where to read next
//! `clock.rs`, `context.rs` and `executor.rs`, `cancel_points.rs`, `oracle/mod.rs`.

#![deny(unsafe_code)]

mod allocator;
mod cancel_points;
mod census;
mod clock;
mod context;
mod executor;
mod lock;
pub mod oracle;
mod sequencer;
mod sweeper;
mod task;
mod waker;

pub use allocator::{CountingAllocator, MemoryUsage};
pub use cancel_points::{CancelPoints, Outcome, for_each_cancel_of, for_each_cancel_point};
pub use census::{Census, Probe};
pub use clock::TestClock;
pub use context::{with_test_context, with_test_context_async};
pub use executor::{TestExecutor, TestTask, spawn};
pub use sequencer::{AwaitTurn, Sequencer, Step, Turn};
pub use sweeper::InlineSweeper;
pub use task::ManualTask;
pub use waker::{WakeCounter, WakerEvent};
