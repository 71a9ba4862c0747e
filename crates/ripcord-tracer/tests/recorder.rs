//! What is recorded of trees and tasks, told by hand as an adapter would, on the clock of a test.

mod told;

use ripcord_core::tasks::{Inside, PollEnd, StackText, TaskEnd, ThreadKind, WokenBy};
use ripcord_core::{CancelGuard, Cause, Ctx, Kind};
use ripcord_tracer::{Losses, Mode, Recorder};
use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use told::{Told, twin};

/// Leaves out what is the same in every test: that the thread was seen for the first time.
fn without_start(lines: &[String]) -> Vec<&str> {
    let rest = lines.iter().map(String::as_str);
    rest.filter(|line| !line.contains(" thread_start "))
        .collect()
}

#[test]
fn the_life_of_a_task_and_of_its_context() {
    let told = Told::new();
    let (root, guard) = told.root("request");
    let (own, _own) = root.named("fetch").child();
    told.call(&own, "own");
    let task = told.spawn(1_000_001, &own, "fetch");
    told.pass(1);
    let turn = told.tasks.poll_started(task.by, own.recorded_id(), Some(0));
    told.pass(10);
    let mut done = pin!(own.done());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(done.as_mut().poll(&mut cx).is_pending());
    turn.end(PollEnd::Pending, None);
    told.pass(1);
    guard.cancel(Cause::new(Kind::PeerGone).with_message("hung up"));
    told.tasks
        .woken(task.by, WokenBy::Cancel(root.recorded_id()));
    told.tasks.woken(task.by, WokenBy::Foreign);
    told.pass(2);
    let turn = told.tasks.poll_started(task.by, own.recorded_id(), Some(0));
    assert!(done.as_mut().poll(&mut cx).is_ready());
    told.pass(5);
    turn.end(PollEnd::Ready, None);
    told.end(task, TaskEnd::Ready, 2);
    drop(own);
    let expect = [
        "+0 ctx_create id=request parent=- kind=root loc=0 deadline=- name=\"request\"",
        "+0 ctx_create id=own parent=request kind=child loc=1 deadline=- name=\"fetch\"",
        "+0 task_spawn slot=0 id=1000001 parent=- ctx=own loc=2 bytes=96 name=\"fetch\"",
        "+1 poll_start slot=0 seq=0",
        "+10 poll_listening label=0",
        "+1 ctx_cancel id=request kind=peer_gone by=- loc=4 due=- message=\"hung up\"",
        "+0 wake slot=0 seq=1 by=cancel waker=request",
        "+2 poll_start slot=0 seq=1",
        "+0 ctx_seen id=own task=1000001 how=unlisted loc=-",
        "+5 poll_ready",
        "+0 task_end slot=0 id=1000001 outcome=ready parent=- ctx=own loc=2 polls=2 busy=15 name=\"fetch\"",
    ];
    let lines = told.lines();
    assert_eq!(
        lines[0],
        "+0 thread_start kind=unlisted name=\"the_life_of_a_task_and_of_its_context\""
    );
    assert_eq!(without_start(&lines)[..expect.len()], expect);
}

#[test]
fn a_deadline_says_when_it_was_due() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    told.pass(100);
    let call = root.with_timeout(Duration::from_nanos(6_400));
    told.call(&call, "call");
    told.pass(350);
    assert!(call.check().is_err());
    let lines = told.lines();
    let expect = [
        "+0 ctx_create id=root parent=- kind=root loc=0 deadline=- name=\"root\"",
        "+100 ctx_create id=call parent=root kind=deadline loc=1 deadline=100 name=\"\"",
        "+350 ctx_cancel id=call kind=deadline_exceeded by=- loc=1 due=-250 message=\"\"",
        "+0 ctx_seen id=call task=- how=unlisted loc=-",
    ];
    assert_eq!(without_start(&lines), expect);
}

#[test]
fn who_woke_is_told_by_slot_worker_and_thread() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    let [one, two] = [1_000_001, 1_000_002].map(|number| told.spawn(number, &root, "task"));
    let job = told.begin(1_000_003, &root, "job", true);
    let cases = [
        (WokenBy::Task(two.by), "by=task waker=1"),
        (WokenBy::Task(job.by), "by=blocking waker=1"),
        (WokenBy::Completion(two.by), "by=completion waker=1"),
        (WokenBy::Itself, "by=itself waker=-"),
        (WokenBy::Driver(3), "by=driver waker=3"),
        (WokenBy::Runtime(4), "by=runtime waker=4"),
        (WokenBy::Blocking, "by=blocking waker=1"),
        (WokenBy::Foreign, "by=foreign waker=1"),
        (WokenBy::Cancel(root.recorded_id()), "by=cancel waker=root"),
        (WokenBy::Cancel(None), "by=cancel waker=-"),
    ];
    for (by, _) in cases {
        told.tasks.woken(one.by, by);
        told.tasks
            .poll_started(one.by, None, Some(0))
            .end(PollEnd::Pending, None);
    }
    let lines = told.lines();
    let wakes = lines
        .iter()
        .filter_map(|line| line.strip_prefix("+0 wake slot=0 "));
    let expect = cases.iter().zip(0..);
    let expect = expect.map(|((_, by), seq)| format!("seq={seq} {by}"));
    assert_eq!(wakes.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
}

#[test]
fn a_task_that_loses_its_last_waker_later_is_told_by_its_slot() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    told.spawn(1_000_001, &root, "other");
    let task = told.spawn(1_000_002, &root, "task");
    told.tasks
        .poll_started(task.by, None, Some(0))
        .end(PollEnd::Pending, None);
    told.tasks.lost(task.by);
    let lines = told.lines();
    let lost = lines.iter().filter(|line| line.contains("lost"));
    assert_eq!(lost.collect::<Vec<_>>(), ["+0 task_lost slot=1"]);
}

#[test]
fn each_end_of_a_poll_is_told() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    let task = told.spawn(1_000_001, &root, "task");
    let cases = [
        (PollEnd::Pending, Some("recv"), Some("poll_pending label=0")),
        (PollEnd::Pending, None, Some("poll_pending label=-")),
        (PollEnd::Yielded, None, Some("poll_yield")),
        (PollEnd::Preempted, None, Some("poll_preempt")),
        (PollEnd::Lost, None, Some("poll_lost")),
        (PollEnd::Panicked, None, None),
        (PollEnd::Ready, None, Some("poll_ready")),
    ];
    for (end, label, _) in cases {
        told.tasks
            .poll_started(task.by, None, Some(0))
            .end(end, label);
    }
    let lines = told.lines();
    let ends = lines
        .iter()
        .filter_map(|line| line.strip_prefix("+0 poll_"));
    let ends = ends.filter(|line| !line.starts_with("start"));
    let expect = cases.iter().filter_map(|(_, _, line)| *line);
    let expect = expect.filter_map(|line| line.strip_prefix("poll_"));
    assert_eq!(ends.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
}

#[test]
fn blocking_work_marks_and_threads() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    told.tasks.parked(Some(0));
    told.tasks.unparked(Some(0));
    let job = told.begin(1_000_003, &root, "hash", true);
    let inside = told.tasks.blocking_started(job.by, root.recorded_id());
    root.enter_sync(|| {
        ripcord_core::tasks::trace_log("half of it");
        drop(ripcord_core::tasks::user_task("checkout"));
    });
    drop(inside);
    told.end(job, TaskEnd::Panicked, 1);
    told.tasks.thread_stopped(ThreadKind::Blocking);
    let lines = told.lines();
    let expect = [
        "+0 park",
        "+0 unpark",
        "+0 job_queued job=1000003 parent=- ctx=root loc=1 name=\"hash\"",
        "+0 job_start job=1000003",
        "+0 log text=\"half of it\"",
        "+0 user_task_begin",
        "+0 user_task_end",
        "+0 job_end job=1000003 outcome=panicked parent=- ctx=root loc=1 name=\"hash\"",
        "+0 thread_stop",
    ];
    let found = without_start(&lines);
    // The number of a user task depends on what else has run in the process.
    let found = found
        .iter()
        .skip(1)
        .map(|line| match line.split_once(" id=") {
            Some((before, _)) if before.contains("user_task") => before,
            _ => *line,
        });
    assert_eq!(found.collect::<Vec<_>>(), expect);
}

/// The tasks of connections enter the context of a request in each poll.
#[test]
fn another_context_is_told_once_for_many_polls() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    let (request, _request) = root.child();
    told.call(&request, "request");
    let task = told.spawn(1_000_001, &root, "connection");
    for enters in [true, true, false, false] {
        let turn = told.tasks.poll_started(task.by, root.recorded_id(), None);
        if enters {
            root.enter_sync(|| request.enter_sync(|| ()));
        }
        turn.end(PollEnd::Pending, None);
    }
    let lines = told.lines();
    let found: Vec<&str> = without_start(&lines)[3..]
        .iter()
        .map(|line| line.trim_start_matches("+0 "))
        .collect();
    let expect = [
        "poll_start slot=0 seq=0",
        "task_ctx slot=0 ctx=request",
        "poll_pending label=-",
        "poll_start slot=0 seq=1",
        "poll_pending label=-",
        "poll_start slot=0 seq=2",
        "task_ctx slot=0 ctx=root",
        "poll_pending label=-",
        "poll_start slot=0 seq=3",
        "poll_pending label=-",
    ];
    assert_eq!(found, expect);
}

#[test]
fn what_lives_is_told_whatever_the_ring_has_forgotten() {
    let told = Told::with(|builder| builder.memory(1));
    let (root, guard) = told.root("root");
    told.pass(3);
    let inside = Inside::new(told.spawn(1_000_000, &root, "first").by, None);
    let old = told.spawn(1_000_001, &root, "old");
    drop(inside);
    let job = told.begin(1_000_002, &root, "job", true);
    told.pass(4);
    guard.cancel(Cause::new(Kind::Shutdown).with_message("deploy"));
    let gone = told.spawn(1_000_003, &Ctx::background(), "gone");
    told.end(gone, TaskEnd::Aborted, 0);
    for _ in 0..20_000 {
        told.tasks
            .poll_started(old.by, None, None)
            .end(PollEnd::Pending, None);
    }
    assert!(told.recorder.losses().evicted > 0);
    assert!(!told.lines().iter().any(|line| line.contains("task_spawn")));
    let thread =
        "+0 thread_start kind=unlisted name=\"what_lives_is_told_whatever_the_ring_has_forgotten\"";
    let expect = [
        thread,
        "+0 ctx_create id=root parent=- kind=root loc=0 deadline=- name=\"root\"",
        "+3 task_spawn slot=0 id=1000000 parent=- ctx=root loc=1 bytes=96 name=\"first\"",
        "+0 task_spawn slot=1 id=1000001 parent=1000000 ctx=root loc=2 bytes=96 name=\"old\"",
        "+0 job_queued job=1000002 parent=- ctx=root loc=3 name=\"job\"",
        "+4 ctx_cancel id=root kind=shutdown by=- loc=4 due=- message=\"deploy\"",
    ];
    assert_eq!(told.registry(), expect);
    told.end(old, TaskEnd::Ready, 20_000);
    told.end(job, TaskEnd::Ready, 1);
    assert_eq!(told.registry().len(), 4);
}

#[test]
fn every_event_is_remembered_or_counted() {
    let told = Told::with(|builder| builder.memory(40_000));
    let (root, _guard) = told.root("root");
    let task = told.spawn(1_000_001, &root, "task");
    for polls in 1..=30_000 {
        told.tasks
            .poll_started(task.by, None, None)
            .end(PollEnd::Pending, None);
        if polls % 10_000 == 0 {
            let dumped = told.recorder.dump(&mut Vec::new()).expect("a vector");
            let Losses { evicted, lost, .. } = told.recorder.losses();
            // The thread, the context, the task.
            assert_eq!(dumped.events + evicted + lost, 3 + 2 * polls);
        }
    }
}

#[test]
fn what_is_off_costs_no_event_and_what_is_on_goes_on() {
    let told = Told::with(|builder| builder.mode(Mode::Off));
    let (root, _guard) = told.root_unnamed();
    let unseen = told.spawn(1_000_001, &root, "unseen");
    let poll = |task: told::Task| {
        let turn = told.tasks.poll_started(task.by, None, None);
        turn.end(PollEnd::Pending, None);
    };
    poll(unseen);
    told.recorder.set_mode(Mode::Full);
    poll(unseen);
    let seen = told.spawn(1_000_002, &root, "seen");
    told.recorder.set_mode(Mode::Off);
    poll(seen);
    let unseen = told.spawn(1_000_003, &root, "unseen");
    poll(unseen);
    let lines = told.lines();
    assert_eq!(without_start(&lines).len(), 3, "{lines:#?}");
    told.end(seen, TaskEnd::Ready, 1);
    assert!(told.registry().len() == 1, "only the thread is left");
}

struct Deep;

impl StackText for Deep {
    fn leaves(&self) -> Vec<Vec<String>> {
        let frame = |at: usize| format!("shop::f{at} at src/shop.rs:{at}:5");
        vec![
            (0..100).map(frame).collect(),
            vec!["tokio::sync::mutex".to_owned()],
        ]
    }
}

#[test]
fn a_stack_is_cut_after_a_whole_frame() {
    let told = Told::new();
    let (root, _guard) = told.root("root");
    let task = told.spawn(1_000_001, &root, "task");
    let stack: Arc<dyn StackText> = Arc::new(Deep);
    told.tasks.stack_taken(task.by, &stack);
    let twin = twin(&told.dump());
    let stacks: Vec<&str> = twin
        .lines()
        .filter(|line| line.contains(" stack task=1000001 "))
        .collect();
    let [first, second] = stacks[..] else {
        panic!("two leaves: {stacks:#?}");
    };
    assert!(
        first.contains(
            "task=1000001 why=asked leaf=0 text=\"shop::f0 at src/shop.rs:0:5\\nshop::f1 "
        )
    );
    assert!(first.ends_with(":5\""), "{first}");
    assert!(first.len() < 1_100 && first.len() > 1_000, "{first}");
    assert!(second.ends_with("leaf=1 text=\"tokio::sync::mutex\""));
}

#[test]
fn two_recorders_on_one_thread_keep_to_themselves() {
    let [one, two] = [Told::new(), Told::new()];
    for _ in 0..3 {
        let _one = one.root("one");
        let _two = two.root("two");
    }
    for (told, name) in [(&one, "one"), (&two, "two")] {
        let lines = told.lines();
        let created = lines.iter().filter(|line| line.contains(" ctx_create "));
        let names: Vec<&str> = created
            .map(|line| &line[line.len() - 4..line.len() - 1])
            .collect();
        assert_eq!(names, [name; 3]);
    }
}

#[test]
fn beyond_its_room_tasks_are_counted() {
    let told = Told::with(|builder| builder.live_max(1));
    let (root, _guard) = told.root("root");
    let tasks: Vec<_> = (0..1_030)
        .map(|number| told.spawn(1_000_000 + number, &root, "task"))
        .collect();
    assert_eq!(told.recorder.losses().unplaced, 6);
    for task in tasks {
        told.end(task, TaskEnd::Ready, 0);
    }
    told.spawn(2_000_000, &root, "task");
    assert_eq!(told.recorder.losses().unplaced, 6);
}

thread_local! {
    static HELD: RefCell<Option<(Ctx, CancelGuard)>> = const { RefCell::new(None) };
}

/// Thread-locals go in the reverse order of their first use, so the recorder's part of the thread is gone
/// when the context is.
#[test]
fn what_ends_while_its_thread_is_torn_down_is_not_listed_for_ever() {
    let told = Told::new();
    let recorder = told.recorder.clone();
    // A scope does not wait for destructors of thread-locals; a join does.
    let thread = std::thread::spawn(move || {
        HELD.with(|held| {
            drop(held.borrow());
            *held.borrow_mut() = Some(told_root(&recorder));
        });
    });
    thread.join().expect("it does not panic");
    assert!(told.recorder.losses().unwritten > 0, "there was no event");
    let registry = told.registry();
    let contexts = registry.iter().filter(|line| line.contains("ctx_create"));
    assert_eq!(contexts.count(), 0, "{registry:#?}");
}

fn told_root(recorder: &Recorder) -> (Ctx, CancelGuard) {
    Ctx::root().observer(recorder.observer()).build()
}
