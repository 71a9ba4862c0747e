//! Chapter *Basics* of the specification: making, cancelling and dropping contexts.

mod common;

use common::{Gate, Rng, finishes, row, rows_named, together};
use ripcord_core::{CancelGuard, Canceller, Ctx, Done, Kind, Reach, Value};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::panic::{AssertUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Secret(#[allow(dead_code, reason = "it is there not to be printed")] &'static str);
impl Value for Secret {
    const REACH: Reach = Reach::Local;
}

/// Every way to derive a context, but `shield` and `detach`.
fn derived(ctx: &Ctx) -> Vec<(&'static str, Ctx)> {
    let (child, guard) = ctx.child();
    guard.disarm();
    let (other, guard) = Ctx::background().child();
    guard.disarm();
    let at = ctx.clock_now() + SECOND;
    vec![
        ("child", child),
        ("with_timeout", ctx.with_timeout(SECOND)),
        ("with_timeout(0)", ctx.with_timeout(Duration::ZERO)),
        ("with_deadline", ctx.with_deadline(at)),
        ("with", ctx.with(Secret("x"))),
        ("named", ctx.named("other")),
        ("for_task", ctx.with(Secret("x")).for_task()),
        ("merge", Ctx::merge([&other, ctx])),
        ("merge of one", Ctx::merge([ctx])),
        ("wait", ctx.clone()),
    ]
}

//= C1
#[test]
fn the_background_is_never_done() {
    const BACKGROUND: Ctx = Ctx::background();
    let ctx = BACKGROUND;
    assert!(!ctx.is_done());
    assert!(ctx.check().is_ok());
    assert!(ctx.cause().is_none());
    assert!(ctx.deadline().is_none() && ctx.remaining().is_none());
    assert!(!ctx.can_be_cancelled());
    assert!(ctx.get::<Secret>().is_none() && ctx.name().is_none());
    assert!(ManualTask::new(ctx.done()).poll().is_pending());
    assert_eq!(ctx, Ctx::default());
}

//= C1
#[test]
fn todo_is_marked_and_never_done() {
    let todo = Ctx::todo();
    assert!(todo.is_todo() && todo.named("view").is_todo());
    assert!(!Ctx::background().is_todo() && !todo.child().0.is_todo());
    assert!(!todo.is_done() && !todo.can_be_cancelled());
    assert!(ManualTask::new(todo.done()).poll().is_pending());
    assert_eq!(todo.site().map(std::panic::Location::file), Some(file!()));
}

//= C2
#[test]
fn a_fresh_child_is_not_done() {
    let clock = TestClock::new();
    let (timed, _guard) = clock.ctx();
    for parent in [
        Ctx::background(),
        Ctx::todo(),
        timed.with_timeout(SECOND),
        timed,
    ] {
        let (child, _guard) = parent.child();
        assert!(!child.is_done());
        assert_eq!(child.cause(), None);
        assert!(child.check().is_ok());
        assert!(child.can_be_cancelled());
        assert!(ManualTask::new(child.done()).poll().is_pending());
    }
}

//= C3
#[test]
fn when_cancel_returns_every_descendant_is_done_on_every_thread() {
    for registered in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let (middle, _middle_guard) = ctx.child();
        let mut all = derived(&ctx);
        all.extend(derived(&middle));
        let mut waiters: Vec<_> = all
            .iter()
            .map(|(_, ctx)| ManualTask::new(ctx.done()))
            .collect();
        if registered {
            assert!(waiters.iter_mut().any(|waiter| waiter.poll().is_pending()));
        }
        let (tell, told) = mpsc::channel();
        let reader = thread::spawn(move || {
            let all: Vec<(&str, Ctx)> = told.recv().unwrap();
            let live = all.iter().filter(|(_, ctx)| !ctx.is_done());
            live.map(|(how, _)| *how).collect::<Vec<_>>()
        });
        assert!(guard.cancel(Kind::PeerGone));
        for (how, ctx) in &all {
            assert!(ctx.is_done(), "{how}, registered: {registered}");
        }
        tell.send(all).unwrap();
        assert_eq!(reader.join().unwrap(), Vec::<&str>::new());
    }
}

//= C4
#[test]
fn a_cancel_reaches_descendants_only() {
    let clock = TestClock::new();
    let (grandparent, _g0) = clock.ctx();
    let (parent, _g1) = grandparent.child();
    let (uncle, _g2) = grandparent.child();
    let (cousin, _g3) = uncle.child();
    let (node, guard) = parent.child();
    let (sibling, _g4) = parent.child();
    let (nephew, _g5) = sibling.child();
    let (below, _g6) = node.child();
    let apart = [&grandparent, &parent, &uncle, &cousin, &sibling, &nephew];
    let mut waiters: Vec<_> = apart
        .iter()
        .map(|ctx| ManualTask::new(ctx.done()))
        .collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    assert!(guard.cancel("only this"));
    assert!(node.is_done() && below.is_done());
    for (ctx, waiter) in apart.iter().zip(&mut waiters) {
        assert!(!ctx.is_done() && ctx.cause().is_none());
        assert_eq!(waiter.wakes(), 0);
        assert!(waiter.poll().is_pending());
    }
}

//= C5
#[test]
fn a_cancel_that_comes_second_returns_false_and_changes_nothing() {
    type End = fn(&CancelGuard, &CancelGuard, &TestClock);
    let ends: [(&str, End); 5] = [
        ("cancel", |own, _, _| assert!(own.cancel("first"))),
        ("sweep", |own, _, _| {
            assert!(own.cancel_and_sweep("first"));
        }),
        ("ancestor", |_, above, _| assert!(above.cancel("first"))),
        ("force", |own, _, _| assert!(own.force("first"))),
        ("deadline", |_, _, clock| clock.advance(SECOND)),
    ];
    for (how, end) in ends {
        for registered in [false, true] {
            let clock = TestClock::new();
            let (root, above) = clock.ctx();
            let (ctx, guard) = root.with_timeout(SECOND).child();
            let mut waiter = ManualTask::new(ctx.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            end(&guard, &above, &clock);
            let handle = guard.handle();
            assert!(!guard.cancel("second"), "{how}");
            assert!(!guard.cancel_and_sweep("second"), "{how}");
            assert!(!handle.cancel("second"), "{how}");
            let kind = ctx.cause().unwrap().kind();
            let expect = if how == "deadline" {
                Kind::DeadlineExceeded
            } else {
                Kind::Cancelled
            };
            assert_eq!(kind, expect, "{how}");
            assert_ne!(ctx.cause().unwrap().message(), Some("second"), "{how}");
        }
    }
}

//= C5
#[test]
fn exactly_one_of_racing_cancels_wins() {
    for _ in 0..100 {
        let (ctx, guard) = Ctx::background().child();
        let won = together(4, |at| match at {
            0 => guard.cancel("0"),
            1 => guard.handle().cancel("1"),
            2 => guard.cancel_and_sweep("2"),
            _ => guard.cancel("3"),
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).unwrap().to_string();
        assert_eq!(ctx.cause().unwrap().message(), Some(&*winner));
    }
}

//= C5
#[test]
fn the_loser_does_not_wait_for_the_winners_sweep() {
    finishes(|| {
        let (ctx, guard) = Ctx::background().child();
        let (sweeping, go_on) = (Gate::new(), Gate::new());
        let counter = WakeCounter::reacting({
            let (sweeping, go_on) = (sweeping.clone(), go_on.clone());
            move |event| {
                if event == WakerEvent::Wake {
                    sweeping.open();
                    go_on.pass();
                }
            }
        });
        let mut waiter = ManualTask::with_counter(ctx.done(), counter);
        assert!(waiter.poll().is_pending());
        let winner = thread::spawn({
            let handle = guard.handle();
            move || handle.cancel("winner")
        });
        sweeping.pass();
        assert!(!guard.cancel_and_sweep("loser"));
        assert!(!guard.cancel("loser"));
        assert!(!winner.is_finished());
        go_on.open();
        assert!(winner.join().unwrap());
    });
}

//= C6
#[test]
fn what_is_derived_from_a_done_context_is_done_with_its_cause() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let (child, _child_guard) = root.child();
    let timed = root.with_timeout(SECOND);
    guard.cancel(Kind::PeerGone);
    // Also at the very instant of the end.
    for (how, ctx) in derived(&root).into_iter().chain(derived(&child)) {
        assert_eq!(ctx.cause(), root.cause(), "{how}");
    }
    let (expired, _expired_guard) = clock.ctx();
    let expired = expired.with_timeout(SECOND);
    clock.advance(SECOND);
    for parent in [&root, &child, &timed, &expired] {
        let cause = parent.cause().unwrap();
        for (how, ctx) in derived(parent) {
            assert!(ctx.is_done(), "{how}");
            assert_eq!(ctx.cause(), Some(cause.clone()), "{how}");
        }
    }
}

//= C7
#[test]
fn a_child_derived_during_the_cancel_is_done_with_its_cause() {
    for registered in [false, true] {
        for _ in 0..100 {
            let (ctx, guard) = Ctx::background().child();
            let made = together(3, |at| {
                if at == 0 {
                    assert!(guard.cancel(Kind::PeerGone));
                    return Vec::new();
                }
                let children: Vec<_> = (0..8).map(|_| ctx.child()).collect();
                if registered {
                    for (child, _) in &children {
                        let _ = ManualTask::new(child.done()).poll();
                    }
                }
                children
            });
            for (child, _guard) in made.into_iter().flatten() {
                assert!(child.is_done());
                assert_eq!(child.cause(), ctx.cause());
            }
        }
    }
}

//= C8
#[test]
fn all_nodes_cancelled_from_many_threads_are_done() {
    let mut rng = Rng::new();
    for round in 0..50 {
        let (root, root_guard) = Ctx::background().child();
        let mut nodes = vec![(root, root_guard)];
        for _ in 0..40 {
            let parent = nodes[rng.below(nodes.len())].0.clone();
            nodes.push(parent.child());
        }
        let mut waiters: Vec<_> = nodes
            .iter()
            .filter(|_| round % 2 == 0)
            .map(|(ctx, _)| ManualTask::new(ctx.done()))
            .collect();
        for waiter in &mut waiters {
            assert!(waiter.poll().is_pending());
        }
        let handles: Vec<Canceller> = nodes.iter().map(|(_, guard)| guard.handle()).collect();
        let orders: Vec<Vec<usize>> = (0..4)
            .map(|_| {
                let mut order: Vec<usize> = (0..handles.len()).collect();
                rng.shuffle(&mut order);
                order
            })
            .collect();
        let wins = finishes(move || {
            together(orders.len(), |thread| {
                let order = orders[thread].iter();
                order.filter(|at| handles[**at].cancel("x")).count()
            })
        });
        assert!(wins.iter().sum::<usize>() >= 1);
        assert!(nodes.iter().all(|(ctx, _)| ctx.is_done()));
        assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
    }
}

//= C8
#[test]
fn a_childs_cancel_set_off_by_its_parents_end_does_not_deadlock() {
    let (child, mut waiter) = finishes(|| {
        let (parent, guard) = Ctx::background().child();
        let (child, child_guard) = parent.child();
        let mut waiter = ManualTask::new(child.done());
        assert!(waiter.poll().is_pending());
        let on_wake = child_guard.handle();
        let counter = WakeCounter::reacting(move |event| {
            if event == WakerEvent::Wake {
                assert!(!on_wake.cancel("too late"));
            }
        });
        let mut other = ManualTask::with_counter(parent.done(), counter);
        assert!(other.poll().is_pending());
        let hook = parent.on_done(move |cause| {
            assert!(!child_guard.cancel(cause.clone()));
        });
        assert!(guard.cancel("parent"));
        assert!(hook.has_run());
        (child, waiter)
    });
    assert_eq!(waiter.wakes(), 1);
    assert!(waiter.poll().is_ready());
    assert_eq!(child.cause().unwrap().message(), Some("parent"));
}

//= C10
#[test]
fn dropping_a_context_in_the_middle_disconnects_nothing() {
    let clock = TestClock::new();
    for by_deadline in [false, true] {
        let (root, guard) = clock.ctx();
        let timed = root.with_timeout(SECOND);
        let (middle, middle_guard) = timed.child();
        let (leaf, leaf_guard) = middle.child();
        let mut waiter = ManualTask::new(leaf.done());
        assert!(waiter.poll().is_pending());
        middle_guard.disarm();
        leaf_guard.disarm();
        drop((root, timed, middle));
        let (late, _late_guard) = leaf.child();
        assert!(!leaf.is_done() && !late.is_done());
        if by_deadline {
            clock.advance(SECOND);
        } else {
            guard.cancel("above");
        }
        assert!(leaf.is_done() && late.is_done());
        assert_eq!(waiter.wakes(), 1);
        drop(guard);
    }
}

//= C11
#[test]
fn a_child_that_is_gone_leaves_nothing_at_its_parent() {
    let mut rng = Rng::new();
    for cancelled in [false, true] {
        let name = format!("gone, cancelled {cancelled}");
        let (parent, _guard) = Ctx::root().name(name.clone()).tracked().build();
        let mut children: Vec<_> = (0..20)
            .map(|_| {
                let (child, guard) = parent.child();
                let mut waiter = ManualTask::new(child.done());
                assert!(waiter.poll().is_pending());
                (Some(child), Some(guard), Some(waiter))
            })
            .collect();
        assert_eq!(rows_named(&name)[0].children, 20);
        let mut order: Vec<usize> = (0..60).collect();
        rng.shuffle(&mut order);
        for place in order {
            let child = &mut children[place / 3];
            match place % 3 {
                0 => drop(child.0.take()),
                1 if cancelled => drop(child.1.take()),
                1 => child.1.take().unwrap().disarm(),
                _ => drop(child.2.take()),
            }
        }
        assert_eq!(row(&name).children, 0);
        assert!(!parent.is_done());
        let (fresh, guard) = parent.child();
        assert!(guard.cancel("still usable") && fresh.is_done());
    }
}

//= C11
#[test]
fn a_child_where_nothing_is_registered_is_on_no_list() {
    let (parent, _guard) = Ctx::root().name("on no list").tracked().build();
    let (child, guard) = parent.child();
    let (below, _below_guard) = child.with_timeout(SECOND).named("below").child();
    assert!(!below.is_done());
    let rows = rows_named("on no list");
    assert_eq!(rows.len(), 3, "root, child and its deadline: {rows:?}");
    assert!(rows.iter().all(|row| row.children == 0), "{rows:?}");
    guard.cancel("x");
    assert!(below.is_done());
    assert!(rows_named("on no list").iter().all(|row| row.children == 0));
}

//= C12
#[test]
fn a_dropped_guard_cancels() {
    let (ctx, guard) = Ctx::background().child();
    drop(guard);
    assert_eq!(ctx.cause().unwrap().kind(), Kind::Dropped);

    let (ctx, guard) = Ctx::background().child();
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    drop(guard);
    assert_eq!(waiter.wakes(), 1);
    assert_eq!(ctx.cause().unwrap().kind(), Kind::Dropped);
}

//= C12
#[test]
fn a_guard_dropped_by_a_panic_tells_so() {
    for registered in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let mut waiter = ManualTask::new(ctx.done());
        if registered {
            assert!(waiter.poll().is_pending());
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _guard = guard;
            panic!("the work failed");
        }));
        assert!(result.is_err());
        assert_eq!(ctx.cause().unwrap().kind(), Kind::Panicked);
        assert_eq!(waiter.wakes(), usize::from(registered));
    }
}

//= C12
#[test]
fn a_disarmed_context_ends_by_others_only() {
    type End = fn(&CancelGuard, &Canceller, &TestClock);
    let ends: [(End, Kind); 3] = [
        (
            |above, _, _| assert!(above.cancel(Kind::Shutdown)),
            Kind::Shutdown,
        ),
        (
            |_, handle, _| assert!(handle.cancel(Kind::PeerGone)),
            Kind::PeerGone,
        ),
        (|_, _, clock| clock.advance(SECOND), Kind::DeadlineExceeded),
    ];
    for (end, kind) in ends {
        let clock = TestClock::new();
        let (root, above) = clock.ctx();
        let (ctx, guard) = root.with_timeout(SECOND).child();
        let handle = guard.handle();
        guard.disarm();
        assert!(!ctx.is_done());
        end(&above, &handle, &clock);
        assert_eq!(ctx.cause().map(|cause| cause.kind()), Some(kind));
    }
}

/// Registers something, which is there as long as what is returned.
type Register = fn(&Ctx) -> Box<dyn std::any::Any>;

//= C13
#[test]
fn only_a_drop_that_somebody_waits_for_has_an_instant() {
    let clock = TestClock::new();
    let (root, _root_guard) = clock.ctx();
    let (idle, guard) = root.child();
    let (below, _below_guard) = idle.named("below").child();
    drop(guard);
    assert_eq!(idle.cause().unwrap().at(), None);
    assert_eq!(below.cause().unwrap().at(), None);
    assert!(idle.cause().unwrap().site().is_some());

    let registrations: [Register; 5] = [
        |ctx| {
            let mut waiter = ManualTask::new(ctx.done());
            assert!(waiter.poll().is_pending());
            Box::new(waiter)
        },
        |ctx| {
            let mut waiter = ManualTask::new(ctx.draining());
            assert!(waiter.poll().is_pending());
            Box::new(waiter)
        },
        |ctx| Box::new(ctx.on_done(|_| {})),
        |ctx| Box::new(ctx.shield(SECOND)),
        |ctx| {
            let (below, guard) = ctx.child();
            Box::new((below.child().0.on_done(|_| {}), guard))
        },
    ];
    for register in registrations {
        let (ctx, guard) = root.child();
        let kept = register(&ctx);
        clock.advance(SECOND);
        drop(guard);
        assert_eq!(ctx.cause().unwrap().at(), Some(clock.now()));
        drop(kept);
    }
}

//= C14
#[test]
fn a_canceller_does_not_keep_its_context_alive() {
    let (ctx, guard) = Ctx::root().name("weak").tracked().build();
    let handle = guard.handle();
    assert!(handle.is_alive());
    guard.disarm();
    drop(ctx);
    assert!(rows_named("weak").is_empty());
    assert!(!handle.is_alive());
    assert!(!handle.cancel("x") && !handle.drain() && !handle.force("x"));
    handle.shutdown(ripcord_core::ShutdownPlan::new(SECOND, SECOND));

    let (ctx, guard) = Ctx::background().child();
    let (handle, second) = (guard.handle(), guard.handle().clone());
    assert!(handle.drain() && !second.drain());
    assert!(handle.cancel(Kind::PeerGone) && !second.cancel("x"));
    assert_eq!(ctx.cause().unwrap().kind(), Kind::PeerGone);
    assert!(second.force("x") && !handle.force("x"));
}

//= C15
#[test]
fn the_handles_may_go_anywhere() {
    fn check<T: Send + Sync + UnwindSafe>() -> &'static str {
        std::any::type_name::<T>()
    }
    fn unpin<T: Unpin>() {}
    unpin::<Done>();
    let names = [
        check::<Ctx>(),
        check::<Done>(),
        check::<CancelGuard>(),
        check::<Canceller>(),
    ];
    assert_eq!(names.len(), 4);
}

//= C15
#[test]
fn contexts_are_equal_if_they_are_the_same() {
    let (ctx, _guard) = Ctx::background().child();
    let (child, child_guard) = ctx.child();
    assert_eq!(ctx, ctx.clone());
    assert_eq!(child_guard.ctx(), child);
    assert_ne!(ctx, child);
    assert_ne!(ctx, ctx.child().0);
    assert_ne!(ctx.child().0, ctx.child().0);
    assert_ne!(ctx, Ctx::background());
    assert_eq!(Ctx::background(), Ctx::background());
    assert_ne!(Ctx::todo(), Ctx::background());
}

//= C16
#[test]
fn debug_shows_the_state_and_no_value() {
    let clock = TestClock::new();
    let (root, guard) = clock.root().name("GET /orders").build();
    let ctx = root.with(Secret("hunter2")).with_timeout(SECOND);
    let live = format!("{ctx:?}");
    for part in ["GET /orders", "Live", "1s"] {
        assert!(live.contains(part), "{part} in {live}");
    }
    assert!(!live.contains("cause"), "{live}");
    guard.cancel("the reason");
    let done = format!("{ctx:?} {ctx:#?} {guard:?}");
    for part in ["GET /orders", "Cancelled", "the reason"] {
        assert!(done.contains(part), "{part} in {done}");
    }
    assert!(!(live + &done).contains("hunter2"));
}

#[test]
fn what_is_handed_about_between_threads_may_be() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<(Ctx, CancelGuard, Canceller, Done)>();
    is_shared::<(ripcord_core::Cause, ripcord_core::Cancelled)>();
    is_shared::<(ripcord_core::Hook, ripcord_core::Draining)>();
    is_shared::<(ripcord_core::Sweep, ripcord_core::Armed)>();
    is_shared::<(ripcord_core::Shared, ripcord_core::Member)>();
}
