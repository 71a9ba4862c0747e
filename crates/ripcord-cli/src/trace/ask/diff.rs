//! `ripcord trace diff`: what has changed between two traces, by site.

use super::answer::shown;
use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::analysis::analyse;
use crate::trace::args::DiffArgs;
use crate::trace::health::Health;
use crate::trace::json::json;
use crate::trace::plain::plain;

use ripcord_analysis::diff::{Diff, SiteSide};
use ripcord_analysis::explain::Human;
use ripcord_analysis::{Analysis, Options};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Serialize, Debug)]
struct Answer {
    schema: &'static str,
    a: String,
    b: String,
    trace_a: Health,
    trace_b: Health,
    #[serde(flatten)]
    diff: Diff,
}

/// Runs the command.
///
/// # Errors
/// One of the files cannot be read as a trace.
pub(in crate::trace) fn run(args: &DiffArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let (a, b) = both(args, printer)?;
    let answer = Answer {
        schema: "ripcord.trace.diff/1",
        a: args.a.to_string_lossy().into_owned(),
        b: args.b.to_string_lossy().into_owned(),
        trace_a: Health::from(&a.health),
        trace_b: Health::from(&b.health),
        diff: Diff::of(&a, &b),
    };
    match args.answer.format {
        Format::Json => printer.result(json(&answer)?),
        Format::Text => {
            printer.result(text(&answer.diff, args.limit).trim_end());
            for (word, trace) in [("first", &answer.trace_a), ("second", &answer.trace_b)] {
                if let Some(warning) = trace.warning() {
                    printer.note(format_args!("the {word}: {warning}"));
                }
            }
        }
    }
    Ok(Health::worse(&answer.trace_a, &answer.trace_b).exit_code())
}

/// The two analyses, which know nothing of each other: each has a thread.
///
/// Progress is that of the first, since there is one line for it.
fn both(args: &DiffArgs, printer: &Printer) -> Result<(Analysis, Analysis), ExpectedError> {
    let is_quiet = args.answer.quiet;
    let options = Options::default();
    let (a, b) = std::thread::scope(|scope| {
        let b = scope.spawn(|| analyse(&args.b, &options, printer, true));
        (analyse(&args.a, &options, printer, is_quiet), b.join())
    });
    let b = b.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((a?, b?))
}

/// What is compared of a site: how it is called, and where it is.
type Compared = (&'static str, fn(&SiteSide) -> Duration);

const COMPARED: [Compared; 5] = [
    ("poll", |side| side.poll),
    ("queue", |side| side.queue),
    ("wait", |side| side.wait),
    ("cancel latency", |side| side.cancel_latency),
    ("deaf", |side| side.deaf),
];

/// A line for each site, with what has changed. Writing to a string cannot fail.
fn text(diff: &Diff, limit: usize) -> String {
    let mut out = String::new();
    let [before, after] = diff.late;
    let _ = writeln!(
        out,
        "late ends: {} before, {} after; the latest by {} before, {} after",
        before.count,
        after.count,
        Human(before.max),
        Human(after.max)
    );
    for site in shown(&diff.sites, limit, &mut out) {
        let _ = write!(out, "{}: ", plain(&site.task.to_string()));
        let line = match &site.sides {
            [Some(before), Some(after)] => changes(before, after),
            [None, Some(after)] => format!("new, {} tasks", after.spawned),
            [Some(before), None] => format!("gone, {} tasks before", before.spawned),
            [None, None] => String::new(),
        };
        let _ = writeln!(out, "{line}");
    }
    out
}

fn changes(before: &SiteSide, after: &SiteSide) -> String {
    let all = COMPARED.iter().filter_map(|(name, of)| {
        let (before, after) = (of(before), of(after));
        let line = || format!("{name} {} → {}", Human(before), Human(after));
        (before != after).then(line)
    });
    let all: Vec<String> = all.collect();
    if all.is_empty() {
        "the same".to_owned()
    } else {
        all.join(", ")
    }
}
