//! Traces that are compressed say what those say that are not.
#![cfg(all(not(ripcord_loom), feature = "zstd", not(miri)))]

mod told;

use ripcord_core::tasks::PollEnd;
use ripcord_trace_format::{BlockKind, Compression, Item, Reader};
use told::Told;

/// The payloads of all blocks but index and end, which name offsets; and how many were compressed.
fn payloads(trace: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let reader = Reader::new(trace).expect("a trace");
    let mut reader = reader.with_decompress(|how, stored, len| {
        assert_eq!(how, Compression::Zstd);
        Ok(zstd::bulk::decompress(stored, len)?)
    });
    let (mut payloads, mut packed) = (Vec::new(), 0);
    while let Some(item) = reader.next_item().expect("readable") {
        match item {
            Item::Block(block) => {
                packed += usize::from(block.compression != Compression::None);
                if !matches!(block.info.kind, BlockKind::Index | BlockKind::FileEnd) {
                    payloads.push(block.payload.to_vec());
                }
            }
            Item::End(end) => assert_eq!(end.to_string(), "closed"),
            other => panic!("{other:?}"),
        }
    }
    (payloads, packed)
}

#[test]
fn a_dump_has_the_same_blocks_and_half_of_the_bytes() {
    let dump = |level: Option<u8>| {
        let told = Told::with(|builder| match level {
            None => builder,
            Some(level) => builder.zstd(level),
        });
        let task = told.tasks.spawned(&ripcord_core::tasks::Spawned {
            task: 1,
            parent: None,
            context: None,
            name: "task",
            site: std::panic::Location::caller(),
            size: 0,
            is_blocking: false,
        });
        for _ in 0..20_000 {
            told.pass(3);
            let turn = told.tasks.poll_started(task, None, Some(0));
            turn.end(PollEnd::Pending, Some("recv"));
        }
        told.dump()
    };
    let plain = dump(None);
    let (expect, packed) = payloads(&plain);
    assert_eq!(packed, 0);
    // A level beyond the last is the last; none is below the first.
    for level in [0, 1, 3, 255] {
        let trace = dump(Some(level));
        let (found, packed) = payloads(&trace);
        assert!(found == expect, "level {level}");
        assert!(packed > 5, "level {level}: {packed}");
        assert!(
            trace.len() < plain.len() / 2,
            "level {level}: {}",
            trace.len()
        );
    }
}
