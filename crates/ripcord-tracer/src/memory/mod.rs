//! The memory of a recorder in a file, so that it outlives the process: [`RingMemory`].
//!
//! The blocks of the ring are in a file that is mapped into memory, and beside them what a dump would ask
//! the process for: tables, threads, what lives. A process that is killed leaves a file of which
//! `ripcord trace recover` makes a trace. The bytes are said in `spec/ring-file.md`.
//!
//! # Invariants
//! 1. The recorder believes nothing that it reads from the file: lengths and heads of blocks are kept in
//!    the process as well, and what is in the file is for others. Whoever writes there garbles a trace.
//! 2. Whatever the instant of the end is, what the file says is told is whole: the bytes are written
//!    before the word that says so.
//! 3. The file has all of its room on the disk before it is mapped.
//!
//! # Why Release is enough
//! A process that is killed has done each thread's stores up to some instruction of that thread, in the
//! order of the program as the compiler has left it. So only the compiler could put the word before the
//! bytes, and a Release store forbids that. Nothing here is for the end of the machine.
//!
//! # What a kill leaves, by where it comes
//! | The thread was | the file has |
//! |---|---|
//! | encoding an event | the bytes without the length that would publish them: the event is none |
//! | between the two stores of the length | the same: the process knew of one event more |
//! | making a block its own | a block that is not in the ring, with the head of its next owner or the last |
//! | putting a block into the ring | both it and the one in whose place it came, or neither of the two |
//! | telling of a new context | a record without a length: nobody's. Its `ctx_create` is not written yet |
//! | ending one | its `ctx_end`, and its record: it is told as live too, as in a dump that is taken then |
//! | reading the clocks | the reading before |
//! | appending to the tables | bytes behind their length; no event has the number yet |
//! | closing the recorder | one that is closed, or one that is not: its events are the same |
//!
//! # What a kill takes
//! Await stacks that wait for their names: they are addresses in a process that is gone. What threads had
//! counted as lost is there for each thread; what was counted for the recorder as a whole is not.
//!
//! # Costs
//! A store more for each event. A new context or task is encoded twice, for its record.
//!
//! # Limitations
//! Who cuts the file off while it is mapped ends the process (`SIGBUS`), as with every mapped file.
//! On a disk the kernel may let a thread wait when it writes to a page that is on its way there: a file in
//! memory, as in `/dev/shm`, has none of that, and outlives everything but the machine. The first touch of
//! each page is a fault, as with fresh memory of the heap.
//!
//! # What was left out
//! *A header with a checksum for each block*: it would have to be written with each event, or be wrong
//! at the end; whoever recovers reckons it. *Only the word in the file, and none in the process*: the
//! recorder would have to believe the file. *A thread that copies the ring to a file now and then*: what
//! came last would be missing, and that is what somebody looks for after a crash.
//!
//! # Read next
//! `mapping.rs` (bytes of a file as memory), `place.rs` (whose file it is), `file.rs` (what is where),
//! `records.rs` (what lives), `absent.rs` (where there is none).

#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
mod error;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
mod file;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
mod mapping;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
mod place;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
mod records;

#[cfg(not(all(feature = "ring-file", unix, not(ripcord_loom))))]
mod absent;

#[cfg(not(all(feature = "ring-file", unix, not(ripcord_loom))))]
#[cfg_attr(
    ripcord_loom,
    allow(unused_imports, reason = "models have no threads of a recorder")
)]
pub(crate) use absent::{Frame, RingMemory, ThreadPlace};
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
pub use error::RingFileError;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
pub(crate) use file::{About, Frame, RingMemory, ThreadPlace};
