//! `SIGUSR1` is a reason for a dump: sent to a process of its own, which is this test once more.
#![cfg(all(unix, feature = "signal"))]

use ripcord_core::{Clock, SystemClock};
use ripcord_tracer::Recorder;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the folder, for the process that is sent the signal.
const FOLDER: &str = "RIPCORD_TEST_FLIGHT_FOLDER";

/// Goes on until nobody holds the other end of its input any more.
fn child(folder: &str) {
    let recorder = Recorder::builder().program("child").build();
    let flight = recorder.flight(folder).signal(true).after(Duration::ZERO);
    let flight = flight.start().expect("the folder can be made");
    let mut out = std::io::stdout();
    out.write_all(b"\nready\n").expect("somebody reads");
    out.flush().expect("somebody reads");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(flight);
}

#[test]
fn a_signal_is_followed_by_a_file() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return child(&folder);
    }
    let process = std::process::id();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("signal-{process}"));
    let mut child = Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "a_signal_is_followed_by_a_file", "--nocapture"])
        .env(FOLDER, &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be run again");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = out.lines();
    let is_ready = lines
        .by_ref()
        .any(|line| line.is_ok_and(|line| line == "ready"));
    assert!(is_ready, "it ended before");
    let sent = Command::new("kill")
        .args(["-USR1", &child.id().to_string()])
        .status();
    assert!(sent.expect("there is a kill").success());
    let file = folder.join(format!("child-{}-1-signal.ript", child.id()));
    let end = SystemClock.now() + Duration::from_secs(30);
    while !file.exists() {
        assert!(SystemClock.now() < end, "it takes too long");
        std::thread::yield_now();
    }
    drop(child.stdin.take());
    // It says more, and fails where nobody reads that.
    assert!(lines.all(|line| line.is_ok()));
    assert!(
        child.wait().expect("it was started").success(),
        "it lives on"
    );
    let trace = fs::read(&file).expect("readable");
    assert!(ripcord_trace_format::Reader::new(&trace[..]).is_ok());
    fs::remove_dir_all(folder).expect("it is there");
}
