//! The inventory service: takes the item out of the stock, in the database.

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

pub(super) const PATH: &str = "/reserve";

/// How long the tasks of a request have to end after it is over.
const GRACE: Duration = Duration::from_millis(150);

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    answer(&shop, "POST /reserve", &headers, |ctx, fault| {
        reserve(Arc::clone(&shop), ctx, order, fault)
    })
    .await
}

async fn reserve(
    shop: Arc<Shop>,
    ctx: Ctx,
    order: Order,
    fault: Option<Fault>,
) -> Result<(), Failure> {
    shop.work(&ctx, order, Service::Inventory, (1, 6)).await?;
    match fault {
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
