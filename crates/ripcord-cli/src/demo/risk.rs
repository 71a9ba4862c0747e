//! The risk service: thinks for a while about each order.

use super::failure::Failure;
use super::faults::Fault;
use super::rpc::Method;
use super::shop::{Order, Shop};
use super::topology::Service;
use super::work::work;
use ripcord::Ctx;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataMap;

pub(super) const PATH: &str = "/shop.Risk/Score";

pub(super) struct Score;

impl Method for Score {
    const OF: Service = Service::Risk;
    const SERVICE: &'static str = "shop.Risk";

    async fn handle(
        shop: Arc<Shop>,
        ctx: Ctx,
        _: MetadataMap,
        order: Order,
    ) -> Result<(), Failure> {
        work(&ctx, PATH, |ctx| score(shop, ctx, order)).await
    }
}

async fn score(shop: Arc<Shop>, ctx: Ctx, order: Order) -> Result<(), Failure> {
    match Fault::of(&ctx) {
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
