//! The ripcord command line.

use std::process::ExitCode;

/// Exits with the documented code for wrong usage, as no command is built yet.
fn main() -> ExitCode {
    ExitCode::from(2)
}
