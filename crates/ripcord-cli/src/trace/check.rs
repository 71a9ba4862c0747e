//! `ripcord trace check`: everything that is wrong with a trace, with offsets.
//!
//! A *fault* contradicts the format or the trace itself. A *note* may have a good reason: a recorder
//! that has given up old blocks, for one, has written more events than there are.

use super::args::FileArgs;
use super::error::name;
use super::health::{Health, Listed};
use super::input::Input;
use super::json::json;
use super::plain::plain;
use super::tally::Tally;
use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_trace_format::{Block, BlockKind, Event, FileEnd, Index};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The answer of `ripcord trace check`.
#[derive(Serialize, Debug)]
struct Answer {
    schema: &'static str,
    file: String,
    trace: Health,
    blocks: u64,
    events: u64,
    faults: Listed<Finding>,
    notes: Listed<Finding>,
}

/// Something that does not fit.
#[derive(Serialize, Debug)]
struct Finding {
    /// Of the block, from the beginning of the file.
    offset: u64,
    what: String,
}

/// What has to be remembered from one block to the next.
#[derive(Debug)]
struct Checker {
    tally: Tally,
    blocks: u64,
    /// By what the headers of the blocks say.
    told_events: u64,
    window: u32,
    has_schema: bool,
    is_schema_missed: bool,
    /// Decoded events of each thread in this window; up to a limit.
    found: BTreeMap<u32, u64>,
    faults: Listed<Finding>,
    notes: Listed<Finding>,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read as a trace.
pub(super) fn run(args: &FileArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let input = Input::open(&args.file, printer, args.answer.quiet)?;
    let mut checker = Checker {
        tally: Tally::new(input.header()),
        blocks: 0,
        told_events: 0,
        window: 0,
        has_schema: false,
        is_schema_missed: false,
        found: BTreeMap::new(),
        faults: Listed::new(),
        notes: Listed::new(),
    };
    let trace = input.walk(|block, health| {
        checker.block(block, health);
        Ok::<(), ExpectedError>(())
    })?;
    let answer = Answer {
        schema: "ripcord.trace.check/1",
        file: args.file.to_string_lossy().into_owned(),
        trace,
        blocks: checker.blocks,
        events: checker.tally.events,
        faults: checker.faults,
        notes: checker.notes,
    };
    match args.answer.format {
        Format::Json => printer.result(json(&answer)?),
        Format::Text => printer.result(answer.text(args)),
    }
    Ok(if answer.faults.count > 0 {
        ExitCode::from(8)
    } else {
        answer.trace.exit_code()
    })
}

impl Checker {
    fn fault(&mut self, offset: u64, what: String) {
        self.faults.push(Finding { offset, what });
    }

    fn note(&mut self, offset: u64, what: String) {
        self.notes.push(Finding { offset, what });
    }

    fn block(&mut self, block: &Block<'_>, health: &mut Health) {
        let (info, offset) = (block.info, block.offset);
        let wrong_before = health.wrong.count;
        let decoded = self.tally.add(block, health);
        match info.kind {
            BlockKind::Schema => self.has_schema = true,
            BlockKind::Index => self.index(block),
            BlockKind::FileEnd => self.file_end(block),
            kind if kind.has_events() => {
                if !self.has_schema && !self.is_schema_missed {
                    self.is_schema_missed = true;
                    self.fault(offset, "events stand before the schema".to_owned());
                }
                self.told_events = self.told_events.saturating_add(u64::from(info.events));
                if decoded != u64::from(info.events) && health.wrong.count == wrong_before {
                    let told = info.events;
                    self.fault(
                        offset,
                        format!("the block says {told} events and has {decoded}"),
                    );
                }
                self.order(block);
                if kind == BlockKind::WindowEnd {
                    self.totals(block);
                }
            }
            kind if matches!(kind, BlockKind::Other(_)) => {
                self.note(
                    offset,
                    format!("a block of kind {kind}, which is not known"),
                );
            }
            _ => {}
        }
        self.blocks += 1;
    }

    /// Windows do not go back, nor do the ticks of a block or of a thread.
    fn order(&mut self, block: &Block<'_>) {
        let (info, offset) = (block.info, block.offset);
        if info.window < self.window {
            let before = self.window;
            let window = info.window;
            self.fault(
                offset,
                format!("window {window} comes behind window {before}"),
            );
        } else if info.window > self.window {
            self.window = info.window;
            self.found.clear();
        }
        let last = block.events().flatten().last();
        let last = last.map_or(info.first_tick, |(tick, _)| tick);
        if info.events > 0 && last != info.last_tick {
            let told = info.last_tick;
            self.fault(
                offset,
                format!("the block says it ends at tick {told} and ends at {last}"),
            );
        }
        if info.kind != BlockKind::Events {
            return;
        }
        let thread = self.tally.thread(info.thread);
        let before = std::mem::replace(&mut thread.last_tick, info.last_tick);
        if info.first_tick < before {
            let (number, first) = (info.thread, info.first_tick);
            self.fault(
                offset,
                format!("thread {number} goes back from tick {before} to {first}"),
            );
        }
        if self.found.len() < super::tally::THREADS_MAX || self.found.contains_key(&info.thread) {
            let decoded = block.events().flatten().count() as u64;
            *self.found.entry(info.thread).or_default() += decoded;
        }
    }

    /// What the threads have written, against what is there.
    fn totals(&mut self, block: &Block<'_>) {
        for event in block.events() {
            let Ok((_, Event::ThreadTotals { thread, events, .. })) = event else {
                continue;
            };
            let number = u32::try_from(thread).unwrap_or(u32::MAX);
            let found = self.found.get(&number).copied().unwrap_or(0);
            if found < events {
                self.note(
                    block.offset,
                    format!(
                        "thread {thread} has written {events} events in this window, and {found} are here"
                    ),
                );
            } else if found > events && self.found.len() < super::tally::THREADS_MAX {
                self.fault(
                    block.offset,
                    format!(
                        "thread {thread} says {events} events in this window, and {found} are here"
                    ),
                );
            }
        }
    }

    fn index(&mut self, block: &Block<'_>) {
        let entries = match Index::parse(block.payload) {
            Ok(index) => index,
            Err(error) => return self.fault(block.offset, format!("the index: {error}")),
        };
        let told: u64 = entries
            .entries()
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.events));
        if told != self.told_events {
            let found = self.told_events;
            self.fault(
                block.offset,
                format!("the index says {told} events, the blocks {found}"),
            );
        }
        for entry in entries.entries() {
            let at = self.tally.windows.first.iter();
            let wrong = at
                .filter(|window| window.number == entry.window)
                .all(|window| window.offset != entry.offset);
            let is_listed = self
                .tally
                .windows
                .first
                .iter()
                .any(|w| w.number == entry.window);
            if is_listed && wrong {
                let (window, offset) = (entry.window, entry.offset);
                self.fault(
                    block.offset,
                    format!("the index says that window {window} begins at byte {offset}"),
                );
            }
        }
    }

    fn file_end(&mut self, block: &Block<'_>) {
        let Some(end) = FileEnd::parse(block.payload) else {
            return self.fault(block.offset, "the end block is too short".to_owned());
        };
        for (what, told, found) in [
            ("blocks", end.blocks, self.blocks),
            ("events", end.events, self.told_events),
        ] {
            if told != found {
                self.fault(
                    block.offset,
                    format!("the end says {told} {what}, and {found} are here"),
                );
            }
        }
    }
}

impl Answer {
    /// The answer for people. Writing to a string cannot fail.
    fn text(&self, args: &FileArgs) -> String {
        let mut out = format!(
            "{}: {} blocks, {} events, {} bytes\n",
            name(&args.file),
            self.blocks,
            self.events,
            self.trace.bytes
        );
        if self.trace.is_headless {
            let _ = writeln!(out, "  damaged: the header at byte 0");
        }
        for hole in &self.trace.damage.first {
            let _ = writeln!(
                out,
                "  damaged: {} bytes at byte {} are no block",
                hole.bytes, hole.offset
            );
        }
        more(&mut out, "damaged", self.trace.damage.unlisted());
        for (word, list) in [
            ("skipped", &self.trace.skipped),
            ("wrong", &self.trace.wrong),
        ] {
            for item in &list.first {
                let (kind, why) = (plain(&item.kind), plain(&item.why));
                let _ = writeln!(out, "  {word}: {kind} block at byte {}: {why}", item.offset);
            }
            more(&mut out, word, list.unlisted());
        }
        for (word, list) in [("fault", &self.faults), ("note", &self.notes)] {
            for finding in &list.first {
                let what = plain(&finding.what);
                let _ = writeln!(out, "  {word}: block at byte {}: {what}", finding.offset);
            }
            more(&mut out, word, list.unlisted());
        }
        if self.trace.lost_events > 0 {
            let _ = writeln!(
                out,
                "  note: the recorder has lost {} events",
                self.trace.lost_events
            );
        }
        let is_good = self.faults.count == 0 && self.trace.warning().is_none();
        out.push_str(if is_good { "good: " } else { "not good: " });
        out.push_str(&self.trace.end);
        out
    }
}

fn more(out: &mut String, word: &str, count: u64) {
    if count > 0 {
        let _ = writeln!(out, "  {word}: {count} more");
    }
}
