//! Says every now and then how far the run is.

use super::load::{Load, Outcome};
use super::report::percent;
use super::watch::Watch;
use crate::printer::Printer;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Waits for `until` and shows how far the load is meanwhile.
pub(super) async fn show_until(
    printer: &Printer,
    load: &Load,
    watch: &Watch,
    seconds: u64,
    until: impl Future<Output = ()>,
) {
    let every = if printer.is_updating() {
        Duration::from_millis(100)
    } else {
        Duration::from_secs(2)
    };
    let start = Instant::now();
    let mut until = pin!(until);
    while timeout(every, until.as_mut()).await.is_err() {
        let stats = load.stats();
        let (done, ok) = (stats.total(), stats.of(Outcome::Ok));
        let faults: u64 = stats.injected.values().sum();
        printer.progress(format_args!(
            "{:.1} s of {seconds} s · {done} requests · {} ok · {faults} faults · {} overdue now",
            start.elapsed().as_secs_f64(),
            percent(ok, done),
            watch.overdue_now(),
        ));
    }
}
