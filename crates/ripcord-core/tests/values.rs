//! Chapter *Values* of the specification: typed values and how far they go.

mod common;

use common::{Bomb, Tally, finishes, quietly, rows_named};
use ripcord_core::{Ctx, Kind, Reach, Value, foreign_panics};
use ripcord_test::{ManualTask, TestClock};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct Task(u64);
impl Value for Task {}

#[derive(Debug, PartialEq)]
struct Local(u64);
impl Value for Local {
    const REACH: Reach = Reach::Local;
}

#[derive(Debug, PartialEq)]
struct Wire(u64);
impl Value for Wire {
    const REACH: Reach = Reach::Wire;
}

/// Many types: enough for every kind of look-up.
#[derive(Debug, PartialEq)]
struct Numbered<const N: usize>(usize);
impl<const N: usize> Value for Numbered<N> {}

fn all(ctx: &Ctx) -> [Option<u64>; 3] {
    [
        ctx.get::<Local>().map(|value| value.0),
        ctx.get::<Task>().map(|value| value.0),
        ctx.get::<Wire>().map(|value| value.0),
    ]
}

//= C73
#[test]
fn the_nearest_value_of_a_type_is_found() {
    let (root, _guard) = Ctx::background().child();
    let one = root.with(Task(1)).with(Wire(7));
    let (child, _child_guard) = one.named("name").with_timeout(SECOND).child();
    let two = child.with(Task(2));
    let (below, _below_guard) = two.child();
    assert_eq!(all(&root), [None, None, None]);
    assert_eq!(all(&one), [None, Some(1), Some(7)]);
    assert_eq!(all(&child), [None, Some(1), Some(7)], "it did not change");
    assert_eq!(all(&two), [None, Some(2), Some(7)]);
    assert_eq!(all(&below), [None, Some(2), Some(7)]);
    assert_eq!(
        all(&two.with(Task(3)).with(Task(4))),
        [None, Some(4), Some(7)]
    );
    assert_eq!(
        all(&Ctx::background().with(Local(5))),
        [Some(5), None, None]
    );
}

//= C73
#[test]
fn each_of_many_types_is_a_key_of_its_own() {
    fn set<const N: usize>(ctx: &Ctx) -> Ctx {
        ctx.with(Numbered::<N>(N * 10))
    }
    fn check<const N: usize>(ctx: &Ctx, upto: usize) {
        let found = ctx.get::<Numbered<N>>().map(|value| value.0);
        assert_eq!(found, (N < upto).then_some(N * 10), "{N} of {upto}");
    }
    let set = [
        set::<0>, set::<1>, set::<2>, set::<3>, set::<4>, set::<5>, set::<6>, set::<7>, set::<8>,
        set::<9>, set::<10>, set::<11>,
    ];
    let check = [
        check::<0>,
        check::<1>,
        check::<2>,
        check::<3>,
        check::<4>,
        check::<5>,
        check::<6>,
        check::<7>,
        check::<8>,
        check::<9>,
        check::<10>,
        check::<11>,
    ];
    let mut ctx = Ctx::background();
    for upto in 0..=set.len() {
        for check in check {
            check(&ctx, upto);
        }
        if let Some(set) = set.get(upto) {
            ctx = set(&ctx);
        }
    }
    let hidden = ctx.with(Numbered::<5>(1)).with(Numbered::<11>(2));
    assert_eq!(hidden.get::<Numbered<5>>(), Some(&Numbered(1)));
    assert_eq!(hidden.get::<Numbered<11>>(), Some(&Numbered(2)));
    assert_eq!(hidden.get::<Numbered<6>>(), Some(&Numbered(60)));
}

//= C74
#[test]
fn values_outlive_the_end_and_pass_shields_and_detach() {
    let (ctx, guard) = Ctx::background().child();
    let ctx = ctx.with(Local(1)).with(Task(2)).with(Wire(3));
    let shield = ctx.shield(SECOND);
    let detached = ctx.detach();
    guard.cancel("x");
    let late = [
        ctx.shield(SECOND),
        ctx.detach(),
        ctx.child().0,
        ctx.named("view"),
        Ctx::merge([&ctx]),
    ];
    for ctx in [&ctx, &shield, &detached].into_iter().chain(&late) {
        assert_eq!(all(ctx), [Some(1), Some(2), Some(3)]);
    }
}

//= C75
#[test]
fn a_look_up_does_not_walk() {
    // 10¹¹ steps if each look-up were to pass all derivations: it would never return.
    const DEPTH: usize = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    finishes(|| {
        let (root, guard) = Ctx::background().child();
        let top = root.with(Task(1)).with(Local(2));
        let mut ctx = top.clone();
        let mut kept = vec![guard];
        for at in 0..DEPTH {
            let (child, guard) = ctx.child();
            kept.push(guard);
            ctx = if at % 2 == 0 {
                child.with(Wire(3))
            } else {
                child
            };
        }
        let mut found = 0;
        for _ in 0..DEPTH {
            found += ctx.get::<Task>().map_or(0, |value| value.0);
            found += ctx.get::<Numbered<0>>().map_or(0, |_| 1);
        }
        assert_eq!(found, u64::try_from(DEPTH).unwrap());
        assert!(std::ptr::eq(
            ctx.get::<Task>().unwrap(),
            top.get::<Task>().unwrap()
        ));
        while let Some(guard) = kept.pop() {
            guard.disarm();
        }
    });
}

//= C76
#[test]
fn a_task_gets_what_reaches_it() {
    let (root, _guard) = Ctx::background().child();
    let ctx = root
        .with(Local(1))
        .with(Task(2))
        .with(Wire(3))
        .named("name");
    let task = ctx.for_task();
    assert_eq!(all(&task), [None, Some(2), Some(3)]);
    assert_eq!(task.name(), Some("name"));
    assert_eq!(all(&ctx), [Some(1), Some(2), Some(3)]);
    let (child, _child_guard) = task.child();
    assert_eq!(all(&child), [None, Some(2), Some(3)]);
    assert_eq!(all(&task.with(Local(4))), [Some(4), Some(2), Some(3)]);
    assert_eq!(Ctx::background().for_task(), Ctx::background());
    assert_eq!(all(&Ctx::background().with(Local(1)).for_task()), [None; 3]);
    assert!(Reach::Local < Reach::Task && Reach::Task < Reach::Wire);
}

//= C77
#[test]
fn views_add_no_cancel_state() {
    type View = fn(&Ctx) -> Ctx;
    let views: [(&str, View); 4] = [
        ("with", |ctx| ctx.with(Task(1))),
        ("named", |ctx| ctx.named("views: named")),
        ("for_task", |ctx| ctx.with(Local(1)).for_task()),
        ("all", |ctx| {
            ctx.named("views: all")
                .with(Local(1))
                .for_task()
                .with(Wire(2))
        }),
    ];
    for (how, view) in views {
        let clock = TestClock::new();
        let name = format!("views of {how}");
        let (root, guard) = clock.root().name(name.clone()).tracked().build();
        let (ctx, inner) = root.with_timeout(SECOND).child();
        let seen = view(&view(&ctx));
        assert_eq!(seen.remaining(), ctx.remaining(), "{how}");
        assert_eq!(
            seen.deadline().map(|deadline| deadline.at()),
            ctx.deadline().map(|deadline| deadline.at())
        );
        let mut waiter = ManualTask::new(seen.done());
        assert!(waiter.poll().is_pending());
        let with_waiters: Vec<usize> = rows_named(&name)
            .iter()
            .filter(|row| row.waiters > 0)
            .map(|row| row.children)
            .collect();
        assert_eq!(with_waiters, [0], "{how}: it waits at the origin itself");
        inner.cancel(Kind::PeerGone);
        assert!(seen.is_done(), "{how}");
        assert_eq!(seen.cause(), ctx.cause(), "{how}");
        assert_eq!(waiter.wakes(), 1, "{how}");
        assert!(!guard.ctx().is_done());
    }
}

//= C77
#[test]
fn a_value_is_dropped_with_the_last_context_that_has_it() {
    struct Held<T>(#[allow(dead_code, reason = "kept to be dropped")] T);
    impl<T: Send + Sync + 'static> Value for Held<T> {}
    let dropped = Tally::new();
    let ctx = Ctx::background().with(Held(dropped.on_drop()));
    let (child, guard) = ctx.child();
    let detached = child.detach();
    drop((ctx, guard));
    drop(child);
    assert_eq!(dropped.get(), 0);
    drop(detached);
    assert_eq!(dropped.get(), 1);
}

/// A value that may panic when it is dropped.
struct Fragile(#[allow(dead_code, reason = "kept to be dropped")] Bomb);
impl Value for Fragile {}

struct Solid<T>(#[allow(dead_code, reason = "kept to be dropped")] T);
impl<T: Send + Sync + 'static> Value for Solid<T> {}

//= C73, C77
#[test]
fn a_value_whose_destructor_panics_harms_nobody() {
    let (bombs, dropped) = (Tally::new(), Tally::new());
    let before = foreign_panics();
    let (root, guard) = Ctx::background().child();
    let ctx = root
        .with(Solid(dropped.on_drop()))
        .with(Fragile(Bomb(bombs.clone())))
        .with(Task(1));
    let hidden = ctx.with(Fragile(Bomb(bombs.clone())));
    let shield = hidden.shield(SECOND);
    let detached = hidden.detach();
    let merged = Ctx::merge([&hidden, &Ctx::background().with(Wire(2)).child().0]);
    guard.cancel("x");
    drop((root, guard, ctx));
    assert_eq!((bombs.get(), dropped.get()), (1, 0), "the hidden one");
    for ctx in [&hidden, &shield, &detached, &merged] {
        assert_eq!(ctx.get::<Task>(), Some(&Task(1)));
        assert!(ctx.get::<Fragile>().is_some());
    }
    drop((hidden, shield, detached));
    assert_eq!((bombs.get(), dropped.get()), (1, 0));
    drop(merged);
    assert_eq!((bombs.get(), dropped.get()), (2, 1));
    assert!(foreign_panics() >= before + 2);
    // As the temporary of a chain, and while the thread unwinds.
    let panic = quietly(|| {
        let _ctx = Ctx::background().with(Fragile(Bomb(bombs.clone())));
        panic!("the work failed");
    });
    assert_eq!(panic, Err("the work failed".to_owned()));
    assert_eq!(bombs.get(), 3);
}

//= C73, C74, C75
#[test]
fn a_thousand_derivations_of_every_kind_keep_every_value() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let top = root.with(Task(1)).with(Local(2)).with(Wire(3));
    let dropped = Tally::new();
    let (mut ctx, mut guards) = (top.clone(), vec![guard]);
    for at in 0..1_000_u32 {
        ctx = match at % 8 {
            0 => {
                let (child, guard) = ctx.child();
                guards.push(guard);
                child
            }
            1 => ctx.named(format!("level {at}")),
            2 => ctx.with(Solid(dropped.on_drop())),
            3 => ctx.with_timeout(SECOND * (2_000 - at)),
            4 => ctx.shield(SECOND),
            5 => Ctx::merge([&ctx, &top]),
            6 if at > 900 => ctx.detach(),
            _ => ctx.with(Numbered::<1>(at as usize)),
        };
    }
    assert_eq!(all(&ctx), [Some(2), Some(1), Some(3)]);
    assert_eq!(ctx.get(), Some(&Numbered::<1>(999)));
    assert!(ctx.get::<Numbered<2>>().is_none());
    assert_eq!(ctx.name(), Some("level 993"));
    assert!(std::ptr::eq(
        ctx.get::<Task>().unwrap(),
        top.get::<Task>().unwrap()
    ));
    // What is hidden is dropped with the last context that shows it: nothing that is
    // looked up leads through it.
    guards[0].force("x");
    drop((guards, top, root));
    assert_eq!(all(&ctx), [Some(2), Some(1), Some(3)]);
    assert!(dropped.get() > 50, "{}", dropped.get());
    drop(ctx);
    assert_eq!(dropped.get(), 125);
}

//= C73, C75
#[test]
fn hidden_values_are_not_kept() {
    let dropped = Tally::new();
    let (root, _guard) = Ctx::background().child();
    let mut ctx = root.clone();
    for at in 0..1_000 {
        ctx = ctx.with(Solid(dropped.on_drop()));
        assert_eq!(dropped.get(), at, "all but the nearest");
    }
    let kept = ctx.clone();
    let other = ctx.with(Solid(dropped.on_drop()));
    assert_eq!(dropped.get(), 999);
    drop((ctx, kept));
    assert_eq!(dropped.get(), 1_000);
    drop(other);
    assert_eq!(dropped.get(), 1_001);
}

//= C74, C76
#[test]
fn what_a_task_may_not_see_is_gone_for_good() {
    type Way = fn(&Ctx) -> Ctx;
    let ways: [Way; 6] = [
        |task| task.clone(),
        Ctx::detach,
        |task| task.shield(SECOND),
        |task| Ctx::merge([task]),
        Ctx::for_task,
        |task| task.child().0,
    ];
    for is_done in [false, true] {
        let (root, guard) = Ctx::background().child();
        let ctx = root.with(Local(1)).with(Task(2)).with(Wire(3));
        if is_done {
            guard.force("x");
        }
        for way in ways {
            assert_eq!(all(&way(&ctx.for_task())), [None, Some(2), Some(3)]);
            let merged = Ctx::merge([&way(&ctx.for_task()), &ctx]);
            assert_eq!(merged.get::<Local>(), Some(&Local(1)), "from the other");
        }
        let plain = root.with(Task(2));
        assert_eq!(plain.for_task(), plain, "there is nothing to hide");
    }
}
