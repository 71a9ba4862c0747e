//! Chapter *Cause* of the specification: what is reported, and which of two ends counts.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{HandTimer, together};
use ripcord_core::{CancelGuard, Cancelled, Cause, Ctx, Kind};
use ripcord_test::{ManualTask, TestClock};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct DiskFull(u64);

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are missing", self.0)
    }
}

impl Error for DiskFull {}

/// A root whose timer never fires by itself: expiry is only seen by looking.
fn lazy() -> (TestClock, HandTimer, Ctx, CancelGuard) {
    let (clock, timer) = (TestClock::new(), HandTimer::new());
    let root = Ctx::root().clock(Arc::new(clock.clone()));
    let (ctx, guard) = root.timer(Arc::new(timer.clone())).build();
    (clock, timer, ctx, guard)
}

//= C17
#[test]
fn what_was_given_is_what_everybody_reports() {
    let given: [(Cause, Kind, Option<&str>, Option<DiskFull>); 7] = [
        ("bare".into(), Kind::Cancelled, Some("bare"), None),
        (
            String::from("owned").into(),
            Kind::Cancelled,
            Some("owned"),
            None,
        ),
        (Kind::PeerGone.into(), Kind::PeerGone, None, None),
        (
            Cause::new(Kind::Signal).with_message("SIGTERM"),
            Kind::Signal,
            Some("SIGTERM"),
            None,
        ),
        (Cause::custom("mine"), Kind::Custom, Some("mine"), None),
        (
            Cause::error(DiskFull(7)),
            Kind::Custom,
            None,
            Some(DiskFull(7)),
        ),
        (
            Cause::new(Kind::SiblingFailed)
                .with_error(DiskFull(8))
                .with_message("m"),
            Kind::SiblingFailed,
            Some("m"),
            Some(DiskFull(8)),
        ),
    ];
    for (cause, kind, message, error) in given {
        let (ctx, guard) = Ctx::background().child();
        let (child, _child_guard) = ctx.named("view").child();
        assert!(guard.cancel(cause));
        for ctx in [&ctx, &child] {
            let cause = ctx.cause().unwrap();
            assert_eq!((cause.kind(), cause.message()), (kind, message));
            assert_eq!(cause.downcast_ref::<DiskFull>(), error.as_ref());
            assert_eq!(cause.as_error().is_some(), error.is_some());
            assert_eq!(cause.downcast_ref::<io::Error>().map(|_| ()), None);
            let text = cause.to_string();
            assert!(text.contains(message.unwrap_or("")), "{text}");
        }
        assert_eq!(child.check(), Err(Cancelled::new(ctx.cause().unwrap())));
    }
}

//= C18
#[test]
fn a_cause_tells_name_place_and_instant_of_its_cancel() {
    type Cancel = fn(&CancelGuard) -> u32;
    let cancels: [Cancel; 4] = [
        |guard| {
            guard.cancel("x");
            line!() - 1
        },
        |guard| {
            guard.cancel_and_sweep("x");
            line!() - 1
        },
        |guard| {
            guard.handle().cancel("x");
            line!() - 1
        },
        |guard| {
            guard.force("x");
            line!() - 1
        },
    ];
    for cancel in cancels {
        let (clock, _, root, _root_guard) = lazy();
        let (ctx, guard) = root.named("outer").named("inner").child();
        let below = ctx.named("below");
        clock.advance(SECOND);
        let (line, at) = (cancel(&guard), clock.now());
        clock.advance(SECOND);
        let cause = below.cause().unwrap();
        assert_eq!(cause.name(), Some("inner"));
        assert_eq!(cause.at(), Some(at));
        let site = cause.site().unwrap();
        assert_eq!((site.file(), site.line()), (file!(), line));
        assert_eq!(cause.due(), None);
    }
    let (ctx, guard) = Ctx::background().child();
    guard.cancel("x");
    assert_eq!(ctx.cause().unwrap().name(), None);
}

//= C18
#[test]
fn a_cause_read_elsewhere_keeps_its_origin() {
    let (clock, _, root, _root_guard) = lazy();
    let (first, first_guard) = root.named("first").child();
    let (second, second_guard) = root.named("second").child();
    first_guard.cancel("once");
    let at = clock.now();
    clock.advance(SECOND);
    assert!(second_guard.cancel(first.cause().unwrap()));
    let cause = second.cause().unwrap();
    assert_eq!(cause.name(), Some("first"));
    assert_eq!(cause.at(), Some(at));
    assert_eq!(cause.site(), first.cause().unwrap().site());
    assert_eq!(Some(cause), first.cause());
}

//= C19
#[test]
fn the_first_end_is_what_a_context_reports() {
    for registered in [false, true] {
        let (parent, parent_guard) = Ctx::background().child();
        let (child, child_guard) = parent.child();
        let mut waiter = ManualTask::new(child.done());
        if registered {
            assert!(waiter.poll().is_pending());
        }
        parent_guard.cancel("parent");
        assert!(!child_guard.cancel("child"));
        drop(child_guard);
        assert_eq!(child.cause().unwrap().message(), Some("parent"));

        let (parent, parent_guard) = Ctx::background().child();
        let (child, child_guard) = parent.child();
        let mut waiter = ManualTask::new(child.done());
        if registered {
            assert!(waiter.poll().is_pending());
        }
        assert!(child_guard.cancel("child") && !parent.is_done());
        assert!(parent_guard.cancel("parent"));
        assert_eq!(child.cause().unwrap().message(), Some("child"));
        assert_eq!(parent.cause().unwrap().message(), Some("parent"));
    }
}

//= C19, C21
#[test]
fn a_guard_dropped_after_an_ancestors_end_changes_nothing() {
    type Below = fn(&Ctx) -> Ctx;
    let ways: [(&str, Below); 5] = [
        ("child", |ctx| ctx.clone()),
        ("grandchild", |ctx| {
            let (child, guard) = ctx.child();
            guard.disarm();
            child
        }),
        ("deadline", |ctx| ctx.with_timeout(SECOND)),
        ("value", |ctx| ctx.named("view")),
        ("merge", |ctx| {
            let (other, guard) = Ctx::background().child();
            guard.disarm();
            Ctx::merge([&other, ctx])
        }),
    ];
    for (how, below) in ways {
        let (_clock, _, root, guard) = lazy();
        let (ctx, inner) = below(&root).child();
        guard.cancel(Kind::PeerGone);
        drop(inner);
        assert_eq!(ctx.cause().unwrap().kind(), Kind::PeerGone, "{how}");

        let (_clock, _, root, guard) = lazy();
        let (ctx, inner) = below(&root).child();
        drop(inner);
        guard.cancel(Kind::PeerGone);
        assert_eq!(ctx.cause().unwrap().kind(), Kind::Dropped, "{how}");
    }
}

//= C19
#[test]
fn a_guard_dropped_far_below_the_end_changes_nothing() {
    let (top, guard) = Ctx::background().child();
    let mut below = vec![top.child()];
    while below.len() < 60 {
        let last = below.last().unwrap().0.child();
        below.push(last);
    }
    guard.cancel(Kind::PeerGone);
    let ctxs: Vec<Ctx> = below.iter().map(|(ctx, _)| ctx.clone()).collect();
    while let Some((_, guard)) = below.pop() {
        drop(guard);
    }
    for ctx in &ctxs {
        assert_eq!(ctx.cause(), top.cause());
    }
}

//= C20
#[test]
fn an_expiry_tells_whose_deadline_it_was_and_how_late_it_was_seen() {
    let (clock, _, root, _guard) = lazy();
    let owner = root.named("owner");
    let (timed, line) = (owner.with_timeout(SECOND), line!());
    let (child, _child_guard) = timed.named("below").child();
    let due = clock.now() + SECOND;
    clock.advance(3 * SECOND);
    for ctx in [&child, &timed] {
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.kind(), Kind::DeadlineExceeded);
        assert_eq!(cause.name(), Some("owner"));
        assert_eq!(cause.site().map(std::panic::Location::line), Some(line));
        assert_eq!(cause.due(), Some(due));
        assert_eq!(cause.at(), Some(clock.now()));
        assert_eq!(cause.exceeded_by(), Some(2 * SECOND));
    }
    let exact = root.with_timeout(SECOND);
    clock.advance(SECOND);
    assert!(exact.is_done());
    clock.advance(SECOND);
    assert_eq!(exact.cause().unwrap().exceeded_by(), Some(Duration::ZERO));
}

/// Where the cancel and the deadline stand on one path, and who looks.
#[derive(Clone, Copy, Debug)]
struct Race {
    cancel_above: bool,
    cancel_at: u64,
    deadline_at: u64,
    registered: bool,
    look_below: bool,
}

/// Which of the two the context reports when both are past at the first look.
fn outcome(race: Race) -> Kind {
    let (clock, _timer, root, _guard) = lazy();
    let start = clock.now();
    let deadline = start + SECOND * u32::try_from(race.deadline_at).unwrap();
    let (ctx, guard) = if race.cancel_above {
        let (above, guard) = root.child();
        (above.with_deadline(deadline), guard)
    } else {
        root.with_deadline(deadline).child()
    };
    let (below, _below_guard) = ctx.child();
    let mut waiter = ManualTask::new(below.done());
    if race.registered {
        assert!(waiter.poll().is_pending());
    }
    clock.advance_to(start + SECOND * u32::try_from(race.cancel_at).unwrap());
    guard.cancel(Kind::PeerGone);
    clock.advance(10 * SECOND);
    let looked = if race.look_below { &below } else { &ctx };
    let kind = looked.cause().unwrap().kind();
    let other = if race.look_below { &ctx } else { &below };
    assert_eq!(other.cause().unwrap().kind(), kind, "{race:?}");
    drop(guard);
    assert_eq!(looked.cause().unwrap().kind(), kind, "{race:?}");
    kind
}

//= C21
#[test]
fn the_earlier_of_cancel_and_deadline_counts_whoever_looks_first() {
    for case in 0..24 {
        let race = Race {
            cancel_above: case % 2 == 0,
            cancel_at: [1, 2, 3][case / 8],
            deadline_at: 2,
            registered: case / 2 % 2 == 0,
            look_below: case / 4 % 2 == 0,
        };
        let expect = if race.cancel_at < race.deadline_at {
            Kind::PeerGone
        } else {
            Kind::DeadlineExceeded
        };
        assert_eq!(outcome(race), expect, "{race:?}");
    }
}

//= C21
#[test]
fn a_cancel_without_an_instant_wins_over_an_unseen_deadline() {
    for above in [true, false] {
        let (clock, _, root, _guard) = lazy();
        let (ctx, guard) = root.child();
        let timed = ctx.with_timeout(SECOND);
        let (below, below_guard) = timed.child();
        clock.advance(2 * SECOND);
        drop(if above { guard } else { below_guard });
        assert_eq!(below.cause().unwrap().kind(), Kind::Dropped);
        assert!(timed.is_done());
        let expect = if above {
            Kind::Dropped
        } else {
            Kind::DeadlineExceeded
        };
        assert_eq!(timed.cause().unwrap().kind(), expect);
    }
    let (clock, _, root, _guard) = lazy();
    let timed = root.with_timeout(SECOND);
    let (below, below_guard) = timed.child();
    clock.advance(2 * SECOND);
    assert!(timed.is_done(), "seen");
    drop(below_guard);
    assert_eq!(below.cause().unwrap().kind(), Kind::DeadlineExceeded);
}

//= C22
#[test]
fn a_later_deadline_changes_nothing() {
    let (clock, _, root, _guard) = lazy();
    let (outer, line) = (root.named("outer").with_timeout(SECOND), line!());
    let at = clock.now() + SECOND;
    let same = outer.named("same").with_deadline(at);
    let later = outer.named("later").with_timeout(2 * SECOND);
    let (child, _child_guard) = later.child();
    for ctx in [&same, &later, &child, &child.with_timeout(9 * SECOND)] {
        let deadline = ctx.deadline().unwrap();
        assert_eq!((deadline.at(), deadline.owner()), (at, Some("outer")));
        assert_eq!(deadline.site().unwrap().line(), line);
        assert_eq!(ctx.remaining(), Some(SECOND));
    }
    clock.advance(SECOND);
    assert_eq!(later.cause().unwrap().name(), Some("outer"));
    assert_eq!(later.cause(), outer.cause());
}

//= C23
#[test]
fn flag_and_cause_appear_together() {
    for round in 0..100 {
        let (root, root_guard) = Ctx::background().child();
        let (ctx, guard) = root.child();
        let (below, _below_guard) = ctx.child();
        together(4, |at| match at {
            0 if round % 3 == 0 => drop(root_guard.cancel("root")),
            0 if round % 3 == 1 => drop(guard.cancel("ctx")),
            0 => drop(guard.force("forced")),
            _ => {
                let watched = [&ctx, &below][at % 2];
                let (mut done, mut before) = (ManualTask::new(watched.done()), false);
                for _ in 0..1_000 {
                    let cause = watched.cause();
                    assert!(!before || cause.is_some());
                    let is_done = watched.is_done();
                    assert!(is_done || cause.is_none());
                    if is_done {
                        assert!(watched.cause().is_some() && watched.check().is_err());
                        assert!(done.poll().is_ready());
                        assert_eq!(Some(watched.wait()), watched.cause());
                        break;
                    }
                    before = is_done;
                }
            }
        });
    }
}

//= C23
#[test]
fn once_done_nothing_waits() {
    let (clock, _, root, guard) = lazy();
    let timed = root.with_timeout(SECOND);
    clock.advance(SECOND);
    assert!(timed.is_done());
    guard.cancel("x");
    for ctx in [&root, &timed] {
        assert!(ManualTask::new(ctx.done()).poll().is_ready());
        assert!(ManualTask::new(ctx.draining()).poll().is_ready());
        assert_eq!(Some(ctx.wait()), ctx.cause());
        assert_eq!(ctx.wait_timeout(Duration::MAX), ctx.cause());
    }
}

//= C24
#[test]
fn a_cause_once_shown_never_changes() {
    for _ in 0..200 {
        let (upper, upper_guard) = Ctx::background().child();
        let (lower, lower_guard) = upper.child();
        let (ctx, own_guard) = lower.child();
        let seen = together(5, |at| match at {
            0 => {
                upper_guard.cancel("upper");
                None
            }
            1 => {
                lower_guard.cancel("lower");
                None
            }
            2 => {
                own_guard.cancel("own");
                None
            }
            _ => {
                let first = loop {
                    if let Some(cause) = ctx.cause() {
                        break cause;
                    }
                    std::hint::spin_loop();
                };
                for _ in 0..50 {
                    assert_eq!(ctx.cause().as_ref(), Some(&first));
                }
                Some(first)
            }
        });
        for seen in seen.into_iter().flatten() {
            assert_eq!(ctx.cause(), Some(seen));
        }
    }
}

//= C24
#[test]
fn a_shown_cause_stays_when_a_nearer_one_comes() {
    let (upper, upper_guard) = Ctx::background().child();
    let (lower, lower_guard) = upper.child();
    let (ctx, guard) = lower.child();
    upper_guard.cancel("upper");
    let shown = ctx.cause();
    assert!(!lower_guard.cancel("lower") && !guard.cancel("own"));
    drop((guard, lower_guard));
    assert_eq!(ctx.cause(), shown);
    assert_eq!(ctx.wait(), shown.unwrap());
}

//= C25
#[test]
fn as_an_io_error_it_is_never_interrupted() {
    let kinds = [
        Kind::Cancelled,
        Kind::DeadlineExceeded,
        Kind::Dropped,
        Kind::Panicked,
        Kind::SiblingFailed,
        Kind::Shutdown,
        Kind::PeerGone,
        Kind::Signal,
        Kind::Custom,
    ];
    for kind in kinds {
        let cancelled = Cancelled::new(Cause::new(kind).with_error(DiskFull(9)));
        assert_eq!(cancelled.is_deadline(), kind == Kind::DeadlineExceeded);
        let error = io::Error::from(cancelled.clone());
        let expect = if kind == Kind::DeadlineExceeded {
            io::ErrorKind::TimedOut
        } else {
            io::ErrorKind::Other
        };
        assert_eq!(error.kind(), expect);
        let inner = error.get_ref().unwrap().downcast_ref::<Cancelled>();
        assert_eq!(inner, Some(&cancelled));
        let source = error.source().unwrap().downcast_ref::<DiskFull>();
        assert_eq!(source, Some(&DiskFull(9)));
    }
    let bare = io::Error::from(Cancelled::new(Kind::PeerGone));
    assert!(bare.source().is_none());
}

/// An error with whatever stands below it.
#[derive(Debug)]
struct Wrapped(Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("load the page")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Some(inner) => Some(&**inner),
            // Its own source: a chain without an end.
            None => Some(self),
        }
    }
}

#[test]
fn the_end_of_a_context_is_found_wherever_it_stands_in_a_chain() {
    let cancelled = || Cancelled::new(Kind::PeerGone);
    let wrapped = |inner: Box<dyn Error + Send + Sync>| Wrapped(Some(inner));
    let found: [Box<dyn Error + Send + Sync>; 5] = [
        Box::new(cancelled()),
        Box::new(io::Error::from(cancelled())),
        Box::new(wrapped(cancelled().into())),
        Box::new(wrapped(Box::new(io::Error::other(wrapped(
            cancelled().into(),
        ))))),
        Box::new(io::Error::other(io::Error::from(cancelled()))),
    ];
    for error in &found {
        let kind = Cancelled::find(&**error).map(Cancelled::kind);
        assert_eq!(kind, Some(Kind::PeerGone), "{error:?}");
    }
    let other: [Box<dyn Error + Send + Sync>; 4] = [
        Box::new(DiskFull(1)),
        Box::new(io::Error::from(io::ErrorKind::TimedOut)),
        Box::new(wrapped(Box::new(io::Error::other("text")))),
        Box::new(Wrapped(None)),
    ];
    for error in &other {
        assert!(Cancelled::find(&**error).is_none(), "{error}");
    }
}
