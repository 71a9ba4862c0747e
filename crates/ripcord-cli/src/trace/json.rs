//! Answers as JSON that a terminal may see.

use super::plain::is_quiet;
use crate::exit::ExpectedError;
use serde::Serialize;
use std::fmt::Write as _;

/// One value over several lines, ASCII wherever a terminal might obey.
///
/// # Errors
/// None that is known: the answers have no keys but texts.
pub(crate) fn json(answer: &impl Serialize) -> Result<String, ExpectedError> {
    let text = serde_json::to_string_pretty(answer)
        .map_err(|error| ExpectedError::demo("write the answer as JSON", error))?;
    Ok(quiet(&text))
}

/// Escapes what JSON does not have to escape. Beyond ASCII, JSON has nothing but texts, so whatever
/// stands there may be an escape instead.
fn quiet(text: &str) -> String {
    if text
        .chars()
        .all(|letter| letter == '\n' || is_quiet(letter))
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == '\n' || is_quiet(letter) {
            out.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_read_back() {
        let text = "\x1b[0m \u{7f} \u{9b} \u{202e} \u{e0001} é";
        let shown = json(&[text]).unwrap();
        assert!(shown.chars().all(|c| c == '\n' || is_quiet(c)), "{shown}");
        let back: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(back, [text]);
    }
}
