//! A register of what lives, by small numbers: tasks and contexts.
//!
//! An event names a task by its slot, which takes a byte or two in a trace where the id takes four. And
//! whoever is told of a task gets the slot's key back with every later event, so none of them looks
//! anything up.
//!
//! # Invariants
//! 1. A slot is where it is for as long as the register lives: chunks are added and never moved.
//! 2. The id of a slot is 0 while nobody has it. A key of somebody else leads to another id, or to
//!    none, so whoever has a key and an id notices.
//!
//! # Costs
//! A look at a slot: two loads. Taking and giving back: through a small stock of the thread's, so the one
//! lock is taken once for [`STOCK`] of them.

use crate::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots that are allocated together.
const CHUNK: usize = 1_024;

/// The list of chunks itself stays small.
const CHUNKS_MAX: usize = 1 << 16;

/// How many free slots a thread fetches at a time, and gives back when it has twice as many.
const STOCK: usize = 32;

/// Slots for things of one sort.
pub(crate) struct Slots<T> {
    /// Filled from the front; a chunk is made by whoever needs its first slot.
    chunks: Box<[OnceLock<Chunk<T>>]>,
    /// What is in nobody's stock.
    free: Mutex<Free>,
}

/// So many slots; they stay where they are (invariant 1).
type Chunk<T> = Box<[Slot<T>]>;

/// Free slots that no thread has at hand.
#[derive(Default)]
struct Free {
    /// Were used before, and come first.
    spare: Vec<u32>,
    /// Slots from here on were never used.
    next: u32,
}

/// The place of something that lives.
///
/// Its content stays when it is free: who takes it next may use the memory that is in
/// there.
#[derive(Default)]
pub(crate) struct Slot<T> {
    /// See invariant 2.
    id: AtomicU64,
    /// What is kept of whoever has the slot; written before the id is set.
    pub(crate) live: T,
}

/// Free slots that a thread has at hand.
///
/// Whoever drops it gives them back before, or they are lost to the others.
#[derive(Default)]
pub(crate) struct Stock(Vec<u32>);

impl<T: Default> Slots<T> {
    /// Room for so many, in whole chunks; memory is taken as they are needed.
    pub(crate) fn new(slots_max: usize) -> Self {
        let chunks = slots_max.div_ceil(CHUNK).clamp(1, CHUNKS_MAX);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(Free::default()),
        }
    }

    /// A free slot, and its number; `None` when all are taken.
    ///
    /// The slot is the caller's from now on, and nobody finds it until its id is set.
    ///
    /// # Costs
    /// A pop; every 32nd time a lock; every 1,024th time, at first, a chunk.
    pub(crate) fn take(&self, stock: &mut Stock) -> Option<(u32, &Slot<T>)> {
        let number = stock.0.pop().or_else(|| self.fetch(stock))?;
        let (chunk, at) = split(number);
        let fresh = || (0..CHUNK).map(|_| Slot::default()).collect();
        let slot = self.chunks.get(chunk)?.get_or_init(fresh).get(at)?;
        Some((number, slot))
    }

    /// Fills a stock from the common one, and gives one of it.
    #[cold]
    fn fetch(&self, stock: &mut Stock) -> Option<u32> {
        let mut free = self.free.lock();
        while stock.0.len() < STOCK {
            if let Some(number) = free.spare.pop() {
                stock.0.push(number);
                continue;
            }
            if split(free.next).0 >= self.chunks.len() {
                break;
            }
            stock.0.push(free.next);
            free.next += 1;
        }
        drop(free);
        // The lowest number is taken first: small numbers are short in a trace.
        stock.0.sort_unstable_by(|a, b| b.cmp(a));
        stock.0.pop()
    }

    /// A slot that `take` has given, free again.
    ///
    /// Its id is 0 by then: the one who had it is found by nobody any more.
    pub(crate) fn give_back(&self, number: u32, stock: &mut Stock) {
        stock.0.push(number);
        if stock.0.len() >= 2 * STOCK {
            self.free.lock().spare.extend(stock.0.drain(..STOCK));
        }
    }

    /// All that a thread has left.
    pub(crate) fn return_stock(&self, stock: &mut Stock) {
        if !stock.0.is_empty() {
            self.free.lock().spare.append(&mut stock.0);
        }
    }

    /// A slot whose holder has ended where no thread's stock can be had, as in a thread that is being
    /// torn down.
    ///
    /// The thread takes the lock for it, which is taken for a push or for some thirty pops at most, and
    /// never while anything foreign runs.
    #[cold]
    pub(crate) fn abandon(&self, number: u32, slot: &Slot<T>) {
        slot.set_id(0);
        self.free.lock().spare.push(number);
    }

    /// The slot of `id`, if that is who has it.
    ///
    /// `None` where somebody else has it, where nobody has it, and for numbers that were
    /// never given out.
    #[inline]
    pub(crate) fn find(&self, number: u32, id: u64) -> Option<&Slot<T>> {
        let (chunk, at) = split(number);
        let slot = self.chunks.get(chunk)?.get()?.get(at)?;
        (slot.id() == id).then_some(slot)
    }

    /// Who has a slot now; `None`: nobody.
    pub(crate) fn id_at(&self, number: u32) -> Option<u64> {
        let (chunk, at) = split(number);
        let slot = self.chunks.get(chunk)?.get()?.get(at)?;
        Some(slot.id()).filter(|id| *id != 0)
    }

    /// Every slot that somebody has at the time of the look, with number and id.
    ///
    /// It goes over every chunk there is, so it costs what has lived at a time at most.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, u64, &Slot<T>)> {
        let chunks = self.chunks.iter().map_while(OnceLock::get);
        let slots = chunks.flat_map(|chunk| chunk.iter());
        slots
            .zip(0_u32..)
            .map(|(slot, number)| (number, slot.id(), slot))
            .filter(|(_, id, _)| *id != 0)
    }
}

impl<T> Slot<T> {
    /// Who has it; 0: nobody.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        // Acquire: pairs with the Release in `set_id`, so that what was written for this id is seen.
        self.id.load(Ordering::Acquire)
    }

    /// From now on `id` has it; 0: nobody.
    pub(crate) fn set_id(&self, id: u64) {
        // Release: what was written for the id before; pairs with the Acquire in `id`.
        self.id.store(id, Ordering::Release);
    }
}

/// Chunk, and place in it.
fn split(number: u32) -> (usize, usize) {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    (number / CHUNK, number % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_small_and_used_again() {
        let slots = Slots::<AtomicU64>::new(1);
        let mut stock = Stock::default();
        let numbers: Vec<u32> = (0..100)
            .map(|id| {
                let (number, slot) = slots.take(&mut stock).expect("there is room");
                slot.set_id(id + 1);
                number
            })
            .collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        assert_eq!(slots.live().count(), 100);
        for (number, id) in numbers.iter().zip(1..) {
            let slot = slots.find(*number, id).expect("it is live");
            slot.set_id(0);
            slots.give_back(*number, &mut stock);
        }
        assert_eq!(slots.live().count(), 0);
        slots.return_stock(&mut stock);
        let mut other = Stock::default();
        let (again, _) = slots.take(&mut other).expect("there is room");
        assert!(again < 128, "{again} was never given out before");
    }

    #[test]
    fn a_key_of_somebody_else_finds_nothing() {
        let slots = Slots::<AtomicU64>::new(1);
        let mut stock = Stock::default();
        let (number, slot) = slots.take(&mut stock).expect("there is room");
        slot.set_id(7);
        assert!(slots.find(number, 7).is_some());
        assert!(slots.find(number, 8).is_none());
        assert!(slots.find(number + 1, 7).is_none());
        assert!(slots.find(u32::MAX, 7).is_none());
    }

    #[test]
    fn when_all_are_taken_there_is_none() {
        let slots = Slots::<()>::new(CHUNK + 1);
        let mut stock = Stock::default();
        let taken = (0..3 * CHUNK).filter(|_| slots.take(&mut stock).is_some());
        assert_eq!(taken.count(), 2 * CHUNK);
        assert!(slots.take(&mut stock).is_none());
        slots.give_back(9, &mut stock);
        assert_eq!(slots.take(&mut stock).map(|(number, _)| number), Some(9));
    }
}
