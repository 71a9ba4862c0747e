//! What is kept, what is counted, and that nobody waits: one thread at a time, and several.

use ripcord_tracer::{Copy, Ring, Writer};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

/// An event of two bytes: the thread, and a number that goes round.
fn put(writer: &mut Writer, thread: u32, number: u64) -> bool {
    let event = [
        u8::try_from(thread).unwrap_or(u8::MAX),
        u8::try_from(number % 251).unwrap_or(u8::MAX),
    ];
    writer.write(number, |room, _| {
        room.get_mut(..2)?.copy_from_slice(&event);
        Some(2)
    })
}

fn kept(copies: &[Copy]) -> u64 {
    copies.iter().map(|copy| u64::from(copy.events)).sum()
}

/// The numbers of a thread's events, in the order of its blocks.
fn numbers(copies: &[Copy], thread: u32) -> Vec<u8> {
    let mut own: Vec<&Copy> = copies.iter().filter(|copy| copy.thread == thread).collect();
    own.sort_by_key(|copy| copy.sequence);
    let events = own.iter().flat_map(|copy| copy.bytes.chunks(2));
    events
        .map(|event| {
            assert_eq!(u32::from(event[0]), thread, "an event of another thread");
            event[1]
        })
        .collect()
}

#[test]
fn the_newest_events_are_kept_and_the_others_counted() {
    let ring = Ring::new(3, 8);
    let mut writer = ring.writer(1);
    for number in 0..100 {
        assert!(put(&mut writer, 1, number));
        let copies = ring.snapshot();
        assert_eq!(kept(&copies) + ring.gone().evicted, number + 1);
        assert_eq!(ring.gone().lost, 0);
        assert!(kept(&copies) >= (number + 1).min(9), "two blocks and one");
    }
    let copies = ring.snapshot();
    // Four in a block: the last one is full.
    assert_eq!(numbers(&copies, 1), (88..100).collect::<Vec<u8>>());
    let sequences: Vec<u64> = copies.iter().map(|copy| copy.sequence).collect();
    assert_eq!(
        sequences,
        [22, 23, 24],
        "the oldest first, and none is missing"
    );
    let ticks: Vec<u64> = copies.iter().map(|copy| copy.first_tick).collect();
    assert_eq!(ticks, [88, 92, 96]);
}

#[test]
fn an_encoder_learns_of_the_tick_before() {
    let ring = Ring::new(2, 4);
    let mut writer = ring.writer(1);
    let mut seen = Vec::new();
    for tick in [10, 17, 30, 31, 50] {
        let mut before = None;
        let written = writer.write(tick, |room, last| {
            before = Some(last);
            room.get_mut(..2)?.fill(1);
            Some(2)
        });
        assert!(written);
        seen.extend(before);
    }
    // The first event of a block counts from its own tick.
    assert_eq!(seen, [10, 10, 30, 30, 50]);
}

#[test]
fn an_event_that_fits_into_no_block_is_lost_alone() {
    let ring = Ring::new(2, 4);
    let mut writer = ring.writer(1);
    assert!(put(&mut writer, 1, 0));
    assert!(!writer.write(1, |room, _| (room.len() >= 5).then_some(5)));
    assert!(put(&mut writer, 1, 2));
    assert_eq!((ring.gone().lost, ring.gone().evicted), (1, 0));
    assert_eq!(numbers(&ring.snapshot(), 1), [0, 2]);
}

#[test]
fn a_thread_that_rarely_writes_keeps_its_events_until_the_others_need_the_place() {
    let ring = Ring::new(4, 4);
    let (mut rare, mut busy) = (ring.writer(1), ring.writer(2));
    assert!(put(&mut rare, 1, 7));
    for number in 0..6 {
        assert!(put(&mut busy, 2, number));
    }
    assert_eq!(numbers(&ring.snapshot(), 1), [7], "in use, and seen");
    for number in 6..14 {
        assert!(put(&mut busy, 2, number));
    }
    assert_eq!(numbers(&ring.snapshot(), 1), [], "older than all others");
    // It goes on in a block of its own.
    assert!(put(&mut rare, 1, 8));
    let copies = ring.snapshot();
    assert_eq!(numbers(&copies, 1), [8]);
    assert_eq!(kept(&copies) + ring.gone().evicted, 16);
    assert_eq!(ring.gone().lost, 0);
}

#[test]
fn a_ring_of_nothing_has_room_for_something() {
    let ring = Ring::new(0, 0);
    let mut writer = ring.writer(1);
    assert!(writer.write(0, |room, _| {
        *room.first_mut()? = 1;
        Some(1)
    }));
    assert_eq!(kept(&ring.snapshot()), 1);
}

/// Threads that write as fast as they can, and one that looks all the time: the sum is exact, and of each
/// thread the newest events are there without a gap.
#[test]
fn nothing_is_unaccounted_for_under_load() {
    const THREADS: u32 = 4;
    const EVENTS: u64 = 20_000;
    let ring = Ring::new(8, 64);
    let start = Barrier::new(5);
    let mut written: BTreeMap<u32, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for number in 1..=THREADS {
            let (ring, start) = (&ring, &start);
            writers.push(scope.spawn(move || {
                let mut writer = ring.writer(number);
                start.wait();
                let good = (0..EVENTS).filter(|event| put(&mut writer, number, *event));
                (number, good.count() as u64)
            }));
        }
        let looker = scope.spawn(|| {
            start.wait();
            for _ in 0..200 {
                for copy in ring.snapshot() {
                    assert_eq!(copy.bytes.len(), 2 * copy.events as usize);
                    let thread = copy.thread;
                    let events: Vec<u8> = numbers(&[copy], thread);
                    let follows = |pair: &[u8]| (pair[0] + 1) % 251 == pair[1];
                    // Lost ones leave a gap between blocks, never within.
                    assert!(events.windows(2).all(follows), "{events:?}");
                }
            }
        });
        for writer in writers {
            let (number, good) = writer.join().expect("no panic");
            written.insert(number, good);
        }
        looker.join().expect("no panic");
    });
    let copies = ring.snapshot();
    let gone = ring.gone();
    let handed_over = u64::from(THREADS) * EVENTS;
    assert_eq!(kept(&copies) + gone.evicted + gone.lost, handed_over);
    assert_eq!(copies.len(), 8, "every place is taken");
    // What a writer was told to be lost is counted as that; so is what was late.
    let refused = handed_over - written.values().sum::<u64>();
    assert!(gone.lost >= refused, "{refused} of {gone:?}");
}

/// What is written later may tell of something earlier, as a stack that got its names.
#[test]
fn a_tick_does_not_go_back_across_blocks() {
    let ring = Ring::new(8, 4);
    let mut writer = ring.writer(1);
    for tick in [100, 40, 41, 99, 101, 7] {
        put(&mut writer, 1, tick);
    }
    let ticks: Vec<u64> = ring.snapshot().iter().map(|copy| copy.first_tick).collect();
    assert_eq!(ticks, [100, 100, 101]);
}
