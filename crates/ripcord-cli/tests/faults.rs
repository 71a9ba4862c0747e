//! Each fault leaves its evidence in the report; the report keeps to its schema.
//!
//! What is checked is that something is there, never how long it took.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use serde_json::Value;
use support::{cause, report, rows, run};

/// A short run with one fault, which comes early whatever its rate.
fn demo(fault: &str) -> Value {
    let (code, out, err) = run(&[
        "demo",
        "--seconds",
        "2",
        "--rate",
        "60",
        "--concurrency",
        "8",
        "--seed",
        "1",
        "--fault",
        fault,
        "--format",
        "json",
    ]);
    assert_eq!(code, 0, "{err}");
    let report = report(&out);
    assert!(report["requests"]["ok"].as_u64() > Some(0), "{out}");
    let injected = rows(&report, "faults", |row| row["name"] == fault);
    if fault != "none" {
        assert!(injected[0]["injected"].as_u64() > Some(0), "{out}");
    }
    report
}

/// The one row of those that overran with this name.
fn overran<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = rows(report, "overran", |row| row["name"] == name);
    assert_eq!(found.len(), 1, "`{name}` in {:#}", report["overran"]);
    found[0]
}

/// Whether a place is in a file of the demo, with a line.
fn is_in(place: &Value, file: &str) -> bool {
    let place = place.as_str().unwrap_or_default();
    place.contains(&format!("demo/{file}:"))
}

fn outcome(report: &Value, name: &str) -> u64 {
    let outcomes = report["requests"]["outcomes"].as_array().unwrap();
    let row = outcomes.iter().find(|row| row["outcome"] == name).unwrap();
    row["count"].as_u64().unwrap()
}

/// How many requests of a service were stopped by this kind of cause.
fn stopped(report: &Value, route: &str, kind: &str) -> u64 {
    let found = rows(report, "stopped_requests", |row| row["route"] == route);
    found.iter().map(|row| cause(row, kind)).sum()
}

#[test]
fn slow_risk_runs_out_of_time() {
    let report = demo("slow-risk");
    assert!(outcome(&report, "deadline_exceeded") > 0);
    // On a machine that is busy, the caller's deadline may come first.
    let score =
        ["deadline_exceeded", "peer_gone"].map(|kind| stopped(&report, "POST /score", kind));
    assert!(score.iter().sum::<u64>() > 0);
}

#[test]
fn a_hang_up_reaches_the_last_service() {
    let report = demo("hang-up");
    assert!(outcome(&report, "hung_up") > 0);
    for route in ["POST /checkout", "POST /orders", "POST /score"] {
        assert!(stopped(&report, route, "peer_gone") > 0, "{route}");
    }
    let tasks = rows(&report, "tasks", |row| row["name"] == "POST /score");
    assert!(tasks.iter().any(|task| cause(task, "peer_gone") > 0));
}

#[test]
fn who_blocks_its_thread_is_named() {
    let report = demo("blocked-thread");
    let row = overran(&report, "POST /score");
    assert_eq!(row["state"], "blocks_its_thread", "{row:#}");
    assert!(is_in(&row["spawned_at"], "risk.rs"), "{row:#}");
}

#[test]
fn a_deaf_loop_is_named_with_its_spawn_and_its_await() {
    let report = demo("deaf-loop");
    let row = overran(&report, "recount stock");
    assert_eq!(row["state"], "waits", "{row:#}");
    assert!(is_in(&row["spawned_at"], "inventory.rs"), "{row:#}");
    assert!(is_in(&row["waits"][0]["at"], "inventory.rs"), "{row:#}");
    assert_eq!(
        row["waits"][0]["waits_for"], "tokio::time::sleep",
        "{row:#}"
    );
    assert_ne!(row["waits"][0]["at"], row["spawned_at"], "{row:#}");
    assert!(row["aborted"].as_u64() > Some(0), "{row:#}");
}

#[test]
fn a_nested_timeout_names_who_set_the_outer_one() {
    let report = demo("nested-timeout");
    let rows = rows(&report, "nested_timeouts", |row| row["is_always"] == true);
    assert_eq!(rows.len(), 1, "{:#}", report["nested_timeouts"]);
    let row = rows[0];
    assert_eq!(row["name"], "risk tier");
    assert_eq!(row["asked_ms"], 5000.0);
    assert_eq!(row["owner"], "POST /orders");
    assert!(is_in(&row["site"], "order.rs"), "{row:#}");
    assert!(is_in(&row["owner_site"], "order.rs"), "{row:#}");
    assert_ne!(row["site"], row["owner_site"]);
}

#[test]
fn a_task_that_outlives_its_request_is_named() {
    let report = demo("outlive");
    let row = overran(&report, "audit trail");
    assert!(cause(row, "dropped") > 0, "{row:#}");
    assert!(is_in(&row["spawned_at"], "notify.rs"), "{row:#}");
    assert!(is_in(&row["waits"][0]["at"], "notify.rs"), "{row:#}");
}

#[test]
fn a_slow_query_is_interrupted() {
    let report = demo("slow-query");
    let interrupted = &report["database"]["interrupted"];
    assert!(interrupted["count"].as_u64() > Some(0), "{interrupted:#}");
    assert!(interrupted["max_ms"].is_number(), "{interrupted:#}");
    let tasks = rows(&report, "tasks", |row| row["name"] == "query stock report");
    assert!(tasks[0]["count"].as_u64() > Some(0), "{:#}", tasks[0]);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_load_early_and_the_report_is_complete() {
    let report = demo("signal");
    assert_eq!(report["run"]["ended_by"], "signal");
    assert_eq!(report["run"]["is_cut_short"], false);
    assert!(report["run"]["seconds"].as_f64() < Some(2.0));
    assert_eq!(outcome(&report, "cut_short"), 0);
}

#[test]
fn without_faults_nothing_is_interrupted() {
    let report = demo("none");
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["database"]["interrupted"]["count"], 0);
    assert!(report["database"]["interrupted"]["p50_ms"].is_null());
    assert_eq!(report["nested_timeouts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn the_text_answers_in_a_fixed_order() {
    let args = ["demo", "--seconds", "2", "--rate", "200", "--quiet"];
    let (code, out, err) = run(&args);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut rest = out.as_str();
    for heading in [
        "ripcord demo: ",
        "\nRequests\n",
        "\nFaults injected\n",
        "\nRequests that were stopped",
        "\nFrom \"asked to stop\" to \"gone\"\n",
        "\nOverran",
        "\nNested time-outs",
        "\nDatabase and cache\n",
        "\nDropped or not counted\n",
    ] {
        let at = rest.find(heading);
        let at = at.unwrap_or_else(|| panic!("{heading:?} is missing or out of order: {out}"));
        rest = &rest[at..];
    }
}
