//! `ripcord trace budgets`: what each hop of the requests had, used, and had left.

use super::answer::{analysis, give, shown};
use super::explain::asking_for;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::BudgetArgs;
use crate::trace::error::TraceError;
use crate::trace::plain::plain;
use ripcord_analysis::budgets::{BudgetRow, HopRow};
use ripcord_analysis::explain::Human;
use ripcord_analysis::{Options, Stat};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Serialize, Debug)]
struct Rows<'a> {
    /// All requests, by hop; of one request where that was asked for.
    budgets: &'a [BudgetRow],
    hops: &'a [HopRow],
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace; no hop belongs to the request that was asked for.
pub(in crate::trace) fn run(
    args: &BudgetArgs,
    printer: &Printer,
) -> Result<ExitCode, ExpectedError> {
    let request = args.request.as_deref();
    let options = request.map_or_else(Options::default, asking_for);
    let found = analysis(&args.list.of, &options, printer)?;
    if let Some(request) = request.filter(|_| found.hops.is_empty()) {
        return Err(TraceError::NoMatch {
            what: request.to_owned(),
            looked_at: found.contexts_made,
        }
        .into());
    }
    let answer = Rows {
        budgets: &found.budgets,
        hops: &found.hops,
    };
    give(
        &args.list.of,
        printer,
        &found,
        "ripcord.trace.budgets/1",
        &answer,
        |answer| match request {
            Some(_) => hops(answer.hops, args.list.limit),
            None => table(answer.budgets, args.list.limit),
        },
    )
}

/// All requests by hop. Writing to a string cannot fail.
fn table(rows: &[BudgetRow], limit: usize) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        out.push_str("no context has the tag `request.id`\n");
    }
    for row in shown(rows, limit, &mut out) {
        let _ = write!(
            out,
            "{}: {} requests",
            plain(&row.to_string()),
            row.requests
        );
        if row.entries > 0 {
            let _ = write!(out, ", {} the first hop", row.entries);
        }
        if let Some(least) = row.budget_min {
            let _ = write!(
                out,
                "; had {} to {}, {} on average",
                Human(least),
                Human(row.budget.max),
                Human(mean(row.budget))
            );
        }
        if row.kept_back.count > 0 {
            let _ = write!(
                out,
                "; {} of the request kept back on average, {} at most",
                Human(mean(row.kept_back)),
                Human(row.kept_back.max)
            );
        }
        let _ = write!(
            out,
            "; used {} on average, {} at most",
            Human(mean(row.used)),
            Human(row.used.max)
        );
        if let Some(left) = row.left_min {
            let _ = write!(out, "; {} left at least", Human(left));
        }
        let warnings = [
            (row.ran_out, "ran out"),
            (row.without, "without the deadline of their request"),
            (row.longer, "with a later deadline than their request"),
        ];
        for (count, what) in warnings.iter().filter(|(count, _)| *count > 0) {
            let _ = write!(out, "; {count} {what}");
        }
        out.push('\n');
    }
    out
}

/// The hops of one request, in the order of their beginnings. Writing to a string cannot fail.
fn hops(rows: &[HopRow], limit: usize) -> String {
    let mut out = String::new();
    let first = rows.first().map_or(Duration::ZERO, |hop| hop.begun);
    for row in shown(rows, limit, &mut out) {
        let _ = write!(
            out,
            "+{} {}",
            Human(row.begun.saturating_sub(first)),
            plain(&row.to_string())
        );
        match (row.budget, row.request_left) {
            (Some(budget), Some(left)) => {
                let _ = write!(
                    out,
                    ": had {} of {} that the request had left",
                    Human(budget),
                    Human(left)
                );
            }
            (Some(budget), None) => {
                let _ = write!(
                    out,
                    ": had {}, and the request has no deadline",
                    Human(budget)
                );
            }
            (None, Some(left)) => {
                let _ = write!(
                    out,
                    ": had no deadline, and the request had {} left",
                    Human(left)
                );
            }
            (None, None) => out.push_str(": had no deadline"),
        }
        let ran_out = if row.ran_out { ", and ran out" } else { "" };
        let so_far = if row.is_over { "" } else { " so far" };
        let _ = writeln!(out, "; used {}{so_far}{ran_out}", Human(row.used));
    }
    out
}

fn mean(stat: Stat) -> Duration {
    let count = u32::try_from(stat.count).unwrap_or(u32::MAX);
    stat.total.checked_div(count).unwrap_or_default()
}
