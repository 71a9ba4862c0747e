//! Locks: none is held while foreign code runs, and none is taken by those who only look.
//!
//! To see the second, a thread is held up in the allocator while it has the lock.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::alloc::{self, Watched};
use common::{Gate, Tally, finishes, together};
use ripcord_core::{
    Armed, Cause, Clock, Ctx, Hook, Info, Kind, Observer, Source, Sweep, Sweeper, Timer, Value,
    dump, set_panic_hook,
};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const SECOND: Duration = Duration::from_secs(1);

/// The tests that hold threads up or visit from foreign code run one at a time.
static SERIAL: Mutex<()> = Mutex::new(());

//= C129
#[test]
fn everybody_is_woken_and_run_whatever_the_others_do() {
    finishes(|| {
        let (ctx, guard) = Ctx::background().child();
        let (child, child_guard) = ctx.child();
        let seen = Tally::new();
        let (blocked, go_on) = (Gate::new(), Gate::new());
        let mut waiters = Vec::new();
        let mut hooks = Vec::new();
        for at in 0..30 {
            let place = if at % 2 == 0 { &ctx } else { &child };
            let act = misdeed(at, &ctx, &child, (&blocked, &go_on));
            let counter = WakeCounter::reacting({
                let (seen, act) = (seen.clone(), Arc::clone(&act));
                move |event| {
                    if event == WakerEvent::Wake {
                        seen.add();
                        act();
                    }
                }
            });
            let mut waiter = ManualTask::with_counter(place.done(), counter);
            assert!(waiter.poll().is_pending());
            waiters.push(waiter);
            let seen = seen.clone();
            hooks.push(place.on_done(move |_| {
                seen.add();
                act();
            }));
        }
        let releasing = thread::spawn({
            let (child, blocked, go_on) = (child.clone(), blocked.clone(), go_on.clone());
            move || {
                blocked.pass();
                let woken = ManualTask::new(child.done()).poll().is_ready();
                go_on.open();
                woken
            }
        });
        assert!(guard.cancel_and_sweep("x"));
        assert!(releasing.join().unwrap());
        assert_eq!(seen.get(), 60);
        assert!(hooks.iter().all(Hook::has_run));
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
        drop(child_guard);
    });
}

/// What foreign code may do wrong, or at least without asking.
fn misdeed(
    at: usize,
    ctx: &Ctx,
    child: &Ctx,
    gates: (&Gate, &Gate),
) -> Arc<dyn Fn() + Send + Sync> {
    let (ctx, child) = (ctx.clone(), child.clone());
    let (blocked, go_on) = (gates.0.clone(), gates.1.clone());
    match at % 6 {
        0 => Arc::new(|| panic!("a test waker or hook panics, as it was told to")),
        1 => Arc::new(move || {
            blocked.open();
            go_on.pass();
        }),
        2 => Arc::new(move || assert!(ctx.is_done() && child.cause().is_some())),
        3 => Arc::new(move || drop((child.child(), ctx.on_done(|_| {})))),
        4 => Arc::new(move || drop(ManualTask::new(ctx.done()).poll())),
        _ => Arc::new(|| {}),
    }
}

thread_local! {
    static IS_VISITOR: Cell<bool> = const { Cell::new(false) };
}

/// Foreign code of every kind, which has another thread visit the tree each time it is
/// called: were a lock held meanwhile, that thread would never return.
#[derive(Clone, Default)]
struct Foreign {
    tree: Arc<OnceLock<[Ctx; 2]>>,
    visits: Arc<Mutex<Vec<&'static str>>>,
}

impl Foreign {
    fn called(&self, what: &'static str) {
        let Some(tree) = self.tree.get() else { return };
        if IS_VISITOR.get() {
            return;
        }
        let tree = tree.clone();
        let visitor = thread::spawn(move || {
            IS_VISITOR.set(true);
            for ctx in &tree {
                visit(ctx);
            }
        });
        assert!(visitor.join().is_ok(), "a visit from {what} failed");
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        if !visits.contains(&what) {
            visits.push(what);
        }
    }

    fn value(&self) -> OnDrop {
        OnDrop(self.clone(), "drop of a value")
    }
}

/// Everything that takes one of the locks that there are, and gives it back.
fn visit(ctx: &Ctx) {
    let (child, guard) = ctx.child();
    let hook = child.on_done(|_| {});
    let mut waiters = [ctx.done(), child.done()].map(ManualTask::new);
    for waiter in &mut waiters {
        let _ = waiter.poll();
    }
    let _ = ManualTask::new(ctx.draining()).poll();
    guard.drain();
    guard.cancel("visit");
    let _ = (
        ctx.is_done(),
        ctx.cause(),
        ctx.deadline(),
        ctx.phase(),
        ctx.site(),
    );
    drop((hook, waiters, ctx.shield(SECOND), dump().to_string()));
}

struct OnDrop(Foreign, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.called(self.1);
    }
}

impl Value for OnDrop {}

impl std::fmt::Debug for OnDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.called("debug of an error");
        f.write_str("OnDrop")
    }
}

impl std::fmt::Display for OnDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDrop")
    }
}

impl std::error::Error for OnDrop {}

impl std::fmt::Write for OnDrop {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        self.0.called(self.1);
        Ok(())
    }
}

/// The runtime of the tree: the test clock with a call-out in front of each method.
struct Runtime(Foreign, TestClock);

impl Clock for Runtime {
    fn now(&self) -> Instant {
        self.0.called("clock");
        self.1.now()
    }
}

impl Timer for Runtime {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        self.0.called("timer");
        let armed = Timer::arm(&self.1, at, alarm);
        Some(Armed::new((OnDrop(self.0.clone(), "disarm"), armed)))
    }
}

impl Sweeper for Runtime {
    fn hand_over(&self, sweep: Sweep) {
        self.0.called("sweeper");
        sweep.run();
    }
}

impl Observer for Runtime {
    fn created(&self, _: &Info<'_>) {
        self.0.called("created");
    }
    fn cancelled(&self, _: &Info<'_>, _: &Cause) {
        self.0.called("cancelled");
    }
    fn observed(&self, _: &Info<'_>, _: &Cause) {
        self.0.called("observed");
    }
    fn ended(&self, _: &Info<'_>) {
        self.0.called("ended");
    }
}

impl Source for Runtime {
    fn cause(&self) -> Option<Cause> {
        self.0.called("cause of a source");
        None
    }
    fn subscribe(&self, _: Waker) -> Armed {
        self.0.called("subscribe");
        Armed::new(OnDrop(self.0.clone(), "unsubscribe"))
    }
}

static REPORTED: OnceLock<Foreign> = OnceLock::new();

//= C130, C39
#[test]
fn no_lock_is_held_while_foreign_code_runs() {
    let _serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    finishes(|| {
        let foreign = Foreign::default();
        assert!(REPORTED.set(foreign.clone()).is_ok());
        let hook = set_panic_hook(|_| REPORTED.get().unwrap().called("panic hook"));
        assert!(
            hook.is_ok() && set_panic_hook(|_| {}).is_err(),
            "the first wins"
        );
        let clock = TestClock::new();
        let runtime = Arc::new(Runtime(foreign.clone(), clock.clone()));
        let root = Ctx::root().name("visited").tracked();
        let root = root.clock(Arc::clone(&runtime) as Arc<dyn Clock>);
        let root = root.timer(Arc::clone(&runtime) as Arc<dyn Timer>);
        let root = root.sweeper(Arc::clone(&runtime) as Arc<dyn Sweeper>);
        let root = root.observer(Arc::clone(&runtime) as Arc<dyn Observer>);
        let (ctx, guard) = root.build();
        let (child, child_guard) = ctx.child();
        assert!(foreign.tree.set([ctx.clone(), child.clone()]).is_ok());
        call_out(&foreign, &runtime, &clock, &ctx, &child);
        print_out(&foreign, &ctx);
        guard.cancel(Cause::error(foreign.value()));
        print_out(&foreign, &child);
        drop((guard, child_guard));
        let mut visits = foreign.visits.lock().unwrap().clone();
        visits.sort_unstable();
        let expect = [
            "cancelled",
            "cause of a source",
            "clock",
            "clone of a waker",
            "created",
            "debug of an error",
            "disarm",
            "drop of a hook",
            "drop of a value",
            "drop of a waker",
            "ended",
            "hook",
            "observed",
            "panic hook",
            "print",
            "subscribe",
            "sweeper",
            "timer",
            "unsubscribe",
            "wake",
        ];
        assert_eq!(visits, expect, "each was called");
    });
}

/// Makes ripcord call every kind of foreign code.
fn call_out(foreign: &Foreign, runtime: &Arc<Runtime>, clock: &TestClock, ctx: &Ctx, child: &Ctx) {
    let counter = WakeCounter::reacting({
        let foreign = foreign.clone();
        move |event| {
            foreign.called(match event {
                WakerEvent::Clone => "clone of a waker",
                WakerEvent::Wake => "wake",
                WakerEvent::Drop => "drop of a waker",
            });
        }
    });
    for place in [ctx, child] {
        let (work, guard) = place.child();
        let timed = work.with_timeout(SECOND);
        let hook = || {
            let held = foreign.clone();
            let dropped = OnDrop(foreign.clone(), "drop of a hook");
            timed.on_done(move |_| {
                let _dropped = &dropped;
                held.called("hook");
                panic!("a test hook panics, as it was told to");
            })
        };
        drop(hook());
        let mut waiters: Vec<_> = (0..3)
            .map(|_| ManualTask::with_counter(timed.done(), counter.clone()))
            .collect();
        for waiter in &mut waiters {
            assert!(waiter.poll().is_pending());
        }
        let other = WakeCounter::new();
        let mut moved = ManualTask::with_counter(timed.done(), other);
        assert!(moved.poll().is_pending());
        drop(waiters.pop());
        let kept = hook();
        clock.advance(SECOND);
        assert!(kept.has_run() && timed.is_done());
        assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
        let source = place.with_source(Arc::clone(runtime) as Arc<dyn Source>);
        let mut waiter = ManualTask::new(source.done());
        assert!(waiter.poll().is_pending());
        drop(waiter);
        drop(work.with(foreign.value()).child());
        guard.cancel(Cause::error(foreign.value()));
    }
}

/// Prints everything to a writer that calls out, and an error that does.
fn print_out(foreign: &Foreign, ctx: &Ctx) {
    let mut out = OnDrop(foreign.clone(), "print");
    let (child, guard) = ctx.child();
    let hook = child.on_done(|_| {});
    let shared = ripcord_core::Shared::new(ctx);
    let member = shared.join(&ctx.detach());
    write!(out, "{ctx:?} {guard:?} {hook:?} {shared:?} {member:?}").unwrap();
    write!(
        out,
        "{:?} {:?} {:?}",
        ctx.deadline(),
        child.done(),
        guard.handle()
    )
    .unwrap();
    write!(out, "{:?} {}", dump(), dump()).unwrap();
    guard.cancel(Cause::error(foreign.value()));
    write!(out, "{:?} {:?}", child.cause(), child.check()).unwrap();
    drop(hook);
}

//= C131
#[test]
fn reads_take_no_lock() {
    let _serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    finishes(|| {
        struct Number(u8);
        impl Value for Number {}
        // The locks of the context itself, and of the context above it.
        for locked_above in [false, true] {
            let (root, root_guard) = Ctx::background().named("name").child();
            let (above, _above_guard) = root.child();
            let ctx = above.with(Number(7)).with_timeout(3600 * SECOND);
            let merged = Ctx::merge([&ctx, &root.child().0.detach()]);
            let place = if locked_above { &above } else { &ctx };
            let mut first = ManualTask::new(place.done());
            assert!(first.poll().is_pending() && !merged.is_done());
            let before = Tally::new();
            let blocked = thread::spawn({
                let (mut second, before) = (ManualTask::new(place.done()), before.clone());
                move || {
                    // The list of waiters grows under the lock of its context.
                    alloc::hold_up_at(1);
                    let is_pending = second.poll().is_pending();
                    alloc::never_mind();
                    before.add();
                    is_pending
                }
            });
            while !alloc::is_caught() {
                thread::yield_now();
            }
            // Somebody who needs that lock waits until it is given back.
            let (tried, mut third) = (Tally::new(), ManualTask::new(place.done()));
            let locking = thread::spawn({
                let tried = tried.clone();
                move || {
                    let is_pending = third.poll().is_pending();
                    tried.add();
                    is_pending
                }
            });
            for _ in 0..100 {
                for ctx in [&ctx, &merged] {
                    assert!(!ctx.is_done() && ctx.check().is_ok() && ctx.cause().is_none());
                    assert_eq!(ctx.phase(), ripcord_core::Phase::Live);
                    assert!(ctx.deadline().is_some() && ctx.remaining() > Some(SECOND));
                    assert_eq!(ctx.get::<Number>().map(|number| number.0), Some(7));
                    assert_eq!(ctx.name(), Some("name"));
                }
                thread::yield_now();
            }
            assert_eq!((before.get(), tried.get()), (0, 0), "the lock is held");
            alloc::release();
            assert!(blocked.join().unwrap() && locking.join().unwrap());
            root_guard.cancel("x");
            assert_eq!(first.wakes(), 1);
        }
    });
}

//= C131
#[test]
fn reads_of_a_done_context_take_no_lock_either() {
    let _serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    finishes(|| {
        let (root, guard) = Ctx::background().child();
        let (ctx, _ctx_guard) = root.child();
        let mut first = ManualTask::new(ctx.done());
        assert!(first.poll().is_pending());
        let blocked = thread::spawn({
            let mut second = ManualTask::new(ctx.done());
            move || {
                alloc::hold_up_at(1);
                let poll = second.poll();
                alloc::never_mind();
                poll.is_pending()
            }
        });
        while !alloc::is_caught() {
            thread::yield_now();
        }
        // The sweep stops at that lock; the flags do not.
        let canceller = thread::spawn(move || guard.cancel(Kind::PeerGone));
        while !ctx.is_done() {
            thread::yield_now();
        }
        for _ in 0..100 {
            assert!(ctx.is_done() && ctx.check().is_err());
            assert_eq!(ctx.cause().map(|cause| cause.kind()), Some(Kind::PeerGone));
            assert_eq!(ctx.phase(), ripcord_core::Phase::Cancelled);
        }
        assert!(!canceller.is_finished() && !blocked.is_finished());
        alloc::release();
        assert!(canceller.join().unwrap() && blocked.join().unwrap());
        assert_eq!(first.wakes(), 1);
    });
}

//= C134
#[test]
fn a_future_that_is_dropped_while_others_wait_takes_only_itself_away() {
    let (ctx, guard) = Ctx::background().child();
    let counters: Vec<_> = (0..6).map(|_| WakeCounter::new()).collect();
    let mut all: Vec<Option<ManualTask<_>>> = Vec::new();
    for counter in &counters {
        let future = ctx.run(std::future::pending::<()>());
        let mut task = ManualTask::with_counter(future, counter.clone());
        assert!(task.poll().is_pending());
        all.push(Some(task));
    }
    for at in [1, 4] {
        drop(all[at].take());
        assert_eq!(counters[at].live(), 0);
    }
    let _ = together(2, |at| at == 0 && guard.cancel("x"));
    let wakes: Vec<usize> = counters.iter().map(WakeCounter::wakes).collect();
    assert_eq!(wakes, [1, 0, 1, 1, 0, 1]);
}
