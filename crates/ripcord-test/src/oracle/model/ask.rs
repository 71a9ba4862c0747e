//! What the model tells: ends, phases, deadlines, names and values.

use super::{End, Id, Link, Micros, Model, Reason};
use ripcord_core::{Kind, Phase};

impl Model {
    /// Why the context is done, if it is.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let below = model.child(Model::ROOT);
    /// model.cancel(Model::ROOT, "enough");
    /// assert_eq!(model.reason(below), model.reason(Model::ROOT));
    /// ```
    #[must_use]
    pub fn reason(&self, id: Id) -> Option<Reason> {
        self.end_of(id).map(|end| end.reason)
    }

    /// How far the context has come.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// model.drain(Model::ROOT);
    /// assert_eq!(model.phase(Model::ROOT), ripcord_core::Phase::Draining);
    /// ```
    #[must_use]
    pub fn phase(&self, id: Id) -> Phase {
        let Some(id) = self.target(id) else {
            return Phase::Live;
        };
        match self.end_of(id) {
            Some(_) if self.forced_since(id).is_some() => Phase::Forced,
            Some(_) => Phase::Cancelled,
            None if self.is_draining(id) => Phase::Draining,
            None => Phase::Live,
        }
    }

    /// The deadline in force and whose it is (C27, C68, C82).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let timed = model.with_deadline(Model::ROOT, 5);
    /// let shield = model.shield(timed, Some(3));
    /// assert_eq!(model.deadline(shield), Some((8, timed)));
    /// ```
    #[must_use]
    pub fn deadline(&self, id: Id) -> Option<(Micros, Id)> {
        let node = &self.nodes[id];
        let above = match &node.link {
            Link::Free | Link::Root => None,
            Link::View(of) | Link::Below(of) => self.deadline(*of),
            Link::Any(of) => {
                let all = of.iter().filter_map(|of| self.deadline(*of));
                all.min_by_key(|(at, _)| *at)
            }
            Link::All(of) => {
                let all: Option<Vec<_>> = of.iter().map(|of| self.deadline(*of)).collect();
                // `max_by_key` takes the last of equals, the core the first.
                all.and_then(|all| all.into_iter().rev().max_by_key(|(at, _)| *at))
            }
            // Of one that was made too late for that, its own end is what counts.
            Link::Shield { of, grace, since } => match (self.deadline(*of), grace) {
                (Some((at, owner)), Some(grace)) => {
                    Some((at.max(since.unwrap_or(at)) + grace, owner))
                }
                _ => None,
            },
        };
        match (node.deadline, above) {
            (Some(own), Some((at, _))) if own < at => Some((own, id)),
            (Some(own), None) => Some((own, id)),
            (_, above) => above,
        }
    }

    /// The name in force.
    #[must_use]
    pub fn name(&self, id: Id) -> Option<&str> {
        self.nodes[id].name.as_deref()
    }

    /// The values in force: that for tasks and the local one.
    #[must_use]
    pub fn values(&self, id: Id) -> (Option<u32>, Option<u32>) {
        (self.nodes[id].task, self.nodes[id].local)
    }

    /// Works out whether and how the node has ended (C21).
    pub(in crate::oracle) fn end_of(&self, id: Id) -> Option<End> {
        let node = &self.nodes[id];
        if let Some(end) = &node.end {
            return Some(end.clone());
        }
        let above = match &node.link {
            Link::Free | Link::Root => None,
            Link::View(of) | Link::Below(of) => self.end_of(*of),
            Link::Any(of) => {
                let ends = of.iter().filter_map(|of| self.end_of(*of));
                ends.min_by_key(End::rank)
            }
            Link::All(of) => {
                let ends: Option<Vec<End>> = of.iter().map(|of| self.end_of(*of)).collect();
                ends.and_then(|ends| ends.into_iter().max_by_key(End::rank))
            }
            Link::Shield { of, grace, since } => self.end_of_shield(id, *of, *grace, *since),
        };
        let own = node.deadline.filter(|at| *at <= self.now);
        match (own, above) {
            // The earlier instant decides, a tie goes to the deadline; a cause without an
            // instant wins over a deadline that nobody had seen pass (C21).
            (Some(at), Some(above)) if above.at < Some(at) => Some(above),
            (Some(at), _) => Some(self.expiry(id, at)),
            (None, above) => above,
        }
    }

    fn end_of_shield(
        &self,
        id: Id,
        of: Id,
        grace: Option<Micros>,
        since: Option<Micros>,
    ) -> Option<End> {
        let end = self.end_of(of)?;
        let from = since.or(end.at);
        let over = from
            .zip(grace)
            .map(|(from, grace)| (from + grace, end.order));
        // A force pierces it, at the earliest when the grace has begun.
        let forced = self.forced_since(id);
        let pierced = forced.map(|(at, order)| (from.map_or(at, |from| at.max(from)), order));
        let (at, order) = over.into_iter().chain(pierced).min()?;
        (forced.is_some() || at <= self.now).then_some(End {
            at: Some(at),
            order,
            ..end
        })
    }

    pub(super) fn expiry(&self, id: Id, at: Micros) -> End {
        End {
            reason: Reason {
                kind: Kind::DeadlineExceeded,
                message: None,
                name: self.nodes[id].name.clone(),
                due: Some(at),
                at: None,
            },
            at: Some(at),
            order: 0,
            owner: Some(id),
        }
    }

    /// A force reaches through merges and shields, not through `all_of` (C83, C84).
    pub(super) fn forced_since(&self, id: Id) -> Option<(Micros, u64)> {
        let node = &self.nodes[id];
        let above = match &node.link {
            Link::Free | Link::Root | Link::All(_) => None,
            Link::View(of) | Link::Below(of) | Link::Shield { of, .. } => self.forced_since(*of),
            Link::Any(of) => of.iter().filter_map(|of| self.forced_since(*of)).min(),
        };
        node.forced.into_iter().chain(above).min()
    }

    /// A drain reaches as far as a force (C85).
    pub(in crate::oracle) fn is_draining(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        node.is_draining
            || match &node.link {
                Link::Free | Link::Root | Link::All(_) => false,
                Link::View(of) | Link::Below(of) | Link::Shield { of, .. } => self.is_draining(*of),
                Link::Any(of) => of.iter().any(|of| self.is_draining(*of)),
            }
    }
}
