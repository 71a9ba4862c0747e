//! What a server says of a call: its request id, and the end of its context.
//!
//! That end is told either in the head, as an answer that has no body, or in trailers at the end of
//! a body that has begun; both are the same lines. A handler's own status has precedence over all of
//! it.

use crate::peer_cause::PeerCause;
use crate::status::{code_in, propagation_code, set_code, status_of};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use ripcord_core::{Cause, Ctx};
use ripcord_propagation::{CtxCarried as _, Exchange, GrpcCode, Propagation};
use tonic::Status;

/// How a layer answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) tells_causes: bool,
    id_header: HeaderName,
}

impl Answers {
    pub(crate) fn new(propagation: &Propagation) -> Self {
        let name = HeaderName::try_from(propagation.request_id_header());
        Self {
            tells_causes: true,
            // The name was checked when the propagation was built.
            id_header: name.unwrap_or(HeaderName::from_static("x-request-id")),
        }
    }

    /// The status for a cause, and the headers that say it.
    pub(crate) fn of(&self, cause: &Cause) -> (GrpcCode, HeaderMap) {
        let status = status_of(cause);
        let mut headers = headers_of(&status);
        if self.tells_causes {
            PeerCause::from(cause).write(&mut headers);
        }
        (propagation_code(status.code()), headers)
    }

    /// An answer without a body, which ends with its head.
    pub(crate) fn head<B>(&self, trailers: HeaderMap, ctx: &Ctx, body: B) -> Response<B> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        *headers = trailers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.echo(headers, ctx);
        response
    }

    /// The request id, for whoever reports a problem; one that the handler has set stands.
    pub(crate) fn echo(&self, headers: &mut HeaderMap, ctx: &Ctx) {
        let id = ctx.request_id().map(HeaderValue::from_str);
        if let Some(Ok(id)) = id {
            headers.entry(self.id_header.clone()).or_insert(id);
        }
    }

    /// Completes and notes the status of a handler's own answer, if there is one in `headers`.
    ///
    /// A handler that saw the end of its context and answered by itself keeps its status; the reason
    /// is added.
    pub(crate) fn complete(&self, headers: &mut HeaderMap, exchange: &mut Exchange) {
        let Some(mut code) = code_in(headers) else {
            return;
        };
        if code != GrpcCode::Ok
            && let Some(cause) = exchange.ctx().cause()
        {
            exchange.cancelled(&cause);
            if self.tells_causes && PeerCause::read(headers).is_none() {
                PeerCause::from(&cause).write(headers);
            }
            let own = propagation_code(status_of(&cause).code());
            // `ABORTED` stood for it on the request stream: see `read_status`.
            if code == GrpcCode::Aborted && own == GrpcCode::Cancelled {
                code = own;
                set_code(headers, code);
            }
        }
        exchange.grpc_status(code);
    }
}

fn headers_of(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Fails for a message that cannot be percent-encoded, of which there is none; the code alone
    // is a complete answer.
    if status.add_header(&mut headers).is_err() {
        set_code(&mut headers, propagation_code(status.code()));
    }
    headers
}
