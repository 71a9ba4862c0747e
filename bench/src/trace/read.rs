//! Reading a large trace: decoding all its events, and explaining what was late.
//!
//! The trace is made up anew in each sample (`made.rs`), and what that takes is no part of a figure.

use std::fs::File;
use std::hint::black_box;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Instant;

use ripcord_analysis::read::Trace;
use ripcord_analysis::{Analysis, Explanation, Options};

use super::made;
use super::size::events_of;
use crate::alloc;
use crate::case::{Case, Goal, Kind, RIPCORD, Readings, Unit};
use crate::folder::Folder;
use crate::plan::Plan;

pub(super) fn cases() -> Vec<Case> {
    let decode = Case::new(
        Kind::Scene,
        "read/decode",
        "30,000,000 events decoded, on one thread",
    );
    let explain = Case::new(
        Kind::Scene,
        "read/explain",
        "30,000,000 events analysed, and the late ends explained",
    );
    vec![
        decode
            .size(EVENTS)
            .metric("time", "per event", Unit::Nanoseconds, Goal::at_most(10.0))
            .aside("raw", "per event in the trace", Unit::Bytes)
            .rust(RIPCORD, decode_all),
        explain
            .size(EVENTS)
            .metric("time", "per event", Unit::Nanoseconds, Goal::at_most(100.0))
            .metric("whole", "in all", Unit::Nanoseconds, Goal::at_most(5e9))
            .metric(
                "memory",
                "most heap at a time ÷ bytes of the trace",
                Unit::Count,
                Goal::at_most(0.5),
            )
            .aside("late", "late ends", Unit::Count)
            .rust(RIPCORD, explain_all),
    ]
}

fn decode_all(plan: &Plan) -> Readings {
    let mut trace = Vec::new();
    let made = made::write(plan.size as u64, &mut trace).expect("a vector takes all");
    let start = Instant::now();
    let events = events_of(&trace, |tick, event| {
        black_box((tick, &event));
    });
    let elapsed = start.elapsed();
    assert_eq!(events, made, "every event was decoded");
    Readings::new()
        .with("time", elapsed.as_nanos() as f64 / events as f64)
        .with("raw", trace.len() as f64 / events as f64)
}

/// Once for the time and once for the memory, which is counted at each allocation.
fn explain_all(plan: &Plan) -> Readings {
    let folder = Folder::new("explain");
    let path = folder.path().join("made.ript");
    let file = File::create_new(&path).expect("the folder is new");
    let made = made::write(plan.size as u64, BufWriter::new(file));
    let made = made.expect("the temporary folder has room");
    let bytes = path.metadata().expect("it was written").len();
    let start = Instant::now();
    let explained = explain(&path);
    let elapsed = start.elapsed();
    assert!(explained.events >= made, "every event was looked at");
    let (_, peak) = alloc::peak(|| explain(&path));
    Readings::new()
        .with("time", elapsed.as_nanos() as f64 / explained.events as f64)
        .with("whole", elapsed.as_nanos() as f64)
        .with("memory", peak as f64 / bytes as f64)
        .with("late", explained.late as f64)
}

struct Explained {
    events: u64,
    late: u64,
}

/// What `ripcord explain` does, without printing it.
fn explain(path: &PathBuf) -> Explained {
    let mut trace = Trace::open(path).expect("the trace can be read");
    let analysis = Analysis::of(&mut trace, &Options::default());
    let analysis = analysis.expect("the trace can be read");
    for end in analysis.stories() {
        black_box(Explanation::of(end));
    }
    Explained {
        events: analysis.events,
        late: analysis.late.count,
    }
}

const EVENTS: usize = 30_000_000;
