//! A request of 3 s whose task waits, and what becomes of its end.

use super::{block, trace};
use ripcord_analysis::waterfall::{LateEnd, Phase};
use ripcord_analysis::{Analysis, Options};
use std::time::Duration;

/// Milliseconds as ticks.
pub(crate) const MS: u64 = 1_000;

/// What is said of a trace of these blocks, with a table before them.
pub(crate) fn analyse(blocks: &[String]) -> Analysis {
    let mut trace = trace(&(tables() + &blocks.concat()));
    Analysis::of(&mut trace, &Options::default()).expect("memory can be read")
}

pub(crate) fn tables() -> String {
    let places = [
        (
            0,
            r#"location index=0 file="src/orders.rs" line=12 column=1"#,
        ),
        (0, r#"location index=1 file="src/risk.rs" line=40 column=5"#),
        (0, r#"location index=2 file="src/page.rs" line=12 column=5"#),
        (0, r#"label index=1 text="request.id" loc=-"#),
        (0, r#"label index=2 text="tokio::sync::Mutex" loc=-"#),
        (0, r#"label index=3 text="render" loc=-"#),
        (0, r#"label index=5 text="join" loc=2"#),
    ];
    block("table", 0, &places)
}

/// A request with a deadline of 3 s, whose task is `risk.check`, and how it begins to wait.
pub(crate) fn request(poll_end: &'static str) -> Vec<(u64, &'static str)> {
    vec![
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="""#,
        ),
        (
            0,
            r#"ctx_create id=2 parent=1 kind=deadline loc=0 deadline=3000000 name="GET /orders""#,
        ),
        (0, r#"ctx_tag id=2 key=1 text="8f3""#),
        (
            0,
            r#"ctx_create id=3 parent=2 kind=child loc=1 deadline=- name="""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=3 loc=1 bytes=1 name="risk.check""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (2, poll_end),
    ]
}

/// The end of that task.
pub(crate) const END: &str =
    r#"task_end slot=0 id=50 outcome=ready parent=- ctx=3 loc=1 polls=2 busy=0 name="risk.check""#;

/// The name of each segment, with milliseconds.
pub(crate) fn segments(end: &LateEnd, lane: usize) -> Vec<(&'static str, u128)> {
    let lane = &end.lanes[lane];
    let sum: Duration = lane.segments.iter().map(|segment| segment.time).sum();
    assert_eq!(sum, lane.late, "segments add up");
    let name = |phase: &Phase| match phase {
        Phase::TimerLate => "timer",
        Phase::Propagation => "propagation",
        Phase::DeafWait { .. } => "deaf",
        Phase::InPoll { .. } => "poll",
        Phase::Queued { .. } => "queued",
        Phase::PoolQueue => "pool",
        Phase::UncancellableJob => "job",
        Phase::CleanUp { .. } => "clean-up",
        _ => "unknown",
    };
    let named = lane.segments.iter();
    named
        .map(|segment| (name(&segment.phase), segment.time.as_millis()))
        .collect()
}
