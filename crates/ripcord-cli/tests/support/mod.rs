//! Runs the built program, and checks its JSON against the schema.

#![allow(dead_code, reason = "not every test file uses all of it")]

pub(crate) mod schema;
pub(crate) mod traces;

use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// The program with these arguments.
pub(crate) fn ripcord(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ripcord"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    taken_apart(&ripcord(args).output().unwrap())
}

pub(crate) fn taken_apart(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The report on standard output, which keeps to the schema.
pub(crate) fn report(out: &str) -> Value {
    let report: Value = serde_json::from_str(out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let schema = include_str!("../../../../docs/schema/demo-report.schema.json");
    schema::check(&serde_json::from_str(schema).unwrap(), &report);
    report
}

/// The rows of the list `key` for which `is_wanted` holds.
pub(crate) fn rows<'a>(
    report: &'a Value,
    key: &str,
    is_wanted: impl Fn(&Value) -> bool,
) -> Vec<&'a Value> {
    let list = report[key].as_array().unwrap();
    list.iter().filter(|row| is_wanted(row)).collect()
}

/// How often a kind of cause occurs in a row.
pub(crate) fn cause(row: &Value, kind: &str) -> u64 {
    let causes = row["causes"].as_array().unwrap();
    let of_kind = causes.iter().filter(|cause| cause["kind"] == kind);
    of_kind.map(|cause| cause["count"].as_u64().unwrap()).sum()
}
