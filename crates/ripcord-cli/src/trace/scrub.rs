//! `ripcord trace scrub`: a copy that can be shown to strangers.
//!
//! It is a list of what may stay, not of what must go: an event, a block or an argument that this
//! file does not name is left out, so that what a newer version adds cannot slip through.
//!
//! | What | Becomes |
//! |---|---|
//! | ids, slots, ticks, kinds, numbers | themselves |
//! | names of tasks, jobs, contexts, threads, pieces of work, labels | `name-1`, `name-2`, …: the same name, the same pseudonym |
//! | messages of causes, logs | empty |
//! | tags | left out |
//! | places in the source | `file-1:1`, …, unless they are kept |
//! | await stacks | empty, unless they are kept |
//! | name and id of the program | left out; the time of the start stays |

use super::args::ScrubArgs;
use super::error::name;
use super::health::Health;
use super::input::{Input, events};
use super::json::json;
use super::output::{self, Failed};
use super::rewrite::Rewriter;
use crate::args::Format;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use ripcord_trace_format::{BlockInfo, ClockKind, Event, FileHeader};
use serde::Serialize;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::process::ExitCode;

/// The answer of `ripcord trace scrub`.
#[derive(Serialize, Debug)]
struct Answer {
    schema: &'static str,
    file: String,
    output: String,
    trace: Health,
    events: u64,
    /// Different names that have a pseudonym.
    pseudonyms: usize,
    /// Tags, and events of types that this version does not know.
    left_out_events: u64,
    has_locations: bool,
}

/// Runs the command.
///
/// # Errors
/// The trace cannot be read, or the copy cannot be written.
pub(super) fn run(args: &ScrubArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let of = &args.copy.of;
    let input = Input::open(&of.file, printer, of.answer.quiet)?;
    let mut scrubber = Scrubber {
        keeps_locations: args.keep_locations,
        ..Scrubber::default()
    };
    let (trace, written) =
        output::create(&args.copy.output, |out| scrub(input, &mut scrubber, out))?;
    let answer = Answer {
        schema: "ripcord.trace.scrub/1",
        file: of.file.to_string_lossy().into_owned(),
        output: args.copy.output.to_string_lossy().into_owned(),
        trace,
        events: written,
        pseudonyms: scrubber.names.len() + scrubber.files.len(),
        left_out_events: scrubber.left_out,
        has_locations: args.keep_locations,
    };
    match of.answer.format {
        Format::Json => printer.result(json(&answer)?),
        Format::Text => {
            printer.result(format_args!(
                "{}: {} events, {} pseudonyms; {} events are left out",
                name(&args.copy.output),
                answer.events,
                answer.pseudonyms,
                answer.left_out_events
            ));
            if let Some(warning) = answer.trace.warning() {
                printer.note(warning);
            }
        }
    }
    Ok(answer.trace.exit_code())
}

fn scrub(
    input: Input<'_>,
    scrubber: &mut Scrubber,
    out: &mut impl Write,
) -> Result<(Health, u64), Failed> {
    let header = input.header().map_or_else(
        || FileHeader::new(ClockKind::Monotonic, 0, 0),
        |header| {
            FileHeader::new(header.clock, header.shift, header.frequency).started(0, header.wall_ns)
        },
    );
    let mut copy = Rewriter::new(out, &header)?;
    let health = input.walk(|block, health| -> Result<(), Failed> {
        if !block.info.kind.has_events() {
            return Ok(());
        }
        copy.begin(BlockInfo {
            events: 0,
            ..block.info
        })?;
        events(block, health, |tick, event| {
            match scrubber.scrubbed(event) {
                Some(event) => copy.push(tick, &event)?,
                None => scrubber.left_out += 1,
            }
            Ok(())
        })
    })?;
    let written = copy.events;
    copy.finish()?;
    Ok((health, written))
}

/// Gives pseudonyms.
///
/// # Costs
/// 16 bytes for each name: it keeps a hash of it. Two names of a trace would have to share one of
/// 2^64 hashes to share a pseudonym.
#[derive(Debug, Default)]
struct Scrubber {
    names: HashMap<u64, usize>,
    files: HashMap<u64, usize>,
    locations: u64,
    left_out: u64,
    keeps_locations: bool,
    /// The pseudonym that was given last.
    text: String,
}

impl Scrubber {
    /// What may be seen of an event; `None` if nothing may.
    fn scrubbed<'a>(&'a mut self, event: &Event<'a>) -> Option<Event<'a>> {
        let mut event = *event;
        match &mut event {
            Event::TaskSpawn { name, .. }
            | Event::TaskEnd { name, .. }
            | Event::CtxCreate { name, .. }
            | Event::CtxEnd { name, .. }
            | Event::JobQueued { name, .. }
            | Event::JobEnd { name, .. }
            | Event::ThreadStart { name, .. }
            | Event::UserTaskBegin { name, .. } => *name = self.name(name),
            Event::Label { text, .. } => *text = self.name(text),
            Event::CtxCancel { message, .. } => *message = "",
            Event::Log { text } => *text = "",
            Event::Stack { text, .. } if !self.keeps_locations => *text = "",
            Event::Location {
                file, line, column, ..
            } if !self.keeps_locations => {
                self.locations += 1;
                (*line, *column) = (self.locations, 1);
                *file = self.file(file);
            }
            Event::Stack { .. }
            | Event::Location { .. }
            | Event::PollStart { .. }
            | Event::PollPending { .. }
            | Event::PollYield {}
            | Event::PollPreempt {}
            | Event::PollReady {}
            | Event::PollLost {}
            | Event::PollListening { .. }
            | Event::TaskLost { .. }
            | Event::TaskCtx { .. }
            | Event::Wake { .. }
            | Event::CtxSeen { .. }
            | Event::CtxVain { .. }
            | Event::RegionBegin { .. }
            | Event::RegionEnd {}
            | Event::UserTaskEnd { .. }
            | Event::Park {}
            | Event::Unpark {}
            | Event::ThreadStop {}
            | Event::Stall { .. }
            | Event::JobStart { .. }
            | Event::Dropped { .. }
            | Event::Clock { .. }
            | Event::Metric { .. }
            | Event::ThreadTotals { .. } => {}
            _ => return None,
        }
        Some(event)
    }

    /// The pseudonym of a name; nothing stays nothing.
    fn name(&mut self, name: &str) -> &str {
        pseudonym(&mut self.names, "name", name, &mut self.text)
    }

    fn file(&mut self, name: &str) -> &str {
        pseudonym(&mut self.files, "file", name, &mut self.text)
    }
}

fn pseudonym<'t>(
    known: &mut HashMap<u64, usize>,
    word: &str,
    name: &str,
    text: &'t mut String,
) -> &'t str {
    text.clear();
    if !name.is_empty() {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let next = known.len() + 1;
        let number = known.entry(hasher.finish()).or_insert(next);
        // Writing to a string cannot fail.
        let _ = write!(text, "{word}-{number}");
    }
    text
}
