//! The observer of trees that have chosen none: one for the process, set at its beginning.
//!
//! # Costs
//! For a context without a parent one load of an address that does not change. Nothing for others.

use crate::clock::Runtime;
use crate::observe::Observer;
use crate::panics::{Foreign, Held, contain};
use crate::sync::Arc;
use crate::tasks::Tasks;
use crate::values::Env;

/// A global of the process, outside every model.
static DEFAULT: std::sync::OnceLock<Default> = std::sync::OnceLock::new();

struct Default {
    observer: Held<dyn Observer>,
    tasks: Option<Tasks>,
    /// What a context below nothing, with nothing, has.
    env: Arc<Env>,
}

/// Sets who is told of trees whose root has chosen no observer; the first call wins.
///
/// For tools that are put around a whole program, as a recorder is: also what is derived from
/// [`Ctx::background`](crate::Ctx::background), and tasks that are spawned outside of every context, are
/// told. Trees that were begun before are not. Libraries leave it alone, and tests give an observer to
/// [their root](crate::Root::observer).
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Info, Observer, set_default_observer};
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
///
/// #[derive(Default)]
/// struct Made(AtomicU64);
/// impl Observer for Made {
///     fn created(&self, _: &Info<'_>) { self.0.fetch_add(1, Ordering::Relaxed); }
/// }
///
/// let made = Arc::new(Made::default());
/// assert!(set_default_observer(made.clone()).is_ok());
/// let (_ctx, _guard) = Ctx::background().child();
/// assert_eq!(made.0.load(Ordering::Relaxed), 1);
/// assert!(set_default_observer(made).is_err(), "the first one stands");
/// ```
///
/// # Errors
/// Gives the observer back if there is one already.
pub fn set_default_observer(observer: Arc<dyn Observer>) -> Result<(), Arc<dyn Observer>> {
    if DEFAULT.get().is_some() {
        return Err(observer);
    }
    let runtime = runtime_of(Arc::clone(&observer));
    let default = Default {
        observer: Held::new(Arc::clone(&observer)),
        tasks: runtime.tasks.clone(),
        env: Arc::new(Env::root(runtime, None)),
    };
    DEFAULT.set(default).map_err(|_| observer)
}

/// What is asked of an observer that is chosen: whether it wants to be told of tasks as well.
pub(crate) fn runtime_of(observer: Arc<dyn Observer>) -> Runtime {
    let tasks = Arc::clone(&observer);
    Runtime {
        tasks: contain(Foreign::Observer, || tasks.tasks())
            .flatten()
            .map(Tasks::new),
        observer: Some(Held::new(observer)),
        ..Runtime::default()
    }
}

/// What a context without a parent passes down, with the default observer if it has none.
#[inline]
pub(crate) fn observed(env: Option<Arc<Env>>) -> Option<Arc<Env>> {
    match DEFAULT.get() {
        None => env,
        Some(default) => Some(default.added_to(env)),
    }
}

impl Default {
    #[cold]
    fn added_to(&self, env: Option<Arc<Env>>) -> Arc<Env> {
        let Some(env) = env else {
            return Arc::clone(&self.env);
        };
        let runtime = env.runtime.as_deref();
        if runtime.is_some_and(|runtime| runtime.observer.is_some()) {
            return env;
        }
        let runtime = Runtime {
            observer: Some(self.observer.clone()),
            tasks: self.tasks.clone(),
            ..runtime.cloned().unwrap_or_default()
        };
        let mut env = Env::clone(&env);
        env.runtime = Some(Arc::new(runtime));
        Arc::new(env)
    }
}
