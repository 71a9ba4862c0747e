//! What holds of all B3 headers that are read or written.
//!
//! The same code is behind the fuzz target `wire_b3`, the replay of its corpus, and the property
//! tests.

use ripcord_wire::b3::{B3, Multi, Sampling};
use ripcord_wire::trace::{SpanId, TraceId};

/// Any bytes are the single header; their lines are also the several ones, in the order of
/// [`B3::MULTI`], where an empty line stands for none.
pub(crate) fn check(data: &[u8]) {
    let single = B3::parse_single(data).ok();
    let case = data.escape_ascii().to_string();
    assert_eq!(single, naive_single(data), "{case}");
    if let Some(b3) = single {
        assert_eq!(B3::parse_single(b3.encode_single().as_bytes()), Ok(b3));
        through_multi(&b3);
    }

    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let multi = Multi {
        trace_id: line(),
        span_id: line(),
        parent_span_id: line(),
        sampled: line(),
        flags: line(),
    };
    let read = B3::parse_multi(&multi).ok();
    let said = read.map(Option::unwrap_or_default);
    assert_eq!(said, naive_multi(&multi), "{case}");
    if let Some(Some(b3)) = read {
        assert_ne!(b3, B3::default(), "{case}");
        through_multi(&b3);
        // The single form has no place for a parent without a sampling.
        let parent = b3.parent.filter(|_| b3.sampling != Sampling::Defer);
        let text = b3.encode_single();
        let expect = Ok(B3 { parent, ..b3 });
        assert_eq!(B3::parse_single(text.as_bytes()), expect, "{case}");
    }
}

fn through_multi(b3: &B3) {
    let mut headers: Vec<(&'static str, String)> = Vec::new();
    b3.encode_multi(|name, value| headers.push((name, value.to_owned())));
    let get = |name| {
        let mut found = headers.iter().filter(|header| header.0 == name);
        let value = found.next().map(|header| header.1.as_bytes());
        assert!(found.next().is_none(), "{name} twice");
        value
    };
    let [trace_id, span_id, parent_span_id, sampled, flags] = B3::MULTI.map(get);
    let multi = Multi {
        trace_id,
        span_id,
        parent_span_id,
        sampled,
        flags,
    };
    assert_eq!(B3::parse_multi(&multi), Ok(Some(*b3)));
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let text = str::from_utf8(digits).ok()?;
    let is_digit = |c: char| "0123456789abcdef".contains(c);
    if text.len() != 2 * N || !text.chars().all(is_digit) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits");
    Some(std::array::from_fn(byte))
}

fn trace(digits: &[u8]) -> Option<TraceId> {
    let mut padded = digits.to_vec();
    if digits.len() == 16 {
        padded.splice(0..0, [b'0'; 16]);
    }
    TraceId::from_bytes(hex(&padded)?)
}

fn span(digits: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(hex(digits)?)
}

fn state(text: &[u8]) -> Option<Sampling> {
    let known = [
        (&b"0"[..], Sampling::Deny),
        (b"1", Sampling::Accept),
        (b"d", Sampling::Debug),
    ];
    Some(known.iter().find(|known| known.0 == text)?.1)
}

/// The grammar once more, form by form.
fn naive_single(data: &[u8]) -> Option<B3> {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == b'-').collect();
    let mut b3 = B3::default();
    let (ids, rest) = match fields[..] {
        [alone] => {
            b3.sampling = state(alone)?;
            return Some(b3);
        }
        [t, s, ref rest @ ..] => ((trace(t)?, span(s)?), rest),
        [] => return None,
    };
    b3.ids = Some(ids);
    match *rest {
        [] => {}
        [sampling] => b3.sampling = state(sampling)?,
        [sampling, parent] => {
            b3.sampling = state(sampling)?;
            b3.parent = SpanId::from_bytes(hex(parent)?);
        }
        _ => return None,
    }
    Some(b3)
}

/// The default is what says nothing.
fn naive_multi(multi: &Multi<'_>) -> Option<B3> {
    let mut b3 = B3::default();
    if let (Some(t), Some(s)) = (multi.trace_id, multi.span_id) {
        b3.ids = Some((trace(t)?, span(s)?));
    } else if multi.trace_id.or(multi.span_id).is_some() {
        return None;
    }
    if let Some(parent) = multi.parent_span_id {
        b3.ids?;
        b3.parent = SpanId::from_bytes(hex(parent)?);
    }
    b3.sampling = match multi.sampled.map(<[u8]>::to_vec).as_deref() {
        None => Sampling::Defer,
        Some(b"true") => Sampling::Accept,
        Some(b"false") => Sampling::Deny,
        Some(b"d") => return None,
        Some(other) => state(other)?,
    };
    if multi.flags == Some(b"1") {
        b3.sampling = Sampling::Debug;
    }
    Some(b3)
}
