//! What an analysis is asked: thresholds, how much to keep, and which requests matter.

use std::time::Duration;

/// What to look for, and how much of it to keep.
///
/// # Examples
/// ```
/// use ripcord_analysis::{Options, Select};
/// use std::time::Duration;
///
/// let options = Options::default().late(Duration::from_millis(50)).select(Select::tag("8f3"));
/// assert_eq!(options.late_min, Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// An end is late from here on. Timers of runtimes are late by a millisecond or two.
    pub late_min: Duration,
    /// A poll is long from here on.
    pub long_poll: Duration,
    /// A task that is alive at the end of the trace is a leak at this age.
    pub leak_age: Duration,
    /// So many late ends are kept in full, the latest of them; all are counted.
    pub worst: usize,
    /// So many tasks and contexts are kept one by one; all are counted.
    pub listed: usize,
    /// Contexts that are kept, with their ends, whatever happened to them.
    pub selected: Vec<Select>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            late_min: Duration::from_millis(10),
            long_poll: Duration::from_millis(10),
            leak_age: Duration::from_secs(1),
            worst: 100,
            listed: 10_000,
            selected: Vec::new(),
        }
    }
}

impl Options {
    /// The same, with another threshold of being late.
    #[must_use]
    pub const fn late(mut self, min: Duration) -> Self {
        self.late_min = min;
        self
    }

    /// The same, and keeps this one in any case.
    #[must_use]
    pub fn select(mut self, select: Select) -> Self {
        self.selected.push(select);
        self
    }
}

/// Which contexts are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Select {
    /// The one with this id.
    Ctx(u64),
    /// Those with a tag of this text; of this key, if one is named.
    Tag {
        /// The key, such as `request.id`.
        key: Option<String>,
        /// The text.
        text: String,
    },
}

impl Select {
    /// Those with a tag of this text, whatever its key.
    #[must_use]
    pub fn tag(text: impl Into<String>) -> Self {
        Self::Tag {
            key: None,
            text: text.into(),
        }
    }
}
