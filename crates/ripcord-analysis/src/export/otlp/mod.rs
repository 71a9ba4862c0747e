//! OpenTelemetry: contexts as spans and tasks as spans below them, as a file of OTLP/JSON.
//!
//! # Invariants
//! 1. Ids are made of the process, its start and the number in the trace, so that the same trace gives
//!    the same ids, and two processes different ones. A context with the tag `trace.id` gives that id
//!    to itself and to what is made below it.

mod model;

use super::follow::Follow;
use super::lives::{CtxLife, DEPTH_MAX, Family, Lives, Over, TaskLife};
use super::{ExportError, json};
use crate::read::{Step, Tables, Timeline, Trace};
use model::{
    Attribute, Link, Resource, ResourceSpans, Scope, ScopeSpans, Span, SpanEvent, Status, Text,
    Traces,
};
use ripcord_trace_format::{CauseKind, Outcome};
use std::fmt::Write as _;
use std::io::{Read, Seek, Write};

/// Writes contexts and tasks as spans: OTLP/JSON, one `TracesData` per line.
///
/// That is what the file exporter of the OpenTelemetry collector writes and its `otlpjsonfile`
/// receiver reads. A cancel is an event of its context's span, the first look at it another; a wake
/// by a task is a link to that task's span. Times are of the wall clock.
///
/// # Errors
/// [`ExportError`]: the trace or the output failed.
///
/// # Examples
/// ```
/// use ripcord_analysis::export::otlp;
/// use ripcord_analysis::read::Trace;
/// use ripcord_trace_format::text;
/// use std::io::Cursor;
///
/// let bytes = text::parse(
///     "ript 1.0 clock=monotonic shift=0 frequency=1000000000 process=7 wall=0 program=\"shop\"\n\
///      block events window=1 thread=3 first=50 last=50 events=1\n\
///      \x20 +0 ctx_end id=1 parent=- loc=- name=\"request\"\n",
/// )?;
/// let mut out = Vec::new();
/// otlp(&mut Trace::new(Cursor::new(bytes))?, &mut out)?;
/// let out = String::from_utf8(out)?;
/// assert!(out.contains(r#""name":"request","kind":1,"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// Memory: what is live, and a batch of 512 spans.
///
/// # Limitations
/// What is live at the end of the trace ends with it and has `ripcord.live`; what began before it
/// begins with it and has `ripcord.begun_before`. A span has at most 32 links.
pub fn otlp<R: Read + Seek>(trace: &mut Trace<R>, out: &mut impl Write) -> Result<(), ExportError> {
    let orphans = trace.orphans()?;
    let mut follow = Follow::new(&orphans);
    let (process, started, program) = trace.header().map_or((0, 0, String::new()), |header| {
        (header.process, header.wall_ns, header.program.clone())
    });
    let (first, last) = trace.span().unwrap_or((0, 0));
    let events = trace.events();
    let mut spans = Spans {
        out,
        tables: events.tables(),
        time: events.timeline(),
        seed: mixed(process ^ mixed(started)),
        first,
        last,
        resource: vec![
            Attribute::text("service.name", program),
            Attribute::number("process.pid", process),
        ],
        batch: Vec::new(),
    };
    let mut lives = Lives::new(spans.tables, orphans);
    let mut each = |step: Step<'_>| -> Result<(), ExportError> {
        // An end frees the slot, so lives look first.
        let over = lives.step(&step, &follow);
        follow.step(&step, |_| Ok::<(), ExportError>(()))?;
        over.map_or(Ok(()), |over| spans.over(&over, &lives))
    };
    events.try_for_each(&mut each)?;
    // Parents are looked for among the live, so all of them stay until each is written.
    let rest = Lives::finish(std::mem::take(&mut lives));
    let lives = Lives::of(&rest);
    for over in &rest {
        spans.over(over, &lives)?;
    }
    spans.flush()
}

struct Spans<'s, W> {
    out: &'s mut W,
    tables: &'s Tables,
    time: &'s Timeline,
    seed: u64,
    first: u64,
    last: u64,
    resource: Vec<Attribute>,
    batch: Vec<Span>,
}

impl<W: Write> Spans<'_, W> {
    fn over(&mut self, over: &Over, lives: &Lives) -> Result<(), ExportError> {
        let span = match over {
            Over::Ctx(life) => self.context(life, lives),
            Over::Task(life) => self.task(life, lives),
        };
        self.batch.push(span);
        if self.batch.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the batch as one line.
    fn flush(&mut self) -> Result<(), ExportError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let line = Traces {
            resource_spans: [ResourceSpans {
                resource: Resource {
                    attributes: &self.resource,
                },
                scope_spans: [ScopeSpans {
                    scope: Scope {
                        name: "ripcord",
                        version: env!("CARGO_PKG_VERSION"),
                    },
                    spans: &self.batch,
                }],
            }],
        };
        json::write(self.out, &line)?;
        self.out.write_all(b"\n")?;
        self.batch.clear();
        Ok(())
    }

    fn context(&self, life: &CtxLife, lives: &Lives) -> Span {
        let mut attributes = vec![Attribute::number("ripcord.context", life.id)];
        if let Some(kind) = life.kind {
            attributes.push(Attribute::text("ripcord.context.kind", kind.as_str()));
        }
        if let Some(ticks) = life.deadline {
            let ns = self.ticks(life.begun, ticks);
            attributes.push(Attribute::number("ripcord.deadline_ns", ns));
        }
        self.place(life.loc, &mut attributes);
        for (key, text) in &life.tags {
            attributes.push(Attribute::text(&self.label(*key), text.as_str()));
        }
        let name = named(&life.name, life.parent, lives);
        let name = name.unwrap_or_else(|| "context".to_owned());
        let mut span = self.span(name, attributes, life.begun, life.ended);
        span.trace_id = hex(&self.trace_of(life, lives));
        span.span_id = hex(&self.span_id(CONTEXT, life.id));
        if let Some(parent) = life.parent {
            span.parent_span_id = hex(&self.span_id(CONTEXT, parent));
        }
        self.cancel(life, &mut span);
        span
    }

    /// The end of a context, and who saw it.
    fn cancel(&self, life: &CtxLife, span: &mut Span) {
        let Some(cancel) = life.cancel.as_ref().filter(|cancel| !cancel.is_ordinary()) else {
            return;
        };
        let mut attributes = vec![Attribute::text("ripcord.cause", cancel.kind.as_str())];
        if !cancel.message.is_empty() {
            attributes.push(Attribute::text("ripcord.message", cancel.message.as_str()));
        }
        if let Some(by) = cancel.by {
            attributes.push(Attribute::number("ripcord.by_task", by));
        }
        if let Some(due) = cancel.due {
            let ns = self.ticks(Some(cancel.tick), due);
            attributes.push(Attribute::number("ripcord.due_ns", ns));
        }
        self.place(cancel.loc, &mut attributes);
        span.events.push(SpanEvent {
            time_unix_nano: self.wall(cancel.tick),
            name: "cancel",
            attributes,
        });
        if let Some(seen) = life.seen {
            let mut attributes = vec![Attribute::text("ripcord.how", seen.how.as_str())];
            if let Some(task) = seen.task {
                attributes.push(Attribute::number("ripcord.task", task));
            }
            span.events.push(SpanEvent {
                time_unix_nano: self.wall(seen.tick),
                name: "cancel seen",
                attributes,
            });
        }
        let is_error = matches!(
            cancel.kind,
            CauseKind::DeadlineExceeded | CauseKind::Panicked | CauseKind::SiblingFailed
        );
        span.status = is_error.then(|| Status {
            code: 2,
            message: cancel.kind.as_str().to_owned(),
        });
    }

    fn task(&self, life: &TaskLife, lives: &Lives) -> Span {
        let about = &life.about;
        let word = if life.is_job {
            "ripcord.job"
        } else {
            "ripcord.task"
        };
        let mut attributes = vec![Attribute::number(word, about.id)];
        for (key, number) in [
            ("ripcord.polls", life.polls),
            ("ripcord.parent_task", about.parent),
        ] {
            attributes.extend(number.map(|number| Attribute::number(key, number)));
        }
        if let Some(busy) = life.busy {
            let busy = i64::try_from(busy).unwrap_or(i64::MAX);
            let ns = self.ticks(life.begun, busy);
            attributes.push(Attribute::number("ripcord.busy_ns", ns));
        }
        if let Some(outcome) = life.outcome {
            attributes.push(Attribute::text("ripcord.outcome", outcome.as_str()));
        }
        self.place(about.loc, &mut attributes);
        let mut name = about.name.clone();
        if name.is_empty() {
            let place = about.loc.and_then(|loc| self.tables.location(loc));
            name = place.map_or_else(|| "task".to_owned(), ToString::to_string);
        }
        let mut span = self.span(name, attributes, life.begun, life.ended);
        span.span_id = hex(&self.span_id(TASK, about.id));
        span.trace_id = hex(&self.trace_of_task(life, lives));
        if let Some(ctx) = about.ctx {
            span.parent_span_id = hex(&self.span_id(CONTEXT, ctx));
        }
        for (waker, by) in &life.wakers {
            let Some(waking) = lives.task(*waker) else {
                continue;
            };
            span.links.push(Link {
                trace_id: hex(&self.trace_of_task(waking, lives)),
                span_id: hex(&self.span_id(TASK, *waker)),
                attributes: vec![Attribute::text("ripcord.woken_by", by.as_str())],
            });
        }
        span.status = (life.outcome == Some(Outcome::Panicked)).then(|| Status {
            code: 2,
            message: "panicked".to_owned(),
        });
        span
    }

    /// A span without ids.
    fn span(
        &self,
        name: String,
        mut attributes: Vec<Attribute>,
        begun: Option<u64>,
        ended: Option<u64>,
    ) -> Span {
        if begun.is_none() {
            attributes.push(Attribute::truth("ripcord.begun_before", true));
        }
        if ended.is_none() {
            attributes.push(Attribute::truth("ripcord.live", true));
        }
        let begun = begun.unwrap_or(self.first);
        let ended = ended.unwrap_or(self.last).max(begun);
        Span {
            trace_id: String::new(),
            span_id: String::new(),
            parent_span_id: String::new(),
            name,
            kind: 1,
            start_time_unix_nano: self.wall(begun),
            end_time_unix_nano: self.wall(ended),
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            status: None,
        }
    }

    fn place(&self, loc: Option<u64>, attributes: &mut Vec<Attribute>) {
        if let Some(place) = loc.and_then(|loc| self.tables.location(loc)) {
            attributes.push(Attribute::text("code.file.path", &*place.file));
            attributes.push(Attribute::number("code.line.number", place.line));
        }
    }

    fn label(&self, label: u64) -> String {
        let text = self.tables.label(label);
        text.map_or_else(|| format!("label {label}"), ToString::to_string)
    }

    fn wall(&self, tick: u64) -> Text {
        Text(self.time.wall_nanos(tick).into())
    }

    /// Nanoseconds of so many ticks from an instant on, or before it.
    fn ticks(&self, from: Option<u64>, ticks: i64) -> i128 {
        let from = from.unwrap_or(self.first);
        let to = from.saturating_add_signed(ticks);
        i128::from(self.time.nanos(to)) - i128::from(self.time.nanos(from))
    }

    fn span_id(&self, kind: u64, number: u64) -> [u8; 8] {
        mixed(self.seed ^ mixed(number ^ kind)).max(1).to_be_bytes()
    }

    fn trace_of_task(&self, life: &TaskLife, lives: &Lives) -> [u8; 16] {
        let context = life.about.ctx.and_then(|ctx| lives.context(ctx));
        match (context, life.about.ctx) {
            (Some(context), _) => self.trace_of(context, lives),
            (None, Some(ctx)) => self.trace(&life.family, ctx),
            (None, None) => self.made_of(TASK, life.about.id),
        }
    }

    /// A tag that came after the children were made counts for them as well, if it is there still.
    fn trace_of(&self, life: &CtxLife, lives: &Lives) -> [u8; 16] {
        if life.family.trace.is_some() {
            return self.trace(&life.family, life.id);
        }
        let mut parent = life.parent;
        for _ in 0..DEPTH_MAX {
            let Some(above) = parent.and_then(|id| lives.context(id)) else {
                break;
            };
            if above.family.trace.is_some() {
                return self.trace(&above.family, above.id);
            }
            parent = above.parent;
        }
        self.trace(&life.family, life.parent.unwrap_or(life.id))
    }

    /// The tag, if it is 32 hex digits and not zero; else one that is made of the root.
    fn trace(&self, family: &Family, otherwise: u64) -> [u8; 16] {
        let told = family.trace.as_deref().and_then(|text| {
            let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u128::from_str_radix(text, 16).ok().filter(|_| is_hex)
        });
        match told.filter(|number| *number != 0) {
            Some(number) => number.to_be_bytes(),
            None => self.made_of(CONTEXT, family.root.unwrap_or(otherwise)),
        }
    }

    fn made_of(&self, kind: u64, number: u64) -> [u8; 16] {
        let high = mixed(self.seed ^ mixed(number ^ kind ^ TRACE)).max(1);
        let low = mixed(high ^ self.seed);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

/// Its own name, or that of the nearest context above which has one.
fn named(own: &str, mut parent: Option<u64>, lives: &Lives) -> Option<String> {
    if !own.is_empty() {
        return Some(own.to_owned());
    }
    for _ in 0..DEPTH_MAX {
        let life = lives.context(parent?)?;
        if !life.name.is_empty() {
            return Some(life.name.clone());
        }
        parent = life.parent;
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The finalizer of `SplitMix64`: near numbers become far ones.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What an id is of.
const CONTEXT: u64 = 1 << 60;
const TASK: u64 = 2 << 60;
const TRACE: u64 = 4 << 60;

const BATCH: usize = 512;
