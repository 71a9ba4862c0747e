//! What goes wrong before the demo starts: message and exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::net::TcpListener;
use std::process::Stdio;
use support::{ripcord, run};

#[test]
fn wrong_usage_is_two_lines_and_exit_code_2() {
    for (args, expect) in [
        (&[][..], "no command is given"),
        (&["dmo"], "unrecognized subcommand 'dmo'"),
        (&["demo", "--loud"], "unexpected argument '--loud'"),
        (&["demo", "--seconds", "0"], "0 is not in 1..=3600"),
        (&["demo", "--seconds", "soon"], "invalid value 'soon'"),
        (&["demo", "--fault"], "a value is required for '--fault"),
        (
            &["demo", "--fault", "quake"],
            "there are all, none, slow-risk, hang-up",
        ),
        (
            &["demo", "--fault", "none", "--fault", "signal"],
            "`--fault none` excludes",
        ),
        (
            &["demo", "--format", "yaml"],
            "[possible values: text, json]",
        ),
    ] {
        let (code, out, err) = run(args);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert_eq!(out, "", "{args:?}");
        assert!(
            err.starts_with("error: ") && err.contains(expect),
            "{args:?}: {err}"
        );
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(lines.len(), 2, "{args:?}: {err}");
        assert!(lines[1].starts_with("see `ripcord "), "{args:?}: {err}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_and_exit_code_3() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (code, out, err) = run(&["demo", "--port", &port]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(err.contains(&format!("127.0.0.1:{port}: ")), "{err}");
    assert!(err.contains("give another port with `--port`"), "{err}");
}

#[test]
fn help_names_the_exit_codes() {
    for args in [&["--help"][..], &["demo", "--help"]] {
        let (code, out, err) = run(args);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("Exit codes:\n  0 "), "{out}");
    }
}

#[test]
fn every_fault_is_listed() {
    let (code, out, err) = run(&["demo", "--list-faults"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 12, "{out}");
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let mut command = ripcord(&["demo", "--list-faults"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
