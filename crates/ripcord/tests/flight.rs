//! The flight recorder and tasks of tokio, on the clock of a test.

#![cfg(feature = "trace")]

use ripcord::trace::{FlightReport, Reason, Recorder};
use ripcord::{Ctx, CtxExt as _, Kind};
use ripcord_test::TestClock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_millis(50);

/// A task that does not listen, and is let go on so long after the end of its context.
///
/// What was reported of it, and what the dump says, if there is one.
fn late_by(time: Duration) -> (FlightReport, Vec<u8>) {
    let clock = TestClock::new();
    let recorder = Recorder::builder().clock(Arc::new(clock.clone())).build();
    let name = format!("ripcord-flight-{}-{}", std::process::id(), time.as_millis());
    let folder = std::env::temp_dir().join(name);
    let flight = recorder.flight(&folder).cancel_latency(LIMIT).ghost(None);
    let flight = flight.stall(None).start().expect("a folder and a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let tree = Ctx::root().clock(Arc::new(clock.clone()));
        let (root, guard) = tree.observer(recorder.observer()).build();
        let go_on = Arc::new(Notify::new());
        let deaf = root.spawn("deaf", {
            let go_on = Arc::clone(&go_on);
            |_| async move { go_on.notified().await }
        });
        while deaf.info().is_none_or(|info| info.polls == 0) {
            tokio::task::yield_now().await;
        }
        guard.cancel(Kind::PeerGone);
        clock.advance(time);
        go_on.notify_one();
        deaf.await.expect("it has ended");
    });
    // It looks once more before it ends: nothing waits for a clock.
    let report = flight.finish();
    let dumps = std::fs::read_dir(&folder).expect("the folder is there");
    let dump = dumps.map(|file| std::fs::read(file.expect("a file").path()).expect("it is whole"));
    let dump = dump.flatten().collect();
    std::fs::remove_dir_all(folder).expect("it was made here");
    (report, dump)
}

#[test]
fn a_task_of_tokio_that_is_late_after_a_cancel_is_dumped() {
    let (report, dump) = late_by(LIMIT + Duration::from_millis(10));
    let fired = report.fired_by(Reason::CancelLatency);
    assert_eq!((fired, report.fired, report.dumps), (1, 1, 1), "{report:?}");
    let said = b"flight recorder: cancel-latency of ";
    assert!(dump.windows(said.len()).any(|at| at == said));
}

#[test]
fn a_task_of_tokio_that_stops_in_time_is_not() {
    let (report, dump) = late_by(LIMIT / 2);
    assert_eq!((report.fired, report.dumps), (0, 0), "{report:?}");
    assert!(dump.is_empty());
}
