//! Records what contexts and tasks do, in bounded memory and without ever blocking them.
//!
//! A [`Recorder`] is an observer of trees of contexts. It remembers the last so many megabytes of what
//! happened in them, of all threads, and writes that as a trace whenever somebody asks for it: which
//! task was spawned where, when it ran, what it waited for, who woke it, which context ended and why, who
//! noticed, and who did not. `ripcord explain` says of such a trace why a cancel was late.
//!
//! ```
//! use ripcord_core::{Ctx, Kind};
//! use ripcord_tracer::Recorder;
//!
//! let recorder = Recorder::builder().program("shop").build();
//! let (root, _guard) = Ctx::root().observer(recorder.observer()).build();
//! let (request, guard) = root.named("request").child();
//! guard.cancel(Kind::PeerGone);
//! assert!(request.check().is_err());
//!
//! let mut trace = Vec::new(); // Or a file.
//! recorder.dump(&mut trace)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Tasks are told by an adapter of a runtime, such as `ripcord-tokio`; what a trace holds is said in
//! `spec/trace-format.md`. Beneath is a [`Ring`] of bytes, which can be used alone.
//!
//! # Guarantees
//! * A thread that writes waits for nobody: not for other threads, and not for a snapshot.
//! * A snapshot has whole events only, of each thread in order and without a gap, unless the ring was
//!   filled once while it was taken.
//! * Each event is in the ring, or counted as evicted or as lost ([`Ring::gone`]).
//!
//! # How it works
//!
//! ```text
//! thread 1 ── writer ──► block ─┐                        ┌─► snapshot: copies what is published
//! thread 2 ── writer ──► block ─┼─► ring of places ──────┤
//! thread 3 ── writer ──► block ─┘   (pointers)           └─► a newer block takes the place
//! ```
//!
//! A block has one writer, so that an event needs no lock and no read-modify-write: its bytes are
//! written behind those that are published, and one store publishes them. Readers look only at what is
//! published. Blocks are handed from thread to thread by the ring, one lock and one exchange for each
//! 16 KiB, and are used again only by who finds that nobody else has them.
//!
//! # Costs
//! An event is a load, its encoding, and a store. Memory is that of the ring and at most two blocks more for
//! each thread that records. A snapshot copies the ring.
//!
//! # What outlives the process
//! Nothing, unless the recorder is built in a file (`Builder::build_in`), with the feature `ring-file` on
//! unix: then the last events of a process that was killed are there, with what lived, and
//! `ripcord trace recover` makes a trace of them.
//!
//! # How large
//! Large enough for the longest thing that is to be explained. An event of a task takes about four
//! bytes, and a request a dozen of them: a service with 10,000 requests a second fills half a mebibyte in
//! one, so that 16 MiB are half a minute. A ring with fewer blocks than threads evicts blocks in use.
//!
//! # Limitations
//! All threads share one age: a thread that writes much makes the others forget sooner. What was
//! written to a block that the ring has taken away in that very moment is lost, and counted.
//!
//! # Where to read next
//! `block.rs` (one writer, many readers), `ring.rs` (places, eviction, accounting), `sync.rs`; then
//! `recorder.rs`, `local.rs` (what a thread has), `tasks.rs` and `contexts.rs` (what becomes which
//! event), `slots.rs` (what lives), `dump.rs`.

#![cfg_attr(ripcord_loom, allow(dead_code, reason = "models use a part"))]

mod background;
mod block;
mod memory;
mod ring;
mod sync;

// The models are of the ring alone.
#[cfg(not(ripcord_loom))]
mod clock;
#[cfg(not(ripcord_loom))]
mod contexts;
#[cfg(not(ripcord_loom))]
mod dump;
#[cfg(not(ripcord_loom))]
mod flight;
#[cfg(not(ripcord_loom))]
mod live;
#[cfg(not(ripcord_loom))]
mod local;
#[cfg(not(ripcord_loom))]
mod losses;
#[cfg(not(ripcord_loom))]
mod metrics;
#[cfg(not(ripcord_loom))]
mod output;
#[cfg(not(ripcord_loom))]
mod packer;
#[cfg(not(ripcord_loom))]
mod recorder;
#[cfg(not(ripcord_loom))]
mod sampling;
#[cfg(not(ripcord_loom))]
mod settings;
#[cfg(not(ripcord_loom))]
mod shared;
#[cfg(not(ripcord_loom))]
mod slots;
#[cfg(not(ripcord_loom))]
mod stacks;
#[cfg(not(ripcord_loom))]
mod stream;
#[cfg(not(ripcord_loom))]
mod tables;
#[cfg(not(ripcord_loom))]
mod tasks;
#[cfg(not(ripcord_loom))]
mod trigger;
#[cfg(not(ripcord_loom))]
mod usdt;
#[cfg(not(ripcord_loom))]
mod watch;
#[cfg(not(ripcord_loom))]
mod worst;

#[cfg(not(ripcord_loom))]
pub use dump::Dumped;
#[cfg(not(ripcord_loom))]
pub use flight::{Flight, FlightBuilder, FlightDump, FlightReport, Suppressed};
#[cfg(not(ripcord_loom))]
pub use losses::Losses;
#[cfg(all(feature = "ring-file", unix, not(ripcord_loom)))]
pub use memory::RingFileError;
#[cfg(not(ripcord_loom))]
pub use metrics::{
    Blocked, EndedBy, Histogram, Outcomes, PollEnds, SchedTrace, SchedTraceBuilder, Snapshot, Wakes,
};
#[cfg(not(ripcord_loom))]
pub use recorder::{Builder, Mode, Recorder};
pub use ring::{Copy, Gone, Ring, Writer};
#[cfg(not(ripcord_loom))]
pub use settings::{SchedSettings, Settings, SettingsError};
#[cfg(not(ripcord_loom))]
pub use stream::{Stream, Streamed};
#[cfg(not(ripcord_loom))]
pub use trigger::Reason;
#[cfg(not(ripcord_loom))]
pub use watch::{Watch, WatchBuilder};
#[cfg(not(ripcord_loom))]
pub use worst::{Worst, WorstBuilder, WorstReport};
