//! The report for programs; `bench/README.md` has its schema.

use std::fmt::Write;

use crate::case::{Goal, Metric, Unit};
use crate::results::{Absent, CaseResult, ContenderResult, Ratio, Row, Run, Verdict};
use crate::stats::Summary;

pub(super) fn report(run: &Run) -> String {
    let machine = &run.machine;
    let versions = machine
        .versions
        .iter()
        .map(|(name, version)| (*name, Json::text(version)))
        .collect();
    let document = Json::Object(vec![
        ("schema", Json::text("ripcord-bench/2")),
        ("subject", Json::text(run.subject.word())),
        ("date", Json::text(&machine.date)),
        ("cpu", Json::text(&machine.cpu)),
        ("cores", Json::Number(machine.cores as f64)),
        ("system", Json::text(&machine.system)),
        ("load_before", Json::maybe(machine.load_before)),
        ("load_after", Json::maybe(machine.load_after)),
        ("versions", Json::Object(versions)),
        ("seed", Json::text(&run.seed.to_string())),
        ("rounds", Json::Number(run.rounds as f64)),
        ("quick", Json::Bool(run.quick)),
        ("cases", Json::Array(run.cases.iter().map(case).collect())),
    ]);
    let mut text = String::new();
    document.write(&mut text, 0);
    text.push('\n');
    text
}

fn case(result: &CaseResult) -> Json {
    let absent = result.contenders.iter().filter_map(|contender| {
        let (state, why) = match contender.absent.as_ref()? {
            Absent::Skipped(why) => ("skipped", why),
            Absent::Failed(why) => ("failed", why),
        };
        let fields = vec![
            ("contender", Json::text(contender.name)),
            ("state", Json::text(state)),
            ("why", Json::text(why)),
        ];
        Some(Json::Object(fields))
    });
    Json::Object(vec![
        ("id", Json::text(result.case.id)),
        ("title", Json::text(result.case.title)),
        ("size", Json::Number(result.size as f64)),
        (
            "metrics",
            Json::Array(
                result
                    .case
                    .metrics
                    .iter()
                    .map(|one| metric(result, one))
                    .collect(),
            ),
        ),
        ("absent", Json::Array(absent.collect())),
    ])
}

fn metric(result: &CaseResult, metric: &Metric) -> Json {
    let unit = match metric.unit {
        Unit::Nanoseconds => "ns",
        Unit::Bytes => "bytes",
        Unit::Count => "count",
        Unit::Instructions => "instructions",
    };
    let rows = result.rows(metric);
    let judged = rows.iter().flat_map(|row| &row.goals);
    let goals = judged.map(|(goal, verdict)| judgement(*goal, verdict));
    let contenders = rows.iter().filter_map(|row| {
        let contender = result
            .contenders
            .iter()
            .find(|one| one.name == row.contender)?;
        Some(figures(row, row.summary?, contender, metric))
    });
    Json::Object(vec![
        ("id", Json::text(metric.id)),
        ("label", Json::text(metric.label)),
        ("unit", Json::text(unit)),
        ("goals", Json::Array(goals.collect())),
        ("contenders", Json::Array(contenders.collect())),
    ])
}

fn judgement(goal: Goal, verdict: &Verdict) -> Json {
    let (to, at_most) = match goal {
        Goal::Ratio { to, at_most } => (Json::text(to), at_most),
        Goal::AtMost(limit) => (Json::Null, limit),
    };
    let (word, rounds_agree) = match verdict {
        Verdict::Met => ("met", true),
        Verdict::MetBarely => ("met", false),
        Verdict::Missed => ("missed", true),
        Verdict::MissedBarely => ("missed", false),
        Verdict::Open(_) => ("open", true),
    };
    Json::Object(vec![
        ("ratio_to", to),
        ("at_most", Json::Number(at_most)),
        ("verdict", Json::text(word)),
        ("rounds_agree", Json::Bool(rounds_agree)),
    ])
}

fn figures(row: &Row<'_>, summary: Summary, contender: &ContenderResult, metric: &Metric) -> Json {
    let rounds = contender
        .values(metric.id)
        .into_iter()
        .map(Json::maybe)
        .collect();
    Json::Object(vec![
        ("name", Json::text(row.contender)),
        ("median", Json::Number(summary.median)),
        ("min", Json::Number(summary.min)),
        ("max", Json::Number(summary.max)),
        ("lower_quartile", Json::Number(summary.lower_quartile)),
        ("upper_quartile", Json::Number(summary.upper_quartile)),
        ("ratio", row.ratio.map_or(Json::Null, ratio)),
        ("rounds", Json::Array(rounds)),
    ])
}

fn ratio(ratio: Ratio) -> Json {
    Json::Object(vec![
        ("to", Json::text(ratio.to)),
        ("of_medians", Json::Number(ratio.of_medians)),
        ("lower_quartile", Json::Number(ratio.rounds.lower_quartile)),
        ("upper_quartile", Json::Number(ratio.rounds.upper_quartile)),
    ])
}

enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    fn maybe(number: Option<f64>) -> Json {
        number.map_or(Json::Null, Json::Number)
    }

    fn write(&self, out: &mut String, indent: usize) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            // JSON has no infinities; a figure that is none is left out.
            Json::Number(value) if !value.is_finite() => out.push_str("null"),
            Json::Number(value) => out.push_str(&value.to_string()),
            Json::Text(text) => write_text(out, text),
            Json::Array(items) => {
                let nested = items.iter().any(|item| matches!(item, Json::Object(_)));
                write_list(out, indent, nested, ['[', ']'], items, |out, item| {
                    item.write(out, indent + 1);
                });
            }
            Json::Object(fields) => write_list(
                out,
                indent,
                true,
                ['{', '}'],
                fields,
                |out, (name, value)| {
                    write_text(out, name);
                    out.push_str(": ");
                    value.write(out, indent + 1);
                },
            ),
        }
    }
}

/// Writes items between brackets, each on a line of its own where they are `nested`.
fn write_list<T>(
    out: &mut String,
    indent: usize,
    nested: bool,
    [open, close]: [char; 2],
    items: &[T],
    item: impl Fn(&mut String, &T),
) {
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    out.push(open);
    for (index, one) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if nested {
            new_line(out, indent + 1);
        } else if index > 0 {
            out.push(' ');
        }
        item(out, one);
    }
    if nested && !items.is_empty() {
        new_line(out, indent);
    }
    out.push(close);
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_and_indents() {
        let json = Json::Object(vec![
            ("a", Json::text("q\"\\\n")),
            ("b", Json::Array(vec![Json::Number(1.5), Json::Null])),
            (
                "c",
                Json::Array(vec![Json::Object(vec![("d", Json::Bool(true))])]),
            ),
            ("e", Json::Number(f64::NAN)),
        ]);
        let mut text = String::new();
        json.write(&mut text, 0);
        let expected = "{\n  \"a\": \"q\\\"\\\\\\u000a\",\n  \"b\": [1.5, null],\n  \"c\": [\n    {\n      \"d\": true\n    }\n  ],\n  \"e\": null\n}";
        assert_eq!(text, expected);
    }
}
