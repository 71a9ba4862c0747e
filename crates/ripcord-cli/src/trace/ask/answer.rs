//! Asks the analysis, and gives its answer out with what is missing from the trace.

use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::FileArgs;
use crate::trace::health::Health;
use crate::trace::json::json;
use ripcord_analysis::{Analysis, Options};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Goes over the trace.
///
/// # Errors
/// The file cannot be read as a trace.
pub(super) fn analysis(
    args: &FileArgs,
    options: &Options,
    printer: &Printer,
) -> Result<Analysis, ExpectedError> {
    crate::trace::analysis::analyse(&args.file, options, printer, args.answer.quiet)
}

/// What stands around every JSON answer.
#[derive(Serialize, Debug)]
struct Envelope<'a, T> {
    schema: &'a str,
    file: String,
    trace: Health,
    /// Times are nanoseconds from the beginning of the trace, which was then.
    begins_ns: u64,
    #[serde(flatten)]
    answer: &'a T,
}

/// Gives an answer out, and the exit code that goes with the trace.
///
/// # Errors
/// None that is known.
pub(super) fn give<T: Serialize>(
    args: &FileArgs,
    printer: &Printer,
    analysis: &Analysis,
    schema: &str,
    answer: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<ExitCode, ExpectedError> {
    let trace = Health::from(&analysis.health);
    let code = trace.exit_code();
    match args.answer.format {
        Format::Text => {
            printer.result(text(answer).trim_end());
            if let Some(warning) = trace.warning() {
                printer.note(warning);
            }
        }
        Format::Json => printer.result(json(&Envelope {
            schema,
            file: args.file.to_string_lossy().into_owned(),
            trace,
            begins_ns: analysis.begins_ns,
            answer,
        })?),
    }
    Ok(code)
}

/// The rows that people are shown, and a line on the others.
pub(super) fn shown<'a, T>(rows: &'a [T], limit: usize, out: &mut String) -> &'a [T] {
    let shown = rows.get(..limit).unwrap_or(rows);
    if shown.len() < rows.len() {
        let left = rows.len() - shown.len();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "(the first {limit}; {left} more with `--limit`)");
    }
    shown
}
