//! The end of a scope: grace, force and abort, what is left behind, and a scope that is
//! dropped half-way or loses its runtime.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod runtimes;

use ripcord_core::{Cancelled, Cause, Ctx, Grace, Kind, Phase};
use ripcord_test::{Census, ManualTask, TestClock};
use ripcord_tokio::{CtxExt, Scope, live_tasks, scope};
use runtimes::{UNIT, current_thread, multi_thread, on_both};
use std::future::{IntoFuture, pending};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

type Ends = Result<(), Cancelled>;

//= C95
#[tokio::test(start_paused = true)]
async fn tasks_that_end_within_the_grace_are_not_aborted() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(2 * UNIT);
    let ended = scope(&request, async |s: Scope<Cancelled>| {
        let task = s.spawn("flushes", |ctx| async move {
            ctx.done().await;
            sleep(3 * UNIT).await;
            Ok(9)
        })?;
        Ok(task.await.unwrap())
    });
    // All that was asked for was done: the scope has its value.
    assert_eq!(ended.grace(4 * UNIT).await.unwrap(), 9);
    assert_eq!(start.elapsed(), 5 * UNIT);
}

//= C95
#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_end_are_forced_aborted_and_named() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.named("request").with_timeout(2 * UNIT);
    let phases = Arc::new(Mutex::new(Vec::new()));
    let census = Census::new();
    let site = Location::caller();
    let error = scope(&request, async |s: Scope<Cancelled>| {
        let probe = census.enter("deaf");
        let _deaf = s.spawn("deaf", |_| async move {
            let _probe = probe;
            pending::<Ends>().await
        })?;
        let _good = s.spawn("good", |ctx| async move { ctx.run(pending::<()>()).await })?;
        let (probe, told) = (census.enter("shielded"), Arc::clone(&phases));
        let _shielded = s.spawn("shielded", |ctx| async move {
            let _probe = probe;
            let phase = ctx.clone();
            let shield = ctx.shield(Grace::UNBOUNDED);
            let cause = shield.done().await;
            told.lock().unwrap().push(phase.phase());
            Err::<(), _>(Cancelled::new(cause))
        })?;
        Ok(())
    });
    let error = error.grace(3 * UNIT).await.unwrap_err();
    assert_eq!(start.elapsed(), 5 * UNIT);
    census.assert_empty();
    // The force let the shielded one go, but it had not ended by then.
    assert_eq!(*phases.lock().unwrap(), [Phase::Forced]);
    let names: Vec<_> = error
        .stragglers()
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["deaf", "shielded"]);
    let deaf = &error.stragglers()[0];
    assert_eq!(deaf.overdue, Some(3 * UNIT));
    assert_eq!(deaf.age, 5 * UNIT);
    assert_eq!(
        (deaf.site.file(), deaf.site.line()),
        (site.file(), site.line() + 3)
    );
    assert!(!deaf.has_seen && !deaf.is_blocking);
    assert_eq!(error.cause().and_then(Cause::name), Some("request"));
    assert!(error.unfinished().is_empty());
    let text = error.to_string();
    assert!(
        text.contains("; did not stop in time: task `deaf` (spawned at "),
        "{text}"
    );
    assert!(
        text.contains("asked to stop 12.3s ago, has not looked, waits at "),
        "{text}"
    );
    assert!(
        text.contains(&format!("{}:{}:", site.file(), site.line() + 3)),
        "{text}"
    );
    assert!(live_tasks().iter().all(|task| task.id != deaf.id));
}

//= C95
#[tokio::test(start_paused = true)]
async fn the_grace_counts_on_the_clock_of_the_tree() {
    let start = Instant::now();
    let clock = TestClock::new();
    let (root, guard) = clock.root().build();
    let running = scope(&root, async |s: Scope<Cancelled>| {
        let _deaf = s.spawn("deaf", |_| pending::<Ends>())?;
        Ok(())
    });
    let mut task = ManualTask::new(running.grace(UNIT).into_future());
    assert!(task.poll().is_pending());
    yield_now().await;
    guard.cancel("enough");
    assert!(task.is_woken() && task.poll().is_pending());
    sleep(10 * UNIT).await;
    assert!(!task.is_woken(), "the runtime's clock does not count");
    clock.advance(UNIT);
    let mut polls = 0;
    let error = loop {
        polls += 1;
        assert!(polls < 10);
        match task.poll() {
            Poll::Ready(result) => break result.unwrap_err(),
            Poll::Pending => yield_now().await,
        }
    };
    assert_eq!(error.stragglers()[0].overdue, Some(UNIT));
    assert_eq!(start.elapsed(), 10 * UNIT);
}

//= C95
#[test]
fn without_a_grace_the_tasks_are_aborted_at_once() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let error = scope(&root, async |s: Scope<Cancelled>| {
            for name in ["one", "two", "three"] {
                let probe = census.enter(name);
                let _deaf = s.spawn(name, |_| async move {
                    let _probe = probe;
                    pending::<Ends>().await
                })?;
            }
            guard.cancel(Kind::Shutdown);
            Ok(())
        });
        let error = error.grace(Duration::ZERO).await.unwrap_err();
        census.assert_empty();
        let names: Vec<_> = error
            .stragglers()
            .iter()
            .map(|task| task.name.as_str())
            .collect();
        assert_eq!(
            names,
            ["one", "two", "three"],
            "in the order of their spawns"
        );
    });
}

#[test]
fn a_scope_needs_no_time_driver() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (root, guard) = ripcord_tokio::root().build();
        let error = scope(&root, async |s: Scope<Cancelled>| {
            let _deaf = s.spawn("deaf", |_| pending::<Ends>())?;
            guard.cancel(Kind::Shutdown);
            Ok(())
        });
        let error = error.grace(Duration::from_millis(5)).await.unwrap_err();
        assert_eq!(error.stragglers().len(), 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ignores_the_cancel_is_dropped_with_the_grace() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(UNIT);
    let census = Census::new();
    let probe = census.enter("body");
    let error = scope(&request, async move |_: Scope<Cancelled>| {
        let _probe = probe;
        pending::<Ends>().await
    });
    let error = error.grace(UNIT).await.unwrap_err();
    census.assert_empty();
    assert_eq!(
        start.elapsed(),
        2 * UNIT,
        "and nothing is waited for after that"
    );
    assert_eq!(error.unfinished(), ["body"]);
    assert!(error.stragglers().is_empty() && error.first().is_none());
    assert_eq!(error.cause().map(Cause::kind), Some(Kind::DeadlineExceeded));
    assert!(
        error.to_string().ends_with("; did not finish: `body`"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_may_finish_within_the_grace() {
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(UNIT);
    let ended = scope(&request, async |s: Scope<Cancelled>| {
        s.ctx().done().await;
        sleep(UNIT).await;
        Ok(3)
    });
    assert_eq!(ended.grace(2 * UNIT).await.unwrap(), 3);
}

#[test]
fn a_panic_in_the_destructor_of_the_body_is_one_of_the_body() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("in its destructor");
        }
    }
    on_both(|| async {
        let census = Census::new();
        for is_late in [false, true] {
            let probe = census.enter("task");
            let joined = tokio::spawn(async move {
                let (root, guard) = ripcord_tokio::root().build();
                let ended = scope(&root, async move |s: Scope<Cancelled>| {
                    let _task = s.spawn("task", |ctx| async move {
                        let _probe = probe;
                        ctx.run(pending::<()>()).await
                    })?;
                    let _bomb = Bomb;
                    if is_late {
                        guard.cancel("enough");
                        pending::<()>().await;
                    }
                    Ok(())
                });
                drop(ended.grace(Duration::ZERO).await);
            });
            let payload = joined.await.unwrap_err().into_panic();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"in its destructor"));
            census.assert_empty();
        }
    });
}

#[test]
fn a_body_that_panics_when_it_is_dropped_after_its_end_is_joined_like_any_other() {
    /// Is ready at once, and cannot be dropped in peace.
    struct Body(Scope<Cancelled>);
    impl Future for Body {
        type Output = Ends;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Ends> {
            Poll::Ready(Ok(()))
        }
    }
    impl Drop for Body {
        fn drop(&mut self) {
            assert!(self.0.is_empty(), "the task is still there");
        }
    }
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = census.enter("task");
        let joined = tokio::spawn(async move {
            let ended = scope(&root, |s: Scope<Cancelled>| {
                let task = s.spawn("task", |ctx| async move {
                    let _probe = probe;
                    ctx.done().await;
                    yield_now().await;
                    Ok(())
                });
                drop(task);
                Body(s)
            });
            drop(ended.await);
        });
        let payload = joined.await.unwrap_err().into_panic();
        assert_eq!(
            payload.downcast_ref::<&str>(),
            Some(&"the task is still there")
        );
        census.assert_empty();
    });
}

//= C96
#[test]
fn a_blocking_task_that_does_not_end_is_left_behind() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let (go, wait) = mpsc::channel::<()>();
        let (finished, is_finished) = oneshot::channel();
        let before = Instant::now();
        let mut task = None;
        let error = scope(&root, async |s: Scope<Cancelled>| {
            let (started, is_started) = oneshot::channel();
            task = Some(s.spawn_blocking("deaf", move |_| {
                started.send(()).unwrap();
                let _ = wait.recv();
                finished.send(()).unwrap();
                Ok(1)
            })?);
            is_started.await.unwrap();
            guard.cancel(Kind::Shutdown);
            Ok(())
        });
        let error = error.grace(Duration::from_millis(2)).await.unwrap_err();
        // Not even for the second that the destructors of async tasks have.
        assert!(before.elapsed() < Duration::from_millis(900));
        let left = &error.stragglers()[0];
        assert!(left.is_blocking && left.is_in_poll && left.stack.is_none());
        assert!(
            left.to_string()
                .ends_with(", has not looked, runs on a blocking thread"),
            "{left}"
        );
        assert!(live_tasks().iter().any(|task| task.id == left.id));
        let id = left.id;
        drop(go);
        is_finished.await.unwrap();
        assert_eq!(task.unwrap().await.unwrap(), 1, "its handle still tells");
        while live_tasks().iter().any(|task| task.id == id) {
            yield_now().await;
        }
    });
}

//= C96
#[test]
fn a_blocking_task_that_looks_ends_within_the_grace() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let (started, is_started) = oneshot::channel();
            let task = s.spawn_blocking("waits", move |ctx| {
                started.send(()).unwrap();
                Ok(ctx.wait().kind())
            })?;
            is_started.await.unwrap();
            guard.cancel(Kind::Shutdown);
            Ok(task.await.unwrap())
        });
        assert_eq!(ended.await.unwrap(), Kind::Shutdown);
    });
}

//= C96
#[test]
fn blocking_work_without_a_thread_is_not_started_after_the_cancel() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (root, guard) = ripcord_tokio::root().build();
        let (go, wait) = mpsc::channel::<()>();
        let holds = root.detach().spawn_blocking("holds", move |_| wait.recv());
        let census = Census::new();
        let probe = census.enter("queued");
        let error = scope(&root, async |s: Scope<Cancelled>| {
            let queued = s.spawn_blocking("queued", move |_| -> Ends {
                drop(probe);
                panic!("run")
            })?;
            guard.cancel(Kind::Shutdown);
            go.send(()).unwrap();
            let gone = queued.await.unwrap_err();
            assert_eq!(
                gone.not_started().map(Cancelled::kind),
                Some(Kind::Shutdown)
            );
            Ok(())
        });
        let error = error.await.unwrap_err();
        assert_eq!(error.unfinished(), ["queued"]);
        census.assert_empty();
        holds.await.unwrap().unwrap();

        // And if the thread stays busy, the abort takes it out of the queue.
        let (root, guard) = ripcord_tokio::root().build();
        let (go, wait) = mpsc::channel::<()>();
        let holds = root.detach().spawn_blocking("holds", move |_| wait.recv());
        let probe = census.enter("queued");
        let error = scope(&root, async |s: Scope<Cancelled>| {
            let _queued = s.spawn_blocking("queued", move |_| -> Ends {
                drop(probe);
                panic!("run")
            });
            guard.cancel(Kind::Shutdown);
            Ok(())
        });
        let error = error.grace(Duration::ZERO).await.unwrap_err();
        let left = &error.stragglers()[0];
        assert!(left.is_blocking && !left.is_in_poll, "{left:?}");
        go.send(()).unwrap();
        holds.await.unwrap().unwrap();
        while live_tasks().iter().any(|task| task.name == "queued") {
            yield_now().await;
        }
        census.assert_empty();
    });
}

//= C96
#[test]
fn a_panic_of_a_blocking_task_is_resumed() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let joined = tokio::spawn(async move {
            let ended = scope(&root, async |s: Scope<Cancelled>| {
                let _bad =
                    s.spawn_blocking("bad", |_| -> Ends { std::panic::panic_any("it broke") })?;
                s.ctx().done().await;
                Ok(())
            });
            drop(ended.await);
        });
        let payload = joined.await.unwrap_err().into_panic();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"it broke"));
    });
}

//= C97
#[test]
fn a_scope_dropped_half_way_cancels_and_aborts() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let kept = Arc::new(Mutex::new(None));
        let (probe, given) = (census.enter("task"), Arc::clone(&kept));
        let running = scope(&root, async move |s: Scope<Cancelled>| {
            let _deaf = s.spawn("deaf", |_| async move {
                let _probe = probe;
                pending::<Ends>().await
            })?;
            *given.lock().unwrap() = Some(s);
            pending::<Ends>().await
        });
        let mut running = ManualTask::new(running.into_future());
        assert!(running.poll().is_pending());
        yield_now().await;
        let s = kept.lock().unwrap().take().unwrap();
        drop(running);
        let cause = s.ctx().cause().expect("done when the drop returns");
        assert_eq!(cause.kind(), Kind::Dropped);
        assert_eq!(cause.message(), Some("the scope was dropped half-way"));
        assert!(s.spawn("late", |_| async { Ok(()) }).is_err());
        while !s.is_empty() {
            yield_now().await;
        }
        census.assert_empty();
        assert!(!root.is_done());
    });
}

//= C97
#[test]
fn a_scope_that_is_dropped_before_its_first_poll_has_run_nothing() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = census.enter("body");
        let running = scope(&root, async move |_: Scope<Cancelled>| {
            let _probe = probe;
            panic!("polled");
            #[expect(unreachable_code, reason = "gives the type")]
            Ok(())
        });
        drop(running.into_future());
        census.assert_empty();
    });
}

//= C97
#[tokio::test]
async fn a_scope_dropped_during_the_grace_aborts_at_once() {
    let (root, guard) = ripcord_tokio::root().build();
    let census = Census::new();
    let probe = census.enter("task");
    let running = scope(&root, async move |s: Scope<Cancelled>| {
        let _deaf = s.spawn("deaf", |_| async move {
            let _probe = probe;
            pending::<Ends>().await
        })?;
        Ok(())
    });
    let mut running = ManualTask::new(running.grace(Duration::MAX).into_future());
    assert!(running.poll().is_pending());
    guard.cancel("enough");
    assert!(running.poll().is_pending());
    drop(running);
    yield_now().await;
    census.assert_empty();
}

//= C97
#[test]
fn what_a_body_spawns_while_it_is_dropped_is_aborted() {
    struct Spawns(Scope<Cancelled>, Option<ripcord_test::Probe>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let probe = self.1.take();
            let task = self.0.spawn("last", |_| async move {
                let _probe = probe;
                pending::<Ends>().await
            });
            drop(task.expect("the body is dropped before the scope is closed"));
        }
    }
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = Some(census.enter("last"));
        let running = scope(&root, async move |s: Scope<Cancelled>| {
            let _spawns = Spawns(s, probe);
            pending::<Ends>().await
        });
        let mut running = ManualTask::new(running.into_future());
        assert!(running.poll().is_pending());
        drop(running);
        while !census.alive().is_empty() {
            yield_now().await;
        }
    });
}

//= C97
#[test]
fn a_runtime_that_shuts_down_takes_a_running_scope_along() {
    for runtime in [current_thread(), multi_thread()] {
        let census = Census::new();
        let probes = [
            census.enter("body"),
            census.enter("task"),
            census.enter("inner"),
        ];
        let (started, is_started) = oneshot::channel();
        let ctx = runtime.block_on(async {
            let (root, guard) = ripcord_tokio::root().build();
            let ctx = root.clone();
            let owner = root.spawn("down: owner", |ctx| async move {
                let [body, task, inner] = probes;
                let ended = scope(&ctx, async move |s: Scope<Cancelled>| {
                    let _body = body;
                    let _task = s.spawn("down: task", |ctx| async move {
                        let _task = task;
                        let ended = scope(&ctx, async move |s: Scope<Cancelled>| {
                            let _inner = s.spawn("down: inner", |_| async move {
                                let _inner = inner;
                                started.send(()).unwrap();
                                pending::<Ends>().await
                            })?;
                            pending::<Ends>().await
                        });
                        drop(ended.await);
                        Ok(())
                    })?;
                    pending::<Ends>().await
                });
                drop(ended.await);
            });
            is_started.await.unwrap();
            drop(owner);
            guard.disarm();
            ctx
        });
        assert!(live_tasks().iter().any(|task| task.name == "down: inner"));
        drop(runtime);
        census.assert_empty();
        assert!(
            !live_tasks()
                .iter()
                .any(|task| task.name.starts_with("down"))
        );
        assert!(!ctx.is_done());
    }
}

/// A scope that is polled elsewhere than its tasks notices that they went with their
/// runtime, and does not call that a success.
#[test]
fn tasks_that_went_with_their_runtime_are_unfinished() {
    for runtime in [current_thread(), multi_thread()] {
        let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
        let entered = runtime.enter();
        let running = scope(&root, async |s: Scope<Cancelled>| {
            let _task = s.spawn("lost", |_| pending::<Ends>())?;
            Ok(())
        });
        let mut running = ManualTask::new(running.into_future());
        assert!(running.poll().is_pending());
        drop(entered);
        drop(runtime);
        assert!(running.is_woken());
        let Poll::Ready(Err(error)) = running.poll() else {
            panic!("{running:?}")
        };
        assert_eq!(error.unfinished(), ["lost"]);
        assert!(error.cause().is_none() && error.first().is_none());
    }
}

#[test]
fn a_finished_scope_panics_when_polled_again() {
    let (root, _guard) = Ctx::root().build();
    let mut running =
        ManualTask::new(scope(&root, async |_: Scope<Cancelled>| Ok(())).into_future());
    assert!(running.poll().is_ready());
    let again = catch_unwind(AssertUnwindSafe(|| running.poll()));
    assert!(again.is_err());
}

/// A task that never comes back from a poll is waited for for a second, and then left.
#[test]
fn a_task_that_blocks_its_thread_is_left_behind() {
    let runtime = multi_thread();
    let clock = TestClock::new();
    let (root, guard) = clock.root().build();
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = oneshot::channel();
    let was_dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&was_dropped);
    let running = scope(&root, async move |s: Scope<Cancelled>| {
        let _stuck = s.spawn("stuck", |_| async move {
            started.send(()).unwrap();
            let _ = wait.recv();
            flag.store(true, Ordering::Release);
            Ok(())
        })?;
        Ok(())
    });
    let entered = runtime.enter();
    let mut running = ManualTask::new(running.grace(UNIT).into_future());
    assert!(running.poll().is_pending());
    drop(entered);
    runtime.block_on(is_started).unwrap();
    guard.cancel(Kind::Shutdown);
    let mut steps = 0;
    let error = loop {
        match running.poll() {
            Poll::Ready(ended) => break ended.unwrap_err(),
            // The grace, the inspection, the abort: each waits for the clock.
            Poll::Pending => clock.advance(UNIT),
        }
        steps += 1;
    };
    assert_eq!(steps, 3);
    let stuck = &error.stragglers()[0];
    assert!(stuck.is_in_poll && !stuck.is_blocking && stuck.stack.is_none());
    assert!(
        stuck
            .to_string()
            .ends_with(", has not looked, blocks its thread in poll 1"),
        "{stuck}"
    );
    assert!(!was_dropped.load(Ordering::Acquire));
    drop(go);
    drop(runtime);
    assert!(was_dropped.load(Ordering::Acquire));
}
