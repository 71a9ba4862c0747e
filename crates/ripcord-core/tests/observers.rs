//! Observers of random trees and of racing threads, and what counts as a look.
//!
//! The chapter *Observation* of the specification, case by case, is in `observation.rs`.

mod common;

use common::{Rng, together};
use ripcord_core::{CancelGuard, Cause, Ctx, Info, Observer, Phase, dump};
use ripcord_test::{ManualTask, TestClock};
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, Debug)]
enum Event {
    Created,
    Cancelled(Cause),
    Observed(Cause),
    Ended,
}

/// Tells each event with the number and the name of its context.
struct Recorder(mpsc::Sender<(u64, String, Event)>);

impl Recorder {
    fn tell(&self, context: &Info<'_>, event: Event) {
        let name = context.name.unwrap_or_default().to_owned();
        let _ = self.0.send((context.id, name, event));
    }
}

impl Observer for Recorder {
    fn created(&self, context: &Info<'_>) {
        assert!(context.site.is_some() && context.parent != Some(context.id));
        assert!(format!("{context:?}").contains("Info"));
        self.tell(context, Event::Created);
    }

    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        self.tell(context, Event::Cancelled(cause.clone()));
    }

    fn observed(&self, context: &Info<'_>, cause: &Cause) {
        self.tell(context, Event::Observed(cause.clone()));
    }

    fn ended(&self, context: &Info<'_>) {
        self.tell(context, Event::Ended);
    }
}

struct Observed {
    clock: TestClock,
    root: Ctx,
    guard: CancelGuard,
    told: mpsc::Receiver<(u64, String, Event)>,
}

fn observed() -> Observed {
    let clock = TestClock::new();
    let (tell, told) = mpsc::channel();
    let root = clock.root().name("root").observer(Arc::new(Recorder(tell)));
    let (root, guard) = root.build();
    Observed {
        clock,
        root,
        guard,
        told,
    }
}

impl Observed {
    /// What came since the last call, of contexts of that name.
    fn news(&self, name: &str) -> Vec<Event> {
        let all = self.told.try_iter();
        all.filter(|event| event.1 == name)
            .map(|event| event.2)
            .collect()
    }

    fn ends(&self, name: &str) -> Vec<Event> {
        let mut news = self.news(name);
        news.retain(|event| !matches!(event, Event::Created | Event::Ended));
        news
    }
}

/// Checks the order of the events of every context.
fn check_order(events: impl IntoIterator<Item = (u64, String, Event)>) -> usize {
    let mut by_id: HashMap<u64, Vec<Event>> = HashMap::new();
    for (id, _, event) in events {
        by_id.entry(id).or_default().push(event);
    }
    for (id, events) in &by_id {
        assert_eq!(events.first(), Some(&Event::Created), "{id}: {events:?}");
        assert_eq!(events.last(), Some(&Event::Ended), "{id}: {events:?}");
        let count = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
        assert_eq!(count(|event| *event == Event::Created), 1);
        assert_eq!(count(|event| *event == Event::Ended), 1);
        assert!(
            count(|event| matches!(event, Event::Cancelled(_))) <= 1,
            "{events:?}"
        );
        assert!(
            count(|event| matches!(event, Event::Observed(_))) <= 1,
            "{events:?}"
        );
    }
    by_id.len()
}

//= C119
#[test]
fn each_context_is_told_of_in_order_and_once() {
    let mut rng = Rng::new();
    for _ in 0..20 {
        let mut world = observed();
        let mut nodes = vec![(world.root.clone(), world.guard.handle())];
        let mut guards = Vec::new();
        let mut made = 1;
        for _ in 0..100 {
            let (ctx, canceller) = nodes[rng.below(nodes.len())].clone();
            match rng.below(10) {
                0 | 1 => {
                    let (child, guard) = ctx.child();
                    nodes.push((child, guard.handle()));
                    guards.push(guard);
                    made += 1;
                }
                2 => {
                    let timed = ctx.with_timeout(SECOND * 2);
                    made += usize::from(timed != ctx);
                    nodes.push((timed, canceller));
                }
                // A view, of which nothing is told.
                3 => nodes.push((ctx.named("x"), canceller)),
                4 if nodes.len() > 4 => drop(canceller.cancel("x")),
                5 => world.clock.advance(SECOND / 2),
                6 => drop(ctx.is_done()),
                7 => drop(ctx.cause()),
                8 if nodes.len() > 4 => drop(nodes.swap_remove(rng.below(nodes.len()))),
                _ => {
                    let _ = ManualTask::new(ctx.done()).poll();
                }
            }
        }
        rng.shuffle(&mut guards);
        drop((guards, nodes));
        world.root = Ctx::background();
        drop(world.guard);
        assert_eq!(check_order(world.told.try_iter()), made);
    }
}

//= C119
#[test]
fn the_order_holds_between_threads() {
    for _ in 0..50 {
        let world = observed();
        let (ctx, guard) = world.root.child();
        together(4, |at| match at {
            0 => drop(guard.cancel("own")),
            1 => drop(world.guard.cancel("root")),
            _ => {
                for _ in 0..10 {
                    let (child, guard) = ctx.child();
                    let _ = ManualTask::new(child.done()).poll();
                    drop(guard);
                    let _ = (child.is_done(), child.cause());
                }
            }
        });
        let Observed {
            root,
            guard: root_guard,
            told,
            ..
        } = world;
        drop((ctx, guard, root, root_guard));
        assert_eq!(check_order(told.try_iter()), 22);
    }
}

//= C121
#[test]
fn observed_is_told_at_the_first_look_whichever_it_is() {
    type Look = fn(&Ctx);
    let looks: [(&str, Look); 8] = [
        ("is_done", |ctx| assert!(ctx.is_done())),
        ("check", |ctx| assert!(ctx.check().is_err())),
        ("cause", |ctx| assert!(ctx.cause().is_some())),
        ("phase", |ctx| assert_eq!(ctx.phase(), Phase::Cancelled)),
        ("done", |ctx| {
            assert!(ManualTask::new(ctx.done()).poll().is_ready());
        }),
        ("draining", |ctx| {
            assert!(ManualTask::new(ctx.draining()).poll().is_ready());
        }),
        ("run", |ctx| {
            assert!(ManualTask::new(ctx.run(pending::<()>())).poll().is_ready());
        }),
        ("on_done", |ctx| assert!(ctx.on_done(|_| {}).has_run())),
    ];
    for (how, look) in looks {
        for at_origin in [false, true] {
            let world = observed();
            let (ctx, guard) = world.root.child();
            let (ctx, _inner) = if at_origin {
                (ctx.named("seen"), None)
            } else {
                let (child, inner) = ctx.named("seen").child();
                (child, Some(inner))
            };
            guard.cancel("x");
            let (_watch, name) = (dump(), if at_origin { "root" } else { "seen" });
            let unseen = |event: &Event| matches!(event, Event::Observed(_));
            assert!(!world.ends(name).iter().any(unseen), "{how}");
            look(&ctx);
            let cause = guard.ctx();
            let seen: Vec<_> = world.ends(name).into_iter().filter(unseen).collect();
            assert_eq!(seen.len(), 1, "{how}, at the origin: {at_origin}");
            look(&ctx);
            assert_eq!(world.ends(name), [], "{how}: once");
            assert_eq!(seen, [Event::Observed(cause.cause().unwrap())]);
        }
    }
}

//= C121
#[test]
fn a_hook_that_is_run_is_an_observation_and_a_stopped_one_is_not() {
    let world = observed();
    let (ctx, _inner) = world.root.named("hooked").child();
    let (other, _other_guard) = world.root.named("stopped").child();
    let hook = ctx.on_done(|_| {});
    let stopped = other.on_done(|_| {});
    let mut waiter = ManualTask::new(other.done());
    assert!(waiter.poll().is_pending() && stopped.stop());
    world.guard.cancel("x");
    assert!(hook.has_run());
    let told: Vec<_> = world.told.try_iter().collect();
    let observations = |name: &str| {
        let of = told.iter().filter(|event| event.1 == name);
        of.filter(|event| matches!(event.2, Event::Observed(_)))
            .count()
    };
    assert_eq!(observations("hooked"), 1);
    assert_eq!(observations("stopped"), 0, "only woken");
}

//= C121
#[test]
fn a_look_below_a_watched_context_leaves_it_its_own_observation() {
    let world = observed();
    let (ctx, guard, watch) = world.root.named("watched").watched_child();
    let (below, _below_guard) = ctx.named("below").child();
    guard.cancel("x");
    assert!(below.is_done());
    assert!(watch.seen().is_some(), "anywhere in the subtree");
    drop(world.ends("x"));
    assert!(ctx.is_done());
    assert_eq!(
        world.ends("watched"),
        [Event::Observed(ctx.cause().unwrap())]
    );
}
