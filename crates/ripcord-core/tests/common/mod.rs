//! What the clause tests share: threads that cannot hang a run, timers and sweepers that the
//! test works by hand, destructors that panic, an allocator that counts, the rows of a dump.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]

pub(crate) mod alloc;
mod bombs;
mod doubles;
mod rows;
mod short;
mod threads;

pub(crate) use bombs::{Bomb, BombError, Tally, quietly};
pub(crate) use doubles::{
    EarlyTimer, HandTimer, HeldSweeper, PanickingTimer, RefusingTimer, Relay,
};
pub(crate) use rows::{row, rows_named};
pub(crate) use short::{below, grace, just_before, lock, message, park};
pub(crate) use threads::{Gate, Rng, finishes, on_stack, together};
