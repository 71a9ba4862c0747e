//! Structured task scopes: what is spawned in one is over when it returns.
//!
//! Reading order: `error.rs` (what a scope can end with), `handle.rs` ([`Scope`], to spawn
//! into), `future.rs` ([`scope`], body, join, grace, abort), `gather.rs` (uniform tasks:
//! [`gather`], [`first_ok`]).

mod error;
mod future;
mod gather;
mod handle;

pub use error::{Failure, FailureKind, ScopeError, SpawnError};
pub use future::{RunningScope, ScopeFuture, scope};
pub use gather::{Gather, Gathered, first_ok, gather};
pub use handle::{PanicPolicy, Policy, Scope, Task, TaskGone};
