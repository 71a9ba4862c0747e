//! A trace that is open: its tables, its time, its health, and the way to its events.

use super::scan::{Scan, scan};
use super::{Events, Health, OpenError, Origin, Tables, Timeline};
use ripcord_trace_format::FileHeader;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::Path;

/// A trace that was gone over once, and whose events can be read as often as one asks.
///
/// # Examples
/// ```
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::{Event, text};
/// use std::io::Cursor;
///
/// let bytes = text::parse("\
/// ript 1.0 clock=monotonic shift=0 frequency=1000000000 process=1 wall=0 program=\"shop\"
/// block events window=0 thread=1 first=100 last=150 events=2
///   +0 poll_start slot=0 seq=1
///   +50 poll_ready
/// block events window=0 thread=2 first=120 last=120 events=1
///   +0 park
/// ")?;
/// let mut trace = Trace::new(Cursor::new(bytes))?;
/// let mut order = Vec::new();
/// trace.events().for_each(|step| order.push((step.tick, step.thread)))?;
/// assert_eq!(order, [(100, 1), (120, 2), (150, 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// Opening reads every byte and sums it; 56 bytes are kept for each block, of which there is one for
/// some thousand events. Reading the events reads the bytes again, and holds one block per thread.
pub struct Trace<R> {
    input: R,
    scan: Scan,
}

impl Trace<File> {
    /// Opens a trace in a file.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be read, is empty, is no trace, or is of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(|error| OpenError::io(error, 0, 0))?;
        Self::new(file)
    }
}

impl<R: Read + Seek> Trace<R> {
    /// Opens a trace in anything that can be read from several places.
    ///
    /// What cannot, such as a pipe, has to be read into memory first, and comes in a
    /// [`Cursor`](std::io::Cursor).
    ///
    /// # Errors
    /// As [`open`](Trace::open).
    pub fn new(input: R) -> Result<Self, OpenError> {
        Self::with_progress(input, |_| ())
    }

    /// The same, and tells how many bytes have been read so far, about every 64 KiB.
    ///
    /// # Errors
    /// As [`open`](Trace::open).
    pub fn with_progress(mut input: R, mut progress: impl FnMut(u64)) -> Result<Self, OpenError> {
        input
            .seek(SeekFrom::Start(0))
            .map_err(|error| OpenError::io(error, 0, 0))?;
        let scan = scan(&mut input, &mut progress)?;
        Ok(Self { input, scan })
    }

    /// The events, in one order.
    ///
    /// The counts of events in [`Health`] begin anew.
    pub fn events(&mut self) -> Events<'_, R> {
        self.events_in(0..=u64::MAX)
    }

    /// The events of the blocks that touch these ticks; others are not read.
    ///
    /// # Limitations
    /// Events before the range come with the blocks that reach into it.
    pub fn events_in(&mut self, ticks: RangeInclusive<u64>) -> Events<'_, R> {
        Events::new(&mut self.input, &mut self.scan, &ticks)
    }
}

impl<R: Read + Seek> Trace<R> {
    /// Tasks, jobs and contexts that were there before the first event.
    ///
    /// A way over all blocks, of traces that have a registry: others begin with the program.
    pub(crate) fn orphans(&mut self) -> Result<Vec<super::Orphan>, OpenError> {
        let mut sources = self.scan.sources.iter();
        if !sources.any(|source| source.origin == Origin::Registry) {
            return Ok(Vec::new());
        }
        super::orphans::orphans(&mut self.input, &self.scan)
    }
}

impl<R> Trace<R> {
    /// What the trace says of itself; `None` if that is damaged or was not there.
    #[must_use]
    pub const fn header(&self) -> Option<&FileHeader> {
        self.scan.header.as_ref()
    }

    /// Locations, labels and threads, of the whole trace.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.scan.tables
    }

    /// Ticks as time.
    #[must_use]
    pub const fn timeline(&self) -> &Timeline {
        &self.scan.timeline
    }

    /// What is missing. What concerns events is known when they have been read.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.scan.health
    }

    /// The first and the last tick of the threads' events; `None` if there are none.
    #[must_use]
    pub const fn span(&self) -> Option<(u64, u64)> {
        self.scan.span
    }

    /// How many windows the trace has; a dump has one.
    #[must_use]
    pub const fn windows(&self) -> u64 {
        self.scan.windows
    }
}

impl<R> fmt::Debug for Trace<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("header", &self.scan.header)
            .field("health", &self.scan.health)
            .finish_non_exhaustive()
    }
}
