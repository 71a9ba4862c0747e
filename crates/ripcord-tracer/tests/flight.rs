//! The flight recorder as users have it: a real folder, a real thread, and two threads that record more
//! than the ring can hold.

mod told;

use ripcord_core::tasks::PollEnd;
use ripcord_core::{Clock, SystemClock};
use ripcord_trace_format::Reader;
use ripcord_tracer::{Flight, Losses, Recorder};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use told::Told;

/// A folder of this test alone, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let process = std::process::id();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{process}"));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits, with a bound, for what another thread does.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let end = SystemClock.now() + Duration::from_secs(30);
    while !is_so() {
        assert!(SystemClock.now() < end, "it takes too long");
        std::thread::yield_now();
    }
}

fn start(recorder: &Recorder, folder: &Folder) -> Flight {
    let flight = recorder.flight(&folder.0).after(Duration::from_millis(1));
    let flight = flight.step(Duration::ZERO).debounce(Duration::ZERO);
    flight.start().expect("the folder can be made")
}

#[test]
fn a_call_is_followed_by_a_file() {
    let folder = Folder::new("call");
    let recorder = Recorder::builder().program("a shop").build();
    let flight = start(&recorder, &folder);
    flight.trigger("now");
    wait_until(|| flight.report().dumps == 1);
    let report = flight.report();
    assert_eq!((report.fired, report.written, report.waiting), (1, 1, 0));
    let process = std::process::id();
    let name = format!("a_shop-{process}-1-call.ript");
    let path = flight.folder().join(&name);
    assert_eq!(folder.names(), [name]);
    let trace = fs::read(&path).expect("readable");
    assert_eq!(report.bytes, trace.len() as u64);
    assert!(Reader::new(&trace[..]).is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(
            (mode(&path) & 0o777, mode(&folder.0) & 0o777),
            (0o600, 0o700)
        );
    }
}

#[test]
fn the_next_flight_counts_on_and_the_folder_may_vanish() {
    let folder = Folder::new("vanish");
    let recorder = Recorder::builder().program("shop").build();
    for _ in 0..2 {
        let flight = start(&recorder, &folder);
        flight.trigger("at the end");
        assert_eq!(flight.finish().dumps, 1);
    }
    let process = std::process::id();
    let expect = [1, 2].map(|number| format!("shop-{process}-{number}-call.ript"));
    assert_eq!(folder.names(), expect);
    let flight = start(&recorder, &folder);
    fs::remove_dir_all(&folder.0).expect("it is there");
    flight.trigger("nowhere");
    wait_until(|| flight.report().suppressed.disk == 1);
    assert_eq!(flight.report().error, Some(io::ErrorKind::NotFound));
    fs::create_dir(&folder.0).expect("it is not there");
    flight.trigger("there again");
    wait_until(|| flight.report().dumps == 1);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_way_is_left_alone() {
    let folder = Folder::new("link");
    fs::create_dir_all(&folder.0).expect("it can be made");
    let target = folder.0.join("precious");
    fs::write(&target, "precious").expect("there is room");
    let process = std::process::id();
    // In the way of the first file while it is written, and of the second one when it is whole.
    let links = [
        format!(".shop-{process}-1-call.ript.part"),
        format!("shop-{process}-2-call.ript"),
    ];
    let links = links.map(|name| folder.0.join(name));
    for link in &links {
        std::os::unix::fs::symlink(&target, link).expect("it can be made");
    }
    let recorder = Recorder::builder().program("shop").build();
    let flight = start(&recorder, &folder);
    flight.trigger("now");
    assert_eq!(flight.finish().dumps, 1);
    assert_eq!(fs::read(&target).expect("there"), b"precious");
    for link in &links {
        assert!(fs::symlink_metadata(link).is_ok_and(|about| about.is_symlink()));
    }
    let third = folder.0.join(format!("shop-{process}-3-call.ript"));
    assert!(fs::symlink_metadata(third).is_ok_and(|about| about.is_file()));
}

#[test]
fn a_watch_survives_what_it_asks() {
    let told = Told::new();
    let (asked, asks) = std::sync::mpsc::channel();
    let watch = told.recorder.watch().patience(Duration::ZERO);
    let watch = watch.step(Duration::from_millis(1)).ask(move |tasks| {
        // With nobody when it begins.
        if !tasks.is_empty() {
            let _ = asked.send(());
        }
        panic!("of what is asked, as the test wants");
    });
    let watch = watch.start().expect("there are threads");
    let (root, _guard) = told.root("root");
    for number in 1..=2 {
        let (ctx, guard) = root.child();
        told.spawn(1_000_000 + number, &ctx, "deaf");
        guard.cancel(ripcord_core::Kind::PeerGone);
        asks.recv_timeout(Duration::from_secs(30))
            .expect("it is asked");
    }
    drop(watch);
}

/// With so small a ring most of it is evicted, and some is lost; nothing else happens to an event.
#[test]
fn two_threads_that_overload_the_ring_are_accounted_for() {
    const POLLS: u64 = 50_000;
    let told = Told::with(|builder| builder.memory(1));
    let (root, _guard) = told.root("root");
    let tasks: Vec<_> = (0..2)
        .map(|task| told.spawn(1_000_001 + task, &root, "task"))
        .collect();
    let recorder = &told.recorder;
    std::thread::scope(|scope| {
        for task in &tasks {
            scope.spawn(move || {
                let told = ripcord_core::tasks::Tasks::new(recorder.tasks());
                for _ in 0..POLLS {
                    told.poll_started(task.by, None, None)
                        .end(PollEnd::Pending, None);
                }
            });
        }
    });
    let dumped = recorder.dump(&mut Vec::new()).expect("a vector takes all");
    let Losses {
        evicted,
        lost,
        unwritten,
        ..
    } = recorder.losses();
    assert_eq!(unwritten, 0);
    // The thread that spawned, root and tasks; then each of the two, and what it has polled.
    let told_of = 1 + 3 + 2 * (1 + 2 * POLLS);
    let found = dumped.events + evicted + lost;
    match refused(recorder) {
        0 => assert_eq!(found, told_of),
        // A gap is told of by an event that nobody has handed over, and that may be lost itself.
        refused => assert!(
            (told_of..=told_of + 2 * refused).contains(&found),
            "{found}"
        ),
    }
    assert!(evicted > told_of / 2, "it was overloaded: {evicted}");
}

/// Events that found no place in the ring, by what threads say of themselves.
fn refused(recorder: &Recorder) -> u64 {
    let mut trace = Vec::new();
    recorder.dump(&mut trace).expect("a vector takes all");
    let twin = told::twin(&trace);
    let totals = twin.lines().filter(|line| line.contains(" thread_totals "));
    let refused = totals.filter_map(|line| line.rsplit_once("dropped=")?.1.parse::<u64>().ok());
    refused.sum()
}
