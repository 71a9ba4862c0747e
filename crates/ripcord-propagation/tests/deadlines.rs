//! Deadlines that arrive: which headers are read, what of them counts, and what the context makes of it.
//!
//! Absolute ones need a time of day that stands still: they are in `src/extract.rs`.

mod support;

use http::{HeaderMap, HeaderValue};
use ripcord_core::{Ctx, Kind};
use ripcord_propagation::{
    Call, Carried, CtxCarried as _, DeadlinePolicy, DeadlineSource, Exchange, Propagation,
    Protocol, Side, verdict,
};
use ripcord_test::TestClock;
use ripcord_wire::timeout::{TimeoutHeader, Unit};
use std::time::Duration;
use support::{Fields, built, extract, ms};

const HOUR: Duration = Duration::from_secs(3_600);

//= P4
#[test]
fn of_several_deadlines_the_smallest_counts() {
    for (lines, expect) in [
        (&[][..], None),
        (&[("x-request-timeout-ms", "1500")], Some(ms(1_500))),
        (&[("connect-timeout-ms", "1500")], Some(ms(1_500))),
        (&[("grpc-timeout", "1500m")], Some(ms(1_500))),
        (
            &[("grpc-timeout", "2S"), ("grpc-timeout", "1S")],
            Some(ms(1_000)),
        ),
        (
            &[("grpc-timeout", "1S"), ("grpc-timeout", "2S")],
            Some(ms(1_000)),
        ),
        (
            &[
                ("x-request-timeout-ms", "900"),
                ("grpc-timeout", "1S"),
                ("connect-timeout-ms", "800"),
            ],
            Some(ms(800)),
        ),
        (&[("x-timeout-ms", "5"), ("timeout", "5")], None),
    ] {
        let incoming = extract(lines);
        assert_eq!(incoming.budget, expect, "{lines:?}");
        assert!(incoming.rejects.is_empty(), "{lines:?}");
        let source = expect.map(|_| DeadlineSource::Caller);
        assert_eq!(incoming.deadline_source, source, "{lines:?}");
        assert_eq!(incoming.carried.deadline_source(), source, "{lines:?}");
        assert_eq!(incoming.carried.budget(), expect, "{lines:?}");
    }
}

//= P4, P5
#[test]
fn what_is_no_time_out_counts_as_absent() {
    let none = [
        "",
        "0",
        "S",
        "100000000S",
        "-1S",
        "1 S",
        "1s",
        " 1S",
        "1S ",
        "+5S",
        "٣S",
        "1H2M",
        "1.5S",
        "0x1S",
        "1S\u{0}",
    ];
    for value in none {
        let incoming = extract(&[("grpc-timeout", value)]);
        assert_eq!(incoming.budget, None, "{value:?}");
        assert_eq!(incoming.rejects.deadline, 1, "{value:?}");
        let both = extract(&[("grpc-timeout", value), ("grpc-timeout", "7S")]);
        assert_eq!(both.budget, Some(ms(7_000)), "{value:?}");
        assert_eq!(both.rejects.deadline, 1, "{value:?}");
    }
    let digits = "1".repeat(1 << 20);
    for value in ["", "1m", "-1", "1.0", "10000000000", "1,2", &digits] {
        let incoming = extract(&[
            ("x-request-timeout-ms", value),
            ("connect-timeout-ms", value),
        ]);
        assert_eq!(incoming.budget, None, "{value:.20?}");
        assert_eq!(incoming.rejects.deadline, 2, "{value:.20?}");
    }
}

//= P6
#[test]
fn a_client_cannot_buy_time() {
    let caller = |budget| (Some(budget), Some(DeadlineSource::Caller));
    let own = |budget| (Some(budget), Some(DeadlineSource::Policy));
    for (value, expect) in [
        ("1n", caller(ms(1))),
        ("1m", caller(ms(1))),
        ("3600S", caller(HOUR)),
        ("3601S", own(HOUR)),
        ("99999999H", own(HOUR)),
    ] {
        let incoming = extract(&[("grpc-timeout", value)]);
        assert_eq!(
            (incoming.budget, incoming.deadline_source),
            expect,
            "{value}"
        );
        assert!(incoming.rejects.is_empty(), "{value}");
    }
}

//= P6
#[test]
fn who_asks_for_nothing_gets_the_default_and_everybody_less_than_the_reserve() {
    let policy = DeadlinePolicy::new(ms(10), ms(1_000))
        .and_then(|policy| policy.with_default(ms(500)))
        .and_then(|policy| policy.with_reserve(ms(5)))
        .unwrap();
    let propagation = built(|builder| builder.deadline(policy));
    assert_eq!(propagation.deadline_policy(), &policy);
    for (value, budget, source) in [
        (None, ms(495), DeadlineSource::Policy),
        (Some("100"), ms(95), DeadlineSource::Caller),
        (Some("1"), ms(5), DeadlineSource::Caller),
        (Some("1000"), ms(995), DeadlineSource::Caller),
        (Some("1001"), ms(995), DeadlineSource::Policy),
        (Some("0"), ms(0), DeadlineSource::Caller),
        (Some("nonsense"), ms(495), DeadlineSource::Policy),
    ] {
        let lines: Vec<_> = value
            .map(|value| ("x-request-timeout-ms", value))
            .into_iter()
            .collect();
        let incoming = propagation.extract(&Fields::of(&lines));
        assert_eq!(incoming.budget, Some(budget), "{value:?}");
        assert_eq!(incoming.deadline_source, Some(source), "{value:?}");
    }
}

//= P6
#[test]
fn a_deadline_that_has_passed_leaves_a_context_that_is_done() {
    let (root, _guard) = TestClock::new().ctx();
    let ctx = extract(&[("grpc-timeout", "0S")]).context(&root);
    assert_eq!(ctx.check().unwrap_err().kind(), Kind::DeadlineExceeded);
    assert!(!root.is_done());
    assert!(
        ctx.request_id().is_some(),
        "what it carried can still be told"
    );
}

#[test]
fn envoys_headers_are_believed_only_where_that_is_configured() {
    let lines = [
        ("x-envoy-expected-rq-timeout-ms", "100"),
        ("x-server-timeout", "0.2"),
    ];
    let incoming = extract(&lines);
    assert_eq!((incoming.budget, incoming.rejects.deadline), (None, 0));
    let propagation = built(|builder| builder.read_timeout(TimeoutHeader::ENVOY_EXPECTED));
    assert_eq!(
        propagation.extract(&Fields::of(&lines)).budget,
        Some(ms(100))
    );
    let propagation = built(|builder| builder.read_timeout(TimeoutHeader::SERVER));
    assert_eq!(
        propagation.extract(&Fields::of(&lines)).budget,
        Some(ms(200))
    );
}

#[test]
fn headers_of_ones_own_are_read_beside_or_instead_of_the_others() {
    let own = TimeoutHeader::new("Timeout", Unit::Human).unwrap();
    let lines = Fields::of(&[("timeout", "250ms"), ("grpc-timeout", "1m")]);
    let beside = built(|builder| builder.read_timeout(own.clone()).read_timeout(own.clone()));
    assert_eq!(beside.extract(&lines).budget, Some(ms(1)));
    let instead = built(|builder| builder.read_timeouts_only([own]));
    assert_eq!(instead.extract(&lines).budget, Some(ms(250)));
    let deaf = built(|builder| builder.read_timeouts_only([]));
    assert_eq!(deaf.extract(&lines).budget, None);
}

//= P8
#[test]
fn absolute_deadlines_are_not_looked_at_unless_clocks_are_trusted() {
    let incoming = extract(&[
        ("x-request-deadline", "1"),
        ("x-request-deadline", "nonsense"),
        ("l5d-ctx-deadline", "AAAAAAAAAAEAAAAAAAAABQ=="),
        ("com.twitter.finagle.deadline", ""),
    ]);
    assert_eq!(incoming.budget, None);
    assert!(incoming.rejects.is_empty());
}

//= P10
#[test]
fn time_in_a_queue_counts() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let incoming = extract(&[("x-request-timeout-ms", "100")]);
    let arrived = clock.now();
    clock.advance(ms(30));
    let ctx = incoming.clone().context_since(&root, arrived);
    assert_eq!(ctx.remaining(), Some(ms(70)));
    assert_eq!(incoming.clone().context(&root).remaining(), Some(ms(100)));
    clock.advance(ms(70));
    let late = incoming.context_since(&root, arrived);
    assert_eq!(late.check().unwrap_err().kind(), Kind::DeadlineExceeded);
}

//= P40
#[test]
fn the_servers_own_deadline_stands_and_is_not_the_callers() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let server = root.with_timeout(ms(50));
    let said = |timeout: &str| extract(&[("grpc-timeout", timeout)]);
    let told = |ctx: &Ctx| {
        let carried = ctx.carried().unwrap();
        (ctx.remaining(), carried.budget(), carried.deadline_source())
    };
    let [short, long] = [Some(ms(20)), Some(ms(50))];
    let caller = Some(DeadlineSource::Caller);
    assert_eq!(told(&said("1H").context(&server)), (long, long, None));
    assert_eq!(told(&said("50m").context(&server)), (long, long, None));
    assert_eq!(told(&said("20m").context(&server)), (short, short, caller));
    assert_eq!(told(&extract(&[]).context(&server)), (long, long, None));

    // An exchange tells its observer the same, and so the caller is not blamed.
    let call = Call::new(Side::Server, Protocol::Http, "GET", "/");
    let exchange = Exchange::begin(&server, said("1S"), call, clock.now(), None);
    assert_eq!(told(exchange.ctx()), (long, long, None));
    clock.advance(ms(50));
    let cause = exchange.ctx().cause().unwrap();
    let source = exchange.ctx().carried().unwrap().deadline_source();
    let blamed = |source| verdict(&cause, source, Side::Server).label;
    assert_ne!(blamed(source), blamed(caller));
    let ctx = extract(&[]).context(&root);
    assert_eq!(ctx.remaining(), None);
}

#[test]
fn a_budget_beyond_all_clocks_is_no_deadline() {
    let policy = DeadlinePolicy::new(ms(1), Duration::MAX).unwrap();
    let propagation = built(|builder| builder.deadline(policy));
    let years = Fields::of(&[("grpc-timeout", "99999999H")]);
    let (root, _guard) = TestClock::new().ctx();
    // 11 thousand years fit into an instant on some platforms and not on others; neither panics.
    let ctx = propagation.extract(&years).context(&root);
    assert!(!ctx.is_done());
}

#[test]
fn headers_of_http_are_read_as_those_of_messages() {
    let mut headers = HeaderMap::new();
    headers.append("GRPC-Timeout", HeaderValue::from_static("2S"));
    headers.append("grpc-timeout", HeaderValue::from_static("1S"));
    let opaque = HeaderValue::from_bytes(b"\xff").unwrap();
    headers.append("x-request-timeout-ms", opaque);
    let incoming = Propagation::default().extract(&headers);
    assert_eq!(incoming.budget, Some(ms(1_000)));
    assert_eq!(incoming.rejects.deadline, 1);
    let named: Vec<_> = incoming
        .rejects
        .iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(named, [("deadline", 1)]);
}

#[test]
fn a_request_of_ones_own_has_the_default_deadline() {
    let policy = DeadlinePolicy::default().with_default(ms(500)).unwrap();
    let propagation = built(|builder| builder.deadline(policy));
    let ctx = propagation.originate().context(&Ctx::background());
    assert!(ctx.remaining() <= Some(ms(500)));
    assert_eq!(ctx.carried().and_then(Carried::budget), Some(ms(500)));
}
