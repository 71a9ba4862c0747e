//! `cargo xtask conformance`: every clause of the specification has a test, and every citation a
//! clause.
//!
//! A clause is a line of `spec/*.md` that starts with a bold id, also in a list: `**C12** text` or
//! `- **C12.** text`; an id is one capital letter and a number. A citation is a comment `//= C12` or
//! `//= C12, C13`. It counts as a test inside test code (a file in a `tests` folder, a
//! `#[cfg(test)]` item, a `#[test]` function) and as a line of an example that rustdoc runs;
//! anywhere else it says where the clause is met, which is shown but proves nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::out::{Failure, Format, Sink, Verdict};
use crate::source::Source;
use crate::workspace;

/// Characters of a clause's text that the table shows.
const TEXT_MAX: usize = 76;

/// A letter and a number; sorts as people count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id(char, u32);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.0, self.1)
    }
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        let letter = chars.next().filter(char::is_ascii_uppercase)?;
        let digits = chars.as_str();
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse().ok())
            .flatten()
            .map(|number| Self(letter, number))
    }
}

/// A numbered sentence of the specification.
#[derive(Debug)]
struct Clause {
    id: Id,
    text: String,
    place: Place,
}

/// A place in a file; the line counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: String,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// A comment that names clauses.
#[derive(Debug)]
struct Citation {
    /// The clause, or the text that is none.
    id: Result<Id, String>,
    place: Place,
    /// The function that it stands in or above; empty for none.
    name: String,
    is_test: bool,
}

/// Runs the command.
///
/// # Errors
/// When git, a specification or a source file cannot be read.
pub(crate) fn run(root: &Path, format: Format, sink: Sink) -> Result<Verdict, Failure> {
    let mut clauses = Vec::new();
    for path in workspace::files(root, ".md")? {
        if path
            .rsplit_once('/')
            .is_some_and(|(folder, _)| folder == "spec")
        {
            clauses.extend(clauses_in(&path, &workspace::read(root, &path)?));
        }
    }
    let sources = workspace::sources(root)?;
    let citations: Vec<_> = sources.iter().flat_map(citations_in).collect();
    let table = Table::of(clauses, citations);
    sink.line(match format {
        Format::Text => table.text().trim_end().to_owned(),
        Format::Json => table.json().to_string(),
    });
    Ok(Verdict::of(table.findings.len()))
}

fn clauses_in(path: &str, text: &str) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let item = line
            .strip_prefix("- ")
            .or_else(|| line.strip_prefix("* "))
            .unwrap_or(line);
        let bold = item
            .trim_start()
            .strip_prefix("**")
            .and_then(|rest| rest.split_once("**"));
        let (false, Some((name, rest))) = (fenced, bold) else {
            continue;
        };
        if let Some(id) = Id::parse(name.trim_end_matches(['.', ':'])) {
            clauses.push(Clause {
                id,
                text: rest.trim_start_matches(['.', ':']).trim().to_owned(),
                place: Place {
                    path: path.to_owned(),
                    line: index + 1,
                },
            });
        }
    }
    clauses
}

fn citations_in(source: &Source) -> Vec<Citation> {
    let mut citations = Vec::new();
    let mut example = Example::default();
    for line in 0..source.line_count() {
        let comment = source.comment_line(line);
        let runs = example.next(comment);
        let plain = comment.strip_prefix("//=");
        let in_example = if runs {
            cited_in_example(comment)
        } else {
            None
        };
        let Some(list) = plain.or(in_example) else {
            continue;
        };
        let offset = source.offset_of(line);
        for name in list.split(',') {
            let name = name.trim();
            citations.push(Citation {
                id: Id::parse(name).ok_or_else(|| name.to_owned()),
                place: Place {
                    path: source.path.clone(),
                    line: line + 1,
                },
                name: source
                    .function_around(offset)
                    .map(|function| function.name.clone())
                    .unwrap_or_default(),
                is_test: in_example.is_some() || source.in_test(offset),
            });
        }
    }
    citations
}

/// The list after `//=` in a line of an example, which rustdoc may hide with `# `.
fn cited_in_example(comment: &str) -> Option<&str> {
    let line = comment
        .strip_prefix("///")
        .or_else(|| comment.strip_prefix("//!"))?
        .trim_start();
    line.strip_prefix("# ")
        .unwrap_or(line)
        .trim_start()
        .strip_prefix("//=")
}

/// Follows the fences of documentation comments, line by line.
#[derive(Default)]
struct Example {
    open: bool,
    runs: bool,
}

impl Example {
    /// Whether `comment` is inside an example that rustdoc compiles.
    fn next(&mut self, comment: &str) -> bool {
        let doc = comment
            .strip_prefix("///")
            .or_else(|| comment.strip_prefix("//!"));
        let Some(doc) = doc else {
            *self = Self::default();
            return false;
        };
        let Some(info) = doc.trim_start().strip_prefix("```") else {
            return self.open && self.runs;
        };
        self.open = !self.open;
        self.runs = info.split(',').map(str::trim).all(|word| {
            let rust = ["", "rust", "should_panic", "no_run", "compile_fail"];
            rust.contains(&word) || word.starts_with("edition") || word.starts_with('E')
        });
        false
    }
}

/// Clauses with their citations, and what is wrong with either.
#[derive(Debug)]
struct Table {
    rows: Vec<Row>,
    findings: Vec<(Place, String)>,
}

#[derive(Debug)]
struct Row {
    clause: Clause,
    tests: Vec<Citation>,
    code: Vec<Citation>,
}

impl Table {
    fn of(clauses: Vec<Clause>, citations: Vec<Citation>) -> Self {
        let mut findings = Vec::new();
        let mut rows: BTreeMap<Id, Row> = BTreeMap::new();
        for clause in clauses {
            if let Some(first) = rows.get(&clause.id) {
                let text = format!(
                    "{} stands at {} already; give one of the two a new number",
                    clause.id, first.clause.place
                );
                findings.push((clause.place, text));
                continue;
            }
            let row = Row {
                clause,
                tests: Vec::new(),
                code: Vec::new(),
            };
            rows.insert(row.clause.id, row);
        }
        if rows.is_empty() {
            let place = Place {
                path: "spec".into(),
                line: 1,
            };
            let text = "no clause found; write `**C1** …` lines into spec/*.md".to_owned();
            findings.push((place, text));
        }
        for citation in citations {
            match (
                &citation.id,
                citation.id.as_ref().ok().and_then(|id| rows.get_mut(id)),
            ) {
                (_, Some(row)) if citation.is_test => row.tests.push(citation),
                (_, Some(row)) => row.code.push(citation),
                (Ok(id), None) => {
                    let text = format!("cites {id}, which is in no spec/*.md");
                    findings.push((citation.place, text));
                }
                (Err(name), None) => {
                    let text = format!("cites `{name}`; an id is a capital letter and a number");
                    findings.push((citation.place, text));
                }
            }
        }
        for row in rows.values().filter(|row| row.tests.is_empty()) {
            let text = format!(
                "{0} has no test; put `//= {0}` into the test that proves it",
                row.clause.id
            );
            findings.push((row.clause.place.clone(), text));
        }
        Self {
            rows: rows.into_values().collect(),
            findings,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<5} {}",
                row.clause.id.to_string(),
                shorten(&row.clause.text)
            );
            for (label, list) in [("test", &row.tests), ("code", &row.code)] {
                for citation in list {
                    let line = format!("      {label} {} {}", citation.place, citation.name);
                    let _ = writeln!(text, "{}", line.trim_end());
                }
            }
        }
        if !self.rows.is_empty() {
            text.push('\n');
        }
        for (place, what) in &self.findings {
            let _ = writeln!(text, "{place}: {what}");
        }
        let tested = self.rows.iter().filter(|row| !row.tests.is_empty()).count();
        let _ = writeln!(
            text,
            "conformance: {tested} of {} clauses have a test, {} citations in tests, {} findings",
            self.rows.len(),
            self.rows.iter().map(|row| row.tests.len()).sum::<usize>(),
            self.findings.len()
        );
        text
    }

    /// Schema: `{clauses: [{id, text, path, line, tests: [cited], code: [cited]}], findings: [{path,
    /// line, what}]}` with `cited` = `{path, line, name}`.
    fn json(&self) -> Value {
        let cited = |list: &[Citation]| {
            let one =
                |c: &Citation| json!({"path": c.place.path, "line": c.place.line, "name": c.name});
            list.iter().map(one).collect::<Vec<_>>()
        };
        let clauses = self.rows.iter().map(|row| {
            json!({
                "id": row.clause.id.to_string(),
                "text": row.clause.text,
                "path": row.clause.place.path,
                "line": row.clause.place.line,
                "tests": cited(&row.tests),
                "code": cited(&row.code),
            })
        });
        let findings = self.findings.iter();
        let findings = findings
            .map(|(place, what)| json!({"path": place.path, "line": place.line, "what": what}));
        json!({
            "clauses": clauses.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

/// The text in one line of the table.
fn shorten(text: &str) -> String {
    if text.chars().count() <= TEXT_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(TEXT_MAX - 1).collect();
    format!("{}…", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        let clauses = clauses_in("spec/a.md", text);
        clauses
            .iter()
            .map(|c| format!("{}:{}:{}", c.place.line, c.id, c.text))
            .collect()
    }

    /// Citations as `line:id:test?:name`.
    fn cited(path: &str, text: &str) -> Vec<String> {
        let show = |c: Citation| {
            let id =
                c.id.map_or_else(|text| format!("?{text}"), |id| id.to_string());
            let role = if c.is_test { "test" } else { "code" };
            format!("{}:{id}:{role}:{}", c.place.line, c.name)
        };
        citations_in(&Source::new(path, text))
            .into_iter()
            .map(show)
            .collect()
    }

    fn table(spec: &str, code: &str) -> Table {
        let source = Source::new("crates/x/tests/a.rs", code);
        Table::of(clauses_in("spec/a.md", spec), citations_in(&source))
    }

    #[test]
    fn clauses_are_bold_ids_at_the_start_of_a_line() {
        for (text, expect) in [
            ("**C1** One.", vec!["1:C1:One."]),
            ("x\n\n- **C12.** Two.", vec!["3:C12:Two."]),
            ("  * **P3**: Three.", vec!["1:P3:Three."]),
            ("**C4:** Four.", vec!["1:C4:Four."]),
            ("see **C1** here", vec![]),
            (
                "**Cause** is no id, **C01** and **c1** neither\n**C01**\n**c1**",
                vec![],
            ),
            ("**C**\n**CC1**\n**C1a**", vec![]),
            ("```text\n**C1** x\n```\n**C2** y", vec!["4:C2:y"]),
        ] {
            assert_eq!(ids(text), expect, "{text:?}");
        }
    }

    #[test]
    fn a_citation_in_test_code_is_a_test() {
        let path = "crates/x/src/a.rs";
        let code = "//= C1\nfn a() {}\n#[cfg(test)]\nmod tests {\n //= C2, C3\n #[test]\n fn b() {\n  //= C4\n }\n}\n";
        assert_eq!(
            cited(path, code),
            ["1:C1:code:a", "5:C2:test:b", "5:C3:test:b", "8:C4:test:b"]
        );
        assert_eq!(
            cited("crates/x/tests/a.rs", "//= C1\nfn a() {}"),
            ["1:C1:test:a"]
        );
    }

    #[test]
    fn a_citation_in_an_example_counts_if_rustdoc_runs_it() {
        let path = "crates/x/src/a.rs";
        let text = |fence: &str| {
            format!(
                "/// A.\n/// ```{fence}\n/// //= C1\n/// # //= C2\n/// ```\n/// //= C3\nfn a() {{}}\n"
            )
        };
        let both = ["3:C1:test:a", "4:C2:test:a"];
        for fence in [
            "",
            "rust",
            "no_run",
            "compile_fail,E0382",
            "rust,edition2024",
        ] {
            assert_eq!(cited(path, &text(fence)), both, "{fence}");
        }
        for fence in ["text", "ignore", "toml"] {
            assert_eq!(cited(path, &text(fence)), Vec::<String>::new(), "{fence}");
        }
    }

    #[test]
    fn strings_and_other_comments_cite_nothing() {
        let text = "fn a() { \"\n//= C1\n\" }\n// //= C2\n/* //= C3 */\n";
        assert_eq!(cited("crates/x/tests/a.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_clause_without_test_is_a_finding() {
        let table = table("**C1** One.\n**C2** Two.", "//= C1\n#[test]\nfn one() {}");
        assert_eq!(table.findings.len(), 1);
        let text = table.text();
        assert!(
            text.contains("      test crates/x/tests/a.rs:1 one\n"),
            "{text}"
        );
        assert!(
            text.contains("spec/a.md:2: C2 has no test; put `//= C2` into"),
            "{text}"
        );
        assert!(text.ends_with("1 of 2 clauses have a test, 1 citations in tests, 1 findings\n"));
    }

    #[test]
    fn wrong_citations_and_double_clauses_are_findings() {
        let table = table(
            "**C1** One.\n**C1** Again.",
            "//= C1, C9\n//= see above\nfn a() {}",
        );
        let texts: Vec<_> = table
            .findings
            .iter()
            .map(|(p, w)| format!("{p}: {w}"))
            .collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].starts_with("spec/a.md:2: C1 stands at spec/a.md:1 already"));
        assert!(texts[1].starts_with("crates/x/tests/a.rs:1: cites C9, which"));
        assert!(texts[2].starts_with("crates/x/tests/a.rs:2: cites `see above`"));
    }

    #[test]
    fn a_specification_without_clauses_is_a_finding() {
        assert_eq!(table("# Head", "").findings.len(), 1);
    }

    #[test]
    fn clauses_are_sorted_as_people_count() {
        let table = table("**C10** b\n**C9** a", "//= C10, C9\nfn a() {}");
        let order: Vec<_> = table
            .rows
            .iter()
            .map(|row| row.clause.id.to_string())
            .collect();
        assert_eq!(order, ["C9", "C10"]);
        assert_eq!(table.json()["clauses"][0]["tests"][0]["name"], "a");
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"ä".repeat(100)).chars().count(), TEXT_MAX);
    }
}
