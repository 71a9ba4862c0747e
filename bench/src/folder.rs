//! A temporary folder of a sample, which goes with this value.

use std::path::{Path, PathBuf};

/// A folder that nobody else uses.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// # Panics
    /// When the system's folder for such things cannot be written to.
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("ripcord-bench-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the temporary folder can be written to");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in a folder for what is left behind.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
