//! Values with small keys that are used again: what is live at a time.

/// No key: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// A vector with holes.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Puts a value in; `None` if there are [`LIVE_MAX`] already.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(key) = self.free.pop() {
            *self.items.get_mut(key as usize)? = Some(value);
            return Some(key);
        }
        let key = u32::try_from(self.items.len()).ok()?;
        if key >= LIVE_MAX {
            return None;
        }
        self.items.push(Some(value));
        Some(key)
    }

    #[inline]
    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        self.items.get(key as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.items.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.items.get_mut(key as usize)?.take()?;
        self.free.push(key);
        Some(value)
    }

    /// By key, the smallest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let keys = 0..;
        keys.zip(&self.items)
            .filter_map(|(key, item)| Some((key, item.as_ref()?)))
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> Vec<u32> {
        self.iter().map(|(key, _)| key).collect()
    }
}

/// So many tasks, or contexts, are followed at a time. A trace that has more of them is hostile, or of
/// a program whose memory is full of nothing else.
const LIVE_MAX: u32 = 1 << 22;
