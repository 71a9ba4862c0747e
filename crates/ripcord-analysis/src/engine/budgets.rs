//! How the time of a request goes from hop to hop.
//!
//! A *hop* is a context with the tag `request.id`: what one service made for a request. The hops of one
//! request have the same id, whether they are in one process or in the traces of several that were
//! merged. The first of them has the deadline that the others are measured by.

use super::dispatch::{Engine, Map};
use super::slab::NONE;
use super::state::Ctx;
use super::tally::Sum;
use ripcord_trace_format::CauseKind;
use std::sync::Arc;

/// What is known as a request elsewhere.
const KEY: &str = "request.id";

/// The hops of all requests that are under way, and sums of those that were.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    requests: Map<Arc<str>, Request>,
    /// Hops that are under way, by the ids of their contexts.
    hops: Map<u64, Hop>,
    /// By name and place.
    pub(crate) rows: Map<(u32, Option<u64>), BudgetTally>,
    /// Hops of requests that were asked for, in the order of their ends.
    pub(crate) listed: Vec<PastHop>,
}

/// A request while any of its hops is under way.
#[derive(Debug)]
struct Request {
    deadline: Option<u64>,
    under_way: u64,
    hops: u64,
}

/// One hop of a request.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    request: Arc<str>,
    pub(crate) name: u32,
    pub(crate) loc: Option<u64>,
    pub(crate) begun: u64,
    pub(crate) deadline: Option<u64>,
    /// The deadline of the first hop.
    pub(crate) first: Option<u64>,
    /// How many hops of the request had begun before it.
    pub(crate) rank: u64,
}

/// A hop that is over, or is under way where the trace ends.
#[derive(Clone, Debug)]
pub(crate) struct PastHop {
    pub(crate) id: u64,
    pub(crate) hop: Hop,
    pub(crate) ended: u64,
    pub(crate) ran_out: bool,
    /// Its last handle is gone.
    pub(crate) is_over: bool,
}

/// What hops of one name and place had, and what they used of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BudgetTally {
    /// First hops among them.
    pub(crate) entries: u64,
    /// How many hops of their requests had begun before them, in all.
    pub(crate) ranks: u64,
    pub(crate) budget: Sum,
    pub(crate) budget_min: Option<u64>,
    pub(crate) kept_back: Sum,
    pub(crate) used: Sum,
    pub(crate) left_min: Option<u64>,
    pub(crate) ran_out: u64,
    pub(crate) without: u64,
    pub(crate) longer: u64,
}

impl BudgetTally {
    /// Counts a hop. Its deadline is longer than that of its request only if it is by `near`: it went
    /// through a header of whole milliseconds.
    fn count(&mut self, over: &PastHop, near: u64) {
        let hop = &over.hop;
        self.entries += u64::from(hop.rank == 0);
        self.ranks = self.ranks.saturating_add(hop.rank);
        self.used.add(over.ended.saturating_sub(hop.begun));
        self.ran_out += u64::from(over.ran_out);
        let Some(deadline) = hop.deadline else {
            self.without += u64::from(hop.first.is_some());
            return;
        };
        let budget = deadline.saturating_sub(hop.begun);
        self.budget.add(budget);
        keep_least(&mut self.budget_min, budget);
        keep_least(&mut self.left_min, deadline.saturating_sub(over.ended));
        if let Some(first) = hop.first.filter(|_| hop.rank > 0) {
            self.kept_back.add(first.saturating_sub(deadline));
            self.longer += u64::from(deadline.saturating_sub(first) > near);
        }
    }
}

fn keep_least(least: &mut Option<u64>, value: u64) {
    *least = Some(least.map_or(value, |known| known.min(value)));
}

impl Engine<'_> {
    /// A context has a tag: if that is the id of a request, the context is one of its hops.
    pub(super) fn begin_hop(&mut self, key: u32, tag: u64, text: &str) {
        let is_key = self.tables.label(tag).is_some_and(|label| **label == *KEY);
        if !is_key {
            return;
        }
        let name = self.name_number_above(key);
        let Some(ctx) = self
            .ctxs
            .get_mut(key)
            // What was there before the trace had a budget that nobody knows.
            .filter(|ctx| ctx.has_create && !ctx.is_hop)
        else {
            return;
        };
        ctx.is_hop = true;
        let budgets = &mut self.budgets;
        let known = budgets.requests.get_key_value(text);
        let request = known.map_or_else(|| Arc::from(text), |(request, _)| Arc::clone(request));
        let entry = budgets.requests.entry(Arc::clone(&request));
        let entry = entry.or_insert(Request {
            deadline: ctx.deadline,
            under_way: 0,
            hops: 0,
        });
        let hop = Hop {
            request,
            name,
            loc: ctx.loc,
            begun: ctx.created,
            deadline: ctx.deadline,
            first: entry.deadline,
            rank: entry.hops,
        };
        entry.under_way += 1;
        entry.hops += 1;
        budgets.hops.insert(ctx.id, hop);
    }

    /// The last handle of a hop is gone.
    pub(super) fn end_hop(&mut self, key: u32, tick: u64) {
        let Some((over, is_listed)) = self.leave_hop(key, tick, true) else {
            return;
        };
        let budgets = &mut self.budgets;
        let site = (over.hop.name, over.hop.loc);
        if let Some(row) = super::tally::row(&mut budgets.rows, site) {
            row.count(&over, self.limits.late);
        }
        if let Some(request) = budgets.requests.get_mut(&over.hop.request) {
            request.under_way = request.under_way.saturating_sub(1);
            if request.under_way == 0 {
                budgets.requests.remove(&over.hop.request);
            }
        }
        if is_listed {
            budgets.listed.push(over);
        }
    }

    /// The trace ends: hops that are under way are told where they were asked for.
    pub(super) fn leave_hops(&mut self) {
        let ids: Vec<u64> = self.budgets.hops.keys().copied().collect();
        for id in ids {
            let Some(key) = self.ctx_ids.get(&id).copied() else {
                continue;
            };
            if let Some((over, true)) = self.leave_hop(key, self.now, false) {
                self.budgets.listed.push(over);
            }
        }
    }

    /// A hop that is followed no longer, and whether it was asked for.
    fn leave_hop(&mut self, key: u32, tick: u64, is_over: bool) -> Option<(PastHop, bool)> {
        let ctx = self.ctxs.get(key).filter(|ctx| ctx.is_hop)?;
        let hop = self.budgets.hops.remove(&ctx.id)?;
        let end = ctx.end.as_ref();
        let over = PastHop {
            id: ctx.id,
            ended: end.map_or(tick, |end| end.asked.min(tick)),
            ran_out: end.is_some_and(|end| end.cause == CauseKind::DeadlineExceeded),
            is_over,
            hop,
        };
        let has_room = self.budgets.listed.len() < self.limits.listed;
        Some((over, has_room && self.is_selected(ctx)))
    }

    /// The number of the name of a context, or of the nearest above it that has one.
    fn name_number_above(&self, mut key: u32) -> u32 {
        for _ in 0..super::keep::NAMES_UP_MAX {
            let Some(Ctx { name, parent, .. }) = self.ctxs.get(key) else {
                break;
            };
            if *name != super::names::UNNAMED {
                return *name;
            }
            key = *parent;
            if key == NONE {
                break;
            }
        }
        super::names::UNNAMED
    }
}
