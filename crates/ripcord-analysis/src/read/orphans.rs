//! What was there when a ring began: tasks, jobs and contexts whose end is in the trace, and whose
//! beginning is not.
//!
//! A dump begins wherever the ring did. Ends repeat what beginnings said, so that a way over the
//! blocks, in any order, finds who was there from the beginning on (recording.md 20). What was live at
//! the dump is told by the registry, and needs none of this.

use super::OpenError;
use super::events::Origin;
use super::scan::Scan;
use ripcord_trace_format::{Decoder, Event};
use std::collections::HashMap;
use std::io::{Read, Seek};

/// A task, job or context that was there from the beginning of the trace on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Orphan {
    pub(crate) kind: OrphanKind,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) ctx: Option<u64>,
    pub(crate) loc: Option<u64>,
    pub(crate) name: String,
    /// When it ended.
    pub(crate) end: u64,
}

/// What an orphan is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum OrphanKind {
    /// First, as tasks and jobs are put into contexts.
    Ctx,
    /// A task, in this slot.
    Task(u64),
    Job,
}

/// What is known of an id. It is forgotten when both of its ends were seen, so few are known at a time.
enum Seen {
    Begin,
    End(Orphan),
}

type Ids = HashMap<(u8, u64), Seen, foldhash::fast::RandomState>;

/// Finds them, the contexts first, then by their ends.
pub(crate) fn orphans<R: Read + Seek>(
    input: &mut R,
    scan: &Scan,
) -> Result<Vec<Orphan>, OpenError> {
    let mut ids = Ids::default();
    let (mut stored, mut plain) = (Vec::new(), Vec::new());
    let threads = scan
        .sources
        .iter()
        .filter(|source| source.origin != Origin::Window);
    for source in threads {
        for block in &source.blocks {
            block
                .load(input, &mut stored, &mut plain)
                .map_err(|error| OpenError::io(error, scan.health.bytes, scan.health.blocks))?;
            let Some(schema) = scan.schemas.get(usize::from(block.schema)) else {
                continue;
            };
            for (tick, event) in Decoder::new(&plain, block.first_tick, schema).flatten() {
                note(&mut ids, tick, &event);
            }
        }
    }
    let ends = ids.into_values().filter_map(|seen| match seen {
        Seen::End(orphan) => Some(orphan),
        Seen::Begin => None,
    });
    let mut all: Vec<_> = ends.collect();
    all.sort_by_key(|orphan| (orphan.kind != OrphanKind::Ctx, orphan.end, orphan.id));
    Ok(all)
}

#[inline]
fn note(ids: &mut Ids, tick: u64, event: &Event<'_>) {
    let orphan = |kind, id, parent, ctx, loc, name: &str| Orphan {
        kind,
        id,
        parent,
        ctx,
        loc,
        name: name.to_owned(),
        end: tick,
    };
    match *event {
        Event::TaskSpawn { id, .. } => begin(ids, (0, id)),
        Event::JobQueued { job, .. } => begin(ids, (1, job)),
        Event::CtxCreate { id, .. } => begin(ids, (2, id)),
        Event::TaskEnd {
            slot,
            id,
            parent,
            ctx,
            loc,
            name,
            ..
        } => end(ids, (0, id), || {
            orphan(OrphanKind::Task(slot), id, parent, ctx, loc, name)
        }),
        Event::JobEnd {
            job,
            parent,
            ctx,
            loc,
            name,
            ..
        } => end(ids, (1, job), || {
            orphan(OrphanKind::Job, job, parent, ctx, loc, name)
        }),
        Event::CtxEnd {
            id,
            parent,
            loc,
            name,
        } => end(ids, (2, id), || {
            orphan(OrphanKind::Ctx, id, parent, None, loc, name)
        }),
        _ => {}
    }
}

fn begin(ids: &mut Ids, key: (u8, u64)) {
    if let Some(Seen::End(_)) = ids.get(&key) {
        ids.remove(&key);
    } else {
        ids.insert(key, Seen::Begin);
    }
}

fn end(ids: &mut Ids, key: (u8, u64), orphan: impl FnOnce() -> Orphan) {
    if let Some(Seen::Begin) = ids.get(&key) {
        ids.remove(&key);
    } else {
        ids.insert(key, Seen::End(orphan()));
    }
}
