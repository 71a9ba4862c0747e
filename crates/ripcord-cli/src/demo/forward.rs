//! The fault `stale-timeout`: a hop that passes on whatever it was sent.
//!
//! A bridge from HTTP to gRPC that copies all headers into metadata is a common mistake. The
//! time-out in it says what was left when the request came in, and not what is left now.

use super::failure::Failure;
use super::tally::Tally;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ripcord::Ctx;
use ripcord_wire::timeout::TimeoutHeader;
use std::time::Duration;
use tonic::metadata::MetadataMap;

/// Tells the callee what was forwarded, for the report: no layer knows this name.
const FORWARDED: HeaderName = HeaderName::from_static("x-demo-forwarded");

/// Waits for a moment, and makes metadata of all headers of the request as they came in.
pub(super) async fn forward(ctx: &Ctx, headers: &HeaderMap) -> Result<MetadataMap, Failure> {
    ripcord::sleep(ctx, LATER).await?;
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        if !FRAMING.contains(name) {
            all.append(name.clone(), value.clone());
        }
    }
    let told = timeout(headers, &TimeoutHeader::REQUEST);
    if let Some(text) = told.and_then(|told| TimeoutHeader::GRPC.encode(told))
        && let Ok(value) = HeaderValue::from_str(text.as_str())
    {
        all.insert(FORWARDED, value.clone());
        all.insert("grpc-timeout", value);
    }
    Ok(MetadataMap::from_headers(all))
}

/// Notes what a callee got in place of what was forwarded, if that was forwarded.
pub(super) fn note_what_arrived(tally: &Tally, metadata: MetadataMap) {
    let headers = metadata.into_headers();
    let Some(forwarded) = headers.get(FORWARDED) else {
        return;
    };
    let forwarded = TimeoutHeader::GRPC.parse(forwarded.as_bytes());
    let arrived = timeout(&headers, &TimeoutHeader::GRPC);
    let (Ok(forwarded), Some(arrived)) = (forwarded, arrived) else {
        return;
    };
    let is_one = |name: &str| headers.get_all(name).iter().count() == 1;
    let is_mended = arrived < forwarded
        && is_one(TimeoutHeader::GRPC.name())
        && is_one("traceparent")
        && !headers.contains_key(TimeoutHeader::REQUEST.name());
    let stale = &mut tally.evidence().stale;
    stale.forwarded.add(forwarded);
    stale.arrived.add(arrived);
    stale.mended += u64::from(is_mended);
}

fn timeout(headers: &HeaderMap, header: &TimeoutHeader) -> Option<Duration> {
    let value = headers.get(header.name())?;
    header.parse(value.as_bytes()).ok()
}

/// So long after the request has come in.
const LATER: Duration = Duration::from_millis(250);

/// Headers of the one message that HTTP needs for itself, which even a careless bridge leaves out.
const FRAMING: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_mended_if_it_is_one_timeout_that_is_less() {
        for (pairs, mended) in [
            (&[("grpc-timeout", "2700m"), ("traceparent", "a")][..], 1),
            (&[("grpc-timeout", "2980m"), ("traceparent", "a")], 0),
            (
                &[
                    ("grpc-timeout", "2700m"),
                    ("grpc-timeout", "2980m"),
                    ("traceparent", "a"),
                ],
                0,
            ),
            (
                &[
                    ("grpc-timeout", "2700m"),
                    ("traceparent", "a"),
                    ("x-request-timeout-ms", "2980"),
                ],
                0,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED, HeaderValue::from_static("2980m"));
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let tally = Tally::default();
            note_what_arrived(&tally, MetadataMap::from_headers(headers));
            let stale = tally.evidence().stale.clone();
            assert_eq!(
                (stale.arrived.count(), stale.mended),
                (1, mended),
                "{pairs:?}"
            );
        }
    }
}
