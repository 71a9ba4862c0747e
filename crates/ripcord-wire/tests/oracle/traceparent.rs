//! What holds of every `traceparent` that is read or written.
//!
//! The same code is behind the fuzz target `wire_traceparent`, the replay of its corpus, and the
//! property tests.

use ripcord_wire::trace::{SpanId, TraceFlags, TraceId, TraceParent};

/// Any bytes are the value of a header; 25 of them are also a parent to send.
pub(crate) fn check(data: &[u8]) {
    let read = TraceParent::parse(data).ok();
    assert_eq!(
        read.map(|parent| parent.to_string()),
        naive(data),
        "{}",
        data.escape_ascii()
    );
    assert_eq!(TraceParent::parse_headers([data]).ok().flatten(), read);
    assert!(TraceParent::parse_headers([data, data]).is_err());
    if let Some(parent) = read {
        written(parent);
    }
    if let Some((bytes, _)) = data.split_first_chunk::<25>() {
        let [trace @ .., _, _, _, _, _, _, _, _, flags] = *bytes;
        let [.., s0, s1, s2, s3, s4, s5, s6, s7, _] = *bytes;
        let span = [s0, s1, s2, s3, s4, s5, s6, s7];
        if let (Some(trace_id), Some(span_id)) =
            (TraceId::from_bytes(trace), SpanId::from_bytes(span))
        {
            assert_eq!(trace_id.to_string().parse(), Ok(trace_id));
            assert_eq!(span_id.to_string().parse(), Ok(span_id));
            let flags = TraceFlags::from_byte(flags);
            written(TraceParent {
                trace_id,
                span_id,
                flags,
            });
        }
    }
}

fn written(parent: TraceParent) {
    let text = parent.encode();
    assert_eq!(TraceParent::parse(&text), Ok(parent));
    assert_eq!(text, parent.to_string().as_bytes());
    assert!(text.starts_with(b"00-") && text.is_ascii());
}

/// The grammar once more, field by field; the text as version 00.
fn naive(data: &[u8]) -> Option<String> {
    let mut data = data;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = data {
        data = rest;
    }
    let fields: Vec<&[u8]> = data.split(|byte| *byte == b'-').collect();
    let [version, trace, span, flags, more @ ..] = &fields[..] else {
        return None;
    };
    for (field, digits) in [(version, 2), (trace, 32), (span, 16), (flags, 2)] {
        let is_digit = |byte: &u8| b"0123456789abcdef".contains(byte);
        if field.len() != digits || !field.iter().all(is_digit) {
            return None;
        }
    }
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("digits");
    let (version, trace, span) = (text(version), text(trace), text(span));
    let is_known = version == "00" && more.is_empty() || version != "00" && version != "ff";
    let flags = u8::from_str_radix(&text(flags), 16).ok()? & 3;
    (is_known && trace != "0".repeat(32) && span != "0".repeat(16))
        .then(|| format!("00-{trace}-{span}-{flags:02x}"))
}
