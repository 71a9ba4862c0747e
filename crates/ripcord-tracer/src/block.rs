//! A piece of memory that one thread fills with events: [`Block`].
//!
//! # Protocol
//! The writer appends bytes behind those that it has published, and publishes them with one store of
//! their end and of the number of events. A reader loads that word and looks at what stands before. So
//! a reader sees whole events only, and neither waits for the other.
//!
//! A block is *evicted* when the ring needs its place, and *retired* when its writer goes on in another
//! one: because it is full, because it was evicted, or because the thread ends. The two happen in
//! either order, and both know how many events there were: each leaves a note and takes the other's
//! in one step. Who comes second knows the difference, and so each event is counted once.
//!
//! # Invariants
//! 1. Bytes before the published end never change while anybody has a reference to the block: it is used
//!    again only by who can get at it by `&mut`.
//! 2. Nothing is written to a block that was retired.
//!
//! # Why not a lock, and why not a queue
//! A lock would let a snapshot stop a thread that runs a task. A queue of single events
//! needs a read-modify-write for each of them, and a node or a slot. Here the unit that is
//! handed over is a block of some thousand events, and within it there is one writer.
//!
//! # Costs
//! An event: one load, its bytes, one store. A block: one exchange by the evictor and one
//! by the writer, whichever order they come in.
//!
//! # Read next
//! `sync.rs` for the bytes, `ring.rs` for who evicts and who retires.

#![allow(
    unsafe_code,
    reason = "one thread appends while others read what was published before"
)]

use crate::memory::Frame;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Bytes, Ordering};
use std::fmt;

/// Memory for events of one thread.
pub(crate) struct Block {
    /// Whose it is; changed through `&mut` alone, in [`begin`](Self::begin).
    head: Head,
    /// In the ring; set under the lock of its place.
    position: AtomicUsize,
    /// As long as the ring was told, and never longer: an event that has no room begins
    /// another block.
    bytes: Bytes,
    /// Published: the end of the bytes in the lower half, the number of events in the upper one.
    filled: AtomicU64,
    /// What the first of evictor and writer has counted; see [`Note`].
    note: AtomicU64,
    /// A hint for the writer.
    is_evicted: AtomicBool,
}

/// What evictor and writer leave for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Note {
    /// Neither of the two has come yet.
    Nothing,
    /// The writer has gone, and so many events were written.
    Written(u32),
    /// So many events were counted as evicted.
    Evicted(u32),
}

impl Note {
    /// The note as one word, so that one exchange leaves it and takes the other's.
    fn to_bits(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Written(events) => 1 << 32 | u64::from(events),
            Self::Evicted(events) => 2 << 32 | u64::from(events),
        }
    }

    /// The note of a word. A kind that nobody writes is taken for the last one, which adds
    /// nothing to a count.
    fn from_bits(bits: u64) -> Self {
        let events = Filled::from_bits(bits).bytes;
        match bits >> 32 {
            0 => Self::Nothing,
            1 => Self::Written(events),
            _ => Self::Evicted(events),
        }
    }
}

/// What does not change while a block is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    /// The number of the thread, as a trace names it.
    pub(crate) thread: u32,
    /// Which of the thread's blocks: without a gap, so that a missing one shows.
    pub(crate) sequence: u64,
    /// The tick that the first event counts from; the encoding has differences only.
    pub(crate) first_tick: u64,
}

/// How far a block is filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filled {
    /// Where the last whole event ends. 32 bits: a block has at most 16 MiB.
    pub(crate) bytes: u32,
    /// How many events stand before that end; each has one byte at least, so they are no
    /// more than `bytes`.
    pub(crate) events: u32,
}

impl Filled {
    /// The two numbers of the word in which they are published: by one store, so no reader sees the one
    /// without the other.
    #[inline]
    fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self {
            bytes: half(bits),
            events: half(bits >> 32),
        }
    }

    /// The end as an index. What does not fit is cut to the length of the block by whoever
    /// slices.
    #[inline]
    fn end(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl Block {
    /// A block of so many bytes that nobody fills yet.
    ///
    /// # Costs
    /// An allocation of that size, and zeroes in it.
    pub(crate) fn new(len: usize) -> Self {
        Self::of(Bytes::new(len))
    }

    /// The same, in a file that outlives the process.
    ///
    /// What a block knows of itself is said there too, and never read there.
    pub(crate) fn within(frame: Frame) -> Self {
        Self::of(Bytes::of(frame))
    }

    fn of(bytes: Bytes) -> Self {
        Self {
            head: Head::default(),
            position: AtomicUsize::new(0),
            bytes,
            filled: AtomicU64::new(0),
            note: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
        }
    }

    /// Makes it ready for a thread; nobody else has it.
    pub(crate) fn begin(&mut self, head: Head) {
        self.head = head;
        // Relaxed, all three: a reference count gave out `&mut`, and orders what came before; the
        // ring's lock orders what comes after.
        self.filled.store(0, Ordering::Relaxed);
        self.note.store(Note::Nothing.to_bits(), Ordering::Relaxed);
        self.is_evicted.store(false, Ordering::Relaxed);
        if let Some(frame) = self.bytes.frame() {
            frame.begin(head.thread, head.sequence, head.first_tick);
        }
    }

    /// Whether it is in a file.
    pub(crate) fn is_in_file(&self) -> bool {
        self.bytes.frame().is_some()
    }

    /// Whose events these are, and where they belong.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Where the ring has put it: positions grow, so they say which of two blocks was begun
    /// first.
    pub(crate) fn set_position(&self, position: usize) {
        // Relaxed: the lock of the place publishes it.
        self.position.store(position, Ordering::Relaxed);
        if let Some(frame) = self.bytes.frame() {
            frame.enter(position);
        }
    }

    /// What [`set_position`](Self::set_position) has said last.
    pub(crate) fn position(&self) -> usize {
        // Relaxed: as above.
        self.position.load(Ordering::Relaxed)
    }

    /// Writes one event behind the others; `None` if `encode` finds no room for it.
    ///
    /// `encode` gives how many bytes it has written at the beginning of what it is given; of a number
    /// that is larger than that only what is there counts.
    ///
    /// # Safety
    /// One thread at a time calls this for a block, each after the one before.
    #[inline]
    pub(crate) unsafe fn append(
        &self,
        encode: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<()> {
        // Relaxed: only this thread writes it.
        let before = self.filled.load(Ordering::Relaxed);
        let within = |room: &mut [u8]| Some(encode(room)?.min(room.len()));
        // SAFETY: by the contract there is no other writer, and readers look only at what stands
        // before the published end, which is `from`.
        let written = unsafe { self.bytes.append(Filled::from_bits(before).end(), within) }?;
        // Both halves in one step: the lower one ends within the block, which has 24 bits.
        let written = u64::try_from(written).ok()?;
        let filled = before.checked_add(1 << 32 | written)?;
        // Release: the bytes are written; pairs with the Acquire in `filled`.
        self.filled.store(filled, Ordering::Release);
        if let Some(frame) = self.bytes.frame() {
            frame.publish(filled);
        }
        Some(())
    }

    /// What is published.
    pub(crate) fn filled(&self) -> Filled {
        // Acquire: pairs with the Release in `append`.
        Filled::from_bits(self.filled.load(Ordering::Acquire))
    }

    /// Shows what is published, whole events all of it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(Filled, &[u8]) -> R) -> R {
        let filled = self.filled();
        // SAFETY: so much was published to this thread by the load, and by invariant 1 it does not
        // change while `self` is borrowed.
        unsafe { self.bytes.read(filled.end(), |bytes| look(filled, bytes)) }
    }

    /// For who takes it out of the ring: how many events are to be counted as evicted.
    pub(crate) fn evict(&self) -> u32 {
        // Relaxed: a hint that the writer acts upon sooner or later.
        self.is_evicted.store(true, Ordering::Relaxed);
        if let Some(frame) = self.bytes.frame() {
            frame.leave();
        }
        let events = self.filled().events;
        match self.exchange(Note::Evicted(events)) {
            Note::Written(all) => all,
            Note::Nothing | Note::Evicted(_) => events,
        }
    }

    /// For the writer, which writes no more: how many events came too late to be counted.
    ///
    /// The block may stay in the ring for long after this, and be read there.
    pub(crate) fn retire(&self) -> u32 {
        // Relaxed: only this thread writes it.
        let events = Filled::from_bits(self.filled.load(Ordering::Relaxed)).events;
        match self.exchange(Note::Written(events)) {
            Note::Evicted(counted) => events.saturating_sub(counted),
            Note::Nothing | Note::Written(_) => 0,
        }
    }

    /// Leaves a note and takes what the other side has left: the one step by which evictor
    /// and writer agree on who counts what.
    fn exchange(&self, note: Note) -> Note {
        // AcqRel: pairs with itself; one of the two comes first, and the other sees what it knew.
        Note::from_bits(self.note.swap(note.to_bits(), Ordering::AcqRel))
    }

    /// Whether the ring has given its place away. A writer that does not notice at once
    /// writes on to where nobody looks: these events are counted as lost when it retires.
    #[inline]
    pub(crate) fn is_evicted(&self) -> bool {
        // Relaxed: a hint.
        self.is_evicted.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("head", &self.head)
            .field("filled", &self.filled())
            .field("is_evicted", &self.is_evicted())
            .finish_non_exhaustive()
    }
}
