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
//! # How to
//! **Stop a loop that computes.** Ask in the loop; it needs no runtime and no timer.
//!
//! ```
//! # use ripcord_core::Ctx;
//! let (ctx, guard) = Ctx::background().child();
//! let mut rounds = 0;
//! while !ctx.is_done() {
//!     rounds += 1;
//!     if rounds == 3 {
//!         guard.cancel("found what was looked for");
//!     }
//! }
//! assert_eq!(rounds, 3);
//! ```
//!
//! **Stop a thread that waits.** [`Ctx::wait`], [`Ctx::wait_timeout`] and [`Ctx::sleep`] park
//! it until then.
//!
//! ```
//! # use ripcord_core::{Ctx, Kind};
//! let (ctx, guard) = Ctx::background().child();
//! let worker = std::thread::spawn(move || ctx.wait());
//! guard.cancel(Kind::Shutdown);
//! assert_eq!(worker.join().expect("no panic").kind(), Kind::Shutdown);
//! ```
//!
//! **Share one deadline between several steps.** A timeout for each step would add up; an
//! instant of the tree's clock does not. What is left is there to be handed on.
//!
//! ```
//! # use ripcord_core::Ctx;
//! # use std::time::Duration;
//! let ctx = Ctx::background();
//! let end = ctx.clock_now() + Duration::from_secs(5);
//! let (fetch, store) = (ctx.with_deadline(end), ctx.with_deadline(end));
//! assert_eq!(fetch.deadline().map(|deadline| deadline.at()), Some(end));
//! assert!(store.remaining() <= Some(Duration::from_secs(5)));
//! ```
//!
//! **Let work outlive its request.** A [shield](Ctx::shield) lasts for a grace beyond the end,
//! for an undo or a commit; a [detached](Ctx::detach) context has only the end that it is given.
//!
//! ```
//! # use ripcord_core::Ctx;
//! # use std::time::Duration;
//! let (request, guard) = Ctx::background().named("request").child();
//! let undo = request.shield(Duration::from_secs(2));
//! let audit = request.detach().with_timeout(Duration::from_secs(30));
//! drop(guard);
//! assert!(request.is_done() && !undo.is_done() && !audit.is_done());
//! assert_eq!(audit.name(), Some("request"), "values and names go along");
//! ```
//!
//! **End with the request or with something else.** [Merge](Ctx::merge) the two; a token of
//! another library becomes a context through a [`Source`].
//!
//! **Test what depends on time.** A tree reads the clock of its [`Root`] and no other; the
//! `ripcord-test` crate has one that is moved by hand.
//!
//! ```
//! # use std::time::Duration;
//! let clock = ripcord_test::TestClock::new();
//! let (ctx, _guard) = clock.ctx();
//! let call = ctx.with_timeout(Duration::from_secs(60));
//! clock.advance(Duration::from_secs(59));
//! assert!(call.check().is_ok());
//! clock.advance(Duration::from_secs(1));
//! assert!(call.check().unwrap_err().is_deadline());
//! ```
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
//! (the tree), `eval.rs` (looking up), `link.rs` (registering), `sweep.rs` (waking), `wait.rs`,
//! `deadline.rs`, `values.rs`, `hook.rs`, `shield.rs`, `merge.rs`, `clock.rs`, `sync.rs`.

#![deny(unsafe_code)]

mod alarm;
mod block;
mod cause;
mod clock;
mod ctx;
mod current;
mod deadline;
mod default_observer;
mod depth;
mod derive;
mod dump;
mod entry;
mod eval;
mod guard;
mod hook;
mod lent;
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
pub mod tasks;
mod values;
mod wait;

pub use cause::{Cancelled, Cause, Kind};
pub use clock::{Armed, Clock, Disarm, SystemClock, ThreadTimer, Timer};
pub use ctx::{Ctx, Phase};
pub use current::Entered;
pub use deadline::Deadline;
pub use default_observer::set_default_observer;
pub use derive::Derive;
pub use dump::{Dump, Row, dump};
pub use entry::Entry;
pub use guard::{CancelGuard, Canceller};
pub use hook::{Hook, Stopped};
pub use merge::{Member, Shared};
pub use observe::{Counted, Detail, Info, InfoKind, Observer, Watch};
pub use panics::{Foreign, ForeignPanic, contain, foreign_panics, set_panic_hook};
pub use root::Root;
pub use run::{FutureExt, Run};
pub use shield::Grace;
pub use shutdown::ShutdownPlan;
pub use source::Source;
pub use sweep::{Sweep, Sweeper};
pub use values::{Reach, Value};
pub use wait::{Done, Draining};
