//! A map from small numbers, as the slots of tasks are, that a hostile number cannot blow up.
//!
//! *Costs*: an index into a vector for the numbers below a limit, a hash for those beyond.

use std::collections::HashMap;

/// Values by number; the small numbers are an index.
#[derive(Clone, Debug)]
pub(crate) struct Slots<T> {
    dense: Vec<Option<T>>,
    sparse: HashMap<u64, T, foldhash::fast::RandomState>,
}

/// Numbers from here on are hashed. A recorder gives slots and table numbers from 0 on.
const DENSE_MAX: u64 = 1 << 20;

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            dense: Vec::new(),
            sparse: HashMap::default(),
        }
    }
}

impl<T> Slots<T> {
    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        match dense(number) {
            Some(at) => self.dense.get(at)?.as_ref(),
            None => self.sparse.get(&number),
        }
    }

    /// Puts a value in, and gives back the one that was there.
    #[inline]
    pub(crate) fn insert(&mut self, number: u64, value: T) -> Option<T> {
        match self.place(number) {
            Ok(place) => place.replace(value),
            Err(sparse) => sparse.insert(number, value),
        }
    }

    /// The value, which is made if there is none.
    #[inline]
    pub(crate) fn entry(&mut self, number: u64, make: impl FnOnce() -> T) -> &mut T {
        match self.place(number) {
            Ok(place) => place.get_or_insert_with(make),
            Err(sparse) => sparse.entry(number).or_insert_with(make),
        }
    }

    /// By number, the smallest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let mut sparse: Vec<_> = self.sparse.iter().map(|(at, value)| (*at, value)).collect();
        sparse.sort_unstable_by_key(|(at, _)| *at);
        let dense = (0..).zip(&self.dense);
        dense
            .filter_map(|(at, value)| Some((at, value.as_ref()?)))
            .chain(sparse)
    }

    /// The place of a small number, or the map of the others.
    #[inline]
    fn place(
        &mut self,
        number: u64,
    ) -> Result<&mut Option<T>, &mut HashMap<u64, T, foldhash::fast::RandomState>> {
        let Some(at) = dense(number) else {
            return Err(&mut self.sparse);
        };
        if at >= self.dense.len() {
            self.dense.resize_with(at + 1, || None);
        }
        Ok(&mut self.dense[at])
    }
}

/// The index of a small number.
#[inline]
fn dense(number: u64) -> Option<usize> {
    if number < DENSE_MAX {
        usize::try_from(number).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_huge_numbers_are_kept_apart_and_in_order() {
        let mut slots = Slots::default();
        for number in [u64::MAX, 3, DENSE_MAX, 0] {
            assert_eq!(slots.insert(number, number), None);
        }
        *slots.entry(3, || unreachable!("it is there")) += 1;
        assert_eq!(slots.get(2), None);
        assert_eq!(slots.get(u64::MAX), Some(&u64::MAX));
        let all: Vec<_> = slots.iter().map(|(at, value)| (at, *value)).collect();
        assert_eq!(
            all,
            [(0, 0), (3, 4), (DENSE_MAX, DENSE_MAX), (u64::MAX, u64::MAX)]
        );
        // Nothing was allocated for the numbers between.
        assert_eq!(slots.dense.len(), 4);
    }
}
