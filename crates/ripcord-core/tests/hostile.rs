//! Foreign code at its worst, of the chapters *Bad input* and *Promises*: wakers, hooks, clocks,
//! timers, sweepers, sources, observers and destructors that call back, block or panic.
//!
//! The tests run one at a time: the function that reports panics is one for the process.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::{Bomb, Gate, HeldSweeper, Relay, Tally, finishes, lock, park, quietly};
use ripcord_core::{Armed, CancelGuard, Canceller, Cause, Clock, Ctx, Foreign, ForeignPanic, Hook};
use ripcord_core::{Grace, Info, Kind, Observer, Root, Shared, ShutdownPlan, Source};
use ripcord_core::{Sweep, Sweeper, Timer, Value, dump, foreign_panics, set_panic_hook};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const ZERO: Duration = Duration::ZERO;

struct Mark(u8);
impl Value for Mark {}

/// What the reporting function was told, in the test that runs at the moment.
static REPORTS: Mutex<Vec<(Foreign, Option<String>)>> = Mutex::new(Vec::new());
static INTRUDER: Mutex<Option<Intruder>> = Mutex::new(None);

/// Notes the panic, calls everything there is, and panics itself.
fn report(told: &ForeignPanic<'_>) {
    lock(&REPORTS).push((told.what, told.message().map(str::to_owned)));
    let intruder = lock(&INTRUDER).clone();
    if let Some(intruder) = intruder {
        intruder.act("report");
    }
    panic!("the report panics, too");
}

/// Runs `f` while no other test of this file runs; what was reported meanwhile.
///
/// Each report is one more in the count, and the other way round.
#[track_caller]
fn contained<R>(f: impl FnOnce() -> R) -> (R, Vec<Foreign>) {
    static SERIAL: Mutex<()> = Mutex::new(());
    let _serial = lock(&SERIAL);
    let _first_call_wins = set_panic_hook(report);
    lock(&REPORTS).clear();
    let before = foreign_panics();
    let result = f();
    let count = foreign_panics() - before;
    let reports: Vec<Foreign> = lock(&REPORTS).drain(..).map(|(what, _)| what).collect();
    assert_eq!(u64::try_from(reports.len()).unwrap(), count, "{reports:?}");
    (result, reports)
}

/// Everything there is to call on a context, on what is made from it, and on the process; what
/// the calls said.
fn every_call(ctx: &Ctx, handle: &Canceller) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |what: &str, answer: &dyn fmt::Debug| said.push(format!("{what}: {answer:?}"));
    say("is_done", &ctx.is_done());
    say("check", &ctx.check().is_ok());
    say("cause", &ctx.cause().map(|cause| cause.kind()));
    say("phase", &ctx.phase());
    say(
        "deadline",
        &ctx.deadline()
            .map(|deadline| deadline.owner().map(str::to_owned)),
    );
    say("remaining", &ctx.remaining());
    say("name", &ctx.name());
    say("get", &ctx.get::<Mark>().map(|mark| mark.0));
    say(
        "sites",
        &(ctx.site().is_some(), ctx.is_todo(), ctx.can_be_cancelled()),
    );
    say("debug", &format!("{ctx:?} {handle:?}").is_empty());
    for (how, made) in every_derivation(ctx) {
        say(
            how,
            &(made.is_done(), made.cause().map(|cause| cause.kind())),
        );
        let mut waiters = (
            ManualTask::new(made.done()),
            ManualTask::new(made.draining()),
        );
        say(
            "poll",
            &(waiters.0.poll().is_pending(), waiters.1.poll().is_pending()),
        );
        say(
            "run",
            &ManualTask::new(made.run(std::future::pending::<()>())).poll(),
        );
        say(
            "enter",
            &ManualTask::new(made.enter(async { 1 })).poll().is_ready(),
        );
        say("wait", &made.wait_timeout(ZERO).map(|cause| cause.kind()));
        say("sleep", &made.sleep(ZERO).is_ok());
        let (hook, second) = (made.on_done(|_| {}), made.on_done(|_| {}));
        say("hook", &(hook.has_run(), hook.stop(), hook.stop_and_wait()));
        say("stopped", &ManualTask::new(second.stopped()).poll());
    }
    every_act(ctx, handle, &mut say);
    said
}

/// Every call that ends something or joins something.
fn every_act(ctx: &Ctx, handle: &Canceller, say: &mut dyn FnMut(&str, &dyn fmt::Debug)) {
    let (child, guard, watch) = ctx.watched_child();
    let waiter = ManualTask::new(child.done()).poll().is_pending();
    say("drain", &(waiter, guard.drain(), child.phase()));
    say(
        "cancel",
        &(
            guard.cancel("x"),
            guard.handle().force("y"),
            watch.seen().is_some(),
        ),
    );
    let (child, guard) = ctx.child();
    say(
        "sweep",
        &(guard.cancel_and_sweep("x"), guard.ctx() == child),
    );
    guard.disarm();
    let (child, guard) = ctx.child();
    child.on_done(|_| {}).detach();
    guard.shutdown(ShutdownPlan::new(ZERO, SECOND));
    say("shutdown", &(child.phase(), handle.is_alive()));
    drop(guard);
    if ctx.is_done() {
        say("again", &(handle.cancel("x"), handle.drain()));
    }
    let shared = Shared::new(ctx);
    let member = shared.join(ctx).map_err(|error| error.kind());
    say("shared", &(member.is_ok(), shared.members()));
    drop(member);
    let (root, _guard) = Ctx::root().name("every call").tracked().build();
    say(
        "dump",
        &(
            dump().rows().len() > 1,
            dump().to_string().is_empty(),
            root.is_done(),
        ),
    );
    let _ = (foreign_panics(), set_panic_hook(report).is_err());
}

fn every_derivation(ctx: &Ctx) -> Vec<(&'static str, Ctx)> {
    let (child, guard) = ctx.child();
    guard.disarm();
    let (other, guard) = Ctx::background().child();
    guard.disarm();
    vec![
        ("clone", ctx.clone()),
        ("timeout", ctx.with_timeout(3600 * SECOND)),
        ("deadline", ctx.with_deadline(ctx.clock_now())),
        ("value", ctx.with(Mark(2)).named("value").for_task()),
        ("shield", child.shield(Grace::of(3600 * SECOND))),
        ("detach", child.detach()),
        ("merge", Ctx::merge([&other, &child])),
        ("all_of", Ctx::all_of([&child, &other])),
        ("source", ctx.with_source(Relay::new().shared())),
        ("child", child),
    ]
}

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Foreign code that calls everything on a context, wherever it is called. Clones are one.
#[derive(Clone, Default)]
struct Intruder(Arc<IntruderInner>);

#[derive(Default)]
struct IntruderInner {
    target: Mutex<Option<(Ctx, Canceller, Shared)>>,
    hooks: Mutex<Vec<Arc<Hook>>>,
    /// Where it is let in, and how often it was there.
    place: &'static str,
    visits: Tally,
}

impl Intruder {
    fn at(place: &'static str) -> Self {
        Self(Arc::new(IntruderInner {
            place,
            ..IntruderInner::default()
        }))
    }

    /// Calls everything, if this is its place and it is not doing so already.
    fn act(&self, place: &'static str) {
        if place != self.0.place {
            return;
        }
        let target = lock(&self.0.target).clone();
        let Some((ctx, handle, shared)) = target.filter(|_| !BUSY.replace(true)) else {
            return;
        };
        assert!(!every_call(&ctx, &handle).is_empty());
        assert!(shared.members() < 9);
        let hooks = lock(&self.0.hooks).clone();
        assert!(hooks.iter().all(|hook| !format!("{hook:?}").is_empty()));
        BUSY.set(false);
        self.0.visits.add();
    }

    fn waker(&self) -> WakeCounter {
        let intruder = self.clone();
        WakeCounter::reacting(move |event| {
            intruder.act(match event {
                WakerEvent::Clone => "waker clone",
                WakerEvent::Wake => "waker wake",
                WakerEvent::Drop => "waker drop",
            });
        })
    }

    fn on_drop(&self, place: &'static str) -> OnDrop {
        let intruder = self.clone();
        OnDrop(Some(Box::new(move || intruder.act(place))))
    }
}

impl Clock for Intruder {
    fn now(&self) -> Instant {
        self.act("clock");
        Ctx::background().clock_now()
    }
}

impl Timer for Intruder {
    fn arm(&self, _: Instant, _: Waker) -> Option<Armed> {
        self.act("timer");
        Some(Armed::new(self.on_drop("armed")))
    }
}

impl Sweeper for Intruder {
    fn hand_over(&self, sweep: Sweep) {
        self.act("sweeper");
        sweep.run();
    }
}

impl Observer for Intruder {
    fn created(&self, _: &Info<'_>) {
        self.act("created");
    }

    fn cancelled(&self, _: &Info<'_>, _: &Cause) {
        self.act("cancelled");
    }

    fn observed(&self, _: &Info<'_>, _: &Cause) {
        self.act("observed");
    }

    fn ended(&self, _: &Info<'_>) {
        self.act("ended");
    }
}

impl Source for Intruder {
    fn cause(&self) -> Option<Cause> {
        self.act("source");
        None
    }

    fn subscribe(&self, _: Waker) -> Armed {
        self.act("subscribe");
        Armed::new(self.on_drop("subscription"))
    }
}

/// What is written to while something is formatted.
impl fmt::Write for Intruder {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        self.act("write");
        Ok(())
    }
}

/// An error that is asked to show itself.
impl fmt::Debug for Intruder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.act("error debug");
        f.write_str("Intruder")
    }
}

impl fmt::Display for Intruder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an intruder")
    }
}

impl std::error::Error for Intruder {}

/// Calls a function when dropped.
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl OnDrop {
    fn new(f: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(f)))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

impl Value for OnDrop {}

impl fmt::Debug for OnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnDrop")
    }
}

impl fmt::Display for OnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error that is dropped")
    }
}

impl std::error::Error for OnDrop {}

/// Everything that a tree can be given, from one hand.
fn intruded(intruder: &Intruder) -> (Ctx, CancelGuard) {
    let root: Root = Ctx::root().name("intruded").tracked();
    let root = root
        .clock(Arc::new(intruder.clone()))
        .timer(Arc::new(intruder.clone()));
    let root = root.sweeper(Arc::new(intruder.clone()));
    root.observer(Arc::new(intruder.clone())).build()
}

/// Lets the intruder in at every place there is, around the end of one tree.
fn intrude(intruder: &Intruder) {
    let (root, guard) = intruded(intruder);
    let (ctx, own) = root.with_timeout(3600 * SECOND).child();
    let shared = Shared::new(&root);
    *lock(&intruder.0.target) = Some((ctx.clone(), own.handle(), shared.clone()));
    *lock(&INTRUDER) = Some(intruder.clone());

    let (inside, inside_guard) = ctx.with(intruder.on_drop("value")).child();
    let mut tasks: Vec<_> = [&root, &ctx, &ctx, &inside]
        .map(|ctx| ManualTask::with_counter(ctx.done(), intruder.waker()))
        .into();
    park(&mut tasks);
    drop(tasks.pop());
    let source = ctx.with_source(Arc::new(intruder.clone()));
    let on_source = source.on_done(|_| {});
    assert!(!source.is_done());
    let in_hook = intruder.clone();
    let hook = Arc::new(ctx.on_done(move |_| in_hook.act("hook")));
    let dropped = intruder.on_drop("hook closure");
    let stopped = Arc::new(ctx.on_done(move |_| drop(dropped)));
    lock(&intruder.0.hooks).extend([Arc::clone(&hook), Arc::clone(&stopped)]);
    assert!(stopped.stop());
    let panicking = ctx.on_done(|_| panic!("so that there is a report"));
    let member = shared.join(&ctx).unwrap();
    let many: Vec<_> = (0..40).map(|_| ctx.on_done(|_| {})).collect();

    let mut sink = intruder.clone();
    write!(sink, "{ctx:?} {:?} {own:?} {hook:?}", ctx.deadline()).unwrap();
    write!(sink, "{} {:?} {shared:?} {member:?}", dump(), dump()).unwrap();
    assert!(own.cancel(Cause::error(intruder.clone())));
    write!(
        sink,
        "{ctx:?} {:?} {}",
        ctx.cause(),
        ctx.check().unwrap_err()
    )
    .unwrap();
    let (other, other_guard) = root.child();
    other_guard.cancel(Cause::error(intruder.on_drop("payload")));
    drop((other, other_guard, inside, inside_guard, on_source, source));
    drop((many, stopped, panicking, hook, member, tasks));
    assert!(ctx.is_done() && guard.cancel("the rest"));
    let target = lock(&intruder.0.target).take();
    let hooks = std::mem::take(&mut *lock(&intruder.0.hooks));
    drop((target, hooks, lock(&INTRUDER).take(), shared));
}

//= C130
#[test]
fn no_lock_is_held_while_foreign_code_runs() {
    let places = [
        "armed",
        "cancelled",
        "clock",
        "created",
        "ended",
        "error debug",
        "hook",
        "hook closure",
        "observed",
        "payload",
        "report",
        "source",
        "subscribe",
        "subscription",
        "sweeper",
        "timer",
        "value",
        "waker clone",
        "waker drop",
        "waker wake",
        "write",
    ];
    for place in places {
        let (visits, reports) = contained(|| {
            finishes(move || {
                let intruder = Intruder::at(place);
                intrude(&intruder);
                intruder.0.visits.get()
            })
        });
        assert!(visits > 0, "it never came to {place}");
        assert_eq!(reports, [Foreign::Hook], "{place}");
    }
}

//= C115, C130
#[test]
fn a_waker_that_cancels_or_polls_on_its_way_gets_the_same_answers() {
    let ((), reports) = contained(|| {
        for event in [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop] {
            for on_child in [false, true] {
                finishes(move || re_enter(event, on_child));
            }
        }
    });
    assert_eq!(reports, []);
}

/// Cancels and polls from within `event` of a waker that waits at a context or its child.
fn re_enter(event: WakerEvent, on_child: bool) {
    let (ctx, guard) = TestClock::new().ctx();
    let (child, child_guard) = ctx.child();
    let place = if on_child { &child } else { &ctx };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let counter = WakeCounter::reacting({
        let (ctx, child, handle) = (ctx.clone(), child.clone(), guard.handle());
        let (fresh, seen) = (Mutex::new(Some(child_guard)), Arc::clone(&seen));
        move |at| {
            if at == event {
                let first = handle.cancel("from the waker");
                let other = ManualTask::new(child.done()).poll().is_ready();
                lock(&seen).push((first, ctx.is_done(), child.is_done(), other));
                drop(lock(&fresh).take());
            }
        }
    });
    let mut bystander = ManualTask::new(ctx.done());
    assert!(bystander.poll().is_pending());
    let mut task = ManualTask::with_counter(place.done(), counter.clone());
    let polled = task.poll();
    match event {
        WakerEvent::Clone => assert!(polled.is_ready() || counter.wakes() == 1),
        WakerEvent::Wake => assert!(polled.is_pending() && guard.cancel("x")),
        WakerEvent::Drop => drop(task),
        #[allow(unreachable_patterns, reason = "the enum is complete")]
        _ => unreachable!(),
    }
    let seen = lock(&seen).clone();
    let is_first = event != WakerEvent::Wake;
    assert_eq!(
        seen.first(),
        Some(&(is_first, true, true, true)),
        "{event:?}"
    );
    assert_eq!(bystander.wakes(), 1, "{event:?}");
    assert!(ctx.is_done() && bystander.poll().is_ready());
}

//= C115
#[test]
fn every_call_works_from_a_destructor() {
    type Place = fn(OnDrop, &Ctx);
    let places: [(&str, Place); 6] = [
        ("value", |on_drop, ctx| drop(ctx.with(on_drop).child())),
        ("stopped hook", |on_drop, ctx| {
            let hook = ctx.shield(Grace::UNBOUNDED).on_done(move |_| drop(on_drop));
            assert!(hook.stop() || hook.has_run());
        }),
        ("hook that ran", |on_drop, ctx| {
            let (live, guard) = ctx.detach().child();
            let hook = live.on_done(move |_| drop(on_drop));
            assert!(guard.cancel("x") && hook.has_run());
        }),
        ("waker", |on_drop, ctx| {
            let on_drop = Mutex::new(Some(on_drop));
            let counter = WakeCounter::reacting(move |event| {
                let taken = (event == WakerEvent::Drop).then(|| lock(&on_drop).take());
                drop(taken);
            });
            let (live, _guard) = ctx.detach().child();
            drop(ManualTask::with_counter(live.done(), counter).poll());
        }),
        ("payload", |on_drop, ctx| {
            let (child, guard) = ctx.detach().child();
            assert!(guard.cancel(Cause::error(on_drop)));
            drop((child, guard));
        }),
        ("thread-local", |on_drop, _| {
            thread_local! { static LAST: RefCell<Option<OnDrop>> = const { RefCell::new(None) }; }
            let thread =
                thread::spawn(move || LAST.with(|last| *last.borrow_mut() = Some(on_drop)));
            thread.join().unwrap();
        }),
    ];
    let ((), reports) = contained(|| {
        for is_done in [false, true] {
            for (place, run) in places {
                finishes(move || {
                    let (ctx, guard) = TestClock::new().root().name("called").build();
                    if is_done {
                        assert!(guard.cancel(Kind::PeerGone));
                    }
                    let outside = every_call(&ctx, &guard.handle());
                    let inside = Arc::new(Mutex::new(Vec::new()));
                    let (target, said) = ((ctx.clone(), guard.handle()), Arc::clone(&inside));
                    let call = move || *lock(&said) = every_call(&target.0, &target.1);
                    run(OnDrop::new(call), &ctx);
                    assert_eq!(*lock(&inside), outside, "{place}, done: {is_done}");
                    assert_eq!(ctx.is_done(), is_done);
                });
            }
        }
    });
    assert_eq!(reports, []);
}

/// A tree full of panics, and how often each part of it was reached.
struct Minefield {
    ctx: Ctx,
    below: Ctx,
    tallies: [Tally; 3],
    wakers: Vec<WakeCounter>,
    kept: Vec<Box<dyn std::any::Any>>,
}

impl Minefield {
    /// Wakers, hooks and destructors that panic, each between two that do not.
    fn new(ctx: Ctx) -> Self {
        let (below, guard) = ctx.child();
        let tallies = [Tally::new(), Tally::new(), Tally::new()];
        let (mut wakers, mut kept): (Vec<_>, Vec<Box<dyn std::any::Any>>) = Default::default();
        for at in 0..9 {
            let counter = WakeCounter::reacting(move |event| {
                assert!(event != WakerEvent::Wake || at % 3 != 1, "a mine");
            });
            let place = if at % 2 == 0 { &ctx } else { &below };
            let mut task = ManualTask::with_counter(place.done(), counter.clone());
            assert!(task.poll().is_pending());
            let ran = tallies[0].clone();
            let hook = place.on_done(move |_| {
                ran.add();
                assert!(at % 3 != 1, "a mine");
            });
            let bomb = Bomb(tallies[1].clone());
            let stays = place.on_done(move |_| drop(bomb));
            wakers.push(counter);
            kept.push(Box::new((task, hook, stays)));
        }
        let bomb = ctx.with(Bomb(tallies[2].clone()));
        kept.push(Box::new((bomb, guard)));
        Self {
            ctx,
            below,
            tallies,
            wakers,
            kept,
        }
    }

    /// Everything was reached, once.
    #[track_caller]
    fn assert_swept(&self) {
        assert!(self.ctx.is_done() && self.below.is_done());
        assert!(self.wakers.iter().all(|waker| waker.wakes() == 1));
        assert_eq!([0, 1].map(|at| self.tallies[at].get()), [9, 9]);
    }
}

//= C116, C133
#[test]
fn a_cancel_while_the_thread_unwinds_does_all_of_its_work() {
    type End = fn(CancelGuard) -> OnDrop;
    let ends: [(Kind, End); 4] = [
        (Kind::PeerGone, |own| {
            OnDrop::new(move || assert!(own.cancel(Kind::PeerGone)))
        }),
        (Kind::Signal, |own| {
            OnDrop::new(move || assert!(own.cancel_and_sweep(Kind::Signal)))
        }),
        (Kind::Custom, |own| {
            OnDrop::new(move || assert!(own.force(Kind::Custom)))
        }),
        (Kind::Panicked, |own| OnDrop::new(move || drop(own))),
    ];
    for (kind, end) in ends {
        let (mines, reports) = contained(|| {
            let (ctx, own) = TestClock::new().ctx();
            let mines = Minefield::new(ctx);
            let unwound = quietly(|| {
                let _on_unwind = end(own);
                panic!("the work failed");
            });
            assert_eq!(unwound, Err("the work failed".to_owned()));
            mines.assert_swept();
            let unwound = quietly(|| {
                let _kept = mines.kept;
                panic!("again");
            });
            assert_eq!(
                unwound,
                Err("again".to_owned()),
                "handles dropped meanwhile"
            );
            assert_eq!(mines.ctx.cause().unwrap().kind(), kind);
            mines.tallies[2].get()
        });
        assert_eq!(mines, 1, "the value");
        let count = |what| reports.iter().filter(|told| **told == what).count();
        let counts = [Foreign::Waker, Foreign::Hook, Foreign::Drop].map(count);
        assert_eq!(counts, [3, 3 + 9, 1], "{kind:?}");
    }
}

//= C129
#[test]
fn one_of_64_wakers_panics_and_the_others_are_woken() {
    for with_children in [false, true] {
        let ((), reports) = contained(|| {
            for mine in 0..64 {
                let (ctx, guard) = TestClock::new().ctx();
                let children: Vec<_> = (0..64).map(|_| ctx.child()).collect();
                let mut tasks: Vec<_> = (0..64)
                    .map(|at| {
                        let counter = if at == mine {
                            WakeCounter::panicking(WakerEvent::Wake)
                        } else {
                            WakeCounter::new()
                        };
                        let place = if with_children { &children[at].0 } else { &ctx };
                        ManualTask::with_counter(place.done(), counter)
                    })
                    .collect();
                park(&mut tasks);
                assert!(guard.cancel("x"));
                assert!(tasks.iter().all(|task| task.wakes() == 1), "at {mine}");
                assert!(children.iter().all(|(child, _)| child.is_done()));
                assert!(tasks.iter().all(|task| task.counter().live() == 0));
            }
        });
        assert_eq!(reports, [Foreign::Waker; 64]);
    }
}

//= C129
#[test]
fn what_the_sweeper_finishes_is_as_safe_as_the_rest() {
    let sweepers: [fn(&HeldSweeper); 2] = [HeldSweeper::run, |held| {
        for mut sweep in held.take() {
            while sweep.step() {}
        }
    }];
    for run in sweepers {
        let ((), reports) = contained(|| {
            let held = HeldSweeper::new();
            let (ctx, guard) = Ctx::root().sweeper(Arc::new(held.clone())).build();
            let children: Vec<_> = (0..600).map(|_| ctx.child()).collect();
            let ran = Tally::new();
            let mut tasks: Vec<_> = children
                .iter()
                .map(|(child, _)| {
                    ManualTask::with_counter(child.done(), WakeCounter::panicking(WakerEvent::Wake))
                })
                .collect();
            park(&mut tasks);
            let hooks: Vec<_> = children
                .iter()
                .map(|(child, _)| {
                    let ran = ran.clone();
                    child.on_done(move |_| {
                        ran.add();
                        panic!("a mine");
                    })
                })
                .collect();
            assert!(guard.cancel("x"));
            run(&held);
            assert!(tasks.iter().all(|task| task.wakes() == 1));
            assert_eq!(ran.get(), 600);
            assert!(hooks.iter().all(ripcord_core::Hook::has_run));
        });
        assert_eq!(reports.len(), 1_200);
    }
}

//= C129
#[test]
fn a_waker_that_blocks_until_another_thread_polls_holds_up_nobody_for_ever() {
    let ((), reports) = contained(|| {
        finishes(|| {
            let (ctx, guard) = TestClock::new().ctx();
            let (blocked, polled) = (Gate::new(), Gate::new());
            let counter = WakeCounter::reacting({
                let (blocked, polled) = (blocked.clone(), polled.clone());
                move |event| {
                    if event == WakerEvent::Wake {
                        blocked.open();
                        polled.pass();
                    }
                }
            });
            let mut tasks: Vec<_> = (0..5).map(|_| ManualTask::new(ctx.done())).collect();
            tasks.insert(2, ManualTask::with_counter(ctx.done(), counter));
            park(&mut tasks);
            let canceller = thread::spawn(move || guard.cancel("x"));
            blocked.pass();
            let (child, child_guard) = ctx.child();
            assert!(ctx.is_done() && child.is_done() && !child_guard.cancel("late"));
            assert!(ManualTask::new(ctx.done()).poll().is_ready());
            assert!(ctx.on_done(|_| {}).has_run());
            polled.open();
            assert!(canceller.join().unwrap());
            assert!(tasks.iter().all(|task| task.wakes() == 1));
        });
    });
    assert_eq!(reports, []);
}
