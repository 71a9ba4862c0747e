//! Spans, metrics and logs really arrive, over both protocols and on every kind of runtime.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod collector;

use collector::{Arrived, Collector, attribute, hex, text, total};
use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use ripcord_core::{Ctx, Kind};
use ripcord_otel::otlp::{Guard, Otlp, Protocol};
use ripcord_otel::{CtxOtel as _, OtelFutureExt as _};
use ripcord_propagation::{
    Call, CallObserver, CallSpan, CtxCarried as _, Exchange, Propagation, Side,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Long enough for a machine that is busy with other tests; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

fn start(collector: &Collector, protocol: Protocol) -> Guard {
    Otlp::builder()
        .service_name("orders")
        .version("1.2.3")
        .attributes([opentelemetry::KeyValue::new(
            "deployment.environment.name",
            "test",
        )])
        .endpoint(&collector.endpoint)
        .protocol(protocol)
        .timeout(LONG)
        .headers([("x-key", "secret")])
        .sampler_ratio(1.0)
        .without_globals()
        .build()
        .unwrap()
}

/// One request that logs, calls somebody else, and is cancelled by its client.
async fn work(guard: &Guard) {
    let observer: Arc<dyn CallObserver> = Arc::new(guard.telemetry().build());
    let mut headers = HeaderMap::new();
    let parent = format!("00-{TRACE}-{PARENT}-01");
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("x-request-id", "7f3a".parse().unwrap());
    let incoming = Propagation::default().extract(&headers);
    let root = Ctx::background();
    let call = Call::new(
        Side::Server,
        ripcord_propagation::Protocol::Http,
        "GET",
        "/orders/7",
    );
    let exchange = Exchange::begin(&root, incoming, call, root.clock_now(), Some(&observer));
    let ctx = exchange.ctx().clone();
    ctx.enter(async {
        // By the ids of ripcord's context alone.
        tracing::info!(rows = 17, "plain");
        let load = ctx.span("load");
        let inner = load.ctx().clone();
        async {
            // By OpenTelemetry's own context, inside of a span of `tracing`.
            let span = tracing::info_span!("parse");
            let _entered = span.enter();
            tracing::warn!("inside");
        }
        .with_otel(&inner)
        .await;
        let mut carried = Propagation::default().for_call(&inner);
        let call = Call::new(
            Side::Client,
            ripcord_propagation::Protocol::Http,
            "GET",
            "/stock",
        );
        let mut made = CallSpan::begin(&inner, &mut carried, call, Some(&observer));
        made.answered(200);
        made.complete();
        load.end();
    })
    .await;
    // The client leaves.
    drop(exchange);
    assert_eq!(ctx.cause().unwrap().kind(), Kind::PeerGone);
    assert_eq!(ctx.request_id(), Some("7f3a"));
}

/// Everything of [`work`] is there.
fn check(collector: &Collector) {
    let arrived = collector.arrived();
    let (server, parse) = check_spans(&arrived);
    for (name, expect) in [
        ("http.server.request.duration", 1),
        ("http.client.request.duration", 1),
        ("ripcord.requests.cancelled", 1),
        ("http.server.active_requests", 0),
        ("ripcord.telemetry.dropped", 0),
    ] {
        let metric = arrived.metric(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(total(metric), expect, "{name}");
    }
    let records = arrived.records();
    assert_eq!(records.len(), 2, "{records:#?}");
    for (record, body, span) in [(records[0], "plain", server), (records[1], "inside", parse)] {
        assert_eq!(text(record.body.as_ref().unwrap()), body);
        assert_eq!(hex(&record.trace_id), TRACE);
        assert_eq!(record.span_id, span.span_id, "{body}");
        let id = attribute(&record.attributes, "ripcord.request.id");
        assert_eq!(id.as_deref(), Some("7f3a"));
    }
    for (key, expect) in [
        ("service.name", "orders"),
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "test"),
    ] {
        let value = attribute(arrived.resource(), key);
        assert_eq!(value.as_deref(), Some(expect), "{key}");
    }
    let mut keys = arrived.keys.iter();
    assert!(keys.all(|key| key.as_deref() == Some("secret")));
}

/// The span of the served call, and that of `tracing`.
fn check_spans(arrived: &Arrived) -> (&Span, &Span) {
    let spans = arrived.spans();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let only = |is_it: &dyn Fn(&Span) -> bool| {
        let found: Vec<_> = spans.iter().filter(|span| is_it(span)).collect();
        let [span] = found.as_slice() else {
            panic!("{found:#?} of {spans:#?}");
        };
        **span
    };
    let server = only(&|span| span.kind == SpanKind::Server as i32);
    let client = only(&|span| span.kind == SpanKind::Client as i32);
    let load = only(&|span| span.name == "load");
    let parse = only(&|span| span.name == "parse");
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
    }
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(load.parent_span_id, server.span_id);
    assert_eq!(parse.parent_span_id, load.span_id);
    assert_eq!(client.parent_span_id, load.span_id);
    assert_eq!(server.name, "GET");
    for (key, expect) in [
        ("url.path", "/orders/7"),
        ("ripcord.cancel.cause", "peer_gone"),
        ("ripcord.request.id", "7f3a"),
    ] {
        let value = attribute(&server.attributes, key);
        assert_eq!(value.as_deref(), Some(expect), "{key}");
    }
    let [event] = server.events.as_slice() else {
        panic!("{:#?}", server.events);
    };
    assert_eq!(event.name, "ripcord.cancel");
    let kind = attribute(&event.attributes, "cancel.kind");
    assert_eq!(kind.as_deref(), Some("peer_gone"));
    let status = server.status.as_ref().map_or(0, |status| status.code);
    assert_eq!(status, StatusCode::Unset as i32);
    (server, parse)
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future);
}

fn observed(guard: &Guard) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(guard.layer()))
}

/// Outside of all runtimes.
fn on_no_runtime(protocol: Protocol) {
    let collector = Collector::start(protocol);
    let guard = start(&collector, protocol);
    let observing = observed(&guard);
    block_on(work(&guard));
    drop(observing);
    guard.shutdown(LONG).unwrap();
    check(&collector);
    assert_eq!(guard.dropped(), ripcord_otel::otlp::Dropped::default());
}

/// Made, used, and shut down by a blocking call within the runtime.
fn on_runtime(protocol: Protocol, runtime: &tokio::runtime::Runtime) {
    let collector = Collector::start(protocol);
    runtime.block_on(async {
        let guard = start(&collector, protocol);
        let observing = observed(&guard);
        work(&guard).await;
        drop(observing);
        guard.flush(LONG).unwrap();
        check(&collector);
        // A second time does nothing.
        guard.shutdown(LONG).unwrap();
        guard.shutdown(LONG).unwrap();
    });
}

#[test]
fn grpc_without_a_runtime() {
    on_no_runtime(Protocol::Grpc);
}

#[test]
fn http_without_a_runtime() {
    on_no_runtime(Protocol::HttpBinary);
}

#[test]
fn grpc_and_http_on_a_current_thread_runtime() {
    for protocol in [Protocol::Grpc, Protocol::HttpBinary] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        on_runtime(protocol, &runtime);
    }
}

#[test]
fn grpc_and_http_on_a_multi_thread_runtime() {
    for protocol in [Protocol::Grpc, Protocol::HttpBinary] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        on_runtime(protocol, &runtime);
    }
}

#[test]
fn a_shutdown_can_be_awaited_and_goes_on_without_that() {
    for protocol in [Protocol::Grpc, Protocol::HttpBinary] {
        let collector = Collector::start(protocol);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let guard = start(&collector, protocol);
            let observing = observed(&guard);
            work(&guard).await;
            drop(observing);
            guard.shutdown_async(LONG).await.unwrap();
            check(&collector);
            guard.shutdown_async(LONG).await.unwrap();
        });
    }
}

#[test]
fn a_guard_that_is_dropped_sends_what_waits() {
    let collector = Collector::start(Protocol::Grpc);
    let guard = start(&collector, Protocol::Grpc);
    let observing = observed(&guard);
    block_on(work(&guard));
    drop(observing);
    // It waits for a second at the most; on a busy machine the rest comes later.
    drop(guard);
    collector.wait_for(|arrived| arrived.spans().len() == 4);
}
