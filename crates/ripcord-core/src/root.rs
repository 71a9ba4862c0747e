//! [`Root`]: the choices that a whole tree shares.
//!
//! # Where a root belongs
//! One for each process or server, made in `main`. The runtime crates bring constructors of
//! their own that set clock, timer and sweeper to the runtime's.

use crate::clock::{Clock, Runtime, Timer};
use crate::ctx::Ctx;
use crate::default_observer::runtime_of;
use crate::entry::{Asks, Entry};
use crate::guard::CancelGuard;
use crate::node::Make;
use crate::observe::{Observer, Registry};
use crate::panics::Held;
use crate::site::Site;
use crate::sweep::Sweeper;
use crate::sync::Arc;

use crate::values::Env;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

/// Builds a root context: clock, timer, sweeper, observer, name.
///
/// Everything is optional. A root without choices behaves like a child of
/// [`Ctx::background`].
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
///
/// let (server, shut_down) = Ctx::root().name("server").build();
/// let (request, _guard) = server.child();
/// shut_down.cancel(Kind::Shutdown);
/// assert_eq!(request.cause().expect("done").name(), Some("server"));
/// ```
#[derive(Clone, Default)]
#[must_use = "a root exists after `build`"]
pub struct Root {
    runtime: Runtime,
    name: Option<Cow<'static, str>>,
    is_tracked: bool,
    /// The tree is one piece of work from outside.
    entry: Option<Entry<'static>>,
}

impl Ctx {
    /// Starts to build a root context.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (server, guard) = Ctx::root().name("server").tracked().build();
    /// let (request, _request_guard) = server.child();
    /// assert_eq!(request.name(), Some("server"));
    /// assert!(ripcord_core::dump().rows().len() >= 2);
    /// # drop(guard);
    /// ```
    pub fn root() -> Root {
        Root::default()
    }
}

impl Root {
    /// Names the root, and everything below that has no name of its own.
    ///
    /// As [`Ctx::named`] does for a context; a part of the tree overrides it with that.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the clock.
    ///
    /// Every deadline of the tree is judged by it (spec/context.md C34), merges with contexts of
    /// another tree excepted, where each parent is judged by its own. Set a [`timer`](Self::timer)
    /// along with it, or the core's timer thread has to look at the clock again and again.
    ///
    /// # Examples
    /// ```
    /// use ripcord_test::TestClock;
    /// use std::time::Duration;
    ///
    /// let clock = TestClock::new();
    /// let (root, _guard) = clock.root().name("test").build();
    /// let ctx = root.with_timeout(Duration::from_secs(3600));
    /// clock.advance(Duration::from_secs(3600));
    /// assert!(ctx.is_done(), "an hour later, and nobody has waited");
    /// ```
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.runtime.clock = Some(Held::new(clock));
        self
    }

    /// Sets the timer. It has to agree with the clock.
    ///
    /// Without one the core's own thread wakes, see [`ThreadTimer`](crate::ThreadTimer). A timer
    /// that refuses, panics or wakes too early is replaced by that thread, deadline by deadline
    /// (spec/context.md C35).
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.runtime.timer = Some(Held::new(timer));
        self
    }

    /// Sets who runs the rest of large sweeps.
    ///
    /// Without one, and for what it drops, the core's own thread runs them (spec/context.md C47).
    /// Worth a choice only where wakes should come from the runtime's own threads; see
    /// [`Sweeper`] for one.
    pub fn sweeper(mut self, sweeper: Arc<dyn Sweeper>) -> Self {
        self.runtime.sweeper = Some(Held::new(sweeper));
        self
    }

    /// Sets who is told what happens in the tree.
    ///
    /// One for each tree, in place of the [process's](crate::set_default_observer); to tell several
    /// tools, pass one that passes on. See [`Observer`]. It is
    /// asked here, once, whether it wants to be told of [tasks](Observer::tasks) as well.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        let Runtime {
            observer, tasks, ..
        } = runtime_of(observer);
        self.runtime.observer = observer;
        self.runtime.tasks = tasks;
        self
    }

    /// Keeps a register of the live contexts, for [`dump`](crate::dump()).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (server, _guard) = Ctx::root().name("tracked-server").tracked().build();
    /// let request = server.named("GET /slow");
    /// let text = ripcord_core::dump().to_string();
    /// assert!(text.contains("tracked-server") && text.contains("  #"), "{text}");
    /// # drop(request);
    /// ```
    ///
    /// # Costs
    /// Making and dropping a context then takes a lock of the root.
    pub fn tracked(mut self) -> Self {
        self.is_tracked = true;
        self
    }

    /// Says that the whole tree is one piece of work that comes in from outside, and no service.
    ///
    /// A recorder that does not record everything always records the context of a service, and
    /// [decides](crate::Observer::wants) at each entry. See [`Derive::entry`](crate::Derive::entry).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Entry};
    ///
    /// let (import, _guard) = Ctx::root().name("import").entry(Entry::new()).build();
    /// assert!(import.check().is_ok());
    /// ```
    pub fn entry(mut self, entry: Entry<'static>) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Makes the root and the right to cancel it.
    ///
    /// A builder that is cloned builds trees that share clock, timer, sweeper and observer, and
    /// nothing else: each has a register of its own.
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn build(self) -> (Ctx, CancelGuard) {
        let site = Site::of(Location::caller());
        let mut runtime = self.runtime;
        runtime.registry = self.is_tracked.then(Registry::new);
        let env = Env::root(runtime, self.name);
        let node = Make {
            asks: self.entry.as_ref().map_or(Asks::Nobody, Asks::As),
            ..Make::new(None, Some(Arc::new(env)), site)
        }
        .make();
        (Ctx::from_node(Arc::clone(&node)), CancelGuard::new(node))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("name", &self.name)
            .field("has_clock", &self.runtime.clock.is_some())
            .field("has_timer", &self.runtime.timer.is_some())
            .field("has_sweeper", &self.runtime.sweeper.is_some())
            .field("has_observer", &self.runtime.observer.is_some())
            .field("is_tracked", &self.is_tracked)
            .field("entry", &self.entry)
            .finish()
    }
}
