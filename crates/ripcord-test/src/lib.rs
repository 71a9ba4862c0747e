//! Test kit for ripcord: test clock, sequencer, poll driver, model oracle.

#![forbid(unsafe_code)]

mod clock;
mod lock;
mod sweeper;

pub use clock::TestClock;
pub use sweeper::InlineSweeper;
