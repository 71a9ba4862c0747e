//! Rules on documentation: the sections that a public function owes, and the share of docs.

use crate::items::{Function, words_in};
use crate::rings::library_folders;
use crate::source::Source;
use crate::tidy::rules::Finding;

/// Key of the rule on the share of documentation, which looks at whole crates.
pub(crate) const SHARE: &str = "doc_share_low";
/// Documentation lines of 100 lines of code and comment that a library has at least.
const SHARE_MIN: usize = 35;

/// Public functions of a library, outside its tests.
fn public_functions(source: &Source) -> Vec<&Function> {
    if !library_folders().any(|member| in_src(&source.path, member.folder)) {
        return Vec::new();
    }
    let functions = source.functions.iter();
    functions
        .filter(|f| f.public && !source.in_test(f.start))
        .collect()
}

fn in_src(path: &str, folder: &str) -> bool {
    let rest = path
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| rest.starts_with("src/"))
}

fn has_section(source: &Source, function: &Function, title: &str) -> bool {
    let docs = source.docs_above(function.start);
    docs.iter().any(|line| {
        let text = line.strip_prefix("///").unwrap_or(line).trim();
        text.strip_prefix("# ") == Some(title)
    })
}

/// Public async functions that do not say what a drop loses.
pub(crate) fn cancel_safety(source: &Source) -> Vec<(usize, String)> {
    public_functions(source)
        .into_iter()
        .filter(|f| f.is_async && !has_section(source, f, "Cancel safety"))
        .map(|f| {
            let what = format!("`async fn {}` without `# Cancel safety`", f.name);
            (source.line_of(f.start), what)
        })
        .collect()
}

/// Public functions that return a `Result` and do not list its errors.
pub(crate) fn errors(source: &Source) -> Vec<(usize, String)> {
    public_functions(source)
        .into_iter()
        .filter(|f| is_result(&f.returns) && !has_section(source, f, "Errors"))
        .map(|f| {
            let what = format!("`fn {}` returns a Result without `# Errors`", f.name);
            (source.line_of(f.start), what)
        })
        .collect()
}

/// Whether the type itself is a `Result`, by any path, rather than something that holds one.
fn is_result(returns: &str) -> bool {
    let head = returns.split('<').next().unwrap_or_default().trim();
    head.rsplit("::").next() == Some("Result") && words_in(head, "impl").is_empty()
}

/// Libraries whose documentation is less than [`SHARE_MIN`] of 100 lines, and one row per library.
pub(crate) fn share(sources: &[Source]) -> (Vec<Finding>, Vec<(String, usize)>) {
    let (mut findings, mut rows) = (Vec::new(), Vec::new());
    for member in library_folders() {
        let (mut docs, mut all) = (0, 0);
        for source in sources {
            if in_src(&source.path, member.folder) && !source.all_test {
                let (more_docs, more) = source.doc_share();
                docs += more_docs;
                all += more;
            }
        }
        if all == 0 {
            continue;
        }
        let percent = docs * 100 / all;
        rows.push((member.name.to_owned(), percent));
        if percent < SHARE_MIN {
            findings.push(Finding {
                key: SHARE,
                path: format!("{}/src", member.folder),
                line: 1,
                what: format!("{docs} of {all} lines are documentation, {percent} %"),
                why: "a library explains itself: bring it to 35 % with examples, costs and limits",
            });
        }
    }
    (findings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::lines_of;

    const PATH: &str = "crates/ripcord-core/src/a.rs";

    #[test]
    fn a_public_async_function_owes_cancel_safety() {
        for (text, expect) in [
            ("pub async fn f() {}", vec![1]),
            (
                "/// X.\n///\n/// # Cancel safety\n/// Nothing is lost.\npub async fn f() {}",
                vec![],
            ),
            (
                "/// # Cancel safety of others\npub async fn f() {}",
                vec![2],
            ),
            (
                "pub(crate) async fn f() {}\nasync fn g() {}\npub fn h() {}",
                vec![],
            ),
            ("#[cfg(test)]\nmod tests { pub async fn f() {} }", vec![]),
        ] {
            assert_eq!(lines_of(cancel_safety, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn a_public_result_owes_its_errors() {
        for (text, expect) in [
            ("pub fn f() -> Result<(), E> {}", vec![1]),
            ("pub fn f() -> std::io::Result<()> {}", vec![1]),
            ("pub trait T { fn f() -> Result<(), E>; }", vec![1]),
            (
                "/// X.\n/// # Errors\n/// Y.\n#[inline]\npub fn f() -> Result<(), E> {}",
                vec![],
            ),
            ("pub fn f() -> Option<Result<(), E>> {}", vec![]),
            (
                "pub fn f() -> impl Future<Output = Result<(), E>> {}",
                vec![],
            ),
            ("impl X for Y { fn f() -> Result<(), E> {} }", vec![]),
        ] {
            assert_eq!(lines_of(errors, PATH, text), expect, "{text}");
        }
    }

    #[test]
    fn programs_and_tests_owe_no_sections() {
        for path in [
            "xtask/src/a.rs",
            "crates/ripcord-cli/src/a.rs",
            "crates/ripcord/tests/a.rs",
        ] {
            assert_eq!(
                lines_of(errors, path, "pub fn f() -> Result<(), E> {}"),
                [0; 0],
                "{path}"
            );
        }
    }

    #[test]
    fn the_share_is_per_library() {
        let sources = [
            Source::new(PATH, "//! A.\n/// B.\nfn b() {}\n"),
            Source::new(
                "crates/ripcord/src/lib.rs",
                "//! A.\nfn a() {}\nfn b() {}\n",
            ),
            Source::new("xtask/src/main.rs", "fn a() {}\n"),
        ];
        let (findings, rows) = share(&sources);
        assert_eq!(rows, [("ripcord-core".into(), 66), ("ripcord".into(), 33)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "crates/ripcord/src");
    }
}
