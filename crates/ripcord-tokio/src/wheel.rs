//! A hierarchical timing wheel: deadlines in ticks, O(1) to add and to remove.
//!
//! Six levels of 64 slots. A slot of level n covers 64^n ticks; an entry sits in the level
//! where its deadline first differs from `elapsed`, and moves down when that slot's time
//! comes. All of an entry is 40 bytes in one vector; slots are lists through it.
//!
//! # Invariants
//! 1. An entry that is in use stands in exactly one list, `list`, linked both ways.
//! 2. A slot's bit in `occupied` is set exactly while its list is not empty.
//! 3. No entry in a slot is due before the slot's time, so firing slots in order of
//!    their time never fires an entry early.
//! 4. The number of a key's turn is that of its entry while the entry is in use; a place that
//!    is used again has another one. So a key that is late removes nothing.
//!
//! # Costs
//! Insert and remove touch the entry, its neighbours and one head. An entry moves down at most
//! five times, once for each level; one beyond the last level is looked at again after
//! [`SPAN_MAX`] ticks, some 200 days in `timers.rs`. `turn` does as much as its caller allows,
//! so a thousand deadlines at one instant do not stall a worker.
//!
//! # Why a table of our own
//! Cancelled requests remove their deadline long before it is due: a heap would pay a logarithm
//! for each, or keep the dead. tokio's own wheel is not to be had without its timers.

use std::task::Waker;

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const LAST_LEVEL: u32 = 5;

/// Later entries wait in the last level and are looked at again from there. It is less
/// than a whole round, so that no slot stands for two times at once.
const SPAN_MAX: u64 = 62 << (SLOT_BITS * LAST_LEVEL);

/// The list of entries whose time has come.
const DUE: u16 = 384;
const _: () = assert!(DUE as usize == LEVELS * SLOTS && LAST_LEVEL as usize + 1 == LEVELS);
const LISTS: usize = LEVELS * SLOTS + 1;

const NIL: u32 = u32::MAX;

/// How many places an empty wheel keeps: deadlines that come one at a time allocate nothing.
const KEPT: usize = 16;

/// An entry's place, and which use of that place is meant.
///
/// Turns are counted in 32 bits. A key is dropped soon after its entry fired, long
/// before as many further entries were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    at: u32,
    turn: u32,
}

impl Key {
    /// The key as a number, for [`Armed::keyed`](ripcord_core::Armed::keyed).
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.at)
    }

    /// The reverse of [`to_bits`](Self::to_bits).
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the lower and the upper half"
    )]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            at: bits as u32,
            turn: (bits >> 32) as u32,
        }
    }
}

/// A deadline, or a free place; `next` then leads to the next free one, and `waker` is `None`.
#[derive(Debug)]
struct Entry {
    waker: Option<Waker>,
    when: u64,
    prev: u32,
    next: u32,
    turn: u32,
    list: u16,
}

/// The wheel; `elapsed` is how far it was turned, and never goes back.
#[derive(Debug)]
pub(crate) struct Wheel {
    entries: Vec<Entry>,
    free: u32,
    len: usize,
    turns: u32,
    heads: Box<[u32; LISTS]>,
    occupied: [u64; LEVELS],
    elapsed: u64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            len: 0,
            turns: 0,
            heads: Box::new([NIL; LISTS]),
            occupied: [0; LEVELS],
            elapsed: 0,
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry that is due at `when`.
    pub(crate) fn insert(&mut self, when: u64, waker: Waker) -> Key {
        self.len += 1;
        let at = if self.free == NIL {
            let at = u32::try_from(self.entries.len()).expect("fewer than 2^32 timers");
            self.entries.push(Entry {
                waker: None,
                when,
                prev: NIL,
                next: NIL,
                turn: 0,
                list: DUE,
            });
            at
        } else {
            let at = self.free;
            self.free = self.entries[at as usize].next;
            at
        };
        let entry = &mut self.entries[at as usize];
        entry.waker = Some(waker);
        entry.when = when;
        entry.turn = self.turns;
        let turn = self.turns;
        self.turns = turn.wrapping_add(1);
        self.place(at);
        Key { at, turn }
    }

    /// Takes an entry out; `None` if it has fired.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        let entry = self.entries.get(key.at as usize)?;
        if entry.turn != key.turn || entry.waker.is_none() {
            return None;
        }
        self.unlink(key.at);
        let waker = self.release(key.at);
        if self.len == 0 {
            self.entries.clear();
            self.free = NIL;
            if self.entries.capacity() > KEPT {
                // Gives the memory of a burst back.
                self.entries = Vec::new();
            }
        }
        waker
    }

    /// When the wheel has to be turned next; entries may be due later than that.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.heads[DUE as usize] != NIL {
            return Some(self.elapsed);
        }
        let mut levels = (0..LEVELS).filter(|level| self.occupied[*level] != 0);
        levels
            .next()
            .map(|level| self.slot_time(level, self.next_slot(level)))
    }

    /// Turns the wheel up to `now` and takes up to `max` wakers of entries that are due.
    ///
    /// Returns whether there is more to do at `now`; each call is bounded work.
    pub(crate) fn turn(&mut self, now: u64, max: usize, due: &mut Vec<Waker>) -> bool {
        for _ in 0..max {
            if !self.step(now, due) {
                return false;
            }
        }
        true
    }

    /// Fires or moves down one entry; `false` if nothing is left to do at `now`.
    ///
    /// The lowest occupied level comes first: its next slot begins before that of any higher one,
    /// since what is in a higher level differs from `elapsed` in a higher digit.
    fn step(&mut self, now: u64, due: &mut Vec<Waker>) -> bool {
        let first = self.heads[DUE as usize];
        if first != NIL {
            self.unlink(first);
            if self.entries[first as usize].when <= now {
                due.extend(self.release(first));
            } else {
                self.place(first);
            }
            return true;
        }
        let Some(level) = (0..LEVELS).find(|level| self.occupied[*level] != 0) else {
            self.elapsed = self.elapsed.max(now);
            return false;
        };
        let slot = self.next_slot(level);
        let time = self.slot_time(level, slot);
        if time > now {
            self.elapsed = self.elapsed.max(now);
            return false;
        }
        self.elapsed = self.elapsed.max(time);
        self.adopt_slot(level, slot);
        true
    }

    /// Makes a slot's list the list of what is due: the heads change, no entry moves.
    fn adopt_slot(&mut self, level: usize, slot: usize) {
        // `step` comes here only when the list of what is due is empty.
        let list = level * SLOTS + slot;
        self.heads[DUE as usize] = std::mem::replace(&mut self.heads[list], NIL);
        self.occupied[level] &= !(1 << slot);
    }

    /// Puts an unlinked entry into the slot for its deadline.
    fn place(&mut self, at: u32) {
        let when = self.entries[at as usize].when;
        let when = when.clamp(self.elapsed, self.elapsed.saturating_add(SPAN_MAX));
        // The highest bit in which the deadline differs from now chooses the level.
        let differs = (self.elapsed ^ when) | (SLOTS as u64 - 1);
        let level = (differs.ilog2() / SLOT_BITS) as usize;
        let level = level.min(LEVELS - 1);
        let slot = slot_of(when, level);
        self.occupied[level] |= 1 << slot;
        let list = u16::try_from(level * SLOTS + slot).unwrap_or(DUE);
        let head = std::mem::replace(&mut self.heads[list as usize], at);
        if head != NIL {
            self.entries[head as usize].prev = at;
        }
        let entry = &mut self.entries[at as usize];
        (entry.prev, entry.next, entry.list) = (NIL, head, list);
    }

    fn unlink(&mut self, at: u32) {
        let Entry {
            prev, next, list, ..
        } = self.entries[at as usize];
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
        } else if self.heads[DUE as usize] == at {
            // Its slot may have become the list of what is due.
            self.heads[DUE as usize] = next;
        } else {
            self.heads[list as usize] = next;
            if next == NIL {
                self.occupied[list as usize / SLOTS] &= !(1 << (list as usize % SLOTS));
            }
        }
    }

    /// All wakers, in no order; the wheel is empty afterwards.
    pub(crate) fn drain(&mut self) -> Vec<Waker> {
        let wakers = self
            .entries
            .iter_mut()
            .filter_map(|entry| entry.waker.take())
            .collect();
        *self = Self {
            turns: self.turns,
            ..Self::new()
        };
        wakers
    }

    /// Frees an unlinked entry; its key is void from now on.
    fn release(&mut self, at: u32) -> Option<Waker> {
        let entry = &mut self.entries[at as usize];
        entry.next = self.free;
        self.free = at;
        self.len -= 1;
        entry.waker.take()
    }

    /// The first occupied slot at or after the one of `elapsed`, going round.
    fn next_slot(&self, level: usize) -> usize {
        let now = slot_of(self.elapsed, level);
        let ahead = self.occupied[level].rotate_right(u32::try_from(now).unwrap_or_default());
        (now + ahead.trailing_zeros() as usize) % SLOTS
    }

    /// When the time of a slot begins, seen from `elapsed`.
    fn slot_time(&self, level: usize, slot: usize) -> u64 {
        let width = 1_u64 << (SLOT_BITS * u32::try_from(level).unwrap_or_default());
        let round = width * SLOTS as u64;
        let begin = (self.elapsed & !(round - 1)) + slot as u64 * width;
        if begin + width <= self.elapsed {
            begin + round
        } else {
            begin
        }
    }
}

fn slot_of(when: u64, level: usize) -> usize {
    let shift = SLOT_BITS * u32::try_from(level).unwrap_or_default();
    usize::try_from((when >> shift) & (SLOTS as u64 - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    /// Tells which of the entries fired.
    struct Fired(AtomicU64);

    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            // Relaxed: one thread (counter).
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A small generator, so that a failure can be replayed (`SplitMix64`).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
    }

    /// A deadline between now and a year ahead, small distances as likely as large ones.
    fn ahead(random: &mut Random) -> u64 {
        let bits = random.next() % 40;
        random.next() & ((1 << bits) - 1)
    }

    /// Compares the wheel with a sorted map, under random adds, removes and turns.
    fn agrees_with_a_map(seed: u64) {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<(u64, u64), (Key, Arc<Fired>)> = BTreeMap::new();
        let (mut now, mut id) = (random.next() % (1 << 38), 0);
        wheel.turn(now, 1, &mut Vec::new());
        for _ in 0..2_000 {
            match random.next() % 8 {
                0..4 => {
                    let when = now + ahead(&mut random);
                    let fired = Arc::new(Fired(AtomicU64::new(0)));
                    let key = wheel.insert(when, Waker::from(Arc::clone(&fired)));
                    model.insert((when, id), (key, fired));
                    id += 1;
                }
                4 | 5 => {
                    let at =
                        usize::try_from(random.next()).unwrap_or_default() % model.len().max(1);
                    if let Some(which) = model.keys().nth(at).copied() {
                        let (key, _) = model.remove(&which).expect("just found");
                        assert!(
                            wheel.remove(key).is_some(),
                            "seed {seed}: {which:?} was still to fire"
                        );
                        assert!(wheel.remove(key).is_none(), "seed {seed}: removed twice");
                    }
                }
                _ => {
                    now += ahead(&mut random);
                    turn_to(&mut wheel, now);
                    while let Some(first) = model.first_entry().filter(|first| first.key().0 <= now)
                    {
                        let (key, fired) = first.remove();
                        assert_eq!(
                            fired.0.load(Ordering::Relaxed),
                            1,
                            "seed {seed}: late at {now}"
                        );
                        assert!(
                            wheel.remove(key).is_none(),
                            "seed {seed}: a fired key is void"
                        );
                    }
                }
            }
            let early = model
                .values()
                .filter(|(_, fired)| fired.0.load(Ordering::Relaxed) != 0)
                .count();
            assert_eq!(early, 0, "seed {seed}: fired early at {now}");
            let next = wheel.next();
            let first = model.keys().next().map(|(when, _)| *when);
            assert!(
                next <= first || first.is_none(),
                "seed {seed}: next turn {next:?} after {first:?}"
            );
            assert_eq!(next.is_none(), model.is_empty(), "seed {seed}");
        }
    }

    fn turn_to(wheel: &mut Wheel, now: u64) {
        let mut due = Vec::new();
        while wheel.turn(now, 7, &mut due) {}
        for waker in due {
            waker.wake();
        }
    }

    #[test]
    fn the_wheel_agrees_with_a_sorted_map() {
        for seed in 0..60 {
            agrees_with_a_map(seed);
        }
    }

    #[test]
    fn a_deadline_beyond_the_wheel_fires_on_time() {
        let mut wheel = Wheel::new();
        let fired = Arc::new(Fired(AtomicU64::new(0)));
        let when = SPAN_MAX * 3 + 5;
        wheel.insert(when, Waker::from(Arc::clone(&fired)));
        turn_to(&mut wheel, when - 1);
        assert_eq!(fired.0.load(Ordering::Relaxed), 0);
        assert!(wheel.next().is_some_and(|next| next <= when));
        turn_to(&mut wheel, when);
        assert_eq!(fired.0.load(Ordering::Relaxed), 1);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_turn_is_bounded() {
        let mut wheel = Wheel::new();
        for _ in 0..100 {
            wheel.insert(10, Waker::noop().clone());
        }
        let mut due = Vec::new();
        assert!(wheel.turn(10, 20, &mut due));
        assert!(due.len() < 20);
        while wheel.turn(10, 20, &mut due) {}
        assert_eq!(due.len(), 100);
    }

    #[test]
    fn drained_keys_are_void() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(10, Waker::noop().clone());
        assert_eq!(wheel.drain().len(), 1);
        let other = wheel.insert(10, Waker::noop().clone());
        assert!(wheel.remove(key).is_none());
        assert!(wheel.remove(other).is_some());
    }
}
