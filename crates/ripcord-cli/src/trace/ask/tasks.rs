//! `ripcord trace tasks`: tasks and jobs by where they were spawned.

use super::answer::{analysis, give, shown};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::ListArgs;
use crate::trace::plain::plain;
use ripcord_analysis::explain::Human;
use ripcord_analysis::{Options, SiteRow, TaskRow};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Serialize, Debug)]
struct Rows<'a> {
    sites: &'a [SiteRow],
    tasks: &'a [TaskRow],
    tasks_left_out: u64,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace.
pub(in crate::trace) fn run(args: &ListArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let found = analysis(&args.of, &Options::default(), printer)?;
    let answer = Rows {
        sites: &found.sites,
        tasks: &found.tasks,
        tasks_left_out: found.tasks_left_out,
    };
    give(
        &args.of,
        printer,
        &found,
        "ripcord.trace.tasks/1",
        &answer,
        |answer| text(answer, args.limit),
    )
}

/// A row for each site. Writing to a string cannot fail.
fn text(answer: &Rows<'_>, limit: usize) -> String {
    let mut out = String::new();
    let rows = shown(answer.sites, limit, &mut out);
    let _ = writeln!(
        out,
        "{:>8} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}  spawned",
        "tasks", "alive", "polls", "busy", "longest", "queued", "waited"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:>8} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}  {}",
            row.spawned,
            row.alive,
            row.polls.count,
            human(row.polls.total),
            human(row.polls.max),
            human(row.queue.total),
            human(row.waited),
            plain(&row.task.to_string()),
        );
    }
    out
}

/// As a text, so that it can be aligned.
fn human(time: std::time::Duration) -> String {
    Human(time).to_string()
}
