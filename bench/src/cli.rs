//! The command line: what it may say, and what is wrong with it otherwise.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::subject::Subject;

pub(crate) enum Command {
    Help,
    Measure(Options),
    Sample(Sample),
    Clients(Clients),
}

/// What a run was asked for.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Options {
    pub(crate) subject: Subject,
    pub(crate) quick: bool,
    pub(crate) list: bool,
    pub(crate) peers_only: bool,
    pub(crate) instructions: bool,
    pub(crate) patient: bool,
    pub(crate) only: Vec<String>,
    pub(crate) rounds: Option<usize>,
    pub(crate) seed: Option<u64>,
    pub(crate) format: Format,
    pub(crate) into: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Markdown,
}

/// One contender doing one case once: how a run calls this program.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) subject: Subject,
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) quick: bool,
    pub(crate) iterations: Option<u64>,
}

/// The clients of a server under measurement: how a sample calls this program.
#[derive(Debug, PartialEq)]
pub(crate) struct Clients {
    pub(crate) server: SocketAddr,
    /// The only core they may use.
    pub(crate) core: Option<usize>,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        Some("sample") => parse_sample(&mut words).map(Command::Sample),
        Some("clients") => parse_clients(&mut words).map(Command::Clients),
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some(word) => match Subject::parse(word) {
            Some(subject) => parse_options(subject, &mut words),
            None => Err(format!("no command `{word}`")),
        },
        None => Err("a command is missing".to_owned()),
    }
}

fn parse_options<'a>(
    subject: Subject,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<Command, String> {
    let mut options = Options {
        subject,
        quick: false,
        list: false,
        peers_only: false,
        instructions: false,
        patient: false,
        only: Vec::new(),
        rounds: None,
        seed: None,
        format: Format::Text,
        into: None,
    };
    while let Some(word) = words.next() {
        let (flag, mut value) = split(word);
        let mut value = || {
            value
                .take()
                .or_else(|| words.next())
                .ok_or_else(|| format!("{flag} needs a value"))
        };
        match flag {
            "--quick" => options.quick = true,
            "--list" => options.list = true,
            "--peers-only" => options.peers_only = true,
            "--instructions" => options.instructions = true,
            "--patient" => options.patient = true,
            "--only" => options.only.push(value()?.to_owned()),
            "--rounds" => options.rounds = Some(parse_rounds(value()?)?),
            "--seed" => options.seed = Some(number(flag, value()?)?),
            "--format" => options.format = parse_format(value()?)?,
            "--into" => options.into = Some(PathBuf::from(value()?)),
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("{} has no option `{word}`", subject.word())),
        }
        if word.contains('=') && FLAGS_WITHOUT_VALUE.contains(&flag) {
            return Err(format!("{flag} takes no value, got `{word}`"));
        }
    }
    if options.into.is_some() && options.format != Format::Markdown {
        return Err("--into needs --format markdown".to_owned());
    }
    Ok(Command::Measure(options))
}

fn parse_sample<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Sample, String> {
    let mut next = |name: &str| words.next().ok_or_else(|| format!("sample needs a {name}"));
    let subject = next("subject")?;
    let subject =
        Subject::parse(subject).ok_or_else(|| format!("sample has no subject `{subject}`"))?;
    let (case, contender) = (next("case")?.to_owned(), next("contender")?.to_owned());
    let mut sample = Sample {
        subject,
        case,
        contender,
        quick: false,
        iterations: None,
    };
    for word in words {
        match split(word) {
            ("--quick", None) => sample.quick = true,
            ("--iterations", Some(count)) => {
                sample.iterations = Some(number("--iterations", count)?);
            }
            _ => return Err(format!("sample has no option `{word}`")),
        }
    }
    Ok(sample)
}

fn parse_clients<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Clients, String> {
    let server = words.next().ok_or("clients need the address of a server")?;
    let server = server
        .parse()
        .map_err(|_| format!("clients need an address, got `{server}`"))?;
    let mut clients = Clients { server, core: None };
    for word in words {
        match split(word) {
            ("--core", Some(core)) => clients.core = Some(number("--core", core)? as usize),
            _ => return Err(format!("clients have no option `{word}`")),
        }
    }
    Ok(clients)
}

fn split(word: &str) -> (&str, Option<&str>) {
    word.split_once('=')
        .map_or((word, None), |(flag, value)| (flag, Some(value)))
}

fn parse_rounds(text: &str) -> Result<usize, String> {
    match number("--rounds", text)? {
        rounds @ 1..=1_000 => Ok(rounds as usize),
        other => Err(format!("--rounds must be 1 to 1000, got {other}")),
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{flag} needs a whole number, got `{text}`"))
}

fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "markdown" => Ok(Format::Markdown),
        _ => Err(format!(
            "--format must be text, json or markdown, got `{text}`"
        )),
    }
}

const FLAGS_WITHOUT_VALUE: [&str; 7] = [
    "--patient",
    "--quick",
    "--list",
    "--peers-only",
    "--instructions",
    "--help",
    "-h",
];

pub(crate) const USAGE: &str =
    "usage: cargo xtask bench core|http|trace [OPTIONS]   (--help lists them)";

pub(crate) const HELP: &str = "\
Measures ripcord beside its peers.

  core    contexts, beside tokio-util, plain tokio, a plain Vec of wakers and Go's context
  http    propagation beside opentelemetry, serving beside axum and hyper (the latter on Linux)
  trace   recording and reading it, beside dial9 and tokio-metrics

usage: cargo xtask bench core|http|trace [OPTIONS]
       cargo run --release -p ripcord-bench -- core|http|trace [OPTIONS]

  --quick             3 rounds, short batches, large cases a tenth as large
  --only SUBSTRING    only cases whose id or title has it; may be given several times
  --rounds N          samples of each contender in each case (7; --quick 3; --instructions 2)
  --seed N            order of the contenders within the rounds (default: from the clock)
  --peers-only        leave ripcord out
  --patient           on a shared machine: before each sample wait, up to 10 s, for idle cores
  --instructions      count instructions of operations and requests under callgrind, instead of timing
  --format FORMAT     text (default), json or markdown
  --into FILE         with markdown: replace what stands between the markers in FILE
  --list              list the cases, contenders and goals, and measure nothing

Go takes part in core when a `go` is on the PATH. Progress goes to stderr, the tables to stdout.

exit codes: 0 measured (goals may be missed), 1 something could not be measured, 2 bad arguments
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn a_subject_reads_every_option_in_both_forms() {
        let line = "core --quick --only check --only=make --rounds=9 --seed 4 --format markdown --into R.md";
        let Ok(Command::Measure(options)) = parse_line(line) else {
            panic!("{line}")
        };
        assert_eq!(options.subject, Subject::Core);
        assert!(options.quick && !options.list);
        assert_eq!(options.only, ["check", "make"]);
        assert_eq!((options.rounds, options.seed), (Some(9), Some(4)));
        assert_eq!(options.format, Format::Markdown);
        assert_eq!(options.into, Some(PathBuf::from("R.md")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "a command is missing"),
            ("score", "no command `score`"),
            ("core --fast", "core has no option `--fast`"),
            ("http --fast", "http has no option `--fast`"),
            ("core --rounds", "--rounds needs a value"),
            ("core --rounds 0", "--rounds must be 1 to 1000, got 0"),
            ("core --seed x", "--seed needs a whole number, got `x`"),
            ("core --quick=1", "--quick takes no value, got `--quick=1`"),
            (
                "core --format xml",
                "--format must be text, json or markdown, got `xml`",
            ),
            ("core --into R.md", "--into needs --format markdown"),
            ("sample core x", "sample needs a contender"),
            ("sample x", "sample has no subject `x`"),
            ("clients", "clients need the address of a server"),
            ("clients here", "clients need an address, got `here`"),
            ("clients 127.0.0.1:1 -q", "clients have no option `-q`"),
        ];
        for (line, expected) in table {
            assert_eq!(parse_line(line).err().as_deref(), Some(expected), "{line}");
        }
    }
}
