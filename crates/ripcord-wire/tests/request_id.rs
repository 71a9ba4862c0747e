//! Request ids: what is taken over, and what is made.

use ripcord_wire::request_id::{RequestId, RequestIdError};
use std::collections::HashMap;

#[test]
fn ids_are_taken_over_as_they_are() {
    for text in [
        "x",
        "f058ebd6-02f7-4d3f-942e-904344e8cde5",
        "!#$%&'()*+-./:<=>?@[]^_`{|}~",
        &"a".repeat(38),
        &"a".repeat(39),
        &"a".repeat(128),
    ] {
        let id = RequestId::parse(text.as_bytes()).expect(text);
        assert_eq!(id.as_str(), text);
        assert_eq!(id.clone(), id);
        assert_eq!(text.parse(), Ok(id));
    }
}

#[test]
fn what_does_not_fit_into_a_log_line_is_refused() {
    for (text, expect) in [
        ("", RequestIdError::Empty),
        (&"a".repeat(129), RequestIdError::TooLong(129)),
        (&"\n".repeat(129), RequestIdError::TooLong(129)),
        (" ", RequestIdError::Byte(0)),
        ("a b", RequestIdError::Byte(1)),
        ("a ", RequestIdError::Byte(1)),
        ("ab\"", RequestIdError::Byte(2)),
        ("a,b", RequestIdError::Byte(1)),
        ("a;b", RequestIdError::Byte(1)),
        ("a\\b", RequestIdError::Byte(1)),
        ("a\r\nx: y", RequestIdError::Byte(1)),
        ("a\t", RequestIdError::Byte(1)),
        ("a\0", RequestIdError::Byte(1)),
        ("a\u{7f}", RequestIdError::Byte(1)),
        ("\u{1b}[31m", RequestIdError::Byte(0)),
        ("a\u{e9}", RequestIdError::Byte(1)),
        ("a\u{202e}", RequestIdError::Byte(1)),
    ] {
        assert_eq!(RequestId::parse(text.as_bytes()), Err(expect), "{text:?}");
    }
    assert_eq!(RequestId::parse(b"\xff"), Err(RequestIdError::Byte(0)));
}

#[test]
fn a_uuid_has_the_layout_of_version_7() {
    for (unix_ms, random, expect) in [
        // RFC 9562, appendix A.6.
        (
            0x017f_22e2_79b0,
            [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f],
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        ),
        (0, [0; 10], "00000000-0000-7000-8000-000000000000"),
        (0, [0xff; 10], "00000000-0000-7fff-bfff-ffffffffffff"),
        (
            0xffff_ffff_ffff,
            [0; 10],
            "ffffffff-ffff-7000-8000-000000000000",
        ),
        // Beyond the 48 bits it stays there.
        (u64::MAX, [0; 10], "ffffffff-ffff-7000-8000-000000000000"),
    ] {
        assert_eq!(RequestId::uuid_v7(unix_ms, random).as_str(), expect);
    }
    let early = RequestId::uuid_v7(1_000, [0xff; 10]);
    let late = RequestId::uuid_v7(1_001, [0; 10]);
    assert!(early < late, "by time");
    assert_ne!(early, late);
}

#[test]
fn an_id_is_found_by_its_text() {
    let long = "b".repeat(100);
    let mut map = HashMap::new();
    for (number, text) in ["a", &long].into_iter().enumerate() {
        map.insert(text.parse::<RequestId>().expect("good"), number);
    }
    assert_eq!((map.get("a"), map.get(long.as_str())), (Some(&0), Some(&1)));
}

#[test]
fn it_shows_its_text() {
    let id: RequestId = "a-1".parse().expect("good");
    assert_eq!(
        format!("{id} {id:>4} {id:?}"),
        r#"a-1  a-1 RequestId("a-1")"#
    );
    assert_eq!(id.as_ref(), "a-1");
    let error = RequestIdError::TooLong(129).to_string();
    assert_eq!(error, "parse a request id: 129 bytes, of at most 128");
    let error = RequestIdError::Byte(3).to_string();
    assert!(error.starts_with("parse a request id: byte 3 is not allowed"));
}
