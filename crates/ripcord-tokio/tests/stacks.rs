//! Where overdue tasks wait: await stacks on demand. Every test asks for the line of this
//! file at which its task waits.

mod runtimes;

use ripcord_core::{CancelGuard, Ctx, Kind};
use ripcord_test::{ManualTask, TestClock};
use ripcord_tokio::{AwaitStack, CtxExt, JoinHandle, TaskInfo, inspect_overdue};
use runtimes::multi_thread;
use std::future::{Future, pending, poll_fn};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// All tasks of the process are asked: one test at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Aborts a task and waits for its end: the next test must not meet it.
async fn stop<T>(task: JoinHandle<T>) {
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_aborted()));
}

/// Spawns one task, lets it wait, cancels it, and asks where it waits.
async fn inspected<F>(make: impl FnOnce(Ctx) -> F) -> (TaskInfo, JoinHandle<()>, CancelGuard)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("inspected", make);
    for _ in 0..3 {
        yield_now().await;
    }
    guard.cancel(Kind::PeerGone);
    let id = task.info().expect("it waits").id;
    let overdue = inspect_overdue(SECOND).await;
    let info = overdue.into_iter().find(|info| info.id == id);
    (info.expect("it is overdue"), task, guard)
}

fn stack(info: &TaskInfo) -> AwaitStack {
    info.stack.clone().expect("it was polled")
}

#[track_caller]
fn check(info: &TaskInfo, line: u32, waits_for: &str) {
    let stack = stack(info);
    let site = stack.site().expect("a frame of this file");
    let file = site.file.as_deref().unwrap_or_default();
    assert!(file.ends_with("tests/stacks.rs"), "{stack:?}");
    assert_eq!(site.line, Some(line), "{stack:?}");
    let leaf = stack.waits_for().unwrap_or_default();
    assert!(
        leaf.contains(waits_for),
        "{leaf:?} is not `{waits_for}`: {stack:?}"
    );
    let text = info.to_string();
    assert!(
        text.contains(&format!(", waits at {file}:{line} in ")),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lock() {
    let _alone = alone().await;
    let lock = Arc::new(Mutex::new(()));
    let held = Arc::clone(&lock).lock_owned().await;
    let wanted = Arc::clone(&lock);
    let line = line!() + 2;
    let (info, task, _guard) = inspected(|_| async move {
        drop(wanted.lock().await);
    })
    .await;
    check(&info, line, "Mutex");
    // The extra poll has changed nothing: the task still gets the lock.
    drop(held);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_channel() {
    let _alone = alone().await;
    let (tell, mut told) = tokio::sync::mpsc::channel::<u32>(1);
    let line = line!() + 2;
    let (info, task, _guard) = inspected(|_| async move {
        assert_eq!(told.recv().await, Some(7));
    })
    .await;
    check(&info, line, "recv");
    tell.send(7).await.unwrap();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sleep() {
    let _alone = alone().await;
    let line = line!() + 2;
    let (info, task, _guard) = inspected(|_| async move {
        sleep(3600 * SECOND).await;
    })
    .await;
    check(&info, line, "Sleep");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_arms_of_a_select() {
    let _alone = alone().await;
    let (one, two) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let kept = [Arc::clone(&one), Arc::clone(&two)];
    let (info, task, _guard) = inspected(|_| async move {
        tokio::select! {
            () = one.notified() => {}
            () = two.notified() => {}
        }
    })
    .await;
    let stack = stack(&info);
    assert_eq!(stack.leaves().len(), 2, "{stack:?}");
    for leaf in stack.leaves() {
        assert!(leaf[0].function.contains("Notified"), "{leaf:?}");
        assert!(
            leaf.iter()
                .any(|frame| frame.function.contains("two_arms_of_a_select"))
        );
    }
    kept[1].notify_one();
    task.await.unwrap();
}

async fn inner(notify: &Notify) -> u32 {
    notify.notified().await;
    line!() - 1
}

async fn middle(notify: &Notify) {
    let _ = inner(notify).await;
}

#[tokio::test(start_paused = true)]
async fn nested_async_functions() {
    let _alone = alone().await;
    let notify = Arc::new(Notify::new());
    let line = inner(&{
        let notify = Notify::new();
        notify.notify_one();
        notify
    })
    .await;
    let wanted = Arc::clone(&notify);
    let (info, task, _guard) = inspected(|_| async move { middle(&wanted).await }).await;
    check(&info, line, "Notified");
    let stack = stack(&info);
    let functions: Vec<_> = stack.leaves()[0]
        .iter()
        .map(|frame| frame.function.as_str())
        .collect();
    let at = |part: &str| {
        functions
            .iter()
            .position(|function| function.contains(part))
    };
    let (inner, middle) = (at("::inner").unwrap(), at("::middle").unwrap());
    assert!(inner < middle, "innermost first: {functions:?}");
    assert!(
        !functions
            .iter()
            .any(|function| function.contains("{{closure}}")),
        "{functions:?}"
    );
    assert!(
        !functions
            .iter()
            .any(|function| function.contains("poll_recording")),
        "{functions:?}"
    );
    notify.notify_one();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_context_that_does_not_end() {
    let _alone = alone().await;
    let (other, _other_guard) = ripcord_tokio::root().build();
    let line = line!() + 2;
    let (info, task, _guard) = inspected(|_| async move {
        let _ = other.done().await;
    })
    .await;
    check(&info, line, "Done");
    stop(task).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_ready_in_its_extra_poll() {
    let _alone = alone().await;
    // It notices the cancel only when it is polled, and then it ends.
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("ends", |ctx| {
        poll_fn(move |_| {
            if ctx.is_done() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    });
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let start = Instant::now();
    let overdue = inspect_overdue(SECOND).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "an end is an answer");
    assert_eq!(overdue.len(), 1);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_while_others_are_asked() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let end = Arc::new(Notify::new());
    let may_end = Arc::clone(&end);
    let task = root.spawn("ends", |_| async move { may_end.notified().await });
    // Not polled once: its waker is not known yet.
    let fresh = root.spawn("fresh", |_| pending::<()>());
    guard.cancel(Kind::PeerGone);
    let start = Instant::now();
    let mut asking = ManualTask::new(inspect_overdue(SECOND));
    assert!(asking.poll().is_pending());
    end.notify_one();
    yield_now().await;
    yield_now().await;
    assert!(asking.is_woken());
    let Poll::Ready(overdue) = asking.poll() else {
        panic!("all have answered")
    };
    assert_eq!(overdue.len(), 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
    task.await.unwrap();
    stop(fresh).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_aborted_before_it_can_answer() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("aborted", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let mut asking = ManualTask::new(inspect_overdue(SECOND));
    assert!(asking.poll().is_pending());
    stop(task).await;
    assert!(asking.is_woken());
    let Poll::Ready(overdue) = asking.poll() else {
        panic!("an end is an answer")
    };
    assert!(overdue[0].stack.is_none());
}

#[tokio::test(start_paused = true)]
async fn two_who_ask_at_once_are_both_answered() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("asked", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let start = Instant::now();
    let mut one = ManualTask::new(inspect_overdue(SECOND));
    let mut two = ManualTask::new(inspect_overdue(SECOND));
    assert!(one.poll().is_pending() && two.poll().is_pending());
    yield_now().await;
    for asking in [&mut one, &mut two] {
        assert!(asking.is_woken());
        let Poll::Ready(overdue) = asking.poll() else {
            panic!("answered")
        };
        assert!(overdue[0].stack.is_some());
    }
    // And whoever asks again gets a new answer.
    let again = inspect_overdue(SECOND).await;
    assert!(again[0].stack.is_some() && again[0].polls > 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
    stop(task).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_asks_from_another_task_in_between_is_woken_there() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("asked", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let mut asking = Box::pin(inspect_overdue(SECOND));
    let first = ripcord_test::WakeCounter::new();
    let mut cx = std::task::Context::from_waker(&first.waker())
        .waker()
        .clone();
    assert!(
        asking
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&cx))
            .is_pending()
    );
    let second = ripcord_test::WakeCounter::new();
    cx = second.waker();
    assert!(
        asking
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&cx))
            .is_pending()
    );
    yield_now().await;
    assert_eq!(second.wakes(), 1);
    assert!(
        asking
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&cx))
            .is_ready()
    );
    stop(task).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_asks_about_itself_is_answered() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let start = Instant::now();
    let task = root.spawn("itself", |ctx| async move {
        ctx.done().await;
        inspect_overdue(SECOND).await
    });
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let overdue = task.await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert!(overdue[0].stack.is_some());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_to_ask_is_answered_at_once() {
    let _alone = alone().await;
    let start = Instant::now();
    assert!(inspect_overdue(Duration::MAX).await.is_empty());
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("asked", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    let hurried = inspect_overdue(Duration::ZERO).await;
    assert!(hurried[0].stack.is_none(), "there was no time to ask");
    let patient = inspect_overdue(Duration::MAX).await;
    assert!(patient[0].stack.is_some());
    assert_eq!(start.elapsed(), Duration::ZERO);
    stop(task).await;
}

#[test]
fn a_task_that_blocks_in_poll_is_said_to() {
    let runtime = multi_thread();
    runtime.block_on(async {
        let _alone = alone().await;
        let (root, guard) = ripcord_tokio::root().build();
        let (go, wait) = mpsc::channel::<()>();
        let (first, is_first) = oneshot::channel();
        let (second, is_second) = oneshot::channel();
        let turn = Arc::new(Notify::new());
        let next = Arc::clone(&turn);
        let task = root.spawn("blocks", |_| async move {
            first.send(()).unwrap();
            next.notified().await;
            second.send(()).unwrap();
            let _ = wait.recv();
            pending::<()>().await;
        });
        is_first.await.unwrap();
        guard.cancel(Kind::PeerGone);
        let waits = inspect_overdue(10 * SECOND).await;
        assert!(waits[0].to_string().contains(", waits at "), "{}", waits[0]);
        turn.notify_one();
        is_second.await.unwrap();
        // What it waited for before is not what it does now.
        let blocks = inspect_overdue(Duration::from_millis(5)).await;
        assert!(
            blocks[0].is_in_poll && blocks[0].stack.is_none(),
            "{:?}",
            blocks[0]
        );
        let text = blocks[0].to_string();
        assert!(
            text.contains(", has not looked, blocks its thread in poll "),
            "{text}"
        );
        drop(go);
        stop(task).await;
    });
}

#[test]
fn patience_counts_on_the_clock_of_the_tree() {
    let runtime = multi_thread();
    let _alone = runtime.block_on(alone());
    let clock = TestClock::new();
    let (root, guard) = clock.root().build();
    let (go, wait) = mpsc::channel::<()>();
    let (started, is_started) = oneshot::channel();
    let entered = runtime.enter();
    let task = root.spawn("blocks", |_| async move {
        started.send(()).unwrap();
        let _ = wait.recv();
    });
    drop(entered);
    runtime.block_on(is_started).unwrap();
    guard.cancel(Kind::PeerGone);
    let mut asking = ManualTask::new(inspect_overdue(3600 * SECOND));
    assert!(asking.poll().is_pending());
    clock.advance(3600 * SECOND);
    assert!(asking.is_woken() && asking.poll().is_ready());
    drop(go);
    runtime.block_on(task).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stack_outlives_its_task() {
    let _alone = alone().await;
    let (info, task, _guard) = inspected(|_| pending()).await;
    task.abort();
    assert!(task.await.is_err());
    let stack = stack(&info);
    assert!(stack.leaves().is_empty(), "`pending` keeps no waker");
    assert_eq!((stack.site(), stack.waits_for()), (None, None));
    assert_eq!(stack.to_string(), "unknown");
    assert_eq!(AwaitStack::default().to_string(), "unknown");
}
