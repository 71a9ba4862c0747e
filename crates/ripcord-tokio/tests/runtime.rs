//! Trees on a tokio runtime: its clock and timer, its sweeper, and what is left of them
//! when it is gone.

mod runtimes;

use ripcord_core::{Ctx, Kind};
use ripcord_test::{ManualTask, WakeCounter, WakerEvent};
use runtimes::{UNIT, current_thread, multi_thread};
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Runs a test on a paused clock, and tells whether the clock stopped at five units: it
/// does if a timer is armed for then. (Timer wheels add stops of their own.)
fn stops_at_five<F: Future>(test: impl FnOnce() -> F) -> bool {
    let (tell, told) = mpsc::channel();
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.on_thread_unpark(move || {
        let _ = tell.send(Instant::now());
    });
    let runtime = builder.build().expect("a runtime");
    let start = runtime.block_on(async {
        let start = Instant::now();
        test().await;
        start
    });
    told.try_iter()
        .any(|at| at.duration_since(start) == 5 * UNIT)
}

//= C31
#[test]
fn a_deadline_arms_no_timer_before_somebody_waits() {
    let idle = stops_at_five(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let request = root.with_timeout(5 * UNIT);
        assert!(!request.is_done());
        sleep(10 * UNIT).await;
        assert!(request.is_done());
    });
    assert!(!idle);

    let waited = stops_at_five(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let request = root.with_timeout(5 * UNIT);
        let mut waiter = ManualTask::new(request.child().0.done());
        assert!(waiter.poll().is_ready(), "its guard is gone");
        let (child, _guard) = request.child();
        let mut waiter = ManualTask::new(child.done());
        assert!(waiter.poll().is_pending());
        sleep(10 * UNIT).await;
        assert!(waiter.is_woken());
    });
    assert!(waited);
}

//= C31
#[test]
fn a_timer_is_disarmed_with_its_owner() {
    let dropped = stops_at_five(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let request = root.with_timeout(5 * UNIT);
        let mut waiter = ManualTask::new(request.done());
        assert!(waiter.poll().is_pending());
        drop((request, waiter));
        sleep(10 * UNIT).await;
    });
    assert!(!dropped);

    let cancelled = stops_at_five(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let request = root.with_timeout(5 * UNIT);
        let mut waiter = ManualTask::new(request.done());
        assert!(waiter.poll().is_pending());
        guard.cancel(Kind::PeerGone);
        assert!(waiter.is_woken());
        sleep(10 * UNIT).await;
    });
    assert!(!cancelled);
}

//= C32
#[test]
fn a_thousand_waiters_share_what_wakes_them() {
    let did_stop = stops_at_five(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let request = root.with_timeout(5 * UNIT);
        let contexts: Vec<_> = (0..1_000).map(|_| request.child()).collect();
        let mut waiters: Vec<_> = contexts
            .iter()
            .map(|(ctx, _)| ManualTask::new(ctx.done()))
            .collect();
        for waiter in &mut waiters {
            assert!(waiter.poll().is_pending());
        }
        drop(waiters.remove(0));
        drop(waiters.pop());
        sleep(10 * UNIT).await;
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
    });
    assert!(did_stop);
}

//= C33
#[tokio::test(start_paused = true)]
async fn auto_advance_ends_a_context_at_its_deadline() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let outer = root.with_timeout(10 * UNIT);
    let inner = outer.named("inner").with_timeout(3 * UNIT);
    let error = inner.run(pending::<()>()).await.unwrap_err();
    assert_eq!(start.elapsed(), 3 * UNIT);
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert_eq!(error.cause().name(), Some("inner"));
    assert_eq!(error.cause().exceeded_by(), Some(Duration::ZERO));
    assert!(!outer.is_done());
    outer.done().await;
    assert_eq!(start.elapsed(), 10 * UNIT);
}

//= C33
#[tokio::test(start_paused = true)]
async fn while_time_stands_still_nothing_expires() {
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(MILLI);
    let mut waiter = ManualTask::new(request.done());
    assert!(waiter.poll().is_pending());
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    advance(MILLI.saturating_sub(Duration::from_nanos(1))).await;
    assert!(!request.is_done() && !waiter.is_woken());
    advance(Duration::from_nanos(1)).await;
    assert!(request.is_done());
    // The timer may be a millisecond behind, the flag is not.
    advance(MILLI).await;
    assert!(waiter.is_woken());
}

//= C33
#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_within_a_millisecond_and_never_early() {
    let (root, _guard) = ripcord_tokio::root().build();
    for micros in [
        1,
        999,
        1_000,
        1_500,
        10_000,
        123_456,
        1_000_000,
        7_200_000_000,
    ] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        let cause = root.with_timeout(timeout).done().await;
        let late = start.elapsed().checked_sub(timeout).expect("never early");
        assert!(
            late < 2 * MILLI,
            "{timeout:?} ended after {:?}",
            start.elapsed()
        );
        assert_eq!(cause.exceeded_by(), Some(late));
    }
}

//= C33
#[tokio::test(start_paused = true)]
async fn the_paused_clock_counts_on_every_thread() {
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(3 * SECOND);
    advance(2 * SECOND).await;
    let seen = thread::spawn({
        let request = request.clone();
        move || (request.remaining(), request.is_done(), request.clock_now())
    });
    let now = Instant::now().into_std();
    assert_eq!(seen.join().unwrap(), (Some(SECOND), false, now));
    advance(SECOND).await;
    let seen = thread::spawn(move || request.is_done());
    assert!(seen.join().unwrap());
}

//= C34
#[tokio::test(start_paused = true)]
async fn the_background_keeps_the_standard_clock() {
    let (root, _guard) = ripcord_tokio::root().build();
    let mine = root.with_timeout(3600 * SECOND);
    let other = Ctx::background().with_timeout(3600 * SECOND);
    advance(3601 * SECOND).await;
    assert!(mine.is_done());
    assert!(!other.is_done());
    assert_eq!(mine.clock_now(), Instant::now().into_std());
    assert_ne!(other.clock_now(), Instant::now().into_std());
}

//= C35
#[test]
fn a_runtime_without_time_leaves_deadlines_to_the_timer_thread() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (root, _guard) = ripcord_tokio::root().build();
        for _ in 0..2 {
            let request = root.with_timeout(MILLI);
            let error = request.run(pending::<()>()).await.unwrap_err();
            let due = error.cause().due().unwrap();
            assert!(error.is_deadline() && due <= root.clock_now());
        }
    });
}

//= C35
//= C117
#[test]
fn an_armed_deadline_survives_its_runtime() {
    for runtime in [current_thread(), multi_thread()] {
        let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
        let request = root.with_timeout(30 * MILLI);
        let (child, _child_guard) = request.child();
        let mut waiter = ManualTask::new(child.done());
        assert!(waiter.poll().is_pending());
        // The runtime wakes all its timers when it goes: that is no expiry.
        drop(runtime);
        let cause = child.wait();
        assert_eq!(cause.kind(), Kind::DeadlineExceeded);
        assert!(cause.exceeded_by().is_some() && cause.due().unwrap() <= root.clock_now());
        assert!(waiter.poll().is_ready());
    }
}

//= C35
//= C117
#[test]
fn a_deadline_set_after_the_runtime_is_gone_fires() {
    for runtime in [current_thread(), multi_thread()] {
        let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
        drop(runtime);
        for _ in 0..2 {
            assert_eq!(
                root.with_timeout(MILLI).wait().kind(),
                Kind::DeadlineExceeded
            );
            assert_eq!(root.sleep(MILLI), Ok(()));
        }
    }
}

//= C41
#[tokio::test(start_paused = true)]
async fn done_outlives_its_context_and_can_be_polled_again() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let mut done = root.with_timeout(UNIT).done();
    let cause = (&mut done).await;
    assert_eq!(
        (cause.kind(), start.elapsed()),
        (Kind::DeadlineExceeded, UNIT)
    );
    assert_eq!((&mut done).await, cause);
}

/// Registers `count` waiters whose wakes are counted and sent.
fn waiters(ctx: &Ctx, count: usize) -> (Vec<ManualTask<ripcord_core::Done>>, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel();
    let tasks = (0..count).map(|_| {
        let tell = tell.clone();
        let counter = WakeCounter::reacting(move |event| {
            if event == WakerEvent::Wake {
                let _ = tell.send(());
            }
        });
        let mut task = ManualTask::with_counter(ctx.done(), counter);
        assert!(task.poll().is_pending());
        task
    });
    (tasks.collect(), told)
}

//= C47
#[tokio::test]
async fn the_rest_of_a_large_sweep_is_a_task_of_the_runtime() {
    let (root, guard) = ripcord_tokio::root().build();
    let (tasks, _told) = waiters(&root, 1_000);
    let hooks = Arc::new(AtomicUsize::new(0));
    let _hooks: Vec<_> = (0..1_000)
        .map(|_| {
            let hooks = Arc::clone(&hooks);
            root.on_done(move |_| {
                hooks.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    let woken = || tasks.iter().filter(|task| task.is_woken()).count();
    assert!(guard.cancel(Kind::Shutdown));
    assert!(woken() <= 32, "{} were woken by the canceller", woken());
    let mut turns = 0;
    while woken() < 1_000 || hooks.load(Ordering::Relaxed) < 1_000 {
        tokio::task::yield_now().await;
        turns += 1;
        assert!(turns < 1_000, "{} of 1000 woken", woken());
    }
    assert!(turns > 10, "the sweep does not hold up the runtime");
    assert!(tasks.iter().all(|task| task.wakes() == 1));
}

//= C117
#[test]
fn a_cancel_after_the_runtime_is_gone_wakes_all() {
    for runtime in [current_thread(), multi_thread()] {
        let (root, guard) = ripcord_tokio::root_on(runtime.handle()).build();
        let (tasks, told) = waiters(&root, 200);
        let blocked = thread::spawn({
            let root = root.clone();
            move || root.wait()
        });
        drop(runtime);
        assert!(guard.cancel(Kind::Shutdown));
        assert!(root.is_done());
        // Through the core's own sweeper thread.
        assert_eq!(told.iter().take(200).count(), 200);
        assert_eq!(blocked.join().unwrap().kind(), Kind::Shutdown);
        assert!(tasks.iter().all(|task| task.wakes() == 1));
    }
}

//= C117
#[test]
fn a_cancel_works_from_a_thread_without_a_runtime() {
    let runtime = multi_thread();
    let (root, guard) = ripcord_tokio::root_on(runtime.handle()).build();
    let waiting = runtime.spawn({
        let root = root.clone();
        async move { root.done().await }
    });
    let caller = thread::spawn(move || {
        assert!(Handle::try_current().is_err());
        guard.cancel(Kind::PeerGone)
    });
    assert!(caller.join().unwrap());
    let cause = runtime.block_on(waiting).unwrap();
    assert_eq!(cause.kind(), Kind::PeerGone);
}

//= C117
#[test]
fn a_cancel_works_from_inside_block_on() {
    for runtime in [current_thread(), multi_thread()] {
        let (root, guard) = ripcord_tokio::root_on(runtime.handle()).build();
        let (tasks, told) = waiters(&root, 200);
        runtime.block_on(async {
            assert!(guard.cancel(Kind::PeerGone));
            assert!(root.is_done());
            let _ = root.done().await;
        });
        drop(runtime);
        assert_eq!(told.iter().take(200).count(), 200);
        assert!(tasks.iter().all(|task| task.wakes() == 1));
    }
}

//= C35
#[tokio::test(start_paused = true)]
async fn a_task_without_budget_arms_a_timer_all_the_same() {
    // To a task whose budget is used up, a timer of tokio's says "not yet, ask again at
    // once": as an alarm that would be taken for a runtime that is gone.
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    while tokio::task::coop::has_budget_remaining() {
        let _ = ManualTask::new(tokio::task::coop::consume_budget()).poll();
    }
    let request = root.with_timeout(UNIT);
    let mut waiter = ManualTask::new(request.done());
    assert!(waiter.poll().is_pending());
    request.done().await;
    assert!(waiter.is_woken());
    assert_eq!(start.elapsed(), UNIT);
}
