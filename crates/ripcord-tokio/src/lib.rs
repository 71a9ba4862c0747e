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

#[cfg(unix)]
mod blocking_io;
mod census;
mod clock;
#[cfg(unix)]
mod eventfd;
mod helpers;
mod io;
mod join;
mod latency;
mod out_of_band;
mod runtime;
mod scope;
mod signals;
mod stack;
mod stream;
mod sync;
mod task;
mod timers;
#[cfg(feature = "token")]
mod token;
mod wheel;

#[cfg(unix)]
pub use blocking_io::BlockingIo;
pub use census::{inspect_overdue, live_tasks, overdue_tasks};
#[cfg(unix)]
pub use eventfd::{CtxFd, ctx_fd};
#[cfg(unix)]
pub use helpers::connect_unix;
pub use helpers::{SendError, Sleep, connect, send, sleep, sleep_until};
pub use io::{IdleTimeout, IoExt, READY_MAX, SHUTDOWN_GRACE, WithCtx};
pub use join::{JoinError, JoinHandle, PanicPayload};
pub use latency::{LatencyReport, LatencyRow, OVERFLOW, Quantiles, latency_report, reset_latency};
pub use out_of_band::{
    CANCEL_GRACE, CancelOutput, Certainty, Interrupted, Outcome, RunWithCancel, run_with_cancel,
};
pub use runtime::{root, root_on};
pub use scope::{
    Failure, FailureKind, Gather, Gathered, PanicPolicy, Policy, RunningScope, Scope, ScopeError,
    ScopeFuture, SpawnError, Task, TaskGone, first_ok, gather, scope,
};
pub use signals::{SignalWatch, Signals};
pub use stack::{AwaitStack, Frame};
pub use stream::{ResultsUntilDone, StreamExt, UntilDone};
pub use task::{CtxExt, TaskInfo, spawn};
#[cfg(feature = "token")]
pub use token::{CtxTokenExt, LinkedToken, TokenExt};
