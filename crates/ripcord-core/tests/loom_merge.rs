//! Models of contexts with several parents, and of shared work.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{Tree, Waiting, model, model_with, secs, top};
use ripcord_core::{Ctx, Kind, Shared};

//= C70
//= C36
#[test]
fn two_parents_end_while_somebody_waits() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let merged = Ctx::merge([&one, &two]);
        let waiting = Waiting::on(&merged);
        let first = thread::spawn(move || {
            one_guard.cancel("one");
        });
        two_guard.cancel("two");
        let seen = merged.cause();
        first.join().unwrap();
        assert_eq!(merged.cause(), seen);
        assert_eq!(Some(waiting.assert_over()), seen);
    });
}

//= C70
//= C24
#[test]
fn two_parents_end_while_two_threads_look() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let merged = Ctx::merge([&one, &two]);
        let other = merged.clone();
        let first = thread::spawn(move || {
            one_guard.cancel("one");
            other.cause()
        });
        two_guard.cancel("two");
        let seen = merged.cause();
        assert!(seen.is_some());
        assert_eq!(first.join().unwrap(), seen);
        assert_eq!(merged.cause(), seen);
    });
}

//= C65
//= C44
#[test]
fn a_registration_and_a_cancel_of_the_second_parent() {
    model(|| {
        let (one, _one) = top();
        let (two, two_guard) = top();
        let merged = Ctx::merge([&one, &two]);
        let canceller = thread::spawn(move || {
            two_guard.cancel("two");
        });
        let waiting = Waiting::on(&merged);
        canceller.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("two"));
        assert!(!one.is_done());
    });
}

//= C65
//= C44
#[test]
fn a_registration_at_a_merge_and_a_cancel_above_a_parent() {
    model(|| {
        let (above, guard) = top();
        let (one, _one) = above.child();
        let (two, _two) = top();
        let merged = Ctx::merge([&two, &one]);
        let canceller = thread::spawn(move || drop(guard));
        let waiting = Waiting::on(&merged);
        canceller.join().unwrap();
        assert_eq!(waiting.assert_over().kind(), Kind::Dropped);
    });
}

//= C36
//= C67
#[test]
fn a_common_ancestor_ends_during_a_registration() {
    model(|| {
        let (above, guard) = top();
        let (one, _one) = above.child();
        let (two, _two) = above.child();
        let merged = Ctx::merge([&one, &two]);
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        let waiting = Waiting::on(&merged);
        canceller.join().unwrap();
        waiting.assert_over();
    });
}

//= C69
#[test]
fn a_merge_is_dropped_while_a_parent_ends() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let merged = Ctx::merge([&one, &two]);
        let (ctx, own) = merged.child();
        let alive = own.handle();
        own.disarm();
        let gone = Waiting::on(&ctx);
        let staying = Waiting::on(&two);
        let dropping = thread::spawn(move || drop((ctx, merged, gone)));
        one_guard.cancel("one");
        dropping.join().unwrap();
        assert!(!alive.is_alive());
        staying.assert_waits();
        two_guard.cancel("two");
        staying.assert_over();
    });
}

//= C71
//= C36
#[test]
fn the_last_two_members_of_all_end_at_once() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        let waiting = Waiting::on(&all);
        let first = thread::spawn(move || {
            one_guard.cancel("one");
        });
        let second = thread::spawn(move || {
            two_guard.cancel("two");
        });
        first.join().unwrap();
        second.join().unwrap();
        waiting.assert_over();
    });
}

//= C71
//= C44
#[test]
fn a_registration_and_the_end_of_the_last_member_of_all() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        one_guard.cancel("one");
        let canceller = thread::spawn(move || {
            two_guard.cancel("two");
        });
        let waiting = Waiting::on(&all);
        canceller.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("two"));
    });
}

//= C71
//= C44
#[test]
fn a_registration_and_the_ends_of_both_members_of_all() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        let canceller = thread::spawn(move || {
            drop(one_guard);
            drop(two_guard);
        });
        let waiting = Waiting::on(&all);
        canceller.join().unwrap();
        waiting.assert_over();
    });
}

//= C71
//= C44
#[test]
fn a_registration_and_the_ends_of_both_members_of_all_by_two_threads() {
    model_with(1, || {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        let first = thread::spawn(move || drop(one_guard));
        let second = thread::spawn(move || drop(two_guard));
        let waiting = Waiting::on(&all);
        first.join().unwrap();
        second.join().unwrap();
        waiting.assert_over();
    });
}

//= C71
#[test]
fn a_deadline_and_a_cancel_end_the_members_of_all() {
    model(|| {
        let tree = Tree::new();
        let one = tree.ctx.with_timeout(secs(1));
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        let waiting = Waiting::on(&all);
        let time = tree.time();
        let clock = thread::spawn(move || time.pass_to(1));
        two_guard.cancel("two");
        clock.join().unwrap();
        waiting.assert_over();
    });
}

//= C71
//= C23
#[test]
fn all_is_done_with_a_cause_or_not_at_all() {
    model(|| {
        let (one, one_guard) = top();
        let (two, two_guard) = top();
        let all = Ctx::all_of([&one, &two]);
        let first = thread::spawn(move || {
            one_guard.cancel("one");
        });
        two_guard.cancel("two");
        if all.is_done() {
            assert!(one.is_done());
            assert!(all.cause().is_some());
        }
        first.join().unwrap();
        assert!(all.is_done());
    });
}

//= C72
#[test]
fn a_join_and_the_last_member_that_leaves() {
    model(|| {
        let (ctx, _guard) = top();
        let shared = Shared::new(&ctx);
        let last = shared.join(&ctx).unwrap();
        let same = shared.clone();
        let other = ctx.clone();
        let joining = thread::spawn(move || same.join(&other));
        drop(last);
        match joining.join().unwrap() {
            Ok(member) => {
                assert!(!shared.ctx().is_done());
                drop(member);
            }
            Err(error) => assert_eq!(error.cause(), &shared.ctx().cause().unwrap()),
        }
        assert!(shared.ctx().is_done());
        assert!(shared.join(&ctx).is_err());
    });
}

//= C72
#[test]
fn two_members_leave_at_once() {
    model(|| {
        let (one, one_guard) = top();
        let (two, _two) = top();
        let shared = Shared::new(&one);
        let _first = shared.join(&one).unwrap();
        let second = shared.join(&two).unwrap();
        let waiting = Waiting::on(shared.ctx());
        let leaving = thread::spawn(move || {
            one_guard.cancel("one");
        });
        drop(second);
        leaving.join().unwrap();
        assert_eq!(shared.members(), 0);
        waiting.assert_over();
    });
}

//= C72
#[test]
fn a_member_that_is_dropped_while_its_context_ends() {
    model(|| {
        let (one, guard) = top();
        let (two, _two) = top();
        let shared = Shared::new(&one);
        let leaving = shared.join(&one).unwrap();
        let staying = shared.join(&two).unwrap();
        let canceller = thread::spawn(move || {
            guard.cancel("over");
        });
        drop(leaving);
        canceller.join().unwrap();
        assert_eq!(shared.members(), 1, "it is counted off once");
        assert!(!shared.ctx().is_done());
        drop(staying);
        assert!(shared.ctx().is_done());
    });
}
