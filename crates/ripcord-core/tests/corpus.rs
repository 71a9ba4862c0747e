//! What the fuzzer found worth keeping, replayed against the model.

#![cfg(not(ripcord_loom))]

use ripcord_test::oracle::{compare, decode};
use std::path::Path;

#[test]
fn the_corpus_agrees_with_the_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tree");
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        let program = decode(&std::fs::read(&path).expect("a readable file"));
        if let Err(mismatch) = compare(&program) {
            panic!(
                "{}: the core and the model part {mismatch}\n\n{program}",
                path.display()
            );
        }
        replayed += 1;
    }
    assert!(
        replayed >= 20,
        "only {replayed} files in {}",
        folder.display()
    );
}
