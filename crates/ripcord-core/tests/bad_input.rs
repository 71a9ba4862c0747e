//! Chapter *Bad input* of the specification: spans without measure, clocks that jump, handles
//! that leak, names that are attacks, runtimes that are gone. What foreign code may do is in
//! `hostile.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::{EarlyTimer, HandTimer, HeldSweeper, RefusingTimer, Tally};
use common::{finishes, quietly, row, rows_named};
use ripcord_core::{CancelGuard, Cause, Ctx, Grace, Kind, Phase, Root, ShutdownPlan, Timer};
use ripcord_test::{ManualTask, TestClock};
use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A tree whose timer never fires by itself: expiry is only seen by looking.
fn lazy() -> (TestClock, Ctx, CancelGuard) {
    let clock = TestClock::new();
    let root = Ctx::root().clock(Arc::new(clock.clone()));
    let (ctx, guard) = root.timer(Arc::new(HandTimer::new())).build();
    (clock, ctx, guard)
}

/// Waits until so many are registered at the context of that name.
#[track_caller]
fn until_waiting(name: &str, waiters: usize) {
    let name = name.to_owned();
    let present = move || {
        rows_named(&name)
            .iter()
            .map(|row| row.waiters)
            .sum::<usize>()
    };
    finishes(move || {
        while present() < waiters {
            thread::yield_now();
        }
    });
}

/// The latest instant that can be made from `from`.
fn latest(from: Instant) -> Instant {
    let (mut at, mut step) = (from, Duration::from_secs(1 << 62));
    while step > Duration::from_nanos(1) {
        match at.checked_add(step) {
            Some(later) => at = later,
            None => step /= 2,
        }
    }
    at
}

//= C108
#[test]
fn the_current_context_is_put_back_after_each_poll() {
    let (ctx, guard) = Ctx::root().name("entered").build();
    let inner = ctx.named("inner");
    let mut polls = 0;
    let mut task = ManualTask::new(ctx.enter(std::future::poll_fn(move |_| {
        assert_eq!(Ctx::current().name(), Some("entered"));
        inner.enter_sync(|| assert_eq!(Ctx::current(), inner));
        assert_eq!(Ctx::current().name(), Some("entered"));
        polls += 1;
        assert!(polls < 2, "the future panics in its second poll");
        std::task::Poll::<()>::Pending
    })));
    assert_eq!(Ctx::current(), Ctx::background());
    assert!(task.poll().is_pending());
    assert_eq!(Ctx::current(), Ctx::background());
    let outer = Ctx::background().named("outer");
    outer.enter_sync(|| {
        assert!(quietly(|| task.poll().is_ready()).is_err());
        assert_eq!(Ctx::current(), outer, "after a panic");
        assert!(quietly(|| ctx.enter_sync(|| panic!("x"))).is_err());
        assert_eq!(Ctx::current(), outer, "after a panic in `enter_sync`");
    });
    drop(task);
    assert_eq!(Ctx::current(), Ctx::background());
    let there = thread::spawn(|| Ctx::current() == Ctx::background());
    assert!(there.join().unwrap(), "another thread has its own");
    drop(guard);
}

//= C108
#[test]
fn a_future_that_is_dropped_half_way_leaves_the_current_context_alone() {
    let (ctx, _guard) = Ctx::background().child();
    let outer = Ctx::background().named("outer");
    outer.enter_sync(|| {
        let mut task = ManualTask::new(ctx.enter(std::future::pending::<()>()));
        assert!(task.poll().is_pending());
        assert_eq!(Ctx::current(), outer);
        drop(task);
        assert_eq!(Ctx::current(), outer);
    });
}

//= C110
#[test]
fn a_span_that_cannot_be_represented_is_infinite() {
    let (clock, root, _guard) = lazy();
    let bounded = root.named("bounded").with_timeout(SECOND);
    let (past_u64, years) = (Duration::from_secs(u64::MAX), 1_000 * CENTURY);
    for span in [
        Duration::MAX,
        past_u64,
        years,
        Duration::MAX.saturating_sub(SECOND),
    ] {
        assert!(root.with_timeout(span).deadline().is_none(), "{span:?}");
        assert!(root.with_timeout(span).remaining().is_none());
        let kept = bounded.with_timeout(span);
        assert_eq!(kept.remaining(), Some(SECOND), "{span:?}");
        assert_eq!(kept.deadline().unwrap().owner(), Some("bounded"));
        assert!(Ctx::background().with_timeout(span).deadline().is_none());
    }
    let far = latest(clock.now());
    assert!(root.with_deadline(far).deadline().is_none());
    assert_eq!(bounded.with_deadline(far).remaining(), Some(SECOND));
    let kept = bounded.shield(Grace::of(Duration::MAX));
    assert!(kept.deadline().is_none() && !kept.is_done());
}

//= C110
#[test]
fn a_century_is_kept_as_it_is() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let at = clock.now() + CENTURY;
    let ctx = root.with_timeout(CENTURY);
    assert_eq!(ctx.deadline().unwrap().at(), at);
    assert_eq!(root.with_deadline(at).deadline().unwrap().at(), at);
    let mut waiter = ManualTask::new(ctx.done());
    assert!(waiter.poll().is_pending());
    clock.advance(CENTURY.saturating_sub(Duration::from_nanos(1)));
    assert!(!ctx.is_done() && !waiter.is_woken());
    assert_eq!(ctx.remaining(), Some(Duration::from_nanos(1)));
    clock.advance(Duration::from_nanos(1));
    assert!(waiter.poll().is_ready());
}

//= C110
#[test]
fn a_wait_for_a_century_on_the_systems_clock_ends_with_its_cancel() {
    for span in [CENTURY, 4 * CENTURY, Duration::MAX] {
        let name = format!("a wait for {span:?}");
        let (root, guard) = Ctx::root().name(name.clone()).tracked().build();
        let ctx = root.with_timeout(span);
        let waiting = thread::spawn(move || ctx.wait());
        until_waiting(&name, 1);
        guard.cancel(Kind::PeerGone);
        assert_eq!(waiting.join().unwrap().kind(), Kind::PeerGone);
    }
}

//= C110
#[test]
fn graces_and_plans_without_measure_never_run_out() {
    let clock = TestClock::new();
    for span in [Duration::MAX, 1_000 * CENTURY] {
        let (ctx, guard) = clock.ctx();
        let shield = ctx.shield(Grace::of(span));
        let mut waiter = ManualTask::new(shield.done());
        assert!(waiter.poll().is_pending());
        assert!(guard.cancel("x"));
        clock.advance(CENTURY);
        assert!(!shield.is_done() && !waiter.is_woken());
        assert!(guard.force("now") && shield.is_done() && waiter.is_woken());

        let (ctx, guard) = clock.ctx();
        guard.shutdown(ShutdownPlan::new(span, span));
        clock.advance(CENTURY);
        assert_eq!(ctx.phase(), Phase::Draining);
        guard.shutdown(ShutdownPlan::new(Duration::ZERO, span));
        clock.advance(CENTURY);
        assert_eq!(ctx.phase(), Phase::Cancelled);
    }
}

//= C111
#[test]
fn a_wait_of_zero_does_not_block() {
    finishes(|| {
        let (_clock, root, guard) = lazy();
        let timed = root.with_timeout(SECOND);
        for ctx in [&root, &timed, &Ctx::background(), &root.shield(SECOND)] {
            assert_eq!(ctx.wait_timeout(Duration::ZERO), None);
            assert_eq!(ctx.sleep(Duration::ZERO), Ok(()));
            assert!(!ctx.is_done(), "a wait ends nothing but itself");
        }
        guard.cancel(Kind::PeerGone);
        let cause = root.cause().unwrap();
        assert_eq!(timed.wait_timeout(Duration::ZERO), Some(cause.clone()));
        assert_eq!(timed.sleep(Duration::ZERO).unwrap_err().into_cause(), cause);
    });
}

//= C111
#[test]
fn a_wait_without_measure_lasts_until_the_end() {
    type End = fn(&CancelGuard, &TestClock);
    let ends: [(&str, End, Kind); 2] = [
        (
            "cancel",
            |guard, _| assert!(guard.cancel("x")),
            Kind::Cancelled,
        ),
        (
            "deadline",
            |_, clock| clock.advance(SECOND),
            Kind::DeadlineExceeded,
        ),
    ];
    for (how, end, kind) in ends {
        let clock = TestClock::new();
        let name = format!("endless wait, {how}");
        let (root, guard) = clock.root().name(name.clone()).tracked().build();
        let ctx = root.with_timeout(SECOND);
        let other = ctx.clone();
        let waiting = thread::spawn(move || ctx.wait_timeout(Duration::MAX));
        let sleeping = thread::spawn(move || other.sleep(Duration::MAX));
        until_waiting(&name, 2);
        clock.advance(SECOND / 2);
        assert!(!waiting.is_finished() && !sleeping.is_finished());
        end(&guard, &clock);
        assert_eq!(
            waiting.join().unwrap().map(|cause| cause.kind()),
            Some(kind)
        );
        assert_eq!(sleeping.join().unwrap().unwrap_err().kind(), kind);
    }
}

//= C111
#[test]
fn a_shield_without_grace_ends_with_its_parent() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let timed = root.with_timeout(SECOND);
    let (by_deadline, by_cancel) = (
        timed.shield(Duration::ZERO),
        root.shield(Grace::of(Duration::ZERO)),
    );
    let mut waiters = [
        ManualTask::new(by_deadline.done()),
        ManualTask::new(by_cancel.done()),
    ];
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert_eq!(by_deadline.remaining(), Some(SECOND));
    clock.advance(SECOND);
    assert_eq!((waiters[0].wakes(), waiters[1].wakes()), (1, 0));
    assert_eq!(by_deadline.cause(), timed.cause());
    guard.cancel("x");
    assert_eq!((waiters[0].wakes(), waiters[1].wakes()), (1, 1));
    assert_eq!(by_cancel.cause(), root.cause());
    assert!(
        root.shield(Grace::of(Duration::ZERO)).is_done(),
        "made after the end"
    );
}

//= C112
#[test]
fn a_clock_that_jumps_fires_each_deadline_once() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ran = Tally::new();
    let mut all: Vec<_> = (1..=500)
        .map(|at| {
            let ctx = root.with_timeout(SECOND * at);
            let mut waiter = ManualTask::new(ctx.done());
            assert!(waiter.poll().is_pending());
            let ran = ran.clone();
            (ctx.on_done(move |_| ran.add()), waiter, ctx)
        })
        .collect();
    let late = root.with_timeout(SECOND * 501);
    let mut late = ManualTask::new(late.done());
    assert!(late.poll().is_pending());
    clock.advance(SECOND * 500);
    assert_eq!(ran.get(), 500);
    for (hook, waiter, ctx) in &mut all {
        assert_eq!(waiter.wakes(), 1);
        assert!(hook.has_run() && waiter.poll().is_ready());
        assert_eq!(ctx.cause().unwrap().kind(), Kind::DeadlineExceeded);
    }
    assert!(!late.is_woken());
    assert_eq!(clock.armed(), 1, "only the late one is left");
    clock.advance(SECOND * 500);
    assert_eq!((ran.get(), late.wakes()), (500, 1));
    assert!(all.iter().all(|(_, waiter, _)| waiter.wakes() == 1));
}

//= C112
#[test]
fn a_clock_that_goes_back_revives_nothing() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let seen = root.with_timeout(SECOND);
    let (woken, cancelled) = (
        root.with_timeout(2 * SECOND),
        root.with_timeout(9 * SECOND).child(),
    );
    let shield = cancelled.0.shield(SECOND);
    let mut waiter = ManualTask::new(woken.done());
    assert!(waiter.poll().is_pending());
    clock.advance(3 * SECOND);
    assert!(cancelled.1.cancel("x"));
    clock.advance(SECOND);
    assert!(seen.is_done() && waiter.is_woken() && shield.is_done());
    let causes = [
        seen.cause(),
        woken.cause(),
        cancelled.0.cause(),
        shield.cause(),
    ];
    clock.set_back(3 * SECOND + SECOND / 2);
    for (ctx, cause) in [&seen, &woken, &cancelled.0, &shield]
        .into_iter()
        .zip(causes)
    {
        assert!(ctx.is_done() && ctx.check().is_err());
        assert_eq!(ctx.cause(), cause);
        assert_eq!(ctx.phase(), Phase::Cancelled);
        assert!(
            cause
                .unwrap()
                .exceeded_by()
                .is_none_or(|late| late <= 3 * SECOND)
        );
    }
    let fresh = root.with_timeout(SECOND);
    let hook = fresh.on_done(|_| {});
    clock.advance(SECOND);
    assert!(fresh.is_done() && hook.has_run());
    assert!(guard.cancel("still works") && root.is_done());
}

//= C112
#[test]
fn an_unseen_deadline_counts_again_from_the_new_time() {
    let (clock, root, _guard) = lazy();
    let ctx = root.with_timeout(2 * SECOND);
    clock.advance(3 * SECOND);
    clock.set_back(2 * SECOND);
    assert!(!ctx.is_done());
    assert_eq!(ctx.remaining(), Some(SECOND));
    clock.advance(SECOND);
    let cause = ctx.cause().unwrap();
    assert_eq!(cause.exceeded_by(), Some(Duration::ZERO));
}

/// The only clock that can be stepped is the wall clock; what does not read it is not moved.
//= C112
#[test]
fn the_core_does_not_read_the_wall_clock() {
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() {
                &mut folders
            } else {
                &mut paths
            };
            list.push(path);
        }
    }
    let mut files = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["SystemTime", "UNIX_EPOCH"] {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
        files += 1;
    }
    assert!(files > 20, "{files} files: is this the right folder?");
}

//= C113
#[test]
fn a_leaked_guard_cancels_nothing_and_keeps_its_node_in_sight() {
    type End = fn(&CancelGuard, &ripcord_core::Canceller, &TestClock);
    let ends: [(&str, End); 3] = [
        ("ancestor", |above, _, _| assert!(above.cancel("x"))),
        ("canceller", |_, handle, _| assert!(handle.cancel("x"))),
        ("deadline", |_, _, clock| clock.advance(SECOND)),
    ];
    for (how, end) in ends {
        let clock = TestClock::new();
        let (root, above) = clock.root().tracked().build();
        let name = format!("leaked, {how}");
        let (ctx, guard) = root.with_timeout(SECOND).named(name.clone()).child();
        let (kept, handle) = (ctx.clone(), guard.handle());
        std::mem::forget(guard);
        assert!(!ctx.is_done(), "{how}");
        drop(ctx);
        assert!(handle.is_alive());
        end(&above, &handle, &clock);
        assert!(kept.is_done(), "{how}");
        drop(kept);
        let row = row(&name);
        assert_eq!(row.phase, Phase::Cancelled, "{how}: still listed");
        drop(above);
    }
}

//= C114
#[test]
fn leaked_registrations_are_served_and_harm_nobody() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    for by_deadline in [false, true] {
        let (ctx, own) = root.with_timeout(SECOND).child();
        let ran = Tally::new();
        let mut leaked = ManualTask::new(ctx.done());
        let mut draining = ManualTask::new(ctx.draining());
        let mut other = ManualTask::new(ctx.done());
        assert!(leaked.poll().is_pending() && draining.poll().is_pending());
        assert!(other.poll().is_pending());
        let counters = [leaked.counter().clone(), draining.counter().clone()];
        std::mem::forget((leaked, draining));
        let first = ran.clone();
        std::mem::forget(ctx.on_done(move |_| first.add()));
        let second = ran.clone();
        let hook = ctx.on_done(move |_| second.add());
        if by_deadline {
            clock.advance(SECOND);
        } else {
            assert!(own.cancel("x"));
        }
        assert_eq!(
            counters.map(|counter| (counter.wakes(), counter.live())),
            [(1, 0), (1, 0)]
        );
        assert_eq!((ran.get(), other.wakes()), (2, 1));
        assert!(hook.has_run() && other.poll().is_ready());
    }
    drop(guard);
}

/// Names and messages that are no good manners: empty, long, with control sequences.
fn attacks() -> Vec<String> {
    vec![
        String::new(),
        "n".repeat(1 << 16),
        "\x1b[2J\x1b]0;owned\x07".to_owned(),
        "line\nline\r\ttab\0nul\u{7f}\u{9b}31m".to_owned(),
        "\u{202e}reversed\u{2028}\u{200b}".to_owned(),
        "\"quoted\\\" {} {0:?} %s".to_owned(),
    ]
}

#[track_caller]
fn assert_harmless(text: &str, of: &str) {
    let found = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(found, None, "in the text of {of:.40?}");
    let odd = ['\u{202e}', '\u{2028}', '\u{200b}'];
    assert!(!text.contains(odd), "in the text of {of:.40?}");
}

//= C118
#[test]
fn names_and_messages_may_be_anything_and_are_printed_escaped() {
    for attack in attacks() {
        let build: Root = Ctx::root().name(attack.clone()).tracked();
        assert_harmless(&format!("{build:?}"), &attack);
        let (root, guard) = build.build();
        let (ctx, own) = root.named(attack.clone()).with_timeout(SECOND).child();
        assert_eq!(ctx.name(), Some(&*attack));
        let live = format!("{ctx:?} {:?} {own:?}", ctx.deadline().unwrap());
        assert!(guard.cancel(Cause::custom(attack.clone())));
        let cause = ctx.cause().unwrap();
        assert_eq!(
            (cause.message(), cause.name()),
            (Some(&*attack), Some(&*attack))
        );
        let error = ctx.check().unwrap_err();
        let done = format!("{ctx:?} {cause:?} {error:?}");
        for text in [live, done] {
            assert_harmless(&text, &attack);
        }
        let rows = rows_named(&attack);
        assert!(rows.len() >= 3, "{} rows", rows.len());
        for listed in rows {
            let printed = listed.to_string();
            assert!(!printed.contains('\n'), "one line each");
            assert_harmless(&printed, &attack);
            assert_harmless(&format!("{listed:?}"), &attack);
        }
        let all = ripcord_core::dump();
        assert_harmless(&all.to_string(), &attack);
        assert_harmless(&format!("{all:?}"), &attack);
    }
}

//= C117
#[test]
fn a_tree_whose_runtime_is_gone_still_works() {
    let timers: [Arc<dyn Timer>; 2] = [Arc::new(RefusingTimer), Arc::new(EarlyTimer)];
    for timer in timers {
        let lost = HeldSweeper::new();
        let root = Ctx::root().name("no runtime").tracked().timer(timer);
        let (root, guard) = root.sweeper(Arc::new(lost.clone())).build();
        let timed = root.with_timeout(Duration::from_millis(1));
        let ended = finishes(move || timed.wait());
        assert_eq!(ended.kind(), Kind::DeadlineExceeded);

        let waiting: Vec<_> = (0..50)
            .map(|_| root.clone())
            .map(|ctx| thread::spawn(move || ctx.wait()))
            .collect();
        until_waiting("no runtime", 50);
        let canceller = thread::spawn(move || guard.cancel(Kind::Shutdown));
        assert!(canceller.join().unwrap(), "from a thread of no runtime");
        drop(lost.take());
        for thread in waiting {
            let cause = finishes(move || thread.join().unwrap());
            assert_eq!(cause.kind(), Kind::Shutdown);
        }
    }
}

/// Calls a function when dropped.
struct OnDrop(Option<Box<dyn FnOnce()>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

//= C115
#[test]
fn a_thread_that_is_torn_down_has_the_background() {
    type Told = (Ctx, Ctx, bool, bool);
    thread_local! { static LAST: RefCell<Option<OnDrop>> = const { RefCell::new(None) }; }
    for is_entered_before in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let told: Arc<Mutex<Option<Told>>> = Arc::default();
        let (entered, inside) = (ctx.clone(), Arc::clone(&told));
        let thread = thread::spawn(move || {
            let enter = || entered.enter_sync(|| assert_eq!(Ctx::current(), entered));
            if is_entered_before {
                enter();
            }
            LAST.set(None);
            enter();
            let ctx = entered.clone();
            let last = OnDrop(Some(Box::new(move || {
                let within = ctx.enter_sync(Ctx::current);
                let cancelled = guard.cancel("from the end of a thread");
                let all = (
                    Ctx::current(),
                    within,
                    cancelled,
                    ctx.wait_timeout(Duration::ZERO).is_some(),
                );
                *inside.lock().unwrap() = Some(all);
            })));
            LAST.set(Some(last));
        });
        thread.join().unwrap();
        let (current, within, cancelled, waited) = told.lock().unwrap().take().unwrap();
        assert_eq!(current, Ctx::background());
        let is_own_left = is_entered_before;
        let expect = if is_own_left {
            ctx.clone()
        } else {
            Ctx::background()
        };
        assert_eq!(within, expect, "entered before: {is_entered_before}");
        assert!(cancelled && waited && ctx.is_done());
    }
}
