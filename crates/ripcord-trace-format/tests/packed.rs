//! Short forms beside what they stand for: long blocks in which everything comes again.

use ripcord_trace_format::{
    CauseKind, CtxKind, Decoder, Encoder, Event, IdText, Outcome, Position, Schema, SeenHow, Seq,
    WakeBy,
};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Numbers by chance, the same ones for the same seed.
struct Chance(Cell<u64>);

impl Chance {
    fn below(&self, end: u64) -> u64 {
        let mut bits = self.0.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        self.0.set(bits);
        (bits >> 11) % end
    }

    fn one<T: Copy>(&self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("it is an index")]
    }

    /// Mostly a small number, seldom one at the end of its range.
    fn id(&self) -> u64 {
        match self.below(64) {
            0 => u64::MAX - self.below(2),
            1 => 1 << 62,
            _ => self.below(700),
        }
    }

    fn maybe(&self) -> Option<u64> {
        (self.below(3) > 0).then(|| self.id())
    }

    fn loc(&self) -> Option<u64> {
        let loc = match self.below(64) {
            0 => u64::MAX - 1,
            1 => u64::from(u32::MAX),
            _ => self.below(5),
        };
        (self.below(8) > 0).then_some(loc)
    }
}

const NAMES: &[&str] = &[
    "",
    "GET /orders",
    "GET /orders/{id}",
    "é",
    "a name that is longer than what is kept of a block, and is written out each time",
];

const IDS: &[&str] = &[
    "",
    "8f3",
    "01a1fbee-8d40-7b90-a144-519a37964056",
    "16f7d004ff6ad31c05ead9a7ad4d5259",
    "16F7D004FF6AD31C05EAD9A7AD4D5259",
];

fn of_a_context<'a>(chance: &Chance, ids: &mut [u64; 2], names: &'a [String]) -> Event<'a> {
    let name = chance.one(&[chance.one(NAMES), &names[0]]);
    let id = chance.id();
    match chance.below(6) {
        0 => {
            ids[0] = ids[0].wrapping_add(chance.below(3));
            Event::CtxCreate {
                id: chance.one(&[ids[0], ids[0], id]),
                parent: chance.maybe(),
                kind: CtxKind::from_number(chance.below(18)),
                loc: chance.loc(),
                deadline: (chance.below(2) > 0).then(|| chance.below(9).cast_signed() - 4),
                name,
            }
        }
        1 | 2 => Event::CtxCancel {
            id,
            kind: CauseKind::from_number(chance.one(&[2, 2, 2, 1, 8, 77])),
            by: chance.maybe(),
            loc: chance.loc(),
            due: (chance.below(3) == 0).then(|| chance.below(9).cast_signed() - 4),
            message: chance.one(&["", "", "too late", name]),
        },
        3 => Event::CtxSeen {
            id,
            task: chance.maybe(),
            how: SeenHow::from_number(chance.one(&[4, 4, 1])),
            loc: chance.one(&[None, Some(3)]),
        },
        4 => Event::CtxTag {
            id,
            key: 3,
            text: IdText::new(chance.one(&[chance.one(IDS), &names[1]])),
        },
        _ => Event::CtxEnd {
            id,
            parent: chance.maybe(),
            loc: chance.loc(),
            name,
        },
    }
}

fn of_a_task<'a>(chance: &Chance, ids: &mut [u64; 2], names: &'a [String]) -> Event<'a> {
    let name = chance.one(&[chance.one(NAMES), &names[0]]);
    let slot = chance.one(&[chance.below(5), chance.below(300)]);
    let seq = Seq::new(chance.one(&[0, 1, 2, 127]));
    match chance.below(8) {
        0 => {
            ids[1] = ids[1].wrapping_add(chance.below(3));
            Event::TaskSpawn {
                slot,
                id: ids[1],
                parent: chance.maybe(),
                ctx: chance.one(&[Some(ids[0]), chance.maybe()]),
                loc: chance.loc(),
                bytes: chance.below(3),
                name,
            }
        }
        1 => Event::TaskEnd {
            slot,
            id: chance.one(&[ids[1], chance.id()]),
            outcome: Outcome::from_number(chance.below(5)),
            parent: chance.maybe(),
            ctx: chance.maybe(),
            loc: chance.loc(),
            polls: chance.below(4),
            busy: chance.id(),
            name,
        },
        2 | 3 => Event::PollStart { slot, seq },
        4 => Event::TaskCtx {
            slot,
            ctx: chance.id(),
        },
        5 => Event::JobEnd {
            job: chance.id(),
            outcome: Outcome::Ready,
            parent: chance.maybe(),
            ctx: chance.maybe(),
            loc: chance.loc(),
            name,
        },
        6 => Event::PollReady {},
        _ => Event::Wake {
            slot,
            seq,
            by: WakeBy::from_number(chance.below(10)),
            waker: chance.maybe().filter(|waker| *waker != u64::MAX),
        },
    }
}

/// What is made is told as it was made: a life from its beginning to its end.
fn lives<'a>(chance: &Chance, ids: &mut [u64; 2], names: &'a [String]) -> Vec<Event<'a>> {
    ids[0] += 1 + chance.below(2);
    ids[1] += 1 + chance.below(2);
    let ([ctx, task], slot) = (*ids, chance.below(6));
    let (parent, loc) = (
        chance.one(&[None, Some(2), Some(ctx - 1)]),
        Some(chance.below(5)),
    );
    let (by, name) = (
        chance.one(&[None, Some(task)]),
        chance.one(&[NAMES[1], &names[0]]),
    );
    let deadline = chance.one(&[None, Some(5_000), Some(5_003)]);
    let (kind, due) = match chance.below(2) {
        0 => (CauseKind::Dropped, None),
        _ => (CauseKind::DeadlineExceeded, Some(-7)),
    };
    let (bytes, seq) = (100, Seq::new(0));
    let (polls, busy, outcome) = (1, chance.below(900), Outcome::Ready);
    #[rustfmt::skip]
    let life = vec![
        Event::CtxCreate { id: ctx, parent, kind: CtxKind::Child, loc, deadline, name },
        Event::TaskSpawn { slot, id: task, parent: by, ctx: Some(ctx), loc, bytes, name },
        Event::Wake { slot, seq, by: WakeBy::Runtime, waker: Some(2) },
        Event::PollStart { slot, seq },
        Event::TaskCtx { slot, ctx },
        Event::CtxSeen { id: ctx, task: Some(task), how: SeenHow::Unlisted, loc: None },
        Event::PollReady {},
        Event::CtxCancel { id: ctx, kind, by, loc, due, message: "" },
        Event::TaskEnd { slot, id: task, outcome, parent: by, ctx: Some(ctx), loc, polls, busy, name },
        Event::CtxEnd { id: ctx, parent, loc, name },
    ];
    life
}

#[test]
fn any_events_come_back_in_any_form() {
    //= T25, T26
    let schema = Schema::current();
    let mut forms = BTreeSet::new();
    let names: Vec<_> = (0..300)
        .map(|at| [format!("GET /orders/{at}"), format!("{at:032x}")])
        .collect();
    for seed in 1..=40 {
        let chance = Chance(Cell::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
        let (mut ids, mut events) = ([10, 10], Vec::new());
        while events.len() < 4_000 {
            let names = &names[usize::try_from(chance.below(300)).expect("small")];
            match chance.below(4) {
                0 => events.push(of_a_context(&chance, &mut ids, names)),
                1 => events.push(of_a_task(&chance, &mut ids, names)),
                _ => events.extend(lives(&chance, &mut ids, names)),
            }
        }
        let mut buffer = vec![0; 1 << 20];
        let mut encoder = Encoder::new(&mut buffer, 0);
        for (tick, event) in (0..).zip(&events) {
            encoder.push(tick, event).expect("a mebibyte is enough");
        }
        let bytes = encoder.written();
        let mut position = Position::at(0);
        for (tick, event) in (0..).zip(&events) {
            let mut decoder = Decoder::resume(bytes, position, &schema);
            forms.insert(decoder.rest()[0]);
            assert_eq!(decoder.peek(), Some((tick, event.number())));
            assert_eq!(decoder.next(), Some(Ok((tick, *event))), "seed {seed}");
            position = decoder.pause();
        }
        let whole = Decoder::new(bytes, 0, &schema);
        assert_eq!(whole.count(), events.len());
    }
    let packed: Vec<_> = forms.range(0x60..0x80).copied().collect();
    assert_eq!(packed, (0x60..=0x6f).collect::<Vec<_>>());
}

#[test]
fn what_was_said_is_not_said_again() {
    //= T25
    let chance = Chance(Cell::new(7));
    let names = ["GET /orders/1".to_owned(), String::new()];
    let mut ids = [1 << 40, 1 << 40];
    let mut buffer = vec![0; 1 << 16];
    let mut encoder = Encoder::new(&mut buffer, 0);
    let mut before = 0;
    for round in 0..200 {
        for event in lives(&chance, &mut ids, &names) {
            encoder.push(0, &event).expect("there is room");
        }
        let len = encoder.progress().len;
        // Ten events; places, names and deadlines are known by then.
        assert!(round < 100 || len - before <= 50, "{}", len - before);
        before = len;
    }
}
