//! The report for a terminal, and the list of cases.

use std::fmt::Write;

use super::value;
use crate::case::{Case, Metric};
use crate::machine::Machine;
use crate::results::{CaseResult, Row, Run, Verdict};

pub(super) fn report(run: &Run) -> String {
    let mut text = head(run);
    for case in &run.cases {
        let _ = writeln!(
            text,
            "\n{}: {}",
            case.case.id,
            value::title(&case.case, case.size)
        );
        for metric in case.main_metrics() {
            metric_table(&mut text, case, metric);
        }
    }
    if let Some(tally) = value::tally(run) {
        let _ = writeln!(text, "\n{tally}");
        for (case, metric, goal, verdict) in run.verdicts() {
            if matches!(verdict, Verdict::Missed | Verdict::MissedBarely) {
                let goal = value::goal(goal, metric.unit);
                let verdict = value::verdict(&verdict);
                let _ = writeln!(
                    text,
                    "  {}, {} ({goal}): {verdict}",
                    case.case.id, metric.label
                );
            }
        }
    }
    text
}

/// The cases with their contenders and goals.
pub(crate) fn list(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        let _ = writeln!(text, "{}: {}", case.id, case.title);
        let names: Vec<&str> = case
            .contenders
            .iter()
            .map(|contender| contender.name)
            .collect();
        let _ = writeln!(text, "    {}", names.join(", "));
        for metric in &case.metrics {
            for goal in &metric.goals {
                let _ = writeln!(
                    text,
                    "    goal: {} {}",
                    metric.label,
                    value::goal(*goal, metric.unit)
                );
            }
        }
    }
    text
}

fn head(run: &Run) -> String {
    let Machine {
        date,
        cpu,
        cores,
        system,
        versions,
        ..
    } = &run.machine;
    let mut text = format!("{date}, {cpu}, {cores} cores, {system}\n");
    let versions: Vec<String> = versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let _ = writeln!(text, "{}", versions.join(", "));
    let _ = writeln!(text, "{} rounds, seed {}", run.rounds, run.seed);
    for caveat in value::caveats(run) {
        let _ = writeln!(text, "{caveat}");
    }
    text
}

fn metric_table(text: &mut String, case: &CaseResult, metric: &Metric) {
    let rows = case.rows(metric);
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "  {:<38} {:>9}  {:<21} {:>6}  quartiles",
        metric.label, "median", "min – max", "ratio"
    );
    for row in rows {
        let line = row_line(&row, metric);
        let _ = writeln!(text, "    {}", line.trim_end());
    }
}

fn row_line(row: &Row<'_>, metric: &Metric) -> String {
    let figure = |figure: f64| value::value(figure, metric.unit);
    let (median, spread) = row
        .summary
        .map_or(("–".to_owned(), String::new()), |summary| {
            (
                figure(summary.median),
                format!("{} – {}", figure(summary.min), figure(summary.max)),
            )
        });
    let (ratio, quartiles) = row.ratio.map_or((String::new(), String::new()), |ratio| {
        let quartile = |side: f64| value::ratio(side);
        let rounds = ratio.rounds;
        let quartiles = format!(
            "{} – {}",
            quartile(rounds.lower_quartile),
            quartile(rounds.upper_quartile)
        );
        (value::ratio(ratio.of_medians), quartiles)
    });
    let verdict = value::judged(row, metric.unit, str::to_owned);
    let remarks = value::remarks(row);
    let tail: Vec<String> = [verdict, remarks]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    format!(
        "{:<36} {median:>9}  {spread:<21} {ratio:>6}  {quartiles:<14} {}",
        row.contender,
        tail.join("; ")
    )
}
