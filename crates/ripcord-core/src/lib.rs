//! Request context for Rust: cancellation with causes, deadlines, values, hooks, shields and merges.
//!
//! This crate is the tree itself. It knows no async runtime: a context waits through
//! [`std::task::Waker`], and time comes through [`Clock`] and [`Timer`]. Services use
//! it through the `ripcord` crate, which adds the runtime side.
//!
//! ```
//! use ripcord_core::{Ctx, Kind};
//! use std::time::Duration;
//!
//! let (request, guard) = Ctx::background().named("GET /orders").child();
//! let query = request.with_timeout(Duration::from_secs(3));
//!
//! guard.cancel(Kind::PeerGone);
//! let error = query.check().unwrap_err();
//! assert_eq!(error.kind(), Kind::PeerGone);
//! ```
//!
//! # Semantics
//! * **Observe and cancel are separate rights.** A [`Ctx`] observes and derives; only a
//!   [`CancelGuard`] or a [`Canceller`] made by it cancels.
//! * **Subtree-atomic.** When `cancel` returns, every context below is done, however
//!   many there are: being done is looked up, not delivered. Wakes and hooks follow,
//!   the first few from the canceller, the rest of a large subtree from a sweeper.
//! * **A cause never changes** once it was seen.
//! * **A deadline never fires early** and never extends a parent's. It is read from the
//!   clock on each check, so a loop sees it even if no timer can run.
//!
//! # Cancel safety
//! Every future of this crate can be dropped at any point; it leaves nothing behind.
//!
//! # Costs
//! `child` is one allocation of 64 bytes and takes no lock. `is_done` takes no lock and
//! walks the contexts above that can be cancelled by themselves. `cancel` does not grow
//! with the number of descendants. Figures: `bench/README.md`.
//!
//! # Limitations
//! A waker that blocks delays the wakes behind it in the same sweep. A check costs
//! time linear in the number of cancellable contexts above.
//!
//! # Where to read next
//! `ctx.rs` (the handle), `cause.rs`, `state.rs` (the state word), `node.rs` and `block.rs`
//! (the tree),//! `eval.rs` (looking up), `link.rs` (registering), `sweep.rs` (waking), `wait.rs`,
//! `deadline.rs`, `values.rs`, `hook.rs`, `shield.rs`, `merge.rs`, `clock.rs`, `sync.rs`.

#![deny(unsafe_code)]

mod block;
mod cause;
mod clock;
mod ctx;
mod current;
mod deadline;
mod dump;
mod eval;
mod guard;
mod hook;
mod link;
mod merge;
mod node;
mod observe;
mod once;
mod panics;
mod root;
mod run;
mod shield;
mod shutdown;
mod site;
mod slots;
mod source;
mod state;
mod sweep;
mod sync;
mod values;
mod wait;

pub use cause::{Cancelled, Cause, Kind};
pub use clock::{Armed, Clock, SystemClock, ThreadTimer, Timer};
pub use ctx::{Ctx, Phase};
pub use current::Entered;
pub use deadline::Deadline;
pub use dump::{Dump, Row, dump};
pub use guard::{CancelGuard, Canceller};
pub use hook::{Hook, Stopped};
pub use merge::{Member, Shared};
pub use observe::{Info, Observer, Watch};
pub use panics::{Foreign, ForeignPanic, foreign_panics, set_panic_hook};
pub use root::Root;
pub use run::{FutureExt, Run};
pub use shield::Grace;
pub use shutdown::ShutdownPlan;
pub use source::Source;
pub use sweep::{Sweep, Sweeper};
pub use values::{Reach, Value};
pub use wait::{Done, Draining};
