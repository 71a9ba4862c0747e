//! What holds of every request id that is read or made.
//!
//! The same code is behind the fuzz target `wire_request_id`, the replay of its corpus, and the
//! property tests.

use ripcord_wire::request_id::RequestId;

/// Any bytes are an id of a client; 18 of them are also a time and random bytes.
pub(crate) fn check(data: &[u8]) {
    let read = RequestId::parse(data).ok();
    let is_allowed = |byte: &u8| (b'!'..=b'~').contains(byte) && !b"\",;\\".contains(byte);
    let expect = (1..=128).contains(&data.len()) && data.iter().all(is_allowed);
    assert_eq!(read.is_some(), expect, "{}", data.escape_ascii());
    if let Some(id) = read {
        assert_eq!(id.as_str().as_bytes(), data);
        read_back(&id);
    }
    if let Some((bytes, _)) = data.split_first_chunk::<18>() {
        let [t @ .., a0, a1, a2, a3, a4, a5, a6, a7, a8, a9] = *bytes;
        let random = [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9];
        let id = RequestId::uuid_v7(u64::from_be_bytes(t), random);
        assert_eq!(id.as_str(), naive_uuid(u64::from_be_bytes(t), random));
        read_back(&id);
    }
}

fn read_back(id: &RequestId) {
    let again: RequestId = id.to_string().parse().expect("an id");
    assert_eq!(&again, id);
    assert_eq!(&again.clone(), id);
}

/// The layout of RFC 9562 §5.7 as one number: time, version, 12 bits, variant, 62 bits.
fn naive_uuid(unix_ms: u64, random: [u8; 10]) -> String {
    let time = u128::from(unix_ms.min((1 << 48) - 1));
    let [a0, a1, ..] = random;
    let [.., b0, b1, b2, b3, b4, b5, b6, b7] = random;
    let rand_a = u128::from(u16::from_be_bytes([a0, a1]) % (1 << 12));
    let rand_b = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]) % (1 << 62);
    let bits = time << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | u128::from(rand_b);
    let mut text = format!("{bits:032x}");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}
