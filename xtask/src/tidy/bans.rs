//! Rules on what may not be written at all, or only behind a door.

use crate::items::words_in;
use crate::source::Source;

/// Files and folders that may read the clock or sleep, each with its reason.
const TIME_DOORS: &[(&str, &str)] = &[
    ("crates/ripcord-core/src/clock.rs", "the door of the core"),
    (
        "crates/ripcord-tokio/src/clock.rs",
        "the door of the tokio adapter",
    ),
    (
        "crates/ripcord-smol/src/clock.rs",
        "the door of the smol adapter",
    ),
    (
        "crates/ripcord-propagation/src/clock.rs",
        "the door to the time of day, for ids and signatures",
    ),
    (
        "crates/ripcord-tracer/src/clock.rs",
        "the door to the time of day, which a trace tells beside its ticks",
    ),
    (
        "crates/ripcord-http/tests/hang_up.rs",
        "how soon a leaving is noticed is what it proves",
    ),
    (
        "crates/ripcord-core/tests/loom_support/",
        "the frozen clock of the models needs an instant to stand at",
    ),
    ("crates/ripcord-cli/", "a program shows elapsed time"),
    ("bench/", "measures"),
    ("xtask/", "shows elapsed time"),
];

/// `unwrap()` outside tests, as a method or as a path.
pub(crate) fn unwraps(source: &Source) -> Vec<(usize, String)> {
    let is_call = |at: usize| {
        let before = source.code[..at].trim_end();
        let after = source.code[at + "unwrap".len()..].trim_start();
        let closes = after
            .strip_prefix('(')
            .is_some_and(|rest| rest.trim_start().starts_with(')'));
        (before.ends_with('.') && closes) || before.ends_with("::")
    };
    let mut places = source.words("unwrap");
    places.retain(|&at| is_call(at) && !source.in_test(at));
    places
        .into_iter()
        .map(|at| (source.line_of(at), "`unwrap()` outside a test".to_owned()))
        .collect()
}

/// The clock read, or a thread put to sleep, outside the doors; in tests, too.
pub(crate) fn time(source: &Source) -> Vec<(usize, String)> {
    if TIME_DOORS
        .iter()
        .any(|(door, _)| source.path.starts_with(door))
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    let is_pausable = source.path.contains("/tests/") && imports_tokio_instant(&source.code);
    for (owner, call) in [
        ("Instant", "now"),
        ("SystemTime", "now"),
        ("thread", "sleep"),
    ] {
        if owner == "Instant" && is_pausable {
            continue;
        }
        for at in source.words(call) {
            let path = source.code[..at].trim_end().strip_suffix("::");
            let owned = path.is_some_and(|path| {
                words_in(path, owner)
                    .last()
                    .is_some_and(|start| start + owner.len() == path.len())
            });
            if owned {
                found.push((
                    source.line_of(at),
                    format!("`{owner}::{call}` outside the doors"),
                ));
            }
        }
    }
    found
}

/// Whether `Instant` is tokio's: its clock is paused in tests, which makes them exact.
fn imports_tokio_instant(code: &str) -> bool {
    let imports = |module: &str| {
        code.split("use ").skip(1).any(|item| {
            let item = item.split(';').next().unwrap_or_default();
            item.trim_start().starts_with(module) && !words_in(item, "Instant").is_empty()
        })
    };
    imports("tokio::time") && !imports("std::time")
}

/// Tests that nobody runs.
pub(crate) fn ignored(source: &Source) -> Vec<(usize, String)> {
    let is_attribute = |at: usize| {
        let before = source.code[..at].trim_end();
        source.in_attribute(at) && before.ends_with(['[', ',', '('])
    };
    let mut places = source.words("ignore");
    places.retain(|&at| is_attribute(at));
    places
        .into_iter()
        .map(|at| (source.line_of(at), "an ignored test".to_owned()))
        .collect()
}

/// Comments that put work off.
pub(crate) fn notes(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in ["TODO", "FIXME", "XXX"] {
        for at in words_in(&source.comments, word) {
            found.push((source.line_of(at), format!("`{word}` in a comment")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::lines_of;

    const PATH: &str = "crates/x/src/a.rs";

    #[test]
    fn unwrap_is_for_tests() {
        for (text, expect) in [
            ("fn f() { a.unwrap(); }", vec![1]),
            ("fn f() {\n a\n  .unwrap()\n}", vec![3]),
            ("fn f() { a.map(Option::unwrap); }", vec![1]),
            (
                "fn f() { a.unwrap_or(1); a.expect(\"invariant 1\"); }",
                vec![],
            ),
            ("fn unwrap() {}", vec![]),
            ("/// x.unwrap()\nfn f() { \".unwrap()\"; }", vec![]),
            ("#[test]\nfn f() { a.unwrap(); }", vec![]),
        ] {
            assert_eq!(lines_of(unwraps, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn time_goes_through_the_doors() {
        for (path, text, expect) in [
            (PATH, "fn f() { Instant::now(); }", vec![1]),
            (PATH, "fn f() { std::time::SystemTime::now(); }", vec![1]),
            (PATH, "fn f() { std::thread::sleep(d); }", vec![1]),
            (PATH, "#[test]\nfn f() { thread::sleep(d); }", vec![2]),
            (
                PATH,
                "fn f() { ctx.sleep(d); clock.now(); MyInstant::now(); }",
                vec![],
            ),
            ("bench/src/main.rs", "fn f() { Instant::now(); }", vec![]),
            (
                "crates/ripcord-core/src/clock.rs",
                "fn f() { Instant::now(); }",
                vec![],
            ),
            (
                "crates/ripcord-core/src/ctx.rs",
                "fn f() { Instant::now(); }",
                vec![1],
            ),
            (
                "crates/x/tests/a.rs",
                "use tokio::time::{Instant, advance};\nfn f() { Instant::now(); }",
                vec![],
            ),
            (
                "crates/x/tests/a.rs",
                "use std::time::{Duration, Instant};\nfn f() { Instant::now(); }",
                vec![2],
            ),
            (
                "crates/x/src/a.rs",
                "use tokio::time::Instant;\nfn f() { Instant::now(); }",
                vec![2],
            ),
        ] {
            assert_eq!(lines_of(time, path, text), expect, "{path} {text}");
        }
    }

    #[test]
    fn ignored_tests_are_found() {
        for (text, expect) in [
            ("#[test]\n#[ignore]\nfn f() {}", vec![2]),
            ("#[ignore = \"slow\"]\nfn f() {}", vec![1]),
            ("#[cfg_attr(miri, ignore)]\nfn f() {}", vec![1]),
            ("fn ignore() { ignore(); }", vec![]),
            ("/// ```ignore\nfn f() {}", vec![]),
        ] {
            assert_eq!(lines_of(ignored, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn notes_are_words_in_comments() {
        for (text, expect) in [
            ("// TODO: later", vec![1]),
            ("/* a\n FIXME */", vec![2]),
            ("/// XXX", vec![1]),
            ("fn f() { \"TODO\"; TODO }", vec![]),
            ("// TODOs, todo", vec![]),
        ] {
            assert_eq!(lines_of(notes, PATH, text), expect, "{text}");
        }
    }
}
