//! Headers that somebody made to do harm: no panic, bounded results, and nothing smuggled out.

mod support;

use ripcord_core::Ctx;
use ripcord_propagation::{Builder, Incoming, PeerPolicy, Propagation, TraceFormat};
use ripcord_wire::timeout::TimeoutHeader;
use std::time::Duration;
use support::{Fields, PARENT, built, injected};

/// What goes out at most, names included: 8192 bytes of baggage, 8214 of values (6144 in base64,
/// less than that by default), 4096 of trace state, 128 of request id, and the short ones.
const SENT_BYTES_MAX: usize = 21_000;

/// Believes as much as can be believed: each bomb gets as far as it can.
fn credulous() -> Propagation {
    use TraceFormat::{B3Multi, B3Single, W3c};
    built(|builder: Builder| {
        builder
            .trace_formats([W3c, B3Single, B3Multi])
            .trust_clocks(Duration::from_secs(60))
            .read_timeout(TimeoutHeader::ENVOY_EXPECTED)
            .read_timeout(TimeoutHeader::SERVER)
            .trust_unsigned_values()
            .forward_unknown_values()
    })
}

/// What a service that passes on everything makes of it; the sizes are checked.
#[track_caller]
fn passed_on(lines: &Fields) -> (Incoming, Fields) {
    let propagation = credulous();
    let incoming = propagation.extract(lines);
    let (root, _guard) = ripcord_test::TestClock::new().ctx();
    let ctx = incoming.clone().context(&root);
    let mut sent = Fields::of(&[("accept", "x")]);
    // Fields looks at each byte that is set: no control byte, no byte beyond ASCII.
    let result = propagation.inject(&ctx, &PeerPolicy::internal(), &mut sent);
    if result.is_err() {
        assert_eq!(
            sent.names(),
            ["accept"],
            "a call that is not made has no headers"
        );
        return (incoming, sent);
    }
    assert!(sent.bytes() <= SENT_BYTES_MAX, "{} bytes", sent.bytes());
    assert!(sent.0.len() <= 12, "{:?}", sent.names());
    // What went out is read again without a complaint, and goes out as it came.
    let again = propagation.extract(&sent);
    assert!(again.rejects.is_empty(), "{:?}", again.rejects);
    assert_eq!(again.carried.baggage(), incoming.carried.baggage());
    assert_eq!(again.carried.ext(), incoming.carried.ext());
    assert_eq!(again.carried.trace.state, incoming.carried.trace.state);
    (incoming, sent)
}

/// Keys of baggage as a reader splits them that knows nothing but commas.
fn keys(text: &str) -> Vec<&str> {
    let members = text.split(',').filter(|member| !member.is_empty());
    members
        .map(|member| member.split(['=', ';']).next().unwrap_or_default())
        .collect()
}

//= P15, P23
#[test]
fn sixty_four_full_lines_of_baggage() {
    let line = format!("k={}", "v".repeat(8190));
    assert_eq!(line.len(), 8192);
    let (incoming, sent) = passed_on(&Fields::of(&vec![("baggage", &*line); 64]));
    assert_eq!(incoming.carried.baggage().len(), 1);
    assert_eq!(incoming.rejects.baggage, 63);
    assert_eq!(sent.get("baggage"), Some(&*line));
}

//= P15, P23
#[test]
fn a_hundred_thousand_members() {
    let many = "a=1,".repeat(100_000);
    let (incoming, _) = passed_on(&Fields::of(&[("baggage", &*many)]));
    assert_eq!(
        (incoming.carried.baggage().len(), incoming.rejects.baggage),
        (64, 99_936)
    );
    let malformed = "x,".repeat(100_000);
    let (incoming, sent) = passed_on(&Fields::of(&[("baggage", &*malformed)]));
    assert_eq!(
        (incoming.carried.baggage().len(), incoming.rejects.baggage),
        (0, 100_000)
    );
    assert_eq!(sent.get("baggage"), None);
    let lines: Vec<_> = (0..10_000)
        .map(|n| ("baggage", format!("k{n}=v;p={n}")))
        .collect();
    let (incoming, _) = passed_on(&Fields::of(&lines));
    assert_eq!(
        (incoming.carried.baggage().len(), incoming.rejects.baggage),
        (64, 9_936)
    );
}

//= P23
#[test]
fn properties_and_separators_without_end() {
    let mut bombs: Vec<String> = [",", ";", "=", "%", "%2C", "%00", "\"", " ", "\t", "k=v;"]
        .iter()
        .map(|piece| piece.repeat(8192 / piece.len()))
        .collect();
    bombs.push(format!("k=v{}", ";p".repeat(4096)));
    bombs.push(format!("k={}", "%zz".repeat(2730)));
    bombs.push(format!("k={}", "%25".repeat(2730)));
    bombs.push(format!("k={}", "%".repeat(8000)));
    for bomb in &bombs {
        let (incoming, _) = passed_on(&Fields::of(&[("baggage", &**bomb), ("tracestate", bomb)]));
        assert!(
            incoming.carried.baggage().as_str().len() <= 8192,
            "{bomb:.20}"
        );
    }
}

//= P16
#[test]
fn escapes_do_not_become_what_they_escape() {
    for (line, entries) in [
        // opentelemetry_sdk 0.33.1 re-sends this as raw CR LF.
        ("a=1;p=%0d%0aX-Injected: 1", 0),
        ("a=1;p=%0d%0aX-Injected:%201", 1),
        // And this as two entries.
        ("a=1;p=x%2Cb%3D2", 1),
        ("a=x%2Cb%3D2%3Bc%3D3", 1),
        ("a=%00%7F%1B%5B2J%E2%80%AE", 1),
        // Overlong forms and surrogates are not UTF-8.
        ("a=%C0%AF%C0%8D%C0%8A%ED%A0%80%F5%80%80%80", 1),
        ("a%0d%0a=1", 1),
        ("a%2C=1", 1),
        ("%=%", 1),
    ] {
        let (incoming, sent) = passed_on(&Fields::of(&[("baggage", line)]));
        assert_eq!(incoming.carried.baggage().len(), entries, "{line}");
        let text = sent.get("baggage").unwrap_or_default();
        assert_eq!(keys(text).len(), entries, "{line} became {text}");
        assert!(
            keys(text).iter().all(|key| line.starts_with(key)),
            "{line} became {text}"
        );
        let raw = text.contains("%00") || !text.contains('\0');
        assert!(raw && !text.contains("Injected: "), "{line} became {text}");
    }
    let overlong = passed_on(&Fields::of(&[("baggage", "a=%C0%AF")])).1;
    assert_eq!(overlong.get("baggage"), Some("a=%EF%BF%BD%EF%BF%BD"));
}

//= P16, P23
#[test]
fn bytes_that_no_header_may_have() {
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-sampled",
        "x-context-ext",
        "x-request-id",
        "x-request-timeout-ms",
        "grpc-timeout",
        "x-request-deadline",
        "l5d-ctx-deadline",
    ];
    let good: [(&str, &[u8]); 4] = [
        ("traceparent", PARENT.as_bytes()),
        ("x-request-id", b"7f3a"),
        ("baggage", b"a=1"),
        ("tracestate", b"a=1"),
    ];
    for name in names {
        for byte in [
            b"\0".as_slice(),
            b"\r\n",
            b"\x7f",
            b"\x80",
            b"\xff\xfe",
            b"\xc0\xaf",
            b"\x1b[2J",
        ] {
            for value in [
                byte.to_vec(),
                [b"a=1", byte, b"b=2"].concat(),
                byte.repeat(3_000),
            ] {
                let mut lines = Fields::of(&good);
                lines.0.push((name.to_owned(), value));
                passed_on(&lines);
            }
        }
    }
}

#[test]
fn a_hundred_request_ids() {
    let lines: Vec<_> = (0..100)
        .map(|n| ("x-request-id", format!("id-{n}")))
        .collect();
    let (incoming, sent) = passed_on(&Fields::of(&lines));
    assert_eq!(incoming.carried.request_id().as_str(), "id-0");
    assert_eq!(sent.get("x-request-id"), Some("id-0"));
    let bad: Vec<_> = (0..100)
        .map(|n| ("x-request-id", format!("id {n}")))
        .collect();
    let (incoming, _) = passed_on(&Fields::of(&bad));
    assert_eq!(incoming.rejects.request_id, 100);
    let huge = "i".repeat(1 << 20);
    let (incoming, _) = passed_on(&Fields::of(&[("x-request-id", &*huge)]));
    assert_eq!(incoming.rejects.request_id, 1);
}

//= P4, P23
#[test]
fn ten_thousand_lines_of_each_header() {
    for (name, value) in [
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
        ("baggage", "a=1"),
        ("b3", "1"),
        ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("x-b3-sampled", "1"),
        ("x-context-ext", "1.e30"),
        ("x-request-id", "a"),
        ("x-request-timeout-ms", "99999999999"),
        ("grpc-timeout", "99999999H"),
        ("x-request-deadline", "1"),
        ("l5d-ctx-deadline", "x"),
        ("accept", "x"),
    ] {
        let (incoming, sent) = passed_on(&Fields::of(&vec![(name, value); 10_000]));
        let total: u32 = incoming.rejects.iter().map(|(_, count)| count).sum();
        assert!(total <= 10_000, "{name}");
        assert!(sent.bytes() < 1_000, "{name}: {:?}", sent.names());
    }
}

#[test]
fn ten_thousand_members_of_tracestate_and_one_megabyte_of_anything() {
    let members = "a=1,".repeat(10_000);
    let (incoming, sent) = passed_on(&Fields::of(&[
        ("traceparent", PARENT),
        ("tracestate", &*members),
    ]));
    assert_eq!(incoming.rejects.tracestate, 1);
    assert_eq!(sent.get("tracestate"), None);
    for filler in ["0", "f", "-", "a", "=", "1.", "%", "\u{0}"] {
        let huge = filler.repeat((1 << 20) / filler.len());
        for name in [
            "traceparent",
            "tracestate",
            "b3",
            "x-context-ext",
            "grpc-timeout",
            "baggage",
        ] {
            passed_on(&Fields::of(&[(name, &*huge)]));
        }
    }
}

#[test]
fn the_longest_time_out_is_the_policys() {
    let lines = [
        ("grpc-timeout", "99999999H"),
        ("x-server-timeout", "9999999999.999999999"),
    ];
    let (incoming, sent) = passed_on(&Fields::of(&lines));
    assert_eq!(incoming.budget, Some(Duration::from_secs(3_600)));
    assert_eq!(sent.get("x-request-timeout-ms"), Some("3600000"));
}

//= P23
#[test]
fn nested_and_endless_values() {
    let limits = ripcord_wire::ext::Limits::HARD;
    let encoded = |json: &str| {
        // What ripcord would not write, somebody else may.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = "1.".to_owned();
        for chunk in json.as_bytes().chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - chunk.len()));
            for at in 0..=chunk.len() {
                let sextet = (bits >> (18 - 6 * at)) & 0x3f;
                text.push(char::from(alphabet[usize::try_from(sextet).unwrap()]));
            }
        }
        text
    };
    assert_eq!(encoded(r#"{"a":1}"#), "1.eyJhIjoxfQ");
    assert!(limits.bytes_max < 10_000);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let keys: Vec<_> = (0..1_000).map(|n| format!("\"k{n}\":1")).collect();
    for json in [
        deep.clone(),
        "[".repeat(2_000),
        "{\"a\":".repeat(400),
        format!("{{{}}}", keys.join(",")),
        format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)),
        r#"{"a":1,"a":2}"#.to_owned(),
        r#"{"a":1e999999999}"#.to_owned(),
        r#"{"a":"\ud800"}"#.to_owned(),
    ] {
        let (incoming, sent) = passed_on(&Fields::of(&[("x-context-ext", encoded(&json))]));
        assert_eq!(incoming.rejects.ext, 1, "{json:.40}");
        assert_eq!(sent.get("x-context-ext"), None);
    }
    let control = encoded(r#"{"a":"\u0000\r\n,=;"}"#);
    let (incoming, sent) = passed_on(&Fields::of(&[("x-context-ext", &*control)]));
    assert_eq!(
        incoming
            .carried
            .ext()
            .get("a")
            .and_then(|json| json.as_str()),
        Some("\0\r\n,=;")
    );
    assert!(sent.get("x-context-ext").is_some());
}

//= P23
#[test]
fn everything_at_its_limit_at_once() {
    let baggage = format!("k={}", "v".repeat(8190));
    let state: Vec<_> = (0..32)
        .map(|n| format!("k{n}={}", "v".repeat(256)))
        .collect();
    let state = state.join(",");
    let id = "i".repeat(128);
    let propagation = credulous();
    let lines = [
        ("traceparent", PARENT),
        ("tracestate", &state),
        ("baggage", &baggage),
        ("x-request-id", &id),
        ("grpc-timeout", "1H"),
    ];
    let ctx = propagation
        .extract(&Fields::of(&lines))
        .context(&Ctx::background());
    let sent = injected(&propagation, &ctx, &PeerPolicy::internal());
    assert!(sent.bytes() <= SENT_BYTES_MAX, "{} bytes", sent.bytes());
    assert_eq!(sent.get("baggage"), Some(&*baggage));
}
