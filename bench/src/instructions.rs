//! Counts instructions per operation under callgrind: no clock, so two runs agree.
//!
//! Each case runs twice with different numbers of operations; the difference of the totals, divided
//! by that of the numbers, leaves the start of the process out. A server's operations are requests;
//! its threads share the work differently from run to run, so its counts agree to a few per cent.

use std::process::{Command, Stdio};

use crate::Stop;
use crate::case::{Case, Kind, Metric, Program, Readings, Unit};
use crate::sample;

/// Keeps what callgrind can count: micro cases and servers, written in Rust. Fails when there is no valgrind.
pub(crate) fn prepare(cases: Vec<Case>) -> Result<Vec<Case>, Stop> {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return Err(Stop::Failed(
            "--instructions needs `valgrind` on the PATH".to_owned(),
        ));
    }
    let mut cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| matches!(case.kind, Kind::Micro | Kind::Served))
        .collect();
    for case in &mut cases {
        case.contenders
            .retain(|contender| matches!(contender.program, Program::Rust(_)));
        case.metrics = vec![Metric {
            id: METRIC,
            label: "instructions per operation",
            unit: Unit::Instructions,
            goals: Vec::new(),
            aside: false,
        }];
    }
    cases.retain(|case| !case.contenders.is_empty());
    if cases.is_empty() {
        return Err(Stop::Usage(
            "--instructions counts micro cases and servers only, and none is chosen".to_owned(),
        ));
    }
    Ok(cases)
}

/// Runs the command of one sample twice under callgrind.
pub(crate) fn count(sample: &Command) -> Result<Readings, String> {
    let few = total(sample, FEW)?;
    let many = total(sample, MANY)?;
    let per_operation = (many as f64 - few as f64) / (MANY - FEW) as f64;
    Ok(Readings::new().with(METRIC, per_operation))
}

fn total(sample: &Command, iterations: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
        .arg(sample.get_program())
        .args(sample.get_args())
        .arg(format!("--iterations={iterations}"));
    let (_, stderr) = sample::output(&mut command, Kind::Heavy)?;
    collected(&stderr).ok_or_else(|| "callgrind printed no total".to_owned())
}

/// Finds the figure in a line like `==123== Collected : 456`.
fn collected(stderr: &str) -> Option<u64> {
    let line = stderr.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

const METRIC: &str = "instructions";
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_total_among_other_lines() {
        let stderr = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 1234567\n";
        assert_eq!(collected(stderr), Some(1_234_567));
        assert_eq!(collected("==7== Callgrind\n"), None);
    }
}
