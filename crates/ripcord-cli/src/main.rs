//! The `ripcord` command line.
//!
//! *Read next*: `args.rs` for what can be asked, `exit.rs` for how it ends, `demo/` and `trace/` for
//! the commands.

#![allow(
    clippy::disallowed_types,
    reason = "the locks of a program are outside every model"
)]

mod args;
mod demo;
mod exit;
mod printer;
mod trace;

use crate::args::Command;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = Printer::new();
    match run(&printer) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            error.exit_code()
        }
    }
}

fn run(printer: &Printer) -> Result<ExitCode, ExpectedError> {
    match args::read(printer)? {
        None => Ok(exit::OK),
        Some(Command::Demo(args)) => demo::run(&args, printer),
        Some(Command::Trace(args)) => trace::run(args.command, printer),
        Some(Command::Explain(args)) => trace::run(args.into(), printer),
    }
}
