//! The exports, as far as they can be judged here; `interop.rs` asks the programs that they are for.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod shop;
mod support;

use ripcord_analysis::export::{self, ExportError};
use serde_json::{Value, json};
use shop::shop;
use std::collections::HashMap;
use std::io::{self, Write};
use support::{thread, trace};

fn chrome(blocks: &str) -> Vec<Value> {
    let mut out = Vec::new();
    export::chrome(&mut trace(blocks), &mut out).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    out["traceEvents"].as_array().unwrap().clone()
}

/// The spans of all lines.
fn otlp(blocks: &str) -> Vec<Value> {
    let mut out = Vec::new();
    export::otlp(&mut trace(blocks), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    let lines = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let spans = lines.flat_map(|line| {
        let spans = &line["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().unwrap().clone()
    });
    spans.collect()
}

/// The blocks of a dump: a registry says that its ring may have begun later than the program.
fn dump(blocks: &str) -> String {
    let live = [(9, "thread_start kind=worker name=\"w\"")];
    format!("{blocks}{}", support::block("registry", 1, &live))
}

fn named<'v>(spans: &'v [Value], name: &str) -> Vec<&'v Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// Every event that begins ends, within its row, and the last to begin is the first to end.
fn nests(events: &[Value]) {
    let mut open: HashMap<String, Vec<&Value>> = HashMap::new();
    for event in events {
        let row = format!("{}{}", event["tid"], event["id"]);
        match event["ph"].as_str().unwrap() {
            "B" | "b" => open.entry(row).or_default().push(&event["name"]),
            "E" | "e" => {
                let begun = open.get_mut(&row).and_then(Vec::pop);
                assert_eq!(begun, Some(&event["name"]), "{event}");
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "{open:?}");
}

#[test]
fn slices_of_chrome_nest_and_flows_meet() {
    let events = chrome(&shop());
    nests(&events);
    let of = |ph: &str| {
        events
            .iter()
            .filter(|event| event["ph"] == ph)
            .collect::<Vec<_>>()
    };
    let ids = |ph: &str| {
        of(ph)
            .iter()
            .map(|event| event["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("s"), ids("f"), "each wake leads to its poll");
    assert_eq!(ids("s").len(), 2);
    let poll = of("B")
        .into_iter()
        .find(|event| event["ts"] == json!(35.0))
        .unwrap();
    assert_eq!((&poll["name"], &poll["tid"]), (&json!("fetch"), &json!(2)));
    assert_eq!(poll["args"], json!({"task": 500, "woken_by": "task"}));
    let instants: Vec<&Value> = of("i").iter().map(|event| &event["name"]).collect();
    assert!(instants.contains(&&json!("cancel")), "{instants:?}");
    assert!(instants.contains(&&json!("bye\u{1b}")), "{instants:?}");
}

#[test]
fn what_is_missing_is_ended_all_the_same() {
    let spawn = "task_spawn slot=0 id=5 parent=- ctx=- loc=- bytes=1 name=\"t\"";
    let panicked =
        "task_end slot=0 id=5 outcome=panicked parent=- ctx=- loc=- polls=1 busy=1 name=\"t\"";
    for events in [
        // The trace ends within a poll, a region, a sleep, work and a job.
        &[
            (0, spawn),
            (1, "poll_start slot=0 seq=0"),
            (2, "region_begin label=9"),
        ][..],
        &[(0, "park")],
        &[
            (0, "user_task_begin id=1 name=\"w\""),
            (1, "user_task_begin id=1 name=\"w\""),
        ],
        &[(0, "job_start job=4")],
        // A panic has no end of its poll; a loss may hide one.
        &[(0, spawn), (1, "poll_start slot=0 seq=0"), (2, panicked)],
        &[
            (1, "poll_start slot=0 seq=0"),
            (2, "dropped events=3"),
            (3, "poll_start slot=1 seq=0"),
            (4, "park"),
        ],
        // Ends without a beginning.
        &[
            (0, "poll_ready"),
            (1, "region_end"),
            (2, "unpark"),
            (3, "user_task_end id=3"),
            (
                4,
                "job_end job=1 outcome=ready parent=- ctx=- loc=- name=\"\"",
            ),
        ],
        // A slot whose task is told at its end alone.
        &[
            (0, "poll_start slot=0 seq=4"),
            (1, "poll_pending label=-"),
            (2, "wake slot=0 seq=5 by=driver waker=-"),
            (3, panicked),
        ],
    ] {
        nests(&chrome(&thread(1, events)));
        let mut out = Vec::new();
        export::perfetto(&mut trace(&thread(1, events)), &mut out).unwrap();
        otlp(&thread(1, events));
        nests(&chrome(&dump(&thread(1, events))));
        export::parquet(&mut trace(&thread(1, events)), |_| Ok(Vec::new())).unwrap();
    }
}

#[test]
fn what_shows_that_a_poll_is_over_ends_it() {
    for event in ["dropped events=3", "park", "thread_stop"] {
        let events = [
            (1, "poll_start slot=0 seq=0"),
            (2, event),
            (9, "log text=\"later\""),
        ];
        let events = chrome(&thread(1, &events));
        let end = events
            .iter()
            .find(|event| event["ph"] == "E" && event["cat"] == "poll");
        assert_eq!(end.unwrap()["ts"], json!(2.0), "{event}");
    }
}

#[test]
fn a_slot_before_its_spawn_is_of_the_task_that_ends() {
    let events = [
        (0, "poll_start slot=3 seq=4"),
        (9, "poll_ready"),
        (
            9,
            "task_end slot=3 id=77 outcome=ready parent=- ctx=- loc=- polls=5 busy=9 name=\"old\"",
        ),
        (
            10,
            "task_spawn slot=3 id=78 parent=- ctx=- loc=- bytes=1 name=\"new\"",
        ),
        (11, "poll_start slot=3 seq=0"),
        (12, "poll_ready"),
    ];
    let events = chrome(&dump(&thread(1, &events)));
    let polls = events.iter().filter(|event| event["ph"] == "B");
    let names: Vec<&Value> = polls.map(|event| &event["name"]).collect();
    assert_eq!(names, ["old", "new"]);
}

#[test]
fn contexts_and_tasks_are_spans_of_one_trace() {
    let spans = otlp(&shop());
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert!(
        spans.iter().all(|span| span["traceId"] == trace_id),
        "{spans:#?}"
    );
    let requests = named(&spans, "request");
    // The child has no name of its own.
    let [child, root] = requests[..] else {
        panic!("{requests:?}")
    };
    assert_eq!(child["parentSpanId"], root["spanId"]);
    assert_eq!(root["parentSpanId"], Value::Null);
    assert_eq!(root["startTimeUnixNano"], "1790000000000001000");
    assert_eq!(root["status"]["message"], "deadline_exceeded");
    let events = root["events"].as_array().unwrap();
    assert_eq!(events[0]["name"], "cancel");
    assert!(
        events[0]["attributes"]
            .as_array()
            .unwrap()
            .contains(&json!({"key": "ripcord.due_ns", "value": {"intValue": "-2000"}}))
    );
    assert_eq!(events[1]["timeUnixNano"], "1790000000000046000");

    let fetch = named(&spans, "fetch")[0];
    assert_eq!(fetch["parentSpanId"], child["spanId"]);
    let waker = named(&spans, "main.rs:12")[0];
    assert_eq!(fetch["links"][0]["spanId"], waker["spanId"]);
    // It is live at the end of the trace.
    assert!(
        waker["attributes"]
            .as_array()
            .unwrap()
            .contains(&json!({"key": "ripcord.live", "value": {"boolValue": true}}))
    );
    assert_eq!(waker["endTimeUnixNano"], "1790000000000071000");
    assert_eq!(named(&spans, "hash")[0]["status"]["code"], 2);
    let ids: std::collections::HashSet<String> = spans
        .iter()
        .map(|span| span["spanId"].to_string())
        .collect();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn what_began_before_the_trace_keeps_its_family() {
    let events = [
        (
            5,
            "task_end slot=0 id=5 outcome=ready parent=- ctx=2 loc=- polls=1 busy=1 name=\"t\"",
        ),
        (6, "ctx_end id=2 parent=1 loc=- name=\"\""),
        (7, "ctx_end id=1 parent=- loc=- name=\"GET /\""),
    ];
    let spans = otlp(&dump(&thread(1, &events)));
    let [task, child, root] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(
        (&child["name"], &task["name"]),
        (&json!("GET /"), &json!("t"))
    );
    assert_eq!(
        (&child["traceId"], &task["traceId"]),
        (&root["traceId"], &root["traceId"])
    );
    assert_eq!(task["parentSpanId"], child["spanId"]);
    assert_eq!(root["startTimeUnixNano"], "1790000000000005000");
    let before = json!({"key": "ripcord.begun_before", "value": {"boolValue": true}});
    assert!(
        spans
            .iter()
            .all(|span| span["attributes"].as_array().unwrap().contains(&before))
    );
}

#[test]
fn a_trace_id_is_taken_only_if_it_is_one() {
    let label = support::block("table", 0, &[(0, "label index=2 text=\"trace.id\" loc=-")]);
    for told in [
        "00000000000000000000000000000000",
        "4BF9",
        "+bf92f3577b34da6a3ce929d0e0e4736",
    ] {
        let tag = format!("ctx_tag id=1 key=2 text=\"{told}\"");
        let events = [
            (
                1,
                "ctx_create id=1 parent=- kind=root loc=- deadline=- name=\"r\"",
            ),
            (2, tag.as_str()),
            (
                3,
                "ctx_create id=2 parent=1 kind=child loc=- deadline=- name=\"c\"",
            ),
            // The parent goes first, and the child knows its trace all the same.
            (4, "ctx_end id=1 parent=- loc=- name=\"r\""),
            (5, "ctx_end id=2 parent=1 loc=- name=\"c\""),
        ];
        let spans = otlp(&format!("{label}{}", thread(1, &events)));
        let ids: Vec<&str> = spans
            .iter()
            .map(|span| span["traceId"].as_str().unwrap())
            .collect();
        assert_eq!(ids[0], ids[1], "{told}");
        assert!(
            ids[0].len() == 32 && ids[0] != told && ids[0] != "0".repeat(32),
            "{ids:?}"
        );
    }
}

/// An output that takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_as_one_in_every_form() {
    let check = |form: &str, written: Result<(), ExportError>| match written {
        Err(ExportError::Write(error)) => {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{form}");
        }
        other => panic!("{form}: {other:?}"),
    };
    check(
        "chrome",
        export::chrome(&mut trace(&shop()), &mut Full(100)),
    );
    check(
        "perfetto",
        export::perfetto(&mut trace(&shop()), &mut Full(100)),
    );
    check("otlp", export::otlp(&mut trace(&shop()), &mut Full(100)));
    check(
        "parquet",
        export::parquet(&mut trace(&shop()), |_| Ok(Full(100))),
    );
}
