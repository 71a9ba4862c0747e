//! What the program does not set is read from the environment; in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod collector;

use collector::{Collector, attribute};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use ripcord_otel::otlp::{Otlp, Protocol};
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Set in the child.
const CHILD: &str = "RIPCORD_OTEL_CHILD";

/// Runs [`child`] with these variables, and gives what it said.
fn run(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .envs(variables.iter().copied())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Does nothing but in the child: there it sends a span to wherever the environment says.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let guard = match Otlp::builder().without_globals().build() {
        Ok(guard) => guard,
        Err(error) => {
            println!("failed to {error}");
            return;
        }
    };
    guard.tracer_provider().tracer("test").start("work").end();
    println!("{:?}", guard.shutdown(LONG));
}

#[test]
fn address_protocol_and_names_come_from_the_environment() {
    for (protocol, name) in [
        (Protocol::Grpc, "grpc"),
        (Protocol::HttpBinary, "http/protobuf"),
    ] {
        let collector = Collector::start(protocol);
        let said = run(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", name),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=blue"),
        ]);
        assert!(said.contains("Ok(())"), "{said}");
        let arrived = collector.arrived();
        assert_eq!(arrived.spans().len(), 1);
        let resource = |key| attribute(arrived.resource(), key);
        assert_eq!(resource("service.name").as_deref(), Some("orders"));
        assert_eq!(resource("team").as_deref(), Some("blue"));
        assert_eq!(arrived.keys[0].as_deref(), Some("secret"));
    }
}

#[test]
fn a_variable_of_one_signal_beats_the_general_one() {
    let collector = Collector::start(Protocol::HttpBinary);
    let traces = format!("{}/v1/traces", collector.endpoint);
    run(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "50"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "60000"),
    ]);
    assert_eq!(collector.arrived().spans().len(), 1);
}

#[test]
fn variables_that_cannot_be_are_refused_by_name() {
    for (name, value, expect) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "use `collector:4318` (OTEL_EXPORTER_OTLP_ENDPOINT)",
        ),
        (
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "ftp://c",
            "use `ftp://c` (OTEL_EXPORTER_OTLP_LOGS_ENDPOINT)",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "use the protocol `http/json` (OTEL_EXPORTER_OTLP_PROTOCOL)",
        ),
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            "5s",
            "read `5s` (OTEL_BSP_SCHEDULE_DELAY) as a number of milliseconds",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "read `10s` (OTEL_EXPORTER_OTLP_TIMEOUT) as a number of milliseconds",
        ),
    ] {
        let said = run(&[(name, value)]);
        assert!(said.contains(&format!("failed to {expect}")), "{said}");
    }
}
