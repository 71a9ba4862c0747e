//! What is encoded without a look at the event table are the bytes of the general encoder, at every
//! length of number.

use ripcord_trace_format::{Bare, BlockMemory, Brief, Encoder, Event, Progress, Seq, WakeBy};

/// Before and after each change in the number of bytes, as far as the two ways differ.
const NUMBERS: [u64; 9] = [
    0,
    1,
    0x7e,
    0x7f,
    0x80,
    0x3fff,
    0x4000,
    1 << 40,
    u64::MAX - 1,
];

const BARE: [Bare; 6] = [
    Bare::PollYield,
    Bare::PollPreempt,
    Bare::PollReady,
    Bare::PollLost,
    Bare::Park,
    Bare::Unpark,
];

const WHO: [WakeBy; 5] = [
    WakeBy::Task,
    WakeBy::Cancel,
    WakeBy::Other(0x7f),
    WakeBy::Other(0x80),
    WakeBy::Other(u64::MAX),
];

/// By the way that is tested, where the event is brief.
fn brief(ticks: u64, event: &Event<'_>, known: &BlockMemory) -> Option<Brief> {
    match *event {
        Event::PollStart { slot, seq } => Brief::poll_start(ticks, slot, seq, known),
        Event::PollPending { label } => Brief::poll_wait(ticks, false, label),
        Event::PollListening { label } => Brief::poll_wait(ticks, true, label),
        Event::Wake {
            slot,
            seq,
            by,
            waker,
        } => Brief::wake(ticks, slot, seq, by, waker, known),
        ref other => {
            let bare = BARE.into_iter().find(|bare| bare.event() == *other);
            Brief::bare(ticks, bare.expect("an event with a way of its own"))
        }
    }
}

/// What the general encoder writes beside a memory, and what it remembers then.
fn general(ticks: u64, event: &Event<'_>, known: &BlockMemory) -> (Vec<u8>, BlockMemory) {
    let mut buffer = [0; 64];
    let mut encoder = Encoder::resume(&mut buffer, Progress::at(0), known.clone());
    encoder.push(ticks, event).expect("it has no text");
    (encoder.written().to_vec(), encoder.into_memory())
}

/// What is remembered of a block that has begun.
fn begun() -> BlockMemory {
    general(0, &Event::Park {}, &BlockMemory::new()).1
}

fn events() -> Vec<Event<'static>> {
    let mut events: Vec<Event<'_>> = BARE.iter().map(|bare| bare.event()).collect();
    let labels = NUMBERS.map(Some).into_iter().chain([None, Some(u64::MAX)]);
    for label in labels {
        events.push(Event::PollPending { label });
        events.push(Event::PollListening { label });
        for (by, slot) in WHO.iter().flat_map(|by| NUMBERS.map(|slot| (*by, slot))) {
            events.push(Event::Wake {
                slot,
                seq: Seq::new(slot),
                by,
                waker: label,
            });
        }
    }
    for (slot, seq) in NUMBERS.into_iter().zip([0, 127, 64].into_iter().cycle()) {
        let seq = Seq::new(seq);
        events.push(Event::PollStart { slot, seq });
    }
    events
}

#[test]
fn what_is_brief_is_written_as_the_general_encoder_does() {
    //= T9, T14
    let mut briefs = 0;
    let (mut ours, mut theirs) = (begun(), begun());
    // Twice, so that each slot is known as well.
    for (event, ticks) in events()
        .iter()
        .flat_map(|event| NUMBERS.into_iter().chain([1]).map(move |n| (event, n)))
    {
        let (expect, after) = general(ticks, event, &theirs);
        // What was noted before is what an encoder has noted.
        let (same, by_encoder) = general(ticks, event, &ours);
        assert_eq!(same, expect, "{event:?} after {ticks}");
        let brief = brief(ticks, event, &ours);
        theirs = after;
        let Some(brief) = brief else {
            ours = by_encoder;
            assert!(expect.len() >= 4, "{event:?} after {ticks}: {expect:02x?}");
            continue;
        };
        briefs += 1;
        let mut room = [0xaa; 24];
        let len = brief.put(&mut room).expect("16 bytes are enough");
        assert_eq!(room[..len], expect, "{event:?} after {ticks}");
        assert_eq!(room[16..], [0xaa; 8], "{event:?} after {ticks}");
        ours.note_brief(event);
    }
    assert!(briefs > 500, "{briefs}");
    let nothing = BlockMemory::new();
    let event = Event::PollStart {
        slot: 1,
        seq: Seq::new(1),
    };
    assert_eq!(
        self::brief(1, &event, &nothing),
        None,
        "an encoder begins a block"
    );
}

#[test]
fn without_room_for_two_words_nothing_is_written() {
    //= T12
    for event in events() {
        for len in 0..16 {
            let mut room = [0xaa; 16];
            let put = brief(1, &event, &begun()).and_then(|brief| brief.put(&mut room[..len]));
            assert_eq!((put, room), (None, [0xaa; 16]), "{event:?}, {len} bytes");
        }
    }
}
