//! Scopes on both kinds of runtime: joining, failing, panicking, nesting, and the races
//! between a spawn and the end.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod runtimes;

use ripcord_core::{Cancelled, Cause, Ctx, Kind};
use ripcord_test::{Census, ManualTask};
use ripcord_tokio::{FailureKind, Policy, Scope, ScopeError, SpawnError, live_tasks, scope};
use runtimes::{UNIT, multi_thread, on_both};
use std::error::Error;
use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// Says when it is dropped, a few turns late.
struct SlowDrop(Arc<AtomicBool>);
impl Drop for SlowDrop {
    fn drop(&mut self) {
        for _ in 0..100 {
            std::thread::yield_now();
        }
        self.0.store(true, Ordering::Release);
    }
}

/// An error that is none of the usual wrappers of a cancel.
#[derive(Debug, PartialEq)]
enum Failed {
    Cancelled(Kind),
    Disk(u32),
}

impl From<Cancelled> for Failed {
    fn from(error: Cancelled) -> Self {
        Self::Cancelled(error.kind())
    }
}

/// The panic that a scope resumes.
async fn panic_of<F: Future + Send + 'static>(run: F) -> String {
    let joined = tokio::spawn(async move { drop(run.await) }).await;
    let payload = joined.expect_err("it panics").into_panic();
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("?")
            .to_owned(),
    }
}

//= C87
#[test]
fn a_scope_returns_after_the_futures_of_its_tasks_were_dropped() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let was_dropped = Arc::new(AtomicBool::new(false));
        let value = scope(&root, async |s| {
            for name in ["one", "two", "three"] {
                let (probe, slow) = (census.enter(name), SlowDrop(Arc::clone(&was_dropped)));
                let task = s.spawn(name, |_| async move {
                    let _kept = (probe, slow);
                    tokio::task::yield_now().await;
                    Ok::<_, Cancelled>(())
                })?;
                drop(task);
            }
            assert_eq!((s.len(), s.is_empty()), (3, false));
            Ok(7)
        })
        .await;
        assert_eq!(value.unwrap(), 7);
        census.assert_empty();
        assert!(was_dropped.load(Ordering::Acquire));
    });
}

//= C87
#[test]
fn the_destructors_of_aborted_tasks_have_run() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let was_dropped = Arc::new(AtomicBool::new(false));
        let slow = SlowDrop(Arc::clone(&was_dropped));
        let ended = scope(&root, async move |s| {
            let _task = s.spawn("deaf", |_| async move {
                let _slow = slow;
                pending::<Result<(), Cancelled>>().await
            })?;
            tokio::task::yield_now().await;
            s.cancel("enough");
            Ok(())
        })
        .grace(Duration::ZERO)
        .await;
        assert!(was_dropped.load(Ordering::Acquire));
        assert_eq!(ended.unwrap_err().stragglers().len(), 1);
    });
}

//= C88
#[test]
fn the_first_error_cancels_the_siblings_and_is_returned() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let causes = Arc::new(Mutex::new(Vec::new()));
        let error = scope(&root, async |s: Scope<Failed>| {
            for name in ["a", "b"] {
                let causes = Arc::clone(&causes);
                let _task = s.spawn(name, |ctx| async move {
                    let cause = ctx.done().await;
                    causes.lock().unwrap().push(cause.clone());
                    Err::<(), _>(Cancelled::new(cause).into())
                })?;
            }
            let _task = s.spawn("c", |_| async { Err::<(), _>(Failed::Disk(3)) })?;
            pending::<()>().await;
            Ok(())
        })
        .grace(Duration::ZERO);
        let error = error.await.unwrap_err();
        assert_eq!(error.first().map(|first| &*first.task), Some("c"));
        assert!(error.cause().is_none(), "nobody outside asked for it");
        assert_eq!(error.into_error(), Some(Failed::Disk(3)));
        for cause in causes.lock().unwrap().iter() {
            assert_eq!(
                (cause.kind(), cause.message()),
                (Kind::SiblingFailed, Some("task `c` failed"))
            );
        }
        assert!(!root.is_done());
    });
}

//= C88
#[test]
fn echoes_of_the_cancel_are_left_out() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    async fn run<E: From<Cancelled> + Send + 'static>(real: E) -> ScopeError<E> {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<E>| {
            for name in ["a", "b"] {
                let _task = s.spawn(name, |ctx| async move {
                    ctx.run(pending::<()>()).await?;
                    Ok(())
                })?;
            }
            let _task = s.spawn("c", |_| async { Err::<(), _>(real) })?;
            Ok(())
        });
        ended.await.unwrap_err()
    }
    on_both(|| async {
        let error = run(Cancelled::new("mine")).await;
        assert_eq!(error.into_failures().len(), 1);
        let error = run(io::Error::other("mine")).await;
        assert_eq!(error.into_failures().len(), 1);
        let error = run::<Boxed>("mine".into()).await;
        assert_eq!(error.others().len(), 0);
        assert_eq!(error.to_string(), "task `c` failed: mine");
        // What the scope cannot look into is kept, behind the first.
        let error = run(Failed::Disk(1)).await;
        let failures = error.into_failures();
        let kinds: Vec<_> = failures.iter().map(|failure| &failure.kind).collect();
        assert!(matches!(
            kinds[..],
            [
                FailureKind::Error(Failed::Disk(1)),
                FailureKind::Error(Failed::Cancelled(Kind::SiblingFailed)),
                FailureKind::Error(Failed::Cancelled(Kind::SiblingFailed)),
            ]
        ));
    });
}

//= C88
#[tokio::test]
async fn a_real_error_takes_the_place_of_an_echo() {
    let (root, guard) = ripcord_tokio::root().build();
    let error = scope(&root, async |s: Scope<io::Error>| {
        let (told, tell) = (Arc::new(tokio::sync::Notify::new()), s.clone());
        let ready = Arc::clone(&told);
        let _echo = s.spawn("echo", |ctx| async move {
            let cause = ctx.done().await;
            ready.notify_one();
            Err::<(), _>(Cancelled::new(cause).into())
        })?;
        let _real = s.spawn("real", |_| async move {
            told.notified().await;
            while tell.len() > 1 {
                tokio::task::yield_now().await;
            }
            Err::<(), _>(io::Error::other("flush failed"))
        })?;
        tokio::task::yield_now().await;
        guard.cancel(Kind::Shutdown);
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(error.first().map(|first| &*first.task), Some("real"));
    assert!(error.others().is_empty());
    assert_eq!(error.cause().map(Cause::kind), Some(Kind::Shutdown));
}

//= C89
#[test]
fn a_scope_that_succeeds_leaves_a_done_context() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ctx = scope(&root, async |s| {
            let task = s.spawn("a", |_| async { Ok::<_, Cancelled>(1) })?;
            assert_eq!(task.await.unwrap(), 1);
            assert!(!s.ctx().is_done());
            Ok::<_, Cancelled>(s.ctx().clone())
        });
        let ctx = ctx.await.unwrap();
        assert_eq!(ctx.cause().map(|cause| cause.kind()), Some(Kind::Dropped));
        assert!(!root.is_done());
    });
}

//= C90
#[test]
fn an_error_of_the_body_cancels_the_tasks_and_waits_for_them() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = census.enter("task");
        let error = scope(&root, async |s: Scope<Failed>| {
            let _task = s.spawn("task", |ctx| async move {
                let cause = ctx.done().await;
                assert_eq!(cause.kind(), Kind::SiblingFailed);
                assert_eq!(cause.message(), Some("the body of the scope failed"));
                tokio::task::yield_now().await;
                drop(probe);
                Err::<(), _>(Failed::Disk(2))
            })?;
            Err::<(), _>(Failed::Disk(1))
        });
        let error = error.await.unwrap_err();
        census.assert_empty();
        // The body came first, although the task's error was there earlier.
        assert_eq!(error.first().map(|first| &*first.task), Some("body"));
        assert_eq!(error.others().len(), 1);
        assert_eq!(error.into_error(), Some(Failed::Disk(1)));
    });
}

//= C90
#[test]
fn a_panic_of_the_body_is_passed_on_after_the_join() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = census.enter("task");
        let text = panic_of(async move {
            scope(&root, async |s: Scope<Cancelled>| {
                let _task = s.spawn("task", |ctx| async move {
                    let cause = ctx.done().await;
                    assert_eq!(cause.message(), Some("the body of the scope panicked"));
                    tokio::task::yield_now().await;
                    drop(probe);
                    Ok(())
                })?;
                tokio::task::yield_now().await;
                assert!(s.len() > 1, "the body broke");
                Ok(())
            })
            .await
        });
        assert_eq!(text.await, "the body broke");
        census.assert_empty();
    });
}

//= C90
#[test]
fn a_panic_before_the_body_is_a_future_is_one_of_the_body() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probe = census.enter("task");
        let text = panic_of(async move {
            scope(&root, |s: Scope<Cancelled>| {
                let task = s.spawn("task", |ctx| async move {
                    let _probe = probe;
                    ctx.run(pending::<()>()).await
                });
                drop(task);
                assert_eq!(s.len(), 0, "by design");
                async { Ok(()) }
            })
            .await
        });
        assert!(text.await.ends_with("by design\n  left: 1\n right: 0"));
        census.assert_empty();
    });
}

//= C91
#[test]
fn a_panic_of_a_task_is_resumed_with_its_own_payload() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let causes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&causes);
        let joined = tokio::spawn(async move {
            scope(&root, async |s: Scope<Cancelled>| {
                let _sibling = s.spawn("sibling", |ctx| async move {
                    let cause = ctx.done().await;
                    told.lock().unwrap().push(cause);
                    // Later, and so of no account.
                    panic!("me too");
                    #[expect(unreachable_code, reason = "gives the type")]
                    Ok(())
                })?;
                let bad = s.spawn("bad", |_| async {
                    tokio::task::yield_now().await;
                    resume_unwind(Box::new(17_u64));
                    #[expect(unreachable_code, reason = "gives the type")]
                    Ok(())
                })?;
                // As most bodies do: that is a second panic, and hides nothing.
                bad.await.expect("bad succeeds");
                Ok(())
            })
            .await
        });
        let payload = joined.await.map(drop).unwrap_err().into_panic();
        assert_eq!(payload.downcast_ref::<u64>(), Some(&17));
        let causes = causes.lock().unwrap();
        assert_eq!(causes.len(), 1, "the sibling was joined");
        assert_eq!(causes[0].kind(), Kind::SiblingFailed);
        assert_eq!(causes[0].message(), Some("task `bad` panicked"));
    });
}

//= C91
#[test]
fn a_panic_in_the_destructor_of_a_task_counts() {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert_eq!(self.0, "", "a destructor broke");
        }
    }
    /// Is ready at once and still owns the bomb.
    struct Ready(#[expect(dead_code, reason = "dropped, not read")] Bomb);
    impl Future for Ready {
        type Output = Result<(), Cancelled>;
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Self::Output> {
            Poll::Ready(Ok(()))
        }
    }
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let text = panic_of(async move {
            scope(&root, async |s: Scope<Cancelled>| {
                let _task = s.spawn("ready", |_| Ready(Bomb("ready")))?;
                Ok(())
            })
            .await
        });
        assert!(text.await.contains("a destructor broke\n  left: \"ready\""));

        let (root, guard) = ripcord_tokio::root().build();
        let text = panic_of(async move {
            scope(&root, async |s: Scope<Cancelled>| {
                let _task = s.spawn("aborted", |_| async {
                    let _bomb = Bomb("aborted");
                    pending::<Result<(), _>>().await
                });
                tokio::task::yield_now().await;
                guard.cancel("enough");
                Ok(())
            })
            .grace(Duration::ZERO)
            .await
        });
        assert!(
            text.await
                .contains("a destructor broke\n  left: \"aborted\"")
        );
    });
}

//= C93
#[test]
fn a_spawn_into_a_dead_scope_drops_the_future_unpolled() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let probed = |s: &Scope<Cancelled>, name: &'static str| {
            let probe = census.enter(name);
            s.spawn(name, |_| async move {
                let _probe = probe;
                panic!("polled");
                #[expect(unreachable_code, reason = "gives the type")]
                Ok(())
            })
            .map(drop)
        };
        let mut escaped = None;
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            escaped = Some(s.clone());
            s.cancel(Kind::PeerGone);
            let error = probed(&s, "cancelled").unwrap_err();
            assert_eq!(error.kind(), Kind::PeerGone);
            census.assert_empty();
            let tried = s.try_spawn("tried", |_| async { Ok(()) });
            assert!(
                matches!(tried, Err(SpawnError::Over(error)) if error.kind() == Kind::PeerGone)
            );
            let blocking = s.spawn_blocking("blocking", |_| Ok(()));
            assert_eq!(blocking.unwrap_err().kind(), Kind::PeerGone);
            Ok(())
        });
        ended.await.unwrap();
        let s = escaped.unwrap();
        assert_eq!(probed(&s, "returned").unwrap_err().kind(), Kind::PeerGone);
        assert!(s.spawn_blocking("returned", |_| Ok(())).is_err());
        census.assert_empty();

        let mut escaped = None;
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            escaped = Some(s);
            Ok(())
        });
        ended.await.unwrap();
        let s = escaped.unwrap();
        assert_eq!(probed(&s, "returned").unwrap_err().kind(), Kind::Dropped);
        assert!(s.is_empty() && !live_tasks().iter().any(|task| task.name == "returned"));
        census.assert_empty();
    });
}

//= C93
#[tokio::test]
async fn a_scope_under_a_done_context_runs_its_body_only() {
    let (root, guard) = ripcord_tokio::root().build();
    guard.cancel(Kind::Shutdown);
    let error = scope(&root, async |s| {
        let _task = s.spawn("never", |_| async { Ok(()) })?;
        Ok::<_, Cancelled>(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.cause().map(Cause::kind), Some(Kind::Shutdown));
    assert_eq!(
        error.into_error().map(|error| error.kind()),
        Some(Kind::Shutdown)
    );
}

//= C94
#[test]
fn tasks_may_spawn_into_their_own_scope() {
    fn grow(s: &Scope<Cancelled>, depth: usize, leaves: &Arc<AtomicUsize>) {
        if depth == 0 {
            leaves.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for _ in 0..2 {
            let (inner, leaves) = (s.clone(), Arc::clone(leaves));
            let task = s.spawn("node", move |_| async move {
                tokio::task::yield_now().await;
                grow(&inner, depth - 1, &leaves);
                Ok(())
            });
            drop(task.expect("the parent keeps the scope open"));
        }
    }
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let leaves = Arc::new(AtomicUsize::new(0));
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            grow(&s, 6, &leaves);
            Ok(())
        });
        ended.await.unwrap();
        assert_eq!(leaves.load(Ordering::Relaxed), 64);
    });
}

//= C94
#[test]
fn a_spawn_that_races_the_end_is_joined_or_refused() {
    /// Counts the tasks that are there after their scope has returned.
    struct Watch(Arc<AtomicBool>, Arc<AtomicUsize>);
    impl Drop for Watch {
        fn drop(&mut self) {
            let is_late = self.0.load(Ordering::Acquire);
            self.1.fetch_add(usize::from(is_late), Ordering::Relaxed);
        }
    }
    let runtime = multi_thread();
    let late = Arc::new(AtomicUsize::new(0));
    for _ in 0..300 {
        runtime.block_on(async {
            let (root, _guard) = ripcord_tokio::root().build();
            let is_over = Arc::new(AtomicBool::new(false));
            let (give, take) = oneshot::channel::<Scope<Cancelled>>();
            let (over, count) = (Arc::clone(&is_over), Arc::clone(&late));
            let racer = tokio::spawn(async move {
                let s = take.await.unwrap();
                for _ in 0..4 {
                    let (over, count) = (Arc::clone(&over), Arc::clone(&count));
                    let spawned = s.spawn("racer", |_| async move {
                        let _watch = Watch(over, count);
                        tokio::task::yield_now().await;
                        Ok(())
                    });
                    drop(spawned);
                }
            });
            let ended = scope(&root, async |s: Scope<Cancelled>| {
                give.send(s).unwrap();
                tokio::task::yield_now().await;
                Ok(())
            });
            ended.await.unwrap();
            is_over.store(true, Ordering::Release);
            racer.await.unwrap();
        });
    }
    drop(runtime);
    assert_eq!(late.load(Ordering::Relaxed), 0);
}

//= C98
#[test]
fn a_cancel_reaches_the_leaves_of_inner_scopes() {
    on_both(|| async {
        let (root, guard) = ripcord_tokio::root().build();
        let census = Census::new();
        let leaves = Arc::new(Barrier::new(4));
        let error = scope(&root, async |s: Scope<Cancelled>| {
            for _ in 0..3 {
                let (leaves, probe) = (Arc::clone(&leaves), census.enter("leaf"));
                let _task = s.spawn("outer", |ctx| async move {
                    let ended = scope(&ctx, async |s: Scope<Cancelled>| {
                        let task = s.spawn("inner", |ctx| async move {
                            let _probe = probe;
                            leaves.wait().await;
                            ctx.run(pending::<()>()).await
                        })?;
                        let _ = task.await;
                        Ok(())
                    });
                    let error = ended.await.unwrap_err();
                    assert_eq!(error.cause().map(Cause::kind), Some(Kind::PeerGone));
                    error.into_error().map_or(Ok(()), Err)
                })?;
            }
            leaves.wait().await;
            assert!(guard.cancel(Kind::PeerGone));
            Ok(())
        });
        let error = error.await.unwrap_err();
        census.assert_empty();
        assert_eq!(error.cause().map(Cause::kind), Some(Kind::PeerGone));
        assert!(error.stragglers().is_empty() && error.others().is_empty());
    });
}

//= C98
#[test]
fn the_failure_of_an_inner_scope_stays_there_unless_it_is_returned() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let inner = |ctx: Ctx| async move {
            let ended = scope(&ctx, async |s: Scope<Failed>| {
                let _task = s.spawn("bad", |_| async { Err::<(), _>(Failed::Disk(9)) })?;
                Ok(())
            });
            ended.await.unwrap_err().into_error().unwrap()
        };
        let kept = scope(&root, async |s: Scope<Failed>| {
            let failed = s.spawn("keeps", move |ctx| async move { Ok(inner(ctx).await) })?;
            let other = s.spawn("other", |ctx| async move {
                tokio::task::yield_now().await;
                Ok(ctx.is_done())
            })?;
            assert_eq!(failed.await.unwrap(), Failed::Disk(9));
            Ok(other.await.unwrap())
        });
        assert!(!kept.await.unwrap());
        let passed = scope(&root, async |s: Scope<Failed>| {
            let _failed = s.spawn("passes", move |ctx| async move {
                Err::<(), _>(inner(ctx).await)
            })?;
            let _other = s.spawn("other", |ctx| async move {
                ctx.done().await;
                Ok(())
            })?;
            Ok(())
        });
        assert_eq!(
            passed.await.unwrap_err().into_error(),
            Some(Failed::Disk(9))
        );
        assert!(!root.is_done());
    });
}

//= C99
#[test]
fn a_scope_without_tasks_returns_with_its_body() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let (root, _guard) = ripcord_tokio::root_on(runtime.handle()).build();
    let empty = scope(&root, async |_: Scope<Cancelled>| Ok(5));
    let mut task = ManualTask::new(empty.into_future());
    let Poll::Ready(Ok(5)) = task.poll() else {
        panic!("in one poll, and without a runtime")
    };

    let (give, take) = oneshot::channel();
    let waits = scope(&root, async move |_: Scope<Cancelled>| {
        Ok(take.await.unwrap())
    });
    let mut task = ManualTask::new(waits.into_future());
    assert!(task.poll().is_pending());
    give.send(6).unwrap();
    assert!(task.is_woken());
    assert!(matches!(task.poll(), Poll::Ready(Ok(6))));
}

//= C100
#[tokio::test(start_paused = true)]
async fn a_deadline_inside_of_a_task_is_an_error_of_that_task() {
    let start = Instant::now();
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(60 * UNIT);
    let error = scope(&request, async |s: Scope<Cancelled>| {
        let _sibling = s.spawn(
            "sibling",
            |ctx| async move { ctx.run(pending::<()>()).await },
        )?;
        let _task = s.spawn("query", |ctx| async move {
            ctx.with_timeout(UNIT).run(pending::<()>()).await
        })?;
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(start.elapsed(), UNIT);
    assert_eq!(error.first().map(|first| &*first.task), Some("query"));
    assert!(
        error.others().is_empty(),
        "the sibling echoes the cancel only"
    );
    assert!(error.cause().is_none(), "the scope itself had no such end");
    assert!(error.into_error().unwrap().is_deadline());
    assert!(!request.is_done());
}

//= C100
#[tokio::test(start_paused = true)]
async fn a_deadline_of_a_task_is_no_echo_even_after_the_scopes_own() {
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.named("request").with_timeout(2 * UNIT);
    let error = scope(&request, async |s: Scope<Cancelled>| {
        let _task = s.spawn("late", |ctx| async move {
            ctx.done().await;
            // Cleans up under a deadline of its own.
            ctx.detach()
                .named("cleanup")
                .with_timeout(UNIT)
                .run(pending::<()>())
                .await
        })?;
        let _task = s.spawn("echo", |ctx| async move { ctx.run(pending::<()>()).await })?;
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.cause().and_then(Cause::name), Some("request"));
    assert_eq!(error.first().map(|first| &*first.task), Some("late"));
    let error = error.into_error().unwrap();
    assert_eq!(error.cause().name(), Some("cleanup"));
}

//= C101
#[test]
fn body_and_tasks_of_a_scope_run_under_their_contexts() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, |s: Scope<Cancelled>| {
            assert_eq!(&Ctx::current(), s.ctx());
            async move {
                tokio::task::yield_now().await;
                assert_eq!(&Ctx::current(), s.ctx());
                let same = |ctx: Ctx| Ok(Ctx::current() == ctx && ctx.name() == Some("task"));
                let task = s.spawn("task", move |ctx| async move { same(ctx) })?;
                let blocking = s.spawn_blocking("task", same)?;
                Ok(task.await.unwrap() && blocking.await.unwrap())
            }
        });
        assert!(ended.await.unwrap());
        assert_eq!(Ctx::current(), Ctx::background());
    });
}

#[test]
fn a_pipeline_runs_to_its_end() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let sum = scope(&root, async |s: Scope<Cancelled>| {
            let (tell, mut told) = mpsc::channel(1);
            let _producer = s.spawn("producer", |_| async move {
                for number in 0..100 {
                    let _ = tell.send(number).await;
                }
                Ok(())
            })?;
            let consumer = s.spawn("consumer", |_| async move {
                let mut sum = 0;
                while let Some(number) = told.recv().await {
                    sum += number;
                }
                Ok(sum)
            })?;
            Ok(consumer.await.unwrap())
        });
        assert_eq!(sum.await.unwrap(), 4_950);
    });
}

#[tokio::test(start_paused = true)]
async fn a_scope_sleeps_while_its_tasks_do() {
    // The scope's own task is polled when the body has news and at the end only.
    let (root, _guard) = ripcord_tokio::root().build();
    let running = scope(&root, async |s: Scope<Cancelled>| {
        for at in 1..=10 {
            let _task = s.spawn("sleeper", move |_| async move {
                sleep(at * UNIT).await;
                Ok(())
            })?;
        }
        Ok(())
    });
    let mut task = ManualTask::new(running.into_future());
    assert!(task.poll().is_pending());
    sleep(9 * UNIT).await;
    assert!(!task.is_woken());
    sleep(2 * UNIT).await;
    assert!(task.is_woken() && task.poll().is_ready());
}

#[test]
fn a_body_passes_on_that_a_value_is_missing_and_the_failure_stays_the_first() {
    on_both(|| async {
        let (root, _guard) = ripcord_tokio::root().build();
        let ended = scope(&root, async |s: Scope<Box<dyn Error + Send + Sync>>| {
            let task = s.spawn("query", |_| async { Err::<u32, _>("no such table".into()) })?;
            Ok(task.await.map_err(Cancelled::from)?)
        });
        let error = ended.await.unwrap_err();
        assert_eq!(error.to_string(), "task `query` failed: no such table");
        let ended = scope(&root, async |s: Scope<Cancelled>| {
            let task = s.spawn("query", |_| async { Err::<u32, _>(Cancelled::new("a")) })?;
            Ok(task.await?)
        });
        let supervised = ended.policy(Policy::Supervise).await.unwrap_err();
        let cancelled = supervised.into_error().unwrap();
        assert_eq!(cancelled.kind(), Kind::SiblingFailed);
        assert_eq!(
            cancelled.cause().message(),
            Some("task `query` has no value")
        );
    });
}
