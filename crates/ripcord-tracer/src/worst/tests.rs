//! The thread's own looks, at times that a test says: the bar, what is outdone later, and windows.

use super::run::{Rules, Run, WorstReport};
use crate::Recorder;
use crate::flight::folder::{Directory, Quota};
use crate::sync::Mutex;
use ripcord_core::{CancelGuard, Clock, Ctx, Entry, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

struct Hand(Mutex<Instant>);

impl Clock for Hand {
    fn now(&self) -> Instant {
        *self.0.lock()
    }
}

struct World {
    clock: Arc<Hand>,
    recorder: Recorder,
    server: (Ctx, CancelGuard),
    report: Arc<Mutex<WorstReport>>,
    run: Run<Directory>,
    folder: PathBuf,
}

impl World {
    fn new(test: &str, change: impl FnOnce(&mut Rules)) -> Self {
        let name = format!("ripcord-worst-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let clock = Arc::new(Hand(Mutex::new(SystemClock.now())));
        let given = Arc::<Hand>::clone(&clock);
        let recorder = Recorder::builder().clock(given).build();
        let mut rules = Rules {
            step: MS,
            every: 100 * MS,
            per_route: 1,
            late_min: 10 * MS,
            window: None,
            quota: Quota {
                bytes: 1 << 20,
                files: 10,
            },
        };
        change(&mut rules);
        let shared = recorder.shared();
        assert!(shared.worst.claim(shared.clock.raw_in(rules.late_min)));
        let directory = Directory::open(&folder).expect("a folder");
        let report = Arc::default();
        Self {
            run: Run::new(shared, rules, &report, directory).expect("it is there"),
            server: Ctx::root().observer(recorder.observer()).build(),
            clock,
            report,
            recorder,
            folder,
        }
    }

    fn pass(&self, time: Duration) {
        *self.clock.0.lock() += time;
    }

    fn request(&self, name: &'static str, ms: u32) {
        let derive = self.server.0.derive().named(name).entry(Entry::new());
        let request = derive.child();
        self.pass(ms * MS);
        drop(request);
    }

    /// Written, removed and outdone so far.
    fn look(&mut self) -> (u64, u64, u64) {
        self.run.look(self.recorder.shared().clock.raw());
        let report = self.report.lock();
        assert_eq!((report.disk, report.panicked, report.forgotten), (0, 0, 0));
        (report.written, report.removed, report.outdone)
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.folder).expect("a folder").count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_worse_one_takes_the_place_and_a_better_one_is_not_even_noted() {
    let mut world = World::new("bar", |_| ());
    world.request("a", 5);
    assert_eq!(world.look(), (1, 0, 0));
    world.request("a", 5);
    let shared = Arc::clone(world.recorder.shared());
    assert!(shared.worst.take().is_empty(), "the bar is what is kept");
    world.request("a", 6);
    assert_eq!(world.look(), (1, 0, 0), "it is too soon for another copy");
    world.request("a", 7);
    world.pass(100 * MS);
    assert_eq!(world.look(), (2, 1, 1), "one was outdone while it waited");
    assert_eq!(world.files(), 1);
    world.request("b", 1);
    world.pass(100 * MS);
    assert_eq!(
        world.look(),
        (3, 1, 1),
        "another route has a bar of its own"
    );
    assert_eq!(world.files(), 2);
}

#[test]
fn a_window_begins_anew_and_leaves_what_is_written() {
    let mut world = World::new("window", |rules| rules.window = Some(1_000 * MS));
    world.request("a", 50);
    assert_eq!(world.look(), (1, 0, 0));
    world.pass(1_000 * MS);
    world.request("a", 20);
    assert_eq!(world.look(), (1, 0, 0), "it ended in the window before");
    world.request("a", 10);
    world.pass(100 * MS);
    assert_eq!(world.look(), (2, 0, 0));
    assert_eq!(world.files(), 2);
}

#[test]
fn more_than_a_copy_serves_wait_for_the_next_the_worst_first() {
    let mut world = World::new("many", |rules| rules.per_route = 10);
    for ms in 1..=10 {
        world.request("a", ms);
    }
    assert_eq!(world.look().0, 8);
    world.pass(100 * MS);
    assert_eq!(world.look().0, 10);
}

#[test]
fn routes_beyond_those_that_are_told_apart_are_ranked_together() {
    let mut world = World::new("routes", |_| ());
    for at in 0..70 {
        let name: &'static str = Box::leak(format!("/{at}").into_boxed_str());
        world.request(name, 1 + at % 2);
        world.look();
    }
    let report = *world.report.lock();
    // The first two of these; the others were not worse than both together.
    assert_eq!((report.others, report.outdone), (2, 1), "{report:?}");
}
