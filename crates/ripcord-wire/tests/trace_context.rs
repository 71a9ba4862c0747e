//! W3C Trace Context level 2: the rules of its test suite (`SPEC_LEVEL=2`, `STRICT_LEVEL=2`), as
//! tables, and what the suite does not ask.
//!
//! What the suite asks of a service beyond the headers (a fresh span for each call, a trace begun
//! where none was sent) is not for a codec.

use ripcord_wire::trace::{IdError, SpanId, TraceFlags, TraceId, TraceParent, TraceParentError};
use ripcord_wire::tracestate::{TraceState, TraceStateError};
use std::borrow::Cow;

const TRACE: &str = "12345678901234567890123456789012";
const SPAN: &str = "1234567890123456";
const SAMPLED: &str = "00-12345678901234567890123456789012-1234567890123456-01";

/// What a request hands over: headers as an HTTP library gives them, names in lower case.
///
/// A bad `traceparent` takes `tracestate` with it; a bad `tracestate` goes alone.
fn received(headers: &[(&str, &str)]) -> Option<(TraceParent, TraceState)> {
    let lines = |name: &'static str| {
        let of_name = headers
            .iter()
            .filter(move |header| header.0.to_ascii_lowercase() == name);
        of_name.map(|header| header.1.as_bytes())
    };
    let parent = TraceParent::parse_headers(lines("traceparent")).ok()??;
    let state = TraceState::parse_headers(lines("tracestate")).unwrap_or_default();
    Some((parent, state))
}

/// `tracestate` as it would go out, of a request with a good `traceparent`.
fn state_of(lines: &[&str]) -> String {
    let mut headers = vec![("traceparent", SAMPLED)];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    let (_, state) = received(&headers).expect("the traceparent is good");
    state.as_str().to_owned()
}

#[track_caller]
fn continues(value: &str) {
    let (parent, _) = received(&[("traceparent", value)]).expect(value);
    assert_eq!(parent.trace_id.to_string(), TRACE, "{value}");
    assert_eq!(parent.span_id.to_string(), SPAN, "{value}");
    assert!(parent.encode().starts_with(b"00-"), "{value}");
}

#[track_caller]
fn starts_anew(value: &str) {
    assert_eq!(received(&[("traceparent", value)]), None, "{value}");
}

#[test]
fn a_request_without_headers_has_no_trace() {
    assert_eq!(received(&[]), None);
}

#[test]
fn a_traceparent_alone_is_enough() {
    let (parent, state) = received(&[("traceparent", SAMPLED)]).expect("good");
    assert_eq!(parent.to_string(), SAMPLED);
    assert!(state.is_empty());
}

#[test]
fn several_traceparents_are_none() {
    let other = SAMPLED.replace("012-", "011-");
    for second in [SAMPLED, &other, "", "garbage"] {
        let headers = [("traceparent", SAMPLED), ("traceparent", second)];
        assert_eq!(received(&headers), None, "{second}");
    }
}

#[test]
fn names_count_in_any_case_but_not_with_other_signs() {
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        assert!(received(&[(name, SAMPLED)]).is_some(), "{name}");
    }
    for name in ["trace-parent", "trace.parent"] {
        assert!(received(&[(name, SAMPLED)]).is_none(), "{name}");
    }
    for (name, expect) in [
        ("TraceState", 1),
        ("TrAcEsTaTe", 1),
        ("TRACESTATE", 1),
        ("trace-state", 0),
        ("trace.state", 0),
    ] {
        let headers = [("traceparent", SAMPLED), (name, "foo=1")];
        let (_, state) = received(&headers).expect("good");
        assert_eq!(state.len(), expect, "{name}");
    }
}

#[test]
fn version_00_has_nothing_after_its_fields() {
    continues(SAMPLED);
    for rest in [".", "-", "-what-the-future-will-be-like", "0", "-01"] {
        starts_anew(&format!("{SAMPLED}{rest}"));
    }
}

#[test]
fn a_higher_version_is_read_by_its_first_fields() {
    for version in ["01", "cc", "fe"] {
        let value = SAMPLED.replacen("00", version, 1);
        continues(&value);
        for rest in ["-what-the-future-will-be-like", "-", "-\u{fc}"] {
            continues(&format!("{value}{rest}"));
        }
        for rest in [".what-the-future-will-be-like", "0", "_", "01"] {
            starts_anew(&format!("{value}{rest}"));
        }
        // Shorter than version 00 it cannot be.
        starts_anew(&value[..54]);
    }
}

#[test]
fn version_ff_does_not_exist() {
    starts_anew(&SAMPLED.replacen("00", "ff", 1));
}

#[test]
fn each_field_has_its_digits_and_its_length() {
    for (version, trace, span, flags) in [
        // Illegal characters.
        (".0", TRACE, SPAN, "01"),
        ("0.", TRACE, SPAN, "01"),
        ("0A", TRACE, SPAN, "01"),
        ("00", ".2345678901234567890123456789012", SPAN, "01"),
        ("00", "1234567890123456789012345678901.", SPAN, "01"),
        ("00", "1234567890123456789012345678901A", SPAN, "01"),
        ("00", TRACE, ".234567890123456", "01"),
        ("00", TRACE, "123456789012345.", "01"),
        ("00", TRACE, "123456789012345A", "01"),
        ("00", TRACE, SPAN, ".0"),
        ("00", TRACE, SPAN, "0."),
        ("00", TRACE, SPAN, "0A"),
        // Too long.
        ("000", TRACE, SPAN, "01"),
        ("0000", TRACE, SPAN, "01"),
        ("00", "123456789012345678901234567890123", SPAN, "01"),
        ("00", TRACE, "12345678901234567", "01"),
        ("00", TRACE, SPAN, "001"),
        // Too short.
        ("0", TRACE, SPAN, "01"),
        ("", TRACE, SPAN, "01"),
        ("00", "1234567890123456789012345678901", SPAN, "01"),
        ("00", TRACE, "123456789012345", "01"),
        ("00", TRACE, SPAN, "1"),
        ("00", TRACE, SPAN, ""),
        // All zero.
        ("00", "00000000000000000000000000000000", SPAN, "01"),
        ("00", TRACE, "0000000000000000", "01"),
    ] {
        starts_anew(&format!("{version}-{trace}-{span}-{flags}"));
    }
}

#[test]
fn white_space_around_a_traceparent_does_not_belong_to_it() {
    for (before, after) in [(" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t")] {
        continues(&format!("{before}{SAMPLED}{after}"));
    }
    for (before, after) in [("\n", ""), ("", "\r\n"), ("\u{b}", ""), ("", "\0")] {
        starts_anew(&format!("{before}{SAMPLED}{after}"));
    }
}

#[test]
fn the_random_flag_goes_on_as_it_came_and_unknown_flags_do_not() {
    for (flags, expect) in [
        ("00", "00"),
        ("01", "01"),
        ("02", "02"),
        ("03", "03"),
        ("04", "00"),
        ("fd", "01"),
        ("fe", "02"),
        ("ff", "03"),
    ] {
        let value = format!("00-{TRACE}-{SPAN}-{flags}");
        let (parent, _) = received(&[("traceparent", &value)]).expect("good");
        assert!(parent.to_string().ends_with(expect), "{flags} as {parent}");
        assert_eq!(parent.flags.is_sampled(), expect.ends_with(['1', '3']));
        assert_eq!(parent.flags.is_random(), expect.ends_with(['2', '3']));
    }
}

#[test]
fn flags_are_set_one_by_one() {
    let none = TraceFlags::default();
    let both = none.with_sampled(true).with_random(true);
    assert_eq!(both.to_byte(), 3);
    assert_eq!(both.with_sampled(false), TraceFlags::RANDOM);
    assert_eq!(both.with_random(false), TraceFlags::SAMPLED);
    assert_eq!(none.with_random(false).with_sampled(false), none);
}

#[test]
fn a_tracestate_is_worth_nothing_without_a_good_traceparent() {
    assert_eq!(received(&[("tracestate", "foo=1,bar=2")]), None);
    let bad = SAMPLED.replacen("00", "ff", 1);
    let headers = [("traceparent", bad.as_str()), ("tracestate", "foo=1")];
    assert_eq!(received(&headers), None);
}

#[test]
fn a_tracestate_is_kept_in_its_order() {
    for (lines, expect) in [
        (&["foo=1,bar=2"][..], "foo=1,bar=2"),
        // Several lines are one list.
        (
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            "foo=1,bar=2,rojo=1,congo=2,baz=3",
        ),
        // Empty lines and members do not count.
        (&[""], ""),
        (&["", "", ""], ""),
        (&["foo=1", ""], "foo=1"),
        (&["", "foo=1"], "foo=1"),
        (&[" \t", "foo=1", " , ,\t"], "foo=1"),
        (&[",foo=1,,bar=2,"], "foo=1,bar=2"),
        // White space around a member does not belong to it.
        (&["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
        (&[" foo=1"], "foo=1"),
        (&["\tfoo=1"], "foo=1"),
        (&["foo=1 "], "foo=1"),
        (&["foo=1\t"], "foo=1"),
        (&["\t foo=1 \t"], "foo=1"),
        // But white space at the beginning of a value does.
        (&["foo=  1 2"], "foo=  1 2"),
        // Of two entries of a key the newer stays, which is the left one.
        (&["foo=1,foo=1"], "foo=1"),
        (&["foo=1,foo=2"], "foo=1"),
        (&["foo=1", "foo=1"], "foo=1"),
        (&["foo=1", "bar=3,foo=2"], "foo=1,bar=3"),
        // Level 2 knows no tenants: `@` is a sign like others, except at the beginning.
        (&["foo@=1,bar=2"], "foo@=1,bar=2"),
        (&["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2"),
        (&["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2"),
        (&["0=1,9a=2"], "0=1,9a=2"),
    ] {
        assert_eq!(state_of(lines), expect, "{lines:?}");
    }
}

#[test]
fn all_characters_that_are_allowed_come_through() {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let value: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
    for key in [key.to_owned(), format!("{key}@a-z0-9_-*/")] {
        let (_, state) = received(&[
            ("traceparent", SAMPLED),
            ("tracestate", &format!("{key}={value}")),
        ])
        .expect("good");
        assert_eq!(state.get(&key), Some(value.as_str()));
    }
}

#[test]
fn one_bad_member_takes_the_whole_list_with_it() {
    let long_value = format!("foo={}", "v".repeat(257));
    for lines in [
        // Keys.
        &["foo =1"][..],
        &["FOO=1"],
        &["foo.bar=1"],
        &["@foo=1,bar=2"],
        &["_foo=1,bar=2"],
        &["bar=2,=1"],
        &["f\u{f6}\u{f6}=1"],
        // Values.
        &["foo=bar=baz"],
        &["foo=,bar=3"],
        &["foo=  ,bar=3"],
        &["foo=a\tb,bar=3"],
        &["foo=\u{7f}"],
        &["foo=\u{e9}"],
        &["foo=a\0"],
        &[&long_value],
        // Neither.
        &["foo"],
        &["bar=2", "foo"],
        &["bar=2;foo=1", "x"],
    ] {
        assert_eq!(state_of(lines), "", "{lines:?}");
    }
}

#[test]
fn a_list_has_32_members_and_not_one_more() {
    let members: Vec<String> = (1..=33).map(|n| format!("bar{n:02}={n:02}")).collect();
    let lines = |members: &[String]| -> Vec<String> {
        members.chunks(10).map(|line| line.join(",")).collect()
    };
    let good = lines(&members[..32]);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    assert_eq!(state_of(&good), members[..32].join(","));

    let bad = lines(&members);
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_eq!(state_of(&bad), "");
    // Members that will not be kept count as well.
    assert_eq!(state_of(&[&["foo=1"; 33].join(",")]), "");
    assert_eq!(state_of(&[&["foo=1"; 32].join(",")]), "foo=1");
}

#[test]
fn a_key_has_256_characters_and_not_one_more() {
    for (key, expect) in [
        ("z".repeat(256), true),
        ("z".repeat(257), false),
        (format!("{}@{}", "t".repeat(241), "v".repeat(14)), true),
        // Level 1 had shorter limits on both sides of `@`.
        (format!("{}@v", "t".repeat(242)), true),
        (format!("t@{}", "v".repeat(15)), true),
    ] {
        let line = format!("{key}=1");
        let state = state_of(&["foo=1", &line]);
        let kept = format!("foo=1,{line}");
        assert_eq!(state, if expect { kept } else { String::new() });
    }
}

#[test]
fn at_least_512_characters_go_on() {
    let value = "v".repeat(250);
    let line = format!("a={value},b={value},c=3");
    assert!(line.len() > 507);
    assert_eq!(state_of(&[&line]), line);
}

#[test]
fn an_error_of_a_traceparent_names_the_place() {
    use TraceParentError::{Delimiter, Hex, Length, Version, ZeroSpanId, ZeroTraceId};
    for (value, expect) in [
        ("", Length(0)),
        ("  \t ", Length(0)),
        ("00-1234", Length(7)),
        (&format!("  {SAMPLED}0 "), Length(56)),
        (&SAMPLED.replacen("00", "0x", 1), Hex(1)),
        (&format!("  {}", SAMPLED.replacen("00", "0x", 1)), Hex(3)),
        (&SAMPLED.replacen("00-", "00_", 1), Delimiter(2)),
        (&format!("0{SAMPLED}"), Delimiter(2)),
        (&SAMPLED.replacen("00-1", "00-A", 1), Hex(3)),
        (&SAMPLED.replace("2-1234", "2_1234"), Delimiter(35)),
        (&SAMPLED.replace("2-1234", "2-\u{fc}34"), Hex(36)),
        (&SAMPLED.replace("6-01", "6.01"), Delimiter(52)),
        (&SAMPLED.replace("-01", "-0g"), Hex(54)),
        (&format!("\tcc{}_", &SAMPLED[2..]), Delimiter(56)),
        (&SAMPLED.replacen("00", "ff", 1), Version),
        (&SAMPLED.replace(TRACE, &"0".repeat(32)), ZeroTraceId),
        (&SAMPLED.replace(SPAN, &"0".repeat(16)), ZeroSpanId),
    ] {
        assert_eq!(TraceParent::parse(value.as_bytes()), Err(expect), "{value}");
        assert_eq!(value.parse::<TraceParent>(), Err(expect), "{value}");
    }
}

#[test]
fn an_error_of_a_tracestate_names_the_place() {
    use TraceStateError::{Key, Separator, TooLong, TooManyMembers, Value};
    let long = |n| "x".repeat(n);
    for (lines, expect) in [
        (&["Foo=1"][..], Key(0)),
        (&["  foo =1"], Key(5)),
        (&["a=1, =1"], Key(5)),
        (&["a=1,", "b=2,C=3"], Key(9)),
        (&["foo"], Separator(3)),
        (&["a=1", " foo , b=2"], Separator(8)),
        (&["a="], Value(2)),
        (&["a=1,b=\u{1}"], Value(6)),
        (&["a=b=c"], Value(3)),
        (&[&format!("{}=1", long(257))], TooLong(256)),
        (&[&long(1000)], TooLong(256)),
        (&[&format!("a={}", long(257))], TooLong(258)),
        (&[&vec!["a=1"; 40].join(",")], TooManyMembers(128)),
    ] {
        let read = TraceState::parse_headers(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(read, Err(expect), "{lines:?}");
    }
}

#[test]
fn an_entry_of_ones_own_goes_to_the_left() {
    let state: TraceState = "a=1,b=2,c=3".parse().expect("good");
    for (key, value, expect) in [
        ("d", "4", Ok("d=4,a=1,b=2,c=3")),
        ("c", "4", Ok("c=4,a=1,b=2")),
        ("a", " 4", Ok("a= 4,b=2,c=3")),
        ("A", "4", Err(TraceStateError::Key(0))),
        ("", "4", Err(TraceStateError::Key(0))),
        ("a=", "4", Err(TraceStateError::Key(1))),
        ("a", "", Err(TraceStateError::Value(0))),
        ("a", "4 ", Err(TraceStateError::Value(1))),
        ("a", "4\r\nx: y", Err(TraceStateError::Value(1))),
        ("a", "4,b=5", Err(TraceStateError::Value(1))),
        (&"a".repeat(257), "4", Err(TraceStateError::TooLong(256))),
        ("a", &"4".repeat(257), Err(TraceStateError::TooLong(256))),
    ] {
        let with = state.with(key, value);
        let text = with.as_ref().map(TraceState::as_str).map_err(|e| *e);
        assert_eq!(text, expect, "{key} {value:?}");
    }
    assert_eq!(state.as_str(), "a=1,b=2,c=3", "the old list is as it was");
}

#[test]
fn a_33rd_entry_pushes_the_oldest_out() {
    let mut state = TraceState::default();
    for n in 1..=40 {
        state = state.with(&format!("k{n}"), "1").expect("good");
    }
    let keys: Vec<&str> = state.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 32);
    assert_eq!((keys[0], keys[31]), ("k40", "k9"));
}

#[test]
fn truncation_cuts_whole_members_and_the_long_ones_first() {
    let (x128, x129) = ("x".repeat(126), "x".repeat(127));
    for (text, bytes_max, expect) in [
        ("a=1,b=2,c=3", 11, "a=1,b=2,c=3"),
        ("a=1,b=2,c=3", 10, "a=1,b=2"),
        ("a=1,b=2,c=3", 7, "a=1,b=2"),
        ("a=1,b=2,c=3", 6, "a=1"),
        ("a=1,b=2,c=3", 2, ""),
        ("a=1,b=2,c=3", 0, ""),
        ("", 0, ""),
        // 128 bytes are not long, 129 are.
        (&format!("a={x128},b=2"), 131, &format!("a={x128}")),
        (&format!("a={x129},b=2"), 131, "b=2"),
        // No more than necessary, from the right.
        (
            &format!("a={x129},b={x129},c=3"),
            140,
            &format!("a={x129},c=3"),
        ),
        (&format!("a={x129},b={x129},c=3"), 130, "c=3"),
        (&format!("a={x129}"), 128, ""),
    ] {
        let state: TraceState = text.parse().expect(text);
        let cut = state.truncated(bytes_max);
        assert_eq!(cut, expect, "{text} in {bytes_max}");
        let is_borrowed = matches!(cut, Cow::Borrowed(_));
        assert_eq!(
            is_borrowed,
            text.len() <= bytes_max || !text.contains(&x129)
        );
    }
}

#[test]
fn ids_are_read_and_shown_as_lower_case_digits() {
    let trace: TraceId = TRACE.parse().expect("good");
    assert_eq!(
        (format!("{trace}"), format!("{trace:x}")),
        (TRACE.into(), TRACE.into())
    );
    assert_eq!(format!("{trace:?}"), format!("TraceId({TRACE})"));
    let span: SpanId = SPAN.parse().expect("good");
    assert_eq!(
        (format!("{span}"), format!("{span:x}")),
        (SPAN.into(), SPAN.into())
    );
    assert_eq!(
        format!("{span:?} {span:>18}"),
        format!("SpanId({SPAN})   {SPAN}")
    );
    assert_eq!(TraceId::from_bytes(trace.to_bytes()), Some(trace));
    assert_eq!(SpanId::from_bytes(span.to_bytes()), Some(span));

    for (text, expect) in [
        ("", IdError::Length { len: 0, digits: 16 }),
        (
            TRACE,
            IdError::Length {
                len: 32,
                digits: 16,
            },
        ),
        ("123456789012345g", IdError::Hex(15)),
        ("ABCDEF7890123456", IdError::Hex(0)),
        ("0000000000000000", IdError::Zero),
    ] {
        assert_eq!(text.parse::<SpanId>(), Err(expect), "{text}");
    }
    assert_eq!("0".repeat(32).parse::<TraceId>(), Err(IdError::Zero));
    assert_eq!(TraceId::from_bytes([0; 16]), None);
    assert_eq!(SpanId::from_bytes([0; 8]), None);
}

#[test]
fn errors_fit_after_failed_to() {
    for (error, expect) in [
        (
            TraceParentError::Hex(3).to_string(),
            "parse traceparent: byte 3 is no lower-case hex digit",
        ),
        (
            TraceParentError::Length(54).to_string(),
            "parse traceparent: 54 bytes instead of 55",
        ),
        (
            TraceStateError::TooManyMembers(7).to_string(),
            "parse tracestate: more than 32 members, the next at byte 7",
        ),
        (
            IdError::Length { len: 3, digits: 16 }.to_string(),
            "parse an id: 3 bytes instead of 16 hex digits",
        ),
    ] {
        assert_eq!(error, expect);
    }
}
