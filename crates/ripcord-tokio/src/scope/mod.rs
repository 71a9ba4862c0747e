//! Structured task scopes: what is spawned in one is over when it returns.
//!
//! Reading order: `error.rs` (what a scope can end with), `inner.rs` (the book that is
//! kept, and the invariants), `work.rs` (a task's future), `handle.rs` ([`Scope`], to spawn
//! into), `join.rs` ([`Task`]), `future.rs` ([`scope`]: body, join, grace, abort),
//! `gather.rs` (uniform tasks: [`gather`], [`first_ok`]).
//!
//! What holds for all of them: a task is entered in the scope's book before it exists and leaves
//! it after its future was dropped, and the scope returns only when the book is empty or when
//! what is left cannot be stopped and has been named.

mod error;
mod future;
mod gather;
mod handle;
mod inner;
mod join;
mod work;

pub use error::{Failure, FailureKind, ScopeError, SpawnError};
pub use future::{RunningScope, ScopeFuture, scope};
pub use gather::{Gather, Gathered, first_ok, gather};
pub use handle::{PanicPolicy, Policy, Scope};
pub use join::{Task, TaskGone};
