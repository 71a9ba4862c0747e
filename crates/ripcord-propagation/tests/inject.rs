//! What goes out with a call: to whom, in which headers, and what stays here.

mod support;

use http::{HeaderMap, HeaderValue};
use ripcord_core::{Ctx, Kind};
use ripcord_propagation::{CarrierMut as _, CtxCarried as _, PeerPolicy, Propagation, TraceFormat};
use ripcord_test::TestClock;
use ripcord_wire::baggage::{Baggage, Limits};
use ripcord_wire::timeout::{TimeoutHeader, Unit};
use ripcord_wire::trace::SpanId;
use std::time::Duration;
use support::{Fields, PARENT, SPAN_ID, TRACE_ID, built, injected, ms, request};

/// Names of headers that no test may find on its own.
const EVERYTHING: [&str; 17] = [
    "b3",
    "baggage",
    "com.twitter.finagle.deadline",
    "connect-timeout-ms",
    "grpc-timeout",
    "l5d-ctx-deadline",
    "traceparent",
    "tracestate",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-context-ext",
    "x-request-deadline",
    "x-request-id",
    "x-request-timeout-ms",
];

const FULL: [(&str, &str); 5] = [
    ("traceparent", PARENT),
    ("tracestate", "a=1"),
    ("baggage", "tenant=acme,region=eu"),
    ("x-request-id", "7f3a"),
    ("x-request-timeout-ms", "1500"),
];

//= P21
#[test]
fn each_peer_is_told_what_it_may_know() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    let trace = [
        "traceparent",
        "tracestate",
        "x-request-id",
        "x-request-timeout-ms",
    ];
    let internal = ["baggage", trace[0], trace[1], trace[2], trace[3]];
    for (peer, expect) in [
        (PeerPolicy::internal(), &internal[..]),
        (PeerPolicy::external(), &trace),
        (PeerPolicy::default(), &trace),
        (PeerPolicy::silent(), &[]),
        (PeerPolicy::external().with_baggage(["region"]), &internal),
        (PeerPolicy::external().with_baggage(["nothing"]), &trace),
        (PeerPolicy::silent().with_baggage(["region"]), &["baggage"]),
    ] {
        assert_eq!(
            injected(&propagation, &ctx, &peer).names(),
            expect,
            "{peer:?}"
        );
    }
}

//= P14, P21
#[test]
fn baggage_goes_by_key_in_its_order_and_what_stays_is_counted() {
    let propagation = Propagation::default();
    let lines = [("baggage", "a=1,b=2;p=x,a=3,c=%25")];
    let (ctx, _clock) = request(&propagation, &lines);
    let only = |keys: &[&'static str]| PeerPolicy::external().with_baggage(keys.to_vec());
    for (peer, expect, dropped) in [
        (PeerPolicy::internal(), Some("a=1,b=2;p=x,a=3,c=%25"), 0),
        (
            PeerPolicy::internal().with_baggage(["a"]),
            Some("a=1,b=2;p=x,a=3,c=%25"),
            0,
        ),
        (only(&["a"]), Some("a=1,a=3"), 2),
        (only(&["b"]).with_baggage(["c"]), Some("b=2;p=x,c=%25"), 2),
        (only(&["A", "d"]), None, 4),
        (only(&[]), None, 4),
        (PeerPolicy::external(), None, 4),
    ] {
        let mut fields = Fields::default();
        let sent = propagation.inject(&ctx, &peer, &mut fields).unwrap();
        assert_eq!(fields.get("baggage"), expect, "{peer:?}");
        assert_eq!(sent.baggage_dropped, dropped, "{peer:?}");
    }
}

//= P15
#[test]
fn baggage_of_ones_own_keeps_the_limits_of_the_configuration() {
    let limits = Limits {
        members_max: 2,
        bytes_max: 64,
    };
    let propagation = built(|builder| builder.baggage_limits(limits));
    let (ctx, _clock) = request(&propagation, &[]);
    let ctx =
        ctx.with_baggage(Baggage::try_from_iter([("a", "1"), ("b", "2"), ("c", "3")]).unwrap());
    let mut fields = Fields::default();
    let sent = propagation
        .inject(&ctx, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!(fields.get("baggage"), Some("a=1,b=2"));
    assert_eq!(sent.baggage_dropped, 1);
    let keys = PeerPolicy::external().with_baggage(["b", "c"]);
    let sent = propagation.inject(&ctx, &keys, &mut fields).unwrap();
    assert_eq!(fields.get("baggage"), Some("b=2,c=3"));
    assert_eq!(
        sent.baggage_dropped, 1,
        "what is not allowed uses up no limit"
    );
}

//= P2
#[test]
fn the_callee_gets_what_is_left_less_the_reserve() {
    let propagation = Propagation::default();
    let (ctx, clock) = request(&propagation, &FULL);
    clock.advance(ms(500));
    for (peer, name, text, budget) in [
        (
            PeerPolicy::external(),
            "x-request-timeout-ms",
            "1000",
            ms(1_000),
        ),
        (
            PeerPolicy::external().with_reserve(ms(5)),
            "x-request-timeout-ms",
            "995",
            ms(995),
        ),
        (
            PeerPolicy::internal()
                .with_timeout_header(TimeoutHeader::GRPC)
                .with_reserve(ms(1)),
            "grpc-timeout",
            "999000u",
            ms(999),
        ),
        (
            PeerPolicy::external().with_timeout_header(TimeoutHeader::CONNECT),
            "connect-timeout-ms",
            "1000",
            ms(1_000),
        ),
    ] {
        let mut fields = Fields::default();
        let sent = propagation.inject(&ctx, &peer, &mut fields).unwrap();
        assert_eq!(fields.get(name), Some(text));
        assert_eq!(sent.budget, Some(budget));
        assert_eq!(sent.timeout.map(|timeout| timeout.value()), Some(budget));
        let timeouts = fields
            .names()
            .iter()
            .filter(|name| name.contains("timeout"))
            .count();
        assert_eq!(timeouts, 1, "{fields:?}");
    }
}

#[test]
fn a_grpc_server_is_told_in_its_own_header() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    for (peer, expect) in [
        (PeerPolicy::external(), Some("1500000u")),
        (PeerPolicy::silent(), None),
        (
            PeerPolicy::external().with_timeout_header(TimeoutHeader::CONNECT),
            None,
        ),
    ] {
        let fields = injected(&propagation, &ctx, &peer.for_grpc());
        assert_eq!(fields.get("grpc-timeout"), expect);
        assert_eq!(fields.get("x-request-timeout-ms"), None);
    }
}

#[test]
fn a_deadline_may_go_in_several_headers() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    let peer = PeerPolicy::external().and_timeout_header(TimeoutHeader::ENVOY_UPSTREAM);
    let mut fields = Fields::of(&[("x-envoy-upstream-rq-timeout-ms", "9"), ("accept", "x")]);
    let sent = propagation.inject(&ctx, &peer, &mut fields).unwrap();
    assert_eq!(fields.get("x-request-timeout-ms"), Some("1500"));
    assert_eq!(
        fields.get("x-envoy-upstream-rq-timeout-ms"),
        Some("1500"),
        "the stale one is gone"
    );
    assert_eq!(sent.timeout.map(|timeout| timeout.value()), Some(ms(1_500)));
}

//= P1, P2
#[test]
fn a_deadline_is_rounded_up_and_never_zero() {
    let propagation = Propagation::default();
    let (root, _guard) = TestClock::new().ctx();
    for (nanos, expect) in [(1, "1"), (999_999, "1"), (1_000_000, "1"), (1_000_001, "2")] {
        let ctx = root.with_timeout(Duration::from_nanos(nanos));
        let mut fields = Fields::default();
        let sent = propagation
            .inject(&ctx, &PeerPolicy::external(), &mut fields)
            .unwrap();
        assert_eq!(
            fields.get("x-request-timeout-ms"),
            Some(expect),
            "{nanos} ns"
        );
        assert_eq!(sent.budget, Some(Duration::from_nanos(nanos)));
    }
}

#[test]
fn without_a_deadline_none_is_sent() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL[..4]);
    let mut fields = Fields::of(&[("grpc-timeout", "1S"), ("x-request-timeout-ms", "1")]);
    let sent = propagation
        .inject(&ctx, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!((sent.timeout, sent.budget), (None, None));
    assert!(
        !fields.names().iter().any(|name| name.contains("timeout")),
        "{fields:?}"
    );
}

#[test]
fn a_stale_time_out_of_the_peers_own_header_goes_where_there_is_no_deadline() {
    let propagation = Propagation::default();
    let peer = PeerPolicy::external().and_timeout_header(TimeoutHeader::ENVOY_UPSTREAM);
    let mut fields = Fields::of(&[("x-envoy-upstream-rq-timeout-ms", "9"), ("accept", "x")]);
    let sent = propagation.inject(&Ctx::background(), &peer, &mut fields);
    assert!(sent.is_ok());
    assert_eq!(fields.names(), ["accept"]);
}

#[test]
fn outside_of_a_request_only_the_deadline_goes_out() {
    let propagation = Propagation::default();
    let (root, _guard) = TestClock::new().ctx();
    let ctx = root.with_timeout(ms(250));
    assert_eq!(
        injected(&propagation, &ctx, &PeerPolicy::internal()).names(),
        ["x-request-timeout-ms"]
    );
    let call = propagation.for_call(&ctx);
    let mut fields = Fields::default();
    propagation
        .inject_as(&ctx, &call, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!(
        fields.names(),
        ["traceparent", "x-request-id", "x-request-timeout-ms"]
    );
    assert_eq!(fields.get("x-request-id"), Some(call.request_id().as_str()));
}

#[test]
fn a_call_is_a_span_of_its_own_in_the_same_trace() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    let here = ctx.trace().cloned().expect("it belongs to a request");
    let call = propagation.for_call(&ctx);
    assert_eq!(call.trace.trace_id, here.trace_id);
    assert_eq!(call.trace.parent_span_id, Some(here.span_id));
    assert!(!call.trace.is_remote_parent);
    let mut fields = Fields::default();
    propagation
        .inject_as(&ctx, &call, &PeerPolicy::external(), &mut fields)
        .unwrap();
    let expect = format!("00-{TRACE_ID}-{}-01", call.trace.span_id);
    assert_eq!(fields.get("traceparent"), Some(&*expect));
    // Without a span of its own, the call hangs below the span that serves the request.
    let plain = injected(&propagation, &ctx, &PeerPolicy::external());
    let expect = format!("00-{TRACE_ID}-{}-01", here.span_id);
    assert_eq!(plain.get("traceparent"), Some(&*expect));
}

//= P12, P13
#[test]
fn flags_and_state_go_out_as_they_came() {
    let propagation = built(|builder| builder.sample_new(true));
    for flags in ["00", "01", "02", "03"] {
        let parent = format!("00-{TRACE_ID}-{SPAN_ID}-{flags}");
        let lines = [("traceparent", &*parent), ("tracestate", "b=2 ,, a=1 ")];
        let (ctx, _clock) = request(&propagation, &lines);
        let fields = injected(&propagation, &ctx, &PeerPolicy::external());
        let sent = fields.get("traceparent").expect("it is sent");
        assert!(sent.ends_with(flags) && sent.contains(TRACE_ID), "{sent}");
        assert!(
            !sent.contains(SPAN_ID),
            "the caller's span is not this one's"
        );
        assert_eq!(fields.get("tracestate"), Some("b=2,a=1"));
    }
    let (ctx, _clock) = request(&propagation, &[("tracestate", "a=1")]);
    let fields = injected(&propagation, &ctx, &PeerPolicy::external());
    assert!(
        fields
            .get("traceparent")
            .is_some_and(|sent| sent.ends_with("-03"))
    );
    assert_eq!(
        fields.get("tracestate"),
        None,
        "no empty header, and none of another trace"
    );
}

#[test]
fn a_long_tracestate_is_cut_at_a_member() {
    let members: Vec<_> = (0..32)
        .map(|n| format!("k{n}={}", "v".repeat(250)))
        .collect();
    let state = members.join(",");
    let propagation = Propagation::default();
    let (ctx, _clock) = request(
        &propagation,
        &[("traceparent", PARENT), ("tracestate", &state)],
    );
    let fields = injected(&propagation, &ctx, &PeerPolicy::external());
    let sent = fields.get("tracestate").expect("it is sent");
    assert!(
        sent.len() <= 4096 && sent.len() > 3800,
        "{} bytes",
        sent.len()
    );
    assert!(
        sent.split(',').all(|member| member.len() >= 253),
        "whole members"
    );
}

#[test]
fn traces_go_out_in_every_configured_format() {
    use TraceFormat::{B3Multi, B3Single, W3c};
    let parent_of = |fields: &Fields, name| fields.get(name).map(str::to_owned);
    for (formats, names) in [
        (&[W3c][..], &["traceparent", "tracestate"][..]),
        (&[B3Single], &["b3"]),
        (
            &[B3Multi],
            &[
                "x-b3-parentspanid",
                "x-b3-sampled",
                "x-b3-spanid",
                "x-b3-traceid",
            ],
        ),
        (&[B3Single, W3c], &["b3", "traceparent", "tracestate"]),
        (&[], &[]),
    ] {
        let propagation = built(|builder| {
            let read = [W3c, B3Single]
                .into_iter()
                .filter(|format| formats.contains(format));
            let rest = formats.iter().copied();
            builder.trace_formats(rest.chain(read))
        });
        let single = format!("{TRACE_ID}-{SPAN_ID}-1");
        let lines = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("b3", &*single),
        ];
        let (ctx, _clock) = request(&propagation, &lines);
        let peer = PeerPolicy::external();
        let fields = injected(&propagation, &ctx, &peer);
        let sent: Vec<_> = fields
            .names()
            .into_iter()
            .filter(|name| *name != "x-request-id")
            .collect();
        // B3 has no state of vendors: a trace that was read from it has none either.
        let is_b3_first = formats.first() == Some(&B3Single);
        let expect: Vec<_> = names
            .iter()
            .filter(|name| !is_b3_first || **name != "tracestate")
            .collect();
        assert_eq!(sent.iter().collect::<Vec<_>>(), expect, "{formats:?}");
        let Some(trace) = ctx.trace() else {
            panic!("it belongs to a request")
        };
        if formats.contains(&B3Single) {
            let expect = format!("{TRACE_ID}-{}-1-{SPAN_ID}", trace.span_id);
            assert_eq!(parent_of(&fields, "b3"), Some(expect));
        }
        if formats == [B3Multi] {
            assert_eq!(fields.get("x-b3-spanid"), Some(&*trace.span_id.to_string()));
            assert_eq!(fields.get("x-b3-parentspanid"), Some(SPAN_ID));
            assert_eq!(fields.get("x-b3-sampled"), Some("1"));
        }
    }
}

#[test]
fn the_first_request_id_header_is_the_one_that_goes_out() {
    let propagation = built(|builder| builder.request_id_headers(["request-id", "x-request-id"]));
    let (ctx, _clock) = request(&propagation, &[("x-request-id", "7f3a")]);
    let mut fields = Fields::of(&[("x-request-id", "stale")]);
    propagation
        .inject(&ctx, &PeerPolicy::external(), &mut fields)
        .unwrap();
    assert_eq!(fields.names(), ["request-id", "traceparent"]);
    assert_eq!(fields.get("request-id"), Some("7f3a"));
}

//= P22
#[test]
fn forwarded_copies_of_what_is_owned_are_stale() {
    let own = TimeoutHeader::new("Timeout", Unit::Human).unwrap();
    let belgian = TimeoutHeader::new("belgov-request-timeout", Unit::Seconds).unwrap();
    let propagation = built(|builder| {
        let builder = builder.read_timeout(own).read_timeout(belgian);
        builder.request_id_headers(["x-request-id", "trace-token", "Correlation-Id", "Band"])
    });
    let more = [
        "timeout",
        "belgov-request-timeout",
        "trace-token",
        "correlation-id",
        "band",
    ];
    let names = || EVERYTHING.iter().chain(&more).copied();
    for name in names() {
        assert!(propagation.owns(name), "{name}");
    }
    for name in [
        "",
        "accept",
        "authorization",
        "host",
        "te",
        "trailer",
        "x-forwarded-for",
        "b",
        "x-b3",
    ] {
        assert!(!propagation.owns(name), "{name}");
    }
    let (ctx, _clock) = request(&propagation, &[]);
    let mut stale: Vec<_> = names().flat_map(|name| [(name, "stale"); 2]).collect();
    stale.push(("accept", "text/html"));
    stale.push(("accept", "text/plain"));

    let mut fields = Fields::of(&stale);
    propagation
        .inject(&ctx, &PeerPolicy::silent(), &mut fields)
        .unwrap();
    assert_eq!(fields.names(), ["accept", "accept"]);

    let mut headers = HeaderMap::new();
    for (name, value) in &stale {
        headers.append(*name, HeaderValue::from_static(value));
    }
    propagation
        .inject(&ctx, &PeerPolicy::silent(), &mut headers)
        .unwrap();
    assert_eq!((headers.len(), headers.keys_len()), (2, 1));
}

#[test]
fn whatever_is_written_is_owned() {
    use TraceFormat::{B3Multi, B3Single, W3c};
    let own = TimeoutHeader::new("Timeout", Unit::Human).unwrap();
    let builds = [
        built(|builder| builder),
        built(|builder| builder.trace_formats([W3c, B3Single, B3Multi])),
        built(|builder| {
            builder
                .request_id_headers(["Trace-Token"])
                .read_timeout(own.clone())
        }),
        built(|builder| builder.request_id_headers(Vec::<String>::new())),
        built(|builder| builder.read_timeouts_only([])),
    ];
    for propagation in builds {
        let (ctx, _clock) = request(&propagation, &FULL);
        let ctx = ctx.with_timeout(ms(10));
        let fields = injected(&propagation, &ctx, &PeerPolicy::internal());
        for name in fields.names() {
            assert!(propagation.owns(name), "{name} of {propagation:?}");
        }
    }
}

#[track_caller]
fn check_not_sent(ctx: &Ctx, peer: &PeerPolicy, kind: Kind) {
    let before = Fields::of(&[("x-request-timeout-ms", "9"), ("accept", "x")]);
    let mut fields = before.clone();
    let error = Propagation::default()
        .inject(ctx, peer, &mut fields)
        .expect_err("it cannot arrive in time");
    assert_eq!(error.kind(), kind);
    assert_eq!(fields, before, "nothing is written, and nothing taken out");
}

//= P1
#[test]
fn what_cannot_arrive_in_time_is_not_sent() {
    let (ctx, clock) = request(&Propagation::default(), &FULL);
    let own = ctx.with_timeout(ms(10));
    for reserve in [ms(10), ms(11), Duration::MAX] {
        let peer = PeerPolicy::internal().with_reserve(reserve);
        check_not_sent(&own, &peer, Kind::DeadlineExceeded);
        assert!(!own.is_done(), "it is only too late for this call");
    }
    clock.advance(ms(10));
    check_not_sent(&own, &PeerPolicy::internal(), Kind::DeadlineExceeded);
    let (child, guard) = ctx.child();
    guard.cancel(Kind::PeerGone);
    check_not_sent(&child, &PeerPolicy::silent(), Kind::PeerGone);
}

#[test]
fn the_error_of_a_call_that_is_not_sent_says_what_is_missing() {
    let (ctx, _clock) = request(&Propagation::default(), &FULL);
    let peer = PeerPolicy::external().with_reserve(ms(2_000));
    let error = Propagation::default()
        .inject(&ctx, &peer, &mut Fields::default())
        .unwrap_err();
    let message = error.cause().message().unwrap_or_default();
    assert!(
        message.contains("1.5s") && message.contains("2s"),
        "{message}"
    );
    assert_eq!(peer.reserve(), ms(2_000));
}

//= P16
#[test]
fn a_carrier_without_rules_gets_no_control_bytes() {
    let propagation = built(|builder| {
        use TraceFormat::{B3Multi, B3Single, W3c};
        builder.trace_formats([W3c, B3Single, B3Multi])
    });
    let lines = [
        ("baggage", "a=1;p=%0d%0aX-Injected: 1"),
        ("baggage", "b=%0d%0aset-cookie:%00%7f%1b[0m,c=%E2%80%AE"),
        ("tracestate", "a=1"),
        ("traceparent", PARENT),
    ];
    let (ctx, _clock) = request(&propagation, &lines);
    let mine = ctx.baggage().cloned().unwrap_or_default();
    let mine = mine
        .with("mine", "\r\nx-admin: 1\0\u{7f}\u{85}\u{2028},x=1;y")
        .unwrap();
    let ctx = ctx.with_baggage(mine).with_timeout(ms(5));
    // Fields looks at each byte that is set.
    let fields = injected(&propagation, &ctx, &PeerPolicy::internal());
    let sent = fields.get("baggage").expect("it is sent");
    let back = propagation.extract(&fields).carried;
    assert_eq!(back.baggage().as_str(), sent);
    assert_eq!(back.baggage().len(), 3, "{sent}");
    assert_eq!(
        back.baggage().get("mine").as_deref(),
        Some("\r\nx-admin: 1\0\u{7f}\u{85}\u{2028},x=1;y")
    );
    assert!(
        !sent.contains("X-Injected:") && !sent.contains(' '),
        "{sent}"
    );
}

#[test]
fn headers_of_http_keep_what_is_not_ours() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("x"));
    headers.append("traceparent", HeaderValue::from_static("one"));
    headers.append("traceparent", HeaderValue::from_static("two"));
    propagation
        .inject(&ctx, &PeerPolicy::internal(), &mut headers)
        .unwrap();
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    assert_eq!(headers.len(), 6);
    assert_eq!(headers["accept"], "x");
    // A name that is none is not written; it cannot come from a configuration.
    headers.set("no token", "x");
    assert_eq!(headers.len(), 6);
}

#[test]
fn a_span_of_an_observer_goes_out() {
    let propagation = Propagation::default();
    let (ctx, _clock) = request(&propagation, &FULL);
    let span = SpanId::from_bytes([7; 8]).expect("not zero");
    let call = ctx
        .carried()
        .expect("it belongs to a request")
        .in_span(span);
    let mut fields = Fields::default();
    propagation
        .inject_as(&ctx, &call, &PeerPolicy::external(), &mut fields)
        .unwrap();
    let expect = format!("00-{TRACE_ID}-0707070707070707-01");
    assert_eq!(fields.get("traceparent"), Some(&*expect));
}
