//! `ripcord trace explain`: why a request was late, in a sentence.

use super::answer::{analysis, give};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::ExplainArgs;
use crate::trace::error::TraceError;
use crate::trace::plain::plain;
use ripcord_analysis::explain::Human;
use ripcord_analysis::waterfall::LateEnd;
use ripcord_analysis::{Analysis, Explanation, Options, Select};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Serialize, Debug)]
struct Explanations<'a> {
    explanations: Vec<Explained<'a>>,
    /// Contexts that ended while tasks were alive under them, of which these are the latest.
    ends_with_tasks: u64,
}

#[derive(Serialize, Debug)]
struct Explained<'a> {
    /// The explanation as people read it.
    sentence: String,
    explanation: Explanation,
    /// What it is concluded from: what each task did after the end.
    end: &'a LateEnd,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace; nothing, or more than one thing, is called as asked.
pub(in crate::trace) fn run(
    args: &ExplainArgs,
    printer: &Printer,
) -> Result<ExitCode, ExpectedError> {
    let request = args.request.as_deref();
    let options = request.map_or_else(Options::default, asking_for);
    let mut options = options.late(Duration::from_millis(args.late_ms));
    // What is told by a context above is left out below.
    options.worst = args.worst.saturating_mul(STORIES);
    let found = analysis(&args.of, &options, printer)?;
    let ends = if let Some(request) = &args.request {
        the_hops(&found, request)?
    } else {
        let is_late = |end: &&LateEnd| end.late >= options.late_min;
        let stories = found.stories().filter(is_late);
        stories.take(args.worst).collect()
    };
    let explained = ends.into_iter().map(|end| {
        let explanation = Explanation::of(end);
        Explained {
            sentence: explanation.to_string(),
            explanation,
            end,
        }
    });
    let answer = Explanations {
        explanations: explained.collect(),
        ends_with_tasks: found.ends_with_tasks,
    };
    give(
        &args.of,
        printer,
        &found,
        "ripcord.trace.explain/1",
        &answer,
        |answer| {
            let lines = answer.explanations.iter();
            let lines: Vec<String> = lines.map(|one| plain(&one.sentence).to_string()).collect();
            if lines.is_empty() {
                format!("nothing ended more than {} late", Human(options.late_min))
            } else {
                lines.join("\n")
            }
        },
    )
}

/// Keeps what is called so, whatever happened to it.
pub(super) fn asking_for(request: &str) -> Options {
    let options = Options::default().select(Select::tag(request));
    match request.parse() {
        Ok(id) => options.select(Select::Ctx(id)),
        Err(_) => options,
    }
}

/// Late ends that are looked at for each one that is shown.
const STORIES: usize = 4;

/// The ends that are meant: one, or those of one request on its way from service to service, where the
/// trace is of several, in the order of its way.
fn the_hops<'a>(found: &'a Analysis, request: &'a str) -> Result<Vec<&'a LateEnd>, TraceError> {
    let mut ends: Vec<&LateEnd> = found.ends_of(request).collect();
    ends.sort_by_key(|end| end.ctx.created);
    let is_one_request = ends.split_first().is_some_and(|(first, rest)| {
        let until = first.asked + first.late;
        !rest.is_empty() && rest.iter().all(|hop| hop.ctx.created <= until)
    });
    if is_one_request {
        return Ok(ends);
    }
    the_one(found, request).map(|end| vec![end])
}

/// The end that is meant. An id of a context is meant before a tag of the same text.
pub(super) fn the_one<'a>(
    found: &'a Analysis,
    request: &'a str,
) -> Result<&'a LateEnd, TraceError> {
    let mut ends: Vec<&LateEnd> = found.ends_of(request).collect();
    if let Some(at) = ends
        .iter()
        .position(|end| end.ctx.id.to_string() == request)
    {
        return Ok(ends.swap_remove(at));
    }
    match *ends.as_slice() {
        [] => Err(TraceError::NoMatch {
            what: request.to_owned(),
            looked_at: found.contexts_made,
        }),
        [only] => Ok(only),
        _ => Err(TraceError::Several {
            what: request.to_owned(),
            lines: ends.iter().map(|end| candidate(end)).collect(),
        }),
    }
}

/// One of several, with the id by which it can be asked for.
fn candidate(end: &LateEnd) -> String {
    format!(
        "{}: {}, ended {} after the beginning of the trace, {} late",
        end.ctx.id,
        plain(&end.ctx.to_string()),
        Human(end.asked),
        Human(end.late)
    )
}
