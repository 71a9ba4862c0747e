//! Rules on the shape of files: length, header, length of functions.

use crate::source::Source;

/// Lines of code a function may have, as clippy's `too_many_lines` in `clippy.toml`.
pub(crate) const FUNCTION_MAX: usize = 70;
/// Lines a file may have.
pub(crate) const FILE_MAX: usize = 800;
/// Lines from which a file is listed, as a hint.
pub(crate) const FILE_LISTED: usize = 400;

/// Functions with more than [`FUNCTION_MAX`] lines of code between their braces.
pub(crate) fn functions(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for function in &source.functions {
        let Some(body) = &function.body else { continue };
        let lines = source.code_lines(body);
        if lines > FUNCTION_MAX {
            let what = format!("`{}` has {lines} lines of code", function.name);
            found.push((source.line_of(function.start), what));
        }
    }
    found
}

/// A file with more than [`FILE_MAX`] lines.
pub(crate) fn file(source: &Source) -> Vec<(usize, String)> {
    let lines = source.line_count();
    if lines <= FILE_MAX {
        return Vec::new();
    }
    vec![(FILE_MAX, format!("the file has {lines} lines"))]
}

/// A file that does not start with `//!`.
pub(crate) fn header(source: &Source) -> Vec<(usize, String)> {
    let first = (0..source.line_count())
        .find(|&line| !source.code_line(line).is_empty() || !source.comment_line(line).is_empty());
    let has = first.is_some_and(|line| {
        let text = source.comment_line(line).strip_prefix("//!");
        text.is_some_and(|text| !text.trim().is_empty())
    });
    if has {
        return Vec::new();
    }
    vec![(0, "the file has no header".to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::lines_of;

    #[test]
    fn only_lines_of_code_count_in_a_function() {
        let body = |code: usize, other: usize| {
            let code = "a();\n".repeat(code);
            let other = "// x\n\n".repeat(other);
            format!("\nfn f() {{\n{code}{other}}}\n")
        };
        assert_eq!(lines_of(functions, "a.rs", &body(70, 50)), [0; 0]);
        assert_eq!(lines_of(functions, "a.rs", &body(71, 0)), [2]);
    }

    #[test]
    fn the_file_limit_is_inclusive() {
        assert_eq!(lines_of(file, "a.rs", &"x\n".repeat(800)), [0; 0]);
        assert_eq!(lines_of(file, "a.rs", &"x\n".repeat(801)), [801]);
    }

    #[test]
    fn the_header_comes_first_and_says_something() {
        for (text, expect) in [
            ("//! Purpose.\n", vec![]),
            ("\n//! Purpose.\n#![no_std]\n", vec![]),
            ("#![no_std]\n//! Purpose.\n", vec![1]),
            ("//!\n//! Purpose.\n", vec![1]),
            ("// Purpose.\n", vec![1]),
            ("", vec![1]),
        ] {
            assert_eq!(lines_of(header, "a.rs", text), expect, "{text:?}");
        }
    }
}
