//! The course of a merge, and its answer.

use super::align::{Alignment, Pair, align};
use super::renumber::{Bases, renumbered};
use super::survey::{Survey, survey};
use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::args::MergeArgs;
use crate::trace::error::name;
use crate::trace::health::Health;
use crate::trace::input::{Input, events};
use crate::trace::json::json;
use crate::trace::output::{self, Failed};
use crate::trace::plain::duration;
use crate::trace::rewrite::Rewriter;
use crate::trace::tally::THREADS_MAX;
use ripcord_trace_format::{
    Block, BlockInfo, BlockKind, ClockKind, Event, FileHeader, TEXT_BYTES_MAX,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The answer of `ripcord trace merge`.
#[derive(Serialize, Debug)]
struct Answer {
    schema: &'static str,
    a: String,
    b: String,
    output: String,
    trace_a: Health,
    trace_b: Health,
    alignment: Alignment,
    /// Whether both traces have snapshots of their clocks.
    has_snapshots: bool,
    events: u64,
    /// Events of unknown types, or with numbers that no recorder writes.
    left_out_events: u64,
}

/// Runs the command.
///
/// # Errors
/// One of the traces cannot be read, or the output cannot be written.
pub(in crate::trace) fn run(
    args: &MergeArgs,
    printer: &Printer,
) -> Result<ExitCode, ExpectedError> {
    let is_quiet = args.answer.quiet;
    let a = survey(&args.a, printer, is_quiet)?;
    let b = survey(&args.b, printer, is_quiet)?;
    let alignment = align(&pairs(&a, &b));
    let open = |path: &Path| Input::open(path, printer, is_quiet);
    let (input_a, input_b) = (open(&args.a)?, open(&args.b)?);
    let merged = output::create(&args.output, |out| {
        let mut merge = Merge::new(out, &a, &b, alignment.offset_ns)?;
        merge.take(input_a, &a, Side::A)?;
        merge.take(input_b, &b, Side::B)?;
        merge.finish()
    })?;
    let (written, left_out) = merged;
    let answer = Answer {
        schema: "ripcord.trace.merge/1",
        a: args.a.to_string_lossy().into_owned(),
        b: args.b.to_string_lossy().into_owned(),
        output: args.output.to_string_lossy().into_owned(),
        has_snapshots: a.clock.is_measured && b.clock.is_measured,
        trace_a: a.health,
        trace_b: b.health,
        alignment,
        events: written,
        left_out_events: left_out,
    };
    match args.answer.format {
        Format::Json => printer.result(json(&answer)?),
        Format::Text => printer.result(answer.text(args)),
    }
    Ok(Health::worse(&answer.trace_a, &answer.trace_b).exit_code())
}

/// The requests that both have seen.
fn pairs(a: &Survey, b: &Survey) -> Vec<Pair> {
    let walls =
        |survey: &Survey, span: (u64, u64)| (survey.clock.wall(span.0), survey.clock.wall(span.1));
    let both = a.requests.iter().filter_map(|(id, span)| {
        Some(Pair {
            a: walls(a, *span),
            b: walls(b, *b.requests.get(id)?),
        })
    });
    both.collect()
}

/// Which of the two traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    A,
    B,
}

/// A merge in the making.
struct Merge<'s, W> {
    out: Rewriter<W>,
    a: &'s Survey,
    b: &'s Survey,
    offset: i128,
    /// Added to every tick, so that none is negative.
    base: i128,
    totals: BTreeMap<u64, (u64, u64)>,
    last_tick: u64,
    left_out: u64,
}

impl<'s, W: Write> Merge<'s, W> {
    fn new(out: W, a: &'s Survey, b: &'s Survey, offset: i64) -> Result<Self, Failed> {
        let both = [a, b].map(|survey| {
            let header = survey.header.as_ref();
            header.map_or("?", |header| header.program.as_str())
        });
        let header = a.header.as_ref().map_or_else(
            || FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000),
            FileHeader::clone,
        );
        let header = header.program(&both.join(" + "));
        let mut merge = Self {
            out: Rewriter::new(out, &header)?,
            a,
            b,
            offset: i128::from(offset),
            base: 0,
            totals: BTreeMap::new(),
            last_tick: 0,
            left_out: 0,
        };
        merge.base = -merge.moved(b.first_tick, Side::B).min(0);
        Ok(merge)
    }

    /// Writes the blocks of one trace.
    fn take(&mut self, input: Input<'_>, survey: &Survey, side: Side) -> Result<(), Failed> {
        let bases = match side {
            Side::A => Bases::default(),
            Side::B => self.a.next,
        };
        let program = match &survey.header {
            Some(header) if !header.program.is_empty() => header.program.clone(),
            _ => format!("{side:?}").to_lowercase(),
        };
        input.walk(|block, health| {
            if block.info.kind.has_events() {
                self.block(block, health, &bases, &program, side)?;
            }
            Ok::<(), Failed>(())
        })?;
        Ok(())
    }

    fn block(
        &mut self,
        block: &Block<'_>,
        health: &mut Health,
        bases: &Bases,
        program: &str,
        side: Side,
    ) -> Result<(), Failed> {
        let is_table = block.info.kind == BlockKind::Table;
        let has_thread = matches!(block.info.kind, BlockKind::Events | BlockKind::Registry);
        let base = if has_thread { bases.thread } else { 0 };
        let first_tick = if is_table {
            0
        } else {
            self.tick(block.info.first_tick, side)
        };
        self.out.begin(BlockInfo {
            kind: block.info.kind,
            window: 1,
            thread: block.info.thread.saturating_add(base),
            first_tick,
            last_tick: first_tick,
            events: 0,
        })?;
        events(block, health, |tick, event| {
            let Some(mut event) = renumbered(event, bases) else {
                self.left_out += 1;
                return Ok(());
            };
            if self.is_kept_back(&event, side) {
                return Ok(());
            }
            let tick = if is_table { 0 } else { self.tick(tick, side) };
            self.last_tick = self.last_tick.max(tick);
            self.scale(&mut event, side);
            let named;
            if let Event::ThreadStart { name, .. } = &mut event {
                named = format!("{program}/{name}");
                *name = &named;
                // The encoder cuts what is too long.
                debug_assert!(
                    named.len() <= 2 * TEXT_BYTES_MAX + 1,
                    "both were read as texts"
                );
                self.out.push(tick, &event)?;
            } else {
                self.out.push(tick, &event)?;
            }
            Ok(())
        })
    }

    /// Totals are written once, at the end; the clocks are those of the first trace alone.
    fn is_kept_back(&mut self, event: &Event<'_>, side: Side) -> bool {
        match *event {
            Event::ThreadTotals {
                thread,
                events,
                dropped,
            } => {
                if self.totals.len() < THREADS_MAX || self.totals.contains_key(&thread) {
                    let (all, lost) = self.totals.entry(thread).or_default();
                    *all = all.saturating_add(events);
                    *lost = lost.saturating_add(dropped);
                }
                true
            }
            Event::Clock { .. } => side == Side::B,
            _ => false,
        }
    }

    /// A tick on the clock of the merge.
    fn tick(&self, tick: u64, side: Side) -> u64 {
        let moved = self.moved(tick, side) + self.base;
        u64::try_from(moved.max(0)).unwrap_or(u64::MAX)
    }

    fn moved(&self, tick: u64, side: Side) -> i128 {
        match side {
            Side::A => i128::from(tick),
            Side::B => self.a.clock.tick(self.b.clock.wall(tick) + self.offset),
        }
    }

    /// Durations of the second trace in ticks of the first.
    fn scale(&self, event: &mut Event<'_>, side: Side) {
        if side == Side::A {
            return;
        }
        match event {
            Event::TaskEnd { busy: ticks, .. } | Event::Stall { ticks, .. } => {
                *ticks = u64::try_from(self.long(i128::from(*ticks))).unwrap_or(u64::MAX);
            }
            Event::CtxCreate {
                deadline: Some(ticks),
                ..
            }
            | Event::CtxCancel {
                due: Some(ticks), ..
            } => {
                let long = self.long(i128::from(*ticks));
                *ticks = i64::try_from(long).unwrap_or(if long < 0 { i64::MIN } else { i64::MAX });
            }
            _ => {}
        }
    }

    /// So many ticks of the second clock, in ticks of the first, by their pace at its beginning.
    fn long(&self, ticks: i128) -> i128 {
        let size = u64::try_from(ticks.unsigned_abs()).unwrap_or(u64::MAX);
        let first = self.b.first_tick;
        let end = first.saturating_add(size);
        let long = self.moved(end, Side::B) - self.moved(first, Side::B);
        if ticks < 0 { -long } else { long }
    }

    fn finish(mut self) -> Result<(u64, u64), Failed> {
        let end = BlockInfo {
            window: 1,
            first_tick: self.last_tick,
            last_tick: self.last_tick,
            ..BlockInfo::new(BlockKind::WindowEnd)
        };
        self.out.begin(end)?;
        for (&thread, &(events, dropped)) in &self.totals {
            let totals = Event::ThreadTotals {
                thread,
                events,
                dropped,
            };
            self.out.push(self.last_tick, &totals)?;
        }
        let written = self.out.events;
        self.out.finish()?;
        Ok((written, self.left_out))
    }
}

impl Answer {
    /// The answer for people. Writing to a string cannot fail.
    fn text(&self, args: &MergeArgs) -> String {
        let mut out = format!("{}: {} events\n", name(&args.output), self.events);
        let aligned = &self.alignment;
        let _ = match aligned.uncertainty_ns {
            None => write!(
                out,
                "the clocks are aligned by the wall clocks alone: nobody knows how well these agree"
            ),
            Some(off) => write!(
                out,
                "the second clock is moved by {} {}, which may be off by {}: {} of {} requests \
                 that both have seen agree",
                duration(aligned.offset_ns.unsigned_abs()),
                if aligned.offset_ns < 0 {
                    "back"
                } else {
                    "forwards"
                },
                duration(off),
                aligned.agreeing,
                aligned.requests
            ),
        };
        if !self.has_snapshots {
            out.push_str(
                "\na trace without snapshots of its clocks counts from its header, by the nominal frequency",
            );
        }
        if self.left_out_events > 0 {
            let _ = write!(out, "\n{} events are left out", self.left_out_events);
        }
        for (word, trace) in [("first", &self.trace_a), ("second", &self.trace_b)] {
            if let Some(warning) = trace.warning() {
                let _ = write!(out, "\nthe {word}: {warning}");
            }
        }
        out
    }
}
