//! ripcord as a contender in HTTP: how it carries a request's context.

use http::HeaderMap;
use ripcord_core::{CancelGuard, Ctx};
use ripcord_propagation::{Call, Exchange, Incoming, PeerPolicy, Propagation, Protocol, Side};

use super::request::Carries;

/// ripcord with its default propagation, below a root with tokio's clock and timer, calling a peer
/// that may know everything.
#[derive(Debug)]
pub(super) struct Ripcord {
    propagation: Propagation,
    peer: PeerPolicy,
    root: Ctx,
    _guard: CancelGuard,
}

impl Carries for Ripcord {
    type Read = Incoming;
    type Context = Ctx;

    fn new() -> Ripcord {
        let (root, guard) = ripcord_tokio::root().name("bench").build();
        Ripcord {
            propagation: Propagation::default(),
            peer: PeerPolicy::internal(),
            root,
            _guard: guard,
        }
    }

    fn extract(&self, headers: &HeaderMap) -> Incoming {
        self.propagation.extract(headers)
    }

    fn context(&self, incoming: Incoming) -> Ctx {
        incoming.context(&self.root)
    }

    fn inject(&self, ctx: &Ctx, headers: &mut HeaderMap) {
        let carried = self.propagation.for_call(ctx);
        let sent = self
            .propagation
            .inject_as(ctx, &carried, &self.peer, headers);
        sent.expect("the deadline is far");
    }
}

impl Ripcord {
    /// A request as a server plays it: with a right to end it, and an account that nobody reads.
    pub(super) fn exchange(&self, headers: &HeaderMap, outgoing: &mut HeaderMap) {
        let arrived = self.root.clock_now();
        let incoming = self.extract(headers);
        let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders");
        let exchange = Exchange::begin(&self.root, incoming, call, arrived, None);
        self.inject(exchange.ctx(), outgoing);
        exchange.complete();
    }
}
