//! Records what contexts and tasks do, in bounded memory and without ever blocking them.
//!
//! What is here so far is the memory of a recorder: threads write their events into blocks of their
//! own ([`Writer`]), one [`Ring`] keeps the last so many blocks of all threads, and whoever wants to know
//! copies it at any time ([`Ring::snapshot`]). What an event is, and what becomes of a copy, is for
//! others to say: here events are bytes.
//!
//! ```
//! use ripcord_tracer::Ring;
//! use std::thread;
//!
//! // A mebibyte of history.
//! let ring = Ring::new(64, 16 * 1024);
//! thread::scope(|scope| {
//!     for number in 0..2_u8 {
//!         let mut writer = ring.writer(number.into());
//!         scope.spawn(move || {
//!             for tick in 0..1_000 {
//!                 writer.write(tick, |room, before| {
//!                     // An encoder of one's own: here the thread, and the ticks that went by.
//!                     let passed = u8::try_from(tick - before).unwrap_or(u8::MAX);
//!                     room.get_mut(..2)?.copy_from_slice(&[number, passed]);
//!                     Some(2)
//!                 });
//!             }
//!         });
//!     }
//! });
//! let events: u32 = ring.snapshot().iter().map(|copy| copy.events).sum();
//! assert_eq!(events, 2_000);
//! ```
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
//! # How large
//! Large enough for the longest thing that is to be explained. An event of a task takes about four
//! bytes, and a request a dozen of them: a service with 10,000 requests a second fills half a mebibyte in
//! one, so that 16 MiB are half a minute. A ring with fewer blocks than threads evicts blocks in use.
//!
//! # Limitations
//! All threads share one age: a thread that writes much makes the others forget sooner. What was
//! written to a block that the ring has taken away in that very moment is lost, and counted. Nothing
//! of it outlives the process.
//!
//! # Where to read next
//! `block.rs` (one writer, many readers), `ring.rs` (places, eviction, accounting), `sync.rs`.

#![cfg_attr(ripcord_loom, allow(dead_code, reason = "models use a part"))]

mod block;
mod ring;
mod sync;

pub use ring::{Copy, Gone, Ring, Writer};
