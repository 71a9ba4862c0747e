//! The seam for task observers, without a runtime: what an adapter may rely on.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

use ripcord_core::tasks::{
    Inside, Mark, PollEnd, TaskObserver, TaskRef, Tasks, Wait, WokenBy, current_task, labelled,
    region, trace_log,
};
use ripcord_core::{Ctx, Info, Observer, foreign_panics};
use ripcord_test::ManualTask;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn note(&self, line: String) {
        self.0.lock().expect("no test poisons it").push(line);
    }

    #[track_caller]
    fn expect(&self, lines: &[&str]) {
        let told = std::mem::take(&mut *self.0.lock().expect("no test poisons it"));
        assert_eq!(told, lines);
    }
}

impl Observer for Log {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        self.note("asked".to_owned());
        Some(self)
    }
}

impl TaskObserver for Log {
    fn poll_started(&self, task: TaskRef, worker: Option<u32>) {
        self.note(format!("poll {} {worker:?}", task.id));
    }

    fn poll_ended(&self, task: TaskRef, end: PollEnd, wait: Wait) {
        let waits_for = wait.label.unwrap_or("-");
        let listens = if wait.listens { " listens" } else { "" };
        self.note(format!("{end:?} {} {waits_for}{listens}", task.id));
    }

    fn woken(&self, task: TaskRef, _: WokenBy) {
        assert_ne!(task.id, 13, "a bug in an observer");
    }

    fn region_begun(&self, region: &Mark<'static>) {
        self.note(format!(
            "begin {:?} {}",
            region.task.map(|task| task.id),
            region.text
        ));
    }

    fn region_ended(&self, _: u64) {
        self.note("end".to_owned());
    }

    fn logged(&self, line: &Mark<'_>) {
        self.note(format!(
            "log {:?} {}",
            line.task.map(|task| task.id),
            line.text
        ));
    }
}

/// As an adapter would have it that was told a key.
fn task(id: u64) -> TaskRef {
    TaskRef { id, key: id + 100 }
}

fn tree() -> (Arc<Log>, Ctx, ripcord_core::CancelGuard) {
    let log = Arc::new(Log::default());
    let observer: Arc<dyn Observer> = Arc::<Log>::clone(&log);
    let (root, guard) = Ctx::root().observer(observer).build();
    log.expect(&["asked"]);
    (log, root, guard)
}

/// An observer of contexts alone.
struct Contexts(bool);
impl Observer for Contexts {
    fn created(&self, _: &Info<'_>) {}
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        assert!(!self.0, "a bug in an observer");
        None
    }
}

//= C143
#[test]
fn an_observer_is_asked_once_and_known_below() {
    let (log, root, _guard) = tree();
    let (child, _guard) = root.named("child").child();
    assert!(child.tasks().is_some() && child.detach().tasks().is_some());
    assert_ne!(child.recorded_id(), root.recorded_id());
    log.expect(&[]);
    // Who is only told of contexts, and who panics when asked, is no task observer.
    for panics in [false, true] {
        let (root, _guard) = Ctx::root().observer(Arc::new(Contexts(panics))).build();
        assert!(root.tasks().is_none() && root.recorded_id().is_some());
    }
    let (watched, _guard, _watch) = Ctx::background().watched_child();
    assert_eq!(watched.recorded_id(), None, "nobody knows its number");
}

//= C138
#[test]
fn polls_nest_and_a_panic_ends_one() {
    let (log, root, _guard) = tree();
    let tasks = root.tasks().expect("it has an observer");
    let outer = tasks.poll_started(task(1), None, Some(3));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _inner = tasks.poll_started(task(2), None, None);
        assert_eq!(current_task(), Some(task(2)));
        panic!("a bug");
    }));
    assert!(panicked.is_err());
    assert_eq!(current_task(), Some(task(1)));
    let inside = Inside::new(task(7), None);
    assert_eq!(current_task(), Some(task(7)));
    drop(inside);
    outer.end(PollEnd::Ready, None);
    assert_eq!(current_task(), None);
    log.expect(&["poll 1 Some(3)", "poll 2 None", "Panicked 2 -", "Ready 1 -"]);
}

//= C144
#[test]
fn a_panic_of_an_observer_is_counted_and_the_next_event_told() {
    let (log, root, _guard) = tree();
    let tasks = root.tasks().expect("it has an observer");
    let before = foreign_panics();
    tasks.woken(task(13), WokenBy::Foreign);
    assert!(foreign_panics() > before);
    tasks
        .poll_started(task(1), None, None)
        .end(PollEnd::Lost, None);
    log.expect(&["poll 1 None", "Lost 1 -"]);
}

/// One poll of task 1, and how it is told to have ended.
#[track_caller]
fn waits_for(tasks: &Tasks, log: &Log, future: impl Future, expect: &str) {
    let mut future = pin!(future);
    let turn = tasks.poll_started(task(1), None, None);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let end = match future.as_mut().poll(&mut cx) {
        Poll::Ready(_) => PollEnd::Ready,
        Poll::Pending => PollEnd::Pending,
    };
    turn.end(end, None);
    log.expect(&["poll 1 None", expect]);
}

//= C141
#[test]
fn the_label_is_that_of_the_first_pending_leaf() {
    fn leaf(label: &'static str, is_ready: bool) -> impl Future<Output = ()> {
        poll_fn(move |_| {
            labelled(label, || {
                if is_ready {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        })
    }
    let (log, root, _guard) = tree();
    let tasks = root.tasks().expect("it has an observer");
    let check = |future: &mut dyn FnMut(&mut std::task::Context<'_>) -> Poll<()>, expect| {
        waits_for(&tasks, &log, poll_fn(future), expect);
    };
    waits_for(&tasks, &log, pending::<()>(), "Pending 1 -");
    waits_for(&tasks, &log, root.done(), "Pending 1 done listens");
    // The way out of a run is not what it waits for.
    waits_for(
        &tasks,
        &log,
        root.run(pending::<()>()),
        "Pending 1 - listens",
    );
    let run = root.run(leaf("a", false));
    waits_for(&tasks, &log, run, "Pending 1 a listens");
    waits_for(&tasks, &log, leaf("a", true), "Ready 1 -");
    let (mut a, mut b) = (pin!(leaf("a", false)), pin!(leaf("b", false)));
    check(
        &mut |cx| {
            let _ = a.as_mut().poll(cx);
            b.as_mut().poll(cx)
        },
        "Pending 1 a",
    );
    let (mut a, mut b) = (pin!(leaf("a", true)), pin!(leaf("b", false)));
    check(
        &mut |cx| {
            let _ = a.as_mut().poll(cx);
            b.as_mut().poll(cx)
        },
        "Pending 1 b",
    );
    let (mut within, mut lone) = (pin!(leaf("part", false)), pin!(pending::<()>()));
    // A leaf made of others is one leaf; a region is none.
    check(
        &mut |cx| labelled("whole", || within.as_mut().poll(cx)),
        "Pending 1 whole",
    );
    let mut outer = pin!(region("outer", poll_fn(|cx| within.as_mut().poll(cx))));
    check(&mut |cx| outer.as_mut().poll(cx), "Pending 1 part");
    let mut outer = pin!(region("outer", poll_fn(|cx| lone.as_mut().poll(cx))));
    check(&mut |cx| outer.as_mut().poll(cx), "Pending 1 outer");
    let turn = tasks.poll_started(task(1), None, None);
    turn.end(PollEnd::Pending, Some("the adapter's own"));
    log.expect(&["poll 1 None", "Pending 1 the adapter's own"]);
}

//= C141
#[test]
fn a_region_begins_with_its_first_poll_and_ends_with_its_future() {
    let (log, root, _guard) = tree();
    let named = root.enter(region("load", async {
        trace_log("within");
        pending::<()>().await;
    }));
    let mut task = ManualTask::new(named);
    log.expect(&[]);
    assert!(task.poll().is_pending() && task.poll().is_pending());
    log.expect(&["begin None load", "log None within"]);
    drop(task);
    log.expect(&["end"]);
}
