//! Figures, goals and verdicts as words: the same ones in every format for people.

use crate::case::{Case, Goal, Unit};
use crate::results::{Absent, Row, Run, Verdict};

/// A figure with three significant digits and a unit that suits it.
pub(super) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds if value.abs() < 999.5 => format!("{} ns", digits(value)),
        Unit::Nanoseconds if value.abs() < 999.5e3 => format!("{} µs", digits(value / 1e3)),
        Unit::Nanoseconds if value.abs() < 999.5e6 => format!("{} ms", digits(value / 1e6)),
        Unit::Nanoseconds => format!("{} s", digits(value / 1e9)),
        Unit::Bytes => format!("{} B", digits(value)),
        Unit::Instructions | Unit::Count => digits(value),
    }
}

/// Three significant digits, never in scientific notation.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() < 0.0005 {
        return "<0.001".to_owned();
    }
    let before_point = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(3 - before_point).unwrap_or(0).min(3);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A ratio; of one that is nearly 1 the digits that say by how much it is not.
pub(super) fn ratio(value: f64) -> String {
    if (0.9..1.1).contains(&value) {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    digits(value)
}

pub(super) fn goal(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::Ratio { to, at_most } => format!("≤ {at_most} × {to}"),
        Goal::AtMost(limit) => format!("≤ {}", value(limit, unit)),
    }
}

/// Each goal of a row with what became of it.
pub(super) fn judged(row: &Row<'_>, unit: Unit, verdict_as: impl Fn(&str) -> String) -> String {
    let goals = row.goals.iter().map(|(one, found)| {
        let word = verdict_as(&verdict(found));
        format!("{}: {word}", goal(*one, unit))
    });
    goals.collect::<Vec<String>>().join("; ")
}

pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Met => "met".to_owned(),
        Verdict::Missed => "missed".to_owned(),
        Verdict::MetBarely => "met, but the rounds disagree".to_owned(),
        Verdict::MissedBarely => "missed, but the rounds disagree".to_owned(),
        Verdict::Open(why) => format!("open: {why}"),
    }
}

/// The part of a row behind its figures: what it allocates, or why it has no figures.
pub(super) fn remarks(row: &Row<'_>) -> String {
    let asides = row.asides.iter().map(|(metric, figure)| match metric.unit {
        Unit::Bytes | Unit::Nanoseconds => {
            format!("{} {}", value(*figure, metric.unit), metric.label)
        }
        _ => format!("{} {}", digits(*figure), metric.label),
    });
    let absent = row.absent.map(|absent| match absent {
        Absent::Skipped(why) => format!("not run: {why}"),
        Absent::Failed(why) if row.summary.is_some() => format!("a round failed: {why}"),
        Absent::Failed(why) => format!("failed: {why}"),
    });
    asides.chain(absent).collect::<Vec<String>>().join(", ")
}

/// A case's title, with the size that was run where a quick run shrank it.
pub(super) fn title(case: &Case, size: usize) -> String {
    if size == case.size {
        case.title.to_owned()
    } else {
        format!("{} (quick run: {size} of {})", case.title, case.size)
    }
}

/// What a reader must know before the figures.
pub(super) fn caveats(run: &Run) -> Vec<String> {
    let mut caveats = Vec::new();
    if run.quick {
        caveats.push(
            "Quick run: fewer rounds and smaller sizes; the verdicts are indications.".to_owned(),
        );
    }
    if run.machine.is_busy() {
        caveats.push(
            "The machine was busy when the run began; trust the ratios more than the times."
                .to_owned(),
        );
    }
    caveats
}

/// How many goals were met, missed and left open.
pub(super) fn tally(run: &Run) -> Option<String> {
    let verdicts = run.verdicts();
    if verdicts.is_empty() {
        return None;
    }
    let count = |wanted: fn(&Verdict) -> bool| {
        verdicts
            .iter()
            .filter(|(.., verdict)| wanted(verdict))
            .count()
    };
    let met = count(|verdict| matches!(verdict, Verdict::Met | Verdict::MetBarely));
    let missed = count(|verdict| matches!(verdict, Verdict::Missed | Verdict::MissedBarely));
    Some(format!(
        "{met} goals met, {missed} missed, {} open",
        verdicts.len() - met - missed
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_fitting_unit() {
        let table = [
            (0.0, Unit::Nanoseconds, "0 ns"),
            (0.55, Unit::Nanoseconds, "0.55 ns"),
            (4.412, Unit::Nanoseconds, "4.41 ns"),
            (999.6, Unit::Nanoseconds, "1 µs"),
            (50_040.0, Unit::Nanoseconds, "50 µs"),
            (22_849_000.0, Unit::Nanoseconds, "22.8 ms"),
            (3.2e9, Unit::Nanoseconds, "3.2 s"),
            (648.0, Unit::Bytes, "648 B"),
            (2_886.4, Unit::Bytes, "2886 B"),
            (0.012_34, Unit::Count, "0.012"),
            (0.000_02, Unit::Count, "<0.001"),
            (1.0, Unit::Count, "1"),
            (12_345.6, Unit::Instructions, "12346"),
        ];
        for (figure, unit, expected) in table {
            assert_eq!(value(figure, unit), expected);
        }
    }

    #[test]
    fn a_ratio_of_nearly_one_says_by_how_much_it_is_not() {
        let table = [
            (1.0, "1"),
            (1.0049, "1.005"),
            (0.9961, "0.996"),
            (1.1234, "1.12"),
            (12.34, "12.3"),
            (-0.2, "-0.2"),
        ];
        for (value, expected) in table {
            assert_eq!(ratio(value), expected);
        }
    }

    #[test]
    fn goals_name_their_peer_or_their_unit() {
        assert_eq!(
            goal(
                Goal::Ratio {
                    to: "go",
                    at_most: 0.25
                },
                Unit::Nanoseconds
            ),
            "≤ 0.25 × go"
        );
        let (to, at_most) = ("untraced", 1.005);
        let close = Goal::Ratio { to, at_most };
        assert_eq!(goal(close, Unit::Nanoseconds), "≤ 1.005 × untraced");
        assert_eq!(goal(Goal::AtMost(1_000.0), Unit::Nanoseconds), "≤ 1 µs");
    }
}
