//! How many bytes an event takes, and a request: of a small load, and of `ripcord demo`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use ripcord_trace_format::{BlockKind, End, Event, Item, Reader};

use super::load;
use super::ours::Full;
use crate::case::{Case, Goal, Kind, RIPCORD, Readings, Unit};
use crate::folder::Folder;
use crate::plan::{Plan, WORKERS};
use crate::spawner::{Stage as _, workers};

pub(super) fn cases() -> Vec<Case> {
    let demo = Case::new(
        Kind::Scene,
        "size/demo",
        "the load of `ripcord demo`, recorded by itself",
    )
    .needs(|| demo_program().map(drop));
    vec![
        sized(Case::new(Kind::Scene, "size/rpc", "20,000 requests through channels").size(20_000))
            .metric("raw_request", "bytes per request", Unit::Bytes, None)
            .metric(
                "packed_request",
                "bytes per request, zstd-1",
                Unit::Bytes,
                None,
            )
            .metric("decode", "decoding per event", Unit::Nanoseconds, None)
            .aside("request_events", "events per request", Unit::Count)
            .rust(RIPCORD, rpc_by_ripcord),
        sized(demo)
            .aside("events", "events", Unit::Count)
            .rust(RIPCORD, demo_by_itself),
    ]
}

fn sized(case: Case) -> Case {
    let raw = Goal::at_most(4.5);
    case.metric("raw", "bytes per event", Unit::Bytes, raw)
        .metric(
            "packed",
            "bytes per event, zstd-1",
            Unit::Bytes,
            Goal::at_most(1.5),
        )
}

/// What a trace holds, and takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// With each part that can be read alone compressed for itself.
    pub(super) packed: u64,
}

impl Size {
    fn readings(self) -> Readings {
        let per_event = |bytes: u64| bytes as f64 / self.events as f64;
        Readings::new()
            .with("raw", per_event(self.bytes))
            .with("packed", per_event(self.packed))
            .with("events", self.events as f64)
    }

    pub(super) fn of_requests(self, requests: usize) -> Readings {
        let per_request = |total: u64| total as f64 / requests as f64;
        self.readings()
            .with("raw_request", per_request(self.bytes))
            .with("packed_request", per_request(self.packed))
            .with("request_events", per_request(self.events))
    }
}

fn rpc_by_ripcord(plan: &Plan) -> Readings {
    let stage = Full::build(workers(WORKERS));
    load::play(stage.runtime(), &stage.spawner(), plan.size);
    let trace = stage.into_trace();
    // Before the time is taken, so that the trace has been read once.
    let readings = size_of(&trace).of_requests(plan.size);
    let start = Instant::now();
    let events = events_of(&trace, |tick, event| {
        std::hint::black_box((tick, event));
    });
    let decode = start.elapsed().as_nanos() as f64 / events as f64;
    readings.with("decode", decode)
}

/// Runs the demo beside this program, as its users would have it recorded.
fn demo_by_itself(plan: &Plan) -> Readings {
    let program = demo_program().expect("this was looked at before");
    let folder = Folder::new("demo");
    let path = folder.path().join("demo.ript");
    let seconds = if plan.quick { "2" } else { "10" };
    // Whether the demo likes its own report is not asked here.
    let status = Command::new(program)
        .args(["demo", "--quiet", "--seconds", seconds])
        .env("RIPCORD_TRACE", &path)
        .env_remove("RIPCORD_TRACE_MODE")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("the demo can be started");
    let trace = std::fs::read(&path).expect("the demo has recorded itself");
    size_of(&trace).readings()
}

/// `ripcord`, where cargo puts it beside this program.
fn demo_program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("no path: {error}"))?;
    let path = own.with_file_name(format!("ripcord{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        Err("there is no `ripcord` beside this program: \
             cargo build --release --package ripcord-cli"
            .to_owned())
    }
}

/// Gives each event of the threads to `each`, and says how many there were.
///
/// # Panics
/// When the trace is not whole.
pub(super) fn events_of(trace: &[u8], mut each: impl FnMut(u64, Event<'_>)) -> u64 {
    let mut events = 0;
    walk(trace, |info, block| {
        if info == BlockKind::Events {
            for event in block.events() {
                let (tick, event) = event.expect("a recorder writes whole events");
                each(tick, event);
                events += 1;
            }
        }
    });
    events
}

/// All bytes of the file, whatever they are for, and the events of its threads.
///
/// Blocks are compressed one by one, with their headers left as they are, as `ripcord trace` does.
fn size_of(trace: &[u8]) -> Size {
    let events = events_of(trace, |_, _| ());
    let mut saved = 0;
    walk(trace, |_, block| {
        let plain = block.payload.len() as u64;
        saved += plain.saturating_sub(packed_len(block.payload));
    });
    let bytes = trace.len() as u64;
    Size {
        events,
        bytes,
        packed: bytes - saved,
    }
}

fn walk(trace: &[u8], mut each: impl FnMut(BlockKind, &ripcord_trace_format::Block<'_>)) {
    let mut reader = Reader::new(trace).expect("it is a trace");
    while let Some(item) = reader.next_item().expect("memory can be read") {
        match item {
            Item::Block(block) => each(block.info.kind, &block),
            Item::End(end) => assert_eq!(end, End::Closed { trailing: 0 }, "a whole trace"),
            other => panic!("a whole trace has no {other:?}"),
        }
    }
}

pub(super) fn packed_len(bytes: &[u8]) -> u64 {
    let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL).expect("memory can be compressed");
    packed.len() as u64
}

const ZSTD_LEVEL: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawner::one_thread;

    #[test]
    fn a_load_is_recorded_as_a_whole() {
        let recorded = |requests| {
            let stage = Full::build(one_thread());
            load::play(stage.runtime(), &stage.spawner(), requests);
            let trace = stage.into_trace();
            let (mut spawned, mut ready) = (0, 0);
            let events = events_of(&trace, |_, event| match event {
                Event::TaskSpawn { .. } => spawned += 1,
                Event::PollReady { .. } => ready += 1,
                _ => (),
            });
            assert_eq!(size_of(&trace).events, events);
            (spawned, ready)
        };
        // Ten tasks besides one for each request; all of those come to their end.
        assert_eq!(recorded(100).0, 110);
        assert!(recorded(100).1 >= 108);
    }

    #[test]
    fn what_compresses_counts_as_compressed_and_headers_do_not() {
        let stage = Full::build(one_thread());
        load::play(stage.runtime(), &stage.spawner(), 200);
        let size = size_of(&stage.into_trace());
        assert!(size.packed < size.bytes * 2 / 3, "{size:?}");
        assert!(size.packed > size.events / 4, "{size:?}");
    }
}
