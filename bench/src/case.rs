//! The words of the tables: a case has metrics, goals and contenders; a contender gives readings.

use crate::plan::Plan;

pub(crate) const RIPCORD: &str = "ripcord";
pub(crate) const TOKIO_UTIL: &str = "tokio-util";
pub(crate) const TOKIO: &str = "tokio";
pub(crate) const WAKERS: &str = "wakers";
pub(crate) const GO: &str = "go";
/// Go again, below one parent that can be cancelled instead of below `context.Background()`.
pub(crate) const GO_PARENT: &str = "go-parent";
pub(crate) const OTEL: &str = "otel";
pub(crate) const AXUM: &str = "axum";
pub(crate) const HYPER: &str = "hyper";
pub(crate) const DIAL9: &str = "dial9";
pub(crate) const TOKIO_METRICS: &str = "tokio-metrics";
/// Nothing but the outgoing header map that all contenders begin with.
pub(crate) const MAP: &str = "map";

/// One workload that several contenders run.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How many things it is done to; 0 where that means nothing.
    pub(crate) size: usize,
    pub(crate) kind: Kind,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) contenders: Vec<Contender>,
    /// Whether what it needs of the machine is there; why not.
    pub(crate) needs: Option<fn() -> Result<(), String>>,
}

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One operation repeated on one thread: also countable in instructions.
    Micro,
    /// One operation repeated on two threads at once.
    TwoThreads,
    /// A whole scene on a runtime with two workers, which takes seconds at most.
    Scene,
    /// The same with requests of another process: also countable in instructions per request.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "servers are measured on Linux only")
    )]
    Served,
    /// A scene with so many parts that it takes seconds, and memory.
    Heavy,
}

/// One quantity that a case measures.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: Unit,
    /// None, one, or several that have to be met each.
    pub(crate) goals: Vec<Goal>,
    /// Shown behind the main figure instead of in rows of its own.
    pub(crate) aside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    Count,
    Instructions,
}

/// What ripcord's median has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At most this part of what the named contender needs.
    Ratio { to: &'static str, at_most: f64 },
    /// At most this much, in the metric's unit.
    AtMost(f64),
}

/// One way to do a case's work.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A function of this program, run in a process of its own.
    Rust(fn(&Plan) -> Readings),
    /// Nothing: this build has no such contender, for this reason.
    Missing(&'static str),
    /// The Go program, which knows the case by its id and the contender by its name.
    Go,
}

/// The figures of one sample, by metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Readings(Vec<(String, f64)>);

impl Case {
    pub(crate) fn new(kind: Kind, id: &'static str, title: &'static str) -> Case {
        Case {
            id,
            title,
            size: 0,
            kind,
            metrics: Vec::new(),
            contenders: Vec::new(),
            needs: None,
        }
    }

    /// A case whose metrics are the time, the allocations and the bytes of one operation.
    pub(crate) fn micro(
        id: &'static str,
        title: &'static str,
        goals: impl IntoIterator<Item = Goal>,
    ) -> Case {
        Case::new(Kind::Micro, id, title)
            .metric("time", "time", Unit::Nanoseconds, goals)
            .aside("allocs", "allocs", Unit::Count)
            .aside("bytes", "allocated", Unit::Bytes)
    }

    /// A case whose metric is the time of one operation while another thread does the same.
    pub(crate) fn two_threads(id: &'static str, title: &'static str, goal: Option<Goal>) -> Case {
        Case::new(Kind::TwoThreads, id, title).metric("time", "time", Unit::Nanoseconds, goal)
    }

    pub(crate) fn size(mut self, size: usize) -> Case {
        self.size = size;
        self
    }

    /// Skips the case where `needed` says that something is missing.
    pub(crate) fn needs(mut self, needed: fn() -> Result<(), String>) -> Case {
        self.needs = Some(needed);
        self
    }

    pub(crate) fn metric(
        mut self,
        id: &'static str,
        label: &'static str,
        unit: Unit,
        goals: impl IntoIterator<Item = Goal>,
    ) -> Case {
        self.metrics.push(Metric {
            id,
            label,
            unit,
            goals: goals.into_iter().collect(),
            aside: false,
        });
        self
    }

    pub(crate) fn aside(mut self, id: &'static str, label: &'static str, unit: Unit) -> Case {
        self.metrics.push(Metric {
            id,
            label,
            unit,
            goals: Vec::new(),
            aside: true,
        });
        self
    }

    pub(crate) fn rust(mut self, name: &'static str, run: fn(&Plan) -> Readings) -> Case {
        self.contenders.push(Contender {
            name,
            program: Program::Rust(run),
        });
        self
    }

    /// Names a contender that this build has not.
    #[cfg_attr(ripcord_dial9, expect(dead_code, reason = "this build has them all"))]
    pub(crate) fn without(mut self, name: &'static str, why: &'static str) -> Case {
        self.contenders.push(Contender {
            name,
            program: Program::Missing(why),
        });
        self
    }

    pub(crate) fn go(mut self, name: &'static str) -> Case {
        self.contenders.push(Contender {
            name,
            program: Program::Go,
        });
        self
    }

    /// The size that is run: a quick run does large cases a tenth as large.
    pub(crate) fn size_for(&self, quick: bool) -> usize {
        if quick && self.size > 10_000 {
            self.size / 10
        } else {
            self.size
        }
    }

    pub(crate) fn has(&self, contender: &str) -> bool {
        self.contenders.iter().any(|one| one.name == contender)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "cases take a goal or `None`")]
impl Goal {
    pub(crate) const fn of_tokio_util(at_most: f64) -> Option<Goal> {
        Goal::of(TOKIO_UTIL, at_most)
    }

    pub(crate) const fn of_go(at_most: f64) -> Option<Goal> {
        Goal::of(GO, at_most)
    }

    pub(crate) const fn of(to: &'static str, at_most: f64) -> Option<Goal> {
        Some(Goal::Ratio { to, at_most })
    }

    pub(crate) const fn at_most(limit: f64) -> Option<Goal> {
        Some(Goal::AtMost(limit))
    }
}

impl Readings {
    pub(crate) fn new() -> Readings {
        Readings::default()
    }

    pub(crate) fn with(mut self, metric: &str, value: f64) -> Readings {
        self.0.push((metric.to_owned(), value));
        self
    }

    /// Each figure times `factor`.
    pub(crate) fn scaled(mut self, factor: f64) -> Readings {
        for (_, value) in &mut self.0 {
            *value *= factor;
        }
        self
    }

    pub(crate) fn get(&self, metric: &str) -> Option<f64> {
        self.0
            .iter()
            .find(|(id, _)| id == metric)
            .map(|(_, value)| *value)
    }

    /// Reads the lines `metric value` that a sample prints.
    pub(crate) fn parse(text: &str) -> Result<Readings, String> {
        let mut readings = Readings::new();
        for line in text.lines() {
            let parsed = line
                .split_once(' ')
                .and_then(|(id, value)| Some((id, value.parse::<f64>().ok()?)));
            match parsed {
                Some((id, value)) if value.is_finite() => readings = readings.with(id, value),
                _ => return Err(format!("expected `metric number`, got `{line}`")),
            }
        }
        Ok(readings)
    }
}

impl std::fmt::Display for Readings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|(metric, value)| writeln!(f, "{metric} {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_survive_the_trip_through_text() {
        let readings = Readings::new().with("time", 1.25).with("allocs", 0.0);
        assert_eq!(Readings::parse(&readings.to_string()), Ok(readings));
    }

    #[test]
    fn readings_refuse_what_is_not_a_finite_number() {
        for line in ["time", "time x", "time NaN", "time inf"] {
            assert!(Readings::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_quick_run_shrinks_large_cases_only() {
        let sized = |size| Case::new(Kind::Scene, "x", "x").size(size).size_for(true);
        assert_eq!((sized(1_000), sized(1_000_000)), (1_000, 100_000));
    }
}
