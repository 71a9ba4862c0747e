//! ripcord contexts on the tokio runtime: timers, tasks, scopes, I/O, signals.
//!
//! [`root`] makes a tree whose deadlines are tokio timers; [`spawn`] and
//! [`CtxExt::spawn`] carry the context into tasks; [`scope`] leaves no task behind.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use ripcord_core::{Cancelled, Kind};
//! use std::time::Duration;
//!
//! let (server, _guard) = ripcord_tokio::root().name("server").build();
//! let request = server.with_timeout(Duration::from_millis(10));
//! let ended = ripcord_tokio::scope(&request, async |s| {
//!     let slow = s.spawn("slow", |ctx| async move { ctx.run(std::future::pending::<()>()).await })?;
//!     drop(slow);
//!     Ok::<_, Cancelled>(())
//! })
//! .await;
//! let error = ended.unwrap_err().into_error().expect("the task's own error");
//! assert_eq!(error.kind(), Kind::DeadlineExceeded);
//! # }
//! ```
//!
//! # Cancel safety
//! Each async function says what is lost when its future is dropped.
//!
//! # Limitations
//! A task that never comes back from a poll cannot be stopped, only named. A closure on
//! a blocking thread ends when it looks at its context.
//!
//! # Where to read next
//! `runtime.rs`, `task.rs`, `census.rs`, `latency.rs`, `stack.rs`, `scope/`, then the
//! adapters.

#![deny(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "loom does not reach this crate: tokio's own primitives are not modelled here"
)]

mod census;
mod latency;
mod runtime;
mod scope;
mod stack;
mod task;

pub use census::{inspect_overdue, live_tasks, overdue_tasks};
pub use latency::{LatencyReport, LatencyRow, OVERFLOW, Quantiles, latency_report, reset_latency};
pub use runtime::{root, root_on};
pub use scope::{
    Failure, FailureKind, Gather, Gathered, PanicPolicy, Policy, RunningScope, Scope, ScopeError,
    ScopeFuture, SpawnError, Task, TaskGone, first_ok, gather, scope,
};
pub use stack::{AwaitStack, Frame};
pub use task::{CtxExt, JoinError, JoinHandle, TaskInfo, spawn};
