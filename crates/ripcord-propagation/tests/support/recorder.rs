//! An observer that writes down what it is told, and panics where a test wants it to.

#![allow(clippy::disallowed_types, reason = "outside every model")]

use ripcord_core::{Cause, Ctx, Kind};
use ripcord_propagation::{Call, CallObserver, CallRecord, Carried, End, Ending, Side};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing that an observer was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Start(Side, String, Option<Duration>),
    Attach,
    Routed(String),
    Answered(u16),
    Cancelled(Kind),
    End {
        ending: Ending,
        cause: Option<Kind>,
        status: Option<u16>,
        error: Option<String>,
        took: Duration,
        latency: Option<Duration>,
    },
}

/// Where a recorder panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    Start,
    Attach,
    Routed,
    Answered,
    Cancelled,
    End,
    Drop,
}

impl Moment {
    pub(crate) const ALL: [Self; 7] = [
        Self::Start,
        Self::Attach,
        Self::Routed,
        Self::Answered,
        Self::Cancelled,
        Self::End,
        Self::Drop,
    ];
}

/// Clones tell the same list.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    told: Arc<Mutex<Vec<Event>>>,
    /// Calls that began and have not ended.
    in_flight: Arc<AtomicI64>,
    panics_at: Option<Moment>,
}

impl Recorder {
    pub(crate) fn panicking(at: Moment) -> Self {
        Self {
            panics_at: Some(at),
            ..Self::default()
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn CallObserver> {
        Arc::new(self.clone())
    }

    pub(crate) fn told(&self) -> Vec<Event> {
        self.list().clone()
    }

    /// How each call ended, and of what cause.
    pub(crate) fn ends(&self) -> Vec<(Ending, Option<Kind>)> {
        let end = |event: &Event| match event {
            Event::End { ending, cause, .. } => Some((*ending, *cause)),
            _ => None,
        };
        self.list().iter().filter_map(end).collect()
    }

    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Event>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, moment: Moment, event: Event) {
        self.list().push(event);
        self.panic_at(moment);
    }

    fn panic_at(&self, moment: Moment) {
        assert!(
            self.panics_at != Some(moment),
            "an observer panics, as the test told it to"
        );
    }
}

impl CallObserver for Recorder {
    fn start(&self, call: &Call<'_>, _carried: &mut Carried) -> Box<dyn CallRecord> {
        let path = format!("{} {}", call.method, call.path);
        let event = Event::Start(call.side, path, call.remaining);
        self.tell(Moment::Start, event);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Box::new(Record(self.clone()))
    }
}

struct Record(Recorder);

impl CallRecord for Record {
    fn attach(&self, ctx: Ctx) -> Ctx {
        self.0.tell(Moment::Attach, Event::Attach);
        ctx
    }

    fn routed(&mut self, route: &str) {
        let event = Event::Routed(route.to_owned());
        self.0.tell(Moment::Routed, event);
    }

    fn answered(&mut self, status: u16) {
        self.0.tell(Moment::Answered, Event::Answered(status));
    }

    fn cancelled(&mut self, cause: &Cause, _: Option<usize>) {
        let event = Event::Cancelled(cause.kind());
        self.0.tell(Moment::Cancelled, event);
    }

    fn end(&mut self, end: &End<'_>) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        let event = Event::End {
            ending: end.ending,
            cause: end.cause.map(Cause::kind),
            status: end.status,
            error: end.error.map(str::to_owned),
            took: end.took,
            latency: end.cancel_latency,
        };
        self.0.tell(Moment::End, event);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.0.panic_at(Moment::Drop);
    }
}
