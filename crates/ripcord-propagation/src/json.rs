//! JSON for log lines: strings are escaped, numbers are plain, nothing else is needed.
//!
//! Written straight into a formatter, so that a line costs no memory of its own and this crate no
//! library, whose escapes would leave alone what some viewers break lines at.

use std::fmt::{self, Write};

/// Writes one object, member by member.
pub(crate) struct Object<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    is_first: bool,
}

impl<'a, 'f> Object<'a, 'f> {
    pub(crate) fn begin(f: &'a mut fmt::Formatter<'f>) -> Result<Self, fmt::Error> {
        f.write_char('{')?;
        Ok(Self { f, is_first: true })
    }

    fn key(&mut self, key: &str) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.f.write_char(',')?;
        }
        string(self.f, key)?;
        self.f.write_char(':')
    }

    pub(crate) fn text(&mut self, key: &str, text: &str) -> fmt::Result {
        self.key(key)?;
        string(self.f, text)
    }

    pub(crate) fn maybe_text(&mut self, key: &str, text: Option<&str>) -> fmt::Result {
        text.map_or(Ok(()), |text| self.text(key, text))
    }

    /// Something whose `Display` is JSON: a number, or another object.
    pub(crate) fn plain(&mut self, key: &str, value: impl fmt::Display) -> fmt::Result {
        self.key(key)?;
        write!(self.f, "{value}")
    }

    pub(crate) fn maybe_plain(
        &mut self,
        key: &str,
        value: Option<impl fmt::Display>,
    ) -> fmt::Result {
        value.map_or(Ok(()), |value| self.plain(key, value))
    }

    pub(crate) fn end(self) -> fmt::Result {
        self.f.write_char('}')
    }
}

/// A string with everything escaped that could end it, or end the line (RFC 8259 §7, and the line
/// separators of ECMAScript, which some viewers break lines at).
pub(crate) fn string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other if other.is_control() || matches!(other, '\u{2028}' | '\u{2029}') => {
                write!(f, "\\u{:04x}", u32::from(other))?;
            }
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown<'a>(&'a str);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut object = Object::begin(f)?;
            object.text("text", self.0)?;
            object.maybe_text("none", None)?;
            object.plain("number", 7)?;
            object.end()
        }
    }

    #[test]
    fn nothing_in_a_text_ends_the_string_or_the_line() {
        for (text, expect) in [
            ("plain ä", "plain ä"),
            ("a\"b\\c", "a\\\"b\\\\c"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            (
                "\0\u{1b}[31m\u{7f}\u{85}\u{2028}",
                "\\u0000\\u001b[31m\\u007f\\u0085\\u2028",
            ),
        ] {
            let shown = Shown(text).to_string();
            assert_eq!(shown, format!("{{\"text\":\"{expect}\",\"number\":7}}"));
        }
    }
}
