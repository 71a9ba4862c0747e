//! The status of spans: the whole table, row by row.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use http::HeaderMap;
use opentelemetry::trace::Status;
use ripcord_core::{Cause, Ctx, Kind};
use ripcord_propagation::{Call, CallSpan, Exchange, GrpcCode, Propagation, Protocol, Side};
use support::{World, attribute};

/// What a call ended with.
#[derive(Clone, Copy, Debug)]
enum With {
    /// Nothing: the call came to its end.
    Nothing,
    Http(u16),
    Grpc(GrpcCode),
    Failure,
    /// The context was cancelled, and the call answered nothing.
    Cause(Kind),
    /// The context was cancelled, and the call answered this.
    Answered(Kind, u16),
}

fn end(world: &World, side: Side, protocol: Protocol, with: With) -> Option<String> {
    world.spans.reset();
    let (root, guard) = world.root.child();
    let call = Call::new(side, protocol, "GET", "/a.B/C");
    let (status, code, kind, fails) = match with {
        With::Nothing => (None, None, None, false),
        With::Http(status) => (Some(status), None, None, false),
        With::Grpc(code) => (Some(200), Some(code), None, false),
        With::Failure => (None, None, None, true),
        With::Cause(kind) => (None, None, Some(kind), false),
        With::Answered(kind, status) => (Some(status), None, Some(kind), false),
    };
    let cause = kind.map(Cause::new);
    let cancel = |ctx: &Ctx| {
        cause.clone().map(|cause| {
            guard.cancel(cause);
            ctx.cause().unwrap()
        })
    };
    // Two types with the same methods.
    macro_rules! play {
        ($call:expr) => {{
            let mut call = $call;
            if let Some(cause) = cancel(call.ctx()) {
                call.cancelled(&cause);
            }
            if let Some(status) = status {
                call.answered(status);
            }
            if let Some(code) = code {
                call.grpc_status(code);
            }
            if fails {
                call.failed(&"broken pipe");
            }
            call.complete();
        }};
    }
    if side == Side::Server {
        let incoming = Propagation::default().extract(&HeaderMap::new());
        let now = root.clock_now();
        play!(Exchange::begin(
            &root,
            incoming,
            call,
            now,
            Some(&world.observer)
        ));
    } else {
        let mut carried = Propagation::default().for_call(&root);
        play!(CallSpan::begin(
            &root,
            &mut carried,
            call,
            Some(&world.observer)
        ));
    }
    let span = world.only();
    let error = attribute(&span, "error.type");
    let is_error = matches!(span.status, Status::Error { .. });
    assert_eq!(error.is_some(), is_error, "{with:?} {span:?}");
    error
}

#[test]
fn http() {
    let world = World::new();
    for (with, server, client) in [
        (With::Nothing, None, None),
        (With::Http(200), None, None),
        (With::Http(399), None, None),
        (With::Http(404), None, Some("404")),
        (With::Http(408), None, Some("408")),
        (With::Http(499), None, Some("499")),
        (With::Http(500), Some("500"), Some("500")),
        (With::Http(504), Some("504"), Some("504")),
        (With::Failure, Some("_OTHER"), Some("_OTHER")),
        (With::Cause(Kind::PeerGone), None, None),
        (
            With::Cause(Kind::DeadlineExceeded),
            Some("timeout"),
            Some("timeout"),
        ),
        (With::Cause(Kind::Shutdown), Some("shutdown"), None),
        (With::Cause(Kind::Signal), Some("shutdown"), None),
        (With::Cause(Kind::Cancelled), Some("cancelled"), None),
        (With::Cause(Kind::Custom), Some("cancelled"), None),
        (With::Cause(Kind::SiblingFailed), Some("cancelled"), None),
        (With::Cause(Kind::Dropped), Some("cancelled"), None),
        (With::Cause(Kind::Panicked), Some("panic"), Some("panic")),
        (
            With::Answered(Kind::DeadlineExceeded, 504),
            Some("timeout"),
            Some("timeout"),
        ),
        (With::Answered(Kind::PeerGone, 200), None, None),
    ] {
        for (side, expect) in [(Side::Server, server), (Side::Client, client)] {
            let found = end(&world, side, Protocol::Http, with);
            assert_eq!(found.as_deref(), expect, "{side:?} {with:?}");
        }
    }
}

#[test]
fn grpc_codes() {
    let world = World::new();
    let server_errors = [2, 4, 12, 13, 14, 15];
    for number in 0..17 {
        let code = GrpcCode::from_number(number);
        let with = With::Grpc(code);
        let server = server_errors.contains(&number).then(|| code.name());
        let client = (number != 0).then(|| code.name());
        for (side, expect) in [(Side::Server, server), (Side::Client, client)] {
            let found = end(&world, side, Protocol::Grpc, with);
            assert_eq!(found.as_deref(), expect, "{side:?} {code:?}");
        }
    }
}

#[test]
fn grpc_causes() {
    let world = World::new();
    for (kind, server, client) in [
        (Kind::PeerGone, None, "CANCELLED"),
        (
            Kind::DeadlineExceeded,
            Some("DEADLINE_EXCEEDED"),
            "DEADLINE_EXCEEDED",
        ),
        (Kind::Shutdown, Some("UNAVAILABLE"), "UNAVAILABLE"),
        (Kind::Cancelled, None, "CANCELLED"),
        (Kind::Panicked, Some("INTERNAL"), "INTERNAL"),
    ] {
        for (side, expect) in [(Side::Server, server), (Side::Client, Some(client))] {
            let found = end(&world, side, Protocol::Grpc, With::Cause(kind));
            assert_eq!(found.as_deref(), expect, "{side:?} {kind:?}");
        }
    }
    let failed = end(&world, Side::Server, Protocol::Grpc, With::Failure);
    assert_eq!(failed.as_deref(), Some("UNKNOWN"));
}
