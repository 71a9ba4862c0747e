//! Cancelling: guards and cancellers.

use super::{Check, World, same};
use crate::oracle::op::{Op, Slot, Step};
use ripcord_core::Kind;

impl World {
    pub(super) fn cancel(&mut self, step: &Step, by: Slot) -> Check {
        self.tick();
        let message = step.slot.to_string();
        let alive = self.alive();
        let (core, id) = match (self.guards.get(&by), self.cancellers.get(&by)) {
            (Some((guard, id)), _) => (
                match step.op {
                    Op::Cancel(_) => guard.cancel(message.clone()),
                    Op::Drain(_) => guard.drain(),
                    _ => guard.force(message.clone()),
                },
                *id,
            ),
            (None, Some((canceller, id))) => (
                match step.op {
                    Op::Cancel(_) => canceller.cancel(message.clone()),
                    Op::Drain(_) => canceller.drain(),
                    _ => canceller.force(message.clone()),
                },
                *id,
            ),
            (None, None) => return Ok(()),
        };
        let model = alive.contains(&id)
            && match step.op {
                Op::Cancel(_) => self.model.cancel(id, message),
                Op::Drain(_) => self.model.drain(id),
                _ => self.model.force(id, message),
            };
        same("result", &model, &core)
    }

    /// Dropping a guard may leave a choice to the core: whether the instant is known
    /// (C13), and whether a deadline counts that nobody had seen pass (C21).
    pub(super) fn drop_guard(&mut self, of: Slot) -> Check {
        let Some((guard, id)) = self.guards.remove(&of) else {
            return Ok(());
        };
        self.tick();
        let before = self.model.end_of(id);
        let unseen = before
            .as_ref()
            .and_then(|end| end.owner)
            .is_some_and(|owner| self.model.nodes[owner].end.is_none());
        if before.is_some() && !unseen {
            drop(guard);
            return Ok(());
        }
        let is_silent = !self.model.was_registered(id) && !self.how.is_tracked;
        let mut end = self.model.act(id, Kind::Dropped, None);
        if !unseen && (is_silent || self.model.is_waited(id)) {
            drop(guard);
            if is_silent {
                end.at = None;
                end.reason.at = None;
            }
            self.model.fix(id, end);
            return Ok(());
        }
        let ctx = guard.ctx();
        drop(guard);
        let found = ctx.cause().map(|cause| self.reason(&cause));
        if let Some(before) = before
            && Some(&before.reason) == found.as_ref()
        {
            self.model.look(id);
            return Ok(());
        }
        end.at = found.as_ref().and_then(|found| found.at);
        end.reason.at = end.at;
        same("cause", &Some(&end.reason), &found.as_ref())?;
        self.model.fix(id, end);
        Ok(())
    }
}
