//! `cargo xtask bench <subject> [args]`: runs a benchmark of `bench/` in release mode.
//!
//! The subject and everything after it go to the program unchanged, and its exit code comes back.
//! `trace` is built with `--cfg ripcord_dial9`, into a target folder of its own, together with the
//! program `ripcord`, whose demo it records.

use std::path::Path;
use std::process::Command;

use crate::out::{Failure, Verdict};
use crate::test::{target_dir, with_cfg};
use crate::workspace;

/// Runs the command.
///
/// # Errors
/// When no subject is given or cargo cannot be started.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<Verdict, Failure> {
    let run = cargo_args(args)?;
    if args.first().is_none_or(|subject| subject != "trace") {
        return finish(workspace::cargo(root).args(run));
    }
    let with_peer = || -> Result<Command, Failure> {
        let mut command = workspace::cargo(root);
        command.env("RUSTFLAGS", with_cfg(std::env::var_os("RUSTFLAGS"), PEER));
        command.env("CARGO_TARGET_DIR", target_dir(root, PEER)?);
        Ok(command)
    };
    match finish(with_peer()?.args(BUILD_DEMO))? {
        Verdict::Clean => finish(with_peer()?.args(run)),
        failed => Ok(failed),
    }
}

fn finish(command: &mut Command) -> Result<Verdict, Failure> {
    let status = command
        .status()
        .map_err(|error| Failure::Broken(format!("cannot start cargo: {error}")))?;
    if status.success() {
        return Ok(Verdict::Clean);
    }
    // A signal has no code; it is a failure all the same.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Verdict::Child(code.unwrap_or(1)))
}

/// A peer that needs a newer Rust than everything else.
const PEER: &str = "ripcord_dial9";
const BUILD_DEMO: [&str; 4] = ["build", "--release", "--package", "ripcord-cli"];

fn cargo_args(args: &[String]) -> Result<Vec<&str>, Failure> {
    if args.first().is_none_or(|first| first.starts_with('-')) {
        let text = "name a benchmark, for example `cargo xtask bench core`";
        return Err(Failure::Usage(text.into()));
    }
    let head = ["run", "--release", "--package", "ripcord-bench", "--"];
    Ok(head
        .into_iter()
        .chain(args.iter().map(String::as_str))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_pass_unchanged() {
        let args = ["core", "--filter", "child drop"].map(str::to_owned);
        let got = cargo_args(&args).unwrap();
        assert_eq!(
            got[..5],
            ["run", "--release", "--package", "ripcord-bench", "--"]
        );
        assert_eq!(got[5..], ["core", "--filter", "child drop"]);
    }

    #[test]
    fn a_subject_is_needed() {
        assert!(cargo_args(&[]).is_err());
        assert!(cargo_args(&["--quick".to_owned()]).is_err());
    }
}
