//! The notify service: sends the customer a receipt.

use super::failure::Failure;
use super::faults::Fault;
use super::shop::{Order, Shop};
use super::topology::Service;
use super::work::work;
use axum::Json;
use axum::extract::State;
use ripcord::{Cancelled, Ctx, CtxExt};
use ripcord_http::RequestCtx;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "/receipts";

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    RequestCtx(ctx): RequestCtx,
    Json(order): Json<Order>,
) -> Result<&'static str, Failure> {
    let work = work(&ctx, "POST /receipts", |ctx| send(shop, ctx, order));
    work.await.map(|()| "ok")
}

async fn send(shop: Arc<Shop>, ctx: Ctx, order: Order) -> Result<(), Failure> {
    if Fault::of(&ctx) == Some(Fault::Outlive) {
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
