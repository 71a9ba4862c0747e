//! A recorder whose memory is a file: what the file has, whose it is, and what can go wrong with it.
#![cfg(all(unix, not(ripcord_loom), not(miri)))]

mod told;

use ripcord_core::tasks::{PollEnd, TaskEnd};
use ripcord_core::{Cause, Kind};
use ripcord_trace_format::{BlockKind, Event, Item, Reader, Recovered, RingFile, RingState};
use ripcord_tracer::{Recorder, RingFileError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use told::Told;

/// A folder of this test alone, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let process = std::process::id();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ring-{name}-{process}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("it is new");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
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

/// A recorder as small as it can be.
fn small(path: &Path) -> Result<Recorder, RingFileError> {
    Recorder::builder()
        .program("shop")
        .memory(1)
        .live_max(64)
        .build_in(path)
}

/// On the clock of a test.
fn told(path: &Path) -> Told {
    Told::made(|builder| {
        let builder = builder.program("shop").memory(64 << 10).live_max(2_048);
        builder.build_in(path).expect("there is room")
    })
}

fn recovered(path: &Path) -> (Vec<u8>, Recovered) {
    let mut ring = RingFile::open(File::open(path).expect("it is there")).expect("a ring");
    let mut trace = Vec::new();
    let found = ring.recover(&mut trace).expect("a trace");
    (trace, found)
}

/// What is in blocks of each kind, by thread, as text and in order. Whoever writes a trace may put events
/// into more or fewer blocks.
fn parts(trace: &[u8]) -> BTreeMap<(u8, u32), Vec<String>> {
    let mut reader = Reader::new(trace).expect("a trace");
    let mut parts = BTreeMap::<_, Vec<String>>::new();
    while let Some(item) = reader.next_item().expect("readable") {
        let Item::Block(block) = item else { continue };
        let lines = block.events().map(|event| {
            let (tick, event) = event.expect("whole");
            format!("{tick} {event:?}")
        });
        let part = parts.entry((block.info.kind.number(), block.info.thread));
        part.or_default().extend(lines);
    }
    parts
}

/// Tasks and contexts that come and go, and some that stay.
fn live_and_end(told: &Told, rounds: u64) {
    let (root, end) = told.root("root");
    std::mem::forget(end);
    for round in 0..rounds {
        let (request, guard) = root.named("a request with a name").child();
        request.tag("request.id", &format!("{round:032x}"));
        request.tag("trace.id", &format!("{round:032x}"));
        let task = told.spawn(1 + round, &request, "a task with a name");
        for _ in 0..8 {
            told.pass(1);
            let turn = told.tasks.poll_started(task.by, None, Some(0));
            turn.end(PollEnd::Pending, Some("recv"));
        }
        match round % 4 {
            0 => drop(guard.cancel(Cause::new(Kind::PeerGone).with_message("hung up"))),
            1 => told.end(task, TaskEnd::Ready, 8),
            _ => {}
        }
        // Some go on for ever.
        if round % 3 == 0 {
            std::mem::forget((request, guard));
        }
    }
    // Slots that nobody has again are nobody's.
    for round in 0..40 {
        let (request, guard) = root.named("over").child();
        let task = told.spawn(1_000_000 + round, &request, "over");
        let kept = (round < 20).then_some((request, guard));
        told.end(task, TaskEnd::Ready, 0);
        drop(kept);
    }
    std::mem::forget(root);
}

/// The one comparison that says it all: of the file comes what a dump would have written.
//= R6, R7, R8, R9
#[test]
fn a_trace_of_the_file_says_what_a_dump_says() {
    let folder = Folder::new("dump");
    let told = told(&folder.file("a"));
    live_and_end(&told, 1_000);
    let dump = told.dump();
    let (trace, found) = recovered(&folder.file("a"));
    assert_eq!((found.cut, found.lost_blocks, found.lost_live), (0, 0, 0));
    assert!(found.tasks > 100 && found.contexts > 100, "{found:?}");
    let (mut dump, mut trace) = (parts(&dump), parts(&trace));
    // When a trace was made, and by what its ends are told.
    for kind in [BlockKind::WindowStart, BlockKind::WindowEnd] {
        dump.remove(&(kind.number(), 0));
        trace.remove(&(kind.number(), 0));
    }
    // A dump has places before labels, and the file has them as they came.
    for part in [&mut dump, &mut trace] {
        let tables = part.get_mut(&(BlockKind::Table.number(), 0));
        tables.expect("there are places").sort();
    }
    assert!(dump.len() > 4);
    for (part, lines) in &dump {
        let found = trace.get(part).map(Vec::as_slice).unwrap_or_default();
        for (line, found) in lines.iter().zip(found) {
            assert_eq!(line, found, "{part:?}");
        }
        assert_eq!(lines.len(), found.len(), "{part:?}");
    }
    assert_eq!(trace.len(), dump.len());
}

//= R4
#[test]
fn only_its_owner_reads_it_and_all_of_its_room_is_taken() {
    let folder = Folder::new("mode");
    let recorder = small(&folder.file("a")).expect("there is room");
    let about = fs::metadata(folder.file("a")).expect("it is there");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert!(about.blocks() * 512 >= about.len(), "{about:?}");
    assert_eq!(folder.names(), ["a"], "no other file is left");
    assert_eq!(recorder.losses().outside, 0);
}

//= R2, R3
#[test]
fn what_a_killed_process_has_left_is_kept_and_what_was_closed_makes_room() {
    let folder = Folder::new("again");
    let path = folder.file("a");
    let state = |name: &str| {
        let file = File::open(folder.file(name)).expect("it is there");
        RingFile::open(file).expect("a ring").state()
    };
    // Closed in order: the next one takes its place.
    for _ in 0..2 {
        drop(small(&path).expect("nobody has it"));
        assert_eq!(
            (folder.names(), state("a")),
            (vec!["a".into()], RingState::Closed)
        );
    }
    // A copy is of a process that is gone, and has not closed it.
    for killed in 1..=2 {
        let recorder = small(&path).expect("nobody has it");
        let before = fs::read(&path).expect("it is there");
        drop(recorder);
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, before).expect("there is room");
        drop(small(&path).expect("nobody has it"));
        assert_eq!(folder.names(), ["a", "a.1"], "{killed}");
        assert_eq!(
            (state("a"), state("a.1")),
            (RingState::Closed, RingState::Recording)
        );
    }
}

//= R2
#[test]
fn a_file_of_a_living_process_and_what_is_no_ring_are_left_alone() {
    let folder = Folder::new("alive");
    let path = folder.file("a");
    let recorder = small(&path).expect("nobody has it");
    let error = small(&path).expect_err("it is in use");
    let process = std::process::id();
    assert!(
        matches!(&error, RingFileError::InUse { process: Some(id), .. } if *id == process.into()),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("process {process} records into it"))
    );
    drop(recorder);

    for (name, make) in [
        (
            "text",
            &(|path: &Path| fs::write(path, "mine")) as &dyn Fn(&Path) -> _,
        ),
        ("empty", &|path| fs::write(path, "")),
        ("trace", &|path| fs::write(path, b"RIPT\r\n\x1a\n")),
        ("folder", &|path| fs::create_dir(path)),
        ("link", &|link| symlink(&path, link)),
        ("nowhere", &|link| symlink("nothing", link)),
    ] {
        let other = folder.file(name);
        make(&other).expect("it is new");
        let error = small(&other).expect_err("it is something else");
        assert!(
            matches!(error, RingFileError::NotARing { .. }),
            "{name}: {error}"
        );
    }
    // Nor is what would be replaced by the one that is put aside.
    let before = fs::read(&path).expect("it is there");
    drop(small(&path).expect("it was closed"));
    fs::write(folder.file("b"), before).expect("there is room");
    let mut bytes = fs::read(folder.file("b")).expect("it is there");
    bytes[2_048] = 1;
    fs::write(folder.file("b"), bytes).expect("there is room");
    fs::write(folder.file("b.1"), "mine").expect("there is room");
    let error = small(&folder.file("b")).expect_err("its neighbour is something else");
    assert!(error.to_string().contains("b.1`"), "{error}");
    let error = small(&folder.file("none/a")).expect_err("there is no folder");
    assert!(
        error.to_string().ends_with("none/a`: make a file"),
        "{error}"
    );
    assert!(folder.names().iter().all(|name| !name.contains("new")));
}

#[test]
fn too_much_memory_is_refused_before_a_file_is_made() {
    let folder = Folder::new("large");
    let builder = Recorder::builder().memory(1 << 44);
    let error = builder
        .build_in(folder.file("a"))
        .expect_err("it is too much");
    assert!(
        error
            .to_string()
            .ends_with("more than 1048576 blocks; ask for less memory"),
        "{error}"
    );
    assert!(folder.names().is_empty());
}

/// A disk that is gone, a file that is removed or renamed: the memory is there until the process ends.
//= R5
#[test]
fn a_file_that_vanishes_harms_nobody() {
    let folder = Folder::new("gone");
    let told = told(&folder.file("a"));
    let file = File::open(folder.file("a")).expect("it is there");
    fs::remove_file(folder.file("a")).expect("it is there");
    live_and_end(&told, 300);
    assert_eq!(told.recorder.losses().outside, 0);
    // Whoever has it open still sees all of it.
    let mut ring = RingFile::open(file).expect("a ring");
    let found = ring.recover(std::io::sink()).expect("a trace");
    assert!(found.events > 4_000, "{found:?}");
}

/// Others may write into the file: the recorder reads nothing of it that it relies on.
//= R5
#[test]
fn a_file_that_is_overwritten_harms_nobody() {
    let folder = Folder::new("overwritten");
    let told = told(&folder.file("a"));
    live_and_end(&told, 100);
    let file = File::options().write(true).open(folder.file("a"));
    let file = file.expect("it is there");
    let len = file.metadata().expect("it is there").len();
    let noise = vec![0xff; usize::try_from(len).expect("it is short")];
    file.write_all_at(&noise, 0).expect("it is there");
    live_and_end(&told, 1_600);
    // Of what came after it a dump has every event.
    let polls = parts(&told.dump());
    let polls = polls.values().flatten();
    assert!(polls.filter(|line| line.contains("PollStart")).count() > 1_500);
}

/// Where the file has no place a block is elsewhere, which is counted; later ones are in the file again.
//= R10
#[test]
fn blocks_beyond_those_of_the_file_are_counted() {
    let folder = Folder::new("beyond");
    let recorder = small(&folder.file("a")).expect("there is room");
    let tasks = ripcord_core::tasks::Tasks::new(recorder.tasks());
    let (begun, over) = (std::sync::Barrier::new(35), std::sync::Barrier::new(35));
    std::thread::scope(|scope| {
        // Two of the ring, and 32 more.
        for _ in 0..34 {
            scope.spawn(|| {
                tasks.thread_started();
                begun.wait();
                over.wait();
            });
        }
        begun.wait();
        assert_eq!(recorder.losses().outside, 0);
        tasks.thread_started();
        assert_eq!(recorder.losses().outside, 1);
        over.wait();
    });
    // Many times what the ring has room for, so that a block that is kept is used again.
    for _ in 0..60_000 {
        tasks.parked(None);
    }
    let (_, found) = recovered(&folder.file("a"));
    assert_eq!((found.lost_blocks, found.threads), (1, 35));
    assert_eq!(
        found.blocks, 2,
        "both places of the ring are in the file again"
    );
}

/// What does not fit into the record of a context is cut or left out, and counted; never its end.
//= R9, R10
#[test]
fn an_end_has_room_whatever_was_said_before() {
    let folder = Folder::new("tags");
    let told = told(&folder.file("a"));
    let (request, guard) = told.root("request");
    for _ in 0..8 {
        request.tag("key", &"long ".repeat(100));
    }
    guard.cancel(Cause::new(Kind::PeerGone).with_message("long ".repeat(100)));
    let (trace, found) = recovered(&folder.file("a"));
    let registry = &parts(&trace)[&(BlockKind::Registry.number(), 0)];
    let count = |name: &str| registry.iter().filter(|line| line.contains(name)).count();
    assert_eq!(
        (count("CtxCreate"), count("CtxCancel")),
        (1, 1),
        "{registry:?}"
    );
    assert!((1..8).contains(&count("CtxTag")), "{registry:?}");
    assert_eq!(found.lost_live, 8 - count("CtxTag") as u64);
    drop(request);
}

/// A place that is used again while the file is read is left out, and what is told later has a place.
#[test]
fn the_file_of_a_living_process_can_be_read_while_it_records() {
    let folder = Folder::new("living");
    let path = folder.file("a");
    let builder = Recorder::builder().memory(64 << 10);
    let recorder = builder.build_in(&path).expect("there is room");
    let tasks = ripcord_core::tasks::Tasks::new(recorder.tasks());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Relaxed: it only has to end.
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                tasks.parked(Some(0));
                tasks.unparked(Some(0));
            }
        });
        for _ in 0..20 {
            let (trace, found) = recovered(&path);
            assert_eq!(found.cut, 0, "{found:?}");
            let mut reader = Reader::new(&trace[..]).expect("a trace");
            let mut before = None;
            while let Some(item) = reader.next_item().expect("readable") {
                let Item::Block(block) = item else { continue };
                if block.info.kind != BlockKind::Events {
                    continue;
                }
                for event in block.events() {
                    let (tick, event) = event.expect("whole");
                    assert!(before <= Some(tick), "{event:?} goes back");
                    assert!(!matches!(event, Event::Unknown(_)));
                    before = Some(tick);
                }
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
