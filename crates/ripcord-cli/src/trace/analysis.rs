//! Opens a trace for the analysis, with the messages and the progress of this program.

use super::error::TraceError;
use super::input::{Progress, beginning};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_analysis::read::Trace;
use ripcord_analysis::{Analysis, Options};
use std::fs::File;
use std::path::Path;

/// Opens a trace, and goes over it once.
///
/// # Errors
/// The file cannot be read, is empty, is no trace, or is of a newer version.
pub(super) fn open(
    path: &Path,
    printer: &Printer,
    is_quiet: bool,
) -> Result<Trace<File>, ExpectedError> {
    scan(path, printer, is_quiet).map(|(trace, _)| trace)
}

/// Opens a trace, and analyses it.
///
/// # Errors
/// As [`open`].
pub(super) fn analyse(
    path: &Path,
    options: &Options,
    printer: &Printer,
    is_quiet: bool,
) -> Result<Analysis, ExpectedError> {
    let (mut trace, progress) = scan(path, printer, is_quiet)?;
    let events = trace.health().events_declared;
    let mut progress = progress.map(|progress| progress.of_events(events));
    let show = |seen| {
        if let Some(progress) = &mut progress {
            progress.show(seen);
        }
    };
    let analysis = Analysis::with_progress(&mut trace, options, show);
    Ok(analysis.map_err(|error| TraceError::open(path, error, &[]))?)
}

fn scan<'p>(
    path: &Path,
    printer: &'p Printer,
    is_quiet: bool,
) -> Result<(Trace<File>, Option<Progress<'p>>), ExpectedError> {
    let unreadable = |error| TraceError::Unreadable {
        path: path.to_owned(),
        at: None,
        error,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let begins = beginning(&mut file).map_err(unreadable)?;
    let mut progress = Progress::new(printer, &file, is_quiet);
    let show = |read| {
        if let Some(progress) = &mut progress {
            progress.show(read);
        }
    };
    let trace = Trace::with_progress(file, show);
    let trace = trace.map_err(|error| TraceError::open(path, error, &begins))?;
    Ok((trace, progress))
}
