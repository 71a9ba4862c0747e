//! Answers from a trace: one order of events, late cancels and who was to blame, critical paths.
//!
//! It reads what `ripcord-tracer` has recorded, by the contract in `docs/internals/recording.md`, and
//! gives plain values. The command line, a web page and a console are faces of it; none of them
//! reckons for itself.
//!
//! # Guarantees
//! * **A damaged trace is analysed all the same**, and [`Health`](read::Health) says what is missing.
//! * **Memory** is bounded by what is live at a time, and by what was asked for; never by the events.
//! * **Sums are exact**: the parts into which a stretch of time is cut add up to it, in ticks.
//!
//! # Limitations
//! A trace from a stranger may say anything; what comes of it is then as wrong, but bounded.
//!
//! # Where to read next
//! `read/mod.rs`: from bytes to events in one order. `export/mod.rs`: forms of other tools.

#![forbid(unsafe_code)]

pub mod budgets;
pub mod contexts;
pub mod critical_path;
pub mod diff;
pub mod explain;
pub mod export;
pub mod read;
pub mod reports;
pub mod waterfall;

mod analysis;
mod engine;
mod json;
mod options;
mod place;
mod slots;
mod tasks;

pub use analysis::Analysis;
pub use explain::Explanation;
pub use options::{Options, Select};
pub use place::Place;
pub use tasks::{SiteRow, Stat, TaskRef, TaskRow};
