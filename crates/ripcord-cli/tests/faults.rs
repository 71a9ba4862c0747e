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

/// What the demo's recording of itself says of a fault: one of these is to blame, at a line of one of
/// these files; none where nobody is to be blamed with a line.
fn explained<'a>(report: &'a Value, fault: &str, blames: &[&str], files: &[&str]) -> &'a str {
    let recording = &report["recording"];
    assert!(recording["error"].is_null(), "{recording:#}");
    let stories = recording["faults"].as_array().unwrap();
    let story = stories.iter().find(|story| story["fault"] == fault);
    let story = story.unwrap_or_else(|| panic!("`{fault}` is not explained: {recording:#}"));
    let blame = story["blame"].as_str().unwrap();
    assert!(blames.contains(&blame), "{story:#}");
    let at = story["at"].as_str().unwrap_or_default();
    let is_in = |file: &&str| at.starts_with(&format!("{file}:"));
    assert!(files.is_empty() || files.iter().any(is_in), "{story:#}");
    story["sentence"].as_str().unwrap()
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
        ["deadline_exceeded", "peer_gone"].map(|kind| stopped(&report, "/shop.Risk/Score", kind));
    assert!(score.iter().sum::<u64>() > 0);
    let blames = ["ran_out", "peer_gone"];
    let sentence = explained(&report, "slow-risk", &blames, &["risk.rs", "order.rs"]);
    let says = ["ran out of time while task", "as its peer was gone"];
    assert!(
        says.iter().any(|part| sentence.contains(part)),
        "{sentence}"
    );
}

#[test]
fn a_hang_up_reaches_the_last_service() {
    let report = demo("hang-up");
    assert!(outcome(&report, "hung_up") > 0);
    for route in ["POST /checkout", "POST /orders", "/shop.Risk/Score"] {
        assert!(stopped(&report, route, "peer_gone") > 0, "{route}");
    }
    let tasks = rows(&report, "tasks", |row| row["name"] == "/shop.Risk/Score");
    assert!(tasks.iter().any(|task| cause(task, "peer_gone") > 0));
    let sentence = explained(&report, "hang-up", &["peer_gone"], &[]);
    assert!(sentence.contains("as its peer was gone"), "{sentence}");
}

#[test]
fn who_blocks_its_thread_is_named() {
    let report = demo("blocked-thread");
    let row = overran(&report, "/shop.Risk/Score");
    assert_eq!(row["state"], "blocks_its_thread", "{row:#}");
    assert!(is_in(&row["spawned_at"], "risk.rs"), "{row:#}");
    let sentence = explained(&report, "blocked-thread", &["long_poll"], &["risk.rs"]);
    assert!(
        sentence.contains("in polls of /shop.Risk/Score"),
        "{sentence}"
    );
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
    let sentence = explained(&report, "deaf-loop", &["deaf_await"], &["inventory.rs"]);
    let says = "task recount stock waited";
    assert!(
        sentence.contains(says) && sentence.contains("tokio::time::sleep"),
        "{sentence}"
    );
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
    // It came with the request, so no line of the order service has set it.
    assert_eq!(row["owner_source"], "caller", "{row:#}");
    let sentence = explained(&report, "nested-timeout", &["never_fires"], &["order.rs"]);
    assert!(sentence.contains("can never fire"), "{sentence}");
}

#[test]
fn a_task_that_outlives_its_request_is_named() {
    let report = demo("outlive");
    let row = overran(&report, "audit trail");
    assert!(cause(row, "dropped") > 0, "{row:#}");
    assert!(is_in(&row["spawned_at"], "notify.rs"), "{row:#}");
    assert!(is_in(&row["waits"][0]["at"], "notify.rs"), "{row:#}");
    let sentence = explained(&report, "outlive", &["deaf_await"], &["notify.rs"]);
    assert!(sentence.contains("task audit trail waited"), "{sentence}");
}

#[test]
fn a_slow_query_is_interrupted() {
    let report = demo("slow-query");
    let interrupted = &report["database"]["interrupted"];
    assert!(interrupted["count"].as_u64() > Some(0), "{interrupted:#}");
    assert!(interrupted["max_ms"].is_number(), "{interrupted:#}");
    let tasks = rows(&report, "tasks", |row| row["name"] == "query stock report");
    assert!(tasks[0]["count"].as_u64() > Some(0), "{:#}", tasks[0]);
    // On a machine that is busy, the caller's deadline may come first.
    let blames = ["ran_out", "peer_gone", "deadline_exceeded"];
    let sentence = explained(&report, "slow-query", &blames, &[]);
    let says = [
        "query stock report had run for",
        "waited",
        "as its peer was gone",
    ];
    assert!(
        says.iter().any(|part| sentence.contains(part)),
        "{sentence}"
    );
}

#[test]
fn an_upload_that_nobody_reads_ends_with_its_client() {
    let report = demo("unread-upload");
    let uploads = &report["unread_uploads"];
    if cfg!(target_os = "linux") {
        assert!(
            uploads["noticed"]["count"].as_u64() > Some(0),
            "{uploads:#}"
        );
        assert_eq!(uploads["unnoticed"], 0, "{uploads:#}");
        assert!(stopped(&report, "PUT /photos", "peer_gone") > 0);
        let tasks = rows(&report, "tasks", |row| row["name"] == "PUT /photos");
        assert!(cause(tasks[0], "peer_gone") > 0, "{:#}", tasks[0]);
        let sentence = explained(&report, "unread-upload", &["peer_gone"], &[]);
        assert!(sentence.contains("as its peer was gone"), "{sentence}");
    } else {
        assert!(uploads["unnoticed"].as_u64() > Some(0), "{uploads:#}");
    }
}

#[test]
fn a_callee_that_ignores_its_deadline_is_named_and_its_caller_is_not_held() {
    let report = demo("ignores-deadline");
    let went_on = &report["went_on"];
    assert_eq!(went_on["route"], "POST /tax");
    let callers = &went_on["callers_gave_up"];
    let callee = &went_on["callee_over"];
    assert!(callers["count"].as_u64() > Some(0), "{went_on:#}");
    assert!(callee["count"].as_u64() > Some(0), "{went_on:#}");
    let sentence = explained(&report, "ignores-deadline", &["ran_out"], &["order.rs"]);
    let says = ["tax tier", "ran out of time while task call tax waited"];
    assert!(
        says.iter().all(|part| sentence.contains(part)),
        "{sentence}"
    );
}

#[test]
fn a_wrong_clock_harms_a_fifth_at_the_most_and_only_where_it_is_believed() {
    let report = demo("wrong-clock");
    let clock = &report["wrong_clock"];
    for sort in ["relative", "absolute_untrusted"] {
        let row = &clock[sort];
        assert!(row["sent"].as_u64() > Some(0), "{clock:#}");
        assert_eq!(row["ok"], row["sent"], "{clock:#}");
    }
    let trusted = &clock["absolute_trusted"];
    let of = |name: &str| trusted[name].as_u64().unwrap();
    assert_eq!(of("ok") + of("refused"), of("sent"), "{clock:#}");
    assert!(of("refused") > 0, "{clock:#}");
    // A fifth rounded up, in each of at most two windows of ten seconds.
    assert!(of("refused") <= of("sent").div_ceil(5) + 1, "{clock:#}");
    assert_eq!(
        stopped(&report, "POST /partner/checkout", "deadline_exceeded"),
        of("refused")
    );
    let sentence = explained(&report, "wrong-clock", &["deadline_exceeded"], &[]);
    assert!(
        sentence.contains("began when its deadline had passed"),
        "{sentence}"
    );
}

#[test]
fn a_stale_timeout_does_not_arrive() {
    let report = demo("stale-timeout");
    let stale = &report["stale_timeouts"];
    let calls = stale["arrived"]["count"].as_u64();
    assert!(calls > Some(0), "{stale:#}");
    assert_eq!(stale["mended"].as_u64(), calls, "{stale:#}");
    let least = |name: &str| stale[name]["p50_ms"].as_f64();
    assert!(least("arrived") < least("forwarded"), "{stale:#}");
    // Nothing came of it, so nobody is blamed.
    explained(&report, "stale-timeout", &["dropped"], &[]);
}

#[test]
fn a_budget_shrinks_from_hop_to_hop() {
    let report = demo("slow-risk");
    let picks = ["typical", "slowest", "out_of_time"];
    for (budget, pick) in report["budgets"].as_array().unwrap().iter().zip(picks) {
        assert_eq!(budget["pick"], pick, "{budget:#}");
        let hops = budget["hops"].as_array().unwrap();
        assert_eq!(hops[0]["route"], "POST /checkout");
        assert_eq!(hops[1]["route"], "POST /orders");
        let left = |hop: &Value| hop["left_ms"].as_f64().unwrap();
        assert!(left(&hops[1]) < left(&hops[0]), "{budget:#}");
        for hop in &hops[2..] {
            assert!(left(hop) < left(&hops[1]), "{budget:#}");
        }
        assert!(
            hops.iter().any(|hop| hop["service"] == "risk"),
            "{budget:#}"
        );
    }
    let late = rows(&report, "budgets", |row| row["pick"] == "out_of_time");
    let mut hops = late[0]["hops"].as_array().unwrap().iter();
    let risk = hops.find(|hop| hop["service"] == "risk").unwrap();
    assert_eq!(risk["limited_by"], "risk tier", "{risk:#}");
    assert_eq!(late[0]["answer"], "504");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_load_early_and_the_report_is_complete() {
    let report = demo("signal");
    assert_eq!(report["run"]["ended_by"], "signal");
    assert_eq!(report["run"]["is_cut_short"], false);
    assert!(report["run"]["seconds"].as_f64() < Some(2.0));
    assert_eq!(outcome(&report, "cut_short"), 0);
    let sentence = explained(&report, "signal", &["shutdown", "signal"], &[]);
    assert!(
        sentence.contains("by a shutdown") || sentence.contains("by a signal"),
        "{sentence}"
    );
}

#[test]
fn without_faults_nothing_is_interrupted() {
    let report = demo("none");
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["database"]["interrupted"]["count"], 0);
    assert!(report["database"]["interrupted"]["p50_ms"].is_null());
    assert_eq!(report["nested_timeouts"].as_array().map(Vec::len), Some(0));
    for row in report["connections"].as_array().unwrap() {
        assert!(
            row["error"].is_null() && row["stuck"] == 0 && row["forced"] == 0,
            "{row:#}"
        );
    }
    // A machine that is busy may make something late; that nobody listened is never the reason.
    let recording = &report["recording"];
    assert!(recording["error"].is_null() && recording["faults"] == serde_json::json!([]));
    assert_eq!(recording["events_missing"], 0);
    for story in recording["latest"].as_array().unwrap() {
        let blame = story["blame"].as_str().unwrap_or_default();
        let blamed = ["deaf_await", "lost_waker", "blocking_job", "slow_clean_up"];
        assert!(!blamed.contains(&blame), "{story:#}");
    }
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
        "\nBudgets: ",
        "\nRequests that were stopped",
        "\nFrom \"asked to stop\" to \"gone\"\n",
        "\nOverran",
        "\nWent on after its deadline",
        "\nNested time-outs",
        "\nCallers that misbehaved\n",
        "\nDatabase and cache\n",
        "\nWhy, by its own recording\n",
        "\nDropped or not counted\n",
    ] {
        let at = rest.find(heading);
        let at = at.unwrap_or_else(|| panic!("{heading:?} is missing or out of order: {out}"));
        rest = &rest[at..];
    }
}
