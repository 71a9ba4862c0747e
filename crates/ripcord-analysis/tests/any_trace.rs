//! Whatever a trace says: no panic, contiguous segments, sums that are exact.

mod support;

use proptest::prelude::*;
use ripcord_analysis::critical_path::{CriticalPath, Target};
use ripcord_analysis::read::Trace;
use ripcord_analysis::{Analysis, Explanation, Options, Select};
use ripcord_trace_format::{
    BlockInfo, BlockKind, CauseKind, ClockKind, CtxKind, Encoder, Event, FileHeader, Outcome,
    SeenHow, Seq, WakeBy, Writer,
};
use std::io::Cursor;
use std::time::Duration;

/// Numbers that make an event: its type, then what it needs.
type Raw = (u8, u64, u64, u64, u64);

/// An event over few slots, ids and contexts, so that they meet.
fn event(raw: Raw) -> (u64, Event<'static>) {
    let (kind, delta, a, b, c) = raw;
    let event = if kind % 2 == 0 {
        of_tasks(kind / 2, a, b, c)
    } else {
        of_contexts_and_jobs(kind / 2, a, b, c)
    };
    (delta % 300, event)
}

fn of_tasks(kind: u8, a: u64, b: u64, c: u64) -> Event<'static> {
    let (slot, id, ctx) = (a % 4, 50 + b % 6, Some(1 + c % 7));
    match kind % 13 {
        0 => Event::TaskSpawn {
            slot,
            id,
            parent: Some(50),
            ctx,
            loc: None,
            bytes: 1,
            name: "t",
        },
        1 => Event::TaskEnd {
            slot,
            id,
            outcome: Outcome::from_number(c % 5),
            parent: None,
            ctx,
            loc: None,
            polls: 1,
            busy: 0,
            name: "t",
        },
        2..=4 => Event::PollStart {
            slot,
            seq: Seq::new(b),
        },
        5 => Event::PollPending { label: None },
        6 => Event::PollListening { label: Some(b % 3) },
        7 => Event::PollReady {},
        8 if c.is_multiple_of(2) => Event::TaskLost { slot },
        8 => Event::PollLost {},
        9 => Event::PollYield {},
        10 | 11 => Event::Wake {
            slot,
            seq: Seq::new(b),
            by: WakeBy::from_number(c % 10),
            waker: Some(c % 7),
        },
        _ => Event::TaskCtx {
            slot,
            ctx: 1 + c % 7,
        },
    }
}

fn of_contexts_and_jobs(kind: u8, a: u64, b: u64, c: u64) -> Event<'static> {
    let (id, job) = (1 + c % 7, 50 + b % 6);
    match kind % 9 {
        0 | 1 => Event::CtxCreate {
            id,
            parent: (!b.is_multiple_of(3)).then_some(b % 7),
            kind: CtxKind::from_number(a % 6),
            loc: None,
            deadline: (!c.is_multiple_of(2)).then_some((b % 900).cast_signed() - 50),
            name: "c",
        },
        2 | 3 => Event::CtxCancel {
            id,
            kind: CauseKind::from_number(a % 9),
            by: Some(job),
            loc: None,
            due: (!b.is_multiple_of(2)).then_some(-(a % 500).cast_signed()),
            message: "",
        },
        4 => Event::CtxSeen {
            id,
            task: Some(job),
            how: SeenHow::from_number(b % 5),
            loc: None,
        },
        5 => Event::CtxEnd {
            id,
            parent: None,
            loc: None,
            name: "c",
        },
        6 => Event::JobQueued {
            job,
            parent: Some(50),
            ctx: Some(id),
            loc: None,
            name: "j",
        },
        7 => Event::JobStart { job },
        _ => Event::JobEnd {
            job,
            outcome: Outcome::Ready,
            parent: None,
            ctx: Some(id),
            loc: None,
            name: "j",
        },
    }
}

fn bytes(threads: &[Vec<Raw>]) -> Vec<u8> {
    let header = FileHeader::new(ClockKind::Monotonic, 0, 1_000_000);
    let mut writer = Writer::new(Vec::new(), &header).expect("a vector takes all");
    for (thread, raws) in (1..).zip(threads) {
        let mut buffer = vec![0; 64 * 1024];
        let mut encoder = Encoder::new(&mut buffer, 0);
        let mut tick = 0;
        for raw in raws {
            let (delta, event) = event(*raw);
            tick += delta;
            encoder.push(tick, &event).expect("64 KiB are enough");
        }
        let info = BlockInfo {
            thread,
            ..BlockInfo::new(BlockKind::Events)
        };
        writer.events(info, &encoder).expect("a vector takes all");
    }
    writer.finish().expect("a vector takes all")
}

/// Everything that holds for each analysis.
fn check(bytes: Vec<u8>) -> Option<Analysis> {
    let mut trace = Trace::new(Cursor::new(bytes)).ok()?;
    let mut options = Options::default().late(Duration::from_micros(1));
    options.selected = (1..8).map(Select::Ctx).collect();
    let analysis = Analysis::of(&mut trace, &options).expect("memory can be read");
    for end in &analysis.late_ends {
        for lane in &end.lanes {
            let mut at = lane.from;
            for segment in &lane.segments {
                assert_eq!(segment.from, at, "{lane:?}");
                at += segment.time;
            }
            assert_eq!(at, lane.from + lane.late, "{lane:?}");
            assert!(lane.late <= end.late, "{end:?}");
            assert!(
                lane.observed.is_none_or(|seen| seen <= lane.late),
                "{lane:?}"
            );
        }
        let explanation = Explanation::of(end);
        let sum: Duration = explanation.parts.iter().map(|part| part.time).sum();
        assert_eq!(sum, end.late, "{explanation:#?} {end:#?}");
        assert!(!explanation.to_string().contains(char::is_control));
    }
    for target in [Target::Task(50), Target::Ctx(1)] {
        let path = CriticalPath::of(&mut trace, target).expect("memory can be read");
        let Some(path) = path else { continue };
        let sum: Duration = path.hops.iter().map(|hop| hop.time).sum();
        assert_eq!(sum, path.time, "{path:#?}");
        for pair in path.hops.windows(2) {
            assert_eq!(pair[0].from + pair[0].time, pair[1].from, "{path:#?}");
        }
    }
    serde_json::to_string(&analysis).expect("it is plain values");
    Some(analysis)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_events_are_cut_into_exact_pieces(
        threads in prop::collection::vec(prop::collection::vec(any::<Raw>(), 0..80), 1..4)
    ) {
        check(bytes(&threads));
    }

    #[test]
    fn any_damage_is_survived(
        threads in prop::collection::vec(prop::collection::vec(any::<Raw>(), 0..40), 1..4),
        flips in prop::collection::vec(any::<(usize, u8)>(), 0..4),
        cut in any::<usize>(),
    ) {
        let mut bytes = bytes(&threads);
        for (at, bits) in flips {
            let at = at % bytes.len();
            bytes[at] ^= bits;
        }
        bytes.truncate(cut % (bytes.len() + 1));
        check(bytes);
    }
}

#[test]
fn every_cut_of_the_sample_is_analysed() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../ripcord-trace-format/tests/testdata/sample.ript"
    );
    let sample = std::fs::read(path).expect("it is in the repository");
    let whole = check(sample.clone()).expect("it is a trace");
    assert_eq!(whole.tasks.len(), 5);
    assert!(whole.health.is_closed());
    for len in (0..sample.len()).step_by(7) {
        if let Some(part) = check(sample[..len].to_vec()) {
            assert!(!part.health.is_whole(), "{len}");
            assert!(part.events <= whole.events, "{len}");
        }
    }
}
