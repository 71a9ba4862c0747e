//! What holds of every `tracestate` that is read, changed or written.
//!
//! The same code is behind the fuzz target `wire_tracestate`, the replay of its corpus, and the
//! property tests.

use ripcord_wire::tracestate::TraceState;

/// Any bytes are header lines, one to each line of text.
pub(crate) fn check(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n');
    let read = TraceState::parse_headers(lines()).ok();
    let expect = naive(data);
    assert_eq!(
        read.as_ref().map(TraceState::as_str),
        expect.as_deref(),
        "{}",
        data.escape_ascii()
    );
    let Some(state) = read else { return };

    let text = state.as_str();
    assert_eq!(text.parse().as_ref(), Ok(&state), "what goes out comes in");
    assert_eq!(state.to_string(), text);
    assert_eq!(state.is_empty(), text.is_empty());
    assert_eq!(state.len(), state.iter().count());
    let members: Vec<String> = state.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(members.join(","), text);
    for (key, value) in state.iter() {
        assert_eq!(state.get(key), Some(value));
    }
    changed(&state, &members);
    // Each place where a member ends, and the bytes around it.
    let commas = text.match_indices(',').map(|(at, _)| at);
    for end in commas.chain([0, 512, text.len()]) {
        for bytes_max in [end.saturating_sub(1), end, end + 1] {
            let cut = state.truncated(bytes_max);
            assert_eq!(cut, naive_cut(&members, bytes_max), "{text} in {bytes_max}");
        }
    }
}

fn changed(state: &TraceState, members: &[String]) {
    let keys = state.iter().map(|(key, _)| key).chain(["rip@cord"]);
    for key in keys {
        let others: Vec<&str> = members
            .iter()
            .map(String::as_str)
            .filter(|member| !member.starts_with(&format!("{key}=")))
            .collect();
        assert_eq!(state.without(key).as_str(), others.join(","));

        let mut expect = vec![format!("{key}= x")];
        expect.extend(others.iter().take(31).map(ToString::to_string));
        let with = state.with(key, " x").expect("a key that was read");
        assert_eq!(with.as_str(), expect.join(","));
        assert_eq!(with.as_str().parse().as_ref(), Ok(&with));
    }
}

/// The grammar once more, on one joined text.
fn naive(data: &[u8]) -> Option<String> {
    let joined: Vec<u8> = data
        .iter()
        .map(|byte| if *byte == b'\n' { b',' } else { *byte })
        .collect();
    let mut members: Vec<(String, String)> = Vec::new();
    let mut received = 0;
    for member in joined.split(|byte| *byte == b',') {
        // Bytes that are no text are no member either.
        let member: String = member.iter().map(|byte| char::from(*byte)).collect();
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        received += 1;
        let (key, value) = member.split_once('=')?;
        let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_key = key.starts_with(is_lower)
            && key.len() <= 256
            && key.chars().all(|c| is_lower(c) || "_-*/@".contains(c));
        let is_value = (1..=256).contains(&value.len())
            && value.chars().all(|c| (' '..='~').contains(&c) && c != '=');
        if received > 32 || !is_key || !is_value {
            return None;
        }
        if members.iter().all(|(known, _)| known != key) {
            members.push((key.to_owned(), value.to_owned()));
        }
    }
    let members: Vec<String> = members.iter().map(|(k, v)| format!("{k}={v}")).collect();
    Some(members.join(","))
}

/// One member at a time, until it fits.
fn naive_cut(members: &[String], bytes_max: usize) -> String {
    let mut members = members.to_vec();
    while members.join(",").len() > bytes_max {
        match members.iter().rposition(|member| member.len() > 128) {
            Some(long) => drop(members.remove(long)),
            None => drop(members.pop()),
        }
    }
    members.join(",")
}
