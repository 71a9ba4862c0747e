//! Request ids, traces and baggage that arrive: what is believed, and what is made anew.

mod support;

use ripcord_core::Ctx;
use ripcord_propagation::{Builder, Incoming, Peer, PolicyError, Propagation, Trace, TraceFormat};
use ripcord_wire::baggage::{Baggage, Limits};
use ripcord_wire::request_id::RequestId;
use std::borrow::Cow;
use support::{Fields, PARENT, SPAN_ID, TRACE_ID, built, extract};

const BOTH_B3: [TraceFormat; 2] = [TraceFormat::B3Single, TraceFormat::B3Multi];

fn is_uuid_v7(id: &str) -> bool {
    id.len() == 36 && id.as_bytes().get(14) == Some(&b'7')
}

//= P17
#[test]
fn a_request_id_is_kept_if_it_is_one() {
    let long = "i".repeat(128);
    for id in ["7f3a", "a/b:c=d@e.f_g-h", "!", &long] {
        let incoming = extract(&[("x-request-id", id)]);
        assert_eq!(incoming.carried.request_id().as_str(), id);
        assert_eq!(incoming.carried.external_request_id(), None);
        assert!(incoming.rejects.is_empty());
    }
    let too_long = "i".repeat(129);
    let none = [
        "", " ", "a b", " a", "a\tb", "a\"b", "a,b", "a;b", "a\\b", "a\r\nb", "\u{0}", "\u{7f}",
        "é", &too_long,
    ];
    for value in none {
        let incoming = extract(&[("x-request-id", value)]);
        let made = incoming.carried.request_id().as_str();
        assert!(is_uuid_v7(made), "{value:?} became {made}");
        assert_eq!(incoming.rejects.request_id, 1, "{value:?}");
    }
}

//= P17
#[test]
fn a_request_without_an_id_gets_one_of_its_own() {
    let (one, other) = (extract(&[]), extract(&[]));
    assert!(is_uuid_v7(one.carried.request_id().as_str()));
    assert_ne!(one.carried.request_id(), other.carried.request_id());
    assert!(one.rejects.is_empty());
}

#[test]
fn request_ids_are_read_in_the_order_of_the_configuration() {
    let propagation =
        built(|builder| builder.request_id_headers(["X-Correlation-Id", "x-request-id"]));
    assert_eq!(propagation.request_id_header(), "x-correlation-id");
    let correlation = |value| ("x-correlation-id", value);
    let request = |value| ("x-request-id", value);
    for (lines, expect, rejects) in [
        (&[correlation("c"), request("r")][..], "c", 0),
        (&[request("r"), correlation("c")], "c", 0),
        (&[request("r")], "r", 0),
        (&[correlation("c c"), request("r")], "r", 1),
        (
            &[correlation("c c"), correlation("d"), request("r")],
            "d",
            1,
        ),
        (&[correlation("c"), correlation("d")], "c", 0),
        (&[request("r r"), correlation("c")], "c", 1),
    ] {
        let incoming = propagation.extract(&Fields::of(lines));
        assert_eq!(incoming.carried.request_id().as_str(), expect, "{lines:?}");
        assert_eq!(incoming.rejects.request_id, rejects, "{lines:?}");
    }
    assert_eq!(Propagation::default().request_id_header(), "x-request-id");
}

#[test]
fn a_header_name_that_is_none_is_refused_when_it_is_configured() {
    for name in ["", "a b", "a\r\nb", "é", "a:b"] {
        let builder = Propagation::builder().request_id_headers([name.to_owned()]);
        let error = builder.build().unwrap_err();
        assert_eq!(error, PolicyError::HeaderName(name.to_owned()));
    }
    let names = ["x".repeat(100) + "\n"];
    let error = Propagation::builder().request_id_headers(names).build();
    let text = error.unwrap_err().to_string();
    assert!(text.len() < 120 && text.starts_with("use \"xxx"), "{text}");
}

//= P17, P18
#[test]
fn at_the_edge_a_stranger_is_not_believed() {
    let keys = || ripcord_propagation::Keys::new("k", b"sixteen bytes ok").unwrap();
    let lines = [
        ("x-request-id", "theirs"),
        ("baggage", "tenant=acme"),
        ("x-context-ext", "1.e30"),
        ("x-request-deadline", "1"),
        ("x-request-timeout-ms", "250"),
        ("traceparent", PARENT),
    ];
    let edge = |builder: Builder| {
        builder
            .signed_values(keys(), "here")
            .trust_clocks(std::time::Duration::from_millis(500))
            .edge()
    };
    let incoming = built(edge).extract(&Fields::of(&lines));
    let carried = &incoming.carried;
    assert!(is_uuid_v7(carried.request_id().as_str()));
    let theirs = carried.external_request_id().map(RequestId::as_str);
    assert_eq!(theirs, Some("theirs"));
    assert!(carried.baggage().is_empty() && carried.ext().is_empty());
    assert_eq!(incoming.budget, Some(std::time::Duration::from_millis(250)));
    assert_eq!(carried.trace.trace_id.to_string(), TRACE_ID);
    assert!(incoming.rejects.is_empty(), "{:?}", incoming.rejects);

    let bad = built(edge).extract(&Fields::of(&[("x-request-id", "a b")]));
    assert_eq!(bad.carried.external_request_id(), None);
    assert_eq!(bad.rejects.request_id, 1);
}

#[track_caller]
fn check_continued(trace: &Trace, sampled: bool, random: bool, state: &str) {
    assert_eq!(trace.trace_id.to_string(), TRACE_ID);
    assert_eq!(
        trace.parent_span_id.map(|id| id.to_string()).as_deref(),
        Some(SPAN_ID)
    );
    assert_ne!(trace.parent_span_id, Some(trace.span_id));
    assert!(trace.is_remote_parent);
    assert_eq!(
        (trace.flags.is_sampled(), trace.flags.is_random()),
        (sampled, random)
    );
    assert_eq!(trace.state.as_str(), state);
}

#[track_caller]
fn check_new(incoming: &Incoming, sampled: bool, rejects: u32) {
    let trace = &incoming.carried.trace;
    assert_ne!(trace.trace_id.to_string(), TRACE_ID);
    assert_eq!(trace.parent_span_id, None);
    assert!(!trace.is_remote_parent);
    assert_eq!(
        (trace.flags.is_sampled(), trace.flags.is_random()),
        (sampled, true)
    );
    assert!(trace.state.is_empty());
    assert_eq!(incoming.rejects.trace, rejects);
}

//= P11, P12
#[test]
fn a_trace_goes_on_with_its_flags() {
    for (flags, sampled, random) in [
        ("00", false, false),
        ("01", true, false),
        ("02", false, true),
        ("03", true, true),
        ("ff", true, true),
        ("fc", false, false),
    ] {
        let parent = format!("00-{TRACE_ID}-{SPAN_ID}-{flags}");
        let lines = [
            ("traceparent", &*parent),
            ("tracestate", "a=1 , b=2"),
            ("tracestate", "c=3"),
        ];
        let trace = extract(&lines).carried.trace;
        check_continued(&trace, sampled, random, "a=1,b=2,c=3");
        assert_eq!(trace.parent().trace_id, trace.trace_id);
        assert_eq!(trace.parent().span_id, trace.span_id);
    }
    let later = format!("cc-{TRACE_ID}-{SPAN_ID}-01-what-may-come");
    check_continued(
        &extract(&[("traceparent", &later)]).carried.trace,
        true,
        false,
        "",
    );
}

//= P11
#[test]
fn a_bad_traceparent_takes_the_tracestate_with_it() {
    let upper = PARENT.to_ascii_uppercase();
    let zero_trace = format!("00-{}-{SPAN_ID}-01", "0".repeat(32));
    let zero_span = format!("00-{TRACE_ID}-{}-01", "0".repeat(16));
    let bad = [
        "",
        "nonsense",
        &PARENT[..54],
        &format!("{PARENT}-"),
        &format!("{PARENT}-more"),
        &format!("ff{}", &PARENT[2..]),
        &format!("{PARENT},{PARENT}"),
        &upper,
        &zero_trace,
        &zero_span,
    ];
    for value in bad {
        let incoming = extract(&[("traceparent", value), ("tracestate", "a=1")]);
        check_new(&incoming, true, 1);
        assert_eq!(incoming.rejects.tracestate, 0);
    }
    let twice = extract(&[
        ("traceparent", PARENT),
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
    ]);
    check_new(&twice, true, 1);
    check_new(&extract(&[("tracestate", "a=1")]), true, 0);
}

//= P13
#[test]
fn a_bad_tracestate_leaves_the_traceparent() {
    for value in ["a", "a=", "A=1", "a=1,b=é"] {
        let incoming = extract(&[
            ("traceparent", PARENT),
            ("tracestate", "z=9"),
            ("tracestate", value),
        ]);
        check_continued(&incoming.carried.trace, true, false, "");
        assert_eq!(
            (incoming.rejects.trace, incoming.rejects.tracestate),
            (0, 1),
            "{value}"
        );
    }
}

//= P12
#[test]
fn a_trace_that_begins_here_is_sampled_as_configured() {
    check_new(&extract(&[]), true, 0);
    let never = built(|builder| builder.sample_new(false));
    check_new(&never.extract(&Fields::default()), false, 0);
    // Only what begins here: what a caller sampled stays so.
    let continued = never.extract(&Fields::of(&[("traceparent", PARENT)]));
    check_continued(&continued.carried.trace, true, false, "");
    let (one, other) = (extract(&[]), extract(&[]));
    assert_ne!(one.carried.trace.trace_id, other.carried.trace.trace_id);
    assert_ne!(one.carried.trace.span_id, other.carried.trace.span_id);
}

/// Reads B3 in one form or both.
fn b3(formats: &[TraceFormat], lines: &[(&str, &str)]) -> Incoming {
    let formats = formats.to_vec();
    let propagation = built(|builder| builder.sample_new(false).trace_formats(formats));
    propagation.extract(&Fields::of(lines))
}

#[test]
fn b3_is_read_in_one_header() {
    for (value, sampled) in [
        (format!("{TRACE_ID}-{SPAN_ID}-1"), true),
        (format!("{TRACE_ID}-{SPAN_ID}-d"), true),
        (format!("{TRACE_ID}-{SPAN_ID}-0"), false),
        (format!("{TRACE_ID}-{SPAN_ID}-1-05e3ac9a4f6e3b90"), true),
        // Whoever is called decides, and this one was told never to sample.
        (format!("{TRACE_ID}-{SPAN_ID}"), false),
    ] {
        let incoming = b3(&[TraceFormat::B3Single], &[("b3", &value)]);
        check_continued(&incoming.carried.trace, sampled, false, "");
        assert!(incoming.rejects.is_empty());
    }
    for (value, sampled, rejects) in [
        ("1", true, 0),
        ("0", false, 0),
        ("d", true, 0),
        ("2", false, 1),
    ] {
        check_new(
            &b3(&[TraceFormat::B3Single], &[("b3", value)]),
            sampled,
            rejects,
        );
    }
    let short = b3(
        &[TraceFormat::B3Single],
        &[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")],
    );
    let padded = "0000000000000000a3ce929d0e0e4736";
    assert_eq!(short.carried.trace.trace_id.to_string(), padded);
}

#[test]
fn b3_is_read_in_several_headers() {
    let ids = [("x-b3-traceid", TRACE_ID), ("x-b3-spanid", SPAN_ID)];
    let with = |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
        ids.iter().chain(more).copied().collect()
    };
    for (lines, sampled) in [
        (with(&[]), false),
        (with(&[("x-b3-sampled", "1")]), true),
        (with(&[("x-b3-sampled", "true")]), true),
        (with(&[("x-b3-sampled", "0")]), false),
        (with(&[("x-b3-flags", "1")]), true),
        (with(&[("x-b3-flags", "1"), ("x-b3-sampled", "0")]), true),
        (with(&[("x-b3-parentspanid", "05e3ac9a4f6e3b90")]), false),
    ] {
        let incoming = b3(&[TraceFormat::B3Multi], &lines);
        check_continued(&incoming.carried.trace, sampled, false, "");
        assert!(incoming.rejects.is_empty(), "{lines:?}");
    }
    check_new(
        &b3(&[TraceFormat::B3Multi], &[("x-b3-sampled", "1")]),
        true,
        0,
    );
    for lines in [
        &with(&[("x-b3-sampled", "maybe")])[..],
        &with(&[("x-b3-spanid", SPAN_ID)]),
        &ids[..1],
        &ids[1..],
    ] {
        check_new(&b3(&[TraceFormat::B3Multi], lines), false, 1);
    }
}

#[test]
fn one_b3_header_wins_over_several() {
    let (own, other) = (
        format!("{TRACE_ID}-{SPAN_ID}-1"),
        TRACE_ID.replace('4', "5"),
    );
    let several = [("x-b3-traceid", &*other), ("x-b3-spanid", SPAN_ID)];
    let lines = [("b3", &*own), several[0], several[1]];
    for formats in [&BOTH_B3[..], &[TraceFormat::B3Multi, TraceFormat::B3Single]] {
        let incoming = b3(formats, &lines);
        check_continued(&incoming.carried.trace, true, false, "");
    }
    // One that is malformed counts as absent, and is counted once.
    for bad in ["nonsense", "", "0-0-0"] {
        let incoming = b3(&BOTH_B3, &[("b3", bad), several[0], several[1]]);
        assert_eq!(
            incoming.carried.trace.trace_id.to_string(),
            other,
            "{bad:?}"
        );
        assert_eq!(incoming.rejects.trace, 1, "{bad:?}");
        let alone = b3(&BOTH_B3, &[("b3", bad)]);
        check_new(&alone, false, 1);
    }
    let twice = b3(&BOTH_B3, &[("b3", &own), ("b3", &own)]);
    check_new(&twice, false, 1);
}

#[test]
fn of_several_formats_the_first_that_is_there_counts() {
    use TraceFormat::{B3Single, W3c};
    let b3_id = TRACE_ID.replace('4', "5");
    let single = format!("{b3_id}-{SPAN_ID}-0");
    let both = Fields::of(&[("traceparent", PARENT), ("b3", &*single)]);
    let bad = Fields::of(&[("traceparent", "nonsense"), ("b3", &*single)]);
    let only_b3 = Fields::of(&[("b3", &*single)]);
    for (formats, headers, expect) in [
        (&[W3c, B3Single][..], &both, Some(TRACE_ID)),
        (&[B3Single, W3c], &both, Some(&*b3_id)),
        (&[W3c, B3Single], &bad, Some(&*b3_id)),
        (&[W3c, B3Single], &only_b3, Some(&*b3_id)),
        (&[W3c], &only_b3, None),
        (&[B3Single], &both, Some(&*b3_id)),
        (&[], &both, None),
    ] {
        let propagation = built(|builder| builder.trace_formats(formats.to_vec()));
        let trace = propagation.extract(headers).carried.trace;
        match expect {
            Some(id) => assert_eq!(trace.trace_id.to_string(), id, "{formats:?}"),
            None => assert_eq!(trace.parent_span_id, None, "{formats:?}"),
        }
    }
}

//= P14, P15
#[test]
fn baggage_is_limited_over_all_lines() {
    let lines: Vec<_> = (0..80).map(|n| ("baggage", format!("k{n}=v"))).collect();
    let incoming = Propagation::default().extract(&Fields::of(&lines));
    assert_eq!(incoming.carried.baggage().len(), 64);
    assert_eq!(incoming.rejects.baggage, 16);
    let first = incoming
        .carried
        .baggage()
        .iter()
        .next()
        .map(|entry| entry.as_str().to_owned());
    assert_eq!(first.as_deref(), Some("k0=v"), "the oldest are kept");

    // 2 × 4095 bytes and a comma are 8191: there is room for one byte more, and none for an entry.
    let half = |key: &str| format!("{key}={}", "v".repeat(4093));
    let lines = [half("a"), half("b"), "c=".to_owned()].map(|line| ("baggage", line));
    let incoming = Propagation::default().extract(&Fields::of(&lines));
    assert_eq!(incoming.carried.baggage().as_str().len(), 8191);
    assert_eq!(
        (incoming.carried.baggage().len(), incoming.rejects.baggage),
        (2, 1)
    );

    let narrow = Limits {
        members_max: 2,
        bytes_max: 100,
    };
    let propagation = built(|builder| builder.baggage_limits(narrow));
    let incoming = propagation.extract(&Fields::of(&[("baggage", "a=1,b=2,c=3,no key")]));
    assert_eq!(incoming.carried.baggage().as_str(), "a=1,b=2");
    assert_eq!(incoming.rejects.baggage, 2);
}

#[test]
fn what_travels_is_found_again_in_the_context() {
    use ripcord_propagation::CtxCarried as _;
    let lines = [
        ("x-request-id", "7f3a"),
        ("baggage", "tenant=acme"),
        ("traceparent", PARENT),
    ];
    let address = "[::1]:443".parse().expect("an address");
    let incoming = extract(&lines).from_peer(Peer::at(address));
    let ctx = incoming.context(&Ctx::background());
    assert_eq!(ctx.request_id(), Some("7f3a"));
    assert_eq!(
        ctx.trace()
            .map(|trace| trace.trace_id.to_string())
            .as_deref(),
        Some(TRACE_ID)
    );
    let tenant = |ctx: &Ctx| {
        ctx.baggage()
            .and_then(|all| all.get("tenant"))
            .map(Cow::into_owned)
    };
    assert_eq!(tenant(&ctx).as_deref(), Some("acme"));
    let peer = ctx.carried().and_then(|carried| carried.peer().cloned());
    assert_eq!(peer.and_then(|peer| peer.address), Some(address));

    let other = ctx.with_baggage(Baggage::try_from_iter([("tenant", "other")]).unwrap());
    assert_eq!(tenant(&other).as_deref(), Some("other"));
    assert_eq!(
        tenant(&ctx).as_deref(),
        Some("acme"),
        "a context does not change"
    );
    assert_eq!(other.request_id(), Some("7f3a"));
    let outside = Ctx::background().with_baggage(Baggage::try_from_iter([("a", "1")]).unwrap());
    assert!(outside.carried().is_none());
}
