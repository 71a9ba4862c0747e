//! [`Model`]: the semantics of contexts without any cleverness, to compare with.
//!
//! A table of plain structs behind nothing at all. Nothing is cached, linked lazily or
//! delivered: whether a context is done is worked out anew each time, from what was
//! done to it and its ancestors, and from the clock. That is slow, and easy to check
//! against `spec/context.md`, whose clauses are cited.
//!
//! # Invariants
//! 1. `Node::end` is set by the act that ended the node, or once its cause was shown
//!    (C24); where it is not set, [`Model::end_of`] works the end out.
//! 2. Of two acts the one with the smaller `Rank` came first.

mod act;
mod ask;
mod derive;

use ripcord_core::Kind;
use std::collections::BTreeSet;

/// Microseconds since the start of the clock; negative if it was set back.
pub type Micros = i64;

/// The number of a context of the model.
pub type Id = usize;

/// Why a context is done.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::Model;
///
/// let mut model = Model::new();
/// let request = model.named(Model::ROOT, "request");
/// let query = model.with_deadline(request, 5);
/// model.advance_to(6);
/// let reason = model.reason(query).expect("its deadline has passed");
/// assert_eq!((reason.due, reason.name.as_deref()), (Some(5), Some("request")));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reason {
    /// The class of the cause.
    pub kind: Kind,
    /// The message of whoever cancelled.
    pub message: Option<String>,
    /// The name of the context that was cancelled or owns the deadline.
    pub name: Option<String>,
    /// The deadline, if one passed.
    pub due: Option<Micros>,
    /// When the cancel was asked for; `None` for a deadline, and where the clock was not
    /// read because nobody was registered (C13).
    pub at: Option<Micros>,
}

/// When something happened: the instant, deadlines before acts, acts in their order.
type Rank = (Option<Micros>, u8, u64);

/// The end of a context.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) reason: Reason,
    /// When; for a shield, later than the reason says. `None` if nobody can know.
    pub(super) at: Option<Micros>,
    order: u64,
    /// Whose deadline it was.
    pub(super) owner: Option<Id>,
}

impl End {
    fn rank(&self) -> Rank {
        (self.at, u8::from(self.owner.is_none()), self.order)
    }
}

/// How a context hangs on others.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// Below nothing, and never done.
    Free,
    /// Below nothing, but done when it is cancelled or its deadline passes.
    Root,
    /// A view: the cancel state is that of another node.
    View(Id),
    Below(Id),
    Any(Vec<Id>),
    All(Vec<Id>),
    Shield {
        of: Id,
        grace: Option<Micros>,
        /// When it was made, if `of` was done then.
        since: Option<Micros>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) link: Link,
    deadline: Option<Micros>,
    pub(super) end: Option<End>,
    is_draining: bool,
    /// When it was forced, and by which act.
    forced: Option<(Micros, u64)>,
    name: Option<String>,
    task: Option<u32>,
    local: Option<u32>,
    was_registered: bool,
}

/// Who waits at a context: a future or a hook.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) node: Id,
    pub(super) also_drains: bool,
}

/// A tree of contexts that is looked at as a whole each time.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::Model;
/// use ripcord_core::Kind;
///
/// let mut model = Model::new();
/// let request = model.child(Model::ROOT);
/// let query = model.with_deadline(request, 5);
/// model.advance_to(5);
/// assert_eq!(model.reason(query).map(|reason| reason.kind), Some(Kind::DeadlineExceeded));
/// assert!(model.reason(request).is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) now: Micros,
    pub(super) nodes: Vec<Node>,
    /// Who waits, under a number of the caller's.
    pub(super) waiting: Vec<(u32, Waiting)>,
    acts: u64,
}

impl Model {
    /// The root of every model.
    pub const ROOT: Id = 0;

    /// Makes a model with a root at the start of the clock.
    #[must_use]
    pub fn new() -> Self {
        let mut model = Self {
            now: 0,
            nodes: Vec::new(),
            waiting: Vec::new(),
            acts: 0,
        };
        model.add(Link::Root, None);
        model
    }

    /// Makes a node; name and values come from `env`.
    pub(super) fn add(&mut self, link: Link, env: Option<Id>) -> Id {
        let (name, task, local) = match env.map(|env| &self.nodes[env]) {
            Some(env) => (env.name.clone(), env.task, env.local),
            None => (None, None, None),
        };
        let is_member = matches!(link, Link::Shield { .. } | Link::Any(_) | Link::All(_));
        self.nodes.push(Node {
            link,
            deadline: None,
            end: None,
            is_draining: false,
            forced: None,
            name,
            task,
            local,
            was_registered: false,
        });
        let id = self.nodes.len() - 1;
        if is_member {
            self.note_registered(id);
        }
        id
    }

    /// The node that has the cancel state; `None` for one that is never done.
    pub(super) fn target(&self, id: Id) -> Option<Id> {
        match self.nodes[id].link {
            Link::View(of) => self.target(of),
            Link::Free => None,
            _ => Some(id),
        }
    }

    pub(super) fn parents(&self, id: Id) -> Vec<Id> {
        match &self.nodes[id].link {
            Link::Free | Link::Root => Vec::new(),
            Link::View(of) | Link::Below(of) | Link::Shield { of, .. } => vec![*of],
            Link::Any(of) | Link::All(of) => of.clone(),
        }
    }

    /// The nodes from `id` upwards, itself included.
    pub(super) fn above(&self, id: Id) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if found.insert(id) {
                todo.extend(self.parents(id));
            }
        }
        found
    }

    fn note_registered(&mut self, id: Id) {
        for id in self.above(id) {
            self.nodes[id].was_registered = true;
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}
