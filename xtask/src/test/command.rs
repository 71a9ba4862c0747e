//! Runs the steps in order and says at the end, in one line, what passed and what failed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::out::{Failure, Format, Sink, Verdict, columns};
use crate::test::counts::Counts;
use crate::test::runner::{self, Ended};
use crate::test::steps::{STEPS, Step, Work};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    list: bool,
    keep_going: bool,
    format: Format,
    /// Names of steps; empty for all.
    names: Vec<String>,
}

/// A step and how it ended; `None` if it was not run.
struct Record {
    step: Step,
    end: Option<End>,
}

struct End {
    success: bool,
    counts: Counts,
    elapsed: Duration,
}

/// Runs the command.
///
/// # Errors
/// When the command line is wrong. A step that cannot be run is a failed step.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<Verdict, Failure> {
    let request = parse(args)?;
    if request.list {
        Sink::Stdout.line(list(request.format).trim_end());
        return Ok(Verdict::Clean);
    }
    let steps = chosen(&request.names)?;
    // With JSON, standard output is for the result alone.
    let sink = match request.format {
        Format::Text => Sink::Stdout,
        Format::Json => Sink::Stderr,
    };
    let mut records = Vec::new();
    let mut going = true;
    let count = steps.len();
    for (index, step) in steps.into_iter().enumerate() {
        let end = going.then(|| {
            sink.line(format!(
                "\n=== {} ({} of {count}): {}",
                step.name,
                index + 1,
                step.about
            ));
            run_step(root, &step, sink)
        });
        going = going && (request.keep_going || end.as_ref().is_some_and(|end| end.success));
        records.push(Record { step, end });
    }
    match request.format {
        Format::Text => Sink::Stdout.line(format!("\n{}", summary(&records).trim_end())),
        Format::Json => Sink::Stdout.line(report(&records)),
    }
    Ok(Verdict::of(
        records.iter().filter(|record| !record.passed()).count(),
    ))
}

fn run_step(root: &Path, step: &Step, sink: Sink) -> End {
    let started = now();
    let result = match &step.work {
        Work::Own(command) => command(root, Format::Text, sink).map(|verdict| Ended {
            success: verdict == Verdict::Clean,
            counts: Counts::default(),
        }),
        Work::Cargo(plan) => runner::run(root, plan, sink),
    };
    let ended = result.unwrap_or_else(|failure| {
        Sink::Stderr.line(failure);
        Ended {
            success: false,
            counts: Counts::default(),
        }
    });
    let elapsed = now() - started;
    let result = if ended.success { "passed" } else { "FAILED" };
    sink.line(format!(
        "=== {} {result} in {}",
        step.name,
        seconds(elapsed)
    ));
    End {
        success: ended.success,
        counts: ended.counts,
        elapsed,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "shows how long a step took, decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}

fn parse(args: &[String]) -> Result<Request, Failure> {
    let mut request = Request {
        list: false,
        keep_going: false,
        format: Format::Text,
        names: Vec::new(),
    };
    let (format, rest) = crate::take_format(args)?;
    request.format = format;
    for arg in rest {
        match arg.as_str() {
            "--list" => request.list = true,
            "--keep-going" => request.keep_going = true,
            flag if flag.starts_with('-') => {
                return Err(Failure::Usage(format!("unknown option `{flag}`")));
            }
            name => request.names.push(name.to_owned()),
        }
    }
    Ok(request)
}

/// The steps with these names, in the order of the table; without names, all but the deep ones.
fn chosen(names: &[String]) -> Result<Vec<Step>, Failure> {
    if let Some(name) = names
        .iter()
        .find(|name| !STEPS.iter().any(|s| s.name == **name))
    {
        let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        let text = format!("no step is called `{name}`; there are {}", known.join(", "));
        return Err(Failure::Usage(text));
    }
    let wanted = |step: &&Step| {
        let is_named = names.iter().any(|name| name == step.name);
        is_named || names.is_empty() && !step.is_deep
    };
    Ok(STEPS.iter().filter(wanted).copied().collect())
}

fn list(format: Format) -> String {
    let steps = STEPS.iter();
    match format {
        Format::Text => {
            let rows: Vec<_> = steps
                .map(|s| {
                    let when = if s.is_deep { "only when named: " } else { "" };
                    vec![s.name.to_owned(), format!("{when}{}", s.about)]
                })
                .collect();
            columns(&rows)
        }
        Format::Json => {
            let steps = steps.map(|s| json!({"name": s.name, "about": s.about, "deep": s.is_deep}));
            Value::Array(steps.collect()).to_string()
        }
    }
}

impl Record {
    fn passed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.success)
    }

    fn result(&self) -> &'static str {
        match &self.end {
            None => "not run",
            Some(end) if end.success => "passed",
            Some(_) => "FAILED",
        }
    }
}

/// Steps passed, failed, not run.
fn tally(records: &[Record]) -> (usize, usize, usize) {
    let passed = records.iter().filter(|record| record.passed()).count();
    let left = records.iter().filter(|record| record.end.is_none()).count();
    (passed, records.len() - passed - left, left)
}

fn total(records: &[Record]) -> (Counts, Duration) {
    let mut counts = Counts::default();
    let mut elapsed = Duration::ZERO;
    for end in records.iter().filter_map(|record| record.end.as_ref()) {
        counts += end.counts;
        elapsed += end.elapsed;
    }
    (counts, elapsed)
}

/// The table and the last lines. The last one is `N passed, N failed` over the steps.
fn summary(records: &[Record]) -> String {
    let row = |record: &Record| {
        let mut row = vec![record.step.name.to_owned(), record.result().to_owned()];
        if let Some(end) = &record.end {
            row.push(seconds(end.elapsed));
            if end.counts != Counts::default() {
                row.push(tests(end.counts));
            }
        }
        row
    };
    let mut text = columns(&records.iter().map(row).collect::<Vec<_>>());
    for record in records.iter().filter(|record| record.result() == "FAILED") {
        let name = record.step.name;
        let _ = writeln!(text, "to run it alone: cargo xtask test {name}");
    }
    let (counts, elapsed) = total(records);
    let (passed, failed, left) = tally(records);
    let _ = writeln!(text, "in all: {}, in {}", tests(counts), seconds(elapsed));
    let _ = write!(text, "{passed} passed, {failed} failed");
    if left > 0 {
        let _ = write!(text, ", {left} not run (stopped at the first failure)");
    }
    text.push('\n');
    text
}

fn tests(counts: Counts) -> String {
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    let mut text = format!("{passed} tests passed, {failed} failed");
    if skipped > 0 {
        let _ = write!(text, ", {skipped} skipped");
    }
    text
}

/// Schema: `{steps: [{name, result, seconds, tests: {passed, failed, skipped}}], passed, failed,
/// not_run}`; `result` is `passed`, `FAILED` or `not run`, and then `seconds` is null.
fn report(records: &[Record]) -> Value {
    let steps = records.iter().map(|record| {
        let counts = record
            .end
            .as_ref()
            .map(|end| end.counts)
            .unwrap_or_default();
        json!({
            "name": record.step.name,
            "result": record.result(),
            "seconds": record.end.as_ref().map(|end| end.elapsed.as_secs_f64()),
            "tests": {
                "passed": counts.passed,
                "failed": counts.failed,
                "skipped": counts.skipped,
            },
        })
    });
    let steps: Vec<_> = steps.collect();
    let (passed, failed, left) = tally(records);
    json!({"steps": steps, "passed": passed, "failed": failed, "not_run": left})
}

/// `0.4 s`, `2 min 3 s`.
fn seconds(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(60) {
        return format!("{:.1} s", elapsed.as_secs_f64());
    }
    let whole = elapsed.as_secs();
    format!("{} min {} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    fn record(step: usize, success: Option<bool>) -> Record {
        let end = success.map(|success| End {
            success,
            counts: Counts {
                passed: 3,
                failed: usize::from(!success),
                skipped: 0,
            },
            elapsed: Duration::from_millis(1500),
        });
        Record {
            step: STEPS[step],
            end,
        }
    }

    #[test]
    fn the_command_line_is_read() {
        let request = parse(&strings(&[
            "tidy",
            "--keep-going",
            "--format",
            "json",
            "fmt",
        ]))
        .unwrap();
        assert!(request.keep_going && !request.list);
        assert_eq!(request.format, Format::Json);
        assert_eq!(request.names, ["tidy", "fmt"]);
        assert!(parse(&strings(&["--fast"])).is_err());
    }

    #[test]
    fn chosen_steps_keep_the_order_of_the_table() {
        let names: Vec<_> = chosen(&strings(&["tidy", "fmt"])).unwrap();
        let names: Vec<_> = names.iter().map(|step| step.name).collect();
        assert_eq!(names, ["fmt", "tidy"]);
        let all = chosen(&[]).unwrap();
        assert!(all.iter().all(|step| !step.is_deep) && all.len() < STEPS.len());
        let deep = chosen(&strings(&["memcheck"])).unwrap();
        assert_eq!(deep.len(), 1);
        let error = chosen(&strings(&["nope"])).err().unwrap().to_string();
        assert!(
            error.contains("no step is called `nope`; there are fmt, layers"),
            "{error}"
        );
    }

    #[test]
    fn the_last_line_counts_the_steps() {
        let text = summary(&[record(0, Some(true)), record(1, Some(true))]);
        assert!(text.ends_with("in all: 6 tests passed, 0 failed, in 3.0 s\n2 passed, 0 failed\n"));
    }

    #[test]
    fn what_was_not_run_is_said() {
        let records = [
            record(0, Some(true)),
            record(1, Some(false)),
            record(2, None),
        ];
        let text = summary(&records);
        assert!(
            text.contains("to run it alone: cargo xtask test layers\n"),
            "{text}"
        );
        assert!(text.contains("tidy    not run\n"), "{text}");
        let last = "1 passed, 1 failed, 1 not run (stopped at the first failure)\n";
        assert!(text.ends_with(last), "{text}");
        let json = report(&records);
        assert_eq!((&json["failed"], &json["not_run"]), (&json!(1), &json!(1)));
        assert_eq!(json["steps"][2]["seconds"], Value::Null);
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(449)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(123)), "2 min 3 s");
    }
}
