//! Where a task waits or runs, from what was last told of it.

use super::dispatch::Engine;
use super::state::{Stage, Task, What};
use crate::place::Place;
use std::sync::Arc;

impl Engine<'_> {
    /// Where a task waits: await stack, label, region, spawn, in this order (recording.md 15).
    pub(super) fn wait_place(&self, task: &Task) -> Place {
        let label = task.label.or(task.regions.last().copied());
        let what = label.and_then(|label| self.tables.label(label)).cloned();
        if let Some(stack) = &task.stack {
            return Place {
                what: what.or_else(|| stack.what.clone()),
                ..(**stack).clone()
            };
        }
        self.labelled_place(label, what, task.loc)
    }

    /// The place of a label, or else that of the spawn.
    fn labelled_place(
        &self,
        label: Option<u64>,
        what: Option<Arc<str>>,
        spawn: Option<u64>,
    ) -> Place {
        let own = label.and_then(|label| self.tables.label_location(label));
        let spawn = || self.tables.location(spawn?);
        Place {
            what,
            function: None,
            is_spawn: own.is_none(),
            location: own.or_else(spawn).cloned(),
        }
    }

    /// Where a task runs: its region, and its spawn.
    pub(super) fn poll_place(&self, site: u32, region: Option<u64>) -> Place {
        let (loc, name) = self.tally.site_key(site);
        let text = region.and_then(|label| self.tables.label(label)).cloned();
        self.labelled_place(region, text.or_else(|| self.text(name)), loc)
    }

    /// An await stack of a task was taken: it is where the task waits, or has just waited.
    pub(super) fn stack(&mut self, id: u64, leaf: u64, text: &str) {
        let Some(place) = Place::from_stack(text) else {
            return;
        };
        let Some(key) = self.task_ids.get(&id).copied() else {
            // It was over before its stack had names.
            if self.late_stacks.len() < LATE_STACKS_MAX {
                self.late_stacks.insert(id, place);
            }
            return;
        };
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if matches!(task.stage, Stage::Waiting | Stage::Lost) {
            if leaf == 0 || task.stack.is_none() {
                task.stack = Some(Box::new(place));
            }
            return;
        }
        for (incident, lane) in task.lanes.clone() {
            let incident = self.incidents.get_mut(incident);
            let lane = incident.and_then(|incident| incident.lanes.get_mut(lane as usize));
            let last = lane.and_then(|lane| {
                let mut pieces = lane.pieces.iter_mut().rev();
                pieces.find_map(|piece| match &mut piece.what {
                    What::Deaf { place } => Some(place),
                    _ => None,
                })
            });
            if let Some(deaf) = last.filter(|deaf| deaf.is_spawn) {
                let what = deaf.what.take().or_else(|| place.what.clone());
                *deaf = Place {
                    what,
                    ..place.clone()
                };
            }
        }
    }
}

/// Stacks that came after their task's end and are kept for the ends that it has made late.
const LATE_STACKS_MAX: usize = 1 << 16;
