//! The table of rules: key, what is wanted, and the function that looks for breaches.
//!
//! To add a rule: a line here, a function in the file of its subject, a key in `xtask/tidy.toml`.

use crate::source::Source;
use crate::tidy::{atomics, bans, docs, shape};

/// One rule over one file.
pub(crate) struct Rule {
    /// Name in `xtask/tidy.toml` and in the reports.
    pub(crate) key: &'static str,
    /// Said after each finding: why the place is wrong and what to do.
    pub(crate) why: &'static str,
    /// Line (from 0) and what was found there.
    pub(crate) look: fn(&Source) -> Vec<(usize, String)>,
}

/// A place that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) key: &'static str,
    pub(crate) path: String,
    /// From 1, as editors count.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) why: &'static str,
}

/// Every rule that looks at one file at a time. [`docs::SHARE`] looks at whole crates.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        key: "ordering_uncommented",
        why: "say above it what the ordering carries and with what it pairs, starting with its \
              name, or mark it as a counter",
        look: atomics::orderings,
    },
    Rule {
        key: "seqcst_access",
        why: "model checkers treat it as AcqRel: use an acquire or release access, or a \
              fence(SeqCst) that names both sides",
        look: atomics::sequential,
    },
    Rule {
        key: "unsafe_undocumented",
        why: "name the invariant that makes it sound and who upholds it in a SAFETY comment (an \
              unsafe fn or trait: in a `# Safety` section)",
        look: atomics::unsafety,
    },
    Rule {
        key: "function_long",
        why: "keep the branching here and move the leaves out; the limit is 70 lines of code",
        look: shape::functions,
    },
    Rule {
        key: "file_long",
        why: "split it by subject; the limit is 800 lines",
        look: shape::file,
    },
    Rule {
        key: "file_headless",
        why: "start the file with `//!` and one sentence of purpose",
        look: shape::header,
    },
    Rule {
        key: "unwrap",
        why: "return the error, or say in `expect` which invariant rules it out",
        look: bans::unwraps,
    },
    Rule {
        key: "time_outside_door",
        why: "read time through a Clock and wait through a Timer; doors are listed in \
              xtask/src/tidy/bans.rs",
        look: bans::time,
    },
    Rule {
        key: "test_ignored",
        why: "make the test fast, or move it to a tier of its own that something runs",
        look: bans::ignored,
    },
    Rule {
        key: "note_to_self",
        why: "do it, or record it where planned work is kept",
        look: bans::notes,
    },
    Rule {
        key: "async_without_cancel_safety",
        why: "say in a `# Cancel safety` section what is lost and what is kept when it is dropped",
        look: docs::cancel_safety,
    },
    Rule {
        key: "result_without_errors",
        why: "list each kind of error and its trigger in an `# Errors` section",
        look: docs::errors,
    },
];

impl Rule {
    /// Runs the rule over every file.
    pub(crate) fn findings(&self, sources: &[Source]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for source in sources {
            for (line, what) in (self.look)(source) {
                findings.push(Finding {
                    key: self.key,
                    path: source.path.clone(),
                    line: line + 1,
                    what,
                    why: self.why,
                });
            }
        }
        findings
    }
}

/// Runs one rule's function over one text; for the tests of the rules.
#[cfg(test)]
pub(crate) fn lines_of(
    look: fn(&Source) -> Vec<(usize, String)>,
    path: &str,
    text: &str,
) -> Vec<usize> {
    let found = look(&Source::new(path, text));
    found.into_iter().map(|(line, _)| line + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_fit_the_ratchet_file() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(
                rule.key
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert!(RULES[index + 1..].iter().all(|other| other.key != rule.key));
            assert_ne!(rule.key, docs::SHARE);
        }
    }

    #[test]
    fn a_finding_has_file_line_and_reason() {
        let sources = [Source::new("a.rs", "\nfn a() {}\n")];
        let rule = RULES
            .iter()
            .find(|rule| rule.key == "file_headless")
            .unwrap();
        let found = rule.findings(&sources);
        assert_eq!((found[0].path.as_str(), found[0].line), ("a.rs", 1));
        assert!(found[0].why.contains("//!"));
    }
}
