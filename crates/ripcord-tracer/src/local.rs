//! What a thread has of a recorder: its end of the ring, what it has looked up, its free slots.
//!
//! # Never within itself
//! A thread that is writing an event may come back here: an allocator or a destructor may do anything. Then
//! its state is taken, and the event is counted as lost instead of written. The same holds for a
//! thread that is being torn down.
//!
//! # Costs
//! One thread-local, one flag, one comparison. The first event of a thread allocates its state and
//! its first block.
//!
//! # Two ways into the ring
//! Wakes and polls are most of what a thread writes. They are put together in a register as they go
//! ([`Local::record_brief`]), in some forty instructions; for everything else, and for a wake or a
//! poll with a large number or at the end of a block, there is the general encoder
//! ([`Local::record`]), which looks up the type and takes two to four times as many. Both write the same
//! bytes for the same event, so nobody who reads a trace has to know which it was.
//!
//! # What a block has said
//! Both ways leave out what the block that is being filled has said already, and so have to know it: the
//! encoder's memory stands here, beside the end of the ring, and begins anew with each block.
//!
//! # Why a list
//! Which recorder an event belongs to is known from the tree. Nearly all programs have one,
//! and then the first of the list is it. A program that has several, as a test, finds the
//! right one and moves it to the front.
//!
//! # When a thread ends
//! Its blocks stay in the ring; its free slots go back to the common stock; its name is
//! remembered.

use crate::clock::TraceClock;
use crate::metrics::{Cells, TaskState};
use crate::ring::Writer;
use crate::shared::{Shared, ThreadInfo};
use crate::slots::Stock;
use crate::tables::{Known, Numbers};
use ripcord_core::tasks::{PollEnd, ThreadKind, Wait};
use ripcord_trace_format::{BlockMemory, Brief, Encoder, Event, Progress};
use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;

thread_local! {
    /// Mostly one; a program that has several recorders has as many.
    static LOCALS: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

/// A thread's part of one recorder.
///
/// It is used by its thread alone, under a borrow that says so.
pub(crate) struct Local {
    /// That of the recorder: each event compares it, and it is nearer here than behind the pointer.
    number: u64,
    /// The recorder that it is a part of.
    shared: Arc<Shared>,
    /// The thread's end of the ring.
    writer: Writer,
    /// What others may know of the thread.
    pub(crate) info: Arc<ThreadInfo>,
    /// What the thread counts.
    pub(crate) cells: Arc<Cells>,
    /// Numbers of places and labels that the thread has lately looked up.
    known: Known,
    /// Free slots for tasks.
    pub(crate) tasks: Stock,
    /// Free slots for contexts.
    pub(crate) contexts: Stock,
    /// Events that were lost since the last one that was written.
    unsaid: u64,
    /// What the encoder knows of the block that is being filled, and how much room that has left.
    ///
    /// The room tells one block from the next: a new one has more of it than there was left in the one
    /// before, because each event takes some. So nobody has to say that a block was changed.
    memory: (BlockMemory, usize),
}

/// Runs `f` with this thread's part of the recorder; `None`, and counted, if it cannot be had.
///
/// It must not run foreign code, which might record something itself: that would be lost.
#[inline]
pub(crate) fn with_local<R>(shared: &Arc<Shared>, f: impl FnOnce(&mut Local) -> R) -> Option<R> {
    let result = LOCALS.try_with(|locals| {
        let mut locals = locals.try_borrow_mut().ok()?;
        let first = locals.first();
        if first.is_none_or(|local| local.number != shared.number) {
            attach(&mut locals, shared);
        }
        // One call, which the compiler puts in here.
        locals.first_mut().map(f)
    });
    let result = result.ok().flatten();
    if result.is_none() {
        shared.note_unwritten();
    }
    result
}

/// Brings the part of this recorder to the front, and makes it if there is none.
///
/// Parts of recorders that are closed go away here, so a thread that has seen many of them
/// keeps no memory of theirs.
#[cold]
fn attach(locals: &mut Vec<Local>, shared: &Arc<Shared>) {
    locals.retain(|local| !local.shared.is_closed());
    let number = shared.number;
    match locals.iter().position(|local| local.number == number) {
        Some(at) => locals.swap(0, at),
        None => locals.insert(0, Local::new(shared)),
    }
}

impl Local {
    /// The first thing of a thread: it enters the list, and says that it has begun.
    fn new(shared: &Arc<Shared>) -> Self {
        let info = shared.enter_thread();
        let mut local = Self {
            number: shared.number,
            shared: Arc::clone(shared),
            writer: shared.ring.writer(info.number),
            cells: shared.meters.enter(&info),
            info,
            known: Known::default(),
            tasks: Stock::default(),
            contexts: Stock::default(),
            unsaid: 0,
            memory: (BlockMemory::new(), 0),
        };
        if shared.is_recording() {
            let info = Arc::clone(&local.info);
            let start = Event::ThreadStart {
                kind: info.kind(),
                name: &info.name,
            };
            local.record(shared.clock.raw(), &start);
        }
        local
    }

    /// Writes an event that happened at `raw`, or counts it as lost. Where only numbers are wanted it is
    /// neither.
    ///
    /// That events were lost is said by the next one that finds room, and by the thread's
    /// totals.
    pub(crate) fn record(&mut self, raw: u64, event: &Event<'_>) {
        if !self.shared.is_writing() {
            return;
        }
        if self.unsaid > 0 {
            self.say_lost(raw);
        }
        if !self.write(raw, event) {
            self.unsaid += 1;
            self.info.note_lost();
        }
    }

    /// As [`record`](Self::record), of an event that comes all the time: `brief` makes it of the ticks
    /// since the one before.
    ///
    /// Where it is not brief, where the block ends or where something has to be said before it, `event`
    /// is the same for the general way. So the two have to be of one event; nobody checks that here.
    ///
    /// # Costs
    /// Some 40 instructions: two flags, the end of the block, the event, one store of it and one of
    /// the new end. No call, where the compiler puts it in as it is told to.
    #[inline]
    pub(crate) fn record_brief<'a>(
        &mut self,
        raw: u64,
        brief: impl FnOnce(u64, &BlockMemory) -> Option<Brief>,
        event: impl FnOnce() -> Event<'a>,
    ) {
        let tick = TraceClock::tick_of(raw);
        let (memory, left) = &mut self.memory;
        let put = |room: &mut [u8], before| {
            let len = brief(tick.saturating_sub(before), memory)?.put(room)?;
            *left = room.len().saturating_sub(len);
            Some(len)
        };
        if self.unsaid > 0 || !self.writer.try_write(tick, put) {
            self.record_at_length(raw, event);
        } else {
            self.memory.0.note_brief(&event());
        }
    }

    /// Out of the way: the event is put together here and not before.
    #[cold]
    #[inline(never)]
    fn record_at_length<'a>(&mut self, raw: u64, event: impl FnOnce() -> Event<'a>) {
        self.record(raw, &event());
    }

    /// Counts a poll that is over, where polls are counted; whether events are written.
    #[inline]
    pub(crate) fn count_poll(
        &mut self,
        task: &TaskState,
        (end, wait): (PollEnd, &Wait),
        (took, raw): (u64, u64),
    ) -> bool {
        if !self.shared.meters.counts_polls() {
            return true;
        }
        let label = self.wait(wait).map(|numbers| numbers.text.into());
        let shared = &self.shared;
        self.cells
            .poll_ended(&shared.clock, task, (end, label), (took, raw));
        shared.is_writing()
    }

    /// False if there was no place in the ring.
    #[inline]
    fn write(&mut self, raw: u64, event: &Event<'_>) -> bool {
        let tick = TraceClock::tick_of(raw);
        let (memory, left) = &mut self.memory;
        self.writer.write(tick, |room, before| {
            // A new block has more room than there was left: each event takes some.
            if room.len() != *left {
                memory.clear();
                *left = room.len();
            }
            let known = std::mem::take(memory);
            let mut encoder = Encoder::resume(room, Progress::at(before), known);
            let is_written = encoder.push(tick, event).is_ok();
            let len = encoder.progress().len;
            *memory = encoder.into_memory();
            *left -= len;
            is_written.then_some(len)
        })
    }

    /// Tells how many events are missing before the one that follows.
    #[cold]
    fn say_lost(&mut self, raw: u64) {
        let lost = Event::Dropped {
            events: self.unsaid,
        };
        if self.write(raw, &lost) {
            self.unsaid = 0;
        }
    }

    /// The number of a place in the source.
    pub(crate) fn place(&mut self, place: &'static Location<'static>) -> u64 {
        self.known.place(&self.shared.tables, place)
    }

    /// The number of a label in the trace, if it can have one.
    pub(crate) fn label(
        &mut self,
        label: &'static str,
        place: Option<&'static Location<'static>>,
    ) -> Option<u64> {
        let numbers = self.known.label(&self.shared.tables, label, place)?;
        Some(numbers.label.into())
    }

    /// The numbers of what is waited for, if it has a label.
    ///
    /// # Costs
    /// A look into the thread's own table, by three addresses; no lock for a wait that it has seen lately.
    #[inline]
    pub(crate) fn wait(&mut self, wait: &Wait) -> Option<Numbers> {
        let tables = &self.shared.tables;
        self.known.label(tables, wait.label?, wait.site)
    }

    /// What the thread is for has shown.
    ///
    /// It is a guess until then: threads do not say it when they begin.
    pub(crate) fn note_kind(&self, kind: ThreadKind) {
        self.info.set_kind(kind);
    }
}

impl Drop for Local {
    /// Gives the slots back and marks the thread as gone.
    fn drop(&mut self) {
        self.shared.tasks.return_stock(&mut self.tasks);
        self.shared.contexts.return_stock(&mut self.contexts);
        self.shared.meters.leave(&self.cells);
        self.info.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;
    use crate::sampling::Sampling;
    use ripcord_trace_format::{Bare, Decoder, Schema};

    /// All events of a ring, as text.
    fn events(ring: &Ring) -> Vec<String> {
        let schema = Schema::current();
        let of = |copy: &crate::ring::Copy| -> Vec<String> {
            Decoder::new(&copy.bytes, copy.first_tick, &schema)
                .map(|event| format!("{:?}", event.expect("whole events").1))
                .collect()
        };
        ring.snapshot().iter().flat_map(of).collect()
    }

    #[test]
    fn that_events_were_lost_is_said_before_the_next_one_also_where_that_is_brief() {
        let (clock, ring) = (TraceClock::system(), Ring::new(4, 256));
        let all = Sampling::new(1, false);
        let shared = Arc::new(Shared::new(String::new(), clock, ring.clone(), 1, all));
        let mut local = Local::new(&shared);
        let raw = shared.clock.raw();
        let bare = |local: &mut Local, bare: Bare| {
            local.record_brief(raw, |ticks, _| Brief::bare(ticks, bare), || bare.event());
        };
        bare(&mut local, Bare::Park);
        for _ in 0..2 {
            // Longer than a block.
            let text = &"x".repeat(300);
            local.record(raw, &Event::Log { text });
        }
        bare(&mut local, Bare::Unpark);
        bare(&mut local, Bare::Park);
        let told = events(&ring);
        let dropped = "Dropped { events: 1 }";
        assert_eq!(told[1..], ["Park", dropped, dropped, "Unpark", "Park"]);
        assert_eq!(local.info.lost(), 2);
    }
}
