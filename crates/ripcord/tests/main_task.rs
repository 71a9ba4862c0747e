//! What a recording has of `#[ripcord::main]`: its body as a task, from the first poll to the end.

#![cfg(feature = "trace")]

use ripcord::Ctx;
use ripcord_trace_format::{Reader, text};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the process that is recorded: a process has one recording.
const CHILD: &str = "RIPCORD_TEST_MAIN";

#[ripcord::main(flavor = "current_thread")]
async fn program() -> u8 {
    assert_eq!(Ctx::current(), Ctx::background(), "recorded or not");
    ripcord::spawn(async { 7 }).await.expect("it ran")
}

/// Records this test once more, in a process of its own.
fn record(test: &str, trace: &Path, mode: &str) {
    let program = std::env::current_exe().expect("this program has a file");
    let status = Command::new(program)
        .args([test, "--exact"])
        .env(CHILD, "1")
        .env("RIPCORD_TRACE", trace)
        .env("RIPCORD_TRACE_MODE", mode)
        .stdout(Stdio::null())
        .status()
        .expect("it runs once more");
    assert!(status.success());
}

/// The events of tasks and contexts, without times and sizes.
fn events(trace: &Path) -> Vec<String> {
    let file = std::fs::File::open(trace).expect("it was written");
    let mut reader = Reader::new(file).expect("it is a trace");
    let mut twin = Vec::new();
    text::write(&mut reader, &mut twin).expect("a vector takes all");
    let twin = String::from_utf8(twin).expect("it is text");
    let lines = twin
        .lines()
        .filter_map(|line| line.trim().strip_prefix('+'));
    let mut events: Vec<&str> = lines
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    events.retain(|event| {
        let of = ["task_", "poll_", "wake", "ctx_", "label", "location"];
        of.iter().any(|name| event.starts_with(name))
    });
    let is_exact = |word: &&str| !word.starts_with("bytes=") && !word.starts_with("busy=");
    let exact = |event: &str| {
        let words: Vec<&str> = event.split(' ').filter(is_exact).collect();
        words.join(" ")
    };
    events.into_iter().map(exact).collect()
}

const FULL: &[&str] = &[
    r#"location index=0 file="crates/ripcord/tests/main_task.rs" line=14 column=10"#,
    r#"location index=1 file="crates/ripcord/tests/main_task.rs" line=16 column=5"#,
    // Where the task is awaited.
    r#"location index=2 file="crates/ripcord/tests/main_task.rs" line=16 column=33"#,
    r#"label index=0 text="join" loc=2"#,
    r#"ctx_create id=1 parent=- kind=root loc=0 deadline=- name="main""#,
    r#"task_spawn slot=0 id=1 parent=- ctx=1 loc=0 name="main""#,
    "poll_start slot=0 seq=0",
    r#"ctx_create id=2 parent=- kind=root loc=1 deadline=- name="task""#,
    // For the closure that makes the future.
    "task_ctx slot=0 ctx=2",
    r#"task_spawn slot=1 id=2 parent=1 ctx=2 loc=1 name="task""#,
    "poll_pending label=0",
    "poll_start slot=1 seq=0",
    "poll_ready",
    r#"ctx_cancel id=2 kind=dropped by=2 loc=1 due=- message="""#,
    r#"task_end slot=1 id=2 outcome=ready parent=1 ctx=2 loc=1 polls=1 name="task""#,
    "wake slot=0 seq=1 by=completion waker=1",
    "poll_start slot=0 seq=1",
    r#"ctx_end id=2 parent=- loc=1 name="task""#,
    "task_ctx slot=0 ctx=1",
    "poll_ready",
    r#"task_end slot=0 id=1 outcome=ready parent=- ctx=1 loc=0 polls=2 name="main""#,
    r#"ctx_end id=1 parent=- loc=0 name="main""#,
];

/// Of the spawned task, an entry that was not chosen, nothing is told.
const SAMPLED: &[&str] = &[
    r#"location index=0 file="crates/ripcord/tests/main_task.rs" line=14 column=10"#,
    r#"location index=1 file="crates/ripcord/tests/main_task.rs" line=16 column=33"#,
    r#"label index=0 text="join" loc=1"#,
    r#"ctx_create id=1 parent=- kind=root loc=0 deadline=- name="main""#,
    r#"task_spawn slot=0 id=1 parent=- ctx=1 loc=0 name="main""#,
    "poll_start slot=0 seq=0",
    "poll_pending label=0",
    "wake slot=0 seq=1 by=runtime waker=0",
    "poll_start slot=0 seq=1",
    "poll_ready",
    r#"task_end slot=0 id=1 outcome=ready parent=- ctx=1 loc=0 polls=2 name="main""#,
    r#"ctx_end id=1 parent=- loc=0 name="main""#,
];

#[test]
fn the_body_of_main_is_a_task() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(program(), 7);
        return;
    }
    let folder = std::env::temp_dir().join(format!("ripcord-main-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the trace");
    // A sampling of which the chosen ones are so few that this one is none.
    let modes = [("full", FULL), ("sampled:1000000000", SAMPLED)];
    for (at, (mode, expect)) in modes.into_iter().enumerate() {
        let trace = folder.join(format!("{at}.ript"));
        record("the_body_of_main_is_a_task", &trace, mode);
        assert_eq!(events(&trace), expect, "{mode}");
    }
    std::fs::remove_dir_all(&folder).expect("it was made here");
}
