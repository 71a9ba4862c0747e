//! `cargo xtask layers`: fails, with the reason, for an import that the rings do not allow.
//!
//! *Rules*: (1) every workspace member is in the table, in its folder; (2) an import points to a
//! lower ring, or is a written same-ring edge; (3) nobody below imports ring 4, nor does anybody
//! beside without a written reason, and nobody at all imports the examples, the benchmarks or xtask;
//! (4) ring 0 has no third-party dependency, except behind a private `cfg(ripcord_…)`; (5) tokio is
//! named by ripcord-tokio and from ring 3 on; (6) the test kit is a dev-dependency. Development
//! dependencies on third-party crates are free: tests may use anything.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::out::{Failure, Format, Sink, Verdict, columns};
use crate::rings::{MEMBERS, Member, NAMES_TOKIO, Ring, SAME_RING, TEST_KIT, USES_TOOLS};
use crate::workspace;

/// A workspace package as cargo tells it.
#[derive(Debug, Default)]
struct Package {
    name: String,
    folder: String,
    edges: Vec<Edge>,
}

/// One dependency of a package.
#[derive(Debug)]
struct Edge {
    to: String,
    kind: Kind,
    /// `cfg(…)` or a target triple, if the dependency is limited to it.
    target: Option<String>,
    /// The dependency is another member of this workspace.
    inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// The table that packages are compared with.
struct Table<'a> {
    members: &'a [Member],
    same_ring: &'a [(&'a str, &'a str, &'a str)],
}

/// One edge or member that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// `crate` or `crate -> crate`.
    what: String,
    why: String,
}

/// Runs the command.
///
/// # Errors
/// When cargo's metadata cannot be read.
pub(crate) fn run(root: &Path, format: Format, sink: Sink) -> Result<Verdict, Failure> {
    let packages = packages(&workspace::metadata(root)?)?;
    let table = Table {
        members: MEMBERS,
        same_ring: SAME_RING,
    };
    let findings = check(&packages, &table);
    sink.line(match format {
        Format::Text => text(&packages, &findings, &table).trim_end().to_owned(),
        Format::Json => report(&packages, &findings, &table).to_string(),
    });
    Ok(Verdict::of(findings.len()))
}

fn packages(metadata: &Value) -> Result<Vec<Package>, Failure> {
    let missing = |what: &str| Failure::Broken(format!("cargo metadata has no `{what}`"));
    let string = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let root = string(metadata, "workspace_root").ok_or_else(|| missing("workspace_root"))?;
    let list = metadata["packages"]
        .as_array()
        .ok_or_else(|| missing("packages"))?;
    let names: Vec<_> = list.iter().filter_map(|p| string(p, "name")).collect();
    let mut packages = Vec::new();
    for package in list {
        let manifest = string(package, "manifest_path").ok_or_else(|| missing("manifest_path"))?;
        let edges = package["dependencies"]
            .as_array()
            .ok_or_else(|| missing("dependencies"))?;
        packages.push(Package {
            name: string(package, "name").ok_or_else(|| missing("name"))?,
            folder: folder_of(&manifest, &root),
            edges: edges.iter().map(|edge| edge_of(edge, &names)).collect(),
        });
    }
    Ok(packages)
}

fn edge_of(edge: &Value, names: &[String]) -> Edge {
    let to = edge["name"].as_str().unwrap_or_default().to_owned();
    Edge {
        inside: names.contains(&to) && edge["path"].is_string(),
        kind: match edge["kind"].as_str() {
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        },
        target: edge["target"].as_str().map(str::to_owned),
        to,
    }
}

/// The manifest's folder from the workspace root, with forward slashes.
fn folder_of(manifest: &str, root: &str) -> String {
    let folder = Path::new(manifest).parent().unwrap_or(Path::new(""));
    let relative = folder.strip_prefix(root).unwrap_or(folder);
    relative.to_string_lossy().replace('\\', "/")
}

fn check(packages: &[Package], table: &Table<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        match table.find(&package.name) {
            None => findings.push(Finding {
                what: package.name.clone(),
                why: "is not in the table of rings; add a line to xtask/src/rings.rs".into(),
            }),
            Some(member) => check_member(package, member, table, &mut findings),
        }
    }
    for member in table.members {
        if !packages.iter().any(|package| package.name == member.name) {
            findings.push(Finding {
                what: member.name.into(),
                why: "is in the table of rings, but not in the workspace; remove the line from \
                      xtask/src/rings.rs"
                    .into(),
            });
        }
    }
    for (from, to, _) in table.same_ring {
        let used = |p: &Package| p.name == *from && p.edges.iter().any(|edge| edge.to == *to);
        if !packages.iter().any(used) {
            findings.push(Finding {
                what: format!("{from} -> {to}"),
                why: "is a written same-ring edge that nobody uses; remove it from \
                      xtask/src/rings.rs"
                    .into(),
            });
        }
    }
    findings
}

fn check_member(package: &Package, member: &Member, table: &Table<'_>, out: &mut Vec<Finding>) {
    if package.folder != member.folder {
        out.push(Finding {
            what: package.name.clone(),
            why: format!(
                "lives in `{}`; the table of rings says `{}`",
                package.folder, member.folder
            ),
        });
    }
    for edge in &package.edges {
        let broken = if edge.inside {
            inside_rule(member, edge, table)
        } else {
            outside_rule(member, edge)
        };
        if let Some(why) = broken {
            out.push(Finding {
                what: format!("{} -> {}", package.name, edge.to),
                why,
            });
        }
    }
}

/// Why an edge to another member is not allowed.
fn inside_rule(from: &Member, edge: &Edge, table: &Table<'_>) -> Option<String> {
    let Some(to) = table.find(&edge.to) else {
        // The missing member has its own finding.
        return None;
    };
    if to.name == TEST_KIT {
        let why = "the test kit is for tests: make it a dev-dependency and use it from tests/";
        return (edge.kind != Kind::Dev).then(|| why.to_owned());
    }
    let mut users = USES_TOOLS.iter();
    if users.any(|(a, b, _)| *a == from.name && *b == to.name) {
        return None;
    }
    if to.ring == Ring::Tools && from.ring != Ring::Tools {
        return Some(
            "nobody imports ring 4 but itself: move what is shared to a lower ring".into(),
        );
    }
    if to.ring == Ring::Beside {
        return Some(format!(
            "`{}` stands beside the rings and is imported by nobody",
            to.name
        ));
    }
    if from.ring == to.ring {
        let mut written = table.same_ring.iter();
        return (!written.any(|(a, b, _)| *a == from.name && *b == to.name)).then(|| {
            format!(
                "both are in {}; move what is shared to a lower ring, or write the edge with its \
                 reason into xtask/src/rings.rs",
                from.ring
            )
        });
    }
    (from.ring < to.ring).then(|| {
        format!(
            "{} may not import {}: dependencies point inwards",
            from.ring, to.ring
        )
    })
}

/// Why an edge to a third-party crate is not allowed.
fn outside_rule(from: &Member, edge: &Edge) -> Option<String> {
    if edge.kind == Kind::Dev {
        return None;
    }
    let private = edge
        .target
        .as_deref()
        .is_some_and(|target| target.starts_with("cfg(ripcord_"));
    if from.ring == Ring::Values && !private {
        return Some(
            "ring 0 stands alone: no third-party dependency, except under a private cfg(ripcord_…)"
                .into(),
        );
    }
    let is_tokio = edge.to == "tokio" || edge.to.starts_with("tokio-");
    let may = from.ring >= Ring::Door || NAMES_TOKIO.contains(&from.name);
    (is_tokio && !may)
        .then(|| "only ripcord-tokio and the rings from 3 on may name tokio: go through Ctx".into())
}

impl Table<'_> {
    fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Names that `package` imports from this workspace, outside its tests.
    fn imports<'p>(package: &'p Package) -> Vec<&'p str> {
        let mut names: Vec<&'p str> = package
            .edges
            .iter()
            .filter(|edge| edge.inside && edge.kind != Kind::Dev)
            .map(|edge| edge.to.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn text(packages: &[Package], findings: &[Finding], table: &Table<'_>) -> String {
    let mut rows = Vec::new();
    for member in table.members {
        if let Some(package) = packages.iter().find(|p| p.name == member.name) {
            let imports = Table::imports(package);
            rows.push(vec![
                member.ring.to_string(),
                member.name.to_owned(),
                match imports.as_slice() {
                    [] => "imports nothing of ours".to_owned(),
                    some => format!("-> {}", some.join(", ")),
                },
            ]);
        }
    }
    let mut text = columns(&rows);
    for finding in findings {
        let _ = writeln!(text, "{}: {}", finding.what, finding.why);
    }
    let _ = writeln!(
        text,
        "layers: {} members, {} findings",
        packages.len(),
        findings.len()
    );
    text
}

/// Schema: `{members: [{name, ring, imports: [name]}], findings: [{what, why}]}`.
fn report(packages: &[Package], findings: &[Finding], table: &Table<'_>) -> Value {
    let members: Vec<_> = packages
        .iter()
        .map(|package| {
            json!({
                "name": package.name,
                "ring": table.find(&package.name).map(|member| member.ring.to_string()),
                "imports": Table::imports(package),
            })
        })
        .collect();
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| json!({"what": finding.what, "why": finding.why}))
        .collect();
    json!({"members": members, "findings": findings})
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Member] = &[
        member("core", Ring::Values),
        member("map", Ring::Values),
        member("ripcord-tokio", Ring::Runtime),
        member("http", Ring::Protocol),
        member("grpc", Ring::Protocol),
        member("door", Ring::Door),
        member("cli", Ring::Tools),
        member("ripcord-test", Ring::Beside),
        member("bench", Ring::Beside),
    ];

    const fn member(name: &'static str, ring: Ring) -> Member {
        Member {
            name,
            ring,
            folder: name,
        }
    }

    /// A workspace of the table's members, of which `from` has one edge, as `kind:name@target`.
    fn findings(from: &str, edge: &str) -> Vec<String> {
        let (kind, rest) = edge.split_once(':').unwrap();
        let (to, target) = match rest.split_once('@') {
            Some((to, target)) => (to, Some(target.to_owned())),
            None => (rest, None),
        };
        let edge = Edge {
            to: to.into(),
            kind: match kind {
                "dev" => Kind::Dev,
                "build" => Kind::Build,
                _ => Kind::Normal,
            },
            target,
            inside: TABLE.iter().any(|m| m.name == to),
        };
        let mut packages: Vec<_> = TABLE.iter().map(|m| package(m.name)).collect();
        let package = packages.iter_mut().find(|p| p.name == from).unwrap();
        package.edges.push(edge);
        run_check(&packages, &[])
    }

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            folder: name.into(),
            edges: Vec::new(),
        }
    }

    fn run_check(packages: &[Package], same_ring: &[(&str, &str, &str)]) -> Vec<String> {
        let table = Table {
            members: TABLE,
            same_ring,
        };
        let found = check(packages, &table);
        found
            .iter()
            .map(|f| format!("{}: {}", f.what, f.why))
            .collect()
    }

    #[test]
    fn allowed_edges_pass() {
        for (from, edge) in [
            ("ripcord-tokio", "normal:core"),
            ("ripcord-tokio", "normal:tokio"),
            ("http", "normal:ripcord-tokio"),
            ("http", "normal:hyper"),
            ("door", "normal:http"),
            ("door", "normal:tokio"),
            ("cli", "normal:door"),
            ("bench", "normal:tokio-util"),
            ("core", "dev:ripcord-test"),
            ("core", "dev:proptest"),
            ("core", "normal:loom@cfg(ripcord_loom)"),
            ("ripcord-test", "normal:core"),
        ] {
            assert_eq!(findings(from, edge), Vec::<String>::new(), "{from} {edge}");
        }
    }

    #[test]
    fn forbidden_edges_fail_with_the_reason() {
        for (from, edge, reason) in [
            (
                "core",
                "normal:ripcord-tokio",
                "ring 0 may not import ring 1",
            ),
            ("core", "dev:ripcord-tokio", "ring 0 may not import ring 1"),
            ("core", "normal:map", "both are in ring 0"),
            ("http", "normal:grpc", "both are in ring 2"),
            ("core", "normal:slab", "ring 0 stands alone"),
            ("core", "build:cc", "ring 0 stands alone"),
            ("core", "normal:loom@cfg(loom)", "ring 0 stands alone"),
            ("http", "normal:tokio", "may name tokio"),
            ("http", "normal:tokio-util", "may name tokio"),
            ("door", "normal:cli", "nobody imports ring 4 but itself"),
            ("bench", "normal:cli", "nobody imports ring 4 but itself"),
            ("door", "normal:bench", "stands beside the rings"),
            ("door", "normal:ripcord-test", "make it a dev-dependency"),
        ] {
            let found = findings(from, edge);
            assert_eq!(found.len(), 1, "{from} {edge}: {found:?}");
            assert!(found[0].contains(reason), "{from} {edge}: {found:?}");
        }
    }

    #[test]
    fn a_written_same_ring_edge_is_allowed_and_must_be_used() {
        let edges: &[(&str, &str, &str)] = &[("grpc", "http", "shares the server layer")];
        let mut packages: Vec<_> = TABLE.iter().map(|m| package(m.name)).collect();
        assert!(run_check(&packages, edges)[0].contains("nobody uses"));
        packages[4].edges.push(Edge {
            to: "http".into(),
            kind: Kind::Normal,
            target: None,
            inside: true,
        });
        assert!(run_check(&packages, edges).is_empty());
    }

    #[test]
    fn table_and_workspace_must_agree() {
        let mut packages: Vec<_> = TABLE.iter().map(|m| package(m.name)).collect();
        packages[0].folder = "elsewhere".into();
        packages[1].name = "stranger".into();
        let found = run_check(&packages, &[]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("lives in `elsewhere`"));
        assert!(found[1].contains("stranger: is not in the table"));
        assert!(found[2].contains("map: is in the table of rings, but not in the workspace"));
    }

    #[test]
    fn metadata_is_read() {
        let metadata = json!({"workspace_root": "/w", "packages": [
            {"name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "dependencies": [
                {"name": "b", "path": "/w/b", "kind": null, "target": null},
                {"name": "c", "kind": "dev", "target": "cfg(x)"},
            ]},
            {"name": "b", "manifest_path": "/w/b/Cargo.toml", "dependencies": []},
        ]});
        let packages = packages(&metadata).unwrap();
        assert_eq!(packages[0].folder, "crates/a");
        assert!(packages[0].edges[0].inside);
        assert_eq!(packages[0].edges[1].kind, Kind::Dev);
        assert_eq!(packages[0].edges[1].target.as_deref(), Some("cfg(x)"));
        assert!(super::packages(&json!({})).is_err());
    }
}
