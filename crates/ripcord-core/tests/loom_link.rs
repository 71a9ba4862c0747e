//! Models of the lists: children that enter and leave them while others cancel.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Counted, Tree, Waiting, model, top};
use ripcord_core::{CancelGuard, Canceller, Ctx};

/// A child that ends by its parent only, and a way to see whether it still exists.
fn child(parent: &Ctx) -> (Ctx, Canceller) {
    let (ctx, guard) = parent.child();
    let alive = guard.handle();
    guard.disarm();
    (ctx, alive)
}

//= C11
//= C36
#[test]
fn a_child_that_leaves_and_a_sweep() {
    model(|| {
        let (parent, guard) = top();
        let (leaving, alive) = child(&parent);
        let (staying, _alive) = child(&parent);
        let gone = Waiting::on(&leaving);
        let waiting = Waiting::on(&staying);
        let dropping = thread::spawn(move || drop((leaving, gone)));
        guard.cancel("over");
        dropping.join().unwrap();
        waiting.assert_over();
        assert!(!alive.is_alive(), "the parent keeps nothing of it");
    });
}

//= C11
//= C44
#[test]
fn a_child_that_leaves_another_in_its_place_and_a_sweep() {
    model(|| {
        let (parent, guard) = top();
        let (leaving, alive) = child(&parent);
        let (coming, _coming) = child(&parent);
        let (staying, _staying) = child(&parent);
        let gone = Waiting::on(&leaving);
        let waiting = Waiting::on(&staying);
        let moving = thread::spawn(move || {
            drop((leaving, gone));
            // Takes the key of the one that left, which the sweep may have passed.
            Waiting::on(&coming)
        });
        guard.cancel("over");
        let late = moving.join().unwrap();
        waiting.assert_over();
        late.assert_over();
        assert!(!alive.is_alive());
    });
}

//= C11
#[test]
fn siblings_that_come_and_go() {
    model(|| {
        let (parent, guard) = top();
        let (leaving, alive) = child(&parent);
        let (coming, _coming) = child(&parent);
        let gone = Waiting::on(&leaving);
        let going = thread::spawn(move || drop((leaving, gone)));
        let waiting = Waiting::on(&coming);
        going.join().unwrap();
        assert!(!alive.is_alive());
        waiting.assert_waits();
        guard.cancel("over");
        waiting.assert_over();
    });
}

//= C11
//= C37
#[test]
fn two_handles_that_are_dropped_at_once() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, alive) = child(&parent);
        let one = Waiting::on(&ctx);
        let other = Waiting::on(&ctx);
        let wakes = std::sync::Arc::clone(&one.wakes);
        let dropping = thread::spawn(move || drop((ctx, one)));
        drop(other);
        dropping.join().unwrap();
        assert!(!alive.is_alive());
        guard.cancel("over");
        assert_eq!(wakes.count(), 0);
        assert_eq!(std::sync::Arc::strong_count(&wakes), 1, "the waker is gone");
    });
}

//= C10
//= C11
#[test]
fn a_chain_whose_handles_are_dropped_and_a_sweep() {
    model(|| {
        let (parent, guard) = top();
        let (middle, middle_alive) = child(&parent);
        let (bottom, bottom_alive) = child(&middle);
        drop(middle);
        let waiting = Waiting::on(&bottom);
        drop(bottom);
        let wakes = std::sync::Arc::clone(&waiting.wakes);
        let dropping = thread::spawn(move || drop(waiting));
        guard.cancel("over");
        dropping.join().unwrap();
        assert!(wakes.count() <= 1);
        assert!(!middle_alive.is_alive() && !bottom_alive.is_alive());
    });
}

//= C10
#[test]
fn the_middle_is_dropped_while_the_leaf_registers_and_the_top_ends() {
    model(|| {
        let (parent, guard) = top();
        let (middle, _alive) = child(&parent);
        let (bottom, _alive) = child(&middle);
        let canceller = thread::spawn(move || {
            drop(middle);
            drop(guard);
        });
        let waiting = Waiting::on(&bottom);
        canceller.join().unwrap();
        waiting.assert_over();
    });
}

//= C44
#[test]
fn a_first_registration_below_a_linked_node_and_a_cancel_above() {
    model(|| {
        let (parent, guard) = top();
        let (middle, _middle) = child(&parent);
        let (bottom, _bottom) = child(&middle);
        let upper = Waiting::on(&middle);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let lower = Waiting::on(&bottom);
        canceller.join().unwrap();
        upper.assert_over();
        lower.assert_over();
    });
}

//= C44
#[test]
fn a_first_registration_below_a_linked_node_that_is_seen_to_be_done() {
    model(|| {
        let (parent, guard) = top();
        let (middle, _middle) = child(&parent);
        let (bottom, _bottom) = child(&middle);
        let upper = Waiting::on(&middle);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        // Latches the middle, perhaps before the sweep comes to it.
        let _seen = middle.cause();
        let lower = Waiting::on(&bottom);
        canceller.join().unwrap();
        upper.assert_over();
        lower.assert_over();
    });
}

//= C40
//= C44
#[test]
fn a_registration_at_a_sibling_during_a_sweep_that_blocks() {
    model(|| {
        let Tree {
            ctx: parent,
            guard,
            sweeps,
            ..
        } = Tree::still();
        let (one, _one) = child(&parent);
        let (two, _two) = child(&parent);
        let hook = Counted::on(&one);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&two);
        let late = Counted::on(&two);
        canceller.join().unwrap();
        sweeps.run();
        hook.assert_ran_once();
        late.assert_ran_once();
        waiting.assert_over();
    });
}

//= C8
//= C11
#[test]
fn a_guard_dropped_with_its_context_and_a_sweep_above() {
    model(|| {
        let (parent, above) = top();
        let (ctx, guard): (Ctx, CancelGuard) = parent.child();
        let alive = guard.handle();
        let waiting = Waiting::on(&ctx);
        let dropping = thread::spawn(move || drop((ctx, guard)));
        above.cancel("over");
        dropping.join().unwrap();
        waiting.assert_over();
        assert!(!alive.is_alive());
    });
}
