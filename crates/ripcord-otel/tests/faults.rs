//! A collector that is down, silent or mad: no request waits for it, and every loss is counted.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use ripcord_otel::otlp::{FlushError, Guard, InitError, Otlp, OtlpBuilder, Protocol};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Of one export; short, so that the failures of a test do not add up.
const SHORT: Duration = Duration::from_millis(20);
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpBinary];

/// Something that listens and is no collector. Its threads end with the process.
fn listen(answer: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream));
        }
    });
    endpoint
}

/// Reads what comes and says nothing.
fn silent() -> String {
    listen(|mut stream| {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    })
}

fn mad() -> String {
    listen(|mut stream| {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(&[0xff; 512]);
    })
}

/// Understands, and refuses.
fn refusing() -> String {
    listen(|mut stream| {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    })
}

/// Nobody listens there any more.
fn down() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn builder(endpoint: &str, protocol: Protocol) -> OtlpBuilder {
    Otlp::builder()
        .service_name("orders")
        .endpoint(endpoint)
        .protocol(protocol)
        .timeout(SHORT)
        .queue_size(64)
        .metric_interval(LONG)
        .without_globals()
}

fn emit(guard: &Guard, count: u64) {
    let tracer = guard.tracer_provider().tracer("test");
    let logger = guard.logger_provider().logger("test");
    for _ in 0..count {
        tracer.start("work").end();
        let mut record = logger.create_log_record();
        record.set_body("line".into());
        logger.emit(record);
    }
}

#[test]
fn every_span_and_every_line_is_accounted_for() {
    const COUNT: u64 = 500;
    for (name, endpoint) in [
        ("down", down()),
        ("silent", silent()),
        ("mad", mad()),
        ("refusing", refusing()),
    ] {
        for protocol in BOTH {
            let guard = builder(&endpoint, protocol).build().unwrap();
            // It ends: that is what is tested.
            emit(&guard, COUNT);
            assert!(guard.shutdown(LONG).is_err(), "{name} {protocol:?}");
            let dropped = guard.dropped();
            let spans = dropped.spans_queue_full + dropped.spans_export_failed;
            let logs = dropped.logs_queue_full + dropped.logs_export_failed;
            assert_eq!(
                (spans, logs),
                (COUNT, COUNT),
                "{name} {protocol:?} {dropped:?}"
            );
            assert_eq!(dropped.total(), 2 * COUNT);
        }
    }
}

#[test]
fn a_shutdown_tells_what_was_lost() {
    for protocol in BOTH {
        // Nothing is sent before the shutdown.
        let guard = builder(&refusing(), protocol)
            .schedule(LONG)
            .build()
            .unwrap();
        emit(&guard, 8);
        let error = guard.shutdown(LONG).unwrap_err();
        assert!(
            matches!(error, FlushError::Lost { spans: 8, logs: 8 }),
            "{error}"
        );
    }
}

#[test]
fn a_queue_that_is_full_drops_at_once() {
    for protocol in BOTH {
        let guard = builder(&silent(), protocol).timeout(LONG).build().unwrap();
        emit(&guard, 1000);
        let dropped = guard.dropped();
        // 64 wait, and one batch of at most 64 is under way.
        assert!(dropped.spans_queue_full >= 1000 - 128, "{dropped:?}");
        assert!(dropped.logs_queue_full >= 1000 - 128, "{dropped:?}");
        // Within its time, though an export takes a minute: and on a runtime with one thread.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let error = runtime
            .block_on(async { guard.shutdown(SHORT) })
            .unwrap_err();
        let FlushError::Timeout { after, spans, .. } = error else {
            panic!("{error}");
        };
        assert!(after == SHORT && spans <= 64);
        // The drop does not wait a second time, nor does the runtime hinder it.
        runtime.block_on(async { drop(guard) });
    }
}

#[test]
fn a_flush_that_is_not_awaited_any_more_goes_on() {
    let guard = builder(&silent(), Protocol::Grpc).build().unwrap();
    emit(&guard, 8);
    drop(guard.shutdown_async(LONG));
    assert!(guard.shutdown(LONG).is_ok(), "it has begun before");
}

#[test]
fn what_comes_after_the_shutdown_is_counted() {
    let guard = builder(&down(), Protocol::HttpBinary).build().unwrap();
    // As a layer of `tracing` has one. A logger that is asked for afterwards does nothing.
    let logger = guard.logger_provider().logger("test");
    let _ = guard.shutdown(LONG);
    for _ in 0..5 {
        logger.emit(logger.create_log_record());
    }
    assert_eq!(guard.dropped().logs_after_shutdown, 5);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let base = || builder("http://127.0.0.1:1", Protocol::Grpc);
    for (builder, expect) in [
        (
            base().endpoint("localhost:4317"),
            "use `localhost:4317` (endpoint) as the collector's address: it has no scheme",
        ),
        (
            base().endpoint("http://u:pw@h:1?x"),
            "use `http://***@h:1?x` (endpoint)",
        ),
        (
            base().headers([("bad name", "x")]),
            "send the header `bad name`",
        ),
        (base().headers([("x", "a\nb")]), "send the header `x`"),
        (base().sampler_ratio(1.5), "sample a share of 1.5"),
        (base().sampler_ratio(f64::NAN), "sample a share of NaN"),
        (base().queue_size(0), "make a queue of 0"),
    ] {
        let error = builder.build().map(drop).unwrap_err();
        assert!(error.to_string().starts_with(expect), "{error}");
    }
    let error = base().queue_size(0).build().map(drop).unwrap_err();
    assert!(matches!(error, InitError::QueueSize(0)));
}

#[test]
fn secrets_are_not_shown() {
    let builder =
        builder("http://user:secret@127.0.0.1:9", Protocol::Grpc).headers([("x-key", "secret")]);
    let shown = format!("{builder:?}");
    assert!(
        shown.contains("x-key") && !shown.contains("secret"),
        "{shown}"
    );
    let guard = builder.build().unwrap();
    assert!(!format!("{guard:?}").contains("secret"));
}

#[test]
fn it_can_be_made_and_dropped_on_any_runtime() {
    for protocol in BOTH {
        for multi in [false, true] {
            let mut runtime = if multi {
                tokio::runtime::Builder::new_multi_thread()
            } else {
                tokio::runtime::Builder::new_current_thread()
            };
            runtime.build().unwrap().block_on(async {
                drop(builder(&down(), protocol).build().unwrap());
            });
        }
    }
}
