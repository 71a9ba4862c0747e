//! The report for a README, between two markers, so that nobody types a figure by hand.

use std::fmt::Write;
use std::path::Path;

use super::value;
use crate::machine::Machine;
use crate::results::{CaseResult, Run};

pub(super) fn report(run: &Run) -> String {
    let mut text = format!("{BEGIN}\n");
    machine(&mut text, run);
    let _ = writeln!(
        text,
        "| work | figure | contender | median | min – max | ratio | goal | remarks |"
    );
    let _ = writeln!(text, "|---|---|---|---:|---:|---:|---|---|");
    for case in &run.cases {
        case_rows(&mut text, case);
    }
    if let Some(tally) = value::tally(run) {
        let _ = writeln!(text, "\n{tally}.");
    }
    let _ = writeln!(text, "{END}");
    text
}

/// Replaces what stands between the markers in the file at `path`.
pub(crate) fn replace_in(path: &Path, report: &str) -> Result<(), String> {
    let name = path.display();
    let old =
        std::fs::read_to_string(path).map_err(|error| format!("failed to read {name}: {error}"))?;
    let new = replace(&old, report)
        .ok_or_else(|| format!("{name} has no markers `{BEGIN}` and `{END}`"))?;
    std::fs::write(path, new).map_err(|error| format!("failed to write {name}: {error}"))
}

fn replace(old: &str, report: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{}{after}", report.trim_end()))
}

fn machine(text: &mut String, run: &Run) {
    let machine = &run.machine;
    let versions: Vec<String> = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let load = |load: Option<f64>| load.map_or_else(|| "?".to_owned(), |load| format!("{load:.1}"));
    let (before, after) = (load(machine.load_before), load(machine.load_after));
    let _ = writeln!(text, "### Machine\n");
    let Machine {
        date,
        cpu,
        cores,
        system,
        ..
    } = machine;
    let _ = writeln!(text, "- {date}, {cpu}, {cores} cores, {system}");
    let _ = writeln!(text, "- {}", versions.join(", "));
    let _ = writeln!(
        text,
        "- {} rounds, seed {}; load {before} before and {after} after",
        run.rounds, run.seed
    );
    for caveat in value::caveats(run) {
        let _ = writeln!(text, "- **{caveat}**");
    }
    let _ = writeln!(text, "\n### Tables\n");
}

fn case_rows(text: &mut String, case: &CaseResult) {
    let mut work = value::title(&case.case, case.size);
    for metric in case.main_metrics() {
        let mut label = metric.label;
        for row in case.rows(metric) {
            let figure = |figure: f64| value::value(figure, metric.unit);
            let median = row
                .summary
                .map_or_else(|| "–".to_owned(), |summary| figure(summary.median));
            let spread = row.summary.map_or_else(String::new, |summary| {
                format!("{} – {}", figure(summary.min), figure(summary.max))
            });
            let ratio = row
                .ratio
                .map_or_else(String::new, |ratio| value::digits(ratio.of_medians));
            let goal = row
                .goal
                .as_ref()
                .map_or_else(String::new, |(goal, verdict)| {
                    format!(
                        "{}: **{}**",
                        value::goal(*goal, metric.unit),
                        value::verdict(verdict)
                    )
                });
            let remarks = value::remarks(&row).replace('|', "\\|");
            let contender = row.contender;
            let _ = writeln!(
                text,
                "| {work} | {label} | {contender} | {median} | {spread} | {ratio} | {goal} | {remarks} |"
            );
            // A word that stands in the row above is not repeated.
            work.clear();
            label = "";
        }
    }
}

const BEGIN: &str =
    "<!-- results: begin, written by `cargo xtask bench core --format markdown --into FILE` -->";
const END: &str = "<!-- results: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_what_is_between_the_markers() {
        let old = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let report = format!("{BEGIN}\nnew\n{END}\n");
        assert_eq!(
            replace(&old, &report),
            Some(format!("before\n{BEGIN}\nnew\n{END}\nafter\n"))
        );
        assert_eq!(replace("no markers", &report), None);
    }
}
