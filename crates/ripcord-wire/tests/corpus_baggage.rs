//! What the fuzzer found worth keeping for `wire_baggage`, replayed.

#[path = "oracle/baggage.rs"]
mod oracle;

use std::path::Path;

#[test]
fn the_corpus_of_baggage_keeps_the_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/wire_baggage");
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        // The output of a test that fails ends with the file.
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
