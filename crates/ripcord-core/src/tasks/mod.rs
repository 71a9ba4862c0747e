//! The seam for task tools: who is told of each step in the life of a task, and of marks in code.
//!
//! The core spawns nothing. A runtime adapter, such as `ripcord-tokio`, tells the
//! [`TaskObserver`] of a tree through [`Tasks`] what becomes of the tasks that it spawned there;
//! user code tells of regions, lines of log and user tasks. Nobody is told in a tree whose
//! [`Observer`](crate::Observer) hands out no task observer.
//!
//! # Invariants
//! 1. An observer is called without a lock of ripcord held, its panics are contained, and it is
//!    never called from within a call of an observer on the same thread: what would be told then
//!    is counted instead ([`untold`]).
//! 2. Whoever changes what this thread knows of the current task puts it back, by a panic too.
//!
//! # Costs
//! In a process where no task was ever told of: a future that is pending in a leaf of ripcord's, a
//! switch of the current context and a wake by a sweep look once at a flag (four instructions of
//! some 280 for a pending `run`: bench run/three-yields under callgrind, 2026-11). Beside told tasks
//! of other trees they look at a thread-local. With an observer, an event is a thread-local flag and
//! one virtual call: no allocation, no lock, no clock. Whoever needs the time reads it.
//!
//! # Read next
//! `observer.rs`, `tell.rs`, `here.rs`, `mark.rs`.

mod here;
mod mark;
mod observer;
mod tell;

pub use here::{current_task, labelled, labelled_at, woken_here};
pub(crate) use here::{is_elsewhere, is_told_here, note_listening, swept};
pub use mark::{Region, UserTask, region, trace_log, user_task};
pub use observer::{
    ContextRef, Ended, Mark, PollEnd, Spawned, StackText, TaskEnd, TaskObserver, TaskRef,
    ThreadKind, Wait, WokenBy,
};
pub(crate) use tell::switch;
pub use tell::{Inside, Tasks, Turn, untold};
