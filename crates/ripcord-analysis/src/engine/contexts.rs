//! What becomes of contexts: made, ended, seen, tagged, gone.

use super::dispatch::Engine;
use super::lanes::Leave;
use super::slab::NONE;
use super::state::{Ctx, End, ended_above, is_under};
use crate::read::{Orphan, Step};
use ripcord_trace_format::{CauseKind, Event, SeenHow};
use std::cmp::Reverse;

impl Engine<'_> {
    /// The context with this id, which is made known if it is not.
    pub(super) fn ctx_of(&mut self, id: u64, tick: u64) -> u32 {
        if let Some(key) = self.ctx_ids.get(&id) {
            return *key;
        }
        let Some(key) = self.ctxs.insert(Ctx::new(id, tick)) else {
            self.tally.ignored += 1;
            return NONE;
        };
        self.ctx_ids.insert(id, key);
        key
    }

    pub(super) fn ctx_create(&mut self, step: &Step<'_>) {
        let Event::CtxCreate {
            id,
            parent,
            kind,
            loc,
            deadline,
            name,
        } = step.event
        else {
            return;
        };
        let key = self.ctx_of(id, step.tick);
        let name = self.names.number(name);
        let Some(ctx) = self.ctxs.get_mut(key).filter(|ctx| !ctx.has_create) else {
            return;
        };
        ctx.has_create = true;
        (ctx.kind, ctx.loc, ctx.name, ctx.created) = (kind, loc, name, step.tick);
        ctx.parent_id = parent;
        ctx.own_deadline = deadline.map(|ticks| step.tick.saturating_add_signed(ticks));
        self.tally.contexts += 1;
        if let Some(parent) = parent {
            self.link_ctx(key, parent, step.tick);
        }
        self.inherit_deadline(key);
        self.list_ctx(key);
    }

    /// A context was there before the trace began.
    pub(super) fn ctx_before(&mut self, orphan: &Orphan, name: u32) {
        let key = self.ctx_of(orphan.id, self.begin);
        let Some(ctx) = self.ctxs.get_mut(key) else {
            return;
        };
        (ctx.loc, ctx.name, ctx.parent_id) = (orphan.loc, name, orphan.parent);
        if let Some(parent) = orphan.parent {
            self.link_ctx(key, parent, self.begin);
        }
        self.list_ctx(key);
    }

    /// Hangs a context below its parent.
    fn link_ctx(&mut self, key: u32, parent: u64, tick: u64) {
        let above = self.ctx_of(parent, tick);
        // A trace that makes a context its own ancestor is hostile, and a tree so deep, too.
        let depth = self
            .ctxs
            .get(above)
            .map_or(0, |ctx| ctx.depth.saturating_add(1));
        let has_children = self.ctxs.get(key).is_none_or(|ctx| ctx.first_child != NONE);
        let is_loop = above == key || (has_children && is_under(&self.ctxs, above, key));
        // Told of before the trace began and made in it: twice in a list, it would be its own sibling.
        let is_linked = self.ctxs.get(key).is_some_and(|ctx| ctx.parent != NONE);
        if is_loop || is_linked || depth > DEPTH_MAX {
            return;
        }
        let Some(first) = self.ctxs.get_mut(above).map(|above| {
            let first = above.first_child;
            above.first_child = key;
            first
        }) else {
            return;
        };
        if let Some(next) = self.ctxs.get_mut(first) {
            next.prev = key;
        }
        if let Some(ctx) = self.ctxs.get_mut(key) {
            (ctx.parent, ctx.next, ctx.depth) = (above, first, depth);
        }
    }

    /// Finds the deadline that is in effect, and counts an own one that can never fire.
    fn inherit_deadline(&mut self, key: u32) {
        let Some(ctx) = self.ctxs.get(key) else {
            return;
        };
        let above = ctx
            .follows_parent()
            .then(|| self.ctxs.get(ctx.parent))
            .flatten();
        let inherited = above.and_then(|above| Some((above.deadline?, above.owner)));
        let (own, id, loc) = (ctx.own_deadline, ctx.id, ctx.loc);
        let effective = match (own, inherited) {
            (Some(own), Some((tick, owner))) if tick <= own => {
                if own - tick >= self.limits.late {
                    let owner_loc = self.ctx_ids.get(&owner).and_then(|key| self.ctxs.get(*key));
                    let owner_loc = owner_loc.and_then(|owner| owner.loc);
                    self.tally.never_fires(loc, owner_loc, own - tick);
                }
                Some((tick, owner))
            }
            (Some(own), _) => {
                self.deadlines.push(Reverse((own, key, id)));
                Some((own, id))
            }
            (None, inherited) => inherited,
        };
        if let (Some(ctx), Some((tick, owner))) = (self.ctxs.get_mut(key), effective) {
            (ctx.deadline, ctx.owner) = (Some(tick), owner);
        }
    }

    /// Counts a deadline that was asked for in vain.
    pub(super) fn vain(&mut self, tick: u64, id: u64, loc: Option<u64>, deadline: i64) {
        let key = self.ctx_of(id, tick);
        let Some((inherited, owner)) = self
            .ctxs
            .get(key)
            .and_then(|ctx| Some((ctx.deadline?, ctx.owner)))
        else {
            return;
        };
        let by = tick
            .saturating_add_signed(deadline)
            .saturating_sub(inherited);
        if by >= self.limits.late {
            let owner = self.ctx_ids.get(&owner).and_then(|key| self.ctxs.get(*key));
            let owner = owner.and_then(|owner| owner.loc);
            self.tally.never_fires(loc, owner, by);
        }
    }

    /// Ends the contexts whose deadline is before this tick: a look at them by now finds them done,
    /// whenever a timer says so.
    #[inline]
    pub(super) fn pass_deadlines(&mut self, tick: u64) {
        while let Some(Reverse((deadline, key, id))) = self.deadlines.peek().copied() {
            if deadline >= tick {
                return;
            }
            self.deadlines.pop();
            let is_it = self.ctxs.get(key).is_some_and(|ctx| ctx.id == id);
            if is_it && ended_above(&self.ctxs, key).is_none() {
                let end = End {
                    asked: deadline,
                    told: None,
                    cause: CauseKind::DeadlineExceeded,
                    by: None,
                    loc: None,
                    message: None,
                };
                self.end_ctx(key, &end);
            }
        }
    }

    pub(super) fn ctx_cancel(&mut self, step: &Step<'_>) {
        let Event::CtxCancel {
            id,
            kind,
            by,
            loc,
            due,
            message,
        } = step.event
        else {
            return;
        };
        let key = self.ctx_of(id, step.tick);
        let message = (!message.is_empty()).then(|| message.into());
        let due = due.map_or(step.tick, |due| step.tick.saturating_add_signed(due));
        let end = End {
            asked: due.min(step.tick),
            told: Some(step.tick),
            cause: kind,
            by,
            loc,
            message,
        };
        let Some(ctx) = self.ctxs.get_mut(key) else {
            return;
        };
        if let Some(known) = &mut ctx.end {
            // The clock has ended it already, and this is the timer.
            if known.told.is_none() {
                let asked = known.asked;
                *known = End { asked, ..end };
                let known = known.clone();
                self.told(key, &known);
                self.relist_ctx(key);
            }
        } else if ended_above(&self.ctxs, key).is_none() {
            self.end_ctx(key, &end);
        }
    }

    fn end_ctx(&mut self, key: u32, end: &End) {
        if let Some(ctx) = self.ctxs.get_mut(key) {
            ctx.end = Some(end.clone());
        }
        self.relist_ctx(key);
        let selected = self.selected_under(key);
        self.open_incident(key, end.clone());
        for below in selected {
            self.open_incident(below, end.clone());
        }
    }

    /// Contexts below this one that somebody has asked for, and that end with it.
    fn selected_under(&mut self, key: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![key];
        while let Some(at) = open.pop().filter(|_| !self.selected.is_empty()) {
            let mut child = self.ctxs.get(at).map_or(NONE, |ctx| ctx.first_child);
            while let Some(below) = self.ctxs.get(child) {
                if below.follows_parent() && below.end.is_none() && !below.is_over {
                    open.push(child);
                    if below.incident == NONE && self.is_selected(below) {
                        found.push(child);
                    }
                }
                child = below.next;
                self.visits = self.visits.saturating_sub(1);
                if self.visits == 0 {
                    return found;
                }
            }
        }
        found
    }

    pub(super) fn ctx_seen(&mut self, tick: u64, id: u64, task: Option<u64>, how: SeenHow) {
        let key = self.ctx_of(id, tick);
        let Some(ctx) = self.ctxs.get_mut(key) else {
            return;
        };
        ctx.is_seen = true;
        self.list_seen(id, tick);
        // A hook runs on the thread of who ends, and a drop looks at nothing.
        if matches!(how, SeenHow::Hook | SeenHow::Drop) {
            return;
        }
        let owner = self.ctxs.get(key).map(|ctx| ctx.first_task);
        let owner = owner.filter(|first| {
            let first = self.tasks.get(*first);
            first.is_some_and(|first| first.own_ctx == Some(id))
        });
        let looked = task.and_then(|task| self.task_ids.get(&task).copied());
        let Some(task) = looked.or(owner) else {
            return;
        };
        self.observe(task, tick, |ctxs, ended| is_under(ctxs, key, ended));
    }

    pub(super) fn ctx_tag(&mut self, tick: u64, id: u64, tag: u64, text: &str) {
        let key = self.ctx_of(id, tick);
        let Some(ctx) = self.ctxs.get_mut(key) else {
            return;
        };
        let is_known = ctx
            .tags
            .iter()
            .any(|(known, was)| *known == tag && **was == *text);
        if !is_known && ctx.tags.len() < TAGS_MAX {
            ctx.tags.push((tag, text.into()));
            self.list_tag(key);
            self.begin_hop(key, tag, text);
            self.select_late(key);
        }
    }

    /// A context that is known by what was asked for only after it has ended, as one that was made with
    /// a deadline that had passed.
    fn select_late(&mut self, key: u32) {
        let Some(ctx) = self.ctxs.get(key).filter(|ctx| ctx.incident == NONE) else {
            return;
        };
        if let Some(end) = ctx.end.clone().filter(|_| self.is_selected(ctx)) {
            self.open_incident(key, end);
        }
    }

    pub(super) fn ctx_end(
        &mut self,
        tick: u64,
        id: u64,
        parent: Option<u64>,
        loc: Option<u64>,
        name: &str,
    ) {
        let key = self.ctx_of(id, tick);
        let name = self.names.number(name);
        let Some(ctx) = self.ctxs.get_mut(key) else {
            return;
        };
        ctx.is_over = true;
        if !ctx.has_create {
            (ctx.loc, ctx.name, ctx.parent_id) = (loc, name, parent);
        }
        self.list_over(id, tick);
        self.end_hop(key, tick);
        self.send_home(key, id, tick);
        let incident = self.ctxs.get(key).map_or(NONE, |ctx| ctx.incident);
        self.close_empty(incident);
        self.free_ctx(key);
    }

    /// A context without a handle has nobody who works under it, whatever was told last: the task of a
    /// connection says that it has left a request only when it is polled for the next one.
    fn send_home(&mut self, key: u32, id: u64, tick: u64) {
        let mut guests = Vec::new();
        let mut next = self.ctxs.get(key).map_or(NONE, |ctx| ctx.first_task);
        while let Some(task) = self.tasks.get(next) {
            // A task whose own context it is has a handle, so its end is lost or follows at once.
            if task.own_ctx != Some(id) {
                guests.push((next, task.own_ctx));
            }
            next = task.next_in_ctx;
        }
        for (task, own) in guests {
            let home = own.map_or(NONE, |own| self.ctx_of(own, tick));
            self.enter(task, home, tick);
        }
    }

    /// Frees contexts from here upwards, as far as nobody needs them (invariant 3).
    pub(super) fn free_ctx(&mut self, mut key: u32) {
        while let Some(ctx) = self.ctxs.get(key) {
            let is_needed = !ctx.is_over
                || ctx.first_child != NONE
                || ctx.first_task != NONE
                || ctx.incident != NONE;
            if is_needed {
                return;
            }
            let (parent, next, prev) = (ctx.parent, ctx.next, ctx.prev);
            self.ctx_ids.remove(&ctx.id);
            self.ctxs.remove(key);
            if let Some(next) = self.ctxs.get_mut(next) {
                next.prev = prev;
            }
            if let Some(prev) = self.ctxs.get_mut(prev) {
                prev.next = next;
            } else if let Some(parent) = self.ctxs.get_mut(parent) {
                parent.first_child = next;
            }
            key = parent;
        }
    }

    /// A task works under another context from now on.
    pub(super) fn enter(&mut self, task: u32, ctx: u32, tick: u64) {
        if self.tasks.get(task).is_none_or(|task| task.ctx == ctx) {
            return;
        }
        self.close_pieces(task, tick, Leave::Nothing);
        self.unlink_task(task);
        self.link_task(task, ctx);
        self.leave_lanes(task, ctx, tick);
    }

    pub(super) fn link_task(&mut self, key: u32, ctx: u32) {
        let Some(first) = self.ctxs.get_mut(ctx).map(|ctx| {
            let first = ctx.first_task;
            ctx.first_task = key;
            first
        }) else {
            return;
        };
        if let Some(next) = self.tasks.get_mut(first) {
            next.prev_in_ctx = key;
        }
        if let Some(task) = self.tasks.get_mut(key) {
            (task.ctx, task.next_in_ctx, task.prev_in_ctx) = (ctx, first, NONE);
        }
    }

    pub(super) fn unlink_task(&mut self, key: u32) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let (ctx, next, prev) = (task.ctx, task.next_in_ctx, task.prev_in_ctx);
        (task.ctx, task.next_in_ctx, task.prev_in_ctx) = (NONE, NONE, NONE);
        if let Some(next) = self.tasks.get_mut(next) {
            next.prev_in_ctx = prev;
        }
        if let Some(prev) = self.tasks.get_mut(prev) {
            prev.next_in_ctx = next;
        } else if let Some(ctx) = self.ctxs.get_mut(ctx) {
            ctx.first_task = next;
        }
        self.free_ctx(ctx);
    }
}

/// Contexts nest by calls; a tree so deep is hostile, and is cut.
const DEPTH_MAX: u32 = 1_024;
const TAGS_MAX: usize = 16;
