//! The gateway: refuses new orders while the server drains, and passes on the others.

use super::answer::answer;
use super::shop::{Order, Shop};
use super::topology::Service;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ripcord::Phase;
use std::sync::Arc;

pub(super) const PATH: &str = "/checkout";

pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    if shop.root.phase() != Phase::Live {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response();
    }
    answer(&shop, "POST /checkout", &headers, |ctx, fault| {
        let shop = Arc::clone(&shop);
        async move { shop.call(&ctx, Service::Order, order, fault).await }
    })
    .await
}
