//! What the tests share: a carrier that is not HTTP's, and short words for what many tests say.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]

mod fields;
mod recorder;

pub(crate) use fields::Fields;
pub(crate) use recorder::{Event, Moment, Recorder};

use ripcord_core::Ctx;
use ripcord_propagation::{Builder, Incoming, PeerPolicy, Propagation};
use ripcord_test::TestClock;
use std::time::Duration;

/// A trace of the W3C's own examples, sampled and not known to be random.
pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub(crate) const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const SPAN_ID: &str = "00f067aa0ba902b7";

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The defaults and what a test changes of them.
#[track_caller]
pub(crate) fn built(change: impl FnOnce(Builder) -> Builder) -> Propagation {
    change(Propagation::builder())
        .build()
        .expect("a configuration that is good")
}

/// What the defaults read from these lines.
pub(crate) fn extract(lines: &[(&str, &str)]) -> Incoming {
    Propagation::default().extract(&Fields::of(lines))
}

/// What goes out from this context.
#[track_caller]
pub(crate) fn injected(propagation: &Propagation, ctx: &Ctx, peer: &PeerPolicy) -> Fields {
    let mut fields = Fields::default();
    let sent = propagation.inject(ctx, peer, &mut fields);
    assert!(sent.is_ok(), "{sent:?}");
    fields
}

/// A context on a clock that stands still, of a request with these lines.
pub(crate) fn request(propagation: &Propagation, lines: &[(&str, &str)]) -> (Ctx, TestClock) {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    guard.disarm();
    let ctx = propagation.extract(&Fields::of(lines)).context(&root);
    (ctx, clock)
}
