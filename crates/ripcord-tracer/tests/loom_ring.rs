//! Models of the ring: a writer against a snapshot, and against one that takes its block away.
#![cfg(ripcord_loom)]

use loom::thread;
use ripcord_tracer::{Ring, Writer};

fn put(writer: &mut Writer, byte: u8) -> bool {
    writer.write(u64::from(byte), |room, _| {
        *room.first_mut()? = byte;
        Some(1)
    })
}

/// Events in the ring, evicted and lost.
fn all(ring: &Ring) -> u64 {
    let kept: u64 = ring
        .snapshot()
        .iter()
        .map(|copy| u64::from(copy.events))
        .sum();
    kept + ring.gone().evicted + ring.gone().lost
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(2));
    builder.check(run);
}

#[test]
fn a_snapshot_sees_a_beginning_of_what_is_written() {
    model(|| {
        let ring = Ring::new(2, 2);
        let mut writer = ring.writer(1);
        let other = ring.clone();
        let looker = thread::spawn(move || {
            let bytes: Vec<u8> = other
                .snapshot()
                .into_iter()
                .flat_map(|copy| {
                    assert_eq!(copy.bytes.len(), copy.events as usize);
                    copy.bytes
                })
                .collect();
            assert!([1, 2, 3].starts_with(&bytes), "{bytes:?}");
        });
        let written = (1..=3).filter(|byte| put(&mut writer, *byte)).count();
        looker.join().unwrap();
        assert_eq!(written, 3, "a snapshot is at one place at a time");
        assert_eq!(all(&ring), 3);
    });
}

#[test]
fn two_writers_for_one_place_lose_nothing_uncounted() {
    model(|| {
        let ring = Ring::new(1, 2);
        let mut writer = ring.writer(1);
        let other = ring.clone();
        let second = thread::spawn(move || {
            let mut writer = other.writer(2);
            put(&mut writer, 1);
            put(&mut writer, 2);
        });
        put(&mut writer, 1);
        put(&mut writer, 2);
        put(&mut writer, 3);
        second.join().unwrap();
        drop(writer);
        assert_eq!(all(&ring), 5);
    });
}

#[test]
fn a_block_is_filled_again_only_when_nobody_looks_at_it() {
    model(|| {
        let ring = Ring::new(1, 1);
        let mut writer = ring.writer(1);
        put(&mut writer, 1);
        let other = ring.clone();
        let looker = thread::spawn(move || {
            for copy in other.snapshot() {
                assert_eq!(copy.bytes.len(), copy.events as usize);
                // The sequence tells which event it has to be.
                assert!(
                    copy.bytes
                        .iter()
                        .all(|byte| u64::from(*byte) == copy.sequence + 1)
                );
            }
        });
        put(&mut writer, 2);
        put(&mut writer, 3);
        looker.join().unwrap();
        drop(writer);
        assert_eq!(all(&ring), 3);
    });
}
