//! `cargo xtask test`: everything that decides whether a change is good, in order.
//!
//! The steps are a table (`steps.rs`). `command.rs` runs them with a heading and the time of each,
//! `runner.rs` starts cargo, `interop.rs` installs what one step needs, and `counts.rs` adds up what
//! the test programs say. The build server
//! runs this command and nothing else.
//!
//! *Read next*: `steps.rs`.

mod command;
mod counts;
mod interop;
mod runner;
mod steps;

pub(crate) use command::run;
pub(crate) use runner::{target_dir, with_cfg};
