//! How contexts of the model are made from one another.
//!
//! Each function tells the clause that it writes down. Where a clause says that something
//! is decided at birth (C6, C66, C80), the parents are looked at here; everywhere else
//! the new node only remembers how it hangs on the others.

use super::{Id, Link, Micros, Model};
use std::collections::BTreeSet;

impl Model {
    /// A child: done with its parent, or when it is cancelled.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let child = model.child(Model::ROOT);
    /// assert!(model.cancel(child, "enough"));
    /// assert!(model.reason(Model::ROOT).is_none());
    /// ```
    pub fn child(&mut self, of: Id) -> Id {
        let link = self.target(of).map_or(Link::Root, Link::Below);
        self.add(link, Some(of))
    }

    /// A context with a deadline; the same one if that is not tighter (C22).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let tight = model.with_deadline(Model::ROOT, 5);
    /// assert_eq!(model.with_deadline(tight, 7), tight, "nothing is lengthened");
    /// assert_eq!(model.deadline(tight), Some((5, tight)));
    /// ```
    pub fn with_deadline(&mut self, of: Id, at: Micros) -> Id {
        if self.deadline(of).is_some_and(|(due, _)| due <= at) {
            return of;
        }
        // Done at birth with its parent's cause, whatever the deadline says (C6).
        self.look(of);
        let born_done = self.end_of(of);
        let id = self.child(of);
        self.nodes[id].deadline = Some(at);
        self.nodes[id].end = born_done;
        self.look(id);
        id
    }

    /// A view with another name.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let view = model.named(Model::ROOT, "request");
    /// assert_eq!((model.name(view), model.name(Model::ROOT)), (Some("request"), None));
    /// ```
    pub fn named(&mut self, of: Id, name: impl Into<String>) -> Id {
        let id = self.add(Link::View(of), Some(of));
        self.nodes[id].name = Some(name.into());
        id
    }

    /// A view with a value that spawned tasks see.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let view = model.with_task_value(Model::ROOT, 7);
    /// assert_eq!(model.values(view), (Some(7), None));
    /// ```
    pub fn with_task_value(&mut self, of: Id, value: u32) -> Id {
        let id = self.add(Link::View(of), Some(of));
        self.nodes[id].task = Some(value);
        id
    }

    /// A view with a value that spawned tasks do not see.
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let view = model.with_local_value(Model::ROOT, 7);
    /// assert_eq!(model.values(view), (None, Some(7)));
    /// ```
    pub fn with_local_value(&mut self, of: Id, value: u32) -> Id {
        let id = self.add(Link::View(of), Some(of));
        self.nodes[id].local = Some(value);
        id
    }

    /// The view for a spawned task (C76).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let both = model.with_task_value(Model::ROOT, 1);
    /// let both = model.with_local_value(both, 2);
    /// let spawned = model.for_task(both);
    /// assert_eq!(model.values(both), (Some(1), Some(2)));
    /// assert_eq!(model.values(spawned), (Some(1), None));
    /// ```
    pub fn for_task(&mut self, of: Id) -> Id {
        let id = self.add(Link::View(of), Some(of));
        self.nodes[id].local = None;
        id
    }

    /// A context with the values of `of` that nothing ends (C78).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let detached = model.detach(Model::ROOT);
    /// model.force(Model::ROOT, "all of it");
    /// assert!(!model.is_done(detached));
    /// ```
    pub fn detach(&mut self, of: Id) -> Id {
        self.add(Link::Free, Some(of))
    }

    /// A context that outlives `of` by `grace` (C80 to C82).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let shield = model.shield(Model::ROOT, Some(3));
    /// model.cancel(Model::ROOT, "enough");
    /// assert!(!model.is_done(shield));
    /// model.advance_to(3);
    /// assert!(model.is_done(shield));
    /// ```
    pub fn shield(&mut self, of: Id, grace: Option<Micros>) -> Id {
        let Some(target) = self.target(of) else {
            return self.add(Link::View(of), Some(of));
        };
        let since = self.look(target).map(|_| self.now);
        let link = Link::Shield {
            of: target,
            grace,
            since,
        };
        let id = self.add(link, Some(of));
        if since.is_some() {
            self.look(id);
        }
        id
    }

    /// A context that is done with the first of `of` (C65, C66).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let (one, other) = (model.child(Model::ROOT), model.child(Model::ROOT));
    /// let merged = model.merge(&[one, other]);
    /// model.cancel(other, "enough");
    /// assert!(model.is_done(merged) && !model.is_done(one));
    /// ```
    pub fn merge(&mut self, of: &[Id]) -> Id {
        let targets = self.distinct(of);
        let mut born_done = None;
        if targets.len() > 1 {
            let first = targets.iter().find(|id| self.look(**id).is_some());
            born_done = first.and_then(|id| self.end_of(*id));
        }
        let targets = if born_done.is_some() {
            targets
        } else {
            self.without_ancestors(targets)
        };
        let link = match targets.as_slice() {
            [] => Link::Free,
            [one] => Link::View(*one),
            _ => Link::Any(targets),
        };
        let id = self.add(link, of.first().copied());
        self.fill(id, of);
        self.nodes[id].end = born_done;
        id
    }

    /// Leaves out what can only end together with another (C67).
    fn without_ancestors(&self, targets: Vec<Id>) -> Vec<Id> {
        let mut above = BTreeSet::new();
        for target in &targets {
            let mut id = *target;
            while let Link::Below(of) = self.nodes[id].link {
                above.insert(of);
                id = of;
            }
        }
        targets
            .into_iter()
            .filter(|id| !above.contains(id))
            .collect()
    }

    /// A context that is done with the last of `of` (C71).
    ///
    /// ```
    /// # use ripcord_test::oracle::Model;
    /// let mut model = Model::new();
    /// let (one, other) = (model.child(Model::ROOT), model.child(Model::ROOT));
    /// let all = model.all_of(&[one, other]);
    /// model.cancel(other, "enough");
    /// assert!(!model.is_done(all));
    /// ```
    pub fn all_of(&mut self, of: &[Id]) -> Id {
        let targets = self.distinct(of);
        let is_endless = of.iter().any(|id| self.target(*id).is_none());
        let link = match targets.as_slice() {
            _ if is_endless => Link::Free,
            [] => Link::Free,
            [one] => Link::View(*one),
            _ => Link::All(targets),
        };
        let id = self.add(link, of.first().copied());
        self.fill(id, of);
        id
    }

    fn distinct(&self, of: &[Id]) -> Vec<Id> {
        let mut targets = Vec::new();
        for target in of.iter().filter_map(|id| self.target(*id)) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }

    /// Names and values that the first parent lacks come from the next (C68).
    fn fill(&mut self, id: Id, of: &[Id]) {
        for from in of {
            let from = self.nodes[*from].clone();
            let node = &mut self.nodes[id];
            node.name = node.name.take().or(from.name);
            node.task = node.task.or(from.task);
            node.local = node.local.or(from.local);
        }
    }
}
