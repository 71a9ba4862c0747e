//! What has to be known of a trace before it is merged: its numbers, its clocks, its requests.
//!
//! *Costs*: two passes over the file. Memory is bounded by [`TAGS_MAX`] requests and
//! [`SNAPSHOTS_MAX`] snapshots, of which every second is given up at the limit.

use super::clock::{Snapshot, TraceClock};
use super::renumber::Bases;
use crate::exit::ExpectedError;
use crate::printer::Printer;
use crate::trace::health::Health;
use crate::trace::input::{Input, events};
use ripcord_trace_format::{BlockKind, Event, FileHeader};
use std::collections::HashMap;
use std::path::Path;

/// What was found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) header: Option<FileHeader>,
    pub(super) health: Health,
    /// One more than the largest number of each kind: what another trace has to add to its own.
    pub(super) next: Bases,
    pub(super) clock: TraceClock,
    pub(super) first_tick: u64,
    /// Requests that one context alone has, by id: its beginning and its end.
    pub(super) requests: HashMap<String, (u64, u64)>,
}

/// The first pass.
#[derive(Debug, Default)]
struct Found {
    next: Bases,
    snapshots: Vec<Snapshot>,
    first_tick: Option<u64>,
    /// Labels that name what is looked for.
    keys: Vec<u64>,
    /// Key, context, text.
    tags: Vec<(u64, u64, String)>,
}

/// Reads a trace twice.
///
/// # Errors
/// It cannot be read as a trace.
pub(super) fn survey(
    path: &Path,
    printer: &Printer,
    is_quiet: bool,
) -> Result<Survey, ExpectedError> {
    let input = Input::open(path, printer, is_quiet)?;
    let header = input.header().cloned();
    let mut found = Found::default();
    let health = input.walk(|block, health| {
        if !block.info.kind.has_events() {
            return Ok(());
        }
        found.next.thread = found.next.thread.max(block.info.thread.saturating_add(1));
        events(block, health, |tick, event| {
            // Tables have no time.
            if block.info.kind != BlockKind::Table {
                let first = found.first_tick.get_or_insert(tick);
                *first = tick.min(*first);
            }
            found.event(tick, event);
            Ok::<(), ExpectedError>(())
        })
    })?;
    let requests = times(path, printer, is_quiet, &found.contexts())?;
    let first_tick = found.first_tick.unwrap_or(0);
    found.snapshots.sort_by_key(|snapshot| snapshot.tick);
    Ok(Survey {
        clock: TraceClock::new(header.as_ref(), &found.snapshots, first_tick),
        header,
        health,
        next: found.next,
        first_tick,
        requests,
    })
}

/// The second pass: when the contexts of the requests began and ended. Those without both are left out.
fn times(
    path: &Path,
    printer: &Printer,
    is_quiet: bool,
    contexts: &HashMap<u64, String>,
) -> Result<HashMap<String, (u64, u64)>, ExpectedError> {
    let mut spans: HashMap<u64, (Option<u64>, Option<u64>)> = HashMap::new();
    if !contexts.is_empty() {
        Input::open(path, printer, is_quiet)?.walk(|block, health| {
            events(block, health, |tick, event| {
                match *event {
                    Event::CtxCreate { id, .. } if contexts.contains_key(&id) => {
                        spans.entry(id).or_default().0 = Some(tick);
                    }
                    Event::CtxEnd { id, .. } if contexts.contains_key(&id) => {
                        spans.entry(id).or_default().1 = Some(tick);
                    }
                    _ => {}
                }
                Ok::<(), ExpectedError>(())
            })
        })?;
    }
    let whole = |(id, span): (u64, (Option<u64>, Option<u64>))| {
        let text = contexts.get(&id)?.clone();
        Some((text, (span.0?, span.1?)))
    };
    Ok(spans.into_iter().filter_map(whole).collect())
}

impl Found {
    fn event(&mut self, tick: u64, event: &Event<'_>) {
        let next = &mut self.next;
        // No recorder comes to such numbers, and a lie about one must not cost the other trace all
        // of its own.
        let after = |next: &mut u64, number: u64| {
            if number < NUMBERS_MAX {
                *next = (*next).max(number + 1);
            }
        };
        match *event {
            Event::TaskSpawn { slot, id, .. } | Event::TaskEnd { slot, id, .. } => {
                after(&mut next.slot, slot);
                after(&mut next.task, id);
            }
            Event::PollStart { slot, .. }
            | Event::Wake { slot, .. }
            | Event::TaskCtx { slot, .. } => {
                after(&mut next.slot, slot);
            }
            Event::JobQueued { job, .. } | Event::JobEnd { job, .. } | Event::JobStart { job } => {
                after(&mut next.task, job);
            }
            Event::CtxCreate { id, .. }
            | Event::CtxEnd { id, .. }
            | Event::CtxCancel { id, .. }
            | Event::CtxSeen { id, .. }
            | Event::CtxVain { id, .. } => after(&mut next.ctx, id),
            Event::UserTaskBegin { id, .. } | Event::UserTaskEnd { id } => {
                after(&mut next.user_task, id);
            }
            Event::Location { index, .. } => after(&mut next.location, index),
            Event::Label { index, text, .. } => {
                after(&mut next.label, index);
                if text == REQUEST && self.keys.len() < KEYS_MAX {
                    self.keys.push(index);
                }
            }
            Event::CtxTag { id, key, text } if self.tags.len() < TAGS_MAX => {
                after(&mut next.ctx, id);
                self.tags.push((key, id, text.as_str().to_owned()));
            }
            Event::Clock { monotonic, wall } => {
                self.snapshots.push(Snapshot {
                    tick,
                    monotonic,
                    wall,
                });
                if self.snapshots.len() >= SNAPSHOTS_MAX {
                    let mut at = 0;
                    self.snapshots.retain(|_| {
                        at += 1;
                        at % 2 == 1
                    });
                }
            }
            _ => {}
        }
    }

    /// Contexts by the request that they alone have.
    ///
    /// `trace.id` would not do: a trace has many requests.
    fn contexts(&self) -> HashMap<u64, String> {
        let mut by_text: HashMap<&str, Option<u64>> = HashMap::new();
        for (key, id, text) in &self.tags {
            if self.keys.contains(key) {
                let known = by_text.entry(text).or_insert(Some(*id));
                // The same tag may be told twice, by the ring and by the registry.
                *known = known.filter(|known| known == id);
            }
        }
        let only = |(text, id): (&str, Option<u64>)| Some((id?, text.to_owned()));
        by_text.into_iter().filter_map(only).collect()
    }
}

/// The tag by which two processes call a request the same.
const REQUEST: &str = "request.id";

const NUMBERS_MAX: u64 = 1 << 62;
const TAGS_MAX: usize = 100_000;
const SNAPSHOTS_MAX: usize = 65_536;
const KEYS_MAX: usize = 64;
