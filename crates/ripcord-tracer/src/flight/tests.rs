//! Triggers, told by hand on the clock of a test, and a disk that can be full, gone or stuck.

use super::builder::set_limits;
use super::folder::{Entry, Folder, Names, Quota};
use super::report::{FlightDump, FlightReport};
use super::run::{Desk, OnDump, Rules, Run};
use crate::Recorder;
use crate::sync::Mutex;
use crate::trigger::Reason;
use ripcord_core::tasks::{Ended, PollEnd, Spawned, TaskEnd, TaskRef, Tasks};
use ripcord_core::{CancelGuard, Clock, Ctx, Kind, SystemClock};
use ripcord_trace_format::{Reader, text};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// A test that would wait for longer has failed.
const BOUND: Duration = Duration::from_secs(30);

struct Hand(Mutex<Instant>);

impl Clock for Hand {
    fn now(&self) -> Instant {
        *self.0.lock()
    }
}

/// What a disk has, and what it can still take.
#[derive(Default)]
struct State {
    files: BTreeMap<String, (u64, Vec<u8>)>,
    /// Files so far: the time of the disk.
    time: u64,
    is_gone: bool,
    is_locked: bool,
    /// Bytes that it still takes; `None`: as many as come.
    room: Option<usize>,
    /// Told of a write, and then waited for.
    stuck: Option<(Sender<()>, Receiver<()>)>,
}

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn names(&self) -> Vec<String> {
        self.0.lock().files.keys().cloned().collect()
    }

    fn is_there(state: &State) -> io::Result<()> {
        if state.is_gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }
}

struct Open {
    disk: Disk,
    name: String,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stuck = self.disk.0.lock().stuck.take();
        if let Some((told, go)) = stuck {
            told.send(()).expect("the test waits");
            go.recv_timeout(BOUND).expect("the test says so");
        }
        let mut state = self.disk.0.lock();
        Disk::is_there(&state)?;
        let taken = bytes.len().min(state.room.unwrap_or(usize::MAX));
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - taken);
        let file = state.files.get_mut(&self.name);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        file.1.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Folder for Disk {
    type File = Open;

    fn list(&mut self, names: &Names) -> io::Result<Vec<Entry>> {
        let state = self.0.lock();
        Self::is_there(&state)?;
        let own = state
            .files
            .iter()
            .filter(|(name, _)| names.parse(name).is_some());
        let entries = own.map(|(name, (modified, bytes))| Entry {
            modified: *modified,
            name: name.clone(),
            bytes: bytes.len() as u64,
        });
        Ok(entries.collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Open> {
        let mut state = self.0.lock();
        Self::is_there(&state)?;
        state.time += 1;
        let time = state.time;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), (time, Vec::new()));
        Ok(Open {
            disk: self.clone(),
            name: name.to_owned(),
        })
    }

    fn publish(&mut self, temporary: &str, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        Self::is_there(&state)?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.remove(temporary);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        Self::is_there(&state)?;
        if state.is_locked {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if let Some((_, bytes)) = state.files.remove(name) {
            state.room = state.room.map(|room| room + bytes.len());
        }
        Ok(())
    }
}

/// A recorder with a flight recorder that looks when it is told to.
struct Bench {
    clock: Arc<Hand>,
    recorder: Recorder,
    tasks: Tasks,
    disk: Disk,
    desk: Arc<Desk>,
    run: Run<Disk>,
    root: Ctx,
    guard: CancelGuard,
}

const RULES: Rules = Rules {
    step: MS,
    after: Duration::from_millis(200),
    debounce: Duration::from_secs(60),
    every: Duration::from_secs(60),
    burst: 100,
    quota: Quota {
        bytes: u64::MAX,
        files: usize::MAX,
    },
};

/// Everything is a reason: what has a measure from 100 ms on.
const LIMITS: [Option<Duration>; Reason::ALL.len()] = {
    let long = Some(Duration::from_millis(100));
    let always = Some(Duration::ZERO);
    [
        always, long, long, long, long, always, always, always, always,
    ]
};

impl Bench {
    fn new(rules: Rules) -> Self {
        Self::with(rules, &LIMITS, None)
    }

    /// Only this is a reason: others would come along.
    fn only(rules: Rules, reason: Reason) -> Self {
        let mut limits = [None; Reason::ALL.len()];
        limits[reason.index()] = LIMITS[reason.index()];
        Self::with(rules, &limits, None)
    }

    fn with(
        rules: Rules,
        limits: &[Option<Duration>; Reason::ALL.len()],
        on_dump: Option<OnDump>,
    ) -> Self {
        let start = SystemClock.now() + Duration::from_secs(10);
        let clock = Arc::new(Hand(Mutex::new(start)));
        let given = Arc::<Hand>::clone(&clock);
        let recorder = Recorder::builder()
            .program("shop")
            .memory(1 << 18)
            .clock(given.clone())
            .build();
        let disk = Disk::default();
        let shelf = Arc::new(Desk::default());
        let shared = recorder.shared();
        assert!(shared.triggers.claim());
        let path = PathBuf::from("dumps");
        let run = Run::new(shared, rules, &shelf, disk.clone(), path, on_dump);
        set_limits(shared, limits);
        let tree = Ctx::root().clock(given).observer(recorder.observer());
        let (root, guard) = tree.name("root").build();
        Self {
            tasks: Tasks::new(recorder.tasks()),
            run: run.expect("the disk is there"),
            clock,
            recorder,
            disk,
            desk: shelf,
            root,
            guard,
        }
    }

    fn pass(&self, time: Duration) {
        *self.clock.0.lock() += time;
    }

    fn look(&mut self) {
        let now = self.recorder.shared().clock.raw();
        self.run.look(now);
    }

    /// Until every aftermath is over.
    fn settle(&mut self) {
        self.look();
        self.pass(RULES.after);
        self.look();
    }

    fn report(&self) -> FlightReport {
        let report = *self.desk.report.lock();
        let sum = report.written + report.suppressed.total() + report.waiting;
        assert_eq!(report.fired, sum, "each is counted once: {report:?}");
        report
    }

    fn spawn(&self, task: u64, ctx: &Ctx) -> TaskRef {
        self.tasks.spawned(&spawned(task, ctx))
    }

    fn end(&self, task: TaskRef, ctx: &Ctx, end: TaskEnd) {
        let ended = Ended {
            spawned: spawned(task.id, ctx),
            end,
            polls: 1,
            cause: None,
        };
        self.tasks.ended(task, &ended);
    }

    fn poll(&self, task: TaskRef, time: Duration, end: PollEnd) {
        let turn = self.tasks.poll_started(task, None, None);
        self.pass(time);
        turn.end(end, None);
    }

    /// A task that panics.
    fn panic(&self, task: u64) {
        let task = self.spawn(task, &self.root);
        self.end(task, &self.root, TaskEnd::Panicked);
    }

    fn call(&self, why: &str) {
        self.desk.note_call(why);
        let shared = self.recorder.shared();
        let now = shared.clock.raw();
        shared.triggers.note(Reason::Call, now, 0);
    }
}

fn spawned(task: u64, ctx: &Ctx) -> Spawned<'static> {
    Spawned {
        task,
        parent: None,
        context: ctx.recorded(),
        name: "task",
        site: Location::caller(),
        size: 0,
        is_blocking: false,
    }
}

fn twin(trace: &[u8]) -> String {
    let mut twin = Vec::new();
    let mut reader = Reader::new(trace).expect("a trace");
    text::write(&mut reader, &mut twin).expect("a vector takes all");
    String::from_utf8(twin).expect("text")
}

/// What happens in a test.
type Act = fn(&mut Bench);

/// For each reason: what is just not one, and what is.
const ACTS: [(Reason, Act, Act); 9] = [
    (
        Reason::Deadline,
        |bench| {
            bench.root.child().1.cancel(Kind::PeerGone);
        },
        |bench| {
            let due = bench.clock.now() + MS;
            let late = bench.root.with_deadline(due);
            bench.pass(MS);
            assert!(late.check().is_err());
        },
    ),
    (
        Reason::CancelLatency,
        |bench| end_late(bench, MS * 99),
        |bench| end_late(bench, MS * 100),
    ),
    (
        Reason::Ghost,
        |bench| haunt(bench, MS * 99),
        |bench| haunt(bench, MS * 100),
    ),
    (
        Reason::Stall,
        |bench| stall(bench, MS * 99),
        |bench| stall(bench, MS * 100),
    ),
    (
        Reason::LongPoll,
        |bench| bench.poll(bench.spawn(7, &bench.root), MS * 99, PollEnd::Pending),
        |bench| bench.poll(bench.spawn(8, &bench.root), MS * 100, PollEnd::Pending),
    ),
    (
        Reason::Panic,
        |bench| {
            let task = bench.spawn(7, &bench.root);
            bench.end(task, &bench.root, TaskEnd::Aborted);
        },
        |bench| bench.panic(8),
    ),
    (
        Reason::LostWaker,
        |bench| bench.poll(bench.spawn(7, &bench.root), MS, PollEnd::Pending),
        |bench| bench.poll(bench.spawn(8, &bench.root), MS, PollEnd::Lost),
    ),
    (
        Reason::Signal,
        |_| (),
        |bench| {
            // Relaxed: one thread.
            let flag = &bench.desk.signal;
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
        },
    ),
    (Reason::Call, |_| (), |bench| bench.call("why not")),
];

fn end_late(bench: &mut Bench, late: Duration) {
    let (ctx, guard) = bench.root.child();
    // The end is above its own context.
    let (own, _own) = ctx.child();
    let task = bench.spawn(7, &own);
    guard.cancel(Kind::PeerGone);
    bench.pass(late);
    bench.end(task, &ctx, TaskEnd::Ready);
}

fn haunt(bench: &mut Bench, late: Duration) {
    let (ctx, guard) = bench.root.child();
    let task = bench.spawn(7, &ctx);
    guard.cancel(Kind::PeerGone);
    bench.look();
    bench.pass(late);
    bench.look();
    bench.end(task, &ctx, TaskEnd::Ready);
}

fn stall(bench: &mut Bench, time: Duration) {
    let task = bench.spawn(7, &bench.root);
    let tasks = Tasks::new(bench.recorder.tasks());
    let turn = tasks.poll_started(task, None, None);
    bench.pass(time);
    // Told once, however often one looks.
    bench.look();
    bench.look();
    turn.end(PollEnd::Pending, None);
}

#[test]
fn each_reason_has_its_limit_and_its_dump() {
    for (reason, below, above) in ACTS {
        let mut bench = Bench::only(RULES, reason);
        below(&mut bench);
        bench.settle();
        assert_eq!(bench.report().fired, 0, "{reason}: below its limit");
        above(&mut bench);
        bench.settle();
        let report = bench.report();
        assert_eq!((report.fired, report.fired_by(reason)), (1, 1), "{reason}");
        assert_eq!((report.dumps, report.written), (1, 1), "{reason}");
        let process = std::process::id();
        let name = format!("shop-{process}-1-{reason}.ript");
        assert_eq!(bench.disk.names(), [name]);
        let said = format!("text=\"flight recorder: {reason}");
        let state = bench.disk.0.lock();
        let (_, trace) = state.files.values().next().expect("it was written");
        assert!(twin(trace).contains(&said), "{reason}");
    }
}

#[test]
fn what_is_off_is_no_reason() {
    for (reason, _, above) in ACTS {
        if matches!(reason, Reason::Signal | Reason::Call) {
            continue;
        }
        let mut bench = Bench::with(RULES, &[None; 9], None);
        above(&mut bench);
        bench.settle();
        assert_eq!(bench.report(), FlightReport::default(), "{reason}");
    }
}

#[test]
fn a_guard_that_goes_away_makes_nobody_late() {
    let mut bench = Bench::new(RULES);
    let (ctx, guard) = bench.root.child();
    let task = bench.spawn(7, &ctx);
    drop(guard);
    bench.settle();
    bench.pass(MS * 1_000);
    bench.look();
    bench.end(task, &ctx, TaskEnd::Ready);
    bench.settle();
    assert_eq!(bench.report().fired, 0);
}

#[test]
fn who_is_spawned_into_what_has_ended_is_late_from_then_on() {
    let mut bench = Bench::new(RULES);
    let (ctx, guard) = bench.root.child();
    guard.cancel(Kind::PeerGone);
    for (time, fired) in [(99, 0), (100, 1)] {
        bench.pass(MS * 1_000);
        let task = bench.spawn(7, &ctx);
        bench.look();
        bench.pass(MS * time);
        bench.end(task, &ctx, TaskEnd::Ready);
        bench.settle();
        let report = bench.report();
        assert_eq!(report.fired_by(Reason::CancelLatency), fired, "{time}");
        assert_eq!(report.fired, fired, "{time}");
    }
}

#[test]
fn what_is_in_a_shield_is_not_late() {
    let mut bench = Bench::new(RULES);
    let shield = bench.root.shield(Duration::from_secs(100));
    let task = bench.spawn(7, &shield);
    let (other, guard) = bench.root.child();
    guard.cancel(Kind::PeerGone);
    bench.guard.handle().cancel(Kind::Shutdown);
    bench.pass(MS * 1_000);
    bench.end(task, &shield, TaskEnd::Ready);
    bench.settle();
    assert_eq!(bench.report().fired, 0, "{other:?}");
}

#[test]
fn the_aftermath_is_in_the_dump() {
    let mut bench = Bench::only(RULES, Reason::Panic);
    bench.panic(1_000_001);
    bench.look();
    bench.pass(RULES.after.saturating_sub(MS));
    bench.spawn(1_000_002, &bench.root);
    bench.look();
    assert_eq!((bench.report().waiting, bench.report().dumps), (1, 0));
    bench.pass(MS);
    bench.look();
    bench.spawn(1_000_003, &bench.root);
    assert_eq!((bench.report().waiting, bench.report().dumps), (0, 1));
    let state = bench.disk.0.lock();
    let (_, trace) = state.files.values().next().expect("one");
    let twin = twin(trace);
    for (task, is_there) in [(1_000_001, true), (1_000_002, true), (1_000_003, false)] {
        let said = format!(" id={task} ");
        let mut spawns = twin.lines().filter(|line| line.contains(" task_spawn "));
        assert_eq!(
            spawns.any(|line| line.contains(&said)),
            is_there,
            "{task}: {twin}"
        );
    }
}

#[test]
fn of_a_kind_the_first_is_heard_and_the_others_are_counted() {
    let mut bench = Bench::only(RULES, Reason::Panic);
    (0..5).for_each(|task| bench.panic(10 + task));
    bench.settle();
    bench.panic(20);
    bench.settle();
    let report = bench.report();
    assert_eq!((report.dumps, report.suppressed.debounced), (1, 5));
    bench.pass(RULES.debounce);
    bench.panic(30);
    bench.settle();
    let report = bench.report();
    assert_eq!((report.dumps, report.suppressed.debounced), (2, 5));
    assert_eq!(report.fired_by(Reason::Panic), 7);
}

#[test]
fn kinds_that_come_together_are_in_one_dump() {
    let (told, dumps) = mpsc::channel();
    let on_dump: OnDump = Box::new(move |dump: &FlightDump| {
        let _ = told.send(dump.clone());
    });
    let mut bench = Bench::with(RULES, &LIMITS, Some(on_dump));
    bench.panic(77);
    bench.look();
    bench.call("by hand");
    bench.settle();
    let report = bench.report();
    assert_eq!((report.dumps, report.fired, report.written), (1, 2, 2));
    let dump = dumps.try_recv().expect("one was written");
    assert_eq!(dump.reasons, [Reason::Panic, Reason::Call]);
    assert_eq!((dump.triggers, dump.subject), (2, Some(77)));
    assert_eq!(dump.why.as_deref(), Some("by hand"));
    assert!(dump.path.starts_with("dumps") && dump.dumped.events > 0);
    assert!(dumps.try_recv().is_err());
}

#[test]
fn tokens_bound_what_all_kinds_may_cost() {
    let rules = Rules {
        burst: 2,
        debounce: Duration::ZERO,
        ..RULES
    };
    let mut bench = Bench::new(rules);
    for task in 0..5 {
        bench.panic(10 + task);
        bench.settle();
    }
    let report = bench.report();
    assert_eq!((report.dumps, report.suppressed.no_token), (2, 3));
    bench.pass(rules.every);
    bench.call("after a while");
    bench.settle();
    assert_eq!(bench.report().dumps, 3);
}

#[test]
fn the_quota_holds_and_strangers_are_left_alone() {
    let rules = Rules {
        debounce: Duration::ZERO,
        quota: Quota {
            bytes: u64::MAX,
            files: 2,
        },
        ..RULES
    };
    let strangers = ["shop.ript", "shop-1-1-cell.ript", "stock-1-1-call.ript"];
    let mut bench = Bench::only(rules, Reason::Call);
    for name in strangers.iter().chain(&["shop-1-9-call.ript"]) {
        let file = (0, vec![7]);
        bench.disk.0.lock().files.insert((*name).to_owned(), file);
    }
    for _ in 0..3 {
        bench.call("again");
        bench.settle();
    }
    let report = bench.report();
    assert_eq!((report.dumps, report.removed), (3, 2));
    let process = std::process::id();
    let own = [2, 3].map(|number| format!("shop-{process}-{number}-call.ript"));
    let mut expect: Vec<_> = strangers.iter().map(ToString::to_string).collect();
    expect.extend(own);
    expect.sort();
    assert_eq!(bench.disk.names(), expect);
    bench.disk.0.lock().is_locked = true;
    bench.call("nothing can be removed");
    bench.settle();
    assert_eq!(bench.report().suppressed.quota, 1);
}

#[test]
fn a_dump_that_is_larger_than_the_quota_leaves_nothing() {
    let rules = Rules {
        quota: Quota {
            bytes: 100,
            files: 10,
        },
        ..RULES
    };
    let mut bench = Bench::only(rules, Reason::Call);
    bench.call("too much");
    bench.settle();
    let report = bench.report();
    assert_eq!((report.dumps, report.suppressed.quota), (0, 1));
    assert_eq!(bench.disk.names(), Vec::<String>::new());
}

#[test]
fn a_full_disk_gets_no_half_file_and_is_tried_again() {
    for room in [0, 1, 100, 500] {
        let mut bench = Bench::only(RULES, Reason::Call);
        bench.disk.0.lock().room = Some(room);
        bench.call("it is full");
        bench.settle();
        let report = bench.report();
        assert_eq!((report.dumps, report.suppressed.disk), (0, 1), "{room}");
        assert_eq!(report.error, Some(io::ErrorKind::StorageFull));
        assert_eq!(bench.disk.names(), Vec::<String>::new(), "{room}");
        bench.disk.0.lock().room = None;
        bench.call("it is not");
        bench.settle();
        assert_eq!((bench.report().dumps, bench.disk.names().len()), (1, 1));
    }
}

#[test]
fn a_disk_that_has_gone_is_tried_again() {
    let mut bench = Bench::only(RULES, Reason::Call);
    for is_gone in [true, true, false] {
        bench.disk.0.lock().is_gone = is_gone;
        bench.call("is it there?");
        bench.settle();
    }
    let report = bench.report();
    assert_eq!((report.dumps, report.suppressed.disk), (1, 2));
    assert_eq!(report.error, Some(io::ErrorKind::NotFound));
}

#[test]
fn a_callback_that_panics_harms_nothing() {
    let rules = Rules {
        debounce: Duration::ZERO,
        ..RULES
    };
    let on_dump: OnDump = Box::new(|_| panic!("of the callback, as the test wants"));
    let mut bench = Bench::with(rules, &LIMITS, Some(on_dump));
    for _ in 0..2 {
        bench.call("again");
        bench.settle();
    }
    let report = bench.report();
    assert_eq!((report.dumps, report.callback_panics), (2, 2));
}

#[test]
fn what_waits_is_written_at_the_end() {
    let mut bench = Bench::only(RULES, Reason::Panic);
    bench.panic(7);
    let now = bench.recorder.shared().clock.raw();
    bench.run.last_look(now);
    assert_eq!((bench.report().dumps, bench.report().waiting), (1, 0));
}

#[test]
fn names_that_others_have_taken_are_passed_over() {
    let mut bench = Bench::only(RULES, Reason::Call);
    let process = std::process::id();
    let taken = [1, 2].map(|number| format!("shop-{process}-{number}-call.ript"));
    for name in &taken {
        let theirs = (0, b"theirs".to_vec());
        bench.disk.0.lock().files.insert(name.clone(), theirs);
    }
    bench.call("which number?");
    bench.settle();
    let third = format!("shop-{process}-3-call.ript");
    assert_eq!(bench.report().dumps, 1);
    let state = bench.disk.0.lock();
    assert!(state.files.contains_key(&third));
    assert!(taken.iter().all(|name| state.files[name].1 == b"theirs"));
}

/// Events are recorded, and triggers fired, while the thread of the flight is stuck in the disk. If any of
/// them waited for it, the disk would give up before them.
#[test]
fn nothing_waits_for_a_disk_that_is_stuck() {
    let mut bench = Bench::with(RULES, &LIMITS, None);
    let (told, is_stuck) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    bench.disk.0.lock().stuck = Some((told, goes));
    bench.call("the first");
    bench.look();
    bench.pass(RULES.after);
    let now = bench.recorder.shared().clock.raw();
    let Bench {
        clock,
        recorder,
        tasks,
        desk,
        mut run,
        root,
        guard: _guard,
        disk: _disk,
    } = bench;
    let thread = std::thread::spawn(move || {
        run.look(now);
        run
    });
    is_stuck
        .recv_timeout(BOUND)
        .expect("the thread is in a write");
    for task in 0..10_000 {
        let said = spawned(2_000_000 + task, &root);
        let by = tasks.spawned(&said);
        let turn = tasks.poll_started(by, None, None);
        *clock.0.lock() += MS * 100;
        turn.end(PollEnd::Lost, None);
        let ended = Ended {
            spawned: said,
            end: TaskEnd::Panicked,
            polls: 1,
            cause: None,
        };
        tasks.ended(by, &ended);
        let (ctx, guard) = root.child();
        guard.cancel(Kind::DeadlineExceeded);
        drop(ctx);
    }
    desk.note_call("also this");
    assert_eq!(desk.report.lock().waiting, 1, "it is still stuck");
    go.send(()).expect("it waits for this");
    let mut run = thread.join().expect("nothing panics");
    run.last_look(recorder.shared().clock.raw());
    let report = *desk.report.lock();
    for reason in [Reason::Panic, Reason::LongPoll, Reason::LostWaker] {
        assert_eq!(report.fired_by(reason), 10_000, "{reason}");
    }
    assert_eq!(report.dumps, 2);
}
