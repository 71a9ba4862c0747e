//! What must come before what, whatever the ticks of two threads say.
//!
//! Ticks are of one clock, and still two threads disagree by a little: a thread reads the clock, and
//! does what it tells of some time later. So an order by ticks alone shows polls before the wakes that
//! they follow. The slots and the numbers of polls tell the truth (recording.md 2 and 3):
//!
//! 1. A poll comes after the wake that asked for it, if its task has waited.
//! 2. A poll comes after the spawn of its task, and after the end of the poll before it.
//! 3. A spawn comes after the end of the task that had the slot.
//!
//! What would break a rule is held, with all of its thread that follows, until what it needs has come,
//! or until the others are so far ahead that it must be lost.

use crate::slots::Slots;
use ripcord_trace_format::{Event, Outcome, Seq};

/// What an event has to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// A wake of this slot for this poll.
    Wake(u64, Seq),
    /// A spawn into this slot.
    Spawn(u64),
    /// The end of the poll of this slot.
    PollEnd(u64),
    /// The end of the task in this slot.
    TaskEnd(u64),
}

/// What is known of a slot.
#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    holder: Holder,
    stage: Stage,
    /// The poll for which its task was woken last.
    woken: Option<Seq>,
}

/// Whose a slot is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Holder {
    /// Nothing was told of it yet.
    #[default]
    Unknown,
    /// Its last task has ended: a spawn comes before anything else.
    Free,
    /// A task's whose spawn was not told.
    Nameless,
    /// The task's with this id.
    Task(u64),
}

/// What the task in a slot does, as far as polls depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Stage {
    #[default]
    Idle,
    Polled,
    /// Its last poll has ended waiting: a wake comes before the next.
    Waits,
}

/// The rules, and what they need to know of each slot and thread.
#[derive(Default, Debug)]
pub(crate) struct Order {
    slots: Slots<Slot>,
}

/// Slots of the polls that run on a thread, the innermost last.
pub(crate) type Polls = Vec<u64>;

impl Order {
    /// What has to come before this event, if that has not come yet.
    #[inline]
    pub(crate) fn need(&self, event: &Event<'_>) -> Option<Need> {
        match *event {
            Event::PollStart { slot, seq } => {
                let known = self.slots.get(slot).copied().unwrap_or_default();
                let is_first = known.holder == Holder::Unknown && seq == Seq::new(0);
                if known.stage == Stage::Polled {
                    Some(Need::PollEnd(slot))
                } else if known.holder == Holder::Free || is_first {
                    Some(Need::Spawn(slot))
                } else if known.stage == Stage::Waits && known.woken != Some(seq) {
                    Some(Need::Wake(slot, seq))
                } else {
                    None
                }
            }
            Event::TaskSpawn { slot, id, .. } => {
                let holder = self.slots.get(slot)?.holder;
                let is_other = matches!(holder, Holder::Task(task) if task != id);
                is_other.then_some(Need::TaskEnd(slot))
            }
            _ => None,
        }
    }

    /// Takes an event in, and says whose need it meets.
    #[inline]
    pub(crate) fn note(&mut self, event: &Event<'_>, polls: &mut Polls) -> Option<Need> {
        match *event {
            Event::PollStart { slot, .. } => {
                // Deeper than anybody polls by hand: the ends are lost.
                if polls.len() < POLLS_MAX {
                    polls.push(slot);
                }
                let known = self.slot(slot);
                if !matches!(known.holder, Holder::Task(_)) {
                    known.holder = Holder::Nameless;
                }
                known.stage = Stage::Polled;
                known.woken = None;
                None
            }
            Event::PollPending { .. } | Event::PollListening { .. } => {
                self.poll_end(polls, Stage::Waits)
            }
            Event::PollYield {}
            | Event::PollPreempt {}
            | Event::PollReady {}
            | Event::PollLost {} => self.poll_end(polls, Stage::Idle),
            // Which of these polls have ended meanwhile is lost.
            Event::Dropped { .. } => {
                while let Some(slot) = polls.pop() {
                    self.slot(slot).stage = Stage::Idle;
                }
                None
            }
            Event::Wake { slot, seq, .. } => {
                self.slot(slot).woken = Some(seq);
                Some(Need::Wake(slot, seq))
            }
            Event::TaskSpawn { slot, id, .. } => {
                let known = self.slot(slot);
                if known.holder != Holder::Task(id) {
                    *known = Slot {
                        holder: Holder::Task(id),
                        ..Slot::default()
                    };
                }
                Some(Need::Spawn(slot))
            }
            Event::TaskEnd {
                slot, id, outcome, ..
            } => self.task_end(slot, id, outcome, polls),
            _ => None,
        }
    }

    /// Goes on without what is lost, so that nobody is held for it again.
    pub(crate) fn forgive(&mut self, need: Need) {
        let (Need::Wake(slot, _) | Need::Spawn(slot) | Need::PollEnd(slot) | Need::TaskEnd(slot)) =
            need;
        let known = self.slot(slot);
        match need {
            Need::Wake(_, seq) => known.woken = Some(seq),
            Need::Spawn(_) => known.holder = Holder::Nameless,
            Need::PollEnd(_) => known.stage = Stage::Idle,
            Need::TaskEnd(_) => *known = Slot::default(),
        }
    }

    fn poll_end(&mut self, polls: &mut Polls, stage: Stage) -> Option<Need> {
        let slot = polls.pop()?;
        let known = self.slot(slot);
        known.stage = stage;
        Some(Need::PollEnd(slot))
    }

    fn task_end(
        &mut self,
        slot: u64,
        id: u64,
        outcome: Outcome,
        polls: &mut Polls,
    ) -> Option<Need> {
        // A poll that panics has no end of its own.
        if outcome == Outcome::Panicked && polls.last() == Some(&slot) {
            polls.pop();
        }
        let known = self.slot(slot);
        if matches!(known.holder, Holder::Task(task) if task != id) {
            return None;
        }
        *known = Slot {
            holder: Holder::Free,
            ..Slot::default()
        };
        Some(Need::TaskEnd(slot))
    }

    #[inline]
    fn slot(&mut self, slot: u64) -> &mut Slot {
        self.slots.entry(slot, Slot::default)
    }
}

const POLLS_MAX: usize = 64;
