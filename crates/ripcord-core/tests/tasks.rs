//! The seam for task observers, without a runtime: what an adapter may rely on.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

use ripcord_core::tasks::{
    ContextRef, Ended, Inside, Mark, PollEnd, Spawned, TaskEnd, TaskObserver, TaskRef, Tasks, Wait,
    WokenBy, current_task, labelled, region, trace_log, woken_here,
};
use ripcord_core::{Armed, Cause, Ctx, Info, Observer, Source, Sweep, Sweeper, foreign_panics};
use ripcord_test::{ManualTask, TestClock};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn note(&self, line: String) {
        self.0.lock().expect("no test poisons it").push(line);
    }

    fn take(&self) {
        self.0.lock().expect("no test poisons it").clear();
    }

    #[track_caller]
    fn expect(&self, lines: &[&str]) {
        let told = std::mem::take(&mut *self.0.lock().expect("no test poisons it"));
        assert_eq!(told, lines);
    }
}

impl Observer for Log {
    fn vain_deadline(
        &self,
        context: &Info<'_>,
        deadline: Instant,
        site: Option<&'static Location<'static>>,
    ) {
        let before = deadline.saturating_duration_since(context.created);
        let line = site.map_or(0, Location::line);
        self.note(format!("vain {} {before:?} {line}", context.id));
    }

    fn tagged(&self, context: &Info<'_>, key: &'static str, value: &str) {
        self.note(format!("tag {} {key} {value}", context.id));
    }

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

/// A waker of task 1 that notes who wakes it.
#[derive(Default)]
struct Wakes(Mutex<Vec<Option<WokenBy>>>);

impl Wakes {
    fn take(&self) -> Vec<Option<WokenBy>> {
        std::mem::take(&mut *self.0.lock().expect("no test poisons it"))
    }

    /// One poll of task 1 with this waker.
    fn polls(self: &Arc<Self>, future: impl Future + Unpin) -> bool {
        let _inside = Inside::new(task(1), None);
        let waker = Waker::from(Arc::clone(self));
        let mut cx = std::task::Context::from_waker(&waker);
        pin!(future).as_mut().poll(&mut cx).is_ready()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let by = woken_here(task(1));
        self.0.lock().expect("no test poisons it").push(by);
    }
}

/// What waits at `ctx` is woken once by `end`, by the end of the context of that number.
#[track_caller]
fn woken_by_end(ctx: &Ctx, end: impl FnOnce(), origin: Option<u64>) {
    let wakes = Arc::new(Wakes::default());
    let mut done = ctx.done();
    assert!(!wakes.polls(&mut done));
    end();
    assert_eq!(wakes.take(), [Some(WokenBy::Cancel(origin))]);
    assert_eq!(woken_here(task(1)), None, "it is over");
}

fn clock_tree() -> (TestClock, Ctx, ripcord_core::CancelGuard) {
    let clock = TestClock::new();
    let (root, guard) = clock.root().observer(Arc::new(Log::default())).build();
    (clock, root, guard)
}

const SECOND: Duration = Duration::from_secs(1);

//= C139
#[test]
fn the_end_of_a_context_is_who_wakes() {
    let (clock, root, _guard) = clock_tree();
    let (outer, guard) = root.child();
    let (inner, _inner_guard) = outer.child();
    woken_by_end(&inner, || drop(guard), outer.recorded_id());

    let (ctx, guard) = root.child();
    woken_by_end(&ctx, || assert!(guard.cancel("enough")), ctx.recorded_id());

    let (ctx, guard) = root.child();
    let both = Ctx::merge([&root.child().0, &ctx, &root.with_timeout(9 * SECOND)]);
    assert!(both.is_done(), "one guard was dropped");
    let other = root.with_timeout(9 * SECOND);
    let both = Ctx::merge([&ctx, &other]);
    woken_by_end(&both, || drop(guard), ctx.recorded_id());

    let timed = root.with_timeout(SECOND);
    woken_by_end(&timed, || clock.advance(SECOND), timed.recorded_id());

    // Where the end began is somewhere above.
    let (ctx, guard) = root.child();
    let shield = ctx.shield(SECOND);
    guard.cancel("enough");
    woken_by_end(&shield, || clock.advance(SECOND), None);
    // Nobody has given the context a number.
    let (ctx, guard) = Ctx::background().child();
    woken_by_end(&ctx, || drop(guard), None);
}

//= C139
#[test]
fn a_drain_and_a_force_wake_as_an_end_does() {
    let (_clock, root, _guard) = clock_tree();
    let (ctx, guard) = root.child();
    let wakes = Arc::new(Wakes::default());
    let mut draining = ctx.draining();
    let shield = ctx.shield(ripcord_core::Grace::UNBOUNDED);
    let mut done = shield.done();
    assert!(!wakes.polls(&mut draining) && !wakes.polls(&mut done));
    let by_ctx = Some(WokenBy::Cancel(ctx.recorded_id()));
    assert!(guard.drain());
    assert_eq!(wakes.take(), [by_ctx]);
    assert!(guard.cancel("enough") && wakes.take().is_empty());
    assert!(guard.force("now"));
    assert_eq!(wakes.take(), [by_ctx]);
    // A force below an end that began above.
    let (outer, outer_guard) = root.child();
    let (inner, inner_guard) = outer.child();
    let shield = inner.shield(ripcord_core::Grace::UNBOUNDED);
    outer_guard.cancel("enough");
    woken_by_end(&shield, || assert!(inner_guard.force("now")), None);
}

//= C139
#[test]
fn a_source_and_a_sweeper_wake_for_the_context() {
    #[derive(Default)]
    struct Token(Mutex<(Option<Cause>, Vec<Waker>)>);
    impl Source for Token {
        fn cause(&self) -> Option<Cause> {
            self.0.lock().expect("no test poisons it").0.clone()
        }
        fn subscribe(&self, alarm: Waker) -> Armed {
            self.0.lock().expect("no test poisons it").1.push(alarm);
            Armed::new(())
        }
    }
    #[derive(Default)]
    struct Later(Mutex<Vec<Sweep>>);
    impl Sweeper for Later {
        fn hand_over(&self, sweep: Sweep) {
            self.0.lock().expect("no test poisons it").push(sweep);
        }
    }
    let later = Arc::new(Later::default());
    let sweeper: Arc<dyn Sweeper> = Arc::<Later>::clone(&later);
    let root = Ctx::root()
        .observer(Arc::new(Log::default()))
        .sweeper(sweeper);
    let (root, guard) = root.build();
    let token = Arc::new(Token::default());
    let ctx = root.with_source(Arc::<Token>::clone(&token));
    let fires = || {
        let mut token = token.0.lock().expect("no test poisons it");
        token.0 = Some(ripcord_core::Kind::PeerGone.into());
        let alarms = std::mem::take(&mut token.1);
        drop(token);
        alarms.into_iter().for_each(Waker::wake);
    };
    woken_by_end(&ctx, fires, ctx.recorded_id());

    let wakes = Arc::new(Wakes::default());
    let mut waiters: Vec<_> = (0..100).map(|_| root.done()).collect();
    assert!(waiters.iter_mut().all(|done| !wakes.polls(done)));
    guard.cancel("enough");
    let inline = wakes.take();
    for sweep in later.0.lock().expect("no test poisons it").drain(..) {
        sweep.run();
    }
    let rest = wakes.take();
    assert!(!inline.is_empty() && !rest.is_empty() && inline.len() + rest.len() == 100);
    let by_root = Some(WokenBy::Cancel(root.recorded_id()));
    assert!(inline.into_iter().chain(rest).all(|by| by == by_root));
}

/// Polls task 3 within its wake, and asks before and after the end of that who wakes task 1.
struct PollsAnother(Arc<Mutex<Vec<Option<WokenBy>>>>);

impl Wake for PollsAnother {
    fn wake(self: Arc<Self>) {
        let inside = Inside::new(task(3), None);
        let within = woken_here(task(1));
        drop(inside);
        let after = woken_here(task(1));
        self.0.lock().expect("unpoisoned").extend([within, after]);
    }
}

//= C139
#[test]
fn who_wakes_in_the_end_of_a_context_and_is_not_it() {
    let (_clock, root, _guard) = clock_tree();
    // The task itself comes before the end of a context, and that before another task.
    for (current, expect) in [(1, None), (2, Some(()))] {
        let (ctx, guard) = root.child();
        let expect = expect.map_or(WokenBy::Itself, |()| WokenBy::Cancel(ctx.recorded_id()));
        let wakes = Arc::new(Wakes::default());
        let mut done = ctx.done();
        assert!(!wakes.polls(&mut done));
        let inside = Inside::new(task(current), None);
        drop(guard);
        drop(inside);
        assert_eq!(wakes.take(), [Some(expect)]);
    }
    // A hook is code of somebody's, and so is a poll within a wake.
    let (ctx, guard) = root.child();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let _hook = ctx.on_done(move |_| note.lock().expect("unpoisoned").push(woken_here(task(1))));
    let waker = Waker::from(Arc::new(PollsAnother(Arc::clone(&seen))));
    let mut done = ctx.done();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(pin!(&mut done).as_mut().poll(&mut cx).is_pending());
    drop(guard);
    let by_ctx = Some(WokenBy::Cancel(ctx.recorded_id()));
    let seen = std::mem::take(&mut *seen.lock().expect("unpoisoned"));
    assert_eq!(seen, [Some(WokenBy::Task(task(3))), by_ctx, None]);
}

//= C147
#[test]
fn a_poll_listens_if_it_leaves_a_waiter_at_a_context() {
    let (log, root, _guard) = tree();
    let tasks = root.tasks().expect("it has an observer");
    let (ctx, guard) = root.child();
    let (mut done, mut draining) = (ctx.done(), ctx.draining());
    waits_for(&tasks, &log, &mut draining, "Pending 1 - listens");
    // Found in its place again.
    waits_for(&tasks, &log, &mut draining, "Pending 1 - listens");
    waits_for(&tasks, &log, pending::<()>(), "Pending 1 -");
    waits_for(&tasks, &log, Ctx::background().done(), "Pending 1 done");
    // A poll within a poll is one of its own.
    let turn = tasks.poll_started(task(1), None, None);
    log.expect(&["poll 1 None"]);
    waits_for(&tasks, &log, &mut done, "Pending 1 done listens");
    turn.end(PollEnd::Pending, None);
    log.expect(&["Pending 1 -"]);
    let turn = tasks.poll_started(task(1), None, None);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(pin!(&mut done).as_mut().poll(&mut cx).is_pending());
    log.expect(&["poll 1 None"]);
    waits_for(&tasks, &log, pending::<()>(), "Pending 1 -");
    turn.end(PollEnd::Pending, None);
    log.expect(&["Pending 1 done listens"]);
    guard.cancel("enough");
    waits_for(&tasks, &log, &mut done, "Ready 1 -");
    // A poll that does not wait has waited for nothing.
    let turn = tasks.poll_started(task(1), None, None);
    assert!(pin!(root.done()).as_mut().poll(&mut cx).is_pending());
    turn.end(PollEnd::Ready, Some("the adapter's own"));
    log.expect(&["poll 1 None", "Ready 1 -"]);
}

//= C149
#[test]
fn a_tag_is_told_with_the_context() {
    let (log, root, _guard) = tree();
    let (child, _guard) = root.child();
    child.tag("request.id", "7f3c");
    let id = child.recorded_id().expect("it is recorded");
    log.expect(&[&format!("tag {id} request.id 7f3c")]);
    //= C151
    child.named("a view").tag("trace.id", "0af7");
    assert_eq!(child.named("a view").recorded(), child.recorded());
    log.expect(&[&format!("tag {id} trace.id 0af7")]);
    Ctx::background().tag("request.id", "told to nobody");
    log.expect(&[]);
}

/// Wants to hear of no task.
#[derive(Default)]
struct Shy(Mutex<Vec<&'static str>>);

impl Shy {
    fn note(&self, what: &'static str) {
        self.0.lock().expect("no test poisons it").push(what);
    }
}

impl TaskObserver for Shy {
    fn spawned(&self, _: &Spawned<'_>) -> u64 {
        self.note("spawned");
        TaskRef::UNTOLD
    }

    fn poll_started(&self, _: TaskRef, _: Option<u32>) {
        self.note("poll started");
    }

    fn poll_ended(&self, _: TaskRef, _: PollEnd, _: Wait) {
        self.note("poll ended");
    }

    fn woken(&self, _: TaskRef, _: WokenBy) {
        self.note("woken");
    }

    fn context_changed(&self, _: TaskRef, _: Option<ContextRef>) {
        self.note("context changed");
    }

    fn blocking_started(&self, _: TaskRef) {
        self.note("blocking started");
    }

    fn ended(&self, _: TaskRef, _: &Ended<'_>) {
        self.note("ended");
    }
}

impl Observer for Shy {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

//= C150
#[test]
fn of_a_task_that_was_refused_nothing_more_is_told() {
    let shy = Arc::new(Shy::default());
    let observer: Arc<dyn Observer> = Arc::<Shy>::clone(&shy);
    let (root, _guard) = Ctx::root().observer(observer).build();
    let (child, _child) = root.child();
    let tasks = root.tasks().expect("the tree is observed");
    let spawned = Spawned {
        task: 7,
        parent: None,
        context: root.recorded(),
        name: "refused",
        site: Location::caller(),
        size: 0,
        is_blocking: false,
    };
    let task = tasks.spawned(&spawned);
    assert!(!task.is_told());
    let turn = tasks.poll_started(task, root.recorded_id(), None);
    assert_eq!(
        current_task(),
        Some(task),
        "it is the current one all the same"
    );
    root.enter_sync(|| child.enter_sync(|| ()));
    turn.end(PollEnd::Pending, None);
    tasks.woken(task, WokenBy::Foreign);
    drop(tasks.blocking_started(task, None));
    let ended = Ended {
        spawned,
        end: TaskEnd::Ready,
        polls: 1,
        cause: None,
    };
    tasks.ended(task, &ended);
    let told = std::mem::take(&mut *shy.0.lock().expect("no test poisons it"));
    assert_eq!(told, ["spawned"]);
}

//= C153
#[test]
fn a_deadline_that_cannot_fire_is_told_with_its_place() {
    let clock = TestClock::new();
    let log = Arc::new(Log::default());
    let observer: Arc<dyn Observer> = Arc::<Log>::clone(&log);
    let (root, _guard) = clock.root().observer(observer).build();
    let outer = root.with_timeout(Duration::from_secs(3));
    let id = outer.recorded_id().expect("it is recorded");
    log.take();
    let (inner, line) = (outer.with_timeout(Duration::from_secs(5)), line!());
    assert_eq!(inner, outer);
    log.expect(&[&format!("vain {id} 5s {line}")]);
    let derived = outer.derive().with_timeout(Duration::from_secs(4));
    let ((child, _guard), line) = (derived.child(), line!());
    log.expect(&[&format!("vain {id} 4s {line}")]);
    assert_eq!(
        child.deadline().map(|it| it.at()),
        outer.deadline().map(|it| it.at())
    );
    // One that can fire is told as a context, and one of nobody's to nobody.
    drop(outer.with_timeout(Duration::from_secs(1)));
    drop(Ctx::background().with_timeout(Duration::from_secs(1)));
    log.expect(&[]);
}

/// What the polls of an observed tree have left their task waiting for.
#[derive(Default)]
struct Waits(Mutex<Vec<Wait>>);

impl TaskObserver for Waits {
    fn poll_ended(&self, _: TaskRef, _: PollEnd, wait: Wait) {
        self.0.lock().expect("no test poisons it").push(wait);
    }
}

//= C141
#[test]
fn a_wait_has_the_place_of_its_await_or_of_its_region() {
    let waits = Arc::new(Waits::default());
    let tasks = Tasks::new(waits.clone());
    let (ctx, _guard) = Ctx::background().child();
    let check = |future: Pin<Box<dyn Future<Output = ()> + '_>>, label, line: Option<u32>| {
        let mut future = future;
        let turn = tasks.poll_started(task(1), None, None);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        turn.end(PollEnd::Pending, None);
        let wait = waits.0.lock().expect("no test poisons it").pop();
        let wait = wait.expect("the end was told");
        let place = wait.site.map(|site| (site.file(), site.line()));
        assert_eq!(wait.label, label);
        assert_eq!(place, line.map(|line| (file!(), line)));
    };
    let (line, done) = (line!(), async { drop(ctx.done().await) });
    check(Box::pin(done), Some("done"), Some(line));
    let (line, done) = (line!(), region("around", pending::<()>()));
    check(Box::pin(done), Some("around"), Some(line));
    // The leaf is the better place, from wherever the region is.
    let (line, done) = (line!(), async { drop(ctx.done().await) });
    check(Box::pin(region("around", done)), Some("done"), Some(line));
    let silent = poll_fn(|_| labelled("silent", || Poll::<()>::Pending));
    check(Box::pin(silent), Some("silent"), None);
    check(Box::pin(pending::<()>()), None, None);
}
