//! Measures ripcord beside its peers, in one run, round by round, and says which goals are met.
//!
//! Read next: `subject.rs` (what there is), `suite.rs` (the order of the samples), `plan.rs` (one
//! sample), `work/`, `http/` and `trace/` (what is measured).

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the real clock, and its peers use std's locks"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a table: nothing counted here comes near 2^52, and none is negative"
)]

use std::process::ExitCode;

mod alloc;
mod case;
mod cli;
mod folder;
mod go;
mod http;
mod instructions;
mod machine;
mod ours;
mod out;
mod peers;
mod plan;
mod process;
mod report;
mod results;
mod sample;
mod spawner;
mod stats;
mod subject;
mod suite;
mod trace;
mod tree;
mod work;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match cli::parse(&arguments) {
        Ok(command) => command,
        Err(message) => {
            out::problem(&format!("{message}\n\n{}", cli::USAGE));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match command {
        cli::Command::Help => out::result(cli::HELP).map(|()| true).map_err(Stop::Failed),
        cli::Command::Measure(options) => suite::run(&options),
        cli::Command::Sample(sample) => sample::run(&sample).map(|()| true),
        cli::Command::Clients(clients) => http::be_clients(&clients).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_INCOMPLETE),
        Err(Stop::Failed(message)) => {
            out::problem(&message);
            ExitCode::from(EXIT_INCOMPLETE)
        }
        Err(Stop::Usage(message)) => {
            out::problem(&message);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Why there is nothing to report.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The arguments ask for something that does not exist.
    Usage(String),
    Failed(String),
}

/// Something could not be measured; the rest was.
const EXIT_INCOMPLETE: u8 = 1;
const EXIT_USAGE: u8 = 2;
