//! What holds of every time-out that is read or written.
//!
//! The same code is behind the fuzz target `wire_timeout`, the replay of its corpus, and the
//! property tests.

use ripcord_wire::timeout::{FinagleDeadline, TimeoutHeader, Unit};
use std::time::Duration;

/// Any bytes are the value of a header in each grammar, a duration to send, and a deadline of
/// Finagle.
pub(crate) fn check(data: &[u8]) {
    for unit in [Unit::Grpc, Unit::Millis, Unit::Seconds, Unit::Human] {
        let header = TimeoutHeader::new("timeout", unit).expect("a header name");
        let read = header.parse(data).ok();
        assert_eq!(read, naive(unit, data), "{unit:?} {}", data.escape_ascii());
        if let Some(value) = read {
            written(&header, value);
        }
    }
    let mut bytes = [0; 12];
    let known = data.len().min(bytes.len());
    bytes[..known].copy_from_slice(&data[..known]);
    let [s @ .., n0, n1, n2, n3] = bytes;
    let nanos = u32::from_be_bytes([n0, n1, n2, n3]) % 1_000_000_000;
    every_duration(Duration::new(u64::from_be_bytes(s), nanos));
    every_duration(Duration::from_nanos(u64::from_be_bytes(s)));
    finagle(data);
}

/// Writes a duration in each grammar.
pub(crate) fn every_duration(asked: Duration) {
    for unit in [Unit::Grpc, Unit::Millis, Unit::Seconds, Unit::Human] {
        let header = TimeoutHeader::new("timeout", unit).expect("a header name");
        written(&header, asked);
    }
}

fn written(header: &TimeoutHeader, asked: Duration) {
    let unit = header.unit();
    let Some(sent) = header.encode(asked) else {
        assert!(asked.is_zero(), "{unit:?} says nothing of {asked:?}");
        assert_eq!(header.encode_rounded(asked, 3), None);
        return;
    };
    let text = sent.as_str();
    let case = format!("{unit:?} of {asked:?} is {text}");
    assert_eq!(header.parse(text.as_bytes()), Ok(sent.value()), "{case}");
    assert!(!sent.value().is_zero(), "{case}");
    if text == longest(unit) {
        let hour = Duration::from_secs(3600);
        assert!(asked.saturating_add(hour) >= sent.value(), "{case}");
    } else {
        let more = sent.value().checked_sub(asked).expect(&case);
        let added = match unit {
            Unit::Grpc => more.as_nanos() * 100_000 <= asked.as_nanos(),
            Unit::Millis => more < Duration::from_millis(1),
            Unit::Human => more.as_nanos() * 1_000_000_000_000 <= asked.as_nanos(),
            _ => more.is_zero(),
        };
        assert!(added, "{case}: {more:?} more");
    }
    let again = header.encode(sent.value()).expect(&case);
    assert_eq!((again, again.value()), (sent, sent.value()), "{case}");

    for digits in 0..=4 {
        let rounded = header.encode_rounded(asked, digits).expect(&case);
        let case = format!("{case}, with {digits} digits {rounded}");
        assert_eq!(
            header.parse(rounded.as_str().as_bytes()),
            Ok(rounded.value())
        );
        if rounded.as_str() == longest(unit) {
            continue;
        }
        assert!(rounded.value() >= sent.value(), "{case}");
        // The digits, and then the grammar, which writes whole milliseconds at the coarsest.
        let more = rounded.value().as_nanos() - asked.as_nanos();
        let by_digits = asked.as_nanos() / 10_u128.pow(digits.max(1) - 1);
        let by_unit = rounded.value().as_nanos() / 100_000 + 1_000_000;
        assert!(more <= by_digits + by_unit, "{case}");
    }
}

/// What a grammar says of what is longer than it can say.
fn longest(unit: Unit) -> &'static str {
    match unit {
        Unit::Grpc => "99999999H",
        Unit::Human => "5124095576030431h",
        _ => "9999999999",
    }
}

/// The grammars once more, by text.
fn naive(unit: Unit, data: &[u8]) -> Option<Duration> {
    const S: u128 = 1_000_000_000;
    let text = str::from_utf8(data).ok()?;
    let (units, digits_max, has_fraction): (&[(&str, u128)], _, _) = match unit {
        Unit::Grpc => (
            &[
                ("H", 3600 * S),
                ("M", 60 * S),
                ("S", S),
                ("m", S / 1000),
                ("u", 1000),
                ("n", 1),
            ],
            8,
            false,
        ),
        Unit::Millis => (&[("", S / 1000)], 10, false),
        Unit::Seconds => (&[("", S)], 10, true),
        _ => (
            &[
                ("h", 3600 * S),
                ("m", 60 * S),
                ("ms", S / 1000),
                ("us", 1000),
                ("ns", 1),
                ("s", S),
            ],
            18,
            true,
        ),
    };
    let is_number = |text: &str, max| {
        (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    units.iter().find_map(|(name, length)| {
        let number = text.strip_suffix(name)?;
        let (whole, part) = match number.split_once('.') {
            Some((whole, part)) if has_fraction && is_number(part, 9) => (whole, part),
            Some(_) => return None,
            None => (number, "0"),
        };
        if !is_number(whole, digits_max) {
            return None;
        }
        let billionths: u128 = format!("{part:0<9}").parse().ok()?;
        let nanos = whole.parse::<u128>().ok()? * length + (billionths * length).div_ceil(S);
        let seconds = u64::try_from(nanos / S).ok()?;
        Some(Duration::new(seconds, u32::try_from(nanos % S).ok()?))
    })
}

fn finagle(data: &[u8]) {
    let Ok(deadline) = FinagleDeadline::parse(data) else {
        return assert_ne!(data.len(), 16, "sixteen bytes are always a deadline");
    };
    assert!(matches!(data.len(), 16 | 22 | 24));
    assert_eq!(deadline.combined(deadline), deadline);
    for now in [i64::MIN, -1, 0, deadline.timestamp_ns, i64::MAX] {
        let exact = i128::from(deadline.deadline_ns) - i128::from(now);
        let left = deadline.remaining(now).as_nanos();
        assert_eq!(i128::try_from(left), Ok(exact.max(0)));
    }
}
