//! What a failure, a win and a full scope mean: policies, limits, `gather`, `first_ok`.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod runtimes;

use ripcord_core::{Cancelled, Cause, Ctx, Kind};
use ripcord_test::{Census, ManualTask};
use ripcord_tokio::{
    FailureKind, PanicPolicy, Policy, Scope, SpawnError, first_ok, gather, live_tasks, scope,
};
use runtimes::{UNIT, on_both};
use std::borrow::Cow;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::{Barrier, Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

#[derive(Debug, PartialEq)]
enum Failed {
    Cancelled(Kind),
    Disk(u32),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<Cancelled> for Failed {
    fn from(error: Cancelled) -> Self {
        Self::Cancelled(error.kind())
    }
}

async fn panic_of<F: Future + Send + 'static>(run: F) -> &'static str {
    let joined = tokio::spawn(async move { drop(run.await) }).await;
    let payload = joined.expect_err("it panics").into_panic();
    payload
        .downcast_ref::<&str>()
        .copied()
        .unwrap_or("(not a text)")
}

fn panics<T>(text: &'static str) -> T {
    std::panic::panic_any(text)
}

#[test]
fn collect_all_runs_all_to_their_end() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ran = Arc::new(AtomicUsize::new(0));
        let ended = scope(&root, async |s: Scope<Failed>| {
            let (go, told) = oneshot::channel();
            let _bad = s.spawn("bad", |_| async move {
                go.send(()).unwrap();
                Err::<(), _>(Failed::Disk(1))
            })?;
            let later = Arc::clone(&ran);
            let _good = s.spawn("good", |ctx| async move {
                told.await.unwrap();
                yield_now().await;
                assert!(!ctx.is_done());
                later.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })?;
            let bad = s.spawn("too", |_| async { Err::<(), _>(Failed::Disk(2)) })?;
            let gone = bad.await.unwrap_err();
            assert_eq!(gone.to_string(), "task `too` failed");
            assert!(gone.into_failure().is_none(), "the scope has it");
            Ok(())
        });
        let error = ended.policy(Policy::CollectAll).await.unwrap_err();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        let mut numbers: Vec<_> = error
            .into_failures()
            .into_iter()
            .map(|failure| match failure.kind {
                FailureKind::Error(Failed::Disk(number)) => number,
                _ => panic!("{failure:?}"),
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    });
}

#[test]
fn under_first_ok_a_success_cancels_the_others_and_hides_their_failures() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let ended = scope(&root, async |s: Scope<Failed>| {
            let (go, told) = oneshot::channel();
            let _bad = s.spawn("bad", |_| async move {
                go.send(()).unwrap();
                Err::<(), _>(Failed::Disk(1))
            })?;
            for _ in 0..3 {
                let probe = census.enter("loser");
                let _loser = s.spawn("loser", |ctx| async move {
                    let _probe = probe;
                    let cause = ctx.done().await;
                    assert_eq!(cause.message(), Some("task `winner` was first"));
                    Err::<(), _>(Cancelled::new(cause).into())
                })?;
            }
            let _winner = s.spawn("winner", |ctx| async move {
                told.await.unwrap();
                yield_now().await;
                assert!(!ctx.is_done(), "a failure decides nothing");
                Ok(())
            })?;
            Ok(8)
        });
        assert_eq!(ended.policy(Policy::FirstOk).await.unwrap(), 8);
        census.assert_empty();
    });
}

#[tokio::test(start_paused = true)]
async fn under_first_ok_a_deaf_loser_does_not_take_the_win_away() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let _deaf = s.spawn("deaf", |_| pending::<Result<(), _>>())?;
        let _winner = s.spawn("winner", |_| async { Ok(()) })?;
        Ok(8)
    });
    assert_eq!(ended.policy(Policy::FirstOk).grace(UNIT).await.unwrap(), 8);
    assert_eq!(start.elapsed(), UNIT);
}

#[test]
fn under_first_ok_the_scope_fails_only_if_all_do() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Failed>| {
            for number in 1..=3 {
                let _bad = s.spawn(
                    "bad",
                    move |_| async move { Err::<(), _>(Failed::Disk(number)) },
                )?;
            }
            Ok(())
        });
        let error = ended.policy(Policy::FirstOk).await.unwrap_err();
        assert_eq!(error.others().len(), 2);

        // The body's own failure counts, winner or not.
        let ended = scope(&root, async |s: Scope<Failed>| {
            let winner = s.spawn("winner", |_| async { Ok(()) })?;
            winner.await.unwrap();
            Err::<(), _>(Failed::Disk(7))
        });
        let error = ended.policy(Policy::FirstOk).await.unwrap_err();
        assert_eq!(error.into_error(), Some(Failed::Disk(7)));
    });
}

#[test]
fn under_supervise_failures_stay_with_the_handles() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Failed>| {
            let bad = s.spawn("bad", |_| async { Err::<(), _>(Failed::Disk(1)) })?;
            let gone = bad.await.unwrap_err();
            assert_eq!(gone.to_string(), "task `bad` failed");
            let failure = gone.into_failure().unwrap();
            assert!(matches!(failure, FailureKind::Error(Failed::Disk(1))));

            let panicked = s.spawn("panicked", |_| async { panics::<Result<(), _>>("kept") })?;
            let gone = panicked.await.unwrap_err();
            assert_eq!(gone.to_string(), "task `panicked` panicked: kept");
            assert!(matches!(gone.into_failure(), Some(FailureKind::Panic(_))));

            let good = s.spawn("good", |ctx| async move { Ok(ctx.is_done()) })?;
            assert!(!good.await.unwrap());
            Ok(3)
        });
        assert_eq!(ended.policy(Policy::Supervise).await.unwrap(), 3);

        let ended = scope(&root, async |s: Scope<Failed>| {
            let _task = s.spawn("waits", |ctx| async move {
                ctx.done().await;
                Ok(())
            })?;
            Err::<(), _>(Failed::Disk(4))
        });
        let error = ended.policy(Policy::Supervise).await.unwrap_err();
        assert_eq!(
            error.into_error(),
            Some(Failed::Disk(4)),
            "the body's own counts"
        );
    });
}

#[test]
fn a_panic_can_be_a_failure_like_an_error() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Failed>| {
            let first = s.spawn("first", |_| async { Err::<(), _>(Failed::Disk(1)) })?;
            assert!(first.await.is_err());
            let task = s.spawn("bad", |_| async { panics::<Result<(), _>>("it broke") });
            drop(task);
            Ok(())
        });
        let ended = ended
            .panics(PanicPolicy::AsError)
            .policy(Policy::CollectAll);
        let error = ended.await.unwrap_err();
        assert_eq!(
            error.first().map(|first| &*first.task),
            Some("first"),
            "in their order"
        );
        assert_eq!(
            error.others()[0].to_string(),
            "task `bad` panicked: it broke"
        );

        let ended = scope(&root, async |s: Scope<Failed>| {
            let _bad = s.spawn("bad", |_| async { panics::<Result<(), _>>("it broke") })?;
            Ok(())
        });
        let error = ended.panics(PanicPolicy::AsError).await.unwrap_err();
        assert_eq!(error.to_string(), "task `bad` panicked: it broke");
        assert!(error.into_error().is_none());
    });
}

//= C90
#[test]
fn a_panic_of_the_body_is_never_an_error() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let text = panic_of(async move {
            let ended = scope(&root, async |s: Scope<Failed>| {
                let bad = s.spawn("bad", |_| async { panics::<Result<(), _>>("the task") })?;
                assert!(bad.await.is_err());
                panics::<()>("the body");
                Ok(())
            });
            ended.panics(PanicPolicy::AsError).await
        });
        assert_eq!(text.await, "the body");
    });
}

//= C91
#[test]
fn a_panic_is_resumed_under_every_policy_but_supervise() {
    on_both(|| async {
        for policy in [Policy::FailFast, Policy::CollectAll, Policy::FirstOk] {
            let (root, _guard) = ripcord_tokio::root().build();
            let text = panic_of(async move {
                let ended = scope(&root, async |s: Scope<Failed>| {
                    let error = s.spawn("error", |_| async { Err::<(), _>(Failed::Disk(1)) })?;
                    if policy != Policy::FailFast {
                        assert!(error.await.is_err());
                    }
                    let _bad = s.spawn("bad", |_| async { panics::<Result<(), _>>("it broke") })?;
                    let _good = s.spawn("good", |_| async { Ok(()) })?;
                    Ok(())
                });
                ended.policy(policy).await
            });
            assert_eq!(text.await, "it broke", "{policy:?}");
        }
    });
}

//= C92
#[test]
fn a_limit_bounds_how_many_tasks_run_at_once() {
    on_both(|| async {
        for limit in [1, 3] {
            let (root, _guard) = ripcord_tokio::root().build();
            let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let ended = scope(&root, async |s: Scope<Cancelled>| {
                for _ in 0..20 {
                    let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                    let _task = s.spawn("worker", |_| async move {
                        let _present = Present::new(running, &most);
                        for _ in 0..3 {
                            yield_now().await;
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            });
            ended.limit(limit).await.unwrap();
            assert_eq!(most.load(Ordering::Relaxed), limit);
        }
    });
}

/// Counts those who are there, destructors included.
struct Present(Arc<AtomicUsize>);

impl Present {
    fn new(running: Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        let now = running.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(now, Ordering::Relaxed);
        Self(running)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        for _ in 0..50 {
            std::thread::yield_now();
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Holds its presence outside of a state machine, until it is dropped.
struct Holds(
    #[expect(dead_code, reason = "dropped, not read")] Present,
    usize,
);

impl Future for Holds {
    type Output = Result<(), Cancelled>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        self.1 += 1;
        cx.waker().wake_by_ref();
        if self.1 < 3 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

//= C92
#[test]
fn a_place_is_free_when_its_future_was_dropped() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            for _ in 0..10 {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                let _task = s.spawn("worker", |_| {
                    let mut held = None;
                    std::future::poll_fn(move |cx| {
                        let work = held.get_or_insert_with(|| {
                            Holds(Present::new(Arc::clone(&running), &most), 0)
                        });
                        Pin::new(work).poll(cx)
                    })
                })?;
            }
            Ok(())
        });
        ended.limit(2).await.unwrap();
        assert_eq!(
            (
                running.load(Ordering::Relaxed),
                most.load(Ordering::Relaxed)
            ),
            (0, 2)
        );
    });
}

//= C92
#[test]
fn a_task_that_waits_for_a_place_is_refused_when_the_scope_is_cancelled() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let error = scope(&root, async |s: Scope<Cancelled>| {
            let (started, is_started) = oneshot::channel();
            let _first = s.spawn("first", |ctx| async move {
                started.send(()).unwrap();
                ctx.done().await;
                Ok(())
            })?;
            is_started.await.unwrap();
            let probe = census.enter("second");
            let second = s.spawn("second", |_| async move {
                let _probe = probe;
                panics::<Result<(), _>>("polled")
            })?;
            yield_now().await;
            guard.cancel(Kind::PeerGone);
            let gone = second.await.unwrap_err();
            assert_eq!(
                gone.not_started().map(Cancelled::kind),
                Some(Kind::PeerGone)
            );
            assert!(
                gone.to_string()
                    .starts_with("task `second` was not started: peer gone")
            );
            assert!(!gone.is_aborted() && gone.name() == "second");
            census.assert_empty();
            Ok(())
        });
        // Work that was asked for and never done is no success.
        let error = error.limit(1).await.unwrap_err();
        assert_eq!(error.unfinished(), ["second"]);
        assert_eq!(error.cause().map(Cause::kind), Some(Kind::PeerGone));
        assert!(error.first().is_none() && error.stragglers().is_empty());
    });
}

//= C92
#[test]
fn a_failure_keeps_out_those_that_wait_for_its_place() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Failed>| {
            let (go, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (told, begins) = (Arc::clone(&go), Arc::clone(&begun));
            let _bad = s.spawn("bad", |_| async move {
                begins.notify_one();
                told.notified().await;
                Err::<(), _>(Failed::Disk(1))
            })?;
            // It has the place: on two workers those that come after it could be sooner.
            begun.notified().await;
            for _ in 0..3 {
                let _next = s.spawn("next", |_| async { panics::<Result<(), _>>("polled") })?;
            }
            for _ in 0..3 {
                yield_now().await;
            }
            go.notify_one();
            Ok(())
        });
        let error = ended.limit(1).await.unwrap_err();
        assert_eq!(error.unfinished(), ["next"; 3]);
        assert_eq!(error.into_error(), Some(Failed::Disk(1)));
    });
}

//= C92
#[test]
fn try_spawn_refuses_at_once_when_all_places_are_taken() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let barrier = Arc::new(Barrier::new(3));
            let spawn = |name: &'static str| {
                let (barrier, probe) = (Arc::clone(&barrier), census.enter(name));
                s.try_spawn(name, |_| async move {
                    let _probe = probe;
                    barrier.wait().await;
                    Ok(())
                })
            };
            let one = spawn("one").unwrap();
            let two = spawn("two").unwrap();
            let full = spawn("three").unwrap_err();
            assert_eq!(full, SpawnError::Full(2));
            assert_eq!(full.to_string(), "all 2 places of the scope are taken");
            assert_eq!(census.alive(), ["one", "two"]);
            barrier.wait().await;
            one.await.unwrap();
            two.await.unwrap();
            // A handle is told after the place was given back.
            let _three = spawn("three").unwrap();
            let _four = spawn("four").unwrap();
            barrier.wait().await;
            Ok(())
        });
        ended.limit(2).await.unwrap();

        // Without a limit there is always a place; once cancelled, that is what is said.
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let task = s.try_spawn("free", |_| async { Ok(4) }).unwrap();
            Ok(task.await.unwrap())
        });
        assert_eq!(ended.await.unwrap(), 4);
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let _holds = s.try_spawn("holds", |ctx| async move {
                ctx.done().await;
                Ok(())
            });
            s.cancel(Kind::PeerGone);
            let tried = s.try_spawn("late", |_| async { Ok(()) });
            assert!(
                matches!(tried, Err(SpawnError::Over(_))),
                "not a reason to try again"
            );
            Ok(())
        });
        ended.limit(1).await.unwrap();
    });
}

//= C99
#[tokio::test(start_paused = true)]
async fn gather_returns_what_has_finished_by_the_deadline() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.named("request").with_timeout(4 * UNIT);
    let census = Census::new();
    let found = gather(&request, UNIT, |g| {
        for at in [2, 1, 9] {
            let probe = census.enter("task");
            g.spawn(format!("after {at}"), move |_| async move {
                let _probe = probe;
                sleep(at * UNIT).await;
                Ok::<_, Failed>(at)
            });
        }
        g.spawn("bad", |_| async { Err(Failed::Disk(1)) });
        g.spawn("tidy", |ctx| async move {
            ctx.done().await;
            Err(Failed::Disk(2))
        });
    });
    let found = found.await;
    assert_eq!(start.elapsed(), 5 * UNIT);
    census.assert_empty();
    assert_eq!(found.values().collect::<Vec<_>>(), [&2, &1]);
    assert_eq!(found.unfinished(), ["after 9"]);
    let errors: Vec<_> = found.errors().collect();
    assert_eq!(
        errors,
        [("bad", &Failed::Disk(1)), ("tidy", &Failed::Disk(2))]
    );
    assert_eq!(found.cause().and_then(Cause::name), Some("request"));
    assert!(!found.is_complete());
    let rows: Vec<_> = found
        .into_results()
        .map(|(name, result)| (name, result.is_some()))
        .collect();
    assert_eq!(rows[2], (Cow::Borrowed("after 9"), false));
    assert_eq!(rows.len(), 5);
}

//= C99
#[test]
fn gather_is_complete_when_all_finish() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let found = gather(&root, UNIT, |g| {
            for number in 0..5 {
                g.spawn("task", move |_| async move { Ok::<_, Failed>(number) });
            }
        });
        let found = found.await;
        assert!(found.is_complete() && found.cause().is_none());
        assert_eq!(found.values().sum::<i32>(), 10);

        let none = gather(&root, UNIT, |_: &ripcord_tokio::Gather<(), Failed>| {}).await;
        assert!(none.is_complete() && none.unfinished().is_empty());

        guard.cancel(Kind::Shutdown);
        let late = gather(&root, UNIT, |g| {
            g.spawn("late", |_| async { Ok::<_, Failed>(()) });
        });
        let late = late.await;
        assert_eq!(late.unfinished(), ["late"]);
        assert_eq!(late.cause().map(Cause::kind), Some(Kind::Shutdown));
    });
}

type Racer = Pin<Box<dyn Future<Output = Result<u32, Failed>> + Send>>;

type Maker = fn(Ctx) -> Racer;

fn racer(future: impl Future<Output = Result<u32, Failed>> + Send + 'static) -> Racer {
    Box::pin(future)
}

#[tokio::test(start_paused = true)]
async fn first_ok_returns_the_first_value_and_joins_the_losers() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let census = Census::new();
    let racers = [1_u32, 2, 3, 4].map(|number| {
        let probe = census.enter("racer");
        let make = move |_| {
            racer(async move {
                let _probe = probe;
                sleep(number * UNIT).await;
                match number {
                    1 => Err(Failed::Disk(1)),
                    2 => panics("a loser may"),
                    number => Ok(number),
                }
            })
        };
        (Cow::Borrowed("loses or wins"), make)
    });
    let value = first_ok(&root, racers).await;
    assert_eq!(value.unwrap(), 3);
    assert_eq!(start.elapsed(), 3 * UNIT, "no grace for the losers");
    census.assert_empty();
    assert!(!live_tasks().iter().any(|task| task.name == "loses or wins"));
}

#[test]
fn first_ok_without_a_winner_returns_all_failures() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let racers = [1, 2].map(|number| {
            let make = move |_| racer(async move { Err(Failed::Disk(number)) });
            (Cow::Borrowed("racer"), make)
        });
        let error = first_ok(&root, racers).await.unwrap_err();
        assert_eq!(error.into_failures().len(), 2);

        let none: [(Cow<'static, str>, Maker); 0] = [];
        let error = first_ok(&root, none).await.unwrap_err();
        assert!(error.first().is_none() && error.cause().is_none());

        let stuck = [(Cow::Borrowed("stuck"), |_| racer(pending()))];
        let racing = first_ok(&root, stuck);
        let (error, ()) = tokio::join!(racing, async {
            yield_now().await;
            guard.cancel(Kind::PeerGone);
        });
        let error = error.unwrap_err();
        assert_eq!(error.cause().map(Cause::kind), Some(Kind::PeerGone));
        assert_eq!(error.stragglers().len(), 1);
        assert!(error.stragglers()[0].stack.is_none(), "nobody asked");
    });
}

#[tokio::test]
async fn first_ok_drops_a_second_value_in_peace() {
    struct Loud(Arc<Mutex<Vec<&'static str>>>, &'static str);
    impl Drop for Loud {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }
    let (root, _guard) = ripcord_tokio::root().build();
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let racers = ["one", "two"].map(|name| {
        let loud = Loud(Arc::clone(&dropped), name);
        (Cow::Borrowed(name), move |_| async move {
            Ok::<_, Failed>(loud)
        })
    });
    let value = first_ok(&root, racers).await.unwrap();
    assert_eq!(value.1, "one");
    assert_eq!(*dropped.lock().unwrap(), ["two"]);
}

#[tokio::test]
async fn a_dropped_gather_aborts_its_tasks() {
    let (root, _guard) = ripcord_tokio::root().build();
    let census = Census::new();
    let probe = census.enter("task");
    let gathering = gather(&root, UNIT, |g| {
        g.spawn("task", |_| async move {
            let _probe = probe;
            pending::<Result<(), Failed>>().await
        });
    });
    let mut task = ManualTask::new(gathering);
    assert!(task.poll().is_pending());
    yield_now().await;
    drop(task);
    yield_now().await;
    census.assert_empty();
}
