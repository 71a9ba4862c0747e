//! Runs every rule, compares the counts with the ratchet and shows the result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::out::{Failure, Format, Sink, Verdict, columns};
use crate::source::Source;
use crate::tidy::docs;
use crate::tidy::ratchet::{self, Step};
use crate::tidy::rules::{Finding, RULES};
use crate::tidy::shape::FILE_LISTED;
use crate::workspace;

/// The result of all rules over all files.
struct Report {
    files: usize,
    findings: Vec<Finding>,
    /// Key, found, accepted; in the order of the rules.
    counts: Vec<(&'static str, usize, usize)>,
    /// Library and its share of documentation in per cent.
    shares: Vec<(String, usize)>,
    /// Files near the limit and their lines, longest first.
    long: Vec<(String, usize)>,
}

/// Runs the command.
///
/// # Errors
/// When git, a source file or `xtask/tidy.toml` cannot be read.
pub(crate) fn run(root: &Path, format: Format, sink: Sink) -> Result<Verdict, Failure> {
    let accepted = ratchet::parse(&workspace::read(root, ratchet::PATH)?, &keys())?;
    let sources = workspace::sources(root)?;
    let report = Report::of(&sources, &accepted);
    sink.line(match format {
        Format::Text => report.text().trim_end().to_owned(),
        Format::Json => report.json().to_string(),
    });
    Ok(Verdict::of(report.off_count()))
}

fn keys() -> Vec<&'static str> {
    let rules = RULES.iter().map(|rule| rule.key);
    rules.chain(std::iter::once(docs::SHARE)).collect()
}

impl Report {
    fn of(sources: &[Source], accepted: &BTreeMap<String, usize>) -> Self {
        let mut findings: Vec<_> = RULES.iter().flat_map(|r| r.findings(sources)).collect();
        let (low, shares) = docs::share(sources);
        findings.extend(low);
        let counts = keys()
            .into_iter()
            .map(|key| {
                let found = findings.iter().filter(|finding| finding.key == key).count();
                (key, found, accepted.get(key).copied().unwrap_or(0))
            })
            .collect();
        let mut long: Vec<_> = sources
            .iter()
            .map(|source| (source.path.clone(), source.line_count()))
            .filter(|(_, lines)| *lines > FILE_LISTED)
            .collect();
        long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
        Self {
            files: sources.len(),
            findings,
            counts,
            shares,
            long,
        }
    }

    /// Rules whose count is not the accepted one.
    fn off_count(&self) -> usize {
        let counts = self.counts.iter();
        counts
            .filter(|(_, found, accepted)| Step::of(*found, *accepted) != Step::Held)
            .count()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for f in &self.findings {
            let _ = writeln!(text, "{}:{}: {}: {}", f.path, f.line, f.what, f.why);
        }
        if !self.findings.is_empty() {
            text.push('\n');
        }
        let mut rows = vec![
            ["rule", "found", "accepted", ""]
                .map(str::to_owned)
                .to_vec(),
        ];
        for &(key, found, accepted) in &self.counts {
            let verdict = match Step::of(found, accepted) {
                Step::Held => String::new(),
                Step::Rose => "mend the findings".to_owned(),
                Step::Fell => format!("good: now write `{key} = {found}` into {}", ratchet::PATH),
            };
            rows.push(vec![
                key.to_owned(),
                found.to_string(),
                accepted.to_string(),
                verdict,
            ]);
        }
        text.push_str(&columns(&rows));
        for (path, lines) in &self.long {
            let _ = writeln!(text, "long file: {path}, {lines} lines");
        }
        for (name, percent) in &self.shares {
            let _ = writeln!(text, "documentation: {name} {percent} %");
        }
        let _ = writeln!(
            text,
            "tidy: {} files, {} findings, {} of {} rules off their count",
            self.files,
            self.findings.len(),
            self.off_count(),
            self.counts.len()
        );
        text
    }

    /// Schema: `{files, rules: [{key, found, accepted}], findings: [{key, path, line, what, why}],
    /// long_files: [{path, lines}], doc_share_percent: {crate: number}}`.
    fn json(&self) -> Value {
        let rules = self.counts.iter().map(
            |(key, found, accepted)| json!({"key": key, "found": found, "accepted": accepted}),
        );
        let findings = self.findings.iter().map(
            |f| json!({"key": f.key, "path": f.path, "line": f.line, "what": f.what, "why": f.why}),
        );
        let long = self.long.iter();
        let long = long.map(|(path, lines)| json!({"path": path, "lines": lines}));
        json!({
            "files": self.files,
            "rules": rules.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "long_files": long.collect::<Vec<_>>(),
            "doc_share_percent": self.shares.iter().cloned().collect::<BTreeMap<_, _>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file without a header and with one `unwrap()`.
    fn report(headless: usize, unwraps: usize) -> Report {
        let sources = [Source::new("xtask/src/a.rs", "fn a() { b.unwrap() }\n")];
        let mut accepted: BTreeMap<_, _> = keys().iter().map(|key| ((*key).into(), 0)).collect();
        accepted.insert("file_headless".to_owned(), headless);
        accepted.insert("unwrap".to_owned(), unwraps);
        Report::of(&sources, &accepted)
    }

    #[test]
    fn counts_as_accepted_pass() {
        assert_eq!(report(1, 1).off_count(), 0);
    }

    #[test]
    fn more_and_fewer_than_accepted_fail() {
        let report = report(0, 3);
        assert_eq!(report.off_count(), 2);
        let text = report.text();
        assert!(text.contains("xtask/src/a.rs:1: `unwrap()` outside a test: return the error"));
        assert!(text.contains("now write `unwrap = 1` into xtask/tidy.toml"));
        assert!(text.ends_with("tidy: 1 files, 2 findings, 2 of 13 rules off their count\n"));
    }

    #[test]
    fn json_has_the_same_numbers() {
        let json = report(0, 0).json();
        assert_eq!(json["files"], 1);
        assert_eq!(json["findings"][0]["line"], 1);
        assert_eq!(json["rules"].as_array().map(Vec::len), Some(13));
    }
}
