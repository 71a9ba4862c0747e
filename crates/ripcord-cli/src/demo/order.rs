//! The order service: looks up the price, then asks inventory, risk and notify at the same time.

use super::answer::answer;
use super::failure::Failure;
use super::faults::Fault;
use super::shop::{Order, Shop};
use super::topology::Service;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ripcord::{Ctx, scope};
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "/orders";

/// How long the calls have to end after the request is over.
const GRACE: Duration = Duration::from_millis(200);

/// What risk gets of the request's 3 s; with the fault `nested-timeout`, more than there is.
const RISK_TIER: Duration = Duration::from_secs(2);
const RISK_TIER_WRONG: Duration = Duration::from_secs(5);

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    answer(&shop, "POST /orders", &headers, |ctx, fault| {
        place(Arc::clone(&shop), ctx, order, fault)
    })
    .await
}

async fn place(
    shop: Arc<Shop>,
    ctx: Ctx,
    order: Order,
    fault: Option<Fault>,
) -> Result<(), Failure> {
    shop.cache.price(&shop.store, &ctx, order.sku).await?;
    let calls = scope(&ctx, async |s| {
        let to = Arc::clone(&shop);
        let inventory = s.spawn("call inventory", |ctx| async move {
            to.call(&ctx, Service::Inventory, order, fault).await
        })?;
        let to = Arc::clone(&shop);
        let risk = s.spawn("call risk", |ctx| async move {
            let time = match fault {
                Some(Fault::NestedTimeout) => RISK_TIER_WRONG,
                _ => RISK_TIER,
            };
            let ctx = to.tier(&ctx, "risk tier", time);
            to.call(&ctx, Service::Risk, order, fault).await
        })?;
        let to = Arc::clone(&shop);
        let notify = s.spawn("call notify", |ctx| async move {
            to.call(&ctx, Service::Notify, order, fault).await
        })?;
        // The scope waits for all three, and fails with the first that does.
        drop((inventory, risk, notify));
        Ok(())
    });
    let placed = calls.grace(GRACE).await;
    placed.map_err(|error| shop.scope_failed(error))
}
