//! `ripcord trace ghosts`: what went on after its context had ended.

use super::answer::{analysis, give, shown};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::ListArgs;
use crate::trace::plain::plain;
use ripcord_analysis::explain::Human;
use ripcord_analysis::reports::{DeafSite, LostWaker};
use ripcord_analysis::{Options, SiteRow};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Serialize, Debug)]
struct Rows<'a> {
    ghosts: Vec<&'a SiteRow>,
    deaf_sites: &'a [DeafSite],
    leaks: Vec<&'a SiteRow>,
    lost_wakers: &'a [LostWaker],
    cancel_coverage: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace.
pub(in crate::trace) fn run(args: &ListArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let found = analysis(&args.of, &Options::default(), printer)?;
    let answer = Rows {
        ghosts: found.ghosts(),
        deaf_sites: &found.deaf_sites,
        leaks: found.leaks(),
        lost_wakers: &found.lost_wakers,
        cancel_coverage: found.cancel_coverage,
    };
    give(
        &args.of,
        printer,
        &found,
        "ripcord.trace.ghosts/1",
        &answer,
        |answer| text(answer, args.limit),
    )
}

/// Each kind under its own heading, if there is any. Writing to a string cannot fail.
fn text(answer: &Rows<'_>, limit: usize) -> String {
    let mut out = String::new();
    if answer.ghosts.is_empty() && answer.leaks.is_empty() && answer.lost_wakers.is_empty() {
        out.push_str("no task went on after its context had ended\n");
    }
    if !answer.ghosts.is_empty() {
        out.push_str("went on after the end of their context:\n");
    }
    for row in shown(&answer.ghosts, limit, &mut out) {
        let _ = writeln!(
            out,
            "  {}: {} times, {} at most, {} in all; busy for {}, deaf for {}",
            plain(&row.task.to_string()),
            row.late.count,
            Human(row.late.max),
            Human(row.late.total),
            Human(row.wasted),
            Human(row.deaf)
        );
    }
    if !answer.deaf_sites.is_empty() {
        out.push_str("waited there without listening to their context:\n");
    }
    for row in shown(answer.deaf_sites, limit, &mut out) {
        let _ = writeln!(
            out,
            "  {}: {} times, {} at most, {} in all",
            plain(&row.place.to_string()),
            row.time.count,
            Human(row.time.max),
            Human(row.time.total)
        );
    }
    if !answer.leaks.is_empty() {
        out.push_str("alive at the end of the trace, and old:\n");
    }
    for row in shown(&answer.leaks, limit, &mut out) {
        let _ = writeln!(
            out,
            "  {}: {}, the oldest for {}",
            plain(&row.task.to_string()),
            row.leaks.count,
            Human(row.leaks.max)
        );
    }
    if !answer.lost_wakers.is_empty() {
        out.push_str("waited while nobody could wake them:\n");
    }
    for row in shown(answer.lost_wakers, limit, &mut out) {
        let label = row.label.as_deref().map(|label| format!(" at {label}"));
        let _ = writeln!(
            out,
            "  {}{}: {} times",
            plain(&row.task.to_string()),
            plain(&label.unwrap_or_default()),
            row.count
        );
    }
    if let Some(share) = answer.cancel_coverage {
        let _ = writeln!(
            out,
            "in {:.1} % of all waiting time, a context was listened to",
            share * 100.0
        );
    }
    out
}
