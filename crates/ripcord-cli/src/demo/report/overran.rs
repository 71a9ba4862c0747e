//! Who overran: all samples of all tasks, put together by name and spawn site.

use super::facts::Facts;
use super::model::{CauseCount, Overran, State, Wait};
use super::units::{millis, module, place};
use crate::demo::watch::{OVERDUE_AFTER, Sample, Seen};
use ripcord::{LatencyRow, TaskInfo};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::panic::Location;

/// The tasks of one name and spawn site.
#[derive(Default)]
struct Group {
    count: u64,
    /// Of those that are gone, exact.
    gone_ms: f64,
    /// Of those that are not, and where nothing else is known, at the last look.
    left_ms: f64,
    seen_ms: f64,
    blocks: u64,
    is_blocking: bool,
    looked_up: u32,
    waits: HashMap<Wait, u64>,
    causes: HashMap<&'static str, u64>,
    aborted: u64,
    left_behind: u64,
}

type Key = (String, &'static Location<'static>);

/// Everybody who overran, the longest first; and how many there was no room for.
pub(super) fn overran(facts: &Facts) -> (Vec<Overran>, u64) {
    let seen = all_seen(facts);
    let mut groups: HashMap<Key, Group> = HashMap::new();
    let mut samples: Vec<&Sample> = seen.tasks.values().collect();
    samples.sort_by_key(|sample| sample.task.id);
    for sample in samples {
        let key = (sample.task.name.clone(), sample.task.site);
        groups.entry(key).or_default().add(sample);
    }
    // How long exactly, and who was too quick for the watch.
    for row in facts.latency.rows() {
        if row.gone.max > OVERDUE_AFTER
            && let Some(site) = row.site
        {
            let key = (row.name.clone(), site);
            groups.entry(key).or_default().add_row(row);
        }
    }
    let mut rows: Vec<Overran> = groups
        .into_iter()
        .map(|(key, group)| group.conclude(key))
        .collect();
    rows.sort_by(|one, other| {
        other
            .longest_ms
            .total_cmp(&one.longest_ms)
            .then_with(|| one.name.cmp(&other.name))
    });
    (rows, seen.dropped)
}

/// What the watch saw, what scopes aborted, and what was left at the end.
fn all_seen(facts: &Facts) -> Seen {
    let mut seen = facts.seen.clone();
    seen.dropped += facts.stragglers.dropped;
    for task in &facts.stragglers.tasks {
        if let Some(sample) = seen.note(task.clone()) {
            sample.was_aborted = true;
        }
    }
    for task in &facts.left {
        if let Some(sample) = seen.note(task.clone()) {
            sample.was_left = true;
        }
    }
    seen
}

impl Group {
    fn add(&mut self, sample: &Sample) {
        let task = &sample.task;
        self.count += 1;
        if let Some(overdue) = task.overdue {
            self.seen_ms = self.seen_ms.max(millis(overdue));
            if sample.was_left {
                self.left_ms = self.left_ms.max(millis(overdue));
            }
        }
        self.blocks += u64::from(sample.blocks && task.stack.is_none());
        self.is_blocking |= task.is_blocking;
        // Looking up a stack takes milliseconds, and one is like the other.
        if self.looked_up < STACKS_MAX
            && let Some(wait) = wait(task)
        {
            self.looked_up += 1;
            *self.waits.entry(wait).or_default() += 1;
        }
        if let Some(cause) = &task.cause {
            *self.causes.entry(cause.kind().as_str()).or_default() += 1;
        }
        self.aborted += u64::from(sample.was_aborted);
        self.left_behind += u64::from(sample.was_left);
    }

    fn add_row(&mut self, row: &LatencyRow) {
        self.gone_ms = self.gone_ms.max(millis(row.gone.max));
        if self.count == 0 {
            self.count = 1;
        }
        if self.causes.is_empty() {
            let causes = row.causes.iter();
            self.causes = causes
                .map(|(kind, count)| (kind.as_str(), *count))
                .collect();
        }
    }

    fn state(&self) -> State {
        if self.is_blocking {
            State::OnABlockingThread
        } else if self.blocks > 0 {
            State::BlocksItsThread
        } else if !self.waits.is_empty() {
            State::Waits
        } else {
            State::Unknown
        }
    }

    fn conclude(self, (name, site): Key) -> Overran {
        let state = self.state();
        let known = self.gone_ms.max(self.left_ms);
        let mut waits: Vec<(Wait, u64)> = self.waits.into_iter().collect();
        waits.sort_by_key(|(wait, count)| (Reverse(*count), wait.clone()));
        Overran {
            name,
            spawned_at: place(site.file(), site.line()),
            count: self.count,
            longest_ms: if known > 0.0 { known } else { self.seen_ms },
            state,
            waits: waits.into_iter().map(|(wait, _)| wait).collect(),
            causes: causes(
                self.causes
                    .into_iter()
                    .map(|(kind, count)| (kind.to_owned(), count)),
            ),
            aborted: self.aborted,
            left_behind: self.left_behind,
        }
    }
}

/// Where the task waits, in this program's own code.
fn wait(task: &TaskInfo) -> Option<Wait> {
    let stack = task.stack.as_ref()?;
    let site = stack.site()?;
    let mut leaves = stack.leaves().iter();
    let leaf = leaves.find(|leaf| leaf.contains(site))?;
    let at = leaf.iter().position(|frame| frame == site)?;
    let below = at.checked_sub(1).and_then(|below| leaf.get(below));
    Some(Wait {
        at: place(site.file.as_deref()?, site.line?),
        waits_for: below.and_then(|frame| module(frame.file.as_deref()?)),
    })
}

/// The most frequent first.
pub(super) fn causes(counts: impl IntoIterator<Item = (String, u64)>) -> Vec<CauseCount> {
    let counts = counts.into_iter();
    let mut causes: Vec<CauseCount> = counts
        .map(|(kind, count)| CauseCount { kind, count })
        .collect();
    causes.sort_by(|one, other| {
        other
            .count
            .cmp(&one.count)
            .then_with(|| one.kind.cmp(&other.kind))
    });
    causes
}

/// The stacks of so many tasks of a group are looked up.
const STACKS_MAX: u32 = 20;
