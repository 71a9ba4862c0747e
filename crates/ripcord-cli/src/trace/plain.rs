//! Text of a trace as a terminal may see it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// A text without anything that a terminal might obey, for [`Display`](fmt::Display).
///
/// Control characters, and those that turn the direction or cannot be seen, are shown as `\u{…}`.
/// Width and alignment are honoured.
#[derive(Debug)]
pub(crate) struct Plain<'a>(Cow<'a, str>);

/// [`Plain`] of a borrowed text.
pub(crate) fn plain(text: &str) -> Plain<'_> {
    Plain(Cow::Borrowed(text))
}

impl<'a> From<Cow<'a, str>> for Plain<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self(text)
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.0.len());
        for letter in self.0.chars() {
            if is_quiet(letter) {
                text.push(letter);
            } else {
                write!(text, "{}", letter.escape_debug())?;
            }
        }
        f.pad(&text)
    }
}

/// Whether a terminal shows the character and does nothing else.
///
/// The standard library knows what can be printed; what it escapes beside that, quotes and the
/// backslash, is harmless here.
pub(crate) fn is_quiet(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '\\') || letter.escape_debug().count() == 1
}

/// A duration in nanoseconds, with three digits and the unit that fits.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn duration(ns: u64) -> String {
    let amount = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(amount / 1e3, "µs"),
        1_000_000..1_000_000_000 => scaled(amount / 1e6, "ms"),
        _ => scaled(amount / 1e9, "s"),
    }
}

fn scaled(amount: f64, unit: &str) -> String {
    let digits = match amount {
        _ if amount < 9.995 => 2,
        _ if amount < 99.95 => 1,
        _ => 0,
    };
    format!("{amount:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, expect) in [
            ("plain é \"quoted\" \\ 漢", "plain é \"quoted\" \\ 漢"),
            ("\x1b[31mred", r"\u{1b}[31mred"),
            ("two\nlines\r", r"two\nlines\r"),
            ("bell\u{7} c1\u{9b}", r"bell\u{7} c1\u{9b}"),
            ("\u{202e}turned", r"\u{202e}turned"),
        ] {
            assert_eq!(plain(text).to_string(), expect);
        }
        assert_eq!(
            format!("{:>4}|{:<3}|", plain("ab"), plain("c")),
            "  ab|c  |"
        );
    }
}
