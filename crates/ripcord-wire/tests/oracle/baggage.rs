//! What holds for any bytes in the header `baggage`: the codec beside a naive reading of the grammar.
//!
//! The fuzz target `wire_baggage`, the replay of its corpus and the property tests run the same
//! code. A line feed in the input separates two lines of the header.

use ripcord_wire::baggage::{Baggage, Dropped, Limits};
use std::borrow::Cow;

type Properties = Vec<(String, Option<String>)>;
type Entry = (String, String, Properties);

/// Panics where the codec and the naive reading part, or where a promise is broken.
pub(crate) fn check(data: &[u8]) {
    let narrow = Limits {
        members_max: 3,
        bytes_max: 24,
    };
    let wide = Limits {
        members_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    for limits in [Limits::default(), narrow, wide] {
        check_within(data, &limits);
    }
}

fn check_within(data: &[u8], limits: &Limits) {
    let lines = || data.split(|&byte| byte == b'\n');
    let (baggage, dropped) = Baggage::parse_headers(lines(), limits);
    let (entries, expect) = read_naively(lines(), limits);
    assert_eq!(entries_of(&baggage), entries);
    assert_eq!(dropped, expect);

    assert_eq!(baggage.len(), entries.len());
    assert_eq!(baggage.is_empty(), baggage.as_str().is_empty());
    assert!(baggage.len() <= limits.members_max && baggage.as_str().len() <= limits.bytes_max);
    let is_safe = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    assert!(baggage.as_str().bytes().all(is_safe), "{baggage}");

    // What goes out parses back, under the limits it came in by, and to the same text.
    let (header, refused) = baggage.encode(limits, |_| true);
    assert!(matches!(header, Cow::Borrowed(text) if text == baggage.as_str()));
    assert_eq!(refused, Dropped::default());
    let (again, refused) = Baggage::parse_headers([header.as_bytes()], limits);
    assert_eq!((&again, refused), (&baggage, Dropped::default()));

    // Some of many: each change makes a copy.
    for (key, value, properties) in entries.iter().take(4) {
        let first = entries.iter().find(|(known, ..)| known == key);
        assert_eq!(
            baggage.get(key).as_deref(),
            first.map(|(_, value, _)| &**value)
        );
        check_a_change(&baggage, key, value, properties);
    }
    check_a_narrower_peer(&baggage);
}

/// Setting an entry to what it is changes nothing but the duplicates.
fn check_a_change(baggage: &Baggage, key: &str, value: &str, properties: &Properties) {
    let wide = Limits {
        members_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let given: Vec<_> = properties
        .iter()
        .map(|(key, value)| (&**key, value.as_deref()))
        .collect();
    let set = baggage
        .with_properties_within(key, value, &given, &wide)
        .expect("an entry that was read can be set");
    let mut expect = entries_of(baggage);
    let at = expect.iter().position(|(known, ..)| known == key);
    expect.retain(|(known, ..)| known != key);
    let entry = (key.to_owned(), value.to_owned(), properties.clone());
    expect.insert(at.expect("the entry was read"), entry);
    assert_eq!(entries_of(&set), expect);
    let without = baggage.without(key);
    expect.retain(|(known, ..)| known != key);
    assert_eq!(entries_of(&without), expect);
}

/// Fewer entries, whole, in order: every second one is allowed, and little room is left.
fn check_a_narrower_peer(baggage: &Baggage) {
    let limits = Limits {
        members_max: 2,
        bytes_max: baggage.as_str().len() / 2,
    };
    let mut number = 0;
    let (header, dropped) = baggage.encode(&limits, |_| {
        number += 1;
        number % 2 == 1
    });
    let allowed: Vec<_> = baggage.iter().step_by(2).collect();
    let mut expect: Vec<&str> = Vec::new();
    for entry in &allowed {
        let len = [&expect[..], &[entry.as_str()]].concat().join(",").len();
        if expect.len() < limits.members_max && len <= limits.bytes_max {
            expect.push(entry.as_str());
        }
    }
    assert_eq!(header, expect.join(","));
    assert_eq!(dropped.over_limit, allowed.len() - expect.len());
    assert_eq!(dropped.invalid, 0);
}

pub(crate) fn entries_of(baggage: &Baggage) -> Vec<Entry> {
    let entries = baggage.iter().map(|entry| {
        let properties = entry.properties();
        let properties =
            properties.map(|(key, value)| (key.to_owned(), value.map(Cow::into_owned)));
        let value = entry.value().into_owned();
        (entry.key().to_owned(), value, properties.collect())
    });
    entries.collect()
}

/// The grammar once more, with a copy for each step and without an eye on cost.
fn read_naively<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> (Vec<Entry>, Dropped) {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut dropped = Dropped::default();
    for member in lines.flat_map(|line| line.split(|&byte| byte == b',')) {
        // One char for each byte, so that nothing is lost.
        let member: String = member.iter().map(|&byte| char::from(byte)).collect();
        if trimmed(&member).is_empty() {
            continue;
        }
        let Some(entry) = member_of(&member) else {
            dropped.invalid += 1;
            continue;
        };
        let longer = bytes + usize::from(bytes > 0) + text_of(&entry).len();
        if entries.len() == limits.members_max || longer > limits.bytes_max {
            dropped.over_limit += 1;
            continue;
        }
        bytes = longer;
        entries.push(entry);
    }
    (entries, dropped)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn member_of(member: &str) -> Option<Entry> {
    let mut parts = member.split(';');
    let (key, value) = parts.next()?.split_once('=')?;
    let pair = (key_of(key)?, value_of(value)?);
    let properties: Option<Properties> = parts
        .map(|part| match part.split_once('=') {
            Some((key, value)) => Some((key_of(key)?, Some(value_of(value)?))),
            None => Some((key_of(part)?, None)),
        })
        .collect();
    Some((pair.0, pair.1, properties?))
}

fn key_of(text: &str) -> Option<String> {
    let is_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    let key = trimmed(text);
    (!key.is_empty() && key.chars().all(is_token)).then(|| key.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let is_octet = |char: char| char.is_ascii_graphic() && !"\",;\\".contains(char);
    let value = trimmed(text);
    if !value.chars().all(is_octet) {
        return None;
    }
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let digits = value.get(at + 1..at + 3).unwrap_or("");
        let is_hex = digits.len() == 2 && digits.chars().all(|char| char.is_ascii_hexdigit());
        if &value[at..=at] == "%" && is_hex {
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            at += 3;
        } else {
            bytes.push(value.as_bytes()[at]);
            at += 1;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn text_of((key, value, properties): &Entry) -> String {
    let mut text = format!("{key}={}", encoded(value));
    for (key, value) in properties {
        text += ";";
        text += key;
        if let Some(value) = value {
            text += "=";
            text += &encoded(value);
        }
    }
    text
}

fn encoded(value: &str) -> String {
    let bytes = value.bytes().map(|byte| {
        if byte.is_ascii_graphic() && !b"\",;\\%".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    bytes.collect()
}
