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
//! # Observing tasks
//! A tool that follows tasks is an observer of a tree: [`TaskObserver`](ripcord_core::tasks::TaskObserver)
//! is told of every spawn, poll, wake and end, on the stable interfaces of tokio. It gets a waker
//! of ours between the leaves and the runtime; a tree without one has none.
//!
//! ```
//! use ripcord_core::Observer;
//! use ripcord_core::tasks::{TaskObserver, TaskRef, WokenBy};
//! use ripcord_tokio::CtxExt as _;
//! use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
//!
//! #[derive(Default)]
//! struct Joins(AtomicBool);
//! impl TaskObserver for Joins {
//!     fn woken(&self, _task: TaskRef, by: WokenBy) {
//!         if let WokenBy::Completion(_) = by {
//!             self.0.store(true, Ordering::Relaxed);
//!         }
//!     }
//! }
//! impl Observer for Joins {
//!     fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> { Some(self) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let joins = Arc::new(Joins::default());
//! let (root, _guard) = ripcord_tokio::root().observer(joins.clone()).build();
//! let outer = |ctx: ripcord_core::Ctx| async move { ctx.spawn("inner", |_| async {}).await };
//! root.spawn("outer", outer).await.expect("it ends").expect("it ends");
//! assert!(joins.0.load(Ordering::Relaxed), "the end of the inner woke the outer");
//! # }
//! ```
//!
//! With [`BuilderExt::thread_hooks`] on the runtime it is also known whether the driver or a
//! blocking thread woke; `#[tokio::main]` cannot install hooks, so build the runtime by hand.
//!
//! # Cancel safety
//! Each async function says what is lost when its future is dropped.
//!
//! # Limitations
//! A task that never comes back from a poll cannot be stopped, only named. A closure on
//! a blocking thread ends when it looks at its context.
//!
//! # Where to read next
//! `runtime.rs`, `task.rs`, `census.rs`, `latency.rs`, `stack.rs`, `trace.rs`, `told.rs`, `as_task.rs`, `scope/`, then
//! the adapters.

#![deny(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "loom does not reach this crate: tokio's own primitives are not modelled here"
)]

mod as_task;
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
mod stack_text;
mod stream;
mod sync;
mod task;
mod threads;
mod timers;
#[cfg(feature = "token")]
mod token;
mod told;
mod trace;
#[cfg(all(tokio_unstable, not(ripcord_shuttle)))]
mod unstable;
mod wakers;
mod wheel;

pub use as_task::{AsTask, as_task};
#[cfg(unix)]
pub use blocking_io::BlockingIo;
pub use census::{ask_stacks, each_overdue, inspect_overdue, live_tasks, overdue_tasks};
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
pub use threads::{BuilderExt, ThreadHooks};
#[cfg(feature = "token")]
pub use token::{CtxTokenExt, LinkedToken, TokenExt};
pub use told::ToldTask;
#[cfg(all(tokio_unstable, not(ripcord_shuttle)))]
pub use unstable::UnstableBuilderExt;
