//! What an observer is told of each kind of context, and gets back of what it keeps.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

use ripcord_core::{
    Armed, Cause, Ctx, Grace, Info, InfoKind, Kind, Observer, Source, Value, foreign_panics,
};
use ripcord_test::TestClock;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Kind, own name and own deadline of a context.
type Made = (InfoKind, Option<String>, Option<Instant>);

/// Keeps a key for each context, and expects it back in every call.
#[derive(Default)]
struct Keeper {
    made: Mutex<Vec<Made>>,
    ended: Mutex<Vec<Made>>,
}

fn key(id: u64) -> u64 {
    id * 10 + 7
}

fn made(context: &Info<'_>) -> Made {
    let name = context.own_name.map(str::to_owned);
    (context.kind, name, context.own_deadline)
}

#[track_caller]
fn expect_keys(context: &Info<'_>) {
    assert_eq!(context.key(), key(context.id));
    assert_eq!(context.parent_key(), context.parent.map_or(0, key));
}

impl Observer for Keeper {
    fn created(&self, context: &Info<'_>) {
        assert_eq!(context.key(), 0, "nothing is kept yet");
        context.keep(key(context.id));
        expect_keys(context);
        assert!(format!("{context:?}").contains("key"));
        self.made.lock().expect("unpoisoned").push(made(context));
    }

    fn cancelled(&self, context: &Info<'_>, _: &Cause) {
        expect_keys(context);
    }

    fn observed(&self, context: &Info<'_>, _: &Cause) {
        expect_keys(context);
    }

    fn ended(&self, context: &Info<'_>) {
        expect_keys(context);
        self.ended.lock().expect("unpoisoned").push(made(context));
    }
}

struct Never;
impl Source for Never {
    fn cause(&self) -> Option<Cause> {
        None
    }
    fn subscribe(&self, _: Waker) -> Armed {
        Armed::new(())
    }
}

struct Tenant;
impl Value for Tenant {}

//= C146
#[test]
fn each_kind_of_context_says_what_is_its_own() {
    let clock = TestClock::new();
    let keeper = Arc::new(Keeper::default());
    let observer: Arc<dyn Observer> = Arc::<Keeper>::clone(&keeper);
    let root = clock.root().name(String::from("root")).observer(observer);
    let (root, _guard) = root.build();
    let of_root = keeper.made.lock().expect("unpoisoned").pop();
    assert_eq!(
        of_root,
        Some((InfoKind::Root, Some("root".to_owned()), None))
    );
    let due = root.clock_now() + SECOND;
    let check = |make: &dyn Fn() -> Ctx, kind, name: Option<&str>, deadline| {
        keeper.made.lock().expect("unpoisoned").clear();
        let ctx = make();
        let expect = (kind, name.map(str::to_owned), deadline);
        let made = keeper.made.lock().expect("unpoisoned").pop();
        assert_eq!(made.as_ref(), Some(&expect));
        drop(ctx);
        // What its making said is said again.
        let ended = keeper.ended.lock().expect("unpoisoned").pop();
        assert_eq!(ended, Some(expect));
    };
    check(&|| root.child().0, InfoKind::Child, None, None);
    check(
        &|| root.with_deadline(due),
        InfoKind::Deadline,
        None,
        Some(due),
    );
    let named = |name: &str| root.named(name.to_owned()).child().0;
    check(&|| named("a"), InfoKind::Child, Some("a"), None);
    check(&|| named("root"), InfoKind::Child, None, None);
    check(&|| root.with(Tenant).child().0, InfoKind::Child, None, None);
    let derive = || root.derive().named("job").with_deadline(due);
    check(
        &|| derive().child().0,
        InfoKind::Deadline,
        Some("job"),
        Some(due),
    );
    check(
        &|| root.shield(Grace::UNBOUNDED),
        InfoKind::Shield,
        None,
        None,
    );
    // With nothing above that has the name.
    let detached = || root.detach().child().0;
    check(&detached, InfoKind::Root, Some("root"), None);
    let source = || root.with_source(Arc::new(Never));
    check(&source, InfoKind::Unlisted, Some("root"), None);
    let (a, b) = (root.with_timeout(SECOND), root.named("b").child());
    check(&|| Ctx::merge([&a, &b.0]), InfoKind::Merge, None, None);
    check(&|| Ctx::merge([&b.0, &a]), InfoKind::Merge, None, None);
    assert_eq!(foreign_panics(), 0, "a wrong key panics in the observer");
}

//= C146
#[test]
fn what_is_kept_comes_back_in_every_call() {
    let keeper = Arc::new(Keeper::default());
    let observer: Arc<dyn Observer> = Arc::<Keeper>::clone(&keeper);
    let (root, guard) = Ctx::root().observer(observer).build();
    let (outer, outer_guard) = root.child();
    let inner = outer.named("inner").with_timeout(SECOND);
    assert!(outer_guard.cancel(Kind::PeerGone));
    assert!(inner.check().is_err() && outer.check().is_err());
    drop((inner, outer, outer_guard, root, guard));
    let ended = keeper.ended.lock().expect("unpoisoned");
    assert_eq!(ended.len(), 3);
    assert_eq!(foreign_panics(), 0, "a wrong key panics in the observer");
}

/// A register lists them for a dump, which is another matter.
//= C151
#[test]
fn a_view_is_told_to_nobody_even_where_it_is_registered() {
    let keeper = Arc::new(Keeper::default());
    let observer: Arc<dyn Observer> = Arc::<Keeper>::clone(&keeper);
    let (root, _guard) = Ctx::root().tracked().observer(observer).build();
    let view = root.named("listed, not told");
    assert!(
        ripcord_core::dump()
            .to_string()
            .contains("listed, not told")
    );
    drop(view);
    assert_eq!(keeper.made.lock().expect("unpoisoned").len(), 1);
    assert!(keeper.ended.lock().expect("unpoisoned").is_empty());
}
