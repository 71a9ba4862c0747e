//! `cargo xtask tidy`: the conventions that no compiler checks, as counts that may only fall.
//!
//! Every rule is a line in `rules.rs` and a function in the file of its subject: `atomics.rs`,
//! `shape.rs`, `docs.rs`, `bans.rs`. The accepted counts stand in `xtask/tidy.toml` (`ratchet.rs`):
//! more findings than accepted fail, and so do fewer, until the number in the file is lowered.
//! There is no list of exceptions and no comment that silences a rule.
//!
//! *Read next*: `command.rs`, then `rules.rs`.

mod atomics;
mod bans;
mod command;
mod docs;
mod ratchet;
mod rules;
mod shape;

pub(crate) use command::run;
