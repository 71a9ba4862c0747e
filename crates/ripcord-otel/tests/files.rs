//! The page of Prometheus, the dashboard and the rules agree, and promtool accepts them.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use http::HeaderMap;
use ripcord_core::Kind;
use ripcord_otel::Prometheus;
use ripcord_otel::otlp::{Otlp, Protocol};
use ripcord_propagation::{Call, CallObserver, CallSpan, Exchange, GrpcCode, Propagation, Side};
use ripcord_test::TestClock;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::{fetch, get, headers, rpc};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The page of a process in which everything has happened once.
fn full_page() -> String {
    let prometheus = Prometheus::new();
    let guard = Otlp::builder()
        .service_name("shop \"blue\"\n")
        .endpoint("http://127.0.0.1:9")
        .protocol(Protocol::HttpBinary)
        .timeout(Duration::from_millis(1))
        .prometheus(&prometheus)
        .without_globals()
        .build()
        .unwrap();
    let telemetry = guard.telemetry().leaked_tasks(|| 2).build();
    let observer: Arc<dyn CallObserver> = Arc::new(telemetry);
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let serve = |call: Call<'_>, lines: &HeaderMap| {
        let incoming = Propagation::default().extract(lines);
        Exchange::begin(&root, incoming, call, root.clock_now(), Some(&observer))
    };
    let lines = headers(&[("x-request-timeout-ms", "100"), ("traceparent", "00-x")]);
    let mut late = serve(get("/orders"), &lines);
    late.routed("/orders/{id}");
    clock.advance(Duration::from_secs(1));
    late.answered(504);
    late.complete();
    let mut served = serve(rpc(Side::Server, "/a.B/C"), &HeaderMap::new());
    served.grpc_status(GrpcCode::Ok);
    for call in [fetch("/stock"), rpc(Side::Client, "/d.E/F")] {
        let mut carried = Propagation::default().for_call(served.ctx());
        let mut made = CallSpan::begin(served.ctx(), &mut carried, call, Some(&observer));
        made.answered(500);
        made.grpc_status(GrpcCode::Unavailable);
        made.complete();
    }
    drop(served);
    let (ctx, guard_of_call) = root.child();
    guard_of_call.cancel(Kind::Shutdown);
    assert!(ctx.is_done());
    prometheus.render()
}

/// Names of samples, without labels.
fn rendered() -> BTreeSet<String> {
    let page = full_page();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// Words of an expression that look like names of our metrics; recorded ones have colons.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| !word.contains(':'))
        .filter(|word| {
            ["http_server_", "http_client_", "rpc_", "ripcord_"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        // Labels of the conventions, and names of other things of ours.
        .filter(|word| !["rpc_response_status_code", "ripcord_tokio"].contains(word))
        .map(str::to_owned)
        .collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(file)).unwrap()
}

#[test]
fn the_names_in_dashboard_and_rules_are_rendered() {
    let rendered = rendered();
    for file in [
        "dashboards/ripcord-grafana.json",
        "alerts/ripcord.rules.yml",
        "alerts/ripcord.test.yml",
    ] {
        let names = names_in(&read(file));
        assert!(names.len() >= 5, "{file}: {names:?}");
        let unknown: Vec<_> = names.difference(&rendered).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} of {rendered:#?}");
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let shown = names_in(&read("dashboards/ripcord-grafana.json"));
    let ends = ["_bucket", "_sum", "_count"];
    let family = |name: &str| {
        let end = ends.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<_> = shown.iter().map(|name| family(name)).collect();
    for name in rendered() {
        assert!(
            name == "target_info" || shown.contains(&family(&name)),
            "{name}"
        );
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("dashboards/ripcord-grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
            "{panel}"
        );
        if panel["type"] != "row" {
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
            assert!(
                panel["description"].as_str().unwrap().ends_with('.'),
                "{panel}"
            );
        }
    }
    assert!(panels.len() >= 12);
}

#[test]
fn the_page_groups_each_metric_and_repeats_no_series() {
    let page = full_page();
    let mut families = BTreeSet::new();
    let mut series = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                families.insert(rest.split(' ').next().unwrap()),
                "{line} comes twice"
            );
        } else if !line.starts_with('#') {
            assert!(
                series.insert(line.rsplit_once(' ').unwrap().0),
                "{line} comes twice"
            );
        }
    }
    assert!(
        page.contains("service_name=\"shop \\\"blue\\\"\\n\""),
        "{page}"
    );
    assert!(page.ends_with('\n'));
}

/// Runs promtool; `None`, and a word to whoever reads the output, where it is not installed.
fn promtool(arguments: &[&str], input: Option<&str>) -> Option<(bool, String)> {
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
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(input.unwrap_or_default().as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said.into_owned()))
}

#[test]
fn promtool_accepts_the_page() {
    let page = full_page();
    if let Some((is_fine, said)) = promtool(&["check", "metrics"], Some(&page)) {
        assert!(is_fine && said.is_empty(), "{said}\n{page}");
    }
}

#[test]
fn promtool_accepts_the_rules() {
    if let Some((is_fine, said)) = promtool(&["check", "rules", "alerts/ripcord.rules.yml"], None) {
        assert!(is_fine, "{said}");
    }
}

#[test]
fn promtool_accepts_the_queries_of_the_dashboard() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("dashboards/ripcord-grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut rules = "groups: [{name: dashboard, rules: [\n".to_owned();
    for (number, target) in targets.enumerate() {
        let query = target["expr"].as_str().unwrap();
        let query = query
            .replace("$__rate_interval", "5m")
            .replace("$job", ".+");
        let query = serde_json::Value::from(query);
        let _ = writeln!(rules, "  {{record: 'query:{number}', expr: {query}}},");
    }
    rules += "]}]\n";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard.rules.yml");
    std::fs::write(&file, &rules).unwrap();
    if let Some((is_fine, said)) = promtool(&["check", "rules", file.to_str().unwrap()], None) {
        assert!(is_fine, "{said}\n{rules}");
    }
}

#[test]
fn the_rules_fire_when_they_should() {
    if let Some((is_fine, said)) = promtool(&["test", "rules", "alerts/ripcord.test.yml"], None) {
        assert!(is_fine, "{said}");
    }
}
