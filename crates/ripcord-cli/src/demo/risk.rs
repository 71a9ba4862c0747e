//! The risk service: thinks for a while about each order.

use super::answer::answer;
use super::failure::Failure;
use super::faults::Fault;
use super::shop::{Order, Shop};
use super::topology::Service;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ripcord::Ctx;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "/score";

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    answer(&shop, "POST /score", &headers, |ctx, fault| {
        score(Arc::clone(&shop), ctx, order, fault)
    })
    .await
}

async fn score(
    shop: Arc<Shop>,
    ctx: Ctx,
    order: Order,
    fault: Option<Fault>,
) -> Result<(), Failure> {
    match fault {
        Some(Fault::SlowRisk) => ripcord::sleep(&ctx, Duration::from_secs(5)).await?,
        Some(Fault::HangUp) => {
            shop.has_to_wait.notify_one();
            ripcord::sleep(&ctx, Duration::from_secs(1)).await?;
        }
        Some(Fault::BlockedThread) => block_the_thread(Duration::from_millis(800)),
        _ => {}
    }
    shop.work(&ctx, order, Service::Risk, (4, 20)).await
}

/// The fault: a call that blocks, made from async code.
#[expect(clippy::disallowed_methods, reason = "it is the fault")]
fn block_the_thread(time: Duration) {
    std::thread::sleep(time);
}
