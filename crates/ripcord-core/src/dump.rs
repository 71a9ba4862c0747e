//! The live tree as text: what every context of the tracked roots is doing.

use crate::cause::Cause;
use crate::ctx::{Ctx, Phase};
use crate::node::Node;
use crate::observe::{self, Record};
use crate::sync::Arc;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A snapshot of the live contexts below the roots made with [`Root::tracked`].
///
/// For an admin endpoint or a signal: "what is this process doing, since when, and why does it
/// not stop?" Looking counts as no observation, and values are never shown.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind, Phase};
///
/// let (server, _guard) = Ctx::root().name("dump-server").tracked().build();
/// let (request, cancel) = server.named("GET /a").child();
/// cancel.cancel(Kind::PeerGone);
/// let dump = ripcord_core::dump();
/// let row = dump.rows().iter().rfind(|row| row.name.as_deref() == Some("GET /a"));
/// let row = row.expect("`request` is alive");
/// assert_eq!(row.phase, Phase::Cancelled);
/// assert_eq!(row.cause.as_ref().map(|cause| cause.kind()), Some(Kind::PeerGone));
/// # drop(request);
/// ```
///
/// [`Root::tracked`]: crate::Root::tracked
///
/// # Costs
/// One lock for each root while its register is copied, then one for each context.
/// Contexts come and go meanwhile; each row is right for itself.
#[must_use]
pub fn dump() -> Dump {
    let mut rows = Vec::new();
    for registry in observe::all_registries() {
        rows.extend(registry.live().into_iter().filter_map(Row::of));
    }
    rows.sort_by_key(|row| row.id);
    Dump { rows }
}

/// The live contexts at one moment; prints as a tree.
///
/// `Display` writes one line a context, indented by level, and the number of contexts last:
///
/// ```text
/// #1 server Live age 12.0s waiters 1 hooks 0 children 2 at src/main.rs:9:29
///   #7 GET /a Cancelled age 3.1s left 1.9s cause peer gone waiters 0 hooks 0 children 0 at …
/// 2 contexts
/// ```
///
/// Names are escaped, since they may come from users (spec/context.md C118).
#[derive(Clone, Debug)]
pub struct Dump {
    rows: Vec<Row>,
}

/// One live context.
///
/// Non-exhaustive: it is read, never made by hand. A context that was cancelled and still
/// stands here has a handle that somebody has not dropped; its age and site lead to him.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, dump};
///
/// let (_root, _guard) = Ctx::root().name("row-root").tracked().build();
/// let dump = dump();
/// let row = dump.rows().iter().rfind(|row| row.name.as_deref() == Some("row-root"));
/// let line = row.expect("`_root` is alive").to_string();
/// assert!(line.contains("row-root Live age") && line.contains("waiters 0 hooks 0"), "{line}");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// A number that no other recorded context of this process has.
    pub id: u64,
    /// The nearest recorded context above.
    pub parent: Option<u64>,
    /// The name of the context, or of the nearest above it that has one.
    pub name: Option<String>,
    /// Where the context was made.
    pub site: Option<&'static Location<'static>>,
    /// How long ago that was.
    pub age: Duration,
    /// How far the context has come.
    pub phase: Phase,
    /// What is left until the deadline in force.
    pub remaining: Option<Duration>,
    /// Why the context is done.
    pub cause: Option<Cause>,
    /// How many futures wait for its end.
    pub waiters: usize,
    /// How many hooks are registered.
    pub hooks: usize,
    /// How many linked contexts are directly below.
    pub children: usize,
}

impl Row {
    /// The counts are taken under the node's lock, everything that is formatted later is copied
    /// here: no lock is held while a dump is printed (C130).
    fn of(node: Arc<Node>) -> Option<Self> {
        let record: &Record = node.record()?;
        let (id, parent, created) = (record.id(), record.parent(), record.created());
        let (waiters, hooks, children) = match node.block_if_any() {
            None => (0, 0, 0),
            Some(block) => {
                let links = block.links.lock();
                let (waiters, hooks) = links.counts();
                (waiters, hooks, links.children.len())
            }
        };
        let (cause, name, site) = (
            node.cause(),
            node.name().map(str::to_owned),
            node.location(),
        );
        let age = node.now().saturating_duration_since(created);
        let ctx = Ctx::from_node(node);
        // A dump is not an observation: it must not spoil the account of latencies.
        let phase = ctx.target().map_or(Phase::Live, |node| node.phase());
        let remaining = ctx.remaining();
        Some(Self {
            id,
            parent,
            name,
            site,
            age,
            phase,
            remaining,
            cause,
            waiters,
            hooks,
            children,
        })
    }
}

impl Dump {
    /// The contexts, oldest first.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::dump;
    /// use std::time::Duration;
    ///
    /// let stuck = |dump: &ripcord_core::Dump| {
    ///     let rows = dump.rows().iter();
    ///     rows.filter(|row| row.cause.is_some() && row.age > Duration::from_secs(60)).count()
    /// };
    /// assert_eq!(stuck(&dump()), 0);
    /// ```
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: HashSet<u64> = self.rows.iter().map(|row| row.id).collect();
        let mut below: HashMap<u64, Vec<&Row>> = HashMap::new();
        let mut todo: Vec<(usize, &Row)> = Vec::new();
        for row in self.rows.iter().rev() {
            match row.parent.filter(|parent| known.contains(parent)) {
                Some(parent) => below.entry(parent).or_default().push(row),
                None => todo.push((0, row)),
            }
        }
        while let Some((depth, row)) = todo.pop() {
            writeln!(f, "{:indent$}{row}", "", indent = depth.min(MAX_INDENT) * 2)?;
            if let Some(rows) = below.get(&row.id) {
                todo.extend(rows.iter().map(|row| (depth + 1, *row)));
            }
        }
        write!(f, "{} contexts", self.rows.len())
    }
}

/// Deeper levels are not indented further, so that a deep chain stays readable.
const MAX_INDENT: usize = 40;

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name may come from a user: it must not bring control sequences along.
        let name = self.name.as_deref().unwrap_or("-").escape_debug();
        write!(
            f,
            "#{} {name} {:?} age {:.1?}",
            self.id, self.phase, self.age
        )?;
        if let Some(remaining) = self.remaining {
            write!(f, " left {remaining:.1?}")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, " cause {}", cause.kind())?;
        }
        write!(
            f,
            " waiters {} hooks {} children {}",
            self.waiters, self.hooks, self.children
        )?;
        if let Some(site) = self.site {
            write!(f, " at {site}")?;
        }
        Ok(())
    }
}
