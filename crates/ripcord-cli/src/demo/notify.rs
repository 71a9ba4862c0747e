//! The notify service: sends the customer a receipt.

use super::answer::answer;
use super::failure::Failure;
use super::faults::Fault;
use super::shop::{Order, Shop};
use super::topology::Service;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ripcord::{Cancelled, Ctx, CtxExt};
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "/receipts";

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    answer(&shop, "POST /receipts", &headers, |ctx, fault| {
        send(Arc::clone(&shop), ctx, order, fault)
    })
    .await
}

async fn send(
    shop: Arc<Shop>,
    ctx: Ctx,
    order: Order,
    fault: Option<Fault>,
) -> Result<(), Failure> {
    if fault == Some(Fault::Outlive) {
        // The fault: nobody waits for it, and the request is over long before it.
        drop(ctx.spawn("audit trail", |ctx| async move { audit(&ctx).await }));
    }
    shop.work(&ctx, order, Service::Notify, (2, 8)).await
}

/// Four steps, and a look at the context only between them.
async fn audit(ctx: &Ctx) -> Result<(), Cancelled> {
    for _step in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ctx.check()?;
    }
    Ok(())
}
