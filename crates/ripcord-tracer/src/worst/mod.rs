//! The worst requests of each route, each cut out of the ring as a trace of its own.
//!
//! The ring remembers the last seconds of everything. Of the slowest requests one wants little of it, and
//! for longer: the request itself, who worked for it, who woke them, and who had the workers meanwhile.
//!
//! ```text
//! an entry ends ──► is it among the worst of its route?   (routes.rs: a hash, two loads)
//!                         │ rarely
//!                         ▼
//!                  a bounded queue                         (a short lock)
//!                         │  looked at every few milliseconds
//!                         ▼
//!                  what is worse than what is kept         (run.rs)
//!                         ▼
//!                  a copy of the ring, cut                 (cut.rs: which events belong to it)
//!                         ▼
//!                  quota, temporary file, rename           (the folder of flight/)
//! ```
//!
//! # What is worse
//! | A request | ranks |
//! |---|---|
//! | whose work went on after an end had reached it, for `late` or longer | before all others, the later first |
//! | any other | by how long it lasted, the longest first |
//!
//! It begins when its context is made, and is over when the last handle of that is gone: with a task that
//! does not listen that is when the task is over. An end by a guard that goes away is none, since that is how
//! work ends that is done. Lateness comes first because it is what nobody else tells: how long a request took
//! stands in every access log.
//!
//! # What it is not
//! Not a sample: what is kept says how bad it gets, and not how often. For that there are counters, and
//! `ripcord trace` over a stream.
//!
//! # Invariants
//! 1. A task's thread never waits for the disk, and takes one lock at most, for a push.
//! 2. Names of routes come from strangers: so many are told apart, and the rest is one route.
//! 3. Each request that was noted is written, was not worse than what is kept, or is counted.
//!
//! # Why small traces
//! A dump of the ring has all of it too, and is some megabytes; three for each of fifty routes would fill a
//! disk. An extract is what `ripcord explain` looks at, and no more: it can be kept for a day, attached to a
//! report, and read by somebody who may not see the other requests. It still has names and tags of its own
//! request, and names of tasks of others: treat it as you treat logs.
//!
//! # Why a thread of its own
//! To cut takes tens of milliseconds for a full ring, and the disk may take seconds. The thread of the
//! flight recorder must see stalls meanwhile, and a task's must not wait at all.
//!
//! # Limitations
//! A request that lasts for longer than the ring remembers has an extract without its beginning. Who
//! outlives the handles of the request's context, as work that was detached from it, is not in the extract.
//! Requests that are declined where not everything is recorded (`sampling.rs`) are not ranked: of one in a
//! hundred the worst are not the worst of all.
//!
//! # Read next
//! `builder.rs`, `run.rs`, then the parts.

mod builder;
mod cut;
mod routes;
mod run;
#[cfg(test)]
mod tests;

pub use builder::{Worst, WorstBuilder};
pub(crate) use routes::Notes;
pub use run::WorstReport;
