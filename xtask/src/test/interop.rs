//! Installs what the interop tests compare with: packages for Python and Node, below the target folder.
//!
//! The lists are in `xtask/interop`, every version pinned. They are installed once, and again when a
//! list changes: beside what was installed lies a copy of the list that it was installed from, which
//! is written last.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::out::{Failure, Sink};
use crate::test::runner::answers;
use crate::workspace;

const REQUIREMENTS: &str = "xtask/interop/requirements.txt";
const NODE_FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Name of the copy of the list.
const STAMP: &str = "installed-from";

/// A program that the platform has to bring.
struct Tool {
    what: &'static str,
    /// Tried in this order.
    names: &'static [&'static str],
    /// Succeeds if the program has all that is needed.
    check: &'static [&'static str],
    /// Packages of Debian and Ubuntu that bring it.
    debian: &'static [&'static str],
    origin: &'static str,
}

const PYTHON: Tool = Tool {
    what: "Python 3.10 or later with its module venv",
    names: &["python3", "python"],
    check: &[
        "-c",
        "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))",
    ],
    debian: &["python3-venv"],
    origin: "python.org",
};

const NODE: Tool = Tool {
    what: "Node 18.19 or later",
    names: &["node"],
    check: &[
        "-e",
        "const [a, b] = process.versions.node.split('.').map(Number); \
         process.exit(a > 20 || (a === 20 && b >= 6) || (a === 18 && b >= 19) ? 0 : 1)",
    ],
    debian: &["nodejs"],
    origin: "nodejs.org",
};

const NPM: Tool = Tool {
    what: "npm",
    names: if cfg!(windows) {
        &["npm.cmd"]
    } else {
        &["npm"]
    },
    check: &["--version"],
    debian: &["npm"],
    origin: "nodejs.org",
};

/// Installs what is missing; the environment of the tests.
///
/// # Errors
/// When a program is missing and cannot be installed, or a package cannot be fetched.
pub(crate) fn prepare(root: &Path) -> Result<Vec<(&'static str, OsString)>, Failure> {
    let folder = workspace::target_dir(root)?.join("interop");
    let python = python_packages(root, &folder.join("venv"))?;
    let modules = node_packages(root, &folder.join("node"))?;
    Ok(vec![
        ("RIPCORD_INTEROP_PYTHON", python.into_os_string()),
        ("RIPCORD_INTEROP_NODE_MODULES", modules.into_os_string()),
    ])
}

/// The Python of a virtual environment that has the packages.
fn python_packages(root: &Path, venv: &Path) -> Result<PathBuf, Failure> {
    let list = workspace::read(root, REQUIREMENTS)?;
    let python = venv.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // An update of the platform may have taken away the Python that it was made with.
    if is_current(venv, &list) && answers(Command::new(&python).arg("--version")) {
        return Ok(python);
    }
    let base = find(&PYTHON)?;
    Sink::Stderr.line(format!("installing {REQUIREMENTS} into {}", venv.display()));
    empty(venv)?;
    must_run(Command::new(base).args(["-m", "venv"]).arg(venv))?;
    must_run(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg("--requirement")
            .arg(root.join(REQUIREMENTS)),
    )?;
    stamp(venv, &list)?;
    Ok(python)
}

/// The `node_modules` that has the packages.
fn node_packages(root: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let read = |name| workspace::read(root, &format!("xtask/interop/{name}"));
    let [package, lock, options] = [
        read(NODE_FILES[0])?,
        read(NODE_FILES[1])?,
        read(NODE_FILES[2])?,
    ];
    let list = format!("{package}{lock}");
    let modules = folder.join("node_modules");
    // The tests run Node itself.
    find(&NODE)?;
    if is_current(folder, &list) {
        return Ok(modules);
    }
    let npm = find(&NPM)?;
    Sink::Stderr.line(format!(
        "installing xtask/interop/package.json into {}",
        folder.display()
    ));
    empty(folder)?;
    for (name, text) in NODE_FILES.iter().zip([package, lock, options]) {
        write(&folder.join(name), &text)?;
    }
    must_run(
        Command::new(npm)
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel",
                "error",
            ])
            .current_dir(folder),
    )?;
    stamp(folder, &list)?;
    Ok(modules)
}

fn is_current(folder: &Path, list: &str) -> bool {
    std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|from| from == list)
}

fn stamp(folder: &Path, list: &str) -> Result<(), Failure> {
    write(&folder.join(STAMP), list)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::Broken(format!("cannot write {}: {error}", path.display())))
}

/// Takes away what was installed before, and makes the folder anew.
fn empty(folder: &Path) -> Result<(), Failure> {
    let gone = match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(folder),
    };
    gone.map_err(|error| Failure::Broken(format!("cannot empty {}: {error}", folder.display())))
}

/// The name under which a tool starts; installed if it is missing and that is possible.
fn find(tool: &Tool) -> Result<&'static str, Failure> {
    let there = || {
        let mut names = tool.names.iter().copied();
        names.find(|name| answers(Command::new(name).args(tool.check)))
    };
    if let Some(name) = there() {
        return Ok(name);
    }
    if install_on_debian(tool.debian)
        && let Some(name) = there()
    {
        return Ok(name);
    }
    Err(Failure::Broken(missing(tool)))
}

fn missing(tool: &Tool) -> String {
    format!(
        "{} is missing; install it with `apt-get install {}` on Debian and Ubuntu, elsewhere from \
         {}, or leave this step out by naming the others",
        tool.what,
        tool.debian.join(" "),
        tool.origin
    )
}

/// True if the packages are there afterwards: tried by root, where there is apt.
fn install_on_debian(packages: &[&str]) -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if !is_root || !answers(Command::new("apt-get").arg("--version")) {
        return false;
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        must_run(&mut command).is_ok()
    };
    // A fresh image has no list of packages.
    install() || (must_run(Command::new("apt-get").arg("update")).is_ok() && install())
}

/// Runs a command and shows it, with its output on standard error.
fn must_run(command: &mut Command) -> Result<(), Failure> {
    let shown = shown(command);
    Sink::Stderr.line(&shown);
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| Failure::Broken(format!("cannot start `{shown}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Broken(format!("`{shown}` failed: {status}")))
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_package_is_pinned() {
        let list = include_str!("../../interop/requirements.txt");
        let packages = list.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in packages {
            assert!(line.split("==").count() == 2, "{line}");
            count += 1;
        }
        assert!(count >= 6, "{list}");
    }

    /// A registry is everybody's own matter, and may be a private one.
    #[test]
    fn the_lock_of_node_names_no_registry() {
        let lock = include_str!("../../interop/package-lock.json");
        let lock: serde_json::Value = serde_json::from_str(lock).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() >= 3);
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["integrity"].is_string(), "{name}");
            assert!(package["resolved"].is_null(), "{name}");
        }
        let package = include_str!("../../interop/package.json");
        let package: serde_json::Value = serde_json::from_str(package).unwrap();
        assert_eq!(package["dependencies"], packages[""]["dependencies"]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let text = missing(&PYTHON);
        assert!(text.starts_with("Python 3.10 or later"), "{text}");
        assert!(text.contains("`apt-get install python3-venv`"), "{text}");
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "npm"]);
        assert_eq!(shown(&command), "apt-get install --yes npm");
    }
}
