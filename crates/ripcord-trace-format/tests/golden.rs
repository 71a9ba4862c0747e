//! Checked-in traces with their text, and the specification beside the table.
//!
//! After a change that is meant: `RIPCORD_BLESS=1 cargo test -p ripcord-trace-format --test golden`.

mod oracle;
mod sample;

use ripcord_trace_format::{EVENTS, End, FileEnd, Index, Item, Reader, render_events, text};
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares with a file, or writes it if that is asked for.
fn golden(name: &str, found: &[u8]) {
    let path = path("tests/testdata").join(name);
    if std::env::var_os("RIPCORD_BLESS").is_some() {
        std::fs::write(&path, found).expect("a writable file");
    }
    let expect = std::fs::read(&path).expect("the file is part of the repository");
    let (expect_text, found_text) = (expect.escape_ascii(), found.escape_ascii());
    assert_eq!(expect_text.to_string(), found_text.to_string(), "{name}");
}

#[test]
fn the_sample_has_every_event() {
    let twin = oracle::twin(Reader::new(&sample::trace()[..]).expect("a trace"));
    for row in EVENTS {
        assert!(twin.contains(&format!(" {}", row.name)), "{}", row.name);
    }
}

#[test]
fn the_sample_is_what_it_was() {
    //= T1, T9, T14
    let trace = sample::trace();
    golden("sample.ript", &trace);
    let twin = oracle::twin(Reader::new(&trace[..]).expect("a trace"));
    golden("sample.txt", twin.as_bytes());
    oracle::check(&trace);
}

#[test]
fn the_text_becomes_the_trace_again() {
    //= T22
    let twin = std::fs::read_to_string(path("tests/testdata/sample.txt")).expect("a file");
    let trace = std::fs::read(path("tests/testdata/sample.ript")).expect("a file");
    assert_eq!(text::parse(&twin).as_deref(), Ok(&trace[..]));
}

#[test]
fn the_specification_has_the_table() {
    let path = path("../../spec/trace-format.md");
    let spec = std::fs::read_to_string(&path).expect("the specification");
    let (before, rest) = spec.split_once("<!-- events -->\n").expect("the mark");
    let (found, after) = rest.split_once("<!-- /events -->").expect("the mark");
    let expect = format!("\n{}\n", render_events());
    if std::env::var_os("RIPCORD_BLESS").is_some() {
        let spec = format!("{before}<!-- events -->\n{expect}<!-- /events -->{after}");
        std::fs::write(&path, spec).expect("a writable file");
        return;
    }
    assert_eq!(found, expect);
}

#[test]
fn the_end_leads_to_the_windows() {
    //= T24
    let trace = sample::trace();
    let end = FileEnd::from_tail(&trace[trace.len() - 72..]).expect("closed");
    assert_eq!((end.blocks, end.events), (8, 49));
    let index = &trace[usize::try_from(end.index).expect("small")..];
    let mut reader = Reader::headless(index);
    let Ok(Some(Item::Block(block))) = reader.next_item() else {
        panic!("no block at {}", end.index);
    };
    let index = Index::parse(block.payload).expect("an index");
    let windows: Vec<_> = index.entries().iter().map(|e| e.window).collect();
    assert_eq!(windows, [0, 1, 2]);
    let entry = index.entries()[1];
    assert_eq!((entry.first_tick, entry.last_tick), (1_000, 3_000));
    let from = &trace[usize::try_from(entry.offset).expect("small")..];
    let found = oracle::read(Reader::headless(from));
    assert_eq!(found.blocks.len(), 7);
    assert_eq!(found.end, Some(End::Closed { trailing: 0 }));
    for cut in 1..72 {
        assert_eq!(FileEnd::from_tail(&trace[..trace.len() - cut]), None);
    }
}
