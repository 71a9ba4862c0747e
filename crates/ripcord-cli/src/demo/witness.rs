//! The witness: is told of each request that a service gets, and notes it for the report.

use super::faults::{Fault, TAG};
use super::journal::{End, Entry, Journal};
use super::tally::Tally;
use super::topology::Service;
use ripcord::Ctx;
use ripcord_propagation::{self as propagation, Call, CallObserver, CallRecord, Carried, GrpcCode};
use std::sync::Arc;

/// Only clients with the fault `wrong-clock` take this entrance.
const PARTNER: &str = "POST /partner/checkout";

/// One for each service.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) service: Service,
    pub(super) journal: Arc<Journal>,
    pub(super) tally: Arc<Tally>,
}

impl CallObserver for Witness {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        // A path that is none of ours is whatever a client made up.
        let Some(route) = self.service.route(call.path) else {
            return Box::new(Unknown);
        };
        let id = carried.request_id().as_str();
        Box::new(Known {
            route,
            tally: Arc::clone(&self.tally),
            entry: Some(self.journal.begin(self.service, route, id, call.remaining)),
        })
    }
}

struct Unknown;

impl CallRecord for Unknown {
    fn end(&mut self, _end: &propagation::End<'_>) {}
}

struct Known {
    route: &'static str,
    tally: Arc<Tally>,
    entry: Option<Entry>,
}

impl CallRecord for Known {
    /// A request of this route that is refused never comes to a handler, which would say so.
    fn attach(&self, ctx: Ctx) -> Ctx {
        if self.route == PARTNER {
            ctx.tag(TAG, Fault::WrongClock.name());
        }
        ctx
    }

    fn end(&mut self, end: &propagation::End<'_>) {
        let cause = end.cause.map(|cause| cause.kind().as_str());
        if let Some(cause) = cause {
            self.tally.ended(self.route, cause);
        }
        let grpc = end.grpc.map(|code| GrpcCode::name(code).to_owned());
        if let Some(entry) = self.entry.take() {
            entry.end(End {
                took: end.took,
                answer: grpc.or_else(|| Some(end.status?.to_string())),
                cause,
            });
        }
    }
}
