//! [`SchedTrace`]: a line of numbers every so often, for who looks at a terminal.
//!
//! # The line
//! ```text
//! SCHED 2000ms: workers=8 parked=6 stalled=0 tasks=120 running=2 runnable=3 blocked=115[recv=80 sleep=35]
//! contexts=64 undrained=1 overdue=1 ghosts=0 blocking=2 queued=0 dropped=0
//! ```
//! is one line, and with details one more for each worker and for each of the tasks that have done the same for
//! longest. Both are bounded: 64 workers, 8 tasks, 8 reasons.
//!
//! # When to use it
//! Where there is no scraper and no file: a container that misbehaves on somebody's desk, a test that hangs in
//! a pipeline. It is read from the top: as long as `runnable` stays near zero nobody waits for a worker, and
//! what does not go on is in the list of the longest waits.
//!
//! # Costs
//! A [`Snapshot`] each time, and with details another look at all tasks, of which the oldest eight are kept on
//! the way: memory does not grow with them. Names are looked up for those eight alone.
//!
//! # Invariants
//! 1. It is printed by a thread of its own, which waits for nobody but whoever reads what is printed.
//! 2. Names come out with their control characters escaped, and cut.

use super::snapshot::{Doing, Snapshot, doing, reason};
use crate::background::Background;
use crate::clock::TraceClock;
use crate::shared::Shared;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// It does not print more often than this.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// Reasons on a line, workers and tasks with a line of their own.
const REASONS_MAX: usize = 8;
const WORKERS_MAX: usize = 64;
const TASKS_MAX: usize = 8;

/// What is shown of a name, in characters.
const NAME_MAX: usize = 64;

/// Begins to print; made by [`Recorder::sched_trace`](crate::Recorder::sched_trace).
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
/// use std::time::Duration;
///
/// let recorder = Recorder::builder().build();
/// let printed = recorder
///     .sched_trace(Duration::from_secs(10))
///     .detail(true)
///     .to(std::io::sink())
///     .start()?;
/// # drop(printed);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it prints once it is started"]
pub struct SchedTraceBuilder {
    shared: Arc<Shared>,
    every: Duration,
    has_detail: bool,
    out: Box<dyn Write + Send>,
}

impl SchedTraceBuilder {
    pub(crate) fn new(shared: &Arc<Shared>, every: Duration) -> Self {
        Self {
            shared: Arc::clone(shared),
            every: every.max(EVERY_MIN),
            has_detail: false,
            out: Box::new(io::stderr()),
        }
    }

    /// Also a line for each worker, and for the tasks that have done the same for longest.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let builder = recorder.sched_trace(Duration::from_secs(1)).detail(true);
    /// # drop(builder);
    /// ```
    pub fn detail(mut self, has_detail: bool) -> Self {
        self.has_detail = has_detail;
        self
    }

    /// Prints there instead of to standard error.
    ///
    /// Each time with one write; an error of that is ignored, and the next line is tried again.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let builder = recorder.sched_trace(Duration::from_secs(1)).to(std::io::stdout());
    /// # drop(builder);
    /// ```
    pub fn to(mut self, out: impl Write + Send + 'static) -> Self {
        self.out = Box::new(out);
        self
    }

    /// What would be printed now, each line with its line feed.
    ///
    /// For a page that is asked for, or for a signal's handler thread, instead of a thread that prints.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::{Mode, Recorder};
    /// use std::time::Duration;
    ///
    /// let recorder = Recorder::builder().mode(Mode::Metrics).build();
    /// let lines = recorder.sched_trace(Duration::MAX).detail(true).lines();
    /// assert!(lines.starts_with("SCHED ") && lines.contains("ms: workers=0 "), "{lines}");
    /// ```
    ///
    /// # Costs
    /// Those of [`Recorder::metrics`](crate::Recorder::metrics); with details another look at each task.
    #[must_use]
    pub fn lines(&self) -> String {
        lines(&self.shared, self.has_detail)
    }

    /// Begins; the first line comes when the time has passed once.
    ///
    /// # Errors
    /// What the operating system says to another thread.
    ///
    /// # Examples
    /// ```
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let printed = recorder.sched_trace(std::time::Duration::from_secs(1)).start()?;
    /// # drop(printed);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<SchedTrace> {
        let thread = Background::start("ripcord-sched", move |stopped| self.until(stopped))?;
        Ok(SchedTrace { _thread: thread })
    }

    fn until(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.every) == Err(RecvTimeoutError::Timeout) {
            let lines = self.lines();
            // Whoever reads has gone, perhaps: that ends nothing here.
            let _ = self.out.write_all(lines.as_bytes());
            let _ = self.out.flush();
        }
    }
}

impl fmt::Debug for SchedTraceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedTraceBuilder")
            .field("every", &self.every)
            .field("has_detail", &self.has_detail)
            .finish_non_exhaustive()
    }
}

/// Lines are printed until this is dropped.
///
/// # How to read them
/// ```text
/// SCHED 2000ms: workers=8 parked=6 stalled=0 tasks=120 running=2 runnable=3 blocked=115[recv=80 sleep=35] …
///   worker 3 `tokio-rt-worker`: polls for 180ms
///   task 4711 `audit trail` at src/notify.rs:37:5: (driver) for 93000ms
/// ```
/// The first line is of the whole program: milliseconds since the recorder was made, then numbers of now, as
/// in a [`Snapshot`]. `runnable` tasks wait for a worker, so it should be small while workers are `parked`;
/// `undrained` contexts were ended and are still held; `ghosts` are tasks that should have been gone five
/// seconds ago; `dropped` is what is missing in these numbers.
///
/// With details, the workers follow, and the tasks that have done the same for longest: what they
/// do or wait for, and for how long. A server's listeners are among them, and are no reason to worry.
///
/// # Examples
/// ```
/// let recorder = ripcord_tracer::Recorder::builder().build();
/// let printed = recorder.sched_trace(std::time::Duration::from_secs(1)).start()?;
/// drop(printed); // Waits for the thread.
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it prints until this is dropped"]
pub struct SchedTrace {
    /// It is all there is: it is stopped and waited for when this is dropped.
    _thread: Background,
}

impl fmt::Debug for SchedTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedTrace").finish_non_exhaustive()
    }
}

/// What is printed at one time, with its line feeds.
fn lines(shared: &Shared, has_detail: bool) -> String {
    let now = shared.clock.raw();
    let mut text = summary(&Snapshot::take(shared));
    if has_detail {
        workers(&mut text, shared, now);
        tasks(&mut text, shared, now);
    }
    text
}

/// The line that comes each time.
fn summary(numbers: &Snapshot) -> String {
    let mut text = String::with_capacity(512);
    let n = numbers;
    let blocked: u64 = n.tasks_blocked.iter().map(|row| row.tasks).sum();
    // A `String` takes everything that is written to it.
    let _ = write!(
        text,
        "SCHED {}ms: workers={} parked={} stalled={} tasks={} running={} runnable={} blocked={blocked}",
        n.uptime.as_millis(),
        n.workers,
        n.workers_parked,
        n.workers_stalled,
        n.tasks_alive,
        n.tasks_running,
        n.tasks_runnable,
    );
    let rows = n.tasks_blocked.iter().take(REASONS_MAX);
    let rows: Vec<String> = rows
        .map(|row| format!("{}={}", shown(&row.reason), row.tasks))
        .collect();
    if !rows.is_empty() {
        let more = n.tasks_blocked.len().saturating_sub(REASONS_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let _ = write!(text, "[{}{more}]", rows.join(" "));
    }
    let l = &n.losses;
    let dropped = [
        l.lost,
        l.unwritten,
        l.unplaced,
        l.stacks,
        l.overlooked,
        l.outside,
        n.untold,
    ];
    let dropped: u64 = dropped.iter().sum();
    let _ = writeln!(
        text,
        " contexts={} undrained={} overdue={} ghosts={} blocking={} queued={} dropped={dropped}",
        n.contexts_live,
        n.contexts_undrained,
        n.tasks_overdue,
        n.tasks_ghosts,
        n.jobs_running,
        n.jobs_queued,
    );
    text
}

/// A line for each worker: what it does, and since when.
///
/// The number is that of the thread in traces. A worker that is neither parked nor in a poll of a task that
/// is told of is busy with something else: the driver, or tasks of other libraries.
fn workers(text: &mut String, shared: &Shared, now: u64) {
    let (_, threads) = shared.meters.read();
    let mut threads: Vec<_> = threads
        .into_iter()
        .filter(|cells| cells.info.is_worker())
        .collect();
    threads.sort_by_key(|cells| cells.info.number);
    let more = threads.len().saturating_sub(WORKERS_MAX);
    for cells in threads.iter().take(WORKERS_MAX) {
        let (what, since) = match cells.info.poll() {
            Some((_, since)) => ("polls", since),
            None if cells.is_parked.load() != 0 => ("parked", cells.turned.load()),
            None => ("busy", cells.turned.load()),
        };
        let _ = writeln!(
            text,
            "  worker {} `{}`: {what} for {}",
            cells.info.number,
            shown(&cells.info.name),
            age(&shared.clock, now, since)
        );
    }
    if more > 0 {
        let _ = writeln!(text, "  and {more} workers more");
    }
}

/// The tasks and jobs that have done the same for longest, the oldest first.
///
/// Of each one a word and a number are kept while all are looked at. Its name and place are looked up
/// afterwards, for the few that are shown: it may have ended by then, and then it is left out.
fn tasks(text: &mut String, shared: &Shared, now: u64) {
    let mut oldest: Vec<(u64, u64, u32, Doing)> = Vec::with_capacity(TASKS_MAX + 1);
    for (number, id, slot) in shared.tasks.live() {
        let (doing, since) = doing(&slot.live);
        let at = oldest.partition_point(|(other, ..)| *other <= since);
        if at < TASKS_MAX {
            oldest.insert(at, (since, id, number, doing));
            oldest.truncate(TASKS_MAX);
        }
    }
    let (labels, places) = (shared.tables.texts(), shared.tables.places());
    for (since, id, number, doing) in oldest {
        let Some(slot) = shared.tasks.find(number, id) else {
            continue;
        };
        let said = slot.live.said();
        // It has ended meanwhile, and what was said may be another's.
        if slot.id() != id {
            continue;
        }
        let kind = if slot.live.is_job() { "job" } else { "task" };
        let place = said.loc.and_then(|loc| usize::try_from(loc).ok());
        let place = place.and_then(|loc| places.get(loc));
        let place = place.map_or_else(|| "?".to_owned(), ToString::to_string);
        let _ = writeln!(
            text,
            "  {kind} {id} `{}` at {}: {} for {}",
            shown(&said.name),
            shown(&place),
            shown(reason(doing, &labels)),
            age(&shared.clock, now, since)
        );
    }
}

/// For how long, in whole milliseconds; `?` where nobody knows since when.
fn age(clock: &TraceClock, now: u64, since: u64) -> String {
    if since == 0 {
        return "?".to_owned();
    }
    let ns = clock.nanoseconds_of(now.saturating_sub(since));
    format!("{}ms", ns / 1_000_000)
}

/// A name as it is shown: it may come from a user (invariant 2). The end of a place says more than its
/// beginning.
fn shown(text: &str) -> String {
    let over = text.chars().count().saturating_sub(NAME_MAX);
    let cut: String = text.chars().skip(over).collect();
    let mark = if over > 0 { "…" } else { "" };
    format!("{mark}{}", cut.escape_debug())
}
