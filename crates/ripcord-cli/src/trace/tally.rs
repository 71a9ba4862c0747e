//! Counts what a trace holds; `info` and `check` are two views of it.
//!
//! *Costs*: a row for each thread, up to [`THREADS_MAX`], and for each window, up to
//! [`LISTED_MAX`](super::health::LISTED_MAX); what is beyond is counted in one row.

use super::health::{Health, Listed};
use ripcord_trace_format::{Block, BlockInfo, BlockKind, EVENTS, Event, FileHeader, Schema};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a trace holds.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) blocks: BTreeMap<String, u64>,
    types: Box<[TypeCount; 256]>,
    /// Names of types that this version does not know, by the schema of the trace.
    foreign: BTreeMap<u8, String>,
    pub(crate) threads: BTreeMap<u32, Thread>,
    /// Threads beyond the limit, as one.
    pub(crate) other_threads: Thread,
    pub(crate) windows: Listed<Window>,
    /// That of the block before.
    window: Option<u32>,
    pub(crate) events: u64,
    /// Events of the registry tell what the others may have told already.
    pub(crate) registry_events: u64,
    /// Bytes of all events.
    pub(crate) event_bytes: u64,
    pub(crate) unknown_events: u64,
    pub(crate) span: Option<(u64, u64)>,
    pub(crate) clocks: Clocks,
}

#[derive(Clone, Copy, Default, Debug)]
struct TypeCount {
    count: u64,
    bytes: u64,
}

/// One type of event, as it is shown.
#[derive(Serialize, Debug)]
pub(crate) struct TypeRow {
    pub(crate) name: String,
    pub(crate) count: u64,
    /// With type and ticks, before compression.
    pub(crate) bytes: u64,
}

/// What a thread has written.
#[derive(Serialize, Clone, Default, Debug)]
pub(crate) struct Thread {
    /// What it is for, if the trace says so.
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) blocks: u64,
    pub(crate) events: u64,
    /// Events that it could not write.
    pub(crate) lost: u64,
    /// The last tick of its last block.
    #[serde(skip)]
    pub(crate) last_tick: u64,
}

/// A stretch of a trace.
#[derive(Serialize, Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) number: u32,
    /// Of its first block, from the beginning of the file.
    pub(crate) offset: u64,
    pub(crate) first_tick: u64,
    pub(crate) last_tick: u64,
    pub(crate) blocks: u64,
    /// By what the headers of the blocks say.
    pub(crate) events: u64,
}

/// The first and the last snapshot of the clocks.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Clocks {
    first: Option<Snapshot>,
    last: Option<Snapshot>,
    nominal: Option<(u8, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    tick: u64,
    monotonic: u64,
}

impl Tally {
    pub(crate) fn new(header: Option<&FileHeader>) -> Self {
        Self {
            blocks: BTreeMap::new(),
            types: Box::new([TypeCount::default(); 256]),
            foreign: BTreeMap::new(),
            threads: BTreeMap::new(),
            other_threads: Thread::default(),
            windows: Listed::new(),
            window: None,
            events: 0,
            registry_events: 0,
            event_bytes: 0,
            unknown_events: 0,
            span: None,
            clocks: Clocks {
                nominal: header.map(|header| (header.shift, header.frequency)),
                ..Clocks::default()
            },
        }
    }

    /// Counts a block in; how many events could be decoded.
    pub(crate) fn add(&mut self, block: &Block<'_>, health: &mut Health) -> u64 {
        *self.blocks.entry(block.info.kind.to_string()).or_default() += 1;
        if !block.info.kind.has_events() {
            return 0;
        }
        self.note_window(&block.info, block.offset);
        let mut decoded = 0_u64;
        let mut events = block.events();
        let mut rest = events.rest().len();
        while let Some(event) = events.next() {
            match event {
                Ok((tick, event)) => {
                    let bytes = (rest - events.rest().len()) as u64;
                    rest = events.rest().len();
                    decoded += 1;
                    self.note_event(tick, &event, bytes, block, health);
                }
                Err(error) => health.wrong_event(block.offset, &block.info, &error),
            }
        }
        self.events += decoded;
        if block.info.kind == BlockKind::Registry {
            self.registry_events += decoded;
        } else if block.info.kind == BlockKind::Events {
            let thread = self.thread(block.info.thread);
            thread.blocks += 1;
            thread.events += decoded;
        }
        decoded
    }

    /// The row of a thread.
    pub(crate) fn thread(&mut self, number: u32) -> &mut Thread {
        if self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&number) {
            return &mut self.other_threads;
        }
        self.threads.entry(number).or_default()
    }

    /// Types that occur, the most frequent first.
    pub(crate) fn types(&self) -> Vec<TypeRow> {
        let mut rows: Vec<TypeRow> = (0_u8..=u8::MAX)
            .zip(self.types.iter())
            .filter(|(_, seen)| seen.count > 0)
            .map(|(number, seen)| TypeRow {
                name: self.type_name(number),
                count: seen.count,
                bytes: seen.bytes,
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    fn type_name(&self, number: u8) -> String {
        if let Some(name) = self.foreign.get(&number) {
            return name.clone();
        }
        let row = EVENTS.iter().find(|row| row.number == number);
        row.map_or_else(|| format!("{number:#04x}"), |row| row.name.to_owned())
    }

    fn note_event(
        &mut self,
        tick: u64,
        event: &Event<'_>,
        bytes: u64,
        block: &Block<'_>,
        health: &mut Health,
    ) {
        let seen = &mut self.types[usize::from(event.number())];
        seen.count += 1;
        seen.bytes += bytes;
        self.event_bytes += bytes;
        let thread = block.info.thread;
        match *event {
            Event::ThreadStart { kind, name } => {
                let thread = self.thread(thread);
                thread.kind = Some(kind.as_str().to_owned());
                name.clone_into(&mut thread.name);
            }
            Event::Dropped { events } => {
                let thread = self.thread(thread);
                thread.lost = thread.lost.saturating_add(events);
                health.lost_events = health.lost_events.saturating_add(events);
            }
            Event::Clock { monotonic, .. } => self.clocks.note(Snapshot { tick, monotonic }),
            Event::Unknown(raw) => {
                self.unknown_events += 1;
                self.note_foreign(raw.number, block.schema);
            }
            _ => {}
        }
        // What tables say has no time, and neither has what the registry repeats.
        if matches!(block.info.kind, BlockKind::Events) {
            let (first, last) = self.span.unwrap_or((tick, tick));
            self.span = Some((first.min(tick), last.max(tick)));
        }
    }

    fn note_foreign(&mut self, number: u8, schema: &Schema) {
        self.foreign.entry(number).or_insert_with(|| {
            let row = schema.row(number);
            row.map_or_else(|| format!("{number:#04x}"), |row| row.name().to_owned())
        });
    }

    fn note_window(&mut self, info: &BlockInfo, offset: u64) {
        let fresh = Window {
            number: info.window,
            offset,
            first_tick: info.first_tick,
            last_tick: info.last_tick,
            blocks: 1,
            events: u64::from(info.events),
        };
        let is_same = self.window.replace(info.window) == Some(info.window);
        if !is_same {
            self.windows.push(fresh);
        }
        // Beyond the limit, the last row stands for all that follow.
        let is_folded = self.windows.unlisted() > 0;
        if let Some(last) = self
            .windows
            .first
            .last_mut()
            .filter(|_| is_same || is_folded)
        {
            last.first_tick = last.first_tick.min(info.first_tick);
            last.last_tick = last.last_tick.max(info.last_tick);
            last.blocks += 1;
            last.events = last.events.saturating_add(u64::from(info.events));
        }
    }
}

impl Clocks {
    fn note(&mut self, now: Snapshot) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Nanoseconds that so many ticks take: by two snapshots if there are two, else by what the
    /// header says; `None` if it says nothing that can be.
    pub(crate) fn nanoseconds(&self, ticks: u64) -> Option<u64> {
        let (times, over) = self.ratio()?;
        u64::try_from(u128::from(ticks).checked_mul(times)? / over).ok()
    }

    /// Whether two snapshots say it, which is exact.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured().is_some()
    }

    fn measured(&self) -> Option<(u128, u128)> {
        let (first, last) = (self.first?, self.last?);
        let ticks = last
            .tick
            .checked_sub(first.tick)
            .filter(|ticks| *ticks > 0)?;
        let time = last.monotonic.checked_sub(first.monotonic)?;
        (time > 0).then_some((u128::from(time), u128::from(ticks)))
    }

    fn ratio(&self) -> Option<(u128, u128)> {
        self.measured().or_else(|| {
            let (shift, frequency) = self.nominal.filter(|(_, hertz)| *hertz > 0)?;
            let raw = 1_u128
                .checked_shl(u32::from(shift))
                .filter(|_| shift < 64)?;
            Some((raw.checked_mul(1_000_000_000)?, u128::from(frequency)))
        })
    }
}

/// Threads that get a row of their own.
pub(crate) const THREADS_MAX: usize = 4_096;
