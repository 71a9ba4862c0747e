//! What can be asked on the command line.

use crate::demo::Fault;
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use crate::trace::{self, ExplainArgs, TraceArgs};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use std::str::FromStr;

#[derive(Parser, Debug)]
#[command(name = "ripcord", version, about = ABOUT, after_help = exit::HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs an order service under load, injects the classic faults, and reports what did not stop
    Demo(DemoArgs),
    /// Looks into trace files: what happened, what was late and why, and other tools' formats
    Trace(TraceArgs),
    /// Says why a request was late; short for `ripcord trace explain`
    #[command(after_help = trace::HELP)]
    Explain(ExplainArgs),
}

/// The flags of `ripcord demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP_DEMO)]
pub(crate) struct DemoArgs {
    /// How many seconds the load lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// How many clients send requests, one at a time each
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,

    /// How many requests are sent each second at the most
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Decides which request gets which fault
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Port of the gateway on 127.0.0.1; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,

    /// A fault to inject; repeat it for several. Also `all` and `none` [default: all]
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<FaultArg>,

    /// Lists the faults and ends
    #[arg(long)]
    pub(crate) list_faults: bool,

    /// Sends spans, metrics and access logs to an OTLP collector, as `http://127.0.0.1:4318`; over
    /// HTTP unless `OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,

    /// The form of the report: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,

    /// Shows no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    // Its schema is docs/schema/demo-report.schema.json.
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FaultArg {
    All,
    None,
    One(Fault),
}

impl FromStr for FaultArg {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Fault::named(name).map(Self::One).ok_or_else(|| {
                let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                format!(
                    "no fault has this name; there are all, none, {}",
                    names.join(", ")
                )
            }),
        }
    }
}

impl DemoArgs {
    /// The faults that were asked for, in the order of [`Fault::ALL`].
    ///
    /// # Errors
    /// `none` beside another one.
    pub(crate) fn faults(&self) -> Result<Vec<Fault>, ExpectedError> {
        let has = |arg| self.faults.contains(&arg);
        if has(FaultArg::None) {
            if self.faults.iter().any(|arg| *arg != FaultArg::None) {
                return Err(ExpectedError::Usage {
                    message: "`--fault none` excludes every other `--fault`".to_owned(),
                    help: HELP_DEMO,
                });
            }
            return Ok(Vec::new());
        }
        let is_all = self.faults.is_empty() || has(FaultArg::All);
        let faults = Fault::ALL.into_iter();
        Ok(faults
            .filter(|fault| is_all || has(FaultArg::One(*fault)))
            .collect())
    }
}

/// Reads the command line; `None` if it only asked for help.
///
/// # Errors
/// Whatever is wrong with it, in one line.
pub(crate) fn read(printer: &Printer) -> Result<Option<Command>, ExpectedError> {
    let error = match Args::try_parse() {
        Ok(args) => return Ok(Some(args.command)),
        Err(error) => error,
    };
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        printer.result(error.to_string().trim_end());
        return Ok(None);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(ExpectedError::Usage {
            message: format!("no command is given; there is {}", commands_here()),
            help: help_here(),
        });
    }
    Err(ExpectedError::Usage {
        message: in_one_line(&error.to_string()),
        help: help_here(),
    })
}

/// The page of help that belongs to what was typed.
fn help_here() -> &'static str {
    let command = std::env::args_os().nth(1).unwrap_or_default();
    match command.to_str() {
        Some("demo") => HELP_DEMO,
        Some("trace" | "explain") => HELP_TRACE,
        _ => HELP,
    }
}

/// The commands that may follow what was typed.
fn commands_here() -> &'static str {
    if help_here() == HELP_TRACE {
        "`info`, `check`, `explain` and others"
    } else {
        "`demo`, `trace` and `explain`"
    }
}

/// clap's message without its usage and its pointers to help.
fn in_one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let wanted = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    let line = wanted.collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ")
        .map_or_else(|| line.clone(), str::to_owned)
}

const ABOUT: &str = "Request context for Rust services: see what did not stop";
const HELP: &str = "ripcord --help";
const HELP_DEMO: &str = "ripcord demo --help";
const HELP_TRACE: &str = "ripcord trace --help";

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(args: &[&str]) -> Result<usize, String> {
        let all = ["ripcord", "demo"].iter().chain(args);
        let args = Args::try_parse_from(all).map_err(|error| in_one_line(&error.to_string()))?;
        let Command::Demo(demo) = args.command else {
            return Err("another command".to_owned());
        };
        let faults = demo.faults().map_err(|error| error.to_string())?;
        Ok(faults.len())
    }

    #[test]
    fn faults_are_named_all_or_none() {
        for (args, expect) in [
            (&[][..], 12),
            (&["--fault", "all"], 12),
            (&["--fault", "none"], 0),
            (&["--fault", "signal", "--fault", "hang-up"], 2),
            (&["--fault", "signal", "--fault", "all"], 12),
        ] {
            assert_eq!(faults(args), Ok(expect), "{args:?}");
        }
        assert!(faults(&["--fault", "none", "--fault", "signal"]).is_err());
    }

    #[test]
    fn a_wrong_value_is_one_line() {
        for args in [
            &["--fault", "earthquake"][..],
            &["--seconds", "0"],
            &["--format", "yaml"],
            &["--loud"],
        ] {
            let error = faults(args).unwrap_err();
            assert!(!error.contains('\n') && error.contains(args[0]), "{error}");
        }
    }
}
