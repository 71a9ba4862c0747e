//! Spawned tasks: what they see, what their handles say, and that nothing of them stays.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod runtimes;

use ripcord_core::{Cause, Ctx, Kind, Reach, Value};
use ripcord_test::{Census, ManualTask};
use ripcord_tokio::{CtxExt, live_tasks, overdue_tasks};
use runtimes::{UNIT, current_thread, multi_thread, on_both};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{mpsc as channel, oneshot};
use tokio::task::yield_now;

const SECOND: Duration = Duration::from_secs(1);

struct Local(u32);
impl Value for Local {
    const REACH: Reach = Reach::Local;
}

struct Tenant(u32);
impl Value for Tenant {
    const REACH: Reach = Reach::Task;
}

fn is_live(name: &str) -> bool {
    live_tasks().iter().any(|task| task.name == name)
}

/// A context whose value is kept alive by every context below it.
fn probed(name: &'static str) -> (Census, Ctx, ripcord_core::CancelGuard) {
    struct Kept(#[expect(dead_code, reason = "held, not read")] ripcord_test::Probe);
    impl Value for Kept {
        const REACH: Reach = Reach::Task;
    }
    let census = Census::new();
    let (root, guard) = ripcord_tokio::root().build();
    let ctx = root.with(Kept(census.enter(name)));
    (census, ctx, guard)
}

//= C101
#[test]
fn the_current_context_of_a_task_is_its_own() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().name("root").build();
        let ctx = root.with(Local(1)).with(Tenant(2));
        let task = ctx.spawn("child", |ctx| async move {
            tokio::task::yield_now().await;
            assert_eq!(Ctx::current(), ctx);
            assert!(ctx.get::<Local>().is_none());
            (
                Ctx::current().name().map(str::to_owned),
                ctx.get::<Tenant>().map(|t| t.0),
            )
        });
        assert_eq!(task.await.unwrap(), (Some("child".to_owned()), Some(2)));
        assert_eq!(ctx.get::<Local>().map(|local| local.0), Some(1));
        assert_eq!(Ctx::current(), Ctx::background());
    });
}

//= C101
#[test]
fn the_closure_that_makes_a_task_runs_under_its_context() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        // A plain function that looks before it returns its future.
        let early = |_| ready(Ctx::current().name().map(str::to_owned));
        let name = root.spawn("early", early).await.unwrap();
        assert_eq!(name.as_deref(), Some("early"));
    });
}

//= C101
//= C76
#[test]
fn the_current_context_of_a_blocking_task_is_its_own() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let ctx = root.with(Local(1)).with(Tenant(2));
        let task = ctx.spawn_blocking("child", |ctx| {
            assert_eq!(Ctx::current(), ctx);
            (
                ctx.get::<Local>().is_none(),
                ctx.get::<Tenant>().map(|t| t.0),
            )
        });
        assert_eq!(task.await.unwrap(), (true, Some(2)));
        drop(guard);
    });
}

#[test]
fn spawn_takes_the_place_of_tokios() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().name("request").build();
        let ctx = root
            .with(Local(1))
            .with(Tenant(2))
            .with_timeout(3600 * SECOND);
        let task = ctx.enter_sync(|| {
            ripcord_tokio::spawn(async {
                let ctx = Ctx::current();
                let name = ctx.name().map(str::to_owned);
                let tenant = ctx.get::<Tenant>().map(|tenant| tenant.0);
                (
                    name,
                    tenant,
                    ctx.get::<Local>().is_some(),
                    ctx.deadline().is_some(),
                )
            })
        });
        let name = Some("request".to_owned());
        assert_eq!(task.await.unwrap(), (name, Some(2), false, true));

        // Outside of any context it works as well; it is named for what it is.
        let task = ripcord_tokio::spawn(async { 7 });
        assert_eq!(task.await.unwrap(), 7);

        // A task is told of the cancel, and not stopped by it.
        let task = ctx.enter_sync(|| {
            ripcord_tokio::spawn(async {
                let cause = Ctx::current().done().await;
                tokio::task::yield_now().await;
                cause.kind()
            })
        });
        guard.cancel(Kind::PeerGone);
        assert_eq!(task.await.unwrap(), Kind::PeerGone);
    });
}

//= C93
#[test]
fn a_spawn_under_a_done_context_drops_the_future_unpolled() {
    on_both(|| async {
        let census = Census::new();
        let (root, guard) = ripcord_tokio::root().build();
        guard.cancel(Kind::Shutdown);

        let probe = census.enter("drop-in");
        let task = root.enter_sync(|| {
            ripcord_tokio::spawn(async move {
                let _probe = probe;
                panic!("polled");
            })
        });
        census.assert_empty();
        assert!(task.is_finished() && task.info().is_none());
        assert!(!task.cancel("again"));
        let error = task.await.unwrap_err();
        assert_eq!(
            error.not_started().map(ripcord_core::Cancelled::kind),
            Some(Kind::Shutdown)
        );
        assert!(!error.is_aborted() && !error.is_panic());

        let task = root.spawn("named", |_| async { panic!("polled") });
        let error = task.await.unwrap_err();
        assert!(
            error.to_string().contains("was not started: shutting down"),
            "{error}"
        );
        assert!(!is_live("named"));
    });
}

//= C93
#[test]
fn make_is_not_called_under_a_done_context() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        guard.cancel(Kind::Shutdown);
        let task = root.spawn("never", |_| -> std::future::Ready<()> { panic!("called") });
        assert!(task.await.unwrap_err().not_started().is_some());
    });
}

//= C102
#[test]
fn a_blocking_task_under_a_done_context_does_not_run() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        guard.cancel(Kind::Shutdown);
        let task = root.spawn_blocking("never", |_| panic!("run"));
        let error = task.await.unwrap_err();
        assert_eq!(
            error.not_started().map(ripcord_core::Cancelled::kind),
            Some(Kind::Shutdown)
        );
    });
}

//= C102
#[test]
fn a_blocking_task_that_is_cancelled_before_its_turn_does_not_run() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let census = Census::new();
        let (root, guard) = ripcord_tokio::root().build();
        let (go, wait) = mpsc::channel::<()>();
        let first = root.detach().spawn_blocking("first", move |_| wait.recv());
        let probe = census.enter("second");
        let second = root.spawn_blocking("second", move |_| {
            drop(probe);
            panic!("run")
        });
        guard.cancel(Kind::PeerGone);
        go.send(()).unwrap();
        let error = second.await.unwrap_err();
        assert_eq!(
            error.not_started().map(ripcord_core::Cancelled::kind),
            Some(Kind::PeerGone)
        );
        census.assert_empty();
        first.await.unwrap().unwrap();
    });
}

//= C102
#[test]
fn a_running_blocking_task_sees_the_cancel() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let barrier = Arc::new(Barrier::new(4));
        let (go, wait) = mpsc::channel::<()>();
        let started = Arc::clone(&barrier);
        let checks = root.spawn_blocking("checks", move |ctx| {
            let was_live = ctx.check().is_ok();
            started.wait();
            wait.recv().unwrap();
            (was_live, ctx.check().map_err(|error| error.kind()))
        });
        let started = Arc::clone(&barrier);
        let waits = root.spawn_blocking("waits", move |ctx| {
            started.wait();
            ctx.wait().kind()
        });
        let started = Arc::clone(&barrier);
        let sleeps = root.spawn_blocking("sleeps", move |ctx| {
            started.wait();
            ctx.sleep(Duration::MAX).map_err(|error| error.kind())
        });
        barrier.wait();
        guard.cancel(Kind::PeerGone);
        go.send(()).unwrap();
        assert_eq!(checks.await.unwrap(), (true, Err(Kind::PeerGone)));
        assert_eq!(waits.await.unwrap(), Kind::PeerGone);
        assert_eq!(sleeps.await.unwrap(), Err(Kind::PeerGone));
    });
}

#[test]
fn a_blocking_task_knows_its_deadline() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let task = root.spawn_blocking("waits", |ctx| {
            // Beneath it, so that it is live when it starts.
            ctx.with_timeout(Duration::from_millis(2)).wait().kind()
        });
        assert_eq!(task.await.unwrap(), Kind::DeadlineExceeded);
    });
}

#[test]
fn a_panic_is_kept_for_the_handle() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let task = root.spawn("bad", |_| async { panic!("it broke") });
        let error = task.await.unwrap_err();
        assert!(error.is_panic() && !error.is_aborted() && error.not_started().is_none());
        assert_eq!(error.name(), "bad");
        assert_eq!(error.to_string(), "task `bad` panicked: it broke");
        let payload = catch_unwind(AssertUnwindSafe(|| error.resume())).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"it broke"));

        let task = root.spawn_blocking("bad too", |_| panic!("{}", 17));
        let error = task.await.unwrap_err();
        let payload = error.try_into_panic().unwrap();
        assert_eq!(
            payload.downcast_ref::<String>().map(String::as_str),
            Some("17")
        );
        assert!(!is_live("bad") && !is_live("bad too"));
    });
}

#[test]
fn an_aborted_task_is_dropped_and_says_so() {
    on_both(|| async {
        let census = Census::new();
        let (root, _guard) = ripcord_tokio::root().build();
        let probe = census.enter("aborted");
        let task = root.spawn("aborted", |_| async move {
            let _probe = probe;
            pending::<()>().await;
        });
        tokio::task::yield_now().await;
        assert!(!task.is_finished() && task.info().is_some());
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_aborted() && !error.is_panic());
        assert_eq!(error.to_string(), "task `aborted` was aborted");
        let error = error.try_into_panic().unwrap_err();
        assert!(error.resume().is_err());
        census.assert_empty();
        assert!(!is_live("aborted"));
    });
}

#[tokio::test]
async fn a_handle_cancels_its_task_once() {
    let (root, _guard) = ripcord_tokio::root().build();
    let task = root.spawn("loops", |ctx| async move { ctx.done().await });
    let sibling = root.spawn("sibling", |ctx| async move {
        tokio::task::yield_now().await;
        ctx.is_done()
    });
    assert!(task.cancel("enough"));
    assert!(!task.cancel("more than enough"));
    assert!(!sibling.await.unwrap());
    let cause = task.await.unwrap();
    assert_eq!(
        (cause.message(), cause.name()),
        (Some("enough"), Some("loops"))
    );
    assert!(!root.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_handle_tells_what_is_known_while_the_task_lives() {
    let (root, guard) = ripcord_tokio::root().build();
    let site = Location::caller();
    let task = root.spawn("reader", |_| pending::<()>());
    tokio::time::advance(SECOND).await;
    let info = task.info().unwrap();
    assert_eq!(
        (info.name.as_str(), info.age, info.polls),
        ("reader", SECOND, 1)
    );
    assert_eq!(
        (info.site.file(), info.site.line()),
        (site.file(), site.line() + 1)
    );
    assert!(info.cause.is_none() && info.overdue.is_none() && !info.has_seen);
    assert!(!info.is_blocking && !info.is_in_poll && info.stack.is_none());
    assert!(!overdue_tasks().iter().any(|other| other.id == info.id));

    guard.cancel(Kind::PeerGone);
    tokio::time::advance(2 * SECOND).await;
    let info = task.info().unwrap();
    assert_eq!(info.overdue, Some(2 * SECOND));
    assert_eq!(
        info.cause.as_ref().map(ripcord_core::Cause::kind),
        Some(Kind::PeerGone)
    );
    assert!(overdue_tasks().iter().any(|other| other.id == info.id));
    assert_eq!(
        info.to_string(),
        format!(
            "task `reader` (spawned at {}), asked to stop 2.0s ago, has not looked",
            info.site
        ),
    );
    task.abort();
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(task.info().is_none());
}

#[tokio::test]
#[should_panic(expected = "polled again")]
async fn a_refused_handle_gives_its_result_once() {
    let (root, guard) = ripcord_tokio::root().build();
    drop(guard);
    let mut task = ManualTask::new(root.spawn("never", |_| async {}));
    assert!(matches!(task.poll(), Poll::Ready(Err(_))));
    let _ = task.poll();
}

#[test]
fn a_panic_in_make_leaves_nothing() {
    on_both(|| async {
        let (census, ctx, guard) = probed("root");
        let spawn = || {
            ctx.spawn("unmade", |_| -> std::future::Ready<()> {
                panic!("in make")
            })
        };
        let payload = catch_unwind(AssertUnwindSafe(spawn)).map(drop).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in make"));
        assert!(!is_live("unmade"));
        drop((ctx, guard));
        census.assert_empty();
    });
}

#[test]
fn a_spawn_outside_of_a_runtime_leaves_nothing() {
    let census = Census::new();
    let probe = census.enter("future");
    let spawn = || {
        Ctx::background().spawn("homeless", |_| async move {
            let _probe = probe;
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(spawn)).is_err());
    let spawn = || Ctx::background().spawn_blocking("homeless", |_| {});
    assert!(catch_unwind(AssertUnwindSafe(spawn)).is_err());
    census.assert_empty();
    assert!(!is_live("homeless"));
}

/// Every way in which a task can end gives up its context and its entry.
#[test]
fn ended_tasks_keep_nothing_alive() {
    on_both(|| async {
        let (census, ctx, guard) = probed("values");
        let mut tasks = Vec::new();
        tasks.push(ctx.spawn("leak: ready", |_| async {}));
        tasks.push(ctx.spawn("leak: panics", |_| async { panic!("as it should") }));
        tasks.push(ctx.spawn("leak: waits", |ctx| async move { drop(ctx.done().await) }));
        tasks.push(ctx.spawn("leak: own waker", |_| async {
            // Keeps its own waker inside of itself.
            let mut own = None;
            std::future::poll_fn(|cx| {
                own = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
        tasks.push(ctx.spawn("leak: stuck", |_| pending()));
        tasks.push(ctx.spawn_blocking("leak: blocking", |ctx| drop(ctx.wait())));
        tokio::task::yield_now().await;
        guard.cancel(Kind::Shutdown);
        let _ = ripcord_tokio::inspect_overdue(Duration::from_millis(200)).await;
        tasks[3].abort();
        tasks[4].abort();
        for task in &mut tasks {
            let _ = task.await;
        }
        drop((ctx, guard));
        assert_eq!(census.alive(), ["values"], "the handles still tell names");
        drop(tasks);
        census.assert_empty();
        assert!(
            !live_tasks()
                .iter()
                .any(|task| task.name.starts_with("leak"))
        );
    });
}

#[test]
fn a_runtime_that_goes_takes_its_tasks_along() {
    for runtime in [current_thread(), multi_thread()] {
        let (census, handles) = runtime.block_on(async {
            let (census, ctx, guard) = probed("values");
            let polled = ctx.spawn("gone: polled", |ctx| async move { drop(ctx.done().await) });
            tokio::task::yield_now().await;
            let stuck = ctx.spawn("gone: stuck", |_| pending());
            let asked = ctx.spawn("gone: asked", |_| pending());
            guard.disarm();
            (census, [polled, stuck, asked])
        });
        assert!(is_live("gone: stuck"));
        drop(runtime);
        for handle in handles {
            let mut handle = ManualTask::new(handle);
            let Poll::Ready(Err(error)) = handle.poll() else {
                panic!("{handle:?} is not over")
            };
            assert!(error.is_aborted());
        }
        census.assert_empty();
        assert!(
            !live_tasks()
                .iter()
                .any(|task| task.name.starts_with("gone"))
        );
    }
}

#[test]
fn a_spawn_on_a_runtime_that_is_gone_is_aborted() {
    let runtime = current_thread();
    let handle = runtime.handle().clone();
    let (root, _guard) = ripcord_tokio::root_on(&handle).build();
    drop(runtime);
    let census = Census::new();
    let probe = census.enter("late");
    let _entered = handle.enter();
    let task = root.spawn("late", |_| async move {
        let _probe = probe;
    });
    census.assert_empty();
    assert!(task.is_finished() && !is_live("late"));
}

/// The values of a future may look at the context that they belonged to.
#[test]
fn a_future_is_dropped_before_its_context_ends() {
    struct Looks(Ctx, Arc<Mutex<Vec<bool>>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0.is_done());
        }
    }
    on_both(|| async {
        let seen = Arc::default();
        let (root, _guard) = ripcord_tokio::root().build();
        let task = root.spawn("finishes", |ctx| {
            let looks = Looks(ctx, Arc::clone(&seen));
            async move {
                let _looks = looks;
            }
        });
        task.await.unwrap();
        let task = root.spawn("aborted", |ctx| {
            let looks = Looks(ctx, Arc::clone(&seen));
            async move {
                let _looks = looks;
                pending::<()>().await;
            }
        });
        task.abort();
        assert!(task.await.is_err());
        let task = root.spawn_blocking("blocks", {
            let seen = Arc::clone(&seen);
            move |ctx| drop(Looks(ctx, seen))
        });
        task.await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [false, false, false]);
    });
}

/// A value that a hook's task finds.
struct Number(u32);
impl Value for Number {}

//= C135
#[test]
fn an_async_hook_is_a_task_with_a_time_of_its_own() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let (request, _request) = root.with(Number(7)).child();
        let (tell, mut told) = channel::unbounded_channel();
        let work = |cause: Cause, ctx: Ctx| async move {
            let number = ctx.get::<Number>().map(|number| number.0);
            let limit = ctx.deadline().is_some() && ctx.check().is_ok();
            tell.send((cause.kind(), number, limit)).unwrap();
            // What its own context does not let happen any more, it lets.
            assert!(ctx.run(yield_now()).await.is_ok());
            assert_eq!(ctx.done().await.kind(), Kind::DeadlineExceeded);
            tell.send((Kind::Dropped, None, false)).unwrap();
        };
        let hook = request.on_done_async("clean up", UNIT, work);
        let stopped = request.on_done_async("never", UNIT, |_, _| async { panic!("stopped") });
        assert!(stopped.stop() && !hook.has_run());
        guard.cancel(Kind::PeerGone);
        let first = (Kind::PeerGone, Some(7), true);
        assert_eq!(told.recv().await, Some(first));
        drop((hook, stopped));
        assert_eq!(told.recv().await, Some((Kind::Dropped, None, false)));
        // On a context that is over it is spawned at once.
        let (tell, told) = oneshot::channel();
        let late = request.on_done_async("late", UNIT, |cause, _| async move {
            tell.send(cause.kind()).unwrap();
        });
        assert!(late.has_run());
        assert_eq!(told.await, Ok(Kind::PeerGone));
    });
}

//= C135
#[tokio::test]
async fn an_async_hook_keeps_no_context_alive() {
    let (root, _guard) = ripcord_tokio::root()
        .name("held by nobody")
        .tracked()
        .build();
    let (request, own) = root.child();
    request
        .on_done_async("clean up", UNIT, |_, _| async {})
        .detach();
    let rows = || {
        let dump = ripcord_core::dump();
        let rows = dump.rows().iter();
        rows.filter(|row| row.name.as_deref() == Some("held by nobody"))
            .count()
    };
    let before = rows();
    drop((request, own));
    assert!(rows() < before);
}

//= C135
#[test]
fn an_async_hook_whose_runtime_is_gone_drops_its_work() {
    let runtime = multi_thread();
    let census = Census::new();
    let probe = census.enter("work");
    let (ctx, guard) = Ctx::background().child();
    let entered = runtime.enter();
    let hook = ctx.on_done_async("clean up", UNIT, |_, _| async move {
        let _probe = probe;
        pending::<()>().await;
    });
    drop(entered);
    drop(runtime);
    let before = ripcord_core::foreign_panics();
    assert!(guard.cancel(Kind::PeerGone));
    assert!(hook.has_run());
    census.assert_empty();
    assert_eq!(ripcord_core::foreign_panics(), before);
}
