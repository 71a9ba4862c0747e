//! A future that `block_on` polls, told of as a task: exact sequences.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use ripcord_core::Ctx;
use ripcord_core::tasks::current_task;
use ripcord_tokio::{CtxExt as _, as_task};
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use task_log::{Log, runtime};

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` as `#[ripcord::main]` does; what was told.
fn main<F: Future>(main: impl FnOnce(Ctx) -> F) -> (F::Output, Arc<Log>) {
    let log = Arc::new(Log::default());
    let observed = Ctx::root().observer(Arc::<Log>::clone(&log));
    let (root, _guard) = observed.name("main").build();
    let future = main(root.clone());
    let output = runtime().block_on(as_task(&root, "main", future));
    (output, log)
}

//= C138
//= C139
#[test]
fn main_is_told_from_its_spawn_to_its_end() {
    let (output, log) = main(|root| async move {
        tokio::time::sleep(SECOND).await;
        root.spawn("a", |_| ready(7)).await.expect("it ran")
    });
    assert_eq!(output, 7);
    log.expect(&[
        "spawn main from -",
        "poll main",
        "pending main",
        "woken main by driver",
        "poll main",
        // For the closure that makes the future: main itself is under nothing.
        "context main one",
        "context main none",
        "spawn a from main",
        "pending main join",
        "poll a",
        "ready a",
        "ended a ready 1",
        "woken main by end of a",
        "poll main",
        "ready main",
        "ended main ready 3",
    ]);
}

//= C138
#[test]
fn a_context_that_main_enters_is_told_and_so_is_the_way_back() {
    let ((), log) = main(|root| async move {
        let (request, _guard) = root.named("request").child();
        assert_eq!(Ctx::current(), Ctx::background());
        request.enter(tokio::task::yield_now()).await;
        root.enter_sync(|| request.enter_sync(|| ()));
    });
    log.expect(&[
        "spawn main from -",
        "poll main",
        "context main one",
        "context main none",
        "pending main",
        "woken main by runtime",
        "poll main",
        "context main one",
        "context main none",
        "context main one",
        "context main one",
        "context main one",
        "context main none",
        "ready main",
        "ended main ready 2",
    ]);
}

//= C140
//= C142
#[test]
fn its_ends_are_told_apart() {
    let log = Arc::new(Log::default());
    let (root, _guard) = Ctx::root().observer(Arc::<Log>::clone(&log)).build();
    let panics = async { assert_eq!(current_task(), None, "on purpose") };
    let panics = as_task(&root, "a", panics);
    let poll = || runtime().block_on(panics);
    catch_unwind(AssertUnwindSafe(poll)).expect_err("the poll panics");
    log.expect(&[
        "spawn a from -",
        "poll a",
        "panicked a",
        "ended a panicked 1",
    ]);

    let mut lost = Box::pin(as_task(&root, "b", pending::<()>()));
    let poll = lost.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending());
    drop(lost);
    drop(as_task(&root, "c", ready(())));
    log.expect(&[
        "spawn b from -",
        "poll b",
        "lost b",
        "ended b dropped 1",
        "spawn c from -",
        "ended c dropped 0",
    ]);
}

/// What a destructor does is the task's doing, and comes before its end; the end comes even if it panics.
//= C138
//= C142
#[test]
fn destructors_run_as_the_task_and_before_its_end() {
    struct Cancels(Ctx, bool);
    impl Drop for Cancels {
        fn drop(&mut self) {
            drop(self.0.spawn("a", |_| ready(())));
            assert!(!self.1, "on purpose");
        }
    }
    for panics in [false, true] {
        let log = Arc::new(Log::default());
        let (root, _guard) = Ctx::root().observer(Arc::<Log>::clone(&log)).build();
        let runtime = runtime();
        let entered = runtime.enter();
        let last = Cancels(root.clone(), panics);
        let task = as_task(&root, "main", async move {
            let _last = last;
            pending::<()>().await;
        });
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        assert_eq!(dropped.is_err(), panics);
        assert_eq!(current_task(), None);
        let lines = log.take();
        assert_eq!(lines.first().map(String::as_str), Some("spawn main from -"));
        let place = |what: &str| lines.iter().position(|line| line == what);
        let spawned = place("spawn a from main").expect("the task's doing");
        assert!(place("ended main dropped 0") > Some(spawned), "{lines:?}");
        drop(entered);
    }
}

//= C143
#[test]
fn without_an_observer_the_waker_is_the_runtimes() {
    let (root, _guard) = Ctx::root().build();
    let is_plain = async {
        assert_eq!(current_task(), None);
        std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().will_wake(Waker::noop()))).await
    };
    let mut task = pin!(as_task(&root, "main", is_plain));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(task.as_mut().poll(&mut cx), std::task::Poll::Ready(true));
}
