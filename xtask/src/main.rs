//! The project's own checks, as one program: `cargo xtask <command>`.
//!
//! Exit codes: 0 nothing found, 1 findings, 2 wrong usage or a command that could not do its work.
//! `bench` passes on the exit code of the benchmark.
//!
//! *Read next*: `test/steps.rs` for what is run, `rings.rs` for who may import whom,
//! `tidy/rules.rs` for what is counted. Each command is a file or a folder with its name.

mod bench;
mod conformance;
mod items;
mod layers;
mod lexer;
mod out;
mod rings;
mod source;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::out::{Failure, Format, Sink, Verdict, exit_code};

const HELP: &str = "\
cargo xtask <command>

  test [STEP…] [--keep-going] [--list]  everything that must hold, or only the named steps
  layers                                imports follow the rings
  tidy                                  the conventions hold
  conformance                           every clause of the specification has a test
  bench <subject> [args]                runs a benchmark: `bench core`, `http`, `trace`
  help                                  this text

test, layers, tidy and conformance take `--format json`.
exit codes: 0 nothing found, 1 findings, 2 wrong usage or the command could not do its work";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let result = run(&args);
    if let Err(failure) = &result {
        Sink::Stderr.line(format!("xtask: {failure}"));
    }
    exit_code(&result)
}

fn run(args: &[String]) -> Result<Verdict, Failure> {
    let (command, rest) = match args.split_first() {
        None => return Err(Failure::Usage("name a command".into())),
        Some((command, rest)) => (command.as_str(), rest),
    };
    if matches!(command, "help" | "--help" | "-h") {
        Sink::Stdout.line(HELP);
        return Ok(Verdict::Clean);
    }
    let root = workspace::root()?;
    match command {
        "test" => test::run(&root, rest),
        "bench" => bench::run(&root, rest),
        "layers" => layers::run(&root, only_format(rest)?, Sink::Stdout),
        "tidy" => tidy::run(&root, only_format(rest)?, Sink::Stdout),
        "conformance" => conformance::run(&root, only_format(rest)?, Sink::Stdout),
        other => Err(Failure::Usage(format!("unknown command `{other}`"))),
    }
}

/// Takes `--format text|json` (or `--format=…`) out of the arguments.
fn take_format(args: &[String]) -> Result<(Format, Vec<String>), Failure> {
    let mut format = Format::Text;
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = match arg.strip_prefix("--format") {
            Some("") => args.next().map(String::as_str),
            Some(value) if value.starts_with('=') => value.get(1..),
            _ => {
                rest.push(arg.clone());
                continue;
            }
        };
        format = match value {
            Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => {
                let text = format!("`--format {other}`: there are text and json");
                return Err(Failure::Usage(text));
            }
            None => return Err(Failure::Usage("`--format` lacks text or json".into())),
        };
    }
    Ok((format, rest))
}

fn only_format(args: &[String]) -> Result<Format, Failure> {
    let (format, rest) = take_format(args)?;
    match rest.first() {
        None => Ok(format),
        Some(arg) => Err(Failure::Usage(format!("unexpected argument `{arg}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn the_format_is_taken_from_anywhere() {
        for (args, expect) in [
            (&["--format", "json", "a"][..], Format::Json),
            (&["a", "--format=json"], Format::Json),
            (&["a", "--format", "text"], Format::Text),
            (&["a"], Format::Text),
        ] {
            let (format, rest) = take_format(&strings(args)).unwrap();
            assert_eq!((format, rest), (expect, strings(&["a"])), "{args:?}");
        }
    }

    #[test]
    fn wrong_usage_is_said() {
        for (args, expect) in [
            (&["nope"][..], "unknown command `nope`"),
            (&[], "name a command"),
            (&["tidy", "--fast"], "unexpected argument `--fast`"),
            (&["tidy", "--format"], "`--format` lacks"),
            (&["tidy", "--format", "xml"], "`--format xml`"),
            (&["bench"], "name a benchmark"),
        ] {
            let text = run(&strings(args)).unwrap_err().to_string();
            assert!(text.contains(expect), "{args:?}: {text}");
        }
    }
}
