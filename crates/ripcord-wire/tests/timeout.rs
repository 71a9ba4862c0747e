//! Time-outs: what is read, what is written, and by how much that is rounded.

use ripcord_wire::timeout::{Encoded, FinagleDeadline, TimeoutError, TimeoutHeader, Unit};
use std::collections::BTreeSet;
use std::time::Duration;

fn header(unit: Unit) -> TimeoutHeader {
    TimeoutHeader::new("timeout", unit).expect("a header name")
}

#[track_caller]
fn reads(unit: Unit, text: &str, expect: Duration) {
    assert_eq!(header(unit).parse(text.as_bytes()), Ok(expect), "{text:?}");
}

#[track_caller]
fn refuses(unit: Unit, text: &str, expect: TimeoutError) {
    assert_eq!(header(unit).parse(text.as_bytes()), Err(expect), "{text:?}");
}

#[test]
fn grpc_is_one_to_eight_digits_and_a_unit() {
    for (text, expect) in [
        ("0S", Duration::ZERO),
        ("0n", Duration::ZERO),
        ("1n", Duration::from_nanos(1)),
        ("1u", Duration::from_micros(1)),
        ("1m", Duration::from_millis(1)),
        ("1S", Duration::from_secs(1)),
        ("1M", Duration::from_secs(60)),
        ("1H", Duration::from_secs(3600)),
        ("00000005S", Duration::from_secs(5)),
        ("99999999n", Duration::from_nanos(99_999_999)),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
    ] {
        reads(Unit::Grpc, text, expect);
    }
    for (text, expect) in [
        ("", TimeoutError::Empty),
        ("S", TimeoutError::Digit(0)),
        ("+5S", TimeoutError::Digit(0)),
        ("-1S", TimeoutError::Digit(0)),
        (" 5S", TimeoutError::Digit(0)),
        ("\u{663}S", TimeoutError::Digit(0)),
        ("\u{ff15}S", TimeoutError::Digit(0)),
        ("0x5S", TimeoutError::Unit(1)),
        ("1e3S", TimeoutError::Unit(1)),
        ("5", TimeoutError::Unit(1)),
        ("5s", TimeoutError::Unit(1)),
        ("5h", TimeoutError::Unit(1)),
        ("5N", TimeoutError::Unit(1)),
        ("5 S", TimeoutError::Unit(1)),
        ("5S ", TimeoutError::Unit(1)),
        ("5.5S", TimeoutError::Unit(1)),
        ("5SS", TimeoutError::Unit(1)),
        ("1H2M", TimeoutError::Unit(1)),
        ("12\u{660}S", TimeoutError::Unit(2)),
        ("5S\0", TimeoutError::Unit(1)),
        ("100000000S", TimeoutError::TooLong(8)),
        ("000000005S", TimeoutError::TooLong(8)),
        ("99999999999999999999S", TimeoutError::TooLong(8)),
    ] {
        refuses(Unit::Grpc, text, expect);
    }
}

#[test]
fn milliseconds_are_one_to_ten_digits() {
    for (text, expect) in [
        ("0", 0),
        ("1", 1),
        ("0000000001", 1),
        ("9999999999", 9_999_999_999),
    ] {
        reads(Unit::Millis, text, Duration::from_millis(expect));
    }
    for (text, expect) in [
        ("", TimeoutError::Empty),
        ("x", TimeoutError::Digit(0)),
        ("5x", TimeoutError::Digit(1)),
        ("5ms", TimeoutError::Digit(1)),
        ("1.5", TimeoutError::Digit(1)),
        ("1,5", TimeoutError::Digit(1)),
        ("5 ", TimeoutError::Digit(1)),
        ("10000000000", TimeoutError::TooLong(10)),
    ] {
        refuses(Unit::Millis, text, expect);
    }
}

#[test]
fn seconds_may_have_a_fraction() {
    for (text, expect) in [
        ("0", Duration::ZERO),
        ("0.000000000", Duration::ZERO),
        ("5", Duration::from_secs(5)),
        ("2.5", Duration::from_millis(2500)),
        ("2.050", Duration::from_millis(2050)),
        ("0.000000001", Duration::from_nanos(1)),
        (
            "9999999999.999999999",
            Duration::new(9_999_999_999, 999_999_999),
        ),
    ] {
        reads(Unit::Seconds, text, expect);
    }
    for (text, expect) in [
        ("", TimeoutError::Empty),
        (".5", TimeoutError::Digit(0)),
        ("5.", TimeoutError::Digit(2)),
        ("5.x", TimeoutError::Digit(2)),
        ("5.5.5", TimeoutError::Digit(3)),
        ("5s", TimeoutError::Digit(1)),
        ("0.0000000001", TimeoutError::TooLong(11)),
        ("10000000000", TimeoutError::TooLong(10)),
    ] {
        refuses(Unit::Seconds, text, expect);
    }
}

#[test]
fn for_people_there_are_units_in_lower_case() {
    for (text, expect) in [
        ("0s", Duration::ZERO),
        ("3ns", Duration::from_nanos(3)),
        ("3us", Duration::from_micros(3)),
        ("3ms", Duration::from_millis(3)),
        ("3s", Duration::from_secs(3)),
        ("3m", Duration::from_secs(180)),
        ("3h", Duration::from_secs(10_800)),
        ("1.5h", Duration::from_secs(5400)),
        ("0.25ms", Duration::from_micros(250)),
        // A part of a nanosecond counts as one: only a written zero is zero.
        ("0.1ns", Duration::from_nanos(1)),
        ("1.000000001us", Duration::from_nanos(1001)),
        ("0.0ns", Duration::ZERO),
        (
            "999999999999999999s",
            Duration::from_secs(999_999_999_999_999_999),
        ),
    ] {
        reads(Unit::Human, text, expect);
    }
    for (text, expect) in [
        ("", TimeoutError::Empty),
        ("ms", TimeoutError::Digit(0)),
        ("5", TimeoutError::Unit(1)),
        ("5S", TimeoutError::Unit(1)),
        ("5 s", TimeoutError::Unit(1)),
        ("5sec", TimeoutError::Unit(1)),
        ("1h30m", TimeoutError::Unit(1)),
        ("5.s", TimeoutError::Digit(2)),
        ("5\u{b5}s", TimeoutError::Unit(1)),
        ("1000000000000000000ns", TimeoutError::TooLong(18)),
        ("5124095576030432h", TimeoutError::Overflow),
        ("999999999999999999h", TimeoutError::Overflow),
    ] {
        refuses(Unit::Human, text, expect);
    }
}

#[track_caller]
fn writes(unit: Unit, asked: Duration, expect: &str) {
    let header = header(unit);
    let sent = header.encode(asked).expect("not zero");
    assert_eq!(sent.as_str(), expect, "{asked:?}");
    assert_eq!(
        header.parse(expect.as_bytes()),
        Ok(sent.value()),
        "{asked:?}"
    );
}

#[test]
fn grpc_takes_the_finest_unit_that_has_room_and_rounds_up() {
    for (nanos, expect) in [
        (1, "1n"),
        (99_999_999, "99999999n"),
        (100_000_000, "100000u"),
        (100_000_001, "100001u"),
        (1_000_000_000, "1000000u"),
        (99_999_999_000, "99999999u"),
        (99_999_999_001, "100000m"),
        (99_999_999_000_000, "99999999m"),
        (99_999_999_000_001, "100000S"),
        (99_999_999_000_000_000, "99999999S"),
        (99_999_999_000_000_001, "1666667M"),
        (99_999_999 * 60_000_000_000, "99999999M"),
        (99_999_999 * 60_000_000_000 + 1, "1666667H"),
        (u64::MAX, "5124096H"),
    ] {
        writes(Unit::Grpc, Duration::from_nanos(nanos), expect);
    }
}

#[test]
fn the_others_are_exact_or_up_to_the_millisecond() {
    for (nanos, millis, seconds, human) in [
        (1, "1", "0.000000001", "1ns"),
        (1_000_000, "1", "0.001", "1ms"),
        (1_000_001, "2", "0.001000001", "1000001ns"),
        (250_000_000, "250", "0.25", "250ms"),
        (1_000_000_000, "1000", "1", "1s"),
        (1_500_000_000, "1500", "1.5", "1500ms"),
        (90_000_000_000, "90000", "90", "90s"),
        (120_000_000_000, "120000", "120", "2m"),
        (7_200_000_000_000, "7200000", "7200", "2h"),
    ] {
        let asked = Duration::from_nanos(nanos);
        writes(Unit::Millis, asked, millis);
        writes(Unit::Seconds, asked, seconds);
        writes(Unit::Human, asked, human);
    }
}

#[test]
fn nothing_left_is_not_sent() {
    for unit in [Unit::Grpc, Unit::Millis, Unit::Seconds, Unit::Human] {
        assert_eq!(header(unit).encode(Duration::ZERO), None);
        assert_eq!(header(unit).encode_rounded(Duration::ZERO, 2), None);
    }
}

#[test]
fn what_is_too_long_to_say_becomes_the_longest() {
    for (unit, expect, value) in [
        (
            Unit::Grpc,
            "99999999H",
            Duration::from_secs(99_999_999 * 3600),
        ),
        (
            Unit::Millis,
            "9999999999",
            Duration::from_millis(9_999_999_999),
        ),
        (
            Unit::Seconds,
            "9999999999",
            Duration::from_secs(9_999_999_999),
        ),
        (
            Unit::Human,
            "5124095576030431h",
            Duration::from_secs(5_124_095_576_030_431 * 3600),
        ),
    ] {
        writes(unit, Duration::MAX, expect);
        let sent = header(unit).encode(Duration::MAX).expect("not zero");
        assert_eq!(sent.value(), value);
        let rounded = header(unit).encode_rounded(Duration::MAX, 3);
        assert_eq!(rounded.map(|r| r.value()), Some(value), "{unit:?}");
    }
    // One step before that it is still rounded up.
    let most = Duration::from_nanos(9_999_999_998_000_001);
    writes(Unit::Millis, most, "9999999999");
    let most = Duration::from_secs(99_999_998 * 3600) + Duration::from_nanos(1);
    writes(Unit::Grpc, most, "99999999H");
}

#[test]
fn rounding_goes_up_to_few_digits() {
    for (unit, nanos, digits, expect) in [
        (Unit::Millis, 1_234_567_891, 1, "2000"),
        (Unit::Millis, 1_234_567_891, 2, "1300"),
        (Unit::Millis, 1_234_567_891, 3, "1240"),
        (Unit::Millis, 1_234_567_891, 0, "2000"),
        (Unit::Millis, 1_234_567_891, 40, "1235"),
        (Unit::Millis, 1_234_567_891, u32::MAX, "1235"),
        (Unit::Millis, 1_000_000_000, 2, "1000"),
        (Unit::Millis, 999_000_001, 2, "1000"),
        (Unit::Millis, 1, 2, "1"),
        (Unit::Grpc, 1_234_567_891, 2, "1300000u"),
        (Unit::Grpc, 29_876_543_210, 3, "29900000u"),
        (Unit::Seconds, 1_234_567_891, 2, "1.3"),
        (Unit::Human, 1_234_567_891, 2, "1300ms"),
    ] {
        let asked = Duration::from_nanos(nanos);
        let sent = header(unit).encode_rounded(asked, digits);
        let sent = sent.expect("not zero");
        assert_eq!(sent.as_str(), expect, "{unit:?} {nanos} {digits}");
        assert!(sent.value() >= asked);
    }
}

#[test]
fn two_digits_make_few_texts() {
    let header = TimeoutHeader::GRPC;
    let texts: BTreeSet<String> = (1_000..2_000)
        .map(|ms| header.encode_rounded(Duration::from_millis(ms), 2))
        .map(|sent| sent.expect("not zero").to_string())
        .collect();
    assert_eq!(texts.len(), 11, "{texts:?}");
}

#[test]
fn encoded_shows_its_text() {
    let sent = TimeoutHeader::GRPC.encode(Duration::from_nanos(5));
    let sent: Encoded = sent.expect("not zero");
    let shown = format!("{sent} {sent:>4} {sent:?}");
    assert_eq!(shown, r#"5n   5n Encoded("5n")"#);
    assert_eq!(sent.as_ref(), "5n");
}

#[test]
fn the_names_are_those_of_the_protocols() {
    for (header, name, unit) in [
        (TimeoutHeader::GRPC, "grpc-timeout", Unit::Grpc),
        (TimeoutHeader::CONNECT, "connect-timeout-ms", Unit::Millis),
        (TimeoutHeader::REQUEST, "x-request-timeout-ms", Unit::Millis),
        (
            TimeoutHeader::ENVOY_EXPECTED,
            "x-envoy-expected-rq-timeout-ms",
            Unit::Millis,
        ),
        (
            TimeoutHeader::ENVOY_UPSTREAM,
            "x-envoy-upstream-rq-timeout-ms",
            Unit::Millis,
        ),
        (TimeoutHeader::SERVER, "x-server-timeout", Unit::Seconds),
    ] {
        assert_eq!((header.name(), header.unit()), (name, unit));
        assert_eq!(TimeoutHeader::new(name, unit), Ok(header));
    }
}

#[test]
fn a_name_of_ones_own_is_a_token_in_lower_case() {
    for (given, expect) in [
        ("x-time-left", Ok("x-time-left")),
        ("X-Time-Left", Ok("x-time-left")),
        ("!#$%&'*+-.^_`|~09Az", Ok("!#$%&'*+-.^_`|~09az")),
        ("", Err(TimeoutError::Name(0))),
        ("a b", Err(TimeoutError::Name(1))),
        ("a:", Err(TimeoutError::Name(1))),
        ("\u{e9}", Err(TimeoutError::Name(0))),
        ("a\r\nb", Err(TimeoutError::Name(1))),
    ] {
        let header = TimeoutHeader::new(given, Unit::Millis);
        let name = header.as_ref().map(TimeoutHeader::name);
        assert_eq!(name.map_err(|error| *error), expect, "{given:?}");
    }
}

#[test]
fn a_deadline_of_finagle_is_sixteen_bytes_or_their_base64() {
    let deadline = FinagleDeadline {
        timestamp_ns: -0x0102_0304_0506_0708,
        deadline_ns: 0x7fff_ffff_ffff_fffe,
    };
    let mut raw = deadline.timestamp_ns.to_be_bytes().to_vec();
    raw.extend(deadline.deadline_ns.to_be_bytes());
    for text in [
        &raw[..],
        b"/v38+/r5+Ph//////////g==",
        b"/v38+/r5+Ph//////////g",
        b"_v38-_r5-Ph__________g==",
        b"_v38-_r5-Ph__________g",
    ] {
        assert_eq!(FinagleDeadline::parse(text), Ok(deadline), "{text:?}");
    }
    for (text, expect) in [
        (&b""[..], TimeoutError::Empty),
        (b"==", TimeoutError::Length(2)),
        (b"AAAAAAAAAAA", TimeoutError::Length(11)),
        (b"AAAAAAAAAAEAAAAAAAAABQ=", TimeoutError::Length(23)),
        (b"AAAAAAAAAAEAAAAAAAAABQ===", TimeoutError::Length(25)),
        (b"AAAAAAAAAAEAAAAAAAAABQ.=", TimeoutError::Length(24)),
        (b"AAAAAAAAAAEAAAAA AAABQ==", TimeoutError::Digit(16)),
        (b"AAAAAAAAAAEAAAAAAAAAB=", TimeoutError::Digit(21)),
        (b"AAAAAAAAAAEAAAAAAAAABR", TimeoutError::Digit(21)),
    ] {
        assert_eq!(FinagleDeadline::parse(text), Err(expect), "{text:?}");
    }
}

#[test]
fn two_deadlines_of_finagle_make_the_stricter_one() {
    let deadline = |timestamp_ns, deadline_ns| FinagleDeadline {
        timestamp_ns,
        deadline_ns,
    };
    let (a, b) = (deadline(1, 50), deadline(9, 70));
    assert_eq!(a.combined(b), deadline(9, 50));
    assert_eq!(b.combined(a), a.combined(b));

    for (deadline_ns, now_ns, expect) in [
        (50, 20, 30),
        (50, 50, 0),
        (50, 51, 0),
        (-5, -8, 3),
        (i64::MAX, i64::MIN, u64::MAX),
        (i64::MIN, i64::MAX, 0),
    ] {
        let left = deadline(0, deadline_ns).remaining(now_ns);
        assert_eq!(
            left,
            Duration::from_nanos(expect),
            "{deadline_ns} at {now_ns}"
        );
    }
}

#[test]
fn errors_fit_after_failed_to() {
    for (error, expect) in [
        (TimeoutError::Empty, "there is no value"),
        (TimeoutError::TooLong(8), "byte 8 is one digit too many"),
        (TimeoutError::Digit(0), "no digit at byte 0"),
        (TimeoutError::Unit(1), "no known unit at byte 1"),
        (
            TimeoutError::Overflow,
            "more than 18446744073709551615 seconds",
        ),
        (
            TimeoutError::Name(1),
            "byte 1 may not stand in a header name",
        ),
        (
            TimeoutError::Length(3),
            "3 bytes instead of 16, or of 22 or 24 in base64",
        ),
    ] {
        assert_eq!(error.to_string(), format!("parse a time-out: {expect}"));
    }
}
