//! Baggage in and out: the grammar, the limits, changes, and what holds for any bytes and entries.

#[path = "oracle/baggage.rs"]
mod oracle;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ripcord_wire::baggage::{Baggage, BaggageError, Dropped, Limits};
use std::borrow::Cow;
use std::collections::HashSet;

fn parse(lines: &[&[u8]]) -> (Baggage, Dropped) {
    Baggage::parse_headers(lines.iter().copied(), &Limits::default())
}

#[track_caller]
fn check(header: &[u8], expect: &str, invalid: usize) {
    let (baggage, dropped) = parse(&[header]);
    let shown = header.escape_ascii();
    assert_eq!(baggage.as_str(), expect, "{shown}");
    let expect = Dropped {
        invalid,
        over_limit: 0,
    };
    assert_eq!(dropped, expect, "{shown}");
}

#[test]
fn the_grammar_of_the_standard() {
    check(b"SomeKey=SomeValue", "SomeKey=SomeValue", 0);
    check(
        b"key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue",
        "key1=value1;property1;property2,key2=value2,key3=value3;propertyKey=propertyValue",
        0,
    );
    check(
        b"k \t = \t v \t ; \t p \t ; q \t = \t w \t , \t l = m \t ",
        "k=v;p;q=w,l=m",
        0,
    );
    check(b"k=x=y==z;p=q=r", "k=x=y==z;p=q=r", 0);
    check(b"k=", "k=", 0);
    check(b"k=;p=;q", "k=;p=;q", 0);
    check(
        b"userId=Am%C3%A9lie,serverNode=DF%2028",
        "userId=Am%C3%A9lie,serverNode=DF%2028",
        0,
    );
    check(b"!#$%&'*+-.^_`|~09azAZ=v", "!#$%&'*+-.^_`|~09azAZ=v", 0);
    check(b"b=1,a=2,b=3", "b=1,a=2,b=3", 0);
}

#[test]
fn empty_members_are_skipped_and_count_as_nothing() {
    for header in [&b""[..], b" ", b",", b",,,", b" ,\t, ", &[b','; 8192]] {
        check(header, "", 0);
    }
    check(b",a=1,, ,b=2,", "a=1,b=2", 0);
    assert_eq!(parse(&[]), (Baggage::default(), Dropped::default()));
}

#[test]
fn a_malformed_member_is_left_out_whole_and_its_neighbours_stay() {
    for bad in [
        &b"key"[..],
        b"=v",
        b" = v",
        b"k y=v",
        b"k\"=v",
        b"k(=v",
        b"\xc3\xa9=v",
        b"k=a b",
        b"k=\"v\"",
        b"k=a\\b",
        b"k=\xc3\xa9",
        b"k=\x80",
        b"k=\xff",
        b"k=a\x00b",
        b"k=a\nb",
        b"k=a\r\n b",
        b"k=v\n",
        b"k=v\r",
        b"\nk=v",
        b"k=\x7f",
        b"k=\x0b",
        b"k=v;",
        b"k=v;;p",
        b"k=v;p q",
        b"k=v;=w",
        b"k=v;p=w x",
        b"k=v;p=\xff",
        b";",
        b";p",
        b"key;p=v",
        &[b';'; 8192],
        &[b'='; 8192],
        &[b'%'; 8192],
    ] {
        let header = [&b"a=1,"[..], bad, b",b=2"].concat();
        check(&header, "a=1,b=2", 1);
    }
}

#[test]
fn a_percent_sign_that_is_no_escape_is_kept_as_itself() {
    check(b"k=5%,l=%zz,m=%4", "k=5%25,l=%25zz,m=%254", 0);
    let (baggage, _) = parse(&[b"k=%zz"]);
    assert_eq!(baggage.get("k").as_deref(), Some("%zz"));
}

#[test]
fn a_control_character_never_goes_out_raw() {
    check(
        b"k=%0d%0aset-cookie:x,l=%00,m=%7f,n=%2c%3B",
        "k=%0D%0Aset-cookie:x,l=%00,m=%7F,n=%2C%3B",
        0,
    );
    let (baggage, _) = parse(&[b"k=%0d%0a"]);
    assert_eq!(baggage.get("k").as_deref(), Some("\r\n"));
    assert_eq!(baggage.as_str(), "k=%0D%0A");
}

#[test]
fn a_value_without_escapes_is_borrowed() {
    let (baggage, _) = parse(&[b"k=v;p=q,l=%20"]);
    assert!(matches!(baggage.get("k"), Some(Cow::Borrowed("v"))));
    assert!(matches!(baggage.get("l"), Some(Cow::Owned(_))));
}

#[test]
fn the_limits_hold_over_all_lines_together() {
    let member = |number: usize| format!("k{number}=v");
    let lines: Vec<String> = (0..80).map(member).collect();
    let (baggage, dropped) = parse(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(baggage.as_str(), lines[..64].join(","));
    assert_eq!((dropped.invalid, dropped.over_limit), (0, 16));

    let joined = lines.join(",");
    assert_eq!(parse(&[joined.as_bytes()]), (baggage, dropped));
}

#[test]
fn the_last_byte_that_fits_is_the_8192nd() {
    for (len, is_kept) in [(8191, true), (8192, true), (8193, false)] {
        let first = "a=1";
        let second = format!("b={}", "x".repeat(len - first.len() - ",b=".len()));
        for lines in [
            vec![format!("{first},{second}")],
            vec![format!("{first} \t , {second}")],
            vec![first.to_owned(), second.clone()],
        ] {
            let (baggage, dropped) = parse(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
            assert_eq!(baggage.len(), 1 + usize::from(is_kept), "{len}");
            assert_eq!(dropped.over_limit, usize::from(!is_kept), "{len}");
        }
    }
}

#[test]
fn it_is_the_text_that_results_which_is_limited() {
    let limits = Limits {
        members_max: 64,
        bytes_max: 8,
    };
    for (header, expect) in [
        (&b"k=%41%42%43%44%45%46"[..], "k=ABCDEF"),
        (b"k=%41%42%43%44%45%46%47", ""),
        (b"k = \t \t \t \t \t \t \t v", "k=v"),
        (b"k=%20%20", "k=%20%20"),
        (b"k=%%", "k=%25%25"),
        (b"k=%%%", ""),
        (b"k=%FF", ""),
    ] {
        let (baggage, dropped) = Baggage::parse_headers([header], &limits);
        assert_eq!(baggage.as_str(), expect, "{}", header.escape_ascii());
        assert_eq!(dropped.over_limit, usize::from(expect.is_empty()));
    }
}

#[test]
fn a_huge_entry_does_not_push_out_the_small_ones_behind_it() {
    let huge = format!("a=1,huge={},b=2", "x".repeat(9_000));
    let (baggage, dropped) = parse(&[huge.as_bytes()]);
    assert_eq!(baggage.as_str(), "a=1,b=2");
    assert_eq!(dropped.over_limit, 1);
}

#[test]
fn a_malformed_member_beyond_the_limit_counts_as_malformed() {
    let one = Limits {
        members_max: 1,
        bytes_max: 100,
    };
    let header: &[u8] = b"a=1,b=2,c,d=4,e=\"";
    let (baggage, dropped) = Baggage::parse_headers([header], &one);
    assert_eq!(baggage.as_str(), "a=1");
    assert_eq!((dropped.invalid, dropped.over_limit), (2, 2));
    assert_eq!(dropped.total(), 4);
}

#[test]
fn four_thousand_properties_are_one_member() {
    let header = format!("k=v{}", ";p".repeat(4_093));
    assert_eq!(header.len(), 8_189);
    let (baggage, dropped) = parse(&[header.as_bytes()]);
    assert_eq!(baggage.as_str(), header);
    assert_eq!(dropped.total(), 0);
    let entry = baggage.iter().next().unwrap();
    assert_eq!(entry.properties().count(), 4_093);
}

#[test]
fn a_hundred_thousand_members_are_counted() {
    let members = vec!["k=v"; 100_000];
    let (baggage, dropped) = parse(&[members.join(",").as_bytes()]);
    assert_eq!(baggage.len(), 64);
    assert_eq!(dropped.over_limit, 100_000 - 64);
    let (baggage, dropped) = parse(&[vec!["k"; 100_000].join(",").as_bytes()]);
    assert_eq!((baggage.len(), dropped.invalid), (0, 100_000));
}

#[test]
fn limits_of_zero_and_of_everything() {
    let none = Limits {
        members_max: 0,
        bytes_max: 0,
    };
    let header: &[u8] = b"a=1,b";
    let (baggage, dropped) = Baggage::parse_headers([header], &none);
    assert!(baggage.is_empty());
    assert_eq!((dropped.invalid, dropped.over_limit), (1, 1));
    let all = Limits {
        members_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let (baggage, _) = Baggage::parse_headers([header], &all);
    let (text, dropped) = baggage.encode(&none, |_| true);
    assert_eq!((&*text, dropped.over_limit), ("", 1));
    assert_eq!(
        baggage.encode(&all, |_| false),
        (Cow::Borrowed(""), Dropped::default())
    );
}

#[test]
fn with_replaces_in_the_place_of_the_first_and_without_takes_all() {
    let (baggage, _) = parse(&[b"a=1;p,k=1,b=2,k=2,c=3"]);
    let set = baggage.with("k", "a,b;c=\"d\" %\\\n\u{20ac}").unwrap();
    assert_eq!(
        set.as_str(),
        "a=1;p,k=a%2Cb%3Bc=%22d%22%20%25%5C%0A%E2%82%AC,b=2,c=3"
    );
    assert_eq!(set.get("k").as_deref(), Some("a,b;c=\"d\" %\\\n\u{20ac}"));
    assert_eq!(baggage.without("k").as_str(), "a=1;p,b=2,c=3");
    assert_eq!(baggage.without("K"), baggage);
    assert_eq!(baggage.as_str(), "a=1;p,k=1,b=2,k=2,c=3", "as it was");
    let added = Baggage::default().with("k", "").unwrap();
    assert_eq!(added.as_str(), "k=");
    assert_eq!(added.without("k"), Baggage::default());
}

#[test]
fn what_cannot_be_set_says_where_and_why() {
    let none = Baggage::default();
    for (key, offset, found, text) in [
        ("", 0, None, "add the baggage entry: its key is empty"),
        (
            "a b",
            1,
            Some(' '),
            "add the baggage entry: ' ' at offset 1 of its key is not a token character (RFC 7230 \
             §3.2.6)",
        ),
        (
            "k\n",
            1,
            Some('\n'),
            "add the baggage entry: '\\n' at offset 1 of its key is not a token character (RFC \
             7230 §3.2.6)",
        ),
        (
            "ab\u{e9}",
            2,
            Some('\u{e9}'),
            "add the baggage entry: 'é' at offset 2 of its key is not a token character (RFC 7230 \
             §3.2.6)",
        ),
    ] {
        let error = none.with(key, "v").unwrap_err();
        assert_eq!(error, BaggageError::Key { offset, found });
        assert_eq!(error.to_string(), text);
        assert_eq!(Baggage::try_from_iter([(key, "v")]), Err(error));
        let error = none
            .with_properties("k", "v", &[("p", None), (key, Some("w"))])
            .unwrap_err();
        assert_eq!(
            error,
            BaggageError::PropertyKey {
                property: 1,
                offset,
                found
            }
        );
        assert!(error.to_string().contains("the key of property 1"));
    }
}

#[test]
fn what_would_not_go_out_is_refused_when_it_is_set() {
    let full = Baggage::try_from_iter((0..64).map(|n| (format!("k{n}"), ""))).unwrap();
    let members = 65;
    let error = full.with("k", "").unwrap_err();
    assert_eq!(error, BaggageError::TooManyMembers { members, limit: 64 });
    assert_eq!(
        error.to_string(),
        "add the baggage entry: there would be 65 entries, the limit is 64"
    );
    assert_eq!(full.with("k63", "v").unwrap().len(), 64);
    let pairs = (0..65).map(|n| (n.to_string(), ""));
    let too_many = BaggageError::TooManyMembers { members, limit: 64 };
    assert_eq!(Baggage::try_from_iter(pairs), Err(too_many));

    let baggage = Baggage::default().with("a", "1").unwrap();
    let room = 8192 - "a=1,k=;p=".len();
    for (value, bytes) in [
        ("x".repeat(room), 8192),
        ("x".repeat(room + 1), 8193),
        ("\u{1}".repeat(room / 3 + 1), 8192 - room + room / 3 * 3 + 3),
    ] {
        let set = baggage.with_properties("k", &value, &[("p", Some(""))]);
        let error = BaggageError::TooLong { bytes, limit: 8192 };
        let is_ok = bytes <= 8192;
        assert_eq!(set.clone().err(), (!is_ok).then_some(error), "{bytes}");
        if let Ok(set) = set {
            assert_eq!(set.as_str().len(), bytes);
        }
    }
}

#[test]
fn what_is_allowed_goes_out_whole_and_in_order() {
    let (baggage, _) = parse(&[b"a=1;p,secret=2,b=3,c=4"]);
    let limits = Limits::default();
    let (text, dropped) = baggage.encode(&limits, |entry| entry.key() != "secret");
    assert_eq!((&*text, dropped.total()), ("a=1;p,b=3,c=4", 0));
    let narrow = Limits {
        members_max: 2,
        ..limits
    };
    let (text, dropped) = baggage.encode(&narrow, |entry| entry.key() != "a");
    assert_eq!((&*text, dropped.over_limit), ("secret=2,b=3", 1));
    let (text, _) = baggage.encode(&limits, |_| true);
    assert!(matches!(text, Cow::Borrowed(_)));
}

#[test]
fn entries_are_walked_from_both_ends() {
    let (baggage, _) = parse(&[b"a=1,b=2;p,c=3"]);
    let mut entries = baggage.iter();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries.next_back().map(|e| e.as_str()), Some("c=3"));
    assert_eq!(entries.next().map(|e| e.as_str()), Some("a=1"));
    assert_eq!(entries.len(), 1);
    assert_eq!(entries.next().map(|e| e.to_string()), Some("b=2;p".into()));
    assert!(entries.next().is_none() && entries.next_back().is_none());
}

#[test]
fn equal_text_is_equal_baggage() {
    let (loose, _) = parse(&[b" k = %41%2c ", b""]);
    let (tight, _) = parse(&[b"k=A%2C"]);
    assert_eq!(loose, tight);
    assert_eq!(HashSet::from([loose.clone(), tight]).len(), 1);
    assert_eq!(loose.to_string(), "k=A%2C");
    assert_eq!(format!("{loose:?}"), "Baggage(\"k=A%2C\")");
    assert_ne!(loose, Baggage::default());
}

/// Bytes that mean something, more often than others.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let telling = prop_oneof![
        Just(b"k=v".to_vec()),
        Just(b",".to_vec()),
        Just(b";".to_vec()),
        Just(b"=".to_vec()),
        Just(b" \t".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"%".to_vec()),
        "%[0-9a-fA-F]{2}".prop_map(String::into_bytes),
        "%[8-9a-fA-F][0-9a-fA-F]%[89abAB][0-9a-f]".prop_map(String::into_bytes),
        any::<char>().prop_map(|char| escaped(&char.to_string())),
        "[!-~]{1,3}".prop_map(String::into_bytes),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(telling, 0..24).prop_map(|parts| parts.concat())
}

/// Escapes all of it, in lower case.
fn escaped(text: &str) -> Vec<u8> {
    let bytes = text
        .bytes()
        .flat_map(|byte| format!("%{byte:02x}").into_bytes());
    bytes.collect()
}

fn properties() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    vec((TOKEN, option::of(any::<String>())), 0..3)
}

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,6}";

proptest! {
    // The fuzz target runs the same checks for longer.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_codec_reads_the_grammar_as_it_stands(header in header_bytes()) {
        oracle::check(&header);
    }

    #[test]
    fn any_bytes_keep_the_promises(header: Vec<u8>) {
        oracle::check(&header);
    }

    #[test]
    fn what_was_set_is_what_the_next_hop_reads(
        entries in vec((TOKEN, any::<String>(), properties()), 0..6),
    ) {
        let mut baggage = Baggage::default();
        let mut expect: Vec<(String, String, Vec<_>)> = Vec::new();
        for (key, value, properties) in entries {
            let given: Vec<_> = properties.iter().map(|(k, v)| (&**k, v.as_deref())).collect();
            baggage = baggage.with_properties(&key, &value, &given).unwrap();
            let entry = (key, value, properties);
            match expect.iter_mut().find(|known| known.0 == entry.0) {
                Some(known) => *known = entry,
                None => expect.push(entry),
            }
        }
        let (header, dropped) = baggage.encode(&Limits::default(), |_| true);
        prop_assert_eq!(dropped, Dropped::default());
        let (received, dropped) = parse(&[header.as_bytes()]);
        prop_assert_eq!(dropped, Dropped::default());
        prop_assert_eq!(oracle::entries_of(&received), expect);
        oracle::check(header.as_bytes());
    }

    #[test]
    fn pairs_come_back_in_order_with_duplicates(
        pairs in vec(("[a-c]", any::<String>()), 0..6),
    ) {
        let baggage = Baggage::try_from_iter(pairs.clone()).unwrap();
        let (received, _) = parse(&[baggage.as_str().as_bytes()]);
        let read: Vec<_> = received
            .iter()
            .map(|entry| (entry.key().to_owned(), entry.value().into_owned()))
            .collect();
        prop_assert_eq!(read, pairs);
    }
}
