//! What all services share: the root context, the client, the store, the cache, the books.

use super::cache::Cache;
use super::call::Caller;
use super::failure::Failure;
use super::faults::{Fault, jitter};
use super::journal::Journal;
use super::photos::Photos;
use super::rpc::RpcCaller;
use super::store::Store;
use super::tally::{Asked, Tally};
use super::telemetry::Exports;
use super::topology::{Service, is_request};
use super::witness::Witness;
use axum::http::HeaderMap;
use ripcord::{Ctx, ScopeError};
use ripcord_propagation::{CallObserver, CtxCarried};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tonic::metadata::MetadataMap;

/// An order as it travels between the services.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) sku: u32,
}

#[derive(Debug)]
pub(super) struct Shop {
    /// The gateway's requests are below this one.
    pub(super) root: Ctx,
    /// The requests of the services behind it are below this one, which ends with the root and does
    /// not drain: while the gateway drains, its last requests still need them.
    pub(super) inside: Ctx,
    pub(super) seed: u64,
    pub(super) addresses: [SocketAddr; Service::ALL.len()],
    /// The gateway's client.
    pub(super) gateway: Caller,
    /// The order service's clients.
    pub(super) caller: Caller,
    pub(super) inventory: RpcCaller,
    pub(super) risk: RpcCaller,
    pub(super) store: Arc<Store>,
    pub(super) cache: Arc<Cache>,
    pub(super) tally: Arc<Tally>,
    pub(super) journal: Arc<Journal>,
    pub(super) photos: Arc<Photos>,
    pub(super) exports: Exports,
    /// A request with the fault `hang-up` has come to where it waits: its client loses its
    /// patience now, when there is something to stop in every service.
    pub(super) has_to_wait: Arc<Notify>,
}

impl Shop {
    /// Who is told of the requests of a service.
    pub(super) fn observer(&self, service: Service) -> Arc<dyn CallObserver> {
        let witness = Witness {
            service,
            journal: Arc::clone(&self.journal),
            tally: Arc::clone(&self.tally),
        };
        self.exports.of_server(service, Arc::new(witness))
    }

    /// Calls another service with what is left of the context's time.
    pub(super) async fn call(&self, ctx: &Ctx, to: Service, order: Order) -> Result<(), Failure> {
        self.note_limit(ctx, to);
        let url = format!("http://{}{}", self.addresses[to.index()], to.path());
        let caller = match to {
            Service::Order => &self.gateway,
            _ => &self.caller,
        };
        let call = caller.post(ctx, to.name(), url, order, HeaderMap::new());
        let status = call.await?;
        if status.is_success() {
            return Ok(());
        }
        Err(Failure::Peer {
            service: to.name(),
            status,
        })
    }

    /// The same over gRPC.
    pub(super) async fn call_rpc(
        &self,
        ctx: &Ctx,
        to: &RpcCaller,
        order: Order,
        metadata: MetadataMap,
    ) -> Result<(), Failure> {
        self.note_limit(ctx, to.of);
        to.call(ctx, order, metadata).await
    }

    /// Notes whose deadline a call is under, if that is not the request's own.
    fn note_limit(&self, ctx: &Ctx, to: Service) {
        if let Some(id) = ctx.request_id()
            && let Some(deadline) = ctx.deadline()
            && let Some(owner) = deadline.owner()
            && !is_request(owner)
        {
            self.journal.limited(id, to, owner);
        }
    }

    /// The work of a healthy service: a pause that differs from order to order.
    pub(super) async fn work(
        &self,
        ctx: &Ctx,
        order: Order,
        service: Service,
        millis: (u64, u64),
    ) -> Result<(), Failure> {
        let salt = order
            .id
            .wrapping_mul(8)
            .wrapping_add(service.index() as u64);
        let pause = jitter(self.seed, salt, millis.0, millis.1);
        Ok(ripcord::sleep(ctx, pause).await?)
    }

    /// Gives `ctx` a time of its own, and notes whose deadline is then in force.
    #[track_caller]
    pub(super) fn tier(&self, ctx: &Ctx, name: &'static str, timeout: Duration) -> Ctx {
        let tier = ctx.named(name).with_timeout(timeout);
        Fault::tag(&tier);
        let asked = Asked {
            name,
            site: std::panic::Location::caller(),
            time: timeout,
        };
        self.tally.tier(&asked, tier.deadline().as_ref(), ctx);
        tier
    }

    /// Takes down who had to be aborted, and makes the error of the request.
    pub(super) fn scope_failed(&self, error: ScopeError<Failure>) -> Failure {
        self.tally.stragglers(error.stragglers());
        let cause = error.cause().cloned();
        error.into_error().unwrap_or_else(|| match cause {
            Some(cause) => Failure::Cancelled(ripcord::Cancelled::new(cause)),
            None => Failure::Task("a task had to be aborted".to_owned()),
        })
    }
}
