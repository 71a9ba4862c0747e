//! Why an export is not finished: the trace, or the output.

use crate::read::OpenError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why an export is not finished. What was written before is of no use in most forms.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::ExportError;
///
/// let error = ExportError::from(std::io::Error::other("the disk is gone"));
/// assert_eq!(error.to_string(), "export a trace: the output failed");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// The trace could not be read on.
    Read(OpenError),
    /// The output could not be written.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "export a trace: the trace failed",
            Self::Write(_) => "export a trace: the output failed",
        })
    }
}

impl Error for ExportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Write(error) => Some(error),
        }
    }
}

impl From<OpenError> for ExportError {
    fn from(error: OpenError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}
