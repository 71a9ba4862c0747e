//! The corpora of the fuzz targets `wire_*`, replayed.

#![allow(
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]

#[path = "oracle/baggage.rs"]
mod baggage;
#[path = "oracle/ext.rs"]
mod ext;
mod oracle;

use std::path::Path;

#[test]
fn time_outs() {
    replay("wire_timeout", oracle::timeout::check);
}

#[test]
fn traceparents() {
    replay("wire_traceparent", oracle::traceparent::check);
}

#[test]
fn tracestates() {
    replay("wire_tracestate", oracle::tracestate::check);
}

#[test]
fn b3_headers() {
    replay("wire_b3", oracle::b3::check);
}

#[test]
fn request_ids() {
    replay("wire_request_id", oracle::request_id::check);
}

#[test]
fn lines_of_baggage() {
    replay("wire_baggage", baggage::check);
}

#[test]
fn context_values() {
    replay("wire_ext", ext::check);
}

/// A failure shows the file in the captured output.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folder = corpus.join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        println!("{}", path.display());
        check(&std::fs::read(&path).expect("a readable file"));
        replayed += 1;
    }
    assert!(
        replayed >= 20,
        "only {replayed} files in {}",
        folder.display()
    );
}
