//! Models of hooks: each runs once, or not at all, whoever comes in between.
//!
//! Where a registration finds out that it came too late, it sweeps, and leaves the
//! hooks to the sweeper: so each model has one, and lets it run before it judges.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_support::{Counted, Tree, Waiting, Wakes, model, poll};
use ripcord_core::{Ctx, Hook};
use std::sync::{Arc, Mutex};
use std::task::Poll;

//= C54
//= C55
#[test]
fn a_registration_and_a_cancel() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let canceller = thread::spawn(move || guard.cancel("over"));
        let hook = Counted::on(&ctx);
        canceller.join().unwrap();
        sweeps.run();
        hook.assert_ran_once();
    });
}

//= C54
//= C56
#[test]
fn a_registration_and_a_cancel_of_the_parent() {
    model(|| {
        let Tree {
            ctx: parent,
            guard,
            sweeps,
            ..
        } = Tree::still();
        let (ctx, _own) = parent.child();
        let canceller = thread::spawn(move || guard.cancel("over"));
        let hook = Counted::on(&ctx);
        canceller.join().unwrap();
        sweeps.run();
        hook.assert_ran_once();
    });
}

//= C56
#[test]
fn cancels_of_a_node_and_of_its_parent_run_once() {
    model(|| {
        let Tree {
            ctx: parent,
            guard: above,
            sweeps,
            ..
        } = Tree::still();
        let (ctx, own) = parent.child();
        let hook = Counted::on(&ctx);
        let above_hook = Counted::on(&parent);
        let above = thread::spawn(move || above.cancel("above"));
        own.cancel("own");
        above.join().unwrap();
        sweeps.run();
        hook.assert_ran_once();
        above_hook.assert_ran_once();
    });
}

//= C54
//= C63
#[test]
fn a_stop_and_the_run() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let hook = Counted::on(&ctx);
        let other = Counted::on(&ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        let prevented = hook.hook.stop();
        let ran_before = hook.runs();
        canceller.join().unwrap();
        sweeps.run();
        assert_eq!(hook.runs(), usize::from(!prevented));
        assert!(!prevented || ran_before == 0);
        assert!(!hook.hook.stop());
        other.assert_ran_once();
    });
}

//= C63
#[test]
fn two_stops_and_the_run() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let hook = Arc::new(Counted::on(&ctx));
        let same = Arc::clone(&hook);
        let canceller = thread::spawn(move || guard.cancel("over"));
        let other = thread::spawn(move || same.hook.stop());
        let prevented = u8::from(hook.hook.stop());
        canceller.join().unwrap();
        sweeps.run();
        let prevented = prevented + u8::from(other.join().unwrap());
        assert_eq!(usize::from(prevented) + hook.runs(), 1);
    });
}

/// A hook with a step in the middle; whether it began and whether it ended.
struct Slow {
    hook: Hook,
    began: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Slow {
    fn on(ctx: &Ctx) -> Self {
        let began = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicBool::new(false));
        let flags = (Arc::clone(&began), Arc::clone(&ended));
        let hook = ctx.on_done(move |_| {
            // Relaxed: what a waiter may rely on is the hook's own hand-shake.
            flags.0.store(true, Ordering::Relaxed);
            thread::yield_now();
            flags.1.store(true, Ordering::Relaxed);
        });
        Self { hook, began, ended }
    }

    /// Certainly not running any more, and `prevented` from running or not.
    #[track_caller]
    fn assert_over(&self, prevented: bool) {
        assert_eq!(self.began.load(Ordering::Relaxed), !prevented);
        assert_eq!(self.ended.load(Ordering::Relaxed), !prevented);
    }
}

//= C57
#[test]
fn stop_and_wait_outlasts_the_run() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let slow = Slow::on(&ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        let prevented = slow.hook.stop_and_wait();
        // A hook that a sweep holds and that has not begun is stopped, so `false` says ended.
        slow.assert_over(prevented);
        canceller.join().unwrap();
        sweeps.run();
        slow.assert_over(prevented);
    });
}

//= C57
#[test]
fn stopped_is_ready_after_the_run() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let slow = Slow::on(&ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        let wakes = Wakes::new();
        let mut stopped = slow.hook.stopped();
        match poll(&mut stopped, &wakes) {
            Poll::Ready(prevented) => slow.assert_over(prevented),
            Poll::Pending => {
                canceller.join().unwrap();
                sweeps.run();
                assert_eq!(wakes.count(), 1);
                assert_eq!(poll(&mut stopped, &wakes), Poll::Ready(false));
                slow.assert_over(false);
                return;
            }
        }
        canceller.join().unwrap();
        sweeps.run();
    });
}

//= C62
#[test]
fn a_hook_dropped_during_the_run() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let held = Arc::new(());
        let moved = Arc::clone(&held);
        let hook = ctx.on_done(move |_| {
            thread::yield_now();
            drop(moved);
        });
        let staying = Counted::on(&ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        drop(hook);
        canceller.join().unwrap();
        sweeps.run();
        staying.assert_ran_once();
        assert_eq!(Arc::strong_count(&held), 1, "the closure was dropped");
    });
}

//= C62
//= C63
#[test]
fn a_hook_dropped_and_another_in_its_place() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let leaving = Counted::on(&ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        leaving.hook.stop();
        let coming = Counted::on(&ctx);
        drop(leaving);
        canceller.join().unwrap();
        sweeps.run();
        coming.assert_ran_once();
    });
}

//= C64
#[test]
fn a_detach_and_a_cancel() {
    model(|| {
        let Tree {
            ctx: parent,
            guard,
            sweeps,
            ..
        } = Tree::still();
        let (ctx, own) = parent.child();
        let alive = own.handle();
        own.disarm();
        let hook = Counted::on(&ctx);
        drop(ctx);
        let canceller = thread::spawn(move || guard.cancel("over"));
        let Counted { hook, runs } = hook;
        hook.detach();
        canceller.join().unwrap();
        sweeps.run();
        assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert!(!alive.is_alive(), "kept by nothing after the run");
    });
}

//= C58
#[test]
fn two_hooks_that_stop_each_other() {
    model(|| {
        let Tree {
            ctx: root,
            guard: _root,
            sweeps,
            ..
        } = Tree::still();
        let (one, one_guard) = root.child();
        let (two, two_guard) = root.child();
        let slots: Arc<[Mutex<Option<Arc<Hook>>>; 2]> = Arc::default();
        let hooks = [&one, &two].map(|ctx| {
            let other = usize::from(ctx == &one);
            let slots = Arc::clone(&slots);
            ctx.on_done(move |_| {
                let hook = slots[other].lock().unwrap().clone();
                if let Some(hook) = hook {
                    hook.stop();
                }
            })
        });
        for (slot, hook) in slots.iter().zip(hooks) {
            *slot.lock().unwrap() = Some(Arc::new(hook));
        }
        let canceller = thread::spawn(move || one_guard.cancel("one"));
        two_guard.cancel("two");
        canceller.join().unwrap();
        sweeps.run();
        // One of them ran; the other one as well, or was stopped.
        let hooks = [0, 1].map(|at| slots[at].lock().unwrap().take().unwrap());
        assert!(hooks.iter().any(|hook| hook.has_run()));
        assert!(hooks.iter().all(|hook| !hook.stop()));
    });
}

//= C8
//= C59
#[test]
fn a_hook_cancels_its_child_during_the_sweep_of_the_parent() {
    model(|| {
        let Tree {
            ctx: parent,
            guard,
            sweeps,
            ..
        } = Tree::still();
        let (child, own) = parent.child();
        let waiting = Waiting::on(&child);
        let hook = parent.on_done(move |_| {
            assert!(!own.cancel("by the hook"));
        });
        let canceller = thread::spawn(move || guard.cancel("over"));
        let late = Waiting::on(&child);
        canceller.join().unwrap();
        sweeps.run();
        assert!(hook.has_run());
        waiting.assert_over();
        late.assert_over();
    });
}

//= C59
#[test]
fn a_hook_registers_and_derives_on_its_own_context() {
    model(|| {
        let Tree {
            ctx, guard, sweeps, ..
        } = Tree::still();
        let inner = ctx.clone();
        let ready = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&ready);
        let hook = ctx.on_done(move |cause| {
            let (child, _guard) = inner.child();
            assert_eq!(Waiting::on(&child).assert_over(), *cause);
            assert_eq!(Waiting::on(&inner).assert_over(), *cause);
            Counted::on(&inner).assert_ran_once();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        let canceller = thread::spawn(move || guard.cancel("over"));
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        sweeps.run();
        waiting.assert_over();
        assert!(hook.has_run());
        assert_eq!(ready.load(std::sync::atomic::Ordering::SeqCst), 1);
    });
}
