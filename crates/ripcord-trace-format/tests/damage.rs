//! Traces that were cut, flipped, spliced, or made to hurt.

mod oracle;
mod sample;

use oracle::Found;
use ripcord_trace_format::{
    BLOCK_HEADER_BYTES, BlockInfo, BlockKind, Compression, End, FileHeader, Item, ReadError,
    Reader, SkipReason, Writer,
};

/// Where a trace is damaged at each byte in turn, the whole oracle looks at each 29th.
fn read_at(at: usize, trace: &[u8]) -> Found {
    if at.is_multiple_of(29) {
        oracle::check(trace);
    }
    oracle::skim(Reader::new(trace).expect("a trace"))
}

fn read(trace: &[u8]) -> Found {
    read_at(0, trace)
}

/// Where the blocks of the sample begin, and where the last one ends.
fn borders(trace: &[u8]) -> Vec<usize> {
    let found = read(trace);
    let begins = found.blocks.iter().map(|(offset, _)| *offset);
    let ends = begins.chain([trace.len() as u64]);
    ends.map(|at| usize::try_from(at).expect("small")).collect()
}

#[test]
fn a_cut_at_any_byte_leaves_all_complete_blocks() {
    //= T6, T7
    let trace = sample::trace();
    let borders = borders(&trace);
    for cut in 0..trace.len() {
        let found = read_at(cut, &trace[..cut]);
        let complete = borders.iter().skip(1).filter(|end| **end <= cut).count();
        assert_eq!(found.blocks.len(), complete, "cut at {cut}");
        assert_eq!(found.damage, [], "cut at {cut}");
        let last = borders.iter().rev().find(|border| **border <= cut);
        let last = last.copied().unwrap_or(0);
        let expect = if last == cut {
            End::NotClosed
        } else {
            let (offset, bytes) = (last as u64, (cut - last) as u64);
            End::Truncated { offset, bytes }
        };
        assert_eq!(found.end, Some(expect), "cut at {cut}");
    }
    assert_eq!(read(&trace).end, Some(End::Closed { trailing: 0 }));
}

#[test]
fn a_flipped_bit_costs_one_block() {
    //= T3, T5
    let trace = sample::trace();
    let borders = borders(&trace);
    for at in borders[0]..trace.len() {
        let mut flipped = trace.clone();
        flipped[at] ^= 1 << (at % 8);
        let found = read_at(at, &flipped);
        let hit = borders
            .iter()
            .rposition(|border| *border <= at)
            .expect("a block");
        let (offset, end) = (borders[hit], borders[hit + 1]);
        let (offset, bytes) = (offset as u64, (end - offset) as u64);
        assert_eq!(found.blocks.len(), borders.len() - 2, "byte {at}");
        if end == trace.len() {
            assert_eq!(
                found.end,
                Some(End::Truncated { offset, bytes }),
                "byte {at}"
            );
        } else {
            assert_eq!(found.damage, [(offset, bytes)], "byte {at}");
            assert_eq!(found.end, Some(End::Closed { trailing: 0 }), "byte {at}");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_file_header_costs_the_header() {
    //= T5
    let trace = sample::trace();
    let borders = borders(&trace);
    for at in 8..borders[0] {
        let mut flipped = trace.clone();
        flipped[at] ^= 1 << (at % 8);
        let found = read_at(at, &flipped);
        assert_eq!(found.blocks.len(), borders.len() - 1, "byte {at}");
        assert_eq!(found.damage, [(0, borders[0] as u64)], "byte {at}");
    }
}

#[test]
fn what_is_no_trace_is_refused() {
    //= T1, T2
    for bytes in [
        &b"RIFF"[..],
        b"\x28\xb5\x2f\xfd",
        b"RIPT\n\x1a\n\0\0\0\0\0\0\0\0",
    ] {
        assert!(matches!(Reader::new(bytes), Err(ReadError::NotATrace)));
        oracle::check(bytes);
    }
    let mut newer = sample::header().encode();
    newer[8] = 2;
    let end = newer.len() - 4;
    let sum = crc32c(&newer[..end]);
    newer[end..].copy_from_slice(&sum.to_le_bytes());
    let error = Reader::new(&newer[..]).expect_err("a newer major version");
    assert_eq!(
        error.to_string(),
        "read a trace: version 2.0, of at most 1.x; read it with a newer ripcord"
    );
}

/// Bit by bit, so that it shares nothing with the tables.
fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    });
    !sum
}

#[test]
fn spliced_blocks_are_all_found() {
    //= T5, T7
    let trace = sample::trace();
    let borders = borders(&trace);
    let blocks = borders.len() - 1;
    // Twice the same trace: the second header is damage, and the end is that of the second.
    let twice = [&trace[..], &trace].concat();
    let found = read(&twice);
    assert_eq!(found.blocks.len(), 2 * blocks);
    assert_eq!(found.damage, [(trace.len() as u64, borders[0] as u64)]);
    assert_eq!(found.end, Some(End::Closed { trailing: 0 }));
    // A block within another, whose rest comes later.
    let (head, tail) = trace.split_at(borders[3] + 60);
    let within = &trace[borders[4]..borders[5]];
    let found = read(&[head, within, tail].concat());
    assert_eq!(found.blocks.len(), blocks);
    assert_eq!(found.damage.len(), 2);
    // Garbage behind the end.
    let found = read(&[&trace[..], &[0xf1; 99]].concat());
    assert_eq!(found.end, Some(End::Closed { trailing: 99 }));
    // A good block behind the end.
    let found = read(&[&trace[..], within].concat());
    assert_eq!(found.end, Some(End::NotClosed));
    // Without the end block.
    let found = read(&trace[..borders[blocks - 1]]);
    assert_eq!(found.end, Some(End::NotClosed));
}

#[test]
fn a_claimed_gibibyte_is_no_block() {
    //= T4
    let trace = sample::trace();
    let borders = borders(&trace);
    for field in [32, 36] {
        let mut claims = trace.clone();
        let at = borders[2];
        claims[at + field..at + field + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        let end = borders[3];
        let sum = crc32c(&[&claims[at..at + 44], &claims[at + 48..end]].concat());
        claims[at + 44..at + 48].copy_from_slice(&sum.to_le_bytes());
        let found = read(&claims);
        assert_eq!(found.damage, [(at as u64, (end - at) as u64)]);
    }
    let mut claims = trace.clone();
    claims[12..16].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    assert_eq!(read(&claims).damage, [(0, borders[0] as u64)]);
}

/// Whoever waits would notice quadratic work: a megabyte of headers of a megabyte each.
#[test]
fn pretenders_are_skipped_in_linear_time() {
    //= T7
    let mut pretender = BlockInfo::new(BlockKind::Events)
        .header(b"")
        .expect("short");
    for field in [32, 36] {
        pretender[field..field + 4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    }
    let trace = pretender.repeat((4 << 20) / BLOCK_HEADER_BYTES);
    let found = oracle::skim(Reader::headless(&trace[..]));
    assert_eq!(found.blocks, []);
    let (offset, bytes) = (0, trace.len() as u64);
    assert_eq!(found.end, Some(End::Truncated { offset, bytes }));
}

fn compressed(plain_len: usize, stored: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &sample::header()).expect("a vector");
    let info = BlockInfo::new(BlockKind::Events);
    let written = writer.compressed(info, Compression::Zstd, stored, plain_len);
    written.expect("a vector");
    writer.finish().expect("a vector")
}

/// A compression that repeats its only byte as often as the second says.
fn repeated(stored: &[u8]) -> Vec<u8> {
    vec![stored[0]; usize::from(stored[1])]
}

#[test]
fn a_wrong_compression_costs_one_block() {
    //= T8
    let why = |trace: &[u8], decompress: bool| {
        let mut reader = Reader::new(trace).expect("a trace");
        if decompress {
            reader = reader.with_decompress(|how, stored, len| {
                assert_eq!((how, len), (Compression::Zstd, 4));
                match stored {
                    [] => Err("empty".into()),
                    stored => Ok(repeated(stored)),
                }
            });
        }
        let (mut whys, mut blocks) = (Vec::new(), Vec::new());
        while let Some(item) = reader.next_item().expect("a slice cannot fail") {
            match item {
                Item::Skipped { why, .. } => whys.push(why.to_string()),
                Item::Block(block) => blocks.push(block.payload.to_vec()),
                Item::End(end) => assert_eq!(end, End::Closed { trailing: 0 }),
                other => panic!("{other:?}"),
            }
        }
        (whys, blocks)
    };
    let good = compressed(4, &[b'x', 4]);
    let (whys, blocks) = why(&good, true);
    assert_eq!((whys.len(), &blocks[1][..]), (0, &b"xxxx"[..]));
    for (trace, decompress, expect) in [
        (
            good,
            false,
            "compressed by zstd, which this reader cannot undo",
        ),
        (compressed(4, &[]), true, "decompress: empty"),
        (
            compressed(4, &[b'x', 5]),
            true,
            "5 bytes plain, where the header says 4",
        ),
        (
            compressed(4, &[b'x', 3]),
            true,
            "3 bytes plain, where the header says 4",
        ),
    ] {
        let (whys, blocks) = why(&trace, decompress);
        assert_eq!((whys, blocks.len()), (vec![expect.to_owned()], 3));
    }
}

#[test]
fn every_header_that_can_be_made_is_read() {
    let mut info = BlockInfo::new(BlockKind::Events);
    info.first_tick = u64::MAX;
    let header = info.header(b"").expect("short");
    let mut reader = Reader::headless(&header[..]);
    let Ok(Some(Item::Block(block))) = reader.next_item() else {
        panic!("no block");
    };
    assert_eq!(
        (block.info.first_tick, block.info.last_tick),
        (u64::MAX, u64::MAX)
    );
}

#[test]
fn a_bomb_is_no_block() {
    //= T4, T8
    let mut bomb = compressed(4, b"bomb");
    let start = bomb
        .windows(4)
        .position(|bytes| bytes == b"bomb")
        .expect("stored")
        - 48;
    bomb[start + 36..start + 40].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    let sum = crc32c(&[&bomb[start..start + 44], b"bomb"].concat());
    bomb[start + 44..start + 48].copy_from_slice(&sum.to_le_bytes());
    let reader = Reader::new(&bomb[..]).expect("a trace");
    let found = oracle::skim(reader.with_decompress(|_, _, len| panic!("{len} bytes")));
    assert_eq!(found.damage, [(start as u64, 52)]);
}

#[test]
fn a_bad_schema_is_told_and_the_one_before_stays() {
    let mut writer = Writer::new(Vec::new(), &sample::header()).expect("a vector");
    let info = BlockInfo::new(BlockKind::Schema);
    writer.block(info, b"0x03 poll").expect("a vector");
    writer.block(info, b"0x3 poll").expect("a vector");
    writer.block(info, b"\xff").expect("a vector");
    let trace = writer.finish().expect("a vector");
    let mut reader = Reader::new(&trace[..]).expect("a trace");
    let mut bad = 0;
    while let Some(item) = reader.next_item().expect("a slice cannot fail") {
        match item {
            Item::Skipped { why, .. } => {
                assert!(matches!(
                    why,
                    SkipReason::Schema(_) | SkipReason::SchemaText
                ));
                bad += 1;
            }
            Item::Block(_) | Item::End(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((bad, reader.schema().rows().len()), (2, 1));
}

#[test]
fn a_newer_header_may_have_more_fields() {
    //= T1, T2
    let mut header = sample::header();
    header.minor = 7;
    let mut bytes = header.encode();
    bytes.truncate(bytes.len() - 4);
    bytes.extend(b"more");
    let len = u32::try_from(bytes.len() - 16).expect("short");
    bytes[12..16].copy_from_slice(&len.to_le_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    let reader = Reader::new(&bytes[..]).expect("a trace");
    let read: Option<&FileHeader> = reader.header();
    assert_eq!(read, Some(&header));
}
