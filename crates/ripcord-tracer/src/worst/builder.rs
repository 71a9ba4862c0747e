//! What users hold: [`WorstBuilder`] says how many are kept and where, [`Worst`] goes on until it is
//! dropped.
//!
//! # What it costs
//! A request that is not among the worst: a hash of its name. Its thread: a look every 20 ms at a queue. A
//! cut: a copy of the ring, and three ways over it for each request, which with a full ring of 16 MiB is some
//! hundred milliseconds of one core each. That is at most eight requests every two seconds, and in the long run
//! hardly ever: the worst of a day are soon found, and few are worse.
//!
//! # One at a time
//! A recorder has one table of bars, and so one who keeps the worst. Who wants them ranked by something else
//! takes a [window](WorstBuilder::window), or a recorder of its own.

use super::run::{Rules, Run, WorstReport};
use crate::background::Background;
use crate::flight::folder::{Directory, Quota};
use crate::shared::Shared;
use crate::sync::Mutex;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// It looks no more often than this.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Says how many of the worst requests are kept; made by [`Recorder::worst`](crate::Recorder::worst).
///
/// A request is what was made as an [entry](ripcord_core::Derive::entry), and its route is its name. One whose
/// work went on after it had ended is worse than any that was not late, and later is worse; of the others
/// the longer is. An end by a guard that goes away is none.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Entry};
/// use ripcord_tracer::Recorder;
/// use std::time::Duration;
///
/// let folder = std::env::temp_dir().join(format!("doc-worst-{}", std::process::id()));
/// let recorder = Recorder::builder().program("shop").build();
/// let worst = recorder.worst(&folder).per_route(1).quota(16 << 20, 100).start()?;
/// let (server, _guard) = Ctx::root().observer(recorder.observer()).build();
/// drop(server.derive().named("GET /orders").entry(Entry::new()).child());
/// assert_eq!(worst.finish().written, 1);
/// let file = std::fs::read_dir(&folder)?.next().expect("one file")?.file_name();
/// assert!(file.to_string_lossy().ends_with("-1-worst-GET__orders.ript"));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it goes on once it is started"]
pub struct WorstBuilder {
    /// The recorder.
    shared: Arc<Shared>,
    /// Made when it starts.
    folder: PathBuf,
    /// How many, how often, how much.
    rules: Rules,
}

impl WorstBuilder {
    /// With the limits that are documented.
    pub(crate) fn new(shared: &Arc<Shared>, folder: &Path) -> Self {
        let rules = Rules {
            step: Duration::from_millis(20),
            every: Duration::from_secs(2),
            per_route: 3,
            late_min: Duration::from_millis(10),
            window: None,
            quota: Quota {
                bytes: 64 << 20,
                files: 512,
            },
        };
        Self {
            shared: Arc::clone(shared),
            folder: folder.to_owned(),
            rules,
        }
    }

    /// How many requests are kept of each route: 3 unless told otherwise, 1 to 100.
    ///
    /// 64 routes are told apart; all later ones are ranked together, as one more. So name requests by
    /// templates, and not by their paths.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst("worst").per_route(10);
    /// # drop(worst);
    /// ```
    pub fn per_route(mut self, requests: usize) -> Self {
        self.rules.per_route = requests.clamp(1, PER_ROUTE_MAX);
        self
    }

    /// From where on a request counts as late: 10 ms after its end unless told otherwise.
    ///
    /// Some time always goes by until everybody has heard. A limit that is too low ranks requests that were
    /// ended, and heard it at once, before those that were slow.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst("worst").late(Duration::from_millis(100));
    /// # drop(worst);
    /// ```
    pub fn late(mut self, at_least: Duration) -> Self {
        self.rules.late_min = at_least;
        self
    }

    /// Begins anew each time so much has passed; never unless told otherwise.
    ///
    /// What was written in earlier windows stays until the [quota](Self::quota) needs its room.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// // The worst of each hour, of two days or so.
    /// let hour = Duration::from_secs(3_600);
    /// let worst = recorder.worst("worst").window(hour).quota(256 << 20, 2_000);
    /// # drop(worst);
    /// ```
    pub fn window(mut self, window: Duration) -> Self {
        self.rules.window = Some(window);
        self
    }

    /// How often the ring is copied at the most: every 2 s unless told otherwise.
    ///
    /// A request has to be remembered for so long after its end: a ring that holds ten seconds is safe with the
    /// default, and one that holds half a second is not. Those that were forgotten are counted.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst("worst").every(Duration::from_millis(500));
    /// # drop(worst);
    /// ```
    pub fn every(mut self, pause: Duration) -> Self {
        self.rules.every = pause;
        self
    }

    /// What all extracts in the folder may take, those of other processes of the same program included: 64
    /// MiB and 512 files unless told otherwise. The oldest go first.
    ///
    /// Nothing else in the folder is touched: neither dumps of a flight recorder, nor what has a name that
    /// is not given here.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst("worst").quota(8 << 20, 100);
    /// # drop(worst);
    /// ```
    pub fn quota(mut self, bytes: u64, files: usize) -> Self {
        self.rules.quota = Quota { bytes, files };
        self
    }

    /// How long it rests between two looks: 20 ms unless told otherwise, 1 ms at least.
    ///
    /// 256 requests can wait for a look; of more the least bad are given up, and counted.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst("worst").step(Duration::from_millis(100));
    /// # drop(worst);
    /// ```
    pub fn step(mut self, pause: Duration) -> Self {
        self.rules.step = pause.max(STEP_MIN);
        self
    }

    /// Begins; a folder that is not there is made, for its owner alone.
    ///
    /// # Errors
    /// What the operating system says to the folder and to another thread;
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) where somebody keeps the worst of this recorder
    /// already.
    ///
    /// # Examples
    /// ```
    /// let folder = std::env::temp_dir().join(format!("doc-worst-1-{}", std::process::id()));
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let worst = recorder.worst(&folder).start()?;
    /// assert!(recorder.worst(&folder).start().is_err(), "one at a time");
    /// drop(worst);
    /// assert!(recorder.worst(&folder).start().is_ok());
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<Worst> {
        let Self {
            shared,
            folder,
            rules,
        } = self;
        let directory = Directory::open(&folder)?;
        let claim = Claim::new(&shared, rules.late_min)?;
        let report = Arc::default();
        let mut run = Run::new(&shared, rules, &report, directory)?;
        let thread = Background::start("ripcord-worst", move |stopped| run.until(stopped))?;
        Ok(Worst {
            thread,
            claim,
            folder,
            report,
        })
    }
}

/// What [`WorstBuilder::per_route`] takes at most.
///
/// More would make each end of a request look at long lists.
const PER_ROUTE_MAX: usize = 100;

impl fmt::Debug for WorstBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorstBuilder")
            .field("folder", &self.folder)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The recorder's notes, for one who keeps the worst; given back when it is dropped.
struct Claim(Arc<Shared>);

impl Claim {
    fn new(shared: &Arc<Shared>, late_min: Duration) -> io::Result<Self> {
        if shared.worst.claim(shared.clock.raw_in(late_min)) {
            return Ok(Self(Arc::clone(shared)));
        }
        let why =
            "keep the worst requests: this recorder does that already, which has to end before";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.worst.release();
    }
}

/// Keeps the worst requests until this is dropped.
///
/// Dropping it writes those that wait, and waits for the disk.
///
/// # Examples
/// A program keeps it as long as it serves:
///
/// ```
/// use ripcord_core::{Ctx, Entry};
/// use ripcord_tracer::{Mode, Recorder};
///
/// let folder = std::env::temp_dir().join(format!("doc-worst-2-{}", std::process::id()));
/// let recorder = Recorder::builder().mode(Mode::Sampled { one_in: 2 }).build();
/// let _worst = recorder.worst(&folder).start()?;
/// let (server, _guard) = Ctx::root().observer(recorder.observer()).build();
/// for trace in 0..100 {
///     let entry = Entry::new().numbered(trace);
///     let (request, _guard) = server.derive().named("GET /").entry(entry).child();
///     assert!(request.check().is_ok());
/// }
/// # drop(_worst);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Limitations
/// A process that is killed loses what waits, two seconds of it at most, and leaves what is written.
#[must_use = "it goes on until this is dropped"]
pub struct Worst {
    /// Its thread: first, so that it has ended when the other parts go.
    thread: Background,
    /// Its part of the recorder.
    claim: Claim,
    /// Where the extracts are.
    folder: PathBuf,
    /// What its thread has counted.
    report: Arc<Mutex<WorstReport>>,
}

impl Worst {
    /// What it has done so far.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Recorder, WorstReport};
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-worst-3-{}", std::process::id()));
    /// let worst = Recorder::builder().build().worst(&folder).start()?;
    /// assert_eq!(worst.report(), WorstReport::default());
    /// # drop(worst);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> WorstReport {
        let mut report = *self.report.lock();
        report.missed = self.claim.0.worst.missed();
        report
    }

    /// Where the extracts are.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Recorder;
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-worst-4-{}", std::process::id()));
    /// let worst = Recorder::builder().build().worst(&folder).start()?;
    /// assert_eq!(worst.folder(), folder);
    /// # drop(worst);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what waits, and ends.
    ///
    /// # Costs
    /// A copy of the ring for each eight requests that wait, and the disk: it waits for both.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Recorder;
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-worst-5-{}", std::process::id()));
    /// let worst = Recorder::builder().build().worst(&folder).start()?;
    /// assert_eq!(worst.finish().written, 0);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish(mut self) -> WorstReport {
        self.thread.end();
        self.report()
    }
}

impl fmt::Debug for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worst")
            .field("folder", &self.folder)
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
