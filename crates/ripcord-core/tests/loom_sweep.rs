//! Models of sweeps that another thread finishes, while the tree goes on.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Counted, Sweeps, Tree, Waiting, model};
use ripcord_core::{CancelGuard, Canceller, Ctx, Grace};
use std::sync::Arc;

/// A root with so many waiters that a canceller gets no further than those: the
/// children are left to the sweeper.
fn crowd(tree: &Tree) -> Vec<Waiting> {
    (0..32).map(|_| Waiting::on(&tree.ctx)).collect()
}

/// Cancels the root; the rest of the sweep is with the sweeper.
fn cancel(tree: &Tree) {
    assert!(tree.guard.cancel("over"));
}

fn child(parent: &Ctx) -> (Ctx, Canceller) {
    let (ctx, guard): (Ctx, CancelGuard) = parent.child();
    let alive = guard.handle();
    guard.disarm();
    (ctx, alive)
}

fn sweeper(sweeps: &Arc<Sweeps>) -> thread::JoinHandle<usize> {
    let sweeps = Arc::clone(sweeps);
    thread::spawn(move || sweeps.run())
}

//= C47
//= C36
#[test]
fn a_sweep_handed_over_and_children_that_leave() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (leaving, alive) = child(&tree.ctx);
        let (staying, _staying) = child(&tree.ctx);
        let gone = Waiting::on(&leaving);
        let waiting = Waiting::on(&staying);
        cancel(&tree);
        assert_eq!(waiting.wakes.count(), 0, "left to the sweeper");
        let dropping = thread::spawn(move || drop((leaving, gone)));
        assert_eq!(tree.sweeps.run(), 1);
        dropping.join().unwrap();
        waiting.assert_over();
        assert!(!alive.is_alive());
        crowd
            .into_iter()
            .for_each(|waiting| drop(waiting.assert_over()));
    });
}

//= C47
//= C44
#[test]
fn a_sweep_handed_over_and_a_registration() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (one, _one) = child(&tree.ctx);
        let (two, _two) = child(&one);
        let waiting = Waiting::on(&one);
        cancel(&tree);
        let sweeper = sweeper(&tree.sweeps);
        let at_linked = Waiting::on(&one);
        let at_unlinked = Waiting::on(&two);
        sweeper.join().unwrap();
        waiting.assert_over();
        at_linked.assert_over();
        at_unlinked.assert_over();
        drop(crowd);
    });
}

//= C47
//= C54
#[test]
fn a_sweep_handed_over_and_hooks_that_are_stopped() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (ctx, _alive) = child(&tree.ctx);
        let stopped = Counted::on(&ctx);
        let hook = Counted::on(&ctx);
        cancel(&tree);
        let sweeper = sweeper(&tree.sweeps);
        let prevented = stopped.hook.stop();
        sweeper.join().unwrap();
        assert_eq!(stopped.runs(), usize::from(!prevented));
        hook.assert_ran_once();
        drop(crowd);
    });
}

//= C47
//= C8
#[test]
fn a_sweep_handed_over_and_a_cancel_below() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (one, own) = tree.ctx.child();
        let (two, _two) = child(&one);
        let upper = Waiting::on(&one);
        let lower = Waiting::on(&two);
        cancel(&tree);
        let sweeper = sweeper(&tree.sweeps);
        assert!(!own.cancel("late"), "it is done already");
        sweeper.join().unwrap();
        upper.assert_over();
        lower.assert_over();
        drop(crowd);
    });
}

//= C46
#[test]
fn a_cancel_and_sweep_below_while_the_sweep_above_is_handed_over() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (one, own) = tree.ctx.child();
        let (two, _two) = child(&one);
        let waiting = Waiting::on(&two);
        let sweeps = Arc::clone(&tree.sweeps);
        let guard = tree.guard;
        let canceller = thread::spawn(move || {
            guard.cancel("over");
            sweeps.run();
        });
        let won = own.cancel_and_sweep("own");
        canceller.join().unwrap();
        let message = if won { "own" } else { "over" };
        assert_eq!(waiting.assert_over().message(), Some(message));
        drop(crowd);
    });
}

//= C47
//= C83
#[test]
fn a_sweep_handed_over_and_a_force() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let shield = tree.ctx.shield(Grace::UNBOUNDED);
        let (ctx, _alive) = child(&tree.ctx);
        let sheltered = Waiting::on(&shield);
        let waiting = Waiting::on(&ctx);
        cancel(&tree);
        let sweeper = sweeper(&tree.sweeps);
        assert!(tree.guard.force("now"));
        sweeper.join().unwrap();
        tree.sweeps.run();
        waiting.assert_over();
        sheltered.assert_over();
        drop(crowd);
    });
}

//= C47
//= C11
#[test]
fn a_sweep_outlives_all_handles() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (ctx, alive) = child(&tree.ctx);
        let waiting = Waiting::on(&ctx);
        cancel(&tree);
        let root = tree.guard.handle();
        let sweeps = Arc::clone(&tree.sweeps);
        let dropping = thread::spawn(move || drop((tree, crowd, ctx)));
        sweeps.run();
        dropping.join().unwrap();
        waiting.assert_over();
        assert!(!alive.is_alive() && !root.is_alive());
    });
}

//= C47
#[test]
fn steps_of_one_sweep_by_two_threads() {
    model(|| {
        let tree = Tree::still();
        let crowd = crowd(&tree);
        let (one, _one) = child(&tree.ctx);
        let waiting = Waiting::on(&one);
        let hook = Counted::on(&one);
        let guard = tree.guard;
        let sweeps = Arc::clone(&tree.sweeps);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        // Takes what is there already; the rest is taken afterwards.
        sweeps.run();
        canceller.join().unwrap();
        sweeps.run();
        waiting.assert_over();
        hook.assert_ran_once();
        drop(crowd);
    });
}
