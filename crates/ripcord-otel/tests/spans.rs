//! Spans of served and made calls: ids, parents, names, attributes, what goes out.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use http::HeaderMap;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
use ripcord_core::{Cause, Ctx, Kind};
use ripcord_otel::Telemetry;
use ripcord_propagation::{
    CallObserver, CtxCarried as _, Exchange, GrpcCode, Peer, Propagation, Side,
};
use std::sync::Arc;
use std::time::Duration;
use support::{PARENT, TRACE, World, attribute, fetch, get, headers, rpc, traced};

#[test]
fn a_served_call_lies_below_the_span_that_its_caller_sent() {
    let world = World::new();
    let exchange = world.serve(get("/orders/7"), &traced("03"));
    let trace = exchange.ctx().carried().unwrap().trace.clone();
    exchange.complete();

    let span = world.only();
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), PARENT);
    assert!(span.parent_span_is_remote);
    assert_eq!(span.span_kind, SpanKind::Server);
    // The context names the span that was exported, and still knows who called.
    assert_eq!(
        trace.span_id.to_string(),
        span.span_context.span_id().to_string()
    );
    assert_eq!(trace.parent_span_id.unwrap().to_string(), PARENT);
    assert!(trace.is_remote_parent && trace.flags.is_sampled() && trace.flags.is_random());
}

#[test]
fn a_served_call_without_a_parent_begins_a_trace() {
    let world = World::new();
    let exchange = world.serve(get("/"), &HeaderMap::new());
    let trace = exchange.ctx().carried().unwrap().trace.clone();
    exchange.complete();
    let span = world.only();
    assert_eq!(span.parent_span_id, opentelemetry::SpanId::INVALID);
    assert_eq!(
        trace.trace_id.to_string(),
        span.span_context.trace_id().to_string()
    );
    assert!(trace.flags.is_random(), "the ids of the SDK are random");
}

#[test]
fn a_made_call_lies_below_the_served_one_and_goes_out_as_the_parent() {
    let world = World::new();
    let exchange = world.serve(get("/orders"), &traced("01"));
    let (call, carried, sent) = world.call(exchange.ctx(), fetch("/stock"));
    call.complete();
    exchange.complete();

    let [client, server] = world.ended().try_into().unwrap();
    assert_eq!(client.span_kind, SpanKind::Client);
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert!(!client.parent_span_is_remote);
    let expect = format!("00-{TRACE}-{}-01", client.span_context.span_id());
    assert_eq!(sent["traceparent"], expect);
    let parent = carried.trace.parent_span_id.unwrap().to_string();
    assert_eq!(parent, server.span_context.span_id().to_string());
}

#[test]
fn flags_follow_the_sampler() {
    for (sampler, incoming, expect) in [
        (Sampler::AlwaysOff, "01", "00"),
        (Sampler::AlwaysOff, "03", "02"),
        (Sampler::AlwaysOn, "02", "03"),
        (Sampler::AlwaysOn, "00", "01"),
        (
            Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            "02",
            "02",
        ),
        (
            Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            "03",
            "03",
        ),
    ] {
        let world = World::sampled_by(sampler.clone(), |builder| builder);
        let exchange = world.serve(get("/"), &traced(incoming));
        let (_call, _, sent) = world.call(exchange.ctx(), fetch("/"));
        let sent = sent["traceparent"].to_str().unwrap();
        assert!(sent.ends_with(expect), "{sampler:?} {incoming}: {sent}");
        assert!(sent.starts_with(&format!("00-{TRACE}-")), "{sent}");
    }
}

#[test]
fn without_a_provider_the_ids_of_ripcord_stay() {
    let observer: Arc<dyn CallObserver> = Arc::new(
        Telemetry::builder()
            .tracer_provider(&opentelemetry::trace::noop::NoopTracerProvider::new())
            .build(),
    );
    for headers in [traced("01"), HeaderMap::new()] {
        let incoming = Propagation::default().extract(&headers);
        let before = incoming.carried.trace.clone();
        let now = Ctx::background().clock_now();
        let root = Ctx::background();
        let exchange = Exchange::begin(&root, incoming, get("/"), now, Some(&observer));
        assert_eq!(exchange.ctx().carried().unwrap().trace, before);
    }
}

#[test]
fn tracestate_comes_through_the_sdk_whole() {
    // The API of OpenTelemetry refuses both keys; level 2 allows them.
    let long = format!("{}=1", "k".repeat(256));
    let state = format!("a@b@c=x,plain=y,{long}");
    let mut headers = traced("01");
    headers.insert("tracestate", state.parse().unwrap());
    let world = World::new();
    let exchange = world.serve(get("/"), &headers);
    let (_call, _, sent) = world.call(exchange.ctx(), fetch("/"));
    assert_eq!(sent["tracestate"], state);
}

/// Writes an entry of its own, as samplers of vendors do.
#[derive(Clone, Debug)]
struct Marks;

impl ShouldSample for Marks {
    fn should_sample(
        &self,
        parent: Option<&opentelemetry::Context>,
        _: opentelemetry::TraceId,
        _: &str,
        _: &SpanKind,
        _: &[opentelemetry::KeyValue],
        _: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        use opentelemetry::trace::TraceContextExt as _;
        let state = parent.unwrap().span().span_context().trace_state().clone();
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: state.delete("old").unwrap().insert("mine", "1").unwrap(),
        }
    }
}

#[test]
fn a_samplers_entry_goes_to_the_left_of_what_was_received() {
    let mut headers = traced("01");
    headers.insert("tracestate", "a@b@c=x,old=z,plain=y".parse().unwrap());
    let world = World::sampled_by(Marks, |builder| builder);
    let exchange = world.serve(get("/"), &headers);
    let (_call, _, sent) = world.call(exchange.ctx(), fetch("/"));
    assert_eq!(sent["tracestate"], "mine=1,a@b@c=x,plain=y");
}

#[test]
fn a_served_http_call_has_the_names_of_the_conventions() {
    let world = World::new();
    let incoming = Propagation::default()
        .extract(&headers(&[("x-request-id", "7f3a")]))
        .from_peer(Peer::at("192.0.2.1:4711".parse().unwrap()));
    let mut exchange = world.serve_incoming(get("/orders/7"), incoming);
    exchange.routed("/orders/{id}");
    exchange.answered(200);
    world.clock.advance(Duration::from_millis(250));
    exchange.complete();

    let span = world.only();
    assert_eq!(span.name, "GET /orders/{id}");
    for (key, expect) in [
        ("http.request.method", "GET"),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
        ("http.route", "/orders/{id}"),
        ("http.response.status_code", "200"),
        ("server.address", "shop.example"),
        ("server.port", "8080"),
        ("network.protocol.version", "1.1"),
        ("network.peer.address", "192.0.2.1"),
        ("network.peer.port", "4711"),
        ("ripcord.request.id", "7f3a"),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), Some(expect), "{key}");
    }
    assert_eq!(span.attributes.len(), 11, "{:#?}", span.attributes);
    assert_eq!(span.status, Status::Unset);
    let length = span.end_time.duration_since(span.start_time).unwrap();
    assert_eq!(
        length,
        Duration::from_millis(250),
        "by the clock of the tree"
    );
}

#[test]
fn a_made_http_call_shows_no_credentials() {
    let world = World::new();
    let mut call = fetch("/stock");
    call.authority = Some("user:secret@stock.example");
    let (mut span, _, _) = world.call(&world.root, call);
    span.answered(200);
    span.complete();
    let span = world.only();
    assert_eq!(
        attribute(&span, "url.full").unwrap(),
        "http://stock.example/stock"
    );
    assert_eq!(attribute(&span, "server.address").unwrap(), "stock.example");
    assert_eq!(attribute(&span, "server.port").unwrap(), "80");
    assert!(!format!("{span:?}{}", world.page()).contains("secret"));
}

#[test]
fn methods_that_nobody_knows_are_kept_on_the_span_only() {
    let world = World::new();
    let mut call = get("/");
    call.method = "BREW";
    world.serve(call, &HeaderMap::new()).complete();
    let span = world.only();
    assert_eq!(span.name, "HTTP");
    assert_eq!(attribute(&span, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(
        attribute(&span, "http.request.method_original").unwrap(),
        "BREW"
    );
    assert!(!world.page().contains("BREW"));
}

#[test]
fn a_grpc_method_is_named_once_a_handler_has_answered() {
    let world = World::new();
    let path = "/shop.v1.Stock/Get";
    for (code, name, method) in [
        (GrpcCode::Unimplemented, "grpc", "_OTHER"),
        (GrpcCode::Ok, "shop.v1.Stock/Get", "shop.v1.Stock/Get"),
        (
            GrpcCode::Unimplemented,
            "shop.v1.Stock/Get",
            "shop.v1.Stock/Get",
        ),
    ] {
        world.spans.reset();
        let mut exchange = world.serve(rpc(Side::Server, path), &HeaderMap::new());
        exchange.grpc_status(code);
        exchange.complete();
        let span = world.only();
        assert_eq!(
            (
                span.name.as_ref(),
                attribute(&span, "rpc.method").unwrap().as_str()
            ),
            (name, method)
        );
        assert_eq!(attribute(&span, "rpc.system.name").unwrap(), "grpc");
        assert_eq!(
            attribute(&span, "rpc.response.status_code").unwrap(),
            code.name()
        );
        let original = attribute(&span, "rpc.method_original");
        assert_eq!(original.is_some(), method == "_OTHER");
    }
}

#[test]
fn a_dropped_handler_ends_its_span_with_the_cause() {
    let world = World::new();
    let exchange = world.serve(get("/"), &HeaderMap::new());
    drop(exchange);
    let span = world.only();
    assert_eq!(
        span.status,
        Status::Unset,
        "a client that left is no error of the server"
    );
    assert_eq!(
        attribute(&span, "ripcord.cancel.cause").unwrap(),
        "peer_gone"
    );
    assert_eq!(attribute(&span, "error.type"), None);
    assert_eq!(span.events.len(), 1);
}

#[test]
fn the_event_tells_who_where_and_why() {
    let world = World::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        world.spans.reset();
        let (parent, guard) = world.root.named("gateway").child();
        let now = parent.clock_now();
        let incoming = Propagation::default().extract(&HeaderMap::new());
        let exchange = Exchange::begin(&parent, incoming, get("/"), now, Some(&world.observer));
        guard.cancel(Cause::new(Kind::Shutdown).with_message("new version"));
        exchange.complete();
        let span = world.only();
        let event = span.events.iter().next().unwrap();
        assert_eq!(event.name, "ripcord.cancel");
        let attributes: Vec<(String, String)> = event
            .attributes
            .iter()
            .map(|pair| (pair.key.to_string(), support::text(&pair.value)))
            .collect();
        let get = |key: &str| {
            let found = attributes.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone()).unwrap()
        };
        assert_eq!(get("cancel.source"), "shutdown");
        assert_eq!(get("cancel.kind"), "shutdown");
        assert_eq!(get("cancel.origin"), "gateway");
        assert_eq!(get("cancel.depth"), "1", "from the gateway, one level up");
        assert_eq!(get("cancel.message"), "new version");
        assert!(get("cancel.site").starts_with("crates/ripcord-otel/tests/spans.rs:"));
        assert_eq!(get("cancel.stack_hash").len(), 16);
        assert_eq!(span.events.len(), 1, "told once");
        seen.push(get("cancel.stack_hash"));
    }
    assert_eq!(seen[0], seen[1], "equal causes have equal hashes");
}

#[test]
fn a_deadline_is_an_error_and_tells_who_set_it() {
    for (lines, by, label) in [
        (
            vec![("x-request-timeout-ms", "100")],
            "caller",
            "caller_deadline",
        ),
        (vec![], "local", "deadline_exceeded"),
    ] {
        let world = World::new();
        let root = world.root.with_timeout(Duration::from_secs(1));
        let incoming = Propagation::default().extract(&headers(&lines));
        let now = root.clock_now();
        let mut exchange = Exchange::begin(&root, incoming, get("/"), now, Some(&world.observer));
        world.clock.advance(Duration::from_secs(2));
        let cause = exchange.ctx().cause().unwrap();
        exchange.cancelled(&cause);
        exchange.answered(504);
        exchange.complete();
        let span = world.only();
        assert!(
            matches!(&span.status, Status::Error { description } if description.contains("deadline"))
        );
        assert_eq!(attribute(&span, "error.type").unwrap(), "timeout");
        assert_eq!(attribute(&span, "ripcord.deadline.source").unwrap(), by);
        assert_eq!(attribute(&span, "ripcord.cancel.cause").unwrap(), label);
    }
}

#[test]
fn long_texts_of_a_peer_are_cut() {
    let world = World::new();
    let path = format!("/{}", "\u{e9}".repeat(100_000));
    world.serve(get(&path), &HeaderMap::new()).complete();
    assert!(attribute(&world.only(), "url.path").unwrap().len() <= 1024);
}
