//! `with_test_context`, its async twin, and the executor below it.

mod support;

use ripcord_core::{Ctx, FutureExt, Kind, Timer};
use ripcord_test::{
    Census, TestClock, TestExecutor, WakeCounter, spawn, with_test_context, with_test_context_async,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use support::message_of;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_clean_test_returns_its_result() {
    let left = with_test_context(|ctx, clock| {
        let query = ctx.with_timeout(HOUR);
        let _hook = query.on_done(|_| {});
        clock.advance(HOUR / 2);
        query.remaining()
    });
    assert_eq!(left, Some(HOUR / 2));
}

#[test]
fn a_context_that_is_kept_is_named() {
    let mut kept = None;
    let text = message_of(|| {
        with_test_context(|ctx, _| kept = Some(ctx.named("cache entry").child()));
    });
    assert!(text.starts_with("contexts outlived the test:"), "{text}");
    assert!(
        text.contains("cache entry") && text.contains("context.rs"),
        "{text}"
    );
}

#[test]
fn a_kept_handle_of_the_root_is_found() {
    let text = message_of(|| with_test_context(|ctx, _| ctx.clone()));
    assert!(
        text.contains("a handle of the root outlived the test"),
        "{text}"
    );
}

#[test]
fn a_timer_that_is_left_armed_is_found() {
    let mut kept = None;
    let text = message_of(|| {
        with_test_context(|_, clock| {
            kept = clock.arm(clock.now() + HOUR, WakeCounter::new().waker());
        });
    });
    assert!(text.contains("1 still armed"), "{text}");
}

#[test]
fn other_trees_do_not_count() {
    let (_other, _guard) = Ctx::root().name("test").tracked().build();
    with_test_context(|_, _| with_test_context(|_, _| {}));
}

#[test]
fn the_panic_of_the_test_comes_before_what_it_left() {
    let mut kept = None;
    let text = message_of(|| {
        with_test_context(|ctx, _| {
            kept = Some(ctx.child());
            panic!("the first failure");
        });
    });
    assert_eq!(text, "the first failure");
}

#[test]
fn time_jumps_when_all_tasks_wait() {
    let order = Rc::new(RefCell::new(Vec::new()));
    with_test_context_async(async |ctx, clock| {
        let tasks: Vec<_> = [3, 1, 2]
            .map(|hours| {
                let (nap, order) = (ctx.with_timeout(HOUR * hours), Rc::clone(&order));
                spawn(format!("sleeper {hours}"), async move {
                    nap.done().await;
                    order.borrow_mut().push(hours);
                })
            })
            .into();
        for task in tasks {
            task.await;
        }
        assert_eq!(clock.elapsed(), 3 * HOUR);
    });
    assert_eq!(*order.borrow(), [1, 2, 3]);
}

#[test]
fn a_cancel_ends_a_task_and_what_it_held() {
    let census = Census::new();
    with_test_context_async(async |ctx, _| {
        let (request, guard) = ctx.child();
        let probe = census.enter("handler");
        let task = spawn("handler", async move {
            let work = async {
                let _probe = probe;
                std::future::pending::<()>().await;
            };
            work.within(&request).await
        });
        guard.cancel(Kind::PeerGone);
        let error = task.await.expect_err("the work never ends by itself");
        assert_eq!(error.kind(), Kind::PeerGone);
        census.assert_empty();
    });
}

#[test]
fn a_test_that_hangs_says_which_tasks_do() {
    let text = message_of(|| {
        with_test_context_async(async |ctx, _| {
            let never = ctx.named("never");
            let task = spawn("deaf", async move { never.done().await });
            task.await
        })
    });
    assert!(text.starts_with("the test hangs"), "{text}");
    assert!(
        text.contains("`deaf` (spawned at ") && text.contains("context.rs"),
        "{text}"
    );
}

#[test]
fn a_task_that_is_left_is_named_and_dropped() {
    let census = Census::new();
    let text = message_of(|| {
        with_test_context_async(async |_, _| {
            let probe = census.enter("left");
            let _task = spawn("left", async move {
                let _probe = probe;
                std::future::pending::<()>().await;
            });
        });
    });
    assert!(
        text.starts_with("tasks outlived the test:\n  `left`"),
        "{text}"
    );
    census.assert_empty();
}

#[test]
fn tasks_that_are_woken_run_in_the_order_of_their_wakes() {
    let order = Rc::new(RefCell::new(Vec::new()));
    with_test_context_async(async |ctx, _| {
        let (gates, guards): (Vec<_>, Vec<_>) = (0..4).map(|_| ctx.child()).unzip();
        let tasks: Vec<_> = (0_u32..)
            .zip(gates)
            .map(|(number, gate)| {
                let order = Rc::clone(&order);
                spawn(format!("task {number}"), async move {
                    order.borrow_mut().push(number);
                    gate.done().await;
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        // Lets the tasks come as far as their gates.
        spawn("last", async {}).await;
        for number in [2, 0, 3, 1] {
            guards[number].cancel(Kind::Cancelled);
        }
        for task in tasks {
            task.await;
        }
    });
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 2, 0, 3, 1]);
}

#[test]
fn the_same_test_takes_the_same_course() {
    let run = || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let clock = TestClock::new();
        let (ctx, _guard) = clock.ctx();
        let executor = TestExecutor::new(&clock);
        let tasks: Vec<_> = (0..5_u32)
            .map(|task| {
                let (log, ctx) = (Rc::clone(&log), ctx.clone());
                executor.spawn(format!("{task}"), async move {
                    for step in 0..4_u32 {
                        let nap = Duration::from_millis(u64::from((task * 7 + step * 3) % 5));
                        ctx.with_timeout(nap).done().await;
                        log.borrow_mut().push((task, step));
                    }
                })
            })
            .collect();
        executor.run(async {
            for task in tasks {
                task.await;
            }
        });
        assert!(executor.pending().is_empty());
        log.take()
    };
    assert_eq!(run(), run());
}

#[test]
fn spawn_outside_of_an_executor_says_so() {
    let text = message_of(|| drop(spawn("lost", async {})));
    assert!(text.contains("outside of a test executor"), "{text}");
}

#[test]
fn a_task_may_abort_another_and_spawn_more() {
    let census = Census::new();
    with_test_context_async(async |_, _| {
        let probe = census.enter("victim");
        let victim = spawn("victim", async move {
            let _probe = probe;
            std::future::pending::<()>().await;
        });
        let killer = spawn("killer", async move {
            victim.abort();
            spawn("grandchild", async { 5 }).await
        });
        assert_eq!(killer.await, 5);
        census.assert_empty();
    });
}
