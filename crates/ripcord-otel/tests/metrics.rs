//! Metrics of calls: what is counted when, with which labels, and that nothing leaks.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use http::HeaderMap;
use proptest::prelude::*;
use ripcord_core::Kind;
use ripcord_propagation::{Call, GrpcCode, Propagation, Protocol, Side};
use std::time::Duration;
use support::{World, fetch, get, headers, rpc};

const SERVER: &str = "http_server_request_duration_seconds";

#[test]
fn a_served_call_is_measured_with_the_labels_of_the_conventions() {
    let world = World::new();
    let mut exchange = world.serve(get("/orders/7"), &HeaderMap::new());
    assert_eq!(active(&world).as_deref(), Some("1"));
    exchange.routed("/orders/{id}");
    exchange.answered(503);
    world.clock.advance(Duration::from_millis(300));
    exchange.complete();
    assert_eq!(active(&world).as_deref(), Some("0"));
    let labels = "error_type=\"503\",http_request_method=\"GET\",http_response_status_code=\"503\",\
                  http_route=\"/orders/{id}\",network_protocol_version=\"1.1\",url_scheme=\"http\"";
    let sample = |suffix: &str| world.sample(&format!("{SERVER}_{suffix}"));
    assert_eq!(sample(&format!("sum{{{labels}}}")).as_deref(), Some("0.3"));
    assert_eq!(sample(&format!("count{{{labels}}}")).as_deref(), Some("1"));
    assert_eq!(
        sample(&format!("bucket{{{labels},le=\"0.25\"}}")).as_deref(),
        Some("0")
    );
    assert_eq!(
        sample(&format!("bucket{{{labels},le=\"0.5\"}}")).as_deref(),
        Some("1")
    );
    assert_eq!(
        sample(&format!("bucket{{{labels},le=\"+Inf\"}}")).as_deref(),
        Some("1")
    );
}

fn active(world: &World) -> Option<String> {
    world.sample("http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}")
}

#[test]
fn a_made_call_is_measured_with_its_callee() {
    let labels = "http_request_method=\"GET\",http_response_status_code=\"404\",\
                  network_protocol_version=\"1.1\"";
    let callee = "server_address=\"shop.example\",server_port=\"8080\"";
    for (world, expect) in [
        (
            World::new(),
            format!("error_type=\"404\",{labels},{callee}"),
        ),
        (
            World::with(ripcord_otel::TelemetryBuilder::without_server_labels),
            format!("error_type=\"404\",{labels}"),
        ),
    ] {
        let (mut span, _, _) = world.call(&world.root, fetch("/stock"));
        span.answered(404);
        span.complete();
        let series = format!("http_client_request_duration_seconds_count{{{expect}}}");
        assert_eq!(
            world.sample(&series).as_deref(),
            Some("1"),
            "{}",
            world.page()
        );
        assert_eq!(world.sample("http_server_active_requests"), None);
    }
}

#[test]
fn grpc_has_histograms_of_its_own() {
    let world = World::new();
    let mut served = world.serve(rpc(Side::Server, "/a.B/C"), &HeaderMap::new());
    let (mut made, _, _) = world.call(served.ctx(), rpc(Side::Client, "/d.E/F"));
    made.grpc_status(GrpcCode::NotFound);
    made.complete();
    served.grpc_status(GrpcCode::Ok);
    served.complete();
    for series in [
        "rpc_server_call_duration_seconds_count{rpc_method=\"a.B/C\",\
         rpc_response_status_code=\"OK\",rpc_system_name=\"grpc\"}",
        "rpc_client_call_duration_seconds_count{error_type=\"NOT_FOUND\",rpc_method=\"d.E/F\",\
         rpc_response_status_code=\"NOT_FOUND\",rpc_system_name=\"grpc\",\
         server_address=\"stock.example\",server_port=\"50051\"}",
    ] {
        assert_eq!(
            world.sample(series).as_deref(),
            Some("1"),
            "{}",
            world.page()
        );
    }
}

#[test]
fn deadlines_and_cancels_are_counted() {
    let world = World::new();
    let lines = headers(&[("x-request-timeout-ms", "1000"), ("grpc-timeout", "soon")]);
    let mut exchange = world.serve(get("/"), &lines);
    world.clock.advance(Duration::from_millis(1250));
    exchange.answered(504);
    exchange.complete();
    for (series, expect) in [
        (
            "ripcord_deadline_remaining_seconds_sum{at=\"arrival\"}",
            "1",
        ),
        (
            "ripcord_deadline_remaining_seconds_bucket{at=\"arrival\",le=\"1\"}",
            "1",
        ),
        ("ripcord_deadline_remaining_seconds_sum{at=\"finish\"}", "0"),
        (
            "ripcord_deadline_remaining_seconds_bucket{at=\"finish\",le=\"0\"}",
            "1",
        ),
        (
            "ripcord_deadline_exceeded_total{side=\"server\",source=\"caller\"}",
            "1",
        ),
        (
            "ripcord_requests_cancelled_total{cause=\"caller_deadline\",side=\"server\"}",
            "1",
        ),
        (
            "ripcord_cancel_latency_seconds_sum{cause=\"caller_deadline\",side=\"server\"}",
            "0.25",
        ),
        ("ripcord_headers_rejected_total{header=\"deadline\"}", "1"),
    ] {
        assert_eq!(
            world.sample(series).as_deref(),
            Some(expect),
            "{series}\n{}",
            world.page()
        );
    }
}

#[test]
fn a_call_that_came_to_its_end_is_not_counted_as_cancelled() {
    let world = World::new();
    world.serve(get("/"), &HeaderMap::new()).complete();
    let (made, _, _) = world.call(&world.root, fetch("/"));
    made.complete();
    let page = world.page();
    assert!(!page.contains("ripcord_requests_cancelled"), "{page}");
    assert!(!page.contains("ripcord_deadline_exceeded"), "{page}");
}

#[test]
fn a_made_call_that_nobody_waits_for_is_cancelled_and_no_error_over_http() {
    let world = World::new();
    let (made, _, _) = world.call(&world.root, fetch("/"));
    drop(made);
    let series = "ripcord_requests_cancelled_total{cause=\"dropped\",side=\"client\"}";
    assert_eq!(
        world.sample(series).as_deref(),
        Some("1"),
        "{}",
        world.page()
    );
    assert!(!world.page().contains("error_type"), "{}", world.page());
}

#[test]
fn cancelled_grpc_calls_can_be_spared() {
    for (world, is_error) in [
        (World::new(), true),
        (
            World::with(ripcord_otel::TelemetryBuilder::spare_cancelled_grpc),
            false,
        ),
    ] {
        let (ctx, guard) = world.root.child();
        let (made, _, _) = world.call(&ctx, rpc(Side::Client, "/a.B/C"));
        guard.cancel("answered from the cache");
        made.complete();
        let page = world.page();
        assert_eq!(
            page.contains("error_type=\"CANCELLED\""),
            is_error,
            "{page}"
        );
        assert!(
            page.contains("rpc_response_status_code=\"CANCELLED\""),
            "{page}"
        );
    }
}

#[test]
fn buckets_of_prometheus_count_everything_up_to_their_bound() {
    let world = World::new();
    for ms in [1, 300, 300, 20_000] {
        let exchange = world.serve(get("/"), &HeaderMap::new());
        world.clock.advance(Duration::from_millis(ms));
        exchange.complete();
    }
    let labels = "http_request_method=\"GET\",network_protocol_version=\"1.1\",url_scheme=\"http\"";
    for (bound, count) in [
        ("0.005", "1"),
        ("0.25", "1"),
        ("0.5", "3"),
        ("10", "3"),
        ("+Inf", "4"),
    ] {
        let series = format!("{SERVER}_bucket{{{labels},le=\"{bound}\"}}");
        assert_eq!(world.sample(&series).as_deref(), Some(count), "{bound}");
    }
}

#[test]
fn a_record_that_nobody_ends_leaves_the_active_requests() {
    let world = World::new();
    let mut carried = Propagation::default().extract(&HeaderMap::new()).carried;
    let record = world.observer.start(&get("/"), &mut carried);
    assert_eq!(active(&world).as_deref(), Some("1"));
    drop(record);
    assert_eq!(active(&world).as_deref(), Some("0"));
    assert_eq!(world.ended().len(), 1, "nor does its span stay open");
}

#[test]
fn leaked_tasks_are_shown_and_a_counter_that_panics_is_contained() {
    let world = World::with(|builder| builder.leaked_tasks(|| 3).leaked_tasks(|| 4));
    assert_eq!(world.sample("ripcord_tasks_leaked").as_deref(), Some("7"));
    let world = World::with(|builder| builder.leaked_tasks(|| panic!("by design")));
    assert_eq!(world.sample("ripcord_tasks_leaked"), None);
    world.serve(get("/"), &HeaderMap::new()).complete();
    assert!(world.page().contains(SERVER), "the rest is there");
}

#[tokio::test]
async fn tasks_of_tokio_that_outlive_their_context_are_leaked() {
    use ripcord_tokio::CtxExt as _;
    let world = World::with(ripcord_otel::TelemetryBuilder::leaked_tokio_tasks);
    let count = || {
        world
            .sample("ripcord_tasks_leaked")
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = count();
    let (ctx, guard) = ripcord_tokio::root().build();
    let task = ctx.spawn("leak", |_| std::future::pending::<()>());
    assert_eq!(count(), before);
    guard.cancel("over");
    assert_eq!(count(), before + 1);
    task.abort();
    let _ = task.await;
    assert_eq!(count(), before);
}

/// How a call goes on and ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Route,
    Answer(u16),
    Grpc(i32),
    Fail,
    Cancel(u8),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum Finish {
    Complete,
    Drop,
    Release,
    LetGo,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Route),
        (100_u16..600).prop_map(Step::Answer),
        (-1..18).prop_map(Step::Grpc),
        Just(Step::Fail),
        (0_u8..4).prop_map(Step::Cancel),
        (0_u64..3000).prop_map(Step::Wait),
    ]
}

fn finish() -> impl Strategy<Value = Finish> {
    prop_oneof![
        Just(Finish::Complete),
        Just(Finish::Drop),
        Just(Finish::Release),
        Just(Finish::LetGo),
    ]
}

/// Serves one call on a world.
fn play(world: &World, is_grpc: bool, budget: Option<u64>, steps: &[Step], end: Finish) {
    let protocol = if is_grpc {
        Protocol::Grpc
    } else {
        Protocol::Http
    };
    let path = "/a.B/C";
    let call = Call::new(Side::Server, protocol, "GET", path);
    let mut lines = HeaderMap::new();
    if let Some(budget) = budget {
        lines.insert("x-request-timeout-ms", budget.into());
    }
    let (root, guard) = world.root.child();
    let incoming = Propagation::default().extract(&lines);
    let now = root.clock_now();
    let mut exchange =
        ripcord_propagation::Exchange::begin(&root, incoming, call, now, Some(&world.observer));
    let mut guard = Some(guard);
    for step in steps {
        match *step {
            Step::Route => exchange.routed("/{x}"),
            Step::Answer(status) => exchange.answered(status),
            Step::Grpc(code) => exchange.grpc_status(GrpcCode::from_number(code)),
            Step::Fail => exchange.failed(&"broken pipe"),
            Step::Cancel(kind) => {
                let kinds = [Kind::Shutdown, Kind::PeerGone, Kind::Custom, Kind::Panicked];
                if let Some(guard) = guard.take() {
                    guard.cancel(kinds[usize::from(kind)]);
                }
            }
            Step::Wait(ms) => world.clock.advance(Duration::from_millis(ms)),
        }
    }
    match end {
        Finish::Complete => exchange.complete(),
        Finish::Drop => drop(exchange),
        Finish::Release => exchange.release(),
        Finish::LetGo => exchange.let_go(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn active_requests_return_to_zero_on_every_ending(
        calls in prop::collection::vec(
            (any::<bool>(), prop::option::of(1_u64..2000), prop::collection::vec(step(), 0..6), finish()),
            1..6,
        ),
    ) {
        let world = World::new();
        for (is_grpc, budget, steps, end) in &calls {
            play(&world, *is_grpc, *budget, steps, *end);
        }
        let active = world.sample("http_server_active_requests{http_request_method=\"GET\"}");
        prop_assert_eq!(active.as_deref(), Some("0"), "{}", world.page());
        // Each call has ended its span and was measured once.
        let ended = world.ended();
        prop_assert_eq!(ended.len(), calls.len());
        for span in &ended {
            let has_error = support::attribute(span, "error.type").is_some();
            let is_error = matches!(span.status, opentelemetry::trace::Status::Error { .. });
            prop_assert_eq!(has_error, is_error, "{:?}", span);
            let keys: std::collections::HashSet<_> = span.attributes.iter().map(|pair| &pair.key).collect();
            prop_assert_eq!(keys.len(), span.attributes.len(), "a key twice: {:?}", span);
        }
    }

    #[test]
    fn nothing_of_a_peer_becomes_a_label(
        method in "[!-~]{1,12}",
        path in "/[!-~]{8,40}",
        authority in "[a-z0-9]{8,20}(:[0-9]{1,6})?",
        scheme in "[a-z]{9,12}",
        is_grpc in any::<bool>(),
        code in 0_i32..17,
    ) {
        let world = World::new();
        let protocol = if is_grpc { Protocol::Grpc } else { Protocol::Http };
        let mut call = Call::new(Side::Server, protocol, &method, &path);
        call.scheme = Some(&scheme);
        call.authority = Some(&authority);
        let mut exchange = world.serve(call, &HeaderMap::new());
        exchange.grpc_status(GrpcCode::from_number(code));
        exchange.complete();
        let page = world.page();
        let host = authority.split(':').next().unwrap();
        // A method of gRPC is learned from a handler's answer, and only if it could be one.
        let is_name = path[1..].split_once('/').is_some();
        for part in [path.as_str(), host, &scheme] {
            if !(is_grpc && is_name && part == path) {
                prop_assert!(!page.contains(part), "{part}\n{page}");
            }
        }
    }
}
