//! Photos of customers: an upload that waits for something else before it is read.
//!
//! hyper looks at a connection only while somebody reads from it. So a client that leaves in the
//! middle of an upload that nobody reads is noticed late, or never. The server of ripcord-http asks
//! the system instead.

use super::faults::{Fault, TAG};
use super::shop::Shop;
use super::tally::lock;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ripcord::{Cause, Ctx, CtxExt};
use ripcord_http::RequestCtx;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) const PATH: &str = "/photos";

/// The header by which the two ends of an upload find each other, for the report.
pub(super) const NUMBER: &str = "x-demo-upload";

/// The uploads that their clients are going to leave behind, by number.
#[derive(Debug, Default)]
pub(super) struct Photos {
    announced: Mutex<HashMap<u64, Announced>>,
}

#[derive(Debug)]
struct Announced {
    waits: oneshot::Sender<()>,
    ended: oneshot::Sender<Option<Cause>>,
}

/// What the client of an upload learns of its other end.
#[derive(Debug)]
pub(super) struct Upload {
    /// Its handler waits.
    pub(super) waits: oneshot::Receiver<()>,
    /// Why its context was done, if it was before the handler lost its patience.
    pub(super) ended: oneshot::Receiver<Option<Cause>>,
}

impl Photos {
    /// Announces an upload.
    pub(super) fn announce(&self, number: u64) -> Upload {
        let (tell_waits, waits) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let announced = Announced {
            waits: tell_waits,
            ended: tell_ended,
        };
        lock(&self.announced).insert(number, announced);
        Upload { waits, ended }
    }

    /// The upload is not going to come.
    pub(super) fn forget(&self, number: u64) {
        lock(&self.announced).remove(&number);
    }
}

/// Takes an upload in, and does not read it before there is room in the album.
pub(super) async fn handle(
    State(shop): State<Arc<Shop>>,
    RequestCtx(ctx): RequestCtx,
    headers: HeaderMap,
    // Held, and not read.
    _photo: Body,
) -> StatusCode {
    let number = headers.get(NUMBER).and_then(|value| value.to_str().ok());
    let number = number.and_then(|number| number.parse().ok());
    let announced = number.and_then(|number| lock(&shop.photos.announced).remove(&number));
    if announced.is_some() {
        ctx.tag(TAG, Fault::UnreadUpload.name());
    }
    let task = ctx.spawn("PUT /photos", |ctx| wait_for_room(ctx, announced));
    drop(task.await);
    StatusCode::SERVICE_UNAVAILABLE
}

/// There is none, so it waits for the end of its context.
async fn wait_for_room(ctx: Ctx, announced: Option<Announced>) {
    let (waits, ended) = announced.map(|it| (it.waits, it.ended)).unzip();
    // Whoever announced it may have been cut short.
    let _ = waits.map(|waits| waits.send(()));
    let cause = tokio::time::timeout(PATIENCE, ctx.done()).await.ok();
    let _ = ended.map(|ended| ended.send(cause));
}

/// For systems where a client that leaves is not noticed.
const PATIENCE: Duration = Duration::from_secs(2);
