//! Models of the end itself: who wins, which cause is seen, and that it stays.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_support::{Waiting, Wakes, model, poll, top};
use ripcord_core::{Cause, Ctx, Kind, Phase};
use std::sync::Arc;

/// Whatever was seen first is seen ever after.
#[track_caller]
fn assert_stable(seen: Option<Cause>, ctx: &Ctx) {
    if let Some(seen) = seen {
        assert_eq!(ctx.cause(), Some(seen));
    }
}

//= C5
//= C17
//= C24
#[test]
fn two_cancels_have_one_winner() {
    model(|| {
        let (ctx, guard) = top();
        let canceller = guard.handle();
        let one = thread::spawn(move || canceller.cancel("one"));
        let other = thread::spawn(move || {
            let won = guard.cancel("other");
            guard.disarm();
            won
        });
        let seen = ctx.cause();
        assert_stable(seen.clone(), &ctx);
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        assert!(one ^ other);
        let message = if one { "one" } else { "other" };
        assert_eq!(ctx.cause().unwrap().message(), Some(message));
        assert_stable(seen, &ctx);
    });
}

//= C5
//= C36
#[test]
fn two_cancels_wake_a_waiter_once() {
    model(|| {
        let (ctx, guard) = top();
        let waiting = Waiting::on(&ctx);
        let canceller = guard.handle();
        let one = thread::spawn(move || canceller.cancel("one"));
        let other = guard.cancel_and_sweep("other");
        assert!(one.join().unwrap() ^ other);
        waiting.assert_over();
    });
}

//= C12
//= C24
#[test]
fn a_dropped_guard_and_a_canceller_give_one_cause() {
    model(|| {
        let (ctx, guard) = top();
        let canceller = guard.handle();
        let dropping = thread::spawn(move || drop(guard));
        let other = ctx.clone();
        let looking = thread::spawn(move || other.cause());
        let won = canceller.cancel("asked");
        let seen = ctx.cause();
        dropping.join().unwrap();
        assert_stable(looking.join().unwrap(), &ctx);
        assert_stable(seen, &ctx);
        let kind = ctx.cause().unwrap().kind();
        let expected = if won { Kind::Cancelled } else { Kind::Dropped };
        assert_eq!(kind, expected);
    });
}

//= C12
//= C44
#[test]
fn a_dropped_guard_and_a_first_registration() {
    model(|| {
        let (ctx, guard) = top();
        let dropping = thread::spawn(move || drop(guard));
        let waiting = Waiting::on(&ctx);
        dropping.join().unwrap();
        assert_eq!(waiting.assert_over().kind(), Kind::Dropped);
    });
}

//= C12
//= C44
#[test]
fn a_dropped_guard_and_a_first_registration_below() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let dropping = thread::spawn(move || drop(guard));
        let waiting = Waiting::on(&ctx);
        dropping.join().unwrap();
        assert_eq!(waiting.assert_over().kind(), Kind::Dropped);
    });
}

//= C23
#[test]
fn who_sees_the_end_sees_the_cause() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let canceller = thread::spawn(move || guard.cancel("over"));
        if ctx.is_done() {
            assert_eq!(ctx.cause().unwrap().message(), Some("over"));
            assert!(ctx.check().is_err());
            assert!(poll(&mut ctx.done(), &Wakes::new()).is_ready());
        }
        canceller.join().unwrap();
        assert!(ctx.is_done());
    });
}

//= C23
#[test]
fn who_sees_the_end_by_a_dropped_guard_sees_the_cause() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let dropping = thread::spawn(move || drop(guard));
        let other = parent.clone();
        let looking = thread::spawn(move || other.cause());
        if ctx.is_done() {
            assert_eq!(ctx.cause().unwrap().kind(), Kind::Dropped);
        }
        dropping.join().unwrap();
        // The cause is made by the first who looks; all get the same.
        let cause = ctx.cause().unwrap();
        assert_eq!(parent.cause(), Some(cause.clone()));
        assert!(looking.join().unwrap().is_none_or(|seen| seen == cause));
    });
}

//= C24
//= C5
#[test]
fn a_cancel_and_a_cancel_above_give_one_cause() {
    model(|| {
        let (parent, above) = top();
        let (ctx, own) = parent.child();
        let above = thread::spawn(move || above.cancel("above"));
        let other = ctx.clone();
        let looking = thread::spawn(move || other.cause());
        let own_won = own.cancel("own");
        assert!(above.join().unwrap());
        let cause = ctx.cause().unwrap();
        let message = if own_won { "own" } else { "above" };
        assert_eq!(cause.message(), Some(message));
        assert!(looking.join().unwrap().is_none_or(|seen| seen == cause));
        assert_eq!(parent.cause().unwrap().message(), Some("above"));
    });
}

//= C24
#[test]
fn two_cancels_above_give_one_cause() {
    model(|| {
        let (top, top_guard) = top();
        let (middle, middle_guard) = top.child();
        let (ctx, _own) = middle.child();
        let top = thread::spawn(move || top_guard.cancel("top"));
        let middle = thread::spawn(move || {
            middle_guard.cancel("middle");
            middle_guard.disarm();
        });
        let first = ctx.cause();
        let second = ctx.cause();
        assert!(first.is_none() || first == second);
        top.join().unwrap();
        middle.join().unwrap();
        assert_stable(second, &ctx);
        assert!(ctx.cause().is_some());
    });
}

//= C6
//= C7
#[test]
fn a_child_derived_during_a_cancel() {
    model(|| {
        let (parent, guard) = top();
        let canceller = thread::spawn(move || guard.cancel("over"));
        let (ctx, _own) = parent.child();
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        assert!(ctx.is_done());
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C3
#[test]
fn after_cancel_the_subtree_is_done() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let (other, _other) = top();
        let merged = Ctx::merge([&other, &ctx]);
        let returned = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&returned);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
            tell.store(true, Ordering::Release);
        });
        if returned.load(Ordering::Acquire) {
            assert!(ctx.is_done() && merged.is_done());
            assert_eq!(merged.cause().unwrap().message(), Some("over"));
        }
        canceller.join().unwrap();
        assert!(ctx.is_done() && merged.is_done());
    });
}

//= C8
//= C36
#[test]
fn cancels_of_all_nodes_of_a_chain_wake_once() {
    model(|| {
        let (top, top_guard) = top();
        let (middle, middle_guard) = top.child();
        let (bottom, bottom_guard) = middle.child();
        let waiting = Waiting::on(&bottom);
        let others = thread::spawn(move || {
            bottom_guard.cancel("bottom");
            middle_guard.cancel("middle");
            middle_guard.disarm();
            bottom_guard.disarm();
        });
        top_guard.cancel("top");
        others.join().unwrap();
        assert!(top.is_done() && middle.is_done());
        waiting.assert_over();
    });
}

//= C83
//= C84
#[test]
fn phases_only_go_up_in_a_force_and_a_cancel() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let canceller = guard.handle();
        let cancel = thread::spawn(move || canceller.cancel("cancelled"));
        let force = thread::spawn(move || {
            assert!(guard.force("forced"));
            guard.disarm();
        });
        let first = ctx.phase();
        let second = ctx.phase();
        assert!(first <= second);
        let cancel_won = cancel.join().unwrap();
        force.join().unwrap();
        assert_eq!(ctx.phase(), Phase::Forced);
        let message = if cancel_won { "cancelled" } else { "forced" };
        assert_eq!(ctx.cause().unwrap().message(), Some(message));
    });
}

//= C83
//= C85
#[test]
fn phases_only_go_up_in_a_drain_and_a_cancel() {
    model(|| {
        let (parent, guard) = top();
        let (ctx, _own) = parent.child();
        let canceller = guard.handle();
        let drain = thread::spawn(move || canceller.drain());
        let cancel = thread::spawn(move || assert!(guard.cancel("over")));
        let first = ctx.phase();
        let second = ctx.phase();
        assert!(first <= second);
        drain.join().unwrap();
        cancel.join().unwrap();
        assert_eq!(ctx.phase(), Phase::Cancelled);
        // The context is done, and ready for those who wait for the drain.
        assert!(poll(&mut ctx.draining(), &Wakes::new()).is_ready());
    });
}

//= C85
#[test]
fn two_drains_have_one_winner() {
    model(|| {
        let (_ctx, guard) = top();
        let canceller = guard.handle();
        let one = thread::spawn(move || canceller.drain());
        let other = guard.drain();
        assert!(one.join().unwrap() ^ other);
    });
}

//= C84
#[test]
fn two_forces_have_one_winner() {
    model(|| {
        let (ctx, guard) = top();
        let waiting = Waiting::on(&ctx);
        let canceller = guard.handle();
        let one = thread::spawn(move || canceller.force("one"));
        let other = guard.force("other");
        let one = one.join().unwrap();
        assert!(one || other);
        waiting.assert_over();
        assert_eq!(ctx.phase(), Phase::Forced);
    });
}

//= C14
#[test]
fn a_canceller_and_the_last_handle() {
    model(|| {
        let (ctx, guard) = top();
        let canceller = guard.handle();
        let dropping = thread::spawn(move || drop(ctx));
        let other = guard.handle();
        let cancelling = thread::spawn(move || other.cancel("asked"));
        drop(guard);
        dropping.join().unwrap();
        cancelling.join().unwrap();
        assert!(!canceller.is_alive());
        assert!(!canceller.cancel("late"));
    });
}
