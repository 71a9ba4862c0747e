//! The one printer of xtask, its failures and its exit codes.
//!
//! Results go to standard output and remarks to standard error, so that `--format json` can be piped.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Stdout,
    Stderr,
}

impl Sink {
    /// Writes the text and a line break. A reader that went away is not our error.
    pub(crate) fn line(self, text: impl fmt::Display) {
        let _ = match self {
            Self::Stdout => writeln!(std::io::stdout().lock(), "{text}"),
            Self::Stderr => writeln!(std::io::stderr().lock(), "{text}"),
        };
    }

    /// Passes bytes on as they are.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let _ = match self {
            Self::Stdout => std::io::stdout().lock().write_all(bytes),
            Self::Stderr => std::io::stderr().lock().write_all(bytes),
        };
    }
}

/// How a command shows its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// What a command that did its work found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    Findings,
    /// The exit code of a program that was run in our place.
    Child(u8),
}

impl Verdict {
    pub(crate) fn of(findings: usize) -> Self {
        if findings == 0 {
            Self::Clean
        } else {
            Self::Findings
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// A file or a program that the command needs is missing or unreadable.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}; see `cargo xtask help`"),
            Self::Broken(text) => f.write_str(text),
        }
    }
}

/// Exit codes: 0 nothing found, 1 findings, 2 wrong usage or the command could not do its work.
pub(crate) fn exit_code(result: &Result<Verdict, Failure>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Verdict::Clean) => 0,
        Ok(Verdict::Findings) => 1,
        Ok(Verdict::Child(code)) => *code,
        Err(_) => 2,
    })
}

/// Rows as aligned columns, two spaces between them; the last column is not padded.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let pad = width - cell.chars().count() + 2;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_have_no_trailing_blanks() {
        let rows = [
            vec!["a".into(), "bb".into()],
            vec!["größe".into(), "c".into()],
        ];
        assert_eq!(columns(&rows), "a      bb\ngröße  c\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn usage_points_to_the_help() {
        let text = Failure::Usage("unknown command `x`".into()).to_string();
        assert_eq!(text, "unknown command `x`; see `cargo xtask help`");
    }
}
