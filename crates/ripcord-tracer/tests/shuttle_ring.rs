//! The ring under random schedules: several writers, evictions all the time, and readers.
//!
//! loom tries every order of a few steps (`loom_ring.rs`); here the runs are long, so that blocks go round
//! many times, are kept as spare ones, and are evicted while others read them.
//!
//! ```text
//! RUSTFLAGS="--cfg ripcord_shuttle" cargo test -p ripcord-tracer --release --test shuttle_ring
//! ```
//!
//! Each model runs 2,000 schedules (`RIPCORD_SHUTTLE_SCHEDULES`), half of them uniformly random and half with
//! few preemptions. The seed is printed with `--show-output`, and whenever it fails;
//! `RIPCORD_SHUTTLE_SEED` runs it again.
#![cfg(ripcord_shuttle)]
#![allow(
    clippy::print_stdout,
    reason = "the seed of a run, in the output of its test"
)]

use ripcord_tracer::{Copy, Ring, Writer};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Explores schedules of `model`.
fn check(model: fn()) {
    let seed = setting("RIPCORD_SHUTTLE_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let schedules = setting("RIPCORD_SHUTTLE_SCHEDULES").unwrap_or(2_000);
    let half = usize::try_from(schedules).unwrap_or(usize::MAX).div_ceil(2);
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    println!("{name}: RIPCORD_SHUTTLE_SEED={seed}");
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    shuttle::Runner::new(RandomScheduler::new_from_seed(seed, half), config.clone()).run(model);
    shuttle::Runner::new(PctScheduler::new_from_seed(seed, 3, half), config).run(model);
}

/// An event of one byte, that tells the thread and a number.
fn put(writer: &mut Writer, thread: u32, number: u8) -> bool {
    let event = u8::try_from(thread).expect("it is small") << 6 | number & 63;
    writer.write(u64::from(number), |room, _| {
        *room.first_mut()? = event;
        Some(1)
    })
}

/// Whole events, each of its own thread, in order; blocks of a thread without one twice.
fn look(copies: &[Copy]) -> u64 {
    let mut threads = BTreeMap::<u32, Vec<&Copy>>::new();
    for copy in copies {
        assert_eq!(copy.bytes.len(), copy.events as usize);
        threads.entry(copy.thread).or_default().push(copy);
    }
    for (thread, blocks) in &threads {
        let in_order = blocks.is_sorted_by(|a, b| a.sequence < b.sequence);
        assert!(in_order, "{blocks:?}");
        let events: Vec<u8> = blocks.iter().flat_map(|copy| copy.bytes.clone()).collect();
        let is_own = |event: &u8| u32::from(event >> 6) == *thread;
        assert!(events.iter().all(is_own), "{events:?} of {thread}");
        assert!(
            events.is_sorted_by(|a, b| a < b),
            "{events:?} of {thread}: a block was filled again under a reader"
        );
    }
    copies.iter().map(|copy| u64::from(copy.events)).sum()
}

/// Events that are handed over are in the ring, evicted or lost, and whoever looks sees whole ones.
fn writers_and_readers(places: usize, block_bytes: usize) {
    const EVENTS: u8 = 24;
    let ring = Ring::new(places, block_bytes);
    let writers = (1..=3).map(|number| {
        let ring = ring.clone();
        thread::spawn(move || {
            let mut writer = ring.writer(number);
            for event in 0..EVENTS {
                put(&mut writer, number, event);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..2).map(|_| {
        let ring = ring.clone();
        thread::spawn(move || {
            for _ in 0..3 {
                look(&ring.snapshot());
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for thread in writers.into_iter().chain(readers) {
        thread.join().expect("it does not panic");
    }
    let gone = ring.gone();
    let kept = look(&ring.snapshot());
    let all = 3 * u64::from(EVENTS);
    assert_eq!(kept + gone.evicted + gone.lost, all, "{gone:?}");
}

#[test]
fn fewer_places_than_writers() {
    check(|| writers_and_readers(2, 3));
}

#[test]
fn as_many_places_as_writers_and_readers() {
    check(|| writers_and_readers(5, 2));
}

#[test]
fn a_block_for_each_event() {
    check(|| writers_and_readers(4, 1));
}
