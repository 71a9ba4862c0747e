//! The tax service: somebody else's, without ripcord.
//!
//! It reads neither a deadline nor a context, and works on when its client has hung up, like any
//! service that hands its work to a pool. The context of its task is that of the process, so that
//! the end of the demo need not wait for it; and what is noted here is noted for the report.

use super::faults::{Fault, jitter};
use super::journal::End;
use super::shop::{Order, Shop};
use super::topology::Service;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use ripcord::CtxExt;
use ripcord_wire::baggage::{Baggage, Limits};
use ripcord_wire::timeout::TimeoutHeader;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "/tax";

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> &'static str {
    let time = match fault(&headers) {
        Some(Fault::IgnoresDeadline) => Duration::from_millis(1500),
        _ => jitter(shop.seed, order.id, 1, 4),
    };
    let told = headers
        .get(TimeoutHeader::REQUEST.name())
        .and_then(|value| TimeoutHeader::REQUEST.parse(value.as_bytes()).ok());
    let id = headers.get("x-request-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let entry = shop.journal.begin(Service::Tax, "POST /tax", id, told);
    let root = shop.inside.clone();
    let task = root.spawn("work out tax", |ctx| async move {
        let begin = ctx.clock_now();
        let _ = ripcord::sleep(&ctx, time).await;
        let took = ctx.clock_now().saturating_duration_since(begin);
        entry.end(End {
            took,
            answer: Some("200".to_owned()),
            cause: None,
        });
        if let Some(longer) = told.and_then(|told| took.checked_sub(told)) {
            shop.tally.evidence().went_on.callees.add(longer);
        }
    });
    // A task that panicked has said so on standard error.
    drop(task.await);
    "ok"
}

/// The fault of the request: read by hand, as there is no layer.
fn fault(headers: &HeaderMap) -> Option<Fault> {
    let lines = headers.get_all("baggage").iter();
    let lines = lines.map(axum::http::HeaderValue::as_bytes);
    Fault::in_baggage(&Baggage::parse_headers(lines, &Limits::default()).0)
}
