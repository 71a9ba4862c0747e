//! One sample, from both sides: the process that measures, and the one that waits for it.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::case::{Case, Contender, Kind, Program, Readings};
use crate::go::Go;
use crate::plan::Plan;
use crate::{Stop, cli, out};

/// Measures in this process, and prints lines of `metric value`.
pub(crate) fn run(sample: &cli::Sample) -> Result<(), Stop> {
    let cases = sample.subject.catalogue();
    let found = cases
        .iter()
        .find(|case| case.id == sample.case)
        .and_then(|case| {
            let contender = case
                .contenders
                .iter()
                .find(|one| one.name == sample.contender)?;
            Some((case, contender.program))
        });
    let Some((case, Program::Rust(measure))) = found else {
        return Err(Stop::Usage(format!(
            "no sample of `{}` by `{}` in {}",
            sample.case,
            sample.contender,
            sample.subject.word()
        )));
    };
    let plan = Plan::new(
        case.kind,
        case.size_for(sample.quick),
        sample.quick,
        sample.iterations,
    )
    .map_err(|error| Stop::Failed(format!("failed to start the runtime: {error}")))?;
    let readings = {
        let _entered = plan.runtime.enter();
        measure(&plan)
    };
    // A million tasks that nobody will read anything from need not be taken apart.
    plan.runtime.shutdown_background();
    out::result(&readings.to_string()).map_err(Stop::Failed)
}

/// The command that makes one sample.
pub(crate) fn command(
    options: &cli::Options,
    case: &Case,
    contender: &Contender,
    go: Option<&Go>,
) -> Result<Command, String> {
    let quick = options.quick;
    match (contender.program, go) {
        (Program::Go, Some(go)) => {
            Ok(go.sample(case.id, contender.name, case.size_for(quick), quick))
        }
        (Program::Go, None) => Err("Go takes no part".to_owned()),
        (Program::Missing(why), _) => Err(why.to_owned()),
        (Program::Rust(_), _) => {
            let program = std::env::current_exe()
                .map_err(|error| format!("no path to this program: {error}"))?;
            let mut command = Command::new(program);
            command.args(["sample", options.subject.word(), case.id, contender.name]);
            // A failed sample is told in one line.
            command.env("RUST_BACKTRACE", "0");
            command.args(quick.then_some("--quick"));
            Ok(command)
        }
    }
}

/// Runs a sample's command to its end.
pub(crate) fn readings(mut command: Command, kind: Kind) -> Result<Readings, String> {
    let (stdout, _) = output(&mut command, kind)?;
    Readings::parse(&stdout).map_err(|message| format!("unreadable sample: {message}"))
}

/// What `command` wrote to stdout and stderr; an error when it fails or takes too long.
pub(crate) fn output(command: &mut Command, kind: Kind) -> Result<(String, String), String> {
    let limit = match kind {
        Kind::Micro | Kind::TwoThreads => Duration::from_secs(60),
        Kind::Scene | Kind::Served => Duration::from_secs(120),
        Kind::Heavy => Duration::from_secs(400),
    };
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("did not start: {error}"))?;
    // Threads that block on the pipes, so that waiting costs the measured process nothing.
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let Ok(stdout) = stdout.recv_timeout(limit) else {
        end(&mut child);
        return Err(format!("gave no result within {} s", limit.as_secs()));
    };
    let status = child.wait().map_err(|error| format!("was lost: {error}"))?;
    let stderr = stderr.recv().unwrap_or_default();
    if status.success() {
        return Ok((stdout, stderr));
    }
    Err(format!("{status}: {}", last_words(&stderr)))
}

/// What a failed sample said: of a panic its place and its message, and of anything else as much.
fn last_words(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note:"));
    lines.take(2).collect::<Vec<&str>>().join(" ")
}

/// Ends a sample that hangs. Only ever the process that was started above.
fn end(child: &mut Child) {
    // It fails when the process has just ended by itself, which is as good.
    let _ = child.kill();
    let _ = child.wait();
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        // Nobody waits for the output of a sample that was given up.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
