//! Ring files: the memory of a recorder in a file that outlives its process, and the trace in it.
//!
//! A recorder that is told to keeps its blocks in a file that is mapped into its memory. Whatever ends the
//! process, what it has written is in the file. Such a file is no trace: it has places that are
//! used again and again, and the lengths to which they are filled. [`RingFile`] makes an ordinary trace
//! of it. The contract is `spec/ring-file.md`.
//!
//! # Read next
//! `layout.rs` (what is where), `header.rs`, `file.rs` (a file that is open), `recover.rs` (the trace).

mod error;
mod file;
mod header;
mod layout;
mod recover;

pub use error::RingError;
pub use file::{RingFile, RingState};
pub use header::RingHeader;
pub use layout::{
    RING_CONTEXT_BYTES, RING_FRAME_BYTES, RING_HEADER_BYTES, RING_LIVE_HEAD_BYTES, RING_MAGIC,
    RING_TASK_BYTES, RING_THREAD_BYTES, RingLayout, RingWord,
};
pub use recover::Recovered;
