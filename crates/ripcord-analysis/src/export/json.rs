//! JSON without anything that a terminal might obey.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Writes a value in one line, without a line break.
pub(super) fn write(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(out, Quiet);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// Escapes, beyond what JSON asks for, what is not printed.
struct Quiet;

impl Formatter for Quiet {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_plain = |letter: char| {
            matches!(letter, '\'' | '"' | '\\') || letter.escape_debug().count() == 1
        };
        let mut rest = fragment;
        while let Some(at) = rest.find(|letter| !is_plain(letter)) {
            let (plain, noisy) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut letters = noisy.chars();
            for unit in letters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = letters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_read_back() {
        let text = "\x1b[0m \u{7f}\u{9b} \u{202e}turned \u{e0001} é \"q\"";
        let mut out = Vec::new();
        write(&mut out, &text).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.contains(r"\u202eturned \udb40\udc01 é"), "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
