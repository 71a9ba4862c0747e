//! OpenTelemetry's context on a ripcord context: spans of one's own, tasks, and ambient spans.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use ripcord_core::{Ctx, Kind};
use ripcord_otel::{CtxOtel as _, OtelFutureExt as _};
use ripcord_propagation::CtxCarried as _;
use std::time::Duration;
use support::{TRACE, World, attribute, fetch, get, headers, traced};
use tracing_subscriber::layer::SubscriberExt as _;

fn span_id(context: &Context) -> String {
    context.span().span_context().span_id().to_string()
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

#[test]
fn spans_nest_and_what_goes_out_names_the_innermost() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let outer = exchange.ctx().span("outer");
    let inner = outer.ctx().span("inner");
    let (made, _, sent) = world.call(inner.ctx(), fetch("/"));
    made.complete();
    let carried = inner.ctx().carried().unwrap().trace.span_id.to_string();
    inner.end();
    outer.end();
    exchange.complete();
    let [call, inner, outer, server] = world.ended().try_into().unwrap();
    assert_eq!(outer.parent_span_id, server.span_context.span_id());
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(call.parent_span_id, inner.span_context.span_id());
    assert_eq!(carried, inner.span_context.span_id().to_string());
    let parent = format!("00-{TRACE}-{}-01", call.span_context.span_id());
    assert_eq!(sent["traceparent"], parent);
    assert_eq!(
        (inner.name.as_ref(), inner.status),
        ("inner", Status::Unset)
    );
}

#[test]
fn a_span_that_is_dropped_tells_why_its_context_is_done() {
    let world = World::new();
    for (kind, error) in [
        (None, None),
        (Some(Kind::PeerGone), None),
        (Some(Kind::DeadlineExceeded), Some("timeout")),
        (Some(Kind::Shutdown), Some("shutdown")),
    ] {
        world.spans.reset();
        let (ctx, guard) = world.root.child();
        let exchange = world.serve(get("/"), &traced("01"));
        let ctx = Ctx::merge([exchange.ctx(), &ctx]);
        let span = ctx.span("work");
        if let Some(kind) = kind {
            guard.cancel(kind);
        }
        drop(span);
        let span = world.only();
        assert_eq!(attribute(&span, "error.type").as_deref(), error, "{kind:?}");
        let label = attribute(&span, "ripcord.cancel.cause");
        assert_eq!(label.as_deref(), kind.map(Kind::as_str));
        assert_eq!(span.events.len(), usize::from(kind.is_some()));
        assert_eq!(matches!(span.status, Status::Error { .. }), error.is_some());
    }
}

#[test]
fn work_that_came_to_its_end_is_not_judged_by_its_context() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let span = exchange.ctx().span("work");
    drop(exchange);
    world.spans.reset();
    span.end();
    let span = world.only();
    assert_eq!((span.status, span.events.len()), (Status::Unset, 0));
}

#[test]
fn a_failure_and_a_panic_are_errors_once() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let mut span = exchange.ctx().span("work");
    span.fail(&std::io::Error::other("disk is full"));
    span.fail(&std::io::Error::other("second"));
    span.end();
    let span = world.only();
    assert_eq!(span.status, Status::error("disk is full"));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("_OTHER"));

    world.spans.reset();
    let ctx = exchange.ctx().clone();
    let panicked = std::panic::catch_unwind(move || {
        let _span = ctx.span("work");
        panic!("by design");
    });
    assert!(panicked.is_err());
    assert_eq!(
        attribute(&world.only(), "error.type").as_deref(),
        Some("panic")
    );
}

#[test]
fn a_future_runs_under_both_contexts_and_leaves_none() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let ctx = exchange.ctx().clone();
    let expect = span_id(&ctx.otel());
    let seen = async {
        let before = span_id(&Context::current());
        tokio::task::yield_now().await;
        (before, span_id(&Context::current()), Ctx::current())
    };
    let (before, after, current) = block_on(async {
        let seen = seen.with_otel(&ctx);
        assert!(!Context::current().has_active_span());
        seen.await
    });
    assert_eq!((before, after), (expect.clone(), expect));
    assert_eq!(current, ctx);
    assert!(!Context::current().has_active_span());
}

#[test]
fn a_spawned_task_is_below_the_span_that_spawned_it() {
    use ripcord_tokio::CtxExt as _;
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let outer = exchange.ctx().span("outer");
    block_on(async {
        let task = outer.ctx().spawn("task", |ctx| async move {
            ctx.span("inner").end();
            ctx.carried().unwrap().request_id().as_str().to_owned()
        });
        assert!(!task.await.unwrap().is_empty());
    });
    outer.end();
    let [inner, outer] = world.ended().try_into().unwrap();
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
}

#[test]
fn an_explicit_context_beats_an_ambient_one() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let outer = exchange.ctx().span("outer");
    let inner = outer.ctx().span("inner");
    // The thread is under `outer`, and the call is made with `inner`.
    let attached = outer.context().clone().attach();
    let (made, _, _) = world.call(inner.ctx(), fetch("/"));
    made.complete();
    drop(attached);
    let call = world.only();
    assert_eq!(call.parent_span_id.to_string(), span_id(inner.context()));
}

#[test]
fn a_span_that_other_code_opened_within_is_the_parent() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let ctx = exchange.ctx().clone();
    let tracer = world.tracers.tracer("other");
    let mut parent = None;
    block_on(
        async {
            let between = Context::current_with_span(tracer.start("between"));
            let _attached = between.attach();
            let (made, carried, _) = world.call(&ctx, fetch("/"));
            made.complete();
            ctx.span("own").end();
            parent = carried.trace.parent_span_id;
        }
        .with_otel(&ctx),
    );
    let ended = world.ended();
    let named = |name: &str| ended.iter().find(|span| span.name == name).unwrap();
    let between = named("between").span_context.span_id();
    assert_eq!(named("GET").parent_span_id, between);
    assert_eq!(named("own").parent_span_id, between);
    assert_eq!(parent.unwrap().to_string(), between.to_string());
}

#[test]
fn a_span_of_tracing_in_between_is_the_parent() {
    let world = World::new();
    let layer = ripcord_otel::logs::span_layer(&world.tracers);
    let subscriber = tracing_subscriber::registry().with(layer);
    let exchange = world.serve(get("/"), &traced("01"));
    let ctx = exchange.ctx().clone();
    tracing::subscriber::with_default(subscriber, || {
        block_on(
            async {
                let between = tracing::info_span!("between");
                let _entered = between.enter();
                let (made, _, _) = world.call(&ctx, fetch("/"));
                made.complete();
            }
            .with_otel(&ctx),
        );
    });
    exchange.complete();
    let [call, between, server] = world.ended().try_into().unwrap();
    assert_eq!(between.parent_span_id, server.span_context.span_id());
    assert_eq!(call.parent_span_id, between.span_context.span_id());
}

#[test]
fn baggage_is_in_the_context_of_opentelemetry() {
    let world = World::new();
    let exchange = world.serve(get("/"), &headers(&[("baggage", "tenant=blue")]));
    let context = exchange.ctx().otel();
    assert_eq!(context.baggage().get("tenant").unwrap().as_str(), "blue");
}

#[test]
fn a_context_that_nobody_observes_still_has_the_ids_of_its_request() {
    let incoming = ripcord_propagation::Propagation::default().extract(&traced("01"));
    let ctx = incoming.context(&Ctx::background());
    let context = ctx.otel();
    let ours = ctx.carried().unwrap().trace.span_id.to_string();
    assert_eq!(span_id(&context), ours);
    let span = context.span();
    assert!(!span.span_context().is_remote() && span.span_context().is_sampled());
}

#[test]
fn a_span_that_is_brought_along_is_what_goes_out() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let tracer = world.tracers.tracer("other");
    let span = tracer.start_with_context("mine", &exchange.ctx().otel());
    let context = exchange.ctx().otel().with_span(span);
    let ctx = exchange.ctx().with_otel_context(context.clone());
    assert_eq!(
        ctx.carried().unwrap().trace.span_id.to_string(),
        span_id(&context)
    );
    let (_made, carried, _) = world.call(&ctx, fetch("/"));
    assert_eq!(
        carried.trace.parent_span_id.unwrap().to_string(),
        span_id(&context)
    );
}

#[test]
fn what_an_exporter_calls_is_not_recorded() {
    let world = World::new();
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let (made, _, _) = world.call(&world.root, fetch("/v1/traces"));
    made.complete();
    assert!(world.ended().is_empty());
    assert!(!world.page().contains("http_client"), "{}", world.page());
}

#[test]
fn a_job_of_ones_own_lies_below_the_ambient_span() {
    let world = World::new();
    let tracer = world.tracers.tracer("other");
    let attached = Context::current_with_span(tracer.start("job")).attach();
    let job = span_id(&Context::current());
    let (made, carried, _) = world.call(&world.root, fetch("/"));
    made.complete();
    drop(attached);
    let call = world
        .ended()
        .into_iter()
        .find(|span| span.name == "GET")
        .unwrap();
    assert_eq!(call.parent_span_id.to_string(), job);
    assert_eq!(
        carried.trace.trace_id.to_string(),
        call.span_context.trace_id().to_string()
    );
}

#[test]
fn a_span_that_outlives_its_request_does_not_count_as_latency() {
    let world = World::new();
    let exchange = world.serve(get("/"), &traced("01"));
    let span = exchange.ctx().span("slow");
    drop(exchange);
    world.clock.advance(Duration::from_secs(9));
    drop(span);
    let series = "ripcord_cancel_latency_seconds_sum{cause=\"peer_gone\",side=\"server\"}";
    assert_eq!(
        world.sample(series).as_deref(),
        Some("0"),
        "{}",
        world.page()
    );
}
