//! The report for people: what an on-call engineer asks, in that order.

use super::model::{CauseCount, NestedTimeout, NotCounted, Overran, Report, State, TaskRow, Times};
use super::units::{grouped, percent, short};
use crate::demo::watch::OVERDUE_AFTER;
use std::fmt::{self, Write as _};

/// The report as text; `is_styled` sets headings in bold.
pub(crate) fn text(report: &Report, is_styled: bool) -> String {
    let mut page = Page {
        text: String::new(),
        is_styled,
    };
    page.head(report);
    page.requests(report);
    page.faults(report);
    page.stopped_requests(report);
    page.tasks(&report.tasks);
    page.overran(&report.overran);
    page.nested(&report.nested_timeouts);
    page.stores(report);
    page.not_counted(&report.not_counted);
    page.text.truncate(page.text.trim_end().len());
    page.text
}

struct Page {
    text: String,
    is_styled: bool,
}

impl Page {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "{line}");
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        if self.is_styled {
            self.line(format_args!("\n\x1b[1m{heading}\x1b[0m"));
        } else {
            self.line(format_args!("\n{heading}"));
        }
    }

    fn head(&mut self, report: &Report) {
        let (run, requests) = (&report.run, &report.requests);
        let left: u64 = report.overran.iter().map(|row| row.left_behind).sum();
        self.line(format_args!(
            "ripcord demo: {} requests in {:.1} s, {} ok; {} of task overran, {left} left behind",
            grouped(requests.total),
            run.seconds,
            percent(requests.ok, requests.total),
            match report.overran.len() {
                1 => "1 kind".to_owned(),
                kinds => format!("{kinds} kinds"),
            },
        ));
        let end = match (run.ended_by, run.is_cut_short) {
            (_, true) => "a second signal cut it short",
            ("signal", _) => "a signal ended the load early",
            _ => "the load ran its time",
        };
        let gone = match left {
            0 => "everything was gone".to_owned(),
            _ => format!("{left} tasks were still there"),
        };
        self.line(format_args!(
            "{end}; the drain took {}, {gone} {} later (seed {})",
            short(run.drain_ms),
            short(run.cleanup_ms),
            run.seed,
        ));
    }

    fn requests(&mut self, report: &Report) {
        let requests = &report.requests;
        self.heading("Requests");
        for row in requests.outcomes.iter().filter(|row| row.count > 0) {
            self.line(format_args!(
                "  {:<42} {:>8} {:>9}",
                row.about,
                grouped(row.count),
                percent(row.count, requests.total),
            ));
        }
        if let Some(times) = three(requests.latency) {
            self.line(format_args!("  answered after {times}"));
        }
        for failure in &requests.failures {
            self.line(format_args!(
                "  failed {}: {}",
                times(failure.count),
                failure.message
            ));
        }
    }

    fn faults(&mut self, report: &Report) {
        let faults = report.faults.iter();
        let faults: Vec<String> = faults
            .map(|fault| format!("{} {}", fault.name, fault.injected))
            .collect();
        let faults = if faults.is_empty() {
            "none".to_owned()
        } else {
            faults.join(" · ")
        };
        self.heading("Faults injected");
        self.line(format_args!("  {faults}"));
    }

    fn stopped_requests(&mut self, report: &Report) {
        if report.stopped_requests.is_empty() {
            return;
        }
        self.heading("Requests that were stopped, by service and cause");
        for row in &report.stopped_requests {
            self.line(format_args!("  {:<20} {}", row.route, causes(&row.causes)));
        }
    }

    fn tasks(&mut self, tasks: &[TaskRow]) {
        if tasks.is_empty() {
            return;
        }
        self.heading("From \"asked to stop\" to \"gone\"");
        self.line(format_args!(
            "  {:<20} {:>6}  {:^24}  {:^24}",
            "", "", "asked → saw it", "asked → gone"
        ));
        self.line(format_args!(
            "  {:<20} {:>6} {:>8}{:>8}{:>8}  {:>8}{:>8}{:>8}   asked because",
            "task", "count", "p50", "p99", "max", "p50", "p99", "max"
        ));
        for task in tasks.iter().take(ROWS_MAX) {
            let never = match task.never_looked {
                0 => String::new(),
                count => format!(" ({count} never looked)"),
            };
            self.line(format_args!(
                "  {:<20} {:>6} {}  {}   {}{never}",
                clipped(&task.name),
                grouped(task.count),
                columns(task.saw),
                columns(task.gone),
                causes(&task.causes),
            ));
        }
        if let Some(more) = tasks.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
            self.line(format_args!(
                "  and {more} more names: `--format json` has them"
            ));
        }
    }

    fn overran(&mut self, rows: &[Overran]) {
        let limit = OVERDUE_AFTER.as_millis();
        if rows.is_empty() {
            self.heading("Overran");
            self.line(format_args!(
                "  nobody: every task was gone {limit} ms after it was asked"
            ));
            return;
        }
        self.heading(&format!(
            "Overran: still there {limit} ms after being asked to stop"
        ));
        for row in rows {
            let end = match (row.left_behind, row.aborted) {
                (0, 0) => "stopped by itself".to_owned(),
                (0, aborted) if aborted == row.count => "aborted by its scope".to_owned(),
                (0, aborted) => format!("{aborted} aborted by their scope"),
                (left, _) => format!("{left} LEFT BEHIND"),
            };
            self.line(format_args!(
                "  {:<20} {}, up to {}, {end}; asked because: {}",
                clipped(&row.name),
                times(row.count),
                short(row.longest_ms),
                causes(&row.causes),
            ));
            self.line(format_args!("    spawned at  {}", row.spawned_at));
            self.where_it_was(row);
        }
    }

    fn where_it_was(&mut self, row: &Overran) {
        match row.state {
            State::BlocksItsThread => self.line(format_args!(
                "    blocks      its thread: it does not come back from its poll"
            )),
            State::OnABlockingThread => {
                self.line(format_args!("    runs on     a thread for blocking work"));
            }
            State::Unknown => {
                self.line(format_args!(
                    "    waits at    (gone before it could be asked)"
                ));
            }
            State::Waits => {
                for wait in row.waits.iter().take(WAITS_MAX) {
                    let what = match wait.waits_for.as_deref() {
                        None => String::new(),
                        Some(what) if what.starts_with("ripcord_tokio::scope") => {
                            ", for the tasks of its scope".to_owned()
                        }
                        Some(what) => format!(", for {what}"),
                    };
                    self.line(format_args!("    waits at    {}{what}", wait.at));
                }
            }
        }
    }

    /// Only those that can never pass: others may be cut short by a client in a hurry.
    fn nested(&mut self, rows: &[NestedTimeout]) {
        let rows: Vec<&NestedTimeout> = rows.iter().filter(|row| row.is_always).collect();
        if rows.is_empty() {
            return;
        }
        self.heading("Nested time-outs: the inner one is longer than the outer one");
        for row in rows {
            self.line(format_args!(
                "  `{}` asks for {} inside of `{}`, which has {} left: it can never pass ({} of {} calls)",
                row.name,
                short(row.asked_ms),
                row.owner,
                short(row.owner_left_ms),
                grouped(row.count),
                grouped(row.calls),
            ));
            self.line(format_args!("    inner at    {}", row.site));
            let owner_site = row.owner_site.as_deref().unwrap_or("(unknown)");
            self.line(format_args!("    outer at    {owner_site}"));
        }
    }

    fn stores(&mut self, report: &Report) {
        let (database, cache) = (&report.database, &report.cache);
        self.heading("Database and cache");
        let interrupted = match three(database.interrupted) {
            Some(times) => format!("{times} after the cancel"),
            None => "none".to_owned(),
        };
        self.line(format_args!(
            "  queries      {} finished, {} interrupted: {interrupted}",
            grouped(database.finished),
            grouped(database.interrupted.count),
        ));
        for (count, what) in [
            (database.not_started, "not started: cancelled before"),
            (
                database.outran_interrupt,
                "finished although cancelled: quicker than the interrupt",
            ),
            (database.failed, "failed"),
        ] {
            if count > 0 {
                self.line(format_args!("               {} {what}", grouped(count)));
            }
        }
        self.line(format_args!(
            "  prices       {} from the cache, {} looked up, {} shared somebody's look-up",
            grouped(cache.hits),
            grouped(cache.loads),
            grouped(cache.joined_a_load),
        ));
    }

    fn not_counted(&mut self, not: &NotCounted) {
        self.heading("Dropped or not counted");
        if not.is_empty() {
            self.line(format_args!("  nothing"));
        }
        for (count, what) in [
            (
                not.foreign_panics,
                "panics in wakers, hooks or destructors, contained",
            ),
            (
                not.tasks_in_shared_row,
                "cancelled tasks in the shared row, beyond 512 names",
            ),
            (
                not.undated_tasks,
                "cancelled tasks of which it is not known when they were asked",
            ),
            (
                not.overrun_tasks,
                "tasks that overran when the list was full",
            ),
            (not.failure_messages, "messages of failed requests"),
            (
                not.requests_cut_short,
                "requests under way at the second signal",
            ),
        ] {
            if count > 0 {
                self.line(format_args!("  {} {what}", grouped(count)));
            }
        }
    }
}

/// `p50 2.1 ms, p99 9.8 ms, max 3.00 s`, if there is anything.
fn three(times: Times) -> Option<String> {
    let (p50, p99, max) = (times.p50_ms?, times.p99_ms?, times.max_ms?);
    Some(format!(
        "p50 {}, p99 {}, max {}",
        short(p50),
        short(p99),
        short(max)
    ))
}

/// Three columns of eight.
fn columns(times: Times) -> String {
    let cell = |millis: Option<f64>| millis.map_or_else(|| "-".to_owned(), short);
    format!(
        "{:>8}{:>8}{:>8}",
        cell(times.p50_ms),
        cell(times.p99_ms),
        cell(times.max_ms)
    )
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", grouped(count)),
    }
}

fn causes(causes: &[CauseCount]) -> String {
    let causes: Vec<String> = causes
        .iter()
        .map(|cause| format!("{} {}", phrase(&cause.kind), cause.count))
        .collect();
    causes.join(" · ")
}

/// A kind of cause in this program's words.
fn phrase(kind: &str) -> String {
    match kind {
        "deadline_exceeded" => "deadline".to_owned(),
        "dropped" => "request over".to_owned(),
        _ => kind.replace('_', " "),
    }
}

/// A name without control characters, of 20 characters at the most.
fn clipped(name: &str) -> String {
    let name: String = name.chars().flat_map(char::escape_debug).collect();
    if name.chars().count() <= NAME_MAX {
        return name;
    }
    let start: String = name.chars().take(NAME_MAX - 1).collect();
    format!("{start}…")
}

const NAME_MAX: usize = 20;
const ROWS_MAX: usize = 20;
const WAITS_MAX: usize = 3;
