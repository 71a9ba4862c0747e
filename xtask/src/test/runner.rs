//! Starts cargo for a step: tools, flags and environment, and the reading of its output.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::out::{Failure, Sink};
use crate::test::counts::Counts;
use crate::test::steps::{Cargo, Output};
use crate::workspace;

/// How a run of cargo ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) counts: Counts,
}

/// Runs cargo as `plan` says, with its output on `sink` and on standard error.
///
/// # Errors
/// When cargo cannot be started, or a component is missing and cannot be installed.
pub(crate) fn run(root: &Path, plan: &Cargo, sink: Sink) -> Result<Ended, Failure> {
    if let Some(component) = plan.component {
        ensure_component(root, plan.args[0], component)?;
    }
    let mut command = workspace::cargo(root);
    command.args(arguments(root, plan));
    command.envs(plan.env.iter().copied());
    if let Some(prepare) = plan.prepare {
        command.envs(prepare(root)?);
    }
    if let Some(cfg) = plan.cfg {
        let flags = with_cfg(std::env::var_os("RUSTFLAGS"), cfg);
        command.env("RUSTFLAGS", flags);
        command.arg("--target-dir").arg(target_dir(root, cfg)?);
    }
    match plan.output {
        Output::Shown => shown(command, sink),
        Output::Counted => counted(command, sink),
        Output::Json => json(command),
    }
}

fn arguments(root: &Path, plan: &Cargo) -> &'static [&'static str] {
    match plan.nextest {
        Some(args) if answers(workspace::cargo(root).args(["nextest", "--version"])) => args,
        _ => plan.args,
    }
}

/// Whether a program starts and succeeds; what it prints is not shown.
pub(crate) fn answers(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Installs a component of the toolchain if its subcommand is missing.
fn ensure_component(root: &Path, subcommand: &str, component: &str) -> Result<(), Failure> {
    let has = || answers(workspace::cargo(root).args([subcommand, "--version"]));
    if has() {
        return Ok(());
    }
    Sink::Stderr.line(format!(
        "installing {component}: rustup component add {component}"
    ));
    let added = Command::new("rustup")
        .args(["component", "add", component])
        .current_dir(root)
        .status()
        .is_ok_and(|status| status.success());
    if added && has() {
        return Ok(());
    }
    Err(Failure::Broken(format!(
        "{component} is missing; install it with `rustup component add {component}`"
    )))
}

/// The flags that the user has set, and the cfg.
pub(crate) fn with_cfg(flags: Option<OsString>, cfg: &str) -> OsString {
    let mut flags = flags.unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(format!("--cfg {cfg}"));
    flags
}

/// A target folder of its own, as other flags would rebuild everything at each change of step.
pub(crate) fn target_dir(root: &Path, cfg: &str) -> Result<OsString, Failure> {
    let name = cfg.strip_prefix("ripcord_").unwrap_or(cfg);
    Ok(workspace::target_dir(root)?.join(name).into_os_string())
}

fn start(command: &mut Command) -> Result<Child, Failure> {
    command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Failure::Broken(format!("cannot start cargo: {error}")))
}

/// Waits for the child; without counts.
fn finish(mut child: Child) -> Result<Ended, Failure> {
    let status = child
        .wait()
        .map_err(|error| Failure::Broken(format!("lost cargo: {error}")))?;
    Ok(Ended {
        success: status.success(),
        counts: Counts::default(),
    })
}

fn shown(mut command: Command, sink: Sink) -> Result<Ended, Failure> {
    if sink == Sink::Stderr {
        command.stdout(std::io::stderr());
    }
    finish(start(&mut command)?)
}

/// Shows both streams line by line while they come, and adds up the results in them.
fn counted(mut command: Command, sink: Sink) -> Result<Ended, Failure> {
    if std::io::stderr().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        // A pipe would switch the colours off.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let counts = std::thread::scope(|scope| {
        let on_stderr =
            scope.spawn(|| stderr.map(|stream| copy(stream, |line| Sink::Stderr.raw(line))));
        let mut counts = stdout
            .map(|stream| copy(stream, |line| sink.raw(line)))
            .unwrap_or_default();
        counts += on_stderr.join().ok().flatten().unwrap_or_default();
        counts
    });
    let mut ended = finish(child)?;
    // A filter or a cfg that fits nothing must not look like a success.
    if ended.success && counts.passed + counts.failed == 0 {
        Sink::Stderr.line("no test was run; does the step still find its tests?");
        ended.success = false;
    }
    ended.counts = counts;
    Ok(ended)
}

fn copy(stream: impl Read, mut show: impl FnMut(&[u8])) -> Counts {
    let mut counts = Counts::default();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        show(&line);
        counts += Counts::of_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    counts
}

/// Collects standard output and checks that it is JSON; standard error is shown.
fn json(mut command: Command) -> Result<Ended, Failure> {
    let mut child = start(command.stdout(Stdio::piped()))?;
    let mut text = Vec::new();
    if let Some(mut stream) = child.stdout.take() {
        stream
            .read_to_end(&mut text)
            .map_err(|error| Failure::Broken(format!("cannot read the output: {error}")))?;
    }
    let mut ended = finish(child)?;
    if let (true, Err(reason)) = (ended.success, check_json(&text)) {
        Sink::Stderr.line(format!("standard output is not JSON: {reason}"));
        ended.success = false;
    }
    Ok(ended)
}

/// One JSON value or several, one after the other.
fn check_json(text: &[u8]) -> Result<(), String> {
    let mut count = 0;
    for value in serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>() {
        value.map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        return Err("it is empty".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cfg_is_added_to_the_users_flags() {
        assert_eq!(with_cfg(None, "ripcord_loom"), "--cfg ripcord_loom");
        let own = Some("-C target-cpu=native".into());
        assert_eq!(
            with_cfg(own, "ripcord_loom"),
            "-C target-cpu=native --cfg ripcord_loom"
        );
    }

    #[test]
    fn json_may_be_one_value_or_lines() {
        assert!(check_json(b"{\"a\": 1}\n").is_ok());
        assert!(check_json(b"{}\n{}\n[1]\n").is_ok());
        assert_eq!(check_json(b"\n").unwrap_err(), "it is empty");
        assert!(check_json(b"{}\nhello\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn output_is_counted_while_it_is_copied() {
        let text: &[u8] = b"running\ntest result: ok. 2 passed; 0 failed; 1 ignored\n\xff\n";
        let mut shown = Vec::new();
        let counts = copy(text, |line| shown.extend_from_slice(line));
        assert_eq!(shown, text);
        assert_eq!((counts.passed, counts.skipped), (2, 1));
    }
}
