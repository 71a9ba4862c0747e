//! What the codecs share about header text: its white space, and ASCII bytes as `str`.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

/// The bytes without spaces and tabs at both ends (`OWS`, RFC 9110 §5.6.3), and where they begin.
pub(crate) fn trim(value: &[u8]) -> (usize, &[u8]) {
    let is_inner = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_inner).unwrap_or(value.len());
    let rest = value.get(start..).unwrap_or_default();
    let last = rest.iter().rposition(is_inner);
    let trimmed = last.and_then(|last| rest.get(..=last));
    (start, trimmed.unwrap_or_default())
}

/// The text of bytes that the caller knows to be ASCII.
pub(crate) fn as_str(text: &[u8]) -> &str {
    debug_assert!(text.is_ascii(), "the caller let {text:?} through");
    str::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_tabs_go_at_both_ends_and_nothing_else() {
        for (value, expect) in [
            ("", (0, "")),
            ("a", (0, "a")),
            (" \t a b \t", (3, "a b")),
            (" \t ", (3, "")),
            ("\n a\r", (0, "\n a\r")),
        ] {
            let (start, trimmed) = trim(value.as_bytes());
            assert_eq!((start, as_str(trimmed)), expect, "{value:?}");
        }
    }
}
