//! What a task observer is told of tasks that wait for several things at once: with wakers of the group's
//! own between the leaves and the task, or without.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use futures_util::StreamExt as _;
use futures_util::future::{join_all, select};
use futures_util::stream::FuturesUnordered;
use ripcord_core::Ctx;
use ripcord_core::tasks::{StackText, TaskObserver, TaskRef};
use ripcord_tokio::{CtxExt, ask_stacks};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use task_log::{settle, told};
use tokio::sync::Notify;

type Parts = Vec<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Waits for a bell, listens to the context, or does nothing: the parts of a group.
fn parts(ctx: &Ctx, bell: &Arc<Notify>) -> Parts {
    let (ctx, bell) = (ctx.clone(), Arc::clone(bell));
    vec![
        Box::pin(async move { bell.notified().await }),
        Box::pin(async move { drop(ctx.done().await) }),
    ]
}

async fn unordered(parts: Parts) {
    let mut group: FuturesUnordered<_> = parts.into_iter().collect();
    while group.next().await.is_some() {}
}

async fn all(parts: Parts) {
    join_all(parts).await;
}

async fn joined(parts: Parts) {
    let [a, b] = <[_; 2]>::try_from(parts).unwrap_or_else(|_| panic!("two parts"));
    tokio::join!(a, b);
}

/// A task of such a group is woken through it by whoever woke the part: another task, then an end.
fn woken_through<F>(group: fn(Parts) -> F, first: &[&str], after: &str)
where
    F: Future<Output = ()> + Send + 'static,
{
    told(async |root, log| {
        let bell = Arc::new(Notify::new());
        let (below, guard) = root.child();
        let parts = parts(&below, &bell);
        let a = root.spawn("a", |_| group(parts));
        settle().await;
        log.expect(&[&["spawn a from -", "poll a"], first].concat());
        let b = root.spawn("b", |_| async move { bell.notify_one() });
        settle().await;
        log.expect(&[
            "spawn b from -",
            "poll b",
            "woken a by task b",
            "ready b",
            "ended b ready 1",
            "poll a",
            after,
        ]);
        guard.cancel("enough");
        a.await.expect("it ran");
        let lines = log.take();
        let (last, lines) = lines.split_last().expect("it was told of");
        assert_eq!(
            lines,
            [
                "woken a by end of context root",
                "poll a",
                "look a cancelled",
                "ready a"
            ]
        );
        assert!(last.starts_with("ended a ready"), "{last}");
        drop(b);
    });
}

//= C139
#[test]
fn parts_of_join_wake_as_they_do_alone() {
    woken_through(joined, &["listening a done"], "listening a done");
}

//= C139
#[test]
fn parts_of_join_all_wake_as_they_do_alone() {
    woken_through(all, &["listening a done"], "listening a done");
}

//= C139
#[test]
fn parts_of_futures_unordered_wake_as_they_do_alone() {
    // It asks for a turn once it has polled all its parts, and polls only those that were woken: a wait
    // that is told has polled none, and so neither listens nor has a label.
    let first = ["woken a by itself", "yielded a done", "poll a", "pending a"];
    woken_through(unordered, &first, "pending a");
}

//= C140
#[test]
fn a_select_lets_go_of_what_it_does_not_wait_for() {
    told(async |root, log| {
        let bell = Arc::new(Notify::new());
        let wait = Arc::clone(&bell);
        let a = root.spawn("a", |_| async move {
            // What is left pending is dropped with the select, and its waker with it.
            let never = pin!(wait.notified());
            let _ = select(never, pin!(std::future::ready(()))).await;
            pending::<()>().await;
        });
        settle().await;
        log.expect(&["spawn a from -", "poll a", "pending a"]);
        a.abort();
    });
}

/// The group itself keeps a waker of its task, so nobody can tell that no part of it can call that.
//= C140
#[test]
fn a_group_hides_that_its_parts_can_be_woken_by_nobody() {
    told(async |root, log| {
        let a = root.spawn("a", |_| unordered(vec![Box::pin(pending())]));
        let b = root.spawn("b", |_| all(vec![Box::pin(pending())]));
        settle().await;
        assert_eq!(
            log.take()
                .iter()
                .filter(|line| line.starts_with("lost"))
                .count(),
            1
        );
        a.abort();
        b.abort();
    });
}

#[derive(Default)]
struct Stacks(Mutex<Vec<Arc<dyn StackText>>>);

impl TaskObserver for Stacks {
    fn stack_taken(&self, _: TaskRef, stack: &Arc<dyn StackText>) {
        self.0.lock().expect("unpoisoned").push(Arc::clone(stack));
    }
}

impl ripcord_core::Observer for Stacks {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

/// How many leaves a stack of a waiting group has.
fn leaves<F>(group: fn(Parts) -> F) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    task_log::runtime().block_on(async {
        let stacks = Arc::new(Stacks::default());
        let observer: Arc<dyn ripcord_core::Observer> = Arc::<Stacks>::clone(&stacks);
        let (root, _guard) = ripcord_tokio::root().observer(observer).build();
        let parts = parts(&root, &Arc::new(Notify::new()));
        let a = root.spawn("a", |_| group(parts));
        settle().await;
        ask_stacks(&[a.info().expect("it lives").id]);
        settle().await;
        a.abort();
        let taken = stacks.0.lock().expect("unpoisoned");
        assert_eq!(taken.len(), 1);
        taken[0].leaves().len()
    })
}

#[test]
fn a_group_that_polls_all_has_a_stack_for_each_part() {
    assert_eq!((leaves(joined), leaves(all)), (2, 2));
    // It polls no part that was not woken: the one stack is that of the group.
    assert_eq!(leaves(unordered), 1);
}
