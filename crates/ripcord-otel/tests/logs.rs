//! Log lines and log records carry the ids of the request.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use ripcord_core::Ctx;
use ripcord_otel::logs::{CtxLogProcessor, JsonLayer, LogIds, log_layer, quiet};
use ripcord_otel::{CtxOtel as _, OtelFutureExt as _};
use ripcord_propagation::CtxCarried as _;
use serde_json::Value;
use std::io;
use std::sync::mpsc;
use support::{TRACE, World, get, traced};
use tracing_subscriber::layer::SubscriberExt as _;

/// A writer whose lines can be looked at.
struct Lines(mpsc::Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.0.send(text).unwrap();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that are written meanwhile, as JSON.
fn lines(work: impl FnOnce()) -> Vec<Value> {
    let (tell, told) = mpsc::channel();
    let subscriber = tracing_subscriber::registry().with(JsonLayer::new(Lines(tell)));
    tracing::subscriber::with_default(subscriber, work);
    told.try_iter()
        .map(|line| {
            assert!(
                line.ends_with('\n') && line.matches('\n').count() == 1,
                "{line:?}"
            );
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .collect()
}

#[test]
fn a_line_has_the_ids_of_its_request() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let span = exchange.ctx().span("load");
    let ids = LogIds::of(span.ctx()).unwrap();
    let found = lines(|| {
        tracing::info!("outside");
        span.ctx()
            .enter_sync(|| tracing::warn!(rows = 17, "inside"));
    });
    let [outside, inside] = found.try_into().unwrap();
    assert_eq!(outside.get("trace_id"), None);
    assert_eq!(inside["trace_id"], TRACE);
    assert_eq!(inside["span_id"], ids.span_id.to_string());
    assert_eq!(inside["trace_flags"], "01");
    assert_eq!(inside["request_id"], span.ctx().request_id().unwrap());
    assert_eq!(inside["ctx"], "GET /");
    assert_eq!(
        (&inside["level"], &inside["message"]),
        (&"WARN".into(), &"inside".into())
    );
    assert_eq!(inside["target"], "logs");
    assert_eq!(inside["fields"]["rows"], 17);
    assert_eq!(
        ids.to_string(),
        format!(
            "trace_id={TRACE} span_id={} request_id={}",
            ids.span_id,
            ids.request_id.as_str()
        )
    );
}

#[test]
fn every_kind_of_field_is_json() {
    let evil = "a\"b\\c\nd\te\u{0}\u{1b}[2J\u{7f}\u{9b}\u{2028}\u{e9}";
    let found = lines(|| {
        let error = io::Error::other("disk is full");
        tracing::info!(
            text = evil,
            yes = true,
            int = -1_i64,
            big = u64::MAX,
            huge = u128::MAX,
            float = 0.5,
            nan = f64::NAN,
            error = &error as &dyn std::error::Error,
            list = ?[1, 2],
            "{evil}"
        );
    });
    let fields = &found[0]["fields"];
    assert_eq!(fields["text"], evil);
    assert_eq!(found[0]["message"], evil);
    assert_eq!(fields["yes"], true);
    assert_eq!(fields["int"], -1);
    assert_eq!(fields["big"], u64::MAX);
    assert_eq!(fields["huge"], u128::MAX.to_string());
    assert_eq!(fields["float"], 0.5);
    assert_eq!(fields["nan"], "NaN");
    assert_eq!(fields["error"], "disk is full");
    assert_eq!(fields["list"], "[1, 2]");
}

#[test]
fn no_control_character_reaches_a_terminal() {
    let (tell, told) = mpsc::channel();
    let subscriber = tracing_subscriber::registry().with(JsonLayer::new(Lines(tell)));
    tracing::subscriber::with_default(subscriber, || tracing::info!("\u{1b}]0;x\u{7}\u{9b}2J\r\n"));
    let line = told.recv().unwrap();
    assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("disk is full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let layer = JsonLayer::new(Broken);
    let lost = layer.lost();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("one");
        tracing::info!("two");
    });
    assert_eq!(lost.count(), 2);
}

#[test]
fn records_take_the_ids_from_either_context() {
    let world = World::new();
    let records = InMemoryLogExporter::default();
    let loggers = SdkLoggerProvider::builder()
        .with_log_processor(CtxLogProcessor::new())
        .with_simple_exporter(records.clone())
        .build();
    let exchange = world.serve(get("/"), &traced("01"));
    let ctx = exchange.ctx().clone();
    let span = ctx.span("load");
    let subscriber = tracing_subscriber::registry().with(log_layer(&loggers));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("outside");
        ctx.enter_sync(|| tracing::info!("by ripcord"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async { tracing::info!("by opentelemetry") }.with_otel(span.ctx()));
        // An explicit span of OpenTelemetry stays.
        let _attached = span.context().clone().attach();
        ctx.enter_sync(|| tracing::info!("by both"));
    });
    let emitted = records.get_emitted_logs().unwrap();
    let ids: Vec<_> = emitted
        .iter()
        .map(|log| {
            log.record
                .trace_context()
                .map(|context| context.span_id.to_string())
        })
        .collect();
    let outer = ctx.carried().unwrap().trace.span_id.to_string();
    let inner = span.ctx().carried().unwrap().trace.span_id.to_string();
    assert_eq!(ids, [None, Some(outer), Some(inner.clone()), Some(inner)]);
    let with_id = emitted.iter().filter(|log| {
        log.record
            .attributes_iter()
            .any(|(key, _)| key.as_str() == "ripcord.request.id")
    });
    assert_eq!(with_id.count(), 3);
}

#[test]
fn telemetry_of_telemetry_is_left_out() {
    let records = InMemoryLogExporter::default();
    let loggers = SdkLoggerProvider::builder()
        .with_simple_exporter(records.clone())
        .build();
    let subscriber = tracing_subscriber::registry().with(log_layer(&loggers));
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(target: "opentelemetry_sdk", "dropped");
        tracing::error!(target: "hyper::proto", "closed");
        tracing::error!(target: "tonic::transport", "closed");
        tracing::trace!(target: "orders", "kept");
    });
    assert_eq!(records.get_emitted_logs().unwrap().len(), 1);
    for (target, is_kept) in [
        ("h2::codec", false),
        ("reqwest", false),
        ("tower::buffer", false),
        ("orders", true),
        ("ripcord_core", true),
    ] {
        assert_eq!(
            quiet().would_enable(target, &tracing::Level::ERROR),
            is_kept,
            "{target}"
        );
    }
}

#[test]
fn outside_of_a_request_there_are_no_ids() {
    assert_eq!(LogIds::current(), None);
    assert_eq!(LogIds::of(&Ctx::background().named("job")), None);
}
