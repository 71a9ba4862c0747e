//! One Rust file as the checks see it: blanked text, lines, tests, `use` items, functions, docs.
//!
//! The text is split by `lexer.rs`, and what stands in it is found by `items.rs`.
//!
//! *Invariants*: (1) `code` and `comments` have the length and the line breaks of the file, so one
//! offset or one line number is good for all three. (2) Line numbers start at 0 inside, at 1 in
//! reports.

use std::ops::Range;

use crate::items::{
    Function, find_attributes, find_functions, find_tests, find_uses, is_test_attribute, words_in,
};
use crate::lexer::blank;

/// How many lines above a place its comment may stand.
const REACH: usize = 6;

/// A file, read and split.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the workspace root, with forward slashes.
    pub(crate) path: String,
    pub(crate) code: String,
    pub(crate) comments: String,
    pub(crate) functions: Vec<Function>,
    line_starts: Vec<usize>,
    attributes: Vec<Range<usize>>,
    tests: Vec<Range<usize>>,
    uses: Vec<Range<usize>>,
    /// The whole file is test code: by its place, or because a `#[cfg(test)] mod` names it.
    pub(crate) all_test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let blanked = blank(text);
        let code = blanked.code;
        let attributes = find_attributes(&code);
        let tests = find_tests(&code, &attributes);
        let all_test = is_test_path(path)
            || attributes.iter().any(|span| {
                code[span.clone()].starts_with("#!") && is_test_attribute(&code[span.clone()])
            });
        Self {
            path: path.to_owned(),
            functions: find_functions(&code),
            line_starts: line_starts(&code),
            uses: find_uses(&code),
            comments: blanked.comments,
            attributes,
            tests,
            code,
            all_test,
        }
    }

    pub(crate) fn line_count(&self) -> usize {
        // A text that ends with a line break has no line after it.
        self.line_starts.len() - usize::from(self.code.ends_with('\n') || self.code.is_empty())
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset) - 1
    }

    pub(crate) fn offset_of(&self, line: usize) -> usize {
        self.line_starts[line]
    }

    fn line_span(&self, line: usize) -> Range<usize> {
        let end = self
            .line_starts
            .get(line + 1)
            .map_or(self.code.len(), |next| next - 1);
        self.line_starts[line]..end
    }

    pub(crate) fn code_line(&self, line: usize) -> &str {
        self.code[self.line_span(line)].trim()
    }

    pub(crate) fn comment_line(&self, line: usize) -> &str {
        self.comments[self.line_span(line)].trim()
    }

    pub(crate) fn in_test(&self, offset: usize) -> bool {
        self.all_test || covers(&self.tests, offset)
    }

    pub(crate) fn in_use(&self, offset: usize) -> bool {
        covers(&self.uses, offset)
    }

    pub(crate) fn in_attribute(&self, offset: usize) -> bool {
        covers(&self.attributes, offset)
    }

    /// Offsets of `word` in the code, where it is not part of a longer name.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        words_in(&self.code, word)
    }

    /// Whether a comment on the line or within [`REACH`] lines above it satisfies `accept`. A block
    /// of comment lines counts as one, however long it is, when its end is within reach.
    pub(crate) fn has_comment_near(&self, line: usize, accept: impl Fn(&str) -> bool) -> bool {
        let lowest = line.saturating_sub(REACH);
        let mut at = line;
        loop {
            if accept(self.comment_line(at)) {
                return true;
            }
            let within = at > lowest || self.is_comment_only(at);
            if at == 0 || !within {
                return false;
            }
            at -= 1;
        }
    }

    fn is_comment_only(&self, line: usize) -> bool {
        self.code_line(line).is_empty() && !self.comment_line(line).is_empty()
    }

    fn is_attribute_only(&self, line: usize) -> bool {
        let span = self.line_span(line);
        let text = self.code[span.clone()].trim();
        !text.is_empty()
            && self.code[span.clone()]
                .bytes()
                .zip(span)
                .all(|(byte, offset)| byte.is_ascii_whitespace() || self.in_attribute(offset))
    }

    /// The comment lines directly above the item at `start`, attributes skipped, top to bottom.
    pub(crate) fn docs_above(&self, start: usize) -> Vec<&str> {
        let mut lines = Vec::new();
        let mut line = self.line_of(start);
        while line > 0 {
            line -= 1;
            if self.is_comment_only(line) {
                lines.push(self.comment_line(line));
            } else if !self.is_attribute_only(line) {
                break;
            }
        }
        lines.reverse();
        lines
    }

    /// The function whose body contains `offset`, innermost first; or else the next one below.
    pub(crate) fn function_around(&self, offset: usize) -> Option<&Function> {
        let inner = self
            .functions
            .iter()
            .filter(|f| f.body.as_ref().is_some_and(|body| body.contains(&offset)))
            .min_by_key(|f| f.body.as_ref().map_or(0, ExactSizeIterator::len));
        inner.or_else(|| self.functions.iter().find(|f| f.start >= offset))
    }

    /// Lines of documentation, and lines of code or comment in all; inline tests left out.
    pub(crate) fn doc_share(&self) -> (usize, usize) {
        let (mut docs, mut all) = (0, 0);
        for line in 0..self.line_count() {
            if self.in_test(self.line_starts[line]) {
                continue;
            }
            let comment = self.comment_line(line);
            if !comment.is_empty() || !self.code_line(line).is_empty() {
                all += 1;
            }
            let outer = comment.starts_with("///") && !comment.starts_with("////");
            docs += usize::from(outer || comment.starts_with("//!"));
        }
        (docs, all)
    }

    /// Lines of code in a body.
    pub(crate) fn code_lines(&self, body: &Range<usize>) -> usize {
        self.code[body.clone()]
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }

    /// Paths that `#[cfg(test)] mod name;` may mean: test files outside a `tests` folder.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let home = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let mut found = Vec::new();
        for span in &self.tests {
            let item = self.code[span.clone()].trim_end();
            let Some(head) = item.strip_suffix(';') else {
                continue;
            };
            let mut tail = head.split_ascii_whitespace().rev();
            if let (Some(name), Some("mod")) = (tail.next(), tail.next()) {
                found.push(format!("{home}/{name}.rs"));
                found.push(format!("{home}/{name}/mod.rs"));
            }
        }
        found
    }
}

fn covers(spans: &[Range<usize>], offset: usize) -> bool {
    spans.iter().any(|span| span.contains(&offset))
}

fn line_starts(code: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(code.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

/// Cargo's folders for test code, at any depth.
fn is_test_path(path: &str) -> bool {
    path.split('/')
        .rev()
        .skip(1)
        .any(|part| part == "tests" || part == "fuzz")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/a.rs", text)
    }

    fn function<'a>(source: &'a Source, name: &str) -> &'a Function {
        let found = source.functions.iter().find(|f| f.name == name);
        found.expect("the function is in the text")
    }

    #[test]
    fn lines_are_counted_as_editors_do() {
        assert_eq!(source("").line_count(), 0);
        assert_eq!(source("a\n").line_count(), 1);
        assert_eq!(source("a\nb").line_count(), 2);
        assert_eq!(source("a\nb").line_of(2), 1);
    }

    #[test]
    fn signatures_are_taken_apart() {
        let s = source(
            "impl X {\n  pub async fn a<F: Fn() -> u8>(f: F) -> io::Result<()> where F: Send { b }\n\
             pub(crate) const fn c() {}\n  fn d(f: fn(u8)) -> [u8; 3];\n}\n",
        );
        assert_eq!(s.functions.len(), 3);
        let a = function(&s, "a");
        assert!(a.public && a.is_async);
        assert_eq!(a.returns, "io::Result<()>");
        assert_eq!(&s.code[a.body.clone().unwrap()], " b ");
        assert!(!function(&s, "c").public);
        assert_eq!(function(&s, "d").returns, "[u8; 3]");
        assert!(function(&s, "d").body.is_none());
    }

    #[test]
    fn items_of_a_public_trait_are_public() {
        let s = source("pub trait T { fn a() { fn inner() {} } }\ntrait U { fn b(); }\n");
        assert!(function(&s, "a").public);
        assert!(!function(&s, "inner").public);
        assert!(!function(&s, "b").public);
    }

    #[test]
    fn an_attribute_before_the_item_is_no_qualifier() {
        let s = source("#[inline]\npub fn a() {}\n");
        let start = function(&s, "a").start;
        assert!(s.code[start..].starts_with("pub fn"));
    }

    #[test]
    fn test_code_is_found() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { #[test] fn b() {} }\nfn c() {}\n\
                    #[cfg(all(test, ripcord_loom))] mod l { fn d() {} }\n\
                    #[tokio::test(flavor = \"x\")]\nasync fn e() {}\n\
                    #[cfg(not(test))] fn f() {}\n#[cfg(any(test, x))] fn g() {}\n";
        let s = source(text);
        let inside = |name: &str| s.in_test(function(&s, name).start);
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let found: Vec<_> = names.into_iter().filter(|name| inside(name)).collect();
        assert_eq!(found, ["b", "d", "e"]);
    }

    #[test]
    fn a_test_attribute_on_a_field_ends_with_the_field() {
        let s = source("struct S {\n #[cfg(test)]\n a: u8,\n b: u8,\n}\nfn z() {}\n");
        assert!(!s.in_test(s.words("b")[0]));
        assert!(s.in_test(s.words("a")[0]));
        assert!(!s.in_test(function(&s, "z").start));
    }

    #[test]
    fn files_in_tests_folders_are_test_code() {
        for (path, expect) in [
            ("crates/x/tests/a.rs", true),
            ("tests/conformance/src/lib.rs", true),
            ("fuzz/fuzz_targets/a.rs", true),
            ("crates/x/src/tests.rs", false),
            ("xtask/src/test.rs", false),
        ] {
            assert_eq!(Source::new(path, "fn a() {}").all_test, expect, "{path}");
        }
        assert!(source("#![cfg(test)]\nfn a() {}").all_test);
    }

    #[test]
    fn out_of_line_test_modules_are_named() {
        let s = source("#[cfg(test)]\nmod model;\nmod real;\n");
        assert_eq!(
            s.test_modules(),
            ["crates/x/src/a/model.rs", "crates/x/src/a/model/mod.rs"]
        );
        let s = Source::new("crates/x/src/lib.rs", "#[cfg(test)] pub(crate) mod m;");
        assert_eq!(s.test_modules()[0], "crates/x/src/m.rs");
    }

    #[test]
    fn use_items_may_span_lines() {
        let s = source("use a::{\n Relaxed,\n};\npub use b::Relaxed;\nfn f() { x(Relaxed) }\n");
        let found: Vec<_> = s.words("Relaxed").iter().map(|&at| s.in_use(at)).collect();
        assert_eq!(found, [true, true, false]);
    }

    #[test]
    fn docs_are_read_over_attributes() {
        let s = source(
            "//! File.\n\n/// One.\n///\n/// # Errors\n#[cfg_attr(\n  x,\n  y\n)]\n#[must_use]\npub fn a() {}\n",
        );
        assert_eq!(
            s.docs_above(function(&s, "a").start),
            ["/// One.", "///", "/// # Errors"]
        );
    }

    #[test]
    fn comments_count_within_reach_or_as_a_block() {
        let near = |text: &str| {
            let s = source(text);
            let line = s.line_of(s.words("here")[0]);
            s.has_comment_near(line, |c| c.contains("mark"))
        };
        assert!(near("here(); // mark\n"));
        assert!(near("// mark\na;\nb;\nhere();\n"));
        assert!(!near("// mark\na;\nb;\nc;\nd;\ne;\nf;\nhere();\n"));
        assert!(near(
            "// mark\n// 2\n// 3\n// 4\n// 5\n// 6\n// 7\n// 8\nhere();\n"
        ));
        assert!(!near("// mark\n\na;\nb;\nc;\nd;\ne;\n// 8\nhere();\n"));
    }

    #[test]
    fn a_place_has_the_name_of_its_function_or_of_the_next() {
        let s = source("// x\nfn a() { one(); }\n// y\n#[test]\nfn b() {}\n");
        let name = |at| s.function_around(at).map(|f| f.name.clone());
        assert_eq!(name(s.words("one")[0]).as_deref(), Some("a"));
        assert_eq!(name(24).as_deref(), Some("b"));
        assert_eq!(name(s.code.len()), None);
    }

    #[test]
    fn the_doc_share_leaves_tests_out() {
        let s = source("//! A.\n/// B.\nfn b() {}\n\n// c\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(s.doc_share(), (2, 4));
    }
}
