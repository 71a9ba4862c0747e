//! The JSON of Chrome's trace viewer, which Perfetto and Speedscope read as well.

use super::ExportError;
use super::json;
use super::story::{Arg, Flow, Sink, Track, What, tell};
use crate::read::Trace;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::io::{self, Read, Seek, Write};

/// Writes a trace as Chrome JSON: an object with `traceEvents`.
///
/// Threads are threads; tasks, regions and work are nestable asynchronous events, and wakes are
/// flow events. Times are microseconds of the monotonic clock.
///
/// # Errors
/// [`ExportError`]: the trace or the output failed.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::chrome;
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// let bytes = text::parse(
///     "ript 1.0 clock=monotonic shift=0 frequency=1000000000 process=7 wall=0 program=\"shop\"\n\
///      block events window=1 thread=3 first=5000 last=5000 events=1\n  +0 log text=\"hi\"\n",
/// )?;
/// let mut out = Vec::new();
/// chrome(&mut Trace::new(Cursor::new(bytes))?, &mut out)?;
/// let out = String::from_utf8(out)?;
/// assert!(out.contains(r#"{"ph":"i","cat":"log","name":"hi","ts":5.000,"pid":7,"tid":3,"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// About 100 bytes per event. Memory: what is live at a time.
///
/// # Limitations
/// The format has no exact numbers: a reader that keeps microseconds as `f64` loses nanoseconds after
/// 100 days of uptime. Prefer [`perfetto`](super::perfetto) for large traces.
pub fn chrome<R: Read + Seek>(
    trace: &mut Trace<R>,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let (pid, program) = trace.header().map_or((1, String::new()), |header| {
        (header.process, header.program.clone())
    });
    out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    let mut sink = Chrome {
        out,
        pid,
        has_event: false,
    };
    sink.meta("process_name", 0, &program)?;
    tell(trace, &mut sink)?;
    out.write_all(b"\n]}\n")?;
    Ok(())
}

struct Chrome<'o, W> {
    out: &'o mut W,
    pid: u64,
    has_event: bool,
}

/// One event of the format.
#[derive(Serialize, Default)]
struct Line<'a> {
    ph: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    ts: Micros,
    pid: u64,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Scope of an instant: its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    /// A flow ends in the slice that encloses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Args::is_empty")]
    args: Args<'a>,
}

/// Nanoseconds, shown as microseconds with all their digits.
#[derive(Clone, Copy, Default)]
struct Micros(u64);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        let number = serde_json::value::RawValue::from_string(digits);
        number
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

#[derive(Default)]
struct Args<'a>(&'a [(&'static str, Arg<'a>)]);

impl Args<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            match value {
                Arg::Number(number) => map.serialize_entry(name, number)?,
                Arg::Signed(number) => map.serialize_entry(name, number)?,
                Arg::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

impl<W: Write> Chrome<'_, W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.has_event, true) {
            self.out.write_all(b",\n")?;
        }
        json::write(self.out, line)
    }

    fn meta(&mut self, what: &str, tid: u32, name: &str) -> io::Result<()> {
        self.line(&Line {
            ph: "M",
            name: what,
            pid: self.pid,
            tid,
            args: Args(&[("name", Arg::Text(name))]),
            ..Line::default()
        })
    }

    /// An event of a track: threads have phases of their own.
    fn event(
        &mut self,
        phases: (&'static str, &'static str),
        at: u64,
        track: Track,
        what: &What<'_>,
    ) -> io::Result<()> {
        let (tid, ph, id) = match track {
            Track::Thread(thread) => (thread, phases.0, None),
            Track::Task(id) => (0, phases.1, Some(format!("task-{id}"))),
            Track::Regions(id) => (0, phases.1, Some(format!("regions-{id}"))),
            Track::Work(id) => (0, phases.1, Some(format!("work-{id}"))),
        };
        self.line(&Line {
            ph,
            cat: what.category,
            name: what.name,
            ts: Micros(at),
            pid: self.pid,
            tid,
            id,
            s: (ph == "i").then_some("t"),
            args: Args(what.args),
            ..Line::default()
        })?;
        let (ph, flow, bp) = match what.flow {
            Flow::None => return Ok(()),
            Flow::Begins(flow) => ("s", flow, None),
            Flow::Ends(flow) => ("f", flow, Some("e")),
        };
        self.line(&Line {
            ph,
            cat: "wake",
            name: "wake",
            ts: Micros(at),
            pid: self.pid,
            tid,
            id: Some(flow.to_string()),
            bp,
            ..Line::default()
        })
    }
}

impl<W: Write> Sink for Chrome<'_, W> {
    fn track(&mut self, at: u64, track: Track, name: &str) -> io::Result<()> {
        match track {
            Track::Thread(thread) => self.meta("thread_name", thread, name),
            // Asynchronous events have no name for their row: an event around all of them says it.
            Track::Task(_) | Track::Regions(_) => self.begin(at, track, &What::new("track", name)),
            Track::Work(_) => Ok(()),
        }
    }

    fn track_ends(&mut self, at: u64, track: Track, name: &str) -> io::Result<()> {
        match track {
            Track::Task(_) | Track::Regions(_) => self.end(at, track, &What::new("track", name)),
            Track::Thread(_) | Track::Work(_) => Ok(()),
        }
    }

    fn begin(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()> {
        self.event(("B", "b"), at, track, what)
    }

    fn end(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()> {
        self.event(("E", "e"), at, track, what)
    }

    fn instant(&mut self, at: u64, track: Track, what: &What<'_>) -> io::Result<()> {
        self.event(("i", "n"), at, track, what)
    }

    fn counter(&mut self, at: u64, name: &str, value: i64) -> io::Result<()> {
        self.line(&Line {
            ph: "C",
            name,
            ts: Micros(at),
            pid: self.pid,
            args: Args(&[("value", Arg::Signed(value))]),
            ..Line::default()
        })
    }
}
