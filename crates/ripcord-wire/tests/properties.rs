//! What holds of any bytes: the oracles on random input that is nearly right, and on a megabyte.

mod oracle;

use proptest::prelude::*;
use std::time::Duration;

/// Bytes that are mostly signs of the grammar, so that many of them nearly are a value.
fn bytes_of(signs: &'static [u8], len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let sign = prop_oneof![
        20 => proptest::sample::select(signs),
        1 => any::<u8>(),
    ];
    proptest::collection::vec(sign, 0..=len_max)
}

/// A text that is right, and up to two bytes of it replaced.
fn mutant(text: String) -> impl Strategy<Value = Vec<u8>> {
    let len = text.len().max(1);
    let change = (0..len, any::<u8>());
    proptest::collection::vec(change, 0..=2).prop_map(move |changes| {
        let mut bytes = text.clone().into_bytes();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes
    })
}

/// Up to 34 members, some of them long, with white space and line ends between them.
fn members() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(&["a", "b2", "3c", "d@e", "f/g*_-", ""][..]);
    let value = prop_oneof![9 => 1..4_usize, 1 => 120..135_usize];
    let join = proptest::sample::select(&[",", "\n", " ,\t", ",,"][..]);
    let member = (key, 0..40_u8, value, join).prop_map(|(key, n, len, join)| {
        let value = "x".repeat(len);
        format!("{key}{n}={value}{join}")
    });
    proptest::collection::vec(member, 0..=34).prop_map(|members| members.concat())
}

proptest! {
    #[test]
    fn time_outs(data in bytes_of(b"0123456789.numsSMHh", 24)) {
        oracle::timeout::check(&data);
    }

    #[test]
    fn durations(seconds in any::<u64>(), shift in 0..64_u32, nanos in 0..1_000_000_000_u32) {
        oracle::timeout::every_duration(Duration::new(seconds >> shift, nanos));
    }

    #[test]
    fn traceparents(
        data in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?".prop_flat_map(mutant),
    ) {
        oracle::traceparent::check(&data);
    }

    #[test]
    fn traceparents_of_any_bytes(data in bytes_of(b"0123456789abcdef-", 80)) {
        oracle::traceparent::check(&data);
    }

    #[test]
    fn tracestates(data in members().prop_flat_map(mutant)) {
        oracle::tracestate::check(&data);
    }

    #[test]
    fn tracestates_of_any_bytes(data in bytes_of(b"ab1=,, \t\n@", 120)) {
        oracle::tracestate::check(&data);
    }

    #[test]
    fn b3_headers(
        data in "([0-9a-f]{16}){1,2}-[0-9a-f]{16}(-[01d](-[0-9a-f]{16})?)?".prop_flat_map(mutant),
    ) {
        oracle::b3::check(&data);
    }

    #[test]
    fn several_b3_headers(
        data in "(([0-9a-f]{16}){1,2})?\n([0-9a-f]{16})?\n(0{16}|[0-9a-f]{16})?\n(0|1|true|false)?\n[01]?"
            .prop_flat_map(mutant),
    ) {
        oracle::b3::check(&data);
    }

    #[test]
    fn request_ids(data in bytes_of(b"abc019-_./", 140)) {
        oracle::request_id::check(&data);
    }
}

/// No times are taken: quadratic work on a megabyte would be noticed by whoever waits.
#[test]
fn a_megabyte_of_anything_is_dealt_with() {
    const MEGABYTE: usize = 1 << 20;
    for sign in *b"0a-, \n\xff" {
        any_codec(&vec![sign; MEGABYTE]);
    }
    for pattern in ["a=1,", "a=1\n", "a=", " ,", "a=1 \t"] {
        any_codec(&pattern.as_bytes().repeat(MEGABYTE / pattern.len()));
    }
}

/// Without the oracles, whose models are slow.
fn any_codec(data: &[u8]) {
    use ripcord_wire::b3::{B3, Multi};
    use ripcord_wire::request_id::RequestId;
    use ripcord_wire::timeout::{FinagleDeadline, TimeoutHeader};
    use ripcord_wire::trace::TraceParent;
    use ripcord_wire::tracestate::TraceState;

    for header in [
        TimeoutHeader::GRPC,
        TimeoutHeader::REQUEST,
        TimeoutHeader::SERVER,
        TimeoutHeader::new("x", ripcord_wire::timeout::Unit::Human).expect("a header name"),
    ] {
        assert!(header.parse(data).is_err());
    }
    assert!(FinagleDeadline::parse(data).is_err());
    assert!(TraceParent::parse(data).is_err());
    let lines = data.split(|byte| *byte == b'\n');
    assert!(TraceParent::parse_headers(lines.clone()).is_err());
    for read in [
        TraceState::parse_headers([data]),
        TraceState::parse_headers(lines),
    ] {
        assert!(read.is_err() || read.is_ok_and(|state| state.is_empty()));
    }
    assert!(B3::parse_single(data).is_err());
    let multi = Multi {
        trace_id: Some(data),
        span_id: Some(data),
        ..Multi::default()
    };
    assert!(B3::parse_multi(&multi).is_err());
    assert!(RequestId::parse(data).is_err());
}
