//! Task observers that misbehave, and what they are told of a runtime's threads.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use ripcord_core::tasks::{
    ContextRef, Ended, Mark, PollEnd, Spawned, StackText, TaskObserver, TaskRef, ThreadKind, Wait,
    WokenBy, current_task, region, trace_log, untold, user_task,
};
use ripcord_core::{Ctx, Observer, foreign_panics};
use ripcord_tokio::{BuilderExt, CtxExt, ThreadHooks};
use std::future::{pending, poll_fn, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use task_log::{runtime, settle, wakes_itself};
use tokio::runtime::Builder;

const SECOND: Duration = Duration::from_secs(1);

/// Panics, or acts, in every method.
struct Rogue<F>(F);

impl<F: Fn() + Send + Sync> TaskObserver for Rogue<F> {
    fn spawned(&self, _: &Spawned<'_>) -> u64 {
        (self.0)();
        0
    }
    fn poll_started(&self, _: TaskRef, _: Option<u32>) {
        (self.0)();
    }
    fn poll_ended(&self, _: TaskRef, _: PollEnd, _: Wait) {
        (self.0)();
    }
    fn woken(&self, _: TaskRef, _: WokenBy) {
        (self.0)();
    }
    fn ended(&self, _: TaskRef, _: &Ended<'_>) {
        (self.0)();
    }
    fn context_changed(&self, _: TaskRef, _: Option<ContextRef>) {
        (self.0)();
    }
    fn blocking_started(&self, _: TaskRef) {
        (self.0)();
    }
    fn stack_taken(&self, _: TaskRef, _: &Arc<dyn StackText>) {
        (self.0)();
    }
    fn thread_started(&self) {
        (self.0)();
    }
    fn thread_stopped(&self, _: ThreadKind) {
        (self.0)();
    }
    fn parked(&self, _: Option<u32>) {
        (self.0)();
    }
    fn unparked(&self, _: Option<u32>) {
        (self.0)();
    }
    fn region_begun(&self, _: &Mark<'static>) {
        (self.0)();
    }
    fn region_ended(&self, _: u64) {
        (self.0)();
    }
    fn logged(&self, _: &Mark<'_>) {
        (self.0)();
    }
    fn user_task_begun(&self, _: &Mark<'_>) {
        (self.0)();
    }
    fn user_task_ended(&self, _: u64) {
        (self.0)();
    }
}

impl<F: Fn() + Send + Sync + 'static> Observer for Rogue<F> {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

/// Every kind of event at least once; what the program does is the same with any observer.
async fn everything(root: Ctx) {
    let a = root.spawn("a", |ctx| async move {
        let _whole = user_task("whole");
        region("nap", tokio::time::sleep(SECOND)).await;
        wakes_itself().await;
        ctx.child().0.enter_sync(|| trace_log("line"));
        ctx.tag("request.id", "7");
        ctx.spawn_blocking("job", |_| 1).await.expect("it ends")
    });
    assert_eq!(a.await.expect("it ends"), 1);
    let b = root.spawn("b", |_| pending::<()>());
    settle().await;
    b.abort();
    assert!(b.await.is_err_and(|error| error.is_aborted()));
    let c = root.spawn("c", |_| async { panic!("a bug") });
    assert!(c.await.is_err_and(|error| error.is_panic()));
}

fn with_rogue(observer: Arc<Rogue<impl Fn() + Send + Sync + 'static>>) {
    let hooks = ThreadHooks::new(Arc::<Rogue<_>>::clone(&observer));
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_all().start_paused(true);
    let runtime = builder.thread_hooks(&hooks).build().expect("a runtime");
    runtime.block_on(async {
        let root = ripcord_tokio::root().observer(observer);
        let (root, _guard) = root.build();
        everything(root).await;
    });
}

//= C144
#[test]
fn an_observer_that_panics_harms_nobody() {
    let before = foreign_panics();
    with_rogue(Arc::new(Rogue(|| panic!("a bug in an observer"))));
    // Three tasks and a job, with some ten events each.
    assert!(foreign_panics() >= before + 25);
    assert_eq!(current_task(), None);
}

//= C144
#[test]
fn what_an_observer_does_is_counted_and_not_told() {
    let (ctx_cell, waker_cell) = (
        Arc::new(OnceLock::new()),
        Arc::new(Mutex::new(None::<Waker>)),
    );
    let (ctx, waker) = (Arc::clone(&ctx_cell), Arc::clone(&waker_cell));
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let observer = Arc::new(Rogue(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let waker = waker.lock().expect("no test poisons it").clone();
        if let (Some(waker), Some(ctx)) = (waker, ctx.get()) {
            waker.wake();
            let ctx: &Ctx = ctx;
            drop(ctx.spawn("of the observer", |_| ready(())));
        }
    }));
    runtime().block_on(async {
        let root = ripcord_tokio::root().observer(observer);
        let (root, _guard) = root.build();
        let keep = Arc::clone(&waker_cell);
        let waits = root.spawn("waits", move |_| {
            poll_fn(move |cx: &mut Context<'_>| {
                *keep.lock().expect("no test poisons it") = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
        });
        settle().await;
        let (before, told) = (untold(), calls.load(Ordering::Relaxed));
        assert!(ctx_cell.set(root.detach()).is_ok());
        root.enter_sync(|| trace_log("once"));
        // One call; in it a wake and a spawn, which are counted and not told.
        assert_eq!(calls.load(Ordering::Relaxed), told + 1);
        assert_eq!(untold(), before + 2);
        *waker_cell.lock().expect("no test poisons it") = None;
        waits.abort();
    });
}

//= C145
#[test]
fn threads_of_a_runtime() {
    let log = Arc::new(task_log::Log::default());
    let observer: Arc<dyn TaskObserver> = Arc::<task_log::Log>::clone(&log);
    let hooks = ThreadHooks::new(observer);
    let parking = hooks.clone();
    let (tell, parked) = std::sync::mpsc::channel();
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_hooks(&hooks);
    // A hook of one's own that calls ours.
    builder.on_thread_park(move || {
        parking.parked();
        let _ = tell.send(());
    });
    let runtime = builder.build().unwrap();
    let job = runtime.spawn_blocking(|| ());
    runtime.block_on(job).unwrap();
    parked.recv().unwrap();
    drop(runtime);
    let lines = log.take();
    let count = |line: &str| lines.iter().filter(|known| *known == line).count();
    assert_eq!(count("thread started"), 2, "{lines:?}");
    assert_eq!(count("thread stopped worker"), 1, "{lines:?}");
    assert_eq!(count("thread stopped blocking"), 1, "{lines:?}");
    assert!(count("parked Some(0)") > 0, "{lines:?}");
    assert_eq!(count("parked Some(0)"), count("unparked Some(0)"));
}
