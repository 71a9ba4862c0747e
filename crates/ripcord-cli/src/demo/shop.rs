//! What all services share: the root context, the client, the store, the cache, the books.

use super::cache::Cache;
use super::call::Caller;
use super::failure::Failure;
use super::faults::{Fault, jitter};
use super::store::Store;
use super::tally::Tally;
use super::topology::Service;
use ripcord::{Ctx, ScopeError};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// An order as it travels between the services.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) sku: u32,
}

#[derive(Debug)]
pub(super) struct Shop {
    /// Every request's context is below this one.
    pub(super) root: Ctx,
    pub(super) seed: u64,
    pub(super) addresses: [SocketAddr; Service::ALL.len()],
    pub(super) caller: Caller,
    pub(super) store: Arc<Store>,
    pub(super) cache: Arc<Cache>,
    pub(super) tally: Tally,
    /// A request with the fault `hang-up` has come to where it waits: its client loses its
    /// patience now, when there is something to stop in every service.
    pub(super) has_to_wait: Arc<Notify>,
}

impl Shop {
    /// Calls another service with what is left of the context's time.
    pub(super) async fn call(
        &self,
        ctx: &Ctx,
        to: Service,
        order: Order,
        fault: Option<Fault>,
    ) -> Result<(), Failure> {
        let address = self.addresses[to.index()];
        let budget = super::deadline::to_send(ctx);
        let call = self.caller.post(address, to, order, fault, budget);
        let status = ctx.run(call).await??;
        if status.is_success() {
            return Ok(());
        }
        Err(Failure::Peer {
            service: to.name(),
            status,
        })
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
        let left = ctx.remaining().unwrap_or_default();
        let site = std::panic::Location::caller();
        let deadline = tier.deadline();
        self.tally
            .tier(name, site, timeout, deadline.as_ref(), left);
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
