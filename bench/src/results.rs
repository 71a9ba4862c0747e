//! What a run found, before anybody formats it: summaries, ratios and verdicts.

use crate::case::{
    AXUM, Case, DIAL9, GO, Goal, HYPER, Metric, OTEL, RIPCORD, Readings, TOKIO, TOKIO_UTIL,
};
use crate::machine::Machine;
use crate::stats::Summary;
use crate::subject::Subject;

/// A whole run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) subject: Subject,
    pub(crate) machine: Machine,
    pub(crate) seed: u64,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) cases: Vec<CaseResult>,
}

#[derive(Debug)]
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    pub(crate) size: usize,
    /// In the order of the case's contenders.
    pub(crate) contenders: Vec<ContenderResult>,
}

#[derive(Debug)]
pub(crate) struct ContenderResult {
    pub(crate) name: &'static str,
    /// One entry per round, so that the rounds of two contenders can be compared.
    pub(crate) rounds: Vec<Option<Readings>>,
    pub(crate) absent: Option<Absent>,
}

/// Why a contender has no figures, or not all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Absent {
    /// It was not asked to take part, or could not.
    Skipped(String),
    /// It was, and something went wrong.
    Failed(String),
}

/// One line of a table: one metric of one contender.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) contender: &'static str,
    pub(crate) summary: Option<Summary>,
    pub(crate) ratio: Option<Ratio>,
    pub(crate) asides: Vec<(&'a Metric, f64)>,
    pub(crate) goals: Vec<(Goal, Verdict)>,
    pub(crate) absent: Option<&'a Absent>,
}

/// A median beside another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) to: &'static str,
    pub(crate) of_medians: f64,
    /// Of the ratios within each round, which a drift of the machine does not touch.
    pub(crate) rounds: Summary,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The median says one thing, and a quarter or more of the rounds the other.
    MetBarely,
    MissedBarely,
    /// Somebody's figure is missing.
    Open(String),
}

impl Run {
    pub(crate) fn is_complete(&self) -> bool {
        let mut contenders = self.cases.iter().flat_map(|case| &case.contenders);
        contenders.all(|one| !matches!(one.absent, Some(Absent::Failed(_))))
    }

    /// Every goal of the run, with what became of it.
    pub(crate) fn verdicts(&self) -> Vec<(&CaseResult, &Metric, Goal, Verdict)> {
        let mut verdicts = Vec::new();
        for case in &self.cases {
            for metric in case.main_metrics() {
                for row in case.rows(metric) {
                    let goals = row.goals.into_iter();
                    verdicts.extend(goals.map(|(goal, verdict)| (case, metric, goal, verdict)));
                }
            }
        }
        verdicts
    }
}

impl CaseResult {
    pub(crate) fn main_metrics(&self) -> impl Iterator<Item = &Metric> {
        self.case.metrics.iter().filter(|metric| !metric.aside)
    }

    /// The lines of one metric, in the order of the contenders.
    pub(crate) fn rows<'a>(&'a self, metric: &'a Metric) -> Vec<Row<'a>> {
        let basis = self.basis(metric);
        let rows = self.contenders.iter().map(|contender| {
            let summary = contender.summary(metric.id);
            let ratio = basis.and_then(|basis| ratio(contender, basis, metric.id));
            let goals = metric.goals.iter().filter(|_| contender.name == RIPCORD);
            let goals = goals.map(|goal| (*goal, judge(*goal, summary, ratio)));
            let first = self
                .main_metrics()
                .next()
                .is_some_and(|first| first.id == metric.id);
            Row {
                contender: contender.name,
                summary,
                ratio,
                asides: if first {
                    self.asides(contender)
                } else {
                    Vec::new()
                },
                goals: goals.collect(),
                absent: contender.absent.as_ref(),
            }
        });
        // A metric that only some contenders know has no lines for the others.
        rows.filter(|row| row.summary.is_some() || row.absent.is_some())
            .collect()
    }

    /// Whom the others are compared with: the goal's peer, or else the closest relative.
    fn basis(&self, metric: &Metric) -> Option<&ContenderResult> {
        let goal = metric.goals.iter().find_map(|goal| match goal {
            Goal::Ratio { to, .. } => Some(*to),
            Goal::AtMost(_) => None,
        });
        let wanted = goal.map_or(RELATIVES.to_vec(), |to| vec![to]);
        wanted
            .iter()
            .find_map(|name| self.contenders.iter().find(|one| one.name == *name))
    }

    fn asides(&self, contender: &ContenderResult) -> Vec<(&Metric, f64)> {
        let asides = self.case.metrics.iter().filter(|metric| metric.aside);
        asides
            .filter_map(|metric| Some((metric, contender.summary(metric.id)?.median)))
            .collect()
    }
}

impl ContenderResult {
    fn summary(&self, metric: &str) -> Option<Summary> {
        let values: Vec<f64> = self
            .rounds
            .iter()
            .flatten()
            .filter_map(|round| round.get(metric))
            .collect();
        Summary::of(&values)
    }

    /// The figures of each round, for those who do their own statistics.
    pub(crate) fn values(&self, metric: &str) -> Vec<Option<f64>> {
        self.rounds
            .iter()
            .map(|round| round.as_ref()?.get(metric))
            .collect()
    }
}

fn ratio(one: &ContenderResult, basis: &ContenderResult, metric: &str) -> Option<Ratio> {
    let below = basis.summary(metric)?.median;
    // Nothing is a multiple of nothing.
    if below == 0.0 {
        return None;
    }
    let rounds = one.values(metric).into_iter().zip(basis.values(metric));
    let rounds: Vec<f64> = rounds
        .filter_map(|(one, basis)| Some(one? / basis?))
        .collect();
    let of_medians = one.summary(metric)?.median / below;
    Some(Ratio {
        to: basis.name,
        of_medians,
        rounds: Summary::of(&rounds)?,
    })
}

fn judge(goal: Goal, summary: Option<Summary>, ratio: Option<Ratio>) -> Verdict {
    let Some(summary) = summary else {
        return Verdict::Open("ripcord was not measured".to_owned());
    };
    let (limit, value, rounds) = match (goal, ratio) {
        (Goal::AtMost(limit), _) => (limit, summary.median, summary),
        (Goal::Ratio { at_most, .. }, Some(ratio)) => (at_most, ratio.of_medians, ratio.rounds),
        (Goal::Ratio { to, .. }, None) => return Verdict::Open(format!("{to} was not measured")),
    };
    match value <= limit {
        true if rounds.upper_quartile > limit => Verdict::MetBarely,
        true => Verdict::Met,
        false if rounds.lower_quartile <= limit => Verdict::MissedBarely,
        false => Verdict::Missed,
    }
}

/// With whom a metric is compared that has no goal: whoever of these takes part first.
const RELATIVES: [&str; 7] = [TOKIO_UTIL, GO, TOKIO, OTEL, AXUM, HYPER, DIAL9];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Kind;
    use crate::case::Unit;

    fn result(ours: &[f64], peer: &[f64], goal: Goal) -> CaseResult {
        let case =
            Case::new(Kind::Scene, "x", "x").metric("time", "time", Unit::Nanoseconds, Some(goal));
        let contender = |name, values: &[f64]| ContenderResult {
            name,
            rounds: values
                .iter()
                .map(|value| Some(Readings::new().with("time", *value)))
                .collect(),
            absent: values
                .is_empty()
                .then(|| Absent::Skipped("none".to_owned())),
        };
        CaseResult {
            case,
            size: 0,
            contenders: vec![contender(RIPCORD, ours), contender(TOKIO_UTIL, peer)],
        }
    }

    fn verdict(ours: &[f64], peer: &[f64], goal: Goal) -> Verdict {
        let result = result(ours, peer, goal);
        let metric = result.case.metrics.first().unwrap();
        let rows = result.rows(metric);
        let (_, verdict) = rows.first().unwrap().goals.first().unwrap();
        verdict.clone()
    }

    #[test]
    fn verdicts_follow_the_medians_and_say_when_the_rounds_disagree() {
        let half = Goal::Ratio {
            to: TOKIO_UTIL,
            at_most: 0.5,
        };
        let open = |why: &str| Verdict::Open(why.to_owned());
        let table: [(&[f64], &[f64], Goal, Verdict); 8] = [
            (&[1.0, 1.0, 1.0], &[2.0, 2.0, 2.0], half, Verdict::Met),
            (&[1.1, 1.1, 1.1], &[2.0, 2.0, 2.0], half, Verdict::Missed),
            (
                &[0.9, 0.9, 1.2, 1.2],
                &[2.0, 2.0, 2.2, 2.2],
                half,
                Verdict::MetBarely,
            ),
            (
                &[0.9, 0.9, 1.2, 1.2],
                &[2.0, 2.0, 2.0, 2.0],
                half,
                Verdict::MissedBarely,
            ),
            (&[1.0], &[], half, open("tokio-util was not measured")),
            (&[], &[1.0], half, open("ripcord was not measured")),
            (&[0.0], &[], Goal::AtMost(0.0), Verdict::Met),
            (&[65.0], &[120.0], Goal::AtMost(64.0), Verdict::Missed),
        ];
        for (ours, peer, goal, expected) in table {
            assert_eq!(
                verdict(ours, peer, goal),
                expected,
                "{ours:?} beside {peer:?}"
            );
        }
    }

    #[test]
    fn nothing_is_compared_with_zero() {
        let result = result(&[1.0], &[0.0], Goal::AtMost(2.0));
        let metric = result.case.metrics.first().unwrap();
        assert!(result.rows(metric).iter().all(|row| row.ratio.is_none()));
    }
}
