//! The first way over a trace: checks each block, and keeps tables, clocks, and where the blocks are.

use super::blocks::{BlockRef, decompress};
use super::error::{OpenError, OpenErrorKind};
use super::events::Origin;
use super::{Health, Tables, Timeline};
use ripcord_trace_format::{Block, BlockKind, Event, FileHeader, Item, Reader, Schema};
use std::collections::HashMap;
use std::io::{self, Read};

/// Blocks of one thread and origin, in the order in which they are given.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) thread: u32,
    pub(crate) blocks: Vec<BlockRef>,
}

/// What is known of a trace when all of it was seen once.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) header: Option<FileHeader>,
    pub(crate) schemas: Vec<Schema>,
    pub(crate) sources: Vec<Source>,
    pub(crate) tables: Tables,
    pub(crate) timeline: Timeline,
    pub(crate) health: Health,
    /// The first and the last tick of the blocks of events.
    pub(crate) span: Option<(u64, u64)>,
    /// The recorder has told totals of its threads.
    pub(crate) has_totals: bool,
    /// Windows, as far as blocks name them.
    pub(crate) windows: u64,
}

/// Counts the bytes that go through it.
struct Counted<'p, R> {
    input: R,
    bytes: u64,
    progress: &'p mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.bytes = self.bytes.saturating_add(read as u64);
        (self.progress)(self.bytes);
        Ok(read)
    }
}

/// Reads a trace from its beginning to its end.
pub(crate) fn scan(input: impl Read, progress: &mut dyn FnMut(u64)) -> Result<Scan, OpenError> {
    let mut counted = Counted {
        input,
        bytes: 0,
        progress,
    };
    let reader = Reader::new(&mut counted).map_err(|error| OpenError::new(error, 0, 0))?;
    let mut reader = reader.with_decompress(decompress);
    let header = reader.header().cloned();
    let mut scan = Scan::new(header, reader.schema().clone());
    let mut at = At::default();
    loop {
        match reader.next_item() {
            Ok(Some(item)) => scan.take(item, &mut at),
            Ok(None) => break,
            Err(error) => return Err(OpenError::new(error, at.offset, scan.health.blocks)),
        }
    }
    drop(reader);
    scan.health.bytes = counted.bytes;
    if counted.bytes == 0 {
        return Err(OpenError {
            kind: OpenErrorKind::Empty,
            offset: 0,
            blocks: 0,
        });
    }
    scan.settle();
    Ok(scan)
}

/// How far a scan has come.
#[derive(Default)]
struct At {
    offset: u64,
    window: Option<u32>,
    sources: HashMap<(Origin, u32), usize, foldhash::fast::RandomState>,
}

impl Scan {
    fn new(header: Option<FileHeader>, schema: Schema) -> Self {
        let health = Health::new(header.is_some());
        Self {
            timeline: Timeline::new(header.as_ref()),
            header,
            schemas: vec![schema],
            sources: Vec::new(),
            tables: Tables::default(),
            health,
            span: None,
            has_totals: false,
            windows: 0,
        }
    }

    fn take(&mut self, item: Item<'_>, at: &mut At) {
        match item {
            Item::Block(block) => {
                at.offset = block.offset;
                self.health.blocks += 1;
                self.block(&block, at);
            }
            Item::Damage { offset, bytes } => self.health.damage(offset, bytes),
            Item::Skipped { offset, info, why } => {
                self.health.skip(offset, info.kind, &why.to_string());
            }
            Item::End(end) => self.health.end = end,
            _ => {}
        }
    }

    fn block(&mut self, block: &Block<'_>, at: &mut At) {
        let info = &block.info;
        let origin = match info.kind {
            BlockKind::Schema => return self.schema(block.schema),
            BlockKind::Table => {
                for (_, event) in block.events().flatten() {
                    self.tables.note(info.thread, &event);
                }
                return;
            }
            BlockKind::WindowStart | BlockKind::WindowEnd => {
                self.window(block);
                Origin::Window
            }
            BlockKind::Registry => {
                self.threads_of(block, usize::MAX);
                Origin::Registry
            }
            BlockKind::Events => Origin::Thread,
            _ => return,
        };
        let events = u64::from(info.events);
        self.health.events_declared = self.health.events_declared.saturating_add(events);
        if at.window.replace(info.window) < Some(info.window) {
            self.windows += 1;
        }
        if origin == Origin::Thread {
            let (first, last) = self.span.unwrap_or((u64::MAX, 0));
            self.span = Some((first.min(info.first_tick), last.max(info.last_tick)));
        }
        let source = *at.sources.entry((origin, info.thread)).or_insert_with(|| {
            self.sources.push(Source {
                origin,
                thread: info.thread,
                blocks: Vec::new(),
            });
            self.sources.len() - 1
        });
        if origin == Origin::Thread {
            self.tables.thread_mut(info.thread);
            // A thread that was recorded from its beginning says first what it is.
            if self.sources[source].blocks.is_empty() {
                self.threads_of(block, 1);
            }
        }
        // There is one schema at least, and at most `SCHEMAS_MAX`.
        let schema = u16::try_from(self.schemas.len() - 1).unwrap_or(u16::MAX);
        self.sources[source]
            .blocks
            .push(BlockRef::new(block, schema));
    }

    /// Keeps a schema if it is not the one that holds already.
    fn schema(&mut self, schema: &Schema) {
        let is_new = self
            .schemas
            .last()
            .is_none_or(|last| last.rows() != schema.rows());
        if is_new && self.schemas.len() < SCHEMAS_MAX {
            self.schemas.push(schema.clone());
        }
    }

    /// Clocks and totals.
    fn window(&mut self, block: &Block<'_>) {
        for (tick, event) in block.events().flatten() {
            match event {
                Event::Clock { monotonic, wall } => self.timeline.push(tick, monotonic, wall),
                Event::ThreadTotals {
                    thread, dropped, ..
                } => {
                    self.has_totals = true;
                    self.health.lost_by_recorder =
                        self.health.lost_by_recorder.saturating_add(dropped);
                    if let Ok(thread) = u32::try_from(thread) {
                        let entry = self.tables.thread_mut(thread);
                        entry.lost = entry.lost.saturating_add(dropped);
                    }
                }
                _ => {}
            }
        }
    }

    /// What the first events of a block say of its thread.
    fn threads_of(&mut self, block: &Block<'_>, events: usize) {
        for (_, event) in block.events().flatten().take(events) {
            self.tables.note(block.info.thread, &event);
        }
    }

    /// Puts the blocks of each thread in order, and the clocks.
    fn settle(&mut self) {
        self.timeline.settle(self.header.as_ref());
        for source in &mut self.sources {
            // A recorder writes them in order. Stable: blocks of one tick stay as they are.
            source.blocks.sort_by_key(|block| block.first_tick);
        }
    }
}

/// A trace has one schema, unless somebody has put several traces together.
const SCHEMAS_MAX: usize = 64;
