//! A [`Snapshot`] as the text that Prometheus scrapes.
//!
//! `ripcord-otel` has an encoder, too: for whatever an OpenTelemetry SDK has collected, two rings further out.
//! What is written here has names and labels of its own, which are known beforehand, so this is a list of
//! lines. No name here is one of ripcord-otel's: both pages can be served as one.
//!
//! # The metrics
//! All begin with `ripcord_`; counters end in `_total`.
//!
//! | Name | Type, label | What |
//! |---|---|---|
//! | `tasks_alive`, `tasks_running`, `tasks_runnable` | gauge | tasks, by what they do |
//! | `tasks_blocked` | gauge by `reason` | tasks that wait, at most 73 series |
//! | `tasks_spawned_total` | counter | |
//! | `tasks_ended_total` | counter by `outcome` | `ready`, `panicked`, `aborted`, `dropped` |
//! | `tasks_overdue`, `tasks_ghosts` | gauge | alive after their context; for more than 5 s |
//! | `tasks_overdue_longest_seconds` | gauge | the oldest of them |
//! | `task_cancel_latency_seconds` | histogram | of tasks that ended after their context |
//! | `polls_total` | counter by `end` | `pending`, `yielded`, `preempted`, `lost`, `ready`, `panicked` |
//! | `polls_long_total`, `wakers_lost_total` | counter | |
//! | `poll_duration_seconds`, `schedule_delay_seconds` | histogram | |
//! | `wakes_total` | counter by `by` | `task`, `driver`, `cancel` … |
//! | `workers`, `workers_parked`, `workers_stalled` | gauge | |
//! | `workers_busy_seconds_total`, `workers_idle_…`, `workers_stall_…` | counter | of all workers together |
//! | `blocking_queued`, `blocking_running` | gauge | jobs |
//! | `blocking_spawned_total`, `blocking_ended_total` | counter | |
//! | `blocking_wait_seconds` | histogram | |
//! | `contexts_live`, `contexts_undrained` | gauge | all; those that were ended |
//! | `contexts_created_total` | counter | |
//! | `contexts_ended_total` | counter by `cause` | `cancelled`, `deadline_exceeded`, `peer_gone` … |
//! | `recorder_dropped_total` | counter by `what` | what is missing in all of this |
//! | `recorder_evicted_total`, `recorder_uptime_seconds` | counter, gauge | |
//!
//! # Invariants
//! 1. All lines of one metric stand together, each with help and type before them, and the same metrics are
//!    on every page: only `ripcord_tasks_blocked` has as many series as there are reasons.

use super::histogram::Histogram;
use super::snapshot::Snapshot;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

impl Snapshot {
    /// The content type of the page.
    ///
    /// Prometheus guesses without it; other scrapers refuse the page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The page that Prometheus scrapes: text format 0.0.4, which readers of `OpenMetrics` take, too.
    ///
    /// The names are in docs/guide/tracing.md, and rules that use them in `alerts/` of this crate.
    ///
    /// Labels of waits are the program's own words, and stand on the page with their quotes, backslashes and
    /// line feeds escaped. Durations are seconds.
    ///
    /// # Serving it
    /// With a web framework it is a handler that returns the text with its
    /// [content type](Self::CONTENT_TYPE). Without one, on a thread of its own:
    ///
    /// ```no_run
    /// use ripcord_tracer::{Mode, Recorder, Snapshot};
    /// use std::io::{Read as _, Write as _};
    ///
    /// let recorder = Recorder::builder().mode(Mode::Metrics).build();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:9464")?;
    /// for stream in listener.incoming() {
    ///     let mut stream = stream?;
    ///     let _ = stream.read(&mut [0; 4096])?; // Whatever is asked for.
    ///     let (page, kind) = (recorder.metrics().prometheus(), Snapshot::CONTENT_TYPE);
    ///     let length = page.len();
    ///     let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    ///     stream.write_all(head.as_bytes())?;
    ///     stream.write_all(page.as_bytes())?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Examples
    /// ```
    /// let page = ripcord_tracer::Snapshot::default().prometheus();
    /// assert!(page.contains("# TYPE ripcord_tasks_alive gauge\nripcord_tasks_alive 0\n"));
    /// ```
    ///
    /// # Costs
    /// Some 15 KiB of text.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut page = Page(String::with_capacity(16 << 10));
        self.tasks(&mut page);
        self.ends(&mut page);
        self.scheduling(&mut page);
        self.workers(&mut page);
        self.jobs(&mut page);
        self.contexts(&mut page);
        self.recorder(&mut page);
        page.0
    }

    /// What tasks there are, and what they do.
    fn tasks(&self, page: &mut Page) {
        page.gauge("tasks_alive", "Tasks that live.", self.tasks_alive);
        page.counter(
            "tasks_spawned",
            "Tasks that were spawned.",
            self.tasks_spawned,
        );
        let rows = self.tasks_ended.rows();
        page.counters(
            "tasks_ended",
            "Tasks that have ended, by how.",
            "outcome",
            &rows,
        );
        page.gauge("tasks_running", "Tasks in a poll.", self.tasks_running);
        page.gauge(
            "tasks_runnable",
            "Tasks that wait for a worker.",
            self.tasks_runnable,
        );
        let help = "Tasks that wait for something else, by what that is.";
        page.head("tasks_blocked", "gauge", help);
        for row in &self.tasks_blocked {
            page.sample("tasks_blocked", Some(("reason", &row.reason)), &row.tasks);
        }
    }

    /// What did not stop.
    fn ends(&self, page: &mut Page) {
        page.gauge(
            "tasks_overdue",
            "Tasks and jobs that live although their context has ended.",
            self.tasks_overdue,
        );
        page.gauge(
            "tasks_ghosts",
            "Tasks and jobs that live more than five seconds after the end of their context.",
            self.tasks_ghosts,
        );
        page.gauge(
            "tasks_overdue_longest_seconds",
            "For how long the oldest of them should have been gone.",
            Seconds(self.overdue_longest),
        );
        page.histogram(
            "task_cancel_latency_seconds",
            "From the end of a context to the end of its task, of tasks that ended after it.",
            &self.cancel_latencies,
        );
    }

    /// Polls, and the wakes that lead to them.
    fn scheduling(&self, page: &mut Page) {
        page.counters(
            "polls",
            "Polls that are over, by how.",
            "end",
            &self.polls.rows(),
        );
        page.counter(
            "polls_long",
            "Polls that took longer than 10 ms.",
            self.polls_long,
        );
        page.counter(
            "wakers_lost",
            "Tasks that were left without a waker: they hang.",
            self.wakers_lost,
        );
        page.histogram(
            "poll_duration_seconds",
            "How long polls take.",
            &self.poll_durations,
        );
        page.histogram(
            "schedule_delay_seconds",
            "From the wake of a task to its poll.",
            &self.schedule_delays,
        );
        let help = "Wakes of tasks, of many between two polls the first, by who woke.";
        page.counters("wakes", help, "by", &self.wakes.rows());
    }

    /// The threads that poll.
    fn workers(&self, page: &mut Page) {
        page.gauge("workers", "Workers of the runtime.", self.workers);
        page.gauge(
            "workers_parked",
            "Workers that have nothing to do.",
            self.workers_parked,
        );
        page.gauge(
            "workers_stalled",
            "Workers that are in one poll for longer than 100 ms.",
            self.workers_stalled,
        );
        for (name, help, time) in [
            (
                "workers_busy_seconds",
                "Time of all workers between parks.",
                self.workers_busy,
            ),
            (
                "workers_idle_seconds",
                "Time of all workers in parks.",
                self.workers_idle,
            ),
            (
                "workers_stall_seconds",
                "Time in polls that took longer than 100 ms.",
                self.workers_stall,
            ),
        ] {
            page.counter(name, help, Seconds(time));
        }
    }

    /// The blocking threads.
    fn jobs(&self, page: &mut Page) {
        page.gauge(
            "blocking_queued",
            "Jobs that wait for a blocking thread.",
            self.jobs_queued,
        );
        page.gauge(
            "blocking_running",
            "Jobs on blocking threads.",
            self.jobs_running,
        );
        page.counter(
            "blocking_spawned",
            "Jobs that were given to the blocking threads.",
            self.jobs_spawned,
        );
        page.counter("blocking_ended", "Jobs that have ended.", self.jobs_ended);
        page.histogram(
            "blocking_wait_seconds",
            "From the spawn of a job until it has its thread.",
            &self.job_waits,
        );
    }

    /// The trees.
    fn contexts(&self, page: &mut Page) {
        page.gauge("contexts_live", "Contexts that live.", self.contexts_live);
        page.gauge(
            "contexts_undrained",
            "Contexts that were ended and of which somebody has a handle.",
            self.contexts_undrained,
        );
        page.counter(
            "contexts_created",
            "Contexts that were made.",
            self.contexts_created,
        );
        let rows = self.contexts_ended.rows();
        let help = "Ends of contexts, by the kind of their cause; a dropped guard is none.";
        page.counters("contexts_ended", help, "cause", &rows);
    }

    /// What to believe of all this.
    fn recorder(&self, page: &mut Page) {
        let losses = &self.losses;
        let rows = [
            ("lost", losses.lost),
            ("unwritten", losses.unwritten),
            ("unplaced", losses.unplaced),
            ("stacks", losses.stacks),
            ("overlooked", losses.overlooked),
            ("outside", losses.outside),
            ("untold", self.untold),
        ];
        let help = "What the recorder has dropped, by what it was.";
        page.counters("recorder_dropped", help, "what", &rows);
        page.counter(
            "recorder_evicted",
            "Events that made room for newer ones, as is meant.",
            losses.evicted,
        );
        page.gauge(
            "recorder_uptime_seconds",
            "For how long the recorder has been there.",
            Seconds(self.uptime),
        );
    }
}

/// A duration as Prometheus has it: seconds, never with an exponent.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The page so far. A `String` takes everything that is written to it.
struct Page(String);

impl Page {
    /// The two lines before the samples of a metric.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP ripcord_{name} {help}");
        let _ = writeln!(self.0, "# TYPE ripcord_{name} {kind}");
    }

    /// One line.
    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: &dyn Display) {
        let _ = match label {
            None => writeln!(self.0, "ripcord_{name} {value}"),
            Some((label, of)) => {
                let of = escaped(of);
                writeln!(self.0, "ripcord_{name}{{{label}=\"{of}\"}} {value}")
            }
        };
    }

    /// What goes up and down: one line.
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.sample(name, None, &value);
    }

    /// What only goes up: its name ends in `_total`, after the unit.
    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        let name = &format!("{name}_total");
        self.head(name, "counter", help);
        self.sample(name, None, &value);
    }

    /// The same by one label; rows that are zero are shown, so that a rate begins with the first event.
    fn counters(&mut self, name: &str, help: &str, label: &str, rows: &[(&str, u64)]) {
        let name = &format!("{name}_total");
        self.head(name, "counter", help);
        for (of, value) in rows {
            self.sample(name, Some((label, of)), value);
        }
    }

    /// Buckets count all up to their bound, as Prometheus wants it.
    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = &format!("{name}_bucket");
        for (bound, so_far) in histogram.buckets() {
            let bound = Seconds(bound).to_string();
            self.sample(bucket, Some(("le", &bound)), &so_far);
        }
        self.sample(bucket, Some(("le", "+Inf")), &histogram.count());
        let sum = Seconds(histogram.sum());
        self.sample(&format!("{name}_sum"), None, &sum);
        self.sample(&format!("{name}_count"), None, &histogram.count());
    }
}

/// Of a label's value: backslash, quote and line feed (Prometheus, text format details).
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Blocked;

    #[test]
    fn labels_are_escaped() {
        let page = Snapshot {
            tasks_blocked: vec![Blocked {
                reason: "a\"b\\c\nd".into(),
                tasks: 3,
            }],
            ..Snapshot::default()
        };
        let line = "\nripcord_tasks_blocked{reason=\"a\\\"b\\\\c\\nd\"} 3\n";
        assert!(page.prometheus().contains(line));
    }

    #[test]
    fn seconds_have_no_exponent() {
        for (nanoseconds, expect) in [(0, "0"), (1_000, "0.000001"), (16_777_216_000, "16.777216")]
        {
            assert_eq!(
                Seconds(Duration::from_nanos(nanoseconds)).to_string(),
                expect
            );
        }
    }
}
