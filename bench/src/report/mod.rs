//! Reports: text for a terminal, JSON for programs, Markdown for the README.

mod json;
mod markdown;
mod text;
mod value;

pub(crate) use markdown::replace_in;
pub(crate) use text::list;

use crate::cli::Format;
use crate::results::Run;

/// The whole report.
pub(crate) fn format(run: &Run, format: Format) -> String {
    match format {
        Format::Text => text::report(run),
        Format::Json => json::report(run),
        Format::Markdown => markdown::report(run),
    }
}
