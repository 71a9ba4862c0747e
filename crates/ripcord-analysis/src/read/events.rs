//! The events of all threads in one order: a merge over the blocks that are next.
//!
//! # Invariants
//! 1. Each thread's events come in the order of the trace, and their ticks do not go back.
//! 2. An event that [`Order`] holds back comes after what it needs, with no earlier tick than that.
//! 3. A source is in the queue, held, or over.
//!
//! # Costs
//! A decoded event stays with its thread as long as that is the earliest: a queue operation per change
//! of the thread, not per event. One payload per thread is in memory while its ticks are due.

use super::blocks::BlockRef;
use super::order::{Need, Order, Polls};
use super::scan::{Scan, Source};
use super::{Health, OpenError, Tables, Timeline};
use ripcord_trace_format::{Decoder, Event, POSITION_BYTES, Position, Schema};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Seek};
use std::ops::RangeInclusive;
use std::time::Duration;

/// One event, and where it comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// When it happened. Of one thread the ticks never go back; see [`Events`] for those of several.
    pub tick: u64,
    /// Number of the thread that told it; 0 for none.
    pub thread: u32,
    /// Who told it.
    pub origin: Origin,
    /// What happened.
    pub event: Event<'a>,
}

/// Who told an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// The recorder, at the begin or the end of a window: clocks, metrics and totals.
    Window,
    /// The registry of what was live at a dump; the tick is that of its beginning. What is in the
    /// threads' blocks as well is told twice, with the same ids; this comes first at the same tick.
    Registry,
    /// The thread to which it happened.
    Thread,
}

/// The events of a trace, in one order that respects what depends on what.
///
/// A wake comes before the poll that it asked for, a spawn before the first poll, and an end before
/// the next spawn into the same slot, whatever the ticks say: then the later event is given the tick
/// of the earlier one. Otherwise the order is that of the ticks.
///
/// # Limitations
/// Where the wake of a poll is lost, its thread is held until the others are a millisecond ahead, and
/// then goes on with its own ticks. So the ticks of two threads may go back by so much against each
/// other: reckon with saturating differences.
pub struct Events<'t, R> {
    input: &'t mut R,
    sources: &'t [Source],
    schemas: &'t [Schema],
    tables: &'t Tables,
    timeline: &'t Timeline,
    health: &'t mut Health,
    has_totals: bool,
    cursors: Vec<Cursor>,
    queue: BinaryHeap<Reverse<Key>>,
    held: Vec<Held>,
    order: Order,
    /// So many ticks the others may be ahead of a thread that is held.
    patience: u64,
    /// Bytes of payloads in memory.
    loaded: usize,
    /// Room for a compressed payload.
    stored: Vec<u8>,
    /// What the source before has allocated and needs no more.
    spare: Position,
    last_tick: u64,
}

/// Where a source stands in the queue: its next tick, its rank at that tick, its index.
type Key = (u64, Origin, usize);

/// How far a source has come.
#[derive(Default)]
struct Cursor {
    /// Next block, and the first one beyond the range.
    next: usize,
    end: usize,
    payload: Vec<u8>,
    is_loaded: bool,
    /// How far the payload was given.
    position: Position,
    /// No event of it has an earlier tick (invariants 1 and 2).
    floor: u64,
    /// Events of this block that were given.
    given: u32,
    polls: Polls,
}

/// A source that waits for another one.
struct Held {
    source: usize,
    tick: u64,
    need: Need,
}

/// Why a source stopped.
enum Stop {
    /// The block is at its end, or wrong from here on.
    Block,
    /// Its next event has this tick, and somebody else is earlier.
    Later(u64),
    /// Its next event needs something else first.
    Needs(u64, Need),
    /// What others were held for has happened.
    Met(u64, Need),
}

impl<'t, R: Read + Seek> Events<'t, R> {
    pub(crate) fn new(input: &'t mut R, scan: &'t mut Scan, ticks: &RangeInclusive<u64>) -> Self {
        let health = &mut scan.health;
        health.unknown_events = 0;
        health.wrong_blocks = 0;
        health.wrong_events = 0;
        health.missing_wakes = 0;
        health.reordered = 0;
        if !scan.has_totals {
            health.lost_by_recorder = 0;
        }
        let mut events = Self {
            input,
            sources: &scan.sources,
            schemas: &scan.schemas,
            tables: &scan.tables,
            patience: scan.timeline.ticks(PATIENCE),
            timeline: &scan.timeline,
            health,
            has_totals: scan.has_totals,
            cursors: Vec::new(),
            queue: BinaryHeap::new(),
            held: Vec::new(),
            order: Order::default(),
            loaded: 0,
            stored: Vec::new(),
            spare: Position::default(),
            last_tick: 0,
        };
        for source in events.sources {
            let within = |block: &BlockRef| block.last_tick < *ticks.start();
            let next = source
                .blocks
                .iter()
                .take_while(|block| within(block))
                .count();
            let beyond = |block: &BlockRef| block.first_tick <= *ticks.end();
            let end = source.blocks.partition_point(beyond).max(next);
            events.cursors.push(Cursor {
                next,
                end,
                ..Cursor::default()
            });
        }
        for at in 0..events.sources.len() {
            events.enqueue_block(at);
        }
        events
    }

    /// Locations, labels and threads.
    #[must_use]
    pub const fn tables(&self) -> &'t Tables {
        self.tables
    }

    /// Ticks as time.
    #[must_use]
    pub const fn timeline(&self) -> &'t Timeline {
        self.timeline
    }

    /// Gives all events.
    ///
    /// # Errors
    /// [`OpenError`]: the input failed; what was given before is good.
    pub fn for_each(self, mut each: impl FnMut(Step<'_>)) -> Result<(), OpenError> {
        let mut never = |step: Step<'_>| {
            each(step);
            Ok::<(), OpenError>(())
        };
        self.try_for_each(&mut never)
    }

    /// Gives events until `each` fails, or there are no more.
    ///
    /// # Errors
    /// What `each` returns, or [`OpenError`] as an `E`: the input failed.
    pub fn try_for_each<E: From<OpenError>>(
        mut self,
        mut each: impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            self.lose_patience();
            let Some(Reverse((_, _, at))) = self.queue.pop() else {
                if self.held.is_empty() {
                    return Ok(());
                }
                continue;
            };
            if !self.cursors[at].is_loaded && !self.load(at)? {
                self.enqueue_block(at);
                continue;
            }
            match self.run(at, &mut each)? {
                Stop::Block => {
                    self.unload(at);
                    self.enqueue_block(at);
                }
                Stop::Later(tick) => self.enqueue(at, tick),
                Stop::Needs(tick, need) => self.hold(at, tick, need),
                Stop::Met(tick, need) => {
                    self.release(tick, need);
                    self.enqueue(at, tick);
                }
            }
        }
    }

    /// Gives events of one source until it has to stop.
    fn run<E>(
        &mut self,
        at: usize,
        each: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<Stop, E> {
        let limit = self.limit();
        let source = &self.sources[at];
        let cursor = &mut self.cursors[at];
        let block = &source.blocks[cursor.next - 1];
        let schema = &self.schemas[usize::from(block.schema)];
        let position = std::mem::take(&mut cursor.position);
        let mut events = Decoder::resume(&cursor.payload, position, schema);
        let stop = loop {
            // Mostly it is another thread's turn, and that is known without the whole event.
            if let Some((raw, _)) = events.peek() {
                let tick = raw.max(cursor.floor);
                if limit.is_some_and(|limit| (tick, source.origin, at) > limit) {
                    cursor.position = events.pause();
                    break Stop::Later(tick);
                }
            }
            let (raw, event) = match events.next() {
                Some(Ok(next)) => next,
                None => {
                    cursor.position = events.pause();
                    break Stop::Block;
                }
                Some(Err(_)) => {
                    cursor.position = events.pause();
                    self.health.wrong_blocks += 1;
                    let missing = block.events.saturating_sub(cursor.given);
                    self.health.wrong_events += u64::from(missing);
                    break Stop::Block;
                }
            };
            let tick = raw.max(cursor.floor);
            // The registry tells what began at any time, so nothing has to come before it.
            if source.origin == Origin::Thread
                && let Some(need) = self.order.need(&event)
            {
                cursor.position = events.pause_before_last();
                break Stop::Needs(tick, need);
            }
            cursor.floor = tick;
            cursor.given = cursor.given.saturating_add(1);
            self.health.reordered += u64::from(tick < self.last_tick);
            self.last_tick = self.last_tick.max(tick);
            match event {
                Event::Unknown(_) => self.health.unknown_events += 1,
                Event::Dropped { events } if !self.has_totals => {
                    self.health.lost_by_recorder =
                        self.health.lost_by_recorder.saturating_add(events);
                }
                _ => {}
            }
            each(Step {
                tick,
                thread: source.thread,
                origin: source.origin,
                event,
            })?;
            let met = self.order.note(&event, &mut cursor.polls);
            if let Some(met) = met
                && self.held.iter().any(|held| held.need == met)
            {
                cursor.position = events.pause();
                break Stop::Met(tick, met);
            }
        };
        Ok(stop)
    }

    /// Up to where a source may go on: the next of another one, or the end of somebody's patience.
    fn limit(&self) -> Option<Key> {
        let next = self.queue.peek().map(|Reverse(key)| *key);
        let held = self.held.iter().map(|held| held.tick).min();
        let patience = held.map(|tick| {
            (
                tick.saturating_add(self.patience),
                Origin::Thread,
                usize::MAX,
            )
        });
        next.into_iter().chain(patience).min()
    }

    /// Lets a source wait, unless so many wait already that the trace is not to be believed.
    fn hold(&mut self, source: usize, tick: u64, need: Need) {
        if self.held.len() < HELD_MAX {
            self.held.push(Held { source, tick, need });
        } else {
            self.order.forgive(need);
            self.enqueue(source, tick);
        }
    }

    /// Lets those go on who waited for this; they come behind it (invariant 2).
    fn release(&mut self, tick: u64, met: Need) {
        let mut at = 0;
        while let Some(held) = self.held.get(at) {
            if held.need == met {
                let held = self.held.swap_remove(at);
                self.health.reordered += u64::from(held.tick < tick);
                let cursor = &mut self.cursors[held.source];
                cursor.floor = cursor.floor.max(tick);
                self.enqueue(held.source, held.tick.max(tick));
            } else {
                at += 1;
            }
        }
    }

    /// Lets those go on who wait for what is lost: the others are far ahead, or there are none.
    fn lose_patience(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let next = self.queue.peek().map(|Reverse((tick, ..))| *tick);
        let earliest = self.held.iter().enumerate();
        let Some((at, tick)) = earliest
            .map(|(at, held)| (at, held.tick))
            .min_by_key(|(_, tick)| *tick)
        else {
            return;
        };
        if next.is_some_and(|next| next <= tick.saturating_add(self.patience)) {
            return;
        }
        let held = self.held.swap_remove(at);
        self.health.missing_wakes += u64::from(matches!(held.need, Need::Wake(..)));
        self.order.forgive(held.need);
        self.enqueue(held.source, held.tick);
    }

    fn enqueue(&mut self, at: usize, tick: u64) {
        self.queue
            .push(Reverse((tick, self.sources[at].origin, at)));
    }

    /// Puts the source where its next block begins, if it has one.
    fn enqueue_block(&mut self, at: usize) {
        let cursor = &self.cursors[at];
        if cursor.next < cursor.end {
            let tick = self.sources[at].blocks[cursor.next].first_tick;
            self.enqueue(at, tick.max(cursor.floor));
        }
    }

    /// Reads the next block of a source; `false` if it cannot be used.
    fn load(&mut self, at: usize) -> Result<bool, OpenError> {
        let cursor = &mut self.cursors[at];
        let block = &self.sources[at].blocks[cursor.next];
        cursor.next += 1;
        let bytes = block.plain_len().saturating_add(POSITION_BYTES);
        if self.loaded.saturating_add(bytes) > LOADED_BYTES_MAX {
            self.health.wrong_blocks += 1;
            self.health.wrong_events += u64::from(block.events);
            return Ok(false);
        }
        block
            .load(self.input, &mut self.stored, &mut cursor.payload)
            .map_err(|error| OpenError::io(error, self.health.bytes, self.health.blocks))?;
        self.loaded += cursor.payload.len() + POSITION_BYTES;
        cursor.is_loaded = true;
        cursor.position = std::mem::take(&mut self.spare);
        cursor.position.restart(block.first_tick);
        cursor.given = 0;
        Ok(true)
    }

    fn unload(&mut self, at: usize) {
        let cursor = &mut self.cursors[at];
        self.loaded -= cursor.payload.len() + POSITION_BYTES;
        self.spare = std::mem::take(&mut cursor.position);
        cursor.is_loaded = false;
        if cursor.next >= cursor.end {
            cursor.payload = Vec::new();
        }
    }
}

impl<R> std::fmt::Debug for Events<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("sources", &self.sources.len())
            .field("held", &self.held.len())
            .field("loaded", &self.loaded)
            .finish_non_exhaustive()
    }
}

/// Clocks of threads disagree by less than this: what has not come by then is lost.
const PATIENCE: Duration = Duration::from_millis(1);

/// Threads that are held at the same time. A few are at most, as each waits for less than the patience.
const HELD_MAX: usize = 1_024;

/// Payloads that are in memory at the same time, with what their decoders remember. A recorder's blocks
/// have 16 KiB, so this is enough for some 6,000 threads at once; a file that claims more is hostile.
const LOADED_BYTES_MAX: usize = 256 << 20;
