//! `ripcord demo`: an order service under load, the classic faults, and a report of what did
//! not stop.
//!
//! ```text
//! load ─► gateway ─► order ─┬─► inventory (gRPC) ─► store (SQLite)
//!                    │      ├─► risk (gRPC)
//!                    │      ├─► notify
//!                    │      └─► tax (without ripcord)
//!                    └─► cache ─► store
//! ```
//!
//! *Read next*: `run.rs` (the course of a run), `faults.rs`, `shop.rs` and `topology.rs` (the
//! services), `entrance.rs` (who is believed what), `work.rs`, `call.rs` and `rpc.rs` (both ends of a hop),
//! one file for each service, `witness.rs` and `journal.rs` (where a request's time went),
//! `load.rs` and `probes.rs` (the clients), `watch.rs` (who overruns), `report/`.

mod cache;
mod call;
mod entrance;
mod evidence;
mod failure;
mod faults;
mod forward;
mod gateway;
mod inventory;
mod journal;
mod load;
mod notify;
mod order;
mod photos;
mod probes;
mod progress;
mod recorded;
mod report;
mod risk;
mod rpc;
mod run;
mod shop;
mod store;
mod tally;
mod tax;
mod telemetry;
mod topology;
mod watch;
mod witness;
mod work;

pub(crate) use faults::Fault;
pub(crate) use run::run;
