//! dial9 as a contender in recording, in builds with `--cfg ripcord_dial9`.
//!
//! It needs a newer Rust than ripcord promises, and fifty crates, so it is part of no other build.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dial9_core::recording::Recorder;
use dial9_tokio_telemetry::telemetry::{
    Dial9HandleTokioExt as _, DiskBuffer, MemoryBuffer, TokioAttachOptions,
};
use dial9_trace_format::decoder::Decoder;
use tokio::runtime::{Builder, Runtime};

use super::cycle::beyond;
use super::load;
use super::size::{Size, packed_len};
use crate::case::{Case, DIAL9, Readings};
use crate::folder::Folder;
use crate::plan::{Plan, WORKERS};
use crate::spawner::{Plain, Spawner, Stage, workers};

/// Adds dial9 to a case that it can take part in.
pub(super) fn join(case: Case) -> Case {
    match case.id {
        "cycle/recorded" => case.rust(DIAL9, beyond::<Dial9, Plain>),
        "cycle/off" => case.rust(DIAL9, beyond::<Dial9Paused, Plain>),
        "size/rpc" => case.rust(DIAL9, rpc),
        #[cfg(target_os = "linux")]
        "serve/peers" => case.rust(DIAL9, crate::http::hyper_by::<Dial9Spawner, Dial9>),
        _ => case,
    }
}

/// dial9 as its users have it on stable Rust without `tokio_unstable`: tasks that are spawned
/// through it are told, with polls and wakes. It keeps segments in memory, as its flight recorder.
#[derive(Debug)]
struct Dial9 {
    // In this order they go: its documentation wants the runtime gone first.
    runtime: Runtime,
    _recorder: Recorder,
}

/// The same, with its recorder paused.
#[derive(Debug)]
struct Dial9Paused(Dial9);

/// `dial9::spawn`, for use on a runtime that is attached.
#[derive(Clone, Copy, Debug, Default)]
struct Dial9Spawner;

impl Spawner for Dial9Spawner {
    fn spawn<F>(&self, _: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        dial9_tokio_telemetry::spawn(future);
    }
}

fn attach(recorder: &Recorder, builder: Builder) -> Runtime {
    recorder
        .handle()
        .attach_tokio_runtime(builder, TokioAttachOptions::default())
        .expect("a runtime can be attached")
}

fn memory() -> dial9_core::recorder::RecorderBuilder<dial9_core::buffer::Memory> {
    let buffer = MemoryBuffer::new(MEMORY_BYTES).expect("a buffer of some bytes");
    dial9_core::recorder::recorder(buffer)
}

impl Stage for Dial9 {
    type Spawner = Dial9Spawner;

    fn build(builder: Builder) -> Dial9 {
        let recorder = memory().build();
        Dial9 {
            runtime: attach(&recorder, builder),
            _recorder: recorder,
        }
    }

    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn spawner(&self) -> Dial9Spawner {
        Dial9Spawner
    }
}

impl Stage for Dial9Paused {
    type Spawner = Dial9Spawner;

    fn build(builder: Builder) -> Dial9Paused {
        let recorder = memory().paused().build();
        Dial9Paused(Dial9 {
            runtime: attach(&recorder, builder),
            _recorder: recorder,
        })
    }

    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn spawner(&self) -> Dial9Spawner {
        Dial9Spawner
    }
}

/// dial9 with a file, so that what it has written can be looked at.
#[derive(Debug)]
struct Dial9File {
    runtime: Runtime,
    recorder: Recorder,
    folder: PathBuf,
}

impl Dial9File {
    /// Writes into `folder`, which nobody else uses.
    fn build(builder: Builder, folder: &Path) -> Dial9File {
        let buffer = DiskBuffer::single_file(folder.join("trace.bin"));
        let buffer = buffer.expect("the folder can be written to");
        let recorder = dial9_core::recorder::recorder(buffer).build();
        Dial9File {
            runtime: attach(&recorder, builder),
            recorder,
            folder: folder.to_owned(),
        }
    }

    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Ends runtime and recorder, and gives the segments that were written, in order.
    fn into_segments(self) -> Vec<Vec<u8>> {
        drop(self.runtime);
        self.recorder.graceful_shutdown(DRAIN);
        let entries = std::fs::read_dir(&self.folder).expect("the folder is there");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("the folder can be read").path())
            .filter(|path| path.extension().is_some_and(|end| end == "bin"))
            .collect();
        paths.sort();
        let read = |path: &PathBuf| std::fs::read(path).expect("a segment can be read");
        paths.iter().map(read).collect()
    }
}

/// Its segments, each compressed as a whole: that is what dial9 uploads.
fn rpc(plan: &Plan) -> Readings {
    let folder = Folder::new("dial9");
    let stage = Dial9File::build(workers(WORKERS), folder.path());
    load::play(stage.runtime(), &Dial9Spawner, plan.size);
    let segments = stage.into_segments();
    let total = |of: fn(&[u8]) -> u64| segments.iter().map(|one| of(one)).sum::<u64>();
    let size = Size {
        events: total(dial9_events),
        bytes: total(|segment| segment.len() as u64),
        packed: total(packed_len),
    };
    // Once more, as the trace of `ripcord` has been read before its time is taken.
    let start = Instant::now();
    let events = total(dial9_events);
    let decode = start.elapsed().as_nanos() as f64 / events as f64;
    size.of_requests(plan.size).with("decode", decode)
}

fn dial9_events(segment: &[u8]) -> u64 {
    let mut events = 0;
    let mut decoder = Decoder::new(segment).expect("dial9 wrote a header");
    let all = decoder.for_each_event(|event| {
        std::hint::black_box((event.timestamp_ns, event.fields));
        events += 1;
    });
    all.expect("dial9 wrote whole segments");
    events
}

const MEMORY_BYTES: u64 = 64 << 20;
const DRAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawner::one_thread;

    #[test]
    fn dial9_tells_of_polls_and_wakes_of_every_request() {
        let folder = Folder::new("dial9-test");
        let stage = Dial9File::build(one_thread(), folder.path());
        load::play(stage.runtime(), &Dial9Spawner, 100);
        let events: u64 = stage
            .into_segments()
            .iter()
            .map(|one| dial9_events(one))
            .sum();
        // Two polls of the handler and one wake, at the least.
        assert!(events > 100 * 5, "{events}");
    }
}
