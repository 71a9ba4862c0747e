//! `ripcord trace info`: what a trace holds.

use super::args::FileArgs;
use super::error::name;
use super::health::{Health, Listed};
use super::input::Input;
use super::json::json;
use super::plain::plain;
use super::tally::{Tally, Thread, TypeRow, Window};
use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_trace_format::FileHeader;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// The answer of `ripcord trace info`.
#[derive(Serialize, Debug)]
struct Info {
    schema: &'static str,
    file: String,
    header: Option<Header>,
    trace: Health,
    blocks: BTreeMap<String, u64>,
    events: u64,
    /// Of these, how many the registry repeats.
    registry_events: u64,
    /// Events of types that this version does not know.
    unknown_events: u64,
    /// Before compression, with the ticks.
    bytes_per_event: Option<f64>,
    types: Vec<TypeRow>,
    threads: BTreeMap<u32, Thread>,
    windows: Listed<Window>,
    span: Option<Span>,
}

/// The header of a file, as it is shown.
#[derive(Serialize, Debug)]
pub(super) struct Header {
    version: String,
    program: String,
    process: u64,
    clock: String,
    shift: u8,
    frequency_hz: u64,
    /// When the trace was begun, in nanoseconds since 1970.
    wall_ns: u64,
}

/// From the first event to the last.
#[derive(Serialize, Debug)]
struct Span {
    first_tick: u64,
    last_tick: u64,
    nanoseconds: Option<u64>,
    /// Whether two snapshots of the clocks say so, or the nominal frequency alone.
    is_measured: bool,
}

impl From<&FileHeader> for Header {
    fn from(header: &FileHeader) -> Self {
        Self {
            version: format!("{}.{}", ripcord_trace_format::MAJOR, header.minor),
            program: header.program.clone(),
            process: header.process,
            clock: header.clock.to_string(),
            shift: header.shift,
            frequency_hz: header.frequency,
            wall_ns: header.wall_ns,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace.
pub(super) fn run(args: &FileArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let input = Input::open(&args.file, printer, args.answer.quiet)?;
    let header = input.header().cloned();
    let mut tally = Tally::new(header.as_ref());
    let trace = input.walk(|block, health| {
        tally.add(block, health);
        Ok::<(), ExpectedError>(())
    })?;
    let code = trace.exit_code();
    let info = Info::new(&args.file, header.as_ref(), trace, tally);
    match args.answer.format {
        Format::Json => printer.result(json(&info)?),
        Format::Text => printer.result(info.text()),
    }
    Ok(code)
}

impl Info {
    fn new(file: &Path, header: Option<&FileHeader>, trace: Health, tally: Tally) -> Self {
        Self {
            schema: "ripcord.trace.info/1",
            file: file.to_string_lossy().into_owned(),
            header: header.map(Header::from),
            bytes_per_event: per(tally.event_bytes, tally.events),
            types: tally.types(),
            span: tally.span.map(|(first_tick, last_tick)| Span {
                first_tick,
                last_tick,
                nanoseconds: tally.clocks.nanoseconds(last_tick - first_tick),
                is_measured: tally.clocks.is_measured(),
            }),
            trace,
            blocks: tally.blocks,
            events: tally.events,
            registry_events: tally.registry_events,
            unknown_events: tally.unknown_events,
            threads: tally.threads,
            windows: tally.windows,
        }
    }

    /// The answer for people. Writing to a string cannot fail, so its results are left alone.
    fn text(&self) -> String {
        let mut out = format!("{}: ", name(Path::new(&self.file)));
        match &self.header {
            None => out.push_str("the header cannot be read\n"),
            Some(header) => {
                let _ = writeln!(
                    out,
                    "trace {} of `{}`, process {}, begun {}",
                    header.version,
                    plain(&header.program),
                    header.process,
                    wall(header.wall_ns),
                );
            }
        }
        self.totals(&mut out);
        let _ = writeln!(out, "\n{:>12}  {:>12}  event", "count", "bytes");
        for row in &self.types {
            let _ = writeln!(
                out,
                "{:>12}  {:>12}  {}",
                row.count,
                row.bytes,
                plain(&row.name)
            );
        }
        let _ = writeln!(
            out,
            "\n{:>8}  {:>12}  {:>8}  thread",
            "number", "events", "lost"
        );
        for (number, thread) in &self.threads {
            let kind = thread.kind.as_deref().unwrap_or("not told");
            let (events, lost) = (thread.events, thread.lost);
            let _ = writeln!(
                out,
                "{number:>8}  {events:>12}  {lost:>8}  {} {}",
                plain(kind),
                plain(&thread.name)
            );
        }
        let _ = writeln!(
            out,
            "\n{:>8}  {:>12}  {:>12}  window",
            "number", "blocks", "events"
        );
        for window in &self.windows.first {
            let _ = writeln!(
                out,
                "{:>8}  {:>12}  {:>12}  at byte {}, ticks {} to {}",
                window.number,
                window.blocks,
                window.events,
                window.offset,
                window.first_tick,
                window.last_tick
            );
        }
        if self.windows.unlisted() > 0 {
            let _ = writeln!(
                out,
                "{:>8}  the last row stands for {} more windows",
                "…",
                self.windows.unlisted()
            );
        }
        let _ = match self.trace.warning() {
            None => write!(out, "\nthe trace is complete"),
            Some(warning) => write!(out, "\n{warning}"),
        };
        out
    }

    fn totals(&self, out: &mut String) {
        let blocks: Vec<String> = self
            .blocks
            .iter()
            .map(|(k, n)| format!("{n} {k}"))
            .collect();
        let _ = writeln!(
            out,
            "  {} bytes; blocks: {}",
            self.trace.bytes,
            blocks.join(", ")
        );
        let _ = write!(out, "  {} events", self.events);
        if let Some(bytes) = self.bytes_per_event {
            let _ = write!(out, ", {bytes:.1} bytes each");
        }
        let _ = writeln!(
            out,
            "; {} lost, {} of unknown types, {} repeated by the registry",
            self.trace.lost_events, self.unknown_events, self.registry_events
        );
        if let Some(span) = &self.span {
            let how = if span.is_measured {
                ""
            } else {
                ", by the nominal frequency"
            };
            match span.nanoseconds {
                Some(ns) => {
                    let _ = writeln!(out, "  {}{how}", super::plain::duration(ns));
                }
                None => {
                    let _ = writeln!(
                        out,
                        "  ticks {} to {}; the clock's frequency is not known",
                        span.first_tick, span.last_tick
                    );
                }
            }
        }
    }
}

/// One by the other; `None` for nothing by nothing.
#[allow(
    clippy::cast_precision_loss,
    reason = "a mean that is shown with one decimal"
)]
fn per(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// An instant of the wall clock, in UTC.
fn wall(ns: u64) -> String {
    let instant = UNIX_EPOCH + Duration::from_nanos(ns);
    let shown = humantime::format_rfc3339_millis(instant).to_string();
    format!("{} UTC", shown.replace('T', " ").trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expect) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400, "2000-02-29 00:00:00.000 UTC"),
            (1_790_000_000, "2026-09-21 14:13:20.000 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59.000 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(wall(seconds * 1_000_000_000), expect);
        }
        // The latest instant there is does not overflow.
        assert!(wall(u64::MAX).starts_with("2554-"));
    }
}
