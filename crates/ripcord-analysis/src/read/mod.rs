//! From the bytes of a trace to its events, in one order, with tables and time beside them.
//!
//! [`Trace::open`] goes over the file once: it checks every block, and keeps tables, clocks and where
//! the blocks are. [`Trace::events`] then gives the events, as often as one asks: one block per thread
//! is in memory at a time, whatever the size of the trace.
//!
//! *Read next*: `trace.rs` → `scan.rs` → `events.rs` → `order.rs`; beside them `clock.rs`,
//! `tables.rs`, `health.rs`.

mod blocks;
mod clock;
mod error;
mod events;
mod health;
mod order;
mod orphans;
mod scan;
mod tables;
mod trace;

pub use blocks::decompress;
pub use clock::Timeline;
pub use error::{OpenError, OpenErrorKind};
pub use events::{Events, Origin, Step};
pub use health::{Gap, Health, Skip};
pub use tables::{Location, Tables, Thread, clean};
pub use trace::Trace;

pub(crate) use orphans::{Orphan, OrphanKind};
