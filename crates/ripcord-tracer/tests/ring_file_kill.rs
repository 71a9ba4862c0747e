//! A program that records at full load into a ring file, killed 200 times wherever it happens to be.
//!
//! The program is this test itself, started again. It tells each step through a pipe when it has been
//! recorded, so the test knows what has to be in the file, and when to kill: after a number of steps
//! that is drawn by chance. What follows is decided by the scheduler, which nobody can seed.
#![cfg(all(unix, not(ripcord_loom), not(miri)))]
#![allow(clippy::print_stdout, reason = "the seed, in the output of its test")]

use ripcord_core::tasks::{Ended, PollEnd, Spawned, TaskEnd, TaskRef, Tasks, WokenBy};
use ripcord_core::{Ctx, Kind};
use ripcord_trace_format::{BlockKind, End, Event, Item, Reader, RingFile, RingState};
use ripcord_tracer::Recorder;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So often it is killed; `RIPCORD_KILLS` says otherwise.
const KILLS: u64 = 200;

/// Besides the one that tells of its steps.
const WORKERS: usize = 2;

/// Names the file for the program that is killed.
const RING: &str = "RIPCORD_TEST_KILLED_RING";

/// No thread is so many steps before another: so what was told last is never what the ring has forgotten.
const AHEAD: u64 = 30;

/// What is told through the pipe: the step, and how far each worker is at least.
const TOLD_BYTES: usize = 8 * (1 + WORKERS);

/// A task that lives for a moment, with some polls, as a runtime's adapter would tell of it.
fn run_task(tasks: &Tasks, number: u64, ctx: &Ctx) {
    let spawned = Spawned {
        task: number,
        parent: None,
        context: ctx.recorded(),
        name: "a task that lives for a moment",
        site: Location::caller(),
        size: 96,
        is_blocking: false,
    };
    let task: TaskRef = tasks.spawned(&spawned);
    for _ in 0..20 {
        tasks.woken(task, WokenBy::Foreign);
        let turn = tasks.poll_started(task, ctx.recorded_id(), Some(0));
        turn.end(PollEnd::Pending, Some("recv"));
    }
    let ended = Ended {
        spawned,
        end: TaskEnd::Ready,
        polls: 20,
        cause: None,
    };
    tasks.ended(task, &ended);
}

/// Steps of a thread: each is a request with a task in it, and has its number as a tag.
fn step(root: &Ctx, tasks: &Tasks, thread: usize, number: u64) {
    let (request, guard) = root.named("request").child();
    run_task(tasks, 1 + number * 8 + thread as u64, &request);
    request.tag(["steps", "one", "two"][thread], &number.to_string());
    if number.is_multiple_of(7) {
        guard.cancel(Kind::PeerGone);
    }
}

fn wait_for_others(far: &[AtomicU64], number: u64) {
    let is_behind = |far: &AtomicU64| far.load(Ordering::Acquire) + AHEAD < number;
    while far.iter().any(is_behind) {
        std::thread::yield_now();
    }
}

/// The program that is killed. As a test of its own it does nothing.
#[test]
fn a_program_that_is_killed() {
    let Some(path) = std::env::var_os(RING) else {
        return;
    };
    let builder = Recorder::builder().program("killed").memory(128 << 10);
    let recorder = builder.build_in(path).expect("there is room");
    let tasks = Tasks::new(recorder.tasks());
    let (root, _guard) = Ctx::root().observer(recorder.observer()).build();
    let (kept, _kept) = root.named("since the beginning").child();
    kept.tag("request.id", "the first");
    let far: Arc<[AtomicU64; 1 + WORKERS]> = Arc::new([const { AtomicU64::new(0) }; 1 + WORKERS]);
    for worker in 1..=WORKERS {
        let (far, tasks, root) = (Arc::clone(&far), tasks.clone(), root.clone());
        std::thread::spawn(move || {
            for number in 1.. {
                wait_for_others(&*far, number);
                step(&root, &tasks, worker, number);
                far[worker].store(number, Ordering::Release);
            }
        });
    }
    let mut pipe = std::io::stderr();
    for number in 1_u64.. {
        wait_for_others(&*far, number);
        let [_, workers @ ..] = far.each_ref().map(|far| far.load(Ordering::Acquire));
        step(&root, &tasks, 0, number);
        far[0].store(number, Ordering::Release);
        let mut told = number.to_le_bytes().to_vec();
        told.extend(workers.iter().flat_map(|number| number.to_le_bytes()));
        if pipe.write_all(&told).is_err() {
            return;
        }
    }
}

/// What was told last before the end, at least after `steps` steps.
fn killed_after(steps: u64, path: &Path) -> Vec<u64> {
    let program = std::env::current_exe().expect("this test is a program");
    let mut child = Command::new(program)
        .args(["--exact", "a_program_that_is_killed", "--nocapture"])
        .env(RING, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut pipe = child.stderr.take().expect("it was asked for");
    let mut told = [0; TOLD_BYTES];
    for _ in 0..steps {
        pipe.read_exact(&mut told).expect("it lives");
    }
    child.kill().expect("it lives");
    child.wait().expect("it was started");
    // What it has told between the last look and its end was recorded as well. A pipe takes less than
    // 4,096 bytes as a whole.
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).expect("it can be read");
    let last = rest.chunks_exact(TOLD_BYTES).last().unwrap_or(&told);
    let words = last.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight")))
        .collect()
}

/// What a trace says: the numbers of each tag in order, and the names in its registry.
struct Said {
    numbers: BTreeMap<String, Vec<u64>>,
    live: Vec<String>,
}

fn said(trace: &[u8]) -> Said {
    let mut reader = Reader::new(trace).expect("a trace");
    let mut labels = BTreeMap::new();
    let (mut said, mut is_closed) = (Vec::new(), false);
    let mut live = Vec::new();
    let mut ticks = BTreeMap::<u32, u64>::new();
    while let Some(item) = reader.next_item().expect("readable") {
        match item {
            Item::Block(block) => {
                for event in block.events() {
                    let (tick, event) = event.expect("whole");
                    if block.info.kind == BlockKind::Events {
                        let before = ticks.entry(block.info.thread).or_default();
                        assert!(tick >= *before, "a thread goes back");
                        *before = tick;
                    }
                    match (block.info.kind, event) {
                        (_, Event::Label { index, text, .. }) => {
                            labels.insert(index, text.to_owned());
                        }
                        (BlockKind::Events, Event::CtxTag { key, text, .. }) => {
                            said.push((key, text.as_str().to_owned()));
                        }
                        (BlockKind::Registry, Event::CtxCreate { name, .. }) => {
                            live.push(name.to_owned());
                        }
                        (BlockKind::Registry, Event::CtxTag { text, .. }) => {
                            live.push(text.as_str().to_owned());
                        }
                        _ => {}
                    }
                }
            }
            Item::End(end) => is_closed = matches!(end, End::Closed { trailing: 0 }),
            damaged => panic!("{damaged:?}"),
        }
    }
    assert!(is_closed, "a trace is closed");
    let mut numbers = BTreeMap::<String, Vec<u64>>::new();
    for (key, text) in said {
        let label = labels[&key].clone();
        numbers
            .entry(label)
            .or_default()
            .extend(text.parse::<u64>());
    }
    Said { numbers, live }
}

//= R1, R6, R9
#[test]
fn two_hundred_kills_leave_two_hundred_traces() {
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = setting("RIPCORD_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("RIPCORD_SEED={seed}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path: PathBuf = folder.join(format!("killed-{}.ring", std::process::id()));
    let mut random = seed | 1;
    let mut wrapped = 0;
    for kill in 0..setting("RIPCORD_KILLS").unwrap_or(KILLS) {
        // The numbers of Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let steps = 1 + random % 400;
        let told = killed_after(steps, &path);
        let mut ring = RingFile::open(File::open(&path).expect("it is there")).expect("a ring");
        assert_eq!(ring.state(), RingState::Recording, "nobody has closed it");
        let mut trace = Vec::new();
        let found = ring.recover(&mut trace).expect("a trace");
        let what = format!("seed {seed}, kill {kill}, {told:?}, {found:?}");
        assert_eq!((found.cut, found.missing_bytes), (0, 0), "{what}");
        assert_eq!((found.changed_blocks, found.lost_blocks), (0, 0), "{what}");
        let said = said(&trace);
        for (tag, told) in ["steps", "one", "two"].into_iter().zip(told) {
            let numbers = said.numbers.get(tag).cloned().unwrap_or_default();
            let first = numbers.first().copied().unwrap_or(1);
            wrapped += u64::from(first > 1);
            let expect = first..first + numbers.len() as u64;
            assert!(numbers.iter().copied().eq(expect), "{tag}: {what}");
            let last = numbers.last().copied().unwrap_or(0);
            assert!(last >= told, "{tag}: {last} is before {told}, {what}");
        }
        for name in ["since the beginning", "the first"] {
            assert!(said.live.iter().any(|live| live == name), "{name}: {what}");
        }
        fs::remove_file(&path).expect("it is there");
    }
    println!("{wrapped} threads had filled the ring");
}
