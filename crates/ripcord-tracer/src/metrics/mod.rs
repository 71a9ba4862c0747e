//! Numbers of what contexts and tasks do: counted where it happens, added up when somebody asks.
//!
//! The handlers of `tasks.rs` and `contexts.rs` call in here with one line each. A thread counts in cells of
//! its own, so no cache line is written by two of them; what is the state of a task stands in its slot. A
//! [`Snapshot`] adds the cells of all threads and looks at what lives.
//!
//! In [`Mode::Metrics`](crate::Mode::Metrics) this is all that is done: no events and no blocks. In the
//! other modes the same is counted of what is recorded.
//!
//! # What is counted in which mode
//! | Mode | tasks, jobs | polls, wakes, what tasks do, parks | contexts |
//! |---|---|---|---|
//! | `Off` | those that were known before | of these | those that were known before |
//! | `Sampled` | of what is recorded | of these | of the same |
//! | `Metrics` | all | all | all, without slot, name or event |
//! | `Full` | all | all | all |
//!
//! But for `Metrics`, the third column is counted only where
//! [`Builder::count_polls`](crate::Builder::count_polls) asks for it: an event costs some twenty
//! nanoseconds, and to count it half of that again.
//!
//! # What a slot is needed for
//! A task has one in each mode: what it does *now* stands there, and a list of the longest waits needs its
//! name. A context has none where only numbers are wanted, which is what makes it cheap: how late a task was
//! is told with its end, by the cause of its context, and who is late now is asked of the adapter.
//!
//! # Costs
//! A wake: a reading of the clock and two stores. A poll: two readings and about ten loads and stores. A
//! context that is counted: two additions. Memory: 1.3 KiB for each thread that has recorded something.
//!
//! # Where to read next
//! `cells.rs` (what a thread counts), `histogram.rs`, `state.rs` (what a task does now), `hooks.rs` (which call
//! counts what), `snapshot.rs`, `prometheus.rs`, `sched.rs`.

mod cells;
mod histogram;
mod hooks;
mod prometheus;
mod sched;
mod snapshot;
mod state;

pub(crate) use cells::{Cells, Meters};
pub use histogram::Histogram;
pub use sched::{SchedTrace, SchedTraceBuilder};
pub(crate) use snapshot::Overdue;
pub use snapshot::{Blocked, EndedBy, Outcomes, PollEnds, Snapshot, Wakes};
pub(crate) use state::TaskState;

use std::time::Duration;

/// A poll that is longer is counted as a long one.
pub(crate) const LONG_POLL: Duration = Duration::from_millis(10);

/// A worker that is in one poll for longer is stuck, as for a [`Watch`](crate::Watch).
pub(crate) const STALL: Duration = Duration::from_millis(100);

/// A task that is there for longer after the end of its context is a ghost.
pub(crate) const GHOST: Duration = Duration::from_secs(5);
