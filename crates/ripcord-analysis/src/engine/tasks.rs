//! What a task does: from one stage to the next, with the time of each counted.

use super::dispatch::{Engine, Ran, waker_at};
use super::lanes::Leave;
use super::slab::NONE;
use super::state::{Behind, Stage, Task};
use crate::read::Step;
use ripcord_trace_format::{Event, Outcome, WakeBy};

impl Engine<'_> {
    /// A task or job begins. One that is known already is told again by the registry.
    pub(super) fn spawn(&mut self, mut task: Task) {
        if task.id.is_some_and(|id| self.task_ids.contains_key(&id)) {
            return;
        }
        if !task.is_job
            && let Some(holder) = self.slots.get(task.slot).copied()
            && holder != NONE
        {
            // Its end is lost: a slot has one task at a time.
            self.finish_task(holder, task.since, None, false);
        }
        let (slot, id, is_job, tick) = (task.slot, task.id, task.is_job, task.since);
        let ctx = task.own_ctx;
        task.site = self.tally.site(task.loc, task.name, is_job);
        self.tally.sites[task.site as usize].spawned += u64::from(task.has_spawn);
        let Some(key) = self.tasks.insert(task) else {
            self.tally.ignored += 1;
            return;
        };
        if let Some(id) = id {
            self.task_ids.insert(id, key);
        }
        if !is_job {
            self.slots.insert(slot, key);
        }
        if let Some(ctx) = ctx {
            let ctx = self.ctx_of(ctx, tick);
            self.link_task(key, ctx);
        }
    }

    /// The task in a slot; one without a name if its spawn has left the ring.
    pub(super) fn task_in(&mut self, slot: u64, tick: u64) -> u32 {
        if let Some(key) = self.slots.get(slot).copied()
            && key != NONE
        {
            return key;
        }
        let mut task = Task::new(slot, tick);
        task.site = self.tally.site(None, 0, false);
        let Some(key) = self.tasks.insert(task) else {
            self.tally.ignored += 1;
            return NONE;
        };
        self.slots.insert(slot, key);
        key
    }

    #[inline]
    pub(super) fn poll_start(&mut self, tick: u64, thread: u32, slot: u64) {
        let key = self.task_in(slot, tick);
        let behind = self.ends_queue(key, tick, thread);
        self.close_pieces(key, tick, Leave::PollStart(behind));
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if matches!(task.stage, Stage::Queued | Stage::Fresh) {
            let queued = tick.saturating_sub(task.since);
            task.queued = task.queued.saturating_add(queued);
        }
        task.stage = Stage::Running;
        task.since = task.since.max(tick);
        task.poll_from = task.since;
        task.thread = thread;
        task.woken_by = None;
        task.stack = None;
        task.polls += 1;
        let has_lanes = !task.lanes.is_empty();
        let polls = &mut self.threads.entry(thread).or_default().polls;
        if polls.len() < POLLS_MAX {
            polls.push(key);
        }
        if has_lanes {
            self.excuse_shared(key, tick);
        }
    }

    /// Who had the thread while the task was queued, if that took long enough to ask.
    fn ends_queue(&mut self, key: u32, tick: u64, thread: u32) -> Option<Behind> {
        let task = self.tasks.get(key)?;
        if !matches!(task.stage, Stage::Queued | Stage::Fresh) {
            return None;
        }
        let queued = tick.saturating_sub(task.since);
        let site = &mut self.tally.sites[task.site as usize];
        site.queue.add(queued);
        if task.lanes.is_empty() && queued < self.limits.long_poll {
            return None;
        }
        let from = task.since;
        let ran = &self.threads.get(&thread)?.ran;
        let overlap = |ran: &Ran| ran.to.min(tick).saturating_sub(ran.from.max(from));
        let longest = ran.iter().max_by_key(|ran| overlap(ran))?;
        let ticks = overlap(longest);
        let poll = longest.to.saturating_sub(longest.from);
        // Only who had most of the time is to be named.
        if ticks == 0 || ticks < queued / 2 {
            return None;
        }
        let behind = Behind {
            task: longest.task,
            site: longest.site,
            region: longest.region,
            ticks,
            poll,
        };
        if poll >= self.limits.long_poll {
            self.tally.victim(&behind);
        }
        Some(behind)
    }

    #[inline]
    pub(super) fn poll_end(&mut self, tick: u64, thread: u32, event: &Event<'_>) {
        let Some(key) = self
            .threads
            .get_mut(&thread)
            .and_then(|thread| thread.polls.pop())
        else {
            return;
        };
        self.close_pieces(key, tick, Leave::PollEnd);
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let (from, tick) = (task.poll_from, tick.max(task.since));
        let label = match *event {
            Event::PollPending { label } | Event::PollListening { label } => label,
            _ => None,
        };
        let waits = matches!(
            event,
            Event::PollPending { .. } | Event::PollListening { .. }
        );
        let same = task.label == label && task.polls > 1;
        let is_idle = waits && same && task.woken_by.is_none();
        task.listening = matches!(event, Event::PollListening { .. });
        task.label = label;
        task.stage = match *event {
            Event::PollReady {} => Stage::Ready,
            Event::PollLost {} => Stage::Lost,
            _ if waits && task.woken_by.is_none() && task.alone_since.is_some() => Stage::Lost,
            _ if waits && task.woken_by.is_none() => Stage::Waiting,
            _ => Stage::Queued,
        };
        task.alone_since = None;
        task.since = tick;
        if matches!(task.stage, Stage::Lost) {
            let place = (task.site, label);
            self.tally.lost(place);
        }
        self.count_poll(key, from, tick, is_idle);
    }

    /// The last waker of a task that waits is gone. Another thread may tell that at the tick of the
    /// poll's end, and so before it.
    pub(super) fn task_lost(&mut self, tick: u64, slot: u64) {
        let key = self.task_in(slot, tick);
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        task.alone_since = (task.stage == Stage::Running).then_some(tick);
        if task.stage == Stage::Waiting {
            task.stage = Stage::Lost;
            let place = (task.site, task.label);
            self.tally.lost(place);
        }
    }

    /// Counts a poll that has ended.
    fn count_poll(&mut self, key: u32, from: u64, to: u64, is_idle: bool) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let took = to.saturating_sub(from);
        task.busy = task.busy.saturating_add(took);
        task.longest_poll = task.longest_poll.max(took);
        let region = task.regions.last().copied();
        let site = &mut self.tally.sites[task.site as usize];
        site.polls.add(took);
        site.idle_polls += u64::from(is_idle);
        let ran = Ran {
            from,
            to,
            task: task.id,
            site: task.site,
            region,
        };
        if took >= self.limits.long_poll {
            self.tally.long_poll(task.site, region, took);
        }
        let thread = self.threads.entry(task.thread).or_default();
        if thread.ran.len() >= RAN_MAX {
            thread.ran.pop_front();
        }
        thread.ran.push_back(ran);
    }

    #[inline]
    pub(super) fn wake(&mut self, tick: u64, slot: u64, by: WakeBy, waker: Option<u64>) {
        let key = self.task_in(slot, tick);
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let at = waker_at(by);
        task.wakes[at] = task.wakes[at].saturating_add(1);
        let is_idle = matches!(task.stage, Stage::Waiting | Stage::Lost);
        if task.woken_by.is_none() {
            task.woken_by = Some((by, waker));
        }
        if task.stage == Stage::Unknown {
            self.turn_unknown(key, tick);
            return;
        }
        if !is_idle {
            return;
        }
        if let (WakeBy::Cancel, Some(ctx)) = (by, waker) {
            self.heard(ctx, key);
        }
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let tick = tick.max(task.since);
        let waited = tick - task.since;
        task.waited = task.waited.saturating_add(waited);
        let (site, label, listening) = (task.site, task.label, task.listening);
        self.tally.wait(site, label, waited, listening, at);
        self.close_pieces(key, tick, Leave::Wake(by, waker));
        if let Some(task) = self.tasks.get_mut(key) {
            task.stage = Stage::Queued;
            task.since = tick;
        }
    }

    /// The first that is told of a task is that it was woken: it had waited for an unknown time.
    fn turn_unknown(&mut self, key: u32, tick: u64) {
        self.close_pieces(key, tick, Leave::Nothing);
        if let Some(task) = self.tasks.get_mut(key) {
            task.stage = Stage::Queued;
            task.since = task.since.max(tick);
        }
    }

    /// Events of a thread are lost: what its polls came to is not known.
    pub(super) fn lose(&mut self, tick: u64, thread: u32) {
        let Some(thread) = self.threads.get_mut(&thread) else {
            return;
        };
        for key in std::mem::take(&mut thread.polls) {
            self.close_pieces(key, tick, Leave::Lost);
            if let Some(task) = self.tasks.get_mut(key) {
                task.stage = Stage::Unknown;
                task.since = task.since.max(tick);
                task.regions.clear();
            }
        }
    }

    pub(super) fn region(&mut self, thread: u32, begin: Option<u64>) {
        let running = self
            .threads
            .get(&thread)
            .and_then(|thread| thread.polls.last());
        let Some(task) = running.and_then(|key| self.tasks.get_mut(*key)) else {
            return;
        };
        match begin {
            Some(label) if task.regions.len() < REGIONS_MAX => task.regions.push(label),
            Some(_) => {}
            None => {
                task.regions.pop();
            }
        }
    }

    pub(super) fn job_start(&mut self, tick: u64, thread: u32, job: u64) {
        let Some(key) = self.task_ids.get(&job).copied() else {
            return;
        };
        let Some(task) = self.tasks.get(key).filter(|task| task.is_job) else {
            return;
        };
        let queued = tick.saturating_sub(task.since);
        let site = task.site;
        self.tally.sites[site as usize].queue.add(queued);
        self.close_pieces(key, tick, Leave::PollStart(None));
        if let Some(task) = self.tasks.get_mut(key) {
            task.queued = queued;
            task.stage = Stage::Running;
            task.since = task.since.max(tick);
            task.poll_from = task.since;
            task.thread = thread;
        }
    }

    pub(super) fn job_end(&mut self, step: &Step<'_>) {
        let Event::JobEnd {
            job,
            outcome,
            parent,
            ctx,
            loc,
            name,
        } = step.event
        else {
            return;
        };
        if !self.task_ids.contains_key(&job) {
            // Its beginning has left the ring: it was there from the beginning of the trace on.
            let mut task = Task::new(u64::MAX, self.begin);
            task.id = Some(job);
            task.is_job = true;
            (task.parent, task.loc, task.own_ctx) = (parent, loc, ctx);
            task.name = self.names.number(name);
            self.spawn(task);
        }
        let Some(key) = self.task_ids.get(&job).copied() else {
            return;
        };
        if let Some(task) = self
            .tasks
            .get(key)
            .filter(|task| task.stage == Stage::Running)
        {
            let (site, took) = (task.site, step.tick.saturating_sub(task.since));
            self.tally.sites[site as usize].polls.add(took);
            if let Some(task) = self.tasks.get_mut(key) {
                task.busy = took;
            }
        }
        self.finish_task(key, step.tick, Some(outcome), true);
    }

    pub(super) fn task_end(&mut self, step: &Step<'_>, slot: u64, id: u64) {
        let known = self.task_ids.get(&id).copied();
        let key = known.unwrap_or_else(|| self.task_in(slot, step.tick));
        let Event::TaskEnd {
            outcome,
            parent,
            loc,
            polls,
            busy,
            name,
            ..
        } = step.event
        else {
            return;
        };
        if let Some(thread) = self.threads.get_mut(&step.thread)
            && outcome == Outcome::Panicked
            && thread.polls.last() == Some(&key)
        {
            thread.polls.pop();
        }
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let is_other = task.id.is_some_and(|known| known != id);
        if is_other {
            return;
        }
        if task.id.is_none() {
            let name = self.names.number(name);
            let site = self.tally.site(loc, name, false);
            (task.id, task.parent, task.loc) = (Some(id), parent, loc);
            (task.name, task.site) = (name, site);
        }
        // What the recorder has summed is exact, and from the first poll on.
        task.polls = task.polls.max(polls);
        task.busy = if busy > 0 { busy } else { task.busy };
        self.finish_task(key, step.tick, Some(outcome), true);
    }

    /// A task is over: at this tick, or, if its end is lost, at some time before.
    pub(super) fn finish_task(
        &mut self,
        key: u32,
        tick: u64,
        outcome: Option<Outcome>,
        is_told: bool,
    ) {
        let leave = if is_told {
            Leave::Over(outcome)
        } else {
            Leave::Vanished
        };
        self.close_pieces(key, tick, leave);
        self.unlink_task(key);
        let Some(task) = self.tasks.remove(key) else {
            return;
        };
        if let Some(id) = task.id {
            self.task_ids.remove(&id);
        }
        if !task.is_job && self.slots.get(task.slot) == Some(&key) {
            self.slots.insert(task.slot, NONE);
        }
        let site = &mut self.tally.sites[task.site as usize];
        site.ended(outcome);
        site.life.add(tick.saturating_sub(task.spawned));
        site.waited = site.waited.saturating_add(task.waited);
        self.list_task(&task, Some(tick), outcome);
    }
}

/// Polls that nest are polled by hand; deeper than this, ends are lost.
const POLLS_MAX: usize = 64;
/// Polls of a thread that are remembered, to name who had it.
const RAN_MAX: usize = 64;
const REGIONS_MAX: usize = 32;
