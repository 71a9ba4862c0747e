//! What can be measured: ripcord's core, HTTP, or recording. Each has cases, peers and a table of its own.

use crate::case::Case;
use crate::{http, trace, work};

/// The word after `bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Contexts, deadlines and cancellation within one process.
    Core,
    /// Propagation through headers, and serving under a context.
    Http,
    /// Recording what tasks and contexts do, and reading that.
    Trace,
}

impl Subject {
    pub(crate) const ALL: [Subject; 3] = [Subject::Core, Subject::Http, Subject::Trace];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Subject::Core => "core",
            Subject::Http => "http",
            Subject::Trace => "trace",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Subject> {
        Subject::ALL
            .into_iter()
            .find(|subject| subject.word() == word)
    }

    /// Every case, in the order of the tables.
    pub(crate) fn catalogue(self) -> Vec<Case> {
        match self {
            Subject::Core => work::catalogue(),
            Subject::Http => http::catalogue(),
            Subject::Trace => trace::catalogue(),
        }
    }

    /// The crates beside which ripcord stands, with their versions.
    pub(crate) fn peers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Subject::Core => &[
                ("tokio-util", env!("RIPCORD_BENCH_TOKIO_UTIL")),
                ("tokio", env!("RIPCORD_BENCH_TOKIO")),
            ],
            Subject::Http => &[
                ("opentelemetry", env!("RIPCORD_BENCH_OPENTELEMETRY")),
                ("opentelemetry_sdk", env!("RIPCORD_BENCH_OPENTELEMETRY_SDK")),
                (
                    "opentelemetry-http",
                    env!("RIPCORD_BENCH_OPENTELEMETRY_HTTP"),
                ),
                ("axum", env!("RIPCORD_BENCH_AXUM")),
                ("hyper", env!("RIPCORD_BENCH_HYPER")),
                ("hyper-util", env!("RIPCORD_BENCH_HYPER_UTIL")),
                ("tokio", env!("RIPCORD_BENCH_TOKIO")),
            ],
            Subject::Trace => &[
                (
                    "dial9-tokio-telemetry",
                    env!("RIPCORD_BENCH_DIAL9_TOKIO_TELEMETRY"),
                ),
                ("tokio-metrics", env!("RIPCORD_BENCH_TOKIO_METRICS")),
                ("zstd", env!("RIPCORD_BENCH_ZSTD")),
                ("hyper", env!("RIPCORD_BENCH_HYPER")),
                ("hyper-util", env!("RIPCORD_BENCH_HYPER_UTIL")),
                ("tokio", env!("RIPCORD_BENCH_TOKIO")),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Goal, RIPCORD};

    #[test]
    fn ids_are_unique_and_goals_have_somebody_to_compare_with() {
        for subject in Subject::ALL {
            let cases = subject.catalogue();
            for (index, case) in cases.iter().enumerate() {
                let mut others = cases.iter().skip(index + 1);
                assert!(others.all(|other| other.id != case.id), "{}", case.id);
                for metric in &case.metrics {
                    for goal in &metric.goals {
                        if let Goal::Ratio { to, .. } = goal {
                            assert!(case.has(to), "{} has no {to}", case.id);
                        }
                    }
                    let judged = metric.goals.is_empty() || case.has(RIPCORD);
                    assert!(judged, "{}", case.id);
                }
            }
        }
    }

    #[test]
    fn contenders_and_metrics_of_a_case_are_told_apart_by_their_names() {
        for case in Subject::ALL.into_iter().flat_map(Subject::catalogue) {
            let names: Vec<&str> = case.contenders.iter().map(|one| one.name).collect();
            let metrics: Vec<&str> = case.metrics.iter().map(|one| one.id).collect();
            for words in [names, metrics] {
                for (index, word) in words.iter().enumerate() {
                    assert!(!words[index + 1..].contains(word), "{}: {word}", case.id);
                }
            }
        }
    }

    #[test]
    fn a_word_finds_its_subject() {
        for subject in Subject::ALL {
            assert_eq!(Subject::parse(subject.word()), Some(subject));
        }
        assert_eq!(Subject::parse("score"), None);
    }
}
