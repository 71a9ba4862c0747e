//! What users hold: [`FlightBuilder`] says what is a reason for a dump, [`Flight`] goes on until it is
//! dropped.
//!
//! # What a flight recorder costs
//! Events that are no reason: one load each of a word that does not change. Its thread: a
//! look every 20 ms at nine cells and at the threads. A dump: a copy of the ring and a file
//! of its size, five times a minute at the very most with the limits that it has unless
//! told otherwise, and once a minute in the long run.

use super::folder::{Directory, Quota};
use super::report::{FlightDump, FlightReport};
use super::run::{Desk, OnDump, Rules, Run};
use crate::background::Background;
use crate::shared::Shared;
use crate::trigger::{OFF, Reason};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// It looks no more often than this.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Says what is a reason for a dump; made by [`Recorder::flight`](crate::Recorder::flight).
///
/// | Reason | unless told otherwise |
/// |---|---|
/// | a task ends late after its context | from 1 s on |
/// | a task is still there after its context's end | from 5 s on |
/// | a thread is in one poll | from 1 s on |
/// | a task panics | yes |
/// | a task waits and nobody can wake it | yes |
/// | a poll has taken long | no |
/// | a deadline has ended a context | no |
/// | `SIGUSR1` | no |
/// | [`Flight::trigger`] | always |
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
/// use std::time::Duration;
///
/// let folder = std::env::temp_dir().join(format!("doc-flight-{}", std::process::id()));
/// let recorder = Recorder::builder().program("shop").build();
/// let flight = recorder
///     .flight(&folder)
///     .cancel_latency(Duration::from_millis(250))
///     .long_poll(Duration::from_millis(50))
///     .lost_wakers(false)
///     .debounce(Duration::from_secs(300))
///     .quota(128 << 20, 8)
///     .start()?;
/// drop(flight);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it goes on once it is started"]
pub struct FlightBuilder {
    /// The recorder.
    shared: Arc<Shared>,
    /// Made when it starts.
    folder: PathBuf,
    /// How often, how much, how soon.
    rules: Rules,
    /// `None`: it is no reason.
    limits: [Option<Duration>; Reason::ALL.len()],
    /// Whom to tell.
    on_dump: Option<OnDump>,
}

impl FlightBuilder {
    /// With the limits that are documented.
    pub(crate) fn new(shared: &Arc<Shared>, folder: &Path) -> Self {
        let rules = Rules {
            step: Duration::from_millis(20),
            after: Duration::from_millis(200),
            debounce: Duration::from_secs(60),
            every: Duration::from_secs(60),
            burst: 5,
            quota: Quota {
                bytes: 256 << 20,
                files: 16,
            },
        };
        let builder = Self {
            shared: Arc::clone(shared),
            folder: folder.to_owned(),
            rules,
            limits: [None; Reason::ALL.len()],
            on_dump: None,
        };
        builder
            .cancel_latency(Duration::from_secs(1))
            .ghost(Duration::from_secs(5))
            .stall(Duration::from_secs(1))
            .panics(true)
            .lost_wakers(true)
            .limit(Reason::Call, Some(Duration::ZERO))
    }

    /// From where on something is a reason.
    fn limit(mut self, reason: Reason, limit: Option<Duration>) -> Self {
        if let Some(place) = self.limits.get_mut(reason.index()) {
            *place = limit;
        }
        self
    }

    /// For what has no measure: every time, or never.
    fn switch(self, reason: Reason, is_on: bool) -> Self {
        self.limit(reason, is_on.then_some(Duration::ZERO))
    }

    /// Whether a deadline that ends a context is a reason; not unless told otherwise.
    ///
    /// For services in which that is rare. In others it is [`cancel_latency`](Self::cancel_latency) that
    /// tells a deadline which was kept from one that was not.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").deadline(true);
    /// # drop(flight);
    /// ```
    pub fn deadline(self, is_on: bool) -> Self {
        self.switch(Reason::Deadline, is_on)
    }

    /// How late after its context a task or job may end: 1 s unless told otherwise; `None` for ever.
    ///
    /// A context whose guard went away, as at the end of a request that is done, has not ended in this
    /// sense.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").cancel_latency(Duration::from_millis(250));
    /// let never = flight.cancel_latency(None);
    /// # drop(never);
    /// ```
    pub fn cancel_latency(self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit(Reason::CancelLatency, limit.into())
    }

    /// How long a task or job may still be there after its context has ended: 5 s unless told otherwise.
    ///
    /// # Costs
    /// For so long after each such end, four looks at all live tasks.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").ghost(Duration::from_secs(30));
    /// # drop(flight);
    /// ```
    pub fn ghost(self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit(Reason::Ghost, limit.into())
    }

    /// How long a thread may be in one poll that is not over: 1 s unless told otherwise.
    ///
    /// It is seen while it lasts, so the dump shows who waits behind it. Each poll is told
    /// once.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").stall(Duration::from_millis(300));
    /// # drop(flight);
    /// ```
    pub fn stall(self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit(Reason::Stall, limit.into())
    }

    /// How long a poll may have taken when it is over: `None`, for ever, unless told otherwise.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").long_poll(Duration::from_millis(50));
    /// # drop(flight);
    /// ```
    pub fn long_poll(self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit(Reason::LongPoll, limit.into())
    }

    /// Whether a task or job that panics is a reason, as it is unless told otherwise.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").panics(false);
    /// # drop(flight);
    /// ```
    pub fn panics(self, is_on: bool) -> Self {
        self.switch(Reason::Panic, is_on)
    }

    /// Whether a task that nobody can wake is a reason, as it is unless told otherwise.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").lost_wakers(false);
    /// # drop(flight);
    /// ```
    pub fn lost_wakers(self, is_on: bool) -> Self {
        self.switch(Reason::LostWaker, is_on)
    }

    /// Whether `SIGUSR1` is a reason; not unless told otherwise.
    ///
    /// Without it the signal ends the process. Once it was listened to it never does so again.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").signal(true);
    /// # drop(flight);
    /// ```
    #[cfg(all(unix, feature = "signal"))]
    pub fn signal(self, is_on: bool) -> Self {
        self.switch(Reason::Signal, is_on)
    }

    /// How long after a trigger the dump is taken, so that what followed is in it: 200 ms unless told
    /// otherwise.
    ///
    /// What is fired meanwhile is in the same dump. The ring has to remember more than that.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").after(Duration::from_secs(1));
    /// # drop(flight);
    /// ```
    pub fn after(mut self, after: Duration) -> Self {
        self.rules.after = after;
        self
    }

    /// After a trigger that was heard others of its kind are not heard for so long: 60 s unless told
    /// otherwise.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").debounce(Duration::from_secs(600));
    /// # drop(flight);
    /// ```
    pub fn debounce(mut self, debounce: Duration) -> Self {
        self.rules.debounce = debounce;
        self
    }

    /// How many dumps there may be one after the other, and after how long there may be one more: 5, and
    /// 60 s, unless told otherwise.
    ///
    /// # Examples
    /// At most 24 a day in the long run, and three at a time:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").rate(3, Duration::from_secs(3_600));
    /// # drop(flight);
    /// ```
    ///
    /// # Limitations
    /// A dump that could not be written has taken its token: a disk that is full is not
    /// asked more often than one that is not.
    pub fn rate(mut self, burst: u32, every: Duration) -> Self {
        self.rules.burst = burst;
        self.rules.every = every;
        self
    }

    /// How many bytes and files there may be in the folder: 256 MiB and 16 unless told otherwise.
    ///
    /// The oldest dumps of the same program go first, those of its other processes too. Nothing
    /// else is touched, and nothing else counts. While a dump is being written it counts in addition.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").quota(64 << 20, 4);
    /// # drop(flight);
    /// ```
    pub fn quota(mut self, bytes: u64, files: usize) -> Self {
        self.rules.quota = Quota { bytes, files };
        self
    }

    /// How often it looks: every 20 ms unless told otherwise, and every millisecond at most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").step(Duration::from_millis(100));
    /// # drop(flight);
    /// ```
    pub fn step(mut self, step: Duration) -> Self {
        self.rules.step = step.max(STEP_MIN);
        self
    }

    /// Is called with each dump that was written, on the thread of the flight recorder.
    ///
    /// While it runs nothing else is written. A panic in it is counted, and harms nothing.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let flight = recorder.flight("dumps").on_dump(|dump| {
    ///     // To a log, a bucket, a pager.
    ///     let _ = (&dump.path, &dump.reasons);
    /// });
    /// # drop(flight);
    /// ```
    pub fn on_dump(mut self, on_dump: impl Fn(&FlightDump) + Send + 'static) -> Self {
        self.on_dump = Some(Box::new(on_dump));
        self
    }

    /// Begins; a folder that is not there is made, for its owner alone.
    ///
    /// # Errors
    /// What the operating system says to the folder and to another thread;
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) where the recorder has a flight recorder already.
    ///
    /// # Examples
    /// ```
    /// let folder = std::env::temp_dir().join(format!("doc-start-{}", std::process::id()));
    /// let flight = ripcord_tracer::Recorder::builder().build().flight(&folder).start()?;
    /// drop(flight);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<Flight> {
        let Self {
            shared,
            folder,
            rules,
            limits,
            on_dump,
        } = self;
        let directory = Directory::open(&folder)?;
        let claim = Claim::new(&shared)?;
        let desk = Arc::new(Desk::default());
        let mut run = Run::new(&shared, rules, &desk, directory, folder.clone(), on_dump)?;
        #[cfg(all(unix, feature = "signal"))]
        let listening = limits
            .get(Reason::Signal.index())
            .copied()
            .flatten()
            .map(|_| super::signal::Listening::start(&desk.signal))
            .transpose()?;
        set_limits(&shared, &limits);
        let thread = Background::start("ripcord-flight", move |stopped| run.until(stopped))?;
        Ok(Flight {
            thread,
            claim,
            folder,
            desk,
            #[cfg(all(unix, feature = "signal"))]
            _listening: listening,
        })
    }
}

/// From here on events are reasons.
pub(super) fn set_limits(shared: &Shared, limits: &[Option<Duration>; Reason::ALL.len()]) {
    for (reason, limit) in Reason::ALL.into_iter().zip(limits) {
        let limit = limit.map_or(OFF, |limit| shared.clock.raw_in(limit));
        shared.triggers.set_limit(reason, limit);
    }
}

impl fmt::Debug for FlightBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightBuilder")
            .field("folder", &self.folder)
            .field("rules", &self.rules)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The recorder's triggers, for one flight.
///
/// Given back when it is dropped, after the thread has ended.
struct Claim(Arc<Shared>);

impl Claim {
    fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        if shared.triggers.claim() {
            return Ok(Self(Arc::clone(shared)));
        }
        let why = "start a flight recorder: this recorder has one already, which has to end before";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.triggers.release();
    }
}

/// A flight recorder that goes on until this is dropped.
///
/// Dropping it writes the dump that waits for its aftermath, and waits for the disk.
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
///
/// let folder = std::env::temp_dir().join(format!("doc-flight-2-{}", std::process::id()));
/// let recorder = Recorder::builder().build();
/// let flight = recorder.flight(&folder).start()?;
/// assert!(recorder.flight(&folder).start().is_err(), "one at a time");
/// drop(flight);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it goes on until this is dropped"]
pub struct Flight {
    /// Its thread: first, so that it has ended when the other parts go.
    thread: Background,
    /// Its triggers.
    claim: Claim,
    /// Where the dumps are.
    folder: PathBuf,
    /// What it shares with its thread.
    desk: Arc<Desk>,
    #[cfg(all(unix, feature = "signal"))]
    _listening: Option<super::signal::Listening>,
}

impl Flight {
    /// Asks for a dump; what it says stands in the [`FlightDump`] that follows.
    ///
    /// It is a trigger like the others: it is debounced, takes a token, and has an aftermath.
    ///
    /// # Costs
    /// A copy of the text, up to 200 characters, and a lock that is held for as long as that.
    ///
    /// # Examples
    /// ```
    /// let folder = std::env::temp_dir().join(format!("doc-trigger-{}", std::process::id()));
    /// let flight = ripcord_tracer::Recorder::builder().build().flight(&folder).start()?;
    /// flight.trigger("the stock is below zero");
    /// assert_eq!(flight.finish().dumps, 1);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn trigger(&self, why: &str) {
        self.desk.note_call(why);
        let shared = &self.claim.0;
        shared.triggers.note(Reason::Call, shared.clock.raw(), 0);
    }

    /// What it has done so far.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{FlightReport, Recorder};
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-report-{}", std::process::id()));
    /// let flight = Recorder::builder().build().flight(&folder).start()?;
    /// assert_eq!(flight.report(), FlightReport::default());
    /// # drop(flight);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> FlightReport {
        *self.desk.report.lock()
    }

    /// Where the dumps are.
    ///
    /// # Examples
    /// ```
    /// let folder = std::env::temp_dir().join(format!("doc-folder-{}", std::process::id()));
    /// let flight = ripcord_tracer::Recorder::builder().build().flight(&folder).start()?;
    /// assert_eq!(flight.folder(), folder);
    /// # drop(flight);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the dump that waits for its aftermath, and ends.
    ///
    /// # Examples
    /// ```
    /// let folder = std::env::temp_dir().join(format!("doc-end-{}", std::process::id()));
    /// let flight = ripcord_tracer::Recorder::builder().build().flight(&folder).start()?;
    /// assert_eq!(flight.finish().fired, 0);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish(mut self) -> FlightReport {
        self.thread.end();
        self.report()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("folder", &self.folder)
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
