//! `ripcord trace` on good traces: what it answers, in both forms, and what never reaches the terminal.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use serde_json::Value;
use support::run;
use support::traces::{block, file, folder, late, thread, trace};

/// The answer for programs, which came with this exit code.
fn json(args: &[&str], expect: i32) -> Value {
    let args = [args, &["--format", "json"]].concat();
    let (code, out, err) = run(&args);
    assert_eq!((code, err.as_str()), (expect, ""), "{args:?}: {out}");
    is_harmless(&out);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
}

/// The answer for people.
fn text(args: &[&str]) -> String {
    let (code, out, err) = run(args);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
    is_harmless(&out);
    out
}

/// Nothing that a terminal might obey.
fn is_harmless(text: &str) {
    let noisy = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(noisy, None, "{text:?}");
}

#[test]
fn info_counts_what_is_there() {
    let folder = folder("info");
    let path = trace(&folder, "a.ript", &late());
    let info = json(&["trace", "info", &path], 0);
    assert_eq!(info["schema"], "ripcord.trace.info/1");
    assert_eq!(info["trace"]["state"], "complete");
    assert_eq!(info["header"]["program"], "shop");
    assert_eq!(info["events"], 20);
    assert_eq!(info["span"]["nanoseconds"], 4_600_006_000_u64);
    assert_eq!(info["threads"]["1"]["kind"], "worker");
    assert_eq!(info["threads"]["1"]["name"], "worker\u{7}-0");
    let polls = info["types"].as_array().unwrap().iter();
    let polls = polls.filter(|row| row["name"] == "poll_start");
    assert_eq!(
        polls.map(|row| row["count"].as_u64().unwrap()).sum::<u64>(),
        2
    );
    let shown = text(&["trace", "info", &path]);
    assert!(shown.contains("20 events"), "{shown}");
    assert!(shown.contains(r"worker\u{7}-0"), "{shown}");
}

#[test]
fn check_finds_what_contradicts() {
    let folder = folder("check");
    let good = json(
        &["trace", "check", &trace(&folder, "good.ript", &late())],
        0,
    );
    assert_eq!(
        (&good["faults"]["count"], &good["notes"]["count"]),
        (&0.into(), &0.into())
    );

    let events = [(50, "park"), (60, "unpark")];
    let false_header = thread(1, &events).replace("last=60 events=2", "last=70 events=5");
    let back = thread(1, &[(40, "park")]);
    let totals = [
        (70, "thread_totals thread=1 events=1 dropped=0"),
        (70, "thread_totals thread=2 events=9 dropped=0"),
    ];
    let blocks = format!("{false_header}{back}{}", block("window_end", 0, &totals));
    let bad = json(&["trace", "check", &trace(&folder, "bad.ript", &blocks)], 8);
    let all = |key: &str| {
        let list = bad[key]["first"].as_array().unwrap();
        let lines = list
            .iter()
            .map(|row| row["what"].as_str().unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        all("faults"),
        [
            "the block says 5 events and has 2",
            "the block says it ends at tick 70 and ends at 60",
            "thread 1 goes back from tick 70 to 40",
            "thread 1 says 1 events in this window, and 3 are here",
        ]
    );
    assert_eq!(
        all("notes"),
        ["thread 2 has written 9 events in this window, and 0 are here"]
    );
}

#[test]
fn a_late_request_is_explained() {
    let folder = folder("explain");
    let path = trace(&folder, "a.ript", &late());
    for args in [
        &["trace", "explain", &path][..],
        &["explain", &path],
        &["explain", &path, "--request", "8f3"],
        &["explain", &path, "--request", "90"],
    ] {
        let shown = text(args);
        assert!(
            shown.contains("#8f3 had 3 s and ended 1.6 s late"),
            "{args:?}: {shown}"
        );
        assert!(shown.contains("lock of the cart"), "{args:?}: {shown}");
        let answer = json(args, 0);
        let parts = &answer["explanations"][0]["explanation"]["parts"];
        assert_eq!(parts[0]["blame"], "deaf_await", "{parts}");
        assert_eq!(answer["explanations"][0]["end"]["late"], 1_600_004_000_u64);
    }
    let shown = text(&["explain", &path, "--late-ms", "2000"]);
    assert_eq!(shown, "nothing ended more than 2 s late\n");
}

#[test]
fn tasks_contexts_and_ghosts_are_listed() {
    let folder = folder("lists");
    let path = trace(&folder, "a.ript", &late());
    let tasks = json(&["trace", "tasks", &path], 0);
    assert_eq!(tasks["tasks"][0]["polls"], 2);
    assert!(text(&["trace", "tasks", &path]).contains("risk.check"));

    let contexts = json(&["trace", "contexts", &path], 0);
    assert_eq!(contexts["contexts"][1]["parent"], 90);
    let tree = text(&["trace", "contexts", &path]);
    let lines: Vec<&str> = tree.lines().collect();
    assert!(
        lines[0].contains("#8f3 (root #90), had 3 s, deadline_exceeded after 3 s"),
        "{tree}"
    );
    assert!(
        lines[1].starts_with("  ") && lines[1].contains("(child #91)"),
        "{tree}"
    );

    let ghosts = json(&["trace", "ghosts", &path], 0);
    assert_eq!(ghosts["ghosts"][0]["late"]["count"], 1);
    assert_eq!(
        ghosts["deaf_sites"][0]["place"]["what"],
        "\u{1b}[31mlock of the cart"
    );
    let shown = text(&["trace", "ghosts", &path]);
    assert!(
        shown.contains("went on after the end of their context:"),
        "{shown}"
    );
    assert_eq!(
        text(&["trace", "contexts", &path, "--limit", "1"])
            .lines()
            .last(),
        Some("(1 more)")
    );
}

#[test]
fn budgets_are_told_by_hop_and_by_request() {
    let folder = folder("budgets");
    let path = trace(&folder, "a.ript", &late());
    let shown = text(&["trace", "budgets", &path, "--request", "8f3"]);
    assert!(shown.starts_with("+0 ns GET /orders"), "{shown}");
    assert!(
        shown.contains(": had 3 s of 3 s that the request had left; used 3 s, and ran out"),
        "{shown}"
    );
    is_harmless(&shown);
    let answer = json(&["trace", "budgets", &path, "--request", "8f3"], 0);
    assert_eq!(answer["hops"][0]["ctx"], 90);
    assert_eq!(answer["budgets"][0]["ran_out"], 1);
    let (code, out, err) = run(&["trace", "budgets", &path, "--request", "nope"]);
    assert_eq!((code, out.as_str()), (10, ""), "{err}");

    let path = trace(&folder, "b.ript", &served(0, 20, 1));
    let shown = text(&["trace", "budgets", &path]);
    assert!(shown.contains(": 1 requests, 1 the first hop"), "{shown}");
}

#[test]
fn the_path_to_an_end_has_no_gap() {
    let folder = folder("path");
    let path = trace(&folder, "a.ript", &late());
    for args in [
        &["trace", "critical-path", &path][..],
        &["trace", "critical-path", &path, "--request", "8f3"],
        &["trace", "critical-path", &path, "--task", "500"],
    ] {
        let answer = json(args, 0);
        let hops = answer["path"]["hops"].as_array().unwrap();
        let sum: u64 = hops.iter().map(|hop| hop["time"].as_u64().unwrap()).sum();
        assert_eq!(answer["path"]["time"], sum, "{answer}");
        assert!(
            hops.iter()
                .any(|hop| hop["kind"] == "wait" && hop["woken_by"] == "driver"),
            "{answer}"
        );
        assert!(
            text(args).contains("waits   task risk.check"),
            "{}",
            text(args)
        );
    }
    let (code, _, err) = run(&["trace", "critical-path", &path, "--task", "7"]);
    assert_eq!(code, 10, "{err}");
    assert!(err.contains("does not tell the end of task 7"), "{err}");
}

#[test]
fn two_traces_are_compared_by_site() {
    let folder = folder("diff");
    let a = trace(&folder, "a.ript", &late());
    let b = late()
        .replace("+1600000 wake", "+600000 wake")
        .replace("last=4600006", "last=3600006");
    let b = trace(&folder, "b.ript", &b);
    let answer = json(&["trace", "diff", &a, &b], 0);
    let sides = &answer["sites"][0]["sides"];
    let deaf = [&sides[0]["deaf"], &sides[1]["deaf"]].map(|ns| ns.as_u64().unwrap());
    assert_eq!(deaf[0] - deaf[1], 1_000_000_000, "{answer}");
    let shown = text(&["trace", "diff", &a, &b]);
    assert!(
        shown.contains("deaf 1.6 s → 0.6 s") || shown.contains("deaf 1.6 s → 600 ms"),
        "{shown}"
    );
}

#[test]
fn the_text_twin_becomes_the_same_bytes() {
    let folder = folder("twin");
    let path = trace(&folder, "a.ript", &late());
    let twin = text(&["trace", "export", "text", &path]);
    assert_eq!(
        ripcord_trace_format::text::parse(&twin).unwrap(),
        std::fs::read(&path).unwrap()
    );
}

#[test]
fn every_form_is_written() {
    let folder = folder("forms");
    let path = trace(&folder, "a.ript", &late());
    for form in ["chrome", "otlp"] {
        let out = text(&["trace", "export", form, &path]);
        let first: Value = serde_json::from_str(out.trim()).unwrap();
        assert!(first.is_object(), "{form}: {out}");
    }
    for (form, name, begins) in [
        ("perfetto", "a.pftrace", &[0x0a][..]),
        ("parquet", "tables", b"PAR1"),
        ("chrome", "a.json", b"{\"displayTimeUnit\""),
    ] {
        let to = folder.join(name);
        text(&["trace", "export", form, &path, "-o", to.to_str().unwrap()]);
        let one = if form == "parquet" {
            to.join("polls.parquet")
        } else {
            to
        };
        assert!(std::fs::read(one).unwrap().starts_with(begins), "{form}");
    }
    let (code, _, err) = run(&["trace", "export", "perfetto", &path]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("say where to write it with `--output`"),
        "{err}"
    );
}

#[test]
fn a_scrubbed_trace_has_no_name_and_the_same_shape() {
    let folder = folder("scrub");
    let path = trace(&folder, "a.ript", &late());
    let to = folder.join("scrubbed.ript");
    let to = to.to_str().unwrap();
    let answer = json(&["trace", "scrub", &path, "-o", to], 0);
    assert_eq!(answer["left_out_events"], 1, "the tag");
    let twin = text(&["trace", "export", "text", to]);
    for name in [
        "shop",
        "risk",
        "orders",
        "8f3",
        "secret",
        "late",
        "cart",
        "main.rs",
        "request",
        "worker-",
        "process=7",
    ] {
        assert!(
            !twin.split("block table").nth(1).unwrap().contains(name),
            "{name}: {twin}"
        );
    }
    assert!(
        twin.contains("process=0") && twin.contains("program=\"\""),
        "{twin}"
    );
    // The same name has the same pseudonym, at the beginning of the task and at its end.
    let names: Vec<&str> = twin
        .lines()
        .filter(|line| line.contains(" id=500 "))
        .collect();
    let last_word = |line: &&str| line.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(names.len(), 2);
    assert_eq!(last_word(&names[0]), last_word(&names[1]));
    assert!(
        last_word(&names[0]).starts_with("name=\"name-"),
        "{names:?}"
    );
    // The shape is the same: so is the delay.
    let ghosts = json(&["trace", "ghosts", to], 0);
    assert_eq!(ghosts["ghosts"][0]["late"]["max"], 1_600_004_000_u64);

    let kept = folder.join("kept.ript");
    let kept = kept.to_str().unwrap();
    text(&["trace", "scrub", &path, "-o", kept, "--keep-locations"]);
    assert!(text(&["trace", "export", "text", kept]).contains("src/risk.rs"));
    // A label's place is that number, whatever is left of the place.
    for copy in [to, kept] {
        let copy = text(&["trace", "export", "text", copy]);
        let label = copy.lines().find(|line| line.contains("label index=0 "));
        assert!(label.is_some_and(|line| line.ends_with(" loc=1")), "{copy}");
    }
}

/// A request that is seen by two processes: the outer part, and the inner one on a clock that is
/// `ahead` microseconds ahead.
fn served(from: u64, to: u64, thread_number: u32) -> String {
    let label = block(
        "table",
        0,
        &[(0, "label index=4 text=\"request.id\" loc=-")],
    );
    let create = "ctx_create id=1 parent=- kind=root loc=- deadline=- name=\"r\"";
    let events = [
        (from, "thread_start kind=worker name=\"w\""),
        (from, create),
        (from, "ctx_tag id=1 key=4 text=\"8f3\""),
        (
            from + 1,
            "task_spawn slot=0 id=5 parent=- ctx=1 loc=- bytes=1 name=\"t\"",
        ),
        (
            to - 1,
            "task_end slot=0 id=5 outcome=ready parent=- ctx=1 loc=- polls=0 busy=10 name=\"t\"",
        ),
        (to, "ctx_end id=1 parent=- loc=- name=\"r\""),
    ];
    format!("{label}{}", thread(thread_number, &events))
}

#[test]
fn two_traces_become_one_on_one_clock() {
    let folder = folder("merge");
    let clock = |ticks: &str| block("window_start", 0, &[(0, ticks)]);
    // Both are 1 000 µs behind their beginning; the second wall clock is 5 ms ahead.
    let a = format!(
        "{}{}",
        clock("clock monotonic=0 wall=1000000000"),
        served(1_000, 2_000, 1)
    );
    let b = format!(
        "{}{}",
        clock("clock monotonic=0 wall=1005000000"),
        served(1_400, 1_600, 1)
    );
    let (a, b) = (trace(&folder, "a.ript", &a), trace(&folder, "b.ript", &b));
    let to = folder.join("merged.ript");
    let to = to.to_str().unwrap();
    let answer = json(&["trace", "merge", &a, &b, "-o", to], 0);
    let aligned = &answer["alignment"];
    assert_eq!(aligned["by"], "requests");
    // The inner part may be moved by 400 µs in either direction, and stays within the outer one.
    assert_eq!(aligned["offset_ns"], -5_000_000);
    assert_eq!(aligned["uncertainty_ns"], 400_000);
    assert_eq!(
        (&aligned["requests"], &aligned["agreeing"]),
        (&1.into(), &1.into())
    );

    let checked = json(&["trace", "check", to], 0);
    assert_eq!(checked["faults"]["count"], 0, "{checked}");
    let tasks = json(&["trace", "tasks", to], 0);
    let spawned: Vec<u64> = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["spawned"].as_u64().unwrap())
        .collect();
    assert_eq!(spawned.len(), 2, "{tasks}");
    // 1 µs behind each beginning, and 400 µs apart.
    assert_eq!(spawned[0].abs_diff(spawned[1]), 400_000);
    let info = json(&["trace", "info", to], 0);
    assert_eq!(info["threads"].as_object().unwrap().len(), 2);
    assert_eq!(info["threads"]["1"]["name"], "shop/w");
    let twin = text(&["trace", "export", "text", to]);
    // The clock of the second is not one of the result.
    assert_eq!(twin.matches(" clock monotonic=").count(), 1, "{twin}");
    assert!(
        twin.contains("ctx_create id=1 ") && twin.contains("ctx_create id=3 "),
        "{twin}"
    );
}

#[test]
fn help_of_every_command_names_the_exit_codes() {
    for command in [
        "info",
        "check",
        "tasks",
        "contexts",
        "budgets",
        "ghosts",
        "explain",
        "critical-path",
        "diff",
        "export",
        "scrub",
        "recover",
        "merge",
        "record",
    ] {
        let out = text(&["trace", command, "--help"]);
        assert!(
            out.contains("  14   the program wrote no trace"),
            "{command}: {out}"
        );
    }
}

#[cfg(unix)]
#[test]
fn record_sets_the_environment_and_forwards_the_status() {
    let folder = folder("record");
    let to = folder.join("a.ript");
    let to = to.to_str().unwrap();
    let script = r#"printf '%s %s' "$RIPCORD_TRACE_MODE" trace > "$RIPCORD_TRACE"; exit 7"#;
    let args = [
        "trace",
        "record",
        "-o",
        to,
        "--mode",
        "sampled:100",
        "--",
        "sh",
        "-c",
        script,
    ];
    let (code, _, err) = run(&args);
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("17 bytes"), "{err}");
    assert_eq!(std::fs::read(to).unwrap(), b"sampled:100 trace");

    let none = folder.join("none.ript");
    let none = none.to_str().unwrap();
    for (script, expect, says) in [
        ("exit 0", 14, "is it built with ripcord"),
        ("exit 3", 3, "was not written: exit status: 3"),
        ("kill -9 $$", 137, "was not written: signal: 9"),
    ] {
        let (code, _, err) = run(&["trace", "record", "-o", none, "--", "sh", "-c", script]);
        assert_eq!(code, expect, "{err}");
        assert!(err.contains(says), "{err}");
    }
    let (code, _, err) = run(&["trace", "record", "-o", none, "--", "no-such-program"]);
    assert_eq!(code, 15, "{err}");
    let (code, _, err) = run(&["trace", "record", "--mode", "half", "--", "true"]);
    assert_eq!(code, 2, "{err}");
    let taken = file(&folder, "taken.ript", b"mine");
    let (code, _, err) = run(&["trace", "record", "-o", &taken, "--", "true"]);
    assert_eq!(code, 12, "{err}");
}
