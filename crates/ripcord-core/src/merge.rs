//! Contexts with several parents: any-of ([`Ctx::merge`]), all-of ([`Ctx::all_of`]), and
//! [`Shared`] work that ends with its last member.
//!
//! # Which one to choose
//! | The context ends with | Use |
//! |---|---|
//! | one parent | [`Ctx::child`] |
//! | the first of several | [`Ctx::merge`] |
//! | the last of several that are known | [`Ctx::all_of`] |
//! | the last of several that come and go | [`Shared`] |

use crate::block::{Parents, Special};
use crate::cause::{Cancelled, Cause, Kind};
use crate::ctx::Ctx;
use crate::eval;
use crate::guard::CancelGuard;
use crate::hook::Hook;
use crate::link;
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
    ///
    /// A merge cannot be cancelled by itself, and ending a child of it ends no parent
    /// (spec/context.md C65).
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    ///
    /// let (request, _request_guard) = Ctx::background().named("request").child();
    /// let (server, shut_down) = Ctx::background().named("server").child();
    /// let both = Ctx::merge([&request, &server]);
    /// shut_down.cancel(Kind::Shutdown);
    /// assert_eq!(both.cause().map(|cause| cause.kind()), Some(Kind::Shutdown));
    /// assert!(!request.is_done());
    /// ```
    ///
    /// # Costs
    /// One node with its block and a place in the list of each parent, given back when the merge
    /// is dropped (spec/context.md C69). A check asks every parent.
    #[track_caller]
    pub fn merge<'a>(parents: impl IntoIterator<Item = &'a Self>) -> Self {
        let site = Site::of(Location::caller());
        let parents: Vec<&Self> = parents.into_iter().collect();
        let env = merged_env(&parents);
        let nodes = distinct(&parents);
        let over = nodes
            .iter()
            .find(|node| eval::is_done_nearby(node))
            .cloned();
        // If one is done all stay, so that the order given decides between causes.
        let nodes = if over.is_some() {
            nodes
        } else {
            without_ancestors(nodes)
        };
        if nodes.len() < 2 {
            return single(nodes.first(), env, site);
        }
        let merged = joint(env, site, Special::Any(Parents::new(nodes)));
        match (merged.node(), over) {
            // Done at birth: no instant decides, the order given does.
            (Some(node), Some(over)) => node.adopt(&over),
            (Some(node), None) => link::enter(node),
            (None, _) => {}
        }
        merged
    }

    /// Makes a context that is done when the last of `members` is, with its cause.
    ///
    /// Members are held: one that nobody else uses any more still counts until its
    /// deadline or its parent ends it. Its deadline is the latest of theirs, if all
    /// have one. If one of them is never done, or if there are none, neither is the result. For
    /// members that come and go see [`Shared`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let (a, guard_a) = Ctx::background().child();
    /// let (b, guard_b) = Ctx::background().child();
    /// let anybody = Ctx::all_of([&a, &b]);
    /// guard_a.cancel("first reader went away");
    /// assert!(!anybody.is_done());
    /// guard_b.cancel("second reader went away");
    /// assert_eq!(anybody.cause().expect("done").message(), Some("second reader went away"));
    /// ```
    ///
    /// # Costs
    /// Those of [`merge`](Self::merge).
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
        let joined = joint(env, site, Special::All(Parents::new(nodes)));
        if let Some(node) = joined.node()
            && !eval::is_done_nearby(node)
        {
            link::enter(node);
        }
        joined
    }
}

/// The first parent's values, filled up from the others; no copy where all share one list.
fn merged_env(parents: &[&Ctx]) -> Option<Arc<Env>> {
    let mut nodes = parents.iter().filter_map(|ctx| ctx.node());
    let first = nodes.by_ref().find_map(|node| node.share_env())?;
    Some(
        nodes
            .filter_map(|node| node.env())
            .fold(first, |env, next| {
                if std::ptr::eq(Arc::as_ptr(&env), next) {
                    env
                } else {
                    Arc::new(env.filled_from(next))
                }
            }),
    )
}

/// The nodes with cancel state, in the order given: clones and views of one context are one,
/// and what is never done falls out, having none.
fn distinct(parents: &[&Ctx]) -> Vec<Arc<Node>> {
    let mut seen = HashSet::new();
    let targets = parents.iter().filter_map(|ctx| ctx.target());
    targets
        .filter(|node| seen.insert(Arc::as_ptr(node)))
        .cloned()
        .collect()
}

/// Leaves out what is certainly an ancestor of another: it cannot end later.
fn without_ancestors(nodes: Vec<Arc<Node>>) -> Vec<Arc<Node>> {
    if nodes.len() < 2 {
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

/// What is left of a merge that needs no node with several parents: a view, which shares the
/// cancel state, so that it is done exactly when the one parent is (C67).
fn single(node: Option<&Arc<Node>>, env: Option<Arc<Env>>, site: Site) -> Ctx {
    match (node, env) {
        (None, None) => Ctx::background(),
        (None, Some(env)) => Ctx::background().view((*env).clone(), site),
        (Some(node), None) => Ctx::from_node(Arc::clone(node)),
        (Some(node), Some(env)) => Ctx::from_node(Arc::clone(node)).view((*env).clone(), site),
    }
}

/// A node with several parents. The caller enters it into their lists at once: the ends
/// of the parents have to reach it in their order, even if nobody waits (C65, C71).
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
///
/// # Limitations
/// The work does not end with the context that it was made from, only with its members:
/// before the first one joins it is live, so join before anything else can fail.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<SharedInner>,
}

struct SharedInner {
    ctx: Ctx,
    members: Arc<Members>,
}

/// Lives as long as a member or a handle does: without either the work is ended.
///
/// The lock is never held while the work is cancelled: hooks of it may join or leave.
struct Members {
    count: Mutex<Count>,
    guard: CancelGuard,
}

struct Count {
    present: usize,
    /// Why the work ends, once the last member has left.
    over: Option<Cause>,
}

impl Shared {
    /// Makes shared work with the values and the clock of `ctx`.
    ///
    /// It is [detached](Ctx::detach) from `ctx`: no deadline and no cancel of it reaches the work,
    /// since the first caller must not end it for the others.
    #[track_caller]
    pub fn new(ctx: &Ctx) -> Self {
        let (ctx, guard) = ctx.detach().child();
        let count = Mutex::new(Count {
            present: 0,
            over: None,
        });
        let members = Arc::new(Members { count, guard });
        Self {
            inner: Arc::new(SharedInner { ctx, members }),
        }
    }

    /// The context of the work.
    ///
    /// To run the work under, not to wait by: a caller waits under its own context, or it would
    /// not see its own deadline.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Shared};
    /// use std::time::Duration;
    ///
    /// let hasty = Ctx::background().with_timeout(Duration::from_secs(1));
    /// let shared = Shared::new(&hasty);
    /// let _member = shared.join(&hasty)?;
    /// // Its members' deadlines end their membership, not the work under way for others.
    /// assert_eq!(shared.ctx().remaining(), None);
    /// # Ok::<(), ripcord_core::Cancelled>(())
    /// ```
    pub fn ctx(&self) -> &Ctx {
        &self.inner.ctx
    }

    /// Adds a member, which counts until `ctx` is done or the member is dropped.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind, Shared};
    ///
    /// let (caller, caller_gone) = Ctx::background().child();
    /// let shared = Shared::new(&caller);
    /// let member = shared.join(&caller)?;
    /// caller_gone.cancel(Kind::PeerGone);
    /// assert_eq!(shared.ctx().check().unwrap_err().kind(), Kind::PeerGone);
    /// // Leaving after the end changes nothing.
    /// drop(member);
    /// # Ok::<(), ripcord_core::Cancelled>(())
    /// ```
    ///
    /// # Costs
    /// One hook on `ctx` and two short locks.
    ///
    /// # Errors
    /// [`Cancelled`] if `ctx` is done, with its cause, or if the work has ended,
    /// with the cause of the work: start it anew.
    pub fn join(&self, ctx: &Ctx) -> Result<Member, Cancelled> {
        ctx.check()?;
        let mut count = self.inner.members.count.lock();
        if let Some(cause) = count.over.clone() {
            drop(count);
            // Whoever left last may not have come to this yet.
            self.inner.members.guard.cancel(cause.clone());
            return Err(Cancelled(self.ctx().cause().unwrap_or(cause)));
        }
        count.present += 1;
        drop(count);
        let seat = Arc::new(Seat {
            members: Arc::clone(&self.inner.members),
            is_free: Mutex::new(false),
        });
        let leaving = Arc::clone(&seat);
        let hook = ctx.on_done(move |cause| leaving.leave(cause.clone()));
        Ok(Member {
            seat,
            ctx: ctx.clone(),
            _hook: hook,
        })
    }

    /// How many members there are.
    ///
    /// Joined and neither dropped nor done. It may be outdated when it arrives: to decide whether
    /// the work goes on, ask its context.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Shared};
    ///
    /// let shared = Shared::new(&Ctx::background());
    /// let member = shared.join(&Ctx::background())?;
    /// assert_eq!(shared.members(), 1);
    /// drop(member);
    /// assert_eq!(shared.members(), 0);
    /// # Ok::<(), ripcord_core::Cancelled>(())
    /// ```
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
///
/// Keep it next to whatever waits for the result. Leaving happens once: by the end of its
/// context or by its drop, whichever comes first.
#[must_use = "dropping the member at once leaves the shared work"]
pub struct Member {
    seat: Arc<Seat>,
    ctx: Ctx,
    _hook: Hook,
}

/// A member's place; the flag lets the hook and the drop leave once between them.
struct Seat {
    members: Arc<Members>,
    is_free: Mutex<bool>,
}

impl Seat {
    /// The cause is stored before the work is cancelled: who joins in between is refused with
    /// it, and cancels too, so that no joiner sees the work live after a refusal.
    fn leave(&self, cause: Cause) {
        if std::mem::replace(&mut *self.is_free.lock(), true) {
            return;
        }
        let mut count = self.members.count.lock();
        count.present -= 1;
        let is_last = count.present == 0;
        if is_last {
            count.over = Some(cause.clone());
        }
        drop(count);
        if is_last {
            self.members.guard.cancel(cause);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Its context may be done although the hook has not come to its turn.
        let left = || Cause::new(Kind::Dropped).with_message("the last member left");
        self.seat.leave(self.ctx.cause().unwrap_or_else(left));
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not under the lock: what is written to is foreign code.
        let is_present = !*self.seat.is_free.lock();
        f.debug_struct("Member")
            .field("is_present", &is_present)
            .finish_non_exhaustive()
    }
}
