//! A server that tells handlers when their client hangs up, and that shuts down in stages.
//!
//! A connection has three parts that end each other: its socket, which owns the right to end its
//! context; the watch on the socket, which uses that right; the task that speaks HTTP on it, which is
//! told by the context.
//!
//! *Read next*: `server.rs` (accepting, and the stages of the end), `drive.rs` (one connection),
//! `io.rs`, `roster.rs` (who is connected), `hangup.rs` (the watcher), `tally.rs`, `options.rs`.

mod drive;
#[cfg(target_os = "linux")]
mod hangup;
#[cfg(not(target_os = "linux"))]
#[path = "no_hangup.rs"]
mod hangup;
mod io;
mod options;
mod roster;
mod server;
mod shared;
#[cfg(target_os = "linux")]
mod socket;
mod tally;

pub use options::{HangUp, KeepAlive};
pub(crate) use roster::Key;
pub use server::Server;
pub(crate) use shared::Shared;
pub use tally::Report;
