//! Several observers as one: [`Observers`].
//!
//! *Invariant*: what one of them does, a panic included, is not seen by the others, except what it
//! writes into `carried` and into the context, which is meant for them.

use crate::carried::Carried;
use crate::observe::{Call, CallObserver, CallRecord, End};
use ripcord_core::{Cause, Ctx, Foreign, contain};
use std::fmt;
use std::sync::Arc;

/// Tells several observers of each call.
///
/// They are told of a beginning in the order in which they were added, so that the first one may
/// choose the span that the others see, and of an end in the opposite order. One that panics costs
/// the others nothing.
///
/// So the tracer comes first, and the log after it: its line then names the span that was exported.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{
///     AccessLog, Audit, Call, CallObserver, Exchange, Observers, Propagation, Protocol, Side,
/// };
/// use std::sync::{Arc, mpsc};
///
/// let (log, told) = mpsc::channel();
/// let audit = log.clone();
/// let both: Arc<dyn CallObserver> = Arc::new(
///     Observers::new()
///         .with(Arc::new(AccessLog::new(move |_| drop(log.send("access log")))))
///         .with(Arc::new(Audit::new(move |_| drop(audit.send("audit"))))),
/// );
/// let (server, incoming) = (Ctx::background(), Propagation::default().originate());
/// let call = Call::new(Side::Server, Protocol::Http, "GET", "/");
/// Exchange::begin(&server, incoming, call, server.clock_now(), Some(&both)).complete();
/// assert_eq!(told.try_iter().collect::<Vec<_>>(), ["audit", "access log"], "ends come in reverse");
/// ```
///
/// # Costs
/// One allocation a call beside those of the observers.
#[derive(Clone, Default)]
pub struct Observers {
    all: Vec<Arc<dyn CallObserver>>,
}

impl Observers {
    /// Nobody yet: calls are accounted for, and nobody hears of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also this one, after those that are there.
    #[must_use]
    pub fn with(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.all.push(observer);
        self
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.all.len())
    }
}

impl CallObserver for Observers {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        let begun = self
            .all
            .iter()
            .filter_map(|one| contain(Foreign::Observer, || one.start(call, carried)));
        Box::new(Records(begun.map(Some).collect()))
    }
}

/// The records of one call; one that panicked is gone.
struct Records(Vec<Option<Box<dyn CallRecord>>>);

impl Records {
    fn tell<'a>(
        records: impl Iterator<Item = &'a mut Option<Box<dyn CallRecord>>>,
        tell: impl Fn(&mut dyn CallRecord),
    ) {
        for slot in records {
            let Some(record) = slot else { continue };
            if contain(Foreign::Observer, || tell(&mut **record)).is_none() {
                let gone = slot.take();
                let _ = contain(Foreign::Drop, || drop(gone));
            }
        }
    }
}

impl CallRecord for Records {
    fn attach(&self, mut ctx: Ctx) -> Ctx {
        for record in self.0.iter().flatten() {
            if let Some(with) = contain(Foreign::Observer, || record.attach(ctx.clone())) {
                ctx = with;
            }
        }
        ctx
    }

    fn routed(&mut self, route: &str) {
        Self::tell(self.0.iter_mut(), |record| record.routed(route));
    }

    fn answered(&mut self, status: u16) {
        Self::tell(self.0.iter_mut(), |record| record.answered(status));
    }

    fn cancelled(&mut self, cause: &Cause, depth: Option<usize>) {
        Self::tell(self.0.iter_mut(), |record| record.cancelled(cause, depth));
    }

    fn end(&mut self, end: &End<'_>) {
        Self::tell(self.0.iter_mut().rev(), |record| record.end(end));
    }
}
