//! The table of rings: who may import whom. The only file to edit when a crate appears or moves.
//!
//! *Invariants*: (1) a crate imports lower rings only; (2) an edge inside a ring is listed in
//! [`SAME_RING`] with its reason. ARCHITECTURE.md shows the same picture to readers.
//!
//! *Read next*: `layers.rs`, which compares this table with `cargo metadata`.

use std::fmt;

/// A ring, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ring {
    /// Values and algorithms: no runtime, no I/O, no third-party code.
    Values,
    /// Bound to a runtime, to a recording or to a carrier of headers.
    Runtime,
    /// One protocol or system each.
    Protocol,
    /// The front door: re-exports.
    Door,
    /// Tools, imported by nobody below.
    Tools,
    /// Not part of what users build upon: test kit, examples, benchmarks, this program.
    Beside,
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Values => "ring 0",
            Self::Runtime => "ring 1",
            Self::Protocol => "ring 2",
            Self::Door => "ring 3",
            Self::Tools => "ring 4",
            Self::Beside => "beside",
        })
    }
}

/// A workspace member and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) ring: Ring,
    /// Folder from the workspace root.
    pub(crate) folder: &'static str,
}

const fn member(ring: Ring, name: &'static str, folder: &'static str) -> Member {
    Member { name, ring, folder }
}

/// Every member of the workspace, in the order of the root manifest.
pub(crate) const MEMBERS: &[Member] = &[
    member(Ring::Values, "ripcord-core", "crates/ripcord-core"),
    member(Ring::Values, "ripcord-wire", "crates/ripcord-wire"),
    member(
        Ring::Values,
        "ripcord-trace-format",
        "crates/ripcord-trace-format",
    ),
    member(Ring::Runtime, "ripcord-tokio", "crates/ripcord-tokio"),
    member(Ring::Runtime, "ripcord-smol", "crates/ripcord-smol"),
    member(
        Ring::Runtime,
        "ripcord-propagation",
        "crates/ripcord-propagation",
    ),
    member(Ring::Runtime, "ripcord-tracer", "crates/ripcord-tracer"),
    member(Ring::Protocol, "ripcord-http", "crates/ripcord-http"),
    member(Ring::Protocol, "ripcord-grpc", "crates/ripcord-grpc"),
    member(Ring::Protocol, "ripcord-otel", "crates/ripcord-otel"),
    member(Ring::Door, "ripcord-macros", "crates/ripcord-macros"),
    member(Ring::Door, "ripcord", "crates/ripcord"),
    member(Ring::Tools, "ripcord-analysis", "crates/ripcord-analysis"),
    member(Ring::Tools, "ripcord-cli", "crates/ripcord-cli"),
    member(Ring::Beside, "ripcord-test", "crates/ripcord-test"),
    member(Ring::Beside, "ripcord-examples", "examples"),
    member(Ring::Beside, "ripcord-bench", "bench"),
    member(Ring::Beside, "xtask", "xtask"),
];

/// Allowed edges inside a ring: from, to, why.
pub(crate) const SAME_RING: &[(&str, &str, &str)] = &[
    (
        "ripcord-tokio",
        "ripcord-tokio",
        "its own tests pause the clock, which is a feature of it",
    ),
    (
        "ripcord-http",
        "ripcord-http",
        "its own tests use the client that is a feature of it",
    ),
    (
        "ripcord-tracer",
        "ripcord-tracer",
        "its own tests run with every feature of it",
    ),
    (
        "ripcord-otel",
        "ripcord-otel",
        "its own tests run with every feature of it",
    ),
    (
        "ripcord",
        "ripcord-macros",
        "a macro has to be a crate of its own, and is used through the front door",
    ),
    (
        "ripcord-macros",
        "ripcord",
        "the examples of the macro are used through the front door",
    ),
    (
        "ripcord",
        "ripcord",
        "the pages of its guide are tests, and need every feature of it",
    ),
    (
        "ripcord-cli",
        "ripcord-analysis",
        "the command line is a face of the analysis, and reckons nothing itself",
    ),
];

/// Who beside the rings imports a library of ring 4: from, to, why. Nobody builds upon the importer.
pub(crate) const USES_TOOLS: &[(&str, &str, &str)] = &[(
    "ripcord-bench",
    "ripcord-analysis",
    "it measures how fast a large trace is explained, and in how much memory",
)];

/// The test kit: a dev-dependency of anybody, a normal dependency of nobody.
pub(crate) const TEST_KIT: &str = "ripcord-test";

/// Members below the front door may not name tokio, except these.
///
/// ripcord-http accepts sockets and runs hyper on them, which is bound to tokio in any case.
/// ripcord-otel gives the export of telemetry a runtime of its own (feature `otlp`): the exporters
/// of OpenTelemetry need one, and on that of the program a flush waits for itself.
pub(crate) const NAMES_TOKIO: &[&str] = &["ripcord-tokio", "ripcord-http", "ripcord-otel"];

/// Folders of the crates that users read: rings 0 to 3 and the test kit.
pub(crate) fn library_folders() -> impl Iterator<Item = &'static Member> {
    MEMBERS
        .iter()
        .filter(|m| m.ring <= Ring::Door || m.name == TEST_KIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_ring_order_and_once() {
        assert!(MEMBERS.is_sorted_by_key(|m| m.ring));
        for (index, one) in MEMBERS.iter().enumerate() {
            assert!(
                MEMBERS[index + 1..]
                    .iter()
                    .all(|other| other.name != one.name)
            );
        }
    }

    #[test]
    fn users_of_tools_stand_beside_the_rings() {
        let ring = |name: &str| MEMBERS.iter().find(|m| m.name == name).map(|m| m.ring);
        for (from, to, why) in USES_TOOLS {
            assert_eq!(ring(from), Some(Ring::Beside), "{from}");
            assert_eq!(ring(to), Some(Ring::Tools), "{to}");
            assert!(!why.is_empty(), "{from} {to}");
        }
    }

    #[test]
    fn same_ring_edges_name_two_members_of_one_ring() {
        let ring = |name: &str| MEMBERS.iter().find(|m| m.name == name).map(|m| m.ring);
        for (from, to, why) in SAME_RING {
            assert!(
                ring(from).is_some() && ring(from) == ring(to),
                "{from} {to}"
            );
            assert!(!why.is_empty(), "{from} {to}");
        }
    }
}
