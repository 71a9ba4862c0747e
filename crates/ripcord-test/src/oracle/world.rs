//! The core and the model side by side: each step is carried out on both and compared.
//!
//! # What is compared after each step
//! Results and polls; wakes, to the number; which hooks ran, with what cause, and their
//! order within a context; names, values, deadlines; who is alive; how many timers are
//! armed. Causes and phases only where a step looks (or always, if the program says so):
//! a look changes what the core knows, so looking at everything would hide its lazy side.
//!
//! # Where the core has a choice
//! 1. A guard dropped when a deadline above has passed that nobody saw: either cause
//!    (C21). The model takes over what the core shows.
//! 2. The instant of such a drop, where something was registered and is gone (C13).
//! 3. Of members that were done before their `all_of` was made, each with the latest
//!    instant can be the last (C71).
//! 4. Two acts at one instant: where it matters, time passes between them (`tick`).

mod acts;
mod compare;
mod hooks;
mod waits;

use super::model::{Id, Link, Micros, Model, Reason};
use super::op::{Op, Program, Slot, Step};
use crate::clock::TestClock;
use hooks::{HookSide, Log};
use ripcord_core::{CancelGuard, Canceller, Cause, Ctx, Grace, Reach, Value};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};
use waits::WaitSide;

/// A millisecond, which the times of a program are given in.
const MS: Micros = 1_000;

/// What differs, in words.
pub(super) type Check = Result<(), String>;

struct TaskValue(u32);
impl Value for TaskValue {}

struct LocalValue(u32);
impl Value for LocalValue {
    const REACH: Reach = Reach::Local;
}

/// Both sides, and what the program has made so far.
pub(super) struct World {
    clock: TestClock,
    start: Instant,
    model: Model,
    how: How,
    was_waited: bool,
    ctxs: BTreeMap<Slot, (Ctx, Id)>,
    guards: BTreeMap<Slot, (CancelGuard, Id)>,
    cancellers: BTreeMap<Slot, (Canceller, Id)>,
    hooks: BTreeMap<Slot, HookSide>,
    waits: BTreeMap<Slot, WaitSide>,
    log: Log,
}

/// How a program is run.
struct How {
    is_tracked: bool,
    looks_always: bool,
    ticks: bool,
}

/// Whether the program asks which of two acts at the same instant was the last (an
/// `all_of`), or which of two shields ended first (a merge): the core cannot tell.
fn needs_ticks(program: &Program) -> bool {
    let has = |test: fn(&Op) -> bool| program.steps.iter().any(|step| test(&step.op));
    let has_shield = has(|op| matches!(op, Op::Shield(..)));
    has(|op| matches!(op, Op::AllOf(_))) || has_shield && has(|op| matches!(op, Op::Merge(_)))
}

fn same<T: PartialEq + Debug>(what: &str, model: &T, core: &T) -> Check {
    if model == core {
        return Ok(());
    }
    Err(format!(
        "{what}: the model says {model:?}, the core {core:?}"
    ))
}

impl World {
    pub(super) fn new(program: &Program) -> Self {
        let clock = TestClock::new();
        let root = clock.root();
        let root = if program.is_tracked {
            root.tracked()
        } else {
            root
        };
        let (ctx, guard) = root.build();
        Self {
            start: clock.now(),
            clock,
            model: Model::new(),
            how: How {
                is_tracked: program.is_tracked,
                looks_always: program.looks_always,
                ticks: needs_ticks(program),
            },
            was_waited: false,
            ctxs: BTreeMap::from([(0, (ctx, Model::ROOT))]),
            guards: BTreeMap::from([(0, (guard, Model::ROOT))]),
            cancellers: BTreeMap::new(),
            hooks: BTreeMap::new(),
            waits: BTreeMap::new(),
            log: Log::default(),
        }
    }

    /// Lets some time pass before an act, in programs that need that.
    fn tick(&mut self) {
        if self.how.ticks {
            self.model.now += 1;
            self.clock.advance(Duration::from_micros(1));
        }
    }

    /// Carries out one step on both sides. A step that refers to nothing is skipped.
    pub(super) fn step(&mut self, step: &Step) -> Check {
        match &step.op {
            Op::Merge(of) | Op::AllOf(of) => self.join(step, of)?,
            Op::Child(_)
            | Op::Timeout(..)
            | Op::Deadline(..)
            | Op::Value(..)
            | Op::Local(..)
            | Op::Named(..)
            | Op::ForTask(_)
            | Op::Shield(..)
            | Op::Detach(_) => self.derive(step),
            Op::DropCtx(of) => drop(self.ctxs.remove(of)),
            Op::Handle(of) => {
                if let Some((guard, id)) = self.guards.get(of) {
                    self.cancellers.insert(step.slot, (guard.handle(), *id));
                }
            }
            Op::Cancel(of) | Op::Drain(of) | Op::Force(of) => self.cancel(step, *of)?,
            Op::DropGuard(of) => self.drop_guard(*of)?,
            Op::Disarm(of) => {
                if let Some((guard, _)) = self.guards.remove(of) {
                    guard.disarm();
                }
            }
            Op::Hook(of) => self.hook(step.slot, *of)?,
            Op::StopHook(of) | Op::DropHook(of) | Op::DetachHook(of) => {
                self.end_hook(&step.op, *of)?;
            }
            Op::Done(of) | Op::Draining(of) => self.wait(step, *of)?,
            Op::Poll(of) => self.poll(*of)?,
            Op::PollAnew(of) => self.poll_anew(*of)?,
            Op::DropWait(of) => self.drop_wait(*of)?,
            Op::IsDone(of) | Op::Cause(of) | Op::Phase(of) => self.look(&step.op, *of)?,
            Op::Advance(_) | Op::Jump | Op::SetBack(_) => self.time(&step.op)?,
        }
        self.settle()?;
        if self.how.looks_always {
            self.look_at_all()?;
        }
        self.compare()
    }

    fn micros(&self, at: Instant) -> Micros {
        micros(self.start, at)
    }

    fn reason(&self, cause: &Cause) -> Reason {
        reason_of(self.start, cause)
    }

    fn derive(&mut self, step: &Step) {
        let (Op::Child(of)
        | Op::Timeout(of, _)
        | Op::Deadline(of, _)
        | Op::Value(of, _)
        | Op::Local(of, _)
        | Op::Named(of, _)
        | Op::ForTask(of)
        | Op::Shield(of, _)
        | Op::Detach(of)) = &step.op
        else {
            return;
        };
        let Some((ctx, id)) = self.ctxs.get(of) else {
            return;
        };
        let (id, model) = (*id, &mut self.model);
        let made = match &step.op {
            Op::Child(_) => {
                let (ctx, guard) = ctx.child();
                let id = model.child(id);
                self.guards.insert(step.slot, (guard, id));
                (ctx, id)
            }
            Op::Timeout(_, ms) => {
                let at = model.now + MS * Micros::from(*ms);
                let ctx = ctx.with_timeout(Duration::from_millis((*ms).into()));
                (ctx, model.with_deadline(id, at))
            }
            Op::Deadline(_, at) => {
                let ctx = ctx.with_deadline(self.start + Duration::from_millis(at.unsigned_abs()));
                (ctx, model.with_deadline(id, MS * at))
            }
            Op::Value(_, value) => {
                let id = model.with_task_value(id, *value);
                (ctx.with(TaskValue(*value)), id)
            }
            Op::Local(_, value) => {
                let id = model.with_local_value(id, *value);
                (ctx.with(LocalValue(*value)), id)
            }
            Op::Named(_, name) => {
                let name = format!("n{name}");
                (ctx.named(name.clone()), model.named(id, name))
            }
            Op::Shield(_, grace) => {
                let bound = grace.map(|ms| Duration::from_millis(ms.into()).into());
                let ctx = ctx.shield(bound.unwrap_or(Grace::UNBOUNDED));
                (ctx, model.shield(id, grace.map(|ms| MS * Micros::from(ms))))
            }
            Op::Detach(_) => (ctx.detach(), model.detach(id)),
            _ => (ctx.for_task(), model.for_task(id)),
        };
        self.ctxs.insert(step.slot, made);
    }

    fn join(&mut self, step: &Step, of: &[Slot]) -> Check {
        let found: Vec<(Ctx, Id)> = of
            .iter()
            .filter_map(|slot| self.ctxs.get(slot).cloned())
            .collect();
        if found.is_empty() {
            // Nothing of nothing is the background (C67, C71), on the system's clock:
            // no place to go on from.
            let made = match &step.op {
                Op::Merge(_) => Ctx::merge([]),
                _ => Ctx::all_of([]),
            };
            return same("what joins nothing", &Ctx::background(), &made);
        }
        let (ctxs, ids): (Vec<Ctx>, Vec<Id>) = found.into_iter().unzip();
        let (ctx, id) = match &step.op {
            Op::Merge(_) => (Ctx::merge(&ctxs), self.model.merge(&ids)),
            _ => (Ctx::all_of(&ctxs), self.model.all_of(&ids)),
        };
        if matches!(self.model.nodes[id].link, Link::All(_)) {
            self.settle_all_of(&ctx, id)?;
        }
        self.ctxs.insert(step.slot, (ctx, id));
        Ok(())
    }

    /// Of members that were done before the `all_of` was made, the core knows the
    /// instants only: of those with the latest one, each may count as the last.
    fn settle_all_of(&mut self, ctx: &Ctx, id: Id) -> Check {
        let Some(last) = self.model.end_of(id) else {
            return Ok(());
        };
        self.model.is_done(id);
        let found = ctx.cause().map(|cause| self.reason(&cause));
        let members = self.model.parents(id);
        let ends = members
            .into_iter()
            .filter_map(|member| self.model.end_of(member));
        let mut ends = ends.filter(|end| end.at == last.at);
        match ends.find(|end| Some(&end.reason) == found.as_ref()) {
            Some(end) => {
                self.model.fix(id, end);
                Ok(())
            }
            None => same("cause of the last member", &Some(last.reason), &found),
        }
    }
}

fn micros(start: Instant, at: Instant) -> Micros {
    let whole = |span: Duration| Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX);
    match at.checked_duration_since(start) {
        Some(after) => whole(after),
        None => -whole(start.duration_since(at)),
    }
}

fn reason_of(start: Instant, cause: &Cause) -> Reason {
    let due = cause.due().map(|at| micros(start, at));
    // For a deadline that is when it was noticed.
    let at = cause.at().filter(|_| due.is_none());
    Reason {
        kind: cause.kind(),
        message: cause.message().map(str::to_owned),
        name: cause.name().map(str::to_owned),
        due,
        at: at.map(|at| micros(start, at)),
    }
}
