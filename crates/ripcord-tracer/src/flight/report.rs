//! What a flight recorder has done: [`FlightReport`], [`FlightDump`], [`Suppressed`].

use crate::dump::Dumped;
use crate::trigger::Reason;
use std::io;
use std::path::PathBuf;

/// A dump that a flight recorder has written.
///
/// # Examples
/// ```
/// use ripcord_tracer::{FlightDump, Recorder};
/// use std::sync::mpsc;
///
/// let folder = std::env::temp_dir().join(format!("doc-flight-dump-{}", std::process::id()));
/// let (written, dumps) = mpsc::channel();
/// let recorder = Recorder::builder().program("shop").build();
/// let flight = recorder.flight(&folder).on_dump(move |dump: &FlightDump| {
///     let _ = written.send(dump.path.clone());
/// });
/// let flight = flight.start()?;
/// flight.trigger("by hand");
/// flight.finish();
/// let path = dumps.recv().expect("one was written");
/// assert!(path.to_string_lossy().ends_with("-1-call.ript"));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FlightDump {
    /// The file.
    pub path: PathBuf,
    /// What it was begun for, and what else was heard until it was written; never empty.
    pub reasons: Vec<Reason>,
    /// How many triggers these were.
    pub triggers: u64,
    /// The number of the task or context that was the first of them, where there was one.
    pub subject: Option<u64>,
    /// What the program has said, where it has asked.
    pub why: Option<String>,
    /// What is in the file.
    pub dumped: Dumped,
}

/// Triggers that were not followed by a dump, each counted once.
///
/// # Examples
/// ```
/// assert_eq!(ripcord_tracer::Suppressed::default().total(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Suppressed {
    /// Their kind had been heard a short while before.
    pub debounced: u64,
    /// There had been too many dumps lately.
    pub no_token: u64,
    /// The dump would not have fitted into the quota, or what is old could not be removed.
    pub quota: u64,
    /// The file could not be made or written.
    pub disk: u64,
    /// A panic of foreign code has ended the dump, as of a clock that the recorder was given.
    pub panicked: u64,
}

impl Suppressed {
    /// All of them.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(ripcord_tracer::Suppressed::default().total(), 0);
    /// ```
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            debounced,
            no_token,
            quota,
            disk,
            panicked,
        } = *self;
        debounced + no_token + quota + disk + panicked
    }
}

/// What a flight recorder has done so far.
///
/// `fired = written + suppressed.total() + waiting`, at any time.
///
/// # Examples
/// ```
/// use ripcord_tracer::FlightReport;
///
/// fn is_deaf(report: &FlightReport) -> bool {
///     report.suppressed.disk > 0 && report.dumps == 0
/// }
/// assert!(!is_deaf(&FlightReport::default()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FlightReport {
    /// Triggers that were taken note of.
    pub fired: u64,
    /// Triggers that are in a dump.
    pub written: u64,
    /// Triggers that wait for their aftermath.
    pub waiting: u64,
    /// Triggers without a dump, by what was in the way.
    pub suppressed: Suppressed,
    /// Dumps that were written.
    pub dumps: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Old dumps that were removed to make room.
    pub removed: u64,
    /// Panics of [`on_dump`](crate::FlightBuilder::on_dump).
    pub callback_panics: u64,
    /// What the disk has said last, when a dump could not be written.
    pub error: Option<io::ErrorKind>,
    by_reason: [u64; Reason::ALL.len()],
}

impl FlightReport {
    /// How many of the triggers were of that kind.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{FlightReport, Reason};
    ///
    /// assert_eq!(FlightReport::default().fired_by(Reason::Panic), 0);
    /// ```
    #[must_use]
    pub fn fired_by(&self, reason: Reason) -> u64 {
        self.by_reason.get(reason.index()).copied().unwrap_or(0)
    }

    pub(super) fn note_fired(&mut self, reason: Reason, times: u64) {
        self.fired += times;
        if let Some(fired) = self.by_reason.get_mut(reason.index()) {
            *fired += times;
        }
    }
}
