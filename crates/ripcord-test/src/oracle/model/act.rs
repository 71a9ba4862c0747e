//! What is done to the model: looks, cancels, drains, forces, time, and who waits.

use super::{End, Id, Link, Micros, Model, Reason, Waiting};
use ripcord_core::Kind;
use std::collections::BTreeSet;

impl Model {
    /// Shows the cause of a node: from now on it is fixed (C24).
    pub(in crate::oracle) fn look(&mut self, id: Id) -> Option<Reason> {
        let id = self.target(id)?;
        if !self.see(id, true) {
            return None;
        }
        let end = self.end_of(id)?;
        let reason = end.reason.clone();
        self.nodes[id].end = Some(end);
        Some(reason)
    }

    /// Whether the context is done; what ended it was seen to do so.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let timed = model.with_deadline(Model::ROOT, 5);
    /// model.advance_to(5);
    /// assert!(model.is_done(timed));
    /// model.set_back(5);
    /// assert!(model.is_done(timed), "it was seen");
    /// ```
    pub fn is_done(&mut self, id: Id) -> bool {
        self.target(id).is_some_and(|id| self.see(id, true))
    }

    /// Whether the node is done. What was seen to end stays so, also if the clock goes
    /// back (C112): deadlines that have passed, shields, and merges on the way up.
    fn see(&mut self, id: Id, sees_deadlines: bool) -> bool {
        if self.nodes[id].end.is_some() {
            return true;
        }
        let node = &self.nodes[id];
        let is_due = sees_deadlines && node.deadline.is_some_and(|at| at <= self.now);
        let link = node.link.clone();
        let is_joint = match &link {
            Link::Free | Link::Root => false,
            // Deadlines above a deadline are later: nobody looks at them.
            Link::View(of) | Link::Below(of) => {
                let sees_deadlines = sees_deadlines && node.deadline.is_none();
                self.see(*of, sees_deadlines);
                false
            }
            Link::Shield { of, .. } => {
                self.see(*of, true);
                true
            }
            Link::Any(of) => {
                for of in of {
                    self.see(*of, true);
                }
                true
            }
            Link::All(of) => {
                // One that is live says enough.
                let _ = of.iter().all(|of| self.see(*of, true));
                true
            }
        };
        let end = self.end_of(id);
        let is_over = end.is_some();
        if is_joint || is_due {
            self.nodes[id].end = end;
        }
        is_over
    }

    pub(in crate::oracle) fn act(&mut self, id: Id, kind: Kind, message: Option<String>) -> End {
        self.acts += 1;
        End {
            reason: Reason {
                kind,
                message,
                name: self.nodes[id].name.clone(),
                due: None,
                at: Some(self.now),
            },
            at: Some(self.now),
            order: self.acts,
            owner: None,
        }
    }

    /// Cancels; whether this did it (C5).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// assert!(model.cancel(Model::ROOT, "first"));
    /// assert!(!model.cancel(Model::ROOT, "second"));
    /// let reason = model.reason(Model::ROOT).and_then(|reason| reason.message);
    /// assert_eq!(reason.as_deref(), Some("first"));
    /// ```
    pub fn cancel(&mut self, id: Id, message: impl Into<String>) -> bool {
        if self.look(id).is_some() {
            return false;
        }
        let end = self.act(id, Kind::Cancelled, Some(message.into()));
        self.nodes[id].end = Some(end);
        true
    }

    /// Drains; whether the context was live (C85).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// assert!(model.drain(Model::ROOT));
    /// assert!(!model.drain(Model::ROOT) && !model.is_done(Model::ROOT));
    /// ```
    pub fn drain(&mut self, id: Id) -> bool {
        let was_live = self.look(id).is_none() && !self.is_draining(id);
        self.nodes[id].is_draining |= was_live;
        was_live
    }

    /// Forces; whether the context was not forced yet (C84).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let shield = model.shield(Model::ROOT, None);
    /// assert!(model.force(Model::ROOT, "now") && model.is_done(shield));
    /// assert!(!model.force(shield, "again"));
    /// ```
    pub fn force(&mut self, id: Id, message: impl Into<String>) -> bool {
        if self.forced_since(id).is_some() {
            return false;
        }
        self.cancel(id, message);
        self.nodes[id].forced = Some((self.now, self.acts));
        true
    }

    /// Moves the clock on; it does not go back.
    pub fn advance_to(&mut self, at: Micros) {
        self.now = self.now.max(at);
    }

    /// Sets the clock back (C112).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let timed = model.with_deadline(Model::ROOT, 5);
    /// model.advance_to(6);
    /// model.set_back(2);
    /// assert!(!model.is_done(timed), "nobody had seen it pass");
    /// ```
    pub fn set_back(&mut self, by: Micros) {
        self.now -= by;
    }

    /// Registers a future or a hook under a number of the caller's.
    pub(in crate::oracle) fn register(&mut self, number: u32, waiting: Waiting) {
        self.note_registered(waiting.node);
        self.waiting.push((number, waiting));
    }

    pub(in crate::oracle) fn unregister(&mut self, number: u32) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(other, _)| *other != number);
        self.waiting.len() < before
    }

    /// Takes those whose wait is over. What they waited for counts as seen.
    pub(in crate::oracle) fn settle(&mut self) -> Vec<(u32, Waiting)> {
        let all = std::mem::take(&mut self.waiting);
        let (over, rest) = all.into_iter().partition(|(_, waiting)| {
            let drains = waiting.also_drains && self.is_draining(waiting.node);
            self.look(waiting.node).is_some() || drains
        });
        self.waiting = rest;
        over
    }

    /// Whether anything was ever registered at the node or below it (C13).
    pub(in crate::oracle) fn was_registered(&self, id: Id) -> bool {
        self.nodes[id].was_registered
    }

    /// Whether a future or a hook waits at the node or below it now.
    pub(in crate::oracle) fn is_waited(&self, id: Id) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|(_, waiting)| self.above(waiting.node).contains(&id))
    }

    /// Whether the one with this number still waits.
    pub(in crate::oracle) fn is_waiting(&self, number: u32) -> bool {
        self.waiting.iter().any(|(other, _)| *other == number)
    }

    /// Sets how a node ended, where the core has a choice.
    pub(in crate::oracle) fn fix(&mut self, id: Id, end: End) {
        self.nodes[id].end = Some(end);
    }

    /// How many timers there can be: one for each live owner of an end in time (C31).
    pub(in crate::oracle) fn armed_at_most(&self, alive: &BTreeSet<Id>) -> usize {
        let owners = alive.iter().filter(|id| {
            let node = &self.nodes[**id];
            let has_time = node.deadline.is_some() || matches!(node.link, Link::Shield { .. });
            has_time && self.end_of(**id).is_none()
        });
        owners.count()
    }
}
