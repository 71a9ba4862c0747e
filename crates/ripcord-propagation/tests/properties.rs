//! What holds for any headers, and over any number of hops.

mod support;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::string::string_regex;
use ripcord_core::Ctx;
use ripcord_propagation::{Carried, DeadlinePolicy, PeerPolicy, Propagation, TraceFormat};
use ripcord_test::TestClock;
use ripcord_wire::timeout::{TimeoutHeader, Unit};
use std::time::Duration;
use support::{Fields, built};

const NAMES: [&str; 18] = [
    "accept",
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

/// Mostly things that nearly are what a header may have: pure noise is refused at the first byte.
fn value() -> impl Strategy<Value = Vec<u8>> {
    // Parsed once: a text as a strategy is parsed for each value.
    let regex = |text| string_regex(text).expect("a regular expression");
    let near = prop_oneof![
        regex("[0-9]{0,12}[HMSmun]?"),
        regex("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,5})?"),
        regex("[0-9a-f]{16,32}(-[0-9a-f]{16}(-[01d](-[0-9a-f]{16})?)?)?"),
        regex("([a-z0-9]{1,4} ?= ?[!-~]{0,6} ?[,;]? ?){0,12}"),
        regex("([a-z]{1,3}=(%[0-9A-Fa-f]{2}|[a-z;=%\"]){0,8},?){0,6}"),
        regex("1\\.[A-Za-z0-9_-]{0,30}(\\.[a-z0-9]{1,4}\\.[0-9]{1,10}\\.[A-Za-z0-9_-]{43})?"),
        regex("[!-~]{1,40}"),
        regex("1\\.eyJhIjoiYiIsImMiOlsxXX0|0|1"),
    ];
    prop_oneof![
        8 => near.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn lines() -> impl Strategy<Value = Fields> {
    let name = prop::sample::select(NAMES.to_vec());
    let line = (name, value()).prop_map(|(name, value)| (name.to_owned(), value));
    vec(line, 0..12).prop_map(Fields)
}

/// Every configuration that reads more than the defaults do.
fn configured(b3_first: bool, edge: bool) -> Propagation {
    use TraceFormat::{B3Multi, B3Single, W3c};
    built(|builder| {
        let formats = if b3_first {
            [B3Single, W3c, B3Multi]
        } else {
            [W3c, B3Multi, B3Single]
        };
        let builder = builder
            .trace_formats(formats)
            .trust_clocks(Duration::from_millis(500))
            .trust_unsigned_values()
            .forward_unknown_values();
        if edge { builder.edge() } else { builder }
    })
}

/// What does not change from hop to hop; the current span does.
fn travels(carried: &Carried) -> impl PartialEq + std::fmt::Debug {
    let trace = &carried.trace;
    let flags = (
        trace.trace_id,
        trace.flags.is_sampled(),
        trace.state.clone(),
    );
    let rest = (
        carried.baggage().clone(),
        carried.request_id().clone(),
        carried.ext().clone(),
    );
    (flags, rest)
}

proptest! {
    //= P23
    #[test]
    fn any_headers_are_read(lines in lines(), b3_first: bool, edge: bool) {
        let incoming = configured(b3_first, edge).extract(&lines);
        prop_assert!(incoming.carried.baggage().as_str().len() <= 8192);
        prop_assert!(incoming.budget <= Some(Duration::from_secs(3_600)));
        let ctx = incoming.context(&Ctx::background());
        prop_assert!(ctx.remaining() <= Some(Duration::from_secs(3_600)));
    }

    //= P23
    #[test]
    fn any_names_and_bytes_are_read(lines in vec((any::<String>(), vec(any::<u8>(), 0..20)), 0..20)) {
        let _ = configured(false, false).extract(&Fields(lines));
    }

    /// The same lines in HTTP's own map, as far as it takes them, say the same.
    #[test]
    fn carriers_agree(lines in lines(), b3_first: bool) {
        let mut headers = HeaderMap::new();
        let mut fields = Fields::default();
        for (name, value) in &lines.0 {
            let Ok(value) = HeaderValue::from_bytes(value) else { continue };
            fields.0.push((name.clone(), value.as_bytes().to_vec()));
            headers.append(HeaderName::try_from(name).expect("a header name"), value);
        }
        // Two services: each keeps count of the deadlines that it refused.
        let read = |headers: &dyn ripcord_propagation::Carrier| {
            configured(b3_first, false).extract(headers)
        };
        let (one, other) = (read(&headers), read(&fields));
        prop_assert_eq!(one.rejects, other.rejects);
        prop_assert_eq!(one.budget.is_some(), other.budget.is_some());
        prop_assert_eq!(one.carried.baggage(), other.carried.baggage());
        prop_assert_eq!(one.carried.ext(), other.carried.ext());
        if one.carried.trace.is_remote_parent {
            prop_assert_eq!(one.carried.trace.trace_id, other.carried.trace.trace_id);
            prop_assert_eq!(&one.carried.trace.state, &other.carried.trace.state);
        }
    }

    /// After one hop everything has its final form: a second one changes nothing.
    //= P14, P16
    #[test]
    fn what_travels_stays_the_same_from_hop_to_hop(lines in lines(), b3_first: bool) {
        let propagation = configured(b3_first, false);
        let first = propagation.extract(&lines).carried;
        let (root, _guard) = TestClock::new().ctx();
        let mut hop = first.clone();
        for _ in 0..3 {
            let mut sent = Fields::default();
            let peer = PeerPolicy::internal();
            prop_assert!(propagation.inject_as(&root, &hop, &peer, &mut sent).is_ok());
            let incoming = propagation.extract(&sent);
            prop_assert!(incoming.rejects.is_empty(), "{:?} of {:?}", incoming.rejects, sent);
            prop_assert_eq!(incoming.carried.trace.parent_span_id, Some(hop.trace.span_id));
            hop = incoming.carried;
            // B3 has neither state nor random flag, and comes first where it is configured so.
            if b3_first {
                hop.trace.state = first.trace.state.clone();
            } else {
                prop_assert_eq!(hop.trace.flags, first.trace.flags);
            }
            prop_assert_eq!(travels(&hop), travels(&first));
        }
    }

    /// Each hop is told what is left, up to a unit of the header, whatever it takes of it.
    //= P2, P3
    #[test]
    fn deadlines_never_grow_over_a_hop(
        asked_us in 0_u64..10_000_000,
        hops in vec((0_u64..2_000_000, 0_u64..50_000, 0_usize..5), 1..8),
    ) {
        let headers = [
            TimeoutHeader::REQUEST,
            TimeoutHeader::GRPC,
            TimeoutHeader::CONNECT,
            TimeoutHeader::SERVER,
            TimeoutHeader::new("x-left", Unit::Human).expect("a header name"),
        ];
        let policy = DeadlinePolicy::new(Duration::ZERO, Duration::from_secs(60)).expect("good");
        let propagation = built(|builder| {
            builder.deadline(policy).read_timeouts_only(headers.clone())
        });
        let clock = TestClock::new();
        let (root, _guard) = clock.ctx();
        let mut ctx = root.with_timeout(Duration::from_micros(asked_us));
        for (spent_us, reserve_us, header) in hops {
            clock.advance(Duration::from_micros(spent_us));
            let left = ctx.remaining();
            let reserve = Duration::from_micros(reserve_us);
            let header = headers[header].clone();
            let peer = PeerPolicy::external().with_timeout_header(header).with_reserve(reserve);
            let mut sent = Fields::default();
            let told = propagation.inject(&ctx, &peer, &mut sent);
            let budget = left.and_then(|left| left.checked_sub(reserve)).filter(|b| !b.is_zero());
            prop_assert_eq!(told.as_ref().ok().and_then(|told| told.budget), budget);
            let Some(budget) = budget else {
                prop_assert_eq!(sent, Fields::default());
                return Ok(());
            };
            let incoming = propagation.extract(&sent);
            let next = incoming.budget.unwrap_or(Duration::MAX);
            prop_assert!(next >= budget, "the callee never gives up before the caller");
            prop_assert!(next < budget + Duration::from_millis(1), "{next:?} of {budget:?}");
            ctx = incoming.context(&root);
        }
    }
}
