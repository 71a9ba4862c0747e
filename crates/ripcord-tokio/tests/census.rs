//! The register of live tasks: who stands in it, for how long, and that nobody stays.

mod runtimes;

use ripcord_core::{Cancelled, Kind, dump};
use ripcord_tokio::{CtxExt, Scope, TaskInfo, live_tasks, overdue_tasks, scope};
use runtimes::{current_thread, multi_thread};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Mutex, MutexGuard, oneshot};
use tokio::task::yield_now;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

/// Who looks holds what is known of each task, of any test, for a moment: one at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// The live tasks whose names begin like this: other tests have theirs.
fn named(prefix: &str) -> Vec<TaskInfo> {
    let mut tasks = live_tasks();
    tasks.retain(|task| task.name.starts_with(prefix));
    tasks
}

#[tokio::test(start_paused = true)]
async fn live_tasks_are_listed_oldest_first() {
    let _alone = alone().await;
    let (root, _guard) = ripcord_tokio::root().build();
    let first = root.spawn("list 1", |_| pending::<()>());
    advance(SECOND).await;
    let second = root.spawn("list 2", |_| pending::<()>());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let third = root.spawn_blocking("list 3", move |_| wait.recv().is_err());
    let tasks = named("list");
    let names: Vec<_> = tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["list 1", "list 2", "list 3"]);
    assert_eq!((tasks[0].age, tasks[1].age), (SECOND, Duration::ZERO));
    assert_eq!((tasks[0].polls, tasks[1].polls), (1, 0));
    assert!(tasks[0].id < tasks[1].id && tasks[2].is_blocking);
    first.abort();
    second.abort();
    drop(go);
    assert!(third.await.unwrap());
    assert!(first.await.is_err() && second.await.is_err());
    assert!(named("list").is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_those_whose_end_was_asked_for_are_overdue() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(SECOND);
    let live = root.spawn("late: live", |_| pending::<()>());
    let late = request.spawn("late: deadline", |_| pending::<()>());
    let seen = request.spawn("late: seen", |ctx| async move {
        ctx.done().await;
        pending::<()>().await;
    });
    let mine = || {
        let mut tasks = overdue_tasks();
        tasks.retain(|task| task.name.starts_with("late"));
        tasks
    };
    yield_now().await;
    assert!(mine().is_empty());
    advance(3 * SECOND).await;
    yield_now().await;
    let tasks = mine();
    let names: Vec<_> = tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["late: deadline", "late: seen"]);
    for task in &tasks {
        assert_eq!(task.overdue, Some(2 * SECOND));
        assert_eq!(
            task.cause.as_ref().map(ripcord_core::Cause::kind),
            Some(Kind::DeadlineExceeded)
        );
    }
    assert_eq!((tasks[0].has_seen, tasks[1].has_seen), (false, true));
    assert!(
        tasks[1]
            .to_string()
            .ends_with(", asked to stop 2.0s ago, saw it")
    );
    guard.cancel(Kind::Shutdown);
    assert_eq!(mine().len(), 3);
    for task in [live, late, seen] {
        task.abort();
        assert!(task.await.is_err());
    }
    assert!(mine().is_empty());
}

#[tokio::test]
async fn a_task_in_its_first_poll_is_listed() {
    let _alone = alone().await;
    let (root, _guard) = ripcord_tokio::root().build();
    let task = root.spawn("polled", |_| async {
        let mut tasks = named("polled");
        assert_eq!(tasks.len(), 1);
        tasks.remove(0)
    });
    let info = task.await.unwrap();
    assert!(info.is_in_poll && info.polls == 1);
    assert!(named("polled").is_empty());
}

#[test]
fn many_threads_come_and_go() {
    let runtime = multi_thread();
    runtime.block_on(async {
        let _alone = alone().await;
        let (root, guard) = ripcord_tokio::root().build();
        let barrier = Arc::new(Barrier::new(201));
        let mut tasks = Vec::new();
        for at in 0..200 {
            let barrier = Arc::clone(&barrier);
            tasks.push(root.spawn("crowd", move |ctx| async move {
                barrier.wait().await;
                let inner: Vec<_> = (0..5)
                    .map(|_| ctx.spawn("crowd: inner", |ctx| async move { drop(ctx.done().await) }))
                    .collect();
                if at % 2 == 0 {
                    ctx.done().await;
                }
                for task in inner {
                    assert!(!named("crowd").is_empty());
                    task.await.unwrap();
                }
            }));
        }
        assert_eq!(named("crowd").len(), 200);
        barrier.wait().await;
        guard.cancel(Kind::Shutdown);
        for task in tasks {
            // An inner one may have been refused.
            let _ = task.await;
        }
        // The first sees its inner tasks' ends, and then its own.
        while !named("crowd").is_empty() {
            yield_now().await;
        }
    });
}

/// The contexts of a tracked root that still have a handle.
fn tracked(name: &str) -> usize {
    let dump = dump();
    let names = dump.rows().iter().filter_map(|row| row.name.as_deref());
    names.filter(|own| own.starts_with(name)).count()
}

#[test]
fn when_everything_has_ended_no_context_is_left() {
    for is_multi in [false, true] {
        let name = if is_multi {
            "left multi"
        } else {
            "left current"
        };
        let runtime = if is_multi {
            multi_thread()
        } else {
            current_thread()
        };
        let _alone = runtime.block_on(alone());
        let leaked = runtime.block_on(async {
            let (root, guard) = ripcord_tokio::root().name(name).tracked().build();
            let inner = format!("{name}: task");
            let (one, two) = (inner.clone(), inner.clone());
            let ended = scope(&root, async move |s: Scope<Cancelled>| {
                let _fails = s.spawn(one.clone(), |ctx| async move {
                    let ended = scope(&ctx, async move |s: Scope<Cancelled>| {
                        let _deaf = s.spawn(two, |_| pending::<Result<(), _>>())?;
                        let _panics = s.spawn_blocking("waits", |ctx| {
                            drop(ctx.wait());
                            Ok(())
                        })?;
                        yield_now().await;
                        Err::<(), _>(Cancelled::new("enough"))
                    });
                    let error = ended.grace(Duration::from_millis(1)).await.unwrap_err();
                    error.into_error().map_or(Ok(()), Err)
                })?;
                let _waits = s.spawn(one, |ctx| async move { ctx.run(pending::<()>()).await })?;
                Ok(())
            });
            drop(ended.await.unwrap_err());
            let aborted = root.spawn(inner.clone(), |_| pending::<()>());
            aborted.abort();
            assert!(aborted.await.is_err());
            let half = scope(&root, async |s: Scope<Cancelled>| {
                let _deaf = s.spawn(inner.clone(), |_| pending::<Result<(), _>>())?;
                pending::<Result<(), _>>().await
            });
            let (tell, told) = oneshot::channel::<()>();
            tokio::select! {
                biased;
                _ = half => {}
                () = async { drop(tell); let _ = told.await; yield_now().await; } => {}
            }
            // One that only the end of the runtime will stop.
            let stuck = root.spawn(inner, |_| pending::<()>());
            yield_now().await;
            guard.cancel(Kind::Shutdown);
            [stuck]
        });
        assert!(!named(name).is_empty() && tracked(name) > 0);
        drop(runtime);
        drop(leaked);
        assert!(named(name).is_empty(), "{:?}", named(name));
        assert_eq!(tracked(name), 0, "{}", dump());
    }
}
