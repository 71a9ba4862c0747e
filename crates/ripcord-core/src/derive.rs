//! Several derivations in one step: [`Derive`].
//!
//! A service derives the same things for each request: a name, what travels with it, a deadline, a
//! right to cancel. Step by step that is four nodes and four lists of values, of which three are
//! never seen; here it is one of each.

use crate::ctx::Ctx;
use crate::deadline::Tick;
use crate::entry::{Asks, Entry};
use crate::eval;
use crate::guard::CancelGuard;
use crate::node::Node;
use crate::observe;
use crate::site::Site;
use crate::sync::Arc;
use crate::values::{Env, Value};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

/// A context that is being made; see [`Ctx::derive`].
#[must_use = "nothing is made before `child` or `ctx`"]
pub struct Derive<'a> {
    parent: &'a Ctx,
    env: Option<Env>,
    deadline: Option<Instant>,
    /// What the clock said a moment ago, if it was asked: spares a second reading.
    now: Option<Instant>,
    site: Option<&'static Location<'static>>,
    /// Where work comes in from outside.
    entry: Option<Entry<'static>>,
}

impl Ctx {
    /// Begins a context with a name, values and a deadline of its own, made in one step.
    ///
    /// The same as [`named`](Self::named), [`with`](Self::with), [`with_deadline`](Self::with_deadline)
    /// and, if wanted, [`child`](Self::child) one after the other, in any order, but as one context: a
    /// cause that comes from its guard or its deadline has its name.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Value};
    /// use std::time::Duration;
    ///
    /// struct RequestId(u64);
    /// impl Value for RequestId {}
    ///
    /// let server = Ctx::background();
    /// let deadline = server.clock_now() + Duration::from_secs(3);
    /// let (request, guard) = server
    ///     .derive()
    ///     .named("GET /orders")
    ///     .with(RequestId(7))
    ///     .with_deadline(deadline)
    ///     .child();
    /// assert_eq!(request.deadline().and_then(|d| d.owner().map(str::to_owned)).as_deref(), Some("GET /orders"));
    /// guard.cancel("answered");
    /// assert_eq!(request.cause().expect("done").name(), Some("GET /orders"));
    /// ```
    ///
    /// # Costs
    /// One node, one list of values, one allocation for each value; the name's, if it has any. A
    /// reading of the clock where there is a deadline.
    pub fn derive(&self) -> Derive<'_> {
        Derive {
            parent: self,
            env: None,
            deadline: None,
            now: None,
            site: None,
            entry: None,
        }
    }

    /// The deadline, unless one that is in force comes no later.
    pub(crate) fn tighter(&self, deadline: Instant) -> Option<Tick> {
        let deadline = Tick::of(deadline);
        let current = self.target().and_then(eval::deadline);
        let is_idle = current.is_some_and(|(tick, _)| tick <= deadline);
        (!deadline.is_never() && !is_idle).then_some(deadline)
    }

    /// A child with a deadline is done at birth with the parent's cause, if that is done, or by its
    /// deadline, unless that is known to be ahead. This is no observation.
    pub(crate) fn settle_at_birth(&self, node: &Arc<Node>, is_ahead: bool) {
        match self.target().filter(|parent| parent.resolve()) {
            Some(parent) => node.adopt(parent),
            None if is_ahead => {}
            None => drop(node.resolve()),
        }
    }
}

impl Derive<'_> {
    /// Names it; the last name counts.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let env = self.env().named(name.into());
        Self {
            env: Some(env),
            ..self
        }
    }

    /// Gives it a value; the same type above is hidden, and so is an earlier one of this type.
    pub fn with<T: Value>(self, value: T) -> Self {
        let env = self.env().with(value);
        Self {
            env: Some(env),
            ..self
        }
    }

    /// Ends it at `deadline` at the latest; of several the earliest counts.
    pub fn with_deadline(self, deadline: Instant) -> Self {
        let earliest = self.deadline.map_or(deadline, |known| known.min(deadline));
        Self {
            deadline: Some(earliest),
            ..self
        }
    }

    /// A deadline so long from now; see [`Ctx::with_timeout`]. The earliest of several counts.
    ///
    /// # Costs
    /// A reading of the clock, instead of that when the context is made.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let now = self.parent.clock_now();
        match now.checked_add(timeout) {
            Some(deadline) => Self {
                now: Some(now),
                ..self.with_deadline(deadline)
            },
            None => self,
        }
    }

    /// Says that it is made at `site`, in place of the line that calls [`child`](Self::child) or
    /// [`ctx`](Self::ctx).
    ///
    /// For a library that makes contexts on behalf of somebody: causes and reports then name a line
    /// that the user knows, as that of the layer's making.
    pub fn at(self, site: &'static Location<'static>) -> Self {
        Self {
            site: Some(site),
            ..self
        }
    }

    /// Says that work comes in here from outside: a request, a message, a job.
    ///
    /// A recorder that does not record everything [decides](crate::Observer::wants) here whether it
    /// records this, with everything that will be below. Servers do it for their requests. It makes no
    /// other difference, but that [`ctx`](Self::ctx) makes a context in any case.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Entry};
    ///
    /// let worker = Ctx::background().named("worker");
    /// for number in 0..3 {
    ///     let job = worker.derive().named("resize a picture").entry(Entry::new().numbered(number));
    ///     let (job, _guard) = job.child();
    ///     assert!(job.check().is_ok());
    /// }
    /// ```
    ///
    /// # Costs
    /// In an observed tree a call of the observer, and one list of values of its own.
    pub fn entry(self, entry: Entry<'static>) -> Self {
        Self {
            entry: Some(entry),
            ..self
        }
    }

    fn site(&self, caller: &'static Location<'static>) -> Site {
        Site::of(self.site.unwrap_or(caller))
    }

    fn env(&self) -> Cow<'_, Env> {
        match &self.env {
            Some(env) => Cow::Borrowed(env),
            None => self.parent.env_or_empty(),
        }
    }

    /// Makes the context, and the right to cancel it; dropping the guard cancels.
    ///
    /// On a context that is done, and with a deadline that has passed, it is done at birth.
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn child(self) -> (Ctx, CancelGuard) {
        let site = self.site(Location::caller());
        let deadline = self.tighter(site);
        let node = self.node(deadline, site);
        (Ctx::from_node(Arc::clone(&node)), CancelGuard::new(node))
    }

    /// Makes the context without the right to cancel it: it ends with its deadline, or with the one
    /// that it is derived from.
    ///
    /// With a deadline that has passed it is done at birth. With none of its own it shares the cancel
    /// state of the one above; with nothing at all it *is* the one above.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let worker = Ctx::background().named("worker");
    /// assert_eq!(worker.derive().ctx(), worker);
    /// assert_eq!(worker.derive().named("job").ctx().name(), Some("job"));
    /// ```
    #[track_caller]
    pub fn ctx(self) -> Ctx {
        let site = self.site(Location::caller());
        let is_entry = self.entry.is_some();
        match (self.tighter(site), self.env) {
            (None, None) if !is_entry => self.parent.clone(),
            (None, Some(env)) if !is_entry => self.parent.view(env, site),
            (deadline, env) => Ctx::from_node(Self { env, ..self }.node(deadline, site)),
        }
    }

    /// The deadline, if it is tighter than what is in force; else none is set, as with the single steps.
    fn tighter(&self, site: Site) -> Option<Tick> {
        let deadline = self.deadline?;
        let tighter = self.parent.tighter(deadline);
        if tighter.is_none() {
            observe::vain(self.parent, deadline, site);
        }
        tighter
    }

    fn node(self, deadline: Option<Tick>, site: Site) -> Arc<Node> {
        let is_ahead = self.now < self.deadline && self.now.is_some();
        let parent = self.parent;
        let mut make = parent.make(site);
        if let Some(entry) = &self.entry {
            make.asks = Asks::As(entry);
        }
        if let Some(env) = self.env {
            make.env = Some(Arc::new(env));
        }
        if let Some(deadline) = deadline {
            make.deadline = deadline;
        }
        let node = make.make();
        if deadline.is_some() {
            parent.settle_at_birth(&node, is_ahead);
        }
        node
    }
}

impl fmt::Debug for Derive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derive")
            .field("parent", self.parent)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
