//! Chapter *Foreign sources* of the specification: a context that ends with something outside
//! the tree.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::{Relay, Tally, park};
use ripcord_core::{Armed, Cause, Ctx, Kind, Phase, Source};
use ripcord_test::{ManualTask, TestClock};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct Refused(u8);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused {}", self.0)
    }
}

impl std::error::Error for Refused {}

fn given() -> Cause {
    Cause::new(Kind::PeerGone)
        .with_message("the stream was reset")
        .with_error(Refused(7))
}

#[track_caller]
fn assert_given(cause: &Cause) {
    assert_eq!(cause.kind(), Kind::PeerGone);
    assert_eq!(cause.message(), Some("the stream was reset"));
    assert_eq!(cause.downcast_ref::<Refused>(), Some(&Refused(7)));
}

//= C125
#[test]
fn a_context_ends_when_its_source_does() {
    let source = Relay::new();
    let ctx = Ctx::from_source(source.shared());
    let (below, _guard) = ctx.named("below").child();
    assert!(ctx.can_be_cancelled());
    for ctx in [&ctx, &below] {
        assert!(!ctx.is_done() && ctx.check().is_ok() && ctx.cause().is_none());
        assert_eq!((ctx.phase(), ctx.deadline().is_none()), (Phase::Live, true));
    }
    source.set(Some(given()));
    for ctx in [&below, &ctx] {
        assert!(ctx.is_done());
        assert_given(&ctx.cause().unwrap());
        assert_eq!(ctx.phase(), Phase::Cancelled);
    }
    assert_eq!(ctx.cause(), below.cause());
    assert_eq!(source.subscriptions(), 0, "nobody waited");
}

//= C125
#[test]
fn a_cause_that_has_an_origin_keeps_it() {
    let clock = TestClock::new();
    let (other, other_guard) = clock.root().name("other").build();
    other_guard.cancel(given());
    let source = Relay::new();
    let ctx = Ctx::from_source(source.shared());
    assert!(!ctx.is_done());
    source.set(other.cause());
    let cause = ctx.cause().unwrap();
    assert_given(&cause);
    assert_eq!(Some(&cause), other.cause().as_ref());
    assert_eq!(
        (cause.name(), cause.at()),
        (Some("other"), Some(clock.now()))
    );
    assert_eq!(cause.site(), other.cause().unwrap().site());
}

//= C125
#[test]
fn a_source_that_is_done_gives_a_context_that_is_done() {
    let source = Relay::new();
    source.set(Some(given()));
    let ctx = Ctx::from_source(source.shared());
    let looks = source.looks();
    source.set(None);
    assert!(ctx.is_done(), "since its birth");
    assert_given(&ctx.cause().unwrap());
    assert_eq!(source.looks(), looks, "it need not be asked again");
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_ready());
    assert_eq!(source.subscriptions(), 0);
}

//= C125
#[test]
fn the_values_and_the_clock_are_the_origins_and_the_end_is_not() {
    let clock = TestClock::new();
    let (root, guard) = clock.root().name("root").build();
    let source = Relay::new();
    let ctx = root.with_timeout(SECOND).with_source(source.shared());
    assert_eq!((ctx.name(), ctx.clock_now()), (Some("root"), clock.now()));
    assert!(ctx.deadline().is_none());
    clock.advance(SECOND);
    guard.cancel("x");
    assert!(!ctx.is_done());
    let both = Ctx::merge([&ctx, &root]);
    assert!(both.is_done());
    source.set(Some(given()));
    assert!(ctx.is_done());
    assert_eq!(ctx.cause().unwrap().at(), Some(clock.now()));
}

//= C126
#[test]
fn the_source_is_subscribed_to_once_when_somebody_waits() {
    let source = Relay::new();
    // Its sweeper runs hooks before the alarm returns.
    let (root, _root_guard) = TestClock::new().ctx();
    let ctx = root.with_source(source.shared());
    let children: Vec<_> = (0..10).map(|_| ctx.child()).collect();
    let merged = Ctx::merge([&children[0].0, &children[1].0]);
    assert!(!ctx.is_done() && !merged.is_done() && ctx.deadline().is_none());
    assert_eq!(source.subscriptions(), 0, "nobody waits");

    let hook = merged.on_done(|_| {});
    assert_eq!(source.subscriptions(), 1);
    let mut waiters: Vec<_> = children
        .iter()
        .map(|(ctx, _)| ManualTask::new(ctx.done()))
        .chain([ManualTask::new(ctx.done())])
        .collect();
    park(&mut waiters);
    assert_eq!((source.subscriptions(), source.subscribed()), (1, 1));
    source.set(Some(given()));
    source.alarm();
    assert!(hook.has_run());
    assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
}

/// A source whose subscriptions count their end.
struct Counting {
    relay: Relay,
    ended: Tally,
}

impl Source for Counting {
    fn cause(&self) -> Option<Cause> {
        self.relay.cause()
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        Armed::new((self.relay.subscribe(alarm), self.ended.on_drop()))
    }
}

//= C126
#[test]
fn the_subscription_ends_with_the_context_or_its_last_handle() {
    type End = fn(&Relay, Ctx) -> Option<Ctx>;
    let ends: [(&str, End); 3] = [
        ("alarm", |relay, ctx| {
            relay.set(Some(given()));
            relay.alarm();
            Some(ctx)
        }),
        ("a look, then an alarm", |relay, ctx| {
            relay.set(Some(given()));
            assert!(ctx.is_done());
            relay.alarm();
            Some(ctx)
        }),
        ("last handle", |_, ctx| {
            drop(ctx);
            None
        }),
    ];
    for (how, end) in ends {
        let (relay, ended) = (Relay::new(), Tally::new());
        let counting = Counting {
            relay: relay.clone(),
            ended: ended.clone(),
        };
        let ctx = Ctx::from_source(Arc::new(counting));
        let mut waiter = ManualTask::new(ctx.done());
        assert!(waiter.poll().is_pending());
        drop(waiter);
        assert_eq!((ended.get(), relay.subscribed()), (0, 1), "{how}: it stays");
        let kept = end(&relay, ctx);
        assert_eq!((ended.get(), relay.subscribed()), (1, 0), "{how}");
        drop(kept);
    }
}

//= C126, C127
#[test]
fn an_alarm_without_a_cause_ends_nothing_and_the_next_one_counts() {
    let source = Relay::new();
    let ctx = Ctx::from_source(source.shared());
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    for round in 1..=3 {
        source.alarm();
        assert!(!ctx.is_done() && !waiter.is_woken());
        assert_eq!(source.subscribed(), 1, "subscribed again");
        assert_eq!(source.subscriptions(), 1 + round);
    }
    source.set(Some(given()));
    source.alarm();
    assert_eq!(waiter.wakes(), 1);
    assert!(waiter.poll().is_ready());
    assert_eq!(source.subscribed(), 0);
}

/// Keeps every alarm that it was ever given, and wakes at once if it is told to.
#[derive(Default)]
struct Hoarder {
    alarms: Mutex<Vec<Waker>>,
    cause: Mutex<Option<Cause>>,
    wakes_at_once: bool,
}

impl Source for Hoarder {
    fn cause(&self) -> Option<Cause> {
        self.cause.lock().unwrap().clone()
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        if self.wakes_at_once {
            alarm.wake_by_ref();
        }
        self.alarms.lock().unwrap().push(alarm);
        Armed::new(())
    }
}

//= C127
#[test]
fn a_late_alarm_does_nothing() {
    let hoarder = Arc::new(Hoarder::default());
    let (root, _guard) = TestClock::new().ctx();
    let ctx = root.with_source(Arc::clone(&hoarder) as _);
    let ran = Tally::new();
    let in_hook = ran.clone();
    let hook = ctx.on_done(move |_| in_hook.add());
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    let alarm = hoarder.alarms.lock().unwrap()[0].clone();
    *hoarder.cause.lock().unwrap() = Some(given());
    alarm.wake_by_ref();
    assert_eq!(waiter.wakes(), 1);
    let cause = ctx.cause();
    alarm.wake_by_ref();
    *hoarder.cause.lock().unwrap() = Some(Cause::new(Kind::Custom));
    alarm.wake_by_ref();
    assert_eq!((waiter.wakes(), ctx.cause()), (1, cause));
    drop((hook, waiter, ctx));
    alarm.wake_by_ref();
    alarm.wake();
    assert_eq!(ran.get(), 1);
    assert_eq!(hoarder.alarms.lock().unwrap().len(), 1);
}

//= C127
#[test]
fn a_source_that_wakes_from_within_subscribe_is_not_asked_for_ever() {
    let hoarder = Arc::new(Hoarder {
        wakes_at_once: true,
        ..Hoarder::default()
    });
    let ctx = Ctx::from_source(Arc::clone(&hoarder) as _);
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    assert!(!ctx.is_done());
    assert_eq!(hoarder.alarms.lock().unwrap().len(), 1);
    *hoarder.cause.lock().unwrap() = Some(given());
    let alarm = hoarder.alarms.lock().unwrap()[0].clone();
    alarm.wake();
    assert_eq!(waiter.wakes(), 1, "the next alarm still counts");

    let early = Arc::new(Hoarder {
        wakes_at_once: true,
        cause: Mutex::new(None),
        ..Hoarder::default()
    });
    let (root, _guard) = TestClock::new().ctx();
    let ctx = root.with_source(Arc::clone(&early) as _);
    *early.cause.lock().unwrap() = Some(given());
    let hook = ctx.on_done(|_| {});
    assert!(hook.has_run(), "done before it was subscribed to");
}

//= C127
#[test]
fn a_source_that_takes_its_cause_back_revives_nothing() {
    let source = Relay::new();
    let ctx = Ctx::from_source(source.shared());
    let (below, _guard) = ctx.child();
    source.set(Some(given()));
    assert!(below.is_done());
    let cause = ctx.cause();
    for other in [None, Some(Cause::new(Kind::Custom))] {
        source.set(other);
        assert!(ctx.is_done() && below.is_done());
        assert_eq!((ctx.cause(), below.cause()), (cause.clone(), cause.clone()));
    }
}

/// A source that is a second node: two trees on two clocks.
struct Other(Ctx);

impl Source for Other {
    fn cause(&self) -> Option<Cause> {
        self.0.cause()
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        Armed::new(self.0.on_done(move |_| alarm.wake()))
    }
}

//= C125, C126
#[test]
fn another_tree_can_be_the_source() {
    let clock = TestClock::new();
    let (other, other_guard) = clock.ctx();
    let timed = other.with_timeout(SECOND);
    let ctx = Ctx::from_source(Arc::new(Other(timed.clone())));
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    clock.advance(SECOND);
    assert_eq!(waiter.wakes(), 1);
    assert_eq!(ctx.cause(), timed.cause());
    drop(other_guard);
    assert_eq!(ctx.cause().unwrap().kind(), Kind::DeadlineExceeded);
}
