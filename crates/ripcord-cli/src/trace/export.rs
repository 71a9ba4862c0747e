//! `ripcord trace export`: a trace in other forms.

use super::args::{ExportArgs, Form};
use super::health::Health;
use super::input::Input;
use super::output::{self, Failed};
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use ripcord_trace_format::text;
use std::io::Write;
use std::process::ExitCode;

/// Runs the command.
///
/// # Errors
/// The trace cannot be read, or the output cannot be written.
pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let input = Input::open(&args.file, printer, args.answer.quiet)?;
    let health = match args.form {
        Form::Text => match &args.output {
            Some(path) => Some(output::create(path, |out| as_text(input, out))?),
            None => output::stream(printer, |out| as_text(input, out))?,
        },
    };
    // A reader that has gone has seen what it wanted.
    let Some(health) = health else {
        return Ok(exit::OK);
    };
    if let Some(warning) = health.warning() {
        printer.note(warning);
    }
    Ok(health.exit_code())
}

/// The text twin, and what was missing.
fn as_text(input: Input<'_>, out: &mut impl Write) -> Result<Health, Failed> {
    text::write_header(input.header(), out)?;
    input.walk_items(|item, _| Ok(text::write_item(item, out)?))
}
