//! Chapter *Observation* of the specification: observers, stamps for latency, and the dump.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

mod common;

use common::{Relay, row, rows_named, together};
use ripcord_core::{CancelGuard, Cause, Ctx, Info, Kind, Observer, Phase, Row, Value, dump};
use ripcord_test::{ManualTask, TestClock};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

struct Secret(#[allow(dead_code, reason = "it is there not to be printed")] &'static str);
impl Value for Secret {}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Call {
    Created,
    Cancelled(Cause),
    Observed(Cause),
    Ended,
}

/// Writes down every call: about whom, under which name, what.
#[derive(Clone, Default)]
struct Scribe(Arc<Mutex<Vec<Noted>>>);

/// The number and the name of a context, and the call about it.
type Noted = (u64, Option<String>, Call);

impl Scribe {
    fn note(&self, context: &Info<'_>, call: Call) {
        let name = context.name.map(str::to_owned);
        self.0.lock().unwrap().push((context.id, name, call));
    }

    /// The calls about contexts of that name, since the last look at any.
    fn take(&self, name: &str) -> Vec<Call> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let named = all
            .into_iter()
            .filter(|(_, of, _)| of.as_deref() == Some(name));
        named.map(|(_, _, call)| call).collect()
    }

    /// All calls in order, by context.
    fn by_context(&self) -> HashMap<u64, Vec<Call>> {
        let mut calls: HashMap<u64, Vec<Call>> = HashMap::new();
        for (id, _, call) in self.0.lock().unwrap().iter() {
            calls.entry(*id).or_default().push(call.clone());
        }
        calls
    }

    fn count(&self, which: fn(&Call) -> bool) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, _, call)| which(call))
            .count()
    }
}

impl Observer for Scribe {
    fn created(&self, context: &Info<'_>) {
        self.note(context, Call::Created);
    }

    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        self.note(context, Call::Cancelled(cause.clone()));
    }

    fn observed(&self, context: &Info<'_>, cause: &Cause) {
        self.note(context, Call::Observed(cause.clone()));
    }

    fn ended(&self, context: &Info<'_>) {
        self.note(context, Call::Ended);
    }
}

/// A root with an observer, called "root".
fn observed(clock: &TestClock) -> (Scribe, Ctx, CancelGuard) {
    let scribe = Scribe::default();
    let root = clock.root().name("root").observer(Arc::new(scribe.clone()));
    let (ctx, guard) = root.build();
    (scribe, ctx, guard)
}

/// The calls about one context are in the only order there is, each at most once.
fn assert_in_order(calls: &[Call]) {
    assert_eq!(calls.first(), Some(&Call::Created), "{calls:?}");
    assert_eq!(calls.last(), Some(&Call::Ended), "{calls:?}");
    let count = |which: fn(&Call) -> bool| calls.iter().filter(|call| which(call)).count();
    assert_eq!(count(|call| *call == Call::Created), 1, "{calls:?}");
    assert_eq!(count(|call| *call == Call::Ended), 1, "{calls:?}");
    assert!(
        count(|call| matches!(call, Call::Cancelled(_))) <= 1,
        "{calls:?}"
    );
    assert!(
        count(|call| matches!(call, Call::Observed(_))) <= 1,
        "{calls:?}"
    );
}

//= C119
#[test]
fn every_kind_of_context_is_created_once_and_ended_once() {
    let clock = TestClock::new();
    let (scribe, root, guard) = observed(&clock);
    let source = Relay::new();
    let (other, other_guard) = root.child();
    let made = vec![
        root.child().0,
        root.with_timeout(SECOND),
        root.with_timeout(Duration::ZERO),
        root.with_deadline(clock.now() + 2 * SECOND),
        // These three are views.
        root.with(Secret("x")),
        root.named("view"),
        root.detach(),
        root.shield(SECOND),
        Ctx::merge([&root.child().0, &other]),
        Ctx::all_of([&other, &root.with_timeout(3 * SECOND)]),
        root.with_source(source.shared()),
    ];
    let hooks: Vec<_> = made.iter().map(|ctx| ctx.on_done(|_| {})).collect();
    assert_eq!(
        scribe.count(|call| *call == Call::Created),
        12,
        "{:?}",
        scribe.0
    );
    assert!(guard.cancel("x") && source.subscribed() == 1);
    clock.advance(9 * SECOND);
    source.set(Some(Kind::PeerGone.into()));
    source.alarm();
    for ctx in &made {
        let looks = (ctx.is_done(), ctx.cause(), ctx.check().is_ok());
        assert_eq!(looks.0, looks.1.is_some() && !looks.2);
    }
    drop((other, other_guard, made, hooks, root));
    assert_eq!(guard.ctx().name(), Some("root"));
    let ended = scribe.count(|call| *call == Call::Ended);
    assert_eq!(ended, 11, "the root has a handle left: {:?}", scribe.0);
    drop(guard);
    let all = scribe.by_context();
    assert_eq!(all.len(), 12);
    all.values().map(Vec::as_slice).for_each(assert_in_order);
}

//= C119
#[test]
fn the_calls_stay_in_order_when_threads_race() {
    for _ in 0..50 {
        let clock = TestClock::new();
        let (scribe, root, guard) = observed(&clock);
        let (ctx, own) = root.child();
        let (below, below_guard) = ctx.child();
        let handles = [guard.handle(), own.handle(), below_guard.handle()];
        let hook = ctx.on_done(|_| {});
        let guards = Mutex::new(vec![guard, own, below_guard]);
        let held = Mutex::new(vec![root, ctx, below]);
        together(4, |at| {
            if let Some(handle) = handles.get(at) {
                handle.cancel("x");
                let kept: Vec<Ctx> = held.lock().unwrap().clone();
                for ctx in kept {
                    let _looks = (ctx.is_done(), ctx.cause());
                }
            }
            let taken = (held.lock().unwrap().pop(), guards.lock().unwrap().pop());
            drop(taken);
        });
        drop((held, guards, hook));
        let all = scribe.by_context();
        assert_eq!(all.len(), 3);
        all.values().map(Vec::as_slice).for_each(assert_in_order);
    }
}

//= C119
#[test]
fn what_an_observer_is_told_about_a_context() {
    type Told = (u64, Option<u64>, Option<u32>, std::time::Instant);
    #[derive(Default)]
    struct Last(Mutex<Option<Told>>);
    impl Observer for Last {
        fn created(&self, context: &Info<'_>) {
            let line = context.site.map(std::panic::Location::line);
            let told = (context.id, context.parent, line, context.created);
            *self.0.lock().unwrap() = Some(told);
        }
    }
    let (clock, last) = (TestClock::new(), Arc::new(Last::default()));
    let (root, _guard) = clock.root().observer(Arc::clone(&last) as _).build();
    let (root_id, parent, line, _) = last.0.lock().unwrap().take().unwrap();
    assert_eq!((parent, line), (None, Some(line!() - 2)));
    clock.advance(SECOND);
    let (child, _child_guard) = root.child();
    let told = last.0.lock().unwrap().take().unwrap();
    assert_eq!((told.1, told.2), (Some(root_id), Some(line!() - 2)));
    assert_eq!(told.3, clock.now());
    let merged = Ctx::merge([&child, &root.detach().child().0]);
    let told_of_merge = last.0.lock().unwrap().take().unwrap();
    assert_eq!(
        told_of_merge.1,
        Some(told.0),
        "a merge stands below its first parent"
    );
    drop(merged);
}

type End = fn(CancelGuard, &TestClock, &Relay) -> Option<CancelGuard>;
/// Every way to end a context, the kind that it gives, and what is left of the guard.
const ENDS: [(&str, Kind, End); 8] = [
    ("cancel", Kind::PeerGone, |own, _, _| {
        assert!(own.cancel(Kind::PeerGone));
        Some(own)
    }),
    ("sweep", Kind::PeerGone, |own, _, _| {
        assert!(own.cancel_and_sweep(Kind::PeerGone));
        Some(own)
    }),
    ("canceller", Kind::PeerGone, |own, _, _| {
        assert!(own.handle().cancel(Kind::PeerGone));
        Some(own)
    }),
    ("force", Kind::PeerGone, |own, _, _| {
        assert!(own.force(Kind::PeerGone));
        Some(own)
    }),
    ("shutdown", Kind::Shutdown, |own, clock, _| {
        own.shutdown(ripcord_core::ShutdownPlan::new(SECOND / 4, SECOND / 4));
        clock.advance(SECOND / 2);
        Some(own)
    }),
    ("drop", Kind::Dropped, |own, _, _| {
        drop(own);
        None
    }),
    ("deadline", Kind::DeadlineExceeded, |own, clock, _| {
        clock.advance(SECOND);
        Some(own)
    }),
    ("source", Kind::Signal, |own, _, source| {
        source.set(Some(Kind::Signal.into()));
        source.alarm();
        Some(own)
    }),
];

//= C120
#[test]
fn cancelled_is_called_where_the_end_took_effect() {
    for (how, kind, end) in ENDS {
        for registered in [false, true] {
            let clock = TestClock::new();
            let (scribe, root, guard) = observed(&clock);
            let relay = Relay::new();
            let is_own = !["deadline", "source"].contains(&how);
            let above = match how {
                "source" => root.with_source(relay.shared()),
                _ => root.with_timeout(SECOND),
            };
            let (ctx, own) = above.named(if is_own { "x" } else { "below" }).child();
            let (below, _below_guard) = ctx.named("below").child();
            let waiter = registered.then(|| below.on_done(|_| {}));
            scribe.take("x");
            let kept = end(own, &clock, &relay);
            if !is_own {
                assert!(registered || above.is_done(), "somebody has to notice");
            }
            let name = if is_own { "x" } else { "root" };
            let all = scribe.0.lock().unwrap().clone();
            let calls = all.iter().filter_map(|(_, of, call)| match call {
                Call::Cancelled(cause) => Some((of.as_deref(), cause.kind())),
                _ => None,
            });
            let calls: Vec<_> = calls.collect();
            assert_eq!(
                calls,
                [(Some(name), kind)],
                "{how}, registered: {registered}"
            );
            assert!(below.is_done());
            guard.cancel("later");
            let later = scribe.count(|call| matches!(call, Call::Cancelled(_)));
            assert_eq!(later, 2, "the root's own: {how}");
            drop((waiter, kept));
        }
    }
}

//= C120
#[test]
fn a_cancel_that_comes_too_late_is_not_told() {
    let clock = TestClock::new();
    let (scribe, root, guard) = observed(&clock);
    let (_ctx, own) = root.child();
    guard.cancel("x");
    assert!(!own.cancel("late") && !guard.cancel("late"));
    assert!(guard.force("a phase, not an end"));
    drop(own);
    assert_eq!(scribe.count(|call| matches!(call, Call::Cancelled(_))), 1);
}

//= C121
#[test]
fn the_first_look_is_told_and_no_other() {
    type Look = fn(&Ctx);
    let looks: [(&str, Look); 8] = [
        ("is_done", |ctx| assert!(ctx.is_done())),
        ("check", |ctx| assert!(ctx.check().is_err())),
        ("cause", |ctx| assert!(ctx.cause().is_some())),
        ("phase", |ctx| assert_eq!(ctx.phase(), Phase::Cancelled)),
        ("poll", |ctx| {
            assert!(ManualTask::new(ctx.done()).poll().is_ready());
        }),
        ("draining", |ctx| {
            assert!(ManualTask::new(ctx.draining()).poll().is_ready());
        }),
        ("wait", |ctx| assert_eq!(ctx.wait().kind(), Kind::PeerGone)),
        ("hook", |ctx| assert!(ctx.on_done(|_| {}).has_run())),
    ];
    for (how, look) in looks {
        for from_above in [false, true] {
            let clock = TestClock::new();
            let (scribe, root, guard) = observed(&clock);
            let (ctx, own) = root.child();
            let handle = if from_above { &guard } else { &own };
            assert!(handle.cancel(Kind::PeerGone));
            let before = scribe.count(|call| matches!(call, Call::Observed(_)));
            assert_eq!(before, 0, "a cancel is no look");
            look(&ctx);
            let seen = scribe.count(|call| matches!(call, Call::Observed(_)));
            assert_eq!(seen, 1, "{how}, from above: {from_above}");
            let told = scribe
                .by_context()
                .into_values()
                .flatten()
                .find_map(|call| match call {
                    Call::Observed(cause) => Some(cause),
                    _ => None,
                });
            assert_eq!(told, ctx.cause(), "{how}");
            for (_, look) in looks {
                look(&ctx);
            }
            let again = scribe.count(|call| matches!(call, Call::Observed(_)));
            assert_eq!(again, 1, "{how}, then all");
        }
    }
}

//= C121
#[test]
fn a_look_through_a_view_is_a_look_at_what_it_shows() {
    let clock = TestClock::new();
    let (scribe, root, guard) = observed(&clock);
    let (ctx, _own) = root.named("shown").child();
    let view = ctx.named("view").with(Secret("x"));
    guard.cancel(Kind::PeerGone);
    assert!(view.check().is_err() && view.is_done());
    assert!(ctx.is_done() && ctx.named("other view").cause().is_some());
    let told = scribe.count(|call| matches!(call, Call::Observed(_)));
    assert_eq!(told, 1, "{:?}", scribe.0);
    assert!(
        scribe
            .take("shown")
            .contains(&Call::Observed(ctx.cause().unwrap()))
    );
}

//= C121
#[test]
fn a_look_at_a_live_context_and_a_dump_are_no_observation() {
    let clock = TestClock::new();
    let scribe = Scribe::default();
    let root = clock.root().name("no observation").tracked();
    let (root, guard) = root.observer(Arc::new(scribe.clone())).build();
    assert!(!root.is_done() && root.cause().is_none());
    guard.cancel("x");
    assert!(row("no observation").cause.is_some());
    assert!(root.with_timeout(SECOND).deadline().is_some());
    assert!(!format!("{:?}", dump()).is_empty());
    assert_eq!(scribe.count(|call| matches!(call, Call::Observed(_))), 0);
}

//= C121
#[test]
fn a_hook_that_runs_is_an_observation() {
    let clock = TestClock::new();
    for by_deadline in [false, true] {
        let (scribe, root, guard) = observed(&clock);
        let timed = root.with_timeout(SECOND);
        let (ctx, _own) = timed.named("hooked").child();
        let before_it = scribe.clone();
        let hook = ctx.on_done(move |cause| {
            let seen = before_it.take("hooked");
            assert_eq!(seen.last(), Some(&Call::Observed(cause.clone())));
        });
        if by_deadline {
            clock.advance(SECOND);
        } else {
            guard.cancel("x");
        }
        assert!(hook.has_run());
        assert!(ctx.is_done());
        let after = scribe.count(|call| matches!(call, Call::Observed(_)));
        assert_eq!(after, 0, "by deadline: {by_deadline}");
    }
}

//= C122
#[test]
fn the_stamps_of_a_watched_context_follow_one_another() {
    let clock = TestClock::new();
    let (root, _root_guard) = clock.ctx();
    let (ctx, guard, watch) = root.watched_child();
    let (below, _below_guard) = ctx.with_timeout(9 * SECOND).child();
    assert_eq!(
        (watch.asked(), watch.seen(), watch.cause()),
        (None, None, None)
    );
    clock.advance(SECOND);
    let asked = clock.now();
    guard.cancel(Kind::PeerGone);
    clock.advance(SECOND);
    assert_eq!((watch.asked(), watch.seen()), (Some(asked), None));
    assert_eq!(
        watch.cause().unwrap().kind(),
        Kind::PeerGone,
        "no observation"
    );
    assert_eq!(watch.seen(), None);
    clock.advance(SECOND);
    let seen = clock.now();
    assert!(below.check().is_err());
    clock.advance(SECOND);
    assert!(ctx.is_done());
    assert_eq!((watch.asked(), watch.seen()), (Some(asked), Some(seen)));
    let text = format!("{watch:?}");
    assert!(text.contains("asked") && text.contains("seen"), "{text}");
}

//= C122
#[test]
fn the_stamps_never_decrease_whatever_the_clock_does() {
    let clock = TestClock::new();
    let (root, _root_guard) = clock.ctx();
    clock.advance(5 * SECOND);
    let (ctx, guard, watch) = root.watched_child();
    guard.cancel("x");
    clock.set_back(3 * SECOND);
    assert!(ctx.is_done());
    assert_eq!(watch.seen(), watch.asked());

    let timed = root.with_timeout(SECOND);
    let (ctx, _guard, watch) = timed.watched_child();
    let due = clock.now() + SECOND;
    clock.advance(3 * SECOND);
    assert!(ctx.is_done());
    assert_eq!(
        watch.asked(),
        Some(due),
        "for a deadline: the deadline itself"
    );
    assert_eq!(watch.seen(), Some(clock.now()));
    drop(timed);
}

//= C122
#[test]
fn a_watch_is_for_its_own_end_only() {
    let clock = TestClock::new();
    let (root, _root_guard) = clock.ctx();
    let (ctx, guard, watch) = root.watched_child();
    let (inner, inner_guard, inner_watch) = ctx.watched_child();
    clock.advance(SECOND);
    assert!(inner_guard.cancel("only below"));
    assert!(inner.is_done() && !ctx.is_done());
    assert!(inner_watch.seen().is_some());
    assert_eq!((watch.asked(), watch.seen()), (None, None));
    clock.advance(SECOND);
    assert!(guard.cancel("all"));
    assert!(inner.is_done());
    assert_eq!(watch.seen(), None, "that look saw the inner end");
    assert!(ctx.named("view").is_done());
    assert_eq!(watch.seen(), Some(clock.now()));
}

//= C122
#[test]
fn an_end_without_an_instant_has_no_stamp() {
    let (root, _root_guard) = TestClock::new().ctx();
    let (above, guard) = root.child();
    let (ctx, _guard, watch) = above.watched_child();
    drop(guard);
    assert!(ctx.is_done());
    assert_eq!(ctx.cause().unwrap().at(), None);
    assert_eq!(watch.asked(), None);
    assert!(watch.seen().is_some());
}

fn find(rows: &[Row], name: &str) -> Row {
    let mut named = rows.iter().filter(|row| row.name.as_deref() == Some(name));
    let found = named.next().cloned();
    assert!(named.next().is_none(), "two rows named {name}");
    found.unwrap_or_else(|| panic!("no row named {name} in {rows:?}"))
}

//= C123
#[test]
fn a_row_tells_what_a_context_is_doing() {
    let clock = TestClock::new();
    let (root, guard) = clock.root().name("rows: root").tracked().build();
    clock.advance(SECOND);
    let (timed, line) = (root.named("rows: timed").with_timeout(9 * SECOND), line!());
    let (ctx, own) = timed.with(Secret("hunter2")).named("rows: ctx").child();
    let mut waiters = [ManualTask::new(ctx.done()), ManualTask::new(ctx.done())];
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    let mut drainer = ManualTask::new(ctx.draining());
    assert!(drainer.poll().is_pending());
    let hook = ctx.on_done(|_| {});
    clock.advance(2 * SECOND);

    let rows = dump();
    let named: Vec<Row> = rows_named("rows: ctx");
    assert_eq!(named.len(), 1, "the view that it was made from is gone");
    let row = &named[0];
    assert_eq!((row.waiters, row.hooks, row.children), (3, 1, 0));
    assert_eq!((row.age, row.remaining), (2 * SECOND, Some(7 * SECOND)));
    assert_eq!((row.phase, row.cause.clone()), (Phase::Live, None));
    assert_eq!(row.site.unwrap().file(), file!());
    let timed_row = rows_named("rows: timed").pop().unwrap();
    assert_eq!(timed_row.site.unwrap().line(), line);
    assert_eq!(timed_row.children, 1);
    let root_row = find(rows.rows(), "rows: root");
    assert_eq!(
        (root_row.parent, root_row.remaining, root_row.age),
        (None, None, 3 * SECOND)
    );
    assert!(rows.rows().windows(2).all(|pair| pair[0].id < pair[1].id));

    own.cancel(Kind::PeerGone);
    let row = rows_named("rows: ctx").pop().unwrap();
    assert_eq!(row.phase, Phase::Cancelled);
    assert_eq!(row.cause.as_ref().unwrap().kind(), Kind::PeerGone);
    assert_eq!((row.waiters, row.hooks), (0, 0));
    let text = format!("{} {:?}", dump(), dump());
    assert!(
        text.contains("rows: ctx") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(row.to_string().contains("cause peer gone"), "{row}");
    guard.force("x");
    assert_eq!(rows_named("rows: ctx").pop().unwrap().phase, Phase::Forced);
    drop((hook, drainer));
}

//= C123
#[test]
fn every_kind_of_context_is_listed_while_it_has_a_handle() {
    type Make = fn(&Ctx) -> Ctx;
    let makes: [(&str, Make); 10] = [
        ("child", |ctx| ctx.child().0),
        ("timeout", |ctx| ctx.with_timeout(SECOND)),
        ("value", |ctx| ctx.with(Secret("x"))),
        ("name", |ctx| ctx.named("list")),
        ("task", |ctx| ctx.for_task().with(Secret("y"))),
        ("shield", |ctx| ctx.shield(SECOND)),
        ("detach", Ctx::detach),
        ("merge", |ctx| Ctx::merge([&ctx.child().0, &ctx.child().0])),
        ("all_of", |ctx| {
            Ctx::all_of([&ctx.with_timeout(SECOND), &ctx.with_timeout(2 * SECOND)])
        }),
        ("source", |ctx| ctx.with_source(Relay::new().shared())),
    ];
    let clock = TestClock::new();
    for (how, make) in makes {
        let name = format!("list {how}");
        let (root, _guard) = clock.root().name(name.clone()).tracked().build();
        let in_tree = || {
            let listed = ["list", &name].map(|name| rows_named(name).len());
            listed.iter().sum::<usize>()
        };
        let before = in_tree();
        let made = make(&root).named(name.clone());
        assert!(in_tree() > before, "{how}");
        let done = made.done();
        drop(made);
        let is_view = ["value", "name", "task", "detach"].contains(&how);
        let has_node = in_tree() > before;
        assert_eq!(has_node, !is_view, "{how}: `Done` is a handle");
        drop(done);
        assert_eq!(in_tree(), before, "{how}");
    }
    let (_untracked, _guard) = clock.root().name("list nothing").build();
    assert!(rows_named("list nothing").is_empty());
}

//= C123
#[test]
fn a_dump_prints_a_tree_however_deep() {
    let (root, _guard) = Ctx::root().name("deep: 0").tracked().build();
    let mut chain = vec![root];
    for level in 1..100 {
        let (child, guard) = chain[level - 1].named(format!("deep: {level}")).child();
        guard.disarm();
        chain.push(child);
    }
    let text = dump().to_string();
    let line = |name: &str| {
        let mut lines = text
            .lines()
            .filter(|line| line.contains(&format!(" {name} ")));
        lines
            .next()
            .unwrap_or_else(|| panic!("{name} in {text}"))
            .to_owned()
    };
    let indent = |line: &str| line.len() - line.trim_start().len();
    assert_eq!(indent(&line("deep: 0")), 0);
    assert_eq!(indent(&line("deep: 1")), 2);
    assert_eq!(
        indent(&line("deep: 99")),
        80,
        "deeper levels are not indented further"
    );
    assert!(text.ends_with("contexts"), "{text}");
}

//= C124
#[test]
fn the_register_is_back_where_it_was() {
    let clock = TestClock::new();
    let (root, _guard) = clock.root().name("register").tracked().build();
    let kept = root.with_timeout(99 * SECOND);
    let before = rows_named("register").len();
    for cancelled in [false, true] {
        for registered in [false, true] {
            let (ctx, guard) = kept.child();
            let (below, below_guard) = ctx.child();
            let other = Ctx::merge([&below, &root.detach().child().0]);
            let shield = below.shield(SECOND);
            let all = [&ctx, &below, &other, &shield];
            let mut waiters = all.map(|ctx| ManualTask::new(ctx.done()));
            if registered {
                for waiter in &mut waiters {
                    let _registers = waiter.poll();
                }
            }
            assert!(rows_named("register").len() >= before + 4);
            if cancelled {
                drop((guard, below_guard));
            } else {
                guard.disarm();
                below_guard.disarm();
            }
            drop((waiters, shield, other, below, ctx));
            assert_eq!(
                rows_named("register").len(),
                before,
                "cancelled: {cancelled}"
            );
        }
    }
}

//= C13, C122
#[test]
fn a_guard_dropped_where_somebody_looks_on_leaves_an_instant() {
    let clock = TestClock::new();
    let (scribe, observed, _guard) = observed(&clock);
    let (tracked, _tracked_guard) = clock.root().tracked().build();
    let (plain, _plain_guard) = clock.ctx();
    clock.advance(SECOND);
    for root in [&observed, &tracked] {
        let (ctx, guard) = root.child();
        drop(guard);
        assert_eq!(ctx.cause().unwrap().at(), Some(clock.now()));
    }
    let (_ctx, guard, watch) = plain.watched_child();
    drop(guard);
    assert_eq!(watch.asked(), Some(clock.now()));
    assert_eq!(scribe.count(|call| matches!(call, Call::Cancelled(_))), 1);
}

//= C134
#[test]
fn an_observation_that_was_made_remains() {
    let (root, _guard) = TestClock::new()
        .root()
        .name("observed by a poll")
        .tracked()
        .build();
    let (ctx, guard, watch) = root.named("watched").watched_child();
    guard.cancel("x");
    let mut task = ManualTask::new(ctx.done());
    assert!(task.poll().is_ready());
    drop(task);
    assert!(watch.seen().is_some());
    assert_eq!(row("watched").waiters, 0);
}
