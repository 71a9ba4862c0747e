//! Finds attributes, tests, `use` items and functions in blanked code, by words and brackets.
//!
//! A macro that builds functions from pieces is invisible here; that is accepted, as such code is
//! rare. The tests of this file are in `source.rs`, which is how everybody else sees the results.

use std::ops::Range;

use crate::lexer::is_ident_byte;

/// A function with a name, as written.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Where the item starts: at `pub`, or the first qualifier, or `fn`.
    pub(crate) start: usize,
    /// `pub` without a restriction, or an item of a `pub trait`.
    pub(crate) public: bool,
    pub(crate) is_async: bool,
    /// The return type as written, empty for none.
    pub(crate) returns: String,
    /// The text between the braces.
    pub(crate) body: Option<Range<usize>>,
}

/// Offsets of `word` in `code`, where it is not part of a longer name.
pub(crate) fn words_in(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            let before = at.checked_sub(1).and_then(|i| bytes.get(i));
            let after = bytes.get(at + word.len());
            !before.is_some_and(|&b| is_ident_byte(b)) && !after.is_some_and(|&b| is_ident_byte(b))
        })
        .collect()
}

/// The offset after the bracket that closes the one at `open`; the end of the text if none does.
fn close_of(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

pub(crate) fn find_attributes(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in code.match_indices('#') {
        if found.last().is_some_and(|last| last.contains(&at)) {
            continue;
        }
        let rest = code[at + 1..].trim_start_matches('!');
        if rest.starts_with('[') {
            found.push(at..close_of(code, code.len() - rest.len()));
        }
    }
    found
}

/// `#[test]`, `#[tokio::test(…)]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`.
pub(crate) fn is_test_attribute(attribute: &str) -> bool {
    let inner: String = attribute
        .trim_start_matches(['#', '!'])
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split_ascii_whitespace()
        .collect();
    let path = inner.split('(').next().unwrap_or_default();
    if path.rsplit("::").next() == Some("test") {
        return true;
    }
    let Some(condition) = inner.strip_prefix("cfg(").and_then(|c| c.strip_suffix(')')) else {
        return false;
    };
    let all = condition
        .strip_prefix("all(")
        .and_then(|c| c.strip_suffix(')'));
    condition == "test" || all.is_some_and(|list| list.split(',').any(|part| part == "test"))
}

pub(crate) fn find_tests(code: &str, attributes: &[Range<usize>]) -> Vec<Range<usize>> {
    attributes
        .iter()
        .filter(|span| !code[span.start..].starts_with("#!"))
        .filter(|span| is_test_attribute(&code[(*span).clone()]))
        .map(|span| span.start..item_end(code, attributes, span.end))
        .collect()
}

/// Where the item, field, variant or statement that follows an attribute ends.
fn item_end(code: &str, attributes: &[Range<usize>], after: usize) -> usize {
    let mut start = after;
    loop {
        start += code[start..].len() - code[start..].trim_start().len();
        match attributes.iter().find(|span| span.start == start) {
            Some(next) => start = next.end,
            None => break,
        }
    }
    let is_item = starts_item(&code[start..]);
    let mut at = start;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b'{' if is_item => return close_of(code, at),
            b'(' | b'[' | b'{' => at = close_of(code, at),
            b';' => return at + 1,
            b',' if !is_item => return at,
            b')' | b']' | b'}' => return at,
            _ => at += 1,
        }
    }
    code.len()
}

/// Whether `text` begins with an item rather than a field, a variant or an expression.
fn starts_item(text: &str) -> bool {
    const ITEMS: &[&str] = &[
        "async",
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "let",
        "macro_rules",
        "mod",
        "static",
        "struct",
        "trait",
        "type",
        "union",
        "unsafe",
        "use",
    ];
    let mut rest = text;
    if let Some(after) = rest.strip_prefix("pub") {
        rest = after.trim_start();
        if rest.starts_with('(') {
            rest = rest[close_of(rest, 0)..].trim_start();
        }
    }
    let end = rest
        .bytes()
        .position(|b| !is_ident_byte(b))
        .unwrap_or(rest.len());
    ITEMS.contains(&&rest[..end])
}

pub(crate) fn find_uses(code: &str) -> Vec<Range<usize>> {
    let is_start = |at: usize| {
        let head = code[..at].rfind(['\n', ';', '{', '}']).map_or(0, |i| i + 1);
        let head = code[head..at].trim();
        head.is_empty() || head.starts_with("pub")
    };
    words_in(code, "use")
        .into_iter()
        .filter(|&at| is_start(at))
        .map(|at| at..code[at..].find(';').map_or(code.len(), |end| at + end + 1))
        .collect()
}

pub(crate) fn find_functions(code: &str) -> Vec<Function> {
    let traits = public_traits(code);
    words_in(code, "fn")
        .into_iter()
        .filter_map(|at| function_at(code, at, &traits))
        .collect()
}

/// Bodies of `pub trait` items.
fn public_traits(code: &str) -> Vec<Range<usize>> {
    words_in(code, "trait")
        .into_iter()
        .filter(|&at| is_public(qualifiers(code, at)))
        .filter_map(|at| {
            let open = at + code[at..].find(['{', ';'])?;
            code[open..]
                .starts_with('{')
                .then(|| open..close_of(code, open))
        })
        .collect()
}

/// The words before the keyword at `at`: visibility, `async`, `unsafe`, `extern "C"`.
fn qualifiers(code: &str, at: usize) -> &str {
    let from = code[..at]
        .rfind([';', '{', '}', ']', ','])
        .map_or(0, |before| before + 1);
    code[from..at].trim_start()
}

fn is_public(qualifiers: &str) -> bool {
    qualifiers.strip_prefix("pub").is_some_and(|rest| {
        rest.starts_with(char::is_whitespace) && !rest.trim_start().starts_with('(')
    })
}

fn function_at(code: &str, at: usize, traits: &[Range<usize>]) -> Option<Function> {
    let after = code[at + 2..].trim_start();
    let length = after
        .bytes()
        .position(|b| !is_ident_byte(b))
        .unwrap_or(after.len());
    let name = &after[..length];
    // `fn(u8)` is a type; `fn $name` comes from a macro.
    if name.is_empty() {
        return None;
    }
    let mut cursor = code.len() - after.len() + length;
    cursor = skip_generics(code, cursor);
    let open = cursor + code[cursor..].find('(')?;
    let tail = close_of(code, open);
    let end = signature_end(code, tail);
    let returns = code[tail..end]
        .trim_start()
        .strip_prefix("->")
        .unwrap_or_default();
    let returns = returns
        .get(
            ..words_in(returns, "where")
                .first()
                .copied()
                .unwrap_or(returns.len()),
        )
        .unwrap_or_default();
    let head = qualifiers(code, at);
    let body = code[end..]
        .starts_with('{')
        .then(|| end + 1..close_of(code, end).saturating_sub(1).max(end + 1));
    let in_trait = traits
        .iter()
        .any(|span| span.contains(&at) && depth_between(code, span.start, at) == 1);
    Some(Function {
        name: name.to_owned(),
        start: at - head.len(),
        public: is_public(head) || in_trait,
        is_async: !words_in(head, "async").is_empty(),
        returns: returns.trim().to_owned(),
        body,
    })
}

/// How many braces opened after `from` are still open at `to`.
fn depth_between(code: &str, from: usize, to: usize) -> usize {
    let text = &code[from..to];
    text.matches('{')
        .count()
        .saturating_sub(text.matches('}').count())
}

/// The offset after `<…>` if it starts at `at` or after blanks.
fn skip_generics(code: &str, at: usize) -> usize {
    let start = at + code[at..].len() - code[at..].trim_start().len();
    if !code[start..].starts_with('<') {
        return at;
    }
    let mut depth = 0_usize;
    let mut before = b' ';
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'<' => depth += 1,
            // The arrow of `Fn() -> T` closes nothing.
            b'>' if before == b'-' || before == b'=' => {}
            b'>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
        before = byte;
    }
    code.len()
}

/// Where the body or the semicolon of the signature stands.
fn signature_end(code: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b'{' | b';' => return at,
            b'(' | b'[' => at = close_of(code, at),
            _ => at += 1,
        }
    }
    code.len()
}
