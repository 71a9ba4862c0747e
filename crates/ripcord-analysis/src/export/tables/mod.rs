//! Parquet: events, polls, tasks and contexts as flat tables, for queries and data frames.
//!
//! *Read next*: `rows.rs` (which columns, and what is in them), `column.rs` (how they are written).

mod column;
mod rows;

use super::ExportError;
use super::follow::{Change, Follow};
use super::lives::{Lives, Over};
use crate::read::{Step, Trace};
use column::Table;
use rows::Rows;
use std::io::{self, Read, Seek, Write};

/// The names of the tables, in the order in which [`parquet()`] asks for their outputs.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::TABLES;
///
/// assert_eq!(TABLES, ["events", "polls", "tasks", "contexts"]);
/// ```
pub const TABLES: [&str; 4] = ["events", "polls", "tasks", "contexts"];

/// Writes a trace as Parquet tables. `open` gives the output of each of [`TABLES`].
///
/// | Table | A row is |
/// |---|---|
/// | `events` | an event, in the order of the trace |
/// | `polls` | a poll that has ended, with the wake that asked for it |
/// | `tasks` | a task or a job |
/// | `contexts` | a context, with its cancel and the first look at it |
///
/// Columns that end in `_ns` are nanoseconds: instants of the monotonic clock, or durations; `at` is the
/// wall clock. What the trace does not tell is null.
///
/// # Errors
/// [`ExportError`]: the trace or an output failed, or `open` did.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::parquet;
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// let bytes = text::parse(
///     "ript 1.0 clock=monotonic shift=0 frequency=1000000000 process=7 wall=0 program=\"shop\"\n",
/// )?;
/// let mut opened = Vec::new();
/// parquet(&mut Trace::new(Cursor::new(bytes))?, |table| {
///     opened.push(table);
///     Ok(Vec::new())
/// })?;
/// assert_eq!(opened, ["events", "polls", "tasks", "contexts"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// 10 to 20 bytes per event. Memory: what is live, and of each table 65,536 rows or 16 MiB of text.
///
/// # Limitations
/// Rows of tasks and contexts come as they end; those that are live at the end of the trace come last.
pub fn parquet<R, W>(
    trace: &mut Trace<R>,
    mut open: impl FnMut(&'static str) -> io::Result<W>,
) -> Result<(), ExportError>
where
    R: Read + Seek,
    W: Write + Send,
{
    let orphans = trace.orphans()?;
    let mut follow = Follow::new(&orphans);
    let mut table = |number: usize| -> Result<Table<W>, ExportError> {
        let name = TABLES.get(number).copied().unwrap_or_default();
        Ok(Table::new(open(name)?, rows::columns(number))?)
    };
    let mut tables = [table(0)?, table(1)?, table(2)?, table(3)?];
    let [events_out, polls_out, tasks_out, contexts_out] = &mut tables;
    let events = trace.events();
    let rows = Rows {
        tables: events.tables(),
        time: events.timeline(),
    };
    let mut lives = Lives::new(rows.tables, orphans);
    let mut over = |over: &Over| match over {
        Over::Ctx(life) => contexts_out.row(&rows.context(life)),
        Over::Task(life) => tasks_out.row(&rows.task(life)),
    };
    let mut each = |step: Step<'_>| -> Result<(), ExportError> {
        events_out.row(&rows.event(&step, &follow))?;
        let ended = lives.step(&step, &follow);
        follow.step(&step, |change| {
            if let Change::Ended(poll, end) = change {
                polls_out.row(&rows.poll(&poll, end, step.tick))?;
            }
            Ok::<(), ExportError>(())
        })?;
        Ok(ended.as_ref().map_or(Ok(()), &mut over)?)
    };
    events.try_for_each(&mut each)?;
    for rest in &lives.finish() {
        over(rest)?;
    }
    for table in tables {
        table.finish()?;
    }
    Ok(())
}
