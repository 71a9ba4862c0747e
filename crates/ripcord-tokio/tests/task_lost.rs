//! When a task observer is told that a task can be woken by nobody, and when not: exact sequences.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use ripcord_tokio::CtxExt;
use std::future::{Future, pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use task_log::{settle, told};
use tokio::sync::oneshot;

//= C140
#[test]
fn who_can_be_woken_by_nobody_is_lost() {
    told(async |root, log| {
        let a = root.spawn("a", |_| pending::<()>());
        settle().await;
        log.expect(&["spawn a from -", "poll a", "lost a"]);
        // A waker that is kept for one poll and dropped after it: not lost, then lost.
        let kept = Arc::new(Mutex::new(None::<Waker>));
        let keep = Arc::clone(&kept);
        let b = root.spawn("b", move |_| {
            let mut polls = 0;
            poll_fn(move |cx: &mut Context<'_>| {
                polls += 1;
                let waker = (polls == 1).then(|| cx.waker().clone());
                let old = std::mem::replace(&mut *keep.lock().unwrap(), waker);
                drop(old);
                Poll::<()>::Pending
            })
        });
        settle().await;
        let waker = kept.lock().unwrap().clone();
        waker.unwrap().wake();
        settle().await;
        log.expect(&[
            "spawn b from -",
            "poll b",
            "pending b",
            "woken b by runtime",
            "poll b",
            "lost b",
        ]);
        drop((a, b));
    });
}

/// Keeps a waker of each poll, and waits forever.
fn keeps(kept: &Arc<Mutex<Vec<Waker>>>) -> impl Future<Output = ()> + Send + 'static {
    let kept = Arc::clone(kept);
    poll_fn(move |cx| {
        kept.lock()
            .expect("no test poisons it")
            .push(cx.waker().clone());
        Poll::Pending
    })
}

//= C140
#[test]
fn who_loses_his_last_waker_while_he_waits_is_told_of_then() {
    told(async |root, log| {
        let kept = Arc::default();
        let a = root.spawn("a", |_| keeps(&kept));
        settle().await;
        let waker = kept.lock().unwrap()[0].clone();
        log.expect(&["spawn a from -", "poll a", "pending a"]);
        drop(kept.lock().unwrap().pop());
        log.expect(&[]);
        drop(waker);
        log.expect(&["forgotten a"]);
        a.abort();
        assert!(a.await.unwrap_err().is_aborted());
        assert_eq!(log.of("a"), ["ended a aborted 1"]);
    });
}

//= C140
#[test]
fn who_was_woken_is_not_lost_when_the_waker_goes() {
    told(async |root, log| {
        let kept = Arc::default();
        let a = root.spawn("a", |_| keeps(&kept));
        settle().await;
        log.take();
        // By reference, and given up before the poll that this causes; then not woken.
        let waker = kept.lock().unwrap().pop().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        drop(waker);
        log.expect(&["woken a by runtime"]);
        settle().await;
        log.expect(&["poll a", "pending a"]);
        let other = kept.lock().unwrap().pop();
        std::thread::spawn(|| drop(other)).join().unwrap();
        log.expect(&["forgotten a"]);
        a.abort();
    });
}

//= C140
#[test]
fn who_is_over_loses_nothing() {
    told(async |root, log| {
        let kept = Arc::default();
        // Aborted while it waits: with its future its wakers go.
        let (tell, hear) = oneshot::channel::<()>();
        let a = root.spawn("a", |_| hear);
        let b = root.spawn("b", |_| keeps(&kept));
        settle().await;
        log.take();
        a.abort();
        b.abort();
        settle().await;
        log.take();
        let wakers = std::mem::take(&mut *kept.lock().unwrap());
        let more = wakers.clone();
        drop((wakers, more, tell));
        log.expect(&[]);
        // Ready with a waker of it left behind.
        let c = root.spawn("c", |_| {
            let kept = Arc::clone(&kept);
            poll_fn(move |cx| {
                kept.lock()
                    .unwrap()
                    .extend([(); 2].map(|()| cx.waker().clone()));
                Poll::Ready(())
            })
        });
        c.await.unwrap();
        log.take();
        kept.lock().unwrap().clear();
        log.expect(&[]);
    });
}

//= C139
#[test]
fn of_many_wakes_before_a_poll_the_first_is_told() {
    told(async |root, log| {
        let kept = Arc::default();
        let a = root.spawn("a", |_| keeps(&kept));
        settle().await;
        log.take();
        let waker = kept.lock().unwrap().pop().unwrap();
        let woken = waker.clone();
        std::thread::spawn(move || woken.wake()).join().unwrap();
        waker.wake_by_ref();
        settle().await;
        log.expect(&["woken a by foreign", "poll a", "pending a"]);
        waker.wake_by_ref();
        log.expect(&["woken a by runtime"]);
        a.abort();
    });
}

//= C140
#[test]
fn who_was_woken_in_his_poll_is_not_lost() {
    told(async |root, log| {
        let mut polls = 0;
        let a = root.spawn("a", move |_| {
            poll_fn(move |cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                std::thread::spawn(|| waker.wake()).join().unwrap();
                Poll::Pending
            })
        });
        a.await.unwrap();
        log.expect(&[
            "spawn a from -",
            "poll a",
            "woken a by foreign",
            "pending a",
            "poll a",
            "ready a",
            "ended a ready 2",
        ]);
    });
}
