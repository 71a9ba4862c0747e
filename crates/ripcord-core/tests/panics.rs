//! Panics in foreign code: contained, counted, reported, and harmless to everybody else.
//!
//! The count of contained panics is one for the process, so the tests run one at a time, and
//! nothing here leaves work to the core's own threads.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(
    clippy::disallowed_types,
    reason = "a lock between tests, outside every model"
)]

mod common;

use common::{Bomb, BombError, Tally, quietly};
use ripcord_core::{
    Armed, Cause, Ctx, Foreign, ForeignPanic, Timer, foreign_panics, set_panic_hook,
};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

static SERIAL: Mutex<()> = Mutex::new(());
static REPORTS: Mutex<Vec<(Foreign, String)>> = Mutex::new(Vec::new());

/// Keeps other tests out, and installs the function that is told of panics.
fn alone() -> MutexGuard<'static, ()> {
    let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = set_panic_hook(report);
    take_reports();
    serial
}

/// Notes the panic, and panics itself at every second.
fn report(panic: &ForeignPanic<'_>) {
    let text = panic.message().unwrap_or("no text").to_owned();
    assert!(format!("{panic:?}").contains("what"));
    let mut reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    reports.push((panic.what, text));
    let is_second = reports.len().is_multiple_of(2);
    drop(reports);
    assert!(!is_second, "the panic hook panics");
}

fn take_reports() -> Vec<(Foreign, String)> {
    std::mem::take(&mut *REPORTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs `f`, which does not unwind; the panics that were contained meanwhile.
#[track_caller]
fn contained(f: impl FnOnce()) -> Vec<Foreign> {
    let before = foreign_panics();
    assert_eq!(quietly(f), Ok(()), "nothing unwinds");
    let all: Vec<Foreign> = take_reports().into_iter().map(|report| report.0).collect();
    let count = u64::try_from(all.len()).unwrap();
    assert_eq!(
        foreign_panics() - before,
        count,
        "each is counted and reported"
    );
    all
}

//= C129, C133
#[test]
fn a_waker_that_panics_keeps_none_of_63_others_from_its_wake() {
    let _serial = alone();
    for place in [0, 1, 31, 32, 33, 62, 63] {
        for in_children in [false, true] {
            let (ctx, guard) = Ctx::background().child();
            let mut waiters = Vec::new();
            for at in 0..64 {
                let (child, child_guard) = ctx.child();
                let counter = if at == place {
                    WakeCounter::panicking(WakerEvent::Wake)
                } else {
                    WakeCounter::new()
                };
                let target = if in_children { &child } else { &ctx };
                let mut waiter = ManualTask::with_counter(target.done(), counter);
                assert!(waiter.poll().is_pending());
                waiters.push((waiter, child, child_guard));
            }
            let panics = contained(|| assert!(guard.cancel_and_sweep("x")));
            assert_eq!(panics, [Foreign::Waker]);
            for (waiter, child, _) in &mut waiters {
                assert_eq!(waiter.wakes(), 1);
                assert!(child.is_done() && waiter.poll().is_ready());
            }
        }
    }
}

//= C37, C133
#[test]
fn a_waker_that_panics_when_dropped_harms_nobody() {
    let _serial = alone();
    let bomb = || WakeCounter::panicking(WakerEvent::Drop);
    let (ctx, guard) = Ctx::background().child();
    let register = |counter: &WakeCounter| {
        let mut done = ctx.done();
        // The waker that the poll is given is never dropped: it is not ours to contain.
        let waker = std::mem::ManuallyDrop::new(counter.waker());
        let mut cx = std::task::Context::from_waker(&waker);
        let poll = std::future::Future::poll(std::pin::Pin::new(&mut done), &mut cx);
        assert!(poll.is_pending());
        done
    };
    // Left behind by a future, replaced by another, and dropped with the whole tree.
    let left = register(&bomb());
    assert_eq!(contained(|| drop(left)), [Foreign::Waker]);
    let mut replaced = ManualTask::new(register(&bomb()));
    assert_eq!(
        contained(|| assert!(replaced.poll().is_pending())),
        [Foreign::Waker]
    );
    let mut other = ManualTask::new(ctx.done());
    assert!(other.poll().is_pending());
    let woken = register(&bomb());
    assert_eq!(contained(|| assert!(guard.cancel("x"))), []);
    assert_eq!((other.wakes(), replaced.wakes()), (1, 1));
    drop((woken, replaced));
    let (lonely, guard) = Ctx::background().child();
    let done = std::mem::ManuallyDrop::new(lonely.done());
    assert_eq!(contained(|| drop((lonely, guard))), []);
    assert!(format!("{done:?}").contains("Done"));
}

//= C39
#[test]
fn a_waker_that_panics_when_cloned_registers_nothing() {
    let _serial = alone();
    let (ctx, guard) = Ctx::root().name("clone panics").tracked().build();
    let counter = WakeCounter::panicking(WakerEvent::Clone);
    let mut waiter = ManualTask::with_counter(ctx.done(), counter.clone());
    // A poll is called by the one who owns the waker: the panic is his.
    assert!(quietly(|| waiter.poll()).is_err());
    assert_eq!(common::row("clone panics").waiters, 0);
    let mut other = ManualTask::new(ctx.done());
    assert!(other.poll().is_pending());
    assert!(guard.cancel("x"));
    assert_eq!((other.wakes(), counter.wakes()), (1, 0));
    assert!(waiter.poll().is_ready());
}

//= C61, C116, C133
#[test]
fn destructors_that_panic_are_contained() {
    let _serial = alone();
    let bomb = || Bomb(Tally::new());
    // A value, with the last context that has it.
    let ctx = Ctx::background().with(bomb());
    let (child, guard) = ctx.child();
    assert_eq!(contained(|| drop(ctx)), []);
    assert_eq!(contained(|| drop(guard)), []);
    assert_eq!(contained(|| drop(child)), [Foreign::Drop]);
    // The closure of a hook: stopped, dropped, never registered.
    let (ctx, guard) = Ctx::background().child();
    let hook = |ctx: &Ctx| {
        let held = bomb();
        ctx.on_done(move |_| drop(held))
    };
    let (stopped, dropped, run, idle) = (hook(&ctx), hook(&ctx), hook(&ctx), hook(&Ctx::todo()));
    assert_eq!(contained(|| assert!(stopped.stop())), [Foreign::Drop]);
    assert_eq!(contained(|| drop(dropped)), [Foreign::Drop]);
    assert_eq!(contained(|| drop(idle)), [Foreign::Drop]);
    hook(&ctx).detach();
    // Run: two hooks, each of which panics, and the payload is still held.
    let payload = Tally::new();
    let cause = Cause::error(BombError(Bomb(payload.clone())));
    let panics = contained(|| assert!(guard.cancel(cause)));
    assert_eq!(panics, [Foreign::Hook, Foreign::Hook]);
    assert!(run.has_run() && payload.get() == 0);
    // The payload of a cause, with the last that shows it.
    drop(stopped);
    let child = ctx.child();
    assert!(
        child
            .0
            .cause()
            .unwrap()
            .downcast_ref::<BombError>()
            .is_some()
    );
    assert_eq!(contained(|| drop((ctx, guard, run))), []);
    assert_eq!(contained(|| drop(child)), [Foreign::Drop]);
    assert_eq!(payload.get(), 1);
    // A hook that never runs, with its detached context.
    let (ctx, guard) = Ctx::background().child();
    let kept = hook(&ctx);
    guard.disarm();
    assert_eq!(contained(|| drop((ctx, kept))), [Foreign::Drop]);
}

//= C133
#[test]
fn a_disarm_that_panics_is_contained() {
    struct Fragile(TestClock);
    impl Timer for Fragile {
        fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
            let armed = Timer::arm(&self.0, at, alarm);
            Some(Armed::new((armed, Bomb(Tally::new()))))
        }
    }
    let _serial = alone();
    let clock = TestClock::new();
    let (root, guard) = clock.root().timer(Arc::new(Fragile(clock.clone()))).build();
    for how in 0..3 {
        let ctx = root.with_timeout(SECOND);
        let mut waiter = ManualTask::new(ctx.done());
        assert!(waiter.poll().is_pending());
        let panics = contained(|| match how {
            0 => clock.advance(SECOND),
            1 => drop((ctx, waiter)),
            _ => assert!(guard.cancel("x")),
        });
        assert_eq!(panics, [Foreign::Runtime], "{how}");
    }
    assert_eq!(clock.armed(), 0);
}

//= C133
#[test]
fn a_panic_whose_payload_panics_when_dropped_is_contained_too() {
    let _serial = alone();
    let (ctx, guard) = Ctx::background().child();
    let payload = Tally::new();
    let hook = ctx.on_done({
        let payload = payload.clone();
        move |_| std::panic::panic_any(Bomb(payload))
    });
    let other = Tally::new();
    let last = ctx.on_done({
        let other = other.clone();
        move |_| other.add()
    });
    assert_eq!(contained(|| assert!(guard.cancel("x"))), [Foreign::Hook]);
    assert_eq!((payload.get(), other.get()), (1, 1));
    assert!(hook.has_run() && last.has_run());
}

/// Panics when an entry is taken back, and again when it goes itself.
struct Trap(Tally);

impl ripcord_core::Disarm for Trap {
    fn disarm(&self, _: u64) {
        panic!("disarm")
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.0.add();
        assert_eq!(self.0.get(), 0, "the table goes");
    }
}

struct Traps(Tally);

impl ripcord_core::Timer for Traps {
    fn arm(&self, _: std::time::Instant, _: std::task::Waker) -> Option<Armed> {
        Some(Armed::keyed(Arc::new(Trap(self.0.clone())), 1))
    }
}

//= C133
//= C116
#[test]
fn a_table_that_panics_on_disarm_and_again_when_it_is_dropped() {
    let _serial = alone();
    let dropped = Tally::new();
    let timer = Arc::new(Traps(dropped.clone()));
    let (root, _guard) = Ctx::root().timer(timer).build();
    let ctx = root.with_timeout(SECOND);
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    let panics = contained(|| drop((ctx, waiter)));
    assert_eq!(panics, [Foreign::Runtime; 2]);
    assert_eq!(dropped.get(), 1);
}
