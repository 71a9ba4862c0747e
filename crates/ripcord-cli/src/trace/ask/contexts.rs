//! `ripcord trace contexts`: the tree of contexts, with budgets and ends.

use super::answer::{analysis, give};
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::ListArgs;
use crate::trace::plain::plain;
use ripcord_analysis::Options;
use ripcord_analysis::contexts::{CtxRow, NeverFires};
use ripcord_analysis::explain::Human;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Serialize, Debug)]
struct Tree<'a> {
    contexts: &'a [CtxRow],
    #[serde(rename = "contexts_left_out")]
    left_out: u64,
    never_fires: &'a [NeverFires],
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace.
pub(in crate::trace) fn run(args: &ListArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let found = analysis(&args.of, &Options::default(), printer)?;
    let answer = Tree {
        contexts: &found.contexts,
        left_out: found.contexts_left_out,
        never_fires: &found.never_fires,
    };
    give(
        &args.of,
        printer,
        &found,
        "ripcord.trace.contexts/1",
        &answer,
        |answer| text(answer, args.limit),
    )
}

/// The tree, and the deadlines that never fire. Writing to a string cannot fail.
fn text(answer: &Tree<'_>, limit: usize) -> String {
    let mut out = String::new();
    let lines = tree(answer.contexts);
    for (depth, row) in lines.iter().take(limit) {
        // Deeper than a screen is wide, nobody counts blanks.
        let indent = "  ".repeat(*depth.min(&INDENT_MAX));
        let _ = writeln!(out, "{indent}{}", line(row));
    }
    let more = lines.len().saturating_sub(limit) as u64 + answer.left_out;
    if more > 0 {
        let _ = writeln!(out, "({more} more)");
    }
    for row in answer.never_fires {
        let place = |place: &Option<ripcord_analysis::read::Location>| {
            let known = place.as_ref().map(ToString::to_string);
            known.unwrap_or_else(|| "a place that is not told".to_owned())
        };
        let _ = writeln!(
            out,
            "the deadline of {} never fires: that of {} is earlier, {} times",
            plain(&place(&row.location)),
            plain(&place(&row.shortened_by)),
            row.by.count
        );
    }
    out
}

/// One context: its name, what it had, and how it ended.
fn line(row: &CtxRow) -> String {
    let mut out = format!("{} ({} #{})", plain(&row.to_string()), row.kind, row.id);
    if let Some(budget) = row.budget {
        let _ = write!(out, ", had {}", Human(budget));
    }
    if let Some(owner) = &row.shortened_by {
        let _ = write!(out, " by context #{}", owner.id);
    }
    match &row.end {
        None => out.push_str(if row.over.is_some() { "" } else { ", live" }),
        Some(end) => {
            let _ = write!(
                out,
                ", {} after {}",
                end.cause,
                Human(end.asked.saturating_sub(row.created))
            );
            if let Some(over) = row.over {
                let _ = write!(
                    out,
                    ", over {} later",
                    Human(over.saturating_sub(end.asked))
                );
            }
        }
    }
    out
}

/// The rows in the order of the tree, with their depth. Each stands there once, whatever a file says of
/// parents: what is in a circle comes at the end.
fn tree(rows: &[CtxRow]) -> Vec<(usize, &CtxRow)> {
    let known: HashSet<u64> = rows.iter().map(|row| row.id).collect();
    let mut children: HashMap<u64, Vec<&CtxRow>> = HashMap::new();
    let mut stack = Vec::new();
    for row in rows.iter().rev() {
        match row.parent.filter(|parent| known.contains(parent)) {
            // In the order of their making, from the end of the list.
            Some(parent) => children.entry(parent).or_default().push(row),
            None => stack.push((0, row)),
        }
    }
    let mut lines = Vec::with_capacity(rows.len());
    loop {
        while let Some((depth, row)) = stack.pop() {
            lines.push((depth, row));
            let below = children.remove(&row.id).unwrap_or_default();
            stack.extend(below.into_iter().map(|row| (depth + 1, row)));
        }
        let Some(circle) = children.keys().min().copied() else {
            return lines;
        };
        let below = children.remove(&circle).unwrap_or_default();
        stack.extend(below.into_iter().map(|row| (0, row)));
    }
}

const INDENT_MAX: usize = 40;
