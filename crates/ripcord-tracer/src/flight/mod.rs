//! The flight recorder: a thread that writes a dump when something has gone wrong.
//!
//! The ring remembers the last seconds of a program at all times. What is missing when somebody asks
//! "what was that?" is that nobody took a dump in time. So events themselves are reasons to take one: a
//! task that panics, a poll that takes long, a context whose tasks are still there seconds after its end.
//!
//! ```text
//! events ──► cells, one for each reason      (trigger.rs: atomics, nobody waits)
//!                 │  looked at every few milliseconds
//!                 ▼
//!            debounce, tokens                (gate.rs: how often)
//!                 ▼
//!            the aftermath                   (run.rs: 200 ms, so that what followed is in it)
//!                 ▼
//!            quota, temporary file, rename   (folder.rs: how much, and never half a file)
//! ```
//!
//! # Invariants
//! 1. Each trigger that was fired is counted once: it is in a dump, waits for one, or was suppressed for
//!    a reason that has its own count.
//! 2. Events wait for nothing in here. The locks of this folder are taken by the thread of the flight
//!    and by who holds its handle, and none of them is held while the disk is asked.
//! 3. A file under its final name is whole.
//! 4. What is removed has a name that a flight recorder of this program gives, and nothing else.
//!
//! # Why a thread of its own
//! It could be that of the watch. But a disk may take seconds, and in these seconds stalls would not
//! be seen. Nor is it a task: where a dump is needed most, the runtime is stuck.
//!
//! # Read next
//! `builder.rs`, `run.rs`, then the parts.

mod builder;
pub(crate) mod folder;
mod gate;
mod report;
mod run;
#[cfg(all(unix, feature = "signal"))]
mod signal;
#[cfg(test)]
mod tests;

pub use builder::{Flight, FlightBuilder};
pub use report::{FlightDump, FlightReport, Suppressed};
