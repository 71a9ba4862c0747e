//! Contexts that an observer counts instead of being told of each.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_types, reason = "an observer of a test")]

use ripcord_core::{Cause, Counted, Ctx, Detail, Info, Kind, Observer};
use ripcord_test::TestClock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it was told, in order, and whether it counts now.
#[derive(Default)]
struct Counter {
    counts: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl Counter {
    fn note(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// From now on.
    fn set(&self, counts: bool) {
        // Relaxed: one thread.
        self.counts.store(counts, Ordering::Relaxed);
    }
}

impl Observer for Counter {
    fn announced(&self) -> Detail {
        self.note("announced");
        // Relaxed: one thread.
        if self.counts.load(Ordering::Relaxed) {
            Detail::Count
        } else {
            Detail::Each
        }
    }

    fn counted(&self, what: Counted) {
        self.note(format!("{what:?}"));
    }

    fn created(&self, context: &Info<'_>) {
        let name = context.name.unwrap_or("-");
        self.note(format!("created {name} below {}", context.parent.is_some()));
    }

    fn cancelled(&self, context: &Info<'_>, cause: &Cause) {
        self.note(format!("cancelled {:?} {}", context.name, cause.kind()));
    }

    fn observed(&self, _: &Info<'_>, _: &Cause) {
        self.note("observed");
    }

    fn ended(&self, context: &Info<'_>) {
        self.note(format!("ended {}", context.name.unwrap_or("-")));
    }

    fn tagged(&self, _: &Info<'_>, key: &'static str, _: &str) {
        self.note(format!("tagged {key}"));
    }
}

fn counter() -> (Arc<Counter>, Arc<dyn Observer>) {
    let counter = Arc::new(Counter::default());
    counter.set(true);
    let observer: Arc<dyn Observer> = Arc::<Counter>::clone(&counter);
    (counter, observer)
}

const ALIVE: &str = "Gone { was_ended: false }";
const ENDED: &str = "Gone { was_ended: true }";

//= C154
#[test]
fn a_context_that_is_counted_is_announced_and_gone() {
    let (counter, observer) = counter();
    let (root, guard) = Ctx::root().observer(observer).build();
    assert_eq!(counter.take(), ["announced"]);
    let request = root.named("request");
    assert_eq!(counter.take(), Vec::<String>::new(), "a view");
    let (call, call_guard) = request.child();
    call.tag("request.id", "7");
    assert!(call.recorded().is_none() && call.recorded_id().is_none());
    drop(call_guard);
    assert!(call.check().is_err(), "the guard is gone");
    drop(call);
    assert_eq!(counter.take(), ["announced", ALIVE], "an ordinary end");
    let (call, call_guard) = request.child();
    assert!(call_guard.cancel(Kind::PeerGone));
    assert_eq!(counter.take(), ["announced", "Ended(PeerGone)"]);
    let below = call.child();
    assert!(below.0.is_done() && below.0.is_done(), "from above");
    drop((below, call, call_guard));
    assert_eq!(counter.take(), ["announced", ALIVE, ENDED]);
    drop((request, guard, root));
    assert_eq!(counter.take(), [ALIVE]);
}

//= C154
#[test]
fn deadlines_merges_and_shields_are_counted_once_too() {
    let (counter, observer) = counter();
    let clock = TestClock::new();
    let (root, guard) = clock.root().observer(observer).build();
    let call = root.with_timeout(Duration::from_secs(1));
    let (other, other_guard) = root.child();
    let both = Ctx::merge([&other, &call]);
    let shield = root.shield(Duration::from_secs(9));
    counter.take();
    clock.advance(Duration::from_secs(2));
    assert!(call.check().is_err() && both.is_done() && !shield.is_done());
    assert_eq!(counter.take(), ["Ended(DeadlineExceeded)"]);
    drop((both, call));
    assert_eq!(counter.take(), [ALIVE, ENDED]);
    drop((shield, other, other_guard, guard, root));
    assert_eq!(counter.take(), [ALIVE, ALIVE, ALIVE]);
}

/// A chain is taken apart in a loop, in which each node is visited twice.
//= C154
#[test]
fn each_level_of_a_chain_is_gone_once() {
    let (counter, observer) = counter();
    let (root, guard) = Ctx::root().observer(observer).build();
    let mut at = root;
    for _ in 0..100 {
        at = at.child().0;
    }
    drop(guard);
    assert_eq!(counter.take().len(), 101, "announced");
    drop(at);
    assert_eq!(counter.take(), [ALIVE; 101]);
}

//= C154
#[test]
fn who_changes_his_mind_is_told_of_what_comes_next() {
    let (counter, observer) = counter();
    let (root, _guard) = Ctx::root().name("root").observer(observer).build();
    counter.set(false);
    counter.take();
    let (call, call_guard) = root.named("call").child();
    assert!(call.recorded().is_some());
    assert_eq!(
        counter.take(),
        ["announced", "created call below false"],
        "what is counted has no number"
    );
    counter.set(true);
    let (inner, inner_guard) = call.named("inner").child();
    assert!(inner.recorded().is_none());
    counter.set(false);
    let (last, last_guard) = inner.named("last").child();
    assert_eq!(
        counter.take(),
        ["announced", "announced", "created last below true"]
    );
    assert!(inner_guard.cancel(Kind::Shutdown));
    assert!(last.check().is_err());
    drop((last, last_guard, inner, inner_guard));
    assert_eq!(
        counter.take(),
        ["Ended(Shutdown)", "observed", "ended last", ENDED]
    );
    drop((call, call_guard));
}

/// A dump shows it all the same.
//= C154
#[test]
fn what_a_register_keeps_has_a_number() {
    let (counter, observer) = counter();
    let (root, _guard) = Ctx::root().tracked().observer(observer).build();
    let (call, _call_guard) = root.named("counted call").child();
    assert!(call.recorded().is_some());
    assert!(ripcord_core::dump().to_string().contains("counted call"));
    drop(call);
    assert_eq!(counter.take().len(), 2, "announced, twice");
}

/// Its record is for who watches, and nobody else knows it.
//= C154
#[test]
fn what_is_watched_and_counted_is_no_recorded_context() {
    let (counter, observer) = counter();
    let (root, _guard) = Ctx::root().observer(observer).build();
    let (ctx, guard, watch) = root.watched_child();
    assert!(ctx.recorded().is_none());
    assert!(guard.cancel(Kind::Shutdown) && ctx.check().is_err());
    assert!(watch.seen().is_some());
    drop((ctx, guard, watch));
    assert_eq!(
        counter.take(),
        ["announced", "announced", "Ended(Shutdown)", ENDED]
    );
}
