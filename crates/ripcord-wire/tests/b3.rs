//! B3: both forms, read and written.

use ripcord_wire::b3::{B3, B3Error, Multi, Sampling};
use ripcord_wire::trace::{SpanId, TraceId};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";
const PARENT: &str = "05e3ac9a4f6e3b90";

fn ids() -> (TraceId, SpanId) {
    (TRACE.parse().expect("good"), SPAN.parse().expect("good"))
}

fn b3(parent: Option<&str>, sampling: Sampling) -> B3 {
    B3 {
        ids: Some(ids()),
        parent: parent.map(|parent| parent.parse().expect("good")),
        sampling,
    }
}

const fn alone(sampling: Sampling) -> B3 {
    B3 {
        ids: None,
        parent: None,
        sampling,
    }
}

#[test]
fn the_single_header_is_read() {
    for (value, expect) in [
        ("0".to_owned(), alone(Sampling::Deny)),
        ("1".to_owned(), alone(Sampling::Accept)),
        ("d".to_owned(), alone(Sampling::Debug)),
        (format!("{TRACE}-{SPAN}"), b3(None, Sampling::Defer)),
        (format!("{TRACE}-{SPAN}-0"), b3(None, Sampling::Deny)),
        (format!("{TRACE}-{SPAN}-1"), b3(None, Sampling::Accept)),
        (format!("{TRACE}-{SPAN}-d"), b3(None, Sampling::Debug)),
        (
            format!("{TRACE}-{SPAN}-1-{PARENT}"),
            b3(Some(PARENT), Sampling::Accept),
        ),
        // Some senders write zeros where there is no parent.
        (
            format!("{TRACE}-{SPAN}-1-{}", "0".repeat(16)),
            b3(None, Sampling::Accept),
        ),
    ] {
        assert_eq!(B3::parse_single(value.as_bytes()), Ok(expect), "{value}");
    }
}

#[test]
fn a_trace_id_of_64_bits_is_filled_up() {
    let value = format!("{}-{SPAN}-1", &TRACE[16..]);
    let b3 = B3::parse_single(value.as_bytes()).expect("good");
    let padded = format!("{}{}", "0".repeat(16), &TRACE[16..]);
    assert_eq!(b3.ids.expect("good").0.to_string(), padded);
    assert_eq!(b3.encode_single(), format!("{padded}-{SPAN}-1"));
}

#[test]
fn the_single_header_is_refused_with_its_place() {
    use B3Error::{Delimiter, Hex, Length, MissingId, ZeroSpanId, ZeroTraceId};
    let state = B3Error::Sampling("b3");
    for (value, expect) in [
        (String::new(), Length("b3", 0)),
        ("x".to_owned(), Length("b3", 1)),
        ("true".to_owned(), Length("b3", 4)),
        (" 1".to_owned(), Length("b3", 2)),
        ("-".to_owned(), Length("b3", 0)),
        (TRACE.to_owned(), MissingId),
        (format!("{}-{SPAN}", &TRACE[8..]), Length("b3", 24)),
        (format!("{}-{SPAN}", TRACE.to_uppercase()), Hex("b3", 2)),
        (format!("{TRACE}-{}", SPAN.to_uppercase()), Hex("b3", 33)),
        (format!("{TRACE}-{}", &SPAN[1..]), Length("b3", 15)),
        (format!("{TRACE}_{SPAN}"), Length("b3", 49)),
        (format!("{TRACE}-{SPAN}-"), state),
        (format!("{TRACE}-{SPAN}-2"), state),
        (format!("{TRACE}-{SPAN}-true"), state),
        (format!("{TRACE}-{SPAN}-{PARENT}"), state),
        (format!("{TRACE}-{SPAN}-1-"), Length("b3", 0)),
        (format!("{TRACE}-{SPAN}-1-{}x", &PARENT[1..]), Hex("b3", 67)),
        (format!("{TRACE}-{SPAN}-1-{PARENT}-"), Length("b3", 69)),
        (
            format!("{}-{SPAN}-1-{PARENT}-", &TRACE[16..]),
            Delimiter(52),
        ),
        (format!("{}-{SPAN}", "0".repeat(32)), ZeroTraceId),
        (format!("{}-{SPAN}", "0".repeat(16)), ZeroTraceId),
        (format!("{TRACE}-{}", "0".repeat(16)), ZeroSpanId),
    ] {
        assert_eq!(B3::parse_single(value.as_bytes()), Err(expect), "{value}");
    }
}

type Values<'a> = [Option<&'a str>; 5];

fn parse_multi(values: Values<'_>) -> Result<Option<B3>, B3Error> {
    let [trace_id, span_id, parent_span_id, sampled, flags] =
        values.map(|value| value.map(str::as_bytes));
    B3::parse_multi(&Multi {
        trace_id,
        span_id,
        parent_span_id,
        sampled,
        flags,
    })
}

#[test]
fn the_several_headers_are_read() {
    let (t, s, p) = (Some(TRACE), Some(SPAN), Some(PARENT));
    let zero = Some("0000000000000000");
    for (values, expect) in [
        ([None, None, None, None, None], None),
        (
            [t, s, p, Some("1"), None],
            Some(b3(Some(PARENT), Sampling::Accept)),
        ),
        (
            [t, s, p, None, None],
            Some(b3(Some(PARENT), Sampling::Defer)),
        ),
        ([t, s, zero, None, None], Some(b3(None, Sampling::Defer))),
        (
            [t, s, None, Some("0"), None],
            Some(b3(None, Sampling::Deny)),
        ),
        (
            [t, s, None, Some("true"), None],
            Some(b3(None, Sampling::Accept)),
        ),
        (
            [t, s, None, Some("false"), None],
            Some(b3(None, Sampling::Deny)),
        ),
        (
            [None, None, None, Some("0"), None],
            Some(alone(Sampling::Deny)),
        ),
        // Debug comes before the sampling.
        (
            [t, s, None, Some("0"), Some("1")],
            Some(b3(None, Sampling::Debug)),
        ),
        (
            [None, None, None, None, Some("1")],
            Some(alone(Sampling::Debug)),
        ),
        // Other flags say nothing.
        ([None, None, None, None, Some("0")], None),
        (
            [None, None, None, Some("1"), Some("x")],
            Some(alone(Sampling::Accept)),
        ),
    ] {
        assert_eq!(parse_multi(values), Ok(expect), "{values:?}");
    }
}

#[test]
fn the_several_headers_are_refused_with_their_name() {
    use B3Error::{Hex, Length, MissingId, ZeroSpanId, ZeroTraceId};
    let (t, s, p) = (Some(TRACE), Some(SPAN), Some(PARENT));
    let state = B3Error::Sampling("x-b3-sampled");
    let upper = SPAN.to_uppercase();
    let upper = Some(upper.as_str());
    let zeros = "0".repeat(32);
    for (values, expect) in [
        ([t, None, None, None, None], MissingId),
        ([None, s, None, Some("1"), None], MissingId),
        ([None, None, p, None, None], MissingId),
        ([t, None, p, None, Some("1")], MissingId),
        ([s, t, None, None, None], Length("x-b3-spanid", 32)),
        ([Some(""), s, None, None, None], Length("x-b3-traceid", 0)),
        ([upper, s, None, None, None], Hex("x-b3-traceid", 0)),
        ([t, upper, None, None, None], Hex("x-b3-spanid", 0)),
        ([t, s, upper, None, None], Hex("x-b3-parentspanid", 0)),
        (
            [t, s, Some("0"), None, None],
            Length("x-b3-parentspanid", 1),
        ),
        ([t, s, None, Some("d"), None], state),
        ([t, s, None, Some("True"), None], state),
        ([None, None, None, Some(""), None], state),
        ([Some(&zeros), s, None, None, None], ZeroTraceId),
        ([t, Some(&zeros[16..]), None, None, None], ZeroSpanId),
    ] {
        assert_eq!(parse_multi(values), Err(expect), "{values:?}");
    }
}

#[test]
fn both_forms_are_written() {
    let (t, s, p) = (
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-parentspanid", PARENT),
    );
    for (b3, single, multi) in [
        (B3::default(), String::new(), &[][..]),
        (
            alone(Sampling::Deny),
            "0".to_owned(),
            &[("x-b3-sampled", "0")],
        ),
        (
            alone(Sampling::Debug),
            "d".to_owned(),
            &[("x-b3-flags", "1")],
        ),
        (
            b3(None, Sampling::Defer),
            format!("{TRACE}-{SPAN}"),
            &[t, s],
        ),
        // The single form has no place for this parent.
        (
            b3(Some(PARENT), Sampling::Defer),
            format!("{TRACE}-{SPAN}"),
            &[t, s, p],
        ),
        (
            b3(Some(PARENT), Sampling::Accept),
            format!("{TRACE}-{SPAN}-1-{PARENT}"),
            &[t, s, p, ("x-b3-sampled", "1")],
        ),
        (
            b3(Some(PARENT), Sampling::Debug),
            format!("{TRACE}-{SPAN}-d-{PARENT}"),
            &[t, s, p, ("x-b3-flags", "1")],
        ),
        // A parent of nobody does not go out.
        (
            B3 {
                ids: None,
                ..b3(Some(PARENT), Sampling::Accept)
            },
            "1".to_owned(),
            &[("x-b3-sampled", "1")],
        ),
    ] {
        assert_eq!(b3.encode_single(), single);
        let mut written = Vec::new();
        b3.encode_multi(|name, value| written.push((name, value.to_owned())));
        let written: Vec<_> = written.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(written, multi, "{single}");
    }
}

#[test]
fn accept_and_debug_are_sampled() {
    for (sampling, expect) in [
        (Sampling::Defer, false),
        (Sampling::Deny, false),
        (Sampling::Accept, true),
        (Sampling::Debug, true),
    ] {
        assert_eq!(sampling.is_sampled(), expect, "{sampling:?}");
    }
}

#[test]
fn errors_fit_after_failed_to() {
    for (error, expect) in [
        (
            B3Error::Hex("x-b3-spanid", 3),
            "parse b3: byte 3 of x-b3-spanid is no lower-case hex digit",
        ),
        (
            B3Error::Length("b3", 24),
            "parse b3: 24 bytes in b3, where an id has 16 or 32 hex digits",
        ),
        (
            B3Error::MissingId,
            "parse b3: an id without those that belong to it",
        ),
    ] {
        assert_eq!(error.to_string(), expect);
    }
}
