//! Bad input: absurd limits, names, timeouts and graces, futures that are leaked, and
//! calls from places where nothing should be called.

use ripcord_core::{Cancelled, Ctx, Kind};
use ripcord_test::{Census, ManualTask};
use ripcord_tokio::{CtxExt, PanicPolicy, Scope, gather, scope};
use std::future::{IntoFuture, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

type Ends = Result<(), Cancelled>;

//= C26
#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_is_over_at_once_and_starts_nothing() {
    let (root, _guard) = ripcord_tokio::root().build();
    let past = root.with_deadline(Instant::now().into_std().checked_sub(SECOND).unwrap());
    for ctx in [root.with_timeout(Duration::ZERO), past] {
        assert_eq!(
            ctx.cause().map(|cause| cause.kind()),
            Some(Kind::DeadlineExceeded)
        );
        let task = ctx.spawn("never", |_| async { panic!("polled") });
        assert!(task.await.unwrap_err().not_started().is_some());
        let ended = scope(&ctx, async |s: Scope<Cancelled>| s.ctx().check());
        assert!(ended.await.unwrap_err().into_error().unwrap().is_deadline());
    }
}

//= C110
#[tokio::test(start_paused = true)]
async fn deadlines_too_far_off_are_none_and_far_ones_are_kept() {
    let (root, guard) = ripcord_tokio::root().build();
    let never = root.with_timeout(Duration::MAX);
    assert!(never.deadline().is_none());
    let far = root.with_timeout(CENTURY);
    assert_eq!(far.remaining(), Some(CENTURY));
    let mut waiter = ManualTask::new(far.done());
    assert!(waiter.poll().is_pending());
    // Beyond the range of tokio's own timers, in steps that each let them fire.
    for _ in 0..1_000 {
        advance(CENTURY / 1_001).await;
    }
    assert!(!far.is_done() && !waiter.is_woken());
    guard.cancel(Kind::Shutdown);
    assert!(waiter.is_woken());
}

//= C110
#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_the_range_of_tokios_timers_still_fires() {
    let (root, _guard) = ripcord_tokio::root().build();
    let far = root.with_timeout(Duration::from_secs(4 * 365 * 24 * 3600));
    let start = Instant::now();
    let cause = far.done().await;
    assert_eq!(cause.kind(), Kind::DeadlineExceeded);
    let late = start
        .elapsed()
        .checked_sub(Duration::from_secs(4 * 365 * 24 * 3600));
    assert!(late.unwrap() < SECOND, "{late:?}");
}

//= C111
#[test]
fn a_wait_of_zero_does_not_block() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (root, guard) = ripcord_tokio::root_on(runtime.handle()).build();
    assert!(root.wait_timeout(Duration::ZERO).is_none());
    assert_eq!(root.sleep(Duration::ZERO), Ok(()));
    let waiting = thread::spawn({
        let root = root.clone();
        move || {
            (
                root.wait_timeout(Duration::MAX).is_some(),
                root.sleep(Duration::MAX).is_err(),
            )
        }
    });
    guard.cancel(Kind::PeerGone);
    assert_eq!(waiting.join().unwrap(), (true, true));
}

#[tokio::test(start_paused = true)]
async fn graces_without_end_and_without_length() {
    let start = Instant::now();
    for grace in [Duration::ZERO, Duration::from_nanos(1)] {
        let (root, guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let _deaf = s.spawn("deaf", |_| pending::<Ends>())?;
            guard.cancel("enough");
            Ok(())
        });
        assert_eq!(ended.grace(grace).await.unwrap_err().stragglers().len(), 1);
    }
    assert!(start.elapsed() <= Duration::from_millis(2));

    let (root, guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let slow = s.spawn("slow", |ctx| async move {
            ctx.done().await;
            tokio::time::sleep(CENTURY / 100).await;
            Ok(4)
        })?;
        guard.cancel("take your time");
        Ok(slow.await.unwrap())
    });
    assert_eq!(ended.grace(Duration::MAX).await.unwrap(), 4);
}

//= C92
#[tokio::test]
async fn absurd_limits() {
    for limit in [0, 1, usize::MAX] {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let mut sum = 0;
            for number in 0..3 {
                let task = s.spawn("task", move |_| async move { Ok(number) })?;
                sum += task.await.unwrap();
            }
            Ok(sum)
        });
        assert_eq!(ended.limit(limit).await.unwrap(), 3);
    }
}

//= C118
#[tokio::test]
async fn names_cannot_bring_control_sequences_into_reports() {
    const NAME: &str = "evil\n\x1b[2J\u{202e}\0";
    let is_clean = |text: &str| {
        !text
            .chars()
            .any(|char| char.is_control() || char == '\u{202e}')
    };
    let (root, guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<std::io::Error>| {
        let task = s.spawn(NAME, |_| pending::<std::io::Result<()>>()).unwrap();
        yield_now().await;
        guard.cancel("enough");
        drop(task);
        Err::<(), _>(std::io::Error::other("it broke"))
    });
    let error = ended.grace(Duration::ZERO).await.unwrap_err();
    assert!(is_clean(&error.to_string()), "{error}");
    assert!(
        error
            .to_string()
            .contains("`evil\\n\\u{1b}[2J\\u{202e}\\0`"),
        "{error}"
    );

    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn(NAME, |_| pending::<()>());
    assert!(is_clean(&task.info().unwrap().to_string()));
    task.abort();
    assert!(is_clean(&task.await.unwrap_err().to_string()));
    let ended = scope(&root, async |s: Scope<std::io::Error>| {
        let _bad = s
            .spawn(NAME, |_| async { std::panic::panic_any("\x1b[2J") })
            .map(drop::<ripcord_tokio::Task<(), _>>);
        let task = s
            .spawn(NAME, |_| async {
                Err::<(), _>(std::io::Error::other("it broke"))
            })
            .unwrap();
        let gone = task.await.unwrap_err();
        assert!(is_clean(&gone.to_string()) && is_clean(&format!("{gone:?}")));
        Ok(())
    });
    let error = ended.panics(PanicPolicy::AsError).await.unwrap_err();
    assert!(error.to_string().starts_with("task `evil\\n"), "{error}");

    guard.cancel("over");
    let late = gather(&root, SECOND, |g| {
        g.spawn(NAME, |_| pending::<Result<(), ()>>());
    })
    .await;
    assert_eq!(late.unfinished(), [NAME]);
    assert!(is_clean(&format!("{late:?}")));
}

#[tokio::test]
async fn names_may_be_empty_or_long() {
    let (root, _guard) = ripcord_tokio::root().build();
    let long = "x".repeat(1_000_000);
    for name in [String::new(), long] {
        let task = root.spawn(
            name.clone(),
            |ctx| async move { ctx.name().map(str::to_owned) },
        );
        assert_eq!(task.await.unwrap(), Some(name));
    }
}

#[tokio::test]
async fn a_leaked_scope_harms_nobody_else() {
    let (root, guard) = ripcord_tokio::root().build();
    let census = Census::new();
    let probe = census.enter("task");
    let running = scope(&root, async move |s: Scope<Cancelled>| {
        let _task = s.spawn("task", |ctx| async move {
            let _probe = probe;
            ctx.run(pending::<()>()).await
        })?;
        pending::<Ends>().await
    });
    let mut running = ManualTask::new(running.into_future());
    assert!(running.poll().is_pending());
    std::mem::forget(running);
    guard.cancel(Kind::Shutdown);
    yield_now().await;
    census.assert_empty();
}

#[tokio::test]
async fn a_leaked_handle_detaches_its_task() {
    let (root, _guard) = ripcord_tokio::root().build();
    let (tell, told) = tokio::sync::oneshot::channel();
    std::mem::forget(root.spawn("task", |_| async move { tell.send(1) }));
    assert_eq!(told.await, Ok(1));
}

//= C115
#[test]
fn contexts_work_from_the_destructor_of_a_thread_local() {
    struct Uses(Ctx, mpsc::Sender<(bool, bool)>);
    impl Drop for Uses {
        fn drop(&mut self) {
            let request = self.0.with_timeout(CENTURY);
            let (child, guard) = request.child();
            let mut waiter = ManualTask::new(child.done());
            let is_pending = waiter.poll().is_pending();
            guard.cancel("enough");
            let _ = self.1.send((is_pending, waiter.is_woken()));
        }
    }
    thread_local!(static USES: std::cell::RefCell<Option<Uses>> = const { std::cell::RefCell::new(None) });
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
    let (tell, told) = mpsc::channel();
    let ends = thread::spawn({
        let root = root.clone();
        move || {
            USES.with(|uses| *uses.borrow_mut() = Some(Uses(root.clone(), tell)));
            // tokio's own thread-local is made after it, and so is gone before it.
            assert!(root.clock_now() <= root.clock_now());
        }
    });
    ends.join().unwrap();
    assert_eq!(told.recv(), Ok((true, true)));
}

#[test]
fn a_scope_without_a_runtime_panics_and_leaves_nothing() {
    let census = Census::new();
    let (root, _guard) = Ctx::root().build();
    let probe = census.enter("task");
    let running = scope(&root, async move |s: Scope<Cancelled>| {
        let _task = s.spawn("homeless", |_| async move {
            let _probe = probe;
            Ok(())
        })?;
        Ok(())
    });
    let mut running = ManualTask::new(running.into_future());
    let payload = catch_unwind(AssertUnwindSafe(|| running.poll()))
        .map(drop)
        .unwrap_err();
    let text = payload.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains("no reactor running"), "{text}");
    census.assert_empty();
}

#[tokio::test]
async fn a_handle_of_a_task_panics_when_polled_again() {
    let (root, _guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let mut task = ManualTask::new(s.spawn("task", |_| async { Ok(1) })?);
        yield_now().await;
        assert!(matches!(task.poll(), Poll::Ready(Ok(1))));
        assert!(catch_unwind(AssertUnwindSafe(|| task.poll())).is_err());
        Ok(())
    });
    ended.await.unwrap();
}

/// The usual boxed errors want `Sync`, too.
#[test]
fn errors_that_hold_a_panic_go_into_boxed_errors() {
    fn is_boxable<E: Into<Box<dyn std::error::Error + Send + Sync>>>() {}
    is_boxable::<ripcord_tokio::JoinError>();
    is_boxable::<ripcord_tokio::ScopeError<std::io::Error>>();
    is_boxable::<ripcord_tokio::TaskGone<std::io::Error>>();
}

#[tokio::test]
async fn a_refused_spawn_keeps_its_name() {
    let (root, guard) = ripcord_tokio::root().build();
    guard.cancel("over");
    let refused = root.spawn("load-user", |_| async {});
    let text = refused.await.unwrap_err().to_string();
    assert!(
        text.starts_with("task `load-user` was not started: cancelled: over"),
        "{text}"
    );
    let refused = root.spawn_blocking("hash", |_| ());
    assert_eq!(refused.await.unwrap_err().name(), "hash");
}

//= C18
#[tokio::test]
async fn a_cancel_of_a_handle_says_where_it_was_called() {
    let (root, _guard) = ripcord_tokio::root().build();
    let task = root.spawn("told", |ctx| async move { ctx.done().await });
    assert!(task.cancel("enough"));
    let line = line!() - 1;
    let site = task.await.unwrap().site().unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
}

/// A thread that waits under the tree of a runtime that nobody drives.
//= C42, C111
#[test]
fn a_thread_waits_no_longer_than_its_deadline_where_nobody_drives_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
    let instant = std::time::Duration::from_millis(1);
    assert!(root.sleep(instant).is_ok());
    let cause = root.with_timeout(instant).wait();
    assert_eq!(cause.kind(), Kind::DeadlineExceeded);
}
