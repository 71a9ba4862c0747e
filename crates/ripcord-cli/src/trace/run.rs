//! Hands each command to the file that answers it.

use super::args::TraceCommand;
use super::{ask, check, export, info, merge, record, recover, scrub};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use std::process::ExitCode;

/// Runs a command of `ripcord trace`.
///
/// # Errors
/// What the command says; see `error.rs`.
pub(crate) fn run(command: TraceCommand, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    match command {
        TraceCommand::Info(args) => info::run(&args, printer),
        TraceCommand::Check(args) => check::run(&args, printer),
        TraceCommand::Tasks(args) => ask::tasks(&args, printer),
        TraceCommand::Contexts(args) => ask::contexts(&args, printer),
        TraceCommand::Budgets(args) => ask::budgets(&args, printer),
        TraceCommand::Ghosts(args) => ask::ghosts(&args, printer),
        TraceCommand::Explain(args) => ask::explain(&args, printer),
        TraceCommand::CriticalPath(args) => ask::critical_path(&args, printer),
        TraceCommand::Diff(args) => ask::diff(&args, printer),
        TraceCommand::Export(args) => export::run(&args, printer),
        TraceCommand::Scrub(args) => scrub::run(&args, printer),
        TraceCommand::Recover(args) => recover::run(&args, printer),
        TraceCommand::Merge(args) => merge::run(&args, printer),
        TraceCommand::Record(args) => record::run(&args, printer),
    }
}
