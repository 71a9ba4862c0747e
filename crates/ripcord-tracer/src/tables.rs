//! Numbers for places in the source and for labels: [`Tables`], and what a thread knows of them.
//!
//! Both are part of the program, so there are as many as its source has: the tables only grow, and are
//! bounded by it. An event carries the number alone.
//!
//! # Labels and places
//! A wait says what it is for and, where that is known, at which line. Both together have one number, so that
//! an event of a wait is as short as it was without places, and a reader finds the place by the label. Metrics
//! count by the text alone: a row for each line would be a series for each line.
//!
//! # Costs
//! A place or label that the thread has seen lately: one look into a small table of its own. Another one: a
//! lock and a hash look-up, two of each for a label at a place.

use crate::memory::RingMemory;
use crate::sync::Mutex;
use ripcord_trace_format::Event;
use std::collections::HashMap;
use std::panic::Location;
use std::path::Path;
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

/// By text and place: equal labels of several crates are one, and one that is waited for in two places is two.
#[derive(Default)]
struct Labels {
    /// From the text and the number of the place to the numbers of both.
    numbers: HashMap<(&'static str, Option<u32>), Numbers>,
    /// In the order of the numbers.
    list: Vec<Label>,
    /// From the text alone to its number among texts.
    of_texts: HashMap<&'static str, u32>,
    /// In the order of those numbers.
    texts: Vec<&'static str>,
}

/// A label as a trace has it.
///
/// Its place has a number by then: whoever copies the labels first and the places afterwards has both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    /// What is waited for, or what a region is called.
    text: &'static str,
    /// The number of the place where that stands. None for a label of a tag, for a leaf that does not know
    /// it, and for one that is polled by a library.
    pub(crate) place: Option<u32>,
}

impl Label {
    /// What a trace says of it.
    pub(crate) fn event(&self, index: u64) -> Event<'static> {
        Event::Label {
            index,
            text: self.text,
            loc: self.place.map(u64::from),
        }
    }
}

/// What stands for a label.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Numbers {
    /// In a trace: of the text at its place.
    pub(crate) label: u32,
    /// In metrics: of the text, wherever it stands. There are few of these, so that there are few rows.
    pub(crate) text: u32,
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

    /// The numbers of a label; `None` beyond 65,536 of them.
    ///
    /// A place in a library says nothing of the program, and is left out.
    fn label(
        &self,
        text: &'static str,
        place: Option<&'static Location<'static>>,
    ) -> Option<Numbers> {
        // Before the label: whoever knows that, knows its place as well.
        let place = place.filter(|place| is_own(place.file()));
        let place = place.map(|place| self.place(place));
        let mut labels = self.labels.lock();
        if let Some(numbers) = labels.numbers.get(&(text, place)) {
            return Some(*numbers);
        }
        if labels.list.len() >= LABELS_MAX {
            return None;
        }
        let next = u32::try_from(labels.texts.len()).ok()?;
        let of_text = *labels.of_texts.entry(text).or_insert(next);
        if of_text == next {
            labels.texts.push(text);
        }
        let numbers = Numbers {
            label: u32::try_from(labels.list.len()).ok()?,
            text: of_text,
        };
        let label = Label { text, place };
        labels.numbers.insert((text, place), numbers);
        labels.list.push(label);
        if let Some(memory) = &self.memory {
            memory.say(&label.event(numbers.label.into()));
        }
        Some(numbers)
    }

    /// All places so far; the number of each is where it stands.
    ///
    /// A copy: the lock is not held while it is written.
    pub(crate) fn places(&self) -> Vec<&'static Location<'static>> {
        self.places.lock().list.clone()
    }

    /// All labels so far; the number of each is where it stands.
    ///
    /// A copy, as with places. Whoever takes the places afterwards has all that the labels name.
    pub(crate) fn labels(&self) -> Vec<Label> {
        self.labels.lock().list.clone()
    }

    /// The texts of all labels so far, by their numbers in metrics.
    pub(crate) fn texts(&self) -> Vec<&'static str> {
        self.labels.lock().texts.clone()
    }
}

/// Whether a file is the program's own: cargo compiles what is not in the workspace by absolute paths,
/// as the compiler calls its own library on every system.
///
/// Asked once for each label and place. A leaf that is boxed, or one of many in a combinator, is polled by a
/// library: the line there would be the same for all waits, and worse than that of the spawn.
fn is_own(file: &str) -> bool {
    !file.starts_with('/') && !Path::new(file).is_absolute()
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
    /// Address, length, address of the place or 0, and the numbers.
    labels: [((usize, usize, usize), Numbers); CACHED],
}

impl Default for Known {
    fn default() -> Self {
        Self {
            places: [(0, 0); CACHED],
            labels: [((0, 0, 0), Numbers::default()); CACHED],
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

    /// The numbers of a label, if it can have some.
    #[inline]
    pub(crate) fn label(
        &mut self,
        tables: &Tables,
        label: &'static str,
        place: Option<&'static Location<'static>>,
    ) -> Option<Numbers> {
        let (address, len) = (label.as_ptr().addr(), label.len());
        let at = place.map_or(0, |place| std::ptr::from_ref(place).addr());
        let entry = self.labels.get_mut((address ^ len ^ (at >> 3)) % CACHED)?;
        // Two labels may begin at one address, where the one is the beginning of the other.
        if entry.0 != (address, len, at) {
            *entry = ((address, len, at), tables.label(label, place)?);
        }
        Some(entry.1)
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
        let mut number = |label| {
            known
                .label(&tables, label, None)
                .map(|numbers| numbers.label)
        };
        let numbers = [whole, &whole[..4], "recv", whole].map(&mut number);
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(0)]);
        let copy: &'static str = String::from("recv").leak();
        assert_eq!(number(copy), Some(2), "the same, elsewhere");
        assert_eq!(tables.texts(), ["lock of the cart", "lock", "recv"]);
    }

    #[test]
    fn a_label_at_two_places_is_two_in_a_trace_and_one_in_metrics() {
        let tables = Tables::default();
        let mut known = Known::default();
        let [here, there] = [Location::caller(), Location::caller()];
        let mut numbers = |label, place| {
            let numbers = known.label(&tables, label, place).expect("few of them");
            (numbers.label, numbers.text)
        };
        for _ in 0..2 {
            assert_eq!(numbers("recv", None), (0, 0));
            assert_eq!(numbers("recv", Some(here)), (1, 0));
            assert_eq!(numbers("recv", Some(there)), (2, 0));
            assert_eq!(numbers("send", Some(there)), (3, 1));
        }
        assert_eq!(tables.texts(), ["recv", "send"]);
        let places: Vec<_> = tables.labels().iter().map(|label| label.place).collect();
        assert_eq!(places, [None, Some(0), Some(1), Some(1)]);
        assert_eq!(tables.places(), [here, there]);
    }

    #[test]
    fn a_place_in_a_library_is_left_out() {
        assert!(is_own("src/main.rs") && is_own("crates/shop/src/lib.rs"));
        assert!(!is_own("/rustc/5980/library/core/src/future/future.rs"));
        assert!(!is_own(
            "/home/ada/.cargo/registry/src/index/futures-0.3/src/lib.rs"
        ));
    }

    #[test]
    fn leaked_labels_do_not_fill_the_memory() {
        let tables = Tables::default();
        let mut known = Known::default();
        let many: Vec<String> = (0..LABELS_MAX + 2).map(|at| at.to_string()).collect();
        let numbers = many.into_iter().map(|label| {
            let label: &'static str = label.leak();
            known.label(&tables, label, None)
        });
        assert_eq!(numbers.flatten().count(), LABELS_MAX);
        let first = Numbers { label: 0, text: 0 };
        assert_eq!(known.label(&tables, "0", None), Some(first));
    }
}
