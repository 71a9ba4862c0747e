//! Models of deadlines and shutdowns: alarms of another thread against everything else.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Counted, Tree, Waiting, model, secs, top};
use ripcord_core::{Ctx, Kind, Phase, ShutdownPlan};

//= C36
//= C31
#[test]
fn an_alarm_and_a_cancel() {
    model(|| {
        let tree = Tree::new();
        let ctx = tree.ctx.with_timeout(secs(1));
        let waiting = Waiting::on(&ctx);
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        let won = tree.guard.cancel("over");
        clock.join().unwrap();
        assert!(won);
        let kind = waiting.assert_over().kind();
        assert_eq!(ctx.cause().unwrap().kind(), kind);
        assert_eq!(tree.timer.waiting(), 0, "disarmed");
    });
}

//= C44
//= C31
#[test]
fn an_alarm_and_a_registration() {
    model(|| {
        let tree = Tree::new();
        let ctx = tree.ctx.with_timeout(secs(1));
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        let waiting = Waiting::on(&ctx);
        clock.join().unwrap();
        // One that was armed after that fires as soon as time is looked at again.
        tree.time().pass_to(1);
        assert_eq!(waiting.assert_over().kind(), Kind::DeadlineExceeded);
        assert!(tree.timer.armed() <= 1);
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C44
#[test]
fn an_alarm_and_a_registration_below_the_owner() {
    model(|| {
        let tree = Tree::new();
        let owner = tree.ctx.with_timeout(secs(1));
        let (ctx, _own) = owner.child();
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        let waiting = Waiting::on(&ctx);
        clock.join().unwrap();
        tree.time().pass_to(1);
        waiting.assert_over();
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C30
//= C24
#[test]
fn a_look_that_sees_the_expiry_and_the_alarm() {
    model(|| {
        let tree = Tree::new();
        let owner = tree.ctx.with_timeout(secs(1));
        let (ctx, _own) = owner.child();
        let waiting = Waiting::on(&ctx);
        tree.clock.set(1);
        let time = tree.time();
        let alarm = thread::spawn(move || time.pass_to(1));
        let seen = ctx.cause().expect("the deadline has passed");
        alarm.join().unwrap();
        assert_eq!(waiting.assert_over(), seen);
        assert_eq!(owner.cause(), Some(seen));
    });
}

//= C24
//= C5
#[test]
fn a_look_and_a_cancel_that_see_the_expiry() {
    model(|| {
        let tree = Tree::still();
        let ctx = tree.ctx.with_timeout(secs(1));
        let (below, guard) = ctx.child();
        tree.clock.set(1);
        let other = below.clone();
        let looking = thread::spawn(move || other.cause());
        assert!(!guard.cancel("late"));
        let seen = below.cause().unwrap();
        assert_eq!(seen.kind(), Kind::DeadlineExceeded);
        assert_eq!(looking.join().unwrap(), Some(seen.clone()));
        assert_eq!(ctx.cause(), Some(seen));
    });
}

//= C31
//= C32
#[test]
fn two_registrations_share_one_timer() {
    model(|| {
        let tree = Tree::still();
        let owner = tree.ctx.with_timeout(secs(1));
        let other = owner.clone();
        let first = thread::spawn(move || Waiting::on(&other));
        let second = Waiting::on(&owner);
        let first = first.join().unwrap();
        assert_eq!((tree.timer.armed(), tree.timer.waiting()), (1, 1));
        tree.time().pass_to(1);
        first.assert_over();
        second.assert_over();
    });
}

//= C31
#[test]
fn a_cancel_and_a_registration_leave_no_timer() {
    model(|| {
        let tree = Tree::still();
        let ctx = tree.ctx.with_timeout(secs(1));
        let guard = tree.guard;
        let canceller = thread::spawn(move || drop(guard));
        let waiting = Waiting::on(&ctx);
        canceller.join().unwrap();
        waiting.assert_over();
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C31
//= C11
#[test]
fn the_owner_is_dropped_while_its_alarm_fires() {
    model(|| {
        let tree = Tree::new();
        let owner = tree.ctx.with_timeout(secs(1));
        let (ctx, own) = owner.child();
        let alive = own.handle();
        own.disarm();
        let waiting = Waiting::on(&ctx);
        let staying = Waiting::on(&tree.ctx);
        let dropping = thread::spawn(move || drop((owner, ctx, waiting)));
        tree.time().pass_to(1);
        dropping.join().unwrap();
        assert!(!alive.is_alive());
        assert_eq!(tree.timer.waiting(), 0);
        staying.assert_waits();
        tree.guard.cancel("over");
        staying.assert_over();
    });
}

//= C54
//= C56
#[test]
fn a_hook_on_a_deadline_and_a_cancel() {
    model(|| {
        let tree = Tree::new();
        let ctx = tree.ctx.with_timeout(secs(1));
        let hook = Counted::on(&ctx);
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        tree.guard.cancel("over");
        clock.join().unwrap();
        tree.sweeps.run();
        hook.assert_ran_once();
    });
}

//= C54
#[test]
fn a_hook_that_an_alarm_left_to_the_sweeper_and_a_stop() {
    model(|| {
        let tree = Tree::new();
        let ctx = tree.ctx.with_timeout(secs(1));
        let hook = Counted::on(&ctx);
        tree.time().pass_to(1);
        assert_eq!(hook.runs(), 0, "not on the timer's thread");
        let sweeps = std::sync::Arc::clone(&tree.sweeps);
        let sweeper = thread::spawn(move || sweeps.run());
        let prevented = hook.hook.stop_and_wait();
        assert_eq!(hook.runs(), usize::from(!prevented));
        assert_eq!(sweeper.join().unwrap(), 1);
        assert_eq!(hook.runs(), usize::from(!prevented));
    });
}

//= C27
//= C36
#[test]
fn two_deadlines_of_one_path_pass_at_once() {
    model(|| {
        let tree = Tree::new();
        let outer = tree.ctx.with_timeout(secs(2));
        let (middle, _middle) = outer.child();
        let inner = middle.with_timeout(secs(1));
        let above = Waiting::on(&middle);
        let below = Waiting::on(&inner);
        let (one, two) = (tree.time(), tree.time());
        let first = thread::spawn(move || one.pass_to(2));
        two.pass_to(2);
        first.join().unwrap();
        above.assert_over();
        below.assert_over();
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C44
//= C68
#[test]
fn an_alarm_of_a_parent_and_a_registration_at_the_merge() {
    model(|| {
        let tree = Tree::new();
        let one = tree.ctx.with_timeout(secs(1));
        let (two, _two) = top();
        let merged = Ctx::merge([&two, &one]);
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        let waiting = Waiting::on(&merged);
        clock.join().unwrap();
        tree.time().pass_to(1);
        assert_eq!(waiting.assert_over().kind(), Kind::DeadlineExceeded);
    });
}

//= C86
#[test]
fn alarms_that_fire_while_a_shutdown_arms_them() {
    model(|| {
        let tree = Tree::new();
        let (ctx, guard) = tree.ctx.child();
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to_if_armed(1));
        guard.shutdown(ShutdownPlan::new(secs(1), secs(1)));
        clock.join().unwrap();
        tree.time().pass_to(1);
        assert_eq!(ctx.phase(), Phase::Cancelled);
        assert_eq!(ctx.cause().unwrap().kind(), Kind::Shutdown);
        tree.time().pass_to(2);
        assert_eq!(ctx.phase(), Phase::Forced);
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C86
#[test]
fn two_alarms_of_a_shutdown_at_once() {
    model(|| {
        let tree = Tree::new();
        let (ctx, guard) = tree.ctx.child();
        let waiting = Waiting::on(&ctx);
        guard.shutdown(ShutdownPlan::new(secs(1), secs(1)));
        tree.clock.set(1);
        let (one, two) = (tree.time(), tree.time());
        let first = thread::spawn(move || one.pass_to(1));
        two.pass_to(1);
        first.join().unwrap();
        tree.time().pass_to(2);
        assert_eq!(ctx.phase(), Phase::Forced);
        waiting.assert_over();
        assert_eq!(tree.timer.waiting(), 0);
    });
}
