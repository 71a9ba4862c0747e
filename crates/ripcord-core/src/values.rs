//! Typed values and what else a context passes down unchanged: its [`Env`].
//!
//! # Invariants
//! 1. An `Env` never changes once it is shared.
//! 2. Its entries are sorted by type, one entry a type.
//!
//! # Costs
//! Look-up does not depend on the depth of the tree: a scan of up to eight
//! entries, a binary search beyond. `with` copies the entries (one reference
//! count each) into one new allocation.

use crate::clock::Runtime;
use crate::entry::Choice;
use crate::panics::Held;
use crate::sync::Arc;
use std::any::{Any, TypeId};
use std::borrow::Cow;

/// How far a value travels.
///
/// The order is from near to far: what is written for a peer is also seen by a task.
///
/// # Examples
/// ```
/// use ripcord_core::{Reach, Value};
///
/// struct RequestId(u128);
/// impl Value for RequestId {
///     const REACH: Reach = Reach::Wire;
/// }
/// assert!(RequestId::REACH > Reach::Task);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Reach {
    /// This task only: a spawned task does not see it.
    Local,
    /// This task and what it spawns.
    Task,
    /// Like `Task`, and to remote peers, where a propagator knows how to write it.
    Wire,
}

/// A value that a context can carry; the type is the key.
///
/// A type of one's own for each meaning keeps two crates from reading each other's values:
/// the orphan rule allows `impl Value` only where the type is defined.
///
/// # Limitations
/// Values are for what goes along with a request: ids, tenants, a tracing span. An argument
/// that a function cannot work without belongs in its signature, where the compiler sees it.
/// A value is read-only once it is set; put a lock or an atomic inside to share a change.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Reach, Value};
///
/// struct UserId(u64);
/// impl Value for UserId {}
///
/// struct Scratch(&'static str);
/// impl Value for Scratch {
///     const REACH: Reach = Reach::Local;
/// }
///
/// let ctx = Ctx::background().with(UserId(7)).with(Scratch("here"));
/// assert_eq!(ctx.get::<UserId>().map(|u| u.0), Some(7));
/// assert_eq!(ctx.get::<Scratch>().map(|s| s.0), Some("here"));
/// let spawned = ctx.for_task();
/// assert!(spawned.get::<UserId>().is_some());
/// assert!(spawned.get::<Scratch>().is_none());
/// ```
pub trait Value: Send + Sync + 'static {
    /// How far the value travels.
    const REACH: Reach = Reach::Task;
}

/// The reach is copied from the type, since the type itself is erased here.
#[derive(Clone)]
struct Entry {
    key: TypeId,
    reach: Reach,
    value: Held<dyn Any + Send + Sync>,
}

/// Up to so many entries a scan is faster than a binary search.
const SCANNED: usize = 8;

/// What a context passes down unchanged: runtime, name, values.
#[derive(Clone, Default)]
pub(crate) struct Env {
    pub(crate) runtime: Option<Arc<Runtime>>,
    pub(crate) name: Option<Cow<'static, str>>,
    /// Whether the observer of the runtime is told of what has this.
    pub(crate) choice: Choice,
    entries: Box<[Entry]>,
}

impl Env {
    pub(crate) fn root(runtime: Runtime, name: Option<Cow<'static, str>>) -> Self {
        Self {
            runtime: Some(Arc::new(runtime)),
            name,
            choice: Choice::Open,
            entries: Box::default(),
        }
    }

    /// By invariant 2 there is one entry at most, so the first hit is the nearest value.
    pub(crate) fn get<T: Value>(&self) -> Option<&T> {
        let key = TypeId::of::<T>();
        let entry = if self.entries.len() <= SCANNED {
            self.entries.iter().find(|entry| entry.key == key)?
        } else {
            let at = self
                .entries
                .binary_search_by(|entry| entry.key.cmp(&key))
                .ok()?;
            self.entries.get(at)?
        };
        entry.value.get()?.downcast_ref()
    }

    /// Hides an entry of the same type by leaving it out; the old list is not touched, contexts
    /// further up still use it.
    pub(crate) fn with<T: Value>(&self, value: T) -> Self {
        let entry = Entry {
            key: TypeId::of::<T>(),
            reach: T::REACH,
            value: Held::new(Arc::new(value)),
        };
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        entries.extend(
            self.entries
                .iter()
                .filter(|old| old.key != entry.key)
                .cloned(),
        );
        let at = entries.partition_point(|old| old.key < entry.key);
        entries.insert(at, entry);
        Self {
            runtime: self.runtime.clone(),
            name: self.name.clone(),
            choice: self.choice,
            entries: entries.into(),
        }
    }

    pub(crate) fn named(&self, name: Cow<'static, str>) -> Self {
        Self {
            name: Some(name),
            ..self.clone()
        }
    }

    /// Only what reaches at least `reach`; `None` if that is everything.
    pub(crate) fn reaching(&self, reach: Reach) -> Option<Self> {
        if self.entries.iter().all(|entry| entry.reach >= reach) {
            return None;
        }
        let entries = self
            .entries
            .iter()
            .filter(|entry| entry.reach >= reach)
            .cloned()
            .collect();
        Some(Self {
            runtime: self.runtime.clone(),
            name: self.name.clone(),
            choice: self.choice,
            entries,
        })
    }

    /// Adds what `other` has and this does not: name and values.
    ///
    /// Where both have an entry of one type, this one's stays: for a merge that is the earlier
    /// parent's (spec/context.md C68).
    pub(crate) fn filled_from(&self, other: &Self) -> Self {
        let mut entries = self.entries.to_vec();
        entries.extend(
            other
                .entries
                .iter()
                .filter(|entry| !self.has(entry.key))
                .cloned(),
        );
        entries.sort_by_key(|entry| entry.key);
        Self {
            runtime: self.runtime.clone().or_else(|| other.runtime.clone()),
            name: self.name.clone().or_else(|| other.name.clone()),
            choice: self.choice,
            entries: entries.into(),
        }
    }

    pub(crate) fn values(&self) -> usize {
        self.entries.len()
    }

    fn has(&self, key: TypeId) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct N<const K: usize>(usize);
    impl<const K: usize> Value for N<K> {}

    #[test]
    fn both_kinds_of_search_find_every_value() {
        let mut env = Env::default();
        macro_rules! add {
            ($($k:literal)*) => { $(
                env = env.with(N::<$k>($k));
                assert_eq!(found(&env), (0..=$k).collect::<Vec<usize>>());
            )* };
        }
        add!(0 1 2 3 4 5 6 7 8 9 10 11);
        assert_eq!(env.values(), 12);
        env = env.with(N::<3>(33));
        assert_eq!(env.get::<N<3>>().map(|n| n.0), Some(33));
        assert_eq!(env.values(), 12);
    }

    fn found(env: &Env) -> Vec<usize> {
        let mut all = Vec::new();
        macro_rules! look {
            ($($k:literal)*) => { $( all.extend(env.get::<N<$k>>().map(|n| n.0)); )* };
        }
        look!(0 1 2 3 4 5 6 7 8 9 10 11);
        all
    }
}
