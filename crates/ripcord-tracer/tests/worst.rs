//! Which requests are kept, and which events are cut out for each: exact, on the clock of a test.

mod told;

use ripcord_core::tasks::{Inside, PollEnd, TaskEnd, WokenBy};
use ripcord_core::{CancelGuard, Ctx, Entry, Kind};
use ripcord_tracer::WorstBuilder;
use std::path::PathBuf;
use std::time::Duration;
use told::{Task, Told, twin};

/// A folder that does not exist yet, and goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let name = format!("ripcord-worst-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    /// Names and contents, by name.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(&self.0).expect("it was made");
        let mut files: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("readable");
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(entry.path()).expect("readable"))
            })
            .collect();
        files.sort();
        files
    }

    /// What the names end in, behind the number of the process.
    fn names(&self) -> Vec<String> {
        let files = self.files().into_iter();
        let process = format!("_-{}-", std::process::id());
        files
            .map(|(name, _)| name.replacen(&process, "", 1))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Never looks by itself in the time that a test takes.
fn unhurried(told: &Told, place: &Place) -> WorstBuilder {
    told.recorder
        .worst(&place.0)
        .step(Duration::from_secs(3_600))
}

/// A poll of so many ticks.
fn poll(told: &Told, task: Task, ctx: &Ctx, ticks: u64, end: PollEnd) {
    let turn = told.tasks.poll_started(task.by, ctx.recorded_id(), Some(0));
    told.pass(ticks);
    turn.end(end, None);
}

/// A request that takes so many ticks.
fn request(told: &Told, server: &Ctx, name: &str, ticks: u64) {
    let derive = server.derive().named(name.to_owned()).entry(Entry::new());
    let request = derive.child();
    told.pass(ticks);
    drop(request);
}

/// A slow request between two quick ones, beside another and with a task in its way.
///
/// What is returned lives on.
fn story(told: &Told) -> [(Ctx, CancelGuard); 2] {
    let (server, stop) = told.root("server");
    let hog = told.spawn(1_000_001, &server, "hog");
    let publisher = told.spawn(1_000_002, &server, "publisher");
    poll(told, hog, &server, 3, PollEnd::Pending); // Before the request: none of its business.
    request(told, &server, "GET /a", 10);
    let entry = |name| server.derive().named(name).entry(Entry::new()).child();
    let (beside, end) = entry("GET /b");
    told.call(&beside, "beside");
    let neighbour = told.spawn(1_000_003, &beside, "neighbour");

    let (slow, guard) = entry("GET /a");
    told.call(&slow, "slow");
    slow.tag("request.id", "7");
    let (own, own_guard) = slow.named("work").child();
    told.call(&own, "own");
    let task = told.spawn(1_000_004, &own, "work");
    poll(told, task, &own, 1, PollEnd::Pending);
    told.tasks.woken(neighbour.by, WokenBy::Foreign);
    guard.cancel(Kind::PeerGone);
    poll(told, hog, &server, 200, PollEnd::Pending);
    let inside = Inside::new(publisher.by, None);
    told.tasks.woken(task.by, WokenBy::Task(publisher.by));
    drop(inside);
    poll(told, task, &own, 1, PollEnd::Ready);
    told.end(task, TaskEnd::Ready, 2);
    drop((own_guard, own, slow, guard));
    // After it, and on the same slot.
    poll(told, hog, &server, 3, PollEnd::Pending);
    told.spawn(1_000_005, &server, "later");
    request(told, &server, "GET /a", 11);
    [(server, stop), (beside, end)]
}

/// What is cut out of that, without the thread's beginning.
const EXTRACT: [&str; 18] = [
    "+0 ctx_create id=server parent=- kind=root",
    "+0 task_spawn slot=0 id=1000001",
    "+0 task_spawn slot=1 id=1000002",
    "+13 ctx_create id=slow parent=server",
    "+0 ctx_tag id=slow key=0 text=\"7\"",
    "+0 ctx_create id=own parent=slow",
    "+0 task_spawn slot=3 id=1000004",
    "+0 poll_start slot=3 seq=0",
    "+1 poll_pending",
    "+0 ctx_cancel id=slow kind=peer_gone",
    "+0 poll_start slot=0 seq=1",
    "+200 poll_pending",
    "+0 wake slot=3 seq=1 by=task waker=1",
    "+0 poll_start slot=3 seq=1",
    "+1 poll_ready",
    "+0 task_end slot=3 id=1000004",
    "+0 ctx_end id=own",
    "+0 ctx_end id=slow",
];

#[test]
fn an_extract_has_the_request_and_who_was_in_its_way() {
    let (told, place) = (Told::new(), Place::new("exact"));
    let worst = unhurried(&told, &place).per_route(1).start();
    let worst = worst.expect("it starts");
    let _live = story(&told);
    let report = worst.finish();
    let got = (
        report.written,
        report.removed,
        report.forgotten,
        report.disk,
    );
    assert_eq!((got, report.outdone), ((1, 0, 0, 0), 2), "{report:?}");
    let files = place.files();
    assert_eq!(place.names(), ["1-worst-GET__a.ript"]);
    let trace = &files[0].1;
    let lines = told.lines_in(trace, "events");
    let lines = lines.iter().filter(|line| !line.contains("thread_start"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), EXTRACT.len(), "{lines:#?}");
    for (line, expect) in lines.iter().zip(EXTRACT) {
        assert!(line.starts_with(expect), "{line}: {expect}");
    }
    let registry = told.lines_in(trace, "registry").join("\n");
    for (what, is_there) in [
        ("name=\"hog\"", true),
        ("name=\"publisher\"", true),
        ("id=server", true),
        ("name=\"neighbour\"", false),
        ("name=\"later\"", false),
        ("id=beside", false),
    ] {
        assert_eq!(registry.contains(what), is_there, "{what}: {registry}");
    }
    let twin = twin(trace);
    assert_eq!(
        twin.matches(" location index=").count(),
        7,
        "of what is kept: {twin}"
    );
    assert!(trace.len() < 8_000, "{}", trace.len());
}

#[test]
fn so_many_of_each_route_are_kept_and_the_least_bad_goes() {
    let (told, place) = (Told::new(), Place::new("per-route"));
    let worst = unhurried(&told, &place)
        .per_route(2)
        .start()
        .expect("it starts");
    let (server, _guard) = told.root("server");
    for ticks in [5, 9, 7, 1] {
        request(&told, &server, "GET /a", ticks);
    }
    request(&told, &server, "../../b", 1);
    let report = worst.finish();
    assert_eq!((report.written, report.outdone), (3, 2), "{report:?}");
    let expect = [
        "1-worst-GET__a.ript",
        "2-worst-GET__a.ript",
        "3-worst-.._.._b.ript",
    ];
    assert_eq!(place.names(), expect);

    // Another time, with the files that are there. They count for the quota, and nothing else.
    let worst = unhurried(&told, &place)
        .quota(1 << 20, 3)
        .start()
        .expect("it starts");
    assert!(unhurried(&told, &place).start().is_err(), "one at a time");
    request(&told, &server, "GET /c", 1);
    let report = worst.finish();
    assert_eq!((report.written, report.removed), (1, 1), "{report:?}");
    assert_eq!(place.names().len(), 3);
    assert!(place.names().contains(&"4-worst-GET__c.ript".to_owned()));
}

#[test]
fn a_late_one_is_worse_than_a_long_one_and_the_ring_may_have_forgotten() {
    let told = Told::with(|builder| builder.memory(32 << 10));
    let place = Place::new("late");
    let builder = unhurried(&told, &place).per_route(1);
    let worst = builder
        .late(Duration::from_nanos(64))
        .start()
        .expect("it starts");
    let (server, _guard) = told.root("server");
    request(&told, &server, "GET /", 1_000);
    let (late, guard) = server.derive().named("GET /").entry(Entry::new()).child();
    guard.cancel(Kind::PeerGone);
    told.pass(2);
    drop((late, guard));
    let report = worst.finish();
    assert_eq!((report.written, report.outdone), (1, 1));
    let files = place.files();
    assert!(twin(&files[0].1).contains("ctx_cancel"), "the late one");

    let worst = unhurried(&told, &place).start().expect("it starts");
    request(&told, &server, "GET /gone", 1);
    let task = told.spawn(1_000_001, &server, "chatter");
    for _ in 0..20_000 {
        poll(&told, task, &server, 1, PollEnd::Pending);
    }
    let report = worst.finish();
    assert_eq!((report.written, report.forgotten), (0, 1), "{report:?}");
}
