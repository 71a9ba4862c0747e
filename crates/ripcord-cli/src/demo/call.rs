//! The client's end of a hop: one request over a pooled connection, under a context.

use super::failure::Failure;
use super::shop::Order;
use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ripcord::Ctx;
use ripcord_http::{CallError, ClientLayer, ClientService};
use tower::{Layer, ServiceExt};

/// An HTTP client without any layer; a clone shares its connections.
pub(super) type Bare = Client<HttpConnector, Body>;

pub(super) fn bare() -> Bare {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// An HTTP client whose calls are under contexts; a clone shares its connections.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: ClientService<Bare>,
}

impl Caller {
    pub(super) fn new(layer: &ClientLayer) -> Self {
        Self {
            client: layer.layer(bare()),
        }
    }

    /// Sends an order under `ctx` and waits for the whole answer; its status.
    ///
    /// The layer writes what is left of the time, and drops the call when the context is done. That
    /// closes the connection, which is how the other side notices.
    pub(super) async fn post(
        &self,
        ctx: &Ctx,
        service: &'static str,
        url: String,
        order: Order,
        headers: HeaderMap,
    ) -> Result<StatusCode, Failure> {
        let mut request = request(service, url, order, headers)?;
        request.extensions_mut().insert(ctx.clone());
        let response = self.client.clone().oneshot(request).await;
        let response = response.map_err(|error| match error {
            CallError::Cancelled(cancelled) => cancelled.into(),
            error => unreachable(service, &error),
        })?;
        match read(service, response).await {
            // The context ended in the middle of the answer.
            Err(failure) => Err(ctx.check().map_or_else(Failure::from, |()| failure)),
            status => status,
        }
    }
}

/// The same, from a client that knows nothing of contexts.
pub(super) async fn post_bare(
    client: &Bare,
    service: &'static str,
    url: String,
    order: Order,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let request = request(service, url, order, headers)?;
    let response = client.request(request).await;
    read(
        service,
        response.map_err(|error| unreachable(service, &error))?,
    )
    .await
}

/// Reads an answer to its end; its status.
async fn read<B>(service: &'static str, response: Response<B>) -> Result<StatusCode, Failure>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await;
    body.map_err(|error| unreachable(service, &error))?;
    Ok(status)
}

fn request(
    service: &'static str,
    url: String,
    order: Order,
    headers: HeaderMap,
) -> Result<Request<Body>, Failure> {
    let body = serde_json::to_vec(&order).map_err(|error| unreachable(service, &error))?;
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    let mut request = request.map_err(|error| unreachable(service, &error))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

fn unreachable(service: &'static str, error: &dyn std::error::Error) -> Failure {
    Failure::Unreachable {
        service,
        error: innermost(error),
    }
}

/// The error at the bottom, which says what really happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// An answer has so many bytes at the most.
const ANSWER_MAX: usize = 64 * 1024;
