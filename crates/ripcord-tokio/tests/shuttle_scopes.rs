//! Models of scopes: the book that a scope keeps, explored under random schedules.
//!
//! Tasks and locks are shuttle's (see `src/sync.rs`), time is a test clock that only a model
//! moves: where an end is missed, nobody is left to run, and shuttle reports a deadlock.
//!
//! ```text
//! RUSTFLAGS="--cfg ripcord_shuttle" cargo test -p ripcord-tokio --release --test shuttle_scopes
//! ```
//!
//! Each model runs 10 000 schedules (`RIPCORD_SHUTTLE_SCHEDULES`), half of them uniformly
//! random and half with few preemptions. The seed of a run is printed with `--show-output`,
//! and whenever it fails; `RIPCORD_SHUTTLE_SEED` runs it again.

#![cfg(ripcord_shuttle)]
#![allow(
    clippy::print_stdout,
    reason = "the seed of a run, in the output of its test"
)]

use ripcord_core::{CancelGuard, Cancelled, Cause, Ctx, Kind, Value};
use ripcord_test::TestClock;
use ripcord_tokio::{
    CtxExt, PanicPolicy, Policy, Scope, ScopeError, gather, inspect_overdue, scope,
};
use shuttle::future::{block_on, yield_now};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use std::collections::hash_map::RandomState;
use std::future::{IntoFuture, pending, poll_fn};
use std::hash::BuildHasher;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Barrier, oneshot};

const SECOND: Duration = Duration::from_secs(1);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Explores schedules of `model`, one model of the process at a time.
fn check(model: fn(&mut World)) {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.blocking_lock();
    let seed = setting("RIPCORD_SHUTTLE_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let schedules = setting("RIPCORD_SHUTTLE_SCHEDULES").unwrap_or(10_000);
    let half = usize::try_from(schedules).unwrap_or(usize::MAX).div_ceil(2);
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    println!("{name}: RIPCORD_SHUTTLE_SEED={seed}");
    let mut config = shuttle::Config::new();
    config.stack_size = 0x4_0000;
    config.silence_warnings = true;
    let run = move || {
        let mut world = World::new();
        model(&mut world);
        world.end();
    };
    shuttle::Runner::new(RandomScheduler::new_from_seed(seed, half), config.clone()).run(run);
    shuttle::Runner::new(PctScheduler::new_from_seed(seed, 3, half), config).run(run);
}

/// A tree for one schedule, and the tasks in it.
struct World {
    clock: TestClock,
    ctx: Ctx,
    guard: Option<CancelGuard>,
    crowd: Crowd,
    kept: Crowd,
}

/// A value that every context of a tree keeps alive.
struct Kept(#[expect(dead_code, reason = "held, not read")] Present);

impl Value for Kept {}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let (root, guard) = clock.root().build();
        let kept = Crowd::default();
        Self {
            clock,
            ctx: root.with(Kept(kept.enter())),
            guard: Some(guard),
            crowd: Crowd::default(),
            kept,
        }
    }

    fn guard(&mut self) -> CancelGuard {
        self.guard.take().expect("taken once")
    }

    /// Cancels from another thread.
    fn canceller(&mut self, kind: Kind) -> thread::JoinHandle<bool> {
        let guard = self.guard();
        thread::spawn(move || guard.cancel(kind))
    }

    /// Waits until every task has given up its context: endlessly, if one is leaked.
    fn end(self) {
        drop((self.ctx, self.guard));
        while self.kept.now() > 0 {
            thread::yield_now();
        }
        assert_eq!(self.crowd.now(), 0);
    }
}

/// How many tasks run, and how many ever did at once.
#[derive(Clone, Default)]
struct Crowd(Arc<[AtomicUsize; 2]>);

struct Present(Crowd);

impl Crowd {
    fn enter(&self) -> Present {
        let now = self.0[0].fetch_add(1, Ordering::Relaxed) + 1;
        self.0[1].fetch_max(now, Ordering::Relaxed);
        Present(self.clone())
    }

    fn now(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::Relaxed)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0[0].fetch_sub(1, Ordering::Relaxed);
    }
}

fn run<F: IntoFuture>(future: F) -> F::Output {
    block_on(future.into_future())
}

/// Spawns a task that never ends by itself. Whether it was let in.
fn spawn_deaf<E: Send + 'static>(s: &Scope<E>, crowd: &Crowd) -> bool {
    let present = crowd.enter();
    let task = s.spawn("deaf", |_| async move {
        let _present = present;
        pending::<Result<(), E>>().await
    });
    task.is_ok()
}

/// Spawns a task that takes a few turns. Whether it was let in.
fn spawn_brief<E: Send + 'static>(s: &Scope<E>, crowd: &Crowd) -> bool {
    let crowd = crowd.clone();
    let task = s.spawn("brief", |_| async move {
        let _present = crowd.enter();
        yield_now().await;
        Ok(())
    });
    task.is_ok()
}

//= C94
#[test]
fn a_spawn_races_the_end() {
    check(|world| {
        let crowd = world.crowd.clone();
        let mut racer = None;
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let (theirs, present) = (s.clone(), crowd.clone());
            racer = Some(thread::spawn(move || {
                let joined = [0, 1].map(|_| spawn_brief(&theirs, &present));
                assert!(joined[0] || !joined[1], "what is closed stays closed");
            }));
            assert!(spawn_brief(&s, &crowd));
            Ok(())
        }));
        assert_eq!(crowd.now(), 0, "a task outlived its scope");
        ended.expect("nobody failed");
        racer
            .map(thread::JoinHandle::join)
            .expect("spawned")
            .expect("no panic");
        assert_eq!(crowd.now(), 0, "a task came into a scope that had returned");
    });
}

//= C94
#[test]
fn tasks_spawn_while_the_body_ends() {
    check(|world| {
        let crowd = world.crowd.clone();
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let (inner, present) = (s.clone(), crowd.clone());
            let _task = s.spawn("parent", |_| async move {
                let _present = present.enter();
                yield_now().await;
                assert!(
                    spawn_brief(&inner, &present),
                    "a live task keeps the scope open"
                );
                Ok(())
            })?;
            Ok(())
        }));
        ended.expect("nobody failed");
        assert_eq!(crowd.now(), 0);
    });
}

//= C88
#[test]
fn two_failures_race() {
    check(|world| {
        let mut ctx = None;
        let error = run(scope(&world.ctx, async |s: Scope<u32>| {
            ctx = Some(s.ctx().clone());
            let both = Arc::new(Barrier::new(2));
            for number in [1, 2] {
                let both = Arc::clone(&both);
                let _task = s.spawn(number.to_string(), move |_| async move {
                    both.wait().await;
                    Err::<(), _>(number)
                });
            }
            let _echo = s.spawn("waits", |ctx| async move {
                assert_eq!(ctx.done().await.kind(), Kind::SiblingFailed);
                Ok(())
            });
            Ok(())
        }))
        .expect_err("both failed");
        assert!(error.cause().is_none());
        let cause = ctx.and_then(|ctx| ctx.cause()).expect("cancelled");
        let failures = error.into_failures();
        assert_eq!(failures.len(), 2, "both are told");
        let first = format!("task `{}` failed", failures[0].task);
        assert_eq!(
            cause.message(),
            Some(first.as_str()),
            "the first one is to blame"
        );
    });
}

//= C91
#[test]
fn an_error_and_a_panic_race() {
    check(|world| {
        let crowd = world.crowd.clone();
        let present = crowd.clone();
        let error = run(scope(&world.ctx, async move |s: Scope<Cancelled>| {
            let _bad = s.spawn("error", |_| async { Err::<(), _>(Cancelled::new("mine")) })?;
            let present = present.enter();
            let panics = s.spawn("panics", |_| async move {
                let _present = present;
                yield_now().await;
                resume_unwind(Box::new(7_u8));
                #[expect(unreachable_code, reason = "gives the type")]
                Ok(())
            });
            drop(panics);
            Ok(())
        })
        .panics(PanicPolicy::AsError))
        .expect_err("both failed");
        assert_eq!(crowd.now(), 0);
        // The panic counts even if the error has cancelled its task before.
        let tasks: Vec<_> = error
            .into_failures()
            .into_iter()
            .map(|failure| failure.task)
            .collect();
        assert!(tasks.contains(&"panics".into()) == (tasks.len() == 2) && !tasks.is_empty());
    });
}

#[test]
fn a_win_races_a_failure() {
    check(|world| {
        let crowd = world.crowd.clone();
        let ended = run(scope(&world.ctx, async |s: Scope<u32>| {
            let _bad = s.spawn("bad", |_| async { Err::<(), _>(1) });
            let _wins = s.spawn("wins", |_| async {
                yield_now().await;
                Ok(())
            });
            let present = crowd.enter();
            let _loses = s.spawn("loses", |ctx| async move {
                let _present = present;
                let cause = ctx.done().await;
                assert_eq!(cause.message(), Some("task `wins` was first"));
                Err::<(), _>(2)
            });
            Ok(5)
        })
        .policy(Policy::FirstOk));
        assert_eq!(crowd.now(), 0);
        assert_eq!(ended.expect("there was a winner"), 5);
    });
}

//= C97
#[test]
fn a_drop_half_way_races_a_spawn() {
    check(|world| {
        let crowd = world.crowd.clone();
        let (give, take) = shuttle::sync::mpsc::channel();
        let mut running = Box::pin(
            scope(&world.ctx, {
                let crowd = crowd.clone();
                async move |s: Scope<Cancelled>| {
                    assert!(spawn_deaf(&s, &crowd));
                    give.send(s).expect("somebody takes it");
                    pending::<Result<(), _>>().await
                }
            })
            .into_future(),
        );
        let theirs = crowd.clone();
        let racer = thread::spawn(move || {
            let s: Scope<Cancelled> = take.recv().expect("the body gives it");
            let _ = spawn_deaf(&s, &theirs);
            let _ = spawn_deaf(&s, &theirs);
            s
        });
        block_on(poll_fn(|cx| {
            assert!(running.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
        drop(running);
        let s = racer.join().expect("no panic");
        assert_eq!(
            s.ctx().cause().map(|cause| cause.kind()),
            Some(Kind::Dropped)
        );
        // Nobody ends by itself: all have to be aborted.
    });
}

//= C92
#[test]
fn a_limit_holds() {
    check(|world| {
        let crowd = world.crowd.clone();
        let canceller = world.canceller(Kind::PeerGone);
        let mut tasks = Vec::new();
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            for _ in 0..4 {
                let crowd = crowd.clone();
                let task = s.spawn("limited", |_| async move {
                    let _present = crowd.enter();
                    yield_now().await;
                    yield_now().await;
                    Ok(())
                });
                tasks.extend(task);
            }
            Ok(())
        })
        .limit(2));
        assert!(crowd.most() <= 2, "{} at once", crowd.most());
        assert_eq!(crowd.now(), 0);
        // What was let in has run, or it is named.
        let refused = tasks.into_iter().map(run);
        let refused: Vec<_> = refused.filter_map(Result::err).collect();
        assert!(refused.iter().all(|gone| gone.not_started().is_some()));
        let unfinished = ended.map_or_else(|error| error.unfinished().len(), |()| 0);
        assert_eq!(unfinished, refused.len());
        canceller.join().expect("no panic");
    });
}

//= C92
#[test]
fn a_failure_keeps_its_place_from_the_next() {
    check(|world| {
        let error = run(scope(&world.ctx, async |s: Scope<u32>| {
            let (started, is_started) = oneshot::channel();
            let _bad = s.spawn("bad", |_| async {
                let _ = started.send(());
                yield_now().await;
                Err::<(), _>(1)
            });
            let _ = is_started.await;
            let next = s.spawn("next", |_| async {
                assert_eq!(0, 1, "the sibling had failed before there was a place");
                Ok(())
            });
            drop(next);
            Ok(())
        })
        .limit(1));
        assert_eq!(error.expect_err("one fails").into_error(), Some(1));
    });
}

/// No end is missed, whichever of body and tasks comes last.
#[test]
fn the_last_task_races_the_body() {
    check(|world| {
        let crowd = world.crowd.clone();
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            for _ in 0..2 {
                assert!(spawn_brief(&s, &crowd));
            }
            yield_now().await;
            Ok(3)
        }));
        assert_eq!((crowd.now(), ended.expect("all succeed")), (0, 3));
    });
}

//= C95
#[test]
fn an_abort_races_a_spawn() {
    check(|world| {
        let (crowd, first) = (world.crowd.clone(), Crowd::default());
        let mut racer = None;
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let (theirs, present) = (s.clone(), crowd.clone());
            racer = Some(thread::spawn(move || {
                let _ = spawn_deaf(&theirs, &present);
                let _ = spawn_deaf(&theirs, &present);
            }));
            assert!(spawn_deaf(&s, &first));
            s.cancel(Kind::Shutdown);
            Ok(())
        })
        .grace(Duration::ZERO));
        // The clock stands still: one task that is not aborted, and this line is never
        // reached. One that is not waited for, and it is still there.
        assert_eq!(first.now(), 0);
        let error = ended.expect_err("the first is deaf");
        assert!(!error.stragglers().is_empty());
        racer
            .map(thread::JoinHandle::join)
            .expect("spawned")
            .expect("no panic");
    });
}

//= C94
//= C95
#[test]
fn who_is_let_in_before_the_end_is_gone_after_it() {
    check(|world| {
        let crowd = world.crowd.clone();
        let let_in = Arc::new(AtomicUsize::new(0));
        let mut racer = None;
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let (theirs, present) = (s.clone(), crowd.clone());
            let counts = Arc::clone(&let_in);
            racer = Some(thread::spawn(move || {
                let is_in = spawn_deaf(&theirs, &present);
                counts.fetch_add(usize::from(is_in), Ordering::Relaxed);
            }));
            for _ in 0..4 {
                thread::yield_now();
            }
            s.cancel(Kind::Shutdown);
            Ok(())
        })
        .grace(Duration::ZERO));
        if let_in.load(Ordering::Relaxed) == 1 {
            assert_eq!(crowd.now(), 0, "a task that was let in outlived its scope");
        }
        racer
            .map(thread::JoinHandle::join)
            .expect("spawned")
            .expect("no panic");
        drop(ended);
    });
}

//= C98
#[test]
fn a_cancel_from_outside_races_the_end() {
    check(|world| {
        let crowd = world.crowd.clone();
        let canceller = world.canceller(Kind::PeerGone);
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let task = s.spawn("inner", {
                let crowd = crowd.clone();
                |ctx| async move {
                    let _present = crowd.enter();
                    let ended = scope(&ctx, async |s: Scope<Cancelled>| {
                        let present = crowd.enter();
                        let _leaf = s.spawn("leaf", |ctx| async move {
                            let _present = present;
                            ctx.run(yield_now()).await
                        })?;
                        Ok(())
                    });
                    ended.await.map_err(|error| {
                        Cancelled::new(error.cause().expect("from outside").clone())
                    })
                }
            });
            drop(task?);
            Ok(())
        }));
        assert_eq!(crowd.now(), 0);
        if let Err(error) = ended {
            assert_eq!(error.cause().map(Cause::kind), Some(Kind::PeerGone));
            assert!(error.stragglers().is_empty() && error.others().is_empty());
        }
        canceller.join().expect("no panic");
    });
}

//= C88
#[test]
fn a_cancel_from_outside_races_a_failure() {
    check(|world| {
        let canceller = world.canceller(Kind::PeerGone);
        let mut ctx = None;
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            ctx = Some(s.ctx().clone());
            let _echo = s.spawn("echo", |ctx| async move { ctx.run(pending::<()>()).await })?;
            let _bad = s.spawn("bad", |_| async {
                Err::<(), _>(Cancelled::new(Kind::Custom))
            })?;
            Ok(())
        }));
        let error: ScopeError<Cancelled> = ended.expect_err("one fails, or is refused");
        let kind = ctx.and_then(|ctx| ctx.cause()).map(|cause| cause.kind());
        // Whoever came first is the cause, and the report says whether that was from outside.
        match error.cause() {
            Some(cause) => assert_eq!((cause.kind(), kind), (Kind::PeerGone, Some(Kind::PeerGone))),
            None => assert_eq!(kind, Some(Kind::SiblingFailed)),
        }
        let names: Vec<_> = error
            .into_failures()
            .into_iter()
            .map(|failure| failure.task)
            .collect();
        // The echo counts only where nothing else failed.
        let is_real = names == ["bad"];
        assert!(
            is_real || kind == Some(Kind::PeerGone) && names.len() == 1,
            "{names:?}"
        );
        canceller.join().expect("no panic");
    });
}

//= C95
#[test]
fn the_grace_races_the_end() {
    check(|world| {
        let (crowd, clock, guard) = (world.crowd.clone(), world.clock.clone(), world.guard());
        let time = thread::spawn(move || {
            guard.cancel(Kind::Shutdown);
            // Once: the time for destructors, which comes after, is not to pass as well.
            clock.advance(SECOND);
        });
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            let present = crowd.enter();
            let _task = s.spawn("tidy", |ctx| async move {
                let _present = present;
                drop(ctx.done().await);
                yield_now().await;
                Ok(())
            })?;
            Ok(())
        })
        .grace(SECOND));
        assert_eq!(crowd.now(), 0);
        if let Err(error) = ended {
            // Late, or refused: but never a failure of its own.
            assert!(error.first().is_none_or(|first| first.task == "body"));
            assert_eq!(error.cause().map(Cause::kind), Some(Kind::Shutdown));
        }
        time.join().expect("no panic");
    });
}

//= C96
#[test]
fn a_blocking_task_races_the_cancel() {
    check(|world| {
        let canceller = world.canceller(Kind::PeerGone);
        let mut task = None;
        let ended = run(scope(&world.ctx, async |s: Scope<Cancelled>| {
            task = Some(s.spawn_blocking("blocking", |ctx| {
                thread::yield_now();
                ctx.check()
            })?);
            Ok(())
        })
        .grace(Duration::MAX));
        canceller.join().expect("no panic");
        let Some(task) = task else { return };
        match (run(task), ended) {
            (Ok(()), Ok(())) => {}
            (Err(gone), Err(error)) => {
                let is_refused = gone.not_started().is_some();
                assert_eq!(is_refused, !error.unfinished().is_empty());
                assert_eq!(is_refused, error.first().is_none());
            }
            (told, ended) => panic!("the handle says {told:?}, the scope {ended:?}"),
        }
    });
}

//= C97
#[test]
fn a_drop_races_the_ends_of_tasks() {
    check(|world| {
        let crowd = world.crowd.clone();
        let (give, take) = shuttle::sync::mpsc::channel();
        let mut running = Box::pin(
            scope(&world.ctx, {
                let crowd = crowd.clone();
                async move |s: Scope<u32>| {
                    for number in [0, 1] {
                        let present = crowd.enter();
                        let task = s.spawn("ends", move |_| async move {
                            let _present = present;
                            yield_now().await;
                            if number == 0 { Ok(()) } else { Err(number) }
                        });
                        give.send(task).expect("kept");
                    }
                    pending::<Result<(), _>>().await
                }
            })
            .into_future(),
        );
        let mut turns = 0;
        block_on(poll_fn(|cx| {
            turns += 1;
            let is_over = running.as_mut().poll(cx).is_ready() || turns == 2;
            cx.waker().wake_by_ref();
            if is_over {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        drop(running);
        // Every handle is told, one way or the other.
        for task in take.try_iter().flatten() {
            let _ = run(task);
        }
    });
}

//= C99
#[test]
fn gather_races_its_cancel() {
    check(|world| {
        let canceller = world.canceller(Kind::PeerGone);
        let found = run(gather(&world.ctx, Duration::ZERO, |g| {
            g.spawn("one", |_| async { Ok::<_, Cancelled>(1) });
            g.spawn("two", |ctx| async move {
                ctx.run(yield_now()).await.map(|()| 2)
            });
            g.spawn("stuck", |_| pending());
        }));
        canceller.join().expect("no panic");
        assert!(found.unfinished().contains(&"stuck"));
        assert_eq!(found.cause().map(Cause::kind), Some(Kind::PeerGone));
        let told = found.values().count() + found.errors().count() + found.unfinished().len();
        assert_eq!(told, 3);
    });
}

/// Whoever asks where a task waits is answered, also if the task ends meanwhile.
#[test]
fn a_question_races_the_end_of_the_task() {
    check(|world| {
        let (go, told) = oneshot::channel::<()>();
        let task = world.ctx.spawn("asked", |_| told);
        world.guard().cancel(Kind::Shutdown);
        let ends = thread::spawn(move || go.send(()));
        let ask = || run(inspect_overdue(Duration::MAX)).len();
        let asks = thread::spawn(ask);
        assert!(ask() <= 1 && asks.join().expect("no panic") <= 1);
        ends.join().expect("no panic").expect("it waits");
        run(task).expect("not aborted").expect("told");
    });
}
