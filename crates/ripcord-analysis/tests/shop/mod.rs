//! A trace with one of everything that the exports show, whose numbers are easy to check.

use crate::support::{block, thread};

/// A request whose task waits for a lock, is woken by another task, and hands work to the pool. A tick
/// is a microsecond.
pub(crate) fn shop() -> String {
    let tables = block(
        "table",
        0,
        &[
            (0, r#"location index=0 file="src/main.rs" line=12 column=5"#),
            (
                0,
                r#"location index=1 file="src/fetch.rs" line=212 column=17"#,
            ),
            (0, r#"label index=0 text="lock" loc=-"#),
            (0, r#"label index=1 text="request.id" loc=-"#),
            (0, r#"label index=2 text="trace.id" loc=-"#),
            (0, r#"label index=3 text="region" loc=-"#),
        ],
    );
    let clock = block(
        "window_start",
        0,
        &[
            (0, "clock monotonic=0 wall=1790000000000000000"),
            (0, "metric label=0 value=-4"),
        ],
    );
    format!("{tables}{clock}{}{}{}", worker(), other(), pool())
}

fn worker() -> String {
    thread(
        1,
        &[
            (0, r#"thread_start kind=worker name="worker-0""#),
            (
                1,
                r#"ctx_create id=90 parent=- kind=root loc=0 deadline=40 name="request""#,
            ),
            (1, r#"ctx_tag id=90 key=1 text="8f3""#),
            (
                1,
                r#"ctx_tag id=90 key=2 text="4bf92f3577b34da6a3ce929d0e0e4736""#,
            ),
            (
                2,
                r#"ctx_create id=91 parent=90 kind=child loc=1 deadline=- name="""#,
            ),
            (
                3,
                r#"task_spawn slot=0 id=500 parent=- ctx=91 loc=1 bytes=712 name="fetch""#,
            ),
            (5, r#"user_task_begin id=1 name="checkout""#),
            (10, "poll_start slot=0 seq=0"),
            (12, "region_begin label=3"),
            (20, "poll_pending label=0"),
            (21, "park"),
            (50, "unpark"),
            (65, "user_task_end id=1"),
        ],
    )
}

fn other() -> String {
    thread(
        2,
        &[
            (0, r#"thread_start kind=worker name="worker-1""#),
            (
                4,
                r#"task_spawn slot=1 id=501 parent=500 ctx=91 loc=0 bytes=8 name="""#,
            ),
            (6, "wake slot=1 seq=0 by=task waker=0"),
            (25, "poll_start slot=1 seq=0"),
            (30, "wake slot=0 seq=1 by=task waker=1"),
            (31, "poll_yield"),
            (35, "poll_start slot=0 seq=1"),
            (38, "region_end"),
            (
                39,
                r#"job_queued job=7 parent=500 ctx=91 loc=1 name="hash""#,
            ),
            (40, "poll_ready"),
            (
                41,
                r#"task_end slot=0 id=500 outcome=ready parent=- ctx=91 loc=1 polls=2 busy=15 name="fetch""#,
            ),
            (
                43,
                r#"ctx_cancel id=90 kind=deadline_exceeded by=- loc=- due=-2 message="""#,
            ),
            (46, "ctx_seen id=90 task=501 how=poll loc=1"),
            (47, r#"log text="bye\u{1b}""#),
            (70, r#"ctx_end id=91 parent=90 loc=1 name="""#),
            (71, r#"ctx_end id=90 parent=- loc=0 name="request""#),
        ],
    )
}

fn pool() -> String {
    thread(
        3,
        &[
            (44, r#"thread_start kind=blocking name="pool-0""#),
            (45, "job_start job=7"),
            (
                60,
                r#"job_end job=7 outcome=panicked parent=500 ctx=91 loc=1 name="hash""#,
            ),
        ],
    )
}
