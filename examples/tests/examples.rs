//! Every example runs and shows the events that its text promises, in the promised order.
//!
//! Time is paused where an example has a runtime of its own, so that none of them waits.

#[path = "../blocking.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod blocking;
#[path = "../http_timeout.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod http_timeout;
#[path = "../layers.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod layers;
#[path = "../shutdown.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod shutdown;
#[path = "../singleflight.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod singleflight;
#[path = "../w3c_echo.rs"]
#[expect(dead_code, reason = "`main` is for `cargo run --example`")]
mod w3c_echo;

/// Where an event stands that begins with `start`.
fn at(events: &[String], start: &str) -> usize {
    let found = events.iter().position(|event| event.starts_with(start));
    found.unwrap_or_else(|| panic!("no event begins with `{start}`: {events:#?}"))
}

/// Checks that each event comes before the next one, whatever stands between them.
fn in_order(events: &[String], starts: &[&str]) {
    for pair in starts.windows(2) {
        let (first, then) = (at(events, pair[0]), at(events, pair[1]));
        assert!(first < then, "{pair:?} in {events:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn layers_end_together_and_are_taken_down_in_order() {
    let events = layers::run().await;
    in_order(
        &events,
        &["connection: up", "store: up", "listener a: up", "cancel: "],
    );
    in_order(
        &events,
        &["listener a: 7", "refresher: 2 entries", "cancel: "],
    );

    // Hooks run inside the cancel, the last registered first.
    let cancel = at(&events, "cancel: ");
    assert_eq!(at(&events, "hook of the store"), cancel + 1);
    assert_eq!(at(&events, "hook of the connection"), cancel + 2);

    // Then every layer is done, and none of them has noticed yet.
    let layers = [
        "connection",
        "store",
        "listener a",
        "listener b",
        "refresher",
    ];
    for layer in layers {
        let seen = at(&events, &format!("{layer}: is done = true"));
        assert!((cancel + 3..cancel + 8).contains(&seen), "{events:#?}");
    }

    // Users, store, connection.
    for user in ["listener a: down", "listener b: down", "refresher: down"] {
        in_order(
            &events,
            &["refresher: is done", user, "store: saved, 2 entries"],
        );
    }
    in_order(
        &events,
        &["store: saved", "connection: closed", "resource: Ok(())"],
    );
    assert!(
        events
            .last()
            .is_some_and(|last| last.contains(r#""bye\n""#))
    );
    assert_eq!(at(&events, "resource: "), events.len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_load_ends_with_its_last_caller() {
    let events = singleflight::run().await;
    let loads = events.iter().filter(|event| *event == "load: begins");
    assert_eq!(loads.count(), 3, "{events:#?}");
    in_order(
        &events,
        &[
            "load: begins",
            "the first caller",
            "first: cancelled",
            "load: has",
            "third: 42",
        ],
    );
    in_order(
        &events,
        &[
            "load: has",
            "second: 42",
            "both callers",
            "load: ends early",
        ],
    );
    let second_load = &events[at(&events, "both callers")..];
    in_order(
        second_load,
        &["fifth: cancelled", "load: begins", "load: has", "late: 42"],
    );
}

#[test]
fn threads_wake_notice_and_are_refused() {
    assert_eq!(
        blocking::run(),
        [
            "janitor: swept",
            r#"janitor: woken, Some("moving out")"#,
            "sum: 49995000",
            "sum: deadline exceeded, set by `sum`",
            "waiter: after no time None",
            "waiter: deadline exceeded",
            "endless sum: cancelled",
            "too late: started = false",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_through_its_phases() {
    let events = shutdown::run().await;
    assert_eq!(
        events[..6],
        [
            "shutdown: begins",
            "acceptor: closed, phase Draining",
            "quick: answered, phase Draining",
            "slow: gave up, shutting down",
            "commit: complete, phase Cancelled",
            "report: lost, phase Forced",
        ]
    );
    // Which line it waits at is known where the build has line tables.
    assert_eq!(at(&events, "server: aborted `stuck`, waits at "), 6);
    assert_eq!(events.len(), 7, "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn requests_end_with_an_answer_that_tells_why() {
    let events = http_timeout::run().await;
    assert_eq!(
        events[..3],
        [
            "/fast: 200, quick",
            "/slow: 504, deadline exceeded in `query`",
            "the client hangs up",
        ]
    );
    at(&events, "request over: guard dropped");
    at(&events, "worker: ends, guard dropped");
    in_order(
        &events,
        &[
            "worker: ends, guard dropped",
            "request over: shutting down",
            "/report: 503",
        ],
    );
    in_order(
        &events,
        &["request over: shutting down", "worker: ends, shutting down"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_on_where_it_is_one() {
    let events = w3c_echo::run().await.expect("nothing fails here");
    let calls: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("call: "))
        .collect();
    assert_eq!(
        calls,
        [
            "call: the same trace, a new span, flags 01, state rojo=00f067aa0ba902b7",
            "call: a new trace, a new span, flags 03, state none",
            "call: a new trace, a new span, flags 03, state none",
        ]
    );
}
