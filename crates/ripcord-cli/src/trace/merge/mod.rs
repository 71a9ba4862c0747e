//! `ripcord trace merge`: the traces of two processes as one, on the clock of the first.
//!
//! Everything of the second is renumbered, so that threads, tasks, contexts, places and labels of the
//! two stay apart. Its instants are moved by what the wall clocks of both say, and then by the
//! requests that both have seen: the part of a request in one process lies within its part in the
//! other, whichever called.
//!
//! *Limitations*: the result is one window, so that who reads it window by window does not meet the
//! second process after the first; events of types that this version does not know are left out;
//! the contexts of the two are not linked to each other.
//!
//! *Read next*: `survey.rs` (what is read first), `clock.rs` (ticks to time and back), `align.rs`
//! (how far apart the clocks are), `renumber.rs`, `run.rs`.

mod align;
mod clock;
mod renumber;
mod run;
mod survey;

pub(super) use run::run;
