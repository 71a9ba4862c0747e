//! `ripcord trace recover`: a closed trace of all the good blocks of one that is not whole.
//!
//! Blocks are copied as they are, so that nothing is lost that could be read, also of versions that
//! this program does not know. Index and end are made anew; compressed blocks are stored plain.
//!
//! Of a ring file, in which a recorder has left its memory, the trace is made in `ring.rs`.

use super::args::CopyArgs;
use super::error::name;
use super::health::Health;
use super::input::Input;
use super::json::json;
use super::output::{self, Failed};
use super::ring::{self, Ring};
use super::tally::Tally;
use crate::args::Format;
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use ripcord_trace_format::{Block, BlockKind, ClockKind, FileHeader, MINOR, Schema, Writer};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// The answer of `ripcord trace recover`.
#[derive(Serialize, Debug)]
struct Answer {
    schema: &'static str,
    file: String,
    output: String,
    /// How the original is.
    trace: Health,
    blocks: u64,
    events: u64,
    /// Where the header of the copy comes from: `file`, `clocks` (two snapshots gave the
    /// frequency) or `guess` (a tick is taken for a nanosecond).
    header: &'static str,
    /// Of a ring file: who has left it, and what it had no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<Ring>,
}

/// Runs the command. That the original is damaged is what it is for, and no reason to fail.
///
/// # Errors
/// The trace cannot be read at all, or the copy cannot be written.
pub(super) fn run(args: &CopyArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let of = &args.of;
    if let Some(file) = ring::open(&of.file)? {
        return run_ring(args, file, printer);
    }
    let input = Input::open(&of.file, printer, of.answer.quiet)?;
    let (header, source) = match input.header() {
        Some(header) => (header.clone(), "file"),
        None => guessed(Input::open(&of.file, printer, of.answer.quiet)?)?,
    };
    let (trace, blocks, events) = output::create(&args.output, |out| recover(input, &header, out))?;
    let answer = Answer {
        schema: "ripcord.trace.recover/1",
        file: of.file.to_string_lossy().into_owned(),
        output: args.output.to_string_lossy().into_owned(),
        trace,
        blocks,
        events,
        header: source,
        ring: None,
    };
    answer.show(args, printer)?;
    Ok(exit::OK)
}

/// The same for a ring file.
fn run_ring(
    args: &CopyArgs,
    file: ring::Open,
    printer: &Printer,
) -> Result<ExitCode, ExpectedError> {
    let of = &args.of;
    let (trace, ring, blocks, events) =
        output::create(&args.output, |out| file.recover(&of.file, out))?;
    let answer = Answer {
        schema: "ripcord.trace.recover/1",
        file: of.file.to_string_lossy().into_owned(),
        output: args.output.to_string_lossy().into_owned(),
        trace,
        blocks,
        events,
        header: "file",
        ring: Some(ring),
    };
    answer.show(args, printer)?;
    Ok(exit::OK)
}

/// A header for a trace that has lost its own. Two snapshots of the clocks say how long a tick is.
fn guessed(input: Input<'_>) -> Result<(FileHeader, &'static str), ExpectedError> {
    let mut tally = Tally::new(None);
    input.walk(|block, health| {
        tally.add(block, health);
        Ok::<(), ExpectedError>(())
    })?;
    // So many ticks are long enough for nine digits of a frequency.
    let measured = tally.clocks.nanoseconds(1_000_000_000).filter(|ns| *ns > 0);
    Ok(match measured {
        Some(ns) => {
            let hertz = 1_000_000_000_u128 * 1_000_000_000 / u128::from(ns);
            let hertz = u64::try_from(hertz).unwrap_or(u64::MAX);
            (FileHeader::new(ClockKind::Monotonic, 0, hertz), "clocks")
        }
        None => (
            FileHeader::new(ClockKind::Monotonic, 0, 1_000_000_000),
            "guess",
        ),
    })
}

fn recover(
    input: Input<'_>,
    header: &FileHeader,
    out: &mut impl Write,
) -> Result<(Health, u64, u64), Failed> {
    let mut out = Some(out);
    let mut copy = None;
    let (mut blocks, mut events) = (0, 0);
    let mut begin = |schema: &str, header: &FileHeader| -> Result<_, Failed> {
        let out = out.take();
        let writer = out.map(|out| Writer::with_schema(out, header, schema));
        Ok(writer.transpose()?)
    };
    let health = input.walk(|block: &Block<'_>, _: &mut Health| -> Result<(), Failed> {
        let kind = block.info.kind;
        if matches!(kind, BlockKind::Index | BlockKind::FileEnd) {
            return Ok(());
        }
        let schema = (kind == BlockKind::Schema).then(|| str::from_utf8(block.payload).ok());
        if copy.is_none() {
            let text = match schema.flatten() {
                Some(text) => text.to_owned(),
                None => lost_schema(header),
            };
            copy = begin(&text, header)?;
            if schema.is_some() {
                blocks += 1;
                return Ok(());
            }
        }
        if let Some(copy) = &mut copy {
            copy.block(block.info, block.payload)?;
            blocks += 1;
            events += u64::from(block.info.events);
        }
        Ok(())
    })?;
    if copy.is_none() {
        copy = begin(&lost_schema(header), header)?;
    }
    if let Some(copy) = copy {
        copy.finish()?;
    }
    Ok((health, blocks, events))
}

/// The schema of a trace that has lost it: this version's, unless the trace is of a newer one, whose
/// events nobody can decode without its own.
fn lost_schema(header: &FileHeader) -> String {
    if header.minor > MINOR {
        String::new()
    } else {
        Schema::current_text()
    }
}

impl Answer {
    fn show(&self, args: &CopyArgs, printer: &Printer) -> Result<(), ExpectedError> {
        match args.of.answer.format {
            Format::Json => printer.result(json(self)?),
            Format::Text => printer.result(self.text(args)),
        }
        Ok(())
    }

    fn text(&self, args: &CopyArgs) -> String {
        let mut text = format!(
            "{}: {} blocks with {} events",
            name(&args.output),
            self.blocks,
            self.events
        );
        text.push_str(match self.header {
            "file" => "",
            "clocks" => "; the header was lost, and its clock is told from two snapshots",
            _ => "; the header was lost, and a tick is taken for a nanosecond",
        });
        if let Some(ring) = &self.ring {
            text.push_str(&ring.text());
        }
        match self.trace.warning() {
            None if self.ring.is_some() => {}
            None => text.push_str("\nthe original was complete"),
            Some(warning) => {
                text.push('\n');
                text.push_str(&warning);
            }
        }
        text
    }
}
