//! The page of Prometheus and the rules agree, and promtool accepts them.

mod told;

use ripcord_core::tasks::PollEnd;
use ripcord_tracer::Mode;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use told::Told;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The page of a program in which a task waits.
fn page() -> String {
    let told = Told::with(|builder| builder.mode(Mode::Metrics));
    let (root, _guard) = told.root_unnamed();
    let task = told.spawn(1_000_001, &root, "task");
    let turn = told.tasks.poll_started(task.by, None, Some(0));
    told.clock.advance(Duration::from_micros(3));
    turn.end(PollEnd::Pending, Some("a \"quoted\"\nwait"));
    told.recorder.metrics().prometheus()
}

/// Names of samples, without labels.
fn rendered() -> BTreeSet<String> {
    let page = page();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next());
    names.map(str::to_owned).collect()
}

/// Words that look like names of metrics; recorded ones have colons.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("ripcord_") && !word.contains(':'))
        .map(str::to_owned)
        .collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(file)).expect("it is there")
}

#[test]
fn the_names_in_the_rules_are_on_the_page() {
    let rendered = rendered();
    for file in [
        "alerts/ripcord-tracer.rules.yml",
        "alerts/ripcord-tracer.test.yml",
    ] {
        let names = names_in(&read(file));
        assert!(names.len() >= 8, "{file}: {names:?}");
        let unknown: Vec<_> = names.difference(&rendered).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} of {rendered:#?}");
    }
}

/// Both pages may be served as one, and Prometheus refuses a name that comes twice.
#[test]
fn no_name_is_one_of_ripcord_otel() {
    let others = names_in(&read("../ripcord-otel/dashboards/ripcord-grafana.json"));
    assert!(others.len() >= 5, "{others:?}");
    let both: Vec<_> = rendered().intersection(&others).cloned().collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn the_page_groups_each_metric_and_repeats_no_series() {
    let page = page();
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().expect("a name");
            assert!(families.insert(family), "{line} comes twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} below {family}");
            let (name, _) = line.rsplit_once(' ').expect("a value");
            assert!(series.insert(name), "{line} comes twice");
        }
    }
    let wait = "ripcord_tasks_blocked{reason=\"a \\\"quoted\\\"\\nwait\"} 1\n";
    assert!(page.contains(wait), "{page}");
    for line in [
        "ripcord_poll_duration_seconds_bucket{le=\"0.000002\"} 0\n",
        "ripcord_poll_duration_seconds_bucket{le=\"0.000004\"} 1\n",
        "ripcord_poll_duration_seconds_bucket{le=\"+Inf\"} 1\n",
        "ripcord_poll_duration_seconds_sum 0.000003\n",
        "ripcord_polls_total{end=\"pending\"} 1\n",
    ] {
        assert!(page.contains(line), "{line} of {page}");
    }
    assert!(page.ends_with('\n'));
}

/// Runs promtool; `None`, and a word to whoever reads the output, where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let name = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let child = Command::new(name)
        .args(arguments)
        .current_dir(FOLDER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            // Past the capture of the test's output: a check that did not run is no secret.
            let note = format!(
                "promtool {}: not checked, promtool cannot be run ({error}); it is in the package \
                 `prometheus`, or name it by PROMTOOL\n",
                arguments.join(" ")
            );
            let _ = io::stderr().write_all(note.as_bytes());
            return None;
        }
    };
    // Dropped at once, so that promtool sees the end.
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said.into_owned()))
}

#[test]
fn promtool_accepts_the_page() {
    let page = page();
    if let Some((is_fine, said)) = promtool(&["check", "metrics"], &page) {
        assert!(is_fine && said.is_empty(), "{said}\n{page}");
    }
}

#[test]
fn promtool_accepts_the_rules() {
    let file = "alerts/ripcord-tracer.rules.yml";
    if let Some((is_fine, said)) = promtool(&["check", "rules", file], "") {
        assert!(is_fine, "{said}");
    }
}

#[test]
fn the_rules_fire_when_they_should() {
    let file = "alerts/ripcord-tracer.test.yml";
    if let Some((is_fine, said)) = promtool(&["test", "rules", file], "") {
        assert!(is_fine, "{said}");
    }
}
