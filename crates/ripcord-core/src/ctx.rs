//! The handle: [`Ctx`], how contexts are made from one another, and what they tell.

use crate::block::Special;
use crate::cause::{Cancelled, Cause};
use crate::clock::Runtime;
use crate::deadline::{self, Deadline};
use crate::eval;
use crate::guard::CancelGuard;
use crate::hook::Hook;
use crate::node::{Make, Node};
use crate::observe;
use crate::panics::Held;
use crate::shield::{Grace, Shield};
use crate::site::Site;
use crate::source::Source;
use crate::state::{DRAINING, FORCED, FORWARD, TODO};
use crate::sync::Arc;
use crate::values::{Env, Reach, Value};
use crate::wait::{Done, Draining, block_until_done};
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// How far a context has come; phases only go up.
///
/// The order of the variants is the order in time, so `>=` asks "at least": a reader of one
/// context never sees a phase go back (spec/context.md C83).
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
    ///
    /// It is the usual root of a tree that needs no clock, timer or observer of its own; for
    /// those see [`Ctx::root`]. It works in a `const` (spec/context.md C1), and the standard
    /// clock and the core's timer thread serve whatever is derived from it (C34).
    pub const fn background() -> Self {
        Self(None)
    }

    /// Stands for a context that the caller does not have yet.
    ///
    /// Like [`background`](Self::background), but marked, with its call site, so that
    /// it can be found: see [`is_todo`](Self::is_todo).
    ///
    /// What is derived by [`with`](Self::with), [`named`](Self::named) and
    /// [`for_task`](Self::for_task) keeps the mark; a [`child`](Self::child) does not: from
    /// there on the context is a real one.
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
    ///
    /// The guard of a function's work is bound to a local, so that every way out of the
    /// function, `?` and panics included, ends what it has started. A binding to `_` drops the
    /// guard in the same statement; `_guard` keeps it to the end of the block.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    ///
    /// let (request, _guard) = Ctx::background().child();
    /// let (lookup, cancel_lookup) = request.child();
    /// cancel_lookup.cancel("answered from the cache");
    /// assert!(lookup.is_done());
    /// // A cancel goes down, never up or sideways.
    /// assert!(!request.is_done());
    ///
    /// let (abandoned, _) = request.child();
    /// assert_eq!(abandoned.cause().map(|cause| cause.kind()), Some(Kind::Dropped));
    /// ```
    ///
    /// # Costs
    /// One allocation of 64 bytes, without a lock; nothing is registered in the parent. On a
    /// context that is done the child is done at birth, with the same cause (C6).
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
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use std::time::Duration;
    ///
    /// let request = Ctx::background().named("request").with_timeout(Duration::from_secs(1));
    /// // Not tighter than what is in force: the very same context.
    /// assert_eq!(request.with_timeout(Duration::from_secs(60)), request);
    /// // Zero is over at once, and arms no timer.
    /// let none_left = request.with_timeout(Duration::ZERO);
    /// assert_eq!(none_left.check().unwrap_err().kind(), Kind::DeadlineExceeded);
    /// assert!(!request.is_done());
    /// ```
    ///
    /// # Costs
    /// One reading of the clock and one allocation; no timer until somebody waits.
    #[track_caller]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let now = self.clock_now();
        match now.checked_add(timeout) {
            Some(at) => self.until(at, Some(now), Site::of(Location::caller())),
            None => self.clone(),
        }
    }

    /// Makes a context that ends at `deadline` at the latest, by the clock of the tree.
    ///
    /// An instant in the past gives a context that is done already; one that is not
    /// earlier than the deadline in force gives this context.
    ///
    /// For a deadline that came from elsewhere, such as a header, and for several steps that
    /// share one: a timeout for each step would add up. The instant has to be one of the
    /// tree's clock, see [`clock_now`](Self::clock_now).
    ///
    /// # Costs
    /// One allocation, and one reading of the clock to see whether the instant has passed.
    #[track_caller]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.until(deadline, None, Site::of(Location::caller()))
    }

    /// The one way to a deadline. Whoever is not tighter makes no node, which is what lets a
    /// walk stop asking the clock at the first deadline that it meets (`eval.rs`, *Costs*).
    ///
    /// `now`: what the clock said a moment ago, to spare it a second reading.
    fn until(&self, deadline: Instant, now: Option<Instant>, site: Site) -> Self {
        let is_ahead = now.is_some_and(|now| now < deadline);
        let Some(deadline) = self.tighter(deadline) else {
            observe::vain(self, deadline, site);
            return self.clone();
        };
        let node = Make {
            deadline,
            ..self.make(site)
        }
        .make();
        self.settle_at_birth(&node, is_ahead);
        Self(Some(node))
    }

    /// Makes a context that also carries `value`; the same type above is hidden.
    ///
    /// It shares the cancel state of this one.
    ///
    /// The context that it is called on does not change. To keep two values of one type apart,
    /// wrap each in a type of its own.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Value};
    ///
    /// #[derive(PartialEq, Debug)]
    /// struct Tenant(&'static str);
    /// impl Value for Tenant {}
    ///
    /// let outer = Ctx::background().with(Tenant("blue"));
    /// let inner = outer.with(Tenant("green"));
    /// assert_eq!(inner.get(), Some(&Tenant("green")));
    /// assert_eq!(outer.get(), Some(&Tenant("blue")));
    /// ```
    /// The key is the type, so only types that are made for it can be values:
    /// ```compile_fail,E0277
    /// let ctx = ripcord_core::Ctx::background().with("a bare string");
    /// ```
    ///
    /// # Costs
    /// Four allocations: the value, the list, what is passed down, the node. Linear in the
    /// number of values that are carried: for a handful a request, not for a cache.
    #[track_caller]
    pub fn with<T: Value>(&self, value: T) -> Self {
        self.view(
            self.env_or_empty().with(value),
            Site::of(Location::caller()),
        )
    }

    /// The value of type `T`, from the nearest context that carries one.
    ///
    /// The reference lives as long as this handle, also after the context is done: a hook or a
    /// clean-up still finds the request id that it logs (spec/context.md C74).
    ///
    /// # Costs
    /// Does not depend on the depth of the tree; no lock.
    #[must_use]
    pub fn get<T: Value>(&self) -> Option<&T> {
        self.0.as_ref()?.env()?.get()
    }

    /// Names the context, for causes, reports and dumps. Children share the name.
    ///
    /// Like every view it has the cancel state of this context: naming adds nothing that could
    /// end by itself (spec/context.md C77). A name that is known at compile time costs no
    /// allocation of its own.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let handler = Ctx::background().named("GET /orders");
    /// let (query, guard) = handler.named("query").child();
    /// assert_eq!((handler.name(), query.name()), (Some("GET /orders"), Some("query")));
    /// guard.cancel("too slow");
    /// assert_eq!(query.cause().expect("done").name(), Some("query"));
    /// ```
    #[track_caller]
    pub fn named(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.view(
            self.env_or_empty().named(name.into()),
            Site::of(Location::caller()),
        )
    }

    /// The name of the context, or of the nearest above it that has one.
    ///
    /// A cause tells the name of the context that *ended*, which may be another one further up:
    /// see [`Cause::name`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref()?.name()
    }

    /// The context for a task that is spawned: without the values of [`Reach::Local`].
    ///
    /// The spawn functions of the runtime crates call it; by hand it is needed only with a bare
    /// `std::thread::spawn` or a foreign executor. Cancel state, deadline, name and clock stay.
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
    /// A shield is for what must not be torn in the middle, such as a commit. What need not end
    /// with the caller at all is [detached](Self::detach). Inside, everything works as usual: a
    /// child of the shield is cancelled, and a deadline derived from it passes, at once (C79).
    ///
    /// # Costs
    /// One node and its block; unlike a child, a shield is entered into its parent's list when
    /// it is made, so that the grace starts with the parent's end even if nobody waits.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use std::time::Duration;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let commit = ctx.shield(Duration::from_secs(1));
    /// guard.cancel(Kind::PeerGone);
    /// assert!(ctx.is_done());
    /// assert!(!commit.is_done());
    /// ```
    #[track_caller]
    pub fn shield(&self, grace: impl Into<Grace>) -> Self {
        let Some(target) = self.target() else {
            return self.clone();
        };
        let since = target.resolve().then(|| target.now());
        let shield = Shield::new(grace.into(), since);
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
    ///
    /// For work that a request sets off but does not wait for: an audit record, a cache refill.
    /// Nothing ends it any more, a forced shutdown included (spec/context.md C78), so give it an
    /// end of its own. Work that may outlive its caller for a bounded time is
    /// [shielded](Self::shield) instead.
    #[track_caller]
    pub fn detach(&self) -> Self {
        let env = self.0.as_ref().and_then(|node| node.share_env());
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
    ///
    /// A source that is done already gives a context that is done, with the cause that the
    /// source tells, unchanged (spec/context.md C125). For an example see [`Source`].
    #[track_caller]
    pub fn from_source(source: Arc<dyn Source>) -> Self {
        Self::background().with_source(source)
    }

    /// Makes a context with the values and clock of this one, that ends with `source`.
    ///
    /// It does not end with this context: merge the two for that.
    #[track_caller]
    pub fn with_source(&self, source: Arc<dyn Source>) -> Self {
        let env = self.0.as_ref().and_then(|node| node.share_env());
        let make = Make::new(None, env, Site::of(Location::caller()));
        let node = Make {
            special: Special::Source(Held::new(source)),
            ..make
        }
        .make();
        // A source that is done now stays so, whatever it says later.
        let _ = node.resolve();
        Self(Some(node))
    }

    /// Whether the context is done.
    ///
    /// For loops that compute and never await. It compares the deadline with the clock on every
    /// call, so a busy loop sees an expiry even where it occupies the thread that drives the
    /// timer (spec/context.md C29). Functions that return a `Result` are shorter with
    /// [`check`](Self::check).
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
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Ctx};
    ///
    /// fn sum(ctx: &Ctx, rows: &[u64]) -> Result<u64, Cancelled> {
    ///     let mut total = 0;
    ///     for batch in rows.chunks(1024) {
    ///         ctx.check()?;
    ///         total += batch.iter().sum::<u64>();
    ///     }
    ///     Ok(total)
    /// }
    /// assert_eq!(sum(&Ctx::background(), &[1, 2, 3])?, 6);
    /// # Ok::<(), Cancelled>(())
    /// ```
    ///
    /// # Costs
    /// Those of [`is_done`](Self::is_done); the error is made only where there is one.
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

    /// Kept out of line, so that a `check` that succeeds is no longer than `is_done`.
    #[cold]
    fn failed(&self) -> Result<(), Cancelled> {
        self.cause().map_or(Ok(()), |cause| Err(Cancelled(cause)))
    }

    /// Why the context is done; `None` as long as it is not. Never changes afterwards.
    ///
    /// It agrees with [`is_done`](Self::is_done) at every moment: no thread sees the one without
    /// the other (spec/context.md C23), and all clones and threads see the same cause (C24).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use std::time::Duration;
    ///
    /// let (job, guard) = Ctx::background().named("job").child();
    /// let step = job.named("step").with_timeout(Duration::from_secs(9));
    /// guard.cancel(Kind::Shutdown);
    /// let cause = step.cause().expect("an ancestor was cancelled");
    /// // Who ended it, not who was asked.
    /// assert_eq!((cause.kind(), cause.name()), (Kind::Shutdown, Some("job")));
    /// ```
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.target()?.observe()
    }

    /// How far the context has come.
    ///
    /// Accepting code asks for [`Phase::Draining`], working code for
    /// [`is_done`](Self::is_done): a draining context still passes every check
    /// (spec/context.md C85).
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.target().map_or(Phase::Live, |node| {
            node.is_done();
            node.phase()
        })
    }

    /// The deadline in force, with who set it and where.
    ///
    /// The earliest on the path to the root, whoever set it: the answer to "why so little time?"
    /// is in [`Deadline::owner`] and [`Deadline::site`]. Below a shield it is later by the grace,
    /// and `None` if that has no bound (spec/context.md C82).
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        deadline::nearest(self.target()?)
    }

    /// What is left until the deadline: zero once it has passed, `None` without one.
    ///
    /// To be handed to code that takes a timeout, and for not starting what cannot be finished.
    /// It is a snapshot: the context may end earlier, by a cancel.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let (tick, owner) = eval::deadline(self.target()?)?;
        // Under a merge the owner's clock need not be this context's.
        Some(tick.instant().saturating_duration_since(owner.now()))
    }

    /// Whether the context can ever be done.
    ///
    /// `false` only for the background, for `todo`, for what is detached, and for views of those.
    /// A deadline or a source counts as a way to end.
    #[must_use]
    pub fn can_be_cancelled(&self) -> bool {
        self.target().is_some()
    }

    /// Where this context was made.
    ///
    /// The place of the call that made it: `child`, `with_timeout`, `named` and so on. `None` for
    /// the background, which was not made anywhere.
    #[must_use]
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.as_ref()?.location()
    }

    /// The current instant by the clock of the tree.
    ///
    /// The instant to derive deadlines from: under a test clock or paused time it is not the
    /// operating system's.
    #[must_use]
    pub fn clock_now(&self) -> Instant {
        match &self.0 {
            Some(node) => node.now(),
            None => Runtime::now(None),
        }
    }

    /// A future that resolves to the cause when the context is done.
    ///
    /// It owns what it needs and may outlive the context (spec/context.md C41); in `select!` it
    /// is the branch that stops the work. To stop one future, [`run`](Self::run) is shorter and
    /// returns values that are ready at the moment of the cancel.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use std::{future::Future, pin::pin, task};
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let mut done = pin!(ctx.done());
    /// let mut cx = task::Context::from_waker(task::Waker::noop());
    /// assert!(done.as_mut().poll(&mut cx).is_pending());
    /// guard.cancel(Kind::PeerGone);
    /// assert!(done.as_mut().poll(&mut cx).map(|cause| cause.kind() == Kind::PeerGone).is_ready());
    /// ```
    pub fn done(&self) -> Done {
        Done::new(self.target().cloned())
    }

    /// A future that resolves when the context drains or is done.
    ///
    /// For the loop that accepts work: it stops to accept when this is ready, while requests
    /// that it accepted before go on until [`done`](Self::done). See [`ShutdownPlan`] for who
    /// drains.
    ///
    /// [`ShutdownPlan`]: crate::ShutdownPlan
    pub fn draining(&self) -> Draining {
        Draining::new(self.target().cloned())
    }

    /// Blocks the thread until the context is done. Not for async code: there it is
    /// [`done`](Self::done).
    ///
    /// On a context that is never done this never returns. A deadline ends it in time even where
    /// the runtime of the tree is not being driven; the grace of a shield, which begins while the
    /// thread waits already, needs the tree's timer.
    ///
    /// # Costs
    /// One registration and parking. With a deadline the thread looks again once that should have
    /// passed, which is at once the last look unless the tree's clock is not the system's.
    #[must_use]
    pub fn wait(&self) -> Cause {
        block_until_done(self)
    }

    /// Blocks the thread until the context is done, for `timeout` at the most. Not for async code.
    ///
    /// `None`: the time is over and the context is still live. A timeout of zero does not block,
    /// and one beyond the range of the clock waits for the end (spec/context.md C111). On a
    /// context that is never done it is a plain sleep.
    #[must_use]
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Cause> {
        drop(block_until_done(&self.with_timeout(timeout)));
        self.cause()
    }

    /// Blocks the thread for `duration`, by the clock of the tree. Not for async code: there it is
    /// the function `sleep` of the runtime's crate.
    ///
    /// The pause between retries, or the period of a poll, in code on a thread of its own.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Cancelled, Ctx};
    /// use std::time::Duration;
    ///
    /// fn retry(ctx: &Ctx, mut attempt: impl FnMut() -> bool) -> Result<(), Cancelled> {
    ///     while !attempt() {
    ///         ctx.sleep(Duration::from_millis(200))?;
    ///     }
    ///     Ok(())
    /// }
    /// let (ctx, guard) = Ctx::background().child();
    /// guard.cancel("nobody waits any more");
    /// assert!(retry(&ctx, || false).is_err(), "did not even pause");
    /// ```
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
    /// At a deadline it runs from the tree's timer or sweeper. On a runtime that needs a free
    /// thread: a hook cannot interrupt what blocks the only one.
    ///
    /// The hook is deregistered when the [`Hook`] is dropped. Locals drop in reverse order, so a
    /// hook that should see the drop of a guard is declared *before* it:
    ///
    /// ```
    /// use ripcord_core::{Ctx, Hook};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// let closed = Arc::new(AtomicBool::new(false));
    /// {
    ///     let flag = Arc::clone(&closed);
    ///     let _hook: Hook; // Lives longer than the guard on the next line.
    ///     let (ctx, _guard) = Ctx::background().child();
    ///     _hook = ctx.on_done(move |_| flag.store(true, Ordering::Relaxed));
    /// }
    /// assert!(closed.load(Ordering::Relaxed));
    /// ```
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
    /// It runs on whatever thread cancels, at any time, so it borrows nothing:
    /// ```compile_fail,E0373
    /// let local = String::from("gone before the hook runs");
    /// let hook = ripcord_core::Ctx::background().on_done(|_| drop(local.as_str()));
    /// ```
    /// and is `Send`:
    /// ```compile_fail,E0277
    /// let local = std::rc::Rc::new(1);
    /// let hook = ripcord_core::Ctx::background().on_done(move |_| drop(local));
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
        let up = self.target();
        // A view has values of its own, which its target knows nothing of.
        let view = self
            .0
            .as_ref()
            .filter(|node| up.is_none_or(|up| !Arc::ptr_eq(up, node)));
        Make::new(up, view.and_then(|view| view.share_env()), site)
    }

    /// A view that shares the cancel state and passes down `env`.
    ///
    /// A view is a node with `FORWARD`: its own word never becomes done, and everything that asks
    /// for cancel state goes to `target` first. `up` of a view is therefore never a view itself,
    /// and a chain of a thousand views is one step long (spec/context.md C75, C77).
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

    pub(crate) fn env_or_empty(&self) -> Cow<'_, Env> {
        match self.0.as_ref().and_then(|node| node.env()) {
            Some(env) => Cow::Borrowed(env),
            None => Cow::Owned(Env::default()),
        }
    }
}

impl Node {
    /// How far the node has come; this counts as no observation.
    pub(crate) fn phase(&self) -> Phase {
        match eval::find(self).is_some() {
            true if eval::has_above(self, FORCED) => Phase::Forced,
            true => Phase::Cancelled,
            false if eval::has_above(self, DRAINING) => Phase::Draining,
            false => Phase::Live,
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
        if let Some(values) = self.0.as_ref().and_then(|node| node.env()).map(Env::values) {
            out.field("values", &values);
        }
        out.finish()
    }
}
