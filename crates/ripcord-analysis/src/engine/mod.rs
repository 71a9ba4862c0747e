//! One pass over the events: what is live, what has ended late, and sums by place in the source.
//!
//! What is live is followed exactly: tasks and contexts in slabs, found by slot or id, and freed when
//! they are over. A context that ends while tasks are alive under it opens an *incident*, with a *lane*
//! per task: from the end on, everything that the task does is cut into pieces, until it is over. When
//! all lanes are over the incident is counted, and kept if it is among the worst. So one pass is
//! enough for everything but critical paths, which look backwards; and what is over takes no memory,
//! but for sums by place.
//!
//! # Invariants
//! 1. A task is in the list of the context under which it works, and in no other.
//! 2. The pieces of a lane are contiguous, from its beginning to its end.
//! 3. A context is freed when its last handle is gone and no child, task or incident needs it.
//!
//! *Read next*: `state.rs` → `dispatch.rs` → `tasks.rs` → `contexts.rs` → `lanes.rs` → `tally.rs`.

mod budgets;
mod contexts;
mod dispatch;
mod incidents;
mod keep;
mod lanes;
mod names;
mod place;
mod slab;
mod state;
mod tally;
mod tasks;

pub(crate) use budgets::{BudgetTally, PastHop};
pub(crate) use dispatch::{Engine, Map};
pub(crate) use keep::wakers;
