//! Every event through encoder, decoder and text.

mod oracle;
mod sample;

use proptest::prelude::*;
use ripcord_trace_format::{
    ArgKind, CauseKind, Decoder, EVENT_BYTES_MAX, EVENTS, Encoder, Event, Fault, Full, Reader,
    Schema, Seq, TEXT_BYTES_MAX, text,
};

fn encoded(events: &[(u64, Event<'_>)], first: u64) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let mut encoder = Encoder::new(&mut buffer, first);
    for (tick, event) in events {
        encoder.push(*tick, event).expect("64 KiB are enough");
    }
    encoder.written().to_vec()
}

fn decoded(bytes: &[u8], first: u64) -> Vec<(u64, Event<'_>)> {
    let schema = Box::leak(Box::new(Schema::current()));
    let events = Decoder::new(bytes, first, schema);
    events.map(|event| event.expect("good bytes")).collect()
}

#[test]
fn the_sample_comes_back() {
    //= T9
    for events in [sample::TASK, sample::JOB] {
        let first = events[0].0;
        let bytes = encoded(events, first);
        assert_eq!(decoded(&bytes, first), events);
    }
}

#[test]
fn the_bytes_of_an_event_are_these() {
    //= T9, T14
    let spawn = Event::TaskSpawn {
        slot: 300,
        id: 1,
        parent: None,
        ctx: Some(0),
        loc: Some(127),
        bytes: 0,
        name: "né",
    };
    let expect = [
        0x66, 5, 0xd8, 0x04, 0, 1, 0x80, 0x01, 0, 1, 3, b'n', 0xc3, 0xa9, 0,
    ];
    assert_eq!(encoded(&[(105, spawn)], 100), expect);
    let metric = Event::Metric {
        label: 0,
        value: -1,
    };
    assert_eq!(encoded(&[(0, metric)], 0), [0x3a, 0, 0, 1]);
    let poll = Event::PollStart {
        slot: 1,
        seq: Seq::new(200),
    };
    assert_eq!(encoded(&[(0, poll)], 0), [0x03, 0, 1, 72]);
}

#[test]
fn an_event_is_whole_or_not_there() {
    //= T12
    for events in [sample::TASK, sample::JOB] {
        let (first, whole) = (events[0].0, encoded(events, events[0].0));
        for room in 0..whole.len() {
            let mut buffer = vec![0; room];
            let mut encoder = Encoder::new(&mut buffer, first);
            let fit = events.iter().take_while(|(tick, event)| {
                let before = encoder.progress();
                let pushed = encoder.push(*tick, event);
                assert_eq!(pushed.is_err(), encoder.progress() == before);
                pushed.is_ok()
            });
            let fit = fit.count();
            assert!(fit < events.len());
            assert!(whole.starts_with(encoder.written()));
            assert_eq!(decoded(encoder.written(), first), events[..fit]);
        }
    }
    let mut none = [];
    let full = Encoder::new(&mut none, 0).push(0, &Event::Park {});
    assert_eq!(full, Err(Full));
}

#[test]
fn the_largest_event_fits_into_an_empty_buffer() {
    //= T11
    let long = "x".repeat(5_000);
    let largest = Event::TaskEnd {
        slot: u64::MAX,
        id: 1 << 63,
        outcome: ripcord_trace_format::Outcome::Other(u64::MAX),
        parent: Some(u64::MAX >> 1),
        ctx: Some(u64::MAX >> 1),
        loc: Some(u64::MAX - 1),
        polls: u64::MAX,
        busy: u64::MAX,
        name: &long,
    };
    let mut buffer = [0; EVENT_BYTES_MAX];
    let mut encoder = Encoder::new(&mut buffer, 0);
    encoder.push(u64::MAX, &largest).expect("it fits");
    assert_eq!(encoder.written().len(), EVENT_BYTES_MAX);
    let events = decoded(encoder.written(), 0);
    let [(u64::MAX, Event::TaskEnd { name, parent, .. })] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((name.len(), parent), (TEXT_BYTES_MAX, Some(u64::MAX >> 1)));
}

#[test]
fn extremes_become_their_neighbours() {
    //= T14
    let cancel = |due| Event::CtxCancel {
        id: 0,
        kind: CauseKind::Cancelled,
        by: Some(u64::MAX),
        loc: Some(u64::MAX),
        due: Some(due),
        message: "",
    };
    for (due, expect) in [
        (i64::MIN, i64::MIN + 1),
        (i64::MIN + 1, i64::MIN + 1),
        (i64::MAX, i64::MAX),
        (0, 0),
    ] {
        // A place that no shape can have: all of its arguments are written.
        let bytes = encoded(&[(0, cancel(due))], 0);
        assert_eq!(bytes[0], 0x11);
        let Event::CtxCancel { by, loc, due, .. } = decoded(&bytes, 0)[0].1 else {
            panic!("another event");
        };
        assert_eq!((by, loc, due), (Some(u64::MAX), None, Some(expect)));
    }
    // What is 2^63 from the id before, which is 0 here, cannot be told from nothing.
    let seen = |task| Event::CtxSeen {
        id: 0,
        task,
        how: ripcord_trace_format::SeenHow::Poll,
        loc: None,
    };
    // What follows is not shifted by that.
    let create = |id, deadline| Event::CtxCreate {
        id,
        parent: None,
        kind: ripcord_trace_format::CtxKind::Root,
        loc: Some(u64::MAX),
        deadline: Some(deadline),
        name: "",
    };
    let events = [
        (0, seen(Some(1 << 63))),
        (0, seen(Some(1))),
        (0, create(7, i64::MIN)),
        (0, create(7 + 256, 4)),
        (0, seen(Some(5))),
    ];
    let bytes = encoded(&events, 0);
    let read = decoded(&bytes, 0);
    assert_eq!(read[..2], [(0, seen(None)), (0, seen(Some(1)))]);
    let Event::CtxCreate {
        id: 263,
        loc: None,
        deadline: Some(4),
        ..
    } = read[3].1
    else {
        panic!("{:?}", read[3]);
    };
    assert_eq!(read[4], events[4]);
    assert_eq!(decoded(&encoded(&read, 0), 0), read);
}

#[test]
fn ticks_do_not_go_back() {
    //= T13
    let events = [
        (50, Event::Park {}),
        (20, Event::Unpark {}),
        (60, Event::Park {}),
    ];
    let ticks: Vec<_> = decoded(&encoded(&events, 40), 40)
        .iter()
        .map(|(tick, _)| *tick)
        .collect();
    assert_eq!(ticks, [50, 50, 60]);
    let ends = [(u64::MAX, Event::Park {}), (0, Event::Unpark {})];
    let ticks: Vec<_> = decoded(&encoded(&ends, 0), 0)
        .iter()
        .map(|(tick, _)| *tick)
        .collect();
    assert_eq!(ticks, [u64::MAX; 2]);
}

#[test]
fn a_wrong_event_is_told_with_its_place() {
    //= T10, T11, T16
    let schema = Schema::current();
    let text = |len: &[u8], bytes: &[u8]| [&[0x1a, 0][..], len, bytes].concat();
    for (bytes, fault) in [
        (vec![0x1b], Fault::Cut),
        (vec![0x20], Fault::Cut),
        (vec![0x20, 0x80], Fault::Cut),
        (vec![0x20, 0x80, 0], Fault::NumberTooLong),
        (vec![0x03, 0, 0x80, 0], Fault::NumberTooLong),
        (vec![0x03, 0, 1, 0x80, 0x01], Fault::SeqTooLarge(128)),
        (
            [&[0x18, 0][..], &[0xff; 10]].concat(),
            Fault::NumberTooLarge,
        ),
        (text(&[3], b"ab"), Fault::Cut),
        (text(&[2], b"\xc3\x28"), Fault::TextNotUtf8),
        (
            text(&[0x81, 0x08], &[b'x'; 1_025]),
            Fault::TextTooLong(1_025),
        ),
        (
            text(&[0x80, 0x80, 0x80, 0x80, 0x04], b""),
            Fault::TextTooLong(1 << 30),
        ),
        (vec![0x90, 0, 0x80, 0x80, 0x80, 0x80, 0x04], Fault::Cut),
        (vec![0x00, 0], Fault::UnknownType(0)),
        (
            [&[0x20][..], &[0xff; 9], &[1]].concat(),
            Fault::TickTooLarge,
        ),
    ] {
        let payload = [&[0x21, 1][..], &bytes].concat();
        let mut events = Decoder::new(&payload, 5, &schema);
        assert_eq!(events.next(), Some(Ok((6, Event::Unpark {}))));
        let error = events.next().expect("bytes").expect_err("a fault");
        assert_eq!((error.offset, error.fault), (2, fault), "{bytes:02x?}");
        assert_eq!(events.next(), None);
        assert_eq!(events.rest(), bytes);
    }
}

/// A value of this kind, as text.
fn value(kind: ArgKind, names: usize, number: u64, word: &str) -> String {
    match kind {
        ArgKind::OptUint | ArgKind::OptInt | ArgKind::OptCtx | ArgKind::OptTask if number == 0 => {
            "-".to_owned()
        }
        ArgKind::OptUint => (number - 1).to_string(),
        ArgKind::Int => number.cast_signed().to_string(),
        ArgKind::OptInt => number.cast_signed().max(i64::MIN + 1).to_string(),
        ArgKind::Seq => (number % 128).to_string(),
        // Numbers with names are written as names.
        ArgKind::Enum => format!("#{}", number.max(names as u64)),
        ArgKind::Id if number.is_multiple_of(3) => format!("\"{number:032x}\""),
        ArgKind::Id if number % 3 == 1 => {
            let tail = number & 0xffff_ffff_ffff;
            format!("\"0123abcd-0000-4000-8000-{tail:012x}\"")
        }
        ArgKind::Text | ArgKind::Name | ArgKind::Id => format!("{word:?}"),
        _ => number.to_string(),
    }
}

fn line() -> impl Strategy<Value = String> {
    let numbers = proptest::collection::vec((any::<u64>(), 0..64_u32), 10);
    let delta = (any::<u32>(), 0..32_u32);
    (0..EVENTS.len(), numbers, ".{0,20}", delta).prop_map(|(row, numbers, word, delta)| {
        let row = &EVENTS[row];
        let args = row.args.iter().zip(numbers).map(|(arg, (number, shift))| {
            let value = value(arg.kind, arg.names.len(), number >> shift, &word);
            format!(" {}={value}", arg.name)
        });
        let args: String = args.collect();
        format!("  +{} {}{args}\n", delta.0 >> delta.1, row.name)
    })
}

proptest! {
    #[test]
    fn any_events_come_back(lines in proptest::collection::vec(line(), 0..40)) {
        //= T22
        let lines = lines.concat();
        let twin = format!(
            "{}block events window=1 thread=1 first=77 last=99 events=40\n{lines}",
            oracle::twin(Reader::new(&sample::header().encode()[..]).expect("a trace"))
        );
        let trace = text::parse(&twin).map_err(|error| TestCaseError::fail(format!("{error}\n{twin}")))?;
        // The oracle encodes each typed event again, and compares the bytes.
        oracle::check(&trace);
        let found = oracle::read(Reader::new(&trace[..]).expect("a trace"));
        prop_assert_eq!((found.events, found.wrong), (lines.lines().count(), 0));
    }

    #[test]
    fn any_bytes_are_read(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        oracle::check(&data);
        let good = text::parse("block events window=0 thread=0 first=0 last=0 events=0\n").expect("text");
        let info = ripcord_trace_format::BlockInfo::new(ripcord_trace_format::BlockKind::Events);
        let header = info.header(&data).expect("short");
        oracle::check(&[&sample::header().encode()[..], &header, &data, &good].concat());
    }

    #[test]
    fn mutants_of_the_sample_are_read(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut trace = sample::trace();
        for (at, byte) in changes {
            let at = at.index(trace.len());
            trace[at] = byte;
        }
        let cut = cut.index(trace.len());
        trace.rotate_left(cut);
        oracle::check(&trace);
        trace.rotate_right(cut);
        trace.truncate(cut);
        oracle::check(&trace);
    }
}
