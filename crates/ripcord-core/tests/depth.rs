//! How far above an end came from.

use ripcord_core::{Ctx, Kind};
use ripcord_test::TestClock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn levels_are_counted_up_to_where_the_end_came_from() {
    let (root, root_guard) = Ctx::background().child();
    let (middle, middle_guard) = root.named("a name is no level").child();
    let (low, low_guard) = middle.child();
    let depths = || [root.cause_depth(), middle.cause_depth(), low.cause_depth()];
    assert_eq!(depths(), [None; 3]);
    assert_eq!(Ctx::background().cause_depth(), None);
    low_guard.cancel("here");
    assert_eq!(depths(), [None, None, Some(0)]);
    middle_guard.cancel("above");
    assert_eq!(depths(), [None, Some(0), Some(0)], "the first cause stays");
    root_guard.cancel(Kind::Shutdown);
    assert_eq!(depths(), [Some(0), Some(0), Some(0)]);
}

#[test]
fn it_is_the_same_before_and_after_the_cause_was_seen() {
    let (root, guard) = Ctx::background().child();
    let (middle, _middle) = root.child();
    let (low, _low) = middle.with_timeout(SECOND).child();
    guard.cancel(Kind::Shutdown);
    assert_eq!(low.cause_depth(), Some(3));
    assert_eq!(low.cause().unwrap().kind(), Kind::Shutdown);
    assert_eq!(low.cause_depth(), Some(3));
    assert_eq!(middle.cause_depth(), Some(1));
}

#[test]
fn a_deadline_counts_from_its_owner() {
    let clock = TestClock::new();
    let (root, _root) = clock.ctx();
    let (request, _request) = root.with_timeout(SECOND).child();
    clock.advance(SECOND);
    assert_eq!(request.cause_depth(), Some(1));
    assert_eq!(root.cause_depth(), None);
}

#[test]
fn asking_is_no_observation() {
    let (ctx, guard, watch) = Ctx::background().watched_child();
    guard.cancel(Kind::Shutdown);
    assert_eq!(ctx.cause_depth(), Some(0));
    assert_eq!(watch.seen(), None);
}
