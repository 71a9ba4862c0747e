//! The door to time: tokio's clock, which tests can pause.

use std::time::Instant;
use tokio::runtime::Handle;

/// The current instant by the clock of a runtime.
pub(crate) fn now(
    #[allow(unused_variables, reason = "used with `test-util`")] handle: &Handle,
) -> Instant {
    // With a clock that can be paused, which one counts depends on the thread.
    #[cfg(feature = "test-util")]
    let _entered = handle.enter();
    tokio::time::Instant::now().into_std()
}
