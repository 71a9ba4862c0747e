//! The order service: looks up the price, then asks inventory, risk, notify and tax at the same
//! time.

use super::failure::Failure;
use super::faults::Fault;
use super::forward::forward;
use super::shop::{Order, Shop};
use super::topology::Service;
use super::work::work;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use ripcord::{Ctx, scope};
use ripcord_http::RequestCtx;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataMap;

pub(super) const PATH: &str = "/orders";

/// How long the calls have to end after the request is over.
const GRACE: Duration = Duration::from_millis(200);

/// What risk gets of the request's 3 s; with the fault `nested-timeout`, more than there is.
const RISK_TIER: Duration = Duration::from_secs(2);
const RISK_TIER_WRONG: Duration = Duration::from_secs(5);

/// What tax gets: an order does not depend on it.
const TAX_TIER: Duration = Duration::from_millis(250);

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    RequestCtx(ctx): RequestCtx,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<&'static str, Failure> {
    let work = work(&ctx, "POST /orders", |ctx| place(shop, ctx, order, headers));
    work.await.map(|()| "ok")
}

async fn place(shop: Arc<Shop>, ctx: Ctx, order: Order, headers: HeaderMap) -> Result<(), Failure> {
    shop.cache.price(&shop.store, &ctx, order.sku).await?;
    let calls = scope(&ctx, async |s| {
        let to = Arc::clone(&shop);
        let inventory = s.spawn("call inventory", |ctx| async move {
            let metadata = match Fault::of(&ctx) {
                Some(Fault::StaleTimeout) => forward(&ctx, &headers).await?,
                _ => MetadataMap::new(),
            };
            to.call_rpc(&ctx, &to.inventory, order, metadata).await
        })?;
        let to = Arc::clone(&shop);
        let risk = s.spawn("call risk", |ctx| async move {
            let time = match Fault::of(&ctx) {
                Some(Fault::NestedTimeout) => RISK_TIER_WRONG,
                _ => RISK_TIER,
            };
            let ctx = to.tier(&ctx, "risk tier", time);
            to.call_rpc(&ctx, &to.risk, order, MetadataMap::new()).await
        })?;
        let to = Arc::clone(&shop);
        let notify = s.spawn("call notify", |ctx| async move {
            to.call(&ctx, Service::Notify, order).await
        })?;
        let to = Arc::clone(&shop);
        let tax = s.spawn("call tax", |ctx| async move { tax(&to, &ctx, order).await })?;
        // The scope waits for all of them, and fails with the first that does.
        drop((inventory, risk, notify, tax));
        Ok(())
    });
    let placed = calls.grace(GRACE).await;
    placed.map_err(|error| shop.scope_failed(error))
}

/// Asks for the tax; without an answer in time, last year's has to do.
async fn tax(shop: &Shop, ctx: &Ctx, order: Order) -> Result<(), Failure> {
    let tier = shop.tier(ctx, "tax tier", TAX_TIER);
    let begin = ctx.clock_now();
    match shop.call(&tier, Service::Tax, order).await {
        Err(Failure::Cancelled(_)) if !ctx.is_done() => {
            let took = ctx.clock_now().saturating_duration_since(begin);
            shop.tally.evidence().went_on.callers.add(took);
            Ok(())
        }
        answer => answer,
    }
}
