//! [`Recorder`]: made once in a program, given to the roots of its trees, asked for dumps.

use crate::clock::TraceClock;
use crate::dump::{self, Dumped};
use crate::flight::FlightBuilder;
use crate::losses::Losses;
use crate::metrics::{Meters, Overdue, SchedTraceBuilder, Snapshot};
use crate::ring::Ring;
use crate::sampling::Sampling;
use crate::shared::Shared;
use crate::stream::Stream;
#[cfg(doc)]
use crate::stream::Streamed;
use crate::watch::WatchBuilder;
use crate::worst::WorstBuilder;
use ripcord_core::tasks::TaskObserver;
use ripcord_core::{Cause, Clock, Observer};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a block: long enough to be rarely changed, short enough that many threads share a ring.
///
/// A thread takes the next one about every 4,000 events.
const BLOCK_BYTES: usize = 16 * 1024;

/// Which trees are recorded.
///
/// # Examples
/// ```
/// use ripcord_tracer::{Mode, Recorder};
///
/// let recorder = Recorder::builder().mode(Mode::Sampled { one_in: 100 }).build();
/// recorder.set_mode(Mode::Full);
/// assert_eq!(recorder.mode(), Mode::Full);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Nothing is written. What was written stays.
    Off,
    /// One request in so many, with everything that is below it; 0 counts as [`Mode::Off`].
    ///
    /// What counts as a request is what somebody has made an [entry](ripcord_core::Derive::entry), as the
    /// layers of ripcord-http and ripcord-grpc and everything that reads headers do. It is chosen by the
    /// id of its trace, so that all services choose the same ones. What is above, as the context of the
    /// service and those of its connections, is always recorded, with its tasks. A context below
    /// nothing that no [`Root`](ripcord_core::Root) has made is chosen as a request is.
    ///
    /// A request that is not chosen costs what it does without a recorder.
    Sampled {
        /// How many requests there are for each one that is recorded.
        one_in: u32,
    },
    /// Numbers of everything, and no events: see [`Recorder::metrics`].
    ///
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let recorder = Recorder::builder().mode(Mode::Metrics).build();
    /// let (root, _guard) = Ctx::root().observer(recorder.observer()).build();
    /// let request = root.child();
    /// assert_eq!(recorder.metrics().contexts_live, 2);
    /// assert!(root.recorded().is_none(), "contexts are counted, and have no number");
    /// # drop(request);
    /// ```
    ///
    /// No event is written, also not of trees that were recorded before; what is remembered stays. A
    /// context costs two additions, a poll some ten, and a task what it costs in [`Mode::Full`] without the
    /// events.
    Metrics,
    /// Everything.
    #[default]
    Full,
}

/// As a number: no root is one in so many.
pub(crate) const METRICS: u64 = u64::MAX;

impl Mode {
    /// The one number that an event has to look at.
    fn to_one_in(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::Metrics => METRICS,
            Self::Sampled { one_in } => one_in.into(),
            Self::Full => 1,
        }
    }

    /// Every number that [`to_one_in`](Self::to_one_in) gives leads back to its mode;
    /// `Sampled { one_in: 1 }` is [`Mode::Full`].
    pub(crate) fn from_one_in(one_in: u64) -> Self {
        if one_in == METRICS {
            return Self::Metrics;
        }
        match u32::try_from(one_in).unwrap_or(u32::MAX) {
            0 => Self::Off,
            1 => Self::Full,
            one_in => Self::Sampled { one_in },
        }
    }
}

/// Records what the contexts and tasks of a program do, and remembers the last of it.
///
/// A clone is another handle of the same recorder.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_tracer::Recorder;
///
/// let recorder = Recorder::builder().program("shop").build();
/// let (root, guard) = Ctx::root().observer(recorder.observer()).build();
/// drop((root, guard));
///
/// let mut trace = Vec::new();
/// let dumped = recorder.dump(&mut trace)?;
/// assert!(dumped.events > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Costs
/// Memory: the ring, up to two blocks of 16 KiB for each thread that records, and some 200 bytes for
/// each live task and context. An event takes no lock; a spawn and a new context lock what nobody
/// but a dump looks at.
///
/// # Limitations
/// A task that was spawned, or a context that was made, while the recorder was off is not in later events
/// either.
#[derive(Clone)]
pub struct Recorder {
    /// Counts the handles that users have; what roots hold is behind it.
    handle: Arc<Handle>,
}

/// Closes the recorder with its last handle.
///
/// Trees hold on to what is behind it for as long as they live, and that must not keep them
/// recorded.
struct Handle(Arc<Recording>);

/// What the roots hold.
///
/// One type is the observer of contexts (`contexts.rs`) and of tasks (`tasks.rs`).
pub(crate) struct Recording(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.0.close();
    }
}

impl Recorder {
    /// A recorder of 16 MiB that records everything, unless it is told otherwise.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let recorder = Recorder::builder().build();
    /// assert_eq!(recorder.mode(), Mode::Full);
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What is given to [`Root::observer`](ripcord_core::Root::observer).
    ///
    /// A tree has one observer for its life; several trees may share this one. A default
    /// for the whole process is set by `ripcord_core::set_default_observer`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tracer::Recorder;
    ///
    /// let recorder = Recorder::builder().build();
    /// let (root, _guard) = Ctx::root().observer(recorder.observer()).build();
    /// assert!(root.recorded().is_some());
    /// ```
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::<Recording>::clone(&self.handle.0)
    }

    /// What is given to hooks of a runtime's threads, as those of `ripcord-tokio`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::tasks::Tasks;
    /// use ripcord_tracer::Recorder;
    ///
    /// let recorder = Recorder::builder().build();
    /// // What a runtime's hook does:
    /// Tasks::new(recorder.tasks()).thread_started();
    /// assert_eq!(recorder.dump(&mut Vec::new())?.events, 1);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn tasks(&self) -> Arc<dyn TaskObserver> {
        Arc::<Recording>::clone(&self.handle.0)
    }

    /// Which trees are recorded now.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let recorder = Recorder::builder().mode(Mode::Off).build();
    /// assert_eq!(recorder.mode(), Mode::Off);
    /// ```
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared().mode()
    }

    /// Records more or less from now on; trees that are recorded go on.
    ///
    /// # Examples
    /// A program that is asked by a signal or an endpoint to record everything for a while:
    ///
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let recorder = Recorder::builder().mode(Mode::Sampled { one_in: 1_000 }).build();
    /// recorder.set_mode(Mode::Full);
    /// // And back again:
    /// recorder.set_mode(Mode::Sampled { one_in: 1_000 });
    /// ```
    pub fn set_mode(&self, mode: Mode) {
        self.shared().sampling.set_one_in(mode.to_one_in());
        self.shared().meters.set_mode(mode);
    }

    /// Writes what is remembered, and what lives now, as a trace.
    ///
    /// Nobody is stopped or slowed meanwhile. What happens during the dump may be in it in part. Each
    /// block goes out with two writes: give it a `BufWriter` where that matters.
    ///
    /// # Errors
    /// What the writes say.
    ///
    /// # Costs
    /// A copy of the ring. Names for await stacks that were taken take milliseconds each, and far longer
    /// the first time in a process.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tracer::Recorder;
    ///
    /// let recorder = Recorder::builder().program("shop").build();
    /// drop(Ctx::root().observer(recorder.observer()).build());
    /// let mut trace = Vec::new();
    /// let dumped = recorder.dump(&mut trace)?;
    /// assert_eq!(dumped.bytes, trace.len() as u64);
    /// assert_eq!(dumped.contexts, 0, "it is gone");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn dump(&self, out: &mut dyn Write) -> io::Result<Dumped> {
        dump::write(self.shared(), out)
    }

    /// Writes the recording to a new file from now on, beginning with what is remembered.
    ///
    /// # Errors
    /// What making the file and the first write say: [`AlreadyExists`](io::ErrorKind::AlreadyExists)
    /// where there is something at `path`, a link too. Later errors stop nothing: see [`Streamed`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tracer::Recorder;
    ///
    /// let path = std::env::temp_dir().join(format!("doc-{}.ript", std::process::id()));
    /// let recorder = Recorder::builder().build();
    /// let stream = recorder.stream(&path)?;
    /// drop(Ctx::root().observer(recorder.observer()).build());
    /// let streamed = stream.finish()?;
    /// assert!(streamed.events > 0 && streamed.missed == 0);
    /// std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Costs
    /// A thread that looks ten times a second, and as much memory as is new in the ring between two
    /// looks. On unix nobody but the owner can read the file.
    pub fn stream(&self, path: impl AsRef<Path>) -> io::Result<Stream> {
        Stream::start(self.shared(), path.as_ref())
    }

    /// Begins to watch for tasks that are late and for workers that are stuck.
    ///
    /// Without it nothing of this is recorded: a recorder by itself has no thread.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Recorder;
    ///
    /// let recorder = Recorder::builder().build();
    /// let watch = recorder.watch().start()?;
    /// // It ends with what it returned.
    /// drop(watch);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Costs
    /// A thread, which wakes up a hundred times a second unless it is told otherwise.
    pub fn watch(&self) -> WatchBuilder {
        WatchBuilder::new(self.shared())
    }

    /// Begins a flight recorder, which writes a dump into `folder` when something has gone wrong.
    ///
    /// What that is, how often, and how much of the disk it may take, the builder is told.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Recorder;
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-dumps-{}", std::process::id()));
    /// let recorder = Recorder::builder().program("shop").build();
    /// let flight = recorder.flight(&folder).start()?;
    /// flight.trigger("the stock is below zero");
    /// let report = flight.finish();
    /// assert_eq!((report.dumps, report.suppressed.total()), (1, 0));
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flight(&self, folder: impl AsRef<Path>) -> FlightBuilder {
        FlightBuilder::new(self.shared(), folder.as_ref())
    }

    /// The numbers of what is recorded: totals since it was made, and what is there now.
    ///
    /// In [`Mode::Metrics`] of all trees that it observes; in the others of what it records, so with
    /// [`Mode::Sampled`] of one request in so many, and of polls, wakes and workers nothing unless
    /// [`Builder::count_polls`] was asked for. Tasks that were spawned while it was off are not known.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let recorder = Recorder::builder().mode(Mode::Metrics).build();
    /// // In the handler of /metrics, with the content type `Snapshot::CONTENT_TYPE`:
    /// let page = recorder.metrics().prometheus();
    /// assert!(page.contains("ripcord_tasks_alive 0\n"));
    /// ```
    ///
    /// # Costs
    /// A look at the cells of each thread and at each task that lives, and once more for those that are
    /// late: a millisecond for some 100,000 tasks. Nobody waits for it.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        Snapshot::take(self.shared())
    }

    /// Who knows which tasks are still there although their context is done.
    ///
    /// In [`Mode::Metrics`] a recorder knows no contexts, and so no ghosts; with ripcord-tokio it is
    /// `|tell| ripcord_tokio::each_overdue(tell)`. Called on the thread that asks for
    /// [`metrics`](Self::metrics), without a lock held; it tells of each task why its context is done, and
    /// for how long.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use ripcord_tracer::Recorder;
    /// use std::time::Duration;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// guard.cancel(Kind::PeerGone);
    /// let cause = ctx.cause().expect("it was cancelled");
    /// let recorder = Recorder::builder().build();
    /// recorder.overdue_from(move |tell| tell(&cause, Some(Duration::from_secs(9))));
    /// let metrics = recorder.metrics();
    /// assert_eq!((metrics.tasks_overdue, metrics.tasks_ghosts), (1, 1));
    /// ```
    pub fn overdue_from(
        &self,
        source: impl Fn(&mut dyn FnMut(&Cause, Option<Duration>)) + Send + Sync + 'static,
    ) {
        let source: Arc<Overdue> = Arc::new(source);
        let before = self.shared().overdue.lock().replace(source);
        drop(before);
    }

    /// Prints a line of numbers every so often, ten milliseconds at least, as `RIPCORD_SCHEDTRACE` asks for.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    /// use std::time::Duration;
    ///
    /// let recorder = Recorder::builder().mode(Mode::Metrics).build();
    /// let printed = recorder.sched_trace(Duration::from_secs(1)).start()?;
    /// // Until it is dropped: `SCHED 1000ms: workers=8 parked=7 …`, on standard error.
    /// drop(printed);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Costs
    /// A thread, and for each line those of [`metrics`](Self::metrics).
    pub fn sched_trace(&self, every: Duration) -> SchedTraceBuilder {
        SchedTraceBuilder::new(self.shared(), every)
    }

    /// Begins to keep the worst requests of each route, each as a small trace of its own in `folder`.
    ///
    /// An extract has the request's context and all below it, the tasks that worked for it and what they
    /// waited for, who woke them, and who had the workers meanwhile: `ripcord explain` reads it as any
    /// other. See [`WorstBuilder`].
    ///
    /// # Costs
    /// For a request that is not among the worst a hash of its name and a few loads. Otherwise a thread
    /// copies the ring, every two seconds at most, and goes over it some times: 30 ns an event, each time.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Entry};
    /// use ripcord_tracer::Recorder;
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-worst-6-{}", std::process::id()));
    /// let recorder = Recorder::builder().program("shop").build();
    /// let worst = recorder.worst(&folder).start()?;
    /// let (server, _guard) = Ctx::root().observer(recorder.observer()).build();
    /// drop(server.derive().named("GET /orders").entry(Entry::new()).child());
    /// assert_eq!(worst.finish().written, 1);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn worst(&self, folder: impl AsRef<Path>) -> WorstBuilder {
        WorstBuilder::new(self.shared(), folder.as_ref())
    }

    /// What was recorded and is not remembered any more, and what was lost.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// assert_eq!(recorder.losses().lost, 0);
    /// ```
    ///
    /// # Costs
    /// Loads of a few counters: it can be asked for at any time.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared().losses()
    }

    /// What all parts of the recorder share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.0.0
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("mode", &self.mode())
            .field("losses", &self.losses())
            .finish_non_exhaustive()
    }
}

/// Makes a [`Recorder`].
///
/// # Examples
/// ```
/// use ripcord_tracer::{Mode, Recorder};
///
/// let recorder = Recorder::builder()
///     .program("shop")
///     .memory(64 << 20)
///     .mode(Mode::Sampled { one_in: 10 })
///     .build();
/// # drop(recorder);
/// ```
#[must_use = "it makes a recorder only when built"]
pub struct Builder {
    /// What traces call the program.
    program: String,
    /// Bytes of the ring.
    memory: usize,
    /// Slots for tasks, and again for contexts.
    live_max: usize,
    /// What is recorded at first.
    mode: Mode,
    /// Whether a caller's choice counts.
    follows_callers: bool,
    /// Whether polls are counted beside events.
    counts_polls: bool,
    /// The level at which traces are compressed, if they are.
    zstd: Option<u8>,
    /// The clock of a test; the machine's if there is none.
    clock: Option<Arc<dyn Clock>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            program: String::new(),
            memory: 16 << 20,
            live_max: 1 << 22,
            mode: Mode::Full,
            follows_callers: false,
            counts_polls: false,
            zstd: None,
            clock: None,
        }
    }
}

impl Builder {
    /// The name of the program, as traces say it.
    ///
    /// Whoever reads a trace sees it; it is no path, and is not looked up.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().program("shop").build();
    /// let mut trace = Vec::new();
    /// recorder.dump(&mut trace)?;
    /// assert!(trace.windows(4).any(|bytes| bytes == b"shop"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = name.into();
        self
    }

    /// Bytes of events that are remembered: 16 MiB unless told otherwise, some four million events.
    ///
    /// Rounded to blocks of 16 KiB, two at least.
    ///
    /// # Examples
    /// A small one, for a tool that runs for a moment:
    ///
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().memory(256 << 10).build();
    /// assert_eq!(recorder.losses().evicted, 0);
    /// ```
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// How many tasks, and how many contexts, can be known at a time: 4,194,304 unless told otherwise.
    ///
    /// Memory is taken as they come, for 1,024 at a time, and is not given back. Those beyond are in
    /// no event, and counted: [`Losses::unplaced`].
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().live_max(10_000).build();
    /// assert_eq!(recorder.losses().unplaced, 0);
    /// ```
    pub fn live_max(mut self, live_max: usize) -> Self {
        self.live_max = live_max;
        self
    }

    /// Which trees are recorded at first.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let sampled = Mode::Sampled { one_in: 100 };
    /// assert_eq!(Recorder::builder().mode(sampled).build().mode(), sampled);
    /// ```
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Records every request that its caller says to record, beside those that are chosen here.
    ///
    /// The caller says so by the flag `sampled` of `traceparent` (W3C Trace Context §3.2.2.5.1). Only for
    /// [`Mode::Sampled`]; not wished unless told otherwise, since most tracers set it for every request.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Entry};
    /// use ripcord_tracer::{Mode, Recorder};
    ///
    /// let mode = Mode::Sampled { one_in: u32::MAX };
    /// let recorder = Recorder::builder().mode(mode).follow_callers().build();
    /// let (server, _guard) = Ctx::root().observer(recorder.observer()).build();
    /// let request = server.derive().entry(Entry::new().numbered(7).sampled(true)).ctx();
    /// assert!(request.recorded().is_some());
    /// ```
    pub fn follow_callers(mut self) -> Self {
        self.follows_callers = true;
        self
    }

    /// Counts polls, wakes and parks also while events are recorded, for [`Recorder::metrics`].
    ///
    /// In [`Mode::Metrics`] they are counted anyway. In the other modes they are not unless this is asked
    /// for, since events are meant to cost next to nothing: a poll with its wake takes some 30 ns longer.
    /// Whatever comes more rarely is counted in every mode.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().count_polls().build();
    /// assert_eq!(recorder.metrics().polls.ready, 0);
    /// ```
    pub fn count_polls(mut self) -> Self {
        self.counts_polls = true;
        self
    }

    /// Compresses dumps, streams and the dumps of a flight recorder, each block alone, by a level of zstd
    /// from 1 to 19; another number counts as the nearest. Without it nothing is compressed.
    ///
    /// It is for disks and networks: about half of the bytes are left, and every reader of this project reads
    /// them as well. Levels above 3 take several times as long for a hundredth of the bytes.
    ///
    /// # Costs
    /// About 10 ms for a mebibyte at level 3, on the thread that writes: that of the stream or of the flight
    /// recorder, or the one that asks for a dump.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tracer::Recorder;
    ///
    /// let recorder = Recorder::builder().zstd(3).build();
    /// for _ in 0..1_000 {
    ///     drop(Ctx::root().observer(recorder.observer()).build());
    /// }
    /// let dumped = recorder.dump(&mut Vec::new())?;
    /// assert!(dumped.bytes < dumped.event_bytes);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "zstd")]
    pub fn zstd(mut self, level: u8) -> Self {
        self.zstd = Some(level.clamp(1, crate::settings::ZSTD_MAX));
        self
    }

    /// Another clock than the machine's: that of a test, whose trace is then the same in every run.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::SystemClock;
    /// use ripcord_tracer::Recorder;
    /// use std::sync::Arc;
    ///
    /// let recorder = Recorder::builder().clock(Arc::new(SystemClock)).build();
    /// # drop(recorder);
    /// ```
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The recorder.
    ///
    /// # Costs
    /// A millisecond, in which the processor's counter is measured.
    ///
    /// # Panics
    /// If the memory for the list of blocks cannot be had.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// assert_eq!(recorder.losses(), Default::default(), "nothing has happened yet");
    /// ```
    #[must_use]
    pub fn build(mut self) -> Recorder {
        let clock = self.take_clock();
        let ring = Ring::new(self.blocks(), BLOCK_BYTES);
        self.with(clock, ring)
    }

    /// The recorder, with its memory in a new file, which outlives the process however that ends.
    ///
    /// Of the file `ripcord trace recover` makes a trace: the last events of all threads, and what lived.
    /// A file in memory, as in `/dev/shm`, outlives everything but the machine, and costs no writes to a
    /// disk. The file has all of its room at once: that of [`memory`](Self::memory), a quarter more, and up
    /// to 8 MiB. On unix nobody but the owner can read it.
    ///
    /// Where a process that was killed has left such a file it gets `.1` behind its name, in place of an
    /// older one of that name; one that was closed in order makes room.
    ///
    /// # Where to put it
    /// | Place | outlives | costs |
    /// |---|---|---|
    /// | `/dev/shm` | `kill -9`, an abort, the out-of-memory killer, the end of a container that shares it | memory |
    /// | a disk | the same; of a machine that goes down, what the kernel had written | writes, about as much as is recorded; at times a thread waits for one |
    /// | a file system of the network | nothing for certain | do not |
    ///
    /// Memory of `/dev/shm` counts for the container that has touched it: where the limit is tight it is one
    /// reason more for the out-of-memory killer, as the memory of the process would be.
    ///
    /// # Errors
    /// A file that a living process records into, something else of that name, no right, no room.
    ///
    /// # Panics
    /// As [`build`](Self::build).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_trace_format::RingFile;
    /// use ripcord_tracer::Recorder;
    ///
    /// # let path = std::env::temp_dir().join(format!("doc-{}.ring", std::process::id()));
    /// let recorder = Recorder::builder().program("shop").memory(1 << 20).build_in(&path)?;
    /// let (root, guard) = Ctx::root().observer(recorder.observer()).build();
    ///
    /// // What `ripcord trace recover` does, with the file of a process that is gone or alive:
    /// let mut trace = Vec::new();
    /// let found = RingFile::open(std::fs::File::open(&path)?)?.recover(&mut trace)?;
    /// assert_eq!((found.contexts, found.events > 0), (1, true));
    /// # drop((root, guard));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Costs
    /// Those of [`build`](Self::build), and some milliseconds for the room of the file. An event is one
    /// store more; a new task or context is encoded twice.
    #[cfg(all(feature = "ring-file", unix))]
    pub fn build_in(mut self, path: impl AsRef<Path>) -> Result<Recorder, crate::RingFileError> {
        let clock = self.take_clock();
        let about = crate::memory::About {
            program: &self.program,
            blocks: self.blocks(),
            block_bytes: BLOCK_BYTES,
            live_max: self.live_max,
            clock: &clock,
        };
        let memory = crate::memory::RingMemory::new(path.as_ref(), &about)?;
        let ring = Ring::within(self.blocks(), BLOCK_BYTES, Some(memory));
        Ok(self.with(clock, ring))
    }

    /// The clock that was given, or the machine's.
    fn take_clock(&mut self) -> TraceClock {
        let given = self.clock.take();
        given.map_or_else(TraceClock::system, TraceClock::given)
    }

    /// Blocks of the ring: two at least, as one is always being filled.
    fn blocks(&self) -> usize {
        self.memory.div_ceil(BLOCK_BYTES).max(2)
    }

    /// The recorder around a ring, wherever that is.
    fn with(self, clock: TraceClock, ring: Ring) -> Recorder {
        let sampling = Sampling::new(self.mode.to_one_in(), self.follows_callers);
        let mut shared = Shared::new(self.program, clock, ring, self.live_max, sampling);
        shared.meters = Meters::new(self.counts_polls, self.mode);
        shared.zstd = self.zstd;
        Recorder {
            handle: Arc::new(Handle(Arc::new(Recording(Arc::new(shared))))),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("program", &self.program)
            .field("memory", &self.memory)
            .field("live_max", &self.live_max)
            .field("mode", &self.mode)
            .field("follows_callers", &self.follows_callers)
            .field("counts_polls", &self.counts_polls)
            .field("zstd", &self.zstd)
            .field("has_clock", &self.clock.is_some())
            .finish()
    }
}
