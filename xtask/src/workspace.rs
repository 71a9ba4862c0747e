//! The repository as the commands see it: its root, its files, cargo's view of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::out::Failure;
use crate::source::Source;

/// The folder that holds the root manifest. Set by cargo for `cargo xtask`.
///
/// # Errors
/// When xtask was started without cargo.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|xtask| Path::new(&xtask).parent().map(Path::to_owned))
        .ok_or_else(|| Failure::Broken("start xtask through cargo: `cargo xtask <command>`".into()))
}

/// The cargo that started us, so that the toolchain stays the same.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Files that are tracked, or new and not ignored, whose path ends with `suffix`; sorted.
///
/// # Errors
/// When git is missing, or the folder is not a git work tree.
pub(crate) fn files(root: &Path, suffix: &str) -> Result<Vec<String>, Failure> {
    let listing = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .map_err(|error| Failure::Broken(format!("cannot start git: {error}; install git")))?;
    if !listing.status.success() {
        let text = String::from_utf8_lossy(&listing.stderr);
        return Err(Failure::Broken(format!(
            "git cannot list the files: {}; run this in a git clone",
            text.trim()
        )));
    }
    let text = String::from_utf8_lossy(&listing.stdout);
    let mut found: Vec<String> = text
        .split('\0')
        .filter(|path| path.ends_with(suffix))
        // A file that was deleted and not yet committed is still listed.
        .filter(|path| root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Reads a file below the root.
///
/// # Errors
/// When it is missing, unreadable or not UTF-8; the message names it.
pub(crate) fn read(root: &Path, path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(root.join(path))
        .map_err(|error| Failure::Broken(format!("cannot read {path}: {error}")))
}

/// Every Rust file, split, with the test files marked that only a `#[cfg(test)] mod` tells.
///
/// # Errors
/// As [`files`] and [`read`].
pub(crate) fn sources(root: &Path) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in files(root, ".rs")? {
        sources.push(Source::new(&path, &read(root, &path)?));
    }
    mark_test_modules(&mut sources);
    Ok(sources)
}

fn mark_test_modules(sources: &mut [Source]) {
    let named: HashSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        source.all_test |= named.contains(&source.path);
    }
}

/// `cargo metadata` without third-party packages.
///
/// # Errors
/// When cargo fails; its own message is passed on.
pub(crate) fn metadata(root: &Path) -> Result<Value, Failure> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| Failure::Broken(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Broken(format!(
            "cargo metadata failed: {}",
            text.trim()
        )));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::Broken(format!("cannot read cargo metadata: {error}")))
}

/// Where cargo builds; set by the user, or `target` at the root.
///
/// # Errors
/// As [`metadata`].
pub(crate) fn target_dir(root: &Path) -> Result<PathBuf, Failure> {
    let metadata = metadata(root)?;
    let target = metadata["target_directory"].as_str();
    let target = target
        .ok_or_else(|| Failure::Broken("cargo metadata has no `target_directory`".to_owned()))?;
    Ok(PathBuf::from(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_named_by_a_test_module_is_test_code() {
        let mut sources = [
            Source::new("crates/x/src/a.rs", "#[cfg(test)]\nmod model;\nmod real;"),
            Source::new("crates/x/src/a/model.rs", "fn b() {}"),
            Source::new("crates/x/src/a/real.rs", "fn c() {}"),
        ];
        mark_test_modules(&mut sources);
        let found: Vec<bool> = sources.iter().map(|s| s.all_test).collect();
        assert_eq!(found, [false, true, false]);
    }
}
