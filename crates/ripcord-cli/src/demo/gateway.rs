//! The gateway: refuses new orders while the server drains, and passes on the others.
//!
//! It has three entrances: for strangers, for partners whose clocks are trusted, and for photos
//! ([`photos`](super::photos)).

use super::entrance;
use super::failure::Failure;
use super::faults::Fault;
use super::photos;
use super::shop::{Order, Shop};
use super::topology::Service;
use super::work::work;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{post, put};
use axum::{Json, Router};
use ripcord::Phase;
use ripcord_http::{HttpLayer, RequestCtx};
use ripcord_propagation::Propagation;
use std::sync::Arc;

pub(super) const PATH: &str = "/checkout";
pub(super) const PATH_PARTNER: &str = "/partner/checkout";

/// The routes, each behind a layer that believes what it may.
pub(super) fn router(shop: &Arc<Shop>) -> Router {
    let behind = |router: Router<Arc<Shop>>, believes: Propagation| {
        let layer = HttpLayer::new(&shop.root, believes);
        let layer = layer.observer(shop.observer(Service::Gateway));
        router.with_state(Arc::clone(shop)).layer(layer)
    };
    let strangers = Router::new()
        .route(PATH, post(handle))
        .route(photos::PATH, put(photos::handle));
    let partners = Router::new().route(PATH_PARTNER, post(handle));
    behind(strangers, entrance::stranger()).merge(behind(partners, entrance::partner()))
}

async fn handle(
    State(shop): State<Arc<Shop>>,
    RequestCtx(ctx): RequestCtx,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<&'static str, Failure> {
    if shop.root.phase() != Phase::Live {
        return Err(Failure::Draining);
    }
    let ctx = match Fault::sent_in(&headers) {
        Some(fault) => fault.put_into(&ctx),
        None => ctx,
    };
    let work = work(&ctx, "POST /checkout", |ctx| async move {
        shop.call(&ctx, Service::Order, order).await
    });
    work.await.map(|()| "ok")
}
