//! `ripcord trace recover` on ring files: of a process that is alive, was killed, or has closed it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use ripcord::Ctx;
use ripcord::trace::Recorder;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use support::traces::{file, folder};
use support::{ripcord, run};

fn recover(path: &str, to: &str) -> Value {
    let (code, out, err) = run(&["trace", "recover", path, "-o", to, "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn whose_ring_file_it_is_is_told() {
    let folder = folder("ring-state");
    let path = folder.join("a.ring");
    let name = path.to_str().unwrap();
    let to = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let builder = Recorder::builder().program("shop\u{1b}[2J").memory(1);
    let recorder = builder.build_in(&path).unwrap();
    let (root, guard) = Ctx::root().observer(recorder.observer()).build();

    let alive = recover(name, &to("alive"));
    assert_eq!(alive["ring"]["state"], "alive");
    assert_eq!(alive["ring"]["process"], std::process::id());
    assert_eq!(
        (&alive["ring"]["contexts"], &alive["trace"]["state"]),
        (&1.into(), &"complete".into())
    );
    let (code, out, _) = run(&["trace", "check", &to("alive")]);
    assert_eq!(code, 0, "{out}");

    // A copy is nobody's, as after a kill.
    let copy = file(&folder, "copy.ring", &fs::read(&path).unwrap());
    assert_eq!(recover(&copy, &to("killed"))["ring"]["state"], "killed");
    let (code, out, _) = run(&["trace", "recover", &copy, "-o", &to("text")]);
    assert_eq!(code, 0);
    let says = [
        r"shop\u{1b}[2J, process",
        "was killed",
        "0 tasks and 1 contexts lived",
    ];
    assert!(says.iter().all(|says| out.contains(says)), "{out}");

    drop((root, guard, recorder));
    assert_eq!(recover(name, &to("closed"))["ring"]["state"], "closed");
}

#[test]
fn a_ring_file_that_is_wrong_has_its_code_and_its_place() {
    let folder = folder("ring-wrong");
    let path = folder.join("a.ring");
    let recorder = Recorder::builder().memory(1).build_in(&path).unwrap();
    let root = Ctx::root().observer(recorder.observer()).build();
    let whole = fs::read(&path).unwrap();
    drop((root, recorder));
    let with = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    for (bytes, expect, says) in [
        (
            whole[..100].to_vec(),
            6,
            "it ends at byte 100, within its header",
        ),
        (
            with(30, 0xee),
            6,
            "a checksum that is not that of the header at byte ",
        ),
        (
            with(8, 2),
            7,
            "it is of version 2.0, and this program reads 1.x",
        ),
    ] {
        let path = file(&folder, "wrong.ring", &bytes);
        let out = folder.join("out.ript");
        let (code, _, err) = run(&["trace", "recover", &path, "-o", out.to_str().unwrap()]);
        assert_eq!(code, expect, "{err}");
        assert!(err.contains(says), "{err}");
        assert!(!out.exists());
    }
    // Behind the header, what is left is recovered, and the rest is said.
    let short = file(&folder, "short.ring", &whole[..whole.len() / 2]);
    let to = folder.join("short.ript");
    let answer = recover(&short, to.to_str().unwrap());
    assert_eq!(answer["trace"]["state"], "truncated");
    let end = format!("cut off at byte {}", whole.len() / 2);
    assert_eq!(answer["trace"]["end"], end);

    let (code, _, err) = run(&["trace", "info", path.to_str().unwrap()]);
    assert_eq!(code, 6);
    assert!(err.contains("`ripcord trace recover FILE -o OUT`"), "{err}");
}

/// The whole chain: a program that asks for nothing but a variable of the environment is killed, and
/// what comes out of its file explains itself.
#[test]
fn a_demo_that_is_killed_is_recovered() {
    let folder = folder("ring-demo");
    let path = folder.join("demo.ring");
    let mut demo = ripcord(&["demo", "--seconds", "60", "--fault", "deaf-loop"])
        .env("RIPCORD_TRACE_RING", &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says where it listens, and then has requests.
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let to = folder.join("demo.ript");
    let enough = |answer: &Value| answer["events"].as_u64().unwrap() > 2_000;
    while !enough(&recover(path.to_str().unwrap(), to.to_str().unwrap())) {
        fs::remove_file(&to).unwrap();
    }
    fs::remove_file(&to).unwrap();
    demo.kill().unwrap();
    demo.wait().unwrap();
    let answer = recover(path.to_str().unwrap(), to.to_str().unwrap());
    assert_eq!(answer["ring"]["state"], "killed");
    assert!(
        enough(&answer) && answer["ring"]["contexts"].as_u64() > Some(3),
        "{answer}"
    );
    for command in ["check", "tasks", "contexts", "ghosts"] {
        let (code, out, err) = run(&["trace", command, to.to_str().unwrap()]);
        assert_eq!(code, 0, "{command}: {out}{err}");
    }
}
