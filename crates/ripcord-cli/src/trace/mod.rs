//! `ripcord trace`: looks into trace files and turns them into other forms.
//!
//! *Invariants*: (1) no text of a trace reaches the terminal but through `plain.rs` or `json.rs`,
//! which escape what a terminal might obey; (2) a file that exists is never written to; (3) what is
//! missing from a trace is said beside every answer, and by the exit code.
//!
//! *Read next*: `args.rs` (what can be asked), `run.rs` (who answers), `error.rs` (exit codes),
//! `input.rs` and `health.rs` (reading past damage), `output.rs`; then one file for each command.
//! What a trace means is the business of ripcord-analysis; nothing here concludes anything.

mod analysis;
mod args;
mod ask;
mod check;
mod error;
mod export;
mod health;
mod info;
mod input;
mod json;
mod merge;
mod output;
mod plain;
mod record;
mod recover;
mod rewrite;
mod ring;
mod run;
mod scrub;
mod tally;

pub(crate) use args::{ExplainArgs, TraceArgs};
pub(crate) use error::{HELP, TraceError};
pub(crate) use plain::plain;
pub(crate) use run::run;
