//! The report for a README, between two markers, so that nobody types a figure by hand.

use std::fmt::Write;
use std::path::Path;

use super::value;
use crate::machine::Machine;
use crate::results::{CaseResult, Run};
use crate::subject::Subject;

pub(super) fn report(run: &Run) -> String {
    let mut text = format!("{}\n", begin(run.subject));
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
pub(crate) fn replace_in(path: &Path, subject: Subject, report: &str) -> Result<(), String> {
    let name = path.display();
    let begin = begin(subject);
    let old =
        std::fs::read_to_string(path).map_err(|error| format!("failed to read {name}: {error}"))?;
    let new = replace(&old, &begin, report)
        .ok_or_else(|| format!("{name} has no markers `{begin}` and `{END}`"))?;
    std::fs::write(path, new).map_err(|error| format!("failed to write {name}: {error}"))
}

fn replace(old: &str, begin: &str, report: &str) -> Option<String> {
    let (before, rest) = old.split_once(begin)?;
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
                .map_or_else(String::new, |ratio| value::ratio(ratio.of_medians));
            let goal = value::judged(&row, metric.unit, |verdict| format!("**{verdict}**"));
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

/// Names the subject, so that a report never takes the place of another one's.
fn begin(subject: Subject) -> String {
    let word = subject.word();
    format!(
        "<!-- results: begin, written by `cargo xtask bench {word} --format markdown --into FILE` -->"
    )
}

const END: &str = "<!-- results: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_what_is_between_the_markers_of_the_subject() {
        let [core, http] = [Subject::Core, Subject::Http].map(begin);
        let file =
            |text: &str| format!("{core}\ncore\n{END}\nbetween\n{http}\n{text}\n{END}\nafter\n");
        let report = format!("{http}\nnew\n{END}\n");
        assert_eq!(replace(&file("old"), &http, &report), Some(file("new")));
        assert_eq!(replace("no markers", &http, &report), None);
    }
}
