//! A trace of what a recorder remembers and of what lives now.
//!
//! # Order
//! The register is copied before the ring, so whoever is spawned in between is in the ring, and whoever
//! ends in between is in both. What stands in a trace is said in docs/internals/recording.md.
//!
//! # Consistency
//! Nothing is stopped. A dump is therefore not one moment but a short while; what a reader
//! may rely on is the order in each thread, and that all that is live at the end of that
//! while has a beginning in the trace.
//!
//! # Costs
//! Memory for a copy of the ring, and time for one pass over it. Nobody who records waits
//! for any of this.

use crate::output::{Live, Output, Totals, live, name_stacks};
use crate::shared::Shared;
use std::io::{self, Write};
use std::sync::Arc;

/// What a dump has written.
///
/// # Examples
/// ```
/// let recorder = ripcord_tracer::Recorder::builder().build();
/// let dumped = recorder.dump(&mut Vec::new())?;
/// assert_eq!((dumped.events, dumped.tasks, dumped.contexts), (0, 0, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Dumped {
    /// Events of the ring.
    pub events: u64,
    /// Bytes of these events.
    pub event_bytes: u64,
    /// Bytes of the whole trace.
    pub bytes: u64,
    /// Tasks and jobs that were live.
    pub tasks: u64,
    /// Contexts that were live.
    pub contexts: u64,
}

/// Writes a dump; the function behind [`Recorder::dump`](crate::Recorder::dump).
///
/// # Errors
/// What `out` says. What was written until then is a trace without its end, which readers
/// accept.
pub(crate) fn write(shared: &Arc<Shared>, out: &mut dyn Write) -> io::Result<Dumped> {
    name_stacks(shared);
    let mut out = Counted { out, bytes: 0 };
    let mut output = Output::new(shared, &mut out)?;
    let live = live(shared);
    let copies = shared.ring.snapshot();
    let mut dumped = Dumped::default();
    for (_, live) in &live {
        match live {
            Live::Task(..) => dumped.tasks += 1,
            Live::Context(..) => dumped.contexts += 1,
        }
    }
    let now = shared.clock.read();
    output.window_start(&[shared.clock.at_start(), now])?;
    output.tables(shared)?;
    let mut totals = Totals::new();
    for copy in copies {
        output.copy(&copy)?;
        let events = u64::from(copy.events);
        *totals.entry(copy.thread).or_default() += events;
        dumped.events += events;
        dumped.event_bytes += copy.bytes.len() as u64;
    }
    output.threads(shared)?;
    output.registry(&live)?;
    output.window_end(shared, now, &totals)?;
    output.writer.finish()?;
    dumped.bytes = out.bytes;
    Ok(dumped)
}

/// Counts what goes out.
struct Counted<'a> {
    /// Where the bytes go.
    out: &'a mut dyn Write,
    /// How many it has taken so far.
    bytes: u64,
}

impl Write for Counted<'_> {
    /// Counts what was taken, which may be less than was offered.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    /// Passes it on.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
