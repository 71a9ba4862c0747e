//! The whole chain: a real program, the demo, is recorded to a file, and every command reads that file.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use serde_json::Value;
use support::run;
use support::traces::folder;

fn json(args: &[&str]) -> Value {
    let (code, out, err) = run(args);
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
}

#[test]
fn the_demo_is_recorded_and_every_command_reads_it() {
    let folder = folder("recorded-chain");
    let trace = folder.join("demo.ript").to_str().unwrap().to_owned();
    let ripcord = env!("CARGO_BIN_EXE_ripcord");
    let demo = [
        "trace",
        "record",
        "--output",
        &trace,
        "--",
        ripcord,
        "demo",
        "--seconds",
        "1",
        "--rate",
        "60",
        "--concurrency",
        "4",
        "--fault",
        "outlive",
        "--quiet",
    ];
    let (code, out, err) = run(&demo);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Why, by its own recording"), "{out}");
    let (code, _, err) = run(&demo);
    assert_eq!(code, 12, "the file is there already: {err}");

    let (code, out, err) = run(&["trace", "check", &trace]);
    assert_eq!(code, 0, "{out}{err}");
    let info = json(&["trace", "info", &trace, "--format", "json"]);
    let text = info.to_string();
    for event in ["task_spawn", "poll_listening", "ctx_tag", "wake", "park"] {
        assert!(text.contains(&format!("\"{event}\"")), "{event} in {text}");
    }
    let (code, out, err) = run(&["explain", &trace, "--late-ms", "100"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("task audit trail waited"), "{out}");
    assert!(out.contains("notify.rs:"), "{out}");
    for command in ["tasks", "contexts", "ghosts", "critical-path"] {
        json(&["trace", command, &trace, "--format", "json"]);
    }
    json(&["trace", "diff", &trace, &trace, "--format", "json"]);
    for form in ["perfetto", "chrome", "otlp", "text"] {
        let out = folder.join(form).to_str().unwrap().to_owned();
        let (code, _, err) = run(&["trace", "export", form, &trace, "--output", &out]);
        assert_eq!(code, 0, "{form}: {err}");
        assert!(std::fs::metadata(&out).unwrap().len() > 1_000, "{form}");
    }
}

/// A program is not kept from running because it cannot be recorded; the demo, which is there to be
/// recorded, says so instead.
#[test]
fn a_file_that_exists_is_not_overwritten() {
    let folder = folder("recorded-exists");
    let trace = folder.join("kept.ript");
    std::fs::write(&trace, "mine").unwrap();
    let mut command = support::ripcord(&["demo", "--seconds", "1", "--quiet"]);
    let output = command.env("RIPCORD_TRACE", &trace).output().unwrap();
    let (code, _, err) = support::taken_apart(&output);
    assert_ne!(code, 0);
    assert!(
        err.contains("there is something; choose another name"),
        "{err}"
    );
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "mine");
    let output = support::ripcord(&["demo", "--seconds", "1", "--quiet"])
        .env("RIPCORD_TRACE", folder.join("new.ript"))
        .env("RIPCORD_TRACE_MODE", "fast")
        .output()
        .unwrap();
    let (code, _, err) = support::taken_apart(&output);
    assert_ne!(code, 0);
    assert!(err.contains("`fast` is none of"), "{err}");
}

/// What `RIPCORD_TRACE_WORST` names gets small traces of the worst requests, each of which tells why.
#[test]
fn the_worst_requests_of_each_route_are_cut_out_and_explained() {
    let folder = folder("recorded-worst").join("worst");
    let mut command = support::ripcord(&[
        "demo",
        "--seconds",
        "1",
        "--rate",
        "60",
        "--concurrency",
        "4",
        "--fault",
        "outlive",
        "--quiet",
    ]);
    command.env("RIPCORD_TRACE_WORST", &folder);
    let output = command.env("RIPCORD_TRACE_WORST_PER_ROUTE", "2").output();
    let (code, _, err) = support::taken_apart(&output.unwrap());
    assert_eq!(code, 0, "{err}");
    let files = std::fs::read_dir(&folder).unwrap();
    let names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut stories = Vec::new();
    for name in &names {
        let path = folder.join(name).to_str().unwrap().to_owned();
        let (code, out, err) = run(&["trace", "check", &path]);
        assert_eq!(code, 0, "{name}: {out}{err}");
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < 100_000, "{name}: {length}");
        let (code, out, err) = run(&["explain", &path, "--late-ms", "100"]);
        assert_eq!(code, 0, "{name}: {err}");
        if out.contains("task audit trail waited") {
            assert!(out.starts_with("POST /receipts #"), "{out}");
            assert!(out.contains("notify.rs:"), "{out}");
            stories.push(name);
        }
    }
    let receipts = names
        .iter()
        .filter(|name| name.ends_with("-worst-POST__receipts.ript"));
    assert_eq!(receipts.count(), 2, "{names:?}");
    assert!(!stories.is_empty(), "{names:?}");
    assert!(stories.iter().all(|name| name.contains("POST__receipts")));
}
