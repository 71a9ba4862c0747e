//! The corpus of the fuzz target `trace_file`, replayed.

#![allow(
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]

mod oracle;

use std::path::Path;

/// A failure shows the file in the captured output.
#[test]
fn traces() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/trace_file");
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        println!("{}", path.display());
        oracle::check(&std::fs::read(&path).expect("a readable file"));
        replayed += 1;
    }
    assert!(
        replayed >= 20,
        "only {replayed} files in {}",
        folder.display()
    );
}
