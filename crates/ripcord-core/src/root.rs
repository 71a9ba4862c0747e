//! [`Root`]: the choices that a whole tree shares.

use crate::clock::{Clock, Runtime, Timer};
use crate::ctx::Ctx;
use crate::guard::CancelGuard;
use crate::node::Make;
use crate::observe::{Observer, Registry};
use crate::site::Site;
use crate::state::RECORDED;
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
#[derive(Clone, Default)]
#[must_use = "a root exists after `build`"]
pub struct Root {
    runtime: Runtime,
    name: Option<Cow<'static, str>>,
    is_tracked: bool,
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
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.runtime.clock = Some(clock);
        self
    }

    /// Sets the timer. It has to agree with the clock.
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.runtime.timer = Some(timer);
        self
    }

    /// Sets who runs the rest of large sweeps.
    pub fn sweeper(mut self, sweeper: Arc<dyn Sweeper>) -> Self {
        self.runtime.sweeper = Some(sweeper);
        self
    }

    /// Sets who is told what happens in the tree.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.runtime.observer = Some(observer);
        self
    }

    /// Keeps a register of the live contexts, for [`dump`](crate::dump).
    ///
    /// # Costs
    /// Making and dropping a context then takes a lock of the root.
    pub fn tracked(mut self) -> Self {
        self.is_tracked = true;
        self
    }

    /// Makes the root and the right to cancel it.
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn build(self) -> (Ctx, CancelGuard) {
        let site = Site::of(Location::caller());
        let mut runtime = self.runtime;
        runtime.registry = self.is_tracked.then(Registry::new);
        let is_recorded = self.is_tracked || runtime.observer.is_some();
        let env = Env::root(runtime, self.name);
        let bits = if is_recorded { RECORDED } else { 0 };
        let node = Make {
            bits,
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
            .finish()
    }
}
