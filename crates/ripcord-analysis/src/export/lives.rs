//! Lives of contexts, tasks and jobs: from what began them to what ended them.
//!
//! # Costs
//! Memory: what is live, with at most [`NOTES_MAX`] tags or wakes each.

use super::follow::{About, Follow, about};
use crate::read::{Origin, Orphan, OrphanKind, Step, Tables};
use foldhash::fast::RandomState;
use ripcord_trace_format::{CauseKind, CtxKind, Event, Outcome, SeenHow, WakeBy};
use std::collections::HashMap;
use std::sync::Arc;

/// A context, as far as the trace tells of it.
#[derive(Clone, Default, Debug)]
pub(super) struct CtxLife {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) kind: Option<CtxKind>,
    pub(super) loc: Option<u64>,
    /// Ticks from its beginning.
    pub(super) deadline: Option<i64>,
    pub(super) name: String,
    /// `None`: before the trace.
    pub(super) begun: Option<u64>,
    /// `None`: it is live at the end of the trace.
    pub(super) ended: Option<u64>,
    pub(super) cancel: Option<Cancel>,
    pub(super) seen: Option<Seen>,
    /// Numbers of labels, and what they say.
    pub(super) tags: Vec<(u64, String)>,
    pub(super) family: Family,
}

/// Which trace something belongs to, as far as was known when it was made: what is above it may be gone
/// when it ends.
#[derive(Clone, Default, Debug)]
pub(super) struct Family {
    /// The topmost context above it, or itself.
    pub(super) root: Option<u64>,
    /// The tag `trace.id` of the nearest context above it, or its own.
    pub(super) trace: Option<Arc<str>>,
}

/// How a context ended.
#[derive(Clone, Debug)]
pub(super) struct Cancel {
    pub(super) tick: u64,
    pub(super) kind: CauseKind,
    pub(super) by: Option<u64>,
    pub(super) loc: Option<u64>,
    pub(super) due: Option<i64>,
    pub(super) message: String,
}

impl Cancel {
    /// The guard of a piece of work that went away with it: nobody ended anything.
    pub(super) fn is_ordinary(&self) -> bool {
        self.kind == CauseKind::Dropped && self.message.is_empty()
    }
}

/// Who saw first that a context was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) tick: u64,
    pub(super) task: Option<u64>,
    pub(super) how: SeenHow,
}

/// A task or a job, as far as the trace tells of it.
#[derive(Clone, Default, Debug)]
pub(super) struct TaskLife {
    pub(super) about: About,
    pub(super) is_job: bool,
    /// `None`: before the trace.
    pub(super) begun: Option<u64>,
    /// A job's own: when a thread took it.
    pub(super) started: Option<u64>,
    /// `None`: it is live at the end of the trace.
    pub(super) ended: Option<u64>,
    pub(super) outcome: Option<Outcome>,
    pub(super) polls: Option<u64>,
    /// Ticks within its polls.
    pub(super) busy: Option<u64>,
    pub(super) family: Family,
    /// Tasks that woke it.
    pub(super) wakers: Vec<(u64, WakeBy)>,
}

/// A life that is over.
#[derive(Debug)]
pub(super) enum Over {
    Ctx(CtxLife),
    Task(TaskLife),
}

/// Everything that is live.
#[derive(Debug, Default)]
pub(super) struct Lives {
    contexts: HashMap<u64, CtxLife, RandomState>,
    tasks: HashMap<u64, TaskLife, RandomState>,
    /// Labels that say `trace.id`.
    trace_keys: Vec<u64>,
}

impl Lives {
    /// `orphans` live from before the trace on; their ends will come.
    pub(super) fn new(tables: &Tables, orphans: Vec<Orphan>) -> Self {
        let keys = tables.labels().filter(|(_, text)| &***text == "trace.id");
        let mut lives = Self {
            trace_keys: keys.map(|(key, _)| key).take(NOTES_MAX).collect(),
            ..Self::default()
        };
        let (contexts, tasks): (Vec<_>, Vec<_>) = orphans
            .into_iter()
            .partition(|orphan| orphan.kind == OrphanKind::Ctx);
        for orphan in &contexts {
            let life = lives.known(orphan.id);
            (life.parent, life.loc) = (orphan.parent, orphan.loc);
            orphan.name.clone_into(&mut life.name);
        }
        // Children end before their parents, and so they come first: roots are looked for afterwards.
        for orphan in &contexts {
            let root = lives.root(orphan.id);
            lives.known(orphan.id).family.root = Some(root);
        }
        for orphan in &tasks {
            let life = TaskLife {
                about: About::from(orphan),
                is_job: orphan.kind == OrphanKind::Job,
                family: lives.below(orphan.ctx),
                ..TaskLife::default()
            };
            lives.tasks.insert(orphan.id, life);
        }
        lives
    }

    /// The topmost context above one that is known.
    fn root(&self, mut id: u64) -> u64 {
        for _ in 0..DEPTH_MAX {
            let Some(parent) = self.contexts.get(&id).and_then(|life| life.parent) else {
                break;
            };
            id = parent;
        }
        id
    }

    /// The family of what is made below a context.
    pub(super) fn below(&self, parent: Option<u64>) -> Family {
        match parent.and_then(|parent| self.contexts.get(&parent)) {
            Some(life) if life.family.root.is_some() => life.family.clone(),
            known => Family {
                root: parent,
                trace: known.and_then(|life| life.family.trace.clone()),
            },
        }
    }

    /// The context, if it is live.
    pub(super) fn context(&self, id: u64) -> Option<&CtxLife> {
        self.contexts.get(&id)
    }

    /// The task or job, if it is live.
    pub(super) fn task(&self, id: u64) -> Option<&TaskLife> {
        self.tasks.get(&id)
    }

    /// Takes an event in; what is over with it. What the registry repeats changes nothing.
    pub(super) fn step(&mut self, step: &Step<'_>, follow: &Follow) -> Option<Over> {
        if step.origin == Origin::Window {
            return None;
        }
        match step.event {
            Event::TaskSpawn { .. } | Event::JobQueued { .. } => self.begins(step),
            Event::TaskEnd { .. } | Event::JobEnd { .. } => return self.ends(step),
            Event::JobStart { job } => {
                let life = self.tasks.entry(job).or_default();
                life.about.id = job;
                life.is_job = true;
                life.started = Some(step.tick);
            }
            Event::Wake {
                slot,
                by: by @ (WakeBy::Task | WakeBy::Completion),
                waker: Some(waker),
                ..
            } => {
                let (woken, waker) = (follow.task(slot), follow.task(waker));
                if let Some(life) = self.tasks.get_mut(&woken) {
                    let is_known = life.wakers.iter().any(|(known, _)| *known == waker);
                    if life.wakers.len() < NOTES_MAX && !is_known {
                        life.wakers.push((waker, by));
                    }
                }
            }
            _ => return self.context_step(step),
        }
        None
    }

    /// Everything that is live at the end of the trace, contexts first, by id.
    pub(super) fn finish(self) -> Vec<Over> {
        let mut contexts: Vec<CtxLife> = self.contexts.into_values().collect();
        contexts.sort_unstable_by_key(|life| life.id);
        let mut tasks: Vec<TaskLife> = self.tasks.into_values().collect();
        tasks.sort_unstable_by_key(|life| life.about.id);
        let contexts = contexts.into_iter().map(Over::Ctx);
        contexts.chain(tasks.into_iter().map(Over::Task)).collect()
    }

    /// Lives to look things up in.
    pub(super) fn of(rest: &[Over]) -> Self {
        let mut lives = Self::default();
        for over in rest {
            match over {
                Over::Ctx(life) => drop(lives.contexts.insert(life.id, life.clone())),
                Over::Task(life) => drop(lives.tasks.insert(life.about.id, life.clone())),
            }
        }
        lives
    }

    fn begins(&mut self, step: &Step<'_>) {
        if let Some(about) = about(&step.event) {
            let family = self.below(about.ctx);
            self.tasks.entry(about.id).or_insert_with(|| TaskLife {
                about,
                family,
                is_job: matches!(step.event, Event::JobQueued { .. }),
                begun: Some(step.tick),
                ..TaskLife::default()
            });
        }
    }

    fn ends(&mut self, step: &Step<'_>) -> Option<Over> {
        let about = about(&step.event)?;
        let mut life = self.tasks.remove(&about.id).unwrap_or_default();
        // What the end says is complete, also where the beginning is not in the trace.
        life.about = about;
        life.ended = Some(step.tick);
        match step.event {
            Event::TaskEnd {
                outcome,
                polls,
                busy,
                ..
            } => {
                life.outcome = Some(outcome);
                (life.polls, life.busy) = (Some(polls), Some(busy));
            }
            Event::JobEnd { outcome, .. } => {
                life.is_job = true;
                life.outcome = Some(outcome);
            }
            _ => {}
        }
        Some(Over::Task(life))
    }

    fn context_step(&mut self, step: &Step<'_>) -> Option<Over> {
        let tick = step.tick;
        match step.event {
            Event::CtxCreate {
                id,
                parent,
                kind,
                loc,
                deadline,
                name,
            } => {
                let mut family = self.below(parent);
                family.root.get_or_insert(id);
                let life = self.known(id);
                if life.begun.is_none() {
                    family.trace = life.family.trace.take().or(family.trace);
                    life.family = family;
                    life.begun = Some(tick);
                    life.kind = Some(kind);
                    (life.parent, life.loc, life.deadline) = (parent, loc, deadline);
                    name.clone_into(&mut life.name);
                }
            }
            Event::CtxCancel {
                id,
                kind,
                by,
                loc,
                due,
                message,
            } => {
                let life = self.known(id);
                life.cancel.get_or_insert_with(|| Cancel {
                    tick,
                    kind,
                    by,
                    loc,
                    due,
                    message: message.to_owned(),
                });
            }
            Event::CtxSeen { id, task, how, .. } => {
                let seen = Seen { tick, task, how };
                self.known(id).seen.get_or_insert(seen);
            }
            Event::CtxTag { id, key, text } => {
                let is_trace = self.trace_keys.contains(&key);
                let life = self.known(id);
                if is_trace {
                    life.family.trace = Some(text.as_str().into());
                }
                let tags = &mut life.tags;
                if tags.len() < NOTES_MAX && !tags.iter().any(|(known, _)| *known == key) {
                    tags.push((key, text.as_str().to_owned()));
                }
            }
            Event::CtxEnd {
                id,
                parent,
                loc,
                name,
            } => {
                let mut life = self.contexts.remove(&id).unwrap_or_default();
                life.id = id;
                (life.parent, life.loc, life.ended) = (parent, loc, Some(tick));
                name.clone_into(&mut life.name);
                return Some(Over::Ctx(life));
            }
            _ => {}
        }
        None
    }

    fn known(&mut self, id: u64) -> &mut CtxLife {
        self.contexts.entry(id).or_insert_with(|| CtxLife {
            id,
            ..CtxLife::default()
        })
    }
}

/// Tags of a context, or wakers of a task, that are kept.
const NOTES_MAX: usize = 32;

/// Contexts that are looked at above one; a file may say that they are in a circle.
pub(super) const DEPTH_MAX: usize = 256;
