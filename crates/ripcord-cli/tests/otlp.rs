//! `--otlp`: everything arrives at a collector that is there, and one that is not delays nobody.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(
    clippy::disallowed_types,
    reason = "a test's own lock is modelled by nobody"
)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use support::{report, run};

/// Bodies by path.
type Received = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A collector on a port of its own, for as long as the test runs.
fn collector() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let all = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = Arc::clone(&all);
            // A connection that breaks is the client's affair.
            thread::spawn(move || while take_one(&stream, &all).is_some() {});
        }
    });
    (url, received)
}

/// Takes one export and says that it is well.
fn take_one(mut stream: &TcpStream, received: &Received) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    received.entry(path).or_default().extend(body);
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .ok()
}

fn demo(url: &str) -> Value {
    let args = ["demo", "--seconds", "1", "--rate", "60", "--quiet"];
    let more = ["--fault", "none", "--format", "json", "--otlp", url];
    let (code, out, err) = run(&[&args[..], &more[..]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    let report = report(&out);
    assert_eq!(report["telemetry"]["sent_to"], url);
    // Not one request is worse off for it.
    for row in report["requests"]["outcomes"].as_array().unwrap() {
        let is_fine = ["ok", "refused"]
            .iter()
            .any(|known| row["outcome"] == *known);
        assert!(is_fine || row["count"] == 0, "{out}");
    }
    assert!(report["requests"]["ok"].as_u64() > Some(0), "{out}");
    report
}

fn lost(report: &Value, what: &str) -> u64 {
    let row = report["telemetry"][what].as_object().unwrap().values();
    row.map(|count| count.as_u64().unwrap()).sum()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn spans_metrics_and_logs_arrive_under_the_name_of_their_service() {
    let (url, received) = collector();
    let report = demo(&url);
    assert_eq!(lost(&report, "spans_lost"), 0, "{:#}", report["telemetry"]);
    assert_eq!(lost(&report, "logs_lost"), 0, "{:#}", report["telemetry"]);
    let received = received.lock().unwrap();
    let paths: Vec<&str> = received.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/v1/logs", "/v1/metrics", "/v1/traces"]);
    for service in ["gateway", "order", "inventory", "risk", "notify", "clients"] {
        assert!(has(&received["/v1/traces"], service), "{service}");
        assert!(has(&received["/v1/metrics"], service), "{service}");
    }
    assert!(has(&received["/v1/traces"], "shop.Risk/Score"));
    assert!(has(
        &received["/v1/metrics"],
        "http.server.request.duration"
    ));
    // A request that the report tells of is found in all of them.
    let id = report["budgets"][0]["request_id"].as_str().unwrap();
    assert!(has(&received["/v1/traces"], id));
    assert!(has(&received["/v1/logs"], id));
}

#[test]
fn a_collector_that_is_down_delays_nobody_and_what_is_lost_is_told() {
    // Bound, so that nobody else takes the port, and closed at once.
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let report = demo(&url);
    assert!(lost(&report, "spans_lost") > 0, "{:#}", report["telemetry"]);
    assert!(lost(&report, "logs_lost") > 0, "{:#}", report["telemetry"]);
}

#[test]
fn a_collector_that_never_answers_delays_nobody_either() {
    // The system accepts connections for it, and nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let report = demo(&url);
    assert!(lost(&report, "spans_lost") > 0, "{:#}", report["telemetry"]);
}

#[test]
fn an_address_that_is_none_is_named_and_exit_code_2() {
    let (code, out, err) = run(&["demo", "--otlp", "collector:4317"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(err.contains("collector:4317"), "{err}");
}
