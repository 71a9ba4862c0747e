//! What a recorder does not have: [`Losses`].
//!
//! Nothing is lost in silence: whatever cannot be written is counted here, by the reason.

#[cfg(doc)]
use crate::recorder::{Builder, Recorder};

/// What a recorder does not remember, each kind counted since it was made.
///
/// # Examples
/// ```
/// let losses = ripcord_tracer::Losses::default();
/// assert_eq!((losses.lost, losses.unplaced), (0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Losses {
    /// Events that made room for newer ones, as is meant.
    pub evicted: u64,
    /// Events that found no place in the ring, or stood in a block that was evicted meanwhile.
    pub lost: u64,
    /// Events of a thread that was writing another event, or was being torn down.
    pub unwritten: u64,
    /// Tasks and contexts beyond [`Builder::live_max`]: no event tells of them.
    pub unplaced: u64,
    /// Await stacks beyond the 1,024 that wait for their names, and those whose naming has panicked.
    pub stacks: u64,
    /// Ends of contexts beyond the 4,096 that wait for a [`watch`](Recorder::watch): their tasks were not
    /// asked where they wait.
    pub overlooked: u64,
    /// Blocks that had no place in the ring file of the recorder: dumps have their events,
    /// and the file has not.
    pub outside: u64,
}
