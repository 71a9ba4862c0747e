//! Every future of the core is cut at each of its polls, by dropping it and by
//! cancelling its context; no cut leaves a waiter, a waker or a timer.

mod common;

use common::rows_named as rows;
use ripcord_core::{Ctx, FutureExt, Kind};
use ripcord_test::{CancelPoints, ManualTask, TestClock, WakeCounter, for_each_cancel_of};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// No waiter and no hook is registered in the tree.
fn assert_nothing_registered(tree: &str, at: usize) {
    for row in rows(tree) {
        assert_eq!(
            (row.waiters, row.hooks),
            (0, 0),
            "after a cut at {at}: {row}"
        );
    }
}

/// Is pending once, and wakes its task at once.
fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

//= C134
//= C37
#[test]
fn a_dropped_done_leaves_nothing() {
    let tree = "every-poll: done";
    let clock = TestClock::new();
    let (root, _guard) = clock.root().name(tree).tracked().build();
    let polls = CancelPoints::new().clock(&clock).drop_at_each(
        || {
            let (a, b) = (root.with_timeout(SECOND), root.with_timeout(2 * SECOND));
            async move { (a.done().await.kind(), b.done().await.kind()) }
        },
        |outcome| {
            assert_nothing_registered(tree, outcome.at);
            assert_eq!(clock.armed(), 0, "cut at {}", outcome.at);
            assert_eq!(rows(tree).len(), 1, "cut at {}", outcome.at);
        },
    );
    assert_eq!(polls, 3);
}

//= C134
#[test]
fn a_dropped_draining_leaves_nothing() {
    let tree = "every-poll: draining";
    let clock = TestClock::new();
    let (root, _guard) = clock.root().name(tree).tracked().build();
    let guards = RefCell::new(Vec::new());
    let counter = RefCell::new(0);
    let polls = CancelPoints::new()
        .on_idle(|| {
            let guard = guards.borrow_mut().pop();
            guard.is_some_and(|guard: ripcord_core::CancelGuard| {
                let drained = guard.drain();
                *counter.borrow_mut() += 1;
                drained
            })
        })
        .drop_at_each(
            || {
                let (a, guard_a) = root.child();
                let (b, guard_b) = a.child();
                *guards.borrow_mut() = vec![guard_a, guard_b];
                async move {
                    b.draining().await;
                    a.draining().await;
                }
            },
            |outcome| assert_nothing_registered(tree, outcome.at),
        );
    assert_eq!(polls, 3);
    assert!(*counter.borrow() > 0);
}

//= C134
#[test]
fn a_draining_that_is_woken_by_a_cancel_is_woken_once() {
    let (ctx, guard) = TestClock::new().ctx();
    let mut task = ManualTask::new(ctx.draining());
    assert!(task.poll().is_pending());
    guard.cancel(Kind::Cancelled);
    assert_eq!(task.wakes(), 1);
    assert!(task.poll().is_ready());
    assert_eq!(task.counter().live(), 0);
}

//= C134
//= C50
#[test]
fn a_dropped_run_leaves_nothing() {
    let tree = "every-poll: run";
    let clock = TestClock::new();
    let (root, _guard) = clock.root().name(tree).tracked().build();
    let polls = CancelPoints::new().clock(&clock).drop_at_each(
        || {
            let outer = root.with_timeout(2 * SECOND);
            async move {
                let inner = outer.with_timeout(SECOND);
                let work = async {
                    yield_now().await;
                    inner.run(yield_now()).await?;
                    inner.run(std::future::pending::<()>()).await
                };
                let first = work.within(&outer).await;
                let second = outer.run(std::future::pending::<()>()).await;
                (first, second)
            }
        },
        |outcome| {
            assert_nothing_registered(tree, outcome.at);
            assert_eq!(clock.armed(), 0, "cut at {}", outcome.at);
            if let Some((first, second)) = outcome.output {
                assert!(first.is_ok_and(|inner| inner.is_err_and(|error| error.is_deadline())));
                assert!(second.is_err_and(|error| error.is_deadline()));
            }
        },
    );
    assert_eq!(polls, 5);
}

//= C49
#[test]
fn a_run_that_is_cancelled_anywhere_ends_and_leaves_nothing() {
    let seen = RefCell::new(None);
    for_each_cancel_of(
        |ctx| {
            *seen.borrow_mut() = Some(ctx.clone());
            async move {
                let work = async {
                    yield_now().await;
                    let nap = ctx.with_timeout(SECOND);
                    nap.done().await;
                    yield_now().await;
                };
                ctx.run(work).await
            }
        },
        |outcome| {
            let output = outcome.output.expect("a run always ends");
            // A value that is ready in the poll that would have seen the cancel is kept.
            let is_ready_then = outcome.polls == outcome.at + 1 && outcome.at == 3;
            let is_value = outcome.is_whole || is_ready_then;
            assert_eq!(output.is_ok(), is_value, "cut at {}", outcome.at);
            let ctx = seen.take().expect("set by the run");
            let counter = WakeCounter::new();
            drop(ManualTask::with_counter(ctx.done(), counter.clone()));
            assert_eq!(counter.live(), 0);
        },
    );
}

//= C108
//= C134
#[test]
fn a_dropped_entered_puts_the_context_back() {
    let tree = "every-poll: entered";
    let (root, _guard) = TestClock::new().root().name(tree).tracked().build();
    let polls = CancelPoints::new().drop_at_each(
        || {
            let inner = root.named("every-poll: entered, inside");
            root.enter(async move {
                assert_eq!(Ctx::current().name(), Some(tree));
                yield_now().await;
                let name = async {
                    yield_now().await;
                    Ctx::current().name().map(str::to_owned)
                };
                let name = inner.enter(name).await;
                assert_eq!(Ctx::current().name(), Some(tree));
                name
            })
        },
        |outcome| {
            assert_eq!(Ctx::current(), Ctx::background(), "cut at {}", outcome.at);
            assert_nothing_registered(tree, outcome.at);
            if let Some(name) = outcome.output {
                assert_eq!(name.as_deref(), Some("every-poll: entered, inside"));
            }
        },
    );
    assert_eq!(polls, 3);
}

//= C57
//= C134
#[test]
fn a_dropped_stopped_leaves_nothing() {
    let (root, _guard) = TestClock::new().ctx();
    let running = RefCell::new(None);
    let finish = || {
        let Some((go, thread)) = running.take() else {
            return false;
        };
        drop::<mpsc::Sender<()>>(go);
        thread::JoinHandle::<()>::join(thread).expect("the canceller does not panic");
        true
    };
    let polls = CancelPoints::new().on_idle(finish).drop_at_each(
        || {
            let (ctx, guard) = root.child();
            let (go, held) = mpsc::channel::<()>();
            let (tell, began) = mpsc::channel();
            let hook = ctx.on_done(move |_| {
                tell.send(()).expect("the test listens");
                // Until the sender is dropped.
                let _ = held.recv();
            });
            let thread = thread::spawn(move || assert!(guard.cancel(Kind::Cancelled)));
            began.recv().expect("the hook has begun");
            *running.borrow_mut() = Some((go, thread));
            hook.stopped()
        },
        |outcome| {
            finish();
            assert!(outcome.output.is_none_or(|stopped| !stopped));
        },
    );
    assert_eq!(polls, 2);
}

//= C134
#[test]
fn a_dropped_stopped_gives_its_waker_back_at_once() {
    let (ctx, guard) = TestClock::new().ctx();
    let slot = std::sync::Arc::new(std::sync::OnceLock::<ripcord_core::Hook>::new());
    let (tell, told) = mpsc::channel();
    let own = std::sync::Arc::clone(&slot);
    let hook = ctx.on_done(move |_| {
        let hook = own.get().expect("set before the cancel");
        let mut task = ManualTask::new(hook.stopped());
        // The hook is running: this very thread is in it.
        let polls = [task.poll(), task.poll()];
        let counter = task.counter().clone();
        let held = counter.live();
        drop(task);
        tell.send((polls, held, counter.live()))
            .expect("the test listens");
    });
    assert!(slot.set(hook).is_ok());
    guard.cancel(Kind::Cancelled);
    let (polls, held, left) = told.recv().expect("the hook ran");
    assert_eq!(polls, [Poll::Pending, Poll::Pending]);
    assert_eq!(held, 1, "a second poll replaces the waker of the first");
    assert_eq!(left, 0, "nothing is left of a future that was dropped");
}
