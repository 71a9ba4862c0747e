//! `ripcord trace critical-path`: what an end waited for, hop by hop.

use super::answer::{analysis, give};
use super::explain::{asking_for, the_one};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::PathArgs;
use crate::trace::error::TraceError;
use crate::trace::plain::plain;
use ripcord_analysis::Options;
use ripcord_analysis::critical_path::{CriticalPath, HopKind, Target};
use ripcord_analysis::explain::Human;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Serialize, Debug)]
struct Answer {
    /// `task 500` or `context 90`.
    target: String,
    path: CriticalPath,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace; nothing, or more than one thing, is called as asked.
pub(in crate::trace) fn run(args: &PathArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let request = args.request.as_deref();
    let options = request.map_or_else(Options::default, asking_for);
    let found = analysis(&args.of, &options, printer)?;
    let (target, name) = match (args.task, request) {
        (Some(task), _) => (Target::Task(task), format!("task {task}")),
        (None, Some(request)) => context(the_one(&found, request)?.ctx.id),
        (None, None) => {
            let latest = found.late_ends.first().ok_or(TraceError::NothingLate)?;
            context(latest.ctx.id)
        }
    };
    let mut trace = crate::trace::analysis::open(&args.of.file, printer, args.of.answer.quiet)?;
    let path = CriticalPath::of(&mut trace, target)
        .map_err(|error| TraceError::open(&args.of.file, error, &[]))?
        .ok_or_else(|| TraceError::NoPath {
            target: name.clone(),
        })?;
    let answer = Answer { target: name, path };
    let schema = "ripcord.trace.critical-path/1";
    give(&args.of, printer, &found, schema, &answer, text)
}

fn context(id: u64) -> (Target, String) {
    (Target::Ctx(id), format!("context {id}"))
}

/// A line for each hop. Writing to a string cannot fail.
fn text(answer: &Answer) -> String {
    let path = &answer.path;
    let mut out = format!(
        "{} ended {} after the beginning of the trace, on a path of {}:\n",
        answer.target,
        Human(path.ends),
        Human(path.time)
    );
    if path.is_cut {
        out.push_str("(what is before is left out: it is too long)\n");
    }
    for hop in &path.hops {
        let kind = match hop.kind {
            HopKind::Run => "runs",
            HopKind::Queue => "queued",
            HopKind::Wait => "waits",
            HopKind::Drop => "dropped",
            _ => "unknown",
        };
        // As texts, so that they can be aligned.
        let (from, time) = (Human(hop.from).to_string(), Human(hop.time).to_string());
        let _ = write!(
            out,
            "{from:>10} {time:>9} {kind:<8}{}",
            plain(&hop.task.to_string())
        );
        if let Some(place) = &hop.place {
            let _ = write!(out, ", {}", plain(&place.to_string()));
        }
        if let Some(by) = hop.woken_by {
            let _ = write!(out, ", woken by {by}");
        }
        out.push('\n');
    }
    out
}
