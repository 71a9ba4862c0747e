//! Models of waiting: registrations of tasks against cancels and drains.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Acting, DrainWaiting, Waiting, Wakes, model, model_with, poll, top};
use ripcord_core::{CancelGuard, Ctx};

/// A chain of three contexts; nothing of it is linked.
fn chain() -> [(Ctx, CancelGuard); 3] {
    let top = top();
    let middle = top.0.child();
    let bottom = middle.0.child();
    [top, middle, bottom]
}

//= C44
#[test]
fn a_registration_and_a_cancel() {
    model(|| {
        let (ctx, guard) = top();
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C44
#[test]
fn a_registration_and_a_cancel_of_the_parent() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C44
#[test]
fn a_registration_below_an_unlinked_chain_and_a_cancel_above() {
    model(|| {
        let [(_, top), _middle, (bottom, _own)] = chain();
        let canceller = thread::spawn(move || drop(top));
        let waiting = Waiting::on(&bottom);
        canceller.join().unwrap();
        waiting.assert_over();
    });
}

//= C44
//= C36
#[test]
fn registrations_at_two_levels_and_a_cancel_above_after_the_first() {
    model_with(1, || {
        let [(_, top), (middle, _guard), (bottom, _own)] = chain();
        let lower = thread::spawn(move || Waiting::on(&bottom));
        let upper = Waiting::on(&middle);
        drop(top);
        let lower = lower.join().unwrap();
        upper.assert_over();
        lower.assert_over();
    });
}

//= C44
//= C39
#[test]
fn registrations_at_two_levels_and_a_cancel_above_before_the_upper_one() {
    model_with(1, || {
        let [(_, top), (middle, _guard), (bottom, _own)] = chain();
        let lower = thread::spawn(move || Waiting::on(&bottom));
        let upper = Acting::on(&middle, move || {
            top.cancel("over");
        });
        let lower = lower.join().unwrap();
        upper.assert_over();
        lower.assert_over();
    });
}

//= C44
//= C39
#[test]
fn registrations_at_two_levels_and_a_cancel_above_before_the_lower_one() {
    model_with(1, || {
        let [(_, top), (middle, _guard), (bottom, _own)] = chain();
        let upper = thread::spawn(move || Waiting::on(&middle));
        let lower = Acting::on(&bottom, move || {
            top.cancel("over");
        });
        let upper = upper.join().unwrap();
        lower.assert_over();
        upper.assert_over();
    });
}

//= C44
//= C39
#[test]
fn two_registrations_at_one_node_and_a_cancel_of_the_parent_before_one() {
    model_with(1, || {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let other = ctx.clone();
        let second = thread::spawn(move || Waiting::on(&other));
        let first = Acting::on(&ctx, move || {
            guard.cancel("over");
        });
        let second = second.join().unwrap();
        first.assert_over();
        second.assert_over();
    });
}

//= C44
//= C39
#[test]
fn two_registrations_at_one_node_and_a_cancel_of_it_before_one() {
    model(|| {
        let (ctx, guard) = top();
        let other = ctx.clone();
        let first = thread::spawn(move || {
            Acting::on(&other, move || {
                guard.cancel("over");
            })
        });
        let second = Waiting::on(&ctx);
        first.join().unwrap().assert_over();
        second.assert_over();
    });
}

#[test]
fn two_first_registrations_at_one_node() {
    model(|| {
        let (ctx, guard) = top();
        let other = ctx.clone();
        let first = thread::spawn(move || Waiting::on(&other));
        let second = Waiting::on(&ctx);
        let first = first.join().unwrap();
        first.assert_waits();
        second.assert_waits();
        guard.cancel("over");
        first.assert_over();
        second.assert_over();
    });
}

#[test]
fn two_first_registrations_below_one_unlinked_parent() {
    model(|| {
        let (parent, guard) = top();
        let (one, _one) = parent.child();
        let (two, _two) = parent.child();
        let first = thread::spawn(move || Waiting::on(&one));
        let second = Waiting::on(&two);
        let first = first.join().unwrap();
        first.assert_waits();
        second.assert_waits();
        guard.cancel("over");
        first.assert_over();
        second.assert_over();
    });
}

//= C38
#[test]
fn a_change_of_the_waker_and_a_cancel() {
    model(|| {
        let (ctx, guard) = top();
        let (old, new) = (Wakes::new(), Wakes::new());
        let mut done = ctx.done();
        assert!(poll(&mut done, &old).is_pending());
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let is_pending = poll(&mut done, &new).is_pending();
        canceller.join().unwrap();
        if is_pending {
            assert_eq!((old.count(), new.count()), (0, 1));
        } else {
            assert!(old.count() <= 1 && new.count() == 0);
        }
        assert!(poll(&mut done, &new).is_ready());
    });
}

//= C37
#[test]
fn a_dropped_future_and_a_cancel() {
    model(|| {
        let (ctx, guard) = top();
        let leaving = Waiting::on(&ctx);
        let staying = Waiting::on(&ctx);
        let wakes = std::sync::Arc::clone(&leaving.wakes);
        let dropping = thread::spawn(move || drop(leaving));
        guard.cancel("over");
        dropping.join().unwrap();
        assert!(wakes.count() <= 1);
        staying.assert_over();
        assert_eq!(std::sync::Arc::strong_count(&wakes), 1);
    });
}

//= C37
#[test]
fn a_dropped_future_whose_place_is_taken_and_a_cancel() {
    model(|| {
        let (ctx, guard) = top();
        let leaving = Waiting::on(&ctx);
        let staying = Waiting::on(&ctx);
        let moving = thread::spawn(move || {
            drop(leaving);
            Waiting::on(&ctx)
        });
        guard.cancel("over");
        let coming = moving.join().unwrap();
        staying.assert_over();
        coming.assert_over();
    });
}

//= C36
//= C8
#[test]
fn cancels_of_a_node_and_of_its_parent_wake_once() {
    model(|| {
        let (parent, above) = top();
        let (ctx, own) = parent.child();
        let waiting = Waiting::on(&ctx);
        let above = thread::spawn(move || above.cancel("above"));
        let own_won = own.cancel("own");
        assert!(above.join().unwrap());
        let message = if own_won { "own" } else { "above" };
        assert_eq!(waiting.assert_over().message(), Some(message));
    });
}

//= C85
#[test]
fn a_drain_and_a_registration_two_levels_below() {
    model(|| {
        let [(top, guard), _middle, (bottom, _own)] = chain();
        let drain = thread::spawn(move || guard.drain_and_return());
        let waiting = DrainWaiting::on(&bottom);
        let _guard = drain.join().unwrap();
        waiting.assert_over();
        assert!(!top.is_done());
    });
}

//= C85
#[test]
fn a_drain_and_registrations_at_two_levels() {
    model_with(1, || {
        let [(_, top), (middle, _guard), (bottom, _own)] = chain();
        let upper = thread::spawn(move || {
            let waiting = DrainWaiting::on(&middle);
            (waiting, top.drain_and_return())
        });
        let lower = DrainWaiting::on(&bottom);
        let (upper, _top) = upper.join().unwrap();
        upper.assert_over();
        lower.assert_over();
    });
}

//= C85
#[test]
fn a_drain_and_a_drain_waiter_whose_place_is_taken() {
    model(|| {
        let (ctx, guard) = top();
        let leaving = DrainWaiting::on(&ctx);
        let other = ctx.clone();
        let drain = thread::spawn(move || guard.drain_and_return());
        let coming = thread::spawn(move || DrainWaiting::on(&other));
        drop(leaving);
        let _guard = drain.join().unwrap();
        coming.join().unwrap().assert_over();
    });
}

//= C85
//= C36
#[test]
fn a_drain_waiter_and_a_cancel() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = DrainWaiting::on(&ctx);
        canceller.join().unwrap();
        waiting.assert_over();
    });
}

/// Drains, and keeps the guard from cancelling.
trait DrainAndReturn {
    fn drain_and_return(self) -> Self;
}

impl DrainAndReturn for CancelGuard {
    fn drain_and_return(self) -> Self {
        assert!(self.drain());
        self
    }
}
