//! Looking: time, what a step changed, and everything that can be asked.

use super::{Check, LocalValue, MS, TaskValue, World, same};
use crate::oracle::model::{Id, Micros, Reason};
use crate::oracle::op::{Op, Slot};
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    pub(super) fn time(&mut self, op: &Op) -> Check {
        match op {
            Op::Advance(ms) => {
                self.model
                    .advance_to(self.model.now + MS * Micros::from(*ms));
                self.clock.advance(Duration::from_millis((*ms).into()));
            }
            Op::Jump => {
                if let Some(next) = self.clock.next_alarm() {
                    self.model.advance_to(self.micros(next));
                    self.clock.advance_to_next();
                }
            }
            Op::SetBack(ms) => {
                // Whether a timer saw a deadline pass that nobody looked at since, the model
                // does not know: then everything is looked at.
                if self.was_waited {
                    self.look_at_all()?;
                }
                self.model.set_back(MS * Micros::from(*ms));
                self.clock.set_back(Duration::from_millis((*ms).into()));
            }
            _ => {}
        }
        same("time", &self.model.now, &self.micros(self.clock.now()))
    }

    pub(super) fn look(&mut self, op: &Op, of: Slot) -> Check {
        let Some((ctx, id)) = self.ctxs.get(&of) else {
            return Ok(());
        };
        match op {
            Op::IsDone(_) => same("result", &self.model.is_done(*id), &ctx.is_done()),
            Op::Phase(_) => {
                let expected = self.model.phase(*id);
                self.model.is_done(*id);
                same("result", &expected, &ctx.phase())
            }
            _ => {
                let expected = self.model.look(*id);
                let found = ctx.cause().map(|cause| self.reason(&cause));
                same("result", &expected, &found)
            }
        }
    }

    /// Looks at every context in every way.
    pub(super) fn look_at_all(&mut self) -> Check {
        for (slot, (ctx, id)) in &self.ctxs {
            let is_done = (ctx.is_done(), ctx.check().is_err());
            let cause = ctx.cause();
            let late = cause
                .as_ref()
                .and_then(|cause| Some((cause.at()?, cause.due()?)));
            let found = cause.map(|cause| self.reason(&cause));
            let expected = self.model.look(*id);
            same(&format!("c{slot}.cause()"), &expected, &found)?;
            let both = (expected.is_some(), expected.is_some());
            same(
                &format!("c{slot}.is_done(), .check().is_err()"),
                &both,
                &is_done,
            )?;
            same(
                &format!("c{slot}.phase()"),
                &self.model.phase(*id),
                &ctx.phase(),
            )?;
            if let Some((at, due)) = late {
                same(&format!("c{slot} ended early"), &false, &(at < due))?;
            }
        }
        Ok(())
    }

    /// Brings the model up to date and compares who was woken and what ran.
    pub(super) fn settle(&mut self) -> Check {
        let mut waits: Vec<Slot> = Vec::new();
        let mut hooks: Vec<(Slot, Reason, Id)> = Vec::new();
        for (slot, waiting) in self.model.settle() {
            match self.model.reason(waiting.node) {
                Some(reason) if self.hooks.contains_key(&slot) => {
                    hooks.push((slot, reason, waiting.node));
                }
                _ => waits.push(slot),
            }
        }
        self.settle_waits(&waits)?;
        self.settle_hooks(&hooks)
    }

    /// Compares what can be asked without showing a cause.
    pub(super) fn compare(&self) -> Check {
        let alive = self.alive();
        for (slot, (ctx, id)) in &self.ctxs {
            let model = &self.model;
            same(&format!("c{slot}.name()"), &model.name(*id), &ctx.name())?;
            let values = (
                ctx.get::<TaskValue>().map(|value| value.0),
                ctx.get::<LocalValue>().map(|value| value.0),
            );
            same(&format!("values of c{slot}"), &model.values(*id), &values)?;
            let can_be_cancelled = model.target(*id).is_some();
            let what = format!("c{slot}.can_be_cancelled()");
            same(&what, &can_be_cancelled, &ctx.can_be_cancelled())?;
            let expected = model.deadline(*id);
            let owned = expected.map(|(at, owner)| (at, model.name(owner)));
            let found = ctx.deadline();
            let found = found
                .as_ref()
                .map(|due| (self.micros(due.at()), due.owner()));
            same(&format!("c{slot}.deadline()"), &owned, &found)?;
            let left = expected.map(|(at, _)| {
                let left = u64::try_from(at - model.now).unwrap_or(0);
                Duration::from_micros(left)
            });
            same(&format!("c{slot}.remaining()"), &left, &ctx.remaining())?;
        }
        for (slot, (canceller, id)) in &self.cancellers {
            let what = format!("k{slot}.is_alive()");
            same(&what, &alive.contains(id), &canceller.is_alive())?;
        }
        let most = self.model.armed_at_most(&alive);
        let armed = self.clock.armed();
        if armed > most {
            return Err(format!(
                "{armed} timers are armed, for {most} contexts that could own one"
            ));
        }
        Ok(())
    }

    /// The contexts that something keeps alive.
    pub(super) fn alive(&self) -> BTreeSet<Id> {
        let ctxs = self.ctxs.values().map(|(_, id)| *id);
        let guards = self.guards.values().map(|(_, id)| *id);
        let waits = self.waits.values().filter_map(|side| side.node);
        let held = self
            .hooks
            .iter()
            .filter(|(slot, side)| side.hook.is_some() || self.model.is_waiting(**slot));
        let hooks = held.filter_map(|(_, side)| side.node);
        let all = ctxs.chain(guards).chain(waits).chain(hooks);
        all.flat_map(|id| self.model.above(id)).collect()
    }

    /// Drops everything, and checks that nothing is left.
    pub(in crate::oracle) fn finish(mut self) -> Check {
        self.look_at_all()?;
        for slot in self.waits.keys().copied().collect::<Vec<_>>() {
            self.drop_wait(slot)?;
        }
        for slot in self.guards.keys().copied().collect::<Vec<_>>() {
            self.drop_guard(slot)?;
            self.settle()?;
            self.compare()?;
        }
        self.look_at_all()?;
        self.ctxs.clear();
        for side in self.hooks.values_mut() {
            side.hook = None;
        }
        // What a detached hook on a context that never ends keeps, stays.
        let alive = self.alive();
        let most = self.model.armed_at_most(&alive);
        let armed = self.clock.armed();
        if armed > most {
            return Err(format!("{armed} timers are left, for {most} contexts"));
        }
        Ok(())
    }
}
