//! The report for people: what an on-call engineer asks, in that order.

use super::model::{
    Budget, CauseCount, Connections, NestedTimeout, NotCounted, Overran, Recording, Report, State,
    TaskRow, Telemetry, Times, WentOn,
};
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
    page.budgets(&report.budgets);
    page.stopped_requests(report);
    page.tasks(&report.tasks);
    page.overran(&report.overran);
    page.went_on(&report.went_on);
    page.nested(&report.nested_timeouts);
    page.arrivals(report);
    page.stores(report);
    page.recording(&report.recording);
    page.telemetry(&report.telemetry);
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

    /// What its recording says of each fault, and of what was latest.
    fn recording(&mut self, recording: &Recording) {
        self.heading("Why, by its own recording");
        if let Some(error) = &recording.error {
            self.line(format_args!("  it cannot be read: {error}"));
            return;
        }
        for story in &recording.faults {
            let fault = story.fault.unwrap_or_default();
            self.line(format_args!("  {fault:<16} {}", story.sentence));
        }
        if !recording.latest.is_empty() {
            self.line(format_args!("  and what was latest, one of each kind:"));
        }
        for story in &recording.latest {
            self.line(format_args!("  {}", story.sentence));
        }
        let events = recording.events;
        self.line(format_args!(
            "  from {} events{}; in {} of all waiting a context was listened to",
            grouped(events),
            match recording.events_missing {
                0 => String::new(),
                missing => format!(", {} of which are missing", grouped(missing)),
            },
            recording.cancel_coverage.map_or_else(
                || "none".to_owned(),
                |share| format!("{:.1} %", share * 100.0)
            ),
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
        for row in report.connections.iter().filter_map(wrong) {
            self.line(format_args!("  {row}"));
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

    fn budgets(&mut self, budgets: &[Budget]) {
        if budgets.is_empty() {
            return;
        }
        self.heading("Budgets: what was left on arrival, how long it took, how it ended");
        for budget in budgets {
            self.line(format_args!("  {}", budget.title()));
            for line in budget.lines() {
                self.line(format_args!("    {line}"));
            }
        }
    }

    fn stopped_requests(&mut self, report: &Report) {
        if report.stopped_requests.is_empty() {
            return;
        }
        self.heading("Requests that were stopped, by service and cause");
        for row in &report.stopped_requests {
            self.line(format_args!("  {:<24} {}", row.route, causes(&row.causes)));
        }
    }

    fn tasks(&mut self, tasks: &[TaskRow]) {
        if tasks.is_empty() {
            return;
        }
        self.heading("From \"asked to stop\" to \"gone\"");
        self.line(format_args!(
            "  {:<24} {:>6}  {:^24}  {:^24}",
            "", "", "asked → saw it", "asked → gone"
        ));
        self.line(format_args!(
            "  {:<24} {:>6} {:>8}{:>8}{:>8}  {:>8}{:>8}{:>8}   asked because",
            "task", "count", "p50", "p99", "max", "p50", "p99", "max"
        ));
        for task in tasks.iter().take(ROWS_MAX) {
            let never = match task.never_looked {
                0 => String::new(),
                count => format!(" ({count} never looked)"),
            };
            self.line(format_args!(
                "  {:<24} {:>6} {}  {}   {}{never}",
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
                "  {:<24} {}, up to {}, {end}; asked because: {}",
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
                        Some(what)
                            if what.starts_with("ripcord_http::client")
                                || what.starts_with("ripcord_grpc::client") =>
                        {
                            ", for an answer".to_owned()
                        }
                        Some(what) => format!(", for {what}"),
                    };
                    self.line(format_args!("    waits at    {}{what}", wait.at));
                }
            }
        }
    }

    fn went_on(&mut self, row: &WentOn) {
        let Some(callee) = three(row.callee_over) else {
            return;
        };
        self.heading("Went on after its deadline: a service that does not look at it");
        self.line(format_args!(
            "  {:<24} {}, for another {callee}",
            row.route,
            times(row.callee_over.count),
        ));
        if let Some(callers) = three(row.callers_gave_up) {
            self.line(format_args!(
                "    its callers gave up in time, after {callers}"
            ));
        }
    }

    /// What came in that should have done harm.
    fn arrivals(&mut self, report: &Report) {
        let (uploads, clock) = (&report.unread_uploads, &report.wrong_clock);
        let trusted = clock.absolute_trusted;
        let stale = &report.stale_timeouts;
        if uploads.noticed.count + uploads.unnoticed + trusted.sent + stale.arrived.count == 0 {
            return;
        }
        self.heading("Callers that misbehaved");
        if let Some(noticed) = three(uploads.noticed) {
            self.line(format_args!(
                "  unread upload  {} left behind; peer gone {noticed} after they were",
                grouped(uploads.noticed.count),
            ));
        }
        if uploads.unnoticed > 0 {
            self.line(format_args!(
                "  unread upload  {} left behind, which this system does not tell of",
                grouped(uploads.unnoticed),
            ));
        }
        if trusted.sent > 0 {
            let untrusted = clock.absolute_untrusted;
            self.line(format_args!(
                "  wrong clock    {:.0} s behind; relative deadlines: {} of {} answered 200",
                clock.behind_ms / 1000.0,
                clock.relative.ok,
                clock.relative.sent,
            ));
            self.line(format_args!(
                "                 absolute ones, not believed: {} of {} answered 200",
                untrusted.ok, untrusted.sent,
            ));
            self.line(format_args!(
                "                 absolute ones, believed: {} of {} refused, a fifth at the most; \
                 {} answered 200",
                trusted.refused, trusted.sent, trusted.ok,
            ));
        }
        if let (Some(forwarded), Some(arrived)) = (three(stale.forwarded), three(stale.arrived)) {
            self.line(format_args!(
                "  stale time-out {} forwarded as they had come in: {forwarded}",
                grouped(stale.forwarded.count),
            ));
            self.line(format_args!(
                "                 stripped in {} of {}; what was left arrived: {arrived}",
                grouped(stale.mended),
                grouped(stale.arrived.count),
            ));
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
            match row.owner_source {
                "caller" => self.line(format_args!(
                    "    outer from  the caller of `{}`",
                    row.owner
                )),
                "policy" => self.line(format_args!(
                    "    outer from  the policy of `{}`",
                    row.owner
                )),
                _ => {
                    let owner_site = row.owner_site.as_deref().unwrap_or("(unknown)");
                    self.line(format_args!("    outer at    {owner_site}"));
                }
            }
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

    fn telemetry(&mut self, telemetry: &Telemetry) {
        let Some(url) = &telemetry.sent_to else {
            return;
        };
        self.heading("Telemetry");
        self.line(format_args!("  sent to      {}", url.escape_debug()));
        let (spans, logs) = (telemetry.spans_lost, telemetry.logs_lost);
        let mut has_lost = false;
        for (count, what) in [
            (spans.queue_full, "spans: the queue was full"),
            (spans.export_failed, "spans: their export failed"),
            (spans.unsent, "spans: not sent before the end"),
            (logs.queue_full, "log records: the queue was full"),
            (logs.export_failed, "log records: their export failed"),
            (logs.unsent, "log records: not sent before the end"),
            (telemetry.metric_exports_failed, "exports of metrics failed"),
        ] {
            if count > 0 {
                has_lost = true;
                self.line(format_args!("  dropped      {} {what}", grouped(count)));
            }
        }
        if !has_lost {
            self.line(format_args!("  dropped      nothing"));
        }
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
            (
                not.requests_not_followed,
                "requests whose budget was not followed",
            ),
        ] {
            if count > 0 {
                self.line(format_args!("  {} {what}", grouped(count)));
            }
        }
    }
}

/// What went wrong with the connections of a service, if anything did.
fn wrong(row: &Connections) -> Option<String> {
    if let Some(error) = &row.error {
        return Some(format!("{} was not served: {error}", row.service));
    }
    let counts = [
        (row.silent, "said nothing"),
        (row.failed, "failed"),
        (row.forced, "were cut off at the end"),
        (row.stuck, "did not end"),
        (row.not_accepted, "could not be accepted"),
    ];
    let wrong = counts.iter().filter(|(count, _)| *count > 0);
    let wrong: Vec<String> = wrong
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let wrong = (!wrong.is_empty()).then(|| wrong.join(", "))?;
    Some(format!("connections of {}: {wrong}", row.service))
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
pub(super) fn phrase(kind: &str) -> String {
    match kind {
        "deadline_exceeded" => "deadline".to_owned(),
        "dropped" => "request over".to_owned(),
        _ => kind.replace('_', " "),
    }
}

/// A name without control characters, of 24 characters at the most.
fn clipped(name: &str) -> String {
    let name: String = name.chars().flat_map(char::escape_debug).collect();
    if name.chars().count() <= NAME_MAX {
        return name;
    }
    let start: String = name.chars().take(NAME_MAX - 1).collect();
    format!("{start}…")
}

const NAME_MAX: usize = 24;
const ROWS_MAX: usize = 20;
const WAITS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_told_of_only_where_something_went_wrong() {
        let mut row = Connections {
            service: "notify",
            error: None,
            accepted: 40,
            closed: 30,
            hung_up: 10,
            silent: 0,
            failed: 0,
            forced: 0,
            stuck: 0,
            not_accepted: 0,
        };
        assert_eq!(wrong(&row), None);
        row.failed = 1;
        row.stuck = 2;
        let text = "connections of notify: 1 failed, 2 did not end";
        assert_eq!(wrong(&row).as_deref(), Some(text));
        row.error = Some("no descriptors".to_owned());
        let text = "notify was not served: no descriptors";
        assert_eq!(wrong(&row).as_deref(), Some(text));
    }
}
