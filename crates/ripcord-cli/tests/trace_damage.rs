//! `ripcord trace` on what is no good trace: each kind has its exit code, and what is left is answered.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use serde_json::Value;
use support::run;
use support::traces::{block, closed, file, folder, late, thread, trace};

/// Every command that reads a trace.
const READERS: [&[&str]; 9] = [
    &["trace", "info"],
    &["trace", "check"],
    &["trace", "tasks"],
    &["trace", "contexts"],
    &["trace", "ghosts"],
    &["trace", "explain"],
    &["trace", "export", "text"],
    &["trace", "export", "chrome"],
    &["trace", "export", "otlp"],
];

fn is_harmless(text: &str) {
    let noisy = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(noisy, None, "{text:?}");
}

#[test]
fn what_is_no_trace_is_told_by_code_and_in_words() {
    let folder = folder("bad-input");
    let good = closed(&late());
    let mut newer = good.clone();
    newer[8] = 2;
    // The sum of the header is good again.
    let len = 16 + usize::from(newer[12]);
    let sum = crc32c(&newer[..len]).to_le_bytes();
    newer[len..len + 4].copy_from_slice(&sum);
    let missing = folder
        .join("missing\u{1b}.ript")
        .to_str()
        .unwrap()
        .to_owned();
    for (path, expect, says) in [
        (missing, 4, "cannot read "),
        (folder.to_str().unwrap().to_owned(), 4, "cannot read "),
        (file(&folder, "empty.ript", b""), 5, "0 bytes"),
        (
            file(&folder, "text.ript", b"ript 1.0 \x1b[2J"),
            6,
            "it is the text of a trace",
        ),
        (
            file(&folder, "gzip.ript", b"\x1f\x8b\x08\0"),
            6,
            "unpack it with `gunzip`",
        ),
        (
            file(&folder, "newer.ript", &newer),
            7,
            "version 2.0, and this program reads 1.x",
        ),
    ] {
        for command in READERS {
            let (code, out, err) = run(&[command, &[&path]].concat());
            assert_eq!(
                (code, out.as_str()),
                (expect, ""),
                "{command:?} {path:?}: {err}"
            );
            assert!(
                err.starts_with("error: ") && err.contains(says),
                "{command:?}: {err}"
            );
            is_harmless(&err);
        }
        let to = folder.join("to.ript");
        for command in ["scrub", "recover"] {
            let (code, _, err) = run(&["trace", command, &path, "-o", to.to_str().unwrap()]);
            assert_eq!(code, expect, "{command}: {err}");
            assert!(!to.exists(), "{command} has left a file");
        }
    }
}

/// CRC-32C, a bit at a time: the tests have no other access to it.
fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    });
    !sum
}

/// Several blocks, so that damage takes one and leaves others.
fn several() -> Vec<u8> {
    let blocks: String = (0..8_u64)
        .map(|n| thread(1, &[(n * 10, "park"), (n * 10 + 5, "unpark")]))
        .collect();
    closed(&blocks)
}

#[test]
fn damage_is_answered_and_told() {
    let folder = folder("damage");
    let good = several();
    let mut damaged = good.clone();
    // Within the payload of a block in the middle: behind the schema and some blocks.
    let at = good.len() - 72 - 60 - 4 * 52;
    damaged[at] ^= 0xff;
    let path = file(&folder, "damaged.ript", &damaged);
    for command in READERS {
        let (code, out, err) = run(&[command, &[&path]].concat());
        assert_eq!(code, 8, "{command:?}: {err}");
        // There is no context or task in it, so there is no span.
        let is_empty = command.contains(&"otlp");
        assert_eq!(out.is_empty(), is_empty, "{command:?}: {out}");
    }
    let (_, out, _) = run(&["trace", "info", &path, "--format", "json"]);
    let info: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(info["trace"]["state"], "damaged");
    assert_eq!(info["trace"]["damage"]["count"], 1);
    assert_eq!(info["events"], 14, "one block of eight is lost");
    let hole = &info["trace"]["damage"]["first"][0];
    assert_eq!(hole["bytes"], info["trace"]["damaged_bytes"]);
    let offset = hole["offset"].as_u64().unwrap();
    assert!(offset <= at as u64 && at as u64 <= offset + hole["bytes"].as_u64().unwrap());

    let to = folder.join("recovered.ript");
    let to = to.to_str().unwrap();
    assert_eq!(run(&["trace", "recover", &path, "-o", to]).0, 0);
    let (code, out, _) = run(&["trace", "info", to, "--format", "json"]);
    let info: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &info["events"]), (0, &14.into()));
    // Index and end are made anew, and not copied.
    assert_eq!(
        (&info["blocks"]["index"], &info["blocks"]["file_end"]),
        (&1.into(), &1.into())
    );
}

/// Good checksums, and numbers that no recorder writes.
fn hostile() -> Vec<u8> {
    let max = u64::MAX;
    let wild = [
        format!(
            "task_spawn slot={max} id={max} parent={m} ctx={m} loc={m} bytes={max} name=\"\"",
            m = max - 1
        ),
        format!("poll_start slot={max} seq=127"),
        format!("wake slot={max} seq=0 by=#99 waker={}", max - 1),
        format!(
            "ctx_create id={max} parent={} kind=#77 loc=- deadline={} name=\"\"",
            max - 1,
            i64::MIN + 1
        ),
        format!(
            "ctx_create id={} parent={max} kind=child loc=- deadline={} name=\"\"",
            max - 1,
            i64::MAX
        ),
        format!(
            "ctx_cancel id={max} kind=#9 by={} loc=- due={} message=\"\"",
            max - 1,
            i64::MAX
        ),
        format!("stall slot=- ticks={max}"),
        format!(
            "task_end slot={max} id={max} outcome=#9 parent=- ctx={m} loc=- polls={max} busy={max} name=\"\"",
            m = max - 1
        ),
        format!("ctx_end id={max} parent={} loc=- name=\"\"", max - 1),
        format!("dropped events={max}"),
        format!("dropped events={max}"),
        format!("clock monotonic={max} wall={max}"),
        format!("user_task_begin id={max} name=\"\""),
        format!("job_start job={max}"),
    ];
    let mut events: Vec<(u64, &str)> = wild.iter().map(|line| (0, line.as_str())).collect();
    events.push((max, "clock monotonic=0 wall=0"));
    events.push((max, "poll_start slot=0 seq=0"));
    let totals = format!("thread_totals thread={max} events={max} dropped={max}");
    let head = block(
        "window_start",
        0,
        &[(0, "clock monotonic=1 wall=1"), (1, &wild[11])],
    );
    closed(&format!(
        "{head}{}{}",
        thread(u32::MAX, &events),
        block("window_end", 0, &[(max, &totals)])
    ))
}

#[test]
fn numbers_that_nobody_writes_break_nothing() {
    let folder = folder("hostile");
    let path = file(&folder, "a.ript", &hostile());
    let other = file(&folder, "b.ript", &closed(&late()));
    let (tables, one, two, three, four, five) =
        ("tables", "1.ript", "2.ript", "3.ript", "4.ript", "5.pb");
    let to = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut commands: Vec<Vec<String>> = READERS
        .iter()
        .map(|command| {
            [*command, &[&path]]
                .concat()
                .iter()
                .map(|&word| word.to_owned())
                .collect()
        })
        .collect();
    for words in [
        vec!["trace", "scrub", &path, "-o", &to(one)],
        vec!["trace", "recover", &path, "-o", &to(two)],
        vec!["trace", "merge", &path, &other, "-o", &to(three)],
        vec!["trace", "merge", &other, &path, "-o", &to(four)],
        vec!["trace", "diff", &path, &other],
        vec![
            "trace",
            "critical-path",
            &path,
            "--task",
            "18446744073709551615",
        ],
        vec!["trace", "export", "perfetto", &path, "-o", &to(five)],
        vec!["trace", "export", "parquet", &path, "-o", &to(tables)],
    ] {
        commands.push(words.into_iter().map(str::to_owned).collect());
    }
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (code, out, err) = run(&words);
        assert!(matches!(code, 0 | 8 | 10), "{words:?}: {code}: {err}");
        is_harmless(&out);
        is_harmless(&err);
    }
    for name in [one, two, three, four] {
        let (code, out, err) = run(&["trace", "info", &to(name)]);
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

#[test]
fn a_cut_trace_is_answered_wherever_it_is_cut_and_recovered() {
    let folder = folder("cut");
    let good = several();
    let whole = run(&[
        "trace",
        "info",
        &file(&folder, "good.ript", &good),
        "--format",
        "json",
    ])
    .1;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    let mut before = 0;
    for (at, cut) in [
        10,
        40,
        61,
        1_500,
        good.len() - 300,
        good.len() - 72,
        good.len() - 1,
    ]
    .into_iter()
    .enumerate()
    {
        let path = file(&folder, &format!("cut-{at}.ript"), &good[..cut]);
        let (code, out, err) = run(&["trace", "info", &path, "--format", "json"]);
        assert_eq!(code, 9, "{cut}: {err}");
        let info: Value = serde_json::from_str(&out).unwrap();
        let state = info["trace"]["state"].as_str().unwrap();
        assert!(
            matches!(state, "truncated" | "not_closed"),
            "{cut}: {state}"
        );
        let events = info["events"].as_u64().unwrap();
        assert!(events >= before && events <= whole["events"].as_u64().unwrap());
        before = events;

        let to = folder.join(format!("recovered-{at}.ript"));
        let to = to.to_str().unwrap();
        let (code, out, err) = run(&["trace", "recover", &path, "-o", to, "--format", "json"]);
        assert_eq!((code, err.as_str()), (0, ""), "{cut}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["events"], events, "{cut}");
        let (code, out, _) = run(&["trace", "check", to, "--format", "json"]);
        let checked: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, &checked["trace"]["state"]),
            (0, &"complete".into()),
            "{cut}: {out}"
        );
        assert_eq!(checked["events"], events, "{cut}");
    }
    assert_eq!(before, 16, "the last cut has lost the end alone");
}

#[test]
fn a_lost_header_is_made_from_the_clocks() {
    let folder = folder("headless");
    let clocks = block(
        "window_start",
        0,
        &[
            (1_000, "clock monotonic=5000 wall=7"),
            (3_000, "clock monotonic=1005000 wall=8"),
        ],
    );
    let mut bytes = closed(&format!("{clocks}{}", thread(1, &[(1_000, "park")])));
    bytes[20] ^= 0xff;
    let path = file(&folder, "headless.ript", &bytes);
    let to = folder.join("a.ript");
    let to = to.to_str().unwrap();
    let (code, out, _) = run(&["trace", "recover", &path, "-o", to, "--format", "json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["header"]), (0, &"clocks".into()));
    let (_, out, _) = run(&["trace", "info", to, "--format", "json"]);
    let info: Value = serde_json::from_str(&out).unwrap();
    // 2 000 ticks took a millisecond.
    assert_eq!(info["header"]["frequency_hz"], 2_000_000);
}

#[test]
fn a_compressed_block_is_read_and_a_bomb_is_told() {
    use ripcord_trace_format::{BlockInfo, BlockKind, ClockKind, Compression, FileHeader, Writer};
    let folder = folder("zstd");
    let payload = [0x20, 1, 0x21, 1];
    let stored = zstd::bulk::compress(&payload, 3).unwrap();
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000);
    let info = BlockInfo {
        last_tick: 2,
        events: 2,
        ..BlockInfo::new(BlockKind::Events)
    };
    for (plain_len, code, events) in [(4, 0, 2), (3, 8, 0), (9, 8, 0)] {
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer
            .compressed(info, Compression::Zstd, &stored, plain_len)
            .unwrap();
        let path = file(
            &folder,
            &format!("{plain_len}.ript"),
            &writer.finish().unwrap(),
        );
        let (found, out, err) = run(&["trace", "info", &path, "--format", "json"]);
        assert_eq!(found, code, "{plain_len}: {err}");
        let info: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(info["events"], events, "{plain_len}");
    }
}

#[test]
fn a_request_that_is_not_there_or_not_the_only_one_is_told() {
    let folder = folder("which");
    let path = trace(&folder, "a.ript", &late());
    let (code, _, err) = run(&["explain", &path, "--request", "no\u{1b}ne"]);
    assert_eq!(code, 10, "{err}");
    assert!(
        err.contains(r"no\u{1b}ne") && err.contains("2 were made"),
        "{err}"
    );
    is_harmless(&err);

    let label = block(
        "table",
        0,
        &[(0, "label index=1 text=\"request.id\" loc=-")],
    );
    let mut events = Vec::new();
    let lines: Vec<String> = [3, 4].iter().flat_map(|id| [
        format!("ctx_create id={id} parent=- kind=root loc=- deadline=- name=\"r\""),
        format!("ctx_tag id={id} key=1 text=\"twice\""),
        format!("task_spawn slot={id} id=5{id} parent=- ctx={id} loc=- bytes=1 name=\"t\""),
        format!("ctx_cancel id={id} kind=cancelled by=- loc=- due=- message=\"\""),
        format!("task_end slot={id} id=5{id} outcome=ready parent=- ctx={id} loc=- polls=0 busy=0 name=\"t\""),
        format!("ctx_end id={id} parent=- loc=- name=\"r\""),
    ]).collect();
    for (tick, line) in (1_u64..).zip(&lines) {
        events.push((tick * 1_000, line.as_str()));
    }
    let path = trace(
        &folder,
        "twice.ript",
        &format!("{label}{}", thread(1, &events)),
    );
    let (code, _, err) = run(&["explain", &path, "--request", "twice"]);
    assert_eq!(code, 11, "{err}");
    assert!(
        err.contains("\n  3: r #twice") && err.contains("\n  4: r #twice"),
        "{err}"
    );
    let (code, out, err) = run(&["explain", &path, "--request", "4"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("#twice"), "{out}");
}

#[test]
fn an_output_that_exists_is_left_alone() {
    let folder = folder("exists");
    let path = trace(&folder, "a.ript", &late());
    let taken = file(&folder, "taken", b"mine");
    for args in [
        &["trace", "scrub", &path, "-o", &taken][..],
        &["trace", "recover", &path, "-o", &taken],
        &["trace", "merge", &path, &path, "-o", &taken],
        &["trace", "export", "text", &path, "-o", &taken],
        &["trace", "export", "perfetto", &path, "-o", &taken],
        &["trace", "export", "parquet", &path, "-o", &taken],
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, 12, "{args:?}: {err}");
        assert!(err.contains("exists already"), "{args:?}: {err}");
        assert_eq!(std::fs::read(&taken).unwrap(), b"mine", "{args:?}");
    }
    let nowhere = folder.join("no/such/folder").to_str().unwrap().to_owned();
    let (code, _, err) = run(&["trace", "scrub", &path, "-o", &nowhere]);
    assert_eq!(code, 13, "{err}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    use std::process::Stdio;
    let folder = folder("full");
    let path = trace(&folder, "a.ript", &late());
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = support::ripcord(&["trace", "export", "text", &path]);
    let output = command.stdout(Stdio::from(full)).output().unwrap();
    let (code, _, err) = support::taken_apart(&output);
    assert_eq!(code, 13, "{err}");
    assert!(
        err.contains("cannot write standard output: No space left") && err.contains("make room"),
        "{err}"
    );
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    use std::process::Stdio;
    let folder = folder("gone");
    let path = trace(&folder, "a.ript", &late());
    let mut command = support::ripcord(&["trace", "export", "text", &path]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}
