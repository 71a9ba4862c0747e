//! The client's end of a hop: one request over a pooled connection, with the budget in its
//! header.

use super::deadline;
use super::failure::Failure;
use super::faults::{self, Fault};
use super::shop::Order;
use super::topology::Service;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;

/// An HTTP client; a clone shares its connections.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: Client<HttpConnector, Body>,
}

impl Caller {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends an order and waits for the whole answer; its status.
    ///
    /// Dropping the future closes the connection, which is how the other side notices.
    pub(super) async fn post(
        &self,
        address: SocketAddr,
        to: Service,
        order: Order,
        fault: Option<Fault>,
        budget: Duration,
    ) -> Result<StatusCode, Failure> {
        let unreachable = |error: &dyn std::error::Error| Failure::Unreachable {
            service: to.name(),
            error: innermost(error),
        };
        let body = serde_json::to_vec(&order).map_err(|error| unreachable(&error))?;
        let mut request = Request::post(format!("http://{address}{}", to.path()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(deadline::HEADER, deadline::value(budget));
        if let Some(fault) = fault {
            request = request.header(faults::HEADER, fault.name());
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| unreachable(&error))?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await;
        body.map_err(|error| unreachable(&error))?;
        Ok(status)
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
