//! Rules on atomics and unsafe code: each place carries its argument.

use crate::items::words_in;
use crate::source::Source;

const ORDERINGS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// Places outside tests and `use` items where `word` is an atomic ordering.
fn accesses(source: &Source, word: &str) -> Vec<usize> {
    let mut places = source.words(word);
    places.retain(|&at| {
        !source.in_test(at)
            && !source.in_use(at)
            && !source.in_attribute(at)
            && is_ordering(&source.code, at)
    });
    places
}

/// Tells `Ordering::Release` and a bare `Release` from `Phase::Release` and `struct Release`.
fn is_ordering(code: &str, at: usize) -> bool {
    let head = code[..at].trim_end();
    if let Some(path) = head.strip_suffix("::") {
        return path.ends_with("Ordering") || path.ends_with("atomic");
    }
    let keyword = head.rsplit(|c: char| !c.is_alphanumeric()).next();
    !matches!(
        keyword,
        Some("struct" | "enum" | "trait" | "type" | "fn" | "impl" | "for")
    )
}

/// An ordering without a comment that names it, or calls the place a counter.
pub(crate) fn orderings(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in ORDERINGS {
        for at in accesses(source, word) {
            let line = source.line_of(at);
            let explains = |comment: &str| {
                [*word, "counter", "Counter"]
                    .iter()
                    .any(|marker| !words_in(comment, marker).is_empty())
            };
            if !source.has_comment_near(line, explains) {
                found.push((line, format!("`{word}` without its comment")));
            }
        }
    }
    found
}

/// `SeqCst` on a load, a store or a read-modify-write; a fence may have it.
pub(crate) fn sequential(source: &Source) -> Vec<(usize, String)> {
    let is_fence = |at: usize| {
        let path = |c: char| c == ':' || c == '_' || c.is_alphanumeric();
        let before = source.code[..at].trim_end_matches(path).trim_end();
        before.strip_suffix('(').is_some_and(|call| {
            let name = call.trim_end();
            name.ends_with("fence") && !name.ends_with("_fence")
        })
    };
    accesses(source, "SeqCst")
        .into_iter()
        .filter(|&at| !is_fence(at))
        .map(|at| (source.line_of(at), "`SeqCst` on an access".to_owned()))
        .collect()
}

/// An unsafe block, impl or attribute without a SAFETY comment; an unsafe fn, trait or extern item
/// with neither that nor a `# Safety` section. Tests are no exception.
pub(crate) fn unsafety(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in source.words("unsafe") {
        let line = source.line_of(at);
        let next = source.code[at + "unsafe".len()..].trim_start();
        let word_end = next
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(next.len());
        let documented = match &next[..word_end] {
            // `unsafe fn(…)` is the type of a pointer.
            "fn" if next["fn".len()..].trim_start().starts_with('(') => true,
            "fn" | "trait" | "extern" => has_safety_section(source, at),
            _ => false,
        };
        let commented = || source.has_comment_near(line, |c| c.contains("SAFETY:"));
        if !documented && !commented() {
            found.push((line, "`unsafe` without its argument".to_owned()));
        }
    }
    found
}

fn has_safety_section(source: &Source, at: usize) -> bool {
    source
        .docs_above(at)
        .iter()
        .any(|line| line.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::lines_of;

    const PATH: &str = "crates/x/src/a.rs";

    #[test]
    fn an_ordering_needs_its_own_name_in_a_comment() {
        for (text, expect) in [
            ("fn f() { a.load(Acquire); }", vec![1]),
            (
                "// Acquire: pairs with g.\nfn f() { a.load(Ordering::Acquire); }",
                vec![],
            ),
            (
                "fn f() { a.load(Acquire); } // Acquire: pairs with g.",
                vec![],
            ),
            ("// Release: no.\nfn f() { a.load(Acquire); }", vec![2]),
            ("// Acquires nothing.\nfn f() { a.load(Acquire); }", vec![2]),
            ("// A counter.\nfn f() { a.fetch_add(1, Relaxed); }", vec![]),
            (
                "// Encounters it.\nfn f() { a.fetch_add(1, Relaxed); }",
                vec![2],
            ),
            (
                "// AcqRel: both.\nfn f() { a.swap(1, AcqRel, Acquire); }",
                vec![2],
            ),
            (
                "// AcqRel: both; Acquire: on failure.\nfn f() { a.cas(AcqRel, Acquire); }",
                vec![],
            ),
        ] {
            assert_eq!(lines_of(orderings, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn uses_tests_and_other_names_are_no_orderings() {
        for text in [
            "use std::sync::atomic::Ordering::{Acquire, Release};",
            "#[cfg(test)]\nmod tests { fn f() { a.load(Acquire); } }",
            "fn f() { Phase::Release }",
            "struct Release;\nimpl Release {}\nimpl Drop for Release {}",
            "fn f() { g(\"Acquire\") }",
            "fn f() { Ordering::Less }",
        ] {
            assert_eq!(lines_of(orderings, PATH, text), [0; 0], "{text}");
        }
        assert_eq!(
            lines_of(orderings, "crates/x/tests/a.rs", "fn f() { x(Acquire) }"),
            [0; 0]
        );
    }

    #[test]
    fn only_a_fence_may_be_sequential() {
        for (text, expect) in [
            ("fn f() { a.load(SeqCst); }", vec![1]),
            ("fn f() { a.load(Ordering::SeqCst); }", vec![1]),
            ("fn f() { fence(SeqCst); }", vec![]),
            ("fn f() { atomic::fence(Ordering::SeqCst); }", vec![]),
            ("fn f() { compiler_fence(SeqCst); }", vec![1]),
            ("fn f() { x.store(1, SeqCst); fence(SeqCst); }", vec![1]),
        ] {
            assert_eq!(lines_of(sequential, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn unsafe_needs_its_argument() {
        for (text, expect) in [
            ("fn f() { unsafe { g() } }", vec![1]),
            ("// SAFETY: invariant 2.\nfn f() { unsafe { g() } }", vec![]),
            ("// Safety is fine.\nunsafe impl Send for X {}", vec![2]),
            (
                "// SAFETY: no shared state.\nunsafe impl Send for X {}",
                vec![],
            ),
            ("unsafe fn f() {}", vec![1]),
            (
                "/// # Safety\n/// Hold the lock.\n#[inline]\npub unsafe fn f() {}",
                vec![],
            ),
            ("pub unsafe trait T {}", vec![1]),
            ("type F = unsafe fn(u8);", vec![]),
            ("#[unsafe(no_mangle)]\nfn f() {}", vec![1]),
            ("#![deny(unsafe_code)]", vec![]),
            (
                "#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }",
                vec![2],
            ),
            ("fn f() { \"unsafe {\"; } // unsafe", vec![]),
        ] {
            assert_eq!(lines_of(unsafety, PATH, text), expect, "{text}");
        }
    }
}
