//! Chapter *Hooks* of the specification: what runs, when, how often, and what stops it.

mod common;

use common::{Bomb, Gate, HandTimer, HeldSweeper, Relay, Tally, finishes, row, together};
use ripcord_core::{CancelGuard, Cause, Ctx, Hook, Kind, foreign_panics};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn counting(ctx: &Ctx, ran: &Tally) -> Hook {
    let ran = ran.clone();
    ctx.on_done(move |_| ran.add())
}

//= C54
#[test]
fn a_hook_runs_once_or_not_at_all() {
    let (ctx, guard) = Ctx::background().child();
    let (ran, other) = (Tally::new(), Tally::new());
    let hook = counting(&ctx, &ran);
    let stopped = counting(&ctx, &other);
    assert!(!hook.has_run());
    assert!(stopped.stop(), "prevented");
    assert!(!stopped.stop() && !stopped.stop_and_wait(), "only once");
    guard.cancel("x");
    guard.cancel("again");
    guard.force("again");
    assert_eq!((ran.get(), other.get()), (1, 0));
    assert!(hook.has_run() && !stopped.has_run());
    assert!(!hook.stop() && !hook.stop_and_wait());
    drop((hook, stopped));
    assert_eq!((ran.get(), other.get()), (1, 0));
}

//= C54
#[test]
fn stop_does_not_wait_for_a_run_that_has_begun() {
    finishes(|| {
        let (ctx, guard) = Ctx::background().child();
        let (running, go_on) = (Gate::new(), Gate::new());
        let hook = ctx.on_done({
            let (running, go_on) = (running.clone(), go_on.clone());
            move |_| {
                running.open();
                go_on.pass();
            }
        });
        let canceller = thread::spawn(move || guard.cancel("x"));
        running.pass();
        assert!(!hook.stop() && !hook.has_run());
        assert!(format!("{hook:?}").contains("running"));
        drop(hook);
        assert!(!canceller.is_finished());
        go_on.open();
        assert!(canceller.join().unwrap());
    });
}

//= C55
#[test]
fn on_a_done_context_a_hook_runs_at_once_on_this_thread() {
    let clock = TestClock::new();
    let (cancelled, guard) = clock.ctx();
    let (child, _child_guard) = cancelled.child();
    guard.cancel("x");
    let (root, _root_guard) = clock.ctx();
    let expired = root.with_timeout(Duration::ZERO);
    for ctx in [&cancelled, &child, &expired] {
        let here = thread::current().id();
        let (tell, told) = mpsc::channel();
        let hook = ctx.on_done(move |cause| {
            tell.send((thread::current().id(), cause.clone())).unwrap();
        });
        let (thread, cause) = told.try_recv().unwrap();
        assert_eq!((thread, Some(cause)), (here, ctx.cause()));
        assert!(hook.has_run());
    }
}

//= C56
#[test]
fn a_hook_runs_whatever_ends_its_context_with_that_cause() {
    type End = fn(&TestClock, &CancelGuard, &CancelGuard);
    let ends: [(End, Kind); 4] = [
        (
            |_, own, _| assert!(own.cancel(Kind::PeerGone)),
            Kind::PeerGone,
        ),
        (
            |_, _, above| assert!(above.cancel(Kind::Shutdown)),
            Kind::Shutdown,
        ),
        (|clock, _, _| clock.advance(SECOND), Kind::DeadlineExceeded),
        (
            |_, _, above| assert!(above.force(Kind::Signal)),
            Kind::Signal,
        ),
    ];
    for (end, kind) in ends {
        let clock = TestClock::new();
        let (root, above) = clock.ctx();
        let (ctx, own) = root.with_timeout(SECOND).child();
        let (tell, told) = mpsc::channel();
        let hook = ctx.on_done(move |cause| tell.send(cause.clone()).unwrap());
        end(&clock, &own, &above);
        let cause: Cause = told.try_recv().unwrap();
        assert_eq!((cause.kind(), Some(cause)), (kind, ctx.cause()));
        assert!(hook.has_run() && told.try_recv().is_err());
    }
}

//= C57
#[test]
fn stop_and_wait_waits_for_a_run_on_another_thread() {
    finishes(|| {
        let (ctx, guard) = Ctx::background().child();
        let (running, go_on) = (Gate::new(), Gate::new());
        let over = Tally::new();
        let hook = Arc::new(ctx.on_done({
            let (running, go_on, over) = (running.clone(), go_on.clone(), over.clone());
            move |_| {
                running.open();
                go_on.pass();
                over.add();
            }
        }));
        let mut idle = ManualTask::new(Ctx::background().on_done(|_| {}).stopped());
        assert_eq!(idle.poll(), Poll::Ready(true));
        let canceller = thread::spawn(move || guard.cancel("x"));
        running.pass();
        let mut stopped = ManualTask::new(hook.stopped());
        assert!(stopped.poll().is_pending() && stopped.poll().is_pending());
        let waiting = thread::spawn({
            let (hook, over) = (Arc::clone(&hook), over.clone());
            move || (hook.stop_and_wait(), over.get())
        });
        assert_eq!(over.get(), 0);
        go_on.open();
        assert_eq!(waiting.join().unwrap(), (false, 1));
        assert!(canceller.join().unwrap());
        assert_eq!(stopped.wakes(), 1);
        assert_eq!(stopped.poll(), Poll::Ready(false));
    });
}

//= C57
#[test]
fn a_hook_may_stop_or_drop_itself() {
    finishes(|| {
        for how in 0..3 {
            let (ctx, guard) = Ctx::background().child();
            let own = Arc::new(OnceLock::<Hook>::new());
            let slot = Arc::clone(&own);
            let (tell, told) = mpsc::channel();
            let hook = ctx.on_done(move |_| {
                let result = match how {
                    0 => slot.get().unwrap().stop(),
                    1 => slot.get().unwrap().stop_and_wait(),
                    _ => {
                        let mut slot = slot;
                        while Arc::get_mut(&mut slot).is_none() {
                            thread::yield_now();
                        }
                        drop(Arc::into_inner(slot).unwrap().into_inner().unwrap());
                        false
                    }
                };
                tell.send(result).unwrap();
            });
            own.set(hook).unwrap();
            if how == 2 {
                drop(own);
            }
            assert!(guard.cancel("x"));
            assert!(!told.try_recv().unwrap(), "it had begun");
        }
    });
}

//= C58
#[test]
fn two_hooks_that_stop_each_other_do_not_deadlock() {
    for _ in 0..50 {
        let (a, cancel_a) = Ctx::background().child();
        let (b, cancel_b) = Ctx::background().child();
        let ran = Tally::new();
        let hooks: [Arc<OnceLock<Hook>>; 2] = [Arc::default(), Arc::default()];
        for (at, ctx) in [&a, &b].into_iter().enumerate() {
            let (other, ran) = (Arc::clone(&hooks[1 - at]), ran.clone());
            let hook = ctx.on_done(move |_| {
                ran.add();
                other.get().unwrap().stop();
            });
            hooks[at].set(hook).unwrap();
        }
        let (guards, kept) = ([cancel_a, cancel_b], hooks.clone());
        let both = finishes(move || together(2, |at| guards[at].cancel("x")));
        assert_eq!(both, [true, true]);
        let runs = kept.iter().filter(|hook| hook.get().unwrap().has_run());
        assert_eq!(runs.count(), ran.get());
        assert!((1..=2).contains(&ran.get()));
    }
}

//= C59
#[test]
fn a_hook_may_do_what_code_outside_may() {
    finishes(|| {
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        let (other, other_guard) = clock.ctx();
        let (tell, told) = mpsc::channel();
        let ran = Tally::new();
        let hook = ctx.on_done({
            let (ctx, own, ran) = (ctx.clone(), guard.handle(), ran.clone());
            move |cause| {
                let inner = counting(&ctx, &ran);
                let (child, child_guard) = ctx.child();
                let mut waiter = ManualTask::new(ctx.done());
                let is_woken = waiter.poll() == Poll::Ready(cause.clone());
                let shield = ctx.shield(SECOND);
                let facts = [
                    !own.cancel("own"),
                    other_guard.cancel(cause.clone()),
                    !child_guard.cancel("child"),
                    child.cause().as_ref() == Some(cause),
                    inner.has_run() && ran.get() == 1,
                    is_woken,
                    ctx.with_timeout(SECOND).is_done(),
                    !shield.is_done(),
                    own.force("forced") && shield.is_done(),
                ];
                tell.send(facts).unwrap();
            }
        });
        assert!(guard.cancel(Kind::PeerGone));
        assert_eq!(told.try_recv().unwrap(), [true; 9]);
        assert!(hook.has_run());
        assert_eq!(other.cause(), ctx.cause());
    });
}

//= C60
#[test]
fn hooks_run_after_the_wakes_and_the_last_registered_first() {
    let (ctx, guard) = Ctx::background().child();
    let (child, _child_guard) = ctx.child();
    let (tell, told) = mpsc::channel();
    let hook = |ctx: &Ctx, name: &'static str| {
        let (tell, all) = (tell.clone(), [ctx.clone(), child.clone()]);
        ctx.on_done(move |cause| {
            let all_done = all.iter().all(Ctx::is_done);
            let seen = all_done && all[0].cause().as_ref() == Some(cause);
            tell.send((name, seen)).unwrap();
        })
    };
    let mut kept = vec![hook(&ctx, "first"), hook(&child, "below first")];
    let gap = hook(&ctx, "stopped");
    kept.extend([hook(&ctx, "second"), hook(&child, "below second")]);
    gap.stop();
    kept.push(hook(&ctx, "third"));
    let wake = tell.clone();
    let counter = WakeCounter::reacting(move |event| {
        if event == WakerEvent::Wake {
            wake.send(("wake", true)).unwrap();
        }
    });
    let mut waiters = [&ctx, &child].map(|ctx| {
        let mut waiter = ManualTask::with_counter(ctx.done(), counter.clone());
        assert!(waiter.poll().is_pending());
        waiter
    });
    guard.cancel("x");
    let events: Vec<_> = told.try_iter().collect();
    assert!(events.iter().all(|event| event.1), "{events:?}");
    let names: Vec<_> = events.into_iter().map(|event| event.0).collect();
    assert_eq!(names[..2], ["wake", "wake"]);
    let of = |names: &[&'static str], below: bool| -> Vec<&'static str> {
        let these = names.iter().skip(2);
        these
            .filter(|name| name.starts_with("below") == below)
            .copied()
            .collect()
    };
    assert_eq!(of(&names, false), ["third", "second", "first"]);
    assert_eq!(of(&names, true), ["below second", "below first"]);
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
}

//= C61
#[test]
fn a_panic_in_a_hook_keeps_nobody_from_anything() {
    let (ctx, guard) = Ctx::background().child();
    let (child, _child_guard) = ctx.child();
    let ran = Tally::new();
    let mut hooks = Vec::new();
    for at in 0..10 {
        let place = if at % 2 == 0 { &ctx } else { &child };
        let ran = ran.clone();
        hooks.push(place.on_done(move |_| {
            ran.add();
            assert!(at % 3 != 0, "a test hook panics, as it was told to");
        }));
    }
    let mut waiters = [&ctx, &child].map(|ctx| ManualTask::new(ctx.done()));
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    let before = foreign_panics();
    assert!(guard.cancel("x"), "nothing is re-raised");
    assert!(foreign_panics() >= before + 4);
    assert_eq!(ran.get(), 10);
    assert!(hooks.iter().all(Hook::has_run));
    for waiter in &mut waiters {
        assert_eq!(waiter.wakes(), 1);
    }
    // Also where it runs at once.
    let hook = ctx.on_done(|_| panic!("a test hook panics, as it was told to"));
    assert!(hook.has_run() && !hook.stop_and_wait());
}

//= C62
#[test]
fn a_dropped_hook_is_gone() {
    let (ctx, guard) = Ctx::root().name("dropped hook").tracked().build();
    let (ran, dropped) = (Tally::new(), Tally::new());
    let hooks: Vec<_> = (0..3)
        .map(|_| {
            let (ran, held) = (ran.clone(), dropped.on_drop());
            ctx.on_done(move |_| {
                let _held = &held;
                ran.add();
            })
        })
        .collect();
    assert_eq!(row("dropped hook").hooks, 3);
    for (at, hook) in hooks.into_iter().enumerate() {
        drop(hook);
        assert_eq!(dropped.get(), at + 1, "the closure is gone too");
        assert_eq!(row("dropped hook").hooks, 2 - at);
    }
    guard.cancel("x");
    assert_eq!(ran.get(), 0);
    let held = dropped.on_drop();
    drop(Ctx::background().on_done(move |_| drop(held)));
    assert_eq!(dropped.get(), 4);
}

//= C63
#[test]
fn racing_stops_and_a_cancel_agree_on_each_hook() {
    for _ in 0..100 {
        let (ctx, guard) = Ctx::background().child();
        let results = together(3, |at| {
            if at == 0 {
                guard.cancel("x");
                return Vec::new();
            }
            (0..20)
                .map(|_| {
                    let ran = Tally::new();
                    let hook = counting(&ctx, &ran);
                    let stopped = hook.stop();
                    let before = ran.get();
                    let again = hook.stop_and_wait();
                    assert!(!again, "stopped, running or over");
                    (stopped, before, ran)
                })
                .collect()
        });
        for (stopped, before, ran) in results.into_iter().flatten() {
            let expect = usize::from(!stopped);
            assert!(before <= expect);
            assert_eq!(ran.get(), expect, "stopped: {stopped}");
        }
    }
}

//= C64
#[test]
fn a_hook_keeps_its_node_alive() {
    let (clock, timer) = (TestClock::new(), HandTimer::new());
    for detached in [false, true] {
        let ran = Tally::new();
        let root = clock.root().timer(Arc::new(timer.clone()));
        let (root, guard) = root.name("hook alive").tracked().build();
        guard.disarm();
        let (ctx, inner) = root.with_timeout(SECOND).child();
        inner.disarm();
        let hook = counting(&ctx, &ran);
        drop((root, ctx));
        let hook = if detached {
            hook.detach();
            None
        } else {
            Some(hook)
        };
        assert_eq!(timer.armed(), 1);
        clock.advance(SECOND);
        timer.fire();
        assert_eq!(ran.get(), 1);
        drop(hook);
        assert!(common::rows_named("hook alive").is_empty(), "all is gone");
    }
    // Dropped before the end, it keeps nothing.
    let (ctx, guard) = Ctx::root().name("hook alive no more").tracked().build();
    guard.disarm();
    let hook = ctx.on_done(|_| {});
    drop(ctx);
    assert_eq!(row("hook alive no more").hooks, 1);
    drop(hook);
    assert!(common::rows_named("hook alive no more").is_empty());
}

//= C54, C60, C61
#[test]
fn the_hooks_of_a_large_subtree_are_run_by_the_sweeper() {
    const CHILDREN: usize = 20;
    const EACH: usize = 50;
    let sweeper = HeldSweeper::new();
    let (root, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
    let (tell, told) = mpsc::channel();
    let (mut kept, mut hooks, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
    for child in 0..CHILDREN {
        let (ctx, child_guard) = root.child();
        for at in 0..EACH {
            let (tell, ctx) = (tell.clone(), ctx.clone());
            hooks.push(ctx.clone().on_done(move |cause| {
                let is_exact = ctx.is_done() && ctx.cause().as_ref() == Some(cause);
                tell.send((child, at, is_exact)).unwrap();
                assert!(at % 7 != 3, "a test hook panics, as it was told to");
            }));
        }
        for _ in 0..3 {
            let mut waiter = ManualTask::new(ctx.done());
            assert!(waiter.poll().is_pending());
            waiters.push(waiter);
        }
        kept.push((ctx, child_guard));
    }
    guard.cancel("x");
    assert!(kept.iter().all(|(ctx, _)| ctx.is_done()));
    assert_eq!(told.try_iter().count(), 0, "wakes come before hooks");
    // What waits its turn can still be stopped, whether or not its node was swept: the
    // first two hooks of the first and of the last child, by `stop` and by a drop.
    for child in [CHILDREN - 1, 0] {
        let first = child * EACH;
        assert!(hooks[first].stop() && !hooks[first].stop());
        drop(hooks.drain(first..first + 2));
    }
    assert!(!hooks.iter().any(Hook::has_run));
    let mut rest = sweeper.take();
    assert_eq!(rest.len(), 1);
    rest.remove(0).run();
    assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
    let ran: Vec<_> = told.try_iter().collect();
    assert!(ran.iter().all(|run| run.2));
    for child in 0..CHILDREN {
        let order = ran.iter().filter(|run| run.0 == child).map(|run| run.1);
        let first = if child % (CHILDREN - 1) == 0 { 2 } else { 0 };
        assert!(order.eq((first..EACH).rev()), "child {child}");
    }
    assert!(hooks.iter().all(Hook::has_run));
}

//= C54
#[test]
fn what_no_sweeper_was_chosen_for_runs_on_the_cores_thread() {
    let here = thread::current().id();
    let (ctx, guard) = Ctx::background().child();
    let (tell, told) = mpsc::channel();
    let hooks: Vec<_> = (0..100)
        .map(|at| {
            let tell = tell.clone();
            ctx.on_done(move |_| tell.send((at, thread::current().id())).unwrap())
        })
        .collect();
    assert!(guard.cancel("x"));
    drop((ctx, guard, tell));
    // Ends when the last of the hooks is gone.
    let ran: Vec<_> = finishes(move || told.iter().collect());
    assert!(ran.iter().map(|run| run.0).eq((0..100).rev()));
    let inline = ran.iter().take_while(|run| run.1 == here).count();
    assert_eq!(inline, 32, "the canceller's share");
    assert!(hooks.iter().all(|hook| !hook.stop_and_wait()));
}

//= C56
#[test]
fn a_hook_runs_when_what_its_context_hangs_on_ends() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let (other, _other_guard) = clock.ctx();
    let relay = Relay::new();
    let (watched, _watched_guard) = root.with_source(relay.shared()).child();
    let places = [
        Ctx::merge([&other, &root]),
        Ctx::all_of([&root, &other.with_timeout(SECOND)]),
        root.shield(2 * SECOND),
        root.named("view"),
        watched,
    ];
    let ran: Vec<_> = places.iter().map(|_| Tally::new()).collect();
    let hooks: Vec<_> = (places.iter().zip(&ran))
        .map(|(ctx, ran)| {
            let (ran, ctx) = (ran.clone(), ctx.clone());
            ctx.clone().on_done(move |cause| {
                assert_eq!(ctx.cause().as_ref(), Some(cause));
                ran.add();
            })
        })
        .collect();
    let runs = || -> Vec<_> { ran.iter().map(Tally::get).collect() };
    guard.cancel("x");
    assert_eq!(runs(), [1, 0, 0, 1, 0]);
    clock.advance(SECOND);
    assert_eq!(runs(), [1, 1, 0, 1, 0]);
    clock.advance(SECOND);
    assert_eq!(runs(), [1, 1, 1, 1, 0]);
    relay.set(Some(Kind::PeerGone.into()));
    relay.alarm();
    assert_eq!(runs(), [1; 5]);
    assert!(hooks.iter().all(Hook::has_run));
}

//= C57, C61
#[test]
fn a_hook_that_panics_is_over_for_those_who_wait_for_it() {
    finishes(|| {
        let (ctx, guard) = Ctx::background().child();
        let (running, go_on) = (Gate::new(), Gate::new());
        let hook = Arc::new(ctx.on_done({
            let (running, go_on) = (running.clone(), go_on.clone());
            move |_| {
                running.open();
                go_on.pass();
                panic!("a test hook panics, as it was told to");
            }
        }));
        let canceller = thread::spawn(move || guard.cancel("x"));
        running.pass();
        let mut task = ManualTask::new(hook.stopped());
        assert!(task.poll().is_pending());
        let mut given_up = ManualTask::new(hook.stopped());
        assert!(given_up.poll().is_pending());
        let counter = given_up.counter().clone();
        drop(given_up);
        assert_eq!(counter.live(), 0, "it leaves nothing");
        let waiting = thread::spawn({
            let hook = Arc::clone(&hook);
            move || (hook.stop_and_wait(), hook.has_run())
        });
        go_on.open();
        assert_eq!(waiting.join().unwrap(), (false, true));
        assert!(canceller.join().unwrap(), "nothing is re-raised");
        assert_eq!((task.wakes(), counter.wakes()), (1, 0));
        assert_eq!(task.poll(), Poll::Ready(false));
    });
}

//= C57
#[test]
fn the_end_of_a_hook_awaited_from_within_comes_after_it() {
    let (ctx, guard) = Ctx::background().child();
    let own = Arc::new(OnceLock::<Hook>::new());
    let slot = Arc::clone(&own);
    let (tell, told) = mpsc::channel();
    let hook = ctx.on_done(move |_| {
        let mut stopped = ManualTask::new(slot.get().unwrap().stopped());
        assert!(stopped.poll().is_pending());
        tell.send(stopped).unwrap();
    });
    assert!(own.set(hook).is_ok());
    guard.cancel("x");
    let mut stopped = told.try_recv().unwrap();
    assert_eq!(stopped.wakes(), 1);
    assert_eq!(stopped.poll(), Poll::Ready(false));
}

//= C58
#[test]
fn two_hooks_that_run_at_once_may_stop_each_other() {
    let (a, cancel_a) = Ctx::background().child();
    let (b, cancel_b) = Ctx::background().child();
    let begun = [Gate::new(), Gate::new()];
    let hooks: [Arc<OnceLock<Hook>>; 2] = [Arc::default(), Arc::default()];
    let (tell, told) = mpsc::channel();
    for (at, ctx) in [&a, &b].into_iter().enumerate() {
        let (other, begun, tell) = (Arc::clone(&hooks[1 - at]), begun.clone(), tell.clone());
        let hook = ctx.on_done(move |_| {
            begun[at].open();
            begun[1 - at].pass();
            tell.send(other.get().unwrap().stop()).unwrap();
        });
        assert!(hooks[at].set(hook).is_ok());
    }
    let guards = [cancel_a, cancel_b];
    let both = finishes(move || together(2, |at| guards[at].cancel("x")));
    assert_eq!(both, [true, true]);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [false, false]);
    for hook in &hooks {
        assert!(hook.get().unwrap().has_run());
    }
}

//= C54, C59
#[test]
fn a_hook_may_stop_another_of_its_own_context() {
    let (ctx, guard) = Ctx::background().child();
    let (child, _child_guard) = ctx.child();
    let (ran, dropped) = (Tally::new(), Tally::new());
    let (first, below) = (counting(&ctx, &ran), counting(&child, &ran));
    let held = dropped.on_drop();
    let other = ctx.on_done(move |_| drop(held));
    let (tell, told) = mpsc::channel();
    let last = ctx.on_done(move |_| {
        drop(other);
        tell.send((first.stop(), first.stop(), first)).unwrap();
    });
    guard.cancel("x");
    let (stopped, again, first) = told.try_recv().unwrap();
    assert!(stopped && !again, "it had not begun");
    assert!(!first.has_run() && last.has_run() && below.has_run());
    assert_eq!((ran.get(), dropped.get()), (1, 1));
}

//= C62
#[test]
fn a_closure_whose_drop_panics_harms_nobody() {
    let (ctx, guard) = Ctx::background().child();
    let (ran, dropped) = (Tally::new(), Tally::new());
    let before = foreign_panics();
    let bombs: Vec<_> = (0..3)
        .map(|_| {
            let bomb = Bomb(dropped.clone());
            ctx.on_done(move |_| drop(bomb))
        })
        .collect();
    let kept = counting(&ctx, &ran);
    let [stopped, gone, run] = <[Hook; 3]>::try_from(bombs).unwrap();
    assert!(stopped.stop() && dropped.get() == 1);
    drop(gone);
    assert_eq!(dropped.get(), 2);
    guard.cancel("x");
    assert_eq!((dropped.get(), ran.get()), (3, 1));
    assert!(run.has_run() && kept.has_run());
    assert!(foreign_panics() >= before + 3);
}

/// What one of many threads does with each of its hooks.
fn churn(ctx: &Ctx, thread: usize, dropped: &Tally) -> Vec<(Option<bool>, Tally)> {
    (0..30)
        .map(|at| {
            let (ran, held) = (Tally::new(), dropped.on_drop());
            let hook = ctx.on_done({
                let ran = ran.clone();
                move |_| {
                    let _held = &held;
                    ran.add();
                }
            });
            let prevented = match (thread + at) % 5 {
                0 => Some(hook.stop()),
                1 => Some(hook.stop_and_wait()),
                2 => {
                    drop(hook);
                    None
                }
                3 => Some(block_on_stopped(&hook)),
                _ => {
                    hook.detach();
                    Some(false)
                }
            };
            (prevented, ran)
        })
        .collect()
}

fn block_on_stopped(hook: &Hook) -> bool {
    let mut stopped = ManualTask::new(hook.stopped());
    loop {
        match stopped.poll() {
            Poll::Ready(prevented) => return prevented,
            Poll::Pending => thread::yield_now(),
        }
    }
}

//= C54, C63
#[test]
fn ten_threads_register_and_stop_hooks_while_another_cancels() {
    for _ in 0..20 {
        // The inline sweeper: when all threads have returned, all hooks have run.
        let (ctx, guard) = TestClock::new().ctx();
        let (ctx, own) = ctx.child();
        let dropped = Tally::new();
        let (handle, all) = (guard.handle(), dropped.clone());
        let results = finishes(move || {
            together(11, |at| {
                if at == 10 {
                    handle.cancel("x");
                    return Vec::new();
                }
                churn(&ctx, at, &all)
            })
        });
        drop((guard, own));
        for (prevented, ran) in results.into_iter().flatten() {
            match prevented {
                Some(prevented) => assert_eq!(ran.get(), usize::from(!prevented)),
                None => assert!(ran.get() <= 1),
            }
        }
        assert_eq!(dropped.get(), 300, "each closure is dropped once");
    }
}

//= C64
#[test]
fn a_hook_waits_for_an_ancestor_when_every_context_is_gone() {
    for detached in [false, true] {
        let name = format!("hook of an ancestor, detached {detached}");
        let (root, guard) = Ctx::root().name(name.clone()).tracked().build();
        let (ctx, own) = root.child();
        own.disarm();
        let (ran, dropped) = (Tally::new(), Tally::new());
        let (count, held) = (ran.clone(), dropped.on_drop());
        let hook = ctx.on_done(move |_| {
            let _held = held;
            count.add();
        });
        drop(ctx);
        let hook = if detached {
            hook.detach();
            None
        } else {
            Some(hook)
        };
        assert_eq!(common::rows_named(&name).len(), 2, "the node is there");
        guard.cancel("x");
        assert_eq!((ran.get(), dropped.get()), (1, 1));
        drop(hook);
        assert_eq!(common::rows_named(&name).len(), 1, "and gone");
    }
    // A detached one on a context that is done, or never will be, keeps nothing.
    let dropped = Tally::new();
    let (done, guard) = Ctx::background().child();
    guard.cancel("x");
    for ctx in [&done, &Ctx::background()] {
        let held = dropped.on_drop();
        ctx.on_done(move |_| drop(held)).detach();
    }
    assert_eq!(dropped.get(), 2);
}
