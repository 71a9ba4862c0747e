//! Random programs.
//!
//! # What makes them useful
//! * Times are few and small, so deadlines, graces and cancels often coincide.
//! * Half of the steps go to the context made last, so trees grow deep as well as wide.
//! * Most programs look rarely: what nobody has looked at is where a lazy core can err.
//! * Slots are only named while they exist, so hardly a step is wasted.

use super::op::{Op, Program, Slot, Step};
use super::rng::Rng;

/// How long programs are.
const STEPS_MIN: usize = 4;
const STEPS_MAX: usize = 48;

/// How many tries there are for each step.
const ATTEMPTS: usize = 32;

/// Makes the program of a seed: the same one each time.
///
/// Programs are small and their times few, so that things that are unlikely in life,
/// like two instants that coincide, are likely here.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::generate;
///
/// assert_eq!(generate(11), generate(11));
/// assert_ne!(generate(11), generate(12));
/// ```
#[must_use]
pub fn generate(seed: u64) -> Program {
    generate_with(Rng::new(seed))
}

/// Makes the program that a fuzzer's bytes choose; every sequence of bytes is one.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{compare, decode};
///
/// assert_eq!(compare(&decode(b"any bytes at all")), Ok(()));
/// ```
#[must_use]
pub fn decode(bytes: &[u8]) -> Program {
    generate_with(Rng::chosen(bytes))
}

fn generate_with(mut rng: Rng) -> Program {
    let is_tracked = rng.chance(1, 4);
    let looks_always = rng.chance(1, 4);
    let sets_back = rng.chance(1, 6);
    let len = STEPS_MIN + rng.below(STEPS_MAX - STEPS_MIN + 1);
    let mut maker = Maker {
        rng,
        sets_back,
        ctxs: vec![0],
        guards: vec![0],
        cancellers: Vec::new(),
        hooks: Vec::new(),
        waits: Vec::new(),
    };
    let mut steps = Vec::with_capacity(len);
    let mut slot = 1;
    // Chosen bytes may run out where no step is possible: zeros then ask for the same one
    // for ever.
    for _ in 0..len * ATTEMPTS {
        if steps.len() == len {
            break;
        }
        if let Some(op) = maker.op(slot) {
            steps.push(Step { slot, op });
            slot += 1;
        }
    }
    Program {
        is_tracked,
        looks_always,
        steps,
    }
}

/// What a program has made so far.
struct Maker {
    rng: Rng,
    sets_back: bool,
    ctxs: Vec<Slot>,
    guards: Vec<Slot>,
    cancellers: Vec<Slot>,
    hooks: Vec<Slot>,
    waits: Vec<Slot>,
}

impl Maker {
    fn op(&mut self, slot: Slot) -> Option<Op> {
        match self.rng.below(100) {
            0..40 => self.derive(slot),
            40..60 => self.register(slot),
            60..74 => self.cancel(slot),
            74..84 => self.look(),
            84..96 => Some(self.time()),
            _ => self.forget(),
        }
    }

    /// A context: a recent one as often as any, so that trees grow deep.
    fn ctx(&mut self) -> Option<Slot> {
        if self.rng.chance(1, 2) {
            return self.ctxs.last().copied();
        }
        self.rng.pick(&self.ctxs).copied()
    }

    fn several(&mut self) -> Vec<Slot> {
        let count = [0, 1, 2, 2, 2, 3, 3][self.rng.below(7)];
        (0..count)
            .filter_map(|_| self.rng.pick(&self.ctxs).copied())
            .collect()
    }

    fn short(&mut self) -> u32 {
        [0, 1, 2, 2, 3, 4, 5, 8][self.rng.below(8)]
    }

    fn small(&mut self) -> u32 {
        [0, 1, 2][self.rng.below(3)]
    }

    fn derive(&mut self, slot: Slot) -> Option<Op> {
        let of = self.ctx()?;
        // On a clock that goes back, which of two branches ended first has no answer.
        let kinds = if self.sets_back { 14 } else { 20 };
        let op = match self.rng.below(kinds) {
            0..7 => {
                self.guards.push(slot);
                Op::Child(of)
            }
            7..10 => Op::Timeout(of, self.short()),
            10 => Op::Deadline(of, i64::from(self.short()) * 2),
            11 => Op::Value(of, self.small()),
            12 => match self.rng.below(3) {
                0 => Op::Local(of, self.small()),
                1 => Op::ForTask(of),
                _ => Op::Detach(of),
            },
            13 => Op::Named(of, self.small()),
            14..16 => Op::Shield(of, Some(self.short())),
            16 if self.rng.chance(1, 3) => Op::Shield(of, None),
            16..19 => Op::Merge(self.several()),
            _ => Op::AllOf(self.several()),
        };
        self.ctxs.push(slot);
        Some(op)
    }

    fn register(&mut self, slot: Slot) -> Option<Op> {
        let wait = self.rng.pick(&self.waits).copied();
        let hook = self.rng.pick(&self.hooks).copied();
        match self.rng.below(20) {
            0..6 => {
                self.waits.push(slot);
                Some(Op::Done(self.ctx()?))
            }
            6..9 => {
                self.waits.push(slot);
                Some(Op::Draining(self.ctx()?))
            }
            9..14 => {
                self.hooks.push(slot);
                Some(Op::Hook(self.ctx()?))
            }
            14 => Some(Op::Poll(wait?)),
            15 => Some(Op::PollAnew(wait?)),
            16 => {
                let wait = wait?;
                self.waits.retain(|slot| *slot != wait);
                Some(Op::DropWait(wait))
            }
            17 => Some(Op::StopHook(hook?)),
            18 => {
                let hook = hook?;
                self.hooks.retain(|slot| *slot != hook);
                Some(Op::DropHook(hook))
            }
            _ => {
                let hook = hook?;
                self.hooks.retain(|slot| *slot != hook);
                Some(Op::DetachHook(hook))
            }
        }
    }

    fn cancel(&mut self, slot: Slot) -> Option<Op> {
        let guard = self.rng.pick(&self.guards).copied();
        let by = if self.rng.chance(1, 4) {
            self.rng.pick(&self.cancellers).copied()
        } else {
            guard
        };
        match self.rng.below(20) {
            0..8 => Some(Op::Cancel(by?)),
            8..11 => Some(Op::Drain(by?)),
            11..13 => Some(Op::Force(by?)),
            13..17 => {
                let guard = guard?;
                self.guards.retain(|slot| *slot != guard);
                Some(Op::DropGuard(guard))
            }
            17 => {
                let guard = guard?;
                self.guards.retain(|slot| *slot != guard);
                Some(Op::Disarm(guard))
            }
            _ => {
                self.cancellers.push(slot);
                Some(Op::Handle(guard?))
            }
        }
    }

    fn look(&mut self) -> Option<Op> {
        let of = self.ctx()?;
        Some(match self.rng.below(3) {
            0 => Op::IsDone(of),
            1 => Op::Cause(of),
            _ => Op::Phase(of),
        })
    }

    fn time(&mut self) -> Op {
        match self.rng.below(10) {
            0..2 => Op::Jump,
            2 if self.sets_back => Op::SetBack(self.short()),
            _ => Op::Advance(1 + self.small()),
        }
    }

    fn forget(&mut self) -> Option<Op> {
        let ctx = self.rng.pick(&self.ctxs).copied()?;
        self.ctxs.retain(|slot| *slot != ctx);
        Some(Op::DropCtx(ctx))
    }
}
