//! What can be asked of a trace.

use super::error::HELP;
use crate::args::Format;
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// The arguments of `ripcord trace`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    pub(crate) command: TraceCommand,
}

#[derive(Subcommand, Debug)]
#[command(after_help = HELP)]
pub(crate) enum TraceCommand {
    /// Shows what a trace holds: header, windows, threads, events by type, losses, and its end
    #[command(after_help = HELP)]
    Info(FileArgs),
    /// Reads every block and every event, and lists what is damaged, missing or out of order
    #[command(after_help = HELP)]
    Check(FileArgs),
    /// Lists tasks by where they were spawned: polls, busy and waiting time
    #[command(after_help = HELP)]
    Tasks(ListArgs),
    /// Shows the tree of contexts: budgets, who shortened them, and how they ended
    #[command(after_help = HELP)]
    Contexts(ListArgs),
    /// Shows how the deadlines of requests shrink from hop to hop, and what each hop uses
    #[command(after_help = HELP)]
    Budgets(BudgetArgs),
    /// Lists what went on after its context had ended, and where it waited without listening
    #[command(after_help = HELP)]
    Ghosts(ListArgs),
    /// Says why a request was late: who held it, where, and for how long
    #[command(after_help = HELP)]
    Explain(ExplainArgs),
    /// Says what the end of a request or a task waited for: the chain of polls, queues and waits
    #[command(after_help = HELP)]
    CriticalPath(PathArgs),
    /// Compares two traces by where tasks were spawned
    #[command(after_help = HELP)]
    Diff(DiffArgs),
    /// Writes a trace in another form: text, or that of another tool
    #[command(after_help = HELP)]
    Export(ExportArgs),
    /// Writes a copy without names, messages, tags and logs, to be shown to strangers
    #[command(after_help = HELP)]
    Scrub(ScrubArgs),
    /// Writes a closed copy of what is left of a damaged or truncated trace
    #[command(after_help = HELP)]
    Recover(CopyArgs),
    /// Writes the traces of two processes as one, on one clock
    #[command(after_help = HELP)]
    Merge(MergeArgs),
    /// Runs a program that is built with ripcord, and has it write a trace
    #[command(after_help = HELP)]
    Record(RecordArgs),
}

/// How answers are given.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The form of the answer: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,

    /// Shows no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// A question about one trace.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The trace
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// A trace that becomes another one.
#[derive(Args, Debug)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    pub(crate) of: FileArgs,

    /// The file to write, which must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    pub(crate) copy: CopyArgs,

    /// Keeps files and lines of the source, and the functions in await stacks
    #[arg(long)]
    pub(crate) keep_locations: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MergeArgs {
    /// The trace whose clock counts
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,

    /// The trace that is put beside it
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,

    /// The file to write, which must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The form to write
    #[arg(value_enum, value_name = "FORM")]
    pub(crate) form: Form,

    /// The trace
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The file or folder to write, which must not exist; without it, forms of text go to standard
    /// output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// A form that a trace can be written in.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// The text twin: a line for each event
    Text,
    /// For `ui.perfetto.dev` and Perfetto's trace processor; needs `--output`
    Perfetto,
    /// JSON for `chrome://tracing`, Speedscope and others
    Chrome,
    /// Contexts and tasks as OpenTelemetry spans, in JSON, a batch per line
    Otlp,
    /// Tables for `DuckDB` and data frames, in a new folder; needs `--output`
    Parquet,
}

#[derive(Args, Debug)]
pub(crate) struct RecordArgs {
    /// The trace to write, which must not exist
    #[arg(long, short, value_name = "FILE", default_value = "trace.ript")]
    pub(crate) output: PathBuf,

    /// What is recorded: `full`, or `sampled:N` (one request in N)
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<String>,

    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) program: Vec<OsString>,
}

/// A question whose answer is a list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) of: FileArgs,

    /// How many rows of each list are shown; JSON has all of them
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct BudgetArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,

    /// The request, as with `explain`; without it, all of them by hop
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) of: FileArgs,

    /// The request: its id, another tag of its context, or the number of the context; without it, the
    /// latest of all
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,

    /// How many are explained if no request is named
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = worst)]
    pub(crate) worst: usize,

    /// From how many milliseconds on something is late
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub(crate) late_ms: u64,
}

#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    #[command(flatten)]
    pub(crate) of: FileArgs,

    /// The request, as with `explain`; without it, the latest of all
    #[arg(long, value_name = "ID", conflicts_with = "task")]
    pub(crate) request: Option<String>,

    /// The number of a task or a job
    #[arg(long, value_name = "NUMBER")]
    pub(crate) task: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The trace from before
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,

    /// The trace from after
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,

    /// How many sites are shown; JSON has all of them
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) limit: usize,

    #[command(flatten)]
    pub(crate) answer: Answer,
}

impl From<ExplainArgs> for TraceCommand {
    fn from(args: ExplainArgs) -> Self {
        Self::Explain(args)
    }
}

/// What is kept in full is bounded.
fn worst(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "a number from 1 to 10000 is wanted".to_owned())
}

/// Refuses here what the recorder would otherwise refuse in the program, where nobody looks.
fn mode(text: &str) -> Result<String, String> {
    let is_known = match text.split_once(':') {
        None => text == "full",
        Some((how, number)) => how == "sampled" && number.parse::<u64>().is_ok_and(|n| n > 0),
    };
    if is_known {
        Ok(text.to_owned())
    } else {
        Err("there are full, and sampled:N with N from 1".to_owned())
    }
}
