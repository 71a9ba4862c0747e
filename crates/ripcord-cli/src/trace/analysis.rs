//! Opens a trace for the analysis, with the messages and the progress of this program.

use super::error::TraceError;
use super::input::{Progress, beginning};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_analysis::read::Trace;
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
    Ok(trace.map_err(|error| TraceError::open(path, error, &begins))?)
}
