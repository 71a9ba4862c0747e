//! Tells the program which compiler and which versions of the peers it was built with.

use std::path::{Path, PathBuf};
use std::process::Command;

const PEERS: [&str; 11] = [
    "tokio",
    "tokio-util",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-http",
    "axum",
    "hyper",
    "hyper-util",
    "dial9-tokio-telemetry",
    "tokio-metrics",
    "zstd",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    emit("RUSTC", version.as_deref().map(str::trim));

    let lock = lock_file();
    let text = lock.as_deref().map(read_watched).unwrap_or_default();
    for peer in PEERS {
        let variable = peer.to_uppercase().replace('-', "_");
        emit(&variable, locked_version(&text, peer));
    }
}

fn emit(variable: &str, value: Option<&str>) {
    println!(
        "cargo::rustc-env=RIPCORD_BENCH_{variable}={}",
        value.unwrap_or("unknown")
    );
}

/// The nearest `Cargo.lock` at or above this package.
fn lock_file() -> Option<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")?;
    Path::new(&manifest)
        .ancestors()
        .map(|folder| folder.join("Cargo.lock"))
        .find(|path| path.is_file())
}

fn read_watched(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    std::fs::read_to_string(path).unwrap_or_default()
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}
