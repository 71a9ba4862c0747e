//! Wakers that call back into the tree, wait for other threads and drop handles, and cancels
//! from places where nobody expects them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(
    clippy::disallowed_types,
    reason = "shared with wakers, outside every model"
)]

mod common;

use common::{Tally, finishes, quietly};
use ripcord_core::{CancelGuard, Ctx, Hook, Phase};
use ripcord_test::{ManualTask, WakeCounter, WakerEvent};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What a waker does to the tree that it is called from.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read,
    Child,
    Cancel,
    Drop,
    Poll,
    Register,
}

const ACTS: [Act; 6] = [
    Act::Read,
    Act::Child,
    Act::Cancel,
    Act::Drop,
    Act::Poll,
    Act::Register,
];

/// Does it; what came of it, as text.
fn act(act: Act, ctx: &Ctx, guard: &CancelGuard, spare: &Mutex<Vec<(Ctx, CancelGuard)>>) -> String {
    match act {
        Act::Read => format!(
            "{} {:?} {:?} {:?}",
            ctx.is_done(),
            ctx.phase(),
            ctx.cause().map(|cause| cause.kind()),
            ctx.check().is_ok(),
        ),
        Act::Child => {
            let (child, child_guard) = ctx.child();
            let was_done = child.is_done();
            format!("{was_done} {}", child_guard.cancel("x"))
        }
        Act::Cancel => format!("{} {}", guard.cancel("again"), guard.drain()),
        Act::Drop => {
            let gone = spare.lock().unwrap().pop();
            let was_done = gone.as_ref().map(|(ctx, _)| ctx.is_done());
            drop(gone);
            format!("{was_done:?}")
        }
        Act::Poll => {
            let mut waiter = ManualTask::new(ctx.done());
            let ready = waiter.poll().is_ready();
            format!("{ready} {}", waiter.poll().is_ready())
        }
        Act::Register => {
            let ran = Tally::new();
            let hook = ctx.on_done({
                let ran = ran.clone();
                move |_| ran.add()
            });
            format!(
                "{} {} {}",
                ran.get(),
                hook.stop(),
                ctx.shield(SECOND).is_done()
            )
        }
    }
}

/// A tree, one waker of which acts on it at `event`; what the act came to, each time.
fn acted(event: WakerEvent, what: Act, at_child: bool) -> Vec<String> {
    finishes(move || {
        let (root, guard) = Ctx::background().child();
        let (child, child_guard) = root.child();
        let spare = (0..9).map(|_| child.child()).collect();
        let (place, other) = if at_child {
            ((child.clone(), child_guard), (root, guard))
        } else {
            ((root, guard), (child.clone(), child_guard))
        };
        let tree = Arc::new((place.0.clone(), place.1, Mutex::new(spare)));
        let (tell, told) = mpsc::channel();
        let counter = WakeCounter::reacting({
            let tree = Arc::clone(&tree);
            move |now| {
                if now == event {
                    let _ = tell.send(act(what, &tree.0, &tree.1, &tree.2));
                }
            }
        });
        let mut waiter = ManualTask::with_counter(child.done(), counter.clone());
        let mut second = ManualTask::with_counter(child.done(), counter.clone());
        assert!(waiter.poll().is_pending() || child.is_done());
        let _ = second.poll();
        // The waker is replaced, left behind, and woken.
        let plain = ManualTask::new(child.done()).poll();
        assert_eq!(plain.is_ready(), child.is_done());
        drop(second);
        tree.1.cancel("from outside");
        other.1.cancel("from outside");
        assert!(child.is_done() && waiter.poll().is_ready());
        drop((waiter, counter));
        told.try_iter().collect()
    })
}

//= C39, C115
#[test]
fn a_waker_that_calls_back_gets_the_answers_of_outside() {
    let answers = |what: Act, is_done: bool| -> String {
        let (ctx, guard) = Ctx::background().child();
        let spare = Mutex::new(vec![ctx.child()]);
        if is_done {
            guard.cancel("from outside");
        }
        act(what, &ctx, &guard, &spare)
    };
    for event in [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop] {
        for what in ACTS {
            for at_child in [false, true] {
                let outside = [answers(what, false), answers(what, true)];
                let inside = acted(event, what, at_child);
                assert!(!inside.is_empty(), "{event:?} {what:?}");
                for (at, answer) in inside.iter().enumerate() {
                    let all = format!("{event:?} {what:?} at child {at_child}: {inside:?}");
                    assert!(outside.contains(answer), "{all}, outside {outside:?}");
                    assert!(
                        event != WakerEvent::Wake || *answer == outside[1],
                        "{all} {at}"
                    );
                }
            }
        }
    }
}

//= C39, C40
#[test]
fn a_waker_may_wait_for_another_thread_to_poll_the_same_context() {
    finishes(|| {
        for event in [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop] {
            let (root, guard) = Ctx::background().child();
            let (child, _child_guard) = root.child();
            let polls = Tally::new();
            let counter = WakeCounter::reacting({
                let (all, polls) = ([root.clone(), child.clone()], polls.clone());
                move |now| {
                    if now != event {
                        return;
                    }
                    let all = all.clone();
                    let polled = thread::spawn(move || {
                        all.iter().all(|ctx| {
                            let mut waiter = ManualTask::new(ctx.done());
                            waiter.poll().is_ready() == ctx.is_done()
                        })
                    });
                    assert!(polled.join().unwrap());
                    polls.add();
                }
            });
            let mut waiters = [&root, &child].map(|ctx| {
                let mut waiter = ManualTask::with_counter(ctx.done(), counter.clone());
                assert!(waiter.poll().is_pending());
                waiter
            });
            assert!(guard.cancel("x"));
            assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
            drop((waiters, counter));
            assert!(polls.get() >= 2, "{event:?}");
        }
    });
}

//= C39
#[test]
fn a_waker_may_drop_the_last_handles() {
    for event in [WakerEvent::Clone, WakerEvent::Wake, WakerEvent::Drop] {
        finishes(move || {
            type Handles = (Ctx, CancelGuard, Hook, ripcord_core::Done);
            let owned: Arc<Mutex<Option<Handles>>> = Arc::default();
            let counter = WakeCounter::reacting({
                let owned = Arc::clone(&owned);
                move |now| {
                    if now == event {
                        let handles = owned.lock().unwrap().take();
                        drop(handles);
                    }
                }
            });
            let (root, guard) = Ctx::background().child();
            let (child, child_guard) = root.child();
            let mut waiter = ManualTask::with_counter(child.done(), counter.clone());
            let hook = child.on_done(|_| {});
            *owned.lock().unwrap() = Some((child.clone(), child_guard, hook, child.done()));
            drop(child);
            let _ = waiter.poll();
            if event == WakerEvent::Drop {
                drop(waiter);
                assert!(owned.lock().unwrap().is_none());
                assert!(guard.cancel("x"));
            } else {
                guard.cancel("x");
                assert!(owned.lock().unwrap().is_none());
                assert!(waiter.poll().is_ready());
            }
            assert!(root.is_done());
        });
    }
}

//= C115, C116, C59
#[test]
fn a_cancel_from_anywhere_has_the_same_result() {
    struct OnDrop(CancelGuard, mpsc::Sender<bool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.cancel("from there"));
        }
    }
    thread_local! {
        static LATE: OnceLock<OnDrop> = const { OnceLock::new() };
    }
    type Place = fn(OnDrop);
    let places: [(&str, Place); 6] = [
        ("a thread-local destructor", |on_drop| {
            let thread = thread::spawn(move || {
                LATE.with(|late| assert!(late.set(on_drop).is_ok()));
            });
            thread.join().unwrap();
        }),
        ("a drop while unwinding", |on_drop| {
            let result = quietly(move || {
                let _on_drop = on_drop;
                panic!("the work failed");
            });
            assert!(result.is_err());
        }),
        ("a hook", |on_drop| {
            let (ctx, guard) = Ctx::background().child();
            let _hook = ctx.on_done(move |_| drop(on_drop));
            guard.cancel("x");
        }),
        ("another thread", |on_drop| {
            thread::spawn(move || drop(on_drop)).join().unwrap();
        }),
        ("the closure of a stopped hook", |on_drop| {
            let (ctx, _guard) = Ctx::background().child();
            assert!(ctx.on_done(move |_| drop(on_drop)).stop());
        }),
        ("the end of a thread that was cancelled", |on_drop| {
            let (ctx, guard) = Ctx::background().child();
            let thread = thread::spawn(move || {
                let _on_drop = on_drop;
                ctx.wait()
            });
            guard.cancel("x");
            assert!(thread.join().is_ok());
        }),
    ];
    finishes(move || {
        for (what, place) in places {
            let (ctx, guard) = Ctx::background().child();
            let (child, _child_guard) = ctx.child();
            let mut waiter = ManualTask::new(child.done());
            assert!(waiter.poll().is_pending());
            let (tell, told) = mpsc::channel();
            place(OnDrop(guard, tell));
            assert_eq!(told.recv(), Ok(true), "{what}");
            assert_eq!(
                child.cause().unwrap().message(),
                Some("from there"),
                "{what}"
            );
            assert_eq!(
                (waiter.wakes(), child.phase()),
                (1, Phase::Cancelled),
                "{what}"
            );
            assert!(matches!(waiter.poll(), Poll::Ready(_)), "{what}");
        }
    });
}
