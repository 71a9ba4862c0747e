//! Context values in and out: the header's form, the JSON, the limits, signatures.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "oracle/ext.rs"]
mod oracle;

use oracle::{HERE, MAC, NOW, Toy};
use proptest::collection::vec;
use proptest::prelude::*;
use ripcord_wire::ext::{Binding, Ext, ExtError, Json, Limits, Mac, SKEW_S_MAX};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The header of a JSON text that ripcord would not write, signed with `MAC`.
fn header_of(json: &[u8], issued_s: u64) -> String {
    let issued = issued_s.to_be_bytes();
    let tag = MAC.sign(&[
        b"ripcord-ext-1",
        b"k1",
        HERE.trace_id,
        HERE.request_id,
        HERE.audience,
        &issued,
        json,
    ]);
    format!("1.{}.k1.{issued_s}.{}", base64url(json), base64url(&tag))
}

/// Bit by bit, to have a second opinion.
fn base64url(bytes: &[u8]) -> String {
    let digits: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain("-_".chars())
        .collect();
    let bit = |at: usize| {
        bytes
            .get(at / 8)
            .map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1))
    };
    let sextets = (0..bytes.len() * 8).step_by(6);
    sextets
        .map(|at| digits[(at..at + 6).fold(0, |sextet, at| sextet << 1 | bit(at))])
        .collect()
}

fn parse_signed(header: &str) -> Result<Ext, ExtError> {
    Ext::parse_signed(header.as_bytes(), &Limits::default(), &MAC, &HERE, NOW, 60)
}

fn from_json(text: &str) -> Result<Ext, ExtError> {
    Ext::from_json(text.as_bytes(), &Limits::default())
}

fn sample() -> Ext {
    from_json(r#"{"tenant":"acme","seats":12,"trial":false,"plan":{"tags":["a","b"],"old":null}}"#)
        .unwrap()
}

#[test]
fn values_are_found_by_key_and_type() {
    let ext = sample();
    assert_eq!(ext.get("tenant").and_then(Json::as_str), Some("acme"));
    assert_eq!(ext.get("seats").and_then(Json::as_int), Some(12));
    assert_eq!(ext.get("trial").and_then(Json::as_bool), Some(false));
    let plan = ext.get("plan").unwrap();
    assert!(plan.get("old").is_some_and(Json::is_null));
    let tags = plan.get("tags").and_then(Json::as_list).unwrap();
    assert_eq!(tags, [Json::from("a"), Json::from("b")]);
    assert_eq!(plan.as_map().map(<[_]>::len), Some(2));
    assert_eq!(ext.get("none"), None);
    let text = Json::from("acme");
    assert_eq!(
        (text.as_int(), text.as_bool(), text.as_list()),
        (None, None, None)
    );
    assert_eq!(
        (text.as_map(), text.get("k"), Json::Null.as_str()),
        (None, None, None)
    );
}

#[test]
fn values_are_made_of_what_rust_has() {
    for (json, expect) in [
        (Json::from("a"), r#""a""#),
        (Json::from(String::from("a")), r#""a""#),
        (Json::from(i64::MIN), "-9223372036854775808"),
        (Json::from(-1_i32), "-1"),
        (Json::from(u32::MAX), "4294967295"),
        (Json::from(true), "true"),
        (Json::Null, "null"),
        (Json::from(vec![1, 2]), "[1,2]"),
        (Json::from([("a", 1)]), r#"{"a":1}"#),
        (
            BTreeMap::from([("b", "x"), ("a", "y")])
                .into_iter()
                .collect(),
            r#"{"a":"y","b":"x"}"#,
        ),
    ] {
        assert_eq!(json.to_string(), expect);
    }
}

#[test]
fn a_value_is_set_replaced_in_its_place_and_taken_out() {
    let limits = Limits::default();
    let mut ext = Ext::default();
    assert!(ext.is_empty() && ext.to_string() == "{}");
    ext.insert("a", 1, &limits).unwrap();
    ext.insert("b", "x", &limits).unwrap();
    ext.insert("a", vec![true], &limits).unwrap();
    assert_eq!(ext.to_string(), r#"{"a":[true],"b":"x"}"#);
    let keys: Vec<_> = ext.iter().map(|(key, _)| key).collect();
    assert_eq!((ext.len(), keys), (2, vec!["a", "b"]));
    assert_eq!(ext.remove("a"), Some(Json::List(vec![Json::Bool(true)])));
    assert_eq!(ext.remove("a"), None);
    assert_eq!(ext.to_string(), r#"{"b":"x"}"#);
}

#[test]
fn json_is_read_as_it_is_meant() {
    for (text, expect) in [
        ("{}", "{}"),
        (
            " \t\r\n{ \"a\" : [ 1 , { } , [ ] ] } \n",
            r#"{"a":[1,{},[]]}"#,
        ),
        (r#"{"a":-0,"b":0,"c":-1}"#, r#"{"a":0,"b":0,"c":-1}"#),
        (
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
        ),
        (
            r#"{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00"}"#,
            "{\"a\":\"\\\"\\\\/\\b\\f\\n\\r\\tAé€😀\"}",
        ),
        (
            r#"{"a":"\u0000\u001F\u007f"}"#,
            "{\"a\":\"\\u0000\\u001f\u{7f}\"}",
        ),
        (
            r#"{"a":{"":1,"\u0061":2,"A":3}}"#,
            r#"{"a":{"":1,"a":2,"A":3}}"#,
        ),
        (r#"{"a-b.c_9":1}"#, r#"{"a-b.c_9":1}"#),
    ] {
        let ext = from_json(text).unwrap_or_else(|error| panic!("failed to {error}: {text}"));
        assert_eq!(ext.to_string(), expect, "{text}");
    }
}

#[test]
fn what_is_not_the_json_that_is_meant_is_refused_at_its_place() {
    for (text, offset, expected) in [
        ("", 0, "an object"),
        ("[]", 0, "an object"),
        ("1", 0, "an object"),
        ("\u{feff}{}", 0, "an object"),
        ("{", 1, "a string"),
        ("{}x", 2, "the end of the text"),
        ("{}{}", 2, "the end of the text"),
        ("{,}", 1, "a string"),
        ("{\u{c}}", 1, "a string"),
        ("{\u{a0}}", 1, "a string"),
        ("{}\u{b}", 2, "the end of the text"),
        (r#"{"a":1,}"#, 7, "a string"),
        (r#"{"a" 1}"#, 5, "a colon"),
        (r#"{"a":1 "b":2}"#, 7, "a comma or a closing brace"),
        (r#"{"a":[1 2]}"#, 8, "a comma or a closing bracket"),
        (r#"{"a":[1,]}"#, 8, "a value"),
        (r#"{"a":[1"#, 7, "a comma or a closing bracket"),
        (r"{'a':1}", 1, "a string"),
        (r"{a:1}", 1, "a string"),
        (r#"{"a":}"#, 5, "a value"),
        (r#"{"a":nul}"#, 5, "a value"),
        (r#"{"a":True}"#, 5, "a value"),
        (r#"{"a":NaN}"#, 5, "a value"),
        (r#"{"a":1 /* */}"#, 7, "a comma or a closing brace"),
    ] {
        let error = ExtError::Json { offset, expected };
        assert_eq!(from_json(text), Err(error), "{text}");
    }
}

#[test]
fn a_number_or_a_string_with_two_meanings_is_refused_at_its_place() {
    for (text, offset, expected) in [
        (r#"{"a":+1}"#, 5, "a value"),
        (r#"{"a":-}"#, 6, "a digit"),
        (r#"{"a":01}"#, 5, "a number without leading zeros"),
        (r#"{"a":-00}"#, 5, "a number without leading zeros"),
        (
            r#"{"a":1.0}"#,
            6,
            "an integer, without fraction or exponent",
        ),
        (
            r#"{"a":1e2}"#,
            6,
            "an integer, without fraction or exponent",
        ),
        (
            r#"{"a":0E1}"#,
            6,
            "an integer, without fraction or exponent",
        ),
        (r#"{"a":9223372036854775808}"#, 5, "an integer of 64 bits"),
        (r#"{"a":-9223372036854775809}"#, 5, "an integer of 64 bits"),
        (r#"{"a":0x1}"#, 6, "a comma or a closing brace"),
        ("{\"a\":\"\n\"}", 6, "no raw control character"),
        ("{\"a\":\"x\u{1f}\"}", 7, "no raw control character"),
        (r#"{"a":"x"#, 7, "a closing quote"),
        (r#"{"a":"\"#, 6, "an escape"),
        (r#"{"a":"\x"}"#, 6, "an escape"),
        (r#"{"a":"\u12"}"#, 6, "an escape"),
        (r#"{"a":"\u+123"}"#, 6, "an escape"),
        (r#"{"a":"\u12é"}"#, 6, "an escape"),
        (r#"{"a":"\U0041"}"#, 6, "an escape"),
        (r#"{"a":"\ud83d"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ud83dx"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ud83d\n"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ud83d\ud83d"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ude00"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ude00\ud83d"}"#, 6, "no lone surrogate"),
        (r#"{"a":"\ud83d\u0041"}"#, 6, "no lone surrogate"),
    ] {
        let error = ExtError::Json { offset, expected };
        assert_eq!(from_json(text), Err(error), "{text}");
    }
    let error = Ext::from_json(b"{\"a\":\"\xc3\"}", &Limits::default());
    let offset = 6;
    let expected = "UTF-8";
    assert_eq!(error, Err(ExtError::Json { offset, expected }));
}

#[test]
fn a_key_stands_once_in_its_object() {
    for (text, offset) in [
        (r#"{"a":1,"a":1}"#, 7),
        (r#"{"a":1,"b":2,"\u0061":3}"#, 13),
        (r#"{"a":{"b":1,"b":2}}"#, 12),
        (r#"{"a":[{"":1},{"":1, "":2}]}"#, 20),
    ] {
        let error = ExtError::DuplicateKey { offset };
        assert_eq!(from_json(text), Err(error), "{text}");
    }
    assert!(from_json(r#"{"a":[{"x":1},{"x":1}],"x":1}"#).is_ok());

    let twice = Json::Map(vec![("k".into(), 1.into()), ("k".into(), 2.into())]);
    let mut ext = sample();
    let error = ext.insert("a", twice, &Limits::default());
    assert!(matches!(error, Err(ExtError::DuplicateKey { .. })));
    assert_eq!(ext, sample(), "as it was");
}

#[test]
fn keys_have_a_form() {
    let longest = format!("a{}", "9".repeat(63));
    for key in ["a", "tenant", "a0_.-", &longest] {
        assert_eq!(Ext::default().insert(key, 1, &Limits::default()), Ok(()));
        assert!(from_json(&format!(r#"{{"{key}":1}}"#)).is_ok());
    }
    let too_long = format!("{longest}9");
    let letters = "a".repeat(65);
    for (key, offset) in [
        ("", 0),
        ("A", 0),
        ("9", 0),
        ("_a", 0),
        ("aB", 1),
        ("a b", 1),
        ("aé", 1),
        ("a\n", 1),
        (&too_long, 64),
        (&letters, 64),
    ] {
        let error = ExtError::Key { offset };
        assert_eq!(
            Ext::default().insert(key, 1, &Limits::default()),
            Err(error)
        );
        let text = Json::from([("x", 1), (key, 2)]).to_string();
        let error = ExtError::Key { offset: 7 };
        assert_eq!(from_json(&text), Err(error), "{text}");
    }
}

#[test]
fn the_limits_are_met_to_the_byte_the_key_and_the_level() {
    let default = Limits::default();
    let text = |len: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(len - 8));
    assert!(from_json(&text(2048)).is_ok());
    let limit = 2048;
    let error = ExtError::TooLong { bytes: 2049, limit };
    assert_eq!(from_json(&text(2049)), Err(error.clone()));
    let header = format!("1.{}", base64url(text(2049).as_bytes()));
    assert_eq!(Ext::parse(header.as_bytes(), &default), Err(error.clone()));
    let long = Json::from("x".repeat(2049 - 8));
    assert_eq!(Ext::default().insert("a", long, &default), Err(error));

    let object = |keys: u32| {
        let entries = (0..keys).map(|n| (format!("k{n}"), n));
        entries.collect::<Json>().to_string()
    };
    assert_eq!(from_json(&object(32)).map(|ext| ext.len()), Ok(32));
    for (text, at) in [(object(33), 0), (format!(r#"{{"a":{}}}"#, object(33)), 5)] {
        let offset = at + object(32).len();
        let error = ExtError::TooManyKeys { offset, limit: 32 };
        assert_eq!(from_json(&text), Err(error), "{text}");
    }
    let mut full = from_json(&object(32)).unwrap();
    let offset = object(32).len();
    let error = ExtError::TooManyKeys { offset, limit: 32 };
    assert_eq!(full.insert("more", 1, &default), Err(error));
    assert_eq!(full.insert("k31", 1, &default), Ok(()));

    assert!(from_json(r#"{"a":[[[1]]]}"#).is_ok());
    let too_deep = ExtError::TooDeep {
        offset: 8,
        limit: 4,
    };
    assert_eq!(from_json(r#"{"a":[[[[]]]]}"#), Err(too_deep.clone()));
    let deep = Json::from(vec![vec![vec![Json::Map(vec![])]]]);
    assert_eq!(Ext::default().insert("a", deep, &default), Err(too_deep));
}

#[test]
fn no_setting_goes_beyond_the_hard_limits() {
    let huge = Limits {
        bytes_max: usize::MAX,
        keys_max: usize::MAX,
        depth_max: usize::MAX,
    };
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(6144 - 7));
    let error = ExtError::TooLong {
        bytes: 6145,
        limit: 6144,
    };
    assert_eq!(Ext::from_json(text.as_bytes(), &huge), Err(error));
    let deep = format!("{{\"a\":{}", "[".repeat(3_000));
    let error = ExtError::TooDeep {
        offset: 5 + 15,
        limit: 16,
    };
    assert_eq!(Ext::from_json(deep.as_bytes(), &huge), Err(error));
    let entries = (0..257).map(|n| (format!("k{n}"), n));
    let many = entries.collect::<Json>().to_string();
    let error = Ext::from_json(many.as_bytes(), &huge);
    assert!(matches!(
        error,
        Err(ExtError::TooManyKeys { limit: 256, .. })
    ));
    let none = Limits {
        bytes_max: 0,
        keys_max: 0,
        depth_max: 0,
    };
    let error = ExtError::TooDeep {
        offset: 0,
        limit: 0,
    };
    assert_eq!(Ext::default().encode(&none), Err(error));
}

#[test]
fn tighter_limits_are_checked_when_values_are_sent() {
    let ext = sample();
    let bytes = ext.to_string().len();
    let limits = Limits {
        bytes_max: bytes - 1,
        ..Limits::default()
    };
    let limit = bytes - 1;
    assert_eq!(ext.encode(&limits), Err(ExtError::TooLong { bytes, limit }));
    let error = ext.encode_signed(&limits, &MAC, &HERE, NOW);
    assert_eq!(error, Err(ExtError::TooLong { bytes, limit }));
}

#[test]
fn the_header_has_one_form() {
    let limits = Limits::default();
    assert_eq!(Ext::default().encode(&limits).as_deref(), Ok("1.e30"));
    assert_eq!(Ext::parse(b"1.e30", &limits), Ok(Ext::default()));
    let tag = "A".repeat(43);
    let signed = |key_id: &str, issued: &str, tag: &str| format!("1.e30.{key_id}.{issued}.{tag}");
    let longest = "k".repeat(32);
    for header in [
        signed("k1", "0", &tag),
        signed("A_z-9", "18446744073709551615", &tag),
        signed(&longest, "1", &tag),
    ] {
        assert_eq!(Ext::parse(header.as_bytes(), &limits), Ok(Ext::default()));
    }
    let shape = |offset| ExtError::Shape { offset };
    let base64 = |offset| ExtError::Base64 { offset };
    for (header, error) in [
        (String::new(), ExtError::Version),
        (".e30".into(), ExtError::Version),
        ("2.e30".into(), ExtError::Version),
        ("01.e30".into(), ExtError::Version),
        (" 1.e30".into(), ExtError::Version),
        ("{}".into(), ExtError::Version),
        ("1".into(), shape(1)),
        ("1.e30.k1".into(), shape(8)),
        ("1.e30.k1.1".into(), shape(10)),
        (signed("k1", "1", &tag) + ".", shape(55)),
        (signed("", "1", &tag), shape(6)),
        (signed("k 1", "1", &tag), shape(7)),
        (signed("é", "1", &tag), shape(6)),
        (signed(&"k".repeat(33), "1", &tag), shape(38)),
        (signed("k1", "", &tag), shape(9)),
        (signed("k1", "01", &tag), shape(9)),
        (signed("k1", "+1", &tag), shape(9)),
        (signed("k1", "1x", &tag), shape(9)),
        (signed("k1", "18446744073709551616", &tag), shape(9)),
        (signed("k1", "1", ""), shape(11)),
        (signed("k1", "1", &tag[1..]), shape(11)),
        (signed("k1", "1", &format!("{tag}A")), shape(11)),
        (signed("k1", "1", &tag.replacen('A', "=", 1)), base64(11)),
        (signed("k1", "1", &format!("{}B", &tag[1..])), base64(53)),
        ("1.e30=".into(), base64(5)),
        ("1.e31".into(), base64(4)),
        ("1.e30 ".into(), base64(5)),
        ("1.e".into(), base64(2)),
        ("1.e3\n".into(), base64(4)),
        (
            "1.".into(),
            ExtError::Json {
                offset: 0,
                expected: "an object",
            },
        ),
    ] {
        assert_eq!(
            Ext::parse(header.as_bytes(), &limits),
            Err(error),
            "{header:?}"
        );
    }
}

#[test]
fn a_good_signature_is_accepted() {
    let header = sample()
        .encode_signed(&Limits::default(), &MAC, &HERE, NOW)
        .unwrap();
    assert_eq!(parse_signed(&header), Ok(sample()));
    assert_eq!(header, header_of(sample().to_string().as_bytes(), NOW));
    let spaced = header_of(br#" { "tenant" : "acme" } "#, NOW);
    assert_eq!(parse_signed(&spaced).map(|ext| ext.len()), Ok(1));
    let unsigned = sample().encode(&Limits::default()).unwrap();
    assert_eq!(parse_signed(&unsigned), Err(ExtError::Unsigned));
}

#[test]
fn a_signature_for_something_else_is_refused() {
    let limits = Limits::default();
    let header = sample().encode_signed(&limits, &MAC, &HERE, NOW).unwrap();
    for elsewhere in [
        Binding {
            trace_id: b"other",
            ..HERE
        },
        Binding {
            request_id: b"r-2",
            ..HERE
        },
        Binding {
            audience: b"billin",
            ..HERE
        },
        // The same bytes, cut at another place.
        Binding {
            request_id: b"r-1b",
            audience: b"illing",
            ..HERE
        },
        Binding {
            trace_id: HERE.request_id,
            request_id: HERE.trace_id,
            ..HERE
        },
    ] {
        let refused = Ext::parse_signed(header.as_bytes(), &limits, &MAC, &elsewhere, NOW, 60);
        assert_eq!(refused, Err(ExtError::BadSignature), "{elsewhere:?}");
    }
    let stranger = Toy { key: 43, ..MAC };
    let refused = Ext::parse_signed(header.as_bytes(), &limits, &stranger, &HERE, NOW, 60);
    assert_eq!(refused, Err(ExtError::BadSignature));
    let rotated = Toy {
        key_id: "k2",
        ..MAC
    };
    let refused = Ext::parse_signed(header.as_bytes(), &limits, &rotated, &HERE, NOW, 60);
    assert_eq!(refused, Err(ExtError::UnknownKey));
}

#[test]
fn no_character_of_a_signed_header_can_be_changed() {
    let header = sample()
        .encode_signed(&Limits::default(), &MAC, &HERE, NOW)
        .unwrap();
    for at in 0..header.len() {
        for other in ['A', '0', '-', '.'] {
            let mut changed = header.clone();
            changed.replace_range(at..=at, &other.to_string());
            if changed != header {
                assert!(parse_signed(&changed).is_err(), "{changed}");
            }
        }
        let mut shorter = header.clone();
        shorter.remove(at);
        assert!(parse_signed(&shorter).is_err(), "{shorter}");
    }
}

#[test]
fn a_signature_is_fresh_for_its_age_and_no_longer() {
    let limits = Limits::default();
    let check = |issued_s: u64, now_s: u64, age_s_max: u64| {
        let header = sample()
            .encode_signed(&limits, &MAC, &HERE, issued_s)
            .unwrap();
        Ext::parse_signed(header.as_bytes(), &limits, &MAC, &HERE, now_s, age_s_max)
    };
    for (issued_s, now_s, age_s_max) in [
        (NOW, NOW, 0),
        (NOW - 60, NOW, 60),
        (NOW + SKEW_S_MAX, NOW, 0),
        (0, 0, 0),
        (0, u64::MAX, u64::MAX),
        (u64::MAX, u64::MAX - SKEW_S_MAX, 0),
    ] {
        assert_eq!(check(issued_s, now_s, age_s_max), Ok(sample()));
    }
    for (issued_s, now_s, age_s_max) in [
        (NOW - 61, NOW, 60),
        (NOW - 1, NOW, 0),
        (NOW + SKEW_S_MAX + 1, NOW, 60),
        (u64::MAX, 0, u64::MAX),
        (0, u64::MAX, u64::MAX - 1),
    ] {
        let stale = ExtError::Stale { issued_s, now_s };
        assert_eq!(check(issued_s, now_s, age_s_max), Err(stale));
    }
}

#[test]
fn values_are_not_parsed_before_the_signature_is_checked() {
    let expected = "an object";
    let not_json = ExtError::Json {
        offset: 0,
        expected,
    };
    let good = header_of(b"[]", NOW);
    assert_eq!(parse_signed(&good), Err(not_json), "the signature is good");
    let unknown = good.replace(".k1.", ".k2.");
    assert_eq!(parse_signed(&unknown), Err(ExtError::UnknownKey));
    let forged = good.replace(&NOW.to_string(), &(NOW + 1).to_string());
    assert_eq!(parse_signed(&forged), Err(ExtError::BadSignature));
    let stale = header_of(b"[]", NOW - 61);
    assert!(matches!(parse_signed(&stale), Err(ExtError::Stale { .. })));
}

#[test]
fn a_mac_is_given_the_parts_in_their_order() {
    struct Noting(RefCell<Vec<Vec<u8>>>);
    impl Mac for Noting {
        fn key_id(&self) -> &'static str {
            "id"
        }
        fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
            *self.0.borrow_mut() = parts.iter().map(|part| part.to_vec()).collect();
            [0; 32]
        }
        fn verify(&self, _: &str, _: &[&[u8]], _: &[u8; 32]) -> Option<bool> {
            None
        }
    }
    let mac = Noting(RefCell::default());
    let binding = Binding {
        trace_id: b"t",
        request_id: b"r",
        audience: b"a",
    };
    let header = Ext::default().encode_signed(&Limits::default(), &mac, &binding, 258);
    assert_eq!(header, Ok(format!("1.e30.id.258.{}", "A".repeat(43))));
    let parts: [&[u8]; 7] = [
        b"ripcord-ext-1",
        b"id",
        b"t",
        b"r",
        b"a",
        &[0, 0, 0, 0, 0, 0, 1, 2],
        b"{}",
    ];
    assert_eq!(*mac.0.borrow(), parts);
}

#[test]
fn a_mac_with_a_key_id_that_does_not_fit_cannot_sign() {
    for (key_id, offset) in [
        ("", 0),
        ("a.b", 1),
        ("k 1", 1),
        ("abcdefghijklmnopqrstuvwxyz-0123456", 32),
    ] {
        let mac = Toy { key_id, ..MAC };
        let refused = sample().encode_signed(&Limits::default(), &mac, &HERE, NOW);
        assert_eq!(refused, Err(ExtError::KeyId { offset }));
    }
}

#[test]
fn errors_name_the_place_and_the_limit() {
    for (error, text) in [
        (
            ExtError::Version,
            "the header does not begin with the version, `1.`",
        ),
        (
            ExtError::Shape { offset: 7 },
            "not `1.<values>` or `1.<values>.<key id>.<issued at>.<tag>` at byte 7 of the header",
        ),
        (
            ExtError::Base64 { offset: 7 },
            "not base64url without padding at byte 7 of the header",
        ),
        (
            ExtError::Key { offset: 7 },
            "not a key of the form [a-z][a-z0-9_.-]{0,63} at byte 7",
        ),
        (
            ExtError::DuplicateKey { offset: 7 },
            "a key for the second time at byte 7 of the JSON text",
        ),
        (
            ExtError::TooManyKeys {
                offset: 7,
                limit: 2,
            },
            "more than 2 keys in an object at byte 7 of the JSON text",
        ),
        (
            ExtError::TooDeep {
                offset: 7,
                limit: 2,
            },
            "more than 2 levels at byte 7 of the JSON text",
        ),
        (
            ExtError::TooLong { bytes: 7, limit: 2 },
            "the JSON text has 7 bytes, the limit is 2",
        ),
        (
            ExtError::KeyId { offset: 7 },
            "the id of the signing key is not [A-Za-z0-9_-]{1,32} at byte 7",
        ),
        (ExtError::Unsigned, "there is no signature"),
        (
            ExtError::UnknownKey,
            "signed with a key that is not known here",
        ),
        (
            ExtError::BadSignature,
            "the signature is not good for this request",
        ),
        (
            ExtError::Stale {
                issued_s: 7,
                now_s: 99,
            },
            "signed at 7 s, which is too far from now, 99 s since 1970",
        ),
    ] {
        assert_eq!(error.to_string(), format!("accept context values: {text}"));
    }
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// JSON text that is well formed for the most part, with a flaw here and there.
fn json_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        "[\\[\\]{}:,]",
        "\"[a-c]\":",
        "\"[a-c]\"",
        "-?[0-9]{1,20}",
        "(null|true|false|1\\.5|1e3|-0)",
        "\"\\\\(n|u00[0-9a-f]{2}|ud8[0-9a-f]{2}\\\\udc[0-9a-f]{2}|ud800|x)\"",
        "[ \t\r\n]",
    ];
    vec(token, 0..16).prop_map(|tokens| format!("{{\"a\":{}}}", tokens.concat()))
}

proptest! {
    // The fuzz target runs the same checks for longer.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_set_is_what_the_next_hop_reads(
        entries in prop::collection::btree_map("[a-z][a-z0-9_.-]{0,63}", json(), 0..6),
    ) {
        let limits = Limits { bytes_max: 6144, keys_max: 32, depth_max: 4 };
        let mut ext = Ext::default();
        for (key, value) in entries {
            let before = ext.clone();
            match ext.insert(&key, value.clone(), &limits) {
                Ok(()) => prop_assert_eq!(ext.get(&key), Some(&value)),
                Err(error) => {
                    prop_assert!(matches!(error, ExtError::TooLong { .. }), "{}", error);
                    prop_assert_eq!(&ext, &before);
                }
            }
        }
        let header = ext.encode(&limits).unwrap();
        prop_assert_eq!(&header, &format!("1.{}", base64url(ext.to_string().as_bytes())));
        prop_assert_eq!(Ext::parse(header.as_bytes(), &limits), Ok(ext.clone()));
        let header = ext.encode_signed(&limits, &MAC, &HERE, NOW).unwrap();
        let received = Ext::parse_signed(header.as_bytes(), &limits, &MAC, &HERE, NOW, 0);
        prop_assert_eq!(received, Ok(ext));
    }

    #[test]
    fn the_reader_agrees_with_serde_json(text in json_text()) {
        oracle::check(text.as_bytes());
    }

    #[test]
    fn any_value_reads_back_as_serde_json_writes_it(value in json()) {
        let text = format!("{{\"a\":{value}}}");
        let peer: serde_json::Value = serde_json::from_str(&text).unwrap();
        oracle::check(peer.to_string().as_bytes());
        oracle::check(serde_json::to_string_pretty(&peer).unwrap().as_bytes());
        oracle::check(text.as_bytes());
    }

    #[test]
    fn any_bytes_keep_the_promises(bytes: Vec<u8>) {
        oracle::check(&bytes);
        oracle::check(format!("1.{}", base64url(&bytes)).as_bytes());
        oracle::check(header_of(&bytes, NOW).as_bytes());
    }

    #[test]
    fn a_header_cut_or_changed_keeps_the_promises(at: prop::sample::Index, byte: u8, cut: bool) {
        let mut header = header_of(sample().to_string().as_bytes(), NOW).into_bytes();
        let at = at.index(header.len());
        if cut {
            header.truncate(at);
        } else {
            header[at] = byte;
        }
        oracle::check(&header);
    }
}
