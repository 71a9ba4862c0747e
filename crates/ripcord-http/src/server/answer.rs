//! What is answered in place of a handler: problem details (RFC 9457).
//!
//! | member | is |
//! |---|---|
//! | `title` | a sentence for people, the same for each kind of cause |
//! | `status` | the status of the head |
//! | `cause` | one of few words, for programs and dashboards |
//! | `request_id` | what to ask about; `null` outside of a request |
//!
//! There is no `type`: the status says all that a URL could. There is no `detail` either, which is
//! where a cause's own words would go; they are in the access log.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use ripcord_core::{Cause, Ctx};
use ripcord_propagation::{CtxCarried as _, Side, verdict};
use serde_json::json;

/// An answer for a request whose context, or another one on its way, has ended.
///
/// It says what sort of end it was and names the request; what a cause says in words is for logs,
/// since it may speak of the inside of the service.
pub(crate) fn instead(ctx: &Ctx, cause: &Cause) -> Response<Bytes> {
    // Who set the deadline of the request is of interest only if that is what ended.
    let carried = ctx
        .carried()
        .filter(|_| ctx.cause().as_ref() == Some(cause));
    let source = carried.and_then(ripcord_propagation::Carried::deadline_source);
    let verdict = verdict(cause, source, Side::Server);
    let status = StatusCode::from_u16(verdict.http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    if !verdict.is_sent {
        // Nobody is there to read it; the status is for whoever logs.
        return response;
    }
    if let Some(after) = verdict.retry_after {
        let after = HeaderValue::from(after.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    let problem = json!({
        "title": verdict.title,
        "status": verdict.http,
        "cause": verdict.label,
        "request_id": ctx.request_id(),
    });
    *response.body_mut() = Bytes::from(problem.to_string());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_core::Kind;

    #[test]
    fn an_answer_names_cause_and_request_and_keeps_the_message_inside() {
        let propagation = ripcord_propagation::Propagation::default();
        let mut headers = http::HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("7f3a"));
        let ctx = propagation.extract(&headers).context(&Ctx::background());
        let cause = Cause::new(Kind::Shutdown).with_message("host db-7 is being drained");
        let response = instead(&ctx, &cause);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            body,
            json!({
                "title": "the service is shutting down",
                "status": 503,
                "cause": "shutdown",
                "request_id": "7f3a",
            })
        );
    }

    #[test]
    fn nothing_is_sent_to_who_is_gone() {
        let response = instead(&Ctx::background(), &Kind::PeerGone.into());
        assert_eq!(response.status(), 499);
        assert!(response.body().is_empty());
    }
}
