//! What holds for any bytes as context values: the codec beside `serde_json`, and round trips.
//!
//! The fuzz target `wire_ext`, the replay of its corpus and the property tests run the same code. The
//! bytes are taken as a header, and as the JSON text inside of one.

use ripcord_wire::ext::{Binding, Ext, ExtError, Json, Limits, Mac};
use serde_json::Value;

/// The shape of a MAC, deterministic and quick; by no means secure.
///
/// Four lanes of FNV-1a over the parts, each with its length before it.
pub(crate) struct Toy {
    pub(crate) key: u64,
    pub(crate) key_id: &'static str,
}

impl Mac for Toy {
    fn key_id(&self) -> &str {
        self.key_id
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut message = Vec::new();
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        let mut tag = [0; 32];
        for (lane, chunk) in tag.chunks_mut(8).enumerate() {
            let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ self.key ^ lane as u64;
            for &byte in &message {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            chunk.copy_from_slice(&(sum ^ (sum >> 29)).to_be_bytes());
        }
        tag
    }

    fn verify(&self, key_id: &str, parts: &[&[u8]], tag: &[u8; 32]) -> Option<bool> {
        (key_id == self.key_id).then(|| self.sign(parts) == *tag)
    }
}

pub(crate) const MAC: Toy = Toy {
    key: 42,
    key_id: "k1",
};

pub(crate) const HERE: Binding<'static> = Binding {
    trace_id: b"0af7651916cd43dd8448eb211c80319c",
    request_id: b"r-1",
    audience: b"billing",
};

pub(crate) const NOW: u64 = 1_800_000_000;

/// Panics where the codec and `serde_json` part, or where a promise is broken.
pub(crate) fn check(data: &[u8]) {
    let narrow = Limits {
        bytes_max: 48,
        keys_max: 2,
        depth_max: 2,
    };
    for limits in [Limits::default(), narrow, Limits::HARD] {
        check_json(data, &limits);
        check_header(data, &limits);
    }
}

fn check_json(text: &[u8], limits: &Limits) {
    match Ext::from_json(text, limits) {
        Ok(ext) => {
            let peer: Value = serde_json::from_slice(text).expect("what is accepted is JSON");
            assert!(is_same_object(&ext, &peer), "{ext} is not {peer}");
            assert!(ext.to_string().len() <= text.len(), "{ext} is longer");
            check_round_trips(&ext, limits);
        }
        Err(ExtError::Json { offset, expected }) => {
            assert!(offset <= text.len());
            if serde_json::from_slice::<Value>(text).is_ok_and(|peer| peer.is_object()) {
                let number = number_around(text, offset);
                assert!(number.parse::<i64>().is_err(), "{expected} at {offset}");
            }
        }
        Err(ExtError::TooLong { bytes, limit }) => assert!(bytes == text.len() && bytes > limit),
        Err(
            ExtError::Key { offset }
            | ExtError::DuplicateKey { offset }
            | ExtError::TooManyKeys { offset, .. }
            | ExtError::TooDeep { offset, .. },
        ) => {
            assert!(matches!(text.get(offset), Some(b'"' | b'{' | b'[')));
        }
        Err(error) => panic!("{error} is none of JSON text"),
    }
}

fn check_round_trips(ext: &Ext, limits: &Limits) {
    let json = ext.to_string();
    let again = Ext::from_json(json.as_bytes(), limits).expect("what was written can be read");
    assert_eq!((&again, again.to_string()), (ext, json));
    let header = ext.encode(limits).expect("what was read can be sent");
    assert!(is_header_text(&header));
    assert_eq!(Ext::parse(header.as_bytes(), limits).as_ref(), Ok(ext));
    let refused = Ext::parse_signed(header.as_bytes(), limits, &MAC, &HERE, NOW, 60);
    assert_eq!(refused, Err(ExtError::Unsigned));

    let header = ext
        .encode_signed(limits, &MAC, &HERE, NOW)
        .expect("what can be sent unsigned can be signed");
    assert!(is_header_text(&header));
    let signed = Ext::parse_signed(header.as_bytes(), limits, &MAC, &HERE, NOW, 60);
    assert_eq!(signed.as_ref(), Ok(ext));
    assert_eq!(Ext::parse(header.as_bytes(), limits).as_ref(), Ok(ext));
}

fn check_header(header: &[u8], limits: &Limits) {
    let parsed = Ext::parse(header, limits);
    if let Ok(ext) = &parsed {
        assert!(header.iter().all(u8::is_ascii_graphic));
        check_round_trips(ext, limits);
    }
    let signed = Ext::parse_signed(header, limits, &MAC, &HERE, NOW, 60);
    match (signed, parsed) {
        // A good signature is only on what was signed; the values are the same either way.
        (Ok(ext), parsed) => assert_eq!(parsed, Ok(ext)),
        (Err(ExtError::Unsigned), _) => {
            assert_eq!(header.split(|&byte| byte == b'.').count(), 2);
        }
        (
            Err(ExtError::UnknownKey | ExtError::BadSignature | ExtError::Stale { .. }),
            Ok(_) | Err(_),
        ) => {}
        // Before the values are looked at, the two see the same flaws.
        (Err(error), parsed) => assert_eq!(parsed, Err(error)),
    }
}

fn is_header_text(header: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    header.bytes().all(is_safe)
}

fn is_same_object(ext: &Ext, peer: &Value) -> bool {
    let Value::Object(peer) = peer else {
        return false;
    };
    let has = |(key, json): (&str, &Json)| peer.get(key).is_some_and(|peer| is_same(json, peer));
    ext.len() == peer.len() && ext.iter().all(has)
}

fn is_same(json: &Json, peer: &Value) -> bool {
    match (json, peer) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(bool), Value::Bool(peer)) => bool == peer,
        (Json::Text(text), Value::String(peer)) => text == peer,
        // `-0` is a float to serde_json.
        (Json::Int(0), Value::Number(peer)) => peer.as_f64() == Some(0.0),
        (Json::Int(int), Value::Number(peer)) => peer.as_i64() == Some(*int),
        (Json::List(items), Value::Array(peers)) => {
            let mut pairs = items.iter().zip(peers);
            items.len() == peers.len() && pairs.all(|(json, peer)| is_same(json, peer))
        }
        (Json::Map(entries), Value::Object(peers)) => {
            let has = |(key, json): &(String, Json)| {
                let peer = peers.get(key);
                peer.is_some_and(|peer| is_same(json, peer))
            };
            entries.len() == peers.len() && entries.iter().all(has)
        }
        _ => false,
    }
}

/// The only JSON that only the peer takes is that of floats and of integers beyond 64 bits.
fn number_around(text: &[u8], offset: usize) -> &str {
    let is_part = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let before = text[..offset].iter().rev().take_while(is_part).count();
    let after = text[offset..].iter().take_while(is_part).count();
    let number = std::str::from_utf8(&text[offset - before..offset + after]).expect("ASCII");
    assert!(!number.is_empty(), "JSON was refused at byte {offset}");
    number
}
