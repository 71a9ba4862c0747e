//! Where an observer is asked whether it wants to be told, and what its answer means.
#![allow(
    clippy::disallowed_types,
    reason = "a plain lock: no model reaches this test"
)]

use ripcord_core::tasks::TaskObserver;
use ripcord_core::{Cause, Ctx, Entry, Info, InfoKind, Kind, Observer, Root, Value, dump};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Wants even numbers and names that begin with `wanted`, and writes down all that it is told.
#[derive(Default)]
struct Log {
    asked: Mutex<Vec<String>>,
    told: Mutex<Vec<String>>,
}

impl Log {
    fn note(&self, what: &str, context: &Info<'_>) {
        let entry = if context.is_entry { "*" } else { "" };
        let name = context.name.unwrap_or("-");
        let mut told = self.told.lock().expect("unpoisoned");
        told.push(format!("{what} {name}{entry}"));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("unpoisoned"))
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("unpoisoned"))
    }
}

impl Observer for Log {
    fn wants(&self, entry: &Entry<'_>) -> bool {
        let name = entry.name.unwrap_or("-");
        let line = entry.site.expect("every context has a place").line();
        assert!(line > 0);
        let kind = if entry.is_root { "root" } else { "entry" };
        let asked = format!("{kind} {name} {:?} {:?}", entry.number, entry.is_sampled);
        self.asked.lock().expect("unpoisoned").push(asked);
        assert_ne!(name, "panics");
        let is_even = entry.number.is_some_and(|number| number % 2 == 0);
        is_even || name.starts_with("wanted")
    }

    fn created(&self, context: &Info<'_>) {
        self.note("+", context);
    }

    fn cancelled(&self, context: &Info<'_>, _: &Cause) {
        self.note("cancel", context);
    }

    fn observed(&self, context: &Info<'_>, _: &Cause) {
        self.note("seen", context);
    }

    fn ended(&self, context: &Info<'_>) {
        self.note("-", context);
    }

    fn tagged(&self, context: &Info<'_>, _: &'static str, _: &str) {
        self.note("tag", context);
    }

    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

impl TaskObserver for Log {}

/// A service that is observed, and what was told until it stood.
fn service(set: impl FnOnce(Root) -> Root) -> (Arc<Log>, Ctx, impl Drop) {
    let log = Arc::new(Log::default());
    let observer: Arc<dyn Observer> = Arc::<Log>::clone(&log);
    let (root, guard) = set(Ctx::root().name("service").observer(observer)).build();
    (log, root, guard)
}

struct Tenant;
impl Value for Tenant {}

//= C156
#[test]
fn an_entry_is_asked_for_once_and_goes_with_everything_below() {
    let (log, root, _guard) = service(|root| root);
    assert_eq!(log.asked(), [""; 0], "a root that was built is a service");
    let (connection, _connection) = root.named("connection").child();
    assert_eq!(log.told(), ["+ service", "+ connection"]);

    let derive = connection.derive().named("wanted one");
    let (one, guard) = derive.entry(Entry::new().numbered(7).sampled(true)).child();
    assert_eq!(log.asked(), ["entry wanted one Some(7) Some(true)"]);
    let id = connection.recorded_id();
    assert!(one.recorded().is_some() && one.tasks().is_some() && id.is_some());
    let (below, _below) = one.derive().named("below").entry(Entry::new()).child();
    assert_eq!(log.asked(), [""; 0], "within an entry nobody is asked");
    below.tag("key", "value");
    guard.cancel(Kind::PeerGone);
    assert!(below.is_done());
    let expect = [
        "+ wanted one*",
        "+ below*",
        "tag below*",
        "cancel wanted one*",
        "seen below*",
    ];
    assert_eq!(log.told(), expect);
}

//= C156
#[test]
fn of_what_is_declined_nothing_is_told() {
    let (log, root, _guard) = service(|root| root);
    log.told();
    let declined = root.derive().named("no").entry(Entry::new().numbered(7));
    let (no, guard) = declined.child();
    assert_eq!(log.asked(), ["entry no Some(7) None"]);
    let check = |what: &str, ctx: &Ctx| {
        assert_eq!((ctx.recorded(), ctx.recorded_id()), (None, None), "{what}");
        assert!(ctx.tasks().is_none(), "{what}");
        ctx.tag("key", "value");
        let (below, _below) = ctx.derive().entry(Entry::new().numbered(8)).child();
        assert!(below.recorded().is_none(), "{what}");
        assert_eq!((log.asked(), log.told()), (vec![], vec![]), "{what}");
    };
    let second = Duration::from_secs(1);
    check("itself", &no);
    check("a child", &no.child().0);
    check("a view", &no.named("view"));
    check("with a value", &no.with(Tenant));
    check(
        "a child of a view",
        &no.with(Tenant).named("view").child().0,
    );
    check("for a task", &no.with(Tenant).for_task());
    check("a watched one", &no.watched_child().0);
    check("a deadline", &no.with_timeout(second));
    check("a shield", &no.shield(second));
    check("detached", &no.detach());
    check("a child of what was detached", &no.detach().child().0);
    let (other, _other) = root.child();
    log.told();
    check("a merge", &Ctx::merge([&no, &other]));
    drop(other);
    log.told();
    // A deadline in vain is told of no more than the others.
    drop(no.with_timeout(second).with_timeout(2 * second));
    guard.cancel(Kind::PeerGone);
    assert!(no.is_done(), "it ends as ever");
    drop(no);
    assert_eq!((log.asked(), log.told()), (vec![], vec![]));

    // What is beside it is told of.
    let (yes, _guard) = root.derive().entry(Entry::new().numbered(8)).child();
    assert!(yes.recorded().is_some());
    assert_eq!(log.told(), ["+ service*"]);
}

//= C156
#[test]
fn an_entry_without_a_deadline_or_a_guard_is_a_context_all_the_same() {
    let (log, root, _guard) = service(|root| root);
    log.told();
    let job = root.derive().entry(Entry::new().numbered(2)).ctx();
    assert_ne!(job, root);
    assert_eq!(log.told(), ["+ service*"]);
    let named = root.derive().named("no").entry(Entry::new().numbered(1));
    let named = named.ctx();
    assert!(named.recorded().is_none() && named.child().0.recorded().is_none());
    assert_eq!(log.told(), [""; 0]);
}

//= C156
#[test]
fn an_observer_that_panics_is_told() {
    let (log, root, _guard) = service(|root| root);
    let derive = root.derive().named("panics").entry(Entry::new());
    assert!(derive.child().0.recorded().is_some());
    assert_eq!(log.told()[1], "+ panics*");
}

//= C157
#[test]
fn a_context_below_nothing_is_asked_for_and_entries_below_it_too() {
    let (log, root, _guard) = service(|root| root);
    log.told();
    // Detached, since the observer of the process is one for all tests.
    let worker = root.detach().named("worker");
    let (quiet, _quiet) = worker.child();
    assert_eq!(log.asked(), ["root worker None None"]);
    assert!(quiet.recorded().is_none() && quiet.tasks().is_none());
    let (below, _below) = quiet.named("below").child();
    assert!(below.recorded().is_none());
    assert_eq!(log.asked(), [""; 0]);
    let entry = |number| below.derive().entry(Entry::new().numbered(number));
    let (yes, _yes) = entry(2).child();
    let (no, _no) = entry(1).child();
    assert_eq!(log.asked().len(), 2);
    assert!(yes.recorded().is_some() && yes.tasks().is_some() && no.recorded().is_none());
    assert_eq!(log.told(), ["+ below*"]);

    let (loud, _loud) = root.detach().named("wanted").child();
    assert!(loud.child().0.recorded().is_some());
    assert_eq!(log.asked(), ["root wanted None None"]);
    assert!(
        entry_of(&loud.named("no"), 1).recorded().is_none(),
        "asked for, too"
    );
    assert_eq!(log.asked().len(), 1);
}

fn entry_of(ctx: &Ctx, number: u128) -> Ctx {
    let entry = Entry::new().numbered(number);
    ctx.derive().entry(entry).ctx()
}

//= C157
#[test]
fn a_root_may_be_an_entry() {
    let (log, job, _guard) = service(|root| root.entry(Entry::new().numbered(1)));
    assert_eq!(log.asked(), ["entry service Some(1) None"]);
    assert!(job.child().0.recorded().is_none() && job.tasks().is_none());
    assert!(entry_of(&job, 2).recorded().is_none());
    assert_eq!((log.asked(), log.told()), (vec![], vec![]));
    let (log, job, _guard) = service(|root| root.entry(Entry::new().numbered(2)));
    assert!(job.recorded().is_some());
    assert_eq!(log.told(), ["+ service*"]);
}

//= C158
#[test]
fn the_parent_is_the_nearest_that_is_told_of() {
    /// Parent and kind of the context that was made last.
    #[derive(Default)]
    struct Last(Mutex<Option<(Option<u64>, InfoKind)>>);
    impl Observer for Last {
        fn wants(&self, entry: &Entry<'_>) -> bool {
            !entry.is_root
        }
        fn created(&self, context: &Info<'_>) {
            *self.0.lock().expect("unpoisoned") = Some((context.parent, context.kind));
        }
    }
    let last = Arc::new(Last::default());
    let observer: Arc<dyn Observer> = Arc::<Last>::clone(&last);
    let (root, _guard) = Ctx::root().observer(observer).build();
    let told = || last.0.lock().expect("unpoisoned").take().expect("told");
    told();
    let (connection, _connection) = root.child();
    assert_eq!(told(), (root.recorded_id(), InfoKind::Child));
    let entry = entry_of(&connection, 1);
    assert_eq!(told(), (connection.recorded_id(), InfoKind::Child));
    drop(entry);
    let (quiet, _quiet) = root.detach().child();
    drop(entry_of(&quiet, 1));
    assert_eq!(told(), (None, InfoKind::Child), "nothing above is told of");
    // It has a record, for whoever watches.
    let (watched, _guard, _watch) = quiet.watched_child();
    drop(entry_of(&watched, 1));
    assert_eq!(told(), (None, InfoKind::Child));
}

//= C123
//= C156
#[test]
fn what_is_declined_stands_in_the_register() {
    let (log, root, _guard) = service(Root::tracked);
    log.told();
    let derive = root.derive().named("declined and listed");
    let (no, _no) = derive.entry(Entry::new().numbered(1)).child();
    let (below, _below) = no.child();
    below.tag("key", "value");
    let rows = dump().rows().to_vec();
    let mine = |row: &&ripcord_core::Row| row.name.as_deref() == Some("declined and listed");
    assert_eq!(rows.iter().filter(mine).count(), 2);
    assert!(no.recorded().is_none() && no.tasks().is_none());
    drop((no, below));
    assert_eq!(log.told(), [""; 0]);
}
