//! The model oracle: random programs run on the core and on a naive model of it.
//!
//! The [`Model`] is a table of plain structs without a lock, a cache or an order of its
//! own: what the clauses of `spec/context.md` say, written down once more in the slowest
//! way. [`generate`] makes the program of a seed, [`compare`] runs it on both sides and
//! compares after each step: results, causes, phases, deadlines, who was woken and how
//! often, which hooks ran and in which order, who is alive, and how many timers are
//! armed. [`shrink`] leaves out steps until the program is as short as it gets.
//!
//! Half of the programs look at their contexts rarely, because much of the core is
//! lazy: what nobody has looked at yet is where the interesting states are.
//!
//! # Examples
//! ```
//! use ripcord_test::oracle;
//!
//! oracle::check_seeds(10);
//! ```
//!
//! # Limitations
//! One thread: the interleavings are loom's business. Hooks and wakers of the oracle
//! only count. Where the clauses leave the core a choice (the cause of a guard that was
//! dropped after a deadline that nobody saw pass), the model takes over the core's.

mod check;
mod generate;
mod model;
mod op;
mod rng;
mod shrink;
mod world;

pub use check::{Mismatch, check_seed, check_seeds, compare};
pub use generate::{decode, generate};
pub use model::{Id, Micros, Model, Reason};
pub use op::{Op, Program, Slot, Step};
pub use rng::Rng;
pub use shrink::shrink;
