//! Hooks: registered, stopped, dropped, detached, and run.

use super::{Check, World, reason_of, same};
use crate::lock::Lock;
use crate::oracle::model::{Id, Reason, Waiting};
use crate::oracle::op::{Op, Slot};
use ripcord_core::Hook;
use std::mem;
use std::sync::{Arc, Weak};

/// The hooks that ran, in their order.
pub(super) type Log = Arc<Lock<Vec<(Slot, Reason)>>>;

pub(super) struct HookSide {
    /// `None` once it is detached.
    pub(super) hook: Option<Hook>,
    pub(super) node: Option<Id>,
    pub(super) stage: Stage,
    /// Lives as long as the hook's function.
    pub(super) function: Weak<()>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Waiting,
    Ran,
    Stopped,
}

impl World {
    pub(super) fn hook(&mut self, slot: Slot, of: Slot) -> Check {
        let Some((ctx, id)) = self.ctxs.get(&of) else {
            return Ok(());
        };
        let node = self.model.target(*id);
        let ended = node.and_then(|id| self.model.look(id));
        let (log, token) = (Arc::clone(&self.log), Arc::new(()));
        let (function, start) = (Arc::downgrade(&token), self.start);
        let hook = ctx.on_done(move |cause| {
            let reason = reason_of(start, cause);
            log.lock().push((slot, reason));
            drop(token);
        });
        let stage = match (&ended, node) {
            (Some(_), _) => Stage::Ran,
            (None, Some(node)) => {
                let also_drains = false;
                self.model.register(slot, Waiting { node, also_drains });
                self.was_waited = true;
                Stage::Waiting
            }
            (None, None) => Stage::Waiting,
        };
        let side = HookSide {
            hook: Some(hook),
            node,
            stage,
            function,
        };
        self.hooks.insert(slot, side);
        let ran: Vec<Reason> = mem::take(&mut *self.log.lock())
            .into_iter()
            .map(|(_, reason)| reason)
            .collect();
        same(
            "runs before `on_done` returns",
            &ended.into_iter().collect(),
            &ran,
        )
    }

    pub(super) fn end_hook(&mut self, op: &Op, of: Slot) -> Check {
        let Some(side) = self.hooks.get_mut(&of) else {
            return Ok(());
        };
        let was_waiting = side.stage == Stage::Waiting;
        if let Op::DetachHook(_) = op {
            if let Some(hook) = side.hook.take() {
                hook.detach();
            }
            if side.node.is_none() {
                self.hooks.remove(&of);
            }
            return Ok(());
        }
        if side.hook.is_none() {
            return Ok(());
        }
        self.model.unregister(of);
        if was_waiting {
            side.stage = Stage::Stopped;
        }
        if let Op::StopHook(_) = op {
            let stopped = side.hook.as_ref().is_some_and(Hook::stop);
            return same("result", &was_waiting, &stopped);
        }
        let side = self.hooks.remove(&of);
        let function = side.map(|side| side.function.clone());
        let is_left = function.is_some_and(|function| function.strong_count() > 0);
        same("function is left after the drop", &false, &is_left)
    }

    /// The hooks that the model says ran in this step, against those that did.
    pub(super) fn settle_hooks(&mut self, over: &[(Slot, Reason, Id)]) -> Check {
        let ran = mem::take(&mut *self.log.lock());
        let mut expected: Vec<(Slot, Reason)> = over
            .iter()
            .map(|(slot, reason, _)| (*slot, reason.clone()))
            .collect();
        let mut sorted = ran.clone();
        expected.sort_by_key(|(slot, _)| *slot);
        sorted.sort_by_key(|(slot, _)| *slot);
        same("hooks that ran", &expected, &sorted)?;
        for (slot, ..) in over {
            if let Some(side) = self.hooks.get_mut(slot) {
                side.stage = Stage::Ran;
            }
        }
        compare_order(over, &ran)?;
        for (slot, side) in &self.hooks {
            let is_left = side.function.strong_count() > 0;
            let is_waiting = side.stage == Stage::Waiting;
            same(
                &format!("function of h{slot} is alive"),
                &is_waiting,
                &is_left,
            )?;
            if let Some(hook) = &side.hook {
                let has_run = side.stage == Stage::Ran;
                same(&format!("h{slot}.has_run()"), &has_run, &hook.has_run())?;
            }
        }
        Ok(())
    }
}

/// Within one context the hook that was registered last runs first (C60).
fn compare_order(over: &[(Slot, Reason, Id)], ran: &[(Slot, Reason)]) -> Check {
    let mut nodes: Vec<Id> = over.iter().map(|(.., node)| *node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let is_here = |slot: &Slot| over.iter().any(|(at, _, id)| at == slot && *id == node);
        let order: Vec<Slot> = ran.iter().map(|(slot, _)| *slot).filter(is_here).collect();
        let mut last_first = order.clone();
        last_first.sort_unstable_by(|one, other| other.cmp(one));
        same("order of the hooks of one context", &last_first, &order)?;
    }
    Ok(())
}
