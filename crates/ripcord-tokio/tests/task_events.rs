//! What a task observer is told: exact sequences, one way of waking and ending after another.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use ripcord_core::tasks::{current_task, region, trace_log, user_task};
use ripcord_core::{Ctx, Kind};
use ripcord_tokio::{CtxExt, Policy, inspect_overdue};
use std::future::{Future, IntoFuture, pending, poll_fn, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use task_log::{runtime, settle, told, wakes_itself};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::yield_now;

const SECOND: Duration = Duration::from_secs(1);

//= C138
#[test]
fn ready_at_once() {
    told(async |root, log| {
        root.spawn("a", |_| ready(7)).await.unwrap();
        log.expect(&["spawn a from -", "poll a", "ready a", "ended a ready 1"]);
    });
}

//= C138
//= C139
#[test]
fn woken_by_another_task() {
    told(async |root, log| {
        let bell = Arc::new(Notify::new());
        let wait = Arc::clone(&bell);
        let a = root.spawn("a", |_| async move { wait.notified().await });
        settle().await;
        let b = root.spawn("b", |_| async move { bell.notify_one() });
        a.await.unwrap();
        b.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "pending a",
            "spawn b from -",
            "poll b",
            "woken a by task b",
            "ready b",
            "ended b ready 1",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C139
#[test]
fn woken_by_a_join() {
    told(async |root, log| {
        let outer = root.spawn("outer", |ctx| async move {
            ctx.spawn("inner", |_| ready(())).await.unwrap();
        });
        outer.await.unwrap();
        log.expect(&[
            "spawn outer from -",
            "poll outer",
            // For the closure that makes the future.
            "context outer one",
            "context outer one",
            "spawn inner from outer",
            "pending outer join",
            "poll inner",
            "ready inner",
            "ended inner ready 1",
            "woken outer by end of inner",
            "poll outer",
            "ready outer",
            "ended outer ready 2",
        ]);
    });
}

//= C139
#[test]
fn woken_by_a_timer() {
    told(async |root, log| {
        let a = root.spawn("a", |_| tokio::time::sleep(SECOND));
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "pending a",
            "woken a by driver",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C141
#[test]
fn a_pending_poll_names_the_innermost_wait() {
    told(async |root, log| {
        let inner = async |ctx: Ctx| {
            let _ = ripcord_tokio::sleep(&ctx, SECOND).await;
            region("inner", tokio::time::sleep(SECOND)).await;
            tokio::time::sleep(SECOND).await;
        };
        let a = root.spawn("a", |ctx| async move { region("outer", inner(ctx)).await });
        a.await.unwrap();
        let lines = log.of("a");
        let is_wait = |line: &&String| line.starts_with("pending") || line.starts_with("listening");
        let waits = lines.iter().filter(is_wait);
        let waits: Vec<&String> = waits.collect();
        assert_eq!(
            waits,
            ["listening a sleep", "pending a inner", "pending a outer"]
        );
    });
}

//= C139
#[test]
fn woken_by_a_blocking_job() {
    told(async |root, log| {
        let (tell, hear) = oneshot::channel();
        let a = root.spawn("a", |_| async move { hear.await.unwrap() });
        settle().await;
        log.take();
        let job = root.spawn_blocking("job", move |_| tell.send(current_task()).unwrap());
        assert!(a.await.unwrap().is_some());
        job.await.unwrap();
        assert_eq!(
            log.take()
                .iter()
                .filter(|line| *line == "woken a by task job")
                .count(),
            1
        );
    });
}

//= C138
//= C139
#[test]
fn a_blocking_job_is_queued_run_and_ended() {
    told(async |root, log| {
        let outer = root.spawn("outer", |ctx| async move {
            let job = ctx.spawn_blocking("job", |_| ());
            job.await.unwrap();
        });
        outer.await.unwrap();
        let lines = log.take();
        let job: Vec<&String> = lines.iter().filter(|line| line.contains("job")).collect();
        let expect = ["queue job from outer", "run job", "ended job ready 1"];
        assert_eq!(job[..3], expect, "{lines:?}");
        // Unless the job was over before the handle was polled.
        assert!(
            job[3..]
                .iter()
                .all(|line| *line == "woken outer by end of job"),
            "{lines:?}"
        );
    });
}

//= C139
#[test]
fn woken_by_threads_of_the_runtime_and_by_others() {
    told(async |root, log| {
        for (by, is_pooled) in [("blocking", true), ("foreign", false)] {
            let (tell, hear) = oneshot::channel();
            let a = root.spawn("a", |_| async move { hear.await.unwrap() });
            settle().await;
            let send = move || tell.send(()).unwrap();
            if is_pooled {
                tokio::task::spawn_blocking(send).await.unwrap();
            } else {
                std::thread::spawn(send).join().unwrap();
            }
            a.await.unwrap();
            let lines = log.of("a");
            assert_eq!(lines[3], format!("woken a by {by}"), "{lines:?}");
            assert_eq!(lines.len(), 7);
        }
    });
}

//= C139
#[test]
fn yield_now_is_woken_by_the_runtime() {
    told(async |root, log| {
        root.spawn("a", |_| yield_now()).await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "pending a",
            "woken a by runtime",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C139
//= C140
#[test]
fn who_wakes_himself_yields() {
    told(async |root, log| {
        root.spawn("a", |_| wakes_itself()).await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "woken a by itself",
            "yielded a",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C140
#[test]
fn who_uses_up_his_turn_is_preempted() {
    told(async |root, log| {
        let (tell, mut hear) = mpsc::unbounded_channel();
        for _ in 0..200 {
            tell.send(()).unwrap();
        }
        let a = root.spawn("a", |_| async move {
            for _ in 0..200 {
                hear.recv().await.unwrap();
            }
        });
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "preempted a",
            "woken a by runtime",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C142
#[test]
fn the_end_says_how() {
    told(async |root, log| {
        let end = |lines: Vec<String>| lines.last().unwrap().clone();
        let a = root.spawn("a", |_| pending::<()>());
        settle().await;
        a.abort();
        assert!(a.await.unwrap_err().is_aborted());
        assert_eq!(end(log.of("a")), "ended a aborted 1");

        let unpolled = root.spawn("unpolled", |_| pending::<()>());
        unpolled.abort();
        assert!(unpolled.await.unwrap_err().is_aborted());
        assert_eq!(end(log.of("unpolled")), "ended unpolled aborted 0");

        let b = root.spawn("b", |_| async { panic!("a bug") });
        assert!(b.await.unwrap_err().is_panic());
        log.expect(&[
            "spawn b from -",
            "poll b",
            "panicked b",
            "cancel b panicked",
            "ended b panicked 1",
        ]);

        let job = root.spawn_blocking("job", |_| panic!("a bug"));
        assert!(job.await.unwrap_err().is_panic());
        assert_eq!(end(log.of("job")), "ended job panicked 1");

        let ended = ripcord_tokio::scope(&root, async |s| {
            let c = s
                .spawn::<(), _, _>("c", |_| async { panic!("a bug") })
                .unwrap();
            drop(c);
            Ok::<(), ripcord_core::Cancelled>(())
        });
        ended.policy(Policy::Supervise).await.unwrap();
        let lines = log.of("c");
        assert_eq!(lines[2..], ["ready c", "ended c panicked 1"]);
    });
}

//= C142
#[test]
fn a_runtime_that_shuts_down_drops_its_tasks() {
    let runtime = runtime();
    let log = Arc::new(task_log::Log::default());
    let (root, _guard) = ripcord_tokio::root_on(runtime.handle())
        .observer(Arc::<task_log::Log>::clone(&log))
        .build();
    runtime.block_on(async {
        let a = root.spawn("a", |_| pending::<()>());
        settle().await;
        drop(a);
    });
    drop(runtime);
    log.expect(&["spawn a from -", "poll a", "lost a", "ended a dropped 1"]);
}

//= C142
#[test]
fn destructors_are_of_the_task() {
    told(async |root, log| {
        struct Rings(Arc<Notify>);
        impl Drop for Rings {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let bell = Arc::new(Notify::new());
        let wait = Arc::clone(&bell);
        let a = root.spawn("a", |_| async move { wait.notified().await });
        let rings = Rings(bell);
        let b = root.spawn("b", |_| async move {
            pending::<()>().await;
            drop(rings);
        });
        settle().await;
        log.take();
        b.abort();
        a.await.unwrap();
        assert!(b.await.unwrap_err().is_aborted());
        log.expect(&[
            "woken a by task b",
            "ended b aborted 1",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C138
#[test]
fn two_arms_of_a_select() {
    told(async |root, log| {
        let a = root.spawn("a", |ctx| async move {
            tokio::select! {
                biased;
                _ = ripcord_tokio::sleep(&ctx, 2 * SECOND) => "late",
                () = tokio::time::sleep(SECOND) => "early",
            }
        });
        assert_eq!(a.await.unwrap(), "early");
        log.expect(&[
            "spawn a from -",
            "poll a",
            "listening a sleep",
            "woken a by driver",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C139
#[test]
fn a_combinator_with_wakers_of_its_own() {
    // As `FuturesUnordered`: the part is polled with a waker that wakes the whole.
    struct Part(Mutex<Waker>);
    impl std::task::Wake for Part {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().wake_by_ref();
        }
    }
    told(async |root, log| {
        let a = root.spawn("a", |_| async {
            let mut part = pin!(wakes_itself());
            poll_fn(|cx| {
                let waker = Waker::from(Arc::new(Part(Mutex::new(cx.waker().clone()))));
                part.as_mut().poll(&mut Context::from_waker(&waker))
            })
            .await;
        });
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "woken a by itself",
            "yielded a",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}

//= C138
#[test]
fn a_nested_runtime() {
    told(async |root, log| {
        let outer = root.spawn_blocking("outer", move |ctx| {
            let inner = runtime();
            inner.block_on(async {
                ctx.spawn("inner", |_| ready(())).await.unwrap();
            });
            current_task()
        });
        let outer = outer.await.unwrap().unwrap();
        assert_eq!(log.name(outer), "outer");
        let lines = log.take();
        assert_eq!(
            lines[1..6],
            [
                "run outer",
                // For the closure that makes the future.
                "context outer one",
                "context outer one",
                "spawn inner from outer",
                "poll inner",
            ]
        );
    });
}

//= C139
#[test]
fn a_waker_outlives_its_task() {
    told(async |root, log| {
        let (tell, hear) = oneshot::channel();
        let mut tell = Some(tell);
        let a = root.spawn("a", |_| {
            poll_fn(move |cx| {
                if let Some(tell) = tell.take() {
                    tell.send(cx.waker().clone()).unwrap();
                }
                Poll::Ready(())
            })
        });
        a.await.unwrap();
        let waker = hear.await.unwrap();
        log.take();
        let copy = waker.clone();
        assert!(copy.will_wake(&waker));
        std::thread::spawn(move || copy.wake()).join().unwrap();
        waker.wake_by_ref();
        drop(waker);
        log.expect(&[]);
    });
}

//= C143
#[test]
fn without_an_observer_there_are_no_wakers_of_ours() {
    async fn vtable() -> usize {
        poll_fn(|cx| Poll::Ready(std::ptr::from_ref(cx.waker().vtable()).addr())).await
    }
    runtime().block_on(async {
        let (root, _guard) = ripcord_tokio::root().build();
        let bare = tokio::spawn(vtable()).await.unwrap();
        let ours = root.spawn("a", |_| async { (vtable().await, current_task()) });
        assert_eq!(ours.await.unwrap(), (bare, None));
    });
    told(async |root, _| {
        let bare = tokio::spawn(vtable()).await.unwrap();
        assert_ne!(root.spawn("a", |_| vtable()).await.unwrap(), bare);
    });
}

//= C141
#[test]
fn marks_of_user_code() {
    told(async |root, log| {
        let a = root.spawn("a", |_| async {
            let whole = user_task("checkout");
            region("load", async { trace_log("cache miss") }).await;
            drop(whole);
            drop(region("never polled", ready(())));
            let mut half = Box::pin(region("half", pending::<()>()));
            let _ = poll_fn(|cx| Poll::Ready(half.as_mut().poll(cx).is_ready())).await;
        });
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "begin a checkout",
            "begin a load",
            "log a cache miss",
            "end region",
            "end user task",
            "begin a half",
            "end region",
            "ready a",
            "ended a ready 1",
        ]);
        // Under the context, and in no task.
        root.enter_sync(|| trace_log("outside"));
        log.expect(&["log - outside"]);
        trace_log("to nobody");
        log.expect(&[]);
    });
}

//= C138
#[test]
fn a_switch_of_the_context() {
    told(async |root, log| {
        let other = root.child();
        let a = root.spawn("a", |ctx| async move {
            other.0.enter_sync(|| ctx.enter_sync(|| ()));
            ctx.enter_sync(|| ());
        });
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "context a one",
            "context a one",
            "context a one",
            "context a one",
            "ready a",
            "ended a ready 1",
        ]);
    });
}

//= C139
#[test]
fn who_cancels_and_who_looks() {
    told(async |root, log| {
        let (ctx, guard) = root.child();
        let a = root.spawn("a", move |_| async move {
            guard.cancel(Kind::PeerGone);
        });
        a.await.unwrap();
        let b = root.spawn("b", move |_| async move { ctx.check().is_err() });
        assert!(b.await.unwrap());
        let lines = log.take();
        assert!(
            lines.contains(&format!("cancel a {}", Kind::PeerGone)),
            "{lines:?}"
        );
        assert!(
            lines.contains(&format!("look b {}", Kind::PeerGone)),
            "{lines:?}"
        );
    });
}

//= C143
#[test]
fn await_stacks_work_with_an_observer() {
    told(async |root, log| {
        let (ctx, guard) = root.child();
        let bell = Arc::new(Notify::new());
        let wait = Arc::clone(&bell);
        let task = ctx.spawn("waits", |_| async move { wait.notified().await });
        settle().await;
        guard.cancel(Kind::PeerGone);
        let late = inspect_overdue(SECOND).await;
        let info = late.iter().find(|info| info.name == "waits").unwrap();
        assert_eq!(info.stack.as_ref().unwrap().leaves().len(), 1);
        bell.notify_one();
        task.await.unwrap();
        log.expect(&[
            "spawn waits from -",
            "poll waits",
            "pending waits",
            "woken waits by runtime",
            "poll waits",
            "stack waits 1",
            "pending waits",
            "woken waits by runtime",
            "poll waits",
            "ready waits",
            "ended waits ready 3",
        ]);
    });
}

//= C139
#[test]
fn an_end_wakes_nobody_but_those_who_joined() {
    told(async |root, log| {
        let bell = Arc::new(Notify::new());
        let (wait, ring) = (Arc::clone(&bell), Arc::clone(&bell));
        let a = root.spawn("a", |_| async move {
            wait.notified().await;
            wait.notified().await;
        });
        settle().await;
        // A task that is not told of runs right after one that is.
        drop(root.spawn("b", |_| ready(())));
        drop(tokio::spawn(async move { ring.notify_one() }));
        settle().await;
        // Another told poll comes between the end and the wake.
        drop(root.spawn("b", |_| ready(())));
        let c = root.spawn("c", |_| pending::<()>());
        settle().await;
        bell.notify_one();
        a.await.unwrap();
        let lines = log.of("a");
        let wakes: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with("woken"))
            .collect();
        assert_eq!(wakes, ["woken a by runtime"; 2]);
        c.abort();
    });
}

//= C142
#[test]
fn a_scope_that_is_dropped_aborts_its_tasks() {
    told(async |root, log| {
        let scope = ripcord_tokio::scope(&root, async |s| {
            drop(s.spawn::<(), _, _>("a", |_| pending()));
            pending::<Result<(), ripcord_core::Cancelled>>().await
        });
        let mut scope = Box::pin(scope.into_future());
        let is_over = poll_fn(|cx| Poll::Ready(scope.as_mut().poll(cx).is_ready())).await;
        assert!(!is_over);
        settle().await;
        drop(scope);
        settle().await;
        assert_eq!(log.of("a").last().unwrap(), "ended a aborted 1");
    });
}
