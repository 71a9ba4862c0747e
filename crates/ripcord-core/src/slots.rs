//! [`Slots`]: a list with O(1) insert and remove by key, first element in place.
//!
//! Most contexts have one waiter and most parents few children, so the first
//! element needs no allocation. Keys are reused; whoever holds one removes it
//! at most once.
//!
//! # Costs
//! Insert and remove: O(1), amortised over the growth of one `Vec`. The memory of
//! the list is given back when it becomes empty.
//!
//! # Invariants
//! 1. `rest` is there only while it holds an element, so `is_empty` needs no count.
//! 2. A place is on the free list once at most, and only while it is empty. The list stands
//!    beside the places, not in them: a place for a pointer is then no larger than the pointer.
//! 3. A key stays valid until its element is removed; then it may be given out again.

/// A key of an element: its place in the list.
pub(crate) type Key = u32;

/// The key of no element.
pub(crate) const NONE: Key = Key::MAX;

/// The key of the element that is stored in place.
const FIRST: Key = 0;

/// A list of `T` with stable keys.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    first: Option<T>,
    rest: Option<Box<Rest<T>>>,
}

/// What does not fit in place; there only while it holds something.
#[derive(Debug)]
struct Rest<T> {
    slots: Vec<Option<T>>,
    free: Vec<Key>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    /// Adds `value` and returns its key.
    ///
    /// # Panics
    /// If there are 2^32 elements at a time.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if self.first.is_none() {
            self.first = Some(value);
            return FIRST;
        }
        let rest = self.rest.get_or_insert_with(|| {
            Box::new(Rest {
                slots: Vec::new(),
                free: Vec::new(),
                len: 0,
            })
        });
        rest.len += 1;
        let Some(key) = rest.free.pop() else {
            rest.slots.push(Some(value));
            return Key::try_from(rest.slots.len())
                .ok()
                .filter(|key| *key != NONE)
                .expect("fewer than 2^32 registrations on one context");
        };
        rest.slots[key as usize - 1] = Some(value);
        key
    }

    /// Removes the element of `key`; `None` if it is not there (any more).
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        if key == FIRST {
            return self.first.take();
        }
        let rest = self.rest.as_mut()?;
        let value = rest.slots.get_mut(key as usize - 1)?.take()?;
        rest.len -= 1;
        if rest.len == 0 {
            self.rest = None;
        } else {
            rest.free.push(key);
        }
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if key == FIRST {
            return self.first.as_mut();
        }
        let slots = &mut self.rest.as_mut()?.slots;
        slots.get_mut(key as usize - 1)?.as_mut()
    }

    /// The first element at or after `key`, with its own key.
    ///
    /// For walks that give up the lock between two elements: what is inserted meanwhile at a
    /// lower key is missed, what was there all the time is not.
    pub(crate) fn next_from(&self, key: Key) -> Option<(Key, &T)> {
        if key == FIRST
            && let Some(value) = &self.first
        {
            return Some((FIRST, value));
        }
        let slots = &self.rest.as_ref()?.slots;
        let start = key.max(1) as usize - 1;
        slots
            .iter()
            .enumerate()
            .skip(start)
            .find_map(|(at, slot)| Some((u32::try_from(at + 1).unwrap_or(NONE), slot.as_ref()?)))
    }

    /// Takes the element if it is the only one, and stored in place.
    pub(crate) fn take_only(&mut self) -> Option<T> {
        if self.rest.is_none() {
            self.first.take()
        } else {
            None
        }
    }

    /// Takes the last element in the order of keys.
    ///
    /// For lists that are only emptied: it forgets the free list, so keys that are given out after
    /// a `pop` may leave holes unused until the list is empty.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let Some(rest) = &mut self.rest else {
            return self.first.take();
        };
        loop {
            match rest.slots.pop() {
                Some(Some(value)) => {
                    rest.len -= 1;
                    // The free list may name places that are gone: it ends with the list.
                    rest.free.clear();
                    if rest.len == 0 {
                        self.rest = None;
                    }
                    return Some(value);
                }
                Some(None) => {}
                None => {
                    self.rest = None;
                    return self.first.take();
                }
            }
        }
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let rest = self.rest.map_or_else(Vec::new, |rest| rest.slots);
        self.first.into_iter().chain(rest.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_reused_and_removed_once() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..4).map(|n| slots.insert(n)).collect();
        assert_eq!(keys, [0, 1, 2, 3]);
        assert_eq!(slots.remove(2), Some(2));
        assert_eq!(slots.remove(2), None);
        assert_eq!(slots.insert(9), 2);
        assert_eq!(slots.remove(0), Some(0));
        assert_eq!(slots.next_from(0), Some((1, &1)));
        assert_eq!(slots.insert(7), 0);
        assert_eq!(slots.len(), 4);
        assert_eq!(slots.into_values().collect::<Vec<_>>(), [7, 1, 9, 3]);
    }

    #[test]
    fn an_emptied_list_holds_no_memory() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..100).map(|n| slots.insert(n)).collect();
        for key in keys {
            assert!(slots.remove(key).is_some());
        }
        assert!(slots.is_empty());
        assert!(slots.rest.is_none());
        assert_eq!(slots.insert(1), 0);
        assert_eq!(slots.insert(2), 1);
    }

    #[test]
    fn pop_takes_everything_in_reverse() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..5).map(|n| slots.insert(n)).collect();
        slots.remove(keys[3]);
        let taken: Vec<i32> = std::iter::from_fn(|| slots.pop()).collect();
        assert_eq!(taken, [4, 2, 1, 0]);
        assert!(slots.is_empty());
    }

    #[test]
    fn walking_skips_holes() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..6).map(|n| slots.insert(n)).collect();
        for at in [0, 2, 3] {
            slots.remove(keys[at]);
        }
        let mut seen = Vec::new();
        let mut cursor = 0;
        while let Some((key, value)) = slots.next_from(cursor) {
            seen.push(*value);
            cursor = key + 1;
        }
        assert_eq!(seen, [1, 4, 5]);
    }
}
