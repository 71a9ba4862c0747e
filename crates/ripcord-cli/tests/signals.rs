//! Signals from outside: the first one drains and reports, the second one cuts short.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use support::{report, ripcord};

/// A demo that would run for minutes, and that has begun to watch for signals.
fn long_demo() -> Child {
    let args = [
        "demo",
        "--seconds",
        "600",
        "--rate",
        "60",
        "--fault",
        "none",
        "--format",
        "json",
    ];
    let mut command = ripcord(&args);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("gateway on http://127.0.0.1:"), "{line}");
    // Until the load has begun, and from then on in the background, so that it cannot block.
    lines.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    child
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Exit code and standard output.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut out = String::new();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_to_string(&mut out).unwrap();
    (child.wait().unwrap().code(), out)
}

#[test]
fn the_first_signal_drains_and_reports() {
    let child = long_demo();
    send(&child, Signal::INT);
    let (code, out) = end(child);
    assert_eq!(code, Some(0), "{out}");
    let report = report(&out);
    assert_eq!(report["run"]["ended_by"], "signal");
    assert_eq!(report["run"]["is_cut_short"], false);
    assert!(report["requests"]["ok"].as_u64() > Some(0), "{out}");
}

#[test]
fn a_second_signal_cuts_the_run_short() {
    let child = long_demo();
    // Two of one number could arrive as one.
    send(&child, Signal::TERM);
    send(&child, Signal::INT);
    let (code, out) = end(child);
    assert_eq!(code, Some(130), "{out}");
    assert_eq!(report(&out)["run"]["is_cut_short"], true);
}
