//! `ripcord demo`: an order service under load, the classic faults, and a report of what did
//! not stop.
//!
//! ```text
//! load ─► gateway ─► order ─┬─► inventory ─► store (SQLite)
//!                    │      ├─► risk
//!                    │      └─► notify
//!                    └─► cache ─► store
//! ```
//!
//! *Read next*: `run.rs` (the course of a run), `faults.rs`, `shop.rs` and `topology.rs` (the
//! services), `answer.rs` and `call.rs` (both ends of a hop), one file for each service,
//! `load.rs`, `watch.rs` (who overruns), `report/`.

mod answer;
mod cache;
mod call;
mod deadline;
mod failure;
mod faults;
mod gateway;
mod inventory;
mod load;
mod notify;
mod order;
mod progress;
mod report;
mod risk;
mod run;
mod shop;
mod store;
mod tally;
mod topology;
mod watch;

pub(crate) use faults::Fault;
pub(crate) use run::run;
