//! Traces that are made up: as large as is wanted, the same ones every time, and never kept.
//!
//! Two workers serve requests. A request is a context with a deadline and a task, which waits a few
//! times and is woken by another task, by the driver or by the end of its context; who wakes it and
//! who polls it next are chosen anew each time, so that threads have to be put in order. One
//! request in 512 overruns its deadline: it waits deaf for milliseconds.
//!
//! # Invariants
//! 1. Time goes on with every event of whatever thread, so that a cause is before its effect.
//! 2. A slot belongs to one live request, and ids are never used again.

use std::io::{self, Write};

use ripcord_trace_format::{
    BlockInfo, BlockKind, BlockMemory, CauseKind, ClockKind, CtxKind, EVENT_BYTES_MAX, Encoder,
    Event, FileHeader, Outcome, Progress, Seq, ThreadKind, WakeBy, Writer,
};

use crate::stats::Rng;

/// Writes a trace of at least `events` events of threads to `out`, and says how many there are.
///
/// # Errors
/// What the writes say.
pub(super) fn write(events: u64, out: impl Write) -> io::Result<u64> {
    let header = FileHeader::new(ClockKind::Monotonic, SHIFT, 1_000_000_000).program("made");
    let mut maker = Maker {
        writer: Writer::new(out, &header)?,
        lanes: [1, 2].map(Lane::new),
        random: Rng::new(SEED),
        tick: 0,
        events: 0,
        ids: FIRST_ID,
    };
    maker.begin()?;
    let mut requests: Vec<Option<Request>> = (0..SLOTS).map(|_| None).collect();
    while maker.events < events {
        let slot = maker.random.below(SLOTS);
        let request = requests.get_mut(slot as usize);
        maker.go_on(slot, request.expect("a slot is below their number"))?;
    }
    for (slot, request) in (0..).zip(&mut requests) {
        while request.is_some() {
            maker.go_on(slot, request)?;
        }
    }
    maker.finish()
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
struct Request {
    task: u64,
    ctx: u64,
    polls: u64,
    /// It ends with the poll of this number.
    last_poll: u64,
    overruns: bool,
}

struct Maker<W> {
    writer: Writer<W>,
    lanes: [Lane; 2],
    random: Rng,
    tick: u64,
    events: u64,
    /// The next one, of a task or a context.
    ids: u64,
}

impl<W: Write> Maker<W> {
    /// What stands before the first request: the clock, the tables, and the threads.
    fn begin(&mut self) -> io::Result<()> {
        let mut clock = Lane::new(0);
        clock.push(0, &clock_at(0));
        clock.flush(BlockKind::WindowStart, &mut self.writer)?;
        let mut table = Lane::new(0);
        for (index, line) in (0..PLACES).zip(10..) {
            let file = "src/orders.rs";
            table.push(
                0,
                &Event::Location {
                    index,
                    file,
                    line,
                    column: 5,
                },
            );
        }
        for (index, text) in (1..).zip(LABELS) {
            table.push(
                0,
                &Event::Label {
                    index,
                    text,
                    loc: None,
                },
            );
        }
        table.flush(BlockKind::Table, &mut self.writer)?;
        let root = Event::CtxCreate {
            id: ROOT,
            parent: None,
            kind: CtxKind::Root,
            loc: Some(0),
            deadline: None,
            name: "server",
        };
        for worker in 0..self.lanes.len() {
            let start = Event::ThreadStart {
                kind: ThreadKind::Worker,
                name: "tokio-rt-worker",
            };
            self.tell(worker, &start)?;
        }
        self.tell(0, &root)
    }

    fn finish(mut self) -> io::Result<u64> {
        for lane in &mut self.lanes {
            lane.flush(BlockKind::Events, &mut self.writer)?;
        }
        let mut clock = Lane::new(0);
        clock.push(self.tick, &clock_at(self.tick));
        clock.flush(BlockKind::WindowEnd, &mut self.writer)?;
        self.writer.finish()?;
        Ok(self.events)
    }

    /// An event of a worker, some time after the event before.
    fn tell(&mut self, worker: usize, event: &Event<'_>) -> io::Result<()> {
        self.tick += 1 + self.random.below(TICKS_BETWEEN);
        let lane = self.lanes.get_mut(worker).expect("there are two");
        if lane.is_full() {
            lane.flush(BlockKind::Events, &mut self.writer)?;
        }
        lane.push(self.tick, event);
        self.events += 1;
        Ok(())
    }

    /// The next step of the request in a slot: it begins, or it is woken and polled.
    fn go_on(&mut self, slot: u64, place: &mut Option<Request>) -> io::Result<()> {
        let worker = self.random.below(2) as usize;
        let Some(request) = place else {
            let request = self.spawn(slot, worker)?;
            *place = Some(request);
            return Ok(());
        };
        if request.polls > 0 {
            self.wake(slot, request)?;
        }
        let seq = Seq::new(request.polls);
        self.tell(worker, &Event::PollStart { slot, seq })?;
        request.polls += 1;
        if request.polls < request.last_poll {
            let label = self.random.below(LABELS.len() as u64 + 1).checked_sub(1);
            let label = label.map(|label| label + 1);
            let end = if self.random.below(4) == 0 || request.overruns {
                Event::PollPending { label }
            } else {
                Event::PollListening { label }
            };
            return self.tell(worker, &end);
        }
        self.tell(worker, &Event::PollReady {})?;
        let request = *request;
        *place = None;
        self.end(slot, worker, request)
    }

    fn spawn(&mut self, slot: u64, worker: usize) -> io::Result<Request> {
        let (ctx, task) = (self.ids, self.ids + 1);
        self.ids += 2;
        let loc = Some(task % PLACES);
        let create = Event::CtxCreate {
            id: ctx,
            parent: Some(ROOT),
            kind: CtxKind::Deadline,
            loc,
            deadline: Some(DEADLINE_TICKS),
            name: "GET /orders",
        };
        self.tell(worker, &create)?;
        let spawn = Event::TaskSpawn {
            slot,
            id: task,
            parent: None,
            ctx: Some(ctx),
            loc,
            bytes: 512,
            name: "handler",
        };
        self.tell(worker, &spawn)?;
        Ok(Request {
            task,
            ctx,
            polls: 0,
            last_poll: 2 + self.random.below(6),
            overruns: self.random.below(OVERRUNS_ONE_IN) == 0,
        })
    }

    /// Somebody wakes it; the last time, if it overruns, long after its deadline.
    fn wake(&mut self, slot: u64, request: &Request) -> io::Result<()> {
        let worker = self.random.below(2) as usize;
        if request.overruns && request.polls + 1 == request.last_poll {
            let cancel = Event::CtxCancel {
                id: request.ctx,
                kind: CauseKind::DeadlineExceeded,
                by: None,
                loc: Some(request.task % PLACES),
                due: Some(-100),
                message: "",
            };
            self.tell(worker, &cancel)?;
            self.tick += LATE_TICKS;
        }
        let (by, waker) = match self.random.below(3) {
            0 => (WakeBy::Driver, Some(worker as u64)),
            1 => (WakeBy::Runtime, Some(worker as u64)),
            _ => (WakeBy::Task, Some(self.random.below(SLOTS))),
        };
        let seq = Seq::new(request.polls);
        self.tell(
            worker,
            &Event::Wake {
                slot,
                seq,
                by,
                waker,
            },
        )
    }

    fn end(&mut self, slot: u64, worker: usize, request: Request) -> io::Result<()> {
        let Request { task, ctx, .. } = request;
        let loc = Some(task % PLACES);
        if !request.overruns {
            let dropped = Event::CtxCancel {
                id: ctx,
                kind: CauseKind::Dropped,
                by: Some(task),
                loc,
                due: None,
                message: "",
            };
            self.tell(worker, &dropped)?;
        }
        let end = Event::TaskEnd {
            slot,
            id: task,
            outcome: Outcome::Ready,
            parent: None,
            ctx: Some(ctx),
            loc,
            polls: request.polls,
            busy: request.polls * 20,
            name: "handler",
        };
        self.tell(worker, &end)?;
        let gone = Event::CtxEnd {
            id: ctx,
            parent: Some(ROOT),
            loc,
            name: "GET /orders",
        };
        self.tell(worker, &gone)
    }
}

fn clock_at(tick: u64) -> Event<'static> {
    let monotonic = tick << SHIFT;
    Event::Clock {
        monotonic,
        wall: monotonic + EPOCH_NS,
    }
}

/// A thread's block that is being filled.
struct Lane {
    thread: u32,
    buffer: Vec<u8>,
    progress: Progress,
    memory: BlockMemory,
    first_tick: u64,
}

impl Lane {
    fn new(thread: u32) -> Lane {
        Lane {
            thread,
            buffer: vec![0; BLOCK_BYTES],
            progress: Progress::at(0),
            memory: BlockMemory::new(),
            first_tick: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.progress.len + EVENT_BYTES_MAX > self.buffer.len()
    }

    fn push(&mut self, tick: u64, event: &Event<'_>) {
        if self.progress.events == 0 {
            (self.first_tick, self.progress) = (tick, Progress::at(tick));
            self.memory.clear();
        }
        let memory = std::mem::take(&mut self.memory);
        let mut encoder = Encoder::resume(&mut self.buffer, self.progress, memory);
        encoder.push(tick, event).expect("the lane is not full");
        self.progress = encoder.progress();
        self.memory = encoder.into_memory();
    }

    fn flush(&mut self, kind: BlockKind, writer: &mut Writer<impl Write>) -> io::Result<()> {
        let info = BlockInfo {
            thread: self.thread,
            first_tick: self.first_tick,
            last_tick: self.progress.tick,
            events: self.progress.events,
            ..BlockInfo::new(kind)
        };
        let payload = self.buffer.get(..self.progress.len).unwrap_or_default();
        writer.block(info, payload)?;
        self.progress = Progress::at(0);
        Ok(())
    }
}

const SEED: u64 = 7;
/// Nanoseconds, shifted right: 64 ns, as a recorder's.
const SHIFT: u8 = 6;
const EPOCH_NS: u64 = 1_790_000_000_000_000_000;
/// Requests that are under way at a time.
const SLOTS: u64 = 64;
const ROOT: u64 = 1;
const FIRST_ID: u64 = 2;
const PLACES: u64 = 8;
const LABELS: [&str; 3] = ["tokio::sync::mpsc", "hyper::body", "sqlx::query"];
/// As of a recorder's ring.
const BLOCK_BYTES: usize = 16 * 1024;
/// Between two events, at the most: half a microsecond on the average.
const TICKS_BETWEEN: u64 = 16;
/// Three seconds.
const DEADLINE_TICKS: i64 = 3_000_000_000 >> SHIFT;
/// Thirty milliseconds.
const LATE_TICKS: u64 = 30_000_000 >> SHIFT;
const OVERRUNS_ONE_IN: u64 = 512;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ripcord_analysis::read::Trace;
    use ripcord_analysis::{Analysis, Options};

    use super::*;
    use crate::trace::size::events_of;

    fn made(events: u64) -> (Vec<u8>, u64) {
        let mut bytes = Vec::new();
        let written = write(events, &mut bytes).unwrap();
        (bytes, written)
    }

    #[test]
    fn it_is_the_same_trace_every_time_and_has_what_it_says() {
        let (bytes, events) = made(50_000);
        assert_eq!((&bytes, events), (&made(50_000).0, made(50_000).1));
        assert!((50_000..51_000).contains(&events), "{events}");
        assert_eq!(events_of(&bytes, |_, _| ()), events);
    }

    #[test]
    fn an_analysis_finds_it_sound_and_its_late_ends() {
        let (bytes, _) = made(50_000);
        let mut overrun = 0;
        events_of(&bytes, |_, event| {
            let kind = CauseKind::DeadlineExceeded;
            overrun += u64::from(matches!(event, Event::CtxCancel { kind: it, .. } if it == kind));
        });
        let mut trace = Trace::new(Cursor::new(&bytes)).unwrap();
        let analysis = Analysis::of(&mut trace, &Options::default()).unwrap();
        assert!(overrun > 3, "{overrun}");
        assert!(analysis.late.count >= overrun, "{:?}", analysis.late);
        assert_eq!(analysis.ignored, 0);
        assert!(analysis.lost_wakers.is_empty());
        assert_eq!(analysis.health.bytes, bytes.len() as u64);
        assert!(!analysis.deaf_sites.is_empty(), "somebody is to blame");
    }
}
