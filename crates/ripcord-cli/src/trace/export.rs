//! `ripcord trace export`: a trace in other forms.

use super::analysis;
use super::args::{ExportArgs, Form};
use super::error::TraceError;
use super::health::Health;
use super::input::Input;
use super::output::{self, Failed};
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use ripcord_analysis::export::{self as forms, ExportError};
use ripcord_analysis::read::Trace;
use ripcord_trace_format::text;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
///
/// # Errors
/// The trace cannot be read, or the output cannot be written.
pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let health = match (&args.output, args.form) {
        (None, Form::Perfetto | Form::Parquet) => {
            return Err(ExpectedError::Usage {
                message: "this form is not text: say where to write it with `--output`".to_owned(),
                help: "ripcord trace export --help",
            });
        }
        (Some(path), Form::Parquet) => Some(tables(args, path, printer)?),
        (Some(path), Form::Text) => {
            let input = Input::open(&args.file, printer, args.answer.quiet)?;
            Some(output::create(path, |out| as_text(input, out))?)
        }
        (None, Form::Text) => {
            let input = Input::open(&args.file, printer, args.answer.quiet)?;
            output::stream(printer, |out| as_text(input, out))?
        }
        (Some(path), form) => {
            let mut trace = analysis::open(&args.file, printer, args.answer.quiet)?;
            Some(output::create(path, |out| {
                in_form(&mut trace, form, args, out)
            })?)
        }
        (None, form) => {
            let mut trace = analysis::open(&args.file, printer, args.answer.quiet)?;
            output::stream(printer, |out| in_form(&mut trace, form, args, out))?
        }
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

/// A form that is one stream of bytes.
fn in_form(
    trace: &mut Trace<File>,
    form: Form,
    args: &ExportArgs,
    out: &mut impl Write,
) -> Result<Health, Failed> {
    let written = match form {
        Form::Perfetto => forms::perfetto(trace, out),
        Form::Otlp => forms::otlp(trace, out),
        // The others never come here.
        Form::Chrome | Form::Text | Form::Parquet => forms::chrome(trace, out),
    };
    written.map_err(|error| failed(error, &args.file))?;
    Ok(Health::from(trace.health()))
}

/// A folder of tables.
fn tables(args: &ExportArgs, folder: &Path, printer: &Printer) -> Result<Health, ExpectedError> {
    let mut trace = analysis::open(&args.file, printer, args.answer.quiet)?;
    output::create_folder(folder, |folder| {
        let open = |table: &str| {
            let file = File::create_new(folder.join(format!("{table}.parquet")))?;
            Ok(BufWriter::new(file))
        };
        let written = forms::parquet(&mut trace, open);
        written.map_err(|error| failed(error, &args.file))
    })?;
    Ok(Health::from(trace.health()))
}

/// Which side of an export has failed.
fn failed(error: ExportError, file: &Path) -> Failed {
    match error {
        ExportError::Read(error) => Failed::Other(TraceError::open(file, error, &[]).into()),
        ExportError::Write(error) => Failed::Write(error),
        other => Failed::Other(ExpectedError::demo("export a trace", other)),
    }
}
