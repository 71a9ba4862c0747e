//! What an observer is told of why a task ended, and who is overdue.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_types, reason = "an observer of a test")]

use ripcord_core::tasks::{Ended, TaskObserver, TaskRef};
use ripcord_core::{Kind, Observer};
use ripcord_tokio::{CtxExt as _, each_overdue};
use std::future::pending;
use std::sync::{Arc, Mutex};
use tokio::task::yield_now;

/// Name and cause of each task that has ended.
#[derive(Default)]
struct Causes(Mutex<Vec<(String, Option<Kind>)>>);

impl TaskObserver for Causes {
    fn ended(&self, _: TaskRef, ended: &Ended<'_>) {
        let kind = ended.cause.map(ripcord_core::Cause::kind);
        let line = (ended.spawned.name.to_owned(), kind);
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Causes {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

//= C155
#[tokio::test]
async fn the_end_of_a_task_says_why_its_context_was_done() {
    let causes = Arc::new(Causes::default());
    let observer: Arc<dyn Observer> = Arc::<Causes>::clone(&causes);
    let (root, guard) = ripcord_tokio::root().observer(observer).build();
    root.spawn("ready", |_| async {}).await.unwrap();
    let aborted = root.spawn("aborted", |_| pending::<()>());
    yield_now().await;
    aborted.abort();
    assert!(aborted.await.unwrap_err().is_aborted());
    let panics = root.spawn("panics", |_| async { panic!("a bug") });
    assert!(panics.await.unwrap_err().is_panic());
    let listens = root.spawn("listens", |ctx| async move { ctx.done().await.kind() });
    let deaf = root.spawn("deaf", |_| pending::<()>());
    yield_now().await;
    assert!(guard.cancel(Kind::PeerGone));
    assert_eq!(listens.await.unwrap(), Kind::PeerGone);
    let mut overdue = Vec::new();
    each_overdue(|cause, since| overdue.push((cause.kind(), since.is_some())));
    assert_eq!(overdue, [(Kind::PeerGone, true)]);
    deaf.abort();
    assert!(deaf.await.unwrap_err().is_aborted());
    let gone = Some(Kind::PeerGone);
    let expect = [
        ("ready", None),
        ("aborted", None),
        ("panics", None),
        ("listens", gone),
        ("deaf", gone),
    ];
    let causes = causes.0.lock().unwrap();
    let told: Vec<_> = causes.iter().map(|(name, kind)| (&**name, *kind)).collect();
    assert_eq!(told, expect);
}
