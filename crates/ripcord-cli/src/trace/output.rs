//! Writing a file that was not there before.
//!
//! *Invariants*: (1) nothing that exists is opened for writing; (2) a file that could not be
//! finished is removed, so that nobody takes half of it for the whole.

use super::error::TraceError;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Has `write` fill a new file.
///
/// # Errors
/// The file exists, cannot be written, or `write` fails in another way.
pub(crate) fn create<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failed>,
) -> Result<T, ExpectedError> {
    let file = File::create_new(path).map_err(|error| TraceError::create(path, error))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let written = write(&mut out).and_then(|answer| {
        out.flush()?;
        Ok(answer)
    });
    written.map_err(|failed| {
        // The file is ours: it was made above. If it cannot be removed, there is nothing left to do.
        let _ = fs::remove_file(path);
        failed.at(Some(path.to_owned()))
    })
}

/// Has `write` fill a new folder.
///
/// # Errors
/// The folder exists, cannot be made, or `write` fails.
pub(crate) fn create_folder<T>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<T, Failed>,
) -> Result<T, ExpectedError> {
    fs::create_dir(path).map_err(|error| TraceError::create(path, error))?;
    write(path).map_err(|failed| {
        // The folder is ours, as in `create`.
        let _ = fs::remove_dir_all(path);
        failed.at(Some(path.to_owned()))
    })
}

/// Has `write` fill standard output. A reader that is gone is no error.
///
/// # Errors
/// Standard output cannot be written for another reason, or `write` fails in another way.
pub(crate) fn stream<T>(
    printer: &Printer,
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> Result<T, Failed>,
) -> Result<Option<T>, ExpectedError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, printer.stream());
    let written = write(&mut out).and_then(|answer| {
        out.flush()?;
        Ok(answer)
    });
    match written {
        Ok(answer) => Ok(Some(answer)),
        Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is left in the buffer has no reader either.
            let _ = out.into_parts();
            Ok(None)
        }
        Err(failed) => Err(failed.at(None)),
    }
}

/// Why an output is not finished.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It could not be written.
    Write(io::Error),
    /// Something else went wrong.
    Other(ExpectedError),
}

impl Failed {
    fn at(self, path: Option<PathBuf>) -> ExpectedError {
        match self {
            Self::Write(error) => TraceError::Write { path, error }.into(),
            Self::Other(error) => error,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<ExpectedError> for Failed {
    fn from(error: ExpectedError) -> Self {
        Self::Other(error)
    }
}

const BUFFER_BYTES: usize = 256 * 1024;
