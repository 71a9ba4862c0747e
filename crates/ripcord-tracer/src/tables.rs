//! Numbers for places in the source and for labels: [`Tables`], and what a thread knows of them.
//!
//! Both are part of the program, so there are as many as its source has: the tables only grow, and are
//! bounded by it. An event carries the number alone.
//!
//! # Costs
//! A place that the thread has seen lately: one look into a small table of its own. Another one: a lock
//! and a hash look-up.

use crate::memory::RingMemory;
use crate::sync::Mutex;
use ripcord_trace_format::Event;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

/// Labels beyond so many have no number: who leaks strings to make labels must not fill the memory.
const LABELS_MAX: usize = 1 << 16;

/// Known to one thread at a time; a power of two.
const CACHED: usize = 128;

/// What a recorder knows of the program's source.
#[derive(Default)]
pub(crate) struct Tables {
    /// A file that is told of each entry, too; under the lock of the entries, so that it has their order.
    memory: Option<Arc<RingMemory>>,
    /// Places in the source: where something was spawned, made, or ended.
    places: Mutex<Places>,
    /// Labels of waits, of regions and of tags.
    labels: Mutex<Labels>,
}

/// By address: the compiler makes one location for each place, and two for one place do no
/// harm.
#[derive(Default)]
struct Places {
    /// From its address to its number.
    numbers: HashMap<usize, u32>,
    /// In the order of the numbers, as a trace wants it.
    list: Vec<&'static Location<'static>>,
}

/// By text: equal labels of several crates are one.
#[derive(Default)]
struct Labels {
    /// From the text to its number.
    numbers: HashMap<&'static str, u32>,
    /// In the order of the numbers.
    list: Vec<&'static str>,
}

impl Tables {
    /// Tables that are told to a file as they grow.
    pub(crate) fn new(memory: Option<&Arc<RingMemory>>) -> Self {
        Self {
            memory: memory.map(Arc::clone),
            ..Self::default()
        }
    }

    /// The number of a place, the next one if it is new.
    fn place(&self, place: &'static Location<'static>) -> u32 {
        let mut places = self.places.lock();
        let next = u32::try_from(places.list.len()).unwrap_or(u32::MAX);
        let address = std::ptr::from_ref(place).addr();
        let number = *places.numbers.entry(address).or_insert(next);
        if number == next {
            places.list.push(place);
            if let Some(memory) = &self.memory {
                memory.say(&place_event(number.into(), place));
            }
        }
        number
    }

    /// The number of a label; `None` beyond 65,536 of them.
    fn label(&self, label: &'static str) -> Option<u32> {
        let mut labels = self.labels.lock();
        if let Some(number) = labels.numbers.get(label) {
            return Some(*number);
        }
        let number = u32::try_from(labels.list.len()).ok()?;
        if labels.list.len() >= LABELS_MAX {
            return None;
        }
        labels.numbers.insert(label, number);
        labels.list.push(label);
        if let Some(memory) = &self.memory {
            let index = number.into();
            memory.say(&Event::Label { index, text: label });
        }
        Some(number)
    }

    /// All places so far; the number of each is where it stands.
    ///
    /// A copy: the lock is not held while it is written.
    pub(crate) fn places(&self) -> Vec<&'static Location<'static>> {
        self.places.lock().list.clone()
    }

    /// All labels so far; the number of each is where it stands.
    ///
    /// A copy, as with places.
    pub(crate) fn labels(&self) -> Vec<&'static str> {
        self.labels.lock().list.clone()
    }
}

/// What a trace says of a place.
pub(crate) fn place_event(index: u64, place: &'static Location<'static>) -> Event<'static> {
    Event::Location {
        index,
        file: place.file(),
        line: place.line().into(),
        column: place.column().into(),
    }
}

/// What a thread has looked up lately.
///
/// Two small tables in which a new entry takes the place of an old one: a thread runs the
/// same few places again and again.
pub(crate) struct Known {
    /// Address and number.
    places: [(usize, u32); CACHED],
    /// Address, length and number.
    labels: [(usize, usize, u32); CACHED],
}

impl Default for Known {
    fn default() -> Self {
        Self {
            places: [(0, 0); CACHED],
            labels: [(0, 0, 0); CACHED],
        }
    }
}

impl Known {
    /// The number of a place.
    pub(crate) fn place(&mut self, tables: &Tables, place: &'static Location<'static>) -> u64 {
        let address = std::ptr::from_ref(place).addr();
        // Locations are 24 bytes apart at least: the low bits say nothing.
        let Some(entry) = self.places.get_mut((address >> 3) % CACHED) else {
            return tables.place(place).into();
        };
        if entry.0 != address {
            *entry = (address, tables.place(place));
        }
        entry.1.into()
    }

    /// The number of a label, if it can have one.
    pub(crate) fn label(&mut self, tables: &Tables, label: &'static str) -> Option<u64> {
        let (address, len) = (label.as_ptr().addr(), label.len());
        let entry = self.labels.get_mut((address ^ len) % CACHED)?;
        // Two labels may begin at one address, where the one is the beginning of the other.
        if (entry.0, entry.1) != (address, len) {
            *entry = (address, len, tables.label(label)?);
        }
        Some(entry.2.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_number_for_all_threads() {
        let tables = Tables::default();
        let here = Location::caller();
        let there = [Location::caller(), Location::caller()];
        for _ in 0..2 {
            let mut known = Known::default();
            for _ in 0..2 {
                assert_eq!(known.place(&tables, here), 0);
                assert_eq!(known.place(&tables, there[0]), 1);
                assert_eq!(known.place(&tables, there[1]), 2);
            }
        }
        assert_eq!(tables.places(), [here, there[0], there[1]]);
    }

    #[test]
    fn labels_are_told_apart_by_what_they_say() {
        let tables = Tables::default();
        let mut known = Known::default();
        let whole = "lock of the cart";
        let numbers = [whole, &whole[..4], "recv", whole].map(|label| known.label(&tables, label));
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(0)]);
        let copy: &'static str = String::from("recv").leak();
        assert_eq!(known.label(&tables, copy), Some(2), "the same, elsewhere");
        assert_eq!(tables.labels(), ["lock of the cart", "lock", "recv"]);
    }

    #[test]
    fn leaked_labels_do_not_fill_the_memory() {
        let tables = Tables::default();
        let mut known = Known::default();
        let many: Vec<String> = (0..LABELS_MAX + 2).map(|at| at.to_string()).collect();
        let numbers = many.into_iter().map(|label| {
            let label: &'static str = label.leak();
            known.label(&tables, label)
        });
        assert_eq!(numbers.flatten().count(), LABELS_MAX);
        assert_eq!(known.label(&tables, "0"), Some(0));
    }
}
