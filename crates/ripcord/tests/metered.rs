//! A whole program of which only numbers are wanted: its own, and the lines that the environment asks for.

#![cfg(feature = "trace")]

use ripcord::trace::{Mode, Recorder, Recording};
use ripcord::{BuilderExt as _, CtxExt as _, Kind};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

/// Set for the process that prints, which is this test once more.
const CHILD: &str = "RIPCORD_TEST_SCHED";

/// One test: a process has one recording.
#[test]
fn tasks_on_tokio_are_counted_and_leave_no_trace() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let recorder = Recorder::builder().mode(Mode::Metrics).build();
    let recording = Recording::of(recorder.clone()).expect("the first one");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_hooks(&recording.hooks())
        .build()
        .expect("two threads");
    runtime.block_on(async {
        ripcord::spawn(tokio::task::yield_now())
            .await
            .expect("it ran");
        let (root, guard) = ripcord::root().name("the request").build();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let deaf = root.spawn("the deaf one", |_| async { drop(gone.await) });
        let job = root.spawn_blocking("the job", |_| 7);
        assert_eq!(job.await.expect("it ran"), 7);
        while deaf.info().is_none_or(|info| info.polls == 0) {
            tokio::task::yield_now().await;
        }
        guard.cancel(Kind::PeerGone);
        let metrics = recorder.metrics();
        assert_eq!((metrics.tasks_alive, metrics.tasks_overdue), (1, 1));
        assert_eq!(metrics.contexts_ended.peer_gone, 1);
        go.send(()).expect("it waits");
        deaf.await.expect("it has ended");
    });
    drop(runtime);
    let metrics = recorder.metrics();
    assert_eq!((metrics.tasks_spawned, metrics.tasks_ended.ready), (2, 2));
    assert_eq!((metrics.tasks_alive, metrics.tasks_overdue), (0, 0));
    assert_eq!(metrics.cancel_latencies.count(), 1, "of the deaf one");
    assert_eq!((metrics.jobs_spawned, metrics.job_waits.count()), (1, 1));
    assert_eq!(metrics.contexts_live, 0);
    assert!(metrics.poll_durations.count() >= 4 && metrics.schedule_delays.count() >= 4);
    let dumped = recorder.dump(&mut Vec::new()).expect("a vector takes all");
    assert_eq!(dumped.events, 0);
    let streamed = recording.finish().expect("there is no file");
    assert!(streamed.is_none());
}

/// Prints lines until nobody holds the other end of its input any more.
#[test]
fn lines_are_printed_by_a_process_of_their_own() {
    if std::env::var_os(CHILD).is_some() {
        let recording = Recording::from_env().expect("the variable is right");
        assert_eq!(
            recording.recorder().map(Recorder::mode),
            Some(Mode::Metrics)
        );
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        assert!(recording.finish().expect("there is no file").is_none());
        return;
    }
    let program = std::env::current_exe().expect("this program has a file");
    let mut child = Command::new(program)
        .args([
            "lines_are_printed_by_a_process_of_their_own",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("RIPCORD_SCHEDTRACE", "10,detail")
        .env_remove("RIPCORD_TRACE")
        .env_remove("RIPCORD_TRACE_MODE")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs once more");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut lines = lines.map(|line| line.expect("it is text"));
    let is_line = |line: &String| {
        line.starts_with("SCHED ")
            && line.contains("ms: workers=0 ")
            && line.ends_with(" dropped=0")
    };
    for _ in 0..3 {
        assert!(lines.any(|line| is_line(&line)), "it prints on and on");
    }
    drop(child.stdin.take());
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}
