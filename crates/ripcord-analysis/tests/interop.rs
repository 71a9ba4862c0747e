//! The exports as other programs read them: by the schema of Perfetto, and by `duckdb`.
//!
//! `cargo xtask test interop` runs it, with a Python that has both.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod shop;
mod support;

use ripcord_analysis::export;
use serde_json::{Value, json};
use shop::shop;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::trace;

/// Runs a script beside this file, and takes its answer.
fn asked(script: &str, args: &[&Path]) -> Value {
    let python = std::env::var("RIPCORD_INTEROP_PYTHON").expect(
        "RIPCORD_INTEROP_PYTHON names a Python with perfetto and duckdb: `cargo xtask test interop` \
         installs one",
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let output = Command::new(python)
        .arg(folder.join(script))
        .args(args)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn perfetto_reads_every_field_and_every_slice_nests() {
    let path = folder("perfetto").join("shop.pftrace");
    let mut out = File::create(&path).unwrap();
    export::perfetto(&mut trace(&shop()), &mut out).unwrap();
    let found = asked("perfetto_check.py", &[&path]);
    assert_eq!(found["unknown_fields"], 0);
    assert_eq!(found["open_slices"], 0);
    assert_eq!(found["flows"], json!([1, 2]));
    assert_eq!(found["flows_without_begin"], json!([]));
    let slices = found["slices"].as_array().unwrap();
    for expect in [
        json!(["worker-0", "fetch", 10_000, 10_000]),
        json!(["worker-0", "parked", 21_000, 29_000]),
        json!(["fetch #500", "waits: lock", 20_000, 10_000]),
        json!(["fetch #500", "queued", 30_000, 5_000]),
        json!(["fetch #500 regions", "region", 12_000, 26_000]),
        json!(["pool-0", "hash", 45_000, 15_000]),
        json!(["checkout", "checkout", 5_000, 60_000]),
    ] {
        assert!(slices.contains(&expect), "{expect} is not in {found:#}");
    }
    if let Some(processor) = found["processor"].as_object() {
        assert_eq!(processor["errors"], 0);
        assert_eq!(processor["slices"].as_u64().unwrap(), slices.len() as u64);
    }
}

#[test]
fn duckdb_answers_the_queries_of_the_page() {
    let folder = folder("duckdb");
    let open = |table: &str| File::create(folder.join(format!("{table}.parquet")));
    export::parquet(&mut trace(&shop()), open).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/trace.md");
    let found = asked("duckdb_check.py", &[&page, &folder]);
    let types = &found["types"];
    assert_eq!(types["events"][0], json!(["at", "TIMESTAMPTZ_NS"]));
    assert_eq!(types["polls"][0], json!(["task", "UBIGINT"]));
    assert_eq!(types["contexts"][14][0], "seen_by");
    let answers = found["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 4, "{found:#}");
    // The longest polls: task, site, label of the wait that followed, milliseconds.
    assert_eq!(answers[0][0], json!(["fetch", "src/fetch.rs:212:17", 0.01]));
    // Late requests: id, cause, by how much the end came late, and until somebody looked.
    assert_eq!(
        answers[1][0],
        json!(["8f3", "deadline_exceeded", 0.002, 0.003])
    );
    // Who waited where, and who ended it.
    assert_eq!(answers[2][0], json!(["lock", "task", 1]));
    // Where the time went, per site.
    assert_eq!(answers[3][0], json!(["src/fetch.rs:212:17", 1, 2, 0.015]));
}
