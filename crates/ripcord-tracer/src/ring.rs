//! The last so many blocks of all threads: [`Ring`], and the thread's end of it, [`Writer`].
//!
//! A block enters the ring when a thread *begins* to fill it, and not when it is full. So a snapshot
//! finds everything in one place, also the events of threads that write one in a minute, and no
//! register of threads is needed. All threads lose what is oldest together.
//!
//! # Never blocks
//! A writer takes the lock of one place of the ring, once for each block, and only if it is free. The
//! one other holder is a snapshot, for a copy of a pointer; the writer then takes the next place.
//!
//! # Accounting
//! Each event that was handed to a writer is in the ring, or evicted, or lost, and in exactly one of them:
//! `handed over = in the ring + evicted + lost`, whenever no writer is at work. Evicted are those that
//! had to make room, as is meant. Lost are those that found no place, or stood in a block that was
//! evicted before they were written.
//!
//! # Costs
//! The blocks of the ring, and at most two more for each thread that records: one that it has not
//! noticed to be evicted, and a spare one. An event without a change of blocks is one load, the encoding,
//! and one store.

#![allow(
    unsafe_code,
    reason = "a writer is the one thread that appends to its block"
)]

use crate::block::{Block, Head};
use crate::memory::RingMemory;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use ripcord_trace_format::Position;
use std::collections::HashMap;
use std::fmt;

/// A bounded history of all threads.
///
/// # Examples
/// ```
/// use ripcord_tracer::Ring;
///
/// let ring = Ring::new(4, 64);
/// let mut writer = ring.writer(1);
/// for tick in 0..10 {
///     writer.write(tick, |room, _| {
///         *room.first_mut()? = 7;
///         Some(1)
///     });
/// }
/// let copies = ring.snapshot();
/// assert_eq!(copies.len(), 1);
/// assert_eq!((copies[0].events, &copies[0].bytes[..]), (10, &[7; 10][..]));
/// ```
#[derive(Clone)]
pub struct Ring {
    shared: Arc<Shared>,
}

/// What the ring and the writers of all threads share.
struct Shared {
    /// The ring itself; the lock of a place is held for the exchange of a pointer.
    places: Box<[Mutex<Option<Arc<Block>>>]>,
    /// The position that is claimed next; positions go round the places.
    next: AtomicUsize,
    /// How long each block is.
    block_bytes: usize,
    /// Where the blocks are, if that is a file.
    memory: Option<std::sync::Arc<RingMemory>>,
    /// See [`Gone::evicted`].
    evicted: AtomicU64,
    /// See [`Gone::lost`].
    lost: AtomicU64,
}

/// How many events are not in the ring any more, and why.
///
/// # Examples
/// ```
/// use ripcord_tracer::{Gone, Ring};
///
/// assert_eq!(Ring::new(1, 64).gone(), Gone::default());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Gone {
    /// Made room for newer ones.
    pub evicted: u64,
    /// Found no place, or stood in a block that was evicted meanwhile.
    pub lost: u64,
}

/// A copy of a block: whole events, in the order in which its thread wrote them.
///
/// # Examples
/// ```
/// let ring = ripcord_tracer::Ring::new(2, 16);
/// let mut writer = ring.writer(9);
/// writer.write(3, |room, _| room.first_mut().map(|byte| *byte = 1).map(|()| 1));
/// let copies = ring.snapshot();
/// assert_eq!((copies[0].thread, copies[0].first_tick, copies[0].sequence), (9, 3, 0));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Copy {
    /// The number that the writer was made with.
    pub thread: u32,
    /// Which of the thread's blocks this is; where one is missing, it was evicted.
    pub sequence: u64,
    /// The tick that the writer began the block with.
    pub first_tick: u64,
    /// Events in it.
    pub events: u32,
    /// Their encoding, by whoever wrote them.
    pub bytes: Vec<u8>,
}

/// How far somebody has read the blocks that are in the ring, by thread and sequence.
///
/// A stream has one: it writes each event once, and those of a block that is still being
/// filled bit by bit.
#[derive(Default)]
pub(crate) struct Seen {
    places: HashMap<(u32, u64), Place>,
    /// How many blocks had been begun when all of them were looked at.
    begun: usize,
}

#[derive(Default)]
struct Place {
    /// Events that were read.
    events: u32,
    /// Where a decoder goes on; of a block that is full nothing is kept, as nothing more comes.
    position: Position,
}

/// A block of which something has not been read yet.
///
/// The whole block is here, because events refer to others before them in it. Who reads it goes on at the
/// position, and gives the one where it has stopped back to [`Seen::note`].
///
/// # Costs
/// A copy of the block also where little of it is new: at most once a second for each thread, as long
/// as its block is not full.
pub(crate) struct News {
    /// All of the block, because what is new refers to what is not.
    pub(crate) copy: Copy,
    /// Events of it that were read before.
    pub(crate) before: u32,
    /// Where a decoder goes on; at the beginning if nothing was read before.
    pub(crate) position: Position,
}

impl Seen {
    /// Events that were read of the blocks that are still there.
    pub(crate) fn events(&self) -> u64 {
        let places = self.places.values();
        places.map(|place| u64::from(place.events)).sum()
    }

    /// Notes how far a copy was read.
    pub(crate) fn note(&mut self, copy: &Copy, position: Position) {
        if let Some(place) = self.places.get_mut(&(copy.thread, copy.sequence)) {
            place.position = position;
        }
    }
}

/// What is in a block; `None` if that is no more than so many events.
fn copy(block: &Block, before: u32) -> Option<Copy> {
    let Head {
        thread,
        sequence,
        first_tick,
    } = block.head();
    block.look(|filled, bytes| {
        (filled.events > before).then(|| Copy {
            thread,
            sequence,
            first_tick,
            events: filled.events,
            bytes: bytes.to_vec(),
        })
    })
}

impl Ring {
    /// Room for so many blocks of so many bytes; at least one of each.
    ///
    /// # Panics
    /// If the memory for the list of places cannot be had. That for blocks is taken as they are needed.
    #[must_use]
    pub fn new(blocks: usize, block_bytes: usize) -> Self {
        Self::within(blocks, block_bytes, None)
    }

    /// The same with its blocks in a file, which has room for more of them than the ring.
    ///
    /// Where all of them are taken a block is in the process's own memory, and not in the file.
    pub(crate) fn within(
        blocks: usize,
        block_bytes: usize,
        memory: Option<std::sync::Arc<RingMemory>>,
    ) -> Self {
        let places = (0..blocks.max(1)).map(|_| Mutex::new(None)).collect();
        Self {
            shared: Arc::new(Shared {
                places,
                next: AtomicUsize::new(0),
                block_bytes: block_bytes.clamp(1, BLOCK_BYTES_MAX),
                memory,
                evicted: AtomicU64::new(0),
                lost: AtomicU64::new(0),
            }),
        }
    }

    /// The file that its blocks are in, if they are in one.
    #[cfg_attr(
        ripcord_loom,
        allow(dead_code, reason = "models are of the ring alone")
    )]
    pub(crate) fn memory(&self) -> Option<&std::sync::Arc<RingMemory>> {
        self.shared.memory.as_ref()
    }

    /// The end of the ring that a thread writes to.
    ///
    /// `thread` tells its blocks from those of others; numbers of threads that have ended should not be
    /// used again while their blocks are there.
    ///
    /// # Examples
    /// Best kept in a thread-local, so that whoever has something to write finds it:
    ///
    /// ```
    /// use ripcord_tracer::{Ring, Writer};
    /// use std::cell::RefCell;
    ///
    /// thread_local!(static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) });
    ///
    /// fn note(ring: &Ring, byte: u8) -> bool {
    ///     WRITER.with(|writer| {
    ///         // An event within an event, as by an allocator that traces, finds it taken.
    ///         let Ok(mut writer) = writer.try_borrow_mut() else { return false };
    ///         let writer = writer.get_or_insert_with(|| ring.writer(1));
    ///         writer.write(0, |room, _| {
    ///             *room.first_mut()? = byte;
    ///             Some(1)
    ///         })
    ///     })
    /// }
    /// let ring = Ring::new(2, 64);
    /// assert!(note(&ring, 1) && note(&ring, 2));
    /// assert_eq!(ring.snapshot()[0].bytes, [1, 2]);
    /// ```
    ///
    /// # Costs
    /// Nothing before the first event.
    #[must_use]
    pub fn writer(&self, thread: u32) -> Writer {
        Writer {
            shared: Arc::clone(&self.shared),
            thread,
            sequence: 0,
            block: None,
            spare: None,
            last_tick: 0,
        }
    }

    /// Copies everything that is in the ring, in the order in which the blocks were begun.
    ///
    /// Writers go on meanwhile: of a block that is being filled it has the events that were there when
    /// its turn came, and blocks that are begun while it looks are left out. Where writers fill the whole
    /// ring while it looks, old ones are missing: the sequence of a thread's blocks shows it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_tracer::Ring;
    ///
    /// let ring = Ring::new(4, 64);
    /// assert!(ring.snapshot().is_empty(), "a block comes with its first event");
    /// ring.writer(9).write(100, |_, _| Some(0));
    /// let copies = ring.snapshot();
    /// assert_eq!((copies[0].thread, copies[0].first_tick, copies[0].events), (9, 100, 1));
    /// ```
    ///
    /// # Costs
    /// A copy of the ring's memory. Blocks that it looks at are not used again meanwhile: writers take
    /// new memory instead, up to as much as the ring has.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Copy> {
        let blocks = self.blocks();
        blocks.iter().filter_map(|block| copy(block, 0)).collect()
    }

    /// Copies what has been written since `seen` was here last, as [`snapshot`](Self::snapshot) would.
    ///
    /// Blocks that are still being filled are left out, unless `is_all` says so or the ring has gone
    /// on by a quarter since they were in: a block that is written in one piece takes less room. How
    /// far a copy was read is to be told by [`Seen::note`].
    pub(crate) fn news(&self, seen: &mut Seen, is_all: bool) -> Vec<News> {
        // Relaxed: a count that decides when a block is copied.
        let begun = self.shared.next.load(Ordering::Relaxed);
        let is_far = begun.wrapping_sub(seen.begun) > self.shared.places.len() / 4;
        let is_all = is_all || is_far;
        if is_all {
            seen.begun = begun;
        }
        let blocks = self.blocks();
        let mut last: HashMap<u32, u64> = HashMap::new();
        for head in blocks.iter().map(|block| block.head()) {
            let last = last.entry(head.thread).or_default();
            *last = head.sequence.max(*last);
        }
        let mut there = HashMap::with_capacity(blocks.len());
        let mut news = Vec::new();
        for block in &blocks {
            let head = block.head();
            let at = (head.thread, head.sequence);
            let is_open = last.get(&head.thread) == Some(&head.sequence);
            let mut place = seen.places.remove(&at).unwrap_or_else(|| Place {
                position: Position::at(head.first_tick),
                ..Place::default()
            });
            let is_due = is_all || !is_open;
            if let Some(copy) = is_due.then(|| copy(block, place.events)).flatten() {
                let before = std::mem::replace(&mut place.events, copy.events);
                let position = std::mem::take(&mut place.position);
                news.push(News {
                    copy,
                    before,
                    position,
                });
            }
            if !is_open {
                // Nothing more comes, and a position takes as much memory as a block.
                place.position = Position::default();
            }
            there.insert(at, place);
        }
        // What is not there any more will not come again.
        seen.places = there;
        news
    }

    /// What is in the ring, by time.
    fn blocks(&self) -> Vec<Arc<Block>> {
        let shared = &self.shared;
        // Acquire: pairs with the Release in `push`; who claimed a place before has filled those that it
        // had claimed until then.
        let until = shared.next.load(Ordering::Acquire);
        let places = shared.places.iter();
        // The pointers first: each lock is held for a count.
        let mut blocks: Vec<Arc<Block>> = places.filter_map(|place| place.lock().clone()).collect();
        // What was begun meanwhile is left out, lest a thread's later block is there without an earlier one.
        // Positions wrap on a machine with few bits: those before `until` are less than half of all behind.
        blocks.retain(|block| {
            let behind = until.wrapping_sub(block.position());
            behind > 0 && behind <= usize::MAX / 2
        });
        // By time: where the ring begins moves while one looks.
        blocks.sort_by_key(|block| {
            let head = block.head();
            (head.first_tick, head.thread, head.sequence)
        });
        blocks
    }

    /// What is not in the ring any more.
    ///
    /// # Examples
    /// Of ten events of one byte a ring of two blocks of two bytes keeps the last four:
    ///
    /// ```
    /// use ripcord_tracer::Ring;
    ///
    /// let ring = Ring::new(2, 2);
    /// let mut writer = ring.writer(1);
    /// for tick in 0..10 {
    ///     writer.write(tick, |room, _| room.first_mut().map(|byte| *byte = 1).map(|()| 1));
    /// }
    /// assert_eq!((ring.gone().evicted, ring.gone().lost), (6, 0));
    /// ```
    ///
    /// # Limitations
    /// While threads write, the sum with a snapshot is off by what they are writing.
    #[must_use]
    pub fn gone(&self) -> Gone {
        Gone {
            // Relaxed both: statistics (counter).
            evicted: self.shared.evicted.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("blocks", &self.shared.places.len())
            .field("block_bytes", &self.shared.block_bytes)
            .field("gone", &self.gone())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A block that nobody has.
    fn block(&self) -> Block {
        let frame = self.memory.as_ref().and_then(RingMemory::frame);
        frame.map_or_else(|| Block::new(self.block_bytes), Block::within)
    }

    /// Puts a block into the next free place; the one that stood there comes back, taken out of use.
    ///
    /// The error is the block: a snapshot is at every place that was tried.
    fn push(&self, block: Arc<Block>) -> Result<Option<Arc<Block>>, Arc<Block>> {
        for _ in 0..PLACES_TRIED {
            // Release: what this thread has put into its places before; pairs with the Acquire in
            // `snapshot`.
            let position = self.next.fetch_add(1, Ordering::Release);
            let at = position % self.places.len();
            let Some(mut place) = self.places.get(at).and_then(Mutex::try_lock) else {
                continue;
            };
            block.set_position(position);
            let before = place.replace(block);
            drop(place);
            if let Some(before) = &before {
                let events = u64::from(before.evict());
                // Relaxed: a statistic (counter).
                self.evicted.fetch_add(events, Ordering::Relaxed);
            }
            return Ok(before);
        }
        Err(block)
    }
}

/// A thread's end of a [`Ring`].
///
/// # Examples
/// Encoders are given what is left of the block and the tick of the event before, and say how much
/// they have written; `None` if there is no room:
///
/// ```
/// use ripcord_tracer::Ring;
///
/// let ring = Ring::new(2, 16);
/// let mut writer = ring.writer(7);
/// let encode = |room: &mut [u8], _before: u64| {
///     room.get_mut(..6)?.copy_from_slice(b"event ");
///     Some(6)
/// };
/// assert!((0..3).all(|tick| writer.write(tick, encode)));
/// let events: Vec<u32> = ring.snapshot().iter().map(|copy| copy.events).collect();
/// assert_eq!(events, [2, 1], "two have room in a block");
/// ```
pub struct Writer {
    shared: Arc<Shared>,
    /// What events say who wrote them.
    thread: u32,
    /// The number of the block that is begun next.
    sequence: u64,
    /// The one that is being filled.
    block: Option<Arc<Block>>,
    /// To be filled next; nobody else has it.
    spare: Option<Arc<Block>>,
    /// What the next event counts from; ticks of one writer never go back.
    last_tick: u64,
}

impl Writer {
    /// Writes one event; false if it is lost, which is counted.
    ///
    /// A tick before that of the event before it counts as that one, as in an encoder.
    ///
    /// `encode` is called again with a fresh block where there was no room for it. What it writes
    /// beyond the length that it gives is not published.
    #[inline]
    pub fn write(
        &mut self,
        tick: u64,
        mut encode: impl FnMut(&mut [u8], u64) -> Option<usize>,
    ) -> bool {
        self.try_write(tick, &mut encode) || self.write_to_next(tick.max(self.last_tick), encode)
    }

    /// As [`write`](Self::write), where the event has room in the block that is being filled.
    ///
    /// False: nothing is written or counted, and another way is to be tried.
    #[inline]
    pub(crate) fn try_write(
        &mut self,
        tick: u64,
        encode: impl FnOnce(&mut [u8], u64) -> Option<usize>,
    ) -> bool {
        let Some(block) = self.block.as_ref().filter(|block| !block.is_evicted()) else {
            return false;
        };
        let before = self.last_tick;
        // SAFETY: this writer alone has begun the block, and `&mut self` is its one user.
        let appended = unsafe { block.append(|room| encode(room, before)) };
        if appended.is_some() {
            self.last_tick = tick.max(before);
        }
        appended.is_some()
    }

    /// Kept out of line: once for each block.
    #[cold]
    fn write_to_next(
        &mut self,
        tick: u64,
        mut encode: impl FnMut(&mut [u8], u64) -> Option<usize>,
    ) -> bool {
        self.finish();
        let is_written = self.begin(tick).is_some_and(|block| {
            // SAFETY: as in `try_write`.
            let appended = unsafe { block.append(|room| encode(room, tick)) };
            appended.is_some()
        });
        if is_written {
            self.last_tick = tick;
        } else {
            // Relaxed: a statistic (counter).
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        is_written
    }

    /// Lets go of the block; what came after it was evicted is lost.
    fn finish(&mut self) {
        let Some(block) = self.block.take() else {
            return;
        };
        let late = block.retire();
        if late > 0 {
            // Relaxed: a statistic (counter).
            self.shared
                .lost
                .fetch_add(u64::from(late), Ordering::Relaxed);
        }
        if block.is_evicted() {
            self.keep(block);
        }
    }

    /// Begins the next block; `None` where the ring has no place for it.
    fn begin(&mut self, tick: u64) -> Option<&Block> {
        let mut block = self
            .spare
            .take()
            .unwrap_or_else(|| Arc::new(self.shared.block()));
        if let Some(memory) = &self.shared.memory {
            memory.note_tick(tick);
        }
        Arc::get_mut(&mut block)?.begin(Head {
            thread: self.thread,
            sequence: self.sequence,
            first_tick: tick,
        });
        match self.shared.push(Arc::clone(&block)) {
            Ok(before) => {
                self.sequence = self.sequence.wrapping_add(1);
                if let Some(before) = before {
                    self.keep(before);
                }
                Some(self.block.insert(block))
            }
            Err(again) => {
                drop(again);
                self.keep(block);
                None
            }
        }
    }

    /// Keeps a block to be filled again, if nobody else has it; its own writer may not have noticed yet.
    ///
    /// One that had no place in the file is not kept: there may be one next time.
    fn keep(&mut self, mut block: Arc<Block>) {
        let is_at_home = block.is_in_file() || self.shared.memory.is_none();
        if is_at_home && Arc::get_mut(&mut block).is_some() {
            self.spare = Some(block);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("thread", &self.thread)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

/// Places that a writer looks at before an event is lost: a snapshot stands at one at a time.
const PLACES_TRIED: usize = 4;

/// Ends of blocks are 32-bit numbers.
const BLOCK_BYTES_MAX: usize = 1 << 24;
