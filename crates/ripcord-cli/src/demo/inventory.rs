//! The inventory service: takes the item out of the stock, in the database.

use super::failure::Failure;
use super::faults::Fault;
use super::forward::note_what_arrived;
use super::rpc::Method;
use super::shop::{Order, Shop};
use super::topology::Service;
use super::work::work;
use ripcord::{Ctx, scope};
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataMap;

pub(super) const PATH: &str = "/shop.Inventory/Reserve";

/// How long the tasks of a request have to end after it is over.
const GRACE: Duration = Duration::from_millis(150);

pub(super) struct Reserve;

impl Method for Reserve {
    const OF: Service = Service::Inventory;
    const SERVICE: &'static str = "shop.Inventory";

    async fn handle(
        shop: Arc<Shop>,
        ctx: Ctx,
        metadata: MetadataMap,
        order: Order,
    ) -> Result<(), Failure> {
        note_what_arrived(&shop.tally, metadata);
        work(&ctx, PATH, |ctx| reserve(shop, ctx, order)).await
    }
}

async fn reserve(shop: Arc<Shop>, ctx: Ctx, order: Order) -> Result<(), Failure> {
    shop.work(&ctx, order, Service::Inventory, (1, 6)).await?;
    match Fault::of(&ctx) {
        Some(Fault::SlowQuery) => {
            let report = |db: &rusqlite::Connection| db.query_row(REPORT, [], |_| Ok(()));
            shop.store.query(&ctx, "query stock report", report).await?;
        }
        Some(Fault::DeafLoop) => {
            let recount = scope(&ctx, async |s| {
                drop(s.spawn("recount stock", |_| recount())?);
                Ok(())
            });
            let counted = recount.grace(GRACE).await;
            counted.map_err(|error| shop.scope_failed(error))?;
        }
        _ => {}
    }
    let take = move |db: &rusqlite::Connection| {
        db.prepare_cached(TAKE)?.execute([order.sku])?;
        Ok(())
    };
    shop.store.query(&ctx, "query take item", take).await
}

/// The fault: a loop with awaits in it that never looks at its context.
async fn recount() -> Result<(), Failure> {
    for _shelf in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

const TAKE: &str = "UPDATE stock SET items = items - 1 WHERE sku = ?1";

/// The fault: every item with every other and every third, because nothing joins them.
const REPORT: &str = "SELECT count(*) FROM stock a, stock b, stock c \
                      WHERE a.items + b.items + c.items < 0";
