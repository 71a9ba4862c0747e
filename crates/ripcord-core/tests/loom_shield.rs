//! Models of shields: what keeps a cancel out for a time, and what gets through.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Acting, Counted, Tree, Waiting, model, model_with, secs};
use ripcord_core::{Ctx, Grace, Phase};

const GRACE: u64 = 1;

fn grace() -> Grace {
    Grace::of(secs(GRACE))
}

//= C81
//= C44
#[test]
fn a_registration_below_a_shield_and_a_cancel_above() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let guard = tree.guard;
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&shield);
        canceller.join().unwrap();
        waiting.assert_waits();
        assert_eq!(tree.timer.waiting(), 1, "somebody waits for the cut");
        tree.clock.set(GRACE);
        tree.timer.fire(shield.clock_now());
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C81
//= C44
#[test]
fn a_registration_at_a_child_of_a_shield_and_a_cancel_above() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let (ctx, _own) = shield.child();
        let guard = tree.guard;
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        waiting.assert_waits();
        tree.clock.set(GRACE);
        tree.timer.fire(shield.clock_now());
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C80
//= C81
#[test]
fn a_shield_made_during_a_cancel() {
    model_with(1, || {
        let tree = Tree::still();
        let guard = tree.guard;
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let shield = tree.ctx.shield(grace());
        let waiting = Waiting::on(&shield);
        canceller.join().unwrap();
        assert!(!shield.is_done());
        waiting.assert_waits();
        tree.clock.set(GRACE);
        tree.timer.fire(shield.clock_now());
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C83
//= C44
#[test]
fn a_registration_below_a_shield_and_a_force() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(Grace::UNBOUNDED);
        let guard = tree.guard;
        let force = thread::spawn(move || {
            assert!(guard.force("now"));
        });
        let waiting = Waiting::on(&shield);
        force.join().unwrap();
        waiting.assert_over();
        assert_eq!(shield.phase(), Phase::Forced);
    });
}

//= C83
//= C44
#[test]
fn a_registration_below_a_shield_and_a_force_after_a_cancel() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(Grace::UNBOUNDED);
        let (ctx, _own) = shield.child();
        tree.guard.cancel("over");
        let guard = tree.guard;
        let force = thread::spawn(move || {
            assert!(guard.force("now"));
        });
        let waiting = Waiting::on(&ctx);
        force.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
    });
}

//= C83
//= C84
#[test]
fn a_force_and_a_cancel_with_somebody_below_a_shield() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let (ctx, _own) = shield.child();
        let waiting = Waiting::on(&ctx);
        let canceller = tree.guard.handle();
        let cancel = thread::spawn(move || {
            canceller.cancel("over");
        });
        assert!(tree.guard.force("now"));
        cancel.join().unwrap();
        let cause = waiting.assert_over();
        assert_eq!(tree.ctx.cause(), Some(cause));
        assert_eq!(ctx.phase(), Phase::Forced);
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C36
//= C83
#[test]
fn the_cut_and_a_force() {
    model(|| {
        let tree = Tree::new();
        let shield = tree.ctx.shield(grace());
        let waiting = Waiting::on(&shield);
        tree.guard.cancel("over");
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(GRACE));
        assert!(tree.guard.force("now"));
        clock.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C36
//= C79
#[test]
fn the_cut_and_a_cancel_inside() {
    model(|| {
        let tree = Tree::new();
        let shield = tree.ctx.shield(grace());
        let (ctx, own) = shield.child();
        let waiting = Waiting::on(&ctx);
        tree.guard.cancel("over");
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(GRACE));
        let own_won = own.cancel("inside");
        clock.join().unwrap();
        let message = if own_won { "inside" } else { "over" };
        assert_eq!(waiting.assert_over().message(), Some(message));
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C81
#[test]
fn a_look_and_a_sweep_start_one_grace() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let waiting = Waiting::on(&shield);
        let guard = tree.guard;
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        assert!(!shield.is_done());
        canceller.join().unwrap();
        tree.clock.set(GRACE);
        assert!(shield.is_done());
        tree.timer.fire(shield.clock_now());
        waiting.assert_over();
    });
}

//= C81
#[test]
fn a_deadline_above_a_shield_and_a_registration_below() {
    model(|| {
        let tree = Tree::new();
        let ctx = tree.ctx.with_timeout(secs(1));
        let shield = ctx.shield(grace());
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        let waiting = Waiting::on(&shield);
        clock.join().unwrap();
        tree.time().pass_to(1);
        waiting.assert_waits();
        tree.time().pass_to(1 + GRACE);
        waiting.assert_over();
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C11
//= C31
#[test]
fn a_shield_is_dropped_while_its_parent_ends() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let (ctx, own) = shield.child();
        let alive = own.handle();
        own.disarm();
        let gone = Waiting::on(&ctx);
        let guard = tree.guard;
        let dropping = thread::spawn(move || drop((shield, ctx, gone)));
        guard.cancel("over");
        dropping.join().unwrap();
        assert!(!alive.is_alive());
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C56
//= C83
#[test]
fn a_hook_below_a_shield_and_a_force() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(Grace::UNBOUNDED);
        let guard = tree.guard;
        let force = thread::spawn(move || {
            guard.force("now");
        });
        let hook = Counted::on(&shield);
        force.join().unwrap();
        tree.sweeps.run();
        hook.assert_ran_once();
    });
}

//= C81
//= C44
//= C39
#[test]
fn two_registrations_below_a_shield_and_a_cancel_before_one() {
    model(|| {
        let tree = Tree::still();
        let shield = tree.ctx.shield(grace());
        let (one, _one) = shield.child();
        let (two, _two): (Ctx, _) = shield.child();
        let guard = tree.guard;
        let second = thread::spawn(move || Waiting::on(&two));
        let first = Acting::on(&one, move || {
            guard.cancel("over");
        });
        let second = second.join().unwrap();
        second.assert_waits();
        tree.clock.set(GRACE);
        tree.timer.fire(shield.clock_now());
        first.assert_over();
        second.assert_over();
    });
}

//= C83
//= C84
#[test]
fn a_shield_made_during_a_sweep_is_found_by_a_later_force() {
    model_with(1, || {
        let tree = Tree::still();
        let (ctx, _own) = tree.ctx.child();
        let canceller = tree.guard.handle();
        let sweep = thread::spawn(move || {
            canceller.cancel("over");
        });
        let shield = ctx.shield(Grace::UNBOUNDED);
        sweep.join().unwrap();
        let waiting = Waiting::on(&shield);
        waiting.assert_waits();
        assert!(tree.guard.force("now"));
        waiting.assert_over();
        assert_eq!(shield.phase(), Phase::Forced);
    });
}

//= C83
//= C84
#[test]
fn a_shield_made_during_two_sweeps_is_found_by_a_later_force() {
    model_with(1, || {
        let tree = Tree::still();
        let (ctx, own) = tree.ctx.child();
        let _linked = Waiting::on(&ctx);
        let canceller = tree.guard.handle();
        let sweeps = thread::spawn(move || {
            own.cancel("own");
            own.disarm();
            canceller.cancel("over");
        });
        let shield = ctx.shield(Grace::UNBOUNDED);
        sweeps.join().unwrap();
        let waiting = Waiting::on(&shield);
        waiting.assert_waits();
        assert!(tree.guard.force("now"));
        waiting.assert_over();
        assert_eq!(shield.phase(), Phase::Forced);
    });
}

//= C83
//= C84
#[test]
fn a_shield_made_during_a_force() {
    model_with(1, || {
        let tree = Tree::still();
        tree.guard.cancel("over");
        let guard = tree.guard;
        let force = thread::spawn(move || {
            assert!(guard.force("now"));
        });
        let shield = tree.ctx.shield(Grace::UNBOUNDED);
        force.join().unwrap();
        Waiting::on(&shield).assert_over();
        assert_eq!(shield.phase(), Phase::Forced);
    });
}

//= C83
//= C84
#[test]
fn a_shield_made_during_a_sweep_and_a_force() {
    model_with(1, || {
        let tree = Tree::still();
        let (ctx, _own) = tree.ctx.child();
        let guard = tree.guard;
        let sweeps = thread::spawn(move || {
            guard.cancel("over");
            assert!(guard.force("now"));
        });
        let shield = ctx.shield(Grace::UNBOUNDED);
        sweeps.join().unwrap();
        Waiting::on(&shield).assert_over();
        assert_eq!(shield.phase(), Phase::Forced);
    });
}
