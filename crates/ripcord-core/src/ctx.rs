//! The handle: [`Ctx`], how contexts are made from one another, and what they tell.

use crate::block::Special;
use crate::cause::{Cancelled, Cause};
use crate::clock::Runtime;
use crate::deadline::{self, Deadline, Tick};
use crate::eval;
use crate::guard::CancelGuard;
use crate::hook::Hook;
use crate::node::{Make, Node};
use crate::shield::{Grace, Shield};
use crate::site::Site;
use crate::source::Source;
use crate::state::{DRAINING, FORCED, FORWARD, TODO};
use crate::sync::Arc;
use crate::values::{Env, Reach, Value};
use crate::wait::{Done, Draining, block_on};
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// How far a context has come; phases only go up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Work goes on.
    Live,
    /// No new work should start; work under way goes on.
    Draining,
    /// Done: work should stop.
    Cancelled,
    /// Done, and shields do not hold any more.
    Forced,
}

/// The context of a request or another piece of work: observe and derive.
///
/// A `Ctx` tells whether the work is still wanted, until when, and what belongs to
/// it; it cannot cancel anything. That right is a [`CancelGuard`]'s. Contexts form a
/// tree: when one is done, so is everything below it, at once.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use std::time::Duration;
///
/// let (request, guard) = Ctx::background().named("request").child();
/// let query = request.with_timeout(Duration::from_secs(2));
/// assert!(!query.is_done());
///
/// guard.cancel(Kind::PeerGone);
/// // The whole subtree is done when `cancel` returns.
/// assert!(query.is_done());
/// let cause = query.cause().expect("done");
/// assert_eq!((cause.kind(), cause.name()), (Kind::PeerGone, Some("request")));
/// ```
///
/// # Costs
/// One word; a clone is one reference count. [`Ctx::background`] allocates nothing; a
/// child is one allocation of 64 bytes, without a lock. Nothing is registered in the
/// parent until somebody waits.
#[derive(Clone, Default)]
#[must_use = "a context does nothing by itself"]
pub struct Ctx(Option<Arc<Node>>);

// What a panic can leave behind in a context is consistent: no foreign code runs
// under its locks.
impl UnwindSafe for Ctx {}
impl RefUnwindSafe for Ctx {}

impl Ctx {
    /// The context that is never done, has no deadline and no values.
    pub const fn background() -> Self {
        Self(None)
    }

    /// Stands for a context that the caller does not have yet.
    ///
    /// Like [`background`](Self::background), but marked, with its call site, so that
    /// it can be found: see [`is_todo`](Self::is_todo).
    #[track_caller]
    pub fn todo() -> Self {
        let site = Site::of(Location::caller());
        Self(Some(
            Make {
                bits: FORWARD | TODO,
                ..Make::new(None, None, site)
            }
            .make(),
        ))
    }

    /// Whether this is a placeholder, or a view of one.
    #[must_use]
    pub fn is_todo(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|node| node.state.peek().has(TODO))
    }

    /// Makes a context that can be cancelled, and the right to do so.
    ///
    /// Dropping the guard cancels.
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn child(&self) -> (Self, CancelGuard) {
        let node = self.make(Site::of(Location::caller())).make();
        (Self(Some(Arc::clone(&node))), CancelGuard::new(node))
    }

    /// Makes a context that ends after `timeout` at the latest.
    ///
    /// No guard is needed: dropping the context frees everything. A timeout of zero
    /// gives a context that is done already, one that is not tighter than the deadline
    /// in force gives this context, and one beyond the range of the clock sets none.
    ///
    /// # Costs
    /// One reading of the clock and one allocation; no timer until somebody waits.
    #[track_caller]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        match self.clock_now().checked_add(timeout) {
            Some(at) => self.until(at, Site::of(Location::caller())),
            None => self.clone(),
        }
    }

    /// Makes a context that ends at `deadline` at the latest, by the clock of the tree.
    ///
    /// An instant in the past gives a context that is done already; one that is not
    /// earlier than the deadline in force gives this context.
    #[track_caller]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.until(deadline, Site::of(Location::caller()))
    }

    fn until(&self, deadline: Instant, site: Site) -> Self {
        let deadline = Tick::of(deadline);
        let current = self.target().and_then(eval::deadline);
        if deadline.is_never() || current.is_some_and(|(tick, _)| tick <= deadline) {
            return self.clone();
        }
        let node = Make {
            deadline,
            ..self.make(site)
        }
        .make();
        node.is_done();
        Self(Some(node))
    }

    /// Makes a context that also carries `value`; the same type above is hidden.
    ///
    /// It shares the cancel state of this one.
    #[track_caller]
    pub fn with<T: Value>(&self, value: T) -> Self {
        self.view(
            self.env_or_empty().with(value),
            Site::of(Location::caller()),
        )
    }

    /// The value of type `T`, from the nearest context that carries one.
    ///
    /// # Costs
    /// Does not depend on the depth of the tree; no lock.
    #[must_use]
    pub fn get<T: Value>(&self) -> Option<&T> {
        self.0.as_ref()?.env()?.get()
    }

    /// Names the context, for causes, reports and dumps. Children share the name.
    #[track_caller]
    pub fn named(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.view(
            self.env_or_empty().named(name.into()),
            Site::of(Location::caller()),
        )
    }

    /// The name of the context, or of the nearest above it that has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref()?.name()
    }

    /// The context for a task that is spawned: without the values of [`Reach::Local`].
    #[track_caller]
    pub fn for_task(&self) -> Self {
        match self
            .0
            .as_ref()
            .and_then(|node| node.env()?.reaching(Reach::Task))
        {
            Some(env) => self.view(env, Site::of(Location::caller())),
            None => self.clone(),
        }
    }

    /// Makes a context that outlives this one by `grace`, for work that has to finish.
    ///
    /// When this context is done (or was, when the shield was made), the shield stays
    /// live for `grace` and is then done with the same cause. Its deadline is this
    /// context's plus `grace`. A forced shutdown pierces shields.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use std::time::Duration;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let commit = ctx.shield(Duration::from_secs(1).into());
    /// guard.cancel(Kind::PeerGone);
    /// assert!(ctx.is_done());
    /// assert!(!commit.is_done());
    /// ```
    #[track_caller]
    pub fn shield(&self, grace: Grace) -> Self {
        let Some(target) = self.target() else {
            return self.clone();
        };
        let shield = Shield::new(grace, Tick::NEVER);
        if let Some(cause) = target.cause() {
            // Already over: the grace counts from now.
            shield.start(target, &cause.stripped());
        }
        let make = Make {
            special: Special::Shield(shield),
            ..self.make(Site::of(Location::caller()))
        };
        let node = make.make();
        // Linked at once: the parent's end has to be stamped even if nobody waits.
        crate::link::link_shield(&node);
        Self(Some(node))
    }

    /// Makes a context with the values of this one, and nothing else of it.
    ///
    /// It is never done by this context and has no deadline.
    #[track_caller]
    pub fn detach(&self) -> Self {
        let env = self.0.as_ref().and_then(|node| node.env()).cloned();
        match env {
            None => Self::background(),
            Some(env) => {
                let site = Site::of(Location::caller());
                Self(Some(
                    Make {
                        bits: FORWARD,
                        ..Make::new(None, Some(env), site)
                    }
                    .make(),
                ))
            }
        }
    }

    /// Makes a context that is done when `source` is.
    #[track_caller]
    pub fn from_source(source: Arc<dyn Source>) -> Self {
        Self::background().with_source(source)
    }

    /// Makes a context with the values and clock of this one, that ends with `source`.
    ///
    /// It does not end with this context: merge the two for that.
    #[track_caller]
    pub fn with_source(&self, source: Arc<dyn Source>) -> Self {
        let env = self.0.as_ref().and_then(|node| node.env()).cloned();
        let make = Make::new(None, env, Site::of(Location::caller()));
        Self(Some(
            Make {
                special: Special::Source(source),
                ..make
            }
            .make(),
        ))
    }

    /// Whether the context is done.
    ///
    /// # Costs
    /// No lock. Two loads for each context above that can be cancelled by itself;
    /// where there is a deadline, one reading of the clock.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|node| node.is_done())
    }

    /// Ends the caller with `?` if the context is done.
    ///
    /// # Errors
    /// [`Cancelled`] with the cause, if the context is done.
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_done() {
            self.failed()
        } else {
            Ok(())
        }
    }

    #[cold]
    fn failed(&self) -> Result<(), Cancelled> {
        self.cause().map_or(Ok(()), |cause| Err(Cancelled(cause)))
    }

    /// Why the context is done; `None` as long as it is not. Never changes afterwards.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.target()?.observe()
    }

    /// How far the context has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let Some(node) = self.target() else {
            return Phase::Live;
        };
        match node.is_done() {
            true if eval::has_above(node, FORCED) => Phase::Forced,
            true => Phase::Cancelled,
            false if eval::has_above(node, DRAINING) => Phase::Draining,
            false => Phase::Live,
        }
    }

    /// The deadline in force, with who set it and where.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        deadline::nearest(self.target()?)
    }

    /// What is left until the deadline: zero once it has passed, `None` without one.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let (tick, _) = eval::deadline(self.target()?)?;
        Some(tick.instant().saturating_duration_since(self.clock_now()))
    }

    /// Whether the context can ever be done.
    #[must_use]
    pub fn can_be_cancelled(&self) -> bool {
        self.target().is_some()
    }

    /// Where this context was made.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.as_ref()?.location()
    }

    /// The current instant by the clock of the tree.
    #[must_use]
    pub fn clock_now(&self) -> Instant {
        match &self.0 {
            Some(node) => node.now(),
            None => Runtime::now(None),
        }
    }

    /// A future that resolves to the cause when the context is done.
    pub fn done(&self) -> Done {
        Done::new(self.target().cloned())
    }

    /// A future that resolves when the context drains or is done.
    pub fn draining(&self) -> Draining {
        Draining::new(self.target().cloned())
    }

    /// Blocks the thread until the context is done. Not for async code.
    ///
    /// On a context that is never done this never returns.
    #[must_use]
    pub fn wait(&self) -> Cause {
        block_on(self.done())
    }

    /// Blocks the thread until the context is done, for `timeout` at the most.
    #[must_use]
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Cause> {
        drop(block_on(self.with_timeout(timeout).done()));
        self.cause()
    }

    /// Blocks the thread for `duration`, by the clock of the tree.
    ///
    /// # Errors
    /// [`Cancelled`] as soon as the context is done.
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> Result<(), Cancelled> {
        match self.wait_timeout(duration) {
            Some(cause) => Err(Cancelled(cause)),
            None => Ok(()),
        }
    }

    /// Registers a function that runs once, when the context is done.
    ///
    /// It runs after the state is visible, without a lock held: on the cancelling
    /// thread while the subtree is small, else from the sweeper; after the wakes, the
    /// last registered of a node first. It should be short and must not block. If the
    /// context is done already, it runs before `on_done` returns. A panic in it is
    /// contained and counted.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use std::sync::mpsc;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let (tell, told) = mpsc::channel();
    /// let hook = ctx.on_done(move |cause| drop(tell.send(cause.to_string())));
    /// guard.cancel("no longer needed");
    /// assert!(told.recv().is_ok_and(|text| text.contains("no longer needed")));
    /// assert!(!hook.stop(), "it ran");
    /// ```
    pub fn on_done(&self, hook: impl FnOnce(&Cause) + Send + 'static) -> Hook {
        Hook::register(self.target().cloned(), Box::new(hook))
    }

    pub(crate) fn from_node(node: Arc<Node>) -> Self {
        Self(Some(node))
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.0.as_ref()
    }

    /// The node that has the cancel state; `None`: never cancelled.
    pub(crate) fn target(&self) -> Option<&Arc<Node>> {
        self.0.as_ref()?.target()
    }

    /// A plain child, about to be made.
    pub(crate) fn make(&self, site: Site) -> Make<'_> {
        let env = self.0.as_ref().and_then(|node| node.env()).cloned();
        Make::new(self.target(), env, site)
    }

    /// A view that shares the cancel state and passes down `env`.
    pub(crate) fn view(&self, env: Env, site: Site) -> Self {
        let todo = if self.is_todo() { TODO } else { 0 };
        let make = Make::new(self.target(), Some(Arc::new(env)), site);
        Self(Some(
            Make {
                bits: FORWARD | todo,
                ..make
            }
            .make(),
        ))
    }

    fn env_or_empty(&self) -> Cow<'_, Env> {
        match self.0.as_ref().and_then(|node| node.env()) {
            Some(env) => Cow::Borrowed(env),
            None => Cow::Owned(Env::default()),
        }
    }
}

impl PartialEq for Ctx {
    /// Two contexts are equal if they are the same one, or clones of it.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Ctx {}

impl fmt::Debug for Ctx {
    /// Name, phase, deadline, cause; never the contents of values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_none() {
            return f.write_str("Ctx(background)");
        }
        let mut out = f.debug_struct("Ctx");
        if self.is_todo() {
            out.field("todo", &true);
        }
        if let Some(name) = self.name() {
            out.field("name", &name);
        }
        out.field("phase", &self.phase());
        if let Some(remaining) = self.remaining() {
            out.field("remaining", &remaining);
        }
        if let Some(cause) = self.cause() {
            out.field("cause", &cause);
        }
        if let Some(values) = self
            .0
            .as_ref()
            .and_then(|node| node.env())
            .map(|env| env.values())
        {
            out.field("values", &values);
        }
        out.finish()
    }
}
