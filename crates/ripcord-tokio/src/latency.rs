//! How long tasks take from "asked to stop" over "saw it" to "gone", by name and site.
//!
//! Every task that ripcord spawned and that ended, or was dropped, after its context
//! was done is counted here. A task whose context was still live when it ended is not.
//!
//! # Costs
//! One lock and two additions for each cancelled task; about 5 KiB for each pair of
//! name and spawn site, of which at most 512 are kept: the rest share one row.
//! So the table stays at some 2.5 MiB, whatever names there are: see [`OVERFLOW`].
//!
//! # Invariants
//! 1. A value that is recorded is neither refused nor lost: what is above an hour counts as an
//!    hour, a row too many as the row for the rest, and a cancel without an instant is counted
//!    as such. So the counts of a row's causes add up to the tasks that it stands for.
//! 2. Nothing foreign runs under the lock of the table; names are copied, not made, there.

use hdrhistogram::Histogram;
use ripcord_core::Kind;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// More rows than this share the row [`OVERFLOW`].
const ROWS_MAX: usize = 512;

/// The name of the row for all tasks beyond the first 512 names.
///
/// Rows are never given up for newer ones: which tasks are told apart depends on who came
/// first. If this row is large, names carry something that differs from request to request.
pub const OVERFLOW: &str = "(other)";

/// Latencies above this are counted as this.
const HIGHEST: Duration = Duration::from_secs(3600);

type Key = (Cow<'static, str>, Option<&'static Location<'static>>);

#[derive(Default)]
struct Table {
    rows: HashMap<Key, Counts>,
}

struct Counts {
    saw: Histogram<u64>,
    gone: Histogram<u64>,
    unseen: u64,
    undated: u64,
    causes: HashMap<Kind, u64>,
}

/// What is known of one task that ended after its context was done.
pub(crate) struct Ended {
    pub(crate) name: Cow<'static, str>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) kind: Kind,
    /// From asked to first seen; `None`: it ended without looking.
    pub(crate) saw: Option<Duration>,
    /// From asked to gone; `None`: nobody knows when it was asked.
    pub(crate) gone: Option<Duration>,
}

fn table() -> std::sync::MutexGuard<'static, Table> {
    static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();
    TABLE
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Counts one task. A look that is dated after the end counts as one at the end: the two
/// instants are read by different threads.
pub(crate) fn record(ended: Ended) {
    let mut table = table();
    let mut key: Key = (ended.name, Some(ended.site));
    if table.rows.len() >= ROWS_MAX && !table.rows.contains_key(&key) {
        key = (OVERFLOW.into(), None);
    }
    let counts = table.rows.entry(key).or_insert_with(Counts::new);
    *counts.causes.entry(ended.kind).or_default() += 1;
    match ended.gone {
        None => counts.undated += 1,
        Some(gone) => {
            counts.gone.saturating_record(micros(gone));
            match ended.saw {
                Some(saw) => counts.saw.saturating_record(micros(saw.min(gone))),
                None => counts.unseen += 1,
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Counts {
    fn new() -> Self {
        Self {
            saw: histogram(),
            gone: histogram(),
            unseen: 0,
            undated: 0,
            causes: HashMap::new(),
        }
    }
}

/// Two significant digits up to an hour, in microseconds.
fn histogram() -> Histogram<u64> {
    let highest = micros(HIGHEST);
    Histogram::new_with_bounds(1, highest, 2)
        .expect("1 µs to an hour with two digits is a valid histogram")
}

/// The latencies of all cancelled tasks so far.
///
/// Of the whole process, since its start or the last [`reset_latency`]. The answer to "what
/// holds up our shutdown": the first row is the name whose slowest task took longest to be
/// gone. A large `saw` is code that does not look at its context; a small `saw` and a large
/// `gone` is a clean-up that takes its time.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{CtxExt, latency_report};
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("poller", |ctx| async move { drop(ctx.done().await) });
/// guard.cancel("enough");
/// task.await.expect("it ends by itself");
/// let report = latency_report();
/// let row = report.rows().iter().find(|row| row.name == "poller").expect("counted");
/// assert_eq!((row.gone.count, row.saw.count), (1, 1));
/// # }
/// ```
#[must_use]
pub fn latency_report() -> LatencyReport {
    let table = table();
    let mut rows: Vec<LatencyRow> = table
        .rows
        .iter()
        .map(|(key, counts)| LatencyRow::new(key, counts))
        .collect();
    drop(table);
    rows.sort_by(|one, other| {
        other
            .gone
            .max
            .cmp(&one.gone.max)
            .then_with(|| one.name.cmp(&other.name))
    });
    LatencyReport { rows }
}

/// Forgets all latencies so far.
///
/// For a report on an interval, and between the parts of a test. Tasks that are still stopping
/// are counted afterwards, with their whole latency.
pub fn reset_latency() {
    let rows = std::mem::take(&mut table().rows);
    drop(rows);
}

/// Latencies of cancelled tasks, the slowest name first.
///
/// A copy: it does not change while it is read. Rows with the same maximum are ordered by name.
/// `Display` is a line for each row, for a log or a debug page.
#[derive(Clone, Debug, Default)]
pub struct LatencyReport {
    rows: Vec<LatencyRow>,
}

impl LatencyReport {
    /// One row for each pair of task name and spawn site.
    #[must_use]
    pub fn rows(&self) -> &[LatencyRow] {
        &self.rows
    }
}

impl fmt::Display for LatencyReport {
    /// One line for each row, the slowest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return f.write_str("no task was cancelled");
        }
        for (at, row) in self.rows.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{row}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LatencyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name may come from a user: it must not bring control sequences along.
        write!(f, "{}", self.name.escape_debug())?;
        if let Some(site) = self.site {
            write!(f, " (spawned at {site})")?;
        }
        let (saw, gone) = (self.saw, self.gone);
        write!(
            f,
            ": {} gone after p50 {:.1?}, p99 {:.1?}",
            gone.count, gone.p50, gone.p99
        )?;
        write!(f, ", max {:.1?}", gone.max)?;
        if saw.count > 0 {
            write!(f, "; saw it after p50 {:.1?}, max {:.1?}", saw.p50, saw.max)?;
        }
        if self.unseen > 0 {
            write!(f, "; {} never looked", self.unseen)?;
        }
        f.write_str("; asked because: ")?;
        for (at, (kind, count)) in self.causes.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{kind} {count}")?;
        }
        Ok(())
    }
}

/// Latencies of the cancelled tasks of one name and spawn site.
///
/// Time is that of the task's own tree, so a test with a paused clock has exact bounds.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// # use ripcord_tokio::{CtxExt as _, latency_report};
/// # use std::time::Duration;
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("writer", |ctx| async move {
///     ctx.done().await;
///     tokio::time::sleep(Duration::from_secs(3)).await; // Flushes at leisure.
/// });
/// tokio::task::yield_now().await;
/// guard.cancel("enough");
/// task.await.expect("it ends by itself");
/// let report = latency_report();
/// let row = report.rows().iter().find(|row| row.name == "writer").expect("counted");
/// assert!(row.saw.max < Duration::from_secs(1) && row.gone.p50 >= Duration::from_secs(2));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LatencyRow {
    /// The name of the tasks.
    pub name: String,
    /// Where they were spawned; `None` for [`OVERFLOW`].
    pub site: Option<&'static Location<'static>>,
    /// From "asked to stop" to the first observation.
    pub saw: Quantiles,
    /// From "asked to stop" to the drop of the future.
    pub gone: Quantiles,
    /// How many ended without ever looking: aborted, or just ready.
    pub unseen: u64,
    /// How many ended after a cancel that has no instant (see `Cause::at`).
    pub undated: u64,
    /// How often each kind of cause ended them, most frequent first.
    pub causes: Vec<(Kind, u64)>,
}

impl LatencyRow {
    fn new(key: &Key, counts: &Counts) -> Self {
        let mut causes: Vec<(Kind, u64)> = counts
            .causes
            .iter()
            .map(|(kind, count)| (*kind, *count))
            .collect();
        causes.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), kind.as_str()));
        Self {
            name: key.0.clone().into_owned(),
            site: key.1,
            saw: Quantiles::of(&counts.saw),
            gone: Quantiles::of(&counts.gone),
            unseen: counts.unseen,
            undated: counts.undated,
            causes,
        }
    }
}

/// Quantiles of a latency, to two significant digits.
///
/// All zero if `count` is. Two digits mean that a value is off by 1 % at the most; `max` is
/// rounded up like the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Quantiles {
    /// How many values there are.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The largest value.
    pub max: Duration,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: Duration::from_micros(histogram.max()),
        }
    }
}
