//! The report for programs.

use super::model::Report;
use crate::exit::ExpectedError;

/// One JSON value over several lines.
///
/// # Errors
/// None that is known.
pub(crate) fn json(report: &Report) -> Result<String, ExpectedError> {
    serde_json::to_string_pretty(report)
        .map_err(|error| ExpectedError::demo("write the report as JSON", error))
}
