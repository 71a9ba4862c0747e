//! Several derivations in one step, beside the single steps.

use ripcord_core::{Ctx, Kind, Value};
use ripcord_test::TestClock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct Id(u64);
impl Value for Id {}

#[derive(Debug, PartialEq)]
struct Tenant(&'static str);
impl Value for Tenant {}

/// What a context tells of itself.
fn told(
    ctx: &Ctx,
) -> (
    Option<&str>,
    Option<&Id>,
    Option<&Tenant>,
    Option<Duration>,
    bool,
) {
    let deadline = ctx.remaining();
    (ctx.name(), ctx.get(), ctx.get(), deadline, ctx.is_done())
}

//= C136
#[test]
fn one_step_gives_what_the_single_steps_give() {
    let clock = TestClock::new();
    let (root, _root) = clock.ctx();
    let (done, guard) = root.child();
    guard.cancel(Kind::Shutdown);
    let named = root.named("server").with(Id(1)).with(Tenant("blue"));
    let tight = named.with_timeout(SECOND);
    let now = root.clock_now();
    for parent in [Ctx::background(), root, named, tight, done] {
        for ahead in [Duration::ZERO, SECOND / 2, SECOND * 2] {
            let at = now + ahead;
            let steps = parent.named("request").with(Id(7)).with_deadline(at);
            let (steps, _steps) = steps.child();
            let (once, _once) = parent
                .derive()
                .with(Id(6))
                .named("x")
                .with_deadline(now + SECOND * 9)
                .named("request")
                .with(Id(7))
                .with_deadline(at)
                .child();
            // The background has a clock of its own, which does not stand still.
            if parent.name().is_some() || parent.is_done() {
                assert_eq!(told(&once), told(&steps), "{parent:?} {ahead:?}");
            } else {
                assert_eq!(told(&once).0, told(&steps).0);
                assert_eq!(told(&once).1, told(&steps).1);
            }
            assert_eq!(
                once.cause().map(|cause| cause.kind()),
                steps.cause().map(|cause| cause.kind()),
                "{parent:?} {ahead:?}"
            );
        }
        let (plain, _plain) = parent.derive().child();
        assert_eq!(told(&plain).0, told(&parent).0);
        assert_eq!(plain.is_done(), parent.is_done());
    }
}

//= C136
#[test]
fn a_cause_from_below_has_the_name_and_ends_nothing_above() {
    let clock = TestClock::new();
    let (root, _root) = clock.ctx();
    let deadline = root.clock_now() + SECOND;
    let derive = || {
        root.derive()
            .named("request")
            .with_deadline(deadline)
            .child()
    };
    let (cancelled, guard) = derive();
    let (late, _late) = derive();
    let (dropped, gone) = derive();
    guard.cancel("by hand");
    drop(gone);
    assert_eq!(cancelled.cause().unwrap().name(), Some("request"));
    assert_eq!(dropped.cause().unwrap().kind(), Kind::Dropped);
    assert!(!late.is_done());
    clock.advance(SECOND);
    let cause = late.cause().unwrap();
    assert_eq!(
        (cause.kind(), cause.name()),
        (Kind::DeadlineExceeded, Some("request"))
    );
    assert!(!root.is_done());
}

//= C136
#[test]
fn without_a_guard_it_is_what_the_steps_before_it_give() {
    let clock = TestClock::new();
    let (root, _root) = clock.ctx();
    let (done, guard) = root.child();
    guard.cancel(Kind::Shutdown);
    let tight = root.named("server").with_timeout(SECOND);
    let now = root.clock_now();
    for parent in [root, tight, done] {
        assert_eq!(parent.derive().ctx(), parent);
        for ahead in [Duration::ZERO, SECOND / 2, SECOND * 2] {
            let at = now + ahead;
            let steps = parent.with_deadline(at).named("request").with(Id(7));
            let derive = parent.derive().named("request").with(Id(7));
            let once = derive.with_deadline(at).ctx();
            assert_eq!(told(&once), told(&steps), "{parent:?} {ahead:?}");
            let kind = |ctx: &Ctx| ctx.cause().map(|cause| cause.kind());
            assert_eq!(kind(&once), kind(&steps), "{parent:?} {ahead:?}");
            let derive = parent.derive().named("request").with(Id(7));
            let timed = derive.with_timeout(ahead).ctx();
            assert_eq!(told(&timed), told(&steps), "{parent:?} {ahead:?}");
            assert_eq!(kind(&timed), kind(&steps), "{parent:?} {ahead:?}");
            // Where nothing is tighter nothing is made that could end by itself.
            let own = |ctx: &Ctx| {
                ctx.deadline()
                    .map(|deadline| deadline.owner().map(str::to_owned))
            };
            if ahead > SECOND && parent.remaining().is_some() {
                assert_eq!(own(&once), own(&parent));
            }
        }
    }
}

#[test]
fn a_library_can_name_the_line_of_its_user() {
    let here = std::panic::Location::caller();
    let (root, _root) = TestClock::new().ctx();
    let at = root.clock_now() + SECOND;
    let (child, _child) = root.derive().at(here).with_deadline(at).child();
    assert_eq!(child.site(), Some(here));
    assert_eq!(child.deadline().unwrap().site(), Some(here));
    assert_eq!(
        root.derive().at(here).named("view").ctx().site(),
        Some(here)
    );
    assert_ne!(root.derive().named("view").ctx().site(), Some(here));
}
