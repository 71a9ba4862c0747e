//! Chapter *Merge* of the specification: contexts with several parents, and shared work.

#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::{HandTimer, HeldSweeper, Relay, Rng, Tally, below, finishes, message, together};
use ripcord_core::{CancelGuard, Ctx, Kind, Member, Phase, Shared, Value};
use ripcord_test::{ManualTask, TestClock};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct User(&'static str);
impl Value for User {}

#[derive(Debug, PartialEq)]
struct Tenant(&'static str);
impl Value for Tenant {}

/// So many contexts of one tree, with their guards.
fn several<const N: usize>(clock: &TestClock) -> [(Ctx, CancelGuard); N] {
    let (root, guard) = clock.ctx();
    guard.disarm();
    std::array::from_fn(|_| root.child())
}

/// How many contexts stand on the list of the root of that name.
fn linked(name: &str) -> usize {
    let rows = common::rows_named(name);
    let roots = rows.iter().filter(|row| row.parent.is_none());
    roots.map(|row| row.children).sum()
}

//= C65
#[test]
fn a_merge_ends_with_any_of_its_parents() {
    for registered in [false, true] {
        for which in 0..3 {
            let clock = TestClock::new();
            let parents = several::<3>(&clock);
            let merged = Ctx::merge(parents.iter().map(|(ctx, _)| ctx));
            let (below, _below_guard) = merged.child();
            let mut waiter = ManualTask::new(below.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            assert!(!merged.is_done() && merged.can_be_cancelled());
            parents[which].1.cancel(format!("{which}"));
            assert!(merged.is_done() && below.is_done());
            assert_eq!(merged.cause(), parents[which].0.cause());
            assert_eq!(below.cause(), parents[which].0.cause());
            assert_eq!(waiter.wakes(), usize::from(registered));
            for (at, (parent, _)) in parents.iter().enumerate() {
                assert_eq!(parent.is_done(), at == which);
            }
        }
    }
}

//= C65
#[test]
fn ending_a_merge_or_its_child_ends_no_parent() {
    let clock = TestClock::new();
    let [(a, _a), (b, _b)] = several(&clock);
    let merged = Ctx::merge([&a, &b]);
    let (child, guard) = merged.child();
    let timed = merged.with_timeout(SECOND);
    let mut waiter = ManualTask::new(merged.done());
    assert!(waiter.poll().is_pending());
    guard.force("only the child");
    clock.advance(SECOND);
    assert!(child.is_done() && timed.is_done());
    assert!(!merged.is_done() && !a.is_done() && !b.is_done());
    assert_eq!(waiter.wakes(), 0);
    drop(merged);
    assert!(!a.is_done() && !b.is_done());
}

//= C65
#[test]
fn the_parent_that_ended_first_counts_whenever_somebody_looks() {
    for registered in [false, true] {
        for first in 0..3_usize {
            let clock = TestClock::new();
            let parents = several::<3>(&clock);
            let merged = Ctx::merge(parents.iter().map(|(ctx, _)| ctx));
            let nested = Ctx::merge([&parents[0].0.child().0, &merged.child().0]);
            drop(nested);
            let mut waiter = ManualTask::new(merged.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            for step in 0..3 {
                let at = (first + step) % 3;
                clock.advance(SECOND);
                parents[at].1.cancel(format!("{at}"));
            }
            assert_eq!(message(&merged), Some(first.to_string()));
        }
    }
}

//= C65
#[test]
fn a_deadline_among_the_parents_counts_at_its_instant() {
    for cancel_first in [true, false] {
        let clock = TestClock::new();
        let root = clock.root().timer(Arc::new(HandTimer::new()));
        let (root, _root_guard) = root.build();
        let timed = root.with_timeout(2 * SECOND);
        let (other, guard) = root.child();
        let merged = Ctx::merge([&other, &timed]);
        clock.advance(if cancel_first { SECOND } else { 3 * SECOND });
        guard.cancel(Kind::PeerGone);
        clock.advance(5 * SECOND);
        let expect = if cancel_first {
            Kind::PeerGone
        } else {
            Kind::DeadlineExceeded
        };
        assert_eq!(merged.cause().unwrap().kind(), expect);
    }
}

//= C66
#[test]
fn of_parents_that_are_done_already_the_first_in_order_counts() {
    let clock = TestClock::new();
    let [(live, live_guard), (early, early_guard), (late, late_guard)] = several(&clock);
    early_guard.cancel("early");
    clock.advance(SECOND);
    late_guard.cancel("late");
    let cases: [(&[&Ctx], &str); 4] = [
        (&[&late, &early], "late"),
        (&[&early, &late], "early"),
        (&[&live, &late, &early], "late"),
        (&[&live, &late, &live], "late"),
    ];
    let merged: Vec<_> = cases
        .iter()
        .map(|(parents, _)| Ctx::merge(parents.iter().copied()))
        .collect();
    // At birth: what ends later does not count, even if nobody has looked.
    clock.advance(SECOND);
    live_guard.cancel("live");
    for (merged, (_, expect)) in merged.iter().zip(cases) {
        assert!(merged.is_done());
        assert_eq!(message(merged).as_deref(), Some(expect));
    }
    // An ancestor is no exception once something is done.
    let (parent, parent_guard) = Ctx::background().child();
    let (child, child_guard) = parent.child();
    child_guard.cancel("child");
    parent_guard.cancel("parent");
    assert_eq!(message(&Ctx::merge([&parent, &child])).unwrap(), "parent");
    assert_eq!(message(&Ctx::merge([&child, &parent])).unwrap(), "child");
}

//= C67
#[test]
fn superfluous_parents_add_no_link() {
    let (root, guard) = Ctx::root().name("superfluous").tracked().build();
    let (parent, _parent_guard) = root.named("superfluous parent").child();
    let mut deep = parent.clone();
    let mut guards = Vec::new();
    for _ in 0..50 {
        let (next, next_guard) = deep.named("superfluous deep").child();
        guards.push(next_guard);
        deep = next;
    }
    let (other, _other_guard) = root.named("superfluous other").child();
    let links = |of: &Ctx| {
        let name = of.name().unwrap();
        common::rows_named(name)
            .iter()
            .map(|row| row.children)
            .max()
    };
    let background = Ctx::background();
    let parents = [&root, &deep, &parent, &background, &deep, &other, &other];
    let merged = Ctx::merge(parents).named("superfluous merged");
    let mut waiter = ManualTask::new(merged.done());
    assert!(waiter.poll().is_pending());
    // The path to `deep`, and `other`; nothing of the merge itself.
    assert_eq!(links(&parent), Some(1));
    assert_eq!(links(&other), Some(1));
    assert_eq!(linked("superfluous"), 2);
    drop(waiter);
    guard.cancel("the left-out one");
    assert_eq!(message(&merged).unwrap(), "the left-out one");
}

//= C67
#[test]
fn one_parent_or_none_is_no_merge() {
    let (ctx, guard) = Ctx::background().child();
    let todo = Ctx::todo();
    let one = Ctx::merge([&todo, &ctx, &Ctx::background(), &ctx.named("view")]);
    let (child, own) = one.child();
    assert!(own.cancel("child") && !one.is_done() && child.is_done());
    guard.cancel("x");
    assert_eq!(one.cause(), ctx.cause());
    let named = Ctx::background().named("name").with(User("u"));
    let none = Ctx::merge([&todo, &named]);
    assert!(!none.can_be_cancelled() && !none.is_done());
    assert_eq!(none.get::<User>(), Some(&User("u")));
    assert_eq!(Ctx::merge([]), Ctx::background());
    assert_eq!(Ctx::merge([&Ctx::background()]), Ctx::background());
}

//= C68
#[test]
fn a_merge_has_the_earliest_deadline() {
    let clock = TestClock::new();
    let [(a, _a), (b, _b), (c, _c)] = several(&clock);
    let (soon, late) = (a.with_timeout(SECOND), b.with_timeout(2 * SECOND));
    let ways: [&[&Ctx]; 3] = [&[&soon, &late, &c], &[&late, &c, &soon], &[&c, &soon]];
    for parents in ways {
        let merged = Ctx::merge(parents.iter().copied());
        let nested = Ctx::merge([&merged, &late.child().0.child().0, &c]);
        assert_eq!(merged.remaining(), Some(SECOND));
        assert_eq!(
            merged.deadline().unwrap().at(),
            soon.deadline().unwrap().at()
        );
        assert!(nested.is_done(), "a guard of its parent is gone");
        let (child, _child_guard) = merged.child();
        let kept = Ctx::merge([&child, &c]);
        assert_eq!(kept.remaining(), Some(SECOND));
        assert_eq!(merged.with_timeout(9 * SECOND), merged, "not tighter");
    }
    assert_eq!(Ctx::merge([&a, &b, &c]).deadline().map(|_| ()), None);
}

//= C68
#[test]
fn each_deadline_is_judged_by_the_clock_of_its_own_tree() {
    let clocks = [TestClock::new(), TestClock::new()];
    for late in 0..2 {
        let roots = clocks.each_ref().map(TestClock::ctx);
        let timed = roots.each_ref().map(|(root, _)| root.with_timeout(SECOND));
        let merged = Ctx::merge(&timed);
        let mut waiter = ManualTask::new(merged.done());
        assert!(waiter.poll().is_pending());
        clocks[late].advance(SECOND / 2);
        assert_eq!(timed[late].remaining(), Some(SECOND / 2));
        assert!(!merged.is_done());
        clocks[late].advance(SECOND / 2);
        assert!(merged.is_done());
        assert_eq!(waiter.wakes(), 1);
        assert_eq!(merged.cause(), timed[late].cause());
        assert!(!timed[1 - late].is_done());
    }
}

//= C68
#[test]
fn remaining_under_a_merge_is_read_on_the_owners_clock() {
    let (one, other) = (TestClock::new(), TestClock::new());
    one.advance(5 * SECOND);
    let ((plain, _plain_guard), (root, _root_guard)) = (one.ctx(), other.ctx());
    let timed = root.with_timeout(3 * SECOND);
    let merged = Ctx::merge([&plain, &timed]);
    assert_eq!(merged.remaining(), timed.remaining());
    other.advance(SECOND);
    assert_eq!(merged.remaining(), Some(2 * SECOND));
}

//= C68
#[test]
fn the_first_parents_values_win() {
    let clock = TestClock::new();
    let [(a, _a), (b, _b), (c, _c)] = several(&clock);
    let a = a.with(User("a"));
    let b = b.with(User("b")).with(Tenant("b")).named("b");
    let merged = Ctx::merge([&c, &a, &b]);
    assert_eq!(merged.get::<User>(), Some(&User("a")));
    assert_eq!(merged.get::<Tenant>(), Some(&Tenant("b")));
    assert_eq!(merged.name(), Some("b"));
    assert_eq!(Ctx::merge([&b, &a]).get::<User>(), Some(&User("b")));
    assert_eq!(a.get::<Tenant>(), None, "the parents do not change");
}

//= C69
#[test]
fn a_merge_that_is_gone_leaves_no_link() {
    let (long, _guard) = Ctx::root().name("long-lived").tracked().build();
    for round in 0..100 {
        let (short, guard) = Ctx::background().child();
        let merged = Ctx::merge([&long, &short]);
        let mut waiter = ManualTask::new(merged.done());
        assert!(waiter.poll().is_pending());
        assert_eq!(linked("long-lived"), 1);
        match round % 3 {
            0 => drop(guard),
            1 => drop(short),
            _ => {}
        }
        drop(waiter);
        drop(merged);
        assert_eq!(linked("long-lived"), 0);
    }
}

//= C70
#[test]
fn a_merge_whose_parents_end_at_once_reports_one_of_them() {
    let mut rng = Rng::new();
    for _ in 0..100 {
        let clock = TestClock::new();
        let parents = several::<3>(&clock);
        let merged = Ctx::merge(parents.iter().map(|(ctx, _)| ctx));
        let nested = Ctx::merge([&merged, &parents[0].0]);
        let mut waiter = ManualTask::new(nested.done());
        if rng.below(2) == 0 {
            assert!(waiter.poll().is_pending());
        }
        let seen = together(5, |at| {
            if let Some((_, guard)) = parents.get(at) {
                guard.cancel(format!("{at}"));
            }
            (merged.wait(), nested.wait())
        });
        let (cause, below) = &seen[0];
        assert!(
            seen.iter()
                .all(|pair| pair == &(cause.clone(), below.clone()))
        );
        assert!(
            parents
                .iter()
                .any(|(ctx, _)| ctx.cause().as_ref() == Some(cause))
        );
        assert!(
            parents
                .iter()
                .any(|(ctx, _)| ctx.cause().as_ref() == Some(below))
        );
    }
}

//= C71
#[test]
fn all_of_ends_with_its_last_member() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for registered in [false, true] {
        for order in orders {
            let clock = TestClock::new();
            let members = several::<3>(&clock);
            let all = Ctx::all_of(members.iter().map(|(ctx, _)| ctx));
            let (below, _below_guard) = all.child();
            let mut waiter = ManualTask::new(below.done());
            if registered {
                assert!(waiter.poll().is_pending());
            }
            for at in order {
                assert!(registered || !below.is_done());
                assert_eq!(waiter.wakes(), 0);
                clock.advance(SECOND);
                members[at].1.cancel(format!("{at}"));
            }
            assert!(all.is_done() && below.is_done());
            assert_eq!(message(&all), Some(order[2].to_string()));
            assert_eq!(waiter.wakes(), usize::from(registered));
        }
    }
}

//= C71
#[test]
fn a_dropped_handle_is_no_end_of_a_member() {
    let clock = TestClock::new();
    let [(a, guard_a), (b, guard_b)] = several(&clock);
    let b = b.with_timeout(SECOND);
    let all = Ctx::all_of([&a, &b, &a]);
    guard_b.disarm();
    drop((a, b));
    guard_a.cancel("a");
    assert!(!all.is_done());
    clock.advance(SECOND);
    assert_eq!(all.cause().unwrap().kind(), Kind::DeadlineExceeded);

    assert_eq!(Ctx::all_of([]), Ctx::background());
    let (ctx, guard) = Ctx::background().child();
    let endless = Ctx::all_of([&ctx, &Ctx::background()]);
    let single = Ctx::all_of([&ctx, &ctx]);
    guard.cancel("x");
    assert!(!endless.is_done() && !endless.can_be_cancelled());
    assert_eq!(single.cause(), ctx.cause());
}

//= C71
#[test]
fn all_of_has_the_latest_deadline_if_all_have_one() {
    let clock = TestClock::new();
    let [(a, _a), (b, _b)] = several(&clock);
    let (soon, late) = (a.with_timeout(SECOND), b.with_timeout(2 * SECOND));
    assert_eq!(Ctx::all_of([&late, &soon]).remaining(), Some(2 * SECOND));
    assert_eq!(Ctx::all_of([&soon, &late]).remaining(), Some(2 * SECOND));
    assert_eq!(Ctx::all_of([&soon, &b]).remaining(), None);
}

//= C72
#[test]
fn shared_work_ends_with_its_last_member() {
    type Leave = fn(Member, CancelGuard);
    let ways: [(Leave, Kind); 2] = [
        (
            |member, guard| {
                guard.cancel(Kind::PeerGone);
                drop(member);
            },
            Kind::PeerGone,
        ),
        (
            |member, guard| {
                drop(member);
                guard.disarm();
            },
            Kind::Dropped,
        ),
    ];
    for (leave, kind) in ways {
        let clock = TestClock::new();
        let [(a, guard_a), (b, guard_b), (c, _c)] = several(&clock);
        let shared = Shared::new(&a.with(User("a")));
        let work = shared.ctx().clone();
        assert_eq!((work.get(), shared.members()), (Some(&User("a")), 0));
        assert!(!work.is_done(), "live before anybody joins");
        let first = shared.join(&a).unwrap();
        let second = shared.join(&b).unwrap();
        let twice = shared.join(&b).unwrap();
        assert_eq!(shared.members(), 3);
        drop(twice);
        guard_a.cancel("the first one is gone");
        assert!(!work.is_done() && shared.members() == 1);
        leave(second, guard_b);
        assert_eq!(work.cause().map(|cause| cause.kind()), Some(kind));
        drop(first);
        let refused = shared.join(&c).unwrap_err();
        assert_eq!(Some(refused.cause().clone()), work.cause());
        assert_eq!(shared.members(), 0);
    }
}

//= C72
#[test]
fn shared_work_does_not_end_before_that() {
    let (ctx, guard) = Ctx::background().child();
    let shared = Shared::new(&ctx);
    let work = shared.ctx().clone();
    let member = shared.clone().join(&ctx).unwrap();
    drop(shared);
    assert!(!work.is_done(), "a member is left");
    drop(member);
    assert_eq!(work.cause().unwrap().kind(), Kind::Dropped);

    // Nobody joined and nobody can any more.
    let shared = Shared::new(&ctx);
    let work = shared.ctx().clone();
    drop(shared);
    assert!(work.is_done());

    guard.cancel("x");
    let shared = Shared::new(&ctx);
    assert!(!shared.ctx().is_done(), "it is not a child");
    let refused = shared.join(&ctx).unwrap_err();
    assert_eq!(Some(refused.into_cause()), ctx.cause());
    assert!(!shared.ctx().is_done() && shared.members() == 0);
}

//= C65, C68, C71, C85
#[test]
fn a_ladder_of_diamonds_is_climbed_once() {
    // 2⁶⁴ paths: who took each of them would never return.
    type Joint = fn(&Ctx, &Ctx) -> Ctx;
    let joints: [Joint; 2] = [|a, b| Ctx::merge([a, b]), |a, b| Ctx::all_of([a, b])];
    for joint in joints {
        for by_deadline in [false, true] {
            finishes(move || {
                let clock = TestClock::new();
                let (root, guard) = clock.ctx();
                let mut ctx = root.with_timeout(9 * SECOND);
                let mut rungs = Vec::new();
                for _ in 0..64 {
                    rungs.push((ctx.child(), ctx.child()));
                    let (left, right) = rungs.last().unwrap();
                    ctx = joint(&left.0, &right.0);
                }
                let shield = ctx.shield(SECOND);
                assert!(!ctx.is_done() && ctx.phase() == Phase::Live);
                assert_eq!(ctx.remaining(), Some(9 * SECOND));
                assert_eq!(shield.remaining(), Some(10 * SECOND));
                let ran = Tally::new();
                let count = ran.clone();
                let hook = ctx.on_done(move |_| count.add());
                let mut waiter = ManualTask::new(shield.done());
                let mut draining = ManualTask::new(ctx.draining());
                assert!(waiter.poll().is_pending() && draining.poll().is_pending());
                assert!(guard.drain());
                let is_drained = matches!(ctx.phase(), Phase::Draining);
                assert_eq!(draining.wakes(), usize::from(is_drained));
                if by_deadline {
                    clock.advance(9 * SECOND);
                } else {
                    guard.cancel("x");
                }
                assert!(ctx.is_done() && hook.has_run() && ran.get() == 1);
                assert_eq!((draining.wakes(), waiter.wakes()), (1, 0));
                assert!(guard.force("forced") || by_deadline);
                clock.advance(SECOND);
                assert_eq!(waiter.wakes(), 1);
                let last = rungs.last().unwrap().0.0.cause();
                assert_eq!((ctx.cause(), shield.cause()), (last.clone(), last));
            });
        }
    }
}

//= C65
#[test]
fn one_side_of_a_rung_ends_what_is_below_and_nothing_above() {
    let (root, _guard) = Ctx::background().child();
    let mut ctx = root.clone();
    let mut rungs = Vec::new();
    for _ in 0..10 {
        let sides = (ctx.child(), ctx.child());
        ctx = Ctx::merge([&sides.0.0, &sides.1.0]);
        rungs.push((sides, ctx.clone()));
    }
    let mut waiters: Vec<_> = (rungs.iter())
        .map(|rung| ManualTask::new(rung.1.done()))
        .collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    rungs[4].0.1.1.cancel("the right one");
    rungs[6].0.0.1.cancel("later");
    for (at, (rung, waiter)) in rungs.iter().zip(&waiters).enumerate() {
        assert_eq!(rung.1.is_done(), at >= 4, "rung {at}");
        assert_eq!(waiter.wakes(), usize::from(at >= 4), "rung {at}");
    }
    for rung in &rungs[4..] {
        assert_eq!(message(&rung.1).unwrap(), "the right one");
    }
    assert!(!rungs[4].0.0.0.is_done() && !root.is_done());
}

//= C65, C67
#[test]
fn an_ancestor_whose_end_is_not_the_others_stays() {
    type Far = fn(&Ctx, &Ctx) -> Ctx;
    let clock = TestClock::new();
    let ways: [(&str, Far); 4] = [
        ("shield", |near, _| near.shield(9 * SECOND)),
        ("below a shield", |near, _| below(&near.shield(9 * SECOND))),
        ("all_of", |near, other| Ctx::all_of([near, other])),
        ("source", |near, _| near.with_source(Relay::new().shared())),
    ];
    for (how, far) in ways {
        for swapped in [false, true] {
            let [(near, guard), (other, _other)] = several(&clock);
            let far = far(&near, &other);
            let parents = if swapped {
                [&far, &near]
            } else {
                [&near, &far]
            };
            let merged = Ctx::merge(parents);
            let mut waiter = ManualTask::new(merged.done());
            assert!(waiter.poll().is_pending());
            guard.cancel("near");
            assert!(merged.is_done() && !far.is_done(), "{how}");
            assert_eq!(waiter.wakes(), 1, "{how}");
        }
    }
}

//= C67
#[test]
fn ancestors_are_left_out_up_to_64_levels() {
    for (levels, links) in [(1, 1), (64, 1), (65, 2)] {
        let name = format!("ancestor at {levels}");
        let clock = TestClock::new();
        let (root, guard) = clock.root().name(name.clone()).tracked().build();
        let mut deep = root.clone();
        for _ in 0..levels {
            deep = below(&deep).named("between");
        }
        let (other, _other_guard) = Ctx::background().child();
        let merged = Ctx::merge([&root, &deep, &other]);
        let mut waiter = ManualTask::new(merged.done());
        assert!(waiter.poll().is_pending());
        assert_eq!(linked(&name), links, "{levels} levels");
        guard.cancel("x");
        assert_eq!(message(&merged).unwrap(), "x");
        assert_eq!(waiter.wakes(), 1);
    }
}

//= C65, C68
#[test]
fn a_merge_keeps_its_parents_alive() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let (other, _other_guard) = clock.ctx();
    let merged = Ctx::merge([&below(&root), &below(&other.with_timeout(2 * SECOND))]);
    let all = Ctx::all_of([&below(&root.with_timeout(SECOND)), &below(&root)]);
    let mut waiters = [&merged, &all].map(|ctx| ManualTask::new(ctx.done()));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    clock.advance(SECOND);
    assert!(!merged.is_done() && !all.is_done());
    clock.advance(SECOND);
    assert_eq!(merged.cause().unwrap().kind(), Kind::DeadlineExceeded);
    guard.cancel("root");
    assert_eq!(message(&all).unwrap(), "root");
    assert_eq!((waiters[0].wakes(), waiters[1].wakes()), (1, 1));
}

//= C71
#[test]
fn the_last_member_is_told_by_the_instants_of_the_ends() {
    // Of a cancel and a deadline at one instant the cancel came later (C21); of two
    // cancels the later argument counts.
    let cases: [([u32; 2], [bool; 2], usize); 6] = [
        ([1, 2], [false, false], 1),
        ([2, 1], [false, false], 0),
        ([2, 1], [true, false], 0),
        ([1, 1], [true, false], 1),
        ([1, 1], [false, true], 0),
        ([1, 1], [false, false], 1),
    ];
    for (at, by_deadline, last) in cases {
        for looked in [false, true] {
            let clock = TestClock::new();
            let (root, guard) = clock.root().timer(Arc::new(HandTimer::new())).build();
            let members = [0, 1].map(|which| {
                let (ctx, guard) = root.child();
                if by_deadline[which] {
                    (ctx.with_timeout(at[which] * SECOND), guard)
                } else {
                    (ctx, guard)
                }
            });
            let early = Ctx::all_of(members.iter().map(|(ctx, _)| ctx));
            for second in 1..=2 {
                clock.advance(SECOND);
                for which in 0..2 {
                    if !by_deadline[which] && at[which] == second {
                        members[which].1.cancel(format!("{which}"));
                    }
                }
                assert!(!looked || early.is_done() == (*at.iter().max().unwrap() <= second));
            }
            let late = Ctx::all_of(members.iter().map(|(ctx, _)| ctx));
            guard.cancel("too late");
            for all in [early, late] {
                assert!(all.is_done(), "{at:?} {by_deadline:?}");
                assert_eq!(
                    all.cause(),
                    members[last].0.cause(),
                    "{at:?} {by_deadline:?}"
                );
            }
        }
    }
}

//= C71
#[test]
fn an_all_of_that_everybody_leaves_at_once_ends_once() {
    for registered in [false, true] {
        for _ in 0..50 {
            let clock = TestClock::new();
            let members = several::<6>(&clock);
            let all = Ctx::all_of(members.iter().map(|(ctx, _)| ctx));
            let mut waiter = ManualTask::new(all.done());
            assert!(!registered || waiter.poll().is_pending());
            let seen = together(6, |at| {
                members[at].1.cancel(format!("{at}"));
                all.is_done()
            });
            assert!(seen.contains(&true), "the last one sees it");
            assert_eq!(waiter.wakes(), usize::from(registered));
            assert!(members.iter().any(|(ctx, _)| ctx.cause() == all.cause()));
        }
    }
}

//= C72
#[test]
fn whoever_ends_the_last_members_context_ends_the_work_with_that_cause() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let timed = root.with_timeout(SECOND);
    let shared = Shared::new(&timed.with(User("u")));
    assert_eq!(shared.ctx().deadline().map(|_| ()), None);
    let (below, _below_guard) = shared.ctx().child();
    let mut waiter = ManualTask::new(below.done());
    assert!(waiter.poll().is_pending());
    let members = [shared.join(&root).unwrap(), shared.join(&timed).unwrap()];
    clock.advance(SECOND);
    assert_eq!(shared.members(), 1);
    assert!(!below.is_done() && timed.is_done());
    let late = shared.join(&root).unwrap();
    assert_eq!(shared.members(), 2);
    drop(members);
    assert!(!below.is_done());
    guard.cancel(Kind::Shutdown);
    assert_eq!(below.cause(), root.cause());
    assert_eq!((waiter.wakes(), shared.members()), (1, 0));
    drop(late);
    assert_eq!(below.cause(), root.cause());
}

//= C72
#[test]
fn a_racing_join_gets_live_work_or_the_cause_of_its_end() {
    for round in 0..200 {
        let (ctx, _guard) = Ctx::background().child();
        let shared = Shared::new(&ctx);
        let first = std::iter::once(shared.join(&ctx).unwrap());
        let first = Mutex::new(first.collect::<Vec<_>>());
        let refused = together(4, |at| {
            if at == 0 {
                first.lock().unwrap().clear();
            }
            for _ in 0..3 {
                match shared.join(&ctx) {
                    Ok(member) => {
                        assert!(!shared.ctx().is_done(), "round {round}");
                        drop(member);
                    }
                    Err(error) => {
                        assert_eq!(Some(error.into_cause()), shared.ctx().cause());
                        return true;
                    }
                }
            }
            false
        });
        assert!(shared.ctx().is_done(), "all have left: {refused:?}");
        assert_eq!(shared.ctx().cause().unwrap().kind(), Kind::Dropped);
        assert!(shared.join(&ctx).is_err() && shared.members() == 0);
    }
}

//= C72
#[test]
fn a_member_that_is_dropped_before_its_hook_ran_leaves_with_its_contexts_cause() {
    let sweeper = HeldSweeper::new();
    let (ctx, guard) = Ctx::root().sweeper(Arc::new(sweeper.clone())).build();
    let mut waiters: Vec<_> = (0..40).map(|_| ManualTask::new(ctx.done())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    let shared = Shared::new(&Ctx::background());
    let member = shared.join(&ctx).unwrap();
    guard.cancel(Kind::PeerGone);
    assert!(!shared.ctx().is_done(), "its hook comes after all wakes");
    drop(member);
    assert_eq!(shared.ctx().cause(), ctx.cause());
    sweeper.run();
    assert_eq!(shared.members(), 0);
}
