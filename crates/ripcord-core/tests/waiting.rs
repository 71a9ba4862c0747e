//! Chapter *Waiting* of the specification: who is woken, how often, and by whom.

mod common;

use common::{Gate, HeldSweeper, Tally, finishes, row, together};
use ripcord_core::{Cancelled, Cause, Ctx, Done, Kind, Sweep, Sweeper};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn pending(ctx: &Ctx, counter: &WakeCounter) -> ManualTask<Done> {
    let mut waiter = ManualTask::with_counter(ctx.done(), counter.clone());
    assert!(waiter.poll().is_pending());
    waiter
}

//= C36
#[test]
fn a_waiter_is_woken_once_however_many_ancestors_end() {
    let clock = TestClock::new();
    let (top, top_guard) = clock.ctx();
    let (middle, middle_guard) = top.with_timeout(SECOND).child();
    let (leaf, leaf_guard) = middle.child();
    let (other, _other_guard) = middle.child();
    let merged = Ctx::merge([&leaf, &other]);
    let mut done = [&leaf, &merged].map(|ctx| ManualTask::new(ctx.done()));
    let mut draining = [&leaf, &merged].map(|ctx| ManualTask::new(ctx.draining()));
    for waiter in &mut done {
        assert!(waiter.poll().is_pending());
    }
    for waiter in &mut draining {
        assert!(waiter.poll().is_pending());
    }
    middle_guard.cancel("middle");
    leaf_guard.cancel("leaf");
    top_guard.cancel("top");
    clock.advance(SECOND);
    top_guard.force("forced");
    for (done, draining) in done.iter_mut().zip(&mut draining) {
        assert_eq!((done.wakes(), draining.wakes()), (1, 1));
        assert!(done.poll().is_ready() && draining.poll().is_ready());
    }
}

//= C36
#[test]
fn a_waiter_below_a_merge_is_woken_once() {
    let (a, cancel_a) = Ctx::background().child();
    let (b, cancel_b) = Ctx::background().child();
    let counter = WakeCounter::new();
    let merged = Ctx::merge([&a, &b]);
    let again = Ctx::merge([&merged, &a, &b.named("b")]);
    let _both = [pending(&merged, &counter), pending(&again, &counter)];
    cancel_a.cancel("a");
    cancel_b.cancel("b");
    assert_eq!(counter.wakes(), 2);
    assert_eq!(counter.live(), 0);
}

//= C37
#[test]
fn a_pending_waiter_that_is_dropped_leaves_nothing() {
    let (ctx, guard) = Ctx::root().name("dropped waiter").tracked().build();
    let counters: Vec<_> = (0..10).map(|_| WakeCounter::new()).collect();
    let mut waiters: Vec<_> = counters
        .iter()
        .map(|counter| Some(pending(&ctx, counter)))
        .collect();
    assert_eq!(row("dropped waiter").waiters, 10);
    for at in [3, 0, 9] {
        drop(waiters[at].take());
        assert_eq!(counters[at].live(), 0, "its waker is gone");
    }
    assert_eq!(row("dropped waiter").waiters, 7);
    guard.cancel("x");
    for (at, counter) in counters.iter().enumerate() {
        let expect = usize::from(![3, 0, 9].contains(&at));
        assert_eq!(counter.wakes(), expect);
        assert_eq!(counter.live(), 0);
    }
}

//= C38
#[test]
fn only_the_last_waker_is_woken() {
    let (ctx, guard) = Ctx::root().name("last waker").tracked().build();
    let mut done = ctx.done();
    let counters: Vec<_> = (0..5).map(|_| WakeCounter::new()).collect();
    let poll = |done: &mut Done, counter: &WakeCounter| {
        let waker = counter.waker();
        let mut cx = std::task::Context::from_waker(&waker);
        std::future::Future::poll(std::pin::Pin::new(done), &mut cx)
    };
    for (at, counter) in counters.iter().enumerate() {
        for _ in 0..2 {
            assert!(poll(&mut done, counter).is_pending());
        }
        assert_eq!(counter.live(), 1);
        assert_eq!(row("last waker").waiters, 1);
        for earlier in &counters[..at] {
            assert_eq!(earlier.live(), 0, "a replaced waker is dropped");
        }
    }
    guard.cancel("x");
    let wakes: Vec<usize> = counters.iter().map(WakeCounter::wakes).collect();
    assert_eq!(wakes, [0, 0, 0, 0, 1]);
    assert!(poll(&mut done, &counters[0]).is_ready());
    assert_eq!(counters[0].live(), 0);
}

//= C40
#[test]
fn a_waker_that_blocks_delays_only_those_behind_it() {
    finishes(|| {
        let (clock, sweeper) = (TestClock::new(), HeldSweeper::new());
        let (ctx, guard) = clock.root().sweeper(Arc::new(sweeper.clone())).build();
        let (below, below_guard) = ctx.child();
        let (beside, _beside_guard) = clock.root().build();
        let (blocked, go_on) = (Gate::new(), Gate::new());
        let counter = WakeCounter::reacting({
            let (blocked, go_on) = (blocked.clone(), go_on.clone());
            move |event| {
                if event == WakerEvent::Wake {
                    blocked.open();
                    go_on.pass();
                }
            }
        });
        let _waiters = [pending(&ctx, &counter), pending(&below, &counter)];
        let canceller = thread::spawn(move || guard.cancel(Kind::PeerGone));
        blocked.pass();
        // Meanwhile, on this thread:
        assert!(ctx.is_done() && below.is_done() && !beside.is_done());
        assert_eq!(below.cause().unwrap().kind(), Kind::PeerGone);
        assert!(ManualTask::new(below.done()).poll().is_ready());
        let (derived, derived_guard) = ctx.child();
        assert!(derived.is_done() && !derived_guard.cancel("x"));
        assert!(!below_guard.cancel("x") && !below_guard.cancel_and_sweep("x"));
        let ran = Tally::new();
        let hook = below.on_done({
            let ran = ran.clone();
            move |_| ran.add()
        });
        assert!(hook.has_run() && ran.get() == 1);
        let shield = below.shield(SECOND);
        let mut waiter = ManualTask::new(shield.done());
        assert!(waiter.poll().is_pending());
        clock.advance(SECOND);
        assert_eq!(waiter.wakes(), 1);
        drop((below, below_guard, derived_guard));
        assert!(!canceller.is_finished());
        go_on.open();
        assert!(canceller.join().unwrap());
        sweeper.run();
        assert_eq!(counter.wakes(), 2);
    });
}

//= C41
#[test]
fn done_owns_what_it_needs() {
    let clock = TestClock::new();
    for by_deadline in [false, true] {
        let (root, guard) = clock.ctx();
        let (ctx, inner) = root.with_timeout(SECOND).child();
        inner.disarm();
        let mut waiter = ManualTask::new(ctx.done());
        drop((root, ctx));
        assert!(waiter.poll().is_pending());
        if by_deadline {
            clock.advance(SECOND);
        } else {
            guard.cancel("x");
        }
        assert_eq!(waiter.wakes(), 1);
        let Poll::Ready(cause) = waiter.poll() else {
            panic!("it was woken")
        };
        for _ in 0..3 {
            assert_eq!(waiter.poll(), Poll::Ready(cause.clone()));
        }
    }
}

//= C42
#[test]
fn wait_blocks_until_the_end() {
    finishes(|| {
        let clock = TestClock::new();
        for by_deadline in [false, true] {
            let (root, guard) = clock.ctx();
            let ctx = root.with_timeout(SECOND);
            let registered = Gate::new();
            let waiting = thread::spawn({
                let (ctx, registered) = (ctx.clone(), registered.clone());
                move || {
                    registered.open();
                    (ctx.wait(), ctx.wait_timeout(Duration::MAX))
                }
            });
            registered.pass();
            if by_deadline {
                clock.advance(SECOND);
            } else {
                guard.cancel("x");
            }
            let (cause, again) = waiting.join().unwrap();
            assert_eq!(Some(cause.clone()), ctx.cause());
            assert_eq!(again, Some(cause), "on a done context it does not block");
        }
    });
}

//= C42, C43
#[test]
fn wait_timeout_and_sleep_tell_which_came_first() {
    finishes(|| {
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        let go = |wait: fn(&Ctx) -> Option<Cause>| {
            let ctx = ctx.clone();
            thread::spawn(move || wait(&ctx))
        };
        let timed = go(|ctx| ctx.wait_timeout(SECOND));
        let slept = go(|ctx| ctx.sleep(SECOND).err().map(Cancelled::into_cause));
        while clock.armed() < 2 {
            thread::yield_now();
        }
        clock.advance(SECOND);
        assert_eq!(timed.join().unwrap(), None);
        assert_eq!(slept.join().unwrap(), None);
        assert!(!ctx.is_done());

        let timed = go(|ctx| ctx.wait_timeout(SECOND));
        let slept = go(|ctx| ctx.sleep(SECOND).err().map(Cancelled::into_cause));
        while clock.armed() < 2 {
            thread::yield_now();
        }
        guard.cancel("x");
        assert_eq!(timed.join().unwrap(), ctx.cause());
        assert_eq!(slept.join().unwrap(), ctx.cause());
        assert_eq!(clock.armed(), 0);
        // The clock stands still: a call that blocked would never return.
        assert_eq!(ctx.wait_timeout(SECOND), ctx.cause());
        assert_eq!(ctx.sleep(SECOND).unwrap_err().cause(), &ctx.wait());
    });
}

//= C44
#[test]
fn no_wake_is_lost_between_the_look_and_the_registration() {
    for round in 0..300 {
        let (root, root_guard) = Ctx::background().child();
        let (ctx, guard) = root.child();
        let (other, _other_guard) = Ctx::background().child();
        let merged = Ctx::merge([&ctx, &other]);
        let watched = if round % 3 == 0 { &merged } else { &ctx };
        let counter = WakeCounter::new();
        let polls = together(3, |at| {
            if at == 0 {
                if round % 2 == 0 {
                    root_guard.cancel("x");
                } else {
                    guard.cancel("x");
                }
                return None;
            }
            let mut waiter = ManualTask::with_counter(watched.done(), counter.clone());
            Some((waiter.poll(), waiter))
        });
        let missed = polls.iter().flatten().filter(|(poll, _)| poll.is_pending());
        assert_eq!(counter.wakes(), missed.count());
    }
}

/// Which thread each wake and each hook came from.
struct Threads(mpsc::Sender<ThreadId>, mpsc::Receiver<ThreadId>);

impl Threads {
    fn new() -> Self {
        let (tell, told) = mpsc::channel();
        Self(tell, told)
    }

    fn waker(&self) -> WakeCounter {
        let tell = self.0.clone();
        WakeCounter::reacting(move |event| {
            if event == WakerEvent::Wake {
                let _ = tell.send(thread::current().id());
            }
        })
    }

    /// How many were on this thread, and how many came so far.
    fn count(&self) -> (usize, usize) {
        let me = thread::current().id();
        let all: Vec<ThreadId> = self.1.try_iter().collect();
        (all.iter().filter(|id| **id == me).count(), all.len())
    }
}

//= C45
#[test]
fn a_cancel_wakes_at_most_32_on_its_thread() {
    for by_drop in [false, true] {
        for in_children in [false, true] {
            let (threads, sweeper) = (Threads::new(), HeldSweeper::new());
            let (ctx, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
            let mut kept = Vec::new();
            for _ in 0..100 {
                let (child, child_guard) = ctx.child();
                let at = if in_children { &child } else { &ctx };
                kept.push((pending(at, &threads.waker()), child_guard));
            }
            if by_drop {
                drop(guard);
            } else {
                assert!(guard.cancel("x"));
            }
            let (here, all) = threads.count();
            assert_eq!(here, all);
            assert!((1..=32).contains(&here), "{here} wakes");
            sweeper.run();
            assert_eq!(threads.count().1, 100 - here);
            assert!(kept.iter_mut().all(|(waiter, _)| waiter.poll().is_ready()));
        }
    }
}

//= C45
#[test]
fn a_small_sweep_is_over_when_the_cancel_returns() {
    type Shape = fn(&Ctx, usize) -> Ctx;
    let shapes: [Shape; 3] = [
        |ctx, _| ctx.clone(),
        |ctx, _| {
            let (child, guard) = ctx.child();
            guard.disarm();
            child
        },
        |ctx, at| {
            let (child, guard) = ctx.named(format!("{at}")).child();
            guard.disarm();
            child.with_timeout(SECOND)
        },
    ];
    for (at, shape) in shapes.into_iter().enumerate() {
        for by_drop in [false, true] {
            let (threads, sweeper) = (Threads::new(), HeldSweeper::new());
            let (ctx, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
            let mut waiters = Vec::new();
            let mut hooks = Vec::new();
            for n in 0..32 {
                let place = shape(&ctx, n);
                if n % 2 == 0 {
                    waiters.push(pending(&place, &threads.waker()));
                } else {
                    let tell = threads.0.clone();
                    hooks.push(place.on_done(move |_| {
                        let _ = tell.send(thread::current().id());
                    }));
                }
            }
            if by_drop {
                drop(guard);
            } else {
                assert!(guard.cancel("x"));
            }
            assert_eq!(threads.count(), (32, 32), "shape {at}");
            assert!(sweeper.take().is_empty());
            assert!(hooks.iter().all(ripcord_core::Hook::has_run));
        }
    }
}

//= C46
#[test]
fn cancel_and_sweep_leaves_nothing_to_others() {
    let (threads, sweeper) = (Threads::new(), HeldSweeper::new());
    let (ctx, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
    let mut kept = Vec::new();
    for _ in 0..200 {
        let (child, child_guard) = ctx.child();
        let (below, below_guard) = child.child();
        let tell = threads.0.clone();
        let hook = child.on_done(move |_| {
            let _ = tell.send(thread::current().id());
        });
        kept.push((
            pending(&below, &threads.waker()),
            hook,
            child_guard,
            below_guard,
        ));
    }
    assert!(guard.cancel_and_sweep("x"));
    assert_eq!(threads.count(), (400, 400));
    assert!(sweeper.take().is_empty());
}

/// Runs one step and drops the rest.
struct Lazy;

impl Sweeper for Lazy {
    fn hand_over(&self, mut sweep: Sweep) {
        sweep.step();
    }
}

struct Panicking;

impl Sweeper for Panicking {
    fn hand_over(&self, _: Sweep) {
        panic!("a test sweeper panics, as it was told to");
    }
}

//= C47
#[test]
fn the_rest_of_a_sweep_goes_to_the_sweeper_or_to_the_thread() {
    finishes(|| {
        let roots: [(&str, ripcord_core::Root); 3] = [
            ("none", Ctx::root()),
            ("lazy", Ctx::root().sweeper(Arc::new(Lazy))),
            ("panics", Ctx::root().sweeper(Arc::new(Panicking))),
        ];
        for (how, root) in roots {
            let (ctx, guard) = root.build();
            let (tell, told) = mpsc::channel();
            let mut kept = Vec::new();
            for at in 0..2_000 {
                let (child, child_guard) = ctx.child();
                let tell = tell.clone();
                let counter = WakeCounter::reacting({
                    let tell = tell.clone();
                    move |event| {
                        if event == WakerEvent::Wake {
                            let _ = tell.send(thread::current().id());
                        }
                    }
                });
                let hook = child.on_done(move |_| {
                    let _ = tell.send(thread::current().id());
                });
                kept.push((at, pending(&child, &counter), hook, child_guard));
            }
            guard.cancel("x");
            drop((ctx, guard));
            let me = thread::current().id();
            let runs: Vec<ThreadId> = (0..4_000)
                .map(|_| told.recv().unwrap_or_else(|_| panic!("{how}: lost")))
                .collect();
            let elsewhere: Vec<_> = runs.iter().filter(|id| **id != me).collect();
            assert!(!elsewhere.is_empty(), "{how}");
            let first = elsewhere[0];
            assert!(elsewhere.iter().all(|id| *id == first), "{how}: one thread");
        }
    });
}

//= C47
#[test]
fn a_sweep_dropped_unfinished_is_finished_by_the_thread() {
    finishes(|| {
        let sweeper = HeldSweeper::new();
        let (ctx, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
        let (tell, told) = mpsc::channel();
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let tell = tell.clone();
                let counter = WakeCounter::reacting(move |event| {
                    if event == WakerEvent::Wake {
                        let _ = tell.send(());
                    }
                });
                pending(&ctx, &counter)
            })
            .collect();
        guard.cancel("x");
        let sweeps = sweeper.take();
        assert_eq!(sweeps.len(), 1);
        drop(sweeps);
        for _ in &waiters {
            told.recv().unwrap();
        }
    });
}

//= C36, C85
#[test]
fn a_draining_waiter_is_woken_once_and_gone() {
    let (ctx, guard) = Ctx::root().name("draining waiter").tracked().build();
    let counter = WakeCounter::new();
    let mut waiter = ManualTask::with_counter(ctx.draining(), counter.clone());
    assert!(waiter.poll().is_pending());
    assert_eq!(row("draining waiter").waiters, 1);
    assert!(guard.drain());
    assert_eq!(counter.wakes(), 1);
    assert_eq!((row("draining waiter").waiters, counter.live()), (0, 0));
    assert!(waiter.poll().is_ready());
    guard.cancel("x");
    assert_eq!(counter.wakes(), 1);
}

//= C45
#[test]
fn waiters_of_the_cancelled_context_do_not_wait_for_many_idle_children() {
    let (ctx, guard) = Ctx::background().child();
    let children: Vec<_> = (0..1_000).map(|_| ctx.child()).collect();
    for (child, _) in &children {
        // Listed by its parent from now on.
        assert!(ManualTask::new(child.done()).poll().is_pending());
    }
    let mut waiters: Vec<_> = (0..32).map(|_| ManualTask::new(ctx.done())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert!(guard.cancel("x"));
    assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
}
