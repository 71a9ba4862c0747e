//! Adds up passed and failed tests from the output of libtest and cargo-nextest.

use std::ops::AddAssign;

/// Tests by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Left out by a filter or an attribute.
    pub(crate) skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// Reads one line of output: a result of libtest, or the summary of nextest. Others are zero.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = without_colours(line);
        let line = line.trim();
        let libtest = line.strip_prefix("test result:");
        let nextest = line
            .strip_prefix("Summary [")
            .and_then(|rest| rest.split_once(" run:"))
            .map(|(_, counts)| counts);
        let Some(text) = libtest.or(nextest) else {
            return Self::default();
        };
        let mut counts = Self::default();
        let words = || {
            text.split([' ', ',', ';', '(', ')'])
                .filter(|word| !word.is_empty())
        };
        for (number, kind) in words().zip(words().skip(1)) {
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match kind {
                "passed" => counts.passed += number,
                // nextest: `exec failed` and `timed out` are counted apart from `failed`.
                "failed" | "exec" | "timed" => counts.failed += number,
                "ignored" | "skipped" => counts.skipped += number,
                _ => {}
            }
        }
        counts
    }
}

/// The line without terminal escapes.
fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // An escape ends with its first letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        for (line, expect) in [
            (
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
                (5, 0, 1),
            ),
            (
                "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured",
                (5, 2, 0),
            ),
            (
                "     Summary [   0.004s] 3 tests run: 3 passed, 4 skipped",
                (3, 0, 4),
            ),
            (
                "     Summary [   0.004s] 1 test run: 1 passed, 0 skipped",
                (1, 0, 0),
            ),
            (
                "Summary [ 1.2s] 9/12 tests run: 5 passed (1 slow), 2 failed, 1 exec failed, 1 timed out, 3 skipped",
                (5, 4, 3),
            ),
            (
                "\u{1b}[32;1m     Summary\u{1b}[0m [ 0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m",
                (2, 0, 0),
            ),
            ("test a::b ... ok", (0, 0, 0)),
            ("println 5 passed", (0, 0, 0)),
            ("test result: ok. 1 passed; 2 ignored\r\n", (1, 0, 2)),
        ] {
            let got = Counts::of_line(line);
            assert_eq!((got.passed, got.failed, got.skipped), expect, "{line}");
        }
    }
}
