//! What is counted of trees and tasks, told by hand as an adapter would, on the clock of a test.

mod told;

use ripcord_core::tasks::{PollEnd, TaskEnd, ThreadKind, WokenBy};
use ripcord_core::{Cause, Ctx, Kind};
use ripcord_tracer::{Histogram, Mode, Recorder, Snapshot};
use std::time::Duration;
use told::Told;

/// A tick of the clock that is advanced by [`Told::pass`], in nanoseconds.
const TICK: u64 = 64;

fn metered() -> Told {
    Told::with(|builder| builder.mode(Mode::Metrics))
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(TICK * ticks)
}

/// How many durations there are, and what they add up to, in ticks.
fn of(histogram: &Histogram) -> (u64, u128) {
    (
        histogram.count(),
        histogram.sum().as_nanos() / u128::from(TICK),
    )
}

/// Reasons and tasks.
fn blocked(metrics: &Snapshot) -> Vec<(&str, u64)> {
    let rows = metrics.tasks_blocked.iter();
    rows.map(|row| (&*row.reason, row.tasks)).collect()
}

#[test]
fn the_life_of_a_task_is_counted_and_leaves_no_event() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let task = told.spawn(1_000_001, &root, "fetch");
    assert_eq!(told.recorder.metrics().tasks_runnable, 1, "spawned");
    told.pass(3);
    let turn = told.tasks.poll_started(task.by, None, Some(0));
    assert_eq!(told.recorder.metrics().tasks_running, 1);
    told.pass(10);
    turn.end(PollEnd::Pending, Some("recv"));
    assert_eq!(blocked(&told.recorder.metrics()), [("recv", 1)]);
    told.pass(100);
    told.tasks.woken(task.by, WokenBy::Foreign);
    told.pass(5);
    told.tasks.woken(task.by, WokenBy::Driver(0));
    assert_eq!(told.recorder.metrics().tasks_runnable, 1, "woken");
    let turn = told.tasks.poll_started(task.by, None, Some(0));
    told.pass(20);
    turn.end(PollEnd::Ready, None);
    told.end(task, TaskEnd::Ready, 2);
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.tasks_alive, metrics.tasks_spawned), (0, 1));
    assert_eq!(metrics.tasks_ended.ready, 1);
    assert_eq!((metrics.polls.pending, metrics.polls.ready), (1, 1));
    assert_eq!(of(&metrics.poll_durations), (2, 30));
    assert_eq!(of(&metrics.schedule_delays), (2, 8), "3 and 5");
    assert_eq!((metrics.wakes.foreign, metrics.wakes.driver), (1, 0));
    assert_eq!(metrics.uptime, ticks(138));
    assert_eq!(of(&metrics.cancel_latencies), (0, 0));
    let dumped = told.recorder.dump(&mut Vec::new());
    assert_eq!(dumped.expect("a vector takes all").events, 0);
}

#[test]
fn what_tasks_wait_for_has_a_label_or_who_woke_them_last() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let waits = [
        (Some("recv"), PollEnd::Pending, WokenBy::Itself),
        (Some("recv"), PollEnd::Pending, WokenBy::Foreign),
        (None, PollEnd::Pending, WokenBy::Driver(0)),
        (None, PollEnd::Pending, WokenBy::Cancel(None)),
        (None, PollEnd::Pending, WokenBy::Blocking),
        (None, PollEnd::Lost, WokenBy::Driver(0)),
        (None, PollEnd::Yielded, WokenBy::Itself),
        (None, PollEnd::Preempted, WokenBy::Runtime(0)),
    ];
    for ((label, end, by), number) in waits.into_iter().zip(1_000_001..) {
        let task = told.spawn(number, &root, "task");
        let poll = |end| told.tasks.poll_started(task.by, None, None).end(end, None);
        poll(PollEnd::Pending);
        told.tasks.woken(task.by, by);
        let turn = told.tasks.poll_started(task.by, None, None);
        turn.end(end, label);
    }
    let metrics = told.recorder.metrics();
    let expect = [
        ("recv", 2),
        ("(blocking)", 1),
        ("(context)", 1),
        ("(driver)", 1),
        ("(lost waker)", 1),
    ];
    assert_eq!(blocked(&metrics), expect);
    assert_eq!((metrics.tasks_runnable, metrics.tasks_alive), (2, 8));
    assert_eq!((metrics.polls.lost, metrics.polls.yielded), (1, 1));
    assert_eq!(metrics.polls.preempted, 1);
}

#[test]
fn a_waker_that_is_lost_after_the_poll_counts_too() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    for (number, end) in [(1_000_001, PollEnd::Lost), (1_000_002, PollEnd::Pending)] {
        let task = told.spawn(number, &root, "task");
        told.tasks.poll_started(task.by, None, None).end(end, None);
        if end == PollEnd::Pending {
            told.tasks.lost(task.by);
        }
    }
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.wakers_lost, metrics.polls.lost), (2, 1));
    assert_eq!(blocked(&metrics), [("(lost waker)", 2)]);
}

/// Whoever makes labels without end must not make series without end.
#[test]
fn labels_beyond_the_first_64_share_one_row() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    for number in 0..70_u64 {
        let task = told.spawn(1_000_001 + number, &root, "task");
        let label: &'static str = format!("wait {number}").leak();
        let turn = told.tasks.poll_started(task.by, None, None);
        turn.end(PollEnd::Pending, Some(label));
    }
    let metrics = told.recorder.metrics();
    let rows = blocked(&metrics);
    assert_eq!((rows.len(), rows[0]), (65, ("(other)", 6)));
}

#[test]
fn contexts_are_counted_by_how_they_end() {
    let told = metered();
    let (root, guard) = told.root_unnamed();
    assert!(root.recorded().is_none(), "it is only counted");
    let late = root.with_timeout(Duration::from_secs(1));
    let (call, call_guard) = root.child();
    drop(call_guard);
    drop(call);
    told.clock.advance(Duration::from_secs(2));
    assert!(late.check().is_err());
    guard.cancel(Kind::Shutdown);
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.contexts_created, metrics.contexts_live), (3, 2));
    let ended = metrics.contexts_ended;
    assert_eq!((ended.deadline_exceeded, ended.shutdown), (1, 1));
    assert_eq!((ended.cancelled, metrics.contexts_undrained), (0, 2));
    drop((late, root, guard));
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.contexts_live, metrics.contexts_undrained), (0, 0));
}

#[test]
fn what_ends_after_its_context_is_late_by_the_cause() {
    let told = metered();
    let cancelled = |kind: Kind| {
        let (ctx, guard) = told.root_unnamed();
        guard.cancel(Cause::new(kind));
        ctx.cause().expect("it was cancelled")
    };
    let gone = cancelled(Kind::PeerGone);
    let dropped = cancelled(Kind::Dropped);
    let (root, _guard) = told.root_unnamed();
    let due = root.with_timeout(ticks(50));
    told.pass(100);
    let due = due.cause().expect("it has passed");
    let spawn = |number: u64| told.spawn(1_000_001 + number, &root, "task");
    let old = spawn(0);
    told.pass(300);
    let young = spawn(1);
    told.pass(7);
    told.end_by(old, TaskEnd::Ready, 1, Some(&due));
    assert_eq!(of(&told.recorder.metrics().cancel_latencies), (1, 307));
    told.end_by(young, TaskEnd::Ready, 1, Some(&gone));
    let metrics = told.recorder.metrics();
    assert_eq!(of(&metrics.cancel_latencies), (2, 314), "since its spawn");
    told.end_by(spawn(2), TaskEnd::Aborted, 1, Some(&dropped));
    told.end(spawn(3), TaskEnd::Dropped, 1);
    told.end(spawn(4), TaskEnd::Panicked, 1);
    let metrics = told.recorder.metrics();
    assert_eq!(of(&metrics.cancel_latencies), (2, 314));
    let ended = metrics.tasks_ended;
    assert_eq!((ended.ready, ended.aborted), (2, 1));
    assert_eq!((ended.dropped, ended.panicked), (1, 1));
}

#[test]
fn jobs_are_queued_run_and_over() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let [one, two] = [1_000_001, 1_000_002].map(|number| told.begin(number, &root, "job", true));
    told.pass(40);
    let inside = told.tasks.blocking_started(one.by, None);
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.jobs_queued, metrics.jobs_running), (1, 1));
    assert_eq!(of(&metrics.job_waits), (1, 40));
    drop(inside);
    told.end(one, TaskEnd::Ready, 1);
    told.end(two, TaskEnd::Dropped, 0);
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.jobs_queued, metrics.jobs_running), (0, 0));
    assert_eq!((metrics.jobs_spawned, metrics.jobs_ended), (2, 2));
    assert_eq!((metrics.tasks_spawned, metrics.tasks_ended.ready), (0, 0));
}

#[test]
fn workers_are_busy_idle_and_stalled() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let task = told.spawn(1_000_001, &root, "task");
    told.tasks.parked(Some(0));
    told.pass(10);
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.workers, metrics.workers_parked), (1, 1));
    assert_eq!(metrics.workers_idle, ticks(10), "while it is");
    told.tasks.unparked(Some(0));
    let turn = told.tasks.poll_started(task.by, None, Some(0));
    told.clock.advance(Duration::from_millis(150));
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.workers_parked, metrics.workers_stalled), (0, 1));
    assert_eq!(metrics.workers_stall, Duration::from_millis(150));
    turn.end(PollEnd::Pending, None);
    let turn = told.tasks.poll_started(task.by, None, Some(0));
    told.clock.advance(Duration::from_millis(20));
    turn.end(PollEnd::Pending, None);
    told.tasks.parked(Some(0));
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.polls_long, metrics.workers_stalled), (2, 0));
    assert_eq!(metrics.workers_stall, Duration::from_millis(150));
    assert_eq!(metrics.workers_busy, Duration::from_millis(170));
    assert_eq!(metrics.workers_idle, ticks(10));
}

#[test]
fn what_a_thread_has_counted_stays_when_it_ends() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let tasks = told.tasks.clone();
    for _ in 0..3 {
        let (root, tasks) = (root.clone(), tasks.clone());
        let thread = std::thread::spawn(move || {
            tasks.parked(Some(0));
            drop(root.child());
            tasks.thread_stopped(ThreadKind::Worker);
        });
        thread.join().expect("nothing panics");
    }
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.contexts_created, metrics.contexts_live), (4, 1));
    assert_eq!(metrics.workers, 0, "all have ended");
}

#[test]
fn a_recorder_that_records_counts_what_it_records() {
    let told = Told::new();
    let (root, guard) = told.root("root");
    let task = told.spawn(1_000_001, &root, "task");
    guard.cancel(Kind::PeerGone);
    told.clock.advance(Duration::from_secs(6));
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.tasks_overdue, metrics.tasks_ghosts), (1, 1));
    assert_eq!(metrics.overdue_longest, Duration::from_secs(6));
    assert_eq!(
        (metrics.contexts_live, metrics.contexts_ended.peer_gone),
        (1, 1)
    );
    assert_eq!(metrics.contexts_undrained, 1);
    told.end(task, TaskEnd::Ready, 0);
    drop((root, guard));
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.tasks_overdue, metrics.contexts_live), (0, 0));
    assert_eq!(metrics.contexts_undrained, 0);
}

#[test]
fn the_mode_can_change_while_a_tree_lives() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let task = told.spawn(1_000_001, &root, "task");
    told.recorder.set_mode(Mode::Full);
    let (call, call_guard) = root.named("call").child();
    assert!(call.recorded().is_some());
    told.tasks
        .poll_started(task.by, None, Some(0))
        .end(PollEnd::Pending, None);
    told.call(&call, "call");
    let lines = told.lines();
    let expect = [
        "+0 ctx_create id=call parent=- kind=child loc=1 deadline=- name=\"call\"",
        "+0 poll_start slot=0 seq=0",
        "+0 poll_pending label=-",
    ];
    assert_eq!(lines, expect, "what it began with is not recorded");
    told.recorder.set_mode(Mode::Metrics);
    assert_eq!(told.recorder.mode(), Mode::Metrics);
    told.tasks.woken(task.by, WokenBy::Foreign);
    drop((call, call_guard));
    assert_eq!(told.lines().len(), expect.len(), "no event");
    let metrics = told.recorder.metrics();
    assert_eq!((metrics.contexts_created, metrics.contexts_live), (2, 1));
    assert_eq!(metrics.wakes.foreign, 1);
}

#[test]
fn polls_are_counted_beside_events_where_that_is_asked_for() {
    for (asked, expect) in [(false, 0), (true, 1)] {
        let told = Told::with(|builder| {
            if asked {
                builder.count_polls()
            } else {
                builder
            }
        });
        let (root, _guard) = told.root("root");
        let task = told.spawn(1_000_001, &root, "task");
        told.tasks.parked(Some(0));
        told.tasks.woken(task.by, WokenBy::Foreign);
        let turn = told.tasks.poll_started(task.by, None, Some(0));
        turn.end(PollEnd::Pending, Some("recv"));
        let metrics = told.recorder.metrics();
        let (polls, delays) = (&metrics.poll_durations, &metrics.schedule_delays);
        assert_eq!((polls.count(), delays.count()), (expect, expect));
        assert_eq!(
            (metrics.wakes.foreign, metrics.workers_parked),
            (expect, expect)
        );
        assert_eq!(blocked(&metrics).is_empty(), !asked);
        assert_eq!(metrics.tasks_alive, 1);
        let lines = told.lines();
        let ends = ["park", "wake ", "poll_start ", "poll_pending "];
        for end in ends {
            let is_there = lines
                .iter()
                .any(|line| line.starts_with(&format!("+0 {end}")));
            assert!(is_there, "{end} of {lines:?}");
        }
    }
}

/// It is foreign code.
#[test]
fn whoever_knows_what_is_late_may_panic() {
    let (ctx, guard) = Ctx::background().child();
    guard.cancel(Kind::PeerGone);
    let cause = ctx.cause().expect("it was cancelled");
    let recorder = Recorder::builder().mode(Mode::Metrics).build();
    recorder.overdue_from(move |tell| {
        tell(&cause, Some(Duration::from_secs(1)));
        tell(&Cause::new(Kind::Dropped), Some(Duration::from_secs(99)));
        panic!("a bug");
    });
    let metrics = recorder.metrics();
    assert_eq!((metrics.tasks_overdue, metrics.tasks_ghosts), (1, 0));
    assert_eq!(metrics.overdue_longest, Duration::from_secs(1));
}
