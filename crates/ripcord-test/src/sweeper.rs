//! [`InlineSweeper`]: large sweeps and hooks of deadlines run at once, on the same thread.

use ripcord_core::{Sweep, Sweeper};

/// Runs what a cancel or a deadline leaves over at once, on the calling thread.
///
/// Without it the core hands the rest of a large sweep, and every hook of a context
/// that ended by its deadline, to a thread of its own; a test would have to wait for
/// that. [`TestClock::root`](crate::TestClock::root) chooses it.
///
/// It waives the bound on the cost of a cancel, so it is for tests only.
///
/// # Costs
/// All of the sweep, on the thread that cancels or moves the clock.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_test::InlineSweeper;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let (ctx, guard) = Ctx::root().sweeper(Arc::new(InlineSweeper)).build();
/// let ran = Arc::new(AtomicUsize::new(0));
/// let hooks: Vec<_> = (0..1_000)
///     .map(|_| {
///         let ran = Arc::clone(&ran);
///         ctx.on_done(move |_| drop(ran.fetch_add(1, Ordering::Relaxed)))
///     })
///     .collect();
/// guard.cancel("no more than a test");
/// assert_eq!(ran.load(Ordering::Relaxed), hooks.len());
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct InlineSweeper;

impl Sweeper for InlineSweeper {
    fn hand_over(&self, sweep: Sweep) {
        sweep.run();
    }
}
