//! Contexts with several parents: any-of ([`Ctx::merge`]), all-of ([`Ctx::all_of`]), and
//! [`Shared`] work that ends with its last member.

use crate::block::{Parents, Special};
use crate::cause::{Cancelled, Cause, Kind};
use crate::ctx::Ctx;
use crate::guard::{CancelGuard, Canceller};
use crate::hook::Hook;
use crate::node::{Make, Node};
use crate::site::Site;
use crate::sync::{Arc, Mutex};
use crate::values::Env;
use std::collections::HashSet;
use std::fmt;
use std::panic::Location;

/// How many parents up a merge looks for ancestors that it can leave out.
const ANCESTOR_SEARCH: usize = 64;

impl Ctx {
    /// Makes a context that is done with the first of `parents`, with its cause.
    ///
    /// Its deadline is the earliest of theirs, its values are the first parent's, then
    /// the second's, and so on. Duplicates, contexts that are never done, and contexts
    /// that are ancestors of another parent (searched for 64 levels) are left out; if
    /// one is left, the result is a view of that one, if none, it is never done. If
    /// several are done already, the first in the order given decides.
    #[track_caller]
    pub fn merge<'a>(parents: impl IntoIterator<Item = &'a Self>) -> Self {
        let site = Site::of(Location::caller());
        let parents: Vec<&Self> = parents.into_iter().collect();
        let env = merged_env(&parents);
        let nodes = without_ancestors(distinct(&parents));
        if nodes.len() < 2 {
            return single(nodes.first(), env, site);
        }
        joint(env, site, Special::Any(Parents::new(nodes)))
    }

    /// Makes a context that is done when the last of `members` is, with its cause.
    ///
    /// Members are held: one that nobody else uses any more still counts until its
    /// deadline or its parent ends it. Its deadline is the latest of theirs, if all
    /// have one. If one of them is never done, or if there are none, neither is the result. For
    /// members that come and go see [`Shared`].
    #[track_caller]
    pub fn all_of<'a>(members: impl IntoIterator<Item = &'a Self>) -> Self {
        let site = Site::of(Location::caller());
        let members: Vec<&Self> = members.into_iter().collect();
        let env = merged_env(&members);
        let is_endless = members.iter().any(|member| !member.can_be_cancelled());
        let nodes = if is_endless {
            Vec::new()
        } else {
            distinct(&members)
        };
        if nodes.len() < 2 {
            return single(nodes.first(), env, site);
        }
        joint(env, site, Special::All(Parents::new(nodes)))
    }
}

fn merged_env(parents: &[&Ctx]) -> Option<Arc<Env>> {
    let mut envs = parents.iter().filter_map(|ctx| ctx.node()?.env());
    let first = Arc::clone(envs.next()?);
    Some(envs.fold(first, |env, next| {
        if Arc::ptr_eq(&env, next) {
            env
        } else {
            Arc::new(env.filled_from(next))
        }
    }))
}

fn distinct(parents: &[&Ctx]) -> Vec<Arc<Node>> {
    let mut seen = HashSet::new();
    let targets = parents.iter().filter_map(|ctx| ctx.target());
    targets
        .filter(|node| seen.insert(Arc::as_ptr(node)))
        .cloned()
        .collect()
}

/// Leaves out what is certainly an ancestor of another: it cannot end later.
///
/// A parent that is done stays, so that the order given decides between causes.
fn without_ancestors(nodes: Vec<Arc<Node>>) -> Vec<Arc<Node>> {
    if nodes.len() < 2 || nodes.iter().any(|node| node.resolve()) {
        return nodes;
    }
    let mut above: HashSet<*const Node> = HashSet::new();
    for node in &nodes {
        let mut node = node;
        for _ in 0..ANCESTOR_SEARCH {
            // Beyond a shield or a merge an ancestor's end is not the node's.
            let (Special::No, Some(up)) = (node.special(), node.up()) else {
                break;
            };
            above.insert(Arc::as_ptr(up));
            node = up;
        }
    }
    nodes
        .into_iter()
        .filter(|node| !above.contains(&Arc::as_ptr(node)))
        .collect()
}

fn single(node: Option<&Arc<Node>>, env: Option<Arc<Env>>, site: Site) -> Ctx {
    match (node, env) {
        (None, None) => Ctx::background(),
        (None, Some(env)) => Ctx::background().view((*env).clone(), site),
        (Some(node), None) => Ctx::from_node(Arc::clone(node)),
        (Some(node), Some(env)) => Ctx::from_node(Arc::clone(node)).view((*env).clone(), site),
    }
}

fn joint(env: Option<Arc<Env>>, site: Site, special: Special) -> Ctx {
    Ctx::from_node(
        Make {
            special,
            ..Make::new(None, env, site)
        }
        .make(),
    )
}

/// Work that several requests wait for, and that ends when the last has gone.
///
/// For single-flight caches: the first caller starts the work under
/// [`ctx`](Self::ctx), each caller joins, and the work is cancelled when every member
/// is done or dropped. It carries the values of the context it was made from, and
/// none of its deadlines.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Shared};
///
/// let (a, cancel_a) = Ctx::background().child();
/// let (b, _guard_b) = Ctx::background().child();
/// let shared = Shared::new(&a);
/// let _member_a = shared.join(&a)?;
/// let member_b = shared.join(&b)?;
/// cancel_a.cancel("the first caller went away");
/// assert!(!shared.ctx().is_done());
/// drop(member_b);
/// assert!(shared.ctx().is_done());
/// assert!(shared.join(&b).is_err());
/// # Ok::<(), ripcord_core::Cancelled>(())
/// ```
#[derive(Clone)]
pub struct Shared {
    inner: Arc<SharedInner>,
}

struct SharedInner {
    ctx: Ctx,
    members: Arc<Members>,
    _guard: CancelGuard,
}

struct Members {
    count: Mutex<Count>,
    canceller: Canceller,
}

struct Count {
    present: usize,
    is_over: bool,
}

impl Shared {
    /// Makes shared work with the values and the clock of `ctx`.
    #[track_caller]
    pub fn new(ctx: &Ctx) -> Self {
        let (ctx, guard) = ctx.detach().child();
        let count = Mutex::new(Count {
            present: 0,
            is_over: false,
        });
        let members = Arc::new(Members {
            count,
            canceller: guard.handle(),
        });
        Self {
            inner: Arc::new(SharedInner {
                ctx,
                members,
                _guard: guard,
            }),
        }
    }

    /// The context of the work.
    pub fn ctx(&self) -> &Ctx {
        &self.inner.ctx
    }

    /// Adds a member, which counts until `ctx` is done or the member is dropped.
    ///
    /// # Errors
    /// [`Cancelled`] if `ctx` is done, with its cause, or if the work has ended,
    /// with the cause of the work: start it anew.
    pub fn join(&self, ctx: &Ctx) -> Result<Member, Cancelled> {
        ctx.check()?;
        let mut count = self.inner.members.count.lock();
        if count.is_over {
            drop(count);
            let cause = self
                .ctx()
                .cause()
                .unwrap_or_else(|| Cause::new(Kind::Cancelled));
            return Err(Cancelled(cause));
        }
        count.present += 1;
        drop(count);
        let seat = Arc::new(Seat {
            members: Arc::clone(&self.inner.members),
            is_free: Mutex::new(false),
        });
        let leaving = Arc::clone(&seat);
        let hook = ctx.on_done(move |cause| leaving.leave(cause.clone()));
        Ok(Member { seat, _hook: hook })
    }

    /// How many members there are.
    #[must_use]
    pub fn members(&self) -> usize {
        self.inner.members.count.lock().present
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("members", &self.members())
            .field("ctx", self.ctx())
            .finish()
    }
}

/// One who waits for [`Shared`] work; dropping it leaves.
#[must_use = "dropping the member at once leaves the shared work"]
pub struct Member {
    seat: Arc<Seat>,
    _hook: Hook,
}

struct Seat {
    members: Arc<Members>,
    is_free: Mutex<bool>,
}

impl Seat {
    fn leave(&self, cause: Cause) {
        if std::mem::replace(&mut *self.is_free.lock(), true) {
            return;
        }
        let mut count = self.members.count.lock();
        count.present -= 1;
        let is_last = count.present == 0;
        count.is_over |= is_last;
        drop(count);
        if is_last {
            self.members.canceller.cancel(cause);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.seat
            .leave(Cause::new(Kind::Dropped).with_message("the last member left"));
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("is_present", &!*self.seat.is_free.lock())
            .finish_non_exhaustive()
    }
}
